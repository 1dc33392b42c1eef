//! One request: the filters in it, the parts in which it is sent, and what comes of it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::filter::{Asked, FilterId, Sending, Status};
use super::filters::Filters;
use super::slab::key;
use crate::codec::{PropertiesBuf, ReasonCode};
use crate::session::error::{Error, ErrorCode};
use crate::session::event::{Event, Events, FilterCode, Handle, Token};

key! {
    /// Names a [`Request`].
    RequestId
}

/// A subscribe or unsubscribe call, or what the client asks for on its own.
#[derive(Clone, Hash, Debug)]
pub(super) struct Request {
    /// The call that waits for it, if any.
    pub token: Option<Token>,
    pub kind: Kind,
    /// The filters that it names, in the order in which they were given.
    pub items: Vec<Item>,
    /// How many items are not answered.
    unanswered: usize,
    /// The server must get the request even if nobody waits any more: something of it was sent, or
    /// Subscriptions have ended with it.
    pub committed: bool,
}

/// What a request is for.
#[derive(Clone, Copy, Hash, PartialEq, Debug)]
pub(super) enum Kind {
    /// A subscribe call, for this Subscription.
    Subscribe(Handle),
    /// A subscribe call whose Subscription has ended meanwhile.
    SubscribeEnded(Handle),
    /// The client asks again for what a lost session had.
    Restore,
    /// The client asks again for what the server may or may not have.
    Confirm,
    /// The server shall not have the filters any more.
    Unsubscribe,
}

impl Kind {
    pub(super) fn asked(self) -> Asked {
        match self {
            Self::Subscribe(_) | Self::SubscribeEnded(_) | Self::Restore => Asked::Subscribe,
            Self::Confirm => Asked::SubscribeAgain,
            Self::Unsubscribe => Asked::Unsubscribe,
        }
    }

    /// Whether the client asks again, on its own, for what the application has subscribed to
    /// before.
    pub(super) fn restores(self) -> bool {
        matches!(self, Self::Restore | Self::Confirm)
    }
}

/// A filter of a request, and the answer.
#[derive(Clone, Hash, Debug)]
pub(super) struct Item {
    pub filter: FilterId,
    pub code: Option<ReasonCode>,
}

impl Request {
    pub(super) fn new(
        token: Option<Token>,
        kind: Kind,
        filters: &[FilterId],
        committed: bool,
    ) -> Self {
        let items = filters.iter().map(|&filter| Item { filter, code: None }).collect();
        Self { token, kind, items, unanswered: filters.len(), committed }
    }

    /// Notes the answer for an item, which has none yet. Returns its filter.
    pub(super) fn answer(&mut self, item: u32, code: ReasonCode) -> FilterId {
        let item = &mut self.items[item as usize];
        item.code = Some(code);
        self.unanswered -= 1;
        item.filter
    }

    /// Whether all of it is answered.
    pub(super) fn is_answered(&self) -> bool {
        self.unanswered == 0
    }

    /// The filters of a part of this request.
    pub(super) fn filters<'a>(&'a self, part: &'a Part) -> impl Iterator<Item = FilterId> {
        part.items.iter().map(|&item| self.filter(item))
    }

    pub(super) fn filter(&self, item: u32) -> FilterId {
        self.items[item as usize].filter
    }
}

/// Some filters of a request that go in one packet. It waits to be sent, or was sent and is not
/// answered.
#[derive(Clone, Hash, Debug)]
pub(crate) struct Part {
    pub(super) request: RequestId,
    /// Indices into the items of the request, at least one.
    pub(super) items: Vec<u32>,
    /// The properties of an UNSUBSCRIBE.
    pub(super) properties: PropertiesBuf,
    /// The packet in which it was sent last.
    pub(super) sending: Option<Sending>,
    /// It was sent on an earlier connection, in this session.
    pub(super) repeated: bool,
    /// How often the server has hung up while it was the first that was not answered. See
    /// `outbox::blame`.
    pub(crate) losses: u8,
}

impl Part {
    /// How many filters are in it.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Counts up with every part that is sent; 0 before.
    pub(crate) fn order(&self) -> u64 {
        self.sending.map_or(0, Sending::get)
    }

    /// Moves those of its items that are picked to a part of their own. Returns `None` if none is.
    pub(super) fn split(&mut self, picked: &dyn Fn(u32) -> bool) -> Option<Self> {
        let items: Vec<_> = self.items.extract_if(.., |item| picked(*item)).collect();
        let is_some = !items.is_empty();
        is_some.then(|| Self { items, properties: self.properties.clone(), ..*self })
    }

    /// Moves its items from the `count`th on to a part of their own. Returns `None` if nothing
    /// stays, or nothing goes.
    pub(super) fn split_off(&mut self, count: usize) -> Option<Self> {
        let &middle = self.items.get(count).filter(|_| count > 0)?;
        self.split(&|item| item >= middle)
    }
}

/// What came of a request, all of which is answered.
pub(super) struct Outcome {
    token: Option<Token>,
    /// What the application gets as the code of each filter.
    pub codes: Vec<FilterCode>,
    /// Why a part of it could not be sent.
    unsendable: Option<Box<Error>>,
}

impl Outcome {
    pub(super) fn new(
        request: &Request,
        unsendable: Option<Box<Error>>,
        filters: &Filters,
    ) -> Self {
        let mut codes = Vec::with_capacity(request.items.len());
        for item in &request.items {
            let filter = &filters[item.filter];
            let mut code = item.code.expect("the item is answered");
            if request.kind != Kind::Unsubscribe
                && matches!(filter.status, Status::Refused | Status::Uncertain)
            {
                // It may have been granted in a session that was lost, and refused since.
                code = code.max(ReasonCode::UNSPECIFIED_ERROR);
            }
            codes.push(FilterCode { filter: filter.topic_filter.text().clone(), code });
        }
        Self { token: request.token, codes, unsendable }
    }

    /// Whether every filter was refused.
    pub(super) fn is_failure(&self) -> bool {
        self.codes.iter().all(|code| code.code.is_error())
    }

    /// Completes a subscribe call, if it waits.
    pub(super) fn report_subscribe(&self, handle: Handle, events: &mut Events) {
        if let Some(token) = self.token {
            events.push(if self.is_failure() {
                let what = "the server refused the subscription";
                Event::Failed { token, error: self.error(ErrorCode::SubscribeRefused, what) }
            } else {
                Event::Subscribed { token, handle, grants: self.codes.clone() }
            });
        }
    }

    /// Completes an unsubscribe call, if it waits.
    pub(super) fn report_unsubscribe(&self, events: &mut Events) {
        if let Some(token) = self.token {
            events.push(if self.is_failure() {
                let what = "the server refused to unsubscribe";
                Event::Failed { token, error: self.error(ErrorCode::UnsubscribeRefused, what) }
            } else {
                Event::Unsubscribed { token, codes: self.codes.clone() }
            });
        }
    }

    /// The error that lists what was refused. `code` and `what` are those of a refusal by the
    /// server.
    pub(super) fn error(&self, code: ErrorCode, what: &'static str) -> Box<Error> {
        let mut error = self.unsendable.clone().unwrap_or_else(|| Error::new(code, what));
        // Of what has ended the connection, the server may have given no reason.
        if self.unsendable.as_ref().is_none_or(|unsendable| unsendable.code != code) {
            let refused = self.codes.iter().find(|code| code.code.is_error());
            error.reason = error.reason.or(refused.map(|code| code.code));
        }
        error.filters = self.codes.clone();
        error
    }
}
