//! A heap that ends with a clear text where the host's limit of memory is reached.

use std::alloc::{GlobalAlloc, Layout, System};

use rhai::Position;

use crate::panic;

/// Heap that most calls manage with: an instance whose memory grew cannot be used again.
const HEAP_SPARE_BYTES: usize = 786_432;

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        checked(System.alloc(layout))
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        checked(System.alloc_zeroed(layout))
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        checked(System.realloc(old, layout, size))
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        System.dealloc(old, layout);
    }
}

/// Lets the heap grow now, so that it need not while a method runs.
pub fn reserve() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(HEAP_SPARE_BYTES)));
}

fn checked(bytes: *mut u8) -> *mut u8 {
    if bytes.is_null() {
        panic("out of memory", Position::NONE);
    }
    bytes
}
