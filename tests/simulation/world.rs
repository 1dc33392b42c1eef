//! A session, its application, the network and the broker, in virtual time.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::ops::AddAssign;
use std::rc::Rc;

use wasmqtt::codec::{
    PacketSet, Properties, Property, QoS, ReasonCode, SubscribeOptions, SubscriptionId, Value,
    Version, matches,
};
use wasmqtt::driver::{Driver, Host, NotSent, Opened, Unreadable};
use wasmqtt::options::{Draft, Overflow};
use wasmqtt::session::{
    Accepted, AttemptId, Challenge, Change, Error, ErrorCode, Event, Handle, Input, Instant,
    Message, Resolved, Server, Session, State, Token,
};

use crate::app::{self, App, FILTERS, Fate, Offer, Request, Sent, Subscription, TOPICS};
use crate::broker::{Broker, CopyState, garbage};
use crate::case::{Action, Case, Config, Verb};
use crate::chunks::Chunks;
use crate::memory;
use crate::store::Memory;
use crate::trace::{self, number, payload};
use crate::wire::Wire;

/// A session on the driver that the product runs on.
pub struct World {
    driver: Driver<Stage>,
}

/// The host of the session.
pub struct Stage(RefCell<Scene>);

/// The application, the network and the broker, and what is known of the session.
struct Scene {
    config: Config,
    now: Instant,
    app: App,
    broker: Broker,
    wire: Wire,
    socket: Option<Socket>,
    /// What the session asked and nobody has answered, each with the attempt it belongs to.
    questions: VecDeque<(AttemptId, Question)>,
    /// Those that are answered as soon as the session rests.
    prompt: VecDeque<(AttemptId, Question)>,
    hesitates: bool,
    verdict: Option<bool>,
    /// Calls to be made while events are handed over.
    calls: VecDeque<Verb>,
    /// The events that are handed over.
    batch: Vec<Event>,
    before: Before,
    /// There may be events that the application has not heard of.
    unheard: bool,
    /// Subscriptions that were given back while the client was closing: it asks for nothing any
    /// more, and goes on naming them. The application has forgotten them.
    stale: Vec<Handle>,
    /// Tokens that were cancelled while their completion may have been on its way.
    withdrawn: Vec<Token>,
    /// Likewise Subscriptions that were left.
    left: Vec<Handle>,
    /// The chunk that the client reads, and how much of it was used.
    chunks: Chunks,
    used: usize,
    /// Bytes the client has used since it was made.
    received: u64,
    /// Bytes the client looks at at once.
    window: usize,
    /// What is left of a chunk behind a CONNACK waits.
    waits: bool,
    store: Memory,
    /// A write has failed since the session began.
    store_failed: bool,
    /// When the timer was set to fire.
    armed: Option<Instant>,
    /// The session's number for each topic.
    topics: [Option<u32>; TOPICS.len()],
    state: State,
    retry_at: Option<Instant>,
    connect_by: Option<Instant>,
    end_by: Option<Instant>,
    closed: bool,
    /// Since then timers were punctual.
    punctual: Instant,
    steps: u32,
    /// A DISCONNECT has judged a packet.
    judges: bool,
    tally: Tally,
}

/// The network between client and broker.
struct Socket {
    id: AttemptId,
    to_broker: Vec<u8>,
    to_client: Vec<u8>,
    /// Nothing arrives any more.
    silent: bool,
    /// Its buffer is full.
    full: bool,
    /// The broker broke the protocol.
    garbage: bool,
}

/// What the application had asked for when the session made the events that it hears now.
#[derive(Clone, Copy, Default)]
struct Before {
    version: u32,
    handles: usize,
    ended: bool,
}

#[derive(Clone, Copy)]
enum Question {
    Resolve,
    Open,
    Authenticate,
    Load,
}

/// What the runs went through.
#[derive(Default, Debug, Clone, Copy)]
pub struct Tally {
    pub steps: u64,
    pub connections: u64,
    pub resumed: u64,
    pub published: u64,
    pub completed: u64,
    pub delivered: u64,
    pub session_lost: u64,
    pub closed_early: u64,
    pub failed: u64,
    /// Messages and requests that ended every connection, or that a DISCONNECT judged.
    pub given_up: u64,
    /// Messages among them that the broker had nothing against.
    pub lost_to_cuts: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.connections += other.connections;
        self.resumed += other.resumed;
        self.published += other.published;
        self.completed += other.completed;
        self.delivered += other.delivered;
        self.session_lost += other.session_lost;
        self.closed_early += other.closed_early;
        self.failed += other.failed;
        self.given_up += other.given_up;
        self.lost_to_cuts += other.lost_to_cuts;
    }
}

impl World {
    pub fn new(case: &Case) -> Self {
        let config = case.config.clone();
        let mut session = Session::new(config.options(), case.seed).expect("options");
        session.tap(config.tapped);
        session.ask_verdict(config.asks_verdict);
        let scene = Scene {
            now: Instant::default().after_ms(1_000),
            app: App::default(),
            broker: Broker::new(config.clone()),
            wire: Wire::new(),
            socket: None,
            questions: VecDeque::new(),
            prompt: VecDeque::new(),
            hesitates: false,
            verdict: None,
            calls: VecDeque::new(),
            batch: Vec::new(),
            before: Before::default(),
            unheard: false,
            stale: Vec::new(),
            withdrawn: Vec::new(),
            left: Vec::new(),
            chunks: Chunks::default(),
            used: 0,
            received: 0,
            window: usize::MAX,
            waits: false,
            store: Memory::default(),
            store_failed: false,
            armed: None,
            topics: [None; TOPICS.len()],
            state: State::Idle,
            retry_at: None,
            connect_by: None,
            end_by: None,
            closed: false,
            punctual: Instant::default(),
            steps: 0,
            judges: false,
            tally: Tally::default(),
            config,
        };
        Self { driver: Driver::new(Stage(RefCell::new(scene)), session) }
    }

