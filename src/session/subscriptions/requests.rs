//! SUBSCRIBE and UNSUBSCRIBE under way: which requests there are, what is sent of them next, and
//! the answers.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Index;

use super::filter::{Answer, Sending};
use super::filters::Filters;
use super::identifiers::Groups;
use super::request::{Kind, Part, Request, RequestId};
use super::slab::Slab;
use crate::codec::{
    PacketId, PropertiesBuf, ReasonCode, TopicFilter, Version, encode_subscribe, encode_unsubscribe,
};
use crate::session::error::{Error, ErrorCode};
use crate::session::event::{ServerInfo, Token, keep};
use crate::session::outbox::blame::{Loss, SUSPECT};

/// The bytes of a SUBSCRIBE that restores subscriptions, where the server allows more.
const RESTORE_BYTES: u32 = 32 * 1024;

/// A part that cannot be sent: the request that it belongs to, and why.
pub(super) struct Unsendable {
    pub request: RequestId,
    pub error: Box<Error>,
}

/// All requests that are not completed.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Requests {
    requests: Slab<RequestId, Request>,
    /// Parts to be sent, in this order.
    waiting: VecDeque<Part>,
    /// The packet that was sent last.
    last_sending: Option<Sending>,
    /// How many filters go in one packet at most. `None`: any number. It is halved when the server
    /// hangs up on a packet with several filters: one of them may be at fault, or their number.
    most: Option<usize>,
}

impl Index<RequestId> for Requests {
    type Output = Request;

    fn index(&self, id: RequestId) -> &Request {
        &self.requests[id]
    }
}

impl Requests {
    /// Whether there is nothing to send.
    pub(super) fn nothing_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether all requests restore subscriptions, so that none is the application's.
    pub(super) fn all_restore(&self) -> bool {
        self.requests.iter().all(|(_, request)| request.kind.restores())
    }

    /// Finds the request of a call that waits.
    pub(super) fn find(&self, token: Token) -> Option<RequestId> {
        let mut requests = self.requests.iter();
        requests.find(|(_, request)| request.token == Some(token)).map(|(id, _)| id)
    }

    /// Adds a request, which is sent after all others. `properties` are those of an UNSUBSCRIBE.
    pub(super) fn add(
        &mut self,
        request: Request,
        properties: PropertiesBuf,
        filters: &mut Filters,
    ) -> RequestId {
        for item in &request.items {
            filters.request_began(item.filter);
        }
        let items = (0..request.items.len() as u32).collect();
        let id = self.requests.insert(request);
        let part =
            Part { request: id, items, properties, sending: None, repeated: false, losses: 0 };
        self.waiting.push_back(part);
        id
    }

    /// Moves what was added last to the front, so that it is sent next.
    pub(super) fn move_last_to_front(&mut self) {
        self.waiting.rotate_right(1);
    }

    /// The Subscription that a request asks for has ended.
    pub(super) fn subscription_ended(&mut self, id: RequestId) {
        let kind = &mut self.requests[id].kind;
        if let Kind::Subscribe(handle) = *kind {
            *kind = Kind::SubscribeEnded(handle);
        }
    }

    /// Nobody waits for a request any more.
    pub(super) fn abandon(&mut self, id: RequestId) {
        self.requests[id].token = None;
    }

    /// Takes back a request of which nothing was sent.
    pub(super) fn withdraw(&mut self, id: RequestId, filters: &mut Filters) -> Request {
        keep(&mut self.waiting, |part| part.request != id);
        self.remove(id, filters)
    }

    /// Takes out a request if all of it is answered.
    pub(super) fn complete(&mut self, id: RequestId, filters: &mut Filters) -> Option<Request> {
        self.requests[id].is_answered().then(|| self.remove(id, filters))
    }

    fn remove(&mut self, id: RequestId, filters: &mut Filters) -> Request {
        let request = self.requests.remove(id);
        for item in &request.items {
            filters.request_ended(item.filter);
        }
        request
    }

    /// Encodes the next waiting part into `out` under a packet identifier. Returns whether it is a
    /// SUBSCRIBE, and the part.
    pub(super) fn send(
        &mut self,
        packet_id: PacketId,
        server: &ServerInfo,
        filters: &mut Filters,
        out: &mut Vec<u8>,
    ) -> Option<Result<(bool, Part), Unsendable>> {
        loop {
            let mut part = self.waiting.pop_front()?;
            let rest = self.most.and_then(|most| part.split_off(most));
            self.put_first(rest);
            let result = self
                .prepare(&mut part, server, filters)
                .and_then(|()| self.encode(&part, packet_id, server, filters, out));
            let Err(error) = result else {
                let subscribes = self.requests[part.request].kind != Kind::Unsubscribe;
                return Some(Ok((subscribes, self.sent(part))));
            };
            if error.code == ErrorCode::PacketTooLarge
                && let Some(rest) = part.split_off(part.len() / 2)
            {
                self.waiting.push_front(rest);
                self.waiting.push_front(part);
                continue;
            }
            let code = error.reason.unwrap_or(ReasonCode::PACKET_TOO_LARGE);
            return Some(Err(self.give_up(&part, code, error, filters)));
        }
    }

