//! What clients may not say. MQTT 5 is told why in a DISCONNECT; 3.1.1 only sees its connection closed.

use wasmqtt::codec::Version;

use crate::net::{BOTH, Net};
use crate::support::notation::bytes;

#[track_caller]
fn ends(version: Version, bytes: &[u8], code: &str) {
    // Whole, and byte by byte.
    for piece in [bytes.len(), 1] {
        let mut net = Net::new();
        net.join("me", version);
        for piece in bytes.chunks(piece) {
            net.sends("me", piece);
        }
        let heard = net.heard("me");
        match version {
            Version::V5 => {
                assert!(
                    heard[0].starts_with(&format!("DISCONNECT {code} ReasonString=")),
                    "{heard:?}"
                );
                assert_eq!(heard[1..], ["CLOSE"]);
            }
            Version::V311 => assert_eq!(heard, ["CLOSE"]),
        }
        assert!(net.connected().is_empty());
        net.says("me", "PINGREQ");
        net.hears("me", []);
    }
}

/// Serves [MQTT5-4.13.1-1] [MQTT3-4.8.0-1] [MQTT5-2.1.3-1] [MQTT3-2.2.2-2] [MQTT5-3.8.3-5] [MQTT3-3.8.3-4]
/// Serves [MQTT5-3.14.1-1] [MQTT3-3.14.1-1] [MQTT5-3.15.1-1] [MQTT3-2.2.2-1] [MQTT5-3.6.1-1] [MQTT3-3.6.1-1]
/// Serves [MQTT5-3.3.1-4] [MQTT3-3.3.1-4] [MQTT5-3.14.2-1] [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2]
/// Serves [MQTT5-1.5.5-1] [MQTT5-4.7.3-1] [MQTT3-4.7.3-1] [MQTT5-4.7.3-2] [MQTT3-4.7.3-2] [MQTT5-3.3.2-2] [MQTT3-3.3.2-2]
/// Serves [MQTT5-4.7.1-1] [MQTT3-4.7.1-1] [MQTT5-4.7.1-2] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3]
#[test]
fn malformed_packets() {
    let both = [
        ("00 00             ; packet type 0", "0x81"),
        ("81 00             ; SUBSCRIBE with other flags", "0x81"),
        ("80 06 00 01 00 01 'a' 00", "0x81"),
        ("a0 05 00 01 00 01 'a'", "0x81"),
        ("60 02 00 01       ; PUBREL with other flags", "0x81"),
        ("41 02 00 01       ; PUBACK with a flag", "0x81"),
        ("e1 00             ; DISCONNECT with a flag", "0x81"),
        ("c0 01 00          ; PINGREQ with a body", "0x81"),
        ("30 80 80 80 80 01 ; a length of five bytes", "0x81"),
        ("30 80 00          ; a length that is not the shortest", "0x81"),
        ("36 05 00 01 'a' 00 01 ; QoS 3", "0x81"),
        ("38 03 00 01 'a'   ; DUP at QoS 0", "0x81"),
        ("30 03 00 02 'a'   ; past the end", "0x81"),
    ];
    for (text, code) in both {
        for version in BOTH {
            ends(version, &bytes(text), code);
        }
    }
    for (five, three) in [
        ("82 07 00 01 00 00 01 'a' 40", "82 06 00 01 00 01 'a' 04"), // reserved options
        ("82 07 00 01 00 00 01 'a' 03", "82 06 00 01 00 01 'a' 03"), // QoS 3
        ("30 06 00 03 ff 'ab' 00", "30 05 00 03 ff 'ab'"),           // not UTF-8
        ("30 06 00 03 ed a0 80 00", "30 05 00 03 ed a0 80"),         // half a surrogate pair
        ("30 06 00 03 'a' 00 'b' 00", "30 05 00 03 'a' 00 'b'"),     // U+0000
        ("30 06 00 03 'a/#' 00", "30 05 00 03 'a/#'"),               // a wildcard in a topic
        ("30 03 00 00 00", "30 02 00 00"),                           // an empty topic
        ("82 09 00 01 00 00 03 'a#b' 00", "82 08 00 01 00 03 'a#b' 00"),
        ("82 08 00 01 00 00 02 '+a' 00", "82 07 00 01 00 02 '+a' 00"),
        ("82 06 00 01 00 00 00 00", "82 05 00 01 00 00 00"), // an empty filter
        ("82 03 00 01 00", "82 02 00 01"),                   // no filter
        ("a2 03 00 01 00", "a2 02 00 01"),
    ] {
        for (version, text) in [(Version::V5, five), (Version::V311, three)] {
            let bytes = bytes(text);
            let mut net = Net::new();
            net.join("me", version);
            net.sends("me", &bytes);
            let heard = net.heard("me");
            assert_eq!(heard.last().unwrap(), "CLOSE", "{text}");
            assert!(
                version == Version::V311 || heard[0].starts_with("DISCONNECT 0x8"),
                "{heard:?}"
            );
        }
    }
    ends(Version::V5, &bytes("e0 01 8d ; a reason for a server"), "0x82");
    ends(Version::V5, &bytes("f1 00"), "0x81");
    ends(Version::V311, &bytes("f0 00 ; AUTH"), "");
    ends(Version::V5, &bytes("30 07 00 01 'a' 03 23 00 00 ; alias 0"), "0x94");
    ends(Version::V5, &bytes("30 04 00 00 01 01 ; a property past the end"), "0x81");
}

