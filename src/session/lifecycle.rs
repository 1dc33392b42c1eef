//! How a connection begins, what a loss leads to, and how the session ends.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::Session;
use super::attempts::{Credentials, LONGEST_FIELD, Next};
use super::connection::aliases::OutgoingAliases;
use super::connection::keep_alive::KeepAlive;
use super::connection::{Ending, Handshaking, Opening, Stage, Trial, Up, WasUp};
use super::error::{Error, ErrorCode, Phase};
use super::event::{Challenge, Command, ConnectInfo, Event, ServerInfo, State, Token};
use super::outbox::Sending;
use super::outbox::blame::{Caution, Loss, PING_MS};
use super::reconnect::Random;
use super::time::Instant;
use crate::codec::{
    self, Auth, ConnAck, Connect, DecodeError, Decoder, Disconnect, PacketType, Properties,
    PropertiesBuf, Property, QoS, ReasonCode, Value, Version,
};
use crate::options::{Options, VersionChoice};

/// The largest packet that MQTT can express, in bytes [MQTT5 2.1.4].
const MAXIMUM_PACKET_SIZE: u32 = 268_435_460;

/// After so many milliseconds without an answer to a CONNECT of MQTT 5, 3.1.1 is tried.
const GUESS_MS: u64 = 5_000;

// An attempt at a connection.
impl Session {
    /// Begins an attempt: the application is asked where to connect to.
    pub(super) fn attempt(&mut self) {
        let id = self.attempts.supersede();
        self.stage = Stage::Resolving;
        self.out.events.enter(State::Connecting);
        let (attempt, error) = (self.attempts.count(), self.attempts.last_error());
        self.out.commands.push_back(Command::Resolve { id, attempt, error });
    }

    /// Asks for a socket.
    pub(super) fn open(&mut self, now: Instant) {
        let id = self.attempts.supersede();
        let deadline = now.after_ms(u64::from(self.options.connect_timeout_ms));
        self.stage = Stage::Opening(Opening { deadline, authenticating: false });
        self.out.output = Default::default();
        self.out.commands.push_back(Command::Open { id, url: self.attempts.url() });
    }

    /// Sends CONNECT, with what the Authenticator said.
    pub(super) fn send_connect(&mut self, now: Instant, authentication: Option<&[u8]>) {
        let Stage::Opening(Opening { deadline, authenticating }) = self.stage else {
            // CONNECT is sent when the socket is open.
            unreachable!()
        };
        let credentials = self.attempts.credentials();
        if self.attempts.version() == Version::V311 {
            if let Some(what) = self.what_v4_lacks(&credentials) {
                let error = Error::new(ErrorCode::NotSupported, what);
                return self.fail(now, error.at(Phase::Mqtt, &self.attempts.url()), true);
            }
            if self.attempts.client_id().is_empty() {
                self.attempts.name_client(random_client_id(&mut self.random));
            }
        }
        let mut properties = connect_properties(&self.options, self.inbox.is_unlimited());
        self.push_authentication(&mut properties, authentication);
        let version = self.attempts.version();
        // On MQTT 5 only the first connection may be asked to forget; later ones resume what the
        // server kept.
        let clean_start = match version {
            Version::V5 if self.attempts.is_established() => {
                self.options.session_expiry().unwrap_or(0) == 0
            }
            Version::V311 | Version::V5 => self.options.clean,
        };
        let connect = Connect {
            clean_start,
            keep_alive: self.options.keep_alive,
            client_id: self.attempts.client_id(),
            will: self.options.will.as_ref().map(|will| codec::Will {
                topic: &will.topic,
                payload: &will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: will.properties.borrow(),
            }),
            username: credentials.username.as_deref(),
            password: credentials.password.as_deref(),
            properties: properties.borrow(),
        };
        let start = self.out.output.bytes.len();
        connect.encode(version, &mut self.out.output.bytes);
        self.out.wrote(PacketType::Connect, start, None, None, None);
        let limit = self.options.properties.maximum_packet_size.unwrap_or(u32::MAX);
        let guess_at = self.may_guess_version().then(|| now.after_ms(GUESS_MS));
        let mut decoder = Decoder::new(version, limit);
        decoder.defers = true;
        decoder.skips = version == Version::V311;
        self.stage = Stage::Handshaking(Box::new(Handshaking {
            deadline,
            decoder,
            clean_start,
            authenticating,
            sent: now,
            guess_at,
        }));
    }

