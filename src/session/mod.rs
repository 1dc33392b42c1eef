//! The protocol state machine of a client: a synchronous value in virtual time, with no socket,
//! clock or future in it.
//!
//! [`Session`] knows no rule of its own. It hands what happens to the room that owns the rule:
//!
//! - `attempts`, `reconnect`: servers, credentials and versions; the verdict on an error; the delay.
//! - `connection`: the stages of one connection, keep-alive, topic aliases.
//! - `outbox`: the application's messages until they are acknowledged.
//! - `inbox`: the server's messages until they are acknowledged.
//! - `subscriptions`: what the application wants, and what the server was asked for.
//! - `outlet`: what leaves: bytes, events, commands.
//! - `journal`: what the store keeps, and what it says.
//!
//! `lifecycle` says how a connection begins and ends, `packets` what each incoming packet does.

mod attempts;
mod connection;
mod error;
mod event;
mod inbox;
mod input;
mod journal;
mod lifecycle;
mod outbox;
mod outlet;
mod output;
mod packets;
mod reconnect;
mod subscriptions;
mod time;
mod topic_table;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::codec::{
    DecodeError, PacketSet, Properties, Publish, QoS, ReasonCode, Step, SubscribeOptions, Version,
    check_no_control_character, check_topic,
};
use crate::options::{Draft, InvalidArgument, Options, Will};
use attempts::Attempts;
pub use attempts::{Credentials, Resolved, Server};
use connection::keep_alive::Beat;
use connection::{Ending, Reauthentication, Stage, Trial};
pub use error::{Error, ErrorCode, Phase};
pub use event::{
    AttemptId, Challenge, Command, ConnectInfo, Event, Events, FilterCode, Grant, Handle, Message,
    Sequence, ServerInfo, Span, State, Stats, Tap, Token,
};
use inbox::Inbox;
pub use input::{Consumed, Input, Then};
pub use journal::{Change, Key};
pub use outbox::Accepted;
use outbox::Outbox;
use outbox::blame::{Caution, Loss};
use outlet::Outlet;
pub use output::FRAME;
use output::Pressure;
use reconnect::Random;
use subscriptions::{Subscriptions, check_some, parse_filter};
pub use time::Instant;

/// One client's session with its server, over any number of connections.
///
/// There are four kinds of methods. `handle_*` say what happened outside and never fail: what
/// comes of it is an event or a command. Verbs say what the application wants and fail only on its
/// own mistakes. `poll_*` tell the caller what it must do now, and are asked after each of the
/// others. [`crate::driver::Driver`] does all of that over a [`crate::driver::Host`].
#[derive(Clone, Hash, Debug)]
pub struct Session {
    options: Options,
    /// Whether the application is asked for its own verdict on errors.
    asks_verdict: bool,
    random: Random,
    stage: Stage,
    attempts: Attempts,
    outbox: Outbox,
    inbox: Inbox,
    subscriptions: Subscriptions,
    /// Who waits until nothing is queued or in flight.
    drains: Vec<Token>,
    out: Outlet,
}

impl Session {
    /// A session that is idle. `seed`: any number, for the jitter of delays and the client
    /// identifier of MQTT 3.1.1.
    pub fn new(options: Options, seed: u64) -> Result<Self, InvalidArgument> {
        options.check()?;
        let mut out = Outlet::default();
        if options.store {
            out.journal.await_store();
        }
        Ok(Self {
            asks_verdict: false,
            random: Random::new(seed),
            stage: Stage::Idle,
            attempts: Attempts::new(&options),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            subscriptions: Subscriptions::default(),
            drains: Vec::new(),
            out,
            options,
        })
    }

    // -------------------------------------------------------------------- what happened outside

