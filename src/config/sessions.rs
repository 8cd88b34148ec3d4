//! Where `[session]` says that Redis is.

use super::{Config, ConfigErrors};
use crate::redis::{Address, AddressError};
use crate::session::StoreKind;
use crate::tls::Trust;

impl Config {
    /// Where Redis is and who we are there; none where sessions are kept elsewhere. Nothing is asked.
    ///
    /// # Errors
    /// What can't be read, each at its key path.
    pub fn redis(&self) -> Result<Option<Address>, ConfigErrors> {
        let settings = &self.session;
        let Some(url) = settings.url.clone().filter(|_| settings.kind == StoreKind::Redis) else { return Ok(None) };
        let mut errors = ConfigErrors::default();
        let password = settings.password.as_ref();
        let password = password.and_then(|from| errors.keep("session.password", from.read(&self.surroundings)));
        let ca = settings.ca.as_ref().and_then(|path| {
            let path = self.surroundings.path(path);
            errors.keep("session.ca", Trust::with_file(&path))?;
            errors.keep("session.ca", std::fs::read(&path))
        });
        let (username, prefix) = (settings.username.clone(), settings.prefix.clone());
        let address = Address { url, username, password, ca, prefix: prefix.unwrap_or_else(|| PREFIX.to_owned()) };
        match address.check() {
            Ok(()) => {}
            Err(error @ (AddressError::CaWithoutTls | AddressError::Ca)) => errors.add("session.ca", error),
            Err(error) => errors.add("session.url", error),
        }
        errors.or(Some(address))
    }
}

const PREFIX: &str = "claviger:";
