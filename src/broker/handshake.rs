//! How connections and sessions begin and end: CONNECT, takeover, DISCONNECT, Wills and expiry.

use std::rc::Rc;

use super::connection::{Stage, Up};
use super::log::{About, Direction};
use super::message::{SECOND_MS, Will};
use super::session::{PendingWill, Presence, Session};
use super::{Broker, ConnectionId, SessionId, Violation};
use crate::codec::{
    ConnAck, Connect, Decoder, Disconnect, Packet, PacketId, PacketSet, PacketType, Properties,
    PropertiesBuf, Property, QoS, ReasonCode, Value, Version,
};
use crate::session::Instant;

/// Sessions that are kept, at most.
pub const MAXIMUM_SESSIONS: usize = 10_000;

/// Bytes of the largest packet that the protocol knows: the limit of a server that states none.
const LARGEST_PACKET: u32 = 268_435_460;

/// Seconds of a session that never ends.
const NEVER: u32 = u32::MAX;

/// The byte of CONNECT that tells the version: behind the protocol name, which has the same length in both.
const LEVEL_AT: usize = 6;

/// What becomes of the Will when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// The client has said DISCONNECT 0x00: it is discarded [MQTT-3.14.4-3].
    Discarded,
    /// It is published, at once or after its delay [MQTT-3.1.2-8].
    Lost,
}

/// Who gets a CONNACK that refuses.
struct Asker {
    version: Version,
    /// Empty where it is not known.
    client_id: Rc<str>,
    maximum_packet_size: Option<u32>,
}

impl Asker {
    fn limit(&self) -> usize {
        self.maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize)
    }
}

impl Broker {
    /// The first packet of a connection.
    pub(super) fn on_first(&mut self, now: Instant, id: ConnectionId, first: u8, body: &[u8]) {
        if first != PacketType::Connect.first_byte() || !body.starts_with(b"\x00\x04MQTT") {
            return self.close(now, id);
        }
        let version = match body.get(LEVEL_AT) {
            Some(4) => Version::V311,
            Some(5) => Version::V5,
            // In the words of the oldest version, which any other client may understand [MQTT-3.1.2-2].
            Some(_) => return self.refuse_version(now, id),
            None => return self.close(now, id),
        };
        if !self.options.versions.contains(&version) {
            return self.refuse_version(now, id);
        }
        let connect = match Packet::decode(version, first, body) {
            Ok(Packet::Connect(connect)) => connect,
            Ok(_) => unreachable!("a CONNECT by its first byte"),
            Err(error) if version == Version::V5 => {
                let reason = if error.reason.stands_in(PacketSet::CONNACK) {
                    error.reason
                } else {
                    ReasonCode::MALFORMED_PACKET
                };
                let asker = Asker { version, client_id: "".into(), maximum_packet_size: None };
                return self.answer_refused(
                    now,
                    id,
                    &asker,
                    Violation { reason, what: error.what },
                );
            }
            // 3.1.1 has no word for it [MQTT-3.1.4-1].
            Err(_) => return self.close(now, id),
        };
        let client_id: Rc<str> = match connect.client_id {
            "" => self.unused_client_id().into(),
            client_id => client_id.into(),
        };
        let about = About {
            at: now,
            client_id: &client_id,
            direction: Direction::In,
            version,
            topic: None,
        };
        self.log.add(about, first, body);
        match self.check_connect(version, &connect) {
            Ok(()) => self.accept(now, id, version, client_id, &connect),
            Err(violation) => {
                let maximum_packet_size = connect.properties.u32(Property::MaximumPacketSize);
                let asker = Asker { version, client_id, maximum_packet_size };
                self.answer_refused(now, id, &asker, violation);
            }
        }
    }

