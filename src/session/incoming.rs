//! What comes in: one match over the packets, a rule is found by reading down.

use super::*;

impl Session {
    /// `at`: where in the chunk the body begins; None: the body is [`Session::assembled`].
    #[inline]
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        first: u8,
        body: &[u8],
        len: usize,
        at: Option<usize>,
    ) -> Result<(), DecodeError> {
        self.stats.packets_received += 1;
        if let 0x30..=0x3F = first {
            return self.handle_publish(first, body, len, at);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if let &[high, low] = body
            && let Some(id) = PacketId::new(u16::from_be_bytes([high, low]))
            && connection.server.is_some()
            && !self.tapped
        {
            // Beside messages, most of what comes is an acknowledgement in its short form: nothing in it can be wrong.
            let ack = Ack { id, reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
            match PacketType::from_first_byte(first) {
                Some(PacketType::PubAck) => return self.handle_puback(ack),
                Some(PacketType::PubRec) => return self.handle_pubrec(ack),
                Some(PacketType::PubComp) => return self.handle_pubcomp(ack),
                Some(PacketType::PubRel) => {
                    self.handle_pubrel(ack);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.handle_other(now, first, body, len)
    }

    /// What comes now and then. Apart from the rest: engines optimise function by function, and this is long.
    #[cold]
    #[inline(never)]
    fn handle_other(
        &mut self,
        now: Instant,
        first: u8,
        body: &[u8],
        len: usize,
    ) -> Result<(), DecodeError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let packet = Packet::decode_from_server(connection.version, first, body)?;
        if self.tapped {
            let (id, reason) = match &packet {
                Packet::ConnAck(packet) => (None, Some(packet.reason)),
                Packet::PubAck(a) | Packet::PubRec(a) | Packet::PubRel(a) | Packet::PubComp(a) => {
                    (Some(a.id), Some(a.reason))
                }
                Packet::SubAck(packet) | Packet::UnsubAck(packet) => (Some(packet.id), None),
                Packet::Disconnect(packet) => (None, Some(packet.reason)),
                Packet::Auth(packet) => (None, Some(packet.reason)),
                _ => (None, None),
            };
            self.tap_incoming(packet.packet_type(), len, id, None, reason);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if connection.server.is_none() && !matches!(packet, Packet::ConnAck(_) | Packet::Auth(_)) {
            return Err(DecodeError::protocol("a packet before CONNACK"));
        }
        if !self.options.properties.request_problem_information
            && let Packet::PubAck(Ack { properties, .. })
            | Packet::PubRec(Ack { properties, .. })
            | Packet::PubRel(Ack { properties, .. })
            | Packet::PubComp(Ack { properties, .. })
            | Packet::SubAck(SubAck { properties, .. })
            | Packet::UnsubAck(SubAck { properties, .. })
            | Packet::Auth(Auth { properties, .. }) = &packet
            && (properties.get(Property::ReasonString).is_some()
                || properties.user_properties().next().is_some())
        {
            // [MQTT-3.1.2-29]
            return Err(DecodeError::protocol("problem information that was not asked for"));
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
                // Nobody reads any more.
                self.output.clear();
                let error =
                    Error::new(ErrorCode::ServerDisconnected, "the server ended the connection")
                        .with_reason(disconnect.reason)
                        .with_properties(disconnect.properties);
                self.fail(now, error, true);
            }
            Packet::Auth(auth) => self.handle_auth_packet(auth)?,
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

    pub(super) fn tap_incoming(
        &mut self,
        kind: PacketType,
        len: usize,
        id: Option<PacketId>,
        topic: Option<Rc<str>>,
        reason: Option<ReasonCode>,
    ) {
        if self.tapped {
            let bytes = 1 + codec::varint_size(len) + len;
            let tap = Tap { outgoing: false, kind, bytes: bytes as u32, id, topic, reason };
            self.events.push(Event::Packet(tap));
        }
    }

    pub(super) fn handle_publish(
        &mut self,
        first: u8,
        body: &[u8],
        len: usize,
        at: Option<usize>,
    ) -> Result<(), DecodeError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let (publish, hints) = Publish::decode_header(connection.version, first, body, len)?;
        if connection.server.is_none() {
            return Err(DecodeError::protocol("a packet before CONNACK"));
        }
        self.identifiers_seen.clear();
        if hints.subscription_ids > 0 {
            let ids = publish.properties.subscription_ids();
            self.identifiers_seen.extend(ids.map(SubscriptionId::get));
        }
        let seen = &self.identifiers_seen;
        let epoch = self.subscriptions.epoch();
        let aliased;
        let topic = match hints.topic_alias {
            None => publish.topic,
            Some(alias) => {
                aliased = connection.alias(
                    alias,
                    publish.topic,
                    self.options.properties.topic_alias_maximum,
                )?;
                aliased.as_bytes()
            }
        };
        let (slot, fresh) = match self.topics.find(topic, seen, epoch)? {
            Found::Known(slot) => (slot, false),
            Found::Fresh(slot) => (slot, true),
        };
        let receive_maximum = match connection.version {
            Version::V311 => 65_535,
            Version::V5 => u32::from(self.options.properties.receive_maximum),
        };
        if fresh {
            announce(slot, &self.topics, &mut self.subscriptions, &mut self.events);
        }
        let mut sequence = 0;
        let repeated = publish.qos == QoS::ExactlyOnce
            && publish.id.is_some_and(|id| self.received.contains(id));
        // What is repeated counts while its acknowledgement is owed: it may have to wait for one that is held.
        let under_way = if repeated { connection.owed.len() } else { connection.window };
        if publish.qos != QoS::AtMostOnce && under_way >= receive_maximum {
            return Err(DecodeError {
                reason: ReasonCode::RECEIVE_MAXIMUM_EXCEEDED,
                what: "more messages than Receive Maximum",
            });
        }
        if let Some(id) = publish.id {
            if repeated {
                // Sent again before its release: acknowledged, not shown [MQTT-4.3.3-10].
                connection.owed.push(id, publish.qos, Stage::Ready(ReasonCode::SUCCESS));
            } else {
                connection.window += 1;
                if publish.qos == QoS::ExactlyOnce {
                    self.received.insert(id);
                }
                sequence = connection.owed.push(id, publish.qos, Stage::Delivering);
            }
        }
        if self.tapped {
            let topic = self.topics.topic(slot).clone();
            self.tap_incoming(PacketType::Publish, len, publish.id, Some(topic), None);
        }
        if repeated {
            self.acknowledge_ready();
            return Ok(());
        }
        self.stats.messages_received += 1;
        let base = at.unwrap_or(0);
        let properties = if publish.properties.is_empty() || hints.only_for_routing {
            Span::default()
        } else {
            Span {
                start: (base + hints.properties_start) as u32,
                len: publish.properties.as_bytes().len() as u32,
            }
        };
        self.events.push(Event::Message(Message {
            slot,
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            assembled: at.is_none(),
            payload: Span {
                start: (base + hints.payload_start) as u32,
                len: (len - hints.payload_start) as u32,
            },
            properties,
            sequence,
        }));
        Ok(())
    }

    /// Sends the acknowledgements that are next in order.
    #[inline]
    pub(super) fn acknowledge_ready(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while let Some((id, qos, reason)) = connection.owed.pop_ready() {
            let kind =
                if qos == QoS::AtLeastOnce { PacketType::PubAck } else { PacketType::PubRec };
            let start = self.output.bytes.len();
            encode_ack(kind, id, reason, connection.version, &mut self.output.bytes);
            if qos == QoS::AtLeastOnce || reason.is_error() {
                connection.window = connection.window.saturating_sub(1);
                if qos == QoS::ExactlyOnce {
                    self.received.remove(id);
                }
            }
            self.stats.packets_sent += 1;
            if self.tapped {
                let bytes = (self.output.bytes.len() - start) as u32;
                let tap = Tap {
                    outgoing: true,
                    kind,
                    bytes,
                    id: Some(id),
                    topic: None,
                    reason: Some(reason),
                };
                self.events.push(Event::Packet(tap));
            }
            self.output.end_packet();
        }
    }

    pub(super) fn handle_puback(&mut self, ack: Ack<'_>) -> Result<(), DecodeError> {
        match self.identifiers.get(ack.id) {
            Entry::Publish { message, live: true } if message.qos == QoS::AtLeastOnce => {
                let (token, topic) = (message.token, message.topic.clone());
                self.identifiers.free(ack.id);
                self.acknowledged();
                self.complete(token, Some(&topic), ack.reason, ack.properties);
                Ok(())
            }
            Entry::Free => self.report_unasked(),
            _ => misplaced(),
        }
    }

    pub(super) fn handle_pubrec(&mut self, ack: Ack<'_>) -> Result<(), DecodeError> {
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
            self.write_ack(PacketType::PubRel, ack.id, reply);
        }
        Ok(())
    }

    pub(super) fn handle_pubrel(&mut self, ack: Ack<'_>) {
        let known = self.received.remove(ack.id);
        if known && let Some(connection) = &mut self.connection {
            connection.window = connection.window.saturating_sub(1);
        }
        let reason =
            if known { ReasonCode::SUCCESS } else { ReasonCode::PACKET_IDENTIFIER_NOT_FOUND };
        self.write_ack(PacketType::PubComp, ack.id, reason);
    }

    pub(super) fn handle_pubcomp(&mut self, ack: Ack<'_>) -> Result<(), DecodeError> {
        match self.identifiers.get(ack.id) {
            Entry::Release { token, live: true, .. } => {
                let token = *token;
                self.identifiers.free(ack.id);
                self.acknowledged();
                self.complete(token, None, ack.reason, ack.properties);
                Ok(())
            }
            // Of a PUBREL that said it knows of no message.
            Entry::Free => Ok(()),
            _ => misplaced(),
        }
    }

    /// An acknowledgement of nothing harms nothing, so the connection stays; the application hears of the first.
    #[cold]
    fn report_unasked(&mut self) -> Result<(), DecodeError> {
        if let Some(connection) = &mut self.connection
            && !std::mem::replace(&mut connection.unasked, true)
        {
            let what = "the server acknowledges what was not sent to it";
            self.events.push(Event::Error(Error::new(ErrorCode::ProtocolError, what)));
        }
        Ok(())
    }

    pub(super) fn acknowledged(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.live -= 1;
            connection.progressed = true;
        }
    }

    pub(super) fn handle_suback(
        &mut self,
        ack: SubAck<'_>,
        subscribe: bool,
    ) -> Result<(), DecodeError> {
        match (self.identifiers.get(ack.id), subscribe) {
            (Entry::Subscribe(part), true) | (Entry::Unsubscribe(part), false) => {
                if part.len() != ack.codes.len()
                    && !(ack.codes.is_empty() && !subscribe && self.version == Version::V311)
                {
                    let what =
                        "an acknowledgement with another number of reason codes than filters";
                    return Err(DecodeError::protocol(what));
                }
                if let Entry::Subscribe(part) | Entry::Unsubscribe(part) =
                    self.identifiers.free(ack.id)
                {
                    self.subscriptions.answered(&part, ack.codes, self.version, &mut self.events);
                }
                Ok(())
            }
            (Entry::Free, _) => self.report_unasked(),
            _ => misplaced(),
        }
    }

    pub(super) fn handle_auth_packet(&mut self, auth: Auth<'_>) -> Result<(), DecodeError> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let method = auth.properties.text(Property::AuthenticationMethod);
        if method.is_none() || method != self.options.authentication_method.as_deref() {
            return Err(DecodeError::protocol("an authentication method that was not asked for"));
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
            _ => Err(DecodeError::protocol("an AUTH that was not asked for")),
        }
    }

    pub(super) fn write_ack(&mut self, kind: PacketType, id: PacketId, reason: ReasonCode) {
        let start = self.output.bytes.len();
        encode_ack(kind, id, reason, self.version, &mut self.output.bytes);
        self.wrote(kind, start, Some(id), None, Some(reason));
    }
}

#[cold]
fn misplaced() -> Result<(), DecodeError> {
    Err(DecodeError::protocol("an acknowledgement that does not fit what was sent"))
}

/// Says what a slot stands for from here on.
#[cold]
#[inline(never)]
fn announce(slot: u32, topics: &Slots, subscriptions: &mut Subscriptions, events: &mut Events) {
    let topic = topics.topic(slot).clone();
    let identifiers = topics.identifiers(slot).clone();
    let routes = subscriptions.routes(&topic, &identifiers);
    events.push(Event::Slot { slot, topic, routes, identifiers });
}
