//! Every state that the handshakes of QoS 1 and QoS 2 can reach: the real [`Session`] against a small server, two messages
//! each way, the connection cut at any point, the session kept or lost. No state may lose or repeat a message, and from
//! each there must be a way to the end. The third cut in a row may cost a message that was sent each time and not
//! acknowledged; a message that the application withdraws is not sent on a later connection.
//!
//! With a store, the client may also be killed at any point: the next one goes on with what the store has kept. A write may
//! fail, and its time is any.
//!
//! `MODEL=full cargo test --release --test model -- --nocapture` searches all combinations of both ways at once, two cuts each.

#[path = "support/memory.rs"]
mod memory;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::io::{Write as _, stderr};

use memory::Memory;
use wasmqtt::codec::{
    self, Ack, ConnAck, DecodeError, Decoder, Packet, PacketId, PacketType, Properties, QoS,
    ReasonCode, Step, Version,
};
use wasmqtt::options::{Options, Value};
use wasmqtt::session::{
    self, Command, ErrorCode, Event, Input, Instant, Resolved, Session, State, Token,
};

const TOPIC: &str = "t";
const ONE: QoS = QoS::AtLeastOnce;
const TWO: QoS = QoS::ExactlyOnce;

/// The message that a token stands for.
fn index(token: Token) -> usize {
    token.get() as usize - 1
}

/// What is searched: the QoS of the messages each way, and how often the connection may be cut.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    version: Version,
    out: &'static [QoS],
    back: &'static [QoS],
    cuts: u8,
    /// The application may withdraw its first message.
    withdraws: bool,
    /// With a store: how often the client may be killed, and how many writes may fail.
    store: Option<(u8, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    /// The application publishes its next message.
    Publish,
    /// The application withdraws its first message.
    Withdraw,
    /// The server has its next message for the client.
    Offer,
    /// What the session has written leaves for the network.
    Transmit,
    /// The next packet reaches the server.
    ToServer,
    /// The CONNECT reaches a server that has lost the session.
    ToServerWithoutSession,
    /// The next packet reaches the client.
    ToClient,
    /// The application has seen what was delivered.
    Delivered,
    /// The connection ends; what is under way is lost. The client opens the next one at once.
    Cut,
    /// The store has kept the write that was under way.
    Keep,
    /// The write fails, and the time comes for the next one.
    Fail,
    /// The client is gone, and the next one begins with what the store has kept.
    Kill,
}

use Action::*;

/// What became of a message of the application.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Promise {
    Unmade,
    Pending,
    Kept,
    SessionLost,
    /// It was sent on three connections that ended.
    GivenUp,
    /// Before the connection with this number, counted by cuts and kills.
    Withdrawn(u8),
    /// The store did not take it.
    Refused,
    /// The client was killed before.
    Orphan,
}

/// What became of a message of the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Offered {
    Not,
    /// `id` None: not sent yet.
    Open {
        id: Option<PacketId>,
        released: bool,
    },
    Acknowledged,
    /// With the session.
    Lost,
}

/// A server with one client, one topic and no limits.
#[derive(Clone, Hash, Debug)]
struct Server {
    connected: bool,
    session: bool,
    /// It lost the session, and nothing shows that the client has heard. Until then it says so again: nobody can make good
    /// a loss that was never told.
    unheard_loss: bool,
    /// QoS 2 messages of the client that are not released.
    received: BTreeSet<PacketId>,
    /// How often each message of the client was taken.
    taken: [u8; 2],
    offered: [Offered; 2],
}

#[derive(Clone, Hash, Debug)]
struct World {
    session: Session,
    server: Server,
    to_server: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    promises: [Promise; 2],
    /// How often each message of the server was delivered.
    delivered: [u8; 2],
    store: Memory,
    /// Messages of the application that the store has kept.
    recorded: [bool; 2],
    /// How often each message of the server was in the hands of the application when the client was killed.
    exposed: [u8; 2],
    /// Messages of a client that was killed for which the next one found no session.
    orphans_lost: u8,
    kills: u8,
    fails: u8,
    /// Messages that the application has not been done with.
    in_delivery: bool,
    cuts: u8,
    /// On how many connections each message of the application was sent, and after which cut last.
    sent: [(u8, Option<u8>); 2],
}

type Verdict = Result<(), String>;

