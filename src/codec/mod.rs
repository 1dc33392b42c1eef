//! Turns bytes into packets and packets into bytes, for both protocol versions. Depends on nothing.
//!
//! Section numbers in the docs of this module are those of MQTT 5.0 unless they say otherwise.

mod decoder;
mod packet;
mod packet_type;
mod properties;
mod publish;
mod reason;
mod subscribe;
mod topic;
mod trie;
mod wire;

pub use decoder::{Decoder, Step};
pub use packet::{Ack, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, Will, encode_ack};
pub use packet_type::{PacketSet, PacketType};
pub use properties::{Properties, PropertiesBuf, Property, SubscriptionId, Value, check_text};
pub(crate) use properties::{PropertyType, ValueRule};
pub use publish::{Publish, PublishHints};
pub use reason::ReasonCode;
pub use subscribe::{
    FilterNames, Filters, SubAck, Subscribe, SubscribeOptions, Unsubscribe, encode_subscribe,
    encode_unsubscribe,
};
pub use topic::{
    TopicError, TopicFilter, TopicName, check_filter, check_no_control_character, check_topic,
    matches, overlaps, shared,
};
pub use trie::Trie;
pub use wire::varint_size;

/// A protocol version. The later one is the greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// How often a message arrives (4.3). The numbers are those of the specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QoS {
    /// The message may be lost.
    AtMostOnce = 0,
    /// The message may arrive more than once.
    AtLeastOnce = 1,
    /// The message arrives once.
    ExactlyOnce = 2,
}

impl QoS {
    /// Returns the QoS with this number, or `None` above 2.
    #[inline]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A malformed packet or a protocol error (4.13).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// The reason code that the DISCONNECT must carry.
    pub reason: ReasonCode,
    /// What is wrong, for the text of an error message.
    pub what: &'static str,
}

impl DecodeError {
    /// A packet, received or to be sent, is larger than the maximum.
    pub const TOO_LARGE: Self =
        Self { reason: ReasonCode::PACKET_TOO_LARGE, what: "packet too large" };

    /// Makes the error for bytes that are not a packet: a Malformed Packet.
    pub const fn malformed(what: &'static str) -> Self {
        Self { reason: ReasonCode::MALFORMED_PACKET, what }
    }

    /// Makes the error for a packet that must not be sent, or not now: a Protocol Error.
    pub const fn protocol(what: &'static str) -> Self {
        Self { reason: ReasonCode::PROTOCOL_ERROR, what }
    }
}
