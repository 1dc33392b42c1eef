//! Each packet as annotated bytes, in both versions.

use wasmqtt::codec::Value::{Binary, Byte, Four, Pair, Text, Two, Varint};

use crate::*;

pub const CONNECT_4: &str = "
    10 0E               ; CONNECT, 14 bytes
    00 04 'MQTT' 04     ; protocol name and level
    02                  ; clean session
    00 3C               ; keep alive 60 s
    00 02 'id'          ; client id
";

const CONNECT_4_FULL: &str = "
    10 20
    00 04 'MQTT' 04
    F4                  ; user name, password, will retain, will QoS 2, will, no clean session
    FF FF               ; keep alive 65535 s
    00 02 'id'          ; client id
    00 03 'a/b'         ; will topic
    00 03 00 FF 7F      ; will payload
    00 02 'me'          ; user name
    00 02 00 FF         ; password
";

const CONNECT_5: &str = "
    10 0D
    00 04 'MQTT' 05
    00                  ; no clean start
    00 00               ; no keep alive
    00                  ; no properties
    00 00               ; the server shall assign the client id
";

const CONNECT_5_FULL: &str = "
    10 42
    00 04 'MQTT' 05
    CE                  ; user name, password, will QoS 1, will, clean start
    00 0A               ; keep alive 10 s
    13                  ; properties, 19 bytes
      11 00 00 00 0A    ; session expiry interval 10 s
      21 00 14          ; receive maximum 20
      26 00 01 'k' 00 05 'value'
    00 02 'id'          ; client id
    0A                  ; will properties, 10 bytes
      18 00 00 00 05    ; will delay 5 s
      02 00 00 00 3C    ; message expiry 60 s
    00 03 'a/b'         ; will topic
    00 00               ; empty will payload
    00 00               ; empty user name
    00 0A 'passphrase'  ; password
";

const CONNECT_5_PASSWORD: &str = "
    10 10
    00 04 'MQTT' 05
    42                  ; password, clean start
    00 00  00  00 00
    00 01 FF            ; a password without a user name is new in 5.0
";

#[test]
fn connect() {
    let plain = Connect {
        clean_start: true,
        keep_alive: 60,
        client_id: "id",
        will: None,
        username: None,
        password: None,
        properties: NONE,
    };
    same(V311, CONNECT_4, Packet::Connect(plain));
    let will = Will {
        topic: "a/b",
        payload: &[0, 0xFF, 0x7F],
        qos: QoS::ExactlyOnce,
        retain: true,
        properties: NONE,
    };
    let full = Connect {
        clean_start: false,
        keep_alive: 65535,
        will: Some(will),
        username: Some("me"),
        password: Some(&[0, 0xFF]),
        ..plain
    };
    same(V311, CONNECT_4_FULL, Packet::Connect(full));

    let bare = Connect { clean_start: false, keep_alive: 0, client_id: "", ..plain };
    same(V5, CONNECT_5, Packet::Connect(bare));
    let properties = block(&[
        (Property::SessionExpiryInterval, Four(10)),
        (Property::ReceiveMaximum, Two(20)),
        (Property::UserProperty, Pair("k", "value")),
    ]);
    let of_will = block(&[
        (Property::WillDelayInterval, Four(5)),
        (Property::MessageExpiryInterval, Four(60)),
    ]);
    let will = Will {
        payload: &[],
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: of_will.borrow(),
        ..will
    };
    let full = Connect {
        keep_alive: 10,
        will: Some(will),
        username: Some(""),
        password: Some(b"passphrase"),
        properties: properties.borrow(),
        ..plain
    };
    same(V5, CONNECT_5_FULL, Packet::Connect(full));
    let secret = Connect { clean_start: true, password: Some(&[0xFF]), ..bare };
    same(V5, CONNECT_5_PASSWORD, Packet::Connect(secret));
}

