//! Messages that cannot be sent yet, in their order, within the limits of the queue.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;

use crate::codec::{PacketId, PropertiesBuf, Publish, QoS};
use crate::options::{Overflow, Queue};
use crate::session::event::Token;
use crate::session::outlet::Outlet;
use crate::session::time::Instant;

/// A message of the application on its way to the server.
#[derive(Clone, Hash, Debug)]
pub(super) struct Outgoing {
    /// The request that completes with it.
    pub token: Option<Token>,
    /// Counts up with every publish: what the application sent first goes first.
    pub order: u64,
    pub topic: Rc<str>,
    pub payload: Box<[u8]>,
    pub qos: QoS,
    pub retain: bool,
    pub properties: PropertiesBuf,
    /// The topic alias that the application chose.
    pub alias: Option<u16>,
    /// When it was handed over, and how many seconds it may wait before it is sent
    /// [MQTT-4.3.3-7].
    pub expiry: Option<(Instant, u32)>,
    /// The server may have it. Its properties say what was left of the expiry interval then.
    pub sent: bool,
    /// Nobody wants it any more: it is not sent again.
    pub withdrawn: bool,
    /// How often the server has hung up while it was in flight. See [`super::blame`].
    pub losses: u8,
}

impl Outgoing {
    /// Bytes as the queue counts them.
    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.borrow().as_bytes().len()
    }

    /// The packet, but for its payload.
    pub(super) fn packet(&self, id: Option<PacketId>, dup: bool) -> Publish<'_> {
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

    pub(super) fn expires(&self) -> Option<Instant> {
        self.expiry.map(|(since, seconds)| since.after_ms(u64::from(seconds) * 1000))
    }
}

/// Messages in their order. They are boxed, for they go from line to line and on into the table of
/// packet identifiers.
pub(super) type Line = VecDeque<Box<Outgoing>>;

/// Messages that cannot be sent yet. QoS 0 waits for the transport only, the others for the
/// server's quota too, so each has a line of its own; `order` says who is first.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Waiting {
    at_most_once: Line,
    acknowledged: Line,
    /// Those for which the lines have no room yet, in the order in which they came.
    outside: Line,
    /// Bytes of the messages in the lines.
    bytes: usize,
    /// Not later than the first expiry among those that wait.
    expiry: Option<Instant>,
}

impl Waiting {
    /// Whether no message waits, in the lines or for room in them.
    pub(super) fn is_over(&self) -> bool {
        self.len() == 0 && self.outside.is_empty()
    }

    /// How many messages are in the lines.
    pub(super) fn len(&self) -> usize {
        self.at_most_once.len() + self.acknowledged.len()
    }

