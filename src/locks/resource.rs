//! The data that a lock protects: a counter for each lock, on a node of its own.
//!
//! A critical section reads its counter, works, and writes one more than it read. Whether the node
//! looks at the fencing tokens that come along is the [`Fencing`] mode. Checked on writes only, a
//! token does not protect a read that is followed by a write: the newer holder may have read
//! already when the older one's write comes. Checked on reads too, it does.

use std::collections::{BTreeMap, VecDeque};

use crate::config;
use crate::model::node::{Context, Input, Node, NodeId, Output, Stable, SyncId, Wire};

use super::party::{Parcel, Party, Told, Write};
use super::section::SectionId;
use super::shards::{Clients, ClientsRole};
use super::{Indication, LockId, LockProtocol, Request, Token};

config! {
    /// What the protected resource makes of fencing tokens.
    pub enum Fencing {
        /// It does not look at them.
        "none" => None,
        /// It refuses a write whose token is older than one it has seen on a write.
        "writes" => Writes(Marks),
        /// It refuses a read or a write whose token is older than one it has seen on either.
        "reads_and_writes" => ReadsAndWrites(Marks),
        /// It asks the lock service whether the token is that of the present holder.
        "check_with_service" => CheckWithService,
    }
}

config! {
    /// How the resource remembers the newest token.
    pub struct Marks {
        /// Whether a token equal to the newest is good though it comes from another client:
        /// "greater or equal" as the documentation of Redisson's `RFencedLock` has it. The same
        /// client's further operations are good either way.
        pub accept_equal: bool = true,
        /// Whether the newest token survives a restart of the resource, as its data do.
        pub durable: bool = true,
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { accept_equal: true, durable: true }
    }
}

impl Fencing {
    /// Its name in scenario files.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Writes(_) => "writes",
            Self::ReadsAndWrites(_) => "reads_and_writes",
            Self::CheckWithService => "check_with_service",
        }
    }

    const fn marks(&self) -> Option<&Marks> {
        match self {
            Self::Writes(marks) | Self::ReadsAndWrites(marks) => Some(marks),
            Self::None | Self::CheckWithService => None,
        }
    }
}

/// Whether an operation reads or writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// It reads the counter.
    Read,
    /// It sets the counter.
    Write,
}

/// An operation on the resource, as it was decided there.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The section that it belongs to.
    pub section: SectionId,
    /// Who sent it.
    pub client: NodeId,
    /// The lock whose counter it is about.
    pub lock: LockId,
    /// The token that came along.
    pub token: Option<Token>,
    /// What it is.
    pub access: Access,
    /// What was read, or written.
    pub value: u64,
    /// Whether it was let through.
    pub is_accepted: bool,
}

/// What a section and the resource tell each other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Ask(Operation),
    Answer { section: SectionId, lock: LockId, access: Access, result: Result<u64, Fenced> },
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operation {
    pub(super) section: SectionId,
    pub(super) lock: LockId,
    pub(super) token: Option<Token>,
    pub(super) access: Access,
    /// What to write.
    pub(super) value: u64,
}

/// The token is older than another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fenced;

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask(Operation { access: Access::Read, .. }) => "read",
            Self::Ask(Operation { access: Access::Write, .. }) => "write",
            Self::Answer { access: Access::Read, .. } => "read_reply",
            Self::Answer { access: Access::Write, .. } => "write_reply",
        }
    }

    fn size_bytes(&self) -> u32 {
        64
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Ask(_))
    }
}

/// A counter and the newest token that was seen with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    value: u64,
    mark: Option<(Token, NodeId)>,
}

/// The counters as the disk has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells(BTreeMap<LockId, Cell>);

impl Stable for Cells {
    type Write = (LockId, Cell);

    fn apply(&mut self, (lock, cell): &(LockId, Cell)) {
        self.0.insert(*lock, cell.clone());
    }
}

/// The settings of the resource.
pub(crate) struct ResourceRole<P: LockProtocol> {
    pub(crate) fencing: Fencing,
    /// Whom it asks about tokens.
    pub(crate) validator: Option<ClientsRole<P>>,
}

/// The resource.
pub(crate) struct Resource<P: LockProtocol> {
    fencing: Fencing,
    cells: BTreeMap<LockId, Cell>,
    validator: Option<Clients<P>>,
    /// What waits for the lock service's word, the first of which it was asked for.
    undecided: VecDeque<(NodeId, Operation)>,
    /// What is told when the disk has it.
    unsynced: VecDeque<(SyncId, NodeId, Message)>,
    told: Vec<Indication>,
}

type Ctx<'a, P> = Context<'a, Party<P>>;

impl<P: LockProtocol> Resource<P> {
    pub(super) fn boot(role: &ResourceRole<P>, disk: &Cells) -> Self {
        let mut cells = disk.0.clone();
        if role.fencing.marks().is_some_and(|marks| !marks.durable) {
            for cell in cells.values_mut() {
                cell.mark = None;
            }
        }
        Self {
            fencing: role.fencing.clone(),
            cells,
            validator: role.validator.as_ref().map(|role| Clients::boot(role, &())),
            undecided: VecDeque::new(),
            unsynced: VecDeque::new(),
            told: Vec::new(),
        }
    }

