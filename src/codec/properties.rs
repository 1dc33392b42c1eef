//! The properties of MQTT 5, from one table (2.2.2.2).

use std::num::NonZeroU32;

use super::wire::{self, Reader};
use super::{DecodeError, PacketSet, ReasonCode, topic};

macro_rules! properties {
    ($($id:literal $name:ident $kind:ident $($place:ident)|+;)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Property {
            $($name = $id,)*
        }

        const TABLE: [Option<Rule>; 0x2B] = {
            let mut table = [const { None }; 0x2B];
            $(table[$id] = Some(Rule { property: Property::$name, kind: Kind::$kind, places: PacketSet::EMPTY$(.union(PacketSet::$place))+ });)*
            table
        };
    };
}

properties! {
    0x01 PayloadFormatIndicator Byte PUBLISH | WILL;
    0x02 MessageExpiryInterval Four PUBLISH | WILL;
    0x03 ContentType Text PUBLISH | WILL;
    0x08 ResponseTopic Text PUBLISH | WILL;
    0x09 CorrelationData Binary PUBLISH | WILL;
    0x0B SubscriptionIdentifier Varint PUBLISH | SUBSCRIBE;
    0x11 SessionExpiryInterval Four CONNECT | CONNACK | DISCONNECT;
    0x12 AssignedClientIdentifier Text CONNACK;
    0x13 ServerKeepAlive Two CONNACK;
    0x15 AuthenticationMethod Text CONNECT | CONNACK | AUTH;
    0x16 AuthenticationData Binary CONNECT | CONNACK | AUTH;
    0x17 RequestProblemInformation Byte CONNECT;
    0x18 WillDelayInterval Four WILL;
    0x19 RequestResponseInformation Byte CONNECT;
    0x1A ResponseInformation Text CONNACK;
    0x1C ServerReference Text CONNACK | DISCONNECT;
    0x1F ReasonString Text CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH;
    0x21 ReceiveMaximum Two CONNECT | CONNACK;
    0x22 TopicAliasMaximum Two CONNECT | CONNACK;
    0x23 TopicAlias Two PUBLISH;
    0x24 MaximumQos Byte CONNACK;
    0x25 RetainAvailable Byte CONNACK;
    0x26 UserProperty Pair CONNECT | CONNACK | PUBLISH | WILL | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBSCRIBE | SUBACK
        | UNSUBSCRIBE | UNSUBACK | DISCONNECT | AUTH;
    0x27 MaximumPacketSize Four CONNECT | CONNACK;
    0x28 WildcardSubscriptionAvailable Byte CONNACK;
    0x29 SubscriptionIdentifierAvailable Byte CONNACK;
    0x2A SharedSubscriptionAvailable Byte CONNACK;
}

