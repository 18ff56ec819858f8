//! Which name was probably meant by one that nobody knows.

/// The known name that is nearest, if one is near enough that it may be meant.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '-', '.'], "");
    let wanted = plain(name);
    // A third of the letters may be wrong: of more, nobody could say what was meant.
    let most = wanted.chars().count() / 3;
    let rated = known.map(|known| (distance(&wanted, &plain(known)), known)).filter(|(distance, _)| *distance <= most);
    rated.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// How many letters have to be changed, added, left out or swapped with the next (Damerau and Levenshtein's, restricted).
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (row, letter) in left.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut least = (at(&last, column) + usize::from(letter != other))
                .min(at(&last, column + 1) + 1)
                .min(at(&next, column) + 1);
            let is_swapped =
                row > 0 && column > 0 && left.get(row - 1) == Some(other) && right.get(column - 1) == Some(letter);
            if is_swapped {
                least = least.min(at(&before, column - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("mount", "muont", 1),
            ("network", "netwrok", 1),
            ("pid", "uts", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{left} {right}");
        }
    }

    #[test]
    fn what_was_meant() {
        let known = ["readonlyPaths", "maskedPaths", "uidMappings", "gidMappings", "path"];
        for (name, expected) in [
            ("readOnlyPaths", Some("readonlyPaths")),
            ("masked_paths", Some("maskedPaths")),
            ("maskPaths", Some("maskedPaths")),
            ("pth", Some("path")),
            ("x", None),
            ("com.example.extension", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
    }
}
