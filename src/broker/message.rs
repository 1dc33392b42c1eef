//! Application messages on their way through the broker.

use std::rc::Rc;

use crate::codec::{
    self, Properties, PropertiesBuf, Property, Publish, QoS, SubscriptionId, Value,
};
use crate::session::Instant;

/// Milliseconds in a second: MQTT counts its intervals in seconds.
pub(super) const SECOND_MS: u64 = 1_000;

/// A message that a client or the test has published. All sessions that get it share it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The Topic Name, in full, also where the client sent a Topic Alias.
    pub topic: Rc<str>,
    /// The Application Message itself.
    pub payload: Box<[u8]>,
    /// The QoS it was published with.
    pub qos: QoS,
    /// The RETAIN flag it was published with.
    pub retain: bool,
    /// The properties that travel with the message: without Topic Alias and Message Expiry Interval, which the broker
    /// writes itself.
    pub properties: PropertiesBuf,
    /// When the Message Expiry Interval ends (MQTT 5, 3.3.2.3.3). `None`: never.
    pub expires: Option<Instant>,
}

impl Message {
    /// What a client has published on `topic`, which is the PUBLISH's own or the one that its alias stands for.
    pub(super) fn published(now: Instant, topic: Rc<str>, publish: &Publish<'_>) -> Self {
        let (properties, expiry) = split_expiry(publish.properties);
        Self {
            topic,
            payload: publish.payload.into(),
            qos: publish.qos,
            retain: publish.retain,
            properties,
            expires: expires(now, expiry),
        }
    }

    /// What the test or the broker itself publishes.
    pub(super) fn own(topic: &str, payload: &[u8], qos: QoS, retain: bool) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos,
            retain,
            properties: PropertiesBuf::default(),
            expires: None,
        }
    }

    /// Adds properties, among them perhaps a Message Expiry Interval that begins now.
    pub(super) fn with_properties(mut self, now: Instant, properties: Properties<'_>) -> Self {
        let (properties, expiry) = split_expiry(properties);
        self.properties = properties;
        self.expires = expires(now, expiry);
        self
    }

    /// Whether the Message Expiry Interval has passed.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The properties of a PUBLISH that leaves now: what is left of the Message Expiry Interval, and the Subscription
    /// Identifiers of the receiver [MQTT-3.3.2-6] [MQTT-3.3.4-3].
    pub(super) fn properties_at(
        &self,
        now: Instant,
        identifiers: &[SubscriptionId],
    ) -> PropertiesBuf {
        let mut properties = self.properties.clone();
        if let Some(expires) = self.expires {
            let left = expires.since_ms(now).div_ceil(SECOND_MS);
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            properties.push(Property::MessageExpiryInterval, Value::Four(left));
        }
        for &identifier in identifiers {
            properties.push(Property::SubscriptionIdentifier, Value::Varint(identifier.get()));
        }
        properties
    }

    /// About how many bytes the message takes.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.borrow().as_bytes().len()
    }
}

/// The Will of a connection, kept until it is published or discarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Will {
    topic: Rc<str>,
    payload: Box<[u8]>,
    qos: QoS,
    retain: bool,
    properties: PropertiesBuf,
    /// Seconds, counted from its publication. `None`: it does not expire.
    expiry: Option<u32>,
    /// Seconds between the end of the connection and the publication (MQTT 5, 3.1.3.2.2).
    pub delay: u32,
}

impl Will {
    pub(super) fn new(will: &codec::Will<'_>) -> Self {
        let (mut properties, expiry) = split_expiry(will.properties);
        properties.remove(Property::WillDelayInterval);
        Self {
            topic: will.topic.into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            properties,
            expiry,
            delay: will.properties.u32(Property::WillDelayInterval).unwrap_or(0),
        }
    }

    /// The message that is published now.
    pub(super) fn message(self, now: Instant) -> Message {
        Message {
            topic: self.topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties,
            expires: expires(now, self.expiry),
        }
    }
}

/// One session's copy of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Copy {
    pub message: Rc<Message>,
    /// The lower one of the message's QoS and the subscription's.
    pub qos: QoS,
    /// The RETAIN flag that the receiver sees.
    pub retain: bool,
    pub identifiers: Rc<[SubscriptionId]>,
}

/// Properties without Topic Alias and Message Expiry Interval, and the latter, in seconds.
fn split_expiry(properties: Properties<'_>) -> (PropertiesBuf, Option<u32>) {
    let expiry = properties.u32(Property::MessageExpiryInterval);
    let mut kept = PropertiesBuf::from(properties);
    kept.remove(Property::MessageExpiryInterval);
    kept.remove(Property::TopicAlias);
    (kept, expiry)
}

fn expires(now: Instant, expiry: Option<u32>) -> Option<Instant> {
    expiry.map(|seconds| now.after_ms(u64::from(seconds) * SECOND_MS))
}
