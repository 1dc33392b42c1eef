//! After a connection is gone: the verdict, delays, servers, credentials.

use wasmqtt::session::{Credentials, Resolved, Server, State};

use crate::support::Pair;
use crate::{bare, both, up};

// ---------------------------------------------------------------------------------------------- trying again

#[test]
fn a_lost_connection_is_made_again() {
    let mut pair = up("");
    pair.closed(Some(1006));
    assert_eq!(pair.errors()[0].close_code, Some(1006));
    pair.tells([
        "state waiting",
        "disconnected CONNECTION_LOST",
        "attempt 1 in 1000 ms at ws://a CONNECTION_LOST",
    ]);
    pair.wait(999);
    pair.quiet();
    pair.wait(1);
    pair.tells(["state connecting"]);
    assert_eq!(pair.ends().asked, ["resolve 1 CONNECTION_LOST"]);
    pair.sends(["OPEN ws://a", "CONNECT '' 60s SessionExpiryInterval=300"]);
    pair.plays("CONNACK");
    pair.tells(["state connected", "connected again"]);
}

/// Contract: minDelay: ms, default 1_000. maxDelay: ms, default 30_000. factor: default 2.
/// maxAttempts: in a row, default Infinity
/// Contract: Delay and attempt count start over only after a connection outlived the last delay.
#[test]
fn delays_grow_and_start_over_after_a_connection_that_lasted() {
    let mut pair = up("");
    pair.cut();
    for delay in [2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        pair.wait_for(State::Connecting);
        pair.clear();
        pair.cut();
        let attempt = pair.tell().pop().unwrap();
        assert!(attempt.contains(&format!(" in {delay} ms ")), "{attempt}");
    }
    pair.retried("CONNACK");
    pair.wait(30_000);
    pair.cut();
    assert!(
        pair.tell().pop().unwrap().starts_with("attempt 8 in 30000 ms"),
        "not longer than the delay"
    );
    pair.retried("CONNACK");
    pair.wait(30_001);
    pair.cut();
    assert!(pair.tell().pop().unwrap().starts_with("attempt 1 in 1000 ms"));
}

/// Contract: 0..1, share of the delay that is random. Default 1 for the first attempt after a loss,
/// so that a fleet does not come back at once; then 0.5
#[test]
fn all_of_the_first_delay_is_random() {
    let mut pair = Pair::connected("");
    let mut delays = Vec::new();
    for _ in 0..50 {
        pair.cut();
        let before = pair.now();
        pair.wait_for(State::Connecting);
        delays.push(pair.now().since_ms(before));
        pair.plays("CONNACK");
        pair.wait(2_000);
    }
    delays.sort_unstable();
    delays.dedup();
    assert!(
        delays.len() > 25 && delays[0] < 100 && (900..=1_001).contains(&delays[delays.len() - 1]),
        "{delays:?}"
    );
}

/// Contract: 0..1, share of the delay that is random. Default 1 for the first attempt after a loss,
/// so that a fleet does not come back at once; then 0.5
#[test]
fn half_of_each_later_delay_is_random() {
    let mut pair = Pair::connected("");
    let mut delays = Vec::new();
    for _ in 0..50 {
        pair.cut();
        pair.wait_for(State::Connecting);
        pair.cut();
        let before = pair.now();
        pair.wait_for(State::Connecting);
        delays.push(pair.now().since_ms(before));
        pair.plays("CONNACK");
        pair.wait(3_000);
    }
    delays.sort_unstable();
    delays.dedup();
    assert!(
        delays.len() > 25 && delays[0] >= 1_000 && delays[delays.len() - 1] <= 2_001,
        "{delays:?}"
    );
}

/// Contract: minDelay: ms, default 1_000. maxDelay: ms, default 30_000. factor: default 2.
/// maxAttempts: in a row, default Infinity
#[test]
fn attempts_are_limited() {
    let mut pair = up("reconnect.maxAttempts=2");
    for _ in 0..2 {
        pair.cut();
        pair.wait_for(State::Connecting);
    }
    pair.clear();
    pair.cut();
    pair.tells(["state closed", "closed CONNECTION_FAILED"]);
}

