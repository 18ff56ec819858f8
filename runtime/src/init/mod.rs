//! The conversation with an init: starting it, sending it the plan, and following what it says until it has executed its program.
//!
//! ```text
//! Setup + plan, Sources ...   ---->   executes the plan
//!                             <----   Forked       (another process goes on in its place)
//! id maps, limits
//! Continue                    ---->
//!                             <----   Network      (where devices are moved to)
//!                             <----   Sync         (set up; the hooks' moment)
//! Continue                    ---->
//! Filter + program            ---->
//!                             <----   Warning, Console
//!                             <----   Ready
//! Start | Created             ---->
//!                             <----   end of file: it has executed its program | Failed
//! ```

mod child;
mod failure;
mod idle;
mod sources;

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use no_frills_plan::{Kind, MESSAGE_MAX, Message};
use no_frills_sys::pidfd::{self, Exit};
use no_frills_sys::spawn::{Child, Executable, Failure, Spawn, spawn};
use no_frills_sys::{limits, socket};

use crate::compile::{Filtered, Forks, Pointer, Program, SOURCE_BATCH};
use crate::error::{Error, Explained, Result};
use crate::handover::{Agent, Failed, Handover};
use crate::hooks::Told;
use crate::id_maps;
use crate::members::is_limited;
use crate::print::{limit, rlimit};
use crate::scheduling;
use crate::state::ProcessStat;
use crate::timings::Timings;
pub(crate) use child::{kill, write_proc};
use child::{kill_and_reap, reap};
pub(crate) use failure::{program_failed, step_failed, warning};
pub(crate) use idle::Idle;
use sources::{Made, descriptors, first_batch, is_late};
pub(crate) use sources::{open_first, open_source};

/// How much of a long plan goes in one datagram; init gathers the pieces.
const PLAN_PIECE: usize = 32 * 1024;

/// What the process gets of its caller's.
#[derive(Clone, Copy)]
pub(crate) struct Descriptors<'a> {
    /// Standard input, output and error; `None`: the caller's.
    pub(crate) streams: [Option<BorrowedFd<'a>>; 3],
    /// The caller's descriptors 3 to 2 + N are inherited as they are.
    pub(crate) preserve_fds: u32,
    /// Those that follow.
    pub(crate) preserved: &'a [OwnedFd],
}

impl<'a> Descriptors<'a> {
    /// What the options of a create or an exec name.
    pub(crate) fn new(streams: [&'a Option<OwnedFd>; 3], preserve_fds: u32, preserved: &'a [OwnedFd]) -> Self {
        Descriptors { streams: streams.map(|fd| fd.as_ref().map(OwnedFd::as_fd)), preserve_fds, preserved }
    }
}

/// An init at work, or one that is to be started.
pub(crate) struct Init<'p> {
    program: &'p Program,
    /// `args[0]`, for errors.
    name: &'p str,
    /// The process whose namespaces are joined, for an exec.
    container: Option<BorrowedFd<'p>>,
    parent: OwnedFd,
    /// Init's end of the socket, until it has it.
    its_end: Option<OwnedFd>,
    /// The first batch; what is missing needs what is there when it is sent.
    sources: Vec<Option<OwnedFd>>,
    plan_is_sent: bool,
    /// Present when there are sources that need it.
    made: Option<Made>,
    pub(crate) child: Option<Child>,
    /// Whether another process goes on in its place.
    replaced: bool,
    pub(crate) warnings: Vec<String>,
    pub(crate) console: Option<OwnedFd>,
    /// A netlink socket of the container's network namespace.
    pub(crate) network: Option<OwnedFd>,
    ready: bool,
    filter: Option<Filtered>,
    pub(crate) timings: Option<&'p Timings>,
}

