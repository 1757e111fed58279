//! What the world promises, shown with a node that only counts and answers.

use std::collections::BTreeMap;

use super::cluster::{Change, Cluster, ClusterEnd, ClusterSetup, Driver, Workload};
use super::directory::Directory;
use super::dist::Dist;
use super::fault::{FaultConfig, FaultPlan};
use super::network::NetworkConfig;
use super::node::{Closed, Connection, Context, Input, Node, NodeId, Signal, Stable, SyncId, Wire};
use super::station::StationConfig;
use crate::config::{Config, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::kernel::sim::Limits;
use crate::kernel::time::{SimDuration, SimTime};

/// Sends what it is asked to send, tells what it gets, and keeps on disk what it is told to keep.
#[derive(Debug)]
struct Probe {
    kept: Kept,
    /// The last number that came by each connection.
    last: BTreeMap<Connection, u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Kept(Vec<u32>);

impl Stable for Kept {
    type Write = u32;

    fn apply(&mut self, write: &u32) {
        self.0.push(*write);
    }
}

#[derive(Debug)]
enum Ask {
    Send(u32),
    HangUp,
    Keep(u32),
    Sync,
    Wake(SimDuration),
    Come(&'static str),
    Clocks,
}

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Started(Vec<u32>),
    Got(u32),
    /// After the second number, the first on the same connection.
    Disorder(u32, u32),
    TurnedAway(u32),
    Closed(Closed),
    Synced(SyncId),
    Woke,
    Clocks(u64, i64),
    Signal(Signal),
}

impl Wire for u32 {
    fn kind(&self) -> &'static str {
        if self.is_multiple_of(2) { "even" } else { "odd" }
    }

    fn size_bytes(&self) -> u32 {
        100
    }
}

impl Node for Probe {
    type Role = ();
    type Stable = Kept;
    type Request = Ask;
    type Indication = Told;
    type Message = u32;
    type Timer = ();

    fn boot((): &(), stable: &Kept) -> Self {
        Self { kept: stable.clone(), last: BTreeMap::new() }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        let peer = NodeId(1 - ctx.id().0);
        match input {
            Input::Start => ctx.indicate(Told::Started(self.kept.0.clone())),
            Input::Request(Ask::Send(number)) => ctx.send(peer, number),
            Input::Request(Ask::HangUp) => ctx.disconnect(peer),
            Input::Request(Ask::Keep(number)) => ctx.write(number),
            Input::Request(Ask::Sync) => {
                ctx.sync();
            }
            Input::Request(Ask::Wake(after)) => {
                ctx.set_timer(after, ());
            }
            Input::Request(Ask::Come(point)) => ctx.reach(point),
            Input::Request(Ask::Clocks) => {
                let told = Told::Clocks(ctx.now().as_ns(), ctx.wall().0);
                ctx.indicate(told);
            }
            Input::Message { message, via, .. } => {
                ctx.indicate(Told::Got(message));
                match self.last.insert(via, message) {
                    Some(last) if message <= last && via != Connection(0) => {
                        ctx.indicate(Told::Disorder(message, last));
                    }
                    _ => (),
                }
            }
            Input::Overload { message, .. } => ctx.indicate(Told::TurnedAway(message)),
            Input::Closed { why, .. } => ctx.indicate(Told::Closed(why)),
            Input::Timer(()) => ctx.indicate(Told::Woke),
            Input::Synced(sync) => ctx.indicate(Told::Synced(sync)),
            Input::Signal(signal) => ctx.indicate(Told::Signal(signal)),
        }
    }
}

/// Asks what its script says, when it says so, and keeps a log.
#[derive(Debug, Default)]
struct Script {
    asks: Vec<(u64, u32, Option<Ask>)>,
    log: Vec<(u64, u32, Told)>,
    changes: Vec<(u64, u32, Change)>,
}

impl Workload<Probe> for Script {
    type Event = usize;

    fn start(&mut self, driver: &mut Driver<'_, Probe, usize>) {
        for (index, ask) in self.asks.iter().enumerate() {
            driver.at(SimTime::from_ms(ask.0), index);
        }
    }

    fn handle(&mut self, index: usize, driver: &mut Driver<'_, Probe, usize>) {
        let (_, node, ask) = &mut self.asks[index];
        driver.request(NodeId(*node), ask.take().expect("each is asked once"));
    }

    fn hear(&mut self, node: NodeId, told: Told, driver: &mut Driver<'_, Probe, usize>) {
        self.log.push((driver.now().as_ns() / 1_000_000, node.0, told));
    }

    fn witness(&mut self, node: NodeId, change: Change, driver: &mut Driver<'_, Probe, usize>) {
        self.changes.push((driver.now().as_ns() / 1_000_000, node.0, change));
    }
}

fn parse<T: Config>(text: &str) -> T {
    let mut problems = Problems::default();
    let value = Value::parse(text, 0, &mut problems);
    let read = T::read(&value, &mut problems);
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    read.expect("it was read without a problem")
}

fn faults(text: &str) -> Vec<FaultConfig> {
    let mut problems = Problems::default();
    let value = Value::parse(text, 0, &mut problems);
    let ValueKind::Table(table) = &value.kind else { unreachable!("a file is a table") };
    let read = table.get("fault").map_or(Some(Vec::new()), |list| Vec::read(list, &mut problems));
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    read.expect("it was read without a problem")
}

/// Runs two probes, `a` (0) and `b` (1), with links of 1 ms and syncs of 10 ms.
struct Scene {
    network: &'static str,
    faults: &'static str,
    station: Option<StationConfig>,
    asks: Vec<(u64, u32, Ask)>,
    horizon_ms: u64,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            network: r#"delay = "1ms""#,
            faults: "",
            station: None,
            asks: Vec::new(),
            horizon_ms: 100_000,
        }
    }
}

