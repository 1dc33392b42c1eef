//! The application's messages from the call to the last acknowledgement: what waits, what is in
//! flight by packet identifier, and what is sent again after a loss. SUBSCRIBE and UNSUBSCRIBE
//! share the packet identifiers.

mod packet_ids;
mod recording;
mod waiting;

use std::collections::VecDeque;
use std::rc::Rc;

use super::connection::Up;
use super::connection::aliases::Naming;
use super::error::{Error, ErrorCode};
use super::event::{ServerInfo, Token};
use super::journal::{Batch, Key};
use super::outlet::Outlet;
use super::subscriptions::{Part, Subscriptions};
use super::time::Instant;
use crate::codec::{
    Ack, DecodeError, PacketId, PacketType, Properties, Property, Publish, QoS, ReasonCode, Value,
    Version, encode_ack,
};
use crate::options::{Draft, InvalidArgument, Queue};
use packet_ids::{Entry, PacketIds};
pub(super) use recording::received;
use waiting::{Cancelled, Line, Outgoing, Waiting};

/// How many connections in a row one message may end before the application is told.
const POISON: u8 = 5;

/// What became of a publish that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// It had QoS 0 and is in the send buffer: there is nothing more to tell.
    Written,
    /// The token will complete.
    Pending,
}

/// Messages and requests on their way to the server, over any number of connections.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Outbox {
    waiting: Waiting,
    ids: PacketIds,
    /// Counts up with every publish, and with every PUBREC.
    order: u64,
    /// Topics the application publishes to, by the number it was given.
    topics: Vec<Rc<str>>,
}

/// What is under way on one connection.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Sending {
    /// Our side of the send quota of [MQTT5 4.9]: QoS 1 and 2 messages that were sent on this
    /// connection and are not completed.
    live: u32,
    /// What an earlier connection left unacknowledged and is to be sent again: the last one first.
    resend: Vec<PacketId>,
    /// The changes that must be kept before.
    resend_after: Batch,
    /// What leaves when the store has kept what it depends on, in its order.
    held: VecDeque<Held>,
    /// How many of them are PUBACK or PUBREC.
    held_answers: u32,
    /// An acknowledgement has come.
    progressed: bool,
    /// The server acknowledged a packet identifier that is not in use. Reported once per
    /// connection.
    reported: bool,
}

/// A packet that waits for the store.
#[derive(Clone, Copy, Hash, Debug)]
struct Held {
    batch: Batch,
    /// PUBLISH or an acknowledgement.
    kind: PacketType,
    id: PacketId,
    reason: ReasonCode,
}

impl Held {
    fn is_answer(&self) -> bool {
        matches!(self.kind, PacketType::PubAck | PacketType::PubRec)
    }
}

impl Sending {
    /// `resend`: what [`Outbox::unacknowledged`] gave for a session that is resumed.
    pub(super) fn new(resend: Vec<PacketId>, out: &mut Outlet) -> Self {
        out.journal.hurry();
        Self { resend, resend_after: out.journal.last(), ..Self::default() }
    }

    /// Writes a PUBACK, PUBREC, PUBREL or PUBCOMP when what it says is recorded, and behind those
    /// that wait for that. A PUBACK says nothing that is recorded: it waits for a PUBREC at most
    /// [MQTT-4.6.0-2].
    #[inline]
    pub(super) fn acknowledge(
        &mut self,
        kind: PacketType,
        id: PacketId,
        reason: ReasonCode,
        version: Version,
        out: &mut Outlet,
    ) {
        let (batch, leaves) = if kind == PacketType::PubAck {
            (Batch::NONE, self.held_answers == 0)
        } else {
            let batch = out.journal.last();
            (batch, self.held.is_empty() && out.journal.is_kept(batch))
        };
        if leaves {
            return out.write_ack(kind, id, reason, version);
        }
        let held = Held { batch, kind, id, reason };
        out.journal.hurry();
        self.held_answers += u32::from(held.is_answer());
        self.held.push_back(held);
    }

