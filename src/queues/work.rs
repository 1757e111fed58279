//! What every consumer does with a message once it has it: work on it for as long as it takes, in
//! one of its slots, and apply the effect when the work ends.
//!
//! The effect and what the consumer tells its broker afterwards are two inputs, so that a fault can
//! strike between them: `on = { node = "consumer-1", point = "done" }`.

use crate::kernel::rng::{Probability, Seed};
use crate::kernel::time::SimDuration;
use crate::model::dist::Sampler;
use crate::model::node::{Context, Node, TimerId};

use super::{Indication, Item, Nature};

/// How consumers work.
#[derive(Clone, Debug)]
pub struct Work {
    /// How many messages one works on at the same time.
    pub concurrency: u32,
    /// What each message costs beside its own work.
    pub overhead: SimDuration,
    /// The chance that the work fails, each time anew.
    pub failure: Probability,
    /// How long each task takes if it is done again; `None` for as long as the first time.
    pub again: Option<Vec<Sampler>>,
    /// Whether a shared store of effects is asked before the work is begun.
    pub idempotent: bool,
}

/// What a pool reminds itself of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WorkTimer {
    /// The work in this slot is done.
    Due(u32),
    /// What follows the effect in this slot can be done.
    Finish(u32),
}

/// The slots of one consumer: threads, or the processes of its pool. `H` is what the consumer needs
/// to tell its broker about a message.
#[derive(Clone, Debug)]
pub(super) struct Pool<H> {
    work: Work,
    slots: Vec<Option<Job<H>>>,
    // Slots that were in use and are not.
    free: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Job<H> {
    item: Item,
    handle: H,
    /// How often the message had been delivered before, for the draws of this time.
    times: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The store of effects has been asked.
    Asking,
    Working(TimerId),
    /// It is over; only the broker does not know.
    Over(End, TimerId),
}

/// How work ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The effect was applied.
    Done,
    /// There was nothing to do: the effect had been applied before.
    Known,
    /// It failed.
    Failed,
    /// It killed the process in the slot.
    Killed,
}

/// A message on which a slot has worked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finished<H> {
    pub(super) item: Item,
    pub(super) handle: H,
    pub(super) end: End,
}

impl Work {
    /// How long it takes to do the work of `item` for the time after `times` earlier ones, and
    /// whether it ends well.
    fn draw(&self, item: &Item, times: u32) -> (SimDuration, End) {
        let mut service = item.service;
        let mut end = match item.nature {
            Nature::Sound => End::Done,
            Nature::Fails => End::Failed,
            Nature::Kills => End::Killed,
        };
        let is_drawn_anew = self.again.is_some() && 0 < times;
        if is_drawn_anew || self.failure != Probability::ZERO {
            // From the message's own luck: whoever does the work for the n-th time is as lucky.
            let mut rng = Seed(item.luck).stream("work", &times.to_string());
            if rng.chance(self.failure) && end == End::Done {
                end = End::Failed;
            }
            if let Some(again) = self.again.as_ref().filter(|_| is_drawn_anew) {
                service = again[usize::from(item.task)].draw(&mut rng);
            }
        }
        (service, end)
    }
}

impl<H: Copy> Pool<H> {
    pub(super) fn new(work: &Work) -> Self {
        Self { work: work.clone(), slots: Vec::new(), free: Vec::new() }
    }

    /// Whether a slot is free.
    pub(super) fn has_room(&self) -> bool {
        self.busy_count() < self.work.concurrency
    }

    /// Whether every slot is free.
    pub(super) fn is_idle(&self) -> bool {
        self.busy_count() == 0
    }

    fn busy_count(&self) -> u32 {
        (self.slots.len() - self.free.len()) as u32
    }

    /// Begins to work on `item`, which has been delivered `times` times before.
    pub(super) fn begin<N>(&mut self, item: Item, handle: H, times: u32, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        assert!(self.has_room(), "work is begun in a free slot");
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[slot as usize] = Some(Job { item, handle, times, stage: Stage::Asking });
        if self.work.idempotent {
            ctx.indicate(Indication::Asks { serial: item.serial, slot });
        } else {
            self.work_on(slot, ctx);
        }
    }

    /// The store of effects has answered.
    pub(super) fn answered<N>(&mut self, slot: u32, is_known: bool, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        let Some(job) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if job.stage != Stage::Asking {
            return;
        }
        if is_known {
            ctx.indicate(Indication::Dropped(job.item.serial));
            let timer = ctx.set_timer(SimDuration::ZERO, WorkTimer::Finish(slot).into());
            job.stage = Stage::Over(End::Known, timer);
        } else {
            self.work_on(slot, ctx);
        }
    }

