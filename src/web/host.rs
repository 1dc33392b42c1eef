//! What JavaScript does for the core: `interface CoreHost` in `src/js/core/glue.d.ts`, with the same
//! names in the same order.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, WebSocket};

use crate::session::Instant;

#[wasm_bindgen]
extern "C" {
    /// One client's host.
    pub type CoreHost;
    /// Makes the event's data the current chunk and copies it to `ptr` where it fits into `room`
    /// bytes. Returns the chunk's length; -1: it is not binary.
    #[wasm_bindgen(method)]
    pub(super) fn read(this: &CoreHost, event: &MessageEvent, ptr: *mut u8, room: usize) -> f64;
    /// Keeps what of the current chunk begins at `offset`: it is a packet that goes on for
    /// `missing` bytes in the next chunks.
    #[wasm_bindgen(method)]
    pub(super) fn keep(this: &CoreHost, offset: usize, missing: usize);
    /// Adds the event's data to the packet that was kept. Returns 0 until nothing is missing any
    /// more. Then the packet is the current chunk, copied to `ptr` where it fits into `room`
    /// bytes, and this is its length. -1: the data is not binary; -2: there is no memory.
    #[wasm_bindgen(method)]
    pub(super) fn gather(this: &CoreHost, event: &MessageEvent, ptr: *mut u8, room: usize) -> f64;
    /// Does as `read`, for what is left of the chunk that completed the packet.
    #[wasm_bindgen(method)]
    pub(super) fn rest(this: &CoreHost, ptr: *mut u8, room: usize) -> usize;
    /// Copies a piece of the current chunk to `ptr`.
    #[wasm_bindgen(method)]
    pub(super) fn copy(this: &CoreHost, offset: usize, ptr: *mut u8, len: usize);
    /// Takes over `words` words of records, see [`super::records`].
    #[wasm_bindgen(method)]
    pub(super) fn batch(this: &CoreHost, ptr: *const u32, words: usize);
    /// The milliseconds of `performance.now()`.
    #[wasm_bindgen(method)]
    fn now(this: &CoreHost) -> f64;
    /// Sets the one timer, in milliseconds from now; negative: disarms it.
    #[wasm_bindgen(method)]
    pub(super) fn timer(this: &CoreHost, ms: f64);
    /// Calls `resume` in a new task.
    #[wasm_bindgen(method)]
    pub(super) fn later(this: &CoreHost);
    /// Calls `flush` at the end of the turn.
    #[wasm_bindgen(method)]
    pub(super) fn wake(this: &CoreHost);
    /// Calls `settle` with these numbers, and with what comes of the promise.
    #[wasm_bindgen(method)]
    pub(super) fn follow(this: &CoreHost, promise: &Promise, attempt: u32, asked: u32);
    /// Asks the application for URLs and credentials.
    #[wasm_bindgen(method)]
    pub(super) fn resolve(this: &CoreHost, attempt: u32, error: JsValue) -> Promise;
    /// Makes a socket, or a promise of one.
    #[wasm_bindgen(method)]
    pub(super) fn open(this: &CoreHost, url: &str) -> JsValue;
    /// Hears of a socket from here on: [`super::Core::message`] and the like are called.
    #[wasm_bindgen(method)]
    pub(super) fn listen(this: &CoreHost, socket: &WebSocket);
    /// Hears of a socket no more.
    #[wasm_bindgen(method)]
    pub(super) fn ignore(this: &CoreHost, socket: &WebSocket);
    /// The subprotocols that were offered.
    #[wasm_bindgen(method, getter)]
    pub(super) fn protocols(this: &CoreHost) -> Array;
    /// Whether the socket keeps what it is given to send.
    #[wasm_bindgen(method, getter)]
    pub(super) fn owns(this: &CoreHost) -> bool;
    /// Closes the socket.
    #[wasm_bindgen(method)]
    pub(super) fn shut(this: &CoreHost, force: bool);
    /// Asks the application's Authenticator.
    #[wasm_bindgen(method)]
    pub(super) fn authenticate(
        this: &CoreHost,
        reauthentication: bool,
        first: bool,
        challenge: JsValue,
        properties: JsValue,
    ) -> Promise;
    /// Reads the store: a promise of the values of all records, in the order of the keys.
    #[wasm_bindgen(method)]
    pub(super) fn load(this: &CoreHost) -> Promise;
    /// Writes to the store: key, value, key, value and so on. A key is a number, see
    /// [`crate::session::Key::number`]; a value that is `null` deletes.
    #[wasm_bindgen(method)]
    pub(super) fn store(this: &CoreHost, changes: Array) -> Promise;
    /// Asks the application whether to try again.
    #[wasm_bindgen(method)]
    pub(super) fn retry(this: &CoreHost, error: JsValue, attempt: u32) -> Option<bool>;

    /// A socket that is asked after each flush what is in its buffer. One of the application may
    /// throw, or tell anything.
    pub(super) type Buffer;
    #[wasm_bindgen(method, getter, catch, js_name = bufferedAmount)]
    pub(super) fn buffered_amount(this: &Buffer) -> Result<JsValue, JsValue>;
}

impl CoreHost {
    /// The time on the platform's clock that never goes back.
    pub(super) fn time(&self) -> Instant {
        Instant((self.now() * 1_000.0) as u64)
    }
}