/// Shows [MQTT5-3.1.2-11] [MQTT5-3.1.2-12] [MQTT5-3.1.2-13] [MQTT3-3.1.2-13] [MQTT3-3.1.2-14] [MQTT3-3.1.2-15]
/// Shows [MQTT3-3.1.2-22]
#[test]
fn connect_rules() {
    let connect = |version: u8, flags: u8, rest: &str| {
        let properties: &[u8] = if version == 5 { &[0] } else { &[] };
        let head = [b"\0\x04MQTT", &[version, flags, 0, 0][..], properties].concat();
        framed(0x10, &[head, bytes(rest)].concat())
    };
    for (version, level) in [(V311, 4), (V5, 5)] {
        refused(version, &connect(level, 0x01, "00 00"), MALFORMED); // reserved flag
        refused(version, &connect(level, 0x08, "00 00"), MALFORMED); // will QoS without a will
        refused(version, &connect(level, 0x20, "00 00"), MALFORMED); // will retain without a will
        refused(version, &connect(level, 0x02, "00 00 00"), MALFORMED); // left over
        refused(version, &connect(level, 0x80, "00 00"), MALFORMED); // user name announced, not there
        refused(version, &connect(level, 0xC0, "00 00 00 00"), MALFORMED); // nor the password
        let properties = if level == 5 { "00" } else { "" };
        let will = |topic: &str| format!("00 00 {properties} {topic} 00 00");
        assert!(decode(version, &connect(level, 0x14, &will("00 01 'a'"))).is_ok());
        refused(version, &connect(level, 0x1C, &will("00 01 'a'")), MALFORMED); // will QoS 3
        refused(version, &connect(level, 0x04, &will("00 01 '#'")), MALFORMED);
        refused(version, &connect(level, 0x04, &will("00 00")), MALFORMED); // will without a topic
    }
    refused(V311, &connect(4, 0x40, "00 00 00 00"), MALFORMED); // password without user name
    let other = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
    refused(V5, &bytes(CONNECT_4), other);
    refused(V311, &bytes(CONNECT_5), other);
    refused(V311, &bytes("10 0C 00 04 'MQTt' 04 02 00 00 00 00"), other);
    refused(V311, &bytes("10 0E 00 06 'MQIsdp' 03 02 00 00 00 00"), other);
}

const CONNACK_4: &str = "20 02  01 00  ; session present, accepted";

const CONNACK_5: &str = "20 03  00 00 00  ; success without properties";

const CONNACK_5_FULL: &str = "
    20 1D
    00 86               ; bad user name or password
    1A                  ; properties, 26 bytes
      1F 00 02 'no'     ; reason string
      24 01             ; maximum QoS 1
      22 00 0A          ; topic alias maximum
      12 00 03 'cid'    ; assigned client identifier
      27 00 01 00 00    ; maximum packet size 65536
      13 00 1E          ; server keep alive 30 s
      28 00             ; no wildcards
";

#[test]
fn connack() {
    let fine = ConnAck { session_present: true, reason: ReasonCode::SUCCESS, properties: NONE };
    same(V311, CONNACK_4, Packet::ConnAck(fine));
    same(V5, CONNACK_5, Packet::ConnAck(ConnAck { session_present: false, ..fine }));
    let properties = block(&[
        (Property::ReasonString, Text("no")),
        (Property::MaximumQos, Byte(1)),
        (Property::TopicAliasMaximum, Two(10)),
        (Property::AssignedClientIdentifier, Text("cid")),
        (Property::MaximumPacketSize, Four(65536)),
        (Property::ServerKeepAlive, Two(30)),
        (Property::WildcardSubscriptionAvailable, Byte(0)),
    ]);
    let refusal = ConnAck {
        session_present: false,
        reason: ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        properties: properties.borrow(),
    };
    same(V5, CONNACK_5_FULL, Packet::ConnAck(refusal));
}

#[test]
fn connack_return_codes_of_3_1_1() {
    let meanings = [
        ReasonCode::SUCCESS,
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
        ReasonCode::SERVER_UNAVAILABLE,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD,
        ReasonCode::NOT_AUTHORIZED,
    ];
    for code in 0..=255 {
        let packet = [0x20, 2, 0, code];
        match meanings.get(usize::from(code)) {
            None => refused(V311, &packet, PROTOCOL),
            Some(&reason) => {
                let refusal = ConnAck { session_present: false, reason, properties: NONE };
                assert_eq!(decode(V311, &packet), Ok(Packet::ConnAck(refusal)));
                assert_eq!(encode(V311, &Packet::ConnAck(refusal)), packet);
            }
        }
    }
    let reason = ReasonCode::QUOTA_EXCEEDED; // has no word in 3.1.1
    let refusal = Packet::ConnAck(ConnAck { session_present: false, reason, properties: NONE });
    assert_eq!(encode(V311, &refusal), bytes("20 02 00 03"));
}

