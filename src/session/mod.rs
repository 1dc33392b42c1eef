//! The protocol state machine of a client: a synchronous value in virtual time, with no socket, clock or future in it.

mod connection;
mod event;
mod incoming;
mod inflight;
mod lifecycle;
mod outgoing;
mod reconnect;
mod subscriptions;
mod topics;

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use crate::codec::{self, *};
use crate::options::{Draft, InvalidArgument, Options, VersionChoice, Will};
use connection::{Authentication, Beat, Connection, Naming, Owed, Stage};
pub use event::*;
use inflight::{Entry, Identifiers, Line, Outgoing, Received, Waiting};
use outgoing::{check_message, encode_publish, too_large};
use reconnect::{Reconnect, Verdict, verdict};
use subscriptions::Subscriptions;
use topics::{Found, Slots};

/// Microseconds on a clock that never goes back.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(pub u64);

impl Instant {
    // A multiplication of 64 bits that saturates is long: one copy will do.
    #[inline(never)]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    pub fn first(instants: &[Option<Self>]) -> Option<Self> {
        instants.iter().flatten().min().copied()
    }

    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }
}

/// Bytes of one frame, about: what is written in one turn is cut here, at the end of a packet.
pub const FRAME: usize = 16 * 1024;
/// Over so many bytes in the transport's buffer, publishes wait; under a half of it they go on.
const TRANSPORT_FULL: usize = 1024 * 1024;
/// So many bytes more in a full transport are too many: they are answers to a server that asks and does not read.
const UNREAD: usize = 16 * 1024 * 1024;
/// Connections in a row that one message may end before the application is told.
const POISON: u8 = 5;
/// Bytes of text or binary data in a packet, behind a length of two bytes.
const LONGEST_FIELD: usize = 65_535;

/// A piece of input: `bytes` begin `offset` bytes into the chunk that the transport delivered, which goes on for `beyond`
/// bytes after them that need not be in memory.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub bytes: &'a [u8],
    pub offset: usize,
    pub beyond: usize,
}

impl<'a> From<&'a [u8]> for Input<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, beyond: 0 }
    }
}

/// What the application says to [`Command::Resolve`].
#[derive(Clone, Hash, Debug)]
pub struct Resolved {
    /// At least one, without credentials.
    pub urls: Vec<Rc<str>>,
    /// One for each URL.
    pub credentials: Vec<Credentials>,
    /// The credentials come from a function: another call may bring better ones.
    pub dynamic: bool,
}

#[derive(Clone, Default, Hash, Debug)]
pub struct Credentials {
    pub username: Option<String>,
    pub password: Option<Vec<u8>>,
}

impl Credentials {
    /// What no CONNECT can hold.
    fn fault(&self) -> Option<InvalidArgument> {
        if self.username.as_ref().is_some_and(|username| check_text(username).is_err()) {
            let message = "must be a string of at most 65535 bytes in UTF-8, without U+0000";
            return Some(InvalidArgument::new("username", message));
        }
        let long = self.password.as_ref().is_some_and(|password| password.len() > LONGEST_FIELD);
        long.then(|| InvalidArgument::new("password", "must have at most 65535 bytes"))
    }
}

/// What became of a publish that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// QoS 0, in the send buffer: there is nothing more to tell.
    Written,
    /// The token will complete.
    Pending,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub messages_sent: u64,
    pub messages_received: u64,
    pub in_flight_out: u32,
    pub in_flight_in: u32,
    pub queued_messages: u32,
    pub queued_bytes: u64,
    pub dropped_messages: u64,
    pub subscriptions: u32,
    pub connections: u32,
    pub connected_since: Option<Instant>,
    /// µs.
    pub round_trip: Option<u64>,
}