    fn scene(&self) -> RefMut<'_, Scene> {
        self.driver.host().0.borrow_mut()
    }

    /// Does something with the scene and the session.
    fn with<T>(&self, what: impl FnOnce(&mut Scene, &mut Session) -> T) -> T {
        let mut session = self.driver.session();
        what(&mut self.scene(), &mut session)
    }

    fn now(&self) -> Instant {
        self.scene().now
    }

    pub fn tally(&self) -> Tally {
        self.scene().tally
    }

    /// Runs a case, then lets everything come to its end.
    pub fn run(&mut self, case: &Case) {
        for action in &case.actions {
            trace::line(self.now(), || format!("{action:?}"));
            self.step(action);
        }
        self.scene().tally.steps += case.actions.len() as u64;
        trace::line(self.now(), || "all faults end".into());
        self.settle();
        self.probe();
        self.finish();
    }

    fn step(&mut self, action: &Action) {
        let mut flush = true;
        if let Action::Wait { .. } | Action::Late { .. } = action {
            // No time passes before what was written leaves.
            self.pump();
        }
        match action {
            Action::Call { verb, flush: now } => {
                self.with(|scene, session| scene.call(session, verb));
                flush = *now;
            }
            Action::InHandler(verb) => self.scene().calls.push_back(verb.clone()),
            Action::Hesitate(on) => self.scene().hesitates = *on,
            Action::Answer { fails } => self.answer_next(*fails),
            Action::Keep { fails } => self.keep(*fails),
            Action::Verdict(retry) => self.scene().verdict = Some(*retry),
            Action::ToBroker { bytes } => self.scene().carry_to_broker(*bytes as usize),
            Action::ToClient { bytes, window } => {
                self.carry_to_client(*bytes as usize, usize::from(*window));
            }
            Action::Wait { ms } => self.wait(u64::from(*ms)),
            Action::Late { ms } => {
                let scene = &mut *self.scene();
                scene.now = scene.now.after_ms(u64::from(*ms));
                scene.punctual = scene.now;
                scene.broker.tick(scene.now);
            }
            Action::Timer => self.driver.timeout(),
            Action::Cut { arrive } => self.cut(*arrive as usize),
            Action::Pressure(full) => self.press(*full),
            Action::Text => {
                let now = self.now();
                let some = self.scene().socket.as_mut().map(|socket| socket.garbage = true);
                if some.is_some() {
                    self.driver.session().handle_text(now);
                }
            }
            _ => self.scene().disturb(action),
        }
        self.scene().collect();
        self.resume();
        if flush {
            self.pump();
            self.check();
        } else {
            self.scene().unheard = true;
        }
    }

    // ------------------------------------------------------------------------ the driver's part

    /// Does all that the session asks for, and answers what it asks.
    fn pump(&mut self) {
        loop {
            self.driver.pump();
            let question = self.scene().prompt.pop_front();
            let Some((id, question)) = question else { return };
            self.answer(id, question, false);
        }
    }

    fn check(&mut self) {
        self.with(|scene, session| scene.check(session));
    }

    fn press(&mut self, full: bool) {
        self.with(|scene, session| {
            if let Some(socket) = &mut scene.socket {
                socket.full = full;
                session.handle_buffered(scene.now, socket.buffered());
            }
        });
    }

    fn answer_next(&mut self, fails: bool) {
        let question = self.scene().questions.pop_front();
        if let Some((id, question)) = question {
            self.answer(id, question, fails);
        }
    }

    fn keep(&mut self, fails: bool) {
        {
            let scene = &mut *self.scene();
            if !scene.store.is_writing() {
                return;
            }
            scene.store.settle(!fails);
            scene.store_failed |= fails;
        }
        self.driver.stored(!fails);
    }

    /// The driver ignores what belongs to an earlier attempt.
    fn answer(&mut self, id: AttemptId, question: Question, fails: bool) {
        let is_current = id == self.driver.session().attempt_id();
        match question {
            Question::Resolve => {
                let server = Server { url: "ws://host".into(), credentials: Default::default() };
                let dynamic = self.scene().config.dynamic_credentials;
                let resolved = Resolved { servers: vec![server], dynamic };
                self.driver.resolved(id, if fails { Err(()) } else { Ok(resolved) });
            }
            Question::Open if fails => {
                if is_current {
                    self.scene().connect_by = None;
                }
                self.driver.closed(id, Some(1006), None);
                // Input that waited comes first.
                self.driver.resume();
            }
            Question::Open => {
                if is_current {
                    self.scene().open_socket(id);
                }
                self.driver.opened(id, Opened::Now);
            }
            Question::Load => {
                let records = self.scene().store.records();
                self.driver.loaded(id, 0, if fails { Err(()) } else { Ok(records) });
            }
            Question::Authenticate => {
                self.driver.authenticated(id, if fails { Err(()) } else { Ok(None) });
            }
        }
    }

    // ------------------------------------------------------------------------------ the network

    fn carry_to_client(&mut self, bytes: usize, window: usize) {
        let chunk = {
            let scene = &mut *self.scene();
            scene.window = window;
            let Some(socket) = &mut scene.socket else { return };
            let bytes = bytes.min(socket.to_client.len());
            if bytes == 0 {
                None
            } else {
                Some(socket.to_client.drain(..bytes).collect::<Rc<[u8]>>())
            }
        };
        match chunk {
            Some(chunk) => self.driver.received(chunk),
            None => self.hang_up(),
        }
    }

    /// Nothing is left to arrive: the client hears that the broker has closed the socket, if so.
    fn hang_up(&mut self) {
        let socket = {
            let scene = &mut *self.scene();
            let ended = scene.broker.link.as_ref().is_none_or(|link| link.over);
            let over = |socket: &Socket| ended && !socket.silent && socket.to_client.is_empty();
            if !scene.socket.as_ref().is_some_and(over) {
                return;
            }
            trace::line(scene.now, || "the broker has closed the socket".into());
            scene.drop_socket()
        };
        if let Some(socket) = socket {
            self.driver.closed(socket.id, Some(1000), None);
            // Input that waited comes first.
            self.driver.resume();
        }
    }

    /// Goes on behind a CONNACK.
    fn resume(&mut self) {
        if std::mem::take(&mut self.scene().waits) {
            self.driver.resume();
        }
    }

    fn cut(&mut self, arrive: usize) {
        self.scene().carry_to_broker(arrive);
        let socket = self.scene().drop_socket();
        if let Some(socket) = socket {
            self.driver.closed(socket.id, Some(1006), None);
            // Input that waited comes first.
            self.driver.resume();
        }
    }

    // ------------------------------------------------------------------------------------- time

    fn wait(&mut self, ms: u64) {
        let until = self.now().after_ms(ms);
        loop {
            let next = self.driver.session().poll_timeout().filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.pass(next);
            self.fire();
            self.scene().check_keep_alive();
        }
        let scene = &mut *self.scene();
        scene.now = until;
        scene.check_keep_alive();
        scene.broker.tick(until);
    }

    fn pass(&mut self, until: Instant) {
        let scene = &mut *self.scene();
        scene.now = scene.now.max(until);
    }

    /// The timer fires. It must not ask for what has passed already.
    fn fire(&mut self) {
        for _ in 0..8 {
            trace::line(self.now(), || "the timer fires".into());
            self.driver.timeout();
            self.pump();
            let next = self.driver.session().poll_timeout();
            if next.is_none_or(|next| next > self.now()) {
                return self.check();
            }
        }
        panic!("the timer stands still");
    }

    // ------------------------------------------------------------------------------ how it ends

    /// The network and the broker behave, the application answers at once; time passes until
    /// nothing is left to do.
    fn settle(&mut self) {
        {
            let scene = &mut *self.scene();
            scene.hesitates = false;
            scene.verdict = None;
            scene.calls.clear();
            scene.app.holds = false;
            scene.broker.refusal = None;
            scene.broker.refused_filters = 0;
        }
        self.press(false);
        // Time alone, without a word of use from either side.
        let mut idle = 0;
        // Each packet that the broker hangs up on takes several connections.
        let patience = if self.scene().broker.has_hung_up { 2_000 } else { 100 };
        while idle < patience {
            self.scene().broker.hold_replies(false);
            while !self.scene().app.held.is_empty() {
                self.with(|scene, session| scene.acknowledge(session, 0, false));
            }
            while !self.scene().questions.is_empty() {
                self.answer_next(false);
                self.pump();
            }
            while self.scene().store.is_writing() {
                self.keep(false);
                self.pump();
            }
            self.pump();
            if self.moves() || self.scene().store.is_writing() {
                continue;
            }
            self.check();
            if self.with(|scene, session| scene.closed || scene.is_settled(session)) {
                return;
            }
            if self.scene().state == State::Idle {
                self.driver.session().connect();
                continue;
            }
            let silent = self.scene().socket.as_ref().is_some_and(|socket| socket.silent);
            // With a connection, there is only the keep-alive to wait for.
            let connected = self.scene().state == State::Connected;
            idle += if connected && !silent { 20 } else { 1 };
            let next = self.driver.session().poll_timeout();
            match next {
                Some(next) => {
                    self.pass(next);
                    self.fire();
                    let scene = &mut *self.scene();
                    scene.broker.tick(scene.now);
                }
                // Nobody asked for a keep-alive.
                None if silent => self.cut(0),
                None => panic!("nothing will ever happen again: {}", self.unsettled()),
            }
        }
        panic!("it does not settle: {}", self.unsettled());
    }

    fn unsettled(&self) -> String {
        self.with(|scene, session| scene.unsettled(session))
    }

    /// All bytes that are under way arrive; false: there were none.
    fn moves(&mut self) -> bool {
        let some = {
            let scene = &mut *self.scene();
            scene.collect();
            let ended = scene.broker.link.as_ref().is_none_or(|link| link.over);
            let Some(socket) = &scene.socket else { return false };
            !socket.to_broker.is_empty()
                || !socket.to_client.is_empty()
                || scene.waits
                || (ended && !socket.silent)
        };
        if some {
            self.scene().carry_to_broker(usize::MAX);
            self.carry_to_client(usize::MAX, usize::MAX);
            self.resume();
            self.pump();
        }
        some
    }

    /// After all that, the session works as on its first day.
    fn probe(&mut self) {
        if self.scene().closed {
            return;
        }
        trace::line(self.now(), || "does it still work?".into());
        for qos in [0, 1, 2] {
            let verb = Verb::Publish {
                topic: qos,
                qos,
                size: 5,
                retain: false,
                expiry: None,
                alias: None,
                told: true,
            };
            self.with(|scene, session| scene.publish(session, &verb));
            self.scene().offer(qos, qos, 5, false, false);
        }
        self.with(|scene, session| scene.subscribe(session, &[(0, 2)], None, false));
        self.settle();
        self.scene().offer(0, 2, 5, false, false);
        self.settle();
    }

    /// Everything was delivered; then the end, after which nothing happens any more.
    fn finish(&mut self) {
        if !self.scene().closed {
            self.scene().check_deliveries();
            trace::line(self.now(), || "the end".into());
            self.with(|scene, session| scene.end(session, 3_000, false));
            self.settle();
        }
        assert!(self.scene().closed && self.scene().app.pending.is_empty());
        let now = self.now().after_ms(1_000_000);
        let session = &mut *self.driver.session();
        let id = session.attempt_id();
        let token = Token::new(1).unwrap();
        session.handle_timeout(now);
        session.handle_open(now, id);
        session.handle_close(now, id, None, None);
        session.handle_input(now, Input::from(&[0xD0, 0][..]));
        session.handle_text(now);
        session.handle_verdict(now, Some(true));
        session.handle_auth(now, id, Ok(None));
        session.connect();
        session.reconnect(now);
        session.abandon(now);
        session.cancel(now, token);
        assert!(session.drain(now, token).is_err());
        assert_eq!(session.poll_event(), None, "an event after the end");
        assert_eq!(session.poll_command(), None, "a command after the end");
        assert_eq!(session.poll_transmit(now), None, "bytes after the end");
        assert_eq!(session.poll_timeout(), None, "a timer after the end");
    }
}