/// Shows [MQTT5-3.2.2-1] [MQTT5-3.2.2-6] [MQTT3-3.2.2-4]
#[test]
fn connack_rules() {
    for version in [V311, V5] {
        refused(version, &bytes("20 00"), MALFORMED);
        refused(version, &bytes("20 01 00"), MALFORMED);
        refused(version, &bytes("20 03 02 00 00"), MALFORMED); // reserved flags
        refused(version, &bytes("20 03 80 00 00"), MALFORMED);
    }
    refused(V311, &bytes("20 03 00 00 00"), MALFORMED);
    refused(V311, &bytes("20 02 01 05"), PROTOCOL); // session present in a refusal
    refused(V5, &bytes("20 03 01 87 00"), PROTOCOL);
    refused(V5, &bytes("20 02 00 00"), MALFORMED); // no property length
    refused(V5, &bytes("20 04 00 00 00 00"), MALFORMED);
    refused(V5, &bytes("20 06 00 00 80 FF FF 0A"), MALFORMED); // properties past the end

    // A server that knows only 3.1.1 refuses a CONNECT of version 5 in its own form.
    for code in 1..=5 {
        let reason = ReasonCode::from_return_code(code).unwrap();
        let refusal = Packet::ConnAck(ConnAck { session_present: false, reason, properties: NONE });
        assert_eq!(decode(V5, &[0x20, 2, 0, code]), Ok(refusal));
        refused(V5, &[0x20, 2, 1, code], PROTOCOL);
    }
    refused(V5, &bytes("20 02 00 80"), MALFORMED);
}

const PUBLISH_0: &str = "
    30 07               ; PUBLISH, QoS 0
    00 03 'a/b'         ; topic
    'hi'                ; payload
";

const PUBLISH_1: &str = "
    3B 07               ; DUP, QoS 1, RETAIN
    00 01 't'
    12 34               ; packet id
    00 FF               ; payload
";

const PUBLISH_5_0: &str = "
    31 05               ; QoS 0, RETAIN
    00 01 't'
    00                  ; no properties
    'x'
";

const PUBLISH_5_2: &str = "
    34 32               ; QoS 2
    00 01 't'
    FF FF               ; packet id
    2B                  ; properties, 43 bytes
      01 01             ; payload is text
      02 00 00 00 01    ; expires in 1 s
      23 00 07          ; topic alias
      08 00 03 'r/1'    ; response topic
      09 00 02 00 FF    ; correlation data
      26 00 01 'k' 00 01 'v'
      26 00 01 'k' 00 00
      0B 01             ; subscription identifiers
      0B 80 01
      03 00 01 'j'      ; content type
    'x'
";

const PUBLISH_5_ALIAS: &str = "
    30 06
    00 00               ; the topic is behind the alias
    03  23 00 01        ; topic alias
";

#[test]
fn publish() {
    let hello = Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: b"a/b",
        id: None,
        properties: NONE,
        payload: b"hi",
    };
    same(V311, PUBLISH_0, Packet::Publish(hello));
    let again = Publish {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: b"t",
        id: Some(id(0x1234)),
        properties: NONE,
        payload: &[0, 0xFF],
    };
    same(V311, PUBLISH_1, Packet::Publish(again));
    let retained = Publish { retain: true, topic: b"t", payload: b"x", ..hello };
    same(V5, PUBLISH_5_0, Packet::Publish(retained));
    let properties = block(&[
        (Property::PayloadFormatIndicator, Byte(1)),
        (Property::MessageExpiryInterval, Four(1)),
        (Property::TopicAlias, Two(7)),
        (Property::ResponseTopic, Text("r/1")),
        (Property::CorrelationData, Binary(&[0, 0xFF])),
        (Property::UserProperty, Pair("k", "v")),
        (Property::UserProperty, Pair("k", "")),
        (Property::SubscriptionIdentifier, Varint(1)),
        (Property::SubscriptionIdentifier, Varint(128)),
        (Property::ContentType, Text("j")),
    ]);
    let full = Publish {
        qos: QoS::ExactlyOnce,
        retain: false,
        id: Some(id(65535)),
        properties: properties.borrow(),
        ..retained
    };
    same(V5, PUBLISH_5_2, Packet::Publish(full));
    let alias = block(&[(Property::TopicAlias, Two(1))]);
    let short = Publish { topic: b"", properties: alias.borrow(), payload: b"", ..hello };
    same(V5, PUBLISH_5_ALIAS, Packet::Publish(short));
}

