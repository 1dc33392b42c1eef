//! What a host does with a packet that comes in pieces.

use wasmqtt::driver::Unreadable;

/// A packet that comes in pieces, put together outside the session.
#[derive(Clone, Default, Debug)]
pub struct Gathered {
    bytes: Vec<u8>,
    wanted: usize,
}

impl Gathered {
    /// The first piece; `missing` bytes follow.
    pub fn begin(piece: &[u8], missing: usize) -> Self {
        Self { bytes: piece.to_vec(), wanted: piece.len() + missing }
    }

    /// The packet, once it is whole. What the chunk has beyond it is kept for [`Gathered::rest`].
    pub fn add(&mut self, chunk: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        self.bytes.try_reserve(chunk.len()).map_err(|_| Unreadable::NoMemory)?;
        self.bytes.extend_from_slice(chunk);
        if self.bytes.len() < self.wanted {
            return Ok(None);
        }
        let rest = self.bytes.split_off(self.wanted);
        Ok(Some(std::mem::replace(&mut self.bytes, rest)))
    }

    /// What the chunk has beyond the packet.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}
