//! A node whose type is hidden: for programs that are put together from parts by their names.
//!
//! Types tell a protocol's messages, timers and writes from another's. Where a scenario names the
//! queue *and* the lock that meet in one process, each pair would be a program of its own; so here
//! what passes through is boxed, and each part is given back what is its own. It does what it would
//! do by itself, input by input: only the boxes are new.

use std::any::Any;
use std::borrow::Cow;
use std::fmt::{self, Debug};

use super::node::{Context, Input, Node, Output, Stable, Wire};

/// A node of any type with these requests and indications; `S` is how its disk is kept:
/// [`AnyStable`], or `()` for nodes that keep nothing.
pub struct AnyNode<R, I, S: Stable>(Box<dyn Part<R, I, S>>);

/// What such a node is built from.
pub struct AnyRole<R, I, S: Stable>(Box<Boot<R, I, S>>);

/// Builds a node from what its disk still holds.
type Boot<R, I, S> = dyn Fn(&S) -> AnyNode<R, I, S>;

impl<R, I, S: Stable> AnyRole<R, I, S> {
    /// The role of a node of the type `N`.
    pub fn of<N>(role: N::Role) -> Self
    where
        N: Node<Request = R, Indication = I> + 'static,
        R: Debug,
        I: Debug,
        S: Keeps<N::Stable> + 'static,
    {
        Self(Box::new(move |disk| AnyNode(Box::new(N::boot(&role, &disk.image())))))
    }
}

impl<R: Debug, I: Debug, S: Stable> Node for AnyNode<R, I, S> {
    type Role = AnyRole<R, I, S>;
    type Stable = S;
    type Request = R;
    type Indication = I;
    type Message = AnyMessage;
    type Timer = AnyTimer;

    fn boot(role: &Self::Role, disk: &S) -> Self {
        (role.0)(disk)
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        self.0.handle(input, ctx);
    }
}

impl<R, I, S: Stable> Debug for AnyNode<R, I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyNode").finish_non_exhaustive()
    }
}

impl<R, I, S: Stable> Debug for AnyRole<R, I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyRole").finish_non_exhaustive()
    }
}

/// A node as its hidden side sees it.
trait Part<R, I, S: Stable> {
    fn handle(&mut self, input: Input<AnyNode<R, I, S>>, ctx: &mut Context<'_, AnyNode<R, I, S>>)
    where
        R: Debug,
        I: Debug;
}

impl<N, S> Part<N::Request, N::Indication, S> for N
where
    N: Node + 'static,
    S: Keeps<N::Stable>,
{
    fn handle(
        &mut self,
        input: Input<AnyNode<N::Request, N::Indication, S>>,
        ctx: &mut Context<'_, AnyNode<N::Request, N::Indication, S>>,
    ) {
        let input = match input {
            Input::Start => Input::Start,
            Input::Request(request) => Input::Request(request),
            Input::Message { from, via, message } => {
                Input::Message { from, via, message: message.open() }
            }
            Input::Overload { from, via, message } => {
                Input::Overload { from, via, message: message.open() }
            }
            Input::Closed { peer, via, why } => Input::Closed { peer, via, why },
            Input::Timer(timer) => Input::Timer(timer.open()),
            Input::Synced(sync) => Input::Synced(sync),
            Input::Signal(signal) => Input::Signal(signal),
        };
        ctx.with_part(self, input, |output| match output {
            Output::Indicate(indication) => Output::Indicate(indication),
            Output::Send { to, message } => {
                Output::Send { to, message: AnyMessage(Box::new(message)) }
            }
            Output::Disconnect { peer } => Output::Disconnect { peer },
            Output::SetTimer { id, after, timer } => {
                Output::SetTimer { id, after, timer: AnyTimer(Box::new(timer)) }
            }
            Output::CancelTimer(id) => Output::CancelTimer(id),
            Output::Write(write) => Output::Write(S::hidden(write)),
            Output::Sync(id) => Output::Sync(id),
            Output::Reach(point) => Output::Reach(point),
        });
    }
}

/// A message of any type.
#[derive(Debug)]
pub struct AnyMessage(Box<dyn Letter>);

trait Letter: Debug {
    fn kind(&self) -> &'static str;
    fn size_bytes(&self) -> u32;
    fn needs_service(&self) -> bool;
    fn copy(&self) -> Box<dyn Letter>;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<M: Wire + 'static> Letter for M {
    fn kind(&self) -> &'static str {
        Wire::kind(self)
    }

