//! What the session does, as stories: the real one, against a server that each test plays.
//!
//! A line `Shows [MQTT5-…] [MQTT3-…]` above a test names the statements of the two specifications that it shows; see
//! tests/conformance.md.

#[path = "../support/mod.rs"]
mod support;

mod authentication;
mod keeping_alive;
mod life;
mod publishing;
mod receiving;
mod scarcity;
mod subscribing;
mod tracing;
mod violations;
mod wire;

use support::Pair;

/// Leaves nothing in CONNECT that a story does not speak of.
const BARE: &str = "properties.maximumPacketSize=Infinity properties.topicAliasMaximum=0 reconnect.jitter=0";

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
