//! Messages of D-Bus and values of annotations, for the fuzz targets.

use super::message::{self, Message, SIGNAL, Value, Writer};
use super::text;

/// A message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// How many bytes it has.
    pub length: usize,
    /// The call that it answers.
    pub reply_serial: u32,
    /// What it says: interface, member and the name of an error.
    pub names: [String; 3],
    /// Its arguments, if they are of the types `uos`.
    pub arguments: Option<[String; 3]>,
}

/// The message that bytes begin with; `Ok(None)`: it is not whole, `Err`: it is none.
pub fn decode(bytes: &[u8]) -> Result<Option<Heard>, ()> {
    let Some((message, length)) = Message::decode(bytes).map_err(|message::Malformed| ())? else { return Ok(None) };
    let arguments = message.arguments("uos").ok();
    let names = [message.interface, message.member, message.error];
    Ok(Some(Heard { length, reply_serial: message.reply_serial, names, arguments }))
}

/// A signal with arguments of the types `uos`.
pub fn encode(interface: &str, member: &str, arguments: (u32, &str, &str)) -> Vec<u8> {
    let mut body = Writer::default();
    body.u32(arguments.0);
    body.string(arguments.1);
    body.string(arguments.2);
    // The codes of interface and member.
    let fields = [(2, Value::String(interface.to_owned())), (3, Value::String(member.to_owned()))];
    message::encode(SIGNAL, 7, &fields, "uos", &body)
}

/// The value of an annotation, encoded, and the code of its type.
pub fn annotation(annotation: &str) -> Option<(Vec<u8>, String)> {
    let value = text::parse(annotation)?;
    let mut body = Writer::default();
    body.value(&value);
    Some((message::encode(SIGNAL, 7, &[], "s", &body), value.signature().into_owned()))
}
