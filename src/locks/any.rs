//! Any lock, by its name: for a process in which a lock client is one part, and for a service whose
//! type nobody has to know.

use crate::choice::{About, Choice};
use crate::model::any::{AnyMessage, AnyNode, AnyStable};
use crate::model::node::Node;

use super::{Fact, Indication, LockProtocol, Order, Request, Servers, Terms, Tokens, entry_of};

/// The lock that a choice, which was checked, names in the catalogue. Its own types are hidden.
#[derive(Debug)]
pub(crate) struct AnyLock;

impl LockProtocol for AnyLock {
    const ABOUT: About = ANY;
    const TOKENS: Tokens = Tokens::Native;
    const VALIDATES: bool = true;
    type Params = Choice;
    type Message = AnyMessage;
    type Server = AnyNode<Order, Fact, AnyStable>;
    type Client = AnyNode<Request, Indication, ()>;

    fn servers(choice: &Choice) -> Servers {
        (entry_of(choice).servers)(choice).expect("the choice was checked when it was read")
    }

    fn server(choice: &Choice, terms: &Terms) -> <Self::Server as Node>::Role {
        (entry_of(choice).server)(choice, terms)
    }

    fn client(choice: &Choice, terms: &Terms) -> <Self::Client as Node>::Role {
        (entry_of(choice).client)(choice, terms)
    }
}

/// Stands in no catalogue: it is all of it.
const ANY: About = About { name: "any", summary: "any lock", source: "locks/mod.rs", version: "" };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Problems, Value};
    use crate::kernel::rng::Seed;
    use crate::locks::{CATALOGUE, LocksConfig, Shards, measure, testbed};
    use crate::model::surroundings::Surroundings;

    #[test]
    fn a_lock_whose_type_is_hidden_does_what_it_does_by_itself() {
        let text = "variants = [\"token\"]\nclients = 3\nhorizon = \"3s\"";
        let value = Value::parse(text, 0, &mut Problems::default());
        let config = LocksConfig::read(&value, &mut Problems::default()).unwrap();
        let (one, around) = (Shards::default(), Surroundings::default());
        for entry in CATALOGUE {
            let choice = Choice::named(entry.about.name);
            let itself = entry.simulate(&choice, &config, &one, &around, Seed(7));
            let hidden = testbed::play::<AnyLock>(&choice, &config, &one, &around, Seed(7));
            let hidden = measure::record(&choice, &config, &around, Seed(7), &hidden);
            assert_eq!(itself, hidden, "{}", entry.about.name);
        }
    }
}
