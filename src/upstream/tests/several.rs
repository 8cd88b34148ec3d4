//! Several addresses, sockets, health, reloads, limits.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::net::UnixListener;

use super::*;
use crate::telemetry::Metrics;

fn at(addresses: &[&str]) -> Destination {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Destination { addresses, ..Destination::of(Address::Unix(PathBuf::new()), Trust::system()) }
}

/// An address of this machine where nobody listens: it was ours a moment ago.
async fn nobody() -> String {
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    format!("http://{address}")
}

#[tokio::test]
async fn requests_go_to_those_that_are_there() {
    let (one, other) = (Behind::answering(OK).await, Behind::answering(OK).await);
    let gone = nobody().await;
    let upstream = to(at(&[&one.url, &gone, &other.url]), PATIENT);
    for _ in 0..50 {
        // not idempotent, and with a body that can't be sent again: nothing of it was
        let streamed = request(Method::POST, "/", pieces(vec![data("x")], false));
        let answer = upstream.send(streamed).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        drop(answer);
    }
    assert!(one.connections() > 0 && other.connections() > 0, "{} {}", one.connections(), other.connections());
}

#[tokio::test]
async fn where_nobody_is_there_all_are_tried() {
    let upstream = to(at(&[&nobody().await, &nobody().await]), PATIENT);
    for _ in 0..5 {
        let error = upstream.send(get("/")).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Unreachable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_one_address_has_read_goes_to_no_other() {
    // RFC 9110 §9.2.2: it reads the request and closes without an answer
    let seen = Arc::new(AtomicUsize::new(0));
    let closing = || {
        let seen = Arc::clone(&seen);
        Behind::new(move |_, mut stream| {
            let seen = Arc::clone(&seen);
            async move {
                if head(&mut stream).await.is_some() {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    let (one, other) = (closing().await, closing().await);
    let upstream = to(at(&[&one.url, &other.url]), PATIENT);
    for n in 1..=5 {
        upstream.send(request(Method::POST, "/", Body::full("x"))).await.unwrap_err();
        assert_eq!(seen.load(Ordering::Relaxed), n);
    }
}

#[tokio::test]
async fn the_one_with_less_to_do_is_asked() {
    let never = Behind::new(|_, mut stream| async move {
        while head(&mut stream).await.is_some() {}
        std::future::pending::<()>().await;
    });
    let (never, quick) = (never.await, Behind::answering(OK).await);
    let upstream = to(at(&[&never.url, &quick.url]), PATIENT);
    let waiting = Arc::new(AtomicUsize::new(0));
    for _ in 0..40 {
        let (upstream, waiting) = (upstream.clone(), Arc::clone(&waiting));
        waiting.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            upstream.send(get("/")).await.unwrap();
            waiting.fetch_sub(1, Ordering::Relaxed);
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    while waiting.load(Ordering::Relaxed) > 3 {
        tokio::task::yield_now().await;
    }
    assert!(never.connections() <= 3, "{}", never.connections());
}

#[tokio::test]
async fn health_decides_who_is_asked() {
    let well = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let says = Arc::clone(&well);
    let checked = Behind::new(move |_, mut stream| {
        let says = Arc::clone(&says);
        async move {
            while let Some(head) = head(&mut stream).await {
                assert!(head.starts_with("GET /healthz HTTP/1.1\r\nhost: app.test\r\n") || head.starts_with("GET / "));
                let ok = says.load(Ordering::Relaxed) || head.starts_with("GET / ");
                let answer = if ok { OK } else { "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno" };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let (checked, other) = (checked.await, Behind::answering(CHUNKED).await);
    let metrics = Metrics::new();
    let upstreams = Upstreams::new(metrics.clone(), tokio::runtime::Handle::current());
    let health = Health {
        path: "/healthz".parse().unwrap(),
        interval: Duration::from_millis(2),
        timeout: LONG,
        unhealthy_after: 2,
        healthy_after: 1,
    };
    let destination = Destination {
        health: Some(health),
        host: Some("app.test".parse().unwrap()),
        ..at(&[&checked.url, &other.url])
    };
    let upstream = upstreams.of(destination, PATIENT);
    let shown = |value: u8| {
        let address = checked.url.trim_start_matches("http://").to_owned();
        let line = format!("claviger_upstream_healthy{{upstream=\"app.test\",address=\"{address}\"}} {value}");
        let metrics = metrics.clone();
        async move {
            while !metrics.render().contains(&line) {
                tokio::task::yield_now().await;
            }
        }
    };
    for (is_well, expected) in [(false, 0), (true, 1), (false, 0)] {
        well.store(is_well, Ordering::Relaxed);
        tokio::time::timeout(LONG, shown(expected)).await.unwrap();
    }
    let before = other.connections();
    for _ in 0..20 {
        // each on a connection of its own, as the answer is not read
        drop(upstream.send(get("/")).await.unwrap());
    }
    assert!(other.connections() >= before + 20, "the one that is down is asked nothing");
}

#[tokio::test]
async fn a_socket_is_an_address_like_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(head) = head(&mut stream).await {
                assert!(head.contains("host: a.test\r\n"));
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    });
    let upstream = to(at(&[&format!("unix:{}", path.display())]), PATIENT);
    for _ in 0..2 {
        assert_eq!(text(upstream.send(get("/")).await.unwrap()).await, "ok");
    }
    let gone = to(at(&[&format!("unix:{}/gone.sock", folder.path().display())]), PATIENT);
    assert!(matches!(gone.send(get("/")).await, Err(UpstreamError::Unreachable { .. })));
}

#[tokio::test]
async fn a_reload_keeps_warm_what_it_does_not_change() {
    let behind = Behind::answering(OK).await;
    let upstreams = Upstreams::unchecked();
    let destination = || at(&[&behind.url]);
    let old = upstreams.of(destination(), PATIENT);
    text(old.send(get("/")).await.unwrap()).await;
    // other limits are the route's business, not the connections'
    let new = upstreams.of(destination(), Bounds { idle: MILLIS, body: Some(1), ..PATIENT });
    drop(old);
    text(new.send(get("/")).await.unwrap()).await;
    assert_eq!(behind.connections(), 1);
    // another host, protocol or trust is another upstream
    let (_, trust) = testing::pair();
    for other in [
        Destination { host: Some("b.test".parse().unwrap()), ..destination() },
        Destination { protocol: Protocol::Http1, ..destination() },
        Destination { trust, ..destination() },
    ] {
        let before = behind.connections();
        text(upstreams.of(other, PATIENT).send(get("/")).await.unwrap()).await;
        assert_eq!(behind.connections(), before + 1);
    }
    // what nobody refers to is not kept
    drop(new);
    let before = behind.connections();
    text(upstreams.of(destination(), PATIENT).send(get("/")).await.unwrap()).await;
    assert_eq!(behind.connections(), before + 1);
}

#[tokio::test]
async fn a_body_past_the_limit_is_cut_and_one_that_says_so_is_not_sent() {
    let behind =
        Behind::new(|_, mut stream| async move { while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {} })
            .await;
    let bounds = Bounds { body: Some(3), ..PATIENT };
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let upstream = to(Destination { protocol, ..at(&[&behind.url]) }, bounds);
        let error = upstream.send(request(Method::PUT, "/", pieces(vec![data("12"), data("34")], true))).await;
        assert!(matches!(error, Err(UpstreamError::TooLarge { limit: 3 })), "{protocol:?}: {error:?}");
        assert!(upstream.check_length(&Body::full("123")).is_ok());
        assert!(matches!(upstream.check_length(&Body::full("1234")), Err(UpstreamError::TooLarge { limit: 3 })));
        assert!(upstream.check_length(&pieces(vec![data("1234")], true)).is_ok(), "it does not say");
    }
}

#[tokio::test]
async fn an_exchange_has_an_end_however_it_moves() {
    let behind = Behind::new(|_, mut stream| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        while stream.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let upstream = to(at(&[&behind.url]), Bounds { total: Some(Duration::from_millis(50)), ..PATIENT });
    let body = upstream.send(get("/")).await.unwrap().into_body();
    let error = http_body_util::BodyExt::collect(body).await.unwrap_err();
    let Ok(error) = error.downcast::<UpstreamError>() else { panic!("another error") };
    assert!(matches!(*error, UpstreamError::TimedOut { during: ALTOGETHER, .. }), "{error:?}");
    // and one that never begins
    let silent = Behind::new(|_, mut stream| async move { while head(&mut stream).await.is_some() {} }).await;
    let upstream = to(at(&[&silent.url]), Bounds { total: Some(MILLIS), ..PATIENT });
    let error = upstream.send(get("/")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::TimedOut { during: ALTOGETHER, .. }), "{error:?}");
}
