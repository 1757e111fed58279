//! The gate: a scenario's figures are kept, something moves, and the pipeline turns red and says
//! what, where and how to see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use serde_json::Value as Json;
use stormglass::record::baseline::Baseline;
use support::{Place, Ran, SMALL, finish};

const SCENARIO: &str = "scenarios/small.toml";
const KEPT: &str = "results/baseline/small.json";
const FOUND: &str = "results/baseline/small.new.json";
/// The line of the small scenario that names its variants.
const VARIANTS_LINE: usize = 6;

fn check(place: &Place, more: &[&str]) -> Ran {
    let mut args = vec!["check", SCENARIO, "--baseline", "results/baseline"];
    args.extend(more);
    place.run(&args)
}

fn saved() -> Place {
    let place = Place::with_scenario(SMALL);
    let ran = place.run(&["baseline", "save", SCENARIO]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    place
}

/// As if the release before had moved one key less under the second seed when a node was added.
fn with_one_key_more() -> Place {
    let place = saved();
    alter(&place, "ring{virtual_nodes=20}", "key_remap", "add", |values| {
        let keys = (values[1] * 2000.0).round();
        values[1] = (keys - 1.0) / 2000.0;
    });
    place
}

fn alter(place: &Place, variant: &str, metric: &str, at: &str, with: impl Fn(&mut Vec<f64>)) {
    let mut baseline = Baseline::parse(&place.read(KEPT)).unwrap();
    let figure = baseline
        .figures
        .iter_mut()
        .find(|f| f.variant == variant && f.metric == metric && f.at == at)
        .unwrap();
    let mut values: Vec<f64> = figure.values.iter().map(|&(_, value)| value).collect();
    with(&mut values);
    figure.values = figure.values.iter().map(|&(seed, _)| seed).zip(values).collect();
    place.write(KEPT, baseline.to_text().as_bytes());
}

#[test]
fn what_was_saved_is_found_again() {
    let place = saved();
    let ran = check(&place, &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.out.contains("are within the baseline"), "{}", ran.out);
    assert!(!place.path(FOUND).exists());
    let before = place.read(KEPT);
    assert_eq!(place.run(&["baseline", "save", SCENARIO, "--jobs", "1"]).code, 0);
    assert_eq!(place.read(KEPT), before);
}

#[test]
fn one_key_more_that_moves_turns_the_check_red_and_says_all_there_is_to_say() {
    let place = with_one_key_more();
    let ran = check(&place, &[]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let told = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.starts_with("FAILED: 1 of "), "{told}");
    assert!(told.contains("moved: rings ring{virtual_nodes=20}: key_remap at add"), "{told}");
    // 0.05 percentage points are one key of 2000.
    let percent = |text: &str| text.parse::<f64>().unwrap();
    let (before, rest) = told.split_once(" % before, ").unwrap();
    let before = percent(before.rsplit(' ').next().unwrap());
    let (now, rest) = rest.split_once(" % now (seed 2; 1 of 3 seeds differ), floor ").unwrap();
    assert!((percent(now) - before - 0.05).abs() < 1e-9, "{told}");
    let (floor, rest) = rest.split_once(" %; allowed: no change ").unwrap();
    assert!(percent(floor) <= percent(now), "{told}");
    let command = "stormglass run scenarios/small.toml --seeds 2..3";
    assert_eq!(rest, command);
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    assert_eq!(place.run(&args).code, 0);
}

#[test]
fn a_ring_with_one_virtual_node_more_is_another_ring() {
    let place = Place::with_scenario(&SMALL.replace("20 } }", "20 }, as = \"ring\" }"));
    assert_eq!(place.run(&["baseline", "save", SCENARIO]).code, 0);
    place.write(SCENARIO, place.read(SCENARIO).replace("= 20", "= 21").as_bytes());
    let ran = check(&place, &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("was changed since its baseline"), "{}", ran.err);
    assert!(ran.out.contains("moved: rings ring: key_remap at add"), "{}", ran.out);
    assert!(!ran.out.contains("rings modulo"), "{}", ran.out);
}

#[test]
fn what_is_reviewed_and_accepted_is_the_new_baseline() {
    let place = with_one_key_more();
    let good = saved().read(KEPT);
    assert_eq!(check(&place, &[]).code, 1);
    for verb in ["diff", "review"] {
        let shown = place.run(&["baseline", verb, "small"]);
        assert_eq!(shown.code, 0);
        assert!(shown.out.contains("key_remap at add: "), "{}", shown.out);
    }
    let listed: Json =
        serde_json::from_str(&place.run(&["baseline", "list", "--format", "json"]).out).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["to_review"]), (&"small".into(), &true.into()));
    assert_ne!(place.read(KEPT), good);
    assert_eq!(place.run(&["baseline", "accept"]).out, "accepted small\n");
    assert_eq!(place.read(KEPT), good);
    assert!(!place.path(FOUND).exists());
    assert_eq!(check(&place, &[]).code, 0);
}

