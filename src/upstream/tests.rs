//! Sending to real sockets.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONNECTION, HOST, TE, TRAILER, UPGRADE};
use http::{HeaderMap, Method};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::{Trust, testing};

mod census;
mod hostile;
mod http2;
mod several;
mod short;
mod tls;

/// What stands behind us: it counts its connections and does on each what the test says.
struct Behind {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Behind {
    async fn new<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(count.fetch_add(1, Ordering::Relaxed), stream));
            }
        });
        Self { url, connections }
    }

    /// Answers every request with these bytes.
    async fn answering(answer: &'static str) -> Self {
        Self::new(move |_, mut stream| async move {
            while let Some(_request) = head(&mut stream).await {
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn upstream(&self) -> Upstream {
        self.patient(Duration::from_secs(60), Duration::from_secs(60))
    }

    fn patient(&self, first_byte: Duration, idle: Duration) -> Upstream {
        to(Destination::of(self.url.parse().unwrap(), Trust::system()), Bounds { first_byte, idle, ..PATIENT })
    }
}

/// An upstream that nobody else knows.
fn to(destination: Destination, bounds: Bounds) -> Upstream {
    Upstreams::unchecked().of(destination, bounds)
}

/// A request's head, read byte by byte; none at the end of the connection.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

fn get(path: &str) -> Request {
    request(Method::GET, path, Body::Empty)
}

fn request(method: Method, path: &str, body: Body) -> Request {
    http::Request::builder().method(method).uri(path).header(HOST, "a.test").body(body).unwrap()
}

/// A body in pieces; after them it stays silent if `endless`.
fn pieces(pieces: Vec<Result<Frame<Bytes>, BoxError>>, endless: bool) -> Body {
    use futures_util::StreamExt as _;
    let rest = stream::poll_fn(move |_| if endless { std::task::Poll::Pending } else { std::task::Poll::Ready(None) });
    Body::Boxed(http_body_util::combinators::BoxBody::new(StreamBody::new(stream::iter(pieces).chain(rest))))
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect(1 << 22).await.unwrap().to_vec()).unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// Without a length, so that it is not known to be short.
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
const MILLIS: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);
const PATIENT: Bounds = Bounds { connect: LONG, first_byte: LONG, idle: LONG, total: None, body: None };

#[tokio::test]
async fn a_connection_is_used_again_after_each_kind_of_answer() {
    for answer in [
        OK,
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-after: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let behind = Behind::answering(answer).await;
        let upstream = behind.upstream();
        for _ in 0..5 {
            assert!(upstream.send(get("/")).await.unwrap().into_body().collect(9).await.unwrap().len() <= 2);
        }
        assert_eq!(behind.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn requests_at_once_have_connections_of_their_own() {
    let behind = Behind::answering(OK).await;
    let (upstream, other) = (behind.upstream(), behind.upstream());
    let (one, two) = tokio::join!(upstream.send(get("/1")), upstream.send(get("/2")));
    assert_eq!((text(one.unwrap()).await, text(two.unwrap()).await), ("ok".into(), "ok".into()));
    assert_eq!(behind.connections(), 2);
    text(upstream.send(get("/3")).await.unwrap()).await;
    assert_eq!(behind.connections(), 2);
    text(other.send(get("/4")).await.unwrap()).await;
    assert_eq!(behind.connections(), 3, "another upstream has another pool");
}

#[tokio::test]
async fn an_answer_that_is_not_read_to_its_end_costs_the_connection() {
    // RUSTSEC-2025-0037: what is left of it must not become the next answer
    let behind = Behind::answering("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok").await;
    let upstream = behind.upstream();
    for n in 1..=3 {
        drop(upstream.send(get("/")).await.unwrap());
        assert_eq!(behind.connections(), n);
    }
}

#[tokio::test]
async fn an_answer_that_says_close_is_not_followed_by_another_request() {
    let behind = Behind::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    let upstream = behind.upstream();
    for n in 1..=3 {
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
        assert_eq!(behind.connections(), n);
    }
}

#[tokio::test]
async fn a_stale_connection_is_replaced() {
    // it closes after its first answer without a word: before our next request, or after reading it
    for reads_on in [false, true] {
        let behind = Behind::new(move |n, mut stream| async move {
            head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            if n > 0 || reads_on {
                head(&mut stream).await;
            }
            if n > 0 {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        })
        .await;
        let upstream = behind.upstream();
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
        for method in [Method::GET, Method::PUT] {
            let again = request(method, "/", Body::full("x"));
            assert_eq!(text(upstream.send(again).await.unwrap()).await, "ok");
        }
        assert_eq!(behind.connections(), 2);
    }
}

#[tokio::test]
async fn what_may_have_had_its_effect_is_not_sent_twice() {
    // RFC 9110 §9.2.2: each is read by a connection that then closes without an answer
    for again in [
        request(Method::POST, "/", Body::full("x")),
        request(Method::PATCH, "/", Body::Empty),
        request(Method::PUT, "/", pieces(vec![data("x")], false)),
    ] {
        let behind = Behind::new(|n, mut stream| async move {
            head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            head(&mut stream).await;
            assert_eq!(n, 0, "a second try");
        })
        .await;
        let upstream = behind.upstream();
        text(upstream.send(get("/")).await.unwrap()).await;
        let error = upstream.send(again).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
        assert_eq!(behind.connections(), 1);
    }
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_not_tried_again() {
    let behind = Behind::new(|_, mut stream| async move {
        head(&mut stream).await;
    })
    .await;
    let error = behind.upstream().send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
    assert_eq!(behind.connections(), 1);
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let behind = Behind { url: format!("http://{}", listener.local_addr().unwrap()), connections: Arc::default() };
    drop(listener);
    let error = behind.upstream().send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn each_wait_has_an_end() {
    let timed_out = |error: UpstreamError, expected: &str| match error {
        UpstreamError::TimedOut { during, .. } => assert_eq!(during, expected),
        other => panic!("{other:?}"),
    };

    // a TLS handshake that gets no answer
    let silent =
        Behind::new(|_, mut stream| async move { while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} })
            .await;
    let address = silent.url.replace("http:", "https:").parse().unwrap();
    let upstream = to(Destination::of(address, Trust::system()), Bounds { connect: MILLIS, ..PATIENT });
    timed_out(upstream.send(get("/")).await.unwrap_err(), "to connect");

    // no answer; no answer after a streamed body
    timed_out(silent.patient(MILLIS, LONG).send(get("/")).await.unwrap_err(), "to answer");
    let streamed = request(Method::POST, "/", pieces(vec![data("x")], false));
    timed_out(silent.patient(MILLIS, LONG).send(streamed).await.unwrap_err(), "to answer");

    // a body that nobody reads
    let deaf = Behind::new(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let endless =
        StreamBody::new(stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![0; 1 << 16])))));
    let request = request(Method::POST, "/", Body::boxed(endless));
    timed_out(deaf.patient(LONG, MILLIS).send(request).await.unwrap_err(), "to take the request");

    // an answer that stops
    let stopping = Behind::answering("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok").await;
    let mut body = stopping.patient(LONG, MILLIS).send(get("/")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    let error = body.frame().await.unwrap().unwrap_err();
    timed_out(*error.downcast().unwrap(), "to go on with its answer");
}

#[tokio::test]
async fn a_requests_own_fault_is_not_the_upstreams() {
    let behind =
        Behind::new(|_, mut stream| async move { while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} })
            .await;
    for body in [pieces(vec![data("x"), Err("gone".into())], false), pieces(vec![data("x")], true)] {
        let upstream = behind.patient(LONG, MILLIS);
        let error = upstream.send(request(Method::POST, "/", body)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Interrupted { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error_of_its_body() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n",
    ] {
        let behind = Behind::new(move |_, mut stream| async move {
            head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let mut body = behind.upstream().send(get("/")).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(UpstreamError::Broken { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(70_000)).leak();
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200)).leak();
    for answer in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        long,
        many,
    ] {
        let behind = Behind::answering(answer).await;
        let error = behind.upstream().send(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_early_answer_arrives_although_the_request_goes_on() {
    // it answers after the head, and closes or not, while the body never ends or is large
    for (closes, endless) in [(false, true), (true, true), (true, false)] {
        let behind = Behind::new(move |_, mut stream| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
            if !closes {
                while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
            }
        })
        .await;
        let upstream = behind.upstream();
        let large = Ok(Frame::data(Bytes::from(vec![0; 1 << 22])));
        let body = pieces(vec![data("x"), if endless { data("y") } else { large }], endless);
        let response = upstream.send(request(Method::POST, "/", body)).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(text(response).await, "no");
        // RUSTSEC-2025-0037: that connection is in the middle of a request
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "no");
        assert_eq!(behind.connections(), 2);
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let behind = Behind::new(|_, mut stream| async move {
        head(&mut stream).await;
        let mut body = String::new();
        while !body.ends_with("0\r\nx-sum: 1\r\n\r\n") {
            body.push(stream.read_u8().await.unwrap().into());
        }
        let answer =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    let mut request = request(Method::POST, "/", pieces(vec![data("x"), Ok(Frame::trailers(trailers))], false));
    request.headers_mut().insert(TRAILER, HeaderValue::from_static("x-sum"));
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    let response = behind.upstream().send(request).await.unwrap();
    let collected = response.into_body();
    let collected = http_body_util::BodyExt::collect(collected).await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "2");
}

fn upgrade() -> Request {
    let mut request = get("/ws");
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    request.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    request
}

#[tokio::test]
async fn an_upgrade_has_its_connection_to_itself() {
    let behind = Behind::new(|_, mut stream| async move {
        let head = head(&mut stream).await.unwrap();
        assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: echo\r\n"), "{head}");
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello";
        stream.write_all(switch).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    })
    .await;
    let upstream = behind.upstream();
    let mut response = upstream.send(upgrade()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[UPGRADE], "echo");
    let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    drop((response, upstream));
    tunnel.write_all(b"ping").await.unwrap();
    let mut echoed = [0; 9];
    tunnel.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"helloping");
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_others() {
    // A4: no tunnel without a 101, and none that nobody asked for
    let behind = Behind::answering("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno").await;
    let upstream = behind.upstream();
    for n in 1..=2 {
        let mut response = upstream.send(upgrade()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
        hyper::upgrade::on(&mut response).await.unwrap_err();
        assert_eq!(text(response).await, "no");
        assert_eq!(behind.connections(), n, "it is not used again");
    }
    let behind = Behind::answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n").await;
    let error = behind.upstream().send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn https_believes_the_upstreams_own_roots() {
    let (identity, trust) = testing::pair();
    let acceptor = TlsAcceptor::from(identity.server_config(&[b"h2", b"http/1.1"]));
    let behind = Behind::new(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            while head(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let upstream = |trust: Trust| {
        let address = behind.url.replace("http://127.0.0.1", "https://localhost").parse().unwrap();
        to(Destination { protocol: Protocol::Http1, ..Destination::of(address, trust) }, PATIENT)
    };
    let error = upstream(Trust::system()).send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error:?}");
    let upstream = upstream(trust);
    for _ in 0..2 {
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
    }
    assert_eq!(behind.connections(), 2, "one refused, one kept");
}

#[tokio::test]
async fn a_large_body_passes_both_ways() {
    let behind = Behind::new(|_, mut stream| async move {
        head(&mut stream).await;
        let mut body = vec![0; 3 << 20];
        stream.read_exact(&mut body).await.unwrap();
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes())
            .await
            .unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    let body: Bytes = (0..3 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    let upstream = behind.upstream();
    let response = upstream.send(request(Method::PUT, "/", Body::full(body.clone()))).await.unwrap();
    assert!(response.into_body().collect(4 << 20).await.unwrap() == body);
}
