//! Input and surroundings that mean harm, or are merely broken: one clear message, the documented
//! exit code, and no half-written file.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fs;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use support::{Place, Ran, SMALL, finish};

const SMALL_FILE: &str = "scenarios/small.toml";

fn altered(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from} is not in the scenario");
    SMALL.replace(from, to)
}

/// Runs `scenario`, which must be refused without a trace.
fn refused(scenario: &[u8]) -> Ran {
    let place = Place::new();
    place.write(SMALL_FILE, scenario);
    let ran = place.run(&["run", SMALL_FILE]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(place.files("results").is_empty());
    assert!(ran.err.len() < 20_000, "the message has {} bytes", ran.err.len());
    ran
}

#[test]
fn wrong_values_are_refused_with_what_was_expected() {
    for (from, to, message) in [
        ("nodes = 10", "node = 10", "unknown field `node`, expected"),
        ("nodes = 10", "nodes = 0", "found 0, expected at least 1 and at most 1000000"),
        (
            "nodes = 10",
            "nodes = 1_000_000_000_000",
            "found 1000000000000, expected at least 1 and at most 1000000",
        ),
        ("nodes = 10", "nodes = -1", "found -1, expected a whole number from 0"),
        ("nodes = 10", "nodes = nan", "`nan` is not a finite number"),
        ("nodes = 10", "nodes = 1e400", "`1e400` is not a finite number"),
        ("nodes = 10", "nodes = 99999999999999999999", "out of the range of a 64-bit integer"),
        ("nodes = 10", "nodes = 1979-05-27", "found a date"),
        ("nodes = 10", "nodes = 10\nnodes = 11", "duplicate key"),
        ("count = 3", "count = 0", "found 0, expected at least 1"),
        ("schema = 1", "schema = 2", "found the number 2, expected 1"),
        ("schema = 1\n", "", "expected `schema` before anything else"),
        ("[experiment.rings]", "[experiment.wings]", "unknown experiment `wings`"),
        ("at_most = 0", "at_most = inf", "`inf` is not a finite number"),
        ("at_most = 0", "", "a claim without a bound"),
        ("seeds", "warm_up = \"5 parsecs\"\nseeds", "expected a duration with a unit"),
        ("seeds", "warm_up = 5\nseeds", "expected a duration with a unit"),
        (
            "[[check]]",
            "[[fault]]\nat = \"1s\"\npause = { target = \"client\" }\n[[check]]",
            "the experiment rings has no nodes that a link or a fault could name",
        ),
        ("[[check]]", "[sweep]\nquestion = [\"a\"]\n[[check]]", "`question` cannot be varied"),
        ("[[check]]", "[sweep]\nnodes = [1, 0]\n[[check]]", "found 0, expected at least 1"),
    ] {
        let ran = refused(altered(from, to).as_bytes());
        assert!(ran.err.contains(message), "{to}: {}", ran.err);
        assert!(ran.err.contains(" --> scenarios/small.toml:"), "{to}: {}", ran.err);
    }
}

#[test]
fn a_file_that_cannot_be_a_scenario_is_refused_in_a_line() {
    let brackets = "[".repeat(5 << 20);
    for (content, message) in [
        (brackets.as_bytes(), "has 5242880 bytes, expected at most 4MiB"),
        (b"schema = 1\nquestion = \"\xff\"", "is not UTF-8: see line 2, byte 23"),
        (b"", "the scenario is empty"),
    ] {
        let ran = refused(content);
        assert!(ran.err.contains(message), "{}", ran.err);
        assert_eq!(ran.err.matches("error: ").count(), if content.is_empty() { 4 } else { 1 });
    }
}

/// Below the limit on size other limits hold: depth, and how much a reader can bear.
#[test]
fn nesting_and_heaps_of_mistakes_end_soon() {
    for open in ["[", "a = [", "a = {b = ", "a.", "[[", "\"", "a = '''"] {
        refused(open.repeat((3 << 20) / open.len()).as_bytes());
    }
    let mut wrong = SMALL.to_owned();
    for index in 0..10_000 {
        wrong.push_str(&format!("[[check]]\nclaim_{index} = 1\n"));
    }
    let ran = refused(wrong.as_bytes());
    assert!(ran.err.ends_with("of which 39980 are not shown\n"), "{}", ran.err);
}

#[test]
fn control_characters_and_marks_of_direction_reach_no_terminal() {
    for hostile in ["\u{1b}[2J\u{7}", "\u{202e}txt.exe", "\u{0}", "\r"] {
        let escaped: String = hostile.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect();
        for (from, to) in [
            ("\"Which ring moves less?\"", format!("\"x{escaped}\"")),
            ("variants = [\"modulo\"", format!("variants = [\"x{escaped}\"")),
            ("metric = \"key_remap_survivors\"", format!("metric = \"x{escaped}\"")),
            ("nodes = 10", format!("\"x{escaped}\" = 10")),
            // The same as it is, where TOML allows that.
            ("[[check]]", format!("# {hostile}\n[[check]]")),
        ] {
            let place = Place::with_scenario(&altered(from, &to));
            let ran = place.run(&["run", SMALL_FILE]);
            let text = format!("{}{}", ran.out, ran.err);
            let is_clean = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
            assert!(text.chars().all(is_clean), "{to:?}: {text:?}");
        }
    }
    let file = Place::new();
    file.write("scenarios/x\u{1b}[2J.toml", SMALL.as_bytes());
    let ran = file.run(&["run", "scenarios/x\u{1b}[2J.toml"]);
    assert!(ran.code == 2 && !ran.err.contains('\u{1b}'), "{:?}", ran.err);
}

#[test]
fn markup_in_names_and_sentences_is_shown_and_not_obeyed() {
    let script = "<script>alert('1')</script> | `x` ![](http://x) &amp; \\u202E";
    let question = altered("Which ring moves less?", &script.replace("\\u202E", ""));
    let claim = question.replace("the ring moves no key", "<img src=x onerror=alert(1)> moves");
    let place = Place::with_scenario(&claim);
    let ran = place.run(&["run", SMALL_FILE]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for (name, bytes) in place.files("results/small") {
        if name.ends_with(".png") {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        if name.ends_with(".html") || name.ends_with(".svg") || name.ends_with(".md") {
            assert!(!text.contains("<script>alert"), "{name}");
            assert!(!text.contains("<img src=x"), "{name}");
        }
    }
    // As a name it is refused.
    let ran = refused(altered("\"modulo\"", "\"<script>alert(1)</script>\"").as_bytes());
    assert!(ran.err.contains("unknown ring `<script>alert(1)</script>`"), "{}", ran.err);
}

#[test]
fn names_of_files_that_would_leave_their_folder_are_refused() {
    for file in ["scenarios/.hidden.toml", "scenarios/CON.toml", "scenarios/a b.toml", "x.json"] {
        let place = Place::new();
        place.write(file, SMALL.as_bytes());
        let ran = place.run(&["run", file]);
        assert_eq!(ran.code, 2, "{file}");
        assert!(ran.err.contains("cannot name results: found `"), "{file}: {}", ran.err);
    }
    let place = Place::new();
    place.write("scenarios/deep/small.toml", SMALL.as_bytes());
    let ran = place.run(&["run", "scenarios/deep/../deep/small.toml"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_eq!(place.files("").len(), 1);
}

#[test]
fn data_files_are_looked_for_beside_the_scenario_and_mistakes_in_them_are_shown() {
    let from = "keys = { made = { count = 2_000 } }";
    let scenario = |path: &str| altered(from, &format!("keys = {{ file = \"{path}\" }}"));
    let place = Place::with_scenario(&scenario("../data/keys.csv"));
    place.write("data/keys.csv", b"key,weight\na,1\n\"b, c\",2.5\n");
    assert_eq!(place.run(&["run", SMALL_FILE]).code, 0);
    let manifest = place.read("results/small/manifest.json");
    assert!(manifest.contains("\"../data/keys.csv\": \""), "{manifest}");

    place.write("data/keys.csv", b"key,weight\na,1\nb,-2\nc,x\n");
    let ran = place.run(&["run", SMALL_FILE]);
    assert_eq!(ran.code, 2);
    assert_snapshot!(ran.err, @r"
    error: found `-2`, expected a number that is at least 0
     --> scenarios/../data/keys.csv:3:1
      |
    3 | b,-2
      | ^^^^

    error: found `x`, expected a number that is at least 0
     --> scenarios/../data/keys.csv:4:1
      |
    4 | c,x
      | ^^^

    error: scenarios/small.toml has 2 mistakes
    ");

    for path in ["/etc/passwd", "none.csv", ".", "/dev/zero"] {
        let ran = refused(scenario(path).as_bytes());
        assert!(ran.err.contains(" --> scenarios/small.toml:8:"), "{path}: {}", ran.err);
    }
}

#[test]
fn an_output_folder_that_is_not_one_is_refused_and_left_alone() {
    let place = Place::with_scenario(SMALL);
    place.write("file", b"x");
    place.write("thesis/chapter.tex", b"x");
    place.write("other/manifest.json", b"{}");
    for (out, message) in [
        ("file", "file is a file, expected a folder for the results"),
        ("file/deeper", "file is a file, expected a folder for the results"),
        ("thesis", "has files in it that are no result of stormglass"),
        ("other", "is not a manifest of stormglass"),
    ] {
        let before = place.files("");
        let ran = place.run(&["run", SMALL_FILE, "--out", out]);
        assert_eq!(ran.code, 2, "{out}: {}", ran.err);
        assert!(ran.err.contains(message), "{out}: {}", ran.err);
        assert_eq!(place.files(""), before, "{out}");
    }
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_not_followed_out_of_the_result_folder() {
    use std::os::unix::fs::symlink;

    let place = Place::with_scenario(SMALL);
    place.write("precious/report.md", b"mine");
    symlink(place.path("precious"), place.path("link")).unwrap();
    let ran = place.run(&["run", SMALL_FILE, "--out", "link"]);
    assert!(ran.code == 2 && ran.err.contains("link is a symbolic link"), "{}", ran.err);

    // A link in place of a file is replaced, and what it leads to is not touched.
    assert_eq!(place.run(&["run", SMALL_FILE]).code, 0);
    fs::remove_file(place.path("results/small/report.md")).unwrap();
    symlink(place.path("precious/report.md"), place.path("results/small/report.md")).unwrap();
    assert_eq!(place.run(&["run", SMALL_FILE]).code, 0);
    assert_eq!(place.read("precious/report.md"), "mine");
    assert!(place.path("results/small/report.md").symlink_metadata().unwrap().is_file());

    // A link in place of the folder of charts is refused.
    fs::remove_dir_all(place.path("results/small/charts")).unwrap();
    symlink(place.path("precious"), place.path("results/small/charts")).unwrap();
    let ran = place.run(&["run", SMALL_FILE]);
    assert!(ran.code == 2 && ran.err.contains("charts is a symbolic link"), "{}", ran.err);
    assert_eq!(place.files("precious").len(), 1);
}

/// A reader that has seen enough is no failure; results are written all the same.
#[test]
fn a_closed_pipe_is_success() {
    for args in
        [&["run", SMALL_FILE][..], &["list"], &["schema"], &["completions", "bash"], &["--help"]]
    {
        let place = Place::with_scenario(SMALL);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = finish_with(place.command(args).stdout(writer));
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        assert_eq!(args[0] == "run", place.path("results/small/manifest.json").exists());
    }
}

fn finish_with(command: &mut Command) -> Ran {
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::new(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_told() {
    for args in
        [&["run", SMALL_FILE][..], &["list"], &["schema"], &["completions", "zsh"], &["--help"]]
    {
        let place = Place::with_scenario(SMALL);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = finish_with(place.command(args).stdout(full));
        assert_eq!(ran.code, 74, "{args:?}");
        assert!(ran.err.starts_with("error: cannot write to standard output: "), "{}", ran.err);
    }
}

/// A real small disk, where this process may mount one; the same with a failing file system in
/// memory, at every step, is tested beside the code that writes.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_half_result() {
    let place = Place::with_scenario(SMALL);
    fs::create_dir(place.path("disk")).unwrap();
    let disk = place.path("disk").display().to_string();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "none", &disk]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount("size=16k") {
        // Nothing is left unproved: see above.
        return;
    }
    let _unmount = Unmount(disk.clone());
    let ran = place.run(&["run", SMALL_FILE, "--out", "disk/result"]);
    assert_eq!(ran.code, 74, "{}", ran.err);
    assert!(ran.err.starts_with("error: cannot write disk/result/"), "{}", ran.err);
    assert!(ran.err.contains("No space left on device"), "{}", ran.err);
    assert!(place.files("disk").is_empty(), "{:?}", place.files("disk").keys());

    // With room for one result but not for two, the first one stays.
    assert!(mount("remount,size=4m"));
    assert_eq!(place.run(&["run", SMALL_FILE, "--out", "disk/result"]).code, 0);
    let before = place.files("disk");
    let used: usize = before.values().map(|bytes| bytes.len().next_multiple_of(4096)).sum();
    let room = used.div_ceil(1024) + 64;
    assert!(mount(&format!("remount,size={room}k")));
    let ran = place.run(&["run", SMALL_FILE, "--out", "disk/result", "--seeds", "40"]);
    assert_eq!(ran.code, 74, "{}", ran.err);
    assert_eq!(place.files("disk"), before);
}

#[cfg(target_os = "linux")]
struct Unmount(String);

#[cfg(target_os = "linux")]
impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// What cannot be told to anybody is no reason to fail.
#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_error_changes_nothing() {
    let place = Place::with_scenario(SMALL);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let status = place.command(&["run", "none.toml"]).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn alterations_that_mean_harm_are_refused_like_any_other() {
    let place = Place::with_scenario(SMALL);
    for set in ["", "=", "nodes", "=5", "a..b=1", "nodes.0=1", "variants.9=\"x\"", "\u{1b}=1"] {
        let ran = place.run(&["run", SMALL_FILE, "--set", set]);
        assert_eq!(ran.code, 2, "{set:?}: {}", ran.out);
        assert!(!ran.err.contains('\u{1b}'), "{set:?}");
    }
    let bomb = format!("nodes={}", "[".repeat(100_000));
    let ran = place.run(&["run", SMALL_FILE, "--set", &bomb]);
    assert!(ran.code == 2 && ran.err.len() < 2_000, "{} bytes", ran.err.len());
    let many = format!("nodes={}", "1,".repeat(60_000));
    assert_eq!(finish(&mut place.command(&["plan", SMALL_FILE, "--param", &many])).code, 2);
}
