//! An MQTT 5.0 and 3.1.1 client whose protocol core is a synchronous value in virtual time.
//!
//! - [`codec`]: bytes to packets and back, both versions. Depends on nothing.
//! - [`session`]: the protocol state machine; time is an argument, the socket is somebody else's. Depends on `codec`.
//! - [`options`]: what the application may ask for, checked.
//! - `web` (wasm32 only): the socket, the timer and the class that JavaScript sees.

pub mod codec;
pub mod driver;
pub mod options;
pub mod session;
#[cfg(target_arch = "wasm32")]
pub mod web;