    /// Answers a part that cannot be sent, in the place of the server.
    fn give_up(
        &mut self,
        part: &Part,
        code: ReasonCode,
        error: Box<Error>,
        filters: &mut Filters,
    ) -> Unsendable {
        for &item in &part.items {
            self.answer(part, item, code, filters);
        }
        Unsendable { request: part.request, error }
    }

    /// Whether a part that waits may be what has ended the last connections.
    pub(super) fn is_suspected(&self) -> bool {
        self.waiting.iter().any(|part| part.losses >= SUSPECT)
    }

    /// Whether nobody waits for a part, and the Subscription that it is for has ended.
    pub(super) fn is_withdrawn(&self, part: &Part) -> bool {
        let request = &self.requests[part.request];
        request.token.is_none() && matches!(request.kind, Kind::SubscribeEnded(_))
    }

    /// Sends a part no more that ends the connection, or that was withdrawn. If it ends the
    /// connection and has several filters, it is sent again in halves.
    pub(super) fn leave(
        &mut self,
        mut part: Part,
        loss: Loss,
        filters: &mut Filters,
    ) -> Option<Unsendable> {
        part.repeated = true;
        if part.len() > 1 && !self.is_withdrawn(&part) {
            self.most = Some(part.len() / 2);
            self.waiting.push_front(part);
            return None;
        }
        let error = loss.error(match self.requests[part.request].kind {
            Kind::Unsubscribe => ErrorCode::UnsubscribeRefused,
            _ => ErrorCode::SubscribeRefused,
        });
        let code = error.reason.unwrap_or(ReasonCode::UNSPECIFIED_ERROR);
        Some(self.give_up(&part, code, error, filters))
    }

    /// Makes a part of a subscribe request fit for one packet. Fails if the server cannot do what
    /// it asks for.
    fn prepare(
        &mut self,
        part: &mut Part,
        server: &ServerInfo,
        filters: &mut Filters,
    ) -> Result<(), Box<Error>> {
        if self.requests[part.request].kind == Kind::Unsubscribe {
            return Ok(());
        }
        self.check(part, server, filters)?;
        self.identify(part, server, filters);
        self.divide(part, server, filters);
        Ok(())
    }

    /// Fails if the server cannot do what a part asks for. When subscriptions are restored, only
    /// the filters that this concerns stay in the part, because the others may well be restored.
    fn check(
        &mut self,
        part: &mut Part,
        server: &ServerInfo,
        filters: &Filters,
    ) -> Result<(), Box<Error>> {
        let request = &self.requests[part.request];
        let limit = |item: u32| {
            let filter = &filters[request.filter(item)];
            unsupported(&filter.topic_filter, filter.is_identifier_chosen(), server)
        };
        let Some((reason, what)) = part.items.iter().find_map(|&item| limit(item)) else {
            return Ok(());
        };
        if request.kind.restores() {
            let others = part.split(&|item| limit(item).is_none_or(|(other, _)| other != reason));
            self.put_first(others);
        }
        Err(Error::new(ErrorCode::NotSupported, what).with_reason(reason))
    }

    /// Gives every filter of a part a subscription identifier if the server supports them, and none
    /// if not.
    fn identify(&self, part: &Part, server: &ServerInfo, filters: &mut Filters) {
        let mut groups = Groups::default();
        for id in self.requests[part.request].filters(part) {
            let filter = &filters[id];
            if filter.wanted.is_none() || filter.is_identifier_chosen() {
                continue;
            }
            if !server.subscription_ids_available {
                filters.remove_identifier(id);
            } else if filter.identifier().is_none() {
                let identifier = groups.identifier(id, filters);
                filters.assign_identifier(id, identifier);
            }
        }
    }

    /// Keeps in a part the filters that can go in one SUBSCRIBE with the first: those with the same
    /// subscription identifier and User Properties. The others wait in a part of their own, which
    /// is sent next.
    fn divide(&mut self, part: &mut Part, server: &ServerInfo, filters: &Filters) {
        if server.version == Version::V311 {
            return;
        }
        let request = &self.requests[part.request];
        let key = |item: u32| {
            let wanted = filters[request.filter(item)].wanted.as_ref();
            wanted.map(|wanted| (wanted.identifier.get(), &wanted.user_properties))
        };
        let first = key(part.items[0]);
        let others = part.split(&|item| key(item) != first);
        self.put_first(others);
    }