/// A line of the table: how the value is written, and the places that may hold it.
#[derive(Clone, Copy)]
struct Rule {
    property: Property,
    kind: Kind,
    places: PacketSet,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Byte,
    Two,
    Four,
    Varint,
    Text,
    Binary,
    Pair,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    Byte(u8),
    Two(u16),
    Four(u32),
    Varint(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

/// A Subscription Identifier (3.8.2.1.2): a number from 1 to 268,435,455 that the client gives with a
/// SUBSCRIBE and that the server sends with each message it sends because of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The largest Subscription Identifier.
    pub const MAX: u32 = 268_435_455;

    /// Makes a Subscription Identifier of a number. Returns `None` for 0 and above [`SubscriptionId::MAX`].
    #[inline]
    pub const fn new(id: u32) -> Option<Self> {
        match NonZeroU32::new(id) {
            Some(number) if id <= Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// Returns the number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

/// The property block of one packet, without its length: well formed by construction, in the order of the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    pub const EMPTY: Self = Self(&[]);

    /// Checks a block (without its length) that stands in `place`.
    pub fn decode(place: PacketSet, block: &'a [u8]) -> Result<Self, DecodeError> {
        Self::walk(place, block).map(|_| Self(block))
    }

    /// Reads the block behind its length.
    pub(super) fn read(place: PacketSet, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::decode(place, reader.sub()?.rest())
    }

    /// Reads the block of a PUBLISH, and notes what is met there.
    #[inline]
    pub(super) fn read_publish(reader: &mut Reader<'a>) -> Result<(Self, Met), DecodeError> {
        let block = reader.sub()?.rest();
        let met =
            if block.is_empty() { Met::default() } else { Self::walk(PacketSet::PUBLISH, block)? };
        Ok((Self(block), met))
    }

    fn walk(place: PacketSet, block: &'a [u8]) -> Result<Met, DecodeError> {
        let mut met = Met::default();
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let rule = read_rule(&mut reader)?;
            if !rule.places.intersects(place) {
                return Err(DecodeError::malformed("property in the wrong packet"));
            }
            let repeats = rule.property == Property::UserProperty
                || (rule.property == Property::SubscriptionIdentifier
                    && place == PacketSet::PUBLISH);
            if met.has(rule.property) && !repeats {
                return Err(DecodeError::protocol("property twice"));
            }
            met.properties |= 1 << rule.property as u8;
            match (rule.property, read_value(rule.kind, &mut reader)?) {
                // Every property of one byte is a yes or no.
                (_, Value::Byte(2..)) => {
                    return Err(DecodeError::protocol("property neither 0 nor 1"));
                }
                (Property::ReceiveMaximum, Value::Two(0))
                | (Property::MaximumPacketSize, Value::Four(0))
                | (Property::SubscriptionIdentifier, Value::Varint(0)) => {
                    return Err(DecodeError::protocol("property is 0"));
                }
                (Property::SubscriptionIdentifier, _) => met.subscription_ids += 1,
                (Property::TopicAlias, Value::Two(alias)) => met.topic_alias = alias,
                (Property::ResponseTopic, Value::Text(name))
                    if topic::check_topic(name.as_bytes()).is_err() =>
                {
                    return Err(DecodeError::protocol("response topic is no topic name"));
                }
                _ => (),
            }
        }
        if met.has(Property::TopicAlias) && met.topic_alias == 0 {
            return Err(DecodeError {
                reason: ReasonCode::TOPIC_ALIAS_INVALID,
                what: "topic alias 0",
            });
        }
        if met.has(Property::AuthenticationData) && !met.has(Property::AuthenticationMethod) {
            return Err(DecodeError::protocol("authentication data without a method"));
        }
        Ok(met)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    pub fn iter(&self) -> Iter<'a> {
        Iter(Reader::new(self.0))
    }

    /// The value of the first such property.
    pub fn get(&self, property: Property) -> Option<Value<'a>> {
        self.iter().find(|(name, _)| *name == property).map(|(_, value)| value)
    }

    /// An integer of any size.
    pub fn u32(&self, property: Property) -> Option<u32> {
        match self.get(property)? {
            Value::Byte(value) => Some(value.into()),
            Value::Two(value) => Some(value.into()),
            Value::Four(value) | Value::Varint(value) => Some(value),
            _ => None,
        }
    }

    pub fn text(&self, property: Property) -> Option<&'a str> {
        match self.get(property)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn binary(&self, property: Property) -> Option<&'a [u8]> {
        match self.get(property)? {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.iter().filter_map(|(_, value)| match value {
            Value::Pair(name, value) => Some((name, value)),
            _ => None,
        })
    }

    /// Returns the Subscription Identifiers, in their order.
    pub fn subscription_ids(&self) -> impl Iterator<Item = SubscriptionId> + use<'a> {
        self.iter().filter_map(|(_, value)| match value {
            Value::Varint(id) => SubscriptionId::new(id),
            _ => None,
        })
    }
}

/// What the walk over a block met: a bit per property, and what the hot path asks of a PUBLISH.
#[derive(Default)]
pub(super) struct Met {
    properties: u64,
    topic_alias: u16,
    pub subscription_ids: usize,
}