impl Socket {
    fn buffered(&self) -> usize {
        if self.full { 2 << 20 } else { 0 }
    }
}

impl Host for Stage {
    type Chunk = Rc<[u8]>;

    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn read(&self, chunk: &Rc<[u8]>, window: &mut [u8]) -> Result<usize, Unreadable> {
        let scene = &mut *self.0.borrow_mut();
        scene.used = 0;
        Ok(scene.chunks.read(chunk.clone(), window))
    }

    fn copy(&self, offset: usize, window: &mut [u8]) {
        self.0.borrow().chunks.copy(offset, window);
    }

    fn keep(&self, offset: usize, missing: usize) {
        self.0.borrow_mut().chunks.keep(offset, missing);
    }

    fn gather(&self, chunk: &Rc<[u8]>, window: &mut [u8]) -> Result<Option<usize>, Unreadable> {
        let scene = &mut *self.0.borrow_mut();
        let total = scene.chunks.gather(chunk, window)?;
        if total.is_some() {
            scene.used = 0;
        }
        Ok(total)
    }

    fn rest(&self, window: &mut [u8]) -> usize {
        let scene = &mut *self.0.borrow_mut();
        scene.used = 0;
        scene.chunks.rest(window)
    }

    fn collect(&self, session: &mut Session) -> bool {
        self.0.borrow_mut().collect_events(session)
    }

    fn deliver(&self, driver: &Driver<Self>) {
        let batch = std::mem::take(&mut self.0.borrow_mut().batch);
        for event in batch {
            let session = &mut *driver.session();
            let scene = &mut *self.0.borrow_mut();
            scene.event(session, event);
            if let Some(verb) = scene.calls.pop_front() {
                trace::line(scene.now, || format!("in a handler: {verb:?}"));
                scene.call(session, &verb);
            }
        }
    }

    fn write(&self, frame: &[u8]) -> Result<(), NotSent> {
        self.0.borrow_mut().transmit(frame);
        Ok(())
    }

    fn flush(&self) -> Result<(), NotSent> {
        Ok(())
    }

    fn buffered(&self) -> Option<usize> {
        self.0.borrow().socket.as_ref().map(Socket::buffered)
    }

    fn resolve(&self, id: AttemptId, _: u32, _: Option<Box<Error>>) {
        self.0.borrow_mut().ask(id, Question::Resolve);
    }

    fn open(&self, id: AttemptId, _: &str) -> Opened {
        let scene = &mut *self.0.borrow_mut();
        scene.connect_by = Some(scene.now.after_ms(30_000));
        scene.ask(id, Question::Open);
        Opened::Later
    }

    fn close(&self, _: bool) {
        self.0.borrow_mut().close_socket();
    }

    fn authenticate(&self, id: AttemptId, _: Challenge) {
        self.0.borrow_mut().ask(id, Question::Authenticate);
    }

    fn load(&self, id: AttemptId) {
        self.0.borrow_mut().ask(id, Question::Load);
    }

    fn store(&self, changes: &[Change]) {
        self.0.borrow_mut().store.write(changes);
    }

    fn judge(&self, _: Box<Error>, _: u32) -> Option<bool> {
        self.0.borrow_mut().verdict.take()
    }