    /// Whether the client may connect.
    fn check_connect(&self, version: Version, connect: &Connect<'_>) -> Result<(), Violation> {
        let refused = |reason, what| Err(Violation { reason, what });
        if let Some(reason) = self.faults.refusal {
            return refused(reason, "the test refuses it");
        }
        if connect.properties.get(Property::AuthenticationMethod).is_some() {
            return refused(ReasonCode::BAD_AUTHENTICATION_METHOD, "there is no such method here");
        }
        let is_known = match (connect.username, connect.password) {
            _ if self.options.users.is_empty() => true,
            (Some(username), Some(password)) => {
                self.options.users.get(username).is_some_and(|expected| expected == password)
            }
            _ => false,
        };
        if !is_known && connect.username.is_none() {
            return refused(ReasonCode::NOT_AUTHORIZED, "a user name is needed here");
        }
        if !is_known {
            return refused(ReasonCode::BAD_USER_NAME_OR_PASSWORD, "unknown user or password");
        }
        // Without Clean Session it could never find its session again [MQTT3-3.1.3-8].
        if version == Version::V311 && connect.client_id.is_empty() && !connect.clean_start {
            return refused(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID, "a client id is needed");
        }
        if let Some(will) = &connect.will {
            if will.qos > self.options.maximum_qos {
                return refused(
                    ReasonCode::QOS_NOT_SUPPORTED,
                    "the will's QoS is above the maximum",
                );
            }
            if will.retain && !self.options.retain_available {
                return refused(ReasonCode::RETAIN_NOT_SUPPORTED, "the will is retained");
            }
        }
        let is_known = self.names.contains_key(connect.client_id);
        if !is_known && self.sessions.len() >= MAXIMUM_SESSIONS {
            return refused(ReasonCode::QUOTA_EXCEEDED, "there are too many sessions");
        }
        Ok(())
    }

