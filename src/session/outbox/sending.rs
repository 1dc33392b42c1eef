//! What goes out: what is under way on one connection, what waits for the store or the quota, and what is sent
//! again.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::blame::Caution;
use super::packet_ids::Entry;
use super::waiting::Outgoing;
use super::{Outbox, expired};
use crate::codec::{
    DecodeError, PacketId, PacketType, Properties, Property, Publish, QoS, ReasonCode, Value,
    Version, encode_ack,
};
use crate::options::Queue;
use crate::session::connection::Up;
use crate::session::connection::aliases::Naming;
use crate::session::error::{Error, ErrorCode};
use crate::session::event::{ServerInfo, keep};
use crate::session::journal::Batch;
use crate::session::outlet::Outlet;
use crate::session::subscriptions::Subscriptions;
use crate::session::time::Instant;

/// On 3.1.1, where a server cannot announce a Receive Maximum, at most so many QoS 2 messages are in
/// flight: Mosquitto ends the connection at more.
const EXACTLY_ONCE_IN_FLIGHT: u32 = 20;

/// What is under way on one connection.
#[derive(Clone, Default, Hash, Debug)]
pub(in crate::session) struct Sending {
    /// Our side of the send quota of [MQTT5 4.9]: QoS 1 and 2 messages that were sent on this
    /// connection, or wait for the store, and are not completed.
    live: u32,
    /// Those of QoS 2 among them.
    exactly_once: u32,
    /// What an earlier connection left unacknowledged and is to be sent again: the last one first.
    pub(super) resend: Vec<PacketId>,
    /// The changes that must be kept before.
    resend_after: Batch,
    /// What leaves when the store has kept what it depends on, in its order.
    held: VecDeque<Held>,
    /// How many of them are PUBACK or PUBREC.
    held_answers: u32,
    /// SUBSCRIBE and UNSUBSCRIBE packets that are not answered.
    pub(super) requests: u32,
    pub caution: Caution,
    /// A QoS 0 message was sent: nothing tells whether the server means that one.
    pub(super) loose: bool,
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
    pub(in crate::session) fn new(resend: Vec<PacketId>, out: &mut Outlet) -> Self {
        out.journal.hurry();
        Self { resend, resend_after: out.journal.last(), ..Self::default() }
    }

