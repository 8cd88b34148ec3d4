//! HTTP/2 to real sockets, down to single frames.

use h2::server::SendResponse;
use h2::{Reason, RecvStream};

use super::*;

type Asked = (http::Request<RecvStream>, SendResponse<Bytes>);

/// What stands behind us by HTTP/2; `answer` is told the connection's and the request's number.
pub(super) async fn behind<F>(most: u32, answer: impl Fn(usize, usize, Asked) -> F + Clone + Send + 'static) -> Behind
where
    F: Future<Output = ()> + Send + 'static,
{
    Behind::new(move |n, stream| {
        let answer = answer.clone();
        async move {
            let mut builder = h2::server::Builder::new();
            let Ok(mut connection) = builder.max_concurrent_streams(most).handshake(stream).await else { return };
            let mut asked = 0;
            while let Some(Ok(request)) = connection.accept().await {
                tokio::spawn(answer(n, asked, request));
                asked += 1;
            }
        }
    })
    .await
}

pub(super) fn h2c(behind: &Behind) -> Upstream {
    bounded(behind, PATIENT)
}

fn bounded(behind: &Behind, bounds: Bounds) -> Upstream {
    let address = behind.url.parse().unwrap();
    to(Destination { protocol: Protocol::H2c, ..Destination::of(address, Trust::system()) }, bounds)
}

pub(super) fn ok(mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(b"ok"), true).unwrap();
}

#[tokio::test]
async fn requests_share_a_connection() {
    let behind = behind(100, |_, _, (request, respond)| async move {
        assert_eq!(request.uri().authority().unwrap(), "a.test");
        assert_eq!(request.uri().scheme_str(), Some("http"));
        assert!(!request.headers().contains_key(HOST));
        ok(respond);
    })
    .await;
    let upstream = h2c(&behind);
    let all = futures_util::future::join_all((0..50).map(|_| upstream.send(get("/x?y"))));
    for answer in all.await {
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
    assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
    assert_eq!(behind.connections(), 1);
}

#[tokio::test]
async fn a_connection_takes_as_many_as_the_other_side_says() {
    // RFC 9113 §5.1.2: each request waits until all four have come, so one connection would never do
    let gate = Arc::new(tokio::sync::Barrier::new(4));
    let behind = behind(2, move |_, _, (request, respond)| {
        let gate = Arc::clone(&gate);
        async move {
            if request.uri().path() == "/wait" {
                gate.wait().await;
            }
            ok(respond);
        }
    })
    .await;
    let upstream = h2c(&behind);
    for _ in 0..2 {
        text(upstream.send(get("/")).await.unwrap()).await;
    }
    let all = futures_util::future::join_all((0..4).map(|_| upstream.send(get("/wait"))));
    for answer in tokio::time::timeout(LONG, all).await.unwrap() {
        assert_eq!(text(answer.unwrap()).await, "ok");
    }
    assert_eq!(behind.connections(), 2);
}

#[tokio::test]
async fn what_was_not_looked_at_is_sent_on_another_connection() {
    // RFC 9113 §8.7, whatever the method
    for method in [Method::POST, Method::GET] {
        let behind = behind(100, |connection, _, (_, mut respond)| async move {
            if connection == 0 { respond.send_reset(Reason::REFUSED_STREAM) } else { ok(respond) }
        })
        .await;
        let upstream = h2c(&behind);
        let response = upstream.send(request(method, "/", Body::full("x"))).await.unwrap();
        assert_eq!(text(response).await, "ok");
        assert_eq!(behind.connections(), 2);
    }
}

#[tokio::test]
async fn what_was_looked_at_is_sent_once() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM, Reason::NO_ERROR] {
        let seen = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&seen);
        let behind = behind(100, move |_, _, (_, mut respond)| {
            count.fetch_add(1, Ordering::Relaxed);
            async move { respond.send_reset(reason) }
        })
        .await;
        let upstream = h2c(&behind);
        for n in 1..=2 {
            let error = upstream.send(request(Method::POST, "/", Body::full("x"))).await.unwrap_err();
            assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
            assert_eq!(seen.load(Ordering::Relaxed), n, "{reason:?}");
        }
        assert_eq!(behind.connections(), 1, "one stream's end is not the connection's");
    }
}

/// Frames as they are written: length, type, flags, stream, payload (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

fn goaway(last_stream: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last_stream.to_be_bytes(), code.to_be_bytes()].concat())
}

/// Reads until the first request's HEADERS have come.
async fn asked(stream: &mut TcpStream) -> Option<()> {
    stream.read_exact(&mut [0; 24]).await.ok()?; // the preface
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.ok()?;
        if head[3] == HEADERS {
            return Some(());
        }
    }
}

