//! One client's session tied to a socket and a timer. Whatever happens, the session is told, and then everything it asks
//! for is done ([`Link::pump`]). JavaScript is only ever called while nothing is borrowed, so it may call back.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{CloseEvent, MessageEvent, WebSocket};

use super::objects;
use super::records::Records;
use crate::session::{Challenge, Command, Credentials, Input, Instant, Resolved, Session};

#[wasm_bindgen]
extern "C" {
    /// What JavaScript does for a link: the class `Host` of `src/js/host.ts`, which says more of each.
    pub type Host;
    /// Makes the event's data the current chunk and copies it to `ptr` where it fits into `room` bytes. Returns the
    /// chunk's length; -1: it is not binary.
    #[wasm_bindgen(method)]
    fn read(this: &Host, event: &MessageEvent, ptr: *mut u8, room: usize) -> f64;
    /// What of the current chunk begins at `offset` is a packet that goes on for `missing` bytes in the next ones.
    #[wasm_bindgen(method)]
    fn keep(this: &Host, offset: usize, missing: usize);
    /// Adds the event's data to the packet. Returns 0 until nothing is missing any more: then the packet is the current
    /// chunk, copied to `ptr` where it fits into `room` bytes, and this is its length. -1: the data is not binary; -2: no
    /// memory.
    #[wasm_bindgen(method)]
    fn gather(this: &Host, event: &MessageEvent, ptr: *mut u8, room: usize) -> f64;
    /// As `read`, for what is left of the chunk that completed the packet.
    #[wasm_bindgen(method)]
    fn rest(this: &Host, ptr: *mut u8, room: usize) -> usize;
    /// Copies a piece of the current chunk to `ptr`.
    #[wasm_bindgen(method)]
    fn copy(this: &Host, offset: usize, ptr: *mut u8, len: usize);
    /// Hands over records, `words` words of them.
    #[wasm_bindgen(method)]
    fn batch(this: &Host, ptr: *const u32, words: usize);
    /// The same function, safe against traps.
    #[wasm_bindgen(method)]
    fn guard(this: &Host, function: &Function) -> Function;
    /// Arms the one timer; negative: disarms it.
    #[wasm_bindgen(method)]
    fn timer(this: &Host, ms: f64);
    /// Calls `resume` in a new task.
    #[wasm_bindgen(method)]
    fn later(this: &Host);
    /// Calls `flush` at the end of the turn.
    #[wasm_bindgen(method)]
    fn wake(this: &Host);
    /// Calls `settle` with these numbers, and with what comes of the promise.
    #[wasm_bindgen(method)]
    fn follow(this: &Host, promise: &Promise, generation: u32, asked: u32);
    #[wasm_bindgen(method)]
    fn resolve(this: &Host, attempt: u32, error: JsValue) -> Promise;
    #[wasm_bindgen(method)]
    fn open(this: &Host, url: &str) -> JsValue;
    /// The subprotocols that were offered.
    #[wasm_bindgen(method, getter)]
    fn protocols(this: &Host) -> Array;
    /// Whether the socket keeps what it is given to send.
    #[wasm_bindgen(method, getter)]
    fn owns(this: &Host) -> bool;
    #[wasm_bindgen(method)]
    fn shut(this: &Host, force: bool);
    #[wasm_bindgen(method)]
    fn authenticate(
        this: &Host,
        reauthentication: bool,
        first: bool,
        challenge: JsValue,
        properties: JsValue,
    ) -> Promise;
    #[wasm_bindgen(method)]
    fn retry(this: &Host, error: JsValue, attempt: u32) -> Option<bool>;

    /// A socket that is asked after each flush what is in its buffer. One of the application may throw, or tell anything.
    type Buffer;
    #[wasm_bindgen(method, getter, catch, js_name = bufferedAmount)]
    fn buffered_amount(this: &Buffer) -> Result<JsValue, JsValue>;

    type Performance;
    #[wasm_bindgen(method)]
    fn now(this: &Performance) -> f64;
    /// Kept: in Node the global is a getter, and a slow one.
    #[wasm_bindgen(thread_local_v2, js_name = performance)]
    static PERFORMANCE: Performance;
}

pub fn now() -> Instant {
    Instant((PERFORMANCE.with(Performance::now) * 1_000.0) as u64)
}

