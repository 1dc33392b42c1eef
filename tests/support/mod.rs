//! The real [`Session`] against a server that the test plays: both ends in memory, in virtual time.
//!
//! A [`Pair`] runs the session on the driver that the product runs on; both ends of it are [`Ends`]. The test plays packets ([`Pair::plays`]) and
//! looks at what the server got ([`Pair::sends`]) and what the application was told ([`Pair::tells`]), all as text
//! (see [`notation`]). Nothing needs to be looked at in between: both logs keep until they are asked for.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub mod chunks;
pub mod memory;
pub mod notation;
pub mod telling;

use std::cell::{RefCell, RefMut};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::rc::Rc;

use chunks::Chunks;
use memory::Memory;
use notation::{unquoted, words};
use telling::{show_error, show_told};
use wasmqtt::codec::*;
use wasmqtt::driver::{Driver, Host, NotSent, Opened, Unreadable};
use wasmqtt::options::{Draft, DraftKind, InvalidArgument, Options, Value};
use wasmqtt::session::*;

/// What reaches the server.
#[derive(Clone, Debug)]
pub enum Arrival {
    Opened(Rc<str>),
    Packet(Version, Vec<u8>),
    Closed { force: bool },
}

/// What the application is told: an event, or a message with its bytes.
#[derive(Clone, Debug)]
pub enum Told {
    Event(Event),
    Message(Delivered),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Delivered {
    pub topic: Rc<str>,
    pub payload: Vec<u8>,
    pub qos: QoS,
    pub retain: bool,
    pub dup: bool,
    pub routes: Rc<[Handle]>,
    pub identifiers: Rc<[u32]>,
    pub properties: PropertiesBuf,
    pub sequence: Option<Sequence>,
}

type Slot = (Rc<str>, Rc<[Handle]>, Rc<[u32]>);

/// A question that the application has not answered, and the attempt it belongs to.
#[derive(Clone, Debug)]
enum Question {
    Resolve(AttemptId),
    Open(AttemptId),
    Authenticate(AttemptId),
    Load(AttemptId),
    Store,
}

/// The session on its driver.
pub struct Pair {
    pub driver: Driver<Stage>,
    topics: HashMap<String, u32>,
    token: u32,
}

/// The host of the session: the server, the network, the clock and the application.
pub struct Stage(RefCell<Ends>);

/// What both ends have seen, and what they will say.
pub struct Ends {
    pub now: Instant,
    /// What the application answers when it is asked for URLs and credentials.
    pub resolved: Result<Resolved, ()>,
    /// What it answers when it is asked whether to try again.
    pub verdict: Option<bool>,
    /// Nothing is resolved or opened until the test says so.
    pub by_hand: bool,
    /// Every QoS 1 or 2 message is held by the application.
    pub holds: bool,
    /// What outlives the session.
    pub store: Memory,
    /// The store takes its time: the test says when a write is kept.
    pub stalls: bool,
    /// The store can be neither read nor written.
    pub broken: bool,
    /// The calendar's time, in milliseconds.
    pub calendar: u64,
    /// What the application was asked: `resolve 1`, `authenticate 'challenge'`,
    /// `judge 1 CONNECTION_LOST`.
    pub asked: Vec<String>,
    pub arrivals: Vec<Arrival>,
    pub told: Vec<Told>,
    questions: Vec<Question>,
    /// Those that are answered as soon as the session rests.
    prompt: VecDeque<Question>,
    socket: Option<Socket>,
    slots: HashMap<u32, Slot>,
    chunks: Chunks,
    /// Input waits until the application has heard of the connection.
    waits: bool,
    armed: Option<Instant>,
}

/// The server's end of a socket.
struct Socket {
    id: AttemptId,
    open: bool,
    version: Version,
    decoder: Decoder,
}

/// Options by their paths: `clientId=me clean=false properties.receiveMaximum=2`.
pub fn options(text: &str) -> Options {
    let mut options = Options::new();
    for (path, value) in leaves(text) {
        options.set(path, value).unwrap();
    }
    options
}

fn draft(kind: DraftKind, text: &str) -> Draft {
    let mut draft = Draft::default();
    for (path, value) in leaves(text) {
        draft.set(kind, path, value).unwrap();
    }
    draft
}

fn leaves(text: &str) -> impl Iterator<Item = (&str, Value)> {
    words(text).into_iter().map(|leaf| {
        let (path, value) = leaf.split_once('=').expect(leaf);
        let value = match value {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "Infinity" => Value::Number(f64::INFINITY),
            _ if path.ends_with("userProperties") => {
                Value::Strings(value.split(':').map(Into::into).collect())
            }
            _ if path.ends_with("payload") || path.ends_with("correlationData") => {
                Value::Bytes(value.into())
            }
            _ => match unquoted(value) {
                Some(text) => Value::Text(text.to_owned()),
                None => value.parse().map_or_else(|_| Value::Text(value.to_owned()), Value::Number),
            },
        };
        (path, value)
    })
}

impl Pair {
    /// With one server, ws://a.
    pub fn new(text: &str) -> Self {
        Self::with(options(text))
    }

