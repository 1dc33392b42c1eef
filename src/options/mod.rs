//! What the application may ask for. Values are checked as they are set, every default is in this
//! module, and every error names the option by its path in the public API.

mod properties;
mod value;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{PacketSet, PropertiesBuf, QoS, TopicError, check_no_control_character};
pub use properties::{Draft, DraftKind};
pub use value::Value;
use value::{Checked, TOPIC};

/// What a client is made with. The leaves are set one by one, in any order, and then checked as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// The protocol version to ask for. The default is [`VersionChoice::Auto`].
    pub version: VersionChoice,
    /// The Client Identifier (3.1.3.1). By default the server assigns one, or with MQTT 3.1.1 the session
    /// makes one.
    pub client_id: Option<String>,
    /// Whether the first connection starts a new session: Clean Start (3.1.2.4), or Clean Session of
    /// 3.1.1. The default is true.
    pub clean: bool,
    /// The Keep Alive interval in seconds (3.1.2.10); 0 turns it off. The default is 60.
    pub keep_alive: u16,
    /// How long an attempt to connect may take, in milliseconds. The default is 30,000.
    pub connect_timeout_ms: u32,
    /// The message that the server publishes if the connection is lost (3.1.2.5). By default there is none.
    pub will: Option<Will>,
    /// The properties of CONNECT.
    pub properties: ConnectProperties,
    /// The Authentication Method of an authentication exchange (3.1.2.11.9). By default there is none.
    pub authentication_method: Option<String>,
    /// How to connect again after the connection is lost, or `None` for not at all. The default is
    /// [`Backoff::default`].
    pub reconnect: Option<Backoff>,
    /// Whether to subscribe again where the server has lost the session. The default is true.
    pub resubscribe: bool,
    /// The bounds of what waits to be sent.
    pub queue: Queue,
    /// Whether to send Topic Aliases, as far as the server accepts them (3.3.2.3.4). The default is true.
    pub topic_aliases: bool,
    /// Whether there is a store for what must outlive the session. The default is false.
    pub store: bool,
}

/// The protocol version that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionChoice {
    /// MQTT 5.0, or 3.1.1 if the server does not know 5.0.
    Auto,
    /// Only MQTT 5.0.
    V5,
    /// Only MQTT 3.1.1.
    V311,
}

/// The properties of CONNECT (3.1.2.11). MQTT 3.1.1 sends none of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectProperties {
    /// How long the server keeps the session without a connection, in seconds; `u32::MAX` is for ever. If it
    /// is `None`, see [`Options::session_expiry`].
    pub session_expiry: Option<u32>,
    /// How many QoS 1 and QoS 2 messages the server may send before they are acknowledged, 1 at least. The
    /// default is 65,535.
    pub receive_maximum: u16,
    /// The largest packet that the server may send, in bytes, 1 at least; `None` is no limit besides the
    /// protocol's. The default is 16 MiB.
    pub maximum_packet_size: Option<u32>,
    /// The number of Topic Aliases that the server may use. The default is 64.
    pub topic_alias_maximum: u16,
    /// Whether to ask for Response Information. The default is false.
    pub request_response_information: bool,
    /// Whether the server may send a Reason String and User Properties with failures. The default is true.
    pub request_problem_information: bool,
    /// The User Properties. The block holds no other property. By default there are none.
    pub user_properties: PropertiesBuf,
}

/// When to try again after the connection is lost or an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    min: Option<u32>,
    max: Option<u32>,
    /// The factor by which the delay grows with each attempt, in thousandths. The default is 2,000.
    pub factor: u32,
    /// The share of the delay that is random, in thousandths. By default all of the first delay in a row is random, so
    /// that a fleet does not come back at once, and half of the others.
    pub jitter: Option<u32>,
    /// How many attempts may fail one after the other; `None` is no limit, which is the default.
    pub max_attempts: Option<u32>,
    /// Whether to try again if the first connection of the client fails, too. The default is false.
    pub initial: bool,
}

