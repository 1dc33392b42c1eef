//! Attempts at a connection: the servers and their credentials, what CONNECT says, and what
//! follows when an attempt or a connection has failed.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::error::{Error, ErrorCode, Phase};
use super::event::AttemptId;
use super::reconnect::Reconnect;
use super::time::Instant;
use crate::codec::{Property, ReasonCode, Version, check_text};
use crate::options::{InvalidArgument, Options, VersionChoice};

/// How many bytes of text or binary data fit behind a length of two bytes.
pub(super) const LONGEST_FIELD: usize = 65_535;

/// What the application says to [`super::Command::Resolve`].
#[derive(Clone, Hash, Debug)]
pub struct Resolved {
    /// Where to connect to, at least one.
    pub servers: Vec<Server>,
    /// The credentials come from a function: another call may bring better ones.
    pub dynamic: bool,
}

/// A server to connect to.
#[derive(Clone, Hash, Debug)]
pub struct Server {
    /// Its URL, without credentials.
    pub url: Rc<str>,
    /// What CONNECT presents there.
    pub credentials: Credentials,
}

/// User name and password for CONNECT [MQTT5 3.1.3.5].
#[derive(Clone, Default, Hash, Debug)]
pub struct Credentials {
    /// At most 65,535 bytes in UTF-8.
    pub username: Option<String>,
    /// At most 65,535 bytes.
    pub password: Option<Vec<u8>>,
}

impl Credentials {
    /// What no CONNECT can hold.
    fn fault(&self) -> Option<InvalidArgument> {
        if self.username.as_ref().is_some_and(|username| check_text(username).is_err()) {
            let message = "must be a string of at most 65535 bytes in UTF-8, without U+0000";
            return Some(InvalidArgument::new("username", message));
        }
        let long = self.password.as_ref().is_some_and(|password| password.len() > LONGEST_FIELD);
        long.then(|| InvalidArgument::new("password", "must have at most 65535 bytes"))
    }
}

/// What follows when a connection, or an attempt at one, has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Another attempt at once.
    Now,
    /// Another attempt, so many milliseconds later.
    After(u64),
    /// The first `connect()` has failed, and may be called again.
    ConnectFailed,
    /// The end.
    GiveUp,
}

/// The built-in verdict on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The client backs off, then tries again.
    Retry,
    /// No retry cures it: the client ends.
    Final,
    /// Final, unless the credentials come from a function that was not called again since the
    /// last success.
    Credentials,
    /// The Server Reference names the next server, see [`Reconnect::redirect`]. Final where it
    /// names none of ours.
    Redirect,
}

/// The verdict on a CONNACK or DISCONNECT of the server, in the order of the specification
/// [MQTT5 2.4].
fn verdict(reason: ReasonCode) -> Verdict {
    match reason {
        ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => Verdict::Final,
        ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => Verdict::Final,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD => Verdict::Credentials,
        ReasonCode::NOT_AUTHORIZED => Verdict::Credentials,
        ReasonCode::BANNED => Verdict::Final,
        ReasonCode::BAD_AUTHENTICATION_METHOD => Verdict::Final,
        ReasonCode::SESSION_TAKEN_OVER => Verdict::Final,
        ReasonCode::TOPIC_FILTER_INVALID => Verdict::Final,
        ReasonCode::TOPIC_NAME_INVALID => Verdict::Final,
        ReasonCode::PACKET_TOO_LARGE => Verdict::Final,
        ReasonCode::PAYLOAD_FORMAT_INVALID => Verdict::Final,
        ReasonCode::USE_ANOTHER_SERVER => Verdict::Redirect,
        ReasonCode::SERVER_MOVED => Verdict::Redirect,
        // The state of the server, of the network, or of this connection: it may pass.
        _ => Verdict::Retry,
    }
}

/// Why a version is asked for.
#[derive(Clone, Hash, PartialEq, Eq, Debug)]
enum VersionSource {
    /// It is the one to begin with, and no server has answered it.
    Default,
    /// The server has not answered the other one, which went with this client identifier.
    Guessed { client_id: Rc<str> },
    /// It is the application's choice, or a server has answered it.
    Known,
}

