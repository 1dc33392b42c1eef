//! The broker and the clients that a test plays, all in memory.
//!
//! A client is called by a name, which is its Client Identifier too. It says packets ([`Net::says`]), and the test looks at
//! what it heard ([`Net::hears`]), both in the notation of tests/support/notation.rs; `CLOSE` and `DROP` are the ends of
//! its connection. Beyond that notation there are `CONNECT 'id' clean 60s username='x' password='y' will(q1 a 'gone')`,
//! `SUBSCRIBE #1 a/#:q1,nl`, `UNSUBSCRIBE #2 a/#` and `PINGREQ`.

use std::collections::BTreeMap;

use wasmqtt::broker::{Broker, BrokerOptions, ConnectionId, Transmit};
use wasmqtt::codec::*;
use wasmqtt::session::Instant;

use crate::support::notation::{self, push, show_properties, unquoted, words};

pub const BOTH: [Version; 2] = [Version::V5, Version::V311];

pub struct Net {
    pub broker: Broker,
    pub now: Instant,
    clients: BTreeMap<String, Client>,
}

/// A client's end of its last connection.
struct Client {
    id: ConnectionId,
    version: Version,
    decoder: Decoder,
    heard: Vec<String>,
}

/// Without limits that CONNACK would tell of.
pub fn plain() -> BrokerOptions {
    BrokerOptions {
        maximum_packet_size: u32::MAX,
        topic_alias_maximum: 0,
        ..BrokerOptions::default()
    }
}

impl Net {
    pub fn new() -> Self {
        Self::with(plain())
    }

    pub fn with(options: BrokerOptions) -> Self {
        let now = Instant(1_000_000_000);
        Self { broker: Broker::new(options, now, 7).unwrap(), now, clients: BTreeMap::new() }
    }

    /// A new connection of this client.
    pub fn open(&mut self, name: &str, version: Version) {
        let id = self.broker.handle_open(self.now);
        let decoder = Decoder::new(version, u32::MAX);
        let heard = Vec::new();
        self.clients.insert(name.into(), Client { id, version, decoder, heard });
        self.pump();
    }

    /// Opens a connection and says CONNECT, with `rest` behind the client id.
    pub fn connect(&mut self, name: &str, version: Version, rest: &str) {
        self.open(name, version);
        self.says(name, &format!("CONNECT '{name}' {rest}"));
    }

    /// The same, with Clean Start; it is accepted, and nothing stays in its log.
    #[track_caller]
    pub fn join(&mut self, name: &str, version: Version) {
        self.connect(name, version, "clean");
        self.hears(name, ["CONNACK"]);
    }

    /// The same, with a session that stays.
    #[track_caller]
    pub fn join_kept(&mut self, name: &str, version: Version) {
        self.connect(name, version, kept(version));
        self.hears(name, ["CONNACK"]);
    }

    /// Comes back to the session.
    #[track_caller]
    pub fn rejoin(&mut self, name: &str, version: Version) {
        self.connect(name, version, kept(version));
        assert_eq!(self.client(name).heard.first().map(String::as_str), Some("CONNACK present"));
        self.client_mut(name).heard.remove(0);
    }

    /// Packets in one chunk: `PUBREC #1; PUBCOMP #1`.
    pub fn says(&mut self, name: &str, packets: &str) {
        let version = self.client(name).version;
        let bytes: Vec<u8> =
            packets.split("; ").flat_map(|packet| encode(version, packet)).collect();
        self.sends(name, &bytes);
    }

    /// One chunk of bytes.
    pub fn sends(&mut self, name: &str, bytes: &[u8]) {
        let id = self.client(name).id;
        self.broker.handle_input(self.now, id, bytes);
        self.pump();
    }

    /// A frame of text.
    pub fn text(&mut self, name: &str) {
        let id = self.client(name).id;
        self.broker.handle_text(self.now, id);
        self.pump();
    }

