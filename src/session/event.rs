//! What the session tells its caller: events for the application, commands for the link, and errors with their code.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::codec::{PacketId, PacketType, Properties, PropertiesBuf, QoS, ReasonCode, Version};
use crate::options::InvalidArgument;

/// Names one request of the application until it completes. Picked by the caller, unique while pending; 0: nobody waits.
pub type Token = u32;

/// Names one Subscription of the application. Picked by the caller, unique while the Subscription is active.
pub type Handle = u32;

/// What happened, in the order in which it happened.
#[derive(Clone, Hash, PartialEq, Debug)]
pub enum Event {
    State(State),
    Connected(Box<ConnectInfo>),
    /// The first connect() failed; the session is idle again.
    ConnectFailed(Box<Error>),
    Disconnected {
        error: Box<Error>,
        will_reconnect: bool,
    },
    Reconnecting {
        attempt: u32,
        delay_ms: u64,
        url: Rc<str>,
        error: Box<Error>,
    },
    /// What belongs to no request.
    Error(Box<Error>),
    /// For good. Everything that was pending has failed before.
    Closed(Option<Box<Error>>),
    /// Slot `slot` of the topic table means this topic and these routes from here on.
    Slot {
        slot: u32,
        topic: Rc<str>,
        routes: Rc<[Handle]>,
        identifiers: Rc<[u32]>,
    },
    Message(Message),
    Published {
        token: Token,
        reason: ReasonCode,
        properties: Option<Box<PropertiesBuf>>,
    },
    Subscribed {
        token: Token,
        handle: Handle,
        grants: Vec<Grant>,
    },
    Unsubscribed {
        token: Token,
        codes: Vec<FilterCode>,
    },
    /// The Subscription has ended other than by its own unsubscribe.
    Inactive {
        handle: Handle,
        error: Option<Box<Error>>,
    },
    Done(Token),
    Failed {
        token: Token,
        error: Box<Error>,
    },
    Packet(Tap),
}

/// Events that the application has not heard of yet.
#[derive(Clone, Default, Hash, Debug)]
pub struct Events(VecDeque<Event>);

impl Events {
    // Called from everywhere: not worth a copy each time.
    #[inline(never)]
    pub fn push(&mut self, event: Event) {
        self.0.push_back(event);
    }

    #[inline]
    pub fn pop(&mut self) -> Option<Event> {
        self.0.pop_front()
    }

    /// The application has ended it all itself.
    pub fn drop_disconnects(&mut self) {
        keep(&mut self.0, |event| !matches!(event, Event::Disconnected { .. }));
    }
}

/// Keeps what is wanted, in its order. As `VecDeque::retain`, whose copies are much larger.
pub fn keep<T>(queue: &mut VecDeque<T>, wanted: impl Fn(&T) -> bool) {
    for _ in 0..queue.len() {
        if let Some(item) = queue.pop_front()
            && wanted(&item)
        {
            queue.push_back(item);
        }
    }
}

/// A message that arrived. Its bytes stay where they are: in the chunk, or in [`super::Session::assembled`].
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub struct Message {
    /// The topic and its routes: the last [`Event::Slot`] with this number.
    pub slot: u32,
    pub qos: QoS,
    pub retain: bool,
    pub dup: bool,
    /// The packet came in pieces: positions are in [`super::Session::assembled`], not in the chunk.
    pub assembled: bool,
    pub payload: Span,
    /// The raw property block, empty where it says nothing beyond what the slot says.
    pub properties: Span,
    /// Names a QoS 1 or 2 message for [`super::Session::hold`] and [`super::Session::acknowledge`].
    pub sequence: u32,
}

/// A range of bytes.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, Debug)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

/// One control packet, for tracing.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct Tap {
    pub outgoing: bool,
    pub kind: PacketType,
    pub bytes: u32,
    pub id: Option<PacketId>,
    pub topic: Option<Rc<str>>,
    pub reason: Option<ReasonCode>,
}

#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum State {
    Idle,
    Connecting,
    Connected,
    /// For the next attempt.
    Waiting,
    Closing,
    Closed,
}

/// How the server answered one filter of a SUBSCRIBE. `code` is the MQTT 5 reason code: the granted QoS, or why not.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct FilterCode {
    pub filter: Rc<str>,
    pub code: ReasonCode,
}

pub type Grant = FilterCode;

/// What the server said in its CONNACK.
#[derive(Clone, Hash, PartialEq, Debug)]
pub struct ConnectInfo {
    pub session_present: bool,
    pub client_id: Rc<str>,
    pub url: Rc<str>,
    /// False on the first connection.
    pub reconnect: bool,
    pub server: Server,
    /// As received.
    pub properties: PropertiesBuf,
}

/// Limits and features of the server on this connection, defaults filled in.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct Server {
    pub version: Version,
    /// Seconds, as in force.
    pub keep_alive: u16,
    /// Seconds, as in force.
    pub session_expiry: u32,
    pub receive_maximum: u16,
    pub maximum_packet_size: u32,
    pub maximum_qos: QoS,
    pub topic_alias_maximum: u16,
    pub retain: bool,
    pub wildcards: bool,
    pub identifiers: bool,
    pub shared: bool,
}

