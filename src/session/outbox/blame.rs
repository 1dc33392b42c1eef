//! Which packet is to blame for the end of a connection.
//!
//! A packet whose sending ends the connection three times in a row is given up. So that no other
//! one is blamed for it, packets that two connections have died with go one at a time on the third.

use super::packet_ids::{Entry, PacketIds};
use crate::codec::{PacketId, ReasonCode};

/// How many connections in a row one packet may end.
const LIMIT: u8 = 3;
/// So long after something was sent, in milliseconds, it is not what has ended the connection.
pub(crate) const PROMPT_MS: u64 = 10_000;

/// How a connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// Nothing that was sent is to blame.
    Innocent,
    /// The server has hung up, for a reason that it does not tell.
    HungUp,
    /// The server says that a packet is wrong.
    Judged(ReasonCode),
}

impl Loss {
    /// What a DISCONNECT of the server says about the packets that were sent [MQTT5 3.14.2.1].
    pub(crate) fn disconnect(reason: ReasonCode) -> Self {
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
            // The server, the network or another client.
            _ => Self::Innocent,
        }
    }

    /// Whether the server may mean this packet.
    fn concerns(self, entry: &Entry) -> bool {
        let subscribes = matches!(entry, Entry::Subscribe(_));
        let publishes = matches!(entry, Entry::Publish { .. });
        match self {
            Self::Innocent => false,
            Self::HungUp | Self::Judged(ReasonCode::PACKET_TOO_LARGE) => true,
            Self::Judged(ReasonCode::TOPIC_FILTER_INVALID) => {
                subscribes || matches!(entry, Entry::Unsubscribe(_))
            }
            Self::Judged(
                ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
                | ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
                | ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
            ) => subscribes,
            Self::Judged(_) => publishes,
        }
    }
}

/// What is known after a connection has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// No packet is suspected.
    Nobody,
    /// One of several is to blame.
    OneOfSeveral,
    /// This one is given up.
    Guilty(PacketId),
}

/// Counts the end of a connection for what was sent on it, and judges.
pub(crate) fn judge(ids: &mut PacketIds, loss: Loss) -> Verdict {
    let concerned = |(_, entry): &(PacketId, &Entry)| entry.is_live() && loss.concerns(entry);
    let suspects: Vec<PacketId> =
        ids.in_use().filter(concerned).map(|(id, _)| id).collect();
    // What the server judges needs no more than to be alone.
    let judged = matches!(loss, Loss::Judged(_));
    for &id in &suspects {
        let entry = ids.get(id);
        let deaths = entry.deaths().saturating_add(1);
        entry.set_deaths(if judged { deaths.max(LIMIT - 1) } else { deaths });
    }
    match suspects[..] {
        [] => Verdict::Nobody,
        [id] if judged || ids.get(id).deaths() >= LIMIT => Verdict::Guilty(id),
        _ => Verdict::OneOfSeveral,
    }
}

/// Whether packets must be sent one at a time after so many connections have ended with them.
pub(crate) fn is_suspect(deaths: u8) -> bool {
    deaths >= LIMIT - 1
}
