//! Users: who may come in with a name, and what they have to show.

use std::collections::BTreeSet;
use std::fmt;

use broker_core::scram::Verifier;

use super::problem::Problem;
use super::setting::{At, Mistake, Word};
use super::table::{Section, Table, settings};

/// The `[[user]]` tables of a file: each password among them costs about a millisecond at the
/// start.
const USERS_MAX: usize = 4_096;

/// The longest name or password that MQTT can carry, in octets.
const TEXT_BYTES_MAX: usize = 65_535;

settings! {
    /// `[[user]]`: one user of MQTT.
    pub(super) struct UserKeys {
        /// The user name.
        Live name: Option<At<UserName>> = None => "required";
        /// The password. Whoever can read the file can read it.
        Live password: Option<At<Password>> = None => "none: `verifier` is there";
        /// What is enough to check the password and does not tell it, as PostgreSQL keeps it:
        /// `SCRAM-SHA-256$iterations:salt$stored-key:server-key`, with 4096 to 32768 iterations.
        Live verifier: Option<At<Scram>> = None => "none: `password` is there";
    }
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSettings {
    /// The name.
    pub name: String,
    /// What the user has to show.
    pub secret: UserSecret,
}

/// What a user has to show.
#[derive(Clone, PartialEq, Eq)]
pub enum UserSecret {
    /// This password.
    Password(String),
    /// The password of this verifier.
    Verifier(Verifier),
}

/// Passwords stay out of logs.
impl fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "a password",
            Self::Verifier(_) => "a verifier",
        })
    }
}

/// Reads the tables, each of which is one user.
pub(super) fn users(tables: Vec<Table<'_>>, problems: &mut Vec<Problem>) -> Vec<UserSettings> {
    let mut users = Vec::new();
    let mut names = BTreeSet::new();
    for (index, mut table) in tables.into_iter().enumerate() {
        if index == USERS_MAX {
            table.wrong_itself("there are too many users", format!("keep at most {USERS_MAX}"));
        }
        let UserKeys { name, password, verifier } = UserKeys::read(&mut table);
        let name = table.require("name", name, "write name = \"USER NAME\"");
        let secret = match (password, verifier) {
            (Some(password), None) => Some(UserSecret::Password(password.value.0)),
            (None, Some(verifier)) => Some(UserSecret::Verifier(verifier.value.0)),
            (Some(_), Some(At { at, .. })) => {
                let what = "there is a password, too";
                table.wrong(at, "verifier", what, "leave one of the two out");
                None
            }
            (None, None) => {
                let right = "write password = \"…\" or verifier = \"SCRAM-SHA-256$…\"";
                table.require("password", None::<()>, right);
                None
            }
        };
        if let Some(At { at, value: UserName(name) }) = name {
            if !names.insert(name.clone()) {
                let what = format!("\"{name}\" stands in another [[user]]");
                table.wrong(at, "name", what, "drop one of the two");
            }
            users.extend(secret.map(|secret| UserSettings { name, secret }));
        }
        problems.extend(table.finish());
    }
    users
}

/// A name that a client can say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserName(String);

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for UserName {
    fn expected() -> String {
        "a user name".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            let right = "write a name of 1 to 65535 bytes without U+0000";
            return Err(Mistake::new("this cannot be a user name", right));
        }
        Ok(Self(text.into()))
    }
}

/// A password that a client can say.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a password")
    }
}

impl fmt::Display for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Word for Password {
    fn expected() -> String {
        "a password".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            let right = "write a password of 1 to 65535 bytes";
            return Err(Mistake::new("this cannot be a password", right));
        }
        Ok(Self(text.into()))
    }
}

/// A verifier as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scram(Verifier);

impl fmt::Display for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Word for Scram {
    fn expected() -> String {
        "a verifier".into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let mistake = |error| Mistake::new("this is no verifier", format!("{error}"));
        Verifier::parse(text).map(Self).map_err(mistake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn problems(text: &str) -> String {
        match Config::parse("gw.toml", text) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn a_user_has_a_password_or_a_verifier() {
        let verifier = Verifier::derive(b"pencil", b"salt", 4_096);
        let text = format!(
            "[[user]]\nname = \"a\"\npassword = \"pencil\"\n\
             [[user]]\nname = \"b\"\nverifier = \"{verifier}\"\n"
        );
        let config = Config::parse("gw.toml", &text).expect("it is good");
        let secrets = [UserSecret::Password("pencil".into()), UserSecret::Verifier(verifier)];
        let expect = ["a", "b"].into_iter().zip(secrets);
        let expect = expect.map(|(name, secret)| UserSettings { name: name.into(), secret });
        assert_eq!(config.users, expect.collect::<Vec<_>>());
        assert!(!format!("{config:?}").contains("pencil"), "passwords stay out of logs");
    }

    #[test]
    fn what_is_wrong_with_a_user_is_told_without_the_password() {
        for (text, expect) in [
            ("password = \"pencil\"", "user.name: [[user]] needs this key"),
            ("name = \"a\"", "user.password: [[user]] needs this key"),
            ("name = \"\"\npassword = \"pencil\"", "user.name: this cannot be a user name"),
            ("name = \"a\"\npassword = \"\"", "user.password: this cannot be a password"),
            ("name = \"a\"\nverifier = \"x\"", "user.verifier: this is no verifier"),
            (
                "name = \"a\"\npassword = \"pencil\"\n[[user]]\nname = \"a\"\npassword = \"pencil\"",
                "user.name: \"a\" stands in another [[user]]",
            ),
        ] {
            let problems = problems(&format!("[[user]]\n{text}\n"));
            assert!(problems.contains(expect), "{problems}");
            assert!(!problems.contains("pencil"), "{problems}");
        }
    }

    #[test]
    fn both_are_one_too_many() {
        let verifier = Verifier::derive(b"pencil", b"salt", 4_096);
        let text =
            format!("[[user]]\nname = \"a\"\npassword = \"pencil\"\nverifier = \"{verifier}\"\n");
        assert!(problems(&text).contains("user.verifier: there is a password, too"));
    }
}