    fn acknowledged(&mut self, out: &mut Outlet) {
        self.live -= 1;
        self.progressed = true;
        if self.live == 0 {
            // No other record takes that along.
            out.journal.hurry();
        }
    }

    /// An acknowledgement of nothing harms nothing, so the connection stays.
    #[cold]
    fn report_unasked(&mut self, out: &mut Outlet) -> Result<(), DecodeError> {
        if !std::mem::replace(&mut self.reported, true) {
            let what = "the server acknowledges what was not sent to it";
            out.report(Error::new(ErrorCode::ProtocolError, what));
        }
        Ok(())
    }
}

#[cold]
fn misplaced<T>() -> Result<T, DecodeError> {
    Err(DecodeError::protocol("an acknowledgement that does not fit what was sent"))
}

// What the application asks for.
impl Outbox {
    /// Gives a topic its number, good until [`Outbox::forget_topics`].
    pub(super) fn number_topic(&mut self, topic: &str) -> u32 {
        self.topics.push(topic.into());
        self.topics.len() as u32 - 1
    }

    /// The topic with a number.
    #[inline]
    pub(super) fn topic(&self, number: u32) -> Result<&Rc<str>, InvalidArgument> {
        let unknown = || InvalidArgument::new("topic", "is not known");
        self.topics.get(number as usize).ok_or_else(unknown)
    }

    /// Numbers start over.
    pub(super) fn forget_topics(&mut self) {
        self.topics.clear();
    }

    /// Whether nothing of this QoS waits, so that a new message may overtake nothing.
    #[inline]
    pub(super) fn is_clear(&self, qos: QoS) -> bool {
        self.waiting.is_empty(qos)
    }

    /// Takes a message: it is sent where a connection, the quota and the transport allow, and
    /// waits otherwise.
    #[expect(clippy::too_many_arguments, reason = "those of `Session::publish`")]
    pub(super) fn publish(
        &mut self,
        now: Instant,
        topic: Rc<str>,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        draft: Draft,
        token: Option<Token>,
        up: Option<&mut Up>,
        queue: &Queue,
        out: &mut Outlet,
    ) -> Result<Accepted, Box<Error>> {
        let message = Box::new(Outgoing {
            token,
            order: self.order,
            topic,
            payload: payload.into(),
            qos,
            retain,
            properties: draft.properties,
            alias: draft.topic_alias,
            expiry: draft.message_expiry.map(|seconds| (now, seconds)),
            sent: false,
            cuts: 0,
        });
        if let Some(up) = &up {
            check_message(&message, &up.server)?;
        } else if qos == QoS::AtMostOnce && !queue.qos0 {
            let what = "there is no connection, and queue.qos0 is false";
            return Err(Error::new(ErrorCode::ConnectionLost, what).with_topic(&message.topic));
        }
        self.order += 1;
        if let Some(up) = up
            && !out.output.is_full()
            && self.waiting.is_empty(qos)
            && (qos == QoS::AtMostOnce || self.has_quota(up))
        {
            self.send_message(now, message, true, up, out);
            return Ok(Accepted::Pending);
        }
        self.enqueue(message, queue, out)
    }

    fn enqueue(
        &mut self,
        message: Box<Outgoing>,
        queue: &Queue,
        out: &mut Outlet,
    ) -> Result<Accepted, Box<Error>> {
        let order = message.order;
        out.record(&message, None, true);
        for gone in self.waiting.push(message, queue) {
            out.stats.dropped_messages += 1;
            out.forget(&gone);
            let what = "the queue of messages that wait to be sent is full";
            let error = Error::new(ErrorCode::QueueFull, what).with_topic(&gone.topic);
            if gone.order == order {
                return Err(error);
            }
            out.fail(gone.token, error);
        }
        Ok(Accepted::Pending)
    }

