//! The first connection: what CONNECT says, what the server answers, versions, client id and session.

use wasmqtt::codec::{ReasonCode, Version};
use wasmqtt::session::{Consumed, Credentials, ErrorCode, State, Then};

use crate::support::notation::bytes;
use crate::support::{Pair, options};
use crate::{bare, up};

// ---------------------------------------------------------------------------------------------- connecting

#[test]
fn from_idle_to_closed() {
    let mut pair = Pair::new("clientId=me");
    assert_eq!(pair.session().state(), State::Idle);
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
        let connect = pair.packet(1);
        assert_eq!(connect[0], 0x10);
        assert_eq!(connect[2..9], bytes(name));
        assert_eq!(pair.ends().arrivals.len(), 2, "and nothing else before CONNACK");
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
    pair.credentials(secret.clone());
    pair.connect();
    pair.sends([
        "OPEN ws://a",
        "CONNECT 'me' clean 10s username='user' password='pass' \
         will( q1 retain w 'gone' WillDelayInterval=9 ContentType=text) \
         SessionExpiryInterval=4294967295 ReceiveMaximum=7 MaximumPacketSize=1000 TopicAliasMaximum=5 \
         RequestResponseInformation=1 RequestProblemInformation=0 UserProperty=a:1 UserProperty=a:2",
    ]);
    let mut pair = Pair::new(&format!("protocolVersion=4 {text}"));
    pair.credentials(secret);
    pair.connect();
    pair.sends([
        "OPEN ws://a",
        "CONNECT 'me' clean 10s username='user' password='pass' will( q1 retain w 'gone')",
    ]);
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
    assert!(
        server.retain_available
            && server.wildcards_available
            && server.subscription_ids_available
            && server.shared_available
    );
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
    assert!(
        !server.retain_available
            && !server.wildcards_available
            && !server.subscription_ids_available
            && !server.shared_available
    );
    assert_eq!((&*info.client_id, &*info.url, info.reconnect), ("you", "ws://a", false));
    assert_eq!(info.properties.borrow().iter().count(), 11, "as received");

    for (clean, expiry) in [("true", 0), ("false", u32::MAX)] {
        let mut pair = bare(&format!("protocolVersion=4 clientId=me clean={clean}"));
        pair.connect();
        pair.plays("CONNACK");
        let server = pair.info().server;
        assert_eq!(server.session_expiry, expiry);
        assert!(
            server.retain_available
                && server.wildcards_available
                && server.shared_available
                && !server.subscription_ids_available
        );
    }
}

#[test]
fn the_application_hears_of_the_connection_before_what_comes_with_it() {
    let mut pair = bare("");
    pair.connect();
    let mut bytes = pair.bytes_of("CONNACK present; PUBLISH q1 #1 a 'x'; PUBLISH q0 a 'y'");
    bytes[2] = 0;
    pair.clear();
    let Consumed { used, then } = pair.session().handle_input(pair.now(), bytes[..].into());
    assert_eq!(then, Then::Paused);
    pair.pump();
    pair.tells(["state connected", "connected"]);
    let consumed = pair.session().handle_input(pair.now(), bytes[used..].into());
    assert_eq!(consumed.then, Then::More);
}

