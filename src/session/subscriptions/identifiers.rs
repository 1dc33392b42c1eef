//! Subscription identifiers, and which filters share one.
//!
//! A SUBSCRIBE has one subscription identifier for all its filters, so filters that can match the
//! same topic go in packets of their own. Then the identifier of a message says which filter it was
//! sent for, and a server that sends a copy for each subscription that overlaps [MQTT5 3.3.4] gives
//! each handler its message once.

use alloc::vec;
use alloc::vec::Vec;

use super::filter::FilterId;
use super::filters::Filters;
use crate::codec::SubscriptionId;

/// How many filters with a wildcard may share an identifier. Each new one is compared with all of
/// them.
const GROUP: usize = 64;

const FIRST: SubscriptionId = SubscriptionId::new(1).unwrap();

/// Returns the identifier to assign after the last one. The first comes after the largest.
pub(super) fn after(last: Option<SubscriptionId>) -> SubscriptionId {
    last.and_then(|last| SubscriptionId::new(last.get() + 1)).unwrap_or(FIRST)
}

/// The subscription identifier of a filter, and who chose it.
#[derive(Clone, Copy, Hash, Debug)]
pub(super) enum Identifier {
    /// There is none.
    None,
    /// The client has chosen it.
    Assigned(SubscriptionId),
    /// The application has chosen it.
    Chosen(SubscriptionId),
}

impl Identifier {
    pub(super) fn get(self) -> Option<SubscriptionId> {
        match self {
            Self::None => None,
            Self::Assigned(id) | Self::Chosen(id) => Some(id),
        }
    }
}

/// The identifiers that were assigned to filters of one part, and to which.
#[derive(Default)]
pub(super) struct Groups {
    /// The identifier of all filters without a wildcard.
    plain: Option<SubscriptionId>,
    /// The identifiers of filters with a wildcard.
    wild: Vec<(SubscriptionId, Vec<FilterId>)>,
}

impl Groups {
    /// Returns the identifier to assign to a filter: a fresh one, unless the filter can share that
    /// of others.
    pub(super) fn identifier(&mut self, id: FilterId, filters: &mut Filters) -> SubscriptionId {
        let filter = &filters[id];
        if filter.wanted.as_ref().is_some_and(|wanted| !wanted.user_properties.is_empty()) {
            return filters.fresh_identifier();
        }
        if filter.is_plain() {
            // Different topics never overlap.
            return *self.plain.get_or_insert_with(|| filters.fresh_identifier());
        }
        for (identifier, members) in &mut self.wild {
            if members.len() < GROUP && !members.iter().any(|&id| filters[id].overlaps(filter)) {
                members.push(id);
                return *identifier;
            }
        }
        let fresh = filters.fresh_identifier();
        self.wild.push((fresh, vec![id]));
        fresh
    }
}
