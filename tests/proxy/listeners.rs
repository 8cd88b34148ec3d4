//! Where people come in: several listeners, TLS, HTTP/2, and how claviger stops.

use claviger::web::Body;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Collected, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::browser::Browser;
use crate::support::client::{self, headers, raw};
use crate::support::gate::{Crowd, Gate};
use crate::support::routes::{APP, PUBLIC, behind};
use crate::support::wire::{Behind, Wire};
use crate::support::world::{Plan, World, until};

#[tokio::test]
async fn what_is_under_way_at_a_sigterm_is_finished() {
    let gate = Gate::closed();
    let before = gate.clone();
    let upstream = Behind::new(move |mut wire: Wire| {
        let gate = before.clone();
        async move {
            wire.head().await;
            gate.pass().await;
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await;
        }
    })
    .await;
    let world = Plan::with_routes(&[PUBLIC, &behind(&upstream.url())].concat()).start().await;
    let mut idle = Wire::to(world.at).await;
    idle.send(format!("GET /public HTTP/1.1\r\nHost: {}\r\n\r\n", world.at)).await;
    assert!(idle.head().await.starts_with("HTTP/1.1 200"));
    let mut under_way = Wire::to(world.at).await;
    under_way.send(format!("GET /behind HTTP/1.1\r\nHost: {}\r\n\r\n", world.at)).await;
    gate.until(Crowd { waiting: 1, through: 0 }).await;

    let mut claviger = world.claviger;
    claviger.terminate();
    claviger.event(|e| e["message"].as_str().is_some_and(|text| text.starts_with("stopping"))).await;
    idle.rest().await;
    until(async || TcpStream::connect(world.at).await.is_err(), |refused| *refused).await;

    gate.open();
    assert!(under_way.head().await.starts_with("HTTP/1.1 200"));
    assert_eq!(under_way.rest().await, "done");
    let status = tokio::task::spawn_blocking(move || claviger.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

/// A login over TLS and HTTP/2, from the first page to the app, and HTTP/1.1 for those who want it.
#[tokio::test]
async fn a_login_over_tls_and_http2() {
    let world = secure("{upstream}").await;
    let navigation = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")];

    // off to the provider, which knows the origin that is configured
    let mut http2 = Http2::to(&world).await;
    let away = http2.get("/reports?q=1", &navigation).await;
    assert_eq!(away.status, 303);
    let under_way = cookie_of(&away.headers);
    assert!(away.header("set-cookie").contains("; Secure") && under_way.starts_with("__Host-claviger-login-"));
    let mut browser = Browser::default();
    let page = browser.open(away.header("location")).await;
    let mut back = browser.step_form(&page, &[("username", "alice"), ("password", "password")]).await;
    while !back.location().starts_with("https://apps.test/") {
        back = browser.step(back.location()).await;
    }

    // and back with a code
    let callback = back.location().strip_prefix("https://apps.test").unwrap();
    let mut sent = navigation.to_vec();
    sent.push(("cookie", &under_way));
    let entered = http2.get(callback, &sent).await;
    assert_eq!((entered.status.as_u16(), entered.header("location")), (303, "https://apps.test/reports?q=1"));
    let ticket =
        entered.headers.get_all("set-cookie").iter().find(|line| line.as_bytes().starts_with(b"__Host-claviger="));
    let ticket = ticket.unwrap().to_str().unwrap();
    assert!(ticket.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax") && !ticket.contains("Domain"), "{ticket}");
    let ticket = ticket.split(';').next().unwrap();

    // HTTP/2 clients split their cookies, and forge headers as others do (A1, RFC 9113 §8.2.3)
    let sent = [("cookie", "a=1"), ("cookie", ticket), ("cookie", "b=2"), ("x_forwarded_user", "admin")];
    assert_eq!(http2.get("/reports?q=1", &sent).await.status, 200);
    let over_http2 = world.upstream.last();
    let mut http1 = Http1(world.tls(b"http/1.1").await);
    let sent = format!("Cookie: a=1; {ticket}; b=2\r\nX_Forwarded_User: admin\r\n");
    http1.send(&format!("GET /reports?q=1 HTTP/1.1\r\nHost: apps.test\r\n{sent}Connection: close\r\n\r\n")).await;
    assert!(http1.read().await.starts_with("HTTP/1.1 200"));
    for seen in [over_http2, world.upstream.last()] {
        assert_eq!((&*seen.target, seen.all("host")), ("/reports?q=1", vec!["apps.test"]));
        assert_eq!((seen.all("cookie"), seen.all("x-forwarded-proto")), (vec!["a=1; b=2"], vec!["https"]));
        assert_eq!((seen.all("x-forwarded-user"), seen.all("x_forwarded_user")), (vec!["sub-alice"], vec![]));
    }

    // cookies that are not ours are split as well, and joined as well
    assert_eq!(http2.get("/public", &[("cookie", "a=1"), ("cookie", "b=2")]).await.status, 200);
    assert_eq!(world.upstream.last().all("cookie"), ["a=1; b=2"]);

    // a ticket of one listener is none on another: its cookie has another name there
    let elsewhere = client::send(world.at, Method::GET, "/", &headers(&[("cookie", ticket)]), "").await;
    assert_eq!(elsewhere.status, 401);
}

/// A3, A4 in HTTP/2's words.
#[tokio::test]
async fn http2_requests_that_two_readers_could_read_differently_are_refused() {
    let world = secure("{upstream}").await;
    let mut http2 = Http2::to(&world).await;
    for (uri, sent, status) in [
        ("https://apps.test/public", &[("host", "apps.test")][..], 200),
        ("https://apps.test/public", &[("host", "other.test")], 400),
        ("https://x@apps.test/public", &[], 400),
        ("https://apps.test/public/../private", &[], 400),
        ("https://apps.test/public/%2e%2e/private", &[], 400),
        ("https://apps.test//private", &[], 400),
    ] {
        let mut request = http::Request::get(uri);
        for (name, value) in sent {
            request = request.header(*name, *value);
        }
        assert_eq!(http2.send(request.body(Body::Empty).unwrap()).await.status, status, "{uri} {sent:?}");
    }
    let connect = http::Request::connect("other.test:443").body(Body::Empty).unwrap();
    assert_eq!(http2.send(connect).await.status, 405);
    assert_eq!(world.upstream.seen().len(), 1);
    // nor is TLS left out where it is configured
    let plain =
        raw(world.secure_at().await, "GET /public HTTP/1.1\r\nHost: apps.test\r\nConnection: close\r\n\r\n").await;
    assert!(!plain.contains("HTTP/1.1 2"), "{plain}");
}

/// As gRPC needs it.
#[tokio::test]
async fn http2_bodies_and_trailers_pass_both_ways() {
    let upstream = Behind::new(async |mut wire: Wire| {
        assert!(wire.head().await.contains("te: trailers\r\n"));
        wire.up_to(b"0\r\nx-sum: 1\r\n\r\n").await;
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n2\r\nok\r\n0\r\n";
        wire.send(format!("{answer}grpc-status: 0\r\n\r\n")).await;
    })
    .await;
    let world = secure(&upstream.url()).await;
    let mut http2 = Http2::to(&world).await;
    let frames = [Frame::data("hello".into()), Frame::trailers(headers(&[("x-sum", "1")]))];
    let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, std::io::Error>))));
    let request = http::Request::post("https://apps.test/behind").header("te", "trailers").header("trailer", "x-sum");
    let answer = http2.send(request.body(body).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.body.trailers().unwrap()["grpc-status"].to_str().unwrap()), (200, "0"));
    assert_eq!(answer.body.to_bytes(), "ok");
}

/// A claviger with a listener that speaks TLS.
async fn secure(upstream: &str) -> World {
    Plan::with_routes(&[APP, PUBLIC, &behind(upstream)].concat()).secure().start().await
}

struct Http2(http2::SendRequest<Body>);

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Collected<bytes::Bytes>,
}

impl Http2 {
    async fn to(world: &World) -> Self {
        let stream = TokioIo::new(world.tls(b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn get(&mut self, target: &str, sent: &[(&str, &str)]) -> Answer {
        let mut request = http::Request::get(format!("https://apps.test{target}"));
        for (name, value) in sent {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::Empty).unwrap()).await
    }

    async fn send(&mut self, request: http::Request<Body>) -> Answer {
        let (head, body) = self.0.send_request(request).await.unwrap().into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap() }
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

struct Http1(TlsStream<TcpStream>);

impl Http1 {
    async fn send(&mut self, bytes: &str) {
        tokio::io::AsyncWriteExt::write_all(&mut self.0, bytes.as_bytes()).await.unwrap();
    }

    async fn read(&mut self) -> String {
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut self.0, &mut answer).await.unwrap();
        answer
    }
}

/// `name=value` of the first cookie that is set.
fn cookie_of(headers: &HeaderMap) -> String {
    headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}