#[test]
fn publish_rules() {
    for version in [V311, V5] {
        let p: &[u8] = if version == V5 { &[0] } else { &[] };
        let publish = |first: u8, head: &str| framed(first, &[&bytes(head), p].concat());
        refused(version, &bytes("30 00"), MALFORMED);
        refused(version, &bytes("30 01 00"), MALFORMED);
        refused(version, &bytes("30 0A 00 FF 'aaaaaaaa'"), MALFORMED); // topic past the end
        for first in [0x36, 0x37, 0x3E, 0x3F] {
            refused(version, &publish(first, "00 01 'a' 00 01"), MALFORMED); // QoS 3
        }
        refused(version, &publish(0x38, "00 01 'a'"), MALFORMED); // DUP at QoS 0
        for first in [0x32, 0x34] {
            refused(version, &framed(first, &bytes("00 01 'a'")), MALFORMED); // no id
            refused(version, &framed(first, &bytes("00 01 'a' 01")), MALFORMED); // half an id
            refused(version, &publish(first, "00 01 'a' 00 00"), PROTOCOL); // id 0
        }
        refused(version, &publish(0x30, "00 00"), PROTOCOL); // neither topic nor alias
        for topic in ["'a/#'", "'+'", "'a+'", "'#'", "00", "ED A0 80", "C0 80", "FF"] {
            let topic = field(&bytes(topic));
            refused(version, &framed(0x30, &[&topic[..], p].concat()), MALFORMED);
        }
    }
    refused(V5, &bytes("30 03 00 01 'a'"), MALFORMED); // no property length
    refused(V5, &bytes("30 04 00 01 'a' 01"), MALFORMED); // properties past the end
    refused(V5, &bytes("30 05 00 01 'a' 80 00"), MALFORMED); // length of two bytes that fits one
    refused(V5, &bytes("30 07 00 01 'a' 03 23 00 00"), ReasonCode::TOPIC_ALIAS_INVALID);
    refused(V5, &bytes("30 0A 00 01 'a' 06 23 00 01 23 00 01"), PROTOCOL);
}

#[test]
fn publish_header_without_the_payload() {
    let packet = bytes(PUBLISH_5_2);
    let (first, body) = cut(V5, &packet).unwrap();
    let payload_start = body.len() - 1;
    let properties_start = 6;
    let whole = Publish::decode_header(V5, first, body, body.len()).unwrap();
    assert_eq!(
        whole.1,
        PublishHints {
            properties_start,
            payload_start,
            topic_alias: Some(7),
            only_for_routing: false,
            subscription_ids: 2
        }
    );
    assert_eq!(&body[properties_start..payload_start], whole.0.properties.as_bytes());
    // The rest of the payload need not be there, and more may follow the packet.
    let cut = Publish::decode_header(V5, first, &body[..payload_start], body.len()).unwrap();
    assert_eq!(cut, (Publish { payload: b"", ..whole.0 }, whole.1));
    let more = [body, &[0xD0, 0]].concat();
    assert_eq!(Publish::decode_header(V5, first, &more, body.len()), Ok(whole));

    let hints = |head: &str| {
        let body = bytes(head);
        Publish::decode_header(V5, 0x30, &body, body.len()).unwrap().1
    };
    let routed = hints("00 01 'a' 05  0B 01  23 00 02");
    assert_eq!((routed.only_for_routing, routed.subscription_ids), (true, 1));
    assert_eq!(routed.topic_alias, Some(2));
    assert!(hints("00 01 'a' 00").only_for_routing);
    assert!(!hints("00 01 'a' 02 01 01").only_for_routing);
}

