//! A session between an application, a clock and a server that all do what the input says. Whatever that is: nothing panics
//! or spins, what leaves is a conversation that the specification allows, every token completes once, and memory is
//! bounded.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use wasmqtt::codec::{self, *};
use wasmqtt::driver::{Driver, Host, NotSent, Opened, Unreadable};
use wasmqtt::options::{Draft, DraftKind, Options, Value};
use wasmqtt::session::{
    Accepted, AttemptId, Challenge, Change, Credentials, Error, Event, Handle, Instant, Resolved,
    Sequence, Server, Session, State, Token,
};

use super::chunks::Chunks;
use super::input::Input;
use super::memory;

/// Rounds in which the session must come to rest, whatever happened.
const PATIENCE: usize = 1_000;
/// ms.
const LONGEST_END: u64 = 10_000;
/// Bytes of the table of packet identifiers where a record of the store has the largest.
const PACKET_IDS: usize = 5 * 1024 * 1024;
/// Bytes of a topic: three levels of the longest.
const LONGEST_TOPIC: usize = 40;

/// Options, then one thing that happens after the other.
pub fn run(data: &[u8]) {
    // The driver keeps one window for all sessions of a thread.
    World::new(&[]).driver.received(vec![0]);
    let mut spent = 0;
    let counted = memory::allocated(|| {
        let mut world = World::new(data);
        while !world.scene().input.is_empty() {
            world.happen();
            world.pump();
        }
        let ending = world.scene().ending;
        match ending {
            Ending::Recovery => world.recover(),
            Ending::Force | Ending::Plain => {}
        }
        world.end();
        spent = data.len() + world.scene().spent;
    });
    // Tables and buffers of the session and of this file; then what was handed over, with its copy on the way out.
    assert!(counted.peak as usize <= 512 * 1024 + 8 * spent, "{} bytes", counted.peak);
    assert_eq!(counted.live, 0);
}

/// A session on the driver that the product runs on.
struct World<'a> {
    driver: Driver<Stage<'a>>,
}

/// The host of the session.
struct Stage<'a>(RefCell<Scene<'a>>);

/// The application, the clock and the server.
struct Scene<'a> {
    input: Input<'a>,
    /// Bytes that were handed to the session and are not in the input.
    spent: usize,
    now: Instant,
    state: State,
    last_token: u32,
    pending: BTreeSet<Token>,
    last_handle: u32,
    topics: Vec<u32>,
    ending: Ending,
    /// Messages are done with as soon as they are told.
    prompt: bool,
    /// Acknowledgements that the application owes.
    sequences: Vec<Sequence>,
    slots: BTreeMap<u32, Rc<str>>,
    /// Attempts that the application was asked about.
    resolving: Option<AttemptId>,
    authenticating: Option<AttemptId>,
    loading: Option<AttemptId>,
    /// A write is under way.
    storing: bool,
    socket: Option<Socket>,
    batch: Vec<Event>,
    /// The chunk that is being read, and how much of it is looked at at once.
    chunks: Chunks,
    window: usize,
    /// A chunk waits until the application has heard of the connection.
    waits: bool,
    /// In the transport's buffer.
    buffered: usize,
    /// Identifiers that the client must not give to something new.
    taken: Taken,
    /// Frames since the session was last at rest.
    frames: usize,
}

/// What happens when the input is used up.
#[derive(Clone, Copy, PartialEq)]
enum Ending {
    Plain,
    Force,
    /// From here on everybody does what he should: nothing may be left waiting.
    Recovery,
}

/// A connection as the server sees it.
struct Socket {
    id: AttemptId,
    open: bool,
    /// From CONNECT on.
    version: Option<Version>,
    has_method: bool,
    /// Of what the server says.
    decoder: Decoder,
    /// It has said what no server says.
    gone: bool,
    /// What the CONNACK allows.
    limits: Option<Limits>,
    /// DISCONNECT has come.
    goodbye: bool,
    aliases: BTreeMap<u16, Vec<u8>>,
    /// QoS 1 and 2 under way to the server.
    live: BTreeSet<PacketId>,
    /// Acknowledged by guess: the message may still be in the client's buffer.
    guessed: BTreeSet<PacketId>,
    /// SUBSCRIBE and UNSUBSCRIBE without an answer: the answer's first byte, identifier, number of filters.
    requests: VecDeque<(PacketType, PacketId, usize)>,
    /// What a good server would answer by now.
    answers: Vec<u8>,
    /// What the server has sent and the client may answer, by the answer's first byte.
    owed: BTreeMap<(PacketType, PacketId), usize>,
}

/// Messages under way, by packet identifier.
type Taken = BTreeMap<PacketId, Sent>;

/// What decides whether a server takes a message.
struct Sent {
    qos: QoS,
    retain: bool,
    /// Bytes of its packet. With the name of its topic in place of an alias, it may be longer.
    size: usize,
}

#[derive(Clone)]
struct Limits {
    receive_maximum: usize,
    packet_size: usize,
    qos: QoS,
    retain: bool,
    alias: u16,
}

