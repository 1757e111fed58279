//! What a fault does to a cluster, and how it is undone.

use crate::kernel::event_queue::EventQueue;
use crate::kernel::time::SimTime;
use crate::record::FaultSpan;

use super::clock::ClockRate;
use super::cluster::{Change, Cluster, ClusterEvent, State, Workload};
use super::fault::Strike;
use super::node::{Input, Node, NodeId};

impl<N: Node, W: Workload<N>> Cluster<N, W> {
    /// A planned fault strikes.
    pub(super) fn begin_fault(
        &mut self,
        fault: u32,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let now = queue.now();
        let planned = &self.faults[fault as usize];
        let strike = planned.strike.clone();
        let until = match (&strike, planned.lasts) {
            (
                Strike::ClockStep(..) | Strike::Signal(..) | Strike::Restart(_) | Strike::Reset(..),
                _,
            ) => now,
            (_, Some(lasts)) => now + lasts,
            (_, None) => SimTime::END,
        };
        self.struck.push(FaultSpan { label: planned.label.clone(), from: now, until });
        if now < until && until < SimTime::END {
            queue.schedule_at(until, ClusterEvent::FaultEnds(fault));
        }
        if let Some(cut) = strike.as_cut(fault) {
            self.network.begin_cut(cut);
        }
        match strike {
            Strike::Pause(nodes) => {
                for id in nodes {
                    self.pause(id, fault, queue);
                }
            }
            Strike::CrashProcess(nodes) => {
                for id in nodes {
                    self.crash(id, State::ProcessDown, queue);
                }
            }
            Strike::CrashMachine(nodes) => {
                for id in nodes {
                    self.crash(id, State::MachineDown, queue);
                }
            }
            Strike::Restart(nodes) => {
                for id in nodes {
                    self.restart(id, queue);
                }
            }
            Strike::Slow(nodes, per_mille) => {
                for id in nodes {
                    self.hosts[id.index()].slowed_by.push((fault, per_mille));
                }
            }
            Strike::ClockStep(nodes, ns) => {
                for id in nodes {
                    self.hosts[id.index()].clocks.step_wall(ns);
                }
            }
            Strike::ClockRate(nodes, rate) => {
                for id in nodes {
                    self.hosts[id.index()].rated_by.push((fault, rate));
                    self.set_clock_rate(id, queue);
                }
            }
            Strike::Signal(nodes, signal) => {
                for id in nodes {
                    self.give(id, Input::Signal(signal));
                }
            }
            Strike::Reset(from, to) => {
                for &one in &from {
                    for &other in &to {
                        self.reset(one, other);
                    }
                }
            }
            Strike::Cut { .. } => (),
            Strike::Effect(effect) => self.network.begin_effect(*effect),
        }
    }

    /// A planned fault is over.
    pub(super) fn end_fault(&mut self, fault: u32, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        match self.faults[fault as usize].strike.clone() {
            Strike::Pause(nodes) => {
                for id in nodes {
                    self.resume(id, fault, queue);
                }
            }
            Strike::CrashProcess(nodes) | Strike::CrashMachine(nodes) => {
                for id in nodes {
                    self.restart(id, queue);
                }
            }
            Strike::Slow(nodes, _) => {
                for id in nodes {
                    self.hosts[id.index()].slowed_by.retain(|&(by, _)| by != fault);
                }
            }
            Strike::ClockRate(nodes, _) => {
                for id in nodes {
                    self.hosts[id.index()].rated_by.retain(|&(by, _)| by != fault);
                    self.set_clock_rate(id, queue);
                }
            }
            Strike::Cut { .. } | Strike::Effect(_) => self.network.end_fault(fault),
            Strike::ClockStep(..) | Strike::Signal(..) | Strike::Restart(_) | Strike::Reset(..) => {
            }
        }
    }

    fn pause(&mut self, id: NodeId, fault: u32, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let host = &mut self.hosts[id.index()];
        if host.state != State::Up {
            return;
        }
        host.held_by.push(fault);
        if host.held_by.len() == 1 {
            self.tell(id, Change::Paused, queue);
        }
    }

    fn resume(&mut self, id: NodeId, fault: u32, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let host = &mut self.hosts[id.index()];
        // A crash ends a pause: the process that was held still is no more.
        let was_held = host.is_held();
        host.held_by.retain(|&by| by != fault);
        if was_held && !host.is_held() {
            self.tell(id, Change::Resumed, queue);
            self.drain_inbox(id, queue);
        }
    }

    fn crash(&mut self, id: NodeId, to: State, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let host = &mut self.hosts[id.index()];
        let was = host.state;
        if was == State::MachineDown || was == to {
            return;
        }
        host.state = to;
        host.life += 1;
        host.held_by.clear();
        host.inbox.clear();
        if let Some(workplace) = &mut host.station {
            workplace.clear();
        }
        if to == State::MachineDown {
            host.power += 1;
            host.disk.lose_power(queue.now());
            self.forget_all(id);
        } else {
            self.close_all(id, queue);
        }
        if was == State::Up {
            let change = match to {
                State::MachineDown => Change::MachineDown,
                State::ProcessDown | State::Up => Change::ProcessDown,
            };
            self.tell(id, change, queue);
        }
    }

    fn restart(&mut self, id: NodeId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        if self.hosts[id.index()].state != State::Up {
            self.boot(id, queue);
        }
    }

    /// Lets the clocks run as the latest of the faults at work wants it.
    fn set_clock_rate(&mut self, id: NodeId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let host = &mut self.hosts[id.index()];
        let rate = host.rated_by.last().map_or(ClockRate::RIGHT, |&(_, rate)| rate);
        host.clocks.set_rate(queue.now(), rate);
        self.reschedule_timers(id, queue);
    }
}