/// Bytes of a chunk that are copied in at once.
const WINDOW: usize = 32 * 1024;
/// Bytes copied of a chunk that does not fit the window, to see what is in it: a large payload can stay outside.
const HEAD: usize = 2 * 1024;
/// How often a full transport is asked again, ms: it tells nobody when it is not full any more.
const DRAIN_MS: u64 = 4;

/// What the application is asked for by a promise.
mod asked {
    pub const RESOLVE: u32 = 0;
    pub const OPEN: u32 = 1;
    pub const AUTHENTICATE: u32 = 2;
}

pub struct Inner {
    pub session: Session,
    socket: Option<WebSocket>,
    /// The socket keeps what it is given to send.
    owns: bool,
    /// Chunks that came while others were being delivered.
    inbox: VecDeque<MessageEvent>,
    /// Where to go on in the current chunk, and its length.
    rest: Option<(usize, usize)>,
    /// JavaScript puts a packet together that comes in pieces.
    gathering: bool,
    /// The chunk that completed it goes on.
    goes_on: bool,
    window: Vec<u8>,
    records: Records,
    armed: Option<Instant>,
    /// The time when something last happened: good enough for a publish.
    pub now: Instant,
}

pub struct Link {
    host: Host,
    inner: RefCell<Inner>,
    handlers: RefCell<Option<Handlers>>,
    /// A chunk is being read, or waits for the application.
    reading: Cell<bool>,
    delivering: Cell<bool>,
    pumping: Cell<bool>,
}

/// Set on every socket. The closures live as long as the link.
struct Handlers {
    open: Function,
    message: Function,
    close: Function,
    error: Function,
    _closures: [Closure<dyn Fn(JsValue)>; 4],
}

impl Link {
    pub fn new(host: Host, mut session: Session) -> Rc<Self> {
        session.defer_large_packets();
        let inner = Inner {
            session,
            socket: None,
            owns: false,
            inbox: VecDeque::new(),
            rest: None,
            gathering: false,
            goes_on: false,
            window: Vec::new(),
            records: Records::default(),
            armed: None,
            now: now(),
        };
        let link = Rc::new(Self {
            host,
            inner: RefCell::new(inner),
            handlers: RefCell::new(None),
            reading: Cell::new(false),
            delivering: Cell::new(false),
            pumping: Cell::new(false),
        });
        let handler = |handle: fn(&Rc<Link>, JsValue)| {
            let weak: Weak<Link> = Rc::downgrade(&link);
            let closure: Closure<dyn Fn(JsValue)> = Closure::new(move |event: JsValue| {
                if let Some(link) = weak.upgrade() {
                    handle(&link, event);
                }
            });
            (link.host.guard(closure.as_ref().unchecked_ref()), closure)
        };
        let (open, a) = handler(|link, _| link.on_open());
        let (message, b) = handler(|link, event| link.on_message(event.unchecked_into()));
        let (close, c) = handler(|link, event| link.on_close(&event.unchecked_into()));
        // The close event that follows says all there is to say.
        let (error, d) = handler(|_, _| {});
        *link.handlers.borrow_mut() =
            Some(Handlers { open, message, close, error, _closures: [a, b, c, d] });
        link
    }