#[test]
fn a_first_connect_that_fails_leads_back_to_idle() {
    let mut pair = bare("protocolVersion=5 clientId=me");
    pair.publish("q1 a 'kept'");
    for _ in 0..2 {
        pair.connect();
        pair.closed(Some(1006));
        pair.tells(["state connecting", "state idle", "connect failed CONNECTION_FAILED"]);
        assert_eq!(pair.session().poll_timeout(), None);
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
    let mut pair = bare("protocolVersion=5");
    pair.ends().by_hand = true;
    pair.connect();
    pair.resolve();
    pair.closed(Some(1006));
    assert_eq!(phase(&pair), "transport");
    let error = &pair.errors()[0];
    assert_eq!((error.close_code, error.url.as_deref()), (Some(1006), Some("ws://a")));
    assert!(error.retryable);

    let mut pair = bare("protocolVersion=5");
    pair.connect();
    pair.closed(None);
    assert_eq!(phase(&pair), "mqtt");

    let mut pair = bare("protocolVersion=5");
    pair.ends().resolved = Err(());
    pair.connect();
    assert_eq!(phase(&pair), "transport");
    pair.tells(["state connecting", "state idle", "connect failed CONNECTION_FAILED"]);
    pair.sends([]);
}

/// Contract: Times given by the user are in milliseconds, except where MQTT itself defines seconds
/// (keepalive, expiry and delay intervals): those are named as in the MQTT specification and stay
/// in seconds.
/// Contract: Milliseconds from opening the transport to CONNACK. Default 30_000.
#[test]
fn connect_timeout_is_from_opening_to_connack() {
    let mut pair = bare("connectTimeout=5000");
    pair.ends().by_hand = true;
    pair.connect();
    pair.wait(1_000_000);
    assert_eq!(
        pair.session().state(),
        State::Connecting,
        "the application takes its time to resolve"
    );
    pair.resolve();
    pair.wait(4_999);
    assert_eq!(pair.session().state(), State::Connecting);
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

    let mut pair = bare("protocolVersion=5");
    pair.connect();
    pair.wait(29_999);
    assert_eq!(pair.session().state(), State::Connecting);
    pair.wait(1);
    assert_eq!(pair.session().state(), State::Idle, "30 seconds by default");
}

#[test]
fn what_an_earlier_attempt_asked_for_is_dropped() {
    let mut pair = bare("");
    pair.ends().by_hand = true;
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
        pair.session().abandon(pair.now());
        pair.pump();
        assert_eq!(pair.tell().pop().unwrap(), "state idle");
        assert_eq!(pair.session().poll_timeout(), None);
    };
    let mut pair = bare("protocolVersion=5 reconnect.initial=true will.topic=w");
    pair.publish("q1 a 'kept'");
    pair.ends().by_hand = true;
    pair.connect();
    withdrawn(&mut pair);
    pair.resolve();
    pair.sends([]);

    pair.connect();
    pair.resolve();
    pair.clear();
    withdrawn(&mut pair);
    pair.sends(["CLOSE"]);

    pair.ends().by_hand = false;
    pair.connect();
    pair.clear();
    withdrawn(&mut pair);
    pair.sends(["DISCONNECT", "CLOSE"]);

    pair.connect();
    pair.cut();
    assert_eq!(pair.session().state(), State::Waiting);
    pair.clear();
    withdrawn(&mut pair);
    pair.sends([]);

    pair.connect();
    assert_eq!(pair.ends().asked, ["resolve 2"], "an error that it knows nothing of");
    pair.clear();
    pair.plays("CONNACK");
    pair.sends(["PUBLISH q1 #1 a 'kept'"]);
    pair.session().abandon(pair.now());
    pair.cut();
    pair.session().abandon(pair.now());
    assert_eq!(pair.session().state(), State::Waiting, "too late");
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
/// Contract: MQTT reason code, also for 3.1.1 return codes (mapped to their MQTT 5 equivalent).
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
        pair.tells([
            "error PROTOCOL_ERROR 0x82",
            "state idle",
            "connect failed PROTOCOL_ERROR 0x82",
        ]);
    }
}

/// Contract: what a retry cannot cure (bad credentials, not authorized, banned, bad client id, bad
/// authentication method, unsupported version once fallback is spent, packet too large, topic or
/// payload refusals) and "session taken over" end the client with that error; everything else,
/// protocol errors and administrative action included, backs off.
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
            assert_eq!(pair.session().poll_timeout(), None);
        }
    }
}

