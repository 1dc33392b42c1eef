//! Everything that leaves the session: bytes for the transport, events for the application,
//! commands for the driver, and the counts of them.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;

use super::error::{Error, ErrorCode};
use super::event::{Command, Event, Events, Stats, Tap, Token, keep};
use super::journal::Journal;
use super::output::Output;
use crate::codec::{
    PacketId, PacketType, Properties, ReasonCode, Version, encode_ack, varint_size,
};

/// Where the rules of the session leave what comes of them.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Outlet {
    pub output: Output,
    pub events: Events,
    pub commands: VecDeque<Command>,
    pub journal: Journal,
    pub stats: Stats,
}

impl Outlet {
    /// Gives back the memory of what has left.
    pub(super) fn rest(&mut self) {
        self.output.rest();
        self.events.rest();
    }

    /// A packet was written from `start` on.
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
        if self.events.tapped {
            let bytes = (self.output.bytes.len() - start) as u32;
            let topic = topic.cloned();
            self.events.push(Event::Packet(Tap { outgoing: true, kind, bytes, id, topic, reason }));
        }
        self.output.end_packet();
    }

    /// A PUBLISH was written from `start` on.
    #[inline]
    pub(super) fn wrote_message(&mut self, start: usize, id: Option<PacketId>, topic: &Rc<str>) {
        self.stats.messages_sent += 1;
        self.wrote(PacketType::Publish, start, id, Some(topic), None);
    }

    /// Writes a PUBACK, PUBREC, PUBREL or PUBCOMP.
    #[inline]
    pub(super) fn write_ack(
        &mut self,
        kind: PacketType,
        id: PacketId,
        reason: ReasonCode,
        version: Version,
    ) {
        let start = self.output.bytes.len();
        encode_ack(kind, id, reason, version, &mut self.output.bytes);
        self.wrote(kind, start, Some(id), None, Some(reason));
    }

    /// A packet came whose body has `len` bytes.
    pub(super) fn tap_incoming(
        &mut self,
        kind: PacketType,
        len: usize,
        id: Option<PacketId>,
        topic: Option<Rc<str>>,
        reason: Option<ReasonCode>,
    ) {
        if self.events.tapped {
            let bytes = (1 + varint_size(len) + len) as u32;
            let tap = Tap { outgoing: false, kind, bytes, id, topic, reason };
            self.events.push(Event::Packet(tap));
        }
    }

    /// A message of the application is done: it arrived, or the server refused it.
    pub(super) fn complete(
        &mut self,
        token: Option<Token>,
        topic: Option<&Rc<str>>,
        reason: ReasonCode,
        properties: Properties<'_>,
    ) {
        let Some(token) = token else { return };
        if !reason.is_error() || reason == ReasonCode::PACKET_IDENTIFIER_NOT_FOUND {
            if token == Token::EARLIER {
                return;
            }
            let properties = (!properties.is_empty()).then(|| Box::new(properties.into()));
            self.events.push(Event::Published { token, reason, properties });
            return;
        }
        let mut error = Error::new(ErrorCode::PublishRefused, "the server refused the message");
        // Quota, and what the server does not say more of: it may be different next time.
        error.retryable = matches!(
            reason,
            ReasonCode::UNSPECIFIED_ERROR
                | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
                | ReasonCode::QUOTA_EXCEEDED
        );
        error.topic = topic.cloned();
        self.fail(Some(token), error.with_reason(reason).with_properties(properties));
    }

    /// A request has failed. Nobody is told where nobody waits, unless it is of an earlier life:
    /// no message is lost without a word.
    pub(super) fn fail(&mut self, token: Option<Token>, error: Box<Error>) {
        match token {
            Some(Token::EARLIER) => self.report(error),
            Some(token) => self.events.push(Event::Failed { token, error }),
            None => {}
        }
    }

    /// A drain or a re-authentication is done.
    pub(super) fn done(&mut self, token: Option<Token>) {
        if let Some(token) = token {
            self.events.push(Event::Done(token));
        }
    }

    /// Something failed that belongs to no request.
    pub(super) fn report(&mut self, error: Box<Error>) {
        self.events.push(Event::Error(error));
    }

    /// Withdraws what an attempt that is over had still to ask for.
    pub(super) fn withdraw_questions(&mut self) {
        keep(&mut self.commands, |command| {
            matches!(command, Command::Close { .. } | Command::Judge { .. })
        });
    }
}
