//! A listener on the wire, at the client's end: what the client has sent and what it has read must go together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wasmqtt::codec::{
    Ack, ConnAck, Decoder, Packet, PacketId, PacketType, Property, Publish, QoS, ReasonCode, Step,
    Version, shared,
};
use wasmqtt::session::{ErrorCode, Instant};

use crate::app::{Fate, Sent};
use crate::trace::{self, number};

/// What the listener knows. The first fields survive the connection.
pub struct Wire {
    /// What the client's packet identifiers stand for.
    used: BTreeMap<PacketId, Use>,
    /// Counts connections.
    connection: u32,
    /// Counts releases.
    releases: u32,
    /// The last message and the last release of an earlier connection that were sent again.
    resent: [Option<u32>; 2],
    session_present: bool,
    phase: Phase,
    /// Of the connection that is up, or the last one.
    pub version: Version,
    from_client: Decoder,
    to_client: Decoder,
    limits: ServerLimits,
    /// Messages sent on this connection and not completed.
    live: BTreeSet<PacketId>,
    /// Messages that came and were not acknowledged.
    owed: VecDeque<(PacketId, QoS)>,
    /// PUBRECs that came and were not answered.
    released: VecDeque<PacketId>,
    /// PUBRELs that came and were not answered.
    completed: VecDeque<PacketId>,
    /// Messages that the client has given up, which nobody may wait for any more.
    given_up: Vec<usize>,
    pub keep_alive: u16,
    pub last_sent: Instant,
    pub clean_start: bool,
    /// On how many connections each filter was asked for or given up, and on which last.
    asked: BTreeMap<String, (u32, u32)>,
    /// Filters whose UNSUBSCRIBE was not answered, and by packet identifier those of this connection. If it is given
    /// up, the broker keeps them.
    unsubscribing: BTreeSet<String>,
    unsubscribes: BTreeMap<PacketId, Vec<String>>,
    /// A PINGREQ was the first packet behind CONNECT.
    cautious: Option<bool>,
    /// A message of QoS 0 was sent.
    loose: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Phase {
    /// CONNECT must come.
    Open,
    /// CONNACK must come.
    Connecting,
    Up,
    /// DISCONNECT was sent.
    Over,
}

#[derive(Clone, Debug)]
enum Use {
    Message {
        number: usize,
        /// When it was sent last, by the count of connections.
        sent_on: u32,
        /// The PUBREC came: by the count of releases (0: it was given up without), and when the PUBREL was sent last.
        released: Option<(u32, u32)>,
    },
    Request,
}

struct ServerLimits {
    receive_maximum: usize,
    maximum_packet_size: usize,
    maximum_qos: QoS,
    retain: bool,
    wildcards: bool,
    identifiers: bool,
    shared: bool,
}

impl ServerLimits {
    fn new(connack: &ConnAck) -> Self {
        let number = |property, default| connack.properties.u32(property).unwrap_or(default);
        let flag = |property| number(property, 1) == 1;
        Self {
            receive_maximum: number(Property::ReceiveMaximum, 65_535) as usize,
            maximum_packet_size: number(Property::MaximumPacketSize, u32::MAX) as usize,
            maximum_qos: QoS::from_bits(number(Property::MaximumQos, 2) as u8).unwrap(),
            retain: flag(Property::RetainAvailable),
            wildcards: flag(Property::WildcardSubscriptionAvailable),
            identifiers: flag(Property::SubscriptionIdentifierAvailable),
            shared: flag(Property::SharedSubscriptionAvailable),
        }
    }
}

impl Wire {
    pub fn new() -> Self {
        Self {
            used: BTreeMap::new(),
            connection: 0,
            releases: 0,
            resent: [None; 2],
            session_present: false,
            phase: Phase::Over,
            version: Version::V5,
            from_client: Decoder::new(Version::V5, u32::MAX),
            to_client: Decoder::new(Version::V5, u32::MAX),
            limits: ServerLimits::new(&ConnAck {
                session_present: false,
                reason: ReasonCode::SUCCESS,
                properties: Default::default(),
            }),
            live: BTreeSet::new(),
            owed: VecDeque::new(),
            released: VecDeque::new(),
            completed: VecDeque::new(),
            given_up: Vec::new(),
            keep_alive: 0,
            last_sent: Instant::default(),
            clean_start: true,
            asked: BTreeMap::new(),
            unsubscribing: BTreeSet::new(),
            unsubscribes: BTreeMap::new(),
            cautious: None,
            loose: false,
        }
    }

    /// A socket is open.
    pub fn open(&mut self) {
        self.used.retain(|_, used| matches!(used, Use::Message { .. }));
        *self = Self {
            used: std::mem::take(&mut self.used),
            connection: self.connection + 1,
            releases: self.releases,
            asked: std::mem::take(&mut self.asked),
            unsubscribing: std::mem::take(&mut self.unsubscribing),
            phase: Phase::Open,
            ..Self::new()
        };
    }

    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// Counts connections.
    pub fn connection(&self) -> u32 {
        self.connection
    }

