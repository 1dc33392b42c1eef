//! What is under way to the server, by packet identifier [MQTT5 2.2.1].

use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;

use super::waiting::Outgoing;
use crate::codec::PacketId;
use crate::session::event::Token;
use crate::session::subscriptions::Part;

/// What a packet identifier stands for.
#[derive(Clone, Hash, Debug)]
pub(super) enum Entry {
    /// Nothing.
    Free,
    /// A message that was sent. `live`: on this connection, so it counts against the server's
    /// Receive Maximum.
    Publish {
        message: Box<Outgoing>,
        live: bool,
    },
    /// A QoS 2 message that the server has: PUBREL is what is sent again.
    Release {
        token: Option<Token>,
        order: u64,
        live: bool,
        /// How often the server has hung up while it was in flight. See [`super::blame`].
        losses: u8,
    },
    /// A release that was given up. The server may still know the identifier, and would take another
    /// message for a copy, so it stays in use until the server has lost the session.
    Abandoned {
        order: u64,
    },
    Subscribe(Part),
    Unsubscribe(Part),
}

impl Entry {
    fn order(&self) -> u64 {
        match self {
            Entry::Publish { message, .. } => message.order,
            Entry::Release { order, .. } | Entry::Abandoned { order } => *order,
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => part.order(),
            Entry::Free => 0,
        }
    }

    /// Whether it is a SUBSCRIBE or UNSUBSCRIBE.
    pub(super) fn is_request(&self) -> bool {
        matches!(self, Entry::Subscribe(_) | Entry::Unsubscribe(_))
    }

    /// What a SUBSCRIBE or UNSUBSCRIBE asks for.
    pub(super) fn part(self) -> Option<Part> {
        match self {
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => Some(part),
            _ => None,
        }
    }

    /// How often the server has hung up while it was in flight.
    pub(super) fn losses(&mut self) -> Option<&mut u8> {
        match self {
            Entry::Publish { message, .. } => Some(&mut message.losses),
            Entry::Release { losses, .. } => Some(losses),
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => Some(&mut part.losses),
            Entry::Free | Entry::Abandoned { .. } => None,
        }
    }

    /// The token of a message.
    pub(super) fn token(&mut self) -> Option<&mut Option<Token>> {
        match self {
            Entry::Publish { message, .. } => Some(&mut message.token),
            Entry::Release { token, .. } => Some(token),
            _ => None,
        }
    }
}

/// Packet identifiers, taken round robin out of a range that grows with what is in flight. So an
/// identifier is not used again at once, and the table stays small.
#[derive(Clone, Hash, Debug)]
pub(super) struct PacketIds {
    /// By identifier; 0 is never used. As long as the identifiers that were taken so far need.
    entries: Vec<Entry>,
    /// The largest identifier of the range.
    room: usize,
    cursor: usize,
    used: usize,
    /// How many of those are [`Entry::Abandoned`].
    abandoned: usize,
}

impl Default for PacketIds {
    fn default() -> Self {
        Self { entries: vec![Entry::Free], room: 0, cursor: 0, used: 0, abandoned: 0 }
    }
}

impl PacketIds {
    /// How many packet identifiers there are.
    const ALL: usize = 65_535;
    /// Room to start with; it doubles when half of it is in use.
    const FEW: usize = 64;

    /// How many stand for something that is under way.
    pub(super) fn in_flight(&self) -> usize {
        self.used - self.abandoned
    }

    /// An identifier to [`PacketIds::put`] something under; `None`: all are in use.
    pub(super) fn vacant(&mut self) -> Option<PacketId> {
        if self.used * 2 >= self.room {
            self.room = (self.room * 2).clamp(Self::FEW, Self::ALL);
        }
        if self.is_full() {
            return None;
        }
        loop {
            // A division would take longer.
            self.cursor = if self.cursor < self.room { self.cursor + 1 } else { 1 };
            if self.cursor == self.entries.len() {
                self.entries.push(Entry::Free);
            }
            if matches!(self.entries[self.cursor], Entry::Free) {
                return PacketId::new(self.cursor as u16);
            }
        }
    }

    /// Fills an identifier that [`PacketIds::vacant`] gave.
    pub(super) fn put(&mut self, id: PacketId, entry: Entry) {
        self.abandoned += usize::from(matches!(entry, Entry::Abandoned { .. }));
        self.entries[usize::from(id.get())] = entry;
        self.used += 1;
    }

    /// Takes over what an earlier session had under an identifier.
    pub(super) fn restore(&mut self, id: PacketId, entry: Entry) {
        let last = usize::from(id.get());
        while self.entries.len() <= last {
            self.entries.push(Entry::Free);
        }
        self.room = self.room.max(last);
        self.free(id);
        self.put(id, entry);
    }

    /// Whether an identifier stands for nothing.
    pub(super) fn is_free(&mut self, id: PacketId) -> bool {
        matches!(self.get(id), Entry::Free)
    }

    /// The first identifier whose entry `which` picks.
    pub(super) fn find(&self, which: &dyn Fn(&Entry) -> bool) -> Option<PacketId> {
        PacketId::new(self.entries.iter().position(which)? as u16)
    }

    /// Whether all are in use.
    pub(super) fn is_full(&self) -> bool {
        self.used == Self::ALL
    }

    /// What an identifier stands for.
    #[inline]
    pub(super) fn get(&mut self, id: PacketId) -> &mut Entry {
        // Out of range is free, and stays so: only a taken identifier is ever written to.
        let at = usize::from(id.get());
        if at < self.entries.len() { &mut self.entries[at] } else { &mut self.entries[0] }
    }

    /// Frees an identifier. The result is what it stood for.
    #[inline]
    pub(super) fn free(&mut self, id: PacketId) -> Entry {
        let entry = core::mem::replace(self.get(id), Entry::Free);
        if !matches!(entry, Entry::Free) {
            self.used -= 1;
            self.abandoned -= usize::from(matches!(entry, Entry::Abandoned { .. }));
        }
        entry
    }

    /// All entries, the free ones too.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PacketId, &mut Entry)> {
        let entries = self.entries.iter_mut().enumerate();
        entries.filter_map(|(id, entry)| Some((PacketId::new(id as u16)?, entry)))
    }

    /// The identifiers of what `which` picks, in the order of the application's calls.
    pub(super) fn in_order(&self, which: fn(&Entry) -> bool) -> Vec<PacketId> {
        let mut heap = Vec::new();
        for (id, entry) in self.entries.iter().enumerate() {
            if let Some(id) = PacketId::new(id as u16).filter(|_| which(entry)) {
                heap.push((entry.order(), id));
            }
        }
        let mut ids = Vec::new();
        for (_, id) in BinaryHeap::from(heap).into_sorted_vec() {
            ids.push(id);
        }
        ids
    }

    /// Takes out what `which` picks, in the same order.
    pub(super) fn drain(&mut self, which: fn(&Entry) -> bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        for id in self.in_order(which) {
            entries.push(self.free(id));
        }
        entries
    }
}
