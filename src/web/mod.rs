//! The session on the web platform: socket, timer, and the class that JavaScript sees.

mod bindings;
mod link;
mod objects;

pub use bindings::{Core, decode_properties, matches};
pub use link::Host;

/// Half the size of the default one, and as fast.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
