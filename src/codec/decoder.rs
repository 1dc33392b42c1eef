//! Cuts the byte stream of a connection into packets.

use super::wire::{self, Reader};
use super::{DecodeError, Version, publish};

/// Cuts the byte stream of one connection into packets, wherever the stream is split.
///
/// The input comes in chunks, as the transport delivers them. A caller that keeps a chunk outside of
/// this memory shows it through windows: slices of it, one after the other.
///
/// A packet above the maximum is refused from its fixed header, before any byte of its body is kept.
/// Memory grows with the bytes that have arrived, never with the length that a header announces.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decoder {
    version: Version,
    maximum_packet_size: u32,
    partial: Partial,
    /// The part of the body that has arrived. Between packets it is empty and keeps its allocation.
    body: Vec<u8>,
    /// Whether the caller puts a large packet that comes in pieces together itself. If so,
    /// [`Decoder::step`] answers [`Step::Wait`] for such a packet instead of keeping its pieces.
    /// The default is false.
    pub defers: bool,
}

/// The packet of which the stream has brought only a part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Partial {
    /// The stream is between two packets.
    None,
    /// The fixed header is not complete: `len` bytes of it have come.
    Header { bytes: [u8; 5], len: u8 },
    /// The fixed header is complete and announces a body of `length` bytes.
    Body { first: u8, length: usize },
}

/// What [`Decoder::step`] found in a window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A packet begins in the window. Only the payload of a PUBLISH may reach past the end of the
    /// window, by `beyond` bytes at most.
    Packet {
        /// The first byte of the fixed header: packet type and flags.
        first: u8,
        /// Where in the window the body begins.
        start: usize,
        /// The length of the body in bytes.
        len: usize,
    },
    /// A packet that came in pieces is complete. [`Decoder::recycle`] takes the vector back.
    Split {
        /// The first byte of the fixed header: packet type and flags.
        first: u8,
        /// The whole body.
        body: Vec<u8>,
    },
    /// A large packet begins at `at` and goes on after the chunk. The decoder keeps none of it: the
    /// caller shows it again when all of it has come. Only a decoder that defers answers so.
    Wait {
        /// How many bytes of the packet come after the chunk.
        missing: usize,
    },
    /// The window holds no further packet. The next window begins at `at`.
    More,
}

impl Decoder {
    /// Makes a decoder for a new connection. `maximum_packet_size` is in bytes and counts the whole
    /// packet, with its fixed header.
    pub fn new(version: Version, maximum_packet_size: u32) -> Self {
        Self {
            version,
            maximum_packet_size,
            partial: Partial::None,
            body: Vec::new(),
            defers: false,
        }
    }

    /// Takes the next packet from `window`, beginning at `at`, and moves `at` past what was used.
    /// `beyond` is the number of bytes that the chunk has after the window.
    ///
    /// With nothing beyond, the decoder keeps a packet that is not complete. With something beyond,
    /// it keeps the packet only if the window began with it, so that the next window can show it
    /// whole. A payload that reaches past the window moves `at` past the window too.
    ///
    /// # Errors
    ///
    /// The length is malformed, or the packet is larger than the maximum.
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
                && publish::header_is_whole(self.version, first, body))
        {
            *at = start + length;
            return Ok(Step::Packet { first, start, len: length });
        }
        self.hold(window, at, beyond)
    }

    /// Takes back the vector of a [`Step::Split`], to use it again for the next one.
    pub fn recycle(&mut self, mut body: Vec<u8>) {
        if self.body.capacity() == 0 && body.capacity() <= SMALL {
            body.clear();
            self.body = body;
        }
    }

    /// Returns the number of bytes that are kept of a packet that is not complete.
    pub fn buffered(&self) -> usize {
        match self.partial {
            Partial::Header { len, .. } => len.into(),
            _ => self.body.len(),
        }
    }

    /// Decides what happens to a packet that begins in the window and ends elsewhere.
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

    /// Goes on with a packet that comes in pieces.
    #[cold]
    fn resume(&mut self, window: &[u8], at: &mut usize) -> Result<Step, DecodeError> {
        let mut rest = Reader::new(window.get(*at..).unwrap_or_default());
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

    /// Appends a piece to the body. The allocation grows to twice what is there, to [`SMALL`] at
    /// least and to `length` at most.
    fn keep(&mut self, piece: &[u8], length: usize) -> Result<(), DecodeError> {
        let needed = self.body.len() + piece.len();
        if needed > self.body.capacity() {
            let room = (2 * needed).max(SMALL).min(length);
            self.body
                .try_reserve_exact(room - self.body.len())
                .map_err(|_| DecodeError::TOO_LARGE)?;
        }
        self.body.extend_from_slice(piece);
        Ok(())
    }

    #[inline]
    fn check_size(&self, size: usize) -> Result<(), DecodeError> {
        if size > self.maximum_packet_size as usize { Err(DecodeError::TOO_LARGE) } else { Ok(()) }
    }
}

/// From this size on, in bytes, a packet that comes in pieces is left to a caller that defers.
const LARGE: usize = 1024;

/// How many bytes are allocated at once for a packet that comes in pieces, and kept for the next.
const SMALL: usize = 64 * 1024;
