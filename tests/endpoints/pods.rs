//! `kind = "pod_identity"`: what pods get by their tokens, over sockets.

use std::net::SocketAddr;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::{CREDENTIALS, ask, of_others, write};
use crate::callers::issuer::{Issuer, Key, encoded, now};
use crate::support::client::{Answer, headers, raw, send};
use crate::support::own_keys::{OWN_KEY, OWN_SECRET};
use crate::support::routes::OPEN;
use crate::support::world::{Plan, World, until};

mod api_server;

/// Pods of `shop` and `billing` have the role of their service account's name; others have none.
const PODS: &str = r#"
[identity.cluster]
kind = "kubernetes"
issuer = "{issuer}"
audiences = ["pods.eks.amazonaws.com"]
leeway = "0s"
{keys}

[credentials.own]
kind = "assume_role"
region = "eu-west-1"
endpoint = "{authority}"

[endpoint.pods]
kind = "pod_identity"
address = "127.0.0.1:0"
identity = "cluster"
credentials = "own"
cluster_arn = "arn:aws:eks:eu-west-1:123456789012:cluster/blue"
allow = { claims = { "kubernetes.namespace" = ["shop", "billing"] } }
role = "arn:aws:iam::123456789012:role/{claims.kubernetes.serviceaccount.name}"
tags = { app = "{claims.kubernetes.serviceaccount.name}" }
"#;

fn plan(issuer: &str, keys: &str) -> Plan {
    let pods = PODS.replace("{issuer}", issuer).replace("{keys}", keys);
    let plan = Plan::with_routes(&[&pods, OPEN].concat());
    plan.variable("AWS_ACCESS_KEY_ID", OWN_KEY).variable("AWS_SECRET_ACCESS_KEY", OWN_SECRET)
}

async fn world(issuer: &Issuer) -> (World, SocketAddr) {
    let world = plan(&issuer.url, "").start().await;
    let at = world.claviger.address("endpoint.pods").await;
    (world, at)
}

/// What a cluster says of a pod whose service account is `machine`.
fn claims(issuer: &str, pod: &str) -> Value {
    let now = now();
    json!({
        "iss": issuer, "aud": ["pods.eks.amazonaws.com"], "sub": "system:serviceaccount:shop:machine",
        "iat": now, "nbf": now, "exp": now + 600, "jti": format!("{pod}-{now}"),
        "kubernetes.io": {
            "namespace": "shop",
            "node": { "name": "node-1", "uid": "00000000-0000-0000-0000-000000000001" },
            "pod": { "name": pod, "uid": format!("uid-of-{pod}") },
            "serviceaccount": { "name": "machine", "uid": "00000000-0000-0000-0000-000000000002" },
        },
    })
}

/// Signed as the API server does.
fn token(key: &Key, claims: &Value) -> String {
    key.sign(&json!({ "alg": "ES256", "kid": key.kid() }), &claims.to_string())
}

fn token_of(issuer: &Issuer, pod: &str) -> String {
    token(&issuer.key, &claims(&issuer.url, pod))
}

/// With one claim changed, by its path.
fn changed(issuer: &Issuer, path: &str, value: Value) -> String {
    let mut claims = claims(&issuer.url, "web-1");
    match (path.rsplit_once('/'), value) {
        (Some((parent, name)), Value::Null) => {
            claims.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        }
        (_, value) => *claims.pointer_mut(path).unwrap() = value,
    }
    token(&issuer.key, &claims)
}

fn key_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["AccessKeyId"].as_str().unwrap().to_owned()
}

fn assumed(world: &World) -> u64 {
    world.authority.calls("AssumeRole")
}

