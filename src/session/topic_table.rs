//! A bounded table of topics, each under a small number. For incoming messages a slot stands for a topic together with
//! the subscription identifiers that came with it, so that topic and routes are worked out once and a message costs one
//! hash; for outgoing ones the number is the topic alias.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::codec::{DecodeError, check_topic};

const EMPTY: u32 = u32::MAX;

/// What the index of a table begins with.
const FEWEST: usize = 16;

/// Counts the changes of the Subscriptions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Epoch(NonZeroU32);

impl Epoch {
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns a number that counts up with the epochs; 0 is before all of them.
    #[inline]
    pub(super) fn number(epoch: Option<Self>) -> u32 {
        epoch.map_or(0, |epoch| epoch.0.get())
    }
}

impl Default for Epoch {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

/// Which messages have come for a slot. From this follows who still needs a stored message.
#[derive(Clone, Copy, Default, Hash, Debug)]
pub(super) struct Seen {
    /// The last epoch in which a message came that was not stored.
    pub live: Option<Epoch>,
    /// The last epoch in which a stored message came.
    pub stored: Option<Epoch>,
    /// How many copies of the stored message are to come that nobody needs: an earlier copy went to
    /// several Subscriptions, and each of their SUBSCRIBEs is answered with one.
    pub spare: usize,
}

#[derive(Clone, Hash, Debug)]
struct Slot {
    hash: u32,
    /// Used since the clock hand passed.
    used: bool,
    /// The epoch of the routes that the caller knows. Another one means that they are worked out
    /// again. `None`: the caller knows routes that are good for one message only.
    epoch: Option<Epoch>,
    seen: Seen,
    topic: Rc<str>,
    identifiers: Rc<[u32]>,
}

impl Slot {
    #[inline]
    fn is(&self, topic: &[u8], identifiers: &[u32]) -> bool {
        same(self.topic.as_bytes(), topic) && self.identifiers.iter().eq(identifiers)
    }
}

/// As `==`, which WebAssembly works out byte by byte: here word by word, the last of which begins wherever it must.
#[inline]
fn same(left: &[u8], right: &[u8]) -> bool {
    let (Some(left_end), Some(right_end)) = (left.last_chunk::<8>(), right.last_chunk()) else {
        return left == right;
    };
    left.len() == right.len()
        && left
            .as_chunks()
            .0
            .iter()
            .zip(right.as_chunks().0)
            .all(|(left, right)| word(left) == word(right))
        && word(left_end) == word(right_end)
}

#[inline]
fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Whether the caller knows what a slot stands for.
pub(super) enum Found {
    Known(u32),
    /// New, or its routes are out of date: tell the application before the message.
    Fresh(u32),
}

/// The slots of incoming messages. Long topics share one, so that a server cannot fill the memory with them.
#[derive(Clone, Hash, Debug)]
pub(super) struct Slots {
    short: Topics,
    long: Topics,
}

/// Number of the slot that long topics share. Those of short topics follow.
const LONG: u32 = 0;
/// Short topics that are remembered at once, unless the application asks for more.
const SHORT: usize = 4096;
/// The most that it can ask for.
const MOST: usize = 131_072;
/// Bytes of a topic and its identifiers from which on it is long.
const LENGTH: usize = 1024;

impl Slots {
    pub(super) fn new() -> Self {
        Self { short: Topics::new(SHORT), long: Topics::new(1) }
    }

    /// Remembers at least so many topics, as far as there may be so many.
    pub(super) fn reserve(&mut self, count: usize) {
        self.short.capacity = self.short.capacity.max(count.min(MOST));
    }

    /// Finds or makes the slot of a message. `epoch` is `None` for a message that is stored or
    /// sent again, which gets routes of its own.
    #[inline]
    pub(super) fn find(
        &mut self,
        topic: &[u8],
        identifiers: &[u32],
        epoch: Option<Epoch>,
    ) -> Result<Found, DecodeError> {
        if topic.len() + size_of_val(identifiers) < LENGTH {
            return Ok(match self.short.find(topic, identifiers, epoch)? {
                Found::Known(number) => Found::Known(number + 1),
                Found::Fresh(number) => Found::Fresh(number + 1),
            });
        }
        self.find_long(topic, identifiers, epoch)
    }

    #[cold]
    #[inline(never)]
    fn find_long(
        &mut self,
        topic: &[u8],
        identifiers: &[u32],
        epoch: Option<Epoch>,
    ) -> Result<Found, DecodeError> {
        Ok(match self.long.find_hashed(topic, identifiers, epoch)? {
            Found::Known(_) => Found::Known(LONG),
            Found::Fresh(_) => Found::Fresh(LONG),
        })
    }

    pub(super) fn topic(&self, slot: u32) -> &Rc<str> {
        &self.slot(slot).topic
    }

    pub(super) fn identifiers(&self, slot: u32) -> &Rc<[u32]> {
        &self.slot(slot).identifiers
    }

    pub(super) fn seen_mut(&mut self, slot: u32) -> &mut Seen {
        match slot {
            LONG => &mut self.long.slots[0].seen,
            _ => &mut self.short.slots[slot as usize - 1].seen,
        }
    }

