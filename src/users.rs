//! The built-in directory: people, their passwords, groups and claims.
//!
//! It is made in code (the demo) or from a users file, and is exchanged whole when the file is read again. Names are
//! canonical: `Alice` and `alice ` are one user with one counter of failures (A31).

mod attempts;
mod file;
mod password;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::secret::Secret;
use attempts::Attempts;
use password::Verifier;

pub use password::{PasswordHash, hash_password};

/// One person.
#[derive(Clone, Debug)]
pub struct User {
    /// What they type to sign in.
    pub name: UserName,
    /// Their stable identifier, the `sub` of tokens. It stays when the name changes, and must never be given to someone
    /// else, least of all to a later user of the same name (CVE-2026-55670).
    pub sub: Arc<str>,
    /// The hash of their password.
    pub password: PasswordHash,
    /// How pages and the claim `name` call them.
    pub display_name: Option<String>,
    /// Their e-mail address.
    pub email: Option<Email>,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// Claims beyond the standard ones, such as `department`.
    pub claims: Map<String, Value>,
    /// A disabled user neither signs in nor keeps what is refreshed.
    pub disabled: bool,
}

/// An e-mail address and whether it is known to be theirs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Email {
    /// The address.
    pub address: String,
    /// The claim `email_verified`.
    pub verified: bool,
}

/// A user's name in its one canonical form: 1 to 64 of `a-z 0-9 . _ @ + -`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserName(Arc<str>);

/// The directory.
pub struct Users {
    people: ArcSwap<People>,
    attempts: Attempts,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
}

/// Why someone is not signed in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignInError {
    /// Name or password is wrong, or the user is disabled; which of them is nobody's business.
    #[error("name or password is wrong")]
    Wrong,
    /// Too many failures for this name or from this address.
    #[error("too many failed attempts; the next is possible in {} s", wait.as_secs())]
    TooMany {
        /// Until the next attempt is looked at.
        wait: Duration,
    },
    /// More attempts are waiting than we hash passwords for.
    #[error("too many sign-ins at once")]
    Busy,
}

/// Why these people are no directory.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The users file can't be read.
    #[error("the users file can't be read")]
    Unreadable(#[source] std::io::Error),
    /// Something in it is wrong; `key` is dotted, as in `user.alice.sub`.
    #[error("`{key}`: {problem}")]
    Wrong {
        /// Where.
        key: String,
        /// What, and what was expected.
        problem: String,
    },
}

impl Users {
    /// A directory of these people.
    ///
    /// # Errors
    /// Two users of one name or one `sub`, a `sub` that can't be one, a claim that is the provider's to make.
    pub fn new(people: Vec<User>, clock: Arc<dyn Clock>) -> Result<Self, UsersError> {
        let people = ArcSwap::from_pointee(People::new(people)?);
        Ok(Self { people, attempts: Attempts::default(), verifier: Verifier::default(), clock })
    }

    /// Puts these people in place of those before, all at once. Counters of failures stay.
    ///
    /// # Errors
    /// As [`Users::new`]; the people before stay.
    pub fn replace(&self, people: Vec<User>) -> Result<(), UsersError> {
        self.people.store(Arc::new(People::new(people)?));
        Ok(())
    }

    /// Puts the people of another directory in place of those before, all at once. Counters of failures stay.
    pub fn take_over(&self, others: &Self) {
        self.people.store(others.people.load_full());
    }

    /// The user of this `sub`, unless disabled.
    pub fn active(&self, sub: &str) -> Option<Arc<User>> {
        self.people.load().by_sub.get(sub).filter(|user| !user.disabled).map(Arc::clone)
    }

    /// The canonical form of a name that somebody has.
    pub fn known(&self, name: &str) -> Option<UserName> {
        name.parse().ok().filter(|name| self.people.load().by_name.contains_key(name))
    }

    /// How many users there are.
    pub fn count(&self) -> usize {
        self.people.load().by_name.len()
    }

