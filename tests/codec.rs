//! Bytes to packets and back. Stories first, each packet as annotated bytes in both versions; then the rules of the
//! specification as sweeps: over flags, reason codes, properties, lengths, splits; topics and the trie last.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wasmqtt::codec::Value::{Binary, Byte, Four, Pair, Text, Two, Varint};
use wasmqtt::codec::Version::{V4, V5};
use wasmqtt::codec::*;

// ---------------------------------------------------------------------------------------------- helpers

/// Bytes from annotated text: hex pairs and 'text', a remark behind `;` on each line.
fn bytes(text: &str) -> Vec<u8> {
    let words = text.lines().flat_map(|line| line.split(';').next().unwrap().split_whitespace());
    words
        .flat_map(|word| match word.strip_prefix('\'') {
            Some(text) => text.strip_suffix('\'').expect(word).as_bytes().to_vec(),
            None => vec![u8::from_str_radix(word, 16).expect(word)],
        })
        .collect()
}

/// A packet from its first byte and body.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(varint(body.len()));
    packet.extend(body);
    packet
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Text or binary data behind its length.
fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// One whole packet, by way of the decoder.
fn decode(version: Version, packet: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let (first, body) = cut(version, packet)?;
    Packet::decode(version, first, body)
}

fn decode_from_server(version: Version, packet: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let (first, body) = cut(version, packet)?;
    Packet::decode_from_server(version, first, body)
}

/// First byte and body of one whole packet.
fn cut(version: Version, packet: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let mut at = 0;
    match Decoder::new(version, u32::MAX).step(packet, &mut at, 0)? {
        Step::Packet { first, start, len } => {
            assert_eq!(at, packet.len(), "one packet");
            Ok((first, &packet[start..][..len]))
        }
        step => panic!("{step:?} of {packet:02x?}"),
    }
}

fn encode(version: Version, packet: &Packet) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    out
}

/// The bytes and the packet are two forms of one thing.
#[track_caller]
fn same(version: Version, text: &str, packet: Packet) {
    let bytes = bytes(text);
    assert_eq!(encode(version, &packet), bytes, "encoding {packet:?}");
    assert_eq!(decode(version, &bytes), Ok(packet));
}

#[track_caller]
fn refused(version: Version, packet: &[u8], reason: ReasonCode) {
    let result = decode(version, packet).map_err(|error| error.reason);
    assert_eq!(result, Err(reason), "{packet:02x?}");
}

const MALFORMED: ReasonCode = ReasonCode::MALFORMED_PACKET;
const PROTOCOL: ReasonCode = ReasonCode::PROTOCOL_ERROR;

fn block(properties: &[(Property, Value)]) -> PropertiesBuf {
    let mut block = PropertiesBuf::default();
    properties.iter().for_each(|(property, value)| block.push(*property, *value));
    block
}

const NONE: Properties = Properties::EMPTY;

/// A source of cases that is the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<Allocated> = const { Cell::new(Allocated { times: 0, largest: 0, live: 0 }) };
}

#[derive(Clone, Copy)]
struct Allocated {
    times: usize,
    largest: usize,
    live: isize,
}

impl Counting {
    fn note(grown: usize, freed: usize) {
        let _ = ALLOCATED.try_with(|cell| {
            let Allocated { times, largest, live } = cell.get();
            cell.set(Allocated {
                times: times + usize::from(grown > 0),
                largest: largest.max(grown),
                live: live + grown as isize - freed as isize,
            });
        });
    }
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Self::note(0, layout.size());
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note(size, layout.size());
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `run` allocated.
fn allocated(run: impl FnOnce()) -> Allocated {
    ALLOCATED.set(Allocated { times: 0, largest: 0, live: 0 });
    run();
    ALLOCATED.get()
}

// ---------------------------------------------------------------------------------------------- stories

const CONNECT_4: &str = "
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
    same(V4, CONNECT_4, Packet::Connect(plain));
    let will = Will { topic: "a/b", payload: &[0, 0xFF, 0x7F], qos: QoS::ExactlyOnce, retain: true, properties: NONE };
    let full = Connect {
        clean_start: false,
        keep_alive: 65535,
        will: Some(will),
        username: Some("me"),
        password: Some(&[0, 0xFF]),
        ..plain
    };
    same(V4, CONNECT_4_FULL, Packet::Connect(full));

    let bare = Connect { clean_start: false, keep_alive: 0, client_id: "", ..plain };
    same(V5, CONNECT_5, Packet::Connect(bare));
    let properties = block(&[
        (Property::SessionExpiryInterval, Four(10)),
        (Property::ReceiveMaximum, Two(20)),
        (Property::UserProperty, Pair("k", "value")),
    ]);
    let of_will = block(&[(Property::WillDelayInterval, Four(5)), (Property::MessageExpiryInterval, Four(60))]);
    let will = Will { payload: &[], qos: QoS::AtLeastOnce, retain: false, properties: of_will.borrow(), ..will };
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

#[test]
fn connect_rules() {
    let connect = |version: u8, flags: u8, rest: &str| {
        let properties: &[u8] = if version == 5 { &[0] } else { &[] };
        let head = [b"\0\x04MQTT", &[version, flags, 0, 0][..], properties].concat();
        framed(0x10, &[head, bytes(rest)].concat())
    };
    for (version, level) in [(V4, 4), (V5, 5)] {
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
    refused(V4, &connect(4, 0x40, "00 00 00 00"), MALFORMED); // password without user name
    let other = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
    refused(V5, &bytes(CONNECT_4), other);
    refused(V4, &bytes(CONNECT_5), other);
    refused(V4, &bytes("10 0C 00 04 'MQTt' 04 02 00 00 00 00"), other);
    refused(V4, &bytes("10 0E 00 06 'MQIsdp' 03 02 00 00 00 00"), other);
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
    same(V4, CONNACK_4, Packet::ConnAck(fine));
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
            None => refused(V4, &packet, PROTOCOL),
            Some(&reason) => {
                let refusal = ConnAck { session_present: false, reason, properties: NONE };
                assert_eq!(decode(V4, &packet), Ok(Packet::ConnAck(refusal)));
                assert_eq!(encode(V4, &Packet::ConnAck(refusal)), packet);
            }
        }
    }
    let reason = ReasonCode::QUOTA_EXCEEDED; // has no word in 3.1.1
    let refusal = Packet::ConnAck(ConnAck { session_present: false, reason, properties: NONE });
    assert_eq!(encode(V4, &refusal), bytes("20 02 00 03"));
}

#[test]
fn connack_rules() {
    for version in [V4, V5] {
        refused(version, &bytes("20 00"), MALFORMED);
        refused(version, &bytes("20 01 00"), MALFORMED);
        refused(version, &bytes("20 03 02 00 00"), MALFORMED); // reserved flags
        refused(version, &bytes("20 03 80 00 00"), MALFORMED);
    }
    refused(V4, &bytes("20 03 00 00 00"), MALFORMED);
    refused(V4, &bytes("20 02 01 05"), PROTOCOL); // session present in a refusal
    refused(V5, &bytes("20 03 01 87 00"), PROTOCOL);
    refused(V5, &bytes("20 02 00 00"), MALFORMED); // no property length
    refused(V5, &bytes("20 04 00 00 00 00"), MALFORMED);
    refused(V5, &bytes("20 06 00 00 80 FF FF 0A"), MALFORMED); // properties past the end

    // What a server that only knows 3.1.1 answers to a CONNECT of version 5.
    let reason = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
    let refusal = Packet::ConnAck(ConnAck { session_present: false, reason, properties: NONE });
    assert_eq!(decode(V5, &bytes("20 02 00 01")), Ok(refusal));
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
        id: 0,
        properties: NONE,
        payload: b"hi",
    };
    same(V4, PUBLISH_0, Packet::Publish(hello));
    let again = Publish {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: b"t",
        id: 0x1234,
        properties: NONE,
        payload: &[0, 0xFF],
    };
    same(V4, PUBLISH_1, Packet::Publish(again));
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
    let full = Publish { qos: QoS::ExactlyOnce, retain: false, id: 65535, properties: properties.borrow(), ..retained };
    same(V5, PUBLISH_5_2, Packet::Publish(full));
    let alias = block(&[(Property::TopicAlias, Two(1))]);
    let short = Publish { topic: b"", properties: alias.borrow(), payload: b"", ..hello };
    same(V5, PUBLISH_5_ALIAS, Packet::Publish(short));
}

