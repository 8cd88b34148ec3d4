//! Upstreams that misbehave: nothing of ours goes their way, and no half answer looks whole (A28).

use std::sync::Arc;

use http::Method;

use crate::support::client::{self, headers, raw};
use crate::support::hostile::{NO_ANSWERS, cookies_like_ours};
use crate::support::place::Place;
use crate::support::wire::{Behind, Wire};
use crate::support::world::{Plan, World};

/// Signed, so that there are keys to leak.
fn signed(upstream: &str, more: &str) -> String {
    format!(
        r#"
[route.app]
host = "*"
upstream = "{upstream}"
credentials = "minted"
allow = "signed-in"
role = "arn:aws:iam::123456789012:role/{{claims.department}}"
tags = {{ department = "{{claims.department}}" }}
inject = [{{ kind = "headers" }}, {{ kind = "sigv4", service = "s3", region = "eu-west-1" }}]
{more}
"#
    )
}

fn public(upstream: &Behind) -> String {
    format!("[route.public]\nhost = \"*\"\nupstream = \"{}\"\nallow = \"anyone\"\n", upstream.url())
}

#[tokio::test]
async fn a28_an_upstream_cannot_set_our_cookies() {
    let world =
        Plan::with_routes("[route.public]\nhost = \"*\"\nupstream = \"{upstream}\"\nallow = \"anyone\"").start().await;
    let hostile = cookies_like_ours(world.at.port());
    let mut query = form_urlencoded::Serializer::new(String::new());
    for cookie in ["app=1; Path=/".to_owned()].iter().chain(&hostile).chain(&["app2=2".to_owned(), "app=3".to_owned()])
    {
        query.append_pair("answer-header", &format!("set-cookie={cookie}"));
    }
    for answer_header in ["x-two=1", "x-two=2", "vary=a", "vary=b"] {
        query.append_pair("answer-header", answer_header);
    }
    let answer = client::send(world.at, Method::GET, &format!("/?{}", query.finish()), &headers(&[]), "").await;
    let all = |name: &str| -> Vec<String> {
        answer.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(all("set-cookie"), ["app=1; Path=/", "app2=2", "app=3"]);
    assert_eq!((all("x-two"), all("vary")), (vec!["1".into(), "2".into()], vec!["a".into(), "b".into()]));
}

/// CVE-2026-41181, GHSA-945v-v9p3-v5xw.
#[tokio::test]
async fn a28_a_redirect_is_passed_on_and_not_followed() {
    let elsewhere = Behind::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let world = Plan::with_routes(&signed("{upstream}", "")).start().await;
    let mut alice = world.browser_of("alice").await;
    let before = world.upstream.seen().len();
    let statuses = [301, 302, 303, 307, 308];
    for status in statuses {
        for method in [Method::GET, Method::PUT] {
            let to = elsewhere.url() + "/x";
            let target = format!("/?answer-status={status}&answer-header=location%3D{to}");
            let answer = alice.fetch(method, &world.url(&target), &[], "body").await;
            assert_eq!((answer.status.as_u16(), answer.location()), (status, &*to));
        }
    }
    assert_eq!(world.upstream.seen().len(), before + 2 * statuses.len());
    assert_eq!(elsewhere.heads(), [""; 0]);
}

#[tokio::test]
async fn a28_half_an_answer_does_not_look_whole() {
    for (answer, seen) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "half"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\nx\r\n0\r\n\r\n", "4\r\nhalf\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", "4\r\nhalf\r\n"),
    ] {
        let upstream = Behind::new(move |mut wire: Wire| async move {
            wire.head().await;
            wire.send(answer).await;
        })
        .await;
        let world = Plan::with_routes(&public(&upstream)).start().await;
        let mut wire = Wire::to(world.at).await;
        wire.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", world.at)).await;
        assert!(wire.head().await.starts_with("HTTP/1.1 200"));
        assert_eq!(wire.rest().await, seen, "{answer:?}");
    }
}

