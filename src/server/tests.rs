//! Serving over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::{Handshakes, testing};
use crate::web::{self, Body, Connection};

mod http2;

/// Tells what it was asked: method, host, target, version, TLS, body. Some paths do something else.
struct Echo {
    /// Told when `/slow` was reached.
    reached: Notify,
    /// `/slow` is answered when this is told.
    go: Notify,
    /// Requests that got here.
    handled: AtomicUsize,
}

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, connection: &Connection, mut request: Request) -> Response {
        self.handled.fetch_add(1, Ordering::Relaxed);
        if request.uri().path() == "/tunnel" {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut tunnel = TokioIo::new(upgrade.await.unwrap());
                let mut bytes = [0; 64];
                while let Ok(length @ 1..) = tunnel.read(&mut bytes).await {
                    tunnel.write_all(&bytes[..length]).await.unwrap();
                }
            });
            let mut response = http::Response::new(Body::Empty);
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", HeaderValue::from_static("upgrade"));
            response.headers_mut().insert("upgrade", HeaderValue::from_static("echo"));
            return response;
        }
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/panic" => panic!("as asked"),
            "/slow" => {
                self.reached.notify_one();
                self.go.notified().await;
            }
            "/early" => return web::answer(StatusCode::FORBIDDEN, "text/plain", "no"),
            "/large" => return web::answer(StatusCode::OK, "text/plain", vec![b'x'; 8 << 20]),
            "/cookies" => {
                let all: Vec<_> = head.headers.get_all("cookie").iter().map(|v| v.to_str().unwrap()).collect();
                return web::answer(StatusCode::OK, "text/plain", all.join("|"));
            }
            _ => {}
        }
        let Ok(body) = body.collect(1 << 20).await else {
            return web::answer(StatusCode::REQUEST_TIMEOUT, "text/plain", "no body");
        };
        let host = head.headers["host"].to_str().unwrap();
        let text = format!(
            "{} {host} {} {:?} tls={} {}",
            head.method,
            head.uri,
            head.version,
            connection.tls,
            String::from_utf8_lossy(&body)
        );
        web::answer(StatusCode::OK, "text/plain", text)
    }
}

struct Served {
    workers: Workers,
    address: SocketAddr,
    echo: Arc<Echo>,
    metrics: Metrics,
}

fn serve(tls: Option<Arc<rustls::ServerConfig>>, limits: Limits) -> Served {
    let workers = Workers::start(2).unwrap();
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = Arc::new(Echo { reached: Notify::new(), go: Notify::new(), handled: AtomicUsize::new(0) });
    let metrics = Metrics::new();
    let limits = Arc::new(ArcSwap::from_pointee(limits));
    let manner = Manner { tls: tls.map(Handshakes::new), limits, ..Manner::plain("main", &metrics) };
    workers.serve(listener, manner, Arc::clone(&echo) as Arc<dyn Handler>);
    Served { workers, address, echo, metrics }
}

/// Limits that no test runs into.
fn patient() -> Limits {
    let long = Duration::from_secs(600);
    Limits { first_byte: long, handshake: long, head: long, body: long, idle: long, park: long, ..Limits::default() }
}

fn plain() -> Served {
    serve(None, Limits::default())
}

/// Waits until nobody is accepted any more.
async fn refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

/// A client that writes bytes and reads answers.
struct Client(TcpStream);

impl Client {
    async fn connect(served: &Served) -> Self {
        Self(TcpStream::connect(served.address).await.unwrap())
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// The status line and the body of an answer with a Content-Length.
    async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        (head.lines().next().unwrap().to_owned(), String::from_utf8(body).unwrap())
    }

