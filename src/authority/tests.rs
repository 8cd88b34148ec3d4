//! The STS as its callers see it: AWS's own client, and hostile ones.

#[cfg(feature = "saml")]
mod saml;
mod signed;

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_sdk_sts::config::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::testing::{AUDIENCE, Site, element, role_arn, trusting};
use crate::clock::{Clock as _, from_epoch_seconds, rfc3339};
use crate::jose::Signer;

const WEB: &str = "sts:AssumeRoleWithWebIdentity";
const TAGS: &str = "https://aws.amazon.com/tags";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/source_identity";

/// Roles that trust the provider more or less, and one that trusts signed callers.
fn site() -> Site {
    let all = json!([WEB, "sts:TagSession", "sts:SetSourceIdentity"]);
    let chained = json!([{"Effect": "Allow", "Principal": {"AWS": "123456789012"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}]);
    let partner = json!([{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/ci"},
        "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "e-1"}}}]);
    Site::start(&[
        ("reports", trusting(&all, &json!({"StringEquals": {"CLAIMS:aud": AUDIENCE}})), 3600),
        ("plain", trusting(&json!(WEB), &json!({})), 7200),
        ("bobs", trusting(&json!(WEB), &json!({"StringEquals": {"CLAIMS:sub": "bob"}})), 3600),
        ("named", trusting(&json!(WEB), &json!({"StringEquals": {"sts:RoleSessionName": "alice"}})), 3600),
        ("finance", trusting(&all, &json!({"StringEquals": {"aws:RequestTag/Department": "finance"}})), 3600),
        ("chained", chained, 43200),
        ("partner", partner, 43200),
    ])
}

fn code(answer: &str) -> &str {
    element(answer, "Code")
}

#[tokio::test]
async fn awss_client_exchanges_a_token_and_says_who_it_is() {
    let site = site();
    let token = site.token(&json!({
        TAGS: {"principal_tags": {"Department": ["finance"]}, "transitive_tag_keys": ["Department"]},
        SOURCE_IDENTITY: "alice@corp",
    }));
    let client = site.client(None);
    let call = client.assume_role_with_web_identity().role_arn(role_arn("reports")).role_session_name("alice");
    let assumed = call.web_identity_token(token).duration_seconds(900).send().await.unwrap();
    assert_eq!(assumed.subject_from_web_identity_token(), Some("alice"));
    assert_eq!(assumed.audience(), Some(AUDIENCE));
    assert_eq!(assumed.provider(), Some(site.provider_arn.as_str()));
    assert_eq!(assumed.source_identity(), Some("alice@corp"));
    let session = "arn:aws:sts::123456789012:assumed-role/reports/alice";
    assert_eq!(assumed.assumed_role_user().unwrap().arn(), session);
    let given = assumed.credentials().unwrap();
    let ends = from_epoch_seconds(given.expiration().secs().try_into().unwrap());
    assert_eq!(ends, site.clock.now() + Duration::from_secs(900));

    let token = Some(given.session_token().to_owned());
    let credentials = Credentials::new(given.access_key_id(), given.secret_access_key(), token, None, "test");
    let caller = site.client(Some(credentials)).get_caller_identity().send().await.unwrap();
    assert_eq!((caller.arn(), caller.account()), (Some(session), Some("123456789012")));
    assert_eq!(caller.user_id(), Some(assumed.assumed_role_user().unwrap().assumed_role_id()));
    assert_eq!(site.authority.calls("AssumeRoleWithWebIdentity"), 1);
    assert_eq!(site.authority.calls("GetCallerIdentity"), 1);
}

#[tokio::test]
async fn awss_client_understands_refusals() {
    let site = site();
    let call = site.client(None).assume_role_with_web_identity().role_session_name("alice");
    let call = call.role_arn(role_arn("plain"));
    let refused = call.clone().web_identity_token("not.a.token").send().await.unwrap_err();
    assert!(refused.into_service_error().is_invalid_identity_token_exception());
    let expired = site.token(&json!({"exp": 1_000}));
    let refused = call.clone().web_identity_token(expired).send().await.unwrap_err();
    assert!(refused.into_service_error().is_expired_token_exception());
    let rejected = site.token(&json!({SOURCE_IDENTITY: "a b"}));
    let refused = call.clone().web_identity_token(rejected).send().await.unwrap_err();
    assert!(refused.into_service_error().is_idp_rejected_claim_exception());
    let good = site.token(&json!({}));
    let refused = call.web_identity_token(good).policy("{").send().await.unwrap_err();
    assert!(refused.into_service_error().is_malformed_policy_document_exception());
}

/// A18, CVE-2026-33322, GHSA-7qjx-gp9h-65qj: tokens that are not what they should be.
#[tokio::test]
async fn hostile_tokens_get_nothing() {
    let site = site();
    let jwk = site.signer.public_jwk();
    let forged = |header: Value, key: Option<&[u8]>| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&site.claims(&json!({}))));
        let signature = key.map_or_else(String::new, |key| {
            URL_SAFE_NO_PAD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes()))
        });
        format!("{signed}.{signature}")
    };
    let point = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let (other, _) = Signer::generate().unwrap();
    let foreign = other.sign("JWT", &site.claims(&json!({}))).unwrap().expose().to_owned();
    let now = crate::clock::epoch_seconds(site.clock.now());
    let good = site.token(&json!({}));
    let (rest, signature) = good.rsplit_once('.').unwrap();
    for (name, token, expected) in [
        ("alg none", forged(json!({"alg": "none"}), None), "InvalidIdentityToken"),
        (
            "HS256 by the public key",
            forged(json!({"alg": "HS256", "kid": jwk["kid"]}), Some(&point)),
            "InvalidIdentityToken",
        ),
        ("HS256 by the JWK", forged(json!({"alg": "HS256"}), Some(jwk.to_string().as_bytes())), "InvalidIdentityToken"),
        ("another's key", foreign, "InvalidIdentityToken"),
        ("no signature", format!("{rest}."), "InvalidIdentityToken"),
        ("half a signature", format!("{rest}.{}", &signature[..20]), "InvalidIdentityToken"),
        ("no token", "nonsense".to_owned(), "InvalidIdentityToken"),
        ("issuer with a slash", site.token(&json!({"iss": format!("{}/", site.issuer)})), "InvalidIdentityToken"),
        ("another issuer", site.token(&json!({"iss": "https://other.example.com"})), "InvalidIdentityToken"),
        ("no issuer", site.token(&json!({"iss": null})), "InvalidIdentityToken"),
        ("wrong audience", site.token(&json!({"aud": "other"})), "InvalidIdentityToken"),
        ("no audience", site.token(&json!({"aud": null})), "InvalidIdentityToken"),
        ("two audiences, no azp", site.token(&json!({"aud": [AUDIENCE, "other"]})), "InvalidIdentityToken"),
        ("expired", site.token(&json!({"exp": now - 31})), "ExpiredTokenException"),
        ("not yet", site.token(&json!({"nbf": now + 600})), "ExpiredTokenException"),
        ("exp as text", site.token(&json!({"exp": (now + 300).to_string()})), "IDPRejectedClaim"),
        ("no exp", site.token(&json!({"exp": null})), "IDPRejectedClaim"),
        ("no subject", site.token(&json!({"sub": null})), "InvalidIdentityToken"),
        ("empty subject", site.token(&json!({"sub": ""})), "InvalidIdentityToken"),
    ] {
        let (status, answer) = site.assume("plain", &token, &[]).await;
        assert_eq!(code(&answer), expected, "{name}: {answer}");
        let forbidden = expected == "IDPRejectedClaim";
        assert_eq!(status, if forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST }, "{name}");
        assert!(!answer.contains(&token), "{name}");
    }
    let (status, answer) = site.assume("plain", &good, &[]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn the_trust_policy_has_the_last_word() {
    let site = site();
    let tags = |department: &str| json!({TAGS: {"principal_tags": {"Department": [department]}}});
    let (tag, set) = ("sts:TagSession", "sts:SetSourceIdentity");
    for (role, claims, session_name, refused) in [
        ("reports", json!({}), "alice", None),
        ("nothing", json!({}), "alice", Some(WEB)),
        ("bobs", json!({}), "alice", Some(WEB)),
        ("bobs", json!({"sub": "bob"}), "alice", None),
        ("named", json!({}), "alice", None),
        ("named", json!({}), "bob", Some(WEB)),
        ("chained", json!({}), "alice", Some(WEB)),
        ("plain", tags("finance"), "alice", Some(tag)),
        ("plain", json!({SOURCE_IDENTITY: "alice"}), "alice", Some(set)),
        ("finance", tags("finance"), "alice", None),
        ("finance", tags("hr"), "alice", Some(WEB)),
        ("finance", json!({}), "alice", Some(WEB)),
        // A20: a name that would be another role's ARN, or a pattern
        ("reports/../plain", json!({}), "alice", Some(WEB)),
        ("*", json!({}), "alice", Some(WEB)),
    ] {
        let (status, answer) = site.assume(role, &site.token(&claims), &[("RoleSessionName", session_name)]).await;
        match refused {
            None => assert_eq!(status, StatusCode::OK, "{role} {claims}: {answer}"),
            // a role that is not there answers like one that doesn't trust
            Some(action) => {
                assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "AccessDenied"), "{role} {claims}");
                assert_eq!(element(&answer, "Message"), format!("Not authorized to perform {action}"), "{role}");
            }
        }
    }
}

