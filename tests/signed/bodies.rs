//! Bodies: what was signed arrives, signed anew; what was changed never arrives whole, and nobody hears of a success.

use bytes::Bytes;
use claviger::clock::{Clock as _, SystemClock};
use claviger::secret::Secret;
use claviger::sigv4::chunked::{Announced, Check, Checked, Checksum, ChunkMode, Decoder, Encoder, Piece, Trailer};
use claviger::sigv4::{Payload, Presented, Reading};
use claviger::web::Body;
use http::{Method, StatusCode, request};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Key, ROUTES, S3, Sent, head, send_signed, world, world_of};
use crate::support::upstream::Seen;
use crate::support::wire::Wire;
use crate::support::world::World;

/// Content and its framing, as a client sends it.
struct Upload {
    parts: request::Parts,
    body: Vec<u8>,
}

impl Upload {
    fn plain(world: &World, key: &Key, content: &[u8], payload: &Payload) -> Self {
        let mut parts = head(world.at, Method::PUT, "/bucket//a%20key", &[("x-amz-meta-colour", "blue")]);
        key.sign(&mut parts, payload, S3);
        Self { parts, body: content.to_vec() }
    }

    fn chunked(world: &World, key: &Key, content: &[u8], mode: ChunkMode) -> Self {
        let checksums: Vec<_> = match mode.has_trailer() {
            true => Checksum::named("x-amz-checksum-crc32").into_iter().collect(),
            false => Vec::new(),
        };
        let announced = Announced { mode, length: content.len() as u64, checksums };
        let length = content.len().to_string();
        let mut lines = vec![("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", &*length)];
        lines.extend(mode.has_trailer().then_some(("x-amz-trailer", "x-amz-checksum-crc32")));
        let mut parts = head(world.at, Method::PUT, "/bucket/chunks", &lines);
        let chain = key.sign(&mut parts, &Payload::Chunked(mode), S3);
        let mut encoder = Encoder::new(&announced, chain);
        let (mut data, mut body) = (Bytes::copy_from_slice(content), Vec::new());
        while let Some(chunk) = encoder.push(&mut data).unwrap() {
            body.extend_from_slice(&chunk);
        }
        let trailer = |checksum: &Checksum| Trailer { checksum: *checksum, value: "NhCmhg==".into() };
        let trailers: Vec<_> = announced.checksums.iter().map(trailer).collect();
        body.extend_from_slice(&encoder.finish(&trailers).unwrap());
        Self { parts, body }
    }

    /// In every way that a client may sign one.
    fn each(world: &World, key: &Key, content: &[u8]) -> Vec<Self> {
        let mut all = vec![
            Self::plain(world, key, content, &Payload::of(content)),
            Self::chunked(world, key, content, ChunkMode::Signed),
            Self::chunked(world, key, content, ChunkMode::SignedTrailer),
        ];
        all.reverse();
        all
    }
}

/// The content that the upstream got; every signature is right by the keys that STS gave.
async fn received(world: &World, seen: &Seen) -> Vec<u8> {
    let told = format!("{} {:?}", seen.target, seen.headers);
    assert!(!told.contains("CLVG"), "nothing of our own key is left: {told}");
    let mut request = http::Request::new(());
    *request.method_mut() = seen.method.clone();
    *request.uri_mut() = seen.target.parse().unwrap();
    *request.headers_mut() = seen.headers.clone();
    let parts = request.into_parts().0;
    let service = "s3".parse().unwrap();
    let reading =
        Reading { service: Some(&service), body: None, skew: std::time::Duration::from_secs(60), signed_chunks: true };
    let presented = Presented::read_as(&parts, &reading, SystemClock.now()).unwrap();
    let secret = real_secret(world, presented.access_key_id());
    presented.verify(&secret).unwrap();
    let Some(announced) = Announced::read(&parts.headers).unwrap() else { return seen.body.clone() };
    assert_eq!(seen.all("content-length"), [announced.encoded_length().unwrap().to_string()]);
    if announced.mode.is_signed() {
        let check = Check::Chunks(announced.clone(), presented.chain(&secret));
        Checked::new(Body::full(seen.body.clone()), check).collect().await.expect("each chunk has its signature");
    }
    let (mut decoder, mut input, mut content) = (Decoder::new(&announced), Bytes::from(seen.body.clone()), Vec::new());
    while let Some(piece) = decoder.next(&mut input).unwrap() {
        if let Piece::Data(data) = piece {
            content.extend_from_slice(&data);
        }
    }
    decoder.finish().unwrap();
    content
}

fn real_secret(world: &World, access_key_id: &str) -> Secret {
    let said = world.sts_tap.said();
    let said = said.iter().find(|said| said.answered.contains(access_key_id)).expect("STS gave this key");
    let (_, rest) = said.answered.split_once("<SecretAccessKey>").unwrap();
    Secret::new(rest.split('<').next().unwrap())
}

#[tokio::test]
async fn what_was_signed_with_our_key_arrives_signed_with_the_real_one() {
    let world = world().await;
    let key = Key::of(&world, "app").await;
    assert!(key.id.starts_with("CLVG"));
    for content in [b"".as_slice(), b"hello", &[7; 40_000], &[9; 200_001]] {
        let unsigned = [
            Upload::plain(&world, &key, content, &Payload::Unsigned),
            Upload::chunked(&world, &key, content, ChunkMode::Unsigned),
        ];
        for Upload { parts, body } in Upload::each(&world, &key, content).into_iter().chain(unsigned) {
            let mode = parts.headers["x-amz-content-sha256"].clone();
            let answer = send_signed(&world, parts, body).await;
            assert_eq!(answer.status, 200, "{mode:?}: {}", answer.text());
            let seen = world.upstream.last();
            assert_eq!(received(&world, &seen).await, content, "{mode:?} of {}", content.len());
            let (sent, kept) = (mode.to_str().unwrap(), seen.all("x-amz-content-sha256"));
            // what the client has signed is signed
            assert!(sent == "UNSIGNED-PAYLOAD" || kept == [sent], "{sent}: {kept:?}");
        }
    }
    let trailed = Upload::chunked(&world, &key, b"hello", ChunkMode::SignedTrailer);
    assert_eq!(send_signed(&world, trailed.parts, trailed.body).await.status, 200);
    let text = String::from_utf8(world.upstream.last().body).unwrap();
    assert!(text.contains("x-amz-checksum-crc32:NhCmhg=="), "checksums are kept: {text}");
}

