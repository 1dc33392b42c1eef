//! What a store keeps: messages on their way, what was received, and how the next life of the client goes on.

use wasmqtt::session::State;

use crate::support::Pair;
use crate::{BARE, refused};

const STORE: &str = "clientId=me clean=false store=true";

fn settings(more: &str) -> String {
    format!("{BARE} {STORE} {more}")
}

/// Connected, with a store that takes its time.
fn stalling(more: &str) -> Pair {
    Pair::accepted(&settings(more), "CONNACK").stalling()
}

/// Both versions.
fn both() -> [Pair; 2] {
    [5, 4].map(|version| stalling(&format!("protocolVersion={version}")))
}

impl Pair {
    /// Killed, and connected again to a server that has kept the session.
    fn restarted(self) -> Pair {
        self.restarted_at("CONNACK present")
    }

    fn restarted_at(self, connack: &str) -> Pair {
        let version = self.version_option();
        let mut next = self.killed(&settings(version), 0);
        next.connect();
        next.plays(connack);
        assert_eq!(next.session().state(), State::Connected);
        next
    }

    fn version_option(&self) -> &'static str {
        if self.version() == wasmqtt::codec::Version::V5 { "" } else { "protocolVersion=4" }
    }

    /// What the server got after CONNECT.
    fn sent_since_connect(&mut self) -> Vec<String> {
        let sent = self.sent();
        let at = sent.iter().position(|packet| packet.starts_with("CONNECT")).expect("CONNECT");
        sent[at + 1..].to_vec()
    }

    /// What the application was told besides the connection.
    fn told_since_connect(&mut self) -> Vec<String> {
        let mut told = self.tell();
        told.retain(|told| !told.starts_with("state") && !told.starts_with("connected"));
        told
    }
}

// ---------------------------------------------------------------------------------------------- what waits for the store

#[test]
fn a_publish_leaves_when_it_is_kept() {
    for qos in ["q1", "q2"] {
        for mut pair in both() {
            pair.publish(&format!("{qos} a '1'"));
            pair.quiet();
            pair.keeps();
            pair.sends([&format!("PUBLISH {qos} #1 a '1'")]);
        }
    }
}

#[test]
fn one_write_takes_all_that_came_while_another_was_under_way() {
    let mut pair = stalling("");
    for payload in 1..=4 {
        pair.publish(&format!("q1 a '{payload}'"));
    }
    pair.keeps();
    pair.sends(["PUBLISH q1 #1 a '1'"]);
    pair.keeps();
    pair.sends(["PUBLISH q1 #2 a '2'", "PUBLISH q1 #3 a '3'", "PUBLISH q1 #4 a '4'"]);
    assert!(!pair.ends().store.is_writing());
}

#[test]
fn what_nothing_depends_on_does_not_wait() {
    let mut pair = stalling("keepalive=10");
    pair.publish("q1 a '1'");
    pair.publish("q0 a '0'");
    pair.subscribe("b:q1");
    pair.plays("PUBLISH q1 #7 b 'x'");
    pair.sends(["PUBLISH q0 a '0'", "SUBSCRIBE #2 b:q1 SubscriptionIdentifier=1", "PUBACK #7"]);
    pair.wait(10_000);
    pair.sends(["PINGREQ"]);
}

#[test]
fn a_release_leaves_when_it_is_kept() {
    for mut pair in both() {
        let token = pair.publish("q2 a '1'");
        pair.keeps();
        pair.clear();
        pair.plays("PUBREC #1");
        pair.quiet();
        // The server need not ask twice, and gets no other answer when it does.
        pair.plays("PUBREC #1");
        pair.quiet();
        pair.keeps();
        pair.sends(["PUBREL #1", "PUBREL #1"]);
        pair.plays("PUBCOMP #1");
        pair.tells([&format!("published {token}")]);
        pair.keeps();
        assert!(pair.ends().store.kept.is_empty());
    }
}

