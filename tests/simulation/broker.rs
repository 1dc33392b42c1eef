//! The model broker: one client's sessions, QoS flows both ways, limits, aliases, keep-alive, AUTH. It keeps to the
//! specification and finds out whether the client does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wasmqtt::codec::{
    Ack, Auth, ConnAck, Connect, Decoder, Disconnect, Packet, PacketId, PacketType, Properties,
    PropertiesBuf, Property, Publish, QoS, ReasonCode, Step, SubAck, Value, Version, matches,
};
use wasmqtt::session::Instant;

use crate::app::{FILTERS, Sent, TOPICS};
use crate::case::{Config, Limits};
use crate::trace::{self, number, payload};

#[derive(Default)]
pub struct Broker {
    config: Config,
    /// For the next CONNACK.
    pub limits: Limits,
    pub refusal: Option<u8>,
    pub refused_filters: u8,
    pub link: Option<Link>,
    pub session: Option<Kept>,
    /// It lost a session, and nothing shows that the client has heard. Until then it says so again: nobody can make good a
    /// loss that was never told.
    unheard_loss: bool,
    assigned: u32,
    /// It has told limits that a message may be beyond.
    pub limited: bool,
    /// It has been without subscription identifiers.
    pub unidentified: bool,
    /// It has hung up on a packet.
    pub has_hung_up: bool,
    /// All that was ever to go to the client.
    pub copies: Vec<Copy>,
    /// By topic, what is stored: QoS, size, and whether it has properties.
    stored: BTreeMap<usize, (QoS, u16, bool)>,
    /// By topic and QoS, the last message of the client that was taken.
    last_taken: BTreeMap<(usize, QoS), usize>,
}

/// What dies with the connection.
pub struct Link {
    version: Version,
    decoder: Decoder,
    pub connected: bool,
    /// It has said its last word.
    pub over: bool,
    clean: bool,
    receive_maximum: usize,
    maximum_packet_size: usize,
    alias_maximum: u16,
    keep_alive: u16,
    last_heard: Instant,
    /// Seconds.
    session_expiry: u32,
    aliases_in: BTreeMap<u16, usize>,
    alias_limit: u16,
    aliases_out: BTreeSet<u16>,
    /// Asked in the exchange of AUTH that is under way.
    questions: u8,
    client_id: String,
    /// The broker chose it.
    assigned: bool,
    pub holds: bool,
    held: Vec<Vec<u8>>,
    pub out: Vec<u8>,
}

/// What survives it.
#[derive(Default)]
pub struct Kept {
    client_id: String,
    /// QoS 2 messages of the client that it has not released: identifier and number.
    received: BTreeMap<PacketId, usize>,
    pub subscriptions: BTreeMap<&'static str, Grant>,
    outbox: VecDeque<Item>,
    cursor: u16,
    expires: Option<Instant>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Grant {
    pub asked: QoS,
    qos: QoS,
    identifier: Option<u32>,
}

struct Item {
    copy: usize,
    /// None: not sent yet.
    id: Option<PacketId>,
    released: bool,
}

/// A message for the client: one of those that an offer made.
pub struct Copy {
    /// None: it was stored, and answers a SUBSCRIBE.
    pub offer: Option<usize>,
    pub topic: usize,
    pub qos: QoS,
    pub size: u16,
    pub properties: bool,
    pub identifiers: Vec<u32>,
    pub state: CopyState,
    /// How often the application saw it.
    pub deliveries: u32,
    /// The application refused it: where that is lost on the way, it comes again.
    pub refused: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum CopyState {
    /// In the session's hands.
    Open,
    /// QoS 0, sent.
    Sent,
    Acknowledged,
    Refused,
    /// With the session, or larger than the client takes.
    Lost,
}

impl Broker {
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// A socket was opened.
    pub fn accept(&mut self, now: Instant) {
        self.link = Some(Link {
            version: Version::V5,
            decoder: Decoder::new(Version::V5, u32::MAX),
            connected: false,
            over: false,
            clean: true,
            receive_maximum: 65_535,
            maximum_packet_size: usize::MAX,
            alias_maximum: 0,
            keep_alive: 0,
            last_heard: now,
            session_expiry: 0,
            aliases_in: BTreeMap::new(),
            alias_limit: 0,
            aliases_out: BTreeSet::new(),
            questions: 0,
            client_id: String::new(),
            assigned: false,
            holds: false,
            held: Vec::new(),
            out: Vec::new(),
        });
    }

