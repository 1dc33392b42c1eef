//! What dies with the socket: the decoder, what the server offers, topic aliases, acknowledgements owed, the pulse.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Instant;
use super::event::{Server, Token};
use super::topics::{Found, Topics};
use crate::codec::{DecodeError, Decoder, PacketId, QoS, ReasonCode, Version, check_topic};

/// Outgoing aliases at most; a server may offer up to 65,535.
const ALIASES: u16 = 4096;
/// With all aliases taken, one new topic in so many takes over an alias: topics that take turns must not cost more than
/// no aliases at all.
const TAKE_OVER: u32 = 16;

#[derive(Clone, Hash, Debug)]
pub struct Connection {
    pub version: Version,
    pub decoder: Decoder,
    /// Until when the CONNACK must have come.
    pub deadline: Instant,
    pub clean_start: bool,
    pub connect_sent: bool,
    /// Some from CONNACK on.
    pub server: Option<Server>,
    pub authentication: Authentication,
    /// AUTH with Re-authenticate is out.
    pub reauthenticating: bool,
    /// QoS 1 and 2 messages sent on this connection and not completed: they count against the server's Receive Maximum.
    pub live: u32,
    /// An acknowledgement has come.
    pub progressed: bool,
    /// One has come of what was not sent.
    pub unasked: bool,
    aliases_out: Option<Topics>,
    misses: u32,
    aliases_in: Vec<Option<Rc<str>>>,
    pub owed: Owed,
    /// QoS 1 and 2 messages that came on this connection and are not completed: they count against our Receive Maximum.
    pub window: u32,
    pub pulse: Pulse,
}

/// Where the exchange of AUTH packets stands [MQTT5 4.12].
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum Authentication {
    None,
    /// The application makes the data for CONNECT.
    Starting,
    /// CONNECT is out.
    Connecting,
    Again(Token),
}

/// How a PUBLISH names its topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Naming {
    Topic,
    /// Topic and alias: from here on the alias will do.
    Both(u16),
    Alias(u16),
}

impl Connection {
    pub fn new(
        version: Version,
        maximum_packet_size: u32,
        now: Instant,
        deadline: Instant,
    ) -> Self {
        Self {
            version,
            decoder: Decoder::new(version, maximum_packet_size),
            deadline,
            clean_start: true,
            connect_sent: false,
            server: None,
            authentication: Authentication::None,
            reauthenticating: false,
            live: 0,
            progressed: false,
            unasked: false,
            aliases_out: None,
            misses: 0,
            aliases_in: Vec::new(),
            owed: Owed::default(),
            window: 0,
            pulse: Pulse { sent: now, received: now, interval_ms: 0, ping: None },
        }
    }

    /// The server takes so many aliases from us.
    pub fn use_aliases(&mut self, maximum: u16) {
        self.aliases_out = (maximum > 0).then(|| Topics::new(usize::from(maximum.min(ALIASES))));
    }

    /// The application numbers its aliases itself from here on.
    pub fn leave_aliases(&mut self) {
        self.aliases_out = None;
    }

    #[inline]
    pub fn naming(&mut self, topic: &str) -> Naming {
        let Some(aliases) = &mut self.aliases_out else {
            return Naming::Topic;
        };
        if aliases.is_full() && !aliases.contains(topic) {
            self.misses = self.misses.wrapping_add(1);
            if !self.misses.is_multiple_of(TAKE_OVER) {
                return Naming::Topic;
            }
        }
        match aliases.find(topic.as_bytes(), &[], 0) {
            Ok(Found::Known(slot)) => Naming::Alias(slot as u16 + 1),
            Ok(Found::Fresh(slot)) => Naming::Both(slot as u16 + 1),
            Err(_) => Naming::Topic,
        }
    }

    /// What an incoming alias means, or with a topic from now on means. `maximum` is ours.
    #[inline(never)]
    pub fn alias(
        &mut self,
        alias: u16,
        topic: &[u8],
        maximum: u16,
    ) -> Result<Rc<str>, DecodeError> {
        if alias == 0 || alias > maximum {
            return Err(DecodeError {
                reason: ReasonCode::TOPIC_ALIAS_INVALID,
                what: "a topic alias that was not offered",
            });
        }
        let at = usize::from(alias) - 1;
        if topic.is_empty() {
            return match self.aliases_in.get(at) {
                Some(Some(topic)) => Ok(topic.clone()),
                _ => Err(DecodeError::protocol("a topic alias that was never set")),
            };
        }
        let topic: Rc<str> = check_topic(topic)?.into();
        if at >= self.aliases_in.len() {
            self.aliases_in.resize(at + 1, None);
        }
        self.aliases_in[at] = Some(topic.clone());
        Ok(topic)
    }
}

/// Acknowledgements owed to the server. They leave in the order in which the messages came [MQTT-4.6.0-2], so one that
/// the application holds keeps back those after it.
#[derive(Clone, Default, Hash, Debug)]
pub struct Owed {
    queue: VecDeque<Acknowledgement>,
    /// Sequence number of the first in the queue.
    first: u32,
}

