//! Incoming messages: the receive window, QoS 2 identifiers, and the acknowledgements that are
//! owed to the server.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::connection::Up;
use super::connection::aliases::IncomingAliases;
use super::error::{Error, ErrorCode};
use super::event::{Event, Message, Sequence, Span};
use super::journal::Key;
use super::outbox::received;
use super::outlet::Outlet;
use super::subscriptions::{Stored, Subscriptions};
use super::topic_table::{Found, Slots};
use crate::codec::{
    Ack, DecodeError, PacketId, PacketType, Publish, PublishHints, QoS, ReasonCode, SubscriptionId,
    Version, check_topic,
};
use crate::options::ConnectProperties;

/// What is known of incoming messages over any number of connections.
#[derive(Clone, Hash, Debug)]
pub(super) struct Inbox {
    /// Names the first message of the next connection.
    next: Sequence,
    received: ReceivedIds,
    slots: Slots,
    /// The body of the last packet that came in pieces, kept while its payload may be read.
    pub assembled: Vec<u8>,
    /// The subscription identifiers of the message that is being read.
    identifiers: Vec<u32>,
    /// How often in a row the server has sent more than Receive Maximum, up to [`OVERSTEPS`].
    oversteps: u8,
}

/// After so many connections in a row that ended because the server sent more than Receive Maximum,
/// the limit is left out.
const OVERSTEPS: u8 = 2;

/// What is known of incoming messages on one connection.
#[derive(Clone, Hash, Debug)]
pub(super) struct Receiving {
    /// QoS 1 and 2 messages that came on this connection and are not completed: they count against
    /// our Receive Maximum.
    window: u32,
    owed: Owed,
    aliases: IncomingAliases,
}

/// What an incoming PUBLISH is to its sender.
enum Admitted {
    /// QoS 0: no acknowledgement is owed.
    Once,
    /// The application gets it, and its acknowledgement is owed.
    Owed(Sequence),
    /// QoS 2, sent again before its release: acknowledged, not shown [MQTT-4.3.3-10].
    Again,
}

/// A PUBLISH whose header was read.
pub(super) struct Incoming<'a> {
    /// Bytes of the packet's body.
    pub len: usize,
    /// Where in the chunk the body begins; `None`: the body is [`Inbox::assembled`].
    pub at: Option<usize>,
    pub publish: &'a Publish<'a>,
    pub hints: &'a PublishHints,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            next: Sequence::FIRST,
            received: ReceivedIds::default(),
            slots: Slots::new(),
            assembled: Vec::new(),
            identifiers: Vec::new(),
            oversteps: 0,
        }
    }
}

impl Inbox {
    /// Remembers at least so many topics, as far as there may be so many.
    pub(super) fn reserve_topics(&mut self, count: usize) {
        self.slots.reserve(count);
    }

    /// What the next connection begins with.
    pub(super) fn start(&self) -> Receiving {
        let owed = Owed { queue: VecDeque::new(), first: self.next };
        Receiving { window: 0, owed, aliases: IncomingAliases::default() }
    }

    /// The connection is gone.
    pub(super) fn connection_lost(&mut self, receiving: &Receiving) {
        self.next = receiving.owed.next();
    }

    /// Whether our Receive Maximum is left out.
    pub(super) fn is_unlimited(&self) -> bool {
        self.oversteps == OVERSTEPS
    }

    /// A connection ends with an error, which may be that the server sent more than Receive Maximum.
    pub(super) fn note_overstep(&mut self, error: &Error, out: &mut Outlet) {
        if self.is_unlimited() {
            return;
        }
        if (error.code, error.reason)
            != (ErrorCode::ProtocolError, Some(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED))
        {
            self.oversteps = 0;
            return;
        }
        self.oversteps += 1;
        if self.is_unlimited() {
            let what = "the server does not keep to receiveMaximum, which is left out from here on";
            out.report(Error::new(ErrorCode::ProtocolError, what));
        }
    }

