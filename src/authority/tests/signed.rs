//! Signed callers: users, sessions that go on to other roles, forgers, and services that ask for verdicts.

use std::time::Duration;

use aws_sdk_sts::config::Credentials;
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::types::Tag;
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{SOURCE_IDENTITY, TAGS, code, site};
use crate::authority::testing::{Site, USER_KEY, USER_SECRET, VERDICT_TOKEN, element, role_arn};
use crate::clock::Clock as _;
use crate::secret::Secret;
use crate::sigv4::{self, HexDigest, Keys, Payload};

fn user() -> Credentials {
    Credentials::new(USER_KEY, USER_SECRET, None, None, "test")
}

#[tokio::test]
async fn a_role_can_be_assumed_from_a_session_for_an_hour() {
    let site = site();
    let claims = json!({
        TAGS: {"principal_tags": {"Team": ["x"], "Own": ["y"]}, "transitive_tag_keys": ["Team"]},
        SOURCE_IDENTITY: "alice@corp",
    });
    let session = site.client(Some(site.credentials("reports", &claims).await));
    let call = session.assume_role().role_arn(role_arn("chained")).role_session_name("next");
    let refused = call.clone().duration_seconds(3601).send().await.unwrap_err().into_service_error();
    let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
    assert_eq!((refused.code(), refused.message()), (Some("ValidationError"), Some(text)));

    let assumed = call.clone().duration_seconds(3600).send().await.unwrap();
    assert_eq!(assumed.source_identity(), Some("alice@corp"));
    let given = assumed.credentials().unwrap();
    let next = site.authority.seal.open(given.session_token()).unwrap();
    let tags: Vec<String> = next.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(tags, ["Team=x"]);
    assert_eq!(next.federated.unwrap().subject, "alice");

    let tag = |value: &str| Tag::builder().key("team").value(value).build().unwrap();
    let refused = call.clone().tags(tag("z")).send().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("ValidationError"));
    let refused = call.clone().source_identity("mallory").send().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("AccessDenied"));
    call.source_identity("alice@corp").send().await.unwrap();
}

/// CVE-2025-62506, CVE-2024-24747, A30: narrower credentials are no way to wider ones.
#[tokio::test]
async fn a_session_with_a_policy_assumes_nothing() {
    let site = site();
    let policy = json!({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}).to_string();
    let (_, answer) = site.assume("plain", &site.token(&json!({})), &[("Policy", &policy)]).await;
    let token = Some(element(&answer, "SessionToken").to_owned());
    let (id, secret) = (element(&answer, "AccessKeyId"), element(&answer, "SecretAccessKey"));
    let client = site.client(Some(Credentials::new(id, secret, token, None, "test")));
    client.get_caller_identity().send().await.unwrap();
    let refused = client.assume_role().role_arn(role_arn("chained")).role_session_name("next").send().await;
    assert_eq!(refused.unwrap_err().into_service_error().code(), Some("AccessDenied"));
}

#[tokio::test]
async fn a_user_assumes_a_role_on_its_conditions() {
    let site = site();
    let client = site.client(Some(user()));
    let call = client.assume_role().role_arn(role_arn("partner")).role_session_name("build");
    let refused = call.clone().send().await.unwrap_err().into_service_error();
    let message = "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: sts:AssumeRole on resource: \
                   arn:aws:iam::123456789012:role/partner";
    assert_eq!((refused.code(), refused.message()), (Some("AccessDenied"), Some(message)));
    call.clone().external_id("e-1").duration_seconds(43200).send().await.unwrap();
    let tag = Tag::builder().key("a").value("b").build().unwrap();
    let refused = call.external_id("e-1").tags(tag).send().await.unwrap_err().into_service_error();
    assert_eq!(refused.code(), Some("AccessDenied")); // no sts:TagSession
}

/// A signed GetCallerIdentity, as a form.
fn signed(site: &Site, keys: &Keys<'_>, region: &str, late: Duration) -> http::Request<Bytes> {
    let body = Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15");
    let request = http::Request::post(site.url.as_str())
        .header(header::HOST, site.url.authority())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (mut head, body) = request.body(body).unwrap().into_parts();
    let signer = sigv4::Signer::new("sts".parse().unwrap(), region.parse().unwrap());
    let payload = Payload::Hash(HexDigest::of(&body));
    signer.sign(&mut head, &payload, keys, site.clock.now() - late).unwrap();
    http::Request::from_parts(head, body)
}