#[test]
fn publish_rules() {
    for version in [V4, V5] {
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
        PublishHints { properties_start, payload_start, topic_alias: Some(7), only_identifiers: false, identifiers: 2 }
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
    assert_eq!((routed.only_identifiers, routed.identifiers), (true, 1));
    assert_eq!(routed.topic_alias, Some(2));
    assert!(hints("00 01 'a' 00").only_identifiers);
    assert!(!hints("00 01 'a' 02 01 01").only_identifiers);
}

#[test]
fn publish_header_with_an_alias() {
    let properties = block(&[(Property::PayloadFormatIndicator, Byte(1))]);
    let publish = Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: b"a/b",
        id: 9,
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
        for (version, alias) in [(V4, None), (V5, None), (V5, Some(1))] {
            for payload_len in [0, 1, 127, 16253, 2_097_000, 2_097_151] {
                let publish = Publish { topic: &long[..topic], ..publish };
                out.clear();
                publish.encode_header(version, alias, payload_len, &mut out);
                assert_eq!(publish.size(version, alias, payload_len), out.len() + payload_len);
            }
        }
    }
}

#[test]
fn acknowledgements() {
    type Kind = fn(Ack) -> Packet;
    let packets: [(u8, Kind); 4] = [
        (first::PUBACK, |ack| Packet::PubAck(ack)),
        (first::PUBREC, |ack| Packet::PubRec(ack)),
        (first::PUBREL, |ack| Packet::PubRel(ack)),
        (first::PUBCOMP, |ack| Packet::PubComp(ack)),
    ];
    assert_eq!(packets.map(|(first, _)| first), [0x40, 0x50, 0x62, 0x70]);
    for (first, packet) in packets {
        for (id, hex) in [(1, "00 01"), (255, "00 FF"), (256, "01 00"), (65535, "FF FF")] {
            let ack = Ack { id, reason: ReasonCode::SUCCESS, properties: NONE };
            for version in [V4, V5] {
                same(version, &format!("{first:02x} 02 {hex}"), packet(ack));
                refused(version, &framed(first, &[]), MALFORMED);
                refused(version, &framed(first, &[1]), MALFORMED);
                refused(version, &framed(first, &[0, 0]), PROTOCOL); // id 0
            }
            refused(V4, &framed(first, &[0, 1, 0]), MALFORMED);
        }
        let failed = match first {
            first::PUBACK | first::PUBREC => ReasonCode::QUOTA_EXCEEDED,
            _ => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
        };
        let code = failed.0;
        let ack = Ack { id: 7, reason: failed, properties: NONE };
        same(V5, &format!("{first:02x} 03 00 07 {code:02x}"), packet(ack));
        let properties = block(&[(Property::ReasonString, Text("why"))]);
        let told = Ack { properties: properties.borrow(), ..ack };
        let text = format!("{first:02x} 0A 00 07 {code:02x} 06 1F 00 03 'why'");
        same(V5, &text, packet(told));
        let told = Ack { reason: ReasonCode::SUCCESS, ..told };
        same(V5, &format!("{first:02x} 0A 00 07 00 06 1F 00 03 'why'"), packet(told));

        // Longer than need be, and still well formed.
        let fine = Ack { id: 7, reason: ReasonCode::SUCCESS, properties: NONE };
        assert_eq!(decode(V5, &framed(first, &[0, 7, 0])), Ok(packet(fine)));
        assert_eq!(decode(V5, &framed(first, &[0, 7, 0, 0])), Ok(packet(fine)));
        refused(V5, &framed(first, &[0, 7, 0, 0, 0]), MALFORMED);
        // 3.1.1 has no reasons to tell.
        assert_eq!(encode(V4, &packet(told)), [first, 2, 0, 7]);

        let mut out = Vec::new();
        encode_ack(first, 7, failed, V5, &mut out);
        encode_ack(first, 7, failed, V4, &mut out);
        encode_ack(first, 7, ReasonCode::SUCCESS, V5, &mut out);
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
    let qos = |qos| SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling: 0 };
    let all = SubscribeOptions { qos: QoS::ExactlyOnce, no_local: true, retain_as_published: true, retain_handling: 2 };
    let new = SubscribeOptions { retain_handling: 1, ..qos(QoS::AtLeastOnce) };
    let identifier = block(&[(Property::SubscriptionIdentifier, Varint(5))]);
    let cases: [(_, _, _, &[_]); 2] = [
        (V4, SUBSCRIBE_4, NONE, &[("a/+", qos(QoS::AtLeastOnce)), ("#", qos(QoS::AtMostOnce))]),
        (V5, SUBSCRIBE_5, identifier.borrow(), &[("a/+", all), ("$share/g/a", new)]),
    ];
    for (version, text, properties, filters) in cases {
        let mut out = Vec::new();
        encode_subscribe(version, 10, properties, filters.iter().copied(), &mut out);
        assert_eq!(out, bytes(text));
        let packet = decode(version, &out).unwrap();
        assert_eq!(encode(version, &packet), out);
        let Packet::Subscribe(subscribe) = packet else { panic!() };
        assert_eq!((subscribe.id, subscribe.properties), (10, properties));
        assert_eq!(subscribe.filters.collect::<Vec<_>>(), filters);
    }
    // Only the QoS is left in 3.1.1.
    let mut out = Vec::new();
    encode_subscribe(V4, 1, NONE, [("a", all)].into_iter(), &mut out);
    assert_eq!(out, bytes("82 06 00 01 00 01 'a' 02"));
}

#[test]
fn subscribe_rules() {
    for (version, p) in [(V4, ""), (V5, "00")] {
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
        assert_eq!(decode(V4, &packet).is_ok(), bits < 3, "{bits:02x}");
        let packet = [&bytes("82 07 00 01 00 00 01 'a'")[..], &[bits]].concat();
        let valid = bits & 3 < 3 && bits >> 4 & 3 < 3 && bits < 0x40;
        assert_eq!(decode(V5, &packet).is_ok(), valid, "{bits:02x}");
    }
    refused(V5, &bytes("82 07 00 01 00 00 01 'a' 30"), PROTOCOL); // retain handling 3
    refused(V5, &bytes("82 10 00 01 00 00 0A '$share/g/a' 04"), PROTOCOL); // no local, shared
}

const UNSUBSCRIBE_4: &str = "A2 0A  00 0B  00 03 'a/b' 00 01 '#'";
const UNSUBSCRIBE_5: &str = "A2 0D  00 0B  07 26 00 01 'k' 00 01 'v'  00 01 '+'";

#[test]
fn unsubscribe() {
    let user = block(&[(Property::UserProperty, Pair("k", "v"))]);
    let cases: [(_, _, _, &[_]); 2] =
        [(V4, UNSUBSCRIBE_4, NONE, &["a/b", "#"]), (V5, UNSUBSCRIBE_5, user.borrow(), &["+"])];
    for (version, text, properties, filters) in cases {
        let mut out = Vec::new();
        encode_unsubscribe(version, 11, properties, filters.iter().copied(), &mut out);
        assert_eq!(out, bytes(text));
        let packet = decode(version, &out).unwrap();
        assert_eq!(encode(version, &packet), out);
        let Packet::Unsubscribe(unsubscribe) = packet else { panic!() };
        assert_eq!((unsubscribe.id, unsubscribe.properties), (11, properties));
        assert_eq!(unsubscribe.filters.collect::<Vec<_>>(), filters);
    }
    refused(V4, &bytes("A2 02 00 01"), PROTOCOL); // no filter
    refused(V5, &bytes("A2 03 00 01 00"), PROTOCOL);
    refused(V4, &bytes("A2 05 00 00 00 01 'a'"), PROTOCOL);
    refused(V4, &bytes("A2 06 00 01 00 02 'a#'"), MALFORMED);
    refused(V4, &bytes("A2 06 00 01 00 01 'a' 00"), MALFORMED);
}

const SUBACK_4: &str = "90 06  00 0A  00 01 02 80  ; granted QoS 0, 1, 2; refused";
const SUBACK_5: &str = "90 0A  00 0A  04 1F 00 01 'r'  01 87 8F";
const UNSUBACK_4: &str = "B0 02  00 0B";
const UNSUBACK_5: &str = "B0 05  00 0B  00  00 11";

