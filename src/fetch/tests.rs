//! Fetching from real sockets.

use std::error::Error as _;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::testing;

/// A server for one connection: it reads a head, sends these bytes, and tells what it read. It keeps the connection
/// open until the other side closes it.
async fn server(answer: impl Into<Vec<u8>>) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, answer) = (listener.local_addr().unwrap(), answer.into());
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        converse(stream, &answer).await
    });
    (address, task)
}

async fn converse(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, answer: &[u8]) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    // who is told that the answer is too large closes before it has read all of it
    let _ = stream.write_all(answer).await;
    let _ = stream.read(&mut [0]).await;
    String::from_utf8(head).unwrap()
}

fn get(url: &str) -> http::Request<Bytes> {
    http::Request::get(url).body(Bytes::new()).unwrap()
}

fn fetch() -> Fetch {
    Fetch::new(&Trust::system())
}

#[tokio::test]
async fn the_whole_answer_comes_back() {
    let (address, seen) = server("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nx-a: b\r\n\r\ngone").await;
    let response = fetch().send(get(&format!("http://{address}/a?b=c")), &Reach::Configured).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(response.headers()["x-a"], "b");
    assert_eq!(response.body(), "gone");
    let seen = seen.await.unwrap();
    assert!(seen.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains(&format!("host: {address}\r\n")), "{seen}");
    assert!(seen.contains(&format!("user-agent: claviger/{}\r\n", env!("CARGO_PKG_VERSION"))), "{seen}");
}

#[tokio::test]
async fn a_body_is_sent_and_an_own_user_agent_stays() {
    let (address, seen) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let request = http::Request::post(format!("http://{address}/token"))
        .header("user-agent", "other")
        .body(Bytes::from_static(b"grant_type=x"))
        .unwrap();
    fetch().send(request, &Reach::Configured).await.unwrap();
    let seen = seen.await.unwrap();
    assert!(seen.contains("content-length: 12\r\n") && seen.contains("user-agent: other\r\n"), "{seen}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    // A19: a redirect would leave the checked address
    let (address, _) =
        server("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n").await;
    let response = fetch().send(get(&format!("http://{address}/")), &Reach::Configured).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn an_answer_past_the_limit_is_refused() {
    // A19: announced, in chunks, and until the end of the connection
    let fetch = Fetch { limit: 8, ..fetch() };
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n12345\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n123456789",
    ] {
        let (address, _) = server(answer).await;
        let error = fetch.send(get(&format!("http://{address}/")), &Reach::Configured).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { limit: 8, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let mut answer = b"HTTP/1.1 200 OK\r\nx-long: ".to_vec();
    answer.resize(2 * 1024 * 1024, b'a');
    let (address, _) = server(answer).await;
    let error = fetch().send(get(&format!("http://{address}/")), &Reach::Configured).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stalling_answer_ends_the_wait() {
    // A19: nothing at all, half a head, half a body
    let fetch = Fetch { wait: Duration::from_millis(20), ..fetch() };
    for answer in ["", "HTTP/1.1 200 OK\r\ncont", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n123"] {
        let (address, _) = server(answer).await;
        let error = fetch.send(get(&format!("http://{address}/")), &Reach::Configured).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "no answer within 20ms");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n123").await.unwrap();
    });
    let error = fetch().send(get(&format!("http://{address}/")), &Reach::Configured).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    task.await.unwrap();
}

#[tokio::test]
async fn link_local_addresses_are_never_reached() {
    // A19: in every way to write them that the system understands
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fd00:ec2::254]",
    ] {
        for reach in [Reach::Configured, Reach::NoCloserThan("127.0.0.1".into())] {
            let error = fetch().send(get(&format!("http://{host}/latest/meta-data/")), &reach).await.unwrap_err();
            assert!(matches!(error, FetchError::OutOfBounds { .. }), "{host}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_document_leads_no_closer_than_its_host() {
    // A19: base, target, whether it is in bounds
    for (base, target, allowed) in [
        ("93.184.216.34", "127.0.0.1", false),
        ("93.184.216.34", "localhost", false),
        ("93.184.216.34", "2130706433", false),
        ("93.184.216.34", "0", false),
        ("93.184.216.34", "10.0.0.1", false),
        ("[2606:2800:220:1::1]", "[::1]", false),
        ("93.184.216.34", "93.184.216.35", true),
        ("10.0.0.1", "127.0.0.1", false),
        ("10.0.0.1", "192.168.0.1", true),
        ("10.0.0.1", "93.184.216.34", true),
        ("127.0.0.1", "127.0.0.1", true),
        ("localhost", "127.0.0.1", true),
        ("127.0.0.1", "10.0.0.1", true),
        ("169.254.1.1", "127.0.0.1", false),
    ] {
        let target = Target::of(&format!("http://{target}/").parse().unwrap()).ok().unwrap();
        let found = target.addresses(&Reach::NoCloserThan(base.into())).await;
        assert_eq!(found.is_ok(), allowed, "{base} to {}", target.host);
    }
}

#[tokio::test]
async fn https_believes_its_roots_only() {
    let (identity, trust) = testing::pair();
    let acceptor = TlsAcceptor::from(identity.server_config(&[b"h2", b"http/1.1"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                converse(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    });
    let url = format!("https://localhost:{port}/");
    let error = fetch().send(get(&url), &Reach::Configured).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    assert_eq!(Fetch::new(&trust).send(get(&url), &Reach::Configured).await.unwrap().body(), "ok");
    task.abort();
}

#[tokio::test]
async fn urls_of_other_kinds_are_refused() {
    for url in ["ftp://localhost/", "/relative", "http://user:pass@localhost/"] {
        let error = fetch().send(get(url), &Reach::Configured).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{url}: {error:?}");
    }
}
