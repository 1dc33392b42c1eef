//! What the application may ask for, checked. Every default stands here, and every error names the argument.

use std::rc::Rc;

use crate::codec::{self, PropertiesBuf, Property, QoS, SubscriptionId, check_text, check_topic};

/// One leaf of an options object, as it crosses the boundary.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Keeps the default.
    Undefined,
    Bool(bool),
    Number(f64),
    Text(String),
    Bytes(Vec<u8>),
    Strings(Vec<Rc<str>>),
    /// Of a type that no option has.
    Other,
}

/// A caller's mistake: which argument, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InvalidArgument {
    /// Its path, `reconnect.minDelay` for one.
    pub argument: String,
    /// Goes on where the path ends: `must be a number of milliseconds, 0 or more`.
    pub message: &'static str,
}

impl InvalidArgument {
    pub fn new(argument: &str, message: &'static str) -> Self {
        Self { argument: argument.to_owned(), message }
    }
}

/// What a client is made with: set leaf by leaf, in any order, then checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    pub version: VersionChoice,
    pub client_id: Option<String>,
    pub clean: bool,
    /// Seconds; 0: off.
    pub keep_alive: u16,
    pub connect_timeout_ms: u32,
    pub will: Option<Will>,
    pub properties: ConnectProperties,
    pub authentication_method: Option<String>,
    /// None: never.
    pub reconnect: Option<Backoff>,
    pub resubscribe: bool,
    pub queue: Queue,
    pub topic_aliases: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionChoice {
    Auto,
    V5,
    V311,
}

/// MQTT 5 properties of CONNECT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectProperties {
    /// Seconds, `u32::MAX`: for ever. None: not asked for, see [`Options::session_expiry`].
    pub session_expiry: Option<u32>,
    pub receive_maximum: u16,
    /// Bytes; None: the protocol's limit.
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: u16,
    pub request_response_information: bool,
    pub request_problem_information: bool,
    /// User Properties only.
    pub user_properties: PropertiesBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    min: Option<u32>,
    max: Option<u32>,
    /// What the delay is multiplied by each time, in thousandths.
    pub factor: u32,
    /// The share of the delay that is random, in thousandths.
    pub jitter: u32,
    /// In a row; None: no limit.
    pub max_attempts: Option<u32>,
    /// Also for the first attempt.
    pub initial: bool,
}

/// Bounds of what waits to be sent; `u32::MAX`: none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    pub max_messages: u32,
    pub max_bytes: u32,
    pub overflow: Overflow,
    /// Whether QoS 0 waits too while offline.
    pub qos0: bool,
}

/// What gives way when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    Reject,
    DropOldest,
    DropNewest,
    LatestPerTopic,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Will {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub properties: PropertiesBuf,
}

/// The properties of one call, set name by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Draft {
    /// As they go on the wire. Those below are not among them: the session has its own word on each.
    pub properties: PropertiesBuf,
    /// Seconds.
    pub message_expiry: Option<u32>,
    pub topic_alias: Option<u16>,
    pub subscription_identifier: Option<SubscriptionId>,
    /// Seconds, `u32::MAX`: for ever.
    pub session_expiry: Option<u32>,
}

/// The call that a [`Draft`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftKind {
    Publish,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

type Checked<T> = Result<T, &'static str>;

const UNKNOWN: &str = "is not known";
const FLAG: &str = "must be true or false";
const TEXT: &str = "must be a string of at most 65535 bytes in UTF-8, without U+0000";
const TOPIC: &str =
    "must be a topic: 1 to 65535 bytes in UTF-8, without the wildcards + and #, without U+0000";
const PAIRS: &str =
    "must be pairs of strings, each of at most 65535 bytes in UTF-8, without U+0000";
const OVERFLOW: &str = "must be 'reject', 'drop-oldest', 'drop-newest' or 'latest-per-topic'";
const BYTES: &str = "must be bytes, 65535 at most";
const BYTES_OR_NONE: &str = "must be a whole number of bytes, 1 to 4294967295, or Infinity";
const MILLISECONDS: &str = "must be a number of milliseconds, 0 or more";
const SECONDS: &str = "must be a whole number of seconds, 0 to 4294967295";
const SECONDS_OR_FOREVER: &str = "must be a whole number of seconds, 0 to 4294967295, or Infinity";
const COUNT: &str = "must be a whole number, 0 or more, or Infinity";
const TWO_BYTES: &str = "must be a whole number from 0 to 65535";
const TWO_BYTES_NOT_ZERO: &str = "must be a whole number from 1 to 65535";

