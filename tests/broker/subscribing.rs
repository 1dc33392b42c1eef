//! SUBSCRIBE and UNSUBSCRIBE.

use wasmqtt::broker::{BrokerOptions, MAXIMUM_SUBSCRIPTIONS};
use wasmqtt::codec::{QoS, Version};

use crate::net::{BOTH, Net, plain};

/// Serves [MQTT5-3.8.4-1] [MQTT3-3.8.4-1] [MQTT5-3.8.4-2] [MQTT3-3.8.4-2] [MQTT5-3.8.4-5] [MQTT3-3.8.4-4] [MQTT5-3.8.4-6]
/// Serves [MQTT3-3.8.4-5] [MQTT5-3.8.4-7] [MQTT5-3.9.3-1] [MQTT3-3.9.3-1] [MQTT5-3.9.3-2] [MQTT3-3.9.3-2]
/// Serves [MQTT5-2.2.1-6] [MQTT3-2.3.1-7]
#[test]
fn each_filter_is_answered() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.broker.deny(None, Some("secret/#")).unwrap();
        net.says("me", "SUBSCRIBE #65535 a:q0 secret/b:q1 c/#:q2 +:q1 secret/+/x a:q2");
        let denied = if version == Version::V5 { "0x87" } else { "0x80" };
        net.hears("me", [&*format!("SUBACK #65535 0x00 {denied} 0x02 0x01 {denied} 0x02")]);
        let client = net.broker.clients().next().unwrap();
        assert_eq!(client.subscriptions, ["+".into(), "a".into(), "c/#".into()]);
    }
}

/// Serves [MQTT5-3.8.4-3] [MQTT3-3.8.4-3]
#[test]
fn the_same_filter_again_replaces_it() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.says("me", "SUBSCRIBE #1 a:q2; SUBSCRIBE #2 a:q0; PUBLISH q1 #1 a 'x'");
        net.hears("me", ["SUBACK #1 0x02", "SUBACK #2 0x00", "PUBLISH q0 a 'x'", "PUBACK #1"]);
        net.says("me", "UNSUBSCRIBE #3 a; PUBLISH a 'x'");
        assert_eq!(net.heard("me").len(), 1);
    }
}

/// Serves [MQTT5-3.2.2-10] [MQTT5-3.8.4-8]
#[test]
fn no_more_is_granted_than_the_maximum() {
    let mut net = Net::with(BrokerOptions { maximum_qos: QoS::AtMostOnce, ..plain() });
    net.connect("me", Version::V5, "clean");
    net.says("me", "SUBSCRIBE #1 a:q0 b:q1 c:q2");
    net.hears("me", ["CONNACK MaximumQos=0", "SUBACK #1 0x00 0x00 0x00"]);
}

/// Serves [MQTT5-3.3.4-2] [MQTT5-3.3.4-3] [MQTT5-3.3.4-4] [MQTT3-3.3.5-1] [MQTT5-3.3.4-5]
#[test]
fn overlapping_filters_get_one_copy() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "SUBSCRIBE #1 a/#:q1 SubscriptionIdentifier=7");
    net.says("me", "SUBSCRIBE #2 a/b:q2 SubscriptionIdentifier=268435455");
    net.says("me", "SUBSCRIBE #3 +/b:q0; SUBSCRIBE #4 c SubscriptionIdentifier=9");
    net.heard("me");
    net.says("me", "PUBLISH q2 #1 a/b 'x'; PUBLISH a/c 'y'");
    let heard = net.heard("me");
    assert_eq!(heard[1], "PUBREC #1");
    let (message, mut identifiers) = {
        let mut words: Vec<&str> = heard[0].split(' ').collect();
        let identifiers = words.split_off(5);
        (words.join(" "), identifiers)
    };
    identifiers.sort_unstable();
    assert_eq!(message, "PUBLISH q2 #1 a/b 'x'");
    assert_eq!(identifiers, ["SubscriptionIdentifier=268435455", "SubscriptionIdentifier=7"]);
    assert_eq!(heard[2], "PUBLISH q0 a/c 'y' SubscriptionIdentifier=7");

    let mut net = Net::new();
    net.join("old", Version::V311);
    net.says("old", "SUBSCRIBE #1 a/#:q1 +/b:q2 #");
    net.heard("old");
    net.says("old", "PUBLISH q2 #1 a/b 'x'");
    net.hears("old", ["PUBLISH q2 #1 a/b 'x'", "PUBREC #1"]);
}

