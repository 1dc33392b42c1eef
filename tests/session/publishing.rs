//! What the application sends: the exchanges of QoS 1 and 2, and how they go on after a cut.

use wasmqtt::codec::{QoS, Version};
use wasmqtt::session::{Accepted, ErrorCode, State};

use crate::support::Pair;
use crate::{accepted, both, identifier, kept, publish_all, up};

// ---------------------------------------------------------------------------------------------- the exchanges

/// Shows [MQTT5-4.3.1-1] [MQTT3-4.3.1-1] [MQTT5-2.2.1-2] [MQTT3-2.3.1-5]
/// Shows [MQTT5-3.3.1-2] [MQTT3-3.3.1-2]
#[test]
fn qos_0_is_sent_and_done() {
    for mut pair in both("") {
        let topic = pair.session().topic("a").unwrap();
        let result =
            pair.session().publish(pair.now(), topic, b"x", QoS::AtMostOnce, false, None, None);
        assert_eq!(result, Ok(Accepted::Written));
        pair.pump();
        let bytes = pair.packet(0);
        let version = pair.version();
        match version {
            Version::V5 => assert_eq!(bytes, b"\x30\x05\x00\x01a\x00x", "no DUP, no identifier"),
            Version::V311 => assert_eq!(bytes, b"\x30\x04\x00\x01ax"),
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
        assert_eq!(pair.session().stats().in_flight_out, 1);
        pair.plays("PUBACK #1");
        pair.sends([]);
        pair.tells([&format!("published {token}")]);
        assert_eq!(pair.session().stats().in_flight_out, 0);
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
        assert_eq!(pair.session().stats().in_flight_out, 1);
        pair.plays("PUBREC #1");
        pair.sends(["PUBREL #1"]);
        pair.plays("PUBCOMP #1");
        pair.sends([]);
        pair.tells([&format!("published {token}")]);
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
}

/// Shows [MQTT5-4.4.0-2] [MQTT5-4.3.3-4]
#[test]
fn a_refused_message_is_done() {
    for (code, retryable) in [
        (0x80, true),
        (0x83, true),
        (0x87, false),
        (0x90, false),
        (0x91, false),
        (0x97, true),
        (0x99, false),
    ] {
        let mut pair = up("");
        let one = pair.publish("q1 a '1'");
        let two = pair.publish("q2 a '2'");
        pair.clear();
        pair.plays(&format!(
            "PUBACK #1 {code:#04x} ReasonString=no UserProperty=a:b; PUBREC #2 {code:#04x}"
        ));
        pair.sends([]);
        assert_eq!(pair.errors()[0].properties.borrow().iter().count(), 2);
        assert_eq!(pair.errors()[0].retryable, retryable, "{code:#04x}");
        pair.tells([
            &format!("failed {one} PUBLISH_REFUSED {code:#04x} a"),
            &format!("failed {two} PUBLISH_REFUSED {code:#04x} a"),
        ]);
        assert_eq!(pair.session().stats().in_flight_out, 0);
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
        // On 3.1.1, few QoS 2 messages are in flight at once.
        let is_v5 = pair.version() == Version::V5;
        let mut used = vec![false; 65_536];
        publish_all(&mut pair, if is_v5 { "q2" } else { "q1" }, 0..65_534);
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
            if is_v5 {
                pair.plays(&format!("PUBREC #{id}"));
                pair.sends([&format!("PUBREL #{id}")]);
            }
        }
        let last = if is_v5 { "PUBCOMP" } else { "PUBACK" };
        pair.plays(&format!("{last} #256"));
        assert_eq!(identifier(&pair.sent()[0]), 256, "free again");
        pair.plays(&format!("{last} #1; {last} #65534"));
        let mut ids: Vec<_> = pair.sent().iter().map(|packet| identifier(packet)).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 65_534]);
    }
}

