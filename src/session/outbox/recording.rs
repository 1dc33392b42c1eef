//! Messages of the application as the records of a store, and back.
//!
//! A record is a byte that says what it is, eight bytes with its number, and then: for a message
//! eight bytes with the date when it expires (0: never), and its PUBLISH in the form of MQTT 5; for
//! a release, and one that was given up, its packet identifier.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::{replace, take};
use core::ops::RangeInclusive;

use super::packet_ids::Entry;
use super::waiting::Outgoing;
use super::{Outbox, Up};
use crate::codec::{PacketId, Property, Publish, QoS, Value, Version, check_topic};
use crate::session::error::{Error, ErrorCode};
use crate::session::event::Token;
use crate::session::inbox::Inbox;
use crate::session::journal::{Journal, Key};
use crate::session::outlet::Outlet;
use crate::session::time::Instant;

const WAITING: u8 = 0;
const IN_FLIGHT: u8 = 1;
const RELEASE: u8 = 2;
const RECEIVED: u8 = 3;
const ABANDONED: u8 = 4;

/// The record of a QoS 2 message that was received.
pub(in crate::session) fn received(id: PacketId) -> Vec<u8> {
    begin(RECEIVED, id.get().into())
}

fn begin(kind: u8, number: u64) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend_from_slice(&number.to_be_bytes());
    record
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

impl Outbox {
    /// What an earlier life left in the store, in the order of the keys. `None`: a record is none of
    /// ours.
    pub(in crate::session) fn restored(
        now: Instant,
        journal: &Journal,
        records: &[Vec<u8>],
        inbox: &mut Inbox,
    ) -> Option<Self> {
        let mut outbox = Self::default();
        for record in records {
            let (&kind, rest) = record.split_first()?;
            let (order, rest) = number(rest)?;
            if kind == RECEIVED {
                inbox.restore(PacketId::new(order as u16)?);
                continue;
            }
            if order < outbox.order {
                return None;
            }
            outbox.order = order.checked_add(1)?;
            match (kind, rest) {
                (RELEASE | ABANDONED, &[high, low]) => {
                    let id = PacketId::new(u16::from_be_bytes([high, low]))?;
                    let token = Some(Token::EARLIER);
                    let entry = match kind {
                        RELEASE => Entry::Release { token, order, live: false, losses: 0 },
                        _ => Entry::Abandoned { order },
                    };
                    outbox.ids.restore(id, entry);
                }
                (WAITING | IN_FLIGHT, rest) => {
                    let (expires, packet) = number(rest)?;
                    let left = (expires.saturating_sub(journal.date(now)) / 1_000) as u32;
                    let publish = Publish::decode_whole(packet).ok()?;
                    let id = publish.id.filter(|&id| kind == IN_FLIGHT && outbox.ids.is_free(id));
                    let mut message = Box::new(Outgoing {
                        token: Some(Token::EARLIER),
                        order,
                        topic: check_topic(publish.topic).ok()?.into(),
                        payload: publish.payload.into(),
                        qos: publish.qos,
                        retain: publish.retain,
                        properties: publish.properties.into(),
                        alias: None,
                        expiry: (expires > 0).then_some((now, left)),
                        sent: id.is_some(),
                        withdrawn: false,
                        losses: 0,
                    });
                    let Some(id) = id else {
                        outbox.waiting.append(message);
                        continue;
                    };
                    if expires > 0 {
                        // To some servers, 0 means that it never expires.
                        let left = Value::Four(left.max(1));
                        message.properties.push(Property::MessageExpiryInterval, left);
                    }
                    outbox.ids.restore(id, Entry::Publish { message, live: false });
                }
                _ => return None,
            }
        }
        Some(outbox)
    }

    /// Goes on behind what an earlier life has left: what was published since comes after it, and
    /// is recorded. What has expired meanwhile fails.
    pub(in crate::session) fn follow(&mut self, earlier: Self, out: &mut Outlet) {
        let mut published = replace(self, earlier);
        self.topics = take(&mut published.topics);
        while let Some(mut message) = published.waiting.pop(true, QoS::ExactlyOnce) {
            message.order += self.order;
            out.record(&message, None, true);
            self.waiting.append(message);
        }
        for mut message in published.waiting.drain() {
            message.order += self.order;
            self.waiting.append_outside(message);
        }
        self.order += published.order;
    }

    /// Refuses messages that could not be recorded, by their places in the order.
    #[cold]
    pub(in crate::session) fn refuse(
        &mut self,
        orders: &RangeInclusive<u64>,
        mut up: Option<&mut Up>,
        out: &mut Outlet,
    ) {
        let is_it = |it: &Outgoing| it.qos != QoS::AtMostOnce && orders.contains(&it.order);
        let has_it =
            |entry: &Entry| matches!(entry, Entry::Publish { message, .. } if is_it(message));
        loop {
            let message = if let Some(id) = self.ids.find(&has_it) {
                self.take_unsent(id, up.as_deref_mut(), out)
            } else if let Some(message) = self.waiting.remove(&is_it) {
                message
            } else {
                return;
            };
            let what = "the store did not take the message";
            let error = Error::new(ErrorCode::StoreFailed, what).with_topic(&message.topic);
            out.fail(message.token, error);
        }
    }
}

impl Outlet {
    /// Records a message, if records are kept. `id`: it is in flight. `first`: it was not recorded
    /// before.
    pub(super) fn record(&mut self, message: &Outgoing, id: Option<PacketId>, first: bool) {
        if !self.journal.is_on() || message.qos == QoS::AtMostOnce {
            return;
        }
        let kind = if id.is_some() { IN_FLIGHT } else { WAITING };
        let mut record = begin(kind, message.order);
        let expires = message.expires().map_or(0, |at| self.journal.date(at));
        record.extend_from_slice(&expires.to_be_bytes());
        let publish = message.packet(id.or(PacketId::new(1)), false);
        publish.encode_header(Version::V5, None, message.payload.len(), &mut record);
        record.extend_from_slice(&message.payload);
        self.journal.put(Key::Message(message.order), record, first);
    }

    /// A message that was sent is not sent again. Its record goes, but of QoS 2 a release takes its
    /// place: until the server forgets the identifier, another message would pass for a copy.
    #[cold]
    pub(super) fn withdraw(&mut self, message: &mut Outgoing, id: PacketId) {
        message.withdrawn = true;
        if message.qos == QoS::ExactlyOnce {
            self.record_release(message.order, id, message.order);
        } else {
            self.forget(message);
        }
    }

    /// Records a release in the place of its message, if records are kept.
    pub(super) fn record_release(&mut self, message: u64, id: PacketId, order: u64) {
        self.journal.delete(Key::Message(message));
        self.put_release(RELEASE, id, order);
    }

    /// Records that a release was given up, if records are kept.
    pub(super) fn record_abandoned(&mut self, id: PacketId, order: u64) {
        self.put_release(ABANDONED, id, order);
    }

    fn put_release(&mut self, kind: u8, id: PacketId, order: u64) {
        if self.journal.is_on() {
            let mut record = begin(kind, order);
            record.extend_from_slice(&id.get().to_be_bytes());
            self.journal.put(Key::Release(order), record, false);
        }
    }

    /// A message of the application is done. One of QoS 0 has no record.
    #[inline]
    pub(super) fn forget(&mut self, message: &Outgoing) {
        if message.qos != QoS::AtMostOnce {
            self.journal.delete(Key::Message(message.order));
        }
    }
}