    /// The connection is gone.
    pub fn hang_up(&mut self, now: Instant) {
        let Some(link) = self.link.take().filter(|link| link.connected) else {
            return;
        };
        let ends = match link.version {
            Version::V311 => link.clean,
            Version::V5 => link.session_expiry == 0,
        };
        if ends {
            self.lose_session();
        } else if let Some(session) = &mut self.session
            && link.version == Version::V5
            && link.session_expiry < u32::MAX
        {
            session.expires = Some(now.after_ms(u64::from(link.session_expiry) * 1_000));
        }
    }

    pub fn lose_session(&mut self) {
        let Some(session) = self.session.take() else { return };
        self.unheard_loss = true;
        for item in session.outbox {
            self.copies[item.copy].state = CopyState::Lost;
        }
    }

    /// Ends the connection where the client has been silent for too long.
    pub fn tick(&mut self, now: Instant) {
        if let Some(link) = &mut self.link
            && link.connected
            && link.keep_alive > 0
            && now.since_ms(link.last_heard) > u64::from(link.keep_alive) * 1_500
        {
            self.disconnect(ReasonCode::KEEP_ALIVE_TIMEOUT);
        }
    }

    pub fn disconnect(&mut self, reason: ReasonCode) {
        let Some(link) = self.link.as_mut().filter(|link| link.connected && !link.over) else {
            return;
        };
        if link.version == Version::V5 {
            let properties = Properties::EMPTY;
            link.send(&Packet::Disconnect(Disconnect { reason, properties }));
        }
        link.over = true;
    }

    /// Something that no broker may say.
    pub fn babble(&mut self, bytes: &[u8]) {
        if let Some(link) = self.link.as_mut().filter(|link| !link.over) {
            link.out.extend_from_slice(bytes);
            link.over = true;
        }
    }

    pub fn reply(&mut self, which: u8) {
        if let Some(link) = self.link.as_mut().filter(|link| !link.over && !link.held.is_empty()) {
            let at = usize::from(which) % link.held.len();
            let bytes = link.held.remove(at);
            link.out.extend(bytes);
        }
    }

    pub fn hold_replies(&mut self, on: bool) {
        if let Some(link) = &mut self.link {
            link.holds = on;
            if !on {
                let held = std::mem::take(&mut link.held);
                if !link.over {
                    link.out.extend(held.concat());
                }
            }
        }
    }

    /// Whether a QoS 2 message was too large to be sent again.
    pub fn has_discarded(&self) -> bool {
        let is_lost = |copy: &Copy| copy.state == CopyState::Lost && copy.qos == QoS::ExactlyOnce;
        self.copies.iter().any(is_lost)
    }

    /// Messages that wait for the client or for its acknowledgement.
    pub fn unsettled(&self) -> usize {
        self.session.as_ref().map_or(0, |session| session.outbox.len() + session.received.len())
    }

    /// Another client publishes: what matches is copied into the session. False: QoS 0 for a client that is away.
    pub fn offer(
        &mut self,
        offer: usize,
        topic: usize,
        qos: QoS,
        size: u16,
        retain: bool,
        properties: bool,
    ) -> bool {
        if retain {
            self.stored.insert(topic, (qos, size, properties));
        }
        let Some(session) = &mut self.session else { return false };
        let up = self.link.as_ref().is_some_and(|link| link.connected && !link.over);
        let matching: Vec<Grant> = session
            .subscriptions
            .iter()
            .filter(|(filter, _)| matches(filter, TOPICS[topic]))
            .map(|(_, grant)| grant.clone())
            .collect();
        let groups: Vec<Vec<Grant>> = if self.config.copies {
            matching.into_iter().map(|grant| vec![grant]).collect()
        } else if matching.is_empty() {
            Vec::new()
        } else {
            vec![matching]
        };
        let mut all = true;
        for group in groups {
            let granted = group.iter().map(|grant| grant.qos).max().unwrap_or(QoS::AtMostOnce);
            let qos = qos.min(granted);
            if qos == QoS::AtMostOnce && !up {
                all = false;
                continue;
            }
            self.copies.push(Copy {
                offer: Some(offer),
                topic,
                qos,
                size,
                properties,
                identifiers: group.iter().filter_map(|grant| grant.identifier).collect(),
                state: CopyState::Open,
                deliveries: 0,
                refused: false,
            });
            session.outbox.push_back(Item {
                copy: self.copies.len() - 1,
                id: None,
                released: false,
            });
        }
        self.send(false);
        all
    }

