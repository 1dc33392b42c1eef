//! The test broker between clients, a clock and a test that all do what the input says. Whatever that is: nothing panics or
//! spins, what each client hears is a conversation that the specification allows, and memory is bounded.

use std::collections::BTreeMap;

use wasmqtt::broker::{Broker, BrokerOptions, ConnectionId, Transmit};
use wasmqtt::codec::*;
use wasmqtt::session::Instant;

use super::input::Input;
use super::memory;

const NAMES: [&str; 4] = ["", "a", "b", "c"];
const TOPICS: [&str; 5] = ["a", "a/b", "c", "$SYS/x", "a/b/c"];
const FILTERS: [&str; 8] = ["a", "#", "a/+", "$share/g/a/#", "$SYS/#", "+/b", "$share/g/a", "c"];

/// Options, then one thing that happens after the other.
pub fn run(data: &[u8]) {
    let counted = memory::allocated(|| {
        let mut world = World::new(Input::new(data));
        while !world.input.is_empty() {
            world.happen();
            world.pump();
        }
    });
    // Every byte of the input is at most one message of a few hundred bytes to each client, and its copy in the log.
    assert!(counted.peak as usize <= 1024 * 1024 + 8192 * data.len(), "{} bytes", counted.peak);
    assert_eq!(counted.live, 0);
}

struct World<'a> {
    input: Input<'a>,
    broker: Broker,
    now: Instant,
    limits: BrokerOptions,
    peers: Vec<Peer>,
    frozen: Vec<ConnectionId>,
    /// Packets in the log that were looked at.
    seen: u64,
}

/// A client's end of a connection.
struct Peer {
    id: ConnectionId,
    version: Version,
    decoder: Decoder,
    /// What its CONNECT said.
    packet_size: usize,
    receive_maximum: usize,
    alias_maximum: u16,
    /// CONNACK has come.
    connected: bool,
    /// The broker has said its last word.
    over: bool,
    aliases: BTreeMap<u16, Vec<u8>>,
    /// Messages of the broker that are not done with, and whether they are released.
    live: BTreeMap<PacketId, (QoS, bool)>,
    /// It has sent what was not looked at, or acknowledged what it had not heard.
    wild: bool,
    /// Answers that it may get, by their type and identifier.
    owed: BTreeMap<(PacketType, Option<PacketId>), usize>,
}

impl<'a> World<'a> {
    fn new(mut input: Input<'a>) -> Self {
        let limits = BrokerOptions {
            versions: input
                .pick(&[&[Version::V311, Version::V5][..], &[Version::V311], &[Version::V5]])
                .to_vec(),
            users: if input.flag() {
                [("u".into(), b"p".to_vec())].into()
            } else {
                BTreeMap::new()
            },
            receive_maximum: input.pick(&[u16::MAX, 1, 2]),
            maximum_packet_size: input.pick(&[u32::MAX, 20, 100]),
            maximum_qos: input.pick(&[QoS::ExactlyOnce, QoS::AtMostOnce, QoS::AtLeastOnce]),
            topic_alias_maximum: input.pick(&[2, 0, u16::MAX]),
            retain_available: !input.flag(),
        };
        let now = Instant(0);
        let broker = Broker::new(limits.clone(), now, 1).unwrap();
        Self { input, broker, now, limits, peers: Vec::new(), frozen: Vec::new(), seen: 0 }
    }

    fn happen(&mut self) {
        match self.input.below(16) {
            0 => self.open(),
            1 => self.connect(),
            2 | 3 => self.publish(),
            4 => self.subscribe(),
            5 | 6 => self.acknowledge(),
            7 => self.unsubscribe(),
            8 => self.other(),
            9 => self.raw(),
            10 => self.close(),
            11 | 12 => self.wait(),
            13 => self.fault(),
            14 => self.publish_by_hand(),
            _ => self.thaw(),
        }
    }

    fn peer(&mut self) -> Option<usize> {
        let at = self.input.byte();
        let open: Vec<usize> = (0..self.peers.len()).filter(|at| !self.peers[*at].over).collect();
        (!open.is_empty()).then(|| open[usize::from(at) % open.len()])
    }

    fn send(&mut self, at: usize, bytes: &[u8]) {
        let id = self.peers[at].id;
        // In two pieces.
        let split = self.input.below(64).min(bytes.len());
        self.broker.handle_input(self.now, id, &bytes[..split]);
        self.broker.handle_input(self.now, id, &bytes[split..]);
    }