    /// Their bytes, as the queue counts them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When [`Waiting::expire`] must be asked.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.expiry
    }

    /// Whether no message waits that one of this QoS must not overtake.
    #[inline]
    pub(super) fn is_empty(&self, qos: QoS) -> bool {
        let line = if qos == QoS::AtMostOnce { &self.at_most_once } else { &self.acknowledged };
        line.is_empty() && self.outside.is_empty()
    }

    /// Takes messages into the lines, as far as there is room, and records them.
    pub(super) fn admit(&mut self, limits: &Queue, out: &mut Outlet) {
        while let Some(message) = self.outside.pop_front() {
            if is_full(self.len(), self.bytes, &message, limits) {
                return self.outside.push_front(message);
            }
            out.record(&message, None, true);
            self.append(message);
        }
    }

    /// Puts a message in line, and records it. The result is what has to give way for it, which may
    /// be the message itself.
    pub(super) fn push(
        &mut self,
        message: Box<Outgoing>,
        limits: &Queue,
        out: &mut Outlet,
    ) -> Line {
        let mut all_gone = Line::new();
        let full = |count, bytes| is_full(count, bytes, &message, limits);
        // How much stays, whatever gives way.
        let (mut count, mut bytes) = (0, 0);
        if limits.overflow == Overflow::LatestPerTopic && full(self.len(), self.bytes) {
            for other in self.at_most_once.iter().chain(&self.acknowledged) {
                if other.topic != message.topic {
                    count += 1;
                    bytes += other.size();
                }
            }
        }
        if full(count, bytes) {
            return [message].into();
        }
        if limits.overflow == Overflow::Wait {
            self.append_outside(message);
            self.admit(limits, out);
            return all_gone;
        }
        while is_full(self.len(), self.bytes, &message, limits) {
            let gone = match limits.overflow {
                Overflow::Reject | Overflow::DropNewest | Overflow::Wait => None,
                Overflow::DropOldest => self.pop(true, QoS::ExactlyOnce),
                Overflow::LatestPerTopic => self.remove(&|other| other.topic == message.topic),
            };
            match gone {
                Some(gone) => all_gone.push_back(gone),
                None => {
                    all_gone.push_back(message);
                    return all_gone;
                }
            }
        }
        out.record(&message, None, true);
        self.append(message);
        all_gone
    }

    /// Lets a message wait for room in the lines. It is not recorded before.
    pub(super) fn append_outside(&mut self, message: Box<Outgoing>) {
        self.note_expiry(&message);
        self.outside.push_back(message);
    }

    /// Puts a message in line, whatever the limits.
    pub(super) fn append(&mut self, message: Box<Outgoing>) {
        self.bytes += message.size();
        self.note_expiry(&message);
        self.line(message.qos).push_back(message);
    }

    fn note_expiry(&mut self, message: &Outgoing) {
        if let Some(expires) = message.expires() {
            self.expiry = Some(self.expiry.map_or(expires, |first| first.min(expires)));
        }
    }

    /// Puts messages that were under way first again, whatever the limits. They are in order, and
    /// older than all that wait.
    pub(super) fn push_front(&mut self, messages: Line) {
        for message in messages.into_iter().rev() {
            self.bytes += message.size();
            self.note_expiry(&message);
            self.line(message.qos).push_front(message);
        }
    }

    fn line(&mut self, qos: QoS) -> &mut Line {
        if qos == QoS::AtMostOnce { &mut self.at_most_once } else { &mut self.acknowledged }
    }

    /// The next message: the oldest. `loose`: QoS 0 may go. `quota`: the highest QoS that may.
    pub(super) fn pop(&mut self, loose: bool, quota: QoS) -> Option<Box<Outgoing>> {
        let at_most_once = self.at_most_once.front().filter(|_| loose);
        let acknowledged = self.acknowledged.front().filter(|message| message.qos <= quota);
        let message = match (at_most_once, acknowledged) {
            (Some(a), Some(b)) if b.order < a.order => self.acknowledged.pop_front(),
            (None, Some(_)) => self.acknowledged.pop_front(),
            (Some(_), _) => self.at_most_once.pop_front(),
            (None, None) => None,
        }?;
        self.bytes -= message.size();
        Some(message)
    }

    /// Takes out the first message that `which` picks.
    pub(super) fn remove(&mut self, which: &dyn Fn(&Outgoing) -> bool) -> Option<Box<Outgoing>> {
        for line in [&mut self.at_most_once, &mut self.acknowledged] {
            if let Some(at) = line.iter().position(|message| which(message)) {
                let message = line.remove(at)?;
                self.bytes -= message.size();
                return Some(message);
            }
        }
        None
    }

    /// Takes out the message of a request that nobody waits for. `None`: it is not here.
    pub(super) fn cancel(&mut self, token: Token) -> Option<Box<Outgoing>> {
        if let Some(at) = self.outside.iter().position(|message| message.token == Some(token)) {
            return self.outside.remove(at);
        }
        self.remove(&|message| message.token == Some(token))
    }

    /// Takes out what has expired.
    pub(super) fn expire(&mut self, now: Instant) -> Line {
        let mut gone = Line::new();
        if self.expiry.is_none_or(|expiry| expiry > now) {
            return gone;
        }
        let mut next: Option<Instant> = None;
        for (line, counted) in [
            (&mut self.at_most_once, true),
            (&mut self.acknowledged, true),
            (&mut self.outside, false),
        ] {
            let all = core::mem::take(line);
            for message in all {
                match message.expires() {
                    Some(expires) if expires <= now => {
                        self.bytes -= if counted { message.size() } else { 0 };
                        gone.push_back(message);
                    }
                    Some(expires) => {
                        next = Some(next.map_or(expires, |first| first.min(expires)));
                        line.push_back(message);
                    }
                    None => line.push_back(message),
                }
            }
        }
        self.expiry = next;
        gone
    }

    /// Takes out everything.
    pub(super) fn drain(&mut self) -> Line {
        let mut all = core::mem::take(self);
        all.at_most_once.append(&mut all.acknowledged);
        all.at_most_once.append(&mut all.outside);
        all.at_most_once
    }
}

/// Whether a message is too much for lines that hold so many messages and bytes.
fn is_full(count: usize, bytes: usize, message: &Outgoing, limits: &Queue) -> bool {
    count >= limits.max_messages as usize || bytes + message.size() > limits.max_bytes as usize
}
