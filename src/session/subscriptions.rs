//! The application's Subscriptions and what the server was asked for them. Several Subscriptions to one filter are one
//! subscription on the server; several filters travel in one SUBSCRIBE where that keeps them apart.
//!
//! A SUBSCRIBE has one subscription identifier for all its filters, so filters that can match the same topic go in
//! packets of their own: then the identifier of a message says which filter it was sent for, and a server that sends a
//! copy per overlapping subscription [MQTT5 3.3.4] gives each handler its message once.
//!
//! Whatever is asked, refused, left, withdrawn, cut off and repeated: once nothing is under way for a filter any more,
//! [`Subscriptions::settle`] sees to it that the server has it if somebody wants it, and only then.

use std::collections::VecDeque;
use std::rc::Rc;

use super::error::{Error, ErrorCode};
use super::event::keep;
use super::event::{Event, Events, FilterCode, Handle, ServerInfo, Token};
use crate::codec::{PacketId, PropertiesBuf, Property, Value};
use crate::codec::{QoS, ReasonCode, Version};
use crate::codec::{SubscribeOptions, encode_subscribe, encode_unsubscribe};
use crate::codec::{Trie, overlaps, shared};

/// The largest subscription identifier [MQTT5 3.8.2.1.2].
const MAXIMUM_IDENTIFIER: u32 = 268_435_455;
/// Wildcard filters that share one identifier when subscriptions are restored: each new one is compared with all.
const GROUP: usize = 64;
/// Bytes of one restoring SUBSCRIBE, where the server allows more.
const RESTORE_BYTES: u32 = 32 * 1024;

/// For a filter that everybody has left before it was asked for.
const AS_LITTLE_AS_POSSIBLE: SubscribeOptions = SubscribeOptions {
    qos: QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: 2,
};

/// One filter, as long as somebody wants it or something is under way for it.
#[derive(Clone, Hash, Debug)]
struct Filter {
    text: Rc<str>,
    path: u32,
    /// 0: none.
    identifier: u32,
    /// The identifier was the application's choice.
    manual: bool,
    /// The server got it without an identifier, and may have it so even if it has been given one since.
    unnumbered: bool,
    /// What the Subscriptions ask for, taken together.
    options: SubscribeOptions,
    user_properties: PropertiesBuf,
    standing: Standing,
    /// Of the part that the standing comes from.
    order: u64,
    /// Requests with it that are not completed.
    open: u32,
    /// Who wants it.
    members: Vec<Handle>,
}

impl Filter {
    /// True: nobody wants it any more.
    fn part_with(&mut self, handle: Handle) -> bool {
        self.members.retain(|&member| member != handle);
        let left = self.members.is_empty();
        if left {
            self.identifier = 0;
            self.manual = false;
        }
        left
    }
}

/// What is known of a filter at the server, in this session.
#[derive(Clone, Copy, Hash, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Standing {
    /// The how manieth that was granted.
    Granted(u32),
    Absent,
    Refused,
    /// Refused when asked for again: it may be there from before.
    Doubtful,
}

/// One SUBSCRIBE or UNSUBSCRIBE call, or the restoring after a session was lost.
#[derive(Clone, Hash, Debug)]
struct Request {
    token: Option<Token>,
    kind: Kind,
    filters: Vec<Answer>,
    /// Filters not answered yet.
    open: usize,
    /// Something of it was sent, or Subscriptions ended with it: the server hears of it even if nobody waits any more.
    binding: bool,
}

#[derive(Clone, Hash, Debug)]
struct Answer {
    number: u32,
    code: Option<ReasonCode>,
}

#[derive(Clone, Copy, Hash, PartialEq, Debug)]
enum Kind {
    Subscribe(Handle),
    /// One whose Subscription has ended.
    Left(Handle),
    /// `lost`: the server has forgotten for sure.
    Restore {
        lost: bool,
    },
    Unsubscribe,
}

#[derive(Clone, Hash, Debug)]
struct Subscription {
    /// In the order asked.
    filters: Vec<u32>,
    /// The one that asks for it, until it is completed.
    request: Option<u32>,
}

/// What waits to be sent, or was sent and not answered: some filters of a request.
#[derive(Clone, Hash, Debug)]
pub struct Part {
    request: u32,
    /// Indices into the request's filters.
    items: Vec<u32>,
    properties: PropertiesBuf,
    /// Counts up with every part that is sent; 0: it was not.
    order: u64,
    /// It was sent on an earlier connection, in this session.
    repeated: bool,
}