/// Attempts at a connection, from the first to the last.
#[derive(Clone, Hash, Debug)]
pub(super) struct Attempts {
    /// Names the attempt that is under way.
    id: AttemptId,
    servers: Vec<Server>,
    /// The credentials come from a function.
    dynamic: bool,
    /// Which of the servers the attempt goes to, or went to.
    current: usize,
    /// The version of the next CONNECT.
    version: Version,
    version_source: VersionSource,
    client_id: Rc<str>,
    /// A server has accepted a connection since the session began.
    established: bool,
    /// Servers that the first `connect()` has tried.
    tried: usize,
    /// Bad credentials have been asked for again since the last success.
    asked_again: bool,
    /// An earlier CONNECT that asked for the session got no CONNACK. The server may have created a
    /// session for it, so Session Present does not prove that our subscriptions exist.
    doubtful: bool,
    reconnect: Reconnect,
    last_error: Option<Box<Error>>,
    /// Why the last connection that was up has ended.
    pub loss: Option<Box<Error>>,
}

impl Attempts {
    /// Attempts that are about to begin.
    pub(super) fn new(options: &Options) -> Self {
        let is_v4 = options.version == VersionChoice::V311;
        Self {
            id: AttemptId::default(),
            servers: Vec::new(),
            dynamic: false,
            current: 0,
            version: if is_v4 { Version::V311 } else { Version::V5 },
            version_source: match options.version {
                VersionChoice::Auto => VersionSource::Default,
                VersionChoice::V311 | VersionChoice::V5 => VersionSource::Known,
            },
            client_id: options.client_id.as_deref().unwrap_or_default().into(),
            established: false,
            tried: 0,
            asked_again: false,
            doubtful: false,
            reconnect: Reconnect::default(),
            last_error: None,
            loss: None,
        }
    }

    /// Names the attempt that is under way.
    pub(super) fn id(&self) -> AttemptId {
        self.id
    }

    /// What was asked and opened so far is of no interest any more.
    pub(super) fn supersede(&mut self) -> AttemptId {
        self.id = AttemptId(self.id.0.wrapping_add(1));
        self.id
    }

    /// The version of the next CONNECT, or of the last one.
    #[inline]
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The server refuses MQTT 5: the next CONNECT is of 3.1.1.
    pub(super) fn fall_back(&mut self) {
        self.version = Version::V311;
        self.version_source = VersionSource::Known;
    }

    /// Whether no answer to a CONNECT of MQTT 5 may mean that the server knows 3.1.1 only.
    pub(super) fn may_guess_version(&self) -> bool {
        self.version_source == VersionSource::Default
    }

    /// The server does not answer a CONNECT of MQTT 5: the next one is of 3.1.1.
    pub(super) fn guess_version(&mut self) {
        self.version = Version::V311;
        self.version_source = VersionSource::Guessed { client_id: self.client_id.clone() };
    }

    /// The server has not answered a CONNECT of 3.1.1 either, if that was a guess.
    pub(super) fn take_back_guess(&mut self) {
        if let VersionSource::Guessed { client_id } = &self.version_source {
            self.client_id = client_id.clone();
            self.version = Version::V5;
            self.version_source = VersionSource::Default;
        }
    }

    /// Whether the version stays as it is.
    pub(super) fn is_version_known(&self) -> bool {
        self.version_source == VersionSource::Known
    }

    /// The server has answered a CONNECT of this version.
    pub(super) fn keep_version(&mut self) {
        self.version_source = VersionSource::Known;
    }

    /// The client identifier in use; empty: the server assigns one.
    pub(super) fn client_id(&self) -> &Rc<str> {
        &self.client_id
    }

    /// The server, or the client itself, has chosen a client identifier.
    pub(super) fn name_client(&mut self, id: Rc<str>) {
        self.client_id = id;
    }

    /// The URL of the attempt; empty before the first.
    pub(super) fn url(&self) -> Rc<str> {
        self.servers.get(self.current).map_or_else(|| "".into(), |server| server.url.clone())
    }

    /// The credentials for the attempt.
    pub(super) fn credentials(&self) -> Credentials {
        self.servers.get(self.current).map_or_else(Credentials::default, |s| s.credentials.clone())
    }

    /// Whether a server has accepted a connection since the session began.
    pub(super) fn is_established(&self) -> bool {
        self.established
    }

    /// Retries in a row up to now; the very first attempt counts too.
    pub(super) fn count(&self) -> u32 {
        self.reconnect.attempt() + u32::from(!self.established)
    }

    /// Why the last attempt failed.
    pub(super) fn last_error(&self) -> Option<Box<Error>> {
        self.last_error.clone()
    }

    /// The application asks for the first connection.
    pub(super) fn begin(&mut self) {
        self.tried = 0;
        self.asked_again = false;
    }

    /// The application gives up the first connection.
    pub(super) fn abandon(&mut self) {
        self.last_error = None;
    }

