//! When memory runs out in the middle of a packet: the connection ends, and nothing is acknowledged.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crate::{both, up};

thread_local! {
    /// Larger pieces are not to be had on this thread.
    static LARGEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

struct Scarce;

fn is_to_be_had(size: usize) -> bool {
    LARGEST.try_with(|largest| size <= largest.get()).unwrap_or(true)
}

unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_to_be_had(layout.size()) {
            unsafe { System.alloc(layout) }
        } else {
            std::ptr::null_mut()
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_to_be_had(size) {
            unsafe { System.realloc(ptr, layout, size) }
        } else {
            std::ptr::null_mut()
        }
    }
}

#[global_allocator]
static SCARCE: Scarce = Scarce;

/// Shows [MQTT3-4.8.0-2]
#[test]
fn a_packet_that_memory_is_too_small_for_ends_the_connection() {
    for (version, mut pair) in [5, 4].into_iter().zip(both("")) {
        let packet = pair.bytes_of(&format!("PUBLISH q1 #1 a '{}'", "x".repeat(1 << 20)));
        let (first, second) = packet.split_at(100_000);
        pair.receives(first);
        pair.quiet();
        let second = second.to_vec();
        LARGEST.set(150_000);
        pair.receives_owned(second);
        LARGEST.set(usize::MAX);
        if version == 5 {
            pair.sends(["DISCONNECT 0x95", "CLOSE"]);
        } else {
            pair.sends(["CLOSE"]);
        }
        assert_eq!(pair.tell()[0], "error PROTOCOL_ERROR 0x95");
    }
    let mut pair = up("");
    let packet = pair.bytes_of(&format!("PUBLISH q1 #1 a '{}'", "x".repeat(1 << 20)));
    packet.chunks(100_000).for_each(|chunk| pair.receives(chunk));
    pair.sends(["PUBACK #1"]);
}
