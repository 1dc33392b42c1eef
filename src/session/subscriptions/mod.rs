//! The application's Subscriptions, and what the server is asked for them.
//!
//! Several Subscriptions to one filter are one subscription at the server, and several filters
//! travel in one SUBSCRIBE. There are three layers. This one knows what the application wants.
//! [`requests`] has the SUBSCRIBE and UNSUBSCRIBE packets under way, and [`filters`] what is known
//! of each filter at the server.
//!
//! Requests can be refused, left, cancelled, repeated and answered out of order. Whatever happens,
//! [`Subscriptions::settle`] looks at a filter as soon as nothing is under way for it, and sees to
//! it that the server has it if somebody wants it, and only then.

mod filter;
mod filters;
mod identifiers;
mod request;
mod requests;
mod slab;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;

use self::filter::{FilterId, Status};
use self::filters::{Filters, take_out};
use self::request::{Kind, Outcome, Request, RequestId};
use self::requests::Requests;
use super::error::{Error, ErrorCode};
use super::event::{Event, Events, Handle, ServerInfo, Token};
use super::outbox::Unanswered;
use super::outbox::blame::Loss;
use super::topic_table::{Epoch, Seen};
use crate::codec::{
    PacketId, PropertiesBuf, QoS, SubscribeOptions, SubscriptionId, TopicFilter, Version,
};

pub(super) use self::filter::{check_some, parse_filter};
pub(super) use self::request::Part;
pub(super) use self::requests::unsupported;

/// All Subscriptions of the application, and what is under way for them.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Subscriptions {
    filters: Filters,
    requests: Requests,
    /// The Subscriptions in force, by handle.
    subscriptions: Vec<Option<Subscription>>,
    /// How many Subscriptions are in force.
    count: usize,
}

/// A Subscription in force. It has at least one filter, and is a member of each.
#[derive(Clone, Hash, Debug)]
struct Subscription {
    /// Its filters, in the order in which they were given.
    filters: Vec<FilterId>,
    /// The request that asks for it, until it is completed.
    request: Option<RequestId>,
    /// The epoch since which stored messages are to come for it.
    asked: Epoch,
    /// The epoch in which the server's answer came.
    answered: Option<Epoch>,
}

/// What counts of a message with the retain flag.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub dup: bool,
    pub qos: QoS,
}

impl Subscriptions {
    /// Changes whenever [`Subscriptions::routes`] may return something else than before.
    pub(super) fn epoch(&self) -> Epoch {
        self.filters.epoch()
    }

    /// How many Subscriptions are in force.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether there is nothing to send.
    pub(super) fn nothing_waits(&self) -> bool {
        self.requests.nothing_waits()
    }

    /// Whether every request of the application has been answered.
    pub(super) fn settled(&self) -> bool {
        self.requests.all_restore()
    }

    /// Takes a Subscription in force. There must be at least one filter. A filter that is named
    /// twice is asked for once.
    pub(super) fn subscribe(
        &mut self,
        token: Option<Token>,
        handle: Handle,
        filters: &[(TopicFilter, SubscribeOptions)],
        identifier: Option<SubscriptionId>,
        user_properties: &PropertiesBuf,
    ) {
        let mut ids = Vec::with_capacity(filters.len());
        for (filter, options) in filters {
            let id = self.filters.add_member(filter, handle, *options, identifier, user_properties);
            ids.extend(id);
        }
        let request = self.ask(token, Kind::Subscribe(handle), &ids);
        let at = handle.index();
        if self.subscriptions.len() <= at {
            self.subscriptions.resize(at + 1, None);
        }
        let subscription = Subscription {
            filters: ids,
            request: Some(request),
            asked: self.filters.epoch(),
            answered: None,
        };
        let before = self.subscriptions[at].replace(subscription);
        assert!(before.is_none(), "the handle is in use");
        self.count += 1;
    }

