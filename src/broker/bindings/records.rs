//! What crosses the boundary as whole objects. Names are those of the public API.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::super::{BrokerOptions, ClientInfo, Direction, InvalidRequest, LoggedPacket, Message};
use crate::codec::{
    Packet, PacketSet, Properties, PropertiesBuf, Property, QoS, SubscribeOptions, Value, Version,
    check_text,
};
use crate::session::Instant;

/// Bytes, as a Uint8Array.
#[derive(Clone, Default)]
pub(super) struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }

        deserializer.deserialize_byte_buf(Reader)
    }
}

// ---------------------------------------------------------------------------------------------- what comes in

/// TestBrokerOptions; users as pairs.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OptionsInput {
    versions: Option<Vec<u8>>,
    users: Option<Vec<(String, String)>>,
    receive_maximum: Option<u16>,
    maximum_packet_size: Option<u32>,
    #[serde(rename = "maximumQoS")]
    maximum_qos: Option<u8>,
    topic_alias_maximum: Option<u16>,
    retain_available: Option<bool>,
}

impl TryFrom<OptionsInput> for BrokerOptions {
    type Error = InvalidRequest;

    fn try_from(input: OptionsInput) -> Result<Self, InvalidRequest> {
        let mut options = Self::default();
        if let Some(versions) = input.versions {
            let version = |number| match number {
                4 => Ok(Version::V311),
                5 => Ok(Version::V5),
                _ => Err(InvalidRequest::new("versions", "must hold 4, 5 or both")),
            };
            options.versions = versions.into_iter().map(version).collect::<Result<_, _>>()?;
        }
        if let Some(users) = input.users {
            let user = |(name, password): (String, String)| (name, password.into_bytes());
            options.users = users.into_iter().map(user).collect();
        }
        if let Some(maximum) = input.maximum_qos {
            let error = InvalidRequest::new("maximumQoS", "must be 0, 1 or 2");
            options.maximum_qos = QoS::from_bits(maximum).ok_or(error)?;
        }
        options.receive_maximum = input.receive_maximum.unwrap_or(options.receive_maximum);
        options.maximum_packet_size =
            input.maximum_packet_size.unwrap_or(options.maximum_packet_size);
        options.topic_alias_maximum =
            input.topic_alias_maximum.unwrap_or(options.topic_alias_maximum);
        options.retain_available = input.retain_available.unwrap_or(options.retain_available);
        Ok(options)
    }
}

/// What the test publishes.
#[derive(serde::Deserialize)]
pub(super) struct MessageInput {
    pub topic: String,
    pub payload: Bytes,
    qos: u8,
    pub retain: bool,
    pub properties: PropertiesInput,
}

impl MessageInput {
    pub(super) fn qos(&self) -> Result<QoS, InvalidRequest> {
        QoS::from_bits(self.qos).ok_or(InvalidRequest::new("qos", "must be 0, 1 or 2"))
    }
}

/// PublishProperties; user properties as pairs.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PropertiesInput {
    payload_format_indicator: Option<u8>,
    message_expiry_interval: Option<u32>,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation_data: Option<Bytes>,
    #[serde(default)]
    user_properties: Vec<(String, String)>,
}

impl PropertiesInput {
    /// The block, if it may stand in a PUBLISH.
    pub(super) fn block(&self) -> Result<PropertiesBuf, InvalidRequest> {
        let texts = [&self.content_type, &self.response_topic].into_iter().flatten();
        let pairs = self.user_properties.iter().flat_map(|(name, value)| [name, value]);
        let is_long = self.correlation_data.as_ref().is_some_and(|data| data.0.len() > 0xFFFF);
        if is_long || texts.chain(pairs).any(|text| check_text(text).is_err()) {
            return Err(UNFIT);
        }
        let mut block = PropertiesBuf::default();
        if let Some(indicator) = self.payload_format_indicator {
            block.push(Property::PayloadFormatIndicator, Value::Byte(indicator));
        }
        if let Some(expiry) = self.message_expiry_interval {
            block.push(Property::MessageExpiryInterval, Value::Four(expiry));
        }
        if let Some(text) = &self.content_type {
            block.push(Property::ContentType, Value::Text(text));
        }
        if let Some(topic) = &self.response_topic {
            block.push(Property::ResponseTopic, Value::Text(topic));
        }
        if let Some(data) = &self.correlation_data {
            block.push(Property::CorrelationData, Value::Binary(&data.0));
        }
        for (name, value) in &self.user_properties {
            block.push(Property::UserProperty, Value::Pair(name, value));
        }
        match Properties::decode(PacketSet::PUBLISH, block.borrow().as_bytes()) {
            Ok(_) => Ok(block),
            Err(_) => Err(UNFIT),
        }
    }
}

const UNFIT: InvalidRequest =
    InvalidRequest::new("properties", "hold a value that no PUBLISH can carry");

/// What `deny` takes.
#[derive(serde::Deserialize)]
pub(super) struct RuleInput {
    pub publish: Option<String>,
    pub subscribe: Option<String>,
}

/// What `expect` waits for.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pattern {
    pub r#type: String,
    pub client_id: Option<String>,
    /// A topic, or a filter that it matches.
    pub topic: Option<String>,
    /// Packets with smaller numbers have been looked at.
    #[serde(skip)]
    pub seen: u64,
}

// ---------------------------------------------------------------------------------------------- what goes out

#[derive(serde::Serialize)]
pub(super) struct TransmitRecord {
    pub connection: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<&'static str>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientRecord {
    client_id: String,
    connected: bool,
    subscriptions: Vec<String>,
}

impl From<ClientInfo> for ClientRecord {
    fn from(client: ClientInfo) -> Self {
        Self {
            client_id: client.client_id.to_string(),
            connected: client.connected,
            subscriptions: client.subscriptions.iter().map(ToString::to_string).collect(),
        }
    }
}

