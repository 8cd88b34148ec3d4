//! Codes, refresh tokens, access tokens: what was granted to whom, and what takes it back (RFC 6749, RFC 9700 §4.14).
//!
//! All tokens that come from one login at one client are a *family*. It ends with its time, with logout, with
//! revocation, and when a code or refresh token of it turns up a second time: then someone else has a copy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::expiring::Expiring;
use super::settings::Lifetimes;
use crate::secret::{Secret, random_token};

/// All that is granted now.
#[derive(Debug)]
pub(super) struct Grants {
    state: Mutex<State>,
    lifetimes: Lifetimes,
}

/// Who signed in, when, and in which session of ours.
#[derive(Clone, Debug)]
pub(super) struct SignedIn {
    pub(super) sub: Arc<str>,
    pub(super) sid: Arc<str>,
    pub(super) at: SystemTime,
}

/// What a client asked for and someone signed in for.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    pub(super) client: Arc<str>,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    pub(super) person: SignedIn,
}

/// What binds a code to the request it answers.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) redirect_uri: String,
    /// The `code_challenge`, S256.
    pub(super) challenge: Option<String>,
}

/// What a client shows to redeem a code.
#[derive(Debug)]
pub(super) struct Redemption<'a> {
    pub(super) code: &'a str,
    pub(super) redirect_uri: Option<&'a str>,
    pub(super) verifier: Option<&'a str>,
}

/// Fresh tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) access: Secret,
    pub(super) access_lives: Duration,
    pub(super) refresh: Secret,
    pub(super) granted: Granted,
}

/// Why a grant is not honoured; for the audit line. The client hears `invalid_grant` for all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("unknown or expired")]
    Unknown,
    #[error("issued to another client")]
    OtherClient,
    #[error("used a second time, so all tokens of its login are revoked")]
    Reused,
    #[error("redeemed with another redirect URI")]
    RedirectUri,
    #[error("redeemed without the verifier of its challenge")]
    Verifier,
}

/// A token as it is kept: no one can use what they read here.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct TokenHash([u8; 32]);

#[derive(Debug)]
struct State {
    codes: Expiring<TokenHash, Code>,
    families: Expiring<String, Family>,
    /// Access tokens and the families they belong to.
    access: Expiring<TokenHash, String>,
}

#[derive(Debug)]
struct Code {
    bound: Bound,
    granted: Granted,
    good_until: SystemTime,
    /// The family it was redeemed for.
    used_for: Option<String>,
}

#[derive(Debug)]
struct Family {
    granted: Granted,
    /// The one refresh token that counts.
    refresh: TokenHash,
    ends: SystemTime,
}

impl Grants {
    pub(super) fn new(lifetimes: Lifetimes) -> Self {
        let state = State {
            codes: Expiring::new(CAPACITY),
            families: Expiring::new(CAPACITY),
            access: Expiring::new(CAPACITY),
        };
        Self { state: Mutex::new(state), lifetimes }
    }

    /// A code for what was granted.
    pub(super) fn issue_code(&self, granted: Granted, bound: Bound, now: SystemTime) -> String {
        let code = random_token(32);
        let good_until = now + self.lifetimes.code;
        let kept = Code { bound, granted, good_until, used_for: None };
        self.state().codes.insert(TokenHash::of(&code), good_until + REMEMBERED, kept, now);
        code
    }

    /// Redeems a code, once, for its client only (CVE-2026-55768).
    ///
    /// Checking and marking are one step under one lock: of two at once, one is the second (CVE-2020-15222).
    pub(super) fn redeem(&self, shown: &Redemption<'_>, client: &str, now: SystemTime) -> Result<Tokens, Invalid> {
        let mut state = self.state();
        let code = state.codes.find(&TokenHash::of(shown.code), now).ok_or(Invalid::Unknown)?;
        if *code.granted.client != *client {
            return Err(Invalid::OtherClient);
        }
        if let Some(family) = code.used_for.clone() {
            state.families.remove(&family);
            return Err(Invalid::Reused);
        }
        if now >= code.good_until {
            return Err(Invalid::Unknown);
        }
        if shown.redirect_uri != Some(&code.bound.redirect_uri) {
            return Err(Invalid::RedirectUri);
        }
        match (&code.bound.challenge, shown.verifier) {
            (None, None) => {}
            (Some(challenge), Some(verifier)) if challenges(verifier, challenge) => {}
            // RFC 9700 §4.8.2: a verifier without a challenge is a stripped request (CVE-2024-23647)
            _ => return Err(Invalid::Verifier),
        }
        let (family, granted) = (random_token(16), code.granted.clone());
        code.used_for = Some(family.clone());
        Ok(self.open(&mut state, family, granted, now))
    }

    /// Tokens for what was granted without a code.
    pub(super) fn grant(&self, granted: Granted, now: SystemTime) -> Tokens {
        self.open(&mut self.state(), random_token(16), granted, now)
    }