    pub fn with(options: Options) -> Self {
        let ends = Ends {
            now: Instant(1_000_000_000),
            resolved: Ok(servers(&["ws://a"])),
            verdict: None,
            by_hand: false,
            holds: false,
            store: Memory::default(),
            stalls: false,
            broken: false,
            calendar: 1_700_000_000_000,
            asked: Vec::new(),
            arrivals: Vec::new(),
            told: Vec::new(),
            questions: Vec::new(),
            prompt: VecDeque::new(),
            socket: None,
            slots: HashMap::new(),
            chunks: Chunks::default(),
            waits: false,
            armed: None,
        };
        let session = Session::new(options, 7).unwrap();
        let driver = Driver::new(Stage(RefCell::new(ends)), session);
        Self { driver, topics: HashMap::new(), token: 0 }
    }

    pub fn session(&self) -> RefMut<'_, Session> {
        self.driver.session()
    }

    pub fn ends(&self) -> RefMut<'_, Ends> {
        self.driver.host().0.borrow_mut()
    }

    /// The bytes of the packet in this place of what reached the server.
    pub fn packet(&self, at: usize) -> Vec<u8> {
        match &self.ends().arrivals[at] {
            Arrival::Packet(_, bytes) => bytes.clone(),
            other => panic!("{other:?} is no packet"),
        }
    }

    /// The message that the application was told of first.
    pub fn message(&self) -> Delivered {
        match &self.ends().told[0] {
            Told::Message(message) => message.clone(),
            other => panic!("{other:?} is no message"),
        }
    }

    /// The version that the server speaks.
    pub fn version(&self) -> Version {
        self.ends().socket.as_ref().expect("a socket").version
    }

    /// The credentials for the first server.
    pub fn credentials(&mut self, credentials: Credentials) {
        self.ends().resolved.as_mut().unwrap().servers[0].credentials = credentials;
    }

    pub fn now(&self) -> Instant {
        self.ends().now
    }

    /// One that is connected, with nothing in the logs.
    pub fn connected(text: &str) -> Self {
        Self::accepted(text, "CONNACK")
    }

    pub fn accepted(text: &str, connack: &str) -> Self {
        let mut pair = Self::new(text);
        pair.connect();
        pair.plays(connack);
        assert_eq!(pair.session().state(), State::Connected);
        pair.clear();
        pair
    }

    /// The same, with an application that holds every message.
    pub fn holding(self) -> Self {
        self.ends().holds = true;
        self
    }

    /// The next life of a client whose process was killed: with what its store has kept.
    pub fn killed(self, text: &str, calendar_ms: u64) -> Self {
        let next = Self::new(text);
        next.ends().store = self.ends().store.left();
        next.ends().calendar = self.ends().calendar + calendar_ms;
        next
    }

    /// The store takes its time from here on.
    pub fn stalling(self) -> Self {
        self.ends().stalls = true;
        self
    }

    /// The write that is under way is kept.
    #[track_caller]
    pub fn keeps(&mut self) {
        self.settle_write(true);
    }

    /// The write that is under way fails.
    #[track_caller]
    pub fn breaks(&mut self) {
        self.settle_write(false);
    }

    #[track_caller]
    fn settle_write(&mut self, kept: bool) {
        self.ends().store.settle(kept);
        self.driver.stored(kept);
        self.pump();
    }

    /// Other servers, without credentials.
    pub fn servers(&mut self, urls: &[&str]) {
        self.ends().resolved = Ok(servers(urls));
    }

    // ------------------------------------------------------------------------------------ the server's side

    /// Packets in one chunk: `PUBREC #1; PUBCOMP #1`.
    #[track_caller]
    pub fn plays(&mut self, packets: &str) {
        let chunk = self.bytes_of(packets);
        self.receives(&chunk);
    }

    pub fn bytes_of(&self, packets: &str) -> Vec<u8> {
        let version = self.version();
        packets.split("; ").flat_map(|packet| notation::read(version, packet)).collect()
    }

    /// One chunk of bytes.
    pub fn receives(&mut self, chunk: &[u8]) {
        self.receives_owned(chunk.to_vec());
    }

    pub fn receives_owned(&mut self, chunk: Vec<u8>) {
        if self.ends().socket.is_none() {
            return;
        }
        self.driver.received(chunk);
        self.pump();
        self.resume();
    }

    /// The connection is gone.
    pub fn cut(&mut self) {
        self.closed(Some(1006));
    }

    pub fn closed(&mut self, code: Option<u16>) {
        let socket = self.ends().drop_socket();
        let id = socket.map_or(self.session().attempt_id(), |socket| socket.id);
        self.driver.closed(id, code, None);
        // Input that waited comes first.
        self.driver.resume();
        self.pump();
    }

    /// One chunk comes, and the server closes the socket before the application has heard of the
    /// connection.
    pub fn receives_and_closes(&mut self, packets: &str) {
        let chunk = self.bytes_of(packets);
        self.driver.received(chunk);
        let socket = self.ends().drop_socket().expect("there is a socket");
        self.driver.closed(socket.id, Some(1000), None);
        self.driver.resume();
        self.pump();
    }

    /// Cut, and connected again as soon as the client tries.
    pub fn reconnected(&mut self, connack: &str) {
        self.cut();
        self.retried(connack);
    }

    /// The next attempt is accepted. Nothing of it stays in the logs but what follows the CONNACK.
    pub fn retried(&mut self, connack: &str) {
        self.wait_for(State::Connecting);
        self.clear();
        self.plays(connack);
        assert_eq!(self.session().state(), State::Connected);
        self.ends()
            .told
            .retain(|told| !matches!(told, Told::Event(Event::State(_) | Event::Connected(_))));
    }

    /// The client asks whether the server lives before it sends anything else, and it does.
    #[track_caller]
    pub fn answers_ping(&mut self) {
        self.sends(["PINGREQ"]);
        self.plays("PINGRESP");
    }

    /// Everything that reached the server since it was last asked.
    #[track_caller]
    pub fn sends<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(self.sent(), expected);
    }

    pub fn sent(&mut self) -> Vec<String> {
        let arrivals = std::mem::take(&mut self.ends().arrivals);
        arrivals.iter().map(show_arrival).collect()
    }

    // ------------------------------------------------------------------------------------ the application's side

    pub fn connect(&mut self) {
        self.session().connect();
        self.pump();
    }

    /// `q1 retain a 'payload' contentType=text`: as in a PUBLISH, with properties by the names of the API.
    pub fn publish(&mut self, text: &str) -> Token {
        self.try_publish(text).unwrap()
    }

    pub fn try_publish(&mut self, text: &str) -> Result<Token, Box<Error>> {
        let (mut qos, mut retain, mut topic, mut payload, mut properties) =
            (QoS::AtMostOnce, false, "", "", String::new());
        for word in words(text) {
            match word {
                "q0" | "q1" | "q2" => qos = QoS::from_bits(word.as_bytes()[1] - b'0').unwrap(),
                "retain" => retain = true,
                _ if word.starts_with('\'') => payload = unquoted(word).unwrap(),
                _ if word.contains('=') => _ = write!(properties, "{word} "),
                _ => topic = word,
            }
        }
        self.try_publish_bytes(topic, payload.as_bytes(), qos, retain, &properties)
    }

    pub fn try_publish_bytes(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        properties: &str,
    ) -> Result<Token, Box<Error>> {
        let draft = (!properties.is_empty()).then(|| draft(DraftKind::Publish, properties));
        let number = match self.topics.get(topic) {
            Some(&number) => number,
            None => {
                let number = self.session().topic(topic).map_err(Box::<Error>::from)?;
                self.topics.insert(topic.to_owned(), number);
                number
            }
        };
        let token = self.next_token();
        let result =
            self.session().publish(self.now(), number, payload, qos, retain, draft, Some(token));
        self.pump();
        result.map(|_| token)
    }

    /// `a/#:q1 b:q2,nl,rap,rh1 subscriptionIdentifier=7`. The token is the handle too.
    pub fn subscribe(&mut self, text: &str) -> Token {
        self.try_subscribe(text).unwrap()
    }

    pub fn try_subscribe(&mut self, text: &str) -> Result<Token, Box<Error>> {
        let (properties, filters): (Vec<_>, Vec<_>) =
            words(text).into_iter().partition(|word| word.contains('='));
        let draft = draft(DraftKind::Subscribe, &properties.join(" "));
        let filters: Vec<_> = filters.into_iter().map(filter).collect();
        let token = self.next_token();
        let result = self.session().subscribe(Some(token), Handle(token.get()), &filters, draft);
        self.pump();
        result.map(|_| token)
    }

    /// Ends one Subscription.
    pub fn leave(&mut self, subscription: Token) -> Token {
        let token = self.next_token();
        let handle = Handle(subscription.get());
        self.session().leave(Some(token), handle, Draft::default()).unwrap();
        self.pump();
        token
    }

    pub fn unsubscribe(&mut self, text: &str) -> Token {
        self.try_unsubscribe(text).unwrap()
    }

    pub fn try_unsubscribe(&mut self, text: &str) -> Result<Token, Box<Error>> {
        let (properties, filters): (Vec<_>, Vec<_>) =
            words(text).into_iter().partition(|word| word.contains('='));
        let draft = draft(DraftKind::Unsubscribe, &properties.join(" "));
        let filters: Vec<Rc<str>> = filters.into_iter().map(Into::into).collect();
        let token = self.next_token();
        let result = self.session().unsubscribe(Some(token), &filters, draft);
        self.pump();
        result.map(|_| token)
    }

    /// How many slots the application knows.
    pub fn slots(&self) -> usize {
        self.ends().slots.len()
    }

    pub fn drain(&mut self) -> Token {
        let token = self.next_token();
        self.session().drain(self.now(), token).unwrap();
        self.pump();
        token
    }

    pub fn cancel(&mut self, token: Token) {
        self.session().cancel(self.now(), token);
        self.pump();
    }

    pub fn reconnect(&mut self) {
        self.session().reconnect(self.now());
        self.pump();
    }

    pub fn check(&mut self) {
        self.session().check(self.now());
        self.pump();
    }

    pub fn reauthenticate(&mut self) -> Token {
        let token = self.next_token();
        self.session().reauthenticate(Some(token)).unwrap();
        self.pump();
        token
    }

    /// Ends the client, within three seconds.
    pub fn end(&mut self) {
        self.end_with(3_000, 0, "").unwrap();
    }

    pub fn end_with(
        &mut self,
        timeout_ms: u64,
        reason: u8,
        properties: &str,
    ) -> Result<(), InvalidArgument> {
        let draft = draft(DraftKind::Disconnect, properties);
        let result = self.session().end(self.now(), timeout_ms, false, ReasonCode(reason), draft);
        self.pump();
        result
    }

    pub fn force(&mut self) {
        let draft = Draft::default();
        self.session().end(self.now(), 3_000, true, ReasonCode::SUCCESS, draft).unwrap();
        self.pump();
    }

    /// Acknowledges the message whose payload this is, out of those that were told since the application was last asked.
    pub fn acknowledge(&mut self, payload: &str, reason: u8) {
        let of_payload = |told: &Told| match told {
            Told::Message(message) if message.payload == payload.as_bytes() => message.sequence,
            _ => None,
        };
        let sequence = self.ends().told.iter().find_map(of_payload).expect(payload);
        self.session().acknowledge(sequence, ReasonCode(reason)).unwrap();
        self.pump();
    }

    /// Everything that the application was told since it was last asked.
    #[track_caller]
    pub fn tells<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(self.tell(), expected);
    }

    pub fn tell(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.ends().told);
        told.iter().map(show_told).collect()
    }

    /// Nothing was sent, and nothing told.
    #[track_caller]
    pub fn quiet(&mut self) {
        self.sends([]);
        self.tells([]);
    }

    /// Nothing was sent, and no more told than this.
    #[track_caller]
    pub fn quiet_but<const N: usize>(&mut self, expected: [&str; N]) {
        self.sends([]);
        self.tells(expected);
    }

    pub fn clear(&mut self) {
        let ends = &mut *self.ends();
        ends.arrivals.clear();
        ends.told.clear();
        ends.asked.clear();
    }

    /// The last [`Event::Connected`] in the log.
    pub fn info(&self) -> ConnectInfo {
        let info = self.ends().told.iter().rev().find_map(|told| match told {
            Told::Event(Event::Connected(info)) => Some((**info).clone()),
            _ => None,
        });
        info.expect("connected")
    }

    /// The errors in the log, in their order.
    pub fn errors(&self) -> Vec<Error> {
        let error = |told: &Told| match told {
            Told::Event(
                Event::ConnectFailed(error)
                | Event::Disconnected { error, .. }
                | Event::Reconnecting { error, .. }
                | Event::Error(error)
                | Event::Closed(Some(error))
                | Event::Inactive { error: Some(error), .. }
                | Event::Failed { error, .. },
            ) => Some((**error).clone()),
            _ => None,
        };
        self.ends().told.iter().filter_map(error).collect()
    }

    /// The application answers what it was asked, if it is still of interest.
    pub fn resolve(&mut self) {
        let question = self.question(|question| matches!(question, Question::Resolve(_)));
        self.answer(question);
    }

    pub fn open(&mut self) {
        let question = self.question(|question| matches!(question, Question::Open(_)));
        self.answer(question);
    }

    pub fn load(&mut self) {
        let question = self.question(|question| matches!(question, Question::Load(_)));
        self.answer(question);
    }

    pub fn authenticate(&mut self, data: Result<Option<&str>, ()>) {
        let data = data.map(|data| data.map(|data| data.as_bytes().to_vec()));
        let question = self.question(|question| matches!(question, Question::Authenticate(_)));
        let Question::Authenticate(id) = question else { unreachable!() };
        self.driver.authenticated(id, data);
        self.pump();
    }

    // ------------------------------------------------------------------------------------ time

    /// Time goes by, and every timer is in time.
    pub fn wait(&mut self, ms: u64) {
        let until = self.now().after_ms(ms);
        loop {
            let next = self.session().poll_timeout().filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.fire(next);
        }
        self.ends().now = until;
    }

    /// Until the session is in this state.
    pub fn wait_for(&mut self, state: State) {
        while self.session().state() != state {
            let next = self.session().poll_timeout().expect("a timer");
            self.fire(next);
        }
    }

    /// Time goes by, and the timer fires only at its end.
    pub fn sleep(&mut self, ms: u64) {
        let now = self.now().after_ms(ms);
        self.ends().now = now;
        if self.session().poll_timeout().is_some_and(|next| next <= now) {
            self.driver.timeout();
        }
        self.pump();
    }

    /// Time goes by, and no timer fires.
    pub fn sleep_unnoticed(&mut self, ms: u64) {
        let now = self.now().after_ms(ms);
        self.ends().now = now;
    }

    fn fire(&mut self, next: Instant) {
        let now = self.now().max(next);
        self.ends().now = now;
        self.driver.timeout();
        self.pump();
    }

    // ------------------------------------------------------------------------------------ the loop

    /// Does all that the session asks for, and answers its questions.
    pub fn pump(&mut self) {
        loop {
            self.driver.pump();
            let question = self.ends().prompt.pop_front();
            let Some(question) = question else { break };
            self.answer(question);
        }
        let (next, armed) = (self.session().poll_timeout(), self.ends().armed);
        let in_time = |next| armed.is_some_and(|armed| armed <= next);
        assert!(next.is_none_or(in_time), "the timer is set to {armed:?}, {next:?} is needed");
    }

    /// The application has heard of the connection.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.ends().waits) {
            self.driver.resume();
            self.pump();
        }
    }

    fn answer(&mut self, question: Question) {
        match question {
            Question::Resolve(id) => {
                let resolved = self.ends().resolved.clone();
                self.driver.resolved(id, resolved);
            }
            Question::Open(id) => {
                if let Some(socket) = &mut self.ends().socket {
                    socket.open = true;
                }
                self.driver.opened(id, Opened::Now);
            }
            Question::Authenticate(_) => unreachable!("authenticate() answers"),
            Question::Load(id) => {
                let (calendar, records, broken) = {
                    let ends = self.ends();
                    (ends.calendar, ends.store.records(), ends.broken)
                };
                self.driver.loaded(id, calendar, if broken { Err(()) } else { Ok(records) });
            }
            Question::Store => {
                let kept = !self.ends().broken;
                self.settle_write(kept);
            }
        }
        self.pump();
    }

    /// The first question of this kind.
    fn question(&mut self, which: impl Fn(&Question) -> bool) -> Question {
        let questions = &mut self.ends().questions;
        let at = questions.iter().position(which).expect("a question");
        questions.remove(at)
    }

    fn next_token(&mut self) -> Token {
        self.token += 1;
        Token::new(self.token).unwrap()
    }
}