#[tokio::test]
async fn other_services_get_digests_and_presigned_urls_are_signed_anew() {
    let world = world().await;
    let key = Key::of(&world, "app").await;
    let api = Sent { service: "execute-api", ..S3 };
    for body in ["", "hello"] {
        let mut parts = head(world.at, Method::POST, "/api/items", &[("x-amz-target", "Service.Call")]);
        key.sign(&mut parts, &Payload::of(body.as_bytes()), api);
        let answer = send_signed(&world, parts, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = world.upstream.last();
        assert_eq!(seen.body, body.as_bytes());
        let caller = world.signer(&seen, "execute-api").await;
        assert_eq!(caller["subject"], "sub-alice");
        // A30: another body, and one that is too large to be looked at
        let mut parts = head(world.at, Method::POST, "/api/items", &[]);
        key.sign(&mut parts, &Payload::of(body.as_bytes()), api);
        assert_eq!(send_signed(&world, parts.clone(), "hellp").await.status, 403);
        assert_eq!(send_signed(&world, parts, vec![0; 70_000]).await.status, 413);
    }
    let before = world.upstream.seen().len();
    let parts = presigned(&world, &key, 60);
    let answer = send_signed(&world, parts.clone(), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = world.upstream.last();
    assert_eq!(seen.target, "/bucket/key?x-id=GetObject", "nothing of the client's signature goes on");
    received(&world, &seen).await;
    assert_eq!(world.upstream.seen().len(), before + 1);
}

/// A URL that was presigned with our key so many seconds before it ends.
fn presigned(world: &World, key: &Key, ends_in: u64) -> request::Parts {
    super::forged::presign(world, key, ends_in)
}

/// A30: a tampered body is never acknowledged, and whoever stores it sees it cut.
#[tokio::test]
async fn a30_a_tampered_body_is_cut_and_never_acknowledged() {
    let world = world().await;
    let key = Key::of(&world, "app").await;
    for content in [&b"hello"[..], &[7; 200_000]] {
        for at in [0, content.len() / 2, content.len() - 1] {
            for Upload { parts, mut body } in Upload::each(&world, &key, content) {
                let mode = parts.headers["x-amz-content-sha256"].clone();
                // a byte of the content, wherever the framing has put it
                let first = body.iter().position(|byte| *byte == content[0]).unwrap();
                let at = body.iter().enumerate().skip(first + at).find(|(_, byte)| content.contains(byte)).unwrap().0;
                body[at] = b'~';
                let answer = send_signed(&world, parts, body).await;
                assert!([400, 403].contains(&answer.status.as_u16()), "{mode:?} {at}: {}", answer.text());
                assert!(["body_not_signed", "body_malformed"].contains(&answer.json()["error"].as_str().unwrap()));
            }
        }
        for Upload { parts, body } in Upload::each(&world, &key, content) {
            // a chunk too few, and something behind the last
            for body in [body[..body.len() - 3].to_vec(), [body.as_slice(), b"0\r\n\r\n"].concat()] {
                let answer = send_signed(&world, parts.clone(), body).await;
                assert!([400, 403].contains(&answer.status.as_u16()), "{}", answer.text());
            }
        }
    }
    for Upload { parts, .. } in Upload::each(&world, &key, b"hello") {
        assert!([400, 403].contains(&send_signed(&world, parts, "").await.status.as_u16()), "nothing in its place");
    }
    let whole = Upload::plain(&world, &key, b"hello", &Payload::of(b"hello"));
    assert_eq!(send_signed(&world, whole.parts, whole.body).await.status, 200);
    let whole = world.upstream.seen().iter().filter(|seen| seen.method == Method::PUT && !seen.broken).count();
    assert_eq!(whole, 1, "of all others the upstream has seen a part at most");
}

/// A30: an upstream that reports a success before it has all is not believed.
#[tokio::test]
async fn a30_a_hasty_upstream_acknowledges_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let hasty = tokio::spawn(async move {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            tokio::spawn(async move {
                let mut buffer = vec![0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    // as soon as there is a head
                    if buffer[..count].windows(4).any(|end| end == b"\r\n\r\n") {
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                    }
                }
            });
        }
    });
    let world = world_of(&ROUTES.replace("{upstream}", &format!("http://{at}"))).await;
    let key = Key::of(&world, "app").await;
    let content = vec![7; 200_000];
    let Upload { parts, body } = Upload::plain(&world, &key, &content, &Payload::of(&content));
    let mut wire = Wire::to(world.at).await;
    let mut lines = format!("PUT {} HTTP/1.1\r\nContent-Length: {}\r\n", parts.uri, body.len());
    for (name, value) in &parts.headers {
        lines.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
    }
    wire.send(format!("{lines}\r\n")).await;
    wire.send(&body[..100_000]).await;
    let answer = wire.head().await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {}", StatusCode::BAD_GATEWAY.as_u16())), "{answer}");
    hasty.abort();
}
