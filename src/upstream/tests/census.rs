//! What is counted of connections.

use super::*;

#[tokio::test]
async fn an_idle_connection_is_open_and_one_in_use_is_not_idle() {
    let counted = |upstream: &Upstream| upstream.0.target.connections();
    let behind = Behind::answering(CHUNKED).await;
    let upstream = behind.upstream();
    assert_eq!(counted(&upstream), (0, 0));
    let one = upstream.send(get("/")).await.unwrap();
    assert_eq!(counted(&upstream), (1, 0), "its body is still to be read");
    let other = upstream.send(get("/")).await.unwrap();
    assert_eq!(counted(&upstream), (2, 0));
    assert_eq!((text(one).await, text(other).await), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(counted(&upstream), (2, 2));
    let broken_off = upstream.send(get("/")).await.unwrap();
    assert_eq!(counted(&upstream), (2, 1));
    drop(broken_off);
    assert_eq!(counted(&upstream), (1, 1));
}

#[tokio::test]
async fn a_shared_connection_is_idle_without_a_stream() {
    let behind = http2::behind(100, |_, _, (_, respond)| async move { http2::ok(respond) }).await;
    let upstream = http2::h2c(&behind);
    let counted = || upstream.0.target.connections();
    let (one, other) = tokio::join!(upstream.send(get("/")), upstream.send(get("/")));
    assert_eq!(counted(), (1, 0));
    assert_eq!(text(one.unwrap()).await, "ok");
    assert_eq!(counted(), (1, 0));
    assert_eq!(text(other.unwrap()).await, "ok");
    assert_eq!(counted(), (1, 1));
}
