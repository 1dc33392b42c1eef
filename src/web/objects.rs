//! What goes out to JavaScript as objects: events of the life cycle, errors, properties, statistics. Names are those of
//! the public API.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use wasm_bindgen::JsValue;

use crate::codec::{Properties, Property, QoS, ReasonCode, Value, Version};
use crate::options::InvalidArgument;
use crate::session::{
    ConnectInfo, Error, Event, FilterCode, Instant, ServerInfo, State, Stats, Tap,
};

/// A value as JavaScript gets it. One type for everything, so that serialization is compiled once.
enum Item<'a> {
    Flag(bool),
    Number(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(Vec<Item<'a>>),
    Object(Object<'a>),
}

/// Fields in their order; what is not there is left out.
#[derive(Default)]
struct Object<'a>(Vec<(&'static str, Item<'a>)>);

impl<'a> Object<'a> {
    fn put(&mut self, name: &'static str, item: Item<'a>) {
        self.0.push((name, item));
    }

    fn flag(&mut self, name: &'static str, flag: bool) {
        self.put(name, Item::Flag(flag));
    }

    fn number(&mut self, name: &'static str, number: f64) {
        self.put(name, Item::Number(number));
    }

    fn count(&mut self, name: &'static str, number: u32) {
        self.number(name, f64::from(number));
    }

    fn text(&mut self, name: &'static str, text: &'a str) {
        self.put(name, Item::Text(text));
    }

    fn code(&mut self, name: &'static str, reason: Option<ReasonCode>) {
        if let Some(reason) = reason {
            self.count(name, reason.0.into());
        }
    }

    fn error(&mut self, error: &'a Error) {
        self.put("error", Item::Object(error_object(error)));
    }

    fn properties(&mut self, properties: Properties<'a>) {
        for (property, value) in properties.iter() {
            let name = property.api_name();
            match value {
                Value::Byte(byte) if is_flag(property) => self.flag(name, byte == 1),
                Value::Byte(number) => self.count(name, number.into()),
                Value::Two(number) => self.count(name, number.into()),
                Value::Four(number) => self.count(name, number),
                Value::Text(text) => self.text(name, text),
                Value::Binary(bytes) => self.put(name, Item::Bytes(bytes)),
                // These may repeat.
                Value::Varint(_) | Value::Pair(..) => {}
            }
        }
        let pairs = user_properties(properties);
        if !pairs.is_empty() {
            self.put("userProperties", Item::List(pairs));
        }
        let identifiers: Vec<_> =
            properties.subscription_ids().map(|id| Item::Number(id.get().into())).collect();
        if !identifiers.is_empty() {
            self.put("subscriptionIdentifiers", Item::List(identifiers));
        }
    }

    fn to_js(&self) -> JsValue {
        let serializer = serde_wasm_bindgen::Serializer::new().serialize_maps_as_objects(true);
        self.serialize(&serializer).unwrap_or(JsValue::UNDEFINED)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, item) in &self.0 {
            map.serialize_entry(name, item)?;
        }
        map.end()
    }
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

fn user_properties<'a>(properties: Properties<'a>) -> Vec<Item<'a>> {
    let pair = |(name, value)| Item::List(vec![Item::Text(name), Item::Text(value)]);
    properties.user_properties().map(pair).collect()
}

pub fn event(event: &Event) -> JsValue {
    let mut object = Object::default();
    let kind = match event {
        Event::State(state) => {
            object.text("state", state_name(*state));
            "state"
        }
        Event::Connected(info) => {
            object.put("info", Item::Object(connect_info(info)));
            "connect"
        }
        Event::ConnectFailed(error) => {
            object.error(error);
            "connectFailed"
        }
        Event::Disconnected { error, will_reconnect } => {
            object.error(error);
            object.flag("willReconnect", *will_reconnect);
            "disconnect"
        }
        Event::Reconnecting { attempt, delay_ms, url, error } => {
            object.count("attempt", *attempt);
            object.number("delay", *delay_ms as f64);
            object.text("url", url);
            object.error(error);
            "reconnecting"
        }
        Event::Error(error) => {
            object.error(error);
            "error"
        }
        Event::Closed(error) => {
            if let Some(error) = error {
                object.error(error);
            }
            "close"
        }
        Event::Published { token, reason, properties } => {
            let mut result = Object::default();
            result.code("reasonCode", Some(*reason));
            result.properties(
                properties.as_deref().map_or(Properties::EMPTY, |properties| properties.borrow()),
            );
            object.count("token", token.get());
            object.put("result", Item::Object(result));
            "published"
        }
        Event::Subscribed { token, handle, grants } => {
            object.count("token", token.get());
            object.count("handle", handle.0);
            object.put("grants", filters(grants, true));
            "subscribed"
        }
        Event::Unsubscribed { token, codes } => {
            object.count("token", token.get());
            object.put("reasonCodes", filters(codes, false));
            "unsubscribed"
        }
        Event::Inactive { handle, error } => {
            object.count("handle", handle.0);
            if let Some(error) = error {
                object.error(error);
            }
            "inactive"
        }
        Event::Done(token) => {
            object.count("token", token.get());
            "done"
        }
        Event::Failed { token, error } => {
            object.count("token", token.get());
            object.error(error);
            "failed"
        }
        Event::Packet(tap) => {
            object.put("packet", Item::Object(packet(tap)));
            "packet"
        }
        // These go as records.
        Event::Slot { .. } | Event::Message(_) => return JsValue::UNDEFINED,
    };
    object.text("type", kind);
    object.to_js()
}

