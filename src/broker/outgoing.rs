//! What clients get: packets, messages out of their sessions, and what the broker says about itself.

use std::rc::Rc;

use super::connection::{Carried, Connection};
use super::log::{About, Direction};
use super::message::{Copy, Message, SECOND_MS};
use super::session::Next;
use super::{Broker, ConnectionId, SessionId};
use crate::codec::{Packet, QoS, Version, matches};
use crate::session::Instant;

const VERSION: &str = "$SYS/broker/version";
const UPTIME: &str = "$SYS/broker/uptime";
const CONNECTED: &str = "$SYS/broker/clients/connected";

impl Broker {
    /// When something that is written now leaves.
    pub(super) fn due(&self, now: Instant) -> Instant {
        now.after_ms(self.faults.delay_ms)
    }

    /// Sends a packet. Where it is larger than the client takes, the connection cannot go on.
    pub(super) fn send(&mut self, now: Instant, id: ConnectionId, packet: &Packet<'_>) {
        if !self.try_send(now, id, packet) {
            self.close(now, id);
        }
    }

    /// Sends a packet if it is not larger than the client takes [MQTT-3.1.2-24].
    pub(super) fn try_send(&mut self, now: Instant, id: ConnectionId, packet: &Packet<'_>) -> bool {
        let Some(up) = self.connections.get(&id).and_then(Connection::up) else { return true };
        let (version, client_id) = (up.version, up.client_id.clone());
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes);
        let fits = bytes.len() <= up.maximum_packet_size as usize;
        if fits {
            self.write(now, id, version, &client_id, None, &bytes);
        }
        fits
    }

    /// Writes an encoded packet, and logs it.
    pub(super) fn write(
        &mut self,
        now: Instant,
        id: ConnectionId,
        version: Version,
        client_id: &Rc<str>,
        topic: Option<&Rc<str>>,
        bytes: &[u8],
    ) {
        let due = self.due(now);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.link.write(due, bytes);
        self.ready.insert(id);
        let direction = Direction::Out;
        self.log.add_encoded(About { at: now, client_id, direction, version, topic }, bytes);
    }

    /// Counts what leaves, and sends what had no room before.
    pub(super) fn transmitted(&mut self, now: Instant, id: ConnectionId, bytes: &mut Vec<u8>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.link.carry(bytes.len()) {
            Carried::All => self.pump(now, id),
            Carried::Cut(passed) => {
                bytes.truncate(passed);
                self.lose(now, id);
            }
        }
    }

    /// Gives a session its copy of a message.
    pub(super) fn offer(&mut self, now: Instant, id: SessionId, copy: Copy) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let connection = session.connection();
        if copy.qos > QoS::AtMostOnce {
            session.enqueue(copy);
            if let Some(connection) = connection {
                self.pump(now, connection);
            }
        } else if let Some(connection) = connection {
            self.send_message(now, connection, &Next { id: None, dup: false, copy });
        }
    }

    /// Sends what waits in the session, as far as the client's Receive Maximum and the transport let it.
    pub(super) fn pump(&mut self, now: Instant, id: ConnectionId) {
        while let Some(connection) = self.connections.get(&id) {
            let Some(up) = connection.up() else { return };
            let (session_id, receive_maximum) = (up.session, up.receive_maximum);
            if connection.link.is_crowded() {
                return;
            }
            let Some(session) = self.sessions.get_mut(&session_id) else { return };
            let Some(next) = session.next(now, receive_maximum) else { return };
            if !self.send_message(now, id, &next)
                && let (Some(session), Some(id)) = (self.sessions.get_mut(&session_id), next.id)
            {
                session.discard(id);
            }
        }
    }

    /// Sends a message. `false`: it is larger than the client takes. One of QoS 0 is dropped where too much waits.
    fn send_message(&mut self, now: Instant, id: ConnectionId, next: &Next) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        let is_crowded = connection.link.is_crowded();
        let Some(up) = connection.up_mut() else { return true };
        if is_crowded && next.copy.qos == QoS::AtMostOnce {
            return true;
        }
        let Some(bytes) = up.encode(now, next) else { return false };
        let (version, client_id) = (up.version, up.client_id.clone());
        self.write(now, id, version, &client_id, Some(&next.copy.message.topic), &bytes);
        true
    }

    // ------------------------------------------------------------------------------------ the broker's own topics

    /// What the broker says about itself, for a new subscription.
    pub(super) fn system_messages(&self, now: Instant, filter: &str) -> Vec<Rc<Message>> {
        let matching = self.system(now).into_iter().filter(|(topic, _)| matches(filter, topic));
        matching
            .map(|(topic, text)| Message::own(topic, text.as_bytes(), QoS::AtMostOnce, true).into())
            .collect()
    }

    fn system(&self, now: Instant) -> [(&'static str, String); 3] {
        let version = concat!("wasmqtt ", env!("CARGO_PKG_VERSION"), " test broker");
        let uptime = now.since_ms(self.started) / SECOND_MS;
        let connected = self.sessions.values().filter(|session| session.connection().is_some());
        [
            (VERSION, version.to_owned()),
            (UPTIME, format!("{uptime} seconds")),
            (CONNECTED, connected.count().to_string()),
        ]
    }

    /// The number of clients has changed.
    pub(super) fn tell_clients(&mut self, now: Instant) {
        self.tell(now, |topic| topic == CONNECTED);
    }

    /// How long the broker has run.
    pub(super) fn tell_uptime(&mut self, now: Instant) {
        self.tell(now, |topic| topic == UPTIME);
    }

    fn tell(&mut self, now: Instant, is_meant: impl Fn(&str) -> bool) {
        if !self.router.has_system_subscriptions() {
            return;
        }
        for (topic, text) in self.system(now) {
            if is_meant(topic) {
                let message = Message::own(topic, text.as_bytes(), QoS::AtMostOnce, true);
                self.deliver(now, None, &message.into());
            }
        }
    }
}
