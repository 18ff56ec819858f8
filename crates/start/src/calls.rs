//! The C functions that are one system call each.
//!
//! The left column is C's name, the right one the kernel's call. Where the two take different structures in
//! general, those are the same on this machine: `stat`, `statfs`, `dirent`, `msghdr`, `siginfo`, `rlimit`.

use crate::arch::{function, symbol, system_calls, system_calls_with_zeros, zeros};

system_calls! {
    "_exit" = SYS_exit_group
    "bind" = SYS_bind
    "chdir" = SYS_chdir
    "chmod" = SYS_chmod
    "chroot" = SYS_chroot
    // Not the vDSO's: to find it there costs more than the one or two calls that a command makes.
    "clock_gettime" = SYS_clock_gettime
    "close" = SYS_close
    "connect" = SYS_connect
    "dup2" = SYS_dup2
    // Since Linux 5.8, with flags.
    "faccessat" = SYS_faccessat2
    "fchmod" = SYS_fchmod
    "fchownat" = SYS_fchownat
    "fcntl" = SYS_fcntl
    "flock" = SYS_flock
    "fork" = SYS_fork
    "fstat64" = SYS_fstat
    "fstatfs64" = SYS_fstatfs
    "ftruncate64" = SYS_ftruncate
    "getegid" = SYS_getegid
    "geteuid" = SYS_geteuid
    "getpgrp" = SYS_getpgrp
    "getpid" = SYS_getpid
    "getuid" = SYS_getuid
    "ioctl" = SYS_ioctl
    "kill" = SYS_kill
    "listen" = SYS_listen
    "lseek64" = SYS_lseek
    "lstat64" = SYS_lstat
    "memfd_create" = SYS_memfd_create
    "mkdir" = SYS_mkdir
    "mmap64" = SYS_mmap
    "munmap" = SYS_munmap
    "open" = SYS_open
    "open64" = SYS_open
    "openat" = SYS_openat
    "pipe2" = SYS_pipe2
    "poll" = SYS_poll
    "prctl" = SYS_prctl
    "pread" = SYS_pread64
    "pread64" = SYS_pread64
    "prlimit64" = SYS_prlimit64
    "pwrite64" = SYS_pwrite64
    "read" = SYS_read
    "readlink" = SYS_readlink
    "recvmsg" = SYS_recvmsg
    "rename" = SYS_rename
    "rmdir" = SYS_rmdir
    "sched_yield" = SYS_sched_yield
    "sendmsg" = SYS_sendmsg
    // The thread is the process: the kernel's per-thread calls are C's per-process ones.
    "setgid" = SYS_setgid
    "setgroups" = SYS_setgroups
    "setpgid" = SYS_setpgid
    "setsid" = SYS_setsid
    "setsockopt" = SYS_setsockopt
    "setuid" = SYS_setuid
    "socket" = SYS_socket
    "socketpair" = SYS_socketpair
    "stat64" = SYS_stat
    "statfs64" = SYS_statfs
    "symlink" = SYS_symlink
    "unlink" = SYS_unlink
    "unlinkat" = SYS_unlinkat
    "write" = SYS_write
    "writev" = SYS_writev
}

system_calls_with_zeros! {
    "recv" after 4 = SYS_recvfrom
    "send" after 4 = SYS_sendto
    "waitid" after 4 = SYS_waitid
    "waitpid" after 3 = SYS_wait4
}

#[cfg(test)]
mod tests {
    use core::ffi::{c_char, c_int, c_void};

    use crate::errors::__errno_location;

