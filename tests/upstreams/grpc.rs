//! gRPC as it is on the wire: HTTP/2 both ways, trailers that nobody announced, both sides at once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use claviger::web::Body;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::support::client::headers;
use crate::support::watched;
use crate::support::world::{Plan, World};

/// An upstream that speaks HTTP/2 by prior knowledge. It sends every piece back as it comes, and ends with a status.
struct Echo {
    at: SocketAddr,
    heads: Arc<Mutex<Vec<(http::Uri, HeaderMap)>>>,
    trailers: Arc<Mutex<Vec<HeaderMap>>>,
    /// Streams that the other side reset.
    reset: Arc<watch::Sender<usize>>,
    connections: Arc<AtomicUsize>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (heads, trailers) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (reset, connections) = (Arc::new(watch::Sender::new(0)), Arc::<AtomicUsize>::default());
        let echo = Self { at, heads, trailers, reset, connections };
        let (heads, trailers) = (Arc::clone(&echo.heads), Arc::clone(&echo.trailers));
        let (reset, connections) = (Arc::clone(&echo.reset), Arc::clone(&echo.connections));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (heads, trailers, reset) = (Arc::clone(&heads), Arc::clone(&trailers), Arc::clone(&reset));
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        heads.lock().unwrap().push((request.uri().clone(), request.headers().clone()));
                        let (trailers, reset) = (Arc::clone(&trailers), Arc::clone(&reset));
                        tokio::spawn(async move {
                            if serve(request, respond, &trailers).await.is_err() {
                                reset.send_modify(|reset| *reset += 1);
                            }
                        });
                    }
                });
            }
        });
        echo
    }
}

async fn serve(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    seen: &Mutex<Vec<HeaderMap>>,
) -> Result<(), h2::Error> {
    let grpc = Response::builder().header("content-type", "application/grpc");
    if request.uri().path() == "/only-trailers" {
        let answer = grpc.header("grpc-status", "12").body(()).unwrap();
        respond.send_response(answer, true)?;
        return Ok(());
    }
    let mut body = request.into_body();
    let mut back = respond.send_response(grpc.body(()).unwrap(), false)?;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        back.send_data(piece, false)?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    seen.lock().unwrap().push(trailers);
    back.send_trailers(headers(&[("grpc-status", "0"), ("grpc-message", "fine"), ("x-sum", "2")]))
}

/// A claviger before it, and a connection by TLS and HTTP/2.
struct Place {
    world: World,
    sender: http2::SendRequest<Body>,
}