#[derive(Clone, Default, Hash, Debug)]
pub struct Subscriptions {
    filters: Slab<Filter>,
    trie: Trie,
    /// The filters behind one entry of the trie: `$share/g/a` and `a` lie on the same path.
    paths: Slab<Vec<u32>>,
    /// By handle.
    subscriptions: Vec<Option<Subscription>>,
    count: usize,
    requests: Slab<Request>,
    waiting: VecDeque<Part>,
    sent: u64,
    grants: u32,
    /// The last one that was given out.
    identifier: u32,
    /// The session began here: identifiers that the server knows are of our making.
    own_session: bool,
    /// Changes with every change of routing.
    epoch: u32,
    scratch: Vec<u32>,
}

impl Part {
    /// Filters in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn order(&self) -> u64 {
        self.order
    }

    /// Some of its filters go in a part of their own: those that are picked.
    fn split(&mut self, picked: &dyn Fn(u32) -> bool) -> Part {
        let items = self.items.extract_if(.., |item| picked(*item)).collect();
        let Part { request, ref properties, order, repeated, .. } = *self;
        Part { request, items, properties: properties.clone(), order, repeated }
    }
}

impl Subscriptions {
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn nothing_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Every request of the application has been answered.
    pub fn settled(&self) -> bool {
        self.requests.iter().all(|(_, request)| matches!(request.kind, Kind::Restore { .. }))
    }

    /// Takes a Subscription in force. Filters are valid and there is at least one.
    pub fn subscribe(
        &mut self,
        token: Option<Token>,
        handle: Handle,
        filters: &[(Rc<str>, SubscribeOptions)],
        identifier: Option<u32>,
        user_properties: &PropertiesBuf,
    ) {
        self.epoch = self.epoch.wrapping_add(1);
        let mut numbers = Vec::with_capacity(filters.len());
        for (text, options) in filters {
            let Some(number) = self.join(text, *options, handle) else {
                continue;
            };
            let Some(filter) = self.filters.get_mut(number) else {
                continue;
            };
            filter.user_properties = user_properties.clone();
            if let Some(identifier) = identifier {
                filter.identifier = identifier;
                filter.manual = true;
            }
            numbers.push(number);
        }
        let request = self.request(token, Kind::Subscribe(handle), &numbers);
        let at = handle.index();
        if self.subscriptions.len() <= at {
            self.subscriptions.resize(at + 1, None);
        }
        self.subscriptions[at] = Some(Subscription { filters: numbers, request: Some(request) });
        self.count += 1;
    }

    /// Ends one Subscription. Completes the token at once where the server need not be asked.
    pub fn leave(
        &mut self,
        token: Option<Token>,
        handle: Handle,
        properties: PropertiesBuf,
        events: &mut Events,
    ) {
        let gone = self.end(handle);
        if !gone.is_empty() {
            self.request_unsubscribe(token, &gone, true, properties);
        } else if let Some(token) = token {
            events.push(Event::Unsubscribed { token, codes: Vec::new() });
        }
    }

    /// Takes these filters out of every Subscription and asks the server to forget them, known or not.
    pub fn unsubscribe(
        &mut self,
        token: Option<Token>,
        filters: &[Rc<str>],
        properties: PropertiesBuf,
        events: &mut Events,
    ) {
        let mut numbers = Vec::with_capacity(filters.len());
        let mut binding = false;
        for text in filters {
            let number = self.place(text);
            binding |= self.wanted(number).is_some();
            for handle in self.forget(number, &[]) {
                events.push(Event::Inactive { handle, error: None });
            }
            numbers.push(number);
        }
        self.request_unsubscribe(token, &numbers, binding, properties);
    }

    /// Nobody waits for the request any more: an unsent one is dropped, a Subscription that was not granted yet ends.
    pub fn cancel(&mut self, token: Token, events: &mut Events) -> bool {
        let Some(at) = self
            .requests
            .iter()
            .find(|(_, request)| request.token == Some(token))
            .map(|(at, _)| at)
        else {
            return false;
        };
        let Some(request) = self.requests.get_mut(at) else {
            return false;
        };
        request.token = None;
        let kind = request.kind;
        if !request.binding {
            keep(&mut self.waiting, |part| part.request != at);
            if let Kind::Subscribe(handle) = kind {
                self.end(handle);
            }
            if let Some(request) = self.remove_request(at) {
                for answer in request.filters {
                    self.settle(answer.number);
                }
            }
        } else if let Kind::Subscribe(handle) = kind {
            self.leave(None, handle, PropertiesBuf::default(), events);
        }
        true
    }

