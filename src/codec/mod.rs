//! Bytes to packets and back, for both protocol versions.

mod decoder;
mod packet;
mod packet_type;
mod properties;
mod publish;
mod reason;
mod topic;
mod trie;
mod wire;

pub use decoder::{Decoder, Step};
pub use packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, FilterNames, Filters, Packet, PacketId, SubAck,
    Subscribe, SubscribeOptions, Unsubscribe, Will, encode_ack, encode_subscribe,
    encode_unsubscribe,
};
pub use packet_type::{PacketSet, PacketType};
pub use properties::{Properties, PropertiesBuf, Property, SubscriptionId, Value, check_text};
pub(crate) use properties::{PropertyType, ValueRule};
pub use publish::{Publish, PublishHints};
pub use reason::ReasonCode;
pub use topic::{
    TopicError, TopicFilter, TopicName, check_filter, check_topic, matches, overlaps, shared,
};
pub use trie::Trie;
pub use wire::varint_size;

/// A protocol version. The later one is the greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    /// MQTT 3.1.1
    V311,
    /// MQTT 5.0
    V5,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QoS {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl QoS {
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

/// Why bytes are no packet: the reason code that the specification asks for in the DISCONNECT, and a text for the error message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeError {
    pub reason: ReasonCode,
    pub what: &'static str,
}

impl DecodeError {
    /// A packet, received or to be sent, is larger than the maximum.
    pub const TOO_LARGE: Self =
        Self { reason: ReasonCode::PACKET_TOO_LARGE, what: "packet too large" };

    pub const fn malformed(what: &'static str) -> Self {
        Self { reason: ReasonCode::MALFORMED_PACKET, what }
    }

    pub const fn protocol(what: &'static str) -> Self {
        Self { reason: ReasonCode::PROTOCOL_ERROR, what }
    }
}