    /// The server has no session: it knows of no message that it has not released.
    pub(super) fn session_lost(&mut self, out: &mut Outlet) {
        if out.journal.is_on() {
            for id in 0..64 * self.received.bits.len() {
                let id = PacketId::new(id as u16).filter(|&id| self.received.contains(id));
                if let Some(id) = id {
                    out.journal.delete(Key::Received(id));
                }
            }
        }
        self.received.clear();
    }

    /// An earlier life of the client received a message that the server has not released.
    pub(super) fn restore(&mut self, id: PacketId) {
        self.received.insert(id);
    }

    /// A PUBLISH becomes a message for the application, and an acknowledgement that is owed
    /// [MQTT5 4.3].
    #[inline]
    pub(super) fn process_publish(
        &mut self,
        incoming: Incoming<'_>,
        up: &mut Up,
        own: &ConnectProperties,
        subscriptions: &mut Subscriptions,
        out: &mut Outlet,
    ) -> Result<(), DecodeError> {
        let Incoming { len, at, publish, hints } = incoming;
        self.identifiers.clear();
        if hints.subscription_ids > 0 {
            self.identifiers.extend(publish.properties.subscription_ids().map(SubscriptionId::get));
        }
        // The retain flag marks a stored message, unless a Subscription asked for retainAsPublished.
        // What is sent again is older than what has come since, and says nothing of what is stored.
        let is_apart = publish.retain || publish.dup;
        let epoch = if is_apart { None } else { Some(subscriptions.epoch()) };
        let aliased;
        let topic = match hints.topic_alias {
            None => publish.topic,
            Some(alias) => {
                let maximum = own.topic_alias_maximum;
                aliased = up.receiving.aliases.topic(alias, publish.topic, maximum)?;
                aliased.as_bytes()
            }
        };
        let slot = match self.slots.find(topic, &self.identifiers, epoch)? {
            Found::Fresh(slot) if !is_apart => {
                announce(slot, None, &mut self.slots, subscriptions, out);
                slot
            }
            Found::Known(slot) | Found::Fresh(slot) => slot,
        };
        let admitted = self.admit(publish, up, own)?;
        if out.events.tapped {
            let topic = self.slots.topic(slot).clone();
            out.tap_incoming(PacketType::Publish, len, publish.id, Some(topic), None);
        }
        let sequence = match admitted {
            Admitted::Once => None,
            Admitted::Owed(sequence) => Some(sequence),
            Admitted::Again => {
                self.acknowledge_ready(up, out);
                return Ok(());
            }
        };
        if is_apart {
            let stored = Stored { dup: publish.dup, qos: publish.qos };
            announce(slot, publish.retain.then_some(stored), &mut self.slots, subscriptions, out);
        }
        out.stats.messages_received += 1;
        out.events.push_message(message(slot, sequence, len, at, publish, hints));
        Ok(())
    }

    /// A PUBLISH that was skipped is reported, and acknowledged like all others.
    pub(super) fn process_skipped(
        &mut self,
        publish: &Publish<'_>,
        up: &mut Up,
        own: &ConnectProperties,
        out: &mut Outlet,
    ) -> Result<(), DecodeError> {
        let topic = check_topic(publish.topic)?.into();
        let admitted = self.admit(publish, up, own)?;
        if !matches!(admitted, Admitted::Again) {
            let what = "skipped a message over maximumPacketSize";
            out.report(Error::new(ErrorCode::PacketTooLarge, what).with_topic(&topic));
        }
        if let Admitted::Owed(sequence) = admitted {
            up.receiving.acknowledge(sequence, ReasonCode::SUCCESS);
        }
        self.acknowledge_ready(up, out);
        Ok(())
    }

    /// Counts a message against our Receive Maximum, and notes the acknowledgement it is owed.
    #[inline]
    fn admit(
        &mut self,
        publish: &Publish<'_>,
        up: &mut Up,
        own: &ConnectProperties,
    ) -> Result<Admitted, DecodeError> {
        match publish.id {
            None => Ok(Admitted::Once),
            Some(id) => self.admit_owed(id, publish.qos, up, own),
        }
    }