    /// Which Subscriptions a message goes to: by its identifiers where all of them are known for this topic, else by
    /// filter. A Subscription with several filters that match gets the message for one of them only: the one that the
    /// server has had for longest, for it may not have the others yet.
    pub fn routes(&mut self, topic: &str, identifiers: &[u32]) -> Rc<[Handle]> {
        let mut paths = std::mem::take(&mut self.scratch);
        paths.clear();
        self.trie.matching(topic, &mut paths);
        let mut matching = Vec::new();
        for &path in &paths {
            matching.extend_from_slice(self.paths.get(path).map_or(&[], Vec::as_slice));
        }
        self.scratch = paths;
        let identifier =
            |number: u32| self.filters.get(number).map_or(0, |filter| filter.identifier);
        let is_elsewhere = |filter: &Filter| {
            filter.identifier != 0
                && !filter.unnumbered
                && !identifiers.contains(&filter.identifier)
        };
        let is_known = |wanted: &u32| matching.iter().any(|&number| identifier(number) == *wanted);
        // A copy for a filter that was left meanwhile is nobody's: the others get copies of their own.
        let has_ended = |wanted: &u32| {
            self.own_session
                && *wanted <= self.identifier
                && !self.filters.iter().any(|(_, filter)| filter.identifier == *wanted)
        };
        let known =
            !identifiers.is_empty() && identifiers.iter().all(|id| is_known(id) || has_ended(id));
        let mut routes = Vec::new();
        for &number in &matching {
            let Some(filter) = self.filters.get(number) else {
                continue;
            };
            // One that the server got without an identifier shares the copy of the others.
            if known && is_elsewhere(filter) {
                continue;
            }
            for &handle in &filter.members {
                let Some(Some(Subscription { filters: own, .. })) =
                    self.subscriptions.get(handle.index())
                else {
                    continue;
                };
                let age = |&&number: &&u32| {
                    self.filters.get(number).map(|filter| (filter.standing, filter.identifier))
                };
                let first = match own.len() {
                    1 => Some(&number),
                    _ => own.iter().filter(|&n| matching.contains(n)).min_by_key(age),
                };
                if first == Some(&number)
                    && let Err(at) = routes.binary_search(&handle)
                {
                    routes.insert(at, handle);
                }
            }
        }
        routes.into()
    }

    /// Encodes the next waiting part into `out` under packet identifier `id`. Parts that the server's limits forbid
    /// fail on the way.
    pub fn send(
        &mut self,
        id: PacketId,
        server: &ServerInfo,
        out: &mut Vec<u8>,
        events: &mut Events,
    ) -> Option<(bool, Part)> {
        while let Some(mut part) = self.waiting.pop_front() {
            let Some(request) = self.requests.get(part.request) else {
                continue;
            };
            let start = out.len();
            if request.kind == Kind::Unsubscribe {
                let filters =
                    part.items.iter().map(|&item| self.text(request.filters[item as usize].number));
                encode_unsubscribe(server.version, id, part.properties.borrow(), filters, out);
            } else {
                let limit = |&item: &u32| {
                    let answer = &request.filters[item as usize];
                    let manual = self.wanted(answer.number).is_some_and(|filter| filter.manual);
                    unsupported(self.text(answer.number), manual, server)
                };
                if let Some((code, what)) = part.items.iter().find_map(limit) {
                    if let Kind::Restore { .. } = request.kind {
                        // The others may well be restored.
                        let others =
                            part.split(&|item| limit(&item).is_none_or(|(other, _)| other != code));
                        if !others.items.is_empty() {
                            self.waiting.push_front(others);
                        }
                    }
                    self.refuse(
                        part,
                        Error::new(ErrorCode::NotSupported, what).with_reason(code),
                        events,
                    );
                    continue;
                }
                self.number_part(&part, server);
                let part = self.divide(part, server);
                let Some(request) = self.requests.get(part.request) else {
                    continue;
                };
                self.encode(request, &part, id, server.version, out);
                if self.fits(start, server, out, &part) {
                    return Some((true, self.depart(part)));
                }
                self.shrink(start, server, part, out, events);
                continue;
            }
            if self.fits(start, server, out, &part) {
                return Some((false, self.depart(part)));
            }
            self.shrink(start, server, part, out, events);
        }
        None
    }