#[test]
fn all_identifiers_taken_and_the_session_lost_wedges_nothing() {
    for mut pair in kept() {
        // On 3.1.1, few QoS 2 messages are in flight at once.
        let exactly_once = if pair.version() == Version::V5 { 40_000 } else { 20 };
        publish_all(&mut pair, "q2", 0..exactly_once);
        publish_all(&mut pair, "q1", exactly_once..65_535);
        let waiting = pair.publish("q1 a 'waits'");
        let subscribed = pair.subscribe("a");
        pair.clear();
        pair.reconnected("CONNACK SubscriptionIdentifierAvailable=0");
        let told = pair.tell();
        let lost = told.iter().filter(|line| line.ends_with("SESSION_LOST a")).count();
        assert_eq!(lost, exactly_once as usize);
        let sent = pair.sent();
        assert_eq!(sent.len(), 1 + 65_535 - lost + 1);
        assert!(sent[0].starts_with("SUBSCRIBE"));
        for packet in &sent {
            let id = identifier(packet);
            pair.plays(&if packet.starts_with("SUB") {
                format!("SUBACK #{id} 0")
            } else {
                format!("PUBACK #{id}")
            });
        }
        let told = pair.tell();
        assert!(
            told.contains(&format!("published {waiting}"))
                && told.contains(&format!("subscribed {subscribed} a:0x00"))
        );
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
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
        pair.plays("PUBACK #9; PUBACK #65535; SUBACK #9 0; UNSUBACK #9 0");
        // Once on a connection.
        pair.tells(["error PROTOCOL_ERROR"]);
        // May have been asked for by a PUBREL that said it knows of nothing.
        pair.plays("PUBCOMP #9");
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
            assert!(
                !told.iter().any(|line| line.contains(&format!("ed {token} "))),
                "it is not settled: {told:?}"
            );
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
        if packet == "PINGREQ" {
            // After two cuts the client asks first whether the server lives.
            pair.plays("PINGRESP");
            sent = pair.sent();
            continue;
        }
        let fault = faults.iter().find(|(at, _)| *at == seen.len()).map(|(_, fault)| *fault);
        let answer =
            if let Some(Fault::Lost) = fault { None } else { Some(server.answer(&packet)) };
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
    let released =
        seen.iter().position(|packet| packet.starts_with("PUBREL")).unwrap_or(seen.len());
    for (at, packet) in seen.iter().enumerate() {
        let expected = match at {
            0 => format!("PUBLISH {qos} #1 a 'x'"),
            _ if at < released => format!("PUBLISH {qos} dup #1 a 'x'"),
            _ => "PUBREL #1".into(),
        };
        assert_eq!(*packet, expected, "{story}");
    }
    assert_eq!(pair.session().stats().in_flight_out, 0);
}

/// Shows [MQTT5-3.3.1-1] [MQTT3-3.3.1-1] [MQTT5-3.3.1-3] [MQTT3-3.3.1-3]
#[test]
fn what_is_sent_again_bears_dup_and_is_otherwise_the_same() {
    for qos in ["q1", "q2"] {
        for mut pair in kept() {
            pair.publish(&format!(
                "{qos} retain a 'x' contentType=text userProperties=a:b messageExpiryInterval=60"
            ));
            let first = pair.packet(0);
            pair.ends().arrivals.remove(0);
            pair.cut();
            pair.publish(&format!("{qos} a 'never sent'"));
            pair.wait(10_000);
            pair.retried("CONNACK present");
            let again = pair.packet(0);
            pair.ends().arrivals.remove(0);
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
        pair.tells([
            &format!("published {three}"),
            &format!("published {one}"),
            &format!("published {two}"),
        ]);
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
        let first: Vec<_> =
            pair.sent().iter().map(|packet| packet.replace(" #", " dup #")).collect();
        assert!(first[9].contains("#5 "), "the identifiers wrapped: {first:?}");
        pair.reconnected("CONNACK present");
        assert_eq!(pair.sent(), first);
        pair.reconnected("CONNACK present");
        // After two losses the first goes alone.
        pair.answers_ping();
        assert_eq!(pair.sent(), first[..1]);
        pair.plays(&format!("PUBACK #{}", identifier(&first[0])));
        assert_eq!(pair.sent(), first[1..]);
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
        let again: Vec<_> =
            pair.sent().into_iter().filter(|packet| packet.starts_with("PUBREL")).collect();
        assert_eq!(again, ["PUBREL #4", "PUBREL #2", "PUBREL #5", "PUBREL #1"]);
    }
}

// ---------------------------------------------------------------------------------------------- the session is lost

/// Shows [MQTT5-3.2.2-5] [MQTT3-3.2.2-3]
/// Contract: When the server comes back without the session (sessionPresent false): what was never
/// sent, and QoS 1 in flight, is published again as a new message (new id, DUP 0); QoS 2 that was
/// sent rejects with SessionLostError, because sending it again could deliver it twice.
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
        pair.tells([
            &format!("failed {two} SESSION_LOST a"),
            &format!("failed {three} SESSION_LOST"),
        ]);
        pair.sends(["PUBLISH q1 #5 a '1'", "PUBLISH q1 #6 a '4'", "PUBLISH q2 #7 a '5'"]);
        pair.plays("PUBACK #5; PUBACK #6; PUBREC #7; PUBCOMP #7");
        pair.tells([
            &format!("published {one}"),
            &format!("published {four}"),
            &format!("published {five}"),
        ]);
    }
}