#[test]
fn a_pubrec_leaves_when_it_is_kept_that_the_message_was_delivered() {
    for mut pair in both() {
        pair.plays("PUBLISH q2 #7 a 'x'");
        pair.quiet_but(["message q2 a 'x'"]);
        // Order is kept among acknowledgements.
        pair.plays("PUBLISH q1 #8 a 'y'");
        pair.quiet_but(["message q1 a 'y'"]);
        pair.keeps();
        pair.sends(["PUBREC #7", "PUBACK #8"]);
        // The record is gone before the server may use the identifier again.
        pair.plays("PUBREL #7");
        pair.quiet();
        pair.keeps();
        pair.sends(["PUBCOMP #7"]);
        assert!(pair.ends().store.kept.is_empty());
    }
}

#[test]
fn a_message_that_is_held_is_recorded_when_it_is_acknowledged() {
    let mut pair = stalling("").holding();
    pair.plays("PUBLISH q2 #7 a 'x'");
    assert!(!pair.ends().store.is_writing());
    pair.acknowledge("x", 0);
    pair.clear();
    pair.keeps();
    pair.sends(["PUBREC #7"]);
}

#[test]
fn a_message_that_is_refused_is_not_recorded() {
    let mut pair = stalling("").holding();
    pair.plays("PUBLISH q2 #7 a 'x'");
    pair.acknowledge("x", 0x83);
    assert!(!pair.ends().store.is_writing());
    pair.sends(["PUBREC #7 0x83"]);
}

#[test]
fn the_quota_counts_what_waits_for_the_store() {
    let mut pair = Pair::accepted(&settings(""), "CONNACK ReceiveMaximum=1").stalling();
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.keeps();
    pair.sends(["PUBLISH q1 #1 a '1'"]);
    pair.keeps();
    pair.quiet();
    pair.plays("PUBACK #1");
    pair.keeps();
    pair.sends(["PUBLISH q1 #2 a '2'"]);
}

#[test]
fn what_waited_for_the_store_when_the_connection_ended_is_sent_when_it_is_kept() {
    for mut pair in both() {
        pair.publish("q1 a '1'");
        pair.publish("q2 a '2'");
        pair.reconnected("CONNACK present");
        pair.quiet();
        pair.keeps();
        pair.keeps();
        pair.sends(["PUBLISH q1 dup #1 a '1'", "PUBLISH q2 dup #2 a '2'"]);
    }
}

#[test]
fn a_qos_2_message_that_was_never_sent_survives_the_loss_of_the_session() {
    for mut pair in both() {
        pair.publish("q2 a '1'");
        pair.reconnected("CONNACK");
        pair.keeps();
        pair.keeps();
        pair.sends(["PUBLISH q2 #2 a '1'"]);
    }
}

#[test]
fn an_acknowledgement_of_what_has_not_left_breaks_the_protocol() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.plays("PUBACK #1");
    assert_eq!(pair.sent()[0], "DISCONNECT 0x82");
}

#[test]
fn a_message_too_large_with_its_expiry_fails_and_is_forgotten() {
    let mut pair = Pair::accepted(&settings(""), "CONNACK ReceiveMaximum=1").stalling();
    pair.publish("q1 a '1'");
    let token = pair.publish("q1 a '2' messageExpiryInterval=5");
    pair.keeps();
    pair.keeps();
    pair.sleep(6_000);
    pair.tells([&format!("failed {token} EXPIRED a")]);
    pair.keeps();
    assert_eq!(pair.ends().store.kept.len(), 1);
}

#[test]
fn what_is_sent_again_does_not_wait_for_a_record_that_is_needed_no_more() {
    for mut pair in both() {
        pair.publish("q1 a '1'");
        pair.keeps();
        let token = pair.publish("q1 a '2'");
        pair.cut();
        pair.cancel(token);
        pair.retried("CONNACK present");
        pair.quiet();
        pair.breaks();
        pair.sends(["PUBLISH q1 dup #1 a '1'"]);
    }
}

#[test]
fn time_that_a_message_waits_for_the_store_counts_against_its_expiry() {
    let mut pair = stalling("");
    pair.publish("q1 a '1' messageExpiryInterval=60");
    let two = pair.publish("q2 a '2' messageExpiryInterval=9");
    pair.publish("q1 a '3' messageExpiryInterval=11");
    pair.sleep(5_000);
    pair.keeps();
    pair.sleep(5_000);
    pair.keeps();
    pair.sends([
        "PUBLISH q1 #1 a '1' MessageExpiryInterval=55",
        "PUBLISH q1 #3 a '3' MessageExpiryInterval=1",
    ]);
    pair.tells([&format!("failed {two} EXPIRED a")]);
    pair.plays("PUBACK #1; PUBACK #3");
    pair.keeps();
    pair.keeps();
    assert!(pair.ends().store.kept.is_empty());
}

