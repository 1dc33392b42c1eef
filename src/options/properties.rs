//! The MQTT 5 properties that the application may give with a call or with the will.

use super::value::Checked;
use super::{InvalidArgument, UNKNOWN, Value};
use crate::codec::{
    self, PacketSet, PropertiesBuf, Property, PropertyType, SubscriptionId, ValueRule,
};

/// The properties of one call, set one by one by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Draft {
    /// The properties that go on the wire as they are. Those of the other fields are not among them,
    /// because the session decides what it sends of each.
    pub properties: PropertiesBuf,
    /// The Message Expiry Interval of a PUBLISH in seconds (3.3.2.3.3). The time that the message waits
    /// is taken off it. By default the message does not expire.
    pub message_expiry: Option<u32>,
    /// The Topic Alias of a PUBLISH, from 1 on (3.3.2.3.4). By default the session gives aliases itself.
    pub topic_alias: Option<u16>,
    /// The Subscription Identifier of a SUBSCRIBE (3.8.2.1.2). By default the session gives one.
    pub subscription_identifier: Option<SubscriptionId>,
    /// The Session Expiry Interval of a DISCONNECT in seconds; `u32::MAX` is for ever (3.14.2.2.2). By
    /// default the one of CONNECT holds on.
    pub session_expiry: Option<u32>,
}

/// The call that a [`Draft`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftKind {
    /// A message.
    Publish,
    /// A subscription.
    Subscribe,
    /// The end of a subscription.
    Unsubscribe,
    /// The end of the client.
    Disconnect,
}

impl Draft {
    /// Sets one property. `path` is its name in the public API, with or without `properties.` in front.
    /// [`Value::Undefined`] changes nothing, whatever the path.
    ///
    /// # Errors
    ///
    /// The packet of the call has no such property, or the property cannot have this value. Nothing is
    /// changed then.
    pub fn set(
        &mut self,
        kind: DraftKind,
        path: &str,
        value: Value,
    ) -> Result<(), InvalidArgument> {
        self.assign(kind, path.strip_prefix("properties.").unwrap_or(path), &value)
            .map_err(|message| InvalidArgument::new(path, message))
    }

    fn assign(&mut self, kind: DraftKind, name: &str, value: &Value) -> Checked<()> {
        if let Value::Undefined = value {
            return Ok(());
        }
        let property = find(kind.place(), name)?;
        if kind == DraftKind::Publish && property == Property::SubscriptionIdentifier {
            // Only a server sends one with a PUBLISH [MQTT5-3.3.4-6].
            return Err(UNKNOWN);
        }
        match property {
            Property::MessageExpiryInterval => self.message_expiry = Some(value.seconds()?),
            Property::TopicAlias => self.topic_alias = Some(value.two_bytes_not_zero()?),
            Property::SubscriptionIdentifier => {
                self.subscription_identifier = SubscriptionId::new(value.subscription_id()?);
            }
            Property::SessionExpiryInterval => {
                self.session_expiry = Some(value.seconds_or_forever()?);
            }
            _ => push(property, value, &mut self.properties)?,
        }
        Ok(())
    }
}

impl DraftKind {
    fn place(self) -> PacketSet {
        match self {
            Self::Publish => PacketSet::PUBLISH,
            Self::Subscribe => PacketSet::SUBSCRIBE,
            Self::Unsubscribe => PacketSet::UNSUBSCRIBE,
            Self::Disconnect => PacketSet::CLIENT_DISCONNECT,
        }
    }
}

/// Returns the property with this name in the public API, if it may stand in `place`.
pub(super) fn find(place: PacketSet, name: &str) -> Checked<Property> {
    Property::from_api_name(name).filter(|property| property.stands_in(place)).ok_or(UNKNOWN)
}

