//! A ring of one's own against those of the catalogue: `place`, `remap` and `skew` on real files.

#![cfg(feature = "cli")]

mod support;

use std::process::Command;

use insta::assert_snapshot;
use serde_json::Value as Json;

use support::{Place, Ran, SMALL};

/// Keys `user:0` to `user:(count - 1)` below their header.
fn keys(count: u32) -> String {
    let lines = (0..count).map(|index| format!("user:{index}\n"));
    std::iter::once("key\n".to_owned()).chain(lines).collect()
}

#[track_caller]
fn done(ran: Ran) -> String {
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    ran.out
}

fn figure(json: &Json, path: &str) -> f64 {
    json.pointer(path).and_then(Json::as_f64).unwrap_or_else(|| panic!("no {path} in {json}"))
}

#[test]
fn a_placement_is_printed_as_csv_and_keys_are_not_altered() {
    let place = Place::new();
    place.write("nodes.csv", b"node,zone,weight\ncache-b,eu,2\ncache-a,us,1\n");
    // CRLF, a byte order mark, quotes, a tab, an escape, bytes that are no text.
    place.write("keys.csv", b"\xef\xbb\xbfid,key\r\n1,@scope/pkg\r\n2,\"a,b\"\r\n\r\n3,\"say \"\"x\"\"\"\r\n4,\x1b[1m\xff\t\r\n");
    let args = ["place", "--ring", "ring={virtual_nodes=160}", "--nodes", "nodes.csv", "--keys"];
    let output = place.command(&[&args[..], &["keys.csv"]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<&[u8]> = output.stdout.split(|&byte| byte == b'\n').collect();
    let expected: [&[u8]; 5] =
        [b"key", b"@scope/pkg", b"\"a,b\"", b"\"say \"\"x\"\"\"", b"\x1b[1m\xff\t"];
    assert_eq!(lines.len(), expected.len() + 1);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{}", String::from_utf8_lossy(line));
        let node = &line[expected.len()..];
        assert!([&b",node"[..], b",cache-a", b",cache-b"].contains(&node), "{node:?}");
    }
}

#[test]
fn replicas_are_further_columns_and_a_list_needs_no_header() {
    let place = Place::new();
    place.write("keys.txt", b"a\n\"b\"\nc");
    let args = ["place", "--ring", "rendezvous", "--nodes", "5", "--keys", "keys.txt", "--lines"];
    let out = done(place.run(&[&args[..], &["--replicas", "3"]].concat()));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0], ["key", "node", "node_2", "node_3"]);
    assert_eq!(lines[2][0], "\"\"\"b\"\"\"");
    for line in &lines[1..] {
        assert!(line[1] != line[2] && line[1] != line[3] && line[2] != line[3], "{line:?}");
    }
    let json = done(place.run(&[&args[..], &["--format", "json"]].concat()));
    let first: Json = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["key"], &first["nodes"][0]), (&"a".into(), &lines[1][1].into()));
    let ran = place.run(&[
        "place",
        "--ring",
        "jump",
        "--nodes",
        "5",
        "--keys",
        "keys.txt",
        "--lines",
        "--replicas",
        "2",
    ]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--replicas: `jump` has none"), "{}", ran.err);
}

