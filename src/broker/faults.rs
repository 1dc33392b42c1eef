//! Faults on demand: what goes wrong between a client and its broker, at the moment that the test chooses.

use std::rc::Rc;

use super::connection::{Frozen, Stage};
use super::handshake::Ending;
use super::{Broker, ConnectionId, InvalidRequest};
use crate::codec::{PacketSet, ReasonCode, check_filter, matches, shared};
use crate::session::Instant;

/// What the test has asked for.
#[derive(Clone, Default, Debug)]
pub(super) struct Faults {
    /// For every CONNECT.
    pub refusal: Option<ReasonCode>,
    /// Milliseconds that everything the broker sends takes.
    pub delay_ms: u64,
    denied_publish: Vec<Rc<str>>,
    denied_subscribe: Vec<Rc<str>>,
    /// Cuts for connections to come: by client, and after how many bytes.
    cuts: Vec<Cut>,
}

/// A cut of a connection that is still to come.
#[derive(Clone, Debug)]
struct Cut {
    /// `None`: the next connection, whoever it is.
    client_id: Option<Rc<str>>,
    bytes: u64,
}

impl Faults {
    pub(super) fn denies_publish(&self, topic: &str) -> bool {
        self.denied_publish.iter().any(|filter| matches(filter, topic))
    }

    /// A filter is denied where the rule covers all of it: the rule `a/#` denies `a/+/b` and not `#`.
    pub(super) fn denies_subscribe(&self, filter: &str) -> bool {
        let filter = shared(filter).map_or(filter, |(_, filter)| filter);
        self.denied_subscribe.iter().any(|rule| covers(rule, filter))
    }

    /// The cut that waits for any connection.
    pub(super) fn cut_of_next(&mut self) -> Option<u64> {
        self.take_cut(|cut| cut.client_id.is_none())
    }

    /// The cut that waits for this client.
    pub(super) fn cut_of(&mut self, client_id: &str) -> Option<u64> {
        self.take_cut(|cut| cut.client_id.as_deref() == Some(client_id))
    }

    fn take_cut(&mut self, is_meant: impl Fn(&Cut) -> bool) -> Option<u64> {
        let at = self.cuts.iter().position(is_meant)?;
        Some(self.cuts.remove(at).bytes)
    }
}

/// Whether everything that the filter matches, the rule matches too.
fn covers(rule: &str, filter: &str) -> bool {
    if rule.starts_with(['+', '#']) && filter.starts_with('$') {
        return false;
    }
    let (mut rule, mut filter) = (rule.split('/'), filter.split('/'));
    loop {
        match (rule.next(), filter.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, Some("#")) => return false,
            (Some("+"), Some(_)) => {}
            (Some(level), Some(same)) if level == same => {}
            _ => return false,
        }
    }
}

/// Cuts that may wait for connections to come.
const MAXIMUM_CUTS: usize = 1_000;

/// The verbs of a test. Where a client is named, only its connection is meant, and nothing happens if it has none;
/// otherwise all.
impl Broker {
    /// Ends connections without a word, as when the network fails. Their Wills are published.
    pub fn drop_connections(&mut self, now: Instant, client_id: Option<&str>) {
        for id in self.connections_of(client_id) {
            self.lose(now, id);
        }
    }

