//! Encoded packets on their way to the transport: frames, and how much the transport holds.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// About how many bytes of what is written in one turn leave as one frame. A frame ends at the end
/// of a packet.
pub const FRAME: usize = 16 * 1024;
/// With more bytes than this in the transport's buffer, publishes wait. They go on at half of it.
const TRANSPORT_FULL: usize = 1024 * 1024;
/// How many bytes a full transport may grow by. More of them are answers to a server that asks and
/// does not read.
const UNREAD: usize = 16 * 1024 * 1024;

/// The send buffer of one connection. Last words stay in it after the connection was left.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Output {
    /// Encoders append here; [`Output::end_packet`] follows.
    pub bytes: Vec<u8>,
    /// How much of it was handed over.
    sent: usize,
    /// Where frames end that are full.
    cuts: VecDeque<usize>,
    last_cut: usize,
    transport: Transport,
}

/// Back pressure of the transport.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, Debug)]
enum Transport {
    /// It takes more.
    #[default]
    Open,
    /// It was given as much as it may hold, and has not said yet how much of it is left.
    Filled,
    /// It is full. Above `ceiling` bytes, nobody reads at the other end.
    Full { ceiling: usize },
}

/// What the transport says about its buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pressure {
    /// Nothing has changed.
    Same,
    /// It takes more again.
    Relieved,
    /// The server does not read what it is sent.
    Unread,
}

impl Output {
    /// A packet ends here, and with it a frame that is long enough.
    #[inline]
    pub(super) fn end_packet(&mut self) {
        if self.bytes.len() - self.last_cut >= FRAME {
            self.last_cut = self.bytes.len();
            self.cuts.push_back(self.last_cut);
        }
    }

    /// The next frame. It counts as sent from here on.
    pub(super) fn next_frame(&mut self) -> Option<&[u8]> {
        if self.sent == self.bytes.len() {
            if self.sent > 0 {
                self.discard();
            }
            return None;
        }
        let start = self.sent;
        self.sent = self.cuts.pop_front().unwrap_or(self.bytes.len());
        self.bytes.get(start..self.sent)
    }

    /// How many bytes wait to be handed over.
    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Forgets what was not handed over: nobody reads any more.
    pub(super) fn discard(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(8 * FRAME);
        self.cuts.clear();
        self.sent = 0;
        self.last_cut = 0;
    }

    /// Gives back its memory, unless something waits to be handed over.
    pub(super) fn rest(&mut self) {
        if self.pending() == 0 {
            self.discard();
            self.bytes = Vec::new();
        }
    }

    /// Whether publishes wait for the transport.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.transport != Transport::Open
    }

    /// Notices that as much was written as the transport may hold.
    pub(super) fn fill(&mut self) {
        if self.pending() > TRANSPORT_FULL {
            self.transport = Transport::Filled;
        }
    }

    /// The transport has `buffered` bytes in its buffer.
    pub(super) fn handle_buffered(&mut self, buffered: usize) -> Pressure {
        let limit = if self.is_full() { TRANSPORT_FULL / 2 } else { TRANSPORT_FULL };
        if buffered <= limit {
            let was_full = self.is_full();
            self.transport = Transport::Open;
            return if was_full { Pressure::Relieved } else { Pressure::Same };
        }
        match self.transport {
            Transport::Full { ceiling } if buffered > ceiling => Pressure::Unread,
            Transport::Full { .. } => Pressure::Same,
            Transport::Open | Transport::Filled => {
                self.transport = Transport::Full { ceiling: buffered.saturating_add(UNREAD) };
                Pressure::Same
            }
        }
    }
}