    /// Checks name and password of someone at `from`.
    ///
    /// An attempt counts as failed from its start until it has succeeded, so that neither many at once nor ones that
    /// are broken off are free. A name that nobody has costs as much time as one that somebody has (A31).
    ///
    /// # Errors
    /// [`SignInError`]; the same for an unknown name, a wrong password and a disabled user.
    pub async fn sign_in(&self, name: &str, password: Secret, from: IpAddr) -> Result<Arc<User>, SignInError> {
        let name = name.parse::<UserName>().ok();
        self.attempts.begin(name.as_ref(), from, self.clock.now()).map_err(|wait| SignInError::TooMany { wait })?;
        let people = self.people.load_full();
        let user = name.as_ref().and_then(|name| people.by_name.get(name));
        let hash = user.map_or(&people.decoy, |user| &user.password);
        let Some(matches) = self.verifier.verify(password, hash).await else {
            self.attempts.withdraw(name.as_ref(), from);
            return Err(SignInError::Busy);
        };
        match user {
            Some(user) if matches && !user.disabled => {
                self.attempts.succeeded(&user.name, from);
                Ok(Arc::clone(user))
            }
            _ => Err(SignInError::Wrong),
        }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl UserName {
    /// The canonical name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // ASCII only, so that lower case is all there is to do: no two names look alike and differ (CVE-2025-6004 class)
        let name = text.trim().to_ascii_lowercase();
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._@+-".contains(&c);
        if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
            Ok(Self(name.into()))
        } else {
            Err("a user name is 1 to 64 of the characters a-z 0-9 . _ @ + -")
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All users at one moment.
struct People {
    by_name: HashMap<UserName, Arc<User>>,
    by_sub: HashMap<Arc<str>, Arc<User>>,
    /// Costs what a user's hash costs, and matches nothing.
    decoy: PasswordHash,
}

impl People {
    fn new(users: Vec<User>) -> Result<Self, UsersError> {
        let decoy = PasswordHash::decoy(users.first().map(|user| &user.password));
        let mut people = Self { by_name: HashMap::new(), by_sub: HashMap::new(), decoy };
        for user in users {
            let wrong =
                |key: &str, problem: String| UsersError::Wrong { key: format!("user.{}{key}", user.name), problem };
            // OpenID Connect Core §2: at most 255 ASCII characters
            if !(1..=255).contains(&user.sub.len()) || !user.sub.bytes().all(|c| c.is_ascii_graphic()) {
                return Err(wrong(".sub", "must be 1 to 255 visible ASCII characters".into()));
            }
            if let Some(name) = user.claims.keys().find(|name| STANDARD_CLAIMS.contains(&name.as_str())) {
                return Err(wrong(".claims", format!("`{name}` is made by the provider and can't be set here")));
            }
            let user = Arc::new(user.clone());
            if let Some(other) = people.by_sub.insert(Arc::clone(&user.sub), Arc::clone(&user)) {
                return Err(wrong(".sub", format!("is also the `sub` of `{}`", other.name)));
            }
            if people.by_name.insert(user.name.clone(), user).is_some() {
                return Err(wrong("", "is there twice: upper and lower case are the same".into()));
            }
        }
        Ok(people)
    }
}

/// Claims that say who issued a token to whom and when, or that have a key of their own in the users file.
const STANDARD_CLAIMS: [&str; 21] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "nonce",
    "azp",
    "sid",
    "auth_time",
    "acr",
    "amr",
    "at_hash",
    "c_hash",
    "client_id",
    "name",
    "email",
    "email_verified",
    "preferred_username",
    "groups",
];

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::ManualClock;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn user(name: &str, sub: &str, password: &PasswordHash) -> User {
        User {
            name: name.parse().unwrap(),
            sub: sub.into(),
            password: password.clone(),
            display_name: None,
            email: None,
            groups: vec![],
            claims: Map::new(),
            disabled: false,
        }
    }

    fn hash(password: &str) -> PasswordHash {
        hash_password(&Secret::new(password)).unwrap().parse().unwrap()
    }

    fn directory(people: Vec<User>) -> (Users, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        (Users::new(people, Arc::clone(&clock) as _).unwrap(), clock)
    }

    #[test]
    fn names_have_one_form() {
        for name in ["alice", "Alice", " ALICE\t"] {
            assert_eq!(name.parse::<UserName>().unwrap().as_str(), "alice");
        }
        let long = "a".repeat(65);
        for name in ["", " ", "al ice", "álice", "ａlice", "alice\0", "a/b", "*)(uid=*", &long] {
            assert!(name.parse::<UserName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn contradictory_directories_are_refused() {
        let hash = hash("correct horse");
        let mut own_claim = user("alice", "1", &hash);
        own_claim.claims.insert("iss".into(), "https://evil.test".into());
        let cases = [
            (vec![user("alice", "1", &hash), user("Alice", "2", &hash)], "user.alice"),
            (vec![user("alice", "1", &hash), user("bob", "1", &hash)], "user.bob.sub"),
            (vec![user("alice", "", &hash)], "user.alice.sub"),
            (vec![user("alice", "a b", &hash)], "user.alice.sub"),
            (vec![own_claim], "user.alice.claims"),
        ];
        for (people, expected) in cases {
            match Users::new(people, Arc::new(ManualClock::at(0))) {
                Err(UsersError::Wrong { key, .. }) => assert_eq!(key, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn wrong_unknown_and_disabled_answer_alike() {
        let hash = hash("correct horse");
        let disabled = User { disabled: true, ..user("carol", "3", &hash) };
        let (users, _) = directory(vec![user("alice", "1", &hash), disabled]);
        let right = || Secret::new("correct horse");
        assert_eq!(&*users.sign_in(" ALICE ", right(), HERE).await.unwrap().sub, "1");
        for (name, password) in [("alice", "wrong"), ("nobody", "wrong"), ("carol", "correct horse"), ("a\nb", "x")] {
            let refused = users.sign_in(name, Secret::new(password), HERE).await.unwrap_err();
            assert_eq!(refused, SignInError::Wrong, "{name}");
        }
        assert!(users.active("1").is_some() && users.active("3").is_none() && users.active("2").is_none());
    }

    /// A31: spelling a name otherwise is no new try, and waiting is.
    #[tokio::test]
    async fn a31_aliases_share_one_counter() {
        let (users, clock) = directory(vec![user("alice", "1", &hash("correct horse"))]);
        for name in ["alice", "Alice", "alice ", " ALICE", "aLICE"] {
            assert_eq!(users.sign_in(name, Secret::new("wrong"), HERE).await.unwrap_err(), SignInError::Wrong);
        }
        let right = || Secret::new("correct horse");
        let Err(SignInError::TooMany { wait }) = users.sign_in("alIce", right(), HERE).await else {
            panic!("the right password passes although the name is locked");
        };
        clock.advance(wait);
        assert!(users.sign_in("alice", right(), HERE).await.is_ok());
    }

    /// A31, CVE-2020-15222 class: what is counted after the check lets as many through as are sent at once.
    #[tokio::test]
    async fn a31_many_at_once_are_counted_each() {
        let (users, _) = directory(vec![user("alice", "1", &hash("correct horse"))]);
        let guesses = (0..50).map(|n| users.sign_in("alice", Secret::new(format!("guess {n}")), HERE));
        let answers = futures_util::future::join_all(guesses).await;
        let looked_at = answers.iter().filter(|answer| matches!(answer, Err(SignInError::Wrong)));
        assert!(looked_at.count() <= 5);
    }

    #[test]
    fn debug_shows_no_hash() {
        let hash = hash("correct horse");
        let shown = format!("{:?}", user("alice", "1", &hash));
        assert!(!shown.contains("argon2"), "{shown}");
    }
}