#[test]
fn a_check_of_some_seeds_compares_those_and_leaves_nothing_to_accept() {
    let place = with_one_key_more();
    let ran = check(&place, &["--seeds", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let told = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("only 1 seed compared"), "{told}");
    assert_eq!(check(&place, &["--seeds", "2..3"]).code, 1);
    assert!(!place.path(FOUND).exists());
    let none = check(&place, &["--seeds", "7..9"]);
    assert_eq!(none.code, 2);
    assert!(none.err.contains("no seed or no figure in common"), "{}", none.err);
}

#[test]
fn a_tolerance_of_the_scenario_is_heeded() {
    let tolerance = |allow: &str| {
        format!("\n[[tolerance]]\nmetric = \"key_remap\"\nallow = {allow}\nwhy = \"test\"\n")
    };
    for (allow, code) in [
        ("{ absolute = \"1%\" }", 0),
        ("{ absolute = 0.00001 }", 1),
        ("{ relative = \"1%\" }", 0),
        ("{ relative = \"0.01%\" }", 1),
        ("\"interval\"", 0),
        ("\"exact\"", 1),
        ("{ absolute = \"3ms\" }", 2),
        ("\"roughly\"", 2),
    ] {
        let place = with_one_key_more();
        place.write(SCENARIO, format!("{SMALL}{}", tolerance(allow)).as_bytes());
        let ran = check(&place, &[]);
        assert_eq!(ran.code, code, "{allow}: {}{}", ran.out, ran.err);
    }
    let place = saved();
    let misspelt = tolerance("\"exact\"").replace("key_remap", "key_remab");
    place.write(SCENARIO, format!("{SMALL}{misspelt}").as_bytes());
    let ran = check(&place, &[]);
    assert!(ran.err.contains("did you mean `key_remap`?"), "{}", ran.err);
}

#[test]
fn a_pipeline_gets_every_form_it_reads() {
    let place = with_one_key_more();
    place.write("summary.md", b"from an earlier step\n");
    let files = [
        ("--export-junit", "junit.xml"),
        ("--export-openmetrics", "ci/metrics.txt"),
        ("--export-bigger-is-better", "bigger.json"),
        ("--export-smaller-is-better", "smaller.json"),
    ];
    let mut args = vec!["check", SCENARIO, "--baseline", "results/baseline"];
    args.extend(files.iter().flat_map(|(flag, file)| [*flag, *file]));
    let mut command = place.command(&args);
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", place.path("summary.md"));
    let ran = finish(&mut command);
    assert_eq!(ran.code, 1, "{}", ran.err);

    let mark = ran.out.lines().find(|line| line.starts_with("::error ")).unwrap();
    let expected = format!("::error file={SCENARIO},line={VARIANTS_LINE},title=");
    assert!(mark.starts_with(&expected), "{mark}");
    assert!(mark.contains("key_remap at add") && mark.contains("--seeds 2..3"), "{mark}");

    let summary = place.read("summary.md");
    assert!(summary.starts_with("from an earlier step\n### small\n"), "{summary}");
    assert!(summary.contains("| FAILED |") && summary.contains("--seeds 2..3`"), "{summary}");

    let junit = place.read("junit.xml");
    let tree = roxmltree::Document::parse(&junit).unwrap();
    assert_eq!(tree.root_element().attribute("failures"), Some("1"));
    assert!(place.read("ci/metrics.txt").ends_with("\n# EOF\n"));
    let rows = |file| serde_json::from_str::<Vec<Json>>(&place.read(file)).unwrap();
    let named = |rows: &[Json], name: &str| {
        rows.iter().any(|row| row["name"].as_str().unwrap().contains(name))
    };
    let (bigger, smaller) = (rows("bigger.json"), rows("smaller.json"));
    assert!(named(&smaller, "key_remap at add") && !named(&bigger, "key_remap at add"));
    assert!(named(&bigger, "key_min"));
}

#[test]
fn an_export_to_standard_output_stands_there_alone() {
    let place = saved();
    let ran = check(&place, &["--export-junit", "-"]);
    roxmltree::Document::parse(&ran.out).unwrap();
    for (flag, start) in [
        ("--export-json", "{\n\"schema\": 1,"),
        ("--export-csv", "subject,variant,"),
        ("--export-markdown", "# small"),
        ("--export-openmetrics", "# TYPE stormglass_"),
        ("--export-hgrm", ""),
    ] {
        for verb in ["run", "compare"] {
            let ran = place.run(&[verb, SCENARIO, flag, "-"]);
            assert_eq!(ran.code, 0, "{}", ran.err);
            assert!(ran.out.starts_with(start), "{verb} {flag}: {}", ran.out);
            assert!(!ran.out.contains("report: "), "{verb} {flag}");
        }
    }
}

#[test]
fn several_scenarios_are_judged_together_and_the_worst_counts() {
    let place = saved();
    place.write("scenarios/rings/other.toml", SMALL.replace("= 20", "= 30").as_bytes());
    let both = ["check", SCENARIO, "scenarios/rings/other.toml", "--baseline", "results/baseline"];
    let ran = place.run(&both);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("stormglass baseline save scenarios/rings/other.toml"), "{}", ran.err);
    assert_eq!(place.run(&["baseline", "save", "scenarios/rings/other.toml"]).code, 0);
    assert_eq!(place.run(&both).code, 0);
    let listed = place.run(&["baseline", "list"]).out;
    assert!(listed.contains("\nrings/other ") && listed.contains("\nsmall "), "{listed}");
    place.write(SCENARIO, SMALL.replace("variant = \"ring\"", "variant = \"modulo\"").as_bytes());
    assert_eq!(place.run(&both).code, 1);
}

