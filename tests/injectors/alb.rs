//! `form = "alb"`: what apps behind an AWS load balancer read, in the form in which their verifiers expect it.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::upstream::Seen;
use crate::support::world::{Plan, World};

const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"

[route.app.inject]
kind = "identity_jwt"
form = "alb"
audience = "our-client"
signer = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/apps/0123456789abcdef"

[route.token]
host = "*"
path = "/token"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "identity_jwt", form = "alb", access_token = true }
"#;

/// The header and the claims of a token, where the signature over its parts as they are is right: as AWS documents it.
async fn verified(world: &World, seen: &Seen) -> (Value, Value) {
    let token = seen.all("x-amzn-oidc-data")[0];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    for part in [header, claims, signature] {
        assert_eq!(part.len() % 4, 0, "padded: {part}");
    }
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE.decode(part).unwrap()).unwrap();
    let (header, claims) = (read(header), read(claims));

    let answer = world.get(&format!("/.claviger/keys/{}", header["kid"].as_str().unwrap()), "").await;
    assert_eq!(answer.status, StatusCode::OK);
    let lines: Vec<&str> = answer.text().lines().collect();
    let [first, body @ .., last] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((*first, *last), ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"));
    let spki = STANDARD.decode(body.concat()).unwrap();
    // RFC 5480 §2: the point is the end of it
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, spki[spki.len() - 65..].to_vec());
    key.verify(signed.as_bytes(), &URL_SAFE.decode(signature).unwrap()).expect("the signature is right");
    (header, claims)
}

#[tokio::test]
async fn a_verifier_for_load_balancers_believes_it() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    world.get("/x", &alice).await;
    let seen = world.upstream.last();
    let (header, claims) = verified(&world, &seen).await;
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
    assert_eq!((&header["iss"], &header["client"]), (&json!(world.origin), &json!("our-client")));
    assert!(header["signer"].as_str().unwrap().ends_with("/0123456789abcdef"), "{header}");
    assert!(header["exp"].is_u64() && header["exp"] == claims["exp"], "{header} {claims}");
    assert_eq!((&claims["sub"], &claims["iss"]), (&json!("sub-alice"), &json!(world.origin)));
    assert_eq!(claims["email"], "alice@example.com");
    // verifiers that know no audience refuse a token with one
    assert!(claims.get("aud").is_none(), "{claims}");
    assert_eq!(seen.all("x-amzn-oidc-identity"), ["sub-alice"]);
    assert!(seen.all("x-amzn-oidc-accesstoken").is_empty(), "by opt-in only");
}

#[tokio::test]
async fn the_access_token_comes_by_opt_in() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    world.get("/token", &alice).await;
    let seen = world.upstream.last();
    let (header, _) = verified(&world, &seen).await;
    assert_eq!(header["signer"], json!(world.origin));
    let [token] = seen.all("x-amzn-oidc-accesstoken")[..] else { panic!("{:?}", seen.headers) };
    assert_eq!(world.subject_of(token).await, "sub-alice");
}
