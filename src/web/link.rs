//! One client's session tied to a socket and a timer: the [`Driver`]'s host on the web platform.
//! JavaScript is only ever called while nothing is borrowed, so it may call back.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, RefMut};

use js_sys::{Array, Date, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::MessageEvent;

use super::host::CoreHost;
use super::objects;
use super::records::Records;
use crate::driver::{Driver, Host, NotSent, Opened, Unreadable};
use crate::session::{
    AttemptId, Challenge, Change, Credentials, Error, Instant, Resolved, Server, Session,
};

/// What the application is asked for by a promise. `scripts/records.mjs` writes these numbers into
/// `src/js/core/host.ts`, which gives them back.
mod asked {
    /// URLs and credentials.
    pub(super) const RESOLVE: u32 = 0;
    /// A socket.
    pub(super) const OPEN: u32 = 1;
    /// The records of the store.
    pub(super) const LOAD: u32 = 2;
    /// That the store keeps changes.
    pub(super) const STORE: u32 = 3;
    /// An answer of the Authenticator.
    pub(super) const AUTHENTICATE: u32 = 4;
}

/// One client's session on the web platform.
pub(super) struct Link {
    driver: Driver<Page>,
}

/// The host of the session: JavaScript, which has the socket.
pub(super) struct Page {
    js: CoreHost,
    /// The attempt that the socket belongs to.
    attempt: Cell<AttemptId>,
    records: RefCell<Records>,
}

impl Link {
    /// Ties a session to its host.
    pub(super) fn new(js: CoreHost, session: Session) -> Self {
        let page = Page { js, attempt: Cell::default(), records: RefCell::default() };
        Self { driver: Driver::new(page, session) }
    }

    fn page(&self) -> &Page {
        self.driver.host()
    }

    /// What runs the session.
    pub(super) fn driver(&self) -> &Driver<Page> {
        &self.driver
    }

    /// The session, for the verbs of the application.
    pub(super) fn session(&self) -> RefMut<'_, Session> {
        self.driver.session()
    }

    /// The socket is open.
    pub(super) fn opened(&self) {
        let page = self.page();
        self.driver.opened(page.attempt.get(), page.agreed());
    }

    /// The socket is closed.
    pub(super) fn closed(&self, code: Option<u16>) {
        let page = self.page();
        page.js.ignore();
        self.driver.closed(page.attempt.get(), code, None);
    }

    /// What a promise of the application brought; `None`: it was rejected.
    pub(super) fn settle(&self, attempt: u32, asked: u32, value: Option<JsValue>) {
        let id = AttemptId(attempt);
        match (asked, value) {
            (asked::RESOLVE, value) => self.driver.resolved(id, value.map(resolved).ok_or(())),
            // One that an earlier attempt asked for is nobody's.
            (asked::OPEN, Some(socket)) if id == self.session().attempt_id() => {
                let opened = self.page().attach(id, &socket);
                self.driver.opened(id, opened);
            }
            (asked::OPEN, None) => {
                self.driver.closed(id, None, Some("the transport could not be made"));
            }
            (asked::LOAD, value) => {
                let records = value.map(|value| {
                    let list: Array = value.unchecked_into();
                    let mut records = Vec::new();
                    for at in 0..list.length() {
                        records.extend(bytes(list.get(at)));
                    }
                    records
                });
                self.driver.loaded(id, Date::now() as u64, records.ok_or(()));
            }
            (asked::STORE, value) => self.driver.stored(value.is_some()),
            (asked::AUTHENTICATE, value) => {
                self.driver.authenticated(id, value.map(bytes).ok_or(()))
            }
            _ => {}
        }
    }

    /// An event of the batch that is being delivered; once.
    pub(super) fn take_event(&self, index: usize) -> JsValue {
        let event = self.page().records.borrow_mut().take_event(index);
        event.map_or(JsValue::UNDEFINED, |event| objects::event(&event))
    }
}

impl Page {
    /// Whether the server chose a subprotocol that was offered. A transport without subprotocols
    /// has none to choose.
    fn agreed(&self) -> Opened {
        if self.js.agreed() {
            Opened::Now
        } else {
            Opened::Unusable("the server chose none of the subprotocols that were offered")
        }
    }

    fn attach(&self, id: AttemptId, socket: &JsValue) -> Opened {
        self.attempt.set(id);
        if self.js.listen(socket) { self.agreed() } else { Opened::Later }
    }
}

impl Host for Page {
    type Chunk = MessageEvent;

    fn now(&self) -> Instant {
        self.js.time()
    }

    fn read(&self, chunk: &MessageEvent, window: &mut [u8]) -> Result<usize, Unreadable> {
        length(self.js.read(chunk, window.as_mut_ptr(), window.len()))
    }

    fn copy(&self, offset: usize, window: &mut [u8]) {
        self.js.copy(offset, window.as_mut_ptr(), window.len());
    }

