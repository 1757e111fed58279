//! The models of queueing theory, each as an experiment, and what to measure of it.
//!
//! One unit of a model's time is a second here.

use super::{Experiment, Params, Row, Trial};
use crate::kernel::rng::Seed;
use crate::record::Distribution;

/// A model of queueing theory.
#[derive(Debug)]
pub(super) struct Model {
    /// Its name.
    pub(super) name: &'static str,
    /// Runs a case under a seed: one run, or one for each part of it.
    pub(super) run: fn(&Params, Seed) -> Result<Vec<Trial>, String>,
    /// A number of its runs; `None` where the model has no such number.
    pub(super) measure: fn(&str, &Params, &[Trial]) -> Option<f64>,
}

/// All of them.
pub(super) const MODELS: &[Model] = &[
    Model { name: "M/M/1", run: mmc, measure: queue },
    Model { name: "M/M/c", run: mmc, measure: queue },
    Model { name: "M/M/inf", run: mm_inf, measure: queue },
    Model { name: "M/D/1", run: md1, measure: queue },
    Model { name: "M/G/1", run: mg1, measure: queue },
    Model { name: "M/M/1/K", run: mmck, measure: queue },
    Model { name: "M/M/c/K", run: mmck, measure: queue },
    Model { name: "M/M/c/c", run: mmcc, measure: queue },
    Model { name: "D/M/1", run: dm1, measure: queue },
    Model { name: "Ek/M/1", run: ekm1, measure: queue },
    Model { name: "H2/M/1", run: h2m1, measure: queue },
    Model { name: "Kingman-G/G/1", run: ggc, measure: queue },
    Model { name: "AllenCunneen/Sakasegawa-G/G/c", run: ggc, measure: queue },
    Model { name: "Jackson-tandem-M/M/1", run: tandem, measure: tandem_number },
    Model { name: "M/M/1-Bernoulli-feedback", run: feedback, measure: queue },
    Model { name: "M/M/1-2class-nonpreemptive", run: two_classes, measure: class_number },
    Model { name: "M[b]/M/1", run: batches, measure: queue },
    Model { name: "M/M/1+D(ttl)", run: ttl, measure: queue },
    Model { name: "M/M/c+M(ErlangA)", run: erlang_a, measure: impatient_number },
    Model { name: "M/M/1-drain-after-outage", run: outage, measure: outage_number },
    Model { name: "bounded-redelivery", run: bounded, measure: bounded_number },
    Model { name: "partitioned-vs-shared", run: partitions, measure: partitions_number },
];

/// The chance of which `row` tells, as theory has it: its value where that is a probability, and
/// what lies beyond it where it is a quantile.
pub(super) fn chance_expected(row: &Row) -> Option<f64> {
    match quantile_of(&row.metric) {
        Some((_, q)) => Some(1.0 - q),
        None => is_probability(&row.metric).then_some(row.expected),
    }
}

/// The share of the trials of a run in which that happened, and how many trials there were: the
/// messages that were sent, or those of which the quantile is one. `value` is what was measured of
/// `row`.
pub(super) fn chance(row: &Row, value: f64, trials: &[Trial]) -> Option<(f64, u64)> {
    let [Trial { outcome, .. }] = trials else { return None };
    let times = &outcome.judge.times;
    if let Some((of, _)) = quantile_of(&row.metric) {
        let distribution = match of {
            Of::Latency => &times.latency,
            Of::Wait => &times.queue_wait,
        };
        let beyond = distribution.count_above((row.expected * 1e9 + 0.5) as u64);
        let count = distribution.count();
        return (0 < count).then(|| (beyond as f64 / count as f64, count));
    }
    is_probability(&row.metric).then_some((value, outcome.judge.tally.within.offered))
}

/// Of what a metric is a quantile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Of {
    Latency,
    Wait,
}

/// Of what a metric is a quantile, and which, such as 0.99.
fn quantile_of(metric: &str) -> Option<(Of, f64)> {
    let of = |prefix, of| Some((of, share_of(metric.strip_prefix(prefix)?)?));
    of("T_p", Of::Latency).or_else(|| of("Wq_p", Of::Wait))
}

/// Whether `row` tells a quantile.
pub(super) fn is_quantile(row: &Row) -> bool {
    quantile_of(&row.metric).is_some()
}

