//! `kind = "sigv4"`: clients sign with keys that an endpoint of ours has issued to the workload beside us, and never hold
//! others.
//!
//! The signature is judged as AWS's services do it, but more strictly (A30): it covers the host and every `x-amz-*`, is
//! made within five minutes of now, stands in one place, and can be read one way. What it says of the body is checked as
//! the body streams, by who passes it on ([`IdentitySource::signed`]).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::request;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    BodyDigest, Claims, IdentitySource, IssuedKeys, IssuedTo, Materials, Presented, Recognition, Signed, issuer,
};
use crate::built_in::BuiltIn;
use crate::clock::Clock;
use crate::secret::Secret;
use crate::sigv4::chunked::{Announced, Check};
use crate::sigv4::{self, Covered, Reading};
use crate::web::{Caller, chain};

pub(super) const BUILT_IN: BuiltIn<dyn IdentitySource, Materials> = BuiltIn {
    kind: "sigv4",
    summary: "Accepts requests that are signed with keys of our own endpoints.",
    example: include_str!("../../config/examples/identity/sigv4.toml"),
    build: |settings, materials| {
        let Sigv4Settings { endpoints } = settings.parse()?;
        Ok(Arc::new(Sigv4 { endpoints, keys: materials.keys.clone(), clock: Arc::clone(settings.clock) }))
    },
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sigv4Settings {
    endpoints: Option<Vec<String>>,
}

#[derive(Debug)]
struct Sigv4 {
    /// Whose keys count; absent: every endpoint's.
    endpoints: Option<Vec<String>>,
    keys: IssuedKeys,
    clock: Arc<dyn Clock>,
}

impl Sigv4 {
    fn judge(&self, caller: &Caller<'_>) -> Recognition {
        if !is_signed(caller.head) {
            return Recognition::NotPresented;
        }
        match self.read_signature(caller.head) {
            Ok((_, to, _)) => Recognition::Issued(to),
            Err(reason) => Recognition::Rejected(Presented::Signature.rejected(reason)),
        }
    }

    /// The signature, whose it is, and the secret that made it.
    fn read_signature(&self, head: &request::Parts) -> Result<(sigv4::Presented, IssuedTo, Secret), String> {
        let now = self.clock.now();
        let body = head.extensions.get::<BodyDigest>().map(|BodyDigest(digest)| digest);
        let reading = Reading { service: None, body, skew: SKEW, signed_chunks: true };
        let presented = sigv4::Presented::read_as(head, &reading, now).map_err(|error| error.to_string())?;
        let token =
            presented.session_token().ok_or("it was not signed with a key of ours: there is no session token")?;
        let found = self.keys.read(presented.access_key_id(), token.expose());
        let (to, secret) = found.ok_or("it was not signed with a key of ours, or our keys have changed since")?;
        presented.verify(&secret).map_err(|error| error.to_string())?;
        if to.until <= now {
            return Err("the key has ended".into());
        }
        if self.endpoints.as_ref().is_some_and(|endpoints| !endpoints.iter().any(|name| **name == *to.endpoint)) {
            return Err(format!("keys of the endpoint `{}` don't count here", to.endpoint));
        }
        Ok((presented, to, secret))
    }
}

#[async_trait]
impl IdentitySource for Sigv4 {
    fn glance(&self, caller: &Caller<'_>) -> Option<Recognition> {
        Some(self.judge(caller))
    }

    async fn recognize(&self, caller: &Caller<'_>) -> Recognition {
        self.judge(caller)
    }

    fn read(&self, claims: Map<String, Value>) -> Result<(Arc<str>, Claims), String> {
        let id = claims.get("sub").and_then(Value::as_str).filter(|id| issuer::is_subject(id));
        let id = id.ok_or("`sub` is not 1 to 255 printable ASCII characters")?.into();
        Ok((id, Claims::new(claims)))
    }

    fn takes_signatures(&self) -> bool {
        true
    }

    fn signed(&self, caller: &Caller<'_>) -> Result<Option<Signed>, String> {
        let (presented, _, secret) = self.read_signature(caller.head)?;
        let check = match presented.covered() {
            Covered::Nothing => None,
            Covered::Digest(digest) => Some(Check::Digest(*digest)),
            Covered::Chunks(_) => {
                let announced = Announced::read(&caller.head.headers).map_err(|error| chain(&error))?;
                Some(Check::Chunks(announced.ok_or("the body is in no chunks")?, presented.chain(&secret)))
            }
        };
        Ok(Some(Signed { scope: presented.scope().clone(), check }))
    }
}

/// Whether there is anything of a signature of AWS's. Parts of one in any case or spelling are a signature, and a bad one.
fn is_signed(head: &request::Parts) -> bool {
    let in_head = head.headers.get_all(AUTHORIZATION).iter().any(|line| line.as_bytes().starts_with(b"AWS4-"));
    in_head || head.uri.query().is_some_and(|query| query.split('&').any(is_of_a_signature))
}

fn is_of_a_signature(pair: &str) -> bool {
    let name = percent_decode_str(pair.split('=').next().unwrap_or_default()).decode_utf8_lossy();
    ["X-Amz-Signature", "X-Amz-Credential", "X-Amz-Algorithm"].iter().any(|known| known.eq_ignore_ascii_case(&name))
}

/// How far a client's clock and ours may be apart: they are on one machine (A30).
const SKEW: Duration = Duration::from_secs(5 * 60);
