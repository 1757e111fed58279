//! A ring that is a program of the user's: the one that production runs, in whatever language.
//!
//! It is told who the nodes are and then asked for the owners of keys, many at a time, line by
//! line on its standard input and output; `docs/own-ring.md` describes that in full. What it
//! answers is believed only as far as it can be: an owner is one of the nodes. What it costs is
//! its own affair, and so is whether it gives equal answers to equal questions: a run with it can
//! be repeated only if it does.
//!
//! A look-up cannot fail. So when the program dies, lies or falls silent, the first failure is
//! kept, every key belongs to the first node from then on, and whoever asked finds the failure in
//! [`trouble`](Placement::trouble) and throws the numbers away.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::choice::{About, Choice};
use crate::config::{Config as _, Launcher, Problems, Program, printable};
use crate::kernel::time::SimDuration;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::{BuildError, Capabilities, Cost, Entry, Unfit};

crate::config! {
    /// Parameters of `external`.
    pub(super) struct ExternalParams {
        /// The program and its arguments; it is started in the scenario's folder.
        pub command: Vec<String>,
        /// How long it may be silent while an answer is due, in real time.
        pub timeout: SimDuration = SimDuration::from_secs(5),
    }
}

/// The row of the external ring. It stands beside the catalogue and not in it: it can be held to
/// no law.
pub(super) const ENTRY: Entry = Entry {
    about: About {
        name: "external",
        summary: "a program of your own, asked line by line: docs/own-ring.md",
        source: "the program",
        version: "",
    },
    // What it can do is unknown: it is given what it may want, and promised for nothing.
    capabilities: Capabilities {
        arbitrary_removal: true,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: false,
        history_free: false,
    },
    check: |choice, members, problems| {
        let before = problems.len();
        let Some(params) = choice.params::<ExternalParams>(problems) else { return };
        let checked = checked(choice, &params, members);
        if let (Err(Unfit(why)), true) = (checked, before == problems.len()) {
            problems.add(choice.place, format!("`external`: {why}"));
        }
    },
    cost: |choice, _| {
        choice.params::<ExternalParams>(&mut Problems::default())?;
        // A line to write, to pass on, to read: so many look-ups of our own.
        Some(Cost { table_bytes: 0, build_steps: 1_000_000, lookup_steps: 200.0 })
    },
    build: |choice, members, hasher| {
        let mut problems = Problems::default();
        let Some(params) = choice.params::<ExternalParams>(&mut problems) else {
            return Err(BuildError::Choice(problems.into_sorted()));
        };
        let launcher = checked(choice, &params, members).map_err(BuildError::Unfit)?;
        let external = External::start(launcher, &params, members, hasher);
        external.map(|ring| Box::new(ring) as Box<dyn Placement>).map_err(BuildError::Unfit)
    },
    buckets: None,
    params_schema: ExternalParams::schema,
};

fn checked<'a>(
    choice: &'a Choice,
    params: &ExternalParams,
    members: &Membership,
) -> Result<&'a Launcher, Unfit> {
    Unfit::unless(!members.is_empty(), || "there is no member to place keys on".into())?;
    Unfit::unless(!params.command.is_empty(), || {
        "the command is empty, expected a program and its arguments".into()
    })?;
    let is_odd = |member: &Member| {
        member.name.starts_with("error ")
            || member.name.contains(char::is_control)
            || member.zone.contains(char::is_control)
    };
    if let Some((_, member)) = members.iter().find(|(_, member)| is_odd(member)) {
        let shown = printable(&member.name);
        return Err(Unfit(format!(
            "the node `{shown}` cannot be told to a program: its name begins with `error `, or there \
             is a control character in name or zone"
        )));
    }
    choice.launcher.as_ref().ok_or_else(|| {
        let shown = printable(&params.command.join(" "));
        Unfit(format!("the program `{shown}` may not be started: allow it with --allow-programs"))
    })
}

/// A program that places keys.
#[derive(Debug)]
struct External {
    /// How messages call it.
    shown: String,
    hasher: Hasher,
    members: BTreeMap<MemberId, Member>,
    by_name: BTreeMap<String, MemberId>,
    state: Mutex<State>,
}

/// A conversation, and how it went.
#[derive(Debug)]
struct State {
    program: Box<dyn Program>,
    trouble: Option<String>,
    question: String,
    answers: Vec<String>,
}

impl State {
    /// Puts the question, which is answered by `count` lines and `ok`. That line shows that both
    /// count alike: one answer too many would belong to the next question, and be believed.
    fn ask(&mut self, shown: &str, count: usize) -> Result<(), String> {
        self.program.ask(&self.question, count + 1, &mut self.answers)?;
        assert!(self.answers.len() == count + 1, "as many answers as were asked for");
        match self.answers.pop() {
            Some(last) if last != "ok" => {
                Err(answered(shown, &last, &format!("after {count} answers, expected `ok`")))
            }
            _ => Ok(()),
        }
    }
}