impl<'p> Init<'p> {
    pub(crate) fn new(
        program: &'p Program,
        name: &'p str,
        sources: Vec<Option<OwnedFd>>,
        container: Option<BorrowedFd<'p>>,
    ) -> Result<Init<'p>> {
        let (parent, its_end) = socket::pair().map_err(Error::system("making a socket pair"))?;
        Ok(Init {
            program,
            name,
            container,
            parent,
            its_end: Some(its_end),
            sources,
            plan_is_sent: false,
            made: None,
            child: None,
            replaced: false,
            warnings: Vec::new(),
            console: None,
            network: None,
            ready: false,
            filter: None,
            timings: None,
        })
    }

    /// Opens what it needs first, if that could not be done before.
    pub(crate) fn open_sources(&mut self) -> Result<()> {
        self.sources = open_first(self.program, self.container)?;
        Ok(())
    }

    /// Opens what needs what has been made by now: a user namespace is made by an init, and the container has its cgroup.
    pub(crate) fn complete(&mut self, init: BorrowedFd<'_>, cgroup: Option<BorrowedFd<'_>>) -> Result<()> {
        if !self.program.sources.iter().any(is_late) {
            return Ok(());
        }
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(Error::system("copying a descriptor"));
        let mut made = Made { init: copy(init)?, cgroup: cgroup.map(copy).transpose()?, user_namespaces: Vec::new() };
        for (source, place) in first_batch(self.program).iter().zip(&mut self.sources) {
            *place = made.complete(source, place.take())?;
        }
        self.made = Some(made);
        Ok(())
    }

    /// Sends the plan while there is no init yet, if it need not wait for something else: so init need not wait for it.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let Program { id_maps, forks, steps, .. } = self.program;
        let may = id_maps.is_none() || *forks != Forks::No;
        if may && steps.bytes().len() <= PLAN_PIECE { self.send_plan() } else { Ok(()) }
    }

    /// Starts it in a cgroup. After a failure it can be started in another.
    pub(crate) fn spawn(
        &mut self,
        init: BorrowedFd<'_>,
        given: Descriptors<'_>,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> std::result::Result<(), Failure> {
        let mut descriptors = Vec::with_capacity(4 + given.preserved.len());
        for (fd, number) in given.streams.iter().zip(0..) {
            if let Some(fd) = fd {
                descriptors.push((*fd, number));
            }
        }
        // The command's own 3, 4, ... are inherited as they are; the library's are moved there.
        let mut next = 3 + given.preserve_fds as RawFd;
        for fd in given.preserved {
            descriptors.push((fd.as_fd(), next));
            next += 1;
        }
        if let Some(its_end) = &self.its_end {
            descriptors.push((its_end.as_fd(), next));
        }
        let number = CString::new(next.to_string()).unwrap_or_default();
        if let Some(timings) = self.timings {
            timings.init_begins();
        }
        self.child = Some(spawn(&Spawn {
            program: Executable::File(init),
            arguments: &[c"init", &number],
            environment: &[],
            namespaces: self.program.clone_flags,
            keep_capabilities: self.program.id_maps.is_some() && self.program.forks == Forks::No,
            leads_group: self.program.forks != Forks::No,
            cgroup,
            descriptors: &descriptors,
            apart: None,
        })?);
        // That its end closes has to be seen here.
        self.its_end = None;
        Ok(())
    }

    /// Gives it all that it needs to be ready.
    pub(crate) fn provide(&mut self) -> Result<()> {
        let forks_first = self.program.forks == Forks::First;
        if self.program.forks == Forks::No {
            self.prepare_child()?;
        }
        if !self.plan_is_sent {
            self.send_plan()?;
        }
        if forks_first {
            self.follow(Kind::Forked)?;
            self.prepare_child()?;
            self.tell(&Message::new(Kind::Continue), &[])?;
        }
        self.send_further_sources()
    }

    /// Gives it its filter, which is compiled while it is at work. It needs it when it has nothing else left to do.
    pub(crate) fn provide_filter(&mut self) -> Result<()> {
        self.filter = self.program.filter()?;
        let Some(Filtered { program, flags, .. }) = &self.filter else { return Ok(()) };
        let message = Message { detail: (*flags).into(), ..Message::new(Kind::Filter) };
        let mut head = [0; MESSAGE_MAX];
        let length = message.encode(&mut head);
        let head = head.get(..length).unwrap_or(&head);
        match socket::send(&self.parent, &[head, program], &[]) {
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED) => self.follow(Kind::Failed),
            result => result.map_err(Error::system("sending the filter to init")),
        }
    }

    /// Whether its filter has a listener.
    pub(crate) fn has_listener(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.listener.is_some())
    }

    /// Returns when it is the process that will run the program, and has nothing else left to do.
    pub(crate) fn settle(&mut self) -> Result<()> {
        if self.program.forks != Forks::Last {
            return self.follow(Kind::Ready);
        }
        self.follow(Kind::Forked)?;
        self.prepare_child()
    }

    /// Lets it run its program, and returns when it does. `told` is what an agent is told of the container.
    pub(crate) fn run(&mut self, ignored_signals: u64, told: &Told<'_>) -> Result<()> {
        // Not before: a process with a deadline may not fork, and there is SCHED_FLAG_RESET_ON_FORK.
        self.set_scheduling()?;
        let kind = if self.program.forks == Forks::Last { Kind::Continue } else { Kind::Start };
        let message = Message { detail: ignored_signals, ..Message::new(kind) };
        let Some(Filtered { listener, .. }) = self.filter.take() else {
            self.tell(&message, &[])?;
            return self.follow(Kind::Start);
        };
        if listener.is_some() {
            self.follow(Kind::Ready)?;
        }
        let mut agent = listener.map(|to| Agent::connect(&to.path, &to.metadata)).transpose()?;
        let handover = Handover::new()?;
        self.tell(&message, &[handover.descriptor()])?;
        if let (Some(_), Some(child)) = (&agent, &self.child) {
            handover.pass_listener(self.parent.as_fd(), child.pidfd.as_fd(), child.pid, &mut agent, told)?;
        }
        self.follow(Kind::Start)?;
        match handover.failed()? {
            None => Ok(()),
            Some(Failed { step, call, errno }) => {
                let message = Message { step, call, errno: errno as i32, ..Message::new(Kind::Failed) };
                Err(step_failed(self.program, self.name, &message))
            }
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// What only the parent may do to the child, by its files in the host's procfs.
    fn prepare_child(&mut self) -> Result<()> {
        let pid = self.pid();
        if let Some(maps) = &self.program.id_maps {
            id_maps::write(pid, maps, self.program.caller)?;
        }
        if let Some(adjustment) = self.program.oom_score_adj {
            let written = write_proc(pid, "oom_score_adj", adjustment.to_string().as_bytes(), Pointer::OOM_SCORE_ADJ);
            match written {
                // Who has no rights on the host may only raise it.
                Err(error @ Error::System { errno: Errno::EACCES | Errno::EPERM, .. }) if is_limited()? => {
                    self.warnings.push(error.to_string());
                }
                written => written?,
            }
        }
        for (index, (resource, _, hard)) in self.program.rlimits.iter().enumerate() {
            limits::raise_hard(pid, *resource, *hard).map_err(|errno| Error::System {
                pointer: format!("{}/{index}", Pointer::RLIMITS),
                action: format!("raising the hard limit of {} to {}: prlimit64", rlimit(*resource), limit(*hard)),
                errno,
            })?;
        }
        Ok(())
    }

    /// Sends the plan and the first sources, which are closed then.
    fn send_plan(&mut self) -> Result<()> {
        self.plan_is_sent = true;
        let sources = std::mem::take(&mut self.sources);
        let plan = self.program.steps.bytes();
        let setup = Message { detail: plan.len() as u64, ..Message::new(Kind::Setup) };
        let mut head = [0; MESSAGE_MAX];
        let length = setup.encode(&mut head);
        let head = head.get(..length).unwrap_or(&head);
        let mut attached = descriptors(first_batch(self.program), &sources, self.container)?;
        for piece in plan.chunks(PLAN_PIECE) {
            match socket::send(&self.parent, &[head, piece], &attached) {
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED) => {
                    return self.follow(Kind::Failed);
                }
                result => result.map_err(Error::system("sending the plan to init"))?,
            }
            attached.clear();
        }
        Ok(())
    }

    /// Sends what does not fit with the plan.
    fn send_further_sources(&mut self) -> Result<()> {
        let program = self.program;
        for batch in program.sources.chunks(SOURCE_BATCH).skip(1) {
            let open = |source| {
                let first = open_source(program, source, self.container)?;
                match &mut self.made {
                    Some(made) => made.complete(source, first),
                    None => Ok(first),
                }
            };
            let sources = batch.iter().map(open).collect::<Result<Vec<_>>>()?;
            let attached = descriptors(batch, &sources, self.container)?;
            self.tell(&Message::new(Kind::Sources), &attached)?;
        }
        Ok(())
    }

    /// Sets how it is scheduled from here on: only when it is ready, for else it would have to wait for its turns.
    pub(crate) fn set_scheduling(&mut self) -> Result<()> {
        let Program { scheduler, io_priority, .. } = *self.program;
        if scheduler.is_none() && io_priority.is_none() {
            return Ok(());
        }
        self.follow(Kind::Ready)?;
        scheduling::set(self.pid(), scheduler, io_priority)
    }

    /// Sends a message to init.
    pub(crate) fn tell(&mut self, message: &Message<'_>, attached: &[RawFd]) -> Result<()> {
        match socket_send(&self.parent, message, attached) {
            // It is gone, and its last words say why.
            Err(Error::System { errno: Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED, .. }) => {
                self.follow(Kind::Failed)
            }
            result => result,
        }
    }

    /// Reads what init says until it is ready ([`Kind::Ready`]) or there is another in its place ([`Kind::Forked`]); with
    /// [`Kind::Start`] and [`Kind::Created`], until it has heard that and closed its end of the socket, by execve and before it
    /// waits; with [`Kind::Failed`], until it has said what it died of.
    pub(crate) fn follow(&mut self, until: Kind) -> Result<()> {
        if self.ready && until == Kind::Ready {
            return Ok(());
        }
        let mut buffer = [0; MESSAGE_MAX];
        let mut unread = false;
        loop {
            if until == Kind::Forked {
                self.await_word()?;
            }
            let received = socket::receive(&self.parent, &mut buffer).map_err(Error::system("receiving from init"))?;
            unread |= received.unread;
            if received.length == 0 {
                // On purpose; or it was killed. Whoever was ready and has heard Start has executed its program, or was
                // killed while it did, which is the same as killed right after.
                let heard = matches!(until, Kind::Start | Kind::Created) && self.ready && !unread;
                return if heard { Ok(()) } else { Err(self.ended()) };
            }
            let message = buffer.get(..received.length).and_then(Message::decode);
            let Some(message) = message else {
                return Err(Error::InitEnded("it said something that is no message".to_owned()));
            };
            match message.kind {
                Kind::Ready => self.ready = true,
                Kind::Failed => return Err(step_failed(self.program, self.name, &message)),
                Kind::Time if !self.ready => {
                    if let Some(timings) = self.timings {
                        timings.init_told(message.step, message.detail);
                    }
                }
                Kind::Warning => self.warnings.push(warning(self.program, &message)),
                // What comes later may be from a process of the container that has got hold of the socket.
                Kind::Console if !self.ready => self.console = received.attached,
                Kind::Network if !self.ready => self.network = received.attached,
                Kind::Forked if until == Kind::Forked => {
                    self.replace_child(message.detail, received.attached)?;
                    self.ready |= self.program.forks == Forks::Last;
                }
                Kind::Sync if until == Kind::Sync => {}
                _ => return Err(Error::InitEnded("it said what it has no reason to say".to_owned())),
            }
            if message.kind == until {
                return Ok(());
            }
        }
    }

    /// Waits until init says something, or ends. Once it has made the process that goes on in its place, the socket does not
    /// close with its end.
    fn await_word(&self) -> Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        loop {
            let mut fds = [
                PollFd::new(self.parent.as_fd(), PollFlags::POLLIN),
                PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result.map_err(Error::system("waiting for init"))?,
            };
            let [word, end] = fds.map(|fd| fd.any().unwrap_or_default());
            return if end && !word { Err(self.ended()) } else { Ok(()) };
        }
    }

    /// Follows another process from here on. The one before is about to end.
    fn replace_child(&mut self, pid: u64, pidfd: Option<OwnedFd>) -> Result<()> {
        let (Ok(pid), Some(pidfd)) = (i32::try_from(pid), pidfd) else {
            return Err(Error::InitEnded("it did not say which process goes on in its place".to_owned()));
        };
        self.replaced = true;
        match self.child.replace(Child { pid, pidfd }) {
            Some(before) => reap(&before),
            None => Ok(()),
        }
    }

    /// Ends it, and reaps it; also the process that it may have made to go on in its place, of which nobody has been told. Not
    /// reaped, that one would keep its pid namespace, and who waits for the first process in there, for ever.
    pub(crate) fn abandon(&mut self) -> Result<()> {
        let Some(child) = self.child.take() else { return Ok(()) };
        if self.replaced || self.program.forks == Forks::No {
            return kill_and_reap(&child);
        }
        // On kernels that cannot kill it, it ends since it is told nothing any more.
        socket::shut_down(&self.parent).map_err(Error::system("closing the socket to init"))?;
        pidfd::reap_group(&child.pidfd, child.pid).map_err(Error::system("waiting for init"))
    }

    /// What it has said, if it has failed or ended by now.
    pub(crate) fn last_words(&mut self) -> Option<Error> {
        let mut fds = [PollFd::new(self.parent.as_fd(), PollFlags::POLLIN)];
        let has_said = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        // One that is killed closes its socket after it has left its namespaces.
        let ends = has_said || ProcessStat::is_ending(self.pid()).unwrap_or(false);
        if ends { self.follow(Kind::Failed).err() } else { None }
    }

    /// Why it has ended.
    pub(crate) fn ended(&self) -> Error {
        let how = self.child.as_ref().map(|child| pidfd::wait(&child.pidfd, child.pid));
        Error::InitEnded(match how {
            Some(Ok(Exit::Signal(signal))) => format!("killed by signal {signal}"),
            Some(Ok(Exit::Code(status))) => format!("exit status {status}"),
            Some(Err(errno)) => format!("how cannot be told: {}", Explained(errno)),
            None => "it was never started".to_owned(),
        })
    }
}

pub(crate) fn socket_send(socket: &OwnedFd, message: &Message<'_>, attached: &[RawFd]) -> Result<()> {
    let mut buffer = [0; MESSAGE_MAX];
    let length = message.encode(&mut buffer);
    let bytes = buffer.get(..length).unwrap_or(&buffer);
    socket::send(socket, &[bytes], attached).map_err(Error::system("sending to init"))
}