macro_rules! leaves {
    ($options:ident, $value:ident: $($path:literal => $assign:expr;)*) => {
        &[$(($path, |$options, $value| { $assign; Ok(()) }),)*]
    };
}

/// A path, and what it sets.
type Leaf = (&'static str, fn(&mut Options, &Value) -> Checked<()>);

/// All options but the will's.
const LEAVES: &[Leaf] = leaves! { options, value:
    "protocolVersion" => options.version = value.version()?;
    "clientId" => options.client_id = Some(value.text()?.to_owned());
    "clean" => options.clean = value.flag()?;
    "keepalive" => options.keep_alive = value.whole(0, 0xFFFF, TWO_BYTES)? as u16;
    "connectTimeout" => options.connect_timeout_ms = value.timeout()?;
    "authentication.method" => options.authentication_method = Some(value.text()?.to_owned());
    "resubscribe" => options.resubscribe = value.flag()?;
    "topicAliases" => options.topic_aliases = value.flag()?;
    "properties.sessionExpiryInterval" => options.properties.session_expiry = Some(value.seconds_or_forever()?);
    "properties.receiveMaximum" =>
        options.properties.receive_maximum = value.whole(1, 0xFFFF, TWO_BYTES_NOT_ZERO)? as u16;
    "properties.maximumPacketSize" => options.properties.maximum_packet_size = value.unless_infinite(1, BYTES_OR_NONE)?;
    "properties.topicAliasMaximum" => options.properties.topic_alias_maximum = value.whole(0, 0xFFFF, TWO_BYTES)? as u16;
    "properties.requestResponseInformation" => options.properties.request_response_information = value.flag()?;
    "properties.requestProblemInformation" => options.properties.request_problem_information = value.flag()?;
    "properties.userProperties" => {
        options.properties.user_properties.clear();
        value.user_properties(&mut options.properties.user_properties)?;
    };
    "reconnect" => match value.flag() {
        Ok(true) => _ = options.reconnect.get_or_insert_default(),
        Ok(false) => options.reconnect = None,
        Err(_) => return Err("must be true, false or an object"),
    };
    "reconnect.minDelay" => options.backoff().min = Some(value.milliseconds()?);
    "reconnect.maxDelay" => options.backoff().max = Some(value.milliseconds()?);
    "reconnect.factor" => options.backoff().factor = value.thousandths(1.0, f64::MAX, "must be a number, 1 or more")?;
    "reconnect.jitter" => options.backoff().jitter = value.thousandths(0.0, 1.0, "must be a number from 0 to 1")?;
    "reconnect.maxAttempts" => options.backoff().max_attempts = value.unless_infinite(0, COUNT)?;
    "reconnect.initial" => options.backoff().initial = value.flag()?;
    "queue.maxMessages" => options.queue.max_messages = value.count()?;
    "queue.maxBytes" => options.queue.max_bytes = value.count()?;
    "queue.overflow" => options.queue.overflow = value.overflow()?;
    "queue.qos0" => options.queue.qos0 = value.flag()?;
};

impl Options {
    pub fn new() -> Self {
        Self {
            version: VersionChoice::Auto,
            client_id: None,
            clean: true,
            keep_alive: 60,
            connect_timeout_ms: 30_000,
            will: None,
            properties: ConnectProperties {
                session_expiry: None,
                receive_maximum: u16::MAX,
                maximum_packet_size: Some(16 << 20),
                topic_alias_maximum: 64,
                request_response_information: false,
                request_problem_information: true,
                user_properties: PropertiesBuf::default(),
            },
            authentication_method: None,
            reconnect: Some(Backoff::default()),
            resubscribe: true,
            queue: Queue {
                max_messages: 10_000,
                max_bytes: 64 << 20,
                overflow: Overflow::Reject,
                qos0: true,
            },
            topic_aliases: true,
        }
    }

    /// `path` is the one of the public API: `properties.receiveMaximum`.
    pub fn set(&mut self, path: &str, value: Value) -> Result<(), InvalidArgument> {
        self.assign(path, &value).map_err(|message| InvalidArgument::new(path, message))
    }

    fn assign(&mut self, path: &str, value: &Value) -> Checked<()> {
        if let Value::Undefined = value {
            return Ok(());
        }
        if let Some(name) = path.strip_prefix("will.") {
            return self.will.get_or_insert_default().assign(name, value);
        }
        if path.starts_with("reconnect.") {
            self.backoff();
        }
        let (_, assign) = LEAVES.iter().find(|(name, _)| *name == path).ok_or(UNKNOWN)?;
        assign(self, value)
    }

    /// What no single leaf can show.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        let anonymous = self.client_id.as_ref().is_none_or(String::is_empty);
        if self.version == VersionChoice::V311 && !self.clean && anonymous {
            return Err(InvalidArgument::new(
                "clientId",
                "must be set on MQTT 3.1.1 where clean is false",
            ));
        }
        if let Some(backoff) = &self.reconnect
            && let (Some(min), Some(max)) = (backoff.min, backoff.max)
            && max < min
        {
            return Err(InvalidArgument::new(
                "reconnect.maxDelay",
                "must not be less than minDelay",
            ));
        }
        self.will.as_ref().map_or(Ok(()), Will::check)
    }

    fn backoff(&mut self) -> &mut Backoff {
        self.reconnect.get_or_insert_default()
    }

    /// Seconds; None: left out. Unless asked for, as long as a short cut may last.
    pub fn session_expiry(&self) -> Option<u32> {
        self.properties.session_expiry.or(self.reconnect.is_some().then_some(300))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: None,
            max: None,
            factor: 2_000,
            jitter: 500,
            max_attempts: None,
            initial: false,
        }
    }
}