    fn depart(&mut self, mut part: Part) -> Part {
        self.sent += 1;
        part.order = self.sent;
        if let Some(request) = self.requests.get_mut(part.request) {
            request.binding = true;
        }
        part
    }

    fn fits(&self, start: usize, server: &ServerInfo, out: &[u8], part: &Part) -> bool {
        let size = (out.len() - start) as u32;
        let restoring =
            self.requests.get(part.request).is_some_and(|r| matches!(r.kind, Kind::Restore { .. }));
        size <= server.maximum_packet_size
            && (!restoring || size <= RESTORE_BYTES || part.items.len() == 1)
    }

    /// A packet came out too large: two halves go instead, or nothing where one filter is too much already.
    fn shrink(
        &mut self,
        start: usize,
        server: &ServerInfo,
        mut part: Part,
        out: &mut Vec<u8>,
        events: &mut Events,
    ) {
        let size = (out.len() - start) as u32;
        out.truncate(start);
        if part.items.len() > 1 {
            let middle = part.items[part.items.len() / 2];
            let rest = part.split(&|item| item >= middle);
            self.waiting.push_front(rest);
            self.waiting.push_front(part);
        } else {
            let mut error = Error::new(
                ErrorCode::PacketTooLarge,
                "the packet is larger than the server accepts",
            );
            error.size = Some((size, server.maximum_packet_size));
            self.refuse(part, error, events);
        }
    }

    fn encode(
        &self,
        request: &Request,
        part: &Part,
        id: PacketId,
        version: Version,
        out: &mut Vec<u8>,
    ) {
        let first =
            part.items.first().and_then(|&item| self.wanted(request.filters[item as usize].number));
        let mut properties = PropertiesBuf::default();
        if version == Version::V5
            && let Some(first) = first
        {
            if first.identifier != 0 {
                properties.push(Property::SubscriptionIdentifier, Value::Varint(first.identifier));
            }
            for (name, value) in first.user_properties.borrow().user_properties() {
                properties.push(Property::UserProperty, Value::Pair(name, value));
            }
        }
        let filters = part.items.iter().map(|&item| {
            let answer = &request.filters[item as usize];
            let mut options =
                self.wanted(answer.number).map_or(AS_LITTLE_AS_POSSIBLE, |filter| filter.options);
            if request.kind == (Kind::Restore { lost: false }) {
                // Retained messages only if the subscription turns out to be new.
                options.retain_handling = options.retain_handling.max(1);
            }
            (self.text(answer.number), options)
        });
        encode_subscribe(version, id, properties.borrow(), filters, out);
    }