/// Whether a metric is a probability.
fn is_probability(metric: &str) -> bool {
    let is_state = metric.strip_prefix('P').is_some_and(|rest| rest.parse::<usize>().is_ok());
    is_state
        || metric.starts_with("P_")
        || ["erlang_B", "blocking", "loss_fraction"].contains(&metric)
}

/// The servers of a model with exponential service at rate `mu`.
fn servers(params: &Params) -> Result<Servers, String> {
    let lambda = params.number("lambda")?;
    let servers = Servers::new(poisson(lambda), lambda, &exponential(1.0 / params.number("mu")?));
    Ok(Servers { count: count_of_servers(params)?, ..servers })
}

fn count_of_servers(params: &Params) -> Result<u32, String> {
    if params.has("c") { params.count("c") } else { Ok(1) }
}

fn mmc(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    Ok(vec![servers(params)?.run(seed)])
}

/// More servers than there are ever messages: the chance of as many is below 10⁻³⁰ for a load of
/// up to 500.
fn mm_inf(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let servers = Servers { concurrency: 1000, prefetch: 1000, ..servers(params)? };
    Ok(vec![servers.run(seed)])
}

fn md1(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let lambda = params.number("lambda")?;
    let service = duration(params.number("D")?);
    Ok(vec![Servers::new(poisson(lambda), lambda, &service).run(seed)])
}

fn mg1(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let lambda = params.number("lambda")?;
    Ok(vec![Servers::new(poisson(lambda), lambda, &service_of(params)?).run(seed)])
}

