//! Why a SAML message is refused: one face for the world, one reason for the log.

use std::fmt;

/// A message that is not believed. Its text is the same whatever the cause, so that nobody learns from an answer how far
/// they got; the [`Reason`] is its source, for the audit line.
#[derive(thiserror::Error)]
#[error("the SAML message is refused")]
pub struct Refused(#[source] Reason);

/// What was wrong. Texts of the message in it are cut short and escaped; it never holds a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Larger, deeper or wider than any honest message.
    #[error("it has more {0}")]
    Exceeds(&'static str),
    /// The form, query or encoding around the document.
    #[error("it is not encoded as its binding says: {0}")]
    Encoding(&'static str),
    /// Not the narrow XML that is read here.
    #[error("its XML is refused: {0}")]
    Xml(String),
    /// Elements that are not where the schema puts them.
    #[error("its structure is refused: {0}")]
    Structure(String),
    /// A signature in a shape that is not let near the verifier.
    #[error("a signature's shape is refused: {0}")]
    SignatureShape(String),
    /// Two elements of one ID.
    #[error("two elements have the ID `{0}`")]
    DuplicateId(String),
    /// Nothing in it is signed that must be.
    #[error("it is not signed")]
    Unsigned,
    /// No pinned certificate: nothing could be believed.
    #[error("no certificate is pinned that it could be verified by")]
    NoCertificate,
    /// None of the pinned certificates' keys made the signature, or what was signed has changed.
    #[error("the signature does not verify by any pinned certificate")]
    Signature,
    /// What was signed is not what was read: two parsers disagree.
    #[error("what was signed is not what was read")]
    Differential,
    /// The verifier failed inside; one request is lost.
    #[error("the verifier failed")]
    Panicked,
    /// Too many are being verified.
    #[error("too many messages are being verified")]
    Busy,
    /// The encrypted assertion can't be read; deliberately no more than that.
    #[error("the encrypted assertion can't be decrypted")]
    Undecryptable,
    /// An encryption that is refused by name, before any key is used.
    #[error("the encryption is refused: {0}")]
    Encryption(String),
    /// The provider did not sign anybody in. Not verified where no assertion came along: a hint, no more.
    #[error("the provider answered with the status `{code}`{}", .detail.as_ref().map(|d| format!(" / `{d}`")).unwrap_or_default())]
    Status {
        /// The top-level code.
        code: String,
        /// The second-level code, where there is one: [`NO_PASSIVE`](super::NO_PASSIVE) and the like.
        detail: Option<String>,
    },
    /// A value that must be another.
    #[error("the {what} is `{found}`")]
    Mismatch {
        /// Which.
        what: &'static str,
        /// What it says.
        found: String,
    },
    /// A part that must be there.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// Not yet, or no longer.
    #[error("it is outside its time: {0}")]
    Time(&'static str),
}

impl Refused {
    /// What was wrong, for the log and never for the answer.
    pub fn reason(&self) -> &Reason {
        &self.0
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refused").field(&self.0).finish()
    }
}

impl Reason {
    /// A value that is not the one expected.
    pub(super) fn mismatch(what: &'static str, found: &str) -> Self {
        Self::Mismatch { what, found: shown(found) }
    }

    /// An element that is not where it may be.
    pub(super) fn structure(what: &str, name: &str) -> Self {
        Self::Structure(format!("{what} `{}`", shown(name)))
    }
}

/// A stranger's text as a log may have it: short, and with nothing in it that could end a line (A36).
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_SHOWN).flat_map(char::escape_default).collect();
    if text.chars().nth(LONGEST_SHOWN).is_some() {
        short.push('…');
    }
    short
}

const LONGEST_SHOWN: usize = 120;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_world_sees_one_text() {
        for reason in [Reason::Unsigned, Reason::Undecryptable, Reason::Time("x"), Reason::mismatch("issuer", "x")] {
            let refused = Refused::from(reason.clone());
            assert_eq!(refused.to_string(), "the SAML message is refused");
            assert_eq!(refused.source().unwrap().to_string(), reason.to_string());
        }
    }

    #[test]
    fn a_strangers_text_is_short_and_ends_no_line() {
        assert_eq!(shown("a\nb\u{202e}"), "a\\nb\\u{202e}");
        assert!(shown(&"x".repeat(10_000)).len() < 130);
    }
}
