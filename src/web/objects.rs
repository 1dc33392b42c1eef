//! What goes out to JavaScript as objects: events of the life cycle, errors, properties, statistics. Names are those of
//! the public API.

use serde::ser::{Serialize, SerializeMap, Serializer};
use wasm_bindgen::JsValue;

use crate::codec::{Properties, Property, QoS, ReasonCode, Value, Version};
use crate::options::InvalidArgument;
use crate::session::{ConnectInfo, Error, Event, FilterCode, Server, State, Stats, Tap};

fn object(value: &impl Serialize) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_maps_as_objects(true);
    value.serialize(&serializer).unwrap_or(JsValue::UNDEFINED)
}

pub fn event(event: &Event) -> JsValue {
    object(&View(event))
}

pub fn error(error: &Error) -> JsValue {
    object(&View(error))
}

pub fn invalid(invalid: InvalidArgument) -> JsValue {
    object(&View(&invalid))
}

pub fn properties(properties: Properties<'_>) -> JsValue {
    object(&View(properties))
}

/// `since_epoch`: ms between the epoch and the beginning of the session's clock.
pub fn stats(stats: &Stats, since_epoch: f64) -> JsValue {
    object(&View((stats, since_epoch)))
}

/// Serializes as the API shows it.
struct View<T>(T);

/// A map that is written field by field; fields that are not there are left out.
struct Fields<M>(M);

impl<M: SerializeMap> Fields<M> {
    fn put(&mut self, name: &'static str, value: impl Serialize) -> Result<(), M::Error> {
        self.0.serialize_entry(name, &value)
    }

    fn put_some(&mut self, name: &'static str, value: Option<impl Serialize>) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.put(name, value))
    }

    fn put_properties(&mut self, properties: Properties<'_>) -> Result<(), M::Error> {
        for (property, value) in properties.iter() {
            let name = name(property);
            match value {
                Value::Byte(byte) if is_flag(property) => self.put(name, byte == 1)?,
                Value::Byte(number) => self.put(name, number)?,
                Value::Two(number) => self.put(name, number)?,
                Value::Four(number) => self.put(name, number)?,
                Value::Text(text) => self.put(name, text)?,
                Value::Binary(bytes) => self.put(name, Bytes(bytes))?,
                Value::Varint(_) | Value::Pair(..) => {}
            }
        }
        let pairs: Vec<_> = properties.user_properties().collect();
        if !pairs.is_empty() {
            self.put("userProperties", pairs)?;
        }
        let identifiers: Vec<_> = properties.identifiers().collect();
        if !identifiers.is_empty() {
            self.put("subscriptionIdentifiers", identifiers)?;
        }
        Ok(())
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for View<&Event> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        let fields_ = &mut fields;
        let mut begin = |kind: &'static str| fields_.put("type", kind);
        match self.0 {
            Event::State(state) => {
                begin("state")?;
                fields.put("state", state_name(*state))?;
            }
            Event::Connected(info) => {
                begin("connect")?;
                fields.put("info", View(&**info))?;
            }
            Event::ConnectFailed(error) => {
                begin("connectFailed")?;
                fields.put("error", View(&**error))?;
            }
            Event::Disconnected { error, will_reconnect } => {
                begin("disconnect")?;
                fields.put("error", View(&**error))?;
                fields.put("willReconnect", will_reconnect)?;
            }
            Event::Reconnecting {
                attempt,
                delay_ms,
                url,
                error,
            } => {
                begin("reconnecting")?;
                fields.put("attempt", attempt)?;
                fields.put("delay", *delay_ms as f64)?;
                fields.put("url", &**url)?;
                fields.put("error", View(&**error))?;
            }
            Event::Error(error) => {
                begin("error")?;
                fields.put("error", View(&**error))?;
            }
            Event::Closed(error) => {
                begin("close")?;
                fields.put_some("error", error.as_deref().map(View))?;
            }
            Event::Published {
                token,
                reason,
                properties,
            } => {
                begin("published")?;
                fields.put("token", token)?;
                fields.put(
                    "result",
                    View((*reason, properties.as_deref().map_or(Properties::EMPTY, |p| p.borrow()))),
                )?;
            }
            Event::Subscribed { token, handle, grants } => {
                begin("subscribed")?;
                fields.put("token", token)?;
                fields.put("handle", handle)?;
                fields.put("grants", grants_of(grants))?;
            }
            Event::Unsubscribed { token, codes } => {
                begin("unsubscribed")?;
                fields.put("token", token)?;
                fields.put("reasonCodes", codes.iter().map(View).collect::<Vec<_>>())?;
            }
            Event::Inactive { handle, error } => {
                begin("inactive")?;
                fields.put("handle", handle)?;
                fields.put_some("error", error.as_deref().map(View))?;
            }
            Event::Done(token) => {
                begin("done")?;
                fields.put("token", token)?;
            }
            Event::Failed { token, error } => {
                begin("failed")?;
                fields.put("token", token)?;
                fields.put("error", View(&**error))?;
            }
            Event::Packet(tap) => {
                begin("packet")?;
                fields.put("packet", View(tap))?;
            }
            // These go as records.
            Event::Slot { .. } | Event::Message(_) => {}
        }
        fields.0.end()
    }
}

