//! Bad histories made by hand, one for each rule, and the good ones beside them.

use super::*;

/// Events as words: `invoke 0 acquire`, with fields behind as `token=3`, one a millisecond.
fn history(lines: &str) -> Recorded {
    let mut text = String::new();
    for (index, line) in lines.split(';').enumerate() {
        let mut words = line.split_whitespace();
        let mut word = || words.next().unwrap().to_owned();
        let (kind, process, function) = (word(), word(), word());
        let mut event = serde_json::json!({
            "type": kind, "process": process, "f": function, "time": (index + 1) * 1_000_000,
        });
        for field in words {
            let (name, value) = field.split_once('=').unwrap();
            event[name] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        }
        text.push_str(&event.to_string());
        text.push('\n');
    }
    read(&text, Notation::Json).unwrap()
}

fn opinion_of(name: &str, lines: &str, options: &Options) -> Opinion {
    let all = judge(&history(lines), options);
    all.into_iter().find(|opinion| opinion.judge == name).unwrap()
}

/// The findings of a judge, as `line: text`.
fn told(name: &str, lines: &str) -> Vec<String> {
    told_with(name, lines, &Options::default())
}

fn told_with(name: &str, lines: &str, options: &Options) -> Vec<String> {
    let opinion = opinion_of(name, lines, options);
    let findings = opinion.findings.into_iter();
    findings.map(|(line, text)| format!("{}: {text}", line.unwrap_or(0))).collect()
}

const GOOD: &str = "invoke 0 acquire; ok 0 acquire token=1; invoke 1 acquire; invoke 0 release; \
                    ok 0 release; ok 1 acquire token=2; invoke 1 release; ok 1 release";

#[test]
fn a_good_history_is_good_to_all() {
    for opinion in judge(&history(GOOD), &Options::default()) {
        let expected = if opinion.judge == "effect" { Outcome::Silent } else { Outcome::Good };
        assert_eq!(opinion.outcome, expected, "{opinion:?}");
    }
}

#[test]
fn two_holders_at_once_are_an_overlap_and_in_no_order() {
    let lines = "invoke 0 acquire; ok 0 acquire; invoke 1 acquire; ok 1 acquire; \
                 invoke 0 release; ok 0 release; invoke 1 release; ok 1 release";
    assert_eq!(
        told("belief", lines),
        ["4: from 4 ms to 5 ms both process 0 and process 1 believed that they held lock 1"]
    );
    assert_eq!(
        told("linearizable", lines),
        [
            "4: process 1 was granted it while process 0, granted it on line 2, must still have held \
          it"
        ]
    );
}

#[test]
fn a_holder_that_died_believes_nothing() {
    let lines = "invoke 0 acquire; ok 0 acquire; info 0 crash; invoke 1 acquire; ok 1 acquire";
    assert_eq!(told("belief", lines), [] as [&str; 0]);
}

#[test]
fn a_release_of_what_is_not_held_is_in_no_order() {
    assert_eq!(
        told("linearizable", "invoke 0 acquire; ok 0 acquire; invoke 1 release; ok 1 release"),
        ["3: process 1 released what it did not hold"]
    );
}

#[test]
fn a_failed_try_needs_a_holder_and_a_failed_release_none() {
    let free = "invoke 0 try_acquire; fail 0 try_acquire";
    assert_eq!(
        told("linearizable", free),
        ["2: this failed try of process 0 fits into no order: 0 of 1 operations could be placed \
          before it"]
    );
    let taken = "invoke 1 acquire; ok 1 acquire; invoke 0 try_acquire; fail 0 try_acquire";
    assert_eq!(told("linearizable", taken), [] as [&str; 0]);
    let lost = "invoke 1 acquire; ok 1 acquire; invoke 1 release; fail 1 release";
    assert_eq!(told("linearizable", lost).len(), 1);
}

#[test]
fn an_acquisition_whose_end_is_not_known_explains_a_failed_try() {
    let lines = "invoke 1 acquire; info 1 acquire; invoke 0 try_acquire; fail 0 try_acquire";
    assert_eq!(told("linearizable", lines), [] as [&str; 0]);
}

#[test]
fn who_may_have_acquired_may_release() {
    let lines = "invoke 0 acquire; info 0 acquire; invoke 0 release; ok 0 release";
    assert_eq!(told("linearizable", lines), [] as [&str; 0]);
}

