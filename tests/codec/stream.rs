//! Packets out of a stream: any split, windows, limits, memory, any input.

use crate::fuzz::decoder::{any_split, packet, split, windows};
use crate::fuzz::memory::allocated;
use crate::packets::{CONNECT_4, stories};
use crate::rules::{PROPERTIES, carriers};
use crate::*;

/// The limit that is none.
const NO_LIMIT: u32 = u32::MAX;

/// The stories of one version as one stream, and its packets.
fn stream(version: Version) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
    let packets: Vec<_> =
        stories().filter(|(of, _)| *of == version).map(|(_, bytes)| bytes).collect();
    let whole = packets.iter().map(|packet| (packet[0], packet[2..].to_vec())).collect();
    (packets.concat(), whole)
}

/// Shows [MQTT5-6.0.0-2] [MQTT3-6.0.0-2]
#[test]
fn any_split_gives_the_same_packets() {
    for version in [V311, V5] {
        let (stream, packets) = stream(version);
        for size in 1..=stream.len() {
            let found = split(version, NO_LIMIT, &stream, size);
            assert_eq!(found.packets, packets, "pieces of {size}");
            assert_eq!(found.end.unwrap().buffered(), 0);
            let found = windows(version, NO_LIMIT, &stream, size);
            assert_eq!(found.packets, packets, "windows of {size}");
        }
        for at in 0..stream.len() {
            let mut decoder = Decoder::new(version, NO_LIMIT);
            let mut seen = Vec::new();
            for piece in [&stream[..at], &stream[at..]] {
                let mut at = 0;
                loop {
                    match decoder.step(piece, &mut at, 0).unwrap() {
                        Step::Packet { first, start, len } => {
                            seen.push((first, piece[start..][..len].to_vec()))
                        }
                        Step::Split { first, body } => seen.push((first, body)),
                        Step::More => break,
                        Step::Wait { .. } | Step::Skipped { .. } => {
                            unreachable!("nobody said that it defers or skips")
                        }
                    }
                }
            }
            assert_eq!(seen, packets, "split at {at}");
        }
    }
}

#[test]
fn a_message_that_is_skipped_may_have_the_longest_topic_and_come_in_any_pieces() {
    let body = [&bytes("FF FF")[..], &[b't'; 65_535], &bytes("00 01 'payload'")].concat();
    let message = [&bytes("32 8A 80 04")[..], &body].concat();
    for size in [1, 10, 1_000, 40_000, message.len()] {
        let mut decoder = Decoder::new(V311, 1_000);
        decoder.skips = true;
        let mut skipped = None;
        for piece in message.chunks(size) {
            match decoder.step(piece, &mut 0, 0).unwrap() {
                Step::Skipped { first, body } => skipped = Some((first, body)),
                step => assert_eq!(step, Step::More),
            }
        }
        let (first, kept) = skipped.unwrap();
        assert_eq!(first, 0x32);
        assert!(kept.len() >= 65_539 && body.starts_with(&kept), "pieces of {size}");
    }
}

#[test]
fn windows_on_a_chunk() {
    let publish = bytes("32 81 01 00 01 't' 00 01"); // 129 bytes of body, 124 of payload
    let chunk = [&bytes("D0 00")[..], &publish, &[7; 124], &bytes("D0 00")].concat();
    let ping = Step::Packet { first: 0xD0, start: 2, len: 0 };
    let large = Step::Packet { first: 0x32, start: 5, len: 129 };

    // The payload may stay outside.
    let mut decoder = Decoder::new(V311, u32::MAX);
    let mut at = 0;
    assert_eq!(decoder.step(&chunk[..10], &mut at, chunk.len() - 10), Ok(ping.clone()));
    assert_eq!(decoder.step(&chunk[..10], &mut at, chunk.len() - 10), Ok(large));
    assert_eq!(at, chunk.len() - 2);
    assert_eq!(decoder.step(&chunk[..10], &mut at, chunk.len() - 10), Ok(Step::More));
    assert_eq!(decoder.buffered(), 0);

    // The variable header may not: the next window begins with it.
    let mut at = 2;
    assert_eq!(decoder.step(&chunk[..9], &mut at, chunk.len() - 9), Ok(Step::More));
    assert_eq!((at, decoder.buffered()), (2, 0));
    // A window that is too small even then is kept.
    let mut at = 0;
    assert_eq!(decoder.step(&chunk[2..9], &mut at, chunk.len() - 9), Ok(Step::More));
    assert_eq!((at, decoder.buffered()), (7, 4));
    let mut at = 0;
    let Ok(Step::Split { first: 0x32, body }) = decoder.step(&chunk[9..], &mut at, 0) else {
        panic!()
    };
    assert_eq!((body.len(), at), (129, chunk.len() - 9 - 2));

    // A payload that goes on in the next chunk is kept as well.
    let mut at = 0;
    let part = chunk.len() - 20;
    assert_eq!(decoder.step(&chunk[2..12], &mut at, part - 12), Ok(Step::More));
    assert_eq!((at, decoder.buffered()), (10, 7));
    let mut at = 0;
    assert_eq!(decoder.step(&chunk[12..part], &mut at, 0), Ok(Step::More));
    let mut at = 0;
    let Ok(Step::Split { body, .. }) = decoder.step(&chunk[part..], &mut at, 0) else { panic!() };
    assert_eq!((&body[5..], at), (&[7; 124][..], 18));
    let Ok(Step::Packet { first: 0xD0, .. }) = decoder.step(&chunk[part..], &mut at, 0) else {
        panic!()
    };
}

