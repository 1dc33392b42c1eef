//! Counts what the current thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[derive(Clone, Copy)]
pub struct Allocated {
    pub times: usize,
    /// Bytes of the largest piece.
    pub largest: usize,
    /// Bytes in use at once, at most.
    pub peak: isize,
    /// Bytes in use at the end; less than 0: more was freed than allocated.
    pub live: isize,
}

const NOTHING: Allocated = Allocated { times: 0, largest: 0, peak: 0, live: 0 };

thread_local! {
    static ALLOCATED: Cell<Allocated> = const { Cell::new(NOTHING) };
}

/// What `run` allocates.
pub fn allocated(run: impl FnOnce()) -> Allocated {
    ALLOCATED.set(NOTHING);
    run();
    ALLOCATED.get()
}

struct Counting;

impl Counting {
    fn note(grown: usize, freed: usize) {
        // A thread that ends frees after its counter is gone.
        let _ = ALLOCATED.try_with(|cell| {
            let mut count = cell.get();
            count.times += usize::from(grown > 0);
            count.largest = count.largest.max(grown);
            count.live += grown as isize - freed as isize;
            count.peak = count.peak.max(count.live);
            cell.set(count);
        });
    }
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Self::note(0, layout.size());
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note(size, layout.size());
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