impl Serialize for View<&Error> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(error) = self;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("code", error.code.name())?;
        fields.put("what", error.what)?;
        fields.put("retryable", error.retryable)?;
        fields.put_some("reasonCode", error.reason.map(|reason| reason.0))?;
        fields.put_properties(error.properties.borrow())?;
        fields.put_some("phase", error.phase.map(|phase| phase.name()))?;
        fields.put_some("url", error.url.as_deref())?;
        fields.put_some("closeCode", error.close_code)?;
        fields.put_some("topic", error.topic.as_deref())?;
        fields.put_some("argument", error.argument.as_deref())?;
        if let Some((size, limit)) = error.size {
            fields.put("size", size)?;
            fields.put("limit", limit)?;
        }
        if !error.filters.is_empty() {
            fields.put("grants", grants_of(&error.filters))?;
            fields.put("reasonCodes", error.filters.iter().map(View).collect::<Vec<_>>())?;
        }
        fields.0.end()
    }
}

impl Serialize for View<&InvalidArgument> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("argument", &*self.0.argument)?;
        fields.put("message", self.0.message)?;
        fields.0.end()
    }
}

impl Serialize for View<&ConnectInfo> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(info) = self;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("sessionPresent", info.session_present)?;
        fields.put("clientId", &*info.client_id)?;
        fields.put("url", &*info.url)?;
        fields.put("reconnect", info.reconnect)?;
        fields.put("server", View((&info.server, info.properties.borrow())))?;
        fields.put("properties", View(info.properties.borrow()))?;
        fields.0.end()
    }
}

impl Serialize for View<(&Server, Properties<'_>)> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self((server, properties)) = self;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("protocolVersion", if server.version == Version::V5 { 5 } else { 4 })?;
        fields.put("keepalive", server.keep_alive)?;
        fields.put("sessionExpiryInterval", server.session_expiry)?;
        fields.put("receiveMaximum", server.receive_maximum)?;
        fields.put("maximumPacketSize", server.maximum_packet_size)?;
        fields.put("maximumQoS", server.maximum_qos as u8)?;
        fields.put("topicAliasMaximum", server.topic_alias_maximum)?;
        fields.put("retainAvailable", server.retain)?;
        fields.put("wildcardSubscriptionAvailable", server.wildcards)?;
        fields.put("subscriptionIdentifiersAvailable", server.identifiers)?;
        fields.put("sharedSubscriptionAvailable", server.shared)?;
        for property in [
            Property::ResponseInformation,
            Property::ServerReference,
            Property::ReasonString,
        ] {
            fields.put_some(name(property), properties.text(property))?;
        }
        fields.put("userProperties", properties.user_properties().collect::<Vec<_>>())?;
        fields.0.end()
    }
}

impl Serialize for View<Properties<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put_properties(self.0)?;
        fields.0.end()
    }
}

impl Serialize for View<(ReasonCode, Properties<'_>)> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("reasonCode", self.0.0.0)?;
        fields.put_properties(self.0.1)?;
        fields.0.end()
    }
}

impl Serialize for View<&FilterCode> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("filter", &*self.0.filter)?;
        fields.put("reasonCode", self.0.code.0)?;
        fields.0.end()
    }
}

/// How a filter of a Subscription was granted.
struct Grant<'a>(&'a FilterCode);

fn grants_of(codes: &[FilterCode]) -> Vec<Grant<'_>> {
    codes.iter().map(Grant).collect()
}