/// The bounds of the messages that wait to be sent. `u32::MAX` stands for no bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    /// How many messages may wait. The default is 10,000.
    pub max_messages: u32,
    /// How many bytes of topics, payloads and properties may wait. The default is 64 MiB.
    pub max_bytes: u32,
    /// What happens to a message that would exceed a bound. The default is [`Overflow::Reject`].
    pub overflow: Overflow,
    /// Whether QoS 0 messages wait, too, while there is no connection. The default is true.
    pub qos0: bool,
}

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The new message is refused: its publish fails.
    Reject,
    /// The oldest messages make room.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// Older messages to the same topic make room.
    LatestPerTopic,
    /// The new message waits for room before it is taken.
    Wait,
}

/// The message that the server publishes if the connection is lost (3.1.2.5, 3.1.3.2 to 3.1.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Will {
    /// The topic name. It is empty until it is set, which [`Will::check`] refuses.
    pub topic: String,
    /// The payload, 65,535 bytes at most. The default is empty.
    pub payload: Vec<u8>,
    /// The QoS. The default is 0.
    pub qos: QoS,
    /// Whether the server retains the message. The default is false.
    pub retain: bool,
    /// The Will Properties (3.1.3.2). By default there are none.
    pub properties: PropertiesBuf,
}

/// A mistake of the caller: which argument it is in, and what the argument must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InvalidArgument {
    /// The path of the argument in the public API, such as `reconnect.minDelay`.
    pub argument: String,
    /// A predicate to follow the path: "must be a number of milliseconds, 0 or more".
    pub message: &'static str,
}

impl InvalidArgument {
    /// Makes an error of the path of an argument and the predicate that follows it.
    pub fn new(argument: &str, message: &'static str) -> Self {
        Self { argument: argument.to_owned(), message }
    }
}

const UNKNOWN: &str = "is not known";

macro_rules! leaves {
    ($options:ident, $value:ident: $($path:literal => $assign:expr;)*) => {
        &[$(($path, |$options, $value| { $assign; Ok(()) }),)*]
    };
}

/// The path of an option, and the function that checks and sets it.
type Leaf = (&'static str, fn(&mut Options, &Value) -> Checked<()>);

/// All options but those of the will, by their paths in the public API.
const LEAVES: &[Leaf] = leaves! { options, value:
    "protocolVersion" => options.version = value.version()?;
    "clientId" => options.client_id = Some(value.text()?.to_owned());
    "clean" => options.clean = value.flag()?;
    "keepalive" => options.keep_alive = value.two_bytes()?;
    "connectTimeout" => options.connect_timeout_ms = value.timeout()?;
    "authentication.method" => options.authentication_method = Some(value.text()?.to_owned());
    "resubscribe" => options.resubscribe = value.flag()?;
    "topicAliases" => options.topic_aliases = value.flag()?;
    "store" => options.store = value.flag()?;
    "properties.sessionExpiryInterval" => options.properties.session_expiry = Some(value.seconds_or_forever()?);
    "properties.receiveMaximum" => options.properties.receive_maximum = value.two_bytes_not_zero()?;
    "properties.maximumPacketSize" => options.properties.maximum_packet_size = value.byte_limit()?;
    "properties.topicAliasMaximum" => options.properties.topic_alias_maximum = value.two_bytes()?;
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
    "reconnect.jitter" => options.backoff().jitter = Some(value.thousandths(0.0, 1.0, "must be a number from 0 to 1")?);
    "reconnect.maxAttempts" => options.backoff().max_attempts = value.count_or_unlimited()?;
    "reconnect.initial" => options.backoff().initial = value.flag()?;
    "queue.maxMessages" => options.queue.max_messages = value.count()?;
    "queue.maxBytes" => options.queue.max_bytes = value.count()?;
    "queue.overflow" => options.queue.overflow = value.overflow()?;
    "queue.qos0" => options.queue.qos0 = value.flag()?;
};

impl Options {
    /// Makes options that all have their defaults.
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
            store: false,
        }
    }

    /// Sets one leaf. `path` is its path in the public API, such as `properties.receiveMaximum`.
    /// [`Value::Undefined`] changes nothing, whatever the path.
    ///
    /// # Errors
    ///
    /// There is no such option, or it cannot have this value. No leaf is changed then.
    pub fn set(&mut self, path: &str, value: Value) -> Result<(), InvalidArgument> {
        self.assign(path, &value).map_err(|message| InvalidArgument::new(path, message))
    }

    fn assign(&mut self, path: &str, value: &Value) -> Checked<()> {
        if let Value::Undefined = value {
            return Ok(());
        }
        // Presence is a will under names of its own.
        if let Some(name) = path.strip_prefix("will.").or(path.strip_prefix("presence.")) {
            return self.will.get_or_insert_default().assign(name, value);
        }
        if path.starts_with("reconnect.") {
            self.backoff();
        }
        let (_, assign) = LEAVES.iter().find(|(name, _)| *name == path).ok_or(UNKNOWN)?;
        assign(self, value)
    }

    /// Checks what depends on more than one leaf.
    ///
    /// # Errors
    ///
    /// The first option that does not go with the others.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        let anonymous = self.client_id.as_ref().is_none_or(String::is_empty);
        if self.version == VersionChoice::V311 && !self.clean && anonymous {
            return Err(InvalidArgument::new(
                "clientId",
                "must be set on MQTT 3.1.1 where clean is false",
            ));
        }
        if self.store && anonymous {
            return Err(InvalidArgument::new("clientId", "must be set where there is a store"));
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

    /// Returns the Session Expiry Interval of CONNECT in seconds (3.1.2.11.2), or `None` to leave it out.
    ///
    /// Where the application does not set it, the session outlives a connection by 300 seconds if the
    /// client connects again, and not at all if it does not.
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
            jitter: None,
            max_attempts: None,
            initial: false,
        }
    }
}

