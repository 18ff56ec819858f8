//! Values as annotations write them: the text form of GVariant, as far as runc and crun read it. Pure.

use super::message::{Property, Value};

/// What an annotation's name begins with.
const ANNOTATION: &str = "org.systemd.property.";
const MICROSECONDS: f64 = 1e6;

impl Property {
    /// The property of a unit that an annotation `org.systemd.property.NAME` asks for; `None`: it is another annotation.
    ///
    /// The value is one of GVariant's text format: `'text'`, `true`, `uint64 5`, `5` (an int32), `['a', 'b']`. `XSec` is taken
    /// for `XUSec`, which is what systemd knows, with a number of seconds.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn from_annotation(annotation: &str, text: &str) -> Option<Result<Property, String>> {
        let name = annotation.strip_prefix(ANNOTATION)?;
        let read = || -> Result<Property, String> {
            if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return Err(format!("{name:?} is no name of a property"));
            }
            let value = parse(text).ok_or_else(|| {
                format!("{text:?} is no value as GVariant writes it, such as 'text', true, uint64 5 or ['a', 'b']")
            })?;
            // Not USec, which needs nothing done.
            match name.strip_suffix("Sec").filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase())) {
                None => Ok(Property { name: name.to_owned(), value }),
                Some(stem) => {
                    let value = microseconds(&value).ok_or_else(|| format!("{text:?} is no number of seconds"))?;
                    Ok(Property { name: format!("{stem}USec"), value: Value::Uint64(value) })
                }
            }
        };
        Some(read())
    }
}

fn microseconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::Byte(seconds) => u64::from(*seconds),
        Value::Uint16(seconds) => u64::from(*seconds),
        Value::Uint32(seconds) => u64::from(*seconds),
        Value::Uint64(seconds) => *seconds,
        Value::Int16(seconds) => u64::try_from(*seconds).ok()?,
        Value::Int32(seconds) => u64::try_from(*seconds).ok()?,
        Value::Int64(seconds) => u64::try_from(*seconds).ok()?,
        Value::Double(seconds) if *seconds >= 0.0 => return Some((seconds * MICROSECONDS) as u64),
        _ => return None,
    };
    seconds.checked_mul(1_000_000)
}

/// Reads a whole text.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut text = text.trim();
    let value = value(&mut text)?;
    text.trim().is_empty().then_some(value)
}

fn value(text: &mut &str) -> Option<Value> {
    *text = text.trim_start();
    // `@as []`: of an empty array the type has to be told.
    if let Some(rest) = text.strip_prefix("@a") {
        let mut rest = rest.chars();
        let item = rest.next().filter(|item| "ybnqiuxtdsog".contains(*item))?;
        *text = rest.as_str();
        return array(text, Some(item));
    }
    if text.starts_with('[') {
        return array(text, None);
    }
    if text.starts_with(['\'', '"']) {
        return string(text).map(Value::String);
    }
    let end = text.find([',', ']', ' ', '\t', '\n']).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    *text = rest;
    Some(match word {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        "byte" => Value::Byte(number(text)?),
        "boolean" => Value::Boolean(number(text)?),
        "int16" => Value::Int16(number(text)?),
        "uint16" => Value::Uint16(number(text)?),
        "int32" => Value::Int32(number(text)?),
        "uint32" => Value::Uint32(number(text)?),
        "int64" => Value::Int64(number(text)?),
        "uint64" => Value::Uint64(number(text)?),
        "double" => Value::Double(number(text)?),
        "string" => Value::String(string(text)?),
        "objectpath" => Value::ObjectPath(string(text)?),
        "signature" => Value::Signature(string(text)?),
        _ if word.contains('.') => Value::Double(word.parse().ok()?),
        _ => Value::Int32(word.parse().ok()?),
    })
}

/// A number, or another word that is read as a value.
fn number<N: std::str::FromStr>(text: &mut &str) -> Option<N> {
    *text = text.trim_start();
    let end = text.find([',', ']', ' ', '\t', '\n']).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    *text = rest;
    word.parse().ok()
}

