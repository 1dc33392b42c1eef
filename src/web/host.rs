//! What JavaScript does for the core: `interface CoreHost` in `src/js/core/glue.d.ts`, with the same
//! names in the same order.

use js_sys::Array;
use wasm_bindgen::prelude::*;
use web_sys::MessageEvent;

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
    // What comes of the promises of these goes to `settle`, with the number of the attempt.
    /// Asks the application for URLs and credentials.
    #[wasm_bindgen(method)]
    pub(super) fn resolve(this: &CoreHost, id: u32, attempt: u32, error: JsValue);
    /// Makes a socket.
    #[wasm_bindgen(method)]
    pub(super) fn open(this: &CoreHost, id: u32, url: &str);
    /// Takes the socket and hears of it from here on: [`super::Core::message`] and the like are called. Returns whether it is
    /// open already.
    #[wasm_bindgen(method)]
    pub(super) fn listen(this: &CoreHost, socket: &JsValue) -> bool;
    /// Hears of the socket no more, and lets go of it.
    #[wasm_bindgen(method)]
    pub(super) fn ignore(this: &CoreHost);
    /// Whether the server chose a subprotocol that was offered.
    #[wasm_bindgen(method)]
    pub(super) fn agreed(this: &CoreHost) -> bool;
    /// Gives a frame to the platform's socket, or keeps a copy for a socket of the application, which may call back. False: it
    /// could not be sent.
    #[wasm_bindgen(method)]
    pub(super) fn write(this: &CoreHost, ptr: *const u8, len: usize) -> bool;
    /// Gives a frame that was kept to its socket. False: it could not be sent.
    #[wasm_bindgen(method)]
    pub(super) fn flush(this: &CoreHost) -> bool;
    /// The bytes in the socket's buffer; -1: there is no socket.
    #[wasm_bindgen(method)]
    pub(super) fn buffered(this: &CoreHost) -> f64;
    /// Closes the socket.
    #[wasm_bindgen(method)]
    pub(super) fn shut(this: &CoreHost, force: bool);
    /// Asks the application's Authenticator.
    #[wasm_bindgen(method)]
    pub(super) fn authenticate(
        this: &CoreHost,
        id: u32,
        reauthentication: bool,
        first: bool,
        challenge: JsValue,
        properties: JsValue,
    );
    /// Reads the store: the values of all records, in the order of the keys.
    #[wasm_bindgen(method)]
    pub(super) fn load(this: &CoreHost, id: u32);
    /// Writes to the store: key, value, key, value and so on. A key is a number, see
    /// [`crate::session::Key::number`]; a value that is `null` deletes.
    #[wasm_bindgen(method)]
    pub(super) fn store(this: &CoreHost, changes: Array);
    /// Asks the application whether to try again.
    #[wasm_bindgen(method)]
    pub(super) fn retry(this: &CoreHost, error: JsValue, attempt: u32) -> Option<bool>;
}

impl CoreHost {
    /// The time on the platform's clock that never goes back.
    pub(super) fn time(&self) -> Instant {
        Instant((self.now() * 1_000.0) as u64)
    }
}
