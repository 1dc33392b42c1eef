//! What the fuzz targets do with their input: ordinary functions, so that stable Rust can call them too. Each panics where
//! something is wrong.

pub mod decoder;
#[path = "../../support/gathered.rs"]
mod gathered;
mod input;
pub mod memory;
pub mod options;
pub mod session;