/// Contract: false: never reconnect. Default: on, with the defaults below.
#[test]
fn without_reconnect_a_lost_connection_is_the_end() {
    let mut pair = up("reconnect=false");
    let token = pair.publish("q1 a 'x'");
    pair.clear();
    pair.cut();
    pair.tells([
        "state closed",
        "disconnected for good CONNECTION_LOST",
        &format!("failed {token} CLOSED"),
        "closed CONNECTION_LOST",
    ]);
    assert_eq!(pair.session().poll_timeout(), None);
}

/// Contract: Also retry the first attempt instead of rejecting connect(). Default false.
#[test]
fn the_first_connect_is_tried_again_if_asked_for() {
    let mut pair = bare("protocolVersion=5 reconnect.initial=true");
    pair.connect();
    pair.cut();
    pair.tells([
        "state connecting",
        "state waiting",
        "attempt 2 in 1000 ms at ws://a CONNECTION_FAILED",
    ]);
    pair.wait(1_000);
    assert_eq!(pair.ends().asked, ["resolve 1", "resolve 2 CONNECTION_FAILED"]);
    pair.plays("CONNACK");
    pair.tells(["state connecting", "state connected", "connected"]);

    let mut pair = bare("protocolVersion=5 reconnect.initial=true");
    pair.connect();
    pair.plays("CONNACK 0x87");
    pair.tells(["state connecting", "state closed", "closed CONNECTION_REFUSED 0x87"]);
}

/// Contract: Overrides the built-in verdict on an error; false ends the client.
#[test]
fn the_application_may_overrule_the_verdict() {
    let mut pair = bare("");
    pair.session().ask_verdict(true);
    pair.connect();
    pair.plays("CONNACK");
    pair.clear();
    pair.ends().verdict = Some(true);
    pair.plays("DISCONNECT 0x8E");
    assert_eq!(pair.ends().asked, ["judge 1 SERVER_DISCONNECTED 0x8e"]);
    let error = "SERVER_DISCONNECTED 0x8e";
    pair.tells([
        "state waiting",
        &format!("disconnected {error}"),
        &format!("attempt 1 in 1000 ms at ws://a {error}"),
    ]);
    pair.wait(1_000);
    pair.clear();
    pair.ends().verdict = None;
    pair.cut();
    assert_eq!(pair.ends().asked, ["judge 2 CONNECTION_FAILED"]);
    pair.tells(["state waiting", "attempt 2 in 2000 ms at ws://a CONNECTION_FAILED"]);
    pair.wait(2_000);
    pair.clear();
    pair.ends().verdict = Some(false);
    pair.cut();
    pair.tells(["state closed", "closed CONNECTION_FAILED"]);
}

#[test]
fn an_end_comes_before_a_verdict() {
    let mut pair = up("");
    pair.session().ask_verdict(true);
    let id = pair.session().attempt_id();
    pair.session().handle_close(pair.now(), id, None, None);
    pair.end();
    pair.tells(["state closing", "state closed", "closed"]);
    assert!(pair.ends().asked.len() == 1);
    pair.session().handle_verdict(pair.now(), Some(true));
    pair.pump();
    pair.tells([]);
}

/// Contract: While connecting: the pending result; when connected: the current info; while waiting:
/// tries now.
#[test]
fn connect_while_waiting_tries_now() {
    let mut pair = up("");
    pair.cut();
    pair.clear();
    pair.connect();
    pair.tells(["state connecting"]);
    pair.plays("CONNACK");
    pair.clear();
    pair.wait(5_000);
    pair.quiet();
}