#[test]
fn what_waited_for_the_store_over_a_reconnect_expires_too() {
    let mut pair = stalling("");
    pair.publish("q1 a '1' messageExpiryInterval=60");
    let two = pair.publish("q2 a '2' messageExpiryInterval=9");
    pair.cut();
    pair.clear();
    pair.sleep(10_000);
    pair.plays("CONNACK present");
    pair.keeps();
    pair.keeps();
    assert_eq!(pair.sent_since_connect(), ["PUBLISH q1 dup #1 a '1' MessageExpiryInterval=50"]);
    assert_eq!(pair.tell().pop().unwrap(), format!("failed {two} EXPIRED a"));
    // What has left goes again as it was.
    pair.keeps();
    pair.sleep(30_000);
    pair.reconnected("CONNACK present");
    pair.sends(["PUBLISH q1 dup #1 a '1' MessageExpiryInterval=50"]);
}

// ---------------------------------------------------------------------------------------------- the next life

#[test]
fn what_was_in_flight_is_sent_again_as_it_was() {
    for mut pair in both() {
        pair.publish("q1 a '1'");
        pair.publish("q2 a 'two'");
        pair.publish("q2 retain b '3'");
        pair.keeps();
        pair.keeps();
        pair.plays("PUBREC #3");
        pair.keeps();
        let mut next = pair.restarted();
        let expected = ["PUBREL #3", "PUBLISH q1 dup #1 a '1'", "PUBLISH q2 dup #2 a 'two'"];
        assert_eq!(next.sent_since_connect(), expected);
        next.plays("PUBCOMP #3; PUBACK #1; PUBREC #2");
        next.sends(["PUBREL #2"]);
        next.plays("PUBCOMP #2");
        assert!(next.ends().store.kept.is_empty());
        next.publish("q1 a '4'");
        next.sends(["PUBLISH q1 #1 a '4'"]);
    }
}

#[test]
fn releases_keep_their_order() {
    let mut pair = stalling("");
    pair.publish("q2 a '1'");
    pair.publish("q2 a '2'");
    pair.keeps();
    pair.keeps();
    pair.plays("PUBREC #2; PUBREC #1");
    pair.keeps();
    assert_eq!(pair.restarted().sent_since_connect(), ["PUBREL #2", "PUBREL #1"]);
}

#[test]
fn what_was_not_kept_when_the_process_was_killed_has_never_left() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.keeps();
    pair.sends(["PUBLISH q1 #1 a '1'"]);
    assert_eq!(pair.restarted().sent_since_connect(), ["PUBLISH q1 dup #1 a '1'"]);
}

#[test]
fn what_waited_to_be_sent_is_sent_in_order_before_what_is_published_now() {
    for mut pair in both() {
        let version = pair.version_option();
        pair.cut();
        pair.publish("q2 a '1' ");
        pair.publish("q0 a '0'");
        pair.publish("q1 a '2'");
        pair.keeps();
        pair.keeps();
        let mut next = pair.killed(&settings(version), 0);
        next.publish("q1 a '3'");
        next.publish("q2 a '4'");
        next.connect();
        next.plays("CONNACK present");
        assert_eq!(
            next.sent_since_connect(),
            [
                "PUBLISH q2 #1 a '1'",
                "PUBLISH q1 #2 a '2'",
                "PUBLISH q1 #3 a '3'",
                "PUBLISH q2 #4 a '4'",
            ]
        );
        next.plays("PUBREC #1; PUBACK #2; PUBACK #3; PUBREC #4; PUBCOMP #1; PUBCOMP #4");
        assert_eq!(next.ends().store.kept.len(), 0);
    }
}