/// The token with a number that the test chose.
pub fn token(number: u32) -> Token {
    Token::new(number).unwrap()
}

fn servers(urls: &[&str]) -> Resolved {
    let server = |url: &&str| Server { url: (*url).into(), credentials: Credentials::default() };
    Resolved { servers: urls.iter().map(server).collect(), dynamic: false }
}

impl Host for Stage {
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
        let mut some = false;
        while let Some(event) = session.poll_event() {
            some = true;
            self.0.borrow_mut().tell(event, session);
        }
        some
    }

    fn deliver(&self, _: &Driver<Self>) {}

    fn write(&self, frame: &[u8]) -> Result<(), NotSent> {
        self.0.borrow_mut().transmit(frame);
        Ok(())
    }

    fn flush(&self) -> Result<(), NotSent> {
        Ok(())
    }

    /// Tests say by hand how full the transport is.
    fn buffered(&self) -> Option<usize> {
        None
    }

    fn resolve(&self, id: AttemptId, attempt: u32, error: Option<Box<Error>>) {
        let ends = &mut *self.0.borrow_mut();
        let error = error.map_or(String::new(), |error| format!(" {}", show_error(&error)));
        ends.asked.push(format!("resolve {attempt}{error}"));
        ends.ask(Question::Resolve(id));
    }

    fn open(&self, id: AttemptId, url: &str) -> Opened {
        let ends = &mut *self.0.borrow_mut();
        ends.arrivals.push(Arrival::Opened(url.into()));
        let (version, limit) = (Version::V5, u32::MAX);
        ends.waits = false;
        ends.socket =
            Some(Socket { id, open: false, version, decoder: Decoder::new(version, limit) });
        ends.ask(Question::Open(id));
        Opened::Later
    }

    fn close(&self, force: bool) {
        let ends = &mut *self.0.borrow_mut();
        if ends.drop_socket().is_some() {
            ends.arrivals.push(Arrival::Closed { force });
        }
    }

    fn authenticate(&self, id: AttemptId, challenge: Challenge) {
        let ends = &mut *self.0.borrow_mut();
        let mut asked = String::from(if challenge.reauthentication {
            "reauthenticate"
        } else {
            "authenticate"
        });
        asked.push_str(if challenge.first { " first" } else { "" });
        if let Some(data) = &challenge.data {
            write!(asked, " '{}'", String::from_utf8_lossy(data)).unwrap();
        }
        ends.asked.push(asked);
        ends.questions.push(Question::Authenticate(id));
    }

    fn load(&self, id: AttemptId) {
        self.0.borrow_mut().ask(Question::Load(id));
    }

    fn store(&self, changes: &[Change]) {
        let ends = &mut *self.0.borrow_mut();
        ends.store.write(changes);
        if !ends.stalls {
            ends.prompt.push_back(Question::Store);
        }
    }

    fn judge(&self, error: Box<Error>, attempt: u32) -> Option<bool> {
        let ends = &mut *self.0.borrow_mut();
        ends.asked.push(format!("judge {attempt} {}", show_error(&error)));
        ends.verdict
    }

    fn timer(&self, at: Option<Instant>) {
        self.0.borrow_mut().armed = at;
    }

    fn later(&self) {
        self.0.borrow_mut().waits = true;
    }

    fn wake(&self) {}
}

