//! `aws-chunked` bodies without chunk signatures: sizes in hex, data, and checksum trailers at the end.

use bytes::{Bytes, BytesMut};

/// The body is not `aws-chunked` as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the body is not aws-chunked")]
pub(super) struct NotChunked;

/// The content of an `aws-chunked` body. The trailers are checksums of the content for who wants them; the transport
/// below has checked it already.
pub(super) fn decode(body: &[u8]) -> Result<Bytes, NotChunked> {
    let (mut content, mut rest) = (BytesMut::with_capacity(body.len()), body);
    loop {
        let (line, after) = split_line(rest)?;
        let size = std::str::from_utf8(line).map_err(|_| NotChunked)?;
        if size.is_empty() || size.len() > 8 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NotChunked);
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| NotChunked)?;
        if size == 0 {
            return trailers(after).map(|()| content.freeze());
        }
        let (data, after) = after.split_at_checked(size).ok_or(NotChunked)?;
        content.extend_from_slice(data);
        rest = after.strip_prefix(b"\r\n").ok_or(NotChunked)?;
    }
}

/// Lines of names and values, then nothing: what comes after the end is another message.
fn trailers(mut rest: &[u8]) -> Result<(), NotChunked> {
    while !rest.is_empty() {
        let (line, after) = split_line(rest)?;
        match line {
            [] if after.is_empty() => return Ok(()),
            [] => return Err(NotChunked),
            line if line.contains(&b':') => rest = after,
            _ => return Err(NotChunked),
        }
    }
    Ok(())
}

fn split_line(text: &[u8]) -> Result<(&[u8], &[u8]), NotChunked> {
    let end = text.windows(2).position(|pair| pair == b"\r\n").ok_or(NotChunked)?;
    let (line, rest) = text.split_at(end);
    Ok((line, rest.strip_prefix(b"\r\n").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_and_trailers_read_past() {
        let body = b"5\r\nhello\r\nA\r\n, my world\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n";
        assert_eq!(decode(body).unwrap(), "hello, my world");
        assert_eq!(decode(b"0\r\n\r\n").unwrap(), "");
        assert_eq!(decode(b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n").unwrap(), "");
    }

    #[test]
    fn anything_else_is_refused() {
        for body in [
            &b""[..],
            b"hello",
            b"5\r\nhello",
            b"5\r\nhell\r\n0\r\n\r\n",
            b"6\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"5;chunk-signature=0\r\nhello\r\n0\r\n\r\n",
            b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            b"0\r\n\r\nGET / HTTP/1.1\r\n",
            b"0\r\nno trailer\r\n",
        ] {
            assert_eq!(decode(body), Err(NotChunked), "{}", String::from_utf8_lossy(body));
        }
    }
}