/// Where the caller puts large packets together.
#[test]
fn a_large_packet_is_left_where_it_is() {
    let large = [&bytes("30 82 10 00 01 61")[..], &[7; 2_047]].concat();
    let chunk = [&bytes("D0 00")[..], &large, &bytes("D0 00")].concat();
    let ping = Ok(Step::Packet { first: 0xD0, start: 2, len: 0 });
    for (window, part) in [(1_000, 1_000), (10, 1_000), (8, 8), (2_000, 2_000)] {
        let mut decoder = Decoder::new(V311, u32::MAX);
        decoder.defers = true;
        let mut at = 0;
        let mut step = |part: usize| decoder.step(&chunk[..window], &mut at, part - window);
        assert_eq!(step(part), ping);
        assert_eq!(step(part), Ok(Step::Wait { missing: 2 + large.len() - part }));
        assert_eq!(
            step(part),
            Ok(Step::Wait { missing: 2 + large.len() - part }),
            "as often as it is asked"
        );
        // Whole, with the payload outside.
        let Ok(Step::Packet { first: 0x30, start: 5, len: 2_050 }) = step(chunk.len()) else {
            panic!()
        };
        assert_eq!((at, decoder.buffered()), (2 + large.len(), 0));
    }
    // A small one is kept, and so is a header that ends with the chunk.
    for (packet, part) in [(&bytes("30 82 03 00 01 61")[..], 6), (&large[..], 2)] {
        let mut decoder = Decoder::new(V311, u32::MAX);
        decoder.defers = true;
        assert_eq!(decoder.step(&packet[..part], &mut 0, 0), Ok(Step::More));
        assert!(decoder.buffered() > 0);
    }
}

/// Shows [MQTT5-3.1.2-24]
#[test]
fn a_packet_above_the_maximum_is_refused_from_its_header() {
    for (version, packet) in stories() {
        let size = packet.len() as u32;
        for piece in 1..=packet.len() {
            assert!(split(version, size, &packet, piece).end.is_ok());
            // The fixed header is enough.
            for bytes in [&packet[..], &packet[..2]] {
                let error = split(version, size - 1, bytes, piece).end.unwrap_err();
                assert_eq!(error.reason, ReasonCode::PACKET_TOO_LARGE);
            }
        }
    }
    assert!(split(V311, 1000, &bytes("30 E5 07"), 1).end.is_ok()); // 997 and 3 bytes
    assert!(split(V311, 1000, &bytes("30 E6 07"), 1).end.is_err());
}

#[test]
fn memory_follows_what_arrived() {
    const SMALL: usize = 64 * 1024;
    let announced = allocated(|| {
        let mut decoder = Decoder::new(V5, u32::MAX);
        let mut at = 0;
        let start = bytes("30 FF FF FF 7F 00"); // 256 MiB announced, 1 byte there
        assert_eq!(decoder.step(&start, &mut at, 0), Ok(Step::More));
        assert_eq!(decoder.buffered(), 1);
    });
    assert!(announced.largest <= SMALL);

    let (header, chunk) = (bytes("30 FF FF FF 7F"), vec![0; 10_000]);
    let mut decoder = Decoder::new(V5, u32::MAX);
    let trickled = allocated(|| {
        let mut at = 0;
        decoder.step(&header, &mut at, 0).unwrap();
        for _ in 0..100 {
            let mut at = 0;
            assert_eq!(decoder.step(&chunk, &mut at, 0), Ok(Step::More));
        }
    });
    assert_eq!(decoder.buffered(), 1_000_000);
    assert!(trickled.largest <= 2_000_000);
    assert!(trickled.times < 10, "room doubles");

    // The body's room is exact when it is small, and used again.
    let mut decoder = Decoder::new(V311, u32::MAX);
    let packet = bytes(CONNECT_4);
    for piece in packet.chunks(3) {
        if let Step::Split { body, .. } = decoder.step(piece, &mut 0, 0).unwrap() {
            decoder.recycle(body);
        }
    }
    let mut at = 0;
    let again = allocated(|| {
        assert_eq!(decoder.step(&packet[..5], &mut at, 0), Ok(Step::More));
        let mut at = 0;
        let Ok(Step::Split { body, .. }) = decoder.step(&packet[5..], &mut at, 0) else { panic!() };
        decoder.recycle(body);
    });
    assert_eq!(again.times, 0);
    // A large one is not held on to.
    let kept = allocated(|| decoder.recycle(vec![0; SMALL + 1]));
    assert_eq!(kept.live, 0);
}