/// What the link must do now.
#[derive(Clone, Hash, PartialEq, Debug)]
pub enum Command {
    /// Ask the application for URL and credentials, answer with [`super::Session::handle_resolved`].
    Resolve { attempt: u32, error: Option<Box<Error>> },
    /// Open a socket, answer with [`super::Session::handle_open`].
    Open { url: Rc<str> },
    /// Close the socket; `force`: without its closing handshake. Nothing is expected back.
    Close { force: bool },
    /// Ask the application's Authenticator, answer with [`super::Session::handle_auth`].
    Authenticate(Box<Challenge>),
    /// Ask the application whether to try again, answer with [`super::Session::handle_verdict`].
    Judge { error: Box<Error>, attempt: u32 },
}

#[derive(Clone, Hash, PartialEq, Debug)]
pub struct Challenge {
    /// The first question of an exchange: there is no challenge yet.
    pub first: bool,
    pub reauthentication: bool,
    pub data: Option<Vec<u8>>,
    pub properties: PropertiesBuf,
}

/// The codes of the public API.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum ErrorCode {
    InvalidArgument,
    ConnectionFailed,
    ConnectionRefused,
    ConnectionLost,
    SessionLost,
    ServerDisconnected,
    KeepaliveTimeout,
    ProtocolError,
    AuthenticationFailed,
    PublishRefused,
    SubscribeRefused,
    UnsubscribeRefused,
    PacketTooLarge,
    NotSupported,
    QueueFull,
    Expired,
    Closed,
}

impl ErrorCode {
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::ConnectionFailed => "CONNECTION_FAILED",
            Self::ConnectionRefused => "CONNECTION_REFUSED",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::SessionLost => "SESSION_LOST",
            Self::ServerDisconnected => "SERVER_DISCONNECTED",
            Self::KeepaliveTimeout => "KEEPALIVE_TIMEOUT",
            Self::ProtocolError => "PROTOCOL_ERROR",
            Self::AuthenticationFailed => "AUTHENTICATION_FAILED",
            Self::PublishRefused => "PUBLISH_REFUSED",
            Self::SubscribeRefused => "SUBSCRIBE_REFUSED",
            Self::UnsubscribeRefused => "UNSUBSCRIBE_REFUSED",
            Self::PacketTooLarge => "PACKET_TOO_LARGE",
            Self::NotSupported => "NOT_SUPPORTED",
            Self::QueueFull => "QUEUE_FULL",
            Self::Expired => "EXPIRED",
            Self::Closed => "CLOSED",
        }
    }
}

/// Where in connecting an attempt failed.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum Phase {
    Transport,
    Mqtt,
    Authentication,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Mqtt => "mqtt",
            Self::Authentication => "authentication",
        }
    }
}

/// What went wrong and who is to blame. The text for people is written at the edge; `what` is its core.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct Error {
    pub code: ErrorCode,
    pub what: &'static str,
    /// Whether the same call can succeed later without a change.
    pub retryable: bool,
    pub reason: Option<ReasonCode>,
    /// Of the packet that brought the error: Reason String, User Properties, Server Reference.
    pub properties: PropertiesBuf,
    pub phase: Option<Phase>,
    pub url: Option<Rc<str>>,
    /// Of the WebSocket.
    pub close_code: Option<u16>,
    pub topic: Option<Rc<str>>,
    /// Bytes of the packet and the limit it is over.
    pub size: Option<(u32, u32)>,
    pub argument: Option<String>,
    pub filters: Vec<FilterCode>,
}

impl Error {
    #[cold]
    pub fn new(code: ErrorCode, what: &'static str) -> Box<Self> {
        use ErrorCode::*;
        Box::new(Self {
            code,
            what,
            retryable: matches!(
                code,
                ConnectionFailed
                    | ConnectionLost
                    | ServerDisconnected
                    | KeepaliveTimeout
                    | ProtocolError
                    | QueueFull
            ),
            reason: None,
            properties: PropertiesBuf::default(),
            phase: None,
            url: None,
            close_code: None,
            topic: None,
            size: None,
            argument: None,
            filters: Vec::new(),
        })
    }

    pub fn with_reason(mut self: Box<Self>, reason: ReasonCode) -> Box<Self> {
        self.reason = Some(reason);
        self
    }

    pub fn with_properties(mut self: Box<Self>, properties: Properties<'_>) -> Box<Self> {
        self.properties = properties.into();
        self
    }

    pub fn with_topic(mut self: Box<Self>, topic: &Rc<str>) -> Box<Self> {
        self.topic = Some(topic.clone());
        self
    }

    pub fn at(mut self: Box<Self>, phase: Phase, url: &Rc<str>) -> Box<Self> {
        self.phase = Some(phase);
        self.url = Some(url.clone());
        self
    }
}

impl From<InvalidArgument> for Box<Error> {
    fn from(invalid: InvalidArgument) -> Self {
        let mut error = Error::new(ErrorCode::InvalidArgument, invalid.message);
        error.argument = Some(invalid.argument);
        error
    }
}