    /// Why the attempt cannot be made with 3.1.1, if so.
    fn what_v4_lacks(&self, credentials: &Credentials) -> Option<&'static str> {
        if credentials.username.is_none() && credentials.password.is_some() {
            // [MQTT-3.1.2-22]
            Some("MQTT 3.1.1 allows no password without a username")
        } else if !self.options.clean && self.attempts.client_id().is_empty() {
            Some("the server speaks MQTT 3.1.1, which needs a clientId where clean is false")
        } else {
            None
        }
    }

    /// Whether no answer to the CONNECT may mean that the server knows 3.1.1 only. Many of these
    /// close the connection, or are silent.
    fn may_guess_version(&self) -> bool {
        self.attempts.may_guess_version()
            && self.options.authentication_method.is_none()
            && self.what_v4_lacks(&self.attempts.credentials()).is_none()
    }

    /// The server has not answered a CONNECT of MQTT 5, so 3.1.1 is tried at once. `open`: the
    /// socket is still there.
    pub(super) fn guess_version(&mut self, now: Instant, open: bool) {
        self.leave_connection(now, Stage::Resolving, Loss::Innocent);
        if open {
            self.out.commands.push_back(Command::Close { force: false });
        }
        self.attempts.guess_version();
        self.open(now);
    }

    /// The server has not answered in time.
    pub(super) fn unanswered(&mut self, now: Instant, phase: Phase) {
        let error = Error::new(ErrorCode::ConnectionFailed, "the server did not answer in time");
        self.fail(now, error.at(phase, &self.attempts.url()), true);
    }

    /// The server accepts the connection, or refuses it.
    pub(super) fn process_connack(
        &mut self,
        now: Instant,
        connack: ConnAck<'_>,
    ) -> Result<(), DecodeError> {
        let Stage::Handshaking(handshaking) = &self.stage else {
            return Err(DecodeError::protocol("a second CONNACK"));
        };
        self.attempts.keep_version();
        if connack.reason != ReasonCode::SUCCESS {
            self.refused(now, connack.reason, connack.properties);
            return Ok(());
        }
        if connack.session_present && handshaking.clean_start {
            // Where the session was not to be forgotten, it may exist although no CONNACK told so:
            // the one that would have may have been lost. Only after Clean Start 1 it is the
            // server's fault [MQTT-3.2.2-2].
            return Err(DecodeError::protocol("a session that was to be forgotten"));
        }
        let method = connack.properties.text(Property::AuthenticationMethod);
        let asked = self.options.authentication_method.as_deref();
        let version = self.attempts.version();
        if version == Version::V5 && method != asked {
            return Err(DecodeError::protocol("an authentication method that was not asked for"));
        }
        self.accepted(now, connack);
        Ok(())
    }

    /// The server has accepted the connection.
    fn accepted(&mut self, now: Instant, connack: ConnAck<'_>) {
        let stage = core::mem::replace(&mut self.stage, Stage::Resolving);
        // CONNACK was awaited.
        let Stage::Handshaking(handshaking) = stage else { unreachable!() };
        let Handshaking { decoder, clean_start, sent, .. } = *handshaking;
        let properties = connack.properties;
        let server = server_info(self.attempts.version(), clean_start, properties, &self.options);
        let aliases = if self.options.topic_aliases { server.topic_alias_maximum } else { 0 };
        let resend =
            if connack.session_present { self.outbox.unacknowledged() } else { Vec::new() };
        self.stage = Stage::Up(Box::new(Up {
            server: server.clone(),
            decoder,
            since: now,
            keep_alive: KeepAlive::new(server.keep_alive, sent, now),
            sending: Sending::new(resend, &mut self.out),
            receiving: self.inbox.start(),
            aliases: OutgoingAliases::new(aliases),
            reauthentication: None,
        }));
        if let Some(id) = properties.text(Property::AssignedClientIdentifier) {
            self.attempts.name_client(id.into());
        }
        let reconnect = self.attempts.is_established();
        let doubtful = self.attempts.connected(now);
        self.out.stats.connections += 1;
        self.out.events.enter(State::Connected);
        self.out.events.push(Event::Connected(Box::new(ConnectInfo {
            session_present: connack.session_present,
            client_id: self.attempts.client_id().clone(),
            url: self.attempts.url(),
            reconnect,
            server,
            properties: properties.into(),
        })));
        if !connack.session_present {
            self.inbox.session_lost(&mut self.out);
            self.outbox.session_lost(&self.attempts.loss, &mut self.out);
            self.outbox.expire(now, &mut self.out);
            let resubscribe = self.options.resubscribe;
            self.subscriptions.session_lost(resubscribe, &mut self.out.events);
        } else if doubtful && self.options.resubscribe {
            self.subscriptions.session_doubtful();
        }
        if let Some(up) = self.stage.up_mut()
            && self.outbox.is_suspected(&self.subscriptions, &up.sending)
        {
            up.sending.caution = Caution::Pinged { until: now.after_ms(PING_MS) };
            self.ping();
        }
        self.send_requests();
        self.send_waiting(now);
    }

    /// Writes PINGREQ.
    #[cold]
    pub(super) fn ping(&mut self) {
        let start = self.out.output.bytes.len();
        self.out.output.bytes.extend_from_slice(&[PacketType::PingReq.first_byte(), 0]);
        self.out.wrote(PacketType::PingReq, start, None, None, None);
    }

    /// The server has refused the connection.
    pub(super) fn refused(&mut self, now: Instant, reason: ReasonCode, properties: Properties<'_>) {
        // A refusal leaves no session behind, and nothing in doubt.
        self.stage = Stage::Resolving;
        if self.attempts.version() == Version::V311 {
            self.attempts.keep_version();
        }
        if reason == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            && self.attempts.version() == Version::V5
            && self.options.version == VersionChoice::Auto
        {
            self.attempts.fall_back();
            self.out.commands.push_back(Command::Close { force: false });
            return self.open(now);
        }
        let error = Error::new(ErrorCode::ConnectionRefused, "the server refused the connection")
            .with_reason(reason)
            .with_properties(properties);
        self.fail(now, error.at(Phase::Mqtt, &self.attempts.url()), true);
    }
}

