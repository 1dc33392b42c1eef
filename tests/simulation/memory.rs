//! Counts the bytes that are allocated, to see what a session holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use wasmqtt::session::Session;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size() as isize);
        unsafe { System.dealloc(at, layout) }
    }
}

/// What a session holds, without the room it keeps for more.
pub fn of_a_clone(session: &Session) -> usize {
    let before = HELD.get();
    let clone = session.clone();
    let held = HELD.get() - before;
    drop(clone);
    held as usize
}
