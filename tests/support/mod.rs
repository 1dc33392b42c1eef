//! The real [`Session`] against a server that the test plays: both ends in memory, in virtual time.
//!
//! A [`Pair`] does for the session what the link does, in the same order. The test plays packets ([`Pair::plays`]) and
//! looks at what the server got ([`Pair::sends`]) and what the application was told ([`Pair::tells`]), all as text
//! (see [`notation`]). Nothing needs to be looked at in between: both logs keep until they are asked for.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub mod notation;
pub mod telling;

use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

use notation::{unquoted, words};
use telling::{show_error, show_told};
use wasmqtt::codec::*;
use wasmqtt::options::{Draft, DraftKind, Options, Value};
use wasmqtt::session::*;

/// As in the link: bytes of a chunk that are in memory at once, and at its beginning where it is longer.
const WINDOW: usize = 32 * 1024;
const HEAD: usize = 4 * 1024;

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
    pub sequence: u32,
}

type Slot = (Rc<str>, Rc<[Handle]>, Rc<[u32]>);

/// A question that the application has not answered, and the generation it belongs to.
#[derive(Clone, Debug)]
enum Question {
    Resolve(u32),
    Open(u32),
    Authenticate(u32),
}

pub struct Pair {
    pub session: Session,
    pub now: Instant,
    /// What the application answers when it is asked for URLs and credentials.
    pub resolved: Result<Resolved, ()>,
    /// What it answers when it is asked whether to try again.
    pub verdict: Option<bool>,
    /// Nothing is resolved or opened until the test says so.
    pub by_hand: bool,
    /// Every QoS 1 or 2 message is held by the application.
    pub holds: bool,
    /// What the application was asked: `resolve 1`, `authenticate 'challenge'`, `judge 1 CONNECTION_LOST`.
    pub asked: Vec<String>,
    pub arrivals: Vec<Arrival>,
    pub told: Vec<Told>,
    questions: Vec<Question>,
    socket: Option<Server>,
    slots: HashMap<u32, Slot>,
    /// Input that waits until the application has heard of the connection.
    rest: Option<Vec<u8>>,
    topics: HashMap<String, u32>,
    token: Token,
}

