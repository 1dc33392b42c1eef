//! What subscribers get: identifiers, quota, acknowledgements, what is sent again, expiry, aliases and sizes.

use wasmqtt::broker::{Broker, Transmit};
use wasmqtt::codec::{QoS, Version};
use wasmqtt::session::Instant;

use crate::net::{BOTH, Net, encode, plain};

/// A client that hears `a` at QoS 2, and one that publishes.
fn two(version: Version, rest: &str) -> Net {
    let mut net = Net::new();
    net.join("pub", version);
    net.connect("sub", version, rest);
    net.says("sub", "SUBSCRIBE #1 a:q2");
    net.heard("sub");
    net
}

fn publish(net: &mut Net, qos: u8, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        net.says("pub", &format!("PUBLISH q{qos} #{number} a '{number}'"));
    }
}

/// Serves [MQTT5-4.3.1-1] [MQTT3-4.3.1-1] [MQTT5-4.3.2-1] [MQTT5-4.3.2-2] [MQTT5-4.3.2-3] [MQTT3-4.3.2-1]
/// Serves [MQTT5-4.3.3-1] [MQTT5-4.3.3-2] [MQTT5-4.3.3-4] [MQTT3-4.3.3-1] [MQTT5-2.2.1-2] [MQTT3-2.3.1-5]
/// Serves [MQTT5-2.2.1-4] [MQTT3-2.3.1-4] [MQTT3-2.3.1-1] [MQTT5-3.8.4-8] [MQTT3-3.8.4-6]
#[test]
fn each_qos_is_delivered_in_its_way() {
    for version in BOTH {
        let mut net = two(version, "clean");
        net.says("pub", "PUBLISH q0 a '0'; PUBLISH q1 #1 a '1'; PUBLISH q2 #2 a '2'");
        net.hears("sub", ["PUBLISH q0 a '0'", "PUBLISH q1 #1 a '1'", "PUBLISH q2 #2 a '2'"]);
        net.says("sub", "PUBACK #1; PUBREC #2");
        net.hears("sub", ["PUBREL #2"]);
        net.says("sub", "PUBREC #2");
        net.hears("sub", ["PUBREL #2"]);
        net.says("sub", "PUBCOMP #2");
        net.hears("sub", []);
    }
}

/// Serves [MQTT5-2.2.1-4] [MQTT3-2.3.1-4]
#[test]
fn identifiers_are_unused_ones() {
    let mut net = two(Version::V311, "clean");
    publish(&mut net, 1, 1..=3);
    net.says("sub", "PUBACK #1; PUBACK #3");
    net.heard("sub");
    for _ in 0..3 * 65_536 {
        net.says("pub", "PUBLISH q1 #9 a 'x'");
        let heard = net.heard("sub").remove(0);
        let id = heard.split(['#', ' ']).nth(3).unwrap().to_owned();
        assert!(id != "0" && id != "2", "{id} is in use");
        net.says("sub", &format!("PUBACK #{id}"));
        net.heard("pub");
    }
}

/// Serves [MQTT5-3.3.4-10] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2] [MQTT5-4.9.0-3] [MQTT5-4.4.0-2]
#[test]
fn the_clients_receive_maximum_holds_messages_back() {
    let mut net = two(Version::V5, "clean ReceiveMaximum=2");
    publish(&mut net, 2, 1..=5);
    net.hears("sub", ["PUBLISH q2 #1 a '1'", "PUBLISH q2 #2 a '2'"]);
    net.says("pub", "PUBLISH q0 a 'quick'");
    net.says("sub", "PINGREQ; SUBSCRIBE #9 b; PUBREC #1");
    net.hears("sub", ["PUBLISH q0 a 'quick'", "PINGRESP", "SUBACK #9 0x00", "PUBREL #1"]);
    net.says("sub", "PUBCOMP #1; PUBCOMP #1");
    net.hears("sub", ["PUBLISH q2 #3 a '3'"]);
    // A refusal ends the exchange.
    net.says("sub", "PUBREC #2 0x80");
    net.hears("sub", ["PUBLISH q2 #4 a '4'"]);
    net.says("sub", "PUBREC #3; PUBREC #4");
    net.hears("sub", ["PUBREL #3", "PUBREL #4"]);
    net.says("sub", "PUBCOMP #3; PUBCOMP #4");
    net.hears("sub", ["PUBLISH q2 #5 a '5'"]);
}