/// Shows [MQTT5-4.13.2-1]
/// Contract: what a retry cannot cure (bad credentials, not authorized, banned, bad client id, bad
/// authentication method, unsupported version once fallback is spent, packet too large, topic or
/// payload refusals) and "session taken over" end the client with that error; everything else,
/// protocol errors and administrative action included, backs off.
#[test]
fn a_disconnect_of_the_server_ends_the_client_or_backs_off() {
    const FINAL: [u8; 7] = [0x87, 0x8C, 0x8E, 0x8F, 0x90, 0x95, 0x99];
    const RETRIED: [u8; 21] = [
        0x00, 0x80, 0x81, 0x82, 0x83, 0x89, 0x8B, 0x8D, 0x93, 0x94, 0x96, 0x97, 0x98, 0x9A, 0x9B,
        0x9E, 0x9F, 0xA0, 0xA1, 0xA2, 0x00,
    ];
    for code in FINAL {
        let mut pair = up("");
        pair.plays(&format!("DISCONNECT {code:#04x} ReasonString=because"));
        assert_eq!(pair.errors()[0].properties.borrow().iter().count(), 1);
        pair.sends(["CLOSE"]);
        let error = format!("SERVER_DISCONNECTED {code:#04x}");
        pair.tells([
            "state closed",
            &format!("disconnected for good {error}"),
            &format!("closed {error}"),
        ]);
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
    pair.tells([
        "state closed",
        &format!("disconnected for good {error}"),
        &format!("closed {error}"),
    ]);
    pair.wait(1_000_000);
    pair.sends(["CLOSE"]);
}

/// Shows [MQTT3-3.1.4-2]
/// Contract: On 3.1.1 a takeover is a bare close: the growing backoff keeps two clients with one id
/// from fighting.
#[test]
fn a_takeover_on_3_1_1_is_a_bare_close_and_backs_off() {
    let mut pair = up("protocolVersion=4");
    let mut delays = Vec::new();
    for _ in 0..4 {
        pair.cut();
        let before = pair.now();
        pair.wait_for(State::Connecting);
        delays.push(pair.now().since_ms(before) / 1_000);
        pair.plays("CONNACK");
        pair.wait(500);
    }
    assert_eq!(delays, [1, 2, 4, 8]);
}

// ---------------------------------------------------------------------------------------------- versions

/// Contract: 'auto' takes a 3.1.1-form refusal (20 02 00 01) of a version 5 CONNECT for what it
/// means, and remembers the version for the next connects.
#[test]
fn a_server_of_3_1_1_is_met_on_its_terms() {
    for refusal in ["20 02 00 01", "20 03 00 84 00"] {
        let mut pair = bare("");
        pair.connect();
        pair.clear();
        pair.receives(&bytes(refusal));
        let sent = pair.sent();
        assert_eq!(sent[..2], ["CLOSE", "OPEN ws://a"]);
        assert!(
            sent[2].starts_with("CONNECT 'wasmqtt") && sent[2].ends_with(" clean 60s"),
            "{sent:?}"
        );
        pair.tells([]);
        pair.plays("CONNACK");
        pair.tells(["state connected", "connected"]);
        pair.reconnected("CONNACK");
        pair.cut();
        pair.wait_for(State::Connecting);
        assert_eq!(pair.sent()[1], sent[2], "it is remembered");
    }
}

/// Contract: 5, 4 (= 3.1.1) or 'auto': try 5 and fall back to 3.1.1 if the server refuses the
/// version, or answers the CONNECT with a bare close or with 5 s of silence and has not yet
/// accepted version 5 from this client: many 3.1.1 servers do. Default 'auto'.
#[test]
fn a_server_that_does_not_answer_version_5_is_met_with_3_1_1() {
    for silent in [false, true] {
        let mut pair = bare("");
        pair.connect();
        pair.clear();
        if silent {
            pair.wait(4_999);
            pair.sends([]);
            pair.wait(1);
            assert_eq!(pair.sent()[..2], ["CLOSE", "OPEN ws://a"]);
        } else {
            pair.cut();
            let sent = pair.sent();
            assert_eq!(sent[0], "OPEN ws://a");
            assert!(sent[1].starts_with("CONNECT 'wasmqtt"), "{sent:?}");
        }
        pair.tells([]);
        pair.plays("CONNACK");
        assert_eq!(pair.info().server.version, Version::V311);
        pair.tells(["state connected", "connected"]);
        pair.cut();
        pair.wait_for(State::Connecting);
        assert!(pair.sent()[1].starts_with("CONNECT 'wasmqtt"), "it is remembered");
    }
}

#[test]
fn a_server_that_does_not_answer_3_1_1_either_is_met_with_version_5_again() {
    let mut pair = bare("reconnect.initial=true");
    pair.connect();
    for _ in 0..2 {
        pair.clear();
        pair.cut();
        let sent = pair.sent();
        assert!(sent[1].starts_with("CONNECT 'wasmqtt"), "{sent:?}");
        pair.cut();
        pair.wait_for(State::Connecting);
        pair.sends(["OPEN ws://a", "CONNECT '' clean 60s SessionExpiryInterval=300"]);
    }
    pair.plays("CONNACK");
    assert_eq!(pair.info().server.version, Version::V5);
    // It has accepted version 5, so a close means something else.
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.clear();
    pair.cut();
    assert_eq!(pair.session().state(), State::Waiting);
}

#[test]
fn what_3_1_1_cannot_do_is_not_tried_with_it() {
    for text in ["clean=false", "authentication.method=m"] {
        let mut pair = Pair::with(options(text));
        pair.connect();
        if text != "clean=false" {
            pair.authenticate(Ok(None));
        }
        pair.cut();
        assert_eq!(pair.errors()[0].code, ErrorCode::ConnectionFailed);
    }
}

#[test]
fn a_close_on_3_1_1_hints_at_the_credentials() {
    for (credentials, hint) in [(Credentials::default(), false), (secret(), true)] {
        let mut pair = bare("clientId=me");
        pair.credentials(credentials);
        pair.connect();
        pair.cut();
        pair.cut();
        let error = &pair.errors()[0];
        assert_eq!(error.what.ends_with("username or password may be wrong"), hint);
    }
}

fn secret() -> Credentials {
    Credentials { username: Some("user".into()), password: Some(b"pass".into()) }
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
/// Contract: false needs a clientId on 3.1.1.
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
/// Contract: Default: MQTT 5: empty, the id that the server assigns is kept for reconnects
#[test]
fn an_assigned_client_id_is_kept() {
    let mut pair = bare("");
    pair.connect();
    pair.plays("CONNACK AssignedClientIdentifier=given");
    assert_eq!(&*pair.info().client_id, "given");
    assert_eq!(&**pair.session().client_id(), "given");
    pair.cut();
    pair.clear();
    pair.wait_for(State::Connecting);
    pair.sends(["OPEN ws://a", "CONNECT 'given' 60s SessionExpiryInterval=300"]);
}

#[test]
fn what_follows_a_connack_is_read_although_the_socket_is_closed() {
    let mut pair = bare("");
    pair.connect();
    pair.clear();
    pair.receives_and_closes("CONNACK; DISCONNECT 0x8B");
    pair.tells([
        "state connected",
        "connected",
        "state waiting",
        "disconnected SERVER_DISCONNECTED 0x8b",
        "attempt 1 in 1000 ms at ws://a SERVER_DISCONNECTED 0x8b",
    ]);
    pair.retried("CONNACK");
    pair.clear();

    let mut pair = bare("");
    pair.connect();
    pair.clear();
    pair.receives_and_closes("CONNACK; PUBLISH q0 a 'x'");
    let told = pair.tell();
    assert!(told.contains(&"disconnected CONNECTION_LOST".into()), "{told:?}");
    pair.retried("CONNACK");
}

/// Shows [MQTT3-3.1.3-2]
#[test]
fn a_client_id_of_3_1_1_is_made_once() {
    let mut pair = bare("protocolVersion=4");
    pair.connect();
    let first = pair.sent().remove(1);
    let id = pair.session().client_id().to_string();
    let digits = id.strip_prefix("wasmqtt").unwrap();
    assert!(digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    pair.plays("CONNACK");
    pair.cut();
    pair.wait_for(State::Connecting);
    assert_eq!(pair.sent()[1], first);
}

/// Contract: Clean Start / Clean Session. Default true. On MQTT 5 it holds for the first connect
/// only: reconnects ask to resume what `sessionExpiryInterval` lets the server keep. On 3.1.1 every
/// reconnect repeats it.
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
    assert_eq!(
        connects("properties.sessionExpiryInterval=0"),
        [true, true, true],
        "nothing can be resumed"
    );
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
        pair.tells([
            "error PROTOCOL_ERROR 0x82",
            "state idle",
            "connect failed PROTOCOL_ERROR 0x82",
        ]);
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
    for (packet, reason) in
        [("20 03 02 00 00", "0x81"), ("20 03 80 00 00", "0x81"), ("20 03 01 87 00", "0x82")]
    {
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

/// Contract: Last will, sent in every CONNECT. `client.will = …` changes it for the next one.
#[test]
fn the_will_is_in_every_connect_and_changes_with_the_next() {
    let mut pair = bare("will.topic=w will.payload=one properties.sessionExpiryInterval=0");
    pair.connect();
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s will( q0 w 'one')"]);
    pair.plays("CONNACK");
    let mut will = options("will.topic=w will.payload=two will.qos=2").will;
    pair.session().set_will(will.clone()).unwrap();
    pair.pump();
    pair.sends([]);
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s will( q2 w 'two')"]);
    pair.session().set_will(None).unwrap();
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.sends(["OPEN ws://a", "CONNECT '' clean 60s"]);
    will.as_mut().unwrap().topic.clear();
    assert_eq!(pair.session().set_will(will).unwrap_err().argument, "will.topic");
}
