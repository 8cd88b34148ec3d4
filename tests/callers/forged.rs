//! A18: tokens that are anything but good, from the outside.

use aws_lc_rs::hmac;
use base64::Engine as _;
use http::StatusCode;
use serde_json::{Value, json};

use super::issuer::{Issuer, Key, encoded, forge, now};
use super::{ask, fault};

const ROUTES: &str = r#"
[route.public]
host = "*"
path = "/public"
upstream = "{upstream}"
allow = "anyone"
pass_authorization = true
"#;

/// Whose a text is to judge.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Whose {
    /// It claims our issuer, so any fault in it is the end.
    Ours,
    /// It doesn't: an app's own, or garbage.
    Nobodys,
}
use Whose::{Nobodys, Ours};

/// A18: whatever is ours and bad is answered with 401, says nothing of the reason, and never gets upstream; what is not
/// ours gets where nobody needs to be known, and no further.
#[tokio::test]
async fn a18_bad_tokens_of_ours_are_rejected_and_others_left_alone() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let mut reached = 0;
    for (name, token, whose) in cases(&issuer) {
        for path in ["/private", "/public"] {
            let answer = ask(&world, path, &[("authorization", &format!("Bearer {token}"))]).await;
            let told = answer.header("www-authenticate").to_owned();
            match (whose, path) {
                (Ours, _) => {
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name} {path}: {}", answer.text());
                    assert_eq!(fault(&answer), "invalid_token", "{name}");
                    assert_eq!(told, "Bearer realm=\"claviger\", error=\"invalid_token\"", "{name}");
                    // one text for all that can be wrong: the reason is in the log
                    let message = answer.json()["message"].as_str().unwrap().to_owned();
                    assert_eq!(message, "The token that came with the request is not valid here. Get a new one.");
                    let id = answer.header("x-request-id").to_owned();
                    let line = world.claviger.event(|e| e["fault"] == "invalid_token" && e["request.id"] == *id).await;
                    assert!(line["reason"].as_str().unwrap().contains(": "), "{line}");
                }
                (Nobodys, "/public") => {
                    assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
                    reached += 1;
                }
                (Nobodys, _) => {
                    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}: {}", answer.text());
                    assert_eq!(
                        (fault(&answer).as_str(), told.as_str()),
                        ("login_required", "Bearer realm=\"claviger\"")
                    );
                }
            }
        }
    }
    assert_eq!(world.upstream.seen().len(), reached, "nothing bad got upstream");
    assert!(reached > 5);
    assert!(issuer.fetched() <= 2, "unknown keys cost one fetch in a cool-down (A19): {}", issuer.fetched());
}

