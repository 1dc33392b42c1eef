//! What leaves, byte by byte: put together here by hand, in the order of the specification.

use wasmqtt::codec::QoS;
use wasmqtt::options::{Draft, DraftKind, Options, Value, Will};
use wasmqtt::session::Credentials;

use crate::support::notation::bytes;
use crate::support::{Arrival, Pair};

/// The packets that reached the server, as bytes.
fn packets(pair: &mut Pair) -> Vec<Vec<u8>> {
    let packet = |arrival| match arrival {
        Arrival::Packet(_, bytes) => Some(bytes),
        _ => None,
    };
    std::mem::take(&mut pair.ends().arrivals).into_iter().filter_map(packet).collect()
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// A CONNECT by the book: flags and fields follow from what there is.
fn connect(
    version: u8,
    id: &str,
    will: Option<&Will>,
    username: Option<&str>,
    password: Option<&[u8]>,
) -> Vec<u8> {
    let no_properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let mut flags = 0x02;
    let mut payload = field(id.as_bytes());
    if let Some(will) = will {
        flags |= 0x04 | (will.qos as u8) << 3 | if will.retain { 0x20 } else { 0 };
        payload.extend(no_properties);
        payload.extend(field(will.topic.as_bytes()));
        payload.extend(field(&will.payload));
    }
    if let Some(username) = username {
        flags |= 0x80;
        payload.extend(field(username.as_bytes()));
    }
    if let Some(password) = password {
        flags |= 0x40;
        payload.extend(field(password));
    }
    let head = [b"\0\x04MQTT".as_slice(), &[version, flags, 0, 60], no_properties].concat();
    let length = head.len() + payload.len();
    let length = if length < 128 {
        vec![length as u8]
    } else {
        vec![(length % 128) as u8 | 128, (length / 128) as u8]
    };
    [&[0x10], &length[..], &head, &payload].concat()
}

/// Shows [MQTT5-3.1.2-1] [MQTT5-3.1.2-9] [MQTT5-3.1.2-11] [MQTT5-3.1.2-12] [MQTT5-3.1.2-13] [MQTT5-3.1.2-16]
/// Shows [MQTT5-3.1.2-17] [MQTT5-3.1.2-18] [MQTT5-3.1.2-19] [MQTT5-3.1.3-1] [MQTT5-3.1.3-3] [MQTT5-2.2.2-1]
/// Shows [MQTT3-3.1.2-9] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-14] [MQTT3-3.1.2-15] [MQTT3-3.1.2-18]
/// Shows [MQTT3-3.1.2-19] [MQTT3-3.1.2-20] [MQTT3-3.1.2-21] [MQTT3-3.1.3-1] [MQTT3-3.1.3-3]
#[test]
fn every_connect() {
    let bare = "keepalive=60 properties.maximumPacketSize=Infinity properties.topicAliasMaximum=0 \
        properties.sessionExpiryInterval=0";
    let mut wills = vec![None];
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for retain in [false, true] {
            for payload in [&b""[..], b"gone \x00\xFF"] {
                wills.push(Some(Will {
                    topic: "w/t".into(),
                    payload: payload.into(),
                    qos,
                    retain,
                    ..Will::default()
                }));
            }
        }
    }
    let mut stories = 0;
    for version in [5, 4] {
        for id in ["", "me", &"long ".repeat(40)] {
            for will in &wills {
                for username in [None, Some(""), Some("user")] {
                    for password in [None, Some(&b""[..]), Some(b"\x00\xFF")] {
                        if version == 4
                            && (username.is_none() && password.is_some() || id.is_empty())
                        {
                            continue;
                        }
                        let mut pair =
                            Pair::new(&format!("protocolVersion={version} clientId='{id}' {bare}"));
                        pair.session().set_will(will.clone()).unwrap();
                        pair.credentials(Credentials {
                            username: username.map(Into::into),
                            password: password.map(Into::into),
                        });
                        pair.connect();
                        assert_eq!(
                            packets(&mut pair),
                            [connect(version, id, will.as_ref(), username, password)]
                        );
                        stories += 1;
                    }
                }
            }
        }
    }
    assert_eq!(stories, 3 * 13 * 9 + 2 * 13 * 7);
}

