//! Access tokens in the form of JWTs (RFC 9068), as services show them.

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::key_set::algorithm;
use super::token::signed;
use super::{Expected, JoseError, KeySet};

/// Which tokens are taken, whatever they say.
#[derive(Clone, Debug)]
pub struct Form {
    algorithms: Vec<Algorithm>,
    /// Absent: the usual ones, or none.
    types: Option<Vec<String>>,
}

impl Form {
    /// Tokens signed by one of these algorithms, by their names in RFC 7518 §3.1, and of one of these types (`typ`);
    /// without any types `JWT`, `at+jwt`, and tokens that don't say.
    ///
    /// # Errors
    /// The first name that is no algorithm we use: `none` and HMAC never are (A18).
    pub fn new(algorithms: &[String], types: Option<Vec<String>>) -> Result<Self, String> {
        let named = algorithms.iter().map(|name| algorithm(name).ok_or_else(|| name.clone()));
        Ok(Self { algorithms: named.collect::<Result<_, _>>()?, types })
    }

    /// Media types are written without `application/` and compared without case (RFC 7515 §4.1.9). A type that is not
    /// expected is a token for something else: a logout token, a DPoP proof (RFC 8725 §3.11).
    fn takes(&self, typ: Option<&str>) -> bool {
        let is = |named: &str| typ.is_some_and(|typ| bare(typ).eq_ignore_ascii_case(bare(named)));
        match &self.types {
            Some(types) => types.iter().any(|named| is(named)),
            None => typ.is_none() || USUAL.into_iter().any(is),
        }
    }
}

/// Verifies an access token as [`verify`](super::verify) does an ID token, with two differences: algorithm and type are
/// as `form` has them, and a token for several audiences need not have been issued *to* us, as it is shown by others
/// (RFC 9068 §4). To whom it was issued it must say then, in `azp` or `client_id` (RFC 9068 §2.2, A18).
///
/// # Errors
/// [`JoseError::UnknownKey`] where a fresher key set may help; all others are final.
pub fn verify_access_token(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    form: &Form,
) -> Result<Map<String, Value>, JoseError> {
    let (header, claims) = signed(token, keys, |algorithm| form.algorithms.contains(&algorithm))?;
    if !form.takes(header.typ.as_deref()) {
        return Err(JoseError::Malformed("its `typ` is not one that is taken here".into()));
    }
    expected.judge_issuer(&claims)?;
    let is_shared = expected.judge_audience(&claims)? > 1;
    if is_shared && !["azp", "client_id"].iter().any(|name| claims.get(*name).is_some_and(Value::is_string)) {
        return Err(JoseError::Claim(
            "`aud` names several, and neither `azp` nor `client_id` says who may use it".into(),
        ));
    }
    expected.judge_times(&claims)?;
    Ok(claims)
}

fn bare(typ: &str) -> &str {
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
}

const PREFIX: &str = "application/";
const USUAL: [&str; 2] = ["JWT", "at+jwt"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::clock::from_epoch_seconds;
    use crate::jose::Signer;

    fn taken(form: &Form, typ: &str, change: impl FnOnce(&mut Value)) -> Result<Map<String, Value>, JoseError> {
        let (signer, _) = Signer::generate().unwrap();
        let keys = KeySet::parse(json!({ "keys": [signer.public_jwk()] }).to_string().as_bytes()).unwrap();
        let mut claims = json!({ "iss": "https://idp.example.com", "aud": "api", "sub": "svc", "exp": 1_300 });
        change(&mut claims);
        let expected = Expected {
            issuer: "https://idp.example.com",
            audiences: &["api"],
            now: from_epoch_seconds(1_000),
            leeway: Duration::ZERO,
        };
        verify_access_token(signer.sign(typ, &claims).unwrap().expose(), &keys, &expected, form)
    }

    fn form(algorithms: &[&str], types: Option<&[&str]>) -> Result<Form, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Form::new(&owned(algorithms), types.map(owned))
    }

    #[test]
    fn the_type_is_one_that_is_expected() {
        for (types, typ, expected) in [
            (None, "JWT", true),
            (None, "at+jwt", true),
            (None, "application/AT+JWT", true),
            (None, "logout+jwt", false),
            (None, "dpop+jwt", false),
            (None, "", false),
            (Some(&["at+jwt"][..]), "application/at+jwt", true),
            (Some(&["application/at+jwt"]), "at+jwt", true),
            (Some(&["at+jwt"]), "JWT", false),
        ] {
            let form = form(&["ES256"], types).unwrap();
            assert_eq!(taken(&form, typ, |_| ()).is_ok(), expected, "{types:?} {typ}");
        }
        let strict = form(&["ES256"], Some(&["at+jwt"])).unwrap();
        assert!(!strict.takes(None) && form(&["ES256"], None).unwrap().takes(None));
    }

    /// A18
    #[test]
    fn a18_algorithms_are_pinned_and_never_symmetric() {
        for name in ["none", "HS256", "HS512", "es256", "", "RSA-OAEP"] {
            assert_eq!(form(&["ES256", name], None).unwrap_err(), name);
        }
        let refused = taken(&form(&["RS256", "EdDSA"], None).unwrap(), "JWT", |_| ()).unwrap_err();
        assert!(matches!(refused, JoseError::Signature(_)), "{refused}");
    }

    /// A18
    #[test]
    fn a18_a_token_for_several_says_who_may_use_it() {
        let form = form(&["ES256"], None).unwrap();
        let with = |aud: Value, more: &[(&str, Value)]| {
            taken(&form, "JWT", |claims| {
                claims["aud"] = aud;
                more.iter().for_each(|(name, value)| claims[*name] = value.clone());
            })
            .is_ok()
        };
        assert!(with(json!(["api"]), &[]));
        assert!(with(json!(["account", "api"]), &[("azp", json!("batch"))]));
        assert!(with(json!(["account", "api"]), &[("client_id", json!("batch"))]));
        assert!(!with(json!(["account", "api"]), &[]));
        assert!(!with(json!(["account", "api"]), &[("azp", json!(["batch"]))]));
        assert!(!with(json!(["account"]), &[("azp", json!("api"))]));
        assert!(!with(json!([]), &[("azp", json!("api"))]));
    }
}
