//! What the session tells its caller: events for the application, commands for the driver.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt::{self, Display};
use core::hash::{Hash, Hasher};
use core::num::NonZeroU32;

use super::error::Error;
use super::time::Instant;
use crate::codec::{PacketId, PacketType, PropertiesBuf, QoS, ReasonCode, Version};

/// Names one request of the application until it completes. The caller picks it; it is unique
/// while the request is pending.
#[derive(Clone, Copy, Hash, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Token(NonZeroU32);

impl Token {
    /// The request of an earlier life of the client, restored from its store: nobody waits for it,
    /// and its failure is an event of its own.
    pub const EARLIER: Self = Self(NonZeroU32::MAX);

    /// The token with this number; `None` for 0, which stands for "nobody waits" where numbers
    /// cross the boundary.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one Subscription of the application. The caller picks it; it is unique while the
/// Subscription is active, and small, for it is an index.
#[derive(Clone, Copy, Hash, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Handle(pub u32);

impl Handle {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one incoming QoS 1 or 2 message until it is acknowledged.
#[derive(Clone, Copy, Hash, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sequence(NonZeroU32);

impl Sequence {
    /// The first one.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The sequence with this number; `None` for 0, which stands for a message of QoS 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The one that follows `count` later. Numbers start over behind the last.
    pub(super) fn plus(self, count: u32) -> Self {
        let (sum, over) = self.get().overflowing_add(count);
        // 0 is left out.
        let sum = if over { sum + 1 } else { sum };
        Self(NonZeroU32::new(sum).unwrap_or(NonZeroU32::MIN))
    }

    /// How many lie between an earlier one and this one.
    pub(super) fn since(self, earlier: Self) -> u32 {
        let distance = self.get().wrapping_sub(earlier.get());
        if self < earlier { distance - 1 } else { distance }
    }
}

/// Names one attempt at a connection and what belongs to it: questions and sockets. What carries
/// an earlier number is of no interest any more.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, Debug)]
pub struct AttemptId(pub u32);

/// What happened, in the order in which it happened.
#[derive(Clone, Hash, PartialEq, Debug)]
pub enum Event {
    /// The client is in this state now.
    State(State),
    /// The server has accepted the connection.
    Connected(Box<ConnectInfo>),
    /// The first `connect()` failed; the session is idle again.
    ConnectFailed(Box<Error>),
    /// A connection that was up is gone.
    Disconnected {
        /// Why.
        error: Box<Error>,
        /// Whether there will be another attempt.
        will_reconnect: bool,
    },
    /// The client waits before its next attempt.
    Reconnecting {
        /// The number of the next attempt, in a row.
        attempt: u32,
        /// Milliseconds until then.
        delay_ms: u64,
        /// Where it will go.
        url: Rc<str>,
        /// Why the last one ended.
        error: Box<Error>,
    },
    /// Something failed that belongs to no request.
    Error(Box<Error>),
    /// The client is closed for good. Everything that was pending has failed before.
    Closed(Option<Box<Error>>),
    /// Slot `slot` of the topic table means this topic and these routes from here on.
    Slot {
        /// The number of the slot.
        slot: u32,
        /// The topic name.
        topic: Rc<str>,
        /// The Subscriptions that its messages belong to.
        routes: Rc<[Handle]>,
        /// The subscription identifiers that its messages carry.
        identifiers: Rc<[u32]>,
    },
    /// A message came.
    Message(Message),
    /// A message of the application has arrived at the server.
    Published {
        /// The request that is done.
        token: Token,
        /// The reason code of the last acknowledgement.
        reason: ReasonCode,
        /// Its properties, if there were any.
        properties: Option<Box<PropertiesBuf>>,
    },
    /// The server granted at least one filter.
    Subscribed {
        /// The request that is done.
        token: Token,
        /// The Subscription it made.
        handle: Handle,
        /// The server's answers, in the order of the filters.
        grants: Vec<Grant>,
    },
    /// The server ended at least one subscription.
    Unsubscribed {
        /// The request that is done.
        token: Token,
        /// The server's answers, in the order of the filters.
        codes: Vec<FilterCode>,
    },
    /// A Subscription has ended other than by its own unsubscribe.
    Inactive {
        /// The Subscription.
        handle: Handle,
        /// Why, if something failed.
        error: Option<Box<Error>>,
    },
    /// A drain or a re-authentication is done.
    Done(Token),
    /// A request failed.
    Failed {
        /// The request.
        token: Token,
        /// Why.
        error: Box<Error>,
    },
    /// A packet came or was written. Only while the session is tapped.
    Packet(Tap),
}

/// Events that the application has not heard of yet.
#[derive(Clone, Hash, Debug)]
pub struct Events {
    queue: VecDeque<Event>,
    /// The state that the application was told last.
    state: State,
    /// Whether every packet is an event.
    pub(super) tapped: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self { queue: VecDeque::new(), state: State::Idle, tapped: false }
    }
}

impl Events {
    /// Appends an event.
    // Called from everywhere: not worth a copy each time.
    #[inline(never)]
    pub fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    /// Appends a message. Most events are messages, so this is worth its copy.
    #[inline]
    pub(super) fn push_message(&mut self, message: Message) {
        self.queue.push_back(Event::Message(message));
    }