#[tokio::test]
async fn a_pod_gets_its_roles_keys_with_the_session_tags_of_eks() {
    let issuer = Issuer::start();
    let (world, at) = world(&issuer).await;
    let token = token_of(&issuer, "web-1");
    let answer = ask(at, CREDENTIALS, &token).await;
    let key = key_of(&answer);
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    let told = answer.json();
    assert_eq!(told["AccountId"], "123456789012");
    assert!(["SecretAccessKey", "Token", "Expiration"].iter().all(|key| told[key].as_str().is_some()));

    let asked = world.sts_tap.said().pop().unwrap().asked;
    let told_sts: Vec<(String, String)> = url::form_urlencoded::parse(asked.as_bytes()).into_owned().collect();
    for (name, value) in [
        ("eks-cluster-arn", "arn:aws:eks:eu-west-1:123456789012:cluster/blue"),
        ("eks-cluster-name", "blue"),
        ("kubernetes-namespace", "shop"),
        ("kubernetes-service-account", "machine"),
        ("kubernetes-pod-name", "web-1"),
        ("kubernetes-pod-uid", "uid-of-web-1"),
        ("app", "machine"),
    ] {
        let (field, _) = told_sts.iter().find(|(_, told)| told == name).unwrap_or_else(|| panic!("{name}: {asked}"));
        let field = field.replace(".Key", ".Value");
        assert!(told_sts.contains(&(field, value.to_owned())), "{name}: {asked}");
    }
    let transitive = told_sts.iter().filter(|(name, _)| name.starts_with("TransitiveTagKeys.")).count();
    assert_eq!(transitive, 6, "{asked}");

    // from the cache, as the agent is called too; the pod of the same service account has keys of its own
    let agent = headers(&[("authorization", &token), ("host", "169.254.170.23")]);
    assert_eq!(key_of(&send(at, Method::GET, CREDENTIALS, &agent, "").await), key);
    assert_eq!(assumed(&world), 1);
    let second = key_of(&ask(at, CREDENTIALS, &token_of(&issuer, "web-2")).await);
    assert!(second != key && assumed(&world) == 2);
    assert_eq!(key_of(&ask(at, CREDENTIALS, &token).await), key);

    let served = r#"claviger_endpoint_requests_total{endpoint="pods",verdict="served"}"#;
    until(async || world.metric(served).await, |count| *count >= 4.0).await;
    let line = |line: &str| line.contains("credentials were handed out") && line.contains("uid-of-web-1");
    world.claviger.line(|text| line(text)).await;
    for secret in [told["SecretAccessKey"].as_str().unwrap(), told["Token"].as_str().unwrap(), &token] {
        assert!(!world.claviger.log().iter().any(|line| line.contains(secret)));
    }
}

/// A22, A23: what a page in a browser sends is refused whatever token it has, and learns nothing.
#[tokio::test]
async fn a22_a23_no_page_and_no_proxy_gets_a_pods_keys() {
    let issuer = Issuer::start();
    let (world, at) = world(&issuer).await;
    let token = token_of(&issuer, "web-1");
    for (name, value) in of_others(at) {
        let sent = headers(&[("authorization", &token), (name, &value)]);
        let answer = send(at, Method::GET, CREDENTIALS, &sent, "").await;
        assert_eq!((answer.status, answer.text()), (StatusCode::FORBIDDEN, ""), "{name}: {value}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")));
    }
    assert_eq!(assumed(&world), 0);
    for (method, path, status) in [
        (Method::POST, CREDENTIALS, StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/v1/credentials/machine", StatusCode::NOT_FOUND),
        (Method::GET, "/", StatusCode::NOT_FOUND),
    ] {
        let answer = send(at, method, path, &headers(&[("authorization", &token)]), "").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
}

/// A24, A26: a token that is not this cluster's for us, now, and of a pod, is nobody's.
#[tokio::test]
async fn a24_a26_hostile_tokens_get_nothing() {
    let issuer = Issuer::start();
    let (world, at) = world(&issuer).await;
    let good = token_of(&issuer, "web-1");
    let elsewhere = Issuer::start();
    let parts: Vec<&str> = good.split('.').collect();
    let claims = claims(&issuer.url, "web-1").to_string();
    let mut legacy = json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:shop:machine",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/secret.name": "machine-token-x",
        "kubernetes.io/serviceaccount/service-account.name": "machine",
        "kubernetes.io/serviceaccount/service-account.uid": "00000000-0000-0000-0000-000000000002",
    });
    let secret_token = token(&issuer.key, &legacy);
    for (name, value) in
        [("iss", json!(issuer.url)), ("aud", json!("pods.eks.amazonaws.com")), ("exp", json!(now() + 600))]
    {
        legacy[name] = value;
    }
    let cases = [
        ("no token", String::new()),
        ("no JWT", "0123456789abcdef0123456789abcdef".to_owned()),
        ("with a scheme", format!("Bearer {good}")),
        ("another audience", changed(&issuer, "/aud", json!(["https://kubernetes.default.svc"]))),
        ("no audience", changed(&issuer, "/aud", Value::Null)),
        ("an empty audience", changed(&issuer, "/aud", json!([]))),
        ("expired", changed(&issuer, "/exp", json!(now() - 1))),
        ("for ever", changed(&issuer, "/exp", Value::Null)),
        ("not yet", changed(&issuer, "/nbf", json!(now() + 300))),
        ("another issuer's", token_of(&elsewhere, "web-1")),
        ("another issuer's in our name", token(&elsewhere.key, &serde_json::from_str(&claims).unwrap())),
        (
            "signed with our kid by another",
            elsewhere.key.sign(&json!({ "alg": "ES256", "kid": issuer.key.kid() }), &claims),
        ),
        ("unsigned", format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(&claims))),
        ("without its signature", format!("{}.{}.", parts[0], parts[1])),
        ("out of a secret", secret_token),
        ("out of a secret, as ours", token(&issuer.key, &legacy)),
        ("bound to no pod", changed(&issuer, "/kubernetes.io/pod", Value::Null)),
        ("bound to nothing", changed(&issuer, "/kubernetes.io", Value::Null)),
        ("of two minds", changed(&issuer, "/sub", json!("system:serviceaccount:shop:admin"))),
        ("a person's", changed(&issuer, "/sub", json!("alice"))),
    ];
    for (name, token) in &cases {
        let answer = ask(at, CREDENTIALS, token).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{name}");
        assert!(answer.text().starts_with("(InvalidTokenException): "), "{name}: {}", answer.text());
    }
    assert_eq!(send(at, Method::GET, CREDENTIALS, &HeaderMap::new(), "").await.status, StatusCode::UNAUTHORIZED);
    let twice = format!(
        "GET {CREDENTIALS} HTTP/1.1\r\nHost: {at}\r\nAuthorization: {good}\r\nAuthorization: {good}\r\nConnection: close\r\n\r\n"
    );
    assert!(raw(at, twice).await.starts_with("HTTP/1.1 401"));
    assert_eq!(assumed(&world), 0, "nobody asked STS for any of them");
    key_of(&ask(at, CREDENTIALS, &good).await);
    world.claviger.line(|line| line.contains("no credentials were handed out") && line.contains("401")).await;
}

