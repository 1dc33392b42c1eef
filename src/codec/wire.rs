//! The data types of the specification (1.5).

use alloc::vec::Vec;

use super::{DecodeError, PacketType};

/// The length of the longest body that a fixed header can announce.
const MAXIMUM_LENGTH: usize = 0x0FFF_FFFF;

/// Reads from the front of a slice, which shrinks as it is read. Nothing can be read past its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is left.
    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Checks that nothing is left at the end of a packet.
    pub(super) fn end(self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::malformed("bytes after the last field"))
        }
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(PAST_END)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(PAST_END)?;
        self.0 = rest;
        Ok(*taken)
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u32, DecodeError> {
        let (value, size) = varint(self.0)?.ok_or(PAST_END)?;
        self.take(size)?;
        Ok(value)
    }

    #[inline]
    pub(super) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(len.into())
    }

    // This is not inlined, so that all places that read text share one copy.
    #[inline(never)]
    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        text(self.binary()?).map_err(DecodeError::malformed)
    }

    /// Returns a reader for a part whose length stands in front of it as a Variable Byte Integer.
    #[inline]
    pub(super) fn sub(&mut self) -> Result<Self, DecodeError> {
        let len = self.varint()?;
        self.take(len as usize).map(Self)
    }
}

const PAST_END: DecodeError = DecodeError::malformed("field past the end of the packet");

/// Reads the Variable Byte Integer at the front. Returns it and its size in bytes, or `None` if more bytes
/// have to come.
#[inline]
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(4) {
        value |= u32::from(byte & 0x7F) << (7 * at);
        match byte {
            0 if at > 0 => return Err(DecodeError::malformed("length not in its shortest form")),
            0..0x80 => return Ok(Some((value, at + 1))),
            _ => (),
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(DecodeError::malformed("length of more than four bytes"))
    }
}

/// Checks text by the rules of the specification: well-formed UTF-8 without U+0000 (1.5.4).
pub(super) fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    match core::str::from_utf8(bytes) {
        Err(_) => Err("text is not UTF-8"),
        Ok(_) if bytes.contains(&0) => Err("text holds U+0000"),
        Ok(text) => Ok(text),
    }
}

#[inline]
pub(super) fn put_u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends text or binary data and its length in front of it. The caller gives 65,535 bytes at most.
#[inline]
pub(super) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    put_u16(bytes.len() as u16, out);
    out.extend_from_slice(bytes);
}

#[inline]
pub(super) fn put_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns the number of bytes of a Variable Byte Integer (1.5.5).
#[inline]
pub fn varint_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

#[inline]
fn varint_bytes(value: usize) -> ([u8; 4], usize) {
    debug_assert!(value <= MAXIMUM_LENGTH);
    let size = varint_size(value);
    let mut bytes = [0, 7, 14, 21].map(|shift| (value >> shift) as u8 | 0x80);
    bytes[size - 1] &= 0x7F;
    (bytes, size)
}

/// Begins a packet whose length is not known yet. Returns where its body begins, for [`finish`].
pub(super) fn begin(packet: PacketType, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[packet.first_byte(), 0]);
    out.len()
}

/// Writes the length of the body that begins at `start` into the fixed header.
pub(super) fn finish(start: usize, out: &mut Vec<u8>) {
    let length = out.len() - start;
    let (bytes, size) = varint_bytes(length);
    out.resize(out.len() + size - 1, 0);
    out.copy_within(start..start + length, start + size - 1);
    out[start - 1..][..size].copy_from_slice(&bytes[..size]);
}