impl<'a> World<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut input = Input::new(data);
        let options = options(&mut input);
        let mut session = Session::new(options, 7).unwrap();
        session.ask_verdict(input.flag());
        session.tap(input.flag());
        let ending =
            input.pick(&[Ending::Plain, Ending::Recovery, Ending::Recovery, Ending::Force]);
        let prompt = input.flag();
        let scene = Scene {
            input,
            spent: 0,
            now: Instant(0),
            state: State::Idle,
            last_token: 0,
            pending: BTreeSet::new(),
            last_handle: 0,
            topics: Vec::new(),
            ending,
            prompt,
            sequences: Vec::new(),
            slots: BTreeMap::new(),
            resolving: None,
            authenticating: None,
            loading: None,
            storing: false,
            socket: None,
            batch: Vec::new(),
            chunks: Chunks::default(),
            window: usize::MAX,
            waits: false,
            buffered: 0,
            taken: Taken::new(),
            frames: 0,
        };
        Self { driver: Driver::new(Stage(RefCell::new(scene)), session) }
    }

    fn scene(&self) -> RefMut<'_, Scene<'a>> {
        self.driver.host().0.borrow_mut()
    }

    fn session(&self) -> RefMut<'_, Session> {
        self.driver.session()
    }

    fn now(&self) -> Instant {
        self.scene().now
    }

    /// Does something with the scene and the session.
    fn with<T>(&self, what: impl FnOnce(&mut Scene<'a>, &mut Session) -> T) -> T {
        let mut session = self.driver.session();
        what(&mut self.scene(), &mut session)
    }

    /// One thing.
    fn happen(&mut self) {
        let what = self.scene().input.below(32);
        match what {
            // What the application wants.
            0 | 1 => self.session().connect(),
            2 => self.session().abandon(self.now()),
            3 => self.session().reconnect(self.now()),
            4..19 => self.ask(what),
            // What happens outside.
            19 | 20 => self.resolve(),
            21 | 22 => self.open(),
            23 => self.authenticate(),
            24 => {
                let socket = self.scene().drop_socket();
                if let Some(socket) = socket {
                    let code = self.scene().input.pick(&[None, Some(1000), Some(1006)]);
                    self.driver.closed(socket.id, code, None);
                    // Input that waited comes first.
                    self.driver.resume();
                }
            }
            25 => {
                let reads = self.scene().socket.is_some() && !self.scene().waits;
                if reads {
                    self.session().handle_text(self.now());
                }
            }
            26 => {
                self.with(|scene, session| {
                    scene.buffered = scene.input.pick(&[0, 0, 600_000, 2_000_000]);
                    session.handle_buffered(scene.now, scene.buffered);
                });
            }
            27 | 28 => self.wait(),
            _ => self.chunk(),
        }
    }

    /// The application wants something.
    fn ask(&mut self, what: usize) {
        let written = self.with(|scene, session| scene.call(session, what));
        if let Some(token) = written {
            // It may complete once more, before anything else happens.
            self.pump();
            self.scene().pending.remove(&token);
        }
    }

    /// Everything is told to end, and does.
    fn end(&mut self) {
        let force = self.scene().ending == Ending::Force;
        let draft = Draft::default();
        self.session().end(self.now(), 0, force, ReasonCode::SUCCESS, draft).unwrap();
        self.pump();
        let closing = self.session().state() == State::Closing;
        if closing {
            // It was closing already, and may take its time.
            let now = self.now().after_ms(LONGEST_END);
            self.scene().now = now;
            self.driver.timeout();
        }
        assert_eq!(self.session().state(), State::Closed);
        assert_eq!(self.session().poll_timeout(), None);
        assert!(self.scene().socket.is_none(), "the socket is left");
        assert!(self.scene().pending.is_empty(), "every token has completed");
    }

    /// The server starts anew and everybody does what he should: every token completes.
    fn recover(&mut self) {
        self.scene().buffered = 0;
        let socket = self.scene().drop_socket();
        if let Some(socket) = socket {
            self.driver.closed(socket.id, None, None);
            // Input that waited comes first.
            self.driver.resume();
        }
        for _ in 0..PATIENCE {
            self.pump();
            if self.scene().pending.is_empty() {
                return;
            }
            self.with(|scene, session| {
                session.handle_buffered(scene.now, 0);
                for sequence in std::mem::take(&mut scene.sequences) {
                    _ = session.acknowledge(sequence, ReasonCode::SUCCESS);
                }
                session.delivered();
            });
            self.recover_once();
        }
        panic!("{:?} never complete", self.scene().pending);
    }

    fn recover_once(&mut self) {
        let id = self.session().attempt_id();
        let state = self.session().state();
        let resolving = self.scene().resolving.take();
        let authenticating = self.scene().authenticating.take();
        let loading = self.scene().loading.take();
        let storing = std::mem::take(&mut self.scene().storing);
        let opening = self.scene().socket.as_ref().is_some_and(|socket| !socket.open);
        if storing {
            self.driver.stored(true);
        }
        if state == State::Idle {
            return self.session().connect();
        } else if loading == Some(id) {
            return self.driver.loaded(id, 0, Ok(Vec::new()));
        } else if resolving == Some(id) {
            let server = Server { url: "ws://a".into(), credentials: Credentials::default() };
            let resolved = Resolved { servers: vec![server], dynamic: false };
            return self.driver.resolved(id, Ok(resolved));
        } else if authenticating == Some(id) {
            return self.driver.authenticated(id, Ok(None));
        } else if opening {
            return self.open();
        }
        let answers = self.scene().socket.as_mut().and_then(Socket::answer);
        if let Some(answers) = answers {
            return self.hear(&answers, usize::MAX, usize::MAX);
        }
        let next = self.session().poll_timeout();
        if let Some(next) = next {
            let now = self.now().max(next);
            self.scene().now = now;
            self.driver.timeout();
        }
    }

    // ------------------------------------------------------------------------ the outside world

    /// The store answers.
    fn keep(&mut self) {
        let loading = self.scene().loading.take();
        let storing = std::mem::take(&mut self.scene().storing);
        if let Some(id) = loading {
            let records = {
                let input = &mut self.scene().input;
                let record =
                    |input: &mut Input| (0..input.below(40)).map(|_| input.byte()).collect();
                let records: Vec<_> = (0..input.below(3)).map(|_| record(input)).collect();
                input.flag().then_some(records)
            };
            if records.as_ref().is_some_and(|records| !records.is_empty()) {
                self.scene().spent += PACKET_IDS / 8;
            }
            self.driver.loaded(id, 0, records.ok_or(()));
        } else if storing {
            let kept = self.scene().input.flag();
            self.driver.stored(kept);
        }
    }

    fn resolve(&mut self) {
        self.keep();
        let resolving = self.scene().resolving.take();
        let Some(id) = resolving.filter(|&id| id == self.session().attempt_id()) else { return };
        let resolved = {
            let input = &mut self.scene().input;
            let servers = input.below(4);
            let credentials = Credentials {
                username: input.flag().then(|| "me".into()),
                password: (input.below(4) == 3).then(|| b"secret".to_vec()),
            };
            let server = |n: usize| Server {
                url: ["ws://a", "ws://b:8080", "wss://c"][n].into(),
                credentials: credentials.clone(),
            };
            (servers > 0).then(|| Resolved {
                servers: (0..servers).map(server).collect(),
                dynamic: input.flag(),
            })
        };
        self.driver.resolved(id, resolved.ok_or(()));
    }

    fn authenticate(&mut self) {
        let authenticating = self.scene().authenticating.take();
        if let Some(id) = authenticating.filter(|&id| id == self.session().attempt_id()) {
            let data = self.scene().input.pick(&[Ok(None), Ok(Some(1)), Ok(Some(2)), Err(())]);
            self.driver.authenticated(id, data.map(|len| len.map(|len| vec![0; len])));
        }
    }

    fn open(&mut self) {
        let id = {
            let scene = &mut *self.scene();
            let Some(socket) = scene.socket.as_mut().filter(|socket| !socket.open) else { return };
            socket.open = true;
            socket.id
        };
        self.driver.opened(id, Opened::Now);
    }

    /// Time passes, and timers that are due come to rest at once.
    fn wait(&mut self) {
        let now = {
            let due = self.session().poll_timeout();
            let scene = &mut *self.scene();
            let due = due.map_or(0, |at| at.since_ms(scene.now) + 1);
            let ms = scene.input.pick(&[0, 1, due, due, 200, 1_000, 60_000, 86_400_000]);
            scene.now = scene.now.after_ms(ms);
            scene.now
        };
        for _ in 0..8 {
            let next = self.session().poll_timeout();
            if next.is_none_or(|at| at > now) {
                return;
            }
            self.driver.timeout();
        }
        panic!("a timer is always due");
    }

    /// Does all that the session asks for.
    fn pump(&mut self) {
        self.scene().frames = 0;
        self.driver.pump();
    }

    /// The server sends some packets, or what may be some.
    fn chunk(&mut self) {
        let (bytes, window, piece) = {
            let scene = &mut *self.scene();
            let window = scene.input.pick(&[usize::MAX, usize::MAX, 7, 40]);
            let piece = scene.input.pick(&[usize::MAX, usize::MAX, 1, 13]);
            let mut bytes = Vec::new();
            for _ in 0..1 + scene.input.below(4) {
                scene.say(&mut bytes);
            }
            (bytes, window, piece)
        };
        self.hear(&bytes, window, piece);
    }

    /// Bytes of the server reach the client, if there is a connection.
    fn hear(&mut self, bytes: &[u8], window: usize, piece: usize) {
        {
            let scene = &mut *self.scene();
            scene.frames = 0;
            scene.spent += 4 * bytes.len();
            scene.window = window;
        }
        self.resume();
        {
            let scene = &mut *self.scene();
            let Some(socket) = scene.socket.as_mut().filter(|socket| socket.open) else { return };
            socket.say(bytes, &mut scene.taken);
        }
        for piece in bytes.chunks(piece.min(bytes.len()).max(1)) {
            self.resume();
            // It may have been left.
            if self.scene().socket.is_some() {
                self.driver.received(piece.to_vec());
            }
        }
    }

    /// Goes on with a chunk that waited for the application.
    fn resume(&mut self) {
        if std::mem::take(&mut self.scene().waits) {
            self.driver.resume();
        }
    }
}

