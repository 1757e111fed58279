//! A client's connection with its broker: how it is opened, watched and opened again.

use crate::kernel::time::SimDuration;
use crate::model::node::{Connection, Context, Node, NodeId, TimerId};

use super::Part;

/// What a link reminds its client of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LinkTimer {
    /// It is time to try to connect again.
    Retry,
    /// The broker has not answered in time.
    Timeout,
}

/// How long a client pauses between two tries to connect: after a failed one longer by a step with
/// each, up to a limit, as kombu does it (`kombu/utils/functional.py`, `retry_over_time`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Backoff {
    /// Before the first try after a connection is lost.
    pub(super) first: SimDuration,
    /// After the first try that fails.
    pub(super) start: SimDuration,
    pub(super) step: SimDuration,
    pub(super) max: SimDuration,
}

impl Backoff {
    /// Always the same pause.
    pub(super) const fn constant(pause: SimDuration) -> Self {
        Self { first: pause, start: pause, step: SimDuration::ZERO, max: pause }
    }

    fn pause(&self, failure_count: u32) -> SimDuration {
        match failure_count.checked_sub(1) {
            None => self.first,
            Some(more) => (self.start + self.step.times(more.into())).min(self.max),
        }
    }
}

/// The client's side of its connections with brokers, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Link {
    brokers: Vec<NodeId>,
    /// Which of them it is with, or tries next.
    at: usize,
    backoff: Backoff,
    state: State,
    /// Counts the tries to connect; goes into the messages, so that what belongs to an earlier
    /// connection is not taken for a later one's.
    epoch: u32,
    /// The latest connection of which this side has heard anything.
    latest: Option<Connection>,
    failure_count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Down,
    Waiting(TimerId),
    Opening(TimerId),
    Open,
}

impl Link {
    pub(super) fn new(broker: NodeId, backoff: Backoff) -> Self {
        Self::among(&[broker], backoff)
    }

    /// One with any of `brokers`, the first of them first.
    pub(super) fn among(brokers: &[NodeId], backoff: Backoff) -> Self {
        let brokers = brokers.to_vec();
        let (state, latest) = (State::Down, None);
        Self { brokers, at: 0, backoff, state, epoch: 0, latest, failure_count: 0 }
    }

    pub(super) fn broker(&self) -> NodeId {
        self.brokers[self.at]
    }

    /// The next try goes to this broker.
    pub(super) fn redirect(&mut self, broker: NodeId) {
        if broker != self.broker() {
            self.at = self.brokers.iter().position(|&other| other == broker).unwrap_or_else(|| {
                self.brokers.push(broker);
                self.brokers.len() - 1
            });
            self.latest = None;
        }
    }

    /// The next try goes to the next broker, where there are several.
    pub(super) fn move_on(&mut self) {
        let next = (self.at + 1) % self.brokers.len();
        self.redirect(self.brokers[next]);
    }

    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether nothing is being done to open it.
    pub(super) fn is_down(&self) -> bool {
        self.state == State::Down
    }

    /// How many tries in a row have failed.
    pub(super) const fn failure_count(&self) -> u32 {
        self.failure_count
    }

    /// Tries to connect: sends what `hello` makes of the number of this try.
    pub(super) fn open<N>(
        &mut self,
        ctx: &mut Context<'_, N>,
        hello: impl FnOnce(u32) -> N::Message,
    ) where
        N: Node,
        N::Timer: From<LinkTimer>,
    {
        self.stop_timer(ctx);
        self.epoch += 1;
        ctx.send(self.broker(), hello(self.epoch));
        self.state = State::Opening(ctx.set_timer(CONNECT_TIMEOUT, LinkTimer::Timeout.into()));
    }

    /// The broker has answered try number `epoch`, by `via`. Whether it is the one that counts.
    pub(super) fn opened<N: Node>(
        &mut self,
        epoch: u32,
        via: Connection,
        ctx: &mut Context<'_, N>,
    ) -> bool {
        let State::Opening(timer) = self.state else { return false };
        if epoch != self.epoch {
            return false;
        }
        ctx.cancel_timer(timer);
        self.latest = Some(via);
        self.failure_count = 0;
        self.state = State::Open;
        true
    }