#[test]
fn suback_and_unsuback() {
    let suback = SubAck { id: 10, codes: &[0, 1, 2, 0x80], properties: NONE };
    same(V4, SUBACK_4, Packet::SubAck(suback));
    let properties = block(&[(Property::ReasonString, Text("r"))]);
    let suback = SubAck { codes: &[1, 0x87, 0x8F], properties: properties.borrow(), ..suback };
    same(V5, SUBACK_5, Packet::SubAck(suback));
    let unsuback = SubAck { id: 11, codes: &[], properties: NONE };
    same(V4, UNSUBACK_4, Packet::UnsubAck(unsuback));
    same(V5, UNSUBACK_5, Packet::UnsubAck(SubAck { codes: &[0, 0x11], ..unsuback }));

    refused(V4, &bytes("90 02 00 01"), PROTOCOL); // no code
    refused(V5, &bytes("90 03 00 01 00"), PROTOCOL);
    refused(V5, &bytes("B0 03 00 01 00"), PROTOCOL);
    refused(V5, &bytes("B0 02 00 01"), MALFORMED); // no property length
    refused(V4, &bytes("B0 03 00 01 00"), MALFORMED); // codes are new in 5.0
    refused(V4, &bytes("90 03 00 00 00"), PROTOCOL); // id 0
    refused(V5, &bytes("B0 04 00 00 00 00"), PROTOCOL);
    refused(V5, &bytes("90 04 00 01 01 00"), MALFORMED); // properties end in the middle
}

#[test]
fn ping() {
    for version in [V4, V5] {
        same(version, "C0 00", Packet::PingReq);
        same(version, "D0 00", Packet::PingResp);
        refused(version, &bytes("C0 01 00"), MALFORMED);
        refused(version, &bytes("D0 01 00"), MALFORMED);
    }
}

const DISCONNECT: &str = "E0 00";
const DISCONNECT_5_REASON: &str = "E0 01 04  ; with the will";
const DISCONNECT_5_FULL: &str = "E0 07  9C  05 1C 00 02 'b2'  ; use another server";

#[test]
fn disconnect() {
    let normal = Disconnect { reason: ReasonCode::SUCCESS, properties: NONE };
    same(V4, DISCONNECT, Packet::Disconnect(normal));
    same(V5, DISCONNECT, Packet::Disconnect(normal));
    let with_will = Disconnect { reason: ReasonCode::DISCONNECT_WITH_WILL_MESSAGE, ..normal };
    same(V5, DISCONNECT_5_REASON, Packet::Disconnect(with_will));
    assert_eq!(encode(V4, &Packet::Disconnect(with_will)), bytes(DISCONNECT));
    let properties = block(&[(Property::ServerReference, Text("b2"))]);
    let moved = Disconnect { reason: ReasonCode::USE_ANOTHER_SERVER, properties: properties.borrow() };
    same(V5, DISCONNECT_5_FULL, Packet::Disconnect(moved));
    let told = Disconnect { reason: ReasonCode::SUCCESS, ..moved };
    same(V5, "E0 07  00  05 1C 00 02 'b2'", Packet::Disconnect(told));

    assert_eq!(decode(V5, &bytes("E0 01 00")), Ok(Packet::Disconnect(normal)));
    assert_eq!(decode(V5, &bytes("E0 02 00 00")), Ok(Packet::Disconnect(normal)));
    refused(V4, &bytes("E0 01 00"), MALFORMED);
    refused(V5, &bytes("E0 03 00 00 00"), MALFORMED);
    refused(V5, &bytes("E0 06 00 80 FF FF FF 7F"), MALFORMED);
}

const AUTH: &str = "F0 00";
const AUTH_FULL: &str = "F0 0A  18  08  15 00 01 'm'  16 00 01 FF";

#[test]
fn auth() {
    let done = Auth { reason: ReasonCode::SUCCESS, properties: NONE };
    same(V5, AUTH, Packet::Auth(done));
    let properties =
        block(&[(Property::AuthenticationMethod, Text("m")), (Property::AuthenticationData, Binary(&[0xFF]))]);
    let challenge = Auth { reason: ReasonCode::CONTINUE_AUTHENTICATION, properties: properties.borrow() };
    same(V5, AUTH_FULL, Packet::Auth(challenge));
    refused(V5, &bytes("F0 01 18"), MALFORMED); // no property length
    refused(V5, &bytes("F0 06 18 04 16 00 01 FF"), PROTOCOL); // data without a method
    refused(V4, &bytes("F0 00"), PROTOCOL);
}

/// Every story, for the sweeps below.
const STORIES: &[(Version, &str)] = &[
    (V4, CONNECT_4),
    (V4, CONNECT_4_FULL),
    (V5, CONNECT_5),
    (V5, CONNECT_5_FULL),
    (V5, CONNECT_5_PASSWORD),
    (V4, CONNACK_4),
    (V5, CONNACK_5),
    (V5, CONNACK_5_FULL),
    (V4, PUBLISH_0),
    (V4, PUBLISH_1),
    (V5, PUBLISH_5_0),
    (V5, PUBLISH_5_2),
    (V5, PUBLISH_5_ALIAS),
    (V4, "40 02 00 01"),
    (V5, "40 03 00 01 10"),
    (V5, "50 0A 00 07 87 06 1F 00 03 'why'"),
    (V4, "62 02 00 01"),
    (V5, "62 03 00 01 92"),
    (V5, "70 0B 00 01 00 07 26 00 01 'k' 00 01 'v'"),
    (V4, SUBSCRIBE_4),
    (V5, SUBSCRIBE_5),
    (V4, UNSUBSCRIBE_4),
    (V5, UNSUBSCRIBE_5),
    (V4, SUBACK_4),
    (V5, SUBACK_5),
    (V4, UNSUBACK_4),
    (V5, UNSUBACK_5),
    (V4, "C0 00"),
    (V5, "C0 00"),
    (V4, "D0 00"),
    (V5, "D0 00"),
    (V4, DISCONNECT),
    (V5, DISCONNECT),
    (V5, DISCONNECT_5_REASON),
    (V5, DISCONNECT_5_FULL),
    (V5, AUTH),
    (V5, AUTH_FULL),
];

fn stories() -> impl Iterator<Item = (Version, Vec<u8>)> {
    STORIES.iter().map(|(version, text)| (*version, bytes(text)))
}

#[test]
fn every_story_survives_both_ways() {
    for (version, packet) in stories() {
        let decoded = decode(version, &packet).unwrap_or_else(|e| panic!("{packet:02x?}: {e:?}"));
        assert_eq!(encode(version, &decoded), packet);
        assert_eq!(decoded.kind(), kind(packet[0]));
    }
}

// ---------------------------------------------------------------------------------------------- sweeps

#[test]
fn every_first_byte() {
    for (version, packet) in stories() {
        let body = &packet[2..];
        for first in 0..=255 {
            let result = Packet::decode(version, first, body);
            let allowed = match first >> 4 {
                0 => false,
                3 => first & 0x06 != 0x06 && first & 0x0E != 0x08,
                6 | 8 | 10 => first & 0x0F == 2,
                15 => version == V5 && first & 0x0F == 0,
                _ => first & 0x0F == 0,
            };
            if !allowed {
                let reason = if first >= 0xF0 && version == V4 { PROTOCOL } else { MALFORMED };
                assert_eq!(result.map_err(|error| error.reason), Err(reason), "{first:02x}");
            }
        }
        assert!(Packet::decode(version, packet[0], body).is_ok());
    }
}

#[test]
fn what_only_a_client_may_say() {
    let from_server =
        |version, text: &str| decode_from_server(version, &bytes(text)).map(|_| ()).map_err(|error| error.reason);
    for (version, packet) in stories() {
        let client = matches!(packet[0], 0x10 | 0x82 | 0xA2 | 0xC0)
            || (packet[0] == 0xE0 && version == V4)
            || packet == bytes(DISCONNECT_5_REASON);
        let result = decode_from_server(version, &packet);
        if client {
            assert_eq!(result.map_err(|error| error.reason), Err(PROTOCOL));
        } else {
            assert_eq!(result, decode(version, &packet));
        }
    }
    assert_eq!(from_server(V5, "E0 07 00 05 11 00 00 00 01"), Err(PROTOCOL)); // session expiry
    assert_eq!(from_server(V5, "F0 06 19 04 15 00 01 'm'"), Err(PROTOCOL)); // re-authenticate
    assert_eq!(from_server(V5, "F0 06 18 04 15 00 01 'm'"), Ok(()));
    assert_eq!(from_server(V5, "E0 01 8E"), Ok(()));
    assert_eq!(from_server(V5, "E0 01 05"), Err(PROTOCOL));
    assert_eq!(from_server(V5, "E1 00"), Err(MALFORMED));
    assert_eq!(from_server(V5, "83 00"), Err(MALFORMED));
}

