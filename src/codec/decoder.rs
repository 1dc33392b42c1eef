//! Cuts the byte stream of a connection into packets.

use alloc::vec::Vec;

use super::wire::{self, Reader};
use super::{DecodeError, PacketType, Version, publish};

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
    /// Whether a PUBLISH above the maximum is skipped instead of refused: [`Decoder::step`] answers
    /// [`Step::Skipped`] when it is over. It is for 3.1.1, where the server knows no maximum. The
    /// default is false.
    pub skips: bool,
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
    /// A PUBLISH above the maximum, of which `left` bytes are to come.
    Skipped { first: u8, left: usize },
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
    /// A PUBLISH above the maximum is over. The body is its topic and packet identifier, and maybe some
    /// of the payload.
    Skipped {
        /// The first byte of the fixed header: packet type and flags.
        first: u8,
        /// The beginning of the body.
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
            skips: false,
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
            return self.resume(window, at, beyond);
        }
        let rest = window.get(*at..).unwrap_or_default();
        let Some((&first, after)) = rest.split_first() else {
            return Ok(Step::More);
        };
        let Some((length, size)) = wire::varint(after)? else {
            return self.hold(window, at, beyond);
        };
        let length = length as usize;
        if self.is_skipped(first, 1 + size + length)? {
            self.partial = Partial::Skipped { first, left: length };
            *at += 1 + size;
            return self.resume(window, at, beyond);
        }
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
        self.resume(window, at, beyond)
    }

    /// Goes on with a packet that comes in pieces.
    #[cold]
    fn resume(
        &mut self,
        window: &[u8],
        at: &mut usize,
        beyond: usize,
    ) -> Result<Step, DecodeError> {
        let mut rest = Reader::new(window.get(*at..).unwrap_or_default());
        while let Partial::Header { mut bytes, len } = self.partial {
            let Ok(byte) = rest.u8() else { break };
            let len = usize::from(len);
            bytes[len] = byte;
            self.partial = match wire::varint(&bytes[1..=len])? {
                None => Partial::Header { bytes, len: len as u8 + 1 },
                Some((length, _)) => {
                    let (first, length) = (bytes[0], length as usize);
                    if self.is_skipped(first, 1 + len + length)? {
                        Partial::Skipped { first, left: length }
                    } else {
                        Partial::Body { first, length }
                    }
                }
            };
        }
        if let Partial::Skipped { first, left } = self.partial {
            let rest = rest.rest();
            let mut taken = left.min(rest.len());
            if !publish::header_is_whole(self.version, first, &self.body) {
                self.keep(&rest[..taken], self.body.len() + left)?;
            }
            if publish::header_is_whole(self.version, first, &self.body) {
                taken = left.min(rest.len() + beyond);
            }
            *at = window.len() - rest.len() + taken;
            if taken == left {
                self.partial = Partial::None;
                return Ok(Step::Skipped { first, body: core::mem::take(&mut self.body) });
            }
            self.partial = Partial::Skipped { first, left: left - taken };
            return Ok(Step::More);
        }
        if let Partial::Body { first, length } = self.partial {
            let missing = length - self.body.len();
            let piece = rest.take(missing.min(rest.rest().len()))?;
            self.keep(piece, length)?;
            if piece.len() == missing {
                self.partial = Partial::None;
                *at = window.len() - rest.rest().len();
                return Ok(Step::Split { first, body: core::mem::take(&mut self.body) });
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

    /// Whether a packet of this size is skipped. Fails if it is too large, and not skipped.
    #[inline]
    fn is_skipped(&self, first: u8, size: usize) -> Result<bool, DecodeError> {
        if size <= self.maximum_packet_size as usize {
            Ok(false)
        } else if self.skips && first >> 4 == PacketType::Publish as u8 {
            Ok(true)
        } else {
            Err(DecodeError::TOO_LARGE)
        }
    }
}

/// From this size on, in bytes, a packet that comes in pieces is left to a caller that defers.
const LARGE: usize = 1024;

/// How many bytes are allocated at once for a packet that comes in pieces, and kept for the next.
const SMALL: usize = 64 * 1024;
