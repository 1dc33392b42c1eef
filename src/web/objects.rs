//! What goes out to JavaScript as objects: events of the life cycle, errors, properties, statistics. Names are those of
//! the public API.

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::codec::{Properties, Property, QoS, ReasonCode, Value, Version};
use crate::options::InvalidArgument;
use crate::session::{
    ConnectInfo, Error, Event, FilterCode, Instant, ServerInfo, State, Stats, Tap,
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(extends = js_sys::Object)]
    type Fields;
    #[wasm_bindgen(method, structural, indexing_setter)]
    fn set(this: &Fields, name: &'static str, value: &JsValue);
}

/// An object, made field by field; what is not there is left out.
struct Object(Fields);

impl Object {
    fn new() -> Self {
        Self(js_sys::Object::new().unchecked_into())
    }

    fn put(&self, name: &'static str, value: impl Into<JsValue>) {
        self.0.set(name, &value.into());
    }

    fn flag(&self, name: &'static str, flag: bool) {
        self.put(name, flag);
    }

    // Apart, so that it is compiled once.
    #[inline(never)]
    fn number(&self, name: &'static str, number: f64) {
        self.put(name, number);
    }

    fn count(&self, name: &'static str, number: u32) {
        self.number(name, f64::from(number));
    }

    #[inline(never)]
    fn text(&self, name: &'static str, text: &str) {
        self.put(name, text);
    }

    fn code(&self, name: &'static str, reason: Option<ReasonCode>) {
        if let Some(reason) = reason {
            self.count(name, reason.0.into());
        }
    }

    fn error(&self, error: &Error) {
        self.put("error", error_object(error));
    }

    fn properties(&self, properties: Properties<'_>) {
        for (property, value) in properties.iter() {
            let name = property.api_name();
            match value {
                Value::Byte(byte) if is_flag(property) => self.flag(name, byte == 1),
                Value::Byte(number) => self.count(name, number.into()),
                Value::Two(number) => self.count(name, number.into()),
                Value::Four(number) => self.count(name, number),
                Value::Text(text) => self.text(name, text),
                Value::Binary(bytes) => self.put(name, Uint8Array::from(bytes)),
                // These may repeat.
                Value::Varint(_) | Value::Pair(..) => {}
            }
        }
        if properties.user_properties().next().is_some() {
            self.put("userProperties", user_properties(properties));
        }
        if properties.subscription_ids().next().is_some() {
            let identifiers: Array =
                properties.subscription_ids().map(|id| JsValue::from(id.get())).collect();
            self.put("subscriptionIdentifiers", identifiers);
        }
    }
}

impl From<Object> for JsValue {
    fn from(object: Object) -> Self {
        object.0.into()
    }
}

fn user_properties(properties: Properties<'_>) -> Array {
    let pair = |(name, value): (&str, &str)| Array::of2(&name.into(), &value.into());
    properties.user_properties().map(pair).collect()
}

pub(super) fn event(event: &Event) -> JsValue {
    let object = Object::new();
    let kind = match event {
        Event::State(state) => {
            object.text("state", state_name(*state));
            "state"
        }
        Event::Connected(info) => {
            object.put("info", connect_info(info));
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
            let result = Object::new();
            result.code("reasonCode", Some(*reason));
            result.properties(
                properties.as_deref().map_or(Properties::EMPTY, |properties| properties.borrow()),
            );
            object.count("token", token.get());
            object.put("result", result);
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
            object.put("packet", packet(tap));
            "packet"
        }
        // These go as records.
        Event::Slot { .. } | Event::Message(_) => return JsValue::UNDEFINED,
    };
    object.text("type", kind);
    object.into()
}

pub(super) fn error(error: &Error) -> JsValue {
    error_object(error).into()
}

pub(super) fn invalid(invalid: InvalidArgument) -> JsValue {
    let object = Object::new();
    object.text("argument", &invalid.argument);
    object.text("message", invalid.message);
    object.into()
}

pub(super) fn properties(properties: Properties<'_>) -> JsValue {
    let object = Object::new();
    object.properties(properties);
    object.into()
}

/// `since_epoch`: ms between the epoch and the beginning of the session's clock.
pub(super) fn stats(stats: &Stats, since_epoch: f64) -> JsValue {
    let object = Object::new();
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
        object.number("connectedSince", (us as f64 / 1_000.0 + since_epoch + 0.5) as u64 as f64);
    }
    if let Some(us) = stats.round_trip {
        object.number("roundTrip", us as f64 / 1_000.0);
    }
    object.into()
}

fn error_object(error: &Error) -> Object {
    let object = Object::new();
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
    if let Some(cause) = &error.cause {
        object.put("cause", error_object(cause));
    }
    if !error.filters.is_empty() {
        object.put("grants", filters(&error.filters, true));
        object.put("reasonCodes", filters(&error.filters, false));
    }
    object
}

fn connect_info(info: &ConnectInfo) -> Object {
    let object = Object::new();
    object.flag("sessionPresent", info.session_present);
    object.text("clientId", &info.client_id);
    object.text("url", &info.url);
    object.flag("reconnect", info.reconnect);
    object.put("server", server(&info.server, info.properties.borrow()));
    let properties = Object::new();
    properties.properties(info.properties.borrow());
    object.put("properties", properties);
    object
}

fn server(server: &ServerInfo, properties: Properties<'_>) -> Object {
    let object = Object::new();
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
    object.put("userProperties", user_properties(properties));
    object
}

/// How the server answered each filter: as grants of a Subscription, or just the codes.
fn filters(codes: &[FilterCode], grants: bool) -> Array {
    codes.iter().map(|code| JsValue::from(filter(code, grants))).collect()
}

fn filter(code: &FilterCode, grant: bool) -> Object {
    let granted = !code.code.is_error();
    let object = Object::new();
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

fn packet(tap: &Tap) -> Object {
    let object = Object::new();
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
