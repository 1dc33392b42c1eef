//! What the application sends: the QoS exchanges, resuming them, the queue, the server's limits, topic aliases.

use wasmqtt::codec::{QoS, Version};
use wasmqtt::session::{Accepted, Error, ErrorCode, State};

use crate::support::{Arrival, Pair, show_error};
use crate::{accepted, both, up};

/// The session can be resumed, in both versions.
fn kept() -> [Pair; 2] {
    both("clean=false")
}

#[track_caller]
fn refused(result: Result<u32, Box<Error>>, expected: &str) {
    assert_eq!(show_error(&result.unwrap_err()), expected);
}

/// `PUBLISH q1 a '1'` … with these numbers for payloads.
fn publish_all(pair: &mut Pair, qos: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        pair.publish(&format!("{qos} a '{number}'"));
    }
}

// ---------------------------------------------------------------------------------------------- the exchanges

/// Shows [MQTT5-4.3.1-1] [MQTT3-4.3.1-1] [MQTT5-2.2.1-2] [MQTT3-2.3.1-5]
/// Shows [MQTT5-3.3.1-2] [MQTT3-3.3.1-2]
#[test]
fn qos_0_is_sent_and_done() {
    for mut pair in both("") {
        let topic = pair.session.topic("a").unwrap();
        let result = pair.session.publish(pair.now, topic, b"x", QoS::AtMostOnce, false, None, 1);
        assert_eq!(result, Ok(Accepted::Written));
        pair.pump();
        let Arrival::Packet(version, bytes) = &pair.arrivals[0] else { panic!() };
        match version {
            Version::V5 => assert_eq!(bytes, b"\x30\x05\x00\x01a\x00x", "no DUP, no identifier"),
            Version::V4 => assert_eq!(bytes, b"\x30\x04\x00\x01ax"),
        }
        pair.tells([]);
        pair.publish("q0 retain a ''");
        pair.clear();
        pair.reconnected("CONNACK");
        pair.sends([]);
    }
}

/// Shows [MQTT5-4.3.2-1] [MQTT5-4.3.2-2] [MQTT3-4.3.2-1] [MQTT5-3.3.1-3]
#[test]
fn qos_1_ends_with_puback() {
    for mut pair in both("") {
        let token = pair.publish("q1 retain a 'x'");
        pair.sends(["PUBLISH q1 retain #1 a 'x'"]);
        pair.tells([]);
        assert_eq!(pair.session.stats().in_flight_out, 1);
        pair.plays("PUBACK #1");
        pair.sends([]);
        pair.tells([&format!("published {token}")]);
        assert_eq!(pair.session.stats().in_flight_out, 0);
    }
}

/// Shows [MQTT5-4.3.3-1] [MQTT5-4.3.3-2] [MQTT5-4.3.3-4] [MQTT3-4.3.3-1]
#[test]
fn qos_2_ends_with_pubcomp() {
    for mut pair in both("") {
        let token = pair.publish("q2 a 'x'");
        pair.sends(["PUBLISH q2 #1 a 'x'"]);
        pair.plays("PUBREC #1");
        pair.sends(["PUBREL #1"]);
        pair.tells([]);
        assert_eq!(pair.session.stats().in_flight_out, 1);
        pair.plays("PUBREC #1");
        pair.sends(["PUBREL #1"]);
        pair.plays("PUBCOMP #1");
        pair.sends([]);
        pair.tells([&format!("published {token}")]);
        assert_eq!(pair.session.stats().in_flight_out, 0);
    }
}

/// Shows [MQTT5-4.4.0-2] [MQTT5-4.3.3-4]
#[test]
fn a_refused_message_is_done() {
    for (code, retryable) in
        [(0x80, true), (0x83, true), (0x87, false), (0x90, false), (0x91, false), (0x97, true), (0x99, false)]
    {
        let mut pair = up("");
        let one = pair.publish("q1 a '1'");
        let two = pair.publish("q2 a '2'");
        pair.clear();
        pair.plays(&format!("PUBACK #1 {code:#04x} ReasonString=no UserProperty=a:b; PUBREC #2 {code:#04x}"));
        pair.sends([]);
        assert_eq!(pair.errors()[0].properties.borrow().iter().count(), 2);
        assert_eq!(pair.errors()[0].retryable, retryable, "{code:#04x}");
        pair.tells([
            &format!("failed {one} PUBLISH_REFUSED {code:#04x} a"),
            &format!("failed {two} PUBLISH_REFUSED {code:#04x} a"),
        ]);
        assert_eq!(pair.session.stats().in_flight_out, 0);
        pair.reconnected("CONNACK present");
        pair.quiet();
    }
}

#[test]
fn what_the_server_says_of_a_message_is_passed_on() {
    let mut pair = up("");
    let one = pair.publish("q1 a '1'");
    let two = pair.publish("q2 a '2'");
    pair.plays("PUBACK #1 0x10 ReasonString=nobody UserProperty=a:b; PUBREC #2 0x10; PUBCOMP #2 ReasonString=done");
    pair.tells([
        &format!("published {one} 0x10 ReasonString=nobody UserProperty=a:b"),
        &format!("published {two} ReasonString=done"),
    ]);
    let three = pair.publish("q2 a '3'");
    pair.plays("PUBREC #3; PUBCOMP #3 0x92");
    pair.tells([&format!("published {three} 0x92")]);
}

/// Shows [MQTT5-2.2.1-3] [MQTT3-2.3.1-2] [MQTT3-2.3.1-1] [MQTT5-2.2.1-5] [MQTT3-2.3.1-6]
#[test]
fn all_packet_identifiers_are_used_once() {
    for mut pair in both("") {
        let mut used = vec![false; 65_536];
        publish_all(&mut pair, "q2", 0..65_534);
        pair.subscribe("a");
        for packet in pair.sent() {
            let id = identifier(&packet);
            assert!(id > 0 && !std::mem::replace(&mut used[id], true), "{packet}");
        }
        assert_eq!(used.iter().filter(|used| **used).count(), 65_535);
        publish_all(&mut pair, "q1", 0..1);
        pair.subscribe("b");
        pair.unsubscribe("c");
        pair.sends([]);
        pair.publish("q0 a 'goes'");
        pair.sends(["PUBLISH q0 a 'goes'"]);
        for id in [1, 255, 256, 65_534] {
            pair.plays(&format!("PUBREC #{id}"));
            pair.sends([&format!("PUBREL #{id}")]);
        }
        pair.plays("PUBCOMP #256");
        assert_eq!(identifier(&pair.sent()[0]), 256, "free again");
        pair.plays("PUBCOMP #1; PUBCOMP #65534");
        let mut ids: Vec<_> = pair.sent().iter().map(|packet| identifier(packet)).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 65_534]);
    }
}

