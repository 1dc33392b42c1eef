//! The rules of the specification as sweeps: over flags, reason codes, properties, texts, lengths.

use std::collections::BTreeSet;

use wasmqtt::codec::Value::{Binary, Byte, Four, Pair, Text, Two, Varint};

use crate::fuzz::decoder::split;
use crate::packets::{DISCONNECT_5_REASON, stories};
use crate::*;

/// Shows [MQTT5-2.1.3-1] [MQTT5-3.6.1-1] [MQTT5-3.15.1-1] [MQTT3-2.2.2-1] [MQTT3-3.6.1-1]
#[test]
fn every_first_byte() {
    for (version, packet) in stories() {
        let body = &packet[2..];
        for first in 0..=255 {
            let result = Packet::decode(version, first, body);
            let allowed = match first >> 4 {
                0 => false,
                3 => first & 0x06 != 0x06 && first & 0x0E != 0x08,
                6 | 8 | 10 => first & 0x0F == 2,
                15 => version == V5 && first & 0x0F == 0,
                _ => first & 0x0F == 0,
            };
            if !allowed {
                let reason = if first >= 0xF0 && version == V311 { PROTOCOL } else { MALFORMED };
                assert_eq!(result.map_err(|error| error.reason), Err(reason), "{first:02x}");
            }
        }
        assert!(Packet::decode(version, packet[0], body).is_ok());
    }
}

#[test]
fn packet_types() {
    let types = [
        (0x10, "connect"),
        (0x20, "connack"),
        (0x30, "publish"),
        (0x40, "puback"),
        (0x50, "pubrec"),
        (0x62, "pubrel"),
        (0x70, "pubcomp"),
        (0x82, "subscribe"),
        (0x90, "suback"),
        (0xA2, "unsubscribe"),
        (0xB0, "unsuback"),
        (0xC0, "pingreq"),
        (0xD0, "pingresp"),
        (0xE0, "disconnect"),
        (0xF0, "auth"),
    ];
    for first in 0..=255 {
        let packet = PacketType::from_first_byte(first);
        let of_publish = |(byte, _): &&(u8, &str)| *byte == 0x30 && first >> 4 == 3;
        let named = types.iter().find(|(byte, _)| *byte == first);
        let expected = named.or(types.iter().find(of_publish));
        assert_eq!(packet.map(PacketType::name), expected.map(|(_, name)| *name), "{first:02x}");
        if let (Some(packet), Some((byte, _))) = (packet, expected) {
            assert_eq!(packet.first_byte(), *byte);
            assert_eq!(packet as u8, byte >> 4);
        }
    }
    // The places of CONNECT and of DISCONNECT are apart from each other and from those of all packets.
    let own = [PacketSet::WILL, PacketSet::CLIENT_DISCONNECT, PacketSet::SERVER_DISCONNECT];
    for (at, place) in own.into_iter().enumerate() {
        assert!(own.iter().enumerate().all(|(other, set)| at == other || !set.intersects(place)));
        for (byte, name) in types {
            let set = PacketSet::of(PacketType::from_first_byte(byte).unwrap());
            assert_eq!(set.intersects(place), name == "disconnect" && at > 0, "{name}");
        }
    }
}

#[test]
fn identifiers() {
    assert_eq!(PacketId::new(0), None);
    assert_eq!(SubscriptionId::new(0), None);
    assert_eq!(SubscriptionId::new(268_435_456), None);
    for number in [1, 65_535] {
        assert_eq!(PacketId::new(number).unwrap().get(), number);
        assert_eq!(PacketId::new(number).unwrap().to_string(), number.to_string());
    }
    for number in [1, 268_435_455] {
        assert_eq!(SubscriptionId::new(number).unwrap().get(), number);
    }
    assert_eq!(size_of::<Option<PacketId>>(), 2);
    assert_eq!(size_of::<Option<SubscriptionId>>(), 4);
}