#[test]
fn a_semaphore_has_its_permits() {
    let lines = "invoke 0 acquire; ok 0 acquire; invoke 1 acquire; ok 1 acquire";
    let with = |permits| Options { permits, ..Options::default() };
    assert_eq!(told_with("linearizable", lines, &with(2)), [] as [&str; 0]);
    let third = format!("{lines}; invoke 2 acquire; ok 2 acquire");
    assert_eq!(told_with("linearizable", &third, &with(2)).len(), 1);
}

#[test]
fn entering_again_needs_a_lock_that_lets_one() {
    let lines = "invoke 0 acquire; ok 0 acquire; invoke 0 acquire; ok 0 acquire; \
                 invoke 0 release; ok 0 release; invoke 0 release; ok 0 release; \
                 invoke 1 acquire; ok 1 acquire";
    let reentrant = Options { is_reentrant: true, ..Options::default() };
    assert_eq!(told("linearizable", lines).len(), 1);
    assert_eq!(told_with("linearizable", lines, &reentrant), [] as [&str; 0]);
}

#[test]
fn a_stale_read_of_a_register_is_in_no_order() {
    let lines = "invoke 0 write key=x value=1; ok 0 write; invoke 0 write key=x value=2; \
                 ok 0 write; invoke 1 read key=x; ok 1 read value=1";
    assert_eq!(
        told("linearizable", lines),
        ["6: this read of process 1 fits into no order: 2 of 3 operations could be placed before \
          it"]
    );
}

#[test]
fn a_search_that_gives_up_says_so() {
    let options = Options { steps_max: 1, ..Options::default() };
    let lines = "invoke 0 try_acquire; ok 0 try_acquire; invoke 1 try_acquire; fail 1 try_acquire";
    assert_eq!(opinion_of("linearizable", lines, &options).outcome, Outcome::Unknown);
}

#[test]
fn a_late_write_between_anothers_read_and_write_is_an_anomaly() {
    let lines = "invoke 0 acquire; ok 0 acquire token=1; invoke 1 acquire; ok 1 acquire token=2; \
                 effect 0 read value=0 token=1; effect 1 read value=0 token=2; \
                 effect 0 write value=1 token=1; effect 1 write value=1 token=2";
    let told = told("effect", lines);
    assert!(
        told[0].starts_with("8: at 8 ms the write of process 1 replaced the increment of"),
        "{told:?}"
    );
}

#[test]
fn tokens_that_fall_come_twice_or_go_backwards_are_told() {
    let grants = |first: u64, second: u64| {
        format!(
            "invoke 0 acquire; ok 0 acquire token={first}; invoke 0 release; ok 0 release; \
             invoke 1 acquire; ok 1 acquire token={second}"
        )
    };
    assert_eq!(
        told("fencing", &grants(5, 5)),
        ["6: process 1 was granted token 5, as process 0 was before"]
    );
    assert_eq!(
        told("fencing", &grants(5, 4)),
        ["6: process 1 was granted token 4, though token 5 was granted on line 2 before it asked"]
    );
    assert_eq!(told("fencing", &grants(5, 6)), [] as [&str; 0]);
    let effects =
        "invoke 0 acquire; effect 1 write value=1 token=2; effect 0 write value=1 token=1";
    assert_eq!(
        told("fencing", effects),
        ["3: the resource let token 1 through after token 2 on line 2"]
    );
    assert_eq!(
        told("fencing", "invoke 0 acquire; effect 1 write token=2; effect 0 write"),
        ["3: the resource let an operation without a token through after token 2 on line 2"]
    );
    let refused = "invoke 0 acquire; effect 1 write token=2; effect 0 write token=1 accepted=false";
    assert_eq!(told("fencing", refused), [] as [&str; 0]);
}

#[test]
fn a_late_reply_is_no_token_that_falls() {
    // Process 0's grant was made first and heard of last: no order is broken.
    let lines = "invoke 0 acquire; invoke 1 acquire; ok 1 acquire token=2; ok 0 acquire token=1";
    assert_eq!(told("fencing", lines), [] as [&str; 0]);
}

