//! The keys of this installation: those of the config, or one made on the first start and kept in `state_dir`.

use std::sync::Arc;

use crate::config::keys::{KeepError, Purpose, kept};
use crate::config::{Config, ConfigErrors, below};
use crate::credentials::Mint;
use crate::generation::Parts;
use crate::identity::IssuedKeys;
use crate::inject::IdentityIssuer;
use crate::jose::{Signer, SigningKeys};
use crate::secret::{Sealer, Secret};
use crate::session::StoreKind;

/// What is made of our keys. Of each purpose the first key makes new things, and all are believed and published: so a
/// reload changes keys with an overlap.
#[derive(Clone, Debug)]
pub(super) struct OurKeys {
    /// Seals cookies.
    pub(super) sealer: Arc<Sealer>,
    /// Seal sessions that are kept outside of memory.
    pub(super) sessions: Vec<Secret>,
    /// Signs the tokens that `minted` shows to STS, as the issuer under the first public URL; none where there is none.
    pub(super) mint: Option<Arc<Mint>>,
    /// Signs the tokens that `identity_jwt` shows to upstreams, as the first public URL; none where there is none.
    pub(super) identity_issuer: Option<Arc<IdentityIssuer>>,
}

/// What becomes of a key that the config does not have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing {
    /// It is made on the first start, and kept in `state_dir`.
    Kept,
    /// It is made for the moment.
    Passing,
}

impl OurKeys {
    /// Reads them. Of those that are wrong `errors` knows afterwards; one for the moment takes their place, so that
    /// everything else can be looked at too.
    ///
    /// # Errors
    /// A `state_dir` that keeps none.
    pub(super) fn read(config: &Config, missing: Missing, errors: &mut ConfigErrors) -> Result<Self, KeepError> {
        let mut reader = Reader { config, missing, errors };
        let sealing = reader.secrets(Purpose::Cookie, true, random)?;
        let sealer = Arc::new(Sealer::new(&sealing).unwrap_or_else(Sealer::random));
        let are_kept = config.session.kind != StoreKind::Memory;
        let sessions = reader.secrets(Purpose::Session, are_kept, random)?;
        let public_url = config.listen.values().find_map(|listen| listen.public_url.as_ref());
        let (current, others) = reader.signers(Purpose::Minted, public_url.is_some())?;
        let mint = public_url.map(|url| Mint::new(url.at(ISSUER), current, others));
        let (current, others) = reader.signers(Purpose::Identity, public_url.is_some())?;
        let keys = SigningKeys::new(current, others);
        let identity_issuer = public_url.map(|url| IdentityIssuer::new(url.origin(), keys));
        Ok(Self { sealer, sessions, mint, identity_issuer })
    }

    /// The parts of a generation, with what our keys make.
    pub(super) fn given(&self, parts: &Parts) -> Parts {
        let keys = IssuedKeys::new(Arc::clone(&self.sealer));
        Parts { mint: self.mint.clone(), identity_issuer: self.identity_issuer.clone(), keys, ..parts.clone() }
    }

    /// These, but the mint of `before` where both sign by the same keys: who stands on it then stays as well.
    pub(super) fn after(self, before: &Self) -> Self {
        let is_same = |mint: &Mint, before: &Mint| {
            mint.issuer() == before.issuer() && mint.key_set() == before.key_set() // the key that signs is the first
        };
        let mint = match (self.mint, &before.mint) {
            (Some(mint), Some(before)) if is_same(&mint, before) => Some(Arc::clone(before)),
            (mint, _) => mint,
        };
        Self { mint, ..self }
    }
}

struct Reader<'a> {
    config: &'a Config,
    missing: Missing,
    errors: &'a mut ConfigErrors,
}

impl Reader<'_> {
    /// The keys for a purpose, at least one. Where nobody needs them they are only looked at.
    fn secrets(
        &mut self,
        purpose: Purpose,
        is_needed: bool,
        make: fn() -> Result<Secret, String>,
    ) -> Result<Vec<Secret>, KeepError> {
        let written = self.config.keys.read(purpose, &self.config.surroundings);
        match (written, self.missing) {
            (Ok(keys), _) if !keys.is_empty() => return Ok(keys),
            (Ok(_), Missing::Kept) if is_needed => return Ok(vec![kept(&self.config.state_dir, purpose, make)?]),
            (Ok(_), _) => {}
            (Err(found), _) => self.errors.append(found),
        }
        Ok(vec![make().map_err(KeepError::Make)?])
    }

    /// The key that signs for a purpose, and those that are only published.
    fn signers(&mut self, purpose: Purpose, is_needed: bool) -> Result<(Signer, Vec<Signer>), KeepError> {
        let pems = self.secrets(purpose, is_needed, || generate().map(|(_, pem)| pem))?;
        let path = |i: usize| below("keys", &format!("{}[{i}]", purpose.key()));
        let signers = pems.iter().enumerate().filter_map(|(i, pem)| self.errors.keep(path(i), Signer::from_pem(pem)));
        let mut signers = signers.collect::<Vec<_>>().into_iter();
        let current = match signers.next() {
            Some(current) => current,
            None => generate().map_err(KeepError::Make)?.0,
        };
        Ok((current, signers.collect()))
    }
}

fn generate() -> Result<(Signer, Secret), String> {
    Signer::generate().map_err(|error| error.to_string())
}

fn random() -> Result<Secret, String> {
    Ok(Secret::random(32))
}

/// Where the issuer of minted tokens lives under the public URL; its documents are public.
pub(super) const ISSUER: &str = "/.claviger/issuer";