    /// The client's connection fails.
    pub fn cut(&mut self, name: &str) {
        let id = self.client(name).id;
        self.broker.handle_close(self.now, id);
        self.pump();
    }

    /// Everything that the client has heard since this was last asked.
    #[track_caller]
    pub fn hears<const N: usize>(&mut self, name: &str, expected: [&str; N]) {
        assert_eq!(self.heard(name), expected, "{name}");
    }

    pub fn heard(&mut self, name: &str) -> Vec<String> {
        std::mem::take(&mut self.client_mut(name).heard)
    }

    /// Time goes by, and every timer is in time.
    pub fn wait(&mut self, ms: u64) {
        let until = self.now.after_ms(ms);
        while let Some(next) = self.broker.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
            self.pump();
        }
        self.now = until;
    }

    /// Does what the broker asks for.
    pub fn pump(&mut self) {
        while let Some((id, transmit)) = self.broker.poll_transmit(self.now) {
            let Some(client) = self.clients.values_mut().find(|client| client.id == id) else {
                continue;
            };
            match transmit {
                Transmit::Bytes(bytes) => client.reads(&bytes),
                Transmit::Close => client.heard.push("CLOSE".into()),
                Transmit::Drop => client.heard.push("DROP".into()),
            }
        }
    }

    /// The client ids of those who are connected.
    pub fn connected(&self) -> Vec<String> {
        let connected = self.broker.clients().filter(|client| client.connected);
        connected.map(|client| client.client_id.to_string()).collect()
    }

    /// All that were logged, as `me < CONNECT …` and `me > CONNACK`.
    pub fn log(&self) -> Vec<String> {
        self.broker
            .packets()
            .map(|logged| {
                let arrow = match logged.direction {
                    wasmqtt::broker::Direction::In => '<',
                    wasmqtt::broker::Direction::Out => '>',
                };
                format!("{} {arrow} {}", logged.client_id, show(&logged.packet()))
            })
            .collect()
    }

    fn client(&self, name: &str) -> &Client {
        self.clients.get(name).expect(name)
    }

    fn client_mut(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).expect(name)
    }
}

impl Client {
    fn reads(&mut self, bytes: &[u8]) {
        let mut at = 0;
        loop {
            match self.decoder.step(bytes, &mut at, 0).unwrap() {
                Step::Packet { first, start, len } => self.hear(first, &bytes[start..start + len]),
                Step::Split { first, body } => self.hear(first, &body),
                Step::More => return,
                Step::Wait { .. } | Step::Skipped { .. } => unreachable!(),
            }
        }
    }

    fn hear(&mut self, first: u8, body: &[u8]) {
        let packet = Packet::decode_from_server(self.version, first, body).unwrap();
        self.heard.push(show(&packet));
    }
}

/// What follows the client id of a client whose session stays.
pub fn kept(version: Version) -> &'static str {
    match version {
        Version::V311 => "",
        Version::V5 => "SessionExpiryInterval=100",
    }
}

/// Any packet as bytes.
pub fn encode(version: Version, text: &str) -> Vec<u8> {
    let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut out = Vec::new();
    match kind {
        "CONNECT" => encode_connect(version, rest, &mut out),
        "SUBSCRIBE" => {
            let (id, properties, filters) = request(rest);
            let filters = filters.into_iter().map(filter);
            encode_subscribe(version, id, properties.borrow(), filters, &mut out);
        }
        "UNSUBSCRIBE" => {
            let (id, properties, filters) = request(rest);
            encode_unsubscribe(version, id, properties.borrow(), filters.into_iter(), &mut out);
        }
        "PINGREQ" => Packet::PingReq.encode(version, &mut out),
        _ => return notation::read(version, text),
    }
    out
}

