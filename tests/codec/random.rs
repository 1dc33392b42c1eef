//! Random values of every packet, there and back.

use wasmqtt::codec::Value::{Binary, Byte, Four, Pair, Text, Two, Varint};

use crate::packets::ACKS;
use crate::rules::{PROPERTIES, REASONS};
use crate::*;

/// What packets borrow from.
struct Values {
    random: Random,
    texts: Vec<String>,
    datas: Vec<Vec<u8>>,
}

impl Values {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let text = |random: &mut Random| {
            let chars =
                ['a', '/', ' ', '$', '\u{1}', 'ä', '€', '\u{FEFF}', '\u{1F600}', '\u{10FFFF}'];
            let len = random.pick(&[0, 1, 2, 7, 60, 127, 128, 300]);
            (0..len).map(|_| random.pick(&chars)).collect()
        };
        let texts = (0..40).map(|_| text(&mut random)).collect();
        let data = |random: &mut Random| {
            let len = random.pick(&[0, 1, 2, 100, 127, 128, 16_384]);
            (0..len).map(|_| random.below(256) as u8).collect()
        };
        let datas = (0..20).map(|_| data(&mut random)).collect();
        Self { random, texts, datas }
    }

    fn flag(&mut self) -> bool {
        self.random.below(2) == 1
    }

    fn number(&mut self) -> u32 {
        let bits = self.random.below(33) as u32;
        let below = self.random.below(1 << 31) as u64 * 2 + self.random.below(2) as u64;
        (below & ((1 << bits) - 1)) as u32
    }

    fn id(&mut self) -> PacketId {
        id((self.number() as u16).max(1))
    }

    fn qos(&mut self) -> QoS {
        self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
    }

    fn text(&mut self) -> usize {
        self.random.below(self.texts.len())
    }

    /// One that can be a topic and a filter.
    fn topic(&mut self) -> usize {
        loop {
            let at = self.text();
            if !self.texts[at].is_empty() {
                return at;
            }
        }
    }

    fn data(&mut self) -> usize {
        self.random.below(self.datas.len())
    }

    fn reason(&mut self, kind: PacketType) -> ReasonCode {
        let listed = REASONS.iter().find(|(first, ..)| *first == kind.first_byte()).unwrap().2;
        ReasonCode(self.random.pick(&bytes(listed)))
    }

    /// Some of the properties that a place allows, with any values; none in 3.1.1.
    fn block(&mut self, version: Version, place: char) -> PropertiesBuf {
        let mut block = PropertiesBuf::default();
        for (_, property, example, places) in PROPERTIES {
            if version == V311 || !places.contains(place) || self.random.below(3) > 0 {
                continue;
            }
            let repeats = match (property, place) {
                (Property::UserProperty, _) | (Property::SubscriptionIdentifier, 'P') => {
                    1 + self.random.below(3)
                }
                _ => 1,
            };
            for _ in 0..repeats {
                let number = self.number();
                let (text, other, data) = (self.topic(), self.text(), self.data());
                let value = match example {
                    Byte(_) => Byte(number as u8 & 1),
                    Two(_) => Two((number as u16).max(1)),
                    Four(_) => Four(number.max(1)),
                    Varint(_) => Varint((number >> 4).max(1)),
                    Text(_) => Text(&self.texts[text]),
                    Binary(_) => Binary(&self.datas[data]),
                    Pair(..) => Pair(&self.texts[text], &self.texts[other]),
                };
                block.push(*property, value);
            }
        }
        if block.borrow().get(Property::AuthenticationMethod).is_none() {
            block.remove(Property::AuthenticationData);
        }
        block
    }
}

#[track_caller]
fn there_and_back(version: Version, packet: Packet) {
    let encoded = encode(version, &packet);
    assert_eq!(decode(version, &encoded), Ok(packet));
}

#[test]
fn random_values_of_every_packet() {
    for seed in 1..=1_000 {
        let mut values = Values::new(seed);
        for version in [V311, V5] {
            connect(version, &mut values);
            publish(version, &mut values);
            acknowledgements(version, &mut values);
            subscribe(version, &mut values);
            rest(version, &mut values);
        }
    }
}

fn connect(version: Version, values: &mut Values) {
    let (block, of_will) = (values.block(version, 'C'), values.block(version, 'w'));
    let (id, topic, user) = (values.text(), values.topic(), values.text());
    let (payload, password) = (values.data(), values.data());
    let [has_will, has_user, has_password, retain, clean_start] = [(); 5].map(|()| values.flag());
    let (qos, keep_alive) = (values.qos(), values.number() as u16);
    let will = Will {
        topic: &values.texts[topic],
        payload: &values.datas[payload],
        qos,
        retain,
        properties: of_will.borrow(),
    };
    let connect = Connect {
        clean_start,
        keep_alive,
        client_id: &values.texts[id],
        will: has_will.then_some(will),
        username: has_user.then_some(&values.texts[user]),
        password: (has_password && (has_user || version == V5)).then_some(&values.datas[password]),
        properties: block.borrow(),
    };
    there_and_back(version, Packet::Connect(connect));
}