// ---------------------------------------------------------------------------------------------- again

/// Serves [MQTT5-4.4.0-1] [MQTT3-4.4.0-1] [MQTT5-3.3.1-1] [MQTT3-3.3.1-1] [MQTT5-4.3.3-3]
/// Serves [MQTT5-4.3.3-5] [MQTT5-4.3.3-6]
#[test]
fn what_was_not_acknowledged_is_sent_again() {
    for version in BOTH {
        let mut net = two(version, crate::net::kept(version));
        publish(&mut net, 1, 1..=2);
        publish(&mut net, 2, 3..=6);
        net.says("sub", "PUBACK #2; PUBREC #5; PUBREC #4");
        net.heard("sub");
        net.wait(60_000);
        net.hears("sub", []);
        net.cut("sub");
        publish(&mut net, 1, 7..=7);
        net.says("pub", "PUBLISH q0 a 'lost'");
        net.rejoin("sub", version);
        net.hears(
            "sub",
            [
                "PUBREL #5",
                "PUBREL #4",
                "PUBLISH q1 dup #1 a '1'",
                "PUBLISH q2 dup #3 a '3'",
                "PUBLISH q2 dup #6 a '6'",
                "PUBLISH q1 #7 a '7'",
            ],
        );
        net.says("sub", "PUBCOMP #5; PUBCOMP #4; PUBACK #1; PUBREC #3; PUBREC #6; PUBACK #7");
        net.hears("sub", ["PUBREL #3", "PUBREL #6"]);
        net.says("sub", "PUBCOMP #3; PUBCOMP #6");
        net.cut("sub");
        net.rejoin("sub", version);
        net.hears("sub", []);
    }
}

/// Serves [MQTT5-4.4.0-1] [MQTT5-3.3.4-9]
#[test]
fn what_is_sent_again_keeps_to_the_new_receive_maximum() {
    let mut net = two(Version::V5, "SessionExpiryInterval=100");
    publish(&mut net, 1, 1..=4);
    net.heard("sub");
    net.cut("sub");
    net.connect("sub", Version::V5, "SessionExpiryInterval=100 ReceiveMaximum=2");
    net.hears("sub", ["CONNACK present", "PUBLISH q1 dup #1 a '1'", "PUBLISH q1 dup #2 a '2'"]);
    net.cut("sub");
    net.connect("sub", Version::V5, "SessionExpiryInterval=100 ReceiveMaximum=3");
    net.hears(
        "sub",
        [
            "CONNACK present",
            "PUBLISH q1 dup #1 a '1'",
            "PUBLISH q1 dup #2 a '2'",
            "PUBLISH q1 dup #3 a '3'",
        ],
    );
    net.says("sub", "PUBACK #2");
    net.hears("sub", ["PUBLISH q1 dup #4 a '4'"]);
}

/// Serves [MQTT5-4.4.0-2] [MQTT5-4.8.2-6]
#[test]
fn a_message_that_the_client_refused_is_done_with() {
    let mut net = two(Version::V5, "SessionExpiryInterval=100");
    publish(&mut net, 1, 1..=1);
    publish(&mut net, 2, 2..=2);
    net.says("sub", "PUBACK #1 0x97; PUBREC #2 0x97");
    net.heard("sub");
    net.cut("sub");
    net.rejoin("sub", Version::V5);
    net.hears("sub", []);
}