impl Scene {
    fn play(self) -> ClusterEnd<Script> {
        let mut directory = Directory::default();
        directory.add("a".into(), "probe");
        directory.add("b".into(), "probe");
        let horizon = SimTime::from_ms(self.horizon_ms);
        let seed = Seed(1);
        let plan = FaultPlan::draw(&faults(self.faults), None, &directory, horizon, seed);
        let setup = ClusterSetup {
            directory: &directory,
            network: &parse::<NetworkConfig>(self.network),
            sync: &Dist::constant(SimDuration::from_ms(10)),
            stations: vec![None, self.station],
            faults: plan.expect("there are few faults"),
            seed,
        };
        let asks = self.asks.into_iter().map(|(at, node, ask)| (at, node, Some(ask))).collect();
        let script = Script { asks, ..Script::default() };
        Cluster::new(setup, vec![(), ()], script).run(Limits { horizon, ..Limits::default() })
    }

    fn got(self) -> Vec<(u64, u32)> {
        let log = self.play().workload.log;
        log.iter()
            .filter_map(|(at, _, told)| match told {
                Told::Got(number) => Some((*at, *number)),
                _ => None,
            })
            .collect()
    }
}

fn sends(times: &[u64]) -> Vec<(u64, u32, Ask)> {
    times.iter().enumerate().map(|(n, &at)| (at, 0, Ask::Send(n as u32))).collect()
}

#[test]
fn a_connection_keeps_order_and_loses_nothing_however_lossy_the_link() {
    let times: Vec<u64> = (0..200).collect();
    let scene = Scene {
        network: r#"delay = { exponential = { mean = "5ms" } }
loss = "20%""#,
        asks: sends(&times),
        ..Scene::default()
    };
    let numbers: Vec<u32> = scene.got().into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<u32>>());
}

#[test]
fn a_process_that_restarted_before_anyone_spoke_to_it_can_be_spoken_to() {
    let scene = Scene {
        faults: r#"fault = [{ at = "10ms", for = "10ms", crash_process = { target = "b" } }]"#,
        asks: sends(&[30, 40]),
        ..Scene::default()
    };
    // The handshake takes a round trip, and nothing after it does.
    assert_eq!(scene.got(), [(33, 0), (41, 1)]);
}

#[test]
fn a_process_does_not_speak_on_a_connection_that_was_opened_while_it_was_down() {
    let mut asks = sends(&[5, 20]);
    asks.push((60, 1, Ask::Send(7)));
    let scene = Scene {
        faults: r#"fault = [{ at = "10ms", for = "40ms", crash_process = { target = "b" } }]"#,
        asks,
        ..Scene::default()
    };
    assert_eq!(scene.got(), [(6, 0), (63, 7)]);
}

#[test]
fn a_lost_packet_of_a_connection_delays_all_behind_it() {
    let scene = Scene {
        faults: r#"fault = [{ at = "0s", link_loss = { from = "a", to = "b", kind = "even", count = 1 } }]"#,
        asks: sends(&[0, 1]),
        ..Scene::default()
    };
    assert_eq!(scene.got(), [(201, 0), (201, 1)]);
}

