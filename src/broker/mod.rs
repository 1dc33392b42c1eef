//! A broker for tests and demos: the server's side of MQTT 5.0 and 3.1.1 as a synchronous value in virtual time, with no
//! socket, clock or future in it. It is no server for production: nothing is stored, and what is too much is dropped.
//!
//! ```
//! use wasmqtt::broker::{Broker, BrokerOptions, Transmit};
//! use wasmqtt::session::Instant;
//!
//! let now = Instant(0);
//! let mut broker = Broker::new(BrokerOptions::default(), now, 1)?;
//! let connection = broker.handle_open(now);
//! // CONNECT of MQTT 3.1.1 with the client id "me".
//! broker.handle_input(now, connection, b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me");
//! let connack = Transmit::Bytes(b"\x20\x02\x00\x00".to_vec());
//! assert_eq!(broker.poll_transmit(now), Some((connection, connack)));
//! # Ok::<(), wasmqtt::broker::InvalidRequest>(())
//! ```

#[cfg(target_arch = "wasm32")]
mod bindings;
mod connection;
mod faults;
mod handshake;
mod incoming;
mod log;
mod message;
mod outgoing;
mod router;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::rc::Rc;

use crate::codec::{
    DecodeError, PacketType, Properties, QoS, ReasonCode, Step, Version, check_topic,
};
use crate::session::Instant;
pub use connection::Transmit;
use connection::{Carried, Connection, Stage};
use faults::Faults;
use handshake::Ending;
pub use handshake::MAXIMUM_SESSIONS;
pub use incoming::MAXIMUM_SUBSCRIPTIONS;
use log::Log;
pub use log::{Direction, LoggedPacket, MAXIMUM_PACKETS};
pub use message::Message;
use message::SECOND_MS;
pub use router::MAXIMUM_RETAINED;
use router::{Retained, Router};
pub use session::MAXIMUM_QUEUED;
use session::{Presence, Session};

/// Names a connection. It is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(NonZeroU32);

impl ConnectionId {
    /// The id with this number, which [`Self::get`] gave.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// Names a session. It is never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct SessionId(u64);

/// How the broker behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerOptions {
    /// The versions that clients may speak. Default: both.
    pub versions: Vec<Version>,
    /// Passwords by user name. Empty, the default: everybody may connect, whatever they say.
    pub users: BTreeMap<String, Vec<u8>>,
    /// QoS 2 messages that a client may leave unreleased, 1 to 65,535 (MQTT 5, 3.2.2.3.3). Default 65,535.
    pub receive_maximum: u16,
    /// Bytes of the largest packet that the broker takes (MQTT 5, 3.2.2.3.6). Default 64 MiB.
    pub maximum_packet_size: u32,
    /// The highest QoS that the broker takes and grants (MQTT 5, 3.2.2.3.4). Default 2.
    pub maximum_qos: QoS,
    /// Topic aliases that a client may use (MQTT 5, 3.2.2.3.8). Default 64; 0: none.
    pub topic_alias_maximum: u16,
    /// Whether messages may be retained (MQTT 5, 3.2.2.3.5). Default true.
    pub retain_available: bool,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            versions: vec![Version::V311, Version::V5],
            users: BTreeMap::new(),
            receive_maximum: u16::MAX,
            maximum_packet_size: 64 * 1024 * 1024,
            maximum_qos: QoS::ExactlyOnce,
            topic_alias_maximum: 64,
            retain_available: true,
        }
    }
}

/// A mistake of the caller: which argument, and what is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidRequest {
    /// The argument's name in the JavaScript API.
    pub argument: &'static str,
    /// What goes on where the name ends.
    pub what: &'static str,
}

impl InvalidRequest {
    const fn new(argument: &'static str, what: &'static str) -> Self {
        Self { argument, what }
    }
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.argument, self.what)
    }
}

impl std::error::Error for InvalidRequest {}

/// What a client did against the specification, or beyond a limit: the reason code of the DISCONNECT, and a text for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Violation {
    reason: ReasonCode,
    what: &'static str,
}

impl Violation {
    const fn protocol(what: &'static str) -> Self {
        Self { reason: ReasonCode::PROTOCOL_ERROR, what }
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        Self { reason: error.reason, what: error.what }
    }
}

/// A session as the test sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientInfo {
    /// The Client Identifier, also where the broker assigned it.
    pub client_id: Rc<str>,
    /// Whether the client is connected. If not, the broker keeps its session.
    pub connected: bool,
    /// The Topic Filters it subscribes to, in full, in the order of the alphabet.
    pub subscriptions: Vec<Rc<str>>,
}

/// What a frozen connection may hold back of what its client sends, in bytes.
const MAXIMUM_FROZEN: usize = 64 * 1024 * 1024;
/// Milliseconds between two messages about the broker itself, where somebody wants them.
const SYSTEM_INTERVAL_MS: u64 = 10 * SECOND_MS;