impl Host for Stage<'_> {
    type Chunk = Vec<u8>;

    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn read(&self, chunk: &Vec<u8>, window: &mut [u8]) -> Result<usize, Unreadable> {
        Ok(self.0.borrow_mut().chunks.read(chunk.as_slice().into(), window))
    }

    fn copy(&self, offset: usize, window: &mut [u8]) {
        self.0.borrow().chunks.copy(offset, window);
    }

    fn keep(&self, offset: usize, missing: usize) {
        self.0.borrow_mut().chunks.keep(offset, missing);
    }

    fn gather(&self, chunk: &Vec<u8>, window: &mut [u8]) -> Result<Option<usize>, Unreadable> {
        self.0.borrow_mut().chunks.gather(chunk, window)
    }

    fn rest(&self, window: &mut [u8]) -> usize {
        self.0.borrow_mut().chunks.rest(window)
    }

    fn collect(&self, session: &mut Session) -> bool {
        let scene = &mut *self.0.borrow_mut();
        while let Some(event) = session.poll_event() {
            scene.batch.push(event);
        }
        !scene.batch.is_empty()
    }

    fn deliver(&self, driver: &Driver<Self>) {
        let scene = &mut *self.0.borrow_mut();
        let session = &mut *driver.session();
        for event in std::mem::take(&mut scene.batch) {
            scene.event(session, event);
        }
    }

    fn write(&self, frame: &[u8]) -> Result<(), NotSent> {
        assert!(!frame.is_empty());
        let scene = &mut *self.0.borrow_mut();
        scene.frames += 1;
        assert!(scene.frames < PATIENCE, "endless output");
        if let Some(socket) = &mut scene.socket {
            socket.receive(frame, &mut scene.taken);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), NotSent> {
        Ok(())
    }

    fn buffered(&self) -> Option<usize> {
        Some(self.0.borrow().buffered)
    }

    fn resolve(&self, id: AttemptId, _: u32, _: Option<Box<Error>>) {
        self.0.borrow_mut().resolving = Some(id);
    }

    fn open(&self, id: AttemptId, url: &str) -> Opened {
        assert!(url.starts_with("ws"));
        let scene = &mut *self.0.borrow_mut();
        assert!(scene.socket.is_none(), "one socket at a time");
        scene.socket = Some(Socket::new(id));
        Opened::Later
    }

    fn close(&self, _: bool) {
        self.0.borrow_mut().drop_socket();
    }

    fn authenticate(&self, id: AttemptId, _: Challenge) {
        self.0.borrow_mut().authenticating = Some(id);
    }

    fn load(&self, id: AttemptId) {
        self.0.borrow_mut().loading = Some(id);
    }

    fn store(&self, _: &[Change]) {
        self.0.borrow_mut().storing = true;
    }

    fn judge(&self, _: Box<Error>, _: u32) -> Option<bool> {
        self.0.borrow_mut().input.pick(&[None, Some(true), Some(false)])
    }

    fn timer(&self, _: Option<Instant>) {}

    fn later(&self) {
        self.0.borrow_mut().waits = true;
    }

    fn wake(&self) {}

    fn window(&self) -> usize {
        self.0.borrow().window.min(64 << 10)
    }

    fn head(&self) -> usize {
        self.window()
    }
}

