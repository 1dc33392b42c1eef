//! Retained messages.

use wasmqtt::broker::MAXIMUM_RETAINED;
use wasmqtt::codec::{Properties, QoS, Version};

use crate::net::{BOTH, Net};

fn retained(net: &Net) -> Vec<String> {
    let text = |payload: &[u8]| String::from_utf8_lossy(payload).into_owned();
    let all = net.broker.retained(net.now);
    all.map(|message| format!("{}={}", message.topic, text(&message.payload))).collect()
}

/// Serves [MQTT5-3.3.1-5] [MQTT5-3.3.1-6] [MQTT5-3.3.1-7] [MQTT5-3.3.1-8]
/// Serves [MQTT3-3.3.1-5] [MQTT3-3.3.1-7] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11] [MQTT3-3.3.1-12] [MQTT3-3.1.2-7]
#[test]
fn the_last_one_of_a_topic_is_kept() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.says("me", "PUBLISH retain a '1'; PUBLISH q1 #1 retain b '2'; PUBLISH a 'x'");
        assert_eq!(retained(&net), ["a=1", "b=2"]);
        net.says("me", "PUBLISH q0 retain b '3'; PUBLISH a ''");
        assert_eq!(retained(&net), ["a=1", "b=3"]);
        net.says("me", "SUBSCRIBE #1 a");
        net.heard("me");
        net.says("me", "PUBLISH retain a ''; PUBLISH retain c ''");
        net.hears("me", ["PUBLISH q0 a ''"]);
        net.says("me", "DISCONNECT");
        assert_eq!(retained(&net), ["b=3"], "it is no part of a session");
    }
}

/// Serves [MQTT3-3.3.1-6] [MQTT3-3.3.1-8] [MQTT3-3.3.1-9] [MQTT5-3.3.1-9] [MQTT5-3.3.1-12] [MQTT5-3.8.4-8] [MQTT3-3.8.4-6]
#[test]
fn they_greet_a_new_subscription() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("pub", version);
        net.says(
            "pub",
            "PUBLISH q2 #1 retain s/a '1'; PUBLISH q1 #2 retain s/b '2'; PUBLISH retain t '3'",
        );
        net.join("me", version);
        net.says("me", "SUBSCRIBE #1 s/+:q1 s/a:q2");
        net.hears(
            "me",
            [
                "SUBACK #1 0x01 0x02",
                "PUBLISH q1 retain #1 s/a '1'",
                "PUBLISH q1 retain #2 s/b '2'",
                "PUBLISH q2 retain #3 s/a '1'",
            ],
        );
        net.says("pub", "PUBLISH retain s/b '4'");
        net.hears("me", ["PUBLISH q0 s/b '4'"]);
    }
}

/// Serves [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] [MQTT5-3.8.4-3] [MQTT5-3.8.4-4] [MQTT3-3.8.4-3]
#[test]
fn retain_handling_says_whether_they_do() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "PUBLISH retain a '1'");
    for (options, greets) in
        [(",rh2", false), (",rh1", false), ("", true), (",rh2", false), ("", true)]
    {
        net.says("me", &format!("SUBSCRIBE #1 a:q0{options}"));
        assert_eq!(net.heard("me").len(), if greets { 2 } else { 1 }, "{options}");
    }
    net.says("me", "UNSUBSCRIBE #2 a; SUBSCRIBE #3 a:q0,rh1");
    assert_eq!(net.heard("me").len(), 3);

    net.join("old", Version::V311);
    for _ in 0..2 {
        net.says("old", "SUBSCRIBE #1 a");
        net.hears("old", ["SUBACK #1 0x00", "PUBLISH q0 retain a '1'"]);
    }
}

