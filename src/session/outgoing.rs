//! What goes out: requests and messages, as far as the server's limits, the quota and the transport allow.

use super::*;

impl Session {
    /// DISCONNECT, without what makes it larger than the server takes [MQTT-3.2.2-15] [MQTT-3.14.2-3].
    pub(super) fn write_disconnect(
        &mut self,
        reason: ReasonCode,
        properties: &PropertiesBuf,
        session_expiry: Option<u32>,
    ) {
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
            Disconnect { reason, properties: properties.borrow() }
                .encode(self.version, &mut self.output.bytes);
            if self.output.bytes.len() - start <= limit {
                break;
            }
        }
        self.wrote(PacketType::Disconnect, start, None, None, Some(reason));
    }

    #[inline]
    pub(super) fn wrote(
        &mut self,
        kind: PacketType,
        start: usize,
        id: Option<PacketId>,
        topic: Option<&Rc<str>>,
        reason: Option<ReasonCode>,
    ) {
        self.stats.packets_sent += 1;
        if self.tapped {
            let bytes = (self.output.bytes.len() - start) as u32;
            let tap = Tap { outgoing: true, kind, bytes, id, topic: topic.cloned(), reason };
            self.events.push(Event::Packet(tap));
        }
        self.output.end_packet();
    }

    #[inline]
    pub(super) fn sent_message(&mut self, start: usize, id: Option<PacketId>, topic: &Rc<str>) {
        self.stats.messages_sent += 1;
        self.wrote(PacketType::Publish, start, id, Some(topic), None);
    }

    /// Sends the SUBSCRIBE and UNSUBSCRIBE packets that wait, as far as packet identifiers go.
    #[inline]
    pub(super) fn send_requests(&mut self) {
        if !self.subscriptions.nothing_waits() {
            self.send_requests_slowly();
        }
    }

    #[cold]
    #[inline(never)]
    fn send_requests_slowly(&mut self) {
        let Some(Some(server)) =
            self.connection.as_ref().map(|connection| connection.server.clone())
        else {
            return;
        };
        while !self.subscriptions.nothing_waits() {
            let Some(id) = self.identifiers.vacant() else { return };
            let start = self.output.bytes.len();
            let sent =
                self.subscriptions.send(id, &server, &mut self.output.bytes, &mut self.events);
            let Some((subscribes, part)) = sent else { return };
            let (kind, entry) = if subscribes {
                (PacketType::Subscribe, Entry::Subscribe(part))
            } else {
                (PacketType::Unsubscribe, Entry::Unsubscribe(part))
            };
            self.identifiers.put(id, entry);
            self.wrote(kind, start, Some(id), None, None);
        }
    }

    /// Whether one more QoS 1 or 2 message may be under way [MQTT-3.3.4-7].
    #[inline]
    pub(super) fn has_quota(&self) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        let Some(server) = &connection.server else { return false };
        connection.live < u32::from(server.receive_maximum)
            && self.resend.is_empty()
            && !self.identifiers.is_full()
    }

    /// Sends what the quota, the limits and the transport allow: first what an earlier connection left unacknowledged,
    /// then what waits.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        if self.connection.as_ref().is_none_or(|connection| connection.server.is_none()) {
            return;
        }
        while !self.blocked {
            let Some(&id) = self.resend.last() else { break };
            if !self.send_again(id) {
                break;
            }
            self.resend.pop();
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
    pub(super) fn fill_transport(&mut self) {
        self.blocked = self.pending_output() > TRANSPORT_FULL;
    }

    /// One message or release that an earlier connection left. False: the quota is used up.
    pub(super) fn send_again(&mut self, id: PacketId) -> bool {
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
                encode_ack(
                    PacketType::PubRel,
                    id,
                    ReasonCode::SUCCESS,
                    connection.version,
                    &mut self.output.bytes,
                );
                self.wrote(PacketType::PubRel, start, Some(id), None, None);
            }
            Entry::Publish { .. } if full => return false,
            Entry::Publish { message, live } => {
                if let Err(error) = check_message(message, server) {
                    // The server has come back with other limits.
                    let token = message.token;
                    if message.qos == QoS::AtLeastOnce {
                        self.identifiers.free(id);
                    } else {
                        // It may have the message: until it forgets the identifier, another one would pass for a copy.
                        let order = self.order;
                        self.order += 1;
                        *self.identifiers.get(id) = Entry::Release { token: 0, order, live: true };
                        connection.live += 1;
                        self.write_ack(
                            PacketType::PubRel,
                            id,
                            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                        );
                    }
                    self.fail_message(token, error);
                    return true;
                }
                let publish = message.packet(Some(id), true);
                publish.encode_header(
                    connection.version,
                    None,
                    message.payload.len(),
                    &mut self.output.bytes,
                );
                self.output.bytes.extend_from_slice(&message.payload);
                *live = true;
                connection.live += 1;
                let topic = message.topic.clone();
                self.sent_message(start, Some(id), &topic);
            }
            _ => {}
        }
        true
    }

    /// Sends a message for the first time. There is a connection, and quota.
    pub(super) fn send_message(&mut self, now: Instant, mut message: Box<Outgoing>) {
        if let Some((since, seconds)) = message.expiry.take() {
            let waited = now.since_ms(since) / 1_000;
            if waited > 0 && waited >= u64::from(seconds) {
                let error =
                    Error::new(ErrorCode::Expired, "the message expired before it could be sent");
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
            let publish = message.packet(None, false);
            let out = &mut self.output.bytes;
            match encode_publish(
                connection,
                publish,
                &message.topic,
                &message.payload,
                message.alias,
                limit,
                out,
            ) {
                Ok(()) => {
                    self.sent_message(start, None, &message.topic);
                    self.complete(message.token, None, ReasonCode::SUCCESS, Properties::EMPTY);
                }
                Err(error) => self.fail_message(message.token, error.with_topic(&message.topic)),
            }
            return;
        }
        let alias = message.alias.take();
        let topic = message.topic.clone();
        let Some(id) = self.identifiers.vacant() else {
            return self.waiting.push_front([message].into());
        };
        let publish = message.packet(Some(id), false);
        let out = &mut self.output.bytes;
        match encode_publish(connection, publish, &topic, &message.payload, alias, limit, out) {
            Ok(()) => {
                connection.live += 1;
                message.sent = true;
                self.identifiers.put(id, Entry::Publish { message, live: true });
                self.sent_message(start, Some(id), &topic);
            }
            Err(error) => self.fail_message(message.token, error.with_topic(&topic)),
        }
    }

    pub(super) fn complete(
        &mut self,
        token: Token,
        topic: Option<&Rc<str>>,
        reason: ReasonCode,
        properties: Properties<'_>,
    ) {
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

    pub(super) fn fail_message(&mut self, token: Token, error: Box<Error>) {
        if token != 0 {
            self.events.push(Event::Failed { token, error });
        }
    }
}

pub(super) fn too_large(size: usize, limit: u32) -> Box<Error> {
    let mut error =
        Error::new(ErrorCode::PacketTooLarge, "the packet is larger than the server accepts");
    error.size = Some((size as u32, limit));
    error
}

/// Whether the server takes such a message at all.
pub(super) fn check_message(message: &Outgoing, server: &Server) -> Result<(), Box<Error>> {
    let refuse = |what, reason| {
        Err(Error::new(ErrorCode::NotSupported, what)
            .with_reason(reason)
            .with_topic(&message.topic))
    };
    if message.qos > server.maximum_qos {
        return refuse("the server does not support this QoS", ReasonCode::QOS_NOT_SUPPORTED);
    }
    if message.retain && !server.retain {
        return refuse(
            "the server does not support retained messages",
            ReasonCode::RETAIN_NOT_SUPPORTED,
        );
    }
    if message.alias.is_some_and(|alias| alias > server.topic_alias_maximum) {
        return refuse(
            "the topic alias is above the server's maximum",
            ReasonCode::TOPIC_ALIAS_INVALID,
        );
    }
    let extra = if message.expiry.is_some() { 5 } else { 0 };
    let size =
        message.packet(None, false).size(server.version, message.alias, message.payload.len())
            + extra;
    if size > server.maximum_packet_size as usize {
        return Err(too_large(size, server.maximum_packet_size).with_topic(&message.topic));
    }
    Ok(())
}

/// Writes a PUBLISH, with a topic alias where that helps and fits.
#[inline]
pub(super) fn encode_publish(
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
    let naming = if manual.is_some() || size + 4 > limit as usize {
        Naming::Topic
    } else {
        connection.naming(topic)
    };
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
