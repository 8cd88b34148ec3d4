//! A28: upstreams that answer badly, or not at all. Each harms its own exchange, and nothing else.

use super::*;

/// Writes these bytes again and again once it is asked, on its first connection; then answers as it should.
async fn flooding(with: &'static [u8]) -> Behind {
    Behind::new(move |n, mut stream| async move {
        while head(&mut stream).await.is_some() {
            if n > 0 {
                stream.write_all(OK.as_bytes()).await.unwrap();
                continue;
            }
            while stream.write_all(with).await.is_ok() {}
            return;
        }
    })
    .await
}

#[tokio::test]
async fn what_never_comes_to_an_answer_ends_by_itself() {
    for flood in [
        &b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"[..],
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"x",
        b"\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ] {
        let behind = flooding(flood).await;
        let upstream = behind.upstream();
        let error = upstream.send(request(Method::POST, "/", Body::Empty)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
    }
}

#[tokio::test]
async fn trailers_and_chunks_have_their_limits() {
    for (start, flood) in [
        ("0\r\n", "x-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"),
        ("", "00000000000000000000000000000000"),
        ("1;", "extension=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;"),
    ] {
        let behind = Behind::new(move |_, mut stream| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            while stream.write_all(flood.as_bytes()).await.is_ok() {}
        })
        .await;
        let answer = behind.upstream().send(get("/")).await.unwrap();
        let error = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(UpstreamError::Broken { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_answers_nothing() {
    // a second answer to the first request, together with it or after it, must not become that of the second
    for together in [true, false] {
        let behind = Behind::new(move |n, mut stream| async move {
            while head(&mut stream).await.is_some() {
                let other = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
                if n > 0 {
                    stream.write_all(OK.as_bytes()).await.unwrap();
                } else if together {
                    stream.write_all(format!("{OK}{other}").as_bytes()).await.unwrap();
                } else {
                    stream.write_all(OK.as_bytes()).await.unwrap();
                    stream.write_all(other.as_bytes()).await.unwrap();
                    // by now both have arrived; a request that comes after must find the connection closed
                    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
                }
            }
        })
        .await;
        let upstream = behind.upstream();
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
        }
    }
}

#[tokio::test]
async fn a_reset_is_an_error() {
    for before in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 103 Early Hints\r\n\r\n"] {
        let behind = Behind::new(move |_, mut stream| async move {
            head(&mut stream).await;
            stream.write_all(before).await.unwrap();
            stream.set_zero_linger().unwrap();
        })
        .await;
        let error = behind.upstream().send(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Broken { .. }), "{error:?}");
        assert_eq!(behind.connections(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_drips_is_waited_for_only_so_long() {
    let behind = Behind::new(|_, mut stream| async move {
        head(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: ".iter().chain(std::iter::repeat(&b'a')) {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let error = behind.patient(Duration::from_millis(50), LONG).send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::TimedOut { during: "to answer", .. }), "{error:?}");
}