    // What the assembly defines, under the names that it has in tests.
    unsafe extern "C" {
        fn no_frills_open64(path: *const c_char, flags: c_int, ...) -> c_int;
        fn no_frills_read(fd: c_int, buffer: *mut c_void, count: usize) -> isize;
        fn no_frills_close(fd: c_int) -> c_int;
        fn no_frills_fcntl(fd: c_int, command: c_int, ...) -> c_int;
        fn no_frills_fstat64(fd: c_int, stat: *mut libc::stat64) -> c_int;
        fn no_frills_statfs64(path: *const c_char, stat: *mut libc::statfs64) -> c_int;
        fn no_frills_mmap64(
            at: *mut c_void,
            size: usize,
            protection: c_int,
            flags: c_int,
            fd: c_int,
            offset: i64,
        ) -> *mut c_void;
        fn no_frills_munmap(at: *mut c_void, size: usize) -> c_int;
        fn no_frills_recv(fd: c_int, buffer: *mut c_void, count: usize, flags: c_int) -> isize;
        fn no_frills_waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
        fn no_frills_waitid(kind: libc::idtype_t, id: libc::id_t, info: *mut libc::siginfo_t, options: c_int) -> c_int;
        fn no_frills_fork() -> c_int;
        fn no_frills__exit(status: c_int) -> !;
    }

    fn errno() -> c_int {
        // SAFETY: errno is there.
        unsafe { *__errno_location() }
    }

    #[test]
    fn a_file_is_opened_described_mapped_and_closed() {
        let _alone = crate::alone();
        // SAFETY: strings are C strings, buffers as long as said.
        unsafe {
            let fd = no_frills_open64(c"Cargo.toml".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            assert!(fd > 2);
            assert_eq!(no_frills_fcntl(fd, libc::F_GETFD), libc::FD_CLOEXEC);
            let mut ours: libc::stat64 = core::mem::zeroed();
            let mut theirs: libc::stat64 = core::mem::zeroed();
            assert_eq!((no_frills_fstat64(fd, &raw mut ours), libc::fstat64(fd, &raw mut theirs)), (0, 0));
            assert_eq!((ours.st_ino, ours.st_size, ours.st_mode), (theirs.st_ino, theirs.st_size, theirs.st_mode));
            let mut start = [0_u8; 9];
            assert_eq!(no_frills_read(fd, start.as_mut_ptr().cast(), start.len()), 9);
            assert_eq!(&start, b"[package]");
            let page = no_frills_mmap64(core::ptr::null_mut(), 9, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0);
            assert_eq!(core::slice::from_raw_parts(page.cast::<u8>(), 9), b"[package]");
            assert_eq!(no_frills_munmap(page, 9), 0);
            assert_eq!(no_frills_close(fd), 0);
            assert_eq!((no_frills_close(fd), errno()), (-1, libc::EBADF));
            assert_eq!((no_frills_open64(c"/nope".as_ptr(), 0), errno()), (-1, libc::ENOENT));
            let mut system: libc::statfs64 = core::mem::zeroed();
            assert_eq!(no_frills_statfs64(c"/proc".as_ptr(), &raw mut system), 0);
            assert_eq!(system.f_type, libc::PROC_SUPER_MAGIC);
        }
    }

    #[test]
    fn calls_with_more_arguments_than_c_has_get_zeros() {
        let _alone = crate::alone();
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &left, b"hello").unwrap();
        let mut buffer = [0_u8; 5];
        // SAFETY: the buffer is as long as said; the children do nothing but end.
        unsafe {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&right);
            assert_eq!(no_frills_recv(fd, buffer.as_mut_ptr().cast(), 5, libc::MSG_DONTWAIT), 5);
            assert_eq!(&buffer, b"hello");

            let child = no_frills_fork();
            if child == 0 {
                no_frills__exit(7);
            }
            let mut status = 0;
            assert_eq!(no_frills_waitpid(child, &raw mut status, 0), child);
            assert_eq!(libc::WEXITSTATUS(status), 7);

            let child = no_frills_fork();
            if child == 0 {
                no_frills__exit(8);
            }
            let mut info: libc::siginfo_t = core::mem::zeroed();
            assert_eq!(no_frills_waitid(libc::P_PID, child as libc::id_t, &raw mut info, libc::WEXITED), 0);
            assert_eq!((info.si_pid(), info.si_status()), (child, 8));
            assert_eq!((no_frills_waitpid(child, &raw mut status, 0), errno()), (-1, libc::ECHILD));
        }
    }
}