#[test]
fn who_waits_for_ever_is_told_with_the_cause() {
    let held = "invoke 0 acquire; ok 0 acquire; invoke 1 acquire";
    assert_eq!(told("liveness", held), ["3: process 1 waits for ever: process 0 holds it"]);
    let dead = "invoke 0 acquire; ok 0 acquire; invoke 1 acquire; info 0 crash";
    assert_eq!(
        told("liveness", dead),
        ["3: process 1 waits for ever: process 0, which died, holds it"]
    );
    let circle = "invoke 0 acquire lock=a; ok 0 acquire; invoke 1 acquire lock=b; ok 1 acquire; \
                  invoke 0 acquire lock=b; invoke 1 acquire lock=a";
    assert_eq!(
        told("liveness", circle),
        [
            "5: process 0 waits for ever: process 1 holds it and waits for another: a deadlock",
            "6: process 1 waits for ever: process 0 holds it and waits for another: a deadlock",
        ]
    );
    let free = "invoke 0 acquire; ok 0 acquire; invoke 1 acquire; invoke 0 release; ok 0 release";
    assert_eq!(told("liveness", free), ["3: process 1 waits for ever: nobody holds it"]);
}

#[test]
fn a_wait_that_others_overtake_too_often_is_starvation() {
    let lines = "invoke 0 acquire; invoke 1 acquire; ok 1 acquire; invoke 1 release; \
                 ok 1 release; ok 0 acquire";
    let allowed = |most| Options { bypass_max: Some(most), ..Options::default() };
    assert_eq!(told_with("liveness", lines, &allowed(1)), [] as [&str; 0]);
    assert_eq!(
        told_with("liveness", lines, &allowed(0)),
        ["0: a wait saw 1 grants to others that asked later: starvation"]
    );
}

#[test]
fn json_and_edn_say_the_same() {
    let json = r#"{"type":"invoke","process":0,"f":"acquire","time":1}
{"type":"ok","process":0,"f":"acquire","time":2,"token":7}

{"type":"info","process":0,"f":"crash","time":9}"#;
    let edn = "{:type :invoke, :process 0, :f :acquire, :time 1}\n\
                   {:type :ok, :process 0, :f :acquire, :time 2, :value {:fence 7}}\n\
                   {:type :info, :process :nemesis, :f :partition, :time 3}\n\
                   {:type :info, :process 0, :f :crash, :time 9}";
    let (json, edn) = (read(json, Notation::Json).unwrap(), read(edn, Notation::Edn).unwrap());
    assert_eq!(json.operations, edn.operations);
    let [acquisition] = json.operations.as_slice() else { panic!("{json:?}") };
    assert_eq!((acquisition.end, acquisition.token), (End::Ok, Some(7)));
    assert_eq!(json.deaths, [(Instant { ns: 9, line: 4 }, 0)]);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = r#"{"type":"invoke","process":0,"f":"acquire","time":5}
{"type":"invoke","process":0,"f":"release","time":6}
{"type":"ok","process":1,"f":"acquire","time":6}
{"type":"done","process":0,"f":"acquire","time":6}
{"type":"ok","process":0,"f":"acquir","time":6}
{"type":"ok","process":0,"f":"acquire","time":4}
{"type":"ok","process":0,"f":"acquire"}
{"type":"ok","process":0,"f":"acquire","time":7,"tokn":1}
not json
{"type":"ok","process":0,"f":"release","time":8}"#;
    let mistakes = read(text, Notation::Json).unwrap_err();
    let told: Vec<(usize, &str)> =
        mistakes.iter().map(|mistake| (mistake.line, mistake.text.as_str())).collect();
    let expected = [
        (2, "process 0 begins something though what it began on line 1 is not over"),
        (3, "process 1 ends something that it did not begin"),
        (4, "found type `done`, expected invoke"),
        (5, "found f `acquir`, expected acquire"),
        (6, "its time 4 is before that of an earlier event, 6"),
        (7, "some events have a time and others have none"),
        (8, "unknown field `tokn`"),
        (9, "column 2: not JSON"),
        (10, "it ends another operation than began on line 1"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((line, text), (expected_line, expected)) in told.iter().zip(expected) {
        assert_eq!(*line, expected_line, "{text}");
        assert!(text.starts_with(expected), "{text}");
    }
    assert!(read("\n", Notation::Json).is_err());
}