/// The network is back, or the machine has woken up.
#[test]
fn a_client_that_waits_tries_at_once_when_things_have_changed() {
    let mut pair = up("");
    for attempt in 1..=5 {
        pair.cut();
        pair.clear();
        pair.wait(10);
        pair.check();
        pair.tells(["state connecting"]);
        pair.check();
        pair.tells([]);
        assert_eq!(pair.session().state(), State::Connecting);
        pair.cut();
        let delay = pair.tell().pop().unwrap();
        // To be told so often is no reason to wait less.
        assert!(delay.starts_with(&format!("attempt {} in ", attempt * 2)), "{delay}");
        pair.check();
    }
    pair.plays("CONNACK");
    pair.clear();
    pair.wait(10_000);
    pair.quiet();
}

/// Chromium closes the socket of a page that comes back from the back/forward cache only after the page has heard of that.
#[test]
fn a_connection_that_is_lost_while_it_is_doubtful_is_made_again_at_once() {
    for lost in [Pair::cut, |pair: &mut Pair| pair.wait(5_200)] {
        let mut pair = up("");
        pair.check();
        lost(&mut pair);
        let told = pair.tell().join(", ");
        assert!(told.contains("attempt 1 in 0 ms"), "{told}");
        pair.wait_for(State::Connecting);
        // Only the first attempt.
        pair.cut();
        assert!(pair.tell().pop().unwrap().starts_with("attempt 2 in 2000 ms"));
    }
    let mut pair = up("");
    pair.check();
    pair.plays("PINGRESP");
    pair.cut();
    assert!(pair.tell().pop().unwrap().starts_with("attempt 1 in 1000 ms"), "it was not doubtful");
}

/// Contract: Drops the connection, if any, and connects again at once; in-flight messages and
/// subscriptions stay.
#[test]
fn reconnect_drops_the_connection_and_connects_at_once() {
    for mut pair in both("properties.sessionExpiryInterval=100 clean=false") {
        let token = pair.publish("q1 a 'x'");
        pair.clear();
        pair.reconnect();
        let sent = pair.sent();
        assert_eq!(sent[..2], ["CLOSE", "OPEN ws://a"]);
        assert!(sent[2].starts_with("CONNECT 'me' 60s"), "{sent:?}");
        pair.tells(["state connecting", "disconnected CONNECTION_LOST"]);
        pair.plays("CONNACK present");
        pair.sends(["PUBLISH q1 dup #1 a 'x'"]);
        pair.plays("PUBACK #1");
        pair.tells(["state connected", "connected present again", &format!("published {token}")]);
    }
}

#[test]
fn reconnect_in_every_other_state() {
    let mut pair = bare("");
    pair.reconnect();
    pair.tells(["state connecting"]);
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s SessionExpiryInterval=300"]);
    pair.reconnect();
    pair.sends(["CLOSE", "OPEN ws://a", "CONNECT '' clean 60s SessionExpiryInterval=300"]);
    pair.tells([]);
    pair.plays("CONNACK");
    pair.cut();
    pair.clear();
    pair.reconnect();
    pair.tells(["state connecting"]);
    pair.end();
    pair.clear();
    pair.reconnect();
    pair.quiet();
}

// ---------------------------------------------------------------------------------------------- servers

#[test]
fn the_first_connect_goes_through_all_servers_once() {
    let mut pair = bare("protocolVersion=5");
    pair.servers(&["ws://a", "ws://b", "ws://c"]);
    pair.connect();
    pair.cut();
    pair.cut();
    let sent = pair.sent();
    let opened: Vec<_> = sent.iter().filter(|line| line.starts_with("OPEN")).collect();
    assert_eq!(opened, ["OPEN ws://a", "OPEN ws://b", "OPEN ws://c"]);
    pair.tells(["state connecting"]);
    pair.cut();
    pair.tells(["state idle", "connect failed CONNECTION_FAILED"]);
}

