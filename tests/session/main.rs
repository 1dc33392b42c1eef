//! What the session does, as stories: the real one, against a server that each test plays.
//!
//! A line `Shows [MQTT5-…] [MQTT3-…]` above a test names the statements of the two specifications that it shows; see
//! tests/conformance.md.

#[path = "../support/mod.rs"]
mod support;

mod life;