/// The server's end of a socket.
struct Server {
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
        Self {
            session: Session::new(options, 7).unwrap(),
            now: Instant(1_000_000_000),
            resolved: Ok(Resolved {
                urls: vec!["ws://a".into()],
                credentials: vec![Credentials::default()],
                dynamic: false,
            }),
            verdict: None,
            by_hand: false,
            holds: false,
            asked: Vec::new(),
            arrivals: Vec::new(),
            told: Vec::new(),
            questions: Vec::new(),
            socket: None,
            slots: HashMap::new(),
            rest: None,
            topics: HashMap::new(),
            token: 0,
        }
    }

    /// One that is connected, with nothing in the logs.
    pub fn connected(text: &str) -> Self {
        Self::accepted(text, "CONNACK")
    }

    pub fn accepted(text: &str, connack: &str) -> Self {
        let mut pair = Self::new(text);
        pair.connect();
        pair.plays(connack);
        assert_eq!(pair.session.state(), State::Connected);
        pair.clear();
        pair
    }

    /// The same, with an application that holds every message.
    pub fn holding(mut self) -> Self {
        self.holds = true;
        self
    }

    /// Other servers, without credentials.
    pub fn servers(&mut self, urls: &[&str]) {
        self.resolved = Ok(Resolved {
            urls: urls.iter().map(|&url| url.into()).collect(),
            credentials: vec![Credentials::default(); urls.len()],
            dynamic: false,
        });
    }

    // ------------------------------------------------------------------------------------ the server's side

    /// Packets in one chunk: `PUBREC #1; PUBCOMP #1`.
    #[track_caller]
    pub fn plays(&mut self, packets: &str) {
        let chunk = self.bytes_of(packets);
        self.receives(&chunk);
    }

    pub fn bytes_of(&self, packets: &str) -> Vec<u8> {
        let version = self.socket.as_ref().expect("a socket").version;
        packets.split("; ").flat_map(|packet| notation::read(version, packet)).collect()
    }

    /// One chunk of bytes.
    pub fn receives(&mut self, chunk: &[u8]) {
        if self.socket.is_none() {
            return;
        }
        if let Some(rest) = &mut self.rest {
            return rest.extend(chunk);
        }
        self.consume(chunk);
        self.pump();
        self.resume();
    }

    /// The connection is gone.
    pub fn cut(&mut self) {
        self.closed(Some(1006));
    }

    pub fn closed(&mut self, code: Option<u16>) {
        self.socket = None;
        self.rest = None;
        self.session.handle_close(self.now, code, None);
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
        assert_eq!(self.session.state(), State::Connected);
        self.told
            .retain(|told| !matches!(told, Told::Event(Event::State(_) | Event::Connected(_))));
    }

    /// Everything that reached the server since it was last asked.
    #[track_caller]
    pub fn sends<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(self.sent(), expected);
    }

    pub fn sent(&mut self) -> Vec<String> {
        let arrivals = std::mem::take(&mut self.arrivals);
        arrivals.iter().map(show_arrival).collect()
    }

    // ------------------------------------------------------------------------------------ the application's side

    pub fn connect(&mut self) {
        self.session.connect();
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
                let number = self.session.topic(topic).map_err(Box::<Error>::from)?;
                self.topics.insert(topic.to_owned(), number);
                number
            }
        };
        let token = self.next_token();
        let result = self.session.publish(self.now, number, payload, qos, retain, draft, token);
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
        let result = self.session.subscribe(token, token, &filters, draft);
        self.pump();
        result.map(|_| token)
    }

    /// Ends one Subscription.
    pub fn leave(&mut self, handle: Handle) -> Token {
        let token = self.next_token();
        self.session.leave(token, handle, Draft::default()).unwrap();
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
        let result = self.session.unsubscribe(token, &filters, draft);
        self.pump();
        result.map(|_| token)
    }

    pub fn drain(&mut self) -> Token {
        let token = self.next_token();
        self.session.drain(self.now, token).unwrap();
        self.pump();
        token
    }

    pub fn cancel(&mut self, token: Token) {
        self.session.cancel(self.now, token);
        self.pump();
    }

    pub fn reconnect(&mut self) {
        self.session.reconnect(self.now);
        self.pump();
    }

    pub fn reauthenticate(&mut self) -> Token {
        let token = self.next_token();
        self.session.reauthenticate(token).unwrap();
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
    ) -> Result<(), Box<Error>> {
        let draft = draft(DraftKind::Disconnect, properties);
        let result = self.session.end(self.now, timeout_ms, false, ReasonCode(reason), draft);
        self.pump();
        result
    }

    pub fn force(&mut self) {
        let draft = Draft::default();
        self.session.end(self.now, 3_000, true, ReasonCode::SUCCESS, draft).unwrap();
        self.pump();
    }

    /// Acknowledges the message whose payload this is, out of those that were told since the application was last asked.
    pub fn acknowledge(&mut self, payload: &str, reason: u8) {
        let of_payload = |told: &Told| match told {
            Told::Message(message) if message.payload == payload.as_bytes() => {
                Some(message.sequence)
            }
            _ => None,
        };
        let sequence = self.told.iter().find_map(of_payload).expect(payload);
        self.session.acknowledge(sequence, ReasonCode(reason)).unwrap();
        self.pump();
    }

    /// Everything that the application was told since it was last asked.
    #[track_caller]
    pub fn tells<const N: usize>(&mut self, expected: [&str; N]) {
        assert_eq!(self.tell(), expected);
    }

    pub fn tell(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.told);
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
        self.arrivals.clear();
        self.told.clear();
        self.asked.clear();
    }

    /// The last [`Event::Connected`] in the log.
    pub fn info(&self) -> ConnectInfo {
        let info = self.told.iter().rev().find_map(|told| match told {
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
        self.told.iter().filter_map(error).collect()
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

    pub fn authenticate(&mut self, data: Result<Option<&str>, ()>) {
        let data = data.map(|data| data.map(|data| data.as_bytes().to_vec()));
        let question = self.question(|question| matches!(question, Question::Authenticate(_)));
        let Question::Authenticate(generation) = question else { unreachable!() };
        if generation == self.session.generation() {
            self.session.handle_auth(self.now, data);
        }
        self.pump();
    }

    // ------------------------------------------------------------------------------------ time

    /// Time goes by, and every timer is in time.
    pub fn wait(&mut self, ms: u64) {
        let until = self.now.after_ms(ms);
        while let Some(next) = self.session.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.session.handle_timeout(self.now);
            self.pump();
        }
        self.now = until;
    }

    /// Until the session is in this state.
    pub fn wait_for(&mut self, state: State) {
        while self.session.state() != state {
            self.now = self.now.max(self.session.poll_timeout().expect("a timer"));
            self.session.handle_timeout(self.now);
            self.pump();
        }
    }

    /// Time goes by, and the timer fires only at its end.
    pub fn sleep(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        if self.session.poll_timeout().is_some_and(|next| next <= self.now) {
            self.session.handle_timeout(self.now);
        }
        self.pump();
    }

    // ------------------------------------------------------------------------------------ what the link does

    /// Does all that the session asks for, in the link's order.
    pub fn pump(&mut self) {
        loop {
            self.transmit();
            self.deliver(&[]);
            match self.session.poll_command() {
                Some(command) => self.execute(command),
                None if self.session.pending_output() == 0 => break,
                None => {}
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(frame) = self.session.poll_transmit(self.now) {
            let Some(server) = &mut self.socket else { continue };
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
                        let packet =
                            Arrival::Packet(server.version, frame[start..body + len].to_vec());
                        self.arrivals.push(packet);
                    }
                    Step::More => break,
                    Step::Split { .. } | Step::Wait { .. } => panic!("a frame ends with a packet"),
                }
            }
            assert_eq!(server.decoder.buffered(), 0, "a frame ends with a packet");
        }
    }

    fn consume(&mut self, chunk: &[u8]) {
        let mut offset = 0;
        let mut room = if chunk.len() <= WINDOW { WINDOW } else { HEAD };
        loop {
            let loaded = room.min(chunk.len() - offset);
            let input = Input {
                bytes: &chunk[offset..offset + loaded],
                offset,
                beyond: chunk.len() - offset - loaded,
            };
            let used = self.session.handle_input(self.now, input);
            offset += used;
            self.deliver(chunk);
            if self.session.is_paused() {
                self.rest = Some(chunk[offset..].to_vec());
                return;
            }
            if offset >= chunk.len() {
                return;
            }
            room = if used > loaded { HEAD } else { WINDOW };
        }
    }

    /// The application has heard of the connection.
    pub fn resume(&mut self) {
        if let Some(rest) = self.rest.take().filter(|rest| !rest.is_empty()) {
            self.consume(&rest);
            self.pump();
        }
    }

    fn deliver(&mut self, chunk: &[u8]) {
        let mut some = false;
        while let Some(event) = self.session.poll_event() {
            some = true;
            let told = match event {
                Event::Slot { slot, topic, routes, identifiers } => {
                    self.slots.insert(slot, (topic, routes, identifiers));
                    continue;
                }
                Event::Message(message) => Told::Message(self.message(message, chunk)),
                event => Told::Event(event),
            };
            self.told.push(told);
        }
        if some {
            self.session.delivered();
        }
    }

    fn message(&mut self, message: Message, chunk: &[u8]) -> Delivered {
        let bytes = if message.assembled { self.session.assembled() } else { chunk };
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
        if self.holds && message.qos != QoS::AtMostOnce {
            self.session.hold(message.sequence);
        }
        delivered
    }

    fn execute(&mut self, command: Command) {
        let generation = self.session.generation();
        match command {
            Command::Resolve { attempt, error } => {
                let error = error.map_or(String::new(), |error| format!(" {}", show_error(&error)));
                self.asked.push(format!("resolve {attempt}{error}"));
                self.ask(Question::Resolve(generation));
            }
            Command::Open { url } => {
                self.arrivals.push(Arrival::Opened(url));
                let (version, limit) = (Version::V5, u32::MAX);
                self.rest = None;
                self.socket =
                    Some(Server { open: false, version, decoder: Decoder::new(version, limit) });
                self.ask(Question::Open(generation));
            }
            Command::Close { force } => {
                self.rest = None;
                if self.socket.take().is_some() {
                    self.arrivals.push(Arrival::Closed { force });
                }
            }
            Command::Authenticate(challenge) => {
                let mut asked = String::from(if challenge.reauthentication {
                    "reauthenticate"
                } else {
                    "authenticate"
                });
                asked.push_str(if challenge.first { " first" } else { "" });
                if let Some(data) = &challenge.data {
                    write!(asked, " '{}'", String::from_utf8_lossy(data)).unwrap();
                }
                self.asked.push(asked);
                self.questions.push(Question::Authenticate(generation));
            }
            Command::Judge { error, attempt } => {
                self.asked.push(format!("judge {attempt} {}", show_error(&error)));
                self.session.handle_verdict(self.now, self.verdict);
            }
        }
    }

    fn ask(&mut self, question: Question) {
        if self.by_hand { self.questions.push(question) } else { self.answer(question) }
    }

    /// What an earlier attempt asked for is dropped.
    fn answer(&mut self, question: Question) {
        match question {
            Question::Resolve(generation) if generation == self.session.generation() => {
                self.session.handle_resolved(self.now, self.resolved.clone());
            }
            Question::Open(generation) if generation == self.session.generation() => {
                self.socket.as_mut().expect("a socket").open = true;
                self.session.handle_open(self.now);
            }
            _ => {}
        }
        self.pump();
    }

    /// The first question of this kind.
    fn question(&mut self, which: impl Fn(&Question) -> bool) -> Question {
        let at = self.questions.iter().position(which).expect("a question");
        self.questions.remove(at)
    }

    fn next_token(&mut self) -> Token {
        self.token += 1;
        self.token
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