/// What was counted does not tell how a session goes on: two that behave alike hash alike.
impl Hash for Stats {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// Encoded packets on their way to the transport.
#[derive(Clone, Default, Hash, Debug)]
struct Output {
    bytes: Vec<u8>,
    /// Up to here it has been handed over.
    sent: usize,
    /// Ends of packets at which a frame is full.
    cuts: VecDeque<usize>,
    last_cut: usize,
}

impl Output {
    #[inline]
    fn end_packet(&mut self) {
        if self.bytes.len() - self.last_cut >= FRAME {
            self.last_cut = self.bytes.len();
            self.cuts.push_back(self.last_cut);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(8 * FRAME);
        self.cuts.clear();
        self.sent = 0;
        self.last_cut = 0;
    }
}

/// How the session closes by the application's wish.
#[derive(Clone, Hash, Debug)]
struct Ending {
    deadline: Instant,
    reason: ReasonCode,
    properties: PropertiesBuf,
    session_expiry: Option<u32>,
}

/// An error whose consequences the application is asked about.
#[derive(Clone, Hash, Debug)]
struct Trial {
    error: Box<Error>,
    was_up: bool,
}

/// One client's session with its server, over any number of connections.
///
/// There are four kinds of methods. `handle_*` say what happened outside and never fail: what comes of it is an event or a
/// command. Verbs say what the application wants and fail only on its own mistakes. `poll_*` tell the caller what it must
/// do now, and are asked after each of the others.
#[derive(Clone, Hash, Debug)]
pub struct Session {
    options: Options,
    asks_verdict: bool,
    random: u64,
    /// Of the next CONNECT; known for good once a server has accepted it.
    version: Version,
    client_id: Rc<str>,
    state: State,
    /// A server has accepted a connection since the session began.
    established: bool,
    /// Servers tried by the first connect().
    tried: usize,
    /// A CONNECT that asked for the session was not answered: should its CONNACK have been lost, the session that the next
    /// one tells of may be new.
    doubtful: bool,
    /// Bad credentials have been asked for again since the last success.
    asked_again: bool,
    /// Counts sockets and attempts; what belongs to an old one is ignored by the caller.
    generation: u32,
    urls: Vec<Rc<str>>,
    url: Rc<str>,
    credentials: Vec<Credentials>,
    dynamic: bool,
    reconnect: Reconnect,
    retry_at: Option<Instant>,
    last_error: Option<Box<Error>>,
    trial: Option<Box<Trial>>,
    connection: Option<Connection>,
    output: Output,
    /// The transport's buffer is full.
    blocked: bool,
    /// Bytes that the full transport may hold.
    ceiling: Option<usize>,
    identifiers: Identifiers,
    /// Identifiers of messages that an earlier connection left unacknowledged, to be sent again: the last one first.
    resend: Vec<PacketId>,
    waiting: Waiting,
    received: Received,
    subscriptions: Subscriptions,
    topics: Slots,
    /// Topics the application publishes to, by the number it was given.
    outgoing_topics: Vec<Rc<str>>,
    order: u64,
    /// Number of the next incoming QoS 1 or 2 message.
    sequence: u32,
    drains: Vec<Token>,
    /// The re-authentication that was under way on the connection that is gone.
    interrupted: Token,
    ending: Option<Ending>,
    events: Events,
    commands: VecDeque<Command>,
    /// The last packet that came in pieces, kept while its payload may be read.
    assembled: Vec<u8>,
    identifiers_seen: Vec<u32>,
    /// Input waits until the application has heard of the connection.
    paused: bool,
    defers: bool,
    missing: usize,
    tapped: bool,
    stats: Stats,
}

impl Session {
    /// `seed`: any number, for the jitter of delays and the client identifier of MQTT 3.1.1.
    pub fn new(options: Options, seed: u64) -> Result<Self, InvalidArgument> {
        options.check()?;
        let version =
            if options.version == VersionChoice::V311 { Version::V311 } else { Version::V5 };
        let client_id = options.client_id.as_deref().unwrap_or_default().into();
        Ok(Self {
            options,
            asks_verdict: false,
            // Seeds may be small or alike.
            random: (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            version,
            client_id,
            state: State::Idle,
            established: false,
            tried: 0,
            doubtful: false,
            asked_again: false,
            generation: 0,
            urls: Vec::new(),
            url: "".into(),
            credentials: Vec::new(),
            dynamic: false,
            reconnect: Reconnect::default(),
            retry_at: None,
            last_error: None,
            trial: None,
            connection: None,
            output: Output::default(),
            blocked: false,
            ceiling: None,
            identifiers: Identifiers::default(),
            resend: Vec::new(),
            waiting: Waiting::default(),
            received: Received::default(),
            subscriptions: Subscriptions::default(),
            topics: Slots::new(),
            outgoing_topics: Vec::new(),
            order: 0,
            sequence: 0,
            drains: Vec::new(),
            interrupted: 0,
            ending: None,
            events: Events::default(),
            commands: VecDeque::new(),
            assembled: Vec::new(),
            identifiers_seen: Vec::new(),
            paused: false,
            defers: false,
            missing: 0,
            tapped: false,
            stats: Stats::default(),
        })
    }

    // ------------------------------------------------------------------------------------ what happened outside

    /// URL and credentials for this attempt, or that the application failed to name them.
    pub fn handle_resolved(&mut self, now: Instant, resolved: Result<Resolved, ()>) {
        if self.state != State::Connecting || self.connection.is_some() {
            return;
        }
        let Ok(resolved) = resolved else {
            let error = Error::new(
                ErrorCode::ConnectionFailed,
                "the URL or the credentials could not be had",
            );
            return self.fail(now, error.at(Phase::Transport, &self.url), false);
        };
        if let Some(invalid) = resolved.credentials.iter().find_map(Credentials::fault) {
            return self.fail(now, invalid.into(), false);
        }
        self.urls = resolved.urls;
        self.credentials = resolved.credentials;
        self.dynamic = resolved.dynamic;
        self.open(now);
    }

    /// The socket is open.
    pub fn handle_open(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        if self.options.authentication_method.is_some() && self.version == Version::V5 {
            connection.authentication = Authentication::Starting;
            self.ask_authenticator(true, false, None, Properties::EMPTY);
        } else {
            self.send_connect(now, None);
        }
    }

    /// Bytes came. Returns how many of the chunk's bytes, from the input's beginning, are used: less than all when the
    /// application must hear of the connection first, and when the window ends inside a packet; more than are in memory
    /// when a payload goes on beyond.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> usize {
        let mut at = 0;
        let whole = input.bytes.len() + input.beyond;
        let Some(connection) = &mut self.connection else { return whole };
        connection.pulse.hear(now);
        if !connection.connect_sent {
            let what = "input before CONNECT";
            self.violated(now, DecodeError::protocol(what));
        }
        self.paused = false;
        self.missing = 0;
        while !self.paused {
            let Some(connection) = &mut self.connection else {
                at = whole;
                break;
            };
            let step = connection.decoder.step(input.bytes, &mut at, input.beyond);
            let result = match step {
                Ok(Step::More) => break,
                Ok(Step::Wait { missing }) => {
                    self.missing = missing;
                    break;
                }
                Ok(Step::Packet { first, start, len }) => {
                    let body = input.bytes.get(start..).unwrap_or_default();
                    let body = body.get(..len).unwrap_or(body);
                    self.handle_packet(now, first, body, len, Some(input.offset + start))
                }
                Ok(Step::Split { first, body }) => {
                    let result = self.handle_packet(now, first, &body, body.len(), None);
                    let old = std::mem::replace(&mut self.assembled, body);
                    if let Some(connection) = &mut self.connection {
                        connection.decoder.recycle(old);
                    }
                    result
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.violated(now, error);
            }
        }
        // Acknowledgements may have made room.
        self.send_requests();
        if !(self.waiting.len() == 0 && self.resend.is_empty()) {
            self.send_waiting(now);
        }
        self.stats.bytes_received += at as u64;
        self.progress(now);
        at
    }

    /// Something came that is no binary data [MQTT-6.0.0-1].
    pub fn handle_text(&mut self, now: Instant) {
        if self.connection.is_some() {
            let what = "a WebSocket frame that is not binary";
            self.violated(now, DecodeError::protocol(what));
        }
    }

    /// Bytes in the transport's buffer.
    pub fn handle_writable(&mut self, now: Instant, buffered: usize) {
        let limit = if self.blocked { TRANSPORT_FULL / 2 } else { TRANSPORT_FULL };
        let was_blocked = std::mem::replace(&mut self.blocked, buffered > limit);
        if !self.blocked {
            self.ceiling = None;
            if was_blocked {
                self.send_waiting(now);
                self.progress(now);
            }
        } else if buffered > *self.ceiling.get_or_insert(buffered.saturating_add(UNREAD))
            && self.connection.is_some()
        {
            let error =
                Error::new(ErrorCode::ConnectionLost, "the server does not read what it is sent");
            self.fail(now, error, true);
        }
    }

    /// The transport must be asked from time to time how much is in its buffer.
    pub fn is_blocked(&self) -> bool {
        self.blocked && self.connection.is_some()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.attempt();
        }
        if self.ending.as_ref().is_some_and(|ending| ending.deadline <= now) {
            self.finish(now);
        }
        for message in self.waiting.expire(now) {
            let error =
                Error::new(ErrorCode::Expired, "the message expired before it could be sent");
            self.fail_message(message.token, error.with_topic(&message.topic));
        }
        if let Some(connection) = &mut self.connection {
            if connection.server.is_none() {
                if connection.deadline <= now {
                    let phase =
                        if connection.connect_sent { Phase::Mqtt } else { Phase::Transport };
                    let error = Error::new(
                        ErrorCode::ConnectionFailed,
                        "the server did not answer in time",
                    );
                    self.fail(now, error.at(phase, &self.url), true);
                }
            } else {
                match connection.pulse.beat(now) {
                    Beat::Rest => {}
                    Beat::Ping => {
                        let start = self.output.bytes.len();
                        self.output.bytes.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
                        self.wrote(PacketType::PingReq, start, None, None, None);
                    }
                    Beat::Dead => {
                        let error = Error::new(
                            ErrorCode::KeepaliveTimeout,
                            "the server did not answer a PINGREQ",
                        );
                        self.fail(now, error, true);
                    }
                }
            }
        }
        self.progress(now);
    }