/// Whether a record is that of a message, which ends with its payload.
fn is_record_of(at: u8) -> impl Fn(&Vec<u8>) -> bool {
    move |record| record[0] < 2 && record.ends_with(&[at])
}

impl World {
    fn session(bounds: Bounds) -> Session {
        let number = |value| Value::Number(value);
        let mut options = Options::new();
        for (path, value) in [
            ("protocolVersion", number(if bounds.version == Version::V5 { 5.0 } else { 4.0 })),
            ("clientId", Value::Text("c".into())),
            ("clean", Value::Bool(false)),
            ("keepalive", number(0.0)),
            ("reconnect.minDelay", number(0.0)),
            ("reconnect.jitter", number(0.0)),
            ("reconnect.initial", Value::Bool(true)),
            ("store", Value::Bool(bounds.store.is_some())),
        ] {
            options.set(path, value).unwrap();
        }
        let mut session = Session::new(options, 1).unwrap();
        session.topic(TOPIC).unwrap();
        session.connect();
        session
    }

    fn new(bounds: Bounds) -> Self {
        let mut world = Self {
            session: Self::session(bounds),
            server: Server {
                connected: false,
                session: false,
                unheard_loss: false,
                received: BTreeSet::new(),
                taken: [0; 2],
                offered: [Offered::Not; 2],
            },
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            promises: [Promise::Unmade; 2],
            delivered: [0; 2],
            store: Memory::default(),
            recorded: [false; 2],
            exposed: [0; 2],
            orphans_lost: 0,
            kills: 0,
            fails: 0,
            in_delivery: false,
            cuts: 0,
            sent: [(0, None); 2],
        };
        world.open(bounds).unwrap();
        world
    }

    /// Time stands still but for the delay after a cut, so that it tells states apart no more than cuts do.
    fn now(&self) -> Instant {
        Instant::default().after_ms(1_000 * u64::from(self.cuts + self.kills + self.fails))
    }

    fn actions(&self, bounds: Bounds) -> Vec<Action> {
        let mut actions = Vec::new();
        let unmade = self.promises[..bounds.out.len()].contains(&Promise::Unmade);
        let (kills, fails) = bounds.store.unwrap_or((0, 0));
        let unoffered = self.server.offered[..bounds.back.len()].contains(&Offered::Not);
        for (action, possible) in [
            (Publish, unmade),
            (Withdraw, bounds.withdraws && self.promises[0] == Promise::Pending),
            (Offer, unoffered && self.server.session),
            (Transmit, self.session.pending_output() > 0),
            (ToServer, !self.to_server.is_empty()),
            (
                ToServerWithoutSession,
                !self.server.connected && self.server.session && !self.to_server.is_empty(),
            ),
            (ToClient, !self.to_client.is_empty()),
            (Delivered, self.in_delivery),
            (Cut, self.cuts < bounds.cuts),
            (Keep, self.store.is_writing()),
            (Fail, self.store.is_writing() && self.fails < fails),
            (Kill, self.kills < kills),
        ] {
            if possible {
                actions.push(action);
            }
        }
        actions
    }

