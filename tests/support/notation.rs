//! Packets as text, the same for both directions: `PUBLISH q1 #7 a/b 'hello' ContentType=text`.
//!
//! The words of a packet: `#7` its identifier, `q1` its QoS, `0x87` or `1` a reason code, `dup`, `retain`, `present`,
//! a topic (`~`: empty), a filter with its options (`a/#:q1,nl,rap,rh2`), a 'payload', and properties by their names.

use std::fmt::Write;

use wasmqtt::codec::Property::*;
use wasmqtt::codec::*;

const PROPERTIES: [Property; 27] = [
    PayloadFormatIndicator,
    MessageExpiryInterval,
    ContentType,
    ResponseTopic,
    CorrelationData,
    SubscriptionIdentifier,
    SessionExpiryInterval,
    AssignedClientIdentifier,
    ServerKeepAlive,
    AuthenticationMethod,
    AuthenticationData,
    RequestProblemInformation,
    WillDelayInterval,
    RequestResponseInformation,
    ResponseInformation,
    ServerReference,
    ReasonString,
    ReceiveMaximum,
    TopicAliasMaximum,
    TopicAlias,
    MaximumQos,
    RetainAvailable,
    UserProperty,
    MaximumPacketSize,
    WildcardSubscriptionAvailable,
    SubscriptionIdentifierAvailable,
    SharedSubscriptionAvailable,
];

/// Bytes from annotated text: hex pairs and 'text', a remark behind `;` on each line.
pub fn bytes(text: &str) -> Vec<u8> {
    let code = text.lines().map(|line| line.split(';').next().unwrap());
    code.flat_map(words)
        .flat_map(|word| match unquoted(word) {
            Some(text) => text.as_bytes().to_vec(),
            None => vec![u8::from_str_radix(word, 16).expect(word)],
        })
        .collect()
}

/// Splits at blanks, but not inside quotes.
pub fn words(text: &str) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        quoted ^= c == '\'';
        c == ' ' && !quoted
    })
    .filter(|word| !word.is_empty())
    .collect()
}

/// What stands between quotes.
pub fn unquoted(word: &str) -> Option<&str> {
    word.strip_prefix('\'')?.strip_suffix('\'')
}

fn number(text: &str) -> u32 {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .expect(text)
}

pub fn push(properties: &mut PropertiesBuf, name: &str, text: &str) {
    let property = PROPERTIES.into_iter().find(|property| format!("{property:?}") == name);
    let property = property.expect(name);
    let text = unquoted(text).unwrap_or(text);
    let value = match property {
        PayloadFormatIndicator
        | RequestProblemInformation
        | RequestResponseInformation
        | MaximumQos
        | RetainAvailable
        | WildcardSubscriptionAvailable
        | SubscriptionIdentifierAvailable
        | SharedSubscriptionAvailable => Value::Byte(number(text) as u8),
        ServerKeepAlive | ReceiveMaximum | TopicAliasMaximum | TopicAlias => {
            Value::Two(number(text) as u16)
        }
        MessageExpiryInterval | SessionExpiryInterval | WillDelayInterval | MaximumPacketSize => {
            Value::Four(number(text))
        }
        SubscriptionIdentifier => Value::Varint(number(text)),
        CorrelationData | AuthenticationData => Value::Binary(text.as_bytes()),
        UserProperty => {
            text.split_once(':').map(|(name, value)| Value::Pair(name, value)).expect(text)
        }
        _ => Value::Text(text),
    };
    properties.push(property, value);
}

/// The bytes of a packet that a server sends.
pub fn read(version: Version, text: &str) -> Vec<u8> {
    let mut words = words(text).into_iter();
    let kind = words.next().expect("a packet");
    let (mut id, mut qos, mut dup, mut flag, mut topic) = (None, QoS::AtMostOnce, false, false, "");
    let (mut codes, mut payload, mut properties) = (Vec::new(), "", PropertiesBuf::default());
    for word in words {
        if let Some(digits) = word.strip_prefix('#') {
            id = PacketId::new(digits.parse().expect(word));
        } else if let Some(text) = unquoted(word) {
            payload = text;
        } else if let Some((name, value)) = word.split_once('=') {
            push(&mut properties, name, value);
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            codes.push(number(word) as u8);
        } else {
            match word {
                "q0" => {}
                "q1" => qos = QoS::AtLeastOnce,
                "q2" => qos = QoS::ExactlyOnce,
                "dup" => dup = true,
                "retain" | "present" => flag = true,
                "~" => {}
                word => topic = word,
            }
        }
    }
    let reason = ReasonCode(codes.first().copied().unwrap_or(0));
    let properties = properties.borrow();
    let ack = || Ack { id: id.expect(text), reason, properties };
    let answer = || SubAck { id: id.expect(text), codes: &codes, properties };
    let packet = match kind {
        "CONNACK" => Packet::ConnAck(ConnAck { session_present: flag, reason, properties }),
        "PUBLISH" => Packet::Publish(Publish {
            dup,
            qos,
            retain: flag,
            topic: topic.as_bytes(),
            id,
            properties,
            payload: payload.as_bytes(),
        }),
        "PUBACK" => Packet::PubAck(ack()),
        "PUBREC" => Packet::PubRec(ack()),
        "PUBREL" => Packet::PubRel(ack()),
        "PUBCOMP" => Packet::PubComp(ack()),
        "SUBACK" => Packet::SubAck(answer()),
        "UNSUBACK" => Packet::UnsubAck(answer()),
        "PINGRESP" => Packet::PingResp,
        "DISCONNECT" => Packet::Disconnect(Disconnect { reason, properties }),
        "AUTH" => Packet::Auth(Auth { reason, properties }),
        _ => panic!("no packet of a server: {kind}"),
    };
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    out
}

