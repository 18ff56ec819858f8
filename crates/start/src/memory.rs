//! The heap: size classes over an arena in `.bss`, and pages of their own for what is large.
//!
//! A command lives for milliseconds, so memory goes back to its class, not to the system. There is no lock,
//! since there is no second thread. A page costs a fault when it is first touched and only then: the
//! arena is as good as free, needs no system call, and fresh memory from it needs no clearing.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

use crate::arch::syscall;

/// Rust's and the C functions' heap.
pub(crate) struct Heap;

#[cfg(not(test))]
#[global_allocator]
static HEAP: Heap = Heap;

/// What every block is aligned to at least.
const ALIGNMENT: usize = 16;
/// From here on a block is a mapping of its own.
const LARGE: usize = 64 * 1024;
/// What is taken at a time when the arena is used up.
const CHUNK: usize = 512 * 1024;
const PAGE: usize = 4096;

/// Sizes by 16 up to 128, then four to each doubling up to [`LARGE`].
const CLASSES: usize = 8 + 9 * 4;

fn class(size: usize) -> usize {
    if size <= 128 {
        return size.saturating_sub(1) / 16;
    }
    let log = (size - 1).ilog2() as usize;
    8 + (log - 7) * 4 + (((size - 1) >> (log - 2)) & 3)
}

fn size_of_class(class: usize) -> usize {
    if class < 8 {
        return (class + 1) * 16;
    }
    let (log, quarter) = ((class - 8) / 4 + 7, (class - 8) % 4);
    (5 + quarter) << (log - 2)
}

/// A free block holds the address of the next one of its class.
struct Free(*mut Free);

struct State {
    free: [*mut Free; CLASSES],
    /// What is left of the present chunk.
    next: *mut u8,
    left: usize,
}

#[repr(C, align(4096))]
struct Arena(UnsafeCell<[u8; CHUNK]>);
struct Global(UnsafeCell<State>);

// SAFETY: the program has one thread; a second does not link.
unsafe impl Sync for Arena {}
// SAFETY: the same.
unsafe impl Sync for Global {}

static ARENA: Arena = Arena(UnsafeCell::new([0; CHUNK]));
static STATE: Global = Global(UnsafeCell::new(State { free: [null_mut(); CLASSES], next: null_mut(), left: 0 }));

/// Whether memory comes from the system for the first time, and is zero therefore.
#[derive(PartialEq)]
enum Content {
    Zero,
    Any,
}

impl State {
    /// A block of the class, or null.
    fn take(&mut self, class: usize) -> (*mut u8, Content) {
        let block = self.free[class];
        if !block.is_null() {
            // SAFETY: blocks in the list are free and hold the address of the next.
            self.free[class] = unsafe { (*block).0 };
            return (block.cast(), Content::Any);
        }
        let size = size_of_class(class);
        if self.left < size && !self.refill() {
            return (null_mut(), Content::Any);
        }
        let block = self.next;
        self.next = block.wrapping_add(size);
        self.left -= size;
        (block, Content::Zero)
    }

    /// The arena at first, mappings later. What is left of the old chunk stays unused.
    fn refill(&mut self) -> bool {
        self.next = if self.next.is_null() { ARENA.0.get().cast() } else { map(CHUNK) };
        self.left = if self.next.is_null() { 0 } else { CHUNK };
        self.left != 0
    }

    /// # Safety
    /// The block is one of the class and nobody's any more.
    unsafe fn give(&mut self, block: *mut u8, class: usize) {
        let block = block.cast::<Free>();
        // SAFETY: the caller's promise; every class holds an address.
        unsafe { block.write(Free(self.free[class])) };
        self.free[class] = block;
    }

    /// Makes the newest block larger where it is.
    fn extend(&mut self, block: *mut u8, old: usize, new: usize) -> bool {
        let (old, new) = (size_of_class(old), size_of_class(new));
        if block.wrapping_add(old) != self.next || new < old || new - old > self.left {
            return false;
        }
        self.next = block.wrapping_add(new);
        self.left -= new - old;
        true
    }
}

