//! A30: signatures that could be somebody else's, or be read in two ways.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use claviger::clock::{Clock as _, SystemClock};
use claviger::sigv4::chunked::ChunkMode;
use claviger::sigv4::{HexDigest, Payload};
use http::{HeaderValue, Method, request};

use super::{Key, S3, Sent, head, send_signed, world};
use crate::support::client;
use crate::support::world::World;

/// A GET that was presigned a minute before it ends, or so long after, by another implementation than ours.
pub(super) fn presign(world: &World, key: &Key, ends_in: u64) -> request::Parts {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(ends_in));
    let token = key.token.to_str().unwrap().to_owned();
    let identity = Credentials::from_keys(&key.id, key.secret.expose(), Some(token)).into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("s3")
        .time(SystemClock.now() - Duration::from_secs(30))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("http://{}/bucket/key?x-id=GetObject", world.at);
    let signable = SignableRequest::new("GET", &uri, std::iter::empty(), SignableBody::UnsignedPayload).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = http::Request::get(uri).body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    let target = request.uri().path_and_query().unwrap().to_string();
    head(world.at, Method::GET, &target, &[])
}

#[tokio::test]
async fn a30_forged_signatures_are_403_in_every_mode() {
    let world = world().await;
    let key = Key::of(&world, "app").await;
    let before = world.upstream.seen().len();
    for payload in [
        Payload::of(b"hello"),
        Payload::Unsigned,
        Payload::Chunked(ChunkMode::Unsigned),
        Payload::Chunked(ChunkMode::Signed),
        Payload::Chunked(ChunkMode::SignedTrailer),
    ] {
        let lines = [("x-amz-decoded-content-length", "5"), ("x-amz-trailer", "x-amz-checksum-crc32")];
        let mut parts = head(world.at, Method::PUT, "/bucket/key", &lines);
        key.sign(&mut parts, &payload, S3);
        let line = parts.headers["authorization"].to_str().unwrap().to_owned();
        let at = line.rfind('=').unwrap() + 1;
        let forged = format!("{}{}", &line[..at], HexDigest::EMPTY.as_str());
        parts.headers.insert("authorization", forged.parse().unwrap());
        let answer = send_signed(&world, parts, "hello").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]),
            (403, &"invalid_signature".into()),
            "{payload:?}"
        );
    }
    assert_eq!(world.upstream.seen().len(), before);
}

#[tokio::test]
async fn a30_signatures_count_in_one_place_at_one_time_for_one_thing() {
    type Change = fn(&mut request::Parts);
    fn add(parts: &mut request::Parts, name: &'static str, value: &'static str) {
        parts.headers.append(name, HeaderValue::from_static(value));
    }
    let world = world().await;
    let key = Key::of(&world, "app").await;
    let before = world.upstream.seen().len();
    let signed = |sent: Sent<'_>| {
        let mut parts = head(world.at, Method::PUT, "/bucket/key?a=1", &[("x-amz-acl", "private")]);
        key.sign(&mut parts, &Payload::of(b"hello"), sent);
        parts
    };
    for (late, status) in [(0, 200), (280, 200), (-280, 200), (320, 403), (-320, 403)] {
        assert_eq!(send_signed(&world, signed(Sent { late, ..S3 }), "hello").await.status, status, "{late} s");
    }
    for sent in [Sent { region: "us-east-1", ..S3 }, Sent { service: "s3-outposts", ..S3 }] {
        let answer = send_signed(&world, signed(sent), "hello").await;
        assert!([400, 403].contains(&answer.status.as_u16()), "{}", answer.text());
    }
    let answer = send_signed(&world, signed(Sent { region: "us-east-1", ..S3 }), "hello").await;
    assert!(answer.text().contains("eu-west-1"), "it says which region: {}", answer.text());
    let changes: [(&str, Change); 9] = [
        ("a header that is not signed", |p| drop(p.headers.insert("x-amz-tagging", HeaderValue::from_static("a=b")))),
        ("another value", |p| drop(p.headers.insert("x-amz-acl", HeaderValue::from_static("public-read")))),
        ("one value more", |p| add(p, "x-amz-acl", "public-read")),
        ("another Authorization", |p| add(p, "authorization", "Bearer x")),
        ("another date", |p| add(p, "x-amz-date", "20260101T000000Z")),
        ("another method", |p| p.method = Method::DELETE),
        ("another query", |p| p.uri = "/bucket/key?a=2".parse().unwrap()),
        ("another path", |p| p.uri = "/bucket/keys?a=1".parse().unwrap()),
        ("a second signature in the query", |p| p.uri = "/bucket/key?a=1&X-Amz-Signature=00".parse().unwrap()),
    ];
    for (name, change) in changes {
        let mut parts = signed(S3);
        change(&mut parts);
        assert_eq!(send_signed(&world, parts, "hello").await.status, 403, "{name}");
    }
    // as is the host: whoever overhears it can't use it elsewhere
    let mut parts = signed(S3);
    parts.headers.insert("host", HeaderValue::from_static("elsewhere.test"));
    assert_eq!(send_signed(&world, parts, "hello").await.status, 403);
    assert_eq!(world.upstream.seen().len(), before + 3);
}

