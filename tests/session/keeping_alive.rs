//! Whether the other side lives.

use wasmqtt::session::{ErrorCode, State};

use crate::support::Pair;
use crate::{accepted, bare, both, up};

fn pings(pair: &mut Pair) -> usize {
    pair.sent().iter().filter(|packet| **packet == "PINGREQ").count()
}

/// Shows [MQTT5-3.1.2-20] [MQTT3-3.1.2-23]
/// Contract: Times given by the user are in milliseconds, except where MQTT itself defines seconds
/// (keepalive, expiry and delay intervals): those are named as in the MQTT specification and stay
/// in seconds.
#[test]
fn an_idle_connection_is_pinged_within_the_interval() {
    for mut pair in both("keepalive=10") {
        for _ in 0..5 {
            pair.wait(8_999);
            pair.sends([]);
            pair.wait(1);
            pair.sends(["PINGREQ"]);
            pair.plays("PINGRESP");
        }
        assert_eq!(pair.session().state(), State::Connected);
    }
}

/// Shows [MQTT5-3.1.2-20] [MQTT3-3.1.2-23]
#[test]
fn a_connection_that_is_used_both_ways_is_not_pinged() {
    for mut pair in both("keepalive=10") {
        for _ in 0..20 {
            pair.wait(5_000);
            pair.publish("q0 a 'x'");
            pair.plays("PUBLISH q0 a 'x'");
        }
        assert_eq!(pings(&mut pair), 0);
    }
}

#[test]
fn a_connection_that_only_receives_is_pinged() {
    for mut pair in both("keepalive=10") {
        for _ in 0..10 {
            pair.wait(1_000);
            pair.plays("PUBLISH q0 a 'x'");
        }
        pair.sends(["PINGREQ"]);
    }
}

/// Contract: Seconds; 0 turns it off; a Server Keep Alive wins. Default 60.
#[test]
fn no_keep_alive_no_ping() {
    for mut pair in both("keepalive=0") {
        pair.wait(1_000_000_000);
        pair.quiet();
        assert_eq!(pair.session().poll_timeout(), None);
    }
}

/// Shows [MQTT5-3.1.2-21] [MQTT5-3.2.2-21]
/// Contract: Seconds; 0 turns it off; a Server Keep Alive wins. Default 60.
#[test]
fn the_servers_keep_alive_wins() {
    let mut pair = accepted("keepalive=60", "CONNACK ServerKeepAlive=2");
    pair.wait(2_000);
    pair.sends(["PINGREQ"]);
    let mut pair = accepted("keepalive=2", "CONNACK ServerKeepAlive=60");
    pair.wait(53_999);
    pair.sends([]);
    pair.wait(1);
    pair.sends(["PINGREQ"]);
    let mut pair = accepted("keepalive=60", "CONNACK ServerKeepAlive=0");
    pair.wait(1_000_000);
    pair.quiet();
    let mut pair = accepted("keepalive=0", "CONNACK ServerKeepAlive=5");
    pair.wait(5_000);
    pair.sends(["PINGREQ"]);
}

/// Shows [MQTT5-3.12.4-1] [MQTT3-3.12.4-1]
#[test]
fn a_server_that_does_not_answer_is_gone() {
    for mut pair in both("keepalive=10") {
        pair.wait(9_000);
        pair.clear();
        pair.wait(5_000 + 200);
        pair.sends(["CLOSE"]);
        assert_eq!(pair.errors()[0].code, ErrorCode::KeepaliveTimeout);
        assert!(pair.tell()[1].starts_with("disconnected KEEPALIVE_TIMEOUT"));
    }
}

/// Shows [MQTT5-3.12.4-1] [MQTT3-3.12.4-1]
#[test]
fn traffic_of_our_own_does_not_hide_that_nobody_answers() {
    for mut pair in both("keepalive=10") {
        for _ in 0..20 {
            pair.wait(1_000);
            if pair.session().state() == State::Connected {
                pair.publish("q0 a 'x'");
            }
        }
        assert!(pair.sent().contains(&"PINGREQ".into()));
        assert_eq!(pair.errors()[0].code, ErrorCode::KeepaliveTimeout);
    }
}

#[test]
fn a_busy_server_gets_time_for_its_answer() {
    for mut pair in both("keepalive=10") {
        pair.wait(9_000);
        pair.clear();
        for _ in 0..8 {
            pair.wait(4_000);
            pair.plays("PUBLISH q0 a 'x'");
            assert_eq!(pair.session().state(), State::Connected);
        }
        pair.plays("PINGRESP");
        pair.clear();
        assert_eq!(pair.session().stats().round_trip, Some(32_000_000));
    }
}

/// Shows [MQTT5-3.1.2-20] [MQTT3-3.1.2-23]
#[test]
fn the_interval_is_kept_while_an_answer_is_due() {
    for mut pair in both("keepalive=10") {
        for _ in 0..30 {
            pair.wait(3_000);
            pair.plays("PUBLISH q0 a 'x'");
        }
        assert_eq!(pair.session().state(), State::Connected);
        assert!(pings(&mut pair) >= 9, "90 seconds, and no more than 10 between two packets");
    }
}

#[test]
fn patience_is_half_the_interval_within_bounds() {
    for (keep_alive, ping, patience) in
        [(1, 900, 1_000), (10, 9_000, 5_000), (60, 54_000, 20_000), (65_535, 58_981_500, 20_000)]
    {
        let mut pair = up(&format!("keepalive={keep_alive}"));
        pair.wait(ping);
        pair.clear();
        pair.wait(patience + 199);
        assert_eq!(pair.session().state(), State::Connected, "{keep_alive}");
        pair.wait(1);
        assert_eq!(pair.session().state(), State::Waiting, "{keep_alive}");
    }
}