    fn apply(&mut self, bounds: Bounds, action: Action) -> Verdict {
        match action {
            Publish => {
                let Some(at) = self.promises.iter().position(|promise| *promise == Promise::Unmade)
                else {
                    return Ok(());
                };
                self.promises[at] = Promise::Pending;
                let token = Token::new(at as u32 + 1);
                let published = self.session.publish(
                    self.now(),
                    0,
                    &[at as u8],
                    bounds.out[at],
                    false,
                    None,
                    token,
                );
                published.map_err(|error| format!("publish was refused: {error:?}"))?;
            }
            Withdraw => {
                self.promises[0] = Promise::Withdrawn(self.cuts + self.kills);
                let token = Token::new(1).ok_or("no token")?;
                self.session.cancel(self.now(), token);
            }
            Offer => {
                let Some(at) =
                    self.server.offered.iter().position(|offered| *offered == Offered::Not)
                else {
                    return Ok(());
                };
                self.server.offered[at] = Offered::Open { id: None, released: false };
                self.server.send(bounds, false, &mut self.to_client);
            }
            Transmit => {
                while let Some(frame) = self.session.poll_transmit(self.now()) {
                    let packets = split(bounds.version, frame)?;
                    for packet in &packets {
                        self.notice(bounds, packet)?;
                    }
                    self.to_server.extend(packets);
                }
            }
            ToServer | ToServerWithoutSession => {
                if action == ToServerWithoutSession {
                    self.server.lose_session();
                }
                if let Some(packet) = self.to_server.pop_front() {
                    self.server.read(bounds, &packet, &mut self.to_client)?;
                }
            }
            ToClient => {
                if let Some(packet) = self.to_client.pop_front() {
                    let now = self.now();
                    self.session.handle_input(now, Input::from(&packet[..]));
                    self.events(bounds, &packet)?;
                }
            }
            Delivered => {
                self.session.delivered();
                self.in_delivery = false;
            }
            Cut => {
                let id = self.session.attempt_id();
                self.session.handle_close(self.now(), id, None, None);
                self.to_server.clear();
                self.to_client.clear();
                self.server.connected = false;
                self.in_delivery = false;
                self.events(bounds, &[])?;
                self.cuts += 1;
                self.session.handle_timeout(self.now());
                self.open(bounds)?;
            }
            Keep => {
                self.store.settle(true);
                for at in 0..2 {
                    self.recorded[usize::from(at)] |=
                        self.store.kept.values().any(is_record_of(at));
                }
                self.session.handle_stored(self.now(), true);
            }
            Fail => {
                self.store.settle(false);
                self.session.handle_stored(self.now(), false);
                self.fails += 1;
                self.session.handle_timeout(self.now());
            }
            Kill => {
                for (at, offered) in self.server.offered.iter().enumerate() {
                    if let Offered::Open { id: Some(id), released: false } = offered
                        && !self.store.kept.contains_key(&-i64::from(id.get()))
                    {
                        self.exposed[at] = self.delivered[at];
                    }
                }
                for (at, promise) in self.promises.iter_mut().enumerate() {
                    // The store may not know yet that a message was withdrawn.
                    let is_kept = self.store.kept.values().any(is_record_of(at as u8));
                    if *promise == Promise::Pending
                        || matches!(promise, Promise::Withdrawn(_) | Promise::GivenUp) && is_kept
                    {
                        *promise = Promise::Orphan;
                    }
                }
                self.sent = [(0, None); 2];
                self.kills += 1;
                self.session = Self::session(bounds);
                self.store = self.store.left();
                self.to_server.clear();
                self.to_client.clear();
                self.server.connected = false;
                self.in_delivery = false;
                self.open(bounds)?;
            }
        }
        self.open(bounds)?;
        self.check(bounds)
    }

    /// A packet leaves the client.
    fn notice(&mut self, bounds: Bounds, packet: &[u8]) -> Verdict {
        let decoded = Packet::decode(bounds.version, packet[0], &packet[2..]);
        if let Ok(Packet::Publish(publish)) = decoded {
            let at = usize::from(publish.payload[0]);
            if matches!(self.promises[at], Promise::Withdrawn(ends) if ends < self.cuts + self.kills)
            {
                return Err(format!("message {} was withdrawn, and is sent again", at + 1));
            }
            let (count, last) = &mut self.sent[at];
            *count += u8::from(*last != Some(self.cuts));
            *last = Some(self.cuts);
        }
        Ok(())
    }

    /// Does what the session asks for to have a socket.
    fn open(&mut self, bounds: Bounds) -> Verdict {
        let now = self.now();
        while let Some(command) = self.session.poll_command() {
            match command {
                Command::Resolve { id, .. } => {
                    let server = session::Server {
                        url: "ws://host".into(),
                        credentials: Default::default(),
                    };
                    let resolved = Resolved { servers: vec![server], dynamic: false };
                    self.session.handle_resolved(now, id, Ok(resolved));
                }
                Command::Open { id, .. } => self.session.handle_open(now, id),
                Command::Load { id } => {
                    self.session.handle_loaded(now, id, 0, Ok(self.store.records()));
                }
                Command::Store => self.store.write(self.session.changes()),
                other => return Err(format!("the session asks for {other:?}")),
            }
        }
        self.events(bounds, &[])
    }