impl Serialize for Grant<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let granted = !self.0.code.is_error();
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("filter", &*self.0.filter)?;
        fields.put("granted", granted)?;
        fields.put_some(
            "qos",
            QoS::from_bits(self.0.code.0).filter(|_| granted).map(|qos| qos as u8),
        )?;
        fields.put("reasonCode", self.0.code.0)?;
        fields.0.end()
    }
}

impl Serialize for View<&Tap> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(tap) = self;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("direction", if tap.outgoing { "out" } else { "in" })?;
        fields.put("type", tap.kind)?;
        fields.put("bytes", tap.bytes)?;
        fields.put_some("packetId", (tap.id != 0).then_some(tap.id))?;
        fields.put_some("topic", tap.topic.as_deref())?;
        fields.put_some("reasonCode", tap.reason.map(|reason| reason.0))?;
        fields.0.end()
    }
}

impl Serialize for View<(&Stats, f64)> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self((stats, since_epoch)) = self;
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("bytesSent", stats.bytes_sent as f64)?;
        fields.put("bytesReceived", stats.bytes_received as f64)?;
        fields.put("packetsSent", stats.packets_sent as f64)?;
        fields.put("packetsReceived", stats.packets_received as f64)?;
        fields.put("messagesSent", stats.messages_sent as f64)?;
        fields.put("messagesReceived", stats.messages_received as f64)?;
        fields.put("inFlightOut", stats.in_flight_out)?;
        fields.put("inFlightIn", stats.in_flight_in)?;
        fields.put("queuedMessages", stats.queued_messages)?;
        fields.put("queuedBytes", stats.queued_bytes as f64)?;
        fields.put("droppedMessages", stats.dropped_messages as f64)?;
        fields.put("subscriptions", stats.subscriptions)?;
        fields.put("connections", stats.connections)?;
        let epoch_ms = |since: crate::session::Instant| (since.0 as f64 / 1_000.0 + since_epoch).round();
        fields.put_some("connectedSince", stats.connected_since.map(epoch_ms))?;
        fields.put_some("roundTrip", stats.round_trip.map(|us| us as f64 / 1_000.0))?;
        fields.0.end()
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Waiting => "waiting",
        State::Closing => "closing",
        State::Closed => "closed",
    }
}

fn is_flag(property: Property) -> bool {
    use Property::*;
    matches!(
        property,
        RetainAvailable | WildcardSubscriptionAvailable | SubscriptionIdentifierAvailable | SharedSubscriptionAvailable
    )
}

/// The names of the public API, in the order of the specification.
fn name(property: Property) -> &'static str {
    match property {
        Property::PayloadFormatIndicator => "payloadFormatIndicator",
        Property::MessageExpiryInterval => "messageExpiryInterval",
        Property::ContentType => "contentType",
        Property::ResponseTopic => "responseTopic",
        Property::CorrelationData => "correlationData",
        Property::SubscriptionIdentifier => "subscriptionIdentifiers",
        Property::SessionExpiryInterval => "sessionExpiryInterval",
        Property::AssignedClientIdentifier => "assignedClientIdentifier",
        Property::ServerKeepAlive => "serverKeepAlive",
        Property::AuthenticationMethod => "authenticationMethod",
        Property::AuthenticationData => "authenticationData",
        Property::RequestProblemInformation => "requestProblemInformation",
        Property::WillDelayInterval => "willDelayInterval",
        Property::RequestResponseInformation => "requestResponseInformation",
        Property::ResponseInformation => "responseInformation",
        Property::ServerReference => "serverReference",
        Property::ReasonString => "reasonString",
        Property::ReceiveMaximum => "receiveMaximum",
        Property::TopicAliasMaximum => "topicAliasMaximum",
        Property::TopicAlias => "topicAlias",
        Property::MaximumQos => "maximumQoS",
        Property::RetainAvailable => "retainAvailable",
        Property::UserProperty => "userProperties",
        Property::MaximumPacketSize => "maximumPacketSize",
        Property::WildcardSubscriptionAvailable => "wildcardSubscriptionAvailable",
        Property::SubscriptionIdentifierAvailable => "subscriptionIdentifiersAvailable",
        Property::SharedSubscriptionAvailable => "sharedSubscriptionAvailable",
    }
}
