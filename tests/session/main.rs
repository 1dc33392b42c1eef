//! What the session does, as stories: the real one, against a server that each test plays.
//!
//! A line `Shows [MQTT5-…] [MQTT3-…]` above a test names the statements of the two specifications that it shows; see
//! tests/conformance.md.

#[path = "../support/mod.rs"]
mod support;

mod authentication;
mod connecting;
mod ending;
mod keeping_alive;
mod limits;
mod publishing;
mod queueing;
mod receiving;
mod retrying;
mod scarcity;
mod storing;
mod subscribing;
mod tracing;
mod violations;
mod wire;

use support::Pair;
use support::telling::show_error;
use wasmqtt::session::Error;

/// Leaves nothing in CONNECT that a story does not speak of.
const BARE: &str =
    "properties.maximumPacketSize=Infinity properties.topicAliasMaximum=0 reconnect.jitter=0";

fn bare(text: &str) -> Pair {
    Pair::new(&format!("{BARE} {text}"))
}

/// The same, connected.
fn up(text: &str) -> Pair {
    accepted(text, "CONNACK")
}

fn accepted(text: &str, connack: &str) -> Pair {
    Pair::accepted(&format!("{BARE} {text}"), connack)
}

/// Both versions, connected.
fn both(text: &str) -> [Pair; 2] {
    [5, 4].map(|version| up(&format!("protocolVersion={version} clientId=me {text}")))
}

/// The session can be resumed, in both versions.
fn kept() -> [Pair; 2] {
    both("clean=false")
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Box<Error>>, expected: &str) {
    assert_eq!(show_error(&result.unwrap_err()), expected);
}

/// `PUBLISH q1 a '1'` … with these numbers for payloads.
fn publish_all(pair: &mut Pair, qos: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        pair.publish(&format!("{qos} a '{number}'"));
    }
}

/// The packet identifier in a packet's text.
fn identifier(packet: &str) -> usize {
    let digits = packet.split_once('#').expect(packet).1;
    digits.split(' ').next().unwrap().parse().unwrap()
}
