//! What is encoded is decoded again, however it is split; what could be read two ways is not read.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::*;

use super::*;
use crate::secret::Secret;
use crate::sigv4::key;
use crate::web::Body;

fn announced(mode: ChunkMode, length: u64, checksums: &[&str]) -> Announced {
    Announced { mode, length, checksums: checksums.iter().map(|name| Checksum::named(name).unwrap()).collect() }
}

fn chain() -> Chain {
    let key = key::derive(&Secret::new("secret"), "20260528", "eu-west-1", "s3");
    Chain::after(HexDigest::of(b"head"), key.into(), "20260528T000000Z", ["20260528", "/eu-west-1/s3/aws4_request"])
}

/// A body that comes in pieces of these lengths, over and over.
fn pieces(bytes: &[u8], lengths: &[usize]) -> Body {
    let (mut rest, mut frames) = (Bytes::copy_from_slice(bytes), Vec::new());
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        frames.push(Ok::<_, std::io::Error>(http_body::Frame::data(rest.split_to(rest.len().min(*length)))));
    }
    Body::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

async fn all(body: impl http_body::Body<Data = Bytes, Error = crate::web::BoxError>) -> Result<Vec<u8>, ChunkError> {
    let collected = std::pin::pin!(body).collect().await;
    collected.map(|all| all.to_bytes().to_vec()).map_err(|error| *error.downcast::<ChunkError>().unwrap())
}

fn decoded(announced: &Announced, bytes: &[u8], split: usize) -> Result<(Vec<u8>, Vec<Trailer>), ChunkError> {
    let (mut decoder, mut content, mut behind) = (Decoder::new(announced), Vec::new(), Vec::new());
    for piece in bytes.chunks(split) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(piece) = decoder.next(&mut input)? {
            match piece {
                Piece::Data(data) => content.extend_from_slice(&data),
                Piece::End { trailers, .. } => behind = trailers,
                Piece::Chunk { .. } => {}
            }
        }
    }
    decoder.finish().map(|()| (content, behind))
}

/// Content as a client would frame it, in chunks of these lengths.
async fn framed(mode: ChunkMode, content: &[u8], crc: bool) -> (Announced, Vec<u8>) {
    let checksums: &[&str] = if crc { &["x-amz-checksum-crc32"] } else { &[] };
    let to = announced(mode, content.len() as u64, checksums);
    let mut encoder = Encoder::new(&to, mode.is_signed().then(chain));
    let (mut data, mut out) = (Bytes::copy_from_slice(content), Vec::new());
    while let Some(chunk) = encoder.push(&mut data).unwrap() {
        out.extend_from_slice(&chunk);
    }
    let trailers: Vec<_> =
        to.checksums.iter().map(|checksum| Trailer { checksum: *checksum, value: "NhCmhg==".into() }).collect();
    out.extend_from_slice(&encoder.finish(&trailers).unwrap());
    (to, out)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_encoded_is_decoded_again_however_it_is_split(
        length in prop_oneof![0..200_usize, CHUNK - 2..CHUNK + 2, 2 * CHUNK - 1..2 * CHUNK + 2],
        lengths in prop::collection::vec(prop_oneof![1..9_usize, 1..90_000_usize], 1..6),
        mode in prop_oneof![Just(ChunkMode::Unsigned), Just(ChunkMode::Signed), Just(ChunkMode::SignedTrailer)],
    ) {
        let content: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
        let to = announced(mode, length as u64, if mode.has_trailer() { &["x-amz-checksum-crc32c"] } else { &[] });
        run(async {
            let (from, sent) = framed(mode, &content, mode.has_trailer()).await;
            prop_assert_eq!(from.encoded_length(), Some(sent.len() as u64));
            prop_assert_eq!(decoded(&from, &sent, lengths[0]).unwrap().0, content.clone());
            // through a check and framed anew, it is the same again
            let checked = match mode.is_signed() {
                true => Body::boxed(Checked::new(pieces(&sent, &lengths), Check::Chunks(from.clone(), chain()))),
                false => pieces(&sent, &lengths),
            };
            let again = Recoded::new(checked, Some(&from), &from, mode.is_signed().then(chain)).unwrap();
            prop_assert_eq!(http_body::Body::size_hint(&again).exact(), Some(sent.len() as u64));
            prop_assert_eq!(all(again).await.unwrap(), sent);
            // and so is plain content
            let plain = announced(ChunkMode::Signed, length as u64, &[]);
            let made = all(Recoded::new(pieces(&content, &lengths), None, &plain, Some(chain())).unwrap()).await.unwrap();
            prop_assert_eq!(Some(made.len() as u64), plain.encoded_length());
            prop_assert_eq!(decoded(&plain, &made, 7).unwrap().0, content);
            let _ = &to;
            Ok(())
        })?;
    }

    #[test]
    fn a30_no_byte_of_a_signed_body_can_change(at in 0..10_000_usize, bit in 0..8_u32, split in 1..400_usize) {
        run(async {
            let content = vec![7; 1000];
            let (from, mut sent) = framed(ChunkMode::SignedTrailer, &content, true).await;
            let at = at % sent.len();
            sent[at] ^= 1 << bit;
            let found = all(Checked::new(pieces(&sent, &[split]), Check::Chunks(from, chain()))).await;
            // the case of a length's digits and of a trailer's name is all that means nothing
            if let Ok(found) = found {
                prop_assert!(found.eq_ignore_ascii_case(&sent) && sent[at].is_ascii_alphabetic(), "byte {}", at);
            }
            Ok(())
        })?;
    }
}

