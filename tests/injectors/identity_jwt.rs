//! `identity_jwt`: who asks, signed, for one upstream.

use serde_json::json;

use crate::support::client::{self, raw};
use crate::support::world::{Plan, World, person};

const ROUTES: &str = r#"
[route.app]
host = "*"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "identity_jwt" }

[route.named]
host = "*"
path = "/named"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "identity_jwt", audience = "named", claims = ["department", "email"], lifetime = "1m" }

[route.own]
host = "*"
path = "/own"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "identity_jwt", header = "Authorization" }

[route.public]
host = "*"
path = "/public"
upstream = "{upstream}"
allow = "anyone"
inject = { kind = "identity_jwt", audience = "public" }

[route.plain]
host = "*"
path = "/plain"
upstream = "{upstream}"
allow = "anyone"

[route.alb]
host = "*"
path = "/alb"
upstream = "{upstream}"
allow = "signed-in"
inject = { kind = "identity_jwt", form = "alb" }
"#;

fn token(world: &World) -> String {
    world.upstream.last().all("x-claviger-identity")[0].to_owned()
}

#[tokio::test]
async fn an_upstream_verifies_who_asks_by_the_published_keys() {
    let world = Plan::with_routes(ROUTES).start().await;
    let (alice, bob) = (world.ticket("alice").await, world.ticket("bob").await);
    let here = format!("http://{}", world.upstream_at);
    world.get("/x", &alice).await;
    let told = world.told(&here).await.unwrap();
    assert_eq!(told["sub"], "idp/sub-alice");
    assert_eq!((&told["email"], &told["email_verified"]), (&json!("alice@example.com"), &json!(true)));
    assert_eq!(told["groups"], json!(["staff", "finance"]));
    assert_eq!(told["exp"].as_u64().unwrap() - told["iat"].as_u64().unwrap(), 300);
    assert!(!told.contains_key("department"), "only what was written down: {told:?}");
    // it is made once, not for every request
    let first = token(&world);
    world.get("/y", &alice).await;
    assert_eq!(token(&world), first);
    world.get("/y", &bob).await;
    assert_eq!(world.told(&here).await.unwrap()["sub"], "idp/sub-bob");
    // a token for one upstream is none for another
    assert!(world.believed(&first, "named").await.is_err());
    world.get("/named", &alice).await;
    let named = world.told("named").await.unwrap();
    assert_eq!((&named["department"], named.contains_key("groups")), (&json!("finance"), false));
    assert_eq!(named["exp"].as_u64().unwrap() - named["iat"].as_u64().unwrap(), 60);

    world.get("/own", &alice).await;
    let seen = world.upstream.last();
    let [line] = seen.all("authorization")[..] else { panic!("{:?}", seen.headers) };
    assert_eq!(world.believed(line.strip_prefix("Bearer ").unwrap(), &here).await.unwrap()["sub"], "idp/sub-alice");
}

/// A34
#[tokio::test]
async fn no_token_says_longer_than_the_login() {
    let world = Plan::with_routes(ROUTES).config("session = { lifetime = \"90s\" }").start().await;
    let alice = world.ticket("alice").await;
    world.get("/x", &alice).await;
    let told = world.told(&format!("http://{}", world.upstream_at)).await.unwrap();
    assert!(told["exp"].as_u64().unwrap() - told["iat"].as_u64().unwrap() <= 90, "{told:?}");
}

/// Most upstreams take headers of 8 KiB. What is left out could be what they deny by, so nothing is.
#[tokio::test]
async fn somebody_of_whom_too_much_is_said_is_told_so() {
    let groups: Vec<String> = (0..500).map(|n| format!("department-{n:04}")).collect();
    let plan = Plan::with_routes(ROUTES).people([person("joiner", json!({ "groups": groups }))]);
    let world = plan.start().await;
    let joiner = world.ticket("joiner").await;
    let before = world.upstream.seen().len();
    for path in ["/x", "/alb"] {
        let answer = world.get(path, &joiner).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (500, &json!("identity_too_large")));
    }
    assert_eq!(world.upstream.seen().len(), before, "nothing was sent");
    let told = world.claviger.event(|event| event["fault"] == "identity_too_large").await;
    let problem = told["reason"].as_str().unwrap();
    assert!(problem.contains("7168 are the most; expected fewer `claims`"), "{told}");
    // little is said on another route
    assert_eq!(world.get("/named", &joiner).await.status, 200);
}

/// Every header that an identity is told in, forged in every spelling, on every route.
#[tokio::test]
async fn a1_nobody_says_it_but_we() {
    let world = Plan::with_routes(ROUTES).start().await;
    let alice = world.ticket("alice").await;
    const NAMES: [&str; 4] =
        ["X-Claviger-Identity", "X-Amzn-Oidc-Data", "X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Accesstoken"];
    let mut forged = String::new();
    for name in NAMES {
        for spelling in [name.to_owned(), name.to_lowercase(), name.replace('-', "_"), name.replace('-', ".")] {
            forged.push_str(&format!("{spelling}: forged\r\n"));
        }
    }
    for (path, cookie, told) in [
        ("/x", alice.as_str(), &["x-claviger-identity"][..]),
        ("/alb", &alice, &["x-amzn-oidc-data", "x-amzn-oidc-identity"]),
        ("/own", &alice, &[]),
        ("/public", "", &[]),
        ("/plain", "", &[]),
    ] {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n{forged}Authorization: Bearer forged\r\n\
             Connection: close\r\n\r\n",
            world.at
        );
        let answer = raw(world.at, request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = world.upstream.last();
        assert!(!format!("{:?}", seen.headers).contains("forged"), "{path}: {:?}", seen.headers);
        let canonical = |name: &str| name.replace(['_', '.'], "-");
        let names = seen.headers.keys().map(|name| canonical(name.as_str()));
        let mut found: Vec<_> =
            names.filter(|name| NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))).collect();
        found.sort_unstable();
        assert_eq!(found, told, "{path}");
    }
    // and nothing of it in the log
    let sent = client::headers(&[("cookie", &alice)]);
    client::send(world.at, http::Method::GET, "/x", &sent, "").await;
    let token = token(&world);
    assert!(world.log().await.iter().all(|line| !line.contains(&token)));
}