    /// Nobody waits for the request any more. A message that was not sent is dropped, one that was
    /// sent goes on. False: it is no message that waits.
    pub(super) fn cancel(&mut self, token: Token, out: &mut Outlet) -> bool {
        match self.waiting.cancel(token) {
            Cancelled::No => return false,
            Cancelled::Goes => {}
            Cancelled::Dropped(message) => out.forget(&message),
        }
        true
    }

    /// Nobody waits for a message any more that is in flight.
    pub(super) fn cancel_in_flight(&mut self, token: Token) {
        for entry in self.ids.iter_mut() {
            if let Some(other) = entry.token().filter(|other| **other == Some(token)) {
                *other = None;
            }
        }
    }
}

// What connections bring.
impl Outbox {
    /// What the server has not acknowledged, in the order in which it is sent again, the last one
    /// first [MQTT-4.4.0-1]. Releases come before messages, for they wait for no quota
    /// [MQTT-3.3.4-8].
    pub(super) fn unacknowledged(&self) -> Vec<PacketId> {
        let mut ids = self.ids.in_order(|entry| matches!(entry, Entry::Release { .. }));
        ids.append(&mut self.ids.in_order(|entry| matches!(entry, Entry::Publish { .. })));
        ids.reverse();
        ids
    }

    /// The server has no session. QoS 1 is published anew; a QoS 2 message that was sent could
    /// arrive twice, so it fails.
    pub(super) fn session_lost(&mut self, out: &mut Outlet) {
        let mut again = Line::new();
        let is_message =
            |entry: &Entry| matches!(entry, Entry::Publish { .. } | Entry::Release { .. });
        for entry in self.ids.drain(is_message) {
            let mut error = Error::new(ErrorCode::SessionLost, "the server lost the session");
            match entry {
                Entry::Publish { message, .. }
                    if message.qos == QoS::AtLeastOnce || !message.sent =>
                {
                    out.record(&message, None, false);
                    again.push_back(message);
                }
                Entry::Publish { message, .. } => {
                    error.topic = Some(message.topic.clone());
                    out.forget(&message);
                    out.fail(message.token, error);
                }
                Entry::Release { token, order, .. } => {
                    out.journal.delete(Key::Release(order));
                    out.fail(token, error);
                }
                Entry::Free | Entry::Subscribe(_) | Entry::Unsubscribe(_) => {
                    // Only messages were taken out.
                    unreachable!()
                }
            }
        }
        self.waiting.push_front(again);
    }

    /// The connection is gone. The result are the requests that were not answered.
    pub(super) fn connection_lost(&mut self, sending: &Sending, out: &mut Outlet) -> Vec<Part> {
        let is_request =
            |entry: &Entry| matches!(entry, Entry::Subscribe(_) | Entry::Unsubscribe(_));
        let mut parts = Vec::new();
        for entry in self.ids.drain(is_request) {
            if let Entry::Subscribe(part) | Entry::Unsubscribe(part) = entry {
                parts.push(part);
            }
        }
        let mut first: Option<&mut Outgoing> = None;
        for entry in self.ids.iter_mut() {
            match entry {
                Entry::Publish { message, live } if *live => {
                    *live = false;
                    if first.as_ref().is_none_or(|first| message.order < first.order) {
                        first = Some(message);
                    }
                }
                Entry::Release { live, .. } => *live = false,
                _ => {}
            }
        }
        if let Some(message) = first.filter(|_| !sending.progressed) {
            message.cuts += 1;
            if message.cuts == POISON {
                message.cuts = 0;
                let what = "sending this message has ended the connection five times in a row";
                out.report(Error::new(ErrorCode::ConnectionLost, what).with_topic(&message.topic));
            }
        }
        parts
    }

    /// Fails the messages that have expired.
    #[inline(never)]
    pub(super) fn expire(&mut self, now: Instant, out: &mut Outlet) {
        for message in self.waiting.expire(now) {
            out.forget(&message);
            out.fail(message.token, expired(&message));
        }
    }