pub fn error(error: &Error) -> JsValue {
    error_object(error).to_js()
}

pub fn invalid(invalid: InvalidArgument) -> JsValue {
    let mut object = Object::default();
    object.text("argument", &invalid.argument);
    object.text("message", invalid.message);
    object.to_js()
}

pub fn properties(properties: Properties<'_>) -> JsValue {
    let mut object = Object::default();
    object.properties(properties);
    object.to_js()
}

/// `since_epoch`: ms between the epoch and the beginning of the session's clock.
pub fn stats(stats: &Stats, since_epoch: f64) -> JsValue {
    let mut object = Object::default();
    object.number("bytesSent", stats.bytes_sent as f64);
    object.number("bytesReceived", stats.bytes_received as f64);
    object.number("packetsSent", stats.packets_sent as f64);
    object.number("packetsReceived", stats.packets_received as f64);
    object.number("messagesSent", stats.messages_sent as f64);
    object.number("messagesReceived", stats.messages_received as f64);
    object.count("inFlightOut", stats.in_flight_out);
    object.count("inFlightIn", stats.in_flight_in);
    object.count("queuedMessages", stats.queued_messages);
    object.number("queuedBytes", stats.queued_bytes as f64);
    object.number("droppedMessages", stats.dropped_messages as f64);
    object.count("subscriptions", stats.subscriptions);
    object.count("connections", stats.connections);
    if let Some(Instant(us)) = stats.connected_since {
        object.number("connectedSince", (us as f64 / 1_000.0 + since_epoch).round());
    }
    if let Some(us) = stats.round_trip {
        object.number("roundTrip", us as f64 / 1_000.0);
    }
    object.to_js()
}

fn error_object(error: &Error) -> Object<'_> {
    let mut object = Object::default();
    object.text("code", error.code.name());
    object.text("what", error.what);
    object.flag("retryable", error.retryable);
    object.code("reasonCode", error.reason);
    object.properties(error.properties.borrow());
    if let Some(phase) = error.phase {
        object.text("phase", phase.name());
    }
    if let Some(url) = &error.url {
        object.text("url", url);
    }
    if let Some(code) = error.close_code {
        object.count("closeCode", code.into());
    }
    if let Some(topic) = &error.topic {
        object.text("topic", topic);
    }
    if let Some(argument) = &error.argument {
        object.text("argument", argument);
    }
    if let Some((size, limit)) = error.size {
        object.count("size", size);
        object.count("limit", limit);
    }
    if !error.filters.is_empty() {
        object.put("grants", filters(&error.filters, true));
        object.put("reasonCodes", filters(&error.filters, false));
    }
    object
}

fn connect_info(info: &ConnectInfo) -> Object<'_> {
    let mut object = Object::default();
    object.flag("sessionPresent", info.session_present);
    object.text("clientId", &info.client_id);
    object.text("url", &info.url);
    object.flag("reconnect", info.reconnect);
    object.put("server", Item::Object(server(&info.server, info.properties.borrow())));
    let mut properties = Object::default();
    properties.properties(info.properties.borrow());
    object.put("properties", Item::Object(properties));
    object
}

fn server<'a>(server: &ServerInfo, properties: Properties<'a>) -> Object<'a> {
    let mut object = Object::default();
    object.count("protocolVersion", if server.version == Version::V5 { 5 } else { 4 });
    object.count("keepalive", server.keep_alive.into());
    object.count("sessionExpiryInterval", server.session_expiry);
    object.count("receiveMaximum", server.receive_maximum.into());
    object.count("maximumPacketSize", server.maximum_packet_size);
    object.count("maximumQoS", server.maximum_qos as u32);
    object.count("topicAliasMaximum", server.topic_alias_maximum.into());
    object.flag("retainAvailable", server.retain_available);
    object.flag("wildcardSubscriptionAvailable", server.wildcards_available);
    object.flag("subscriptionIdentifiersAvailable", server.subscription_ids_available);
    object.flag("sharedSubscriptionAvailable", server.shared_available);
    for property in
        [Property::ResponseInformation, Property::ServerReference, Property::ReasonString]
    {
        if let Some(text) = properties.text(property) {
            object.text(property.api_name(), text);
        }
    }
    object.put("userProperties", Item::List(user_properties(properties)));
    object
}

/// How the server answered each filter: as grants of a Subscription, or just the codes.
fn filters(codes: &[FilterCode], grants: bool) -> Item<'_> {
    Item::List(codes.iter().map(|code| Item::Object(filter(code, grants))).collect())
}

fn filter(code: &FilterCode, grant: bool) -> Object<'_> {
    let granted = !code.code.is_error();
    let mut object = Object::default();
    object.text("filter", &code.filter);
    if grant {
        object.flag("granted", granted);
        if granted && let Some(qos) = QoS::from_bits(code.code.0) {
            object.count("qos", qos as u32);
        }
    }
    object.code("reasonCode", Some(code.code));
    object
}

fn packet(tap: &Tap) -> Object<'_> {
    let mut object = Object::default();
    object.text("direction", if tap.outgoing { "out" } else { "in" });
    object.text("type", tap.kind.name());
    object.count("bytes", tap.bytes);
    if let Some(id) = tap.id {
        object.count("packetId", id.get().into());
    }
    if let Some(topic) = &tap.topic {
        object.text("topic", topic);
    }
    object.code("reasonCode", tap.reason);
    object
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
        RetainAvailable
            | WildcardSubscriptionAvailable
            | SubscriptionIdentifierAvailable
            | SharedSubscriptionAvailable
    )
}