#[derive(Clone, Copy, Hash, Debug)]
pub struct Acknowledgement {
    pub id: PacketId,
    pub qos: QoS,
    pub stage: Stage,
}

#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The application has it or is about to.
    Delivering,
    Held,
    Ready(ReasonCode),
}

impl Owed {
    /// `first`: number of the next message. Numbers go on over connections, so that a late acknowledgement hits nothing.
    pub fn start(first: u32) -> Self {
        Self { queue: VecDeque::new(), first }
    }

    #[inline]
    pub fn push(&mut self, id: PacketId, qos: QoS, stage: Stage) -> u32 {
        self.queue.push_back(Acknowledgement { id, qos, stage });
        self.first.wrapping_add(self.queue.len() as u32 - 1)
    }

    pub fn len(&self) -> u32 {
        self.queue.len() as u32
    }

    pub fn next(&self) -> u32 {
        self.first.wrapping_add(self.len())
    }

    pub fn set(&mut self, sequence: u32, stage: Stage) {
        let at = sequence.wrapping_sub(self.first) as usize;
        if let Some(acknowledgement) = self.queue.get_mut(at)
            && !matches!(acknowledgement.stage, Stage::Ready(_))
        {
            acknowledgement.stage = stage;
        }
    }

    /// All messages handed out so far have been delivered.
    pub fn delivered(&mut self) {
        for acknowledgement in &mut self.queue {
            if acknowledgement.stage == Stage::Delivering {
                acknowledgement.stage = Stage::Ready(ReasonCode::SUCCESS);
            }
        }
    }

    #[inline]
    pub fn pop_ready(&mut self) -> Option<(PacketId, QoS, ReasonCode)> {
        let front = self.queue.front()?;
        let Stage::Ready(reason) = front.stage else { return None };
        let (id, qos) = (front.id, front.qos);
        self.queue.pop_front();
        self.first = self.first.wrapping_add(1);
        Some((id, qos, reason))
    }
}

/// Whether the other side lives. A PINGREQ goes when one direction has been silent for the keep-alive interval: outgoing
/// traffic alone would hide that nobody answers.
#[derive(Clone, Hash, Debug)]
pub struct Pulse {
    pub sent: Instant,
    pub received: Instant,
    /// 0: off.
    pub interval_ms: u64,
    pub ping: Option<Ping>,
}

#[derive(Clone, Copy, Hash, Debug)]
pub struct Ping {
    pub sent: Instant,
    pub deadline: Instant,
    /// The deadline has passed once: input that was already there gets a chance to be read.
    pub late: bool,
}

/// What the pulse asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beat {
    Rest,
    Ping,
    Dead,
}

impl Pulse {
    /// Before the interval ends, for timers are late and the way takes time.
    fn quiet_ms(&self) -> u64 {
        self.interval_ms * 9 / 10
    }

    fn patience_ms(&self) -> u64 {
        (self.interval_ms / 2).clamp(1_000, 20_000)
    }

    pub fn next(&self) -> Option<Instant> {
        if self.interval_ms == 0 {
            return None;
        }
        let (since, answer) = match self.ping {
            Some(ping) => (self.sent, ping.deadline),
            None => (self.sent.min(self.received), Instant(u64::MAX)),
        };
        Some(since.after_ms(self.quiet_ms()).min(answer))
    }

    #[inline]
    pub fn hear(&mut self, now: Instant) {
        self.received = now;
        if self.ping.is_some() {
            self.hear_late(now);
        }
    }

    /// Something came while a PINGRESP is due: the other side lives, and may be busy.
    fn hear_late(&mut self, now: Instant) {
        let patience = self.patience_ms();
        if let Some(ping) = &mut self.ping {
            ping.deadline = now.after_ms(patience);
            ping.late = false;
        }
    }

    pub fn beat(&mut self, now: Instant) -> Beat {
        if self.next().is_none_or(|next| next > now) {
            return Beat::Rest;
        }
        let patience = self.patience_ms();
        match &mut self.ping {
            None => {
                self.ping = Some(Ping { sent: now, deadline: now.after_ms(patience), late: false });
                Beat::Ping
            }
            // The server counts on our packets while its answer is due, too.
            Some(ping) if ping.deadline > now => Beat::Ping,
            Some(ping) if ping.late => Beat::Dead,
            Some(ping) => {
                // A timer that is late by much means a machine that slept: the network needs a moment too.
                let slept = now.since_ms(ping.deadline) > 1_000;
                ping.late = true;
                ping.deadline = now.after_ms(if slept { 5_000 } else { 200 });
                if slept { Beat::Ping } else { Beat::Rest }
            }
        }
    }

    /// A PINGRESP came: the round trip, µs.
    pub fn pong(&mut self, now: Instant) -> Option<u64> {
        self.ping.take().map(|ping| now.0.saturating_sub(ping.sent.0))
    }
}