/// A30: signatures that are nearly right.
#[tokio::test]
async fn forged_signatures_and_tokens_get_nothing() {
    let site = site();
    let (one, other) = (site.credentials("plain", &json!({})).await, site.credentials("plain", &json!({})).await);
    let token = |c: &Credentials| http::HeaderValue::from_str(c.session_token().unwrap()).unwrap();
    let (ones, others) = (token(&one), token(&other));
    let secret = |text: &str| Secret::new(text);
    let (user, wrong, session) = (secret(USER_SECRET), secret("wrong"), secret(one.secret_access_key()));
    let key = |access_key_id, secret, session_token| Keys { access_key_id, secret, session_token };
    let now = Duration::ZERO;
    for (name, request, expected) in [
        ("right", signed(&site, &key(USER_KEY, &user, None), "eu-west-1", now), None),
        ("session", signed(&site, &key(one.access_key_id(), &session, Some(&ones)), "eu-west-1", now), None),
        ("wrong secret", signed(&site, &key(USER_KEY, &wrong, None), "eu-west-1", now), Some("SignatureDoesNotMatch")),
        ("region", signed(&site, &key(USER_KEY, &user, None), "us-east-1", now), Some("SignatureDoesNotMatch")),
        (
            "16 minutes late",
            signed(&site, &key(USER_KEY, &user, None), "eu-west-1", Duration::from_secs(16 * 60)),
            Some("SignatureDoesNotMatch"),
        ),
        (
            "unknown key",
            signed(&site, &key("AKIAIOSFODNN7UNKNOWN", &user, None), "eu-west-1", now),
            Some("InvalidClientTokenId"),
        ),
        (
            "session without its token",
            signed(&site, &key(one.access_key_id(), &session, None), "eu-west-1", now),
            Some("InvalidClientTokenId"),
        ),
        (
            "another session's token",
            signed(&site, &key(one.access_key_id(), &session, Some(&others)), "eu-west-1", now),
            Some("InvalidClientTokenId"),
        ),
        (
            "a user with a session's token",
            signed(&site, &key(USER_KEY, &user, Some(&ones)), "eu-west-1", now),
            Some("InvalidClientTokenId"),
        ),
    ] {
        let (status, answer) = site.send(request).await;
        match expected {
            None => assert_eq!(status, StatusCode::OK, "{name}: {answer}"),
            Some(expected) => assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, expected), "{name}"),
        }
    }

    let unsigned = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
    let (status, answer) = site.call(&unsigned).await;
    assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "MissingAuthenticationToken"));
    let mut changed = signed(&site, &key(USER_KEY, &user, None), "eu-west-1", now);
    *changed.body_mut() = Bytes::from_static(b"Action=GetCallerIdentity&Version=2011-06-15&x-amz-y=1");
    assert_eq!(code(&site.send(changed).await.1), "SignatureDoesNotMatch");

    site.clock.advance(Duration::from_secs(3600));
    let (status, answer) =
        site.send(signed(&site, &key(one.access_key_id(), &session, Some(&ones)), "eu-west-1", now)).await;
    assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "ExpiredToken"));
}

/// A presigned call, made by the signer that AWS's SDKs use; who was handed the URL acts as its signer, until it ends.
#[tokio::test]
async fn presigned_calls_count_until_they_end() {
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
    let site = site();
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(60));
    let identity = site.credentials("plain", &json!({})).await.into();
    let parameters = aws_sigv4::sign::v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("sts")
        .time(site.clock.now())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("{}?Action=GetCallerIdentity&Version=2011-06-15", site.url);
    let signable = SignableRequest::new("GET", &uri, std::iter::empty(), SignableBody::Bytes(b"")).unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    let mut presigned = http::Request::get(&uri).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut presigned);
    let signed =
        || http::Request::get(presigned.uri()).header(header::HOST, site.url.authority()).body(Bytes::new()).unwrap();
    let (status, answer) = site.send(signed()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(element(&answer, "Arn"), "arn:aws:sts::123456789012:assumed-role/plain/alice");

    // CVE-2025-59048, CVE-2020-16250 class: another action under the same signature
    let mut changed = signed();
    let uri = changed.uri().to_string().replace("GetCallerIdentity", "AssumeRole");
    *changed.uri_mut() = uri.parse().unwrap();
    assert_eq!(code(&site.send(changed).await.1), "SignatureDoesNotMatch");
    site.clock.advance(Duration::from_secs(61));
    assert_eq!(code(&site.send(signed()).await.1), "SignatureDoesNotMatch");
}