impl Met {
    fn has(&self, property: Property) -> bool {
        self.properties & (1 << property as u8) != 0
    }

    #[inline]
    pub fn topic_alias(&self) -> Option<u16> {
        (self.topic_alias != 0).then_some(self.topic_alias)
    }

    /// No property but Subscription Identifiers and a Topic Alias.
    #[inline]
    pub fn only_identifiers(&self) -> bool {
        self.properties
            & !(1 << Property::SubscriptionIdentifier as u8 | 1 << Property::TopicAlias as u8)
            == 0
    }
}

#[derive(Clone)]
pub struct Iter<'a>(Reader<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = (Property, Value<'a>);

    // The block was checked, so an error is the end. One copy for all that look for a property.
    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        let rule = read_rule(&mut self.0).ok()?;
        Some((rule.property, read_value(rule.kind, &mut self.0).ok()?))
    }
}

fn read_rule(reader: &mut Reader) -> Result<Rule, DecodeError> {
    let id = reader.varint()? as usize;
    TABLE.get(id).copied().flatten().ok_or(DecodeError::malformed("unknown property"))
}

fn read_value<'a>(kind: Kind, reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    Ok(match kind {
        Kind::Byte => Value::Byte(reader.u8()?),
        Kind::Two => Value::Two(reader.u16()?),
        Kind::Four => Value::Four(reader.u32()?),
        Kind::Varint => Value::Varint(reader.varint()?),
        Kind::Text => Value::Text(reader.text()?),
        Kind::Binary => Value::Binary(reader.binary()?),
        Kind::Pair => Value::Pair(reader.text()?, reader.text()?),
    })
}

/// A property block that is being built.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct PropertiesBuf(Vec<u8>);

impl PropertiesBuf {
    /// Appends a property. The caller gives a value of its type; text passes [`check_text`], binary data has at most 65,535 bytes.
    pub fn push(&mut self, property: Property, value: Value) {
        debug_assert!(TABLE[property as usize].is_some_and(|rule| rule.kind == value.kind()));
        let out = &mut self.0;
        out.push(property as u8);
        match value {
            Value::Byte(value) => out.push(value),
            Value::Two(value) => wire::put_u16(value, out),
            Value::Four(value) => out.extend_from_slice(&value.to_be_bytes()),
            Value::Varint(value) => wire::put_varint(value as usize, out),
            Value::Text(text) => wire::put_binary(text.as_bytes(), out),
            Value::Binary(bytes) => wire::put_binary(bytes, out),
            Value::Pair(name, value) => {
                wire::put_binary(name.as_bytes(), out);
                wire::put_binary(value.as_bytes(), out);
            }
        }
    }

    /// Drops every such property.
    pub fn remove(&mut self, property: Property) {
        let before = std::mem::take(&mut self.0);
        for (name, value) in Properties(&before).iter().filter(|(name, _)| *name != property) {
            self.push(name, value);
        }
    }

    pub fn borrow(&self) -> Properties<'_> {
        Properties(&self.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl From<Properties<'_>> for PropertiesBuf {
    fn from(properties: Properties) -> Self {
        Self(properties.0.into())
    }
}

impl Value<'_> {
    fn kind(&self) -> Kind {
        match self {
            Value::Byte(_) => Kind::Byte,
            Value::Two(_) => Kind::Two,
            Value::Four(_) => Kind::Four,
            Value::Varint(_) => Kind::Varint,
            Value::Text(_) => Kind::Text,
            Value::Binary(_) => Kind::Binary,
            Value::Pair(..) => Kind::Pair,
        }
    }
}

/// Whether text fits a string field: at most 65,535 bytes, no U+0000.
pub fn check_text(text: &str) -> Result<(), &'static str> {
    if text.len() > usize::from(u16::MAX) {
        return Err("text of more than 65,535 bytes");
    }
    wire::text(text.as_bytes()).map(|_| ())
}
