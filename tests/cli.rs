//! The command line as users and their scripts know it: exit codes, messages, files.

mod support;

use insta::assert_snapshot;
use serde_json::Value as Json;

use support::{Place, SMALL};

/// The one scenario of these tests with something else in place of `from`.
fn altered(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from} is not in the scenario");
    SMALL.replace(from, to)
}

#[test]
fn exit_codes_are_those_that_the_help_promises() {
    let false_claim = altered("variant = \"ring\"", "variant = \"modulo\"");
    let unknown_claim = altered("variant = \"ring\"", "at = \"a blue moon\"");
    let no_claim = SMALL.split("[[check]]").next().unwrap().to_owned();
    let small = "scenarios/small.toml";
    for (scenario, args, code) in [
        (SMALL, &["run", small][..], 0),
        (SMALL, &["check", small], 0),
        (SMALL, &["compare", small], 0),
        (SMALL, &["plan", small], 0),
        (SMALL, &["run", small, "--verify-determinism"], 0),
        (SMALL, &["--help"], 0),
        (SMALL, &["--version"], 0),
        (SMALL, &["run", "--help"], 0),
        (&false_claim, &["check", small], 1),
        (&false_claim, &["run", small], 0),
        (&false_claim, &["compare", small], 0),
        (SMALL, &[], 2),
        (SMALL, &["fly"], 2),
        (SMALL, &["run"], 2),
        (SMALL, &["run", small, "--fast"], 2),
        (SMALL, &["run", "scenarios/none.toml"], 2),
        (SMALL, &["run", "scenarios"], 2),
        (SMALL, &["run", small, "--set", "nodes=0"], 2),
        (SMALL, &["run", small, "--seeds", "0"], 2),
        (SMALL, &["run", small, "--seeds", "5..5"], 2),
        (SMALL, &["run", small, "--max-events", "10"], 2),
        (SMALL, &["run", small, "--max-memory", "10B"], 2),
        (SMALL, &["compare", small, "--reference", "rong"], 2),
        (SMALL, &["explain", "rong"], 2),
        (&no_claim, &["check", small], 2),
        (&unknown_claim, &["check", small], 3),
    ] {
        let place = Place::with_scenario(scenario);
        let ran = place.run(args);
        assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.out, ran.err);
        let is_silent = ran.err.is_empty();
        assert_eq!(is_silent, code != 2, "{args:?}: {}", ran.err);
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_place_and_what_was_meant() {
    let place = Place::with_scenario(
        r#"schema = 1
question = "x"
sees = 3

[experiment.rings]
variants = ["modolo", { ring = { virtual_nodes = 100 } }]
nodes = 0
keys = { made = { count = "10" } }
events = [{ add = {} }, { remov = {} }]

[network]
delay = "5 parsecs"

[[fault]]
at = "1s"
pauze = { target = "client" }

[sweep]
nodes = []

[[check]]
claim = "x"
metric = "key_remap_survivor"
variant = "rng"
at_most = "20ms"
why = "y"
"#,
    );
    let ran =
        place.run(&["plan", "scenarios/small.toml", "--set", "nodez=5", "--param", "nodes=1,x"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_snapshot!(ran.err);
    assert_eq!(place.files("results").len(), 0);
}

#[test]
fn a_plan_that_costs_too_much_is_refused_with_its_estimate() {
    let place = Place::with_scenario(SMALL);
    let ran = place.run(&["run", "scenarios/small.toml", "--max-events", "1_000"]);
    let (needs, allows) = ran.err.split_once(" events, and ").unwrap();
    let number = needs.strip_prefix("error: the plan needs about ").unwrap();
    assert!(1_000 < number.replace('_', "").parse::<u64>().unwrap());
    assert!(allows.starts_with("--max-events allows 1_000\nhelp: "), "{allows}");
    assert_eq!(place.files("results").len(), 0);
}

#[test]
fn the_help_of_every_verb_is_as_it_was_reviewed() {
    let place = Place::new();
    let whole = place.run(&["--help"]).out;
    assert_snapshot!("help", whole);
    for verb in [
        "run",
        "compare",
        "check",
        "baseline",
        "report",
        "plan",
        "matrix",
        "place",
        "remap",
        "skew",
        "bench",
        "judge",
        "list",
        "explain",
        "schema",
        "init",
        "completions",
        "man",
    ] {
        assert!(whole.contains(&format!("\n  {verb} ")), "{verb}");
        assert_snapshot!(format!("help-{verb}"), place.run(&[verb, "--help"]).out);
    }
    for verb in ["save", "list", "diff", "review", "accept"] {
        let help = place.run(&["baseline", verb, "--help"]).out;
        assert_snapshot!(format!("help-baseline-{verb}"), help);
    }
}

#[test]
fn a_result_holds_its_files_and_the_command_that_makes_them_again() {
    let place = Place::with_scenario(SMALL);
    let ran = place.run(&["run", "scenarios/small.toml", "--seeds", "2", "--set", "nodes=12"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let files = place.files("results/small");
    let last = ran.out.lines().last().unwrap();
    let page = last.strip_prefix("report: results/small/").unwrap();
    assert!(files.contains_key(page), "{last}");
    let manifest: Json = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let listed: Vec<&String> = manifest["files"].as_object().unwrap().keys().collect();
    let there: Vec<&String> = files.keys().filter(|name| *name != "manifest.json").collect();
    assert_eq!(listed, there);
    for file in ["report.md", "report.json", "records.csv"] {
        assert!(files.contains_key(file), "{file}");
    }
    let command = manifest["command"].as_str().unwrap();
    assert_eq!(command, "stormglass run scenarios/small.toml --seeds 2 --set nodes=12");
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    let again = place.run(&args);
    assert_eq!(again.code, 0);
    assert_eq!(place.files("results/small"), files);
}

/// Whole folders are compared, and so nothing that another machine has otherwise may stand in one.
#[test]
fn results_say_nothing_of_where_when_and_how_they_were_made() {
    let (here, there) = (Place::with_scenario(SMALL), Place::new());
    there.write("deep/er/scenarios/small.toml", SMALL.as_bytes());
    let ran = here.run(&["run", "scenarios/small.toml", "--jobs", "1", "--quiet"]);
    assert_eq!(ran.code, 0);
    let path = there.path("deep/er/scenarios/small.toml");
    let mut other = there.command(&["run", path.to_str().unwrap(), "--out", "elsewhere"]);
    other.args(["--jobs", "3", "--color", "always", "--max-events", "999_999_999"]);
    other.env("TZ", "Pacific/Apia").env("LC_ALL", "tr_TR.UTF-8").env("HOME", "/");
    assert_eq!(support::finish(&mut other).code, 0);
    assert_eq!(here.files("results/small"), there.files("elsewhere"));
}

#[test]
fn a_scenario_in_a_folder_of_scenarios_has_its_results_in_such_a_folder() {
    let place = Place::new();
    place.write("scenarios/rings/join.toml", SMALL.as_bytes());
    place.write("scenarios/rings.toml", SMALL.as_bytes());
    for scenario in ["scenarios/rings/join.toml", "scenarios/rings.toml", "./scenarios/rings.toml"]
    {
        let ran = place.run(&["run", scenario]);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let files = place.files("results");
    assert!(files.contains_key("rings/join/manifest.json"));
    assert!(files.contains_key("rings/manifest.json"));
}

#[test]
fn a_report_is_drawn_again_to_the_same_bytes_without_running() {
    let place = Place::with_scenario(SMALL);
    for (verb, folder) in [("run", "a"), ("compare", "b"), ("check", "c")] {
        let mut args = vec![verb, "scenarios/small.toml", "--out", folder];
        if verb == "compare" {
            args.extend(["--reference", "ring{virtual_nodes=20}, nodes=8", "--param", "nodes=8,9"]);
        }
        let ran = place.run(&args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let files = place.files(folder);
        // Whatever happened to the pictures, and to the scenario.
        std::fs::remove_dir_all(place.path(&format!("{folder}/charts"))).unwrap();
        place.write(&format!("{folder}/report.html"), b"scribbled over");
        let drawn = place.run(&["report", folder]);
        assert_eq!((drawn.code, drawn.err.as_str()), (0, ""), "{}", drawn.out);
        assert_eq!(place.files(folder), files, "{verb}");
        assert_eq!(place.run(&["report", folder, "--out", "elsewhere"]).code, 0);
        assert_eq!(place.files("elsewhere"), files);
    }
    let records = place.read("a/records.jsonl");
    place.write("a/records.jsonl", records.replace("\"seed\":1", "\"seed\":9").as_bytes());
    for (folder, told) in [
        ("a", "a/records.jsonl is not what the manifest says it is"),
        ("scenarios", "scenarios is no whole result of stormglass: it has no manifest.json"),
        ("nowhere", "is no whole result"),
    ] {
        let ran = place.run(&["report", folder]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(told), "{}", ran.err);
    }
}

#[test]
fn two_results_are_compared_seed_by_seed() {
    let place = Place::with_scenario(&altered("20 } }", "20 }, as = \"ours\" }"));
    let claimless =
        place.read("scenarios/small.toml").split("[[check]]").next().unwrap().to_owned();
    place.write("scenarios/small.toml", claimless.as_bytes());
    let small = "scenarios/small.toml";
    assert_eq!(place.run(&["run", small, "--seeds", "8", "--out", "before"]).code, 0);
    place.write(small, claimless.replace("= 20", "= 400").as_bytes());
    assert_eq!(place.run(&["run", small, "--seeds", "8", "--out", "after"]).code, 0);
    let ran = place.run(&["compare", "before", "after"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let told = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("1.00, the same"), "{told}");
    assert!(told.contains("key load, max/mean of ours: after is 0."), "{told}");
    assert!(told.contains(" times before (0.") && told.contains("8 seeds), better"), "{told}");
    let same = place.run(&["compare", "before", "before"]);
    assert!(same.out.contains("no difference was seen"), "{}", same.out);
    for (args, told) in [
        (&["compare", "before"][..], "give two results"),
        (&["compare", "before", "scenarios"], "is no whole result"),
        (&["compare", "before", "after", "--out", "both"], "--out is for a scenario"),
        (&["compare", "before", "after", "--seeds", "2"], "--seeds is for a scenario"),
        (&["compare", "before", "after", "--set", "nodes=5"], "--set is for a scenario"),
        (&["compare", "before", "after", "--format", "json"], "--format json is for a scenario"),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(told), "{}", ran.err);
    }
}

/// The lock is the operating system's own, on the folder itself.
#[cfg(unix)]
#[test]
fn a_folder_that_another_process_writes_to_is_to_be_tried_again() {
    let place = Place::with_scenario(SMALL);
    let run = || place.run(&["run", "scenarios/small.toml", "--seeds", "1"]);
    assert_eq!(run().code, 0);
    let before = place.files("results/small");
    let other = std::fs::File::open(place.path("results/small")).unwrap();
    other.try_lock().unwrap();
    let ran = place.run(&["run", "scenarios/small.toml", "--seeds", "2"]);
    let told = "error: another process is writing to results/small: try again, or give another \
                --out\n";
    assert_eq!((ran.code, ran.err.as_str()), (75, told));
    // Whatever would write there is told so before its work: no progress, no table.
    for verb in ["compare", "check"] {
        let out = ["scenarios/small.toml", "--seeds", "2", "--out", "results/small"];
        let ran = place.run(&[&[verb][..], &out].concat());
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (75, "", told), "{verb}");
    }
    let ran = place.run(&["report", "results/small"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (75, "", told));
    assert_eq!(place.files("results/small"), before);
    drop(other);
    assert_eq!(run().code, 0);
}

#[test]
fn a_run_of_locks_is_a_trace_with_its_beliefs_and_its_faults() {
    let place = Place::new();
    assert_eq!(place.run(&["init", "locks"]).code, 0);
    let ran = place.run(&["run", "scenarios/my-locks.toml", "--seeds", "1", "--export-trace", "-"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let trace: Json = serde_json::from_str(&ran.out).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let count = |cat: &str, ph: &str| {
        events.iter().filter(|event| event["cat"] == cat && event["ph"] == ph).count()
    };
    assert!(8 < count("belief", "b"), "more than the record alone has");
    assert_eq!(count("belief", "b"), count("belief", "e") + count("belief", "i"));
    assert!(0 < count("accepted", "i"));
}

#[test]
fn a_later_result_replaces_an_earlier_one_whole() {
    let place = Place::with_scenario(SMALL);
    assert_eq!(place.run(&["run", "scenarios/small.toml"]).code, 0);
    let before = place.files("results/small");
    // Without the event there is no remap, and so one chart less.
    let no_event = altered("events = [{ add = {} }]\n", "");
    place.write("scenarios/small.toml", no_event.split("[[check]]").next().unwrap().as_bytes());
    assert_eq!(place.run(&["run", "scenarios/small.toml"]).code, 0);
    let after = place.files("results/small");
    let fresh = Place::with_scenario(&place.read("scenarios/small.toml"));
    assert_eq!(fresh.run(&["run", "scenarios/small.toml"]).code, 0);
    assert_eq!(after, fresh.files("results/small"));
    assert!(after.len() < before.len());
}

#[test]
fn a_false_claim_is_told_with_its_bound_and_its_number() {
    let place = Place::with_scenario(&altered("variant = \"ring\"", "variant = \"modulo\""));
    let ran = place.run(&["check", "scenarios/small.toml"]);
    assert_eq!(ran.code, 1);
    for part in [
        "FAILED: 1 of 1 claim does not hold: the ring moves no key between",
        "failed: the ring moves no key between the nodes that stay",
        "modulo: key_remap_survivors at add is ",
        "claimed at",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert_eq!(place.files("results").len(), 0);
}

#[test]
fn compare_holds_points_against_the_chosen_one() {
    let place = Place::with_scenario(SMALL);
    let args = [
        "compare",
        "scenarios/small.toml",
        "--param",
        "variants.ring.virtual_nodes=10,40",
        "--reference",
        "ring, virtual_nodes=40",
        "--out",
        "compared",
    ];
    let ran = place.run(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let (_, section) = ran.out.split_once("\nrings against ring, virtual_nodes=40\n").unwrap();
    let row = |name: &str| section.lines().find(|line| line.trim_start().starts_with(name));
    assert!(row("ring, virtual_nodes=40 ").unwrap().ends_with("  1"), "{section}");
    assert!(row("ring, virtual_nodes=10 ").unwrap().contains(" .. "), "{section}");
    assert!(row("modulo ").unwrap().contains(" .. "), "{section}");
    let words = section.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("no difference was seen between modulo and ring, virtual_nodes=40: 0."));
    let (_, told) = words.split_once("add: ring, virtual_nodes=10 is ").unwrap();
    let (told, _) = told.split_once(" comparisons").unwrap();
    assert!(told.contains(" times ring, virtual_nodes=40 ("), "{told}");
    assert!(told.contains(", 3 seeds), which may be chance among "), "{told}");
    assert!(place.files("compared").contains_key("manifest.json"));
    let ran = place.run(&["compare", "scenarios/small.toml", "--format", "json"]);
    let last: Json = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["reason"], "comparison");
    assert_eq!(last["section"], "rings against modulo");
    let ran = place.run(&["compare", "scenarios/small.toml", "--reference", "modullo"]);
    assert_eq!(ran.err, "error: nothing is called `modullo`\nhelp: did you mean `modulo`?\n");
}

#[test]
fn a_plan_shows_cells_events_and_memory_and_runs_nothing() {
    let place = Place::with_scenario(SMALL);
    let ran =
        place.run(&["plan", "scenarios/small.toml", "--param", "nodes=10,20", "--seeds", "4"]);
    let cells: Vec<String> = ran
        .out
        .lines()
        .skip(1)
        .take(4)
        .map(|line| line.split("  ").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        cells,
        [
            "rings modulo nodes=10",
            "rings modulo nodes=20",
            "rings ring{virtual_nodes=20} nodes=10",
            "rings ring{virtual_nodes=20} nodes=20",
        ]
    );
    assert!(ran.out.contains("\n4 cells x 4 seeds = 16 runs, about "), "{}", ran.out);
    assert_eq!(place.files("results").len(), 0);
    let ran = place.run(&["plan", "scenarios/small.toml", "--format", "json"]);
    let plan: Json = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((plan["runs"].as_u64(), plan["cells"].as_array().unwrap().len()), (Some(6), 2));
}

#[test]
fn lists_are_complete_for_programs() {
    let place = Place::new();
    for kind in ["rings", "locks", "queues", "pipeline", "faults", "distributions", "metrics"] {
        let ran = place.run(&["list", kind, "--format", "json"]);
        let items: Vec<Json> = serde_json::from_str(&ran.out).unwrap();
        for item in &items {
            for field in ["name", "summary", "source"] {
                let text = item[field].as_str().unwrap();
                assert!(!text.is_empty(), "{kind}: {item}");
            }
        }
        // There is one way to join the three.
        let least = if kind == "pipeline" { 1 } else { 2 };
        assert!(least <= items.len(), "{kind}");
        // What is listed can be explained, for people and for programs.
        for item in items.iter().take(3) {
            let name = item["name"].as_str().unwrap();
            let ran = place.run(&["explain", name]);
            assert!(ran.code == 0 && ran.out.starts_with(name), "{name}: {}", ran.out);
            let ran = place.run(&["explain", name, "--format", "json"]);
            assert!(serde_json::from_str::<Json>(&ran.out).is_ok(), "{name}");
        }
    }
}

#[test]
fn what_a_program_reads_of_a_run_is_an_object_a_line() {
    let place = Place::with_scenario(SMALL);
    let ran = place.run(&["run", "scenarios/small.toml", "--format", "json"]);
    let lines: Vec<Json> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons: Vec<&str> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["run", "run", "run", "run", "run", "run", "claim", "report"]);
}

#[test]
fn starters_run_and_are_not_written_over() {
    let place = Place::new();
    for wing in ["rings", "locks", "queues", "pipeline"] {
        assert_eq!(place.run(&["init", wing]).code, 0, "{wing}");
        let scenario = format!("scenarios/my-{wing}.toml");
        let ran = place.run(&["check", &scenario, "--seeds", "3"]);
        assert_eq!(ran.code, 0, "{wing}: {}{}", ran.out, ran.err);
        let text = place.read(&scenario);
        let ran = place.run(&["init", wing]);
        assert_eq!(ran.code, 2, "{wing}");
        assert_eq!(place.read(&scenario), text);
        assert_eq!(place.run(&["init", wing, "-"]).out, text);
    }
}

#[test]
fn completions_and_manual_pages_are_made_for_every_shell_and_verb() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = place.run(&["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("verify-determinism"), "{shell}");
    }
    place.write("man/x", b"");
    assert_eq!(place.run(&["man", "man"]).code, 0);
    let pages = place.files("man");
    assert!(pages.contains_key("stormglass.1") && pages.contains_key("stormglass-run.1"));
    assert!(place.run(&["man"]).out.contains(".TH stormglass"));
}

#[test]
fn the_schema_knows_every_field_at_the_top_of_a_scenario() {
    let place = Place::with_scenario("schema = 1\nquestion = 'x'\nnonsense = 1\n");
    let schema: Json = serde_json::from_str(&place.run(&["schema"]).out).unwrap();
    let err = place.run(&["plan", "scenarios/small.toml"]).err;
    let expected = err.lines().find(|line| line.contains("unknown field `nonsense`")).unwrap();
    let read: Vec<&str> = expected.split('`').skip(3).step_by(2).collect();
    let mut read: Vec<String> = read.into_iter().map(str::to_owned).collect();
    read.sort();
    let mut described: Vec<String> =
        schema["properties"].as_object().unwrap().keys().cloned().collect();
    described.sort();
    assert_eq!(read, described);
}

/// Ctrl-C after the program has begun to listen and to work: what was finished is kept.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_run_keeps_what_is_finished() {
    use std::process::{Command, Stdio};

    for (signal, number, code) in [("INT", 2_u32, 130), ("TERM", 15, 143)] {
        let place = Place::with_scenario(&altered("count = 3 }", "count = 20000 }"));
        let mut command = place.command(&["run", "scenarios/small.toml", "--jobs", "1"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let about = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id()));
        let listens = || {
            let status = about("status").unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (number - 1) != 0
        };
        // In hundredths of a second, of its own processor time.
        let worked = || {
            let stat = about("stat").unwrap();
            stat.rsplit(')').next().unwrap().split_whitespace().nth(11).unwrap().parse::<u32>()
        };
        while !listens() || worked().unwrap() < 30 {
            std::thread::yield_now();
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{err}");
        assert!(err.starts_with("interrupted: "), "{err}");
        let manifest: Json =
            serde_json::from_str(&place.read("results/small/manifest.json")).unwrap();
        let runs = |which: &str| manifest["runs"][which].as_u64().unwrap();
        assert!(0 < runs("finished") && runs("finished") < runs("planned"), "{manifest}");
        assert!(place.read("results/small/report.md").contains("interrupted: "));
    }
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_the_command_prints() {
    let committed = std::fs::read_to_string("schema/scenario.schema.json").unwrap();
    let printed = Place::new().run(&["schema"]).out;
    assert_eq!(printed, committed, "run `stormglass schema > schema/scenario.schema.json`");
}

#[test]
fn a_matrix_prints_the_columns_of_other_peoples_answers() {
    let place = Place::with_scenario(SMALL);
    let ran =
        place.run(&["matrix", "locks", "--only", "V3/F1c", "--only", "V3/F3b", "--format", "csv"]);
    assert_eq!(
        ran.out,
        "variant,name,fault,fault_name,no_fence,fence_w,fence_rw,fence_cs,first_other_grant_ms\n\
         V3,V3 redis-py token,F1c,\"F1c pause, resumes inside next section\",BE,BE,B,,1008\n\
         V3,V3 redis-py token,F3b,\"F3b write delayed, holder crashed\",E,S,S,,1008\n"
    );
    let one = place.run(&["matrix", "locks", "--only", "V1", "--jobs", "1"]);
    let four = place.run(&["matrix", "locks", "--only", "V1", "--jobs", "4"]);
    assert_eq!((one.code, one.out), (0, four.out));
    let page = place.run(&["matrix", "locks", "--only", "V3/F1", "--format", "html"]);
    assert!(
        page.out.contains("harmed\">BE</td>") && page.out.ends_with("</html>\n"),
        "{}",
        page.out
    );
}

#[test]
fn a_matrix_is_a_picture_with_a_square_for_each_cell() {
    let place = Place::new();
    let args = ["matrix", "locks", "--only", "V1/F1a", "--format", "svg", "--case", "fence_rw"];
    let ran = place.run(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("<svg ") && ran.out.contains("go wrong for good"), "{}", ran.out);
    let ran = place.run(&["matrix", "locks", "--format", "svg", "--case", "fence"]);
    assert!(ran.code == 2 && ran.err.contains("no case `fence`"), "{}", ran.err);
}

#[test]
fn a_cell_is_told_from_beginning_to_proof_and_is_a_scenario() {
    let place = Place::with_scenario(SMALL);
    let told = place.run(&["matrix", "--explain", "locks:V3/F1c"]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    assert_snapshot!("matrix-explain", told.out);
    let scenario = place.run(&["matrix", "locks", "--scenario", "V3/F1c", "--case", "fence_rw"]);
    assert!(scenario.out.contains("fencing = \"reads_and_writes\""), "{}", scenario.out);
    place.write("scenarios/cell.toml", scenario.out.as_bytes());
    assert_eq!(place.run(&["run", "scenarios/cell.toml"]).code, 0);
}

#[test]
fn a_cell_that_is_none_and_a_form_that_a_verb_lacks_are_told() {
    let place = Place::with_scenario(SMALL);
    for (args, told) in [
        (&["matrix", "locks", "--explain", "V3/F1z"][..], "did you mean `V3/F11`?"),
        (&["matrix", "--explain", "V3/F1c"], "which matrix? one of locks"),
        (
            &["matrix", "locks", "--explain", "rings:V3/F1c"],
            "`rings` is no cell of the matrix of locks",
        ),
        (
            &["matrix", "locks", "--explain", "V3/F1c", "--case", "fence_cs"],
            "expected one of no_fence, fence_w, fence_rw",
        ),
        (&["list", "--format", "csv"], "this verb does not print csv"),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.err.contains(told), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_history_is_judged_with_the_lines_that_prove_it() {
    let place = Place::new();
    let event = |kind: &str, process: u32, f: &str, time: u32| {
        format!("{{\"type\":\"{kind}\",\"process\":{process},\"f\":\"{f}\",\"time\":{time}}}\n")
    };
    let good = event("invoke", 0, "acquire", 1) + &event("ok", 0, "acquire", 2);
    place.write("good.jsonl", good.as_bytes());
    let bad = good.clone() + &event("invoke", 1, "acquire", 3) + &event("ok", 1, "acquire", 4000);
    place.write("bad.jsonl", (bad.clone() + &event("invoke", 0, "release", 9_000_000)).as_bytes());
    place.write("wrong.jsonl", (bad + "{}\n").as_bytes());
    place.write("jepsen.edn", b"{:type :invoke :f :acquire :process 0 :time 1}\n");
    assert_eq!(place.run(&["judge", "locks", "good.jsonl"]).code, 0);
    let ran = place.run(&["judge", "locks", "bad.jsonl"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(
        ran.out.contains("  BAD        linearizable") && ran.out.contains("bad.jsonl:4: process 1"),
        "{}",
        ran.out
    );
    let one = place.run(&["judge", "locks", "bad.jsonl", "--judge", "fencing"]);
    assert_eq!(one.code, 0, "{}", one.out);
    let ran = place.run(&["judge", "locks", "wrong.jsonl"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("wrong.jsonl:5: the field `type` is missing"), "{}", ran.err);
    assert_eq!(place.run(&["judge", "locks", "none.jsonl"]).code, 2);
    let waiting = place.run(&["judge", "locks", "jepsen.edn", "--format", "json"]);
    assert_eq!(waiting.out.lines().count(), 5, "{}", waiting.out);
}

#[test]
fn a_bench_counts_paired_seeds_without_a_clock_and_says_what_else_there_is() {
    let place = Place::new();
    let args = ["bench", "paired", "--seeds", "3", "--events", "400", "--format", "json"];
    let ran = place.run(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(place.run(&args).out, ran.out, "no clock decides it");
    let json: Json = serde_json::from_str(&ran.out).unwrap();
    assert!(json["ratio"].as_f64().is_some_and(|ratio| 0.0 < ratio), "{json}");
    let unnamed = place.run(&["bench", "--format", "json"]);
    assert_eq!(unnamed.code, 2);
    assert!(unnamed.err.contains("bench growth") || unnamed.err.contains("`growth`"));
}

#[test]
fn a_plan_is_refused_where_its_records_would_not_fit_together() {
    let place = Place::with_scenario(SMALL);
    let seeds = ["scenarios/small.toml", "--seeds", "200"];
    let plan = place.run(&[&["plan", "--format", "json"][..], &seeds].concat());
    let plan: Json = serde_json::from_str(&plan.out).unwrap();
    let [job, records] =
        ["bytes_per_job", "bytes_left_behind"].map(|key| plan[key].as_u64().unwrap());
    let run = |verb: &str, bytes: u64, more: &[&str]| {
        let limit = format!("{bytes}B");
        let args = [&[verb, "-q", "--jobs", "1", "--max-memory", &limit][..], &seeds, more];
        place.run(&args.concat())
    };
    let refused = run("check", job + records / 2, &[]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("of memory, and --max-memory allows"), "{}", refused.err);
    assert_eq!(run("check", job + records, &[]).code, 0);
    // The second time leaves as much again.
    assert_eq!(run("check", job + records, &["--verify-determinism"]).code, 2);
    assert_eq!(run("check", job + 2 * records, &["--verify-determinism"]).code, 0);
}
