//! What a connection is made of, and what dies with it: each stage of an attempt has its data in
//! its variant, and drops it when it ends.

pub(super) mod aliases;
pub(super) mod keep_alive;

use alloc::boxed::Box;

use super::error::Error;
use super::event::{ServerInfo, State, Token};
use super::inbox::Receiving;
use super::outbox::Sending;
use super::outbox::blame::Caution;
use super::time::Instant;
use crate::codec::{Decoder, PropertiesBuf, ReasonCode};
use aliases::OutgoingAliases;
use keep_alive::KeepAlive;

/// Where the client stands.
#[derive(Clone, Hash, Debug)]
pub(super) enum Stage {
    /// Nothing is under way.
    Idle,
    /// The store is read.
    Loading,
    /// The application is asked for URLs and credentials.
    Resolving,
    /// The socket is being opened.
    Opening(Opening),
    /// CONNECT was sent.
    Handshaking(Box<Handshaking>),
    /// The server has accepted the connection.
    Up(Box<Up>),
    /// The application wants the end, and what is in flight is waited for.
    Closing(Box<Up>, Ending),
    /// The connection, or the attempt at one, has failed, and the application is asked what it
    /// makes of it.
    Judging(Trial),
    /// The client waits for its next attempt.
    Waiting { retry_at: Instant },
    /// The end, for good.
    Closed,
}

/// A socket that is being opened.
#[derive(Clone, Hash, Debug)]
pub(super) struct Opening {
    /// Until when the CONNACK must have come.
    pub deadline: Instant,
    /// The socket is open, and the Authenticator is asked for the data of CONNECT.
    pub authenticating: bool,
}

/// A connection whose CONNECT was sent and whose CONNACK has not come.
#[derive(Clone, Hash, Debug)]
pub(super) struct Handshaking {
    /// Until when the CONNACK must have come.
    pub deadline: Instant,
    pub decoder: Decoder,
    /// Whether CONNECT asked for a new session.
    pub clean_start: bool,
    /// Whether CONNECT began an exchange of AUTH packets [MQTT5 4.12].
    pub authenticating: bool,
    /// When something was handed to the transport last.
    pub sent: Instant,
    /// When the server has been silent for so long that it may know 3.1.1 only.
    pub guess_at: Option<Instant>,
}

/// A connection that the server has accepted.
#[derive(Clone, Hash, Debug)]
pub(super) struct Up {
    pub server: ServerInfo,
    pub decoder: Decoder,
    /// When the CONNACK came.
    pub since: Instant,
    pub keep_alive: KeepAlive,
    pub sending: Sending,
    pub receiving: Receiving,
    pub aliases: OutgoingAliases,
    pub reauthentication: Option<Reauthentication>,
}

impl Up {
    fn next_timeout(&self) -> Option<Instant> {
        let ping = match self.sending.caution {
            Caution::Pinged { until } => Some(until),
            Caution::None | Caution::OneByOne => None,
        };
        Instant::first(&[self.keep_alive.next(), ping])
    }
}

/// A re-authentication that is under way [MQTT5 4.12.1].
#[derive(Clone, Hash, Debug)]
pub(super) struct Reauthentication {
    /// The request that completes with it.
    pub token: Option<Token>,
    /// AUTH with Re-authenticate was sent.
    pub sent: bool,
}

/// How the session closes by the application's wish.
#[derive(Clone, Hash, Debug)]
pub(super) struct Ending {
    pub deadline: Instant,
    pub reason: ReasonCode,
    pub properties: PropertiesBuf,
    /// Seconds; `None`: DISCONNECT does not speak of it.
    pub session_expiry: Option<u32>,
}

/// An error whose consequences the application is asked about.
#[derive(Clone, Hash, Debug)]
pub(super) struct Trial {
    pub error: Box<Error>,
    pub was_up: Option<WasUp>,
}

/// What is left of a connection that was up.
#[derive(Clone, Hash, Debug)]
pub(super) struct WasUp {
    /// Who waits for a re-authentication.
    pub reauthentication: Option<Token>,
    /// The server has ended it because of a packet, and not because of the client.
    pub is_packet_judged: bool,
    /// Whether it was doubtful already: the next attempt need not wait.
    pub doubtful: bool,
}

impl Stage {
    /// The state as the application sees it.
    pub(super) fn state(&self) -> State {
        match self {
            Stage::Idle => State::Idle,
            Stage::Loading | Stage::Resolving | Stage::Opening(_) | Stage::Handshaking(_) => {
                State::Connecting
            }
            Stage::Judging(Trial { was_up: None, .. }) => State::Connecting,
            Stage::Judging(Trial { was_up: Some(_), .. }) | Stage::Up(_) => State::Connected,
            Stage::Closing(..) => State::Closing,
            Stage::Waiting { .. } => State::Waiting,
            Stage::Closed => State::Closed,
        }
    }

    /// The connection, if the server has accepted it.
    #[inline]
    pub(super) fn up(&self) -> Option<&Up> {
        match self {
            Stage::Up(up) | Stage::Closing(up, _) => Some(up),
            _ => None,
        }
    }

    /// The connection, if the server has accepted it.
    #[inline]
    pub(super) fn up_mut(&mut self) -> Option<&mut Up> {
        match self {
            Stage::Up(up) | Stage::Closing(up, _) => Some(up),
            _ => None,
        }
    }

    /// Whether there is a socket, or one is being opened.
    pub(super) fn has_connection(&self) -> bool {
        matches!(
            self,
            Stage::Opening(_) | Stage::Handshaking(_) | Stage::Up(_) | Stage::Closing(..)
        )
    }

    /// Whether CONNECT was sent: the server can understand a DISCONNECT.
    pub(super) fn is_connect_sent(&self) -> bool {
        matches!(self, Stage::Handshaking(_) | Stage::Up(_) | Stage::Closing(..))
    }

    /// What reads the packets of the connection.
    #[inline]
    pub(super) fn decoder(&mut self) -> Option<&mut Decoder> {
        match self {
            Stage::Up(up) | Stage::Closing(up, _) => Some(&mut up.decoder),
            Stage::Handshaking(handshaking) => Some(&mut handshaking.decoder),
            _ => None,
        }
    }

    /// Something was handed to the transport.
    pub(super) fn sent(&mut self, now: Instant) {
        match self {
            Stage::Up(up) | Stage::Closing(up, _) => up.keep_alive.sent(now),
            Stage::Handshaking(handshaking) => handshaking.sent = now,
            _ => {}
        }
    }

    /// When something must be done without anything having happened.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self {
            Stage::Opening(Opening { deadline, .. }) => Some(*deadline),
            Stage::Handshaking(handshaking) => {
                Instant::first(&[Some(handshaking.deadline), handshaking.guess_at])
            }
            Stage::Up(up) => up.next_timeout(),
            Stage::Closing(up, ending) => {
                Instant::first(&[up.next_timeout(), Some(ending.deadline)])
            }
            Stage::Waiting { retry_at } => Some(*retry_at),
            Stage::Idle | Stage::Loading | Stage::Resolving | Stage::Judging(_) | Stage::Closed => {
                None
            }
        }
    }
}
