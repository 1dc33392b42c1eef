//! The end: what is waited for, what is said, and that nothing follows.

use wasmqtt::session::{ErrorCode, Handle, Token};

use crate::support::{Pair, token};
use crate::{bare, both, up};

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
    assert_eq!(pair.session().poll_timeout(), None);
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
    let closed = |result: Result<Token, Box<wasmqtt::session::Error>>| {
        assert_eq!(result.unwrap_err().code, ErrorCode::Closed)
    };
    closed(pair.try_publish("q0 a 'x'"));
    closed(pair.try_publish("q1 a 'x'"));
    closed(pair.try_subscribe("a"));
    closed(pair.try_unsubscribe("a"));
    closed(pair.session().reauthenticate(Some(token(9))).map(|_| token(9)));
    closed(pair.session().drain(pair.now(), token(9)).map(|_| token(9)));
    closed(pair.session().leave(Some(token(9)), Handle(1), Default::default()).map(|_| token(9)));
}

/// Contract: Offline it closes at once; with CONNECT unanswered it sends DISCONNECT first, so that
/// no will is published.
#[test]
fn end_in_every_state() {
    let mut pair = bare("");
    let token = pair.publish("q1 a 'x'");
    pair.end();
    pair.tells(["state closing", "state closed", &format!("failed {token} CLOSED"), "closed"]);
    pair.sends([]);

    let mut pair = bare("");
    pair.ends().by_hand = true;
    pair.connect();
    pair.end();
    pair.sends([]);
    pair.tells(["state connecting", "state closing", "state closed", "closed"]);
    pair.resolve();
    pair.quiet();

    let mut pair = bare("");
    pair.ends().by_hand = true;
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

/// Contract: Offline it closes at once; with CONNECT unanswered it sends DISCONNECT first, so that
/// no will is published.
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
    pair.end_with(3_000, 4, "sessionExpiryInterval=60 reasonString=bye userProperties=a:b")
        .unwrap();
    pair.sends([
        "DISCONNECT 0x04 ReasonString=bye UserProperty=a:b SessionExpiryInterval=60",
        "CLOSE",
    ]);

    let mut pair = up("protocolVersion=4");
    pair.end_with(3_000, 4, "reasonString=bye").unwrap();
    pair.sends(["DISCONNECT", "CLOSE"]);
}

/// Contract: Seconds; 0xFFFFFFFF or Infinity: never expires. Default 300 with reconnect on, so that
/// a short cut loses nothing (end() then tells the server to drop the session); absent with
/// reconnect off.
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
    let allowed: Vec<u8> =
        (0..=255).filter(|code| Pair::connected("").end_with(0, *code, "").is_ok()).collect();
    assert_eq!(
        allowed,
        [0, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
    );
    let error = pair.end_with(0, 0x8E, "").unwrap_err();
    assert_eq!(error.argument, "reasonCode");
    pair.quiet();

    let mut pair = up("properties.sessionExpiryInterval=0");
    let error = pair.end_with(0, 0, "sessionExpiryInterval=1").unwrap_err();
    assert_eq!(error.argument, "properties.sessionExpiryInterval");
    pair.quiet();
    pair.end_with(0, 0, "sessionExpiryInterval=0").unwrap();
    pair.sends(["DISCONNECT", "CLOSE"]);
}

/// Shows [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT3-3.14.4-1] [MQTT3-3.14.4-2]
#[test]
fn nothing_is_sent_after_disconnect() {
    for mut pair in both("") {
        pair.ends().holds = true;
        pair.plays("PUBLISH q1 #1 a 'x'");
        pair.publish("q2 a 'y'");
        pair.subscribe("a");
        pair.plays("PUBREC #1");
        pair.end_with(0, 0, "").unwrap();
        let sent = pair.sent();
        let goodbye = sent.iter().position(|line| line.starts_with("DISCONNECT")).unwrap();
        assert_eq!(sent[goodbye + 1..], ["CLOSE"]);
        pair.acknowledge("x", 0);
        pair.session().delivered();
        pair.session().handle_input(pair.now(), [0xD0, 0][..].into());
        pair.session().handle_timeout(pair.now());
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
        let bytes = pair.packet(0);
        assert!(bytes.len() <= limit as usize, "{} bytes of {limit}", bytes.len());
        pair.sent().remove(0)
    };
    let all =
        "DISCONNECT 0x04 ReasonString=farewell-- UserProperty=name:value SessionExpiryInterval=0";
    assert_eq!(goodbye(36), all);
    assert_eq!(goodbye(35), "DISCONNECT 0x04 SessionExpiryInterval=0");
    assert_eq!(goodbye(9), "DISCONNECT 0x04 SessionExpiryInterval=0");
    assert_eq!(goodbye(8), "DISCONNECT 0x04");
    assert_eq!(goodbye(3), "DISCONNECT 0x04");
}
