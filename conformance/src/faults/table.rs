//! The table: how many points, and what was wrong at how many of them, by command and by fault.

use std::collections::BTreeMap;

use super::fault::{FAULTS, Fault};
use super::point::{WRONGS, Wrong};
use super::scenario::SCENARIOS;

/// The sums of a row.
#[derive(Clone, Debug, Default)]
struct Row {
    points: usize,
    missed: usize,
    wrong: BTreeMap<Wrong, usize>,
}

impl Row {
    fn add(&mut self, hit: bool, wrong: &[Wrong]) {
        self.points += 1;
        self.missed += usize::from(!hit);
        for wrong in wrong {
            *self.wrong.entry(*wrong).or_default() += 1;
        }
    }

    fn print(&self, name: &str) -> String {
        let wrong = WRONGS.map(|wrong| self.wrong.get(&wrong).copied().unwrap_or_default().to_string());
        format!("| {name} | {} | {} | {} |\n", self.points, wrong.join(" | "), self.missed)
    }
}

/// All rows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    commands: BTreeMap<&'static str, Row>,
    faults: BTreeMap<String, Row>,
    all: Row,
}

impl Table {
    /// Counts a point, and each thing that is wrong with it once.
    pub(crate) fn add(&mut self, command: &'static str, fault: Fault, hit: bool, wrong: &[Wrong]) {
        self.commands.entry(command).or_default().add(hit, wrong);
        self.faults.entry(fault.to_string()).or_default().add(hit, wrong);
        self.all.add(hit, wrong);
    }

    /// Whether something is wrong anywhere.
    pub(crate) fn is_bad(&self) -> bool {
        !self.all.wrong.is_empty()
    }

    /// In Markdown.
    pub(crate) fn print(&self) -> String {
        let names = WRONGS.map(Wrong::name).join(" | ");
        let mut text = format!("| | points | {names} | not reached |\n|---|{}\n", "---:|".repeat(WRONGS.len() + 2));
        let mut commands: Vec<&str> = SCENARIOS.iter().map(super::scenario::Scenario::command).collect();
        commands.dedup();
        for (index, command) in commands.iter().enumerate() {
            let again = commands.iter().take(index).any(|before| before == command);
            if let Some(row) = self.commands.get(command).filter(|_| !again) {
                text.push_str(&row.print(&format!("`{command}`")));
            }
        }
        for fault in FAULTS {
            if let Some(row) = self.faults.get(&fault.to_string()) {
                text.push_str(&row.print(&fault.to_string()));
            }
        }
        text.push_str(&self.all.print("**all**"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Table, Wrong};

    #[test]
    fn a_point_counts_in_its_rows_and_in_the_sum() {
        let mut table = Table::default();
        table.add("create", Fault::Kill, true, &[]);
        assert!(!table.is_bad());
        table.add("run", Fault::Kill, false, &[Wrong::Left, Wrong::Hang]);
        assert!(table.is_bad());
        let text = table.print();
        assert!(text.contains("| `create` | 1 | 0 | 0 | 0 | 0 | 0 | 0 |"), "{text}");
        assert!(text.contains("| KILL | 2 | 1 | 1 | 0 | 0 | 0 | 1 |"), "{text}");
        assert!(text.contains("| **all** | 2 | 1 | 1 | 0 | 0 | 0 | 1 |"), "{text}");
    }
}