    /// The same for a message of QoS 1 or 2.
    fn admit_owed(
        &mut self,
        id: PacketId,
        qos: QoS,
        up: &mut Up,
        own: &ConnectProperties,
    ) -> Result<Admitted, DecodeError> {
        let receive_maximum = match up.server.version {
            Version::V5 if !self.is_unlimited() => u32::from(own.receive_maximum),
            Version::V311 | Version::V5 => 65_535,
        };
        let receiving = &mut up.receiving;
        let repeated = qos == QoS::ExactlyOnce && self.received.contains(id);
        // What is repeated counts while its acknowledgement is owed: it may have to wait for one
        // that is held.
        let under_way = if repeated { receiving.owed.len() } else { receiving.window };
        if under_way >= receive_maximum {
            let reason = ReasonCode::RECEIVE_MAXIMUM_EXCEEDED;
            return Err(DecodeError { reason, what: "more messages than Receive Maximum" });
        }
        if repeated {
            let stage = Stage::Ready(ReasonCode::SUCCESS);
            receiving.owed.push(id, qos, stage);
            return Ok(Admitted::Again);
        }
        receiving.window += 1;
        if qos == QoS::ExactlyOnce {
            self.received.insert(id);
        }
        let stage = Stage::Delivering;
        Ok(Admitted::Owed(receiving.owed.push(id, qos, stage)))
    }

    /// A PUBREL releases the identifier of a QoS 2 message and is answered with PUBCOMP.
    pub(super) fn process_pubrel(&mut self, ack: Ack<'_>, up: &mut Up, out: &mut Outlet) {
        let known = self.received.remove(ack.id);
        if known {
            out.journal.delete(Key::Received(ack.id));
            up.receiving.window = up.receiving.window.saturating_sub(1);
        }
        let reason =
            if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
        // Behind the change that deletes the record: else the next message with this identifier
        // could be taken for this one.
        up.sending.acknowledge(PacketType::PubComp, ack.id, reason, up.server.version, out);
    }

    /// Sends the acknowledgements that are next in order.
    #[inline]
    pub(super) fn acknowledge_ready(&mut self, up: &mut Up, out: &mut Outlet) {
        let version = up.server.version;
        let receiving = &mut up.receiving;
        while let Some((id, qos, reason)) = receiving.owed.pop_ready() {
            let kind =
                if qos == QoS::AtLeastOnce { PacketType::PubAck } else { PacketType::PubRec };
            if kind == PacketType::PubRec && !reason.is_error() && out.journal.is_on() {
                out.journal.put(Key::Received(id), received(id), false);
            }
            if qos == QoS::AtLeastOnce || reason.is_error() {
                receiving.window = receiving.window.saturating_sub(1);
                if qos == QoS::ExactlyOnce {
                    self.received.remove(id);
                }
            }
            up.sending.acknowledge(kind, id, reason, version, out);
        }
    }
}

impl Receiving {
    /// QoS 1 and 2 messages that are not completed.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// All messages handed out so far have been delivered.
    pub(super) fn delivered(&mut self) {
        self.owed.delivered();
    }

    /// The application withholds the acknowledgement of a message that is being delivered.
    pub(super) fn hold(&mut self, sequence: Sequence) {
        self.owed.set(sequence, Stage::Held);
    }

    /// The application acknowledges a message. One of an earlier connection is not there any more.
    pub(super) fn acknowledge(&mut self, sequence: Sequence, reason: ReasonCode) {
        self.owed.set(sequence, Stage::Ready(reason));
    }
}

/// What the application gets of a PUBLISH. Its bytes stay where they are.
#[inline]
fn message(
    slot: u32,
    sequence: Option<Sequence>,
    len: usize,
    at: Option<usize>,
    publish: &Publish<'_>,
    hints: &PublishHints,
) -> Message {
    let base = at.unwrap_or(0);
    let properties = if publish.properties.is_empty() || hints.only_for_routing {
        Span::default()
    } else {
        Span {
            start: (base + hints.properties_start) as u32,
            len: publish.properties.as_bytes().len() as u32,
        }
    };
    Message {
        slot,
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        assembled: at.is_none(),
        payload: Span {
            start: (base + hints.payload_start) as u32,
            len: (len - hints.payload_start) as u32,
        },
        properties,
        sequence,
    }
}

