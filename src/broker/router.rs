//! Who gets a message: subscriptions by filter, shared subscriptions by group, and the retained messages.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::SessionId;
use super::message::Message;
use crate::codec::{QoS, SubscribeOptions, SubscriptionId, Trie, matches, shared};
use crate::session::Instant;

/// What a session asked for with one filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Subscription {
    /// With the QoS that was granted.
    pub options: SubscribeOptions,
    /// The Subscription Identifier (MQTT 5, 3.8.2.1.2).
    pub identifier: Option<SubscriptionId>,
}

/// A copy of a message that one session is to get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    pub session: SessionId,
    /// The highest QoS of the subscriptions that match.
    pub qos: QoS,
    pub retain_as_published: bool,
    pub identifiers: Vec<SubscriptionId>,
}

impl Route {
    fn new(session: SessionId, subscription: &Subscription) -> Self {
        Self {
            session,
            qos: subscription.options.qos,
            retain_as_published: subscription.options.retain_as_published,
            identifiers: subscription.identifier.into_iter().collect(),
        }
    }

    /// One copy serves all subscriptions of a session that match [MQTT-3.3.4-2].
    fn merge(&mut self, subscription: &Subscription) {
        self.qos = self.qos.max(subscription.options.qos);
        self.retain_as_published |= subscription.options.retain_as_published;
        self.identifiers.extend(subscription.identifier);
    }
}

/// The members of a shared subscription (MQTT 5, 4.8.2).
#[derive(Clone, Default, Debug)]
struct Group {
    members: BTreeMap<SessionId, Subscription>,
    /// The member that got the last message.
    last: Option<SessionId>,
}

impl Group {
    /// The next member in turn. Those that are connected go first.
    fn next(&mut self, is_connected: &impl Fn(SessionId) -> bool) -> Option<Route> {
        let turn = || {
            let after = self.members.iter().filter(|(id, _)| Some(**id) > self.last);
            let before = self.members.iter().filter(|(id, _)| Some(**id) <= self.last);
            after.chain(before)
        };
        let (&session, subscription) =
            turn().find(|(id, _)| is_connected(**id)).or_else(|| turn().next())?;
        let route = Route::new(session, subscription);
        self.last = Some(session);
        Some(route)
    }
}

/// All subscriptions to one filter.
#[derive(Clone, Default, Debug)]
struct Entry {
    direct: BTreeMap<SessionId, Subscription>,
    groups: BTreeMap<Rc<str>, Group>,
}

/// The subscriptions of all sessions.
#[derive(Clone, Default, Debug)]
pub(super) struct Router {
    trie: Trie,
    /// By the numbers in the trie.
    entries: Vec<Entry>,
    /// Numbers to use again.
    free: Vec<u32>,
    /// How many subscriptions begin with `$SYS`.
    system: usize,
}

/// The group and the filter that is matched.
fn parts(filter: &str) -> (Option<&str>, &str) {
    shared(filter).map_or((None, filter), |(group, filter)| (Some(group), filter))
}

fn is_system(filter: &str) -> bool {
    filter.starts_with("$SYS")
}

