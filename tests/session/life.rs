//! From the first connect() to the end: states, attempts, servers, credentials, versions.

use wasmqtt::codec::ReasonCode;
use wasmqtt::session::{Credentials, ErrorCode, Resolved, State};

use crate::support::notation::bytes;
use crate::support::{Arrival, Pair, options};
use crate::{bare, both, up};

// ---------------------------------------------------------------------------------------------- connecting

#[test]
fn from_idle_to_closed() {
    let mut pair = Pair::new("clientId=me");
    assert_eq!(pair.session.state(), State::Idle);
    pair.quiet();
    pair.connect();
    let properties = "SessionExpiryInterval=300 MaximumPacketSize=16777216 TopicAliasMaximum=64";
    pair.sends(["OPEN ws://a", &format!("CONNECT 'me' clean 60s {properties}")]);
    pair.tells(["state connecting"]);
    pair.plays("CONNACK");
    pair.tells(["state connected", "connected"]);
    pair.end();
    pair.sends(["DISCONNECT SessionExpiryInterval=0", "CLOSE"]);
    pair.tells(["state closing", "state closed", "closed"]);
    pair.wait(1_000_000);
    pair.quiet();
}

/// Shows [MQTT5-3.1.0-1] [MQTT3-3.1.0-1] [MQTT5-3.1.2-1]
#[test]
fn connect_is_first_whatever_waits() {
    for (version, name) in [(5, "00 04 'MQTT' 05"), (4, "00 04 'MQTT' 04")] {
        let mut pair = bare(&format!("protocolVersion={version} clientId=me"));
        pair.publish("q0 a '0'");
        pair.publish("q1 a '1'");
        pair.publish("q2 a '2'");
        pair.subscribe("a:q1");
        pair.unsubscribe("b");
        pair.quiet();
        pair.connect();
        let Arrival::Packet(_, connect) = &pair.arrivals[1] else { panic!("{:?}", pair.arrivals) };
        assert_eq!(connect[0], 0x10);
        assert_eq!(connect[2..9], bytes(name));
        assert_eq!(pair.arrivals.len(), 2, "and nothing else before CONNACK");
        pair.clear();
        pair.plays("CONNACK SubscriptionIdentifierAvailable=0");
        pair.sends([
            "SUBSCRIBE #1 a:q1",
            "UNSUBSCRIBE #2 b",
            "PUBLISH q0 a '0'",
            "PUBLISH q1 #3 a '1'",
            "PUBLISH q2 #4 a '2'",
        ]);
    }
}

/// Shows [MQTT5-3.1.0-2] [MQTT3-3.1.0-2]
#[test]
fn one_connect_for_each_connection() {
    for version in [5, 4] {
        let mut pair = bare(&format!("protocolVersion={version} clientId=me"));
        pair.connect();
        pair.connect();
        assert_eq!(pair.sent().len(), 2);
        pair.plays("CONNACK");
        pair.connect();
        pair.sends([]);
        pair.cut();
        pair.connect();
        pair.connect();
        assert_eq!(pair.sent().len(), 2, "a new connection has its own");
    }
}

#[test]
fn everything_connect_can_say() {
    let text = "clientId=me keepalive=10 properties.receiveMaximum=7 properties.topicAliasMaximum=5 \
        properties.sessionExpiryInterval=Infinity properties.maximumPacketSize=1000 \
        properties.requestResponseInformation=true properties.requestProblemInformation=false \
        properties.userProperties=a:1:a:2 will.topic=w will.payload=gone will.qos=1 will.retain=true \
        will.properties.willDelayInterval=9 will.properties.contentType=text";
    let secret = Credentials { username: Some("user".into()), password: Some(b"pass".into()) };
    let mut pair = Pair::new(text);
    pair.resolved.as_mut().unwrap().credentials = vec![secret.clone()];
    pair.connect();
    pair.sends([
        "OPEN ws://a",
        "CONNECT 'me' clean 10s username='user' password='pass' \
         will( q1 retain w 'gone' WillDelayInterval=9 ContentType=text) \
         SessionExpiryInterval=4294967295 ReceiveMaximum=7 MaximumPacketSize=1000 TopicAliasMaximum=5 \
         RequestResponseInformation=1 RequestProblemInformation=0 UserProperty=a:1 UserProperty=a:2",
    ]);
    let mut pair = Pair::new(&format!("protocolVersion=4 {text}"));
    pair.resolved.as_mut().unwrap().credentials = vec![secret];
    pair.connect();
    pair.sends(["OPEN ws://a", "CONNECT 'me' clean 10s username='user' password='pass' will( q1 retain w 'gone')"]);
}