impl Scene<'_> {
    fn drop_socket(&mut self) -> Option<Socket> {
        self.waits = false;
        self.socket.take()
    }

    // ------------------------------------------------------------------------ the application

    /// What the application wants. The result is the token of a message that was written at once.
    fn call(&mut self, session: &mut Session, what: usize) -> Option<Token> {
        match what {
            4 | 5 => return self.publish(session),
            6 => {
                for _ in 0..self.input.below(8) {
                    if let Some(token) = self.publish(session) {
                        self.pending.remove(&token);
                    }
                }
            }
            7 | 8 => self.subscribe(session),
            9 => {
                let handle = Handle(self.input.below(self.last_handle as usize + 2) as u32);
                self.ask(session, |session, token| {
                    session.leave(Some(token), handle, Draft::default())
                });
            }
            10 => {
                let filters: Vec<Rc<str>> =
                    (0..self.input.below(4)).map(|_| self.filter().into()).collect();
                let draft = self.draft(DraftKind::Unsubscribe);
                self.ask(session, |session, token| {
                    session.unsubscribe(Some(token), &filters, draft)
                });
            }
            11 => {
                self.ask(session, |session, token| session.reauthenticate(Some(token)));
            }
            12 => {
                let now = self.now;
                self.ask(session, |session, token| session.drain(now, token));
            }
            13 => {
                let token = self.input.below(self.last_token as usize + 1);
                if let Some(token) = Token::new(token as u32) {
                    self.pending.remove(&token);
                    session.cancel(self.now, token);
                }
            }
            14 => session.delivered(),
            15 => {
                if let Some(sequence) = self.sequence() {
                    session.hold(sequence);
                }
            }
            16 => {
                let sequence = self.sequence();
                let reason = ReasonCode(self.input.pick(&[0, 0, 0x10, 0x80, 0x99, 0x81, 0x01]));
                if let Some(sequence) = sequence {
                    _ = session.acknowledge(sequence, reason);
                }
            }
            17 => {
                let will = options(&mut self.input).will;
                _ = session.set_will(will);
            }
            18 => {
                // Seldom, for little happens afterwards.
                if self.input.below(4) == 0 {
                    let (timeout, force) =
                        (self.input.pick(&[0, 50, LONGEST_END]), self.input.flag());
                    let reason = ReasonCode(self.input.pick(&[0, 4, 0x80, 0x9C]));
                    let draft = self.draft(DraftKind::Disconnect);
                    _ = session.end(self.now, timeout, force, reason, draft);
                }
            }
            other => unreachable!("{other} is no wish of the application"),
        }
        None
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        let token = Token::new(self.last_token).unwrap();
        self.pending.insert(token);
        token
    }

    /// A call that completes by its token, unless it is refused.
    fn ask<E>(
        &mut self,
        session: &mut Session,
        call: impl FnOnce(&mut Session, Token) -> Result<(), E>,
    ) {
        let token = self.token();
        if call(session, token).is_err() {
            self.pending.remove(&token);
        }
        self.spent += 100;
    }

    fn publish(&mut self, session: &mut Session) -> Option<Token> {
        let topic = self.input.below(8);
        if topic >= self.topics.len() || self.input.below(64) == 0 {
            let text = self.filter();
            if let Ok(number) = session.topic(&text) {
                self.topics.push(number);
            }
        }
        if self.input.below(256) == 255 {
            session.forget_topics();
            self.topics.clear();
        }
        let topic = self.topics.get(topic).copied().unwrap_or(0);
        let payload = vec![b'x'; self.input.pick(&[0, 1, 30, 200, 20_000])];
        let qos = self.input.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let flags = self.input.byte();
        let draft = (flags & 6 == 6).then(|| self.draft(DraftKind::Publish));
        let token = self.token();
        let accepted =
            session.publish(self.now, topic, &payload, qos, flags & 1 == 1, draft, Some(token));
        self.spent += 300 + payload.len();
        if accepted.is_err() {
            self.pending.remove(&token);
        }
        if accepted == Ok(Accepted::Written) {
            assert_eq!(qos, QoS::AtMostOnce);
            return Some(token);
        }
        None
    }

    fn subscribe(&mut self, session: &mut Session) {
        let filters: Vec<(Rc<str>, _)> = (0..self.input.below(5))
            .map(|_| {
                let bits = self.input.below(0x30) as u8;
                let options = SubscribeOptions::decode(Version::V5, bits);
                (
                    self.filter().into(),
                    options.unwrap_or(SubscribeOptions {
                        qos: QoS::AtLeastOnce,
                        no_local: false,
                        retain_as_published: false,
                        retain_handling: 0,
                    }),
                )
            })
            .collect();
        let draft = self.draft(DraftKind::Subscribe);
        self.last_handle += 1;
        let handle = Handle(self.last_handle);
        self.spent += 200 * filters.len();
        self.ask(session, |session, token| session.subscribe(Some(token), handle, &filters, draft));
    }

    /// A topic or filter, valid more often than not.
    fn filter(&mut self) -> String {
        const LEVELS: [&str; 8] = ["a", "b", "+", "#", "", "$SYS", "$share/g", "a long level"];
        let levels: Vec<&str> =
            (0..1 + self.input.below(3)).map(|_| self.input.pick(&LEVELS)).collect();
        self.spent += 100;
        levels.join("/")
    }

    fn draft(&mut self, kind: DraftKind) -> Draft {
        let mut draft = Draft::default();
        let flags = self.input.byte();
        let number = Value::Number(f64::from(self.input.below(6) as u32));
        for (bit, path, value) in [
            (0, "messageExpiryInterval", number.clone()),
            (1, "topicAlias", number.clone()),
            (2, "subscriptionIdentifier", number.clone()),
            (3, "sessionExpiryInterval", number),
            (4, "userProperties", Value::Strings(vec!["k".into(), "v".into()])),
            (5, "contentType", Value::Text("t".into())),
            (5, "reasonString", Value::Text("because".into())),
        ] {
            if flags >> bit & 1 == 1 {
                // What this kind does not have is refused.
                _ = draft.set(kind, path, value);
            }
        }
        draft
    }

    fn sequence(&mut self) -> Option<Sequence> {
        let any = u32::from(self.input.byte());
        self.sequences.get(any as usize % 8).copied().or(Sequence::new(any))
    }

    /// Hears of an event.
    fn event(&mut self, session: &mut Session, event: Event) {
        {
            assert_ne!(self.state, State::Closed, "{event:?} behind the last state");
            match event {
                Event::State(State::Closed) => {}
                Event::State(state) => {
                    assert_ne!(state, self.state);
                    self.state = state;
                }
                Event::Closed(_) => {
                    assert!(self.pending.is_empty(), "every token completes before the end");
                    self.state = State::Closed;
                }
                Event::Published { token, .. }
                | Event::Failed { token, .. }
                | Event::Subscribed { token, .. }
                | Event::Unsubscribed { token, .. }
                | Event::Done(token) => {
                    assert!(self.pending.remove(&token), "{token} completes once")
                }
                Event::Slot { slot, topic, routes, .. } => {
                    assert!(routes.iter().all(|handle| handle.0 <= self.last_handle));
                    self.slots.insert(slot, topic);
                }
                Event::Message(message) => {
                    assert!(check_topic(self.slots[&message.slot].as_bytes()).is_ok());
                    let bytes = if message.assembled {
                        session.assembled().len()
                    } else {
                        self.chunks.current().len()
                    };
                    for span in [message.payload, message.properties] {
                        assert!((span.start + span.len) as usize <= bytes);
                    }
                    if let Some(sequence) = message.sequence {
                        self.sequences.push(sequence);
                        if !self.prompt {
                            session.hold(sequence);
                        }
                    }
                }
                Event::Inactive { handle, .. } => assert!(handle.0 <= self.last_handle),
                Event::Connected(_)
                | Event::ConnectFailed(_)
                | Event::Disconnected { .. }
                | Event::Reconnecting { .. }
                | Event::Error(_)
                | Event::Packet(_) => {}
            }
        }
    }

    // ------------------------------------------------------------------------------------ the server

    /// One packet that a server may send here, or a few bytes of something else.
    fn say(&mut self, out: &mut Vec<u8>) {
        let socket = self.socket.as_ref();
        let version = socket.and_then(|socket| socket.version).unwrap_or(Version::V5);
        let mut properties = PropertiesBuf::default();
        let welcome = socket.is_some_and(|socket| socket.limits.is_some());
        let packet = match self.input.below(16) {
            1 if welcome => Packet::PubComp(Ack {
                id: socket.and_then(|socket| socket.live.first()).copied().unwrap_or(packet_id(0)),
                reason: ReasonCode::SUCCESS,
                properties: Properties::EMPTY,
            }),
            0 | 1 => {
                self.connack_properties(&mut properties);
                let reason = ReasonCode(self.input.pick(&[0, 0, 0, 0, 0, 0x84, 0x86, 0x9C]));
                let session_present = self.input.flag() && reason == ReasonCode::SUCCESS;
                Packet::ConnAck(ConnAck {
                    session_present,
                    reason,
                    properties: properties.borrow(),
                })
            }
            2..6 => return self.message(version, out),
            6..9 => {
                let id = self.input.below(8);
                let id = socket
                    .and_then(|socket| socket.live.iter().nth(id))
                    .copied()
                    .unwrap_or(packet_id(id));
                let first = self.input.pick(&[
                    PacketType::PubAck,
                    PacketType::PubRec,
                    PacketType::PubComp,
                    PacketType::PubComp,
                ]);
                let reason = ReasonCode(self.input.pick(&[0, 0, 0, 0x10, 0x92, 0x97]));
                return encode_ack(first, id, reason, version, out);
            }
            9 => {
                let id = packet_id(self.input.below(8));
                return encode_ack(PacketType::PubRel, id, ReasonCode::SUCCESS, version, out);
            }
            10 | 11 => {
                let any = (PacketType::SubAck, packet_id(0), 1);
                let (first, id, count) =
                    socket.and_then(|socket| socket.requests.front()).copied().unwrap_or(any);
                let codes: Vec<u8> =
                    (0..count).map(|_| self.input.pick(&[0, 0, 1, 2, 0x80, 0x87, 0x11])).collect();
                let ack = SubAck { id, codes: &codes, properties: Properties::EMPTY };
                return ack.encode(first, version, out);
            }
            12 => Packet::PingResp,
            13 => {
                let reason = ReasonCode(self.input.pick(&[0, 0x8B, 0x8E, 0x9D, 0x04]));
                Packet::Disconnect(Disconnect { reason, properties: Properties::EMPTY })
            }
            14 => {
                properties.push(Property::AuthenticationMethod, codec::Value::Text("m"));
                let reason = ReasonCode(self.input.pick(&[0, 0x18, 0x19]));
                Packet::Auth(Auth { reason, properties: properties.borrow() })
            }
            _ => return out.extend_from_slice(self.input.block()),
        };
        packet.encode(version, out);
    }

    fn connack_properties(&mut self, out: &mut PropertiesBuf) {
        use codec::Value::{Byte, Four, Text, Two};
        let flags = self.input.number();
        let small = 1 + self.input.below(4) as u16;
        for (bit, property, value) in [
            (0, Property::ReceiveMaximum, Two(small)),
            (1, Property::MaximumPacketSize, Four(u32::from(small) * 16)),
            (2, Property::TopicAliasMaximum, Two(small)),
            (3, Property::TopicAliasMaximum, Two(1_000)),
            (4, Property::MaximumQos, Byte((small & 1) as u8)),
            (5, Property::RetainAvailable, Byte(0)),
            (6, Property::SubscriptionIdentifierAvailable, Byte(0)),
            (7, Property::WildcardSubscriptionAvailable, Byte(0)),
            (8, Property::SharedSubscriptionAvailable, Byte(0)),
            (9, Property::ServerKeepAlive, Two(small - 1)),
            (10, Property::SessionExpiryInterval, Four(u32::from(small) - 1)),
            (11, Property::AssignedClientIdentifier, Text("assigned")),
        ] {
            let twice = bit == 3 && flags & 4 == 4;
            if flags >> bit & 1 == 1 && !twice {
                out.push(property, value);
            }
        }
        // Where the client has a method, as it should be.
        if flags >> 12 != 0 && self.socket.as_ref().is_some_and(|socket| socket.has_method) {
            out.push(Property::AuthenticationMethod, Text("m"));
        }
    }

    fn message(&mut self, version: Version, out: &mut Vec<u8>) {
        let flags = self.input.byte();
        let qos = QoS::from_bits(flags & 3).unwrap_or(QoS::AtMostOnce);
        let topic =
            if flags & 0x40 != 0 && version == Version::V5 { String::new() } else { self.filter() };
        let mut properties = PropertiesBuf::default();
        for identifier in 0..self.input.below(4) as u32 {
            let identifier = identifier + u32::from(flags >> 6) + 1;
            properties.push(Property::SubscriptionIdentifier, codec::Value::Varint(identifier));
        }
        if flags & 0x20 != 0 {
            properties.push(Property::ContentType, codec::Value::Text("t"));
        }
        let alias =
            (flags & 0xC0 != 0 && version == Version::V5).then(|| 1 + self.input.below(5) as u16);
        let payload = vec![b'y'; self.input.pick(&[0, 1, 50, 300])];
        let publish = Publish {
            dup: flags & 8 != 0 && qos > QoS::AtMostOnce,
            qos,
            retain: flags & 4 != 0,
            topic: topic.as_bytes(),
            id: Some(packet_id(self.input.below(8))),
            properties: properties.borrow(),
            payload: &payload,
        };
        publish.encode_header(version, alias, payload.len(), out);
        out.extend_from_slice(&payload);
    }
}