/// Timers of a page in the background fire once a second, or once a minute.
#[test]
fn an_answer_that_is_there_already_counts_though_the_timer_is_late() {
    for late in [5_500, 60_000] {
        let mut pair = up("keepalive=10");
        pair.wait(9_000);
        pair.clear();
        // The timer fires first, and then the message event of the answer.
        pair.sleep(late);
        assert_eq!(pair.session().state(), State::Connected);
        pair.plays("PINGRESP");
        pair.wait(8_000);
        assert_eq!(pair.session().state(), State::Connected);
    }
}

#[test]
fn after_a_sleep_the_server_is_asked_again() {
    for mut pair in both("keepalive=10") {
        pair.wait(9_000);
        pair.clear();
        pair.sleep(3_600_000);
        pair.sends(["PINGREQ"]);
        pair.wait(4_999);
        assert_eq!(pair.session().state(), State::Connected);
        pair.wait(1);
        assert_eq!(pair.session().state(), State::Waiting);
    }
}

/// Contract: connectedSince: ms since the epoch. roundTrip: Last PINGREQ round trip, ms.
#[test]
fn the_round_trip_is_measured() {
    for mut pair in both("keepalive=10") {
        assert_eq!(pair.session().stats().round_trip, None);
        pair.plays("PINGRESP");
        assert_eq!(pair.session().stats().round_trip, None, "nobody asked");
        pair.wait(9_000);
        pair.ends().now.0 += 1_234;
        pair.plays("PINGRESP");
        assert_eq!(pair.session().stats().round_trip, Some(1_234));
    }
}

// ---------------------------------------------------------------------------------------------- a doubtful connection

#[test]
fn a_doubtful_connection_is_asked_at_once_and_given_little_time() {
    for keep_alive in [0, 10, 3_600] {
        for mut pair in both(&format!("keepalive={keep_alive}")) {
            pair.wait(100);
            pair.check();
            pair.sends(["PINGREQ"]);
            pair.wait(5_199);
            assert_eq!(pair.session().state(), State::Connected);
            pair.sends([]);
            pair.wait(1);
            assert_eq!(pair.sent()[..2], ["CLOSE", "OPEN ws://a"]);
            assert_eq!(pair.errors()[0].code, ErrorCode::KeepaliveTimeout);
        }
    }
}

#[test]
fn a_doubtful_connection_that_answers_goes_on() {
    for mut pair in both("keepalive=10") {
        pair.wait(2_000);
        pair.check();
        pair.sends(["PINGREQ"]);
        pair.wait(4_000);
        pair.plays("PINGRESP");
        assert_eq!(pair.session().stats().round_trip, Some(4_000_000));
        // Nine seconds after the last packet, which was that PINGREQ.
        pair.wait(4_999);
        pair.sends([]);
        pair.wait(1);
        pair.sends(["PINGREQ"]);
    }
    let mut pair = up("keepalive=0");
    pair.check();
    pair.plays("PINGRESP");
    pair.clear();
    pair.wait(1_000_000);
    pair.quiet();
}

#[test]
fn one_question_at_a_time_and_the_last_answer_that_is_due_counts() {
    for mut pair in both("keepalive=60") {
        pair.wait(54_000);
        pair.sends(["PINGREQ"]);
        pair.wait(1_000);
        // The answer would be due in 19 seconds.
        pair.check();
        pair.wait(1_000);
        pair.check();
        pair.sends([]);
        pair.wait(4_199);
        assert_eq!(pair.session().state(), State::Connected);
        pair.wait(1);
        assert_eq!(pair.session().state(), State::Connecting);
    }
}

#[test]
fn where_there_is_no_connection_nothing_is_asked() {
    let mut pair = bare("");
    pair.check();
    pair.quiet();
    pair.connect();
    pair.clear();
    pair.check();
    pair.quiet();
    assert_eq!(pair.session().state(), State::Connecting);
    pair.end();
    pair.clear();
    pair.check();
    pair.quiet();
}

#[test]
fn an_end_that_waits_for_an_answer_asks_too() {
    let mut pair = up("");
    pair.publish("q1 a 'x'");
    pair.end_with(60_000, 0, "").unwrap();
    pair.clear();
    pair.check();
    pair.sends(["PINGREQ"]);
    pair.wait(5_200);
    assert_eq!(pair.session().state(), State::Closed);
}

/// A browser that hides a page delays its timers, up to a minute, and not what the network brings.
#[test]
fn what_comes_makes_up_for_a_timer_that_is_late() {
    for mut pair in both("keepalive=10") {
        for _ in 0..10 {
            pair.sleep_unnoticed(9_500);
            pair.plays("PUBLISH q0 a 'x'");
            pair.sends(["PINGREQ"]);
            pair.plays("PINGRESP");
            pair.clear();
        }
        assert_eq!(pair.session().state(), State::Connected);
    }
}

#[test]
fn an_answer_counts_before_the_timer_that_is_late() {
    let mut pair = up("keepalive=10");
    pair.wait(9_000);
    pair.sends(["PINGREQ"]);
    // An answer is in time, however late the timer is that waited for it.
    pair.sleep_unnoticed(60_000);
    pair.plays("PINGRESP");
    assert_eq!(pair.session().state(), State::Connected);
    pair.sends(["PINGREQ"]);
    pair.plays("PINGRESP");
    pair.wait(8_999);
    pair.quiet();
}