    fn events(&mut self, bounds: Bounds, chunk: &[u8]) -> Verdict {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Published { token, reason, .. } => {
                    if reason != ReasonCode::SUCCESS {
                        return Err(format!("message {token} was answered with {reason:?}"));
                    }
                    self.settle(token, Promise::Kept)?;
                }
                Event::Failed { token, error } if error.code == ErrorCode::PublishRefused => {
                    // A release is given up likewise; it is sent on fewer connections than the message.
                    let (count, last) = self.sent[index(token)];
                    let release = bounds.out[index(token)] == TWO;
                    if self.cuts < 2 || !release && (count < 3 || last != Some(self.cuts)) {
                        return Err(format!("message {token} was given up too soon"));
                    }
                    self.settle(token, Promise::GivenUp)?;
                }
                Event::Failed { token, error } if error.code == ErrorCode::StoreFailed => {
                    self.settle(token, Promise::Refused)?;
                }
                Event::Error(error) if error.code == ErrorCode::StoreFailed && self.fails > 0 => {}
                Event::Error(error)
                    if self.kills > 0
                        && (error.code == ErrorCode::SessionLost
                            || error.code == ErrorCode::PublishRefused && self.cuts > 1) =>
                {
                    self.orphans_lost += 1;
                }
                Event::Failed { token, error } => {
                    if error.code != ErrorCode::SessionLost || bounds.out[index(token)] != TWO {
                        return Err(format!("message {token} failed: {error:?}"));
                    }
                    self.settle(token, Promise::SessionLost)?;
                }
                Event::Message(message) => {
                    let at = usize::from(chunk[message.payload.start as usize]);
                    self.delivered[at] += 1;
                    self.in_delivery = true;
                }
                Event::Error(error) => return Err(format!("{error:?}")),
                Event::State(State::Idle | State::Closing | State::Closed) => {
                    return Err("the session gave up".into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn settle(&mut self, token: Token, promise: Promise) -> Verdict {
        let at = index(token);
        if self.promises[at] != Promise::Pending {
            return Err(format!("message {token} completed twice"));
        }
        self.promises[at] = promise;
        Ok(())
    }

    fn check(&self, bounds: Bounds) -> Verdict {
        let counts = |qos, done: bool, count: u8| match (qos, done) {
            (ONE, true) => count >= 1,
            (TWO, true) => count == 1,
            (TWO, false) => count <= 1,
            _ => true,
        };
        for (at, &qos) in bounds.out.iter().enumerate() {
            let unsent = match self.promises[at] {
                Promise::Refused => true,
                Promise::Orphan => !self.recorded[at],
                _ => bounds.store.is_some() && !self.recorded[at],
            };
            if unsent && self.server.taken[at] > 0 {
                return Err(format!("message {} was taken without a record", at + 1));
            }
            let (kept, count) = (self.promises[at] == Promise::Kept, self.server.taken[at]);
            if !counts(qos, kept, count) {
                return Err(format!(
                    "message {} ({:?}) was taken {count} times",
                    at + 1,
                    self.promises[at]
                ));
            }
        }
        for (at, &qos) in bounds.back.iter().enumerate() {
            let (done, count) =
                (self.server.offered[at] == Offered::Acknowledged, self.delivered[at]);
            // Those deliveries nobody knows of any more.
            let count = if done {
                count.min(1).max(count - self.exposed[at])
            } else {
                count - self.exposed[at]
            };
            if !counts(qos, done, count) {
                return Err(format!("the server's message {} was delivered {count} times", at + 1));
            }
        }
        // The first message is there before the second, where nothing but their QoS could part them.
        let same = |line: &[QoS]| line.len() == 2 && line[0] == line[1];
        let overtaken =
            |counts: [u8; 2], first_lost: bool| counts[0] == 0 && counts[1] > 0 && !first_lost;
        // The next life may not know that the first one was withdrawn.
        let is_gone = self.is_lost(0) || bounds.withdraws && self.promises[0] == Promise::Orphan;
        if same(bounds.out) && overtaken(self.server.taken, is_gone)
            || same(bounds.back)
                && overtaken(self.delivered, self.server.offered[0] == Offered::Lost)
        {
            return Err("the second message overtook the first".into());
        }
        Ok(())
    }

    /// Whether the server need not get this message of the application.
    fn is_lost(&self, at: usize) -> bool {
        match self.promises[at] {
            Promise::SessionLost | Promise::Refused | Promise::GivenUp | Promise::Withdrawn(_) => {
                true
            }
            Promise::Orphan => !self.recorded[at] || self.orphans_lost > 0,
            Promise::Unmade | Promise::Pending | Promise::Kept => false,
        }
    }

    /// Every promise has settled, and nothing is left to do.
    fn is_complete(&self, bounds: Bounds) -> bool {
        let promises = &self.promises[..bounds.out.len()];
        let offered = &self.server.offered[..bounds.back.len()];
        let stats = self.session.stats();
        let settled = |at| self.is_lost(at) || self.server.taken[at] > 0;
        promises.iter().all(|promise| !matches!(promise, Promise::Unmade | Promise::Pending))
            && (0..promises.len()).all(settled)
            && self.store.is_settled(false)
            && !self.store.is_writing()
            && offered
                .iter()
                .all(|offered| matches!(offered, Offered::Acknowledged | Offered::Lost))
            && (stats.in_flight_out, stats.in_flight_in, stats.queued_messages) == (0, 0, 0)
            // A release that was given up leaves its message with the server.
            && (self.server.received.is_empty()
                || promises.contains(&Promise::GivenUp)
                || self.orphans_lost > 0)
            && self.server.connected
            && self.to_client.is_empty()
            && self.to_server.is_empty()
            && self.session.pending_output() == 0
    }
}

impl Server {
    fn lose_session(&mut self) {
        self.unheard_loss = true;
        self.session = false;
        self.received.clear();
        for offered in &mut self.offered {
            if let Offered::Open { .. } = offered {
                *offered = Offered::Lost;
            }
        }
    }

    fn read(&mut self, bounds: Bounds, packet: &[u8], out: &mut VecDeque<Vec<u8>>) -> Verdict {
        let malformed =
            |error: DecodeError| format!("the client sent a malformed packet: {error:?}");
        let packet = Packet::decode(bounds.version, packet[0], &packet[2..]).map_err(malformed)?;
        let ack = |id| Ack { id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
        let mut reply = |packet: Packet| out.push_back(encode(bounds.version, &packet));
        if let Packet::Connect(_) = packet {
            if self.unheard_loss {
                self.lose_session();
            }
            let session_present = std::mem::replace(&mut self.session, true);
            self.connected = true;
            reply(Packet::ConnAck(ConnAck {
                session_present,
                reason: ReasonCode::SUCCESS,
                properties: Properties::EMPTY,
            }));
            self.send(bounds, true, out);
            return Ok(());
        }
        self.unheard_loss = false;
        match packet {
            Packet::Publish(publish) => {
                let at = usize::from(publish.payload[0]);
                let id = publish.id.ok_or("a PUBLISH without a packet identifier")?;
                if publish.qos == TWO {
                    let again = !self.received.insert(id);
                    if again && !publish.dup {
                        return Err(format!(
                            "packet identifier {id} is in use, and DUP is not set"
                        ));
                    }
                    self.taken[at] += u8::from(!again);
                    reply(Packet::PubRec(ack(id)));
                } else {
                    self.taken[at] += 1;
                    reply(Packet::PubAck(ack(id)));
                }
            }
            Packet::PubRel(pubrel) => {
                self.received.remove(&pubrel.id);
                reply(Packet::PubComp(ack(pubrel.id)));
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                let Some(at) = self.open(ack.id) else {
                    return Err(format!("an acknowledgement of {}, which is free", ack.id));
                };
                self.offered[at] = Offered::Acknowledged;
            }
            Packet::PubRec(pubrec) => {
                let Some(at) = self.open(pubrec.id) else {
                    return Err(format!("a PUBREC for {}, which is free", pubrec.id));
                };
                let id = pubrec.id;
                self.offered[at] = Offered::Open { id: Some(id), released: true };
                reply(Packet::PubRel(ack(id)));
            }
            Packet::PingReq => reply(Packet::PingResp),
            other => return Err(format!("the client sent {}", other.packet_type().name())),
        }
        Ok(())
    }

    fn open(&self, id: PacketId) -> Option<usize> {
        self.offered.iter().position(
            |offered| matches!(offered, Offered::Open { id: other, .. } if *other == Some(id)),
        )
    }

    /// Sends what was not sent yet; `again`: and what an earlier connection left.
    fn send(&mut self, bounds: Bounds, again: bool, out: &mut VecDeque<Vec<u8>>) {
        if !self.connected {
            return;
        }
        for at in 0..bounds.back.len() {
            let Offered::Open { id, released } = self.offered[at] else {
                continue;
            };
            let packet = if let Some(id) = id.filter(|_| released && again) {
                Packet::PubRel(Ack {
                    id,
                    reason: ReasonCode::SUCCESS,
                    properties: Properties::EMPTY,
                })
            } else if id.is_none() || again {
                let mut all = (1..).map_while(PacketId::new);
                let vacant = all.find(|&id| self.open(id).is_none());
                let dup = id.is_some();
                let id = id.or(vacant);
                self.offered[at] = Offered::Open { id, released };
                Packet::Publish(codec::Publish {
                    dup,
                    qos: bounds.back[at],
                    retain: false,
                    topic: TOPIC.as_bytes(),
                    id,
                    properties: Properties::EMPTY,
                    payload: &[at as u8],
                })
            } else {
                continue;
            };
            out.push_back(encode(bounds.version, &packet));
        }
    }
}

fn encode(version: Version, packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes);
    bytes
}

/// The packets of one frame; all are short.
fn split(version: Version, frame: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut decoder = Decoder::new(version, u32::MAX);
    let mut packets = Vec::new();
    let mut at = 0;
    while at < frame.len() {
        let start = at;
        match decoder.step(frame, &mut at, 0) {
            Ok(Step::Packet { .. }) => packets.push(frame[start..at].to_vec()),
            other => return Err(format!("a frame that is not made of whole packets: {other:?}")),
        }
    }
    Ok(packets)
}

/// A hash of eight bytes at a time: states are long, and what they are compared by is all of it.
#[derive(Default)]
struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for &byte in rest {
            self.write_u64(byte.into());
        }
    }

    fn write_u64(&mut self, word: u64) {
        let mixed = u128::from(self.0.rotate_left(23) ^ word ^ 0x9e37_79b9_7f4a_7c15)
            * 0xa3b1_9535_4a39_b70d;
        self.0 = (mixed >> 64) as u64 ^ mixed as u64;
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = Fingerprint::default();
    world.hash(&mut hasher);
    hasher.finish()
}

/// What the search has found, by the number of the state.
#[derive(Default)]
struct Found {
    numbers: HashMap<u64, u32>,
    /// How each state was reached first.
    origins: Vec<(u32, Action)>,
    /// Steps: to, from.
    steps: Vec<(u32, u32)>,
    complete: Vec<u32>,
}

impl Found {
    /// The number of a state; true: it is new.
    fn number(&mut self, world: &World, bounds: Bounds, origin: (u32, Action)) -> (u32, bool) {
        let next = self.origins.len() as u32;
        let number = *self.numbers.entry(fingerprint(world)).or_insert(next);
        if number == next {
            self.origins.push(origin);
            if world.is_complete(bounds) {
                self.complete.push(number);
            }
        }
        (number, number == next)
    }

    fn trace(&self, bounds: Bounds, mut number: u32, last: Option<Action>) -> String {
        let mut actions: Vec<Action> = last.into_iter().collect();
        while number != 0 {
            let (origin, action) = self.origins[number as usize];
            actions.push(action);
            number = origin;
        }
        let mut world = World::new(bounds);
        let mut text = String::new();
        for action in actions.into_iter().rev() {
            let packet = match action {
                ToServer | ToServerWithoutSession => world.to_server.front(),
                ToClient => world.to_client.front(),
                _ => None,
            };
            let packet = packet.map_or(String::new(), |packet| {
                let kind =
                    PacketType::from_first_byte(packet[0]).map_or("reserved", PacketType::name);
                format!("{kind} {packet:02x?}")
            });
            text += &format!("  {action:?} {packet}\n");
            if let Err(fault) = world.apply(bounds, action) {
                text += &format!("  {fault}\n");
            }
        }
        text
    }

    /// A state from which no way leads to a complete one.
    fn wedged(&mut self) -> Option<u32> {
        self.steps.sort_unstable();
        let mut open = std::mem::take(&mut self.complete);
        let mut ends = vec![false; self.origins.len()];
        while let Some(number) = open.pop() {
            if std::mem::replace(&mut ends[number as usize], true) {
                continue;
            }
            let first = self.steps.partition_point(|&(to, _)| to < number);
            open.extend(
                self.steps[first..]
                    .iter()
                    .take_while(|&&(to, _)| to == number)
                    .map(|&(_, from)| from),
            );
        }
        ends.iter().position(|ends| !ends).map(|number| number as u32)
    }
}

/// Visits every reachable state. Returns their number.
fn search(bounds: Bounds) -> usize {
    let mut found = Found::default();
    let start = World::new(bounds);
    found.number(&start, bounds, (0, Publish));
    let mut open = vec![(0, start)];
    while let Some((number, world)) = open.pop() {
        for action in world.actions(bounds) {
            let mut next = world.clone();
            if let Err(fault) = next.apply(bounds, action) {
                panic!("{bounds:?}: {fault}\n{}", found.trace(bounds, number, Some(action)));
            }
            let (to, fresh) = found.number(&next, bounds, (number, action));
            found.steps.push((to, number));
            if fresh {
                open.push((to, next));
            }
        }
    }
    assert!(!found.complete.is_empty(), "{bounds:?}: nothing completes");
    if let Some(number) = found.wedged() {
        panic!(
            "{bounds:?}: no way leads from here to the end\n{}",
            found.trace(bounds, number, None)
        );
    }
    found.origins.len()
}

#[test]
fn no_state_loses_repeats_or_wedges() {
    const NONE: &[QoS] = &[];
    const PAIRS: [&[QoS]; 4] = [&[ONE, ONE], &[ONE, TWO], &[TWO, ONE], &[TWO, TWO]];
    const SINGLES: [&[QoS]; 2] = [&[ONE], &[TWO]];
    const PAIRS_ALIKE: [&[QoS]; 2] = [&[ONE, ONE], &[TWO, TWO]];
    let full = std::env::var("MODEL").is_ok_and(|bounds| bounds == "full");
    let mut total = 0;
    for version in [Version::V311, Version::V5] {
        let mut searches = Vec::new();
        for out in PAIRS {
            searches.extend([(out, NONE, 2, false), (NONE, out, 2, false)]);
            for back in PAIRS {
                if full {
                    searches.push((out, back, 2, false));
                } else if out == back {
                    searches.push((out, back, 1, false));
                }
            }
        }
        searches.extend(SINGLES.map(|out| (out, NONE, 4, false)));
        searches
            .extend([SINGLES, PAIRS_ALIKE].concat().into_iter().map(|out| (out, NONE, 2, true)));
        for (out, back, cuts, withdraws) in searches {
            let bounds = Bounds { version, out, back, cuts, withdraws, store: None };
            let states = search(bounds);
            writeln!(stderr(), "{states:>8} states: {bounds:?}").unwrap();
            total += states;
        }
    }
    writeln!(stderr(), "{total:>8} states in all").unwrap();
}

#[test]
fn no_state_with_a_store_loses_repeats_or_wedges() {
    const NONE: &[QoS] = &[];
    const PAIRS: [&[QoS]; 3] = [&[ONE, ONE], &[ONE, TWO], &[TWO, TWO]];
    let full = std::env::var("MODEL").is_ok_and(|bounds| bounds == "full");
    for version in [Version::V311, Version::V5] {
        let mut searches = vec![(&[TWO][..], &[TWO][..], 0, (1, 0), false)];
        for pair in PAIRS {
            searches.extend([(pair, NONE, 0, (1, 1), false), (NONE, pair, 0, (1, 1), false)]);
            searches.extend([(pair, NONE, 1, (1, 0), false), (NONE, pair, 1, (1, 0), false)]);
            searches.push((pair, NONE, 0, (1, 0), true));
            if full {
                searches.extend([(pair, NONE, 1, (2, 1), false), (NONE, pair, 1, (2, 1), false)]);
                searches.push((pair, &[TWO], 0, (1, 0), false));
                searches.push((&[TWO], pair, 1, (1, 0), false));
                searches.push((pair, NONE, 1, (1, 1), true));
            }
        }
        for out in [&[ONE][..], &[TWO]] {
            searches.extend([(out, NONE, 4, (1, 0), false), (out, NONE, 2, (1, 1), true)]);
        }
        for (out, back, cuts, store, withdraws) in searches {
            let bounds = Bounds { version, out, back, cuts, withdraws, store: Some(store) };
            writeln!(stderr(), "{:>8} states: {bounds:?}", search(bounds)).unwrap();
        }
    }
}
