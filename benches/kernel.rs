//! What an event costs: the queues at three sizes, the loop around them, and the draws.
//!
//! `cargo bench --bench kernel`. The machine decides the figures, so read the ratios. The load is
//! the hold model: each event that is taken out schedules another, an exponential delay later, so
//! that the number pending stays as it is (Jones, "An Empirical Comparison of Priority-Queue and
//! Event-Set Implementations", 1986). An event has 32 bytes.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stormglass::kernel::event_queue::{EventQueue, PendingEvents};
use stormglass::kernel::fingerprint::Fingerprint;
use stormglass::kernel::heap_queue::HeapQueue;
use stormglass::kernel::rng::{Rng, Seed};
use stormglass::kernel::sim::{Limits, World, run};
use stormglass::kernel::time::{SimDuration, SimTime};
use stormglass::kernel::wheel_queue::WheelQueue;

type Event = [u64; 4];

const PENDING_COUNTS: [u64; 3] = [1_000, 100_000, 1_000_000];
const DELAY_MEAN_NS: f64 = 1e8;

/// What the kernel would use if it had no queue of its own.
#[derive(Default)]
struct StdHeap {
    heap: BinaryHeap<Reverse<Entry>>,
    serial: u64,
}

struct Entry {
    at: SimTime,
    serial: u64,
    event: Event,
}

impl PendingEvents<Event> for StdHeap {
    fn insert(&mut self, at: SimTime, event: Event) {
        self.heap.push(Reverse(Entry { at, serial: self.serial, event }));
        self.serial += 1;
    }

    fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, Event)> {
        if limit < self.next_time()? {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }

    fn next_time(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    fn len(&self) -> usize {
        self.heap.len()
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// Delays drawn beforehand, so that only the queue is measured.
struct Delays {
    table: Vec<SimDuration>,
    next: usize,
}

impl Delays {
    fn new() -> Self {
        let mut rng = Seed(1).stream("delay", "bench");
        let delay = |_| SimDuration::from_ns_f64(rng.exponential() * DELAY_MEAN_NS);
        Self { table: (0..1 << 18).map(delay).collect(), next: 0 }
    }

    fn draw(&mut self) -> SimDuration {
        self.next = (self.next + 1) % self.table.len();
        self.table[self.next]
    }
}

/// Takes out one event and puts in another.
fn hold(queue: &mut impl PendingEvents<Event>, delays: &mut Delays) -> SimTime {
    let (at, event) = queue.pop_until(SimTime::END).expect("each event is followed by another");
    queue.insert(at + delays.draw(), event);
    at
}

fn bench_hold<Q: PendingEvents<Event> + Default>(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group("hold");
    group.throughput(Throughput::Elements(1));
    for pending_count in PENDING_COUNTS {
        let mut state = None;
        group.bench_function(BenchmarkId::new(name, pending_count), |b| {
            let (queue, delays) = state.get_or_insert_with(|| filled::<Q>(pending_count));
            b.iter(|| hold(queue, delays));
        });
    }
    group.finish();
}

/// A queue that has forgotten how it was filled.
fn filled<Q: PendingEvents<Event> + Default>(pending_count: u64) -> (Q, Delays) {
    let mut queue = Q::default();
    let mut delays = Delays::new();
    for index in 0..pending_count {
        queue.insert(SimTime::ZERO + delays.draw(), [index; 4]);
    }
    for _ in 0..2 * pending_count {
        hold(&mut queue, &mut delays);
    }
    (queue, delays)
}

fn bench_queues(c: &mut Criterion) {
    bench_hold::<WheelQueue<Event>>(c, "wheel");
    bench_hold::<HeapQueue<Event>>(c, "4-ary heap");
    bench_hold::<StdHeap>(c, "std heap");
}

/// The hold model as a world of entities, each with its own stream of draws.
struct Phold {
    streams: Vec<Rng>,
}

impl Phold {
    fn start(entity_count: u64) -> (Self, EventQueue<Event>) {
        let stream = |index| Seed(1).stream("delay", &format!("entity-{index}"));
        let mut world = Self { streams: (0..entity_count).map(stream).collect() };
        let mut queue = EventQueue::new();
        for index in 0..entity_count {
            world.handle([index; 4], &mut queue);
        }
        (world, queue)
    }
}

impl World for Phold {
    type Event = Event;

    fn handle(&mut self, event: Event, queue: &mut EventQueue<Event>) {
        let stream = &mut self.streams[event[0] as usize];
        let delay = SimDuration::from_ns_f64(stream.exponential() * DELAY_MEAN_NS);
        queue.schedule_after(delay, event);
    }

    fn digest(event: &Event) -> u64 {
        event[0]
    }
}

/// All that a run does: queue, draw, dispatch and fingerprint.
fn bench_run(c: &mut Criterion) {
    const EVENT_COUNT: u64 = 10_000;
    let mut group = c.benchmark_group("run");
    group.throughput(Throughput::Elements(EVENT_COUNT));
    for pending_count in [2, 1_000, 100_000] {
        let limits = Limits { event_count_max: EVENT_COUNT, ..Limits::default() };
        let mut state = None;
        group.bench_function(BenchmarkId::new("phold", pending_count), |b| {
            let (world, queue) = state.get_or_insert_with(|| Phold::start(pending_count));
            b.iter(|| run(world, queue, limits));
        });
    }
    group.finish();
}

type Draw = fn(&mut Rng) -> f64;

fn bench_draws(c: &mut Criterion) {
    let mut group = c.benchmark_group("draw");
    group.throughput(Throughput::Elements(1));
    let draws: [(&str, Draw); 5] = [
        ("word", |rng| rng.word() as f64),
        ("unit", Rng::unit),
        ("exponential by ziggurat", Rng::exponential),
        ("exponential by inversion", Rng::exponential_by_inversion),
        ("normal by ziggurat", Rng::normal),
    ];
    for (name, draw) in draws {
        let mut rng = Seed(1).stream("draw", "bench");
        group.bench_function(name, |b| b.iter(|| draw(&mut rng)));
    }
    group.bench_function("open a stream", |b| {
        b.iter(|| Seed(black_box(1)).stream("link delay", "client-3").word());
    });
    group.finish();
}

fn bench_fingerprint(c: &mut Criterion) {
    let mut group = c.benchmark_group("fingerprint");
    group.throughput(Throughput::Elements(1));
    let mut fingerprint = Fingerprint::new();
    group.bench_function("add", |b| {
        b.iter(|| fingerprint.add(black_box(SimTime::from_ns(1_234)), black_box(42)));
    });
    black_box(fingerprint.finish());
    group.finish();
}

criterion_group!(benches, bench_queues, bench_run, bench_draws, bench_fingerprint);
criterion_main!(benches);