/// Contract: A list means failover: the attempts go through it in order, and stay with a server
/// while it works.
#[test]
fn attempts_go_through_the_servers_and_stay_with_one_that_works() {
    let mut pair = bare("protocolVersion=5");
    pair.servers(&["ws://a", "ws://b", "ws://c"]);
    pair.connect();
    pair.cut();
    pair.plays("CONNACK");
    assert_eq!(&*pair.info().url, "ws://b");
    pair.wait(60_000);
    pair.plays("PINGRESP");
    let mut next = || {
        pair.clear();
        pair.cut();
        pair.wait_for(State::Connecting);
        pair.sent()[0].clone()
    };
    assert_eq!(next(), "OPEN ws://b", "it worked, and may again");
    assert_eq!([next(), next(), next()], ["OPEN ws://c", "OPEN ws://a", "OPEN ws://b"]);
}

#[test]
fn each_server_gets_its_own_credentials() {
    let mut pair = bare("protocolVersion=5");
    let server = |url: &str, name: &str| Server {
        url: url.into(),
        credentials: Credentials { username: Some(name.into()), password: None },
    };
    let servers = vec![server("ws://a", "for-a"), server("ws://b", "for-b")];
    pair.ends().resolved = Ok(Resolved { servers, dynamic: false });
    pair.connect();
    pair.cut();
    let sent = pair.sent();
    assert!(
        sent[1].contains("username='for-a'") && sent[3].contains("username='for-b'"),
        "{sent:?}"
    );
}

#[test]
fn a_redirect_leads_to_the_first_named_server_that_is_ours() {
    let mut pair = up("");
    pair.servers(&["ws://a:1", "ws://b:1", "ws://c:1"]);
    pair.reconnected("CONNACK");
    pair.clear();
    pair.plays("DISCONNECT 0x9D ServerReference='elsewhere:1 c:2 c:1 b'");
    let error = "SERVER_DISCONNECTED 0x9d";
    pair.tells([
        "state waiting",
        &format!("disconnected {error}"),
        &format!("attempt 2 in 2000 ms at ws://c:1 {error}"),
    ]);
    pair.wait(2_000);
    assert_eq!(pair.sent()[1], "OPEN ws://c:1");
    pair.clear();
    pair.plays("CONNACK 0x9C ServerReference=b");
    assert!(pair.tell()[1].contains("at ws://b:1"));
}

#[test]
fn a_redirect_of_the_first_connect_is_followed_within_the_list() {
    let mut pair = bare("");
    pair.servers(&["ws://a", "ws://b", "ws://c"]);
    pair.connect();
    pair.clear();
    pair.plays("CONNACK 0x9C ServerReference=c");
    assert_eq!(pair.sent()[1], "OPEN ws://c");
    pair.plays("CONNACK 0x9C ServerReference=a");
    assert_eq!(pair.sent()[1], "OPEN ws://a");
    pair.plays("CONNACK 0x9C ServerReference=c");
    pair.tells(["state idle", "connect failed CONNECTION_REFUSED 0x9c"]);
}

#[test]
fn a_redirect_to_nowhere_is_the_end() {
    for reference in ["", "ServerReference=elsewhere"] {
        let mut pair = up("");
        pair.plays(&format!("DISCONNECT 0x9C {reference}"));
        let error = "SERVER_DISCONNECTED 0x9c";
        pair.tells([
            "state closed",
            &format!("disconnected for good {error}"),
            &format!("closed {error}"),
        ]);
    }
}

// ---------------------------------------------------------------------------------------------- credentials

fn dynamic(pair: &mut Pair, name: &str) {
    let ends = &mut *pair.ends();
    let resolved = ends.resolved.as_mut().unwrap();
    resolved.dynamic = true;
    resolved.servers[0].credentials = Credentials { username: Some(name.into()), password: None };
}

/// Contract: Credentials from a function are called again once before a credentials error is final.
#[test]
fn credentials_from_a_function_are_asked_for_once_more() {
    let mut pair = bare("");
    dynamic(&mut pair, "old");
    pair.connect();
    pair.clear();
    dynamic(&mut pair, "new");
    pair.plays("CONNACK 0x86");
    assert_eq!(pair.ends().asked, ["resolve 1 CONNECTION_REFUSED 0x86"]);
    pair.sends([
        "CLOSE",
        "OPEN ws://a",
        "CONNECT '' clean 60s username='new' SessionExpiryInterval=300",
    ]);
    pair.tells([]);
    pair.plays("CONNACK 0x86");
    pair.tells(["state idle", "connect failed CONNECTION_REFUSED 0x86"]);
}