    /// Whether the client may blame the end of the last connection on what was sent on it: it sent one packet at a
    /// time, and this one was not answered.
    fn blames_one(&self) -> bool {
        let requests = self.used.values().filter(|used| matches!(used, Use::Request)).count();
        self.cautious == Some(true) && !self.loose && self.live.len() + requests == 1
    }

    /// Whether the broker may have a filter that nobody wants, because its UNSUBSCRIBE was not answered.
    pub fn may_be_left(&self, filter: &str) -> bool {
        self.unsubscribing.contains(filter)
    }

    /// Whether a message may be given up because it ends the connection.
    pub fn may_give_up(&self, message: &Sent) -> bool {
        self.blames_one() && message.connections >= 3 && message.last_connection == self.connection
    }

    /// Whether a request for one of these filters may be given up.
    pub fn may_give_up_request<'a>(&self, filters: impl IntoIterator<Item = &'a str>) -> bool {
        let ended = (3.., self.connection);
        self.blames_one()
            && filters.into_iter().any(|filter| {
                self.asked
                    .get(filter)
                    .is_some_and(|(count, last)| ended.0.contains(count) && *last == ended.1)
            })
    }

    /// The application has heard of everything.
    pub fn check_given_up(&mut self, sent: &[Sent]) {
        for number in self.given_up.drain(..) {
            let fate = sent[number].fate;
            assert_ne!(fate, Fate::Pending, "message {number} was given up without a word");
        }
    }

    /// Packet identifiers of messages that somebody waits for.
    pub fn in_flight(&self, sent: &[Sent]) -> usize {
        let waits = |used: &&Use| matches!(used, Use::Message { number, .. } if sent[*number].fate == Fate::Pending);
        self.used.values().filter(waits).count()
    }

    /// A QoS 1 message that does not fit the limits of a new connection is not sent again; where nobody waits for it,
    /// that shows by its identifier only.
    fn drop_given_up(&mut self, id: PacketId, sent: &[Sent]) {
        if let Some(Use::Message { number, sent_on, .. }) = self.used.get(&id)
            && *sent_on < self.connection
            && sent[*number].qos == QoS::AtLeastOnce
            && sent[*number].fate != Fate::Pending
        {
            self.used.remove(&id);
        }
    }

    /// The client sends a frame.
    pub fn sent(&mut self, now: Instant, frame: &[u8], sent: &mut [Sent]) {
        self.last_sent = now;
        let mut at = 0;
        while at < frame.len() {
            let begin = at;
            match self.from_client.step(frame, &mut at, 0) {
                Ok(Step::Packet { first, start, len }) => {
                    self.packet_sent(now, first, &frame[start..start + len], at - begin, sent);
                }
                other => panic!("a frame that is not made of whole packets: {other:?}"),
            }
        }
    }

    fn packet_sent(
        &mut self,
        now: Instant,
        first: u8,
        body: &[u8],
        size: usize,
        sent: &mut [Sent],
    ) {
        if first == PacketType::Connect.first_byte() {
            assert_eq!(self.phase, Phase::Open, "CONNECT twice");
            self.version = if body[6] == 5 { Version::V5 } else { Version::V311 };
        }
        let packet = Packet::decode(self.version, first, body).unwrap_or_else(|error| {
            panic!("the client sent a malformed packet: {error:?}: {first:#x} {body:02x?}")
        });
        trace::line(now, || format!("client > {}", trace::brief(&packet)));
        let kind = packet.packet_type().name();
        match (self.phase, &packet) {
            (Phase::Open, Packet::Connect(connect)) => {
                self.phase = Phase::Connecting;
                self.keep_alive = connect.keep_alive;
                self.clean_start = connect.clean_start;
                return;
            }
            (Phase::Connecting, Packet::Auth(_) | Packet::Disconnect(_)) | (Phase::Up, _) => {}
            _ => panic!("{kind} where the connection is {:?}", self.phase),
        }
        if self.phase == Phase::Up {
            self.cautious.get_or_insert(matches!(packet, Packet::PingReq));
        }
        let limit = self.limits.maximum_packet_size;
        assert!(size <= limit, "{kind} of {size} bytes where {limit} are allowed");
        match packet {
            Packet::Publish(publish) => self.publish_sent(now, &publish, sent),
            Packet::PubAck(ack) => {
                assert_eq!(
                    self.owed.pop_front(),
                    Some((ack.id, QoS::AtLeastOnce)),
                    "PUBACK out of order"
                );
            }
            Packet::PubRec(ack) => {
                assert_eq!(
                    self.owed.pop_front(),
                    Some((ack.id, QoS::ExactlyOnce)),
                    "PUBREC out of order"
                );
            }
            Packet::PubComp(ack) => {
                assert_eq!(self.completed.pop_front(), Some(ack.id), "PUBCOMP out of order");
            }
            Packet::PubRel(ack) => self.pubrel_sent(&ack, sent),
            Packet::Subscribe(subscribe) => {
                let filters = subscribe.filters.clone().map(|(filter, _)| filter.to_owned());
                self.take(subscribe.id, filters.collect(), sent);
                let identifier = subscribe.properties.get(Property::SubscriptionIdentifier);
                assert!(
                    self.limits.identifiers || identifier.is_none(),
                    "an identifier that is not supported"
                );
                for (filter, _) in subscribe.filters {
                    let wildcard = filter.contains(['+', '#']);
                    assert!(
                        self.limits.wildcards || !wildcard,
                        "wildcards are not supported: {filter}"
                    );
                    assert!(
                        self.limits.shared || shared(filter).is_none(),
                        "no shared subscriptions: {filter}"
                    );
                }
            }
            Packet::Unsubscribe(unsubscribe) => {
                let filters: Vec<String> = unsubscribe.filters.map(str::to_owned).collect();
                self.unsubscribing.extend(filters.iter().cloned());
                self.unsubscribes.insert(unsubscribe.id, filters.clone());
                self.take(unsubscribe.id, filters, sent);
            }
            Packet::Disconnect(_) => self.phase = Phase::Over,
            Packet::PingReq | Packet::Auth(_) => {}
            _ => panic!("the client sent {kind}"),
        }
    }