    /// What is stored for a filter that was just granted.
    fn send_stored(&mut self, filter: &str, grant: &Grant) {
        let session = self.session.as_mut().expect("a connection without a session");
        for (&topic, &(qos, size, properties)) in &self.stored {
            if !matches(filter, TOPICS[topic]) {
                continue;
            }
            let item = Item { copy: self.copies.len(), id: None, released: false };
            session.outbox.push_back(item);
            self.copies.push(Copy {
                offer: None,
                topic,
                qos: qos.min(grant.qos),
                size,
                properties,
                identifiers: grant.identifier.into_iter().collect(),
                state: CopyState::Open,
                deliveries: 0,
                refused: false,
            });
        }
        self.send(false);
    }

    /// Sends what waits, as far as the client lets it; `again`: first what an earlier connection left.
    fn send(&mut self, again: bool) {
        let (Some(link), Some(session)) = (&mut self.link, &mut self.session) else {
            return;
        };
        if !link.connected || link.over {
            return;
        }
        let mut used: BTreeSet<PacketId> =
            session.outbox.iter().filter_map(|item| item.id).collect();
        let copies = &mut self.copies;
        session.outbox.retain_mut(|item| {
            let fresh = item.id.is_none();
            let copy = &mut copies[item.copy];
            if item.released {
                if let Some(id) = item.id.filter(|_| again) {
                    link.reply(&Packet::PubRel(ack(id, ReasonCode::SUCCESS)));
                }
                return true;
            }
            if !fresh && !again
                || fresh && copy.qos > QoS::AtMostOnce && used.len() >= link.receive_maximum
            {
                return true;
            }
            if fresh && copy.qos > QoS::AtMostOnce {
                let from = if self.config.low_identifiers { 0 } else { session.cursor };
                let all = (1..=u16::MAX).filter_map(|n| PacketId::new(from.wrapping_add(n)));
                item.id = all.into_iter().find(|id| !used.contains(id));
                session.cursor = item.id.map_or(0, PacketId::get);
            }
            let bytes = link.publish(copy, item.copy, item.id, !fresh);
            if bytes.len() > link.maximum_packet_size {
                copy.state = CopyState::Lost;
                return false;
            }
            link.out.extend(bytes);
            if copy.qos == QoS::AtMostOnce {
                copy.state = CopyState::Sent;
                return false;
            }
            used.extend(item.id);
            true
        });
    }

    /// Bytes of the client arrive.
    pub fn read(&mut self, now: Instant, bytes: &[u8], sent: &mut [Sent]) {
        let mut at = 0;
        loop {
            let Some(link) = self.link.as_mut().filter(|link| !link.over) else {
                return;
            };
            link.last_heard = now;
            match link.decoder.step(bytes, &mut at, 0) {
                Ok(Step::Packet { first, start, len }) => {
                    self.packet(now, first, &bytes[start..start + len], sent)
                }
                Ok(Step::Split { first, body }) => self.packet(now, first, &body, sent),
                Ok(Step::More) => return,
                Ok(Step::Wait { .. } | Step::Skipped { .. }) => {
                    unreachable!("nobody said that it defers or skips")
                }
                Err(error) => panic!("the client sent no packet: {error:?}"),
            }
        }
    }

