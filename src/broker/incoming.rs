//! What clients send, packet by packet.

use std::rc::Rc;

use super::connection::Up;
use super::log::{About, Direction};
use super::message::{Copy, Message};
use super::router::Subscription;
use super::session::{Acknowledged, Session};
use super::{Broker, ConnectionId, SessionId, Violation};
use crate::codec::{
    Ack, Packet, PacketId, PacketType, Properties, Property, Publish, QoS, ReasonCode, SubAck,
    Subscribe, Unsubscribe, Version,
};
use crate::session::Instant;

/// Subscriptions of one session, at most.
pub const MAXIMUM_SUBSCRIPTIONS: usize = 10_000;

impl Broker {
    /// A packet of a client whose CONNECT was accepted.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        id: ConnectionId,
        first: u8,
        body: &[u8],
    ) -> Result<(), Violation> {
        let Some(up) = self.connections.get_mut(&id).and_then(|connection| connection.up_mut())
        else {
            return Ok(());
        };
        up.heard = now;
        if first == PacketType::Connect.first_byte() {
            return Err(Violation::protocol("CONNECT twice"));
        }
        let packet = Packet::decode(up.version, first, body)?;
        let topic = match &packet {
            Packet::Publish(publish) => {
                Some(resolve(up, self.options.topic_alias_maximum, publish)?)
            }
            _ => None,
        };
        let session = up.session;
        let about = About {
            at: now,
            client_id: &up.client_id,
            direction: Direction::In,
            version: up.version,
            topic: topic.as_ref(),
        };
        self.log.add(about, first, body);
        match packet {
            Packet::Publish(publish) => {
                let topic = topic.unwrap_or_default();
                self.on_publish(now, id, session, topic, &publish)?;
            }
            Packet::PubAck(ack) => self.on_last_ack(now, id, session, &ack, Session::puback)?,
            Packet::PubRec(ack) => self.on_pubrec(now, id, session, &ack)?,
            Packet::PubRel(ack) => self.on_pubrel(now, id, session, &ack),
            Packet::PubComp(ack) => self.on_last_ack(now, id, session, &ack, Session::pubcomp)?,
            Packet::Subscribe(subscribe) => self.on_subscribe(now, id, session, &subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(now, id, session, &unsubscribe),
            Packet::PingReq => self.send(now, id, &Packet::PingResp),
            Packet::Disconnect(disconnect) => self.on_disconnect(now, id, &disconnect)?,
            Packet::Auth(_) => {
                return Err(Violation::protocol("AUTH without an authentication method"));
            }
            Packet::Connect(_)
            | Packet::ConnAck(_)
            | Packet::SubAck(_)
            | Packet::UnsubAck(_)
            | Packet::PingResp => return Err(Violation::protocol("only a server may send this")),
        }
        Ok(())
    }

    // ------------------------------------------------------------------------------------ messages

    fn on_publish(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        topic: Rc<str>,
        publish: &Publish<'_>,
    ) -> Result<(), Violation> {
        let violation = |reason, what| Err(Violation { reason, what });
        if publish.qos > self.options.maximum_qos {
            return violation(ReasonCode::QOS_NOT_SUPPORTED, "QoS above the Maximum QoS");
        }
        if publish.retain && !self.options.retain_available {
            return violation(
                ReasonCode::RETAIN_NOT_SUPPORTED,
                "retained messages are not available",
            );
        }
        if publish.properties.get(Property::SubscriptionIdentifier).is_some() {
            return Err(Violation::protocol("a client sends no Subscription Identifier"));
        }
        let Some(state) = self.sessions.get(&session) else { return Ok(()) };
        if publish.qos == QoS::ExactlyOnce
            && let Some(packet_id) = publish.id
        {
            // It comes again: acknowledged once more, and not delivered [MQTT-4.3.3-10].
            if state.received.contains(&packet_id) {
                self.acknowledge(now, id, PacketType::PubRec, packet_id, ReasonCode::SUCCESS);
                return Ok(());
            }
            // Of QoS 1 nothing is ever unacknowledged here.
            if state.received.len() >= usize::from(self.options.receive_maximum) {
                let what = "more than the Receive Maximum";
                return violation(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, what);
            }
        }
        let message = Message::published(now, topic, publish);
        let reason = self.take(now, Some(session), message);
        let Some(packet_id) = publish.id else { return Ok(()) };
        if publish.qos == QoS::AtLeastOnce {
            self.acknowledge(now, id, PacketType::PubAck, packet_id, reason);
            return Ok(());
        }
        if !reason.is_error() || self.version_of(id) == Some(Version::V311) {
            let session = self.sessions.get_mut(&session);
            session.map(|session| session.received.insert(packet_id));
        }
        self.acknowledge(now, id, PacketType::PubRec, packet_id, reason);
        Ok(())
    }

    /// Takes a message, if it is allowed: retains it, and gives it to those who subscribe. The result is what MQTT 5
    /// says in the acknowledgement.
    pub(super) fn take(
        &mut self,
        now: Instant,
        publisher: Option<SessionId>,
        message: Message,
    ) -> ReasonCode {
        // The broker's own topics are for nobody else (4.7.2).
        if message.topic.starts_with("$SYS") || self.faults.denies_publish(&message.topic) {
            return ReasonCode::NOT_AUTHORIZED;
        }
        let message = Rc::new(message);
        if message.retain && self.retained.store(now, &message).is_err() {
            return ReasonCode::QUOTA_EXCEEDED;
        }
        match self.deliver(now, publisher, &message) {
            0 => ReasonCode::NO_MATCHING_SUBSCRIBERS,
            _ => ReasonCode::SUCCESS,
        }
    }

    /// Gives a message to those who subscribe. The result is how many they are.
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        publisher: Option<SessionId>,
        message: &Rc<Message>,
    ) -> usize {
        let sessions = &self.sessions;
        let is_connected =
            |id| sessions.get(&id).is_some_and(|session| session.connection().is_some());
        let routes = self.router.route(&message.topic, publisher, is_connected);
        let count = routes.len();
        for route in routes {
            let copy = Copy {
                message: message.clone(),
                qos: message.qos.min(route.qos),
                retain: message.retain && route.retain_as_published,
                identifiers: route.identifiers.into(),
            };
            self.offer(now, route.session, copy);
        }
        count
    }

    // ------------------------------------------------------------------------------------ acknowledgements

    /// PUBACK or PUBCOMP, which end an exchange.
    fn on_last_ack(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        ack: &Ack<'_>,
        settle: fn(&mut Session, PacketId) -> Acknowledged,
    ) -> Result<(), Violation> {
        let Some(session) = self.sessions.get_mut(&session) else { return Ok(()) };
        let acknowledged = settle(session, ack.id);
        self.check(now, id, acknowledged)
    }

    fn on_pubrec(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        ack: &Ack<'_>,
    ) -> Result<(), Violation> {
        let Some(session) = self.sessions.get_mut(&session) else { return Ok(()) };
        let refused = ack.reason.is_error();
        let acknowledged = session.pubrec(ack.id, refused);
        match acknowledged {
            Acknowledged::Known if !refused => {
                self.acknowledge(now, id, PacketType::PubRel, ack.id, ReasonCode::SUCCESS);
            }
            Acknowledged::Unknown if !refused => {
                let reason = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
                self.acknowledge(now, id, PacketType::PubRel, ack.id, reason);
            }
            _ => {}
        }
        self.check(now, id, acknowledged)
    }

    fn on_pubrel(&mut self, now: Instant, id: ConnectionId, session: SessionId, ack: &Ack<'_>) {
        let Some(session) = self.sessions.get_mut(&session) else { return };
        let reason = if session.received.remove(&ack.id) {
            ReasonCode::SUCCESS
        } else {
            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
        };
        self.acknowledge(now, id, PacketType::PubComp, ack.id, reason);
    }

    /// An identifier that is not in use is left alone: the session may have been lost meanwhile.
    fn check(
        &mut self,
        now: Instant,
        id: ConnectionId,
        acknowledged: Acknowledged,
    ) -> Result<(), Violation> {
        match acknowledged {
            Acknowledged::Known => self.pump(now, id),
            Acknowledged::Unknown => {}
            Acknowledged::WrongQos => {
                return Err(Violation::protocol("the answer to a message of another QoS"));
            }
        }
        Ok(())
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP. On 3.1.1 nothing can be refused in them [MQTT3-3.3.5-2].
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        id: ConnectionId,
        packet: PacketType,
        packet_id: PacketId,
        reason: ReasonCode,
    ) {
        let ack = Ack { id: packet_id, reason, properties: Properties::EMPTY };
        let packet = match packet {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        };
        self.send(now, id, &packet);
    }

    // ------------------------------------------------------------------------------------ subscriptions

    fn on_subscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        subscribe: &Subscribe<'_>,
    ) {
        let identifier = subscribe.properties.subscription_ids().next();
        let mut codes = Vec::new();
        let mut greetings = Vec::new();
        for (filter, options) in subscribe.filters.clone() {
            let subscription = Subscription { options, identifier };
            match self.subscribe(session, filter, subscription) {
                Ok((subscription, is_new)) => {
                    codes.push(subscription.options.qos as u8);
                    let greets = match options.retain_handling {
                        0 => true,
                        1 => is_new,
                        _ => false,
                    };
                    if greets && !filter.starts_with("$share/") {
                        greetings.push((filter, subscription));
                    }
                }
                Err(reason) => codes.push(match self.version_of(id) {
                    Some(Version::V5) => reason.0,
                    _ => ReasonCode::UNSPECIFIED_ERROR.0,
                }),
            }
        }
        let suback = SubAck { id: subscribe.id, codes: &codes, properties: Properties::EMPTY };
        self.send(now, id, &Packet::SubAck(suback));
        for (filter, subscription) in greetings {
            self.greet(now, session, filter, &subscription);
        }
    }

    /// Grants one filter. The result is what was granted, and whether it is new to the session; or why not.
    fn subscribe(
        &mut self,
        id: SessionId,
        filter: &str,
        mut subscription: Subscription,
    ) -> Result<(Subscription, bool), ReasonCode> {
        if self.faults.denies_subscribe(filter) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return Err(ReasonCode::UNSPECIFIED_ERROR);
        };
        let is_known = session.subscriptions.contains(filter);
        if !is_known && session.subscriptions.len() >= MAXIMUM_SUBSCRIPTIONS {
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        let options = &mut subscription.options;
        options.qos = options.qos.min(self.options.maximum_qos);
        session.subscriptions.insert(filter.into());
        let is_new = self.router.subscribe(id, filter, subscription);
        Ok((subscription, is_new))
    }

    /// Sends the retained messages that match a new subscription [MQTT-3.3.1-9].
    fn greet(
        &mut self,
        now: Instant,
        session: SessionId,
        filter: &str,
        subscription: &Subscription,
    ) {
        let mut messages = self.retained.matching(now, filter);
        messages.extend(self.system_messages(now, filter));
        for message in messages {
            let copy = Copy {
                qos: message.qos.min(subscription.options.qos),
                retain: true,
                identifiers: subscription.identifier.into_iter().collect(),
                message,
            };
            self.offer(now, session, copy);
        }
    }

    fn on_unsubscribe(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session_id: SessionId,
        unsubscribe: &Unsubscribe<'_>,
    ) {
        let Some(session) = self.sessions.get_mut(&session_id) else { return };
        let mut codes = Vec::new();
        for filter in unsubscribe.filters.clone() {
            session.subscriptions.remove(filter);
            codes.push(if self.router.unsubscribe(session_id, filter) {
                ReasonCode::SUCCESS.0
            } else {
                ReasonCode::NO_SUBSCRIPTION_EXISTED.0
            });
        }
        let unsuback = SubAck { id: unsubscribe.id, codes: &codes, properties: Properties::EMPTY };
        self.send(now, id, &Packet::UnsubAck(unsuback));
    }

    fn version_of(&self, id: ConnectionId) -> Option<Version> {
        self.connections.get(&id)?.up().map(|up| up.version)
    }
}

/// The topic of a PUBLISH: its own, or the one that its alias stands for (MQTT 5, 3.3.2.3.4).
fn resolve(up: &mut Up, maximum: u16, publish: &Publish<'_>) -> Result<Rc<str>, Violation> {
    let own = std::str::from_utf8(publish.topic).expect("the codec has checked the topic");
    let Some(alias) = publish.properties.u32(Property::TopicAlias) else { return Ok(own.into()) };
    let alias = u16::try_from(alias).expect("an alias has two bytes");
    if alias > maximum {
        let what = "topic alias above the maximum";
        return Err(Violation { reason: ReasonCode::TOPIC_ALIAS_INVALID, what });
    }
    if own.is_empty() {
        let known = up.aliases_in.get(&alias).cloned();
        return known.ok_or(Violation::protocol("a topic alias that stands for nothing"));
    }
    let topic: Rc<str> = own.into();
    up.aliases_in.insert(alias, topic.clone());
    Ok(topic)
}
