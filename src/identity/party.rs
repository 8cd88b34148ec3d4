//! What a source answers to a provider that speaks to us through the browser, beside logins that we began: SAML.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{LoginError, Once, Onward, Returned, SignedIn, Subject};

/// A source as the provider sees it. `home` is any URL under our public origin; its places are below
/// `/.claviger/saml/<name>/` there.
#[async_trait]
pub trait Party: Debug + Send + Sync {
    /// What we say of ourselves, as an XML document, to be registered at the provider. `None` where it can't be written.
    fn metadata(&self, home: &Url) -> Option<String>;
    /// A login that nobody here began.
    ///
    /// # Errors
    /// [`LoginError::Refused`] for whatever is wrong with it, and always where that is not configured.
    async fn unsolicited(&self, returned: &Returned, home: &Url) -> Result<SignedIn, LoginError>;
    /// What a logout message says, once it is verified to be the provider's.
    ///
    /// # Errors
    /// [`LoginError::Refused`] for whatever is wrong with it.
    async fn hear(&self, message: Message, home: &Url) -> Result<Heard, LoginError>;
    /// The answer to a request to end logins, which was heard and done. `None` where the provider wants none.
    async fn answer(&self, request: &LeaveRequest) -> Option<Onward>;
}

/// A logout message as the browser brought it.
#[derive(Debug)]
pub enum Message {
    /// In this query, raw.
    Query(String),
    /// In a form.
    Form(Returned),
}

/// What a provider says of logouts.
#[derive(Debug)]
pub enum Heard {
    /// Logins are to end.
    Leave(Box<LeaveRequest>),
    /// An answer to the request of ours that has this name; whether every other party has ended the login too.
    Left {
        /// The name of our request.
        asked: String,
        /// Whether all of them did.
        everywhere: bool,
    },
}

/// A provider's request to end logins.
#[derive(Debug)]
pub struct LeaveRequest {
    /// Its ID, which the answer names.
    pub id: String,
    /// It counts once.
    pub once: Once,
    /// Whose logins, by the provider's name.
    pub name: SamlLogin,
    /// Whose, where that name is what the source calls them.
    pub subject: Option<Subject>,
    /// Which of their logins; all where it is empty.
    pub sessions: Vec<String>,
    /// What the provider wants back.
    pub relay_state: Option<String>,
}

/// What a SAML provider calls a person (SAML-Core §2.2.2) and a login of theirs (§2.7.2).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SamlLogin {
    /// The name.
    pub name: String,
    /// What kind of name.
    pub format: Option<String>,
    /// At whom it is unique.
    pub name_qualifier: Option<String>,
    /// For whom it is unique.
    pub sp_name_qualifier: Option<String>,
    /// The login.
    pub session_index: Option<String>,
}

impl SamlLogin {
    /// Whether both are the same person's: the names to the letter, and nothing that is said of them differs. What only
    /// one of them says some providers leave out in logouts.
    pub fn is_the_same_person(&self, other: &Self) -> bool {
        let agree = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        self.name == other.name
            && agree(&self.format, &other.format)
            && agree(&self.name_qualifier, &other.name_qualifier)
            && agree(&self.sp_name_qualifier, &other.sp_name_qualifier)
    }
}