impl Socket {
    fn new(id: AttemptId) -> Self {
        Self {
            id,
            open: false,
            version: None,
            has_method: false,
            decoder: Decoder::new(Version::V5, u32::MAX),
            gone: false,
            limits: None,
            goodbye: false,
            aliases: BTreeMap::new(),
            live: BTreeSet::new(),
            guessed: BTreeSet::new(),
            requests: VecDeque::new(),
            answers: Vec::new(),
            owed: BTreeMap::new(),
        }
    }

    /// A frame of the client: whole packets, each one allowed.
    fn receive(&mut self, frame: &[u8], taken: &mut Taken) {
        assert!(self.open, "nothing is sent before the socket is open");
        let mut decoder = Decoder::new(Version::V5, u32::MAX);
        let mut at = 0;
        while let Step::Packet { first, start, len } = decoder.step(frame, &mut at, 0).unwrap() {
            let body = &frame[start..][..len];
            let Some(version) = self.version else {
                // [MQTT-3.1.0-1], and the level behind the protocol's name.
                assert_eq!(first, PacketType::Connect.first_byte());
                let version = if body[6] == 4 { Version::V311 } else { Version::V5 };
                let Ok(Packet::Connect(connect)) = Packet::decode(version, first, body) else {
                    panic!("{body:02x?}")
                };
                self.version = Some(version);
                self.decoder = Decoder::new(version, u32::MAX);
                self.has_method = connect.properties.get(Property::AuthenticationMethod).is_some();
                continue;
            };
            let packet = Packet::decode(version, first, body).unwrap();
            let size = 1 + varint_size(len) + len;
            self.check(&packet, size, taken);
            self.plan(version, &packet);
        }
        assert_eq!((at, decoder.buffered()), (frame.len(), 0), "a frame holds whole packets");
    }

