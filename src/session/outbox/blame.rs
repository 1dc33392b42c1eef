//! Which packet ends the connection, where the server hangs up on one.
//!
//! The server closes the socket and does not say why, and the network does the same now and then. So after two losses
//! in a row the next connection is cautious: it asks with a PINGREQ whether the server lives, and then sends one packet
//! at a time. If that ends the connection too, the packet is given up.

use alloc::boxed::Box;

use super::packet_ids::Entry;
use crate::codec::ReasonCode;
use crate::session::error::{Error, ErrorCode};
use crate::session::time::Instant;

/// After so many losses in a row the next connection is cautious.
pub(in crate::session) const SUSPECT: u8 = 2;
/// How many milliseconds a cautious connection waits for the PINGRESP.
pub(in crate::session) const PING_MS: u64 = 1_000;

/// Whether a connection sends one packet at a time.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, Debug)]
pub(in crate::session) enum Caution {
    /// It does not.
    #[default]
    None,
    /// PINGREQ was sent. Nothing else is until the answer has come, or until this time.
    Pinged { until: Instant },
    /// It does: the next packet waits for the answer to the last one. QoS 0 messages, which get none, wait too.
    OneByOne,
}

/// What the end of a connection says about the packets that were sent on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::session) enum Loss {
    /// Nothing.
    Innocent,
    /// The server has hung up, and one of them may be why.
    HungUp,
    /// The server says that one of them is wrong.
    Judged(ReasonCode),
}

impl Loss {
    /// What a DISCONNECT says [MQTT5 3.14.2.1].
    pub(in crate::session) fn disconnect(reason: ReasonCode) -> Self {
        match reason {
            ReasonCode::TOPIC_FILTER_INVALID
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::PACKET_TOO_LARGE
            | ReasonCode::PAYLOAD_FORMAT_INVALID
            | ReasonCode::RETAIN_NOT_SUPPORTED
            | ReasonCode::QOS_NOT_SUPPORTED
            | ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
            | ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
            | ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED => Self::Judged(reason),
            ReasonCode::UNSPECIFIED_ERROR
            | ReasonCode::MALFORMED_PACKET
            | ReasonCode::PROTOCOL_ERROR
            | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::QUOTA_EXCEEDED => Self::HungUp,
            // It is about the server, the network or another client.
            _ => Self::Innocent,
        }
    }

    /// The reason code, where it judges a packet.
    pub(in crate::session) fn verdict(self) -> Option<ReasonCode> {
        match self {
            Self::Judged(reason) => Some(reason),
            Self::Innocent | Self::HungUp => None,
        }
    }

    /// Whether the server may mean this packet.
    pub(super) fn concerns(self, entry: &Entry) -> bool {
        let is_request = entry.is_request();
        let is_publish = matches!(entry, Entry::Publish { live: true, .. });
        match self {
            Self::Innocent => false,
            Self::HungUp => {
                is_request || is_publish || matches!(entry, Entry::Release { live: true, .. })
            }
            Self::Judged(ReasonCode::PACKET_TOO_LARGE) => is_request || is_publish,
            Self::Judged(ReasonCode::TOPIC_FILTER_INVALID) => is_request,
            Self::Judged(
                ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
                | ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
                | ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
            ) => matches!(entry, Entry::Subscribe(_)),
            Self::Judged(_) => is_publish,
        }
    }

    /// The error of a packet that is given up.
    pub(in crate::session) fn error(self, code: ErrorCode) -> Box<Error> {
        let what = match self {
            Self::Judged(_) => "the server ended the connection because of the packet",
            Self::Innocent | Self::HungUp => {
                "the server ended the connection three times in a row because of the packet"
            }
        };
        let mut error = Error::new(code, what);
        error.reason = self.verdict();
        error
    }
}