    /// The next event.
    #[inline]
    pub fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    /// Gives back its memory, unless something waits to be told.
    pub(super) fn rest(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
    }

    /// Tells the state, if it is another than the application knows.
    pub(super) fn enter(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.push(Event::State(state));
        }
    }

    /// Forgets losses that were not told yet: the application has ended it all itself.
    pub(super) fn drop_disconnects(&mut self) {
        keep(&mut self.queue, |event| !matches!(event, Event::Disconnected { .. }));
    }
}

/// Keeps what is wanted, in its order. As `VecDeque::retain`, whose copies are much larger.
pub(super) fn keep<T>(queue: &mut VecDeque<T>, wanted: impl Fn(&T) -> bool) {
    for _ in 0..queue.len() {
        if let Some(item) = queue.pop_front()
            && wanted(&item)
        {
            queue.push_back(item);
        }
    }
}

/// A message that arrived. Its bytes stay where they are: in the chunk, or in
/// [`super::Session::assembled`].
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub struct Message {
    /// The topic and its routes: the last [`Event::Slot`] with this number.
    pub slot: u32,
    /// The QoS at which it was delivered.
    pub qos: QoS,
    /// The RETAIN flag [MQTT5 3.3.1.3].
    pub retain: bool,
    /// The DUP flag [MQTT5 3.3.1.1].
    pub dup: bool,
    /// The packet came in pieces: positions are in [`super::Session::assembled`], not in the chunk.
    pub assembled: bool,
    /// Where the payload lies.
    pub payload: Span,
    /// Where the property block lies; empty where it says nothing beyond what the slot says.
    pub properties: Span,
    /// Names a QoS 1 or 2 message for [`super::Session::hold`] and [`super::Session::acknowledge`].
    pub sequence: Option<Sequence>,
}

/// A range of bytes.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, Debug)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// One control packet, for tracing.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct Tap {
    /// Whether the client sent it.
    pub outgoing: bool,
    /// Its type.
    pub kind: PacketType,
    /// Bytes of the whole packet.
    pub bytes: u32,
    /// Its packet identifier.
    pub id: Option<PacketId>,
    /// The topic of a PUBLISH.
    pub topic: Option<Rc<str>>,
    /// Its reason code.
    pub reason: Option<ReasonCode>,
}

/// Where the client stands, as the application sees it.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum State {
    /// It was not asked to connect, or the first attempt failed.
    Idle,
    /// An attempt is under way.
    Connecting,
    /// The server has accepted the connection.
    Connected,
    /// It waits for the next attempt.
    Waiting,
    /// It was told to end, and waits for what is in flight.
    Closing,
    /// It has ended for good.
    Closed,
}

/// How the server answered one filter of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct FilterCode {
    /// The filter.
    pub filter: Rc<str>,
    /// The MQTT 5 reason code: the granted QoS, or why not.
    pub code: ReasonCode,
}

/// The answer to one filter of a SUBSCRIBE.
pub type Grant = FilterCode;

/// What the server said in its CONNACK.
#[derive(Clone, Hash, PartialEq, Debug)]
pub struct ConnectInfo {
    /// Whether the server has kept the session.
    pub session_present: bool,
    /// The client identifier in use.
    pub client_id: Rc<str>,
    /// The URL of the server, without credentials.
    pub url: Rc<str>,
    /// Whether there was a connection before.
    pub reconnect: bool,
    /// Limits and features, defaults filled in.
    pub server: ServerInfo,
    /// The properties as received.
    pub properties: PropertiesBuf,
}

