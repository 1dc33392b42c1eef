//! The protocol state machine of a client: a synchronous value in virtual time, with no socket, clock or future in it.

mod connection;
mod event;
mod inflight;
mod reconnect;
mod subscriptions;
mod topics;

use std::collections::VecDeque;
use std::rc::Rc;

use crate::codec::{self, first, *};
use crate::options::{Draft, InvalidArgument, Options, VersionChoice, Will};
use connection::{Authentication, Beat, Connection, Naming, Owed, Stage};
pub use event::*;
use inflight::{Entry, Identifiers, Outgoing, Received, Waiting};
use reconnect::{Reconnect, Verdict, verdict};
use subscriptions::Subscriptions;
use topics::{Found, Slots};

/// Microseconds on a clock that never goes back.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(pub u64);

impl Instant {
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
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

#[derive(Clone, Copy, Default, Hash, PartialEq, Eq, Debug)]
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
    /// Identifiers of messages that an earlier connection left unacknowledged, to be sent again.
    resend: VecDeque<u16>,
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
    tapped: bool,
    stats: Stats,
}

impl Session {
    /// `seed`: any number, for the jitter of delays and the client identifier of MQTT 3.1.1.
    pub fn new(options: Options, seed: u64) -> Result<Self, InvalidArgument> {
        options.check()?;
        let version = if options.version == VersionChoice::V4 { Version::V4 } else { Version::V5 };
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
            resend: VecDeque::new(),
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
            let error = Error::new(ErrorCode::ConnectionFailed, "the URL or the credentials could not be had");
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
        match &mut self.connection {
            Some(connection) => connection.pulse.hear(now),
            None => return whole,
        }
        self.paused = false;
        while !self.paused {
            let Some(connection) = &mut self.connection else {
                at = whole;
                break;
            };
            let step = connection.decoder.step(input.bytes, &mut at, input.beyond);
            let result = match step {
                Ok(Step::More) => break,
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
        self.send_waiting(now);
        self.stats.bytes_received += at as u64;
        self.progress(now);
        at
    }

    /// Something came that is no binary data [MQTT-6.0.0-1].
    pub fn handle_text(&mut self, now: Instant) {
        if self.connection.is_some() {
            let what = "a WebSocket frame that is not binary";
            self.violated(now, DecodeError { reason: ReasonCode::PROTOCOL_ERROR, what });
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
        } else if buffered > *self.ceiling.get_or_insert(buffered.saturating_add(UNREAD)) && self.connection.is_some() {
            let error = Error::new(ErrorCode::ConnectionLost, "the server does not read what it is sent");
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
            let error = Error::new(ErrorCode::Expired, "the message expired before it could be sent");
            self.fail_message(message.token, error.with_topic(&message.topic));
        }
        if let Some(connection) = &mut self.connection {
            if connection.server.is_none() {
                if connection.deadline <= now {
                    let phase = if connection.connect_sent { Phase::Mqtt } else { Phase::Transport };
                    let error = Error::new(ErrorCode::ConnectionFailed, "the server did not answer in time");
                    self.fail(now, error.at(phase, &self.url), true);
                }
            } else {
                match connection.pulse.beat(now) {
                    Beat::Rest => {}
                    Beat::Ping => self.write(&Packet::PingReq),
                    Beat::Dead => {
                        let error = Error::new(ErrorCode::KeepaliveTimeout, "the server did not answer a PINGREQ");
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
            Ok(Some(data)) if data.len() > LONGEST_FIELD => "the Authenticator gave more than 65535 bytes",
            _ => "",
        };
        let Some(data) = data.ok().filter(|_| what.is_empty()) else {
            return self.authentication_failed(now, Error::new(ErrorCode::AuthenticationFailed, what));
        };
        let limit = connection.server.as_ref().map_or(u32::MAX, |server| server.maximum_packet_size);
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
        let auth = Auth { reason, properties: properties.borrow() };
        let mut packet = Vec::new();
        auth.encode(&mut packet);
        if packet.len() > limit as usize {
            return self.authentication_failed(now, too_large(packet.len(), limit));
        }
        self.write(&Packet::Auth(auth));
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
                    let error = Error::new(ErrorCode::ConnectionLost, "the application asked for a new connection");
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
        if !reason.stands_in(place::CLIENT_DISCONNECT) {
            let message = "must be a reason code that a client may send in DISCONNECT";
            return Err(InvalidArgument::new("reasonCode", message).into());
        }
        // A session that nobody asked for by name is of no use to anybody else.
        let session_expiry = draft.session_expiry.or(asked.is_none().then_some(0));
        let ending =
            Ending { deadline: now.after_ms(timeout_ms), reason, properties: draft.properties, session_expiry };
        match self.state {
            State::Closed => return Ok(()),
            State::Closing if !force => return Ok(()),
            _ => {}
        }
        let connected = self.connection.as_ref().is_some_and(|connection| connection.server.is_some());
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
                id: 0,
                properties: Properties::EMPTY,
                payload: &[],
            };
            let start = self.output.bytes.len();
            if encode_publish(connection, publish, &topic, payload, None, limit, &mut self.output.bytes).is_ok() {
                self.sent_message(start, 0, &topic);
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
        let draft = if self.version == Version::V4 { Draft::default() } else { draft };
        let message = Outgoing {
            token,
            order: self.order,
            topic,
            payload: payload.into(),
            qos,
            retain,
            properties: draft.properties,
            alias: draft.topic_alias,
            expiry: draft.message_expiry.map(|seconds| (now, seconds)),
            cuts: 0,
        };
        let server = self.connection.as_ref().and_then(|connection| connection.server.as_ref());
        if let Some(server) = server {
            check_message(&message, server)?;
        } else if qos == QoS::AtMostOnce && !self.options.queue.qos0 {
            let error = Error::new(ErrorCode::ConnectionLost, "there is no connection, and queue.qos0 is false");
            return Err(error.with_topic(&message.topic));
        }
        self.order += 1;
        if server.is_some()
            && !self.blocked
            && self.waiting.is_empty(qos)
            && (qos == QoS::AtMostOnce || self.has_quota())
        {
            self.send_message(now, message);
            return Ok(if qos == QoS::AtMostOnce { Accepted::Written } else { Accepted::Pending });
        }
        let order = message.order;
        for gone in self.waiting.push(message, &self.options.queue) {
            self.stats.dropped_messages += 1;
            let error = Error::new(ErrorCode::QueueFull, "the queue of messages that wait to be sent is full");
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
                && let Some((reason, what)) =
                    subscriptions::unsupported(filter, draft.subscription_identifier.is_some(), server)
            {
                return Err(Error::new(ErrorCode::NotSupported, what).with_reason(reason));
            }
        }
        self.subscriptions.subscribe(token, handle, filters, draft.subscription_identifier, &draft.properties);
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
    pub fn unsubscribe(&mut self, token: Token, filters: &[Rc<str>], draft: Draft) -> Result<(), Box<Error>> {
        self.check_open()?;
        self.check_filters(filters.iter())?;
        self.subscriptions.unsubscribe(token, filters, draft.properties, &mut self.events);
        self.send_requests();
        Ok(())
    }

    /// MQTT 5 re-authentication [MQTT5 4.12.1].
    pub fn reauthenticate(&mut self, token: Token) -> Result<(), Box<Error>> {
        self.check_open()?;
        if self.version == Version::V4 || self.options.authentication_method.is_none() {
            let what = "re-authentication needs MQTT 5 and the authentication option";
            return Err(Error::new(ErrorCode::NotSupported, what));
        }
        let Some(connection) = self.connection.as_mut().filter(|connection| connection.server.is_some()) else {
            return Err(Error::new(ErrorCode::ConnectionLost, "there is no connection"));
        };
        if let Authentication::Again(_) = connection.authentication {
            let mut error = Error::new(ErrorCode::AuthenticationFailed, "a re-authentication is under way already");
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
        if self.waiting.remove(&|message| message.token == token).is_none()
            && !self.subscriptions.cancel(token, &mut self.events)
        {
            for (_, entry) in self.identifiers.iter_mut() {
                match entry {
                    Entry::Publish { message: Outgoing { token: other, .. }, .. }
                    | Entry::Release { token: other, .. }
                        if *other == token =>
                    {
                        *other = 0;
                    }
                    _ => {}
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
        if self.version == Version::V4 && reason.is_error() {
            let what = "MQTT 3.1.1 cannot refuse a message";
            return Err(Error::new(ErrorCode::NotSupported, what));
        }
        if !reason.stands_in(place::PUBACK) {
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
        [self.retry_at, connection, ending, self.waiting.expiry()].into_iter().flatten().min()
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

    // ------------------------------------------------------------------------------------ life of a connection

    fn set_state(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.events.push(Event::State(state));
        }
    }

    fn random(&mut self) -> u64 {
        // xorshift64: never 0, good enough to spread clients.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Attempts in a row up to now; the very first counts too.
    fn attempts(&self) -> u32 {
        self.reconnect.attempt() + u32::from(!self.established)
    }

    fn attempt(&mut self) {
        self.retry_at = None;
        self.generation = self.generation.wrapping_add(1);
        self.set_state(State::Connecting);
        let attempt = self.attempts();
        self.commands.push_back(Command::Resolve { attempt, error: self.last_error.clone() });
    }

    fn open(&mut self, now: Instant) {
        self.generation = self.generation.wrapping_add(1);
        let server = self.reconnect.server(self.urls.len());
        let Some(url) = self.urls.get(server) else { return };
        self.url = url.clone();
        let deadline = now.after_ms(u64::from(self.options.connect_timeout_ms));
        let limit = self.options.properties.maximum_packet_size.unwrap_or(u32::MAX);
        self.connection = Some(Connection::new(self.version, limit, now, deadline));
        self.output.clear();
        self.blocked = false;
        self.ceiling = None;
        self.commands.push_back(Command::Open { url: self.url.clone() });
    }

    fn ask_authenticator(&mut self, first: bool, again: bool, data: Option<&[u8]>, properties: Properties<'_>) {
        let challenge =
            Challenge { first, reauthentication: again, data: data.map(Into::into), properties: properties.into() };
        self.commands.push_back(Command::Authenticate(Box::new(challenge)));
    }

    fn push_authentication(&self, properties: &mut PropertiesBuf, data: Option<&[u8]>) {
        if let Some(method) = &self.options.authentication_method {
            properties.push(Property::AuthenticationMethod, Value::Text(method));
            if let Some(data) = data {
                properties.push(Property::AuthenticationData, Value::Binary(data));
            }
        }
    }

    fn send_connect(&mut self, now: Instant, authentication: Option<&[u8]>) {
        let server = self.reconnect.server(self.urls.len());
        let Credentials { username, password } = self.credentials.get(server).cloned().unwrap_or_default();
        if self.version == Version::V4 {
            let what = if username.is_none() && password.is_some() {
                // [MQTT-3.1.2-22]
                Some("MQTT 3.1.1 allows no password without a username")
            } else if !self.options.clean && self.client_id.is_empty() {
                Some("the server speaks MQTT 3.1.1, which needs a clientId where clean is false")
            } else {
                None
            };
            if let Some(what) = what {
                let error = Error::new(ErrorCode::NotSupported, what);
                return self.fail(now, error.at(Phase::Mqtt, &self.url), true);
            }
            if self.client_id.is_empty() {
                self.client_id = self.random_id();
            }
        }
        let session_expiry = self.options.session_expiry().unwrap_or(0);
        let mut properties = PropertiesBuf::default();
        let own = &self.options.properties;
        if session_expiry > 0 {
            properties.push(Property::SessionExpiryInterval, Value::Four(session_expiry));
        }
        if own.receive_maximum < u16::MAX {
            properties.push(Property::ReceiveMaximum, Value::Two(own.receive_maximum));
        }
        if let Some(limit) = own.maximum_packet_size {
            properties.push(Property::MaximumPacketSize, Value::Four(limit));
        }
        if own.topic_alias_maximum > 0 {
            properties.push(Property::TopicAliasMaximum, Value::Two(own.topic_alias_maximum));
        }
        if own.request_response_information {
            properties.push(Property::RequestResponseInformation, Value::Byte(1));
        }
        if !own.request_problem_information {
            properties.push(Property::RequestProblemInformation, Value::Byte(0));
        }
        for (name, value) in own.user_properties.borrow().user_properties() {
            properties.push(Property::UserProperty, Value::Pair(name, value));
        }
        self.push_authentication(&mut properties, authentication);
        // On MQTT 5 only the first connection may be asked to forget; later ones resume what the server kept.
        let clean_start = match self.version {
            Version::V4 => self.options.clean,
            Version::V5 if self.established => session_expiry == 0,
            Version::V5 => self.options.clean,
        };
        let connect = Connect {
            clean_start,
            keep_alive: self.options.keep_alive,
            client_id: &self.client_id.clone(),
            will: self.options.will.as_ref().map(|will| codec::Will {
                topic: &will.topic,
                payload: &will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.borrow(),
            }),
            username: username.as_deref(),
            password: password.as_deref(),
            properties: properties.borrow(),
        };
        let start = self.output.bytes.len();
        connect.encode(self.version, &mut self.output.bytes);
        self.wrote(first::CONNECT, start, 0, None, None);
        if let Some(connection) = &mut self.connection {
            connection.clean_start = clean_start;
            connection.connect_sent = true;
            if connection.authentication == Authentication::Starting {
                connection.authentication = Authentication::Connecting;
            }
        }
    }

    fn random_id(&mut self) -> Rc<str> {
        let mut id = String::from("wasmqtt-");
        let mut bits = self.random();
        for _ in 0..16 {
            id.push(char::from(b"0123456789abcdef"[(bits & 15) as usize]));
            bits >>= 4;
        }
        id.into()
    }

    fn handle_connack(&mut self, now: Instant, connack: ConnAck<'_>) -> Result<(), DecodeError> {
        let protocol = |what| Err(DecodeError { reason: ReasonCode::PROTOCOL_ERROR, what });
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if connection.server.is_some() {
            return protocol("a second CONNACK");
        }
        let properties = connack.properties;
        if connack.reason != ReasonCode::SUCCESS {
            self.refused(now, connack.reason, properties);
            return Ok(());
        }
        if connack.session_present && connection.clean_start {
            // Where the session was not to be forgotten, it may exist although no CONNACK told so: the one that would
            // have may have been lost. Only after Clean Start 1 it is the server's fault [MQTT-3.2.2-2].
            return protocol("a session that was to be forgotten");
        }
        let method = properties.text(Property::AuthenticationMethod);
        if connection.version == Version::V5 && method != self.options.authentication_method.as_deref() {
            return protocol("an authentication method that was not asked for");
        }
        connection.authentication = Authentication::None;
        let number = |property, default| properties.u32(property).unwrap_or(default);
        let v5 = connection.version == Version::V5;
        let flag = |property| v5 && number(property, 1) == 1;
        let server = Server {
            version: connection.version,
            keep_alive: number(Property::ServerKeepAlive, u32::from(self.options.keep_alive)) as u16,
            session_expiry: if v5 {
                number(Property::SessionExpiryInterval, self.options.session_expiry().unwrap_or(0))
            } else if connection.clean_start {
                0
            } else {
                u32::MAX
            },
            receive_maximum: number(Property::ReceiveMaximum, 65_535) as u16,
            maximum_packet_size: number(Property::MaximumPacketSize, MAXIMUM_PACKET_SIZE),
            maximum_qos: QoS::from_bits(number(Property::MaximumQos, 2) as u8).unwrap_or(QoS::ExactlyOnce),
            topic_alias_maximum: number(Property::TopicAliasMaximum, 0) as u16,
            retain: !v5 || flag(Property::RetainAvailable),
            wildcards: !v5 || flag(Property::WildcardSubscriptionAvailable),
            identifiers: flag(Property::SubscriptionIdentifierAvailable),
            shared: !v5 || flag(Property::SharedSubscriptionAvailable),
        };
        if self.options.topic_aliases {
            connection.use_aliases(server.topic_alias_maximum);
        }
        connection.pulse.interval_ms = u64::from(server.keep_alive) * 1_000;
        connection.owed = Owed::start(self.sequence);
        connection.server = Some(server.clone());
        if let Some(id) = properties.text(Property::AssignedClientIdentifier) {
            self.client_id = id.into();
        }
        self.reconnect.connected(now.0);
        self.last_error = None;
        self.asked_again = false;
        self.stats.connections += 1;
        self.stats.connected_since = Some(now);
        self.set_state(State::Connected);
        let info = ConnectInfo {
            session_present: connack.session_present,
            client_id: self.client_id.clone(),
            url: self.url.clone(),
            reconnect: self.established,
            server,
            properties: properties.into(),
        };
        self.events.push(Event::Connected(Box::new(info)));
        self.established = true;
        self.paused = true;
        let doubtful = std::mem::take(&mut self.doubtful);
        if !connack.session_present {
            self.session_lost();
        } else {
            self.resume();
            if doubtful && self.options.resubscribe {
                self.subscriptions.session_doubtful();
            }
        }
        self.send_requests();
        self.send_waiting(now);
        Ok(())
    }

    fn refused(&mut self, now: Instant, reason: ReasonCode, properties: Properties<'_>) {
        if let Some(connection) = &mut self.connection {
            // No session comes of a refusal.
            connection.clean_start = true;
        }
        if reason == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            && self.version == Version::V5
            && self.options.version == VersionChoice::Auto
        {
            self.version = Version::V4;
            self.drop_connection(now);
            self.commands.push_back(Command::Close { force: false });
            return self.open(now);
        }
        let error = Error::new(ErrorCode::ConnectionRefused, "the server refused the connection")
            .with_reason(reason)
            .with_properties(properties);
        self.fail(now, error.at(Phase::Mqtt, &self.url), true);
    }

    /// The server has the session: what it has not acknowledged is sent again, in order [MQTT-4.4.0-1].
    fn resume(&mut self) {
        // Releases first, for they wait for no quota [MQTT-3.3.4-8].
        self.resend = self.identifiers.in_order(|entry| matches!(entry, Entry::Release { .. })).into();
        self.resend.extend(self.identifiers.in_order(|entry| matches!(entry, Entry::Publish { .. })));
    }

    /// The server has no session: QoS 1 is published anew; a QoS 2 message that was sent could arrive twice, so it fails.
    fn session_lost(&mut self) {
        self.resend.clear();
        self.received.clear();
        let mut again = Vec::new();
        for entry in self.identifiers.drain(|entry| matches!(entry, Entry::Publish { .. } | Entry::Release { .. })) {
            match entry {
                Entry::Publish { message, .. } if message.qos == QoS::AtLeastOnce => again.push(message),
                Entry::Publish { message: Outgoing { token, topic, .. }, .. } => {
                    let error = Error::new(ErrorCode::SessionLost, "the server lost the session");
                    self.fail_message(token, error.with_topic(&topic));
                }
                Entry::Release { token, .. } => {
                    self.fail_message(token, Error::new(ErrorCode::SessionLost, "the server lost the session"));
                }
                _ => {}
            }
        }
        self.waiting.push_front(again);
        self.subscriptions.session_lost(self.options.resubscribe, &mut self.events);
    }

    /// A packet that the specification forbids: the connection ends, on MQTT 5 with the reason [MQTT5 4.13].
    fn violated(&mut self, now: Instant, fault: DecodeError) {
        let Some(connection) = &self.connection else { return };
        if connection.version == Version::V5 && connection.connect_sent {
            self.write_disconnect(fault.reason, &PropertiesBuf::default(), None);
        }
        let error = Error::new(ErrorCode::ProtocolError, fault.what).with_reason(fault.reason);
        self.events.push(Event::Error(error.clone()));
        self.fail(now, error.at(Phase::Mqtt, &self.url), true);
    }

    /// Leaves the socket behind. True: the connection was up.
    fn drop_connection(&mut self, now: Instant) -> bool {
        self.generation = self.generation.wrapping_add(1);
        let Some(connection) = self.connection.take() else {
            return false;
        };
        self.blocked = false;
        self.ceiling = None;
        self.resend.clear();
        let Some(_) = connection.server else {
            self.doubtful |= connection.connect_sent && !connection.clean_start;
            return false;
        };
        self.sequence = connection.owed.next();
        self.stats.connected_since = None;
        self.reconnect.disconnected(now.0);
        if let Authentication::Again(token) = connection.authentication {
            self.interrupted = token;
        }
        let cut = self.identifiers.drain(|entry| matches!(entry, Entry::Subscribe(_) | Entry::Unsubscribe(_)));
        let parts = cut.into_iter().filter_map(|entry| match entry {
            Entry::Subscribe(part) | Entry::Unsubscribe(part) => Some(part),
            _ => None,
        });
        self.subscriptions.cut(parts.collect());
        let mut first: Option<&mut Outgoing> = None;
        for (_, entry) in self.identifiers.iter_mut() {
            match entry {
                Entry::Publish { message, live } if *live => {
                    *live = false;
                    if first.as_ref().is_none_or(|first| message.order < first.order) {
                        first = Some(message);
                    }
                }
                Entry::Release { live, .. } => *live = false,
                _ => {}
            }
        }
        if let Some(message) = first.filter(|_| !connection.progressed) {
            message.cuts += 1;
            if message.cuts == POISON {
                message.cuts = 0;
                let what = "sending this message has ended the connection five times in a row";
                let error = Error::new(ErrorCode::ConnectionLost, what).with_topic(&message.topic);
                self.events.push(Event::Error(error));
            }
        }
        true
    }

    /// The connection, or the attempt at one, has failed. `open`: the socket is still there.
    fn fail(&mut self, now: Instant, error: Box<Error>, open: bool) {
        let was_up = self.drop_connection(now);
        if open {
            self.commands.push_back(Command::Close { force: false });
        }
        if self.state == State::Closing {
            return self.close(None);
        }
        if self.asks_verdict {
            let attempt = self.attempts() + 1;
            self.commands.push_back(Command::Judge { error: error.clone(), attempt });
            self.trial = Some(Box::new(Trial { error, was_up }));
        } else {
            self.decide(now, error, was_up, None);
        }
    }

    fn decide(&mut self, now: Instant, mut error: Box<Error>, was_up: bool, verdict: Option<bool>) {
        let builtin = self.judge(&error);
        let retry = verdict.unwrap_or(builtin != Verdict::Final);
        error.retryable = builtin != Verdict::Final;
        self.last_error = Some(error.clone());
        let at_once = retry && builtin == Verdict::Credentials;
        if !self.established && !self.options.reconnect.as_ref().is_some_and(|backoff| backoff.initial) {
            // A list of servers is gone through once before the first connect() fails.
            self.tried += usize::from(!at_once);
            if at_once || retry && self.tried < self.urls.len() {
                if builtin == Verdict::Retry {
                    self.reconnect.advance();
                }
                return self.attempt();
            }
            self.set_state(State::Idle);
            self.last_error = None;
            return self.events.push(Event::ConnectFailed(error));
        }
        let random = (self.random() >> 32) as u32;
        let delay = match &self.options.reconnect {
            Some(_) if at_once => Some(0),
            Some(backoff) if retry => self.reconnect.retry(now.0, backoff, random),
            _ => None,
        };
        let Some(delay_ms) = delay else {
            self.set_state(State::Closed);
            if was_up {
                self.disconnected(&error, false);
            }
            return self.close(Some(error));
        };
        self.set_state(State::Waiting);
        if was_up {
            self.disconnected(&error, true);
        }
        let next = self.reconnect.server(self.urls.len());
        let url = self.urls.get(next).unwrap_or(&self.url).clone();
        self.events.push(Event::Reconnecting { attempt: self.attempts(), delay_ms, url, error });
        self.retry_at = Some(now.after_ms(delay_ms));
    }

    /// A connection that was up is gone.
    fn disconnected(&mut self, error: &Error, will_reconnect: bool) {
        let error = Box::new(error.clone());
        self.events.push(Event::Disconnected { error: error.clone(), will_reconnect });
        let token = std::mem::take(&mut self.interrupted);
        self.fail_message(token, error);
    }

    /// The built-in verdict: Retry, Final, or Credentials and Redirect where they stand for trying again at once.
    fn judge(&mut self, error: &Error) -> Verdict {
        match error.code {
            ErrorCode::ConnectionRefused | ErrorCode::ServerDisconnected => {}
            ErrorCode::NotSupported | ErrorCode::InvalidArgument => return Verdict::Final,
            _ => return Verdict::Retry,
        }
        match error.reason.map_or(Verdict::Retry, verdict) {
            Verdict::Credentials if self.dynamic && !self.asked_again => {
                self.asked_again = true;
                Verdict::Credentials
            }
            Verdict::Redirect => {
                let reference = error.properties.borrow().text(Property::ServerReference).unwrap_or_default();
                if self.reconnect.redirect(reference, &self.urls) { Verdict::Redirect } else { Verdict::Final }
            }
            Verdict::Retry => Verdict::Retry,
            _ => Verdict::Final,
        }
    }

    /// Says goodbye, if the server can hear it, and closes.
    fn finish(&mut self, now: Instant) {
        let Some(ending) = self.ending.take() else { return };
        if let Some(connection) = &self.connection {
            if connection.connect_sent {
                let expiry = ending.session_expiry.filter(|_| self.options.session_expiry().unwrap_or(0) > 0);
                self.write_disconnect(ending.reason, &ending.properties, expiry);
            }
            self.commands.push_back(Command::Close { force: false });
        }
        self.drop_connection(now);
        self.close(None);
    }

    /// For good: every promise settles.
    fn close(&mut self, error: Option<Box<Error>>) {
        self.set_state(State::Closed);
        self.retry_at = None;
        self.ending = None;
        self.trial = None;
        self.resend.clear();
        let mut tokens: Vec<Token> = self.waiting.drain().into_iter().map(|message| message.token).collect();
        for entry in self.identifiers.drain(|entry| !matches!(entry, Entry::Free)) {
            if let Entry::Publish { message: Outgoing { token, .. }, .. } | Entry::Release { token, .. } = entry {
                tokens.push(token);
            }
        }
        tokens.extend(self.subscriptions.close());
        tokens.append(&mut self.drains);
        tokens.push(std::mem::take(&mut self.interrupted));
        for token in tokens {
            self.fail_message(token, closed());
        }
        self.events.push(Event::Closed(error));
    }

    /// What waits for everything to be done.
    fn progress(&mut self, now: Instant) {
        if (self.drains.is_empty() && self.state != State::Closing) || !self.settled() {
            return;
        }
        for token in std::mem::take(&mut self.drains) {
            self.events.push(Event::Done(token));
        }
        if self.state == State::Closing {
            self.finish(now);
        }
    }

    fn settled(&self) -> bool {
        self.waiting.len() == 0 && self.identifiers.used() == 0 && self.subscriptions.settled()
    }

    fn check_open(&self) -> Result<(), Box<Error>> {
        if matches!(self.state, State::Closing | State::Closed) { Err(closed()) } else { Ok(()) }
    }

    fn check_filters<'a>(&self, filters: impl Iterator<Item = &'a Rc<str>>) -> Result<(), Box<Error>> {
        let mut some = false;
        for filter in filters {
            some = true;
            if let Err(error) = check_filter(filter) {
                let mut invalid = Box::<Error>::from(InvalidArgument::new("filter", error.what()));
                invalid.topic = Some(filter.clone());
                return Err(invalid);
            }
        }
        let none = || InvalidArgument::new("filter", "must be at least one topic filter").into();
        if some { Ok(()) } else { Err(none()) }
    }

    // ------------------------------------------------------------------------------------ what goes out

    fn write(&mut self, packet: &Packet<'_>) {
        let start = self.output.bytes.len();
        packet.encode(self.version, &mut self.output.bytes);
        let reason = match packet {
            Packet::Disconnect(disconnect) => Some(disconnect.reason),
            Packet::Auth(auth) => Some(auth.reason),
            _ => None,
        };
        let first = self.output.bytes[start];
        self.wrote(first, start, 0, None, reason);
    }

    /// DISCONNECT, without what makes it larger than the server takes [MQTT-3.2.2-15] [MQTT-3.14.2-3].
    fn write_disconnect(&mut self, reason: ReasonCode, properties: &PropertiesBuf, session_expiry: Option<u32>) {
        let server = self.connection.as_ref().and_then(|connection| connection.server.as_ref());
        let limit = server.map_or(u32::MAX, |server| server.maximum_packet_size) as usize;
        let (mut all, mut expiry) = (properties.clone(), PropertiesBuf::default());
        if let Some(seconds) = session_expiry {
            for block in [&mut all, &mut expiry] {
                block.push(Property::SessionExpiryInterval, Value::Four(seconds));
            }
        }
        let start = self.output.bytes.len();
        for properties in [&all, &expiry, &PropertiesBuf::default()] {
            self.output.bytes.truncate(start);
            Disconnect { reason, properties: properties.borrow() }.encode(self.version, &mut self.output.bytes);
            if self.output.bytes.len() - start <= limit {
                break;
            }
        }
        self.wrote(first::DISCONNECT, start, 0, None, Some(reason));
    }

    #[inline]
    fn wrote(&mut self, first: u8, start: usize, id: u16, topic: Option<&Rc<str>>, reason: Option<ReasonCode>) {
        self.stats.packets_sent += 1;
        if self.tapped {
            let bytes = (self.output.bytes.len() - start) as u32;
            let tap = Tap { outgoing: true, kind: kind(first), bytes, id, topic: topic.cloned(), reason };
            self.events.push(Event::Packet(tap));
        }
        self.output.end_packet();
    }

    #[inline]
    fn sent_message(&mut self, start: usize, id: u16, topic: &Rc<str>) {
        self.stats.messages_sent += 1;
        self.wrote(first::PUBLISH, start, id, Some(topic), None);
    }

    fn send_requests(&mut self) {
        if self.subscriptions.nothing_waits() {
            return;
        }
        let Some(Some(server)) = self.connection.as_ref().map(|connection| connection.server.clone()) else {
            return;
        };
        while !self.subscriptions.nothing_waits() {
            let Some(id) = self.identifiers.vacant() else { return };
            let start = self.output.bytes.len();
            let sent = self.subscriptions.send(id, &server, &mut self.output.bytes, &mut self.events);
            let Some((subscribes, part)) = sent else { return };
            let (first, entry) = if subscribes {
                (first::SUBSCRIBE, Entry::Subscribe(part))
            } else {
                (first::UNSUBSCRIBE, Entry::Unsubscribe(part))
            };
            self.identifiers.put(id, entry);
            self.wrote(first, start, id, None, None);
        }
    }

    /// Whether one more QoS 1 or 2 message may be under way [MQTT-3.3.4-7].
    #[inline]
    fn has_quota(&self) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        let Some(server) = &connection.server else { return false };
        connection.live < u32::from(server.receive_maximum) && self.resend.is_empty() && !self.identifiers.is_full()
    }

    /// Sends what the quota, the limits and the transport allow: first what an earlier connection left unacknowledged,
    /// then what waits.
    fn send_waiting(&mut self, now: Instant) {
        if self.connection.as_ref().is_none_or(|connection| connection.server.is_none()) {
            return;
        }
        while !self.blocked {
            let Some(&id) = self.resend.front() else { break };
            if !self.send_again(id) {
                break;
            }
            self.resend.pop_front();
            self.fill_transport();
        }
        while !self.blocked {
            let quota = self.has_quota();
            let Some(message) = self.waiting.pop(quota) else { break };
            let server = self.connection.as_ref().and_then(|connection| connection.server.as_ref());
            match server.map_or(Ok(()), |server| check_message(&message, server)) {
                Ok(()) => self.send_message(now, message),
                Err(error) => self.fail_message(message.token, error),
            }
            self.fill_transport();
        }
    }

    /// No more than the transport may hold is written at once; it tells when to go on.
    fn fill_transport(&mut self) {
        self.blocked = self.pending_output() > TRANSPORT_FULL;
    }

    /// One message or release that an earlier connection left. False: the quota is used up.
    fn send_again(&mut self, id: u16) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let Some(server) = &connection.server else { return false };
        let full = connection.live >= u32::from(server.receive_maximum);
        let start = self.output.bytes.len();
        match self.identifiers.get(id) {
            Entry::Release { live, .. } => {
                *live = true;
                connection.live += 1;
                encode_ack(first::PUBREL, id, ReasonCode::SUCCESS, connection.version, &mut self.output.bytes);
                self.wrote(first::PUBREL, start, id, None, None);
            }
            Entry::Publish { .. } if full => return false,
            Entry::Publish { message, live } => {
                if let Err(error) = check_message(message, server) {
                    // The server has come back with other limits.
                    let token = message.token;
                    self.identifiers.free(id);
                    self.fail_message(token, error);
                    return true;
                }
                let publish = message.packet(id, true);
                publish.encode_header(connection.version, None, message.payload.len(), &mut self.output.bytes);
                self.output.bytes.extend_from_slice(&message.payload);
                *live = true;
                connection.live += 1;
                let topic = message.topic.clone();
                self.sent_message(start, id, &topic);
            }
            _ => {}
        }
        true
    }

    /// Sends a message for the first time. There is a connection, and quota.
    fn send_message(&mut self, now: Instant, mut message: Outgoing) {
        if let Some((since, seconds)) = message.expiry.take() {
            let waited = now.since_ms(since) / 1_000;
            if waited > 0 && waited >= u64::from(seconds) {
                let error = Error::new(ErrorCode::Expired, "the message expired before it could be sent");
                return self.fail_message(message.token, error.with_topic(&message.topic));
            }
            let left = seconds - waited as u32;
            message.properties.push(Property::MessageExpiryInterval, Value::Four(left));
        }
        let Some(connection) = &mut self.connection else { return };
        let limit = connection.server.as_ref().map_or(0, |server| server.maximum_packet_size);
        let start = self.output.bytes.len();
        if message.alias.is_some() {
            connection.leave_aliases();
        }
        if message.qos == QoS::AtMostOnce {
            let publish = message.packet(0, false);
            let out = &mut self.output.bytes;
            match encode_publish(connection, publish, &message.topic, &message.payload, message.alias, limit, out) {
                Ok(()) => {
                    self.sent_message(start, 0, &message.topic);
                    self.complete(message.token, None, ReasonCode::SUCCESS, Properties::EMPTY);
                }
                Err(error) => self.fail_message(message.token, error.with_topic(&message.topic)),
            }
            return;
        }
        let alias = message.alias.take();
        let topic = message.topic.clone();
        let Some(id) = self.identifiers.vacant() else {
            return self.waiting.push_front(vec![message]);
        };
        let publish = message.packet(id, false);
        let out = &mut self.output.bytes;
        match encode_publish(connection, publish, &topic, &message.payload, alias, limit, out) {
            Ok(()) => {
                connection.live += 1;
                self.identifiers.put(id, Entry::Publish { message, live: true });
                self.sent_message(start, id, &topic);
            }
            Err(error) => self.fail_message(message.token, error.with_topic(&topic)),
        }
    }

    fn complete(&mut self, token: Token, topic: Option<&Rc<str>>, reason: ReasonCode, properties: Properties<'_>) {
        if token == 0 {
            return;
        }
        if !reason.is_error() || reason == ReasonCode::PACKET_IDENTIFIER_NOT_FOUND {
            let properties = (!properties.is_empty()).then(|| Box::new(properties.into()));
            self.events.push(Event::Published { token, reason, properties });
        } else {
            let mut error = Error::new(ErrorCode::PublishRefused, "the server refused the message");
            // Quota, and what the server does not say more of: it may be different next time.
            error.retryable = matches!(reason.0, 0x80 | 0x83 | 0x97);
            error.topic = topic.cloned();
            self.fail_message(token, error.with_reason(reason).with_properties(properties));
        }
    }

    fn fail_message(&mut self, token: Token, error: Box<Error>) {
        if token != 0 {
            self.events.push(Event::Failed { token, error });
        }
    }

    // ------------------------------------------------------------------------------------ what comes in

    /// `at`: where in the chunk the body begins; None: the body is [`Session::assembled`].
    #[inline]
    fn handle_packet(
        &mut self,
        now: Instant,
        first: u8,
        body: &[u8],
        len: usize,
        at: Option<usize>,
    ) -> Result<(), DecodeError> {
        self.stats.packets_received += 1;
        if first >> 4 == first::PUBLISH >> 4 {
            return self.handle_publish(first, body, len, at);
        }
        let protocol = |what| Err(DecodeError { reason: ReasonCode::PROTOCOL_ERROR, what });
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if let &[high, low] = body
            && (high, low) != (0, 0)
            && connection.server.is_some()
            && !self.tapped
        {
            // Beside messages, most of what comes is an acknowledgement in its short form: nothing in it can be wrong.
            let ack =
                Ack { id: u16::from_be_bytes([high, low]), reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
            match first {
                first::PUBACK => return self.handle_puback(ack),
                first::PUBREC => return self.handle_pubrec(ack),
                first::PUBCOMP => return self.handle_pubcomp(ack),
                first::PUBREL => {
                    self.handle_pubrel(ack);
                    return Ok(());
                }
                _ => {}
            }
        }
        let version = connection.version;
        if !connection.connect_sent {
            return protocol("a packet before CONNECT");
        }
        if connection.server.is_none() && first == first::CONNACK && version == Version::V5 {
            // A server that knows only 3.1.1 refuses in its own form.
            if let &[0, code] = body
                && let Some(reason) = ReasonCode::from_return_code(code).filter(|_| code > 0)
            {
                self.tap_incoming(first, len, 0, None, Some(reason));
                self.refused(now, reason, Properties::EMPTY);
                return Ok(());
            }
        }
        let packet = Packet::decode_from_server(version, first, body)?;
        if self.tapped {
            let (id, reason) = match &packet {
                Packet::ConnAck(packet) => (0, Some(packet.reason)),
                Packet::PubAck(a) | Packet::PubRec(a) | Packet::PubRel(a) | Packet::PubComp(a) => {
                    (a.id, Some(a.reason))
                }
                Packet::SubAck(packet) | Packet::UnsubAck(packet) => (packet.id, None),
                Packet::Disconnect(packet) => (0, Some(packet.reason)),
                Packet::Auth(packet) => (0, Some(packet.reason)),
                _ => (0, None),
            };
            self.tap_incoming(first, len, id, None, reason);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if connection.server.is_none() && !matches!(packet, Packet::ConnAck(_) | Packet::Auth(_)) {
            return protocol("a packet before CONNACK");
        }
        if !self.options.properties.request_problem_information
            && let Packet::PubAck(Ack { properties, .. })
            | Packet::PubRec(Ack { properties, .. })
            | Packet::PubRel(Ack { properties, .. })
            | Packet::PubComp(Ack { properties, .. })
            | Packet::SubAck(SubAck { properties, .. })
            | Packet::UnsubAck(SubAck { properties, .. })
            | Packet::Auth(Auth { properties, .. }) = &packet
            && (properties.get(Property::ReasonString).is_some() || properties.user_properties().next().is_some())
        {
            // [MQTT-3.1.2-29]
            return protocol("problem information that was not asked for");
        }
        match packet {
            Packet::ConnAck(connack) => self.handle_connack(now, connack)?,
            Packet::PubAck(ack) => self.handle_puback(ack)?,
            Packet::PubRec(ack) => self.handle_pubrec(ack)?,
            Packet::PubRel(ack) => self.handle_pubrel(ack),
            Packet::PubComp(ack) => self.handle_pubcomp(ack)?,
            Packet::SubAck(ack) => self.handle_suback(ack, true)?,
            Packet::UnsubAck(ack) => self.handle_suback(ack, false)?,
            Packet::PingResp => {
                if let Some(round_trip) = connection.pulse.pong(now) {
                    self.stats.round_trip = Some(round_trip);
                }
            }
            Packet::Disconnect(disconnect) => {
                let error = Error::new(ErrorCode::ServerDisconnected, "the server ended the connection")
                    .with_reason(disconnect.reason)
                    .with_properties(disconnect.properties);
                self.fail(now, error, true);
            }
            Packet::Auth(auth) => self.handle_auth_packet(auth)?,
            Packet::Publish(_)
            | Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => return protocol("a packet that only a client sends"),
        }
        Ok(())
    }

    fn tap_incoming(&mut self, first: u8, len: usize, id: u16, topic: Option<Rc<str>>, reason: Option<ReasonCode>) {
        if self.tapped {
            let bytes = 1 + codec::varint_size(len) + len;
            let tap = Tap { outgoing: false, kind: kind(first), bytes: bytes as u32, id, topic, reason };
            self.events.push(Event::Packet(tap));
        }
    }

    fn handle_publish(&mut self, first: u8, body: &[u8], len: usize, at: Option<usize>) -> Result<(), DecodeError> {
        let fault = |reason, what| Err(DecodeError { reason, what });
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let (publish, hints) = Publish::decode_header(connection.version, first, body, len)?;
        if connection.server.is_none() {
            return fault(ReasonCode::PROTOCOL_ERROR, "a packet before CONNACK");
        }
        self.identifiers_seen.clear();
        if hints.identifiers > 0 {
            self.identifiers_seen.extend(publish.properties.identifiers());
        }
        let seen = &self.identifiers_seen;
        let epoch = self.subscriptions.epoch();
        let found = match hints.topic_alias {
            None => self.topics.find(publish.topic, seen, epoch)?,
            Some(alias) => {
                let topic = if publish.topic.is_empty() {
                    None
                } else {
                    Some(check_topic(publish.topic).map_err(topics::malformed)?)
                };
                let topic = connection.alias(alias, topic, self.options.properties.topic_alias_maximum)?;
                self.topics.find(topic.as_bytes(), seen, epoch)?
            }
        };
        let (slot, fresh) = match found {
            Found::Known(slot) => (slot, false),
            Found::Fresh(slot) => (slot, true),
        };
        let receive_maximum = match connection.version {
            Version::V4 => 65_535,
            Version::V5 => u32::from(self.options.properties.receive_maximum),
        };
        if fresh {
            let topic = self.topics.topic(slot).clone();
            let identifiers = self.topics.identifiers(slot).clone();
            let routes = self.subscriptions.routes(&topic, &identifiers);
            self.events.push(Event::Slot { slot, topic, routes, identifiers });
        }
        let mut sequence = 0;
        let repeated = publish.qos == QoS::ExactlyOnce && self.received.contains(publish.id);
        // What is repeated counts while its acknowledgement is owed: it may have to wait for one that is held.
        let under_way = if repeated { connection.owed.len() } else { connection.window };
        if publish.qos != QoS::AtMostOnce && under_way >= receive_maximum {
            return fault(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, "more messages than Receive Maximum");
        }
        if repeated {
            // Sent again before its release: acknowledged, not shown [MQTT-4.3.3-10].
            connection.owed.push(publish.id, publish.qos, Stage::Ready(ReasonCode::SUCCESS));
        } else if publish.qos != QoS::AtMostOnce {
            connection.window += 1;
            if publish.qos == QoS::ExactlyOnce {
                self.received.insert(publish.id);
            }
            sequence = connection.owed.push(publish.id, publish.qos, Stage::Delivering);
        }
        if self.tapped {
            let topic = self.topics.topic(slot).clone();
            self.tap_incoming(first, len, publish.id, Some(topic), None);
        }
        if repeated {
            self.acknowledge_ready();
            return Ok(());
        }
        self.stats.messages_received += 1;
        let base = at.unwrap_or(0);
        let properties = if publish.properties.is_empty() || hints.only_identifiers {
            Span::default()
        } else {
            Span { start: (base + hints.properties_start) as u32, len: publish.properties.as_bytes().len() as u32 }
        };
        self.events.push(Event::Message(Message {
            slot,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            assembled: at.is_none(),
            payload: Span { start: (base + hints.payload_start) as u32, len: (len - hints.payload_start) as u32 },
            properties,
            sequence,
        }));
        Ok(())
    }

    /// Sends the acknowledgements that are next in order.
    #[inline]
    fn acknowledge_ready(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while let Some((id, qos, reason)) = connection.owed.pop_ready() {
            let first = if qos == QoS::AtLeastOnce { first::PUBACK } else { first::PUBREC };
            let start = self.output.bytes.len();
            encode_ack(first, id, reason, connection.version, &mut self.output.bytes);
            if qos == QoS::AtLeastOnce || reason.is_error() {
                connection.window = connection.window.saturating_sub(1);
                if qos == QoS::ExactlyOnce {
                    self.received.remove(id);
                }
            }
            self.stats.packets_sent += 1;
            if self.tapped {
                let bytes = (self.output.bytes.len() - start) as u32;
                let tap = Tap { outgoing: true, kind: kind(first), bytes, id, topic: None, reason: Some(reason) };
                self.events.push(Event::Packet(tap));
            }
            self.output.end_packet();
        }
    }

    fn handle_puback(&mut self, ack: Ack<'_>) -> Result<(), DecodeError> {
        match self.identifiers.get(ack.id) {
            Entry::Publish { message, live: true } if message.qos == QoS::AtLeastOnce => {
                let (token, topic) = (message.token, message.topic.clone());
                self.identifiers.free(ack.id);
                self.acknowledged();
                self.complete(token, Some(&topic), ack.reason, ack.properties);
                Ok(())
            }
            Entry::Free => Ok(()),
            _ => misplaced(),
        }
    }

    fn handle_pubrec(&mut self, ack: Ack<'_>) -> Result<(), DecodeError> {
        let order = self.order;
        let mut reply = ReasonCode::SUCCESS;
        match self.identifiers.get(ack.id) {
            Entry::Publish { message, live: true } if message.qos == QoS::ExactlyOnce => {
                let token = message.token;
                if ack.reason.is_error() {
                    let topic = message.topic.clone();
                    self.identifiers.free(ack.id);
                    self.acknowledged();
                    self.complete(token, Some(&topic), ack.reason, ack.properties);
                    return Ok(());
                }
                // From here on the PUBREL is what is sent again, in the order of the PUBRECs [MQTT-4.6.0-4].
                self.order += 1;
                *self.identifiers.get(ack.id) = Entry::Release { token, order, live: true };
                if let Some(connection) = &mut self.connection {
                    connection.progressed = true;
                }
            }
            Entry::Release { live: true, .. } => {}
            Entry::Free => reply = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
            _ => return misplaced(),
        }
        if !ack.reason.is_error() {
            self.write_ack(first::PUBREL, ack.id, reply);
        }
        Ok(())
    }

    fn handle_pubrel(&mut self, ack: Ack<'_>) {
        let known = self.received.remove(ack.id);
        if known && let Some(connection) = &mut self.connection {
            connection.window = connection.window.saturating_sub(1);
        }
        let reason = if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
        self.write_ack(first::PUBCOMP, ack.id, reason);
    }

    fn handle_pubcomp(&mut self, ack: Ack<'_>) -> Result<(), DecodeError> {
        match self.identifiers.get(ack.id) {
            Entry::Release { token, live: true, .. } => {
                let token = *token;
                self.identifiers.free(ack.id);
                self.acknowledged();
                self.complete(token, None, ack.reason, ack.properties);
                Ok(())
            }
            Entry::Free => Ok(()),
            _ => misplaced(),
        }
    }

    fn acknowledged(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.live -= 1;
            connection.progressed = true;
        }
    }

    fn handle_suback(&mut self, ack: SubAck<'_>, subscribe: bool) -> Result<(), DecodeError> {
        match (self.identifiers.get(ack.id), subscribe) {
            (Entry::Subscribe(part), true) | (Entry::Unsubscribe(part), false) => {
                if part.len() != ack.codes.len() && !(ack.codes.is_empty() && !subscribe && self.version == Version::V4)
                {
                    let what = "an acknowledgement with another number of reason codes than filters";
                    return Err(DecodeError { reason: ReasonCode::PROTOCOL_ERROR, what });
                }
                if let Entry::Subscribe(part) | Entry::Unsubscribe(part) = self.identifiers.free(ack.id) {
                    self.subscriptions.answered(&part, ack.codes, self.version, &mut self.events);
                }
                Ok(())
            }
            (Entry::Free, _) => Ok(()),
            _ => misplaced(),
        }
    }

    fn handle_auth_packet(&mut self, auth: Auth<'_>) -> Result<(), DecodeError> {
        let protocol = |what| Err(DecodeError { reason: ReasonCode::PROTOCOL_ERROR, what });
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let method = auth.properties.text(Property::AuthenticationMethod);
        if method.is_none() || method != self.options.authentication_method.as_deref() {
            return protocol("an authentication method that was not asked for");
        }
        match (connection.authentication, auth.reason) {
            (Authentication::Connecting, ReasonCode::CONTINUE_AUTHENTICATION)
            | (Authentication::Again(_), ReasonCode::CONTINUE_AUTHENTICATION) => {
                let again = matches!(connection.authentication, Authentication::Again(_));
                let data = auth.properties.binary(Property::AuthenticationData);
                self.ask_authenticator(false, again, data, auth.properties);
                Ok(())
            }
            (Authentication::Again(token), ReasonCode::SUCCESS) => {
                connection.authentication = Authentication::None;
                if token != 0 {
                    self.events.push(Event::Done(token));
                }
                Ok(())
            }
            _ => protocol("an AUTH that was not asked for"),
        }
    }

    fn write_ack(&mut self, first: u8, id: u16, reason: ReasonCode) {
        let start = self.output.bytes.len();
        encode_ack(first, id, reason, self.version, &mut self.output.bytes);
        self.wrote(first, start, id, None, Some(reason));
    }
}

/// The largest packet that MQTT can express [MQTT5 2.1.4].
const MAXIMUM_PACKET_SIZE: u32 = 268_435_460;

#[cold]
fn misplaced() -> Result<(), DecodeError> {
    Err(DecodeError { reason: ReasonCode::PROTOCOL_ERROR, what: "an acknowledgement that does not fit what was sent" })
}

fn closed() -> Box<Error> {
    Error::new(ErrorCode::Closed, "the client is closed")
}

fn too_large(size: usize, limit: u32) -> Box<Error> {
    let mut error = Error::new(ErrorCode::PacketTooLarge, "the packet is larger than the server accepts");
    error.size = Some((size as u32, limit));
    error
}

/// Whether the server takes such a message at all.
fn check_message(message: &Outgoing, server: &Server) -> Result<(), Box<Error>> {
    let refuse =
        |what, reason| Err(Error::new(ErrorCode::NotSupported, what).with_reason(reason).with_topic(&message.topic));
    if message.qos > server.maximum_qos {
        return refuse("the server does not support this QoS", ReasonCode::QOS_NOT_SUPPORTED);
    }
    if message.retain && !server.retain {
        return refuse("the server does not support retained messages", ReasonCode::RETAIN_NOT_SUPPORTED);
    }
    if message.alias.is_some_and(|alias| alias > server.topic_alias_maximum) {
        return refuse("the topic alias is above the server's maximum", ReasonCode::TOPIC_ALIAS_INVALID);
    }
    let extra = if message.expiry.is_some() { 5 } else { 0 };
    let size = message.packet(1, false).size(server.version, message.alias, message.payload.len()) + extra;
    if size > server.maximum_packet_size as usize {
        return Err(too_large(size, server.maximum_packet_size).with_topic(&message.topic));
    }
    Ok(())
}

/// Writes a PUBLISH, with a topic alias where that helps and fits.
#[inline]
fn encode_publish(
    connection: &mut Connection,
    mut publish: Publish<'_>,
    topic: &str,
    payload: &[u8],
    manual: Option<u16>,
    limit: u32,
    out: &mut Vec<u8>,
) -> Result<(), Box<Error>> {
    let version = connection.version;
    let size = publish.size(version, manual, payload.len());
    if size > limit as usize {
        return Err(too_large(size, limit));
    }
    let naming = if manual.is_some() || size + 4 > limit as usize { Naming::Topic } else { connection.naming(topic) };
    let alias = match naming {
        Naming::Topic => manual,
        Naming::Both(alias) => Some(alias),
        Naming::Alias(alias) => {
            publish.topic = &[];
            Some(alias)
        }
    };
    publish.encode_header(version, alias, payload.len(), out);
    out.extend_from_slice(payload);
    Ok(())
}
