//! Paths inside the container, as text: nothing is looked up.

/// An absolute path without `.`, `..` and doubled slashes. `None` when its `..` lead above the root.
/// A relative path counts from the root.
pub(super) fn clean(path: &str) -> Option<String> {
    let mut clean = String::with_capacity(path.len() + 1);
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => clean.truncate(clean.rfind('/')?),
            name => {
                clean.push('/');
                clean.push_str(name);
            }
        }
    }
    if clean.is_empty() {
        clean.push('/');
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned_as_text() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("a/b", "/a/b"),
            ("/a/..", "/"),
            ("/a/../b", "/b"),
            ("/...", "/..."),
        ] {
            assert_eq!(clean(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn a_path_does_not_lead_above_the_root() {
        for path in ["/..", "..", "/../etc", "/a/../../etc"] {
            assert_eq!(clean(path), None, "{path}");
        }
    }
}