impl Backoff {
    /// Returns the first delay and the longest one, in milliseconds. The defaults are 1,000 and 30,000. If
    /// only one of them is set, the default of the other gives way to it.
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
    /// Sets one leaf. `path` begins with `will.`, as in the options. [`Value::Undefined`] changes nothing.
    ///
    /// # Errors
    ///
    /// There is no such leaf, or it cannot have this value. Nothing is changed then.
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
            "topic" => {
                let topic = value.topic()?;
                check_no_control_character(topic).map_err(TopicError::what)?;
                self.topic = topic.to_owned();
            }
            "payload" | "offline" => self.payload = value.bytes()?.to_owned(),
            "qos" => self.qos = value.qos()?,
            "retain" => self.retain = value.flag()?,
            _ => {
                let name = name.strip_prefix("properties.").ok_or(UNKNOWN)?;
                let property = properties::find(PacketSet::WILL, name)?;
                properties::push(property, value, &mut self.properties)?;
            }
        }
        Ok(())
    }

    /// Checks that the will has a topic.
    ///
    /// # Errors
    ///
    /// The topic was not set.
    pub fn check(&self) -> Result<(), InvalidArgument> {
        if self.topic.is_empty() {
            return Err(InvalidArgument::new("will.topic", TOPIC));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::{Value::*, *};
    use crate::codec::{self, Property};

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

    #[test]
    fn the_topic_of_a_will_has_no_control_characters() {
        for control in ('\u{1}'..='\u{1F}').chain('\u{7F}'..='\u{9F}') {
            let topic = text(&format!("a{control}"));
            let error = Options::new().set("will.topic", topic).unwrap_err();
            assert_eq!(error.argument, "will.topic");
            assert!(error.message.starts_with("must not contain control characters"));
        }
    }

    #[test]
    fn presence_is_a_will_under_names_of_its_own() {
        let will = |prefix: &str, payload: &str| {
            let path = |name: &str| format!("{prefix}.{name}");
            let options = options(&[
                (&path("topic"), text("a")),
                (&path(payload), Bytes(b"gone".to_vec())),
                (&path("qos"), Number(1.0)),
                (&path("retain"), Bool(true)),
            ]);
            options.will.unwrap()
        };
        assert_eq!(will("presence", "offline"), will("will", "payload"));
        let error = Options::new().set("presence.topic", text("a/#")).unwrap_err();
        assert_eq!(error.argument, "presence.topic");
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
        assert_eq!((backoff.factor, backoff.jitter), (2_000, None));
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
        assert_eq!((backoff.factor, backoff.jitter), (1_500, Some(250)));
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
            ("wait", Overflow::Wait),
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
}
