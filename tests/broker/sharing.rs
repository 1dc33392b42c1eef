//! Shared subscriptions.

use wasmqtt::codec::Version;

use crate::net::{BOTH, Net};

/// Serves [MQTT5-4.8.2-3]
#[test]
fn members_take_turns() {
    for version in BOTH {
        let mut net = Net::new();
        for (name, qos) in [("a", 0), ("b", 1), ("c", 2)] {
            net.join(name, version);
            net.says(name, &format!("SUBSCRIBE #1 $share/group/t/+:q{qos}"));
            net.heard(name);
        }
        net.join("alone", version);
        net.says("alone", "SUBSCRIBE #1 $share/other/t/#:q2 t/1");
        net.heard("alone");
        for number in 1..=6 {
            net.says("alone", &format!("PUBLISH q2 #{number} t/{number} ''"));
        }
        net.hears("a", ["PUBLISH q0 t/1 ''", "PUBLISH q0 t/4 ''"]);
        net.hears("b", ["PUBLISH q1 #1 t/2 ''", "PUBLISH q1 #2 t/5 ''"]);
        net.hears("c", ["PUBLISH q2 #1 t/3 ''", "PUBLISH q2 #2 t/6 ''"]);
        let alone = net.heard("alone");
        assert_eq!(alone.iter().filter(|line| line.starts_with("PUBLISH")).count(), 7);
        assert_eq!(alone[0], "PUBLISH q0 t/1 ''", "the subscription that is not shared");
    }
}

#[test]
fn those_who_are_connected_go_first() {
    let mut net = Net::new();
    net.join("pub", Version::V5);
    for name in ["a", "b"] {
        net.join_kept(name, Version::V5);
        net.says(name, "SUBSCRIBE #1 $share/g/t:q1");
        net.heard(name);
    }
    net.cut("a");
    net.says("pub", "PUBLISH q1 #1 t '1'; PUBLISH q1 #2 t '2'");
    net.hears("b", ["PUBLISH q1 #1 t '1'", "PUBLISH q1 #2 t '2'"]);
    net.cut("b");
    net.says("pub", "PUBLISH q1 #3 t '3'; PUBLISH q1 #4 t '4'");
    net.rejoin("a", Version::V5);
    net.hears("a", ["PUBLISH q1 #1 t '3'"]);
}

/// Serves [MQTT5-4.8.2-4] [MQTT5-4.8.2-5]
#[test]
fn a_message_stays_with_the_member_that_got_it() {
    let mut net = Net::new();
    net.join("pub", Version::V5);
    for name in ["a", "b"] {
        net.join_kept(name, Version::V5);
        net.says(name, "SUBSCRIBE #1 $share/g/t:q2");
        net.heard(name);
    }
    net.says("pub", "PUBLISH q2 #1 t 'x'");
    net.hears("a", ["PUBLISH q2 #1 t 'x'"]);
    net.cut("a");
    net.rejoin("a", Version::V5);
    net.hears("a", ["PUBLISH q2 dup #1 t 'x'"]);
    net.cut("a");
    net.wait(200_000);
    assert!(net.broker.clients().all(|client| &*client.client_id != "a"));
    net.hears("b", []);
}

/// Serves [MQTT5-4.8.2-6]
#[test]
fn a_message_that_a_member_refused_goes_to_nobody_else() {
    let mut net = Net::new();
    net.join("pub", Version::V5);
    for name in ["a", "b"] {
        net.join(name, Version::V5);
        net.says(name, "SUBSCRIBE #1 $share/g/t:q2");
        net.heard(name);
    }
    net.says("pub", "PUBLISH q1 #1 t 'x'; PUBLISH q2 #2 t 'y'");
    net.says("a", "PUBACK #1 0x80");
    net.says("b", "PUBREC #1 0x80");
    net.hears("a", ["PUBLISH q1 #1 t 'x'"]);
    net.hears("b", ["PUBLISH q2 #1 t 'y'"]);
}

#[test]
fn no_retained_message_greets_a_shared_subscription() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.says("me", "PUBLISH retain t 'x'; SUBSCRIBE #1 $share/g/t");
    net.hears("me", ["SUBACK #1 0x00"]);
    net.says("me", "UNSUBSCRIBE #2 $share/h/t t $share/g/t");
    net.hears("me", ["UNSUBACK #2 0x11 0x11 0x00"]);
}