    /// What the application's Authenticator said; Err: it failed.
    pub fn handle_auth(&mut self, now: Instant, data: Result<Option<Vec<u8>>, ()>) {
        let Some(connection) = &mut self.connection else { return };
        let stage = connection.authentication;
        if stage == Authentication::None {
            return;
        }
        let what = match &data {
            Err(()) => "the Authenticator failed",
            Ok(Some(data)) if data.len() > LONGEST_FIELD => {
                "the Authenticator gave more than 65535 bytes"
            }
            _ => "",
        };
        let Some(data) = data.ok().filter(|_| what.is_empty()) else {
            return self
                .authentication_failed(now, Error::new(ErrorCode::AuthenticationFailed, what));
        };
        let limit =
            connection.server.as_ref().map_or(u32::MAX, |server| server.maximum_packet_size);
        let reason = match stage {
            Authentication::Starting => return self.send_connect(now, data.as_deref()),
            Authentication::Again(_) if !connection.reauthenticating => {
                connection.reauthenticating = true;
                ReasonCode::RE_AUTHENTICATE
            }
            _ => ReasonCode::CONTINUE_AUTHENTICATION,
        };
        let mut properties = PropertiesBuf::default();
        self.push_authentication(&mut properties, data.as_deref());
        let start = self.output.bytes.len();
        Auth { reason, properties: properties.borrow() }.encode(&mut self.output.bytes);
        let size = self.output.bytes.len() - start;
        if size > limit as usize {
            self.output.bytes.truncate(start);
            return self.authentication_failed(now, too_large(size, limit));
        }
        self.wrote(PacketType::Auth, start, None, None, Some(reason));
    }