impl Backoff {
    /// The first delay and the longest, ms. The default of one gives way where only the other was asked for.
    pub fn delays(&self) -> (u32, u32) {
        let max = self.max.unwrap_or(30_000);
        let min = self.min.unwrap_or(max.min(1_000));
        (min, max.max(min))
    }
}

impl Default for Will {
    fn default() -> Self {
        Self {
            topic: String::new(),
            payload: Vec::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PropertiesBuf::default(),
        }
    }
}

impl Will {
    /// `path` begins with `will.`, as in the options.
    pub fn set(&mut self, path: &str, value: Value) -> Result<(), InvalidArgument> {
        path.strip_prefix("will.")
            .ok_or(UNKNOWN)
            .and_then(|name| self.assign(name, &value))
            .map_err(|message| InvalidArgument::new(path, message))
    }

    fn assign(&mut self, name: &str, value: &Value) -> Checked<()> {
        if let Value::Undefined = value {
            return Ok(());
        }
        match name {
            "topic" => self.topic = value.topic()?.to_owned(),
            "payload" => self.payload = value.bytes()?.to_owned(),
            "qos" => self.qos = value.qos()?,
            "retain" => self.retain = value.flag()?,
            "properties.willDelayInterval" => self
                .properties
                .push(Property::WillDelayInterval, codec::Value::Four(value.seconds()?)),
            "properties.messageExpiryInterval" => self
                .properties
                .push(Property::MessageExpiryInterval, codec::Value::Four(value.seconds()?)),
            _ => {
                let name = name.strip_prefix("properties.").ok_or(UNKNOWN)?;
                return message_property(name, value, &mut self.properties);
            }
        }
        Ok(())
    }

    pub fn check(&self) -> Result<(), InvalidArgument> {
        if self.topic.is_empty() {
            return Err(InvalidArgument::new("will.topic", TOPIC));
        }
        Ok(())
    }
}

impl Draft {
    /// `path` is a property's name, with or without `properties.` before it.
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
        use DraftKind::*;
        if let Value::Undefined = value {
            return Ok(());
        }
        match (kind, name) {
            (Publish, "messageExpiryInterval") => self.message_expiry = Some(value.seconds()?),
            (Publish, "topicAlias") => {
                self.topic_alias = Some(value.whole(1, 0xFFFF, TWO_BYTES_NOT_ZERO)? as u16);
            }
            (Subscribe, "subscriptionIdentifier") => {
                const IDENTIFIER: &str = "must be a whole number from 1 to 268435455";
                let id = value.whole(1, SubscriptionId::MAX, IDENTIFIER)?;
                self.subscription_identifier = SubscriptionId::new(id);
            }
            (Disconnect, "sessionExpiryInterval") => {
                self.session_expiry = Some(value.seconds_or_forever()?);
            }
            (Disconnect, "reasonString") => {
                let text = value.text()?;
                self.properties.push(Property::ReasonString, codec::Value::Text(text));
            }
            (_, "userProperties") => value.user_properties(&mut self.properties)?,
            (Publish, _) => return message_property(name, value, &mut self.properties),
            _ => return Err(UNKNOWN),
        }
        Ok(())
    }
}