#[test]
fn properties_come_along_and_time_spent_dead_counts() {
    let mut pair = stalling("");
    pair.cut();
    pair.publish("q1 a '1' messageExpiryInterval=60 contentType=text userProperties=k:v");
    pair.publish("q1 a '2' messageExpiryInterval=20");
    pair.keeps();
    pair.keeps();
    let mut next = pair.killed(&settings(""), 30_000);
    next.connect();
    next.plays("CONNACK present");
    assert_eq!(
        next.sent_since_connect(),
        ["PUBLISH q1 #1 a '1' ContentType=text UserProperty=k:v MessageExpiryInterval=30"]
    );
    // Nobody waits for the other one any more, but it is not lost without a word.
    assert_eq!(next.told_since_connect(), ["error EXPIRED a"]);
    next.plays("PUBACK #1");
    assert!(next.ends().store.kept.is_empty());
}

#[test]
fn what_was_in_flight_when_the_process_was_killed_does_not_expire_but_gets_less_time() {
    for (dead, left) in [(20_000, 40), (120_000, 1)] {
        let mut pair = stalling("");
        pair.publish("q1 a '1' messageExpiryInterval=60");
        pair.keeps();
        let mut next = pair.killed(&settings(""), dead);
        next.connect();
        next.plays("CONNACK present");
        let again = format!("PUBLISH q1 dup #1 a '1' MessageExpiryInterval={left}");
        assert_eq!(next.sent_since_connect(), [again]);
    }
    // A server without the session gets it as a new message, which may have expired.
    let mut pair = stalling("");
    pair.publish("q1 a '1' messageExpiryInterval=60");
    pair.publish("q1 a '2' messageExpiryInterval=160");
    pair.keeps();
    pair.keeps();
    let mut next = pair.killed(&settings(""), 100_000);
    next.connect();
    next.plays("CONNACK");
    assert_eq!(next.sent_since_connect(), ["PUBLISH q1 #1 a '2' MessageExpiryInterval=60"]);
    assert_eq!(next.told_since_connect(), ["error EXPIRED a"]);
}

#[test]
fn a_qos_2_message_that_was_received_is_not_delivered_again() {
    for mut pair in both() {
        pair.plays("PUBLISH q2 #7 a 'x'");
        pair.keeps();
        let mut next = pair.restarted();
        next.clear();
        next.plays("PUBLISH q2 dup #7 a 'x'");
        next.sends(["PUBREC #7"]);
        next.tells([]);
        next.plays("PUBREL #7");
        next.sends(["PUBCOMP #7"]);
        assert!(next.ends().store.kept.is_empty());
        next.plays("PUBLISH q2 #7 a 'y'");
        next.tells(["message q2 a 'y'"]);
    }
}

#[test]
fn one_that_was_delivered_but_not_recorded_comes_again() {
    let mut pair = stalling("");
    pair.plays("PUBLISH q2 #7 a 'x'");
    let mut next = pair.restarted();
    next.clear();
    next.plays("PUBLISH q2 dup #7 a 'x'");
    next.sends(["PUBREC #7"]);
    next.tells(["message q2 dup a 'x'"]);
}

#[test]
fn a_server_without_the_session_gets_what_it_would_get_without_a_store() {
    for mut pair in both() {
        pair.publish("q1 a '1'");
        pair.publish("q2 a '2'");
        pair.publish("q2 b '3'");
        pair.plays("PUBLISH q2 #7 a 'x'");
        pair.keeps();
        pair.keeps();
        pair.plays("PUBREC #3");
        pair.keeps();
        let mut next = pair.restarted_at("CONNACK");
        assert_eq!(next.sent_since_connect(), ["PUBLISH q1 #1 a '1'"]);
        let told = next.told_since_connect();
        assert_eq!(told, ["error SESSION_LOST a", "error SESSION_LOST"]);
        next.plays("PUBACK #1");
        assert!(next.ends().store.kept.is_empty());
        // The server has forgotten the message that it sent.
        next.plays("PUBLISH q2 #7 a 'y'");
        next.tells(["message q2 a 'y'"]);
    }
}

#[test]
fn a_server_without_the_session_has_nothing_to_release_whatever_the_identifier() {
    let mut pair = stalling("");
    for id in [1, 63, 64, 127, 65_535] {
        pair.plays(&format!("PUBLISH q2 #{id} a 'x'"));
    }
    pair.keeps();
    pair.keeps();
    assert_eq!(pair.ends().store.kept.len(), 5);
    let next = pair.restarted_at("CONNACK");
    assert!(next.ends().store.kept.is_empty());
}

