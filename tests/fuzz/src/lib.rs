//! What the fuzz targets do with their input: ordinary functions, so that stable Rust can call them too. Each panics where
//! something is wrong.

#[cfg(feature = "broker")]
pub mod broker;
pub mod decoder;
// The stories of the session have it too, in the test binaries that hold both.
#[allow(clippy::duplicate_mod)]
#[path = "../../support/chunks.rs"]
mod chunks;
mod input;
pub mod memory;
pub mod options;
pub mod session;
