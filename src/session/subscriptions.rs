//! The application's Subscriptions and what the server was asked for them. Several Subscriptions to one filter are one
//! subscription on the server; several filters travel in one SUBSCRIBE where that keeps them apart.
//!
//! A SUBSCRIBE has one subscription identifier for all its filters, so filters that can match the same topic go in
//! packets of their own: then the identifier of a message says which filter it was sent for, and a server that sends a
//! copy per overlapping subscription [MQTT5 3.3.4] gives each handler its message once.

use std::collections::VecDeque;
use std::rc::Rc;

use super::event::{Error, ErrorCode, Event, Events, FilterCode, Handle, Server, Token};
use crate::codec::{PropertiesBuf, Property, Value};
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
const AS_LITTLE_AS_POSSIBLE: SubscribeOptions =
    SubscribeOptions { qos: QoS::AtMostOnce, no_local: false, retain_as_published: false, retain_handling: 2 };

/// One filter as the server knows it.
#[derive(Clone, Hash, Debug)]
struct Filter {
    text: Rc<str>,
    path: u32,
    /// 0: none.
    identifier: u32,
    /// The identifier was the application's choice.
    manual: bool,
    /// What the Subscriptions ask for, taken together.
    options: SubscribeOptions,
    user_properties: PropertiesBuf,
    /// The server has accepted it, in this session: the how manieth it was; 0: it has not.
    granted: u32,
    members: Vec<Handle>,
}

/// One SUBSCRIBE or UNSUBSCRIBE call, or the restoring after a session was lost.
#[derive(Clone, Hash, Debug)]
struct Request {
    token: Token,
    kind: Kind,
    filters: Vec<Answer>,
    /// Filters not answered yet.
    open: usize,
}

#[derive(Clone, Hash, Debug)]
struct Answer {
    filter: Rc<str>,
    number: u32,
    code: Option<ReasonCode>,
}

#[derive(Clone, Copy, Hash, PartialEq, Debug)]
enum Kind {
    Subscribe(Handle),
    /// One that nobody waits for: its Subscription has ended.
    Withdrawn,
    /// `lost`: the server has forgotten for sure.
    Restore {
        lost: bool,
    },
    Unsubscribe,
}

/// What waits to be sent, or was sent and not answered: some filters of a request.
#[derive(Clone, Hash, Debug)]
pub struct Part {
    request: u32,
    /// Indices into the request's filters.
    items: Vec<u32>,
    properties: PropertiesBuf,
    /// Counts up with every part that is sent.
    order: u64,
}