#[test]
fn credentials_are_asked_for_again_after_each_success() {
    let mut pair = bare("");
    dynamic(&mut pair, "me");
    pair.connect();
    pair.plays("CONNACK");
    for _ in 0..2 {
        pair.cut();
        pair.wait_for(State::Connecting);
        pair.clear();
        pair.plays("CONNACK 0x87");
        pair.tells(["state waiting", "attempt 1 in 0 ms at ws://a CONNECTION_REFUSED 0x87"]);
        pair.wait(0);
        assert_eq!(pair.ends().asked, ["resolve 1 CONNECTION_REFUSED 0x87"]);
        pair.plays("CONNACK");
        pair.wait(3_000);
    }
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.plays("CONNACK 0x87");
    pair.wait(0);
    pair.clear();
    pair.plays("CONNACK 0x87");
    pair.tells(["state closed", "closed CONNECTION_REFUSED 0x87"]);
}

#[test]
fn fixed_credentials_that_are_bad_are_final() {
    let mut pair = up("");
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.clear();
    pair.plays("CONNACK 0x86");
    pair.tells(["state closed", "closed CONNECTION_REFUSED 0x86"]);
}

/// Shows [MQTT3-3.1.2-22]
#[test]
fn a_password_without_a_username_is_no_3_1_1() {
    let password = Credentials { username: None, password: Some(b"secret".into()) };
    let mut pair = bare("");
    pair.credentials(password.clone());
    pair.connect();
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s password='secret' SessionExpiryInterval=300"]);

    let mut pair = bare("protocolVersion=4");
    pair.credentials(password);
    pair.connect();
    pair.sends(["OPEN ws://a", "CLOSE"]);
    pair.tells(["state connecting", "state idle", "connect failed NOT_SUPPORTED"]);
}

/// Shows [MQTT5-3.1.3-12] [MQTT3-3.1.3-11] [MQTT5-1.5.4-2] [MQTT3-1.5.3-2]
#[test]
fn credentials_that_no_connect_can_hold_are_refused() {
    let long = "x".repeat(65_536);
    for (username, password, argument) in [
        (Some("a\0b"), None, "username"),
        (Some(&*long), Some("x"), "username"),
        (Some("user"), Some(&*long), "password"),
    ] {
        for mut pair in [bare("protocolVersion=5"), bare("protocolVersion=4")] {
            pair.credentials(Credentials {
                username: username.map(Into::into),
                password: password.map(Into::into),
            });
            pair.connect();
            pair.sends([]);
            pair.tells([
                "state connecting",
                "state idle",
                &format!("connect failed INVALID_ARGUMENT {argument}"),
            ]);
        }
    }
    // It is no use to try again with them.
    let mut pair = up("");
    pair.credentials(Credentials { username: Some(long.as_str().into()), password: None });
    pair.cut();
    pair.wait(1_000);
    assert_eq!(pair.session().state(), State::Closed);

    let longest = &long[1..];
    let mut pair = bare("");
    pair.credentials(Credentials {
        username: Some(longest.into()),
        password: Some(longest.into()),
    });
    pair.connect();
    assert!(pair.sent()[1].starts_with("CONNECT"));
}

/// What only a CONNACK may say by the specification means the same in a DISCONNECT.
#[test]
fn a_disconnect_with_a_reason_of_connack_is_final() {
    for reason in ["0x84", "0x85", "0x86", "0x8A"] {
        let mut pair = up("");
        pair.plays(&format!("DISCONNECT {reason}"));
        assert_eq!(pair.session().state(), State::Closed, "{reason}");
        let told = pair.tell();
        let closed = format!("closed SERVER_DISCONNECTED {}", reason.to_lowercase());
        assert!(told.contains(&closed), "{told:?}");
    }
}