/// Limits and features of the server on this connection, defaults filled in [MQTT5 3.2.2.3].
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct ServerInfo {
    /// The version that is spoken.
    pub version: Version,
    /// The keep-alive in force, in seconds; 0: off.
    pub keep_alive: u16,
    /// The session expiry interval in force, in seconds; `u32::MAX`: never.
    pub session_expiry: u32,
    /// How many QoS 1 and 2 messages may be in flight to the server.
    pub receive_maximum: u16,
    /// The largest packet that the server accepts, in bytes.
    pub maximum_packet_size: u32,
    /// The highest QoS that the server supports.
    pub maximum_qos: QoS,
    /// How many topic aliases the server accepts.
    pub topic_alias_maximum: u16,
    /// Whether retained messages are supported.
    pub retain_available: bool,
    /// Whether filters may have wildcards.
    pub wildcards_available: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_ids_available: bool,
    /// Whether shared subscriptions are supported.
    pub shared_available: bool,
}

/// What the driver must do now.
#[derive(Clone, Hash, PartialEq, Debug)]
pub enum Command {
    /// Ask the application for URLs and credentials, and answer with
    /// [`super::Session::handle_resolved`].
    Resolve {
        /// Goes into the answer.
        id: AttemptId,
        /// The number of the attempt, in a row.
        attempt: u32,
        /// Why the last one failed.
        error: Option<Box<Error>>,
    },
    /// Open a socket, and answer with [`super::Session::handle_open`] or
    /// [`super::Session::handle_close`].
    Open {
        /// Goes into the answers.
        id: AttemptId,
        /// Where to.
        url: Rc<str>,
    },
    /// Close the socket. Nothing is expected back.
    Close {
        /// Without the closing handshake of the transport.
        force: bool,
    },
    /// Ask the application's Authenticator, and answer with [`super::Session::handle_auth`].
    Authenticate {
        /// Goes into the answer.
        id: AttemptId,
        /// What it is asked.
        challenge: Box<Challenge>,
    },
    /// Read the store, and answer with [`super::Session::handle_loaded`].
    Load {
        /// Goes into the answer.
        id: AttemptId,
    },
    /// Write [`super::Session::changes`] to the store, and answer with
    /// [`super::Session::handle_stored`]. The next one comes after the answer.
    Store,
    /// Ask the application whether to try again, and answer with
    /// [`super::Session::handle_verdict`].
    Judge {
        /// What happened.
        error: Box<Error>,
        /// The number of the next attempt, in a row.
        attempt: u32,
    },
}

/// A question to the application's Authenticator [MQTT5 4.12].
#[derive(Clone, Hash, PartialEq, Debug)]
pub struct Challenge {
    /// The first question of an exchange: there is no challenge of the server yet.
    pub first: bool,
    /// Whether the exchange re-authenticates a connection that is up.
    pub reauthentication: bool,
    /// The Authentication Data of the server.
    pub data: Option<Vec<u8>>,
    /// The properties of the server's AUTH.
    pub properties: PropertiesBuf,
}

/// Numbers for people and dashboards.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Bytes handed to the transport.
    pub bytes_sent: u64,
    /// Bytes that came from the transport.
    pub bytes_received: u64,
    /// Control packets written.
    pub packets_sent: u64,
    /// Control packets read.
    pub packets_received: u64,
    /// PUBLISH packets written.
    pub messages_sent: u64,
    /// Messages delivered to the application.
    pub messages_received: u64,
    /// Packet identifiers in use by the client.
    pub in_flight_out: u32,
    /// QoS 1 and 2 messages of the server that are not completed.
    pub in_flight_in: u32,
    /// Messages that wait to be sent.
    pub queued_messages: u32,
    /// Their bytes: topic, payload and properties.
    pub queued_bytes: u64,
    /// Messages that gave way in the queue.
    pub dropped_messages: u64,
    /// Subscriptions in force.
    pub subscriptions: u32,
    /// Connections that were accepted.
    pub connections: u32,
    /// When the connection was accepted that is up.
    pub connected_since: Option<Instant>,
    /// The last round trip of a PINGREQ, in microseconds.
    pub round_trip: Option<u64>,
}

/// What was counted does not tell how a session goes on: two that behave alike hash alike.
impl Hash for Stats {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_start_over_without_a_zero() {
        let last = Sequence::new(u32::MAX).unwrap();
        assert_eq!(last.plus(1), Sequence::FIRST);
        assert_eq!(last.plus(3), Sequence::FIRST.plus(2));
        assert_eq!(Sequence::FIRST.plus(2).since(last), 3);
        assert_eq!(last.since(Sequence::FIRST), u32::MAX - 1);
        assert_eq!(Sequence::FIRST.since(Sequence::FIRST), 0);
        assert_eq!(Sequence::new(0), None);
    }
}