#[test]
fn what_the_server_said() {
    let mut pair = bare("keepalive=30");
    pair.connect();
    pair.plays("CONNACK");
    let server = pair.info().server;
    assert_eq!((server.keep_alive, server.session_expiry), (30, 300));
    assert_eq!((server.receive_maximum, server.maximum_packet_size), (65_535, 268_435_460));
    assert_eq!((server.maximum_qos as u8, server.topic_alias_maximum), (2, 0));
    assert!(server.retain && server.wildcards && server.identifiers && server.shared);
    assert!(pair.info().properties.is_empty());

    let mut pair = bare("clientId=me");
    pair.connect();
    pair.plays(
        "CONNACK SessionExpiryInterval=10 ReceiveMaximum=3 MaximumQos=1 RetainAvailable=0 MaximumPacketSize=99 \
         AssignedClientIdentifier=you TopicAliasMaximum=4 WildcardSubscriptionAvailable=0 ServerKeepAlive=5 \
         SubscriptionIdentifierAvailable=0 SharedSubscriptionAvailable=0",
    );
    let info = pair.info();
    let server = info.server;
    assert_eq!((server.keep_alive, server.session_expiry), (5, 10));
    assert_eq!((server.receive_maximum, server.maximum_packet_size), (3, 99));
    assert_eq!((server.maximum_qos as u8, server.topic_alias_maximum), (1, 4));
    assert!(!server.retain && !server.wildcards && !server.identifiers && !server.shared);
    assert_eq!((&*info.client_id, &*info.url, info.reconnect), ("you", "ws://a", false));
    assert_eq!(info.properties.borrow().iter().count(), 11, "as received");

    for (clean, expiry) in [("true", 0), ("false", u32::MAX)] {
        let mut pair = bare(&format!("protocolVersion=4 clientId=me clean={clean}"));
        pair.connect();
        pair.plays("CONNACK");
        let server = pair.info().server;
        assert_eq!(server.session_expiry, expiry);
        assert!(server.retain && server.wildcards && server.shared && !server.identifiers);
    }
}

#[test]
fn the_application_hears_of_the_connection_before_what_comes_with_it() {
    let mut pair = bare("");
    pair.connect();
    let mut bytes = pair.bytes_of("CONNACK present; PUBLISH q1 #1 a 'x'; PUBLISH q0 a 'y'");
    bytes[2] = 0;
    pair.clear();
    let used = pair.session.handle_input(pair.now, bytes[..].into());
    assert!(pair.session.is_paused());
    pair.pump();
    pair.tells(["state connected", "connected"]);
    pair.session.handle_input(pair.now, bytes[used..].into());
    assert!(!pair.session.is_paused());
}

#[test]
fn a_first_connect_that_fails_leads_back_to_idle() {
    let mut pair = bare("clientId=me");
    pair.publish("q1 a 'kept'");
    for _ in 0..2 {
        pair.connect();
        pair.closed(Some(1006));
        pair.tells(["state connecting", "state idle", "connect failed CONNECTION_FAILED"]);
        assert_eq!(pair.session.poll_timeout(), None);
    }
    pair.connect();
    pair.clear();
    pair.plays("CONNACK");
    pair.sends(["PUBLISH q1 #1 a 'kept'"]);
    assert!(!pair.info().reconnect, "it is the first that succeeds");
}

#[test]
fn errors_of_an_attempt_say_where_it_failed() {
    let phase = |pair: &Pair| pair.errors()[0].phase.unwrap().name();
    let mut pair = bare("");
    pair.by_hand = true;
    pair.connect();
    pair.resolve();
    pair.closed(Some(1006));
    assert_eq!(phase(&pair), "transport");
    let error = &pair.errors()[0];
    assert_eq!((error.close_code, error.url.as_deref()), (Some(1006), Some("ws://a")));
    assert!(error.retryable);

    let mut pair = bare("");
    pair.connect();
    pair.closed(None);
    assert_eq!(phase(&pair), "mqtt");

    let mut pair = bare("");
    pair.resolved = Err(());
    pair.connect();
    assert_eq!(phase(&pair), "transport");
    pair.tells(["state connecting", "state idle", "connect failed CONNECTION_FAILED"]);
    pair.sends([]);
}

#[test]
fn connect_timeout_is_from_opening_to_connack() {
    let mut pair = bare("connectTimeout=5000");
    pair.by_hand = true;
    pair.connect();
    pair.wait(1_000_000);
    assert_eq!(pair.session.state(), State::Connecting, "the application takes its time to resolve");
    pair.resolve();
    pair.wait(4_999);
    assert_eq!(pair.session.state(), State::Connecting);
    pair.wait(1);
    assert_eq!(pair.errors()[0].phase.unwrap().name(), "transport");
    pair.sends(["OPEN ws://a", "CLOSE"]);
    pair.open();
    pair.quiet_but(["state connecting", "state idle", "connect failed CONNECTION_FAILED"]);

    let mut pair = bare("connectTimeout=5000");
    pair.connect();
    pair.wait(5_000);
    assert_eq!(pair.errors()[0].phase.unwrap().name(), "mqtt");
    assert_eq!(pair.errors()[0].code, ErrorCode::ConnectionFailed);
    pair.tells(["state connecting", "state idle", "connect failed CONNECTION_FAILED"]);
}

#[test]
fn what_an_earlier_attempt_asked_for_is_dropped() {
    let mut pair = bare("");
    pair.by_hand = true;
    pair.connect();
    pair.reconnect();
    pair.resolve();
    pair.sends([]);
    pair.resolve();
    pair.sends(["OPEN ws://a"]);
}