#[test]
fn what_moves_between_two_placements_is_told_in_three_forms() {
    let place = Place::new();
    place.write("keys.csv", keys(20_000).as_bytes());
    let put = |ring: &str, nodes: &str, file: &str| {
        let out =
            done(place.run(&["place", "--ring", ring, "--nodes", nodes, "--keys", "keys.csv"]));
        place.write(file, out.as_bytes());
    };
    put("jump", "10", "ten.csv");
    put("jump", "11", "eleven.csv");
    put("modulo", "11", "modulo.csv");
    let remap = |after: &str, format: &str| {
        done(place.run(&["remap", "ten.csv", after, "--format", format]))
    };
    let jump: Json = serde_json::from_str(&remap("eleven.csv", "json")).unwrap();
    assert!((figure(&jump, "/change/key_remap") - 1.0 / 11.0).abs() < 0.01, "{jump}");
    assert!(figure(&jump, "/change/key_remap_excess").abs() < 1e-12, "{jump}");
    assert!(figure(&jump, "/change/key_remap_survivors").abs() < 1e-12, "{jump}");
    assert!((figure(&jump, "/before/nodes") - 10.0).abs() < 1e-12, "{jump}");
    assert_eq!(jump.pointer("/change/request_remap"), None);
    let csv = remap("modulo.csv", "csv");
    let line = csv.lines().find(|line| line.starts_with("key_remap,change,")).unwrap();
    let moved: f64 = line.rsplit(',').next().unwrap().parse().unwrap();
    assert!((0.85..1.0).contains(&moved), "{line}");
    assert_snapshot!(remap("eleven.csv", "human"), @r"
                                         before    after
    nodes with a key                         10       11
    key load, max/mean                   1.0240   1.0279
    key load, min/mean                   0.9720   0.9713
    key load, coefficient of variation   0.0174   0.0170
    key load, Gini coefficient           0.0096   0.0096
    key load, distance from fair        0.810 %  0.765 %

    keys compared                   20000
    keys moved                    9.030 %
    keys moved, floor             9.030 %
    keys moved above the floor    0.000 %
    keys moved between survivors  0.000 %
    ");
}

#[test]
fn weights_of_keys_count_requests_and_weights_of_nodes_say_what_is_fair() {
    let place = Place::new();
    place.write("before.csv", b"key,node\na,x\nb,x\nc,y\n");
    place.write("after.csv", b"node,key\ny,c\nx,b\ny,a\n");
    place.write("requests.csv", b"weight,key\n7,a\n2,b\n1,c\n5,d\n");
    place.write("capacities.csv", b"node,weight\nx,2\ny,1\n");
    let args = ["remap", "before.csv", "after.csv", "--format", "json", "--weights"];
    let json =
        done(place.run(&[&args[..], &["requests.csv", "--weights", "capacities.csv"]].concat()));
    let json: Json = serde_json::from_str(&json).unwrap();
    for (path, expected) in [
        ("/change/key_remap", 1.0 / 3.0),
        ("/change/request_remap", 0.7),
        ("/before/key_skew", 1.0),
        ("/before/request_skew", 1.35),
        ("/after/key_skew", 2.0),
        ("/after/request_skew", 2.4),
    ] {
        let found = figure(&json, path);
        assert!((found - expected).abs() < 1e-9, "{path}: {found}, expected {expected}");
    }
}

#[test]
fn one_hot_key_is_told_from_an_uneven_ring() {
    let place = Place::new();
    let mut hot = String::from("key,weight\nfrontpage,4000\n");
    (0..10_000).for_each(|index| hot.push_str(&format!("user:{index},1\n")));
    place.write("hot.csv", hot.as_bytes());
    let told = |file: &str, ring: &str| {
        done(place.run(&["skew", file, "--ring", ring, "--nodes", "40", "--explain"]))
    };
    assert_snapshot!(told("hot.csv", "ring={virtual_nodes=200}"), @r"
    keys                                    10001
    nodes                                      40
    key load, max/mean                      1.308
    request load, max/mean                 12.160
      no placement can avoid               11.429
      the part of ring{virtual_nodes=200}   0.731

    the busiest node is node-6; its heaviest keys:
    key            of all requests  of a fair share
      `frontpage`          28.57 %        1142.86 %

    it is one hot key: `frontpage` alone is 11.43 times a fair share, and has to be somewhere
    ");
    place.write("even.csv", keys(40_000).as_bytes());
    let uneven = told("even.csv", "ring={virtual_nodes=1}");
    assert!(uneven.lines().last().unwrap().starts_with("it is the ring: "), "{uneven}");
    let even = told("even.csv", "jump");
    assert!(even.lines().last().unwrap().starts_with("nothing to explain: "), "{even}");
    // A log: what stands there again was asked for again.
    place.write("log.txt", "a\nb\na\na\n".as_bytes());
    let args = ["skew", "log.txt", "--lines", "--ring", "jump", "--nodes", "2", "--format", "json"];
    let json: Json = serde_json::from_str(&done(place.run(&args))).unwrap();
    assert!((figure(&json, "/keys") - 2.0).abs() < 1e-12, "{json}");
    assert!(1.5 <= figure(&json, "/request_skew"), "{json}");
}

#[test]
fn mistakes_in_files_and_flags_are_told_with_their_place() {
    let place = Place::new();
    for (name, text) in [
        ("good.csv", "key,node\na,x\nb,y\n"),
        ("twice.csv", "key,node\na,x\nb,y\n\na,z\n"),
        ("other.csv", "key,node\na,x\nc,y\n"),
        ("fewer.csv", "key,node\na,x\n"),
        ("empty.csv", ""),
        ("header.csv", "key,node\r\n"),
        ("odd.csv", "keys;node\na;x\n"),
        ("short.csv", "key,node\na\n"),
        ("nameless.csv", "key,node\na,\n"),
        ("w-missing.csv", "key,weight\na,1\n"),
        ("w-wrong.csv", "key,weight\na,-1\n"),
        ("w-both.csv", "key,node,weight\na,x,1\n"),
        ("w-node.csv", "node,weight\nx,1\n"),
        ("n-twice.csv", "node\nx\nx\n"),
        ("n-zero.csv", "node,weight\nx,0\n"),
    ] {
        place.write(name, text.as_bytes());
    }
    let ring = ["--ring", "jump", "--nodes", "3"];
    let place_with = |ring: &'static str, nodes: &'static str, keys: &'static str| {
        vec!["place", "--ring", ring, "--nodes", nodes, "--keys", keys]
    };
    for (args, told) in [
        (
            vec!["remap", "twice.csv", "good.csv"],
            "error: twice.csv:5: the key `a` is placed twice: on line 2 too\n",
        ),
        (
            vec!["remap", "good.csv", "twice.csv"],
            "error: twice.csv:5: the key `a` is placed twice: on line 2 too\n",
        ),
        (
            vec!["remap", "good.csv", "other.csv"],
            "error: other.csv:3: the key `c` is not in good.csv: compare what both have with --common\n",
        ),
        (
            vec!["remap", "good.csv", "fewer.csv"],
            "error: good.csv:3: the key `b` is not in fewer.csv: compare what both have with --common\n",
        ),
        (
            vec!["remap", "good.csv", "empty.csv"],
            "error: empty.csv is empty, expected a header with `key` and `node`\n",
        ),
        (
            vec!["remap", "header.csv", "good.csv"],
            "error: header.csv has no rows below its header, expected one at least\n",
        ),
        (
            vec!["remap", "odd.csv", "good.csv"],
            "error: odd.csv:1: found `keys;node`, expected a header with `key` and `node`\n",
        ),
        (
            vec!["remap", "short.csv", "good.csv"],
            "error: short.csv:2: found 1 field, expected 2 as in the header\n",
        ),
        (vec!["remap", "nameless.csv", "good.csv"], "error: nameless.csv:2: the node is empty\n"),
        (vec!["remap", "-", "-"], "error: only one file can be standard input\n"),
        (
            vec!["remap", "good.csv", "good.csv", "--weights", "w-missing.csv"],
            "error: w-missing.csv has no weight for the key `b` of good.csv:3\n",
        ),
        (
            vec!["remap", "good.csv", "good.csv", "--weights", "w-wrong.csv"],
            "error: w-wrong.csv:2: found the weight `-1`, expected a number from 0 on\n",
        ),
        (
            vec!["remap", "good.csv", "good.csv", "--weights", "w-both.csv"],
            "error: w-both.csv:1: expected one of the columns `key` and `node` beside `weight`\n",
        ),
        (
            vec!["remap", "good.csv", "good.csv", "--weights", "w-node.csv"],
            "error: the weights do not name the node `y`\n",
        ),
        (
            [&["skew", "empty.csv"], &ring[..]].concat(),
            "error: empty.csv is empty, expected a header with `key`\n",
        ),
        (
            place_with("jump", "n-twice.csv", "good.csv"),
            "error: n-twice.csv:3: the node `x` is listed twice\n",
        ),
        (
            place_with("jump", "n-zero.csv", "good.csv"),
            "error: n-zero.csv:2: the weight is 0, expected a positive number\n",
        ),
        (
            place_with("jump", "3", "header.csv"),
            "error: header.csv has no rows below its header, expected one at least\n",
        ),
    ] {
        let ran = place.run(&args);
        assert_eq!((ran.code, ran.err.as_str()), (2, told), "{args:?}");
    }
    for (args, part) in [
        (place_with("rong", "3", "good.csv"), "unknown ring `rong`"),
        (place_with("rung={virtual_nodes=1}", "3", "good.csv"), "did you mean `ring`?"),
        (place_with("ring={virtual_nodes=0}", "3", "good.csv"), "found 0, expected at least 1"),
        (place_with("ring={virtual_nodes=", "3", "good.csv"), "--ring has"),
        (place_with("jump", "0", "good.csv"), "found 0 nodes, expected 1 to 1000000"),
        (place_with("jump", "none.csv", "good.csv"), "cannot read none.csv: "),
        (place_with("jump", "3", "none.csv"), "cannot read none.csv: "),
        (
            [&place_with("jump", "3", "good.csv")[..], &["--hash", "md4"]].concat(),
            "did you mean `md5`?",
        ),
    ] {
        let ran = place.run(&args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.err.contains(part), "{args:?}: {}", ran.err);
    }
    let both = place.run(&["remap", "good.csv", "other.csv", "--common", "--format", "csv"]);
    assert_eq!((both.code, both.err.as_str()), (0, "2 keys are in one of the files only\n"));
    assert!(both.out.starts_with("metric,at,value\nkeys,,1\n"), "{}", both.out);
}

#[test]
fn the_bench_tells_every_ring_once_and_marks_its_clock() {
    let place = Place::new();
    let args = ["bench", "rings", "--nodes", "3,5", "--rounds", "1", "--only", "jump,ring"];
    let ran = place.run(&[&args[..], &["--format", "csv"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.starts_with("wall clock"), "{}", ran.err);
    let rows: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split(',').collect()).collect();
    let names: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(names, [("ring", "3"), ("jump", "3"), ("ring", "5"), ("jump", "5")]);
    for row in &rows[1..] {
        let lookup: f64 = row[2].parse().unwrap();
        assert!(0.1 < lookup && lookup < 1e6, "{row:?}");
    }
    let human = place.run(&args);
    assert!(human.out.starts_with("3 nodes  look-up  steps*"), "{}", human.out);
    assert_eq!(place.files(".").len(), 0, "a bench leaves no file");
    assert_eq!(place.run(&["bench", "rings", "--only", "rong"]).code, 2);
}

/// Whether Python can be had; says so where it cannot.
#[expect(clippy::print_stderr, reason = "a test that checks nothing has to say so")]
fn has_python(test: &str) -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {test}: there is no python3 here");
    }
    found
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/external_ring.py");

/// A scenario that holds a program against the ring.
fn with_program(program: &str) -> String {
    let external = format!("{{ external = {{ command = [\"python3\", \"{program}\"] }} }}");
    SMALL.replace("\"modulo\"", &external)
}

#[test]
fn a_program_places_keys_as_it_says() {
    if !has_python("a_program_places_keys_as_it_says") {
        return;
    }
    let place = Place::new();
    place.write("keys.csv", keys(3_000).as_bytes());
    let ring = format!("external={{command=[\"python3\", \"{EXAMPLE}\"]}}");
    let put = |nodes: &str, file: &str| {
        let args = ["place", "--ring", &ring, "--nodes", nodes, "--keys", "keys.csv"];
        place.write(file, done(place.run(&args)).as_bytes());
    };
    put("10", "ten.csv");
    put("11", "eleven.csv");
    let json = done(place.run(&["remap", "ten.csv", "eleven.csv", "--format", "json"]));
    let json: Json = serde_json::from_str(&json).unwrap();
    assert!((figure(&json, "/change/key_remap") - 1.0 / 11.0).abs() < 0.04, "{json}");
    assert!(figure(&json, "/change/key_remap_survivors").abs() < 1e-12, "{json}");
    let told = place.run(&["skew", "keys.csv", "--ring", &ring, "--nodes", "10", "--explain"]);
    assert_eq!(told.code, 0, "{}", told.err);
    let args = ["place", "--ring", &ring, "--nodes", "4", "--keys", "keys.csv", "--replicas", "2"];
    let copies = done(place.run(&args));
    assert!(copies.lines().nth(1).unwrap().ends_with(','), "the example gives one copy: {copies}");
}

#[test]
fn a_scenario_starts_a_program_where_that_is_allowed() {
    if !has_python("a_scenario_starts_a_program_where_that_is_allowed") {
        return;
    }
    let place = Place::with_scenario(&with_program("my_ring.py"));
    let program = std::fs::read_to_string(EXAMPLE).unwrap();
    place.write("scenarios/my_ring.py", program.as_bytes());
    let refused = place.run(&["run", "scenarios/small.toml"]);
    assert_eq!(refused.code, 2);
    let told =
        "the program `python3 my_ring.py` may not be started: allow it with --allow-programs";
    assert!(refused.err.contains(told), "{}", refused.err);
    let args = ["run", "scenarios/small.toml", "--allow-programs", "--verify-determinism"];
    let ran = place.run(&args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let records = place.read("results/small/records.csv");
    let survivors: Vec<&str> = records
        .lines()
        .filter(|line| line.contains("external") && line.contains("key_remap_survivors"))
        .collect();
    assert_eq!(survivors.len(), 3, "{records}");
    let manifest: Json = serde_json::from_str(&place.read("results/small/manifest.json")).unwrap();
    let command = manifest["command"].as_str().unwrap();
    assert!(command.ends_with(" --allow-programs"), "{command}");
    let moving =
        place.run(&["run", "scenarios/small.toml", "--allow-programs", "--set", "motion={}"]);
    assert_eq!(moving.code, 2, "{}", moving.out);
}

#[test]
fn a_program_that_fails_is_told_with_its_reason() {
    if !has_python("a_program_that_fails_is_told_with_its_reason") {
        return;
    }
    let place = Place::new();
    place.write("keys.csv", keys(5).as_bytes());
    let nodes = "import sys\nread = sys.stdin.readline\n[read() for _ in range(4)]\n";
    let say = |text: &str| format!("{nodes}print('ok', flush=True)\n{text}\n");
    for (program, told) in [
        (
            say("sys.exit('no more disk')"),
            "ended (exit status: 1) after 0 of 6 answers; its last words: no more disk",
        ),
        (
            say("read()\nprint('node-1', flush=True)\nraise ValueError('a bad key')"),
            "ended (exit status: 1) after 1 of 6 answers; its last words: ValueError: a bad key",
        ),
        (
            say("read()\nprint('node-0\\n' * 6 + 'ok', flush=True)\nsys.stdin.read()"),
            "answered `node-0` after 5 answers, expected `ok`",
        ),
        (
            say("read()\nprint('node-0\\n' * 4 + 'ok\\nok', flush=True)\nsys.stdin.read()"),
            "answered `ok` for the key `user:4`, which is no node",
        ),
        (
            say("read()\nprint('node-0\\n' * 4 + 'node-9\\nok', flush=True)\nsys.stdin.read()"),
            "answered `node-9` for the key `user:4`, which is no node",
        ),
        (
            say("read()\nprint('error the config is empty', flush=True)\nsys.stdin.read()"),
            "gave up: the config is empty",
        ),
        (
            say("read()\nprint('node-2', flush=True)\nsys.stdin.read()"),
            "said nothing for 3s after 1 of 6 answers",
        ),
        (
            say(
                "read()\nsys.stdout.buffer.write(b'\\xff\\n')\nsys.stdout.flush()\nsys.stdin.read()",
            ),
            "answered what is not UTF-8",
        ),
        (
            format!("{nodes}print('hello', flush=True)"),
            "answered `hello` after 0 answers, expected `ok`",
        ),
        (
            "import time\nwhile True: time.sleep(1)".into(),
            "said nothing for 3s after 0 of 1 answers",
        ),
    ] {
        place.write("ring.py", program.as_bytes());
        // A silent program is waited for; one that ends is not, however slowly it starts.
        let timeout = if told.contains("nothing") { "3s" } else { "60s" };
        let ring =
            format!("external={{command=[\"python3\", \"ring.py\"], timeout=\"{timeout}\"}}");
        let ran = place.run(&["place", "--ring", &ring, "--nodes", "3", "--keys", "keys.csv"]);
        assert_eq!(ran.code, 2, "{program}\n{}", ran.err);
        assert!(ran.err.contains(told), "{program}\n{}expected {told}", ran.err);
    }
    let ring = "external={command=[\"./no-such-ring\"]}";
    let ran = place.run(&["place", "--ring", ring, "--nodes", "3", "--keys", "keys.csv"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("the program `./no-such-ring` cannot be started: "), "{}", ran.err);
    // In a scenario the run ends without numbers.
    let place = Place::with_scenario(&with_program("ring.py"));
    place.write(
        "scenarios/ring.py",
        format!(
            "{}sys.exit('gone')",
            nodes.replace("range(4)", "range(11)") + "print('ok', flush=True)\n"
        )
        .as_bytes(),
    );
    let ran = place.run(&["run", "scenarios/small.toml", "--allow-programs", "--seeds", "1"]);
    assert_eq!(ran.code, 3, "{}\n{}", ran.out, ran.err);
    assert!(
        ran.err.contains("its last words: gone") || ran.out.contains("its last words: gone"),
        "{}{}",
        ran.out,
        ran.err
    );
}
