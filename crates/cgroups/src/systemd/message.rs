//! Messages of D-Bus, as far as systemd's manager needs them: calls out, replies and signals in. Pure.
//!
//! D-Bus Specification, "Marshaling (Wire Format)" and "Message Format".

use std::borrow::Cow;

/// A message that is longer is none of those that are waited for.
const LONGEST: usize = 1 << 20;
const PROTOCOL: u8 = 1;
const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };

const CALL: u8 = 1;
/// The answer to a call.
pub(super) const REPLY: u8 = 2;
/// The answer to a call that failed.
pub(super) const ERROR: u8 = 3;
/// Told without having been asked for.
pub(super) const SIGNAL: u8 = 4;

/// Codes of header fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// A value of a basic type, or an array of such.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Value {
    Byte(u8),
    Boolean(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
    ObjectPath(String),
    Signature(String),
    /// The code of the type of its items, and these.
    Array(char, Vec<Value>),
}

impl Value {
    /// The code of its type.
    pub(super) fn signature(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Value::Byte(_) => "y",
            Value::Boolean(_) => "b",
            Value::Int16(_) => "n",
            Value::Uint16(_) => "q",
            Value::Int32(_) => "i",
            Value::Uint32(_) => "u",
            Value::Int64(_) => "x",
            Value::Uint64(_) => "t",
            Value::Double(_) => "d",
            Value::String(_) => "s",
            Value::ObjectPath(_) => "o",
            Value::Signature(_) => "g",
            Value::Array(item, _) => return Cow::Owned(format!("a{item}")),
        })
    }
}

/// A property of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name, as `MemoryMax`.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// What is written, aligned as counted from its beginning.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend_from_slice(&bytes);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.number(value.to_ne_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u32(value.into());
    }

    pub(super) fn string(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// `item` writes the items, which are aligned to so many bytes.
    fn array(&mut self, alignment: usize, items: impl FnOnce(&mut Writer)) {
        self.u32(0);
        let length_at = self.bytes.len() - 4;
        self.align(alignment);
        let begin = self.bytes.len();
        items(self);
        let length = (self.bytes.len() - begin) as u32;
        if let Some(place) = self.bytes.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }

    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(value) => self.bytes.push(*value),
            Value::Boolean(value) => self.bool(*value),
            Value::Int16(value) => self.number(value.to_ne_bytes()),
            Value::Uint16(value) => self.number(value.to_ne_bytes()),
            Value::Int32(value) => self.number(value.to_ne_bytes()),
            Value::Uint32(value) => self.u32(*value),
            Value::Int64(value) => self.number(value.to_ne_bytes()),
            Value::Uint64(value) => self.number(value.to_ne_bytes()),
            Value::Double(value) => self.number(value.to_ne_bytes()),
            Value::String(text) | Value::ObjectPath(text) => self.string(text),
            Value::Signature(text) => self.signature(text),
            Value::Array(item, items) => {
                let alignment = match item {
                    'y' | 'g' => 1,
                    'n' | 'q' => 2,
                    'x' | 't' | 'd' => 8,
                    _ => 4,
                };
                self.array(alignment, |writer| items.iter().for_each(|item| writer.value(item)));
            }
        }
    }

    fn variant(&mut self, value: &Value) {
        self.signature(&value.signature());
        self.value(value);
    }

    /// `a(sv)`.
    pub(super) fn properties<'p>(&mut self, properties: impl IntoIterator<Item = &'p Property>) {
        self.array(8, |writer| {
            for Property { name, value } in properties {
                writer.align(8);
                writer.string(name);
                writer.variant(value);
            }
        });
    }

    /// `a(sa(sv))` without items: further units.
    pub(super) fn no_units(&mut self) {
        self.array(8, |_| {});
    }
}

/// A call of a method.
pub(super) struct Call<'a> {
    pub(super) destination: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// The types of the arguments.
    pub(super) signature: &'a str,
    pub(super) body: Writer,
}