impl External {
    fn start(
        launcher: &Launcher,
        params: &ExternalParams,
        members: &Membership,
        hasher: Hasher,
    ) -> Result<Self, Unfit> {
        let program = launcher.0.start(&params.command, params.timeout).map_err(Unfit)?;
        let (question, answers) = (String::new(), Vec::new());
        let state = State { program, trouble: None, question, answers };
        let mut external = Self {
            shown: printable(&params.command.join(" ")),
            hasher,
            members: members.iter().map(|(id, member)| (id, member.clone())).collect(),
            by_name: members.iter().map(|(id, member)| (member.name.clone(), id)).collect(),
            state: Mutex::new(state),
        };
        external.tell_members();
        match external.trouble() {
            Some(why) => Err(Unfit(why)),
            None => Ok(external),
        }
    }

    /// Tells the program who the nodes are.
    fn tell_members(&mut self) {
        let shown = &self.shown;
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.question.clear();
        let mut written = writeln!(state.question, "nodes {}", self.members.len());
        for Member { name, weight, zone } in self.members.values() {
            written = written.and(writeln!(state.question, "{name}\t{weight}\t{zone}"));
        }
        written.expect("writing to a string cannot fail");
        if state.trouble.is_some() {
            return;
        }
        state.trouble = state.ask(shown, 0).err();
    }