    /// When [`Outbox::expire`] must be asked.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.waiting.expiry()
    }

    /// The client is closed. The result are the tokens that wait.
    pub(super) fn close(&mut self) -> Vec<Option<Token>> {
        let mut tokens = Vec::new();
        while let Some(message) = self.waiting.pop(true) {
            tokens.push(message.token);
        }
        self.waiting = Waiting::default();
        for mut entry in self.ids.drain(|entry| !matches!(entry, Entry::Free)) {
            tokens.extend(entry.token().copied());
        }
        tokens
    }

    /// How many messages wait to be sent, and their bytes.
    pub(super) fn queued(&self) -> (usize, usize) {
        (self.waiting.len(), self.waiting.bytes())
    }

    /// How many packet identifiers are in use.
    pub(super) fn in_flight(&self) -> usize {
        self.ids.used()
    }

    /// Whether there is nothing to send and nothing to wait for.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.len() == 0 && self.ids.used() == 0
    }
}

// What goes out.
impl Outbox {
    /// Sends the SUBSCRIBE and UNSUBSCRIBE packets that wait, as far as packet identifiers go.
    #[cold]
    #[inline(never)]
    pub(super) fn send_requests(
        &mut self,
        subscriptions: &mut Subscriptions,
        up: &Up,
        out: &mut Outlet,
    ) {
        while !subscriptions.nothing_waits() {
            let Some(id) = self.ids.vacant() else { return };
            let start = out.output.bytes.len();
            let sent = subscriptions.send(id, &up.server, &mut out.output.bytes, &mut out.events);
            let Some((subscribes, part)) = sent else { return };
            let (kind, entry) = if subscribes {
                (PacketType::Subscribe, Entry::Subscribe(part))
            } else {
                (PacketType::Unsubscribe, Entry::Unsubscribe(part))
            };
            self.ids.put(id, entry);
            out.wrote(kind, start, Some(id), None, None);
        }
    }

    /// Whether one more QoS 1 or 2 message may be under way [MQTT-3.3.4-7].
    #[inline]
    fn has_quota(&self, up: &Up) -> bool {
        up.sending.live < u32::from(up.server.receive_maximum)
            && up.sending.resend.is_empty()
            && !self.ids.is_full()
    }

    /// Whether [`Outbox::send_waiting`] may find something to do.
    #[inline]
    pub(super) fn has_waiting(&self, up: &Up) -> bool {
        let sending = &up.sending;
        self.waiting.len() > 0 || !sending.resend.is_empty() || !sending.held.is_empty()
    }

    /// Sends what the quota, the limits and the transport allow: first what an earlier connection
    /// left unacknowledged, then what waits.
    pub(super) fn send_waiting(&mut self, now: Instant, up: &mut Up, out: &mut Outlet) {
        self.send_held(up, out);
        while !out.output.is_full() {
            let Some(&id) = up.sending.resend.last() else { break };
            if !out.journal.is_kept(up.sending.resend_after) {
                break;
            }
            if !self.send_again(id, up, out) {
                break;
            }
            up.sending.resend.pop();
            out.output.fill();
        }
        while !out.output.is_full() {
            let quota = self.has_quota(up);
            let Some(message) = self.waiting.pop(quota) else { break };
            match check_message(&message, &up.server) {
                Ok(()) => self.send_message(now, message, false, up, out),
                Err(error) => {
                    out.forget(&message);
                    out.fail(message.token, error);
                }
            }
            out.output.fill();
        }
    }

    /// Sends what has waited for the store, and waits no longer.
    fn send_held(&mut self, up: &mut Up, out: &mut Outlet) {
        while !out.output.is_full()
            && let Some(&held) = up.sending.held.front()
            && out.journal.is_kept(held.batch)
        {
            up.sending.held.pop_front();
            up.sending.held_answers -= u32::from(held.is_answer());
            let Held { kind, id, reason, .. } = held;
            if kind == PacketType::Publish {
                self.send_first(id, up, out);
            } else {
                out.write_ack(kind, id, reason, up.server.version);
            }
            out.output.fill();
        }
    }

