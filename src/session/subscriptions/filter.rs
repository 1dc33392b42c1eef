//! One filter: who wants it and how, and what the server has said about it.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use super::identifiers::Identifier;
use super::slab::key;
use crate::codec::{
    PropertiesBuf, Property, QoS, ReasonCode, SubscribeOptions, SubscriptionId, TopicFilter, Value,
    Version, check_no_control_character,
};
use crate::options::InvalidArgument;
use crate::session::error::Error;
use crate::session::event::Handle;
use crate::session::topic_table::Epoch;

/// What is asked of the server for a filter that everybody has left before the SUBSCRIBE was sent.
const AS_LITTLE_AS_POSSIBLE: SubscribeOptions = SubscribeOptions {
    qos: QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: 2,
};

key! {
    /// Names a [`Filter`].
    FilterId
}

key! {
    /// Names the filters that share one entry of the trie.
    PathId
}

/// Numbers the SUBSCRIBE and UNSUBSCRIBE packets in the order in which they are sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Sending(NonZeroU64);

impl Sending {
    /// Returns the number of the packet after the last one.
    pub(super) fn after(last: Option<Self>) -> Self {
        Self(last.map_or(NonZeroU64::MIN, |last| last.0.saturating_add(1)))
    }

    pub(super) fn get(self) -> u64 {
        self.0.get()
    }
}

/// A filter. It is kept as long as somebody wants it, a request names it or the server may have it.
#[derive(Clone, Hash, Debug)]
pub(super) struct Filter {
    pub topic_filter: TopicFilter,
    /// The entry of the trie that finds the filter.
    pub path: PathId,
    /// What its Subscriptions ask for, taken together. `None` if it has none.
    pub wanted: Option<Wanted>,
    pub status: Status,
    /// The packet whose answer decided the status.
    decided_by: Option<Sending>,
    /// The server got the filter without an identifier. It may have it so even if an identifier was
    /// assigned since.
    pub unnumbered: bool,
    /// The epoch since which stored messages are to come for it once more, whoever asked first.
    pub asked_again: Option<Epoch>,
    /// How many requests that are not completed name the filter.
    pub requests: u32,
}

/// What the Subscriptions of a filter ask for, taken together.
#[derive(Clone, Hash, Debug)]
pub(super) struct Wanted {
    /// The Subscriptions, at least one.
    pub members: Vec<Handle>,
    /// Options that give each of them what it asks for.
    pub options: SubscribeOptions,
    pub identifier: Identifier,
    /// The User Properties of the Subscription that came last.
    pub user_properties: PropertiesBuf,
}

/// What the server has said about a filter in this session. The longer the server has had the
/// filter, the less it is.
#[derive(Clone, Copy, Hash, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Status {
    /// Granted. The number says in which order filters were granted.
    Granted(u32),
    /// Not granted yet, or not any more.
    Absent,
    /// Refused. The server does not have the filter.
    Refused,
    /// Refused when it was asked for again. The server may have the filter from before.
    Uncertain,
}

/// What a packet asks the server to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Subscribe,
    /// To subscribe to what the server may have already.
    SubscribeAgain,
    Unsubscribe,
}

/// The answer for one filter of a packet.
pub(super) struct Answer {
    pub asked: Asked,
    /// The packet. `None` if it was never sent, because the server's limits forbid it.
    pub sending: Option<Sending>,
    /// Whether the packet was also sent on an earlier connection, in this session.
    pub repeated: bool,
    pub code: ReasonCode,
}

impl Filter {
    pub(super) fn new(topic_filter: &TopicFilter, path: PathId) -> Self {
        Self {
            topic_filter: topic_filter.clone(),
            path,
            wanted: None,
            status: Status::Absent,
            decided_by: None,
            unnumbered: false,
            asked_again: None,
            requests: 0,
        }
    }

    /// Whether the filter matches one topic only, and one copy of each message comes for it.
    pub(super) fn is_plain(&self) -> bool {
        !self.topic_filter.has_wildcard() && !self.topic_filter.is_shared()
    }

