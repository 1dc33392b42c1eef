//! The application's messages from the call to the last acknowledgement: what waits, what is in
//! flight by packet identifier, and what is sent again after a loss. SUBSCRIBE and UNSUBSCRIBE
//! share the packet identifiers.

pub(super) mod blame;
mod packet_ids;
mod waiting;

use std::rc::Rc;

use super::connection::Up;
use super::connection::aliases::Naming;
use super::error::{Error, ErrorCode};
use super::event::{ServerInfo, Token};
use super::outlet::Outlet;
use super::subscriptions::{Part, Subscriptions};
use super::time::Instant;
use crate::codec::{
    Ack, DecodeError, PacketId, PacketType, Properties, Property, Publish, QoS, ReasonCode, Value,
    Version, encode_ack,
};
use crate::options::{Draft, InvalidArgument, Queue};
use blame::{Caution, Loss, SUSPECT};
use packet_ids::{Entry, PacketIds};
use waiting::{Line, Outgoing, Waiting};

/// On 3.1.1, where a server cannot announce a Receive Maximum, at most so many QoS 2 messages are in
/// flight: Mosquitto ends the connection at more.
const EXACTLY_ONCE_IN_FLIGHT: u32 = 20;

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

/// What is under way on one connection.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Sending {
    /// Our side of the send quota of [MQTT5 4.9]: QoS 1 and 2 messages that were sent on this
    /// connection and are not completed.
    live: u32,
    /// Those of QoS 2 among them.
    exactly_once: u32,
    /// What an earlier connection left unacknowledged and is to be sent again: the last one first.
    resend: Vec<PacketId>,
    /// SUBSCRIBE and UNSUBSCRIBE packets that are not answered.
    requests: u32,
    pub caution: Caution,
    /// A QoS 0 message was sent: nothing tells whether the server means that one.
    loose: bool,
    /// The server acknowledged a packet identifier that is not in use. Reported once per
    /// connection.
    reported: bool,
}

impl Sending {
    /// `resend`: what [`Outbox::unacknowledged`] gave for a session that is resumed.
    pub(super) fn new(resend: Vec<PacketId>) -> Self {
        Self { resend, ..Self::default() }
    }

    fn sent(&mut self, qos: QoS) {
        self.live += 1;
        self.exactly_once += u32::from(qos == QoS::ExactlyOnce);
    }

    fn acknowledged(&mut self, qos: QoS) {
        self.live -= 1;
        self.exactly_once -= u32::from(qos == QoS::ExactlyOnce);
    }

    /// Whether the connection finds out which packet ends it.
    #[inline]
    pub(super) fn is_cautious(&self) -> bool {
        self.caution != Caution::None
    }

