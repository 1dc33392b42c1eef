//! Where and when the next attempt goes: the order of the servers, and the reconnect delay.

use core::mem;

use crate::options::Backoff;

/// Which server comes next, and when. Delay and count start over only after a connection that outlived the last delay:
/// a server that accepts and drops, or two clients that take one id from each other, get ever slower.
/// All `now` in µs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Reconnect {
    /// Retries in a row.
    attempt: u32,
    /// The last delay, before its random share was taken off; ms.
    delay: u32,
    /// When it began; µs.
    began: u64,
    /// When the connection that is up will have outlived it; µs.
    proven: Option<u64>,
    server: usize,
    /// The next attempt goes to the same server again.
    stay: bool,
}

impl Reconnect {
    /// Retries in a row up to now; 0 before the first.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The server to try, of a list of `count`.
    pub(super) fn server(&mut self, count: usize) -> usize {
        self.server = self.server.checked_rem(count).unwrap_or(0);
        self.server
    }

    /// Turns to the next server without a delay.
    pub(super) fn advance(&mut self) {
        self.server += 1;
    }

    /// The server has accepted. What the attempt itself took counts as delay: it is what the other client waited,
    /// where two fight for one id.
    pub(super) fn connected(&mut self, now: u64) {
        let delay = match self.attempt {
            0 => 0,
            _ => now.saturating_sub(self.began).max(u64::from(self.delay) * 1_000),
        };
        self.proven = Some(now + delay);
    }

    /// The connection is gone, whoever ended it.
    pub(super) fn disconnected(&mut self, now: u64) {
        if self.proven.take().is_some_and(|proven| now > proven) {
            self.attempt = 0;
            self.stay = true;
        }
    }

    /// Moves on to the next attempt and tells after how many ms it is due; None: these were enough. `random`: any number.
    pub(super) fn retry(&mut self, now: u64, backoff: &Backoff, random: u32) -> Option<u64> {
        if backoff.max_attempts.is_some_and(|max| self.attempt >= max) {
            return None;
        }
        let (min, max) = backoff.delays();
        self.delay = match self.attempt {
            0 => min,
            _ => {
                let grown = u64::from(self.delay.max(1)) * u64::from(backoff.factor) / 1_000;
                grown.min(u64::from(max)) as u32
            }
        };
        self.began = now;
        self.attempt += 1;
        if !mem::take(&mut self.stay) {
            self.server += 1;
        }
        let jitter = backoff.jitter.unwrap_or(if self.attempt == 1 { 1_000 } else { 500 });
        let share = u64::from(self.delay) * u64::from(jitter) / 1_000;
        let cut = (share * u64::from(random)) >> 32;
        Some(u64::from(self.delay) - cut)
    }

    /// Turns to the first server that the Server Reference names and `urls` contains; false: there is none.
    pub(super) fn redirect(&mut self, reference: &str, urls: &[impl AsRef<str>]) -> bool {
        let found = reference
            .as_bytes()
            .split(|byte| *byte == b' ')
            .find_map(|named| urls.iter().position(|url| is_at(url.as_ref(), named)));
        if let Some(server) = found {
            self.server = server;
            self.stay = true;
        }
        found.is_some()
    }
}

/// Whether the server of a URL is the one named: `host`, `host:port`, `[v6]` or `[v6]:port`.
fn is_at(url: &str, named: &[u8]) -> bool {
    let (named_host, named_port) = host_and_port(named);
    let mut parts = url.as_bytes().split(|byte| b"/?#".contains(byte));
    let scheme = parts.next().unwrap_or_default();
    let authority = parts.nth(1).unwrap_or_default();
    let (host, port) = host_and_port(authority);
    let port = port.unwrap_or(match scheme {
        b"ws:" => b"80",
        b"wss:" => b"443",
        b"mqtt:" => b"1883",
        b"mqtts:" => b"8883",
        _ => b"",
    });
    !host.is_empty()
        && host.eq_ignore_ascii_case(named_host)
        && named_port.is_none_or(|named| named == port)
}

#[inline(never)]
fn host_and_port(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.rsplitn(2, |byte| *byte == b':');
    match (parts.next(), parts.next()) {
        (Some(port), Some(host)) if !port.contains(&b']') => (host, Some(port)),
        _ => (text, None),
    }
}