/// The broker.
///
/// There are four kinds of methods. `handle_*` say what happened outside and never fail. Verbs say what the test wants and
/// fail only on its own mistakes. `poll_*` tell the caller what it must do now, and are asked after each of the others.
/// The rest looks at what there is.
#[derive(Clone, Debug)]
pub struct Broker {
    options: BrokerOptions,
    started: Instant,
    /// For the client identifiers that the broker assigns.
    random: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    last_connection: u32,
    sessions: BTreeMap<SessionId, Session>,
    next_session: SessionId,
    /// Sessions by Client Identifier.
    names: BTreeMap<Rc<str>, SessionId>,
    router: Router,
    retained: Retained,
    faults: Faults,
    log: Log,
    /// Connections that may have something to transmit.
    ready: BTreeSet<ConnectionId>,
    /// When the messages about the broker itself are sent next.
    system_due: Instant,
}

impl Broker {
    /// Makes a broker without clients. `seed`: any number, for the client identifiers that it assigns.
    pub fn new(options: BrokerOptions, now: Instant, seed: u64) -> Result<Self, InvalidRequest> {
        if options.versions.is_empty() {
            return Err(InvalidRequest::new("versions", "must hold 4, 5 or both"));
        }
        if options.receive_maximum == 0 {
            return Err(InvalidRequest::new("receiveMaximum", "must be 1 to 65,535"));
        }
        if options.maximum_packet_size == 0 {
            return Err(InvalidRequest::new("maximumPacketSize", "must be at least 1"));
        }
        Ok(Self {
            options,
            started: now,
            random: seed,
            connections: BTreeMap::new(),
            last_connection: 0,
            sessions: BTreeMap::new(),
            next_session: SessionId(0),
            names: BTreeMap::new(),
            router: Router::default(),
            retained: Retained::default(),
            faults: Faults::default(),
            log: Log::default(),
            ready: BTreeSet::new(),
            system_due: now.after_ms(SYSTEM_INTERVAL_MS),
        })
    }

    // ------------------------------------------------------------------------------------ what happened outside

    /// A client has opened a connection.
    pub fn handle_open(&mut self, now: Instant) -> ConnectionId {
        self.last_connection += 1;
        let id =
            ConnectionId::new(self.last_connection).expect("4,294,967,295 connections at most");
        let mut connection = Connection::new(now);
        if let Some(bytes) = self.faults.cut_of_next() {
            connection.link.cut_at(bytes);
        }
        self.connections.insert(id, connection);
        self.cut_if_due(now, id);
        id
    }

    /// Bytes came, split in any way. What comes for a connection that is over is ignored.
    pub fn handle_input(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(frozen) = &mut connection.link.frozen {
            if frozen.input.len() + bytes.len() > MAXIMUM_FROZEN {
                return self.lose(now, id);
            }
            return frozen.input.extend_from_slice(bytes);
        }
        // What does not begin with a CONNECT may be no MQTT at all.
        let is_first = connection.link.carries_first();
        if is_first && bytes.first().is_some_and(|byte| *byte != PacketType::Connect.first_byte()) {
            return self.close(now, id);
        }
        match connection.link.carry(bytes.len()) {
            Carried::All => self.read(now, id, bytes),
            Carried::Cut(passed) => {
                self.read(now, id, &bytes[..passed]);
                self.lose(now, id);
            }
        }
    }

    /// Something came that is no binary data: a text frame of a WebSocket [MQTT-6.0.0-1].
    pub fn handle_text(&mut self, now: Instant, id: ConnectionId) {
        let what = Some("a WebSocket frame that is not binary");
        self.end(now, id, ReasonCode::PROTOCOL_ERROR, what, Ending::Lost);
    }

    /// The connection is gone: the client has closed it, or the network has failed.
    pub fn handle_close(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match (&mut connection.link.frozen, &connection.stage) {
            (Some(frozen), Stage::Opened { .. } | Stage::Up(_)) => frozen.closed = true,
            _ => self.gone(now, id),
        }
    }

