//! Verifying a token: which key, which algorithm, whose, for whom, when (RFC 7519, RFC 8725).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use super::key_set::algorithm;
use super::{JoseError, KeySet};
use crate::clock::epoch_seconds;

/// What may be read of a token before it is verified, and only to find the keys that verify it.
#[derive(Clone, Debug)]
pub struct Unverified {
    /// The issuer it claims.
    pub issuer: String,
    /// The key it claims.
    pub kid: Option<String>,
}

/// Reads a token's claimed issuer and key. Nothing of it is true yet.
pub fn unverified(token: &str) -> Result<Unverified, JoseError> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let parts = Parts::of(token)?;
    let header: Header = decode("header", parts.header)?;
    let claimed: Claimed = decode("claims", parts.claims)?;
    Ok(Unverified { issuer: claimed.iss, kid: header.kid()?.map(str::to_owned) })
}

/// The issuer that a text claims, if it is anything like a token: enough to know whose it is to judge, and nothing more.
/// Whatever else is wrong with it, an encrypted or overlong one included, is for whoever it names to say.
pub fn claimed_issuer(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let claims = text.split('.').nth(1).filter(|claims| claims.len() <= LENGTH)?;
    decode::<Claimed>("claims", claims).ok().map(|claimed| claimed.iss)
}

/// The claims of a token that is ours to show and another's to verify. Nothing of it is known to be true.
pub fn unverified_claims(token: &str) -> Result<Map<String, Value>, JoseError> {
    decode("claims", Parts::of(token)?.claims)
}

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its `iss`, to the letter.
    pub issuer: &'a str,
    /// One of these must be its `aud`; of several audiences `azp` must be one of these.
    pub audiences: &'a [&'a str],
    /// Now.
    pub now: SystemTime,
    /// How far clocks may differ.
    pub leeway: Duration,
}

/// Verifies signature, algorithm, times as numbers, issuer, audience. The claims are true afterwards.
///
/// The algorithm is one of RS256/384/512, PS256/384/512, ES256/384, EdDSA, as the key is made for: never `none`, never
/// HMAC (A18). Keys that come with the token (`jwk`, `jku`, `x5u`, `x5c`) are ignored.
///
/// # Errors
/// [`JoseError::UnknownKey`] where a fresher key set may help; all others are final.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected<'_>) -> Result<Map<String, Value>, JoseError> {
    let (_, claims) = signed(token, keys, |_| true)?;
    expected.judge(&claims)?;
    Ok(claims)
}

/// A token's header and claims, if an algorithm that is `wanted` has made its signature with one of the keys. What the
/// claims say is not judged yet.
pub(super) fn signed(
    token: &str,
    keys: &KeySet,
    wanted: impl FnOnce(Algorithm) -> bool,
) -> Result<(Header, Map<String, Value>), JoseError> {
    let parts = Parts::of(token)?;
    let header: Header = decode("header", parts.header)?;
    if header.crit.is_some() {
        // RFC 7515 §4.1.11: we understand no extension, so none may be critical
        return Err(JoseError::Malformed("the header has critical extensions".into()));
    }
    let algorithm = algorithm(&header.alg)
        .filter(|algorithm| wanted(*algorithm))
        .ok_or_else(|| JoseError::Signature("its algorithm is not one we use".into()))?;
    let key = keys.choose(header.kid()?, algorithm)?;
    if !key.verifies(algorithm, parts.signed, parts.signature) {
        return Err(JoseError::Signature("key and signature don't match".into()));
    }
    let claims = decode("claims", parts.claims)?;
    Ok((header, claims))
}

