//! C's way to the heap, for realpath and for what std keeps out of the global allocator.
//!
//! Rust tells the size at the release, C does not: the size lies before the block.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;
use core::ptr::null_mut;

use crate::errors::to_c;
use crate::memory::Heap;

/// What lies before a block, in as much room as keeps the block aligned: the layout of both together.
#[repr(C, align(16))]
struct Head(Layout);

#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) extern "C" fn malloc(size: usize) -> *mut c_void {
    let layout =
        size.checked_add(size_of::<Head>()).and_then(|size| Layout::from_size_align(size, align_of::<Head>()).ok());
    // SAFETY: the layout is not empty.
    let head = layout.map_or(null_mut(), |layout| unsafe { Heap.alloc(layout) }).cast::<Head>();
    match layout {
        Some(layout) if !head.is_null() => {
            // SAFETY: the allocation holds the head, and is aligned for it; the block begins behind it.
            unsafe {
                head.write(Head(layout));
                head.add(1).cast()
            }
        }
        _ => {
            to_c(-(libc::ENOMEM as isize));
            null_mut()
        }
    }
}

/// # Safety
/// `block` is null or an allocated one that is not used any more.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn free(block: *mut c_void) {
    if !block.is_null() {
        // SAFETY: the caller's promise: the head lies before it.
        unsafe {
            let head = block.cast::<Head>().sub(1);
            let Head(layout) = head.read();
            Heap.dealloc(head.cast(), layout);
        }
    }
}

/// # Safety
/// `block` is null or an allocated one; it is not used any more where the result is not null.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    let moved = malloc(size);
    if !moved.is_null() && !block.is_null() {
        // SAFETY: the caller's promise; both blocks hold what is copied.
        unsafe {
            let Head(layout) = block.cast::<Head>().sub(1).read();
            let old = layout.size() - size_of::<Head>();
            moved.cast::<u8>().copy_from_nonoverlapping(block.cast(), old.min(size));
            free(block);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_bytes_and_their_alignment() {
        let _alone = crate::alone();
        // SAFETY: blocks are used within their sizes and released once.
        unsafe {
            let mut block = realloc(null_mut(), 0).cast::<u8>();
            let mut old = 0;
            for size in [1, 100, 200_000, 300_000, 70, 0, 17] {
                block = realloc(block.cast(), size).cast();
                assert!((block as usize).is_multiple_of(16));
                assert!((0..size.min(old)).all(|index| *block.add(index) == 7));
                block.write_bytes(7, size);
                old = size;
            }
            free(block.cast());
            free(null_mut());
        }
    }

    #[test]
    fn what_is_too_large_fails() {
        let _alone = crate::alone();
        assert!(malloc(usize::MAX).is_null());
        assert!(malloc(isize::MAX as usize - 100_000).is_null());
        // SAFETY: errno is there.
        assert_eq!(unsafe { *crate::errors::__errno_location() }, libc::ENOMEM);
    }
}