#[test]
fn a_connect_that_nobody_waits_for_leads_back_to_idle() {
    let withdrawn = |pair: &mut Pair| {
        pair.session.abandon(pair.now);
        pair.pump();
        assert_eq!(pair.tell().pop().unwrap(), "state idle");
        assert_eq!(pair.session.poll_timeout(), None);
    };
    let mut pair = bare("reconnect.initial=true will.topic=w");
    pair.publish("q1 a 'kept'");
    pair.by_hand = true;
    pair.connect();
    withdrawn(&mut pair);
    pair.resolve();
    pair.sends([]);

    pair.connect();
    pair.resolve();
    pair.clear();
    withdrawn(&mut pair);
    pair.sends(["CLOSE"]);

    pair.by_hand = false;
    pair.connect();
    pair.clear();
    withdrawn(&mut pair);
    pair.sends(["DISCONNECT", "CLOSE"]);

    pair.connect();
    pair.cut();
    assert_eq!(pair.session.state(), State::Waiting);
    pair.clear();
    withdrawn(&mut pair);
    pair.sends([]);

    pair.connect();
    assert_eq!(pair.asked, ["resolve 2"], "an error that it knows nothing of");
    pair.clear();
    pair.plays("CONNACK");
    pair.sends(["PUBLISH q1 #1 a 'kept'"]);
    pair.session.abandon(pair.now);
    pair.cut();
    pair.session.abandon(pair.now);
    assert_eq!(pair.session.state(), State::Waiting, "too late");
}

// ---------------------------------------------------------------------------------------------- refusals

/// The codes a CONNACK may bear, by what they lead to.
const FINAL: [u8; 9] = [0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x99];
const RETRIED: [u8; 10] = [0x80, 0x81, 0x82, 0x83, 0x88, 0x89, 0x97, 0x9A, 0x9B, 0x9F];

/// Shows [MQTT5-3.2.2-7] [MQTT5-4.13.2-1]
#[test]
fn a_refusal_is_reported_and_closes_the_connection() {
    for code in FINAL.iter().chain(&RETRIED) {
        let mut pair = bare("protocolVersion=5");
        pair.connect();
        pair.clear();
        pair.plays(&format!("CONNACK {code:#04x} ReasonString=because UserProperty=a:b; PINGRESP"));
        let error = &pair.errors()[0];
        assert_eq!(error.reason, Some(ReasonCode(*code)));
        assert_eq!(error.retryable, RETRIED.contains(code), "{code:#04x}");
        assert_eq!(error.properties.borrow().iter().count(), 2);
        assert_eq!(error.phase.unwrap().name(), "mqtt");
        pair.sends(["CLOSE"]);
        pair.tells(["state idle", &format!("connect failed CONNECTION_REFUSED {code:#04x}")]);
    }
}

/// Shows [MQTT3-3.1.2-2] [MQTT3-3.1.3-8] [MQTT3-3.1.3-9] [MQTT3-3.2.2-5]
#[test]
fn return_codes_of_3_1_1_are_reported_as_reason_codes() {
    for (code, reason) in [(1, "0x84"), (2, "0x85"), (3, "0x88"), (4, "0x86"), (5, "0x87")] {
        let mut pair = bare("protocolVersion=4");
        pair.connect();
        pair.clear();
        pair.receives(&[0x20, 2, 0, code]);
        pair.sends(["CLOSE"]);
        pair.tells(["state idle", &format!("connect failed CONNECTION_REFUSED {reason}")]);
    }
}

/// Shows [MQTT5-3.2.2-8]
#[test]
fn an_unknown_refusal_is_a_protocol_error() {
    for (version, packet) in [(5, "20 03 00 FE 00"), (5, "20 03 00 8E 00"), (4, "20 02 00 06")] {
        let mut pair = bare(&format!("protocolVersion={version}"));
        pair.connect();
        pair.clear();
        pair.receives(&bytes(packet));
        if version == 5 {
            pair.sends(["DISCONNECT 0x82", "CLOSE"]);
        } else {
            pair.sends(["CLOSE"]);
        }
        pair.tells(["error PROTOCOL_ERROR 0x82", "state idle", "connect failed PROTOCOL_ERROR 0x82"]);
    }
}

#[test]
fn a_refusal_while_reconnecting_ends_the_client_or_backs_off() {
    for code in FINAL.iter().chain(&RETRIED) {
        let mut pair = up("protocolVersion=5");
        pair.cut();
        pair.wait(1_000);
        pair.clear();
        pair.plays(&format!("CONNACK {code:#04x}"));
        if RETRIED.contains(code) {
            let attempt = format!("attempt 2 in 2000 ms at ws://a CONNECTION_REFUSED {code:#04x}");
            pair.tells(["state waiting", &attempt]);
        } else {
            pair.tells(["state closed", &format!("closed CONNECTION_REFUSED {code:#04x}")]);
            assert_eq!(pair.session.poll_timeout(), None);
        }
    }
}

