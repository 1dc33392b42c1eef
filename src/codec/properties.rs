//! The properties of MQTT 5 (2.2.2), and the table of the specification that describes them.

use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::wire::{self, Reader};
use super::{DecodeError, PacketSet, ReasonCode, topic};

macro_rules! properties {
    ($($id:literal $name:ident $api_name:literal $kind:ident $values:ident
        $(once $($once:ident)|+)? $(many $($many:ident)|+)?;)*) => {
        /// A property (2.2.2.2). The number of the variant is the identifier on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Property {
            $(
                #[doc = concat!("`", $api_name, "`, identifier ", stringify!($id), ".")]
                $name = $id,
            )*
        }

        static TABLE: [Option<Rule>; 0x2B] = {
            let mut table = [const { None }; 0x2B];
            $(table[$id] = Some(Rule {
                api_name: $api_name,
                once: PacketSet::EMPTY$($(.union(PacketSet::$once))+)?,
                many: PacketSet::EMPTY$($(.union(PacketSet::$many))+)?,
                property: Property::$name,
                kind: PropertyType::$kind,
                values: ValueRule::$values,
            });)*
            table
        };
    };
}

// Table 2-4 of the specification: identifier, name, name in the public API, type, which values are
// allowed, and the places where the property may stand once or many times.
properties! {
    0x01 PayloadFormatIndicator "payloadFormatIndicator" Byte ZeroOrOne once PUBLISH | WILL;
    0x02 MessageExpiryInterval "messageExpiryInterval" Four All once PUBLISH | WILL;
    0x03 ContentType "contentType" Text All once PUBLISH | WILL;
    0x08 ResponseTopic "responseTopic" Text TopicName once PUBLISH | WILL;
    0x09 CorrelationData "correlationData" Binary All once PUBLISH | WILL;
    0x0B SubscriptionIdentifier "subscriptionIdentifier" Varint NotZero once SUBSCRIBE many PUBLISH;
    0x11 SessionExpiryInterval "sessionExpiryInterval" Four All once CONNECT | CONNACK | CLIENT_DISCONNECT;
    0x12 AssignedClientIdentifier "assignedClientIdentifier" Text All once CONNACK;
    0x13 ServerKeepAlive "serverKeepAlive" Two All once CONNACK;
    0x15 AuthenticationMethod "authenticationMethod" Text All once CONNECT | CONNACK | AUTH;
    0x16 AuthenticationData "authenticationData" Binary All once CONNECT | CONNACK | AUTH;
    0x17 RequestProblemInformation "requestProblemInformation" Byte ZeroOrOne once CONNECT;
    0x18 WillDelayInterval "willDelayInterval" Four All once WILL;
    0x19 RequestResponseInformation "requestResponseInformation" Byte ZeroOrOne once CONNECT;
    0x1A ResponseInformation "responseInformation" Text All once CONNACK;
    0x1C ServerReference "serverReference" Text All once CONNACK | SERVER_DISCONNECT;
    0x1F ReasonString "reasonString" Text All
        once CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH;
    0x21 ReceiveMaximum "receiveMaximum" Two NotZero once CONNECT | CONNACK;
    0x22 TopicAliasMaximum "topicAliasMaximum" Two All once CONNECT | CONNACK;
    0x23 TopicAlias "topicAlias" Two NotZero once PUBLISH;
    0x24 MaximumQos "maximumQoS" Byte ZeroOrOne once CONNACK;
    0x25 RetainAvailable "retainAvailable" Byte ZeroOrOne once CONNACK;
    0x26 UserProperty "userProperties" Pair All
        many CONNECT | CONNACK | PUBLISH | WILL | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBSCRIBE
            | SUBACK | UNSUBSCRIBE | UNSUBACK | DISCONNECT | AUTH;
    0x27 MaximumPacketSize "maximumPacketSize" Four NotZero once CONNECT | CONNACK;
    0x28 WildcardSubscriptionAvailable "wildcardSubscriptionAvailable" Byte ZeroOrOne once CONNACK;
    0x29 SubscriptionIdentifierAvailable "subscriptionIdentifiersAvailable" Byte ZeroOrOne once CONNACK;
    0x2A SharedSubscriptionAvailable "sharedSubscriptionAvailable" Byte ZeroOrOne once CONNACK;
}

/// A line of the table.
struct Rule {
    api_name: &'static str,
    /// The places that may hold the property once.
    once: PacketSet,
    /// The places that may hold the property any number of times.
    many: PacketSet,
    property: Property,
    kind: PropertyType,
    values: ValueRule,
}

/// How the value of a property is written (1.5).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum PropertyType {
    Byte,
    Two,
    Four,
    Varint,
    Text,
    Binary,
    Pair,
}

/// Which values of its type a property may have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum ValueRule {
    All,
    ZeroOrOne,
    NotZero,
    TopicName,
}

