//! A lock from outside the crate meets the same testbed, judges and matrix as those inside.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(dead_code, unreachable_pub, reason = "the example is a program of its own")]

#[path = "../examples/own_lock.rs"]
mod own_lock;

#[test]
fn a_lock_of_ones_own_is_judged_like_any_other() {
    let mut out = Vec::new();
    own_lock::show(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let row = |start: &str| -> Vec<&str> {
        let line = text.lines().find(|line| line.trim_start().starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no line begins with {start}:\n{text}"));
        line.split_whitespace().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect()
    };
    // Without a fault it is safe.
    assert_eq!(row("pairs that believed at once").last(), Some(&"0.00"), "{text}");
    assert_eq!(row("lost updates").last(), Some(&"0.00"), "{text}");
    // A pause after the last check breaks every lease, and tokens on reads and writes repair what
    // it does to the data: the row says the same as redis-py's.
    let [own, own_fenced, redis, redis_fenced] = row("F1b")[..] else { panic!("{text}") };
    assert!(own.contains('E') && redis.contains('E'), "{text}");
    assert!(!own_fenced.contains('E') && !redis_fenced.contains('E'), "{text}");
    // Its own check keeps a holder that was paused before it from writing.
    assert!(!row("F1a")[0].contains('E'), "{text}");
}