    fn keep(&self, offset: usize, missing: usize) {
        self.js.keep(offset, missing);
    }

    fn gather(&self, chunk: &MessageEvent, window: &mut [u8]) -> Result<Option<usize>, Unreadable> {
        let gathered = length(self.js.gather(chunk, window.as_mut_ptr(), window.len()))?;
        Ok(Some(gathered).filter(|&length| length > 0))
    }

    fn rest(&self, window: &mut [u8]) -> usize {
        self.js.rest(window.as_mut_ptr(), window.len())
    }

    fn collect(&self, session: &mut Session) -> bool {
        self.records.borrow_mut().write(session)
    }

    fn deliver(&self, _: &Driver<Self>) {
        let words = self.records.borrow_mut().take_words();
        self.js.batch(words.as_ptr(), words.len());
        self.records.borrow_mut().clear(words);
    }

    fn write(&self, frame: &[u8]) -> Result<(), NotSent> {
        sent(self.js.write(frame.as_ptr(), frame.len()))
    }

    fn flush(&self) -> Result<(), NotSent> {
        sent(self.js.flush())
    }

    fn buffered(&self) -> Option<usize> {
        Some(self.js.buffered()).filter(|&amount| amount != -1.0).map(|amount| amount as usize)
    }

    fn resolve(&self, id: AttemptId, attempt: u32, error: Option<Box<Error>>) {
        let error = error.map_or(JsValue::UNDEFINED, |error| objects::error(&error));
        self.js.resolve(id.0, attempt, error);
    }

    // JavaScript awaits for us: the task queue of wasm-bindgen-futures runs from microtasks of its
    // own, where nobody catches a trap, and what is left in it would run on into the next instance.
    fn open(&self, id: AttemptId, url: &str) -> Opened {
        self.js.open(id.0, url);
        Opened::Later
    }

    fn close(&self, force: bool) {
        self.js.ignore();
        self.js.shut(force);
    }

    fn authenticate(&self, id: AttemptId, challenge: Challenge) {
        let Challenge { first, reauthentication, data, properties } = challenge;
        let data = data.map_or(JsValue::UNDEFINED, |data| Uint8Array::from(&*data).into());
        let properties = objects::properties(properties.borrow());
        self.js.authenticate(id.0, reauthentication, first, data, properties);
    }

    fn load(&self, id: AttemptId) {
        self.js.load(id.0);
    }

    fn store(&self, changes: &[Change]) {
        let list = Array::new();
        for change in changes {
            list.push(&(change.key.number() as f64).into());
            let value = change.value.as_deref();
            list.push(&value.map_or(JsValue::NULL, |value| Uint8Array::from(value).into()));
        }
        self.js.store(list);
    }

    fn judge(&self, error: Box<Error>, attempt: u32) -> Option<bool> {
        self.js.retry(objects::error(&error), attempt)
    }

    fn timer(&self, at: Option<Instant>) {
        self.js.timer(match at {
            None => -1.0,
            Some(at) => at.0.saturating_sub(self.now().0).div_ceil(1_000) as f64,
        });
    }

    fn later(&self) {
        self.js.later();
    }

    fn wake(&self) {
        self.js.wake();
    }
}

/// The length that JavaScript has returned for a chunk.
fn length(returned: f64) -> Result<usize, Unreadable> {
    if returned >= 0.0 {
        Ok(returned as usize)
    } else if returned == -1.0 {
        Err(Unreadable::NotBinary)
    } else {
        Err(Unreadable::NoMemory)
    }
}

fn sent(sent: bool) -> Result<(), NotSent> {
    if sent { Ok(()) } else { Err(NotSent) }
}

/// The bytes of a `Uint8Array`.
fn bytes(value: JsValue) -> Option<Vec<u8>> {
    value.dyn_into::<Uint8Array>().ok().map(|bytes| bytes.to_vec())
}

/// The strings of a list.
pub(super) fn strings(list: &Array) -> Vec<Rc<str>> {
    let mut strings = Vec::new();
    for at in 0..list.length() {
        if let Some(text) = list.get(at).as_string() {
            strings.push(text.into());
        }
    }
    strings
}

/// What `resolve` brings, a list made by our own JavaScript: whether another call may bring better credentials; then of each
/// server its URL, user name and password.
fn resolved(value: JsValue) -> Resolved {
    let list: Array = value.unchecked_into();
    let mut servers = Vec::new();
    for at in (1..list.length()).step_by(3) {
        if let Some(url) = list.get(at).as_string() {
            servers.push(Server {
                url: url.into(),
                credentials: Credentials {
                    username: list.get(at + 1).as_string(),
                    password: bytes(list.get(at + 2)),
                },
            });
        }
    }
    Resolved { servers, dynamic: list.get(0).as_bool() == Some(true) }
}