    /// The application has named URLs and credentials for an attempt, or failed to.
    pub fn handle_resolved(&mut self, now: Instant, id: AttemptId, resolved: Result<Resolved, ()>) {
        if id != self.attempts.id() || !matches!(self.stage, Stage::Resolving) {
            return;
        }
        let Ok(resolved) = resolved else {
            let what = "the URL or the credentials could not be had";
            let error = Error::new(ErrorCode::ConnectionFailed, what);
            let error = error.at(Phase::Transport, &self.attempts.url());
            return self.fail(now, error, false);
        };
        match self.attempts.resolve(resolved) {
            Ok(()) => self.open(now),
            Err(error) => self.fail(now, error, false),
        }
    }

    /// The socket of an attempt is open.
    pub fn handle_open(&mut self, now: Instant, id: AttemptId) {
        if id != self.attempts.id() {
            return;
        }
        let Stage::Opening(opening) = &mut self.stage else { return };
        let authenticates = self.options.authentication_method.is_some();
        if authenticates && self.attempts.version() == Version::V5 {
            opening.authenticating = true;
            self.ask_authenticator(true, false, None, Properties::EMPTY);
        } else {
            self.send_connect(now, None);
        }
    }

    /// Bytes came.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Consumed {
        let mut at = 0;
        match &mut self.stage {
            Stage::Up(up) | Stage::Closing(up, _) => up.keep_alive.received(now),
            Stage::Handshaking(_) => {}
            Stage::Opening(_) => self.violated(now, DecodeError::protocol("input before CONNECT")),
            _ => return Consumed { used: input.bytes.len() + input.beyond, then: Then::More },
        }
        let then = self.process_input(now, input, &mut at);
        self.send_requests();
        self.send_waiting(now);
        self.out.stats.bytes_received += at as u64;
        self.progress(now);
        Consumed { used: at, then }
    }

    /// Takes packets from the input, and moves `at` past what was used.
    #[inline]
    fn process_input(&mut self, now: Instant, input: Input<'_>, at: &mut usize) -> Then {
        loop {
            let Some(decoder) = self.stage.decoder() else {
                *at = input.bytes.len() + input.beyond;
                return Then::More;
            };
            let step = decoder.step(input.bytes, at, input.beyond);
            let handshaking = matches!(self.stage, Stage::Handshaking(_));
            let result = match step {
                Ok(Step::More) => return Then::More,
                Ok(Step::Wait { missing }) => return Then::Missing(missing),
                Ok(Step::Packet { first, start, len }) => {
                    let body = input.bytes.get(start..).unwrap_or_default();
                    let body = body.get(..len).unwrap_or(body);
                    self.process_packet(now, first, body, len, Some(input.offset + start))
                }
                Ok(Step::Split { first, body }) => {
                    let result = self.process_packet(now, first, &body, body.len(), None);
                    let old = core::mem::replace(&mut self.inbox.assembled, body);
                    if let Some(decoder) = self.stage.decoder() {
                        decoder.recycle(old);
                    }
                    result
                }
                Ok(Step::Skipped { first, body }) => self.process_skipped(first, &body),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.violated(now, error);
            }
            if handshaking && self.stage.up().is_some() {
                return Then::Paused;
            }
        }
    }

    /// Something came that is no binary data [MQTT-6.0.0-1].
    pub fn handle_text(&mut self, now: Instant) {
        self.violated(now, DecodeError::protocol("a WebSocket frame that is not binary"));
    }

    /// The caller has no memory for a packet that it was to put together.
    pub fn handle_too_large(&mut self, now: Instant) {
        self.violated(now, DecodeError::TOO_LARGE);
    }

    /// The transport has so many bytes in its buffer.
    pub fn handle_buffered(&mut self, now: Instant, buffered: usize) {
        match self.out.output.handle_buffered(buffered) {
            Pressure::Same => {}
            Pressure::Relieved => {
                self.send_waiting(now);
                self.progress(now);
            }
            Pressure::Unread if self.stage.has_connection() => {
                let what = "the server does not read what it is sent";
                self.fail(now, Error::new(ErrorCode::ConnectionLost, what), true);
            }
            Pressure::Unread => {}
        }
    }

    /// The time has come that [`Session::poll_timeout`] told, or another.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Waiting { retry_at } if retry_at <= now) {
            self.attempt();
        }
        if matches!(&self.stage, Stage::Closing(_, ending) if ending.deadline <= now) {
            self.finish(now);
        }
        self.outbox.expire(now, &mut self.out);
        self.out.journal.handle_timeout(now);
        if let Some(up) = self.stage.up_mut()
            && matches!(up.sending.caution, Caution::Pinged { until } if until <= now)
        {
            up.sending.caution = Caution::OneByOne;
            self.send_requests();
            self.send_waiting(now);
        }
        match &mut self.stage {
            Stage::Opening(opening) if opening.deadline <= now => {
                self.unanswered(now, Phase::Transport);
            }
            Stage::Handshaking(handshaking) if handshaking.deadline <= now => {
                self.unanswered(now, Phase::Mqtt);
            }
            Stage::Handshaking(handshaking)
                if handshaking.guess_at.is_some_and(|guess_at| guess_at <= now) =>
            {
                self.guess_version(now, true);
            }
            Stage::Up(up) | Stage::Closing(up, _) => match up.keep_alive.beat(now) {
                Beat::Rest => {}
                Beat::Ping => {
                    // Nothing was sent for a while: a time to give back what a burst took.
                    self.out.rest();
                    self.inbox.assembled = Vec::new();
                    self.ping();
                }
                Beat::Dead => {
                    let what = "the server did not answer a PINGREQ";
                    self.fail(now, Error::new(ErrorCode::KeepaliveTimeout, what), true);
                }
            },
            _ => {}
        }
        self.progress(now);
    }

    /// The application's Authenticator has answered a challenge; `Err`: it failed.
    pub fn handle_auth(&mut self, now: Instant, id: AttemptId, data: Result<Option<Vec<u8>>, ()>) {
        if id == self.attempts.id() {
            self.authenticate(now, data);
        }
    }

    /// The socket of an attempt is closed, or could not be opened. `code` is the close code of the
    /// WebSocket. `what` says more where more is known.
    pub fn handle_close(
        &mut self,
        now: Instant,
        id: AttemptId,
        code: Option<u16>,
        what: Option<&'static str>,
    ) {
        if id != self.attempts.id() || !self.stage.has_connection() {
            return;
        }
        let failed = |phase, text| {
            let error = Error::new(ErrorCode::ConnectionFailed, what.unwrap_or(text));
            error.at(phase, &self.attempts.url())
        };
        let mut error = match &self.stage {
            Stage::Opening(_) => failed(Phase::Transport, "the server could not be reached"),
            Stage::Handshaking(_) => {
                let Credentials { username, password } = self.attempts.credentials();
                let has_credentials = username.is_some() || password.is_some();
                let text = if has_credentials && self.attempts.version() == Version::V311 {
                    "the server closed the connection without an answer to CONNECT: username or \
                     password may be wrong"
                } else {
                    "the server closed the connection without an answer to CONNECT"
                };
                failed(Phase::Mqtt, text)
            }
            _ => {
                let what = what.unwrap_or("the connection was closed");
                Error::new(ErrorCode::ConnectionLost, what)
            }
        };
        error.close_code = code;
        self.fail(now, error, false);
        self.out.output.discard();
        self.progress(now);
    }

    /// The application's answer to [`Command::Judge`]: whether to try again; `None`: as it would be
    /// without.
    pub fn handle_verdict(&mut self, now: Instant, retry: Option<bool>) {
        if matches!(self.stage, Stage::Judging(_))
            && let Stage::Judging(trial) = core::mem::replace(&mut self.stage, Stage::Idle)
        {
            self.decide(now, trial, retry);
        }
    }

    // --------------------------------------------------------------- what the application wants

    /// Connects, or tries again at once where it waits to.
    pub fn connect(&mut self) {
        match self.stage {
            Stage::Idle => {
                self.attempts.begin();
                if self.out.journal.is_unread() { self.load() } else { self.attempt() }
            }
            Stage::Waiting { .. } => self.attempt(),
            _ => {}
        }
    }

    /// Something outside the session says that the connection may be gone, or that one can be had
    /// again: the network has changed, or the machine has slept. The server is asked at once
    /// whether it lives, and gets little time to answer; a client that waits for its next attempt
    /// makes it now.
    pub fn check(&mut self, now: Instant) {
        if self.stage.up_mut().is_some_and(|up| up.keep_alive.doubt(now)) {
            self.ping();
        } else if matches!(self.stage, Stage::Waiting { .. }) {
            self.attempt();
        }
    }

    /// Gives up the first connection while it is being made, or waits for its next attempt.
    /// Nothing that waits is lost.
    pub fn abandon(&mut self, now: Instant) {
        let state = self.stage.state();
        if self.attempts.is_established() || !matches!(state, State::Connecting | State::Waiting) {
            return;
        }
        self.attempts.abandon();
        if self.stage.is_connect_sent() {
            // The server may have accepted: it shall not publish the will.
            self.write_disconnect(ReasonCode::SUCCESS, &Draft::default().properties, None);
        }
        self.leave_connection(now, Stage::Idle, Loss::Innocent);
        self.out.commands.push_back(Command::Close { force: false });
        self.out.events.enter(State::Idle);
    }

    /// Drops the connection, if any, and connects at once.
    pub fn reconnect(&mut self, now: Instant) {
        match self.stage.state() {
            State::Idle | State::Waiting => self.connect(),
            State::Connecting | State::Connected
                if !matches!(self.stage, Stage::Judging(_) | Stage::Loading) =>
            {
                let was_up = self.leave_connection(now, Stage::Resolving, Loss::Innocent);
                self.out.commands.push_back(Command::Close { force: false });
                if let Some(was_up) = was_up {
                    self.out.events.enter(State::Connecting);
                    let what = "the application asked for a new connection";
                    let error = Error::new(ErrorCode::ConnectionLost, what);
                    self.disconnected(&error, was_up, true);
                }
                self.attempt();
            }
            _ => {}
        }
    }

    /// Ends the session for good: at once, or when nothing is under way any more, after
    /// `timeout_ms` at the latest. `force`: without DISCONNECT, so that the server publishes the
    /// will.
    pub fn end(
        &mut self,
        now: Instant,
        timeout_ms: u64,
        force: bool,
        reason: ReasonCode,
        draft: Draft,
    ) -> Result<(), InvalidArgument> {
        let asked = self.options.properties.session_expiry;
        if asked == Some(0) && draft.session_expiry.is_some_and(|expiry| expiry > 0) {
            let message = "must be 0 where the connection was made with 0";
            return Err(InvalidArgument::new("properties.sessionExpiryInterval", message));
        }
        if !reason.stands_in(PacketSet::CLIENT_DISCONNECT) {
            let message = "must be a reason code that a client may send in DISCONNECT";
            return Err(InvalidArgument::new("reasonCode", message));
        }
        // A session that nobody asked for by name is of no use to anybody else.
        let session_expiry = draft.session_expiry.or(asked.is_none().then_some(0));
        let deadline = now.after_ms(timeout_ms);
        let ending = Ending { deadline, reason, properties: draft.properties, session_expiry };
        if matches!(self.stage, Stage::Closed)
            || (matches!(self.stage, Stage::Closing(..)) && !force)
        {
            return Ok(());
        }
        self.out.events.drop_disconnects();
        self.out.events.enter(State::Closing);
        if force {
            self.end_by_force(now);
        } else {
            self.end_in_order(now, ending, timeout_ms > 0);
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
        let checked = check_topic(text.as_bytes());
        match checked.and_then(|topic| check_no_control_character(topic).map(|()| topic)) {
            Ok(topic) => Ok(self.outbox.number_topic(topic)),
            Err(error) => Err(InvalidArgument::new("topic", error.what())),
        }
    }

    /// Numbers of topics start over.
    pub fn forget_topics(&mut self) {
        self.outbox.forget_topics();
    }

    /// Publishes to a topic by its number.
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
        token: Option<Token>,
    ) -> Result<Accepted, Box<Error>> {
        let topic = self.outbox.topic(topic)?.clone();
        if draft.is_none()
            && qos == QoS::AtMostOnce
            && !self.out.output.is_full()
            && self.outbox.is_clear(qos)
            && let Stage::Up(up) = &mut self.stage
            && !up.sending.is_cautious()
            && (up.server.retain_available || !retain)
        {
            // The shortest path: straight into the send buffer.
            let publish = Publish {
                dup: false,
                qos,
                retain,
                topic: topic.as_bytes(),
                id: None,
                properties: Properties::EMPTY,
                payload: &[],
            };
            let buffer = &mut self.out.output.bytes;
            let start = buffer.len();
            if up.write_publish(publish, &topic, payload, None, buffer).is_ok() {
                self.out.wrote_message(start, None, &topic);
                return Ok(Accepted::Written);
            }
        }
        self.check_open()?;
        let draft = match self.attempts.version() {
            Version::V311 if self.attempts.is_version_known() => Draft::default(),
            Version::V311 | Version::V5 => draft.unwrap_or_default(),
        };
        let Self { stage, outbox, options, out, .. } = self;
        let up = stage.up_mut();
        outbox.publish(now, topic, payload, qos, retain, draft, token, up, &options.queue, out)
    }

    /// Takes a Subscription named `handle` in force and asks the server for it.
    pub fn subscribe(
        &mut self,
        token: Option<Token>,
        handle: Handle,
        filters: &[(Rc<str>, SubscribeOptions)],
        draft: Draft,
    ) -> Result<(), Box<Error>> {
        self.check_open()?;
        let mut parsed = Vec::with_capacity(filters.len());
        for (filter, options) in filters {
            parsed.push((parse_filter(filter)?, *options));
        }
        check_some(&parsed)?;
        for (filter, options) in &parsed {
            if options.no_local && filter.is_shared() {
                // [MQTT-3.8.3-4]
                let message = "must be false for a shared subscription";
                return Err(InvalidArgument::new("noLocal", message).into());
            }
            let identifier = draft.subscription_identifier.is_some();
            if let Some(up) = self.stage.up()
                && let Some((reason, what)) =
                    subscriptions::unsupported(filter, identifier, &up.server)
            {
                return Err(Error::new(ErrorCode::NotSupported, what).with_reason(reason));
            }
        }
        let Draft { subscription_identifier: identifier, properties, .. } = draft;
        self.subscriptions.subscribe(token, handle, &parsed, identifier, &properties);
        self.send_requests();
        Ok(())
    }

    /// Ends the Subscription; the server is asked where it was the last one of a filter.
    pub fn leave(
        &mut self,
        token: Option<Token>,
        handle: Handle,
        draft: Draft,
    ) -> Result<(), Box<Error>> {
        self.check_open()?;
        self.subscriptions.leave(token, handle, draft.properties, &mut self.out.events);
        self.send_requests();
        Ok(())
    }

    /// Ends every Subscription to these filters and asks the server to forget them, known or not.
    pub fn unsubscribe(
        &mut self,
        token: Option<Token>,
        filters: &[Rc<str>],
        draft: Draft,
    ) -> Result<(), Box<Error>> {
        self.check_open()?;
        let mut parsed = Vec::with_capacity(filters.len());
        for filter in filters {
            parsed.push(parse_filter(filter)?);
        }
        check_some(&parsed)?;
        self.subscriptions.unsubscribe(token, &parsed, draft.properties, &mut self.out.events);
        self.send_requests();
        Ok(())
    }

    /// Re-authenticates the connection that is up [MQTT5 4.12.1].
    pub fn reauthenticate(&mut self, token: Option<Token>) -> Result<(), Box<Error>> {
        self.check_open()?;
        if self.attempts.version() == Version::V311 || self.options.authentication_method.is_none()
        {
            let what = "re-authentication needs MQTT 5 and the authentication option";
            return Err(Error::new(ErrorCode::NotSupported, what));
        }
        let Some(up) = self.stage.up_mut() else {
            return Err(Error::new(ErrorCode::ConnectionLost, "there is no connection"));
        };
        if up.reauthentication.is_some() {
            let what = "a re-authentication is under way already";
            let mut error = Error::new(ErrorCode::AuthenticationFailed, what);
            error.retryable = true;
            return Err(error);
        }
        up.reauthentication = Some(Reauthentication { token, sent: false });
        self.ask_authenticator(true, true, None, Properties::EMPTY);
        Ok(())
    }

    /// Completes when nothing is queued or in flight.
    pub fn drain(&mut self, now: Instant, token: Token) -> Result<(), Box<Error>> {
        if matches!(self.stage, Stage::Closed) {
            return Err(Error::closed());
        }
        self.drains.push(token);
        self.progress(now);
        Ok(())
    }

    /// Nobody waits for the token any more: what was not sent is dropped, what was sent goes on.
    pub fn cancel(&mut self, now: Instant, token: Token) {
        self.drains.retain(|&other| other != token);
        if !self.outbox.cancel(token, &mut self.out)
            && !self.subscriptions.cancel(token, &mut self.out.events)
        {
            self.outbox.cancel_in_flight(token, self.stage.up_mut(), &mut self.out);
            let waits = match &mut self.stage {
                Stage::Judging(Trial { was_up: Some(was_up), .. }) => {
                    Some(&mut was_up.reauthentication)
                }
                stage => {
                    let up = stage.up_mut();
                    up.and_then(|up| up.reauthentication.as_mut())
                        .map(|under_way| &mut under_way.token)
                }
            };
            if let Some(other) = waits.filter(|other| **other == Some(token)) {
                *other = None;
            }
        }
        self.send_requests();
        self.progress(now);
    }

    /// Acknowledges every message handed out so far, except those on hold. Call after each batch
    /// of events.
    pub fn delivered(&mut self) {
        if let Some(up) = self.stage.up_mut() {
            up.receiving.delivered();
            self.inbox.acknowledge_ready(up, &mut self.out);
        }
    }

    /// Withholds the acknowledgement of a message that is being delivered.
    pub fn hold(&mut self, sequence: Sequence) {
        if let Some(up) = self.stage.up_mut() {
            up.receiving.hold(sequence);
        }
    }

    /// Acknowledges a message that was held, or refuses it with a reason code of 0x80 or more
    /// (MQTT 5). One that came on an earlier connection is left alone: the server sends it again.
    pub fn acknowledge(
        &mut self,
        sequence: Sequence,
        reason: ReasonCode,
    ) -> Result<(), Box<Error>> {
        if self.attempts.version() == Version::V311 && reason.is_error() {
            let what = "MQTT 3.1.1 cannot refuse a message";
            return Err(Error::new(ErrorCode::NotSupported, what));
        }
        if !reason.stands_in(PacketSet::PUBACK) {
            let message = "must be a reason code of PUBACK and PUBREC";
            return Err(InvalidArgument::new("reasonCode", message).into());
        }
        if let Some(up) = self.stage.up_mut() {
            up.receiving.acknowledge(sequence, reason);
            self.inbox.acknowledge_ready(up, &mut self.out);
        }
        Ok(())
    }

    /// Sets whether the application is asked for its own verdict on errors.
    pub fn ask_verdict(&mut self, on: bool) {
        self.asks_verdict = on;
    }

    /// Remembers the topics of at least so many incoming messages, up to 131,072. It is told to the
    /// application once what a topic stands for, and again where it was not remembered.
    pub fn reserve_topics(&mut self, count: usize) {
        self.inbox.reserve_topics(count);
    }

    /// Sets whether every packet is an event.
    pub fn tap(&mut self, on: bool) {
        self.out.events.tapped = on;
    }

    // -------------------------------------------------------------- what the caller must do now

    /// What the driver must do.
    pub fn poll_command(&mut self) -> Option<Command> {
        let command = self.out.commands.pop_front();
        command.or_else(|| self.out.journal.begin_write().then_some(Command::Store))
    }

    /// Whether there is something for the driver to do.
    pub fn has_commands(&self) -> bool {
        !self.out.commands.is_empty()
    }

    /// Bytes to send as one frame. They count as sent from here on.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&[u8]> {
        let frame = self.out.output.next_frame()?;
        self.out.stats.bytes_sent += frame.len() as u64;
        self.stage.sent(now);
        Some(frame)
    }

    /// How many bytes wait to be transmitted.
    #[inline]
    pub fn pending_output(&self) -> usize {
        self.out.output.pending()
    }

    /// When [`Session::handle_timeout`] must be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let journal = self.out.journal.next_timeout();
        Instant::first(&[self.stage.next_timeout(), self.outbox.expiry(), journal])
    }

    /// What the application must hear of.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop()
    }

    // ------------------------------------------------------------------ what the caller may ask

    /// The state as the application sees it.
    pub fn state(&self) -> State {
        self.stage.state()
    }

    /// Names the attempt that is under way.
    pub fn attempt_id(&self) -> AttemptId {
        self.attempts.id()
    }

    /// Whether the transport must be asked from time to time how much is in its buffer.
    pub fn is_blocked(&self) -> bool {
        self.out.output.is_full() && self.stage.has_connection()
    }

    /// The client identifier in use; empty: the server assigns one.
    pub fn client_id(&self) -> &Rc<str> {
        self.attempts.client_id()
    }

    /// The body of the last packet that came in pieces: where its message has its bytes, until the
    /// next input.
    pub fn assembled(&self) -> &[u8] {
        &self.inbox.assembled
    }

    /// Numbers for people and dashboards.
    pub fn stats(&self) -> Stats {
        let up = self.stage.up();
        let (messages, bytes) = self.outbox.queued();
        Stats {
            in_flight_out: self.outbox.in_flight() as u32,
            in_flight_in: up.map_or(0, |up| up.receiving.window()),
            queued_messages: messages as u32,
            queued_bytes: bytes as u64,
            subscriptions: self.subscriptions.len() as u32,
            connected_since: up.map(|up| up.since),
            ..self.out.stats
        }
    }

    /// Sends the SUBSCRIBE and UNSUBSCRIBE packets that wait.
    #[inline]
    fn send_requests(&mut self) {
        let Some(up) = self.stage.up_mut() else { return };
        if up.sending.is_cautious() {
            self.outbox.end_caution(&self.subscriptions, up);
        }
        if !self.subscriptions.nothing_waits() {
            self.outbox.send_requests(&mut self.subscriptions, up, &mut self.out);
        }
    }

    /// Sends the messages that wait, as far as they may.
    #[inline]
    fn send_waiting(&mut self, now: Instant) {
        if let Some(up) = self.stage.up_mut()
            && self.outbox.has_waiting(up)
        {
            self.outbox.send_waiting(now, up, &self.options.queue, &mut self.out);
        }
    }

    fn check_open(&self) -> Result<(), Box<Error>> {
        match self.stage {
            Stage::Closing(..) | Stage::Closed => Err(Error::closed()),
            _ => Ok(()),
        }
    }
}