#[test]
fn publish_header_with_an_alias() {
    let properties = block(&[(Property::PayloadFormatIndicator, Byte(1))]);
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: b"a/b",
        id: Some(id(9)),
        properties: properties.borrow(),
        payload: &[],
    };
    let mut out = Vec::new();
    publish.encode_header(V5, Some(0x0102), 300, &mut out);
    let expected = "
        32 B9 02        ; 313 bytes: 13 and the payload
        00 03 'a/b'
        00 09
        05  01 01  23 01 02
    ";
    assert_eq!(out, bytes(expected));
    assert_eq!(publish.size(V5, Some(0x0102), 300), out.len() + 300);

    // The size is right wherever a length grows a byte.
    let long = vec![b'x'; 16400];
    for topic in [1, 2, 100, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 16378, 16400] {
        for (version, alias) in [(V311, None), (V5, None), (V5, Some(1))] {
            for payload_len in [0, 1, 127, 16253, 2_097_000, 2_097_151] {
                let publish = Publish { topic: &long[..topic], ..publish };
                out.clear();
                publish.encode_header(version, alias, payload_len, &mut out);
                assert_eq!(publish.size(version, alias, payload_len), out.len() + payload_len);
            }
        }
    }
}

type Kind = fn(Ack) -> Packet;

/// Type and packet of each.
pub const ACKS: [(PacketType, Kind); 4] = [
    (PacketType::PubAck, |ack| Packet::PubAck(ack)),
    (PacketType::PubRec, |ack| Packet::PubRec(ack)),
    (PacketType::PubRel, |ack| Packet::PubRel(ack)),
    (PacketType::PubComp, |ack| Packet::PubComp(ack)),
];

#[test]
fn acknowledgements() {
    assert_eq!(ACKS.map(|(kind, _)| kind.first_byte()), [0x40, 0x50, 0x62, 0x70]);
    for (kind, packet) in ACKS {
        let first = kind.first_byte();
        for (number, hex) in [(1, "00 01"), (255, "00 FF"), (256, "01 00"), (65535, "FF FF")] {
            let ack = Ack { id: id(number), reason: ReasonCode::SUCCESS, properties: NONE };
            for version in [V311, V5] {
                same(version, &format!("{first:02x} 02 {hex}"), packet(ack));
                refused(version, &framed(first, &[]), MALFORMED);
                refused(version, &framed(first, &[1]), MALFORMED);
                refused(version, &framed(first, &[0, 0]), PROTOCOL); // id 0
            }
            refused(V311, &framed(first, &[0, 1, 0]), MALFORMED);
        }
        let failed = match kind {
            PacketType::PubAck | PacketType::PubRec => ReasonCode::QUOTA_EXCEEDED,
            _ => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        };
        let code = failed.0;
        let ack = Ack { id: id(7), reason: failed, properties: NONE };
        same(V5, &format!("{first:02x} 03 00 07 {code:02x}"), packet(ack));
        let properties = block(&[(Property::ReasonString, Text("why"))]);
        let told = Ack { properties: properties.borrow(), ..ack };
        let text = format!("{first:02x} 0A 00 07 {code:02x} 06 1F 00 03 'why'");
        same(V5, &text, packet(told));
        let told = Ack { reason: ReasonCode::SUCCESS, ..told };
        same(V5, &format!("{first:02x} 0A 00 07 00 06 1F 00 03 'why'"), packet(told));

        // Longer than need be, and still well formed.
        let fine = Ack { id: id(7), reason: ReasonCode::SUCCESS, properties: NONE };
        assert_eq!(decode(V5, &framed(first, &[0, 7, 0])), Ok(packet(fine)));
        assert_eq!(decode(V5, &framed(first, &[0, 7, 0, 0])), Ok(packet(fine)));
        refused(V5, &framed(first, &[0, 7, 0, 0, 0]), MALFORMED);
        // 3.1.1 has no reasons to tell.
        assert_eq!(encode(V311, &packet(told)), [first, 2, 0, 7]);

        let mut out = Vec::new();
        encode_ack(kind, id(7), failed, V5, &mut out);
        encode_ack(kind, id(7), failed, V311, &mut out);
        encode_ack(kind, id(7), ReasonCode::SUCCESS, V5, &mut out);
        assert_eq!(out, [first, 3, 0, 7, code, first, 2, 0, 7, first, 2, 0, 7]);
    }
}

const SUBSCRIBE_4: &str = "
    82 0C
    00 0A               ; packet id
    00 03 'a/+' 01      ; QoS 1
    00 01 '#' 00 ; QoS 0