/// What is no answer, or two, is 502.
#[tokio::test]
async fn a28_an_answer_with_two_readings_is_none() {
    let flood = "X: y\r\n".repeat(200);
    let long = "a".repeat(80_000);
    let more = [
        "",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{flood}Content-Length: 2\r\n\r\nok"),
        &format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 2\r\n\r\nok"),
    ];
    let answers: Arc<[String]> =
        more.into_iter().chain(NO_ANSWERS.iter().map(|(_, answer)| *answer)).map(str::to_owned).collect();
    let given = Arc::clone(&answers);
    let upstream = Behind::new(move |mut wire: Wire| {
        let answers = Arc::clone(&given);
        async move {
            let head = wire.head().await;
            let n: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            wire.send(&answers[n]).await;
        }
    })
    .await;
    let world = Plan::with_routes(&public(&upstream)).start().await;
    for (n, answer) in answers.iter().enumerate() {
        let got = client::send(world.at, Method::GET, &format!("/{n}"), &headers(&[]), "").await;
        assert_eq!((got.status.as_u16(), &got.json()["error"]), (502, &"upstream_unreachable".into()), "{answer:.99?}");
    }
    let upstream =
        Behind::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\nX: 1\r\n\r\nok").await;
    let world = Plan::with_routes(&public(&upstream)).start().await;
    let got = raw(world.at, format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", world.at)).await;
    assert_eq!(got.to_lowercase().matches("content-length: 2").count(), 1, "{got}");
}

/// Interim answers are ours to swallow, however many.
#[tokio::test]
async fn a28_interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(50) + "HTTP/1.1 100 Continue\r\n\r\n";
    let upstream = Behind::answering(&(interim + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")).await;
    let world = Plan::with_routes(&public(&upstream)).start().await;
    let answer = client::send(world.at, Method::GET, "/", &headers(&[]), "").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    assert!(!answer.headers.contains_key("link"));
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502_and_one_that_stalls_504() {
    let stalling = Behind::new(async |mut wire: Wire| while !wire.head().await.is_empty() {}).await;
    let nobody = Place::reserve();
    let down = format!("http://{}", nobody.at());
    for (upstream, status, code) in [(down, 502, "upstream_unreachable"), (stalling.url(), 504, "upstream_timeout")] {
        let routes = signed(&upstream, "timeouts = { first_byte = \"50ms\" }");
        let world = Plan::with_routes(&routes).start().await;
        let mut alice = world.browser_of("alice").await;

        let answer = alice.fetch(Method::GET, &world.url("/report"), &[], "").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (status, &code.into()));
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.json()["request_id"], id);
        let line = world.claviger.event(|e| e["request.id"] == *id && e["fault"] == code).await;
        assert!(line["reason"].as_str().unwrap().contains(upstream.trim_start_matches("http://")), "{line}");

        let page = alice.open(&world.url("/report")).await;
        assert_eq!(page.status, status);
        assert!(page.text().contains(page.header("x-request-id")) && page.text().contains("<html"), "{}", page.text());
        leaks_nothing(&world, &[answer.text(), page.text()], &upstream).await;
    }
    // the keys did go out, signed, to the one that stalled
    assert!(stalling.heads().iter().all(|head| head.contains("authorization: AWS4-HMAC-SHA256 Credential=")));
}

#[tokio::test]
async fn an_answer_that_stops_half_way_is_cut_after_the_idle_time() {
    let stalling = Behind::new(async |mut wire: Wire| {
        while !wire.head().await.is_empty() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        }
    })
    .await;
    let routes = format!("{}timeouts = {{ idle = \"50ms\" }}", public(&stalling));
    let world = Plan::with_routes(&routes).start().await;
    let answer = raw(world.at, format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", world.at)).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nhalf"), "{answer}");
}

/// An upstream that answers early and closes does not spoil the answer, nor the next request.
#[tokio::test]
async fn an_early_answer_to_a_large_upload_arrives() {
    let upstream = Behind::new(async |mut wire: Wire| {
        wire.head().await;
        wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").await;
    })
    .await;
    let world = Plan::with_routes(&public(&upstream)).start().await;
    for _ in 0..3 {
        let answer = client::send(world.at, Method::PUT, "/", &headers(&[]), vec![b'x'; 4 << 20]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (413, "no"));
    }
}

/// Neither pages nor the log say anything of keys, tickets, or where the upstream is.
async fn leaks_nothing(world: &World, shown: &[&str], upstream: &str) {
    for page in shown {
        for secret in ["AWS4-HMAC", "ASIA", "Signature", "aws4_request", upstream.trim_start_matches("http://")] {
            assert!(!page.contains(secret), "{secret} in {page}");
        }
    }
    let log = world.log().await.join("\n");
    for secret in ["AWS4-HMAC", "Signature=", "SecretAccessKey", "session_token"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}