/// The codes of each packet, as its own section lists them.
const REASONS: &[(u8, u16, &str)] = &[
    (0x20, place::CONNACK, "00 80 81 82 83 84 85 86 87 88 89 8A 8C 90 95 97 99 9A 9B 9C 9D 9F"),
    (0x40, place::PUBACK, "00 10 80 83 87 90 91 97 99"),
    (0x50, place::PUBREC, "00 10 80 83 87 90 91 97 99"),
    (0x62, place::PUBREL, "00 92"),
    (0x70, place::PUBCOMP, "00 92"),
    (0x90, place::SUBACK, "00 01 02 80 83 87 8F 91 97 9E A1 A2"),
    (0xB0, place::UNSUBACK, "00 11 80 83 87 8F 91"),
    (
        0xE0,
        place::DISCONNECT,
        "00 04 80 81 82 83 87 89 8B 8C 8D 8E 8F 90 93 94 95 96 97 98 99 9A 9B 9C 9D 9E 9F A0 A1 A2",
    ),
    (0xF0, place::AUTH, "00 18 19"),
];

#[test]
fn reason_codes_of_each_packet() {
    for (first, place, listed) in REASONS {
        let listed = bytes(listed);
        for code in 0..=255 {
            let body = match first {
                0x20 => vec![0, code, 0],
                0x40..0x90 => vec![0, 1, code],
                0x90..0xC0 => vec![0, 1, 0, code],
                0xE0 => vec![code],
                _ => vec![code, 0],
            };
            let packet = framed(*first, &body);
            assert_eq!(ReasonCode(code).stands_in(*place), listed.contains(&code));
            if listed.contains(&code) {
                assert!(decode(V5, &packet).is_ok(), "{packet:02x?}");
            } else {
                refused(V5, &packet, PROTOCOL);
            }
        }
    }
    for code in 0..=255 {
        let packet = [0x90, 3, 0, 1, code];
        assert_eq!(decode(V4, &packet).is_ok(), [0, 1, 2, 0x80].contains(&code));
        assert_eq!(ReasonCode(code).is_error(), code >= 0x80);
    }
}

#[test]
fn reason_codes_of_disconnect_by_sender() {
    let client = bytes("00 04 80 81 82 83 90 93 94 95 96 97 98 99");
    for code in 0..=255 {
        let disconnect = ReasonCode(code).stands_in(place::DISCONNECT);
        let by_client = ReasonCode(code).stands_in(place::CLIENT_DISCONNECT);
        assert_eq!(by_client, client.contains(&code), "{code:02x}");
        let by_server = decode_from_server(V5, &[0xE0, 1, code]).is_ok();
        assert_eq!(by_server, disconnect && code != 4, "{code:02x}");
    }
}

/// Each property with a value, and the packets that may hold it: C CONNECT, c CONNACK, P PUBLISH, w will, A the four
/// acknowledgements of PUBLISH, S SUBSCRIBE, s SUBACK, U UNSUBSCRIBE, u UNSUBACK, D DISCONNECT, X AUTH.
const PROPERTIES: &[(&str, Property, Value, &str)] = &[
    ("01 01", Property::PayloadFormatIndicator, Byte(1), "Pw"),
    ("02 00 00 01 00", Property::MessageExpiryInterval, Four(256), "Pw"),
    ("03 00 01 'j'", Property::ContentType, Text("j"), "Pw"),
    ("08 00 03 'r/1'", Property::ResponseTopic, Text("r/1"), "Pw"),
    ("09 00 02 00 FF", Property::CorrelationData, Binary(&[0, 0xFF]), "Pw"),
    ("0B FF FF FF 7F", Property::SubscriptionIdentifier, Varint(268_435_455), "PS"),
    ("11 FF FF FF FF", Property::SessionExpiryInterval, Four(u32::MAX), "CcD"),
    ("12 00 02 'id'", Property::AssignedClientIdentifier, Text("id"), "c"),
    ("13 01 02", Property::ServerKeepAlive, Two(258), "c"),
    ("15 00 01 'm'", Property::AuthenticationMethod, Text("m"), "CcX"),
    ("16 00 01 00", Property::AuthenticationData, Binary(&[0]), "CcX"),
    ("17 00", Property::RequestProblemInformation, Byte(0), "C"),
    ("18 00 00 00 00", Property::WillDelayInterval, Four(0), "w"),
    ("19 01", Property::RequestResponseInformation, Byte(1), "C"),
    ("1A 00 01 'r'", Property::ResponseInformation, Text("r"), "c"),
    ("1C 00 01 's'", Property::ServerReference, Text("s"), "cD"),
    ("1F 00 02 C3 A4", Property::ReasonString, Text("ä"), "cAsuDX"),
    ("21 00 01", Property::ReceiveMaximum, Two(1), "Cc"),
    ("22 00 00", Property::TopicAliasMaximum, Two(0), "Cc"),
    ("23 FF FF", Property::TopicAlias, Two(65535), "P"),
    ("24 01", Property::MaximumQos, Byte(1), "c"),
    ("25 00", Property::RetainAvailable, Byte(0), "c"),
    ("26 00 01 'k' 00 01 'v'", Property::UserProperty, Pair("k", "v"), "CcPwASsUuDX"),
    ("27 00 00 00 01", Property::MaximumPacketSize, Four(1), "Cc"),
    ("28 00", Property::WildcardSubscriptionAvailable, Byte(0), "c"),
    ("29 01", Property::SubscriptionIdentifierAvailable, Byte(1), "c"),
    ("2A 00", Property::SharedSubscriptionAvailable, Byte(0), "c"),
];

/// Each packet with a place for properties: its letter above, its first byte, what stands before the block and behind it.
const CARRIERS: &[(char, u8, &str, &str)] = &[
    ('C', 0x10, "00 04 'MQTT' 05 02 00 00", "00 00"),
    ('w', 0x10, "00 04 'MQTT' 05 06 00 00 00 00 00", "00 01 't' 00 00"),
    ('c', 0x20, "00 00", ""),
    ('P', 0x30, "00 01 't'", "'payload'"),
    ('P', 0x34, "00 01 't' 00 01", ""),
    ('A', 0x40, "00 01 00", ""),
    ('A', 0x50, "00 01 00", ""),
    ('A', 0x62, "00 01 00", ""),
    ('A', 0x70, "00 01 00", ""),
    ('S', 0x82, "00 01", "00 01 't' 00"),
    ('s', 0x90, "00 01", "00"),
    ('U', 0xA2, "00 01", "00 01 't'"),
    ('u', 0xB0, "00 01", "00"),
    ('D', 0xE0, "00", ""),
    ('X', 0xF0, "00", ""),
];

/// Each carrier's letter, and the function that makes its packet with a block.
fn carriers() -> impl Iterator<Item = (char, impl Fn(&[u8]) -> Vec<u8>)> {
    CARRIERS.iter().map(|(letter, first, before, behind)| {
        let carry = |block: &[u8]| {
            let body = [bytes(before), varint(block.len()), block.to_vec(), bytes(behind)];
            framed(*first, &body.concat())
        };
        (*letter, carry)
    })
}

/// The carrier for one letter.
fn carry(letter: char, block: &[u8]) -> Vec<u8> {
    carriers().find(|(name, _)| *name == letter).unwrap().1(block)
}

#[test]
fn properties_of_each_packet() {
    for (letter, carry) in carriers() {
        assert!(decode(V5, &carry(&[])).is_ok());
        for (text, property, _, places) in PROPERTIES {
            // Authentication data is only valid with a method.
            let method = if *property == Property::AuthenticationData { "15 00 01 'm'" } else { "" };
            let one = bytes(text);
            let packet = carry(&[bytes(method), one.clone()].concat());
            if !places.contains(letter) {
                refused(V5, &packet, MALFORMED);
                continue;
            }
            let decoded = decode(V5, &packet).unwrap_or_else(|e| panic!("{packet:02x?}: {e:?}"));
            assert_eq!(encode(V5, &decoded), packet);

            let twice = carry(&[bytes(method), one.clone(), one.clone()].concat());
            let repeats = match property {
                Property::UserProperty => true,
                Property::SubscriptionIdentifier => letter == 'P',
                _ => false,
            };
            if repeats {
                assert!(decode(V5, &twice).is_ok());
            } else {
                refused(V5, &twice, PROTOCOL);
            }
            for end in 1..one.len() {
                refused(V5, &carry(&one[..end]), MALFORMED);
            }
        }
    }
}

#[test]
fn property_values() {
    for (text, property, value, _) in PROPERTIES {
        assert_eq!(block(&[(*property, *value)]).borrow().as_bytes(), bytes(text));
        assert_eq!(*property as u8, bytes(text)[0]);
    }
    // Read back from one long block, none lost, in order.
    let all: Vec<_> = PROPERTIES.iter().map(|(_, property, value, _)| (*property, *value)).collect();
    let block = block(&all);
    assert_eq!(block.borrow().iter().collect::<Vec<_>>(), all);
    for (property, value) in all {
        assert_eq!(block.borrow().get(property), Some(value));
    }
}