#[test]
fn datagrams_are_lost_come_twice_and_overtake() {
    let times: Vec<u64> = (0..2000).collect();
    let scene = Scene {
        network: r#"transport = "datagram"
delay = "1ms"
loss = "10%"
duplicate = "10%"
reorder = "10%""#,
        asks: sends(&times),
        ..Scene::default()
    };
    let mut numbers: Vec<u32> = scene.got().into_iter().map(|(_, number)| number).collect();
    assert!(numbers.windows(2).any(|pair| pair[1] < pair[0]), "some overtake");
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert!((1700..1900).contains(&numbers.len()), "{} of 2000 arrive", numbers.len());
    assert!((100..300).contains(&(count - numbers.len())), "{} twice", count - numbers.len());
}

#[test]
fn a_partition_is_silence_and_what_was_sent_arrives_after_it() {
    let scene = Scene {
        faults: r#"fault = [{ at = "10ms", for = "1s", partition = { sides = [["a"], ["b"]] } }]"#,
        asks: sends(&[5, 20, 30]),
        ..Scene::default()
    };
    // Tried at 20, 220, 620 and 1420 ms.
    assert_eq!(scene.got(), [(6, 0), (1421, 1), (1421, 2)]);
}

#[test]
fn a_one_way_partition_lets_the_other_way_through() {
    let scene = Scene {
        faults: r#"fault = [{ at = "0s", for = "1s", partition = { sides = [["a"], ["b"]], one_way = true } }]"#,
        asks: vec![(10, 0, Ask::Send(7)), (10, 1, Ask::Send(8))],
        ..Scene::default()
    };
    assert_eq!(scene.got(), [(11, 8), (1411, 7)]);
}

#[test]
fn a_reset_breaks_a_connection_for_both_sides_and_loses_what_is_under_way() {
    let scene = Scene {
        faults: r#"fault = [{ at = "20500us", link_reset = { from = "b", to = "a" } }]"#,
        asks: sends(&[5, 20, 40]),
        ..Scene::default()
    };
    let log = scene.play().workload.log;
    let after: Vec<&(u64, u32, Told)> = log.iter().filter(|(at, ..)| 6 < *at).collect();
    let reset = |node| (20, node, Told::Closed(Closed::Reset));
    assert_eq!(after, [&reset(1), &reset(0), &(43, 1, Told::Got(2))]);
}

#[test]
fn a_connection_that_nobody_acknowledges_is_given_up_after_the_user_timeout() {
    let scene = Scene {
        network: r#"delay = "1ms"
user_timeout = "2s""#,
        faults: r#"fault = [{ at = "0s", isolate = { target = "b" } }]"#,
        asks: sends(&[10]),
        ..Scene::default()
    };
    let log = scene.play().workload.log;
    assert_eq!(log.last(), Some(&(3010, 0, Told::Closed(Closed::TimedOut))));
}

#[test]
fn what_sticks_in_a_connection_that_was_given_up_does_not_hold_up_the_next() {
    let scene = Scene {
        faults: r#"fault = [
            { at = "0s", link_delay = { from = "a", to = "b", add = "3s", kind = "even", count = 1 } },
        ]"#,
        asks: vec![
            (10, 0, Ask::Send(2)),
            (20, 0, Ask::Send(3)),
            (30, 0, Ask::HangUp),
            (40, 0, Ask::Send(4)),
        ],
        ..Scene::default()
    };
    // The second connection is set up in a round trip; the first still brings what it took.
    assert_eq!(scene.got(), [(43, 4), (3011, 2), (3011, 3)]);
}

#[test]
fn a_fault_lets_a_message_come_twice_and_holds_nothing_up() {
    let scene = Scene {
        faults: r#"fault = [
            { at = "0s", link_duplicate = { from = "a", to = "b", after = "300ms", kind = "even", count = 1 } },
        ]"#,
        asks: sends(&[10, 20, 30]),
        ..Scene::default()
    };
    assert_eq!(scene.got(), [(11, 0), (21, 1), (31, 2), (311, 0)]);
}

