//! What cannot be sent yet: the queue, the server's quota, a full transport; and what is withdrawn.

use wasmqtt::codec::QoS;
use wasmqtt::session::State;

use crate::support::telling::show_error;
use crate::support::token;
use crate::{accepted, both, identifier, kept, publish_all, refused, up};

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
        assert_eq!(pair.session().stats().queued_messages, 6);
        assert_eq!(pair.session().stats().queued_bytes, 6 * 2);
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
        assert_eq!(pair.session().stats().queued_messages, 0);
        assert_eq!(pair.session().stats().queued_bytes, 0);
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
    assert_eq!(pair.session().stats().dropped_messages, 2);
    assert_eq!(pair.session().stats().queued_messages, 3);
    pair.retried("CONNACK present");
    let sent = pair
        .sent()
        .iter()
        .map(|packet| packet.split_once("#").unwrap().1[2..].to_owned())
        .collect();
    (refusals, told, sent)
}

/// Contract: 'reject': the new publish rejects with QueueFullError. 'wait': publish() waits for
/// room before it takes the message, bounded by its timeout and signal, in the order of the calls.
/// Default 'reject'.
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

/// Both limits, two messages each.
#[test]
fn what_waits_for_room_is_sent_in_the_order_of_the_calls() {
    for limit in ["queue.maxMessages=2", "queue.maxBytes=4"] {
        let mut pair = up(&format!("queue.overflow=wait {limit}"));
        pair.cut();
        publish_all(&mut pair, "q1", 1..4);
        let zero = pair.publish("q0 a '4'");
        publish_all(&mut pair, "q1", 5..7);
        pair.clear();
        assert_eq!(pair.session().stats().queued_messages, 2);
        assert_eq!(pair.session().stats().queued_bytes, 4);
        pair.retried("CONNACK present");
        pair.sends([
            "PUBLISH q1 #1 a '1'",
            "PUBLISH q1 #2 a '2'",
            "PUBLISH q1 #3 a '3'",
            "PUBLISH q0 a '4'",
            "PUBLISH q1 #4 a '5'",
            "PUBLISH q1 #5 a '6'",
        ]);
        assert!(pair.tell().contains(&format!("published {zero}")));
        assert_eq!(pair.session().stats().dropped_messages, 0);
        assert_eq!(pair.session().stats().queued_messages, 0);
    }
}

#[test]
fn what_waits_for_room_is_not_overtaken() {
    let mut pair = accepted("queue.overflow=wait queue.maxMessages=1", "CONNACK ReceiveMaximum=1");
    publish_all(&mut pair, "q1", 1..4);
    let zero = pair.publish("q0 a '4'");
    pair.sends(["PUBLISH q1 #1 a '1'"]);
    pair.plays("PUBACK #1");
    pair.sends(["PUBLISH q1 #2 a '2'"]);
    pair.clear();
    pair.plays("PUBACK #2");
    pair.sends(["PUBLISH q1 #3 a '3'", "PUBLISH q0 a '4'"]);
    assert!(pair.tell().contains(&format!("published {zero}")));
}

#[test]
fn what_waits_for_room_is_withdrawn_and_expires_and_fails_at_the_end() {
    let mut pair = up("queue.overflow=wait queue.maxMessages=1");
    pair.cut();
    let one = pair.publish("q1 a '1'");
    let two = pair.publish("q1 a '2'");
    let three = pair.publish("q1 a '3' messageExpiryInterval=1");
    let drained = pair.drain();
    let four = pair.publish("q1 a '4'");
    pair.connect();
    pair.clear();
    pair.cancel(two);
    pair.wait(1_000);
    pair.tells([&format!("failed {three} EXPIRED a")]);
    pair.plays("CONNACK present");
    pair.sends(["PUBLISH q1 #1 a '1'", "PUBLISH q1 #2 a '4'"]);
    pair.clear();
    pair.plays("PUBACK #1");
    pair.tells([&format!("published {one}")]);
    pair.plays("PUBACK #2");
    pair.tells([&format!("published {four}"), &format!("done {drained}")]);

    let mut pair = up("queue.overflow=wait queue.maxMessages=1");
    pair.cut();
    let tokens = [pair.publish("q1 a '1'"), pair.publish("q1 a '2'")];
    pair.clear();
    pair.end();
    let told = pair.tell();
    for token in tokens {
        assert!(told.contains(&format!("failed {token} CLOSED")), "{told:?}");
    }
}

#[test]
fn a_message_that_no_queue_can_hold_displaces_none() {
    for policy in ["reject", "wait", "drop-oldest", "drop-newest", "latest-per-topic"] {
        let mut pair = up(&format!("queue.maxBytes=4 queue.overflow={policy}"));
        pair.cut();
        pair.publish("q1 a 'x'");
        pair.clear();
        refused(pair.try_publish("q1 a 'xxxx'"), "QUEUE_FULL a");
        assert!(pair.try_publish("q1 a 'xxxx'").unwrap_err().retryable);
        pair.tells([]);
        assert_eq!(pair.session().stats().queued_messages, 1);
    }
    let mut pair = up("queue.maxMessages=0");
    pair.publish("q1 a 'no need to wait'");
    pair.cut();
    refused(pair.try_publish("q1 a 'x'"), "QUEUE_FULL a");
    refused(pair.try_publish("q0 a 'x'"), "QUEUE_FULL a");
}

