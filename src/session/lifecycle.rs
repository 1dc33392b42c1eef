//! The life of a connection: attempts, CONNECT and CONNACK, what a loss leads to, the end.

use super::*;

/// The largest packet that MQTT can express [MQTT5 2.1.4].
const MAXIMUM_PACKET_SIZE: u32 = 268_435_460;

impl Session {
    pub(super) fn set_state(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.events.push(Event::State(state));
        }
    }

    pub(super) fn random(&mut self) -> u64 {
        // xorshift64: never 0, good enough to spread clients.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Attempts in a row up to now; the very first counts too.
    pub(super) fn attempts(&self) -> u32 {
        self.reconnect.attempt() + u32::from(!self.established)
    }

    pub(super) fn attempt(&mut self) {
        self.retry_at = None;
        self.generation = self.generation.wrapping_add(1);
        self.set_state(State::Connecting);
        let attempt = self.attempts();
        self.commands.push_back(Command::Resolve { attempt, error: self.last_error.clone() });
    }

    pub(super) fn open(&mut self, now: Instant) {
        self.generation = self.generation.wrapping_add(1);
        let server = self.reconnect.server(self.urls.len());
        let Some(url) = self.urls.get(server) else { return };
        self.url = url.clone();
        let deadline = now.after_ms(u64::from(self.options.connect_timeout_ms));
        let limit = self.options.properties.maximum_packet_size.unwrap_or(u32::MAX);
        let mut connection = Connection::new(self.version, limit, now, deadline);
        connection.decoder.defers = self.defers;
        self.connection = Some(connection);
        self.output.clear();
        self.blocked = false;
        self.ceiling = None;
        self.commands.push_back(Command::Open { url: self.url.clone() });
    }

    pub(super) fn ask_authenticator(
        &mut self,
        first: bool,
        again: bool,
        data: Option<&[u8]>,
        properties: Properties<'_>,
    ) {
        let challenge = Challenge {
            first,
            reauthentication: again,
            data: data.map(Into::into),
            properties: properties.into(),
        };
        self.commands.push_back(Command::Authenticate(Box::new(challenge)));
    }

    pub(super) fn push_authentication(&self, properties: &mut PropertiesBuf, data: Option<&[u8]>) {
        if let Some(method) = &self.options.authentication_method {
            properties.push(Property::AuthenticationMethod, Value::Text(method));
            if let Some(data) = data {
                properties.push(Property::AuthenticationData, Value::Binary(data));
            }
        }
    }

    pub(super) fn send_connect(&mut self, now: Instant, authentication: Option<&[u8]>) {
        let server = self.reconnect.server(self.urls.len());
        let Credentials { username, password } =
            self.credentials.get(server).cloned().unwrap_or_default();
        if self.version == Version::V311 {
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
            Version::V311 => self.options.clean,
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
        self.wrote(PacketType::Connect, start, None, None, None);
        if let Some(connection) = &mut self.connection {
            connection.clean_start = clean_start;
            connection.connect_sent = true;
            if connection.authentication == Authentication::Starting {
                connection.authentication = Authentication::Connecting;
            }
        }
    }

    pub(super) fn random_id(&mut self) -> Rc<str> {
        let mut id = String::from("wasmqtt-");
        let mut bits = self.random();
        for _ in 0..16 {
            id.push(char::from(b"0123456789abcdef"[(bits & 15) as usize]));
            bits >>= 4;
        }
        id.into()
    }

    pub(super) fn handle_connack(
        &mut self,
        now: Instant,
        connack: ConnAck<'_>,
    ) -> Result<(), DecodeError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if connection.server.is_some() {
            return Err(DecodeError::protocol("a second CONNACK"));
        }
        let properties = connack.properties;
        if connack.reason != ReasonCode::SUCCESS {
            self.refused(now, connack.reason, properties);
            return Ok(());
        }
        if connack.session_present && connection.clean_start {
            // Where the session was not to be forgotten, it may exist although no CONNACK told so: the one that would
            // have may have been lost. Only after Clean Start 1 it is the server's fault [MQTT-3.2.2-2].
            return Err(DecodeError::protocol("a session that was to be forgotten"));
        }
        let method = properties.text(Property::AuthenticationMethod);
        if connection.version == Version::V5
            && method != self.options.authentication_method.as_deref()
        {
            return Err(DecodeError::protocol("an authentication method that was not asked for"));
        }
        connection.authentication = Authentication::None;
        let number = |property, default| properties.u32(property).unwrap_or(default);
        let v5 = connection.version == Version::V5;
        let flag = |property| v5 && number(property, 1) == 1;
        let server = Server {
            version: connection.version,
            keep_alive: number(Property::ServerKeepAlive, u32::from(self.options.keep_alive))
                as u16,
            session_expiry: if v5 {
                number(Property::SessionExpiryInterval, self.options.session_expiry().unwrap_or(0))
            } else if connection.clean_start {
                0
            } else {
                u32::MAX
            },
            receive_maximum: number(Property::ReceiveMaximum, 65_535) as u16,
            maximum_packet_size: number(Property::MaximumPacketSize, MAXIMUM_PACKET_SIZE),
            maximum_qos: QoS::from_bits(number(Property::MaximumQos, 2) as u8)
                .unwrap_or(QoS::ExactlyOnce),
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

    pub(super) fn refused(&mut self, now: Instant, reason: ReasonCode, properties: Properties<'_>) {
        if let Some(connection) = &mut self.connection {
            // No session comes of a refusal.
            connection.clean_start = true;
        }
        if reason == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            && self.version == Version::V5
            && self.options.version == VersionChoice::Auto
        {
            self.version = Version::V311;
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
    pub(super) fn resume(&mut self) {
        // Releases first, for they wait for no quota [MQTT-3.3.4-8].
        self.resend = self.identifiers.in_order(|entry| matches!(entry, Entry::Release { .. }));
        self.resend
            .append(&mut self.identifiers.in_order(|entry| matches!(entry, Entry::Publish { .. })));
        self.resend.reverse();
    }

    /// The server has no session: QoS 1 is published anew; a QoS 2 message that was sent could arrive twice, so it fails.
    pub(super) fn session_lost(&mut self) {
        self.resend.clear();
        self.received.clear();
        let mut again = Line::new();
        for entry in self
            .identifiers
            .drain(|entry| matches!(entry, Entry::Publish { .. } | Entry::Release { .. }))
        {
            let mut error = Error::new(ErrorCode::SessionLost, "the server lost the session");
            match entry {
                Entry::Publish { message, .. } if message.qos == QoS::AtLeastOnce => {
                    again.push_back(message)
                }
                Entry::Publish { message, .. } => {
                    error.topic = Some(message.topic.clone());
                    self.fail_message(message.token, error);
                }
                Entry::Release { token, .. } => self.fail_message(token, error),
                _ => {}
            }
        }
        self.waiting.push_front(again);
        self.subscriptions.session_lost(self.options.resubscribe, &mut self.events);
    }

    /// A packet that the specification forbids: the connection ends, on MQTT 5 with the reason [MQTT5 4.13].
    pub(super) fn violated(&mut self, now: Instant, fault: DecodeError) {
        let Some(connection) = &self.connection else { return };
        if connection.version == Version::V5 && connection.connect_sent {
            self.write_disconnect(fault.reason, &PropertiesBuf::default(), None);
        }
        let error = Error::new(ErrorCode::ProtocolError, fault.what).with_reason(fault.reason);
        self.events.push(Event::Error(error.clone()));
        self.fail(now, error.at(Phase::Mqtt, &self.url), true);
    }

    /// Leaves the socket behind. True: the connection was up.
    pub(super) fn drop_connection(&mut self, now: Instant) -> bool {
        self.generation = self.generation.wrapping_add(1);
        // What the attempt had still to ask for.
        keep(&mut self.commands, |command| {
            matches!(command, Command::Close { .. } | Command::Judge { .. })
        });
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
        let mut parts = Vec::new();
        for entry in self
            .identifiers
            .drain(|entry| matches!(entry, Entry::Subscribe(_) | Entry::Unsubscribe(_)))
        {
            if let Entry::Subscribe(part) | Entry::Unsubscribe(part) = entry {
                parts.push(part);
            }
        }
        self.subscriptions.cut(parts);
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
    pub(super) fn fail(&mut self, now: Instant, error: Box<Error>, open: bool) {
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

    pub(super) fn decide(
        &mut self,
        now: Instant,
        mut error: Box<Error>,
        was_up: bool,
        verdict: Option<bool>,
    ) {
        let builtin = self.judge(&error);
        let retry = verdict.unwrap_or(builtin != Verdict::Final);
        error.retryable = builtin != Verdict::Final;
        self.last_error = Some(error.clone());
        let at_once = retry && builtin == Verdict::Credentials;
        if !self.established
            && !self.options.reconnect.as_ref().is_some_and(|backoff| backoff.initial)
        {
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
    pub(super) fn disconnected(&mut self, error: &Error, will_reconnect: bool) {
        let error = Box::new(error.clone());
        self.events.push(Event::Disconnected { error: error.clone(), will_reconnect });
        let token = std::mem::take(&mut self.interrupted);
        self.fail_message(token, error);
    }

    /// The built-in verdict: Retry, Final, or Credentials and Redirect where they stand for trying again at once.
    pub(super) fn judge(&mut self, error: &Error) -> Verdict {
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
                let reference =
                    error.properties.borrow().text(Property::ServerReference).unwrap_or_default();
                if self.reconnect.redirect(reference, &self.urls) {
                    Verdict::Redirect
                } else {
                    Verdict::Final
                }
            }
            Verdict::Retry => Verdict::Retry,
            _ => Verdict::Final,
        }
    }

    /// Says goodbye, if the server can hear it, and closes.
    pub(super) fn finish(&mut self, now: Instant) {
        let Some(ending) = self.ending.take() else { return };
        if let Some(connection) = &self.connection {
            if connection.connect_sent {
                let expiry = ending
                    .session_expiry
                    .filter(|_| self.options.session_expiry().unwrap_or(0) > 0);
                self.write_disconnect(ending.reason, &ending.properties, expiry);
            }
            self.commands.push_back(Command::Close { force: false });
        }
        self.drop_connection(now);
        self.close(None);
    }

    /// For good: every promise settles.
    pub(super) fn close(&mut self, error: Option<Box<Error>>) {
        self.set_state(State::Closed);
        self.retry_at = None;
        self.ending = None;
        self.trial = None;
        self.resend.clear();
        let mut tokens = Vec::new();
        for message in self.waiting.drain() {
            tokens.push(message.token);
        }
        for mut entry in self.identifiers.drain(|entry| !matches!(entry, Entry::Free)) {
            if let Some(token) = entry.token() {
                tokens.push(*token);
            }
        }
        tokens.append(&mut self.subscriptions.close());
        tokens.append(&mut self.drains);
        tokens.push(std::mem::take(&mut self.interrupted));
        for token in tokens {
            self.fail_message(token, closed());
        }
        self.events.push(Event::Closed(error));
    }

    /// What waits for everything to be done.
    pub(super) fn progress(&mut self, now: Instant) {
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

    pub(super) fn settled(&self) -> bool {
        self.waiting.len() == 0 && self.identifiers.used() == 0 && self.subscriptions.settled()
    }

    pub(super) fn check_open(&self) -> Result<(), Box<Error>> {
        if matches!(self.state, State::Closing | State::Closed) { Err(closed()) } else { Ok(()) }
    }

    pub(super) fn check_filters<'a>(
        &self,
        filters: impl Iterator<Item = &'a Rc<str>>,
    ) -> Result<(), Box<Error>> {
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
}
