//! All filters that are known: the changes to them, and which of them match a topic.

use alloc::vec::Vec;
use core::ops::Index;

use super::filter::{Answer, Filter, FilterId, PathId, Status, Wanted};
use super::identifiers::{self, Identifier};
use super::slab::Slab;
use crate::codec::{PropertiesBuf, SubscribeOptions, SubscriptionId, TopicFilter, Trie};
use crate::session::event::Handle;
use crate::session::topic_table::Epoch;

/// All filters that are known.
///
/// A filter is read by indexing. All that changes one is a method here, so that [`Filters::epoch`]
/// follows.
#[derive(Clone, Default, Hash, Debug)]
pub(super) struct Filters {
    filters: Slab<FilterId, Filter>,
    /// Finds the paths that match a topic.
    trie: Trie,
    /// The filters of each entry of the trie: `$share/g/a` and `a` lie on the same path.
    paths: Slab<PathId, Vec<FilterId>>,
    /// How many times a filter was granted so far.
    grants: u32,
    /// The subscription identifier that was assigned last.
    last_identifier: Option<SubscriptionId>,
    /// The session began with this client, so all identifiers that the server knows come from here.
    own_session: bool,
    epoch: Epoch,
}

impl Index<FilterId> for Filters {
    type Output = Filter;

    fn index(&self, id: FilterId) -> &Filter {
        &self.filters[id]
    }
}

impl Filters {
    /// Changes whenever [`Filters::routes`] may return something else than before.
    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn get(&self, id: FilterId) -> Option<&Filter> {
        self.filters.get(id)
    }

    /// The filters that the server has granted in this session.
    pub(super) fn granted(&self) -> Vec<FilterId> {
        let mut granted = Vec::new();
        for (id, filter) in self.filters.iter() {
            if let Status::Granted(_) = filter.status {
                granted.push(id);
            }
        }
        granted
    }

    /// Returns the id of a filter, which is added if it is new.
    pub(super) fn add(&mut self, filter: &TopicFilter) -> FilterId {
        let path = match self.trie.get(filter.matched()) {
            Some(path) => PathId::from(path),
            None => {
                let path = self.paths.insert(Vec::new());
                self.trie.insert(filter.matched(), path.into());
                path
            }
        };
        let mut known = self.paths[path].iter();
        if let Some(&id) = known.find(|&&id| self.filters[id].topic_filter == *filter) {
            return id;
        }
        let id = self.filters.insert(Filter::new(filter, path));
        self.paths[path].push(id);
        id
    }

    /// Removes a filter that nobody wants, no request names and the server does not have.
    pub(super) fn remove(&mut self, id: FilterId) {
        let filter = self.filters.remove(id);
        let path = &mut self.paths[filter.path];
        take_out(path, id);
        if path.is_empty() {
            self.paths.remove(filter.path);
            self.trie.remove(filter.topic_filter.matched());
        }
    }

    /// Adds a Subscription to a filter, which is added if it is new. Returns `None` if the
    /// Subscription has it already.
    pub(super) fn add_member(
        &mut self,
        filter: &TopicFilter,
        handle: Handle,
        options: SubscribeOptions,
        identifier: Option<SubscriptionId>,
        user_properties: &PropertiesBuf,
    ) -> Option<FilterId> {
        let id = self.add(filter);
        let wanted = self.filters[id].wanted.get_or_insert_with(|| Wanted {
            members: Vec::new(),
            options,
            identifier: Identifier::None,
            user_properties: PropertiesBuf::default(),
        });
        if wanted.members.contains(&handle) {
            return None;
        }
        let before = wanted.options;
        wanted.options = SubscribeOptions {
            qos: before.qos.max(options.qos),
            no_local: before.no_local && options.no_local,
            retain_as_published: before.retain_as_published || options.retain_as_published,
            retain_handling: options.retain_handling,
        };
        wanted.members.push(handle);
        wanted.user_properties = user_properties.clone();
        if let Some(identifier) = identifier {
            wanted.identifier = Identifier::Chosen(identifier);
        }
        self.routes_changed();
        Some(id)
    }

    /// Takes a Subscription out of a filter, if it is there. Returns true if nobody wants the filter
    /// any more.
    pub(super) fn remove_member(&mut self, id: FilterId, handle: Handle) -> bool {
        let wanted = &mut self.filters[id].wanted;
        if let Some(Wanted { members, .. }) = wanted {
            take_out(members, handle);
            if members.is_empty() {
                *wanted = None;
            }
        }
        let is_unwanted = wanted.is_none();
        self.routes_changed();
        is_unwanted
    }

    /// Returns the next subscription identifier to assign.
    pub(super) fn fresh_identifier(&mut self) -> SubscriptionId {
        *self.last_identifier.insert(identifiers::after(self.last_identifier))
    }