/// Says what a slot stands for from here on. `stored`: or only for this message, which has the
/// retain flag.
// It gets no reference to the PUBLISH, which would force every PUBLISH into memory.
#[cold]
#[inline(never)]
fn announce(
    slot: u32,
    stored: Option<Stored>,
    slots: &mut Slots,
    subscriptions: &Subscriptions,
    out: &mut Outlet,
) {
    let topic: Rc<str> = slots.topic(slot).clone();
    let identifiers = slots.identifiers(slot).clone();
    let (mut routes, filters) = subscriptions.routes(&topic, &identifiers);
    if let Some(stored) = stored {
        subscriptions.narrow(&filters, &mut routes, stored, slots.seen_mut(slot));
    }
    let routes = routes.into();
    out.events.push(Event::Slot { slot, topic, routes, identifiers });
}

/// Acknowledgements owed to the server. They leave in the order in which the messages came
/// [MQTT-4.6.0-2], so one that the application holds keeps back those after it.
#[derive(Clone, Hash, Debug)]
struct Owed {
    queue: VecDeque<Acknowledgement>,
    /// Names the first message in the queue. Names go on over connections, so that a late
    /// acknowledgement hits nothing.
    first: Sequence,
}

#[derive(Clone, Copy, Hash, Debug)]
struct Acknowledgement {
    id: PacketId,
    qos: QoS,
    stage: Stage,
}

#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
enum Stage {
    /// The application has the message, or is about to.
    Delivering,
    /// The application will say when.
    Held,
    /// It is to be sent.
    Ready(ReasonCode),
}

impl Owed {
    // Its parts go straight to their place when this is a call, and over the stack when it is not.
    #[inline(never)]
    fn push(&mut self, id: PacketId, qos: QoS, stage: Stage) -> Sequence {
        let sequence = self.next();
        self.queue.push_back(Acknowledgement { id, qos, stage });
        sequence
    }

    fn len(&self) -> u32 {
        self.queue.len() as u32
    }

    /// Names the next message.
    fn next(&self) -> Sequence {
        self.first.plus(self.len())
    }

    fn set(&mut self, sequence: Sequence, stage: Stage) {
        let at = sequence.since(self.first) as usize;
        if let Some(acknowledgement) = self.queue.get_mut(at)
            && !matches!(acknowledgement.stage, Stage::Ready(_))
        {
            acknowledgement.stage = stage;
        }
    }

    fn delivered(&mut self) {
        for acknowledgement in &mut self.queue {
            if acknowledgement.stage == Stage::Delivering {
                acknowledgement.stage = Stage::Ready(ReasonCode::SUCCESS);
            }
        }
    }

    #[inline]
    fn pop_ready(&mut self) -> Option<(PacketId, QoS, ReasonCode)> {
        let front = self.queue.front()?;
        let Stage::Ready(reason) = front.stage else { return None };
        let (id, qos) = (front.id, front.qos);
        self.queue.pop_front();
        self.first = self.first.plus(1);
        Some((id, qos, reason))
    }
}

/// The QoS 2 messages that arrived and were not released yet: one bit for each packet identifier,
/// as far as used.
#[derive(Clone, Default, Hash, Debug)]
struct ReceivedIds {
    bits: Vec<u64>,
}

impl ReceivedIds {
    #[inline]
    fn contains(&self, id: PacketId) -> bool {
        let id = id.get();
        self.bits.get(usize::from(id / 64)).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    #[inline]
    fn insert(&mut self, id: PacketId) {
        let id = id.get();
        let at = usize::from(id / 64);
        if at >= self.bits.len() {
            self.bits.resize(at + 1, 0);
        }
        self.bits[at] |= 1 << (id % 64);
    }

    #[inline]
    fn remove(&mut self, id: PacketId) -> bool {
        let had = self.contains(id);
        let id = id.get();
        if had {
            self.bits[usize::from(id / 64)] &= !(1 << (id % 64));
        }
        had
    }

    fn clear(&mut self) {
        self.bits.clear();
    }
}
