//! The class that JavaScript sees: one method per verb. Times are milliseconds on a clock that never goes back. What a
//! caller did wrong is thrown as `{ argument, message }`.

mod records;

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use serde::{Deserialize, Serialize};
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

use super::{Broker, BrokerOptions, ConnectionId, InvalidRequest, LoggedPacket, Transmit};
use crate::codec::{ReasonCode, matches};
use crate::session::Instant;
use records::{
    ClientRecord, MessageInput, MessageRecord, OptionsInput, PacketRecord, Pattern, RuleInput,
    TransmitRecord,
};

type Thrown<T> = Result<T, JsValue>;

/// The broker, and those who wait for packets.
#[wasm_bindgen(js_name = Broker)]
pub struct JsBroker {
    broker: RefCell<Broker>,
    waiting: Rc<RefCell<Waiting>>,
}

/// Calls of [`JsBroker::expect`] that have found nothing yet.
#[derive(Default)]
struct Waiting {
    wakers: Vec<Waker>,
    /// Tickets of calls that were withdrawn.
    withdrawn: Vec<u32>,
    /// What was logged, for calls that are polled while nobody has the broker.
    found: Vec<(u32, JsValue)>,
    patterns: Vec<(u32, Pattern)>,
}

#[wasm_bindgen(js_class = Broker)]
impl JsBroker {
    /// `options`: as TestBrokerOptions in the API. `seed`: a random number from 0 to 1.
    #[wasm_bindgen(constructor)]
    pub fn new(options: JsValue, now: f64, seed: f64) -> Thrown<JsBroker> {
        console_error_panic_hook::set_once();
        let options =
            BrokerOptions::try_from(read::<OptionsInput>("options", options)?).map_err(invalid)?;
        let seed = (seed * (1u64 << 53) as f64) as u64;
        let broker = Broker::new(options, instant(now), seed).map_err(invalid)?;
        Ok(Self { broker: RefCell::new(broker), waiting: Rc::default() })
    }

    // ------------------------------------------------------------------------------------ what happened outside

    /// A client has opened a connection. Its number names it from now on.
    pub fn open(&self, now: f64) -> u32 {
        self.broker().handle_open(instant(now)).get()
    }

    /// Bytes of a client.
    pub fn input(&self, now: f64, connection: u32, bytes: &[u8]) {
        self.on(connection, |broker, id| broker.handle_input(instant(now), id, bytes));
    }

    /// A WebSocket frame that is not binary.
    pub fn text(&self, now: f64, connection: u32) {
        self.on(connection, |broker, id| broker.handle_text(instant(now), id));
    }

    /// The client has closed its connection, or it is lost.
    pub fn closed(&self, now: f64, connection: u32) {
        self.on(connection, |broker, id| broker.handle_close(instant(now), id));
    }

    /// The time that [`Self::next_timeout`] named has come.
    pub fn timeout(&self, now: f64) {
        self.change(|broker| broker.handle_timeout(instant(now)));
    }

    // ------------------------------------------------------------------------------------ what must be done now

    /// What is to be sent or closed: `{ connection, bytes }` or `{ connection, end }`; undefined: nothing more.
    pub fn transmit(&self, now: f64) -> Thrown<JsValue> {
        let transmit = self.broker().poll_transmit(instant(now));
        self.answer();
        let Some((id, transmit)) = transmit else { return Ok(JsValue::UNDEFINED) };
        let (bytes, end) = match transmit {
            Transmit::Bytes(bytes) => (Some(records::Bytes(bytes)), None),
            Transmit::Close => (None, Some("close")),
            Transmit::Drop => (None, Some("drop")),
        };
        write(&TransmitRecord { connection: id.get(), bytes, end })
    }

    /// When [`Self::timeout`] must be called; undefined: nothing waits for time to pass.
    #[wasm_bindgen(js_name = nextTimeout)]
    pub fn next_timeout(&self) -> Option<f64> {
        self.broker().poll_timeout().map(milliseconds)
    }

    // ------------------------------------------------------------------------------------ what the test wants

    /// Publishes `{ topic, payload, qos, retain, properties }`.
    pub fn publish(&self, now: f64, message: JsValue) -> Thrown<()> {
        let message = read::<MessageInput>("properties", message)?;
        let properties = message.properties.block().map_err(invalid)?;
        let qos = message.qos().map_err(invalid)?;
        let MessageInput { topic, payload, retain, .. } = message;
        self.change(|broker| {
            let properties = properties.borrow();
            broker.publish(instant(now), &topic, &payload.0, qos, retain, properties)
        })
        .map_err(invalid)
    }