/// Checks the value of a property and appends the property.
pub(super) fn push(property: Property, value: &Value, out: &mut PropertiesBuf) -> Checked<()> {
    let value = match (property.kind(), property.values()) {
        (PropertyType::Pair, _) => return value.user_properties(out),
        (PropertyType::Byte, _) => codec::Value::Byte(value.whole(0, 1, "must be 0 or 1")? as u8),
        (PropertyType::Two, ValueRule::NotZero) => codec::Value::Two(value.two_bytes_not_zero()?),
        (PropertyType::Two, _) => codec::Value::Two(value.two_bytes()?),
        (PropertyType::Varint, _) => codec::Value::Varint(value.subscription_id()?),
        (PropertyType::Four, _) => codec::Value::Four(value.seconds()?),
        (PropertyType::Text, ValueRule::TopicName) => codec::Value::Text(value.topic()?),
        (PropertyType::Text, _) => codec::Value::Text(value.text()?),
        (PropertyType::Binary, _) => codec::Value::Binary(value.bytes()?),
    };
    out.push(property, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::{Value::*, *};

    fn text(text: &str) -> Value {
        Text(text.to_owned())
    }

    fn strings(strings: &[&str]) -> Value {
        Strings(strings.iter().map(|&text| text.into()).collect())
    }

    fn draft(kind: DraftKind, leaves: &[(&str, Value)]) -> Draft {
        let mut draft = Draft::default();
        for (path, value) in leaves {
            draft.set(kind, path, value.clone()).unwrap();
        }
        draft
    }

    fn list(properties: &PropertiesBuf) -> Vec<(Property, codec::Value<'_>)> {
        properties.borrow().iter().collect()
    }

    #[test]
    fn publish() {
        let draft = draft(
            DraftKind::Publish,
            &[
                ("payloadFormatIndicator", Number(0.0)),
                ("messageExpiryInterval", Number(10.0)),
                ("topicAlias", Number(65_535.0)),
                ("responseTopic", text("answers/1")),
                ("correlationData", Bytes(vec![])),
                ("properties.contentType", text("")),
                ("properties.userProperties", strings(&["k", "v"])),
            ],
        );
        assert_eq!((draft.message_expiry, draft.topic_alias), (Some(10), Some(65_535)));
        assert_eq!(
            list(&draft.properties),
            [
                (Property::PayloadFormatIndicator, codec::Value::Byte(0)),
                (Property::ResponseTopic, codec::Value::Text("answers/1")),
                (Property::CorrelationData, codec::Value::Binary(&[])),
                (Property::ContentType, codec::Value::Text("")),
                (Property::UserProperty, codec::Value::Pair("k", "v")),
            ]
        );
    }

    #[test]
    fn subscribe_unsubscribe_and_disconnect() {
        let pair = ("userProperties", strings(&["k", "v"]));
        let pairs = [(Property::UserProperty, codec::Value::Pair("k", "v"))];

        let subscribe = draft(
            DraftKind::Subscribe,
            &[pair.clone(), ("subscriptionIdentifier", Number(268_435_455.0))],
        );
        assert_eq!(subscribe.subscription_identifier, SubscriptionId::new(268_435_455));
        assert_eq!(list(&subscribe.properties), pairs);

        assert_eq!(list(&draft(DraftKind::Unsubscribe, slice::from_ref(&pair)).properties), pairs);

        let disconnect = draft(
            DraftKind::Disconnect,
            &[
                pair,
                ("sessionExpiryInterval", Number(f64::INFINITY)),
                ("reasonString", text("bye")),
            ],
        );
        assert_eq!(disconnect.session_expiry, Some(u32::MAX));
        assert_eq!(
            list(&disconnect.properties)[1..],
            [(Property::ReasonString, codec::Value::Text("bye"))]
        );

        assert_eq!(draft(DraftKind::Disconnect, &[("reasonString", Undefined)]), Draft::default());
    }

    #[test]
    fn a_bad_draft_is_refused_by_its_full_path_and_changes_nothing() {
        use DraftKind::*;
        for (kind, path, value) in [
            (Publish, "topicAlias", Number(0.0)),
            (Publish, "topicAlias", Number(65_536.0)),
            (Publish, "properties.messageExpiryInterval", Number(f64::INFINITY)),
            (Publish, "properties.messageExpiryInterval", Number(-1.0)),
            (Publish, "payloadFormatIndicator", Number(2.0)),
            (Publish, "contentType", Number(2.0)),
            (Publish, "responseTopic", text("answers/+")),
            (Publish, "correlationData", text("x")),
            (Publish, "userProperties", strings(&["k"])),
            (Publish, "willDelayInterval", Number(1.0)),
            (Publish, "reasonString", text("x")),
            (Subscribe, "subscriptionIdentifier", Number(0.0)),
            (Subscribe, "subscriptionIdentifier", Number(268_435_456.0)),
            (Subscribe, "contentType", text("x")),
            (Unsubscribe, "subscriptionIdentifier", Number(1.0)),
            (Unsubscribe, "userProperties", Other),
            (Disconnect, "sessionExpiryInterval", Number(0.5)),
            (Disconnect, "reasonString", text("\0")),
            (Disconnect, "topicAlias", Number(1.0)),
        ] {
            let mut draft = Draft::default();
            let error = draft.set(kind, path, value.clone()).unwrap_err();
            assert_eq!(error.argument, path);
            assert_eq!(draft, Draft::default(), "{path}: {value:?}");
        }
    }
}
