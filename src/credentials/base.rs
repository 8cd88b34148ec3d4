//! claviger's own keys: found where the AWS SDKs find them, kept, and renewed before they end.
//!
//! Which place they come from is decided once, by the variables that name it; what then fails there is not made up for by
//! another place, or a passing outage would make us somebody else.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::sync::Mutex;

use super::service::Service;
use crate::arn::{RoleArn, SessionName};
use crate::aws::{AssumedRole, Bounds, Keys, Sts, StsError, WebIdentity};
use crate::built_in::{Environment, Settings, SettingsError};
use crate::clock::Clock;
use crate::secret::Secret;
use crate::web::{BoxError, chain};

mod container;
mod document;
mod file;
mod instance;

use container::Container;
use instance::Instance;

/// A place where keys may be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    Environment,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`, as in EKS (IRSA).
    WebIdentity,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `…_FULL_URI`, as in ECS and with EKS pod identity.
    Container,
    /// The instance metadata service of EC2, in its second version.
    Instance,
}

/// Our own keys.
#[derive(Debug)]
pub(super) struct Base {
    source: Source,
    kept: Mutex<Option<Kept>>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
enum Source {
    Fixed(Arc<Keys>),
    WebIdentity { sts: Sts, file: String, role: RoleArn, session_name: SessionName },
    Container(Container),
    Instance(Instance),
}

/// Keys as they were found.
#[derive(Debug)]
struct Found {
    keys: Keys,
    expires: SystemTime,
}

#[derive(Debug)]
struct Kept {
    keys: Arc<Keys>,
    expires: SystemTime,
    renew_at: SystemTime,
}

/// Why there are none. Never with what a place has answered, as that may be a key.
#[derive(Debug, thiserror::Error)]
#[error("claviger's own keys can't be had from {place}")]
pub(super) struct BaseError {
    place: &'static str,
    #[source]
    source: BoxError,
}

impl Base {
    /// The first of these places that the environment speaks of.
    pub(super) fn find(places: &[Place], settings: &Settings<'_>, service: &Service) -> Result<Self, SettingsError> {
        let environment = &settings.surroundings.environment;
        for place in places {
            let source = Source::at(*place, environment, service).map_err(|e| SettingsError::at("base", e))?;
            if let Some(source) = source {
                let clock = Arc::clone(settings.clock);
                return Ok(Self { source, kept: Mutex::default(), clock });
            }
        }
        let problem = "no place has keys for claviger: the environment names none of those listed here";
        Err(SettingsError::at("base", problem))
    }

    /// The keys, at hand or anew. One asks, however many wait.
    pub(super) async fn keys(&self) -> Result<Arc<Keys>, BaseError> {
        if let Source::Fixed(keys) = &self.source {
            return Ok(Arc::clone(keys));
        }
        let mut kept = self.kept.lock().await;
        let now = self.clock.now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.renew_at) {
            return Ok(Arc::clone(&kept.keys));
        }
        let found = tokio::time::timeout(PATIENCE, self.source.find()).await;
        let error = match found.unwrap_or_else(|_| Err("no answer in time".into())) {
            Ok(found) => {
                let keys = Arc::new(found.keys);
                let life = found.expires.duration_since(now).unwrap_or_default();
                let renew_at = found.expires - EARLY.min(life / 3);
                *kept = Some(Kept { keys: Arc::clone(&keys), expires: found.expires, renew_at });
                return Ok(keys);
            }
            Err(source) => BaseError { place: self.source.name(), source },
        };
        match kept.as_mut().filter(|kept| now < kept.expires) {
            Some(kept) => {
                tracing::warn!(error = chain(&error), "our own keys could not be renewed yet; those of before go on");
                kept.renew_at = now + PAUSE;
                Ok(Arc::clone(&kept.keys))
            }
            None => Err(error),
        }
    }

    /// These are not good any more.
    pub(super) async fn forget(&self, keys: &Arc<Keys>) {
        self.kept.lock().await.take_if(|kept| Arc::ptr_eq(&kept.keys, keys));
    }
}

impl Source {
    /// What the environment says of this place; none where it says nothing.
    fn at(place: Place, environment: &Environment, service: &Service) -> Result<Option<Self>, String> {
        let value = |name: &str| environment.value(name).filter(|value| !value.is_empty());
        let needed = |name: &str| value(name).ok_or_else(|| format!("the environment variable `{name}` is not set"));
        match place {
            Place::Environment => {
                let Some(id) = value("AWS_ACCESS_KEY_ID") else { return Ok(None) };
                let keys = Keys {
                    access_key_id: id.to_owned(),
                    secret_access_key: Secret::new(needed("AWS_SECRET_ACCESS_KEY")?),
                    session_token: value("AWS_SESSION_TOKEN").map(Secret::new),
                };
                Ok(Some(Self::Fixed(Arc::new(keys))))
            }
            Place::WebIdentity => {
                let Some(file) = value("AWS_WEB_IDENTITY_TOKEN_FILE") else { return Ok(None) };
                let role = needed("AWS_ROLE_ARN")?.parse().map_err(|e| format!("`AWS_ROLE_ARN`: {e}"))?;
                let session_name = value("AWS_ROLE_SESSION_NAME").unwrap_or("claviger").parse();
                let session_name = session_name.map_err(|e| format!("`AWS_ROLE_SESSION_NAME`: {e}"))?;
                Ok(Some(Self::WebIdentity { sts: service.sts.clone(), file: file.to_owned(), role, session_name }))
            }
            Place::Container => Ok(Container::read(environment)?.map(Self::Container)),
            Place::Instance => Ok(Instance::read(environment)?.map(Self::Instance)),
        }
    }

    async fn find(&self) -> Result<Found, BoxError> {
        match self {
            Self::Fixed(_) => Err("keys that don't end are not renewed".into()),
            Self::Container(container) => container.find().await,
            Self::Instance(instance) => instance.find().await,
            Self::WebIdentity { sts, file, role, session_name } => {
                let token = file::secret(file).await?;
                let (duration, bounds) = (None, Bounds::default());
                let ask = WebIdentity { role, session_name, token: &token, duration, bounds };
                Ok(sts.assume_role_with_web_identity(ask).await.map_err(told)?.into())
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Fixed(_) => "the environment",
            Self::WebIdentity { .. } => "STS by the web identity file",
            Self::Container(_) => "the container endpoint",
            Self::Instance(_) => "the instance metadata service",
        }
    }
}

impl From<AssumedRole> for Found {
    fn from(assumed: AssumedRole) -> Self {
        let keys = Keys {
            access_key_id: assumed.access_key_id,
            secret_access_key: assumed.secret_access_key,
            session_token: Some(assumed.session_token),
        };
        Self { keys, expires: assumed.expires }
    }
}

fn told(error: StsError) -> BoxError {
    error.into()
}

/// Keys are renewed so long before they end: those of IMDS and ECS are replaced earlier than that.
const EARLY: Duration = Duration::from_secs(300);
/// After a renewal that failed, while the keys of before are good.
const PAUSE: Duration = Duration::from_secs(10);
/// Below the broker's own, with room for the call that they are for.
const PATIENCE: Duration = Duration::from_secs(10);
