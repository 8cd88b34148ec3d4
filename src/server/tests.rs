//! Serving over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::*;
use crate::tls::testing;
use crate::web::{self, Connection};

/// Tells what it was asked: method, host, target, version, TLS, body. Some paths do something else.
struct Echo {
    /// Told when `/slow` was reached.
    reached: Notify,
    /// `/slow` is answered when this is told.
    go: Notify,
}

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, request: Request) -> Response {
        let (head, body) = request.into_parts();
        match head.uri.path() {
            "/panic" => panic!("as asked"),
            "/slow" => {
                self.reached.notify_one();
                self.go.notified().await;
            }
            "/early" => return web::answer(StatusCode::FORBIDDEN, "text/plain", "no"),
            _ => {}
        }
        let body = body.collect(1 << 20).await.unwrap();
        let connection = head.extensions.get::<Arc<Connection>>().unwrap();
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

fn serve(tls: Option<Arc<rustls::ServerConfig>>, timeouts: Timeouts) -> Served {
    let workers = Workers::start(2).unwrap();
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let echo = Arc::new(Echo { reached: Notify::new(), go: Notify::new() });
    let metrics = Metrics::new();
    let manner = Manner { name: "main".into(), tls, timeouts, metrics: metrics.clone() };
    workers.serve(listener, manner, Arc::clone(&echo) as Arc<dyn Handler>);
    Served { workers, address, echo, metrics }
}

fn plain() -> Served {
    serve(None, Timeouts::default())
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

    /// Everything until the other side closes.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.unwrap();
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
    let served = serve(Some(identity.server_config(&[b"h2", b"http/1.1"])), Timeouts::default());
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
    let timeouts = Timeouts { handshake: Duration::from_millis(20), ..Timeouts::default() };
    let served = serve(Some(identity.server_config(&[])), timeouts);
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
    let served = serve(Some(identity.server_config(&[b"h2"])), Timeouts::default());
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