    /// Our side of an authentication is at its end, and so is the connection [MQTT-4.12.1-2].
    fn authentication_failed(&mut self, now: Instant, error: Box<Error>) {
        if self.connection.as_ref().is_some_and(|connection| connection.server.is_some()) {
            self.write_disconnect(ReasonCode::UNSPECIFIED_ERROR, &PropertiesBuf::default(), None);
        }
        self.fail(now, error.at(Phase::Authentication, &self.url), true);
    }

    /// The socket is closed, or could not be opened. `code` is the WebSocket's close code.
    pub fn handle_close(&mut self, now: Instant, code: Option<u16>, what: Option<&'static str>) {
        let Some(connection) = &self.connection else { return };
        let mut error = if connection.server.is_some() {
            Error::new(ErrorCode::ConnectionLost, what.unwrap_or("the connection was closed"))
        } else {
            let phase = if connection.connect_sent { Phase::Mqtt } else { Phase::Transport };
            let what = what.unwrap_or(if connection.connect_sent {
                "the server closed the connection without an answer to CONNECT"
            } else {
                "the server could not be reached"
            });
            Error::new(ErrorCode::ConnectionFailed, what).at(phase, &self.url)
        };
        error.close_code = code;
        self.output.clear();
        self.fail(now, error, false);
    }