#[test]
fn what_is_no_baseline_of_this_version_is_refused() {
    let place = saved();
    let good = place.read(KEPT);
    for (text, told) in [
        (good.replace("\"semantics\": ", "\"semantics\": 9"), "save the baseline again"),
        (good[..good.len() / 2].to_owned(), "is not JSON"),
        ("{}".to_owned(), "is not a baseline of stormglass"),
    ] {
        place.write(KEPT, text.as_bytes());
        let ran = check(&place, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""));
        assert!(ran.err.contains(told), "{}", ran.err);
    }
    let ran = place.run(&["baseline", "accept", "smal"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `small`?"), "{}", ran.err);
}

/// Whatever a disk or a merge conflict does to a baseline, it is read or refused.
#[test]
fn a_damaged_baseline_harms_nobody() {
    let place = Place::with_scenario(
        &SMALL.replace("seeds = { first = 1, count = 3 }", "seeds = { count = 1 }"),
    );
    assert_eq!(place.run(&["baseline", "save", SCENARIO]).code, 0);
    let text = place.read(KEPT);
    let step = (text.len() / 400).max(1);
    for at in (0..text.len()).step_by(step).filter(|at| text.is_char_boundary(*at)) {
        let _ = Baseline::parse(&text[..at]);
        let mut damaged = text.clone().into_bytes();
        damaged[at] ^= 1;
        let _ = Baseline::parse(&String::from_utf8_lossy(&damaged));
    }
}
