//! What survives the socket: messages that wait, messages and requests under way by packet identifier, and the QoS 2
//! messages the server has not released yet.

use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;

use super::Instant;
use super::event::Token;
use super::subscriptions::Part;
use crate::codec::{PacketId, PropertiesBuf, Publish, QoS};
use crate::options::{Overflow, Queue};

/// A message of the application on its way to the server.
#[derive(Clone, Hash, Debug)]
pub struct Outgoing {
    pub token: Token,
    /// Counts up with every publish: what the application sent first goes first.
    pub order: u64,
    pub topic: Rc<str>,
    pub payload: Box<[u8]>,
    pub qos: QoS,
    pub retain: bool,
    pub properties: PropertiesBuf,
    /// Chosen by the application.
    pub alias: Option<u16>,
    /// When it was handed over, and the seconds it may wait. None once it has been sent [MQTT-4.3.3-7].
    pub expiry: Option<(Instant, u32)>,
    /// It has had a packet identifier: in a session that was lost, if it waits again.
    pub sent: bool,
    /// Connections in a row that ended while this was the first message without an acknowledgement.
    pub cuts: u8,
}

impl Outgoing {
    /// Bytes as the queue counts them.
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.borrow().as_bytes().len()
    }

    /// The packet, but for its payload.
    pub fn packet(&self, id: Option<PacketId>, dup: bool) -> Publish<'_> {
        Publish {
            dup,
            qos: self.qos,
            retain: self.retain,
            topic: self.topic.as_bytes(),
            id,
            properties: self.properties.borrow(),
            payload: &[],
        }
    }

    fn expires(&self) -> Option<Instant> {
        self.expiry.map(|(since, seconds)| since.after_ms(u64::from(seconds) * 1000))
    }
}

/// Messages in their order. Boxed, for they go from line to line and on into the table of identifiers.
pub type Line = VecDeque<Box<Outgoing>>;

/// What a packet identifier stands for.
#[derive(Clone, Hash, Debug)]
pub enum Entry {
    Free,
    /// Sent; `live`: on this connection, so it counts against the server's Receive Maximum.
    Publish {
        message: Box<Outgoing>,
        live: bool,
    },
    /// QoS 2: the server has it, PUBREL was sent.
    Release {
        token: Token,
        order: u64,
        live: bool,
    },
    Subscribe(Part),
    Unsubscribe(Part),
}

impl Entry {
    fn order(&self) -> u64 {
        match self {
            Entry::Publish { message, .. } => message.order,
            Entry::Release { order, .. } => *order,
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => part.order(),
            Entry::Free => 0,
        }
    }

    /// Of a message.
    pub fn token(&mut self) -> Option<&mut Token> {
        match self {
            Entry::Publish { message, .. } => Some(&mut message.token),
            Entry::Release { token, .. } => Some(token),
            _ => None,
        }
    }
}

/// Packet identifiers, taken round robin out of a range that grows with what is in flight: an identifier is not used
/// again at once, and the table stays small.
#[derive(Clone, Hash, Debug)]
pub struct Identifiers {
    /// By identifier; 0 is never used.
    entries: Vec<Entry>,
    cursor: usize,
    used: usize,
}

impl Default for Identifiers {
    fn default() -> Self {
        Self { entries: vec![Entry::Free], cursor: 0, used: 0 }
    }
}

impl Identifiers {
    /// All packet identifiers there are [MQTT5 2.2.1].
    const ALL: usize = 65_535;
    /// Room to start with; it doubles when half of it is in use.
    const FEW: usize = 64;

    pub fn used(&self) -> usize {
        self.used
    }

    /// An identifier to [`Identifiers::put`] something under; None: all are in use.
    pub fn vacant(&mut self) -> Option<PacketId> {
        let mut room = self.entries.len() - 1;
        if self.used * 2 >= room && room < Self::ALL {
            room = (room * 2).clamp(Self::FEW, Self::ALL);
            self.entries.resize_with(room + 1, || Entry::Free);
        }
        if self.used == room {
            return None;
        }
        loop {
            self.cursor = self.cursor % room + 1;
            if matches!(self.entries[self.cursor], Entry::Free) {
                return PacketId::new(self.cursor as u16);
            }
        }
    }

