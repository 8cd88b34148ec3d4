//! `kind = "container"`: what an unmodified SDK gets, and what nobody else does.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use super::{CREDENTIALS, NEXT_TOKEN, STRANGERS, TOKEN, ask, give_token, of_others, world, world_with, write};
use crate::support::client::{headers, raw, send};
use crate::support::world::until;

#[tokio::test]
async fn an_sdk_gets_the_workloads_keys_from_the_brokers_cache() {
    let (world, at) = world().await;
    give_token(&world).await;
    let answer = ask(at, CREDENTIALS, TOKEN).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    let told = answer.json();
    for key in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert!(told[key].as_str().is_some_and(|text| text.len() >= 16), "{key}");
    }
    let ends = told["Expiration"].as_str().unwrap();
    assert!(ends.len() == "2016-02-25T06:03:31Z".len() && ends.ends_with('Z'), "{ends}");
    assert_eq!(told["RoleArn"], "arn:aws:iam::123456789012:role/direct");
    assert_eq!(told["AccountId"], "123456789012");

    // the same keys, by the role's name too, and STS was asked once
    let calls = world.sts_calls();
    assert_eq!(ask(at, "/v1/credentials/direct", TOKEN).await.json()["AccessKeyId"], told["AccessKeyId"]);
    assert_eq!(world.sts_calls(), calls);
    let served = r#"claviger_endpoint_requests_total{endpoint="app",verdict="served"}"#;
    until(async || world.metric(served).await, |count| *count >= 2.0).await;

    let audit = |told: &Value| told["message"] == "credentials were handed out";
    let line = world.claviger.event(|line| audit(line) || audit(&line["fields"])).await.to_string();
    assert!(line.contains("role/direct") && line.contains("sub-alice"), "{line}");
    for secret in [told["SecretAccessKey"].as_str().unwrap(), told["Token"].as_str().unwrap(), TOKEN] {
        assert!(!world.claviger.log().iter().any(|line| line.contains(secret)));
    }
    // never another role
    for (path, status) in [
        ("/v1/credentials/another", StatusCode::FORBIDDEN),
        ("/v1/credentials/", StatusCode::NOT_FOUND),
        ("/v1/credentials/direct/more", StatusCode::NOT_FOUND),
        ("/v1/credentialsdirect", StatusCode::NOT_FOUND),
        ("/", StatusCode::NOT_FOUND),
    ] {
        let answer = ask(at, path, TOKEN).await;
        assert!(answer.status == status && answer.json()["code"].is_string(), "{path}: {}", answer.text());
    }
}

/// A22: what a page in a browser sends is refused whatever token it has, and learns nothing.
#[tokio::test]
async fn a22_no_page_gets_keys() {
    let (world, at) = world().await;
    give_token(&world).await;
    for (name, value) in of_others(at) {
        for token in [TOKEN, "wrong"] {
            let sent = headers(&[("authorization", token), (name, &value)]);
            let answer = send(at, Method::GET, CREDENTIALS, &sent, "").await;
            assert_eq!((answer.status, answer.text()), (StatusCode::FORBIDDEN, ""), "{name}: {value}");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
        }
    }
    let preflight = headers(&[("origin", "http://evil.test"), ("access-control-request-method", "GET")]);
    assert_eq!(send(at, Method::OPTIONS, CREDENTIALS, &preflight, "").await.status, StatusCode::FORBIDDEN);
    let local = headers(&[("authorization", TOKEN), ("host", &format!("localhost:{}", at.port()))]);
    assert_eq!(send(at, Method::GET, CREDENTIALS, &local, "").await.status, StatusCode::OK);
    world
        .claviger
        .line(|line| line.contains("no credentials were handed out") && line.contains("a browser asks"))
        .await;
}

