//! What a ring in motion is measured by. "Measured" requests are those that a client was given
//! after the warm-up; what nodes do is counted from the end of the warm-up on.

use crate::record::brief::{Finding, Headline, Picture};
use crate::record::summary::Statistic;
use crate::record::{Better, Metric, Unit};
use crate::rings::measure::metrics;

/// All that a ring in motion is measured by.
pub const METRICS: &[&Metric] = &[
    &LATENCY,
    &LATENCY_COURSE,
    &REQUESTS,
    &ANSWERED,
    &FAILED,
    &CENSORED,
    &UNACCOUNTED,
    &AVAILABILITY,
    &THROUGHPUT,
    &GOODPUT,
    &FAILURES,
    &HIT_RATIO,
    &HIT_DIP,
    &HIT_RECOVERY,
    &ORIGIN_FETCHES,
    &LOAD_SKEW,
    &NODE_LOAD,
    &WORK,
    &MISROUTES,
    &MISROUTED,
    &SPILLED,
    &HANDED_ON,
    &TIMEOUTS,
    &REFUSALS,
    &BROKEN,
    &ABSENT,
    &VIEWS,
    &COPIED,
    &COPIED_BYTES,
    &COPIED_RATIO,
    &COPY_TIME,
    &LOST_KEYS,
    &CHANGE_BYTES,
    &CHANGE_MOVED,
    &CHANGE_TIME,
    &SHED_NODES,
    &DEAD_NODES,
    &CASCADE,
];

/// The columns of its table.
pub const HEADLINES: &[Headline] = &[
    Headline::of(&LATENCY, Statistic::P50),
    Headline::of(&LATENCY, Statistic::P99),
    Headline::of(&LATENCY, Statistic::P999),
    Headline::value(&GOODPUT),
    Headline::value(&AVAILABILITY),
    Headline::value(&HIT_RATIO),
    Headline::value(&HIT_DIP),
    Headline::value(&LOAD_SKEW),
    Headline::value(&MISROUTED),
    Headline::value(&COPIED_BYTES),
    Headline::value(&COPY_TIME),
    Headline::value(&CASCADE),
];

/// The sentences above the table.
pub const FINDINGS: &[Finding] = &[
    Finding::Best(Headline::of(&LATENCY, Statistic::P99)),
    Finding::Best(Headline::value(&LOAD_SKEW)),
    Finding::Occurs { count: &DEAD_NODES, what: "death by overload" },
    Finding::Occurs { count: &LOST_KEYS, what: "key without a copy" },
];

/// Its charts.
pub const PICTURES: &[Picture] = &[
    Picture::Course(&THROUGHPUT),
    Picture::Course(&FAILURES),
    Picture::Course(&LATENCY_COURSE),
    Picture::Course(&HIT_RATIO),
    Picture::Course(&LOAD_SKEW),
    Picture::Course(&COPIED),
    Picture::Percentiles(&LATENCY),
    Picture::Load(&NODE_LOAD),
];

