//! What comes in: one match over the packets. A rule is found by reading down.

use super::Session;
use super::connection::Stage;
use super::error::{Error, ErrorCode};
use super::inbox::Incoming;
use super::outbox::blame::Caution;
use super::time::Instant;
use crate::codec::{
    Ack, Auth, DecodeError, Packet, PacketId, PacketType, Properties, Property, Publish,
    ReasonCode, SubAck, Version,
};

impl Session {
    /// Applies the rule of a packet. `at`: where in the chunk its body begins; `None`: the body is
    /// [`Session::assembled`] from here on. `body` may end inside a payload of `len` bytes.
    #[inline]
    pub(super) fn process_packet(
        &mut self,
        now: Instant,
        first: u8,
        body: &[u8],
        len: usize,
        at: Option<usize>,
    ) -> Result<(), DecodeError> {
        self.out.stats.packets_received += 1;
        if let 0x30..=0x3F = first {
            return self.process_publish(first, body, len, at);
        }
        if let &[high, low] = body
            && let Some(id) = PacketId::new(u16::from_be_bytes([high, low]))
            && !self.out.events.tapped
            && let Some(up) = self.stage.up_mut()
        {
            // Beside messages, most of what comes is an acknowledgement in its short form: nothing
            // in it can be wrong.
            let ack = Ack { id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
            let out = &mut self.out;
            match PacketType::from_first_byte(first) {
                Some(PacketType::PubAck) => {
                    return self.outbox.process_puback(ack, &mut up.sending, out);
                }
                Some(PacketType::PubRec) => return self.outbox.process_pubrec(ack, up, out),
                Some(PacketType::PubComp) => {
                    return self.outbox.process_pubcomp(ack, &mut up.sending, out);
                }
                Some(PacketType::PubRel) => {
                    self.inbox.process_pubrel(ack, up, out);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.process_other(now, first, body, len)
    }

    fn process_publish(
        &mut self,
        first: u8,
        body: &[u8],
        len: usize,
        at: Option<usize>,
    ) -> Result<(), DecodeError> {
        let version = self.attempts.version();
        // What was decoded stays where it is: to copy what was just written costs more than to read it.
        let decoded = Publish::decode_header(version, first, body, len);
        let (publish, hints) = match &decoded {
            Ok((publish, hints)) => (publish, hints),
            Err(error) => return Err(*error),
        };
        let Some(up) = self.stage.up_mut() else {
            return Err(DecodeError::protocol("a packet before CONNACK"));
        };
        let incoming = Incoming { len, at, publish, hints };
        let own = &self.options.properties;
        self.inbox.process_publish(incoming, up, own, &mut self.subscriptions, &mut self.out)
    }

    /// A message that is larger than the application takes was skipped: it is acknowledged as if it
    /// had been delivered, so that the server does not send it again.
    #[cold]
    pub(super) fn process_skipped(&mut self, first: u8, body: &[u8]) -> Result<(), DecodeError> {
        self.out.stats.packets_received += 1;
        let version = self.attempts.version();
        let (publish, _) = Publish::decode_header(version, first, body, body.len())?;
        let Some(up) = self.stage.up_mut() else {
            return Err(DecodeError::protocol("a packet before CONNACK"));
        };
        self.inbox.process_skipped(&publish, up, &self.options.properties, &mut self.out)
    }

    /// What comes now and then. Apart from the rest: engines optimise function by function, and
    /// this is long.
    #[cold]
    #[inline(never)]
    fn process_other(
        &mut self,
        now: Instant,
        first: u8,
        body: &[u8],
        len: usize,
    ) -> Result<(), DecodeError> {
        let version = self.attempts.version();
        if let Stage::Handshaking(_) = self.stage
            && let Some(reason) = refusal_of_v4(version, first, body)
        {
            self.out.tap_incoming(PacketType::ConnAck, len, None, None, Some(reason));
            self.refused(now, reason, Properties::EMPTY);
            return Ok(());
        }
        let packet = Packet::decode_from_server(version, first, body)?;
        if self.out.events.tapped {
            let (id, reason) = id_and_reason(&packet);
            self.out.tap_incoming(packet.packet_type(), len, id, None, reason);
        }
        let is_first = matches!(packet, Packet::ConnAck(_) | Packet::Auth(_));
        if self.stage.up().is_none() && !is_first {
            return Err(DecodeError::protocol("a packet before CONNACK"));
        }
        if !self.options.properties.request_problem_information && has_problem_information(&packet)
        {
            // [MQTT-3.1.2-29]
            let what = "problem information that was not asked for";
            return Err(DecodeError::protocol(what));
        }
        match packet {
            Packet::ConnAck(connack) => return self.process_connack(now, connack),
            Packet::Auth(auth) => return self.process_auth(auth),
            _ => {}
        }
        let Some(up) = self.stage.up_mut() else {
            return Err(DecodeError::protocol("a packet before CONNACK"));
        };
        let out = &mut self.out;
        match packet {
            Packet::PubAck(ack) => self.outbox.process_puback(ack, &mut up.sending, out)?,
            Packet::PubRec(ack) => self.outbox.process_pubrec(ack, up, out)?,
            Packet::PubRel(ack) => self.inbox.process_pubrel(ack, up, out),
            Packet::PubComp(ack) => self.outbox.process_pubcomp(ack, &mut up.sending, out)?,
            Packet::SubAck(ack) => self.process_suback(ack, true)?,
            Packet::UnsubAck(ack) => self.process_suback(ack, false)?,
            Packet::PingResp => {
                if let Caution::Pinged { .. } = up.sending.caution {
                    up.sending.caution = Caution::OneByOne;
                }
                if let Some(round_trip) = up.keep_alive.pong(now) {
                    out.stats.round_trip = Some(round_trip);
                }
            }
            Packet::Disconnect(disconnect) => {
                let what = "the server ended the connection";
                let error = Error::new(ErrorCode::ServerDisconnected, what)
                    .with_reason(disconnect.reason)
                    .with_properties(disconnect.properties);
                self.fail(now, error, true);
                // Nobody reads any more.
                self.out.output.discard();
            }
            // They were looked at.
            Packet::ConnAck(_) | Packet::Auth(_) => unreachable!(),
            Packet::Publish(_)
            | Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => {
                return Err(DecodeError::protocol("a packet that only a client sends"));
            }
        }
        Ok(())
    }

    fn process_suback(&mut self, ack: SubAck<'_>, subscribe: bool) -> Result<(), DecodeError> {
        let Some(up) = self.stage.up_mut() else { return Ok(()) };
        let version = up.server.version;
        let codes = ack.codes.len();
        let answered = self.outbox.process_suback(ack.id, subscribe, codes, up, &mut self.out)?;
        if let Some(part) = answered {
            self.subscriptions.answered(&part, ack.codes, version, &mut self.out.events);
        }
        Ok(())
    }

    fn process_auth(&mut self, auth: Auth<'_>) -> Result<(), DecodeError> {
        let method = auth.properties.text(Property::AuthenticationMethod);
        if method.is_none() || method != self.options.authentication_method.as_deref() {
            let what = "an authentication method that was not asked for";
            return Err(DecodeError::protocol(what));
        }
        let again = match &mut self.stage {
            Stage::Handshaking(handshaking) if handshaking.authenticating => false,
            Stage::Up(up) | Stage::Closing(up, _) if up.reauthentication.is_some() => {
                if auth.reason == ReasonCode::SUCCESS {
                    let done = up.reauthentication.take();
                    self.out.done(done.and_then(|done| done.token));
                    return Ok(());
                }
                true
            }
            _ => return Err(DecodeError::protocol("an AUTH that was not asked for")),
        };
        if auth.reason != ReasonCode::CONTINUE_AUTHENTICATION {
            return Err(DecodeError::protocol("an AUTH that was not asked for"));
        }
        let data = auth.properties.binary(Property::AuthenticationData);
        self.ask_authenticator(false, again, data, auth.properties);
        Ok(())
    }
}

/// A server that knows only 3.1.1 refuses a CONNECT of MQTT 5 in its own form.
fn refusal_of_v4(version: Version, first: u8, body: &[u8]) -> Option<ReasonCode> {
    match *body {
        [0, code]
            if code > 0 && version == Version::V5 && first == PacketType::ConnAck.first_byte() =>
        {
            ReasonCode::from_return_code(code)
        }
        _ => None,
    }
}

/// The packet identifier and the reason code, for tracing.
fn id_and_reason(packet: &Packet<'_>) -> (Option<PacketId>, Option<ReasonCode>) {
    match packet {
        Packet::ConnAck(packet) => (None, Some(packet.reason)),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            (Some(ack.id), Some(ack.reason))
        }
        Packet::SubAck(packet) | Packet::UnsubAck(packet) => (Some(packet.id), None),
        Packet::Disconnect(packet) => (None, Some(packet.reason)),
        Packet::Auth(packet) => (None, Some(packet.reason)),
        _ => (None, None),
    }
}

/// Whether a packet that may do so only where it was asked for says more about a problem.
fn has_problem_information(packet: &Packet<'_>) -> bool {
    let properties = match packet {
        Packet::PubAck(Ack { properties, .. })
        | Packet::PubRec(Ack { properties, .. })
        | Packet::PubRel(Ack { properties, .. })
        | Packet::PubComp(Ack { properties, .. })
        | Packet::SubAck(SubAck { properties, .. })
        | Packet::UnsubAck(SubAck { properties, .. })
        | Packet::Auth(Auth { properties, .. }) => properties,
        _ => return false,
    };
    properties.get(Property::ReasonString).is_some()
        || properties.user_properties().next().is_some()
}