/// What a connection writes once it is asked; the second one answers as it should.
async fn writing(bytes: Vec<u8>) -> Behind {
    Behind::new(move |n, mut stream| {
        let bytes = bytes.clone();
        async move {
            if n == 0 {
                stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
                asked(&mut stream).await;
                let _ = stream.write_all(&bytes).await;
                while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
            } else {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, respond))) = connection.accept().await {
                    ok(respond);
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_goaway_that_leaves_a_request_out_has_it_sent_elsewhere() {
    for (last_stream, code) in [(0, 0), (0, 11)] {
        let behind = writing(goaway(last_stream, code)).await;
        let upstream = h2c(&behind);
        let response = upstream.send(request(Method::POST, "/", Body::full("x"))).await.unwrap();
        assert_eq!(text(response).await, "ok");
        assert_eq!(behind.connections(), 2);
    }
}

/// CVE-2021-39162: settings for a connection that is being closed already.
#[tokio::test]
async fn a_goaway_and_then_settings_is_no_crash() {
    let no_streams = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 0]);
    let behind = writing([goaway(0, 0), no_streams.clone(), goaway(0, 0), no_streams].concat()).await;
    let upstream = h2c(&behind);
    assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
    assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
    assert_eq!(behind.connections(), 2);
}

/// A28: what makes no sense ends the exchange, and the next goes well.
#[tokio::test]
async fn frames_that_make_no_sense_are_an_error() {
    let endless = {
        let mut bytes = frame(HEADERS, 0, 1, &[0x88]);
        // literal fields without indexing: `x: aaaa…`, again and again and never an end (CVE-2024-27316)
        let field = [&[0x00, 1, b'x', 100][..], &[b'a'; 100]].concat();
        (0..10_000).for_each(|_| bytes.extend(frame(CONTINUATION, 0, 1, &field)));
        bytes
    };
    for (what, bytes) in [
        ("an answer to more than was asked", frame(HEADERS, END_HEADERS | 1, 3, &[0x88])),
        ("a push", frame(5, END_HEADERS, 1, &[0, 0, 0, 2, 0x82, 0x84, 0x86, 0x41, 1, b'a'])),
        ("no HPACK", frame(HEADERS, END_HEADERS | 1, 1, &[0xff; 20])),
        ("data before the head", frame(0, 1, 1, b"ok")),
        ("a head without an end", endless),
        ("a frame of 16 MiB", vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
        ("HTTP/1.1", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
    ] {
        let behind = writing(bytes).await;
        let upstream = h2c(&behind);
        let error = upstream.send(request(Method::POST, "/", Body::Empty)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Broken { .. }), "{what}: {error:?}");
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok", "{what}");
    }
}

#[tokio::test]
async fn both_sides_talk_at_once_and_end_with_trailers() {
    let behind = behind(100, |_, _, (request, mut respond)| async move {
        assert_eq!(request.headers()[TE], "trailers");
        let mut body = request.into_body();
        let mut back = respond.send_response(http::Response::new(()), false).unwrap();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            back.send_data(piece, false).unwrap();
        }
        let mut trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers["x-sum"], "1");
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        // A28: the head's words, where nobody looks for them
        trailers.insert("set-cookie", HeaderValue::from_static("ticket=theirs"));
        trailers.insert("content-length", HeaderValue::from_static("5"));
        back.send_trailers(trailers).unwrap();
    })
    .await;
    let (pieces, taken) = tokio::sync::mpsc::channel::<Frame<Bytes>>(1);
    let body = StreamBody::new(stream::unfold(taken, async |mut taken| {
        let piece = taken.recv().await?;
        Some((Ok::<_, Infallible>(piece), taken))
    }));
    let mut request = request(Method::POST, "/", Body::boxed(body));
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    let upstream = h2c(&behind);
    let mut answer = upstream.send(request).await.unwrap().into_body();
    // each piece comes back before the next goes out
    for text in ["one", "two", "three"] {
        pieces.send(Frame::data(text.into())).await.unwrap();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), text);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    pieces.send(Frame::trailers(trailers)).await.unwrap();
    drop(pieces);
    let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
    let names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["x-sum", "grpc-status"]);
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn who_goes_away_takes_the_stream_along_and_nothing_else() {
    let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let behind = behind(100, move |_, n, (_, mut respond)| {
        count.fetch_add(1, Ordering::Relaxed);
        let said = said.clone();
        async move {
            if n == 0 {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"first"), false).unwrap();
                said.send(std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap()).unwrap();
            } else if n == 1 {
                said.send(std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap()).unwrap();
            } else {
                ok(respond);
            }
        }
    })
    .await;
    let upstream = h2c(&behind);
    // in the middle of the answer, and before its head
    let mut body = upstream.send(get("/")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    drop(body);
    assert_eq!(heard.recv().await, Some(Reason::CANCEL));
    let waiting = upstream.clone();
    let waiting = tokio::spawn(async move { waiting.send(get("/")).await });
    while asked.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert_eq!(heard.recv().await, Some(Reason::CANCEL));
    assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
    assert_eq!(behind.connections(), 1);
}