    fn accept(
        &mut self,
        now: Instant,
        id: ConnectionId,
        version: Version,
        client_id: Rc<str>,
        connect: &Connect<'_>,
    ) {
        self.take_over(now, &client_id, connect.clean_start);
        let existing = self.names.get(&client_id).copied();
        let session_present = existing.is_some();
        let session = match existing {
            Some(session) => {
                self.resume(session, id);
                session
            }
            None => self.begin_session(client_id.clone(), id),
        };

        let number = |property| connect.properties.u32(property);
        let mut up = Up::new(now, version, session, client_id.clone());
        up.keep_alive = connect.keep_alive;
        up.session_expiry = match version {
            Version::V311 if connect.clean_start => 0,
            Version::V311 => NEVER,
            Version::V5 => number(Property::SessionExpiryInterval).unwrap_or(0),
        };
        up.will = connect.will.as_ref().map(Will::new);
        let two = |property, default: u16| {
            number(property).and_then(|value| u16::try_from(value).ok()).unwrap_or(default)
        };
        up.receive_maximum = two(Property::ReceiveMaximum, u16::MAX);
        up.maximum_packet_size = number(Property::MaximumPacketSize).unwrap_or(u32::MAX);
        up.take_aliases(two(Property::TopicAliasMaximum, 0));

        let maximum = self.options.maximum_packet_size;
        let cut = self.faults.cut_of(&client_id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stage = Stage::Up(Box::new(up));
        connection.decoder = Decoder::new(version, maximum);
        if let Some(bytes) = cut {
            connection.link.cut_at(bytes);
        }

        let mut properties = self.limits();
        if connect.client_id.is_empty() {
            properties.push(Property::AssignedClientIdentifier, Value::Text(&client_id));
        }
        let reason = ReasonCode::SUCCESS;
        let properties = properties.borrow();
        self.send(now, id, &Packet::ConnAck(ConnAck { session_present, reason, properties }));
        self.send_again(now, id, session);
        self.tell_clients(now);
        self.cut_if_due(now, id);
    }

    /// What the broker says about itself in CONNACK: only what is not the default.
    fn limits(&self) -> PropertiesBuf {
        let options = &self.options;
        let mut properties = PropertiesBuf::default();
        if options.receive_maximum < u16::MAX {
            properties.push(Property::ReceiveMaximum, Value::Two(options.receive_maximum));
        }
        if options.maximum_qos < QoS::ExactlyOnce {
            properties.push(Property::MaximumQos, Value::Byte(options.maximum_qos as u8));
        }
        if !options.retain_available {
            properties.push(Property::RetainAvailable, Value::Byte(0));
        }
        if options.maximum_packet_size < LARGEST_PACKET {
            properties.push(Property::MaximumPacketSize, Value::Four(options.maximum_packet_size));
        }
        if options.topic_alias_maximum > 0 {
            properties.push(Property::TopicAliasMaximum, Value::Two(options.topic_alias_maximum));
        }
        properties
    }

    /// The PUBRELs that the last connection left open, then the messages [MQTT-4.4.0-1].
    fn send_again(&mut self, now: Instant, id: ConnectionId, session: SessionId) {
        let released: Vec<PacketId> = self
            .sessions
            .get(&session)
            .map(|session| session.released().collect())
            .unwrap_or_default();
        for released in released {
            self.acknowledge(now, id, PacketType::PubRel, released, ReasonCode::SUCCESS);
        }
        self.pump(now, id);
    }

    fn refuse_version(&mut self, now: Instant, id: ConnectionId) {
        let asker =
            Asker { version: Version::V311, client_id: "".into(), maximum_packet_size: None };
        let reason = ReasonCode::UNSUPPORTED_PROTOCOL_VERSION;
        self.answer_refused(now, id, &asker, Violation { reason, what: "unsupported version" });
    }

    /// Sends a CONNACK that refuses, and closes the connection [MQTT-3.2.2-7]. The Reason String is left out where it
    /// would be too much [MQTT-3.2.2-19].
    fn answer_refused(
        &mut self,
        now: Instant,
        id: ConnectionId,
        asker: &Asker,
        violation: Violation,
    ) {
        let mut properties = PropertiesBuf::default();
        properties.push(Property::ReasonString, Value::Text(violation.what));
        let encoded = |properties| {
            let reason = violation.reason;
            let mut bytes = Vec::new();
            Packet::ConnAck(ConnAck { session_present: false, reason, properties })
                .encode(asker.version, &mut bytes);
            Some(bytes).filter(|bytes| bytes.len() <= asker.limit())
        };
        if let Some(bytes) = encoded(properties.borrow()).or_else(|| encoded(Properties::EMPTY)) {
            self.write(now, id, asker.version, &asker.client_id, None, &bytes);
        }
        self.close(now, id);
    }

    // ------------------------------------------------------------------------------------ sessions

    /// Ends the connection that the client has, and its session where it is not to go on [MQTT-3.1.4-3].
    fn take_over(&mut self, now: Instant, client_id: &str, clean_start: bool) {
        let Some(&session) = self.names.get(client_id) else { return };
        if let Some(old) = self.sessions.get(&session).and_then(Session::connection) {
            let what = "another client has connected with the same client id";
            self.end(now, old, ReasonCode::SESSION_TAKEN_OVER, Some(what), Ending::Lost);
        }
        let is_lost = self.sessions.get(&session).is_some_and(|session| session.lost);
        if clean_start || is_lost {
            self.end_session(now, session);
        }
    }

    fn begin_session(&mut self, client_id: Rc<str>, connection: ConnectionId) -> SessionId {
        let id = self.next_session;
        self.next_session = SessionId(id.0 + 1);
        let session = Session::new(client_id.clone(), Presence::Connected(connection));
        self.sessions.insert(id, session);
        self.names.insert(client_id, id);
        id
    }

    fn resume(&mut self, session: SessionId, connection: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.presence = Presence::Connected(connection);
            // The client is back before its Will was due [MQTT-3.1.3-9].
            session.pending_will = None;
        }
    }

    /// Ends a session: what it had is gone, and a Will that waited is published now (MQTT 5, 3.1.3.2.2).
    pub(super) fn end_session(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.names.remove(&session.client_id);
        for filter in &session.subscriptions {
            self.router.unsubscribe(id, filter);
        }
        if let Some(PendingWill { will, .. }) = session.pending_will {
            self.publish_will(now, id, will);
        }
    }

    /// Loses a session. One that is away is gone; one that is connected goes on empty until its client connects again.
    pub(super) fn forget(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        for filter in &session.subscriptions {
            self.router.unsubscribe(id, filter);
        }
        session.clear();
        session.lost = true;
        if session.connection().is_none() {
            let client_id = session.client_id.clone();
            self.sessions.remove(&id);
            self.names.remove(&client_id);
        }
    }

    // ------------------------------------------------------------------------------------ the end of a connection

