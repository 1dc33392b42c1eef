//! What dies with the socket: how far the handshake is, the limits of both sides, topic aliases, and bytes on their way out.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::SessionId;
use super::message::{SECOND_MS, Will};
use super::session::Next;
use crate::codec::{Decoder, Publish, Version};
use crate::session::Instant;

/// Milliseconds that a client has for its CONNECT.
const CONNECT_TIMEOUT_MS: u64 = 30 * SECOND_MS;
/// Bytes of the largest CONNECT.
const MAXIMUM_CONNECT: u32 = 1024 * 1024;
/// Bytes that may wait in one connection before messages stay in the session (QoS 1 and 2) or are dropped (QoS 0).
const CROWDED: usize = 16 * 1024 * 1024;
/// Bytes that may wait in one connection at all: a client that asks on and on and never reads is cut off.
const MAXIMUM_OUTPUT: usize = 64 * 1024 * 1024;
/// Topic aliases that are used towards one client, at most.
const MAXIMUM_ALIASES: u16 = 1_000;

/// What the caller must do with a connection's transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Transmit {
    /// Send these bytes.
    Bytes(Vec<u8>),
    /// Close it in an orderly way, after what was sent. Nothing else follows.
    Close,
    /// End it at once, as if the network had failed. Nothing else follows.
    Drop,
}

/// A connection to the broker.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub stage: Stage,
    pub decoder: Decoder,
    pub link: Link,
}

/// How far a connection is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// No CONNECT has come yet.
    Opened { deadline: Instant },
    /// The CONNECT was accepted.
    Up(Box<Up>),
    /// The broker has said its last word; what comes is ignored.
    Over,
}

impl Connection {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            stage: Stage::Opened { deadline: now.after_ms(CONNECT_TIMEOUT_MS) },
            decoder: Decoder::new(Version::V5, MAXIMUM_CONNECT),
            link: Link::default(),
        }
    }

    pub(super) fn up(&self) -> Option<&Up> {
        match &self.stage {
            Stage::Up(up) => Some(up),
            _ => None,
        }
    }

    pub(super) fn up_mut(&mut self) -> Option<&mut Up> {
        match &mut self.stage {
            Stage::Up(up) => Some(up),
            _ => None,
        }
    }

    /// When something must happen if the client stays silent.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Opened { deadline } => Some(*deadline),
            Stage::Up(up) => up.keep_alive_deadline(),
            Stage::Over => None,
        }
    }
}

/// A connection whose CONNECT was accepted.
#[derive(Clone, Debug)]
pub(super) struct Up {
    pub version: Version,
    pub session: SessionId,
    pub client_id: Rc<str>,
    /// Seconds; 0: it is off.
    pub keep_alive: u16,
    /// When the last packet of the client came.
    pub heard: Instant,
    /// Seconds; [`u32::MAX`]: the session never ends.
    pub session_expiry: u32,
    pub will: Option<Will>,
    /// QoS 1 and 2 messages that the client takes unacknowledged.
    pub receive_maximum: u16,
    /// Bytes of a packet that the client takes.
    pub maximum_packet_size: u32,
    /// Topics by the client's aliases.
    pub aliases_in: BTreeMap<u16, Rc<str>>,
    /// Our aliases by topic, at most [`Self::alias_maximum`].
    aliases_out: BTreeMap<Rc<str>, u16>,
    /// Aliases that the client takes.
    alias_maximum: u16,
}

impl Up {
    /// With the limits of a client that states none.
    pub(super) fn new(
        now: Instant,
        version: Version,
        session: SessionId,
        client_id: Rc<str>,
    ) -> Self {
        Self {
            version,
            session,
            client_id,
            keep_alive: 0,
            heard: now,
            session_expiry: 0,
            will: None,
            receive_maximum: u16::MAX,
            maximum_packet_size: u32::MAX,
            aliases_in: BTreeMap::new(),
            aliases_out: BTreeMap::new(),
            alias_maximum: 0,
        }
    }

    /// Sets how many aliases the client takes. No more than a bounded number is used.
    pub(super) fn take_aliases(&mut self, maximum: u16) {
        self.alias_maximum = maximum.min(MAXIMUM_ALIASES);
    }

    /// A client that is silent for one and a half times its Keep Alive is gone [MQTT-3.1.2-22].
    fn keep_alive_deadline(&self) -> Option<Instant> {
        let ms = u64::from(self.keep_alive) * SECOND_MS * 3 / 2;
        (ms > 0).then(|| self.heard.after_ms(ms))
    }

