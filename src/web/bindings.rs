//! The class that JavaScript sees: one method per verb. What a caller did wrong is thrown as `{ argument, message }` by the
//! methods that return nothing, and kept for [`Core::refusal`] where a negative number says that there is something.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::wasm32::memory_size;
use core::cell::{Cell, RefCell};
use core::hint::black_box;
use core::mem::take;

use js_sys::{Array, Date, Uint8Array};
use spin::Mutex;
use wasm_bindgen::prelude::*;
use web_sys::MessageEvent;

use super::host::CoreHost;
use super::link::{Link, strings};
use super::objects;
use crate::codec::{
    self, PacketSet, Properties, QoS, ReasonCode, SubscribeOptions, Version, check_filter,
    check_topic,
};
use crate::driver::Host;
use crate::options::{Draft, DraftKind, InvalidArgument, Options, Value, Will};
use crate::session::{Accepted, Error, FRAME, Handle, Instant, Sequence, Session, Token};

type Thrown<T> = Result<T, JsValue>;

/// What is wrong where a number from our own JavaScript is.
const OURS: &str = "our own JavaScript sees to it";

/// Bytes of a page of the memory.
const PAGE: usize = 65_536;

/// What JavaScript says before it makes a call.
#[derive(Default)]
struct Desk {
    /// Properties of the next call, by name.
    draft: Vec<(String, Value)>,
    refusal: Option<Box<Error>>,
}

/// The payload of the next publish, of whichever client.
static PAYLOAD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[cfg(not(feature = "std"))]
#[wasm_bindgen]
extern "C" {
    /// Throws an error that says where the panic was. The build writes it, and makes a number of each place: scripts/panics.mjs.
    fn panicked(place: usize);
}

#[cfg(not(feature = "std"))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    panicked(info.location().map_or(0, |place| core::ptr::from_ref(place).addr()));
    core::arch::wasm32::unreachable()
}

/// One client.
#[wasm_bindgen]
pub struct Core {
    link: Link,
    desk: RefCell<Desk>,
    /// Pages of the memory when it was looked at last.
    pages: Cell<usize>,
}

#[wasm_bindgen]
impl Core {
    /// Makes the client's only session. `seed` is a random number from 0 to 1. `options` holds the leaves of the options
    /// as path, value, path, value and so on, those of the will among them. Throws what is wrong with one of them.
    #[wasm_bindgen(constructor)]
    pub fn new(host: CoreHost, seed: f64, options: &Array) -> Thrown<Core> {
        let mut checked = Options::new();
        let mut asks_verdict = false;
        for (path, value) in leaves(options) {
            if path == ASKS_VERDICT {
                asks_verdict = value == Value::Bool(true);
            } else {
                checked.set(&path, value).map_err(objects::invalid)?;
            }
        }
        let seed = (seed * (1u64 << 53) as f64) as u64;
        let mut session = Session::new(checked, seed).map_err(objects::invalid)?;
        session.ask_verdict(asks_verdict);
        Ok(Core {
            link: Link::new(host, session),
            desk: RefCell::default(),
            pages: Cell::new(memory_size::<0>()),
        })
    }

    /// Sets the will of the next CONNECT: its leaves as in the options, or `undefined` for none.
    #[wasm_bindgen(js_name = setWill)]
    pub fn set_will(&self, will: Option<Array>) -> Thrown<()> {
        let will = match will {
            Some(given) => {
                let mut will = Will::default();
                for (path, value) in leaves(&given) {
                    will.set(&path, value).map_err(objects::invalid)?;
                }
                Some(will)
            }
            None => None,
        };
        self.session(|session| session.set_will(will)).map_err(objects::invalid)
    }

    /// Connects, or tries again at once where the client waits to.
    pub fn connect(&self) {
        self.link.session().connect();
    }

    /// Gives up the first connection while it is being made.
    pub fn abandon(&self) {
        let now = self.now();
        self.link.session().abandon(now);
    }

