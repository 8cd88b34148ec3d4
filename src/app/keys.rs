//! The keys of this installation: those of the config, or one made on the first start and kept in `state_dir`.

use std::sync::Arc;

use super::StartError;
use crate::config::keys::{Purpose, kept};
use crate::config::{Config, ConfigErrors};
use crate::credentials::Mint;
use crate::jose::Signer;
use crate::secret::{Sealer, Secret};

/// Seals for this purpose.
pub(super) fn sealer(config: &Config, purpose: Purpose) -> Result<Sealer, StartError> {
    let keys = config.keys.read(purpose, &config.surroundings).map_err(StartError::Config)?;
    if let Some(sealer) = Sealer::new(&keys) {
        return Ok(sealer);
    }
    let key = kept(&config.state_dir, purpose, || Ok(Secret::random(32)))?;
    Ok(Sealer::new(&[key]).unwrap_or_else(Sealer::random))
}

/// Signs the tokens that `minted` shows to STS, as the issuer under the first public URL; none where there is none.
pub(super) fn mint(config: &Config) -> Result<Option<Arc<Mint>>, StartError> {
    let Some(public_url) = config.listen.values().find_map(|listen| listen.public_url.as_ref()) else {
        return Ok(None);
    };
    let mut pems = config.keys.read(Purpose::Minted, &config.surroundings).map_err(StartError::Config)?;
    if pems.is_empty() {
        let make = || Signer::generate().map(|(_, pem)| pem).map_err(|error| error.to_string());
        pems.push(kept(&config.state_dir, Purpose::Minted, make)?);
    }
    let mut errors = ConfigErrors::default();
    let signers = pems.iter().enumerate();
    let signers = signers.filter_map(|(i, pem)| errors.keep(format!("keys.minted[{i}]"), Signer::from_pem(pem)));
    let mut signers = signers.collect::<Vec<_>>().into_iter();
    let current = signers.next();
    errors.or(()).map_err(StartError::Config)?;
    Ok(current.map(|current| Mint::new(public_url.at(ISSUER), current, signers.collect())))
}

/// Where the issuer of minted tokens lives under the public URL; its documents are public.
pub(super) const ISSUER: &str = "/.claviger/issuer";
