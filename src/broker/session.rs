//! What the broker keeps of a client across its connections: messages that wait or are in flight, and the QoS 2 identifiers
//! that the client has not released (MQTT 5, 4.1).

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::ConnectionId;
use super::message::{Copy, Will};
use crate::codec::{PacketId, QoS};
use crate::session::Instant;

/// Messages that wait for one client, at most. What comes then is dropped.
pub const MAXIMUM_QUEUED: usize = 10_000;
/// Bytes that wait for one client, at most.
const MAXIMUM_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// Where the client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    Connected(ConnectionId),
    /// `expires`: when the session ends. `None`: never.
    Away {
        expires: Option<Instant>,
    },
}

/// A Will that waits for the end of its delay.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PendingWill {
    pub due: Instant,
    pub will: Will,
}

/// A QoS 1 or 2 message on its way to the client.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Sent {
    id: PacketId,
    copy: Copy,
}

/// A message to send now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Next {
    /// `None` at QoS 0.
    pub id: Option<PacketId>,
    pub dup: bool,
    pub copy: Copy,
}

/// What an acknowledgement of the client was about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Acknowledged {
    /// The exchange goes on or has ended.
    Known,
    /// There is no such message in flight.
    Unknown,
    /// It is the answer to a message of another QoS.
    WrongQos,
}

/// One client's session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub client_id: Rc<str>,
    pub presence: Presence,
    /// Topic Filters in full, with `$share/`.
    pub subscriptions: BTreeSet<Rc<str>>,
    pub pending_will: Option<PendingWill>,
    /// The test has lost this session, and the client has not been told.
    pub lost: bool,
    /// Not sent yet. Only QoS 1 and 2.
    queue: VecDeque<Copy>,
    queued_bytes: usize,
    /// Left unacknowledged by an earlier connection, and not sent on this one yet.
    resend: VecDeque<Sent>,
    /// Sent on this connection, not acknowledged.
    unacknowledged: VecDeque<Sent>,
    /// QoS 2 messages that the client has acknowledged with PUBREC, in the order of the PUBRECs. They wait for PUBCOMP.
    released: VecDeque<PacketId>,
    /// All identifiers in use by `resend`, `unacknowledged` and `released`.
    used: BTreeSet<PacketId>,
    last_id: u16,
    /// QoS 2 messages of the client that it has not released.
    pub received: BTreeSet<PacketId>,
}

impl Session {
    pub(super) fn new(client_id: Rc<str>, presence: Presence) -> Self {
        Self {
            client_id,
            presence,
            subscriptions: BTreeSet::new(),
            pending_will: None,
            lost: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            resend: VecDeque::new(),
            unacknowledged: VecDeque::new(),
            released: VecDeque::new(),
            used: BTreeSet::new(),
            last_id: 0,
            received: BTreeSet::new(),
        }
    }

    /// The connection in use.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self.presence {
            Presence::Connected(connection) => Some(connection),
            Presence::Away { .. } => None,
        }
    }

    /// Adds a QoS 1 or 2 message. It is dropped where there is no room.
    pub(super) fn enqueue(&mut self, copy: Copy) {
        let size = copy.message.size();
        if self.queue.len() < MAXIMUM_QUEUED && self.queued_bytes + size <= MAXIMUM_QUEUED_BYTES {
            self.queued_bytes += size;
            self.queue.push_back(copy);
        }
    }

    /// The next message to send, where the client's Receive Maximum leaves room for one [MQTT-3.3.4-9]. It counts as in
    /// flight from then on.
    pub(super) fn next(&mut self, now: Instant, receive_maximum: u16) -> Option<Next> {
        if self.unacknowledged.len() + self.released.len() >= receive_maximum.into() {
            return None;
        }
        if let Some(sent) = self.resend.pop_front() {
            let next = Next { id: Some(sent.id), dup: true, copy: sent.copy.clone() };
            self.unacknowledged.push_back(sent);
            return Some(next);
        }
        // An expired message is not sent [MQTT-3.3.2-5].
        while let Some(copy) = self.queue.front() {
            if !copy.message.is_expired(now) {
                break;
            }
            self.dequeue();
        }
        if self.queue.is_empty() {
            return None;
        }
        let id = self.unused_id()?;
        let copy = self.dequeue()?;
        self.used.insert(id);
        self.unacknowledged.push_back(Sent { id, copy: copy.clone() });
        Some(Next { id: Some(id), dup: false, copy })
    }

    /// A message that was to be sent is larger than the client takes: it is done with [MQTT-3.1.2-25].
    pub(super) fn discard(&mut self, id: PacketId) {
        if let Some(at) = self.position(id) {
            self.unacknowledged.remove(at);
            self.used.remove(&id);
        }
    }

    /// PUBACK.
    pub(super) fn puback(&mut self, id: PacketId) -> Acknowledged {
        let Some(at) = self.position(id) else { return Acknowledged::Unknown };
        if self.unacknowledged[at].copy.qos != QoS::AtLeastOnce {
            return Acknowledged::WrongQos;
        }
        self.discard(id);
        Acknowledged::Known
    }

    /// PUBREC; `refused`: with a reason code that ends the exchange [MQTT-4.4.0-2].
    pub(super) fn pubrec(&mut self, id: PacketId, refused: bool) -> Acknowledged {
        let Some(at) = self.position(id) else {
            let again = self.released.contains(&id);
            return if again { Acknowledged::Known } else { Acknowledged::Unknown };
        };
        if self.unacknowledged[at].copy.qos != QoS::ExactlyOnce {
            return Acknowledged::WrongQos;
        }
        if refused {
            self.discard(id);
        } else {
            self.unacknowledged.remove(at);
            self.released.push_back(id);
        }
        Acknowledged::Known
    }

    /// PUBCOMP.
    pub(super) fn pubcomp(&mut self, id: PacketId) -> Acknowledged {
        match self.released.iter().position(|&released| released == id) {
            Some(at) => {
                self.released.remove(at);
                self.used.remove(&id);
                Acknowledged::Known
            }
            None if self.position(id).is_some() => Acknowledged::WrongQos,
            None => Acknowledged::Unknown,
        }
    }

    /// The messages whose PUBREL must be sent again, in their order [MQTT-4.4.0-1].
    pub(super) fn released(&self) -> impl Iterator<Item = PacketId> {
        self.released.iter().copied()
    }

    /// The connection is gone: what it left unacknowledged is sent again on the next one, in the order of the first time
    /// [MQTT-4.6.0-1].
    pub(super) fn disconnected(&mut self, expires: Option<Instant>) {
        self.presence = Presence::Away { expires };
        let later = std::mem::take(&mut self.resend);
        self.resend = std::mem::take(&mut self.unacknowledged);
        self.resend.extend(later);
    }

    /// Forgets everything but who the client is. Identifiers go on where they were: the client may still have some in use.
    pub(super) fn clear(&mut self) {
        let last_id = self.last_id;
        *self = Self { last_id, ..Self::new(self.client_id.clone(), self.presence) };
    }

    fn dequeue(&mut self) -> Option<Copy> {
        let copy = self.queue.pop_front()?;
        self.queued_bytes -= copy.message.size();
        Some(copy)
    }

    fn position(&self, id: PacketId) -> Option<usize> {
        self.unacknowledged.iter().position(|sent| sent.id == id)
    }

    /// The next identifier that no message in flight has [MQTT-2.2.1-4].
    fn unused_id(&mut self) -> Option<PacketId> {
        if self.used.len() == usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id)
                && !self.used.contains(&id)
            {
                return Some(id);
            }
        }
    }
}
