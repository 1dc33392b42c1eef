//! CONNECT and CONNACK: versions, credentials, client ids, takeover, keep-alive, and how a connection ends.

use wasmqtt::broker::BrokerOptions;
use wasmqtt::codec::{QoS, Version};

use crate::net::{BOTH, Net, plain};

// ---------------------------------------------------------------------------------------------- accepted

/// Serves [MQTT5-3.1.4-5] [MQTT3-3.1.4-4] [MQTT5-3.2.0-1] [MQTT3-3.2.0-1] [MQTT5-3.2.0-2]
/// Serves [MQTT5-3.1.2-6] [MQTT5-3.2.2-1] [MQTT5-3.1.3-5] [MQTT3-3.1.3-5]
#[test]
fn a_connect_is_answered_before_all_else() {
    for version in BOTH {
        let mut net = Net::new();
        net.open("ABCxyz0123456789abcdefg", version);
        net.says(
            "ABCxyz0123456789abcdefg",
            "CONNECT 'ABCxyz0123456789abcdefg' clean; SUBSCRIBE #1 a; PINGREQ",
        );
        net.hears("ABCxyz0123456789abcdefg", ["CONNACK", "SUBACK #1 0x00", "PINGRESP"]);
        assert_eq!(net.connected(), ["ABCxyz0123456789abcdefg"]);
    }
}

/// Serves [MQTT5-3.1.3-6] [MQTT5-3.1.3-7] [MQTT5-3.2.2-16] [MQTT3-3.1.3-6]
#[test]
fn a_client_without_an_id_is_given_one() {
    let mut net = Net::new();
    for name in ["one", "two"] {
        net.open(name, Version::V5);
        net.says(name, "CONNECT '' clean");
    }
    let [one, two] = ["one", "two"].map(|name| net.heard(name).remove(0));
    assert!(one.starts_with("CONNACK AssignedClientIdentifier=auto-"), "{one}");
    assert_ne!(one, two);
    let assigned = one.rsplit_once('=').unwrap().1.to_owned();
    assert!(net.connected().contains(&assigned));

    net.open("three", Version::V311);
    net.says("three", "CONNECT '' clean");
    net.hears("three", ["CONNACK"]);
    assert_eq!(net.connected().len(), 3);
}

/// Serves [MQTT5-3.2.2-9] [MQTT5-3.2.2-22]
#[test]
fn limits_are_told() {
    let mut net = Net::with(BrokerOptions {
        receive_maximum: 5,
        maximum_packet_size: 1_000,
        maximum_qos: QoS::AtLeastOnce,
        topic_alias_maximum: 3,
        retain_available: false,
        ..plain()
    });
    net.connect("me", Version::V5, "clean 60s");
    net.hears(
        "me",
        ["CONNACK ReceiveMaximum=5 MaximumQos=1 RetainAvailable=0 MaximumPacketSize=1000 \
          TopicAliasMaximum=3"],
    );
    net.connect("old", Version::V311, "clean");
    net.hears("old", ["CONNACK"]);
}

// ---------------------------------------------------------------------------------------------- refused

