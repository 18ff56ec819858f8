//! The messages between the parent and init: one datagram each, of a fixed head and a short text.

use crate::Bytes;

/// The longest text that a [`Message`] carries; longer ones are cut.
pub const MESSAGE_TEXT_MAX: usize = 160;
/// The length of the longest encoded message.
pub const MESSAGE_MAX: usize = HEAD + MESSAGE_TEXT_MAX;
const HEAD: usize = 24;

/// What a [`Message`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To init: the first piece of the plan follows, `detail` says how long the whole is; the first
    /// sources are attached.
    Setup = 1,
    /// To init: more sources are attached.
    Sources = 2,
    /// To init: all is recorded; wait on the attached listening socket to be started. `detail` says which
    /// signals the parent ignores: bit N - 1 for signal N.
    Created = 3,
    /// To init: execute what follows [`Step::Ready`](crate::Step::Ready). `detail` as with `Created`, if there
    /// was none.
    Start = 4,
    /// From init: everything before the start is done.
    Ready = 5,
    /// From init: `step` failed in its system call `call` with `errno`; `text` may hold what the kernel added.
    Failed = 6,
    /// From init: a best-effort step could not do all; `detail` says what is missing.
    Warning = 7,
    /// From init: the master side of the terminal is attached.
    Console = 8,
    /// From init: another process goes on in its place; `detail` is its pid as the parent sees it, its pidfd is attached.
    Forked = 9,
    /// From init: [`Step::Sync`](crate::Step::Sync) is reached.
    Sync = 10,
    /// To init: go on after [`Step::Fork`](crate::Step::Fork) or [`Step::Sync`](crate::Step::Sync).
    Continue = 11,
    /// To init: the filter of [`Step::InstallFilter`](crate::Step::InstallFilter) follows, two words an instruction; `detail` is
    /// `SECCOMP_FILTER_FLAG_*`.
    Filter = 21,
    /// From init: [`Step::Time`](crate::Step::Time) number `step`, at the time of day `detail`, in nanoseconds.
    Time = 22,
    /// From init: a netlink socket of the container's network namespace is attached.
    Network = 20,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        const ALL: [Kind; 14] = [
            Kind::Setup,
            Kind::Sources,
            Kind::Created,
            Kind::Start,
            Kind::Ready,
            Kind::Failed,
            Kind::Warning,
            Kind::Console,
            Kind::Forked,
            Kind::Sync,
            Kind::Continue,
            Kind::Filter,
            Kind::Network,
            Kind::Time,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// The step of a failure before the first.
pub const BEFORE_STEPS: u32 = u32::MAX;

/// One message of the conversation between parent and init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it says.
    pub kind: Kind,
    /// Which of the step's system calls failed: a [`call`](crate::call) code.
    pub call: u8,
    /// The index of the step it is about.
    pub step: u32,
    /// The kernel's answer, 0 where there is none.
    pub errno: i32,
    /// What `kind` says it means.
    pub detail: u64,
    /// What `kind` says it means; at most [`MESSAGE_TEXT_MAX`] bytes.
    pub text: &'a [u8],
}

impl<'a> Message<'a> {
    /// A message of this kind with nothing else to say.
    pub const fn new(kind: Kind) -> Message<'static> {
        Message { kind, call: 0, step: 0, errno: 0, detail: 0, text: &[] }
    }

    /// Writes the message to `buffer` and returns how many bytes it takes.
    pub fn encode(&self, buffer: &mut [u8; MESSAGE_MAX]) -> usize {
        let [kind, call, _, _, rest @ ..] = buffer;
        *kind = self.kind as u8;
        *call = self.call;
        let mut length = 4;
        let fields = self.step.to_le_bytes().into_iter().chain(self.errno.to_le_bytes());
        let fields = fields.chain(self.detail.to_le_bytes()).chain([0; 4]);
        for (to, from) in rest.iter_mut().zip(fields.chain(self.text.iter().copied())) {
            *to = from;
            length += 1;
        }
        length
    }

    /// Reads a message; `None` when the bytes are not one.
    pub fn decode(bytes: &'a [u8]) -> Option<Message<'a>> {
        let mut reader = Bytes::new(bytes);
        let kind = Kind::from_code(reader.u8()?)?;
        let call = reader.u8()?;
        reader.take(2)?;
        let step = reader.u32()?;
        let errno = reader.i32()?;
        let detail = reader.u64()?;
        reader.take(4)?;
        let text = reader.rest();
        Some(Message { kind, call, step, errno, detail, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire() {
        let text = [b'x'; MESSAGE_TEXT_MAX];
        let message =
            Message { kind: Kind::Failed, call: 7, step: 1 << 20, errno: 38, detail: u64::MAX - 3, text: &text };
        let mut buffer = [0xff; MESSAGE_MAX];
        let length = message.encode(&mut buffer);
        assert_eq!(length, MESSAGE_MAX);
        assert_eq!(Message::decode(&buffer[..length]), Some(message));
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = [b'x'; MESSAGE_TEXT_MAX + 5];
        let mut buffer = [0; MESSAGE_MAX];
        let length = Message { text: &text, ..Message::new(Kind::Ready) }.encode(&mut buffer);
        assert_eq!(Message::decode(&buffer[..length]).unwrap().text.len(), MESSAGE_TEXT_MAX);
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        assert_eq!(Message::decode(&[]), None);
        assert_eq!(Message::decode(&[Kind::Ready as u8; HEAD - 1]), None);
        assert_eq!(Message::decode(&[0; HEAD]), None);
        assert_eq!(Message::decode(&[200; HEAD]), None);
    }
}