#[test]
fn an_answer_to_a_message_of_an_earlier_life_fails_with_a_word() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.keeps();
    let mut next = pair.restarted();
    next.clear();
    next.plays("PUBACK #1 0x87");
    next.tells(["error PUBLISH_REFUSED 0x87 a"]);
}

#[test]
fn a_message_of_a_subscription_that_the_server_has_kept_goes_to_nobody_in_particular() {
    let mut pair = stalling("");
    pair.subscribe("a/#:q1");
    pair.plays("SUBACK #1 0x01");
    let mut next = pair.restarted();
    next.clear();
    next.plays("PUBLISH q1 #1 a/b 'x'");
    next.tells(["message q1 a/b 'x'"]);
}

// ---------------------------------------------------------------------------------------------- the life of the client

/// Contract: Needs a clientId. load() runs before the first CONNECT; PUBLISH, PUBREC and PUBREL
/// leave only after the write that records them has resolved.
#[test]
fn the_store_is_read_before_the_first_connect() {
    let mut pair = Pair::new(&settings(""));
    pair.ends().by_hand = true;
    pair.connect();
    pair.quiet_but(["state connecting"]);
    assert!(pair.ends().asked.is_empty());
    pair.load();
    assert_eq!(pair.ends().asked, ["resolve 1"]);
    pair.resolve();
    pair.open();
    assert_eq!(pair.sent().len(), 2);
    // Once is enough.
    pair.plays("CONNACK");
    pair.cut();
    pair.wait_for(State::Connecting);
    assert_eq!(pair.ends().asked.len(), 2);
}

#[test]
fn a_store_that_cannot_be_read_fails_the_connect() {
    let mut pair = Pair::new(&settings(""));
    pair.ends().broken = true;
    pair.connect();
    pair.quiet_but(["state connecting", "state idle", "connect failed STORE_FAILED"]);
    pair.ends().broken = false;
    pair.connect();
    pair.plays("CONNACK");
    assert_eq!(pair.session().state(), State::Connected);
}

#[test]
fn a_store_that_holds_something_else_fails_the_connect() {
    for record in
        [&b""[..], b"\x07", b"\x01\0\0\0\0\0\0\0\0", b"\x00abcdefgh12345678\x30\x05\0\x01a"]
    {
        let mut pair = Pair::new(&settings(""));
        pair.ends().store.kept.insert(0, record.to_vec());
        pair.connect();
        pair.quiet_but(["state connecting", "state idle", "connect failed STORE_FAILED"]);
    }
}

#[test]
fn the_first_connect_can_be_given_up_while_the_store_is_read() {
    let mut pair = Pair::new(&settings(""));
    pair.ends().by_hand = true;
    pair.connect();
    let now = pair.now();
    pair.session().abandon(now);
    pair.pump();
    pair.clear();
    pair.load();
    pair.quiet();
    pair.connect();
    pair.load();
    assert_eq!(pair.ends().asked, ["resolve 1"]);
}

#[test]
fn a_reconnect_changes_nothing_while_the_store_is_read() {
    let mut pair = Pair::new(&settings(""));
    pair.ends().by_hand = true;
    pair.connect();
    pair.reconnect();
    pair.load();
    assert_eq!(pair.ends().asked, ["resolve 1"]);
}

#[test]
fn what_was_not_recorded_yet_is_written_at_the_end() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.force();
    // The write that was under way, and the rest.
    pair.keeps();
    assert_eq!(pair.ends().store.kept.len(), 2);
}

#[test]
fn the_end_forgets_nothing_of_an_earlier_life_and_reports_nothing() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.keeps();
    let mut next = pair.killed(&settings(""), 0);
    next.connect();
    next.clear();
    next.end();
    next.tells(["state closing", "state closed", "closed"]);
    assert_eq!(next.ends().store.kept.len(), 1);
}

#[test]
fn a_message_that_is_withdrawn_is_not_kept() {
    let mut pair = stalling("");
    pair.cut();
    let token = pair.publish("q1 a '1'");
    pair.keeps();
    pair.cancel(token);
    pair.keeps();
    assert!(pair.ends().store.kept.is_empty());
}