/// Random numbers that are good enough to spread clients: xorshift64.
#[derive(Clone, Hash, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Seeds may be small or alike.
    pub(super) fn new(seed: u64) -> Self {
        Self((seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Never 0.
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Options, Value};

    const SECOND: u64 = 1_000_000;
    /// The random numbers that leave the longest and the shortest delay.
    const LONGEST: u32 = 0;
    const SHORTEST: u32 = u32::MAX;

    fn backoff(leaves: &[(&str, f64)]) -> Backoff {
        let mut options = Options::new();
        for (path, number) in leaves {
            options.set(path, Value::Number(*number)).unwrap();
        }
        options.reconnect.unwrap()
    }

    /// The server that comes up after `now` and is gone `lived` later.
    fn lives(reconnect: &mut Reconnect, now: u64, lived: u64) {
        reconnect.connected(now);
        reconnect.disconnected(now + lived);
    }

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut reconnect = Reconnect::default();
        assert_eq!(reconnect.attempt(), 0);
        let delays: Vec<_> =
            (0..7).map(|_| reconnect.retry(0, &backoff(&[]), LONGEST).unwrap()).collect();
        assert_eq!(delays, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(reconnect.attempt(), 7);
    }

    #[test]
    fn all_of_the_first_delay_and_half_of_the_others_are_random_and_do_not_add_up() {
        let mut reconnect = Reconnect::default();
        let delays: Vec<_> =
            (0..3).map(|_| reconnect.retry(0, &backoff(&[]), SHORTEST).unwrap()).collect();
        assert_eq!(delays, [1, 1_001, 2_001]);
        assert_eq!(reconnect.retry(0, &backoff(&[]), 1 << 31), Some(6_000));
    }

    #[test]
    fn jitter_and_factor_of_ones_own() {
        let steady = backoff(&[("reconnect.jitter", 0.0), ("reconnect.factor", 1.0)]);
        let mut reconnect = Reconnect::default();
        for _ in 0..5 {
            assert_eq!(reconnect.retry(0, &steady, SHORTEST), Some(1_000));
        }
        let all_random = backoff(&[("reconnect.jitter", 1.0), ("reconnect.factor", 1e9)]);
        assert_eq!(reconnect.retry(0, &all_random, SHORTEST), Some(1));
        assert_eq!(reconnect.retry(0, &all_random, LONGEST), Some(30_000));
    }

    #[test]
    fn even_from_no_delay_at_all_it_gets_slower() {
        let eager = backoff(&[("reconnect.minDelay", 0.0)]);
        let mut reconnect = Reconnect::default();
        let delays: Vec<_> = (0..5).map(|_| reconnect.retry(0, &eager, LONGEST).unwrap()).collect();
        assert_eq!(delays, [0, 2, 4, 8, 16]);
    }

    #[test]
    fn a_limit_is_for_attempts_in_a_row() {
        let twice = backoff(&[("reconnect.maxAttempts", 2.0)]);
        let mut reconnect = Reconnect::default();
        assert!(reconnect.retry(0, &twice, 0).is_some());
        assert!(reconnect.retry(0, &twice, 0).is_some());
        assert_eq!(reconnect.retry(0, &twice, 0), None);
        lives(&mut reconnect, 0, 60 * SECOND);
        assert!(reconnect.retry(0, &twice, 0).is_some());

        let never = backoff(&[("reconnect.maxAttempts", 0.0)]);
        assert_eq!(Reconnect::default().retry(0, &never, 0), None);
    }

    #[test]
    fn only_a_connection_that_outlived_the_last_delay_starts_over() {
        let mut reconnect = Reconnect::default();
        lives(&mut reconnect, 5 * SECOND, 1);
        assert_eq!(reconnect.retry(6 * SECOND, &backoff(&[]), LONGEST), Some(1_000));
        lives(&mut reconnect, 7 * SECOND, SECOND);
        assert_eq!(reconnect.retry(8 * SECOND, &backoff(&[]), LONGEST), Some(2_000));
        assert_eq!(reconnect.attempt(), 2);
        lives(&mut reconnect, 10 * SECOND, 2 * SECOND + 1);
        assert_eq!(reconnect.retry(13 * SECOND, &backoff(&[]), SHORTEST), Some(1));
        assert_eq!(reconnect.attempt(), 1);
        // What jitter took off the delay is not taken off this bar.
        lives(&mut reconnect, 13 * SECOND + 1_000, 900_000);
        assert_eq!(reconnect.retry(15 * SECOND, &backoff(&[]), LONGEST), Some(2_000));
    }

    /// How often two clients of one id take it from each other in ten minutes.
    fn takeovers(backoff: Backoff) -> usize {
        let mut clients = [Reconnect::default(), Reconnect::default()];
        let mut random = 1u32;
        let (mut now, mut holder, mut count) = (0, 0, 0);
        clients[holder].connected(now);
        while now < 600 * SECOND {
            clients[holder ^ 1].connected(now);
            clients[holder].disconnected(now);
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let delay = clients[holder].retry(now, &backoff, random).unwrap();
            let connecting = 10_000 + u64::from(random >> 20);
            now += delay * 1_000 + connecting;
            holder ^= 1;
            count += 1;
        }
        count
    }

    #[test]
    fn two_clients_that_fight_for_one_id_get_slower() {
        for leaves in [&[][..], &[("reconnect.jitter", 0.0)], &[("reconnect.minDelay", 20.0)]] {
            let count = takeovers(backoff(leaves));
            assert!(count < 100, "{count} takeovers in ten minutes, {leaves:?}");
        }
    }

    #[test]
    fn attempts_go_through_the_servers_in_order_and_stay_with_one_that_works() {
        let mut reconnect = Reconnect::default();
        let next = |reconnect: &mut Reconnect| {
            reconnect.retry(0, &backoff(&[]), LONGEST);
            reconnect.server(3)
        };
        assert_eq!(reconnect.server(3), 0);
        assert_eq!([0; 4].map(|_| next(&mut reconnect)), [1, 2, 0, 1]);
        lives(&mut reconnect, 0, 60 * SECOND);
        assert_eq!(next(&mut reconnect), 1, "it worked, and may again");
        assert_eq!(next(&mut reconnect), 2, "it did not");
        lives(&mut reconnect, 0, SECOND);
        assert_eq!(next(&mut reconnect), 0, "to accept and drop is not to work");
    }

    #[test]
    fn a_list_may_get_shorter() {
        let mut reconnect = Reconnect::default();
        assert!(reconnect.redirect("c", &["ws://a/", "ws://b/", "ws://c/"]));
        assert_eq!(reconnect.server(2), 0);
        assert_eq!(reconnect.server(0), 0);
    }

    #[test]
    fn a_redirected_attempt_goes_where_it_is_sent() {
        let urls = ["wss://a.example/mqtt", "wss://b.example/mqtt", "wss://c.example/mqtt"];
        let mut reconnect = Reconnect::default();
        lives(&mut reconnect, 0, SECOND);
        assert!(reconnect.redirect("elsewhere.example c.example b.example", &urls));
        assert_eq!(reconnect.retry(0, &backoff(&[]), LONGEST), Some(1_000));
        assert_eq!(reconnect.server(3), 2);
        assert!(!reconnect.redirect("elsewhere.example", &urls));
        reconnect.retry(0, &backoff(&[]), LONGEST);
        assert_eq!(reconnect.server(3), 0);
    }

    #[test]
    fn references_and_the_urls_they_name() {
        for (reference, url) in [
            ("myserver.xyz.org", "ws://myserver.xyz.org/mqtt"),
            ("MyServer.xyz.org:80", "ws://myserver.XYZ.org/mqtt"),
            ("a:443", "wss://a/mqtt"),
            ("a:1883", "mqtt://a"),
            ("a:8883", "mqtts://a"),
            ("a:9001", "ws://a:9001/mqtt?x=1:2"),
            ("a", "ws://a:9001"),
            ("a", "ws://a?x"),
            ("a", "custom://a#x"),
            ("a:7", "custom://a:7"),
            ("[fe80::9610:3eff:fe1c]", "mqtt://[fe80::9610:3eff:fe1c]:1884"),
            ("[fe80::9610:3eff:fe1c]:1883", "mqtt://[FE80::9610:3eff:fe1c]"),
            ("x  10.10.151.22:8883 [::1]:1883", "mqtts://10.10.151.22"),
        ] {
            assert!(Reconnect::default().redirect(reference, &[url]), "{reference} {url}");
        }
        for (reference, url) in [
            ("", "ws://a/"),
            (" ", "ws://a/"),
            ("b", "ws://a/"),
            ("a:81", "ws://a/"),
            ("a:", "ws://a/"),
            ("a:80", "wss://a/"),
            ("a:7", "custom://a"),
            ("a:9001", "ws://a:9002/"),
            ("mqtt", "ws://a/mqtt"),
            ("a", "a"),
            ("fe80::1", "ws://[fe80::1]/"),
            ("[fe80::1]:81", "ws://[fe80::1]/"),
            ("[", "ws://a/"),
            ("]:", "ws://a/"),
        ] {
            assert!(!Reconnect::default().redirect(reference, &[url]), "{reference} {url}");
        }
    }
}
