//! What the test broker does, as stories: packets that clients send, and what each of them hears, in virtual time.
//!
//! A line `Serves [MQTT5-…] [MQTT3-…]` above a test names the statements of the two specifications that it shows for a
//! server; see tests/broker-conformance.md.

#![cfg(feature = "broker")]

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod connecting;
mod delivering;
mod faults;
mod net;
mod publishing;
mod real_client;
mod retaining;
mod sessions;
mod sharing;
mod subscribing;
mod violations;
mod wills;