/// Another namespace, names that would become another role, and a role that STS gives to nobody: never another's keys.
#[tokio::test]
async fn a20_no_pod_gets_anothers_role() {
    let issuer = Issuer::start();
    let (world, at) = world(&issuer).await;
    let of = |namespace: &str, account: &str| {
        let mut claims = claims(&issuer.url, "web-1");
        claims["sub"] = format!("system:serviceaccount:{namespace}:{account}").into();
        claims["kubernetes.io"]["namespace"] = namespace.into();
        claims["kubernetes.io"]["serviceaccount"]["name"] = account.into();
        token(&issuer.key, &claims)
    };
    let answer = ask(at, CREDENTIALS, &of("kube-system", "machine")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer.text().starts_with("(AccessDeniedException): ") && !answer.text().contains("billing"),
        "{}",
        answer.text()
    );
    for account in
        ["x/machine", "../machine", "machine,x", "*", "", "Machine", "machine\u{0}", "arn:aws:iam::1:role/machine"]
    {
        let answer = ask(at, CREDENTIALS, &of("shop", account)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{account}: {}", answer.text());
    }
    assert_eq!(assumed(&world), 0);
    let answer = ask(at, CREDENTIALS, &of("billing", "nobodys")).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text().contains("AccessDenied") && answer.text().contains("role/nobodys"), "{}", answer.text());
}

#[tokio::test]
async fn tokens_and_keys_rotate_and_the_issuer_may_be_away() {
    let issuer = Issuer::start();
    let (world, at) = world(&issuer).await;
    let first = token_of(&issuer, "web-1");
    let key = key_of(&ask(at, CREDENTIALS, &first).await);
    // the kubelet has written another token: it is the same pod, whose keys are good
    let next = changed(&issuer, "/jti", json!("next"));
    assert!(next != first && key_of(&ask(at, CREDENTIALS, &next).await) == key);
    // the cluster signs with another key
    let other = Key::new();
    issuer.publish(&[&other]);
    key_of(&ask(at, CREDENTIALS, &token(&other, &claims(&issuer.url, "web-2"))).await);
    let withdrawn = ask(at, CREDENTIALS, &token_of(&issuer, "web-3")).await;
    assert_eq!(withdrawn.status, StatusCode::UNAUTHORIZED);
    // the last keys that were published stay good
    issuer.side.stop().await;
    key_of(&ask(at, CREDENTIALS, &token(&other, &claims(&issuer.url, "web-4"))).await);
    assert_eq!(world.authority.calls("AssumeRoleWithWebIdentity"), 0);
}

#[tokio::test]
async fn an_issuer_that_was_never_there_is_said_at_once() {
    let issuer = Issuer::stopped();
    let (world, at) = world(&issuer).await;
    let token = token_of(&issuer, "web-1");
    let answer = ask(at, CREDENTIALS, &token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
    assert!(answer.text().starts_with("(ServiceUnavailableException): "));
    assert_eq!(assumed(&world), 0);
    issuer.side.start();
    until(async || ask(at, CREDENTIALS, &token).await.status, |status| *status == StatusCode::OK).await;
}