/// Shows [MQTT5-packet-of-a-client] [MQTT5-3.14.2-1] [MQTT5-3.14.2-2] [MQTT3-packet-of-a-client]
#[test]
fn what_only_a_client_may_say() {
    let from_server = |version, text: &str| {
        decode_from_server(version, &bytes(text)).map(|_| ()).map_err(|error| error.reason)
    };
    for (version, packet) in stories() {
        let client = matches!(packet[0], 0x10 | 0x82 | 0xA2 | 0xC0)
            || (packet[0] == 0xE0 && version == V311)
            || packet == bytes(DISCONNECT_5_REASON);
        let result = decode_from_server(version, &packet);
        if client {
            assert_eq!(result.map_err(|error| error.reason), Err(PROTOCOL));
        } else {
            assert_eq!(result, decode(version, &packet));
        }
    }
    assert_eq!(from_server(V5, "E0 07 00 05 11 00 00 00 01"), Err(PROTOCOL)); // session expiry
    assert_eq!(from_server(V5, "F0 06 19 04 15 00 01 'm'"), Err(PROTOCOL)); // re-authenticate
    assert_eq!(from_server(V5, "F0 06 18 04 15 00 01 'm'"), Ok(()));
    assert_eq!(from_server(V5, "E0 01 8E"), Ok(()));
    assert_eq!(from_server(V5, "E0 01 05"), Err(PROTOCOL));
    assert_eq!(from_server(V5, "E1 00"), Err(MALFORMED));
    assert_eq!(from_server(V5, "83 00"), Err(MALFORMED));
}

/// The codes of each packet, as its own section lists them. DISCONNECT has four more, 84, 85, 86 and
/// 8A: servers send them there too.
pub const REASONS: &[(u8, PacketSet, &str)] = &[
    (0x20, PacketSet::CONNACK, "00 80 81 82 83 84 85 86 87 88 89 8A 8C 90 95 97 99 9A 9B 9C 9D 9F"),
    (0x40, PacketSet::PUBACK, "00 10 80 83 87 90 91 97 99"),
    (0x50, PacketSet::PUBREC, "00 10 80 83 87 90 91 97 99"),
    (0x62, PacketSet::PUBREL, "00 92"),
    (0x70, PacketSet::PUBCOMP, "00 92"),
    (0x90, PacketSet::SUBACK, "00 01 02 80 83 87 8F 91 97 9E A1 A2"),
    (0xB0, PacketSet::UNSUBACK, "00 11 80 83 87 8F 91"),
    (
        0xE0,
        PacketSet::DISCONNECT,
        "00 04 80 81 82 83 84 85 86 87 89 8A 8B 8C 8D 8E 8F 90 93 94 95 96 97 98 99 9A 9B 9C 9D 9E 9F A0 A1 A2",
    ),
    (0xF0, PacketSet::AUTH, "00 18 19"),
];

