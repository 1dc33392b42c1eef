//! Enhanced authentication (MQTT 5, 4.12) and its repetition on a connection that is up.

use wasmqtt::session::{ErrorCode, Input, State};

use crate::support::{Pair, token};
use crate::{bare, up};

/// One whose Authenticator has the method `m`, until CONNECT is out.
fn connecting() -> Pair {
    let mut pair = bare("authentication.method=m protocolVersion=5");
    pair.connect();
    pair.authenticate(Ok(Some("first")));
    pair
}

fn authenticated() -> Pair {
    let mut pair = connecting();
    pair.plays("CONNACK AuthenticationMethod=m");
    assert_eq!(pair.session().state(), State::Connected);
    pair.clear();
    pair
}

/// Shows [MQTT5-4.12.0-3] [MQTT5-4.12.0-5] [MQTT5-3.15.2-1]
#[test]
fn challenges_are_answered() {
    let mut pair = bare("authentication.method=m");
    pair.connect();
    pair.sends(["OPEN ws://a"]);
    assert_eq!(pair.ends().asked, ["resolve 1", "authenticate first"]);
    pair.authenticate(Ok(Some("first")));
    pair.sends(["CONNECT '' clean 60s SessionExpiryInterval=300 AuthenticationMethod=m AuthenticationData=first"]);
    pair.ends().asked.clear();
    pair.plays("AUTH 0x18 AuthenticationMethod=m AuthenticationData=question ReasonString=why UserProperty=a:b");
    assert_eq!(pair.ends().asked, ["authenticate 'question'"]);
    pair.sends([]);
    pair.authenticate(Ok(Some("answer")));
    pair.sends(["AUTH 0x18 AuthenticationMethod=m AuthenticationData=answer"]);
    pair.plays("AUTH 0x18 AuthenticationMethod=m");
    assert_eq!(pair.ends().asked, ["authenticate 'question'", "authenticate"]);
    pair.authenticate(Ok(None));
    pair.sends(["AUTH 0x18 AuthenticationMethod=m"]);
    pair.plays("CONNACK AuthenticationMethod=m AuthenticationData=proof");
    pair.tells(["state connecting", "state connected", "connected"]);
}

/// Shows [MQTT5-3.1.2-30]
#[test]
fn nothing_but_auth_before_connack() {
    let mut pair = connecting();
    pair.clear();
    pair.publish("q0 a 'x'");
    pair.publish("q1 a 'x'");
    pair.subscribe("a");
    pair.unsubscribe("b");
    pair.plays("AUTH 0x18 AuthenticationMethod=m");
    pair.authenticate(Ok(None));
    pair.wait(20_000);
    pair.sends(["AUTH 0x18 AuthenticationMethod=m"]);
    pair.plays("CONNACK AuthenticationMethod=m");
    assert_eq!(pair.sent().len(), 4);
}

/// Shows [MQTT5-4.12.0-5] [MQTT5-4.12.0-2]
#[test]
fn another_method_or_none_ends_the_connection() {
    for packet in [
        "AUTH 0x18 AuthenticationMethod=other",
        "AUTH 0x18",
        "AUTH 0x00 AuthenticationMethod=m",
        "AUTH 0x19 AuthenticationMethod=m",
        "AUTH 0x00",
        "CONNACK",
        "CONNACK AuthenticationMethod=other",
    ] {
        let mut pair = connecting();
        pair.clear();
        pair.plays(packet);
        pair.sends(["DISCONNECT 0x82", "CLOSE"]);
        assert_eq!(pair.errors()[0].code, ErrorCode::ProtocolError, "{packet}");
    }
}

#[test]
fn a_refusal_needs_no_method() {
    let mut pair = connecting();
    pair.clear();
    pair.plays("CONNACK 0x8C");
    pair.tells(["state idle", "connect failed CONNECTION_REFUSED 0x8c"]);
}

