//! An MQTT 5.0 and 3.1.1 client whose protocol core is a synchronous value in virtual time.
//!
//! The rooms, from the bytes up. Each depends on those above it only:
//!
//! - [`codec`]: bytes to packets and back, both versions; the tables of the specification.
//! - [`options`]: what an application may ask for, checked.
//! - [`session`]: the protocol state machine. It has no socket, clock or future in it.
//! - [`driver`]: the one loop around a session, over a [`driver::Host`].
//! - `web` (wasm32 only): the host on the web platform, and the class that JavaScript sees.
//! - `broker` (feature `broker`): a broker for tests and demos, on the same codec. On wasm32 it takes the place of `web`.
//!
//! # Example
//!
//! A session says what it needs, and is told what happened:
//!
//! ```
//! use wasmqtt::options::Options;
//! use wasmqtt::session::{
//!     Command, Credentials, Event, Instant, Resolved, Server, Session, State,
//! };
//!
//! let mut session = Session::new(Options::new(), 7)?;
//! let now = Instant(0);
//!
//! session.connect();
//! let Some(Command::Resolve { id, .. }) = session.poll_command() else { panic!() };
//! let server = Server { url: "wss://example.org/mqtt".into(), credentials: Credentials::default() };
//! session.handle_resolved(now, id, Ok(Resolved { servers: vec![server], dynamic: false }));
//!
//! let Some(Command::Open { id, url }) = session.poll_command() else { panic!() };
//! assert_eq!(&*url, "wss://example.org/mqtt");
//! // Here a socket is opened.
//! session.handle_open(now, id);
//! let connect = session.poll_transmit(now).expect("CONNECT");
//! assert_eq!(connect[0], 0x10);
//!
//! // The server answers with CONNACK: no session present, success, no properties.
//! session.handle_input(now, [0x20, 3, 0, 0, 0][..].into());
//! assert_eq!(session.state(), State::Connected);
//! while let Some(event) = session.poll_event() {
//!     if let Event::Connected(info) = event {
//!         assert_eq!(info.server.receive_maximum, 65_535);
//!     }
//! }
//! # Ok::<(), wasmqtt::options::InvalidArgument>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
// What the standard library does when something panics would add 2 % to the client's module.
#![cfg_attr(all(target_arch = "wasm32", not(feature = "std")), no_std)]

extern crate alloc;

#[cfg(feature = "broker")]
pub mod broker;
pub mod codec;
pub mod driver;
pub mod options;
pub mod session;
#[cfg(all(target_arch = "wasm32", not(feature = "broker")))]
pub mod web;

// Half the size of the standard library's allocator, and as fast. It extends its heap where the memory has grown.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
