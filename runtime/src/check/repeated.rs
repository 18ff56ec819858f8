//! What is there twice.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::Report;
use crate::config::escape;

/// Names that an object has twice: the last one counts, here and in Go, and the others are as good as not there.
pub(super) fn names(bytes: &[u8], report: &mut Report) {
    let mut twice = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Names { at: String::new(), twice: &mut twice }.deserialize(&mut reader);
    // It was parsed before.
    if read.is_ok() {
        for pointer in twice {
            report.warning(pointer, "there twice: only the last one counts");
        }
    }
}

struct Names<'t> {
    at: String,
    twice: &'t mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! nothing_in {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _value: $type) -> Result<(), E> { Ok(()) })*
    };
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    nothing_in!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut index = 0;
        while items.next_element_seed(Names { at: format!("{}/{index}", self.at), twice: &mut *self.twice })?.is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut seen: BTreeMap<String, bool> = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            let at = format!("{}/{}", self.at, escape(&name));
            if let Some(is_told) = seen.get_mut(&name) {
                if !std::mem::replace(is_told, true) {
                    self.twice.push(at.clone());
                }
            } else {
                seen.insert(name, false);
            }
            members.next_value_seed(Names { at, twice: &mut *self.twice })?;
        }
        Ok(())
    }
}

/// Items of lists that are there twice, where that is no error.
pub(super) fn items(document: &Value, report: &mut Report) {
    let same = |value: &Value| value.as_str().map(str::to_owned);
    let member =
        |name: &'static str| move |value: &Value| Some(value.get(name)?.as_str()?.trim_end_matches('/').to_owned());
    let number = |value: &Value| value.as_u64().map(|number| number.to_string());
    let variable = |value: &Value| Some(value.as_str()?.split_once('=')?.0.to_owned());
    twice(
        document,
        "/mounts",
        &member("destination"),
        "is mounted over what an earlier mount has at the same destination",
        report,
    );
    twice(document, "/linux/devices", &member("path"), "takes the place of an earlier device of the same path", report);
    twice(document, "/process/env", &variable, "is set twice: only the last one counts", report);
    twice(document, "/process/user/additionalGids", &number, "there twice", report);
    for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        twice(document, list, &same, "there twice", report);
    }
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        twice(document, &format!("/process/capabilities/{set}"), &same, "there twice", report);
    }
}

fn twice(document: &Value, list: &str, key: &dyn Fn(&Value) -> Option<String>, message: &str, report: &mut Report) {
    let items = document.pointer(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut first: BTreeMap<String, usize> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        // A second mount at a place may be meant: one that changes the first.
        let is_remount = item
            .get("options")
            .and_then(Value::as_array)
            .is_some_and(|options| options.iter().any(|option| option == "remount"));
        let Some(key) = key(item).filter(|_| !is_remount) else { continue };
        match first.get(&key) {
            Some(earlier) => report.warning(format!("{list}/{index}"), format!("{message} ({list}/{earlier})")),
            None => {
                first.insert(key, index);
            }
        }
    }
}
