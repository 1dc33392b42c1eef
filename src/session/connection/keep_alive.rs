//! Whether the other side lives. A PINGREQ goes when one direction has been silent for the
//! keep-alive interval: outgoing traffic alone would hide that nobody answers. Another goes when
//! something outside makes the connection doubtful.

use crate::session::time::Instant;

/// Milliseconds that the answer to a PINGREQ may take where the connection is doubtful.
const LITTLE_PATIENCE_MS: u64 = 5_000;

/// The keep-alive of one connection [MQTT5 3.1.2.10].
#[derive(Clone, Hash, Debug)]
pub(crate) struct KeepAlive {
    sent: Instant,
    received: Instant,
    /// Milliseconds; 0: off.
    interval_ms: u64,
    ping: Option<Ping>,
}

/// A PINGREQ that was not answered yet.
#[derive(Clone, Copy, Hash, Debug)]
struct Ping {
    sent: Instant,
    deadline: Instant,
    /// The deadline has passed once. Input that was already there gets a chance to be read.
    late: bool,
    /// Something outside had made the connection doubtful.
    doubted: bool,
}

/// What keep-alive asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Beat {
    /// Nothing.
    Rest,
    /// A PINGREQ.
    Ping,
    /// The end of the connection: the server did not answer.
    Dead,
}

impl KeepAlive {
    /// `seconds`: the interval in force, 0 turns it off. `sent`: when the last packet left.
    pub(crate) fn new(seconds: u16, sent: Instant, now: Instant) -> Self {
        Self { sent, received: now, interval_ms: u64::from(seconds) * 1_000, ping: None }
    }

    /// A ping is due before the interval ends, for timers are late and the way takes time.
    fn quiet_ms(&self) -> u64 {
        self.interval_ms * 9 / 10
    }

    fn patience_ms(&self) -> u64 {
        (self.interval_ms / 2).clamp(1_000, 20_000)
    }

    /// When [`KeepAlive::beat`] must be asked.
    pub(crate) fn next(&self) -> Option<Instant> {
        let (since, answer) = match self.ping {
            Some(ping) => (self.sent, Some(ping.deadline)),
            None => (self.sent.min(self.received), None),
        };
        let quiet = (self.interval_ms > 0).then(|| since.after_ms(self.quiet_ms()));
        Instant::first(&[quiet, answer])
    }

    /// Something was handed to the transport.
    pub(crate) fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Something came.
    #[inline]
    pub(crate) fn received(&mut self, now: Instant) {
        self.received = now;
        if self.ping.is_some() {
            self.received_late(now);
        }
    }

    /// Something came while a PINGRESP is due: the other side lives, and may be busy.
    fn received_late(&mut self, now: Instant) {
        let patience = self.patience_ms();
        if let Some(ping) = &mut self.ping {
            ping.deadline = now.after_ms(patience);
            ping.late = false;
        }
    }

    /// What is to be done at `now`.
    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        if self.next().is_none_or(|next| next > now) {
            return Beat::Rest;
        }
        let patience = self.patience_ms();
        match &mut self.ping {
            None => {
                let deadline = now.after_ms(patience);
                self.ping = Some(Ping { sent: now, deadline, late: false, doubted: false });
                Beat::Ping
            }
            // The server counts on our packets while its answer is due, too.
            Some(ping) if ping.deadline > now => Beat::Ping,
            Some(ping) if ping.late => Beat::Dead,
            Some(ping) => {
                // A timer that is late by much means a machine that slept: the network needs a
                // moment too.
                let slept = now.since_ms(ping.deadline) > 1_000;
                ping.late = true;
                ping.deadline = now.after_ms(if slept { LITTLE_PATIENCE_MS } else { 200 });
                if slept { Beat::Ping } else { Beat::Rest }
            }
        }
    }

    /// The connection is doubtful. True: a PINGREQ is to be sent; otherwise one is under way.
    pub(crate) fn doubt(&mut self, now: Instant) -> bool {
        let deadline = now.after_ms(LITTLE_PATIENCE_MS);
        match &mut self.ping {
            None => {
                self.ping = Some(Ping { sent: now, deadline, late: false, doubted: true });
                true
            }
            Some(ping) => {
                ping.deadline = ping.deadline.min(deadline);
                ping.doubted = true;
                false
            }
        }
    }

    /// Whether the connection is doubtful, and the server has not answered yet.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.ping.is_some_and(|ping| ping.doubted)
    }

    /// A PINGRESP came. The result is the round trip in microseconds, if one was due.
    pub(crate) fn pong(&mut self, now: Instant) -> Option<u64> {
        self.ping.take().map(|ping| now.0.saturating_sub(ping.sent.0))
    }
}
