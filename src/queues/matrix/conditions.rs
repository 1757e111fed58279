//! The conditions under which a cell has an outcome of its own, each a configuration.

use super::faults::{Actors, Killed, RESET, STRUCK, Script, at, churn, churning, crash, kill, on};

/// A condition of a cell.
#[derive(Debug)]
pub struct Condition {
    /// Of which variant.
    pub variant: &'static str,
    /// Under which fault.
    pub fault: &'static str,
    /// What tables call it.
    pub name: &'static str,
    /// More parameters.
    pub(super) params: &'static str,
    /// Whether they stand instead of the row's.
    pub(super) is_instead: bool,
    /// What is killed, where that is not as the row says.
    pub(super) killed: Option<Killed>,
    /// What the poison does, where that is not as the row says.
    pub(super) poison: Option<&'static str>,
    /// What happens otherwise than the column says.
    pub(super) script: Option<fn(Script, &Actors) -> Script>,
}

const PLAIN: Condition = Condition {
    variant: "",
    fault: "",
    name: "",
    params: "",
    is_instead: false,
    killed: None,
    poison: None,
    script: None,
};

/// One that differs in parameters.
const fn set(
    variant: &'static str,
    fault: &'static str,
    name: &'static str,
    params: &'static str,
) -> Condition {
    Condition { variant, fault, name, params, ..PLAIN }
}

/// One in which the work kills its worker.
const fn kills(variant: &'static str) -> Condition {
    let name = "task kills its worker";
    Condition { variant, fault: "F10", name, poison: Some("kills"), ..PLAIN }
}

const DROP_HEAD: &str = "queue = { max_length = 20 }";
const REJECT: &str = "queue = { max_length = 20, overflow = \"reject_publish\" }";