#[test]
fn a_lost_session_tells_why_the_connection_had_ended() {
    for mut pair in kept() {
        pair.publish("q2 a 'x'");
        pair.closed(Some(1011));
        pair.wait_for(State::Connecting);
        // A failed attempt in between is not the reason.
        pair.closed(Some(1006));
        pair.clear();
        pair.retried("CONNACK");
        let error = pair.errors().into_iter().find(|error| error.code == ErrorCode::SessionLost);
        let cause = error.unwrap().cause.unwrap();
        assert_eq!((cause.code, cause.close_code), (ErrorCode::ConnectionLost, Some(1011)));
    }
}

/// Contract: On 3.1.1, where a server cannot announce a Receive Maximum, at most 20 QoS 2 messages
/// are in flight
#[test]
fn few_exactly_once_messages_are_in_flight_on_3_1_1() {
    let [_, mut pair] = kept();
    publish_all(&mut pair, "q2", 0..25);
    assert_eq!(pair.sent().len(), 20);
    pair.publish("q0 a 'goes'");
    pair.sends(["PUBLISH q0 a 'goes'"]);
    pair.plays("PUBREC #1; PUBCOMP #1");
    pair.sends(["PUBREL #1", "PUBLISH q2 #21 a '20'"]);
    pair.reconnected("CONNACK present");
    assert_eq!(pair.sent().len(), 20);
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
        pair.answers_ping();
        let packet = pair.sent().remove(0);
        pair.plays(&format!("PUBACK #{}", identifier(&packet)));
        pair.tells([&format!("published {token}")]);
    }
}

// ---------------------------------------------------------------------------------------------- poison