#[test]
fn a_process_crash_closes_connections_at_once_and_keeps_what_was_written() {
    let end = Scene {
        faults: r#"fault = [{ at = "20ms", for = "50ms", crash_process = { target = "b" } }]"#,
        asks: vec![
            (1, 0, Ask::Send(1)),
            (5, 1, Ask::Keep(42)),
            (30, 0, Ask::Send(2)),
            (80, 0, Ask::Send(3)),
        ],
        ..Scene::default()
    }
    .play();
    let log = &end.workload.log;
    let expected = [
        (2, 1, Told::Got(1)),
        (21, 0, Told::Closed(Closed::ByPeer)),
        (34, 0, Told::Closed(Closed::Reset)),
        (70, 1, Told::Started(vec![42])),
        (83, 1, Told::Got(3)),
    ];
    assert_eq!(log[2..], expected);
    assert_eq!(end.workload.changes, [(20, 1, Change::ProcessDown), (70, 1, Change::Up)]);
}

#[test]
fn a_machine_crash_is_silence_and_loses_what_was_not_synced() {
    let end = Scene {
        faults: r#"fault = [{ at = "20ms", for = "500ms", crash_machine = { target = "b" } }]"#,
        asks: vec![
            (1, 0, Ask::Send(1)),
            (2, 1, Ask::Keep(1)),
            (3, 1, Ask::Sync),
            (5, 1, Ask::Keep(2)),
            (15, 1, Ask::Sync),
            (30, 0, Ask::Send(2)),
        ],
        ..Scene::default()
    }
    .play();
    let log = &end.workload.log;
    // Tried at 30, 230, 630 and so on; up again at 520, it knows nothing of the connection.
    let expected = [
        (2, 1, Told::Got(1)),
        (13, 1, Told::Synced(SyncId(1))),
        (520, 1, Told::Started(vec![1])),
        (632, 0, Told::Closed(Closed::Reset)),
    ];
    assert_eq!(log[2..], expected);
}

#[test]
fn what_a_process_handed_over_arrives_though_it_died() {
    let scene = Scene {
        faults: r#"fault = [
            { at = "0s", link_delay = { from = "a", to = "b", add = "3s", kind = "even", count = 1 } },
            { at = "15ms", crash_process = { target = "a" } },
        ]"#,
        asks: vec![(10, 0, Ask::Send(2))],
        ..Scene::default()
    };
    let log = scene.play().workload.log;
    assert_eq!(log[2..], [(3011, 1, Told::Got(2)), (3011, 1, Told::Closed(Closed::ByPeer))]);
}

#[test]
fn a_paused_process_gets_everything_in_order_when_it_goes_on() {
    let end = Scene {
        faults: r#"fault = [{ at = "10ms", for = "1s", pause = { target = "b" } }]"#,
        asks: vec![
            (5, 1, Ask::Wake(SimDuration::from_ms(100))),
            (20, 0, Ask::Send(1)),
            (200, 0, Ask::Send(2)),
            (2000, 1, Ask::Clocks),
        ],
        ..Scene::default()
    }
    .play();
    let expected = [
        (1010, 1, Told::Got(1)),
        (1010, 1, Told::Woke),
        (1010, 1, Told::Got(2)),
        (2000, 1, Told::Clocks(2_000_000_000, 2_000_000_000)),
    ];
    assert_eq!(end.workload.log[2..], expected);
}

#[test]
fn a_timer_runs_on_the_clock_of_its_node_even_if_that_changes_its_rate() {
    let end = Scene {
        faults: r#"fault = [
            { at = "100ms", for = "100ms", clock_rate = { target = "a", rate = 4 } },
            { at = "300ms", clock_step = { target = "a", by = "-3s" } },
        ]"#,
        asks: vec![
            (0, 0, Ask::Wake(SimDuration::from_ms(300))),
            (0, 0, Ask::Wake(SimDuration::from_ms(600))),
            (400, 0, Ask::Clocks),
        ],
        ..Scene::default()
    }
    .play();
    let expected = [
        (150, 0, Told::Woke),
        (300, 0, Told::Woke),
        (400, 0, Told::Clocks(700_000_000, -2_300_000_000)),
    ];
    assert_eq!(end.workload.log[2..], expected);
}

#[test]
fn a_fault_can_wait_for_a_point_of_the_protocol() {
    let end = Scene {
        faults: r#"fault = [{ on = { node = "a", point = "checked", count = 2 }, for = "1s", pause = { target = "a" } }]"#,
        asks: vec![
            (10, 0, Ask::Come("checked")),
            (20, 0, Ask::Come("checked")),
            (30, 0, Ask::Clocks),
        ],
        ..Scene::default()
    }
    .play();
    assert_eq!(end.workload.changes[0], (20, 0, Change::Paused));
    assert_eq!(end.faults[0].label, "pause a");
    assert_eq!(end.workload.log[2].0, 1020);
}