impl Place {
    async fn before(echo: &Echo) -> Self {
        let routes = format!(
            r#"
[route.app]
host = "*"
upstream = {{ url = "http://{}", protocol = "h2c" }}
allow = "anyone"
inject = {{ kind = "headers" }}
"#,
            echo.at
        );
        let world = Plan::with_routes(&routes).secure().start().await;
        let stream = TokioIo::new(world.tls(b"h2").await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Self { world, sender }
    }

    async fn call(&mut self, path: &str, body: Body) -> Response<Incoming> {
        let request = Request::post(format!("https://apps.test{path}"))
            .header("te", "trailers")
            .header("content-type", "application/grpc");
        self.sender.send_request(request.body(body).unwrap()).await.unwrap()
    }
}

/// A piece of a body; with an error the stream is reset.
type Piece = std::io::Result<Frame<Bytes>>;

/// A body whose pieces are sent one by one.
fn body() -> (mpsc::Sender<Piece>, Body) {
    let (sender, taken) = mpsc::channel::<Piece>(1);
    let stream = futures_util::stream::unfold(taken, async |mut taken| {
        let piece = taken.recv().await?;
        Some((piece, taken))
    });
    (sender, Body::boxed(StreamBody::new(stream)))
}

async fn data(body: &mut Incoming) -> Bytes {
    body.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_call_streams_both_ways_and_ends_with_its_status() {
    let echo = Echo::start().await;
    let mut place = Place::before(&echo).await;
    let (pieces, sent) = body();
    let mut answer = place.call("/echo.Echo/Both?x=1", sent).await;
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    for piece in ["one", "two", "three"] {
        pieces.send(Ok(Frame::data(piece.into()))).await.unwrap();
        assert_eq!(data(answer.body_mut()).await, piece);
    }
    // A1: behind the body nobody says who they are, in whatever spelling
    let forged = [("x-forwarded-user", "admin"), ("x_forwarded_for", "1.1.1.1"), ("cookie", "a=b"), ("x-sum", "1")];
    pieces.send(Ok(Frame::trailers(headers(&forged)))).await.unwrap();
    let trailers = answer.body_mut().frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert!(trailers["grpc-status"] == "0" && trailers["grpc-message"] == "fine", "{trailers:?}");
    // the status was sent after they had come
    assert_eq!(*echo.trailers.lock().unwrap(), [headers(&[("x-sum", "1")])]);

    let (uri, head) = echo.heads.lock().unwrap()[0].clone();
    assert_eq!(uri.to_string(), "http://apps.test/echo.Echo/Both?x=1");
    assert!(head["te"] == "trailers" && head["x-forwarded-proto"] == "https", "{head:?}");
    assert!(!head.contains_key("host") && !head.contains_key("trailer"), "{head:?}");
}

#[tokio::test]
async fn a_call_that_fails_at_once_says_so_in_its_head() {
    let echo = Echo::start().await;
    let mut place = Place::before(&echo).await;
    let answer = place.call("/only-trailers", Body::Empty).await;
    assert_eq!(answer.headers()["grpc-status"], "12");
    assert!(hyper::body::Body::is_end_stream(answer.body()));
}

#[tokio::test]
async fn calls_share_a_connection_and_one_that_is_given_up_harms_no_other() {
    let echo = Echo::start().await;
    let mut place = Place::before(&echo).await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        let (pieces, sent) = body();
        calls.push((pieces, place.call("/x", sent).await));
    }
    // every other one goes away, in the middle of both bodies
    let mut kept = Vec::new();
    for (n, (pieces, answer)) in calls.into_iter().enumerate() {
        if n % 2 == 0 {
            kept.push((pieces, answer));
        } else {
            pieces.send(Err(std::io::ErrorKind::Other.into())).await.unwrap();
        }
    }
    watched::until(&echo.reset, |reset| *reset == 10).await;
    for (pieces, answer) in &mut kept {
        pieces.send(Ok(Frame::data("still".into()))).await.unwrap();
        assert_eq!(data(answer.body_mut()).await, "still");
    }
    assert_eq!(echo.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_reader_that_stops_holds_nobody_up() {
    let echo = Echo::start().await;
    let mut place = Place::before(&echo).await;
    // more than all windows between them, and not read
    let (pieces, sent) = body();
    let stopped = place.call("/slow", sent).await;
    let writing = tokio::spawn(async move {
        for _ in 0..512 {
            pieces.send(Ok(Frame::data(Bytes::from(vec![b'x'; 16 << 10])))).await.unwrap();
        }
        pieces
    });
    for n in 0..50 {
        let (pieces, sent) = body();
        let mut answer = place.call("/quick", sent).await;
        let piece = Bytes::from(vec![b'y'; 1 + n * 1000]);
        pieces.send(Ok(Frame::data(piece.clone()))).await.unwrap();
        drop(pieces);
        assert!(answer.body_mut().collect().await.unwrap().to_bytes() == piece);
    }
    let whole = tokio::spawn(stopped.into_body().collect());
    drop(writing.await.unwrap());
    assert_eq!(whole.await.unwrap().unwrap().to_bytes().len(), 512 * (16 << 10));
    assert!(place.world.claviger.log().iter().all(|line| !line.contains("panicked")));
}

#[tokio::test]
async fn http1_comes_to_the_same_upstream() {
    let echo = Echo::start().await;
    let place = Place::before(&echo).await;
    let sent = headers(&[("host", "apps.test")]);
    let answer = crate::support::client::send(place.world.at, http::Method::POST, "/x", &sent, "hello").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    // an upgrade is passed over, as HTTP/2 has none (RFC 9110 §7.8)
    let upgrade = headers(&[("host", "apps.test"), ("connection", "upgrade"), ("upgrade", "websocket")]);
    let answer = crate::support::client::send(place.world.at, http::Method::GET, "/x", &upgrade, "").await;
    assert_eq!(answer.status, 200);
    let (_, head) = echo.heads.lock().unwrap().last().unwrap().clone();
    assert!(!head.contains_key("upgrade") && !head.contains_key("connection"), "{head:?}");
}