// What a loss leads to.
impl Session {
    /// The server did what the specification forbids: the connection ends, on MQTT 5 with the
    /// reason [MQTT5 4.13].
    #[cold]
    pub(super) fn violated(&mut self, now: Instant, fault: DecodeError) {
        if !self.stage.has_connection() {
            return;
        }
        if self.attempts.version() == Version::V5 && self.stage.is_connect_sent() {
            self.write_disconnect(fault.reason, &PropertiesBuf::default(), None);
        }
        let error = Error::new(ErrorCode::ProtocolError, fault.what).with_reason(fault.reason);
        self.out.report(error.clone());
        self.fail(now, error.at(Phase::Mqtt, &self.attempts.url()), true);
    }

    /// The connection, or the attempt at one, has failed. `open`: the socket is still there.
    pub(super) fn fail(&mut self, now: Instant, error: Box<Error>, open: bool) {
        let is_bare_close = error.code == ErrorCode::ConnectionFailed && !open;
        if matches!(self.stage, Stage::Handshaking(_)) && is_bare_close && self.may_guess_version()
        {
            return self.guess_version(now, open);
        }
        self.attempts.take_back_guess();
        let closing = matches!(self.stage, Stage::Closing(..));
        if self.stage.up().is_some() {
            self.inbox.note_overstep(&error, &mut self.out);
        }
        let loss = match error.code {
            ErrorCode::ServerDisconnected => error.reason.map_or(Loss::HungUp, Loss::disconnect),
            ErrorCode::ConnectionLost if !open => Loss::HungUp,
            _ => Loss::Innocent,
        };
        let was_up = self.leave_connection(now, Stage::Resolving, loss);
        if open {
            self.out.commands.push_back(Command::Close { force: false });
        }
        if closing {
            return self.close(None, was_up);
        }
        let trial = Trial { error, was_up };
        if self.asks_verdict {
            let (error, attempt) = (trial.error.clone(), self.attempts.count() + 1);
            self.out.commands.push_back(Command::Judge { error, attempt });
            self.stage = Stage::Judging(trial);
        } else {
            self.decide(now, trial, None);
        }
    }

