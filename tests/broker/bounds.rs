//! Whatever a client does, the broker keeps to bounds.

use wasmqtt::broker::{Broker, BrokerOptions, Transmit};
use wasmqtt::codec::Version;
use wasmqtt::session::Instant;

use crate::net::{Net, encode, plain};

/// Serves [MQTT3-4.8.0-2]
#[test]
fn a_client_that_asks_and_never_reads_is_cut_off() {
    let mut broker = Broker::new(plain(), Instant(0), 1).unwrap();
    let id = broker.handle_open(Instant(0));
    broker.handle_input(Instant(0), id, &encode(Version::V311, "CONNECT 'me' clean"));
    let pings = encode(Version::V311, "PINGREQ").repeat(100_000);
    let mut rounds = 0;
    while broker.clients().count() == 1 {
        broker.handle_input(Instant(0), id, &pings);
        rounds += 1;
        assert!(rounds < 1_000);
    }
    assert_eq!(broker.poll_transmit(Instant(0)), Some((id, Transmit::Drop)));
    assert_eq!(broker.poll_transmit(Instant(0)), None);
}

#[test]
fn a_frozen_connection_holds_so_much_back() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    net.broker.freeze(None);
    let chunk = vec![0; 1024 * 1024];
    for _ in 0..64 {
        net.sends("me", &chunk);
        net.hears("me", []);
    }
    net.sends("me", &[0]);
    net.hears("me", ["DROP"]);
}

#[test]
fn a_packet_is_refused_from_its_header() {
    let mut net = Net::with(BrokerOptions { maximum_packet_size: 1_000, ..plain() });
    net.connect("me", Version::V5, "clean");
    net.heard("me");
    net.sends("me", &[0x30, 0xff, 0xff, 0xff, 0x7f]);
    net.hears("me", ["DISCONNECT 0x95 ReasonString=packet too large", "CLOSE"]);
    net.open("me", Version::V5);
    net.sends("me", &[0x10, 0xff, 0xff, 0xff, 0x7f]);
    net.hears("me", ["CLOSE"]);
}

#[test]
fn options_are_checked() {
    for options in [
        BrokerOptions { versions: Vec::new(), ..plain() },
        BrokerOptions { receive_maximum: 0, ..plain() },
        BrokerOptions { maximum_packet_size: 0, ..plain() },
    ] {
        assert!(Broker::new(options, Instant(0), 1).is_err());
    }
}

#[test]
fn what_comes_for_a_connection_that_is_over_is_ignored() {
    let mut net = Net::new();
    net.join("me", Version::V5);
    let id = net.broker.handle_open(net.now);
    net.broker.handle_close(net.now, id);
    net.broker.handle_close(net.now, id);
    net.broker.handle_input(net.now, id, b"\x10");
    net.broker.handle_text(net.now, id);
    assert_eq!(net.broker.poll_transmit(net.now), None);
}
