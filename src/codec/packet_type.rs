//! The types of the control packets (2.1.2), and sets of them.

/// The type of a control packet (2.1.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum PacketType {
    /// A client asks for a connection (3.1).
    Connect = 1,
    /// A server answers CONNECT (3.2).
    ConnAck = 2,
    /// A message, from either side (3.3).
    Publish = 3,
    /// The answer to a PUBLISH with QoS 1 (3.4).
    PubAck = 4,
    /// The answer to a PUBLISH with QoS 2: the receiver has the message (3.5).
    PubRec = 5,
    /// The answer to PUBREC: the sender will not send the message again (3.6).
    PubRel = 6,
    /// The answer to PUBREL: the exchange is complete (3.7).
    PubComp = 7,
    /// A client asks for subscriptions (3.8).
    Subscribe = 8,
    /// A server answers SUBSCRIBE (3.9).
    SubAck = 9,
    /// A client gives subscriptions up (3.10).
    Unsubscribe = 10,
    /// A server answers UNSUBSCRIBE (3.11).
    UnsubAck = 11,
    /// A client asks whether the server is still there (3.12).
    PingReq = 12,
    /// A server answers PINGREQ (3.13).
    PingResp = 13,
    /// Either side ends the connection; in 3.1.1 only a client does so (3.14).
    Disconnect = 14,
    /// A step of an authentication exchange. MQTT 3.1.1 has no such packet (3.15).
    Auth = 15,
}

impl PacketType {
    /// Returns the first byte of the fixed header: the type, and the flags that 2.1.3 prescribes. For
    /// PUBLISH, whose flags are DUP, QoS and RETAIN, all of them are 0.
    #[inline]
    pub const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }

    /// Returns the type of the packet that begins with this byte, or `None` if the type is the
    /// reserved 0 or if the flags are not those of the type (2.1.3). PUBLISH may have any flags.
    #[inline]
    pub const fn from_first_byte(first: u8) -> Option<Self> {
        let packet = match first >> 4 {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => return Some(Self::Publish),
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        };
        if packet.first_byte() == first { Some(packet) } else { None }
    }

    /// Returns the name of the packet as the specification spells it, in lower case: `puback`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnAck => "connack",
            Self::Publish => "publish",
            Self::PubAck => "puback",
            Self::PubRec => "pubrec",
            Self::PubRel => "pubrel",
            Self::PubComp => "pubcomp",
            Self::Subscribe => "subscribe",
            Self::SubAck => "suback",
            Self::Unsubscribe => "unsubscribe",
            Self::UnsubAck => "unsuback",
            Self::PingReq => "pingreq",
            Self::PingResp => "pingresp",
            Self::Disconnect => "disconnect",
            Self::Auth => "auth",
        }
    }
}

/// A set of the places where a property or a reason code may stand.
///
/// Most places are packet types. The Will Properties are a place of their own, apart from the
/// properties of the CONNECT they stand in. DISCONNECT is two places, because a client may not say all
/// that a server may say, and the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PacketSet(u16);

impl PacketSet {
    /// No place.
    pub const EMPTY: Self = Self(0);
    /// CONNECT, without the Will Properties.
    pub const CONNECT: Self = Self::of(PacketType::Connect);
    /// CONNACK.
    pub const CONNACK: Self = Self::of(PacketType::ConnAck);
    /// PUBLISH.
    pub const PUBLISH: Self = Self::of(PacketType::Publish);
    /// PUBACK.
    pub const PUBACK: Self = Self::of(PacketType::PubAck);
    /// PUBREC.
    pub const PUBREC: Self = Self::of(PacketType::PubRec);
    /// PUBREL.
    pub const PUBREL: Self = Self::of(PacketType::PubRel);
    /// PUBCOMP.
    pub const PUBCOMP: Self = Self::of(PacketType::PubComp);
    /// SUBSCRIBE.
    pub const SUBSCRIBE: Self = Self::of(PacketType::Subscribe);
    /// SUBACK.
    pub const SUBACK: Self = Self::of(PacketType::SubAck);
    /// UNSUBSCRIBE.
    pub const UNSUBSCRIBE: Self = Self::of(PacketType::Unsubscribe);
    /// UNSUBACK.
    pub const UNSUBACK: Self = Self::of(PacketType::UnsubAck);
    /// DISCONNECT from either side.
    pub const DISCONNECT: Self = Self::CLIENT_DISCONNECT.union(Self::SERVER_DISCONNECT);
    /// AUTH.
    pub const AUTH: Self = Self::of(PacketType::Auth);

    // The three that are no packet type use the bits of 0, PINGREQ and DISCONNECT.
    /// The Will Properties in the payload of CONNECT.
    pub const WILL: Self = Self(1 << 0);
    /// DISCONNECT from a client.
    pub const CLIENT_DISCONNECT: Self = Self(1 << 12);
    /// DISCONNECT from a server.
    pub const SERVER_DISCONNECT: Self = Self(1 << 14);

    /// Returns the place that a packet type is. For DISCONNECT, both of its places are in the set; PINGREQ
    /// and PINGRESP are no places, because they hold neither properties nor a reason code.
    #[inline]
    pub const fn of(packet: PacketType) -> Self {
        match packet {
            PacketType::PingReq | PacketType::PingResp => Self::EMPTY,
            PacketType::Disconnect => Self::DISCONNECT,
            packet => Self(1 << packet as u8),
        }
    }

    /// Returns the places that are in either set.
    #[inline]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether some place is in both sets.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}