/// Shows [MQTT5-4.13.2-1]
#[test]
fn a_disconnect_of_the_server_ends_the_client_or_backs_off() {
    const FINAL: [u8; 7] = [0x87, 0x8C, 0x8E, 0x8F, 0x90, 0x95, 0x99];
    const RETRIED: [u8; 21] = [
        0x00, 0x80, 0x81, 0x82, 0x83, 0x89, 0x8B, 0x8D, 0x93, 0x94, 0x96, 0x97, 0x98, 0x9A, 0x9B, 0x9E, 0x9F, 0xA0,
        0xA1, 0xA2, 0x00,
    ];
    for code in FINAL {
        let mut pair = up("");
        pair.plays(&format!("DISCONNECT {code:#04x} ReasonString=because"));
        assert_eq!(pair.errors()[0].properties.borrow().iter().count(), 1);
        pair.sends(["CLOSE"]);
        let error = format!("SERVER_DISCONNECTED {code:#04x}");
        pair.tells(["state closed", &format!("disconnected for good {error}"), &format!("closed {error}")]);
    }
    for code in RETRIED {
        let mut pair = up("");
        pair.plays(&format!("DISCONNECT {code:#04x}"));
        pair.sends(["CLOSE"]);
        let error = format!("SERVER_DISCONNECTED {code:#04x}");
        let attempt = format!("attempt 1 in 1000 ms at ws://a {error}");
        pair.tells(["state waiting", &format!("disconnected {error}"), &attempt]);
    }
}

/// Shows [MQTT5-3.1.4-3]
#[test]
fn a_takeover_ends_the_client() {
    let mut pair = up("");
    pair.plays("DISCONNECT 0x8E");
    let error = "SERVER_DISCONNECTED 0x8e";
    pair.tells(["state closed", &format!("disconnected for good {error}"), &format!("closed {error}")]);
    pair.wait(1_000_000);
    pair.sends(["CLOSE"]);
}

/// Shows [MQTT3-3.1.4-2]
#[test]
fn a_takeover_on_3_1_1_is_a_bare_close_and_backs_off() {
    let mut pair = up("protocolVersion=4");
    let mut delays = Vec::new();
    for _ in 0..4 {
        pair.cut();
        let before = pair.now;
        pair.wait_for(State::Connecting);
        delays.push(pair.now.since_ms(before) / 1_000);
        pair.plays("CONNACK");
        pair.wait(500);
    }
    assert_eq!(delays, [1, 2, 4, 8]);
}

// ---------------------------------------------------------------------------------------------- trying again

#[test]
fn a_lost_connection_is_made_again() {
    let mut pair = up("");
    pair.closed(Some(1006));
    assert_eq!(pair.errors()[0].close_code, Some(1006));
    pair.tells(["state waiting", "disconnected CONNECTION_LOST", "attempt 1 in 1000 ms at ws://a CONNECTION_LOST"]);
    pair.wait(999);
    pair.quiet();
    pair.wait(1);
    pair.tells(["state connecting"]);
    assert_eq!(pair.asked, ["resolve 1 CONNECTION_LOST"]);
    pair.sends(["OPEN ws://a", "CONNECT '' 60s SessionExpiryInterval=300"]);
    pair.plays("CONNACK");
    pair.tells(["state connected", "connected again"]);
}

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
    assert!(pair.tell().pop().unwrap().starts_with("attempt 8 in 30000 ms"), "not longer than the delay");
    pair.retried("CONNACK");
    pair.wait(30_001);
    pair.cut();
    assert!(pair.tell().pop().unwrap().starts_with("attempt 1 in 1000 ms"));
}

#[test]
fn half_of_a_delay_is_random() {
    let mut pair = Pair::connected("");
    let mut delays = Vec::new();
    for _ in 0..50 {
        pair.cut();
        let before = pair.now;
        pair.wait_for(State::Connecting);
        delays.push(pair.now.since_ms(before));
        pair.plays("CONNACK");
        pair.wait(2_000);
    }
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 25 && delays[0] > 500 && delays[0] < 600 && delays[delays.len() - 1] <= 1_001, "{delays:?}");
}

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
    assert_eq!(pair.session.poll_timeout(), None);
}

#[test]
fn the_first_connect_is_tried_again_if_asked_for() {
    let mut pair = bare("reconnect.initial=true");
    pair.connect();
    pair.cut();
    pair.tells(["state connecting", "state waiting", "attempt 2 in 1000 ms at ws://a CONNECTION_FAILED"]);
    pair.wait(1_000);
    assert_eq!(pair.asked, ["resolve 1", "resolve 2 CONNECTION_FAILED"]);
    pair.plays("CONNACK");
    pair.tells(["state connecting", "state connected", "connected"]);

    let mut pair = bare("reconnect.initial=true");
    pair.connect();
    pair.plays("CONNACK 0x87");
    pair.tells(["state connecting", "state closed", "closed CONNECTION_REFUSED 0x87"]);
}