/// Shows [MQTT5-4.12.0-7] [MQTT5-4.12.0-6]
#[test]
fn without_a_method_there_is_no_auth() {
    for packet in
        ["AUTH 0x18 AuthenticationMethod=m", "AUTH 0x18", "CONNACK AuthenticationMethod=m"]
    {
        let mut pair = bare("");
        pair.connect();
        pair.clear();
        pair.plays(packet);
        pair.sends(["DISCONNECT 0x82", "CLOSE"]);
    }
    let mut pair = up("");
    pair.plays("AUTH 0x00 AuthenticationMethod=m");
    pair.sends(["DISCONNECT 0x82", "CLOSE"]);

    for text in ["", "protocolVersion=4 authentication.method=m"] {
        let mut pair = up(text);
        let error = pair.session().reauthenticate(Some(token(9))).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotSupported);
        pair.pump();
        pair.quiet();
    }
}

#[test]
fn on_3_1_1_nobody_is_asked() {
    let mut pair = bare("protocolVersion=4 authentication.method=m clientId=me");
    pair.connect();
    pair.sends(["OPEN ws://a", "CONNECT 'me' clean 60s"]);
    assert_eq!(pair.ends().asked, ["resolve 1"]);
}

#[test]
fn an_authenticator_that_fails_ends_the_attempt() {
    let mut pair = bare("authentication.method=m");
    pair.connect();
    pair.authenticate(Err(()));
    pair.sends(["OPEN ws://a", "CLOSE"]);
    assert_eq!(pair.errors()[0].phase.unwrap().name(), "authentication");
    pair.tells(["state connecting", "state idle", "connect failed AUTHENTICATION_FAILED"]);

    let mut pair = connecting();
    pair.plays("AUTH 0x18 AuthenticationMethod=m");
    pair.clear();
    pair.authenticate(Err(()));
    pair.sends(["CLOSE"]);
    pair.tells(["state idle", "connect failed AUTHENTICATION_FAILED"]);
}

#[test]
fn authentication_data_that_no_packet_can_hold_is_a_failure() {
    let long = "x".repeat(65_536);
    let mut pair = bare("authentication.method=m");
    pair.connect();
    pair.authenticate(Ok(Some(&long)));
    pair.sends(["OPEN ws://a", "CLOSE"]);
    pair.tells(["state connecting", "state idle", "connect failed AUTHENTICATION_FAILED"]);
    let mut pair = connecting();
    pair.plays("AUTH 0x18 AuthenticationMethod=m");
    pair.clear();
    pair.authenticate(Ok(Some(&long[1..])));
    assert_eq!(pair.sent().len(), 1);
}

#[test]
fn an_answer_to_an_earlier_attempt_is_dropped() {
    let mut pair = bare("authentication.method=m");
    pair.connect();
    pair.reconnect();
    pair.clear();
    pair.authenticate(Ok(Some("old")));
    pair.sends([]);
    pair.authenticate(Ok(Some("new")));
    pair.sends(["CONNECT '' clean 60s SessionExpiryInterval=300 AuthenticationMethod=m AuthenticationData=new"]);
    pair.plays("CONNACK AuthenticationMethod=m");
    let id = pair.session().attempt_id();
    pair.session().handle_auth(pair.now(), id, Ok(None));
    pair.pump();
    pair.sends([]);
}

/// Shows [MQTT5-4.12.1-1] [MQTT5-3.15.2-1] [MQTT5-3.15.2-2] [MQTT5-3.15.2-3]
#[test]
fn authenticating_again() {
    let mut pair = authenticated();
    let token = pair.reauthenticate();
    assert_eq!(pair.ends().asked, ["reauthenticate first"]);
    pair.sends([]);
    pair.authenticate(Ok(Some("again")));
    pair.sends(["AUTH 0x19 AuthenticationMethod=m AuthenticationData=again"]);
    pair.publish("q0 a 'goes on'");
    pair.plays("PUBLISH q1 #1 a 'too'");
    pair.sends(["PUBLISH q0 a 'goes on'", "PUBACK #1"]);
    pair.clear();
    pair.plays("AUTH 0x18 AuthenticationMethod=m AuthenticationData=question");
    assert_eq!(pair.ends().asked, ["reauthenticate 'question'"]);
    pair.authenticate(Ok(Some("answer")));
    pair.sends(["AUTH 0x18 AuthenticationMethod=m AuthenticationData=answer"]);
    pair.plays("AUTH 0x00 AuthenticationMethod=m");
    pair.tells([&format!("done {token}")]);
    pair.plays("AUTH 0x00 AuthenticationMethod=m");
    pair.sends(["DISCONNECT 0x82", "CLOSE"]);
}