/// Every code there is, as in the specification's table 2-6.
const CODES: &[(u8, ReasonCode)] = &[
    (0x00, ReasonCode::SUCCESS),
    (0x01, ReasonCode::GRANTED_QOS_1),
    (0x02, ReasonCode::GRANTED_QOS_2),
    (0x04, ReasonCode::DISCONNECT_WITH_WILL_MESSAGE),
    (0x10, ReasonCode::NO_MATCHING_SUBSCRIBERS),
    (0x11, ReasonCode::NO_SUBSCRIPTION_EXISTED),
    (0x18, ReasonCode::CONTINUE_AUTHENTICATION),
    (0x19, ReasonCode::RE_AUTHENTICATE),
    (0x80, ReasonCode::UNSPECIFIED_ERROR),
    (0x81, ReasonCode::MALFORMED_PACKET),
    (0x82, ReasonCode::PROTOCOL_ERROR),
    (0x83, ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR),
    (0x84, ReasonCode::UNSUPPORTED_PROTOCOL_VERSION),
    (0x85, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID),
    (0x86, ReasonCode::BAD_USER_NAME_OR_PASSWORD),
    (0x87, ReasonCode::NOT_AUTHORIZED),
    (0x88, ReasonCode::SERVER_UNAVAILABLE),
    (0x89, ReasonCode::SERVER_BUSY),
    (0x8A, ReasonCode::BANNED),
    (0x8B, ReasonCode::SERVER_SHUTTING_DOWN),
    (0x8C, ReasonCode::BAD_AUTHENTICATION_METHOD),
    (0x8D, ReasonCode::KEEP_ALIVE_TIMEOUT),
    (0x8E, ReasonCode::SESSION_TAKEN_OVER),
    (0x8F, ReasonCode::TOPIC_FILTER_INVALID),
    (0x90, ReasonCode::TOPIC_NAME_INVALID),
    (0x91, ReasonCode::PACKET_IDENTIFIER_IN_USE),
    (0x92, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND),
    (0x93, ReasonCode::RECEIVE_MAXIMUM_EXCEEDED),
    (0x94, ReasonCode::TOPIC_ALIAS_INVALID),
    (0x95, ReasonCode::PACKET_TOO_LARGE),
    (0x96, ReasonCode::MESSAGE_RATE_TOO_HIGH),
    (0x97, ReasonCode::QUOTA_EXCEEDED),
    (0x98, ReasonCode::ADMINISTRATIVE_ACTION),
    (0x99, ReasonCode::PAYLOAD_FORMAT_INVALID),
    (0x9A, ReasonCode::RETAIN_NOT_SUPPORTED),
    (0x9B, ReasonCode::QOS_NOT_SUPPORTED),
    (0x9C, ReasonCode::USE_ANOTHER_SERVER),
    (0x9D, ReasonCode::SERVER_MOVED),
    (0x9E, ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
    (0x9F, ReasonCode::CONNECTION_RATE_EXCEEDED),
    (0xA0, ReasonCode::MAXIMUM_CONNECT_TIME),
    (0xA1, ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED),
    (0xA2, ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
];

#[test]
fn reason_codes_by_name() {
    for (code, constant) in CODES {
        assert_eq!(ReasonCode(*code), *constant);
    }
    for code in 0..=255 {
        let known = CODES.iter().any(|(known, _)| *known == code);
        assert_eq!(ReasonCode(code).name().is_some(), known, "{code:02x}");
    }
    assert_eq!(ReasonCode::NOT_AUTHORIZED.name(), Some("not authorized"));
    assert_eq!(ReasonCode::QOS_NOT_SUPPORTED.name(), Some("QoS not supported"));
    let everywhere = REASONS.iter().flat_map(|(.., listed)| bytes(listed)).collect::<BTreeSet<_>>();
    assert!(everywhere.into_iter().eq(CODES.iter().map(|(code, _)| *code)));
}

/// Shows [MQTT5-3.2.2-8] [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1] [MQTT5-3.9.3-2]
/// Shows [MQTT5-3.11.3-2] [MQTT5-3.14.2-1] [MQTT5-3.15.2-1]
#[test]
fn reason_codes_of_each_packet() {
    for (first, place, listed) in REASONS {
        let listed = bytes(listed);
        for code in 0..=255 {
            let body = match first {
                0x20 => vec![0, code, 0],
                0x40..0x90 => vec![0, 1, code],
                0x90..0xC0 => vec![0, 1, 0, code],
                0xE0 => vec![code],
                _ => vec![code, 0],
            };
            let packet = framed(*first, &body);
            assert_eq!(ReasonCode(code).stands_in(*place), listed.contains(&code));
            if listed.contains(&code) {
                assert!(decode(V5, &packet).is_ok(), "{packet:02x?}");
            } else {
                refused(V5, &packet, PROTOCOL);
            }
        }
    }
    for code in 0..=255 {
        let packet = [0x90, 3, 0, 1, code];
        assert_eq!(decode(V311, &packet).is_ok(), [0, 1, 2, 0x80].contains(&code));
        assert_eq!(ReasonCode(code).is_error(), code >= 0x80);
    }
}

/// Shows [MQTT5-3.14.2-1]
#[test]
fn reason_codes_of_disconnect_by_sender() {
    let client = bytes("00 04 80 81 82 83 90 93 94 95 96 97 98 99");
    for code in 0..=255 {
        let disconnect = ReasonCode(code).stands_in(PacketSet::DISCONNECT);
        let by_client = ReasonCode(code).stands_in(PacketSet::CLIENT_DISCONNECT);
        assert_eq!(by_client, client.contains(&code), "{code:02x}");
        let by_server = decode_from_server(V5, &[0xE0, 1, code]).is_ok();
        assert_eq!(by_server, disconnect && code != 4, "{code:02x}");
    }
}

/// Each property with a value, and the packets that may hold it: C CONNECT, c CONNACK, P PUBLISH, w will, A the four
/// acknowledgements of PUBLISH, S SUBSCRIBE, s SUBACK, U UNSUBSCRIBE, u UNSUBACK, D DISCONNECT, X AUTH.
pub const PROPERTIES: &[(&str, Property, Value, &str)] = &[
    ("01 01", Property::PayloadFormatIndicator, Byte(1), "Pw"),
    ("02 00 00 01 00", Property::MessageExpiryInterval, Four(256), "Pw"),
    ("03 00 01 'j'", Property::ContentType, Text("j"), "Pw"),
    ("08 00 03 'r/1'", Property::ResponseTopic, Text("r/1"), "Pw"),
    ("09 00 02 00 FF", Property::CorrelationData, Binary(&[0, 0xFF]), "Pw"),
    ("0B FF FF FF 7F", Property::SubscriptionIdentifier, Varint(268_435_455), "PS"),
    ("11 FF FF FF FF", Property::SessionExpiryInterval, Four(u32::MAX), "CcD"),
    ("12 00 02 'id'", Property::AssignedClientIdentifier, Text("id"), "c"),
    ("13 01 02", Property::ServerKeepAlive, Two(258), "c"),
    ("15 00 01 'm'", Property::AuthenticationMethod, Text("m"), "CcX"),
    ("16 00 01 00", Property::AuthenticationData, Binary(&[0]), "CcX"),
    ("17 00", Property::RequestProblemInformation, Byte(0), "C"),
    ("18 00 00 00 00", Property::WillDelayInterval, Four(0), "w"),
    ("19 01", Property::RequestResponseInformation, Byte(1), "C"),
    ("1A 00 01 'r'", Property::ResponseInformation, Text("r"), "c"),
    ("1C 00 01 's'", Property::ServerReference, Text("s"), "cD"),
    ("1F 00 02 C3 A4", Property::ReasonString, Text("ä"), "cAsuDX"),
    ("21 00 01", Property::ReceiveMaximum, Two(1), "Cc"),
    ("22 00 00", Property::TopicAliasMaximum, Two(0), "Cc"),
    ("23 FF FF", Property::TopicAlias, Two(65535), "P"),
    ("24 01", Property::MaximumQos, Byte(1), "c"),
    ("25 00", Property::RetainAvailable, Byte(0), "c"),
    ("26 00 01 'k' 00 01 'v'", Property::UserProperty, Pair("k", "v"), "CcPwASsUuDX"),
    ("27 00 00 00 01", Property::MaximumPacketSize, Four(1), "Cc"),
    ("28 00", Property::WildcardSubscriptionAvailable, Byte(0), "c"),
    ("29 01", Property::SubscriptionIdentifierAvailable, Byte(1), "c"),
    ("2A 00", Property::SharedSubscriptionAvailable, Byte(0), "c"),
];

/// Each packet with a place for properties: its letter above, its first byte, what stands before the block and behind it.
pub const CARRIERS: &[(char, u8, &str, &str)] = &[
    ('C', 0x10, "00 04 'MQTT' 05 02 00 00", "00 00"),
    ('w', 0x10, "00 04 'MQTT' 05 06 00 00 00 00 00", "00 01 't' 00 00"),
    ('c', 0x20, "00 00", ""),
    ('P', 0x30, "00 01 't'", "'payload'"),
    ('P', 0x34, "00 01 't' 00 01", ""),
    ('A', 0x40, "00 01 00", ""),
    ('A', 0x50, "00 01 00", ""),
    ('A', 0x62, "00 01 00", ""),
    ('A', 0x70, "00 01 00", ""),
    ('S', 0x82, "00 01", "00 01 't' 00"),
    ('s', 0x90, "00 01", "00"),
    ('U', 0xA2, "00 01", "00 01 't'"),
    ('u', 0xB0, "00 01", "00"),
    ('D', 0xE0, "00", ""),
    ('X', 0xF0, "00", ""),
];

/// Each carrier's letter, and the function that makes its packet with a block.
pub fn carriers() -> impl Iterator<Item = (char, impl Fn(&[u8]) -> Vec<u8>)> {
    CARRIERS.iter().map(|carrier| (carrier.0, |block: &[u8]| carry_with(carrier, block)))
}

pub fn carry_with((_, first, before, behind): &(char, u8, &str, &str), block: &[u8]) -> Vec<u8> {
    let body = [bytes(before), varint(block.len()), block.to_vec(), bytes(behind)];
    framed(*first, &body.concat())
}

/// The carrier for one letter.
pub fn carry(letter: char, block: &[u8]) -> Vec<u8> {
    carriers().find(|(name, _)| *name == letter).unwrap().1(block)
}

/// Shows [MQTT5-property-misplaced] [MQTT5-property-repeated]
#[test]
fn properties_of_each_packet() {
    for (letter, carry) in carriers() {
        assert!(decode(V5, &carry(&[])).is_ok());
        for (text, property, _, places) in PROPERTIES {
            // Authentication data is only valid with a method.
            let method =
                if *property == Property::AuthenticationData { "15 00 01 'm'" } else { "" };
            let one = bytes(text);
            let packet = carry(&[bytes(method), one.clone()].concat());
            if !places.contains(letter) {
                refused(V5, &packet, MALFORMED);
                continue;
            }
            let decoded = decode(V5, &packet).unwrap_or_else(|e| panic!("{packet:02x?}: {e:?}"));
            assert_eq!(encode(V5, &decoded), packet);

            let twice = carry(&[bytes(method), one.clone(), one.clone()].concat());
            let repeats = match property {
                Property::UserProperty => true,
                Property::SubscriptionIdentifier => letter == 'P',
                _ => false,
            };
            if repeats {
                assert!(decode(V5, &twice).is_ok());
            } else {
                refused(V5, &twice, PROTOCOL);
            }
            for end in 1..one.len() {
                refused(V5, &carry(&one[..end]), MALFORMED);
            }
        }
    }
}

#[test]
fn property_values() {
    for (text, property, value, _) in PROPERTIES {
        assert_eq!(block(&[(*property, *value)]).borrow().as_bytes(), bytes(text));
        assert_eq!(*property as u8, bytes(text)[0]);
        // The name in the API is the specification's, but for plurals and QoS.
        let name = property.api_name();
        assert_eq!(Property::from_api_name(name), Some(*property));
        let plain = name.replace("ies", "y").replace("Identifiers", "Identifier");
        assert_eq!(plain.to_lowercase(), format!("{property:?}").to_lowercase());
    }
    for name in ["", "TopicAlias", "topicalias", "topicAlias "] {
        assert_eq!(Property::from_api_name(name), None);
    }
    // Read back from one long block, none lost, in order.
    let all: Vec<_> =
        PROPERTIES.iter().map(|(_, property, value, _)| (*property, *value)).collect();
    let block = block(&all);
    assert_eq!(block.borrow().iter().collect::<Vec<_>>(), all);
    for (property, value) in all {
        assert_eq!(block.borrow().get(property), Some(value));
    }
}

#[test]
fn properties_by_type() {
    let mut owned = block(&[
        (Property::SubscriptionIdentifier, Varint(3)),
        (Property::UserProperty, Pair("a", "1")),
        (Property::PayloadFormatIndicator, Byte(1)),
        (Property::SubscriptionIdentifier, Varint(300)),
        (Property::UserProperty, Pair("a", "2")),
        (Property::ContentType, Text("json")),
        (Property::CorrelationData, Binary(&[9])),
        (Property::TopicAlias, Two(4)),
        (Property::MessageExpiryInterval, Four(70000)),
    ]);
    let properties = owned.borrow();
    assert_eq!(properties.u32(Property::PayloadFormatIndicator), Some(1));
    assert_eq!(properties.u32(Property::TopicAlias), Some(4));
    assert_eq!(properties.u32(Property::MessageExpiryInterval), Some(70000));
    assert_eq!(properties.u32(Property::SubscriptionIdentifier), Some(3));
    assert_eq!(properties.u32(Property::ContentType), None);
    assert_eq!(properties.u32(Property::ReceiveMaximum), None);
    assert_eq!(properties.text(Property::ContentType), Some("json"));
    assert_eq!(properties.text(Property::ResponseTopic), None);
    assert_eq!(properties.text(Property::CorrelationData), None);
    assert_eq!(properties.binary(Property::CorrelationData), Some(&[9][..]));
    assert_eq!(properties.binary(Property::ContentType), None);
    let ids: Vec<_> = properties.subscription_ids().map(SubscriptionId::get).collect();
    assert_eq!(ids, [3, 300]);
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("a", "1"), ("a", "2")]);
    assert!(Properties::decode(PacketSet::PUBLISH, properties.as_bytes()) == Ok(properties));

    owned.remove(Property::SubscriptionIdentifier);
    owned.remove(Property::TopicAlias);
    owned.remove(Property::ReceiveMaximum);
    assert_eq!(owned.borrow().subscription_ids().count(), 0);
    assert_eq!(owned.borrow().iter().count(), 6);
    assert_eq!(PropertiesBuf::from(owned.borrow()), owned);
    owned.clear();
    assert!(owned.is_empty() && owned.borrow().is_empty());
}

