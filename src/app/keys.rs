//! The keys of this installation: those of the config, or one made on the first start and kept in `state_dir`.

use std::sync::Arc;

use super::StartError;
use crate::config::keys::{KeepError, Purpose, kept};
use crate::config::{Config, ConfigErrors, below};
use crate::credentials::Mint;
use crate::generation::Parts;
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
    /// Seal sessions that are kept outside of memory; none where they are not.
    pub(super) sessions: Vec<Secret>,
    /// Signs the tokens that `minted` shows to STS, as the issuer under the first public URL; none where there is none.
    pub(super) mint: Option<Arc<Mint>>,
    /// Signs the tokens that `identity_jwt` shows to upstreams, as the first public URL; none where there is none.
    pub(super) identity_issuer: Option<Arc<IdentityIssuer>>,
}

impl OurKeys {
    /// Reads them.
    ///
    /// # Errors
    /// [`StartError::Config`] for a key that is none, [`StartError::Key`] for a `state_dir` that keeps none.
    pub(super) fn read(config: &Config) -> Result<Self, StartError> {
        let sealing = secrets(config, Purpose::Cookie, || Ok(Secret::random(32)))?;
        let sealer = Arc::new(Sealer::new(&sealing).unwrap_or_else(Sealer::random));
        let sessions = match config.session.kind {
            StoreKind::Memory => Vec::new(),
            StoreKind::File | StoreKind::Redis => secrets(config, Purpose::Session, || Ok(Secret::random(32)))?,
        };
        let Some(public_url) = config.listen.values().find_map(|listen| listen.public_url.as_ref()) else {
            return Ok(Self { sealer, sessions, mint: None, identity_issuer: None });
        };
        let (current, others) = signers(config, Purpose::Minted)?;
        let mint = Some(Mint::new(public_url.at(ISSUER), current, others));
        let (current, others) = signers(config, Purpose::Identity)?;
        let identity_issuer = Some(IdentityIssuer::new(public_url.origin(), SigningKeys::new(current, others)));
        Ok(Self { sealer, sessions, mint, identity_issuer })
    }

    /// The parts of a generation, with what our keys make.
    pub(super) fn given(&self, parts: &Parts) -> Parts {
        Parts { mint: self.mint.clone(), identity_issuer: self.identity_issuer.clone(), ..parts.clone() }
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

/// The keys for a purpose, at least one.
fn secrets(
    config: &Config,
    purpose: Purpose,
    make: impl FnOnce() -> Result<Secret, String>,
) -> Result<Vec<Secret>, StartError> {
    let mut keys = config.keys.read(purpose, &config.surroundings).map_err(StartError::Config)?;
    if keys.is_empty() {
        keys.push(kept(&config.state_dir, purpose, make)?);
    }
    Ok(keys)
}

/// The key that signs for a purpose, and those that are only published.
fn signers(config: &Config, purpose: Purpose) -> Result<(Signer, Vec<Signer>), StartError> {
    let pems = secrets(config, purpose, || Signer::generate().map(|(_, pem)| pem).map_err(|error| error.to_string()))?;
    let mut errors = ConfigErrors::default();
    let path = |i: usize| below("keys", &format!("{}[{i}]", purpose.key()));
    let signers = pems.iter().enumerate().filter_map(|(i, pem)| errors.keep(path(i), Signer::from_pem(pem)));
    let mut signers = signers.collect::<Vec<_>>().into_iter();
    let current = signers.next();
    errors.or(()).map_err(StartError::Config)?;
    let none = || StartError::Key(KeepError::Make("there is none".to_owned()));
    Ok((current.ok_or_else(none)?, signers.collect()))
}

/// Where the issuer of minted tokens lives under the public URL; its documents are public.
pub(super) const ISSUER: &str = "/.claviger/issuer";