    /// Leaves the socket behind, and what lives with it. The result is there if the connection was
    /// up.
    pub(super) fn leave_connection(
        &mut self,
        now: Instant,
        next: Stage,
        mut loss: Loss,
    ) -> Option<WasUp> {
        self.attempts.supersede();
        self.out.withdraw_questions();
        match core::mem::replace(&mut self.stage, next) {
            Stage::Up(up) | Stage::Closing(up, _) => {
                self.attempts.disconnected(now);
                self.inbox.connection_lost(&up.receiving);
                if up.reauthentication.is_some() {
                    // That may be why, too.
                    loss = Loss::Innocent;
                }
                let unanswered = self.outbox.connection_lost(&up.sending, loss, &mut self.out);
                let is_packet_judged = unanswered.is_judged;
                self.subscriptions.cut(unanswered, loss, &mut self.out.events);
                let reauthentication = up.reauthentication.and_then(|it| it.token);
                let doubtful = up.keep_alive.is_doubtful();
                Some(WasUp { reauthentication, is_packet_judged, doubtful })
            }
            Stage::Handshaking(handshaking) => {
                if !handshaking.clean_start {
                    self.attempts.doubt();
                }
                None
            }
            Stage::Judging(trial) => trial.was_up,
            _ => None,
        }
    }

    /// Does what follows an error. `retry`: what the application says, if it has a say.
    pub(super) fn decide(&mut self, now: Instant, trial: Trial, retry: Option<bool>) {
        let Trial { mut error, was_up } = trial;
        let random = (self.random.next() >> 32) as u32;
        let judged = was_up.as_ref().is_some_and(|was_up| was_up.is_packet_judged);
        match self.attempts.next(now, &mut error, retry, &self.options, random, judged) {
            Next::Now => self.attempt(),
            Next::ConnectFailed => {
                self.stage = Stage::Idle;
                self.out.events.enter(State::Idle);
                self.out.events.push(Event::ConnectFailed(error));
            }
            Next::After(delay_ms) => {
                let at_once = was_up.as_ref().is_some_and(|was_up| was_up.doubtful);
                let delay_ms = if at_once { 0 } else { delay_ms };
                self.stage = Stage::Waiting { retry_at: now.after_ms(delay_ms) };
                self.out.events.enter(State::Waiting);
                if let Some(was_up) = was_up {
                    self.disconnected(&error, was_up, true);
                }
                let (attempt, url) = (self.attempts.count(), self.attempts.next_url());
                self.out.events.push(Event::Reconnecting { attempt, delay_ms, url, error });
            }
            Next::GiveUp => {
                self.out.events.enter(State::Closed);
                if let Some(was_up) = was_up {
                    self.disconnected(&error, was_up, false);
                }
                self.close(Some(error), None);
            }
        }
    }

    /// Tells that a connection that was up is gone.
    pub(super) fn disconnected(&mut self, error: &Error, was_up: WasUp, will_reconnect: bool) {
        let error = Box::new(error.clone());
        self.attempts.loss = Some(error.clone());
        self.out.events.push(Event::Disconnected { error: error.clone(), will_reconnect });
        self.out.fail(was_up.reauthentication, error);
    }
}

// The end.
impl Session {
    /// Ends now, without a word.
    pub(super) fn end_by_force(&mut self, now: Instant) {
        if self.stage.has_connection() {
            self.out.output.discard();
            self.out.commands.push_back(Command::Close { force: true });
        }
        let was_up = self.leave_connection(now, Stage::Closed, Loss::Innocent);
        self.close(None, was_up);
    }