    /// The application has named servers and credentials, and the attempt goes to the next one.
    pub(super) fn resolve(&mut self, resolved: Resolved) -> Result<(), Box<Error>> {
        let Resolved { servers, dynamic } = resolved;
        if let Some(invalid) = servers.iter().find_map(|server| server.credentials.fault()) {
            return Err(invalid.into());
        }
        if servers.is_empty() {
            let error = Error::new(ErrorCode::ConnectionFailed, "there is no URL to connect to");
            return Err(error.at(Phase::Transport, &self.url()));
        }
        self.servers = servers;
        self.dynamic = dynamic;
        self.advance();
        Ok(())
    }

    /// The attempt goes to the server that is next.
    pub(super) fn advance(&mut self) {
        self.current = self.reconnect.server(self.servers.len());
    }

    /// The URL of the next attempt.
    pub(super) fn next_url(&mut self) -> Rc<str> {
        let next = self.reconnect.server(self.servers.len());
        self.servers.get(next).map_or_else(|| self.url(), |server| server.url.clone())
    }

    /// The server has accepted. True: it may have accepted before, without our knowledge.
    pub(super) fn connected(&mut self, now: Instant) -> bool {
        self.reconnect.connected(now.0);
        self.last_error = None;
        self.asked_again = false;
        self.established = true;
        core::mem::take(&mut self.doubtful)
    }

    /// A connection that was up is gone.
    pub(super) fn disconnected(&mut self, now: Instant) {
        self.reconnect.disconnected(now.0);
    }

    /// A CONNECT that asked for the session is left without a CONNACK.
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
    }

    /// Decides what follows an error. `retry`: what the application says, if it has a say.
    /// `random`: any number, for the jitter. `is_packet_judged`: the error is about a packet, and
    /// not about the client.
    pub(super) fn next(
        &mut self,
        now: Instant,
        error: &mut Error,
        retry: Option<bool>,
        options: &Options,
        random: u32,
        is_packet_judged: bool,
    ) -> Next {
        let builtin = if is_packet_judged { Verdict::Retry } else { self.judge(error) };
        let retry = retry.unwrap_or(builtin != Verdict::Final);
        error.retryable = builtin != Verdict::Final;
        self.last_error = Some(Box::new(error.clone()));
        let at_once = retry && builtin == Verdict::Credentials;
        let initial = options.reconnect.as_ref().is_some_and(|backoff| backoff.initial);
        if !self.established && !initial {
            // A list of servers is gone through once before the first connect() fails.
            self.tried += usize::from(!at_once);
            if at_once || retry && self.tried < self.servers.len() {
                if builtin == Verdict::Retry {
                    self.reconnect.advance();
                }
                return Next::Now;
            }
            self.last_error = None;
            return Next::ConnectFailed;
        }
        let delay = match &options.reconnect {
            Some(_) if at_once => Some(0),
            Some(backoff) if retry => self.reconnect.retry(now.0, backoff, random),
            _ => None,
        };
        delay.map_or(Next::GiveUp, Next::After)
    }

    /// The built-in verdict. Credentials and Redirect stand for trying again.
    fn judge(&mut self, error: &Error) -> Verdict {
        match error.code {
            ErrorCode::ConnectionRefused | ErrorCode::ServerDisconnected => {}
            ErrorCode::NotSupported | ErrorCode::InvalidArgument => return Verdict::Final,
            _ => return Verdict::Retry,
        }
        match error.reason.map_or(Verdict::Retry, verdict) {
            Verdict::Credentials if self.dynamic && !self.asked_again => {
                self.asked_again = true;
                Verdict::Credentials
            }
            Verdict::Redirect => {
                let properties = error.properties.borrow();
                let reference = properties.text(Property::ServerReference).unwrap_or_default();
                let urls: Vec<_> = self.servers.iter().map(|server| &*server.url).collect();
                let found = self.reconnect.redirect(reference, &urls);
                if found { Verdict::Redirect } else { Verdict::Final }
            }
            Verdict::Retry => Verdict::Retry,
            Verdict::Credentials | Verdict::Final => Verdict::Final,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_on_every_reason_code() {
        let of = |verdict_is| {
            let codes = (0..=255).filter(|code| verdict(ReasonCode(*code)) == verdict_is);
            codes.collect::<Vec<u8>>()
        };
        let final_codes = [0x84, 0x85, 0x8A, 0x8C, 0x8E, 0x8F, 0x90, 0x95, 0x99];
        assert_eq!(of(Verdict::Final), final_codes);
        assert_eq!(of(Verdict::Credentials), [0x86, 0x87]);
        assert_eq!(of(Verdict::Redirect), [0x9C, 0x9D]);
        assert_eq!(of(Verdict::Retry).len(), 256 - 9 - 2 - 2);
    }
}