#[test]
fn the_application_may_overrule_the_verdict() {
    let mut pair = bare("");
    pair.session.ask_verdict(true);
    pair.connect();
    pair.plays("CONNACK");
    pair.clear();
    pair.verdict = Some(true);
    pair.plays("DISCONNECT 0x8E");
    assert_eq!(pair.asked, ["judge 1 SERVER_DISCONNECTED 0x8e"]);
    let error = "SERVER_DISCONNECTED 0x8e";
    pair.tells(["state waiting", &format!("disconnected {error}"), &format!("attempt 1 in 1000 ms at ws://a {error}")]);
    pair.wait(1_000);
    pair.clear();
    pair.verdict = None;
    pair.cut();
    assert_eq!(pair.asked, ["judge 2 CONNECTION_FAILED"]);
    pair.tells(["state waiting", "attempt 2 in 2000 ms at ws://a CONNECTION_FAILED"]);
    pair.wait(2_000);
    pair.clear();
    pair.verdict = Some(false);
    pair.cut();
    pair.tells(["state closed", "closed CONNECTION_FAILED"]);
}

#[test]
fn an_end_comes_before_a_verdict() {
    let mut pair = up("");
    pair.session.ask_verdict(true);
    pair.session.handle_close(pair.now, None, None);
    pair.end();
    pair.tells(["state closing", "state closed", "closed"]);
    assert!(pair.asked.len() == 1);
    pair.session.handle_verdict(pair.now, Some(true));
    pair.pump();
    pair.tells([]);
}

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
    let mut pair = bare("");
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

#[test]
fn attempts_go_through_the_servers_and_stay_with_one_that_works() {
    let mut pair = bare("");
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
    let mut pair = bare("");
    let user = |name: &str| Credentials { username: Some(name.into()), password: None };
    let urls = vec!["ws://a".into(), "ws://b".into()];
    pair.resolved = Ok(Resolved { urls, credentials: vec![user("for-a"), user("for-b")], dynamic: false });
    pair.connect();
    pair.cut();
    let sent = pair.sent();
    assert!(sent[1].contains("username='for-a'") && sent[3].contains("username='for-b'"), "{sent:?}");
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
        pair.tells(["state closed", &format!("disconnected for good {error}"), &format!("closed {error}")]);
    }
}

// ---------------------------------------------------------------------------------------------- credentials

fn dynamic(pair: &mut Pair, name: &str) {
    let resolved = pair.resolved.as_mut().unwrap();
    resolved.dynamic = true;
    resolved.credentials = vec![Credentials { username: Some(name.into()), password: None }];
}

#[test]
fn credentials_from_a_function_are_asked_for_once_more() {
    let mut pair = bare("");
    dynamic(&mut pair, "old");
    pair.connect();
    pair.clear();
    dynamic(&mut pair, "new");
    pair.plays("CONNACK 0x86");
    assert_eq!(pair.asked, ["resolve 1 CONNECTION_REFUSED 0x86"]);
    pair.sends(["CLOSE", "OPEN ws://a", "CONNECT '' clean 60s username='new' SessionExpiryInterval=300"]);
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
        assert_eq!(pair.asked, ["resolve 1 CONNECTION_REFUSED 0x87"]);
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
    pair.resolved.as_mut().unwrap().credentials = vec![password.clone()];
    pair.connect();
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s password='secret' SessionExpiryInterval=300"]);

    let mut pair = bare("protocolVersion=4");
    pair.resolved.as_mut().unwrap().credentials = vec![password];
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
            pair.resolved.as_mut().unwrap().credentials =
                vec![Credentials { username: username.map(Into::into), password: password.map(Into::into) }];
            pair.connect();
            pair.sends([]);
            pair.tells(["state connecting", "state idle", &format!("connect failed INVALID_ARGUMENT {argument}")]);
        }
    }
    let longest = &long[1..];
    let mut pair = bare("");
    pair.resolved.as_mut().unwrap().credentials =
        vec![Credentials { username: Some(longest.into()), password: Some(longest.into()) }];
    pair.connect();
    assert!(pair.sent()[1].starts_with("CONNECT"));
}

// ---------------------------------------------------------------------------------------------- versions

#[test]
fn a_server_of_3_1_1_is_met_on_its_terms() {
    for refusal in ["20 02 00 01", "20 03 00 84 00"] {
        let mut pair = bare("");
        pair.connect();
        pair.clear();
        pair.receives(&bytes(refusal));
        let sent = pair.sent();
        assert_eq!(sent[..2], ["CLOSE", "OPEN ws://a"]);
        assert!(sent[2].starts_with("CONNECT 'wasmqtt-") && sent[2].ends_with(" clean 60s"), "{sent:?}");
        pair.tells([]);
        pair.plays("CONNACK");
        pair.tells(["state connected", "connected"]);
        pair.reconnected("CONNACK");
        pair.cut();
        pair.wait_for(State::Connecting);
        assert_eq!(pair.sent()[1], sent[2], "it is remembered");
    }
}

#[test]
fn another_refusal_in_the_form_of_3_1_1_is_taken_for_what_it_means() {
    let mut pair = bare("");
    pair.connect();
    pair.clear();
    pair.receives(&bytes("20 02 00 05"));
    pair.tells(["state idle", "connect failed CONNECTION_REFUSED 0x87"]);
}

