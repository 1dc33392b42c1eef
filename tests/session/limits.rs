//! What the server does not take, and topic aliases as far as it takes them.

use crate::{accepted, refused, up};

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
            if (present, &message[..2]) == ("present", "q2") {
                // The server may have it: a new message with its identifier would pass for a copy.
                pair.sends(["PUBREL #1 0x92"]);
                assert_eq!(pair.session().stats().in_flight_out, 1);
                pair.plays("PUBCOMP #1 0x92");
            }
            pair.sends([]);
            let error = match (present, &message[..2]) {
                ("", "q2") => "SESSION_LOST a",
                _ => error,
            };
            pair.tells([&format!("failed {token} {error}")]);
            assert_eq!(pair.session().stats().in_flight_out, 0);
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
        pair.publish(&format!("{qos} a '{}'", "x".repeat(room)));
        let bytes = pair.packet(0);
        assert_eq!(bytes.len(), 30);
        let error = pair.try_publish(&format!("{qos} a '{}'", "x".repeat(room + 1))).unwrap_err();
        assert_eq!(error.size, Some((31, 30)));
        // The expiry is added when it is sent.
        pair.clear();
        pair.publish(&format!("{qos} a '{}' messageExpiryInterval=9", "x".repeat(room - 5)));
        let bytes = pair.packet(0);
        assert_eq!(bytes.len(), 30);
        refused(
            pair.try_publish(&format!(
                "{qos} a '{}' messageExpiryInterval=9",
                "x".repeat(room - 4)
            )),
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
        let token = pair.publish(&format!(
            "{qos} a '{payload}' contentType={content_type} messageExpiryInterval=9"
        ));
        pair.sends([]);
        pair.tells([&format!("failed {token} PACKET_TOO_LARGE a")]);
        let stats = pair.session().stats();
        assert_eq!((stats.queued_messages, stats.in_flight_out), (0, 0));
        pair.publish(&format!(
            "{qos} a '{}' contentType={content_type} messageExpiryInterval=9",
            &payload[1..]
        ));
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
    pair.plays("PUBACK #1");
    pair.reconnected("CONNACK present");
    pair.clear();
    pair.publish("q0 a '4'");
    pair.publish("q0 a '5'");
    pair.sends(["PUBLISH q0 a '4'", "PUBLISH q0 a '5'"]);
}

/// Contract: Assign topic aliases automatically within the server's limit (MQTT 5). Default true.
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
    pair.sends([
        "PUBLISH q0 a '' TopicAlias=1",
        "PUBLISH q1 #1 b '' TopicAlias=1",
        "PUBLISH q0 a ''",
    ]);
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
    pair.sends([
        "PUBLISH q0 topic 'x'",
        "PUBLISH q0 t 'x' TopicAlias=1",
        "PUBLISH q0 ~ 'x' TopicAlias=1",
    ]);
}