#[test]
fn a_station_serves_turns_away_and_is_slowed_down() {
    let station =
        StationConfig { servers: 1, service: Dist::constant(SimDuration::from_ms(10)), queue: 1 };
    let end = Scene {
        station: Some(station),
        faults: r#"fault = [{ at = "50ms", slow = { target = "b", factor = 3 } }]"#,
        asks: sends(&[0, 0, 0, 60]),
        ..Scene::default()
    }
    .play();
    let expected = [
        (1, 1, Told::TurnedAway(2)),
        (11, 1, Told::Got(0)),
        (21, 1, Told::Got(1)),
        (91, 1, Told::Got(3)),
    ];
    assert_eq!(end.workload.log[2..], expected);
}

#[test]
fn bandwidth_makes_messages_wait_for_each_other() {
    // 100 bytes at 10 kB/s take 10 ms.
    let scene = Scene {
        network: r#"delay = "1ms"
bandwidth = "10kB/s""#,
        asks: sends(&[0, 0, 0]),
        ..Scene::default()
    };
    assert_eq!(scene.got(), [(11, 0), (21, 1), (31, 2)]);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |loss: &'static str| {
        let asks = sends(&(0..100).collect::<Vec<u64>>());
        Scene { network: loss, asks, ..Scene::default() }.play().run.fingerprint
    };
    let lossy = "loss = \"20%\"\ndelay = { exponential = { mean = \"5ms\" } }";
    assert_eq!(run(lossy), run(lossy));
    assert_ne!(run(lossy), run("loss = \"21%\"\ndelay = { exponential = { mean = \"5ms\" } }"));
}

#[test]
fn turning_loss_on_does_not_move_the_delays() {
    let arrivals = |network: &'static str| {
        let scene =
            Scene { network, asks: sends(&[0, 1000, 2000, 3000, 4000]), ..Scene::default() };
        scene.got()
    };
    let without = arrivals(r#"delay = { uniform = { min = "1ms", max = "90ms" } }"#);
    let with =
        arrivals("delay = { uniform = { min = \"1ms\", max = \"90ms\" } }\nloss = \"0.001%\"");
    assert_eq!(without, with);
}

/// A fault drawn for the test below, as a scenario would write it.
fn some_fault(rng: &mut crate::kernel::rng::Rng) -> String {
    let (at, lasts) = (rng.below(5_000), 1 + rng.below(1_500));
    let node = ["a", "b"][rng.below(2) as usize];
    let action = match rng.below(8) {
        0 => format!(r#"pause = {{ target = "{node}" }}"#),
        1 => format!(r#"crash_process = {{ target = "{node}" }}"#),
        2 => format!(r#"crash_machine = {{ target = "{node}" }}"#),
        3 => r#"partition = { sides = [["a"], ["b"]] }"#.to_owned(),
        4 => r#"partition = { sides = [["b"], ["a"]], one_way = true }"#.to_owned(),
        5 => format!(r#"clock_rate = {{ target = "{node}", rate = 3 }}"#),
        6 => r#"link_delay = { from = "a", to = "b", add = { exponential = { mean = "300ms" } } }"#
            .to_owned(),
        _ => r#"link_loss = { from = "all", to = "all", chance = "40%" }"#.to_owned(),
    };
    format!(r#"{{ at = "{at}ms", for = "{lasts}ms", {action} }}"#)
}

#[test]
fn under_any_faults_a_connection_neither_repeats_nor_reorders() {
    let mut delivered = 0;
    for seed in 0..300 {
        let mut rng = Seed(seed).stream("test", "faults");
        let list: Vec<String> = (0..=rng.below(6)).map(|_| some_fault(&mut rng)).collect();
        let text = format!("fault = [{}]", list.join(", "));
        let asks = (0..600).map(|n| (n * 10, (n % 2) as u32, Ask::Send(n as u32))).collect();
        let scene = Scene {
            network: r#"delay = { exponential = { mean = "20ms" } }
loss = "5%"
user_timeout = "3s""#,
            faults: text.clone().leak(),
            asks,
            ..Scene::default()
        };
        for (at, _, told) in scene.play().workload.log {
            assert!(!matches!(told, Told::Disorder(..)), "{told:?} at {at} ms, {text}");
            delivered += u64::from(matches!(told, Told::Got(_)));
        }
    }
    assert!(120_000 < delivered, "most get through: {delivered} of 180000");
}
