//! Opens a report in a real browser: no console message, nothing that scrolls sideways at 360, 900
//! and 1600 pixels, text with a contrast of at least 4.5 to 1, in the light and in the dark.
//!
//! Chromium is asked for the page by its own flags, without a driver: a page of ours holds the
//! report in frames of these widths, measures it and writes down what it found, and Chromium prints
//! that page. Both come from a server in this process, so that they have one origin. Where no
//! Chromium is installed the test is skipped, and says so; with `STORMGLASS_BROWSER=required` that is
//! a failure.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stdout, reason = "a test without a harness tells what it checked")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::Value as Json;
use support::Place;

/// A browser that has not answered by then is stopped.
const PATIENCE: Duration = Duration::from_secs(120);
const WIDTHS: [u32; 3] = [360, 900, 1600];
/// WCAG 2.2, 1.4.3 (AA), for text of ordinary size.
const CONTRAST_MIN: f64 = 4.5;

fn main() -> ExitCode {
    let Some(chromium) = chromium() else {
        println!("skipped: no chromium is installed, so no report was opened in a browser");
        println!("0 passed, 0 failed");
        let is_required = env::var_os("STORMGLASS_BROWSER").is_some_and(|it| it == "required");
        return ExitCode::from(u8::from(is_required));
    };
    let mut failures = Vec::new();
    let mut passed = 0;
    for (name, page) in [("report", report()), ("matrix", matrix())] {
        let page = Arc::new(page);
        for (theme, number) in [("dark", 0), ("light", 1)] {
            let port = serve(page.clone());
            match ask(&chromium, port, number) {
                Ok(found) => {
                    let wrong = judge(name, theme, &found);
                    passed += WIDTHS.len() * 3 - wrong.len().min(WIDTHS.len() * 3);
                    failures.extend(wrong);
                }
                Err(why) => failures.push(format!("{name}, {theme}: {why}")),
            }
        }
    }
    for failure in &failures {
        println!("FAILED  {failure}");
    }
    println!("{passed} passed, {} failed", failures.len());
    ExitCode::from(u8::from(!failures.is_empty() || passed == 0))
}

/// A report with all three subjects, every kind of chart, a claim and a wide table.
fn report() -> String {
    let place = Place::new();
    let scenario = fs::read_to_string("scenarios/quickstart.toml").unwrap();
    let claim = "\n[[check]]\nclaim = \"a claim that does not hold\"\nmetric = \"key_skew\"\n\
                 at_most = 0.5\nwhy = \"to see a failure\"\n";
    place.write("scenarios/quickstart.toml", format!("{scenario}{claim}").as_bytes());
    for entry in fs::read_dir("scenarios/data").unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        place.write(&format!("scenarios/data/{name}"), &fs::read(&path).unwrap());
    }
    let args = ["check", "scenarios/quickstart.toml", "--seeds", "2", "--out", "out"];
    let ran = place.run(&args);
    assert_eq!(ran.code, 1, "{}", ran.err);
    place.read("out/report.html")
}

/// The page of a part of the matrix of locks, with every shade of it.
fn matrix() -> String {
    let args = ["matrix", "locks", "--only", "V1/", "--only", "V3/", "--format", "html"];
    let ran = Place::new().run(&args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for shade in ["outcome\"", "outcome warned\"", "outcome harmed\""] {
        assert!(ran.out.contains(shade), "no cell is {shade}");
    }
    ran.out
}

fn chromium() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let found = |folder: PathBuf| names.into_iter().map(move |name| folder.join(name));
    env::split_paths(&path).flat_map(found).find(|program| program.is_file())
}

/// Serves the probe and the report; the port.
fn serve(report: Arc<String>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let report = report.clone();
            // A browser opens connections that it then says nothing on.
            thread::spawn(move || answer(stream, &report));
        }
    });
    port
}

