//! What a [`Program`] would do, as text and as JSON: for `no-frills plan`, golden files and errors.

mod action;
mod field;
mod names;
mod parent;
mod steps;

use std::fmt;
use std::path::Path;

use no_frills_plan::{Plan, Step, call};
use serde_json::{Map, Value, json};

use crate::compile::Program;
use field::Shown;
pub(crate) use names::{io_class, limit, rlimit, scheduling_policy};
use parent::Deed;
use steps::fields;

impl Program {
    /// All that would be done, a line for each deed, with the setting that it comes from.
    pub fn describe(&self) -> String {
        let mut text = String::from("parent\n");
        for Deed { pointer, name, fields } in self.parent() {
            let fields: Vec<String> =
                fields.into_iter().map(|field| field.text).filter(|text| !text.is_empty()).collect();
            append(&mut text, &format!("{name}({})", fields.join(", ")), pointer);
        }
        text.push_str("init\n");
        for (index, step) in self.all_steps().iter().enumerate() {
            append(&mut text, &format!("{index:3} {}", line(step)), self.pointer(index as u32));
        }
        text
    }

    /// All that would be done, as JSON.
    pub fn to_json(&self) -> Value {
        let parent = self.parent().into_iter().map(|Deed { pointer, name, fields }| {
            let mut object = Map::new();
            object.insert("name".to_owned(), name.into());
            object.insert("pointer".to_owned(), pointer.into());
            insert(&mut object, fields);
            Value::Object(object)
        });
        let init = self.all_steps().into_iter().enumerate().map(|(index, step)| {
            let calls: Vec<&str> = step.calls().iter().map(|code| call::name(*code)).collect();
            let mut object = Map::new();
            object.insert("step".to_owned(), index.into());
            object.insert("name".to_owned(), step.name().into());
            object.insert("pointer".to_owned(), self.pointer(index as u32).into());
            object.insert("bestEffort".to_owned(), step.best_effort().into());
            object.insert("calls".to_owned(), calls.into());
            insert(&mut object, fields(&step));
            Value::Object(object)
        });
        json!({ "parent": parent.collect::<Vec<_>>(), "init": init.collect::<Vec<_>>() })
    }

    fn all_steps(&self) -> Vec<Step<'_>> {
        // The plan was written by this very process, so every step of it can be read.
        Plan::decode(self.steps.bytes()).map_or_else(|_| Vec::new(), |plan| plan.steps().flatten().collect())
    }
}

/// A step as one line: its name and its fields.
fn line(step: &Step<'_>) -> String {
    let fields: Vec<String> =
        fields(step).into_iter().map(|field| field.text).filter(|text| !text.is_empty()).collect();
    format!("{}({})", step.name(), fields.join(", "))
}

fn append(text: &mut String, deed: &str, pointer: impl fmt::Display) {
    let line = format!("  {deed:<78} {pointer}");
    text.push_str(line.trim_end());
    text.push('\n');
}

fn insert(object: &mut Map<String, Value>, fields: Vec<Shown>) {
    for field in fields {
        object.insert(field.name.to_owned(), field.value);
    }
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
