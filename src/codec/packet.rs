//! The control packets. One set for both versions: MQTT 5 is 3.1.1 plus a reason code and a property block.

use std::fmt;
use std::num::NonZeroU16;

use super::properties::{Properties, Property};
use super::topic::{FilterParts, check_topic, parse_filter};
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

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    Connect(Connect<'a>),
    ConnAck(ConnAck<'a>),
    Publish(Publish<'a>),
    PubAck(Ack<'a>),
    PubRec(Ack<'a>),
    PubRel(Ack<'a>),
    PubComp(Ack<'a>),
    Subscribe(Subscribe<'a>),
    SubAck(SubAck<'a>),
    Unsubscribe(Unsubscribe<'a>),
    UnsubAck(SubAck<'a>),
    PingReq,
    PingResp,
    Disconnect(Disconnect<'a>),
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

    /// Appends the packet in its shortest form. 3.1.1 has no properties: they are left out.
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect<'a> {
    /// Clean Session in 3.1.1.
    pub clean_start: bool,
    /// In seconds.
    pub keep_alive: u16,
    pub client_id: &'a str,
    pub will: Option<Will<'a>>,
    pub username: Option<&'a str>,
    /// In 3.1.1 only with a user name.
    pub password: Option<&'a [u8]>,
    pub properties: Properties<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Will<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: QoS,
    pub retain: bool,
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnAck<'a> {
    pub session_present: bool,
    pub reason: ReasonCode,
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

/// PUBACK, PUBREC, PUBREL and PUBCOMP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    pub id: PacketId,
    pub reason: ReasonCode,
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

/// [`Ack::encode`] without properties.
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

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    pub id: PacketId,
    pub properties: Properties<'a>,
    pub filters: Filters<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubscribeOptions {
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    /// 0: retained messages are sent; 1: if the subscription is new; 2: not.
    pub retain_handling: u8,
}

impl SubscribeOptions {
    const NO_LOCAL: u8 = 0x04;
    const RETAIN_AS_PUBLISHED: u8 = 0x08;
    const RETAIN_HANDLING_SHIFT: u8 = 4;

    /// Reads the byte that follows a filter in SUBSCRIBE.
    pub fn decode(version: Version, bits: u8) -> Result<Self, DecodeError> {
        let reserved = match version {
            Version::V311 => 0xFC,
            Version::V5 => 0xC0,
        };
        let retain_handling = bits >> Self::RETAIN_HANDLING_SHIFT & 3;
        match QoS::from_bits(bits & 3) {
            _ if bits & reserved != 0 => Err(DecodeError::malformed("reserved flags")),
            Some(qos) if retain_handling < 3 => Ok(Self {
                qos,
                no_local: bits & Self::NO_LOCAL != 0,
                retain_as_published: bits & Self::RETAIN_AS_PUBLISHED != 0,
                retain_handling,
            }),
            _ => Err(DecodeError::protocol("subscribe option is 3")),
        }
    }

    fn bits(self) -> u8 {
        self.qos as u8
            | flag(self.no_local, Self::NO_LOCAL)
            | flag(self.retain_as_published, Self::RETAIN_AS_PUBLISHED)
            | self.retain_handling << Self::RETAIN_HANDLING_SHIFT
    }
}

impl<'a> Subscribe<'a> {
    fn decode(version: Version, mut body: Reader<'a>) -> Result<Self, DecodeError> {
        let id = decode_id(&mut body)?;
        let properties = decode_properties(version, PacketSet::SUBSCRIBE, &mut body)?;
        let filters = Filters(body);
        if body.is_empty() {
            return Err(NO_FILTER);
        }
        while !body.is_empty() {
            let parts = decode_filter(&mut body)?;
            let options = SubscribeOptions::decode(version, body.u8()?)?;
            if options.no_local && parts.share.is_some() {
                return Err(DecodeError::protocol("no local on a shared subscription"));
            }
        }
        Ok(Self { id, properties, filters })
    }
}

/// The checked filters of a SUBSCRIBE with their options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filters<'a>(Reader<'a>);

impl<'a> Iterator for Filters<'a> {
    type Item = (&'a str, SubscribeOptions);

    fn next(&mut self) -> Option<Self::Item> {
        let filter = self.0.text().ok()?;
        // What is reserved in 3.1.1 was checked to be 0.
        Some((filter, SubscribeOptions::decode(Version::V5, self.0.u8().ok()?).ok()?))
    }
}

/// Appends a SUBSCRIBE. In 3.1.1 only the QoS is asked for.
pub fn encode_subscribe<'a>(
    version: Version,
    id: PacketId,
    properties: Properties,
    filters: impl Iterator<Item = (&'a str, SubscribeOptions)>,
    out: &mut Vec<u8>,
) {
    let start = wire::begin(PacketType::Subscribe, out);
    put_u16(id.get(), out);
    put_properties(version, properties, out);
    for (filter, options) in filters {
        put_binary(filter.as_bytes(), out);
        out.push(match version {
            Version::V311 => options.qos as u8,
            Version::V5 => options.bits(),
        });
    }
    wire::finish(start, out);
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    pub id: PacketId,
    pub properties: Properties<'a>,
    pub filters: FilterNames<'a>,
}

impl<'a> Unsubscribe<'a> {
    fn decode(version: Version, mut body: Reader<'a>) -> Result<Self, DecodeError> {
        let id = decode_id(&mut body)?;
        let properties = decode_properties(version, PacketSet::UNSUBSCRIBE, &mut body)?;
        let filters = FilterNames(body);
        if body.is_empty() {
            return Err(NO_FILTER);
        }
        while !body.is_empty() {
            decode_filter(&mut body)?;
        }
        Ok(Self { id, properties, filters })
    }
}

/// The checked filters of an UNSUBSCRIBE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterNames<'a>(Reader<'a>);

impl<'a> Iterator for FilterNames<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.text().ok()
    }
}

pub fn encode_unsubscribe<'a>(
    version: Version,
    id: PacketId,
    properties: Properties,
    filters: impl Iterator<Item = &'a str>,
    out: &mut Vec<u8>,
) {
    let start = wire::begin(PacketType::Unsubscribe, out);
    put_u16(id.get(), out);
    put_properties(version, properties, out);
    for filter in filters {
        put_binary(filter.as_bytes(), out);
    }
    wire::finish(start, out);
}

/// SUBACK and UNSUBACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubAck<'a> {
    pub id: PacketId,
    /// A reason code per filter. 3.1.1 knows 0, 1, 2 and 0x80 in SUBACK, and none in UNSUBACK.
    pub codes: &'a [u8],
    pub properties: Properties<'a>,
}

impl<'a> SubAck<'a> {
    fn decode(
        version: Version,
        packet: PacketType,
        mut body: Reader<'a>,
    ) -> Result<Self, DecodeError> {
        let place = PacketSet::of(packet);
        let id = decode_id(&mut body)?;
        let properties = decode_properties(version, place, &mut body)?;
        let codes = body.rest();
        if version == Version::V311 && packet == PacketType::UnsubAck {
            body.end()?;
        } else if codes.is_empty() {
            return Err(DecodeError::protocol("no reason code"));
        }
        let listed = |code: &u8| match version {
            Version::V311 => matches!(code, 0..=2 | 0x80),
            Version::V5 => ReasonCode(*code).stands_in(place),
        };
        if codes.iter().all(listed) {
            Ok(Self { id, codes, properties })
        } else {
            Err(UNLISTED_REASON)
        }
    }

    /// Appends the packet. `packet` is SUBACK or UNSUBACK.
    pub fn encode(&self, packet: PacketType, version: Version, out: &mut Vec<u8>) {
        let start = wire::begin(packet, out);
        put_u16(self.id.get(), out);
        put_properties(version, self.properties, out);
        if version == Version::V5 || packet == PacketType::SubAck {
            out.extend_from_slice(self.codes);
        }
        wire::finish(start, out);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    pub reason: ReasonCode,
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

    /// 3.1.1 has no reason: there it is the normal end, and the server drops the will.
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

/// Only in MQTT 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    pub reason: ReasonCode,
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
const NO_FILTER: DecodeError = DecodeError::protocol("no topic filter");
const UNLISTED_REASON: DecodeError = DecodeError::protocol("reason code not of this packet");

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

fn decode_properties<'a>(
    version: Version,
    place: PacketSet,
    body: &mut Reader<'a>,
) -> Result<Properties<'a>, DecodeError> {
    match version {
        Version::V311 => Ok(Properties::EMPTY),
        Version::V5 => Properties::read(place, body),
    }
}

fn put_properties(version: Version, properties: Properties, out: &mut Vec<u8>) {
    if version == Version::V5 {
        wire::put_varint(properties.as_bytes().len(), out);
        out.extend_from_slice(properties.as_bytes());
    }
}

pub(super) fn decode_topic(topic: &[u8]) -> Result<&str, DecodeError> {
    Ok(check_topic(topic)?)
}

fn decode_filter<'a>(body: &mut Reader<'a>) -> Result<FilterParts<'a>, DecodeError> {
    Ok(parse_filter(body.text()?)?)
}
