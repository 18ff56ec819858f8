//! The names of users.

use std::fs;
use std::io::ErrorKind;

use crate::cause::cause;

/// What /etc/passwd says of users. libc's own way would load the name service's shared libraries, which a
/// static binary cannot; runc reads the file too.
pub(crate) struct Users(String);

impl Users {
    /// Reads the file; without one there are no names.
    pub(crate) fn read() -> Result<Users, String> {
        match fs::read("/etc/passwd") {
            Ok(bytes) => Ok(Users(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Users(String::new())),
            Err(error) => Err(format!("reading /etc/passwd: {}", cause(error))),
        }
    }

    /// The name of a user, or the number, as `#1000`, if there is none.
    pub(crate) fn name(&self, uid: u32) -> String {
        let entry = self.0.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        entry.unwrap_or_else(|| format!("#{uid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Users;

    #[test]
    fn names_by_number() {
        let users = Users("root:x:0:0:root:/root:/bin/sh\nbroken\n\nann:x:1000:100::/:/bin/sh\n".to_owned());
        assert_eq!(users.name(0), "root");
        assert_eq!(users.name(1000), "ann");
        assert_eq!(users.name(100), "#100");
    }
}