fn publish(version: Version, values: &mut Values) {
    let block = values.block(version, 'P');
    let (qos, dup, retain, id) = (values.qos(), values.flag(), values.flag(), values.id());
    let (topic, payload) = (values.topic(), values.data());
    let publish = Publish {
        dup: dup && qos > QoS::AtMostOnce,
        qos,
        retain,
        topic: values.texts[topic].as_bytes(),
        id: (qos > QoS::AtMostOnce).then_some(id),
        properties: block.borrow(),
        payload: &values.datas[payload],
    };
    there_and_back(version, Packet::Publish(publish));
    // The topic stays out where an alias names it.
    if publish.properties.get(Property::TopicAlias).is_some() {
        there_and_back(version, Packet::Publish(Publish { topic: b"", ..publish }));
    }
}

fn acknowledgements(version: Version, values: &mut Values) {
    for (kind, packet) in ACKS {
        let (id, block) = (values.id(), values.block(version, 'A'));
        let reason = if version == V5 { values.reason(kind) } else { ReasonCode::SUCCESS };
        there_and_back(version, packet(Ack { id, reason, properties: block.borrow() }));
    }
}

fn subscribe(version: Version, values: &mut Values) {
    let (id, block) = (values.id(), values.block(version, 'S'));
    let mut asked = Vec::new();
    for _ in 0..=values.random.below(5) {
        let v5 = version == V5;
        let options = SubscribeOptions {
            qos: values.qos(),
            no_local: v5 && values.flag(),
            retain_as_published: v5 && values.flag(),
            retain_handling: if v5 { values.random.below(3) as u8 } else { 0 },
        };
        asked.push((values.topic(), options));
    }
    let filters = || asked.iter().map(|(text, options)| (&*values.texts[*text], *options));
    let mut out = Vec::new();
    encode_subscribe(version, id, block.borrow(), filters(), &mut out);
    let Ok(Packet::Subscribe(subscribe)) = decode(version, &out) else { panic!("{out:02x?}") };
    assert_eq!((subscribe.id, subscribe.properties), (id, block.borrow()));
    assert!(subscribe.filters.eq(filters()));

    let block = values.block(version, 'U');
    let names = || asked.iter().map(|(text, _)| &*values.texts[*text]);
    out.clear();
    encode_unsubscribe(version, id, block.borrow(), names(), &mut out);
    let Ok(Packet::Unsubscribe(unsubscribe)) = decode(version, &out) else { panic!("{out:02x?}") };
    assert_eq!((unsubscribe.id, unsubscribe.properties), (id, block.borrow()));
    assert!(unsubscribe.filters.eq(names()));

    for (kind, place) in [(PacketType::SubAck, 's'), (PacketType::UnsubAck, 'u')] {
        let block = values.block(version, place);
        let codes: Vec<u8> = match (version, place) {
            (V311, 'u') => vec![],
            (V311, _) => asked.iter().map(|_| values.random.pick(&[0, 1, 2, 0x80])).collect(),
            _ => asked.iter().map(|_| values.reason(kind).0).collect(),
        };
        let ack = SubAck { id, codes: &codes, properties: block.borrow() };
        there_and_back(
            version,
            if place == 's' { Packet::SubAck(ack) } else { Packet::UnsubAck(ack) },
        );
    }
}

fn rest(version: Version, values: &mut Values) {
    let (block, session_present) = (values.block(version, 'c'), values.flag());
    let reason = match version {
        V311 => ReasonCode::from_return_code(values.random.below(6) as u8).unwrap(),
        V5 => values.reason(PacketType::ConnAck),
    };
    there_and_back(
        version,
        Packet::ConnAck(ConnAck {
            session_present: session_present && reason == ReasonCode::SUCCESS,
            reason,
            properties: block.borrow(),
        }),
    );
    there_and_back(version, Packet::PingReq);
    there_and_back(version, Packet::PingResp);
    let block = values.block(version, 'D');
    let reason =
        if version == V5 { values.reason(PacketType::Disconnect) } else { ReasonCode::SUCCESS };
    there_and_back(version, Packet::Disconnect(Disconnect { reason, properties: block.borrow() }));
    if version == V5 {
        let block = values.block(version, 'X');
        let reason = values.reason(PacketType::Auth);
        there_and_back(version, Packet::Auth(Auth { reason, properties: block.borrow() }));
    }
}