    /// What the application says to [`Command::Judge`]; None: as it would be without.
    pub fn handle_verdict(&mut self, now: Instant, retry: Option<bool>) {
        if let Some(trial) = self.trial.take() {
            self.decide(now, trial.error, trial.was_up, retry);
        }
    }

    // ------------------------------------------------------------------------------------ what the application wants

    pub fn connect(&mut self) {
        match self.state {
            State::Idle => {
                self.tried = 0;
                self.asked_again = false;
                self.attempt();
            }
            State::Waiting => self.attempt(),
            _ => {}
        }
    }

    /// Gives up the first connection while it is being made, or waits for its next attempt. Nothing that waits is lost.
    pub fn abandon(&mut self, now: Instant) {
        if self.established || !matches!(self.state, State::Connecting | State::Waiting) {
            return;
        }
        self.trial = None;
        self.retry_at = None;
        self.last_error = None;
        if self.connection.as_ref().is_some_and(|connection| connection.connect_sent) {
            // The server may have accepted: it shall not publish the will.
            self.write_disconnect(ReasonCode::SUCCESS, &PropertiesBuf::default(), None);
        }
        self.drop_connection(now);
        self.commands.push_back(Command::Close { force: false });
        self.set_state(State::Idle);
    }

    /// Drops the connection, if any, and connects at once.
    pub fn reconnect(&mut self, now: Instant) {
        match self.state {
            State::Idle | State::Waiting => self.connect(),
            State::Connecting | State::Connected if self.trial.is_none() => {
                let was_up = self.drop_connection(now);
                self.commands.push_back(Command::Close { force: false });
                if was_up {
                    self.set_state(State::Connecting);
                    let error = Error::new(
                        ErrorCode::ConnectionLost,
                        "the application asked for a new connection",
                    );
                    self.disconnected(&error, true);
                }
                self.attempt();
            }
            _ => {}
        }
    }

    /// Ends the session for good: at once, or when nothing is under way any more, after `timeout_ms` at the latest.
    /// `force`: without DISCONNECT, so that the server publishes the will.
    pub fn end(
        &mut self,
        now: Instant,
        timeout_ms: u64,
        force: bool,
        reason: ReasonCode,
        draft: Draft,
    ) -> Result<(), Box<Error>> {
        let asked = self.options.properties.session_expiry;
        if asked == Some(0) && draft.session_expiry.is_some_and(|expiry| expiry > 0) {
            let message = "must be 0 where the connection was made with 0";
            return Err(InvalidArgument::new("properties.sessionExpiryInterval", message).into());
        }
        if !reason.stands_in(PacketSet::CLIENT_DISCONNECT) {
            let message = "must be a reason code that a client may send in DISCONNECT";
            return Err(InvalidArgument::new("reasonCode", message).into());
        }
        // A session that nobody asked for by name is of no use to anybody else.
        let session_expiry = draft.session_expiry.or(asked.is_none().then_some(0));
        let ending = Ending {
            deadline: now.after_ms(timeout_ms),
            reason,
            properties: draft.properties,
            session_expiry,
        };
        match self.state {
            State::Closed => return Ok(()),
            State::Closing if !force => return Ok(()),
            _ => {}
        }
        let connected =
            self.connection.as_ref().is_some_and(|connection| connection.server.is_some());
        self.events.drop_disconnects();
        self.set_state(State::Closing);
        self.retry_at = None;
        self.trial = None;
        self.ending = Some(ending);
        if force {
            if self.connection.is_some() {
                self.output.clear();
                self.commands.push_back(Command::Close { force: true });
            }
            self.drop_connection(now);
            self.close(None);
        } else if !connected || timeout_ms == 0 {
            self.finish(now);
        }
        self.progress(now);
        Ok(())
    }

