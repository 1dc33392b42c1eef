//! What went wrong, who is to blame, and the facts that the application's error will carry.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::event::FilterCode;
use crate::codec::{Properties, PropertiesBuf, ReasonCode};
use crate::options::InvalidArgument;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// The codes of the public API.
        #[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// The code as JavaScript has it in `MqttError.code`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

error_codes! {
    /// The caller's mistake. Nothing was sent.
    InvalidArgument "INVALID_ARGUMENT";
    /// No CONNACK came.
    ConnectionFailed "CONNECTION_FAILED";
    /// A CONNACK refused the connection.
    ConnectionRefused "CONNECTION_REFUSED";
    /// A connection that was up is gone.
    ConnectionLost "CONNECTION_LOST";
    /// The server came back without the session.
    SessionLost "SESSION_LOST";
    /// The server sent DISCONNECT.
    ServerDisconnected "SERVER_DISCONNECTED";
    /// The server did not answer a PINGREQ.
    KeepaliveTimeout "KEEPALIVE_TIMEOUT";
    /// The server sent what the specification forbids.
    ProtocolError "PROTOCOL_ERROR";
    /// An exchange of AUTH packets failed.
    AuthenticationFailed "AUTHENTICATION_FAILED";
    /// The server refused a message.
    PublishRefused "PUBLISH_REFUSED";
    /// The server refused every filter of a SUBSCRIBE.
    SubscribeRefused "SUBSCRIBE_REFUSED";
    /// The server refused every filter of an UNSUBSCRIBE.
    UnsubscribeRefused "UNSUBSCRIBE_REFUSED";
    /// A packet is larger than the server accepts.
    PacketTooLarge "PACKET_TOO_LARGE";
    /// The server or the protocol version does not offer it.
    NotSupported "NOT_SUPPORTED";
    /// The queue of messages that wait to be sent is full.
    QueueFull "QUEUE_FULL";
    /// A message expired before it could be sent.
    Expired "EXPIRED";
    /// The store could not be read or written.
    StoreFailed "STORE_FAILED";
    /// The client is closed.
    Closed "CLOSED";
}

/// Where in connecting an attempt failed.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Before CONNECT was sent.
    Transport,
    /// Between CONNECT and CONNACK.
    Mqtt,
    /// In the exchange of AUTH packets.
    Authentication,
}

impl Phase {
    /// The phase as JavaScript has it in `ConnectError.phase`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Mqtt => "mqtt",
            Self::Authentication => "authentication",
        }
    }
}

/// What went wrong. JavaScript writes the sentence for people; `what` is its core.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct Error {
    /// Which kind of error it is.
    pub code: ErrorCode,
    /// What happened, in a few words.
    pub what: &'static str,
    /// Whether the same call can succeed later without a change.
    pub retryable: bool,
    /// The reason code that the server gave, or that it will be given.
    pub reason: Option<ReasonCode>,
    /// The properties of the packet that brought the error: Reason String, User Property, Server
    /// Reference.
    pub properties: PropertiesBuf,
    /// How far a failed attempt came.
    pub phase: Option<Phase>,
    /// The URL of the attempt, without credentials.
    pub url: Option<Rc<str>>,
    /// The close code of the WebSocket.
    pub close_code: Option<u16>,
    /// The topic of the message, or the filter, that the error is about.
    pub topic: Option<Rc<str>>,
    /// Bytes of the packet, and the limit it is over.
    pub size: Option<(u32, u32)>,
    /// The path of the argument at fault.
    pub argument: Option<String>,
    /// How the server answered each filter.
    pub filters: Vec<FilterCode>,
    /// The error that has led to this one.
    pub cause: Option<Box<Error>>,
}

impl Error {
    /// An error that says no more than its code and what happened.
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
            cause: None,
        })
    }

    /// The client is closed, or about to be.
    pub fn closed() -> Box<Self> {
        Self::new(ErrorCode::Closed, "the client is closed")
    }

    /// A packet of `size` bytes is over the server's `limit`.
    pub fn too_large(size: usize, limit: u32) -> Box<Self> {
        let what = "the packet is larger than the server accepts";
        let mut error = Self::new(ErrorCode::PacketTooLarge, what);
        error.size = Some((size as u32, limit));
        error
    }

    /// Adds a reason code.
    pub fn with_reason(mut self: Box<Self>, reason: ReasonCode) -> Box<Self> {
        self.reason = Some(reason);
        self
    }

    /// Adds the properties of the packet that brought the error.
    pub fn with_properties(mut self: Box<Self>, properties: Properties<'_>) -> Box<Self> {
        self.properties = properties.into();
        self
    }

    /// Adds the topic that the error is about.
    pub fn with_topic(mut self: Box<Self>, topic: &Rc<str>) -> Box<Self> {
        self.topic = Some(topic.clone());
        self
    }

    /// Adds where an attempt failed.
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