    /// Ends a Subscription, if it is in force. Completes the token at once if the server need not
    /// be asked.
    pub(super) fn leave(
        &mut self,
        token: Option<Token>,
        handle: Handle,
        properties: PropertiesBuf,
        events: &mut Events,
    ) {
        let unwanted = self.end(handle);
        if !unwanted.is_empty() {
            self.ask_to_unsubscribe(token, &unwanted, true, properties);
        } else if let Some(token) = token {
            events.push(Event::Unsubscribed { token, codes: Vec::new() });
        }
    }

    /// Takes filters out of every Subscription, and asks the server to unsubscribe from them even
    /// if they are not known.
    pub(super) fn unsubscribe(
        &mut self,
        token: Option<Token>,
        filters: &[TopicFilter],
        properties: PropertiesBuf,
        events: &mut Events,
    ) {
        let mut ids = Vec::with_capacity(filters.len());
        let mut committed = false;
        for filter in filters {
            let id = self.filters.add(filter);
            committed |= self.filters[id].wanted.is_some();
            for handle in self.remove_members(id, &[]) {
                events.push(Event::Inactive { handle, error: None });
            }
            ids.push(id);
        }
        self.ask_to_unsubscribe(token, &ids, committed, properties);
    }

    /// Nobody waits for a request any more. If nothing of it was sent, it is dropped. A
    /// Subscription that it asked for ends. Returns false if there is no such request.
    pub(super) fn cancel(&mut self, token: Token, events: &mut Events) -> bool {
        let Some(id) = self.requests.find(token) else { return false };
        let Request { kind, committed, .. } = self.requests[id];
        self.requests.abandon(id);
        match kind {
            Kind::Subscribe(handle) if committed => {
                self.leave(None, handle, PropertiesBuf::default(), events);
            }
            Kind::Subscribe(handle) => _ = self.end(handle),
            _ => {}
        }
        if !committed {
            for item in self.requests.withdraw(id, &mut self.filters).items {
                if !self.settle(item.filter) {
                    // Another Subscription wants it, to which it was refused while this one waited.
                    self.ask(None, Kind::Restore, &[item.filter]);
                }
            }
        }
        true
    }

    /// Returns which Subscriptions a message goes to, and which filters match it. See
    /// [`Filters::routes`].
    pub(super) fn routes(&self, topic: &str, identifiers: &[u32]) -> (Vec<Handle>, Vec<FilterId>) {
        let filters_of = |handle| &*self.subscription(handle).filters;
        self.filters.routes(topic, identifiers, filters_of)
    }

    /// Leaves of the routes of a message with the retain flag those that need it, where it is a
    /// stored message: one with which the server answers a SUBSCRIBE [MQTT5 3.3.1.3].
    ///
    /// The server answers each SUBSCRIBE with a copy and does not say which one a copy is for, and
    /// copies may be late. So a Subscription needs the first stored message of a topic, and no
    /// other. It needs none if a message of the topic came since its SUBSCRIBE was answered, because
    /// the stored message would have come before that [MQTT5 4.6]. `filters` are those that match.
    #[inline(never)]
    pub(super) fn narrow(
        &self,
        filters: &[FilterId],
        routes: &mut Vec<Handle>,
        message: Stored,
        seen: &mut Seen,
    ) {
        let live = Epoch::number(seen.live);
        let stored = Epoch::number(seen.stored.replace(self.epoch()));
        // Who got what is sent again is not known.
        if message.dup || routes.len() < 2 {
            return;
        }
        let (mut is_for_all, mut is_kept_back, mut is_lowered) = (false, false, false);
        for &id in filters {
            // It may be for a filter that was just left.
            let Some(wanted) = &self.filters[id].wanted else {
                is_lowered = true;
                continue;
            };
            is_for_all |= wanted.options.retain_as_published;
            is_kept_back |= wanted.options.qos != QoS::AtMostOnce;
            is_lowered |= wanted.options.qos == QoS::AtMostOnce;
        }
        if is_for_all {
            return;
        }
        // Nothing keeps back stored messages of QoS 0. They come before the answer to a later
        // SUBSCRIBE. But the copy for another filter may be of another QoS, and late.
        let is_in_time = message.qos == QoS::AtMostOnce && !(is_kept_back && is_lowered);
        let mut last = 0;
        for &handle in routes.iter().filter(|_| is_in_time) {
            let own = self.subscription(handle);
            let asked = self.asked(own, filters);
            // A filter may have been asked for once more since the answer.
            if Epoch::number(own.answered) >= asked {
                last = last.max(asked);
            }
        }
        let mut needed = Vec::new();
        for &handle in &*routes {
            let own = self.subscription(handle);
            let asked = self.asked(own, filters);
            let answered = Epoch::number(own.answered);
            let since = answered.max(asked);
            let missed = answered > 0 && (live >= since || last > since);
            if asked > stored && !missed {
                needed.push(handle);
            }
        }
        if needed.is_empty() && seen.spare == 0 {
            // Nobody has asked: the server passes the flag on with every message, or it has lost
            // the subscription.
            return;
        }
        // This is one of the copies.
        seen.spare = seen.spare + self.copies(&needed, filters) - 1;
        *routes = needed;
    }