/// All of them, by row and column.
pub const CONDITIONS: &[Condition] = &[
    set("V1", "F11", "bounded, drop-head", DROP_HEAD),
    set("V1", "F11", "unbounded", ""),
    set("V2", "F3", "confirmed messages", ""),
    set("V2", "F4", "version <= 3.12", "version = \"3.12\""),
    set("V2", "F4", "version >= 3.13", "version = \"3.13\""),
    kills("V2"),
    // With nothing but the long task taken, nothing else waits behind it.
    Condition { is_instead: true, ..set("V2", "F8", "", "prefetch = 1") },
    set("V2", "F11", "drop-head", DROP_HEAD),
    set("V2", "F11", "reject-publish", REJECT),
    Condition { script: Some(gives_up), ..set("V3", "F5", "producer gives up", "") },
    set("V3", "F5", "producer resends", "publish_retry = { sees_error = true }"),
    set("V3", "F8", "running task", ""),
    Condition { script: Some(eta), ..set("V3", "F8", "ETA beyond consumer_timeout", "") },
    set("V3", "F11", "bounded, drop-head", DROP_HEAD),
    set("V3", "F11", "unbounded", ""),
    set("V4", "F4", "version <= 3.12", "rabbitmq = \"3.12\""),
    set("V4", "F4", "version >= 3.13", "rabbitmq = \"3.13\""),
    kills("V4"),
    set("V4", "F8", "", "prefetch_multiplier = 1"),
    set("V4", "F11", "drop-head", DROP_HEAD),
    set("V4", "F11", "reject-publish", REJECT),
    Condition { killed: Some(Killed::Child), ..set("V4d", "F1", "pool child killed", "") },
    // With nothing but the running task taken, nothing else can be redelivered.
    Condition {
        killed: Some(Killed::Process),
        ..set("V4d", "F1", "main process killed", "prefetch_multiplier = 1")
    },
    Condition {
        script: Some(before_effect),
        ..set("V4d", "F2", "pool child killed, effect not done", "")
    },
    Condition {
        killed: Some(Killed::Process),
        ..set("V4d", "F2", "main process killed", "prefetch_multiplier = 1")
    },
    set("V4d", "F3", "publisher confirms off", ""),
    set("V4d", "F3", "publisher confirms on", "confirm_publish = true"),
    Condition { script: Some(gives_up), ..set("V4d", "F5", "producer gives up", "") },
    set("V4d", "F5", "producer resends", "publish_retry = { sees_error = true }"),
    set("V4d", "F8", "", "prefetch_multiplier = 1"),
    set("V4d", "F11", "bounded, drop-head", DROP_HEAD),
    set("V4d", "F11", "unbounded", ""),
    Condition {
        script: Some(between_pop_and_record),
        ..set("V5", "F1", "crash between pop and record", "")
    },
    set("V5", "F1", "crash while processing", ""),
    set("V5", "F3", "append-only file", APPEND),
    set("V5", "F3", "snapshot persistence", ""),
    set("V5", "F6", "", QUICK),
    set("V5", "F9", "clean leave", ""),
    Condition { script: Some(crashing), ..set("V5", "F9", "crash", "") },
    Condition { params: "reject_on_worker_lost = true", ..kills("V5") },
    Condition { script: Some(missed_delete), ..set("V6", "F6", "replica missed the delete", "") },
    set("V6", "F11", "", RETENTION),
    set("V7", "F5", "resend within 300 s", ""),
    Condition { script: Some(cut_for::<301>), ..set("V7", "F5", "resend after 300 s", "") },
    set("V7", "F11", "", RETENTION),
    // With nothing but the running task taken, nothing else can be redelivered.
    set("V8", "F1", "", "max_poll_records = 1"),
    set("V8", "F5", "same producer session", ""),
    set("V8", "F5", "new producer session", "resend_by_new_producer = true"),
    set("V8", "F8", "", "max_poll_records = 1"),
    set("V8", "F9", "", "initial_rebalance_delay = \"0s\""),
    set("V8", "F11", "", LOG_RETENTION),
    set("V9", "F1", "crash", "session_timeout = \"6s\""),
    Condition {
        script: Some(orderly_close),
        ..set(
            "V9",
            "F1",
            "orderly close with auto-commit of unprocessed records",
            "on_stop = \"break_off\"",
        )
    },
    Condition { script: Some(leader_dies_when_stored), ..set("V9", "F3", "", QUICK_KAFKA) },
    Condition { script: Some(burst), ..set("V9", "F5", "", "") },
    // With one leader, each producer has to do with one side only.
    Condition { is_instead: true, ..set("V9", "F6", "", ONE_LEADER) },
    set("V9", "F8", "", "max_poll_records = 1"),
    set("V9", "F9", "", "initial_rebalance_delay = \"0s\""),
    set("V9", "F11", "", LOG_RETENTION),
    set("V10", "F3", "append-only file", APPEND),
    set("V10", "F3", "snapshot persistence", ""),
    set("V10", "F6", "", QUICK),
    set("V10", "F9", "consumer deleted", "delete_on_leave = true"),
    set("V10", "F9", "consumer only stops", ""),
    set("V10", "F11", "", "maxlen = 20"),
    set("V11", "F5", "resend within the window, with message id", "msg_id = true"),
    set("V11", "F5", "resend after the window or without id", ""),
    set("V11", "F10", "", "max_deliver = 3"),
    set("V11", "F11", "DiscardNew", "max_msgs = 20, discard = \"new\""),
    set("V11", "F11", "DiscardOld", "max_msgs = 20"),
    Condition { script: Some(each_confirmed), ..set("V12", "F3", "confirmed messages", "") },
    // With nothing but the long task taken, nothing else waits behind it.
    Condition { is_instead: true, ..set("V12", "F8", "", "prefetch = 1") },
    set("V12", "F10", "dead-letter exchange", "dead_letter = true"),
    set("V12", "F10", "no dead-letter exchange", ""),
    set("V12", "F11", "drop-head", "max_length = 20"),
    set("V12", "F11", "reject-publish", "max_length = 20, overflow = \"reject_publish\""),
    Condition {
        script: Some(unsynchronised),
        ..set("V13", "F3", "promoted mirror unsynchronised", "")
    },
    set("V13", "F6", "", SPLIT),
    // With nothing but the long task taken, nothing else waits behind it.
    Condition { is_instead: true, ..set("V13", "F8", "", "prefetch = 1") },
    kills("V13"),
    set("V13", "F11", "bounded, drop-head", DROP_HEAD),
    set("V13", "F11", "unbounded", ""),
];

const APPEND: &str = "redis = { persistence = \"append\" }";

/// Servers and clients that notice within seconds that nobody answers.
const QUICK: &str = "redis = { down_after = \"5s\", socket_timeout = \"5s\" }";

