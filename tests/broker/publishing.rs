//! What clients publish: the exchanges of QoS 1 and 2, duplicates, topic aliases and limits.

use wasmqtt::broker::BrokerOptions;
use wasmqtt::codec::{QoS, Version};

use crate::net::{BOTH, Net, plain};

/// Two clients: one publishes, and the other hears everything at QoS 2.
fn two(version: Version) -> Net {
    let mut net = Net::new();
    net.join("pub", version);
    net.join("sub", version);
    net.says("sub", "SUBSCRIBE #1 #:q2");
    net.hears("sub", ["SUBACK #1 0x02"]);
    net
}

/// Serves [MQTT5-3.3.4-1] [MQTT3-3.3.4-1] [MQTT5-2.2.1-5] [MQTT3-2.3.1-6] [MQTT5-4.3.2-4] [MQTT3-4.3.2-2]
/// Serves [MQTT5-4.3.3-8] [MQTT5-4.3.3-11] [MQTT5-4.5.0-1] [MQTT3-4.5.0-1]
#[test]
fn each_qos_is_acknowledged_in_its_way() {
    for version in BOTH {
        let mut net = two(version);
        net.says("pub", "PUBLISH q0 a '0'");
        net.hears("pub", []);
        for id in [1, 255, 256, 65_535] {
            net.says("pub", &format!("PUBLISH q1 #{id} a '1'"));
            net.hears("pub", [&*format!("PUBACK #{id}")]);
            net.says("pub", &format!("PUBLISH q2 #{id} a '2'"));
            net.hears("pub", [&*format!("PUBREC #{id}")]);
            net.says("pub", &format!("PUBREL #{id}"));
            net.hears("pub", [&*format!("PUBCOMP #{id}")]);
        }
        let heard = net.heard("sub");
        assert_eq!(heard.len(), 9);
        assert_eq!(heard[..3], ["PUBLISH q0 a '0'", "PUBLISH q1 #1 a '1'", "PUBLISH q2 #2 a '2'",]);
    }
}

/// Serves [MQTT5-3.4.2-1] [MQTT5-3.5.2-1]
#[test]
fn nobody_listens() {
    let mut net = Net::new();
    net.join("pub", Version::V5);
    net.says("pub", "PUBLISH q1 #1 a 'x'; PUBLISH q2 #2 a 'x'; PUBREL #2");
    net.hears("pub", ["PUBACK #1 0x10", "PUBREC #2 0x10", "PUBCOMP #2"]);
    net.join("old", Version::V311);
    net.says("old", "PUBLISH q1 #1 a 'x'");
    net.hears("old", ["PUBACK #1"]);
}

/// Serves [MQTT5-4.3.3-10] [MQTT5-4.3.3-12] [MQTT3-4.3.3-2] [MQTT5-3.3.1-1]
#[test]
fn a_qos_2_message_is_delivered_once() {
    for version in BOTH {
        let mut net = two(version);
        net.join_kept("pub", version);
        net.says("pub", "PUBLISH q2 #7 a 'x'; PUBLISH q2 dup #7 a 'x'; PUBLISH q2 #7 a 'x'");
        net.hears("pub", ["PUBREC #7", "PUBREC #7", "PUBREC #7"]);
        net.cut("pub");
        net.rejoin("pub", version);
        net.says("pub", "PUBLISH q2 dup #7 a 'x'");
        net.hears("pub", ["PUBREC #7"]);
        net.hears("sub", ["PUBLISH q2 #1 a 'x'"]);
        net.says("pub", "PUBREL #7; PUBREL #7");
        match version {
            Version::V5 => net.hears("pub", ["PUBCOMP #7", "PUBCOMP #7 0x92"]),
            Version::V311 => net.hears("pub", ["PUBCOMP #7", "PUBCOMP #7"]),
        }
        net.says("pub", "PUBLISH q2 dup #7 a 'y'");
        net.hears("pub", ["PUBREC #7"]);
        net.hears("sub", ["PUBLISH q2 #2 a 'y'"]);
    }
}

/// Serves [MQTT5-4.3.2-5] [MQTT3-4.3.2-2] [MQTT5-3.3.1-3] [MQTT3-3.3.1-3] [MQTT5-3.3.1-2] [MQTT3-3.3.1-2]
#[test]
fn after_its_puback_an_identifier_is_new_whatever_dup_says() {
    for version in BOTH {
        let mut net = two(version);
        net.says("pub", "PUBLISH q1 #7 a 'x'; PUBLISH q1 dup #7 a 'x'");
        net.hears("pub", ["PUBACK #7", "PUBACK #7"]);
        net.hears("sub", ["PUBLISH q1 #1 a 'x'", "PUBLISH q1 #2 a 'x'"]);
    }
}

/// Serves [MQTT3-4.6.0-5] [MQTT3-4.6.0-6] [MQTT5-4.6.0-5] [MQTT5-4.6.0-6]
#[test]
fn order_is_kept() {
    for version in BOTH {
        let mut net = two(version);
        let packets: Vec<String> =
            (1..=50).map(|n| format!("PUBLISH q{} #{n} a '{n}'", 1 + n % 2)).collect();
        net.says("pub", &packets.join("; "));
        let acknowledged: Vec<String> =
            (1..=50).map(|n| format!("{} #{n}", ["PUBACK", "PUBREC"][n % 2])).collect();
        assert_eq!(net.heard("pub"), acknowledged);
        assert_eq!(net.heard("sub"), packets);
    }
}

// ---------------------------------------------------------------------------------------------- what a message carries