/// Serves [MQTT5-3.6.2-1] [MQTT5-3.7.2-1]
#[test]
fn acknowledgements_of_nothing() {
    let mut net = two(Version::V5, "clean");
    net.says("sub", "PUBACK #5; PUBCOMP #5; PUBREC #5; PUBREL #5");
    net.hears("sub", ["PUBREL #5 0x92", "PUBCOMP #5 0x92"]);
    for (qos, wrong) in [(1, "PUBREC #1"), (1, "PUBCOMP #1"), (2, "PUBACK #1"), (2, "PUBCOMP #1")] {
        let mut net = two(Version::V5, "clean");
        publish(&mut net, qos, 1..=1);
        net.heard("sub");
        net.says("sub", wrong);
        let heard = net.heard("sub");
        assert_eq!(
            heard,
            ["DISCONNECT 0x82 ReasonString=the answer to a message of another QoS", "CLOSE"]
        );
    }
}

// ---------------------------------------------------------------------------------------------- expiry, sizes, aliases

/// Serves [MQTT5-3.3.2-5] [MQTT5-3.3.2-6] [MQTT5-4.3.3-7] [MQTT5-4.3.3-13]
#[test]
fn messages_expire_before_they_are_sent_and_not_after() {
    let mut net = two(Version::V5, "SessionExpiryInterval=100");
    net.says("pub", "PUBLISH q2 #1 a 'sent' MessageExpiryInterval=2");
    net.hears("sub", ["PUBLISH q2 #1 a 'sent' MessageExpiryInterval=2"]);
    net.cut("sub");
    net.says("pub", "PUBLISH q1 #2 a 'short' MessageExpiryInterval=2");
    net.says("pub", "PUBLISH q1 #3 a 'long' MessageExpiryInterval=10");
    net.says("pub", "PUBLISH q1 #4 a 'ever'");
    net.wait(2_500);
    net.rejoin("sub", Version::V5);
    net.hears(
        "sub",
        [
            "PUBLISH q2 dup #1 a 'sent' MessageExpiryInterval=0",
            "PUBLISH q1 #2 a 'long' MessageExpiryInterval=8",
            "PUBLISH q1 #3 a 'ever'",
        ],
    );
}

/// Serves [MQTT5-3.1.2-24] [MQTT5-3.1.2-25]
#[test]
fn a_message_beyond_the_clients_packet_size_is_skipped() {
    let mut net = two(Version::V5, "clean MaximumPacketSize=20");
    for qos in 0..3 {
        net.says("pub", &format!("PUBLISH q{qos} #{} a '12345678901234567890'", qos + 1));
        net.hears("sub", []);
    }
    net.says("pub", "PUBLISH q1 #9 a '123456789012'");
    let fits = net.heard("sub");
    assert_eq!(fits, ["PUBLISH q1 #3 a '123456789012'"], "20 bytes");
    net.says("pub", "PUBLISH q1 #9 a '1234567890123'");
    net.hears("sub", []);
    // What is no message cannot be skipped.
    net.says("sub", "SUBSCRIBE #3 b b b b b b b b b b b b b b b b");
    net.hears("sub", ["CLOSE"]);
}

/// Serves [MQTT5-3.3.2-11] [MQTT5-3.1.2-26] [MQTT5-3.1.2-27] [MQTT5-3.3.2-7]
#[test]
fn aliases_stay_within_the_clients_maximum() {
    let mut net = Net::new();
    net.join("pub", Version::V5);
    net.connect("sub", Version::V5, "clean TopicAliasMaximum=2");
    net.says("sub", "SUBSCRIBE #1 +");
    net.heard("sub");
    for topic in ["a", "b", "c", "a", "c", "b"] {
        net.says("pub", &format!("PUBLISH {topic} ''"));
    }
    net.hears(
        "sub",
        [
            "PUBLISH q0 a '' TopicAlias=1",
            "PUBLISH q0 b '' TopicAlias=2",
            "PUBLISH q0 c ''",
            "PUBLISH q0 ~ '' TopicAlias=1",
            "PUBLISH q0 c ''",
            "PUBLISH q0 ~ '' TopicAlias=2",
        ],
    );
    net.cut("sub");
    net.connect("sub", Version::V5, "clean TopicAliasMaximum=2");
    net.says("sub", "SUBSCRIBE #1 +");
    net.heard("sub");
    net.says("pub", "PUBLISH a ''");
    net.hears("sub", ["PUBLISH q0 a '' TopicAlias=1"]);
    let logged = net.broker.packets().next_back().unwrap();
    assert_eq!(logged.topic.as_deref(), Some("a"));
}