    /// Makes connections half open: nothing passes in either direction, and neither side is told. The result is for
    /// [`Broker::thaw`]. The broker's keep-alive goes on, and so does the client's.
    pub fn freeze(&mut self, client_id: Option<&str>) -> Vec<ConnectionId> {
        let frozen = self.connections_of(client_id);
        for id in &frozen {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.link.frozen.get_or_insert_with(Frozen::default);
            }
        }
        frozen
    }

    /// Lets connections go on: what was sent meanwhile arrives now. One that has ended is left alone.
    pub fn thaw(&mut self, now: Instant, connections: &[ConnectionId]) {
        for &id in connections {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let Some(Frozen { input, closed }) = connection.link.frozen.take() else { continue };
            self.ready.insert(id);
            self.handle_input(now, id, &input);
            if closed {
                self.handle_close(now, id);
            }
        }
    }

    /// Ends connections with a DISCONNECT; on 3.1.1, where a server cannot send one, only by closing them. Wills are
    /// published. Fails where a server may not send this reason code (MQTT 5, 3.14.2.1).
    pub fn disconnect(
        &mut self,
        now: Instant,
        reason: ReasonCode,
        client_id: Option<&str>,
    ) -> Result<(), InvalidRequest> {
        if !reason.stands_in(PacketSet::SERVER_DISCONNECT) {
            return Err(InvalidRequest::new(
                "reasonCode",
                "is none that a server sends in DISCONNECT",
            ));
        }
        for id in self.connections_of(client_id) {
            self.end(now, id, reason, None, Ending::Lost);
        }
        Ok(())
    }

    /// Refuses every CONNECT from now on; `None`: no more. On 3.1.1 the return code that comes nearest is sent. Fails
    /// where a CONNACK cannot refuse with this reason code (MQTT 5, 3.2.2.2).
    pub fn refuse(&mut self, reason: Option<ReasonCode>) -> Result<(), InvalidRequest> {
        if reason.is_some_and(|reason| !reason.is_error() || !reason.stands_in(PacketSet::CONNACK))
        {
            return Err(InvalidRequest::new("reasonCode", "is none that refuses a CONNECT"));
        }
        self.faults.refusal = reason;
        Ok(())
    }

    /// Loses sessions, as a server that restarts without its storage does: subscriptions, messages and delayed Wills are
    /// gone. A client that is connected is not told; its next CONNECT finds no session.
    pub fn lose_session(&mut self, client_id: Option<&str>) {
        let meant: Vec<_> = match client_id {
            Some(client_id) => self.names.get(client_id).copied().into_iter().collect(),
            None => self.sessions.keys().copied().collect(),
        };
        for id in meant {
            self.forget(id);
        }
    }

    /// Denies topics, in addition to what is denied already: messages that `publish` matches are not taken, and
    /// subscriptions that `subscribe` covers are not granted. Without either, nothing is denied any more. Fails where
    /// one is no Topic Filter.
    pub fn deny(
        &mut self,
        publish: Option<&str>,
        subscribe: Option<&str>,
    ) -> Result<(), InvalidRequest> {
        for (name, filter) in [("publish", publish), ("subscribe", subscribe)] {
            if filter.is_some_and(|filter| check_filter(filter).is_err()) {
                return Err(InvalidRequest::new(name, "is no topic filter"));
            }
        }
        if publish.is_none() && subscribe.is_none() {
            self.faults.denied_publish.clear();
            self.faults.denied_subscribe.clear();
        }
        self.faults.denied_publish.extend(publish.map(Rc::from));
        self.faults.denied_subscribe.extend(subscribe.map(Rc::from));
        Ok(())
    }

    /// Cuts connections when `bytes` more have passed, in both directions together, be it in the middle of a packet.
    /// Where the client (or, without one, any) is not connected, its next connection is meant, and the bytes count from
    /// its beginning.
    pub fn cut_after(&mut self, now: Instant, bytes: u64, client_id: Option<&str>) {
        let meant = self.connections_of(client_id);
        for id in &meant {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.link.cut_after(bytes);
            }
            self.cut_if_due(now, *id);
        }
        if meant.is_empty() && self.faults.cuts.len() < MAXIMUM_CUTS {
            self.faults.cuts.push(Cut { client_id: client_id.map(Rc::from), bytes });
        }
    }

    /// Delays everything that the broker sends from now on by so many milliseconds. 0: no more.
    pub fn delay(&mut self, ms: u64) {
        self.faults.delay_ms = ms;
    }

    /// The connections that are open: those of a client, or all.
    fn connections_of(&self, client_id: Option<&str>) -> Vec<ConnectionId> {
        let is_meant = |stage: &Stage| match (stage, client_id) {
            (Stage::Over, _) => false,
            (_, None) => true,
            (Stage::Up(up), Some(client_id)) => *up.client_id == *client_id,
            (Stage::Opened { .. }, Some(_)) => false,
        };
        let meant = self.connections.iter().filter(|(_, connection)| is_meant(&connection.stage));
        meant.map(|(id, _)| *id).collect()
    }

    /// Cuts a connection that has carried all that it was to carry.
    pub(super) fn cut_if_due(&mut self, now: Instant, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(|connection| connection.link.is_cut()) {
            self.lose(now, id);
        }
    }
}