    /// What a good server says now.
    fn answer(&mut self) -> Option<Vec<u8>> {
        let version = self.version?;
        let mut out = std::mem::take(&mut self.answers);
        if self.limits.is_none() && out.is_empty() {
            let mut properties = PropertiesBuf::default();
            if self.has_method {
                properties.push(Property::AuthenticationMethod, codec::Value::Text("m"));
            }
            let properties = properties.borrow();
            ConnAck { session_present: false, reason: ReasonCode::SUCCESS, properties }
                .encode(version, &mut out);
        }
        (!out.is_empty()).then_some(out)
    }

    /// Notes the answer that a good server has for a packet.
    fn plan(&mut self, version: Version, packet: &Packet) {
        let out = &mut self.answers;
        let mut acknowledge = |first, id| encode_ack(first, id, ReasonCode::SUCCESS, version, out);
        match packet {
            Packet::Publish(Publish { id: Some(id), qos: QoS::AtLeastOnce, .. }) => {
                acknowledge(PacketType::PubAck, *id)
            }
            Packet::Publish(Publish { id: Some(id), .. }) => acknowledge(PacketType::PubRec, *id),
            Packet::PubRel(ack) => acknowledge(PacketType::PubComp, ack.id),
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                acknowledge(PacketType::PubRel, ack.id)
            }
            Packet::Subscribe(_) | Packet::Unsubscribe(_) => {
                if let Some(&(first, id, count)) = self.requests.back() {
                    SubAck { id, codes: &vec![0; count], properties: Properties::EMPTY }
                        .encode(first, version, out);
                }
            }
            Packet::PingReq => Packet::PingResp.encode(version, out),
            Packet::Auth(_) => {
                let mut properties = PropertiesBuf::default();
                properties.push(Property::AuthenticationMethod, codec::Value::Text("m"));
                Auth { reason: ReasonCode::SUCCESS, properties: properties.borrow() }.encode(out);
            }
            _ => {}
        }
    }

    fn check(&mut self, packet: &Packet, size: usize, taken: &mut Taken) {
        assert!(!self.goodbye, "{packet:?} behind DISCONNECT");
        let Some(limits) = self.limits.clone() else {
            match packet {
                Packet::Auth(_) => assert!(self.has_method),
                Packet::Disconnect(_) => self.goodbye = true,
                _ => panic!("{packet:?} before CONNACK"),
            }
            return;
        };
        assert!(size <= limits.packet_size, "{packet:?} of {size} bytes");
        match packet {
            Packet::Publish(publish) => {
                assert!(publish.qos <= limits.qos && (limits.retain || !publish.retain));
                if let Some(alias) = publish.properties.u32(Property::TopicAlias) {
                    let alias = alias as u16;
                    assert!(alias <= limits.alias);
                    if publish.topic.is_empty() {
                        assert!(self.aliases.contains_key(&alias));
                    } else {
                        self.aliases.insert(alias, publish.topic.to_vec());
                    }
                }
                assert!(publish.properties.subscription_ids().next().is_none());
                let Some(id) = publish.id.filter(|id| !self.guessed.remove(id)) else { return };
                let sent = Sent { qos: publish.qos, retain: publish.retain, size };
                assert!(publish.dup || self.is_free(id, taken), "identifier {id} is taken");
                taken.insert(id, sent);
                assert!(self.requests.iter().all(|(_, other, _)| *other != id));
                assert!(self.live.insert(id), "sent once on a connection");
                assert!(self.live.len() <= limits.receive_maximum);
            }
            Packet::Subscribe(Subscribe { id, .. })
            | Packet::Unsubscribe(Unsubscribe { id, .. }) => {
                assert!(self.is_free(*id, taken), "identifier {id} is taken");
                taken.remove(id);
                assert!(self.requests.iter().all(|(_, other, _)| other != id));
                let (first, count) = match packet {
                    Packet::Subscribe(subscribe) => {
                        (PacketType::SubAck, subscribe.filters.clone().count())
                    }
                    Packet::Unsubscribe(unsubscribe) => {
                        (PacketType::UnsubAck, unsubscribe.filters.clone().count())
                    }
                    _ => unreachable!(),
                };
                let count = if first == PacketType::UnsubAck && self.version == Some(Version::V311)
                {
                    0
                } else {
                    count
                };
                self.requests.push_back((first, *id, count));
            }
            Packet::PubAck(ack) => self.settle(PacketType::PubAck, ack.id),
            Packet::PubRec(ack) => self.settle(PacketType::PubRec, ack.id),
            Packet::PubComp(ack) => self.settle(PacketType::PubComp, ack.id),
            // Also for one that was sent on an earlier connection, and for a PUBREC out of nowhere.
            Packet::PubRel(_) => {}
            Packet::PingReq => {}
            Packet::Disconnect(_) => self.goodbye = true,
            Packet::Auth(_) => assert!(self.has_method),
            _ => panic!("a client sends no {packet:?}"),
        }
    }

    /// Whether no message has the identifier. One of QoS 1 that was withdrawn, or is given up, is not
    /// sent again on the next connection, and the server keeps nothing of it.
    fn is_free(&self, id: PacketId, taken: &Taken) -> bool {
        let kept = taken.get(&id).is_some_and(|sent| sent.qos == QoS::ExactlyOnce);
        !kept && !self.live.contains(&id)
    }

    fn settle(&mut self, kind: PacketType, id: PacketId) {
        let owed = self.owed.get_mut(&(kind, id)).filter(|count| **count > 0);
        *owed.expect("an acknowledgement for something") -= 1;
    }

    /// Notes what the server says, up to what no server says.
    fn say(&mut self, bytes: &[u8], taken: &mut Taken) {
        if bytes.is_empty() {
            return;
        }
        let Some(version) = self.version.filter(|_| !self.gone) else {
            self.gone = true;
            return;
        };
        let mut at = 0;
        loop {
            let (first, body) = match self.decoder.step(bytes, &mut at, 0) {
                Ok(Step::Packet { first, start, len }) => (first, bytes[start..][..len].to_vec()),
                Ok(Step::Split { first, body }) => (first, body),
                Ok(Step::More) => return,
                Ok(Step::Wait { .. } | Step::Skipped { .. }) => {
                    unreachable!("nobody said that it defers or skips")
                }
                Err(_) => break,
            };
            match Packet::decode_from_server(version, first, &body) {
                Ok(packet) => self.said(packet, taken),
                Err(_) => break,
            }
        }
        self.gone = true;
    }

    fn said(&mut self, packet: Packet, taken: &mut Taken) {
        match packet {
            Packet::ConnAck(connack)
                if self.limits.is_none() && connack.reason == ReasonCode::SUCCESS =>
            {
                let number =
                    |property, default| connack.properties.u32(property).unwrap_or(default);
                self.limits = Some(Limits {
                    receive_maximum: number(Property::ReceiveMaximum, 65_535) as usize,
                    packet_size: number(Property::MaximumPacketSize, u32::MAX) as usize,
                    qos: QoS::from_bits(number(Property::MaximumQos, 2) as u8).unwrap(),
                    retain: number(Property::RetainAvailable, 1) == 1,
                    alias: number(Property::TopicAliasMaximum, 0) as u16,
                });
                if !connack.session_present {
                    taken.clear();
                }
                // The client gives up what this server does not take. QoS 1 needs no more than that.
                let limits = self.limits.as_ref().expect("they were set");
                taken.retain(|_, sent| {
                    let longer = sent.size + LONGEST_TOPIC;
                    let refused = (sent.retain && !limits.retain)
                        || sent.qos > limits.qos
                        || longer > limits.packet_size;
                    sent.qos != QoS::AtLeastOnce || !refused
                });
            }
            Packet::Publish(publish) => {
                let Some(id) = publish.id else { return };
                let kind = match publish.qos {
                    QoS::ExactlyOnce => PacketType::PubRec,
                    _ => PacketType::PubAck,
                };
                *self.owed.entry((kind, id)).or_default() += 1;
            }
            Packet::PubRel(ack) => {
                *self.owed.entry((PacketType::PubComp, ack.id)).or_default() += 1
            }
            Packet::PubRec(ack) if !ack.reason.is_error() => {}
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                if !self.live.remove(&ack.id) {
                    self.guessed.insert(ack.id);
                }
                taken.remove(&ack.id);
            }
            Packet::SubAck(ack) | Packet::UnsubAck(ack) => {
                self.requests.retain(|(_, id, _)| *id != ack.id)
            }
            _ => {}
        }
    }
}