#[test]
fn a_message_that_gives_way_is_not_kept() {
    let mut pair = stalling("queue.maxMessages=1 queue.overflow=drop-oldest");
    pair.cut();
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.keeps();
    pair.keeps();
    assert_eq!(pair.ends().store.kept.len(), 1);
    assert_eq!(pair.restarted_offline(), ["PUBLISH q1 #1 a '2'"]);
}

#[test]
fn a_message_that_is_withdrawn_in_flight_is_not_sent_in_the_next_life() {
    let mut pair = Pair::accepted(&settings(""), "CONNACK");
    let one = pair.publish("q1 a '1'");
    pair.cancel(one);
    assert!(pair.ends().store.kept.is_empty());
    // Until the server forgets the identifier, another message would pass for a copy.
    let two = pair.publish("q2 a '2'");
    pair.cancel(two);
    pair.sends(["PUBLISH q1 #1 a '1'", "PUBLISH q2 #2 a '2'"]);
    let mut next = pair.restarted();
    assert_eq!(next.sent_since_connect(), ["PUBREL #2"]);
    next.plays("PUBCOMP #2");
    assert!(next.ends().store.kept.is_empty());
}

#[test]
fn a_message_that_is_withdrawn_while_it_waits_for_the_store_is_not_sent() {
    for qos in ["q1", "q2"] {
        for mut pair in both() {
            let one = pair.publish(&format!("{qos} a '1'"));
            pair.publish(&format!("{qos} a '2'"));
            pair.cancel(one);
            assert_eq!(pair.session().stats().in_flight_out, 1);
            pair.keeps();
            pair.quiet();
            pair.keeps();
            pair.sends([&format!("PUBLISH {qos} #2 a '2'")]);
            assert_eq!(pair.ends().store.kept.len(), 1);
        }
    }
}

#[test]
fn a_message_that_waits_for_room_is_recorded_when_there_is_room() {
    let mut pair = stalling("queue.maxMessages=1 queue.overflow=wait");
    pair.cut();
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.keeps();
    assert_eq!(pair.ends().store.kept.len(), 1);
    assert!(!pair.ends().store.is_writing());
    pair.retried("CONNACK present");
    pair.keeps();
    pair.sends(["PUBLISH q1 #1 a '1'", "PUBLISH q1 #2 a '2'"]);
    assert_eq!(pair.ends().store.kept.len(), 2);
}

#[test]
fn before_the_store_is_read_messages_wait_for_room_too() {
    let mut pair = Pair::new(&settings("queue.maxMessages=1 queue.overflow=wait"));
    for payload in 1..=3 {
        pair.publish(&format!("q1 a '{payload}'"));
    }
    assert!(pair.ends().store.kept.is_empty());
    pair.connect();
    assert_eq!(pair.ends().store.kept.len(), 1);
    pair.plays("CONNACK");
    let all = ["PUBLISH q1 #1 a '1'", "PUBLISH q1 #2 a '2'", "PUBLISH q1 #3 a '3'"];
    assert_eq!(pair.sent_since_connect(), all);
}

// ---------------------------------------------------------------------------------------------- what ends connections

#[test]
fn a_message_that_is_given_up_is_not_sent_in_the_next_life() {
    for (qos, answer, left) in
        [("q1", "", &[][..]), ("q2", "", &["PUBREL #1"]), ("q2", "PUBREC #1", &[])]
    {
        let mut pair = Pair::accepted(&settings(""), "CONNACK");
        pair.publish(&format!("{qos} poison 'x'"));
        if !answer.is_empty() {
            pair.plays(answer);
        }
        pair.reconnected("CONNACK present");
        pair.reconnected("CONNACK present");
        pair.answers_ping();
        pair.cut();
        assert!(pair.tell().iter().any(|told| told.contains("PUBLISH_REFUSED")));
        assert_eq!(pair.restarted_offline(), left);
    }
}

#[test]
fn the_next_life_does_not_use_the_identifier_of_a_release_that_was_given_up() {
    let mut pair = Pair::accepted(&settings(""), "CONNACK");
    pair.publish("q2 poison 'x'");
    pair.plays("PUBREC #1");
    pair.reconnected("CONNACK present");
    pair.reconnected("CONNACK present");
    pair.answers_ping();
    pair.cut();
    let mut next = pair.killed(&settings(""), 0);
    next.connect();
    next.plays("CONNACK present");
    assert_eq!(next.ends().store.kept.len(), 1);
    next.clear();
    next.publish("q2 a 'y'");
    next.sends(["PUBLISH q2 #2 a 'y'"]);
    next.plays("PUBREC #2; PUBCOMP #2");
    // The server has forgotten it.
    next.reconnected("CONNACK");
    assert!(next.ends().store.kept.is_empty());
}

