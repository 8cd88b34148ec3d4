//! Password hashes: Argon2id in PHC form (RFC 9106), made and checked away from the workers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use argon2::password_hash::phc::{self, Salt};
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use crate::secret::Secret;

/// The hash of a password: `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.
#[derive(Clone)]
pub struct PasswordHash(Arc<phc::PasswordHash>);

/// Hashes a password with a fresh salt, for a users file. It takes some 40 ms and 19 MiB.
///
/// # Errors
/// An empty or overlong password.
pub fn hash_password(password: &Secret) -> Result<String, &'static str> {
    if !(1..=LONGEST).contains(&password.expose().len()) {
        return Err("a password has 1 to 1024 bytes");
    }
    let hash =
        Argon2::default().hash_password(password.expose().as_bytes()).map_err(|_| "the password can't be hashed")?;
    Ok(hash.to_string())
}

impl PasswordHash {
    /// A hash that costs what `like` costs and that no password has.
    pub(super) fn decoy(like: Option<&Self>) -> Self {
        let output = [0; Params::DEFAULT_OUTPUT_LEN];
        let ours = || phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(argon2::Version::V0x13.into()),
            params: phc::ParamsString::try_from(&Params::DEFAULT).unwrap_or_default(),
            salt: None,
            hash: phc::Output::new(&output).ok(),
        };
        let like = like.map_or_else(ours, |like| (*like.0).clone());
        Self(Arc::new(phc::PasswordHash { salt: Some(Salt::generate()), ..like }))
    }

    fn is_of(&self, password: &Secret) -> bool {
        password.expose().len() <= LONGEST
            && Argon2::default().verify_password(password.expose().as_bytes(), &*self.0).is_ok()
    }
}

impl FromStr for PasswordHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be an Argon2id hash in PHC form, as `claviger hash-password` prints";
        let hash = phc::PasswordHash::new(text).map_err(|_| FORM)?;
        let params = Params::try_from(&hash).map_err(|_| FORM)?;
        if hash.algorithm != Algorithm::Argon2id.ident() || hash.salt.is_none() || hash.hash.is_none() {
            return Err(FORM);
        }
        if params.m_cost() > MEMORY || params.t_cost() > ROUNDS || params.p_cost() > LANES {
            return Err("costs more than 256 MiB, 16 rounds or 8 lanes: each sign-in would");
        }
        Ok(Self(Arc::new(hash)))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Checks passwords on blocking threads, few at a time.
pub(super) struct Verifier {
    hashing: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Verifier {
    fn default() -> Self {
        Self { hashing: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(Semaphore::new(WAITING)) }
    }
}

impl Verifier {
    /// Whether the hash is the password's; `None` where too many are waiting for an answer.
    pub(super) async fn verify(&self, password: Secret, hash: &PasswordHash) -> Option<bool> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let turn = Arc::clone(&self.hashing).acquire_owned().await.ok()?;
        let hash = hash.clone();
        let check = move || {
            // held until the hashing ends, even where nobody waits for it any more
            let _turn = turn;
            hash.is_of(&password)
        };
        Some(tokio::task::spawn_blocking(check).await.unwrap_or(false))
    }
}

/// Hashing is a processor at full speed and 19 MiB each time: two at once leave the rest for requests.
const AT_ONCE: usize = 2;
/// At 40 ms each and two at once, the last of them waits little more than a second.
const WAITING: usize = 64;
/// In bytes. Longer ones only cost time.
const LONGEST: usize = 1024;
/// In KiB.
const MEMORY: u32 = 256 * 1024;
const ROUNDS: u32 = 16;
const LANES: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_its_passwords_only() {
        let text = hash_password(&Secret::new("correct horse")).unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let hash: PasswordHash = text.parse().unwrap();
        assert!(hash.is_of(&Secret::new("correct horse")));
        for wrong in ["", "correct hors", "Correct horse", &"x".repeat(2000)] {
            assert!(!hash.is_of(&Secret::new(wrong)), "{wrong}");
        }
        let decoy = PasswordHash::decoy(Some(&hash));
        assert!(!decoy.is_of(&Secret::new("correct horse")));
        assert_eq!(decoy.0.params, hash.0.params);
        let decoy = PasswordHash::decoy(None);
        assert_eq!(decoy.0.params, hash.0.params);
        assert!(decoy.0.to_string().parse::<PasswordHash>().is_ok());
    }

    #[test]
    fn other_hashes_are_refused() {
        let ours = hash_password(&Secret::new("x")).unwrap();
        let cases = [
            String::new(),
            "password".into(),
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW".into(),
            ours.replace("argon2id", "argon2i"),
            ours.replace("m=19456", "m=4194304"),
            ours.replace("t=2", "t=100"),
            "$argon2id$v=19$m=19456,t=2,p=1".into(),
        ];
        for text in cases {
            assert!(text.parse::<PasswordHash>().is_err(), "{text}");
        }
        assert!(hash_password(&Secret::new("")).is_err());
    }
}