/// The same for Kafka.
const QUICK_KAFKA: &str =
    "broker_session = \"1s\", broker_heartbeat = \"200ms\", request_timeout = \"1s\"";

const ONE_LEADER: &str = "replication = 3, acks = \"leader\", idempotence = false, \
    broker_session = \"1s\", broker_heartbeat = \"200ms\", request_timeout = \"1s\"";

const LOG_RETENTION: &str = "retention = \"10s\", segment = \"1s\", retention_check = \"1s\"";

const RETENTION: &str = "retention = \"10s\"";

/// The worker dies when it has popped a message and not noted it yet.
fn between_pop_and_record(script: Script, actors: &Actors) -> Script {
    Script { faults: vec![on(STRUCK, "popped", 6, None, &kill(actors.killed))], ..script }
}

/// The consumer leaves off in the middle of its work and closes.
fn orderly_close(script: Script, _: &Actors) -> Script {
    let terminate = format!("terminate = {{ target = \"{STRUCK}\" }}");
    Script { faults: vec![on(STRUCK, "started", 6, None, &terminate)], ..script }
}

/// The leader dies when it has appended and answered, before its followers have fetched.
fn leader_dies_when_stored(script: Script, actors: &Actors) -> Script {
    let leader = actors.leader();
    let crash = format!("crash_process = {{ target = \"{leader}\" }}");
    Script { faults: vec![on(&leader, "stored", 100, Some(3.0), &crash)], ..script }
}

/// Several requests are under way when the connection breaks.
fn burst(_: Script, actors: &Actors) -> Script {
    let reset = on(&actors.leader(), "stored", 7, None, RESET);
    Script::trickle("20000/s", 0.02, 900.0).with(reset)
}

/// Consumers that leave are killed.
fn crashing(_: Script, _: &Actors) -> Script {
    churn(churning(), crash)
}

/// The first server hears of no delete, and others answer in its place.
fn missed_delete(_: Script, _: &Actors) -> Script {
    let cut =
        "partition = { sides = [[\"broker-1\"], [\"broker-2\", \"broker-3\", \"consumers\"]] }";
    Script::trickle("2/s", 4.9, 300.0).with(on(STRUCK, "done", 5, Some(60.0), cut))
}

/// Each message is confirmed before the next is sent, so that what becomes of one that is not is no
/// question.
fn each_confirmed(script: Script, _: &Actors) -> Script {
    Script { load: "{ open = { constant = \"100/s\" } }".into(), ..script }
}

/// Servers that notice within seconds that nobody answers, and an operator who restarts the smaller
/// side when all is over.
const SPLIT: &str = "net_ticktime = \"5s\", operator = \"30s\"";

/// Both mirrors restart before the master dies, and lack what came before that; when it dies, the
/// last message was confirmed.
fn unsynchronised(script: Script, actors: &Actors) -> Script {
    let mut script = Script { horizon: "1400ms".into(), ..script };
    for broker in 2..=actors.brokers {
        let crash = format!("crash_process = {{ target = \"broker-{broker}\" }}");
        script.setting.push(at(0.5, Some(0.1), &crash));
    }
    script
}

/// The producer is cut off when its last message is stored, and sends it again all the while.
fn cut_for<const SECONDS: u32>(script: Script, actors: &Actors) -> Script {
    let leader = actors.leader();
    let cut = format!("partition = {{ sides = [[\"producer\"], [\"{leader}\"]] }}");
    let cut = on(&leader, "stored", 20, Some(SECONDS.into()), &cut);
    // What is under way is lost with the connection.
    Script { faults: vec![on(&leader, "stored", 20, None, RESET), cut], ..script }
}

/// The reset comes after the write and before the broker has it.
fn gives_up(script: Script, _: &Actors) -> Script {
    Script { faults: vec![on("producer", "sent", 5, None, RESET)], ..script }
}

/// Tasks that are not due before the broker's patience is over.
fn eta(script: Script, _: &Actors) -> Script {
    Script { messages: ", delay = \"2700s\"".into(), drain: "8000s".into(), ..script }
}

/// The child is killed before the effect.
fn before_effect(script: Script, actors: &Actors) -> Script {
    Script { faults: vec![on(STRUCK, "started", 1, None, &kill(actors.killed))], ..script }
}
