//! `kind = "mtls"`: whoever connects shows a certificate in the TLS handshake.
//!
//! The listener verifies it (`tls.client_ca`); here it is read what it says of whom. It belongs to the connection, so
//! every request there presents it, also one that brings a ticket or a token along: where both count on a route, the
//! caller is two people and is refused. Such a route names its sources.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::groups::with_groups;
use super::seen::Seen;
use super::{
    Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId, Identity, IdentitySource, Materials, Presented,
    Recognition, SourceName, Subject,
};
use crate::built_in::BuiltIn;
use crate::clock::Clock;
use crate::tls::ClientCertificate;
use crate::web::Caller;

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "mtls",
    summary: "Accepts the certificates that clients show when they connect.",
    example: include_str!("../../config/examples/identity/mtls.toml"),
    build: |settings, _materials| {
        let MtlsSettings { subject, groups_claim } = settings.parse()?;
        let (name, clock) = (settings.name.into(), Arc::clone(settings.clock));
        Ok(Arc::new(Mtls { name, subject, groups_claim, seen: Seen::default(), clock }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MtlsSettings {
    #[serde(default)]
    subject: Named,
    groups_claim: Option<String>,
}

/// What of a certificate names the subject.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Named {
    #[default]
    Uri,
    Dns,
    Email,
    CommonName,
    Fingerprint,
}

#[derive(Debug)]
struct Mtls {
    name: SourceName,
    subject: Named,
    groups_claim: Option<String>,
    /// By fingerprint, so that many connections with one certificate are one holder.
    seen: Seen,
    clock: Arc<dyn Clock>,
}

impl Mtls {
    fn judge(&self, caller: &Caller<'_>) -> Recognition {
        let Some(certificate) = &caller.connection.certificate else { return Recognition::NotPresented };
        let reject = |reason: String| Recognition::Rejected(Presented::Certificate.rejected(reason));
        let now = self.clock.now();
        if !certificate.is_valid_at(now) {
            return reject("the certificate has expired since the client connected, or is not valid yet".into());
        }
        if let Some(identity) = self.seen.fresh(&certificate.fingerprint, now) {
            return Recognition::Verified(identity);
        }
        let id = match self.subject.of(certificate) {
            Ok(Some(id)) => id,
            Ok(None) => {
                tracing::debug!(subject.source = %self.name, "the client's certificate has no {}", self.subject.words());
                return Recognition::NotPresented;
            }
            Err(reason) => return reject(reason),
        };
        let claims = self.claims(certificate, &id);
        Recognition::Verified(self.seen.keep(certificate.fingerprint, now, || self.identity(certificate, id, claims)))
    }

    fn identity(&self, certificate: &ClientCertificate, id: Arc<str>, claims: Claims) -> Identity {
        let ends = certificate.not_after;
        let holder = HolderId::of_credential(&self.name, &certificate.fingerprint);
        Identity {
            subject: Arc::new(Subject { source: Arc::clone(&self.name), id }),
            claims,
            ends_at: ends,
            holder: Holder { id: holder, ends, evidence: Arc::new(NoToken) },
        }
    }

    fn claims(&self, certificate: &ClientCertificate, id: &str) -> Claims {
        let mut claims = Map::new();
        claims.insert("sub".into(), id.into());
        let mut set = |name: &str, values: &[String]| match values {
            [] => {}
            [only] if !PLURAL.contains(&name) => drop(claims.insert(name.into(), only.as_str().into())),
            several => drop(claims.insert(name.into(), several.into())),
        };
        set("common_name", &certificate.common_names);
        set("organization", &certificate.organizations);
        set("organizational_unit", &certificate.organizational_units);
        set("dns_names", &certificate.dns_names);
        set("uris", &certificate.uris);
        set("emails", &certificate.emails);
        for (name, value) in [
            ("serial", certificate.serial.clone()),
            ("issuer", certificate.issuer.clone()),
            ("fingerprint_sha256", certificate.fingerprint_text()),
        ] {
            claims.insert(name.into(), value.into());
        }
        if self.subject == Named::Email {
            // the operator trusts these certificates to say whose an address is
            claims.insert("email".into(), id.into());
            claims.insert("email_verified".into(), json!(true));
        }
        self.with_groups(claims)
    }

    fn with_groups(&self, claims: Map<String, Value>) -> Claims {
        match &self.groups_claim {
            Some(name) => with_groups(claims, name),
            None => Claims::new(claims),
        }
    }
}

#[async_trait]
impl IdentitySource for Mtls {
    fn glance(&self, caller: &Caller<'_>) -> Option<Recognition> {
        Some(self.judge(caller))
    }

    async fn recognize(&self, caller: &Caller<'_>) -> Recognition {
        self.judge(caller)
    }

    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        let id = claims.get("sub").and_then(Value::as_str).filter(|id| is_name(id));
        let id = id.ok_or("`sub` is not 1 to 255 bytes without control characters")?.into();
        Ok((id, self.with_groups(claims)))
    }

    fn wants_certificates(&self) -> bool {
        true
    }

    fn has_tokens(&self) -> bool {
        false
    }
}

impl Named {
    /// What names the subject; nothing where the certificate has nothing of the kind, and so is another source's.
    ///
    /// # Errors
    /// It is not the one name that it must be: of several nobody knows which is meant.
    fn of(self, certificate: &ClientCertificate) -> Result<Option<Arc<str>>, String> {
        let names = match self {
            Self::Uri => &certificate.uris,
            Self::Dns => &certificate.dns_names,
            Self::Email => &certificate.emails,
            Self::CommonName => &certificate.common_names,
            Self::Fingerprint => return Ok(Some(certificate.fingerprint_text().into())),
        };
        match names.as_slice() {
            [] => Ok(None),
            [only] if is_name(only) => Ok(Some(only.as_str().into())),
            [_] => Err(format!("the certificate's {} is not 1 to 255 bytes without control characters", self.words())),
            _ => Err(format!("the certificate has more than one {}", self.words())),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Uri => "URI",
            Self::Dns => "DNS name",
            Self::Email => "e-mail address",
            Self::CommonName => "common name",
            Self::Fingerprint => "fingerprint",
        }
    }
}

/// A certificate proves who somebody is to us, and to nobody else: there is nothing that STS could be shown.
#[derive(Debug)]
struct NoToken;

#[async_trait]
impl EvidenceSource for NoToken {
    async fn evidence(&self, _valid_for: std::time::Duration) -> Result<Evidence, EvidenceError> {
        Err(EvidenceError::Expired)
    }
}

/// What may name a subject; a NUL has ended names early before (CVE-2009-2408).
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control)
}

/// Claims that are lists, however many there are.
const PLURAL: [&str; 3] = ["dns_names", "uris", "emails"];