    /// Sends one message or release that an earlier connection left. False: the quota is used up.
    fn send_again(&mut self, id: PacketId, up: &mut Up, out: &mut Outlet) -> bool {
        let version = up.server.version;
        let full = up.sending.live >= u32::from(up.server.receive_maximum);
        let start = out.output.bytes.len();
        match self.ids.get(id) {
            Entry::Release { live, .. } => {
                *live = true;
                up.sending.live += 1;
                let buffer = &mut out.output.bytes;
                encode_ack(PacketType::PubRel, id, ReasonCode::SUCCESS, version, buffer);
                out.wrote(PacketType::PubRel, start, Some(id), None, None);
            }
            Entry::Publish { .. } if full => return false,
            Entry::Publish { message, live } => {
                if let Err(error) = check_message(message, &up.server) {
                    self.give_up(id, error, up, out);
                    return true;
                }
                let publish = message.packet(Some(id), true);
                publish.encode_header(version, None, message.payload.len(), &mut out.output.bytes);
                out.output.bytes.extend_from_slice(&message.payload);
                *live = true;
                // It may have waited for the store until now.
                message.sent = true;
                up.sending.live += 1;
                out.wrote_message(start, Some(id), &message.topic);
            }
            Entry::Free | Entry::Subscribe(_) | Entry::Unsubscribe(_) => {
                // Only messages are sent again.
                unreachable!()
            }
        }
        true
    }

    /// Fails a message that was sent on an earlier connection: the server has come back with other
    /// limits.
    fn give_up(&mut self, id: PacketId, error: Box<Error>, up: &mut Up, out: &mut Outlet) {
        let Entry::Publish { message, .. } = self.ids.free(id) else {
            // Only messages are given up.
            unreachable!()
        };
        if message.qos == QoS::ExactlyOnce {
            // The server may have it: until it forgets the identifier, another message would pass
            // for a copy.
            let order = self.next_order();
            self.ids.put(id, Entry::Release { token: None, order, live: true });
            up.sending.live += 1;
            out.record_release(message.order, id, order);
            let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
            up.sending.acknowledge(PacketType::PubRel, id, reason, up.server.version, out);
        } else {
            out.forget(&message);
        }
        out.fail(message.token, error);
    }

    /// Sends a message for the first time, when it is recorded. There is quota. `first`: it was not
    /// recorded before.
    fn send_message(
        &mut self,
        now: Instant,
        mut message: Box<Outgoing>,
        first: bool,
        up: &mut Up,
        out: &mut Outlet,
    ) {
        if let Some((since, seconds)) = message.expiry.take() {
            let waited = now.since_ms(since) / 1_000;
            if waited > 0 && waited >= u64::from(seconds) {
                out.forget(&message);
                return out.fail(message.token, expired(&message));
            }
            let left = seconds - waited as u32;
            message.properties.push(Property::MessageExpiryInterval, Value::Four(left));
        }
        if message.alias.is_some() {
            up.aliases.leave_to_application();
        }
        if message.qos == QoS::AtMostOnce {
            let start = out.output.bytes.len();
            let alias = message.alias.take();
            let publish = message.packet(None, false);
            let buffer = &mut out.output.bytes;
            match up.write_publish(publish, &message.topic, &message.payload, alias, buffer) {
                Ok(()) => {
                    out.wrote_message(start, None, &message.topic);
                    out.complete(message.token, None, ReasonCode::SUCCESS, Properties::EMPTY);
                }
                Err(error) => out.fail(message.token, error.with_topic(&message.topic)),
            }
            return;
        }
        let id = self.ids.vacant().expect("has_quota() has seen to it");
        up.sending.live += 1;
        out.record(&message, Some(id), first);
        self.ids.put(id, Entry::Publish { message, live: false });
        let batch = out.journal.last();
        if out.journal.is_kept(batch) {
            self.send_first(id, up, out);
        } else {
            let (kind, reason) = (PacketType::Publish, ReasonCode::SUCCESS);
            up.sending.held.push_back(Held { batch, kind, id, reason });
        }
    }