impl Ends {
    fn drop_socket(&mut self) -> Option<Socket> {
        self.waits = false;
        self.socket.take()
    }

    fn ask(&mut self, question: Question) {
        if self.by_hand { self.questions.push(question) } else { self.prompt.push_back(question) }
    }

    fn transmit(&mut self, frame: &[u8]) {
        let Some(server) = &mut self.socket else { return };
        assert!(server.open, "nothing is sent before the socket is open");
        let mut at = 0;
        loop {
            let start = at;
            match server.decoder.step(frame, &mut at, 0).unwrap() {
                Step::Packet { first, start: body, len } => {
                    if first == PacketType::Connect.first_byte() {
                        server.version =
                            if frame[body + 6] == 4 { Version::V311 } else { Version::V5 };
                    }
                    let packet = frame[start..body + len].to_vec();
                    self.arrivals.push(Arrival::Packet(server.version, packet));
                }
                Step::More => break,
                Step::Split { .. } | Step::Wait { .. } | Step::Skipped { .. } => {
                    panic!("a frame ends with a packet")
                }
            }
        }
        assert_eq!(server.decoder.buffered(), 0, "a frame ends with a packet");
    }

    fn tell(&mut self, event: Event, session: &mut Session) {
        let told = match event {
            Event::Slot { slot, topic, routes, identifiers } => {
                self.slots.insert(slot, (topic, routes, identifiers));
                return;
            }
            Event::Message(message) => Told::Message(self.message(message, session)),
            event => Told::Event(event),
        };
        self.told.push(told);
    }