    /// Gives an identifier to a filter that is wanted.
    pub(super) fn assign_identifier(&mut self, id: FilterId, identifier: SubscriptionId) {
        let wanted = self.filters[id].wanted.as_mut().expect(WANTED);
        wanted.identifier = Identifier::Assigned(identifier);
        self.routes_changed();
    }

    /// Takes the identifier from a filter that is wanted: the server gets it without one.
    pub(super) fn remove_identifier(&mut self, id: FilterId) {
        let filter = &mut self.filters[id];
        filter.unnumbered = true;
        let wanted = filter.wanted.as_mut().expect(WANTED);
        if wanted.identifier.get().is_some() {
            wanted.identifier = Identifier::None;
            // From here on it shares the copies of the others.
            self.need_stored(id);
        }
    }

    /// Stored messages that come for a filter from here on are needed.
    pub(super) fn need_stored(&mut self, id: FilterId) {
        self.routes_changed();
        self.filters[id].asked_again = Some(self.epoch);
    }

    /// A request names the filter from here on.
    pub(super) fn request_began(&mut self, id: FilterId) {
        self.filters[id].requests += 1;
    }

    /// A request that named the filter is completed.
    pub(super) fn request_ended(&mut self, id: FilterId) {
        self.filters[id].requests -= 1;
    }

    /// Notes the answer for a filter.
    pub(super) fn answered(&mut self, id: FilterId, answer: &Answer) {
        if self.filters[id].answered(answer, &mut self.grants) {
            self.routes_changed();
        }
    }

    /// The server has begun a new session and knows none of the filters.
    pub(super) fn session_lost(&mut self) {
        for filter in self.filters.values_mut() {
            if let Status::Granted(_) = filter.status
                && let Some(Wanted { identifier: identifier @ Identifier::Assigned(_), .. }) =
                    &mut filter.wanted
            {
                *identifier = Identifier::None;
            }
            filter.unnumbered = false;
            filter.status = Status::Absent;
        }
        self.own_session = true;
        self.routes_changed();
    }

    /// Returns which Subscriptions a message goes to, sorted, and which filters match it.
    /// `filters_of` gives the filters of a Subscription.
    ///
    /// The subscription identifiers of the message say which of the filters that match it was sent
    /// for, if all of them are known for its topic. Else it goes to every filter that matches. A
    /// Subscription with several filters that match gets the message for one of them only: the one
    /// that the server has had for longest, because it may not have the others yet.
    pub(super) fn routes<'a>(
        &self,
        topic: &str,
        identifiers: &[u32],
        filters_of: impl Fn(Handle) -> &'a [FilterId],
    ) -> (Vec<Handle>, Vec<FilterId>) {
        let matching = self.matching(topic);
        let is_known =
            |value: u32| matching.iter().any(|&id| self.filters[id].has_identifier(value));
        let all_known = !identifiers.is_empty()
            && identifiers.iter().all(|&value| is_known(value) || self.has_ended(value));
        // A filter that the server may have without an identifier shares the copy of the others.
        let is_for = |filter: &Filter| {
            !all_known
                || filter.unnumbered
                || filter.identifier().is_none_or(|id| identifiers.contains(&id.get()))
        };
        let age = |&&id: &&FilterId| (self.filters[id].status, self.filters[id].identifier());
        let oldest = |filters: &'a [FilterId]| match filters {
            [only] => Some(only),
            _ => filters.iter().filter(|id| matching.contains(id)).min_by_key(age),
        };
        let mut routes = Vec::new();
        for id in &matching {
            let filter = &self.filters[*id];
            if !is_for(filter) {
                continue;
            }
            for &handle in filter.members() {
                if oldest(filters_of(handle)) == Some(id)
                    && let Err(at) = routes.binary_search(&handle)
                {
                    routes.insert(at, handle);
                }
            }
        }
        (routes, matching)
    }

    /// The filters that match a topic.
    fn matching(&self, topic: &str) -> Vec<FilterId> {
        let mut paths = Vec::new();
        self.trie.matching(topic, &mut paths);
        let mut matching = Vec::new();
        for path in paths {
            matching.extend_from_slice(&self.paths[PathId::from(path)]);
        }
        matching
    }

    /// Whether an identifier was that of a filter that has been left since. A copy for it is
    /// nobody's: the filters that are left get copies of their own.
    fn has_ended(&self, value: u32) -> bool {
        self.own_session
            && self.last_identifier.is_some_and(|last| value <= last.get())
            && !self.filters.iter().any(|(_, filter)| filter.has_identifier(value))
    }

    /// Begins another epoch.
    #[inline(never)]
    pub(super) fn routes_changed(&mut self) {
        self.epoch = self.epoch.next();
    }
}

/// Takes out of a list what it has at most once.
#[inline(never)]
pub(super) fn take_out<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if let Some(at) = list.iter().position(|other| *other == item) {
        list.remove(at);
    }
}

const WANTED: &str = "the filter is wanted";
