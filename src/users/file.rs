//! The users file: TOML, one `[user.<name>]` each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Email, User, Users, UsersError};
use crate::built_in::parse_table;
use crate::clock::Clock;

impl Users {
    /// The directory in a users file.
    ///
    /// # Errors
    /// [`UsersError`]; passwords and their hashes are never in it.
    pub fn from_file(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, UsersError> {
        Self::new(read(&std::fs::read_to_string(path).map_err(UsersError::Unreadable)?)?, clock)
    }

    /// Reads the users file again. Where anything is wrong with it, the people before stay (A33).
    ///
    /// # Errors
    /// As [`Users::from_file`].
    pub fn reload(&self, path: &Path) -> Result<(), UsersError> {
        self.replace(read(&std::fs::read_to_string(path).map_err(UsersError::Unreadable)?)?)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersFile {
    #[serde(default)]
    user: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Required: a `sub` derived from the name would pass to the next user of that name (CVE-2026-55670).
    sub: String,
    password: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    email_verified: bool,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: Map<String, Value>,
    #[serde(default)]
    disabled: bool,
}

fn read(text: &str) -> Result<Vec<User>, UsersError> {
    let wrong = |key: String, problem: &str| UsersError::Wrong { key, problem: problem.to_owned() };
    // a parser's message may quote the line, and a line may hold a hash
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        wrong(format!("line {}", before.matches('\n').count() + 1), e.message().trim_end())
    })?;
    let file: UsersFile = parse_table(table).map_err(|e| wrong(e.key, &e.problem))?;
    file.user
        .into_iter()
        .map(|(name, entry)| {
            let at = |key: &str| format!("user.{name}{key}");
            Ok(User {
                name: name.parse().map_err(|problem| wrong(at(""), problem))?,
                sub: entry.sub.into(),
                password: entry.password.parse().map_err(|problem| wrong(at(".password"), problem))?,
                display_name: entry.display_name,
                email: entry.email.map(|address| Email { address, verified: entry.email_verified }),
                groups: entry.groups,
                claims: entry.claims,
                disabled: entry.disabled,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;
    use crate::secret::Secret;
    use crate::users::hash_password;

    #[test]
    fn a_users_file_is_read_whole() {
        let hash = hash_password(&Secret::new("correct horse")).unwrap();
        let text = format!(
            r#"
            [user.alice]
            sub = "7d1c"
            password = "{hash}"
            display_name = "Alice Doe"
            email = "alice@example.com"
            email_verified = true
            groups = ["finance", "staff"]
            claims = {{ department = "finance" }}
            [user."Bob@Example.com"]
            sub = "91ab"
            password = "{hash}"
            disabled = true
            "#
        );
        let users = read(&text).unwrap();
        let [bob, alice] = users.as_slice() else { panic!("{users:?}") };
        assert_eq!((alice.name.as_str(), &*alice.sub), ("alice", "7d1c"));
        assert_eq!(alice.email, Some(Email { address: "alice@example.com".into(), verified: true }));
        assert_eq!(
            (&*alice.groups, &alice.claims["department"]),
            (&["finance".into(), "staff".into()][..], &json!("finance"))
        );
        assert_eq!((bob.name.as_str(), bob.disabled), ("bob@example.com", true));
    }

    #[test]
    fn errors_name_the_key_and_no_hash() {
        let cases = [
            ("[user.alice]\npassword = \"$argon2id$canary\"", "user.alice"),
            ("[user.alice]\nsub = \"1\"\npassword = \"$argon2id$canary\"", "user.alice.password"),
            ("[user.alice]\nsub = \"1\"\npassword = \"$argon2id$canary\"\nadmin = true", "user.alice.admin"),
            ("[user.\"al ice\"]\nsub = \"1\"\npassword = \"$argon2id$canary\"", "user.al ice"),
            ("[user.alice]\nsub = \"1\"\npassword = \"$argon2id$canary", "line 3"),
            ("[users.alice]", "users"),
        ];
        for (text, expected) in cases {
            let wrong = read(text).unwrap_err();
            assert!(matches!(&wrong, UsersError::Wrong { key, .. } if key == expected), "{wrong}");
            assert!(!format!("{wrong:?}").contains("canary"), "{wrong:?}");
        }
    }

    #[test]
    fn a33_a_bad_file_changes_nothing() {
        let hash = hash_password(&Secret::new("correct horse")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        std::fs::write(&path, format!("[user.alice]\nsub = \"1\"\npassword = \"{hash}\"")).unwrap();
        let users = Users::from_file(&path, Arc::new(ManualClock::at(0))).unwrap();
        std::fs::write(&path, "[user.alice]\nsub = 1").unwrap();
        assert!(users.reload(&path).is_err());
        assert!(users.active("1").is_some());
        std::fs::write(&path, "").unwrap();
        users.reload(&path).unwrap();
        assert!(users.active("1").is_none());
    }
}