#[test]
fn one_reauthentication_at_a_time() {
    let mut pair = authenticated();
    pair.reauthenticate();
    let error = pair.session().reauthenticate(Some(token(9))).unwrap_err();
    assert_eq!((error.code, error.retryable), (ErrorCode::AuthenticationFailed, true));
    pair.cut();
    let error = pair.session().reauthenticate(Some(token(9))).unwrap_err();
    assert_eq!(error.code, ErrorCode::ConnectionLost);
}

/// Shows [MQTT5-4.12.1-2]
#[test]
fn a_reauthentication_that_fails_ends_the_connection() {
    let mut pair = authenticated();
    let token = pair.reauthenticate();
    pair.authenticate(Err(()));
    let sent = pair.sent();
    assert!(sent[0].starts_with("DISCONNECT 0x8") && sent[1..] == ["CLOSE"], "{sent:?}");
    assert!(pair.tell().contains(&format!("failed {token} AUTHENTICATION_FAILED")));
    assert_eq!(pair.session().state(), State::Waiting);

    let mut pair = authenticated();
    let token = pair.reauthenticate();
    pair.authenticate(Ok(None));
    pair.plays("DISCONNECT 0x87");
    let told = pair.tell();
    assert!(told.iter().any(|line| line.starts_with(&format!("failed {token} "))), "{told:?}");
    assert_eq!(pair.session().state(), State::Closed);

    let mut pair = authenticated();
    let token = pair.reauthenticate();
    pair.authenticate(Ok(None));
    pair.cut();
    assert!(pair.tell().contains(&format!("failed {token} CONNECTION_LOST")));
}

#[test]
fn a_reauthentication_that_nobody_waits_for_goes_on() {
    let mut pair = authenticated();
    let token = pair.reauthenticate();
    pair.cancel(token);
    pair.authenticate(Ok(None));
    pair.sends(["AUTH 0x19 AuthenticationMethod=m"]);
    pair.plays("AUTH 0x00 AuthenticationMethod=m");
    pair.tells([]);
    pair.reauthenticate();
    assert_eq!(pair.session().state(), State::Connected);
}

/// Withdrawn when its connection is gone, and while the application is asked whether to try again.
#[test]
fn a_reauthentication_that_is_withdrawn_at_its_end_completes_no_more() {
    let mut pair = authenticated();
    pair.session().ask_verdict(true);
    let token = pair.reauthenticate();
    let goodbye = pair.bytes_of("DISCONNECT 0x82");
    pair.session().handle_input(pair.now(), Input::from(&goodbye[..]));
    pair.cancel(token);
    pair.pump();
    let told = pair.tell();
    assert!(
        told[0].starts_with("state waiting") && !told.iter().any(|line| line.starts_with("failed")),
        "{told:?}"
    );
}

#[test]
fn the_end_comes_before_a_reauthentication() {
    let mut pair = authenticated();
    let token = pair.reauthenticate();
    pair.end();
    pair.tells(["state closing", "state closed", &format!("failed {token} CLOSED"), "closed"]);
}

/// Shows [MQTT5-3.2.2-15]
#[test]
fn an_auth_that_is_too_large_for_the_server_is_not_sent() {
    let mut pair = connecting();
    pair.plays("CONNACK AuthenticationMethod=m MaximumPacketSize=30");
    pair.clear();
    let token = pair.reauthenticate();
    pair.authenticate(Ok(Some("small")));
    pair.sends(["AUTH 0x19 AuthenticationMethod=m AuthenticationData=small"]);
    pair.plays("AUTH 0x18 AuthenticationMethod=m");
    pair.authenticate(Ok(Some(&"x".repeat(100))));
    pair.sends(["DISCONNECT 0x80", "CLOSE"]);
    assert_eq!(pair.errors()[0].size, Some((100 + 11, 30)));
    assert!(pair.tell().contains(&format!("failed {token} PACKET_TOO_LARGE")));
}
