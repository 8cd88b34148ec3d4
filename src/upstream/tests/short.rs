//! Answers that may have come whole with their head.

use tokio::sync::Notify;

use super::*;

#[tokio::test]
async fn what_is_short_and_has_come_whole_holds_no_connection() {
    let behind = Behind::answering(OK).await;
    let upstream = behind.upstream();
    let unread: Vec<_> = [upstream.send(get("/")).await.unwrap(), upstream.send(get("/")).await.unwrap()].into();
    assert_eq!(behind.connections(), 1);
    for response in unread {
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(2));
        assert_eq!(text(response).await, "ok");
    }
}

#[tokio::test]
async fn what_is_short_may_come_in_pieces_or_not_at_all() {
    for (pieces, read) in [
        (&["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n", "abcdef"][..], Some("abcdef")),
        (&["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nab", "cd", "ef"], Some("abcdef")),
        (&["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nab", "cd"], None),
        (&["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"], None),
    ] {
        let (gate, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (reached, next) = (Arc::clone(&gate), Arc::clone(&go));
        let behind = Behind::new(move |_, mut stream| {
            let (reached, next) = (Arc::clone(&reached), Arc::clone(&next));
            async move {
                head(&mut stream).await;
                for (at, piece) in pieces.iter().enumerate() {
                    if at > 0 {
                        next.notified().await;
                    }
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    reached.notify_one();
                }
            }
        })
        .await;
        let response = behind.upstream().send(get("/")).await.unwrap();
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(6), "{pieces:?}");
        assert!(!http_body::Body::is_end_stream(response.body()));
        let reading = tokio::spawn(response.into_body().collect(9));
        for _ in pieces {
            gate.notified().await;
            go.notify_one();
        }
        let seen = reading.await.unwrap().ok();
        assert_eq!(seen.as_deref(), read.map(str::as_bytes), "{pieces:?}");
    }
}