#[test]
fn all_identifiers_taken_and_the_session_lost_wedges_nothing() {
    for mut pair in kept() {
        publish_all(&mut pair, "q2", 0..40_000);
        publish_all(&mut pair, "q1", 0..25_535);
        let waiting = pair.publish("q1 a 'waits'");
        let subscribed = pair.subscribe("a");
        pair.clear();
        pair.reconnected("CONNACK SubscriptionIdentifierAvailable=0");
        let told = pair.tell();
        assert_eq!(told.iter().filter(|line| line.ends_with("SESSION_LOST a")).count(), 40_000);
        let sent = pair.sent();
        assert_eq!(sent.len(), 1 + 25_535 + 1);
        assert!(sent[0].starts_with("SUBSCRIBE"));
        for packet in &sent {
            let id = identifier(packet);
            pair.plays(&if packet.starts_with("SUB") { format!("SUBACK #{id} 0") } else { format!("PUBACK #{id}") });
        }
        let told = pair.tell();
        assert!(
            told.contains(&format!("published {waiting}")) && told.contains(&format!("subscribed {subscribed} a:0x00"))
        );
        assert_eq!(pair.session.stats().in_flight_out, 0);
    }
}

/// The packet identifier in a packet's text.
fn identifier(packet: &str) -> usize {
    let digits = packet.split_once('#').expect(packet).1;
    digits.split(' ').next().unwrap().parse().unwrap()
}

/// Shows [MQTT5-2.2.1-3] [MQTT3-2.3.1-2] [MQTT3-2.3.1-3] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1]
#[test]
fn an_identifier_is_not_used_again_before_its_exchange_ends() {
    for mut pair in both("") {
        pair.publish("q1 a 'held'");
        pair.publish("q2 a 'released'");
        pair.subscribe("a");
        pair.plays("PUBREC #2");
        pair.clear();
        for _ in 0..1_000 {
            pair.publish("q1 a 'x'");
            let id = identifier(&pair.sent()[0]);
            assert!(id > 3, "{id}");
            pair.plays(&format!("PUBACK #{id}"));
        }
    }
}

// ---------------------------------------------------------------------------------------------- acknowledgements that do not fit

/// Shows [MQTT5-acknowledgement-unknown]
#[test]
fn acknowledgements_of_nothing_disturb_nothing() {
    for mut pair in both("") {
        let token = pair.publish("q1 a 'x'");
        pair.clear();
        pair.plays("PUBACK #9; PUBCOMP #9; PUBACK #65535; SUBACK #9 0; UNSUBACK #9 0");
        pair.quiet();
        pair.plays("PUBREC #9");
        let sent = pair.sent();
        assert!(sent == ["PUBREL #9 0x92"] || sent == ["PUBREL #9"], "{sent:?}");
        pair.plays("PUBREC #9 0x80");
        pair.plays("PUBACK #1");
        pair.tells([&format!("published {token}")]);
    }
}

#[test]
fn an_acknowledgement_of_the_wrong_kind_is_a_protocol_error() {
    for (sent, answer) in [
        ("q1", "PUBREC #1"),
        ("q1", "PUBCOMP #1"),
        ("q1", "SUBACK #1 0"),
        ("q1", "UNSUBACK #1 0"),
        ("q2", "PUBACK #1"),
        ("q2", "PUBCOMP #1"),
        ("q2", "PUBREC #1; PUBACK #1"),
        ("subscribe", "PUBACK #1"),
        ("subscribe", "PUBREC #1"),
        ("subscribe", "PUBCOMP #1"),
        ("subscribe", "UNSUBACK #1 0"),
        ("unsubscribe", "SUBACK #1 0"),
    ] {
        for mut pair in both("") {
            let token = match sent {
                "subscribe" => pair.subscribe("a"),
                "unsubscribe" => pair.unsubscribe("a"),
                qos => pair.publish(&format!("{qos} a 'x'")),
            };
            pair.clear();
            pair.plays(answer);
            let told = pair.tell();
            assert_eq!(told[0], "error PROTOCOL_ERROR 0x82", "{answer} for {sent}");
            assert!(!told.iter().any(|line| line.contains(&format!("ed {token} "))), "it is not settled: {told:?}");
            let sent = pair.sent();
            assert_eq!(sent.last().unwrap(), "CLOSE");
        }
    }
}

// ---------------------------------------------------------------------------------------------- cuts

/// A server by the book for one QoS 1 or 2 publisher.
#[derive(Default)]
struct Server {
    unreleased: Vec<usize>,
    delivered: Vec<String>,
}

impl Server {
    fn answer(&mut self, packet: &str) -> String {
        let id = identifier(packet);
        let payload = packet.rsplit(' ').next().unwrap();
        if packet.starts_with("PUBLISH q1") {
            self.delivered.push(payload.into());
            format!("PUBACK #{id}")
        } else if packet.starts_with("PUBLISH q2") {
            if !self.unreleased.contains(&id) {
                self.unreleased.push(id);
                self.delivered.push(payload.into());
            }
            format!("PUBREC #{id}")
        } else {
            assert!(packet.starts_with("PUBREL"), "{packet}");
            self.unreleased.retain(|unreleased| *unreleased != id);
            format!("PUBCOMP #{id}")
        }
    }
}

/// What goes wrong with a packet of the client: it gets lost, or of the answer only so many bytes arrive.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Lost,
    AnswerCut(usize),
}