#[test]
fn bodies_of_clients_are_read() {
    let crc = |mode| announced(mode, 5, &["x-amz-checksum-crc32"]);
    let digest = HexDigest::EMPTY;
    let signature = digest.as_str();
    for (from, body) in [
        (crc(ChunkMode::Unsigned), "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n".to_owned()),
        (crc(ChunkMode::Unsigned), "2\r\nhe\r\n003\r\nllo\r\n0\r\nX-Amz-Checksum-CRC32: NhCmhg==\r\n\r\n".to_owned()),
        // a line of some clients ends twice
        (crc(ChunkMode::Unsigned), "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n\r\n\r\n".to_owned()),
        (announced(ChunkMode::Unsigned, 5, &[]), "5\r\nhello\r\n0\r\n\r\n".to_owned()),
        (
            announced(ChunkMode::Signed, 5, &[]),
            format!("5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\r\n"),
        ),
        (
            crc(ChunkMode::SignedTrailer),
            format!(
                "5;chunk-signature={signature}\r\nhello\r\n0;chunk-signature={signature}\r\n\
                 x-amz-checksum-crc32:NhCmhg==\n\r\nx-amz-trailer-signature:{signature}\r\n\r\n"
            ),
        ),
    ] {
        for split in 1..body.len() {
            let (content, trailers) = decoded(&from, body.as_bytes(), split).unwrap();
            assert_eq!((content.as_slice(), trailers.len()), (&b"hello"[..], from.checksums.len()), "{body}");
        }
    }
}

#[test]
fn a30_what_could_be_read_two_ways_is_not_read() {
    use ChunkError::{Length, Truncated};
    let malformed = |error: &ChunkError| matches!(error, ChunkError::Malformed(_));
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;ext=1\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\n\r\nX",
        "5\r\nhello\r\n0\r\n\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
        "5\r\nhello\r\n0\r\nhost: evil\r\n\r\n",
        "5;chunk-signature=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\nhello\r\n0\r\n\r\n",
    ] {
        for split in [1, 2, 3, 1000] {
            let error = decoded(&announced(ChunkMode::Unsigned, 5, &[]), body.as_bytes(), split).unwrap_err();
            assert!(malformed(&error), "{body:?}: {error}");
        }
    }
    for (body, expected) in [
        ("6\r\nhello!\r\n0\r\n\r\n", Length),
        ("ffffffffffffffff\r\nhello", Length),
        ("4\r\nhell\r\n0\r\n\r\n", Length),
        ("0\r\n\r\n", Length),
        ("5\r\nhello", Truncated),
        ("5\r\nhello\r\n", Truncated),
        ("5\r\nhello\r\n0\r\n", Truncated),
        ("5\r\nhello\r\n0\r\n\r", Truncated),
        ("", Truncated),
    ] {
        let error = decoded(&announced(ChunkMode::Unsigned, 5, &[]), body.as_bytes(), 3).unwrap_err();
        assert_eq!(error, expected, "{body:?}");
    }
    let crc = announced(ChunkMode::Unsigned, 0, &["x-amz-checksum-crc32"]);
    for behind in [
        "",
        "x-amz-checksum-crc32:NhCmhg==\n\r\n",
        "x-amz-checksum-crc32:NhCmhg==\nx-amz-checksum-crc32:NhCmhg==\r\n",
        "x-amz-checksum-crc32:NhCmhg==\r\nx-amz-checksum-crc32:NhCmhg==\r\n",
        "x-amz-checksum-crc32 :NhCmhg==\r\n",
        "x-amz-checksum-crc32:NhCmhg\r\n",
        "x-amz-checksum-crc32:NhCmhgAA\r\n",
        "x-amz-checksum-crc32c:NhCmhg==\r\n",
        "x-amz-trailer-signature:e3b0\r\n",
    ] {
        let (body, bare) = (format!("0\r\n{behind}\r\n"), behind.ends_with("\n\r\n"));
        match decoded(&crc, body.as_bytes(), 5) {
            Ok(_) => assert!(bare, "{behind:?}"),
            Err(error) => assert!(malformed(&error) && !bare, "{behind:?}: {error}"),
        }
    }
}