/// Shows [MQTT5-property-misplaced] [MQTT5-property-boolean] [MQTT5-property-zero]
/// Shows [MQTT5-subscription-identifier-zero] [MQTT5-authentication-data-alone] [MQTT5-3.3.2-8] [MQTT5-3.3.2-14]
/// Shows [MQTT5-1.5.5-1]
#[test]
fn property_rules() {
    let known: Vec<_> = PROPERTIES.iter().map(|(text, ..)| bytes(text)[0]).collect();
    for (_, carry) in carriers() {
        for id in (0..=127).filter(|id| !known.contains(id)) {
            refused(V5, &carry(&[id, 0, 0, 0, 0]), MALFORMED);
        }
        refused(V5, &carry(&bytes("A6 00 00 00 00 00")), MALFORMED); // 0x26 in two bytes
        refused(V5, &carry(&bytes("80 01 00 00")), MALFORMED); // identifier 128
    }
    // Yes or no.
    for (text, property, value, places) in PROPERTIES {
        if let Byte(_) = value {
            for byte in 2..=255 {
                let packet = carry(places.chars().next().unwrap(), &[*property as u8, byte]);
                refused(V5, &packet, PROTOCOL);
            }
            assert_eq!(bytes(text).len(), 2);
        }
    }
    // Not 0.
    for letter in ['C', 'c'] {
        refused(V5, &carry(letter, &bytes("21 00 00")), PROTOCOL);
        refused(V5, &carry(letter, &bytes("27 00 00 00 00")), PROTOCOL);
    }
    for letter in ['P', 'S'] {
        refused(V5, &carry(letter, &bytes("0B 00")), PROTOCOL);
        refused(V5, &carry(letter, &bytes("0B 81 00")), MALFORMED); // not the shortest form
        refused(V5, &carry(letter, &bytes("0B FF FF FF FF 7F")), MALFORMED);
    }
    refused(V5, &carry('P', &bytes("23 00 00")), ReasonCode::TOPIC_ALIAS_INVALID);
    for letter in ['P', 'w'] {
        for topic in ["'a/+'", "'#'", ""] {
            let value = field(&bytes(topic));
            refused(V5, &carry(letter, &[&[0x08], &value[..]].concat()), PROTOCOL);
        }
    }
    for letter in ['C', 'c', 'X'] {
        refused(V5, &carry(letter, &bytes("16 00 00")), PROTOCOL); // no method
        assert!(decode(V5, &carry(letter, &bytes("16 00 00 15 00 00"))).is_ok());
    }
}