    fn take(&mut self, id: PacketId, filters: Vec<String>, sent: &[Sent]) {
        self.drop_given_up(id, sent);
        for filter in filters {
            let (count, last) = self.asked.entry(filter).or_default();
            *count += u32::from(*last != self.connection);
            *last = self.connection;
        }
        let before = self.used.insert(id, Use::Request);
        assert!(before.is_none(), "packet identifier {id} is in use: {before:?}");
    }

    fn publish_sent(&mut self, now: Instant, publish: &Publish, sent: &mut [Sent]) {
        let n = number(publish.payload);
        let message = &mut sent[n];
        assert!(publish.qos <= self.limits.maximum_qos, "message {n}: the QoS is not supported");
        assert!(self.limits.retain || !publish.retain, "message {n}: retain is not supported");
        let meant = match message.fate {
            // What was written when all ended may still leave.
            Fate::Pending | Fate::Untold | Fate::Withdrawn | Fate::Failed(ErrorCode::Closed) => {
                true
            }
            Fate::Done => publish.qos == QoS::AtMostOnce,
            Fate::Refused | Fate::Dropped | Fate::Failed(_) => false,
        };
        assert!(meant, "message {n} is sent though it is {:?}", message.fate);
        let expiry = publish.properties.u32(Property::MessageExpiryInterval).map(u64::from);
        let waited = now.since_ms(message.since) / 1_000;
        let left = message
            .expiry
            .filter(|_| self.version == Version::V5)
            .map(|all| u64::from(all).saturating_sub(waited));
        let right = match message.left {
            // Sent again, it stays the same.
            Some(first) if publish.dup && first == expiry => true,
            // It was told when the message was written, perhaps for a connection that has ended.
            _ if message.written => expiry >= left && expiry <= message.expiry.map(Into::into),
            Some(_) if publish.dup => false,
            _ => expiry == left,
        };
        assert!(right, "the expiry of message {n}: {expiry:?}, {left:?}");
        message.left = Some(expiry);
        let again = message.first_sent.is_some();
        message.first_sent.get_or_insert(now);
        message.on_wire(self.connection);
        assert!(
            message.withdrawn_on.is_none_or(|on| self.connection <= on),
            "message {n} was withdrawn, and is sent again"
        );
        self.loose |= publish.id.is_none();
        let Some(id) = publish.id else {
            return assert!(!again, "message {n} of QoS 0 is sent again");
        };
        let connection = self.connection;
        if !again {
            self.drop_given_up(id, sent);
        }
        let (other, same) = match self.used.get(&id) {
            Some(Use::Message { number, sent_on, released }) if *number == n => {
                assert!(released.is_none(), "message {n} is sent again after its PUBREC");
                assert!(*sent_on < connection, "message {n} is sent twice on one connection");
                assert!(publish.dup, "message {n} is sent again without DUP");
                (None, true)
            }
            other => (other, false),
        };
        assert!(other.is_none(), "packet identifier {id} is in use: {other:?}");
        let elsewhere = self
            .used
            .values()
            .any(|used| matches!(used, Use::Message { number, .. } if *number == n));
        assert_eq!(elsewhere, same, "message {n} has two packet identifiers");
        if publish.dup {
            assert!(self.session_present, "message {n} is new to this session, and sent with DUP");
            self.resent(0, n as u32);
        }
        let used = Use::Message { number: n, sent_on: connection, released: None };
        self.used.insert(id, used);
        self.live.insert(id);
        let (live, maximum) = (self.live.len(), self.limits.receive_maximum);
        assert!(live <= maximum, "{live} messages are under way where {maximum} are allowed");
        let is_v4 = self.version == Version::V311;
        assert!(
            !is_v4 || publish.qos < QoS::ExactlyOnce || live <= 20 || self.few_exactly_once(sent),
            "many QoS 2 messages are in flight on 3.1.1"
        );
    }

