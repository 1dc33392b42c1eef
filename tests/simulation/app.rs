//! The application as it sees itself: what it asked for, what it was promised, what it got.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::rc::Rc;

use wasmqtt::codec::{QoS, matches};
use wasmqtt::session::{ErrorCode, FilterCode, Handle, Instant, Sequence, Token};

pub const TOPICS: [&str; 6] = ["a", "b", "a/b", "a/b/c", "$x/a", "/"];
pub const FILTERS: [&str; 12] =
    ["a", "b", "a/b", "a/b/c", "+", "#", "a/+", "a/#", "+/b", "$share/g/a", "$share/g/a/+", "$x/#"];

/// A message that the application published.
#[derive(Debug)]
pub struct Sent {
    pub topic: usize,
    pub qos: QoS,
    pub size: u16,
    pub retain: bool,
    pub since: Instant,
    pub expiry: Option<u8>,
    /// It has a topic alias by hand, which the server may not take.
    pub aliased: bool,
    pub fate: Fate,
    /// Its first appearance on the wire.
    pub first_sent: Option<Instant>,
    /// The expiry it had there.
    pub left: Option<Option<u64>>,
    /// It may have been written on a connection that ended before it could leave.
    pub written: bool,
    /// How often the broker took it.
    pub taken: u32,
    /// The broker does not want it.
    pub refused: bool,
    /// On how many connections it was on the wire, as PUBLISH or PUBREL, and on which last.
    pub connections: u32,
    pub last_connection: u32,
    /// When it was withdrawn, by the count of connections.
    pub withdrawn_on: Option<u32>,
}

impl Sent {
    /// It is on the wire.
    pub fn on_wire(&mut self, connection: u32) {
        self.connections += u32::from(self.last_connection != connection);
        self.last_connection = connection;
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fate {
    /// By the call itself.
    Refused,
    Pending,
    /// Accepted without a token.
    Untold,
    /// Cancelled after it was sent.
    Withdrawn,
    /// Cancelled before it was sent.
    Dropped,
    Done,
    Failed(ErrorCode),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Request {
    Publish(usize),
    Subscribe(Handle),
    Unsubscribe,
    Drain,
    Reauthenticate,
}

#[derive(Debug)]
pub struct Subscription {
    /// Those in force, with the QoS asked for.
    pub filters: Vec<(&'static str, QoS)>,
    /// It had more filters.
    pub has_left: bool,
    pub active: bool,
    /// Its identifier was the application's choice.
    pub manual: bool,
}

/// Messages of other clients, with who was to get them.
pub struct Offer {
    /// Broker and client agreed on the subscriptions.
    pub settled: bool,
    pub version: u32,
    pub connection: u64,
    pub expected: Vec<Handle>,
    pub got: BTreeMap<Handle, u32>,
    /// The subscriptions changed before it was delivered.
    pub disturbed: bool,
    /// It was delivered on another connection, where its identifiers may mean nothing any more.
    pub moved: bool,
}

/// What the session said a slot of its topic table stands for: the topic, the Subscriptions, their identifiers.
pub type Slot = (Rc<str>, Rc<[Handle]>, Rc<[u32]>);

/// Who got a stored message, its topic and its identifiers.
pub type GotStored = (Handle, Rc<str>, Rc<[u32]>);

#[derive(Default)]
pub struct App {
    pub sent: Vec<Sent>,
    pub pending: BTreeMap<Token, Request>,
    last_token: u32,
    /// By handle.
    pub subscriptions: Vec<Subscription>,
    /// Changes with the subscriptions.
    pub version: u32,
    pub offers: Vec<Offer>,
    /// Sequence numbers of messages that are held, with the copy each is.
    pub held: Vec<(Sequence, usize)>,
    pub holds: bool,
    pub slots: BTreeMap<u32, Slot>,
    /// Who got a message of which topic.
    pub got: BTreeSet<(Handle, Rc<str>)>,
    /// Whether a call of subscribe() was withdrawn.
    pub withdrew: bool,
    /// Who got a stored message of which topic with which identifiers, and on which connection last.
    pub got_stored: BTreeMap<GotStored, u64>,
    /// Copies that were delivered last, by topic and QoS.
    pub last_delivered: BTreeMap<(usize, QoS), usize>,
}

impl App {
    pub fn token(&mut self) -> Token {
        self.last_token += 1;
        Token::new(self.last_token).unwrap()
    }

    pub fn expect(&mut self, token: Token, request: Request) {
        assert!(self.pending.insert(token, request).is_none(), "token {token} is used twice");
    }

    pub fn complete(&mut self, token: Token) -> Request {
        self.pending
            .remove(&token)
            .unwrap_or_else(|| panic!("token {token} completes, for which nobody waits"))
    }

    /// The Subscriptions that want a message.
    pub fn interested(&self, topic: &str) -> Vec<Handle> {
        let wants = |subscription: &Subscription| {
            subscription.filters.iter().any(|(filter, _)| matches(filter, topic))
        };
        self.handles().filter(|handle| wants(&self.subscriptions[handle.0 as usize])).collect()
    }

    /// All filters in force, with the highest QoS asked for each.
    pub fn filters(&self) -> BTreeMap<&'static str, QoS> {
        let mut filters = BTreeMap::new();
        for &(filter, qos) in
            self.subscriptions.iter().flat_map(|subscription| &subscription.filters)
        {
            let highest = filters.entry(filter).or_insert(qos);
            *highest = qos.max(*highest);
        }
        filters
    }

    pub fn active(&self) -> Vec<Handle> {
        self.handles().filter(|handle| self.subscriptions[handle.0 as usize].active).collect()
    }

    fn handles(&self) -> impl Iterator<Item = Handle> {
        (0..self.subscriptions.len() as u32).map(Handle)
    }

    pub fn end(&mut self, handle: Handle) {
        self.version += 1;
        let subscription = &mut self.subscriptions[handle.0 as usize];
        subscription.active = false;
        subscription.filters.clear();
    }

    /// Takes filters out of some Subscriptions.
    pub fn leave(&mut self, handles: impl RangeBounds<usize>, filters: &[&str]) {
        self.version += 1;
        for (handle, subscription) in self.subscriptions.iter_mut().enumerate() {
            if handles.contains(&handle) {
                let count = subscription.filters.len();
                subscription.filters.retain(|(filter, _)| !filters.contains(filter));
                subscription.has_left |= subscription.filters.len() < count;
            }
        }
    }
}

/// The filters that were refused.
pub fn refused(codes: &[FilterCode]) -> Vec<&str> {
    let refused = codes.iter().filter(|code| code.code.is_error());
    refused.map(|code| &*code.filter).collect()
}

/// Handles that are sorted and each once.
pub fn is_set(handles: &[Handle]) -> bool {
    handles.iter().collect::<BTreeSet<_>>().len() == handles.len()
}