impl Property {
    /// Returns the name of the property in the public API: `receiveMaximum`.
    pub fn api_name(self) -> &'static str {
        self.rule().api_name
    }

    /// Returns the property that has this name in the public API.
    pub fn from_api_name(name: &str) -> Option<Self> {
        TABLE.iter().flatten().find(|rule| rule.api_name == name).map(|rule| rule.property)
    }

    /// Whether the property may stand in one of these places.
    pub fn stands_in(self, places: PacketSet) -> bool {
        self.rule().once.union(self.rule().many).intersects(places)
    }

    pub(crate) fn kind(self) -> PropertyType {
        self.rule().kind
    }

    pub(crate) fn values(self) -> ValueRule {
        self.rule().values
    }

    fn rule(self) -> &'static Rule {
        TABLE[self as usize].as_ref().expect("every property has a line in the table")
    }
}

/// The value of a property, by its type on the wire (1.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// One byte.
    Byte(u8),
    /// A Two Byte Integer.
    Two(u16),
    /// A Four Byte Integer.
    Four(u32),
    /// A Variable Byte Integer, 268,435,455 at most.
    Varint(u32),
    /// A UTF-8 Encoded String.
    Text(&'a str),
    /// Binary Data.
    Binary(&'a [u8]),
    /// A UTF-8 String Pair: a name and a value.
    Pair(&'a str, &'a str),
}

/// A Subscription Identifier (3.8.2.1.2): a number from 1 to 268,435,455. The client gives it with a
/// SUBSCRIBE, and the server sends it with each message that it sends because of that SUBSCRIBE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SubscriptionId(NonZeroU32);

impl SubscriptionId {
    /// The largest Subscription Identifier, as a number.
    pub const MAX: u32 = 268_435_455;

    /// Makes a Subscription Identifier of a number. Returns `None` for 0 and for numbers above
    /// [`SubscriptionId::MAX`].
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

/// The property block of one packet, without its length. It is well formed by construction, and keeps the
/// properties in the order of the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// The block that holds no property.
    pub const EMPTY: Self = Self(&[]);

    /// Checks a block, given without its length, that stands in `place`.
    ///
    /// # Errors
    ///
    /// A property is unknown, in the wrong place, there twice, or has a value that it may not have.
    pub fn decode(place: PacketSet, block: &'a [u8]) -> Result<Self, DecodeError> {
        Self::walk(place, block).map(|_| Self(block))
    }

    /// Reads a block and the length in front of it.
    pub(super) fn read(place: PacketSet, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Self::decode(place, reader.sub()?.rest())
    }

    /// Reads the block of a PUBLISH, and returns what the hot path needs to know of it.
    #[inline]
    pub(super) fn read_publish(reader: &mut Reader<'a>) -> Result<(Self, Summary), DecodeError> {
        let block = reader.sub()?.rest();
        let summary = if block.is_empty() {
            Summary::default()
        } else {
            Self::walk(PacketSet::PUBLISH, block)?
        };
        Ok((Self(block), summary))
    }

    fn walk(place: PacketSet, block: &'a [u8]) -> Result<Summary, DecodeError> {
        let mut summary = Summary::default();
        let mut reader = Reader::new(block);
        while !reader.is_empty() {
            let rule = read_rule(&mut reader)?;
            let many = rule.many.intersects(place);
            if !many && !rule.once.intersects(place) {
                return Err(DecodeError::malformed("property in the wrong packet"));
            }
            if !many && summary.has(rule.property) {
                return Err(DecodeError::protocol("property twice"));
            }
            summary.properties |= 1 << rule.property as u8;
            let value = read_value(rule.kind, &mut reader)?;
            check_value(rule, value)?;
            match (rule.property, value) {
                (Property::SubscriptionIdentifier, _) => summary.subscription_ids += 1,
                (Property::TopicAlias, Value::Two(alias)) => summary.topic_alias = Some(alias),
                _ => (),
            }
        }
        if summary.has(Property::AuthenticationData) && !summary.has(Property::AuthenticationMethod)
        {
            return Err(DecodeError::protocol("authentication data without a method"));
        }
        Ok(summary)
    }

    /// Whether the block holds no property.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the block as it goes on the wire, without its length.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Returns the properties in the order of the wire.
    pub fn iter(&self) -> Iter<'a> {
        Iter(Reader::new(self.0))
    }

    /// Returns the value of the first such property.
    pub fn get(&self, property: Property) -> Option<Value<'a>> {
        self.iter().find(|(name, _)| *name == property).map(|(_, value)| value)
    }

    /// Returns the value of the first such property if it is an integer, of whatever size.
    pub fn u32(&self, property: Property) -> Option<u32> {
        match self.get(property)? {
            Value::Byte(value) => Some(value.into()),
            Value::Two(value) => Some(value.into()),
            Value::Four(value) | Value::Varint(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the value of the first such property if it is text.
    pub fn text(&self, property: Property) -> Option<&'a str> {
        match self.get(property)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the value of the first such property if it is binary data.
    pub fn binary(&self, property: Property) -> Option<&'a [u8]> {
        match self.get(property)? {
            Value::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the names and values of the User Properties, in their order.
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

/// What is noted of a block while it is checked.
#[derive(Default)]
pub(super) struct Summary {
    /// One bit for each property that is there, by its identifier.
    properties: u64,
    pub topic_alias: Option<u16>,
    /// The number of Subscription Identifiers.
    pub subscription_ids: usize,
}

impl Summary {
    fn has(&self, property: Property) -> bool {
        self.properties & (1 << property as u8) != 0
    }

    /// Whether there are no properties besides Subscription Identifiers and a Topic Alias.
    #[inline]
    pub(super) fn is_for_routing_only(&self) -> bool {
        self.properties
            & !(1 << Property::SubscriptionIdentifier as u8 | 1 << Property::TopicAlias as u8)
            == 0
    }
}

/// The properties of a block, in the order of the wire.
#[derive(Clone)]
pub struct Iter<'a>(Reader<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = (Property, Value<'a>);

    // The block was checked, so an error can only mean its end. This is not inlined, so that all who look
    // for a property share one copy.
    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        let rule = read_rule(&mut self.0).ok()?;
        Some((rule.property, read_value(rule.kind, &mut self.0).ok()?))
    }
}

fn read_rule(reader: &mut Reader) -> Result<&'static Rule, DecodeError> {
    let id = reader.varint()? as usize;
    let rule = TABLE.get(id).and_then(Option::as_ref);
    rule.ok_or(DecodeError::malformed("unknown property"))
}