fn string(text: &mut &str) -> Option<String> {
    *text = text.trim_start();
    let mut rest = text.chars();
    let quote = rest.next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let mut string = String::new();
    loop {
        match rest.next()? {
            '\\' => string.push(match rest.next()? {
                'n' => '\n',
                't' => '\t',
                literal @ ('\\' | '\'' | '"') => literal,
                _ => return None,
            }),
            '\0' => return None,
            end if end == quote => break,
            other => string.push(other),
        }
    }
    *text = rest.as_str();
    Some(string)
}

fn array(text: &mut &str, known: Option<char>) -> Option<Value> {
    *text = text.trim_start().strip_prefix('[')?.trim_start();
    let mut items = Vec::new();
    if let Some(rest) = text.strip_prefix(']') {
        *text = rest;
        return known.map(|item| Value::Array(item, items));
    }
    loop {
        *text = text.trim_start();
        // An array of arrays is no property's; and whoever wrote it does not say how deep the stack is.
        if text.starts_with(['[', '@']) {
            return None;
        }
        items.push(value(text)?);
        *text = text.trim_start();
        if let Some(rest) = text.strip_prefix(',') {
            *text = rest;
        } else {
            *text = text.strip_prefix(']')?;
            break;
        }
    }
    // All have the first one's type.
    let first = items.first()?.signature().into_owned();
    let item = first.chars().next()?;
    let same = items.iter().all(|value| value.signature() == first) && known.is_none_or(|known| known == item);
    same.then_some(Value::Array(item, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_gvariant_writes_them() {
        let string = |text: &str| Value::String(text.to_owned());
        for (text, expected) in [
            ("'inactive-or-failed'", string("inactive-or-failed")),
            (r#" "it's" "#, string("it's")),
            (r"'it\'s'", string("it's")),
            ("true", Value::Boolean(true)),
            ("boolean false", Value::Boolean(false)),
            ("uint64 123456789", Value::Uint64(123_456_789)),
            ("uint64 18446744073709551615", Value::Uint64(u64::MAX)),
            ("int64 -5", Value::Int64(-5)),
            ("uint32 7", Value::Uint32(7)),
            ("int16 -7", Value::Int16(-7)),
            ("byte 255", Value::Byte(255)),
            ("42", Value::Int32(42)),
            ("-1", Value::Int32(-1)),
            ("1.5", Value::Double(1.5)),
            ("objectpath '/a'", Value::ObjectPath("/a".to_owned())),
            ("['a', 'b']", Value::Array('s', vec![string("a"), string("b")])),
            ("[uint32 1,uint32 2]", Value::Array('u', vec![Value::Uint32(1), Value::Uint32(2)])),
            ("@as []", Value::Array('s', Vec::new())),
            ("@as ['x']", Value::Array('s', vec![string("x")])),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for nonsense in [
            "",
            "text",
            "'open",
            "'a' 'b'",
            "uint64",
            "uint64 -1",
            "uint32 4294967296",
            "2147483648",
            "[",
            "[]",
            "['a', 1]",
            "[['a']]",
            "@au ['x']",
            "true false",
            "'\\x'",
        ] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
        // However long it is, it takes no more of the stack.
        for nonsense in ["[", "boolean ", "@a", "@as [", "'a', ["] {
            assert_eq!(parse(&nonsense.repeat(1_000_000)), None, "{nonsense}");
        }
    }

    #[test]
    fn annotations_are_properties() {
        let read = |name: &str, text: &str| Property::from_annotation(name, text);
        assert_eq!(read("org.systemd.properties.X", "1"), None);
        let property = |name: &str, value| Some(Ok(Property { name: name.to_owned(), value }));
        assert_eq!(
            read("org.systemd.property.TimeoutStopUSec", "uint64 5"),
            property("TimeoutStopUSec", Value::Uint64(5))
        );
        for (text, expected) in [("5", 5_000_000), ("uint64 1", 1_000_000), ("1.5", 1_500_000)] {
            let expected = property("TimeoutStopUSec", Value::Uint64(expected));
            assert_eq!(read("org.systemd.property.TimeoutStopSec", text), expected, "{text}");
        }
        for (name, text) in
            [("ab", "1"), ("a.b", "1"), ("TimeoutStopSec", "'x'"), ("TimeoutStopSec", "-1"), ("CollectMode", "x")]
        {
            let refused = read(&format!("org.systemd.property.{name}"), text);
            assert!(matches!(refused, Some(Err(_))), "{name} {text}");
        }
    }
}