    pub fn put(&mut self, id: PacketId, entry: Entry) {
        self.entries[usize::from(id.get())] = entry;
        self.used += 1;
    }

    pub fn is_full(&self) -> bool {
        self.used == Self::ALL
    }

    #[inline]
    pub fn get(&mut self, id: PacketId) -> &mut Entry {
        // Out of range is free, and stays so: only a taken identifier is ever written to.
        let at = usize::from(id.get());
        if at < self.entries.len() { &mut self.entries[at] } else { &mut self.entries[0] }
    }

    #[inline]
    pub fn free(&mut self, id: PacketId) -> Entry {
        let entry = std::mem::replace(self.get(id), Entry::Free);
        if !matches!(entry, Entry::Free) {
            self.used -= 1;
        }
        entry
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u16, &mut Entry)> {
        self.entries.iter_mut().enumerate().map(|(id, entry)| (id as u16, entry))
    }

    /// The identifiers of what `which` picks, in the order of the application's publishes.
    pub fn in_order(&self, which: fn(&Entry) -> bool) -> Vec<PacketId> {
        let mut heap = Vec::new();
        for (id, entry) in self.entries.iter().enumerate() {
            if let Some(id) = PacketId::new(id as u16).filter(|_| which(entry)) {
                heap.push((entry.order(), id));
            }
        }
        let mut ids = Vec::new();
        for (_, id) in BinaryHeap::from(heap).into_sorted_vec() {
            ids.push(id);
        }
        ids
    }

    /// Takes out what `which` picks, in the same order.
    pub fn drain(&mut self, which: fn(&Entry) -> bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        for id in self.in_order(which) {
            entries.push(self.free(id));
        }
        entries
    }
}

/// Messages that cannot be sent yet. QoS 0 waits for the transport only, the others for the server's quota too, so each
/// has a line of its own; `order` says who is first.
#[derive(Clone, Default, Hash, Debug)]
pub struct Waiting {
    at_most_once: Line,
    acknowledged: Line,
    bytes: usize,
    /// Not later than the first expiry among those that wait.
    expiry: Option<Instant>,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.at_most_once.len() + self.acknowledged.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn expiry(&self) -> Option<Instant> {
        self.expiry
    }

    #[inline]
    pub fn is_empty(&self, qos: QoS) -> bool {
        if qos == QoS::AtMostOnce {
            self.at_most_once.is_empty()
        } else {
            self.acknowledged.is_empty()
        }
    }

    /// Puts a message in line. What has to give way for it is returned; that may be the message itself.
    pub fn push(&mut self, message: Box<Outgoing>, limits: &Queue) -> Line {
        let mut out = Line::new();
        let size = message.size();
        let full = |count, bytes| {
            count >= limits.max_messages as usize || bytes + size > limits.max_bytes as usize
        };
        // How much stays, whatever gives way.
        let (mut count, mut bytes) = (0, 0);
        if limits.overflow == Overflow::LatestPerTopic && full(self.len(), self.bytes) {
            for other in self
                .at_most_once
                .iter()
                .chain(&self.acknowledged)
                .filter(|m| m.topic != message.topic)
            {
                count += 1;
                bytes += other.size();
            }
        }
        if full(count, bytes) {
            return [message].into();
        }
        while full(self.len(), self.bytes) {
            let gone = match limits.overflow {
                Overflow::Reject | Overflow::DropNewest => None,
                Overflow::DropOldest => self.pop_oldest(),
                Overflow::LatestPerTopic => self.remove(&|other| other.topic == message.topic),
            };
            match gone {
                Some(gone) => out.push_back(gone),
                None => {
                    out.push_back(message);
                    return out;
                }
            }
        }
        self.append(message);
        out
    }

    fn append(&mut self, message: Box<Outgoing>) {
        self.bytes += message.size();
        if let Some(expires) = message.expires() {
            self.expiry = Some(self.expiry.map_or(expires, |first| first.min(expires)));
        }
        self.line(message.qos).push_back(message);
    }

