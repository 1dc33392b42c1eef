//! The one loop around a [`Session`]: it reads chunks, does what the session asks for, and arms the
//! timer. What differs between a browser and a test is behind [`Host`].
//!
//! A [`Host`] is only ever called while nothing is borrowed, so the application may call the
//! session from inside an event; the three exceptions say so.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell, RefMut};

use crate::session::{
    AttemptId, Challenge, Change, Command, Error, Input, Instant, Resolved, Session, Then,
};

/// Bytes of a chunk that are looked at at once.
const WINDOW: usize = 32 * 1024;
/// Bytes looked at of a chunk that does not fit the window, to see what is in it: a large payload
/// can stay outside.
const HEAD: usize = 2 * 1024;
/// How often a full transport is asked again, in milliseconds: it tells nobody when it is not full
/// any more.
const DRAIN_MS: u64 = 4;

/// Why a chunk cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// It is no binary data [MQTT-6.0.0-1].
    NotBinary,
    /// There is no memory for the packet that it completes.
    NoMemory,
}

/// The socket did not take a frame: it is as good as gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotSent;

/// What came of a wish to open a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// [`Driver::opened`] or [`Driver::closed`] follows.
    Later,
    /// It is open already.
    Now,
    /// It cannot be used, for this reason.
    Unusable(&'static str),
}

/// What a session runs on: a socket, a timer, a clock and an application.
pub trait Host: Sized {
    /// What the socket delivers at once, the message of a WebSocket.
    type Chunk;

    /// The time.
    fn now(&self) -> Instant;

    // --------------------------------------------------------------------------------- input

    /// Makes a chunk the current one and copies it into `window`, if it fits there. Returns its
    /// length in bytes.
    fn read(&self, chunk: &Self::Chunk, window: &mut [u8]) -> Result<usize, Unreadable>;

    /// Copies what begins `offset` bytes into the current chunk; `window` is not longer than that.
    fn copy(&self, offset: usize, window: &mut [u8]);

    /// Keeps what begins `offset` bytes into the current chunk: it is a packet that goes on for
    /// `missing` bytes in the next chunks.
    fn keep(&self, offset: usize, missing: usize);

    /// Adds a chunk to the packet that was kept. `None`: there is more to come. Otherwise the
    /// packet is whole and the current chunk: it is copied into `window`, if it fits there, and
    /// its length is returned.
    fn gather(&self, chunk: &Self::Chunk, window: &mut [u8]) -> Result<Option<usize>, Unreadable>;

    /// Does as [`Host::read`], for what is left of the chunk that completed the packet.
    fn rest(&self, window: &mut [u8]) -> usize;

    // -------------------------------------------------------------------------------- output

    /// Takes the events out of the session, which is borrowed meanwhile. False: there are none.
    /// Positions in messages are those of the current chunk.
    fn collect(&self, session: &mut Session) -> bool;

    /// Hands over to the application what was collected.
    fn deliver(&self, driver: &Driver<Self>);

    /// Takes a frame, while the session is borrowed. What cannot be sent without calling the
    /// application is copied, and sent by [`Host::flush`]. Where there is no socket, the frame is
    /// lost.
    fn write(&self, frame: &[u8]) -> Result<(), NotSent>;

    /// Sends the frame that [`Host::write`] has copied.
    fn flush(&self) -> Result<(), NotSent>;

    /// How many bytes are in the buffer of the socket, if there is one.
    fn buffered(&self) -> Option<usize>;

    // ------------------------------------------------------------------------------ commands

    /// Asks the application for URLs and credentials; [`Driver::resolved`] is the answer.
    fn resolve(&self, id: AttemptId, attempt: u32, error: Option<Box<Error>>);

    /// Opens a socket.
    fn open(&self, id: AttemptId, url: &str) -> Opened;

    /// Closes the socket. Nothing is heard of it any more.
    fn close(&self, force: bool);

    /// Asks the application's Authenticator; [`Driver::authenticated`] is the answer.
    fn authenticate(&self, id: AttemptId, challenge: Challenge);

    /// Reads the store; [`Driver::loaded`] is the answer. Only a session that has a store asks.
    fn load(&self, id: AttemptId);

    /// Writes to the store, while the session is borrowed: the application is called later.
    /// [`Driver::stored`] is the answer, unless the session has come to its end.
    fn store(&self, changes: &[Change]);

    /// Asks the application whether to try again; `None`: it has no say.
    fn judge(&self, error: Box<Error>, attempt: u32) -> Option<bool>;

    // ---------------------------------------------------------------------------------- time

    /// Sets when [`Driver::timeout`] is to be called; `None`: never.
    fn timer(&self, at: Option<Instant>);