fn encode_connect(version: Version, text: &str, out: &mut Vec<u8>) {
    let (text, will_text) = match text.split_once("will(") {
        Some((before, rest)) => {
            let (will, after) = rest.split_once(')').expect("the end of the will");
            (format!("{before}{after}"), Some(will))
        }
        None => (text.to_owned(), None),
    };
    let mut properties = PropertiesBuf::default();
    let mut connect = Connect {
        clean_start: false,
        keep_alive: 0,
        client_id: "",
        will: None,
        username: None,
        password: None,
        properties: Properties::EMPTY,
    };
    for word in words(&text) {
        if let Some(client_id) = unquoted(word) {
            connect.client_id = client_id;
        } else if let Some(username) = word.strip_prefix("username=") {
            connect.username = unquoted(username);
        } else if let Some(password) = word.strip_prefix("password=") {
            connect.password = unquoted(password).map(str::as_bytes);
        } else if let Some((name, value)) = word.split_once('=') {
            push(&mut properties, name, value);
        } else if word == "clean" {
            connect.clean_start = true;
        } else {
            connect.keep_alive = word.strip_suffix('s').expect(word).parse().expect(word);
        }
    }
    connect.properties = properties.borrow();
    let mut will_properties = PropertiesBuf::default();
    let (mut qos, mut retain, mut topic, mut payload) = (QoS::AtMostOnce, false, "", "");
    for word in will_text.map(words).unwrap_or_default() {
        match word {
            "q0" | "q1" | "q2" => qos = QoS::from_bits(word.as_bytes()[1] - b'0').unwrap(),
            "retain" => retain = true,
            _ if word.starts_with('\'') => payload = unquoted(word).unwrap(),
            _ => match word.split_once('=') {
                Some((name, value)) => push(&mut will_properties, name, value),
                None => topic = word,
            },
        }
    }
    let properties = will_properties.borrow();
    let payload = payload.as_bytes();
    connect.will = will_text.map(|_| Will { topic, payload, qos, retain, properties });
    connect.encode(version, out);
}

fn request(text: &str) -> (PacketId, PropertiesBuf, Vec<&str>) {
    let (mut id, mut properties, mut filters) = (None, PropertiesBuf::default(), Vec::new());
    for word in words(text) {
        if let Some(digits) = word.strip_prefix('#').filter(|digits| digits.parse::<u16>().is_ok())
        {
            id = PacketId::new(digits.parse().unwrap());
        } else if let Some((name, value)) = word.split_once('=') {
            push(&mut properties, name, value);
        } else {
            filters.push(word);
        }
    }
    (id.expect(text), properties, filters)
}

fn filter(word: &str) -> (&str, SubscribeOptions) {
    let (filter, flags) = word.rsplit_once(':').unwrap_or((word, ""));
    let has = |flag: &str| flags.split(',').any(|word| word == flag);
    let one_of = |one, two| if has(two) { 2 } else { u8::from(has(one)) };
    let options = SubscribeOptions {
        qos: QoS::from_bits(one_of("q1", "q2")).unwrap(),
        no_local: has("nl"),
        retain_as_published: has("rap"),
        retain_handling: one_of("rh1", "rh2"),
    };
    (filter, options)
}

/// Any packet as text.
fn show(packet: &Packet<'_>) -> String {
    let (mut out, properties) = match packet {
        Packet::ConnAck(connack) => {
            let present = if connack.session_present { " present" } else { "" };
            let reason = match connack.reason {
                ReasonCode::SUCCESS => String::new(),
                reason => format!(" {:#04x}", reason.0),
            };
            (format!("CONNACK{present}{reason}"), connack.properties)
        }
        Packet::SubAck(suback) | Packet::UnsubAck(suback) => {
            let codes: Vec<String> =
                suback.codes.iter().map(|code| format!(" {code:#04x}")).collect();
            let kind = packet.packet_type().name().to_uppercase();
            (format!("{kind} #{}{}", suback.id, codes.concat()), suback.properties)
        }
        _ => return notation::show(packet),
    };
    show_properties(&mut out, properties);
    out
}
