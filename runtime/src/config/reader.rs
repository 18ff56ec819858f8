//! A cursor over parsed JSON that knows its JSON pointer, so that every complaint can name it.
//!
//! Deliberately not serde's derive: the specification's tree is large, most of it is checked by hand
//! anyway, and derived code for all of it costs more pages than the rest of the library.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value};

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The JSON pointer (RFC 6901) of the setting; empty for the whole document.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(pointer: impl fmt::Display, message: impl Into<String>) -> ConfigError {
        ConfigError { pointer: pointer.to_string(), message: message.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            return out.write_str(&self.message);
        }
        write!(out, "{}: {}", self.pointer, self.message)
    }
}

impl std::error::Error for ConfigError {}

pub(crate) type Result<T> = std::result::Result<T, ConfigError>;

#[derive(Clone, Copy)]
enum Token<'v> {
    Document,
    Name(&'v str),
    Index(usize),
}

/// A place in the document: the way up to its root, kept on the stack.
struct Place<'v, 'p> {
    parent: Option<&'p Place<'v, 'p>>,
    token: Token<'v>,
}

impl Place<'_, '_> {
    fn write(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(out);
        }
        match self.token {
            Token::Document => {}
            Token::Name(name) => {
                out.push('/');
                out.push_str(&escape(name));
            }
            Token::Index(index) => {
                out.push('/');
                out.push_str(&index.to_string());
            }
        }
    }
}

/// A name as a JSON pointer holds it (RFC 6901, section 3).
pub(crate) fn escape(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) { name.replace('~', "~0").replace('/', "~1").into() } else { name.into() }
}

/// A value that is present (not `null`) and its place.
pub(crate) struct Node<'v, 'p> {
    value: &'v Value,
    place: Place<'v, 'p>,
}

impl<'v, 'p> Node<'v, 'p> {
    /// The whole document.
    pub(crate) fn document(value: &'v Value) -> Node<'v, 'p> {
        Node { value, place: Place { parent: None, token: Token::Document } }
    }

    pub(crate) fn pointer(&self) -> String {
        let mut pointer = String::new();
        self.place.write(&mut pointer);
        pointer
    }

    /// The place in its parent array.
    pub(crate) fn index(&self) -> u32 {
        match self.place.token {
            Token::Index(index) => u32::try_from(index).unwrap_or(u32::MAX),
            _ => 0,
        }
    }

    /// The name in its parent object.
    pub(crate) fn name(&self) -> &'v str {
        match self.place.token {
            Token::Name(name) => name,
            _ => "",
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError { pointer: self.pointer(), message: message.into() }
    }

    /// Complains about a member that is not there.
    pub(crate) fn missing(&self, name: &str) -> ConfigError {
        let mut error = self.error("required, but missing");
        error.pointer.push('/');
        error.pointer.push_str(name);
        error
    }

    fn mistyped(&self, expected: &str) -> ConfigError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.error(format!("expected {expected}, found {found}"))
    }

    fn object(&self) -> Result<&'v Map<String, Value>> {
        self.value.as_object().ok_or_else(|| self.mistyped("an object"))
    }

    /// A member of this object; `null` is as good as absent.
    pub(crate) fn member<'n>(&'n self, name: &'static str) -> Result<Option<Node<'v, 'n>>> {
        let place = Place { parent: Some(&self.place), token: Token::Name(name) };
        let value = self.object()?.get(name).filter(|value| !value.is_null());
        Ok(value.map(|value| Node { value, place }))
    }

    /// The object member `name`; an empty one is as good as absent.
    pub(crate) fn given<'n>(&'n self, name: &'static str) -> Result<Option<Node<'v, 'n>>> {
        let Some(node) = self.member(name)? else { return Ok(None) };
        Ok(if node.object()?.is_empty() { None } else { Some(node) })
    }

    /// A member that has to be there.
    pub(crate) fn required<'n>(&'n self, name: &'static str) -> Result<Node<'v, 'n>> {
        self.member(name)?.ok_or_else(|| self.missing(name))
    }

    /// All members of this object but those that are `null`, by name.
    pub(crate) fn members<'n>(&'n self) -> Result<impl Iterator<Item = Node<'v, 'n>>> {
        let members = self.object()?.iter().filter(|(_, value)| !value.is_null());
        Ok(members.map(|(name, value)| {
            let place = Place { parent: Some(&self.place), token: Token::Name(name) };
            Node { value, place }
        }))
    }

    /// The elements of this array.
    pub(crate) fn items<'n>(&'n self) -> Result<impl ExactSizeIterator<Item = Node<'v, 'n>>> {
        let items = self.value.as_array().ok_or_else(|| self.mistyped("an array"))?;
        Ok(items.iter().enumerate().map(|(index, value)| {
            let place = Place { parent: Some(&self.place), token: Token::Index(index) };
            Node { value, place }
        }))
    }

    /// A string without NUL, which no path, name or option can hold.
    pub(crate) fn text(&self) -> Result<&'v str> {
        let text = self.value.as_str().ok_or_else(|| self.mistyped("a string"))?;
        if text.contains('\0') {
            return Err(self.error("holds a NUL character"));
        }
        Ok(text)
    }

    pub(crate) fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.mistyped("a boolean"))
    }

    fn integer(&self, min: i128, max: i128) -> Result<i128> {
        let Value::Number(number) = self.value else { return Err(self.mistyped("an integer")) };
        let integer = number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from));
        let integer = integer.filter(|integer| (min..=max).contains(integer));
        integer.ok_or_else(|| self.error(format!("expected an integer from {min} to {max}, found {number}")))
    }

    pub(crate) fn unsigned(&self, max: u64) -> Result<u64> {
        // The range was checked.
        Ok(self.integer(0, max.into())? as u64)
    }

    pub(crate) fn u32(&self) -> Result<u32> {
        Ok(self.unsigned(u32::MAX.into())? as u32)
    }

    pub(crate) fn signed(&self, min: i64, max: i64) -> Result<i64> {
        Ok(self.integer(min.into(), max.into())? as i64)
    }

    /// The string member `name`; an empty one, which engines send, is as good as absent.
    pub(crate) fn text_of(&self, name: &'static str) -> Result<&'v str> {
        self.member(name)?.map_or(Ok(""), |node| node.text())
    }

    /// The string member `name`, which has to be there and not empty.
    pub(crate) fn required_text(&self, name: &'static str) -> Result<&'v str> {
        let node = self.required(name)?;
        let text = node.text()?;
        if text.is_empty() { Err(node.error("must not be empty")) } else { Ok(text) }
    }

    pub(crate) fn boolean_of(&self, name: &'static str) -> Result<bool> {
        self.member(name)?.map_or(Ok(false), |node| node.boolean())
    }

    /// Reads the elements of the array member `name`, if there is one.
    pub(crate) fn each<T>(
        &self,
        name: &'static str,
        mut read: impl FnMut(&Node<'v, '_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let Some(array) = self.member(name)? else { return Ok(Vec::new()) };
        let items = array.items()?;
        let mut all = Vec::with_capacity(items.len());
        for item in items {
            all.push(read(&item)?);
        }
        Ok(all)
    }

    pub(crate) fn texts_of(&self, name: &'static str) -> Result<Vec<String>> {
        self.each(name, |item| item.text().map(str::to_owned))
    }
}