    /// Sends a QoS 1 or 2 message that has a packet identifier for the first time.
    #[inline]
    fn send_first(&mut self, id: PacketId, up: &mut Up, out: &mut Outlet) {
        let Entry::Publish { message, live } = self.ids.get(id) else {
            // Nothing frees an identifier whose message waits for the store, without a word to
            // `Sending`.
            unreachable!()
        };
        let alias = message.alias.take();
        let start = out.output.bytes.len();
        let publish = message.packet(Some(id), false);
        let buffer = &mut out.output.bytes;
        match up.write_publish(publish, &message.topic, &message.payload, alias, buffer) {
            Ok(()) => {
                *live = true;
                message.sent = true;
                out.wrote_message(start, Some(id), &message.topic);
            }
            Err(error) => {
                let error = error.with_topic(&message.topic);
                out.forget(message);
                out.fail(message.token, error);
                up.sending.live -= 1;
                self.ids.free(id);
            }
        }
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order - 1
    }
}

// What the server answers.
impl Outbox {
    /// A PUBACK frees the packet identifier and completes the message [MQTT5 4.3.2].
    pub(super) fn process_puback(
        &mut self,
        ack: Ack<'_>,
        sending: &mut Sending,
        out: &mut Outlet,
    ) -> Result<(), DecodeError> {
        match self.ids.get(ack.id) {
            Entry::Publish { message, live: true } if message.qos == QoS::AtLeastOnce => {
                let (token, topic) = (message.token, message.topic.clone());
                out.journal.delete_later(Key::Message(message.order));
                self.ids.free(ack.id);
                sending.acknowledged(out);
                out.complete(token, Some(&topic), ack.reason, ack.properties);
                Ok(())
            }
            Entry::Free => sending.report_unasked(out),
            _ => misplaced(),
        }
    }

    /// A PUBREC is answered with PUBREL, or fails the message [MQTT5 4.3.3].
    pub(super) fn process_pubrec(
        &mut self,
        ack: Ack<'_>,
        up: &mut Up,
        out: &mut Outlet,
    ) -> Result<(), DecodeError> {
        let mut reply = ReasonCode::SUCCESS;
        match self.ids.get(ack.id) {
            Entry::Publish { message, live: true } if message.qos == QoS::ExactlyOnce => {
                let (token, old) = (message.token, message.order);
                if ack.reason.is_error() {
                    let topic = message.topic.clone();
                    out.forget(message);
                    self.ids.free(ack.id);
                    up.sending.acknowledged(out);
                    out.complete(token, Some(&topic), ack.reason, ack.properties);
                    return Ok(());
                }
                // From here on the PUBREL is what is sent again, in the order of the PUBRECs
                // [MQTT-4.6.0-4].
                let order = self.next_order();
                *self.ids.get(ack.id) = Entry::Release { token, order, live: true };
                out.record_release(old, ack.id, order);
                up.sending.progressed = true;
            }
            Entry::Release { live: true, .. } => {}
            Entry::Free => reply = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            _ => return misplaced(),
        }
        if !ack.reason.is_error() {
            let version = up.server.version;
            up.sending.acknowledge(PacketType::PubRel, ack.id, reply, version, out);
        }
        Ok(())
    }

    /// A PUBCOMP frees the packet identifier and completes the message [MQTT5 4.3.3].
    pub(super) fn process_pubcomp(
        &mut self,
        ack: Ack<'_>,
        sending: &mut Sending,
        out: &mut Outlet,
    ) -> Result<(), DecodeError> {
        match self.ids.get(ack.id) {
            Entry::Release { token, order, live: true } => {
                let token = *token;
                out.journal.delete_later(Key::Release(*order));
                self.ids.free(ack.id);
                sending.acknowledged(out);
                out.complete(token, None, ack.reason, ack.properties);
                Ok(())
            }
            // It answers a PUBREL that said it knows of no message.
            Entry::Free => Ok(()),
            _ => misplaced(),
        }
    }