#[tokio::test]
async fn durations_keep_to_the_roles_and_stss_bounds() {
    let site = site();
    for (role, seconds, lasts) in [
        ("plain", None, Some(3600)),
        ("plain", Some("900"), Some(900)),
        ("plain", Some("7200"), Some(7200)),
        ("plain", Some("7201"), None),
        ("reports", Some("3601"), None),
        ("plain", Some("899"), None),
        ("plain", Some("43201"), None),
        ("plain", Some("-900"), None),
        ("plain", Some("1h"), None),
        ("plain", Some("99999999999999999999"), None),
    ] {
        let duration: Vec<(&str, &str)> = seconds.map(|s| ("DurationSeconds", s)).into_iter().collect();
        let (status, answer) = site.assume(role, &site.token(&json!({})), &duration).await;
        match lasts {
            Some(lasts) => {
                let ends = rfc3339(site.clock.now() + Duration::from_secs(lasts));
                assert_eq!(element(&answer, "Expiration"), ends, "{role} {seconds:?}");
            }
            None => assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "ValidationError"), "{seconds:?}"),
        }
    }
    let (_, answer) = site.assume("plain", &site.token(&json!({})), &[("DurationSeconds", "60")]).await;
    let message = "1 validation error detected: Value &apos;60&apos; at &apos;durationSeconds&apos; failed to satisfy \
                   constraint: Member must have value greater than or equal to 900";
    assert_eq!(element(&answer, "Message"), message);
}