    /// Changes the will for the next CONNECT.
    pub fn set_will(&mut self, will: Option<Will>) -> Result<(), InvalidArgument> {
        if let Some(will) = &will {
            will.check()?;
        }
        self.options.will = will;
        Ok(())
    }

    /// A number for a topic to publish to, good until [`Session::forget_topics`].
    pub fn topic(&mut self, text: &str) -> Result<u32, InvalidArgument> {
        match check_topic(text.as_bytes()) {
            Ok(topic) => {
                self.outgoing_topics.push(topic.into());
                Ok(self.outgoing_topics.len() as u32 - 1)
            }
            Err(error) => Err(InvalidArgument::new("topic", error.what())),
        }
    }

    pub fn forget_topics(&mut self) {
        self.outgoing_topics.clear();
    }

    /// Publishes to a topic by its number. `token` may be 0.
    #[inline]
    #[expect(
        clippy::too_many_arguments,
        reason = "the hot path: a struct would be made and taken apart for each message"
    )]
    pub fn publish(
        &mut self,
        now: Instant,
        topic: u32,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        draft: Option<Draft>,
        token: Token,
    ) -> Result<Accepted, Box<Error>> {
        let Some(topic) = self.outgoing_topics.get(topic as usize) else {
            return Err(InvalidArgument::new("topic", "is not known").into());
        };
        if draft.is_none()
            && qos == QoS::AtMostOnce
            && !self.blocked
            && self.waiting.is_empty(qos)
            && let Some(connection) = &mut self.connection
            && let Some(server) = &connection.server
            && (server.retain || !retain)
            && self.state == State::Connected
        {
            // The shortest path: straight into the send buffer.
            let limit = server.maximum_packet_size;
            let topic = topic.clone();
            let publish = Publish {
                dup: false,
                qos,
                retain,
                topic: topic.as_bytes(),
                id: None,
                properties: Properties::EMPTY,
                payload: &[],
            };
            let start = self.output.bytes.len();
            if encode_publish(
                connection,
                publish,
                &topic,
                payload,
                None,
                limit,
                &mut self.output.bytes,
            )
            .is_ok()
            {
                self.sent_message(start, None, &topic);
                return Ok(Accepted::Written);
            }
        }
        let topic = topic.clone();
        self.publish_slowly(now, topic, payload, qos, retain, draft.unwrap_or_default(), token)
    }

    #[expect(clippy::too_many_arguments, reason = "those of `publish`")]
    fn publish_slowly(
        &mut self,
        now: Instant,
        topic: Rc<str>,
        payload: &[u8],
        qos: QoS,
        retain: bool,
        draft: Draft,
        token: Token,
    ) -> Result<Accepted, Box<Error>> {
        self.check_open()?;
        let draft = if self.version == Version::V311 { Draft::default() } else { draft };
        let message = Box::new(Outgoing {
            token,
            order: self.order,
            topic,
            payload: payload.into(),
            qos,
            retain,
            properties: draft.properties,
            alias: draft.topic_alias,
            expiry: draft.message_expiry.map(|seconds| (now, seconds)),
            sent: false,
            cuts: 0,
        });
        let server = self.connection.as_ref().and_then(|connection| connection.server.as_ref());
        if let Some(server) = server {
            check_message(&message, server)?;
        } else if qos == QoS::AtMostOnce && !self.options.queue.qos0 {
            let error = Error::new(
                ErrorCode::ConnectionLost,
                "there is no connection, and queue.qos0 is false",
            );
            return Err(error.with_topic(&message.topic));
        }
        self.order += 1;
        if server.is_some()
            && !self.blocked
            && self.waiting.is_empty(qos)
            && (qos == QoS::AtMostOnce || self.has_quota())
        {
            self.send_message(now, message);
            return Ok(Accepted::Pending);
        }
        let order = message.order;
        for gone in self.waiting.push(message, &self.options.queue) {
            self.stats.dropped_messages += 1;
            let error = Error::new(
                ErrorCode::QueueFull,
                "the queue of messages that wait to be sent is full",
            );
            let error = error.with_topic(&gone.topic);
            if gone.order == order {
                return Err(error);
            }
            self.fail_message(gone.token, error);
        }
        Ok(Accepted::Pending)
    }