    /// An operation arrives.
    pub(super) fn take(&mut self, from: NodeId, operation: Operation, ctx: &mut Ctx<'_, P>) {
        if self.validator.is_none() {
            let is_good = self.is_good(from, &operation);
            self.decide(from, operation, is_good, ctx);
            return;
        }
        self.undecided.push_back((from, operation));
        if self.undecided.len() == 1 {
            self.ask_service(ctx);
        }
    }

    /// The disk has all that was written before that sync.
    pub(super) fn synced(&mut self, sync: SyncId, ctx: &mut Ctx<'_, P>) {
        while self.unsynced.front().is_some_and(|(waits_for, ..)| *waits_for <= sync) {
            let Some((_, to, answer)) = self.unsynced.pop_front() else { return };
            ctx.send(to, Parcel::Resource(answer));
        }
    }

    /// Something happens to the part that asks the lock service.
    pub(super) fn validate(&mut self, input: Input<Clients<P>>, ctx: &mut Ctx<'_, P>) {
        let Some(validator) = &mut self.validator else { return };
        let told = &mut self.told;
        ctx.with_part(validator, input, |output| match output {
            Output::Indicate(indication) => {
                told.push(indication.clone());
                Output::Indicate(Told::Client(indication))
            }
            other => Party::<P>::of_client(other),
        });
        for indication in std::mem::take(&mut self.told) {
            let Indication::Validated { is_current, .. } = indication else { continue };
            if let Some((from, operation)) = self.undecided.pop_front() {
                self.decide(from, operation, is_current, ctx);
                self.ask_service(ctx);
            }
        }
    }

    fn ask_service(&mut self, ctx: &mut Ctx<'_, P>) {
        while let Some((from, operation)) = self.undecided.front() {
            if let Some(token) = operation.token {
                let lock = operation.lock;
                self.validate(Input::Request(Request::Validate { lock, token }), ctx);
                return;
            }
            // Who brings no token holds nothing.
            let (from, operation) = (*from, operation.clone());
            self.undecided.pop_front();
            self.decide(from, operation, false, ctx);
        }
    }

