//! Messages of the application as the records of a store, and back.
//!
//! A record is a byte that says what it is, eight bytes with its number, and then: for a message
//! eight bytes with the date when it expires (0: never), and its PUBLISH in the form of MQTT 5; for
//! a release its packet identifier.

use super::packet_ids::Entry;
use super::waiting::Outgoing;
use super::{Outbox, Up};
use crate::codec::{PacketId, PacketType, Publish, QoS, Version, check_topic};
use crate::session::error::{Error, ErrorCode};
use crate::session::event::{Token, keep};
use crate::session::inbox::Inbox;
use crate::session::journal::{Journal, Key};
use crate::session::outlet::Outlet;
use crate::session::time::Instant;

const WAITING: u8 = 0;
const IN_FLIGHT: u8 = 1;
const RELEASE: u8 = 2;
const RECEIVED: u8 = 3;

/// The record of a QoS 2 message that was received.
pub(in crate::session) fn received(id: PacketId) -> Vec<u8> {
    begin(RECEIVED, id.get().into())
}

fn begin(kind: u8, number: u64) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend_from_slice(&number.to_be_bytes());
    record
}

/// What a store held, in the order of the messages.
pub(in crate::session) struct Records {
    received: Vec<PacketId>,
    outgoing: Vec<(u64, Restored)>,
}

enum Restored {
    Message(Option<PacketId>, Box<Outgoing>),
    Release(PacketId),
}

impl Records {
    /// Reads the records of a store, in any order. `None`: one of them is none of ours.
    pub(in crate::session) fn read(
        now: Instant,
        journal: &Journal,
        records: &[Vec<u8>],
    ) -> Option<Self> {
        let mut all = Self { received: Vec::new(), outgoing: Vec::new() };
        for record in records {
            let (&kind, rest) = record.split_first()?;
            let (number, rest) = number(rest)?;
            if kind == RECEIVED {
                all.received.push(PacketId::new(number as u16)?);
                continue;
            }
            let restored = match (kind, rest) {
                (RELEASE, &[high, low]) => {
                    Restored::Release(PacketId::new(u16::from_be_bytes([high, low]))?)
                }
                (WAITING | IN_FLIGHT, rest) => {
                    let (expires, packet) = self::number(rest)?;
                    let left = expires.saturating_sub(journal.date(now)) / 1_000;
                    let expiry = (expires > 0).then_some((now, left as u32));
                    let (id, message) = message(number, expiry, packet)?;
                    Restored::Message(id.filter(|_| kind == IN_FLIGHT), message)
                }
                _ => return None,
            };
            all.outgoing.push((number, restored));
        }
        all.outgoing.sort_unstable_by_key(|(order, _)| *order);
        Some(all)
    }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn message(
    order: u64,
    expiry: Option<(Instant, u32)>,
    packet: &[u8],
) -> Option<(Option<PacketId>, Box<Outgoing>)> {
    let publish = Publish::decode_whole(packet).ok()?;
    let message = Outgoing {
        token: Some(Token::EARLIER),
        order,
        topic: check_topic(publish.topic).ok()?.into(),
        payload: publish.payload.into(),
        qos: publish.qos,
        retain: publish.retain,
        properties: publish.properties.into(),
        alias: None,
        expiry,
        sent: true,
        cuts: 0,
    };
    Some((publish.id, Box::new(message)))
}

impl Outbox {
    /// Takes over what an earlier session left in the store. What was published since comes after
    /// it, and is recorded.
    pub(in crate::session) fn restore(
        &mut self,
        records: Records,
        inbox: &mut Inbox,
        out: &mut Outlet,
    ) {
        for id in records.received {
            inbox.restore(id);
        }
        let published = self.waiting.drain();
        let next = records.outgoing.last().map_or(0, |(order, _)| order.wrapping_add(1));
        for (order, restored) in records.outgoing {
            match restored {
                Restored::Message(Some(id), message) if self.ids.is_free(id) => {
                    self.ids.restore(id, Entry::Publish { message, live: false });
                }
                Restored::Message(_, message)
                    if message.expiry.is_some_and(|(_, left)| left == 0) =>
                {
                    out.forget(&message);
                    out.fail(message.token, super::expired(&message));
                }
                Restored::Message(_, message) => self.waiting.append(message),
                Restored::Release(id) => {
                    let token = Some(Token::EARLIER);
                    self.ids.restore(id, Entry::Release { token, order, live: false });
                }
            }
        }
        self.order += next;
        for mut message in published {
            message.order += next;
            out.record(&message, None, true);
            self.waiting.append(message);
        }
    }

    /// Refuses messages that could not be recorded, by their places in the order.
    #[cold]
    pub(in crate::session) fn refuse(
        &mut self,
        orders: &[u64],
        mut up: Option<&mut Up>,
        out: &mut Outlet,
    ) {
        for &order in orders {
            let mut refused = self.waiting.remove(&|message| message.order == order);
            if let Some(id) = self.ids.find_message(order) {
                if let Some(up) = &mut up {
                    up.sending.forget(id);
                }
                if let Entry::Publish { message, .. } = self.ids.free(id) {
                    refused = Some(message);
                }
            }
            if let Some(message) = refused {
                let what = "the message could not be recorded";
                let error = Error::new(ErrorCode::StoreFailed, what).with_topic(&message.topic);
                out.fail(message.token, error);
            }
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
        self.journal.put(Key::Outgoing(message.order), record, first);
    }

    /// Records a release in the place of its message, if records are kept.
    pub(super) fn record_release(&mut self, message: u64, id: PacketId, order: u64) {
        if self.journal.is_on() {
            self.journal.delete(Key::Outgoing(message));
            let mut record = begin(RELEASE, order);
            record.extend_from_slice(&id.get().to_be_bytes());
            self.journal.put(Key::Outgoing(order), record, false);
        }
    }

    /// A message of the application is done. One of QoS 0 has no record.
    #[inline]
    pub(super) fn forget(&mut self, message: &Outgoing) {
        if message.qos != QoS::AtMostOnce {
            self.journal.delete(Key::Outgoing(message.order));
        }
    }
}

impl super::Sending {
    /// A message is not to be sent.
    fn forget(&mut self, id: PacketId) {
        let held = self.held.len();
        keep(&mut self.held, |held| (held.kind, held.id) != (PacketType::Publish, id));
        self.live -= (held - self.held.len()) as u32;
        self.resend.retain(|&other| other != id);
    }
}