/// Shows [MQTT5-4.3.2-3] [MQTT5-4.3.3-3] [MQTT5-4.3.3-5] [MQTT5-4.3.3-6] [MQTT5-4.4.0-1] [MQTT5-3.1.2-23]
/// Shows [MQTT3-2.3.1-3] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1] [MQTT3-4.4.0-1] [MQTT3-3.1.2-4]
#[test]
fn two_cuts_at_any_byte_lose_and_repeat_nothing() {
    let faults: Vec<_> = std::iter::once(Fault::Lost).chain((0..4).map(Fault::AnswerCut)).collect();
    let mut stories = 0;
    for qos in ["q1", "q2"] {
        for first in 0..3 {
            for second in 0..3 {
                for one in &faults {
                    for other in &faults {
                        for pair in kept() {
                            two_cuts(pair, qos, &[(first, *one), (first + 1 + second, *other)]);
                            stories += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(stories, 2 * 3 * 3 * 25 * 2);
}

/// `faults`: at which packet of the client, counted from the beginning.
fn two_cuts(mut pair: Pair, qos: &str, faults: &[(usize, Fault)]) {
    let mut server = Server::default();
    let mut seen: Vec<String> = Vec::new();
    let token = pair.publish(&format!("{qos} a 'x'"));
    let mut sent = pair.sent();
    while !sent.is_empty() {
        let packet = sent.remove(0);
        let fault = faults.iter().find(|(at, _)| *at == seen.len()).map(|(_, fault)| *fault);
        let answer = if let Some(Fault::Lost) = fault { None } else { Some(server.answer(&packet)) };
        seen.push(packet);
        match (fault, answer) {
            (None, Some(answer)) => pair.plays(&answer),
            (Some(Fault::AnswerCut(bytes)), Some(answer)) => {
                let answer = pair.bytes_of(&answer);
                pair.receives(&answer[..bytes]);
                pair.reconnected("CONNACK present");
            }
            _ => pair.reconnected("CONNACK present"),
        }
        sent = pair.sent();
    }
    let story = format!("{faults:?}: {seen:?}");
    assert!(pair.tell().contains(&format!("published {token}")), "{story}");
    match qos {
        "q1" => assert!(!server.delivered.is_empty(), "{story}"),
        _ => assert_eq!(server.delivered, ["'x'"], "{story}"),
    }
    let released = seen.iter().position(|packet| packet.starts_with("PUBREL")).unwrap_or(seen.len());
    for (at, packet) in seen.iter().enumerate() {
        let expected = match at {
            0 => format!("PUBLISH {qos} #1 a 'x'"),
            _ if at < released => format!("PUBLISH {qos} dup #1 a 'x'"),
            _ => "PUBREL #1".into(),
        };
        assert_eq!(*packet, expected, "{story}");
    }
    assert_eq!(pair.session.stats().in_flight_out, 0);
}

/// Shows [MQTT5-3.3.1-1] [MQTT3-3.3.1-1] [MQTT5-3.3.1-3] [MQTT3-3.3.1-3]
#[test]
fn what_is_sent_again_bears_dup_and_is_otherwise_the_same() {
    for qos in ["q1", "q2"] {
        for mut pair in kept() {
            pair.publish(&format!("{qos} retain a 'x' contentType=text userProperties=a:b messageExpiryInterval=60"));
            let Arrival::Packet(_, first) = pair.arrivals.remove(0) else { panic!() };
            pair.cut();
            pair.publish(&format!("{qos} a 'never sent'"));
            pair.wait(10_000);
            pair.retried("CONNACK present");
            let Arrival::Packet(_, again) = pair.arrivals.remove(0) else { panic!() };
            assert_eq!(again[0], first[0] | 0x08);
            assert_eq!(again[1..], first[1..]);
            pair.sends([&format!("PUBLISH {qos} #2 a 'never sent'")]);
        }
    }
}

/// Shows [MQTT5-4.4.0-1] [MQTT5-4.1.0-1] [MQTT3-4.1.0-1] [MQTT3-4.1.0-2]
#[test]
fn on_a_connection_that_lives_nothing_is_sent_twice_or_forgotten() {
    for mut pair in both("properties.sessionExpiryInterval=0 keepalive=0") {
        let one = pair.publish("q1 a '1'");
        let two = pair.publish("q2 a '2'");
        let three = pair.publish("q2 a '3'");
        pair.plays("PUBREC #3; PUBLISH q2 #7 b 'theirs'");
        pair.clear();
        pair.wait(24 * 3_600_000);
        pair.quiet();
        pair.plays("PUBREC #2; PUBCOMP #3; PUBACK #1; PUBCOMP #2; PUBREL #7");
        pair.sends(["PUBREL #2", "PUBCOMP #7"]);
        pair.tells([&format!("published {three}"), &format!("published {one}"), &format!("published {two}")]);
    }
}

/// Shows [MQTT5-4.6.0-1] [MQTT3-4.6.0-1]
#[test]
fn what_is_sent_again_keeps_its_order() {
    for mut pair in kept() {
        // Identifiers come from a range that starts small: walk to its end, so that they wrap.
        for id in 1..60 {
            pair.publish("q1 a 'x'");
            pair.plays(&format!("PUBACK #{id}"));
        }
        pair.clear();
        for number in 0..10 {
            pair.publish(&format!("q{} a '{number}'", 1 + number % 2));
        }
        let first: Vec<_> = pair.sent().iter().map(|packet| packet.replace(" #", " dup #")).collect();
        assert!(first[9].contains("#5 "), "the identifiers wrapped: {first:?}");
        pair.reconnected("CONNACK present");
        assert_eq!(pair.sent(), first);
        pair.reconnected("CONNACK present");
        assert_eq!(pair.sent(), first);
    }
}

/// Shows [MQTT5-4.6.0-4] [MQTT3-4.6.0-4]
#[test]
fn releases_go_in_the_order_of_the_pubrecs() {
    for mut pair in kept() {
        publish_all(&mut pair, "q2", 0..5);
        pair.clear();
        pair.plays("PUBREC #4; PUBREC #2; PUBREC #5; PUBREC #1");
        pair.sends(["PUBREL #4", "PUBREL #2", "PUBREL #5", "PUBREL #1"]);
        pair.reconnected("CONNACK present");
        let again: Vec<_> = pair.sent().into_iter().filter(|packet| packet.starts_with("PUBREL")).collect();
        assert_eq!(again, ["PUBREL #4", "PUBREL #2", "PUBREL #5", "PUBREL #1"]);
    }
}

// ---------------------------------------------------------------------------------------------- the session is lost

/// Shows [MQTT5-3.2.2-5] [MQTT3-3.2.2-3]
#[test]
fn a_lost_session_settles_what_was_under_way() {
    for mut pair in kept() {
        let one = pair.publish("q1 a '1'");
        let two = pair.publish("q2 a '2'");
        let three = pair.publish("q2 a '3'");
        let four = pair.publish("q1 a '4'");
        pair.plays("PUBREC #3");
        pair.cut();
        let five = pair.publish("q2 a '5'");
        pair.retried("CONNACK");
        pair.tells([&format!("failed {two} SESSION_LOST a"), &format!("failed {three} SESSION_LOST")]);
        pair.sends(["PUBLISH q1 #5 a '1'", "PUBLISH q1 #6 a '4'", "PUBLISH q2 #7 a '5'"]);
        pair.plays("PUBACK #5; PUBACK #6; PUBREC #7; PUBCOMP #7");
        pair.tells([&format!("published {one}"), &format!("published {four}"), &format!("published {five}")]);
    }
}

/// Shows [MQTT5-3.1.2-4] [MQTT3-3.1.2-6]
/// Shows [MQTT5-3.1.2-23] [MQTT5-3.2.2-5]
#[test]
fn a_clean_start_leaves_nothing_of_the_session() {
    for mut pair in both("properties.sessionExpiryInterval=0 clean=true") {
        pair.publish("q1 a '1'");
        pair.publish("q2 a '2'");
        pair.plays("PUBLISH q2 #9 b 'theirs'");
        pair.cut();
        pair.wait_for(State::Connecting);
        assert!(pair.sent().last().unwrap().contains(" clean "));
        pair.clear();
        pair.plays("CONNACK");
        pair.sends(["PUBLISH q1 #3 a '1'"]);
        pair.clear();
        pair.plays("PUBLISH q2 dup #9 b 'new'");
        pair.sends(["PUBREC #9"]);
        pair.tells(["message q2 dup b 'new'"]);
    }
}

/// A session of 300 seconds is asked for; the server keeps none.
#[test]
fn whatever_the_cut_a_lost_session_loses_no_qos_1() {
    for mut pair in kept() {
        let token = pair.publish("q1 a 'x'");
        for _ in 0..3 {
            pair.reconnected("CONNACK");
        }
        let packet = pair.sent().remove(0);
        pair.plays(&format!("PUBACK #{}", identifier(&packet)));
        pair.tells([&format!("published {token}")]);
    }
}

// ---------------------------------------------------------------------------------------------- the queue

#[test]
fn what_waits_is_sent_in_order_once_there_is_a_connection() {
    for mut pair in kept() {
        pair.cut();
        pair.clear();
        let zero = pair.publish("q0 a '0'");
        publish_all(&mut pair, "q1", 1..3);
        publish_all(&mut pair, "q2", 3..5);
        pair.publish("q0 a '5'");
        assert_eq!(pair.session.stats().queued_messages, 6);
        assert_eq!(pair.session.stats().queued_bytes, 6 * 2);
        pair.quiet();
        pair.retried("CONNACK present");
        pair.sends([
            "PUBLISH q0 a '0'",
            "PUBLISH q1 #1 a '1'",
            "PUBLISH q1 #2 a '2'",
            "PUBLISH q2 #3 a '3'",
            "PUBLISH q2 #4 a '4'",
            "PUBLISH q0 a '5'",
        ]);
        assert_eq!(pair.tell()[0], format!("published {zero}"));
        assert_eq!(pair.session.stats().queued_messages, 0);
        assert_eq!(pair.session.stats().queued_bytes, 0);
    }
}

/// Three messages fit the queue: what becomes of the fourth and fifth.
fn overflowing(policy: &str, limit: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut pair = up(&format!("queue.overflow={policy} {limit}"));
    pair.cut();
    pair.clear();
    let mut refusals = Vec::new();
    for (topic, payload) in [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("c", 5)] {
        if let Err(error) = pair.try_publish(&format!("q1 {topic} '{payload}'")) {
            refusals.push(show_error(&error));
        }
    }
    let told = pair.tell();
    assert_eq!(pair.session.stats().dropped_messages, 2);
    assert_eq!(pair.session.stats().queued_messages, 3);
    pair.retried("CONNACK present");
    let sent = pair.sent().iter().map(|packet| packet.split_once("#").unwrap().1[2..].to_owned()).collect();
    (refusals, told, sent)
}

#[test]
fn when_the_queue_is_full_something_gives_way() {
    for limit in ["queue.maxMessages=3", "queue.maxBytes=6"] {
        for policy in ["reject", "drop-newest"] {
            let (refusals, told, sent) = overflowing(policy, limit);
            assert_eq!(refusals, ["QUEUE_FULL a", "QUEUE_FULL c"]);
            assert!(told.is_empty());
            assert_eq!(sent, ["a '1'", "b '2'", "a '3'"]);
        }
        let (refusals, told, sent) = overflowing("drop-oldest", limit);
        assert!(refusals.is_empty());
        assert_eq!(told, ["failed 1 QUEUE_FULL a", "failed 2 QUEUE_FULL b"]);
        assert_eq!(sent, ["a '3'", "a '4'", "c '5'"]);

        let (refusals, told, sent) = overflowing("latest-per-topic", limit);
        assert_eq!(refusals, ["QUEUE_FULL c"]);
        assert_eq!(told, ["failed 1 QUEUE_FULL a"]);
        assert_eq!(sent, ["b '2'", "a '3'", "a '4'"]);
    }
}

#[test]
fn a_message_that_no_queue_can_hold_displaces_none() {
    for policy in ["reject", "drop-oldest", "drop-newest", "latest-per-topic"] {
        let mut pair = up(&format!("queue.maxBytes=4 queue.overflow={policy}"));
        pair.cut();
        pair.publish("q1 a 'x'");
        pair.clear();
        refused(pair.try_publish("q1 a 'xxxx'"), "QUEUE_FULL a");
        assert!(pair.try_publish("q1 a 'xxxx'").unwrap_err().retryable);
        pair.tells([]);
        assert_eq!(pair.session.stats().queued_messages, 1);
    }
    let mut pair = up("queue.maxMessages=0");
    pair.publish("q1 a 'no need to wait'");
    pair.cut();
    refused(pair.try_publish("q1 a 'x'"), "QUEUE_FULL a");
    refused(pair.try_publish("q0 a 'x'"), "QUEUE_FULL a");
}

#[test]
fn the_latest_of_a_topic_gives_way_only_to_one_that_fits() {
    let mut pair = up("queue.maxBytes=8 queue.overflow=latest-per-topic");
    pair.cut();
    pair.publish("q1 a '1'");
    pair.publish("q1 b '12345'");
    pair.clear();
    refused(pair.try_publish("q1 a '1234'"), "QUEUE_FULL a");
    pair.tells([]);
    pair.retried("CONNACK present");
    pair.sends(["PUBLISH q1 #1 a '1'", "PUBLISH q1 #2 b '12345'"]);
}

#[test]
fn qos_0_waits_unless_it_is_told_not_to() {
    let mut pair = up("queue.qos0=false");
    pair.publish("q0 a 'x'");
    pair.sends(["PUBLISH q0 a 'x'"]);
    pair.cut();
    refused(pair.try_publish("q0 a 'y'"), "CONNECTION_LOST a");
    pair.publish("q1 a 'z'");
    pair.retried("CONNACK present");
    pair.sends(["PUBLISH q1 #1 a 'z'"]);
}

#[test]
fn time_in_the_queue_counts_against_the_expiry() {
    let mut pair = up("");
    pair.cut();
    let one = pair.publish("q1 a '1' messageExpiryInterval=5");
    let two = pair.publish("q0 a '2' messageExpiryInterval=20");
    pair.publish("q1 a '3' messageExpiryInterval=100");
    pair.publish("q1 a '4'");
    pair.connect();
    pair.clear();
    pair.wait(4_999);
    pair.quiet();
    pair.wait(1);
    pair.tells([&format!("failed {one} EXPIRED a")]);
    pair.wait(10_999);
    pair.plays("CONNACK present");
    pair.sends([
        "PUBLISH q0 a '2' MessageExpiryInterval=5",
        "PUBLISH q1 #1 a '3' MessageExpiryInterval=85",
        "PUBLISH q1 #2 a '4'",
    ]);
    pair.tells(["state connected", "connected present again", &format!("published {two}")]);
    pair.publish("q1 a '5' messageExpiryInterval=0");
    pair.sends(["PUBLISH q1 #3 a '5' MessageExpiryInterval=0"]);
}

#[test]
fn a_late_timer_sends_nothing_that_has_expired() {
    let mut pair = up("");
    pair.cut();
    let token = pair.publish("q1 a 'x' messageExpiryInterval=5");
    pair.connect();
    pair.clear();
    pair.now = pair.now.after_ms(7_000);
    pair.plays("CONNACK present");
    pair.sends([]);
    assert_eq!(pair.tell().pop().unwrap(), format!("failed {token} EXPIRED a"));
}

/// Shows [MQTT5-4.3.3-7]
#[test]
fn what_was_sent_does_not_expire() {
    let mut pair = up("");
    pair.publish("q2 a 'x' messageExpiryInterval=1");
    pair.cut();
    pair.clear();
    pair.wait(900);
    pair.connect();
    pair.wait(20_000);
    pair.clear();
    pair.plays("CONNACK present");
    pair.sends(["PUBLISH q2 dup #1 a 'x' MessageExpiryInterval=1"]);
}

// ---------------------------------------------------------------------------------------------- quota

/// Shows [MQTT5-3.3.4-7] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2]
#[test]
fn no_more_is_in_flight_than_the_server_allows() {
    for limit in [1, 2, 7] {
        let mut pair = accepted("", &format!("CONNACK ReceiveMaximum={limit}"));
        for number in 0..20 {
            pair.publish(&format!("q{} a '{number}'", 1 + number % 2));
        }
        let mut flying: Vec<String> = Vec::new();
        let mut order = Vec::new();
        loop {
            flying.extend(pair.sent());
            let publishes = flying.iter().filter(|packet| packet.starts_with("PUBLISH")).count();
            assert!(publishes <= limit && flying.len() <= limit, "{flying:?}");
            if flying.is_empty() {
                break;
            }
            // What is not asked for does not raise the quota.
            pair.plays("PUBACK #60; PUBCOMP #61");
            let packet = flying.remove(0);
            let id = identifier(&packet);
            let answer = match packet.split(" #").next().unwrap() {
                "PUBLISH q1" => "PUBACK",
                "PUBLISH q2" => "PUBREC",
                _ => "PUBCOMP",
            };
            pair.plays(&format!("{answer} #{id}"));
            if packet.starts_with("PUBLISH") {
                order.push(packet.rsplit(' ').next().unwrap().trim_matches('\'').parse::<u32>().unwrap());
            }
        }
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}

/// Shows [MQTT5-4.9.0-1] [MQTT5-property-zero]
#[test]
fn a_receive_maximum_of_none_is_65535_and_of_0_an_error() {
    let mut pair = up("");
    publish_all(&mut pair, "q1", 0..65_535);
    assert_eq!(pair.sent().len(), 65_535);

    let mut pair = crate::bare("");
    pair.connect();
    pair.clear();
    pair.receives(&[0x20, 6, 0, 0, 3, 0x21, 0, 0]);
    pair.sends(["DISCONNECT 0x82", "CLOSE"]);
}

/// Shows [MQTT5-3.3.4-8] [MQTT5-4.9.0-3]
#[test]
fn a_full_window_holds_back_nothing_but_publishes() {
    let mut pair = accepted("keepalive=10", "CONNACK ReceiveMaximum=1 SubscriptionIdentifierAvailable=0");
    pair.publish("q2 a '1'");
    pair.publish("q1 a '2'");
    pair.clear();
    pair.subscribe("b");
    pair.unsubscribe("c");
    pair.publish("q0 a '0'");
    pair.plays("PUBLISH q1 #9 b 'x'; PUBLISH q2 #8 b 'y'; PUBREL #8; PUBREC #1");
    pair.wait(10_000);
    pair.sends([
        "SUBSCRIBE #2 b:q0",
        "UNSUBSCRIBE #3 c",
        "PUBLISH q0 a '0'",
        "PUBCOMP #8",
        "PUBREL #1",
        "PUBACK #9",
        "PUBREC #8",
        "PINGREQ",
    ]);
    pair.plays("PUBCOMP #1");
    assert!(pair.sent()[0].ends_with("a '2'"));
}

/// Shows [MQTT5-3.3.4-7]
#[test]
fn a_resumed_session_keeps_to_the_new_quota() {
    let mut pair = up("");
    publish_all(&mut pair, "q2", 1..4);
    publish_all(&mut pair, "q1", 4..6);
    pair.plays("PUBREC #1");
    pair.cut();
    publish_all(&mut pair, "q1", 6..7);
    pair.retried("CONNACK present ReceiveMaximum=2");
    pair.sends(["PUBREL #1", "PUBLISH q2 dup #2 a '2'"]);
    pair.plays("PUBREC #2; PUBCOMP #2");
    pair.sends(["PUBREL #2", "PUBLISH q2 dup #3 a '3'"]);
    pair.plays("PUBREC #3 0x97");
    pair.sends(["PUBLISH q1 dup #4 a '4'"]);
    pair.plays("PUBCOMP #1");
    pair.sends(["PUBLISH q1 dup #5 a '5'"]);
    pair.plays("PUBACK #5");
    pair.sends(["PUBLISH q1 #6 a '6'"]);
}

// ---------------------------------------------------------------------------------------------- the server's limits

/// What the server says, what is published, and what it is refused with.
const LIMITS: [(&str, &str, &str); 5] = [
    ("MaximumQos=1", "q2 a 'x'", "NOT_SUPPORTED 0x9b a"),
    ("MaximumQos=0", "q1 a 'x'", "NOT_SUPPORTED 0x9b a"),
    ("RetainAvailable=0", "q0 retain a 'x'", "NOT_SUPPORTED 0x9a a"),
    ("RetainAvailable=0", "q1 retain a 'x'", "NOT_SUPPORTED 0x9a a"),
    ("MaximumPacketSize=30", "q1 a '0123456789012345678901234'", "PACKET_TOO_LARGE a"),
];

/// Shows [MQTT5-3.2.2-11] [MQTT5-3.2.2-14] [MQTT5-3.2.2-15]
#[test]
fn what_the_server_does_not_take_is_refused() {
    for (limit, message, error) in LIMITS {
        let mut pair = accepted("", &format!("CONNACK {limit}"));
        refused(pair.try_publish(message), error);
        pair.quiet();
    }
}

/// Shows [MQTT5-3.2.2-11] [MQTT5-3.2.2-14] [MQTT5-3.2.2-15]
#[test]
fn what_waited_for_a_server_that_does_not_take_it_fails() {
    for (limit, message, error) in LIMITS {
        let mut pair = crate::bare("");
        pair.connect();
        let token = pair.publish(message);
        pair.clear();
        pair.plays(&format!("CONNACK {limit}"));
        pair.sends([]);
        pair.tells(["state connected", "connected", &format!("failed {token} {error}")]);
    }
}

/// Shows [MQTT5-3.2.2-11] [MQTT5-3.2.2-14] [MQTT5-3.2.2-15]
#[test]
fn what_was_under_way_to_a_server_that_takes_it_no_more_fails() {
    for (limit, message, error) in LIMITS {
        if message.starts_with("q0") {
            continue;
        }
        for present in ["present", ""] {
            let mut pair = up("");
            let token = pair.publish(message);
            let next = pair.publish("q0 a 'goes on'");
            pair.reconnected(&format!("CONNACK {present} {limit}"));
            pair.sends([]);
            let error = match (present, &message[..2]) {
                ("", "q2") => "SESSION_LOST a",
                _ => error,
            };
            pair.tells([&format!("failed {token} {error}")]);
            assert_eq!(pair.session.stats().in_flight_out, 0);
            assert!(next > token);
            pair.publish("q0 a 'x'");
            pair.sends(["PUBLISH q0 a 'x'"]);
        }
    }
}

/// A QoS 2 message that the server has received goes on to its end, whatever the server says of new ones.
#[test]
fn a_release_is_sent_to_a_server_that_takes_no_more_qos_2() {
    let mut pair = up("");
    let token = pair.publish("q2 a 'x'");
    pair.plays("PUBREC #1");
    pair.reconnected("CONNACK present MaximumQos=0");
    pair.sends(["PUBREL #1"]);
    pair.plays("PUBCOMP #1");
    pair.tells([&format!("published {token}")]);
}

/// Shows [MQTT5-3.2.2-15]
#[test]
fn a_packet_may_be_as_large_as_the_server_says() {
    for (qos, room) in [("q0", 30 - 2 - 3 - 1), ("q1", 30 - 2 - 3 - 2 - 1)] {
        let mut pair = accepted("", "CONNACK MaximumPacketSize=30");
        let token = pair.publish(&format!("{qos} a '{}'", "x".repeat(room)));
        let Arrival::Packet(_, bytes) = &pair.arrivals[0] else { panic!() };
        assert_eq!(bytes.len(), 30);
        let error = pair.try_publish(&format!("{qos} a '{}'", "x".repeat(room + 1))).unwrap_err();
        assert_eq!(error.size, Some((31, 30)));
        assert!(token > 0);
        // The expiry is added when it is sent.
        pair.clear();
        pair.publish(&format!("{qos} a '{}' messageExpiryInterval=9", "x".repeat(room - 5)));
        let Arrival::Packet(_, bytes) = &pair.arrivals[0] else { panic!() };
        assert_eq!(bytes.len(), 30);
        refused(
            pair.try_publish(&format!("{qos} a '{}' messageExpiryInterval=9", "x".repeat(room - 4))),
            "PACKET_TOO_LARGE a",
        );
    }
}

/// With the expiry, which is added last, the length of the property block takes a second byte.
#[test]
fn a_packet_that_grows_over_the_limit_while_it_is_written_fails() {
    let content_type = "x".repeat(124 - 3);
    for (qos, head) in [("q0", 3), ("q1", 5), ("q2", 5)] {
        let mut pair = accepted("", "CONNACK MaximumPacketSize=200");
        let payload = "y".repeat(200 - 3 - head - 1 - 124 - 5);
        let token = pair.publish(&format!("{qos} a '{payload}' contentType={content_type} messageExpiryInterval=9"));
        pair.sends([]);
        pair.tells([&format!("failed {token} PACKET_TOO_LARGE a")]);
        let stats = pair.session.stats();
        assert_eq!((stats.queued_messages, stats.in_flight_out), (0, 0));
        pair.publish(&format!("{qos} a '{}' contentType={content_type} messageExpiryInterval=9", &payload[1..]));
        assert_eq!(pair.sent().len(), 1);
    }
}

// ---------------------------------------------------------------------------------------------- topic aliases

/// Shows [MQTT5-3.2.2-17] [MQTT5-3.3.2-9] [MQTT5-3.3.2-8]
#[test]
fn aliases_stay_within_the_servers_maximum() {
    let mut pair = accepted("", "CONNACK TopicAliasMaximum=2");
    for topic in ["topic/1", "topic/2", "topic/1", "topic/3", "topic/2"] {
        pair.publish(&format!("q0 {topic} ''"));
    }
    pair.sends([
        "PUBLISH q0 topic/1 '' TopicAlias=1",
        "PUBLISH q0 topic/2 '' TopicAlias=2",
        "PUBLISH q0 ~ '' TopicAlias=1",
        "PUBLISH q0 topic/3 ''",
        "PUBLISH q0 ~ '' TopicAlias=2",
    ]);
}

/// Shows [MQTT5-3.2.2-17] [MQTT5-3.3.2-9]
#[test]
fn an_alias_means_the_topic_it_was_last_sent_with() {
    for maximum in [1, 2, 3, 5, 8, 17, 36, 37, 65_535] {
        let mut pair = accepted("", &format!("CONNACK TopicAliasMaximum={maximum}"));
        let mut names = std::collections::HashMap::new();
        for number in 0..3_000 {
            let expected = format!("topic/{}", number * number % 73);
            pair.publish(&format!("q0 {expected} ''"));
            let packet = pair.sent().remove(0);
            let topic = packet.split(' ').nth(2).unwrap();
            match packet.split_once("TopicAlias=") {
                None => assert_eq!(topic, expected),
                Some((_, alias)) => {
                    let alias: u32 = alias.parse().unwrap();
                    assert!(alias <= maximum);
                    if topic != "~" {
                        names.insert(alias, topic.to_owned());
                    }
                    assert_eq!(names[&alias], expected, "{packet}");
                }
            }
        }
    }
}

#[test]
fn a_topic_that_comes_often_takes_over_an_alias() {
    let mut pair = accepted("", "CONNACK TopicAliasMaximum=1");
    pair.publish("q0 old ''");
    pair.clear();
    for _ in 0..40 {
        pair.publish("q0 new ''");
    }
    let sent = pair.sent();
    assert_eq!(sent[0], "PUBLISH q0 new ''");
    assert_eq!(sent[39], "PUBLISH q0 ~ '' TopicAlias=1");
    assert_eq!(sent.iter().filter(|packet| *packet == "PUBLISH q0 new '' TopicAlias=1").count(), 1);
}

/// Shows [MQTT5-3.2.2-18] [MQTT5-3.3.2-7]
#[test]
fn aliases_end_with_the_connection() {
    let mut pair = accepted("", "CONNACK TopicAliasMaximum=10");
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.sends(["PUBLISH q1 #1 a '1' TopicAlias=1", "PUBLISH q1 #2 ~ '2' TopicAlias=1"]);
    pair.reconnected("CONNACK present TopicAliasMaximum=10");
    pair.sends(["PUBLISH q1 dup #1 a '1'", "PUBLISH q1 dup #2 a '2'"]);
    pair.publish("q1 a '3'");
    pair.sends(["PUBLISH q1 #3 a '3' TopicAlias=1"]);
    pair.reconnected("CONNACK present");
    pair.clear();
    pair.publish("q0 a '4'");
    pair.publish("q0 a '5'");
    pair.sends(["PUBLISH q0 a '4'", "PUBLISH q0 a '5'"]);
}

#[test]
fn without_the_option_no_alias_is_used() {
    let mut pair = accepted("topicAliases=false", "CONNACK TopicAliasMaximum=10");
    pair.publish("q0 a ''");
    pair.sends(["PUBLISH q0 a ''"]);
    pair.publish("q0 a '' topicAlias=10");
    pair.publish("q1 b '' topicAlias=10");
    pair.sends(["PUBLISH q0 a '' TopicAlias=10", "PUBLISH q1 #1 b '' TopicAlias=10"]);
}

/// Shows [MQTT5-3.3.2-9]
#[test]
fn an_alias_by_hand_turns_off_those_of_our_own() {
    let mut pair = accepted("", "CONNACK TopicAliasMaximum=10");
    pair.publish("q0 a ''");
    pair.publish("q1 b '' topicAlias=1");
    pair.publish("q0 a ''");
    pair.sends(["PUBLISH q0 a '' TopicAlias=1", "PUBLISH q1 #1 b '' TopicAlias=1", "PUBLISH q0 a ''"]);
    refused(pair.try_publish("q1 b '' topicAlias=11"), "NOT_SUPPORTED 0x94 b");
    pair.cut();
    let token = pair.publish("q1 b '' topicAlias=10");
    pair.retried("CONNACK present TopicAliasMaximum=9");
    pair.sends(["PUBLISH q1 dup #1 b ''"]);
    pair.tells([&format!("failed {token} NOT_SUPPORTED 0x94 b")]);
}

#[test]
fn an_alias_is_left_out_where_it_would_not_fit() {
    let mut pair = accepted("", "CONNACK TopicAliasMaximum=10 MaximumPacketSize=12");
    pair.publish("q0 topic 'x'");
    pair.publish("q0 t 'x'");
    pair.publish("q0 t 'x'");
    pair.sends(["PUBLISH q0 topic 'x'", "PUBLISH q0 t 'x' TopicAlias=1", "PUBLISH q0 ~ 'x' TopicAlias=1"]);
}

// ---------------------------------------------------------------------------------------------- the caller's mistakes

/// Shows [MQTT5-3.3.2-2] [MQTT3-3.3.2-2] [MQTT5-4.7.0-1] [MQTT3-4.7.1-1] [MQTT5-4.7.3-1] [MQTT3-4.7.3-1]
/// Shows [MQTT5-4.7.3-2] [MQTT3-4.7.3-2] [MQTT5-4.7.3-3] [MQTT3-4.7.3-3]
#[test]
fn a_bad_topic_is_refused() {
    for mut pair in both("") {
        for topic in ["", "a/#", "+", "a\0", &"x".repeat(65_536)] {
            let error = pair.try_publish_bytes(topic, b"", QoS::AtMostOnce, false, "").unwrap_err();
            assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some("topic")));
            pair.quiet();
        }
        pair.try_publish_bytes(&"x".repeat(65_535), b"", QoS::AtMostOnce, false, "").unwrap();
    }
}

#[test]
fn a_topic_number_is_good_until_topics_are_forgotten() {
    let mut pair = up("");
    let topic = pair.session.topic("a").unwrap();
    assert_eq!(pair.session.topic("b"), Ok(topic + 1));
    pair.session.forget_topics();
    let error = pair.session.publish(pair.now, topic, b"", QoS::AtMostOnce, false, None, 1).unwrap_err();
    assert_eq!(error.argument.as_deref(), Some("topic"));
    assert_eq!(pair.session.topic("c"), Ok(0));
}

#[test]
fn properties_are_left_out_on_3_1_1() {
    let mut pair = up("protocolVersion=4");
    pair.publish("q1 a 'x' contentType=text messageExpiryInterval=1 topicAlias=3");
    pair.sends(["PUBLISH q1 #1 a 'x'"]);
    pair.cut();
    pair.publish("q1 a 'y' messageExpiryInterval=1");
    pair.wait(900);
    pair.connect();
    pair.wait(5_000);
    pair.clear();
    pair.plays("CONNACK");
    pair.sends(["PUBLISH q1 #2 a 'x'", "PUBLISH q1 #3 a 'y'"]);
}

// ---------------------------------------------------------------------------------------------- withdrawn, drained, blocked

#[test]
fn a_withdrawn_message_is_dropped_where_it_was_not_sent() {
    let mut pair = accepted("", "CONNACK ReceiveMaximum=1");
    let one = pair.publish("q2 a '1'");
    let two = pair.publish("q1 a '2'");
    let three = pair.publish("q1 a '3'");
    pair.clear();
    pair.cancel(two);
    pair.cancel(0);
    pair.cancel(one);
    pair.cancel(99);
    pair.plays("PUBREC #1");
    pair.cancel(one);
    pair.plays("PUBCOMP #1");
    pair.sends(["PUBREL #1", "PUBLISH q1 #2 a '3'"]);
    pair.plays("PUBACK #2");
    pair.tells([&format!("published {three}")]);
}

#[test]
fn a_withdrawn_message_that_fails_is_silent() {
    let mut pair = up("");
    let one = pair.publish("q2 a '1'");
    let two = pair.publish("q1 a '2'");
    pair.cancel(one);
    pair.cancel(two);
    pair.clear();
    pair.plays("PUBACK #2 0x87");
    pair.reconnected("CONNACK");
    pair.tells([]);
}

#[test]
fn drain_waits_until_nothing_is_under_way() {
    for mut pair in both("") {
        let token = pair.drain();
        pair.tells([&format!("done {token}")]);
        let one = pair.publish("q1 a '1'");
        let two = pair.subscribe("a");
        let token = pair.drain();
        let other = pair.drain();
        pair.cancel(other);
        pair.plays("PUBACK #1");
        pair.tells([&format!("published {one}")]);
        pair.plays("SUBACK #2 0");
        pair.tells([&format!("subscribed {two} a:0x00"), &format!("done {token}")]);
    }
}

#[test]
fn drain_waits_for_what_is_queued() {
    let mut pair = crate::bare("");
    let one = pair.publish("q0 a '1'");
    let token = pair.drain();
    pair.tells([]);
    pair.connect();
    pair.clear();
    pair.plays("CONNACK");
    pair.tells(["state connected", "connected", &format!("published {one}"), &format!("done {token}")]);

    let mut pair = crate::bare("");
    let one = pair.publish("q1 a '1' messageExpiryInterval=1");
    let token = pair.drain();
    pair.wait(1_000);
    pair.tells([&format!("failed {one} EXPIRED a"), &format!("done {token}")]);

    let mut pair = crate::bare("");
    let one = pair.publish("q1 a '1'");
    let token = pair.drain();
    pair.cancel(one);
    pair.tells([&format!("done {token}")]);
}

const MIB: usize = 1 << 20;

#[test]
fn a_full_transport_holds_back_publishes() {
    let mut pair = up("");
    pair.session.handle_writable(pair.now, MIB);
    assert!(!pair.session.is_blocked());
    pair.session.handle_writable(pair.now, MIB + 1);
    assert!(pair.session.is_blocked());
    let zero = pair.publish("q0 a '0'");
    let one = pair.publish("q1 a '1'");
    pair.plays("PUBLISH q1 #5 b 'x'");
    pair.sends(["PUBACK #5"]);
    pair.session.handle_writable(pair.now, MIB / 2 + 1);
    pair.pump();
    assert!(pair.session.is_blocked());
    pair.sends([]);
    pair.clear();
    let drained = pair.drain();
    pair.session.handle_writable(pair.now, MIB / 2);
    pair.pump();
    assert!(!pair.session.is_blocked());
    pair.sends(["PUBLISH q0 a '0'", "PUBLISH q1 #1 a '1'"]);
    pair.plays("PUBACK #1");
    pair.tells([&format!("published {zero}"), &format!("published {one}"), &format!("done {drained}")]);
}

#[test]
fn a_full_transport_holds_back_what_is_sent_again() {
    let mut pair = up("");
    let payload = "x".repeat(MIB / 2);
    for _ in 0..5 {
        pair.publish(&format!("q1 a '{payload}'"));
    }
    pair.cut();
    pair.publish("q1 a 'last'");
    pair.wait_for(State::Connecting);
    pair.clear();
    pair.plays("CONNACK present");
    let mut sent = pair.sent();
    assert!(sent.len() <= 4, "as much as the transport may hold: {}", sent.len());
    while sent.len() < 6 {
        pair.session.handle_writable(pair.now, 0);
        pair.pump();
        let more = pair.sent();
        assert!(!more.is_empty());
        sent.extend(more);
    }
    let ids: Vec<_> = sent.iter().map(|packet| identifier(packet)).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_waits_leaves_as_much_as_the_transport_may_hold() {
    let mut pair = crate::bare("");
    let payload = "x".repeat(MIB / 2);
    for _ in 0..5 {
        pair.publish(&format!("q0 a '{payload}'"));
    }
    pair.connect();
    pair.clear();
    pair.plays("CONNACK");
    for packets in [2, 2, 1] {
        assert_eq!(pair.sent().len(), packets);
        pair.session.handle_writable(pair.now, 0);
        pair.pump();
    }
    assert!(!pair.session.is_blocked());
}

#[test]
fn what_is_written_in_one_turn_leaves_in_frames_of_16_kib() {
    let mut pair = up("");
    let topic = pair.session.topic("a").unwrap();
    for _ in 0..1_000 {
        pair.session.publish(pair.now, topic, &[0; 50], QoS::AtMostOnce, false, None, 1).unwrap();
    }
    pair.session.publish(pair.now, topic, &[0; 100_000], QoS::AtMostOnce, false, None, 1).unwrap();
    let mut sizes = Vec::new();
    while let Some(frame) = pair.session.poll_transmit(pair.now) {
        assert_eq!(frame[0], 0x30, "a frame begins with a packet");
        sizes.push(frame.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 1_000 * 56 + 100_000 + 8);
    let (last, rest) = sizes.split_last().unwrap();
    assert!(rest.iter().all(|size| *size >= 16 * 1024 && *size < 16 * 1024 + 56), "{sizes:?}");
    assert!(*last > 100_000);
    assert_eq!(pair.session.pending_output(), 0);
}

// ---------------------------------------------------------------------------------------------- poison

#[test]
fn a_message_that_ends_every_connection_is_reported() {
    for mut pair in kept() {
        pair.publish("q1 poison 'x'");
        pair.publish("q1 innocent 'x'");
        for round in 1..=10 {
            pair.clear();
            pair.cut();
            let reported = pair.tell().iter().filter(|line| **line == "error CONNECTION_LOST poison").count();
            assert_eq!(reported, usize::from(round % 5 == 0), "{round}");
            pair.retried("CONNACK present");
            assert_eq!(pair.sent().len(), 2, "it is not dropped");
        }
    }
}

#[test]
fn a_message_on_a_connection_that_gets_on_is_no_poison() {
    let mut pair = up("");
    pair.publish("q2 a 'slow'");
    for _ in 0..20 {
        let packet = pair.publish("q1 b 'x'");
        assert!(packet > 0);
        let sent = pair.sent();
        pair.plays(&format!("PUBACK #{}", identifier(sent.last().unwrap())));
        pair.clear();
        pair.cut();
        assert!(!pair.tell().iter().any(|line| line.starts_with("error")));
        pair.retried("CONNACK present");
    }
}

// ---------------------------------------------------------------------------------------------- figures

#[test]
fn figures_of_what_went_out() {
    let mut pair = accepted("", "CONNACK ReceiveMaximum=1");
    let before = pair.session.stats();
    pair.publish("q0 a 'x'");
    pair.publish("q1 a 'y'");
    pair.publish("q1 a 'z'");
    let stats = pair.session.stats();
    assert_eq!(stats.messages_sent - before.messages_sent, 2);
    assert_eq!(stats.packets_sent - before.packets_sent, 2);
    assert_eq!(stats.bytes_sent - before.bytes_sent, 7 + 9);
    assert_eq!((stats.in_flight_out, stats.queued_messages, stats.queued_bytes), (1, 1, 2));
    assert_eq!(stats.connections, 1);
    assert_eq!(stats.connected_since, Some(pair.now));
    pair.plays("PUBACK #1");
    let stats = pair.session.stats();
    assert_eq!(
        (stats.packets_received - before.packets_received, stats.bytes_received - before.bytes_received),
        (1, 4)
    );
    pair.cut();
    assert_eq!(pair.session.stats().connected_since, None);
}
