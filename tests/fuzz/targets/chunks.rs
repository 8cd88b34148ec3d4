//! Bodies in `aws-chunked`: the same is read of them however they are split, and what was read comes back (A30).

use bytes::Bytes;
use claviger::sigv4::chunked::{Announced, Checksum, ChunkMode, Decoder, Encoder, Piece, Trailer};

/// The first byte says what the head announced, the second how the body is split.
pub fn run(data: &[u8]) {
    let [mode, split, body @ ..] = data else { return };
    let announced = Announced {
        mode: [ChunkMode::Unsigned, ChunkMode::Signed, ChunkMode::SignedTrailer][usize::from(mode % 3)],
        length: u64::from(mode / 3),
        checksums: match mode % 3 {
            1 => Vec::new(),
            _ => Checksum::named("x-amz-checksum-crc32").into_iter().collect(),
        },
    };
    let whole = decode(&announced, body, usize::MAX);
    let split = decode(&announced, body, usize::from(*split).max(1));
    assert_eq!(whole, split, "read in one piece, and in several");
    let Some((content, trailers)) = whole else { return };
    assert_eq!(content.len() as u64, announced.length);
    assert_eq!(trailers.len(), announced.checksums.len());

    let again = Announced { mode: ChunkMode::Unsigned, ..announced };
    let mut encoder = Encoder::new(&again, None);
    let (mut data, mut out) = (Bytes::from(content.clone()), Vec::new());
    while let Some(chunk) = encoder.push(&mut data).expect("as long as announced") {
        out.extend_from_slice(&chunk);
    }
    out.extend_from_slice(&encoder.finish(&trailers).expect("as long as announced"));
    assert_eq!(Some(out.len() as u64), again.encoded_length());
    assert_eq!(decode(&again, &out, usize::MAX), Some((content, trailers)));
}

fn decode(announced: &Announced, body: &[u8], split: usize) -> Option<(Vec<u8>, Vec<Trailer>)> {
    let (mut decoder, mut content, mut behind) = (Decoder::new(announced), Vec::new(), Vec::new());
    for piece in body.chunks(split) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(piece) = decoder.next(&mut input).ok()? {
            match piece {
                Piece::Data(data) => content.extend_from_slice(&data),
                Piece::Chunk { signature, .. } => assert_eq!(signature.is_some(), announced.mode.is_signed()),
                Piece::End { trailers, signature } => {
                    assert_eq!(signature.is_some(), announced.mode == ChunkMode::SignedTrailer);
                    behind = trailers;
                }
            }
        }
    }
    decoder.finish().ok().map(|()| (content, behind))
}

pub fn seeds() -> Vec<Vec<u8>> {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let crc = "x-amz-checksum-crc32:NhCmhg==";
    let bodies = [
        (15, format!("5\r\nhello\r\n0\r\n{crc}\r\n\r\n")),
        (15, format!("2\r\nhe\r\n3\r\nllo\r\n0\r\n{crc}\n\r\n\r\n")),
        (16, format!("5;chunk-signature={digest}\r\nhello\r\n0;chunk-signature={digest}\r\n\r\n")),
        (
            17,
            format!(
                "5;chunk-signature={digest}\r\nhello\r\n0;chunk-signature={digest}\r\n{crc}\r\n\
                 x-amz-trailer-signature:{digest}\r\n\r\n"
            ),
        ),
        (0, format!("0\r\n{crc}\r\n\r\n")),
    ];
    bodies.into_iter().map(|(mode, body)| [&[mode, 3], body.as_bytes()].concat()).collect()
}