    /// The PUBLISH for a message, or `None` where it is larger than the client takes [MQTT-3.1.2-24].
    pub(super) fn encode(&mut self, now: Instant, next: &Next) -> Option<Vec<u8>> {
        let message = &next.copy.message;
        let properties = message.properties_at(now, &next.copy.identifiers);
        let known = self.aliases_out.get(&message.topic).copied();
        let fresh = if known.is_none() { self.fresh_alias() } else { None };
        let attempt = |topic: &[u8], alias: Option<u16>| {
            let publish = Publish {
                dup: next.dup,
                qos: next.copy.qos,
                retain: next.copy.retain,
                topic,
                id: next.id,
                properties: properties.borrow(),
                payload: &message.payload,
            };
            let size = publish.size(self.version, alias, message.payload.len());
            (size <= self.maximum_packet_size as usize).then(|| {
                let mut out = Vec::with_capacity(size);
                publish.encode_header(self.version, alias, message.payload.len(), &mut out);
                out.extend_from_slice(&message.payload);
                out
            })
        };
        let topic = message.topic.as_bytes();
        if let Some(alias) = known {
            return attempt(b"", Some(alias)).or_else(|| attempt(topic, None));
        }
        if let Some(alias) = fresh
            && let Some(bytes) = attempt(topic, Some(alias))
        {
            self.aliases_out.insert(message.topic.clone(), alias);
            return Some(bytes);
        }
        attempt(topic, None)
    }

    fn fresh_alias(&self) -> Option<u16> {
        let next = u16::try_from(self.aliases_out.len() + 1).ok()?;
        (next <= self.alias_maximum).then_some(next)
    }
}

/// Bytes on their way between the broker and a client, and what the test does to them.
#[derive(Clone, Default, Debug)]
pub(super) struct Link {
    output: VecDeque<(Instant, Transmit)>,
    /// Bytes in `output`.
    waiting: usize,
    /// Nothing passes, in either direction.
    pub frozen: Option<Frozen>,
    /// Bytes that have passed, in both directions together.
    carried: u64,
    /// The connection is cut when so many bytes have passed.
    cut_at: Option<u64>,
}

/// What reached a frozen connection.
#[derive(Clone, Default, Debug)]
pub(super) struct Frozen {
    pub input: Vec<u8>,
    /// The client has closed its end.
    pub closed: bool,
}

impl Link {
    /// Appends bytes that leave at `due`.
    pub(super) fn write(&mut self, due: Instant, bytes: &[u8]) {
        self.waiting += bytes.len();
        // What was written earlier is never overtaken.
        let due = self.output.back().map_or(due, |(last, _)| due.max(*last));
        match self.output.back_mut() {
            Some((last, Transmit::Bytes(output))) if *last == due => {
                output.extend_from_slice(bytes);
            }
            _ => self.output.push_back((due, Transmit::Bytes(bytes.to_vec()))),
        }
    }

    /// Ends the connection at `due`, behind what was written.
    pub(super) fn close(&mut self, due: Instant) {
        if let Some((_, Transmit::Close | Transmit::Drop)) = self.output.back() {
            return;
        }
        let due = self.output.back().map_or(due, |(last, _)| due.max(*last));
        self.output.push_back((due, Transmit::Close));
    }

    /// Ends the connection at once. What was not sent is lost.
    pub(super) fn abort(&mut self, now: Instant) {
        self.frozen = None;
        self.waiting = 0;
        self.output.clear();
        self.output.push_back((now, Transmit::Drop));
    }

    /// What leaves now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Transmit> {
        if self.frozen.is_some() || self.due().is_none_or(|due| due > now) {
            return None;
        }
        let (_, transmit) = self.output.pop_front()?;
        if let Transmit::Bytes(bytes) = &transmit {
            self.waiting -= bytes.len();
        }
        Some(transmit)
    }

    /// When the first of what waits leaves.
    pub(super) fn due(&self) -> Option<Instant> {
        let front = self.output.front().filter(|_| self.frozen.is_none());
        front.map(|(due, _)| *due)
    }

    /// So much waits that messages must wait elsewhere.
    pub(super) fn is_crowded(&self) -> bool {
        self.waiting > CROWDED
    }

    /// So much waits that the client is cut off.
    pub(super) fn is_full(&self) -> bool {
        self.waiting > MAXIMUM_OUTPUT
    }

    /// Cuts the connection when `bytes` more have passed.
    pub(super) fn cut_after(&mut self, bytes: u64) {
        self.cut_at = Some(self.carried.saturating_add(bytes));
    }

    /// Cuts the connection when `bytes` have passed since it was opened.
    pub(super) fn cut_at(&mut self, bytes: u64) {
        self.cut_at = Some(bytes);
    }

    /// Whether nothing has passed yet.
    pub(super) fn carries_first(&self) -> bool {
        self.carried == 0
    }

    /// Whether all has passed that was to pass.
    pub(super) fn is_cut(&self) -> bool {
        self.cut_at.is_some_and(|cut_at| cut_at <= self.carried)
    }

    /// Counts bytes that are to pass. The result is how many of them do; the connection is cut if that is not all, or
    /// if they are the last.
    pub(super) fn carry(&mut self, bytes: usize) -> Carried {
        let room = self.cut_at.map_or(u64::MAX, |cut_at| cut_at.saturating_sub(self.carried));
        self.carried = self.carried.saturating_add(bytes as u64);
        if bytes as u64 >= room { Carried::Cut(room as usize) } else { Carried::All }
    }
}

/// How many bytes pass a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Carried {
    All,
    /// Only so many, and then it is cut.
    Cut(usize),
}