#[tokio::test]
async fn a30_only_keys_that_we_have_issued_for_this_count() {
    let world = world().await;
    let before = world.upstream.seen().len();
    let status = async |key: &Key| {
        let mut parts = head(world.at, Method::GET, "/bucket/key", &[]);
        key.sign(&mut parts, &Payload::of(b""), S3);
        send_signed(&world, parts, "").await.status.as_u16()
    };
    let key = Key::of(&world, "app").await;
    assert_eq!(status(&key).await, 200);
    assert_eq!(status(&Key::of(&world, "other").await).await, 403, "another endpoint's");
    assert_eq!(status(&Key::of(&world, "real").await).await, 403, "AWS's own");
    // who asks again is handed the same key as long as it is good
    let another = Key::of(&world, "other").await;
    assert_eq!(status(&Key { token: another.token.clone(), ..clone(&key) }).await, 403, "another key's token");
    assert_eq!(status(&Key { secret: another.secret.clone(), ..clone(&key) }).await, 403, "another key's secret");
    let mut token = key.token.to_str().unwrap().to_owned();
    token.replace_range(40..41, if &token[40..41] == "A" { "B" } else { "A" });
    assert_eq!(status(&Key { token: token.parse().unwrap(), ..clone(&key) }).await, 403, "a token that was changed");
    assert_eq!(client::send(world.at, Method::GET, "/bucket/key", &client::headers(&[]), "").await.status, 401);
    assert_eq!(world.upstream.seen().len(), before + 1);

    // a route that does not count on them takes no notice, and drops them (A29)
    let mut parts = head(world.at, Method::GET, "/people/x", &[]);
    key.sign(&mut parts, &Payload::of(b""), S3);
    assert_eq!(send_signed(&world, parts, "").await.status, 401);

    // they are nobody's when the workload is another
    std::fs::write(world.file("workload.jwt"), "").unwrap();
    assert_eq!(status(&key).await, 503);
    assert_eq!(world.upstream.seen().len(), before + 1);
}

#[tokio::test]
async fn a30_presigned_urls_end() {
    let world = world().await;
    let key = Key::of(&world, "app").await;
    assert_eq!(send_signed(&world, presign(&world, &key, 60), "").await.status, 200);
    let before = world.upstream.seen().len();
    assert_eq!(send_signed(&world, presign(&world, &key, 20), "").await.status, 403, "it ended ten seconds ago");
    let mut parts = presign(&world, &key, 60);
    parts.uri = parts.uri.to_string().replace("X-Amz-Expires=60", "X-Amz-Expires=600").parse().unwrap();
    assert_eq!(send_signed(&world, parts, "").await.status, 403);
    let mut parts = presign(&world, &key, 60);
    parts.uri = parts.uri.to_string().replace("X-Amz-Signature", "x-amz-signature").parse().unwrap();
    assert_eq!(send_signed(&world, parts, "").await.status, 403);
    assert_eq!(world.upstream.seen().len(), before);
}

fn clone(key: &Key) -> Key {
    Key { id: key.id.clone(), secret: key.secret.clone(), token: key.token.clone() }
}