    /// How many copies of a stored message come for Subscriptions that need it: one for each filter
    /// of each request.
    fn copies(&self, needed: &[Handle], filters: &[FilterId]) -> usize {
        let mut copies = 0;
        for id in filters {
            let mut before = 0;
            for &handle in needed {
                let own = self.subscription(handle);
                let asked = self.asked(own, filters);
                // One request restores several Subscriptions.
                if own.filters.contains(id) && asked != before {
                    before = asked;
                    copies += 1;
                }
            }
        }
        copies
    }

    /// The epoch since which stored messages are to come for a Subscription, by some filters.
    #[inline(never)]
    fn asked(&self, own: &Subscription, filters: &[FilterId]) -> u32 {
        let mut asked = Some(own.asked);
        for id in filters {
            if own.filters.contains(id) {
                asked = asked.max(self.filters[*id].asked_again);
            }
        }
        Epoch::number(asked)
    }

    /// Encodes the next waiting part into `out` under packet identifier `id`. Returns whether it is
    /// a SUBSCRIBE, and the part. Parts that cannot be sent to this server fail on the way.
    pub(super) fn send(
        &mut self,
        id: PacketId,
        server: &ServerInfo,
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Option<(bool, Part)> {
        loop {
            match self.requests.send(id, server, &mut self.filters, out)? {
                Ok(sent) => return Some(sent),
                Err(unsendable) => {
                    self.finish(unsendable.request, Some(unsendable.error), events);
                }
            }
        }
    }

    /// Takes the codes of the SUBACK or UNSUBACK that answers a part.
    pub(super) fn answered(
        &mut self,
        part: &Part,
        codes: &[u8],
        version: Version,
        events: &mut Events,
    ) {
        self.requests.answered(part, codes, version, &mut self.filters);
        self.finish(part.request, None, events);
    }

    /// The connection is gone. Parts that it left unanswered are sent again on the next one, before
    /// what waits, but not those that were withdrawn, and not the one that ends the connection.
    pub(super) fn cut(&mut self, unanswered: Unanswered, loss: Loss, events: &mut Events) {
        // The value that a Subscription got with the copy of another may have changed unheard.
        self.need_stored(false);
        let Unanswered { mut parts, guilty, .. } = unanswered;
        let mut left: Vec<_> =
            parts.extract_if(.., |part| self.requests.is_withdrawn(part)).collect();
        left.extend(guilty);
        self.requests.repeat(parts);
        for part in left {
            if let Some(left) = self.requests.leave(part, loss, &mut self.filters) {
                self.finish(left.request, Some(left.error), events);
            }
        }
    }

    /// Whether a request that waits may be what has ended the last connections.
    pub(super) fn is_suspected(&self) -> bool {
        self.requests.is_suspected()
    }

    /// The server has begun a new session. What was granted is asked for again, or else its
    /// Subscriptions end.
    pub(super) fn session_lost(&mut self, resubscribe: bool, events: &mut Events) {
        self.requests.session_lost();
        let granted = self.filters.granted();
        self.filters.session_lost();
        if resubscribe {
            return self.restore(Kind::Restore, granted);
        }
        for id in granted {
            // Those whose SUBSCRIBE is still to be answered were never in the lost session.
            let mut new = self.filters[id].members().to_vec();
            new.retain(|&handle| self.awaits_answer(handle, id));
            for handle in self.remove_members(id, &new) {
                events.push(Event::Inactive { handle, error: None });
            }
            self.settle(id);
        }
    }

    /// The server may have begun a new session without our knowledge. What was granted is asked for
    /// once more.
    pub(super) fn session_doubtful(&mut self) {
        let granted = self.filters.granted();
        self.restore(Kind::Confirm, granted);
    }

    /// The client is closed. Returns the tokens that somebody waits for.
    pub(super) fn close(&mut self) -> Vec<Option<Token>> {
        self.requests.close()
    }

    /// Asks once more for those of the filters that are wanted and not asked for anyway.
    fn restore(&mut self, kind: Kind, mut ids: Vec<FilterId>) {
        self.need_stored(true);
        ids.retain(|&id| self.filters[id].wanted.is_some() && self.filters[id].requests == 0);
        if !ids.is_empty() {
            self.ask(None, kind, &ids);
            // What the application has asked since may be to leave one of them.
            self.requests.move_last_to_front();
        }
    }

    /// Stored messages that come from here on are needed: by those Subscriptions whose SUBSCRIBE is
    /// answered, because one request restores them all, or by the others, each of whose SUBSCRIBEs
    /// is sent again.
    #[inline(never)]
    fn need_stored(&mut self, answered: bool) {
        self.filters.routes_changed();
        for own in self.subscriptions.iter_mut().flatten() {
            if own.answered.is_some() != answered {
                continue;
            }
            if !answered {
                self.filters.routes_changed();
            }
            own.asked = self.filters.epoch();
            own.answered = own.answered.map(|_| own.asked);
        }
    }

    /// Whether the call that made a Subscription is still to be answered for one of its filters.
    fn awaits_answer(&self, handle: Handle, id: FilterId) -> bool {
        self.subscription(handle).request.is_some_and(|request| {
            let mut items = self.requests[request].items.iter();
            items.any(|item| item.filter == id && item.code.is_none())
        })
    }

    /// Completes a request once all of it is answered. `unsendable` is why one of its parts could
    /// not be sent.
    fn finish(&mut self, id: RequestId, unsendable: Option<Box<Error>>, events: &mut Events) {
        let Some(request) = self.requests.complete(id, &mut self.filters) else { return };
        let outcome = Outcome::new(&request, unsendable, &self.filters);
        match request.kind {
            Kind::Subscribe(handle) => {
                let has_ended = self.remove_refused(handle, &request, &outcome);
                outcome.report_subscribe(handle, events);
                if has_ended && !outcome.is_failure() {
                    // What was granted had been left meanwhile.
                    events.push(Event::Inactive { handle, error: None });
                }
            }
            Kind::SubscribeEnded(handle) => outcome.report_subscribe(handle, events),
            Kind::Unsubscribe => outcome.report_unsubscribe(events),
            Kind::Restore | Kind::Confirm => {}
        }
        let mut lost = Vec::new();
        for item in &request.items {
            if !self.settle(item.filter) {
                lost.push(item.filter);
            }
        }
        if !lost.is_empty() {
            self.end_lost(&lost, &outcome, events);
        }
    }

    /// Takes the refused filters of a request out of its Subscription. Returns true if it has ended
    /// with that.
    fn remove_refused(&mut self, handle: Handle, request: &Request, outcome: &Outcome) -> bool {
        self.filters.routes_changed();
        let answered = Some(self.filters.epoch());
        let subscription = self.subscription_mut(handle);
        subscription.request = None;
        subscription.answered = answered;
        let mut refused = request.items.iter().zip(&outcome.codes);
        refused.any(|(item, code)| code.code.is_error() && self.remove_member(item.filter, handle))
    }

    /// Ends the Subscriptions to filters that were not restored.
    fn end_lost(&mut self, lost: &[FilterId], outcome: &Outcome, events: &mut Events) {
        let mut error =
            outcome.error(ErrorCode::SubscribeRefused, "a subscription was not restored");
        let is_lost =
            |text: &Rc<str>| lost.iter().any(|&id| self.filters[id].topic_filter.text() == text);
        error.filters.retain(|code| !code.code.is_error() || is_lost(&code.filter));
        for &id in lost {
            // An UNSUBSCRIBE may name a filter twice. The second time there is nothing left of it.
            if self.filters.get(id).is_none() {
                continue;
            }
            for handle in self.remove_members(id, &[]) {
                events.push(Event::Inactive { handle, error: Some(error.clone()) });
            }
            self.settle(id);
        }
        events.push(Event::Error(error));
    }

    /// Once no request names a filter any more, sees to it that the server has it if it is wanted,
    /// and only then. Returns false if it is wanted and was refused.
    fn settle(&mut self, id: FilterId) -> bool {
        // An UNSUBSCRIBE may name a filter twice. The second time there may be nothing left of it.
        let Some(filter) = self.filters.get(id).filter(|filter| filter.requests == 0) else {
            return true;
        };
        match (filter.wanted.is_some(), filter.status) {
            (true, Status::Granted(_)) => {}
            // An UNSUBSCRIBE that was sent again has undone it.
            (true, Status::Absent) => {
                self.filters.need_stored(id);
                self.ask(None, Kind::Confirm, &[id]);
            }
            (true, Status::Refused | Status::Uncertain) => return false,
            (false, Status::Granted(_) | Status::Uncertain) => {
                self.ask_to_unsubscribe(None, &[id], true, PropertiesBuf::default());
            }
            (false, Status::Absent | Status::Refused) => self.filters.remove(id),
        }
        true
    }

    fn ask(&mut self, token: Option<Token>, kind: Kind, ids: &[FilterId]) -> RequestId {
        let request = Request::new(token, kind, ids, false);
        self.requests.add(request, PropertiesBuf::default(), &mut self.filters)
    }

    fn ask_to_unsubscribe(
        &mut self,
        token: Option<Token>,
        ids: &[FilterId],
        committed: bool,
        properties: PropertiesBuf,
    ) {
        let request = Request::new(token, Kind::Unsubscribe, ids, committed);
        self.requests.add(request, properties, &mut self.filters);
    }

    /// Ends a Subscription, if it is in force. Returns those of its filters that nobody wants any
    /// more.
    fn end(&mut self, handle: Handle) -> Vec<FilterId> {
        let subscription = self.subscriptions.get_mut(handle.index());
        // The application may leave a Subscription that has ended already.
        let Some(mut subscription) = subscription.and_then(Option::take) else {
            return Vec::new();
        };
        self.count -= 1;
        if let Some(request) = subscription.request {
            self.requests.subscription_ended(request);
        }
        subscription.filters.retain(|&id| self.filters.remove_member(id, handle));
        subscription.filters
    }

    /// Takes a filter out of all Subscriptions except some. Returns those that have ended with
    /// that.
    fn remove_members(&mut self, id: FilterId, except: &[Handle]) -> Vec<Handle> {
        let mut members = self.filters[id].members().to_vec();
        members.retain(|handle| !except.contains(handle) && self.remove_member(id, *handle));
        members
    }

    /// Takes a filter out of a Subscription in force, if it is there. Returns true if the
    /// Subscription has ended with that, because it has no filter left.
    fn remove_member(&mut self, id: FilterId, handle: Handle) -> bool {
        self.filters.remove_member(id, handle);
        let subscription = self.subscription_mut(handle);
        take_out(&mut subscription.filters, id);
        let has_ended = subscription.filters.is_empty();
        if has_ended {
            self.end(handle);
        }
        has_ended
    }

    fn subscription(&self, handle: Handle) -> &Subscription {
        self.subscriptions.get(handle.index()).and_then(Option::as_ref).expect(IN_FORCE)
    }

    fn subscription_mut(&mut self, handle: Handle) -> &mut Subscription {
        self.subscriptions.get_mut(handle.index()).and_then(Option::as_mut).expect(IN_FORCE)
    }
}

const IN_FORCE: &str = "the Subscription is in force";