    fn timer(&self, at: Option<Instant>) {
        self.0.borrow_mut().armed = at;
    }

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

impl Scene {
    // ---------------------------------------------------------------------------- the host's part

    /// Takes the session's events, and notes what the client has read of the current chunk.
    fn collect_events(&mut self, session: &mut Session) -> bool {
        let received = session.stats().bytes_received;
        let used = (received - std::mem::replace(&mut self.received, received)) as usize;
        let chunk = self.chunks.current().clone();
        self.wire.received(self.now, &chunk[self.used..][..used]);
        self.used += used;
        self.before = Before {
            version: self.app.version,
            handles: self.app.subscriptions.len(),
            ended: self.end_by.is_some(),
        };
        while let Some(event) = session.poll_event() {
            self.batch.push(event);
        }
        self.unheard = !self.batch.is_empty();
        if !self.unheard {
            self.withdrawn.clear();
            self.left.clear();
        }
        self.unheard
    }

    fn transmit(&mut self, frame: &[u8]) {
        // What was written for a socket that is gone is lost.
        let Some(socket) = &mut self.socket else { return };
        self.wire.sent(self.now, frame, &mut self.app.sent);
        if !socket.silent {
            socket.to_broker.extend_from_slice(frame);
        }
    }

    fn ask(&mut self, id: AttemptId, question: Question) {
        let asked = if self.hesitates { &mut self.questions } else { &mut self.prompt };
        asked.push_back((id, question));
    }

    fn open_socket(&mut self, id: AttemptId) {
        assert!(self.socket.is_none(), "two sockets");
        self.socket = Some(Socket {
            id,
            to_broker: Vec::new(),
            to_client: Vec::new(),
            silent: false,
            full: false,
            garbage: false,
        });
        self.broker.accept(self.now);
        self.wire.open();
    }

    /// The client closes the socket.
    fn close_socket(&mut self) {
        if self.socket.is_some() && !self.config.lossy_close {
            self.carry_to_broker(usize::MAX);
        }
        self.drop_socket();
    }

    fn drop_socket(&mut self) -> Option<Socket> {
        let socket = self.socket.take();
        if socket.is_some() {
            self.broker.hang_up(self.now);
        }
        self.waits = false;
        self.connect_by = None;
        socket
    }

    // ------------------------------------------------------------------------------ the network

    /// What happens at the broker and on the way.
    fn disturb(&mut self, action: &Action) {
        match action {
            Action::Silence => {
                if let Some(socket) = &mut self.socket {
                    self.broker.hang_up(self.now);
                    socket.silent = true;
                    socket.to_broker.clear();
                    socket.to_client.clear();
                }
            }
            Action::Offer { topic, qos, size, retain, properties } => {
                self.offer(*topic, *qos, *size, *retain, *properties)
            }
            Action::HoldReplies(on) => self.broker.hold_replies(*on),
            Action::Reply { which } => self.broker.reply(*which),
            Action::Limits(limits) => self.broker.limits = *limits,
            Action::RefuseConnect { reason } => self.broker.refusal = Some(*reason),
            Action::RefuseFilters { bits } => self.broker.refused_filters = *bits,
            Action::LoseSession => {
                self.broker.hang_up(self.now);
                self.broker.lose_session();
            }
            Action::Disconnect { reason } => {
                let reasons = [
                    0x00, 0x82, 0x89, 0x8B, 0x8D, 0x8E, 0x93, 0x97, 0x98, 0x98, 0x9C, 0xA0, 0x8F,
                    0x90, 0x95, 0x9B, 0xA2,
                ];
                let reason = reasons[usize::from(*reason) % reasons.len()];
                self.judges |= [0x8F, 0x90, 0x95, 0x9B, 0xA2].contains(&reason);
                self.broker.disconnect(ReasonCode(reason));
            }
            Action::Garbage { which } => {
                if let Some(socket) = &mut self.socket {
                    socket.garbage = true;
                    self.broker.babble(&garbage(*which));
                }
            }
            other => unreachable!("{other:?} is done elsewhere"),
        }
    }

    /// What the broker has written is under way.
    fn collect(&mut self) {
        if let Some(link) = &mut self.broker.link {
            let out = std::mem::take(&mut link.out);
            if let Some(socket) = self.socket.as_mut().filter(|socket| !socket.silent) {
                socket.to_client.extend(out);
            }
        }
    }

    fn carry_to_broker(&mut self, bytes: usize) {
        let Some(socket) = &mut self.socket else { return };
        let bytes = bytes.min(socket.to_broker.len());
        let arrived: Vec<u8> = socket.to_broker.drain(..bytes).collect();
        self.broker.read(self.now, &arrived, &mut self.app.sent);
        self.collect();
    }

    /// The client says something within the keep-alive interval.
    fn check_keep_alive(&self) {
        let seconds = u64::from(self.wire.keep_alive);
        if self.socket.is_some() && self.wire.is_up() && seconds > 0 {
            let silent = self.now.since_ms(self.wire.last_sent.max(self.punctual));
            assert!(
                silent <= seconds * 1_000,
                "silent for {silent} ms with a keep-alive of {seconds} s"
            );
        }
    }

    // ------------------------------------------------------------------------------------ what the application does

    fn call(&mut self, session: &mut Session, verb: &Verb) {
        match verb {
            Verb::Connect => session.connect(),
            Verb::Reconnect => session.reconnect(self.now),
            Verb::Abandon => session.abandon(self.now),
            Verb::End { timeout_ms, force } => self.end(session, u64::from(*timeout_ms), *force),
            Verb::Publish { .. } => self.publish(session, verb),
            Verb::Subscribe { filters, identifier, properties } => {
                self.subscribe(session, filters, *identifier, *properties)
            }
            Verb::Leave { which, told } => {
                let active = self.app.active();
                if let Some(&handle) = active.get(usize::from(*which) % active.len().max(1)) {
                    let token = told.then(|| self.app.token());
                    let result = session.leave(token, handle, Draft::default());
                    if self.accepted(session, result.err(), token, Request::Unsubscribe, &[]) {
                        self.leave(handle);
                    }
                }
            }
            Verb::Unsubscribe { filters } => {
                let filters: Vec<&str> =
                    filters.iter().map(|at| FILTERS[usize::from(*at) % FILTERS.len()]).collect();
                let names: Vec<Rc<str>> = filters.iter().map(|filter| (*filter).into()).collect();
                let token = self.app.token();
                let result = session.unsubscribe(Some(token), &names, Draft::default());
                if self.accepted(session, result.err(), Some(token), Request::Unsubscribe, &[]) {
                    self.app.leave(.., &filters);
                }
            }
            Verb::Cancel { which } => self.cancel(session, *which),
            Verb::Drain => {
                let token = self.app.token();
                let result = session.drain(self.now, token);
                self.accepted(session, result.err(), Some(token), Request::Drain, &[]);
            }
            Verb::Reauthenticate => {
                let token = self.app.token();
                let result = session.reauthenticate(Some(token));
                let codes = [
                    ErrorCode::NotSupported,
                    ErrorCode::ConnectionLost,
                    ErrorCode::AuthenticationFailed,
                ];
                self.accepted(session, result.err(), Some(token), Request::Reauthenticate, &codes);
            }
            Verb::Acknowledge { which, refuse } => {
                if !self.app.held.is_empty() {
                    let at = usize::from(*which) % self.app.held.len();
                    self.acknowledge(session, at, *refuse);
                }
            }
            Verb::HoldMessages(on) => self.app.holds = *on,
            Verb::ForgetTopics => {
                session.forget_topics();
                self.topics = Default::default();
            }
        }
    }