/// What PUBLISH and a will have in common.
fn message_property(name: &str, value: &Value, out: &mut PropertiesBuf) -> Checked<()> {
    match name {
        "payloadFormatIndicator" => {
            let indicator = value.whole(0, 1, "must be 0 or 1")? as u8;
            out.push(Property::PayloadFormatIndicator, codec::Value::Byte(indicator));
        }
        "contentType" => {
            let text = value.text()?;
            out.push(Property::ContentType, codec::Value::Text(text));
        }
        "responseTopic" => {
            let topic = value.topic()?;
            out.push(Property::ResponseTopic, codec::Value::Text(topic));
        }
        "correlationData" => {
            let bytes = value.bytes()?;
            out.push(Property::CorrelationData, codec::Value::Binary(bytes));
        }
        "userProperties" => value.user_properties(out)?,
        _ => return Err(UNKNOWN),
    }
    Ok(())
}

// Kept out of line, since every option would have its own copy otherwise.
impl Value {
    #[inline(never)]
    fn flag(&self) -> Checked<bool> {
        match self {
            Value::Bool(flag) => Ok(*flag),
            _ => Err(FLAG),
        }
    }

    #[inline(never)]
    fn text(&self) -> Checked<&str> {
        match self {
            Value::Text(text) if check_text(text).is_ok() => Ok(text),
            _ => Err(TEXT),
        }
    }

    fn topic(&self) -> Checked<&str> {
        match self {
            Value::Text(text) if check_topic(text.as_bytes()).is_ok() => Ok(text),
            _ => Err(TOPIC),
        }
    }

    fn bytes(&self) -> Checked<&[u8]> {
        match self {
            Value::Bytes(bytes) if bytes.len() <= 0xFFFF => Ok(bytes),
            _ => Err(BYTES),
        }
    }

    /// Names and values by turns.
    #[inline(never)]
    fn user_properties(&self, out: &mut PropertiesBuf) -> Checked<()> {
        let Value::Strings(strings) = self else {
            return Err(PAIRS);
        };
        let (pairs, rest) = strings.as_chunks::<2>();
        if !rest.is_empty() || strings.iter().any(|text| check_text(text).is_err()) {
            return Err(PAIRS);
        }
        for [name, value] in pairs {
            out.push(Property::UserProperty, codec::Value::Pair(name, value));
        }
        Ok(())
    }

    fn version(&self) -> Checked<VersionChoice> {
        match self {
            Value::Number(5.0) => Ok(VersionChoice::V5),
            Value::Number(4.0) => Ok(VersionChoice::V311),
            Value::Text(text) if text == "auto" => Ok(VersionChoice::Auto),
            _ => Err("must be 5, 4 or 'auto'"),
        }
    }

    fn qos(&self) -> Checked<QoS> {
        match self {
            Value::Number(0.0) => Ok(QoS::AtMostOnce),
            Value::Number(1.0) => Ok(QoS::AtLeastOnce),
            Value::Number(2.0) => Ok(QoS::ExactlyOnce),
            _ => Err("must be 0, 1 or 2"),
        }
    }

    fn overflow(&self) -> Checked<Overflow> {
        let Value::Text(text) = self else {
            return Err(OVERFLOW);
        };
        match text.as_str() {
            "reject" => Ok(Overflow::Reject),
            "drop-oldest" => Ok(Overflow::DropOldest),
            "drop-newest" => Ok(Overflow::DropNewest),
            "latest-per-topic" => Ok(Overflow::LatestPerTopic),
            _ => Err(OVERFLOW),
        }
    }

    #[inline(never)]
    fn whole(&self, min: u32, max: u32, message: &'static str) -> Checked<u32> {
        match self {
            Value::Number(number)
                if number.fract() == 0.0
                    && *number >= f64::from(min)
                    && *number <= f64::from(max) =>
            {
                Ok(*number as u32)
            }
            _ => Err(message),
        }
    }

    fn seconds(&self) -> Checked<u32> {
        self.whole(0, u32::MAX, SECONDS)
    }

    fn seconds_or_forever(&self) -> Checked<u32> {
        Ok(self.unless_infinite(0, SECONDS_OR_FOREVER)?.unwrap_or(u32::MAX))
    }

    fn count(&self) -> Checked<u32> {
        Ok(self.unless_infinite(0, COUNT)?.unwrap_or(u32::MAX))
    }

    fn unless_infinite(&self, min: u32, message: &'static str) -> Checked<Option<u32>> {
        match self {
            Value::Number(f64::INFINITY) => Ok(None),
            value => value.whole(min, u32::MAX, message).map(Some),
        }
    }

    /// Rounded up, so that no wait ends early.
    #[inline(never)]
    fn milliseconds(&self) -> Checked<u32> {
        match self {
            Value::Number(ms) if *ms >= 0.0 && ms.is_finite() => Ok(ms.ceil() as u32),
            _ => Err(MILLISECONDS),
        }
    }

