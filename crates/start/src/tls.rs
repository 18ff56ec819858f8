//! The thread-local variables of the one thread.
//!
//! Their block is laid out as the linker assumed it when it computed their offsets from the thread pointer
//! (variant II): it ends at the thread pointer, padded to its alignment.

use core::alloc::{GlobalAlloc, Layout};
use core::slice;

use crate::arch::{ThreadControl, trap};
use crate::errors::give_up;
use crate::memory::Heap;
use crate::start::Auxiliary;

/// Makes the block and installs the thread pointer.
///
/// # Safety
/// `auxiliary` is the kernel's; nothing is thread-local yet.
pub(crate) unsafe fn set_up(auxiliary: &Auxiliary) {
    // SAFETY: the kernel's own description of the program headers and of the random bytes.
    let (headers, random) = unsafe {
        (
            slice::from_raw_parts(auxiliary.program_headers as *const libc::Elf64_Phdr, auxiliary.program_header_count),
            (auxiliary.random as *const [usize; 2]).read_unaligned(),
        )
    };
    let segment = headers.iter().find(|header| header.p_type == libc::PT_TLS);
    let (image, initialized, size, alignment) = match segment {
        Some(tls) => (tls.p_vaddr as usize, tls.p_filesz as usize, tls.p_memsz as usize, tls.p_align as usize),
        None => (0, 0, 0, 1),
    };
    let below = below(image, size, alignment);
    let alignment = alignment.max(align_of::<ThreadControl>());
    // The thread pointer is aligned, so what lies below starts at an aligned address too.
    let padding = below.next_multiple_of(alignment) - below;
    let Ok(layout) = Layout::from_size_align(padding + below + size_of::<ThreadControl>(), alignment) else { trap() };
    // SAFETY: the layout is not empty. The block has the sizes computed above; the image is the segment's.
    unsafe {
        let block = Heap.alloc_zeroed(layout);
        if block.is_null() {
            give_up("making the thread-local variables", -(libc::ENOMEM as isize));
        }
        let variables = block.add(padding);
        variables.copy_from_nonoverlapping(image as *const u8, initialized);
        ThreadControl::install(variables.add(below).cast(), random);
    }
}

/// How far below the thread pointer the variables begin. The linker counts so; it matters only where the
/// segment's address is not a multiple of its alignment.
fn below(address: usize, size: usize, alignment: usize) -> usize {
    size + (address.wrapping_add(size).wrapping_neg() & (alignment - 1))
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn variables_end_at_the_thread_pointer_up_to_their_alignment() {
        assert_eq!(below(0x1000, 0x98, 8), 0x98);
        assert_eq!(below(0x1000, 0x99, 8), 0xa0);
        assert_eq!(below(0x1000, 0x10, 64), 0x40);
        // lld: the thread pointer is what is congruent to the segment's end.
        assert_eq!(below(0x1010, 0x10, 64), 0x30);
        assert_eq!(below(0, 0, 1), 0);
    }
}