/// Serves [MQTT5-3.1.2-2] [MQTT3-3.1.2-2] [MQTT5-3.2.2-7] [MQTT3-3.2.2-5] [MQTT5-4.13.2-1]
#[test]
fn a_version_that_is_not_spoken_is_refused_in_the_words_of_the_oldest() {
    for (spoken, refused) in [(Version::V311, Version::V5), (Version::V5, Version::V311)] {
        let mut net = Net::with(BrokerOptions { versions: vec![spoken], ..plain() });
        net.connect("me", refused, "clean");
        net.hears("me", ["CONNACK 0x84", "CLOSE"]);
        net.join("other", spoken);
    }
    let mut net = Net::new();
    net.open("me", Version::V311);
    net.sends("me", b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x00\x00\x02me");
    net.hears("me", ["CONNACK 0x84", "CLOSE"]);
}

/// Serves [MQTT5-3.1.2-1] [MQTT3-3.1.2-1] [MQTT5-3.1.4-1] [MQTT3-3.1.4-1] [MQTT3-3.2.2-6]
#[test]
fn what_is_no_connect_of_mqtt_is_closed() {
    for bytes in [
        &b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x00\x00\x02me"[..],
        b"\x10\x0e\x00\x04mqtt\x04\x02\x00\x00\x00\x02me",
        b"\x10\x06\x00\x04MQTT",
        b"\xc0\x00",
        b"\x30\x03\x00\x01a",
        b"\x00\x00",
        b"GET / HTTP/1.1\r\n",
    ] {
        let mut net = Net::new();
        net.open("me", Version::V311);
        net.sends("me", bytes);
        net.hears("me", ["CLOSE"]);
        assert!(net.connected().is_empty());
    }
}

/// Serves [MQTT5-3.1.4-1] [MQTT5-3.1.2-3] [MQTT3-3.1.2-3] [MQTT3-3.1.4-1]
#[test]
fn a_malformed_connect_is_refused() {
    // The reserved flag is set.
    for (version, expected) in [
        (Version::V5, &["CONNACK 0x81 ReasonString=reserved flags", "CLOSE"][..]),
        (Version::V311, &["CLOSE"]),
    ] {
        let mut net = Net::new();
        net.open("me", version);
        let mut bytes = crate::net::encode(version, "CONNECT 'me' clean");
        bytes[9] |= 1;
        net.sends("me", &bytes);
        assert_eq!(net.heard("me"), expected);
    }
}

/// Serves [MQTT5-3.1.4-2] [MQTT5-3.1.4-6] [MQTT3-3.1.4-5] [MQTT5-4.12.0-4]
#[test]
fn users_need_their_password() {
    let users = [("ann".to_owned(), b"secret".to_vec())].into();
    let mut net = Net::with(BrokerOptions { users, ..plain() });
    for (rest, code) in [
        ("", "0x87"),
        ("username='ann'", "0x86"),
        ("username='ann' password='wrong'", "0x86"),
        ("username='bob' password='secret'", "0x86"),
    ] {
        for version in BOTH {
            net.open("me", version);
            net.says(
                "me",
                &format!("CONNECT 'me' clean {rest}; SUBSCRIBE #1 a; PUBLISH retain a 'x'"),
            );
            let heard = net.heard("me");
            assert!(heard[0].starts_with(&format!("CONNACK {code}")), "{heard:?}");
            assert_eq!(heard[1..], ["CLOSE"]);
        }
    }
    assert!(net.broker.retained(net.now).next().is_none(), "nothing behind it was read");
    assert!(net.broker.clients().next().is_none());
    for version in BOTH {
        net.connect("me", version, "clean username='ann' password='secret'");
        net.hears("me", ["CONNACK"]);
    }
}

/// Serves [MQTT3-3.1.3-8] [MQTT3-3.1.3-9] [MQTT5-3.1.3-8]
#[test]
fn without_an_id_and_clean_session_it_is_refused() {
    let mut net = Net::new();
    net.open("me", Version::V311);
    net.says("me", "CONNECT ''");
    net.hears("me", ["CONNACK 0x85", "CLOSE"]);
    assert!(net.connected().is_empty());
}

/// Serves [MQTT5-4.12.0-1]
#[test]
fn authentication_methods_are_not_known() {
    let mut net = Net::new();
    net.connect("me", Version::V5, "clean AuthenticationMethod=SCRAM-SHA-1");
    net.hears("me", ["CONNACK 0x8c ReasonString=there is no such method here", "CLOSE"]);
}

/// Serves [MQTT5-3.2.2-12] [MQTT5-3.2.2-13]
#[test]
fn a_will_beyond_the_limits_is_refused() {
    let mut net = Net::with(BrokerOptions {
        maximum_qos: QoS::AtLeastOnce,
        retain_available: false,
        ..plain()
    });
    net.connect("me", Version::V5, "clean will(q2 a 'gone')");
    net.hears("me", ["CONNACK 0x9b ReasonString=the will's QoS is above the maximum", "CLOSE"]);
    net.connect("me", Version::V5, "clean will(q1 retain a 'gone')");
    net.hears("me", ["CONNACK 0x9a ReasonString=the will is retained", "CLOSE"]);
    net.connect("me", Version::V5, "clean will(q1 a 'gone')");
    assert!(net.heard("me")[0].starts_with("CONNACK MaximumQos=1"));
}

/// Serves [MQTT5-3.2.2-19] [MQTT5-3.1.2-24]
#[test]
fn a_reason_string_gives_way_to_the_clients_limit() {
    let mut net = Net::new();
    net.connect("me", Version::V5, "clean MaximumPacketSize=10 AuthenticationMethod=x");
    net.hears("me", ["CONNACK 0x8c", "CLOSE"]);
    net.connect("me", Version::V5, "clean MaximumPacketSize=4 AuthenticationMethod=x");
    net.hears("me", ["CLOSE"]);
}

#[test]
fn too_many_sessions_are_refused() {
    let mut net = Net::new();
    for number in 0..wasmqtt::broker::MAXIMUM_SESSIONS {
        let name = format!("c{number}");
        let id = net.broker.handle_open(net.now);
        let bytes = crate::net::encode(Version::V311, &format!("CONNECT '{name}'"));
        net.broker.handle_input(net.now, id, &bytes);
        net.broker.handle_close(net.now, id);
    }
    net.connect("one more", Version::V5, "clean");
    net.hears("one more", ["CONNACK 0x97 ReasonString=there are too many sessions", "CLOSE"]);
    net.connect("c7", Version::V311, "");
    net.hears("c7", ["CONNACK present"]);
}

// ---------------------------------------------------------------------------------------------- the end

/// Serves [MQTT5-3.1.4-3] [MQTT3-3.1.4-2] [MQTT5-3.14.4-2] [MQTT5-3.14.2-1]
#[test]
fn the_same_client_id_takes_over() {
    for version in BOTH {
        let mut net = Net::new();
        net.open("old", version);
        net.says("old", "CONNECT 'me' clean");
        net.hears("old", ["CONNACK"]);
        net.open("new", version);
        net.says("new", "CONNECT 'me' clean");
        net.hears("new", ["CONNACK"]);
        let why =
            "DISCONNECT 0x8e ReasonString=another client has connected with the same client id";
        match version {
            Version::V5 => net.hears("old", [why, "CLOSE"]),
            Version::V311 => net.hears("old", ["CLOSE"]),
        }
        assert_eq!(net.connected(), ["me"]);
    }
}

/// Serves [MQTT5-4.1.0-1] [MQTT3-4.1.0-2]
/// Serves [MQTT5-3.1.2-22] [MQTT3-3.1.2-24] [MQTT5-3.12.4-1] [MQTT3-3.12.4-1] [MQTT5-3.2.2-22]
#[test]
fn a_silent_client_is_gone_after_one_and_a_half_times_its_keep_alive() {
    for version in BOTH {
        let mut net = Net::new();
        net.connect("me", version, "clean 10s");
        net.hears("me", ["CONNACK"]);
        net.wait(14_999);
        net.says("me", "PINGREQ");
        net.hears("me", ["PINGRESP"]);
        net.wait(14_999);
        net.hears("me", []);
        net.wait(1);
        let why = "DISCONNECT 0x8d ReasonString=nothing came for 1.5 times the Keep Alive";
        match version {
            Version::V5 => net.hears("me", [why, "CLOSE"]),
            Version::V311 => net.hears("me", ["CLOSE"]),
        }
        net.connect("me", version, "clean 0s");
        net.says("me", "SUBSCRIBE #1 a");
        net.hears("me", ["CONNACK", "SUBACK #1 0x00"]);
        net.wait(1_000_000_000);
        net.says("me", "PUBLISH a 'still here'");
        net.hears("me", ["PUBLISH q0 a 'still here'"]);
    }
}

/// Serves [MQTT5-3.14.0-1]
#[test]
fn who_never_says_connect_is_closed() {
    let mut net = Net::new();
    net.open("me", Version::V5);
    net.wait(29_999);
    net.hears("me", []);
    net.wait(1);
    net.hears("me", ["CLOSE"]);
    assert_eq!(net.broker.poll_timeout(), None);
}

/// Serves [MQTT5-3.14.4-1] [MQTT5-3.14.4-2]
#[test]
fn a_disconnect_is_the_last_word() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.says("me", "DISCONNECT; PINGREQ");
        net.hears("me", ["CLOSE"]);
        net.says("me", "PINGREQ");
        net.hears("me", []);
        assert!(net.broker.clients().next().is_none());
    }
}

/// Serves [MQTT5-3.1.2-28] [MQTT5-3.1.2-29]
#[test]
fn no_more_is_told_than_was_asked_for() {
    for asks in [0, 1] {
        let mut net = Net::new();
        net.connect(
            "me",
            Version::V5,
            &format!("clean RequestResponseInformation={asks} RequestProblemInformation={asks}"),
        );
        net.broker.deny(Some("#"), Some("#")).unwrap();
        net.says("me", "PUBLISH q1 #1 a ''; PUBREL #2; SUBSCRIBE #3 a; UNSUBSCRIBE #4 a; CONNACK");
        net.hears(
            "me",
            [
                "CONNACK",
                "PUBACK #1 0x87",
                "PUBCOMP #2 0x92",
                "SUBACK #3 0x87",
                "UNSUBACK #4 0x11",
                "DISCONNECT 0x82 ReasonString=only a server may send this",
                "CLOSE",
            ],
        );
    }
}