/// Serves [MQTT5-3.1.2-24]
#[test]
fn an_alias_that_does_not_fit_is_left_out() {
    let mut net = Net::new();
    net.join("pub", Version::V5);
    net.connect("sub", Version::V5, "clean TopicAliasMaximum=9 MaximumPacketSize=20");
    net.says("sub", "SUBSCRIBE #1 +");
    net.heard("sub");
    net.says("pub", "PUBLISH a '12345678901234'; PUBLISH a '12'; PUBLISH a '34'");
    net.hears(
        "sub",
        [
            "PUBLISH q0 a '12345678901234'",
            "PUBLISH q0 a '12' TopicAlias=1",
            "PUBLISH q0 ~ '34' TopicAlias=1",
        ],
    );
}

/// Serves [MQTT5-3.3.2-3] [MQTT3-3.3.2-3] [MQTT5-4.7.2-1] [MQTT3-4.7.2-1]
#[test]
fn only_what_matches_is_delivered() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.says(
            "me",
            "SUBSCRIBE #1 a/+/c; SUBSCRIBE #2 b/#; SUBSCRIBE #3 +/x; SUBSCRIBE #4 $own/#",
        );
        net.heard("me");
        for topic in ["a/b/c", "a/c", "b", "b/1/2", "y/x", "$sys/x", "$own/x", "A/b/c"] {
            net.says("me", &format!("PUBLISH {topic} ''"));
        }
        net.hears(
            "me",
            [
                "PUBLISH q0 a/b/c ''",
                "PUBLISH q0 b ''",
                "PUBLISH q0 b/1/2 ''",
                "PUBLISH q0 y/x ''",
                "PUBLISH q0 $own/x ''",
            ],
        );
        net.says("me", "UNSUBSCRIBE #5 +/x; SUBSCRIBE #6 #");
        net.heard("me");
        net.says("me", "PUBLISH $else/x ''; PUBLISH y/x ''");
        net.hears("me", ["PUBLISH q0 y/x ''"]);
    }
}

#[test]
fn qos_0_goes_where_the_transport_has_room() {
    let mut net = two(Version::V311, "clean");
    let payload = vec![b'x'; 1024 * 1024];
    let now = net.now;
    // Nobody takes what the broker has to send.
    for _ in 0..100 {
        let none = wasmqtt::codec::Properties::EMPTY;
        net.broker.publish(now, "a", &payload, QoS::AtMostOnce, false, none).unwrap();
    }
    for _ in 0..30 {
        let none = wasmqtt::codec::Properties::EMPTY;
        net.broker.publish(now, "a", &payload, QoS::AtLeastOnce, false, none).unwrap();
    }
    net.pump();
    let heard = net.heard("sub");
    let count = |qos: &str| heard.iter().filter(|line| line.contains(qos)).count();
    assert_eq!((count(" q0 "), count(" q1 ")), (16, 30));
}

/// Serves [MQTT5-2.2.2-1] [MQTT5-3.3.2-1]
#[test]
fn a_publish_byte_by_byte() {
    let mut broker = Broker::new(plain(), Instant(0), 1).unwrap();
    let id = broker.handle_open(Instant(0));
    broker.handle_input(Instant(0), id, &encode(Version::V5, "CONNECT 'me' clean"));
    broker.handle_input(Instant(0), id, &encode(Version::V5, "SUBSCRIBE #1 a"));
    broker.handle_input(Instant(0), id, &encode(Version::V5, "PUBLISH a 'x'"));
    let sent = b"\x20\x03\x00\x00\x00\x90\x04\x00\x01\x00\x00\x30\x05\x00\x01a\x00x";
    assert_eq!(broker.poll_transmit(Instant(0)), Some((id, Transmit::Bytes(sent.to_vec()))));
}