    /// Drops the connection, if any, and connects at once.
    pub fn reconnect(&self) {
        let now = self.now();
        self.link.session().reconnect(now);
    }

    /// Asks whether the connection lives, or makes the next attempt at once.
    pub fn check(&self) {
        let now = self.now();
        self.link.session().check(now);
    }

    /// Ends the client, after `timeout` milliseconds at the latest. Throws what is wrong with the
    /// reason code or the properties.
    pub fn end(&self, timeout: f64, force: bool, reason_code: u8) -> Thrown<()> {
        let draft = self.draft(DraftKind::Disconnect).map_err(objects::invalid)?;
        let now = self.now();
        let mut session = self.link.session();
        let ended = session.end(now, timeout as u64, force, ReasonCode(reason_code), draft);
        ended.map_err(objects::invalid)
    }

    /// Does all that the session asks for: what was written leaves, what happened is told.
    pub fn flush(&self) {
        self.link.driver().pump();
    }

    /// The timer has fired.
    pub fn timeout(&self) {
        self.link.driver().timeout();
    }

    /// Goes on with input that waited for the application.
    pub fn resume(&self) {
        self.link.driver().resume();
    }

    /// The socket is open.
    pub fn opened(&self) {
        self.link.opened();
    }

    /// A chunk came from the socket.
    pub fn message(&self, event: MessageEvent) {
        self.link.driver().received(event);
    }

    /// The socket is closed, with this code if one is known.
    pub fn closed(&self, code: Option<u16>) {
        self.link.closed(code);
    }

    /// What came of a promise that [`CoreHost`] was told to follow.
    pub fn settle(&self, attempt: u32, asked: u32, fulfilled: bool, value: JsValue) {
        self.link.settle(attempt, asked, fulfilled.then_some(value));
    }

    /// A property of the next call.
    pub fn property(&self, path: String, value: JsValue) {
        self.desk.borrow_mut().draft.push((path, from_js(value)));
    }

    /// Gives a topic to publish to its number.
    pub fn topic(&self, text: &str) -> Thrown<u32> {
        self.link.session().topic(text).map_err(objects::invalid)
    }

    /// Numbers of topics start over.
    #[wasm_bindgen(js_name = forgetTopics)]
    pub fn forget_topics(&self) {
        self.link.session().forget_topics();
    }

    /// Room for the payload of the next publish; 0: there is none.
    pub fn buffer(&self, len: usize) -> *mut u8 {
        let mut payload = PAYLOAD.lock();
        if payload.len() < len {
            let more = len - payload.len();
            if payload.try_reserve_exact(more).is_err() {
                return core::ptr::null_mut();
            }
            payload.resize(len, 0);
        }
        payload.as_mut_ptr()
    }

    /// `flags`: QoS, 4 for retain, 8 for properties. 0: in the send buffer, 1: the token will complete, -1: see
    /// [`Core::refusal`].
    pub fn publish(&self, topic: u32, len: usize, flags: u32, token: u32) -> i32 {
        let draft = if flags & 8 == 0 {
            None
        } else {
            match self.draft(DraftKind::Publish) {
                Ok(draft) => Some(draft),
                Err(invalid) => return self.refuse(invalid.into()),
            }
        };
        let qos = QoS::from_bits((flags & 3) as u8).expect(OURS);
        let (accepted, full) = {
            let driver = self.link.driver();
            let time = if draft.is_some() { self.now() } else { driver.last_time() };
            let mut session = self.link.session();
            let mut payload = PAYLOAD.lock();
            let accepted = session.publish(
                time,
                topic,
                payload.get(..len).expect(OURS),
                qos,
                flags & 4 != 0,
                draft,
                Token::new(token),
            );
            if len > LARGE {
                *payload = Vec::new();
            }
            (accepted, session.pending_output() >= FRAME)
        };
        if full {
            self.link.driver().transmit();
        }
        match accepted {
            Ok(Accepted::Written) => 0,
            Ok(Accepted::Pending) => {
                self.grow_ahead();
                1
            }
            Err(error) => self.refuse(error),
        }
    }