/// Text that is well formed by the specification.
pub const FINE_TEXTS: &[&[u8]] = &[
    b"",
    b"plain",
    b"\xEF\xBB\xBFx",            // U+FEFF is kept wherever it stands
    b"x\xEF\xBB\xBF",            // at the end as well
    b"\x01\x1F\x7F",             // control characters are discouraged, not forbidden
    b"\xC2\x80",                 // U+0080, the first of two bytes
    b"\xEF\xBF\xBF",             // U+FFFF, likewise
    b"\xED\x9F\xBF\xEE\x80\x80", // the neighbours of the surrogates
    b"\xF4\x8F\xBF\xBF",         // U+10FFFF
];
/// Text that is not.
pub const BAD_TEXTS: &[&[u8]] = &[
    b"\0",
    b"a\0b",
    b"\x80",                     // begins in the middle
    b"\xC3",                     // ends in the middle
    b"\xE2\x82",                 // two bytes of three
    b"\xC0\x80",                 // overlong U+0000
    b"\xC1\xBF",                 // overlong U+007F
    b"\xE0\x9F\xBF",             // overlong U+07FF
    b"\xF0\x8F\xBF\xBF",         // overlong U+FFFF
    b"\xED\xA0\x80",             // the first surrogate
    b"\xED\xBF\xBF",             // the last
    b"\xED\xA0\xBD\xED\xB8\x80", // a pair of them
    b"\xF4\x90\x80\x80",         // above U+10FFFF
    b"\xF5\x80\x80\x80",         // far above
    b"\xFF",
];