";

const SUBSCRIBE_5: &str = "
    82 18
    00 0A
    02  0B 05           ; subscription identifier 5
    00 03 'a/+' 2E      ; QoS 2, no local, retain as published, no retained messages
    00 0A '$share/g/a' 11 ; QoS 1, retained messages if it is new
";

#[test]
fn subscribe() {
    let qos = |qos| SubscribeOptions {
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
    };
    let all = SubscribeOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: 2,
    };
    let new = SubscribeOptions { retain_handling: 1, ..qos(QoS::AtLeastOnce) };
    let identifier = block(&[(Property::SubscriptionIdentifier, Varint(5))]);
    let cases: [(_, _, _, &[_]); 2] = [
        (V311, SUBSCRIBE_4, NONE, &[("a/+", qos(QoS::AtLeastOnce)), ("#", qos(QoS::AtMostOnce))]),
        (V5, SUBSCRIBE_5, identifier.borrow(), &[("a/+", all), ("$share/g/a", new)]),
    ];
    for (version, text, properties, filters) in cases {
        let mut out = Vec::new();
        encode_subscribe(version, id(10), properties, filters.iter().copied(), &mut out);
        assert_eq!(out, bytes(text));
        let packet = decode(version, &out).unwrap();
        assert_eq!(encode(version, &packet), out);
        let Packet::Subscribe(subscribe) = packet else { panic!() };
        assert_eq!((subscribe.id, subscribe.properties), (id(10), properties));
        assert_eq!(subscribe.filters.collect::<Vec<_>>(), filters);
    }
    // Only the QoS is left in 3.1.1.
    let mut out = Vec::new();
    encode_subscribe(V311, id(1), NONE, [("a", all)].into_iter(), &mut out);
    assert_eq!(out, bytes("82 06 00 01 00 01 'a' 02"));
}

/// Shows [MQTT5-3.8.3-2] [MQTT5-3.8.3-4] [MQTT3-3.8.3-3]
#[test]
fn subscribe_rules() {
    for (version, p) in [(V311, ""), (V5, "00")] {
        let subscribe = |rest: &str| framed(0x82, &bytes(&format!("00 01 {p} {rest}")));
        refused(version, &subscribe(""), PROTOCOL); // no filter
        refused(version, &subscribe("00 01 'a'"), MALFORMED); // no options
        refused(version, &subscribe("00 01 'a' 03"), PROTOCOL); // QoS 3
        refused(version, &subscribe("00 01 'a' 40"), MALFORMED); // reserved
        refused(version, &subscribe("00 01 'a' 80"), MALFORMED);
        refused(version, &subscribe("00 00 00"), MALFORMED); // empty filter
        refused(version, &subscribe("00 02 'a#' 00"), MALFORMED);
        refused(version, &subscribe("00 08 '$share/g' 00"), MALFORMED);
        refused(version, &framed(0x82, &bytes(&format!("00 00 {p} 00 01 'a' 00"))), PROTOCOL);
    }
    for bits in 0..=255 {
        let packet = [&bytes("82 06 00 01 00 01 'a'")[..], &[bits]].concat();
        assert_eq!(decode(V311, &packet).is_ok(), bits < 3, "{bits:02x}");
        let packet = [&bytes("82 07 00 01 00 00 01 'a'")[..], &[bits]].concat();
        let valid = bits & 3 < 3 && bits >> 4 & 3 < 3 && bits < 0x40;
        assert_eq!(decode(V5, &packet).is_ok(), valid, "{bits:02x}");
    }
    refused(V5, &bytes("82 07 00 01 00 00 01 'a' 30"), PROTOCOL); // retain handling 3
    refused(V5, &bytes("82 10 00 01 00 00 0A '$share/g/a' 04"), PROTOCOL); // no local, shared
}

const UNSUBSCRIBE_4: &str = "A2 0A  00 0B  00 03 'a/b' 00 01 '#'";
const UNSUBSCRIBE_5: &str = "A2 0D  00 0B  07 26 00 01 'k' 00 01 'v'  00 01 '+'";

