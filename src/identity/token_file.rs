//! `kind = "token_file"`: the workload that claviger runs beside has a token in a file that its platform rotates, such
//! as a projected service-account token of Kubernetes (IRSA).
//!
//! No caller can present it. Nothing of the token is verified here, as STS does that each time it is shown; the file is
//! believed as the config is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Identity, IdentitySource, Materials,
    Recognition, SourceName, Subject, issuer,
};
use crate::built_in::BuiltIn;
use crate::clock::{Clock, from_epoch_seconds};
use crate::files::{Rotated, RotatedError};
use crate::jose::unverified_claims;
use crate::secret::Secret;
use crate::web::Caller;

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "token_file",
    summary: "The workload's own token, in a file that its platform rotates.",
    example: include_str!("../../config/examples/identity/token_file.toml"),
    build: |settings, _materials| {
        let TokenFileSettings { path } = settings.parse()?;
        // not among the config's own files: a rotated token is no other config
        let path = settings.surroundings.folder.join(path);
        let token = TokenInFile { file: Rotated::new(path), clock: Arc::clone(settings.clock) };
        Ok(Arc::new(TokenFile { name: settings.name.into(), holder: HolderId::random(), token: Arc::new(token) }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFileSettings {
    path: PathBuf,
}

#[derive(Debug)]
struct TokenFile {
    name: SourceName,
    holder: HolderId,
    token: Arc<TokenInFile>,
}

#[derive(Debug)]
struct TokenInFile {
    file: Rotated<Read>,
    clock: Arc<dyn Clock>,
}

/// What a token says, and it.
#[derive(Debug)]
struct Read {
    token: Secret,
    subject: Arc<str>,
    claims: Claims,
    expires: SystemTime,
}

impl Read {
    fn of(text: &str) -> Result<Self, String> {
        let token = text.trim_end();
        let claims = unverified_claims(token).map_err(|error| format!("holds no token that can be read: {error}"))?;
        let expires = claims.get("exp").and_then(Value::as_u64).ok_or("holds a token without `exp`")?;
        let subject = subject(&claims)?;
        let (token, claims) = (Secret::new(token), Claims::new(claims));
        Ok(Self { token, subject, claims, expires: from_epoch_seconds(expires) })
    }
}

impl TokenInFile {
    /// The token as it is now, which has not expired.
    fn good(&self) -> Result<Arc<Read>, EvidenceError> {
        let read = self.read().map_err(|error| EvidenceError::Unavailable(Arc::new(error)))?;
        if self.clock.now() < read.expires { Ok(read) } else { Err(EvidenceError::Expired) }
    }

    fn read(&self) -> Result<Arc<Read>, RotatedError> {
        self.file.current(Read::of)
    }
}

#[async_trait]
impl EvidenceSource for TokenInFile {
    /// There is no fresher one than the platform has written.
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        Ok(Evidence::OidcToken(self.good()?.token.clone()))
    }
}

#[async_trait]
impl IdentitySource for TokenFile {
    fn glance(&self, _caller: &Caller<'_>) -> Option<Recognition> {
        Some(Recognition::NotPresented)
    }

    async fn recognize(&self, _caller: &Caller<'_>) -> Recognition {
        Recognition::NotPresented
    }

    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        Ok((subject(&claims)?, Claims::new(claims)))
    }

    fn is_own(&self) -> bool {
        true
    }

    /// It is the same workload, and one holder, whichever token is in the file: keys that were issued for the one before
    /// stay good. Without a good token there is nobody (A34).
    fn own(&self) -> Result<Identity, EvidenceError> {
        let read = self.token.good()?;
        let evidence = Arc::clone(&self.token) as Arc<dyn EvidenceSource>;
        Ok(Identity {
            subject: Arc::new(Subject { source: Arc::clone(&self.name), id: Arc::clone(&read.subject) }),
            claims: read.claims.clone(),
            ends_at: read.expires,
            holder: Holder { id: self.holder, ends: from_epoch_seconds(u64::MAX), evidence },
        })
    }

    fn trouble(&self) -> Option<String> {
        match self.token.read() {
            Ok(read) if self.token.clock.now() < read.expires => None,
            Ok(_) => Some(format!("the token in `{}` has expired", self.token.file.path().display())),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn subject(claims: &Map<String, Value>) -> Result<Arc<str>, String> {
    let id = claims.get("sub").and_then(Value::as_str).filter(|id| issuer::is_subject(id));
    id.map(Arc::from).ok_or_else(|| "holds a token whose `sub` is not 1 to 255 printable ASCII characters".to_owned())
}