    /// Whether at most 20 of the messages in flight have QoS 2.
    fn few_exactly_once(&self, sent: &[Sent]) -> bool {
        let is_exactly_once = |id: &&PacketId| matches!(self.used.get(id), Some(Use::Message { number, .. }) if sent[*number].qos == QoS::ExactlyOnce);
        self.live.iter().filter(is_exactly_once).count() <= 20
    }

    /// What an earlier connection left is sent again in order.
    fn resent(&mut self, which: usize, order: u32) {
        let last = self.resent[which].replace(order);
        assert!(last < Some(order), "sent again out of order: {last:?}, then {order}");
    }

    fn pubrel_sent(&mut self, ack: &Ack, sent: &mut [Sent]) {
        if self.released.front() == Some(&ack.id) {
            self.released.pop_front();
            return;
        }
        let connection = self.connection;
        if let Some(Use::Message { number, .. }) = self.used.get(&ack.id) {
            sent[*number].on_wire(connection);
            self.live.insert(ack.id);
        }
        match self.used.get_mut(&ack.id) {
            Some(Use::Message { released: Some((order, on)), .. }) if *on < connection => {
                *on = connection;
                let order = *order;
                if order > 0 {
                    self.resent(1, order);
                }
            }
            // The server may forget a message that is not sent again.
            Some(Use::Message { number, released, .. })
                if matches!(
                    sent[*number].fate,
                    Fate::Failed(_) | Fate::Withdrawn | Fate::Untold
                ) =>
            {
                *released = Some((0, connection));
            }
            // It does not fit the limits of a new connection, and the application is about to hear.
            Some(Use::Message { number, sent_on, released })
                if ack.reason == ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
                    && *sent_on < connection =>
            {
                *released = Some((0, connection));
                self.given_up.push(*number);
            }
            None if sent.iter().any(|message| message.written && message.first_sent.is_none()) => {}
            other => panic!("PUBREL {} for {other:?}", ack.id),
        }
    }

    /// The client has read bytes of the server.
    pub fn received(&mut self, now: Instant, bytes: &[u8]) {
        let mut at = 0;
        loop {
            let (first, body) = match self.to_client.step(bytes, &mut at, 0) {
                Ok(Step::Packet { first, start, len }) => {
                    (first, bytes[start..start + len].to_vec())
                }
                Ok(Step::Split { first, body }) => (first, body),
                Ok(Step::More) | Err(_) => return,
                Ok(Step::Wait { .. } | Step::Skipped { .. }) => {
                    unreachable!("nobody said that it defers or skips")
                }
            };
            match Packet::decode(self.version, first, &body) {
                Ok(packet) => {
                    trace::line(now, || format!("client < {}", trace::brief(&packet)));
                    self.packet_received(&packet);
                }
                Err(_) => return trace::line(now, || format!("client < {first:#04x} {body:02x?}")),
            }
        }
    }

    fn packet_received(&mut self, packet: &Packet) {
        match packet {
            Packet::ConnAck(connack) if connack.reason == ReasonCode::SUCCESS => {
                self.phase = Phase::Up;
                self.limits = ServerLimits::new(connack);
                let keep_alive = connack.properties.u32(Property::ServerKeepAlive);
                self.keep_alive = keep_alive.map_or(self.keep_alive, |seconds| seconds as u16);
                self.session_present = connack.session_present;
                if !connack.session_present {
                    self.used.clear();
                }
            }
            Packet::Publish(Publish { id: Some(id), qos, .. }) => self.owed.push_back((*id, *qos)),
            Packet::PubRel(ack) => self.completed.push_back(ack.id),
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                self.releases += 1;
                let releases = self.releases;
                let connection = self.connection;
                if let Some(Use::Message { released, .. }) = self.used.get_mut(&ack.id) {
                    *released = Some((releases, connection));
                }
                self.released.push_back(ack.id);
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                self.used.remove(&ack.id);
                self.live.remove(&ack.id);
            }
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => {
                self.used.remove(&ack.id);
                for filter in self.unsubscribes.remove(&ack.id).unwrap_or_default() {
                    self.unsubscribing.remove(&filter);
                }
            }
            _ => {}
        }
    }
}
