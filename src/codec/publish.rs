//! PUBLISH (3.3), the packet of the hot path.

use alloc::vec::Vec;

use super::packet::{decode_id, decode_qos, decode_topic, flag};
use super::properties::{Properties, Property};
use super::wire::{self, Reader, put_binary, put_u16};
use super::{DecodeError, PacketId, PacketType, QoS, Version};

/// PUBLISH: a message on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// Whether the packet may have been sent before.
    pub dup: bool,
    /// The QoS.
    pub qos: QoS,
    /// Whether the server retains the message, or has retained it.
    pub retain: bool,
    /// The topic name. It is empty only in MQTT 5, if a Topic Alias stands for it.
    pub topic: &'a [u8],
    /// The packet identifier. There is one if and only if the QoS is not 0.
    pub id: Option<PacketId>,
    /// The properties.
    pub properties: Properties<'a>,
    /// The payload, or the part of it that is at hand.
    pub payload: &'a [u8],
}

/// Offsets and flags found while parsing the header of a PUBLISH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishHints {
    /// Where in the body the properties begin, behind their length.
    pub properties_start: usize,
    /// Where in the body the payload begins.
    pub payload_start: usize,
    /// The Topic Alias.
    pub topic_alias: Option<u16>,
    /// Whether there are no properties besides Subscription Identifiers and a Topic Alias.
    pub only_for_routing: bool,
    /// The number of Subscription Identifiers.
    pub subscription_ids: usize,
}

impl<'a> Publish<'a> {
    const RETAIN: u8 = 0x01;
    const QOS_SHIFT: u8 = 1;
    const DUP: u8 = 0x08;

    pub(super) fn decode(version: Version, first: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let (publish, _) = Self::decode_header(version, first, body, body.len())?;
        if !publish.topic.is_empty() {
            decode_topic(publish.topic)?;
        }
        Ok(publish)
    }

    /// Reads a PUBLISH, and leaves the text of the topic to be checked with [`check_topic`].
    ///
    /// `len` is the length of the body. `body` may end inside the payload, and it may go on behind the packet.
    ///
    /// # Errors
    ///
    /// The packet breaks a rule of the specification in what stands before the payload.
    ///
    /// [`check_topic`]: super::check_topic
    #[inline]
    pub fn decode_header(
        version: Version,
        first: u8,
        body: &'a [u8],
        len: usize,
    ) -> Result<(Self, PublishHints), DecodeError> {
        let body = body.get(..len).unwrap_or(body);
        let mut reader = Reader::new(body);
        let qos = decode_qos(first >> Self::QOS_SHIFT & 3)?;
        let dup = first & Self::DUP != 0;
        if dup && qos == QoS::AtMostOnce {
            return Err(DecodeError::malformed("DUP at QoS 0"));
        }
        let topic = reader.binary()?;
        let id = if qos == QoS::AtMostOnce { None } else { Some(decode_id(&mut reader)?) };
        let (properties, summary) = match version {
            Version::V311 => Default::default(),
            Version::V5 => Properties::read_publish(&mut reader)?,
        };
        let payload = reader.rest();
        let payload_start = body.len() - payload.len();
        let topic_alias = summary.topic_alias;
        if topic.is_empty() && topic_alias.is_none() {
            return Err(DecodeError::protocol("neither topic nor topic alias"));
        }
        let hints = PublishHints {
            properties_start: payload_start - properties.as_bytes().len(),
            payload_start,
            topic_alias,
            only_for_routing: summary.is_for_routing_only(),
            subscription_ids: summary.subscription_ids,
        };
        let retain = first & Self::RETAIN != 0;
        Ok((Self { dup, qos, retain, topic, id, properties, payload }, hints))
    }

    /// Reads a PUBLISH of MQTT 5 with its fixed header, of which only the flags count, and leaves the
    /// text of the topic to be checked with [`check_topic`].
    ///
    /// # Errors
    ///
    /// The bytes are no such packet.
    ///
    /// [`check_topic`]: super::check_topic
    pub fn decode_whole(packet: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(packet);
        let first = reader.u8()?;
        let body = reader.sub()?.rest();
        Self::decode_header(Version::V5, first, body, body.len()).map(|(publish, _)| publish)
    }

    /// Appends all that comes before the payload, and announces a payload of `payload_len` bytes. `alias` is
    /// a Topic Alias that is not among the properties.
    ///
    /// # Panics
    ///
    /// The QoS is 1 or 2, and there is no packet identifier.
    #[inline]
    pub fn encode_header(
        &self,
        version: Version,
        alias: Option<u16>,
        payload_len: usize,
        out: &mut Vec<u8>,
    ) {
        let length = self.length(version, alias, payload_len);
        let flags = flag(self.dup, Self::DUP)
            | (self.qos as u8) << Self::QOS_SHIFT
            | flag(self.retain, Self::RETAIN);
        out.reserve(1 + 4 + length - payload_len);
        out.push(PacketType::Publish.first_byte() | flags);
        wire::put_varint(length, out);
        put_binary(self.topic, out);
        if self.qos != QoS::AtMostOnce {
            let id = self.id.expect("a PUBLISH with QoS 1 or 2 has a packet identifier");
            put_u16(id.get(), out);
        }
        if version == Version::V5 {
            wire::put_varint(self.properties_len(alias), out);
            out.extend_from_slice(self.properties.as_bytes());
            if let Some(alias) = alias {
                let [high, low] = alias.to_be_bytes();
                out.extend_from_slice(&[Property::TopicAlias as u8, high, low]);
            }
        }
    }

    /// Returns the size of the whole packet in bytes. The arguments are those of [`Publish::encode_header`].
    #[inline]
    pub fn size(&self, version: Version, alias: Option<u16>, payload_len: usize) -> usize {
        let length = self.length(version, alias, payload_len);
        1 + wire::varint_size(length) + length
    }

    #[inline]
    fn length(&self, version: Version, alias: Option<u16>, payload_len: usize) -> usize {
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = match version {
            Version::V311 => 0,
            Version::V5 => {
                let len = self.properties_len(alias);
                wire::varint_size(len) + len
            }
        };
        2 + self.topic.len() + id + properties + payload_len
    }

    #[inline]
    fn properties_len(&self, alias: Option<u16>) -> usize {
        self.properties.as_bytes().len() + if alias.is_some() { 3 } else { 0 }
    }
}

/// Whether the packet is a PUBLISH whose body is there up to the payload.
#[inline]
pub(super) fn header_is_whole(version: Version, first: u8, body: &[u8]) -> bool {
    let read = || {
        let mut reader = Reader::new(body);
        reader.binary()?;
        if first >> Publish::QOS_SHIFT & 3 != 0 {
            reader.u16()?;
        }
        if version == Version::V5 {
            reader.sub()?;
        }
        Ok::<_, DecodeError>(())
    };
    first >> 4 == PacketType::Publish as u8 && read().is_ok()
}