#[test]
fn without_auto_there_is_no_fallback_and_not_twice() {
    let mut pair = bare("protocolVersion=5");
    pair.connect();
    pair.clear();
    pair.receives(&bytes("20 02 00 01"));
    pair.tells(["state idle", "connect failed CONNECTION_REFUSED 0x84"]);

    let mut pair = bare("");
    pair.connect();
    pair.receives(&bytes("20 02 00 01"));
    pair.clear();
    pair.receives(&bytes("20 02 00 01"));
    assert!(!pair.errors()[0].retryable);
    pair.tells(["state idle", "connect failed CONNECTION_REFUSED 0x84"]);
}

#[test]
fn a_success_in_the_form_of_3_1_1_is_no_answer_to_version_5() {
    let mut pair = bare("");
    pair.connect();
    pair.clear();
    pair.receives(&bytes("20 02 00 00"));
    pair.sends(["DISCONNECT 0x81", "CLOSE"]);
}

/// Shows [MQTT3-3.1.3-7]
#[test]
fn a_session_of_3_1_1_needs_a_name() {
    let mut options = options("protocolVersion=4 clean=false");
    assert_eq!(options.check().unwrap_err().argument, "clientId");
    options.client_id = Some(String::new());
    assert_eq!(options.check().unwrap_err().argument, "clientId");

    let mut pair = bare("clean=false");
    pair.connect();
    pair.clear();
    pair.receives(&bytes("20 02 00 01"));
    pair.sends(["CLOSE", "OPEN ws://a", "CLOSE"]);
    pair.tells(["state idle", "connect failed NOT_SUPPORTED"]);
}

// ---------------------------------------------------------------------------------------------- client id and session

/// Shows [MQTT5-3.2.2-16] [MQTT5-3.1.3-2]
#[test]
fn an_assigned_client_id_is_kept() {
    let mut pair = bare("");
    pair.connect();
    pair.plays("CONNACK AssignedClientIdentifier=given");
    assert_eq!(&*pair.info().client_id, "given");
    assert_eq!(&**pair.session.client_id(), "given");
    pair.cut();
    pair.clear();
    pair.wait_for(State::Connecting);
    pair.sends(["OPEN ws://a", "CONNECT 'given' 60s SessionExpiryInterval=300"]);
}

