//! Any bytes, split in any way, give the same packets; a packet that is accepted is the same after a turn through its
//! bytes; and memory follows what arrived.

use wasmqtt::codec::*;

use super::input::Input;
use super::memory;

/// Version, limit, sizes of pieces and windows, then the stream.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let version = input.pick(&[Version::V311, Version::V5]);
    let limit = input.pick(&[u32::MAX, 1_000, 40, 2]);
    let piece = 1 + input.below(64);
    let window = 1 + input.below(64);
    let stream = input.rest();

    let counted = memory::allocated(|| any_split(version, limit, stream, piece, window));
    // Two decoders with 64 KiB to start with, and two lists of what they found: 32 bytes for a packet of two or more, in a list
    // that is copied as it doubles.
    assert!(counted.peak as usize <= 160 * 1024 + 64 * stream.len(), "{} bytes", counted.peak);
    assert_eq!(counted.live, 0);
}

/// Whole, byte by byte, in pieces and through windows of these sizes.
pub fn any_split(version: Version, limit: u32, stream: &[u8], piece: usize, window: usize) {
    let whole = split(version, limit, stream, stream.len().max(1));
    assert_eq!(split(version, limit, stream, 1), whole);
    assert_eq!(split(version, limit, stream, piece), whole);
    assert_eq!(windows(version, limit, stream, window), whole);
    gathered(version, limit, stream, piece, &whole);
    for (first, body) in &whole.packets {
        assert!(fixed_header(body.len()) + body.len() <= limit as usize);
        packet(version, *first, body);
    }
}

/// What a stream holds.
#[derive(PartialEq, Debug)]
pub struct Found {
    /// First byte and body of each.
    pub packets: Vec<(u8, Vec<u8>)>,
    /// The decoder behind them, or why it gave up.
    pub end: Result<Decoder, DecodeError>,
}

/// Feeds a stream in pieces of `size` bytes.
pub fn split(version: Version, limit: u32, stream: &[u8], size: usize) -> Found {
    let mut decoder = Decoder::new(version, limit);
    let mut packets = Vec::new();
    for (number, piece) in stream.chunks(size).enumerate() {
        let mut at = 0;
        loop {
            match decoder.step(piece, &mut at, 0) {
                Ok(Step::Packet { first, start, len }) => {
                    packets.push((first, piece[start..][..len].to_vec()))
                }
                Ok(Step::Split { first, body }) => {
                    packets.push((first, body.clone()));
                    decoder.recycle(body);
                }
                Ok(Step::More) => break,
                Ok(Step::Wait { .. } | Step::Skipped { .. }) => {
                    unreachable!("nobody said that it defers or skips")
                }
                Err(error) => {
                    let end = Err(error);
                    return Found { packets, end };
                }
            }
        }
        assert_eq!(at, piece.len(), "all is used");
        // A fixed header has up to five bytes.
        assert!(decoder.buffered() <= (number * size + piece.len()).min(limit.max(5) as usize));
    }
    let end = Ok(decoder);
    Found { packets, end }
}

/// Feeds a stream in pieces of `size` bytes, and puts large packets together for the decoder.
fn gathered(version: Version, limit: u32, stream: &[u8], size: usize, whole: &Found) {
    let mut decoder = Decoder::new(version, limit);
    decoder.defers = true;
    let mut count = 0;
    let mut kept = Vec::new();
    let mut wanted = 0;
    for piece in stream.chunks(size) {
        let chunk = [&kept, piece].concat();
        if chunk.len() < wanted {
            kept = chunk;
            continue;
        }
        (kept, wanted) = (Vec::new(), 0);
        let mut at = 0;
        loop {
            let (first, body) = match decoder.step(&chunk, &mut at, 0) {
                Ok(Step::Packet { first, start, len }) => (first, chunk[start..][..len].to_vec()),
                Ok(Step::Split { first, body }) => (first, body),
                Ok(Step::More) => break,
                Ok(Step::Skipped { .. }) => unreachable!("nobody said that it skips"),
                Ok(Step::Wait { missing }) => {
                    kept = chunk[at..].to_vec();
                    wanted = kept.len() + missing;
                    assert!(wanted <= limit as usize && decoder.buffered() == 0);
                    break;
                }
                Err(error) => {
                    return assert_eq!(
                        (count, Err(error)),
                        (whole.packets.len(), whole.end.clone().map(|_| ()))
                    );
                }
            };
            assert_eq!(whole.packets[count], (first, body));
            count += 1;
        }
    }
    assert!(whole.end.is_ok() && count == whole.packets.len());
}

/// Shows a stream as one chunk through windows of `size` bytes, as one that stays outside of memory.
pub fn windows(version: Version, limit: u32, chunk: &[u8], size: usize) -> Found {
    let mut decoder = Decoder::new(version, limit);
    let mut packets = Vec::new();
    let mut from = 0;
    while from < chunk.len() {
        let window = &chunk[from..(from + size).min(chunk.len())];
        let beyond = chunk.len() - from - window.len();
        let mut at = 0;
        loop {
            match decoder.step(window, &mut at, beyond) {
                Ok(Step::Packet { first, start, len }) => {
                    let body = &chunk[from + start..][..len];
                    if at > window.len() {
                        outside(version, first, &window[start..], body);
                    }
                    packets.push((first, body.to_vec()));
                }
                Ok(Step::Split { first, body }) => {
                    packets.push((first, body.clone()));
                    decoder.recycle(body);
                }
                Ok(Step::More) => break,
                Ok(Step::Wait { .. } | Step::Skipped { .. }) => {
                    unreachable!("nobody said that it defers or skips")
                }
                Err(error) => {
                    let end = Err(error);
                    return Found { packets, end };
                }
            }
        }
        assert!(at > 0 && (beyond > 0 || at == window.len()), "the window is used");
        from += at;
    }
    let end = Ok(decoder);
    Found { packets, end }
}