    /// The allocator makes the memory larger by a page or two. The engine takes all of it for new each time, and collects
    /// garbage: the last of a million messages that wait cost 15 times as much as the first. So once it has grown, it grows
    /// by an eighth more.
    fn grow_ahead(&self) {
        if memory_size::<0>() == self.pages.get() {
            return;
        }
        let mut room = Vec::<u8>::new();
        if room.try_reserve_exact(memory_size::<0>() * (PAGE / 8)).is_ok() {
            // Not optimised away.
            black_box(&mut room);
        }
        drop(room);
        self.pages.set(memory_size::<0>());
    }

    /// `options`: a byte for each filter, as in SUBSCRIBE.
    pub fn subscribe(&self, token: u32, handle: u32, filters: &Array, options: &[u8]) -> i32 {
        let draft = self.draft(DraftKind::Subscribe);
        let subscribe = |draft| -> Result<(), Box<Error>> {
            let filters = with_options(strings(filters), options)?;
            self.session(|session| {
                session.subscribe(Token::new(token), Handle(handle), &filters, draft)
            })
        };
        self.answer(draft.map_err(Into::into).and_then(subscribe))
    }

    /// Ends every Subscription to these filters. 0: the token will complete, -1: see
    /// [`Core::refusal`].
    pub fn unsubscribe(&self, token: u32, filters: &Array) -> i32 {
        let filters = strings(filters);
        let draft = self.draft(DraftKind::Unsubscribe).map_err(Into::into);
        self.answer(draft.and_then(|draft| {
            self.session(|session| session.unsubscribe(Token::new(token), &filters, draft))
        }))
    }

    /// Ends one Subscription. The result is that of [`Core::unsubscribe`].
    #[wasm_bindgen(js_name = unsubscribeHandle)]
    pub fn unsubscribe_handle(&self, token: u32, handle: u32) -> i32 {
        self.answer(
            self.session(|session| {
                session.leave(Token::new(token), Handle(handle), Draft::default())
            }),
        )
    }

    /// Re-authenticates the connection. The result is that of [`Core::unsubscribe`].
    pub fn reauthenticate(&self, token: u32) -> i32 {
        self.answer(self.session(|session| session.reauthenticate(Token::new(token))))
    }

    /// Completes the token when nothing is queued or in flight.
    pub fn drain(&self, token: u32) -> i32 {
        let token = Token::new(token).expect(OURS);
        let now = self.now();
        self.answer(self.session(|session| session.drain(now, token)))
    }

    /// Nobody waits for the token any more.
    pub fn cancel(&self, token: u32) {
        let token = Token::new(token).expect(OURS);
        let now = self.now();
        self.session(|session| session.cancel(now, token));
    }

    /// Why the last call was refused.
    pub fn refusal(&self) -> JsValue {
        self.desk
            .borrow_mut()
            .refusal
            .take()
            .map_or(JsValue::UNDEFINED, |error| objects::error(&error))
    }

    /// Withholds the acknowledgement of a message that is being delivered.
    pub fn hold(&self, sequence: u32) {
        let sequence = Sequence::new(sequence).expect(OURS);
        self.session(|session| session.hold(sequence));
    }

    /// Acknowledges or refuses a message that was held. 0: done, -1: see [`Core::refusal`].
    pub fn ack(&self, sequence: u32, reason_code: u8) -> i32 {
        let sequence = Sequence::new(sequence).expect(OURS);
        self.answer(self.session(|session| session.acknowledge(sequence, ReasonCode(reason_code))))
    }

    /// An event of the batch that is being delivered; once.
    pub fn event(&self, index: usize) -> JsValue {
        self.link.take_event(index)
    }

    /// Remembers the topics of at least so many incoming messages.
    #[wasm_bindgen(js_name = reserveTopics)]
    pub fn reserve_topics(&self, count: usize) {
        self.session(|session| session.reserve_topics(count));
    }