/// The examples of the S3 API Reference, "Signature calculations", with and without a trailer.
#[test]
fn published_chains_are_ours() {
    let key = key::derive(&Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "20130524", "us-east-1", "s3");
    let key = std::sync::Arc::new(key);
    let begin = |head: &str| {
        let scope = ["20130524", "/us-east-1/s3/aws4_request"];
        Chain::after(head.parse().unwrap(), std::sync::Arc::clone(&key), "20130524T000000Z", scope)
    };
    let chunks = [vec![b'a'; 65536], vec![b'a'; 1024], Vec::new()];
    let mut plain = begin("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
    let mut trailed = begin("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
    for (content, of_plain, of_trailed) in [
        (
            &chunks[0],
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        ),
        (
            &chunks[1],
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        ),
        (
            &chunks[2],
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ),
    ] {
        assert_eq!(plain.chunk(&HexDigest::of(content)).as_str(), of_plain);
        assert_eq!(trailed.chunk(&HexDigest::of(content)).as_str(), of_trailed);
    }
    let crc32c = Trailer { checksum: Checksum::named("x-amz-checksum-crc32c").unwrap(), value: "sOO8/Q==".into() };
    let signature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    assert_eq!(trailed.trailers(&[crc32c]).as_str(), signature);
}

#[test]
fn heads_say_how_or_are_refused() {
    let read = |lines: &[(&'static str, &'static str)]| {
        let lines = lines.iter().map(|(name, value)| (*name, HeaderValue::from_static(value)));
        Announced::read(&lines.map(|(name, value)| (HeaderName::from_static(name), value)).fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        ))
    };
    const MODE: &str = "x-amz-content-sha256";
    const LENGTH: (&str, &str) = ("x-amz-decoded-content-length", "5");
    const UNSIGNED: (&str, &str) = (MODE, "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    assert_eq!(read(&[(MODE, "UNSIGNED-PAYLOAD"), ("content-encoding", "gzip")]), Ok(None));
    let crc = ("x-amz-trailer", "x-amz-checksum-crc32");
    let expected = announced(ChunkMode::Unsigned, 5, &["x-amz-checksum-crc32"]);
    assert_eq!(read(&[UNSIGNED, LENGTH, crc]), Ok(Some(expected)));
    let cases: [&[(&str, &str)]; 16] = [
        &[("content-encoding", "gzip, AWS-chunked")],
        &[("content-encoding", "aws-chunked"), (MODE, "UNSIGNED-PAYLOAD")],
        &[(MODE, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"), LENGTH],
        &[(MODE, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"), LENGTH],
        &[(MODE, "streaming-unsigned-payload-trailer"), LENGTH],
        &[UNSIGNED, (MODE, "UNSIGNED-PAYLOAD"), LENGTH],
        &[(MODE, "UNSIGNED-PAYLOAD"), UNSIGNED, LENGTH],
        &[UNSIGNED],
        &[UNSIGNED, ("x-amz-decoded-content-length", "-5")],
        &[UNSIGNED, ("x-amz-decoded-content-length", "99999999999999999999")],
        &[UNSIGNED, LENGTH, LENGTH],
        &[UNSIGNED, LENGTH, ("x-amz-trailer", "x-amz-checksum-md4")],
        &[UNSIGNED, LENGTH, ("x-amz-trailer", "host")],
        &[UNSIGNED, LENGTH, ("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-crc32")],
        &[(MODE, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"), LENGTH],
        &[(MODE, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), LENGTH, crc],
    ];
    for case in cases {
        assert!(matches!(read(case), Err(ChunkError::Head(_))), "{case:?}");
    }
    assert_eq!(announced(ChunkMode::Signed, u64::MAX, &[]).encoded_length(), None);
}

#[test]
fn the_coding_goes_and_others_stay() {
    for (sent, left) in [("aws-chunked", None), ("gzip,aws-chunked", Some("gzip")), ("gzip, br", Some("gzip, br"))] {
        let mut headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, HeaderValue::from_static(sent))]);
        strip_coding(&mut headers);
        assert_eq!(headers.get("content-encoding").map(|value| value.to_str().unwrap()), left);
    }
}

#[test]
fn a30_a_digest_is_checked_before_the_last_piece_goes_on() {
    run(async {
        for (sent, is_right) in [(&b"hello"[..], true), (b"hellp", false), (b"hell", false), (b"", false)] {
            let check = Check::Digest(HexDigest::of(b"hello"));
            let mut body = Checked::new(pieces(sent, &[2]), check);
            let (mut passed, mut failed) = (0, None);
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => passed += frame.data_ref().unwrap().len(),
                    Err(error) => failed = error.downcast_ref::<ChunkError>().cloned(),
                }
            }
            assert_eq!(failed.is_none(), is_right);
            assert_eq!(passed == sent.len() && !sent.is_empty(), is_right);
        }
    });
}