/// A PUBLISH whose payload goes on outside of the window says the same as the whole one.
fn outside(version: Version, first: u8, window: &[u8], body: &[u8]) {
    let seen = Publish::decode_header(version, first, window, body.len());
    let whole = Publish::decode_header(version, first, body, body.len());
    match (seen, whole) {
        (Ok((mut seen, hints)), Ok((whole, same))) => {
            assert!(hints.payload_start <= window.len());
            seen.payload = whole.payload;
            assert_eq!((seen, hints), (whole, same));
        }
        (seen, whole) => assert_eq!(seen, whole),
    }
}

/// Whatever comes in is refused, or is a packet that is the same after a turn through its bytes.
pub fn packet(version: Version, first: u8, body: &[u8]) {
    let result = Packet::decode(version, first, body);
    let from_server = Packet::decode_from_server(version, first, body);
    if let Ok(packet) = &from_server {
        assert_eq!(Ok(packet), result.as_ref());
    }
    let Ok(packet) = result else { return };
    assert_eq!(PacketType::from_first_byte(first), Some(packet.packet_type()));
    let mut encoded = Vec::new();
    packet.encode(version, &mut encoded);
    // It is in its shortest form now. Only the refusal of a 3.1.1 server grows: it gets a property length.
    assert!(encoded.len() <= fixed_header(body.len()) + body.len() || matches!(body, [0, 1..=5]));
    let mut at = 0;
    let Ok(Step::Packet { first, start, len }) =
        Decoder::new(version, u32::MAX).step(&encoded, &mut at, 0)
    else {
        panic!("{encoded:02x?}");
    };
    assert_eq!(at, encoded.len());
    let again = Packet::decode(version, first, &encoded[start..][..len]).unwrap();
    assert_eq!(again, packet);
    let mut twice = Vec::new();
    again.encode(version, &mut twice);
    assert_eq!(twice, encoded);
    match packet {
        Packet::Connect(connect) => {
            properties(connect.properties);
            if let Some(will) = connect.will {
                check_topic(will.topic.as_bytes()).unwrap();
                properties(will.properties);
            }
        }
        Packet::ConnAck(ConnAck { properties: block, .. })
        | Packet::PubAck(Ack { properties: block, .. })
        | Packet::PubRec(Ack { properties: block, .. })
        | Packet::PubRel(Ack { properties: block, .. })
        | Packet::PubComp(Ack { properties: block, .. })
        | Packet::SubAck(SubAck { properties: block, .. })
        | Packet::UnsubAck(SubAck { properties: block, .. })
        | Packet::Disconnect(Disconnect { properties: block, .. })
        | Packet::Auth(Auth { properties: block, .. }) => properties(block),
        Packet::Publish(publish) => {
            assert_eq!(publish.size(version, None, publish.payload.len()), encoded.len());
            assert!(publish.topic.is_empty() || check_topic(publish.topic).is_ok());
            assert_eq!(publish.id.is_none(), publish.qos == QoS::AtMostOnce);
            properties(publish.properties);
        }
        Packet::Subscribe(subscribe) => {
            properties(subscribe.properties);
            filters(subscribe.filters.map(|(filter, _)| filter).collect());
        }
        Packet::Unsubscribe(unsubscribe) => {
            properties(unsubscribe.properties);
            filters(unsubscribe.filters.collect());
        }
        Packet::PingReq | Packet::PingResp => {}
    }
}

/// A block that was accepted can be built again, property by property.
fn properties(block: Properties) {
    let mut built = PropertiesBuf::default();
    for (property, value) in block.iter() {
        built.push(property, value);
        block.get(property).unwrap();
    }
    assert_eq!(built.borrow(), block);
    assert_eq!(PropertiesBuf::from(block), built);
    let pairs = block.user_properties().count() + block.subscription_ids().count();
    assert!(pairs <= block.iter().count());
}

/// Filters that were accepted do the same in the trie as one by one.
fn filters(filters: Vec<&str>) {
    assert!(!filters.is_empty());
    let mut trie = Trie::default();
    let parsed: Vec<_> = filters.iter().map(|text| TopicFilter::new(*text).unwrap()).collect();
    for (id, filter) in parsed.iter().enumerate() {
        assert!(filter.overlaps(filter));
        assert_eq!(filter.has_wildcard(), filter.matched().contains(['+', '#']));
        match filter.share() {
            Some(share) => {
                assert_eq!(filter.as_str(), format!("$share/{share}/{}", filter.matched()))
            }
            None => assert_eq!(filter.as_str(), filter.matched()),
        }
        trie.insert(filter.matched(), id as u32);
    }
    for topic in filters.iter().filter(|topic| check_topic(topic.as_bytes()).is_ok()) {
        let mut found = Vec::new();
        trie.matching(topic, &mut found);
        for (id, filter) in parsed.iter().enumerate() {
            // If several have the same path, it holds the number of the last.
            let holds = trie.get(filter.matched()) == Some(id as u32);
            assert_eq!(
                found.contains(&(id as u32)),
                holds && filter.matches(topic),
                "{filter:?} {topic}"
            );
        }
    }
    for filter in &parsed {
        trie.remove(filter.matched());
    }
    assert_eq!(format!("{trie:?}"), format!("{:?}", Trie::default()));
}

fn fixed_header(length: usize) -> usize {
    1 + varint_size(length)
}
