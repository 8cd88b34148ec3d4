//! The issuer of the tokens that `minted` shows to STS.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use url::Url;

use crate::clock::epoch_seconds;
use crate::jose::{JoseError, Signer, SigningKeys};
use crate::policy::Grant;
use crate::secret::{Secret, random_token};

/// Signs tokens as an OpenID Connect issuer whose documents are published under the public URL.
///
/// It has keys of its own: a token that an upstream is given must never be good at STS.
#[derive(Debug)]
pub struct Mint {
    issuer: Url,
    keys: SigningKeys,
}

impl Mint {
    /// An issuer. `current` signs; `others` are published too: keys that signed before, or will after the next change,
    /// as STS keeps a key set for a while.
    pub fn new(issuer: Url, current: Signer, others: Vec<Signer>) -> Arc<Self> {
        Arc::new(Self { issuer, keys: SigningKeys::new(current, others) })
    }

    /// The issuer, to the letter as in tokens and in IAM: without a slash at its end.
    pub fn issuer(&self) -> &str {
        self.issuer.as_str().trim_end_matches('/')
    }

    /// The document at `<issuer>/.well-known/openid-configuration` (OpenID Connect Discovery §3).
    pub fn discovery(&self) -> Value {
        json!({
            "issuer": self.issuer(),
            "jwks_uri": format!("{}/jwks", self.issuer()),
            // required by the specification; nobody logs in here
            "authorization_endpoint": format!("{}/authorize", self.issuer()),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "claims_supported": ["iss", "sub", "aud", "iat", "nbf", "exp", "jti", TAGS, SOURCE_IDENTITY],
        })
    }

    /// The document at `<issuer>/jwks` (RFC 7517 §5).
    pub fn key_set(&self) -> Value {
        self.keys.key_set()
    }

    /// The keys, to be told from those of others.
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// A token that says who the grant is for, and what else STS shall be told.
    ///
    /// The subject is `<source>/<id>`. A source's name has no slash, so that the first one ends it: no other source
    /// can make the same text (A27), and a trust policy can hold `corp/*` for one source.
    ///
    /// # Errors
    /// [`JoseError`], also for a source whose name has a slash.
    pub fn token(&self, grant: &Grant, audience: &str, now: SystemTime) -> Result<Secret, JoseError> {
        let subject = &grant.subject;
        if subject.source.contains('/') {
            return Err(JoseError::Claim(format!(
                "`sub` can't be made, as the source `{}` has a slash",
                subject.source
            )));
        }
        let now = epoch_seconds(now);
        let mut claims = Map::new();
        claims.insert("iss".into(), json!(self.issuer()));
        claims.insert("sub".into(), json!(format!("{}/{}", subject.source, subject.id)));
        claims.insert("aud".into(), json!(audience));
        claims.insert("iat".into(), json!(now));
        claims.insert("nbf".into(), json!(now.saturating_sub(SLOW_CLOCK.as_secs())));
        claims.insert("exp".into(), json!(now + LIFE.as_secs()));
        claims.insert("jti".into(), json!(random_token(16)));
        if !grant.tags.is_empty() {
            // AWS wants each value as a list of one
            let tags: Map<_, _> = grant.tags.iter().map(|(k, v)| (k.to_string(), json!([v]))).collect();
            let tags = json!({ "principal_tags": tags, "transitive_tag_keys": grant.transitive });
            claims.insert(TAGS.into(), tags);
        }
        if let Some(source_identity) = &grant.source_identity {
            claims.insert(SOURCE_IDENTITY.into(), json!(source_identity));
        }
        self.keys.current().sign("JWT", &claims)
    }
}

/// IAM User Guide, "Passing session tags using AssumeRoleWithWebIdentity".
const TAGS: &str = "https://aws.amazon.com/tags";
/// IAM User Guide, "Monitor and control actions taken with assumed roles".
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";
/// Shown once, at once.
const LIFE: Duration = Duration::from_secs(300);
/// How far STS's clock may be behind ours.
const SLOW_CLOCK: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_epoch_seconds;
    use crate::identity::Subject;
    use crate::jose::{Expected, KeySet, verify};
    use crate::policy::SessionBounds;

    fn grant(source: &str) -> Grant {
        Grant {
            provider: "aws".into(),
            subject: Arc::new(Subject { source: source.into(), id: "u/1".into() }),
            role: "arn:aws:iam::123456789012:role/reports".parse().unwrap(),
            session_name: "alice".parse().unwrap(),
            duration: None,
            tags: vec![("team".parse().unwrap(), "a b".parse().unwrap())],
            transitive: vec!["team".parse().unwrap()],
            source_identity: Some("alice".parse().unwrap()),
            external_id: None,
            bounds: SessionBounds::default(),
            after: None,
        }
    }

    fn mint() -> (Arc<Mint>, Signer) {
        let issuer = "https://apps.example.com/.claviger/issuer".parse().unwrap();
        let (current, _) = Signer::generate().unwrap();
        let (earlier, _) = Signer::generate().unwrap();
        let (other, _) = Signer::generate().unwrap();
        (Mint::new(issuer, current, vec![earlier]), other)
    }

    #[test]
    fn tokens_verify_by_the_published_keys_and_say_everything() {
        let (mint, _) = mint();
        let now = from_epoch_seconds(1_456_380_211);
        let token = mint.token(&grant("corp"), "sts.amazonaws.com", now).unwrap();
        let keys = KeySet::parse(mint.key_set().to_string().as_bytes()).unwrap();
        assert_eq!(mint.key_set()["keys"].as_array().map(Vec::len), Some(2));
        let discovery = mint.discovery();
        let issuer = discovery["issuer"].as_str().unwrap();
        let expected = Expected { issuer, audiences: &["sts.amazonaws.com"], now, leeway: Duration::ZERO };
        let claims = verify(token.expose(), &keys, &expected).unwrap();
        assert_eq!(claims["sub"], "corp/u/1");
        assert_eq!(claims[TAGS], json!({ "principal_tags": { "team": ["a b"] }, "transitive_tag_keys": ["team"] }));
        assert_eq!(claims[SOURCE_IDENTITY], "alice");
        assert_eq!(claims["exp"], 1_456_380_211 + 300);
        let later = Expected { now: now + Duration::from_secs(301), ..expected };
        assert!(verify(token.expose(), &keys, &later).is_err());
        let again = mint.token(&grant("corp"), "sts.amazonaws.com", now).unwrap();
        assert!(!token.matches(again.expose()), "each has an id of its own");
    }

    /// A27
    #[test]
    fn no_source_can_speak_for_another() {
        assert!(mint().0.token(&grant("corp/u"), "sts.amazonaws.com", SystemTime::UNIX_EPOCH).is_err());
    }
}
