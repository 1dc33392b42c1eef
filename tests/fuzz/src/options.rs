//! Options in any order and of any type are refused with their path and change nothing, or make packets that a server can
//! read.

use std::collections::BTreeSet;

use wasmqtt::codec::{self, *};
use wasmqtt::options::{Draft, DraftKind, InvalidArgument, Options, Value, Will};
use wasmqtt::session::{Command, Credentials, Handle, Instant, Resolved, Server, Session, Token};

use super::input::Input;
use super::memory;

/// Every path there is, without those below `will.`.
pub const PATHS: &[&str] = &[
    "protocolVersion",
    "clientId",
    "clean",
    "keepalive",
    "connectTimeout",
    "reconnect",
    "reconnect.minDelay",
    "reconnect.maxDelay",
    "reconnect.factor",
    "reconnect.jitter",
    "reconnect.maxAttempts",
    "reconnect.initial",
    "resubscribe",
    "topicAliases",
    "authentication.method",
    "queue.maxMessages",
    "queue.maxBytes",
    "queue.overflow",
    "queue.qos0",
    "properties.sessionExpiryInterval",
    "properties.receiveMaximum",
    "properties.maximumPacketSize",
    "properties.topicAliasMaximum",
    "properties.requestResponseInformation",
    "properties.requestProblemInformation",
    "properties.userProperties",
];

pub const WILL_PATHS: &[&str] = &[
    "will.topic",
    "will.payload",
    "will.qos",
    "will.retain",
    "will.properties.willDelayInterval",
    "will.properties.messageExpiryInterval",
    "will.properties.payloadFormatIndicator",
    "will.properties.contentType",
    "will.properties.responseTopic",
    "will.properties.correlationData",
    "will.properties.userProperties",
];

pub const DRAFT_PATHS: &[&str] = &[
    "messageExpiryInterval",
    "topicAlias",
    "payloadFormatIndicator",
    "contentType",
    "responseTopic",
    "correlationData",
    "userProperties",
    "subscriptionIdentifier",
    "sessionExpiryInterval",
    "reasonString",
];

const KINDS: [DraftKind; 4] =
    [DraftKind::Publish, DraftKind::Subscribe, DraftKind::Unsubscribe, DraftKind::Disconnect];

const NOW: Instant = Instant(0);

/// How many leaves for each object, then the leaves.
pub fn run(data: &[u8]) {
    let mut spent = data.len();
    let counted = memory::allocated(|| spent += everything(data));
    // Every leaf is kept, copied into a packet, and read back, some of them for a few packets.
    assert!(counted.peak as usize <= 192 * 1024 + 16 * spent, "{} bytes", counted.peak);
    assert_eq!(counted.live, 0);
}

/// Returns the bytes of long values, which are not in the data.
fn everything(data: &[u8]) -> usize {
    let mut leaves = Leaves { input: Input::new(data), spent: 0 };
    let mut options = Options::new();
    for (path, value) in leaves.some(PATHS).into_iter().chain(leaves.some(WILL_PATHS)) {
        let mut unchanged = options.clone();
        if let Err(error) = options.set(&path, value) {
            refused(&path, &error);
            // An object of which a leaf was refused is there with its defaults.
            if path.starts_with("will.") {
                unchanged.will.get_or_insert_default();
            }
            if path.starts_with("reconnect.") {
                unchanged.reconnect.get_or_insert_default();
            }
            assert_eq!(options, unchanged, "{path}");
        }
    }
    let mut will = Will::default();
    for (path, value) in leaves.some(WILL_PATHS) {
        let unchanged = will.clone();
        if let Err(error) = will.set(&path, value) {
            refused(&path, &error);
            assert_eq!(will, unchanged, "{path}");
        }
    }
    let drafts = KINDS.map(|kind| {
        let mut draft = Draft::default();
        for (path, value) in leaves.some(DRAFT_PATHS) {
            let unchanged = draft.clone();
            let path = if leaves.input.flag() { format!("properties.{path}") } else { path };
            if let Err(error) = draft.set(kind, &path, value) {
                refused(&path, &error);
                assert_eq!(draft, unchanged, "{path}");
            }
        }
        draft
    });
    let checked = options.check();
    let session = Session::new(options.clone(), data.len() as u64);
    assert_eq!(session.as_ref().err(), checked.as_ref().err());
    if let Ok(session) = session {
        talk(session, &options, will, drafts);
    }
    leaves.spent
}

