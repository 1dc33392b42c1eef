//! What a store keeps of the session: the changes that are to be written, and what waits for them.
//!
//! Changes are collected while others are written, and go together into the next write. What may
//! leave only when its record is kept says so by the [`Batch`] that the record is in.

use alloc::vec::Vec;
use core::mem::{replace, swap, take};
use core::ops::RangeInclusive;

use super::Session;
use super::connection::Stage;
use super::error::{Error, ErrorCode};
use super::event::{AttemptId, Command, Event, State};
use super::outbox::Outbox;
use super::time::Instant;
use crate::codec::PacketId;

/// How long after a failed write the next one is tried, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// Names a record.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub enum Key {
    /// A message of the application, by its place in the order of all of them.
    Message(u64),
    /// The release of a message of the application, which has a place in the same order.
    Release(u64),
    /// A QoS 2 message of the server that was received and not released.
    Received(PacketId),
}

impl Key {
    /// The key as a number: of a message or a release its place in the order, of a received identifier one below
    /// zero.
    pub fn number(self) -> i64 {
        match self {
            Self::Message(order) | Self::Release(order) => order as i64,
            Self::Received(id) => -i64::from(id.get()),
        }
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
    /// What the next write takes: the last change of each record, in the order of the keys. So a store
    /// that takes its time makes the session keep no more than one record of each message.
    collected: Vec<Change>,
    /// Something waits for the next write.
    urgent: bool,
    /// What the write that is under way takes; empty: there is none.
    writing: Vec<Change>,
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
    /// There is a store, which must be read first.
    pub(super) fn await_store(&mut self) {
        self.keeping = Keeping::Unread;
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
        self.push(Change { key, value: Some(value), first });
        self.urgent = true;
    }

    /// Deletes a record, if records are kept.
    pub(super) fn delete(&mut self, key: Key) {
        self.delete_later(key);
        self.urgent = true;
    }

    /// Deletes a record, if records are kept. That may wait for another write: without it, the next
    /// life sends once more what the server has acknowledged, which does no harm.
    #[inline]
    pub(super) fn delete_later(&mut self, key: Key) {
        if self.is_on() {
            self.push(Change { key, value: None, first: false });
        }
    }

    #[inline(never)]
    fn push(&mut self, mut change: Change) {
        let number = change.key.number();
        match self.collected.binary_search_by_key(&number, |other| other.key.number()) {
            Err(at) => self.collected.insert(at, change),
            // It was not written yet, and is not wanted any more. But one change stays: something may
            // wait for the batch.
            Ok(at)
                if self.collected[at].first
                    && change.value.is_none()
                    && self.collected.len() > 1 =>
            {
                self.collected.remove(at);
            }
            Ok(at) => {
                change.first |= self.collected[at].first;
                self.collected[at] = change;
            }
        }
    }

    /// The next write begins as soon as it can.
    #[inline]
    pub(super) fn hurry(&mut self) {
        self.urgent = true;
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

    /// Whether a write is to begin.
    #[inline]
    pub(super) fn has_write(&self) -> bool {
        self.urgent
            && !self.collected.is_empty()
            && self.writing.is_empty()
            && self.retry_at.is_none()
    }

    /// Begins a write, if there is one to begin: of [`Journal::writing`]. One is under way at a
    /// time.
    pub(super) fn begin_write(&mut self) -> bool {
        let begins = self.has_write();
        if begins {
            swap(&mut self.collected, &mut self.writing);
            self.urgent = false;
            self.begun += 1;
        }
        begins
    }

    /// The changes of the write that is under way.
    pub(super) fn writing(&self) -> &[Change] {
        &self.writing
    }

    /// The write that was under way is kept.
    pub(super) fn handle_kept(&mut self) {
        self.writing.clear();
        self.kept = Batch(self.begun);
        self.failing = false;
    }

    /// The write that was under way has failed. What it held is written later, but for messages
    /// that were not taken: the result are their places in the order. The flag: it is the first
    /// failure in a row.
    pub(super) fn handle_failed(&mut self, now: Instant) -> (RangeInclusive<u64>, bool) {
        let (mut first, mut last) = (None, 0);
        for change in &self.writing {
            if let Change { key: Key::Message(order), first: true, .. } = change {
                first.get_or_insert(*order);
                last = *order;
            }
        }
        // Messages are recorded in their order, so there are no others between them.
        let refused = first.unwrap_or(1)..=last;
        let is_refused =
            |change: &Change| matches!(change.key, Key::Message(order) if refused.contains(&order));
        let later = replace(&mut self.collected, take(&mut self.writing));
        for change in later {
            self.push(change);
        }
        // There is nothing to delete.
        self.collected.retain(|change| !is_refused(change));
        if self.collected.is_empty() {
            // Nothing waits for it any more, nor for what would have come behind it.
            self.begun += 1;
            self.kept = Batch(self.begun);
        }
        self.urgent = true;
        self.retry_at = Some(now.after_ms(RETRY_MS));
        (refused, !replace(&mut self.failing, true))
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
        self.writing.append(&mut self.collected);
        swap(&mut self.collected, &mut self.writing);
        self.retry_at = None;
        self.urgent = true;
        self.keeping = Keeping::Nothing;
    }
}

// What the session and the store ask of each other.
impl Session {
    /// Asks what the store holds.
    pub(super) fn load(&mut self) {
        let id = self.attempts.supersede();
        self.stage = Stage::Loading;
        self.out.events.enter(State::Connecting);
        self.out.commands.push_back(Command::Load { id });
    }

    /// The store was read: what it holds is taken over, and the first attempt begins.
    fn loaded(&mut self, now: Instant, since_epoch_ms: u64, records: Result<Vec<Vec<u8>>, ()>) {
        let mut what = "the store could not be read";
        if let Ok(records) = records {
            self.out.journal.open(now, since_epoch_ms);
            let journal = &self.out.journal;
            if let Some(earlier) = Outbox::restored(now, journal, &records, &mut self.inbox) {
                self.outbox.follow(earlier, &mut self.out);
                self.outbox.expire(now, &mut self.out);
                return self.attempt();
            }
            what = "the store holds what this client did not write";
            self.out.journal.await_store();
            self.inbox.session_lost(&mut self.out);
        }
        self.stage = Stage::Idle;
        self.out.events.enter(State::Idle);
        let error = Error::new(ErrorCode::StoreFailed, what);
        self.out.events.push(Event::ConnectFailed(error));
    }

    /// The store was read, or could not be. `records`: the values, in the order of the keys. `since_epoch_ms`:
    /// the calendar's time, in milliseconds; messages expire by it while no client lives.
    pub fn handle_loaded(
        &mut self,
        now: Instant,
        id: AttemptId,
        since_epoch_ms: u64,
        records: Result<Vec<Vec<u8>>, ()>,
    ) {
        if id == self.attempts.id() && matches!(self.stage, Stage::Loading) {
            self.loaded(now, since_epoch_ms, records);
            self.progress(now);
        }
    }

    /// The store has kept all changes of the last [`Command::Store`], or none of them. What is not
    /// kept is written again later, but for messages that were not taken before: they fail.
    pub fn handle_stored(&mut self, now: Instant, kept: bool) {
        if !self.out.journal.is_on() {
            return;
        }
        if kept {
            self.out.journal.handle_kept();
        } else {
            let (refused, first) = self.out.journal.handle_failed(now);
            if first {
                let what = "the store could not be written";
                self.out.report(Error::new(ErrorCode::StoreFailed, what));
            }
            self.outbox.refuse(&refused, self.stage.up_mut(), &mut self.out);
        }
        self.send_requests();
        self.send_waiting(now);
        self.progress(now);
    }

    /// What changes in the store, in order: all of it or nothing.
    pub fn changes(&self) -> &[Change] {
        self.out.journal.writing()
    }

    /// Whether there is something for the store to write, which can wait for the end of the turn.
    #[inline]
    pub fn has_changes(&self) -> bool {
        self.out.journal.has_write()
    }
}