#[tokio::test]
async fn calls_that_are_not_understood_are_refused() {
    let site = site();
    let token = site.token(&json!({}));
    for (parameter, expected) in [
        (("RoleSessionName", "a b"), "ValidationError"), // A20
        (("RoleSessionName", "a/b"), "ValidationError"),
        (("RoleSessionName", "a"), "ValidationError"),
        (("RoleSessionName", "alice\n"), "ValidationError"),
        (("RoleArn", "arn:aws:iam::123456789012:role/plain"), "ValidationError"), // twice
        (("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"), "ValidationError"),
        (("ProviderId", "www.amazon.com"), "ValidationError"),
        (("Policy", "{}"), "MalformedPolicyDocument"),
        (("Policy", "[]"), "MalformedPolicyDocument"),
    ] {
        let (_, answer) = site.assume("plain", &token, &[parameter]).await;
        assert_eq!(code(&answer), expected, "{parameter:?}");
    }
    for (parameters, expected) in [
        (&[("Version", "2011-06-15")] as &[(&str, &str)], "MissingAction"),
        (&[("Action", "GetCallerIdentity")], "InvalidAction"),
        (&[("Action", "GetCallerIdentity"), ("Version", "2010-05-08")], "InvalidAction"),
        (&[("Action", "GetFederationToken"), ("Version", "2011-06-15")], "InvalidAction"),
        (&[("Action", "AssumeRoleWithWebIdentity"), ("Version", "2011-06-15")], "ValidationError"),
        (&[("Action", "<script>"), ("Version", "x")], "InvalidAction"),
    ] {
        let (status, answer) = site.call(parameters).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, expected), "{parameters:?}");
        assert!(!answer.contains("<script>"));
    }
    let json = http::Request::post("/").header(header::CONTENT_TYPE, "application/json");
    assert_eq!(code(&site.send(json.body("{}".into()).unwrap()).await.1), "ValidationError");
    let large = http::Request::post("/").body(vec![b'a'; 200_000].into()).unwrap();
    assert_eq!(site.send(large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.send(http::Request::get("/else").body(Bytes::new()).unwrap()).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn hostile_words_stay_text_in_the_answer() {
    let site = site();
    let hostile = "</Message><Admin>&\u{0}\n";
    let (status, answer) = site.assume("plain", &site.token(&json!({"sub": hostile})), &[]).await;
    assert_eq!(status, StatusCode::OK);
    let expected = "&lt;/Message&gt;&lt;Admin&gt;&amp;\u{fffd}\n";
    assert_eq!(element(&answer, "SubjectFromWebIdentityToken"), expected);
}

#[tokio::test]
async fn session_policies_and_tags_have_their_room() {
    let site = site();
    let policy = |length: usize| format!("{{\"Statement\":[{}]}}", " ".repeat(length - 16));
    let (_, answer) = site.assume("plain", &site.token(&json!({})), &[("Policy", &policy(2048))]).await;
    assert_eq!(element(&answer, "PackedPolicySize"), "50");
    let (_, answer) = site.assume("plain", &site.token(&json!({})), &[("Policy", &policy(2049))]).await;
    assert_eq!(code(&answer), "ValidationError");
    let tags: serde_json::Map<String, Value> = (0..20).map(|n| (format!("k{n}"), json!(["v".repeat(250)]))).collect();
    let (_, answer) = site.assume("reports", &site.token(&json!({TAGS: {"principal_tags": tags}})), &[]).await;
    assert_eq!(code(&answer), "PackedPolicyTooLarge");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_not_the_tokens_fault() {
    let mut account = super::Account::new("123456789012".parse().unwrap(), "eu-west-1".parse().unwrap());
    let mut site = site();
    // nobody listens at port 1 of loopback
    account.add_provider("http://127.0.0.1:1/realm", vec![AUDIENCE.to_owned()]).unwrap();
    let clock = std::sync::Arc::clone(&site.clock) as std::sync::Arc<dyn crate::clock::Clock>;
    let authority = super::Authority::new(account, &site.fetch, clock, &crate::telemetry::Metrics::new());
    let token = site.token(&json!({"iss": "http://127.0.0.1:1/realm"}));
    site.authority = authority;
    let (status, answer) = site.assume("plain", &token, &[]).await;
    assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "IDPCommunicationError"));
}

#[tokio::test]
async fn a_request_is_named_the_same_in_header_and_body() {
    use crate::server::Handler as _;
    let site = site();
    let request = http::Request::get("/?Action=None").body(crate::web::Body::Empty).unwrap();
    let response = site.authority.handle(request).await;
    let id = response.headers()["x-amzn-requestid"].to_str().unwrap().to_owned();
    let body = response.into_body().collect(1 << 16).await.unwrap();
    assert_eq!(element(std::str::from_utf8(&body).unwrap(), "RequestId"), id);
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    assert_eq!((&id[14..15], "89ab".contains(&id[19..20])), ("4", true));
}