    /// New tokens for a refresh token, which ends with that (RFC 9700 §4.14.2).
    pub(super) fn refresh(&self, refresh: &str, client: &str, now: SystemTime) -> Result<Tokens, Invalid> {
        let mut state = self.state();
        let (name, _) = refresh.split_once('.').ok_or(Invalid::Unknown)?;
        let family = state.families.find(name, now).ok_or(Invalid::Unknown)?;
        if *family.granted.client != *client {
            return Err(Invalid::OtherClient);
        }
        // nobody knows the family's name but from one of its tokens: any other than the current one is an old one
        if family.refresh != TokenHash::of(refresh) {
            state.families.remove(name);
            return Err(Invalid::Reused);
        }
        let (granted, ends) = (family.granted.clone(), family.ends);
        Ok(self.issue(&mut state, name.to_owned(), granted, ends, now))
    }

    /// What an access token stands for.
    pub(super) fn access(&self, token: &str, now: SystemTime) -> Option<Granted> {
        let mut state = self.state();
        let family = state.access.find(&TokenHash::of(token), now)?.clone();
        state.families.find(&family, now).map(|family| family.granted.clone())
    }

    /// Revokes the family of a refresh or access token that is `client`'s (RFC 7009).
    pub(super) fn revoke(&self, token: &str, client: &str, now: SystemTime) {
        let mut state = self.state();
        let by_access = state.access.find(&TokenHash::of(token), now).cloned();
        let Some(name) = by_access.or_else(|| token.split_once('.').map(|(name, _)| name.to_owned())) else { return };
        if state.families.find(&name, now).is_some_and(|family| *family.granted.client == *client) {
            state.families.remove(&name);
        }
    }

    /// Ends what was granted in a session, but for what was asked to outlive it (`offline_access`).
    pub(super) fn end_session(&self, sid: &str) {
        let lasting = |scope: &str| scope.split(' ').any(|scope| scope == "offline_access");
        let gone = |granted: &Granted| *granted.person.sid == *sid && !lasting(&granted.scope);
        let mut state = self.state();
        state.families.remove_where(|family| gone(&family.granted));
        state.codes.remove_where(|code| gone(&code.granted) && code.used_for.is_none());
    }

    fn open(&self, state: &mut State, family: String, granted: Granted, now: SystemTime) -> Tokens {
        let ends = now + self.lifetimes.refresh_token;
        self.issue(state, family, granted, ends, now)
    }

    fn issue(&self, state: &mut State, family: String, granted: Granted, ends: SystemTime, now: SystemTime) -> Tokens {
        let (access, refresh) = (Secret::random(32), Secret::new(format!("{family}.{}", random_token(32))));
        let left = ends.duration_since(now).unwrap_or_default();
        let access_lives = self.lifetimes.access_token.min(left);
        let kept = Family { granted: granted.clone(), refresh: TokenHash::of(refresh.expose()), ends };
        state.access.insert(TokenHash::of(access.expose()), now + access_lives, family.clone(), now);
        state.families.insert(family, ends, kept, now);
        Tokens { access, access_lives, refresh, granted }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }
}

/// RFC 7636 §4.6, S256.
fn challenges(verifier: &str, challenge: &str) -> bool {
    (43..=128).contains(&verifier.len()) && URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
}