    /// Resolves with the first packet that fits, past or future; undefined: it was withdrawn. `ticket` is any number that
    /// no other call has that waits.
    pub async fn expect(&self, pattern: JsValue, ticket: u32) -> Thrown<JsValue> {
        let pattern = read::<Pattern>("match", pattern)?;
        // This begins in a task of its own, so it may have been withdrawn already.
        if self.waiting.borrow_mut().take_withdrawn(ticket) {
            return Ok(JsValue::UNDEFINED);
        }
        let past = self.broker().packets().find(|logged| pattern.fits(logged)).map(packet);
        if let Some(past) = past {
            return past;
        }
        let pattern = Pattern { seen: self.broker().next_packet(), ..pattern };
        let waiting = self.waiting.clone();
        waiting.borrow_mut().patterns.push((ticket, pattern));
        // The broker may be gone by then: what waits is shared.
        poll_fn(move |context| {
            let waiting = &mut *waiting.borrow_mut();
            if let Some(at) = waiting.found.iter().position(|(found, _)| *found == ticket) {
                return Poll::Ready(Ok(waiting.found.remove(at).1));
            }
            if waiting.take_withdrawn(ticket) {
                return Poll::Ready(Ok(JsValue::UNDEFINED));
            }
            waiting.wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Withdraws a call of [`Self::expect`] that has not returned.
    pub fn withdraw(&self, ticket: u32) {
        let waiting = &mut *self.waiting.borrow_mut();
        if waiting.found.iter().any(|(found, _)| *found == ticket) {
            return;
        }
        waiting.patterns.retain(|(waits, _)| *waits != ticket);
        waiting.withdrawn.push(ticket);
        waiting.wake();
    }

    // ------------------------------------------------------------------------------------ faults

    /// See [`Broker::drop_connections`].
    pub fn drop(&self, now: f64, client_id: Option<String>) {
        self.change(|broker| broker.drop_connections(instant(now), client_id.as_deref()));
    }

    /// See [`Broker::freeze`].
    pub fn freeze(&self, client_id: Option<String>) -> Vec<u32> {
        let frozen = self.broker().freeze(client_id.as_deref());
        frozen.into_iter().map(ConnectionId::get).collect()
    }

    /// See [`Broker::thaw`].
    pub fn thaw(&self, now: f64, connections: Vec<u32>) {
        let connections: Vec<_> = connections.into_iter().filter_map(ConnectionId::new).collect();
        self.change(|broker| broker.thaw(instant(now), &connections));
    }

    /// See [`Broker::disconnect`].
    pub fn disconnect(&self, now: f64, reason: u8, client_id: Option<String>) -> Thrown<()> {
        let reason = ReasonCode(reason);
        self.change(|broker| broker.disconnect(instant(now), reason, client_id.as_deref()))
            .map_err(invalid)
    }

    /// See [`Broker::refuse`].
    pub fn refuse(&self, reason: Option<u8>) -> Thrown<()> {
        self.change(|broker| broker.refuse(reason.map(ReasonCode))).map_err(invalid)
    }

    /// See [`Broker::lose_session`].
    #[wasm_bindgen(js_name = loseSession)]
    pub fn lose_session(&self, client_id: Option<String>) {
        self.change(|broker| broker.lose_session(client_id.as_deref()));
    }

    /// See [`Broker::deny`]; `rule`: `{ publish, subscribe }`.
    pub fn deny(&self, rule: JsValue) -> Thrown<()> {
        let rule = read::<RuleInput>("rule", rule)?;
        self.change(|broker| broker.deny(rule.publish.as_deref(), rule.subscribe.as_deref()))
            .map_err(invalid)
    }

    /// See [`Broker::cut_after`].
    #[wasm_bindgen(js_name = cutAfter)]
    pub fn cut_after(&self, now: f64, bytes: f64, client_id: Option<String>) {
        self.change(|broker| broker.cut_after(instant(now), bytes as u64, client_id.as_deref()));
    }

    /// See [`Broker::delay`].
    pub fn delay(&self, ms: f64) {
        self.change(|broker| broker.delay(ms as u64));
    }

    // ------------------------------------------------------------------------------------ what there is

    /// `[{ clientId, connected, subscriptions }]`.
    pub fn clients(&self) -> Thrown<JsValue> {
        write(&self.broker().clients().map(ClientRecord::from).collect::<Vec<_>>())
    }

    /// `[{ topic, payload, qos, retain, properties }]`.
    pub fn retained(&self, now: f64) -> Thrown<JsValue> {
        let now = instant(now);
        let broker = self.broker();
        write(
            &broker
                .retained(now)
                .map(|message| MessageRecord::new(message, now))
                .collect::<Vec<_>>(),
        )
    }

    /// The packets from number `from` on, as BrokerPacket in the API, each with its `number`.
    pub fn packets(&self, from: f64) -> Thrown<JsValue> {
        let from = from as u64;
        let broker = self.broker();
        let packets = broker.packets().filter(|logged| logged.number >= from);
        write(&packets.map(PacketRecord::from).collect::<Vec<_>>())
    }

    /// The number of the oldest packet that is kept, and the number that the next one will have.
    #[wasm_bindgen(js_name = packetNumbers)]
    pub fn packet_numbers(&self) -> Vec<f64> {
        let broker = self.broker();
        let next = broker.next_packet();
        let first = broker.packets().next().map_or(next, |logged| logged.number);
        vec![first as f64, next as f64]
    }
}

impl JsBroker {
    fn broker(&self) -> RefMut<'_, Broker> {
        self.broker.borrow_mut()
    }

    fn on(&self, connection: u32, what: impl FnOnce(&mut Broker, ConnectionId)) {
        if let Some(id) = ConnectionId::new(connection) {
            self.change(|broker| what(broker, id));
        }
    }

    /// Changes the broker, and answers those who wait for a packet.
    fn change<T>(&self, what: impl FnOnce(&mut Broker) -> T) -> T {
        let result = what(&mut self.broker());
        self.answer();
        result
    }

    fn answer(&self) {
        let waiting = &mut *self.waiting.borrow_mut();
        if waiting.patterns.is_empty() {
            return;
        }
        let broker = self.broker();
        let mut some = false;
        waiting.patterns.retain_mut(|(ticket, pattern)| {
            let from = pattern.seen;
            pattern.seen = broker.next_packet();
            let fits = |logged: &&LoggedPacket| logged.number >= from && pattern.fits(logged);
            let Some(found) = broker
                .packets()
                .rev()
                .take_while(|logged| logged.number >= from)
                .filter(fits)
                .last()
            else {
                return true;
            };
            some = true;
            waiting.found.push((*ticket, packet(found).unwrap_or(JsValue::UNDEFINED)));
            false
        });
        if some {
            waiting.wake();
        }
    }
}

impl Waiting {
    fn take_withdrawn(&mut self, ticket: u32) -> bool {
        let at = self.withdrawn.iter().position(|withdrawn| *withdrawn == ticket);
        at.map(|at| self.withdrawn.remove(at)).is_some()
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl Pattern {
    fn fits(&self, logged: &LoggedPacket) -> bool {
        let is_topic =
            |filter: &str| logged.topic.as_ref().is_some_and(|topic| matches(filter, topic));
        self.r#type == logged.packet_type().name()
            && self.client_id.as_ref().is_none_or(|client_id| **client_id == *logged.client_id)
            && self.topic.as_deref().is_none_or(is_topic)
    }
}

fn packet(logged: &LoggedPacket) -> Thrown<JsValue> {
    write(&PacketRecord::from(logged))
}

/// The latest time that milliseconds can name: far beyond any clock.
fn instant(ms: f64) -> Instant {
    Instant((ms * 1_000.0) as u64)
}

fn milliseconds(instant: Instant) -> f64 {
    instant.0 as f64 / 1_000.0
}

/// An object of JavaScript's.
fn read<T: for<'a> Deserialize<'a>>(argument: &str, value: JsValue) -> Thrown<T> {
    serde_wasm_bindgen::from_value(value).map_err(|error| thrown(argument, &error.to_string()))
}

/// An object for JavaScript; what is not there is left out.
fn write<T: Serialize>(value: &T) -> Thrown<JsValue> {
    let serializer = Serializer::new().serialize_maps_as_objects(true);
    value.serialize(&serializer).map_err(Into::into)
}

fn invalid(error: InvalidRequest) -> JsValue {
    thrown(error.argument, error.what)
}

fn thrown(argument: &str, message: &str) -> JsValue {
    let thrown = js_sys::Object::new();
    for (name, value) in [("argument", argument), ("message", message)] {
        js_sys::Reflect::set(&thrown, &name.into(), &value.into()).expect("a new object");
    }
    thrown.into()
}