/// Asks for a verdict about a signed request.
async fn verdict(site: &Site, token: Option<&str>, question: &Value) -> (StatusCode, Value) {
    let mut request = http::Request::post("/verdict");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let (status, answer) = site.send(request.body(question.to_string().into()).unwrap()).await;
    (status, serde_json::from_str(&answer).unwrap())
}

#[tokio::test]
async fn verdicts_are_for_services_that_may_ask() {
    let site = site();
    let claims = json!({TAGS: {"principal_tags": {"Department": ["finance"]}}, SOURCE_IDENTITY: "alice@corp"});
    let given = site.credentials("reports", &claims).await;
    let keys = Keys {
        access_key_id: given.access_key_id(),
        secret: &Secret::new(given.secret_access_key()),
        session_token: Some(&http::HeaderValue::from_str(given.session_token().unwrap()).unwrap()),
    };
    let (head, body) = signed(&site, &keys, "eu-west-1", Duration::ZERO).into_parts();
    let read = sigv4::Presented::read(&head, &"sts".parse().unwrap(), &HexDigest::of(&body), site.clock.now()).unwrap();
    let question = json!({
        "access_key_id": read.access_key_id(),
        "session_token": read.session_token().map(Secret::expose),
        "scope": read.scope(),
        "string_to_sign": read.string_to_sign(),
        "signature": read.signature(),
    });
    for token in [None, Some(""), Some("wrong"), Some("verdict-toke")] {
        assert_eq!(verdict(&site, token, &question).await.0, StatusCode::UNAUTHORIZED, "{token:?}");
    }
    let (status, answer) = verdict(&site, Some(VERDICT_TOKEN), &question).await;
    assert_eq!((status, answer["verdict"].as_str()), (StatusCode::OK, Some("ok")));
    let caller = &answer["caller"];
    assert_eq!(caller["arn"], "arn:aws:sts::123456789012:assumed-role/reports/alice");
    assert_eq!(caller["subject"], "alice");
    assert_eq!(caller["provider"], site.provider_arn);
    assert_eq!(caller["tags"], json!({"Department": "finance"}));
    assert_eq!(caller["source_identity"], "alice@corp");
    assert!(!answer.to_string().contains(given.secret_access_key()));
    assert!(!answer.to_string().contains(given.session_token().unwrap()));

    let changed = |name: &str, value: Value| {
        let mut question = question.clone();
        question[name] = value;
        question
    };
    let text = read.string_to_sign();
    let scope = read.scope().to_string().replace("/sts/", "/s3/");
    for (question, expected) in [
        (changed("signature", json!("0".repeat(64))), "SignatureDoesNotMatch"),
        (changed("signature", json!("")), "SignatureDoesNotMatch"),
        (changed("string_to_sign", json!(text.replace("AWS4", "AWS5"))), "SignatureDoesNotMatch"),
        (changed("string_to_sign", json!(format!("{text}0"))), "SignatureDoesNotMatch"),
        (changed("scope", json!(scope)), "SignatureDoesNotMatch"),
        (changed("session_token", json!(null)), "InvalidToken"),
        (changed("session_token", json!("AAAA")), "InvalidToken"),
        (changed("access_key_id", json!(USER_KEY)), "InvalidToken"),
        (changed("access_key_id", json!("ASIAOTHER")), "InvalidToken"),
    ] {
        let (status, answer) = verdict(&site, Some(VERDICT_TOKEN), &question).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({"verdict": expected})), "{question}");
    }
    let unknown = json!({"access_key_id": "AKIANOBODY", "session_token": null, "scope": read.scope(),
        "string_to_sign": text, "signature": read.signature()});
    assert_eq!(verdict(&site, Some(VERDICT_TOKEN), &unknown).await.1, json!({"verdict": "InvalidAccessKeyId"}));
    assert_eq!(verdict(&site, Some(VERDICT_TOKEN), &json!({})).await.0, StatusCode::BAD_REQUEST);
    site.clock.advance(Duration::from_secs(3600));
    assert_eq!(verdict(&site, Some(VERDICT_TOKEN), &question).await.1, json!({"verdict": "ExpiredToken"}));
}