    fn slot(&self, slot: u32) -> &Slot {
        match slot {
            LONG => &self.long.slots[0],
            _ => &self.short.slots[slot as usize - 1],
        }
    }
}

#[derive(Clone, Hash, Debug)]
pub(super) struct Topics {
    /// Topics remembered at once; beyond, one that was not used for long gives way.
    capacity: usize,
    slots: Vec<Slot>,
    /// Open addressing with linear probing; a power of two, at most half full.
    index: Vec<u32>,
    hand: usize,
    last: usize,
}

impl Topics {
    /// `capacity`: at least 1.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, slots: Vec::new(), index: Vec::new(), hand: 0, last: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() == self.capacity
    }

    /// The slot of a topic with these identifiers. A topic that was not seen before is checked.
    // Almost every message finds its slot here, and a call would cost as much as the comparison.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        topic: &[u8],
        identifiers: &[u32],
        epoch: Option<Epoch>,
    ) -> Result<Found, DecodeError> {
        if let Some(slot) = self.slots.get(self.last)
            && Epoch::number(slot.epoch) == Epoch::number(epoch)
            && slot.is(topic, identifiers)
        {
            return Ok(Found::Known(self.last as u32));
        }
        self.find_hashed(topic, identifiers, epoch)
    }

    fn find_hashed(
        &mut self,
        topic: &[u8],
        identifiers: &[u32],
        epoch: Option<Epoch>,
    ) -> Result<Found, DecodeError> {
        let hash = hash(topic, identifiers);
        if let Some(number) = self.lookup(hash, topic, identifiers) {
            self.last = number;
            let slot = &mut self.slots[number];
            slot.used = true;
            if slot.epoch == epoch {
                return Ok(Found::Known(number as u32));
            }
            slot.epoch = epoch;
            slot.seen.live = epoch.or(slot.seen.live);
            return Ok(Found::Fresh(number as u32));
        }
        let text = check_topic(topic)?;
        let slot = Slot {
            hash,
            used: true,
            epoch,
            seen: Seen { live: epoch, ..Seen::default() },
            topic: text.into(),
            identifiers: identifiers.into(),
        };
        let number = self.place(slot);
        self.last = number;
        Ok(Found::Fresh(number as u32))
    }

    fn lookup(&self, hash: u32, topic: &[u8], identifiers: &[u32]) -> Option<usize> {
        let mask = self.index.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        while self.index[at] != EMPTY {
            let number = self.index[at] as usize;
            let slot = &self.slots[number];
            if slot.hash == hash && slot.is(topic, identifiers) {
                return Some(number);
            }
            at = (at + 1) & mask;
        }
        None
    }

    pub(super) fn contains(&self, topic: &str) -> bool {
        self.lookup(hash(topic.as_bytes(), &[]), topic.as_bytes(), &[]).is_some()
    }

    fn place(&mut self, slot: Slot) -> usize {
        let number = if self.slots.len() < self.capacity {
            self.slots.push(slot);
            if self.slots.len() * 2 > self.index.len() {
                self.grow();
                return self.slots.len() - 1;
            }
            self.slots.len() - 1
        } else {
            while self.slots[self.hand].used {
                self.slots[self.hand].used = false;
                self.hand = (self.hand + 1) % self.capacity;
            }
            let number = self.hand;
            self.hand = (self.hand + 1) % self.capacity;
            self.unlink(number);
            self.slots[number] = slot;
            number
        };
        self.link(number);
        number
    }

    /// Makes the index twice as large, for all slots that there are.
    #[cold]
    fn grow(&mut self) {
        self.index = vec![EMPTY; (self.index.len() * 2).max(FEWEST)];
        for number in 0..self.slots.len() {
            self.link(number);
        }
    }

    /// Puts a slot into the index.
    fn link(&mut self, number: usize) {
        let mask = self.index.len() - 1;
        let mut at = self.slots[number].hash as usize & mask;
        while self.index[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.index[at] = number as u32;
    }

    /// Takes a slot out of the index and moves up those that had to step over it.
    fn unlink(&mut self, number: usize) {
        let mask = self.index.len() - 1;
        let mut hole = self.slots[number].hash as usize & mask;
        while self.index[hole] as usize != number {
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let other = self.index[at];
            if other == EMPTY {
                break;
            }
            let home = self.slots[other as usize].hash as usize;
            // The entry may fill the hole unless its home lies between the hole and where it stands.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.index[hole] = other;
                hole = at;
            }
        }
        self.index[hole] = EMPTY;
    }
}

/// Words of eight bytes, multiplied and folded: topics are short and differ near their end. The multiplier is odd and
/// without pattern; a server that aims at collisions gains a scan of at most all slots.
#[inline]
fn hash(topic: &[u8], identifiers: &[u32]) -> u32 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut h = topic.len() as u64;
    let (words, rest) = topic.as_chunks::<8>();
    for bytes in words {
        h = (h.rotate_left(5) ^ word(bytes)).wrapping_mul(K);
    }
    let mut tail = 0;
    for &byte in rest {
        tail = tail << 8 | u64::from(byte);
    }
    h = (h.rotate_left(5) ^ tail).wrapping_mul(K);
    for &identifier in identifiers {
        h = (h.rotate_left(5) ^ u64::from(identifier)).wrapping_mul(K);
    }
    (h >> 32) as u32
}
