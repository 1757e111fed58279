//! A queue from outside the crate meets the same testbed, judge and matrix as those inside.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, unreachable_pub, reason = "the example is a program of its own")]

#[path = "../examples/own_queue.rs"]
mod own_queue;

#[test]
fn a_queue_of_ones_own_is_judged_like_any_other() {
    let mut out = Vec::new();
    own_queue::show(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let row = |start: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.trim_start().starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no line begins with {start}:\n{text}"));
        line.split_whitespace().collect()
    };
    // Without a fault it loses nothing and does nothing twice.
    assert_eq!(row("lost").last(), Some(&"0.00"), "{text}");
    assert_eq!(row("done twice").last(), Some(&"0.00"), "{text}");
    let codes = |fault: &str| -> Vec<String> {
        let row = row(fault);
        row[row.len() - 3].split('+').map(str::to_owned).collect()
    };
    // It confirms what its disk has: neither a crash nor a power loss takes a message from it.
    for fault in ["worker killed mid-task", "broker process SIGKILL", "power loss"] {
        assert!(!codes(fault).contains(&"L".to_owned()), "{fault}:\n{text}");
    }
    // A consumer that dies after the effect, or is slower than its lease, has it done twice.
    for fault in ["worker killed after effect", "zombie consumer", "task longer than lease"] {
        assert!(codes(fault).contains(&"D".to_owned()), "{fault}:\n{text}");
    }
}