/// Room for K messages is room for K - c beside those in service; who finds none is refused.
fn mmck(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let (room, count) = (params.count("K")?, count_of_servers(params)?);
    let waiting = room.checked_sub(count).filter(|&waiting| 0 < waiting).ok_or_else(|| {
        format!("`K` is {room}, expected more than the {count} servers: with as many, see M/M/c/c")
    })?;
    let servers = Servers {
        confirms: true,
        queue: format!(r#", max_length = {waiting}, overflow = "reject_publish""#),
        ..servers(params)?
    };
    Ok(vec![servers.run(seed)])
}

/// With room for none, a message goes to a consumer at once or is dropped.
fn mmcc(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let servers = Servers { queue: ", max_length = 0".into(), ..servers(params)? };
    Ok(vec![servers.run(seed)])
}

fn dm1(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let lambda = params.number("lambda")?;
    let load = format!("{{ constant = \"{lambda}/s\" }}");
    Ok(vec![Servers { load, ..servers(params)? }.run(seed)])
}

fn ekm1(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let gap = erlang(1.0 / params.number("lambda")?, params.count("k")?);
    let load = format!("{{ renewal = {gap} }}");
    Ok(vec![Servers { load, ..servers(params)? }.run(seed)])
}

fn h2m1(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let p = params.number("p1")?;
    let [first, second] = [1.0 / params.number("rate1")?, 1.0 / params.number("rate2")?];
    let load = format!("{{ renewal = {} }}", branches("hyper_exponential", p, first, second));
    let rate = 1.0 / (p * first + (1.0 - p) * second);
    Ok(vec![Servers::new(load, rate, &exponential(1.0 / params.number("mu")?)).run(seed)])
}

fn ggc(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let (lambda, mu) = (params.number("lambda")?, params.number("mu")?);
    let gap = two_moments(1.0 / lambda, params.number("ca2")?);
    let service = two_moments(1.0 / mu, params.number("cs2")?);
    let servers = Servers::new(format!("{{ renewal = {gap} }}"), lambda, &service);
    Ok(vec![Servers { count: count_of_servers(params)?, ..servers }.run(seed)])
}

/// Messages of which a share `p_requeue` fails each time that they are worked on, for as long as it
/// takes that time, and comes back to the head of the queue.
fn feedback(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let p = params.number("p_requeue")?;
    let servers =
        Servers { consumers: format!(r#", failure = "{p}", again = "anew""#), ..servers(params)? };
    Ok(vec![servers.run(seed)])
}

fn two_classes(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let (high, low) = (params.number("lambda_high")?, params.number("lambda_low")?);
    let service = exponential(1.0 / params.number("mu")?);
    let lambda = high + low;
    let servers = Servers {
        queue: ", max_priority = 1".into(),
        messages: format!(", priorities = [{{ level = 1, chance = \"{}\" }}]", high / lambda),
        ..Servers::new(poisson(lambda), lambda, &service)
    };
    Ok(vec![servers.run(seed)])
}

fn batches(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let (rate, size) = (params.number("batch_rate")?, params.count("b")?);
    let load = format!("{{ batches = {{ rate = \"{rate}/s\", size = {size} }} }}");
    let service = exponential(1.0 / params.number("mu")?);
    Ok(vec![Servers::new(load, rate * f64::from(size), &service).run(seed)])
}

fn ttl(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let queue = format!(", ttl = {}", duration(params.number("ttl")?));
    Ok(vec![Servers { queue, ..servers(params)? }.run(seed)])
}

/// Messages whose senders give up waiting after a time that is exponential, each its own.
fn erlang_a(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let patience = exponential(1.0 / params.number("theta")?);
    let messages = format!(", ttl = {patience}");
    Ok(vec![Servers { messages, ..servers(params)? }.run(seed)])
}

/// The broker lets a message whose time is over lie until it is at the head, which takes nobody's
/// turn: so those who have given up are told apart from those who wait.
fn impatient_number(metric: &str, params: &Params, trials: &[Trial]) -> Option<f64> {
    let Trial { outcome, .. } = trials.first()?;
    let times = &outcome.judge.times;
    let waiting = times.of_use.sum / outcome.judge.window_length().as_secs_f64();
    Some(match metric {
        "Lq" => waiting,
        "L" => waiting + queue("mean_busy_servers", params, trials)?,
        "Wq" => times.of_use.mean(),
        "P_wait" => {
            let given_up = times.of_use.count - times.wait_moments.count;
            (times.waited + given_up) as f64 / times.of_use.count.max(1) as f64
        }
        _ => return queue(metric, params, trials),
    })
}

/// Messages of which a share fails each time that they are worked on, until the queue has handed
/// them out as often as it may and puts them aside.
fn bounded(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let (p, times) = (params.number("p_fail")?, params.count("max_deliver")?);
    Ok(vec![
        Experiment::new(&format!(
            r#"variants = [{{ sqs = {{ visibility_timeout = "5s", max_receive_count = {times} }} }}]
            producers = {{ load = {{ open = {} }} }}
            consumers = {{ count = 1, concurrency = 10, failure = "{p}" }}
            messages = {{ tasks = [{{ name = "work", service = "100ms" }}] }}
            horizon = {}
            drain = "0s""#,
            poisson(BOUNDED_RATE),
            duration(MESSAGES / BOUNDED_RATE)
        ))
        .run(seed),
    ])
}

/// Few enough that a consumer with ten threads keeps up.
const BOUNDED_RATE: f64 = 10.0;

fn bounded_number(metric: &str, _: &Params, trials: &[Trial]) -> Option<f64> {
    let within = &trials.first()?.outcome.judge.tally.within;
    let share = |count: u64| count as f64 / within.offered.max(1) as f64;
    Some(match metric {
        "mean_deliveries" => share(within.handed),
        "P_dead_letter" => share(within.died),
        _ => return None,
    })
}

/// The same load over so many queues with a server each, and over one with all of them.
fn partitions(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let (lambda, count) = (params.number("lambda")?, params.count("c")?);
    let service = exponential(1.0 / params.number("mu")?);
    let share = lambda / f64::from(count);
    let shared = Servers { count, ..Servers::new(poisson(lambda), lambda, &service) };
    // One partition stands for all, since all are alike. Its draws are its own.
    let apart = Seed(seed.0 + 1_000_000);
    Ok(vec![Servers::new(poisson(share), share, &service).run(apart), shared.run(seed)])
}

fn partitions_number(metric: &str, params: &Params, trials: &[Trial]) -> Option<f64> {
    let [partition, shared] = trials else { return None };
    let of = |metric: &str, trial: &Trial| queue(metric, params, std::slice::from_ref(trial));
    if let Some(metric) = metric.strip_suffix("_partitioned") {
        of(metric, partition)
    } else if let Some(metric) = metric.strip_suffix("_shared") {
        of(metric, shared)
    } else {
        let metric = metric.strip_prefix("ratio_")?;
        Some(of(metric, partition)? / of(metric, shared)?)
    }
}

/// Queues one after the other: what leaves one arrives at the next at that instant.
fn tandem(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let lambda = params.number("lambda")?;
    let mut load = poisson(lambda);
    let mut trials: Vec<Trial> = Vec::new();
    for (stage, mu) in params.text("mus")?.split('|').enumerate() {
        let mu: f64 = mu.trim().parse().map_err(|_| format!("`{mu}` is no rate"))?;
        // Each stage has its own service times.
        let seed = Seed(seed.0 + 1_000_000 * stage as u64);
        let mut experiment = Servers::new(load, lambda, &exponential(1.0 / mu)).experiment();
        if let Some(before) = trials.last() {
            experiment.replay(before.outcome.judge.departures());
        }
        trials.push(experiment.run_keeping_times(seed));
        load = poisson(lambda);
    }
    Ok(trials)
}

fn tandem_number(metric: &str, params: &Params, trials: &[Trial]) -> Option<f64> {
    if let Some(rest) = metric.strip_prefix("T_total_p") {
        let mut totals = Distribution::new();
        let first = trials.first()?.outcome.judge.departures();
        let last = trials.last()?.outcome.judge.departures();
        // A queue with one server lets nobody overtake, so the n-th to leave is the n-th to come.
        let skipped = first.len() / 10;
        for (begin, end) in first.iter().zip(last).skip(skipped) {
            totals.add(end.1.since(begin.0).as_ns());
        }
        return Some(totals.quantile(share_of(rest)?) as f64 / 1e9);
    }
    let all = |metric: &str| -> Option<f64> {
        trials.iter().map(|trial| queue(metric, params, std::slice::from_ref(trial))).sum()
    };
    if let Some(metric) = metric.strip_suffix("_total") {
        return all(metric);
    }
    let digits = metric.find(|c: char| c.is_ascii_digit())?;
    let stage: usize = metric[digits..].parse().ok()?;
    let trial = trials.get(stage.checked_sub(1)?)?;
    queue(&metric[..digits], params, std::slice::from_ref(trial))
}

fn class_number(metric: &str, params: &Params, trials: &[Trial]) -> Option<f64> {
    let times = &trials.first()?.outcome.judge.times;
    let class = |level: u8| times.by_priority.get(&level);
    Some(match metric {
        "W_high" => class(1)?.0.mean(),
        "W_low" => class(0)?.0.mean(),
        "Wq_high" => class(1)?.1.mean(),
        "Wq_low" => class(0)?.1.mean(),
        "Wq_mean" => times.wait_moments.mean(),
        _ => return queue(metric, params, trials),
    })
}

/// The consumer stands still for a while, and then works off what has gathered. Here a unit of
/// time is 1000 seconds, so that the second for which a queue has to stay empty is nothing.
fn outage(params: &Params, seed: Seed) -> Result<Vec<Trial>, String> {
    let (lambda, mu) = (params.number("lambda")?, params.number("mu")?);
    let length = params.number("outage")?;
    let scale = OUTAGE_UNIT;
    // Long enough for a backlog several times the mean to be worked off.
    let horizon = length + 8.0 * lambda * length / (mu - lambda).max(0.01);
    let load = poisson(lambda / scale);
    let servers = Servers::new(load, lambda / scale, &exponential(scale / mu));
    let mut experiment = servers.over(horizon * scale);
    experiment.without_warm_up();
    experiment.strike(&format!(
        "fault = [{{ at = \"0s\", for = {}, pause = {{ target = \"consumer\" }} }}]",
        duration(length * scale)
    ));
    Ok(vec![experiment.run(seed)])
}

fn outage_number(metric: &str, _: &Params, trials: &[Trial]) -> Option<f64> {
    let outcome = &trials.first()?.outcome;
    Some(match metric {
        "mean_backlog_at_restore" => outcome.judge.depth.at_restart? as f64,
        // One that was not worked off by the end took as long as there was at least.
        "mean_drain_time" => match outcome.record.value("drain_time", "") {
            Some(ns) => ns / 1e9 / OUTAGE_UNIT,
            None => f64::INFINITY,
        },
        "peak_age_fluid" => outcome.record.value("lag_max", "")? / 1e9 / OUTAGE_UNIT,
        _ => return None,
    })
}

const OUTAGE_UNIT: f64 = 1000.0;

/// A distribution with this mean and squared coefficient of variation: constant, Erlang (for the
/// nearest that it can have), exponential, or hyper-exponential with balanced means.
fn two_moments(mean: f64, scv: f64) -> String {
    if scv <= 0.0 {
        duration(mean)
    } else if scv < 1.0 {
        erlang(mean, ((1.0 / scv + 0.5) as u32).clamp(1, 1000))
    } else if scv <= 1.0 {
        exponential(mean)
    } else {
        let p = f64::midpoint(1.0, libm::sqrt((scv - 1.0) / (scv + 1.0)));
        let (first, second) = (mean / (2.0 * p), mean / (2.0 * (1.0 - p)));
        branches("hyper_exponential", p, first, second)
    }
}

/// The distribution of service times that the parameters name.
fn service_of(params: &Params) -> Result<String, String> {
    let number = |name| params.number(name);
    Ok(match params.text("service")? {
        "erlang" => erlang(number("mean")?, params.count("k")?),
        "h2" => branches("hyper_exponential", number("p1")?, number("m1")?, number("m2")?),
        "twopoint" => branches("values", number("p1")?, number("d1")?, number("d2")?),
        "uniform" => {
            let (min, max) = (duration(number("a")?), duration(number("b")?));
            format!("{{ uniform = {{ min = {min}, max = {max} }} }}")
        }
        "lognormal" => {
            // The logarithm may be negative.
            let mu: f64 = params.text("mu_ln")?.parse().map_err(|_| "`mu_ln` is no number")?;
            let (median, sigma) = (duration(libm::exp(mu)), number("sigma_ln")?);
            format!("{{ log_normal = {{ median = {median}, sigma = {sigma} }} }}")
        }
        "exponential" => exponential(number("mean")?),
        "deterministic" => duration(number("mean")?),
        other => {
            return Err(format!(
                "unknown service `{other}`, expected one of erlang, h2, twopoint, uniform, \
                 lognormal, exponential, deterministic"
            ));
        }
    })
}

/// A broker with servers behind it.
#[derive(Clone, Debug)]
struct Servers {
    load: String,
    service: String,
    rate: f64,
    count: u32,
    concurrency: u32,
    prefetch: u32,
    confirms: bool,
    /// More of what is said of the queue, of the messages and of the consumers.
    queue: String,
    messages: String,
    consumers: String,
}

impl Servers {
    /// One server, for messages that come as `load` says, `rate` a second.
    fn new(load: String, rate: f64, service: &str) -> Self {
        Self {
            load,
            service: service.to_owned(),
            rate,
            count: 1,
            concurrency: 1,
            prefetch: 1,
            confirms: false,
            queue: String::new(),
            messages: String::new(),
            consumers: String::new(),
        }
    }

    fn run(&self, seed: Seed) -> Trial {
        self.experiment().run(seed)
    }

    fn experiment(&self) -> Experiment {
        let mut experiment = self.over(MESSAGES / self.rate);
        let consumers = f64::from(self.count) * f64::from(self.concurrency);
        let work = experiment.config.messages.tasks[0].service.mean_ns() / 1e9;
        let times = length(self.rate * work / consumers);
        experiment.lengthen(times);
        experiment
    }

    fn over(&self, seconds: f64) -> Experiment {
        let Self { load, service, count, concurrency, prefetch, confirms, .. } = self;
        let Self { queue, messages, consumers, .. } = self;
        let horizon = duration(seconds);
        Experiment::new(&format!(
            r#"variants = [{{ amqp_classic = {{ prefetch = {prefetch}, confirms = {confirms}, persistent = false,
            queue = {{ durable = false, heartbeat = "0s", consumer_timeout = "0s"{queue} }} }} }}]
            producers = {{ load = {{ open = {load} }} }}
            consumers = {{ count = {count}, concurrency = {concurrency}{consumers} }}
            messages = {{ tasks = [{{ name = "work", service = {service} }}]{messages} }}
            horizon = {horizon}
            drain = "0s""#
        ))
    }
}