    /// Encodes a part. Fails, and leaves `out` as it was, if the packet is too large.
    fn encode(
        &self,
        part: &Part,
        packet_id: PacketId,
        server: &ServerInfo,
        filters: &Filters,
        out: &mut Vec<u8>,
    ) -> Result<(), Box<Error>> {
        let request = &self.requests[part.request];
        let version = server.version;
        let start = out.len();
        let mut limit = server.maximum_packet_size;
        if request.kind == Kind::Unsubscribe {
            let texts = request.filters(part).map(|id| filters[id].topic_filter.as_str());
            encode_unsubscribe(version, packet_id, part.properties.borrow(), texts, out);
        } else {
            let named = request.filters(part).map(|id| {
                let filter = &filters[id];
                let mut options = filter.options();
                if request.kind == Kind::Confirm {
                    // Retained messages come only if the subscription turns out to be new.
                    options.retain_handling = options.retain_handling.max(1);
                }
                (filter.topic_filter.as_str(), options)
            });
            let first = &filters[request.filter(part.items[0])];
            let properties = first.subscribe_properties(version);
            encode_subscribe(version, packet_id, properties.borrow(), named, out);
            if request.kind.restores() && part.len() > 1 {
                limit = limit.min(RESTORE_BYTES);
            }
        }
        let size = out.len() - start;
        if size as u32 > limit {
            out.truncate(start);
            return Err(Error::too_large(size, limit));
        }
        Ok(())
    }

    fn sent(&mut self, mut part: Part) -> Part {
        self.last_sending = Some(Sending::after(self.last_sending));
        part.sending = self.last_sending;
        self.requests[part.request].committed = true;
        part
    }

    /// The connection is gone. Parts that were sent on it and not answered are sent again on the
    /// next one, before all that waits.
    pub(super) fn repeat(&mut self, parts: Vec<Part>) {
        for part in parts.into_iter().rev() {
            self.waiting.push_front(Part { repeated: true, ..part });
        }
    }

    /// The server has begun a new session, in which nothing was sent.
    pub(super) fn session_lost(&mut self) {
        for part in &mut self.waiting {
            part.repeated = false;
        }
    }

    /// Notes the codes of the SUBACK or UNSUBACK for a part.
    pub(super) fn answered(
        &mut self,
        part: &Part,
        codes: &[u8],
        version: Version,
        filters: &mut Filters,
    ) {
        for (at, &item) in part.items.iter().enumerate() {
            // MQTT 3.1.1 has one failure code, and none in an UNSUBACK.
            let code = match codes.get(at) {
                Some(0x80) if version == Version::V311 => ReasonCode::UNSPECIFIED_ERROR,
                Some(&code) => ReasonCode(code),
                None => ReasonCode::SUCCESS,
            };
            self.answer(part, item, code, filters);
        }
    }

    fn answer(&mut self, part: &Part, item: u32, code: ReasonCode, filters: &mut Filters) {
        let request = &mut self.requests[part.request];
        let filter = request.answer(item, code);
        let asked = request.kind.asked();
        let answer = Answer { asked, sending: part.sending, repeated: part.repeated, code };
        filters.answered(filter, &answer);
    }

    /// The client is closed. Returns who waits.
    pub(super) fn close(&mut self) -> Vec<Option<Token>> {
        self.waiting.clear();
        let requests = core::mem::take(&mut self.requests);
        requests.iter().map(|(_, request)| request.token).collect()
    }

    fn put_first(&mut self, part: Option<Part>) {
        if let Some(part) = part {
            self.waiting.push_front(part);
        }
    }
}

/// What the server cannot do with a filter, if anything. `identifier`: the application has chosen
/// one for it.
pub(crate) fn unsupported(
    filter: &TopicFilter,
    identifier: bool,
    server: &ServerInfo,
) -> Option<(ReasonCode, &'static str)> {
    if identifier && !server.subscription_ids_available && server.version == Version::V5 {
        return Some((
            ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            "the server does not support subscription identifiers",
        ));
    }
    if !server.wildcards_available && filter.has_wildcard() {
        return Some((
            ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
            "the server does not support wildcards in filters",
        ));
    }
    if !server.shared_available && filter.is_shared() {
        return Some((
            ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
            "the server does not support shared subscriptions",
        ));
    }
    None
}