/// Any packet.
pub fn show(packet: &Packet<'_>) -> String {
    let mut out = packet.packet_type().name().to_uppercase();
    match packet {
        Packet::Connect(connect) => show_connect(&mut out, connect),
        Packet::Publish(publish) => {
            let topic = str::from_utf8(publish.topic).unwrap();
            show_message(
                &mut out,
                publish.qos,
                publish.dup,
                publish.retain,
                publish.id,
                topic,
                publish.payload,
            );
            show_properties(&mut out, publish.properties);
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            write!(out, " #{}", ack.id).unwrap();
            show_reason(&mut out, ack.reason);
            show_properties(&mut out, ack.properties);
        }
        Packet::Subscribe(subscribe) => {
            write!(out, " #{}", subscribe.id).unwrap();
            for (filter, options) in subscribe.filters.clone() {
                write!(out, " {filter}:q{}", options.qos as u8).unwrap();
                out.push_str(if options.no_local { ",nl" } else { "" });
                out.push_str(if options.retain_as_published { ",rap" } else { "" });
                if options.retain_handling > 0 {
                    write!(out, ",rh{}", options.retain_handling).unwrap();
                }
            }
            show_properties(&mut out, subscribe.properties);
        }
        Packet::Unsubscribe(unsubscribe) => {
            write!(out, " #{}", unsubscribe.id).unwrap();
            for filter in unsubscribe.filters.clone() {
                write!(out, " {filter}").unwrap();
            }
            show_properties(&mut out, unsubscribe.properties);
        }
        Packet::Disconnect(Disconnect { reason, properties })
        | Packet::Auth(Auth { reason, properties }) => {
            show_reason(&mut out, *reason);
            show_properties(&mut out, *properties);
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) => {
            panic!("a client does not send this")
        }
    }
    out
}

fn show_connect(out: &mut String, connect: &Connect<'_>) {
    write!(out, " '{}'", connect.client_id).unwrap();
    out.push_str(if connect.clean_start { " clean" } else { "" });
    write!(out, " {}s", connect.keep_alive).unwrap();
    if let Some(username) = connect.username {
        write!(out, " username='{username}'").unwrap();
    }
    if let Some(password) = connect.password {
        write!(out, " password={}", quoted(password)).unwrap();
    }
    if let Some(will) = &connect.will {
        out.push_str(" will(");
        show_message(out, will.qos, false, will.retain, None, will.topic, will.payload);
        show_properties(out, will.properties);
        out.push(')');
    }
    show_properties(out, connect.properties);
}

pub fn show_message(
    out: &mut String,
    qos: QoS,
    dup: bool,
    retain: bool,
    id: Option<PacketId>,
    topic: &str,
    payload: &[u8],
) {
    write!(out, " q{}", qos as u8).unwrap();
    out.push_str(if dup { " dup" } else { "" });
    out.push_str(if retain { " retain" } else { "" });
    if let Some(id) = id {
        write!(out, " #{id}").unwrap();
    }
    write!(out, " {} {}", if topic.is_empty() { "~" } else { topic }, quoted(payload)).unwrap();
}

/// A long payload shows its length.
fn quoted(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        _ if bytes.len() > 64 => format!("<{}>", bytes.len()),
        Ok(text) => format!("'{text}'"),
        Err(_) => format!("<{bytes:02x?}>"),
    }
}

fn show_reason(out: &mut String, reason: ReasonCode) {
    if reason != ReasonCode::SUCCESS {
        write!(out, " {:#04x}", reason.0).unwrap();
    }
}

pub fn show_properties(out: &mut String, properties: Properties<'_>) {
    for (property, value) in properties.iter() {
        write!(out, " {property:?}=").unwrap();
        match value {
            Value::Byte(number) => write!(out, "{number}"),
            Value::Two(number) => write!(out, "{number}"),
            Value::Four(number) | Value::Varint(number) => write!(out, "{number}"),
            Value::Text(text) => write!(out, "{text}"),
            Value::Binary(bytes) => write!(out, "{}", String::from_utf8_lossy(bytes)),
            Value::Pair(name, value) => write!(out, "{name}:{value}"),
        }
        .unwrap();
    }
}