    /// Takes a Subscription named `handle` in force and asks the server for it.
    pub fn subscribe(
        &mut self,
        token: Token,
        handle: Handle,
        filters: &[(Rc<str>, SubscribeOptions)],
        draft: Draft,
    ) -> Result<(), Box<Error>> {
        self.check_open()?;
        self.check_filters(filters.iter().map(|(filter, _)| filter))?;
        for (filter, options) in filters {
            if options.no_local && shared(filter).is_some() {
                // [MQTT-3.8.3-4]
                let message = "must be false for a shared subscription";
                return Err(InvalidArgument::new("noLocal", message).into());
            }
            let server = self.connection.as_ref().and_then(|connection| connection.server.as_ref());
            if let Some(server) = server
                && let Some((reason, what)) = subscriptions::unsupported(
                    filter,
                    draft.subscription_identifier.is_some(),
                    server,
                )
            {
                return Err(Error::new(ErrorCode::NotSupported, what).with_reason(reason));
            }
        }
        self.subscriptions.subscribe(
            token,
            handle,
            filters,
            draft.subscription_identifier.map(SubscriptionId::get),
            &draft.properties,
        );
        self.send_requests();
        Ok(())
    }

    /// Ends the Subscription; the server is asked where it was the last one of a filter.
    pub fn leave(&mut self, token: Token, handle: Handle, draft: Draft) -> Result<(), Box<Error>> {
        self.check_open()?;
        self.subscriptions.leave(token, handle, draft.properties, &mut self.events);
        self.send_requests();
        Ok(())
    }

    /// Ends every Subscription to these filters and asks the server to forget them, known or not.
    pub fn unsubscribe(
        &mut self,
        token: Token,
        filters: &[Rc<str>],
        draft: Draft,
    ) -> Result<(), Box<Error>> {
        self.check_open()?;
        self.check_filters(filters.iter())?;
        self.subscriptions.unsubscribe(token, filters, draft.properties, &mut self.events);
        self.send_requests();
        Ok(())
    }

    /// MQTT 5 re-authentication [MQTT5 4.12.1].
    pub fn reauthenticate(&mut self, token: Token) -> Result<(), Box<Error>> {
        self.check_open()?;
        if self.version == Version::V311 || self.options.authentication_method.is_none() {
            let what = "re-authentication needs MQTT 5 and the authentication option";
            return Err(Error::new(ErrorCode::NotSupported, what));
        }
        let Some(connection) =
            self.connection.as_mut().filter(|connection| connection.server.is_some())
        else {
            return Err(Error::new(ErrorCode::ConnectionLost, "there is no connection"));
        };
        if let Authentication::Again(_) = connection.authentication {
            let mut error = Error::new(
                ErrorCode::AuthenticationFailed,
                "a re-authentication is under way already",
            );
            error.retryable = true;
            return Err(error);
        }
        connection.authentication = Authentication::Again(token);
        connection.reauthenticating = false;
        self.ask_authenticator(true, true, None, Properties::EMPTY);
        Ok(())
    }

    /// Completes when nothing is queued or in flight.
    pub fn drain(&mut self, now: Instant, token: Token) -> Result<(), Box<Error>> {
        if self.state == State::Closed {
            return Err(closed());
        }
        self.drains.push(token);
        self.progress(now);
        Ok(())
    }

    /// Nobody waits for the token any more: what was not sent is dropped, what was sent goes on.
    pub fn cancel(&mut self, now: Instant, token: Token) {
        if token == 0 {
            return;
        }
        self.drains.retain(|&other| other != token);
        if self.interrupted == token {
            self.interrupted = 0;
        }
        if !self.waiting.withdraw(token) && !self.subscriptions.cancel(token, &mut self.events) {
            for (_, entry) in self.identifiers.iter_mut() {
                if let Some(other) = entry.token()
                    && *other == token
                {
                    *other = 0;
                }
            }
            if let Some(connection) = &mut self.connection
                && connection.authentication == Authentication::Again(token)
            {
                connection.authentication = Authentication::Again(0);
            }
        }
        self.send_requests();
        self.progress(now);
    }