/// A22, A24: the token is compared as it is, and the file that holds it is the only one that counts.
#[tokio::test]
async fn a24_only_who_has_the_token_gets_keys() {
    let (world, at) = world().await;
    give_token(&world).await;
    let bearer = format!("Bearer {TOKEN}");
    let longer = format!("{TOKEN}0");
    for wrong in ["", "wrong", &TOKEN[1..], &*bearer, &*longer, &*TOKEN.to_uppercase()] {
        let answer = ask(at, CREDENTIALS, wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(answer.json()["code"], "Unauthorized");
    }
    assert_eq!(send(at, Method::GET, CREDENTIALS, &HeaderMap::new(), "").await.status, StatusCode::UNAUTHORIZED);
    let twice = format!(
        "GET {CREDENTIALS} HTTP/1.1\r\nHost: {at}\r\nAuthorization: {TOKEN}\r\nAuthorization: {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    assert!(!raw(at, twice).await.starts_with("HTTP/1.1 200"));

    // rotated: the old one is worth nothing from then on
    let next = NEXT_TOKEN;
    write(&world, "token", &format!("{next}\n"));
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(at, CREDENTIALS, next).await.status, StatusCode::OK);
    // guessable, empty or gone: nobody gets anything
    for text in ["short", ""] {
        write(&world, "token", text);
        assert_eq!(ask(at, CREDENTIALS, text).await.status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
    }
    std::fs::remove_file(world.file("token")).unwrap();
    assert_eq!(ask(at, CREDENTIALS, next).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn keys_are_asked_for_and_nothing_else_is_done() {
    let (world, at) = world().await;
    give_token(&world).await;
    let sent = headers(&[("authorization", TOKEN)]);
    let whole = ask(at, CREDENTIALS, TOKEN).await;
    let head = send(at, Method::HEAD, CREDENTIALS, &sent, "").await;
    assert_eq!((head.status, head.text()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let answer = send(at, method.clone(), CREDENTIALS, &sent, "").await;
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"), "{method}");
        assert_eq!(answer.json()["code"], "MethodNotAllowed");
        let answer = send(at, method.clone(), CREDENTIALS, &HeaderMap::new(), "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method}");
    }
}

/// One endpoint for several roles: whoever does not name one gets none.
#[tokio::test]
async fn one_of_several_roles_is_named() {
    let several = r#"
        [endpoint.several]
        kind = "container"
        address = "127.0.0.1:0"
        token_file = "{folder}/token"
        identity = "workload"
        credentials = "direct"
        roles = [
            { name = "app", role = "arn:aws:iam::123456789012:role/direct" },
            { name = "other", role = "arn:aws:iam::123456789012:role/nobodys" },
        ]
    "#;
    let (world, _) = world_with(several).await;
    give_token(&world).await;
    let at = world.claviger.address("endpoint.several").await;
    let answer = ask(at, "/v1/credentials/app", TOKEN).await;
    assert_eq!(
        (answer.status, &answer.json()["RoleArn"]),
        (StatusCode::OK, &"arn:aws:iam::123456789012:role/direct".into())
    );
    for (path, status, code, named) in [
        (CREDENTIALS, StatusCode::BAD_REQUEST, "RoleWanted", "app, other"),
        ("/v1/credentials/other", StatusCode::FORBIDDEN, "AccessDenied", "role/nobodys"),
        ("/v1/credentials/direct", StatusCode::FORBIDDEN, "AccessDenied", "app, other"),
    ] {
        let answer = ask(at, path, TOKEN).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &Value::from(code)), "{path}");
        assert!(answer.text().contains(named), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_sdks_user_reads_what_sts_said_and_of_which_role() {
    let (world, _) = world_with(STRANGERS).await;
    give_token(&world).await;
    let at = world.claviger.address("endpoint.stranger").await;
    let answer = ask(at, CREDENTIALS, TOKEN).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::FORBIDDEN, &Value::from("AccessDenied")));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("AccessDenied") && message.contains("role/nobodys"), "{message}");
}

#[tokio::test]
async fn without_a_token_of_its_own_the_workload_is_nobody() {
    let (world, at) = world().await;
    let answer = ask(at, CREDENTIALS, TOKEN).await;
    assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::SERVICE_UNAVAILABLE, &Value::from("NoToken")));
    assert_eq!(world.sts_calls(), 0);
    give_token(&world).await;
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::OK);
    std::fs::remove_file(world.file("workload.jwt")).unwrap();
    assert_eq!(ask(at, CREDENTIALS, TOKEN).await.status, StatusCode::SERVICE_UNAVAILABLE);
}
