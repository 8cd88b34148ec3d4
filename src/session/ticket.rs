//! The ticket a browser carries, and the hash a store knows it by.

use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};

use aws_lc_rs::digest::{SHA256, digest};

use crate::secret::Secret;

/// 256 random bits in 43 characters that open a session, and mean nothing.
#[derive(Clone, Debug)]
pub struct Ticket(Secret);

impl Ticket {
    /// A fresh one. Every login and every host gets its own (A10).
    pub(super) fn random() -> Self {
        Self(Secret::random(32))
    }

    /// The cookie's value.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What a store knows it by, if it is for `host`.
    pub fn hash(&self, host: &str) -> TicketHash {
        TicketHash::of_text(self.0.expose(), host)
    }
}

/// The SHA-256 of a ticket and its host: what a store knows a ticket by, so that reading the store gives nobody a
/// session, comparing tells nothing by its time, and a ticket that one host's owner sees opens nothing on another (A9).
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct TicketHash(pub [u8; 32]);

impl TicketHash {
    /// The hash of what a browser sent to `host`, if it has a ticket's length: a cut or longer one is none
    /// (CVE-2026-27840).
    pub fn of(text: &str, host: &str) -> Option<Self> {
        (text.len() == LENGTH).then(|| Self::of_text(text, host))
    }

    /// All tickets have one length, so no two pairs are the same bytes. Joined and hashed in one call, as every request
    /// does it: a hash that is fed piece by piece has its state on the heap and costs twice as much.
    fn of_text(text: &str, host: &str) -> Self {
        let pair = [text.as_bytes(), host.as_bytes()].concat();
        Self(digest(&SHA256, &pair).as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// Eight of its bytes as a number: they are as random as any hash of them would be.
    pub(super) fn number(&self) -> u64 {
        self.0.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
    }
}

impl Hash for TicketHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.number());
    }
}

impl Debug for TicketHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketHash(…)")
    }
}

/// 32 bytes in base64url.
const LENGTH: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_found_by_its_own_text_only() {
        let ticket = Ticket::random();
        assert_eq!(TicketHash::of(ticket.expose(), "a"), Some(ticket.hash("a")));
        assert_ne!(TicketHash::of(ticket.expose(), "b"), Some(ticket.hash("a")));
        assert_eq!(TicketHash::of(&ticket.expose()[..42], "a"), None);
        assert_eq!(TicketHash::of(&format!("{}A", ticket.expose()), "a"), None);
        assert_eq!(format!("{ticket:?} {:?}", ticket.hash("a")), "Ticket(Secret(…)) TicketHash(…)");
    }
}
