//! Garbage on any port is never more than a closed connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::plan;
use crate::support::wire::Wire;

/// Bytes of many kinds, the same each time.
fn pieces() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for length in [1, 2, 9, 24, 100, 1_500, 20_000, 200_000] {
        pieces.push((0..length).map(|_| random.u8(..)).collect());
        pieces.push((0..length).map(|_| random.u8(b' '..=b'~')).collect());
        pieces.push(vec![0; length]);
        pieces.push(vec![0xff; length]);
        pieces.push("\r\n".repeat(length).into());
    }
    // what begins well: HTTP/1, HTTP/2's preface, a ClientHello, and what other protocols say first
    let beginnings: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x16\x03\x03\xff\xff",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    ];
    for beginning in beginnings {
        for length in [0, 7, 3_000] {
            pieces.push(beginning.iter().copied().chain((0..length).map(|_| random.u8(..))).collect());
        }
    }
    pieces
}

/// Sends it and says that no more comes; everything that is answered until the other side closes.
async fn answer(at: SocketAddr, piece: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let _: Result<_, _> = stream.write_all(piece).await; // it may be closed before all is sent
    let _: Result<_, _> = stream.shutdown().await;
    let mut answer = Vec::new();
    let _: Result<_, _> = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn garbage_is_never_more_than_a_closed_connection() {
    let world = plan(
        "[provider]\naddress = \"127.0.0.1:0\"\nissuer = \"http://127.0.0.1:1\"\nusers = \"users.toml\"\n\
         [authority]\naddress = \"127.0.0.1:0\"\naccount = \"123456789012\"\nregion = \"eu-west-1\"\n\
         [limits]\nhead = \"1s\"\nfirst_byte = \"1s\"\nhandshake = \"1s\"\nbody = \"1s\"\nidle = \"1s\"\n",
    )
    .secure()
    .file("users.toml", "")
    .start()
    .await;
    for name in ["main", "secure", "admin", "provider", "authority"] {
        let at = world.claviger.address(name).await;
        for piece in pieces() {
            answer(at, &piece).await;
        }
    }
    // nobody has panicked, and everybody is served
    let panicked = |line: &String| line.contains("panicked");
    assert!(!world.claviger.log().iter().any(panicked), "{:?}", world.claviger.log().iter().find(|l| panicked(l)));
    assert!(Wire::to(world.at).await.ask("/").await.starts_with("HTTP/1.1 200"));
    assert_eq!(world.admin("/livez").await.status, 200);
    assert!(world.upstream.seen().iter().all(|seen| seen.target == "/"));
}