    fn packet(&mut self, now: Instant, first: u8, body: &[u8], sent: &mut [Sent]) {
        let link = self.link.as_mut().expect("a packet without a connection");
        if first == PacketType::Connect.first_byte() {
            link.version = if body[6] == 5 { Version::V5 } else { Version::V311 };
        }
        let packet = Packet::decode(link.version, first, body).unwrap_or_else(|error| {
            panic!("the client sent a malformed packet: {error:?}: {first:#x} {body:02x?}")
        });
        trace::line(now, || format!("        broker < {}", trace::brief(&packet)));
        if self.config.is_poison(&packet) {
            trace::line(now, || "        broker hangs up".into());
            link.over = true;
            self.has_hung_up = true;
            return;
        }
        if !matches!(packet, Packet::Connect(_) | Packet::Auth(_) | Packet::Disconnect(_)) {
            assert!(link.connected, "{} before CONNACK", packet.packet_type().name());
            self.unheard_loss = false;
        }
        match packet {
            Packet::Connect(connect) => self.connect(now, &connect),
            Packet::Auth(auth) => self.auth(&auth),
            Packet::Disconnect(disconnect) => {
                if let Some(expiry) = disconnect.properties.u32(Property::SessionExpiryInterval) {
                    assert!(
                        link.session_expiry > 0 || expiry == 0,
                        "a session that had ended goes on"
                    );
                    link.session_expiry = expiry;
                }
                link.over = true;
            }
            Packet::PingReq => link.reply(&Packet::PingResp),
            Packet::Publish(publish) => self.publish(&publish, sent),
            Packet::PubRel(pubrel) => {
                let known = self
                    .session
                    .as_mut()
                    .is_some_and(|session| session.received.remove(&pubrel.id).is_some());
                let reason = if known {
                    ReasonCode::SUCCESS
                } else {
                    ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
                };
                link.reply(&Packet::PubComp(ack(pubrel.id, reason)));
            }
            Packet::PubAck(ack) => self.acknowledged(ack, QoS::AtLeastOnce),
            Packet::PubRec(ack) => self.acknowledged(ack, QoS::ExactlyOnce),
            Packet::PubComp(ack) => {
                let session = self.session.as_mut().expect("a connection without a session");
                let at =
                    session.outbox.iter().position(|item| item.id == Some(ack.id) && item.released);
                let item = session.outbox.remove(at.expect("a PUBCOMP for what was not released"));
                self.copies[item.expect("the item").copy].state = CopyState::Acknowledged;
                self.send(false);
            }
            Packet::Subscribe(subscribe) => {
                let identifier = subscribe.properties.u32(Property::SubscriptionIdentifier);
                let mut stored = Vec::new();
                let codes: Vec<u8> = subscribe
                    .filters
                    .enumerate()
                    .map(|(at, (filter, options))| {
                        let refused = self.refused_filters >> (at % 4) & 1 == 1;
                        let lower = self.refused_filters >> 4 & 1 == 1;
                        let known = FILTERS.iter().find(|known| **known == filter);
                        if refused {
                            return if link.version == Version::V5 { 0x87 } else { 0x80 };
                        }
                        let qos =
                            if lower { options.qos.min(QoS::AtLeastOnce) } else { options.qos };
                        let grant = Grant { asked: options.qos, qos, identifier };
                        let session =
                            self.session.as_mut().expect("a connection without a session");
                        let known = *known.expect("a filter that was asked for");
                        let is_new = session.subscriptions.insert(known, grant.clone()).is_none();
                        let is_sent = match options.retain_handling {
                            0 => true,
                            1 => is_new,
                            _ => false,
                        };
                        if is_sent && !known.starts_with("$share") {
                            stored.push((known, grant));
                        }
                        qos as u8
                    })
                    .collect();
                self.refused_filters = 0;
                let is_answer_first = !self.config.low_identifiers;
                let answer = Packet::SubAck(SubAck {
                    id: subscribe.id,
                    codes: &codes,
                    properties: Properties::EMPTY,
                });
                if is_answer_first {
                    link.reply(&answer);
                }
                for (filter, grant) in stored {
                    self.send_stored(filter, &grant);
                }
                if !is_answer_first && let Some(link) = &mut self.link {
                    link.reply(&answer);
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                let session = self.session.as_mut().expect("a connection without a session");
                let codes: Vec<u8> = unsubscribe
                    .filters
                    .map(
                        |filter| {
                            if session.subscriptions.remove(filter).is_some() { 0 } else { 0x11 }
                        },
                    )
                    .collect();
                link.reply(&Packet::UnsubAck(SubAck {
                    id: unsubscribe.id,
                    codes: &codes,
                    properties: Properties::EMPTY,
                }));
            }
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                panic!("the client sent {}", packet.packet_type().name())
            }
        }
    }