    /// Writes a PUBACK, PUBREC, PUBREL or PUBCOMP when what it says is recorded, and behind those
    /// that wait for that. A PUBACK says nothing that is recorded: it waits for a PUBREC at most
    /// [MQTT-4.6.0-2].
    #[inline]
    pub(in crate::session) fn acknowledge(
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

    /// One more message is under way.
    fn begun(&mut self, qos: QoS) {
        self.live += 1;
        self.exactly_once += u32::from(qos == QoS::ExactlyOnce);
    }

    /// A message is under way no more.
    pub(super) fn done(&mut self, qos: QoS, out: &mut Outlet) {
        self.live -= 1;
        self.exactly_once -= u32::from(qos == QoS::ExactlyOnce);
        if self.live == 0 {
            // No other record takes that along.
            out.journal.hurry();
        }
    }

    /// A message is not to be sent, which waits for the store or for this connection.
    pub(super) fn forget(&mut self, id: PacketId, qos: QoS, out: &mut Outlet) {
        let held = self.held.len();
        keep(&mut self.held, |held| (held.kind, held.id) != (PacketType::Publish, id));
        if self.held.len() < held {
            self.done(qos, out);
        }
        self.resend.retain(|&other| other != id);
    }

    /// The releases that wait for the store.
    pub(super) fn held_releases(&self) -> impl Iterator<Item = PacketId> {
        let releases = self.held.iter().filter(|held| held.kind == PacketType::PubRel);
        releases.map(|held| held.id)
    }

    /// Whether the connection finds out which packet ends it.
    #[inline]
    pub(in crate::session) fn is_cautious(&self) -> bool {
        self.caution != Caution::None
    }

    /// Whether a packet must wait for the answer to another one, which may end the connection.
    #[inline]
    pub(super) fn must_wait(&self) -> bool {
        match self.caution {
            Caution::None => false,
            Caution::Pinged { .. } => true,
            Caution::OneByOne => self.live > 0 || self.requests > 0,
        }
    }

    /// An acknowledgement of nothing harms nothing, so the connection stays.
    #[cold]
    pub(super) fn report_unasked(&mut self, out: &mut Outlet) -> Result<(), DecodeError> {
        if !core::mem::replace(&mut self.reported, true) {
            let what = "the server acknowledges what was not sent to it";
            out.report(Error::new(ErrorCode::ProtocolError, what));
        }
        Ok(())
    }
}

// What goes out.
impl Outbox {
    /// Sends the SUBSCRIBE and UNSUBSCRIBE packets that wait, as far as packet identifiers go.
    #[cold]
    #[inline(never)]
    pub(in crate::session) fn send_requests(
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
    pub(super) fn quota(&self, up: &Up) -> QoS {
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
    pub(in crate::session) fn has_waiting(&self, up: &Up) -> bool {
        let sending = &up.sending;
        !self.waiting.is_over() || !sending.resend.is_empty() || !sending.held.is_empty()
    }

    /// Sends what the quota, the limits and the transport allow: first what an earlier connection
    /// left unacknowledged, then what waits.
    pub(in crate::session) fn send_waiting(
        &mut self,
        now: Instant,
        up: &mut Up,
        queue: &Queue,
        out: &mut Outlet,
    ) {
        self.send_held(now, up, out);
        while !out.output.is_full() && !up.sending.must_wait() {
            let Some(&id) = up.sending.resend.last() else { break };
            if !out.journal.is_kept(up.sending.resend_after) {
                break;
            }
            if !self.send_again(now, id, up, out) {
                break;
            }
            up.sending.resend.pop();
            out.output.fill();
        }
        while !out.output.is_full() && !up.sending.must_wait() {
            let quota = self.quota(up);
            self.waiting.admit(queue, out);
            let Some(message) = self.waiting.pop(!up.sending.is_cautious(), quota) else {
                if up.sending.is_cautious() && quota == QoS::ExactlyOnce {
                    // Only QoS 0 is left, which waits for nothing then.
                    self.no_suspects(up);
                    continue;
                }
                break;
            };
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
    fn send_held(&mut self, now: Instant, up: &mut Up, out: &mut Outlet) {
        while !out.output.is_full()
            && let Some(&held) = up.sending.held.front()
            && out.journal.is_kept(held.batch)
        {
            up.sending.held.pop_front();
            up.sending.held_answers -= u32::from(held.is_answer());
            let Held { kind, id, reason, .. } = held;
            if kind == PacketType::Publish {
                let Entry::Publish { message, live } = self.ids.get(id) else {
                    // Nothing frees an identifier whose message waits for the store, without a
                    // word to `Sending`.
                    unreachable!()
                };
                *live = send_first(now, id, message, up, out);
                if !*live {
                    self.ids.free(id);
                }
            } else {
                out.write_ack(kind, id, reason, up.server.version);
            }
            out.output.fill();
        }
    }

    /// Sends one message or release that an earlier connection left. False: the quota is used up.
    fn send_again(&mut self, now: Instant, id: PacketId, up: &mut Up, out: &mut Outlet) -> bool {
        let version = up.server.version;
        let full = up.sending.live >= u32::from(up.server.receive_maximum);
        let most = most(up);
        let start = out.output.bytes.len();
        match self.ids.get(id) {
            Entry::Release { live, .. } => {
                *live = true;
                up.sending.begun(QoS::ExactlyOnce);
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
                let mut fits = check_message(message, &up.server);
                if !message.sent {
                    // It has waited for the store until now.
                    fits = fits.and_then(|()| message.leave(now));
                }
                if let Err(error) = fits {
                    let token = message.token;
                    self.forget(id, up, out);
                    out.fail(token, error);
                    return true;
                }
                let publish = message.packet(Some(id), true);
                publish.encode_header(version, None, message.payload.len(), &mut out.output.bytes);
                out.output.bytes.extend_from_slice(&message.payload);
                *live = true;
                message.sent = true;
                up.sending.begun(message.qos);
                out.wrote_message(start, Some(id), &message.topic);
            }
            _ => {
                // Only messages are sent again.
                unreachable!()
            }
        }
        true
    }

    /// Sends a message no more that was sent on an earlier connection: nobody wants it, or the
    /// server has come back with other limits.
    fn forget(&mut self, id: PacketId, up: &mut Up, out: &mut Outlet) {
        let Entry::Publish { message, .. } = self.ids.free(id) else {
            // Only messages are forgotten.
            unreachable!()
        };
        if message.qos == QoS::ExactlyOnce && message.sent {
            // The server may have it: until it forgets the identifier, another message would pass
            // for a copy.
            let order = self.next_order();
            self.ids.put(id, Entry::Release { token: None, order, live: true, losses: 0 });
            up.sending.begun(QoS::ExactlyOnce);
            out.record_release(message.order, id, order);
            let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
            up.sending.acknowledge(PacketType::PubRel, id, reason, up.server.version, out);
        } else {
            out.forget(&message);
        }
    }

    /// Sends a message for the first time, when it is recorded. There is quota. `first`: it was not
    /// recorded before.
    pub(super) fn send_message(
        &mut self,
        now: Instant,
        mut message: Box<Outgoing>,
        first: bool,
        up: &mut Up,
        out: &mut Outlet,
    ) {
        if message.alias.is_some() {
            up.aliases.leave_to_application();
        }
        if message.qos == QoS::AtMostOnce {
            let start = out.output.bytes.len();
            match message.write(now, None, up, &mut out.output.bytes) {
                Ok(()) => {
                    out.wrote_message(start, None, &message.topic);
                    out.complete(message.token, None, ReasonCode::SUCCESS, Properties::EMPTY);
                }
                Err(error) => out.fail(message.token, error),
            }
            return;
        }
        let id = self.ids.vacant().expect("quota() has seen to it");
        up.sending.begun(message.qos);
        out.record(&message, Some(id), first);
        let batch = out.journal.last();
        if !out.journal.is_kept(batch) {
            self.ids.put(id, Entry::Publish { message, live: false });
            let (kind, reason) = (PacketType::Publish, ReasonCode::SUCCESS);
            up.sending.held.push_back(Held { batch, kind, id, reason });
        } else if send_first(now, id, &mut message, up, out) {
            self.ids.put(id, Entry::Publish { message, live: true });
        }
    }

    pub(super) fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order - 1
    }
}

/// Sends a QoS 1 or 2 message for the first time, with its packet identifier. False: it cannot be sent, and has failed.
fn send_first(
    now: Instant,
    id: PacketId,
    message: &mut Outgoing,
    up: &mut Up,
    out: &mut Outlet,
) -> bool {
    let start = out.output.bytes.len();
    match message.write(now, Some(id), up, &mut out.output.bytes) {
        Ok(()) => {
            message.sent = true;
            out.wrote_message(start, Some(id), &message.topic);
            true
        }
        Err(error) => {
            out.forget(message);
            out.fail(message.token, error);
            up.sending.done(message.qos, out);
            false
        }
    }
}

/// The highest QoS that one more message in flight may have, where there is quota.
#[inline]
fn most(up: &Up) -> QoS {
    let many = up.sending.exactly_once >= EXACTLY_ONCE_IN_FLIGHT;
    if many && up.server.version == Version::V311 { QoS::AtLeastOnce } else { QoS::ExactlyOnce }
}

impl Outgoing {
    /// The message leaves for the first time: what is left of its expiry interval goes along.
    fn leave(&mut self, now: Instant) -> Result<(), Box<Error>> {
        let Some((since, seconds)) = self.expiry else { return Ok(()) };
        let waited = now.since_ms(since) / 1_000;
        if waited > 0 && waited >= u64::from(seconds) {
            return Err(expired(self));
        }
        let left = Value::Four(seconds - waited as u32);
        self.properties.push(Property::MessageExpiryInterval, left);
        Ok(())
    }

    /// Appends it to `out`, as it leaves for the first time.
    #[inline]
    fn write(
        &mut self,
        now: Instant,
        id: Option<PacketId>,
        up: &mut Up,
        out: &mut Vec<u8>,
    ) -> Result<(), Box<Error>> {
        self.leave(now)?;
        let alias = self.alias.take();
        up.write_publish(self.packet(id, false), &self.topic, &self.payload, alias, out)
            .map_err(|error| error.with_topic(&self.topic))
    }
}

impl Up {
    /// Appends a PUBLISH to `out`, with a topic alias where that helps and fits. `alias`: the one
    /// that the application chose.
    #[inline]
    pub(in crate::session) fn write_publish(
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

/// Whether the server takes such a message at all.
pub(super) fn check_message(message: &Outgoing, server: &ServerInfo) -> Result<(), Box<Error>> {
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
    let extra = if message.expiry.is_some() && !message.sent { 5 } else { 0 };
    let size =
        message.packet(None, false).size(server.version, message.alias, message.payload.len());
    let size = size + extra;
    if size > server.maximum_packet_size as usize {
        let error = Error::too_large(size, server.maximum_packet_size);
        return Err(error.with_topic(&message.topic));
    }
    Ok(())
}
