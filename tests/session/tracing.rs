//! Every packet as an event, for those who ask.

use crate::support::{Pair, Told};
use crate::{bare, up};
use wasmqtt::session::Event;

/// The packets that the application was told of.
fn traced(pair: &mut Pair) -> Vec<String> {
    pair.ends().told.retain(|told| matches!(told, Told::Event(Event::Packet(_))));
    pair.tell()
}

#[test]
fn nobody_listens_nothing_is_told() {
    let mut pair = up("");
    pair.publish("q1 a 'x'");
    pair.plays("PUBACK #1; PUBLISH q1 #1 a 'x'");
    assert!(traced(&mut pair).is_empty());
}

/// Contract: packet: Every control packet, for tracing. Costs nothing while nobody listens.
#[test]
fn every_packet_is_told_both_ways() {
    let mut pair = bare("authentication.method=m keepalive=10");
    pair.session().tap(true);
    pair.connect();
    pair.authenticate(Ok(None));
    pair.plays("AUTH 0x18 AuthenticationMethod=m");
    pair.authenticate(Ok(None));
    pair.plays("CONNACK AuthenticationMethod=m SubscriptionIdentifierAvailable=0");
    assert_eq!(
        traced(&mut pair),
        [
            "out connect 24 bytes",
            "in auth 8 bytes 0x18",
            "out auth 8 bytes 0x18",
            "in connack 11 bytes 0x00",
        ]
    );
    pair.publish("q0 a 'x'");
    pair.publish("q1 a 'x'");
    pair.publish("q2 a 'x'");
    pair.subscribe("a");
    pair.unsubscribe("b");
    assert_eq!(
        traced(&mut pair),
        [
            "out publish 7 bytes a",
            "out publish 9 bytes #1 a",
            "out publish 9 bytes #2 a",
            "out subscribe 9 bytes #3",
            "out unsubscribe 8 bytes #4",
        ]
    );
    pair.plays("PUBACK #1 0x97; PUBREC #2");
    pair.plays("PUBCOMP #2");
    pair.plays("SUBACK #3 0; UNSUBACK #4 0x11");
    assert_eq!(
        traced(&mut pair),
        [
            "in puback 5 bytes #1 0x97",
            "in pubrec 4 bytes #2 0x00",
            "out pubrel 4 bytes #2 0x00",
            "in pubcomp 4 bytes #2 0x00",
            "in suback 6 bytes #3",
            "in unsuback 6 bytes #4",
        ]
    );
    pair.plays("PUBLISH q2 #7 topic 'x'");
    pair.plays("PUBLISH q2 dup #7 topic 'x'");
    pair.plays("PUBREL #7");
    pair.wait(9_000);
    pair.plays("PINGRESP");
    assert_eq!(
        traced(&mut pair),
        [
            "in publish 13 bytes #7 topic",
            "out pubrec 4 bytes #7 0x00",
            "in publish 13 bytes #7 topic",
            "out pubrec 4 bytes #7 0x00",
            "in pubrel 4 bytes #7 0x00",
            "out pubcomp 4 bytes #7 0x00",
            "out pingreq 2 bytes",
            "in pingresp 2 bytes",
        ]
    );
    pair.plays("DISCONNECT 0x8B");
    pair.wait(1_000);
    pair.authenticate(Ok(None));
    pair.plays("CONNACK present AuthenticationMethod=m");
    pair.end();
    let all = traced(&mut pair);
    assert_eq!(all[0], "in disconnect 3 bytes 0x8b");
    assert_eq!(all.last().unwrap(), "out disconnect 9 bytes 0x00");
    pair.session().tap(false);
}

#[test]
fn what_is_sent_again_and_large_packets_are_told_too() {
    let mut pair = up("");
    pair.session().tap(true);
    let payload = "x".repeat(200);
    pair.publish(&format!("q1 a '{payload}'"));
    pair.plays(&format!("PUBLISH q0 a '{payload}'"));
    assert_eq!(traced(&mut pair), ["out publish 209 bytes #1 a", "in publish 207 bytes a"]);
    pair.reconnected("CONNACK present");
    assert_eq!(traced(&mut pair).last().unwrap(), "out publish 209 bytes #1 a");
}

/// A refusal in the form of 3.1.1 of a CONNECT of version 5.
#[test]
fn the_fallback_is_told() {
    let mut pair = bare("");
    pair.session().tap(true);
    pair.connect();
    pair.receives(&[0x20, 2, 0, 1]);
    let told = traced(&mut pair);
    assert_eq!(told.len(), 3);
    assert_eq!(told[1], "in connack 4 bytes 0x84");
}