#[test]
fn properties_by_type() {
    let mut owned = block(&[
        (Property::SubscriptionIdentifier, Varint(3)),
        (Property::UserProperty, Pair("a", "1")),
        (Property::PayloadFormatIndicator, Byte(1)),
        (Property::SubscriptionIdentifier, Varint(300)),
        (Property::UserProperty, Pair("a", "2")),
        (Property::ContentType, Text("json")),
        (Property::CorrelationData, Binary(&[9])),
        (Property::TopicAlias, Two(4)),
        (Property::MessageExpiryInterval, Four(70000)),
    ]);
    let properties = owned.borrow();
    assert_eq!(properties.u32(Property::PayloadFormatIndicator), Some(1));
    assert_eq!(properties.u32(Property::TopicAlias), Some(4));
    assert_eq!(properties.u32(Property::MessageExpiryInterval), Some(70000));
    assert_eq!(properties.u32(Property::SubscriptionIdentifier), Some(3));
    assert_eq!(properties.u32(Property::ContentType), None);
    assert_eq!(properties.u32(Property::ReceiveMaximum), None);
    assert_eq!(properties.text(Property::ContentType), Some("json"));
    assert_eq!(properties.text(Property::ResponseTopic), None);
    assert_eq!(properties.text(Property::CorrelationData), None);
    assert_eq!(properties.binary(Property::CorrelationData), Some(&[9][..]));
    assert_eq!(properties.binary(Property::ContentType), None);
    assert_eq!(properties.identifiers().collect::<Vec<_>>(), [3, 300]);
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("a", "1"), ("a", "2")]);
    assert!(Properties::decode(place::PUBLISH, properties.as_bytes()) == Ok(properties));

    owned.remove(Property::SubscriptionIdentifier);
    owned.remove(Property::TopicAlias);
    owned.remove(Property::ReceiveMaximum);
    assert_eq!(owned.borrow().identifiers().count(), 0);
    assert_eq!(owned.borrow().iter().count(), 6);
    assert_eq!(PropertiesBuf::from(owned.borrow()), owned);
    owned.clear();
    assert!(owned.is_empty() && owned.borrow().is_empty());
}

#[test]
fn property_rules() {
    let known: Vec<_> = PROPERTIES.iter().map(|(text, ..)| bytes(text)[0]).collect();
    for (_, carry) in carriers() {
        for id in (0..=127).filter(|id| !known.contains(id)) {
            refused(V5, &carry(&[id, 0, 0, 0, 0]), MALFORMED);
        }
        refused(V5, &carry(&bytes("A6 00 00 00 00 00")), MALFORMED); // 0x26 in two bytes
        refused(V5, &carry(&bytes("80 01 00 00")), MALFORMED); // identifier 128
    }
    // Yes or no.
    for (text, property, value, places) in PROPERTIES {
        if let Byte(_) = value {
            for byte in 2..=255 {
                let packet = carry(places.chars().next().unwrap(), &[*property as u8, byte]);
                refused(V5, &packet, PROTOCOL);
            }
            assert_eq!(bytes(text).len(), 2);
        }
    }
    // Not 0.
    for letter in ['C', 'c'] {
        refused(V5, &carry(letter, &bytes("21 00 00")), PROTOCOL);
        refused(V5, &carry(letter, &bytes("27 00 00 00 00")), PROTOCOL);
    }
    for letter in ['P', 'S'] {
        refused(V5, &carry(letter, &bytes("0B 00")), PROTOCOL);
        refused(V5, &carry(letter, &bytes("0B 81 00")), MALFORMED); // not the shortest form
        refused(V5, &carry(letter, &bytes("0B FF FF FF FF 7F")), MALFORMED);
    }
    refused(V5, &carry('P', &bytes("23 00 00")), ReasonCode::TOPIC_ALIAS_INVALID);
    for letter in ['P', 'w'] {
        for topic in ["'a/+'", "'#'", ""] {
            let value = field(&bytes(topic));
            refused(V5, &carry(letter, &[&[0x08], &value[..]].concat()), PROTOCOL);
        }
    }
    for letter in ['C', 'c', 'X'] {
        refused(V5, &carry(letter, &bytes("16 00 00")), PROTOCOL); // no method
        assert!(decode(V5, &carry(letter, &bytes("16 00 00 15 00 00"))).is_ok());
    }
}

#[test]
fn text_rules() {
    let fine: &[&[u8]] = &[
        b"",
        b"plain",
        b"\xEF\xBB\xBFx",            // U+FEFF is kept wherever it stands
        b"x\xEF\xBB\xBF",            // at the end as well
        b"\x01\x1F\x7F",             // control characters are discouraged, not forbidden
        b"\xC2\x80",                 // U+0080, the first of two bytes
        b"\xEF\xBF\xBF",             // U+FFFF, likewise
        b"\xED\x9F\xBF\xEE\x80\x80", // the neighbours of the surrogates
        b"\xF4\x8F\xBF\xBF",         // U+10FFFF
    ];
    let bad: &[&[u8]] = &[
        b"\0",
        b"a\0b",
        b"\x80",                     // begins in the middle
        b"\xC3",                     // ends in the middle
        b"\xE2\x82",                 // two bytes of three
        b"\xC0\x80",                 // overlong U+0000
        b"\xC1\xBF",                 // overlong U+007F
        b"\xE0\x9F\xBF",             // overlong U+07FF
        b"\xF0\x8F\xBF\xBF",         // overlong U+FFFF
        b"\xED\xA0\x80",             // the first surrogate
        b"\xED\xBF\xBF",             // the last
        b"\xED\xA0\xBD\xED\xB8\x80", // a pair of them
        b"\xF4\x90\x80\x80",         // above U+10FFFF
        b"\xF5\x80\x80\x80",         // far above
        b"\xFF",
    ];
    for text in fine.iter().chain(bad) {
        let valid = fine.contains(text);
        let check = |version, packet: &[u8]| {
            if valid {
                let decoded = decode(version, packet).unwrap();
                assert_eq!(encode(version, &decoded), packet);
            } else {
                refused(version, packet, MALFORMED);
            }
        };
        let value = field(text);
        let head = |level: u8, flags: u8| [b"\0\x04MQTT", &[level, flags, 0, 0][..]].concat();
        check(V4, &framed(0x10, &[head(4, 2), value.clone()].concat())); // client id
        let user = [head(4, 0x82), vec![0, 0], value.clone()];
        check(V4, &framed(0x10, &user.concat())); // user name
        if !text.is_empty() {
            let will = [head(5, 6), vec![0, 0, 0, 0], value.clone(), vec![0, 0]];
            check(V5, &framed(0x10, &will.concat())); // will topic
            check(V4, &framed(0x30, &value)); // topic
            check(V4, &framed(0x82, &[&[0, 1], &value[..], &[0]].concat())); // filters
            check(V4, &framed(0xA2, &[&[0, 1], &value[..]].concat()));
        }
        for (letter, carry) in carriers() {
            for (_, property, example, places) in PROPERTIES {
                let id = [*property as u8];
                match example {
                    // An empty response topic is no topic.
                    Text(_) if text.is_empty() && *property == Property::ResponseTopic => (),
                    Text(_) if places.contains(letter) => check(V5, &carry(&[&id, &value[..]].concat())),
                    Pair(..) => {
                        check(V5, &carry(&[&id, &value[..], &field(b"v")].concat()));
                        check(V5, &carry(&[&id[..], &field(b"k"), &value].concat()));
                    }
                    _ => (),
                }
            }
        }
        if let Ok(text) = std::str::from_utf8(text) {
            assert_eq!(check_text(text).is_ok(), valid);
        }
    }
    assert!(check_text(&"x".repeat(65535)).is_ok());
    assert!(check_text(&"x".repeat(65536)).is_err());
    assert!(check_text(&"ä".repeat(32767)).is_ok());
    assert!(check_text(&"ä".repeat(32768)).is_err()); // bytes count, not characters
}

#[test]
fn cut_short_or_too_long() {
    for (version, packet) in stories() {
        let body = &packet[2..];
        for end in 0..body.len() {
            // Some are whole packets, too; none is the same one.
            if let Ok(shorter) = Packet::decode(version, packet[0], &body[..end]) {
                let again = encode(version, &shorter);
                assert_ne!(again, packet);
                assert_eq!(decode(version, &again), Ok(shorter));
            }
        }
        let more = [body, &[0]].concat();
        match packet[0] & 0xF0 {
            0x30 | 0x90 => (), // a longer payload, another code
            0xB0 if version == V5 => (),
            0xE0 | 0xF0 if body.is_empty() && version == V5 => (),
            0x40..=0x70 | 0xE0 if version == V5 && body.len() < 4 => (),
            _ => refused(version, &framed(packet[0], &more), MALFORMED),
        }
    }
}

