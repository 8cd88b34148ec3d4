//! A session as it is kept outside of memory: plain data, sealed under the session keys and bound to the session's id.
//!
//! It has three parts, as they change at different times: the login never does, the provider's word with each renewal, a
//! choice when the person makes one. When the session was used last is not in here, as that changes with every request:
//! a store keeps it beside the record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::TicketHash;
use crate::identity::{Claims, HolderId, Subject, Tokens};
use crate::secret::Sealer;

/// What never changes in a session.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct LoginPart {
    pub(super) id: HolderId,
    pub(super) subject: Subject,
    pub(super) voucher: Arc<str>,
    pub(super) at_provider: Option<Arc<str>>,
    pub(super) created: SystemTime,
    pub(super) ends: SystemTime,
    pub(super) idle: Duration,
}

/// What the provider said last.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct WordPart {
    pub(super) claims: Claims,
    pub(super) tokens: Tokens,
    pub(super) received: SystemTime,
    /// How often it was renewed: which of two is newer, whatever the clocks of two instances say.
    pub(super) revision: u64,
}

/// The role that the person has chosen, by route.
pub(super) type ChoicesPart = BTreeMap<Arc<str>, Arc<str>>;

/// All of a session.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Record {
    pub(super) login: LoginPart,
    pub(super) word: WordPart,
    pub(super) choices: ChoicesPart,
}

/// A record and what opens it, as one file has them.
#[derive(Deserialize, Serialize)]
pub(super) struct Whole {
    pub(super) record: Record,
    pub(super) tickets: Vec<TicketHash>,
}

/// Which part of a session a sealed text is. None opens as another.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Login,
    Word,
    Choices,
    Whole,
}

impl Part {
    /// `value` as this part of the session called `id`, sealed.
    pub(super) fn seal(self, sealer: &Sealer, id: &str, value: &impl Serialize) -> Vec<u8> {
        // these are structs and maps of texts and numbers, which always are JSON
        let plain = Zeroizing::new(serde_json::to_vec(value).unwrap_or_default());
        sealer.seal_bytes(&self.context(id), &plain)
    }

    /// What was sealed as this part of the session called `id`. Whatever is not that is nothing (A9).
    pub(super) fn open<T: DeserializeOwned>(self, sealer: &Sealer, id: &str, sealed: &[u8]) -> Option<T> {
        let plain = sealer.open_bytes(&self.context(id), sealed)?;
        serde_json::from_slice(&plain).ok()
    }

    fn context(self, id: &str) -> [&str; 4] {
        let part = match self {
            Self::Login => "login",
            Self::Word => "word",
            Self::Choices => "choices",
            Self::Whole => "whole",
        };
        ["session", VERSION, part, id]
    }
}

impl Serialize for TicketHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TicketHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hash = Self::from_text(&String::deserialize(deserializer)?);
        hash.ok_or_else(|| serde::de::Error::custom("a ticket's hash has 32 bytes"))
    }
}

impl TicketHash {
    /// In base64url.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads [`Self::text`] back.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// Raised when a record of before can't be read any more: those who are logged in must log in again then.
const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::House;

    #[test]
    fn a_record_opens_as_what_it_is_and_for_whom_it_is() {
        let house = House::new();
        let session = house.session("alice");
        let (sealer, id) = (Sealer::random(), session.id().to_string());
        let whole = Whole { record: session.record(), tickets: vec![TicketHash([7; 32])] };
        let sealed = Part::Whole.seal(&sealer, &id, &whole);
        let back: Whole = Part::Whole.open(&sealer, &id, &sealed).unwrap();
        assert_eq!((back.record.login.id, &back.record.login.subject), (session.id(), &**session.subject()));
        assert!(back.record.word.tokens.refresh.unwrap().matches("refresh-alice-0"));
        assert_eq!(back.tickets, [TicketHash([7; 32])]);

        // A9: another session's, another part, another key
        assert!(Part::Whole.open::<Whole>(&sealer, &HolderId::random().to_string(), &sealed).is_none());
        assert!(Part::Login.open::<Whole>(&sealer, &id, &sealed).is_none());
        assert!(Part::Whole.open::<Whole>(&Sealer::random(), &id, &sealed).is_none());
        assert!(!String::from_utf8_lossy(&sealed).contains("alice"));
    }

    /// A9: each byte flipped, and every shorter text.
    #[test]
    fn a_changed_record_is_none() {
        let house = House::new();
        let session = house.session("alice");
        let (sealer, id) = (Sealer::random(), session.id().to_string());
        let sealed = Part::Login.seal(&sealer, &id, &session.record().login);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(Part::Login.open::<LoginPart>(&sealer, &id, &changed).is_none(), "{at}");
            assert!(Part::Login.open::<LoginPart>(&sealer, &id, &sealed[..at]).is_none(), "{at}");
        }
    }
}