    pub fn inner(&self) -> RefMut<'_, Inner> {
        self.inner.borrow_mut()
    }

    // ------------------------------------------------------------------------------------ the socket

    fn on_open(self: &Rc<Self>) {
        let agreed = self.agreed();
        self.inform(|session, now| {
            if agreed {
                session.handle_open(now);
            } else {
                session.handle_close(
                    now,
                    None,
                    Some("the server chose none of the subprotocols that were offered"),
                );
            }
        });
        if !agreed {
            self.leave_socket(false);
        }
        self.pump();
    }

    /// Whether the server chose a subprotocol that was offered. A transport without subprotocols has none to choose.
    fn agreed(&self) -> bool {
        let socket = self.inner().socket.clone();
        let protocol = socket.and_then(|socket| Reflect::get(&socket, &"protocol".into()).ok());
        match protocol.filter(|protocol| protocol.is_string()) {
            Some(protocol) => {
                protocol.as_string().is_some_and(|p| p.is_empty())
                    || self.host.protocols().includes(&protocol, 0)
            }
            None => true,
        }
    }

    fn on_close(self: &Rc<Self>, event: &CloseEvent) {
        let code = number(event, "code").map(|code| code as u16);
        self.detach();
        self.inform(|session, now| session.handle_close(now, code, None));
        self.pump();
    }

    fn on_message(self: &Rc<Self>, event: MessageEvent) {
        if self.reading.get() {
            return self.inner().inbox.push_back(event);
        }
        self.read_chunk(&event);
        self.read_inbox();
        if self.inner().session.has_commands() {
            return self.pump();
        }
        if self.inner().session.pending_output() > 0 {
            // What chunks of the same turn ask for leaves as one frame.
            self.host.wake();
        }
    }

    fn read_inbox(self: &Rc<Self>) {
        while !self.reading.get() {
            if std::mem::take(&mut self.inner().goes_on) {
                let total = self.host.rest(self.window(), WINDOW);
                self.begin(total, WINDOW);
                continue;
            }
            let Some(event) = self.inner().inbox.pop_front() else {
                return;
            };
            self.read_chunk(&event);
        }
    }

    fn read_chunk(self: &Rc<Self>, event: &MessageEvent) {
        let gathering = self.inner().gathering;
        // Of a packet that was gathered, only the head is looked at.
        let room = if gathering { HEAD } else { WINDOW };
        let total = match gathering {
            false => self.host.read(event, self.window(), room),
            true => self.host.gather(event, self.window(), room),
        };
        if total < 0.0 {
            return self.inform(if total == -1.0 {
                Session::handle_text
            } else {
                Session::handle_too_large
            });
        }
        let total = total as usize;
        if gathering && total > 0 {
            let inner = &mut *self.inner();
            inner.gathering = false;
            inner.goes_on = true;
        }
        self.begin(total, room);
    }

    /// Reads the current chunk, which is in the window if it is not longer than `room`.
    fn begin(self: &Rc<Self>, total: usize, room: usize) {
        let loaded = if total <= room { total } else { self.load(0, HEAD, total) };
        self.consume(0, loaded, total);
    }

    fn window(&self) -> *mut u8 {
        let inner = &mut *self.inner();
        inner.window.resize(WINDOW, 0);
        inner.window.as_mut_ptr()
    }

    /// Reads the current chunk from `offset` on, of which `loaded` bytes are in the window.
    fn consume(self: &Rc<Self>, mut offset: usize, mut loaded: usize, total: usize) {
        self.reading.set(true);
        loop {
            let (used, connected, missing) = {
                let inner = &mut *self.inner();
                inner.now = now();
                let bytes = inner.window.get(..loaded).unwrap_or_default();
                let input = Input { bytes, offset, beyond: total - offset - loaded };
                let used = inner.session.handle_input(inner.now, input);
                let missing = inner.session.missing();
                inner.gathering |= missing > 0;
                (used, inner.session.is_paused(), missing)
            };
            offset += used;
            if missing > 0 {
                self.host.keep(offset, missing);
            }
            self.deliver();
            if connected {
                // The application gets a task of its own to add handlers.
                self.inner().rest = Some((offset, total));
                return self.host.later();
            }
            if offset >= total || missing > 0 {
                break;
            }
            loaded = self.load(offset, if used > loaded { HEAD } else { WINDOW }, total);
        }
        self.reading.set(false);
    }

    /// Copies the next piece of the current chunk into the window, `room` bytes at most.
    fn load(&self, offset: usize, room: usize, total: usize) -> usize {
        let len = room.min(total - offset);
        self.host.copy(offset, self.window(), len);
        len
    }

    /// Goes on with input that waited for the application.
    pub fn resume(self: &Rc<Self>) {
        let rest = self.inner().rest.take();
        let Some((offset, total)) = rest else { return };
        self.reading.set(false);
        if offset < total {
            let loaded = self.load(offset, HEAD, total);
            self.consume(offset, loaded, total);
        }
        self.read_inbox();
        self.pump();
    }

    fn attach(self: &Rc<Self>, socket: WebSocket) {
        {
            let handlers = self.handlers.borrow();
            let Some(handlers) = &*handlers else { return };
            hang(&socket, "onopen", &handlers.open);
            hang(&socket, "onmessage", &handlers.message);
            hang(&socket, "onclose", &handlers.close);
            hang(&socket, "onerror", &handlers.error);
        }
        let owns = self.host.owns();
        let open = number(&socket, "readyState") == Some(f64::from(WebSocket::OPEN));
        {
            let inner = &mut *self.inner();
            inner.socket = Some(socket);
            inner.owns = owns;
        }
        if open {
            self.on_open();
        }
    }

    /// Nothing of the socket is heard any more.
    fn detach(&self) -> bool {
        let socket = {
            let inner = &mut *self.inner();
            inner.inbox.clear();
            inner.gathering = false;
            inner.goes_on = false;
            if inner.rest.take().is_some() {
                self.reading.set(false);
            }
            inner.socket.take()
        };
        let Some(socket) = socket else { return false };
        for name in ["onopen", "onmessage", "onclose"] {
            hang(&socket, name, &JsValue::NULL);
        }
        // A socket that is closed before it was open reports an error, and Node ends over one that nobody hears.
        if let Some(handlers) = &*self.handlers.borrow() {
            hang(&socket, "onerror", &handlers.error);
        }
        true
    }

    fn leave_socket(&self, force: bool) {
        self.detach();
        self.host.shut(force);
    }

    // ------------------------------------------------------------------------------------ what the session asks for

    fn inform(&self, what: impl FnOnce(&mut Session, Instant)) {
        let inner = &mut *self.inner();
        inner.now = now();
        what(&mut inner.session, inner.now);
    }

    /// Does all that the session asks for.
    pub fn pump(self: &Rc<Self>) {
        if self.pumping.replace(true) {
            return;
        }
        loop {
            self.transmit();
            self.deliver();
            let command = self.inner().session.poll_command();
            match command {
                Some(command) => self.execute(command),
                None if self.inner().session.pending_output() == 0 => break,
                None => {}
            }
        }
        self.pumping.set(false);
        self.arm();
    }

    /// Sends what is written.
    pub fn transmit(&self) {
        let mut sent = false;
        let mut failed = false;
        while !failed {
            let copy = {
                let inner = &mut *self.inner();
                let now = inner.now;
                let Some(bytes) = inner.session.poll_transmit(now) else {
                    break;
                };
                sent = true;
                let Some(socket) = &inner.socket else { continue };
                if !inner.owns {
                    // Copied by the socket before it returns.
                    failed = socket.send_with_u8_array(bytes).is_err();
                    continue;
                }
                (socket.clone(), Uint8Array::from(bytes))
            };
            failed = copy.0.send_with_array_buffer_view(&copy.1).is_err();
        }
        if failed {
            // One that is closing does not throw: there is no close event to wait for.
            self.leave_socket(true);
            self.inform(|session, now| {
                session.handle_close(now, None, Some("the transport could not send"))
            });
        } else if sent {
            self.check_transport();
        }
    }

    fn check_transport(&self) {
        let socket = self.inner().socket.clone();
        let Some(socket) = socket else { return };
        let buffered = socket
            .unchecked_ref::<Buffer>()
            .buffered_amount()
            .ok()
            .and_then(|amount| amount.as_f64());
        let inner = &mut *self.inner();
        inner.session.handle_writable(inner.now, buffered.unwrap_or(0.0) as usize);
    }

    /// Hands all events to JavaScript.
    fn deliver(&self) {
        if self.delivering.replace(true) {
            return;
        }
        loop {
            let words = {
                let inner = &mut *self.inner();
                inner.records.write(&mut inner.session);
                inner.records.take_words()
            };
            if words.is_empty() {
                self.inner().records.clear(words);
                break;
            }
            self.host.batch(words.as_ptr(), words.len());
            let inner = &mut *self.inner();
            inner.session.delivered();
            inner.records.clear(words);
        }
        self.delivering.set(false);
    }

    fn execute(self: &Rc<Self>, command: Command) {
        match command {
            Command::Resolve { attempt, error } => {
                let error = error.map_or(JsValue::UNDEFINED, |error| objects::error(&error));
                let promise = self.host.resolve(attempt, error);
                self.follow(&promise, asked::RESOLVE);
            }
            Command::Open { url } => {
                let opened = self.host.open(&url);
                if opened.is_instance_of::<Promise>() {
                    self.follow(opened.unchecked_ref(), asked::OPEN);
                } else {
                    self.attach(opened.unchecked_into());
                }
            }
            Command::Close { force } => self.leave_socket(force),
            Command::Authenticate(challenge) => {
                let Challenge { first, reauthentication, data, properties } = *challenge;
                let data = data.map_or(JsValue::UNDEFINED, |data| Uint8Array::from(&*data).into());
                let properties = objects::properties(properties.borrow());
                let promise = self.host.authenticate(reauthentication, first, data, properties);
                self.follow(&promise, asked::AUTHENTICATE);
            }
            Command::Judge { error, attempt } => {
                let retry = self.host.retry(objects::error(&error), attempt);
                self.inform(|session, now| session.handle_verdict(now, retry));
            }
        }
    }

    /// JavaScript awaits for us: the task queue of wasm-bindgen-futures runs from microtasks of its own, where nobody
    /// catches a trap, and what is left in it would run on into the next instance.
    fn follow(&self, promise: &Promise, asked: u32) {
        let generation = self.inner().session.generation();
        self.host.follow(promise, generation, asked);
    }

    /// What a promise of the application brought; `None`: it was rejected. What an earlier attempt asked for is dropped.
    pub fn settle(self: &Rc<Self>, generation: u32, asked: u32, value: Option<JsValue>) {
        if generation != self.inner().session.generation() {
            return;
        }
        match (asked, value) {
            (asked::RESOLVE, value) => {
                let resolved = value.map(resolved).ok_or(());
                self.inform(|session, now| session.handle_resolved(now, resolved));
            }
            (asked::OPEN, Some(socket)) => self.attach(socket.unchecked_into()),
            (asked::OPEN, None) => {
                let what = Some("the transport could not be made");
                self.inform(|session, now| session.handle_close(now, None, what));
            }
            (_, value) => {
                let data = value
                    .map(|data| data.dyn_into::<Uint8Array>().ok().map(|data| data.to_vec()))
                    .ok_or(());
                self.inform(|session, now| session.handle_auth(now, data));
            }
        }
        self.pump();
    }

    // ------------------------------------------------------------------------------------ the timer

    fn arm(&self) {
        let ms = {
            let inner = &mut *self.inner();
            let drain = inner.session.is_blocked().then(|| inner.now.after_ms(DRAIN_MS));
            let next = Instant::first(&[inner.session.poll_timeout(), drain]);
            match (next, inner.armed) {
                (None, None) => return,
                (None, Some(_)) => {
                    inner.armed = None;
                    -1.0
                }
                // A timer that fires too early finds nothing to do and is set again: cheaper than to move it with
                // every packet.
                (Some(next), Some(armed)) if next >= armed => return,
                (Some(next), _) => {
                    inner.armed = Some(next);
                    (next.0.saturating_sub(now().0) as f64 / 1_000.0).ceil()
                }
            }
        };
        self.host.timer(ms);
    }

    pub fn timeout(self: &Rc<Self>) {
        self.inner().armed = None;
        self.inform(Session::handle_timeout);
        self.check_transport();
        self.pump();
    }

    pub fn take_object(&self, index: usize) -> JsValue {
        let event = self.inner().records.take_event(index);
        event.map_or(JsValue::UNDEFINED, |event| objects::event(&event))
    }
}