    /// Ends when nothing is in flight any more, or at once: without a connection, and where
    /// nothing is to be waited for.
    pub(super) fn end_in_order(&mut self, now: Instant, ending: Ending, waits: bool) {
        match core::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Up(up) if waits => self.stage = Stage::Closing(up, ending),
            stage => {
                self.stage = stage;
                self.say_goodbye(now, ending);
            }
        }
    }

    /// Everything is done, or the time is over.
    pub(super) fn finish(&mut self, now: Instant) {
        if let Stage::Closing(up, ending) = core::mem::replace(&mut self.stage, Stage::Idle) {
            self.stage = Stage::Up(up);
            self.say_goodbye(now, ending);
        }
    }

    /// Sends DISCONNECT, if the server can hear it, and closes.
    fn say_goodbye(&mut self, now: Instant, ending: Ending) {
        if self.stage.is_connect_sent() {
            let keeps_session = self.options.session_expiry().unwrap_or(0) > 0;
            let expiry = ending.session_expiry.filter(|_| keeps_session);
            self.write_disconnect(ending.reason, &ending.properties, expiry);
        }
        if self.stage.has_connection() {
            self.out.commands.push_back(Command::Close { force: false });
        }
        let was_up = self.leave_connection(now, Stage::Closed, Loss::Innocent);
        self.close(None, was_up);
    }

    /// Closes for good: every promise settles.
    fn close(&mut self, error: Option<Box<Error>>, was_up: Option<WasUp>) {
        self.stage = Stage::Closed;
        self.out.events.enter(State::Closed);
        let mut tokens = self.outbox.close();
        // Those stay in the store, for the next life.
        tokens.retain(|&token| token != Some(Token::EARLIER));
        self.out.journal.close();
        tokens.append(&mut self.subscriptions.close());
        tokens.extend(self.drains.drain(..).map(Some));
        tokens.extend(was_up.map(|was_up| was_up.reauthentication));
        for token in tokens {
            self.out.fail(token, Error::closed());
        }
        self.out.events.push(Event::Closed(error));
    }

    /// Goes on with what waits for everything to be done.
    pub(super) fn progress(&mut self, now: Instant) {
        let closing = matches!(self.stage, Stage::Closing(..));
        if (self.drains.is_empty() && !closing)
            || !(self.outbox.is_settled() && self.subscriptions.settled())
        {
            return;
        }
        for token in core::mem::take(&mut self.drains) {
            self.out.done(Some(token));
        }
        if closing {
            self.finish(now);
        }
    }

    /// Writes DISCONNECT, without what makes it larger than the server takes [MQTT-3.2.2-15]
    /// [MQTT-3.14.2-3]. `session_expiry`: seconds.
    pub(super) fn write_disconnect(
        &mut self,
        reason: ReasonCode,
        properties: &PropertiesBuf,
        session_expiry: Option<u32>,
    ) {
        let up = self.stage.up();
        let limit = up.map_or(u32::MAX, |up| up.server.maximum_packet_size) as usize;
        let (mut all, mut expiry) = (properties.clone(), PropertiesBuf::default());
        if let Some(seconds) = session_expiry {
            for block in [&mut all, &mut expiry] {
                block.push(Property::SessionExpiryInterval, Value::Four(seconds));
            }
        }
        let version = self.attempts.version();
        let buffer = &mut self.out.output.bytes;
        let start = buffer.len();
        for properties in [&all, &expiry, &PropertiesBuf::default()] {
            buffer.truncate(start);
            Disconnect { reason, properties: properties.borrow() }.encode(version, buffer);
            if buffer.len() - start <= limit {
                break;
            }
        }
        self.out.wrote(PacketType::Disconnect, start, None, None, Some(reason));
    }
}

// Enhanced authentication [MQTT5 4.12].
impl Session {
    /// Asks the application's Authenticator.
    pub(super) fn ask_authenticator(
        &mut self,
        first: bool,
        reauthentication: bool,
        data: Option<&[u8]>,
        properties: Properties<'_>,
    ) {
        let data = data.map(Into::into);
        let properties = properties.into();
        let challenge = Box::new(Challenge { first, reauthentication, data, properties });
        let id = self.attempts.id();
        self.out.commands.push_back(Command::Authenticate { id, challenge });
    }

    fn push_authentication(&self, properties: &mut PropertiesBuf, data: Option<&[u8]>) {
        if let Some(method) = &self.options.authentication_method {
            properties.push(Property::AuthenticationMethod, Value::Text(method));
            if let Some(data) = data {
                properties.push(Property::AuthenticationData, Value::Binary(data));
            }
        }
    }