metrics! {
    LATENCY = "latency", "latency", Nanoseconds, Lower:
        "From the instant at which a client was given a request (under an open load: whatever the state of the system) to its answer, over the measured requests that were answered. With retries, the whole of it. At \"copying\": of those that were answered while a node lacked a copy.";
    LATENCY_COURSE = "latency_course", "latency p99 by window", Nanoseconds, Lower:
        "The 99th percentile of the latency of the requests that were answered in the window; 0 where there is none.";
    REQUESTS = "requests", "requests", Count, Neither:
        "Requests that clients were given after the warm-up.";
    ANSWERED = "answered", "requests answered", Count, Higher:
        "Measured requests that ended with a value, or with the confirmation of a write.";
    FAILED = "failed", "requests failed", Count, Lower:
        "Measured requests whose last attempt came to nothing, and those whose client's process died or was down.";
    CENSORED = "censored", "requests still open", Count, Neither:
        "Measured requests that had not ended at the horizon.";
    UNACCOUNTED = "unaccounted", "requests unaccounted for", Count, Lower:
        "requests - answered - failed - censored, each counted by itself: 0 unless the simulation is wrong.";
    AVAILABILITY = "availability", "requests answered, share", Share, Higher:
        "answered / (answered + failed); 1 where no measured request ended.";
    THROUGHPUT = "throughput", "throughput", PerSecond, Higher:
        "answered / the time from the end of the warm-up to the horizon. Over time: requests answered in a window, measured or not, by its length.";
    GOODPUT = "goodput", "goodput", PerSecond, Higher:
        "As throughput, of the requests that were answered within the deadline of the scenario; all, where it has none.";
    FAILURES = "failures", "failures", PerSecond, Lower:
        "Over time: requests that failed in a window, measured or not, by its length.";
    HIT_RATIO = "hit_ratio", "hit ratio", Share, Higher:
        "Of the measured reads that were answered, the share whose value was at a node and not fetched from the origin; not measured where there is no read. Over time: of the reads answered in a window; as in the window before where there is none.";
    HIT_DIP = "hit_dip", "hit ratio, dip", Share, Lower:
        "The hit ratio over the whole windows from the warm-up to the first fault, surge or change of members, minus the lowest hit ratio of a window after it that has reads. Not measured where nothing happens, or no window is whole.";
    HIT_RECOVERY = "hit_recovery", "hit ratio, time to recover", Nanoseconds, Lower:
        "From the first fault, surge or change of members to the end of the last window whose hit ratio is more than 2 percentage points below that before; the horizon where it is still so then.";
    ORIGIN_FETCHES = "origin_fetches", "fetches from the origin", Count, Lower:
        "Fetches that nodes sent to the origin after the warm-up.";
    LOAD_SKEW = "load_skew", "load, max/mean", Ratio, Lower:
        "The requests that the busiest node worked on, by the mean over the members: of all after the warm-up, and the nodes that were members at any time. Over time: in a window, and the members at its end, or the nodes that worked in it where those are more; 1 where there is no request.";
    NODE_LOAD = "node_load", "requests by node", Share, Neither:
        "The node's share of the requests that nodes worked on after the warm-up.";
    WORK = "work", "requests worked on per request", Ratio, Lower:
        "Requests that nodes worked on after the warm-up, by requests: above 1 by retries and by misroutes that were sent on, below 1 by what was turned away or found nobody.";
    MISROUTES = "misroutes", "misroutes", PerSecond, Lower:
        "Over time: misroutes in a window, by its length.";
    MISROUTED = "misrouted", "misroutes, share", Share, Lower:
        "Of the requests that nodes worked on after the warm-up, the share that was for a key which is not the node's own by the node's view, and was not sent there on purpose.";
    SPILLED = "spilled", "requests spilled", Count, Neither:
        "Attempts after the warm-up that a client sent past the owner, because of the bound on its load.";
    HANDED_ON = "handed_on", "requests handed on", Count, Lower:
        "Requests after the warm-up whose node owned the key, had no copy yet, and sent them on to where one was.";
    TIMEOUTS = "timeouts", "attempts timed out", Count, Lower:
        "Attempts after the warm-up that a client gave up.";
    REFUSALS = "refusals", "attempts refused", Count, Lower:
        "Attempts after the warm-up that a node refused: its queue was full, it was not the owner, it knew no members yet, or the origin refused it.";
    BROKEN = "broken", "attempts broken off", Count, Lower:
        "Attempts after the warm-up whose connection broke.";
    ABSENT = "absent", "attempts without a value", Count, Lower:
        "Attempts after the warm-up that were answered by a node which had no value and knew nobody who did.";
    VIEWS = "views", "views", Count, Neither:
        "Versions of the members after the first, from the start to the horizon.";
    COPIED = "copied", "bytes copied", Bytes, Neither:
        "Over time: bytes of values that came in as copies in a window.";
    COPIED_BYTES = "copied_bytes", "bytes copied", Bytes, Lower:
        "Bytes of values that came in as copies because owners changed, from the start to the horizon.";
    COPIED_RATIO = "copied_ratio", "bytes copied by bytes due", Ratio, Lower:
        "copied_bytes by the bytes of the values of each key at each node that owns it in a view and did not in the view before. Less than 1 where a node came back and had its keys still, or where copies are missing at the horizon. Not measured where none was due.";
    COPY_TIME = "copy_time", "time with copies missing", Nanoseconds, Lower:
        "The time, from the start to the horizon, in which at least one node that was up lacked a copy that it should have by its view.";
    LOST_KEYS = "lost_keys", "copies found nowhere", Count, Lower:
        "How often a node that needed a copy found nobody to have it.";
    CHANGE_BYTES = "change_bytes", "bytes copied by change", Bytes, Lower:
        "Bytes of values that came in as copies from the decision about the members to the next one, or the horizon.";
    CHANGE_MOVED = "change_moved", "copies moved by change", Share, Lower:
        "Of the copies of all keys, the share that has another owner by the view that was decided on than by the view before.";
    CHANGE_TIME = "change_time", "time to finish a change", Nanoseconds, Lower:
        "From the decision about the members to the last instant, before the next decision that finds nothing to copy or the horizon, at which a node got the last copy that was missing anywhere. Not measured where copies are missing at the horizon; 0 where none was needed.";
    SHED_NODES = "shed_nodes", "nodes that shed", Count, Lower:
        "Nodes that turned a request away because their queue was full, at any time.";
    DEAD_NODES = "dead_nodes", "deaths by overload", Count, Lower:
        "How often a node's process died because it had turned requests away for too long. Measured where nodes do.";
    CASCADE = "cascade", "nodes that followed", Count, Lower:
        "Nodes that, after the first node went down for whatever reason, began to turn requests away or died of overload; without that first node. 0 where none goes down. Measured where queues are bounded or nodes die of their load.";
}