    fn encode(&mut self, at: usize, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.peers[at].version, &mut bytes);
        self.send(at, &bytes);
    }

    // ------------------------------------------------------------------------------------ clients

    fn open(&mut self) {
        if self.peers.iter().filter(|peer| !peer.over).count() >= 6 {
            return;
        }
        let version = self.input.pick(&[Version::V5, Version::V311]);
        let id = self.broker.handle_open(self.now);
        self.peers.push(Peer {
            id,
            version,
            decoder: Decoder::new(version, u32::MAX),
            packet_size: usize::MAX,
            receive_maximum: usize::from(u16::MAX),
            alias_maximum: 0,
            connected: false,
            over: false,
            aliases: BTreeMap::new(),
            live: BTreeMap::new(),
            wild: false,
            owed: BTreeMap::new(),
        });
    }

    fn connect(&mut self) {
        let before = self.peers.len();
        self.open();
        let Some(at) = self.peers.len().checked_sub(1) else { return };
        // A second CONNECT changes nothing.
        self.peers[at].wild |= before == self.peers.len();
        let mut properties = PropertiesBuf::default();
        let flags = self.input.byte();
        let peer = &mut self.peers[at];
        if flags & 1 > 0 {
            let maximum = self.input.pick(&[1, 2, 3]);
            properties.push(Property::ReceiveMaximum, Value::Two(maximum));
            peer.receive_maximum = maximum.into();
        }
        if flags & 2 > 0 {
            let size = self.input.pick(&[30, 4, 9, 300]);
            properties.push(Property::MaximumPacketSize, Value::Four(size));
            peer.packet_size = size as usize;
        }
        if flags & 4 > 0 {
            let maximum = self.input.pick(&[1, 2, 9]);
            properties.push(Property::TopicAliasMaximum, Value::Two(maximum));
            peer.alias_maximum = maximum;
        }
        if flags & 8 > 0 {
            let expiry = self.input.pick(&[1, 10, u32::MAX]);
            properties.push(Property::SessionExpiryInterval, Value::Four(expiry));
        }
        if peer.version == Version::V311 {
            peer.receive_maximum = u16::MAX.into();
            peer.packet_size = usize::MAX;
            peer.alias_maximum = 0;
        }
        let mut will_properties = PropertiesBuf::default();
        if flags & 16 > 0 {
            will_properties
                .push(Property::WillDelayInterval, Value::Four(self.input.byte().into()));
            will_properties
                .push(Property::MessageExpiryInterval, Value::Four(self.input.byte().into()));
        }
        let will = (flags & 32 > 0).then(|| Will {
            topic: self.input.pick(&TOPICS),
            payload: b"will",
            qos: self.input.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
            retain: flags & 64 > 0,
            properties: will_properties.borrow(),
        });
        let connect = Connect {
            clean_start: flags & 128 > 0,
            keep_alive: self.input.pick(&[0, 1, 60]),
            client_id: self.input.pick(&NAMES),
            will,
            username: (!self.limits.users.is_empty()).then_some("u"),
            password: (!self.limits.users.is_empty()).then_some(b"p"),
            properties: properties.borrow(),
        };
        self.encode(at, &Packet::Connect(connect));
    }

    fn publish(&mut self) {
        let Some(at) = self.peer() else { return };
        let flags = self.input.byte();
        let qos = QoS::from_bits(flags & 3).unwrap_or(QoS::AtLeastOnce);
        let id = if qos == QoS::AtMostOnce { None } else { Some(self.packet_id()) };
        let mut properties = PropertiesBuf::default();
        if flags & 4 > 0 {
            properties.push(Property::MessageExpiryInterval, Value::Four(self.input.byte().into()));
        }
        let mut topic = self.input.pick(&TOPICS).as_bytes();
        if flags & 8 > 0 && self.peers[at].version == Version::V5 {
            properties.push(Property::TopicAlias, Value::Two(1 + u16::from(self.input.byte() % 3)));
            topic = if flags & 16 > 0 { b"" } else { topic };
        }
        let (dup, retain) = (flags & 32 > 0 && qos > QoS::AtMostOnce, flags & 64 > 0);
        let payload = self.input.block();
        let properties = properties.borrow();
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.owe(at, PacketType::PubAck, id),
            QoS::ExactlyOnce => self.owe(at, PacketType::PubRec, id),
        }
        let publish = Publish { dup, qos, retain, topic, id, properties, payload };
        self.encode(at, &Packet::Publish(publish));
    }

    fn acknowledge(&mut self) {
        let Some(at) = self.peer() else { return };
        let id = self.packet_id();
        let kind = self.input.below(4);
        let refused = self.input.flag() && self.peers[at].version == Version::V5;
        let peer = &mut self.peers[at];
        let known = peer.live.get(&id).copied();
        let reason = |code| if refused { ReasonCode(code) } else { ReasonCode::SUCCESS };
        let ack = |reason| Ack { id, reason, properties: Properties::EMPTY };
        let packet = match kind {
            0 => {
                match known {
                    Some((QoS::AtLeastOnce, _)) => _ = peer.live.remove(&id),
                    _ => peer.wild = true,
                }
                Packet::PubAck(ack(reason(0x80)))
            }
            1 => {
                match known {
                    Some((QoS::ExactlyOnce, false)) if refused => _ = peer.live.remove(&id),
                    Some((QoS::ExactlyOnce, released)) => {
                        peer.live.insert(id, (QoS::ExactlyOnce, true));
                        peer.wild |= released && refused;
                    }
                    _ => peer.wild = true,
                }
                self.owe(at, PacketType::PubRel, id);
                Packet::PubRec(ack(reason(0x80)))
            }
            2 => {
                self.owe(at, PacketType::PubComp, id);
                Packet::PubRel(ack(reason(0x92)))
            }
            _ => {
                match known {
                    Some((QoS::ExactlyOnce, true)) => _ = peer.live.remove(&id),
                    _ => peer.wild = true,
                }
                Packet::PubComp(ack(reason(0x92)))
            }
        };
        self.encode(at, &packet);
    }

    fn subscribe(&mut self) {
        let Some(at) = self.peer() else { return };
        let count = 1 + self.input.below(3);
        let filters: Vec<_> = (0..count)
            .map(|_| {
                let filter = self.input.pick(&FILTERS);
                let bits = self.input.byte();
                let options = SubscribeOptions {
                    qos: QoS::from_bits(bits & 3).unwrap_or(QoS::ExactlyOnce),
                    no_local: bits & 4 > 0 && !filter.starts_with("$share"),
                    retain_as_published: bits & 8 > 0,
                    retain_handling: (bits >> 4) % 3,
                };
                (filter, options)
            })
            .collect();
        let mut properties = PropertiesBuf::default();
        if self.input.flag() {
            properties.push(Property::SubscriptionIdentifier, Value::Varint(7));
        }
        let id = self.packet_id();
        self.owe(at, PacketType::SubAck, id);
        let mut bytes = Vec::new();
        let version = self.peers[at].version;
        encode_subscribe(version, id, properties.borrow(), filters.into_iter(), &mut bytes);
        self.send(at, &bytes);
    }

    fn unsubscribe(&mut self) {
        let Some(at) = self.peer() else { return };
        let filter = self.input.pick(&FILTERS);
        let id = self.packet_id();
        self.owe(at, PacketType::UnsubAck, id);
        let mut bytes = Vec::new();
        let version = self.peers[at].version;
        encode_unsubscribe(version, id, Properties::EMPTY, [filter].into_iter(), &mut bytes);
        self.send(at, &bytes);
    }

    fn other(&mut self) {
        let Some(at) = self.peer() else { return };
        let reason = ReasonCode(self.input.pick(&[0, 4, 0x80, 0x8b]));
        let mut properties = PropertiesBuf::default();
        if self.input.flag() {
            properties.push(Property::SessionExpiryInterval, Value::Four(self.input.byte().into()));
        }
        let properties = properties.borrow();
        if self.input.flag() {
            self.owe(at, PacketType::PingResp, None);
            self.encode(at, &Packet::PingReq);
        } else {
            self.encode(at, &Packet::Disconnect(Disconnect { reason, properties }));
        }
    }

    fn raw(&mut self) {
        let Some(at) = self.peer() else { return };
        let bytes = self.input.block().to_vec();
        self.peers[at].wild = true;
        if bytes.is_empty() {
            self.broker.handle_text(self.now, self.peers[at].id);
        }
        self.send(at, &bytes);
    }

    fn close(&mut self) {
        let Some(at) = self.peer() else { return };
        self.broker.handle_close(self.now, self.peers[at].id);
        self.peers.remove(at);
    }

    fn packet_id(&mut self) -> PacketId {
        PacketId::new(1 + u16::from(self.input.byte() % 4)).unwrap()
    }

    fn owe(&mut self, at: usize, packet: PacketType, id: impl Into<Option<PacketId>>) {
        *self.peers[at].owed.entry((packet, id.into())).or_default() += 1;
    }

    // ------------------------------------------------------------------------------------ the clock and the test

    fn wait(&mut self) {
        let ms = self.input.pick(&[0, 1, 500, 1_500, 10_000, 1_000_000]);
        let until = self.now.after_ms(ms);
        let mut rounds = 0;
        while let Some(next) = self.broker.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
            self.pump();
            let next = self.broker.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "the timer would spin");
            rounds += 1;
            assert!(rounds < 1_000);
        }
        self.now = until;
    }

    fn fault(&mut self) {
        let name = self.input.pick(&NAMES);
        let name = (!name.is_empty()).then_some(name);
        let number = self.input.byte();
        let now = self.now;
        match self.input.below(8) {
            0 => self.broker.drop_connections(now, name),
            1 => self.frozen.extend(self.broker.freeze(name)),
            2 => _ = self.broker.disconnect(now, ReasonCode(number), name),
            3 => _ = self.broker.refuse((number > 128).then_some(ReasonCode(number))),
            4 => {
                self.broker.lose_session(name);
                // Clients still have in flight what the broker has forgotten.
                self.peers.iter_mut().for_each(|peer| peer.wild = true);
            }
            5 => {
                let filter = self.input.pick(&FILTERS);
                _ = self
                    .broker
                    .deny((number & 1 > 0).then_some(filter), (number & 2 > 0).then_some(filter));
            }
            6 => self.broker.cut_after(now, number.into(), name),
            _ => self.broker.delay(if number > 128 { 0 } else { number.into() }),
        }
    }

    fn thaw(&mut self) {
        let frozen = std::mem::take(&mut self.frozen);
        self.broker.thaw(self.now, &frozen);
    }

    fn publish_by_hand(&mut self) {
        let qos = self.input.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let (topic, retain) = (self.input.pick(&TOPICS), self.input.flag());
        let payload = self.input.block();
        _ = self.broker.publish(self.now, topic, payload, qos, retain, Properties::EMPTY);
    }

    // ------------------------------------------------------------------------------------ what clients hear

    fn pump(&mut self) {
        while let Some((id, transmit)) = self.broker.poll_transmit(self.now) {
            let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == id) else { continue };
            match transmit {
                Transmit::Bytes(bytes) => peer.read(&bytes),
                Transmit::Close => {
                    assert_eq!(peer.decoder.buffered(), 0, "it closes behind a whole packet");
                    peer.over = true;
                }
                Transmit::Drop => peer.over = true,
            }
        }
        let new = self.broker.packets().rev().take_while(|logged| logged.number >= self.seen);
        for logged in new {
            logged.packet();
        }
        self.seen = self.broker.next_packet();
        let names: Vec<_> = self.broker.clients().map(|client| client.client_id).collect();
        assert!(names.len() <= self.peers.len() + 64 * NAMES.len());
        self.peers.retain(|peer| !peer.over);
    }
}