/// Shows [MQTT5-3.10.1-1] [MQTT5-3.10.3-2] [MQTT3-3.10.1-1] [MQTT3-3.10.3-2]
#[test]
fn unsubscribe() {
    let user = block(&[(Property::UserProperty, Pair("k", "v"))]);
    let cases: [(_, _, _, &[_]); 2] =
        [(V311, UNSUBSCRIBE_4, NONE, &["a/b", "#"]), (V5, UNSUBSCRIBE_5, user.borrow(), &["+"])];
    for (version, text, properties, filters) in cases {
        let mut out = Vec::new();
        encode_unsubscribe(version, id(11), properties, filters.iter().copied(), &mut out);
        assert_eq!(out, bytes(text));
        let packet = decode(version, &out).unwrap();
        assert_eq!(encode(version, &packet), out);
        let Packet::Unsubscribe(unsubscribe) = packet else { panic!() };
        assert_eq!((unsubscribe.id, unsubscribe.properties), (id(11), properties));
        assert_eq!(unsubscribe.filters.collect::<Vec<_>>(), filters);
    }
    refused(V311, &bytes("A2 02 00 01"), PROTOCOL); // no filter
    refused(V5, &bytes("A2 03 00 01 00"), PROTOCOL);
    refused(V311, &bytes("A2 05 00 00 00 01 'a'"), PROTOCOL);
    refused(V311, &bytes("A2 06 00 01 00 02 'a#'"), MALFORMED);
    refused(V311, &bytes("A2 06 00 01 00 01 'a' 00"), MALFORMED);
}

const SUBACK_4: &str = "90 06  00 0A  00 01 02 80  ; granted QoS 0, 1, 2; refused";
const SUBACK_5: &str = "90 0A  00 0A  04 1F 00 01 'r'  01 87 8F";
const UNSUBACK_4: &str = "B0 02  00 0B";
const UNSUBACK_5: &str = "B0 05  00 0B  00  00 11";

#[test]
fn suback_and_unsuback() {
    let suback = SubAck { id: id(10), codes: &[0, 1, 2, 0x80], properties: NONE };
    same(V311, SUBACK_4, Packet::SubAck(suback));
    let properties = block(&[(Property::ReasonString, Text("r"))]);
    let suback = SubAck { codes: &[1, 0x87, 0x8F], properties: properties.borrow(), ..suback };
    same(V5, SUBACK_5, Packet::SubAck(suback));
    let unsuback = SubAck { id: id(11), codes: &[], properties: NONE };
    same(V311, UNSUBACK_4, Packet::UnsubAck(unsuback));
    same(V5, UNSUBACK_5, Packet::UnsubAck(SubAck { codes: &[0, 0x11], ..unsuback }));

    refused(V311, &bytes("90 02 00 01"), PROTOCOL); // no code
    refused(V5, &bytes("90 03 00 01 00"), PROTOCOL);
    refused(V5, &bytes("B0 03 00 01 00"), PROTOCOL);
    refused(V5, &bytes("B0 02 00 01"), MALFORMED); // no property length
    refused(V311, &bytes("B0 03 00 01 00"), MALFORMED); // codes are new in 5.0
    refused(V311, &bytes("90 03 00 00 00"), PROTOCOL); // id 0
    refused(V5, &bytes("B0 04 00 00 00 00"), PROTOCOL);
    refused(V5, &bytes("90 04 00 01 01 00"), MALFORMED); // properties end in the middle
}

#[test]
fn ping() {
    for version in [V311, V5] {
        same(version, "C0 00", Packet::PingReq);
        same(version, "D0 00", Packet::PingResp);
        refused(version, &bytes("C0 01 00"), MALFORMED);
        refused(version, &bytes("D0 01 00"), MALFORMED);
    }
}

const DISCONNECT: &str = "E0 00";
pub const DISCONNECT_5_REASON: &str = "E0 01 04  ; with the will";
const DISCONNECT_5_FULL: &str = "E0 07  9C  05 1C 00 02 'b2'  ; use another server";

