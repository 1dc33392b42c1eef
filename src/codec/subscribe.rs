//! SUBSCRIBE, UNSUBSCRIBE and their answers (3.8 to 3.11).

use alloc::vec::Vec;

use super::packet::{UNLISTED_REASON, decode_id, decode_properties, flag, put_properties};
use super::properties::Properties;
use super::topic::{FilterParts, parse_filter};
use super::wire::{self, Reader, put_binary, put_u16};
use super::{DecodeError, PacketId, PacketSet, PacketType, QoS, ReasonCode, Version};

/// SUBSCRIBE (3.8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    /// The packet identifier.
    pub id: PacketId,
    /// The properties.
    pub properties: Properties<'a>,
    /// The topic filters with their options, one at least.
    pub filters: Filters<'a>,
}

/// The Subscription Options of a topic filter (3.8.3.1). MQTT 3.1.1 has only the QoS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SubscribeOptions {
    /// The highest QoS with which the server sends messages.
    pub qos: QoS,
    /// Whether the server leaves out messages that this client published.
    pub no_local: bool,
    /// Whether messages keep the RETAIN flag that they were published with.
    pub retain_as_published: bool,
    /// When the server sends retained messages: 0 at each SUBSCRIBE, 1 only if the subscription is new,
    /// 2 never.
    pub retain_handling: u8,
}

impl SubscribeOptions {
    const NO_LOCAL: u8 = 0x04;
    const RETAIN_AS_PUBLISHED: u8 = 0x08;
    const RETAIN_HANDLING_SHIFT: u8 = 4;

    /// Reads the byte that follows a filter in SUBSCRIBE.
    ///
    /// # Errors
    ///
    /// A reserved bit is set, or the QoS or the retain handling is 3.
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
    pub(super) fn decode(version: Version, mut body: Reader<'a>) -> Result<Self, DecodeError> {
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

/// The topic filters of a SUBSCRIBE with their options, in their order. All of them are valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filters<'a>(Reader<'a>);

impl<'a> Iterator for Filters<'a> {
    type Item = (&'a str, SubscribeOptions);

    fn next(&mut self) -> Option<Self::Item> {
        let filter = self.0.text().ok()?;
        // The bits that are reserved in 3.1.1 were checked: they are 0.
        Some((filter, SubscribeOptions::decode(Version::V5, self.0.u8().ok()?).ok()?))
    }
}

/// Appends a SUBSCRIBE. Of the options, 3.1.1 sends only the QoS.
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

/// UNSUBSCRIBE (3.10).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// The packet identifier.
    pub id: PacketId,
    /// The properties.
    pub properties: Properties<'a>,
    /// The topic filters, one at least.
    pub filters: FilterNames<'a>,
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn decode(version: Version, mut body: Reader<'a>) -> Result<Self, DecodeError> {
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

/// The topic filters of an UNSUBSCRIBE, in their order. All of them are valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterNames<'a>(Reader<'a>);

impl<'a> Iterator for FilterNames<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.text().ok()
    }
}

/// Appends an UNSUBSCRIBE.
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

/// SUBACK and UNSUBACK (3.9, 3.11).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubAck<'a> {
    /// The identifier of the SUBSCRIBE or UNSUBSCRIBE.
    pub id: PacketId,
    /// One reason code for each filter. 3.1.1 has the codes 0, 1, 2 and 0x80 in SUBACK, and none in
    /// UNSUBACK.
    pub codes: &'a [u8],
    /// The properties.
    pub properties: Properties<'a>,
}

impl<'a> SubAck<'a> {
    pub(super) fn decode(
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

fn decode_filter<'a>(body: &mut Reader<'a>) -> Result<FilterParts<'a>, DecodeError> {
    Ok(parse_filter(body.text()?)?)
}

const NO_FILTER: DecodeError = DecodeError::protocol("no topic filter");