/// The heap's state.
///
/// # Safety
/// The reference is gone before the next one is made.
unsafe fn state() -> &'static mut State {
    // SAFETY: the caller's promise, and there is one thread.
    unsafe { &mut *STATE.0.get() }
}

/// Pages of their own, zero, or null.
fn map(size: usize) -> *mut u8 {
    let arguments: [usize; 6] = [
        0,
        size,
        (libc::PROT_READ | libc::PROT_WRITE) as usize,
        (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize,
        usize::MAX,
        0,
    ];
    // SAFETY: an anonymous mapping where the kernel likes it touches nothing that exists.
    let result = unsafe { syscall(libc::SYS_mmap, arguments) };
    if result < 0 { null_mut() } else { result as *mut u8 }
}

fn pages(size: usize) -> usize {
    // Layout keeps sizes below isize::MAX.
    size.next_multiple_of(PAGE)
}

fn allocate(size: usize) -> (*mut u8, Content) {
    if size > LARGE {
        return (map(pages(size)), Content::Zero);
    }
    // SAFETY: the reference ends with this expression.
    unsafe { state() }.take(class(size))
}

/// # Safety
/// The block came from `allocate(size)`, or from `reallocate` to that size, and is nobody's any more.
unsafe fn release(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise; the reference ends with the expression.
    unsafe {
        if size > LARGE {
            syscall(libc::SYS_munmap, [block as usize, pages(size), 0, 0, 0, 0]);
        } else {
            state().give(block, class(size));
        }
    }
}

/// # Safety
/// As [`release`] for the block and its old size; null leaves it as it was.
unsafe fn reallocate(block: *mut u8, old: usize, new: usize) -> *mut u8 {
    // SAFETY: the caller's promise; each reference ends with its expression.
    unsafe {
        if old > LARGE && new > LARGE {
            let arguments = [block as usize, pages(old), pages(new), libc::MREMAP_MAYMOVE as usize, 0, 0];
            let result = syscall(libc::SYS_mremap, arguments);
            return if result < 0 { null_mut() } else { result as *mut u8 };
        }
        if old <= LARGE && new <= LARGE && (class(old) == class(new) || state().extend(block, class(old), class(new))) {
            return block;
        }
        let (moved, _) = allocate(new);
        if !moved.is_null() {
            moved.copy_from_nonoverlapping(block, old.min(new));
            release(block, old);
        }
        moved
    }
}

/// Blocks of a larger alignment lie inside a larger block, whose address is kept right before them.
fn aligned(layout: Layout) -> (*mut u8, Content) {
    let (block, content) = allocate(layout.size() + layout.align());
    if block.is_null() {
        return (block, content);
    }
    let at = (block as usize & !(layout.align() - 1)) + layout.align();
    let at = block.wrapping_add(at - block as usize);
    // SAFETY: `at` is more than ALIGNMENT behind the block's beginning or as much, and `size` bytes from its end.
    unsafe { at.cast::<*mut u8>().sub(1).write(block) };
    (at, content)
}

// SAFETY: blocks are disjoint, as large and as aligned as asked, and stay until they are released; `class`
// maps a block's size to the same class at its release as at its allocation.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGNMENT { aligned(layout).0 } else { allocate(layout.size()).0 }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; a block of larger alignment has its beginning before it.
        unsafe {
            if layout.align() > ALIGNMENT {
                release(block.cast::<*mut u8>().sub(1).read(), layout.size() + layout.align());
            } else {
                release(block, layout.size());
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (block, content) = if layout.align() > ALIGNMENT { aligned(layout) } else { allocate(layout.size()) };
        if !block.is_null() && content == Content::Any {
            // SAFETY: the block is as large as that.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            // SAFETY: the caller's promise.
            return unsafe { reallocate(block, layout.size(), size) };
        }
        // SAFETY: the caller's promise: the size is one of a layout, and both blocks hold what is copied.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_their_sizes_and_waste_little() {
        for size in 1..=LARGE {
            let class = class(size);
            assert!(class < CLASSES);
            let room = size_of_class(class);
            assert!(room >= size && room.is_multiple_of(ALIGNMENT), "{size} {room}");
            assert!(room <= 16 || room - size < 16.max(size / 4), "{size} {room}");
        }
        assert_eq!(class(0), 0);
        assert_eq!(size_of_class(CLASSES - 1), LARGE);
    }

    /// Numbers that look random and are the same each time.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % limit
        }

        /// Mostly small, sometimes beyond LARGE.
        fn size(&mut self) -> usize {
            let limit = 1 << (1 + self.below(18));
            1 + self.below(limit)
        }
    }

    struct Block {
        at: *mut u8,
        layout: Layout,
        byte: u8,
    }

    impl Block {
        fn check(&self, size: usize) {
            assert!((self.at as usize).is_multiple_of(self.layout.align()));
            // SAFETY: the block is as large as that.
            assert!(unsafe { std::slice::from_raw_parts(self.at, size) }.iter().all(|byte| *byte == self.byte));
        }
    }

    #[test]
    fn blocks_are_disjoint_and_keep_their_bytes() {
        let _alone = crate::alone();
        let mut numbers = Numbers(7);
        let mut blocks: Vec<Block> = Vec::new();
        for round in 0..60_000_u32 {
            let byte = round as u8;
            // SAFETY: blocks are used within their layouts and released with them.
            unsafe {
                if blocks.len() < 100 || numbers.below(3) == 0 {
                    let largest = if numbers.below(10) == 0 { 14 } else { 5 };
                    let align = 1 << numbers.below(largest);
                    let layout = Layout::from_size_align(numbers.size(), align).unwrap();
                    let at = if numbers.below(2) == 0 { Heap.alloc(layout) } else { Heap.alloc_zeroed(layout) };
                    assert!(!at.is_null());
                    at.write_bytes(byte, layout.size());
                    blocks.push(Block { at, layout, byte });
                } else if numbers.below(2) == 0 {
                    let block = blocks.swap_remove(numbers.below(blocks.len()));
                    block.check(block.layout.size());
                    Heap.dealloc(block.at, block.layout);
                } else {
                    let index = numbers.below(blocks.len());
                    let block = &mut blocks[index];
                    let size = numbers.size();
                    let kept = size.min(block.layout.size());
                    block.at = Heap.realloc(block.at, block.layout, size);
                    block.layout = Layout::from_size_align(size, block.layout.align()).unwrap();
                    block.check(kept);
                    block.at.write_bytes(byte, size);
                    block.byte = byte;
                }
            }
        }
        for block in blocks {
            block.check(block.layout.size());
            // SAFETY: as above.
            unsafe { Heap.dealloc(block.at, block.layout) };
        }
    }

    #[test]
    fn zeroed_blocks_are_zero_after_others_were_there() {
        let _alone = crate::alone();
        for (size, align) in [(24, 8), (24, 64), (5000, 1), (100_000, 8)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            for _ in 0..3 {
                // SAFETY: the block is used within its layout and released with it.
                unsafe {
                    let block = Heap.alloc_zeroed(layout);
                    assert!((0..size).all(|index| *block.add(index) == 0));
                    block.write_bytes(0xaa, size);
                    Heap.dealloc(block, layout);
                }
            }
        }
    }

    #[test]
    fn a_growing_vector_stays_where_it_is_while_it_is_the_newest() {
        let _alone = crate::alone();
        // SAFETY: the block is used within its layout and released with it.
        unsafe {
            // Larger than what other tests left free, at the end of the chunk in use.
            let layout = Layout::array::<u8>(20_000).unwrap();
            let taken: Vec<_> = (0..100).map(|_| Heap.alloc(layout)).collect();
            let newest = taken[99];
            assert_eq!(Heap.realloc(newest, layout, 20_001), newest);
            let grown = Heap.realloc(newest, Layout::array::<u8>(20_001).unwrap(), 21_000);
            for block in &taken[..99] {
                Heap.dealloc(*block, layout);
            }
            Heap.dealloc(grown, Layout::array::<u8>(21_000).unwrap());
        }
    }
}