#[test]
fn disconnect() {
    let normal = Disconnect { reason: ReasonCode::SUCCESS, properties: NONE };
    same(V311, DISCONNECT, Packet::Disconnect(normal));
    same(V5, DISCONNECT, Packet::Disconnect(normal));
    let with_will = Disconnect { reason: ReasonCode::DISCONNECT_WITH_WILL_MESSAGE, ..normal };
    same(V5, DISCONNECT_5_REASON, Packet::Disconnect(with_will));
    assert_eq!(encode(V311, &Packet::Disconnect(with_will)), bytes(DISCONNECT));
    let properties = block(&[(Property::ServerReference, Text("b2"))]);
    let moved =
        Disconnect { reason: ReasonCode::USE_ANOTHER_SERVER, properties: properties.borrow() };
    same(V5, DISCONNECT_5_FULL, Packet::Disconnect(moved));
    let told = Disconnect { reason: ReasonCode::SUCCESS, ..moved };
    same(V5, "E0 07  00  05 1C 00 02 'b2'", Packet::Disconnect(told));

    assert_eq!(decode(V5, &bytes("E0 01 00")), Ok(Packet::Disconnect(normal)));
    assert_eq!(decode(V5, &bytes("E0 02 00 00")), Ok(Packet::Disconnect(normal)));
    refused(V311, &bytes("E0 01 00"), MALFORMED);
    refused(V5, &bytes("E0 03 00 00 00"), MALFORMED);
    refused(V5, &bytes("E0 06 00 80 FF FF FF 7F"), MALFORMED);
}

const AUTH: &str = "F0 00";
const AUTH_FULL: &str = "F0 0A  18  08  15 00 01 'm'  16 00 01 FF";

#[test]
fn auth() {
    let done = Auth { reason: ReasonCode::SUCCESS, properties: NONE };
    same(V5, AUTH, Packet::Auth(done));
    let properties = block(&[
        (Property::AuthenticationMethod, Text("m")),
        (Property::AuthenticationData, Binary(&[0xFF])),
    ]);
    let challenge =
        Auth { reason: ReasonCode::CONTINUE_AUTHENTICATION, properties: properties.borrow() };
    same(V5, AUTH_FULL, Packet::Auth(challenge));
    refused(V5, &bytes("F0 01 18"), MALFORMED); // no property length
    refused(V5, &bytes("F0 06 18 04 16 00 01 FF"), PROTOCOL); // data without a method
    refused(V311, &bytes("F0 00"), PROTOCOL);
}

/// Every story, for the sweeps below.
const STORIES: &[(Version, &str)] = &[
    (V311, CONNECT_4),
    (V311, CONNECT_4_FULL),
    (V5, CONNECT_5),
    (V5, CONNECT_5_FULL),
    (V5, CONNECT_5_PASSWORD),
    (V311, CONNACK_4),
    (V5, CONNACK_5),
    (V5, CONNACK_5_FULL),
    (V311, PUBLISH_0),
    (V311, PUBLISH_1),
    (V5, PUBLISH_5_0),
    (V5, PUBLISH_5_2),
    (V5, PUBLISH_5_ALIAS),
    (V311, "40 02 00 01"),
    (V5, "40 03 00 01 10"),
    (V5, "50 0A 00 07 87 06 1F 00 03 'why'"),
    (V311, "62 02 00 01"),
    (V5, "62 03 00 01 92"),
    (V5, "70 0B 00 01 00 07 26 00 01 'k' 00 01 'v'"),
    (V311, SUBSCRIBE_4),
    (V5, SUBSCRIBE_5),
    (V311, UNSUBSCRIBE_4),
    (V5, UNSUBSCRIBE_5),
    (V311, SUBACK_4),
    (V5, SUBACK_5),
    (V311, UNSUBACK_4),
    (V5, UNSUBACK_5),
    (V311, "C0 00"),
    (V5, "C0 00"),
    (V311, "D0 00"),
    (V5, "D0 00"),
    (V311, DISCONNECT),
    (V5, DISCONNECT),
    (V5, DISCONNECT_5_REASON),
    (V5, DISCONNECT_5_FULL),
    (V5, AUTH),
    (V5, AUTH_FULL),
];

pub fn stories() -> impl Iterator<Item = (Version, Vec<u8>)> {
    STORIES.iter().map(|(version, text)| (*version, bytes(text)))
}

#[test]
fn every_story_survives_both_ways() {
    for (version, packet) in stories() {
        let decoded = decode(version, &packet).unwrap_or_else(|e| panic!("{packet:02x?}: {e:?}"));
        assert_eq!(encode(version, &decoded), packet);
        assert_eq!(Some(decoded.packet_type()), PacketType::from_first_byte(packet[0]));
    }
}