    fn message(&mut self, message: Message, session: &mut Session) -> Delivered {
        let bytes = if message.assembled { session.assembled() } else { self.chunks.current() };
        let span = |span: Span| &bytes[span.start as usize..][..span.len as usize];
        let (topic, routes, identifiers) = self.slots[&message.slot].clone();
        let delivered = Delivered {
            topic,
            payload: span(message.payload).to_vec(),
            qos: message.qos,
            retain: message.retain,
            dup: message.dup,
            routes,
            identifiers,
            properties: Properties::decode(PacketSet::PUBLISH, span(message.properties))
                .unwrap()
                .into(),
            sequence: message.sequence,
        };
        if let Some(sequence) = message.sequence.filter(|_| self.holds) {
            session.hold(sequence);
        }
        delivered
    }
}

fn filter(word: &str) -> (Rc<str>, SubscribeOptions) {
    let (filter, flags) = word.rsplit_once(':').unwrap_or((word, ""));
    let has = |flag: &str| flags.split(',').any(|word| word == flag);
    let one_of = |one, two| if has(two) { 2 } else { u8::from(has(one)) };
    let options = SubscribeOptions {
        qos: QoS::from_bits(one_of("q1", "q2")).unwrap(),
        no_local: has("nl"),
        retain_as_published: has("rap"),
        retain_handling: one_of("rh1", "rh2"),
    };
    (filter.into(), options)
}

fn show_arrival(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Opened(url) => format!("OPEN {url}"),
        Arrival::Packet(version, bytes) => {
            let mut at = 0;
            let step = Decoder::new(*version, u32::MAX).step(bytes, &mut at, 0);
            let Ok(Step::Packet { first, start, .. }) = step else { panic!("{step:?}") };
            notation::show(
                &Packet::decode(*version, first, &bytes[start..]).expect("a well-formed packet"),
            )
        }
        Arrival::Closed { force: false } => "CLOSE".into(),
        Arrival::Closed { force: true } => "CLOSE by force".into(),
    }
}