#[test]
fn a_message_that_ends_three_connections_is_given_up_and_those_behind_it_go_on() {
    for mut pair in kept() {
        let poison = pair.publish("q1 poison 'x'");
        let innocent = pair.publish("q1 innocent 'x'");
        pair.reconnected("CONNACK present");
        pair.sends(["PUBLISH q1 dup #1 poison 'x'", "PUBLISH q1 dup #2 innocent 'x'"]);
        pair.reconnected("CONNACK present");
        // QoS 0 could be what ends the connection, so it waits.
        let loose = pair.publish("q0 a 'waits'");
        pair.answers_ping();
        pair.sends(["PUBLISH q1 dup #1 poison 'x'"]);
        pair.cut();
        let error = pair.errors().into_iter().find(|error| error.code == ErrorCode::PublishRefused);
        let error = error.expect("it is given up");
        assert_eq!((error.reason, error.topic.as_deref()), (None, Some("poison")));
        assert!(pair.tell().contains(&format!("failed {poison} PUBLISH_REFUSED poison")));
        pair.retried("CONNACK present");
        pair.sends(["PUBLISH q1 dup #2 innocent 'x'", "PUBLISH q0 a 'waits'"]);
        pair.plays("PUBACK #2");
        pair.tells([&format!("published {loose}"), &format!("published {innocent}")]);
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
}

#[test]
fn a_message_that_ends_three_connections_is_given_up_although_the_session_is_lost() {
    for mut pair in both("clean=true") {
        // What is restored on every connection is no progress.
        pair.subscribe("a");
        let first = pair.sent();
        pair.plays(&format!("SUBACK #{} 0", identifier(&first[0])));
        let poison = pair.publish("q1 poison 'x'");
        let innocent = pair.publish("q1 innocent 'x'");
        for attempt in 1..=3 {
            pair.clear();
            pair.cut();
            assert!(!pair.tell().iter().any(|line| line.starts_with("failed")), "{attempt}");
            pair.retried("CONNACK");
            if attempt == 2 {
                break;
            }
            let sent = pair.sent();
            pair.plays(&format!("SUBACK #{} 0", identifier(&sent[0])));
        }
        pair.answers_ping();
        let sent = pair.sent();
        assert!(matches!(&sent[..], [only] if only.starts_with("SUBSCRIBE")), "{sent:?}");
        pair.plays(&format!("SUBACK #{} 0", identifier(&sent[0])));
        let sent = pair.sent();
        assert!(matches!(&sent[..], [only] if only.ends_with("poison 'x'")), "{sent:?}");
        pair.clear();
        pair.cut();
        assert!(pair.tell().contains(&format!("failed {poison} PUBLISH_REFUSED poison")));
        pair.retried("CONNACK");
        let sent = pair.sent();
        assert!(matches!(&sent[..], [_, only] if only.ends_with("innocent 'x'")), "{sent:?}");
        pair.plays(&format!("PUBACK #{}", identifier(&sent[1])));
        pair.tells([&format!("published {innocent}")]);
    }
}

#[test]
fn a_message_that_nobody_waits_for_is_given_up_with_a_report() {
    for mut pair in kept() {
        let name = pair.session().topic("poison").unwrap();
        let now = pair.now();
        let qos = QoS::AtLeastOnce;
        pair.session().publish(now, name, b"x", qos, false, None, None).unwrap();
        pair.pump();
        pair.reconnected("CONNACK present");
        pair.reconnected("CONNACK present");
        pair.answers_ping();
        pair.cut();
        assert!(pair.tell().contains(&"error PUBLISH_REFUSED poison".to_owned()));
    }
}

#[test]
fn a_release_that_ends_three_connections_is_given_up() {
    for mut pair in kept() {
        let poison = pair.publish("q2 poison 'x'");
        pair.plays("PUBREC #1");
        pair.reconnected("CONNACK present");
        pair.sends(["PUBREL #1"]);
        pair.reconnected("CONNACK present");
        let drained = pair.drain();
        pair.answers_ping();
        pair.sends(["PUBREL #1"]);
        pair.clear();
        pair.cut();
        let told = pair.tell();
        assert!(told.contains(&format!("failed {poison} PUBLISH_REFUSED")), "{told:?}");
        assert!(told.contains(&format!("done {drained}")), "{told:?}");
        pair.retried("CONNACK present");
        pair.sends([]);
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
}

#[test]
fn the_identifier_of_a_release_that_was_given_up_is_not_used_before_the_session_is_lost() {
    for mut pair in kept() {
        pair.publish("q2 poison 'x'");
        pair.plays("PUBREC #1");
        pair.reconnected("CONNACK present");
        pair.reconnected("CONNACK present");
        pair.answers_ping();
        pair.reconnected("CONNACK present");
        pair.clear();
        // The server has the message under it still, and would take another one for a copy.
        assert!(!used(&mut pair).contains(&1));
        // It may ask for the release, which would end the connection.
        pair.plays("PUBREC #1; PUBCOMP #1");
        pair.quiet();
        pair.reconnected("CONNACK");
        assert!(used(&mut pair).contains(&1));
    }
}

/// The identifiers of 300 messages, one after the other.
fn used(pair: &mut Pair) -> Vec<usize> {
    let publish = |_| {
        pair.publish("q1 a 'x'");
        let id = identifier(&pair.sent()[0]);
        pair.plays(&format!("PUBACK #{id}"));
        pair.clear();
        id
    };
    (0..300).map(publish).collect()
}

#[test]
fn a_server_that_answers_no_ping_gets_the_message_a_second_later() {
    for mut pair in both("clean=false keepalive=0") {
        pair.publish("q1 a 'x'");
        pair.reconnected("CONNACK present");
        pair.reconnected("CONNACK present");
        pair.wait(999);
        pair.sends(["PINGREQ"]);
        pair.wait(1);
        pair.sends(["PUBLISH q1 dup #1 a 'x'"]);
        pair.plays("PUBACK #1");
        pair.publish("q0 a 'goes'");
        pair.sends(["PUBLISH q0 a 'goes'"]);
    }
}

#[test]
fn a_network_that_is_cut_before_the_server_has_proved_to_live_loses_nothing() {
    for mut pair in kept() {
        let token = pair.publish("q1 a 'x'");
        for _ in 0..20 {
            pair.reconnected("CONNACK present");
        }
        pair.answers_ping();
        pair.sends(["PUBLISH q1 dup #1 a 'x'"]);
        pair.plays("PUBACK #1");
        pair.tells([&format!("published {token}")]);
    }
}

#[test]
fn an_application_that_asks_for_connections_loses_nothing_by_it() {
    for mut pair in kept() {
        pair.publish("q1 a 'x'");
        for _ in 0..5 {
            pair.clear();
            pair.reconnect();
            pair.plays("CONNACK present");
            assert_eq!(pair.sent().last().unwrap(), "PUBLISH q1 dup #1 a 'x'");
        }
    }
}

#[test]
fn a_message_that_a_disconnect_judges_fails_alone() {
    let mut pair = up("clean=false clientId=me");
    let poison = pair.publish("q1 poison 'x'");
    pair.clear();
    pair.plays("DISCONNECT 0x95");
    pair.tells([
        &format!("failed {poison} PUBLISH_REFUSED 0x95 poison"),
        "state waiting",
        "disconnected SERVER_DISCONNECTED 0x95",
        "attempt 1 in 1000 ms at ws://a SERVER_DISCONNECTED 0x95",
    ]);
    pair.retried("CONNACK present");
    pair.sends([]);
}

#[test]
fn where_a_disconnect_may_judge_several_messages_they_go_one_at_a_time() {
    let mut pair = up("clean=false clientId=me");
    let innocent = pair.publish("q1 innocent 'x'");
    let poison = pair.publish("q1 poison 'x'");
    pair.clear();
    pair.plays("DISCONNECT 0x95");
    pair.retried("CONNACK present");
    pair.answers_ping();
    pair.sends(["PUBLISH q1 dup #1 innocent 'x'"]);
    pair.plays("PUBACK #1");
    pair.tells([&format!("published {innocent}")]);
    pair.sends(["PUBLISH q1 dup #2 poison 'x'"]);
    pair.plays("DISCONNECT 0x95");
    assert!(pair.tell().contains(&format!("failed {poison} PUBLISH_REFUSED 0x95 poison")));
    pair.retried("CONNACK present");
    pair.sends([]);
}

#[test]
fn a_disconnect_may_judge_a_message_of_qos_0() {
    let mut pair = up("clean=false clientId=me");
    pair.publish("q0 poison 'x'");
    let innocent = pair.publish("q1 innocent 'x'");
    pair.clear();
    pair.plays("DISCONNECT 0x95");
    assert_eq!(pair.session().state(), State::Waiting);
    pair.retried("CONNACK present");
    pair.answers_ping();
    pair.plays("PUBACK #1");
    pair.tells([&format!("published {innocent}")]);

    // Nothing was sent that it could mean.
    let mut pair = up("");
    pair.plays("DISCONNECT 0x95");
    assert_eq!(pair.session().state(), State::Closed);
}

/// Contract: and if the connection ends first, it is not sent again.
#[test]
fn a_message_that_was_withdrawn_is_not_sent_again() {
    for mut pair in kept() {
        let one = pair.publish("q1 a '1'");
        let two = pair.publish("q2 a '2'");
        let three = pair.publish("q1 a '3'");
        pair.cancel(one);
        pair.cancel(two);
        pair.cut();
        pair.cancel(three);
        pair.retried("CONNACK present");
        // The server may have it, and must forget its identifier.
        let sent = pair.sent();
        assert!(matches!(&sent[..], [only] if only.starts_with("PUBREL #2")), "{sent:?}");
        pair.plays("PUBCOMP #2");
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
    for mut pair in both("clean=true") {
        let one = pair.publish("q1 a '1'");
        pair.cancel(one);
        pair.reconnected("CONNACK");
        pair.sends([]);
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
}

/// Contract: A packet whose sending ends the connection three times in a row, with nothing
/// acknowledged in between, is given up: its promise rejects (PublishError, SubscribeError,
/// UnsubscribeError; `reasonCode` as far as the server gave one) and the client goes on without it.
#[test]
fn a_message_on_a_connection_that_gets_on_is_no_poison() {
    let mut pair = up("");
    pair.publish("q2 a 'slow'");
    for _ in 0..20 {
        pair.publish("q1 b 'x'");
        let sent = pair.sent();
        pair.plays(&format!("PUBACK #{}", identifier(sent.last().unwrap())));
        pair.clear();
        pair.cut();
        assert!(!pair.tell().iter().any(|line| line.starts_with("error")));
        pair.retried("CONNACK present");
    }
}

// ---------------------------------------------------------------------------------------------- the caller's mistakes

/// Shows [MQTT5-3.3.2-2] [MQTT3-3.3.2-2] [MQTT5-4.7.0-1] [MQTT3-4.7.1-1] [MQTT5-4.7.3-1] [MQTT3-4.7.3-1]
/// Shows [MQTT5-4.7.3-2] [MQTT3-4.7.3-2] [MQTT5-4.7.3-3] [MQTT3-4.7.3-3]
#[test]
fn a_bad_topic_is_refused() {
    for mut pair in both("") {
        for topic in ["", "a/#", "+", "a\0", &"x".repeat(65_536)] {
            let error = pair.try_publish_bytes(topic, b"", QoS::AtMostOnce, false, "").unwrap_err();
            assert_eq!(
                (error.code, error.argument.as_deref()),
                (ErrorCode::InvalidArgument, Some("topic"))
            );
            pair.quiet();
        }
        pair.try_publish_bytes(&"x".repeat(65_535), b"", QoS::AtMostOnce, false, "").unwrap();
    }
}

#[test]
fn a_topic_with_a_control_character_is_refused() {
    for mut pair in both("") {
        for control in ('\u{1}'..='\u{1F}').chain('\u{7F}'..='\u{9F}') {
            let topic = format!("a{control}b");
            let error =
                pair.try_publish_bytes(&topic, b"", QoS::AtMostOnce, false, "").unwrap_err();
            assert_eq!(
                (error.code, error.argument.as_deref()),
                (ErrorCode::InvalidArgument, Some("topic"))
            );
            assert!(error.what.starts_with("must not contain control characters"));
            pair.quiet();
        }
        pair.try_publish_bytes("a b~\u{A0}", b"", QoS::AtMostOnce, false, "").unwrap();
    }
}

#[test]
fn a_topic_number_is_good_until_topics_are_forgotten() {
    let pair = up("");
    let topic = pair.session().topic("a").unwrap();
    assert_eq!(pair.session().topic("b"), Ok(topic + 1));
    pair.session().forget_topics();
    let error = pair
        .session()
        .publish(pair.now(), topic, b"", QoS::AtMostOnce, false, None, None)
        .unwrap_err();
    assert_eq!(error.argument.as_deref(), Some("topic"));
    assert_eq!(pair.session().topic("c"), Ok(0));
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

// ---------------------------------------------------------------------------------------------- figures

#[test]
fn figures_of_what_went_out() {
    let mut pair = accepted("", "CONNACK ReceiveMaximum=1");
    let before = pair.session().stats();
    pair.publish("q0 a 'x'");
    pair.publish("q1 a 'y'");
    pair.publish("q1 a 'z'");
    let stats = pair.session().stats();
    assert_eq!(stats.messages_sent - before.messages_sent, 2);
    assert_eq!(stats.packets_sent - before.packets_sent, 2);
    assert_eq!(stats.bytes_sent - before.bytes_sent, 7 + 9);
    assert_eq!((stats.in_flight_out, stats.queued_messages, stats.queued_bytes), (1, 1, 2));
    assert_eq!(stats.connections, 1);
    assert_eq!(stats.connected_since, Some(pair.now()));
    pair.plays("PUBACK #1");
    let stats = pair.session().stats();
    assert_eq!(
        (
            stats.packets_received - before.packets_received,
            stats.bytes_received - before.bytes_received
        ),
        (1, 4)
    );
    pair.cut();
    assert_eq!(pair.session().stats().connected_since, None);
}