/// Shows [MQTT3-3.1.3-2]
#[test]
fn a_client_id_of_3_1_1_is_made_once() {
    let mut pair = bare("protocolVersion=4");
    pair.connect();
    let first = pair.sent().remove(1);
    let id = pair.session.client_id().to_string();
    let digits = id.strip_prefix("wasmqtt-").unwrap();
    assert!(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    pair.plays("CONNACK");
    pair.cut();
    pair.wait_for(State::Connecting);
    assert_eq!(pair.sent()[1], first);
}

#[test]
fn clean_start_holds_for_the_first_connection_only() {
    let connects = |text: &str| {
        let mut pair = bare(text);
        let mut clean = Vec::new();
        pair.connect();
        for _ in 0..3 {
            clean.push(pair.sent().pop().unwrap().contains(" clean "));
            pair.plays("CONNACK");
            pair.cut();
            pair.wait_for(State::Connecting);
        }
        clean
    };
    assert_eq!(connects(""), [true, false, false]);
    assert_eq!(connects("clean=false clientId=me"), [false, false, false]);
    assert_eq!(connects("properties.sessionExpiryInterval=0"), [true, true, true], "nothing can be resumed");
    assert_eq!(connects("protocolVersion=4"), [true, true, true]);
    assert_eq!(connects("protocolVersion=4 clean=false clientId=me"), [false, false, false]);
}

#[test]
fn clean_start_is_asked_for_until_the_first_connection_is_accepted() {
    let mut pair = bare("reconnect.initial=true");
    pair.connect();
    pair.cut();
    pair.wait_for(State::Connecting);
    assert!(pair.sent().pop().unwrap().contains(" clean "));
}

/// Shows [MQTT5-3.2.2-2] [MQTT5-3.2.2-4] [MQTT3-3.2.2-1]
#[test]
fn a_session_that_was_to_be_forgotten_is_the_servers_fault() {
    for version in [5, 4] {
        let mut pair = bare(&format!("protocolVersion={version} clientId=me"));
        pair.connect();
        pair.clear();
        pair.plays("CONNACK present");
        if version == 5 {
            pair.sends(["DISCONNECT 0x82", "CLOSE"]);
        } else {
            pair.sends(["CLOSE"]);
        }
        pair.tells(["error PROTOCOL_ERROR 0x82", "state idle", "connect failed PROTOCOL_ERROR 0x82"]);
    }
}

#[test]
fn a_session_that_may_exist_is_accepted() {
    for version in [5, 4] {
        let mut pair = bare(&format!("protocolVersion={version} clientId=me clean=false"));
        pair.connect();
        pair.plays("CONNACK present");
        pair.tells(["state connecting", "state connected", "connected present"]);
    }
}

/// Shows [MQTT5-3.2.2-1] [MQTT5-3.2.2-6] [MQTT3-3.2.2-4]
#[test]
fn connack_flags() {
    for (packet, reason) in [("20 03 02 00 00", "0x81"), ("20 03 80 00 00", "0x81"), ("20 03 01 87 00", "0x82")] {
        let mut pair = bare("clean=false");
        pair.connect();
        pair.clear();
        pair.receives(&bytes(packet));
        pair.sends([&format!("DISCONNECT {reason}"), "CLOSE"]);
    }
    for packet in ["20 02 02 00", "20 02 01 05"] {
        let mut pair = bare("protocolVersion=4 clientId=me clean=false");
        pair.connect();
        pair.clear();
        pair.receives(&bytes(packet));
        pair.sends(["CLOSE"]);
        assert_eq!(pair.errors()[0].code, ErrorCode::ProtocolError);
    }
}

#[test]
fn the_will_is_in_every_connect_and_changes_with_the_next() {
    let mut pair = bare("will.topic=w will.payload=one properties.sessionExpiryInterval=0");
    pair.connect();
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s will( q0 w 'one')"]);
    pair.plays("CONNACK");
    let mut will = options("will.topic=w will.payload=two will.qos=2").will;
    pair.session.set_will(will.clone()).unwrap();
    pair.pump();
    pair.sends([]);
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s will( q2 w 'two')"]);
    pair.session.set_will(None).unwrap();
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s"]);
    will.as_mut().unwrap().topic.clear();
    assert_eq!(pair.session.set_will(will).unwrap_err().argument, "will.topic");
}

// ---------------------------------------------------------------------------------------------- the end

#[test]
fn end_waits_for_what_is_in_flight() {
    for mut pair in both("") {
        let first = pair.publish("q1 a '1'");
        let second = pair.publish("q2 a '2'");
        let third = pair.subscribe("a");
        pair.clear();
        pair.end();
        pair.quiet_but(["state closing"]);
        pair.plays("PUBACK #1; PUBREC #2; SUBACK #3 0");
        pair.sends(["PUBREL #2"]);
        pair.plays("PUBCOMP #2");
        let sent = pair.sent();
        assert!(sent[0].starts_with("DISCONNECT"), "{sent:?}");
        assert_eq!(sent[1..], ["CLOSE"]);
        pair.tells([
            &format!("published {first}"),
            &format!("subscribed {third} a:0x00"),
            &format!("published {second}"),
            "state closed",
            "closed",
        ]);
    }
}

#[test]
fn end_does_not_wait_for_ever() {
    let mut pair = up("");
    let token = pair.publish("q1 a 'x'");
    let drained = pair.drain();
    let subscribed = pair.subscribe("a");
    pair.clear();
    pair.end_with(500, 0, "").unwrap();
    pair.wait(499);
    pair.quiet_but(["state closing"]);
    pair.wait(1);
    pair.sends(["DISCONNECT SessionExpiryInterval=0", "CLOSE"]);
    pair.tells([
        "state closed",
        &format!("failed {token} CLOSED"),
        &format!("failed {subscribed} CLOSED"),
        &format!("failed {drained} CLOSED"),
        "closed",
    ]);
    assert_eq!(pair.session.poll_timeout(), None);
}

#[test]
fn end_is_idempotent_and_final() {
    let mut pair = up("");
    pair.publish("q1 a 'x'");
    pair.end();
    pair.clear();
    pair.end_with(0, 0, "").unwrap();
    pair.quiet();
    pair.plays("PUBACK #1");
    pair.clear();
    pair.end();
    pair.reconnect();
    pair.connect();
    pair.quiet();
    let closed =
        |result: Result<u32, Box<wasmqtt::session::Error>>| assert_eq!(result.unwrap_err().code, ErrorCode::Closed);
    closed(pair.try_publish("q0 a 'x'"));
    closed(pair.try_publish("q1 a 'x'"));
    closed(pair.try_subscribe("a"));
    closed(pair.try_unsubscribe("a"));
    closed(pair.session.reauthenticate(9).map(|_| 9));
    closed(pair.session.drain(pair.now, 9).map(|_| 9));
    closed(pair.session.leave(9, 1, Default::default()).map(|_| 9));
}

#[test]
fn end_in_every_state() {
    let mut pair = bare("");
    let token = pair.publish("q1 a 'x'");
    pair.end();
    pair.tells(["state closing", "state closed", &format!("failed {token} CLOSED"), "closed"]);
    pair.sends([]);

    let mut pair = bare("");
    pair.by_hand = true;
    pair.connect();
    pair.end();
    pair.sends([]);
    pair.tells(["state connecting", "state closing", "state closed", "closed"]);
    pair.resolve();
    pair.quiet();

    let mut pair = bare("");
    pair.by_hand = true;
    pair.connect();
    pair.resolve();
    pair.clear();
    pair.end();
    pair.sends(["CLOSE"]);

    let mut pair = up("");
    pair.cut();
    pair.clear();
    pair.end();
    pair.tells(["state closing", "state closed", "closed"]);
    pair.wait(100_000);
    pair.quiet();
}

#[test]
fn end_with_connect_unanswered_says_goodbye() {
    for (version, goodbye) in [(5, "DISCONNECT SessionExpiryInterval=0"), (4, "DISCONNECT")] {
        let mut pair = bare(&format!("protocolVersion={version} will.topic=w"));
        pair.connect();
        pair.clear();
        pair.end();
        pair.sends([goodbye, "CLOSE"]);
    }
}

#[test]
fn end_by_force_says_nothing() {
    let mut pair = up("");
    let token = pair.publish("q1 a 'x'");
    pair.clear();
    pair.force();
    pair.sends(["CLOSE by force"]);
    pair.tells(["state closing", "state closed", &format!("failed {token} CLOSED"), "closed"]);

    let mut pair = up("");
    pair.publish("q1 a 'x'");
    pair.end();
    pair.clear();
    pair.force();
    pair.sends(["CLOSE by force"]);

    let mut pair = bare("");
    pair.force();
    pair.quiet_but(["state closing", "state closed", "closed"]);
}

#[test]
fn end_while_the_connection_is_lost() {
    let mut pair = up("");
    let token = pair.publish("q1 a 'x'");
    pair.end();
    pair.clear();
    pair.cut();
    pair.tells(["state closed", &format!("failed {token} CLOSED"), "closed"]);
}

#[test]
fn end_says_what_it_is_asked_to() {
    let mut pair = up("");
    pair.end_with(3_000, 4, "sessionExpiryInterval=60 reasonString=bye userProperties=a:b").unwrap();
    pair.sends(["DISCONNECT 0x04 ReasonString=bye UserProperty=a:b SessionExpiryInterval=60", "CLOSE"]);

    let mut pair = up("protocolVersion=4");
    pair.end_with(3_000, 4, "reasonString=bye").unwrap();
    pair.sends(["DISCONNECT", "CLOSE"]);
}

#[test]
fn end_drops_a_session_that_nobody_asked_for() {
    for (text, goodbye) in [
        ("", "DISCONNECT SessionExpiryInterval=0"),
        ("properties.sessionExpiryInterval=100", "DISCONNECT"),
        ("properties.sessionExpiryInterval=0", "DISCONNECT"),
        ("reconnect=false", "DISCONNECT"),
    ] {
        let mut pair = up(text);
        pair.end();
        pair.sends([goodbye, "CLOSE"]);
    }
}

/// Shows [MQTT5-3.14.2-1]
#[test]
fn end_refuses_what_a_client_may_not_say() {
    let mut pair = up("");
    let allowed: Vec<u8> = (0..=255).filter(|code| Pair::connected("").end_with(0, *code, "").is_ok()).collect();
    assert_eq!(allowed, [0, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]);
    let error = pair.end_with(0, 0x8E, "").unwrap_err();
    assert_eq!((error.code, error.argument.as_deref()), (ErrorCode::InvalidArgument, Some("reasonCode")));
    pair.quiet();

    let mut pair = up("properties.sessionExpiryInterval=0");
    let error = pair.end_with(0, 0, "sessionExpiryInterval=1").unwrap_err();
    assert_eq!(error.argument.as_deref(), Some("properties.sessionExpiryInterval"));
    pair.quiet();
    pair.end_with(0, 0, "sessionExpiryInterval=0").unwrap();
    pair.sends(["DISCONNECT", "CLOSE"]);
}

/// Shows [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT3-3.14.4-1] [MQTT3-3.14.4-2]
#[test]
fn nothing_is_sent_after_disconnect() {
    for mut pair in both("") {
        pair.holds = true;
        pair.plays("PUBLISH q1 #1 a 'x'");
        pair.publish("q2 a 'y'");
        pair.subscribe("a");
        pair.plays("PUBREC #1");
        pair.end_with(0, 0, "").unwrap();
        let sent = pair.sent();
        let goodbye = sent.iter().position(|line| line.starts_with("DISCONNECT")).unwrap();
        assert_eq!(sent[goodbye + 1..], ["CLOSE"]);
        pair.acknowledge("x", 0);
        pair.session.delivered();
        pair.session.handle_input(pair.now, [0xD0, 0][..].into());
        pair.session.handle_timeout(pair.now);
        pair.pump();
        pair.sends([]);
    }
}

/// Shows [MQTT5-3.14.2-3] [MQTT5-3.14.2-4]
/// Shows [MQTT5-3.2.2-15]
#[test]
fn disconnect_leaves_out_what_is_too_much_for_the_server() {
    let goodbye = |limit: u32| {
        let mut pair = Pair::accepted("", &format!("CONNACK MaximumPacketSize={limit}"));
        pair.end_with(0, 4, "reasonString=farewell-- userProperties=name:value").unwrap();
        let Arrival::Packet(_, bytes) = &pair.arrivals[0] else { panic!() };
        assert!(bytes.len() <= limit as usize, "{} bytes of {limit}", bytes.len());
        pair.sent().remove(0)
    };
    let all = "DISCONNECT 0x04 ReasonString=farewell-- UserProperty=name:value SessionExpiryInterval=0";
    assert_eq!(goodbye(36), all);
    assert_eq!(goodbye(35), "DISCONNECT 0x04 SessionExpiryInterval=0");
    assert_eq!(goodbye(9), "DISCONNECT 0x04 SessionExpiryInterval=0");
    assert_eq!(goodbye(8), "DISCONNECT 0x04");
    assert_eq!(goodbye(3), "DISCONNECT 0x04");
}
