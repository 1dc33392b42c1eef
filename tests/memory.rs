//! What a server can make a client keep: whatever it sends, and however much, memory stays within a bound.

#[path = "fuzz/src/memory.rs"]
#[allow(dead_code)] // Some of it is for other tests.
mod memory;
mod support;

use memory::allocated;
use support::Pair;
use wasmqtt::codec::*;
use wasmqtt::session::Event;

const MIB: isize = 1024 * 1024;

/// The server sends packets, one by one, to an application that keeps nothing. Returns the bytes that the session has more
/// at the end.
fn flood(pair: &mut Pair, packets: impl Iterator<Item = Vec<u8>>) -> isize {
    let counted = allocated(|| {
        for packet in packets {
            pair.session().handle_input(pair.now(), packet[..].into());
            loop {
                let event = pair.session().poll_event();
                let Some(event) = event else { break };
                if let Event::Message(message) = event {
                    assert!(message.payload.len < 100);
                    if let Some(sequence) = message.sequence.filter(|_| pair.ends().holds) {
                        pair.session().hold(sequence);
                    }
                }
            }
            pair.session().delivered();
            while pair.session().poll_transmit(pair.now()).is_some() {}
        }
    });
    counted.live
}

fn message(topic: &str, id: u16, identifiers: std::ops::Range<u32>) -> Vec<u8> {
    let mut properties = PropertiesBuf::default();
    for identifier in identifiers {
        properties.push(Property::SubscriptionIdentifier, Value::Varint(identifier + 1));
    }
    let id = PacketId::new(id);
    let qos = if id.is_some() { QoS::ExactlyOnce } else { QoS::AtMostOnce };
    let publish = Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.as_bytes(),
        id,
        properties: properties.borrow(),
        payload: b"x",
    };
    let mut packet = Vec::new();
    Packet::Publish(publish).encode(Version::V5, &mut packet);
    packet
}

#[test]
fn topics_without_number() {
    let mut pair = Pair::connected("");
    let grown = flood(&mut pair, (0..50_000).map(|n| message(&format!("topic/{n}"), 0, 0..0)));
    assert!(grown < MIB, "{grown} bytes");
}

#[test]
fn topics_without_end() {
    let mut pair = Pair::connected("");
    let long = "x".repeat(60_000);
    let grown = flood(&mut pair, (0..500).map(|n| message(&format!("{long}{n}"), 0, 0..0)));
    assert!(grown < MIB, "{grown} bytes");
    // Two that take turns are told apart.
    pair.clear();
    for turn in 0..4 {
        pair.receives(&message(&format!("{long}{}", turn % 2), 0, 0..0));
    }
    let told = pair.ends().told.clone();
    let topics = told.iter().map(|told| match told {
        support::Told::Message(message) => message.topic.ends_with('1'),
        _ => panic!("{told:?}"),
    });
    assert_eq!(topics.collect::<Vec<_>>(), [false, true, false, true]);
}

#[test]
fn subscription_identifiers_without_number() {
    let mut pair = Pair::connected("");
    let grown = flood(&mut pair, (0..300).map(|n| message("a", 0, n..n + 10_000)));
    assert!(grown < MIB, "{grown} bytes");
}

#[test]
fn a_held_message_again_and_again() {
    let mut pair = Pair::connected("properties.receiveMaximum=20");
    pair.ends().holds = true;
    let grown = flood(&mut pair, std::iter::repeat_n(message("a", 1, 0..0), 20));
    assert!(grown < MIB, "{grown} bytes");
    pair.quiet();
    pair.receives(&message("a", 1, 0..0));
    pair.sends(["DISCONNECT 0x93", "CLOSE"]);
}

#[test]
fn an_idle_client_gives_back_what_a_burst_took() {
    const KIB: isize = 1024;
    let mut pair = Pair::connected("keepalive=60");
    pair.receives(&message("a", 0, 0..0));
    pair.clear();
    let topic = pair.session().topic("a").unwrap();
    let burst = message("a", 0, 0..0).repeat(4_000);
    let counted = allocated(|| {
        for _ in 0..100 {
            pair.session()
                .publish(pair.now(), topic, &[0; 500], QoS::AtMostOnce, false, None, None)
                .unwrap();
        }
        while pair.session().poll_transmit(pair.now()).is_some() {}
        pair.session().handle_input(pair.now(), burst[..].into());
        while pair.session().poll_event().is_some() {}
    });
    assert!(counted.live > 100 * KIB, "{} bytes", counted.live);
    let later = pair.now().after_ms(61_000);
    let given = allocated(|| pair.session().handle_timeout(later));
    assert!(counted.live + given.live < KIB, "{} bytes of {}", -given.live, counted.live);
}

/// With a store that takes its time, and something under way to it already.
fn stalling(more: &str) -> Pair {
    let text = format!("clientId=me clean=false store=true keepalive=0 reconnect.jitter=0 {more}");
    let mut pair = Pair::connected(&text).stalling();
    pair.publish("q1 a 'first'");
    assert!(pair.ends().store.is_writing());
    pair
}

/// Bytes that are kept after 300 rounds, where each has to do with a message of 10 KiB.
fn after_rounds(pair: &mut Pair, mut round: impl FnMut(&mut Pair)) -> isize {
    let counted = allocated(|| {
        for _ in 0..300 {
            round(pair);
            pair.clear();
        }
    });
    counted.live
}

fn large() -> String {
    format!("q2 a '{}'", "x".repeat(10_240))
}

#[test]
fn a_store_that_stalls_while_the_server_loses_the_session_again_and_again() {
    let mut pair = stalling("");
    pair.publish(&large());
    let grown = after_rounds(&mut pair, |pair| pair.reconnected("CONNACK"));
    assert!(grown < MIB / 4, "{grown} bytes");
    pair.keeps();
    pair.keeps();
    assert!(pair.sent().iter().any(|packet| packet.starts_with("PUBLISH q2")));
}

#[test]
fn a_store_that_fails_while_the_server_loses_the_session_again_and_again() {
    let mut pair = stalling("");
    pair.publish(&large());
    // Both are taken, and recorded anew with every session.
    pair.keeps();
    pair.keeps();
    let grown = after_rounds(&mut pair, |pair| {
        pair.reconnected("CONNACK");
        if pair.ends().store.is_writing() {
            pair.breaks();
        }
    });
    assert!(grown < MIB / 4, "{grown} bytes");
}

#[test]
fn messages_that_are_withdrawn_while_the_store_stalls() {
    let mut pair = stalling("");
    let grown = after_rounds(&mut pair, |pair| {
        let token = pair.publish(&large());
        pair.cancel(token);
    });
    assert!(grown < MIB / 4, "{grown} bytes");
}

#[test]
fn messages_that_give_way_while_the_store_stalls() {
    for overflow in ["drop-oldest", "latest-per-topic"] {
        let mut pair = stalling(&format!("queue.maxMessages=1 queue.overflow={overflow}"));
        pair.cut();
        pair.publish(&large());
        let grown = after_rounds(&mut pair, |pair| _ = pair.publish(&large()));
        assert!(grown < MIB / 4, "{overflow}: {grown} bytes");
    }
}