fn refused(path: &str, error: &InvalidArgument) {
    assert_eq!(error.argument, path);
    assert!(error.message.starts_with("must ") || error.message == "is not known", "{error:?}");
}

/// Whatever the options and drafts, the packets made of them are well formed.
fn talk(
    mut session: Session,
    options: &Options,
    will: Will,
    [publish, subscribe, unsubscribe, disconnect]: [Draft; 4],
) {
    let changed = session.set_will(Some(will.clone()));
    let will = if changed.is_ok() { Some(&will) } else { options.will.as_ref() };
    session.connect();
    let Some(Command::Resolve { id, .. }) = session.poll_command() else { panic!() };
    let server = Server { url: "ws://server".into(), credentials: Credentials::default() };
    session.handle_resolved(NOW, id, Ok(Resolved { servers: vec![server], dynamic: false }));
    let Some(Command::Open { id, .. }) = session.poll_command() else { panic!() };
    session.handle_open(NOW, id);
    if let Some(Command::Authenticate { id, .. }) = session.poll_command() {
        session.handle_auth(NOW, id, Ok(Some(vec![1])));
    }
    let bytes = session.poll_transmit(NOW).unwrap().to_vec();
    // Behind the protocol's name.
    let level = cut(&bytes).1[6];
    let version = if level == 4 { Version::V311 } else { Version::V5 };
    let (first, body) = cut(&bytes);
    let Packet::Connect(connect) = Packet::decode(version, first, body).unwrap() else { panic!() };
    assert_eq!(connect.keep_alive, options.keep_alive);
    assert_eq!(connect.clean_start, options.clean);
    let v5 = version == Version::V5;
    match &options.client_id {
        Some(id) if v5 || !id.is_empty() => assert_eq!(connect.client_id, id),
        _ => assert_eq!(connect.client_id.is_empty(), v5),
    }
    let sent = connect.will.map(|will| (will.topic, will.payload, will.qos, will.retain));
    assert_eq!(sent, will.map(|will| (&*will.topic, &*will.payload, will.qos, will.retain)));
    if let (true, Some(sent), Some(will)) = (v5, connect.will, will) {
        assert_eq!(sent.properties, will.properties.borrow());
    }
    if v5 {
        let own = &options.properties;
        let sent = |property, default| connect.properties.u32(property).unwrap_or(default);
        assert_eq!(sent(Property::ReceiveMaximum, 65_535), own.receive_maximum.into());
        assert_eq!(sent(Property::SessionExpiryInterval, 0), options.session_expiry().unwrap_or(0));
        assert_eq!(
            connect.properties.user_properties().count(),
            own.user_properties.borrow().iter().count()
        );
    }

    let mut properties = PropertiesBuf::default();
    if let Some(method) = connect.properties.text(Property::AuthenticationMethod) {
        properties.push(Property::AuthenticationMethod, codec::Value::Text(method));
    }
    let connack = ConnAck {
        session_present: false,
        reason: ReasonCode::SUCCESS,
        properties: properties.borrow(),
    };
    let mut answer = Vec::new();
    connack.encode(version, &mut answer);
    if answer.len() > options.properties.maximum_packet_size.unwrap_or(u32::MAX) as usize {
        return;
    }
    session.handle_input(NOW, answer[..].into());
    let topic = session.topic("t").unwrap();
    let plain = SubscribeOptions {
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    };
    let published = session.publish(
        NOW,
        topic,
        b"x",
        QoS::AtLeastOnce,
        false,
        Some(publish.clone()),
        Token::new(1),
    );
    // The server of this story takes no aliases.
    assert_eq!(published.is_ok(), publish.topic_alias.is_none() || !v5, "{published:?}");
    let filters = [("f".into(), plain)];
    session.subscribe(Token::new(2), Handle(1), &filters, subscribe).unwrap();
    session.unsubscribe(Token::new(3), &["g".into()], unsubscribe).unwrap();
    let ended = session.end(NOW, 0, false, ReasonCode::SUCCESS, disconnect.clone());
    let lengthens = options.properties.session_expiry == Some(0)
        && disconnect.session_expiry.is_some_and(|e| e > 0);
    assert_eq!(ended.is_err(), lengthens);
    let mut sent = Vec::new();
    while let Some(bytes) = session.poll_transmit(NOW) {
        sent.extend_from_slice(bytes);
    }
    let mut decoder = Decoder::new(version, u32::MAX);
    let mut at = 0;
    while let Step::Packet { first, start, len } = decoder.step(&sent, &mut at, 0).unwrap() {
        let packet = Packet::decode(version, first, &sent[start..][..len]);
        assert!(packet.is_ok(), "{packet:?} {:02x?}", &sent[start..][..len]);
    }
    assert_eq!((at, decoder.buffered()), (sent.len(), 0));
}