    /// The client says goodbye. Fails where it may not say it so.
    pub(super) fn on_disconnect(
        &mut self,
        now: Instant,
        id: ConnectionId,
        disconnect: &Disconnect<'_>,
    ) -> Result<(), Violation> {
        if !disconnect.reason.stands_in(PacketSet::CLIENT_DISCONNECT) {
            return Err(Violation::protocol("only a server may give this reason"));
        }
        let Some(up) = self.connections.get_mut(&id).and_then(|connection| connection.up_mut())
        else {
            return Ok(());
        };
        if let Some(expiry) = disconnect.properties.u32(Property::SessionExpiryInterval) {
            if up.session_expiry == 0 && expiry > 0 {
                return Err(Violation::protocol("a session that ends now cannot be kept"));
            }
            up.session_expiry = expiry;
        }
        let is_normal = disconnect.reason == ReasonCode::SUCCESS;
        self.detach(now, id, if is_normal { Ending::Discarded } else { Ending::Lost });
        self.close(now, id);
        Ok(())
    }

    /// Ends a connection with a DISCONNECT that says why, where the version has one, and closes it [MQTT-4.13.1-1].
    pub(super) fn end(
        &mut self,
        now: Instant,
        id: ConnectionId,
        reason: ReasonCode,
        what: Option<&str>,
        ending: Ending,
    ) {
        if let Some(up) = self.connections.get(&id).and_then(|connection| connection.up())
            && up.version == Version::V5
        {
            let stands = reason.stands_in(PacketSet::SERVER_DISCONNECT);
            let reason = if stands { reason } else { ReasonCode::UNSPECIFIED_ERROR };
            let mut properties = PropertiesBuf::default();
            if let Some(what) = what {
                properties.push(Property::ReasonString, Value::Text(what));
            }
            let disconnect = |properties| Packet::Disconnect(Disconnect { reason, properties });
            // The Reason String is left out where it would be too much [MQTT-3.14.2-3].
            let _ = self.try_send(now, id, &disconnect(properties.borrow()))
                || self.try_send(now, id, &disconnect(Properties::EMPTY));
        }
        self.detach(now, id, ending);
        self.close(now, id);
    }

    /// Closes a connection behind what was sent.
    pub(super) fn close(&mut self, now: Instant, id: ConnectionId) {
        let due = self.due(now);
        self.detach(now, id, Ending::Lost);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.link.close(due);
        self.over(id);
    }

    /// Ends a connection at once, as if the network had failed.
    pub(super) fn lose(&mut self, now: Instant, id: ConnectionId) {
        self.detach(now, id, Ending::Lost);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.link.abort(now);
        self.over(id);
    }

    /// The client has closed its end, or the network has failed.
    pub(super) fn gone(&mut self, now: Instant, id: ConnectionId) {
        self.detach(now, id, Ending::Lost);
        self.connections.remove(&id);
        self.ready.remove(&id);
    }

    /// A frozen connection that both sides have left is forgotten.
    fn over(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.stage = Stage::Over;
        if connection.link.frozen.as_ref().is_some_and(|frozen| frozen.closed) {
            self.connections.remove(&id);
            self.ready.remove(&id);
        } else {
            self.ready.insert(id);
        }
    }

    /// Takes the session off a connection, if it has one.
    fn detach(&mut self, now: Instant, id: ConnectionId, ending: Ending) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.up().is_none() {
            return;
        }
        let Stage::Up(up) = std::mem::replace(&mut connection.stage, Stage::Over) else { return };
        let Some(session) = self.sessions.get_mut(&up.session) else { return };
        let expires = match up.session_expiry {
            NEVER => None,
            seconds => Some(now.after_ms(u64::from(seconds) * SECOND_MS)),
        };
        session.disconnected(expires);
        if let Some(will) = up.will.filter(|_| ending == Ending::Lost) {
            let due = now.after_ms(u64::from(will.delay.min(up.session_expiry)) * SECOND_MS);
            session.pending_will = Some(PendingWill { due, will });
        }
        self.end_what_is_due(now, up.session);
        self.tell_clients(now);
    }

    /// Publishes the Will and ends the session, if their time has come.
    pub(super) fn end_what_is_due(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let is_over = matches!(session.presence, Presence::Away { expires: Some(at) } if at <= now);
        if is_over {
            return self.end_session(now, id);
        }
        if let Some(pending) = session.pending_will.take_if(|pending| pending.due <= now) {
            self.publish_will(now, id, pending.will);
        }
    }

    fn publish_will(&mut self, now: Instant, publisher: SessionId, will: Will) {
        let message = will.message(now);
        self.take(now, Some(publisher), message);
    }
}
