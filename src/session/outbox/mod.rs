//! The application's messages from the call to the last acknowledgement: what waits, what is in
//! flight by packet identifier, and what is sent again after a loss. SUBSCRIBE and UNSUBSCRIBE
//! share the packet identifiers.

pub(super) mod blame;
mod packet_ids;
mod recording;
mod sending;
mod waiting;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::connection::Up;
use super::error::{Error, ErrorCode};
use super::event::Token;
use super::journal::Key;
use super::outlet::Outlet;
use super::subscriptions::{Part, Subscriptions};
use super::time::Instant;
use crate::codec::{Ack, DecodeError, PacketId, PacketType, Property, QoS, ReasonCode, Version};
use crate::options::{Draft, InvalidArgument, Queue};
use blame::{Caution, Loss, SUSPECT};
use packet_ids::{Entry, PacketIds};
pub(super) use recording::received;
pub(super) use sending::Sending;
use sending::check_message;
use waiting::{Line, Outgoing, Waiting};

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
    /// How often in a row the server has hung up while a message was in flight, with none
    /// acknowledged in between, up to [`SUSPECT`].
    losses: u8,
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
            withdrawn: false,
            losses: 0,
        });
        if let Some(up) = &up {
            check_message(&message, &up.server)?;
        } else if qos == QoS::AtMostOnce && !queue.qos0 {
            let what = "there is no connection, and with queue.qos0 false no room for the message";
            return Err(Error::new(ErrorCode::ConnectionLost, what).with_topic(&message.topic));
        }
        self.order += 1;
        if let Some(up) = up
            && !out.output.is_full()
            && !up.sending.is_cautious()
            && self.waiting.is_empty(qos)
            && qos <= self.quota(up)
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
        for gone in self.waiting.push(message, queue, out) {
            out.stats.dropped_messages += 1;
            let what = "the queue has no room for the message";
            let error = Error::new(ErrorCode::QueueFull, what).with_topic(&gone.topic);
            if gone.order == order {
                return Err(error);
            }
            out.forget(&gone);
            out.fail(gone.token, error);
        }
        Ok(Accepted::Pending)
    }

    /// Nobody waits for the request any more. A message that waits is dropped. False: it is no
    /// message that waits.
    pub(super) fn cancel(&mut self, token: Token, out: &mut Outlet) -> bool {
        let dropped = self.waiting.cancel(token);
        if let Some(message) = &dropped {
            out.forget(message);
        }
        dropped.is_some()
    }

    /// Nobody waits for a message any more that is in flight. It goes on, and is not sent again;
    /// if it waits for the store, it is not sent at all.
    pub(super) fn cancel_in_flight(&mut self, token: Token, up: Option<&mut Up>, out: &mut Outlet) {
        let is_it = |entry: &Entry| match entry {
            Entry::Publish { message, .. } => message.token == Some(token),
            Entry::Release { token: other, .. } => *other == Some(token),
            _ => false,
        };
        let Some(id) = self.ids.find(&is_it) else { return };
        match self.ids.get(id) {
            Entry::Publish { message, .. } if message.sent => {
                message.token = None;
                out.withdraw(message, id);
            }
            Entry::Release { token, .. } => *token = None,
            _ => {
                let message = self.take_unsent(id, up, out);
                out.forget(&message);
            }
        }
    }

    /// Takes out a message that has a packet identifier and was not sent.
    fn take_unsent(
        &mut self,
        id: PacketId,
        up: Option<&mut Up>,
        out: &mut Outlet,
    ) -> Box<Outgoing> {
        let Entry::Publish { message, .. } = self.ids.free(id) else {
            // Only messages are taken out.
            unreachable!()
        };
        if let Some(up) = up {
            up.sending.forget(id, message.qos, out);
        }
        message
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
    /// arrive twice, so it fails. `cause`: why the connection had ended.
    pub(super) fn session_lost(&mut self, cause: &Option<Box<Error>>, out: &mut Outlet) {
        let mut again = Line::new();
        let is_message = |entry: &Entry| !matches!(entry, Entry::Free) && !entry.is_request();
        for entry in self.ids.drain(is_message) {
            let mut error = Error::new(ErrorCode::SessionLost, "the server lost the session");
            error.cause = cause.clone();
            match entry {
                Entry::Publish { mut message, .. }
                    if message.qos == QoS::AtLeastOnce || !message.sent =>
                {
                    if !message.withdrawn {
                        if core::mem::take(&mut message.sent) && message.expiry.is_some() {
                            message.properties.remove(Property::MessageExpiryInterval);
                        }
                        out.record(&message, None, false);
                        again.push_back(message);
                    }
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
                Entry::Abandoned { order } => out.journal.delete(Key::Release(order)),
                Entry::Free | Entry::Subscribe(_) | Entry::Unsubscribe(_) => {
                    // Only messages were taken out.
                    unreachable!()
                }
            }
        }
        self.waiting.push_front(again);
    }

    /// The connection is gone. A message that has ended it too often is given up. What waits for
    /// the store has not left, so it has ended nothing.
    pub(super) fn connection_lost(
        &mut self,
        sending: &Sending,
        mut loss: Loss,
        out: &mut Outlet,
    ) -> Unanswered {
        for id in sending.held_releases() {
            if let Entry::Release { live, .. } = self.ids.get(id) {
                *live = false;
            }
        }
        let is_sent = |entry: &Entry| {
            matches!(entry, Entry::Publish { live: true, .. } | Entry::Release { live: true, .. })
        };
        let is_judged = loss.verdict().is_some()
            && (sending.loose || sending.requests > 0 || self.ids.find(&is_sent).is_some());
        if out.output.pending() > 0 {
            // Some of it has not left.
            loss = Loss::Innocent;
        }
        let mut unanswered = Unanswered { parts: Vec::new(), guilty: None, is_judged };
        if let Some(id) = self.judge(sending, loss) {
            if self.ids.get(id).is_request() {
                unanswered.guilty = self.ids.free(id).part();
            } else {
                self.losses = 0;
                self.blame(id, loss, out);
            }
        }
        for entry in self.ids.drain(Entry::is_request) {
            unanswered.parts.extend(entry.part());
        }
        unanswered
    }

    /// Counts the end of a connection for what was sent on it: for every message, and for the first
    /// request. The result is what has ended too many.
    fn judge(&mut self, sending: &Sending, loss: Loss) -> Option<PacketId> {
        let requests = self.ids.in_order(Entry::is_request);
        let first = requests.into_iter().find(|id| loss.concerns(self.ids.get(*id)));
        let (mut suspects, mut last, mut has_message) = (0, None, false);
        for (id, entry) in self.ids.iter_mut() {
            if loss.concerns(entry) {
                suspects += 1;
                last = Some(id);
                has_message |= !entry.is_request();
                if (!entry.is_request() || first == Some(id))
                    && let Some(losses) = entry.losses()
                {
                    *losses = losses.saturating_add(1);
                }
            }
            if let Entry::Publish { live, .. } | Entry::Release { live, .. } = entry {
                *live = false;
            }
        }
        let is_judged = loss.verdict().is_some();
        let before = self.losses;
        if suspects > 0 && (is_judged || has_message) {
            self.losses = if is_judged { SUSPECT } else { SUSPECT.min(before + 1) };
        }
        let is_alone = sending.caution == Caution::OneByOne || is_judged && !sending.loose;
        let id = last.filter(|_| suspects == 1 && is_alone)?;
        let own = *self.ids.get(id).losses()?;
        let is_guilty = is_judged || own > SUSPECT && (before == SUSPECT || !has_message);
        is_guilty.then_some(id)
    }

    /// Gives up a message that ends the connection.
    #[cold]
    fn blame(&mut self, id: PacketId, loss: Loss, out: &mut Outlet) {
        let mut error = loss.error(ErrorCode::PublishRefused);
        let withdrawn = match self.ids.get(id) {
            Entry::Publish { message, .. } => {
                error.topic = Some(message.topic.clone());
                let told = message.token.take();
                if told.is_none() && !message.withdrawn {
                    out.report(error.clone());
                }
                out.withdraw(message, id);
                told
            }
            Entry::Release { token, order, .. } => {
                let (token, order) = (*token, *order);
                self.ids.free(id);
                self.ids.put(id, Entry::Abandoned { order });
                out.record_abandoned(id, order);
                token
            }
            _ => {
                // Only messages are given up here.
                unreachable!()
            }
        };
        out.fail(withdrawn, error);
    }

    /// Whether something that waits for a connection may be what has ended the last ones.
    pub(super) fn is_suspected(&self, subscriptions: &Subscriptions, sending: &Sending) -> bool {
        let is_owed = !sending.resend.is_empty()
            || !self.waiting.is_empty(QoS::AtLeastOnce)
            || !subscriptions.nothing_waits();
        self.losses == SUSPECT && is_owed || subscriptions.is_suspected()
    }

    /// Lets packets go together again once no suspect is left.
    #[cold]
    pub(super) fn end_caution(&mut self, subscriptions: &Subscriptions, up: &mut Up) {
        if !up.sending.must_wait() && !self.is_suspected(subscriptions, &up.sending) {
            self.no_suspects(up);
        }
    }

    fn no_suspects(&mut self, up: &mut Up) {
        up.sending.caution = Caution::None;
        self.losses = 0;
    }

    /// Fails the messages that have expired.
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
        for message in self.waiting.drain() {
            tokens.push(message.token);
        }
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
        self.ids.in_flight()
    }

    /// Whether there is nothing to send and nothing to wait for.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_over() && self.ids.in_flight() == 0
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
                self.losses = 0;
                sending.done(QoS::AtLeastOnce, out);
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
                self.losses = 0;
                if ack.reason.is_error() {
                    let topic = message.topic.clone();
                    out.forget(message);
                    self.ids.free(ack.id);
                    up.sending.done(QoS::ExactlyOnce, out);
                    out.complete(token, Some(&topic), ack.reason, ack.properties);
                    return Ok(());
                }
                // From here on the PUBREL is what is sent again, in the order of the PUBRECs
                // [MQTT-4.6.0-4].
                let order = self.next_order();
                *self.ids.get(ack.id) = Entry::Release { token, order, live: true, losses: 0 };
                out.record_release(old, ack.id, order);
            }
            Entry::Release { live: true, .. } => {}
            Entry::Abandoned { .. } => return Ok(()),
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
            Entry::Release { token, order, live: true, .. } => {
                let token = *token;
                out.journal.delete_later(Key::Release(*order));
                self.ids.free(ack.id);
                self.losses = 0;
                sending.done(QoS::ExactlyOnce, out);
                out.complete(token, None, ack.reason, ack.properties);
                Ok(())
            }
            // It answers a PUBREL that said it knows of no message.
            Entry::Free | Entry::Abandoned { .. } => Ok(()),
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
        up.sending.requests -= 1;
        match self.ids.free(id) {
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => Ok(Some(part)),
            // The entry was looked at.
            _ => unreachable!(),
        }
    }
}

/// What a connection leaves behind.
pub(super) struct Unanswered {
    /// Requests to be sent again.
    pub parts: Vec<Part>,
    /// The request that has ended the connection too often.
    pub guilty: Option<Part>,
    /// The server has ended the connection because of a packet.
    pub is_judged: bool,
}

fn expired(message: &Outgoing) -> Box<Error> {
    Error::new(ErrorCode::Expired, "the message expired before it could be sent")
        .with_topic(&message.topic)
}