#[test]
fn remaining_lengths() {
    let table = [
        (0, "00"),
        (1, "01"),
        (127, "7F"),
        (128, "80 01"),
        (16_383, "FF 7F"),
        (16_384, "80 80 01"),
        (2_097_151, "FF FF 7F"),
        (2_097_152, "80 80 80 01"),
        (268_435_455, "FF FF FF 7F"),
    ];
    for (length, text) in table {
        let header = [&[0x30], &bytes(text)[..]].concat();
        // The decoder believes it, and keeps only what is there.
        let mut decoder = Decoder::new(V4, u32::MAX);
        let mut at = 0;
        let step = decoder.step(&header, &mut at, 0);
        if length == 0 {
            assert_eq!(step, Ok(Step::Packet { first: 0x30, start: 2, len: 0 }));
        } else {
            assert_eq!((step, at), (Ok(Step::More), header.len()));
            assert_eq!(decoder.buffered(), 0);
        }
        // The encoder writes it.
        if length > 3 {
            let publish = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: b"t",
                id: 0,
                properties: NONE,
                payload: &[],
            };
            let mut out = Vec::new();
            publish.encode_header(V4, None, length - 3, &mut out);
            assert_eq!(out, [header, bytes("00 01 't'")].concat());
        }
    }
    // A length that is patched in afterwards, too.
    for topic in [100, 121, 122, 123, 200, 16_377, 16_378, 16_379, 65_535] {
        let filter = "x".repeat(topic);
        let mut out = b"before".to_vec();
        encode_unsubscribe(V4, 1, NONE, [&*filter].into_iter(), &mut out);
        let expected = framed(0xA2, &[&[0, 1], &field(filter.as_bytes())[..]].concat());
        assert_eq!(out, [b"before", &expected[..]].concat());
    }
    for text in ["30 FF FF FF FF 7F", "30 80 80 80 80", "D0 80 00", "30 FF 00", "30 80 80 00"] {
        for split in 0..2 {
            let packet = bytes(text);
            let error = all(&mut Decoder::new(V4, u32::MAX), &packet, split).unwrap_err();
            assert_eq!(error.reason, MALFORMED, "{text}");
        }
    }
}

// ---------------------------------------------------------------------------------------------- decoder

type Whole = (u8, Vec<u8>);

/// Feeds chunks of `size` bytes (0: all at once). The packets, as first byte and body.
fn all(decoder: &mut Decoder, stream: &[u8], size: usize) -> Result<Vec<Whole>, DecodeError> {
    let mut packets = Vec::new();
    for chunk in stream.chunks(if size == 0 { stream.len() } else { size }) {
        feed(decoder, chunk, &mut packets)?;
    }
    Ok(packets)
}

fn feed(decoder: &mut Decoder, chunk: &[u8], out: &mut Vec<Whole>) -> Result<(), DecodeError> {
    let mut at = 0;
    loop {
        match decoder.step(chunk, &mut at, 0)? {
            Step::Packet { first, start, len } => out.push((first, chunk[start..][..len].to_vec())),
            Step::Split { first, body } => {
                out.push((first, body.clone()));
                decoder.recycle(body);
            }
            Step::More => {
                assert_eq!(at, chunk.len());
                return Ok(());
            }
        }
    }
}

/// Feeds one chunk through windows of `size` bytes, as for a chunk that stays outside of memory.
fn windowed(version: Version, chunk: &[u8], size: usize) -> Result<Vec<Whole>, DecodeError> {
    let mut decoder = Decoder::new(version, u32::MAX);
    let mut packets = Vec::new();
    let mut from = 0;
    while from < chunk.len() {
        let window = &chunk[from..(from + size).min(chunk.len())];
        let beyond = chunk.len() - from - window.len();
        let mut at = 0;
        loop {
            match decoder.step(window, &mut at, beyond)? {
                Step::Packet { first, start, len } => {
                    let body = &chunk[from + start..][..len];
                    if at > window.len() {
                        let header = Publish::decode_header(version, first, &window[start..], len);
                        let payload_start = header.unwrap().1.payload_start;
                        assert!(start + payload_start <= window.len());
                    }
                    packets.push((first, body.to_vec()));
                }
                Step::Split { first, body } => {
                    packets.push((first, body.clone()));
                    decoder.recycle(body);
                }
                Step::More => break,
            }
        }
        assert!(at > 0, "the window is used");
        assert!(beyond > 0 || at == window.len());
        from += at;
    }
    Ok(packets)
}

/// The stories of one version as one stream, and its packets.
fn stream(version: Version) -> (Vec<u8>, Vec<Whole>) {
    let packets: Vec<_> = stories().filter(|(of, _)| *of == version).map(|(_, bytes)| bytes).collect();
    let whole = packets.iter().map(|packet| (packet[0], packet[2..].to_vec())).collect();
    (packets.concat(), whole)
}

#[test]
fn any_split_gives_the_same_packets() {
    for version in [V4, V5] {
        let (stream, packets) = stream(version);
        for size in 0..=stream.len() {
            let mut decoder = Decoder::new(version, u32::MAX);
            assert_eq!(all(&mut decoder, &stream, size), Ok(packets.clone()), "pieces of {size}");
            assert_eq!(decoder.buffered(), 0);
        }
        for split in 0..stream.len() {
            let mut decoder = Decoder::new(version, u32::MAX);
            let mut seen = Vec::new();
            feed(&mut decoder, &stream[..split], &mut seen).unwrap();
            feed(&mut decoder, &stream[split..], &mut seen).unwrap();
            assert_eq!(seen, packets, "split at {split}");
        }
        for size in 1..=stream.len() {
            assert_eq!(windowed(version, &stream, size), Ok(packets.clone()), "windows of {size}");
        }
    }
}

#[test]
fn windows_on_a_chunk() {
    let publish = bytes("32 81 01 00 01 't' 00 01"); // 129 bytes of body, 124 of payload
    let chunk = [&bytes("D0 00")[..], &publish, &[7; 124], &bytes("D0 00")].concat();
    let ping = Step::Packet { first: 0xD0, start: 2, len: 0 };
    let large = Step::Packet { first: 0x32, start: 5, len: 129 };

    // The payload may stay outside.
    let mut decoder = Decoder::new(V4, u32::MAX);
    let mut at = 0;
    assert_eq!(decoder.step(&chunk[..10], &mut at, chunk.len() - 10), Ok(ping.clone()));
    assert_eq!(decoder.step(&chunk[..10], &mut at, chunk.len() - 10), Ok(large));
    assert_eq!(at, chunk.len() - 2);
    assert_eq!(decoder.step(&chunk[..10], &mut at, chunk.len() - 10), Ok(Step::More));
    assert_eq!(decoder.buffered(), 0);

    // The variable header may not: the next window begins with it.
    let mut at = 2;
    assert_eq!(decoder.step(&chunk[..9], &mut at, chunk.len() - 9), Ok(Step::More));
    assert_eq!((at, decoder.buffered()), (2, 0));
    // A window that is too small even then is kept.
    let mut at = 0;
    assert_eq!(decoder.step(&chunk[2..9], &mut at, chunk.len() - 9), Ok(Step::More));
    assert_eq!((at, decoder.buffered()), (7, 4));
    let mut at = 0;
    let Ok(Step::Split { first: 0x32, body }) = decoder.step(&chunk[9..], &mut at, 0) else { panic!() };
    assert_eq!((body.len(), at), (129, chunk.len() - 9 - 2));

    // A payload that goes on in the next chunk is kept as well.
    let mut at = 0;
    let part = chunk.len() - 20;
    assert_eq!(decoder.step(&chunk[2..12], &mut at, part - 12), Ok(Step::More));
    assert_eq!((at, decoder.buffered()), (10, 7));
    let mut at = 0;
    assert_eq!(decoder.step(&chunk[12..part], &mut at, 0), Ok(Step::More));
    let mut at = 0;
    let Ok(Step::Split { body, .. }) = decoder.step(&chunk[part..], &mut at, 0) else { panic!() };
    assert_eq!((&body[5..], at), (&[7; 124][..], 18));
    let Ok(Step::Packet { first: 0xD0, .. }) = decoder.step(&chunk[part..], &mut at, 0) else { panic!() };
}