    /// All messages that were handed out have been delivered: those that nobody holds are acknowledged.
    pub fn delivered(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.owed.delivered();
            self.acknowledge_ready();
        }
    }

    /// Withholds the acknowledgement of a message that is being delivered.
    pub fn hold(&mut self, sequence: u32) {
        if let Some(connection) = &mut self.connection {
            connection.owed.set(sequence, Stage::Held);
        }
    }

    /// Acknowledges a message that was held, or refuses it with a reason code of 0x80 or more (MQTT 5). One that came on
    /// an earlier connection is left alone: the server sends it again.
    pub fn acknowledge(&mut self, sequence: u32, reason: ReasonCode) -> Result<(), Box<Error>> {
        if self.version == Version::V311 && reason.is_error() {
            let what = "MQTT 3.1.1 cannot refuse a message";
            return Err(Error::new(ErrorCode::NotSupported, what));
        }
        if !reason.stands_in(PacketSet::PUBACK) {
            let message = "must be a reason code of PUBACK and PUBREC";
            return Err(InvalidArgument::new("reasonCode", message).into());
        }
        if let Some(connection) = &mut self.connection {
            connection.owed.set(sequence, Stage::Ready(reason));
            self.acknowledge_ready();
        }
        Ok(())
    }

    /// Whether the application is asked for its own verdict on errors.
    pub fn ask_verdict(&mut self, on: bool) {
        self.asks_verdict = on;
    }

    /// Whether every packet is an event.
    pub fn tap(&mut self, on: bool) {
        self.tapped = on;
    }

    // ------------------------------------------------------------------------------------ what the caller must do now

    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty()
    }

    /// Bytes to send as one frame. They count as sent from here on.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&[u8]> {
        let output = &mut self.output;
        if output.sent == output.bytes.len() {
            if output.sent > 0 {
                output.clear();
            }
            return None;
        }
        let start = output.sent;
        output.sent = output.cuts.pop_front().unwrap_or(output.bytes.len());
        self.stats.bytes_sent += (output.sent - start) as u64;
        if let Some(connection) = &mut self.connection {
            connection.pulse.sent = now;
        }
        Some(&self.output.bytes[start..self.output.sent])
    }

    /// Bytes that wait to be transmitted.
    #[inline]
    pub fn pending_output(&self) -> usize {
        self.output.bytes.len() - self.output.sent
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let connection = self.connection.as_ref().and_then(|connection| match connection.server {
            None => Some(connection.deadline),
            Some(_) => connection.pulse.next(),
        });
        let ending = self.ending.as_ref().map(|ending| ending.deadline);
        Instant::first(&[self.retry_at, connection, ending, self.waiting.expiry()])
    }

    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    // ------------------------------------------------------------------------------------ what the caller may ask

    pub fn state(&self) -> State {
        self.state
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// From the next connection on, the caller puts large packets together that come in pieces: see [`Session::missing`].
    pub fn defer_large_packets(&mut self) {
        self.defers = true;
    }

    /// The input that was handled last stopped before a large packet, which goes on so many bytes after the chunk: it must
    /// come again, whole, before what follows it. Until then, empty input says that something came. 0: it did not.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// The caller has no memory for a packet that it was to put together.
    pub fn handle_too_large(&mut self, now: Instant) {
        self.violated(now, DecodeError::TOO_LARGE);
    }

    /// The input that was handled last stopped behind a CONNACK: the rest waits until the application has heard of it.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    pub fn client_id(&self) -> &Rc<str> {
        &self.client_id
    }

    /// The body of the last packet that came in pieces: where its message has its bytes, until the next input.
    pub fn assembled(&self) -> &[u8] {
        &self.assembled
    }

    pub fn stats(&self) -> Stats {
        let connection = self.connection.as_ref();
        Stats {
            in_flight_out: self.identifiers.used() as u32,
            in_flight_in: connection.map_or(0, |connection| connection.window),
            queued_messages: self.waiting.len() as u32,
            queued_bytes: self.waiting.bytes() as u64,
            subscriptions: self.subscriptions.len() as u32,
            ..self.stats
        }
    }
}

fn closed() -> Box<Error> {
    Error::new(ErrorCode::Closed, "the client is closed")
}