    /// Whether some topic matches both filters.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.topic_filter.overlaps(&other.topic_filter)
    }

    /// What a SUBSCRIBE asks for.
    pub(super) fn options(&self) -> SubscribeOptions {
        self.wanted.as_ref().map_or(AS_LITTLE_AS_POSSIBLE, |wanted| wanted.options)
    }

    pub(super) fn identifier(&self) -> Option<SubscriptionId> {
        self.wanted.as_ref().and_then(|wanted| wanted.identifier.get())
    }

    /// Whether the identifier is the application's choice.
    pub(super) fn is_identifier_chosen(&self) -> bool {
        let identifier = self.wanted.as_ref().map(|wanted| wanted.identifier);
        matches!(identifier, Some(Identifier::Chosen(_)))
    }

    pub(super) fn members(&self) -> &[Handle] {
        self.wanted.as_ref().map_or(&[], |wanted| &wanted.members)
    }

    /// The properties of a SUBSCRIBE for the filter.
    pub(super) fn subscribe_properties(&self, version: Version) -> PropertiesBuf {
        let mut properties = PropertiesBuf::default();
        if version == Version::V5
            && let Some(wanted) = &self.wanted
        {
            if let Some(identifier) = wanted.identifier.get() {
                properties.push(Property::SubscriptionIdentifier, Value::Varint(identifier.get()));
            }
            for (name, value) in wanted.user_properties.borrow().user_properties() {
                properties.push(Property::UserProperty, Value::Pair(name, value));
            }
        }
        properties
    }

    pub(super) fn has_identifier(&self, value: u32) -> bool {
        self.identifier().is_some_and(|id| id.get() == value)
    }

    /// Notes an answer. `grants` counts how often a filter was granted. Returns true if messages
    /// may go to other Subscriptions from here on.
    pub(super) fn answered(&mut self, answer: &Answer, grants: &mut u32) -> bool {
        let Answer { asked, sending, repeated, code } = *answer;
        let is_grant = asked != Asked::Unsubscribe && !code.is_error();
        // A packet that was sent later may have been answered before, and its answer stands. But if
        // it was refused, that has not undone what is granted now, or may have been granted on an
        // earlier connection.
        let may_be_granted = is_grant || repeated && asked != Asked::Unsubscribe;
        if sending.is_some()
            && sending < self.decided_by
            && !(may_be_granted && self.status == Status::Refused)
        {
            return false;
        }
        self.decided_by = self.decided_by.max(sending);
        let before = (self.unnumbered, self.status);
        if self.identifier().is_some() && !code.is_error() {
            self.unnumbered = false;
        }
        self.status = match (asked, self.status) {
            (Asked::Unsubscribe, _) => Status::Absent,
            (Asked::SubscribeAgain, _) if code.is_error() => Status::Uncertain,
            (_, granted @ Status::Granted(_)) => granted,
            _ if is_grant => {
                *grants += 1;
                Status::Granted(*grants)
            }
            (_, Status::Uncertain) => Status::Uncertain,
            _ if repeated => Status::Uncertain,
            _ => Status::Refused,
        };
        self.wanted.is_some() && before != (self.unnumbered, self.status)
    }
}

/// The filter that the application wrote.
pub(in crate::session) fn parse_filter(text: &Rc<str>) -> Result<TopicFilter, Box<Error>> {
    let checked = check_no_control_character(text).and_then(|()| TopicFilter::new(text.clone()));
    checked.map_err(|error| {
        let invalid = Box::<Error>::from(InvalidArgument::new("filter", error.what()));
        invalid.with_topic(text)
    })
}

/// The application must name a filter.
pub(in crate::session) fn check_some<T>(filters: &[T]) -> Result<(), Box<Error>> {
    if filters.is_empty() {
        return Err(InvalidArgument::new("filter", "must be at least one topic filter").into());
    }
    Ok(())
}