impl Call<'_> {
    pub(super) fn encode(self, serial: u32) -> Vec<u8> {
        let object = |text: &str| Value::ObjectPath(text.to_owned());
        let string = |text: &str| Value::String(text.to_owned());
        let mut fields = vec![
            (field::PATH, object(self.path)),
            (field::MEMBER, string(self.member)),
            (field::INTERFACE, string(self.interface)),
        ];
        fields.extend(self.destination.map(|name| (field::DESTINATION, string(name))));
        encode(CALL, serial, &fields, self.signature, &self.body)
    }
}

/// A message with these header fields, and that of the arguments' types.
pub(super) fn encode(kind: u8, serial: u32, fields: &[(u8, Value)], signature: &str, body: &Writer) -> Vec<u8> {
    let mut message = Writer { bytes: vec![ENDIAN, kind, 0, PROTOCOL] };
    message.u32(body.bytes.len() as u32);
    message.u32(serial);
    let types = (!signature.is_empty()).then(|| (field::SIGNATURE, Value::Signature(signature.to_owned())));
    message.array(8, |writer| {
        for (code, value) in fields.iter().chain(&types) {
            writer.align(8);
            writer.bytes.push(*code);
            writer.variant(value);
        }
    });
    message.align(8);
    message.bytes.extend_from_slice(&body.bytes);
    message.bytes
}

/// A message that came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// The call that it answers.
    pub(super) reply_serial: u32,
    pub(super) interface: String,
    pub(super) member: String,
    pub(super) error: String,
    signature: String,
    body: Vec<u8>,
}

/// What came is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Message {
    /// The message that `bytes` begin with, and its length; `None` while it is not whole.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, Malformed> {
        let Some((fixed, _)) = bytes.split_first_chunk::<16>() else { return Ok(None) };
        if (fixed[0], fixed[3]) != (ENDIAN, PROTOCOL) {
            return Err(Malformed);
        }
        let mut reader = Reader { bytes, at: 4 };
        let (body, _serial, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (body, fields) = (body as usize, fields as usize);
        let header = fields.saturating_add(16).checked_next_multiple_of(8).ok_or(Malformed)?;
        let length = header.saturating_add(body);
        if length > LONGEST {
            return Err(Malformed);
        }
        let Some(whole) = bytes.get(..length) else { return Ok(None) };
        let mut message = Message { kind: fixed[1], ..Message::default() };
        let mut reader = Reader { bytes: whole.get(..16 + fields).ok_or(Malformed)?, at: 16 };
        while reader.at < 16 + fields {
            reader.align(8);
            let code = reader.u8()?;
            match (code, reader.signature()?.as_str()) {
                (field::REPLY_SERIAL, "u") => message.reply_serial = reader.u32()?,
                (field::SIGNATURE, "g") => message.signature = reader.signature()?,
                (field::INTERFACE, "s") => message.interface = reader.string()?,
                (field::MEMBER, "s") => message.member = reader.string()?,
                (field::ERROR_NAME, "s") => message.error = reader.string()?,
                (_, "s" | "o") => drop(reader.string()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.u32()?),
                _ => return Err(Malformed),
            }
        }
        message.body = whole.get(header..).ok_or(Malformed)?.to_vec();
        Ok(Some((message, length)))
    }

    /// The arguments, if they are strings and numbers of these types; as texts.
    pub(super) fn arguments<const N: usize>(&self, signature: &str) -> Result<[String; N], Malformed> {
        if !self.signature.starts_with(signature) {
            return Err(Malformed);
        }
        let mut reader = Reader { bytes: &self.body, at: 0 };
        let mut arguments = [const { String::new() }; N];
        for (place, code) in arguments.iter_mut().zip(signature.bytes()) {
            *place = if code == b'u' { reader.u32()?.to_string() } else { reader.string()? };
        }
        Ok(arguments)
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4);
        self.take(4)?.try_into().map(u32::from_ne_bytes).map_err(|_| Malformed)
    }

    fn text(&mut self, length: usize) -> Result<String, Malformed> {
        let text = str::from_utf8(self.take(length)?).map_err(|_| Malformed)?.to_owned();
        if self.u8()? == 0 { Ok(text) } else { Err(Malformed) }
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let length = self.u32()?;
        self.text(length as usize)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let length = self.u8()?;
        self.text(length.into())
    }
}
