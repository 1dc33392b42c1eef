//! What a store keeps of the session: the changes that are to be written, and what waits for them.
//!
//! Changes are collected while others are written, and go together into the next write. What may
//! leave only when its record is kept says so by the [`Batch`] that the record is in.

use std::rc::Rc;

use super::time::Instant;
use crate::codec::PacketId;

/// How long after a failed write the next one is tried, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Names a record.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum Key {
    /// A message of the application, or its release, by its place in the order of all of them.
    Outgoing(u64),
    /// A QoS 2 message of the server that was received and not released.
    Received(PacketId),
}

impl Key {
    /// The key as the store gets it. Keys of one kind sort by their numbers.
    pub fn text(self) -> String {
        let (kind, digits, number) = match self {
            Self::Outgoing(order) => ('o', 16, order),
            Self::Received(id) => ('r', 4, u64::from(id.get())),
        };
        let mut text = String::from(kind);
        for digit in (0..digits).rev() {
            text.push(char::from(b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]));
        }
        text
    }
}

/// One record that is written or deleted.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which record.
    pub key: Key,
    /// What it holds from here on; `None`: it is deleted.
    pub value: Option<Vec<u8>>,
    /// It is the first record of a message: without it, the message is not taken.
    pub(super) first: bool,
}

/// Names the changes that are written together. Those of a batch that failed go into a later one.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Batch(u64);

impl Batch {
    /// What is always written.
    pub(super) const NONE: Self = Self(0);
}

/// Whether there is a store, and how far it is.
#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, Debug)]
enum Keeping {
    /// There is no store, or the session is at its end.
    #[default]
    Nothing,
    /// The store was not asked yet what it holds.
    Unread,
    /// Every change is recorded.
    Everything,
}

/// Changes on their way to the store.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Journal {
    keeping: Keeping,
    /// What the next write takes.
    collected: Vec<Change>,
    writing: Option<Rc<[Change]>>,
    /// How many writes have begun.
    begun: u64,
    /// The last of them that was kept.
    kept: Batch,
    /// After a failure: when to try again.
    retry_at: Option<Instant>,
    /// The last write has failed.
    failing: bool,
    /// Milliseconds from the epoch of the calendar to that of the session's clock.
    calendar: u64,
}

impl Journal {
    /// A journal that waits for the store to be read, or one of nothing.
    pub(super) fn new(has_store: bool) -> Self {
        let keeping = if has_store { Keeping::Unread } else { Keeping::Nothing };
        Self { keeping, ..Self::default() }
    }

    /// Whether changes are recorded.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.keeping == Keeping::Everything
    }

    /// Whether the store must be read before the first connection.
    pub(super) fn is_unread(&self) -> bool {
        self.keeping == Keeping::Unread
    }

    /// The store was read. `since_epoch_ms`: the calendar's time, in milliseconds.
    pub(super) fn open(&mut self, now: Instant, since_epoch_ms: u64) {
        self.keeping = Keeping::Everything;
        self.calendar = since_epoch_ms.saturating_sub(now.0 / 1_000);
    }

    /// An instant as milliseconds of the calendar.
    pub(super) fn date(&self, at: Instant) -> u64 {
        self.calendar + at.0 / 1_000
    }

    // ------------------------------------------------------------------------------- changes

    /// Records what a key stands for.
    pub(super) fn put(&mut self, key: Key, value: Vec<u8>, first: bool) {
        self.collected.push(Change { key, value: Some(value), first });
    }

    /// Deletes a record, if records are kept.
    #[inline]
    pub(super) fn delete(&mut self, key: Key) {
        if self.is_on() {
            self.collected.push(Change { key, value: None, first: false });
        }
    }

    /// The batch of the last change.
    #[inline]
    pub(super) fn last(&self) -> Batch {
        Batch(self.begun + u64::from(!self.collected.is_empty()))
    }

    /// Whether the changes of a batch are kept.
    #[inline]
    pub(super) fn is_kept(&self, batch: Batch) -> bool {
        batch <= self.kept
    }

    // -------------------------------------------------------------------------------- writes

    /// Whether [`Journal::next_write`] has something.
    #[inline]
    pub(super) fn has_write(&self) -> bool {
        !self.collected.is_empty() && self.writing.is_none() && self.retry_at.is_none()
    }

    /// The changes to write next. One write is under way at a time.
    pub(super) fn next_write(&mut self) -> Option<Rc<[Change]>> {
        if !self.has_write() {
            return None;
        }
        let changes: Rc<[Change]> = std::mem::take(&mut self.collected).into();
        if self.is_on() {
            self.begun += 1;
            self.writing = Some(changes.clone());
        }
        Some(changes)
    }

    /// The write that was under way is kept.
    pub(super) fn handle_kept(&mut self) {
        if self.writing.take().is_some() {
            self.kept = Batch(self.begun);
            self.failing = false;
        }
    }

    /// The write that was under way has failed. What it held is written later, but for messages
    /// that were not taken: the result are their places in the order. The flag: it is the first
    /// failure in a row.
    pub(super) fn handle_failed(&mut self, now: Instant) -> Option<(Vec<u64>, bool)> {
        let writing = self.writing.take()?;
        let mut refused = Vec::new();
        for change in &*writing {
            if let (true, Key::Outgoing(order)) = (change.first, change.key) {
                refused.push(order);
            }
        }
        let later = std::mem::take(&mut self.collected);
        let is_refused =
            |key| matches!(key, Key::Outgoing(order) if refused.binary_search(&order).is_ok());
        for change in writing.iter().cloned().chain(later) {
            if !is_refused(change.key) {
                self.collected.push(change);
            }
        }
        self.retry_at = Some(now.after_ms(RETRY_MS));
        Some((refused, !std::mem::replace(&mut self.failing, true)))
    }

    /// When [`Journal::handle_timeout`] must be called.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Time has gone by.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
    }

    /// The session is at its end. What is under way is written once more with the rest, because
    /// nobody hears any more whether it was kept.
    pub(super) fn close(&mut self) {
        let later = std::mem::take(&mut self.collected);
        self.collected = self.writing.take().map_or(Vec::new(), |writing| writing.to_vec());
        self.collected.extend(later);
        self.retry_at = None;
        self.keeping = Keeping::Nothing;
    }
}