/// Sent, expired or withdrawn.
#[test]
fn what_has_left_the_queue_leaves_its_room() {
    for way in ["sent", "expired", "withdrawn"] {
        let mut pair = up("queue.maxBytes=8");
        pair.cut();
        let tokens = [
            pair.publish("q1 a 'xxx' messageExpiryInterval=5"),
            pair.publish("q0 a 'xxx' messageExpiryInterval=5"),
        ];
        assert_eq!(pair.session().stats().queued_bytes, 8);
        refused(pair.try_publish("q1 a ''"), "QUEUE_FULL a");
        match way {
            "sent" => pair.retried("CONNACK present"),
            "expired" => pair.wait(5_000),
            _ => tokens.map(|token| pair.cancel(token)).into_iter().collect(),
        }
        assert_eq!(pair.session().stats().queued_bytes, 0, "{way}");
    }
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

/// Contract: Keep QoS 0 messages while offline. Default true.
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

/// Contract: Times given by the user are in milliseconds, except where MQTT itself defines seconds
/// (keepalive, expiry and delay intervals): those are named as in the MQTT specification and stay
/// in seconds.
/// Contract: seconds; time spent in the queue is subtracted, and an expired message is dropped
/// (ExpiredError)
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
    pair.sleep_unnoticed(7_000);
    pair.plays("CONNACK present");
    pair.sends([]);
    assert_eq!(pair.tell().pop().unwrap(), format!("failed {token} EXPIRED a"));
}

#[test]
fn what_is_published_anew_because_the_session_was_lost_has_what_is_left_of_its_time() {
    let mut pair = up("");
    let one = pair.publish("q1 a '1' messageExpiryInterval=5");
    pair.publish("q1 a '2' messageExpiryInterval=100 contentType=text");
    pair.cut();
    pair.clear();
    pair.wait(20_000);
    pair.plays("CONNACK");
    let sent = pair.sent();
    let again = "PUBLISH q1 #3 a '2' ContentType=text MessageExpiryInterval=80";
    assert_eq!(sent.last().unwrap(), again, "{sent:?}");
    assert_eq!(pair.tell().pop().unwrap(), format!("failed {one} EXPIRED a"));
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
                order.push(
                    packet.rsplit(' ').next().unwrap().trim_matches('\'').parse::<u32>().unwrap(),
                );
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
    let mut pair =
        accepted("keepalive=10", "CONNACK ReceiveMaximum=1 SubscriptionIdentifierAvailable=0");
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

// ---------------------------------------------------------------------------------------------- withdrawn, drained, blocked

#[test]
fn a_withdrawn_message_is_dropped_where_it_was_not_sent() {
    let mut pair = accepted("", "CONNACK ReceiveMaximum=1");
    let one = pair.publish("q2 a '1'");
    let two = pair.publish("q1 a '2'");
    let three = pair.publish("q1 a '3'");
    pair.clear();
    pair.cancel(two);
    pair.cancel(one);
    pair.cancel(token(99));
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

/// Contract: Resolves when nothing is queued or in flight, in either direction: handlers at work
/// have settled and their acknowledgements have left.
#[test]
fn drain_waits_for_what_is_queued() {
    let mut pair = crate::bare("");
    let one = pair.publish("q0 a '1'");
    let token = pair.drain();
    pair.tells([]);
    pair.connect();
    pair.clear();
    pair.plays("CONNACK");
    pair.tells([
        "state connected",
        "connected",
        &format!("published {one}"),
        &format!("done {token}"),
    ]);

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
    pair.session().handle_buffered(pair.now(), MIB);
    assert!(!pair.session().is_blocked());
    pair.session().handle_buffered(pair.now(), MIB + 1);
    assert!(pair.session().is_blocked());
    let zero = pair.publish("q0 a '0'");
    let one = pair.publish("q1 a '1'");
    pair.plays("PUBLISH q1 #5 b 'x'");
    pair.sends(["PUBACK #5"]);
    pair.session().handle_buffered(pair.now(), MIB / 2 + 1);
    pair.pump();
    assert!(pair.session().is_blocked());
    pair.sends([]);
    pair.clear();
    let drained = pair.drain();
    pair.session().handle_buffered(pair.now(), MIB / 2);
    pair.pump();
    assert!(!pair.session().is_blocked());
    pair.sends(["PUBLISH q0 a '0'", "PUBLISH q1 #1 a '1'"]);
    pair.plays("PUBACK #1");
    pair.tells([
        &format!("published {zero}"),
        &format!("published {one}"),
        &format!("done {drained}"),
    ]);
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
        pair.session().handle_buffered(pair.now(), 0);
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
        pair.session().handle_buffered(pair.now(), 0);
        pair.pump();
    }
    assert!(!pair.session().is_blocked());
}

#[test]
fn what_is_written_in_one_turn_leaves_in_frames_of_16_kib() {
    let pair = up("");
    let topic = pair.session().topic("a").unwrap();
    for _ in 0..1_000 {
        pair.session()
            .publish(pair.now(), topic, &[0; 50], QoS::AtMostOnce, false, None, None)
            .unwrap();
    }
    pair.session()
        .publish(pair.now(), topic, &[0; 100_000], QoS::AtMostOnce, false, None, None)
        .unwrap();
    let mut sizes = Vec::new();
    while let Some(frame) = pair.session().poll_transmit(pair.now()) {
        assert_eq!(frame[0], 0x30, "a frame begins with a packet");
        sizes.push(frame.len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 1_000 * 56 + 100_000 + 8);
    let (last, rest) = sizes.split_last().unwrap();
    assert!(rest.iter().all(|size| *size >= 16 * 1024 && *size < 16 * 1024 + 56), "{sizes:?}");
    assert!(*last > 100_000);
    assert_eq!(pair.session().pending_output(), 0);
}