    /// Whether a call was accepted; its token will complete then. `codes`: why it may be refused, beside that all is over.
    fn accepted(
        &mut self,
        session: &mut Session,
        error: Option<Box<Error>>,
        token: Option<Token>,
        request: Request,
        codes: &[ErrorCode],
    ) -> bool {
        match error {
            None => {
                if let Some(token) = token {
                    self.app.expect(token, request);
                }
                true
            }
            Some(error) => {
                trace::line(self.now, || format!("refused: {:?} {}", error.code, error.what));
                let over = matches!(session.state(), State::Closing | State::Closed);
                let closed = error.code == ErrorCode::Closed && over;
                assert!(
                    closed || codes.contains(&error.code),
                    "{request:?} was refused: {error:?}"
                );
                false
            }
        }
    }

    fn end(&mut self, session: &mut Session, timeout_ms: u64, force: bool) {
        let again = matches!(session.state(), State::Closing | State::Closed);
        let result =
            session.end(self.now, timeout_ms, force, ReasonCode::SUCCESS, Draft::default());
        result.expect("end() with valid arguments");
        if !again {
            self.end_by = Some(self.now.after_ms(timeout_ms));
        }
    }

    fn publish(&mut self, session: &mut Session, verb: &Verb) {
        let &Verb::Publish { topic, qos, size, retain, expiry, alias, told } = verb else {
            return;
        };
        let topic = usize::from(topic) % TOPICS.len();
        let qos = QoS::from_bits(qos).unwrap();
        let n = self.app.sent.len();
        let token = told.then(|| self.app.token());
        let draft = (expiry.is_some() || alias.is_some()).then(|| Draft {
            message_expiry: expiry.map(Into::into),
            topic_alias: alias.map(Into::into),
            ..Draft::default()
        });
        let name = *self.topics[topic].get_or_insert_with(|| session.topic(TOPICS[topic]).unwrap());
        self.app.sent.push(Sent {
            topic,
            qos,
            size,
            retain,
            since: self.now,
            expiry,
            aliased: alias.is_some(),
            fate: Fate::Refused,
            first_sent: None,
            left: None,
            written: false,
            taken: 0,
            refused: false,
            connections: 0,
            last_connection: 0,
            withdrawn_on: None,
        });
        self.tally.published += 1;
        let before = session.stats();
        let result = session.publish(self.now, name, &payload(n, size), qos, retain, draft, token);
        let after = session.stats();
        trace::line(self.now, || {
            format!(
                "publish #{n} token {token:?}: {:?}",
                result.as_ref().map_err(|error| error.code)
            )
        });
        let limits = self.config.options().queue;
        assert!(
            after.queued_messages <= before.queued_messages.max(limits.max_messages),
            "the queue is too long"
        );
        let bytes = before.queued_bytes.max(limits.max_bytes.into());
        assert!(after.queued_bytes <= bytes, "the queue is too large");
        let codes = [
            ErrorCode::QueueFull,
            ErrorCode::NotSupported,
            ErrorCode::PacketTooLarge,
            ErrorCode::ConnectionLost,
        ];
        let fate = match result {
            Ok(Accepted::Written) => {
                assert_eq!(qos, QoS::AtMostOnce, "QoS 0 alone needs no answer");
                Fate::Done
            }
            Ok(Accepted::Pending) if !told => Fate::Untold,
            Ok(Accepted::Pending) => Fate::Pending,
            Err(_) => Fate::Refused,
        };
        let pending = token.filter(|_| fate == Fate::Pending);
        self.accepted(session, result.err(), pending, Request::Publish(n), &codes);
        self.app.sent[n].fate = fate;
    }