impl Peer {
    fn read(&mut self, bytes: &[u8]) {
        let mut at = 0;
        loop {
            match self.decoder.step(bytes, &mut at, 0).expect("the broker sends packets") {
                Step::Packet { first, start, len } => self.hear(first, &bytes[start..start + len]),
                Step::Split { first, body } => self.hear(first, &body),
                Step::More => return,
                Step::Wait { .. } | Step::Skipped { .. } => {
                    unreachable!("nobody said that it defers or skips")
                }
            }
        }
    }

    fn hear(&mut self, first: u8, body: &[u8]) {
        assert!(!self.over, "nothing follows the last word");
        let size = 1 + varint_size(body.len()) + body.len();
        assert!(self.wild || size <= self.packet_size, "{size} of {}", self.packet_size);
        // A version that is not spoken is refused in the words of the oldest.
        let packet = Packet::decode_from_server(self.version, first, body).expect("a packet");
        let kind = packet.packet_type();
        match packet {
            Packet::ConnAck(connack) => {
                assert!(!self.connected, "one CONNACK");
                self.connected = true;
                self.over = connack.reason != ReasonCode::SUCCESS;
                return;
            }
            _ => assert!(self.connected, "CONNACK is the first"),
        }
        match packet {
            Packet::Publish(publish) => self.hear_publish(&publish),
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                self.settle(kind, ack.id);
            }
            Packet::PubRel(ack) if ack.reason == ReasonCode::SUCCESS => {
                self.live.insert(ack.id, (QoS::ExactlyOnce, true));
            }
            Packet::PubRel(ack) => self.settle(kind, ack.id),
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => self.settle(kind, ack.id),
            Packet::PingResp => self.settle(kind, None),
            Packet::Disconnect(_) => self.over = true,
            _ => panic!("{packet:?}"),
        }
    }

    fn settle(&mut self, packet: PacketType, id: impl Into<Option<PacketId>>) {
        let id = id.into();
        let owed = self.owed.entry((packet, id)).or_default();
        assert!(self.wild || *owed > 0, "an answer to nothing: {packet:?} {id:?}");
        *owed = owed.saturating_sub(1);
    }

    fn hear_publish(&mut self, publish: &Publish<'_>) {
        if let Some(alias) = publish.properties.u32(Property::TopicAlias) {
            let alias = alias as u16;
            assert!(self.wild || (1..=self.alias_maximum).contains(&alias));
            if publish.topic.is_empty() {
                assert!(self.aliases.contains_key(&alias), "an alias that stands for nothing");
            } else {
                self.aliases.insert(alias, publish.topic.to_vec());
            }
        }
        let Some(id) = publish.id else { return };
        let before = self.live.insert(id, (publish.qos, false));
        assert!(self.wild || before.is_none(), "identifier {id} is in use");
        assert!(self.wild || self.live.len() <= self.receive_maximum);
    }
}