    /// Calls [`Driver::resume`] in a new task, so that the application can add its handlers.
    fn later(&self);

    /// Calls [`Driver::pump`] at the end of the turn: what chunks of one turn ask for leaves as
    /// one frame.
    fn wake(&self);

    // --------------------------------------------------------------------------------- sizes

    /// Bytes of a chunk that are looked at at once.
    fn window(&self) -> usize {
        WINDOW
    }

    /// Bytes looked at of a chunk that does not fit the window.
    fn head(&self) -> usize {
        HEAD
    }
}

/// A window is needed during a call only, so one serves all drivers of a thread. Gives it for
/// `window`, which is the next.
#[cfg(feature = "std")]
fn scratch(window: Vec<u8>) -> Vec<u8> {
    std::thread_local!(static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    SCRATCH.replace(window)
}

/// Without the standard library there is one thread.
#[cfg(not(feature = "std"))]
fn scratch(window: Vec<u8>) -> Vec<u8> {
    static SCRATCH: spin::Mutex<Vec<u8>> = spin::Mutex::new(Vec::new());
    core::mem::replace(&mut *SCRATCH.lock(), window)
}

/// A session on its host.
pub struct Driver<H: Host> {
    host: H,
    inner: RefCell<Inner<H::Chunk>>,
    /// A chunk is being read, or waits for the application.
    reading: Cell<bool>,
    delivering: Cell<bool>,
    pumping: Cell<bool>,
}

struct Inner<C> {
    session: Session,
    /// The time when something last happened: good enough for a publish.
    now: Instant,
    /// Chunks that came while others were being delivered.
    inbox: VecDeque<C>,
    /// Where to go on in the current chunk, and its length.
    rest: Option<(usize, usize)>,
    /// The socket was closed while input waited for the application.
    closed: Option<Closed>,
    gathering: Gathering,
    /// When the timer will fire.
    armed: Option<Instant>,
}

/// What the host said of a socket that is closed.
struct Closed {
    id: AttemptId,
    code: Option<u16>,
    what: Option<&'static str>,
}

/// A packet that comes in pieces is put together by the host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gathering {
    None,
    /// The next chunks belong to it.
    Pieces,
    /// It is whole, and the chunk that completed it goes on.
    Rest,
}

impl<H: Host> Driver<H> {
    /// A session that is idle, on its host.
    pub fn new(host: H, session: Session) -> Self {
        let inner = Inner {
            session,
            now: host.now(),
            inbox: VecDeque::new(),
            rest: None,
            closed: None,
            gathering: Gathering::None,
            armed: None,
        };
        Self {
            host,
            inner: RefCell::new(inner),
            reading: Cell::new(false),
            delivering: Cell::new(false),
            pumping: Cell::new(false),
        }
    }

