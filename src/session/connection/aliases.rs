//! Topic aliases of both directions [MQTT5 3.3.2.3.4].

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::codec::{DecodeError, ReasonCode, check_topic};
use crate::session::topic_table::{Found, Topics};

/// Outgoing aliases at most; a server may offer up to 65,535.
const ALIASES: u16 = 4096;
/// With all aliases taken, one new topic in so many takes over an alias. Topics that take turns
/// must not cost more than no aliases at all.
const TAKE_OVER: u32 = 16;

/// The aliases that the client assigns to the topics it publishes to.
#[derive(Clone, Hash, Debug)]
pub(crate) struct OutgoingAliases {
    /// `None`: the client assigns none.
    topics: Option<Topics>,
    /// Topics that found no alias.
    misses: u32,
}

/// How a PUBLISH names its topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Naming {
    /// By its name.
    Topic,
    /// By name and alias: from here on the alias will do.
    Both(u16),
    /// By its alias.
    Alias(u16),
}

impl OutgoingAliases {
    /// `maximum`: how many the server accepts.
    pub(crate) fn new(maximum: u16) -> Self {
        let topics = (maximum > 0).then(|| Topics::new(usize::from(maximum.min(ALIASES))));
        Self { topics, misses: 0 }
    }

    /// The application numbers its aliases itself from here on.
    pub(crate) fn leave_to_application(&mut self) {
        self.topics = None;
    }

    /// How the next PUBLISH to a topic names it.
    #[inline]
    pub(crate) fn naming(&mut self, topic: &str) -> Naming {
        let Some(topics) = &mut self.topics else {
            return Naming::Topic;
        };
        if topics.is_full() && !topics.contains(topic) {
            self.misses = self.misses.wrapping_add(1);
            if !self.misses.is_multiple_of(TAKE_OVER) {
                return Naming::Topic;
            }
        }
        match topics.find(topic.as_bytes(), &[], None) {
            Ok(Found::Known(slot)) => Naming::Alias(slot as u16 + 1),
            Ok(Found::Fresh(slot)) => Naming::Both(slot as u16 + 1),
            Err(_) => Naming::Topic,
        }
    }
}

/// What the server's aliases mean on this connection.
#[derive(Clone, Default, Hash, Debug)]
pub(crate) struct IncomingAliases {
    /// By alias, less 1.
    topics: Vec<Option<Rc<str>>>,
}

impl IncomingAliases {
    /// The topic of a PUBLISH with an alias. A topic beside it becomes what the alias means.
    /// `maximum` is how many the client has offered.
    #[inline(never)]
    pub(crate) fn topic(
        &mut self,
        alias: u16,
        topic: &[u8],
        maximum: u16,
    ) -> Result<Rc<str>, DecodeError> {
        let fault = |reason, what| Err(DecodeError { reason, what });
        if alias == 0 || alias > maximum {
            return fault(ReasonCode::TOPIC_ALIAS_INVALID, "a topic alias that was not offered");
        }
        let at = usize::from(alias) - 1;
        if topic.is_empty() {
            return match self.topics.get(at) {
                Some(Some(topic)) => Ok(topic.clone()),
                _ => fault(ReasonCode::PROTOCOL_ERROR, "a topic alias that was never set"),
            };
        }
        let topic: Rc<str> = check_topic(topic)?.into();
        if at >= self.topics.len() {
            self.topics.resize(at + 1, None);
        }
        self.topics[at] = Some(topic.clone());
        Ok(topic)
    }
}