    /// A connection is gone. Whether it is the one that counts; then the link is down.
    pub(super) fn closed<N: Node>(&mut self, via: Connection, ctx: &mut Context<'_, N>) -> bool {
        let concerns = match self.state {
            State::Down | State::Waiting(_) => false,
            State::Opening(_) => self.latest.is_none_or(|latest| latest < via),
            State::Open => self.latest.is_none_or(|latest| latest <= via),
        };
        self.latest = self.latest.max(Some(via));
        if concerns {
            self.fail(ctx);
        }
        concerns
    }

    /// The broker did not answer, or does not want this connection any more.
    pub(super) fn fail<N: Node>(&mut self, ctx: &mut Context<'_, N>) {
        if matches!(self.state, State::Opening(_)) {
            self.failure_count += 1;
        }
        self.stop_timer(ctx);
        self.state = State::Down;
    }

    /// The broker answers, and sends this side elsewhere: that is no failure.
    pub(super) fn turn_away<N: Node>(&mut self, ctx: &mut Context<'_, N>) {
        self.stop_timer(ctx);
        self.state = State::Down;
    }

    /// Closes the connection, where there is one.
    pub(super) fn hang_up<N: Node>(&mut self, ctx: &mut Context<'_, N>) {
        self.stop_timer(ctx);
        self.state = State::Down;
        self.failure_count = 0;
        ctx.disconnect(self.broker());
    }

    /// Tries again after the pause that is due now.
    pub(super) fn try_later<N>(&mut self, ctx: &mut Context<'_, N>)
    where
        N: Node,
        N::Timer: From<LinkTimer>,
    {
        self.stop_timer(ctx);
        let pause = self.backoff.pause(self.failure_count);
        self.state = State::Waiting(ctx.set_timer(pause, LinkTimer::Retry.into()));
    }

    fn stop_timer<N: Node>(&mut self, ctx: &mut Context<'_, N>) {
        if let State::Waiting(timer) | State::Opening(timer) = self.state {
            ctx.cancel_timer(timer);
        }
    }
}

/// The servers of a cluster in the order in which the client that plays `part` tries them. Clients are
/// spread: producers from the first server on, consumers from the second on.
pub(super) fn spread(part: Part, servers: &[NodeId]) -> Vec<NodeId> {
    let home = match part {
        Part::Producer(index) | Part::Broker(index) => index as usize,
        Part::Consumer(index) => index as usize + 1,
    };
    let mut servers = servers.to_vec();
    let count = servers.len();
    servers.rotate_left(home % count);
    servers
}

/// Watches that the other side is alive: it sends something every half interval, and a side that
/// has heard nothing in two checks, an interval apart, gives up (`rabbit_heartbeat.erl`: "we will
/// time out between 2 and 3 intervals after the last data has been received").
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heart {
    has_heard: bool,
    silent_checks: u8,
    is_second_half: bool,
}

impl Heart {
    /// Something came.
    pub(super) fn hear(&mut self) {
        self.has_heard = true;
    }

    /// Half an interval is over. Whether the other side must be taken for dead.
    pub(super) fn beat(&mut self) -> bool {
        self.is_second_half = !self.is_second_half;
        if self.is_second_half {
            return false;
        }
        if std::mem::take(&mut self.has_heard) {
            self.silent_checks = 0;
        } else {
            self.silent_checks += 1;
        }
        self.silent_checks == 2
    }
}

/// How long a client waits for the answer to its wish to connect. kombu and Celery: 4 s
/// (`broker_connection_timeout`, `celery/app/defaults.py`).
const CONNECT_TIMEOUT: SimDuration = SimDuration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_death_after_two_to_three_intervals() {
        let mut heart = Heart::default();
        heart.hear();
        let beats = (1..100).find(|_| heart.beat());
        assert_eq!(beats, Some(6), "heard in the first of three intervals of two halves each");
        let mut heart = Heart::default();
        let beats = (1..100).find(|half| {
            if half % 2 == 0 {
                heart.hear();
            }
            20 < *half || heart.beat()
        });
        assert_eq!(beats, Some(21), "what is heard lives");
    }

    #[test]
    fn pauses_grow_by_a_step_to_the_limit() {
        let backoff = Backoff {
            first: SimDuration::from_ms(7),
            start: SimDuration::ZERO,
            step: SimDuration::from_ms(200),
            max: SimDuration::from_ms(500),
        };
        let pauses: Vec<u64> = (0..5).map(|n| backoff.pause(n).as_ns() / 1_000_000).collect();
        assert_eq!(pauses, [7, 0, 200, 400, 500]);
    }
}
