//! How steps become bytes and come back: little-endian integers; a text is its length, its bytes and
//! a NUL, so that init hands it to the kernel in place.

use crate::Step;

/// The first bytes of every plan.
pub(crate) const MAGIC: [u8; 4] = *b"NFPL";
/// Magic, number of steps.
pub(crate) const HEAD: usize = 8;

/// Why bytes are not a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The index of the step that cannot be read.
    pub step: u32,
}

/// A reader over encoded bytes. Every method returns `None` when they do not suffice.
#[derive(Clone, Debug)]
pub struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// Starts at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes { rest: bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next four bytes, signed.
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// What a step's field can be.
pub(crate) trait Field<'a>: Sized {
    #[cfg(feature = "encode")]
    fn put(&self, out: &mut alloc::vec::Vec<u8>);
    fn take(reader: &mut Bytes<'a>) -> Option<Self>;
}

macro_rules! integer_fields {
    ($($integer:ident),*) => {$(
        impl<'a> Field<'a> for $integer {
            #[cfg(feature = "encode")]
            fn put(&self, out: &mut alloc::vec::Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(reader: &mut Bytes<'a>) -> Option<Self> {
                reader.$integer()
            }
        }
    )*};
}
integer_fields!(u8, u32, i32, u64);

/// A text without NUL bytes: a path, a name, an option.
///
/// In a decoded plan a NUL follows the text, so that its address serves as a C string.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// Takes a text; it ends before its first NUL, as the kernel would read it. Callers refuse NULs
    /// long before.
    pub fn new(text: &'a [u8]) -> Text<'a> {
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Text(text.get(..end).unwrap_or(text))
    }

    /// The text without the NUL.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text from one of its bytes on; all of it when it is not that long.
    #[must_use]
    pub fn after(self, start: usize) -> Text<'a> {
        Text(self.0.get(start..).unwrap_or(self.0))
    }
}

impl core::fmt::Debug for Text<'_> {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "\"{}\"", self.0.escape_ascii())
    }
}

impl<'a> Field<'a> for Text<'a> {
    #[cfg(feature = "encode")]
    fn put(&self, out: &mut alloc::vec::Vec<u8>) {
        (self.0.len() as u32).put(out);
        out.extend_from_slice(self.0);
        out.push(0);
    }
    fn take(reader: &mut Bytes<'a>) -> Option<Self> {
        let length = reader.u32()? as usize;
        let text = reader.take(length)?;
        let terminated = reader.u8()? == 0 && !text.contains(&0);
        terminated.then_some(Text(text))
    }
}

/// A list of 32-bit numbers (group ids).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// Takes numbers as little-endian bytes; what is left over of a number is dropped.
    pub fn new(bytes: &'a [u8]) -> Words<'a> {
        Words(bytes.get(..bytes.len() / 4 * 4).unwrap_or(bytes))
    }

    /// How many they are.
    pub fn count(self) -> usize {
        self.0.len() / 4
    }

    /// The numbers as little-endian bytes, on every supported machine those of an array of `u32`.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The numbers.
    pub fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.0.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word))
    }
}

impl<'a> Field<'a> for Words<'a> {
    #[cfg(feature = "encode")]
    fn put(&self, out: &mut alloc::vec::Vec<u8>) {
        (self.count() as u32).put(out);
        out.extend_from_slice(self.0);
    }
    fn take(reader: &mut Bytes<'a>) -> Option<Self> {
        let count = reader.u32()? as usize;
        reader.take(count.checked_mul(4)?).map(Words)
    }
}

/// A list of texts (arguments, environment), one after the other, each with its NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Texts<'a> {
    /// Takes texts that lie one after the other, each with its NUL.
    pub fn new(bytes: &'a [u8]) -> Texts<'a> {
        let count = bytes.iter().filter(|byte| **byte == 0).count() as u32;
        Texts { count, bytes }
    }

    /// How many they are.
    pub fn count(self) -> usize {
        self.count as usize
    }

    /// The texts.
    pub fn iter(self) -> impl Iterator<Item = Text<'a>> {
        self.bytes.split_inclusive(|byte| *byte == 0).map(Text::new)
    }
}

impl<'a> Field<'a> for Texts<'a> {
    #[cfg(feature = "encode")]
    fn put(&self, out: &mut alloc::vec::Vec<u8>) {
        (self.bytes.len() as u32).put(out);
        out.extend_from_slice(self.bytes);
    }
    fn take(reader: &mut Bytes<'a>) -> Option<Self> {
        let length = reader.u32()? as usize;
        let texts = Texts::new(reader.take(length)?);
        let whole = texts.bytes.last().is_none_or(|last| *last == 0);
        whole.then_some(texts)
    }
}

/// An encoded plan.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    count: u32,
    steps: &'a [u8],
}

impl<'a> Plan<'a> {
    /// Reads a plan's head.
    ///
    /// # Errors
    /// When the bytes do not begin as a plan does.
    pub fn decode(bytes: &'a [u8]) -> Result<Plan<'a>, DecodeError> {
        let mut reader = Bytes::new(bytes);
        let head = (|| {
            let magic = reader.take(MAGIC.len())?;
            let count = reader.u32()?;
            (magic == MAGIC).then_some(count)
        })();
        let count = head.ok_or(DecodeError { step: 0 })?;
        Ok(Plan { count, steps: reader.rest() })
    }

    /// The steps in order.
    pub fn steps(&self) -> Steps<'a> {
        Steps { reader: Bytes::new(self.steps), next: 0, count: self.count }
    }

    /// How many steps there are.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// The steps of a [`Plan`]; ends after the first that cannot be read.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    reader: Bytes<'a>,
    next: u32,
    count: u32,
}

impl<'a> Iterator for Steps<'a> {
    type Item = Result<Step<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.count {
            return None;
        }
        let step = self.next;
        match Step::decode(&mut self.reader) {
            Some(decoded) => {
                self.next += 1;
                Some(Ok(decoded))
            }
            None => {
                self.next = self.count;
                Some(Err(DecodeError { step }))
            }
        }
    }
}