// A socket of the application may throw wherever it is touched. That must not unwind what is under way here.

fn hang(socket: &WebSocket, name: &str, handler: &JsValue) {
    _ = Reflect::set(socket, &name.into(), handler);
}

fn number(object: &JsValue, name: &str) -> Option<f64> {
    Reflect::get(object, &name.into()).ok()?.as_f64()
}

/// What is a string in a list.
pub fn strings(list: &Array) -> Vec<Rc<str>> {
    let mut strings = Vec::new();
    for item in list.iter() {
        if let Some(text) = item.as_string() {
            strings.push(text.into());
        }
    }
    strings
}

/// What `resolve` brings: `{ urls, credentials, dynamic }`, made by our own JavaScript.
fn resolved(value: JsValue) -> Resolved {
    let get = |object: &JsValue, name: &str| {
        Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
    };
    let mut credentials = Vec::new();
    for given in Array::from(&get(&value, "credentials")) {
        credentials.push(Credentials {
            username: get(&given, "username").as_string(),
            password: get(&given, "password")
                .dyn_into::<Uint8Array>()
                .ok()
                .map(|password| password.to_vec()),
        });
    }
    Resolved {
        urls: strings(&Array::from(&get(&value, "urls"))),
        credentials,
        dynamic: get(&value, "dynamic").is_truthy(),
    }
}