impl Expected<'_> {
    fn judge(&self, claims: &Map<String, Value>) -> Result<(), JoseError> {
        self.judge_issuer(claims)?;
        let is_shared = self.judge_audience(claims)? > 1;
        // CVE-2020-26160 class: a token for many is ours only if it was made for us to use (A18)
        let is_party = |party: &str| self.audiences.contains(&party);
        if is_shared && !claims.get("azp").and_then(Value::as_str).is_some_and(is_party) {
            return Err(JoseError::Claim("`aud` names several, and `azp` is not us".into()));
        }
        self.judge_times(claims)
    }

    pub(super) fn judge_issuer(&self, claims: &Map<String, Value>) -> Result<(), JoseError> {
        match claims.get("iss").and_then(Value::as_str) {
            Some(issuer) if issuer == self.issuer => Ok(()),
            _ => Err(JoseError::Claim("`iss` is not the issuer".into())),
        }
    }

    /// How many audiences there are, if we are one of them (RFC 7519 §4.1.3, OpenID Connect Core §3.1.3.7 steps 3 to 5).
    pub(super) fn judge_audience(&self, claims: &Map<String, Value>) -> Result<usize, JoseError> {
        let ours = |name: &str| self.audiences.contains(&name);
        let wrong = |problem: &str| Err(JoseError::Claim(format!("`aud` {problem}")));
        match claims.get("aud") {
            Some(Value::String(audience)) if ours(audience) => Ok(1),
            Some(Value::Array(audiences)) => {
                let Some(names) = audiences.iter().map(Value::as_str).collect::<Option<Vec<_>>>() else {
                    return wrong("has something in it that is no text");
                };
                if names.iter().copied().any(ours) { Ok(names.len()) } else { wrong("does not name us") }
            }
            Some(Value::String(_)) => wrong("does not name us"),
            Some(_) => wrong("is neither a text nor a list"),
            None => wrong("is missing"),
        }
    }

    pub(super) fn judge_times(&self, claims: &Map<String, Value>) -> Result<(), JoseError> {
        let (now, leeway) = (epoch_seconds(self.now), self.leeway.as_secs());
        let Some(expires) = seconds(claims, "exp")? else {
            return Err(JoseError::Claim("`exp` is missing".into()));
        };
        if now >= expires.saturating_add(leeway) {
            return Err(JoseError::Time("it has expired".into()));
        }
        for name in ["nbf", "iat"] {
            if seconds(claims, name)?.is_some_and(|from| from > now.saturating_add(leeway)) {
                return Err(JoseError::Time(format!("`{name}` lies in the future")));
            }
        }
        Ok(())
    }
}

/// A time claim. It is a whole, non-negative JSON number or an error: a time of another type must not count as no time
/// at all (CVE-2026-25537, A18).
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, JoseError> {
    claims
        .get(name)
        .map(|value| value.as_u64().ok_or_else(|| JoseError::Claim(format!("`{name}` is not a number of seconds"))))
        .transpose()
}

/// A compact JWS (RFC 7515 §7.1), still encoded.
struct Parts<'t> {
    header: &'t str,
    claims: &'t str,
    signed: &'t str,
    signature: &'t str,
}

impl<'t> Parts<'t> {
    fn of(token: &'t str) -> Result<Self, JoseError> {
        if token.len() > LENGTH {
            return Err(JoseError::Malformed(format!("it is longer than {LENGTH} bytes")));
        }
        let malformed = || JoseError::Malformed("it does not have the three parts of a signed token".into());
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        // five parts are an encrypted token, which is never one of ours (CVE-2023-51774)
        if claims.contains('.') { Err(malformed()) } else { Ok(Self { header, claims, signed, signature }) }
    }
}

/// What we read of a header. Anything else in it, keys above all, counts for nothing (A18).
#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    kid: Option<String>,
    pub(super) typ: Option<String>,
    crit: Option<IgnoredAny>,
}

impl Header {
    fn kid(&self) -> Result<Option<&str>, JoseError> {
        match self.kid.as_deref() {
            Some(kid) if kid.len() > KID_LENGTH => {
                Err(JoseError::Malformed(format!("`kid` is longer than {KID_LENGTH} bytes")))
            }
            kid => Ok(kid),
        }
    }
}

