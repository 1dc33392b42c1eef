//! Wills.

use wasmqtt::codec::Version;

use crate::net::{BOTH, Net};

/// With an observer of everything.
fn observed() -> Net {
    let mut net = Net::new();
    net.connect("observer", Version::V5, "clean");
    net.says("observer", "SUBSCRIBE #1 #:q2,rap");
    net.heard("observer");
    net
}

/// Serves [MQTT5-3.1.2-7] [MQTT5-3.1.2-8] [MQTT3-3.1.2-8] [MQTT5-3.1.2-14] [MQTT5-3.1.2-15] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17]
#[test]
fn a_will_is_published_when_the_connection_is_lost() {
    for version in BOTH {
        for (will, told) in [
            ("q1 w 'gone'", "PUBLISH q1 #1 w 'gone'"),
            ("q0 retain w ''", "PUBLISH q0 retain w ''"),
            ("q2 retain w 'x'", "PUBLISH q2 retain #1 w 'x'"),
        ] {
            let mut net = observed();
            net.connect("me", version, &format!("clean will({will})"));
            net.hears("observer", []);
            net.cut("me");
            net.hears("observer", [told]);
            let retained = net.broker.retained(net.now).count();
            assert_eq!(retained, usize::from(told.contains("retain #")));
        }
    }
}

/// Serves [MQTT5-3.1.2-8] [MQTT5-3.1.2-10] [MQTT3-3.1.2-10] [MQTT5-3.14.4-3] [MQTT3-3.14.4-3] [MQTT3-3.1.2-12]
#[test]
fn a_disconnect_discards_it() {
    for version in BOTH {
        let mut net = observed();
        net.connect("me", version, "clean will(w 'gone')");
        net.says("me", "DISCONNECT");
        net.cut("me");
        net.hears("observer", []);
        // It was for that connection only, and none is left from an earlier one.
        net.connect("me", version, "clean");
        net.cut("me");
        net.hears("observer", []);
    }
}

/// Serves [MQTT5-3.1.2-8] [MQTT5-3.1.2-10]
#[test]
fn it_may_be_asked_for() {
    let mut net = observed();
    net.connect("me", Version::V5, "clean will(w 'gone')");
    net.says("me", "DISCONNECT 0x04");
    net.hears("observer", ["PUBLISH q0 w 'gone'"]);
    net.cut("me");
    net.hears("observer", []);
}

/// Serves [MQTT5-3.1.2-8]
#[test]
fn whatever_else_ends_the_connection_publishes_it() {
    for version in BOTH {
        let endings: [fn(&mut Net); 5] = [
            |net| net.wait(15_000),
            |net| net.says("me", "CONNACK"),
            |net| net.sends("me", &[0, 0]),
            |net| net.broker.drop_connections(net.now, Some("me")),
            |net| {
                let reason = wasmqtt::codec::ReasonCode::SERVER_SHUTTING_DOWN;
                net.broker.disconnect(net.now, reason, Some("me")).unwrap();
            },
        ];
        for end in endings {
            let mut net = observed();
            net.connect("me", version, "clean 10s will(w 'gone')");
            end(&mut net);
            net.pump();
            net.hears("observer", ["PUBLISH q0 w 'gone'"]);
        }
    }
}

/// Serves [MQTT5-3.1.2-8] [MQTT5-3.1.3-9]
#[test]
fn it_waits_for_its_delay() {
    let connect = "SessionExpiryInterval=100 will(w 'gone' WillDelayInterval=10)";
    let mut net = observed();
    net.connect("me", Version::V5, connect);
    net.cut("me");
    net.wait(9_999);
    net.hears("observer", []);
    net.wait(1);
    net.hears("observer", ["PUBLISH q0 w 'gone'"]);
    assert!(net.broker.clients().any(|client| &*client.client_id == "me"));

    // The client is back in time.
    net.connect("me", Version::V5, connect);
    net.cut("me");
    net.wait(9_999);
    net.connect("me", Version::V5, "SessionExpiryInterval=100");
    net.wait(100_000);
    net.hears("observer", []);

    // The session ends first.
    net.connect("me", Version::V5, "SessionExpiryInterval=5 will(w 'gone' WillDelayInterval=10)");
    net.cut("me");
    net.wait(4_999);
    net.hears("observer", []);
    net.wait(1);
    net.hears("observer", ["PUBLISH q0 w 'gone'"]);

    // A clean start ends it.
    net.connect("me", Version::V5, connect);
    net.cut("me");
    net.wait(1_000);
    net.connect("me", Version::V5, "clean");
    net.hears("observer", ["PUBLISH q0 w 'gone'"]);
}

/// Serves [MQTT5-3.1.3-9] [MQTT5-3.1.2-8]
#[test]
fn a_takeover_publishes_it_unless_it_was_to_wait() {
    let mut net = observed();
    net.connect("me", Version::V5, "SessionExpiryInterval=100 will(w '1')");
    net.connect("me", Version::V5, "SessionExpiryInterval=100 will(w '2' WillDelayInterval=1)");
    net.hears("observer", ["PUBLISH q0 w '1'"]);
    net.connect("me", Version::V5, "SessionExpiryInterval=100 will(w '3' WillDelayInterval=1)");
    net.wait(10_000);
    net.hears("observer", []);
    net.connect("me", Version::V5, "clean");
    net.hears("observer", ["PUBLISH q0 w '3'"]);
}

/// Serves [MQTT5-3.1.3-10]
#[test]
fn its_properties_go_with_it() {
    let mut net = observed();
    let properties = "ContentType=text UserProperty=b:2 UserProperty=a:1 PayloadFormatIndicator=1";
    net.connect(
        "me",
        Version::V5,
        &format!("SessionExpiryInterval=9 will(w 'x' WillDelayInterval=3 MessageExpiryInterval=7 {properties})"),
    );
    net.cut("me");
    net.wait(3_000);
    net.hears("observer", [&*format!("PUBLISH q0 w 'x' {properties} MessageExpiryInterval=7")]);
}

#[test]
fn a_will_that_is_denied_is_not_published() {
    let mut net = observed();
    net.broker.deny(Some("w"), None).unwrap();
    net.connect("me", Version::V5, "clean will(w 'gone')");
    net.cut("me");
    net.hears("observer", []);
}
