//! Bytes to packets and back, for both protocol versions.

mod packet;
mod properties;
mod reason;
mod topic;
mod wire;

pub use packet::*;
pub use properties::{Properties, PropertiesBuf, Property, Value, check_text};
pub use reason::ReasonCode;
pub use topic::{TopicError, Trie, check_filter, check_topic, matches, overlaps, shared};
pub use wire::varint_size;

/// A protocol version, named after its number in CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// MQTT 3.1.1
    V4,
    /// MQTT 5.0
    V5,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QoS {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl QoS {
    #[inline]
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// Where a property or a reason code may stand: a bit per packet type.
pub mod place {
    pub const CONNECT: u16 = 1 << 1;
    pub const CONNACK: u16 = 1 << 2;
    pub const PUBLISH: u16 = 1 << 3;
    pub const PUBACK: u16 = 1 << 4;
    pub const PUBREC: u16 = 1 << 5;
    pub const PUBREL: u16 = 1 << 6;
    pub const PUBCOMP: u16 = 1 << 7;
    pub const SUBSCRIBE: u16 = 1 << 8;
    pub const SUBACK: u16 = 1 << 9;
    pub const UNSUBSCRIBE: u16 = 1 << 10;
    pub const UNSUBACK: u16 = 1 << 11;
    pub const DISCONNECT: u16 = CLIENT_DISCONNECT | SERVER_DISCONNECT;
    pub const AUTH: u16 = 1 << 15;

    /// The will's own block in CONNECT; no packet has type 0.
    pub const WILL: u16 = 1 << 0;
    /// In place of PINGREQ, which has neither properties nor a code.
    pub const CLIENT_DISCONNECT: u16 = 1 << 12;
    pub const SERVER_DISCONNECT: u16 = 1 << 14;
}

/// Why bytes are no packet: the reason code that the specification asks for in the DISCONNECT, and a text for the error message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodeError {
    pub reason: ReasonCode,
    pub what: &'static str,
}

impl DecodeError {
    pub const fn malformed(what: &'static str) -> Self {
        Self { reason: ReasonCode::MALFORMED_PACKET, what }
    }

    pub const fn protocol(what: &'static str) -> Self {
        Self { reason: ReasonCode::PROTOCOL_ERROR, what }
    }
}

/// The longest body a fixed header can announce.
const MAXIMUM_LENGTH: usize = 0x0FFF_FFFF;

/// Cuts a byte stream into packets, wherever the stream is split. A packet above the maximum is refused from its fixed header, before a
/// byte of its body is kept; memory grows with what has arrived, never with what is announced.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decoder {
    version: Version,
    maximum_packet_size: u32,
    partial: Partial,
    /// What has arrived of the body; between packets, an allocation to use again.
    body: Vec<u8>,
    /// The caller puts large packets together that came in pieces: [`Step::Wait`].
    pub defers: bool,
}

/// A packet of which the stream has brought only a part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Partial {
    None,
    Header { bytes: [u8; 5], len: u8 },
    Body { first: u8, length: usize },
}

/// A step through a window on one chunk of input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A packet that begins in the window: its body is `len` bytes from `start`. Only the payload of a PUBLISH may reach past the window,
    /// by at most `beyond`.
    Packet { first: u8, start: usize, len: usize },
    /// A packet that came in pieces, whole now. [`Decoder::recycle`] takes the vector back.
    Split { first: u8, body: Vec<u8> },
    /// A large packet begins at `at` and needs so many bytes after the chunk. What there is of it is not kept: it must come again, whole.
    Wait { missing: usize },
    /// Nothing more in this window: the next one begins at `at`.
    More,
}

impl Decoder {
    /// `maximum_packet_size` counts whole packets, with their fixed header.
    pub fn new(version: Version, maximum_packet_size: u32) -> Self {
        Self {
            version,
            maximum_packet_size,
            partial: Partial::None,
            body: Vec::new(),
            defers: false,
        }
    }