/// Shows [MQTT5-3.1.2-12] [MQTT3-3.1.2-14] [MQTT5-3.1.3-4] [MQTT3-3.1.3-4] [MQTT5-3.1.3-11] [MQTT3-3.1.3-10]
#[test]
fn what_no_connect_may_hold() {
    let mut options = Options::new();
    let long = "x".repeat(65_536);
    for text in ["a\0b", &long] {
        for path in
            ["clientId", "will.topic", "authentication.method", "will.properties.contentType"]
        {
            let error = options.set(path, Value::Text(text.into())).unwrap_err();
            assert_eq!(error.argument, path);
        }
        let pairs = Value::Strings(vec!["name".into(), text.into()]);
        assert!(options.set("properties.userProperties", pairs).is_err());
    }
    for topic in ["", "a/#", "+"] {
        assert!(options.set("will.topic", Value::Text(topic.into())).is_err());
    }
    for qos in [3.0, -1.0, 0.5] {
        assert!(options.set("will.qos", Value::Number(qos)).is_err());
    }
    options.set("clientId", Value::Text(long[1..].into())).unwrap();
}

/// Shows [MQTT5-2.1.3-1] [MQTT5-2.2.2-1] [MQTT5-3.8.1-1] [MQTT5-3.10.1-1] [MQTT5-3.6.1-1]
/// Shows [MQTT3-2.2.2-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-3.6.1-1] [MQTT3-3.10.3-1]
#[test]
fn every_other_packet() {
    let story = |version: u8| {
        let mut pair = crate::accepted(
            &format!(
                "protocolVersion={version} clientId=me keepalive=1 properties.sessionExpiryInterval=0"
            ),
            "CONNACK SubscriptionIdentifierAvailable=0",
        );
        pair.subscribe("a/+:q1 b");
        pair.unsubscribe("c d");
        pair.publish("q0 t '0'");
        pair.publish("q1 retain t '1'");
        pair.publish("q2 t '2'");
        pair.plays("PUBREC #4; PUBLISH q1 #7 t ''; PUBLISH q2 #8 t ''; PUBREL #8");
        pair.wait(1_000);
        pair.end_with(0, 0, "").unwrap();
        let mut packets = packets(&mut pair);
        // Acknowledgements may be a little later than what else a chunk brings about.
        packets[5..9].sort();
        packets
    };
    let expected = |version: u8, texts: [&str; 11]| {
        let none = if version == 5 { "00" } else { "" };
        texts.map(|text| {
            let body = bytes(&text[2..].replace("[]", none));
            [&bytes(&text[..2])[..], &[body.len() as u8], &body].concat()
        })
    };
    for version in [5, 4] {
        let texts = [
            "82 00 01 [] 00 03 'a/+' 01 00 01 'b' 00",
            "A2 00 02 [] 00 01 'c' 00 01 'd'",
            "30 00 01 't' [] '0'",
            "33 00 01 't' 00 03 [] '1'",
            "34 00 01 't' 00 04 [] '2'",
            "40 00 07",
            "50 00 08",
            "62 00 04",
            "70 00 08",
            "C0",
            "E0",
        ];
        assert_eq!(story(version), expected(version, texts));
    }
}

/// Shows [MQTT5-3.3.4-6]
#[test]
fn no_publish_holds_a_subscription_identifier() {
    let mut draft = Draft::default();
    for name in ["subscriptionIdentifier", "subscriptionIdentifiers"] {
        let error = draft.set(DraftKind::Publish, name, Value::Number(1.0)).unwrap_err();
        assert_eq!(error.argument, name);
    }
    let mut pair = Pair::accepted("", "CONNACK TopicAliasMaximum=5");
    pair.subscribe("a:q1 subscriptionIdentifier=5");
    pair.plays("SUBACK #1 1; PUBLISH q1 #1 a 'x' SubscriptionIdentifier=5");
    pair.clear();
    pair.publish(
        "q1 a 'x' payloadFormatIndicator=1 messageExpiryInterval=9 contentType=text responseTopic=r \
         correlationData=c userProperties=a:b",
    );
    pair.sends([
        "PUBLISH q1 #2 a 'x' PayloadFormatIndicator=1 ContentType=text ResponseTopic=r CorrelationData=c UserProperty=a:b \
         MessageExpiryInterval=9 TopicAlias=1",
    ]);
}