/// Shows [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] [MQTT5-1.5.4-3] [MQTT5-1.5.7-1] [MQTT5-3.1.3-4] [MQTT5-3.1.3-11]
/// Shows [MQTT5-3.1.3-12] [MQTT5-3.3.2-13] [MQTT5-3.3.2-19] [MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT3-1.5.3-3]
/// Shows [MQTT3-3.1.3-4] [MQTT3-3.1.3-11] [MQTT3-3.3.2-1] [MQTT3-3.8.3-1] [MQTT3-3.10.3-1]
#[test]
fn text_rules() {
    for text in FINE_TEXTS.iter().chain(BAD_TEXTS) {
        let valid = FINE_TEXTS.contains(text);
        let check = |version, packet: &[u8]| {
            if valid {
                let decoded = decode(version, packet).unwrap();
                assert_eq!(encode(version, &decoded), packet);
            } else {
                refused(version, packet, MALFORMED);
            }
        };
        let value = field(text);
        let head = |level: u8, flags: u8| [b"\0\x04MQTT", &[level, flags, 0, 0][..]].concat();
        check(V311, &framed(0x10, &[head(4, 2), value.clone()].concat())); // client id
        let user = [head(4, 0x82), vec![0, 0], value.clone()];
        check(V311, &framed(0x10, &user.concat())); // user name
        if !text.is_empty() {
            let will = [head(5, 6), vec![0, 0, 0, 0], value.clone(), vec![0, 0]];
            check(V5, &framed(0x10, &will.concat())); // will topic
            check(V311, &framed(0x30, &value)); // topic
            check(V311, &framed(0x82, &[&[0, 1], &value[..], &[0]].concat())); // filters
            check(V311, &framed(0xA2, &[&[0, 1], &value[..]].concat()));
        }
        for (letter, carry) in carriers() {
            for (_, property, example, places) in PROPERTIES {
                let id = [*property as u8];
                match example {
                    // An empty response topic is no topic.
                    Text(_) if text.is_empty() && *property == Property::ResponseTopic => (),
                    Text(_) if places.contains(letter) => {
                        check(V5, &carry(&[&id, &value[..]].concat()))
                    }
                    Pair(..) => {
                        check(V5, &carry(&[&id, &value[..], &field(b"v")].concat()));
                        check(V5, &carry(&[&id[..], &field(b"k"), &value].concat()));
                    }
                    _ => (),
                }
            }
        }
        if let Ok(text) = std::str::from_utf8(text) {
            assert_eq!(check_text(text).is_ok(), valid);
        }
    }
    assert!(check_text(&"x".repeat(65535)).is_ok());
    assert!(check_text(&"x".repeat(65536)).is_err());
    assert!(check_text(&"ä".repeat(32767)).is_ok());
    assert!(check_text(&"ä".repeat(32768)).is_err()); // bytes count, not characters
}