    fn work_on<N>(&mut self, slot: u32, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        let job = self.slots[slot as usize].as_mut().expect("a slot in use has a job");
        let (service, _) = self.work.draw(&job.item, job.times);
        ctx.indicate(Indication::Started(job.item.serial));
        ctx.reach("started");
        let timer = ctx.set_work_timer(service + self.work.overhead, WorkTimer::Due(slot).into());
        job.stage = Stage::Working(timer);
    }

    /// A timer of this pool has fallen due. Where a message is finished, the consumer has to tell
    /// its broker; and where it failed or was killed, to say what becomes of it.
    pub(super) fn due<N>(
        &mut self,
        timer: WorkTimer,
        ctx: &mut Context<'_, N>,
    ) -> Option<Finished<H>>
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        match timer {
            WorkTimer::Due(slot) => {
                let job = self.slots[slot as usize].as_mut().expect("a slot at work has a job");
                let (_, end) = self.work.draw(&job.item, job.times);
                if end == End::Done {
                    ctx.indicate(Indication::Done(job.item.serial));
                    ctx.reach("done");
                } else {
                    ctx.reach(if end == End::Killed { "killed" } else { "failed" });
                }
                let timer = ctx.set_timer(SimDuration::ZERO, WorkTimer::Finish(slot).into());
                job.stage = Stage::Over(end, timer);
                None
            }
            WorkTimer::Finish(slot) => {
                let job = self.empty(slot);
                let Stage::Over(end, _) = job.stage else {
                    unreachable!("only what is over is finished")
                };
                Some(Finished { item: job.item, handle: job.handle, end })
            }
        }
    }

    /// A process of the pool is killed: the first that is at work. What it worked on.
    pub(super) fn kill_one<N>(&mut self, ctx: &mut Context<'_, N>) -> Option<Finished<H>>
    where
        N: Node<Indication = Indication>,
    {
        let slot = self.slots.iter().position(Option::is_some)?;
        Some(self.kill(slot as u32, ctx))
    }

    /// All processes of the pool are killed. What they worked on.
    pub(super) fn kill_all<N>(&mut self, ctx: &mut Context<'_, N>) -> Vec<Finished<H>>
    where
        N: Node<Indication = Indication>,
    {
        std::iter::from_fn(|| self.kill_one(ctx)).collect()
    }

    fn kill<N>(&mut self, slot: u32, ctx: &mut Context<'_, N>) -> Finished<H>
    where
        N: Node<Indication = Indication>,
    {
        let job = self.empty(slot);
        match job.stage {
            Stage::Working(timer) => {
                ctx.cancel_timer(timer);
                ctx.indicate(Indication::LeftOff(job.item.serial));
            }
            Stage::Over(end, timer) => {
                ctx.cancel_timer(timer);
                if matches!(end, End::Failed | End::Killed) {
                    ctx.indicate(Indication::LeftOff(job.item.serial));
                }
            }
            Stage::Asking => ctx.indicate(Indication::Dropped(job.item.serial)),
        }
        Finished { item: job.item, handle: job.handle, end: End::Killed }
    }

    fn empty(&mut self, slot: u32) -> Job<H> {
        let job = self.slots[slot as usize].take().expect("a slot in use has a job");
        self.free.push(slot);
        job
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernel::time::SimTime;
    use crate::queues::Serial;

    fn work(failure: Probability) -> Work {
        Work {
            concurrency: 1,
            overhead: SimDuration::ZERO,
            failure,
            again: Some(vec![Sampler::Constant(SimDuration::from_ms(7))]),
            idempotent: false,
        }
    }

    pub(crate) fn item(serial: u64) -> Item {
        Item {
            serial: Serial(serial),
            key: 0,
            size_bytes: 100,
            service: SimDuration::from_ms(5),
            task: 0,
            nature: Nature::Sound,
            priority: 0,
            delay: SimDuration::ZERO,
            eta: None,
            ttl: SimDuration::MAX,
            retries: 0,
            luck: serial.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            born: SimTime::ZERO,
        }
    }

    #[test]
    fn the_first_time_takes_what_the_message_says_and_later_ones_are_drawn_anew() {
        let work = work(Probability::ZERO);
        assert_eq!(work.draw(&item(1), 0), (SimDuration::from_ms(5), End::Done));
        assert_eq!(work.draw(&item(1), 3), (SimDuration::from_ms(7), End::Done));
    }

    #[test]
    fn each_time_fails_by_itself_and_the_same_time_always_alike() {
        let work = work(Probability::ratio(1, 4).unwrap());
        let fails = |serial, times| work.draw(&item(serial), times).1 == End::Failed;
        let count = (0..4000).filter(|&serial| fails(serial, 0)).count();
        assert!((850..1150).contains(&count), "{count} of 4000 fail");
        let both = (0..4000).filter(|&serial| fails(serial, 0) && fails(serial, 1)).count();
        assert!((180..320).contains(&both), "{both} of 4000 fail twice");
        assert!((0..100).all(|serial| fails(serial, 2) == fails(serial, 2)));
    }
}
