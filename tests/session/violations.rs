//! What a server may not do: on MQTT 5 it is told why and the connection ends; on 3.1.1 the connection ends.

use wasmqtt::codec::{Decoder, Step, Version};
use wasmqtt::session::ErrorCode;

use crate::support::Pair;
use crate::support::notation::{self, bytes};
use crate::{bare, both, up};

/// The connection ends with this reason, and the application hears of it once.
#[track_caller]
fn ends(pair: &mut Pair, version: u8, reason: u8, story: &str) {
    let sent = pair.sent();
    let told = pair.tell();
    let goodbye = format!("DISCONNECT {reason:#04x}");
    let expected = if version == 5 { vec![&*goodbye, "CLOSE"] } else { vec!["CLOSE"] };
    assert_eq!(sent, expected, "{story}: {told:?}");
    assert_eq!(told[0], format!("error PROTOCOL_ERROR {reason:#04x}"), "{story}");
    assert!(!told.iter().any(|line| line.starts_with("message")), "{story}: {told:?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("error")).count(), 1, "{story}");
}

/// A packet that comes on a connection that is up, behind a good one and before another.
#[track_caller]
fn is_refused(version: u8, packet: &[u8], reason: u8) {
    let mut pair = up(&format!("protocolVersion={version} clientId=me"));
    pair.plays("PINGRESP");
    pair.clear();
    pair.receives(&[packet, &[0xD0, 0]].concat());
    ends(&mut pair, version, reason, &format!("{packet:02x?} in {version}"));
}

/// The packets of a server, well formed.
const PACKETS: [&str; 11] = [
    "CONNACK",
    "PUBLISH q0 a 'x'",
    "PUBLISH q1 #1 a 'x'",
    "PUBACK #1",
    "PUBREC #1",
    "PUBREL #1",
    "PUBCOMP #1",
    "SUBACK #1 0",
    "UNSUBACK #1 0",
    "PINGRESP",
    "DISCONNECT",
];

/// Shows [MQTT5-2.1.3-1] [MQTT3-2.2.2-2] [MQTT5-3.6.1-1] [MQTT3-3.6.1-1] [MQTT5-3.14.1-1] [MQTT5-3.15.1-1]
#[test]
fn flags_that_are_reserved() {
    for (version, number) in [(Version::V5, 5), (Version::V311, 4)] {
        for packet in PACKETS.iter().chain(&["AUTH 0x18 AuthenticationMethod=m"]) {
            let good = notation::read(version, packet);
            for flags in 0..16 {
                let first = good[0] & 0xF0 | flags;
                if first == good[0] || good[0] >> 4 == 3 {
                    continue;
                }
                let reason = if number == 4 && good[0] >> 4 == 15 { 0x82 } else { 0x81 };
                is_refused(number, &[&[first], &good[1..]].concat(), reason);
            }
        }
    }
}

/// Shows [MQTT5-3.3.1-4] [MQTT3-3.3.1-4] [MQTT5-3.3.1-2] [MQTT3-3.3.1-2]
#[test]
fn qos_3_and_dup_at_qos_0() {
    for version in [Version::V5, Version::V311] {
        let number = if version == Version::V5 { 5 } else { 4 };
        let good = notation::read(version, "PUBLISH q1 #1 a 'x'");
        for first in [0x36, 0x37, 0x3E, 0x3F, 0x38, 0x39] {
            is_refused(number, &[&[first], &good[1..]].concat(), 0x81);
        }
    }
}

/// Shows [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT5-3.3.2-1] [MQTT3-3.3.2-1]
/// Shows [MQTT5-3.3.2-2] [MQTT3-3.3.2-2] [MQTT5-4.7.3-2] [MQTT3-4.7.3-2] [MQTT5-4.7.0-1] [MQTT3-4.7.1-1]
#[test]
fn topics_that_are_none() {
    let bad: [&[u8]; 9] = [
        b"a\0b",
        b"\xED\xA0\x80",
        b"\xED\xBF\xBF",
        b"\xC0\x80",
        b"\xC3",
        b"\xF4\x90\x80\x80",
        b"\xFF",
        b"a/+",
        b"#",
    ];
    for topic in bad {
        let field = [&[0, topic.len() as u8], topic].concat();
        let body = [&field[..], &[0]].concat();
        is_refused(5, &[&[0x30, body.len() as u8], &body[..]].concat(), 0x81);
        is_refused(4, &[&[0x30, field.len() as u8], &field[..]].concat(), 0x81);
        // With an alias, which is another way through the code.
        let body = [&field[..], &[3, 0x23, 0, 1]].concat();
        let mut pair = Pair::connected("");
        pair.receives(&[&[0x30, body.len() as u8], &body[..]].concat());
        ends(&mut pair, 5, 0x81, "with an alias");
    }
    is_refused(4, &bytes("30 02 00 00"), 0x82);
}

/// Shows [MQTT5-1.5.5-1] [MQTT5-field-past-end] [MQTT5-bytes-left-over]
#[test]
fn lengths_that_do_not_fit() {
    for (packet, what) in [
        ("D0 80 00", "a length that is not in its shortest form"),
        ("30 FF FF FF FF 7F", "a length of five bytes"),
        (
            "30 07 00 01 'a' 80 00 'x' 'x'",
            "a length of properties that is not in its shortest form",
        ),
        ("30 0A 00 FF 'a' 00 'xxxxxx'", "a topic past the end"),
        ("30 05 00 01 'a' 05 'x'", "properties past the end"),
        ("30 07 00 01 'a' 03 08 00 01", "a property past the end of its block"),
        ("30 01 00", "half a length"),
        ("30 00", "nothing at all"),
        ("32 04 00 01 'a' 00", "half an identifier"),
        ("32 03 00 01 'a'", "no identifier"),
        ("40 01 00", "half an identifier"),
        ("40 00", "no identifier"),
        ("40 05 00 01 00 00 00", "bytes left over"),
        ("90 02 00 01", "no properties"),
        ("D0 01 00", "bytes left over"),
        ("E0 03 00 00 00", "bytes left over"),
        ("20 00", "nothing at all"),
        ("20 01 00", "half of it"),
        ("20 05 00 00 80 FF FF", "a length that goes on"),
        ("20 07 00 00 80 FF FF FF 0A", "a length of five bytes"),
    ] {
        let packet = bytes(packet);
        let mut pair = up("");
        pair.receives(&packet);
        ends(&mut pair, 5, 0x81, what);
    }
    for packet in [
        "D0 80 00",
        "30 FF FF FF FF 7F",
        "30 0A 00 FF 'axxxxxxx'",
        "30 01 00",
        "32 04 00 01 'a' 00",
        "40 01 00",
        "40 03 00 01 00",
        "D0 01 00",
        "20 01 00",
        "B0 03 00 01 00",
    ] {
        is_refused(4, &bytes(packet), 0x81);
    }
}

#[test]
fn an_answer_without_a_single_code() {
    is_refused(5, &bytes("90 03 00 01 00"), 0x82);
    is_refused(5, &bytes("B0 03 00 01 00"), 0x82);
    is_refused(4, &bytes("90 02 00 01"), 0x82);
    is_refused(4, &bytes("90 00"), 0x81);
}

/// Shows [MQTT5-2.2.1-4] [MQTT3-2.3.1-4] [MQTT3-2.3.1-1]
#[test]
fn identifier_0() {
    for version in [Version::V5, Version::V311] {
        let number = if version == Version::V5 { 5 } else { 4 };
        for packet in PACKETS.iter().filter(|packet| packet.contains('#')) {
            let mut bytes = notation::read(version, &packet.replace("#1", "#43981"));
            let at = bytes.windows(2).position(|two| two == 43_981u16.to_be_bytes()).unwrap();
            bytes[at..at + 2].fill(0);
            is_refused(number, &bytes, 0x82);
        }
    }
}

/// Shows [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1] [MQTT5-3.9.3-2] [MQTT5-3.11.3-2]
/// Shows [MQTT5-3.14.2-1] [MQTT5-3.15.2-1] [MQTT5-3.2.2-8]
#[test]
fn reason_codes_of_another_packet() {
    const PUBACK: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
    const SUBACK: &[u8] = &[0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2];
    const DISCONNECT: &[u8] = &[
        // 0x84, 0x85, 0x86 and 0x8A are for CONNACK only, and mean the same here.
        0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x8A, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E,
        0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F,
        0xA0, 0xA1, 0xA2,
    ];
    for (head, tail, allowed) in [
        ("40 03 00 09", "", PUBACK),
        ("50 03 00 09", "", PUBACK),
        ("62 03 00 09", "", &[0x00, 0x92]),
        ("70 03 00 09", "", &[0x00, 0x92]),
        ("90 04 00 09 00", "", SUBACK),
        ("B0 04 00 09 00", "", &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
        ("E0 01", "", DISCONNECT),
        ("F0 06", "04 15 00 01 'm'", &[0x00, 0x18]),
    ] {
        for code in 0..=255 {
            let packet = [bytes(head), vec![code], bytes(tail)].concat();
            let mut pair = up("");
            pair.receives(&packet);
            let told = pair.tell();
            let refused = told.first().is_some_and(|line| line == "error PROTOCOL_ERROR 0x82");
            // An AUTH is never welcome here, but it is heard out.
            let auth = head.starts_with("F0");
            assert_eq!(refused, !allowed.contains(&code) || auth, "{packet:02x?}: {told:?}");
        }
    }
}

/// Shows [MQTT3-3.9.3-2]
#[test]
fn return_codes_of_a_suback_of_3_1_1() {
    for code in 0..=255 {
        let mut pair = up("protocolVersion=4");
        pair.subscribe("a");
        pair.clear();
        pair.receives(&[0x90, 3, 0, 1, code]);
        assert_eq!(pair.sent() == ["CLOSE"], !matches!(code, 0..=2 | 0x80), "{code:#04x}");
    }
}

/// Shows [MQTT5-packet-of-a-client] [MQTT3-packet-of-a-client]
#[test]
fn packets_of_a_client() {
    for (packet, five, four) in [
        ("00 00", 0x81, 0x81),
        ("0F 00", 0x81, 0x81),
        ("10 00", 0x82, 0x82),
        ("82 06 00 01 00 01 'a' 00", 0x82, 0x82),
        ("A2 05 00 01 00 01 'a'", 0x82, 0x82),
        ("C0 00", 0x82, 0x82),
    ] {
        is_refused(5, &bytes(packet), five);
        is_refused(4, &bytes(packet), four);
    }
    is_refused(4, &bytes("E0 00"), 0x82);
    is_refused(4, &bytes("F0 00"), 0x82);
}

/// Shows [MQTT5-3.2.0-1] [MQTT3-3.2.0-1] [MQTT5-3.14.0-1]
#[test]
fn packets_before_connack() {
    for (version, number) in [(Version::V5, 5), (Version::V311, 4)] {
        for packet in PACKETS.iter().filter(|packet| **packet != "CONNACK") {
            let mut pair = bare(&format!("protocolVersion={number}"));
            pair.connect();
            pair.clear();
            pair.receives(&notation::read(version, packet));
            ends(&mut pair, number, 0x82, packet);
        }
    }
}

/// Shows [MQTT5-3.2.0-2]
#[test]
fn a_second_connack() {
    for mut pair in both("") {
        let number = if pair.bytes_of("CONNACK").len() == 5 { 5 } else { 4 };
        pair.plays("CONNACK");
        ends(&mut pair, number, 0x82, "CONNACK");
    }
    let mut pair = bare("");
    pair.connect();
    pair.plays("CONNACK; CONNACK");
    assert_eq!(pair.session().stats().connections, 1);
    assert_eq!(pair.sent().pop().unwrap(), "CLOSE");
}

/// Shows [MQTT5-3.14.2-1] [MQTT5-3.14.2-2]
#[test]
fn what_only_a_client_says_in_disconnect() {
    for packet in ["E0 01 04", "E0 07 00 05 11 00 00 00 05", "E0 07 8B 05 11 00 00 00 00"] {
        is_refused(5, &bytes(packet), 0x82);
    }
}

/// Shows [MQTT5-property-misplaced] [MQTT5-property-repeated] [MQTT5-property-boolean] [MQTT5-property-zero]
/// Shows [MQTT5-subscription-identifier-zero] [MQTT5-authentication-data-alone] [MQTT5-field-past-end]
/// Shows [MQTT5-3.3.2-13] [MQTT5-3.3.2-14] [MQTT5-3.3.2-19] [MQTT5-1.5.7-1]
#[test]
fn properties_against_the_rules() {
    for (block, reason) in [
        ("2B 00", 0x81),
        ("00 00", 0x81),
        ("7F", 0x81),
        ("80 01", 0x81),
        ("21 00 05", 0x81),
        ("1F 00 01 'x'", 0x81),
        ("01 00 01 00", 0x82),
        ("02 00 00 00 01 02 00 00 00 01", 0x82),
        ("23 00 01 23 00 01", 0x82),
        ("01 02", 0x82),
        ("0B 00", 0x82),
        ("08 00 01 '#'", 0x82),
        ("08 00 00", 0x82),
        ("08 00 01 FF", 0x81),
        ("03 00 01 FF", 0x81),
        ("03 00 01 00", 0x81),
        ("26 00 01 FF 00 01 'x'", 0x81),
        ("26 00 01 'x' 00 02 C0 80", 0x81),
        ("26 00 01 'x' 00 01 00", 0x81),
        ("26 00 01 'x'", 0x81),
        ("09 00 05 'x'", 0x81),
        ("02 00 00", 0x81),
    ] {
        let block = bytes(block);
        let body = [b"\0\x01a".as_slice(), &[block.len() as u8], &block].concat();
        is_refused(5, &[&[0x30, body.len() as u8], &body[..]].concat(), reason);
    }
    for (block, reason) in [
        ("21 00 00", 0x82),
        ("27 00 00 00 00", 0x82),
        ("24 02", 0x82),
        ("25 02", 0x82),
        ("28 02", 0x82),
        ("29 FF", 0x82),
        ("2A 02", 0x82),
        ("21 00 05 21 00 05", 0x82),
        ("16 00 01 'x'", 0x82),
        ("17 01", 0x81),
        ("12 00 01 00", 0x81),
    ] {
        let block = bytes(block);
        let mut pair = bare("");
        pair.connect();
        pair.clear();
        let head = [0x20, block.len() as u8 + 3, 0, 0, block.len() as u8];
        pair.receives(&[&head[..], &block].concat());
        ends(&mut pair, 5, reason, &format!("{block:02x?}"));
    }
}

/// Shows [MQTT5-3.1.2-29]
#[test]
fn problem_information_that_was_not_asked_for() {
    for packet in
        ["PUBACK #1", "PUBREC #2", "PUBREL #1", "PUBCOMP #9", "SUBACK #3 0", "UNSUBACK #9 0"]
    {
        for property in ["ReasonString=x", "UserProperty=a:b"] {
            let story = |asked: bool| {
                let mut pair = up(&format!("properties.requestProblemInformation={asked}"));
                pair.publish("q1 a 'x'");
                pair.publish("q2 a 'x'");
                pair.subscribe("a");
                pair.clear();
                pair.plays(&format!("{packet} {property}"));
                pair
            };
            ends(&mut story(false), 5, 0x82, packet);
            assert!(
                !story(true)
                    .tell()
                    .iter()
                    .any(|line| line.starts_with("error PROTOCOL_ERROR 0x82")),
                "{packet}"
            );
        }
    }
    let mut pair = up("properties.requestProblemInformation=false");
    pair.plays("PUBLISH q0 a 'x' UserProperty=a:b");
    pair.tells(["message q0 a 'x' UserProperty=a:b"]);
    pair.plays("DISCONNECT 0x8B ReasonString=x UserProperty=a:b");
    assert_eq!(pair.errors()[0].code, ErrorCode::ServerDisconnected);
}

/// Shows [MQTT5-6.0.0-1] [MQTT3-6.0.0-1]
#[test]
fn a_frame_that_is_not_binary() {
    for (number, mut pair) in [5, 4].into_iter().zip(both("")) {
        pair.session().handle_text(pair.now());
        pair.pump();
        ends(&mut pair, number, 0x82, "text");
    }
}

/// Shows [MQTT5-4.13.2-1] [MQTT5-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn after_a_violation_nothing_more_is_read_or_sent() {
    for mut pair in both("") {
        let token = pair.publish("q1 a 'x'");
        pair.clear();
        let bad = [
            pair.bytes_of("PUBLISH q2 #5 a 'good'"),
            vec![0x00, 0x00],
            pair.bytes_of("PUBACK #1; PUBLISH q0 a ''"),
        ];
        pair.receives(&bad.concat());
        let sent = pair.sent();
        assert_eq!(sent.last().unwrap(), "CLOSE");
        assert!(sent.len() <= 2, "{sent:?}");
        let told = pair.tell();
        assert_eq!(told[..2], ["message q2 a 'good'", "error PROTOCOL_ERROR 0x81"]);
        assert!(!told.contains(&format!("published {token}")), "{told:?}");
        pair.receives(&[0xD0, 0]);
        pair.session().handle_input(pair.now(), [0xD0, 0][..].into());
        pair.pump();
        pair.quiet();
    }
}

/// A violation while the client ends: it ends.
#[test]
fn a_violation_while_closing() {
    let mut pair = up("");
    let token = pair.publish("q1 a 'x'");
    pair.end();
    pair.clear();
    pair.receives(&[0, 0]);
    pair.sends(["DISCONNECT 0x81", "CLOSE"]);
    pair.tells([
        "error PROTOCOL_ERROR 0x81",
        "state closed",
        &format!("failed {token} CLOSED"),
        "closed",
    ]);
}

/// A 3.1.1 DISCONNECT would be a normal end, and delete the will.
#[test]
fn on_3_1_1_nothing_is_said() {
    let mut pair = up("protocolVersion=4 will.topic=w");
    pair.receives(&[0, 0]);
    pair.sends(["CLOSE"]);
}

/// Any prefix of anything, a flood of anything: an end, or a wait for more.
/// Contract: No input from the network can throw into user code, crash the page or the process, or
/// hang a promise.
#[test]
fn whatever_comes_the_session_survives() {
    let mut random = 1u64;
    let mut next = move || {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as u8
    };
    for round in 0..4_000 {
        let version = if round % 2 == 0 { 5 } else { 4 };
        let mut pair = up(&format!("protocolVersion={version} clientId=me clean=false"));
        pair.publish("q1 a 'x'");
        pair.publish("q2 a 'x'");
        pair.subscribe("a");
        let mut chunk = pair.bytes_of(PACKETS[round % PACKETS.len()]);
        for _ in 0..next() % 4 {
            let at = usize::from(next()) % chunk.len();
            chunk[at] = next();
        }
        chunk.extend((0..next() % 8).map(|_| next()));
        pair.receives(&chunk);
        let mut at = 0;
        assert!(
            Decoder::new(Version::V5, 1 << 20).step(&chunk, &mut at, 0) != Ok(Step::More)
                || at == chunk.len()
        );
        pair.end();
        pair.wait(3_000);
        assert_eq!(pair.session().state(), wasmqtt::session::State::Closed);
    }
}