    /// Whether a packet must wait for the answer to another one, which may end the connection.
    #[inline]
    fn must_wait(&self) -> bool {
        match self.caution {
            Caution::None => false,
            Caution::Pinged { .. } => true,
            Caution::OneByOne => self.live > 0 || self.requests > 0,
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
            withdrawn: false,
            losses: 0,
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
            && !up.sending.is_cautious()
            && self.waiting.is_empty(qos)
            && qos <= self.quota(up)
        {
            self.send_message(now, message, up, out);
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
        for gone in self.waiting.push(message, queue) {
            out.stats.dropped_messages += 1;
            let what = "the queue of messages that wait to be sent is full";
            let error = Error::new(ErrorCode::QueueFull, what).with_topic(&gone.topic);
            if gone.order == order {
                return Err(error);
            }
            out.fail(gone.token, error);
        }
        Ok(Accepted::Pending)
    }

    /// Nobody waits for the request any more. A message that waits is dropped. False: it is no
    /// message that waits.
    pub(super) fn cancel(&mut self, token: Token) -> bool {
        self.waiting.cancel(token)
    }

    /// Nobody waits for a message any more that is in flight. It goes on, and is not sent again.
    pub(super) fn cancel_in_flight(&mut self, token: Token) {
        for (_, entry) in self.ids.iter_mut() {
            if let Some(other) = entry.token().filter(|other| **other == Some(token)) {
                *other = None;
                if let Entry::Publish { message, .. } = entry {
                    message.withdrawn = true;
                }
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
    /// arrive twice, so it fails. `cause`: why the connection had ended.
    pub(super) fn session_lost(&mut self, cause: &Option<Box<Error>>, out: &mut Outlet) {
        let mut again = Line::new();
        let is_message =
            |entry: &Entry| matches!(entry, Entry::Publish { .. } | Entry::Release { .. });
        for entry in self.ids.drain(is_message) {
            let mut error = Error::new(ErrorCode::SessionLost, "the server lost the session");
            error.cause = cause.clone();
            match entry {
                Entry::Publish { message, .. } if message.qos == QoS::AtLeastOnce => {
                    if !message.withdrawn {
                        again.push_back(message);
                    }
                }
                Entry::Publish { message, .. } => {
                    error.topic = Some(message.topic.clone());
                    out.fail(message.token, error);
                }
                Entry::Release { token, .. } => out.fail(token, error),
                Entry::Free | Entry::Subscribe(_) | Entry::Unsubscribe(_) => {
                    // Only messages were taken out.
                    unreachable!()
                }
            }
        }
        self.waiting.push_front(again);
    }

    /// The connection is gone. A message that has ended it too often is given up.
    pub(super) fn connection_lost(
        &mut self,
        sending: &Sending,
        mut loss: Loss,
        out: &mut Outlet,
    ) -> Unanswered {
        let is_judged =
            loss.verdict().is_some() && (sending.loose || sending.live > 0 || sending.requests > 0);
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
                message.withdrawn = true;
                told
            }
            _ => self.ids.free(id).token().copied().flatten(),
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
        self.ids.used()
    }

    /// Whether there is nothing to send and nothing to wait for.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_over() && self.ids.used() == 0
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
        up: &mut Up,
        out: &mut Outlet,
    ) {
        while !subscriptions.nothing_waits() && !up.sending.must_wait() {
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
            up.sending.requests += 1;
            out.wrote(kind, start, Some(id), None, None);
        }
    }

    /// The highest QoS that one more message under way may have [MQTT-3.3.4-7].
    #[inline]
    fn quota(&self, up: &Up) -> QoS {
        if up.sending.live < u32::from(up.server.receive_maximum)
            && up.sending.resend.is_empty()
            && !self.ids.is_full()
        {
            most(up)
        } else {
            QoS::AtMostOnce
        }
    }

    /// Whether [`Outbox::send_waiting`] may find something to do.
    #[inline]
    pub(super) fn has_waiting(&self, up: &Up) -> bool {
        !self.waiting.is_over() || !up.sending.resend.is_empty()
    }

    /// Sends what the quota, the limits and the transport allow: first what an earlier connection
    /// left unacknowledged, then what waits.
    pub(super) fn send_waiting(
        &mut self,
        now: Instant,
        up: &mut Up,
        queue: &Queue,
        out: &mut Outlet,
    ) {
        while !out.output.is_full() && !up.sending.must_wait() {
            let Some(&id) = up.sending.resend.last() else { break };
            if !self.send_again(id, up, out) {
                break;
            }
            up.sending.resend.pop();
            out.output.fill();
        }
        while !out.output.is_full() && !up.sending.must_wait() {
            let quota = self.quota(up);
            self.waiting.admit(queue);
            let Some(message) = self.waiting.pop(!up.sending.is_cautious(), quota) else {
                if up.sending.is_cautious() && quota == QoS::ExactlyOnce {
                    // Only QoS 0 is left, which waits for nothing then.
                    self.no_suspects(up);
                    continue;
                }
                break;
            };
            match check_message(&message, &up.server) {
                Ok(()) => self.send_message(now, message, up, out),
                Err(error) => out.fail(message.token, error),
            }
            out.output.fill();
        }
    }

    /// Sends one message or release that an earlier connection left. False: the quota is used up.
    fn send_again(&mut self, id: PacketId, up: &mut Up, out: &mut Outlet) -> bool {
        let version = up.server.version;
        let full = up.sending.live >= u32::from(up.server.receive_maximum);
        let most = most(up);
        let start = out.output.bytes.len();
        match self.ids.get(id) {
            Entry::Release { live, .. } => {
                *live = true;
                up.sending.sent(QoS::ExactlyOnce);
                let buffer = &mut out.output.bytes;
                encode_ack(PacketType::PubRel, id, ReasonCode::SUCCESS, version, buffer);
                out.wrote(PacketType::PubRel, start, Some(id), None, None);
            }
            Entry::Publish { message, .. } if full || message.qos > most => return false,
            Entry::Publish { message, live } => {
                if message.withdrawn {
                    self.forget(id, up, out);
                    return true;
                }
                if let Err(error) = check_message(message, &up.server) {
                    let token = message.token;
                    self.forget(id, up, out);
                    out.fail(token, error);
                    return true;
                }
                let publish = message.packet(Some(id), true);
                publish.encode_header(version, None, message.payload.len(), &mut out.output.bytes);
                out.output.bytes.extend_from_slice(&message.payload);
                *live = true;
                up.sending.sent(message.qos);
                out.wrote_message(start, Some(id), &message.topic);
            }
            Entry::Free | Entry::Subscribe(_) | Entry::Unsubscribe(_) => {
                // Only messages are sent again.
                unreachable!()
            }
        }
        true
    }

    /// Sends a message no more that was sent on an earlier connection: nobody wants it, or the
    /// server has come back with other limits.
    fn forget(&mut self, id: PacketId, up: &mut Up, out: &mut Outlet) {
        if let Entry::Publish { message, .. } = self.ids.free(id)
            && message.qos == QoS::ExactlyOnce
        {
            // The server may have it: until it forgets the identifier, another message would pass
            // for a copy.
            let order = self.next_order();
            self.ids.put(id, Entry::Release { token: None, order, live: true, losses: 0 });
            up.sending.sent(QoS::ExactlyOnce);
            let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
            out.write_ack(PacketType::PubRel, id, reason, up.server.version);
        }
    }

    /// Sends a message for the first time. There is quota.
    fn send_message(
        &mut self,
        now: Instant,
        mut message: Box<Outgoing>,
        up: &mut Up,
        out: &mut Outlet,
    ) {
        if let Some((since, seconds)) = message.expiry.take() {
            let waited = now.since_ms(since) / 1_000;
            if waited > 0 && waited >= u64::from(seconds) {
                return out.fail(message.token, expired(&message));
            }
            let left = seconds - waited as u32;
            message.properties.push(Property::MessageExpiryInterval, Value::Four(left));
        }
        if message.alias.is_some() {
            up.aliases.leave_to_application();
        }
        let start = out.output.bytes.len();
        let alias = message.alias.take();
        if message.qos == QoS::AtMostOnce {
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
        let id = self.ids.vacant().expect("quota() has seen to it");
        let publish = message.packet(Some(id), false);
        let buffer = &mut out.output.bytes;
        match up.write_publish(publish, &message.topic, &message.payload, alias, buffer) {
            Ok(()) => {
                up.sending.sent(message.qos);
                let topic = message.topic.clone();
                self.ids.put(id, Entry::Publish { message, live: true });
                out.wrote_message(start, Some(id), &topic);
            }
            Err(error) => out.fail(message.token, error.with_topic(&message.topic)),
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
                self.ids.free(ack.id);
                self.losses = 0;
                sending.acknowledged(QoS::AtLeastOnce);
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
                let token = message.token;
                self.losses = 0;
                if ack.reason.is_error() {
                    let topic = message.topic.clone();
                    self.ids.free(ack.id);
                    up.sending.acknowledged(QoS::ExactlyOnce);
                    out.complete(token, Some(&topic), ack.reason, ack.properties);
                    return Ok(());
                }
                // From here on the PUBREL is what is sent again, in the order of the PUBRECs
                // [MQTT-4.6.0-4].
                let order = self.next_order();
                *self.ids.get(ack.id) = Entry::Release { token, order, live: true, losses: 0 };
            }
            Entry::Release { live: true, .. } => {}
            Entry::Free => reply = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            _ => return misplaced(),
        }
        if !ack.reason.is_error() {
            out.write_ack(PacketType::PubRel, ack.id, reply, up.server.version);
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
            Entry::Release { token, live: true, .. } => {
                let token = *token;
                self.ids.free(ack.id);
                self.losses = 0;
                sending.acknowledged(QoS::ExactlyOnce);
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

/// The highest QoS that one more message in flight may have, where there is quota.
#[inline]
fn most(up: &Up) -> QoS {
    let many = up.sending.exactly_once >= EXACTLY_ONCE_IN_FLIGHT;
    if many && up.server.version == Version::V311 { QoS::AtLeastOnce } else { QoS::ExactlyOnce }
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
        self.sending.loose |= publish.qos == QoS::AtMostOnce;
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
