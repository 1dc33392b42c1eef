//! Faults on demand.

use wasmqtt::codec::{PacketType, ReasonCode, Version};

use crate::net::{BOTH, Net};

#[test]
fn a_drop_is_without_a_word() {
    for version in BOTH {
        let mut net = Net::new();
        net.join_kept("a", version);
        net.join("b", version);
        net.broker.drop_connections(net.now, Some("a"));
        net.pump();
        net.hears("a", ["DROP"]);
        net.hears("b", []);
        net.rejoin("a", version);
        net.broker.drop_connections(net.now, None);
        net.pump();
        net.hears("a", ["DROP"]);
        net.hears("b", ["DROP"]);
        net.broker.drop_connections(net.now, Some("nobody"));
    }
}

#[test]
fn a_frozen_connection_is_half_open() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.join("other", version);
        net.says("me", "SUBSCRIBE #1 a:q1");
        net.heard("me");
        let frozen = net.broker.freeze(Some("me"));
        net.says("me", "PUBLISH a '1'; PINGREQ");
        net.says("other", "PUBLISH a '2'");
        net.hears("me", []);
        net.broker.thaw(net.now, &frozen);
        net.pump();
        net.hears("me", ["PUBLISH q0 a '2'", "PUBLISH q0 a '1'", "PINGRESP"]);

        // The client gives up: the broker hears of it when the network is back.
        let frozen = net.broker.freeze(None);
        net.cut("me");
        assert_eq!(net.connected(), ["me", "other"]);
        net.broker.thaw(net.now, &frozen);
        assert_eq!(net.connected(), ["other"]);
        net.broker.thaw(net.now, &frozen);
    }
}

#[test]
fn a_frozen_client_comes_back_on_another_connection() {
    for version in BOTH {
        let mut net = Net::new();
        net.connect("me", version, "10s");
        net.heard("me");
        let frozen = net.broker.freeze(Some("me"));
        net.cut("me");
        net.connect("me", version, "");
        assert!(net.heard("me")[0].starts_with("CONNACK"));
        assert_eq!(net.connected(), ["me"]);
        net.broker.thaw(net.now, &frozen);
        assert_eq!(net.connected(), ["me"]);
    }
    // Without the client's doing, the broker's keep-alive ends it; the client learns of it later.
    let mut net = Net::new();
    net.connect("me", Version::V5, "clean 10s");
    net.heard("me");
    let frozen = net.broker.freeze(Some("me"));
    net.wait(15_000);
    assert!(net.connected().is_empty());
    net.hears("me", []);
    net.broker.thaw(net.now, &frozen);
    net.pump();
    net.hears(
        "me",
        ["DISCONNECT 0x8d ReasonString=nothing came for 1.5 times the Keep Alive", "CLOSE"],
    );
}

#[test]
fn a_drop_ends_a_frozen_connection() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.broker.freeze(None);
    net.broker.drop_connections(net.now, None);
    net.pump();
    net.hears("me", ["DROP"]);
}

/// Serves [MQTT5-3.14.4-1] [MQTT5-4.13.2-1]
#[test]
fn a_disconnect_says_why() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.broker.disconnect(net.now, ReasonCode::SERVER_BUSY, None).unwrap();
        net.pump();
        match version {
            Version::V5 => net.hears("me", ["DISCONNECT 0x89", "CLOSE"]),
            Version::V311 => net.hears("me", ["CLOSE"]),
        }
        for code in [0x04, 0x88, 0x05] {
            assert!(net.broker.disconnect(net.now, ReasonCode(code), None).is_err());
        }
    }
}

/// Serves [MQTT5-3.2.2-6] [MQTT5-3.2.2-8] [MQTT3-3.2.2-4]
#[test]
fn a_refusal_holds_until_it_is_taken_back() {
    for version in BOTH {
        let mut net = Net::new();
        net.join_kept("me", version);
        net.cut("me");
        net.broker.refuse(Some(ReasonCode::SERVER_UNAVAILABLE)).unwrap();
        for _ in 0..2 {
            net.connect("me", version, crate::net::kept(version));
            let heard = net.heard("me");
            assert!(heard[0].starts_with("CONNACK 0x88"), "{heard:?}");
            assert_eq!(heard[1..], ["CLOSE"]);
        }
        net.broker.refuse(None).unwrap();
        net.rejoin("me", version);
        for code in [0, 0x04, 0x10, 0x8d] {
            assert!(net.broker.refuse(Some(ReasonCode(code))).is_err());
        }
    }
}

