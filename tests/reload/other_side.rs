//! `[provider]`, `[authority]` and `[log]`: what of them a reload changes, and what it refuses to.

use claviger::secret::Secret;
use claviger::users::hash_password;
use serde_json::Value;

use super::{edit, problem, put, reload};
use crate::support::browser::Browser;
use crate::support::place::Place;
use crate::support::routes::APP;
use crate::support::world::Plan;

/// Whoever comes from this OpenID provider may have the role.
fn trust(provider: &str) -> String {
    format!(
        r#"{{ "Version": "2012-10-17", "Statement": [{{ "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
             "Principal": {{ "Federated": "arn:aws:iam::123456789012:oidc-provider/{provider}" }} }}] }}"#
    )
}

#[tokio::test]
async fn the_sts_of_ones_own_judges_by_the_new_config() {
    let place = Place::reserve();
    let at = place.at();
    let own = format!(
        r#"
[credentials.own]
kind = "web_identity"
region = "eu-west-1"
endpoint = "http://{at}"

[route.signed]
host = "*"
upstream = "{{upstream}}"
allow = "signed-in"
credentials = "own"
role = "arn:aws:iam::123456789012:role/own"
inject = {{ kind = "sigv4", service = "s3", region = "eu-west-1" }}

[authority]
address = "{at}"
account = "123456789012"
region = "eu-west-1"
[authority.provider.idp]
issuer = "{{provider}}"
audiences = ["claviger"]
[authority.provider.other]
issuer = "https://idp.test"
audiences = ["claviger"]
[authority.role.own]
trust_policy = {{ file = "trust.json" }}
"#
    );
    let world = Plan::with_routes(&own).file("trust.json", &trust("idp.test")).start().await;
    assert_eq!(world.get("/", &world.ticket("alice").await).await.status, 403, "another provider is trusted");
    put(&world, "trust.json", &trust(&world.provider_at.to_string()));
    assert!(reload(&world).await["config.changed"].as_str().unwrap().ends_with("trust.json` changed"));
    let bob = world.ticket("bob").await;
    assert_eq!(world.get("/", &bob).await.status, 200);

    edit(&world, "audiences = [\"claviger\"]", "audiences = [\"others\"]");
    assert_eq!(reload(&world).await["config.changed"], "authority.provider changed");
    assert_eq!(world.get("/", &bob).await.status, 200, "what was issued is good until it ends");
    let mallory = world.ticket("mallory").await;
    assert_eq!(world.get("/", &mallory).await.status, 403);

    for (from, to, problem) in [
        (
            format!("\n[authority]\naddress = \"{at}\""),
            "\n[authority]\naddress = \"127.0.0.1:1\"",
            "authority.address: ",
        ),
        ("[authority.role.own]".to_owned(), "[authority.role.\"o w n\"]", "authority.role."),
    ] {
        let good = std::fs::read_to_string(world.file("claviger.toml")).unwrap();
        edit(&world, &from, to);
        let outcome = reload(&world).await;
        assert!(outcome["config.errors"].as_str().unwrap().starts_with(problem), "{outcome}");
        put(&world, "claviger.toml", &good);
    }
}

#[tokio::test]
async fn the_provider_of_ones_own_knows_new_clients_and_keeps_its_name() {
    let place = Place::reserve();
    let at = place.at();
    let hash = hash_password(&Secret::new("password")).unwrap();
    let provider = format!(
        "[provider]\naddress = \"{at}\"\nissuer = \"http://{at}\"\nusers = \"users.toml\"\n\
         [provider.client.app]\nredirect_uris = [\"http://127.0.0.1/cb\"]\n"
    );
    let users = format!("[user.ann]\nsub = \"ann\"\npassword = \"{hash}\"\n");
    let world = Plan::with_routes(&format!("{APP}\n{provider}")).file("users.toml", &users).start().await;
    let authorize = format!(
        "http://{at}/authorize?client_id=more&response_type=code&scope=openid&redirect_uri=http%3A%2F%2F127.0.0.1%2Fmore\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
    );
    assert!(Browser::default().open(&authorize).await.status.is_client_error());
    let more = "[provider.client.more]\nredirect_uris = [\"http://127.0.0.1/more\"]\n[provider.client.app]";
    edit(&world, "[provider.client.app]", more);
    assert_eq!(reload(&world).await["config.changed"], "provider.client changed");
    assert_eq!(Browser::default().open(&authorize).await.status, 200);

    let good = std::fs::read_to_string(world.file("claviger.toml")).unwrap();
    for (from, to, path) in [
        (
            format!("issuer = \"http://{at}\""),
            format!("issuer = \"http://localhost:{}\"", at.port()),
            "provider.issuer",
        ),
        ("users = ".to_owned(), "lifetimes = { id_token = \"1m\" }\nusers = ".to_owned(), "provider.lifetimes"),
        (provider.replace("[provider.client.app]", more), String::new(), "provider"),
    ] {
        edit(&world, &from, &to);
        let outcome = reload(&world).await;
        assert_eq!(problem(&outcome), format!("{path}: has changed; restart claviger to use it"));
        put(&world, "claviger.toml", &good);
    }
}

#[tokio::test]
async fn the_log_says_as_much_as_the_new_config_wants() {
    let teams = APP.replace("{ kind = \"headers\" }", "{ kind = \"headers\", set = { X-Team = \"{claims.team}\" } }");
    let world = Plan::with_routes(&teams).log("info").start().await;
    let is_detail = |event: &Value| event["message"] == "a header has no value for this person";
    let alice = world.ticket("alice").await;
    assert_eq!(world.get("/", &alice).await.status, 200);
    edit(&world, "level = \"info\"", "level = \"debug\"");
    assert_eq!(reload(&world).await["config.changed"], "log.level changed");
    assert!(!world.claviger.events().iter().any(is_detail));
    world.get("/", &alice).await;
    world.claviger.event(is_detail).await;

    edit(&world, "level = \"debug\"", "level = \"loud\"");
    let outcome = reload(&world).await;
    assert!(outcome["config.errors"].as_str().unwrap().starts_with("log.level: `loud` is no level"), "{outcome}");
    edit(&world, "level = \"loud\"", "level = \"debug\", format = \"text\"");
    let outcome = reload(&world).await;
    assert_eq!(problem(&outcome), "log.format: has changed; restart claviger to use it");
}