    fn connect(&mut self, now: Instant, connect: &Connect) {
        let link = self.link.as_mut().expect("a packet without a connection");
        let property = |property, default| connect.properties.u32(property).unwrap_or(default);
        link.clean = connect.clean_start;
        link.receive_maximum = property(Property::ReceiveMaximum, 65_535) as usize;
        link.maximum_packet_size = property(Property::MaximumPacketSize, u32::MAX) as usize;
        if link.version == Version::V311 {
            // The client holds to its limit though it cannot say so.
            link.maximum_packet_size = self.config.maximum_packet_size.unwrap_or(u32::MAX) as usize;
        }
        link.alias_maximum = property(Property::TopicAliasMaximum, 0) as u16;
        link.session_expiry = property(Property::SessionExpiryInterval, 0);
        link.keep_alive = connect.keep_alive;
        if link.version == Version::V5 && self.config.old_broker {
            // 3.1.1 has no enhanced authentication, so the client does not try it on a guess.
            if !self.config.bare_close || self.config.authentication.is_some() {
                link.out.extend([0x20, 2, 0, 1]);
            }
            link.over = true;
            return;
        }
        if let Some(reason) = self.refusal.take() {
            let reasons: &[u8] = match link.version {
                Version::V311 => &[0x84, 0x85, 0x86, 0x87, 0x88],
                Version::V5 => {
                    &[0x80, 0x82, 0x83, 0x85, 0x86, 0x87, 0x88, 0x88, 0x89, 0x89, 0x97, 0x9C, 0x9F]
                }
            };
            let reason = ReasonCode(reasons[usize::from(reason) % reasons.len()]);
            link.send(&Packet::ConnAck(ConnAck {
                session_present: false,
                reason,
                properties: Properties::EMPTY,
            }));
            link.over = true;
            return;
        }
        link.assigned = connect.client_id.is_empty();
        link.client_id = connect.client_id.to_owned();
        if link.assigned {
            self.assigned += 1;
            link.client_id = format!("assigned-{}", self.assigned);
        }
        let other = self.session.as_ref().is_some_and(|session| {
            session.client_id != link.client_id || session.expires.is_some_and(|at| at <= now)
        });
        let asks = self.config.authentication.is_some() && link.version == Version::V5;
        if asks {
            assert_eq!(connect.properties.text(Property::AuthenticationMethod), Some("method"));
        }
        if connect.clean_start || other || self.unheard_loss {
            self.lose_session();
        }
        if asks { self.ask() } else { self.welcome() }
    }

    /// Asks one more question, or is content.
    fn ask(&mut self) {
        let link = self.link.as_mut().expect("a packet without a connection");
        if link.questions < self.config.authentication.unwrap_or(0) {
            link.questions += 1;
            return link.auth(ReasonCode::CONTINUE_AUTHENTICATION);
        }
        link.questions = 0;
        if link.connected {
            link.auth(ReasonCode::SUCCESS);
        } else {
            self.welcome();
        }
    }

    fn auth(&mut self, auth: &Auth) {
        let link = self.link.as_ref().expect("a packet without a connection");
        let again = auth.reason == ReasonCode::RE_AUTHENTICATE;
        assert_eq!(again, link.questions == 0, "an AUTH that nobody asked for");
        assert!(!again || link.connected, "re-authentication before CONNACK");
        self.ask();
    }

