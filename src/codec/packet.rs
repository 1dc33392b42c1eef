//! The control packets, one set for both versions: MQTT 5 is 3.1.1 with reason codes and properties.

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU16;

use super::properties::{Properties, Property};
use super::subscribe::{SubAck, Subscribe, Unsubscribe, encode_subscribe, encode_unsubscribe};
use super::topic::check_topic;
use super::wire::{self, Reader, put_binary, put_u16};
use super::{DecodeError, PacketSet, PacketType, Publish, QoS, ReasonCode, Version};

/// A packet identifier (2.2.1): it ties an acknowledgement to what is acknowledged. It is never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// Makes a packet identifier of a number. Returns `None` for 0.
    #[inline]
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// Returns the number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A control packet. It borrows from the bytes that it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// A client asks for a connection (3.1).
    Connect(Connect<'a>),
    /// A server answers CONNECT (3.2).
    ConnAck(ConnAck<'a>),
    /// A message (3.3).
    Publish(Publish<'a>),
    /// The answer to a PUBLISH with QoS 1 (3.4).
    PubAck(Ack<'a>),
    /// The answer to a PUBLISH with QoS 2 (3.5).
    PubRec(Ack<'a>),
    /// The answer to PUBREC (3.6).
    PubRel(Ack<'a>),
    /// The answer to PUBREL (3.7).
    PubComp(Ack<'a>),
    /// A client asks for subscriptions (3.8).
    Subscribe(Subscribe<'a>),
    /// A server answers SUBSCRIBE (3.9).
    SubAck(SubAck<'a>),
    /// A client gives subscriptions up (3.10).
    Unsubscribe(Unsubscribe<'a>),
    /// A server answers UNSUBSCRIBE (3.11).
    UnsubAck(SubAck<'a>),
    /// A client asks whether the server is still there (3.12).
    PingReq,
    /// A server answers PINGREQ (3.13).
    PingResp,
    /// The end of the connection (3.14).
    Disconnect(Disconnect<'a>),
    /// A step of an authentication exchange; only in MQTT 5 (3.15).
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Reads a packet of either side from the first byte of its fixed header and its whole body.
    ///
    /// # Errors
    ///
    /// The packet breaks a rule of the specification that needs no other packet to be checked.
    pub fn decode(version: Version, first: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let body = Reader::new(body);
        match PacketType::from_first_byte(first) {
            Some(PacketType::Connect) => Connect::decode(version, body).map(Self::Connect),
            Some(PacketType::Subscribe) => Subscribe::decode(version, body).map(Self::Subscribe),
            Some(PacketType::Unsubscribe) => {
                Unsubscribe::decode(version, body).map(Self::Unsubscribe)
            }
            Some(PacketType::PingReq) => body.end().map(|()| Self::PingReq),
            _ => Self::decode_reply(version, first, body),
        }
    }

    /// Reads a packet that a server sent. What only a client may send or say is a protocol error here.
    ///
    /// # Errors
    ///
    /// As [`Packet::decode`].
    pub fn decode_from_server(
        version: Version,
        first: u8,
        body: &'a [u8],
    ) -> Result<Self, DecodeError> {
        let packet = Self::decode_reply(version, first, Reader::new(body))?;
        let wrong = match &packet {
            Self::Disconnect(packet) => {
                version == Version::V311
                    || !packet.reason.stands_in(PacketSet::SERVER_DISCONNECT)
                    || packet.properties.get(Property::SessionExpiryInterval).is_some()
            }
            Self::Auth(packet) => packet.reason == ReasonCode::RE_AUTHENTICATE,
            _ => false,
        };
        if wrong { Err(DecodeError::protocol("only a client may say this")) } else { Ok(packet) }
    }

    /// Reads a packet that a server may send, whoever sent this one.
    fn decode_reply(version: Version, first: u8, body: Reader<'a>) -> Result<Self, DecodeError> {
        let Some(packet) = PacketType::from_first_byte(first) else {
            return Err(match first {
                0x00..=0x0F => DecodeError::malformed("packet type 0"),
                0xF0..=0xFF if version == Version::V311 => AUTH_IN_3_1_1,
                _ => DecodeError::malformed("reserved flags"),
            });
        };
        match packet {
            PacketType::ConnAck => ConnAck::decode(version, body).map(Self::ConnAck),
            PacketType::Publish => Publish::decode(version, first, body.rest()).map(Self::Publish),
            PacketType::PubAck => Ack::decode(version, packet, body).map(Self::PubAck),
            PacketType::PubRec => Ack::decode(version, packet, body).map(Self::PubRec),
            PacketType::PubRel => Ack::decode(version, packet, body).map(Self::PubRel),
            PacketType::PubComp => Ack::decode(version, packet, body).map(Self::PubComp),
            PacketType::SubAck => SubAck::decode(version, packet, body).map(Self::SubAck),
            PacketType::UnsubAck => SubAck::decode(version, packet, body).map(Self::UnsubAck),
            PacketType::PingResp => body.end().map(|()| Self::PingResp),
            PacketType::Disconnect => Disconnect::decode(version, body).map(Self::Disconnect),
            PacketType::Auth if version == Version::V311 => Err(AUTH_IN_3_1_1),
            PacketType::Auth => Auth::decode(body).map(Self::Auth),
            PacketType::Connect
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::PingReq => Err(DecodeError::protocol("packet of a client")),
        }
    }

    /// Appends the packet in its shortest form. What 3.1.1 does not have is left out there.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Self::Connect(packet) => packet.encode(version, out),
            Self::ConnAck(packet) => packet.encode(version, out),
            Self::Publish(packet) => {
                packet.encode_header(version, None, packet.payload.len(), out);
                out.extend_from_slice(packet.payload);
            }
            Self::PubAck(packet) => packet.encode(PacketType::PubAck, version, out),
            Self::PubRec(packet) => packet.encode(PacketType::PubRec, version, out),
            Self::PubRel(packet) => packet.encode(PacketType::PubRel, version, out),
            Self::PubComp(packet) => packet.encode(PacketType::PubComp, version, out),
            Self::Subscribe(Subscribe { id, properties, filters }) => {
                encode_subscribe(version, *id, *properties, filters.clone(), out);
            }
            Self::SubAck(packet) => packet.encode(PacketType::SubAck, version, out),
            Self::Unsubscribe(Unsubscribe { id, properties, filters }) => {
                encode_unsubscribe(version, *id, *properties, filters.clone(), out);
            }
            Self::UnsubAck(packet) => packet.encode(PacketType::UnsubAck, version, out),
            Self::PingReq => out.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]),
            Self::PingResp => out.extend_from_slice(&[PacketType::PingResp.first_byte(), 0]),
            Self::Disconnect(packet) => packet.encode(version, out),
            Self::Auth(packet) => packet.encode(out),
        }
    }

    /// Returns the type of the packet.
    pub fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// CONNECT (3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect<'a> {
    /// Whether the server forgets the session that it has. It is called Clean Session in 3.1.1.
    pub clean_start: bool,
    /// The Keep Alive interval in seconds; 0 turns it off.
    pub keep_alive: u16,
    /// The Client Identifier. If it is empty, the server makes one.
    pub client_id: &'a str,
    /// The message that the server publishes if the connection is lost.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub username: Option<&'a str>,
    /// The password. In 3.1.1 there is none without a user name.
    pub password: Option<&'a [u8]>,
    /// The properties, without those of the will.
    pub properties: Properties<'a>,
}

/// The will of a CONNECT (3.1.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Will<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The payload, 65,535 bytes at most.
    pub payload: &'a [u8],
    /// The QoS.
    pub qos: QoS,
    /// Whether the server retains the message.
    pub retain: bool,
    /// The Will Properties.
    pub properties: Properties<'a>,
}

impl<'a> Connect<'a> {
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_QOS_SHIFT: u8 = 3;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USERNAME: u8 = 0x80;

    fn decode(version: Version, mut body: Reader<'a>) -> Result<Self, DecodeError> {
        if body.text()? != "MQTT" || body.u8()? != protocol_level(version) {
            return Err(DecodeError {
                reason: ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
                what: "another protocol or version",
            });
        }
        let flags = body.u8()?;
        let has = |flag| flags & flag != 0;
        if has(0x01) {
            return Err(DecodeError::malformed("reserved flags"));
        }
        if version == Version::V311 && has(Self::PASSWORD) && !has(Self::USERNAME) {
            return Err(DecodeError::malformed("password without user name"));
        }
        let keep_alive = body.u16()?;
        let properties = decode_properties(version, PacketSet::CONNECT, &mut body)?;
        let client_id = body.text()?;
        let will_qos = flags >> Self::WILL_QOS_SHIFT & 3;
        let will = if has(Self::WILL) {
            Some(Will {
                qos: decode_qos(will_qos)?,
                retain: has(Self::WILL_RETAIN),
                properties: decode_properties(version, PacketSet::WILL, &mut body)?,
                topic: decode_topic(body.binary()?)?,
                payload: body.binary()?,
            })
        } else if will_qos != 0 || has(Self::WILL_RETAIN) {
            return Err(DecodeError::malformed("will flags without a will"));
        } else {
            None
        };
        let username = if has(Self::USERNAME) { Some(body.text()?) } else { None };
        let password = if has(Self::PASSWORD) { Some(body.binary()?) } else { None };
        body.end()?;
        let clean_start = has(Self::CLEAN_START);
        Ok(Self { clean_start, keep_alive, client_id, will, username, password, properties })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = wire::begin(PacketType::Connect, out);
        put_binary(b"MQTT", out);
        out.push(protocol_level(version));
        let mut flags = flag(self.clean_start, Self::CLEAN_START)
            | flag(self.username.is_some(), Self::USERNAME)
            | flag(self.password.is_some(), Self::PASSWORD);
        if let Some(will) = &self.will {
            flags |= Self::WILL
                | (will.qos as u8) << Self::WILL_QOS_SHIFT
                | flag(will.retain, Self::WILL_RETAIN);
        }
        out.push(flags);
        put_u16(self.keep_alive, out);
        put_properties(version, self.properties, out);
        put_binary(self.client_id.as_bytes(), out);
        if let Some(will) = &self.will {
            put_properties(version, will.properties, out);
            put_binary(will.topic.as_bytes(), out);
            put_binary(will.payload, out);
        }
        if let Some(username) = self.username {
            put_binary(username.as_bytes(), out);
        }
        if let Some(password) = self.password {
            put_binary(password, out);
        }
        wire::finish(start, out);
    }
}

fn protocol_level(version: Version) -> u8 {
    match version {
        Version::V311 => 4,
        Version::V5 => 5,
    }
}

/// CONNACK (3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnAck<'a> {
    /// Whether the server goes on with a session that it has kept. It is false in a refusal.
    pub session_present: bool,
    /// Whether the connection is accepted, or why not. The return codes of 3.1.1 are translated.
    pub reason: ReasonCode,
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> ConnAck<'a> {
    fn decode(mut version: Version, mut body: Reader<'a>) -> Result<Self, DecodeError> {
        // A server that knows only 3.1.1 refuses a CONNECT of version 5 in its own form, which has two
        // bytes. In version 5 the length of the properties would follow.
        if let [0, 1..=5] = body.rest() {
            version = Version::V311;
        }
        let flags = body.u8()?;
        if flags > 1 {
            return Err(DecodeError::malformed("reserved flags"));
        }
        let reason = match version {
            Version::V311 => ReasonCode::from_return_code(body.u8()?).ok_or(UNLISTED_REASON)?,
            Version::V5 => decode_reason(PacketSet::CONNACK, &mut body)?,
        };
        let session_present = flags == 1;
        if session_present && reason != ReasonCode::SUCCESS {
            return Err(DecodeError::protocol("session present in a refusal"));
        }
        let properties = decode_properties(version, PacketSet::CONNACK, &mut body)?;
        body.end()?;
        Ok(Self { session_present, reason, properties })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = wire::begin(PacketType::ConnAck, out);
        out.push(self.session_present.into());
        out.push(match version {
            Version::V311 => self.reason.return_code(),
            Version::V5 => self.reason.0,
        });
        put_properties(version, self.properties, out);
        wire::finish(start, out);
    }
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// The identifier of the PUBLISH.
    pub id: PacketId,
    /// How it went. It is SUCCESS in 3.1.1.
    pub reason: ReasonCode,
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    fn decode(
        version: Version,
        packet: PacketType,
        mut body: Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let place = PacketSet::of(packet);
        let id = decode_id(&mut body)?;
        let mut ack = Self { id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
        if version == Version::V5 && !body.is_empty() {
            ack.reason = decode_reason(place, &mut body)?;
            if !body.is_empty() {
                ack.properties = Properties::read(place, &mut body)?;
            }
        }
        body.end()?;
        Ok(ack)
    }

    /// Appends the packet. `packet` is PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub fn encode(&self, packet: PacketType, version: Version, out: &mut Vec<u8>) {
        if version == Version::V311 || self.properties.is_empty() {
            return encode_ack(packet, self.id, self.reason, version, out);
        }
        let start = wire::begin(packet, out);
        put_u16(self.id.get(), out);
        out.push(self.reason.0);
        put_properties(version, self.properties, out);
        wire::finish(start, out);
    }
}

/// Appends an [`Ack`] without properties. `packet` is PUBACK, PUBREC, PUBREL or PUBCOMP.
#[inline]
pub fn encode_ack(
    packet: PacketType,
    id: PacketId,
    reason: ReasonCode,
    version: Version,
    out: &mut Vec<u8>,
) {
    let first = packet.first_byte();
    let [high, low] = id.get().to_be_bytes();
    if version == Version::V311 || reason == ReasonCode::SUCCESS {
        out.extend_from_slice(&[first, 2, high, low]);
    } else {
        out.extend_from_slice(&[first, 3, high, low, reason.0]);
    }
}

/// DISCONNECT (3.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Why the connection ends. SUCCESS means a normal disconnection, as always in 3.1.1.
    pub reason: ReasonCode,
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    fn decode(version: Version, mut body: Reader<'a>) -> Result<Self, DecodeError> {
        let mut packet = Self { reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
        if version == Version::V5 && !body.is_empty() {
            packet.reason = decode_reason(PacketSet::DISCONNECT, &mut body)?;
            if !body.is_empty() {
                packet.properties = Properties::read(PacketSet::DISCONNECT, &mut body)?;
            }
        }
        body.end()?;
        Ok(packet)
    }

    /// Appends the packet. 3.1.1 has no reason code: whatever it is, the server drops the will there.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = wire::begin(PacketType::Disconnect, out);
        if version == Version::V5
            && (self.reason != ReasonCode::SUCCESS || !self.properties.is_empty())
        {
            out.push(self.reason.0);
            if !self.properties.is_empty() {
                put_properties(version, self.properties, out);
            }
        }
        wire::finish(start, out);
    }
}

/// AUTH (3.15), which only MQTT 5 has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    /// Whether the exchange goes on, begins again, or has succeeded.
    pub reason: ReasonCode,
    /// The properties. The Authentication Method is among them.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    fn decode(mut body: Reader<'a>) -> Result<Self, DecodeError> {
        let mut packet = Self { reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
        if !body.is_empty() {
            packet.reason = decode_reason(PacketSet::AUTH, &mut body)?;
            packet.properties = Properties::read(PacketSet::AUTH, &mut body)?;
        }
        body.end()?;
        Ok(packet)
    }

    /// Appends the packet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = wire::begin(PacketType::Auth, out);
        if self.reason != ReasonCode::SUCCESS || !self.properties.is_empty() {
            out.push(self.reason.0);
            put_properties(Version::V5, self.properties, out);
        }
        wire::finish(start, out);
    }
}

const AUTH_IN_3_1_1: DecodeError = DecodeError::protocol("AUTH in 3.1.1");
pub(super) const UNLISTED_REASON: DecodeError =
    DecodeError::protocol("reason code not of this packet");

#[inline]
pub(super) fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

#[inline]
pub(super) fn decode_qos(bits: u8) -> Result<QoS, DecodeError> {
    QoS::from_bits(bits).ok_or(DecodeError::malformed("QoS 3"))
}

#[inline]
pub(super) fn decode_id(body: &mut Reader) -> Result<PacketId, DecodeError> {
    PacketId::new(body.u16()?).ok_or(DecodeError::protocol("packet identifier 0"))
}

fn decode_reason(place: PacketSet, body: &mut Reader) -> Result<ReasonCode, DecodeError> {
    let reason = ReasonCode(body.u8()?);
    if reason.stands_in(place) { Ok(reason) } else { Err(UNLISTED_REASON) }
}

pub(super) fn decode_properties<'a>(
    version: Version,
    place: PacketSet,
    body: &mut Reader<'a>,
) -> Result<Properties<'a>, DecodeError> {
    match version {
        Version::V311 => Ok(Properties::EMPTY),
        Version::V5 => Properties::read(place, body),
    }
}

pub(super) fn put_properties(version: Version, properties: Properties, out: &mut Vec<u8>) {
    if version == Version::V5 {
        wire::put_varint(properties.as_bytes().len(), out);
        out.extend_from_slice(properties.as_bytes());
    }
}

pub(super) fn decode_topic(topic: &[u8]) -> Result<&str, DecodeError> {
    Ok(check_topic(topic)?)
}