/// Shows [MQTT5-field-past-end] [MQTT5-bytes-left-over]
#[test]
fn cut_short_or_too_long() {
    for (version, packet) in stories() {
        let body = &packet[2..];
        for end in 0..body.len() {
            // Some are whole packets, too; none is the same one.
            if let Ok(shorter) = Packet::decode(version, packet[0], &body[..end]) {
                let again = encode(version, &shorter);
                assert_ne!(again, packet);
                assert_eq!(decode(version, &again), Ok(shorter));
            }
        }
        let more = [body, &[0]].concat();
        match packet[0] & 0xF0 {
            0x30 | 0x90 => (), // a longer payload, another code
            0xB0 if version == V5 => (),
            0xE0 | 0xF0 if body.is_empty() && version == V5 => (),
            0x40..=0x70 | 0xE0 if version == V5 && body.len() < 4 => (),
            _ => refused(version, &framed(packet[0], &more), MALFORMED),
        }
    }
}

/// Shows [MQTT5-1.5.5-1]
#[test]
fn remaining_lengths() {
    let table = [
        (0, "00"),
        (1, "01"),
        (127, "7F"),
        (128, "80 01"),
        (16_383, "FF 7F"),
        (16_384, "80 80 01"),
        (2_097_151, "FF FF 7F"),
        (2_097_152, "80 80 80 01"),
        (268_435_455, "FF FF FF 7F"),
    ];
    for (length, text) in table {
        let header = [&[0x30], &bytes(text)[..]].concat();
        // The decoder believes it, and keeps only what is there.
        let mut decoder = Decoder::new(V311, u32::MAX);
        let mut at = 0;
        let step = decoder.step(&header, &mut at, 0);
        if length == 0 {
            assert_eq!(step, Ok(Step::Packet { first: 0x30, start: 2, len: 0 }));
        } else {
            assert_eq!((step, at), (Ok(Step::More), header.len()));
            assert_eq!(decoder.buffered(), 0);
        }
        // The encoder writes it.
        if length > 3 {
            let publish = Publish {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: b"t",
                id: None,
                properties: NONE,
                payload: &[],
            };
            let mut out = Vec::new();
            publish.encode_header(V311, None, length - 3, &mut out);
            assert_eq!(out, [header, bytes("00 01 't'")].concat());
        }
    }
    // A length that is patched in afterwards, too.
    for topic in [100, 121, 122, 123, 200, 16_377, 16_378, 16_379, 65_535] {
        let filter = "x".repeat(topic);
        let mut out = b"before".to_vec();
        encode_unsubscribe(V311, id(1), NONE, [&*filter].into_iter(), &mut out);
        let expected = framed(0xA2, &[&[0, 1], &field(filter.as_bytes())[..]].concat());
        assert_eq!(out, [b"before", &expected[..]].concat());
    }
    for text in ["30 FF FF FF FF 7F", "30 80 80 80 80", "D0 80 00", "30 FF 00", "30 80 80 00"] {
        for piece in 1..=5 {
            let found = split(V311, u32::MAX, &bytes(text), piece);
            assert_eq!(found.end.unwrap_err().reason, MALFORMED, "{text}");
        }
    }
}