/// Serves [MQTT5-3.1.0-2] [MQTT3-3.1.0-2] [MQTT5-4.12.0-6] [MQTT5-4.12.0-2]
#[test]
fn protocol_errors() {
    for version in BOTH {
        for packet in ["CONNECT 'me' clean", "CONNACK", "SUBACK #1 0", "UNSUBACK #1 0", "PINGRESP"]
        {
            ends(version, &crate::net::encode(version, packet), "0x82");
        }
    }
    for packet in [
        "AUTH 0x19 AuthenticationMethod=m",
        "AUTH 0x18 AuthenticationMethod=m",
        "PUBLISH a '' SubscriptionIdentifier=1",
        "PUBLISH ~ ''",
        "DISCONNECT 0x8b",
        "SUBSCRIBE #1 $share/g/a:q0,nl",
        "SUBSCRIBE #1 a:q0,rh2,nl ReceiveMaximum=1",
    ] {
        let code = if packet.contains("ReceiveMaximum") { "0x81" } else { "0x82" };
        ends(Version::V5, &crate::net::encode(Version::V5, packet), code);
    }
    ends(Version::V5, &crate::net::encode(Version::V5, "PUBLISH ~ '' TopicAlias=65"), "0x94");
}

/// Serves [MQTT5-6.0.0-1] [MQTT3-6.0.0-1]
#[test]
fn a_text_frame() {
    for version in BOTH {
        let mut net = Net::new();
        net.join("me", version);
        net.text("me");
        let why = "DISCONNECT 0x82 ReasonString=a WebSocket frame that is not binary";
        match version {
            Version::V5 => net.hears("me", [why, "CLOSE"]),
            Version::V311 => net.hears("me", ["CLOSE"]),
        }
    }
}

/// Serves [MQTT5-6.0.0-2] [MQTT3-6.0.0-2] [MQTT5-4.2-1]
#[test]
fn packets_may_be_split_anywhere() {
    for version in BOTH {
        let packets: Vec<u8> = [
            "CONNECT 'me' clean",
            "SUBSCRIBE #1 a:q1",
            "PUBLISH q1 #2 a 'hello'",
            "PUBACK #1",
            "PINGREQ",
        ]
        .iter()
        .flat_map(|packet| crate::net::encode(version, packet))
        .collect();
        for split in 0..packets.len() {
            let mut net = Net::new();
            net.open("me", version);
            net.sends("me", &packets[..split]);
            net.sends("me", &packets[split..]);
            net.hears(
                "me",
                ["CONNACK", "SUBACK #1 0x01", "PUBLISH q1 #1 a 'hello'", "PUBACK #2", "PINGRESP"],
            );
        }
    }
}

/// Serves [MQTT5-3.14.2-3]
#[test]
fn the_reason_string_gives_way_to_the_clients_limit() {
    let mut net = Net::new();
    net.connect("me", Version::V5, "clean MaximumPacketSize=10");
    net.says("me", "CONNACK");
    net.hears("me", ["CONNACK", "DISCONNECT 0x82", "CLOSE"]);
}