/// First byte and body of one packet.
fn cut(bytes: &[u8]) -> (u8, &[u8]) {
    let mut at = 0;
    let step = Decoder::new(Version::V5, u32::MAX).step(bytes, &mut at, 0);
    let Ok(Step::Packet { first, start, len }) = step else { panic!("{step:?}") };
    assert_eq!(at, bytes.len());
    (first, &bytes[start..][..len])
}

struct Leaves<'a> {
    input: Input<'a>,
    spent: usize,
}

impl Leaves<'_> {
    /// Paths with values, each path at most once, as an object has its keys.
    fn some(&mut self, paths: &[&str]) -> Vec<(String, Value)> {
        let mut names = BTreeSet::new();
        let mut leaves = Vec::new();
        for _ in 0..self.input.below(32) {
            let path = match self.input.byte() {
                255 => self.short_text(),
                byte => paths[usize::from(byte) % paths.len()].to_owned(),
            };
            let value = self.value();
            if names.insert(path.clone()) {
                leaves.push((path, value));
            }
        }
        leaves
    }

    fn value(&mut self) -> Value {
        match self.input.below(12) {
            0 => Value::Undefined,
            1 | 2 => Value::Bool(self.input.flag()),
            3..6 => Value::Number(self.number()),
            6 | 7 => Value::Text(self.text()),
            8 => Value::Text(
                self.input
                    .pick(&["auto", "reject", "drop-oldest", "drop-newest", "latest-per-topic"])
                    .to_owned(),
            ),
            9 => Value::Bytes(self.text().into_bytes()),
            10 => Value::Strings((0..self.input.below(5)).map(|_| self.text().into()).collect()),
            _ => Value::Other,
        }
    }

    fn number(&mut self) -> f64 {
        match self.input.below(4) {
            0 => f64::from(self.input.byte()),
            1 => f64::from_bits(u64::from_be_bytes([(); 8].map(|()| self.input.byte()))),
            2 => self.input.pick(&[
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::NAN,
                -0.0,
                0.5,
                -1.0,
                1e300,
                5e-324,
            ]),
            _ => {
                let edge = self.input.pick(&[
                    1,
                    4,
                    5,
                    60,
                    65_535,
                    268_435_455,
                    i64::from(u32::MAX),
                    1 << 53,
                ]);
                (edge + i64::from(self.input.byte() as i8).signum()) as f64
            }
        }
    }

    /// Mostly short; at times at the length where text does not fit a field any more.
    fn text(&mut self) -> String {
        if self.input.byte() < 250 {
            return self.short_text();
        }
        let unit = self.input.pick(&["x", "ä", "/", "\u{FEFF}"]);
        let text = unit.repeat(65_535 / unit.len() + usize::from(self.input.flag()));
        self.spent += text.len();
        text
    }

    fn short_text(&mut self) -> String {
        String::from_utf8_lossy(self.input.block()).into_owned()
    }
}
