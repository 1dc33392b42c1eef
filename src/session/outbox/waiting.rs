//! Messages that cannot be sent yet, in their order, within the limits of the queue.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::codec::{PacketId, PropertiesBuf, Publish, QoS};
use crate::options::{Overflow, Queue};
use crate::session::event::Token;
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
    /// When it was handed over, and how many seconds it may wait. `None` once it has been sent
    /// [MQTT-4.3.3-7].
    pub expiry: Option<(Instant, u32)>,
    /// It has had a packet identifier. If it waits again, that was in a session that was lost.
    pub sent: bool,
    /// How many consecutive connections died while this message was the oldest unacknowledged
    /// one.
    pub cuts: u8,
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

/// What became of a message that nobody waits for.
pub(super) enum Cancelled {
    /// It does not wait to be sent.
    No,
    /// It is sent again all the same.
    Goes,
    /// It is out of the line.
    Dropped(Box<Outgoing>),
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
    bytes: usize,
    /// Not later than the first expiry among those that wait.
    expiry: Option<Instant>,
}

impl Waiting {
    /// How many messages wait.
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

    /// Whether no message waits in the line of this QoS.
    #[inline]
    pub(super) fn is_empty(&self, qos: QoS) -> bool {
        if qos == QoS::AtMostOnce {
            self.at_most_once.is_empty()
        } else {
            self.acknowledged.is_empty()
        }
    }

    /// Puts a message in line. The result is what has to give way for it, which may be the message
    /// itself.
    pub(super) fn push(&mut self, message: Box<Outgoing>, limits: &Queue) -> Line {
        let mut out = Line::new();
        let size = message.size();
        let full = |count, bytes| {
            count >= limits.max_messages as usize || bytes + size > limits.max_bytes as usize
        };
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
        while full(self.len(), self.bytes) {
            let gone = match limits.overflow {
                Overflow::Reject | Overflow::DropNewest => None,
                Overflow::DropOldest => self.pop(true),
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

    /// Puts a message in line, whatever the limits.
    pub(super) fn append(&mut self, message: Box<Outgoing>) {
        self.bytes += message.size();
        if let Some(expires) = message.expires() {
            self.expiry = Some(self.expiry.map_or(expires, |first| first.min(expires)));
        }
        self.line(message.qos).push_back(message);
    }

    /// Puts messages that were under way first again, whatever the limits. They are in order, and
    /// older than all that wait.
    pub(super) fn push_front(&mut self, messages: Line) {
        for message in messages.into_iter().rev() {
            self.bytes += message.size();
            self.line(message.qos).push_front(message);
        }
    }

    fn line(&mut self, qos: QoS) -> &mut Line {
        if qos == QoS::AtMostOnce { &mut self.at_most_once } else { &mut self.acknowledged }
    }

    /// The next message: the oldest, or the oldest of QoS 0 where the quota is used up.
    pub(super) fn pop(&mut self, quota: bool) -> Option<Box<Outgoing>> {
        let acknowledged = self.acknowledged.front().filter(|_| quota);
        let message = match (self.at_most_once.front(), acknowledged) {
            (Some(a), Some(b)) if b.order < a.order => self.acknowledged.pop_front(),
            (None, Some(_)) => self.acknowledged.pop_front(),
            _ => self.at_most_once.pop_front(),
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

    /// Drops the message of a request that nobody waits for, unless it was sent before.
    pub(super) fn cancel(&mut self, token: Token) -> Cancelled {
        let is_sent = |message: &&mut Box<Outgoing>| message.token == Some(token) && message.sent;
        if let Some(message) = self.acknowledged.iter_mut().find(is_sent) {
            message.token = None;
            return Cancelled::Goes;
        }
        let dropped = self.remove(&|message| message.token == Some(token));
        dropped.map_or(Cancelled::No, Cancelled::Dropped)
    }

    /// Takes out what has expired.
    pub(super) fn expire(&mut self, now: Instant) -> Line {
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
}