/// How long a used code is remembered, so that its second use is seen for what it is.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Of codes, families and access tokens each, some 50 MB in all. Only people who signed in make them.
const CAPACITY: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_epoch_seconds as at;

    const NOW: u64 = 1_800_000_000;
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; // RFC 7636 appendix B
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn granted() -> Granted {
        let person = SignedIn { sub: "u1".into(), sid: "s1".into(), at: at(NOW) };
        Granted { client: "app".into(), scope: "openid".into(), nonce: None, person }
    }

    fn code(grants: &Grants) -> String {
        let bound = Bound { redirect_uri: "https://app/cb".into(), challenge: Some(CHALLENGE.into()) };
        grants.issue_code(granted(), bound, at(NOW))
    }

    fn shown(code: &str) -> Redemption<'_> {
        Redemption { code, redirect_uri: Some("https://app/cb"), verifier: Some(VERIFIER) }
    }

    #[test]
    fn a8_a_code_is_good_once_and_for_its_request_only() {
        let grants = Grants::new(Lifetimes::default());
        let code = code(&grants);
        let wrong = [
            (Redemption { redirect_uri: Some("https://app/cb2"), ..shown(&code) }, Invalid::RedirectUri),
            (Redemption { redirect_uri: None, ..shown(&code) }, Invalid::RedirectUri),
            (Redemption { verifier: None, ..shown(&code) }, Invalid::Verifier),
            (Redemption { verifier: Some(CHALLENGE), ..shown(&code) }, Invalid::Verifier), // as if it were `plain`
            (shown("x"), Invalid::Unknown),
            (shown(&code[..code.len() - 1]), Invalid::Unknown),
        ];
        for (shown, expected) in wrong {
            assert_eq!(grants.redeem(&shown, "app", at(NOW)).unwrap_err(), expected, "{shown:?}");
        }
        assert_eq!(grants.redeem(&shown(&code), "other", at(NOW)).unwrap_err(), Invalid::OtherClient);
        assert_eq!(grants.redeem(&shown(&code), "app", at(NOW + 60)).unwrap_err(), Invalid::Unknown);
        let tokens = grants.redeem(&shown(&code), "app", at(NOW + 59)).unwrap();
        assert!(grants.access(tokens.access.expose(), at(NOW + 60)).is_some());
        // another client with the used code is no reason to revoke
        assert_eq!(grants.redeem(&shown(&code), "other", at(NOW + 60)).unwrap_err(), Invalid::OtherClient);
        assert!(grants.access(tokens.access.expose(), at(NOW + 60)).is_some());
        assert_eq!(grants.redeem(&shown(&code), "app", at(NOW + 100)).unwrap_err(), Invalid::Reused);
        assert!(grants.access(tokens.access.expose(), at(NOW + 60)).is_none());
        assert!(grants.refresh(tokens.refresh.expose(), "app", at(NOW + 60)).is_err());
    }

    /// CVE-2020-15222/15223: the same code from many sides at once.
    #[test]
    fn a8_of_parallel_redemptions_one_succeeds_at_most() {
        let grants = Grants::new(Lifetimes::default());
        let code = code(&grants);
        let redeemed = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| grants.redeem(&shown(&code), "app", at(NOW)))).collect();
            tries.into_iter().filter_map(|one| one.join().unwrap().ok()).collect::<Vec<_>>()
        });
        let [tokens] = redeemed.as_slice() else { panic!("{} succeeded", redeemed.len()) };
        assert!(grants.access(tokens.access.expose(), at(NOW)).is_none());
    }

    #[test]
    fn a_verifier_without_a_challenge_is_refused() {
        let grants = Grants::new(Lifetimes::default());
        let bound = Bound { redirect_uri: "https://app/cb".into(), challenge: None };
        let code = grants.issue_code(granted(), bound, at(NOW));
        assert_eq!(grants.redeem(&shown(&code), "app", at(NOW)).unwrap_err(), Invalid::Verifier);
    }

    #[test]
    fn refresh_tokens_rotate_and_an_old_one_ends_the_family() {
        let grants = Grants::new(Lifetimes::default());
        let first = grants.grant(granted(), at(NOW));
        let other_family = grants.grant(granted(), at(NOW));
        assert_eq!(grants.refresh(first.refresh.expose(), "other", at(NOW)).unwrap_err(), Invalid::OtherClient);
        let second = grants.refresh(first.refresh.expose(), "app", at(NOW + 10)).unwrap();
        let third = grants.refresh(second.refresh.expose(), "app", at(NOW + 20)).unwrap();
        assert_eq!(grants.refresh(first.refresh.expose(), "app", at(NOW + 30)).unwrap_err(), Invalid::Reused);
        assert_eq!(grants.refresh(third.refresh.expose(), "app", at(NOW + 30)).unwrap_err(), Invalid::Unknown);
        assert!(grants.access(third.access.expose(), at(NOW + 30)).is_none());
        assert!(grants.access(other_family.access.expose(), at(NOW + 30)).is_some());
    }

    #[test]
    fn rotation_does_not_prolong_a_family() {
        let lifetimes = Lifetimes::default();
        let grants = Grants::new(lifetimes);
        let life = lifetimes.refresh_token.as_secs();
        let first = grants.grant(granted(), at(NOW));
        let last = grants.refresh(first.refresh.expose(), "app", at(NOW + life - 10)).unwrap();
        assert_eq!(last.access_lives, Duration::from_secs(10));
        assert_eq!(grants.refresh(last.refresh.expose(), "app", at(NOW + life)).unwrap_err(), Invalid::Unknown);
    }

    #[test]
    fn logout_ends_what_its_session_was_granted() {
        let grants = Grants::new(Lifetimes::default());
        let online = grants.grant(granted(), at(NOW));
        let offline = grants.grant(Granted { scope: "openid offline_access".into(), ..granted() }, at(NOW));
        let pending = code(&grants);
        grants.end_session("s1");
        assert!(grants.access(online.access.expose(), at(NOW)).is_none());
        assert!(grants.refresh(online.refresh.expose(), "app", at(NOW)).is_err());
        assert!(grants.redeem(&shown(&pending), "app", at(NOW)).is_err());
        assert!(grants.refresh(offline.refresh.expose(), "app", at(NOW)).is_ok());
    }

    #[test]
    fn revocation_is_for_the_tokens_own_client() {
        let grants = Grants::new(Lifetimes::default());
        for by_access in [true, false] {
            let tokens = grants.grant(granted(), at(NOW));
            let shown = if by_access { &tokens.access } else { &tokens.refresh };
            grants.revoke(shown.expose(), "other", at(NOW));
            assert!(grants.access(tokens.access.expose(), at(NOW)).is_some());
            grants.revoke(shown.expose(), "app", at(NOW));
            assert!(grants.access(tokens.access.expose(), at(NOW)).is_none());
        }
    }
}