#[test]
fn the_next_life_suspects_no_message() {
    let mut pair = Pair::accepted(&settings(""), "CONNACK");
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.reconnected("CONNACK present");
    pair.reconnected("CONNACK present");
    pair.sends(["PINGREQ"]);
    let mut next = pair.restarted();
    let both = ["PUBLISH q1 dup #1 a '1'", "PUBLISH q1 dup #2 a '2'"];
    assert_eq!(next.sent_since_connect(), both);
    next.cut();
    assert!(!next.tell().iter().any(|told| told.contains("PUBLISH_REFUSED")));
}

#[test]
fn what_waits_for_the_store_is_not_suspected() {
    for mut pair in both() {
        pair.publish("q1 a '1'");
        for _ in 0..3 {
            pair.reconnected("CONNACK present");
        }
        pair.quiet();
        pair.keeps();
        pair.sends(["PUBLISH q1 dup #1 a '1'"]);
    }
}

#[test]
fn a_server_that_judges_a_packet_does_not_mean_what_waits_for_the_store() {
    let mut pair = stalling("");
    let sent = pair.publish("q1 a '1'");
    pair.keeps();
    let held = pair.publish("q1 a '2'");
    pair.plays("DISCONNECT 0x99");
    assert!(pair.tell().contains(&format!("failed {sent} PUBLISH_REFUSED 0x99 a")));
    pair.keeps();
    pair.retried("CONNACK present");
    pair.keeps();
    pair.sends(["PUBLISH q1 dup #2 a '2'"]);
    pair.plays("PUBACK #2");
    pair.tells([&format!("published {held}")]);
}

#[test]
fn a_cautious_connection_sends_one_message_at_a_time_that_waits_for_the_store() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.keeps();
    // The server loses the session each time, so both are recorded and sent anew.
    pair.publish("q1 a '2'");
    pair.keeps();
    for _ in 0..2 {
        pair.cut();
        pair.retried("CONNACK");
        while pair.ends().store.is_writing() {
            pair.keeps();
        }
    }
    pair.answers_ping();
    pair.quiet();
    pair.keeps();
    let sent = pair.sent();
    assert!(matches!(&sent[..], [only] if only.ends_with("a '1'")), "{sent:?}");
}

impl Pair {
    fn restarted_offline(self) -> Vec<String> {
        let mut next = self.killed(&settings(""), 0);
        next.connect();
        next.plays("CONNACK present");
        next.sent_since_connect()
    }
}

// ---------------------------------------------------------------------------------------------- a store that fails

#[test]
fn a_publish_that_cannot_be_recorded_fails_and_is_not_sent() {
    let mut pair = stalling("");
    let one = pair.publish("q1 a '1'");
    pair.breaks();
    pair.quiet_but(["error STORE_FAILED", &format!("failed {one} STORE_FAILED a")]);
    // The next one gets its own try, and a failure in a row is one event.
    let two = pair.publish("q1 b '2'");
    pair.quiet();
    pair.wait(1_000);
    pair.breaks();
    pair.quiet_but([&*format!("failed {two} STORE_FAILED b")]);
    pair.publish("q1 a '3'");
    pair.wait(1_000);
    pair.keeps();
    pair.sends(["PUBLISH q1 #3 a '3'"]);
    assert_eq!(pair.session().stats().in_flight_out, 1);
}

#[test]
fn nothing_waits_for_what_was_refused() {
    let mut pair = stalling("");
    pair.publish("q2 a '1'");
    pair.breaks();
    pair.clear();
    pair.plays("PUBREL #7");
    pair.sends(["PUBCOMP #7 0x92"]);
}

#[test]
fn offline_it_is_the_same() {
    let mut pair = stalling("");
    pair.cut();
    pair.clear();
    let one = pair.publish("q1 a '1'");
    pair.breaks();
    pair.quiet_but(["error STORE_FAILED", &format!("failed {one} STORE_FAILED a")]);
    assert_eq!(pair.session().stats().queued_messages, 0);
}

