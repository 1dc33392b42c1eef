//! Bytes to packets and back. Stories first, each packet as annotated bytes in both versions; then the rules of the
//! specification as sweeps; streams, splits and memory; topics and the trie. [`cases`] has each field of each packet with
//! each fault, at the codec and at a real session.
//!
//! A line `Shows [MQTT5-…] [MQTT3-…]` above a test names the statements of the two specifications that it shows; see
//! tests/conformance.md.

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code)] // The targets are replayed elsewhere.
mod fuzz;
#[path = "../support/mod.rs"]
mod support;

mod cases;
mod packets;
mod random;
mod rules;
mod stream;
mod topics;

use support::notation::bytes;
use wasmqtt::codec::Version::{V5, V311};
use wasmqtt::codec::*;

/// A packet from its first byte and body.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(varint(body.len()));
    packet.extend(body);
    packet
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Text or binary data behind its length.
fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

/// One whole packet, by way of the decoder.
fn decode(version: Version, packet: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let (first, body) = cut(version, packet)?;
    Packet::decode(version, first, body)
}

fn decode_from_server(version: Version, packet: &[u8]) -> Result<Packet<'_>, DecodeError> {
    let (first, body) = cut(version, packet)?;
    Packet::decode_from_server(version, first, body)
}

/// First byte and body of one whole packet.
fn cut(version: Version, packet: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let mut at = 0;
    match Decoder::new(version, u32::MAX).step(packet, &mut at, 0)? {
        Step::Packet { first, start, len } => {
            assert_eq!(at, packet.len(), "one packet");
            Ok((first, &packet[start..][..len]))
        }
        step => panic!("{step:?} of {packet:02x?}"),
    }
}

fn encode(version: Version, packet: &Packet) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    out
}

/// The bytes and the packet are two forms of one thing.
#[track_caller]
fn same(version: Version, text: &str, packet: Packet) {
    let bytes = bytes(text);
    assert_eq!(encode(version, &packet), bytes, "encoding {packet:?}");
    assert_eq!(decode(version, &bytes), Ok(packet));
}

#[track_caller]
fn refused(version: Version, packet: &[u8], reason: ReasonCode) {
    let result = decode(version, packet).map_err(|error| error.reason);
    assert_eq!(result, Err(reason), "{packet:02x?}");
}

const MALFORMED: ReasonCode = ReasonCode::MALFORMED_PACKET;
const PROTOCOL: ReasonCode = ReasonCode::PROTOCOL_ERROR;

fn block(properties: &[(Property, Value)]) -> PropertiesBuf {
    let mut block = PropertiesBuf::default();
    properties.iter().for_each(|(property, value)| block.push(*property, *value));
    block
}

const NONE: Properties = Properties::EMPTY;

/// A source of cases that is the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