    /// Messages that were under way go first again, whatever the limits: in order, and older than all that wait.
    pub fn push_front(&mut self, messages: Line) {
        for message in messages.into_iter().rev() {
            self.bytes += message.size();
            self.line(message.qos).push_front(message);
        }
    }

    fn line(&mut self, qos: QoS) -> &mut Line {
        if qos == QoS::AtMostOnce { &mut self.at_most_once } else { &mut self.acknowledged }
    }

    fn pop_oldest(&mut self) -> Option<Box<Outgoing>> {
        self.pop(true)
    }

    /// The next message: the oldest, or the oldest of QoS 0 where the quota is used up.
    pub fn pop(&mut self, quota: bool) -> Option<Box<Outgoing>> {
        let message = match (self.at_most_once.front(), self.acknowledged.front().filter(|_| quota))
        {
            (Some(a), Some(b)) if b.order < a.order => self.acknowledged.pop_front(),
            (None, Some(_)) => self.acknowledged.pop_front(),
            _ => self.at_most_once.pop_front(),
        }?;
        self.bytes -= message.size();
        Some(message)
    }

    pub fn remove(&mut self, which: &dyn Fn(&Outgoing) -> bool) -> Option<Box<Outgoing>> {
        for line in [&mut self.at_most_once, &mut self.acknowledged] {
            if let Some(at) = line.iter().position(|message| which(message)) {
                let message = line.remove(at)?;
                self.bytes -= message.size();
                return Some(message);
            }
        }
        None
    }

    /// Nobody waits for the message any more: unless it was sent before, it is dropped. False: it is not here.
    pub fn withdraw(&mut self, token: Token) -> bool {
        if let Some(message) =
            self.acknowledged.iter_mut().find(|message| message.token == token && message.sent)
        {
            message.token = 0;
            return true;
        }
        self.remove(&|message| message.token == token).is_some()
    }

    /// Takes out what has expired.
    pub fn expire(&mut self, now: Instant) -> Line {
        let mut gone = Line::new();
        if self.expiry.is_none_or(|expiry| expiry > now) {
            return gone;
        }
        let mut next: Option<Instant> = None;
        for line in [&mut self.at_most_once, &mut self.acknowledged] {
            let all = std::mem::take(line);
            for message in all {
                match message.expires() {
                    Some(expires) if expires <= now => gone.push_back(message),
                    Some(expires) => {
                        next = Some(next.map_or(expires, |first| first.min(expires)));
                        line.push_back(message);
                    }
                    None => line.push_back(message),
                }
            }
        }
        self.bytes -= gone.iter().map(|message| message.size()).sum::<usize>();
        self.expiry = next;
        gone
    }

    pub fn drain(&mut self) -> Line {
        self.bytes = 0;
        self.expiry = None;
        let mut all = std::mem::take(&mut self.at_most_once);
        all.append(&mut self.acknowledged);
        all
    }
}

/// The QoS 2 messages that arrived and were not released yet: one bit for each packet identifier, as far as used.
#[derive(Clone, Default, Hash, Debug)]
pub struct Received {
    bits: Vec<u64>,
}

impl Received {
    #[inline]
    pub fn contains(&self, id: PacketId) -> bool {
        self.bits
            .get(usize::from(id.get() / 64))
            .is_some_and(|word| word >> (id.get() % 64) & 1 == 1)
    }

    #[inline]
    pub fn insert(&mut self, id: PacketId) {
        let at = usize::from(id.get() / 64);
        if at >= self.bits.len() {
            self.bits.resize(at + 1, 0);
        }
        self.bits[at] |= 1 << (id.get() % 64);
    }

    #[inline]
    pub fn remove(&mut self, id: PacketId) -> bool {
        let had = self.contains(id);
        if had {
            self.bits[usize::from(id.get() / 64)] &= !(1 << (id.get() % 64));
        }
        had
    }

    pub fn clear(&mut self) {
        self.bits.clear();
    }
}
