//! `kind = "identity_jwt"`: tells the upstream who is asking in a signed token, for upstreams that others can reach too.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, json};

use super::token_header::TokenHeader;
use super::{Given, InjectError, Injector, Materials, Needs};
use crate::built_in::{BuiltIn, SettingsError};
use crate::clock::{epoch_seconds, from_epoch_seconds, optional_duration_text};
use crate::identity::{Derived, Identity, TokenKind};
use crate::web::Request;

mod issuer;
mod told;

pub use issuer::IdentityIssuer;
use told::ToldClaims;

pub(super) const BUILT_IN: BuiltIn<dyn Injector, Materials> = BuiltIn {
    kind: "identity_jwt",
    summary: "Puts a short token that claviger signs on requests: it says who is asking, and for which upstream.",
    example: include_str!("../../config/examples/inject/identity_jwt.toml"),
    build: |settings, materials| Ok(Arc::new(IdentityJwt::new(settings.parse()?, materials)?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityJwtSettings {
    #[serde(default)]
    form: FormName,
    header: Option<String>,
    audience: Option<String>,
    #[serde(default, deserialize_with = "optional_duration_text")]
    lifetime: Option<Duration>,
    claims: Option<Vec<String>>,
    signer: Option<String>,
    #[serde(default)]
    access_token: bool,
    #[serde(default)]
    plain_http: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum FormName {
    #[default]
    Jwt,
    Alb,
}

#[derive(Debug)]
struct IdentityJwt {
    issuer: Arc<IdentityIssuer>,
    audience: String,
    lifetime: Duration,
    told: ToldClaims,
    form: Form,
    /// By session, as each route has an injector of its own. Signing takes longer than all the rest of a request.
    made: Derived<Arc<Made>>,
}

/// Where the token goes, and what it looks like.
#[derive(Debug)]
enum Form {
    /// A JWT as RFC 7519 has it.
    Jwt(TokenHeader),
    /// The headers of AWS's Application Load Balancers (Elastic Load Balancing, "Authenticate users").
    Alb { signer: String, sets: Vec<HeaderName>, access_token: bool },
}

/// What is put on, for a while.
#[derive(Debug)]
struct Made {
    headers: Vec<(HeaderName, HeaderValue)>,
    since: SystemTime,
    until: SystemTime,
}

impl IdentityJwt {
    fn new(settings: IdentityJwtSettings, materials: &Materials) -> Result<Self, SettingsError> {
        let Some(issuer) = &materials.identity_issuer else {
            let problem = "`identity_jwt` publishes its keys under a listener's `public_url`, and no listener has one";
            return Err(SettingsError::at("kind", problem));
        };
        let lifetime = settings.lifetime.unwrap_or(LIFETIME);
        if !(SHORTEST..=LONGEST).contains(&lifetime) {
            return Err(SettingsError::at("lifetime", "expected 30s to 1h: nothing can take such a token back"));
        }
        let audience = settings.audience.clone().or_else(|| materials.upstream.clone()).filter(|text| !text.is_empty());
        let audience = audience.ok_or_else(|| {
            let problem = "expected a text that names the upstream, as it has several addresses and no `host`";
            SettingsError::at("audience", problem)
        })?;
        Ok(Self {
            form: Form::read(&settings, issuer, materials)?,
            issuer: Arc::clone(issuer),
            audience,
            lifetime,
            told: ToldClaims::read(settings.claims)?,
            made: Derived::default(),
        })
    }

    fn make(&self, identity: &Identity, now: SystemTime) -> Result<Arc<Made>, InjectError> {
        let issued = epoch_seconds(now);
        let full = issued + self.lifetime.as_secs();
        // no token says longer than the login does (A34)
        let exp = full.min(epoch_seconds(identity.ends_at));
        let mut claims = self.told.of(&identity.claims);
        claims.insert("iss".into(), json!(self.issuer.name()));
        claims.insert("exp".into(), json!(exp));
        let unsigned = |_| InjectError::Missing("a signature for the identity token");
        let headers: Result<Vec<(HeaderName, HeaderValue)>, _> = match &self.form {
            Form::Jwt(header) => {
                let subject = &identity.subject;
                // names of sources have no slash, so that no source can speak for another (A21, A27)
                claims.insert("sub".into(), json!(format!("{}/{}", subject.source, subject.id)));
                claims.insert("aud".into(), json!(self.audience));
                claims.insert("iat".into(), json!(issued));
                claims.insert("nbf".into(), json!(issued.saturating_sub(SLOW_CLOCK.as_secs())));
                let token = self.issuer.sign(&claims).map_err(unsigned)?;
                header.names().iter().map(|name| Ok((name.clone(), header.value(token.expose())?))).collect()
            }
            Form::Alb { signer, .. } => {
                claims.insert("sub".into(), json!(identity.subject.id));
                let header = Map::from_iter([
                    ("typ".into(), json!("JWT")),
                    ("signer".into(), json!(signer)),
                    ("iss".into(), json!(self.issuer.name())),
                    ("client".into(), json!(self.audience)),
                    ("exp".into(), json!(exp)),
                ]);
                let token = self.issuer.sign_padded(header, &claims).map_err(unsigned)?;
                [(X_AMZN_OIDC_DATA, token.expose()), (X_AMZN_OIDC_IDENTITY, &identity.subject.id)]
                    .into_iter()
                    .map(|(name, text)| Ok((name, value(text)?)))
                    .collect()
            }
        };
        let headers = headers?;
        let bytes = headers.iter().map(|(_, value)| value.len()).max().unwrap_or_default();
        if bytes > MOST_BYTES {
            return Err(InjectError::TooLarge { bytes, most: MOST_BYTES });
        }
        let until = if exp < full { exp } else { issued + self.lifetime.mul_f64(USED).as_secs() };
        Ok(Arc::new(Made { headers, since: now, until: from_epoch_seconds(until) }))
    }
}

impl Injector for IdentityJwt {
    fn needs(&self) -> Needs {
        let token = matches!(self.form, Form::Alb { access_token: true, .. }).then_some(TokenKind::Access);
        Needs { token, ..Needs::NOTHING }
    }

    fn sets(&self) -> &[HeaderName] {
        match &self.form {
            Form::Jwt(header) => header.vouched(),
            Form::Alb { sets, .. } => sets,
        }
    }

    fn puts(&self) -> &[HeaderName] {
        match &self.form {
            Form::Jwt(header) => header.names(),
            Form::Alb { sets, .. } => sets,
        }
    }

    fn inject(&self, mut request: Request, given: &Given<'_>) -> Result<Request, InjectError> {
        let Some(identity) = given.identity else { return Ok(request) };
        let now = given.now;
        // both ends, as clocks are set back too
        let is_good = |made: &Arc<Made>| made.since <= now && now < made.until;
        let made = self.made.while_good(identity, is_good, |identity| self.make(identity, now))?;
        let headers = request.headers_mut();
        match &self.form {
            Form::Jwt(header) => made.headers.iter().for_each(|(_, value)| header.put(headers, value.clone())),
            Form::Alb { access_token, .. } => {
                for (name, value) in &made.headers {
                    headers.insert(name, value.clone());
                }
                if *access_token {
                    let token = given.token(TokenKind::Access).ok_or(InjectError::Missing("the access token"))?;
                    headers.insert(X_AMZN_OIDC_ACCESSTOKEN, value(token.expose())?);
                }
            }
        }
        Ok(request)
    }
}

impl Form {
    fn read(
        settings: &IdentityJwtSettings,
        issuer: &IdentityIssuer,
        materials: &Materials,
    ) -> Result<Self, SettingsError> {
        let IdentityJwtSettings { form, header, signer, access_token, plain_http, .. } = settings;
        let only_with = |key, form| SettingsError::at(key, format!("is of use with `form = \"{form}\"` only"));
        match form {
            FormName::Jwt if signer.is_some() => Err(only_with("signer", "alb")),
            FormName::Jwt if *access_token => Err(only_with("access_token", "alb")),
            FormName::Jwt if *plain_http => Err(only_with("plain_http", "alb")),
            FormName::Jwt => TokenHeader::read(header.as_deref().unwrap_or(HEADER)).map(Self::Jwt),
            FormName::Alb if header.is_some() => Err(only_with("header", "jwt")),
            FormName::Alb if *plain_http && !access_token => Err(only_with("plain_http", "alb` and `access_token")),
            FormName::Alb => {
                // `sub` is the provider's own there, and two providers may mean two people by it (A21, A27)
                if materials.sources.len() > 1 {
                    let sources = materials.sources.join(", ");
                    let problem = format!(
                        "`alb` tells the `sub` without who vouches for it, and {sources} all count on this route; \
                         expected `identity` to name one of them"
                    );
                    return Err(SettingsError::at("form", problem));
                }
                if *access_token && !plain_http {
                    materials.keep_tokens_off_the_wire()?;
                }
                Ok(Self::Alb {
                    signer: signer.clone().unwrap_or_else(|| issuer.name().to_owned()),
                    sets: vec![X_AMZN_OIDC_DATA, X_AMZN_OIDC_IDENTITY, X_AMZN_OIDC_ACCESSTOKEN],
                    access_token: *access_token,
                })
            }
        }
    }
}

fn value(text: &str) -> Result<HeaderValue, InjectError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| InjectError::Missing("an identity that fits into a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What nginx, Apache and Tomcat take of a header by default is 8 KiB, its name and, with some, all others included.
const MOST_BYTES: usize = 7 << 10;
const HEADER: &str = "X-Claviger-Identity";
const X_AMZN_OIDC_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
const X_AMZN_OIDC_IDENTITY: HeaderName = HeaderName::from_static("x-amzn-oidc-identity");
const X_AMZN_OIDC_ACCESSTOKEN: HeaderName = HeaderName::from_static("x-amzn-oidc-accesstoken");

const LIFETIME: Duration = Duration::from_secs(300);
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);
/// How much of a token's life may be used before the next is made: what is left is for requests that take their time.
const USED: f64 = 0.7;
/// How far an upstream's clock may be behind ours.
const SLOW_CLOCK: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::{Value, json};

    use super::super::value::tests::someone;
    use super::*;
    use crate::jose::{Expected, KeySet, Signer, SigningKeys, verify};
    use crate::web::Body;

    const NOW: u64 = 1_780_000_000;

    fn materials(upstream: &str, sources: &[&str]) -> Materials {
        let keys = SigningKeys::new(Signer::generate().unwrap().0, Vec::new());
        Materials {
            identity_issuer: Some(IdentityIssuer::new("https://apps.example.com/", keys)),
            upstream: Some(upstream.to_owned()).filter(|text| text != "several"),
            in_clear_text: Some(upstream.to_owned()).filter(|text| text == "http://wiki.internal"),
            sources: sources.iter().map(|name| (*name).into()).collect(),
        }
    }

    fn build(text: &str, materials: &Materials) -> Result<IdentityJwt, SettingsError> {
        IdentityJwt::new(crate::built_in::parse_table(text.parse().unwrap())?, materials)
    }

    /// What is put on at this time.
    fn put(injector: &IdentityJwt, who: &Identity, now: u64) -> HeaderMap {
        let given = Given { identity: Some(who), ..Given::nothing(from_epoch_seconds(now)) };
        injector.inject(Request::new(Body::Empty), &given).unwrap().headers().clone()
    }

    fn until(ends: u64, claims: Value) -> Identity {
        Identity { ends_at: from_epoch_seconds(ends), ..someone("u-1", claims) }
    }

    #[test]
    fn a_token_is_made_anew_before_it_ends_and_by_our_clock() {
        let materials = materials("https://wiki.internal", &["corp"]);
        let injector = build("lifetime = \"100s\"", &materials).unwrap();
        let alice = until(NOW + 10_000, json!({}));
        let at = |now: u64| put(&injector, &alice, now)["x-claviger-identity"].clone();
        let first = at(NOW);
        assert!(first.is_sensitive() && !format!("{first:?}").contains("ey"));
        assert_eq!((at(NOW + 69), at(NOW + 1)), (first.clone(), first.clone()));
        let second = at(NOW + 70);
        assert_ne!(second, first);
        // a clock that was set back does not bring a token from the future
        assert_ne!(at(NOW), second);
        // another's is never found (A27), nor one of earlier claims
        assert_ne!(put(&injector, &until(NOW + 10_000, json!({})), NOW)["x-claviger-identity"], at(NOW));
        let renewed = Identity { claims: someone("x", json!({"name": "New"})).claims, ..alice.clone() };
        assert_ne!(put(&injector, &renewed, NOW)["x-claviger-identity"], at(NOW));
    }

    #[test]
    fn what_it_says_is_true_and_no_longer_than_the_login() {
        let materials = materials("https://wiki.internal", &["corp"]);
        let injector = build("", &materials).unwrap();
        let claims = json!({
            "email": "a@example.com", "email_verified": false, "name": "Größe", "groups": ["a"], "sub": "admin",
            "exp": 9_999_999_999_u64, "secret": "x",
        });
        let alice = until(NOW + 60, claims);
        let token = put(&injector, &alice, NOW)["x-claviger-identity"].to_str().unwrap().to_owned();
        let issuer = materials.identity_issuer.as_ref().unwrap();
        let keys = KeySet::parse(issuer.key_set().to_string().as_bytes()).unwrap();
        let expected = Expected {
            issuer: "https://apps.example.com",
            audiences: &["https://wiki.internal"],
            now: from_epoch_seconds(NOW),
            leeway: Duration::ZERO,
        };
        let told = Value::Object(verify(&token, &keys, &expected).unwrap());
        // A21: an unverified address is not told; A34: the login ends in a minute
        assert_eq!(
            told,
            json!({
                "iss": "https://apps.example.com", "aud": "https://wiki.internal", "sub": "corp/u-1", "iat": NOW,
                "nbf": NOW - 30, "exp": NOW + 60, "name": "Größe", "groups": ["a"],
            })
        );
        // to its very end, as a new one would say the same
        assert_eq!(put(&injector, &alice, NOW + 59)["x-claviger-identity"], token.as_str());
    }

    #[test]
    fn wrong_settings_are_named() {
        let (safe, open) = ("https://wiki.internal", "http://wiki.internal");
        for (text, upstream, sources, key) in [
            ("header = \"Host\"", safe, &["a"][..], "header"),
            ("header = \"x_forwarded_for\"", safe, &["a"], "header"),
            ("audience = \"\"", safe, &["a"], "audience"),
            ("", "several", &["a"], "audience"),
            ("lifetime = \"10s\"", safe, &["a"], "lifetime"),
            ("lifetime = \"2h\"", safe, &["a"], "lifetime"),
            ("claims = [\"sub\"]", safe, &["a"], "claims"),
            ("claims = [\"email_verified\"]", safe, &["a"], "claims"),
            ("claims = [\"\"]", safe, &["a"], "claims"),
            ("form = \"saml\"", safe, &["a"], "form"),
            ("signer = \"x\"", safe, &["a"], "signer"),
            ("access_token = true", safe, &["a"], "access_token"),
            ("form = \"alb\"\nheader = \"X-A\"", safe, &["a"], "header"),
            ("form = \"alb\"\nplain_http = true", open, &["a"], "plain_http"),
            ("form = \"alb\"\naccess_token = true", open, &["a"], "kind"),
            ("form = \"alb\"", safe, &["a", "b"], "form"),
        ] {
            assert_eq!(build(text, &materials(upstream, sources)).unwrap_err().key, key, "{text}");
        }
        for (text, upstream) in [
            ("form = \"alb\"\naccess_token = true", "https://wiki.internal"),
            ("form = \"alb\"\naccess_token = true", "http://127.0.0.1:1"),
            ("form = \"alb\"\naccess_token = true\nplain_http = true", open),
            ("", open),
        ] {
            build(text, &materials(upstream, &["a"])).unwrap();
        }
        let nobody = Materials { identity_issuer: None, ..materials(safe, &["a"]) };
        assert_eq!(build("", &nobody).unwrap_err().key, "kind");
    }
}