    /// Frees the packet identifier of a SUBACK or UNSUBACK with `codes` reason codes. The result
    /// is what was asked; `None`: nothing was.
    pub(super) fn process_suback(
        &mut self,
        id: PacketId,
        subscribe: bool,
        codes: usize,
        up: &mut Up,
        out: &mut Outlet,
    ) -> Result<Option<Part>, DecodeError> {
        let part = match (self.ids.get(id), subscribe) {
            (Entry::Subscribe(part), true) | (Entry::Unsubscribe(part), false) => part,
            (Entry::Free, _) => return up.sending.report_unasked(out).map(|()| None),
            _ => return misplaced(),
        };
        // The UNSUBACK of 3.1.1 has no codes.
        let without = !subscribe && up.server.version == Version::V311 && codes == 0;
        if part.len() != codes && !without {
            let what = "an acknowledgement with another number of reason codes than filters";
            return Err(DecodeError::protocol(what));
        }
        match self.ids.free(id) {
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => Ok(Some(part)),
            // The entry was looked at.
            _ => unreachable!(),
        }
    }
}

impl Up {
    /// Appends a PUBLISH to `out`, with a topic alias where that helps and fits. `alias`: the one
    /// that the application chose.
    #[inline]
    pub(super) fn write_publish(
        &mut self,
        mut publish: Publish<'_>,
        topic: &str,
        payload: &[u8],
        alias: Option<u16>,
        out: &mut Vec<u8>,
    ) -> Result<(), Box<Error>> {
        let version = self.server.version;
        let limit = self.server.maximum_packet_size;
        let size = publish.size(version, alias, payload.len());
        if size > limit as usize {
            return Err(Error::too_large(size, limit));
        }
        let naming = if alias.is_some() || size + 4 > limit as usize {
            Naming::Topic
        } else {
            self.aliases.naming(topic)
        };
        let alias = match naming {
            Naming::Topic => alias,
            Naming::Both(own) => Some(own),
            Naming::Alias(own) => {
                publish.topic = &[];
                Some(own)
            }
        };
        publish.encode_header(version, alias, payload.len(), out);
        out.extend_from_slice(payload);
        Ok(())
    }
}

fn expired(message: &Outgoing) -> Box<Error> {
    Error::new(ErrorCode::Expired, "the message expired before it could be sent")
        .with_topic(&message.topic)
}

/// Whether the server takes such a message at all.
fn check_message(message: &Outgoing, server: &ServerInfo) -> Result<(), Box<Error>> {
    let refuse = |what, reason| {
        let error = Error::new(ErrorCode::NotSupported, what);
        Err(error.with_reason(reason).with_topic(&message.topic))
    };
    if message.qos > server.maximum_qos {
        return refuse("the server does not support this QoS", ReasonCode::QOS_NOT_SUPPORTED);
    }
    if message.retain && !server.retain_available {
        let what = "the server does not support retained messages";
        return refuse(what, ReasonCode::RETAIN_NOT_SUPPORTED);
    }
    if message.alias.is_some_and(|alias| alias > server.topic_alias_maximum) {
        let what = "the topic alias is above the server's maximum";
        return refuse(what, ReasonCode::TOPIC_ALIAS_INVALID);
    }
    let extra = if message.expiry.is_some() { 5 } else { 0 };
    let size =
        message.packet(None, false).size(server.version, message.alias, message.payload.len());
    let size = size + extra;
    if size > server.maximum_packet_size as usize {
        let error = Error::too_large(size, server.maximum_packet_size);
        return Err(error.with_topic(&message.topic));
    }
    Ok(())
}
