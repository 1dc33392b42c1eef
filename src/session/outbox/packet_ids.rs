//! What is under way to the server, by packet identifier [MQTT5 2.2.1].

use std::collections::BinaryHeap;

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
    },
    Subscribe(Part),
    Unsubscribe(Part),
}

impl Entry {
    fn order(&self) -> u64 {
        match self {
            Entry::Publish { message, .. } => message.order,
            Entry::Release { order, .. } => *order,
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => part.order(),
            Entry::Free => 0,
        }
    }

    /// The token of a message.
    pub(super) fn token(&mut self) -> Option<&mut Option<Token>> {
        match self {
            Entry::Publish { message, .. } => Some(&mut message.token),
            Entry::Release { token, .. } => Some(token),
            Entry::Free | Entry::Subscribe(_) | Entry::Unsubscribe(_) => None,
        }
    }
}

/// Packet identifiers, taken round robin out of a range that grows with what is in flight. So an
/// identifier is not used again at once, and the table stays small.
#[derive(Clone, Hash, Debug)]
pub(super) struct PacketIds {
    /// By identifier; 0 is never used.
    entries: Vec<Entry>,
    cursor: usize,
    used: usize,
}

impl Default for PacketIds {
    fn default() -> Self {
        Self { entries: vec![Entry::Free], cursor: 0, used: 0 }
    }
}

impl PacketIds {
    /// How many packet identifiers there are.
    const ALL: usize = 65_535;
    /// Room to start with; it doubles when half of it is in use.
    const FEW: usize = 64;

    /// How many are in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// An identifier to [`PacketIds::put`] something under; `None`: all are in use.
    pub(super) fn vacant(&mut self) -> Option<PacketId> {
        let mut room = self.entries.len() - 1;
        if self.used * 2 >= room && room < Self::ALL {
            room = (room * 2).clamp(Self::FEW, Self::ALL);
            self.grow(room);
        }
        if self.used == room {
            return None;
        }
        loop {
            self.cursor = self.cursor % room + 1;
            if matches!(self.entries[self.cursor], Entry::Free) {
                return PacketId::new(self.cursor as u16);
            }
        }
    }

    /// Makes room for identifiers up to `last`.
    #[inline(never)]
    fn grow(&mut self, last: usize) {
        while self.entries.len() <= last {
            self.entries.push(Entry::Free);
        }
    }

    /// Fills an identifier that [`PacketIds::vacant`] gave.
    pub(super) fn put(&mut self, id: PacketId, entry: Entry) {
        self.entries[usize::from(id.get())] = entry;
        self.used += 1;
    }

    /// Takes over what an earlier session had under an identifier.
    pub(super) fn restore(&mut self, id: PacketId, entry: Entry) {
        self.grow(usize::from(id.get()));
        self.free(id);
        self.put(id, entry);
    }

    /// Whether an identifier stands for nothing.
    pub(super) fn is_free(&mut self, id: PacketId) -> bool {
        matches!(self.get(id), Entry::Free)
    }

    /// The identifier of the first message that `which` picks.
    pub(super) fn find_message(&self, which: &dyn Fn(&Outgoing) -> bool) -> Option<PacketId> {
        let is_it =
            |entry: &Entry| matches!(entry, Entry::Publish { message, .. } if which(message));
        let at = self.entries.iter().position(is_it)?;
        PacketId::new(at as u16)
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
        let entry = std::mem::replace(self.get(id), Entry::Free);
        if !matches!(entry, Entry::Free) {
            self.used -= 1;
        }
        entry
    }

    /// All entries, the free ones too.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
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
