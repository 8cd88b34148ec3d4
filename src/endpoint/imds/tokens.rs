//! Session tokens of the metadata service: they say until when they are good, sealed, so that none is kept and no number
//! of them takes memory.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::clock::{epoch_seconds, from_epoch_seconds};
use crate::secret::Sealer;

/// Issues tokens and knows them again. They are good in this process and at this endpoint only (A23).
pub(super) struct Tokens {
    sealer: Sealer,
    endpoint: Box<str>,
}

impl Tokens {
    pub(super) fn new(endpoint: &str) -> Self {
        Self { sealer: Sealer::random(), endpoint: endpoint.into() }
    }

    /// A token for so long.
    pub(super) fn issue(&self, ttl: Duration, now: SystemTime) -> String {
        self.sealer.seal(&self.context(), &epoch_seconds(now + ttl).to_be_bytes())
    }

    /// Whether it is one of ours whose time is not over.
    pub(super) fn is_good(&self, token: &str, now: SystemTime) -> bool {
        let opened = self.sealer.open(&self.context(), token);
        let ends = opened.as_ref().and_then(|plain| plain.first_chunk::<8>());
        ends.is_some_and(|ends| now < from_epoch_seconds(u64::from_be_bytes(*ends)))
    }

    fn context(&self) -> [&str; 2] {
        ["imds", &self.endpoint]
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a23_a_token_is_good_for_its_time_at_its_endpoint() {
        let (tokens, now) = (Tokens::new("app"), from_epoch_seconds(1_000_000));
        let after = |seconds| now + Duration::from_secs(seconds);
        let token = tokens.issue(Duration::from_secs(60), now);
        assert!(tokens.is_good(&token, now) && tokens.is_good(&token, after(59)));
        assert!(!tokens.is_good(&token, after(60)) && !tokens.is_good(&token, after(61)));
        assert_ne!(token, tokens.issue(Duration::from_secs(60), now), "none says anything of another");
        for other in [Tokens::new("app"), Tokens { endpoint: "other".into(), ..Tokens::new("app") }] {
            assert!(!other.is_good(&token, now));
        }
        for wrong in ["", "x", &token[1..], &token[..token.len() - 1], &format!("{token}A")] {
            assert!(!tokens.is_good(wrong, now), "{wrong}");
        }
    }
}