#[test]
fn a_packet_above_the_maximum_is_refused_from_its_header() {
    for (version, packet) in stories() {
        let size = packet.len() as u32;
        for piece in [0, 1, 2, 3] {
            assert!(all(&mut Decoder::new(version, size), &packet, piece).is_ok());
            let error = all(&mut Decoder::new(version, size - 1), &packet, piece).unwrap_err();
            assert_eq!(error.reason, ReasonCode::PACKET_TOO_LARGE);
            // The fixed header is enough.
            let error = all(&mut Decoder::new(version, size - 1), &packet[..2], piece).unwrap_err();
            assert_eq!(error.reason, ReasonCode::PACKET_TOO_LARGE);
        }
    }
    let mut decoder = Decoder::new(V4, 1000);
    assert!(all(&mut decoder, &bytes("30 E5 07"), 1).is_ok()); // 997 and 3 bytes
    let mut decoder = Decoder::new(V4, 1000);
    assert!(all(&mut decoder, &bytes("30 E6 07"), 1).is_err());
    assert_eq!(decoder.buffered(), 2);
}

#[test]
fn memory_follows_what_arrived() {
    const SMALL: usize = 64 * 1024;
    let announced = allocated(|| {
        let mut decoder = Decoder::new(V5, u32::MAX);
        let mut at = 0;
        let start = bytes("30 FF FF FF 7F 00"); // 256 MiB announced, 1 byte there
        assert_eq!(decoder.step(&start, &mut at, 0), Ok(Step::More));
        assert_eq!(decoder.buffered(), 1);
    });
    assert!(announced.largest <= SMALL);

    let (header, chunk) = (bytes("30 FF FF FF 7F"), vec![0; 10_000]);
    let mut decoder = Decoder::new(V5, u32::MAX);
    let trickled = allocated(|| {
        let mut at = 0;
        decoder.step(&header, &mut at, 0).unwrap();
        for _ in 0..100 {
            let mut at = 0;
            assert_eq!(decoder.step(&chunk, &mut at, 0), Ok(Step::More));
        }
    });
    assert_eq!(decoder.buffered(), 1_000_000);
    assert!(trickled.largest <= 2_000_000);
    assert!(trickled.times < 10, "room doubles");

    // The body's room is exact when it is small, and used again.
    let mut decoder = Decoder::new(V4, u32::MAX);
    let packet = bytes(CONNECT_4);
    all(&mut decoder, &packet, 3).unwrap();
    let mut at = 0;
    let again = allocated(|| {
        assert_eq!(decoder.step(&packet[..5], &mut at, 0), Ok(Step::More));
        let mut at = 0;
        let Ok(Step::Split { body, .. }) = decoder.step(&packet[5..], &mut at, 0) else { panic!() };
        decoder.recycle(body);
    });
    assert_eq!(again.times, 0);
    // A large one is not held on to.
    let kept = allocated(|| decoder.recycle(vec![0; SMALL + 1]));
    assert_eq!(kept.live, 0);
}

#[test]
fn the_hot_path_allocates_nothing() {
    let (stream, packets) = stream(V5);
    let mut out = Vec::with_capacity(4096);
    let counted = allocated(|| {
        let mut decoder = Decoder::new(V5, u32::MAX);
        let (mut at, mut count) = (0, 0);
        while let Step::Packet { first, start, len } = decoder.step(&stream, &mut at, 0).unwrap() {
            count += 1;
            if first & 0xF0 == first::PUBLISH {
                let (publish, _) = Publish::decode_header(V5, first, &stream[start..], len).unwrap();
                publish.encode_header(V5, None, publish.payload.len(), &mut out);
                encode_ack(first::PUBACK, publish.id, ReasonCode::SUCCESS, V5, &mut out);
            }
            Packet::decode(V5, first, &stream[start..][..len]).unwrap();
        }
        assert_eq!(count, packets.len());
    });
    assert_eq!(counted.times, 0);
}

// ---------------------------------------------------------------------------------------------- any input

/// Whatever comes in is refused, or is a packet that is the same after a turn through its bytes.
fn survives(version: Version, first: u8, body: &[u8]) {
    let _ = Packet::decode_from_server(version, first, body);
    if let Ok(packet) = Packet::decode(version, first, body) {
        if let Packet::Subscribe(subscribe) = &packet {
            assert!(subscribe.filters.clone().all(|(filter, _)| check_filter(filter).is_ok()));
        }
        // In short form now, and no longer than before.
        let encoded = encode(version, &packet);
        assert!(encoded.len() <= framed(first, body).len() || body == [0, 1]);
        assert_eq!(decode(version, &encoded), Ok(packet));
    }
}

#[test]
fn random_property_blocks() {
    let mut random = Random(5);
    for (letter, carry) in carriers() {
        let allowed: Vec<_> = PROPERTIES.iter().filter(|(.., places)| places.contains(letter)).collect();
        for _ in 0..300 {
            // At least one, each at most once, in any order.
            let mut left = allowed.clone();
            let mut chosen = Vec::new();
            for _ in 0..=random.below(left.len()) {
                chosen.push(left.swap_remove(random.below(left.len())));
            }
            let has = |property| chosen.iter().any(|(_, name, ..)| *name == property);
            let valid = has(Property::AuthenticationMethod) || !has(Property::AuthenticationData);
            let block: Vec<u8> = chosen.iter().flat_map(|(text, ..)| bytes(text)).collect();
            let packet = carry(&block);
            if valid {
                assert_eq!(decode(V5, &packet).map(|packet| encode(V5, &packet)), Ok(packet));
            } else {
                refused(V5, &packet, PROTOCOL);
            }
        }
    }
}

#[test]
fn random_bodies() {
    let mut random = Random(1);
    for _ in 0..200_000 {
        let len = random.below(24);
        // Small numbers make lengths that fit.
        let body: Vec<u8> =
            (0..len).map(|_| if random.below(3) == 0 { random.below(256) } else { random.below(8) } as u8).collect();
        let first = random.below(256) as u8;
        survives(random.pick(&[V4, V5]), first, &body);
    }
}

#[test]
fn stories_with_changes() {
    let mut random = Random(2);
    for (version, packet) in stories() {
        for _ in 0..5_000 {
            let mut body = packet[2..].to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(body.len() + 1);
                match random.below(4) {
                    0 => body.insert(at, random.below(256) as u8),
                    1 => body.truncate(at),
                    2 if at < body.len() => drop(body.remove(at)),
                    _ if at < body.len() => body[at] = body[at].wrapping_add(random.pick(&[1, 255, 128])),
                    _ => (),
                }
            }
            survives(version, packet[0], &body);
            let other = if version == V4 { V5 } else { V4 };
            survives(other, packet[0], &body);
        }
    }
}

#[test]
fn random_streams() {
    let mut random = Random(3);
    for _ in 0..20_000 {
        let version = random.pick(&[V4, V5]);
        let stream: Vec<u8> = (0..1 + random.below(60))
            .map(|_| random.pick(&[0, 1, 2, 3, 5, 0x7F, 0x80, 0xFF, 0x30, 0x32, 0x40, 0xD0]))
            .collect();
        let run = |size| all(&mut Decoder::new(version, 1000), &stream, size);
        let whole = run(0);
        assert_eq!(run(1), whole);
        assert_eq!(run(1 + random.below(stream.len())), whole);
        let size = 1 + random.below(stream.len());
        if let Ok(packets) = all(&mut Decoder::new(version, u32::MAX), &stream, 0)
            && packets.iter().all(|(first, body)| Packet::decode(version, *first, body).is_ok())
        {
            assert_eq!(windowed(version, &stream, size), Ok(packets));
        }
    }
}

// ---------------------------------------------------------------------------------------------- topics

#[test]
fn topic_names() {
    for topic in ["a", "/", "//", "a/b", "/a", "a/", " ", "$SYS/x", "$share/g/a", "ä/\u{FEFF}", "\u{1}"] {
        assert_eq!(check_topic(topic.as_bytes()), Ok(topic));
    }
    let errors: &[(&[u8], _)] = &[
        (b"", TopicError::Empty),
        (b"+", TopicError::Wildcard),
        (b"a/#", TopicError::Wildcard),
        (b"a+b", TopicError::Wildcard),
        (b"a\0", TopicError::NotText),
        (b"\xED\xA0\x80", TopicError::NotText),
        (b"\xC0\x80", TopicError::NotText),
    ];
    for (topic, error) in errors {
        assert_eq!(check_topic(topic), Err(*error));
        assert!(!error.what().is_empty());
    }
    assert!(check_topic(&[b'x'; 65535]).is_ok());
    assert_eq!(check_topic(&[b'x'; 65536]), Err(TopicError::TooLong));
}

