//! Fixed cases: each field of each packet with each fault that the specification names, and with values at its bounds, in
//! both versions. Every case is played to the codec, whole and byte by byte; and, as something that a server says, to a
//! real session, which tells the server why it leaves, and tells the application.

use std::collections::HashSet;
use std::io::{Write, stderr};

use wasmqtt::codec::Value::{Binary, Byte, Four, Pair, Text, Two, Varint};
use wasmqtt::session::{ErrorCode, Event, State};

use crate::fuzz::decoder::split;
use crate::rules::{BAD_TEXTS, CARRIERS, FINE_TEXTS, PROPERTIES, REASONS, carry_with};
use crate::support::{self, Told};
use crate::*;

type Verdict = Result<(), ReasonCode>;

struct Case {
    what: String,
    version: Version,
    packet: Vec<u8>,
    /// Whoever sends it.
    codec: Verdict,
    /// When a server sends it to this client.
    session: Verdict,
    /// What can be read out of it.
    holds: Option<(Property, Value<'static>)>,
}

#[derive(Default)]
struct Cases {
    list: Vec<Case>,
    seen: HashSet<(Version, Vec<u8>)>,
}

impl Cases {
    fn add(&mut self, what: &str, version: Version, packet: Vec<u8>, codec: Verdict) {
        if self.seen.insert((version, packet.clone())) {
            let session = codec.and_then(|()| from_server(version, &packet));
            let session = if of_client(packet[0]) && !is_framing_fault(&packet) {
                Err(PROTOCOL)
            } else {
                session
            };
            self.list.push(Case {
                what: what.to_owned(),
                version,
                packet,
                codec,
                session,
                holds: None,
            });
        }
    }
}

/// Packets that only a client sends.
fn of_client(first: u8) -> bool {
    matches!(first, 0x10 | 0x82 | 0xA2 | 0xC0)
}

/// What a client must not accept from a server although it is well formed.
fn from_server(version: Version, packet: &[u8]) -> Verdict {
    let welcome = match decode(version, packet).unwrap() {
        Packet::Disconnect(disconnect) => {
            version == V5
                && disconnect.reason != ReasonCode::DISCONNECT_WITH_WILL_MESSAGE
                && disconnect.properties.get(Property::SessionExpiryInterval).is_none()
        }
        Packet::ConnAck(connack) => {
            matches!(connack.properties.text(Property::AuthenticationMethod), None | Some("m"))
        }
        // As a challenge, in the exchange that the client began by this method.
        Packet::Auth(auth) => {
            auth.reason == ReasonCode::CONTINUE_AUTHENTICATION
                && auth.properties.text(Property::AuthenticationMethod) == Some("m")
        }
        // By an alias that was never set.
        Packet::Publish(publish) => !publish.topic.is_empty(),
        _ => true,
    };
    if welcome { Ok(()) } else { Err(PROTOCOL) }
}

/// The remaining length itself is wrong.
fn is_framing_fault(packet: &[u8]) -> bool {
    Decoder::new(V5, u32::MAX).step(packet, &mut 0, 0).is_err()
}

// ---------------------------------------------------------------------------------------------- the shape of the packets

/// A part of a packet's body, with a good value.
enum Part {
    /// Faults of these bytes are listed apart.
    Flags(&'static str),
    Id,
    Text(&'static str),
    /// Text without wildcards, not empty.
    Topic(&'static str),
    Filter(&'static str),
    Data(&'static str),
    Reason(u8),
    /// The property block with its length.
    Block(&'static str),
    /// A reason code for each filter.
    Codes(u8),
    Payload(&'static str),
    /// A packet may end here, too.
    MayEnd,
}

struct Shape {
    name: &'static str,
    first: u8,
    parts: Vec<Part>,
}

/// Every packet in its longest form.
fn shapes(version: Version) -> Vec<Shape> {
    use Part::*;
    let mut shapes = Vec::new();
    let mut add = |name, first, parts: Vec<Part>| {
        let parts =
            parts.into_iter().filter(|part| version == V5 || !matches!(part, Block(_))).collect();
        shapes.push(Shape { name, first, parts });
    };
    add(
        "CONNECT",
        0x10,
        vec![
            Flags(if version == V5 {
                "00 04 'MQTT' 05 CE 00 0A"
            } else {
                "00 04 'MQTT' 04 CE 00 0A"
            }),
            Block("21 00 14"),
            Text("id"),
            Block("18 00 00 00 05"),
            Topic("a/b"),
            Data("00 FF"),
            Text("me"),
            Data("FF"),
        ],
    );
    add("CONNACK", 0x20, vec![Flags("00"), Reason(0), Block("21 00 14")]);
    add("PUBLISH at QoS 0", 0x30, vec![Topic("a/b"), Block("01 01"), Payload("'hi'")]);
    add("PUBLISH at QoS 1", 0x33, vec![Topic("a/b"), Id, Block("01 01"), Payload("'hi'")]);
    add("PUBLISH at QoS 2", 0x3C, vec![Topic("a/b"), Id, Block("01 01"), Payload("'hi'")]);
    for (name, first) in [("PUBACK", 0x40), ("PUBREC", 0x50), ("PUBREL", 0x62), ("PUBCOMP", 0x70)] {
        match version {
            V311 => add(name, first, vec![Id]),
            V5 => add(name, first, vec![Id, MayEnd, Reason(0), MayEnd, Block("1F 00 01 'r'")]),
        }
    }
    add("SUBSCRIBE", 0x82, vec![Id, Block("0B 05"), Filter("a/+"), Flags("01")]);
    add("SUBACK", 0x90, vec![Id, Block("1F 00 01 'r'"), Codes(1)]);
    add("UNSUBSCRIBE", 0xA2, vec![Id, Block("26 00 01 'k' 00 01 'v'"), Filter("a/#")]);
    add("PINGREQ", 0xC0, vec![]);
    add("PINGRESP", 0xD0, vec![]);
    match version {
        V311 => {
            add("UNSUBACK", 0xB0, vec![Id]);
            add("DISCONNECT", 0xE0, vec![]);
        }
        V5 => {
            add("UNSUBACK", 0xB0, vec![Id, Block("1F 00 01 'r'"), Codes(0)]);
            add("DISCONNECT", 0xE0, vec![MayEnd, Reason(0), MayEnd, Block("1F 00 01 'r'")]);
            add("AUTH", 0xF0, vec![MayEnd, Reason(0x18), Block("15 00 01 'm'")]);
        }
    }
    shapes
}

impl Part {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Flags(text) | Self::Payload(text) => bytes(text),
            Self::Id => vec![0x12, 0x34],
            Self::Text(text) | Self::Topic(text) | Self::Filter(text) => field(text.as_bytes()),
            Self::Data(text) => field(&bytes(text)),
            Self::Reason(code) | Self::Codes(code) => vec![*code],
            Self::Block(text) => {
                let block = bytes(text);
                [varint(block.len()), block].concat()
            }
            Self::MayEnd => vec![],
        }
    }
}

impl Shape {
    fn body(&self) -> Vec<u8> {
        self.parts.iter().flat_map(Part::bytes).collect()
    }

    fn packet(&self) -> Vec<u8> {
        framed(self.first, &self.body())
    }

    /// The packet with other bytes for one part.
    fn with(&self, at: usize, other: &[u8]) -> Vec<u8> {
        let part = |(n, part): (usize, &Part)| if n == at { other.to_vec() } else { part.bytes() };
        framed(self.first, &self.parts.iter().enumerate().flat_map(part).collect::<Vec<_>>())
    }

    /// What the body is worth that ends behind so many bytes.
    fn cut(&self, end: usize) -> Verdict {
        let mut at = 0;
        for part in &self.parts {
            if at == end {
                match part {
                    Part::MayEnd | Part::Payload(_) => return Ok(()),
                    // A list with nothing in it.
                    Part::Filter(_) | Part::Codes(_) => return Err(PROTOCOL),
                    _ => {}
                }
            }
            at += part.bytes().len();
            if end < at {
                return if let Part::Payload(_) = part { Ok(()) } else { Err(MALFORMED) };
            }
        }
        Err(MALFORMED)
    }
}

// ---------------------------------------------------------------------------------------------- the cases

fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    for version in [V311, V5] {
        for shape in shapes(version) {
            cases.add(shape.name, version, shape.packet(), Ok(()));
            first_bytes(&mut cases, version, &shape);
            lengths(&mut cases, version, &shape);
            for at in 0..shape.parts.len() {
                fields(&mut cases, version, &shape, at);
            }
        }
        for flags in 0..16 {
            cases.add("packet type 0", version, vec![flags, 0], Err(MALFORMED));
            if version == V311 {
                cases.add("AUTH in 3.1.1", version, vec![0xF0 | flags, 0], Err(PROTOCOL));
            }
        }
        connect(&mut cases, version);
        connack(&mut cases, version);
        subscribe_options(&mut cases, version);
    }
    for carrier in CARRIERS {
        let name =
            |what: &str, property: Property| format!("{what} {property:?} in {:02x}", carrier.1);
        property_places(&mut cases, carrier, &name);
        property_faults(&mut cases, carrier, &name);
        property_values(&mut cases, carrier, &name);
    }
    cases.list
}

type Carrier = (char, u8, &'static str, &'static str);
type Name<'a> = &'a dyn Fn(&str, Property) -> String;

fn first_bytes(cases: &mut Cases, version: Version, shape: &Shape) {
    for flags in 0..16 {
        let first = shape.first & 0xF0 | flags;
        let (qos, dup) = (first >> 1 & 3, first & 8 != 0);
        let verdict = match first >> 4 {
            3 if qos == 3 || dup && qos == 0 => Err(MALFORMED),
            // Another layout.
            3 if qos != shape.first >> 1 & 3 => continue,
            3 => Ok(()),
            _ if first == shape.first => Ok(()),
            _ => Err(MALFORMED),
        };
        let what = format!("flags {flags:x} of {}", shape.name);
        cases.add(&what, version, framed(first, &shape.body()), verdict);
    }
}

fn lengths(cases: &mut Cases, version: Version, shape: &Shape) {
    let (name, first, body) = (shape.name, shape.first, shape.body());
    for end in 0..body.len() {
        cases.add(
            &format!("{name} cut at {end}"),
            version,
            framed(first, &body[..end]),
            shape.cut(end),
        );
    }
    // A longer payload is a payload; one more code is one.
    if !matches!(shape.parts.last(), Some(Part::Payload(_) | Part::Codes(_))) {
        cases.add(
            &format!("{name} and more"),
            version,
            framed(first, &[&body[..], &[0]].concat()),
            Err(MALFORMED),
        );
    }
    let length = body.len() as u8;
    for header in
        [&[length | 0x80, 0][..], &[length | 0x80, 0x80, 0], &[length | 0x80, 0x80, 0x80, 0]]
    {
        let what = format!("{name} with a length that is not the shortest");
        cases.add(&what, version, [&[first], header, &body].concat(), Err(MALFORMED));
    }
    for header in [[0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [length | 0x80, 0x80, 0x80, 0x80, 0]] {
        let what = format!("{name} with a length of five bytes");
        cases.add(&what, version, [&[first], &header[..], &body].concat(), Err(MALFORMED));
    }
}

fn fields(cases: &mut Cases, version: Version, shape: &Shape, at: usize) {
    let part = &shape.parts[at];
    let mut add = |what: &str, other: &[u8], verdict| {
        cases.add(
            &format!("{what} in part {at} of {}", shape.name),
            version,
            shape.with(at, other),
            verdict,
        );
    };
    match part {
        Part::Id => {
            add("identifier 0", &[0, 0], Err(PROTOCOL));
            for id in [1u16, 127, 128, 255, 256, 32_768, 65_535] {
                add("identifier", &id.to_be_bytes(), Ok(()));
            }
        }
        Part::Text(_) | Part::Topic(_) | Part::Filter(_) => {
            for text in BAD_TEXTS {
                add("bad text", &field(text), Err(MALFORMED));
                add("bad text behind good", &field(&[b"a/", *text].concat()), Err(MALFORMED));
            }
            for text in FINE_TEXTS.iter().filter(|text| !text.is_empty()) {
                add("text", &field(text), Ok(()));
            }
            add("the longest text", &field(&LONG), Ok(()));
            for length in [0xFFFFu16, 0x0100] {
                let text = [&length.to_be_bytes()[..], b"a/b"].concat();
                add("text past the end", &text, Err(MALFORMED));
            }
            match part {
                Part::Text(_) => add("empty text", &[0, 0], Ok(())),
                Part::Topic(_) => {
                    let publish = shape.first >> 4 == 3;
                    add("empty topic", &[0, 0], Err(if publish { PROTOCOL } else { MALFORMED }));
                    for topic in ["+", "#", "a/+", "a/#", "+/a", "a+", "#a", "a/+/b", "$SYS/#"] {
                        add("wildcard", &field(topic.as_bytes()), Err(MALFORMED));
                    }
                    for topic in ["/", "//", "a//b", "$SYS/a", "$share/g/a", " "] {
                        add("topic", &field(topic.as_bytes()), Ok(()));
                    }
                }
                _ => {
                    add("empty filter", &[0, 0], Err(MALFORMED));
                    for filter in [
                        "a+",
                        "+a",
                        "a#",
                        "#a",
                        "#/a",
                        "a/#/b",
                        "a/+b",
                        "##",
                        "$share/",
                        "$share/g",
                        "$share//a",
                        "$share/+/a",
                        "$share/g#/a",
                        "$share/g/",
                        "$share/g/a#",
                    ] {
                        add("bad filter", &field(filter.as_bytes()), Err(MALFORMED));
                    }
                    for filter in [
                        "#",
                        "+",
                        "/",
                        "+/+",
                        "a/#",
                        "/#",
                        "+/a/#",
                        "$share/g/#",
                        "$share/g//",
                        "$SYS/+",
                    ] {
                        add("filter", &field(filter.as_bytes()), Ok(()));
                    }
                }
            }
        }
        Part::Data(_) => {
            for length in [0, 1, 127, 128, 255, 256, 65_535] {
                add("data", &field(&LONG[..length]), Ok(()));
            }
            for length in [0xFFFFu16, 0x0100] {
                add(
                    "data past the end",
                    &[&length.to_be_bytes()[..], b"a"].concat(),
                    Err(MALFORMED),
                );
            }
        }
        Part::Reason(_) if version == V311 => {
            for code in 0..=255 {
                add("return code", &[code], if code <= 5 { Ok(()) } else { Err(PROTOCOL) });
            }
        }
        Part::Reason(_) | Part::Codes(_) => {
            for code in 0..=255 {
                let listed = match version {
                    V311 => [0, 1, 2, 0x80].contains(&code),
                    V5 => reasons(shape.first).contains(&code),
                };
                let verdict = if listed { Ok(()) } else { Err(PROTOCOL) };
                add(&format!("code {code:02x}"), &[code], verdict);
                if let Part::Codes(good) = part {
                    add(&format!("code {code:02x} behind another"), &[*good, code], verdict);
                }
            }
        }
        Part::Block(_) => {
            let whole = part.bytes();
            add("no properties", &[0], Ok(()));
            for length in [whole[0] + 1, whole[0] - 1] {
                add(
                    "properties that end elsewhere",
                    &[&[length], &whole[1..]].concat(),
                    Err(MALFORMED),
                );
            }
            for length in ["80 00", "80 80 00", "FF FF FF 7F", "FF FF FF FF 7F", "80 80 80 80 00"] {
                add("length of properties", &bytes(length), Err(MALFORMED));
            }
        }
        Part::Flags(_) | Part::Payload(_) | Part::MayEnd => {}
    }
}

/// The codes that the specification lists for the packet.
fn reasons(first: u8) -> Vec<u8> {
    let listed = REASONS.iter().find(|(of, ..)| *of == first).unwrap().2;
    bytes(listed)
}

fn connect(cases: &mut Cases, version: Version) {
    let level = if version == V5 { 5 } else { 4 };
    let block = &[0][..if version == V5 { 1 } else { 0 }];
    for flags in 0..=255u8 {
        let has = |bit| flags & bit != 0;
        let mut body = [&b"\0\x04MQTT"[..], &[level, flags, 0, 10], block, b"\0\x02id"].concat();
        if has(0x04) {
            body.extend([block, &b"\0\x01t\0\x01x"[..]].concat());
        }
        for _ in [0x80, 0x40].into_iter().filter(|bit| has(*bit)) {
            body.extend(b"\0\x01s");
        }
        let wrong = has(0x01)
            || if has(0x04) { flags >> 3 & 3 == 3 } else { has(0x38) }
            || version == V311 && has(0x40) && !has(0x80);
        let verdict = if wrong { Err(MALFORMED) } else { Ok(()) };
        cases.add(
            &format!("CONNECT with flags {flags:02x}"),
            version,
            framed(0x10, &body),
            verdict,
        );
    }
    for (name, level) in [
        ("MQTT", 0),
        ("MQTT", 3),
        ("MQTT", 9 - level),
        ("MQTT", 6),
        ("MQTT", 0x80 | level),
        ("MQIsdp", 3),
        ("mqtt", level),
        ("MQTTT", level),
        ("MQT", level),
        ("", level),
    ] {
        let body = [&field(name.as_bytes())[..], &[level, 2, 0, 0], block, &[0, 0]].concat();
        let other = Err(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION);
        cases.add(&format!("CONNECT of {name} {level}"), version, framed(0x10, &body), other);
    }
}

fn connack(cases: &mut Cases, version: Version) {
    let block = &[0][..if version == V5 { 1 } else { 0 }];
    for flags in 0..=255 {
        let verdict = if flags < 2 { Ok(()) } else { Err(MALFORMED) };
        let packet = framed(0x20, &[&[flags, 0], block].concat());
        cases.add(&format!("CONNACK with flags {flags:02x}"), version, packet, verdict);
    }
    let refusals = if version == V5 { reasons(0x20)[1..].to_vec() } else { vec![1, 2, 3, 4, 5] };
    for code in refusals {
        let packet = framed(0x20, &[&[1, code], block].concat());
        cases.add(
            &format!("session present in refusal {code:02x}"),
            version,
            packet,
            Err(PROTOCOL),
        );
    }
}

fn subscribe_options(cases: &mut Cases, version: Version) {
    let head: &[u8] = if version == V5 { b"\0\x01\0" } else { b"\0\x01" };
    for bits in 0..=255u8 {
        for filter in ["a", "$share/g/a"] {
            let reserved = if version == V5 { 0xC0 } else { 0xFC };
            let verdict = if bits & reserved != 0 {
                Err(MALFORMED)
            } else if bits & 3 == 3 || bits >> 4 & 3 == 3 || bits & 4 != 0 && filter != "a" {
                Err(PROTOCOL)
            } else {
                Ok(())
            };
            let body = [head, &field(filter.as_bytes()), &[bits]].concat();
            cases.add(
                &format!("SUBSCRIBE {filter} with {bits:02x}"),
                version,
                framed(0x82, &body),
                verdict,
            );
        }
    }
}

/// Every property, and what is none, in every packet; once and twice.
fn property_places(cases: &mut Cases, carrier: &Carrier, name: Name) {
    let carry = |block: &[u8]| carry_with(carrier, block);
    for id in 0..=127 {
        if !PROPERTIES.iter().any(|(_, property, ..)| *property as u8 == id) {
            let what = format!("property {id:02x} in {:02x}", carrier.1);
            cases.add(&what, V5, carry(&[id, 0, 0, 0, 0]), Err(MALFORMED));
        }
    }
    for id in ["80 01", "FF 7F", "A6 00", "81 80 00", "FF FF FF FF 01"] {
        let what = format!("property {id} in {:02x}", carrier.1);
        cases.add(&what, V5, carry(&[bytes(id), vec![0; 4]].concat()), Err(MALFORMED));
    }
    for (text, property, _, places) in PROPERTIES {
        let one = with_method(*property, &bytes(text));
        if !places.contains(carrier.0) {
            cases.add(&name("misplaced", *property), V5, carry(&one), Err(MALFORMED));
            continue;
        }
        cases.add(&name("one", *property), V5, carry(&one), Ok(()));
        let repeats = match property {
            Property::UserProperty => true,
            Property::SubscriptionIdentifier => carrier.0 == 'P',
            _ => false,
        };
        let twice = [&one[..], &bytes(text)].concat();
        cases.add(
            &name("two", *property),
            V5,
            carry(&twice),
            if repeats { Ok(()) } else { Err(PROTOCOL) },
        );
        let apart = [&one[..], &bytes("26 00 01 'k' 00 01 'v'"), &bytes(text)].concat();
        cases.add(
            &name("two apart", *property),
            V5,
            carry(&apart),
            if repeats { Ok(()) } else { Err(PROTOCOL) },
        );
    }
}

/// Authentication Data is only valid beside a method.
fn with_method(property: Property, one: &[u8]) -> Vec<u8> {
    let method = if property == Property::AuthenticationData { "15 00 01 'm'" } else { "" };
    [&bytes(method)[..], one].concat()
}

fn property_faults(cases: &mut Cases, carrier: &Carrier, name: Name) {
    let carry = |block: &[u8]| carry_with(carrier, block);
    for (text, property, value, places) in PROPERTIES {
        if !places.contains(carrier.0) {
            continue;
        }
        let one = bytes(text);
        for end in 1..one.len() {
            cases.add(
                &name(&format!("{end} bytes of"), *property),
                V5,
                carry(&one[..end]),
                Err(MALFORMED),
            );
        }
        let id = [*property as u8];
        let mut add = |what: &str, value: &[u8], reason| {
            cases.add(&name(what, *property), V5, carry(&[&id, value].concat()), Err(reason));
        };
        match value {
            Byte(_) => {
                [2, 3, 0x7F, 0x80, 0xFF].iter().for_each(|byte| add("value of", &[*byte], PROTOCOL))
            }
            Varint(_) => {
                add("0 for", &[0], PROTOCOL);
                for long in ["81 00", "80 00", "FF FF FF FF 7F", "80 80 80 80 01", "FF"] {
                    add("length of", &bytes(long), MALFORMED);
                }
            }
            Text(_) => {
                BAD_TEXTS.iter().for_each(|text| add("bad text in", &field(text), MALFORMED));
                add("past the end:", &bytes("FF FF 'a'"), MALFORMED);
            }
            Binary(_) => add("past the end:", &bytes("FF FF 'a'"), MALFORMED),
            Pair(..) => {
                for text in BAD_TEXTS {
                    add("bad name in", &[field(text), field(b"v")].concat(), MALFORMED);
                    add("bad value in", &[field(b"k"), field(text)].concat(), MALFORMED);
                }
                add("past the end:", &bytes("FF FF 'a' 00 01 'b'"), MALFORMED);
                add("past the end:", &bytes("00 01 'a' FF FF 'b'"), MALFORMED);
            }
            Two(_) | Four(_) => {}
        }
        match property {
            Property::ReceiveMaximum => add("0 for", &[0, 0], PROTOCOL),
            Property::MaximumPacketSize => add("0 for", &[0; 4], PROTOCOL),
            Property::TopicAlias => add("0 for", &[0, 0], ReasonCode::TOPIC_ALIAS_INVALID),
            Property::AuthenticationData => add("no method for", &[0, 0], PROTOCOL),
            Property::ResponseTopic => {
                for topic in ["", "+", "#", "a/#", "a/+/b", "a+"] {
                    add("no topic in", &field(topic.as_bytes()), PROTOCOL);
                }
            }
            _ => {}
        }
    }
}

fn property_values(cases: &mut Cases, carrier: &Carrier, name: Name) {
    for (_, property, example, places) in PROPERTIES {
        if !places.contains(carrier.0) {
            continue;
        }
        let values: Vec<Value<'static>> = match (property, example) {
            (_, Byte(_)) => [0, 1].map(Byte).into(),
            (Property::ReceiveMaximum | Property::TopicAlias, _) => {
                [1, 255, 256, 65_535].map(Two).into()
            }
            (_, Two(_)) => [0, 1, 255, 256, 65_535].map(Two).into(),
            (Property::MaximumPacketSize, _) => [1, 255, 65_536, u32::MAX].map(Four).into(),
            (_, Four(_)) => [0, 1, 255, 65_536, u32::MAX].map(Four).into(),
            (_, Varint(_)) => {
                [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455].map(Varint).into()
            }
            (Property::ResponseTopic, _) => ["/", "a/b", "$SYS/x", long_text()].map(Text).into(),
            (_, Text(_)) => {
                ["", "m", "\u{FEFF}x", "\u{10FFFF}", "a/#", long_text()].map(Text).into()
            }
            (_, Binary(_)) => [&[][..], &[0], &[0xFF, 0, 0xC0], &LONG].map(Binary).into(),
            (_, Pair(..)) => {
                let long = long_text();
                [
                    ("", ""),
                    ("k", ""),
                    ("", "v"),
                    ("__proto__", "\u{FEFF}"),
                    (long, "v"),
                    ("k", long),
                ]
                .map(|(name, value)| Pair(name, value))
                .into()
            }
        };
        for value in values {
            let block = with_method(*property, &written(*property, value));
            let before = cases.list.len();
            cases.add(&name("value of", *property), V5, carry_with(carrier, &block), Ok(()));
            if let Some(case) = cases.list.get_mut(before) {
                case.holds = Some((*property, value));
            }
        }
    }
}

/// A property as the specification writes it, by hand.
fn written(property: Property, value: Value) -> Vec<u8> {
    let value = match value {
        Byte(byte) => vec![byte],
        Two(number) => number.to_be_bytes().to_vec(),
        Four(number) => number.to_be_bytes().to_vec(),
        Varint(number) => varint(number as usize),
        Text(text) => field(text.as_bytes()),
        Binary(data) => field(data),
        Pair(name, value) => [field(name.as_bytes()), field(value.as_bytes())].concat(),
    };
    [vec![property as u8], value].concat()
}

/// As much as a field can hold.
static LONG: [u8; 65_535] = [b'x'; 65_535];

fn long_text() -> &'static str {
    str::from_utf8(&LONG).unwrap()
}

// ---------------------------------------------------------------------------------------------- at the codec

/// Shows [MQTT5-1.5.4-1] [MQTT5-1.5.4-2] [MQTT5-1.5.4-3] [MQTT5-1.5.5-1] [MQTT5-1.5.7-1] [MQTT5-2.1.3-1]
#[test]
fn at_the_codec() {
    let cases = cases();
    for case in &cases {
        let Case { what, version, packet, codec, holds, .. } = case;
        let found = split(*version, u32::MAX, packet, packet.len());
        assert_eq!(split(*version, u32::MAX, packet, 1), found, "{what}");
        let result = match found.end {
            Err(error) => Err(error),
            Ok(decoder) => {
                assert_eq!((found.packets.len(), decoder.buffered()), (1, 0), "{what}");
                let (first, body) = &found.packets[0];
                Packet::decode(*version, *first, body)
            }
        };
        assert_eq!(
            result.as_ref().map(|_| ()).map_err(|error| error.reason),
            *codec,
            "{what}: {packet:02x?}"
        );
        let Ok(decoded) = result else { continue };
        let again = encode(*version, &decoded);
        assert!(
            again == *packet || is_long_form(*version, packet) && again.len() < packet.len(),
            "{what}"
        );
        assert_eq!(decode(*version, &again), Ok(decoded.clone()), "{what}");
        if let Some((property, value)) = holds {
            assert_eq!(block_of(&decoded, *property), Some(*value), "{what}");
        }
    }
    writeln!(stderr(), "{} fixed cases at the codec", cases.len()).unwrap();
    assert!(cases.len() > 3_000);
}

/// A reason code of 0 that could have been left out.
fn is_long_form(version: Version, packet: &[u8]) -> bool {
    version == V5
        && matches!(
            (packet[0] >> 4, &packet[2..]),
            (4..=7, [_, _, 0] | [_, _, _, 0]) | (14, [0] | [_, 0])
        )
}

/// The property in the packet's block, or in that of its will.
fn block_of<'a>(packet: &Packet<'a>, property: Property) -> Option<Value<'a>> {
    let block = match packet {
        Packet::Connect(connect) => match connect.will {
            Some(will) if connect.properties.is_empty() => will.properties,
            _ => connect.properties,
        },
        Packet::ConnAck(packet) => packet.properties,
        Packet::Publish(packet) => packet.properties,
        Packet::PubAck(packet)
        | Packet::PubRec(packet)
        | Packet::PubRel(packet)
        | Packet::PubComp(packet) => packet.properties,
        Packet::Subscribe(packet) => packet.properties,
        Packet::SubAck(packet) | Packet::UnsubAck(packet) => packet.properties,
        Packet::Unsubscribe(packet) => packet.properties,
        Packet::Disconnect(packet) => packet.properties,
        Packet::Auth(packet) => packet.properties,
        Packet::PingReq | Packet::PingResp => return None,
    };
    block.get(property)
}

// ---------------------------------------------------------------------------------------------- at the session

/// Shows [MQTT5-2.1.3-1] [MQTT5-4.13.1-1] [MQTT3-4.8.0-1]
#[test]
fn at_the_session() {
    let cases = cases();
    for case in &cases {
        for piece in [usize::MAX, if case.packet.len() < 1_000 { 1 } else { 5_000 }] {
            let mut pair = client(case);
            case.packet.chunks(piece).for_each(|chunk| pair.receives(chunk));
            judge(&mut pair, case);
        }
    }
    writeln!(stderr(), "{} fixed cases at the session", cases.len()).unwrap();
}

/// A client to which such a packet may come: CONNACK and AUTH where it connects, the others where it is connected.
fn client(case: &Case) -> support::Pair {
    let mut options = format!(
        "clientId=me clean=false protocolVersion={}",
        if case.version == V5 { 5 } else { 4 }
    );
    options += " properties.topicAliasMaximum=65535";
    let method = case.packet[0] == 0xF0
        || case.packet[0] == 0x20
            && case.version == V5
            && decode(V5, &case.packet)
                .is_ok_and(|packet| block_of(&packet, Property::AuthenticationMethod).is_some());
    if method {
        options += " authentication.method=m";
    }
    let mut pair = support::Pair::new(&options);
    pair.connect();
    if method && case.version == V5 {
        pair.authenticate(Ok(None));
    }
    if !matches!(case.packet[0] >> 4, 2 | 15) {
        pair.plays("CONNACK");
        assert_eq!(pair.session().state(), State::Connected);
    }
    pair.clear();
    pair
}

fn judge(pair: &mut support::Pair, case: &Case) {
    let Case { what, version, packet, session, .. } = case;
    let head = &packet[..packet.len().min(40)];
    let blamed = pair.ends().told.iter().find_map(|told| match told {
        Told::Event(Event::Error(error)) if error.code == ErrorCode::ProtocolError => error.reason,
        _ => None,
    });
    assert_eq!(blamed, session.err(), "{what}: {head:02x?}");
    let messages = pair.ends().told.iter().filter(|told| matches!(told, Told::Message(_))).count();
    let state = pair.session().state();
    if let Err(reason) = session {
        let goodbye = format!("DISCONNECT {:#04x}", reason.0);
        let expected = if *version == V5 { vec![&*goodbye, "CLOSE"] } else { vec!["CLOSE"] };
        assert_eq!(pair.sent(), expected, "{what}: {head:02x?}");
        assert_eq!(messages, 0, "{what}");
        return;
    }
    let errors: Vec<ErrorCode> = pair.errors().iter().map(|error| error.code).collect();
    match decode(*version, packet).unwrap() {
        Packet::ConnAck(connack) if connack.reason != ReasonCode::SUCCESS => {
            assert_eq!(errors[0], ErrorCode::ConnectionRefused, "{what}");
        }
        Packet::Publish(_) => assert_eq!((state, messages), (State::Connected, 1), "{what}"),
        Packet::Disconnect(_) => assert_eq!(errors[0], ErrorCode::ServerDisconnected, "{what}"),
        Packet::Auth(_) => assert_eq!((state, errors), (State::Connecting, vec![]), "{what}"),
        // Of nothing: told, and no harm.
        Packet::PubAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) => {
            assert_eq!(
                (state, errors),
                (State::Connected, vec![ErrorCode::ProtocolError]),
                "{what}"
            );
        }
        _ => assert_eq!((state, errors), (State::Connected, vec![]), "{what}"),
    }
}

/// Shows [MQTT5-3.2.0-1] [MQTT3-3.2.0-1] [MQTT5-3.14.0-1]
#[test]
fn before_connack() {
    for version in [V311, V5] {
        for shape in shapes(version).iter().filter(|shape| !matches!(shape.first, 0x20 | 0xF0)) {
            let what = format!("{} before CONNACK", shape.name);
            let packet = shape.packet();
            let case =
                Case { what, version, packet, codec: Ok(()), session: Err(PROTOCOL), holds: None };
            let number = if version == V5 { 5 } else { 4 };
            let mut pair = support::Pair::new(&format!("protocolVersion={number}"));
            pair.connect();
            pair.clear();
            pair.receives(&case.packet);
            judge(&mut pair, &case);
        }
    }
}

/// Shows [MQTT5-3.1.2-24]
#[test]
fn above_the_maximum_packet_size() {
    for version in [V311, V5] {
        for shape in
            shapes(version).iter().filter(|shape| !of_client(shape.first) && shape.first != 0xF0)
        {
            // On 3.1.1 no server knows the limit: such a message is skipped.
            if version == V311 && shape.first >> 4 == 3 {
                continue;
            }
            let packet = shape.packet();
            let number = if version == V5 { 5 } else { 4 };
            let play = |limit: usize, bytes: &[u8], verdict| {
                let what = format!("{} with a limit of {limit}", shape.name);
                let case = Case {
                    what,
                    version,
                    packet: packet.clone(),
                    codec: Ok(()),
                    session: verdict,
                    holds: None,
                };
                let options =
                    format!("protocolVersion={number} properties.maximumPacketSize={limit}");
                let mut pair = support::Pair::new(&options);
                pair.connect();
                if shape.first != 0x20 {
                    // A CONNACK as short as can be is within the limit or there is nothing to show.
                    pair.plays("CONNACK");
                    if pair.session().state() != State::Connected {
                        return;
                    }
                }
                pair.clear();
                pair.receives(bytes);
                judge(&mut pair, &case);
            };
            let too_large = Err(ReasonCode::PACKET_TOO_LARGE);
            play(packet.len() - 1, &packet, too_large);
            // From its header alone.
            play(packet.len() - 1, &packet[..2], too_large);
            play(packet.len(), &packet, from_server(version, &packet));
        }
    }
}