impl Router {
    /// Adds or replaces a subscription. Whether it is new [MQTT-3.8.4-3].
    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        filter: &str,
        subscription: Subscription,
    ) -> bool {
        let (group, filter) = parts(filter);
        let at = match self.trie.get(filter) {
            Some(at) => at,
            None => {
                let at = self.free.pop().unwrap_or_else(|| {
                    self.entries.push(Entry::default());
                    self.entries.len() as u32 - 1
                });
                self.trie.insert(filter, at);
                at
            }
        };
        let entry = &mut self.entries[at as usize];
        let members = match group {
            None => &mut entry.direct,
            Some(group) => &mut entry.groups.entry(group.into()).or_default().members,
        };
        let is_new = members.insert(session, subscription).is_none();
        self.system += usize::from(is_new && is_system(filter));
        is_new
    }

    /// Takes a subscription out. Whether there was one.
    pub(super) fn unsubscribe(&mut self, session: SessionId, filter: &str) -> bool {
        let (group, filter) = parts(filter);
        let Some(at) = self.trie.get(filter) else { return false };
        let entry = &mut self.entries[at as usize];
        let was_there = match group {
            None => entry.direct.remove(&session).is_some(),
            Some(name) => {
                let Some(group) = entry.groups.get_mut(name) else { return false };
                let was_there = group.members.remove(&session).is_some();
                if group.members.is_empty() {
                    entry.groups.remove(name);
                }
                was_there
            }
        };
        if entry.direct.is_empty() && entry.groups.is_empty() {
            self.trie.remove(filter);
            self.free.push(at);
        }
        self.system -= usize::from(was_there && is_system(filter));
        was_there
    }

    /// The copies of a message on `topic` that `publisher` sent. `None`: the broker itself did.
    pub(super) fn route(
        &mut self,
        topic: &str,
        publisher: Option<SessionId>,
        is_connected: impl Fn(SessionId) -> bool,
    ) -> Vec<Route> {
        let mut found = Vec::new();
        self.trie.matching(topic, &mut found);
        found.sort_unstable();
        let mut direct: BTreeMap<SessionId, Route> = BTreeMap::new();
        let mut dealt = Vec::new();
        for at in found {
            let entry = &mut self.entries[at as usize];
            for (&session, subscription) in &entry.direct {
                if subscription.options.no_local && publisher == Some(session) {
                    continue;
                }
                direct
                    .entry(session)
                    .and_modify(|route| route.merge(subscription))
                    .or_insert_with(|| Route::new(session, subscription));
            }
            dealt.extend(entry.groups.values_mut().filter_map(|group| group.next(&is_connected)));
        }
        direct.into_values().chain(dealt).collect()
    }

    /// Whether somebody listens to the broker's own topics.
    pub(super) fn has_system_subscriptions(&self) -> bool {
        self.system > 0
    }
}

/// How many messages are retained at most.
pub const MAXIMUM_RETAINED: usize = 10_000;
/// How many bytes the retained messages have at most, all together.
const MAXIMUM_RETAINED_BYTES: usize = 64 * 1024 * 1024;

/// The retained messages, by topic.
#[derive(Clone, Default, Debug)]
pub(super) struct Retained {
    messages: BTreeMap<Rc<str>, Rc<Message>>,
    bytes: usize,
}

/// There is no room for another retained message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Full;

impl Retained {
    /// Keeps a message in place of the one that its topic had; an empty one deletes it [MQTT-3.3.1-5] [MQTT-3.3.1-6].
    pub(super) fn store(&mut self, now: Instant, message: &Rc<Message>) -> Result<(), Full> {
        if message.payload.is_empty() {
            self.remove(&message.topic);
            return Ok(());
        }
        if !self.has_room(message) {
            self.expire(now);
        }
        if !self.has_room(message) {
            return Err(Full);
        }
        self.remove(&message.topic);
        self.bytes += message.size();
        self.messages.insert(message.topic.clone(), message.clone());
        Ok(())
    }

    /// The messages that match a filter, in the order of their topics.
    pub(super) fn matching(&self, now: Instant, filter: &str) -> Vec<Rc<Message>> {
        self.iter(now).filter(|message| matches(filter, &message.topic)).cloned().collect()
    }

    /// All messages that have not expired, in the order of their topics.
    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = &Rc<Message>> {
        self.messages.values().filter(move |message| !message.is_expired(now))
    }

    fn has_room(&self, message: &Message) -> bool {
        let replaced = self.messages.get(&message.topic);
        let count = self.messages.len() - usize::from(replaced.is_some());
        let bytes = self.bytes - replaced.map_or(0, |replaced| replaced.size());
        count < MAXIMUM_RETAINED && bytes + message.size() <= MAXIMUM_RETAINED_BYTES
    }

    fn remove(&mut self, topic: &str) {
        if let Some(message) = self.messages.remove(topic) {
            self.bytes -= message.size();
        }
    }

    fn expire(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.messages.retain(|_, message| {
            let stays = !message.is_expired(now);
            *bytes -= if stays { 0 } else { message.size() };
            stays
        });
    }
}