    /// Asks for the first `count` owners of each of `keys`; calls `each` with those of one key.
    fn ask(
        &self,
        keys: &[Key<'_>],
        count: usize,
        mut each: impl FnMut(&[MemberId]),
    ) -> Result<(), String> {
        let mut state = self.state();
        if let Some(trouble) = &state.trouble {
            return Err(trouble.clone());
        }
        let asked = self.asked(&mut state, keys, count, &mut each);
        state.trouble = asked.clone().err();
        asked
    }

    fn asked(
        &self,
        state: &mut State,
        keys: &[Key<'_>],
        count: usize,
        each: &mut dyn FnMut(&[MemberId]),
    ) -> Result<(), String> {
        state.question.clear();
        writeln!(state.question, "keys {} {count}", keys.len())
            .expect("writing to a string cannot fail");
        for key in keys {
            match std::str::from_utf8(key.bytes) {
                Ok(text) if !text.contains(['\n', '\r']) => state.question.push_str(text),
                _ => {
                    let key = printable(&String::from_utf8_lossy(key.bytes));
                    return Err(format!(
                        "the program `{}` cannot be asked for the key `{key}`: it is not one line \
                         of UTF-8",
                        self.shown
                    ));
                }
            }
            state.question.push('\n');
        }
        state.ask(&self.shown, keys.len())?;
        let mut owners = Vec::with_capacity(count);
        for (key, answer) in keys.iter().zip(&state.answers) {
            owners.clear();
            for name in answer.split('\t') {
                let key = || printable(&String::from_utf8_lossy(key.bytes));
                let Some(&owner) = self.by_name.get(name) else {
                    let what = format!("for the key `{}`, which is no node", key());
                    return Err(answered(&self.shown, name, &what));
                };
                if owners.contains(&owner) {
                    let what = format!("for the key `{}` twice", key());
                    return Err(answered(&self.shown, name, &what));
                }
                owners.push(owner);
            }
            if count < owners.len() {
                let key = printable(&String::from_utf8_lossy(key.bytes));
                let what = format!("for the key `{key}`, expected {count} nodes at most");
                return Err(answered(&self.shown, answer, &what));
            }
            each(&owners);
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose all keys are once the program cannot be asked any more.
    fn first(&self) -> MemberId {
        *self.members.keys().next().expect("the last member never leaves")
    }
}

/// That the program said `answer`.
fn answered(shown: &str, answer: &str, what: &str) -> String {
    format!("the program `{shown}` answered `{}` {what}", printable(answer))
}

impl Placement for External {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let mut found = self.first();
        // A failure is kept, for `trouble`.
        let _ = self.ask(&[key], 1, |owners| found = owners[0]);
        found
    }

    fn locate_all(&self, keys: &[Key<'_>], out: &mut Vec<MemberId>) {
        out.clear();
        let _ = self.ask(keys, 1, |owners| out.push(owners[0]));
        out.resize(keys.len(), self.first());
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        out.clear();
        let _ = self.ask(&[key], count, |owners| out.extend_from_slice(owners));
        if out.is_empty() {
            out.push(self.first());
        }
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        self.members.insert(id, member.clone());
        self.by_name.insert(member.name.clone(), id);
        self.tell_members();
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        let left = self.members.remove(&id).expect("only a member is removed");
        assert!(!self.members.is_empty(), "the last member never leaves");
        self.by_name.remove(&left.name);
        self.tell_members();
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        self.members.get_mut(&id).expect("only a member is weighed").weight = weight;
        self.tell_members();
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        0
    }

    fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Programs;
    use crate::rings::{HashKind, build};

    /// A program that is a function from a question to its answers.
    #[derive(Debug)]
    struct Played(fn(&str) -> Vec<String>);

    impl Programs for Played {
        fn start(&self, _: &[String], _: SimDuration) -> Result<Box<dyn Program>, String> {
            Ok(Box::new(Self(self.0)))
        }
    }

    impl Program for Played {
        fn ask(&mut self, text: &str, count: usize, out: &mut Vec<String>) -> Result<(), String> {
            *out = (self.0)(text);
            if out.len() == count { Ok(()) } else { Err("it died".into()) }
        }
    }

    fn ring(program: fn(&str) -> Vec<String>) -> Result<Box<dyn Placement>, BuildError> {
        let mut problems = Problems::default();
        let text = "external = { command = [\"my-ring\"] }";
        let value = crate::config::Value::parse(text, 0, &mut problems);
        let mut choice = Choice::read(&value, &mut problems).unwrap();
        choice.launcher = Some(Launcher(Arc::new(Played(program))));
        build(&choice, &Membership::uniform(3), Hasher::new(HashKind::Xxh3, 0))
    }

    /// Answers `answer` to every key.
    fn always(question: &str, answer: &str) -> Vec<String> {
        let is_nodes = question.starts_with("nodes ");
        let count = if is_nodes { 0 } else { question.lines().count() - 1 };
        let mut answers = vec![answer.to_owned(); count];
        answers.push("ok".into());
        answers
    }

    #[test]
    fn what_the_program_says_is_what_is_placed() {
        let mut ring = ring(|question| {
            let mut answers = always(question, "");
            for (answer, key) in answers.iter_mut().zip(question.lines().skip(1)) {
                if answer.is_empty() {
                    *answer = format!("node-{key}");
                }
            }
            answers
        })
        .unwrap();
        let keys: Vec<Key<'_>> =
            ["2", "0", "1"].iter().map(|key| ring.key(key.as_bytes())).collect();
        let mut out = Vec::new();
        ring.locate_all(&keys, &mut out);
        assert_eq!(out, [MemberId(2), MemberId(0), MemberId(1)]);
        ring.add(MemberId(7), &Member::named("node-late")).unwrap();
        assert_eq!(ring.locate(ring.key(b"late")), MemberId(7));
        ring.remove(MemberId(7)).unwrap();
        assert_eq!(ring.trouble(), None);
        assert_eq!(ring.locate(ring.key(b"late")), MemberId(0));
        assert_eq!(
            ring.trouble().unwrap(),
            "the program `my-ring` answered `node-late` for the key `late`, which is no node"
        );
    }

    #[test]
    fn lies_and_failures_are_kept_and_told() {
        for (answer, told) in [
            ("", "answered `` for the key `a`, which is no node"),
            (
                "node-1\tnode-2",
                "answered `node-1\\tnode-2` for the key `a`, expected 1 nodes at most",
            ),
            ("node-1\tnode-1", "answered `node-1` for the key `a` twice"),
        ] {
            let ring = ring(match answer {
                "" => |question| always(question, ""),
                "node-1\tnode-2" => |question| always(question, "node-1\tnode-2"),
                _ => |question| always(question, "node-1\tnode-1"),
            })
            .unwrap();
            assert_eq!(ring.locate(ring.key(b"a")), MemberId(0));
            let trouble = ring.trouble().unwrap();
            assert!(trouble.ends_with(told), "{trouble}, expected {told}");
        }
        let why = ring(|_| vec!["what?".into()]).unwrap_err().to_string();
        assert_eq!(why, "the program `my-ring` answered `what?` after 0 answers, expected `ok`");
        let why = ring(|_| Vec::new()).unwrap_err().to_string();
        assert_eq!(why, "it died");
    }

    #[test]
    fn without_leave_no_program_is_started() {
        let mut problems = Problems::default();
        let text = "external = { command = [\"my-ring\", \"-v\"] }";
        let value = crate::config::Value::parse(text, 0, &mut problems);
        let choice = Choice::read(&value, &mut problems).unwrap();
        (ENTRY.check)(&choice, &Membership::uniform(3), &mut problems);
        let problems = problems.into_sorted();
        assert_eq!(
            problems[0].message,
            "`external`: the program `my-ring -v` may not be started: allow it with \
             --allow-programs"
        );
    }
}