/// Serves [MQTT5-3.3.4-3]
#[test]
fn a_retained_message_carries_the_identifier_of_its_subscription() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "PUBLISH retain a 'x'; SUBSCRIBE #1 +:q0,rh2 SubscriptionIdentifier=1");
    net.says("me", "SUBSCRIBE #2 a SubscriptionIdentifier=2");
    net.hears(
        "me",
        ["SUBACK #1 0x00", "SUBACK #2 0x00", "PUBLISH q0 retain a 'x' SubscriptionIdentifier=2"],
    );
}

/// Serves [MQTT5-3.8.3-3]
#[test]
fn no_local() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.join("other", Version::V5);
    net.says("me", "SUBSCRIBE #1 a:q1,nl; SUBSCRIBE #2 b:q1,nl; SUBSCRIBE #3 b/#");
    net.heard("me");
    net.says("me", "PUBLISH a 'mine'; PUBLISH b 'mine'");
    net.hears("me", ["PUBLISH q0 b 'mine'"]);
    net.says("other", "PUBLISH a 'theirs'");
    net.hears("me", ["PUBLISH q0 a 'theirs'"]);
}

/// Serves [MQTT5-3.10.4-1] [MQTT5-3.10.4-2] [MQTT5-3.10.4-4] [MQTT5-3.10.4-5] [MQTT5-3.10.4-6] [MQTT5-3.11.3-1]
/// Serves [MQTT3-3.10.4-1] [MQTT3-3.10.4-2] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT3-3.10.4-6] [MQTT5-3.11.3-2]
#[test]
fn unsubscribe_takes_filters_out_by_their_letters() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.says("me", "SUBSCRIBE #1 a/b a/+ A/b");
        net.heard("me");
        net.says("me", "UNSUBSCRIBE #7 a/# a/b A/B a/b");
        match version {
            Version::V5 => net.hears("me", ["UNSUBACK #7 0x11 0x00 0x11 0x11"]),
            Version::V311 => net.hears("me", ["UNSUBACK #7"]),
        }
        net.says("me", "UNSUBSCRIBE #8 a/+; PUBLISH a/b 'x'; PUBLISH A/b 'y'");
        assert_eq!(net.heard("me")[1..], ["PUBLISH q0 A/b 'y'"]);
    }
}

/// Serves [MQTT5-3.10.4-3] [MQTT3-3.10.4-3]
#[test]
fn what_was_under_way_goes_on_after_unsubscribe() {
    for version in BOTH {
        let mut net = Net::new();
        net.join_kept("me", version);
        net.says(
            "me",
            "SUBSCRIBE #1 a:q2; PUBLISH q2 #1 a 'x'; PUBLISH q1 #2 a 'y'; UNSUBSCRIBE #2 a",
        );
        net.heard("me");
        net.cut("me");
        net.rejoin("me", version);
        net.hears("me", ["PUBLISH q2 dup #1 a 'x'", "PUBLISH q1 dup #2 a 'y'"]);
        net.says("me", "PUBREC #1");
        net.hears("me", ["PUBREL #1"]);
    }
}

#[test]
fn a_session_has_so_many_subscriptions() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    for batch in 0..10 {
        let filters: Vec<String> =
            (0..MAXIMUM_SUBSCRIPTIONS / 10).map(|n| format!("f/{batch}/{n}")).collect();
        net.says("me", &format!("SUBSCRIBE #1 {}", filters.join(" ")));
        assert!(!net.heard("me")[0].contains("0x97"));
    }
    net.says("me", "SUBSCRIBE #2 f/1/1:q1 more");
    net.hears("me", ["SUBACK #2 0x01 0x97"]);
    net.says("me", "UNSUBSCRIBE #3 f/1/1; SUBSCRIBE #4 more");
    net.hears("me", ["UNSUBACK #3 0x00", "SUBACK #4 0x00"]);
}