    fn timeout(&self) -> Checked<u32> {
        self.milliseconds()
            .ok()
            .filter(|ms| *ms > 0)
            .ok_or("must be a number of milliseconds, more than 0")
    }

    #[inline(never)]
    fn thousandths(&self, min: f64, max: f64, message: &'static str) -> Checked<u32> {
        match self {
            Value::Number(number) if *number >= min && *number <= max => {
                Ok((number * 1_000.0).round() as u32)
            }
            _ => Err(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Value::*, *};
    use std::slice;

    fn text(text: &str) -> Value {
        Text(text.to_owned())
    }

    fn strings(strings: &[&str]) -> Value {
        Strings(strings.iter().map(|&text| text.into()).collect())
    }

    fn options(leaves: &[(&str, Value)]) -> Options {
        let mut options = Options::new();
        for (path, value) in leaves {
            options.set(path, value.clone()).unwrap();
        }
        options
    }

    fn draft(kind: DraftKind, leaves: &[(&str, Value)]) -> Draft {
        let mut draft = Draft::default();
        for (path, value) in leaves {
            draft.set(kind, path, value.clone()).unwrap();
        }
        draft
    }

    /// Each value is refused with words that go on where the path ends, and changes nothing.
    fn refuses(path: &str, values: &[Value]) {
        for value in values {
            let mut options = Options::new();
            let error = options.set(path, value.clone()).unwrap_err();
            assert_eq!(error.argument, path);
            assert!(error.message.starts_with("must be "), "{path}: {value:?}: {error:?}");
            let changed = Options { will: None, ..options };
            assert_eq!(changed, Options::new(), "{path}: {value:?}");
        }
    }

    fn list(properties: &PropertiesBuf) -> Vec<(Property, codec::Value<'_>)> {
        properties.borrow().iter().collect()
    }

    const NO_FLAGS: [Value; 5] =
        [Number(1.0), Number(0.0), Text(String::new()), Bytes(vec![]), Other];
    const NO_NUMBERS: [Value; 6] =
        [Bool(true), Text(String::new()), Number(f64::NAN), Number(-1.0), Strings(vec![]), Other];

    #[test]
    fn defaults_are_those_of_the_api() {
        let options = Options::new();
        assert_eq!(options, Options::default());
        assert_eq!(options.version, VersionChoice::Auto);
        assert_eq!(options.client_id, None);
        assert!(options.clean && options.resubscribe && options.topic_aliases);
        assert_eq!(options.keep_alive, 60);
        assert_eq!(options.connect_timeout_ms, 30_000);
        assert_eq!(options.will, None);
        assert_eq!(options.authentication_method, None);
        assert_eq!(options.properties.receive_maximum, 65_535);
        assert_eq!(options.properties.maximum_packet_size, Some(16 * 1024 * 1024));
        assert_eq!(options.properties.topic_alias_maximum, 64);
        assert!(!options.properties.request_response_information);
        assert!(options.properties.request_problem_information);
        assert!(options.properties.user_properties.is_empty());
        let backoff = options.reconnect.as_ref().unwrap();
        assert_eq!(backoff.delays(), (1_000, 30_000));
        assert_eq!((backoff.factor, backoff.jitter), (2_000, 500));
        assert_eq!((backoff.max_attempts, backoff.initial), (None, false));
        assert_eq!(options.queue.max_messages, 10_000);
        assert_eq!(options.queue.max_bytes, 64 * 1024 * 1024);
        assert_eq!(options.queue.overflow, Overflow::Reject);
        assert!(options.queue.qos0);
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn undefined_keeps_the_default() {
        let paths = [
            "protocolVersion",
            "clientId",
            "clean",
            "keepalive",
            "connectTimeout",
            "resubscribe",
            "topicAliases",
            "authentication.method",
            "reconnect",
            "queue.overflow",
            "properties.receiveMaximum",
        ];
        assert_eq!(options(&paths.map(|path| (path, Undefined))), Options::new());
    }

    #[test]
    fn what_nobody_knows_is_named() {
        let paths = [
            "keepAlive",
            "",
            ".",
            "will",
            "will.",
            "will.properties",
            "will.properties.topicAlias",
            "queue",
            "queue.",
            "properties.topicAlias",
            "reconnect.delay",
            "reconnect.minDelay.x",
            "authentication",
            "authentication.start",
        ];
        for path in paths {
            assert_eq!(
                Options::new().set(path, Bool(true)),
                Err(InvalidArgument::new(path, "is not known"))
            );
        }
    }

    #[test]
    fn protocol_version() {
        let version = |value| options(&[("protocolVersion", value)]).version;
        assert_eq!(version(Number(5.0)), VersionChoice::V5);
        assert_eq!(version(Number(4.0)), VersionChoice::V311);
        assert_eq!(version(text("auto")), VersionChoice::Auto);
        refuses("protocolVersion", &[Number(3.0), Number(4.5), text("5"), Bool(true), Other]);
    }

    #[test]
    fn client_id() {
        assert_eq!(options(&[("clientId", text("a"))]).client_id.as_deref(), Some("a"));
        assert_eq!(options(&[("clientId", text(""))]).client_id.as_deref(), Some(""));
        let longest = "x".repeat(65_535);
        assert_eq!(options(&[("clientId", text(&longest))]).client_id, Some(longest.clone()));
        refuses(
            "clientId",
            &[text(&(longest + "x")), text("a\0b"), Number(1.0), Bytes(vec![1]), Other],
        );
    }

    #[test]
    fn a_3_1_1_server_cannot_keep_the_session_of_a_client_without_id() {
        let nameless =
            InvalidArgument::new("clientId", "must be set on MQTT 3.1.1 where clean is false");
        let v4 = ("protocolVersion", Number(4.0));
        let unclean = ("clean", Bool(false));
        assert_eq!(options(&[v4.clone(), unclean.clone()]).check(), Err(nameless.clone()));
        assert_eq!(
            options(&[v4.clone(), unclean.clone(), ("clientId", text(""))]).check(),
            Err(nameless)
        );
        assert_eq!(
            options(&[v4.clone(), unclean.clone(), ("clientId", text("me"))]).check(),
            Ok(())
        );
        assert_eq!(options(&[v4]).check(), Ok(()));
        // MQTT 5 assigns an id; a fallback is the session's matter.
        assert_eq!(options(slice::from_ref(&unclean)).check(), Ok(()));
        assert_eq!(options(&[unclean, ("protocolVersion", Number(5.0))]).check(), Ok(()));
    }

    #[test]
    fn flags() {
        assert!(!options(&[("clean", Bool(false))]).clean);
        assert!(!options(&[("resubscribe", Bool(false))]).resubscribe);
        assert!(!options(&[("topicAliases", Bool(false))]).topic_aliases);
        assert!(!options(&[("queue.qos0", Bool(false))]).queue.qos0);
        for path in [
            "clean",
            "resubscribe",
            "topicAliases",
            "queue.qos0",
            "reconnect",
            "reconnect.initial",
            "will.retain",
            "properties.requestResponseInformation",
            "properties.requestProblemInformation",
        ] {
            refuses(path, &NO_FLAGS);
        }
    }

    #[test]
    fn times_of_the_connection() {
        assert_eq!(options(&[("keepalive", Number(0.0))]).keep_alive, 0);
        assert_eq!(options(&[("keepalive", Number(65_535.0))]).keep_alive, 65_535);
        refuses("keepalive", &NO_NUMBERS);
        refuses("keepalive", &[Number(65_536.0), Number(1.5), Number(f64::INFINITY)]);

        assert_eq!(options(&[("connectTimeout", Number(0.25))]).connect_timeout_ms, 1);
        assert_eq!(options(&[("connectTimeout", Number(5_000.0))]).connect_timeout_ms, 5_000);
        assert_eq!(options(&[("connectTimeout", Number(1e300))]).connect_timeout_ms, u32::MAX);
        refuses("connectTimeout", &NO_NUMBERS);
        refuses("connectTimeout", &[Number(0.0), Number(f64::INFINITY)]);
    }

    #[test]
    fn connect_properties() {
        let properties = options(&[
            ("properties.receiveMaximum", Number(1.0)),
            ("properties.maximumPacketSize", Number(4_294_967_295.0)),
            ("properties.topicAliasMaximum", Number(0.0)),
            ("properties.requestResponseInformation", Bool(true)),
            ("properties.requestProblemInformation", Bool(false)),
            ("properties.userProperties", strings(&["a", "1", "a", "2", "", ""])),
        ])
        .properties;
        assert_eq!(properties.receive_maximum, 1);
        assert_eq!(properties.maximum_packet_size, Some(u32::MAX));
        assert_eq!(properties.topic_alias_maximum, 0);
        assert!(properties.request_response_information);
        assert!(!properties.request_problem_information);
        let pairs: Vec<_> = properties.user_properties.borrow().user_properties().collect();
        assert_eq!(pairs, [("a", "1"), ("a", "2"), ("", "")]);

        let forever = options(&[("properties.maximumPacketSize", Number(f64::INFINITY))]);
        assert_eq!(forever.properties.maximum_packet_size, None);

        for path in ["properties.receiveMaximum", "properties.maximumPacketSize"] {
            refuses(path, &[Number(0.0), Number(4_294_967_296.0), Number(1.5)]);
            refuses(path, &NO_NUMBERS);
        }
        refuses("properties.receiveMaximum", &[Number(65_536.0), Number(f64::INFINITY)]);
        refuses("properties.topicAliasMaximum", &[Number(65_536.0), Number(f64::INFINITY)]);
        refuses("properties.topicAliasMaximum", &NO_NUMBERS);
        let long = "x".repeat(65_536);
        refuses(
            "properties.userProperties",
            &[
                strings(&["a"]),
                strings(&["a", "\0"]),
                strings(&["a", "b", &long, ""]),
                text("a"),
                Other,
            ],
        );
    }

    #[test]
    fn the_session_outlives_a_short_cut_unless_told_otherwise() {
        let asked = |seconds| ("properties.sessionExpiryInterval", Number(seconds));
        let never = ("reconnect", Bool(false));
        assert_eq!(options(&[]).session_expiry(), Some(300));
        assert_eq!(options(slice::from_ref(&never)).session_expiry(), None);
        assert_eq!(options(&[asked(0.0)]).session_expiry(), Some(0));
        assert_eq!(options(&[asked(7.0), never]).session_expiry(), Some(7));
        assert_eq!(options(&[asked(4_294_967_295.0)]).session_expiry(), Some(u32::MAX));
        assert_eq!(options(&[asked(f64::INFINITY)]).session_expiry(), Some(u32::MAX));
        refuses("properties.sessionExpiryInterval", &NO_NUMBERS);
        refuses("properties.sessionExpiryInterval", &[Number(0.5), Number(4_294_967_296.0)]);
    }

    #[test]
    fn authentication_method() {
        let method =
            options(&[("authentication.method", text("SCRAM-SHA-256"))]).authentication_method;
        assert_eq!(method.as_deref(), Some("SCRAM-SHA-256"));
        refuses("authentication.method", &[text("\0"), Number(1.0), Other]);
    }

    #[test]
    fn reconnecting() {
        assert_eq!(options(&[("reconnect", Bool(false))]).reconnect, None);
        assert_eq!(options(&[("reconnect", Bool(true))]), Options::new());
        let backoff = options(&[
            ("reconnect.minDelay", Number(0.0)),
            ("reconnect.maxDelay", Number(99.5)),
            ("reconnect.factor", Number(1.5)),
            ("reconnect.jitter", Number(0.25)),
            ("reconnect.maxAttempts", Number(3.0)),
            ("reconnect.initial", Bool(true)),
        ])
        .reconnect
        .unwrap();
        assert_eq!(backoff.delays(), (0, 100));
        assert_eq!((backoff.factor, backoff.jitter), (1_500, 250));
        assert_eq!((backoff.max_attempts, backoff.initial), (Some(3), true));

        let endless = options(&[("reconnect.maxAttempts", Number(f64::INFINITY))]);
        assert_eq!(endless, Options::new());
        let huge = options(&[("reconnect.factor", Number(1e300))]).reconnect.unwrap();
        assert_eq!(huge.factor, u32::MAX);

        for path in
            ["reconnect.minDelay", "reconnect.maxDelay", "reconnect.factor", "reconnect.jitter"]
        {
            refuses(path, &NO_NUMBERS);
            refuses(path, &[Number(f64::INFINITY)]);
        }
        refuses("reconnect.factor", &[Number(0.9)]);
        refuses("reconnect.jitter", &[Number(1.1)]);
        refuses("reconnect.maxAttempts", &NO_NUMBERS);
        refuses("reconnect.maxAttempts", &[Number(1.5)]);
    }

    #[test]
    fn the_default_of_one_delay_gives_way_to_the_other() {
        let min = |ms| ("reconnect.minDelay", Number(ms));
        let max = |ms| ("reconnect.maxDelay", Number(ms));
        let delays = |leaves: &[_]| options(leaves).reconnect.unwrap().delays();
        assert_eq!(delays(&[min(60_000.0)]), (60_000, 60_000));
        assert_eq!(delays(&[max(50.0)]), (50, 50));
        assert_eq!(delays(&[max(5_000.0)]), (1_000, 5_000));
        assert_eq!(options(&[min(50.0), max(50.0)]).check(), Ok(()));
        assert_eq!(
            options(&[min(51.0), max(50.0)]).check(),
            Err(InvalidArgument::new("reconnect.maxDelay", "must not be less than minDelay"))
        );
    }

    #[test]
    fn queue() {
        let queue = options(&[
            ("queue.maxMessages", Number(0.0)),
            ("queue.maxBytes", Number(f64::INFINITY)),
        ])
        .queue;
        assert_eq!((queue.max_messages, queue.max_bytes), (0, u32::MAX));
        for path in ["queue.maxMessages", "queue.maxBytes"] {
            refuses(path, &NO_NUMBERS);
            refuses(path, &[Number(0.5)]);
        }
        for (word, overflow) in [
            ("reject", Overflow::Reject),
            ("drop-oldest", Overflow::DropOldest),
            ("drop-newest", Overflow::DropNewest),
            ("latest-per-topic", Overflow::LatestPerTopic),
        ] {
            assert_eq!(options(&[("queue.overflow", text(word))]).queue.overflow, overflow);
        }
        refuses("queue.overflow", &[text(""), text("Reject"), Bool(true), Number(0.0), Other]);
    }

    #[test]
    fn will() {
        let will = options(&[
            ("will.topic", text("state/me")),
            ("will.payload", Bytes(vec![0, 255])),
            ("will.qos", Number(2.0)),
            ("will.retain", Bool(true)),
            ("will.properties.willDelayInterval", Number(5.0)),
            ("will.properties.payloadFormatIndicator", Number(1.0)),
            ("will.properties.messageExpiryInterval", Number(4_294_967_295.0)),
            ("will.properties.contentType", text("text/plain")),
            ("will.properties.responseTopic", text("answers")),
            ("will.properties.correlationData", Bytes(vec![7])),
            ("will.properties.userProperties", strings(&["k", "v"])),
        ])
        .will
        .unwrap();
        assert_eq!(will.topic, "state/me");
        assert_eq!(will.payload, [0, 255]);
        assert_eq!(will.qos, QoS::ExactlyOnce);
        assert!(will.retain);
        assert_eq!(
            list(&will.properties),
            [
                (Property::WillDelayInterval, codec::Value::Four(5)),
                (Property::PayloadFormatIndicator, codec::Value::Byte(1)),
                (Property::MessageExpiryInterval, codec::Value::Four(u32::MAX)),
                (Property::ContentType, codec::Value::Text("text/plain")),
                (Property::ResponseTopic, codec::Value::Text("answers")),
                (Property::CorrelationData, codec::Value::Binary(&[7])),
                (Property::UserProperty, codec::Value::Pair("k", "v")),
            ]
        );
        assert_eq!(will.check(), Ok(()));

        let short = options(&[("will.topic", text("t"))]).will.unwrap();
        assert_eq!(short.payload, []);
        assert_eq!((short.qos, short.retain), (QoS::AtMostOnce, false));
    }

    #[test]
    fn a_bad_will() {
        refuses(
            "will.topic",
            &[
                text(""),
                text("a/+"),
                text("#"),
                text("a\0"),
                text(&"x".repeat(65_536)),
                Number(1.0),
            ],
        );
        refuses("will.payload", &[Bytes(vec![0; 65_536]), text("x"), Number(1.0), Other]);
        refuses("will.qos", &[Number(3.0), Number(0.5), Number(-1.0), Bool(true), text("1")]);
        for path in ["will.properties.willDelayInterval", "will.properties.messageExpiryInterval"] {
            refuses(path, &NO_NUMBERS);
            refuses(path, &[Number(0.5), Number(4_294_967_296.0), Number(f64::INFINITY)]);
        }
        refuses("will.properties.payloadFormatIndicator", &[Number(2.0), Bool(true), Other]);
        refuses("will.properties.contentType", &[text("\0"), Bytes(vec![]), Other]);
        refuses("will.properties.responseTopic", &[text(""), text("a/#"), Other]);
        refuses("will.properties.correlationData", &[Bytes(vec![0; 65_536]), text("x"), Other]);
        refuses("will.properties.userProperties", &[strings(&["x"]), Other]);
    }

    #[test]
    fn a_will_needs_a_topic() {
        let topicless = options(&[("will.payload", Bytes(vec![1]))]);
        assert_eq!(topicless.check().unwrap_err().argument, "will.topic");
        assert_eq!(Will::default().check(), topicless.check());
    }

    #[test]
    fn a_will_of_its_own_is_set_by_the_same_paths() {
        let mut will = Will::default();
        will.set("will.topic", text("a")).unwrap();
        will.set("will.qos", Undefined).unwrap();
        assert_eq!(Some(&will), options(&[("will.topic", text("a"))]).will.as_ref());
        for path in ["topic", "will.clean", "will.properties.reasonString"] {
            assert_eq!(will.set(path, text("x")), Err(InvalidArgument::new(path, "is not known")));
        }
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