#[derive(serde::Serialize)]
pub(super) struct MessageRecord {
    topic: String,
    payload: Bytes,
    qos: u8,
    retain: bool,
    properties: PropertiesRecord,
}

impl MessageRecord {
    pub(super) fn new(message: &Message, now: Instant) -> Self {
        Self {
            topic: message.topic.to_string(),
            payload: Bytes(message.payload.to_vec()),
            qos: message.qos as u8,
            retain: message.retain,
            properties: PropertiesRecord(message.properties_at(now, &[])),
        }
    }
}

/// Properties by their names in the API; those that may repeat as lists.
pub(super) struct PropertiesRecord(PropertiesBuf);

impl Serialize for PropertiesRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let properties = self.0.borrow();
        let mut map = serializer.serialize_map(None)?;
        for (property, value) in properties.iter() {
            let name = property.api_name();
            match value {
                Value::Byte(number) => map.serialize_entry(name, &number)?,
                Value::Two(number) => map.serialize_entry(name, &number)?,
                Value::Four(number) => map.serialize_entry(name, &number)?,
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Binary(bytes) => map.serialize_entry(name, &Bytes(bytes.to_vec()))?,
                Value::Varint(_) | Value::Pair(..) => {}
            }
        }
        let identifiers: Vec<u32> =
            properties.subscription_ids().map(|identifier| identifier.get()).collect();
        if !identifiers.is_empty() {
            map.serialize_entry("subscriptionIdentifiers", &identifiers)?;
        }
        let pairs: Vec<(&str, &str)> = properties.user_properties().collect();
        if !pairs.is_empty() {
            map.serialize_entry("userProperties", &pairs)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct FilterRecord {
    filter: String,
    qos: u8,
    no_local: bool,
    retain_as_published: bool,
    retain_handling: u8,
}

impl From<(&str, SubscribeOptions)> for FilterRecord {
    fn from((filter, options): (&str, SubscribeOptions)) -> Self {
        Self {
            filter: filter.to_owned(),
            qos: options.qos as u8,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            retain_handling: options.retain_handling,
        }
    }
}

/// BrokerPacket. What a packet of its type does not have is left out.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PacketRecord {
    number: f64,
    client_id: String,
    direction: &'static str,
    r#type: &'static str,
    protocol_version: u8,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_codes: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dup: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_present: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clean: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keepalive: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    will: Option<MessageRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions: Option<Vec<FilterRecord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<PropertiesRecord>,
}

impl From<&LoggedPacket> for PacketRecord {
    fn from(logged: &LoggedPacket) -> Self {
        let fields = Fields {
            topic: logged.topic.as_ref().map(ToString::to_string),
            ..Fields::of(&logged.packet())
        };
        Self {
            number: logged.number as f64,
            client_id: logged.client_id.to_string(),
            direction: match logged.direction {
                Direction::In => "in",
                Direction::Out => "out",
            },
            r#type: logged.packet_type().name(),
            protocol_version: match logged.version() {
                Version::V311 => 4,
                Version::V5 => 5,
            },
            fields,
        }
    }
}

impl Fields {
    fn of(packet: &Packet<'_>) -> Self {
        let none = Self::default();
        let block = |properties: Properties<'_>| Some(PropertiesRecord(properties.into()));
        match packet {
            Packet::Connect(connect) => Self {
                clean: Some(connect.clean_start),
                keepalive: Some(connect.keep_alive),
                username: connect.username.map(ToOwned::to_owned),
                password: connect.password.map(|password| Bytes(password.to_vec())),
                will: connect.will.as_ref().map(|will| MessageRecord {
                    topic: will.topic.to_owned(),
                    payload: Bytes(will.payload.to_vec()),
                    qos: will.qos as u8,
                    retain: will.retain,
                    properties: PropertiesRecord(will.properties.into()),
                }),
                properties: block(connect.properties),
                ..none
            },
            Packet::ConnAck(connack) => Self {
                session_present: Some(connack.session_present),
                reason_code: Some(connack.reason.0),
                properties: block(connack.properties),
                ..none
            },
            Packet::Publish(publish) => Self {
                packet_id: publish.id.map(|id| id.get()),
                payload: Some(Bytes(publish.payload.to_vec())),
                qos: Some(publish.qos as u8),
                retain: Some(publish.retain),
                dup: Some(publish.dup),
                properties: block(publish.properties),
                ..none
            },
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack) => Self {
                packet_id: Some(ack.id.get()),
                reason_code: Some(ack.reason.0),
                properties: block(ack.properties),
                ..none
            },
            Packet::Subscribe(subscribe) => Self {
                packet_id: Some(subscribe.id.get()),
                subscriptions: Some(subscribe.filters.clone().map(Into::into).collect()),
                properties: block(subscribe.properties),
                ..none
            },
            Packet::Unsubscribe(unsubscribe) => Self {
                packet_id: Some(unsubscribe.id.get()),
                filters: Some(unsubscribe.filters.clone().map(ToOwned::to_owned).collect()),
                properties: block(unsubscribe.properties),
                ..none
            },
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => Self {
                packet_id: Some(ack.id.get()),
                reason_codes: Some(ack.codes.to_vec()),
                properties: block(ack.properties),
                ..none
            },
            Packet::Disconnect(disconnect) => Self {
                reason_code: Some(disconnect.reason.0),
                properties: block(disconnect.properties),
                ..none
            },
            Packet::Auth(auth) => Self {
                reason_code: Some(auth.reason.0),
                properties: block(auth.properties),
                ..none
            },
            Packet::PingReq | Packet::PingResp => none,
        }
    }
}