    /// Everything until the other side closes, or resets.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let _: Result<_, _> = self.0.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[tokio::test]
async fn a_connection_is_kept_for_many_requests() {
    let served = plain();
    let mut client = Client::connect(&served).await;
    for n in 0..3 {
        client.send(format!("POST /{n}?q HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")).await;
        let (status, body) = client.answer().await;
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!(body, format!("POST a.test /{n}?q HTTP/1.1 tls=false hi"));
    }
    assert!(served.metrics.render().contains("claviger_connections_total{listener=\"main\"} 1"));
}

#[tokio::test]
async fn a_panic_costs_only_its_request() {
    let served = plain();
    let mut client = Client::connect(&served).await;
    client.send("GET /panic HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.0, "HTTP/1.1 500 Internal Server Error");
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.0, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn connect_is_refused_and_what_follows_is_not_read() {
    // A4, CVE-2026-71324
    let served = plain();
    let mut client = Client::connect(&served).await;
    client.send("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let rest = client.rest().await;
    assert!(rest.starts_with("HTTP/1.1 405 "), "{rest}");
    assert_eq!(rest.matches("HTTP/1.1").count(), 1, "{rest}");
}

#[tokio::test]
async fn http2_is_spoken_where_alpn_chose_it() {
    let (identity, trust) = testing::pair();
    let served = serve(Some(identity.server_config(&[b"h2", b"http/1.1"])), Limits::default());
    for (alpn, version) in [(&b"h2"[..], Version::HTTP_2), (b"http/1.1", Version::HTTP_11)] {
        let stream = TcpStream::connect(served.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(trust.client_config(&[alpn]));
        let io = TokioIo::new(connector.connect(name, stream).await.unwrap());
        let request = http::Request::builder().version(version);
        let response = if version == Version::HTTP_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let request = request.uri("https://a.test/x").body(Empty::<Bytes>::new()).unwrap();
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let request = request.uri("/x").header("host", "a.test").body(Empty::<Bytes>::new()).unwrap();
            sender.send_request(request).await.unwrap()
        };
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("GET a.test /x {version:?} tls=true "));
    }
}

#[tokio::test]
async fn http2_is_not_spoken_without_tls() {
    let served = plain();
    let mut client = Client::connect(&served).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(!client.rest().await.contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stalled_handshake_is_ended() {
    // A14
    let (identity, _) = testing::pair();
    let limits = Limits { handshake: Duration::from_millis(20), ..Limits::default() };
    let served = serve(Some(identity.server_config(&[])), limits);
    for start in [&b""[..], b"\x16\x03\x01"] {
        let mut client = Client::connect(&served).await;
        client.send(start).await;
        assert_eq!(client.rest().await, "");
    }
    served.workers.drain(Duration::from_secs(60)).await;
    assert!(served.metrics.render().contains("claviger_tls_handshake_failures_total{listener=\"main\"} 2"));
}

#[tokio::test]
async fn a_taken_port_is_refused() {
    // A24
    let first = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let error = Listener::bind(first.local_addr().unwrap()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let served = plain();
    let mut idle = Client::connect(&served).await;
    idle.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    idle.answer().await;
    let mut busy = Client::connect(&served).await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    served.echo.reached.notified().await;

    let Served { workers, address, echo, .. } = served;
    let drain = tokio::spawn(workers.drain(Duration::from_secs(60)));
    assert_eq!(idle.rest().await, "", "an idle connection is closed at once");
    refused(address).await;
    assert!(!drain.is_finished());
    echo.go.notify_one();
    assert!(busy.rest().await.starts_with("HTTP/1.1 200 OK\r\n"));
    drain.await.unwrap();
}

#[tokio::test]
async fn a_drain_of_http2_finishes_its_streams() {
    let (identity, trust) = testing::pair();
    let served = serve(Some(identity.server_config(&[b"h2"])), Limits::default());
    let stream = TcpStream::connect(served.address).await.unwrap();
    let connector = TlsConnector::from(trust.client_config(&[b"h2"]));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("https://a.test/slow").body(Empty::<Bytes>::new()).unwrap();
    let response = tokio::spawn(sender.send_request(request));
    served.echo.reached.notified().await;

    let Served { workers, address, echo, .. } = served;
    let drain = tokio::spawn(workers.drain(Duration::from_secs(60)));
    refused(address).await;
    echo.go.notify_one();
    assert_eq!(response.await.unwrap().unwrap().status(), StatusCode::OK);
    connection.await.unwrap().unwrap();
    drain.await.unwrap();
}

#[tokio::test]
async fn what_outlasts_the_grace_is_cut() {
    let served = plain();
    let mut busy = Client::connect(&served).await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    served.echo.reached.notified().await;
    served.workers.drain(Duration::from_millis(1)).await;
    assert_eq!(busy.rest().await, "");
}

#[tokio::test]
async fn what_has_two_readings_ends_the_connection() {
    // A3: each after a good request, with one behind it that must not be read
    let (host, end) = ("Host: a.test\r\n", "\r\n0\r\n\r\n");
    for (request, status) in [
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 6\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: +5\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length : 5\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host} Content-Length: 5\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\r\n{host}X: y\r\n folded\r\n{end}"), 400),
        (format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n{end}"), 400),
        (format!("POST / HTTP/1.1\n{host}\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: a.test\n\r\n".into(), 400),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\n".into(), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("GET http://b.test/ HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET /admin#/public HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("get / HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(200)), 431),
        (format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "y".repeat(70_000)), 431),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "y".repeat(66_000)), 431),
    ] {
        let served = plain();
        let mut client = Client::connect(&served).await;
        client.send(format!("POST / HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\nhi")).await;
        assert_eq!(client.answer().await.0, "HTTP/1.1 200 OK");
        client.send(format!("{request}GET /admin HTTP/1.1\r\n{host}\r\n")).await;
        let rest = client.rest().await;
        let shown = &request[..request.len().min(200)];
        assert!(rest.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {rest}");
        assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{shown:?}: {rest}");
        assert_eq!(served.echo.handled.load(Ordering::Relaxed), 1, "{shown:?}");
    }
}

#[tokio::test]
async fn a_broken_chunk_never_makes_a_second_request() {
    // A3
    for chunk in ["fffffffffffffffff\r\n", "-1\r\n", "1\n", "0x1\r\n", "1\r\nab", "\r\n"] {
        let served = plain();
        let mut client = Client::connect(&served).await;
        let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        client.send(format!("{request}GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        let rest = client.rest().await;
        assert!(!rest.contains("200 OK"), "{chunk:?}: {rest}");
        assert_eq!(served.echo.handled.load(Ordering::Relaxed), 1, "{chunk:?}");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_turn() {
    let served = plain();
    let mut client = Client::connect(&served).await;
    let chunked = "POST /2 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let get = "GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n";
    client.send([get, chunked, get, chunked].concat()).await;
    for expected in ["/1", "/2", "/1", "/2"] {
        assert!(client.answer().await.1.contains(expected));
    }
}

#[tokio::test]
async fn a_tunnel_opens_with_the_101_and_takes_what_came_before_it() {
    let served = plain();
    let mut client = Client::connect(&served).await;
    client.send("GET /tunnel HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nGET /x\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    let mut echoed = [0; 7];
    client.0.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"GET /x\n");
    client.send("\0#\n").await;
    client.0.read_exact(&mut echoed[..3]).await.unwrap();
    assert_eq!(&echoed[..3], b"\0#\n");
    assert!(served.metrics.render().contains("claviger_connections{listener=\"main\"} 1"));
    drop(client);
    // the tunnel is a connection of ours: the drain waits for its end
    served.workers.drain(Duration::from_secs(60)).await;
    assert_eq!(served.echo.handled.load(Ordering::Relaxed), 1);
    assert!(served.metrics.render().contains("claviger_connections{listener=\"main\"} 0"));
}

#[tokio::test]
async fn what_follows_an_ignored_upgrade_is_the_next_request() {
    // A4: read only after the answer, and as strictly as any
    let served = plain();
    let upgrade = "GET /1 HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let mut client = Client::connect(&served).await;
    client.send(format!("{upgrade}GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n{upgrade}")).await;
    for path in ["/1", "/2", "/1"] {
        assert!(client.answer().await.1.contains(path));
    }
    client.send(format!("{upgrade}GET /3 HTTP/1.1\nHost: a.test\n\n")).await;
    assert_eq!(client.answer().await.0, "HTTP/1.1 200 OK");
    assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_tunnel_that_nobody_asked_for_is_not_opened() {
    // A4
    let served = plain();
    let mut client = Client::connect(&served).await;
    client.send("GET /tunnel HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(client.answer().await.0, "HTTP/1.1 500 Internal Server Error");
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let served = plain();
    let mut client = Client::connect(&served).await;
    client.send("POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n").await;
    // many clients send as much as they can before they look; whose write fails takes that for the outcome
    client.send(vec![b'x'; 16 << 20]).await;
    let rest = client.rest().await;
    assert!(rest.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{rest}");
}

#[tokio::test]
async fn whoever_lets_us_wait_is_cut() {
    // A14: nothing; nothing after a request; half a head; half a body; an answer that is not read
    let (head, body) = ("GET / HTTP/1.1\r\nHo", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhi");
    let short = Duration::from_millis(20);
    let long = Duration::from_secs(600);
    let all = patient();
    for (start, limits) in [
        ("", Limits { first_byte: short, ..all.clone() }),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", Limits { idle: short, ..all.clone() }),
        (head, Limits { head: short, ..all.clone() }),
        (body, Limits { body: short, ..all.clone() }),
        (
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5",
            Limits { body: short, ..all.clone() },
        ),
    ] {
        let served = serve(None, limits);
        let mut client = Client::connect(&served).await;
        client.send(start).await;
        client.rest().await;
    }
    let served = serve(None, Limits { body: short, ..all.clone() });
    let mut client = Client::connect(&served).await;
    client.send("GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    served.workers.drain(long).await; // ends only when the connection was cut
}

#[tokio::test]
async fn a_dribbled_body_is_cut_although_it_moves() {
    // A14
    let served = serve(None, Limits { body: Duration::from_millis(50), ..patient() });
    let mut client = Client::connect(&served).await;
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n").await;
    while client.0.write_all(b"x").await.is_ok() {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