    fn size_bytes(&self) -> u32 {
        Wire::size_bytes(self)
    }

    fn needs_service(&self) -> bool {
        Wire::needs_service(self)
    }

    fn copy(&self) -> Box<dyn Letter> {
        Box::new(self.clone())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl AnyMessage {
    fn open<M: 'static>(self) -> M {
        *self.0.into_any().downcast().expect("a part hears only parts of the same protocol")
    }
}

impl Clone for AnyMessage {
    fn clone(&self) -> Self {
        Self(self.0.copy())
    }
}

impl Wire for AnyMessage {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn size_bytes(&self) -> u32 {
        self.0.size_bytes()
    }

    fn needs_service(&self) -> bool {
        self.0.needs_service()
    }
}

/// A timer of any type.
pub struct AnyTimer(Box<dyn Reminder>);

trait Reminder: Debug {
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<T: Debug + 'static> Reminder for T {
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

impl AnyTimer {
    fn open<T: 'static>(self) -> T {
        *self.0.into_any().downcast().expect("a part is reminded of what it set itself")
    }
}

impl Debug for AnyTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A disk on which the disk of a hidden node is kept, of the type `T`.
pub trait Keeps<T: Stable>: Stable {
    /// What the hidden node finds there.
    fn image(&self) -> Cow<'_, T>;

    /// A write to it.
    fn hidden(write: T::Write) -> Self::Write;
}

impl Keeps<()> for () {
    fn image(&self) -> Cow<'_, ()> {
        Cow::Owned(())
    }

    fn hidden(write: std::convert::Infallible) -> std::convert::Infallible {
        write
    }
}

/// A disk of any type: of none before the first write.
#[derive(Debug, Default)]
pub struct AnyStable(Option<Box<dyn Image>>);

/// A write to such a disk.
#[derive(Debug)]
pub struct AnyWrite(Box<dyn Stroke>);

trait Image: Debug {
    fn copy(&self) -> Box<dyn Image>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<T: Stable + 'static> Image for T {
    fn copy(&self) -> Box<dyn Image> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

trait Stroke: Debug {
    fn copy(&self) -> Box<dyn Stroke>;
    fn apply(&self, disk: &mut AnyStable);
}

struct StrokeOn<T: Stable>(T::Write);

impl<T: Stable> Debug for StrokeOn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Stable + 'static> Stroke for StrokeOn<T> {
    fn copy(&self) -> Box<dyn Stroke> {
        Box::new(Self(self.0.clone()))
    }

    fn apply(&self, disk: &mut AnyStable) {
        let image = disk.0.get_or_insert_with(|| Box::new(T::default()));
        let image = image.as_mut().as_any_mut().downcast_mut::<T>();
        image.expect("one part writes to a disk").apply(&self.0);
    }
}

impl Clone for AnyStable {
    fn clone(&self) -> Self {
        Self(self.0.as_ref().map(|image| image.as_ref().copy()))
    }
}

impl Clone for AnyWrite {
    fn clone(&self) -> Self {
        Self(self.0.copy())
    }
}

impl Stable for AnyStable {
    type Write = AnyWrite;

    fn apply(&mut self, write: &AnyWrite) {
        write.0.apply(self);
    }
}

impl<T: Stable + 'static> Keeps<T> for AnyStable {
    fn image(&self) -> Cow<'_, T> {
        let image = self.0.as_ref().map(|image| {
            image.as_ref().as_any().downcast_ref().expect("one part writes to a disk")
        });
        image.map_or_else(|| Cow::Owned(T::default()), Cow::Borrowed)
    }

    fn hidden(write: T::Write) -> AnyWrite {
        AnyWrite(Box::new(StrokeOn::<T>(write)))
    }
}
