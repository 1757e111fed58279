//! What sets processes to work: a closed loop of sections and pauses, or a script.

use std::collections::VecDeque;

use crate::kernel::rng::{Rng, Seed};
use crate::kernel::time::SimTime;
use crate::model::cluster::{Change, Driver, Workload};
use crate::model::directory::Directory;
use crate::model::dist::Sampler;
use crate::model::node::NodeId;
use crate::model::popularity::KeyPicker;

use super::history::Recorder;
use super::party::{Ask, Party, Told};
use super::section::{Progress, Section, SectionId};
use super::testbed::{LockOrder, LocksConfig, ScriptStep};
use super::{LockId, LockProtocol};

/// The load on a locking cluster, and the record of what comes of it.
#[derive(Debug)]
pub(super) struct Load<'a> {
    config: &'a LocksConfig,
    clients: Vec<Client>,
    /// For each node, its number among the clients.
    client_of: Vec<Option<usize>>,
    picker: KeyPicker,
    think: Sampler,
    work: Sampler,
    next_section: u64,
    pub(super) recorder: Recorder,
}

/// A client as its user sees it.
#[derive(Debug)]
struct Client {
    node: NodeId,
    is_up: bool,
    is_busy: bool,
    /// Steps of the script that wait until the client is done with the one before.
    due: VecDeque<usize>,
    /// The step that it is at.
    at: Option<usize>,
    think: Rng,
    work: Rng,
    locks: Rng,
    /// Counts the lives of its process, so that what was thought of in one is not done in another.
    life: u32,
}

/// What a load reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A client has thought.
    Begin { client: usize, life: u32 },
    /// A step of the script falls due.
    Step(usize),
}

impl<'a> Load<'a> {
    pub(super) fn new(config: &'a LocksConfig, directory: &Directory, seed: Seed) -> Self {
        let mut client_of = vec![None; directory.len()];
        let clients = directory.group("client").into_iter().enumerate().map(|(index, node)| {
            client_of[node.index()] = Some(index);
            let name = directory.name(node);
            Client {
                node,
                is_up: true,
                is_busy: false,
                due: VecDeque::new(),
                at: None,
                think: seed.stream("think time", name),
                work: seed.stream("section work", name),
                locks: seed.stream("section locks", name),
                life: 0,
            }
        });
        let clients = clients.collect();
        Self {
            config,
            clients,
            client_of,
            picker: KeyPicker::new(&config.popularity, u64::from(config.locks)),
            think: config.think.sampler(),
            work: config.work.sampler(),
            next_section: 0,
            recorder: Recorder::new(directory.len()),
        }
    }

    /// Lets a client of the closed loop think, and then begin.
    fn think<P: LockProtocol>(&mut self, client: usize, driver: &mut Driver<'_, Party<P>, Event>) {
        let this = &mut self.clients[client];
        let pause = self.think.draw(&mut this.think);
        driver.after(pause, Event::Begin { client, life: this.life });
    }

    /// A section of the closed loop.
    fn draw_section(&mut self, client: usize) -> Section {
        let this = &mut self.clients[client];
        let mut locks = Vec::new();
        while (locks.len() as u32) < self.config.locks_per_section {
            let lock = LockId(self.picker.draw(&mut this.locks) as u32);
            if !locks.contains(&lock) {
                locks.push(lock);
            }
        }
        if self.config.order == LockOrder::Sorted {
            locks.sort_unstable();
        }
        let work = self.work.draw(&mut this.work);
        self.section(locks, work, self.config.patience)
    }

    fn section(
        &mut self,
        locks: Vec<LockId>,
        work: crate::kernel::time::SimDuration,
        patience: Option<crate::kernel::time::SimDuration>,
    ) -> Section {
        let id = SectionId(self.next_section);
        self.next_section += 1;
        Section { id, locks, entries: 1, work, patience, retry: self.config.retry }
    }

    /// Lets a client go on with what is due of the script.
    fn next_step<P: LockProtocol>(
        &mut self,
        client: usize,
        driver: &mut Driver<'_, Party<P>, Event>,
    ) {
        while !self.clients[client].is_busy {
            let Some(index) = self.clients[client].due.pop_front() else { return };
            let ScriptStep { lock, work, patience, entries, .. } =
                self.config.script[index].clone();
            let node = self.clients[client].node;
            let lock = LockId(lock - 1);
            match work {
                Some(work) => {
                    let section = Section { entries, ..self.section(vec![lock], work, patience) };
                    self.clients[client].is_busy = true;
                    self.clients[client].at = Some(index);
                    driver.request(node, Ask::Work(section));
                }
                None => driver.request(node, Ask::Release(lock)),
            }
        }
    }
}

impl<P: LockProtocol> Workload<Party<P>> for Load<'_> {
    type Event = Event;

    fn start(&mut self, driver: &mut Driver<'_, Party<P>, Event>) {
        if self.config.script.is_empty() {
            for client in 0..self.clients.len() {
                self.think(client, driver);
            }
        }
        for (index, step) in self.config.script.iter().enumerate() {
            driver.at(SimTime::ZERO + step.at, Event::Step(index));
        }
    }

    fn handle(&mut self, event: Event, driver: &mut Driver<'_, Party<P>, Event>) {
        match event {
            Event::Begin { client, life } => {
                let this = &self.clients[client];
                if this.is_up && this.life == life {
                    let node = this.node;
                    let section = self.draw_section(client);
                    self.clients[client].is_busy = true;
                    driver.request(node, Ask::Work(section));
                }
            }
            Event::Step(index) => {
                let client = self.config.script[index].client as usize - 1;
                if self.clients[client].is_up {
                    self.clients[client].due.push_back(index);
                    self.next_step(client, driver);
                }
            }
        }
    }

    fn hear(&mut self, node: NodeId, told: Told, driver: &mut Driver<'_, Party<P>, Event>) {
        let is_over = matches!(told, Told::Section(Progress::Over(..)));
        self.recorder.note(driver.now(), node, told);
        let Some(client) = self.client_of[node.index()].filter(|_| is_over) else { return };
        self.clients[client].is_busy = false;
        if self.config.script.is_empty() {
            self.think(client, driver);
            return;
        }
        if let Some(index) = self.clients[client].at.take()
            && let Some(again) = self.config.script[index].again
        {
            driver.after(again, Event::Step(index));
        }
        self.next_step(client, driver);
    }

    fn witness(&mut self, node: NodeId, change: Change, driver: &mut Driver<'_, Party<P>, Event>) {
        self.recorder.witness(driver.now(), node, change);
        let Some(client) = self.client_of[node.index()] else { return };
        match change {
            Change::ProcessDown | Change::MachineDown => {
                let this = &mut self.clients[client];
                (this.is_up, this.is_busy, this.at) = (false, false, None);
                this.life += 1;
                this.due.clear();
            }
            Change::Up => {
                self.clients[client].is_up = true;
                if self.config.script.is_empty() {
                    self.think(client, driver);
                }
            }
            Change::Paused | Change::Resumed => (),
        }
    }
}
