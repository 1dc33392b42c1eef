//! Sessions: how they begin, are resumed and end.

use wasmqtt::broker::MAXIMUM_QUEUED;
use wasmqtt::codec::{Properties, QoS, Version};

use crate::net::{BOTH, Net, kept};

/// Serves [MQTT5-3.1.2-5] [MQTT5-3.1.2-6] [MQTT5-3.2.2-3] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3] [MQTT3-3.1.2-4] [MQTT3-3.1.2-5]
/// Serves [MQTT5-3.1.2-23] [MQTT5-3.1.3-2] [MQTT3-3.1.3-2] [MQTT3-4.1.0-1] [MQTT3-3.1.4-3] [MQTT5-3.1.4-4]
#[test]
fn a_session_is_resumed() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("pub", version);
        net.connect("me", version, kept(version));
        net.hears("me", ["CONNACK"]);
        net.says("me", "SUBSCRIBE #1 a:q1");
        net.says("me", "DISCONNECT");
        net.heard("me");
        net.says("pub", "PUBLISH q1 #1 a '1'; PUBLISH q2 #2 a '2'; PUBLISH q0 a '3'");
        net.connect("me", version, kept(version));
        net.hears("me", ["CONNACK present", "PUBLISH q1 #1 a '1'", "PUBLISH q1 #2 a '2'"]);
        let client = net.broker.clients().find(|client| &*client.client_id == "me").unwrap();
        assert_eq!(client.subscriptions, ["a".into()]);
    }
}

/// Serves [MQTT5-3.1.2-4] [MQTT3-3.1.2-6] [MQTT5-3.2.2-2] [MQTT3-3.2.2-1] [MQTT5-3.1.4-4] [MQTT3-3.1.4-3]
#[test]
fn a_clean_start_discards_it() {
    for version in BOTH {
        let mut net = Net::new();
        net.join_kept("me", version);
        net.says("me", "SUBSCRIBE #1 a:q1; PUBLISH q1 #1 a '1'; PUBLISH q2 #2 a '2'");
        net.heard("me");
        net.connect("me", version, &format!("clean {}", kept(version)));
        net.hears("me", ["CONNACK"]);
        net.says("me", "PUBLISH q1 #3 a '3'");
        let puback = if version == Version::V5 { "PUBACK #3 0x10" } else { "PUBACK #3" };
        net.hears("me", [puback]);
        // The QoS 2 message that was not released is forgotten.
        net.says("me", "PUBREL #2");
        let pubcomp = if version == Version::V5 { "PUBCOMP #2 0x92" } else { "PUBCOMP #2" };
        net.hears("me", [pubcomp]);
    }
}

/// Serves [MQTT5-4.1.0-2] [MQTT5-3.1.2-23]
#[test]
fn it_expires() {
    for (expiry, lasts_ms) in
        [("", 0), ("SessionExpiryInterval=0", 0), ("SessionExpiryInterval=10", 10_000)]
    {
        let mut net = Net::new();
        net.connect("me", Version::V5, expiry);
        net.says("me", "SUBSCRIBE #1 a");
        net.cut("me");
        if lasts_ms > 0 {
            net.wait(lasts_ms - 1);
            assert_eq!(net.broker.clients().count(), 1);
            net.wait(1);
        }
        assert_eq!(net.broker.clients().count(), 0);
        assert_eq!(net.broker.poll_timeout(), None);
        net.connect("me", Version::V5, expiry);
        assert_eq!(net.heard("me"), ["CONNACK"]);
    }
    let mut net = Net::new();
    net.connect("me", Version::V5, "SessionExpiryInterval=0xffffffff");
    net.cut("me");
    net.wait(u64::from(u32::MAX) * 2_000);
    net.connect("me", Version::V5, "");
    net.hears("me", ["CONNACK present"]);
}

/// Serves [MQTT5-3.14.2-2]
#[test]
fn disconnect_may_change_the_expiry() {
    let mut net = Net::new();
    net.join_kept("me", Version::V5);
    net.says("me", "DISCONNECT 0 SessionExpiryInterval=0");
    net.hears("me", ["CLOSE"]);
    assert_eq!(net.broker.clients().count(), 0);

    net.join_kept("me", Version::V5);
    net.says("me", "DISCONNECT 0 SessionExpiryInterval=1000");
    net.wait(999_000);
    assert_eq!(net.broker.clients().count(), 1);

    net.connect("other", Version::V5, "clean");
    net.says("other", "DISCONNECT 0 SessionExpiryInterval=10");
    net.hears(
        "other",
        ["CONNACK", "DISCONNECT 0x82 ReasonString=a session that ends now cannot be kept", "CLOSE"],
    );
}

#[test]
fn a_session_goes_from_one_version_to_the_other() {
    let mut net = Net::new();
    net.join("pub", Version::V5);
    net.join_kept("me", Version::V311);
    net.says("me", "SUBSCRIBE #1 a:q1");
    net.cut("me");
    net.says("pub", "PUBLISH q1 #1 a 'x' ContentType=text");
    net.rejoin("me", Version::V5);
    net.hears("me", ["PUBLISH q1 #1 a 'x' ContentType=text"]);
    net.cut("me");
    net.rejoin("me", Version::V311);
    net.hears("me", ["PUBLISH q1 dup #1 a 'x'"]);
}

#[test]
fn what_waits_for_a_client_is_limited() {
    let mut net = Net::new();
    net.join_kept("me", Version::V311);
    net.says("me", "SUBSCRIBE #1 a:q1");
    net.cut("me");
    let none = Properties::EMPTY;
    for _ in 0..MAXIMUM_QUEUED + 10 {
        net.broker.publish(net.now, "a", b"x", QoS::AtLeastOnce, false, none).unwrap();
    }
    net.rejoin("me", Version::V311);
    assert_eq!(net.heard("me").len(), MAXIMUM_QUEUED);
}

#[test]
fn a_lost_session_is_not_there_for_the_next_connect() {
    for version in BOTH {
        let mut net = Net::new();
        for connected in [false, true] {
            net.connect("me", version, &format!("clean {}", kept(version)));
            net.says("me", "SUBSCRIBE #1 a:q1");
            net.heard("me");
            if !connected {
                net.cut("me");
            }
            net.broker.lose_session(Some("me"));
            net.says("me", "PUBLISH q1 #1 a 'x'; PUBACK #1");
            net.cut("me");
            net.connect("me", version, kept(version));
            let heard = net.heard("me");
            assert_eq!(heard.last().unwrap(), "CONNACK");
            net.cut("me");
            net.rejoin("me", version);
        }
        net.broker.lose_session(None);
        net.connect("me", version, "");
        net.pump();
        assert_eq!(net.heard("me")[0], "CONNACK");
    }
}