    fn welcome(&mut self) {
        let link = self.link.as_mut().expect("a packet without a connection");
        let limits = self.limits;
        self.unidentified |= limits.no_identifiers;
        self.limited |= limits.maximum_packet_size.is_some()
            || limits.maximum_qos.is_some()
            || limits.no_retain;
        let session_present = self.session.is_some();
        let session = self.session.get_or_insert_default();
        session.client_id = link.client_id.clone();
        session.expires = None;
        let mut properties = PropertiesBuf::default();
        if link.version == Version::V5 {
            let mut two = |property, value: Option<u16>| {
                if let Some(value) = value {
                    properties.push(property, Value::Two(value));
                }
            };
            two(Property::ReceiveMaximum, limits.receive_maximum);
            two(Property::TopicAliasMaximum, limits.alias_maximum);
            two(Property::ServerKeepAlive, limits.keep_alive);
            for (property, value) in [
                (Property::MaximumPacketSize, limits.maximum_packet_size),
                (Property::SessionExpiryInterval, limits.session_expiry),
            ] {
                if let Some(value) = value {
                    properties.push(property, Value::Four(value));
                }
            }
            if let Some(qos) = limits.maximum_qos {
                properties.push(Property::MaximumQos, Value::Byte(qos));
            }
            for (property, missing) in [
                (Property::RetainAvailable, limits.no_retain),
                (Property::WildcardSubscriptionAvailable, limits.no_wildcards),
                (Property::SubscriptionIdentifierAvailable, limits.no_identifiers),
                (Property::SharedSubscriptionAvailable, limits.no_shared),
            ] {
                if missing {
                    properties.push(property, Value::Byte(0));
                }
            }
            if link.assigned {
                properties.push(Property::AssignedClientIdentifier, Value::Text(&link.client_id));
            }
            if self.config.authentication.is_some() {
                properties.push(Property::AuthenticationMethod, Value::Text("method"));
            }
            link.alias_limit = limits.alias_maximum.unwrap_or(0);
            link.keep_alive = limits.keep_alive.unwrap_or(link.keep_alive);
            link.session_expiry = limits.session_expiry.unwrap_or(link.session_expiry);
        }
        link.connected = true;
        link.send(&Packet::ConnAck(ConnAck {
            session_present,
            reason: ReasonCode::SUCCESS,
            properties: properties.borrow(),
        }));
        self.send(true);
    }

    fn publish(&mut self, publish: &Publish, sent: &mut [Sent]) {
        let link = self.link.as_mut().expect("a packet without a connection");
        let session = self.session.as_mut().expect("a connection without a session");
        let n = number(publish.payload);
        let message = &mut sent[n];
        let named = TOPICS.iter().position(|topic| topic.as_bytes() == publish.topic);
        let topic = match publish.properties.u32(Property::TopicAlias).map(|alias| alias as u16) {
            None => named,
            Some(alias) => {
                assert!(
                    alias > 0 && alias <= link.alias_limit,
                    "topic alias {alias} was not offered"
                );
                if let Some(topic) = named {
                    link.aliases_in.insert(alias, topic);
                }
                link.aliases_in.get(&alias).copied()
            }
        };
        assert_eq!(topic, Some(message.topic), "the topic of message {n}");
        assert_eq!(publish.payload, payload(n, message.size), "the payload of message {n}");
        assert_eq!(
            (publish.qos, publish.retain),
            (message.qos, message.retain),
            "the flags of message {n}"
        );
        let every =
            self.config.refused_messages.filter(|_| link.version == Version::V5).map(usize::from);
        let reason = match every {
            Some(every) if n % every == every - 1 => ReasonCode::QUOTA_EXCEEDED,
            _ if n % 5 == 4 && link.version == Version::V5 => ReasonCode::NO_MATCHING_SUBSCRIBERS,
            _ => ReasonCode::SUCCESS,
        };
        let refused = reason.is_error() && publish.qos > QoS::AtMostOnce;
        message.refused |= refused;
        let mut taken = !refused;
        if publish.qos == QoS::ExactlyOnce && !refused {
            let id = publish.id.expect("a packet identifier");
            let before = session.received.insert(id, n);
            assert!(before.is_none_or(|before| before == n), "packet identifier {id} is in use");
            assert!(before.is_none() || publish.dup, "message {n} is sent again without DUP");
            taken = before.is_none();
        }
        if taken {
            message.taken += 1;
            if message.taken == 1 {
                let last = self.last_taken.insert((message.topic, message.qos), n);
                assert!(last.is_none_or(|last| last < n), "message {n} was overtaken by {last:?}");
            } else {
                assert_eq!(
                    message.qos,
                    QoS::AtLeastOnce,
                    "message {n} was taken {} times",
                    message.taken
                );
            }
        }
        match publish.id.map(|id| ack(id, reason)) {
            None => {}
            Some(ack) if publish.qos == QoS::AtLeastOnce => link.reply(&Packet::PubAck(ack)),
            Some(ack) => link.reply(&Packet::PubRec(ack)),
        }
    }