fn read_value<'a>(kind: PropertyType, reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    Ok(match kind {
        PropertyType::Byte => Value::Byte(reader.u8()?),
        PropertyType::Two => Value::Two(reader.u16()?),
        PropertyType::Four => Value::Four(reader.u32()?),
        PropertyType::Varint => Value::Varint(reader.varint()?),
        PropertyType::Text => Value::Text(reader.text()?),
        PropertyType::Binary => Value::Binary(reader.binary()?),
        PropertyType::Pair => Value::Pair(reader.text()?, reader.text()?),
    })
}

fn check_value(rule: &Rule, value: Value) -> Result<(), DecodeError> {
    match (rule.values, value) {
        (ValueRule::ZeroOrOne, Value::Byte(2..)) => {
            Err(DecodeError::protocol("property neither 0 nor 1"))
        }
        (ValueRule::NotZero, Value::Two(0)) if rule.property == Property::TopicAlias => {
            Err(DecodeError { reason: ReasonCode::TOPIC_ALIAS_INVALID, what: "topic alias 0" })
        }
        (ValueRule::NotZero, Value::Two(0) | Value::Four(0) | Value::Varint(0)) => {
            Err(DecodeError::protocol("property is 0"))
        }
        (ValueRule::TopicName, Value::Text(name))
            if topic::check_topic(name.as_bytes()).is_err() =>
        {
            Err(DecodeError::protocol("response topic is no topic name"))
        }
        _ => Ok(()),
    }
}

/// A property block that owns its bytes and can be built property by property.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct PropertiesBuf(Vec<u8>);

impl PropertiesBuf {
    /// Appends a property.
    ///
    /// The caller gives a value of the type of the property, one that the property may have. Text passes
    /// [`check_text`], and binary data has at most 65,535 bytes.
    pub fn push(&mut self, property: Property, value: Value) {
        debug_assert_eq!(property.kind(), value.kind());
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

    /// Removes all properties of this kind.
    pub fn remove(&mut self, property: Property) {
        let before = core::mem::take(&mut self.0);
        for (name, value) in Properties(&before).iter().filter(|(name, _)| *name != property) {
            self.push(name, value);
        }
    }

    /// Returns the block as the packets take it.
    pub fn borrow(&self) -> Properties<'_> {
        Properties(&self.0)
    }

    /// Whether the block holds no property.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all properties.
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
    fn kind(&self) -> PropertyType {
        match self {
            Value::Byte(_) => PropertyType::Byte,
            Value::Two(_) => PropertyType::Two,
            Value::Four(_) => PropertyType::Four,
            Value::Varint(_) => PropertyType::Varint,
            Value::Text(_) => PropertyType::Text,
            Value::Binary(_) => PropertyType::Binary,
            Value::Pair(..) => PropertyType::Pair,
        }
    }
}

/// Checks that a text fits a string field of a packet (1.5.4).
///
/// # Errors
///
/// The text has more than 65,535 bytes, or it contains U+0000. The error says which.
pub fn check_text(text: &str) -> Result<(), &'static str> {
    if text.len() > usize::from(u16::MAX) {
        return Err("text of more than 65,535 bytes");
    }
    wire::text(text.as_bytes()).map(|_| ())
}
