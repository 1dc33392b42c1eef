//! The session on the web platform: socket, timer, and the class that JavaScript sees.

mod bindings;
mod link;
mod objects;
pub mod records;

pub use bindings::{Core, decode_properties, matches};
pub use link::Host;
