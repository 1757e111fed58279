//! The origin behind a cache: it has every value.

use std::rc::Rc;

use crate::model::node::{Context, Input};

use super::protocol::{Message, Part, World};

#[derive(Debug)]
pub(super) struct Origin {
    world: Rc<World>,
}

impl Origin {
    pub(super) fn new(world: Rc<World>) -> Self {
        Self { world }
    }

    pub(super) fn handle(&mut self, input: Input<Part>, ctx: &mut Context<'_, Part>) {
        match input {
            Input::Message { from, message: Message::Fetch { key }, .. } => {
                let value_bytes = self.world.value_bytes(key);
                ctx.send(from, Message::Fetched { key, is_there: true, value_bytes });
            }
            Input::Overload { from, message: Message::Fetch { key }, .. } => {
                ctx.send(from, Message::Fetched { key, is_there: false, value_bytes: 0 });
            }
            Input::Message { .. }
            | Input::Overload { .. }
            | Input::Start
            | Input::Request(_)
            | Input::Closed { .. }
            | Input::Timer(_)
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}
