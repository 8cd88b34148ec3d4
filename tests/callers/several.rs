//! What is whose, where a caller presents several things at once.

use http::StatusCode;
use serde_json::json;

use super::issuer::{Issuer, now};
use super::{ask, fault, seen};

const SERVICES: &str = r#"
[route.services]
host = "*"
path = "/services"
upstream = "{upstream}"
allow = "signed-in"
identity = ["services"]
inject = { kind = "headers", set = { X-User = "{subject.source}/{subject.id}" } }
"#;

#[tokio::test]
async fn a_ticket_and_a_token_are_one_too_many_unless_the_route_means_one() {
    let issuer = Issuer::start();
    let world = issuer.world("", SERVICES).await;
    let ticket = world.ticket("alice").await;
    let before = world.upstream.seen().len();
    let mut expired = issuer.claims();
    expired["exp"] = json!(now() - 3600);
    let (good, bad) = (format!("Bearer {}", issuer.token_of("batch")), format!("Bearer {}", issuer.token(&expired)));
    let (alice, batch) = ("idp/sub-alice", "services/batch");
    for (path, cookie, authorization, expected) in [
        ("/x", ticket.as_str(), good.as_str(), Err((StatusCode::BAD_REQUEST, "bad_request"))),
        // a bad token is not forgiven because a ticket came along
        ("/x", &ticket, &bad, Err((StatusCode::UNAUTHORIZED, "invalid_token"))),
        ("/x", &ticket, "Bearer an.apps.own", Ok(alice)),
        ("/x", &ticket, "Basic YTpi", Ok(alice)),
        // a ticket that opens nothing is nobody's
        ("/x", "claviger=garbage", &good, Ok(batch)),
        ("/services", &ticket, &good, Ok(batch)),
        ("/services", &ticket, &bad, Err((StatusCode::UNAUTHORIZED, "invalid_token"))),
        ("/services", &ticket, "Basic YTpi", Err((StatusCode::UNAUTHORIZED, "login_required"))),
        ("/people", &ticket, &good, Ok(alice)),
        ("/people", &ticket, &bad, Ok(alice)),
    ] {
        let answer = ask(&world, path, &[("cookie", cookie), ("authorization", authorization)]).await;
        match expected {
            Ok(who) => {
                assert_eq!(answer.status, StatusCode::OK, "{path} {authorization}: {}", answer.text());
                assert_eq!(seen(&world, "x-user").as_deref(), Some(who), "{path} {authorization}");
            }
            Err(refused) => assert_eq!((answer.status, fault(&answer).as_str()), refused, "{path} {authorization}"),
        }
    }
    assert_eq!(world.upstream.seen().len() - before, 6);
}

/// A21: the same name at two issuers is two subjects.
#[tokio::test]
async fn a21_two_issuers_never_mean_the_same_one() {
    let (one, two) = (Issuer::start(), Issuer::start());
    let second = format!(
        "[identity.partners]\nkind = \"bearer\"\nissuer = \"{}\"\naudiences = [\"claviger\"]\n\
         [route.exact]\nhost = \"*\"\npath = \"/exact\"\nupstream = \"{{upstream}}\"\n\
         allow = {{ subjects = [\"services/batch\"] }}\n",
        two.url
    );
    let world = one.world("", &second).await;
    let mut forged = two.claims();
    forged["iss"] = json!(one.url);
    for (token, path, expected) in [
        (one.token_of("batch"), "/exact", StatusCode::OK),
        (two.token_of("batch"), "/exact", StatusCode::FORBIDDEN),
        (two.token_of("batch"), "/x", StatusCode::OK),
        // one issuer's key does not speak for the other
        (two.token(&forged), "/x", StatusCode::UNAUTHORIZED),
    ] {
        let answer = ask(&world, path, &[("authorization", &format!("Bearer {token}"))]).await;
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
    }
}

/// Where only programs come, nobody is sent anywhere.
#[tokio::test]
async fn a_browser_is_not_sent_to_log_in_where_only_services_count() {
    let issuer = Issuer::start();
    let world = issuer.world("", SERVICES).await;
    let answer = ask(&world, "/services", &[("accept", "text/html")]).await;
    assert_eq!((answer.status, answer.location()), (StatusCode::UNAUTHORIZED, ""));
    assert!(answer.header("www-authenticate").starts_with("Bearer "));
}