    /// Gives every filter of the part an identifier, where the server has them.
    fn number_part(&mut self, part: &Part, server: &ServerInfo) {
        let Some(request) = self.requests.get(part.request) else {
            return;
        };
        let mut groups: Vec<(u32, Vec<Rc<str>>)> = Vec::new();
        let mut exact = 0;
        let mut changed = false;
        for &item in &part.items {
            let answer = &request.filters[item as usize];
            let Some(filter) =
                self.filters.get_mut(answer.number).filter(|filter| !filter.members.is_empty())
            else {
                continue;
            };
            if filter.manual || filter.identifier != 0 && server.subscription_ids_available {
                continue;
            }
            if !server.subscription_ids_available {
                changed |= filter.identifier != 0;
                filter.identifier = 0;
                filter.unnumbered = true;
                continue;
            }
            changed = true;
            let text = filter.text.clone();
            let mut fresh = || {
                self.identifier = self.identifier % MAXIMUM_IDENTIFIER + 1;
                self.identifier
            };
            if !filter.user_properties.is_empty() {
                filter.identifier = fresh();
            } else if !text.contains(['+', '#']) && shared(&text).is_none() {
                // Different topics never overlap.
                if exact == 0 {
                    exact = fresh();
                }
                filter.identifier = exact;
            } else {
                let fit = groups.iter().position(|(_, members)| {
                    members.len() < GROUP
                        && members.iter().all(|other| !overlaps(stripped(other), stripped(&text)))
                });
                let group = fit.unwrap_or_else(|| {
                    groups.push((fresh(), Vec::new()));
                    groups.len() - 1
                });
                filter.identifier = groups[group].0;
                groups[group].1.push(text);
            }
        }
        if changed {
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// Keeps in the part what shares identifier and User Properties with its first filter; the others wait in a part of
    /// their own.
    fn divide(&mut self, mut part: Part, server: &ServerInfo) -> Part {
        if server.version == Version::V311 || part.items.len() < 2 {
            return part;
        }
        let Some(request) = self.requests.get(part.request) else {
            return part;
        };
        let shared = |item: u32| {
            let filter = self.wanted(request.filters[item as usize].number);
            filter.map(|filter| (filter.identifier, &filter.user_properties))
        };
        let first = shared(part.items[0]);
        let others = part.split(&|item| shared(item) != first);
        if !others.items.is_empty() {
            self.waiting.push_front(others);
        }
        part
    }

    /// A SUBACK or UNSUBACK came for a part.
    pub fn answered(&mut self, part: &Part, codes: &[u8], version: Version, events: &mut Events) {
        for (at, &item) in part.items.iter().enumerate() {
            // MQTT 3.1.1 has one failure code, and none in an UNSUBACK.
            let code = match codes.get(at) {
                Some(0x80) if version == Version::V311 => ReasonCode::UNSPECIFIED_ERROR,
                Some(&code) => ReasonCode(code),
                None => ReasonCode::SUCCESS,
            };
            self.answer(part, item, code);
        }
        self.finish(part.request, None, events);
    }

    fn answer(&mut self, part: &Part, item: u32, code: ReasonCode) {
        let Some(request) = self.requests.get_mut(part.request) else {
            return;
        };
        let answer = &mut request.filters[item as usize];
        answer.code = Some(code);
        request.open -= 1;
        let Some(filter) = self.filters.get_mut(answer.number) else {
            return;
        };
        // What was sent later has been answered before; a refusal has not undone what was granted.
        let stands = request.kind == Kind::Unsubscribe
            || code.is_error()
            || filter.standing != Standing::Refused;
        if part.order > 0 && part.order < filter.order && stands {
            return;
        }
        filter.order = part.order.max(filter.order);
        if filter.unnumbered && filter.identifier != 0 && !code.is_error() {
            filter.unnumbered = false;
            self.epoch = self.epoch.wrapping_add(1);
        }
        filter.standing = match (request.kind, filter.standing) {
            (Kind::Unsubscribe, _) => Standing::Absent,
            (Kind::Restore { lost: false }, _) if code.is_error() => Standing::Doubtful,
            (_, standing @ Standing::Granted(_)) => standing,
            _ if !code.is_error() => {
                self.grants += 1;
                self.epoch = self.epoch.wrapping_add(1);
                Standing::Granted(self.grants)
            }
            (_, Standing::Doubtful) => Standing::Doubtful,
            _ if part.repeated => Standing::Doubtful,
            _ => Standing::Refused,
        };
    }

    /// The part cannot be sent at all.
    fn refuse(&mut self, part: Part, error: Box<Error>, events: &mut Events) {
        let code = error.reason.unwrap_or(ReasonCode::PACKET_TOO_LARGE);
        for &item in &part.items {
            self.answer(&part, item, code);
        }
        self.finish(part.request, Some(error), events);
    }

    /// Completes the request once all its filters are answered.
    fn finish(&mut self, number: u32, local: Option<Box<Error>>, events: &mut Events) {
        if self.requests.get(number).is_none_or(|request| request.open > 0) {
            return;
        }
        let Some(Request { token, kind, mut filters, .. }) = self.remove_request(number) else {
            return;
        };
        let mut codes = Vec::with_capacity(filters.len());
        for answer in &mut filters {
            let Some(filter) = self.filters.get(answer.number) else { continue };
            let mut code = answer.code.unwrap_or(ReasonCode::UNSPECIFIED_ERROR);
            if kind != Kind::Unsubscribe
                && matches!(filter.standing, Standing::Refused | Standing::Doubtful)
            {
                // It may have been granted in a session that was lost, and refused since.
                code = code.max(ReasonCode::UNSPECIFIED_ERROR);
                answer.code = Some(code);
            }
            codes.push(FilterCode { filter: filter.text.clone(), code });
        }
        let refused = codes.iter().filter(|code| code.code.is_error()).count();
        let failure = |code, what| {
            let reason = codes.iter().find(|code| code.code.is_error()).map(|code| code.code);
            let mut error = local.clone().unwrap_or_else(|| Error::new(code, what));
            error.reason = error.reason.or(reason);
            error.filters = codes.clone();
            error
        };
        match kind {
            Kind::Unsubscribe => match token {
                None => {}
                Some(token) if refused == codes.len() => {
                    let error =
                        failure(ErrorCode::UnsubscribeRefused, "the server refused to unsubscribe");
                    events.push(Event::Failed { token, error });
                }
                Some(token) => events.push(Event::Unsubscribed { token, codes: codes.clone() }),
            },
            Kind::Subscribe(handle) | Kind::Left(handle) => {
                let ended = kind == Kind::Subscribe(handle) && self.drop_refused(handle, &filters);
                let failed = refused == codes.len();
                if let Some(token) = token {
                    if failed {
                        let error = failure(
                            ErrorCode::SubscribeRefused,
                            "the server refused the subscription",
                        );
                        events.push(Event::Failed { token, error });
                    } else {
                        events.push(Event::Subscribed { token, handle, grants: codes.clone() });
                    }
                }
                if ended && !failed {
                    // What was granted had been left meanwhile.
                    events.push(Event::Inactive { handle, error: None });
                }
            }
            Kind::Restore { .. } => {}
        }
        let mut lost = Vec::new();
        for answer in &filters {
            if !self.settle(answer.number) {
                lost.push(answer.number);
            }
        }
        if lost.is_empty() {
            return;
        }
        let mut error = failure(ErrorCode::SubscribeRefused, "a subscription was not restored");
        let is_lost = |text: &str| lost.iter().any(|&number| self.text(number) == text);
        error.filters.retain(|code| !code.code.is_error() || is_lost(&code.filter));
        for number in lost {
            for handle in self.forget(number, &[]) {
                events.push(Event::Inactive { handle, error: Some(error.clone()) });
            }
            self.settle(number);
        }
        events.push(Event::Error(error));
    }

    /// Takes the refused filters of a request out of its Subscription. True: it has none left.
    fn drop_refused(&mut self, handle: Handle, filters: &[Answer]) -> bool {
        if let Some(Some(subscription)) = self.subscriptions.get_mut(handle.index()) {
            subscription.request = None;
        }
        let mut ended = false;
        for answer in filters.iter().filter(|answer| answer.code.is_some_and(ReasonCode::is_error))
        {
            ended |= self.part_with(answer.number, handle);
        }
        ended
    }

    /// Where nothing is under way for a filter, the server must have it if it is wanted, and not if not. False: it is wanted
    /// and was refused.
    fn settle(&mut self, number: u32) -> bool {
        let Some(filter) = self.filters.get(number).filter(|filter| filter.open == 0) else {
            return true;
        };
        match (filter.members.is_empty(), filter.standing) {
            (false, Standing::Granted(_)) => {}
            // An UNSUBSCRIBE that was repeated has undone it.
            (false, Standing::Absent) => {
                _ = self.request(None, Kind::Restore { lost: false }, &[number])
            }
            (false, _) => return false,
            (true, Standing::Granted(_) | Standing::Doubtful) => {
                self.request_unsubscribe(None, &[number], true, PropertiesBuf::default());
            }
            (true, _) => self.remove(number),
        }
        true
    }

    /// The socket is gone: what was not answered is sent again on the next one, before what waits.
    pub fn cut(&mut self, parts: Vec<Part>) {
        for part in parts.into_iter().rev() {
            self.waiting.push_front(Part { repeated: true, ..part });
        }
    }

    /// The server has no session for us: everything that was granted is asked for again, or ends.
    pub fn session_lost(&mut self, resubscribe: bool, events: &mut Events) {
        for part in &mut self.waiting {
            part.repeated = false;
        }
        let granted = self.granted();
        for (_, filter) in self.filters.iter_mut() {
            if let Standing::Granted(_) = filter.standing
                && !filter.manual
            {
                filter.identifier = 0;
            }
            filter.unnumbered = false;
            filter.standing = Standing::Absent;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.own_session = true;
        if resubscribe {
            return self.restore(granted, true);
        }
        for number in granted {
            // Those whose SUBSCRIBE is still to be answered were never in the lost session.
            let members = self.filters.get(number).map_or(&[][..], |filter| &filter.members);
            let mut new = members.to_vec();
            new.retain(|&handle| self.asks(handle, number));
            for handle in self.forget(number, &new) {
                events.push(Event::Inactive { handle, error: None });
            }
            self.settle(number);
        }
    }

    /// The server may have made a new session without our knowledge: what was granted is asked for once more.
    pub fn session_doubtful(&mut self) {
        let granted = self.granted();
        self.restore(granted, false);
    }

    fn granted(&self) -> Vec<u32> {
        let mut granted = Vec::new();
        for (number, filter) in self.filters.iter() {
            if let Standing::Granted(_) = filter.standing {
                granted.push(number);
            }
        }
        granted
    }

    /// Asks once more for what is not asked for anyway.
    fn restore(&mut self, mut numbers: Vec<u32>, lost: bool) {
        numbers.retain(|&number| self.wanted(number).is_some_and(|filter| filter.open == 0));
        if !numbers.is_empty() {
            // Ahead of what the application asked since, which may be to leave one of them.
            self.request(None, Kind::Restore { lost }, &numbers);
            self.waiting.rotate_right(1);
        }
    }

    /// The call that made the Subscription is still to be answered for this filter.
    fn asks(&self, handle: Handle, number: u32) -> bool {
        let subscription = self.subscriptions.get(handle.index()).and_then(Option::as_ref);
        let request =
            subscription.and_then(|subscription| self.requests.get(subscription.request?));
        request.is_some_and(|request| {
            request.filters.iter().any(|answer| answer.number == number && answer.code.is_none())
        })
    }

    /// The client is closed: hands out the tokens that wait.
    pub fn close(&mut self) -> Vec<Option<Token>> {
        self.waiting.clear();
        let mut tokens = Vec::new();
        for (_, request) in std::mem::take(&mut self.requests).iter() {
            tokens.push(request.token);
        }
        tokens
    }

    fn request(&mut self, token: Option<Token>, kind: Kind, numbers: &[u32]) -> u32 {
        for &number in numbers {
            if let Some(filter) = self.filters.get_mut(number) {
                filter.open += 1;
            }
        }
        let filters = numbers.iter().map(|&number| Answer { number, code: None }).collect();
        let request = self.requests.insert(Request {
            token,
            kind,
            filters,
            open: numbers.len(),
            binding: false,
        });
        let items = (0..numbers.len() as u32).collect();
        let properties = PropertiesBuf::default();
        self.waiting.push_back(Part { request, items, properties, order: 0, repeated: false });
        request
    }

    fn request_unsubscribe(
        &mut self,
        token: Option<Token>,
        numbers: &[u32],
        binding: bool,
        properties: PropertiesBuf,
    ) {
        let request = self.request(token, Kind::Unsubscribe, numbers);
        if let Some(request) = self.requests.get_mut(request) {
            request.binding = binding;
        }
        if let Some(part) = self.waiting.back_mut() {
            part.properties = properties;
        }
    }

    fn remove_request(&mut self, number: u32) -> Option<Request> {
        let request = self.requests.remove(number)?;
        for answer in &request.filters {
            if let Some(filter) = self.filters.get_mut(answer.number) {
                filter.open -= 1;
            }
        }
        Some(request)
    }

    /// The filter, unless all have left it.
    fn wanted(&self, number: u32) -> Option<&Filter> {
        self.filters.get(number).filter(|filter| !filter.members.is_empty())
    }

    fn text(&self, number: u32) -> &str {
        self.filters.get(number).map_or("", |filter| &filter.text)
    }

    /// The number of a filter, which is made where it is new.
    fn place(&mut self, text: &Rc<str>) -> u32 {
        let path = self.trie.get(stripped(text)).unwrap_or_else(|| {
            let path = self.paths.insert(Vec::new());
            self.trie.insert(stripped(text), path);
            path
        });
        let known = self.paths.get(path).map_or(&[][..], Vec::as_slice);
        if let Some(&number) = known.iter().find(|&&number| self.text(number) == &**text) {
            return number;
        }
        let number = self.filters.insert(Filter {
            text: text.clone(),
            path,
            identifier: 0,
            manual: false,
            unnumbered: false,
            options: AS_LITTLE_AS_POSSIBLE,
            user_properties: PropertiesBuf::default(),
            standing: Standing::Absent,
            order: 0,
            open: 0,
            members: Vec::new(),
        });
        if let Some(path) = self.paths.get_mut(path) {
            path.push(number);
        }
        number
    }

    /// Adds a Subscription to a filter. None: it has the filter already.
    fn join(&mut self, text: &Rc<str>, options: SubscribeOptions, handle: Handle) -> Option<u32> {
        let number = self.place(text);
        let filter = self.filters.get_mut(number)?;
        if filter.members.contains(&handle) {
            return None;
        }
        filter.options = if filter.members.is_empty() {
            options
        } else {
            SubscribeOptions {
                qos: filter.options.qos.max(options.qos),
                no_local: filter.options.no_local && options.no_local,
                retain_as_published: filter.options.retain_as_published
                    || options.retain_as_published,
                retain_handling: options.retain_handling,
            }
        };
        filter.members.push(handle);
        Some(number)
    }

    /// Ends a Subscription and returns the filters that nobody has any more.
    fn end(&mut self, handle: Handle) -> Vec<u32> {
        let Some(subscription) = self.subscriptions.get_mut(handle.index()).and_then(Option::take)
        else {
            return Vec::new();
        };
        self.count -= 1;
        self.epoch = self.epoch.wrapping_add(1);
        if let Some(request) =
            subscription.request.and_then(|request| self.requests.get_mut(request))
        {
            request.kind = Kind::Left(handle);
        }
        let mut gone = subscription.filters;
        gone.retain(|&number| {
            let filter = self.filters.get_mut(number);
            filter.is_some_and(|filter| filter.part_with(handle))
        });
        gone
    }

    /// Takes a filter out of all Subscriptions `but` these, and returns those that have none left.
    fn forget(&mut self, number: u32, but: &[Handle]) -> Vec<Handle> {
        let mut members =
            self.filters.get(number).map_or(Vec::new(), |filter| filter.members.clone());
        members.retain(|handle| !but.contains(handle) && self.part_with(number, *handle));
        members
    }

    /// A Subscription leaves one filter. True: it has none left.
    fn part_with(&mut self, number: u32, handle: Handle) -> bool {
        self.epoch = self.epoch.wrapping_add(1);
        if let Some(filter) = self.filters.get_mut(number) {
            filter.part_with(handle);
        }
        let Some(Some(subscription)) = self.subscriptions.get_mut(handle.index()) else {
            return false;
        };
        subscription.filters.retain(|&own| own != number);
        let ends = subscription.filters.is_empty();
        if ends {
            self.end(handle);
        }
        ends
    }

    fn remove(&mut self, number: u32) {
        let Some(filter) = self.filters.remove(number) else { return };
        let Some(path) = self.paths.get_mut(filter.path) else { return };
        path.retain(|&other| other != number);
        if path.is_empty() {
            self.paths.remove(filter.path);
            self.trie.remove(stripped(&filter.text));
        }
    }
}

/// What the server cannot do with this filter, if anything.
pub fn unsupported(
    filter: &str,
    identifier: bool,
    server: &ServerInfo,
) -> Option<(ReasonCode, &'static str)> {
    if identifier && !server.subscription_ids_available && server.version == Version::V5 {
        return Some((
            ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            "the server does not support subscription identifiers",
        ));
    }
    if !server.wildcards_available && stripped(filter).contains(['+', '#']) {
        return Some((
            ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
            "the server does not support wildcards in filters",
        ));
    }
    if !server.shared_available && shared(filter).is_some() {
        return Some((
            ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
            "the server does not support shared subscriptions",
        ));
    }
    None
}

/// The part of a filter that topics are matched with: a shared one without `$share/name/`.
fn stripped(filter: &str) -> &str {
    shared(filter).map_or(filter, |(_, filter)| filter)
}

/// Values under small numbers that are used again.
#[derive(Clone, Hash, Debug)]
struct Slab<T> {
    values: Vec<Option<T>>,
    vacant: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { values: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.vacant.pop() {
            self.values[number as usize] = Some(value);
            return number;
        }
        self.values.push(Some(value));
        self.values.len() as u32 - 1
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)?.as_ref()
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.values.get_mut(number as usize)?.as_mut()
    }

    fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.values.get_mut(number as usize)?.take()?;
        self.vacant.push(number);
        Some(value)
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.values
            .iter()
            .enumerate()
            .filter_map(|(number, value)| Some((number as u32, value.as_ref()?)))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.values
            .iter_mut()
            .enumerate()
            .filter_map(|(number, value)| Some((number as u32, value.as_mut()?)))
    }
}
