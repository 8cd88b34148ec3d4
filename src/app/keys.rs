//! The keys of this installation: those of the config, or one made on the first start and kept in `state_dir`.

use std::sync::Arc;

use super::StartError;
use crate::config::keys::{Purpose, kept};
use crate::config::{Config, ConfigErrors, PublicUrl};
use crate::credentials::Mint;
use crate::inject::IdentityIssuer;
use crate::jose::{Signer, SigningKeys};
use crate::secret::{Sealer, Secret};

/// Seals cookies.
pub(super) fn sealer(config: &Config) -> Result<Sealer, StartError> {
    let keys = config.keys.read(Purpose::Cookie, &config.surroundings).map_err(StartError::Config)?;
    if let Some(sealer) = Sealer::new(&keys) {
        return Ok(sealer);
    }
    let key = kept(&config.state_dir, Purpose::Cookie, || Ok(Secret::random(32)))?;
    Ok(Sealer::new(&[key]).unwrap_or_else(Sealer::random))
}

/// Signs the tokens that `minted` shows to STS, as the issuer under the first public URL; none where there is none.
pub(super) fn mint(config: &Config) -> Result<Option<Arc<Mint>>, StartError> {
    let Some(public_url) = public_url(config) else { return Ok(None) };
    let (current, others) = signers(config, Purpose::Minted)?;
    Ok(Some(Mint::new(public_url.at(ISSUER), current, others)))
}

/// Signs the tokens that `identity_jwt` shows to upstreams, as the first public URL; none where there is none.
pub(super) fn identity_issuer(config: &Config) -> Result<Option<Arc<IdentityIssuer>>, StartError> {
    let Some(public_url) = public_url(config) else { return Ok(None) };
    let (current, others) = signers(config, Purpose::Identity)?;
    Ok(Some(IdentityIssuer::new(public_url.origin(), SigningKeys::new(current, others))))
}

fn public_url(config: &Config) -> Option<&PublicUrl> {
    config.listen.values().find_map(|listen| listen.public_url.as_ref())
}

/// The key that signs, and those that are published beside it.
fn signers(config: &Config, purpose: Purpose) -> Result<(Signer, Vec<Signer>), StartError> {
    let mut pems = config.keys.read(purpose, &config.surroundings).map_err(StartError::Config)?;
    if pems.is_empty() {
        let make = || Signer::generate().map(|(_, pem)| pem).map_err(|error| error.to_string());
        pems.push(kept(&config.state_dir, purpose, make)?);
    }
    let mut errors = ConfigErrors::default();
    let signers = pems.iter().enumerate();
    let signers =
        signers.filter_map(|(i, pem)| errors.keep(format!("keys.{}[{i}]", purpose.key()), Signer::from_pem(pem)));
    let mut signers = signers.collect::<Vec<_>>().into_iter();
    let current = signers.next();
    errors.or(()).map_err(StartError::Config)?;
    let current = current.ok_or_else(|| StartError::Config(ConfigErrors::default()))?;
    Ok((current, signers.collect()))
}

/// Where the issuer of minted tokens lives under the public URL; its documents are public.
pub(super) const ISSUER: &str = "/.claviger/issuer";