fn poisson(rate: f64) -> String {
    format!("{{ poisson = \"{rate}/s\" }}")
}

fn duration(seconds: f64) -> String {
    format!("\"{}ns\"", (seconds * 1e9 + 0.5) as u64)
}

fn exponential(mean: f64) -> String {
    format!("{{ exponential = {{ mean = {} }} }}", duration(mean))
}

fn erlang(mean: f64, stages: u32) -> String {
    format!("{{ erlang = {{ mean = {}, stages = {stages} }} }}", duration(mean))
}

/// Two branches, of which the first has the chance `p`.
fn branches(kind: &str, p: f64, first: f64, second: f64) -> String {
    let (first, second, q) = (duration(first), duration(second), 1.0 - p);
    format!(
        "{{ {kind} = {{ branches = [{{ chance = \"{p}\", mean = {first} }}, \
         {{ chance = \"{q}\", mean = {second} }}] }} }}"
    )
}

/// 0.99 for `99`, 0.999 for `999`.
fn share_of(percent: &str) -> Option<f64> {
    let digits: f64 = percent.parse().ok()?;
    Some(digits / libm::pow(10.0, percent.len() as f64))
}

/// What is measured of a queue with one or more servers, in seconds and messages.
fn queue(metric: &str, params: &Params, trials: &[Trial]) -> Option<f64> {
    let outcome = &trials.first()?.outcome;
    let judge = &outcome.judge;
    let (times, tally, depth) = (&judge.times, &judge.tally, &judge.depth);
    let value = |name: &str| outcome.record.value(name, "");
    let seconds = judge.window_length().as_secs_f64();
    let servers = params.number("c").unwrap_or(1.0);
    if let Some((of, q)) = quantile_of(metric) {
        let distribution = match of {
            Of::Latency => &times.latency,
            Of::Wait => &times.queue_wait,
        };
        return Some(distribution.quantile(q) as f64 / 1e9);
    }
    if let Some(count) = metric.strip_prefix('P').and_then(|count| count.parse::<usize>().ok()) {
        return Some(*depth.occupancy_ns.get(count)? as f64 / 1e9 / seconds);
    }
    let within = &tally.within;
    let blocked = within.offered - (within.stored - within.died);
    let busy_share = 1.0 - depth.occupancy_ns[0] as f64 / 1e9 / seconds;
    Some(match metric {
        "rho" if params.has("p_requeue") => value("utilisation")?,
        "rho" => tally.work.sum / seconds / servers,
        "offered_load" => tally.work.sum / seconds,
        "scv_service" => tally.work.variance() / (tally.work.mean() * tally.work.mean()),
        "utilisation" => value("utilisation")?,
        "mean_busy_servers" | "carried_load" => value("utilisation")? * servers,
        "P_idle" => 1.0 - value("utilisation")?,
        "throughput" | "goodput" => value("unique_throughput")?,
        "lambda_eff" if params.has("p_requeue") => within.handed as f64 / seconds,
        "lambda_eff" => (within.offered - blocked) as f64 / seconds,
        "message_rate" => within.offered as f64 / seconds,
        "blocking" | "erlang_B" | "loss_fraction" | "P_abandon" => {
            blocked as f64 / within.offered.max(1) as f64
        }
        "loss_rate" => blocked as f64 / seconds,
        "deliveries_per_message" => within.handed as f64 / within.distinct.max(1) as f64,
        "L" => value("depth")?,
        "Lq" => value("ready")?,
        "W" | "W_total" => times.latency_moments.mean(),
        "Wq" | "Wq_upper_bound" => times.wait_moments.mean(),
        "var_T" => times.latency_moments.variance(),
        "var_Wq" => times.wait_moments.variance(),
        "var_N" => {
            let mean = value("depth")?;
            let square = |(count, ns): (usize, &u64)| (count * count) as f64 * (*ns as f64);
            let squares: f64 = depth.occupancy_ns.iter().enumerate().map(square).sum();
            squares / 1e9 / seconds - mean * mean
        }
        "erlang_C" | "P_wait" | "sigma" => {
            times.waited as f64 / times.wait_moments.count.max(1) as f64
        }
        "mean_busy_period" => busy_share * seconds / depth.busy_periods.max(1) as f64,
        _ => return None,
    })
}

/// So many messages at least are sent in each run, the first tenth of which is not measured.
const MESSAGES: f64 = 100_000.0;

/// How many times as long a run has to be at the utilisation `rho`.
///
/// A ratio or a quantile of one run is off by a share that falls as the run holds more of the times
/// in which the queue forgets, and an M/M/1 queue forgets at the rate (1 - √rho)² per service
/// (Cohen, "The Single Server Queue", 1982): so this grows as 1 / (1 - rho)², from what left about
/// 1 % at a load of 0.95 in runs of 100,000 messages to about 0.1 %. What cannot hold all that
/// comes has no such load.
fn length(rho: f64) -> u64 {
    if rho < 1.0 {
        let messages = 4000.0 / ((1.0 - rho) * (1.0 - rho));
        (messages / MESSAGES).clamp(1.0, 10.0) as u64
    } else {
        1
    }
}
