//! Records: how messages, and answers that are only a number, cross to JavaScript. A record is a few words of 32 bits; the
//! low bits of the first say of which kind it is.
//!
//! | kind | words |
//! |---|---|
//! | [`MESSAGE`] | kind, QoS, flags and slot; where the payload begins; its length; the sequence, if the QoS is 1 or 2; where the properties begin and their length, if there are some |
//! | [`SLOT`] | kind and slot; where the topic begins; its length; how many routes; how many identifiers; the routes; the identifiers |
//! | [`DONE`] | kind and reason code; the token |
//! | [`EVENT`] | kind; the index of the event, for [`Records::take_event`] |
//!
//! `src/js/core/records.ts` reads them. `scripts/records.mjs` writes these constants there.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::mem::take;

use spin::Mutex;

use crate::session::{Event, Session};

/// Words are needed during a call only, so some serve all clients.
static SPARE: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The bits of the first word that say of which kind the record is.
pub const KIND: u32 = 0xF;
/// A received message.
pub const MESSAGE: u32 = 1;
/// What the messages of a slot have in common: the topic, the Subscriptions, the subscription identifiers.
pub const SLOT: u32 = 2;
/// A call has succeeded.
pub const DONE: u32 = 3;
/// An event that crosses as an object.
pub const EVENT: u32 = 4;
/// Where the QoS of a message begins, two bits.
pub const QOS_SHIFT: u32 = 4;
/// Set where the message has the retain flag.
pub const RETAIN: u32 = 1 << 6;
/// Set where the message has the DUP flag.
pub const DUP: u32 = 1 << 7;
/// Set where the message has properties of its own.
pub const HAS_PROPERTIES: u32 = 1 << 8;
/// Set where offsets are addresses in memory. Otherwise they count from the beginning of the chunk.
pub const IN_MEMORY: u32 = 1 << 9;
/// Where the slot begins, up to the last bit.
pub const SLOT_SHIFT: u32 = 12;
/// Where the reason code of DONE begins, eight bits.
pub const REASON_SHIFT: u32 = 8;

/// The records of one batch, and what they point to.
#[derive(Default)]
pub struct Records {
    words: Vec<u32>,
    /// Events that JavaScript takes as objects.
    events: Vec<Option<Event>>,
    /// Topics that lie in memory until the batch is read.
    topics: Vec<Rc<str>>,
}

impl Records {
    /// Writes all events of the session. False: there are none.
    pub fn write(&mut self, session: &mut Session) -> bool {
        let assembled = session.assembled().as_ptr() as u32;
        self.words = take(&mut *SPARE.lock());
        while let Some(event) = session.poll_event() {
            let Event::Message(message) = event else {
                self.write_other(event);
                continue;
            };
            // There is nothing in a message to drop, which the compiler does not see.
            core::mem::forget(event);
            let base = if message.assembled { assembled } else { 0 };
            let has_properties = message.properties.len > 0;
            let flag = |flag: bool, bit: u32| if flag { bit } else { 0 };
            let head = MESSAGE
                | (message.qos as u32) << QOS_SHIFT
                | flag(message.retain, RETAIN)
                | flag(message.dup, DUP)
                | flag(has_properties, HAS_PROPERTIES)
                | flag(message.assembled, IN_MEMORY)
                | message.slot << SLOT_SHIFT;
            self.words.extend_from_slice(&[
                head,
                base + message.payload.start,
                message.payload.len,
            ]);
            if let Some(sequence) = message.sequence {
                self.words.push(sequence.get());
            }
            if has_properties {
                self.words
                    .extend_from_slice(&[base + message.properties.start, message.properties.len]);
            }
        }
        let any = !self.words.is_empty();
        if !any {
            *SPARE.lock() = self.take_words();
        }
        any
    }

    /// Apart from messages: engines optimise function by function.
    #[inline(never)]
    fn write_other(&mut self, event: Event) {
        match event {
            Event::Slot { slot, topic, routes, identifiers } => {
                let counts = [routes.len() as u32, identifiers.len() as u32];
                self.words.extend_from_slice(&[
                    SLOT | slot << SLOT_SHIFT,
                    topic.as_ptr() as u32,
                    topic.len() as u32,
                ]);
                self.words.extend_from_slice(&counts);
                self.words.extend(routes.iter().map(|handle| handle.0));
                self.words.extend_from_slice(&identifiers);
                self.topics.push(topic);
            }
            Event::Published { token, reason, properties: None } => {
                self.words
                    .extend_from_slice(&[DONE | u32::from(reason.0) << REASON_SHIFT, token.get()]);
            }
            event => {
                self.words.extend_from_slice(&[EVENT, self.events.len() as u32]);
                self.events.push(Some(event));
            }
        }
    }

    /// The words, so that nothing is borrowed while JavaScript reads them.
    pub fn take_words(&mut self) -> Vec<u32> {
        take(&mut self.words)
    }

    /// The batch has been read. `words` are those that were taken: their memory is used again.
    pub fn clear(&mut self, mut words: Vec<u32>) {
        words.clear();
        *SPARE.lock() = words;
        self.events.clear();
        self.topics.clear();
    }

    /// An event of the batch; each can be taken once.
    pub fn take_event(&mut self, index: usize) -> Option<Event> {
        self.events.get_mut(index).and_then(Option::take)
    }
}
