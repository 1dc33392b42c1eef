//! What the transport delivers, piece by piece, and what became of a piece.

/// A piece of input. `bytes` begin `offset` bytes into the chunk that the transport delivered,
/// which goes on for `beyond` bytes after them that need not be in memory.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is in memory.
    pub bytes: &'a [u8],
    /// Where it begins in the chunk.
    pub offset: usize,
    /// How much longer the chunk is.
    pub beyond: usize,
}

impl<'a> From<&'a [u8]> for Input<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, beyond: 0 }
    }
}

/// What became of a piece of input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consumed {
    /// How many of the chunk's bytes, from the input's beginning, are done with. Less than all
    /// where `then` says so, and where the window ends inside a packet; more than are in memory
    /// where a payload goes on beyond.
    pub used: usize,
    /// How to go on.
    pub then: Then,
}

/// How the caller goes on behind a piece of input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// With what follows.
    More,
    /// The input stopped behind a CONNACK. What follows waits until the application has heard of
    /// the connection.
    Paused,
    /// The input stopped before a large packet, which goes on for so many bytes after the chunk.
    /// The packet must come again, whole, before what follows it. Until then, empty input says
    /// that something came.
    Missing(usize),
}