    /// Takes the next packet from `window`, at `at`, and moves `at` past what was used. `beyond`: how much longer the chunk is than the window.
    ///
    /// With nothing beyond, a packet that is not complete is kept inside. With something beyond, it is kept only if the window began
    /// with it, so that the next window can show it whole. A payload that reaches past the window moves `at` past the window too.
    #[inline]
    pub fn step(
        &mut self,
        window: &[u8],
        at: &mut usize,
        beyond: usize,
    ) -> Result<Step, DecodeError> {
        if self.partial != Partial::None {
            return self.resume(window, at);
        }
        let rest = window.get(*at..).unwrap_or_default();
        let Some((&first, after)) = rest.split_first() else {
            return Ok(Step::More);
        };
        let Some((length, size)) = wire::varint(after)? else {
            return self.hold(window, at, beyond);
        };
        let length = length as usize;
        self.check_size(1 + size + length)?;
        let start = *at + 1 + size;
        let body = window.get(start..).unwrap_or_default();
        if length <= body.len()
            || (length - body.len() <= beyond
                && packet::publish_header_is_whole(self.version, first, body))
        {
            *at = start + length;
            return Ok(Step::Packet { first, start, len: length });
        }
        self.hold(window, at, beyond)
    }

    /// Takes back the vector of a [`Step::Split`] for the next one.
    pub fn recycle(&mut self, mut body: Vec<u8>) {
        if self.body.capacity() == 0 && body.capacity() <= SMALL {
            body.clear();
            self.body = body;
        }
    }

    /// How many bytes are kept of a packet that is not complete.
    pub fn buffered(&self) -> usize {
        match self.partial {
            Partial::Header { len, .. } => len.into(),
            _ => self.body.len(),
        }
    }

    /// A packet begins in the window and ends elsewhere.
    #[cold]
    fn hold(&mut self, window: &[u8], at: &mut usize, beyond: usize) -> Result<Step, DecodeError> {
        let rest = window.get(*at..).unwrap_or_default();
        if self.defers
            && let Some((length, size)) = wire::varint(rest.get(1..).unwrap_or_default())?
        {
            let size = 1 + size + length as usize;
            let missing = size.saturating_sub(rest.len() + beyond);
            if missing > 0 && size >= LARGE {
                return Ok(Step::Wait { missing });
            }
        }
        if beyond > 0 && *at > 0 {
            return Ok(Step::More);
        }
        self.partial = Partial::Header { bytes: [0; 5], len: 0 };
        self.resume(window, at)
    }

    /// Goes on with a packet that came in pieces.
    #[cold]
    fn resume(&mut self, window: &[u8], at: &mut usize) -> Result<Step, DecodeError> {
        let mut rest = wire::Reader::new(window.get(*at..).unwrap_or_default());
        while let Partial::Header { mut bytes, len } = self.partial {
            let Ok(byte) = rest.u8() else { break };
            let len = usize::from(len);
            bytes[len] = byte;
            self.partial = match wire::varint(&bytes[1..=len])? {
                None => Partial::Header { bytes, len: len as u8 + 1 },
                Some((length, _)) => {
                    self.check_size(1 + len + length as usize)?;
                    Partial::Body { first: bytes[0], length: length as usize }
                }
            };
        }
        if let Partial::Body { first, length } = self.partial {
            let missing = length - self.body.len();
            let piece = rest.take(missing.min(rest.rest().len()))?;
            self.keep(piece, length)?;
            if piece.len() == missing {
                self.partial = Partial::None;
                *at = window.len() - rest.rest().len();
                return Ok(Step::Split { first, body: std::mem::take(&mut self.body) });
            }
        }
        *at = window.len();
        Ok(Step::More)
    }

    /// Appends a piece to the body. Room is made for twice of what is there, or for a small packet, and never above `length`.
    fn keep(&mut self, piece: &[u8], length: usize) -> Result<(), DecodeError> {
        let needed = self.body.len() + piece.len();
        if needed > self.body.capacity() {
            let room = (2 * needed).max(SMALL).min(length);
            self.body.try_reserve_exact(room - self.body.len()).map_err(|_| TOO_LARGE)?;
        }
        self.body.extend_from_slice(piece);
        Ok(())
    }

    #[inline]
    fn check_size(&self, size: usize) -> Result<(), DecodeError> {
        if size > self.maximum_packet_size as usize { Err(TOO_LARGE) } else { Ok(()) }
    }
}

/// Bytes of a packet that is large enough to be left outside.
const LARGE: usize = 1024;

/// What is allocated at once for a packet that came in pieces, and kept for the next.
const SMALL: usize = 64 * 1024;

pub const TOO_LARGE: DecodeError =
    DecodeError { reason: ReasonCode::PACKET_TOO_LARGE, what: "packet too large" };