fn cases(issuer: &Issuer) -> Vec<(&'static str, String, Whose)> {
    let key = &issuer.key;
    let claims = issuer.claims().to_string();
    let header = |alg: &str| json!({ "alg": alg, "kid": key.kid() });
    let with = |name: &str, value: Value| {
        let mut header = header("ES256");
        header[name] = value;
        key.sign(&header, &claims)
    };
    let saying = |name: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[name] = value;
        issuer.token(&claims)
    };
    let raw = |claims: String| key.sign(&header("ES256"), &claims);
    let mac = |secret: &[u8], m: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), m).as_ref().to_vec();
    let (pem, x) = (pem(key), key.jwk["x"].as_str().unwrap());
    let attacker = Key::new();
    let their = |more: Value| {
        let mut header = header("ES256");
        more.as_object().unwrap().iter().for_each(|(name, value)| header[name] = value.clone());
        attacker.sign(&header, &claims)
    };
    let good = issuer.token(&issuer.claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut reencoded = signature.to_owned();
    reencoded.push('=');
    let half = format!("{{\"iss\":\"{}\",\"aud\":\"claviger\",\"sub\":\"batch\"", issuer.url);
    vec![
        ("alg none", forge(&header("none"), &claims, |_| Vec::new()), Ours),
        ("alg nOnE", forge(&header("nOnE"), &claims, |_| Vec::new()), Ours),
        (
            "alg none with a signature",
            format!(
                "{}.{signature}",
                signed.replacen(signed.split('.').next().unwrap(), &encoded(header("none").to_string()), 1)
            ),
            Ours,
        ),
        ("no signature", format!("{signed}."), Ours),
        ("hmac over the PEM", forge(&header("HS256"), &claims, |m| mac(pem.as_bytes(), m)), Ours),
        (
            "hmac over the PEM without its line end",
            forge(&header("HS256"), &claims, |m| mac(pem.trim_end().as_bytes(), m)),
            Ours,
        ),
        ("hmac over the key", forge(&header("HS256"), &claims, |m| mac(x.as_bytes(), m)), Ours),
        ("hmac, empty key", forge(&header("HS256"), &claims, |m| mac(b"", m)), Ours),
        ("another algorithm's name", key.sign(&header("ES384"), &claims), Ours),
        ("another family's name", key.sign(&header("RS256"), &claims), Ours),
        ("no alg", key.sign(&json!({ "kid": key.kid() }), &claims), Ours),
        ("alg a list", with("alg", json!(["ES256"])), Ours),
        ("unknown crit", with("crit", json!(["exp"])), Ours),
        ("crit b64", with("crit", json!(["b64"])), Ours),
        ("empty crit", with("crit", json!([])), Ours),
        ("typ of a logout token", with("typ", json!("logout+jwt")), Ours),
        ("typ of a proof", with("typ", json!("dpop+jwt")), Ours),
        ("embedded jwk", their(json!({ "jwk": attacker.jwk })), Ours),
        ("embedded jku", their(json!({ "jku": "http://127.0.0.1:1/keys", "kid": attacker.kid() })), Ours),
        ("embedded x5u", their(json!({ "x5u": "http://127.0.0.1:1/cert" })), Ours),
        ("embedded x5c", their(json!({ "x5c": ["MIIB"] })), Ours),
        ("kid of the attacker", their(json!({ "kid": attacker.kid() })), Ours),
        ("kid is a path", with("kid", json!("../../../etc/passwd")), Ours),
        ("kid is SQL", with("kid", json!("' OR 1=1 --")), Ours),
        ("kid is long", with("kid", json!("k".repeat(5_000))), Ours),
        ("kid is a number", with("kid", json!(1)), Ours),
        ("kid is null, and the key is another's", their(json!({ "kid": null })), Ours),
        ("exp a text", saying("exp", json!("9999999999")), Ours),
        ("exp a fraction", saying("exp", json!(9_999_999_999.5)), Ours),
        ("exp negative", saying("exp", json!(-1)), Ours),
        ("exp without end", raw(format!("{half},\"exp\":1e309}}")), Ours),
        ("exp null", saying("exp", json!(null)), Ours),
        ("exp missing", raw(format!("{half}}}")), Ours),
        ("exp past", saying("exp", json!(now() - 31)), Ours),
        ("nbf ahead", saying("nbf", json!(now() + 600)), Ours),
        ("nbf a text", saying("nbf", json!("0")), Ours),
        ("iat ahead", saying("iat", json!(now() + 600)), Ours),
        ("aud of another", saying("aud", json!("them")), Ours),
        ("aud empty", saying("aud", json!([])), Ours),
        ("aud an empty text", saying("aud", json!("")), Ours),
        ("aud missing", saying("aud", json!(null)), Ours),
        ("aud a number among texts", saying("aud", json!(["claviger", 1])), Ours),
        ("aud an object", saying("aud", json!({ "claviger": true })), Ours),
        ("aud in another case", saying("aud", json!("Claviger")), Ours),
        (
            "aud several, and nobody who may use it",
            raw(format!("{half},\"exp\":{}}}", now() + 60).replace("\"claviger\"", "[\"x\",\"claviger\"]")),
            Ours,
        ),
        ("sub empty", saying("sub", json!("")), Ours),
        ("sub a list", saying("sub", json!(["batch"])), Ours),
        ("sub with a line end", saying("sub", json!("batch\r\nx: y")), Ours),
        ("two tokens in one", format!("{good}, Bearer {good}"), Ours),
        ("padding", format!("{signed}.{reencoded}"), Ours),
        ("a part more", format!("{good}.x"), Ours),
        ("five parts, of which the second is ours", format!("{good}.a.b"), Ours),
        ("truncated", good[..good.len() - 1].to_owned(), Ours),
        ("extended", format!("{good}A"), Ours),
        ("long", format!("{good}{}", "A".repeat(30_000)), Ours),
        ("iss with a slash at its end", saying("iss", json!(format!("{}/", issuer.url))), Nobodys),
        ("iss in another case", saying("iss", json!(issuer.url.to_uppercase())), Nobodys),
        ("iss of another", saying("iss", json!("https://other.example.com")), Nobodys),
        ("iss a list", saying("iss", json!([issuer.url])), Nobodys),
        ("iss missing", saying("iss", json!(null)), Nobodys),
        (
            "encrypted",
            format!(
                "{}..{}.{}.{}",
                encoded(r#"{"alg":"dir","enc":"A256GCM"}"#),
                encoded("iv"),
                encoded(&claims),
                encoded("tag")
            ),
            Nobodys,
        ),
        ("dots", ".".repeat(40_000), Nobodys),
        ("two dots", "..".into(), Nobodys),
        ("deep", format!("{}.{}.x", encoded("{}"), encoded("[".repeat(15_000))), Nobodys),
        ("no token", "garbage".into(), Nobodys),
    ]
}

/// The public key as a server would have it in a file.
fn pem(key: &Key) -> String {
    // RFC 5480: SubjectPublicKeyInfo of a P-256 key, up to the uncompressed point
    const START: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let part =
        |name: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(key.jwk[name].as_str().unwrap()).unwrap();
    let der = base64::engine::general_purpose::STANDARD.encode([&START[..], &part("x"), &part("y")].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &der[..64], &der[64..])
}

/// A megabyte of dots is no head that anybody reads.
#[tokio::test]
async fn a18_a_megabyte_of_dots_is_refused() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let request =
        format!("GET /public HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n", world.at, ".".repeat(1 << 20));
    let answer = crate::support::client::raw(world.at, request).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(world.upstream.seen().is_empty());
}

/// RFC 9110 §11.6.2: there is one `Authorization`. Which of several an upstream would look at is anybody's guess.
#[tokio::test]
async fn a18_several_authorization_headers_are_none_of_ours_or_rejected() {
    let issuer = Issuer::start();
    let world = issuer.world("", ROUTES).await;
    let ours = format!("Bearer {}", issuer.token_of("batch"));
    for (lines, expected) in [
        ([ours.as_str(), ours.as_str()], StatusCode::UNAUTHORIZED),
        ([ours.as_str(), "Basic YTpi"], StatusCode::UNAUTHORIZED),
        (["Basic YTpi", ours.as_str()], StatusCode::UNAUTHORIZED),
        (["Bearer an.apps.own", ours.as_str()], StatusCode::UNAUTHORIZED),
        (["Bearer an.apps.own", "Basic YTpi"], StatusCode::OK),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("authorization", *line)).collect();
        let answer = ask(&world, "/public", &headers).await;
        assert_eq!(answer.status, expected, "{lines:?}");
        if expected == StatusCode::UNAUTHORIZED {
            assert_eq!(fault(&answer), "invalid_token");
        }
    }
    assert_eq!(world.upstream.seen().len(), 1);
}