#[test]
fn what_was_recorded_before_stays_and_is_written_again() {
    let mut pair = Pair::accepted(&settings(""), "CONNACK ReceiveMaximum=1").stalling();
    pair.publish("q2 a '1'");
    pair.keeps();
    pair.publish("q1 a '2'");
    pair.keeps();
    pair.clear();
    // The release of the first cannot be recorded.
    pair.plays("PUBREC #1");
    pair.breaks();
    pair.quiet_but(["error STORE_FAILED"]);
    pair.wait(1_000);
    pair.keeps();
    pair.sends(["PUBREL #1"]);
    pair.plays("PUBCOMP #1");
    // Neither can it be recorded that the second has a packet identifier: it was taken, and waits.
    pair.clear();
    pair.breaks();
    pair.quiet_but(["error STORE_FAILED"]);
    pair.wait(1_000);
    pair.keeps();
    pair.sends(["PUBLISH q1 #2 a '2'"]);
}

#[test]
fn a_refused_message_is_not_sent_again_on_the_next_connection() {
    let mut pair = stalling("");
    let token = pair.publish("q1 a '1'");
    pair.reconnected("CONNACK present");
    pair.breaks();
    pair.quiet_but(["error STORE_FAILED", &format!("failed {token} STORE_FAILED a")]);
    pair.publish("q1 a '2'");
    pair.wait(1_000);
    pair.keeps();
    pair.sends(["PUBLISH q1 #2 a '2'"]);
}

#[test]
fn a_received_message_is_acknowledged_when_the_store_works_again() {
    let mut pair = stalling("");
    pair.plays("PUBLISH q2 #7 a 'x'");
    pair.clear();
    pair.breaks();
    pair.quiet_but(["error STORE_FAILED"]);
    pair.wait(1_000);
    pair.keeps();
    pair.sends(["PUBREC #7"]);
}

#[test]
fn a_store_needs_a_client_identifier() {
    let options = crate::support::options("store=true");
    assert_eq!(options.check().unwrap_err().argument, "clientId");
    let options = crate::support::options("store=true clientId=''");
    assert_eq!(options.check().unwrap_err().argument, "clientId");
    let mut pair = stalling("");
    pair.force();
    refused(pair.try_publish("q1 a '1'"), "CLOSED");
}

#[test]
fn that_a_message_is_done_goes_along_with_the_next_write() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.keeps();
    pair.keeps();
    pair.plays("PUBACK #1");
    assert!(!pair.ends().store.is_writing());
    pair.publish("q1 a '3'");
    pair.keeps();
    assert_eq!(pair.ends().store.kept.len(), 2);
    // But not when there is none to come.
    pair.plays("PUBACK #2; PUBACK #3");
    pair.keeps();
    assert!(pair.ends().store.kept.is_empty());
}

#[test]
fn nothing_waits_for_a_write_that_nothing_begins() {
    let mut pair = stalling("");
    pair.publish("q1 a '1'");
    pair.publish("q1 a '2'");
    pair.keeps();
    pair.keeps();
    pair.clear();
    pair.plays("PUBACK #1; PUBREL #9");
    pair.keeps();
    pair.sends(["PUBCOMP #9 0x92"]);
    pair.plays("PUBACK #2");
    pair.keeps();
    pair.publish("q1 a '3'");
    pair.publish("q1 a '4'");
    pair.keeps();
    pair.keeps();
    pair.plays("PUBACK #3");
    pair.reconnected("CONNACK present");
    pair.keeps();
    pair.sends(["PUBLISH q1 dup #4 a '4'"]);
}

#[test]
fn what_was_first_sent_on_a_later_connection_was_sent() {
    for mut pair in both() {
        pair.publish("q2 a '1'");
        pair.reconnected("CONNACK present");
        pair.keeps();
        pair.sends(["PUBLISH q2 dup #1 a '1'"]);
        pair.reconnected("CONNACK");
        assert_eq!(pair.sent(), [""; 0]);
        assert_eq!(pair.told_since_connect()[0], "failed 1 SESSION_LOST a");
    }
}