/// Serves [MQTT3-3.3.5-2] [MQTT5-4.3.3-9]
#[test]
fn what_is_denied() {
    let mut net = Net::new();
    net.broker.deny(Some("secret/#"), None).unwrap();
    net.broker.deny(None, Some("secret/#")).unwrap();
    net.join("me", Version::V5);
    net.join("old", Version::V311);
    net.says("me", "SUBSCRIBE #1 # secret/x $share/g/secret/#");
    net.hears("me", ["SUBACK #1 0x00 0x87 0x87"]);
    for name in ["me", "old"] {
        net.says(
            name,
            "PUBLISH secret/a ''; PUBLISH q1 #1 secret ''; PUBLISH q2 #2 retain secret/b ''; PUBLISH q2 #2 open 'x'",
        );
    }
    net.hears("me", ["PUBACK #1 0x87", "PUBREC #2 0x87", "PUBLISH q0 open 'x'", "PUBREC #2"]);
    // 3.1.1 has no word for it, and the second one is a duplicate there.
    net.hears("old", ["PUBACK #1", "PUBREC #2", "PUBREC #2"]);
    assert!(net.broker.deny(Some("a/#/b"), None).is_err());
    net.broker.deny(None, None).unwrap();
    net.says("me", "SUBSCRIBE #2 secret/x; PUBLISH secret/a ''");
    net.hears("me", ["SUBACK #2 0x00", "PUBLISH q0 secret/a ''"]);
}

#[test]
fn a_cut_comes_at_any_byte() {
    for version in BOTH {
        // CONNECT and CONNACK, and a message each way.
        let connect = crate::net::encode(version, "CONNECT 'me' clean").len() as u64;
        let whole = |net: &mut Net| {
            net.connect("me", version, "clean");
            net.says("me", "SUBSCRIBE #1 a; PUBLISH a 'x'");
            net.heard("me")
        };
        let all = whole(&mut Net::new());
        let connack = if version == Version::V5 { 5 } else { 4 };
        for bytes in 0.. {
            let mut net = Net::new();
            net.broker.cut_after(net.now, bytes, None);
            let heard = whole(&mut net);
            if heard == all {
                assert!(bytes > 40);
                break;
            }
            assert_eq!(heard.last().unwrap(), "DROP", "{bytes}");
            assert_eq!(heard[..heard.len() - 1], all[..heard.len() - 1]);
            assert_eq!(heard.contains(&"CONNACK".into()), bytes >= connect + connack);
            assert!(net.connected().is_empty());
            // It was for one connection.
            assert_eq!(whole(&mut net), all);
        }
    }
}

#[test]
fn a_cut_of_the_connection_that_is_there() {
    let mut net = Net::new();
    net.join_kept("me", Version::V5);
    net.join("other", Version::V5);
    net.broker.cut_after(net.now, 3, Some("me"));
    net.says("me", "PINGREQ");
    net.hears("me", ["DROP"]);
    net.broker.cut_after(net.now, 0, Some("other"));
    net.pump();
    net.hears("other", ["DROP"]);
    // Of one that is away: its next one.
    net.broker.cut_after(net.now, 50, Some("me"));
    net.join("other", Version::V5);
    net.rejoin("me", Version::V5);
    net.says("me", "PINGREQ; PINGREQ; PINGREQ; PINGREQ; PINGREQ; PINGREQ; PINGREQ; PINGREQ");
    assert_eq!(net.heard("me").last().unwrap(), "DROP");
    net.says("other", "PINGREQ");
    net.hears("other", ["PINGRESP"]);
}

#[test]
fn a_delay_is_one_way() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.broker.delay(100);
    net.says("me", "SUBSCRIBE #1 a; PUBLISH a '1'");
    net.wait(99);
    net.hears("me", []);
    net.says("me", "PUBLISH a '2'");
    net.wait(1);
    net.hears("me", ["SUBACK #1 0x00", "PUBLISH q0 a '1'"]);
    net.broker.delay(0);
    net.says("me", "DISCONNECT");
    net.hears("me", []);
    net.wait(99);
    net.hears("me", ["PUBLISH q0 a '2'", "CLOSE"]);
}

#[test]
fn packets_are_logged() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "PUBLISH q1 #1 a 'x' TopicAlias=1; PUBLISH ~ 'y'");
    assert_eq!(net.log()[..2], ["me < CONNECT 'me' clean 0s", "me > CONNACK"]);
    assert!(net.log()[2].starts_with("me > DISCONNECT 0x94"), "{:?}", net.log());
    let mut net = Net::new();
    net.join("me", Version::V311);
    for number in 0..wasmqtt::broker::MAXIMUM_PACKETS as u64 {
        net.says("me", &format!("PUBLISH q1 #1 a '{number}'"));
    }
    assert_eq!(net.broker.packets().len(), wasmqtt::broker::MAXIMUM_PACKETS);
    let first = net.broker.packets().next().unwrap();
    assert_eq!(first.number + wasmqtt::broker::MAXIMUM_PACKETS as u64, net.broker.next_packet());
    assert_eq!(
        (first.packet_type(), first.topic.as_deref(), first.version()),
        (PacketType::Publish, Some("a"), Version::V311)
    );
}