    /// A PUBACK or PUBREC of the client.
    fn acknowledged(&mut self, ack_: Ack, qos: QoS) {
        let link = self.link.as_mut().expect("a packet without a connection");
        let session = self.session.as_mut().expect("a connection without a session");
        let at = session
            .outbox
            .iter()
            .position(|item| item.id == Some(ack_.id) && self.copies[item.copy].qos == qos);
        let at = at.expect("an acknowledgement for nothing");
        let copy = &mut self.copies[session.outbox[at].copy];
        assert!(
            copy.deliveries > 0,
            "copy {} is acknowledged and was not delivered",
            session.outbox[at].copy
        );
        if ack_.reason.is_error() {
            assert!(
                copy.refused,
                "copy {} is refused, though not by the application",
                session.outbox[at].copy
            );
            copy.state = CopyState::Refused;
            session.outbox.remove(at);
        } else if qos == QoS::AtLeastOnce {
            copy.state = CopyState::Acknowledged;
            session.outbox.remove(at);
        } else {
            session.outbox[at].released = true;
            link.reply(&Packet::PubRel(ack(ack_.id, ReasonCode::SUCCESS)));
        }
        self.send(false);
    }
}

impl Config {
    /// Whether the broker hangs up on a packet.
    fn is_poison(&self, packet: &Packet) -> bool {
        match packet {
            Packet::Publish(publish) => self
                .poison_topic
                .is_some_and(|topic| publish.topic == TOPICS[usize::from(topic)].as_bytes()),
            Packet::Subscribe(subscribe) => {
                let filters: Vec<&str> =
                    subscribe.filters.clone().map(|(filter, _)| filter).collect();
                self.poison_filter.is_some_and(|at| filters.contains(&FILTERS[usize::from(at)]))
                    || self.most_filters.is_some_and(|most| filters.len() > usize::from(most))
            }
            _ => false,
        }
    }
}

impl Link {
    fn send(&mut self, packet: &Packet) {
        packet.encode(self.version, &mut self.out);
    }

    /// Sends a packet, or keeps it for later.
    fn reply(&mut self, packet: &Packet) {
        if self.holds {
            let mut bytes = Vec::new();
            packet.encode(self.version, &mut bytes);
            self.held.push(bytes);
        } else {
            self.send(packet);
        }
    }

    fn auth(&mut self, reason: ReasonCode) {
        let mut properties = PropertiesBuf::default();
        properties.push(Property::AuthenticationMethod, Value::Text("method"));
        let properties = properties.borrow();
        self.send(&Packet::Auth(Auth { reason, properties }));
    }

    fn publish(&mut self, copy: &Copy, number: usize, id: Option<PacketId>, dup: bool) -> Vec<u8> {
        let mut properties = PropertiesBuf::default();
        let mut topic = TOPICS[copy.topic];
        let mut alias = None;
        if self.version == Version::V5 {
            if copy.properties {
                properties.push(Property::ContentType, Value::Text(&format!("c{number}")));
                properties.push(Property::UserProperty, Value::Pair("n", &number.to_string()));
            }
            for &identifier in &copy.identifiers {
                properties.push(Property::SubscriptionIdentifier, Value::Varint(identifier));
            }
            alias = Some(copy.topic as u16 + 1).filter(|&alias| alias <= self.alias_maximum);
        }
        let payload = payload(number, copy.size);
        let mut bytes = Vec::new();
        let known = alias.is_some_and(|alias| self.aliases_out.contains(&alias));
        if known {
            topic = "";
        }
        let publish = Publish {
            dup,
            qos: copy.qos,
            retain: copy.offer.is_none(),
            topic: topic.as_bytes(),
            id,
            properties: properties.borrow(),
            payload: &payload,
        };
        publish.encode_header(self.version, alias, payload.len(), &mut bytes);
        bytes.extend(payload);
        if bytes.len() <= self.maximum_packet_size {
            self.aliases_out.extend(alias);
        }
        bytes
    }
}

fn ack(id: PacketId, reason: ReasonCode) -> Ack<'static> {
    Ack { id, reason, properties: Properties::EMPTY }
}

/// Bytes that break the protocol, whatever the version.
pub fn garbage(which: u8) -> Vec<u8> {
    let all: [&[u8]; 6] = [
        &[0x36, 3, 0, 1, b'a'],                                        // QoS 3
        &[0x00, 0],                                                    // no packet type
        &[0xD1, 0],                                                    // reserved flags
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],                         // a length of five bytes
        &[0x40, 2, 0, 0],                                              // packet identifier 0
        &[PacketType::Subscribe.first_byte(), 6, 0, 1, 0, 1, b'a', 0], // a packet of a client
    ];
    all[usize::from(which) % all.len()].to_vec()
}