    /// What the session runs on.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The session, for the verbs of the application. [`Driver::pump`] comes after them.
    pub fn session(&self) -> RefMut<'_, Session> {
        RefMut::map(self.inner(), |inner| &mut inner.session)
    }

    /// The time when something last happened.
    pub fn last_time(&self) -> Instant {
        self.inner().now
    }

    fn inner(&self) -> RefMut<'_, Inner<H::Chunk>> {
        self.inner.borrow_mut()
    }

    /// Tells the session what happened.
    fn inform(&self, what: impl FnOnce(&mut Session, Instant)) {
        let now = self.host.now();
        let inner = &mut *self.inner();
        inner.now = now;
        what(&mut inner.session, now);
    }

    // ------------------------------------------------------------------------ what happened

    /// The application has answered [`Host::resolve`]; `Err`: it failed.
    pub fn resolved(&self, id: AttemptId, resolved: Result<Resolved, ()>) {
        self.inform(|session, now| session.handle_resolved(now, id, resolved));
        self.pump();
    }

    /// The application has answered [`Host::authenticate`]; `Err`: it failed.
    pub fn authenticated(&self, id: AttemptId, data: Result<Option<Vec<u8>>, ()>) {
        self.inform(|session, now| session.handle_auth(now, id, data));
        self.pump();
    }

    /// The store was read; `Err`: it could not be. See [`Session::handle_loaded`].
    pub fn loaded(&self, id: AttemptId, since_epoch_ms: u64, records: Result<Vec<Vec<u8>>, ()>) {
        self.inform(|session, now| session.handle_loaded(now, id, since_epoch_ms, records));
        self.pump();
    }

    /// The store has kept what [`Host::store`] gave it, or nothing of it.
    pub fn stored(&self, kept: bool) {
        self.inform(|session, now| session.handle_stored(now, kept));
        self.pump();
    }

    /// The socket of an attempt is open, or cannot be used.
    pub fn opened(&self, id: AttemptId, opened: Opened) {
        match opened {
            Opened::Later => return,
            Opened::Now => self.inform(|session, now| session.handle_open(now, id)),
            Opened::Unusable(what) => {
                self.forget_input();
                self.host.close(false);
                self.inform(|session, now| session.handle_close(now, id, None, Some(what)));
            }
        }
        self.pump();
    }

    /// The socket of an attempt is closed, or could not be opened. What had come before is read
    /// first, even if it waits for the application.
    pub fn closed(&self, id: AttemptId, code: Option<u16>, what: Option<&'static str>) {
        {
            let inner = &mut *self.inner();
            if inner.rest.is_some() && id == inner.session.attempt_id() {
                inner.closed = Some(Closed { id, code, what });
                return;
            }
        }
        self.close(Closed { id, code, what });
    }

    fn close(&self, closed: Closed) {
        let Closed { id, code, what } = closed;
        self.forget_input();
        self.inform(|session, now| session.handle_close(now, id, code, what));
        self.pump();
    }

    /// A chunk came.
    pub fn received(&self, chunk: H::Chunk) {
        if self.reading.get() {
            return self.inner().inbox.push_back(chunk);
        }
        self.with_window(|window| {
            self.read_chunk(&chunk, window);
            self.read_inbox(window);
        });
        let (late, commands, waits) = {
            let Inner { session, now, armed, .. } = &*self.inner();
            let late = armed.is_some_and(|at| at < *now);
            let waits = session.pending_output() > 0 || session.has_changes();
            (late, session.has_commands(), waits)
        };
        if late {
            // Browsers delay the timers of hidden tabs, but not what comes from the network.
            self.timeout();
        } else if commands {
            self.pump();
        } else if waits {
            self.host.wake();
        }
    }

    /// The time has come that [`Host::timer`] was told.
    pub fn timeout(&self) {
        self.inner().armed = None;
        self.inform(Session::handle_timeout);
        self.check_transport();
        self.pump();
    }

    /// Goes on with input that waited for the application.
    pub fn resume(&self) {
        let rest = self.inner().rest.take();
        let Some((offset, total)) = rest else { return };
        self.reading.set(false);
        self.with_window(|window| {
            if offset < total {
                let loaded = self.load(offset, self.host.head(), total, window);
                self.consume(offset, loaded, total, window);
            }
            self.read_inbox(window);
        });
        let closed = self.inner().closed.take();
        match closed {
            Some(closed) => self.close(closed),
            None => self.pump(),
        }
    }

    // --------------------------------------------------------------------------- the input

    fn with_window(&self, read: impl FnOnce(&mut [u8])) {
        let mut window = scratch(Vec::new());
        let size = self.host.window().max(self.host.head());
        if window.len() < size {
            window.resize(size, 0);
        }
        read(&mut window);
        scratch(window);
    }

    fn read_inbox(&self, window: &mut [u8]) {
        while !self.reading.get() {
            if self.takes_rest() {
                let room = self.host.window();
                let total = self.host.rest(&mut window[..room]);
                self.begin(total, room, window);
                continue;
            }
            let chunk = self.inner().inbox.pop_front();
            let Some(chunk) = chunk else { return };
            self.read_chunk(&chunk, window);
        }
    }

    /// Whether the chunk that completed a packet is to be read now.
    fn takes_rest(&self) -> bool {
        let inner = &mut *self.inner();
        let takes = inner.gathering == Gathering::Rest;
        if takes {
            inner.gathering = Gathering::None;
        }
        takes
    }

    fn read_chunk(&self, chunk: &H::Chunk, window: &mut [u8]) {
        if self.inner().gathering == Gathering::Pieces {
            return self.gather(chunk, window);
        }
        let room = self.host.window();
        match self.host.read(chunk, &mut window[..room]) {
            Ok(total) => self.begin(total, room, window),
            Err(error) => self.refuse(error),
        }
    }

    fn gather(&self, chunk: &H::Chunk, window: &mut [u8]) {
        // Of a packet that was gathered, only the head is looked at.
        let room = self.host.head();
        match self.host.gather(chunk, &mut window[..room]) {
            // Empty input says that something came.
            Ok(None) => self.consume(0, 0, 0, window),
            Ok(Some(total)) => {
                self.inner().gathering = Gathering::Rest;
                self.begin(total, room, window);
            }
            Err(error) => self.refuse(error),
        }
    }

    fn refuse(&self, error: Unreadable) {
        self.inform(match error {
            Unreadable::NotBinary => Session::handle_text,
            Unreadable::NoMemory => Session::handle_too_large,
        });
    }

    /// Reads the current chunk, which is in the window if it is not longer than `room`.
    fn begin(&self, total: usize, room: usize, window: &mut [u8]) {
        let loaded =
            if total <= room { total } else { self.load(0, self.host.head(), total, window) };
        self.consume(0, loaded, total, window);
    }

    /// Copies the next piece of the current chunk into the window, `room` bytes at most.
    fn load(&self, offset: usize, room: usize, total: usize, window: &mut [u8]) -> usize {
        let len = room.min(total - offset);
        self.host.copy(offset, &mut window[..len]);
        len
    }

    /// Reads the current chunk from `offset` on, of which `loaded` bytes are in the window.
    fn consume(&self, mut offset: usize, mut loaded: usize, total: usize, window: &mut [u8]) {
        self.reading.set(true);
        loop {
            let now = self.host.now();
            let consumed = {
                let inner = &mut *self.inner();
                inner.now = now;
                let bytes = window.get(..loaded).unwrap_or_default();
                let input = Input { bytes, offset, beyond: total - offset - loaded };
                inner.session.handle_input(now, input)
            };
            offset += consumed.used;
            if let Then::Missing(missing) = consumed.then {
                self.inner().gathering = Gathering::Pieces;
                self.host.keep(offset, missing);
            }
            self.deliver();
            match consumed.then {
                Then::Paused => {
                    self.inner().rest = Some((offset, total));
                    return self.host.later();
                }
                Then::Missing(_) => break,
                Then::More if offset >= total => break,
                Then::More => {}
            }
            let room = if consumed.used > loaded { self.host.head() } else { self.host.window() };
            loaded = self.load(offset, room, total, window);
        }
        self.reading.set(false);
    }

    /// The socket is left: what came from it is of no interest any more.
    fn forget_input(&self) {
        let inner = &mut *self.inner();
        inner.inbox.clear();
        inner.closed = None;
        inner.gathering = Gathering::None;
        if inner.rest.take().is_some() {
            self.reading.set(false);
        }
    }

    // --------------------------------------------------------------- what the session asks for

    /// Does all that the session asks for. Does nothing where that is under way.
    pub fn pump(&self) {
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
        if self.inner().session.pending_output() > 0 {
            // Keep-alive counts from when something left, not from when something last happened.
            self.inform(|_, _| {});
        }
        let mut sent = false;
        loop {
            let written = {
                let inner = &mut *self.inner();
                let Some(frame) = inner.session.poll_transmit(inner.now) else { break };
                if inner.closed.is_some() {
                    // Nobody reads it, and the session does not know yet.
                    continue;
                }
                self.host.write(frame)
            };
            sent = true;
            if written.and_then(|()| self.host.flush()).is_err() {
                // A socket that is closing does not throw: there is no close event to wait for.
                self.forget_input();
                self.host.close(true);
                return self.inform(|session, now| {
                    let id = session.attempt_id();
                    session.handle_close(now, id, None, Some("the transport could not send"));
                });
            }
        }
        if sent {
            self.check_transport();
        }
    }

    fn check_transport(&self) {
        if let Some(buffered) = self.host.buffered() {
            let inner = &mut *self.inner();
            inner.session.handle_buffered(inner.now, buffered);
        }
    }

    /// Hands all events to the application.
    fn deliver(&self) {
        if self.delivering.replace(true) {
            return;
        }
        while self.host.collect(&mut self.inner().session) {
            self.host.deliver(self);
            self.inner().session.delivered();
        }
        self.delivering.set(false);
    }

    fn execute(&self, command: Command) {
        match command {
            Command::Resolve { id, attempt, error } => self.host.resolve(id, attempt, error),
            Command::Open { id, url } => self.opened(id, self.host.open(id, &url)),
            Command::Close { force } => {
                self.forget_input();
                self.host.close(force);
            }
            Command::Authenticate { id, challenge } => self.host.authenticate(id, *challenge),
            Command::Load { id } => self.host.load(id),
            Command::Store => self.host.store(self.inner().session.changes()),
            Command::Judge { error, attempt } => {
                let retry = self.host.judge(error, attempt);
                self.inform(|session, now| session.handle_verdict(now, retry));
            }
        }
    }

    fn arm(&self) {
        let next = {
            let inner = &mut *self.inner();
            let drain = inner.session.is_blocked().then(|| inner.now.after_ms(DRAIN_MS));
            let next = Instant::first(&[inner.session.poll_timeout(), drain]);
            match (next, inner.armed) {
                (None, None) => return,
                // A timer that fires too early finds nothing to do and is set again: cheaper than
                // to move it with every packet.
                (Some(next), Some(armed)) if next >= armed => return,
                _ => {}
            }
            inner.armed = next;
            next
        };
        self.host.timer(next);
    }
}