/// Serves [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18] [MQTT5-3.3.2-20]
#[test]
fn properties_are_passed_on_as_they_came() {
    let mut net = two(Version::V5);
    let message = "a 'x' PayloadFormatIndicator=1 ContentType=text UserProperty='b:2' ResponseTopic=r/1 \
                   CorrelationData=id UserProperty='a:1' UserProperty='b:2'";
    net.says("pub", &format!("PUBLISH q1 #1 {message}"));
    net.hears(
        "sub",
        [&*format!("PUBLISH q1 #1 {message}").replace('\'', "").replace("a x", "a 'x'")],
    );
}

/// Serves [MQTT5-3.3.2-12] [MQTT5-3.3.2-7] [MQTT5-3.3.2-8] [MQTT5-3.1.2-26]
#[test]
fn a_topic_alias_stands_for_the_last_topic_it_came_with() {
    let mut net = Net::with(BrokerOptions { topic_alias_maximum: 2, ..plain() });
    net.join("sub", Version::V311);
    net.says("sub", "SUBSCRIBE #1 #");
    net.connect("pub", Version::V5, "clean SessionExpiryInterval=100");
    net.says(
        "pub",
        "PUBLISH a '1' TopicAlias=1; PUBLISH b '2' TopicAlias=2; PUBLISH ~ '3' TopicAlias=1; \
         PUBLISH c '4' TopicAlias=1; PUBLISH ~ '5' TopicAlias=1; PUBLISH ~ '6' TopicAlias=2",
    );
    net.hears(
        "sub",
        [
            "SUBACK #1 0x00",
            "PUBLISH q0 a '1'",
            "PUBLISH q0 b '2'",
            "PUBLISH q0 a '3'",
            "PUBLISH q0 c '4'",
            "PUBLISH q0 c '5'",
            "PUBLISH q0 b '6'",
        ],
    );
    net.hears("pub", ["CONNACK TopicAliasMaximum=2"]);
    // They end with the connection.
    net.connect("pub", Version::V5, "SessionExpiryInterval=100");
    net.says("pub", "PUBLISH ~ '7' TopicAlias=1");
    net.hears(
        "pub",
        [
            "CONNACK present TopicAliasMaximum=2",
            "DISCONNECT 0x82 ReasonString=a topic alias that stands for nothing",
            "CLOSE",
        ],
    );
    net.hears("sub", []);
}

/// Serves [MQTT5-4.7.3-4] [MQTT3-4.7.3-4] [MQTT5-1.5.4-3] [MQTT3-1.5.3-3]
#[test]
fn topics_are_taken_as_they_are() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.says("me", "SUBSCRIBE #1 a/+/B; SUBSCRIBE #2 \u{feff}x");
        // Neither case nor slashes nor composed letters are made alike.
        net.says(
            "me",
            "PUBLISH a//B '1'; PUBLISH A//B '2'; PUBLISH a/B '3'; PUBLISH a//B/ '4'; \
             PUBLISH x '5'; PUBLISH \u{feff}x '6'",
        );
        net.hears(
            "me",
            ["SUBACK #1 0x00", "SUBACK #2 0x00", "PUBLISH q0 a//B '1'", "PUBLISH q0 \u{feff}x '6'"],
        );
    }
}

// ---------------------------------------------------------------------------------------------- refused

/// Serves [MQTT5-3.3.4-9]
#[test]
fn more_than_the_receive_maximum() {
    let mut net = Net::with(BrokerOptions { receive_maximum: 2, ..plain() });
    net.connect("me", Version::V5, "clean");
    net.says(
        "me",
        "PUBLISH q2 #1 a ''; PUBLISH q2 #2 a ''; PUBREL #1; PUBLISH q2 #3 a ''; PUBLISH q1 #4 a ''",
    );
    net.hears(
        "me",
        [
            "CONNACK ReceiveMaximum=2",
            "PUBREC #1 0x10",
            "PUBREC #2 0x10",
            "PUBCOMP #1",
            "PUBREC #3 0x10",
            "PUBACK #4 0x10",
        ],
    );
    net.says("me", "PUBLISH q2 #5 a ''");
    net.hears("me", ["DISCONNECT 0x93 ReasonString=more than the Receive Maximum", "CLOSE"]);
}

#[test]
fn what_the_options_do_not_allow() {
    let options = || BrokerOptions {
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        maximum_packet_size: 30,
        ..plain()
    };
    for (packet, why) in [
        ("PUBLISH q2 #1 a ''", "0x9b ReasonString=QoS above the Maximum QoS"),
        ("PUBLISH retain a ''", "0x9a ReasonString=retained messages are not available"),
        ("PUBLISH a 'more than thirty bytes of text'", "0x95 ReasonString=packet too large"),
    ] {
        for version in BOTH {
            let mut net = Net::with(options());
            net.connect("me", version, "clean");
            net.heard("me");
            net.says("me", packet);
            match version {
                Version::V5 => net.hears("me", [&*format!("DISCONNECT {why}"), "CLOSE"]),
                Version::V311 => net.hears("me", ["CLOSE"]),
            }
        }
    }
}

#[test]
fn the_brokers_own_topics_are_for_nobody_else() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "SUBSCRIBE #1 $SYS/x; PUBLISH q1 #1 $SYS/x 'lie'");
    net.hears("me", ["SUBACK #1 0x00", "PUBACK #1 0x87"]);
}

#[test]
fn the_test_publishes_too() {
    let mut net = two(Version::V5);
    let none = wasmqtt::codec::Properties::EMPTY;
    net.broker.publish(net.now, "a", b"x", QoS::AtLeastOnce, true, none).unwrap();
    net.pump();
    net.hears("sub", ["PUBLISH q1 #1 a 'x'"]);
    assert_eq!(net.broker.retained(net.now).count(), 1);
    for topic in ["", "a/#", "+", "$SYS/x", "a\0"] {
        assert!(net.broker.publish(net.now, topic, b"", QoS::AtMostOnce, false, none).is_err());
    }
}