fn answer(mut stream: TcpStream, report: &str) {
    let mut line = String::new();
    let Ok(copy) = stream.try_clone() else { return };
    if BufReader::new(copy).read_line(&mut line).is_err() {
        return;
    }
    let probe = probe();
    let (status, body) = match line.split(' ').nth(1) {
        Some("/report.html") => ("200 OK", report),
        Some("/probe.html") => ("200 OK", probe.as_str()),
        _ => ("404 Not Found", ""),
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
}

/// A page that measures the report in a frame of each width.
fn probe() -> String {
    let frames: Vec<String> = WIDTHS
        .iter()
        .map(|width| {
            format!("<iframe src=\"/report.html\" width=\"{width}\" height=\"800\"></iframe>")
        })
        .collect();
    format!(
        "<!doctype html><meta charset=\"utf-8\"><link rel=\"icon\" href=\"data:,\">\
         <style>iframe {{ border: 0 }}</style>\n{}\n<pre id=\"found\"></pre>\n\
         <script>{}</script>",
        frames.join("\n"),
        include_str!("browser_probe.js")
    )
}

/// What the probe wrote down, and what the console said.
struct Found {
    frames: Vec<Json>,
    console: Vec<String>,
}

fn ask(chromium: &Path, port: u16, theme: u8) -> Result<Found, String> {
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--no-first-run",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--window-size=1700,1000",
            "--virtual-time-budget=20000",
            "--dump-dom",
        ])
        .arg(format!("--blink-settings=preferredColorScheme={theme}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://127.0.0.1:{port}/probe.html"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} does not start: {error}", chromium.display()))?;
    let (mut out, mut err) = (browser.stdout.take().unwrap(), browser.stderr.take().unwrap());
    let (told, page) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = out.read_to_end(&mut text);
        let _ = told.send(String::from_utf8_lossy(&text).into_owned());
    });
    let messages = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let page = page.recv_timeout(PATIENCE);
    let _ = browser.kill();
    let _ = browser.wait();
    let page = page.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let messages = messages.join().unwrap_or_default();
    let found = page
        .split_once("<pre id=\"found\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(json, _)| json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        .filter(|json| !json.is_empty())
        .ok_or_else(|| format!("the probe wrote nothing down: {messages}"))?;
    let frames = serde_json::from_str(&found).map_err(|error| format!("{error}: {found}"))?;
    let is_console = |line: &&str| line.contains(":CONSOLE");
    let console = messages.lines().filter(is_console).map(str::to_owned).collect();
    Ok(Found { frames, console })
}

/// What is wrong with a page in one theme.
fn judge(name: &str, theme: &str, found: &Found) -> Vec<String> {
    let mut wrong: Vec<String> = (found.console.iter())
        .map(|line| format!("{name}, {theme}: the console says {line}"))
        .collect();
    if found.frames.len() != WIDTHS.len() {
        wrong.push(format!("{name}, {theme}: {} frames were measured", found.frames.len()));
    }
    for (frame, width) in found.frames.iter().zip(WIDTHS) {
        let case = format!("{name}, {theme}, {width} px");
        if frame["dark"] != (theme == "dark") {
            wrong.push(format!("{case}: the page is not {theme}"));
        }
        let wide = frame["scroll_width"].as_f64().unwrap_or(f64::INFINITY);
        if f64::from(width) < wide {
            wrong.push(format!("{case}: it is {wide} px wide: {}", frame["widest"]));
        }
        let texts = frame["texts"].as_u64().unwrap_or(0);
        if texts < 100 {
            wrong.push(format!("{case}: only {texts} texts were found"));
        }
        let least = frame["contrast"].as_f64().unwrap_or(0.0);
        println!("{case}: {texts} texts, contrast at least {least:.2}, {wide} px wide");
        if least < CONTRAST_MIN {
            wrong.push(format!("{case}: contrast {least:.2}: {}", frame["faintest"]));
        }
    }
    wrong
}