    fn subscribe(
        &mut self,
        session: &mut Session,
        filters: &[(u8, u8)],
        identifier: Option<u8>,
        properties: bool,
    ) {
        // Without resubscribe, which of several filters went with the session is not told.
        let count = if self.config.no_resubscribe { 1 } else { filters.len() };
        let asked: Vec<(&'static str, QoS)> = filters[..count]
            .iter()
            .map(|&(at, qos)| {
                (FILTERS[usize::from(at) % FILTERS.len()], QoS::from_bits(qos).unwrap())
            })
            .collect();
        let named: Vec<(Rc<str>, SubscribeOptions)> = asked
            .iter()
            .map(|&(filter, qos)| {
                let options = SubscribeOptions {
                    qos,
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: 0,
                };
                (filter.into(), options)
            })
            .collect();
        let mut draft = Draft {
            subscription_identifier: identifier.and_then(|id| SubscriptionId::new(id.into())),
            ..Draft::default()
        };
        if properties {
            draft.properties.push(Property::UserProperty, Value::Pair("a", "b"));
        }
        let token = self.app.token();
        let handle = Handle(self.app.subscriptions.len() as u32);
        let result = session.subscribe(Some(token), handle, &named, draft);
        if self.accepted(
            session,
            result.err(),
            Some(token),
            Request::Subscribe(handle),
            &[ErrorCode::NotSupported],
        ) {
            self.app.version += 1;
            let mut once: Vec<(&'static str, QoS)> = Vec::new();
            for (filter, qos) in asked {
                if !once.iter().any(|(other, _)| *other == filter) {
                    once.push((filter, qos));
                }
            }
            self.app.subscriptions.push(Subscription {
                filters: once,
                has_left: false,
                active: true,
                manual: identifier.is_some(),
            });
        }
    }

    fn cancel(&mut self, session: &mut Session, which: u8) {
        let at = usize::from(which) % self.app.pending.len().max(1);
        let Some((token, request)) =
            self.app.pending.iter().nth(at).map(|(token, request)| (*token, *request))
        else {
            return;
        };
        trace::line(self.now, || format!("cancel token {token}: {request:?}"));
        let queued = session.stats().queued_messages;
        session.cancel(self.now, token);
        self.app.pending.remove(&token);
        if self.unheard {
            self.withdrawn.push(token);
        }
        match request {
            Request::Publish(n) => {
                let message = &mut self.app.sent[n];
                let dropped =
                    session.stats().queued_messages < queued && message.first_sent.is_none();
                message.fate = if dropped { Fate::Dropped } else { Fate::Withdrawn };
                message.withdrawn_on = Some(self.wire.connection());
            }
            Request::Subscribe(handle) => {
                self.app.withdrew = true;
                // What was granted in the meantime is given back.
                if session.leave(None, handle, Draft::default()).is_err() {
                    self.stale.push(handle);
                }
                self.leave(handle);
            }
            _ => {}
        }
    }

    fn leave(&mut self, handle: Handle) {
        self.app.end(handle);
        if self.unheard {
            self.left.push(handle);
        }
    }

    fn acknowledge(&mut self, session: &mut Session, at: usize, refuse: bool) {
        let (sequence, copy) = self.app.held.remove(at);
        if refuse && session.acknowledge(sequence, ReasonCode::NOT_AUTHORIZED).is_ok() {
            self.broker.copies[copy].refused = true;
        } else {
            session.acknowledge(sequence, ReasonCode::SUCCESS).expect("an acknowledgement");
        }
    }

    fn offer(&mut self, topic: u8, qos: u8, size: u16, retain: bool, properties: bool) {
        let topic = usize::from(topic) % TOPICS.len();
        let offer = self.app.offers.len();
        let there = self.broker.session.as_ref().map_or(0, |session| session.subscriptions.len());
        let settled = self.subscriptions_agree()
            && there == self.app.filters().len()
            && self.wire.is_up()
            && !self
                .app
                .pending
                .values()
                .any(|request| matches!(request, Request::Subscribe(_) | Request::Unsubscribe))
            // Identifiers by hand may be those of the client.
            && !self.app.subscriptions.iter().any(|subscription| subscription.manual);
        self.app.offers.push(Offer {
            settled,
            version: self.app.version,
            connection: self.tally.connections,
            expected: self.app.interested(TOPICS[topic]),
            got: Default::default(),
            disturbed: false,
            moved: false,
        });
        let all =
            self.broker.offer(offer, topic, QoS::from_bits(qos).unwrap(), size, retain, properties);
        self.app.offers[offer].settled &= all;
        trace::line(self.now, || {
            let copies =
                self.broker.copies.iter().enumerate().filter(|(_, copy)| copy.offer == Some(offer));
            format!(
                "offer {offer}: copies {:?}",
                copies.map(|(at, copy)| (at, copy.qos)).collect::<Vec<_>>()
            )
        });
    }

    /// The broker has the subscriptions that the application believes in.
    fn subscriptions_agree(&self) -> bool {
        let believed = self.app.filters();
        match &self.broker.session {
            Some(session) => {
                let mut there = session.subscriptions.keys();
                there.all(|filter| believed.contains_key(filter) || self.wire.may_be_left(filter))
                    && believed.iter().all(|(filter, qos)| {
                        session.subscriptions.get(filter).is_some_and(|grant| grant.asked >= *qos)
                    })
            }
            None => believed.is_empty(),
        }
    }

    // ------------------------------------------------------------------------------------ what the application hears

    fn event(&mut self, session: &mut Session, event: Event) {
        let before = self.before;
        if !matches!(event, Event::Message(_) | Event::Slot { .. } | Event::Packet(_)) {
            trace::line(self.now, || format!("event: {event:?}"));
        }
        match event {
            Event::State(state) => self.enter(state),
            Event::Connected(info) => {
                assert_eq!(self.state, State::Connected);
                self.tally.connections += 1;
                self.tally.resumed += u64::from(info.session_present);
                self.retry_at = None;
                self.connect_by = None;
                if !info.session_present {
                    self.app.version += 1;
                }
            }
            Event::ConnectFailed(_) => assert_eq!(self.state, State::Idle),
            Event::Disconnected { .. } => {
                assert!(!before.ended, "'disconnect' after end()");
                for message in &mut self.app.sent {
                    message.written = true;
                }
            }
            Event::Reconnecting { delay_ms, .. } => {
                self.retry_at = Some(self.now.after_ms(delay_ms))
            }
            Event::Error(error) => {
                let garbage = self.socket.as_ref().is_some_and(|socket| socket.garbage);
                match error.code {
                    ErrorCode::ProtocolError => assert!(garbage, "{error:?}"),
                    // A message without a token is given up.
                    ErrorCode::PublishRefused => {
                        self.tally.given_up += 1;
                        let judged = error.reason.is_some();
                        let may = |message: &Sent| {
                            message.fate == Fate::Untold
                                && (judged || self.wire.may_give_up(message))
                        };
                        assert!(self.app.sent.iter().any(may), "{error:?}");
                    }
                    ErrorCode::StoreFailed => assert!(self.store_failed, "{error:?}"),
                    _ => {
                        let gone = app::refused(&error.filters);
                        assert!(!gone.is_empty(), "{error:?}");
                        self.app.leave(..before.handles, &gone);
                    }
                }
            }
            Event::Closed(error) => {
                assert_eq!(self.state, State::Closed);
                assert!(!self.closed, "closed twice");
                assert_eq!(error.is_none(), self.end_by.is_some(), "{error:?}");
                assert!(self.app.pending.is_empty(), "left behind: {:?}", self.app.pending);
                self.closed = true;
                self.tally.closed_early += u64::from(error.is_some());
                for handle in self.app.active() {
                    self.app.end(handle);
                }
            }
            Event::Slot { slot, topic, routes, identifiers } => {
                assert!(app::is_set(&routes), "{routes:?}");
                self.app.slots.insert(slot, (topic, routes, identifiers));
            }
            Event::Message(message) => self.message(session, &message, before.version),
            Event::Published { token, reason, .. } => {
                let Some(Request::Publish(n)) = self.complete(token) else {
                    return;
                };
                let message = &mut self.app.sent[n];
                message.fate = Fate::Done;
                self.tally.completed += 1;
                let enough = match message.qos {
                    QoS::AtMostOnce => true,
                    QoS::AtLeastOnce => message.taken > 0,
                    QoS::ExactlyOnce => message.taken == 1,
                };
                assert!(
                    enough,
                    "message {n} is done ({reason:?}) and was taken {} times",
                    message.taken
                );
            }
            Event::Subscribed { token, handle, grants } => {
                let Some(request) = self.complete(token) else { return };
                assert_eq!(request, Request::Subscribe(handle));
                let gone = app::refused(&grants);
                assert!(gone.len() < grants.len(), "no filter was granted");
                self.app.leave(handle.0 as usize..=handle.0 as usize, &gone);
            }
            Event::Unsubscribed { token, .. } => {
                if let Some(request) = self.complete(token) {
                    assert_eq!(request, Request::Unsubscribe);
                    self.app.version += 1;
                }
            }
            Event::Inactive { handle, .. } => {
                let subscription = &self.app.subscriptions[handle.0 as usize];
                assert!(
                    subscription.active || self.left.contains(&handle),
                    "Subscription {handle} ends twice"
                );
                self.app.end(handle);
            }
            Event::Done(token) => {
                let request = self.complete(token);
                assert!(
                    matches!(request, None | Some(Request::Drain | Request::Reauthenticate)),
                    "{request:?}"
                );
            }
            Event::Failed { token, error } => self.failed(token, &error),
            Event::Packet(_) => assert!(self.config.tapped),
        }
    }

    /// None: it was cancelled while the completion was on its way.
    fn complete(&mut self, token: Token) -> Option<Request> {
        if self.withdrawn.contains(&token) {
            return None;
        }
        Some(self.app.complete(token))
    }

    fn failed(&mut self, token: Token, error: &Error) {
        let Some(request) = self.complete(token) else { return };
        self.tally.failed += 1;
        // The server hung up on it, or said that it is wrong.
        let hung_up = error.what.contains("three times");
        let judged = !hung_up && error.what.contains("because of");
        self.tally.given_up += u64::from(hung_up || judged);
        if hung_up && !matches!(request, Request::Publish(_)) {
            let filters = error.filters.iter().map(|code| &*code.filter);
            assert!(self.wire.may_give_up_request(filters), "{error:?}");
        }
        let closed = error.code == ErrorCode::Closed && self.state == State::Closed;
        match request {
            Request::Publish(n) => {
                let overflow = self.config.options().queue.overflow;
                let message = &mut self.app.sent[n];
                let plausible = match error.code {
                    ErrorCode::SessionLost => message.qos == QoS::ExactlyOnce,
                    ErrorCode::Expired => {
                        // Without the session, QoS 1 is published anew.
                        let anew = message.qos == QoS::AtLeastOnce;
                        (anew || message.first_sent.is_none())
                            && message.expiry.is_some_and(|seconds| {
                                message.since.after_ms(u64::from(seconds) * 1_000) <= self.now
                            })
                    }
                    ErrorCode::PublishRefused if hung_up => {
                        let is_poison = self.config.poison_topic == Some(message.topic as u8);
                        self.tally.lost_to_cuts += u64::from(!is_poison);
                        self.wire.may_give_up(message)
                    }
                    ErrorCode::PublishRefused if judged => {
                        message.last_connection == self.wire.connection()
                    }
                    ErrorCode::PublishRefused => message.refused,
                    ErrorCode::StoreFailed => self.store_failed && message.first_sent.is_none(),
                    ErrorCode::QueueFull => {
                        matches!(overflow, Overflow::DropOldest | Overflow::LatestPerTopic)
                    }
                    ErrorCode::PacketTooLarge | ErrorCode::NotSupported => true,
                    _ => closed,
                };
                assert!(plausible, "message {n} {message:?} failed: {error:?}");
                self.tally.session_lost += u64::from(error.code == ErrorCode::SessionLost);
                message.fate = Fate::Failed(error.code);
            }
            Request::Subscribe(handle) => {
                let refusals = [
                    ErrorCode::SubscribeRefused,
                    ErrorCode::NotSupported,
                    ErrorCode::PacketTooLarge,
                ];
                assert!(closed || refusals.contains(&error.code), "{error:?}");
                self.app.end(handle);
            }
            Request::Unsubscribe => {
                self.app.version += 1;
                let given_up = error.code == ErrorCode::UnsubscribeRefused && (hung_up || judged);
                assert!(closed || given_up || error.code == ErrorCode::PacketTooLarge, "{error:?}");
            }
            Request::Drain => assert!(closed, "{error:?}"),
            Request::Reauthenticate => {}
        }
    }

    fn enter(&mut self, state: State) {
        use State::*;
        let possible = match state {
            Idle => matches!(self.state, Connecting | Waiting),
            Connecting => matches!(self.state, Idle | Waiting | Connected),
            Connected => matches!(self.state, Connecting),
            Waiting => matches!(self.state, Connecting | Connected),
            Closing => !matches!(self.state, Closed),
            Closed => true,
        };
        assert!(possible && state != self.state, "{:?}, then {state:?}", self.state);
        self.state = state;
    }

    fn message(&mut self, session: &mut Session, message: &Message, version: u32) {
        let chunk = self.chunks.current().clone();
        let bytes = if message.assembled { session.assembled() } else { &chunk };
        let part = |span: wasmqtt::session::Span| {
            &bytes[span.start as usize..(span.start + span.len) as usize]
        };
        let content = part(message.payload);
        let at = number(content);
        let copy = &mut self.broker.copies[at];
        let (topic, routes, identifiers) = &self.app.slots[&message.slot];
        assert_eq!(**topic, *TOPICS[copy.topic], "the topic of copy {at}");
        assert_eq!(content, payload(at, copy.size), "the payload of copy {at}");
        assert_eq!(
            (message.qos, message.retain),
            (copy.qos, copy.offer.is_none()),
            "the flags of copy {at}"
        );
        let properties =
            Properties::decode(PacketSet::PUBLISH, part(message.properties)).expect("properties");
        if copy.properties && self.wire.version == Version::V5 {
            assert_eq!(properties.text(Property::ContentType), Some(&*format!("c{at}")));
        }
        if self.wire.version == Version::V5 {
            assert_eq!(**identifiers, *copy.identifiers, "the identifiers of copy {at}");
        }
        copy.deliveries += 1;
        self.tally.delivered += 1;
        trace::line(self.now, || {
            format!("event: copy {at}, sequence {:?}, to {routes:?}", message.sequence)
        });
        let once = copy.qos != QoS::AtLeastOnce && !copy.refused;
        assert!(
            !once || copy.deliveries == 1,
            "copy {at} of QoS {:?} is delivered again",
            copy.qos
        );
        if copy.deliveries == 1 {
            let last = self.app.last_delivered.insert((copy.topic, copy.qos), at);
            assert!(last.is_none_or(|last| last < at), "copy {at} was overtaken by {last:?}");
        }
        if version == self.app.version {
            let interested = self.app.interested(TOPICS[copy.topic]);
            let mut routes = routes.to_vec();
            routes.retain(|route| !self.stale.contains(route));
            if copy.offer.is_none() {
                // A message that is stored comes to everybody who needs it, and to nobody twice
                // where somebody else does.
                let needs = |handle: &&Handle| !self.app.got.contains(&(**handle, topic.clone()));
                let asks = |handle: &Handle| {
                    self.app.pending.values().any(|request| *request == Request::Subscribe(*handle))
                };
                // Which of several filters brings a Subscription its messages may change.
                let has_one = |handle: &Handle| {
                    let subscription = &self.app.subscriptions[handle.0 as usize];
                    let filters = subscription.filters.iter();
                    !subscription.has_left
                        && filters.filter(|(filter, _)| matches(filter, topic)).count() == 1
                };
                // The SUBSCRIBE of a call that was withdrawn may be sent again with the session: MQTT has no
                // other way to know what the server grants. What it brings is for nobody, but does not say so.
                let is_known = !self.app.withdrew || !identifiers.is_empty();
                let is_new =
                    is_known && interested.iter().all(has_one) && routes.iter().any(|h| needs(&h));
                for handle in interested.iter().filter(needs) {
                    // Those who asked long ago need none of QoS 0.
                    assert!(
                        routes.contains(handle)
                            || !identifiers.is_empty()
                            || copy.qos == QoS::AtMostOnce && !asks(handle),
                        "stored copy {at} is lost for {handle}"
                    );
                }
                for handle in &routes {
                    assert!(interested.contains(handle), "{routes:?} {interested:?}");
                    let key = (*handle, topic.clone(), identifiers.clone());
                    assert!(
                        !is_new
                            || message.dup
                            || self.app.got_stored.get(&key) != Some(&self.tally.connections),
                        "stored copy {at} goes to {handle} again"
                    );
                }
            } else if identifiers.is_empty() {
                assert_eq!(*routes, *interested, "the routes of copy {at}");
            } else {
                assert!(
                    routes.iter().all(|route| interested.contains(route)),
                    "{routes:?} {interested:?}"
                );
            }
        }
        for &route in routes.iter() {
            self.app.got.insert((route, topic.clone()));
            if copy.offer.is_none() {
                let key = (route, topic.clone(), identifiers.clone());
                self.app.got_stored.insert(key, self.tally.connections);
            }
        }
        if let Some(offer) = copy.offer {
            let offer = &mut self.app.offers[offer];
            offer.disturbed |= offer.version != self.app.version;
            offer.moved |= offer.connection != self.tally.connections;
            for &route in routes.iter() {
                *offer.got.entry(route).or_default() += 1;
            }
        }
        if let Some(sequence) = message.sequence.filter(|_| self.app.holds) {
            session.hold(sequence);
            self.app.held.push((sequence, at));
        }
    }

    // ------------------------------------------------------------------------------------ what always holds

    fn check(&mut self, session: &mut Session) {
        assert_eq!(self.state, session.state());
        self.wire.check_given_up(&self.app.sent);
        let timeout = session.poll_timeout();
        let by = |what: &str, at: Option<Instant>| {
            if let Some(at) = at {
                assert!(
                    timeout.is_some_and(|timeout| timeout <= at),
                    "no timer for {what}: {timeout:?}, {at:?}"
                );
            }
        };
        match self.state {
            State::Waiting => by("the next attempt", self.retry_at),
            State::Connecting => by("the attempt", self.connect_by),
            State::Connected if self.wire.keep_alive > 0 => {
                assert!(timeout.is_some(), "no timer for keep-alive")
            }
            State::Closing => by("the end", self.end_by),
            State::Closed => {
                assert!(self.closed && timeout.is_none(), "a timer after the end: {timeout:?}");
                assert!(self.app.pending.is_empty(), "left behind: {:?}", self.app.pending);
                assert!(self.socket.is_none(), "a socket is left");
            }
            _ => {}
        }
        let expires = self.app.pending.values().filter_map(|request| match request {
            Request::Publish(n) => {
                let message = &self.app.sent[*n];
                let seconds =
                    message.expiry.filter(|_| !message.written && message.first_sent.is_none())?;
                Some(message.since.after_ms(u64::from(seconds) * 1_000))
            }
            _ => None,
        });
        if self.session_may_expire() {
            by("what expires", expires.min());
        }
        let stats = session.stats();
        assert!(self.wire.in_flight(&self.app.sent) <= stats.in_flight_out as usize, "{stats:?}");
        self.steps += 1;
        if self.steps.is_multiple_of(16) {
            self.check_memory(session);
        }
    }

    /// A server that speaks 3.1.1 knows no expiry; what was handed over before that was known keeps it.
    fn session_may_expire(&self) -> bool {
        // What waits for the store expires when that has kept it.
        self.config.version == Some(5) && !self.config.store
    }

    /// What the session holds is what it was given, and some room of its own.
    fn check_memory(&self, session: &Session) {
        let held = memory::of_a_clone(session);
        let messages: usize =
            self.app.sent.iter().map(|message| usize::from(message.size) + 500).sum();
        let subscriptions = self.app.subscriptions.len() * 2_000;
        let under_way: usize =
            self.broker.copies.iter().map(|copy| usize::from(copy.size) + 100).max().unwrap_or(0);
        // What is to be written, and what is being written, may each hold a record of every message.
        let messages = if self.config.store { 3 * messages } else { messages };
        let bound = (128 << 10) + messages + subscriptions + 2 * under_way;
        assert!(held <= bound, "the session holds {held} bytes, {bound} are enough");
    }

    // ------------------------------------------------------------------------------ how it ends

    fn is_settled(&self, session: &Session) -> bool {
        let stats = session.stats();
        self.state == State::Connected
            && self.app.pending.is_empty()
            && (stats.in_flight_out, stats.in_flight_in, stats.queued_messages) == (0, 0, 0)
            && self.broker.unsettled() == 0
            && self.store.is_settled(self.broker.has_discarded())
            && self.subscriptions_agree()
    }

    fn unsettled(&self, session: &Session) -> String {
        let stats = session.stats();
        let at_broker = self.broker.session.as_ref().map(|session| &session.subscriptions);
        format!(
            "{:?}, pending {:?}, in flight {} out {} in, queued {}, {} with the broker, subscriptions {:?}, there {at_broker:?}",
            self.state,
            self.app.pending,
            stats.in_flight_out,
            stats.in_flight_in,
            stats.queued_messages,
            self.broker.unsettled(),
            self.app.filters(),
        )
    }

    fn check_deliveries(&self) {
        let overflow = self.config.options().queue.overflow;
        let keeps = matches!(overflow, Overflow::Reject | Overflow::Wait);
        for (n, message) in self.app.sent.iter().enumerate() {
            match message.fate {
                Fate::Pending => panic!("message {n} is pending"),
                Fate::Dropped | Fate::Refused => {
                    assert_eq!(message.taken, 0, "message {n}: {message:?}")
                }
                // What was withdrawn is not sent again.
                Fate::Untold if keeps && message.qos == QoS::AtLeastOnce => {
                    let limited = message.expiry.is_some()
                        || message.aliased
                        || self.broker.limited
                        || self.store_failed;
                    assert!(
                        message.taken > 0
                            || message.refused
                            || limited
                            || message.connections >= 3
                            || self.judges,
                        "message {n}: {message:?}"
                    );
                }
                _ => {}
            }
        }
        for (at, copy) in self.broker.copies.iter().enumerate() {
            let enough = match copy.state {
                CopyState::Open => false,
                CopyState::Acknowledged => copy.deliveries > 0,
                _ => true,
            };
            assert!(
                enough,
                "copy {at} is {:?} and was delivered {} times",
                copy.state, copy.deliveries
            );
        }
        for (at, offer) in self
            .app
            .offers
            .iter()
            .enumerate()
            .filter(|(_, offer)| offer.settled && !offer.disturbed)
        {
            let copies: Vec<_> =
                self.broker.copies.iter().filter(|copy| copy.offer == Some(at)).collect();
            if copies.iter().any(|copy| copy.deliveries == 0) {
                continue;
            }
            // Without identifiers, copies cannot be told apart.
            let apart = !self.config.copies
                || !self.broker.unidentified
                    && copies.iter().all(|copy| !copy.identifiers.is_empty());
            let once = apart && !offer.moved && copies.iter().all(|copy| copy.deliveries == 1);
            for handle in &offer.expected {
                let got = offer.got.get(handle).copied().unwrap_or(0);
                assert!(
                    got == 1 || got > 1 && !once,
                    "Subscription {handle} got offer {at} {got} times"
                );
            }
            let others = offer.got.keys().all(|handle| offer.expected.contains(handle));
            assert!(others, "offer {at} went to {:?} instead of {:?}", offer.got, offer.expected);
        }
    }
}