#[test]
fn topic_filters() {
    let valid = "a / // + # +/+ a/+ +/a a/+/b a/# +/# /# /+ a//b $SYS/# $share $SHARE/a# \
        $share/g/a $share/g// $share/g/# $share/g/+/b $share/$x/$SYS/#";
    for filter in valid.split_whitespace().filter(|filter| *filter != "$SHARE/a#") {
        assert_eq!(check_filter(filter), Ok(()), "{filter}");
    }
    let misplaced = "a# #a a/b# #/ #/a a/#/b ## a+ +a a/+b a/b+ ++ +# a/+# $SHARE/a# \
        $share/g/a# $share/g/#/b $share/g/a+";
    for filter in misplaced.split_whitespace() {
        assert_eq!(check_filter(filter), Err(TopicError::WildcardPlace), "{filter}");
    }
    for filter in ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#", "$share/g+/a"] {
        assert_eq!(check_filter(filter), Err(TopicError::ShareName), "{filter}");
    }
    assert_eq!(check_filter(""), Err(TopicError::Empty));
    assert_eq!(check_filter("a\0"), Err(TopicError::NotText));
    assert_eq!(check_filter("$share/g\0/a"), Err(TopicError::NotText));
    assert!(check_filter(&"ä".repeat(32767)).is_ok());
    assert_eq!(check_filter(&"ä".repeat(32768)), Err(TopicError::TooLong));

    assert_eq!(shared("$share/g/a/+"), Some(("g", "a/+")));
    assert_eq!(shared("$share/g/"), None);
    assert_eq!(shared("a/b"), None);
    assert_eq!(shared("share/g/a"), None);
}

#[test]
fn matching_by_the_examples_of_the_specification() {
    let table = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/#", "sport", true),
        ("sport/#", "sports", false),
        ("#", "sport/tennis", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+", "/finance", false),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/#", "a/$b", true),
        ("a/+", "a/$b", true),
        ("ACCOUNTS", "Accounts", false),
        ("a", "a/", false),
        ("a/", "a", false),
        ("a//b", "a/b", false),
        ("a/+/b", "a//b", true),
        ("$share/g/sport/+", "sport/x", true),
        ("$share/g/sport/+", "$share/g/sport/x", false),
        ("$share/g/#", "$SYS/x", false),
        ("#", "$share/g/x", false),
    ];
    for (filter, topic, expected) in table {
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
    }
}

/// The rules once more, word for word: all levels at once.
fn naive(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([a, filter @ ..], [b, topic @ ..]) => a == b && levels(filter, topic),
            _ => false,
        }
    }
    let split = |text: &'_ str| -> Vec<String> { text.split('/').map(String::from).collect() };
    let (filter, topic) = (split(filter), split(topic));
    let filter: Vec<&str> = filter.iter().map(|level| &**level).collect();
    let topic: Vec<&str> = topic.iter().map(|level| &**level).collect();
    let hidden = topic[0].starts_with('$') && ["+", "#"].contains(&filter[0]);
    !hidden && levels(&filter, &topic)
}

/// All topics, or filters, of one to `depth` levels.
fn every(levels: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = levels.iter().map(|level| level.to_string()).collect();
    let mut longest = all.clone();
    for _ in 1..depth {
        longest = longest.iter().flat_map(|start| levels.iter().map(move |level| format!("{start}/{level}"))).collect();
        all.extend(longest.clone());
    }
    all
}

#[test]
fn overlaps_by_brute_force() {
    let filters: Vec<_> =
        every(&["a", "$b", "", "+", "#"], 3).into_iter().filter(|filter| check_filter(filter).is_ok()).collect();
    // One level more than the filters have, and one name more.
    let topics: Vec<_> = every(&["a", "$b", "", "c"], 4).into_iter().filter(|topic| !topic.is_empty()).collect();
    let matching: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| {
            let row = topics.iter().map(|topic| {
                assert_eq!(matches(filter, topic), naive(filter, topic), "{filter} {topic}");
                naive(filter, topic)
            });
            row.collect()
        })
        .collect();
    assert!(filters.len() > 80);
    for (a, of_a) in filters.iter().zip(&matching) {
        for (b, of_b) in filters.iter().zip(&matching) {
            let expected = of_a.iter().zip(of_b).any(|(a, b)| *a && *b);
            assert_eq!(overlaps(a, b), expected, "{a} {b}");
            assert_eq!(overlaps(&format!("$share/g/{a}"), b), expected, "$share/g/{a} {b}");
        }
    }
}

// ---------------------------------------------------------------------------------------------- trie

fn found(trie: &Trie, topic: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    trie.matching(topic, &mut ids);
    ids.sort();
    ids
}

#[test]
fn a_trie_of_a_few() {
    let mut trie = Trie::default();
    assert_eq!(found(&trie, "a"), []);
    assert_eq!((trie.get("a"), trie.remove("a")), (None, None));
    let filters = ["a/b", "a/+", "a/#", "#", "+/b", "+/+/c", "a", "$SYS/#", "/", "+"];
    for (id, filter) in filters.iter().enumerate() {
        assert_eq!(trie.insert(filter, id as u32), None);
    }
    assert_eq!(found(&trie, "a/b"), [0, 1, 2, 3, 4]);
    assert_eq!(found(&trie, "a"), [2, 3, 6, 9]);
    assert_eq!(found(&trie, "a/b/c"), [2, 3, 5]);
    assert_eq!(found(&trie, "$SYS/b"), [7]);
    assert_eq!(found(&trie, "$SYS"), [7]);
    assert_eq!(found(&trie, "/"), [3, 8]);
    assert_eq!(trie.insert("a/+", 77), Some(1));
    assert_eq!(trie.get("a/+"), Some(77));
    assert_eq!(trie.remove("a/+"), Some(77));
    assert_eq!(trie.remove("a/+"), None);
    assert_eq!(trie.remove("+/+"), None); // on the way to a filter, not one
    assert_eq!(found(&trie, "a/b"), [0, 2, 3, 4]);
}

#[test]
fn a_trie_agrees_with_the_rules() {
    let filters: Vec<_> =
        every(&["a", "b", "$c", "", "+", "#"], 4).into_iter().filter(|filter| check_filter(filter).is_ok()).collect();
    let topics = every(&["a", "b", "$c", ""], 4);
    let mut random = Random(4);
    let mut trie = Trie::default();
    let mut model = std::collections::BTreeMap::new();
    for round in 0..30_000 {
        let at = random.below(filters.len());
        let filter = &filters[at];
        // Now mostly growing, now mostly shrinking.
        if random.below(10) < if round / 3_000 % 2 == 0 { 7 } else { 2 } {
            assert_eq!(trie.insert(filter, round), model.insert(filter, round), "{filter}");
        } else {
            assert_eq!(trie.remove(filter), model.remove(filter), "{filter}");
        }
        assert_eq!(trie.get(filter), model.get(filter).copied());
        if round % 50 == 0 {
            let topic = &topics[1 + random.below(topics.len() - 1)];
            let mut expected: Vec<u32> =
                model.iter().filter(|(filter, _)| naive(filter, topic)).map(|(_, id)| *id).collect();
            expected.sort();
            assert_eq!(found(&trie, topic), expected, "{topic}");
        }
    }
    for filter in &filters {
        assert_eq!(trie.remove(filter), model.remove(filter));
    }
    assert_eq!(format!("{trie:?}"), format!("{:?}", Trie::default()), "nothing is left");
}

#[test]
fn a_large_trie() {
    let mut trie = Trie::default();
    for id in 0..100_000 {
        trie.insert(&format!("site/{id}/+/state"), id);
    }
    for id in [0, 1, 777, 50_000, 99_999] {
        assert_eq!(found(&trie, &format!("site/{id}/x/state")), [id]);
    }
    assert_eq!(found(&trie, "site/100000/x/state"), []);
    for id in (0..100_000).filter(|id| id % 10 != 0) {
        assert_eq!(trie.remove(&format!("site/{id}/+/state")), Some(id));
    }
    assert_eq!(found(&trie, "site/777/x/state"), []);
    assert_eq!(found(&trie, "site/770/x/state"), [770]);
    // Places are used again.
    let churn = allocated(|| {
        for id in 0..50_000 {
            let filter = format!("site/new{id}/#");
            trie.insert(&filter, id);
            trie.remove(&filter);
        }
    });
    assert!(churn.live.unsigned_abs() < 1000, "{}", churn.live);
}

#[test]
fn a_filter_of_many_levels() {
    let deep = "+/".repeat(32_000) + "#";
    check_filter(&deep).unwrap();
    let mut trie = Trie::default();
    trie.insert(&deep, 1);
    assert_eq!(found(&trie, &"/".repeat(65_000)), [1]);
    assert!(matches(&deep, &"/".repeat(65_000)));
    assert_eq!(trie.remove(&deep), Some(1));
}
