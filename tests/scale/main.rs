//! A sweep gives the same bytes however it is split, by whatever it is carried out and whoever is
//! killed on the way: once by plain processes, once by a real Slurm where one is installed.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stdout, reason = "a test without a harness tells what it checked")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

const SCENARIO: &str = r#"
schema = 1
question = "Is a sweep the same however it is split?"
seeds = { first = 1, count = 20 }

[experiment.rings]
variants = ["modulo", { ring = {}, as = "ring" }]
nodes = 10
keys = { made = { count = 20_000 } }
events = [{ add = {} }]

[experiment.locks]
variants = ["token"]
clients = 4
work = "10ms"
think = { exponential = { mean = "20ms" } }
horizon = "20s"

[sweep]
"rings.variants.ring.virtual_nodes" = [10, 100, 400]
"#;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene { folder: folder.path().to_owned() };
    fs::create_dir(folder.path().join("scenarios")).unwrap();
    fs::write(folder.path().join("scenarios/split.toml"), SCENARIO).unwrap();
    assert_eq!(scene.run(&["run", "scenarios/split.toml", "--out", "one"]).0, 0);
    let expected = scene.files("one");
    assert!(5 < expected.len(), "{:?}", expected.keys());
    three_processes_of_which_one_is_killed(&scene, &expected);
    println!("ok: three processes, one killed with -9 and resumed, gave the bytes of one");
    if !is_there("slurmctld") || !is_there("slurmd") || !is_there("munged") {
        println!("skipped: Slurm is not installed, so no job array was run");
        return ExitCode::SUCCESS;
    }
    a_slurm_array_and_a_dependent_merge(&scene, &expected);
    println!("ok: a job array on two nodes of a real Slurm gave the bytes of one process");
    ExitCode::SUCCESS
}

fn three_processes_of_which_one_is_killed(scene: &Scene, expected: &BTreeMap<String, Vec<u8>>) {
    let shard = |index| {
        let shard = format!("{index}/3");
        let mut command = scene.command();
        command.args(["sweep", "scenarios/split.toml", "--jobs", "1", "--out", "many"]);
        command.args(["--shard", &shard]).stdout(Stdio::null());
        command
    };
    let segments = scene.folder.join("many/segments");
    let mut doomed = shard(0).spawn().unwrap();
    // Until it has begun to write; that it may be through by then changes nothing below.
    for _ in 0..1000 {
        let begun = fs::metadata(segments.join("0-of-3.1.jsonl")).is_ok_and(|file| 0 < file.len());
        if begun || doomed.try_wait().unwrap().is_some() {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    doomed.kill().unwrap();
    doomed.wait().unwrap();
    let (code, out) = scene.run(&["merge", "--out", "many"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("--shard 1/3 --out many"), "{out}");
    let others = [1, 2].map(|index| shard(index).spawn().unwrap());
    for mut other in others {
        assert!(other.wait().unwrap().success());
    }
    // With another number of shards, it goes on all the same.
    assert_eq!(scene.run(&["sweep", "scenarios/split.toml", "--out", "many"]).0, 0);
    let (code, out) = scene.run(&["merge", "--out", "many"]);
    assert_eq!(code, 0, "{out}");
    same(&scene.files("many/report"), expected);
    // A changed digit is noticed, and only its run is made again.
    let segment = fs::read_dir(&segments).unwrap().map(|file| file.unwrap().path()).max().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let digit = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
    bytes[digit] = if bytes[digit] == b'1' { b'2' } else { b'1' };
    fs::write(&segment, bytes).unwrap();
    let (code, out) = scene.run(&["merge", "--out", "many"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.starts_with("missing 1 of 100 runs of split, such as "), "{out}");
    let (_, out) = scene.run(&["sweep", "scenarios/split.toml", "--out", "many"]);
    assert!(out.contains("99 were there, 1 made, 0 left"), "{out}");
    assert_eq!(scene.run(&["merge", "--out", "many"]).0, 0);
    same(&scene.files("many/report"), expected);
}

fn a_slurm_array_and_a_dependent_merge(scene: &Scene, expected: &BTreeMap<String, Vec<u8>>) {
    let out = scene.folder.join("slurm");
    let out = out.to_str().unwrap();
    let scenario = scene.folder.join("scenarios/split.toml");
    let emit = ["--emit", "slurm", "--shards", "6", "--out", out];
    let asked = ["sweep", scenario.to_str().unwrap()];
    assert_eq!(scene.run(&[&asked[..], &emit[..]].concat()).0, 0);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scale/slurm.sh");
    let ran = Command::new("timeout")
        .args(["120", "bash"])
        .arg(script)
        .arg(format!("{out}/submit.sh"))
        .env("STORMGLASS", env!("CARGO_BIN_EXE_stormglass"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}\n{told}\n{errors}", ran.status);
    let segments = fs::read_dir(scene.folder.join("slurm/segments")).unwrap().count();
    assert_eq!(segments, 6, "{told}\n{errors}");
    same(&scene.files("slurm/report"), expected);
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.into_iter().any(|folder: PathBuf| folder.join(program).is_file())
}

fn same(found: &BTreeMap<String, Vec<u8>>, expected: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in found {
        assert!(*bytes == expected[name], "{name} differs");
    }
}

struct Scene {
    folder: PathBuf,
}

impl Scene {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stormglass"));
        command.current_dir(&self.folder);
        command
    }

    /// The exit code and what was printed.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let ran = self.command().args(args).output().unwrap();
        let code = ran.status.code().unwrap();
        (code, String::from_utf8(ran.stdout).unwrap())
    }

    /// All files in `folder` and the folders in it, by name.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.folder.join(folder)];
        while let Some(each) = folders.pop() {
            for entry in fs::read_dir(each).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.folder.join(folder)).unwrap();
                    files.insert(name.to_str().unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
        files
    }
}