    /// The Authenticator has answered; `Err`: it failed.
    pub(super) fn authenticate(&mut self, now: Instant, data: Result<Option<Vec<u8>>, ()>) {
        let asked = match &self.stage {
            Stage::Opening(opening) => opening.authenticating,
            Stage::Handshaking(handshaking) => handshaking.authenticating,
            stage => stage.up().is_some_and(|up| up.reauthentication.is_some()),
        };
        if !asked {
            return;
        }
        let data = match data {
            Ok(Some(data)) if data.len() > LONGEST_FIELD => {
                let what = "the Authenticator gave more than 65535 bytes";
                let error = Error::new(ErrorCode::AuthenticationFailed, what);
                return self.authentication_failed(now, error);
            }
            Ok(data) => data,
            Err(()) => {
                let error = Error::new(ErrorCode::AuthenticationFailed, "the Authenticator failed");
                return self.authentication_failed(now, error);
            }
        };
        if matches!(self.stage, Stage::Opening(_)) {
            return self.send_connect(now, data.as_deref());
        }
        let (mut limit, mut reason) = (u32::MAX, ReasonCode::CONTINUE_AUTHENTICATION);
        if let Some(up) = self.stage.up_mut() {
            limit = up.server.maximum_packet_size;
            if let Some(first) = up.reauthentication.as_mut().filter(|it| !it.sent) {
                first.sent = true;
                reason = ReasonCode::RE_AUTHENTICATE;
            }
        }
        let mut properties = PropertiesBuf::default();
        self.push_authentication(&mut properties, data.as_deref());
        let buffer = &mut self.out.output.bytes;
        let start = buffer.len();
        Auth { reason, properties: properties.borrow() }.encode(buffer);
        let size = buffer.len() - start;
        if size > limit as usize {
            buffer.truncate(start);
            return self.authentication_failed(now, Error::too_large(size, limit));
        }
        self.out.wrote(PacketType::Auth, start, None, None, Some(reason));
    }

    /// Our side of an authentication is at its end, and so is the connection [MQTT-4.12.1-2].
    fn authentication_failed(&mut self, now: Instant, error: Box<Error>) {
        if self.stage.up().is_some() {
            let reason = ReasonCode::UNSPECIFIED_ERROR;
            self.write_disconnect(reason, &PropertiesBuf::default(), None);
        }
        self.fail(now, error.at(Phase::Authentication, &self.attempts.url()), true);
    }
}

/// The properties of CONNECT, but for those of an authentication [MQTT5 3.1.2.11].
fn connect_properties(options: &Options, unlimited: bool) -> PropertiesBuf {
    let mut properties = PropertiesBuf::default();
    let own = &options.properties;
    if let Some(seconds) = options.session_expiry().filter(|&seconds| seconds > 0) {
        properties.push(Property::SessionExpiryInterval, Value::Four(seconds));
    }
    if own.receive_maximum < u16::MAX && !unlimited {
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
    properties
}

/// What a CONNACK says about the server, defaults filled in.
fn server_info(
    version: Version,
    clean_start: bool,
    properties: Properties<'_>,
    options: &Options,
) -> ServerInfo {
    let number = |property, default| properties.u32(property).unwrap_or(default);
    let v5 = version == Version::V5;
    let flag = |property| number(property, 1) == 1;
    let session_expiry = match version {
        Version::V5 => {
            number(Property::SessionExpiryInterval, options.session_expiry().unwrap_or(0))
        }
        Version::V311 if clean_start => 0,
        Version::V311 => u32::MAX,
    };
    ServerInfo {
        version,
        keep_alive: number(Property::ServerKeepAlive, u32::from(options.keep_alive)) as u16,
        session_expiry,
        receive_maximum: number(Property::ReceiveMaximum, 65_535) as u16,
        maximum_packet_size: number(Property::MaximumPacketSize, MAXIMUM_PACKET_SIZE),
        maximum_qos: QoS::from_bits(number(Property::MaximumQos, 2) as u8)
            .unwrap_or(QoS::ExactlyOnce),
        topic_alias_maximum: number(Property::TopicAliasMaximum, 0) as u16,
        retain_available: flag(Property::RetainAvailable),
        wildcards_available: flag(Property::WildcardSubscriptionAvailable),
        subscription_ids_available: v5 && flag(Property::SubscriptionIdentifierAvailable),
        shared_available: flag(Property::SharedSubscriptionAvailable),
    }
}

/// A client identifier for 3.1.1, which has none that servers assign: 23 letters and digits, which
/// every server must take [MQTT3-3.1.3-5].
fn random_client_id(random: &mut Random) -> Rc<str> {
    let mut id = String::from("wasmqtt");
    let mut bits = random.next();
    for _ in 0..16 {
        id.push(char::from(b"0123456789abcdef"[(bits & 15) as usize]));
        bits >>= 4;
    }
    id.into()
}