fn decode<T: DeserializeOwned>(part: &str, text: &str) -> Result<T, JoseError> {
    let bytes =
        URL_SAFE_NO_PAD.decode(text).map_err(|_| JoseError::Malformed(format!("its {part} is not base64url")))?;
    // the parser's own words could repeat what is in the token
    serde_json::from_slice(&bytes).map_err(|e| {
        let kind = if e.is_data() { "lacks what it must have" } else { "is no JSON" };
        JoseError::Malformed(format!("its {part} {kind}"))
    })
}

/// AWS takes web identity tokens of up to 20,000 characters; nothing longer is of use to us.
const LENGTH: usize = 20_000;
/// A `kid` is kept in errors and logs.
const KID_LENGTH: usize = 256;

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
    use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaPublicKeyComponents};
    use aws_lc_rs::{hmac, signature::RSA_PSS_SHA512};
    use serde_json::json;

    use super::*;
    use crate::clock::from_epoch_seconds;
    use crate::jose::Signer;

    const NOW: u64 = 1_800_000_000;

    fn b64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn expected() -> Expected<'static> {
        Expected {
            issuer: "https://idp.example.com/",
            audiences: &["us", "us-too"],
            now: from_epoch_seconds(NOW),
            leeway: Duration::from_secs(60),
        }
    }

    fn good() -> Value {
        json!({ "iss": "https://idp.example.com/", "aud": "us", "sub": "u1", "exp": NOW + 300, "iat": NOW, "nbf": NOW })
    }

    fn key_set(jwks: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap()
    }

    /// A token with any header, signed as `sign` does.
    fn forge(header: &Value, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims));
        let signature = b64(sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn rsa(key: &RsaKeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    fn rsa_jwk(key: &RsaKeyPair, kid: &str) -> Value {
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
        json!({ "kty": "RSA", "kid": kid, "n": b64(public.n), "e": b64(public.e) })
    }

    #[test]
    fn every_algorithm_verifies_with_its_key() {
        let (signer, _) = Signer::generate().unwrap();
        let rsa_key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let ed = Ed25519KeyPair::generate().unwrap();
        let ed_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed.public_key().as_ref()) });
        let keys = key_set(&[signer.public_jwk(), rsa_jwk(&rsa_key, "rsa"), ed_jwk]);
        let claims = good().to_string();
        let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid, "jwk": { "kty": "oct", "k": "AA" } });
        let tokens = [
            signer.sign("JWT", &good()).unwrap().expose().to_owned(),
            forge(&header("RS256", "rsa"), &claims, |m| rsa(&rsa_key, &signature::RSA_PKCS1_SHA256, m)),
            forge(&header("RS512", "rsa"), &claims, |m| rsa(&rsa_key, &signature::RSA_PKCS1_SHA512, m)),
            forge(&header("PS512", "rsa"), &claims, |m| rsa(&rsa_key, &RSA_PSS_SHA512, m)),
            forge(&header("EdDSA", "ed"), &claims, |m| ed.sign(m).as_ref().to_vec()),
            forge(&json!({ "alg": "EdDSA" }), &claims, |m| ed.sign(m).as_ref().to_vec()), // one key only fits
        ];
        for token in tokens {
            assert_eq!(verify(&token, &keys, &expected()).unwrap().get("sub"), Some(&json!("u1")), "{token}");
        }
    }

    /// A18: headers and signatures that attackers choose.
    #[test]
    fn a18_forged_signatures_are_refused() {
        let rsa_key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let other = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let jwk = rsa_jwk(&rsa_key, "k");
        let keys = key_set(std::slice::from_ref(&jwk));
        let modulus = jwk["n"].as_str().unwrap().to_owned();
        let claims = good().to_string();
        let by_hmac =
            |secret: &[u8], m: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), m).as_ref().to_vec();
        let honest = |m: &[u8]| rsa(&rsa_key, &signature::RSA_PKCS1_SHA256, m);
        let forged = |m: &[u8]| rsa(&other, &signature::RSA_PKCS1_SHA256, m);
        let own_key = json!({ "alg": "RS256", "kid": "k", "jwk": rsa_jwk(&other, "k"), "jku": "https://evil.test/keys",
            "x5u": "https://evil.test/cert", "x5c": ["MIIB"] });
        let good_token = forge(&json!({ "alg": "RS256", "kid": "k" }), &claims, honest);
        assert!(verify(&good_token, &keys, &expected()).is_ok());
        let (signed, _) = good_token.rsplit_once('.').unwrap();
        let cases = [
            ("none", forge(&json!({ "alg": "none" }), &claims, |_| Vec::new())),
            ("nOnE", forge(&json!({ "alg": "nOnE", "kid": "k" }), &claims, |_| Vec::new())),
            ("no signature", format!("{signed}.")),
            (
                "hmac over the key",
                forge(&json!({ "alg": "HS256", "kid": "k" }), &claims, |m| by_hmac(modulus.as_bytes(), m)),
            ),
            ("hmac, empty key", forge(&json!({ "alg": "HS256", "kid": "k" }), &claims, |m| by_hmac(b"", m))),
            ("crit", forge(&json!({ "alg": "RS256", "kid": "k", "crit": ["b64"], "b64": false }), &claims, honest)),
            ("empty crit", forge(&json!({ "alg": "RS256", "kid": "k", "crit": [] }), &claims, honest)),
            ("key of the attacker's", forge(&own_key, &claims, forged)),
            ("another algorithm's", forge(&json!({ "alg": "RS512", "kid": "k" }), &claims, honest)),
            ("another family's", forge(&json!({ "alg": "ES256", "kid": "k" }), &claims, honest)),
            ("kid is a path", forge(&json!({ "alg": "RS256", "kid": "../../etc/passwd" }), &claims, honest)),
            ("kid is long", forge(&json!({ "alg": "RS256", "kid": "k".repeat(300) }), &claims, honest)),
            ("kid is no text", forge(&json!({ "alg": "RS256", "kid": 1 }), &claims, honest)),
            ("no alg", forge(&json!({ "kid": "k" }), &claims, honest)),
            ("padding", format!("{good_token}=")),
            ("trailing part", format!("{good_token}.")),
            ("encrypted", format!("{good_token}.a.b")),
            ("truncated", good_token[..good_token.len() - 1].to_owned()),
            ("dots", ".".repeat(1_000_000)),
            ("two dots", "..".to_owned()),
            ("long", format!("{good_token}{}", "A".repeat(20_000))),
            ("deep", format!("{}.{}.", b64("[".repeat(10_000)), b64("{}"))),
            ("nothing", String::new()),
        ];
        for (name, token) in cases {
            let refused = verify(&token, &keys, &expected()).unwrap_err();
            assert!(!matches!(refused, JoseError::Time(_) | JoseError::Claim(_)), "{name}: {refused}");
        }
    }

    /// A18: each byte of a good token counts.
    #[test]
    fn a18_no_changed_byte_passes() {
        let (signer, _) = Signer::generate().unwrap();
        let keys = key_set(&[signer.public_jwk()]);
        let token = signer.sign("JWT", &good()).unwrap();
        for at in 0..token.expose().len() {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, &keys, &expected()).is_err(), "byte {at}");
        }
    }

    /// A18, CVE-2026-25537: rightly signed, wrong in what they say.
    #[test]
    fn a18_claims_are_judged_strictly() {
        let (signer, _) = Signer::generate().unwrap();
        let keys = key_set(&[signer.public_jwk()]);
        let with = |name: &str, value: Value| {
            let mut claims = good();
            claims[name] = value;
            claims
        };
        let both = |aud: Value, azp: Value| {
            let mut claims = with("aud", aud);
            claims["azp"] = azp;
            claims
        };
        let cases = [
            ("iss with another end", with("iss", json!("https://idp.example.com")), "claim"),
            ("iss of another", with("iss", json!("https://idp.example.com/tenant")), "claim"),
            ("iss is a list", with("iss", json!(["https://idp.example.com/"])), "claim"),
            ("no iss", with("iss", Value::Null), "claim"),
            ("aud of another", with("aud", json!("them")), "claim"),
            ("aud empty", with("aud", json!([])), "claim"),
            ("aud mixed", with("aud", json!(["us", 1])), "claim"),
            ("aud several", with("aud", json!(["us", "them"])), "claim"),
            ("aud several, azp of another", both(json!(["us", "them"]), json!("them")), "claim"),
            ("aud several, azp a list", both(json!(["us", "them"]), json!(["us"])), "claim"),
            ("aud a number", with("aud", json!(1)), "claim"),
            ("no aud", with("aud", Value::Null), "claim"),
            ("exp a text", with("exp", json!("9999999999")), "claim"),
            ("exp a fraction", with("exp", json!(9_999_999_999.5)), "claim"),
            ("exp negative", with("exp", json!(-1)), "claim"),
            ("exp null", with("exp", Value::Null), "claim"),
            ("exp past", with("exp", json!(NOW - 60)), "time"),
            ("nbf a text", with("nbf", json!("0")), "claim"),
            ("nbf ahead", with("nbf", json!(NOW + 61)), "time"),
            ("iat a text", with("iat", json!("0")), "claim"),
            ("iat ahead", with("iat", json!(NOW + 61)), "time"),
            ("fine", good(), ""),
            ("exp within leeway", with("exp", json!(NOW - 59)), ""),
            ("exp far", with("exp", json!(u64::MAX)), ""),
            ("nbf within leeway", with("nbf", json!(NOW + 60)), ""),
            ("aud a list of one", with("aud", json!(["us"])), ""),
            ("aud several and azp us", both(json!(["them", "us-too"]), json!("us-too")), ""),
        ];
        for (name, claims, fault) in cases {
            let token = signer.sign("JWT", &claims).unwrap();
            let verdict = match verify(token.expose(), &keys, &expected()) {
                Ok(_) => "",
                Err(JoseError::Claim(_)) => "claim",
                Err(JoseError::Time(_)) => "time",
                Err(_) => "other",
            };
            assert_eq!(verdict, fault, "{name}");
        }
        let ed = Ed25519KeyPair::generate().unwrap();
        let keys =
            key_set(&[json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed.public_key().as_ref()) })]);
        let endless = format!(r#"{{"iss":"https://idp.example.com/","aud":"us","exp":1e309,"iat":{NOW}}}"#);
        let token = forge(&json!({ "alg": "EdDSA", "kid": "ed" }), &endless, |m| ed.sign(m).as_ref().to_vec());
        assert!(matches!(verify(&token, &keys, &expected()), Err(JoseError::Malformed(_))));
    }

    #[test]
    fn without_a_kid_only_a_single_fitting_key_is_used() {
        let (one, _) = Signer::generate().unwrap();
        let (two, _) = Signer::generate().unwrap();
        let token = one.sign("JWT", &good()).unwrap();
        let (signed, _) = token.expose().rsplit_once('.').unwrap();
        assert!(signed.contains('.'));
        let nameless = forge(&json!({ "alg": "ES256" }), &good().to_string(), |_| vec![0; 64]);
        let refused = verify(&nameless, &key_set(&[one.public_jwk(), two.public_jwk()]), &expected()).unwrap_err();
        assert!(matches!(refused, JoseError::Signature(why) if why.contains("several")));
        let unknown = verify(token.expose(), &key_set(&[two.public_jwk()]), &expected()).unwrap_err();
        assert!(matches!(unknown, JoseError::UnknownKey(kid) if kid == one.kid()));
    }

    #[test]
    fn issuer_and_key_can_be_read_first() {
        let (signer, _) = Signer::generate().unwrap();
        let claimed = unverified(signer.sign("JWT", &good()).unwrap().expose()).unwrap();
        assert_eq!(claimed.issuer, "https://idp.example.com/");
        assert_eq!(claimed.kid.as_deref(), Some(signer.kid()));
        assert!(unverified("a.b.c").is_err());
    }
}