/// One of the packet identifiers, counted from 0.
fn packet_id(at: usize) -> PacketId {
    PacketId::new(at as u16 + 1).expect("not 0")
}

/// The options that matter to a session, each with a few values.
fn options(input: &mut Input) -> Options {
    let mut options = Options::new();
    let text = |text: &str| Value::Text(text.to_owned());
    let number = |number: u32| Value::Number(f64::from(number));
    let flags = u32::from_be_bytes([input.byte(), input.byte(), input.byte(), input.byte()]);
    let leaves = [
        (0, "protocolVersion", number(4)),
        (1, "protocolVersion", number(5)),
        (2, "clientId", text("me")),
        (3, "clean", Value::Bool(false)),
        (4, "keepalive", number(0)),
        (5, "keepalive", number(2)),
        (6, "reconnect", Value::Bool(false)),
        (7, "reconnect.initial", Value::Bool(true)),
        (8, "reconnect.maxAttempts", number(2)),
        (9, "resubscribe", Value::Bool(false)),
        (10, "queue.maxMessages", number(2)),
        (11, "queue.overflow", text("drop-oldest")),
        (12, "queue.overflow", text("latest-per-topic")),
        (13, "queue.qos0", Value::Bool(false)),
        (14, "topicAliases", Value::Bool(false)),
        (15, "properties.receiveMaximum", number(2)),
        (16, "properties.maximumPacketSize", number(100)),
        (17, "properties.topicAliasMaximum", number(2)),
        (18, "properties.topicAliasMaximum", number(0)),
        (19, "properties.requestProblemInformation", Value::Bool(false)),
        (20, "properties.sessionExpiryInterval", number(0)),
        (21, "authentication.method", text("m")),
        (22, "will.topic", text("state")),
        (23, "queue.maxBytes", number(100)),
        (24, "clientId", text("me")),
        (24, "store", Value::Bool(true)),
    ];
    for (bit, path, value) in leaves {
        // Most things are as usual.
        if flags >> bit & 1 == 1 {
            options.set(path, value).unwrap();
        }
    }
    // What 3.1.1 needs.
    if options.client_id.is_none() {
        options.clean = true;
    }
    options
}