/// Serves [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]
#[test]
fn retain_as_published() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "SUBSCRIBE #1 a:q0,rap b:q0");
    net.heard("me");
    net.says("me", "PUBLISH retain a '1'; PUBLISH a '2'; PUBLISH retain b '3'; PUBLISH b '4'");
    net.hears(
        "me",
        ["PUBLISH q0 retain a '1'", "PUBLISH q0 a '2'", "PUBLISH q0 b '3'", "PUBLISH q0 b '4'"],
    );
    // The first choice holds where both match.
    net.says("me", "SUBSCRIBE #2 +:q0,rh2");
    net.heard("me");
    net.says("me", "PUBLISH retain a '5'; PUBLISH retain b '6'");
    net.hears("me", ["PUBLISH q0 retain a '5'", "PUBLISH q0 b '6'"]);
}

/// Serves [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]
#[test]
fn they_expire() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "PUBLISH retain a '1' MessageExpiryInterval=10; PUBLISH retain b '2' MessageExpiryInterval=5");
    net.wait(5_000);
    assert_eq!(retained(&net), ["a=1"]);
    net.says("me", "SUBSCRIBE #1 +");
    net.hears("me", ["SUBACK #1 0x00", "PUBLISH q0 retain a '1' MessageExpiryInterval=5"]);
    net.wait(5_000);
    assert!(retained(&net).is_empty());
}

#[test]
fn they_are_limited_in_number_and_size() {
    let mut net = Net::new();
    let none = Properties::EMPTY;
    for number in 0..MAXIMUM_RETAINED {
        let topic = format!("t/{number}");
        net.broker.publish(net.now, &topic, b"x", QoS::AtMostOnce, true, none).unwrap();
    }
    net.join("me", Version::V5);
    net.says(
        "me",
        "PUBLISH q1 #1 retain more 'x'; PUBLISH q1 #2 retain t/1 'y'; PUBLISH q1 #3 retain t/2 ''",
    );
    net.hears("me", ["PUBACK #1 0x97", "PUBACK #2 0x10", "PUBACK #3 0x10"]);
    net.says("me", "PUBLISH q1 #4 retain more 'x' MessageExpiryInterval=1");
    net.hears("me", ["PUBACK #4 0x10"]);
    net.says("me", "PUBLISH q1 #5 retain even 'x'");
    net.hears("me", ["PUBACK #5 0x97"]);
    net.wait(1_000);
    net.says("me", "PUBLISH q1 #6 retain even 'x'");
    net.hears("me", ["PUBACK #6 0x10"]);

    let mut net = Net::new();
    let large = vec![b'x'; 33 * 1024 * 1024];
    net.broker.publish(net.now, "a", &large, QoS::AtMostOnce, true, none).unwrap();
    assert!(net.broker.publish(net.now, "b", &large, QoS::AtMostOnce, true, none).is_err());
    net.broker.publish(net.now, "a", &large, QoS::AtMostOnce, true, none).unwrap();
}

#[test]
fn the_broker_tells_of_itself() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.wait(3_500);
    net.says("me", "SUBSCRIBE #1 #; SUBSCRIBE #2 $SYS/broker/uptime; SUBSCRIBE #3 $SYS/#");
    let version = concat!("wasmqtt ", env!("CARGO_PKG_VERSION"), " test broker");
    net.hears(
        "me",
        [
            "SUBACK #1 0x00",
            "SUBACK #2 0x00",
            "PUBLISH q0 retain $SYS/broker/uptime '3 seconds'",
            "SUBACK #3 0x00",
            &format!("PUBLISH q0 retain $SYS/broker/version '{version}'"),
            "PUBLISH q0 retain $SYS/broker/uptime '3 seconds'",
            "PUBLISH q0 retain $SYS/broker/clients/connected '1'",
        ],
    );
    net.join("other", Version::V311);
    net.hears("me", ["PUBLISH q0 $SYS/broker/clients/connected '2'"]);
    net.cut("other");
    net.hears("me", ["PUBLISH q0 $SYS/broker/clients/connected '1'"]);
    net.wait(20_000);
    assert_eq!(net.heard("me").len(), 2);
    net.says("me", "UNSUBSCRIBE #4 $SYS/broker/uptime $SYS/#");
    assert_eq!(net.broker.poll_timeout(), None);
}