#[derive(Clone, Default, Hash, Debug)]
pub struct Subscriptions {
    filters: Slab<Filter>,
    trie: Trie,
    /// The filters behind one entry of the trie: `$share/g/a` and `a` lie on the same path.
    paths: Slab<Vec<u32>>,
    /// By handle: the filters of a Subscription, in the order asked.
    subscriptions: Vec<Option<Vec<u32>>>,
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
        token: Token,
        handle: Handle,
        filters: &[(Rc<str>, SubscribeOptions)],
        identifier: Option<u32>,
        user_properties: &PropertiesBuf,
    ) {
        self.epoch = self.epoch.wrapping_add(1);
        let mut numbers = Vec::with_capacity(filters.len());
        let mut answers = Vec::with_capacity(filters.len());
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
            answers.push(Answer { filter: filter.text.clone(), number, code: None });
        }
        let at = handle as usize;
        if self.subscriptions.len() <= at {
            self.subscriptions.resize(at + 1, None);
        }
        self.subscriptions[at] = Some(numbers);
        self.count += 1;
        self.request(token, Kind::Subscribe(handle), answers, PropertiesBuf::default());
    }

    /// Ends one Subscription. Completes the token at once where the server need not be asked.
    pub fn leave(&mut self, token: Token, handle: Handle, properties: PropertiesBuf, events: &mut Events) {
        let gone = self.end(handle);
        if gone.is_empty() {
            if token != 0 {
                events.push(Event::Unsubscribed { token, codes: Vec::new() });
            }
            return;
        }
        let answers = gone.into_iter().map(|filter| Answer { filter, number: 0, code: None }).collect();
        self.request(token, Kind::Unsubscribe, answers, properties);
    }

    /// Takes these filters out of every Subscription and asks the server to forget them, known or not.
    pub fn unsubscribe(&mut self, token: Token, filters: &[Rc<str>], properties: PropertiesBuf, events: &mut Events) {
        for text in filters {
            let Some(number) = self.number(text) else { continue };
            for handle in self.forget(number) {
                events.push(Event::Inactive { handle, error: None });
            }
        }
        let answers = filters.iter().map(|filter| Answer { filter: filter.clone(), number: 0, code: None }).collect();
        self.request(token, Kind::Unsubscribe, answers, properties);
    }

    /// Nobody waits for the request any more: an unsent one is dropped, a Subscription that was not granted yet ends.
    pub fn cancel(&mut self, token: Token, events: &mut Events) -> bool {
        let Some(at) = self.requests.iter().find(|(_, request)| request.token == token).map(|(at, _)| at) else {
            return false;
        };
        let Some(request) = self.requests.get_mut(at) else {
            return false;
        };
        request.token = 0;
        let kind = request.kind;
        if let Kind::Subscribe(_) = kind {
            request.kind = Kind::Withdrawn;
        }
        let unsent: usize = self.waiting.iter().filter(|part| part.request == at).map(|part| part.items.len()).sum();
        let never_sent = request.filters.len() == unsent;
        if never_sent {
            self.waiting.retain(|part| part.request != at);
            self.requests.remove(at);
        }
        if let Kind::Subscribe(handle) = kind {
            if never_sent {
                self.end(handle);
            } else {
                self.leave(0, handle, PropertiesBuf::default(), events);
            }
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
        let matching: Vec<u32> = paths.iter().filter_map(|&path| self.paths.get(path)).flatten().copied().collect();
        self.scratch = paths;
        let identifier = |number: u32| self.filters.get(number).map_or(0, |filter| filter.identifier);
        let is_known = |wanted: &u32| matching.iter().any(|&number| identifier(number) == *wanted);
        // A copy for a filter that was left meanwhile is nobody's: the others get copies of their own.
        let has_ended = |wanted: &u32| {
            self.own_session
                && *wanted <= self.identifier
                && !self.filters.iter().any(|(_, filter)| filter.identifier == *wanted)
        };
        let known = !identifiers.is_empty() && identifiers.iter().all(|id| is_known(id) || has_ended(id));
        let mut routes = Vec::new();
        for &number in &matching {
            if known && !identifiers.contains(&identifier(number)) {
                continue;
            }
            let Some(filter) = self.filters.get(number) else {
                continue;
            };
            for &handle in &filter.members {
                let Some(Some(own)) = self.subscriptions.get(handle as usize) else {
                    continue;
                };
                let age = |&&number: &&u32| {
                    self.filters.get(number).map(|filter| (filter.granted.wrapping_sub(1), filter.identifier))
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
    pub fn send(&mut self, id: u16, server: &Server, out: &mut Vec<u8>, events: &mut Events) -> Option<(bool, Part)> {
        while let Some(mut part) = self.waiting.pop_front() {
            let Some(request) = self.requests.get(part.request) else {
                continue;
            };
            self.sent += 1;
            part.order = self.sent;
            let start = out.len();
            if request.kind == Kind::Unsubscribe {
                let filters = part.items.iter().map(|&item| &*request.filters[item as usize].filter);
                encode_unsubscribe(server.version, id, part.properties.borrow(), filters, out);
            } else {
                let limit = |&item: &u32| {
                    let answer = &request.filters[item as usize];
                    let manual = self.filters.of(answer).is_some_and(|filter| filter.manual);
                    unsupported(&answer.filter, manual, server)
                };
                if let Some((code, what)) = part.items.iter().find_map(limit) {
                    if let Kind::Restore { .. } = request.kind {
                        // The others may well be restored.
                        let refused = |item: &u32| limit(item).is_some_and(|(other, _)| other == code);
                        let items: Vec<u32> = part.items.extract_if(.., |item| !refused(item)).collect();
                        if !items.is_empty() {
                            self.waiting.push_front(Part { items, ..part.clone() });
                        }
                    }
                    self.refuse(part, Error::new(ErrorCode::NotSupported, what).with_reason(code), events);
                    continue;
                }
                self.number_part(&part, server);
                let part = self.divide(part, server);
                let Some(request) = self.requests.get(part.request) else {
                    continue;
                };
                self.encode(request, &part, id, server.version, out);
                if self.fits(start, server, out, &part) {
                    return Some((true, part));
                }
                self.shrink(start, server, part, out, events);
                continue;
            }
            if self.fits(start, server, out, &part) {
                return Some((false, part));
            }
            self.shrink(start, server, part, out, events);
        }
        None
    }

    fn fits(&self, start: usize, server: &Server, out: &[u8], part: &Part) -> bool {
        let size = (out.len() - start) as u32;
        let restoring = self.requests.get(part.request).is_some_and(|r| matches!(r.kind, Kind::Restore { .. }));
        size <= server.maximum_packet_size && (!restoring || size <= RESTORE_BYTES || part.items.len() == 1)
    }

    /// A packet came out too large: two halves go instead, or nothing where one filter is too much already.
    fn shrink(&mut self, start: usize, server: &Server, mut part: Part, out: &mut Vec<u8>, events: &mut Events) {
        let size = (out.len() - start) as u32;
        out.truncate(start);
        if part.items.len() > 1 {
            let rest = Part { items: part.items.split_off(part.items.len() / 2), ..part.clone() };
            self.waiting.push_front(rest);
            self.waiting.push_front(part);
        } else {
            let mut error = Error::new(ErrorCode::PacketTooLarge, "the packet is larger than the server accepts");
            error.size = Some((size, server.maximum_packet_size));
            self.refuse(part, error, events);
        }
    }

    fn encode(&self, request: &Request, part: &Part, id: u16, version: Version, out: &mut Vec<u8>) {
        let first = part.items.first().and_then(|&item| self.filters.of(&request.filters[item as usize]));
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
            let mut options = self.filters.of(answer).map_or(AS_LITTLE_AS_POSSIBLE, |filter| filter.options);
            if request.kind == (Kind::Restore { lost: false }) {
                // Retained messages only if the subscription turns out to be new.
                options.retain_handling = options.retain_handling.max(1);
            }
            (&*answer.filter, options)
        });
        encode_subscribe(version, id, properties.borrow(), filters, out);
    }

    /// Gives every filter of the part an identifier, where the server has them.
    fn number_part(&mut self, part: &Part, server: &Server) {
        let Some(request) = self.requests.get(part.request) else {
            return;
        };
        let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut exact = 0;
        let mut changed = false;
        for &item in &part.items {
            let answer = &request.filters[item as usize];
            let Some(filter) = self.filters.of_mut(answer) else {
                continue;
            };
            if filter.manual || filter.identifier != 0 && server.identifiers {
                continue;
            }
            if !server.identifiers {
                changed |= filter.identifier != 0;
                filter.identifier = 0;
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
                        && members.iter().all(|&m| {
                            let other = &request.filters[m as usize].filter;
                            !overlaps(stripped(other), stripped(&text))
                        })
                });
                let group = fit.unwrap_or_else(|| {
                    groups.push((fresh(), Vec::new()));
                    groups.len() - 1
                });
                groups[group].1.push(item);
                filter.identifier = groups[group].0;
            }
        }
        if changed {
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// Keeps in the part what shares identifier and User Properties with its first filter; the others wait in a part of
    /// their own.
    fn divide(&mut self, mut part: Part, server: &Server) -> Part {
        if server.version == Version::V4 || part.items.len() < 2 {
            return part;
        }
        let Some(request) = self.requests.get(part.request) else {
            return part;
        };
        let shared = |item: u32| {
            let filter = self.filters.of(&request.filters[item as usize]);
            filter.map(|filter| (filter.identifier, &filter.user_properties))
        };
        let first = shared(part.items[0]);
        let (same, others) = part.items.iter().partition::<Vec<u32>, _>(|&&item| shared(item) == first);
        if !others.is_empty() {
            self.waiting.push_front(Part { items: others, ..part.clone() });
            part.items = same;
        }
        part
    }

    /// A SUBACK or UNSUBACK came for a part.
    pub fn answered(&mut self, part: &Part, codes: &[u8], version: Version, events: &mut Events) {
        for (at, &item) in part.items.iter().enumerate() {
            // MQTT 3.1.1 has one failure code, and none in an UNSUBACK.
            let code = match codes.get(at) {
                Some(0x80) if version == Version::V4 => ReasonCode::UNSPECIFIED_ERROR,
                Some(&code) => ReasonCode(code),
                None => ReasonCode::SUCCESS,
            };
            self.answer(part.request, item, code);
        }
        self.finish(part.request, None, events);
    }

    fn answer(&mut self, request: u32, item: u32, code: ReasonCode) {
        let Some(request) = self.requests.get_mut(request) else {
            return;
        };
        let answer = &mut request.filters[item as usize];
        answer.code = Some(code);
        request.open -= 1;
        if request.kind != Kind::Unsubscribe
            && !code.is_error()
            && let Some(filter) = self.filters.of_mut(answer)
            && filter.granted == 0
        {
            self.grants += 1;
            self.epoch = self.epoch.wrapping_add(1);
            filter.granted = self.grants;
        }
    }

    /// The part cannot be sent at all.
    fn refuse(&mut self, part: Part, error: Box<Error>, events: &mut Events) {
        let code = error.reason.unwrap_or(ReasonCode::PACKET_TOO_LARGE);
        for &item in &part.items {
            self.answer(part.request, item, code);
        }
        self.finish(part.request, Some(error), events);
    }

    /// Completes the request once all its filters are answered.
    fn finish(&mut self, number: u32, local: Option<Box<Error>>, events: &mut Events) {
        if self.requests.get(number).is_none_or(|request| request.open > 0) {
            return;
        }
        let Some(request) = self.requests.remove(number) else {
            return;
        };
        let codes: Vec<FilterCode> = request
            .filters
            .iter()
            .map(|answer| FilterCode {
                filter: answer.filter.clone(),
                code: answer.code.unwrap_or(ReasonCode::UNSPECIFIED_ERROR),
            })
            .collect();
        let refused = codes.iter().filter(|code| code.code.is_error()).count();
        let failure = |code, what| {
            let reason = codes.iter().find(|code| code.code.is_error()).map(|code| code.code);
            let mut error = local.clone().unwrap_or_else(|| Error::new(code, what));
            error.reason = error.reason.or(reason);
            error.filters = codes.clone();
            error
        };
        let token = request.token;
        match request.kind {
            Kind::Withdrawn => {}
            Kind::Unsubscribe if token == 0 => {}
            Kind::Unsubscribe if refused == codes.len() => {
                let error = failure(ErrorCode::UnsubscribeRefused, "the server refused to unsubscribe");
                events.push(Event::Failed { token, error });
            }
            Kind::Unsubscribe => events.push(Event::Unsubscribed { token, codes }),
            Kind::Subscribe(handle) => {
                let error = failure(ErrorCode::SubscribeRefused, "the server refused the subscription");
                for answer in request.filters.iter().filter(|answer| answer.code.is_some_and(ReasonCode::is_error)) {
                    self.drop_member(answer, handle);
                }
                let event = if refused == codes.len() {
                    Event::Failed { token, error }
                } else {
                    Event::Subscribed { token, handle, grants: codes }
                };
                if token != 0 {
                    events.push(event);
                }
            }
            Kind::Restore { .. } => {
                if refused == 0 {
                    return;
                }
                let error = failure(ErrorCode::SubscribeRefused, "a subscription was not restored");
                for answer in request.filters.iter().filter(|answer| answer.code.is_some_and(ReasonCode::is_error)) {
                    if self.filters.of(answer).is_none() {
                        continue;
                    }
                    for handle in self.forget(answer.number) {
                        events.push(Event::Inactive { handle, error: Some(error.clone()) });
                    }
                }
                events.push(Event::Error(error));
            }
        }
    }

    /// One refused filter of one Subscription: others that have it keep it.
    fn drop_member(&mut self, answer: &Answer, handle: Handle) {
        if self.filters.of(answer).is_none() {
            return;
        }
        if let Some(Some(own)) = self.subscriptions.get_mut(handle as usize) {
            own.retain(|&number| number != answer.number);
            if own.is_empty() {
                self.subscriptions[handle as usize] = None;
                self.count -= 1;
            }
        }
        self.part_with(answer.number, handle);
    }

    /// The socket is gone: what was not answered is sent again on the next one, before what waits.
    pub fn cut(&mut self, parts: Vec<Part>) {
        for part in parts.into_iter().rev() {
            self.waiting.push_front(part);
        }
    }

    /// The server has no session for us: everything that was granted is asked for again, or ends.
    pub fn session_lost(&mut self, resubscribe: bool, events: &mut Events) {
        let answers = self.granted();
        for (_, filter) in self.filters.iter_mut().filter(|(_, filter)| filter.granted > 0) {
            filter.granted = 0;
            if !filter.manual {
                filter.identifier = 0;
            }
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.own_session = true;
        if resubscribe {
            return self.restore(answers, true);
        }
        for answer in answers {
            for handle in self.forget(answer.number) {
                events.push(Event::Inactive { handle, error: None });
            }
        }
    }

    /// The server may have made a new session without our knowledge: what was granted is asked for once more.
    pub fn session_doubtful(&mut self) {
        let answers = self.granted();
        self.restore(answers, false);
    }

    fn granted(&self) -> Vec<Answer> {
        let granted = self.filters.iter().filter(|(_, filter)| filter.granted > 0);
        granted.map(|(number, filter)| Answer { filter: filter.text.clone(), number, code: None }).collect()
    }

    fn restore(&mut self, answers: Vec<Answer>, lost: bool) {
        if !answers.is_empty() {
            // Ahead of what the application asked since, which may be to leave one of them.
            let later = std::mem::take(&mut self.waiting);
            self.request(0, Kind::Restore { lost }, answers, PropertiesBuf::default());
            self.waiting.extend(later);
        }
    }

    /// The client is closed: hands out every token that waits.
    pub fn close(&mut self) -> Vec<Token> {
        self.waiting.clear();
        let requests = std::mem::take(&mut self.requests);
        requests.iter().map(|(_, request)| request.token).filter(|&token| token != 0).collect()
    }

    fn request(&mut self, token: Token, kind: Kind, filters: Vec<Answer>, properties: PropertiesBuf) {
        let items = (0..filters.len() as u32).collect();
        let request = Request { token, kind, open: filters.len(), filters };
        let number = self.requests.insert(request);
        self.waiting.push_back(Part { request: number, items, properties, order: 0 });
    }

    fn number(&self, text: &str) -> Option<u32> {
        let path = self.trie.get(stripped(text))?;
        self.paths.get(path)?.iter().copied().find(|&n| self.filters.get(n).is_some_and(|f| &*f.text == text))
    }

    /// Adds a Subscription to a filter, which is made where it is new. None: it has the filter already.
    fn join(&mut self, text: &Rc<str>, options: SubscribeOptions, handle: Handle) -> Option<u32> {
        if let Some(number) = self.number(text) {
            let filter = self.filters.get_mut(number)?;
            if filter.members.contains(&handle) {
                return None;
            }
            filter.members.push(handle);
            filter.options = SubscribeOptions {
                qos: filter.options.qos.max(options.qos),
                no_local: filter.options.no_local && options.no_local,
                retain_as_published: filter.options.retain_as_published || options.retain_as_published,
                retain_handling: options.retain_handling,
            };
            return Some(number);
        }
        let path = self.trie.get(stripped(text)).unwrap_or_else(|| {
            let path = self.paths.insert(Vec::new());
            self.trie.insert(stripped(text), path);
            path
        });
        let number = self.filters.insert(Filter {
            text: text.clone(),
            path,
            identifier: 0,
            manual: false,
            options,
            user_properties: PropertiesBuf::default(),
            granted: 0,
            members: vec![handle],
        });
        self.paths.get_mut(path)?.push(number);
        Some(number)
    }

    /// Ends a Subscription and returns the filters that nobody has any more.
    fn end(&mut self, handle: Handle) -> Vec<Rc<str>> {
        let Some(own) = self.subscriptions.get_mut(handle as usize).and_then(Option::take) else {
            return Vec::new();
        };
        self.count -= 1;
        self.epoch = self.epoch.wrapping_add(1);
        own.into_iter().filter_map(|number| self.part_with(number, handle)).collect()
    }

    /// Takes a filter out of all Subscriptions and returns those that have none left.
    fn forget(&mut self, number: u32) -> Vec<Handle> {
        let Some(filter) = self.filters.get(number) else {
            return Vec::new();
        };
        let mut ended = Vec::new();
        for handle in filter.members.clone() {
            if let Some(Some(own)) = self.subscriptions.get_mut(handle as usize) {
                own.retain(|&n| n != number);
                if own.is_empty() {
                    self.subscriptions[handle as usize] = None;
                    self.count -= 1;
                    ended.push(handle);
                }
            }
            self.part_with(number, handle);
        }
        ended
    }

    /// One Subscription leaves a filter; the filter goes with the last, and is returned then.
    fn part_with(&mut self, number: u32, handle: Handle) -> Option<Rc<str>> {
        self.epoch = self.epoch.wrapping_add(1);
        let filter = self.filters.get_mut(number)?;
        filter.members.retain(|&member| member != handle);
        if !filter.members.is_empty() {
            return None;
        }
        let filter = self.filters.remove(number)?;
        let path = self.paths.get_mut(filter.path)?;
        path.retain(|&n| n != number);
        if path.is_empty() {
            self.paths.remove(filter.path);
            self.trie.remove(stripped(&filter.text));
        }
        Some(filter.text)
    }
}

/// What the server cannot do with this filter, if anything.
pub fn unsupported(filter: &str, identifier: bool, server: &Server) -> Option<(ReasonCode, &'static str)> {
    if identifier && !server.identifiers && server.version == Version::V5 {
        return Some((
            ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            "the server does not support subscription identifiers",
        ));
    }
    if !server.wildcards && stripped(filter).contains(['+', '#']) {
        return Some((
            ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
            "the server does not support wildcards in filters",
        ));
    }
    if !server.shared && shared(filter).is_some() {
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

impl Slab<Filter> {
    /// The filter that was asked for, unless everybody has left it since: then its number may be another's.
    fn of(&self, answer: &Answer) -> Option<&Filter> {
        self.get(answer.number).filter(|filter| Rc::ptr_eq(&filter.text, &answer.filter))
    }

    fn of_mut(&mut self, answer: &Answer) -> Option<&mut Filter> {
        self.get_mut(answer.number).filter(|filter| Rc::ptr_eq(&filter.text, &answer.filter))
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
        self.values.iter().enumerate().filter_map(|(number, value)| Some((number as u32, value.as_ref()?)))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.values.iter_mut().enumerate().filter_map(|(number, value)| Some((number as u32, value.as_mut()?)))
    }
}