    /// The time that [`Broker::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for id in connections {
            let Some(connection) = self.connections.get(&id) else { continue };
            if connection.link.due().is_some_and(|due| due <= now) {
                self.ready.insert(id);
            }
            if connection.deadline().is_some_and(|deadline| deadline <= now) {
                let what = Some("nothing came for 1.5 times the Keep Alive");
                self.end(now, id, ReasonCode::KEEP_ALIVE_TIMEOUT, what, Ending::Lost);
            }
        }
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        for id in sessions {
            self.end_what_is_due(now, id);
        }
        if self.system_due <= now {
            self.system_due = now.after_ms(SYSTEM_INTERVAL_MS);
            self.tell_uptime(now);
        }
    }

    // ------------------------------------------------------------------------------------ what the test wants

    /// Publishes a message as if a client had. Fails where `topic` is no topic name that a client may use.
    pub fn publish(
        &mut self,
        now: Instant,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        properties: Properties<'_>,
    ) -> Result<(), InvalidRequest> {
        if check_topic(topic.as_bytes()).is_err() || topic.starts_with("$SYS") {
            return Err(InvalidRequest::new(
                "topic",
                "is no topic name, or one of the broker's own",
            ));
        }
        let message = Message::own(topic, payload, qos, retain).with_properties(now, properties);
        let message = Rc::new(message);
        if retain && self.retained.store(now, &message).is_err() {
            return Err(InvalidRequest::new("retain", "would retain more than there is room for"));
        }
        self.deliver(now, None, &message);
        Ok(())
    }

    // ------------------------------------------------------------------------------------ what the caller must do now

    /// What is to be sent or closed now. To be asked until it says `None`.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(ConnectionId, Transmit)> {
        while let Some(&id) = self.ready.first() {
            let transmit =
                self.connections.get_mut(&id).and_then(|connection| connection.link.take(now));
            match transmit {
                None => {
                    self.ready.remove(&id);
                }
                Some(Transmit::Bytes(mut bytes)) => {
                    self.transmitted(now, id, &mut bytes);
                    if !bytes.is_empty() {
                        return Some((id, Transmit::Bytes(bytes)));
                    }
                }
                Some(end) => {
                    self.connections.remove(&id);
                    self.ready.remove(&id);
                    return Some((id, end));
                }
            }
        }
        None
    }

    /// When [`Broker::handle_timeout`] must be called. `None`: nothing waits for time to pass.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.connections.iter().flat_map(|(id, connection)| {
            let due = connection.link.due().filter(|_| !self.ready.contains(id));
            [due, connection.deadline()]
        });
        let sessions = self.sessions.values().flat_map(|session| {
            let expires = match session.presence {
                Presence::Away { expires } => expires,
                Presence::Connected(_) => None,
            };
            [expires, session.pending_will.as_ref().map(|pending| pending.due)]
        });
        let system = self.router.has_system_subscriptions().then_some(self.system_due);
        connections.chain(sessions).chain([system]).flatten().min()
    }

    // ------------------------------------------------------------------------------------ what there is

    /// The sessions, in the order in which they began.
    pub fn clients(&self) -> impl Iterator<Item = ClientInfo> {
        self.sessions.values().map(|session| ClientInfo {
            client_id: session.client_id.clone(),
            connected: session.connection().is_some(),
            subscriptions: session.subscriptions.iter().cloned().collect(),
        })
    }

    /// The retained messages, in the order of their topics, without those of the broker itself.
    pub fn retained(&self, now: Instant) -> impl Iterator<Item = &Message> {
        self.retained.iter(now).map(|message| &**message)
    }

    /// What clients sent and got, oldest first: the last [`MAXIMUM_PACKETS`] at most.
    pub fn packets(&self) -> impl DoubleEndedIterator<Item = &LoggedPacket> + ExactSizeIterator {
        self.log.iter()
    }

    /// The number that the next packet in the log will have.
    pub fn next_packet(&self) -> u64 {
        self.log.next()
    }

    // ------------------------------------------------------------------------------------ reading

    fn read(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        let mut at = 0;
        while let Some(connection) = self.connections.get_mut(&id) {
            if matches!(connection.stage, Stage::Over) {
                return;
            }
            match connection.decoder.step(bytes, &mut at, 0) {
                Ok(Step::More) => return,
                Ok(Step::Packet { first, start, len }) => {
                    self.on_any(now, id, first, &bytes[start..start + len]);
                }
                Ok(Step::Split { first, body }) => self.on_any(now, id, first, &body),
                Ok(Step::Wait { .. } | Step::Skipped { .. }) => {
                    unreachable!("the decoder was told neither to defer nor to skip")
                }
                Err(error) => self.violated(now, id, error.into()),
            }
            if self.connections.get(&id).is_some_and(|connection| connection.link.is_full()) {
                return self.lose(now, id);
            }
        }
    }

    fn on_any(&mut self, now: Instant, id: ConnectionId, first: u8, body: &[u8]) {
        let is_first = self
            .connections
            .get(&id)
            .is_some_and(|connection| matches!(connection.stage, Stage::Opened { .. }));
        if is_first {
            return self.on_first(now, id, first, body);
        }
        if let Err(violation) = self.on_packet(now, id, first, body) {
            self.violated(now, id, violation);
        }
    }

    fn violated(&mut self, now: Instant, id: ConnectionId, violation: Violation) {
        self.end(now, id, violation.reason, Some(violation.what), Ending::Lost);
    }

    /// A Client Identifier that nobody has [MQTT-3.1.3-6].
    fn unused_client_id(&mut self) -> String {
        loop {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let client_id = format!("auto-{:016x}", mixed ^ (mixed >> 31));
            if !self.names.contains_key(&*client_id) {
                return client_id;
            }
        }
    }
}