    /// Sets whether every packet is an event.
    pub fn tap(&self, on: bool) {
        self.session(|session| session.tap(on));
    }

    /// Numbers for people and dashboards.
    pub fn stats(&self) -> JsValue {
        let since_epoch = Date::now() - self.now().0 as f64 / 1_000.0;
        objects::stats(&self.session(|session| session.stats()), since_epoch)
    }
}

/// The path of what is no option of the session: whether JavaScript has a say in each retry.
const ASKS_VERDICT: &str = "reconnect.shouldRetry";

/// Payload bytes from which on the scratch is given back after use.
const LARGE: usize = 1024 * 1024;

impl Core {
    fn now(&self) -> Instant {
        self.link.driver().host().now()
    }

    fn session<T>(&self, call: impl FnOnce(&mut Session) -> T) -> T {
        call(&mut self.link.session())
    }

    /// The properties that were set for this call.
    fn draft(&self, kind: DraftKind) -> Result<Draft, InvalidArgument> {
        let mut draft = Draft::default();
        for (path, value) in take(&mut self.desk.borrow_mut().draft) {
            draft.set(kind, &path, value)?;
        }
        Ok(draft)
    }

    fn answer(&self, result: Result<(), Box<Error>>) -> i32 {
        result.map_or_else(|error| self.refuse(error), |()| 0)
    }

    fn refuse(&self, error: Box<Error>) -> i32 {
        self.desk.borrow_mut().refusal = Some(error);
        -1
    }
}

/// Whether a topic matches a filter. Throws where one of them is none.
#[wasm_bindgen]
pub fn matches(filter: &str, topic: &str) -> Thrown<bool> {
    check_filter(filter)
        .map_err(|error| objects::invalid(InvalidArgument::new("filter", error.what())))?;
    check_topic(topic.as_bytes())
        .map_err(|error| objects::invalid(InvalidArgument::new("topic", error.what())))?;
    Ok(codec::matches(filter, topic))
}

/// The properties of a message, from the bytes that came with it.
#[wasm_bindgen(js_name = decodeProperties)]
pub fn decode_properties(block: &[u8]) -> JsValue {
    objects::properties(Properties::decode(PacketSet::PUBLISH, block).unwrap_or_default())
}

/// Each filter with its byte of options. Refuses what does not match, so that no filter gets the options of another.
fn with_options(
    filters: Vec<Rc<str>>,
    options: &[u8],
) -> Result<Vec<(Rc<str>, SubscribeOptions)>, InvalidArgument> {
    let decode = |&bits: &u8| SubscribeOptions::decode(Version::V5, bits).ok();
    let decoded: Option<Vec<_>> = options.iter().map(decode).collect();
    match decoded {
        Some(decoded) if decoded.len() == filters.len() => {
            Ok(filters.into_iter().zip(decoded).collect())
        }
        _ => Err(InvalidArgument::new("options", "must be one valid byte for each filter")),
    }
}

/// The leaves of a list of path, value, path, value and so on.
fn leaves(list: &Array) -> impl Iterator<Item = (String, Value)> {
    (0..list.length()).step_by(2).map(|at| {
        let path = list.get(at).as_string().expect(OURS);
        (path, from_js(list.get(at + 1)))
    })
}

fn from_js(value: JsValue) -> Value {
    if value.is_undefined() {
        Value::Undefined
    } else if let Some(flag) = value.as_bool() {
        Value::Bool(flag)
    } else if let Some(number) = value.as_f64() {
        Value::Number(number)
    } else if let Some(text) = value.as_string() {
        Value::Text(text)
    } else if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        Value::Bytes(bytes.to_vec())
    } else if let Some(list) = value.dyn_ref::<Array>() {
        let strings = strings(list);
        if strings.len() == list.length() as usize { Value::Strings(strings) } else { Value::Other }
    } else {
        Value::Other
    }
}