#[test]
fn the_hot_path_allocates_nothing() {
    let (stream, packets) = stream(V5);
    let mut out = Vec::with_capacity(4096);
    let counted = allocated(|| {
        let mut decoder = Decoder::new(V5, u32::MAX);
        let (mut at, mut count) = (0, 0);
        while let Step::Packet { first, start, len } = decoder.step(&stream, &mut at, 0).unwrap() {
            count += 1;
            if PacketType::from_first_byte(first) == Some(PacketType::Publish) {
                let (publish, _) =
                    Publish::decode_header(V5, first, &stream[start..], len).unwrap();
                publish.encode_header(V5, None, publish.payload.len(), &mut out);
                let id = publish.id.unwrap_or(id(1));
                encode_ack(PacketType::PubAck, id, ReasonCode::SUCCESS, V5, &mut out);
            }
            Packet::decode(V5, first, &stream[start..][..len]).unwrap();
        }
        assert_eq!(count, packets.len());
    });
    assert_eq!(counted.times, 0);
}

#[test]
fn random_property_blocks() {
    let mut random = Random(5);
    for (letter, carry) in carriers() {
        let allowed: Vec<_> =
            PROPERTIES.iter().filter(|(.., places)| places.contains(letter)).collect();
        for _ in 0..300 {
            // At least one, each at most once, in any order.
            let mut left = allowed.clone();
            let mut chosen = Vec::new();
            for _ in 0..=random.below(left.len()) {
                chosen.push(left.swap_remove(random.below(left.len())));
            }
            let has = |property| chosen.iter().any(|(_, name, ..)| *name == property);
            let valid = has(Property::AuthenticationMethod) || !has(Property::AuthenticationData);
            let block: Vec<u8> = chosen.iter().flat_map(|(text, ..)| bytes(text)).collect();
            let packet = carry(&block);
            if valid {
                assert_eq!(decode(V5, &packet).map(|packet| encode(V5, &packet)), Ok(packet));
            } else {
                refused(V5, &packet, PROTOCOL);
            }
        }
    }
}

#[test]
fn random_bodies() {
    let mut random = Random(1);
    for _ in 0..200_000 {
        let len = random.below(24);
        // Small numbers make lengths that fit.
        let body: Vec<u8> = (0..len)
            .map(|_| if random.below(3) == 0 { random.below(256) } else { random.below(8) } as u8)
            .collect();
        let first = random.below(256) as u8;
        packet(random.pick(&[V311, V5]), first, &body);
    }
}

#[test]
fn stories_with_changes() {
    let mut random = Random(2);
    for (version, story) in stories() {
        for _ in 0..5_000 {
            let mut body = story[2..].to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(body.len() + 1);
                match random.below(4) {
                    0 => body.insert(at, random.below(256) as u8),
                    1 => body.truncate(at),
                    2 if at < body.len() => drop(body.remove(at)),
                    _ if at < body.len() => {
                        body[at] = body[at].wrapping_add(random.pick(&[1, 255, 128]))
                    }
                    _ => (),
                }
            }
            packet(version, story[0], &body);
            let other = if version == V311 { V5 } else { V311 };
            packet(other, story[0], &body);
        }
    }
}

#[test]
fn random_streams() {
    let mut random = Random(3);
    for _ in 0..20_000 {
        let version = random.pick(&[V311, V5]);
        let stream: Vec<u8> = (0..1 + random.below(60))
            .map(|_| random.pick(&[0, 1, 2, 3, 5, 0x7F, 0x80, 0xFF, 0x30, 0x32, 0x40, 0xD0]))
            .collect();
        let (piece, window) = (1 + random.below(stream.len()), 1 + random.below(stream.len()));
        any_split(version, random.pick(&[NO_LIMIT, 1000, 20]), &stream, piece, window);
    }
}