    /// Whether the operation's token is as new as the newest that was seen.
    fn is_good(&self, from: NodeId, operation: &Operation) -> bool {
        let Some(marks) = self.fencing.marks() else { return true };
        if operation.access == Access::Read && matches!(self.fencing, Fencing::Writes(_)) {
            return true;
        }
        let mark = self.cells.get(&operation.lock).and_then(|cell| cell.mark);
        match (operation.token, mark) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(token), Some((newest, by))) => {
                newest < token || (newest == token && (marks.accept_equal || by == from))
            }
        }
    }

    fn decide(&mut self, from: NodeId, op: Operation, is_good: bool, ctx: &mut Ctx<'_, P>) {
        let Operation { section, lock, token, access, value } = op;
        let cell = self.cells.entry(lock).or_default();
        let before = cell.clone();
        let value = match access {
            Access::Read => cell.value,
            Access::Write => value,
        };
        if is_good {
            let marks = match self.fencing {
                Fencing::None | Fencing::CheckWithService => false,
                Fencing::Writes(_) => access == Access::Write,
                Fencing::ReadsAndWrites(_) => true,
            };
            if let Some(token) = token.filter(|_| marks) {
                cell.mark = Some((token, from));
            }
            cell.value = value;
        }
        ctx.indicate(Told::Resource(Effect {
            section,
            client: from,
            lock,
            token,
            access,
            value,
            is_accepted: is_good,
        }));
        let result = if is_good { Ok(value) } else { Err(Fenced) };
        let answer = Message::Answer { section, lock, access, result };
        if *cell == before {
            ctx.send(from, Parcel::Resource(answer));
            return;
        }
        ctx.write(Write::Resource((lock, cell.clone())));
        let sync = ctx.sync();
        self.unsynced.push_back((sync, from, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::super::ensemble;
    use super::super::etcd::{Etcd, Params};
    use super::super::party::Role;
    use super::super::{LockProtocol, Shards, Terms};
    use super::*;
    use crate::config::{Config, Problems, Value, ValueKind};
    use crate::model::node::{Bench, Connection};
    use Access::{Read, Write as Writes};

    const LOCK: LockId = LockId(0);
    const SERVER: NodeId = NodeId(5);

    /// A resource on the bench, and what came of operations on it.
    struct Shop {
        resource: Party<Etcd>,
        bench: Bench<Party<Etcd>>,
    }

    impl Shop {
        fn with(fencing: &str) -> Self {
            let mut problems = Problems::default();
            let mut read = |text: &str| Value::parse(text, 0, &mut problems);
            let (table, nothing) = (read(&format!("it = {fencing}")), read(""));
            let ValueKind::Table(fields) = &table.kind else { panic!("a table") };
            let fencing =
                Fencing::read(fields.get("it").expect("it"), &mut problems).expect("mode");
            let params = Params::read(&nothing, &mut problems).expect("all have defaults");
            let terms = Terms { servers: vec![SERVER], index: 3, is_counted: true };
            let asks = fencing == Fencing::CheckWithService;
            let validator = asks.then(|| ClientsRole {
                clients: vec![Etcd::client(&params, &terms)],
                servers: vec![SERVER],
                shards: Shards::default(),
            });
            let role = Role::Resource(ResourceRole { fencing, validator });
            Self { resource: Party::boot(&role, &Disk::default()), bench: Bench::new(NodeId(9)) }
        }

        fn tell(&mut self, from: NodeId, message: Parcel<MessageOf>) -> Vec<Output<Party<Etcd>>> {
            let via = Connection::default();
            self.bench.tell(&mut self.resource, Input::Message { from, via, message })
        }

        /// Sends an operation of `client` with a token, 0 for none.
        fn send(&mut self, client: u32, token: u64, access: Access) -> Vec<Output<Party<Etcd>>> {
            let operation = Operation {
                section: SectionId(client.into()),
                lock: LOCK,
                token: (0 < token).then_some(Token(token)),
                access,
                value: token,
            };
            self.tell(NodeId(client), Parcel::Resource(Message::Ask(operation)))
        }

        /// Whether it is let through.
        fn lets(&mut self, client: u32, token: u64, access: Access) -> bool {
            decision(&self.send(client, token, access)).expect("it is decided at once")
        }
    }

    type MessageOf = ensemble::MessageOf<ensemble::keys::Keys>;
    type Disk = super::super::party::Disk<<<Etcd as LockProtocol>::Server as Node>::Stable>;

    fn decision(outputs: &[Output<Party<Etcd>>]) -> Option<bool> {
        outputs.iter().find_map(|output| match output {
            Output::Indicate(Told::Resource(effect)) => Some(effect.is_accepted),
            _ => None,
        })
    }

    #[test]
    fn each_mode_looks_at_what_it_says() {
        // A newer writer, a newer reader; then the older one reads and writes.
        for (fencing, after_read, after_write) in [
            ("\"none\"", [true, true], [true, true]),
            ("{ writes = {} }", [true, true], [true, false]),
            ("{ reads_and_writes = {} }", [false, false], [false, false]),
        ] {
            for (newer, expected) in [(Read, after_read), (Writes, after_write)] {
                let mut shop = Shop::with(fencing);
                assert!(shop.lets(1, 2, newer), "{fencing}: there is no mark yet");
                let found = [Read, Writes].map(|access| shop.lets(0, 1, access));
                assert_eq!(found, expected, "{fencing} after {newer:?}");
                assert!(shop.lets(2, 3, Writes), "{fencing}: a newer one passes");
            }
        }
    }

    #[test]
    fn an_equal_token_of_another_client_passes_by_greater_or_equal_and_one_s_own_always() {
        for is_accepted in [true, false] {
            let mut shop =
                Shop::with(&format!("{{ writes = {{ accept_equal = {is_accepted} }} }}"));
            assert!(shop.lets(1, 2, Writes));
            assert!(shop.lets(1, 2, Writes), "its own");
            assert_eq!(shop.lets(0, 2, Writes), is_accepted);
        }
    }

    #[test]
    fn who_brings_no_token_is_refused_once_there_is_a_mark() {
        let mut shop = Shop::with("{ writes = {} }");
        assert!(shop.lets(0, 0, Writes));
        assert!(shop.lets(1, 2, Writes));
        assert!(!shop.lets(0, 0, Writes));
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut shop = Shop::with("{ reads_and_writes = {} }");
        assert!(shop.lets(1, 2, Writes));
        assert!(!shop.lets(0, 1, Writes));
        let outputs = shop.send(1, 2, Read);
        let value = outputs.iter().find_map(|output| match output {
            Output::Indicate(Told::Resource(effect)) => Some(effect.value),
            _ => None,
        });
        assert_eq!(value, Some(2));
    }

    #[test]
    fn the_service_is_asked_and_its_word_holds() {
        let mut shop = Shop::with("\"check_with_service\"");
        assert_eq!(decision(&shop.send(0, 0, Writes)), Some(false), "no token, nothing to ask");
        for (current, expected) in [(Some(Token(7)), true), (Some(Token(8)), false), (None, false)]
        {
            let outputs = shop.send(1, 7, Writes);
            assert_eq!(decision(&outputs), None, "not before the service has answered");
            let id = outputs.iter().find_map(|output| match output {
                Output::Send {
                    message: Parcel::Lock(ensemble::Message::Who { id, .. }), ..
                } => Some(*id),
                _ => None,
            });
            let id = id.expect("the service is asked");
            let holder = ensemble::Message::Holder { id, token: current };
            assert_eq!(decision(&shop.tell(SERVER, Parcel::Lock(holder))), Some(expected));
        }
    }
}
