//! The vectors: bytes, and what is to become of them.

use std::fmt;

/// One way to be misread.
pub struct Vector {
    pub name: String,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

/// What is to become of a vector.
pub enum Expected {
    /// 400, the connection closed, and nothing whole upstream.
    Refused,
    /// One of both, as long as the upstream is not told a second framing.
    RefusedOrPasses(&'static [&'static str]),
    /// These targets arrive, and nothing else.
    Passes(&'static [&'static str]),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("400 and closed, nothing upstream"),
            Self::RefusedOrPasses(targets) => {
                write!(f, "400 and closed, or upstream sees {} framed once", targets.join(", "))
            }
            Self::Passes(targets) => write!(f, "upstream sees {}", targets.join(", ")),
        }
    }
}

/// Every vector. Whatever is refused hides a second request.
pub fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let mut refused = |name: &str, text: &[u8]| {
        let bytes = [text, HIDDEN.as_bytes()].concat();
        vectors.push(Vector { name: name.to_owned(), bytes, expected: Expected::Refused });
    };
    for (name, text) in LINES {
        refused(name, text.as_bytes());
    }
    for (name, lines) in HEADERS {
        refused(name, format!("GET /public/1 HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n").as_bytes());
    }
    for (name, lines) in BODIES {
        refused(name, format!("POST /public/1 HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n0\r\n\r\n").as_bytes());
    }
    for coding in CODINGS {
        let text = format!("POST /public/1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:{coding}\r\n\r\n0\r\n\r\n");
        refused(&format!("Transfer-Encoding:{coding}"), text.as_bytes());
    }
    for length in LENGTHS {
        let text = format!("POST /public/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length:{length}\r\n\r\n");
        refused(&format!("Content-Length:{length}"), text.as_bytes());
    }
    for chunks in CHUNKS {
        let text = format!("POST /public/1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        refused(&format!("chunks {chunks}"), text.as_bytes());
    }
    for byte in [0x00_u8, 0x01, 0x08, 0x0b, 0x0c, 0x0d, 0x1f, 0x7f] {
        for (place, before, after) in [
            ("a header's value", &b"GET /public/1 HTTP/1.1\r\nHost: a.test\r\nX: a"[..], &b"b\r\n\r\n"[..]),
            ("a header's name", b"GET /public/1 HTTP/1.1\r\nHost: a.test\r\nX", b"Y: a\r\n\r\n"),
            ("a method", b"GE", b"T /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            ("a target", b"GET /public/", b"1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            ("a version", b"GET /public/1 HTTP/1", b".1\r\nHost: a.test\r\n\r\n"),
            ("a host", b"GET /public/1 HTTP/1.1\r\nHost: a.t", b"est\r\n\r\n"),
        ] {
            refused(&format!("byte {byte:#04x} in {place}"), &[before, &[byte], after].concat());
        }
    }
    for (name, text, targets) in PASSING {
        let (name, bytes) = ((*name).to_owned(), text.as_bytes().to_vec());
        vectors.push(Vector { name, bytes, expected: Expected::Passes(targets) });
    }
    for (name, text, targets) in SPELLED {
        let (name, bytes) = ((*name).to_owned(), text.as_bytes().to_vec());
        vectors.push(Vector { name, bytes, expected: Expected::RefusedOrPasses(targets) });
    }
    vectors
}

const HIDDEN: &str = "GET /public/hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Request lines, and whose host it is.
const LINES: &[(&str, &str)] = &[
    ("no Host", "GET /public/1 HTTP/1.1\r\n\r\n"),
    ("no Host in HTTP/1.0", "GET /public/1 HTTP/1.0\r\n\r\n"),
    ("two Hosts, the same", "GET /public/1 HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"),
    ("two Hosts", "GET /public/1 HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
    ("an empty Host", "GET /public/1 HTTP/1.1\r\nHost:\r\n\r\n"),
    ("a list of Hosts", "GET /public/1 HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n"),
    ("a Host with a user", "GET /public/1 HTTP/1.1\r\nHost: b.test@a.test\r\n\r\n"),
    ("a Host with a path", "GET /public/1 HTTP/1.1\r\nHost: a.test/../\r\n\r\n"),
    ("a Host with a query", "GET /public/1 HTTP/1.1\r\nHost: a.test?b\r\n\r\n"),
    ("a Host with a space", "GET /public/1 HTTP/1.1\r\nHost: a.test b.test\r\n\r\n"),
    ("a folded Host", "GET /public/1 HTTP/1.1\r\nHost: a.test\r\n b.test\r\n\r\n"),
    ("a space before Host", "GET /public/1 HTTP/1.1\r\n Host: a.test\r\n\r\n"),
    ("a space after Host", "GET /public/1 HTTP/1.1\r\nHost : a.test\r\n\r\n"),
    ("a target of another host", "GET http://b.test/public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a target of another port", "GET http://a.test:81/public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a target of the default port", "GET http://a.test:80/public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a target with a user", "GET http://x@a.test/public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a whole target and no Host", "GET http://a.test/public/1 HTTP/1.1\r\n\r\n"),
    ("a target of another scheme", "GET ftp://a.test/public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a target that is a name", "GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a target without a slash", "GET public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("GET *", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a target with #", "GET /public/1#/../x HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("an empty target", "GET  HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a lower-case method", "get /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a method in both cases", "Get /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("two spaces", "GET  /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a tab for a space", "GET\t/public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a space at the line's end", "GET /public/1 HTTP/1.1 \r\nHost: a.test\r\n\r\n"),
    ("a space at the line's start", " GET /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("no version", "GET /public/1\r\nHost: a.test\r\n\r\n"),
    ("HTTP/0.9", "GET /public/1 HTTP/0.9\r\nHost: a.test\r\n\r\n"),
    ("HTTP/1.2", "GET /public/1 HTTP/1.2\r\nHost: a.test\r\n\r\n"),
    ("HTTP/2.0", "GET /public/1 HTTP/2.0\r\nHost: a.test\r\n\r\n"),
    ("HTTP/1.10", "GET /public/1 HTTP/1.10\r\nHost: a.test\r\n\r\n"),
    ("HTTP/01.1", "GET /public/1 HTTP/01.1\r\nHost: a.test\r\n\r\n"),
    ("http/1.1", "GET /public/1 http/1.1\r\nHost: a.test\r\n\r\n"),
    ("a bare LF after the request line", "GET /public/1 HTTP/1.1\nHost: a.test\r\n\r\n"),
    ("a bare LF before the request", "\nGET /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ("a bare CR after the request line", "GET /public/1 HTTP/1.1\rHost: a.test\r\n\r\n"),
    ("a folded request line", "GET /public/1\r\n HTTP/1.1\r\nHost: a.test\r\n\r\n"),
];

/// Header lines, without a body.
const HEADERS: &[(&str, &str)] = &[
    ("a bare LF after a header", "X: y\n"),
    ("a bare LF for the empty line", "X: y\r\n\n"),
    ("a bare CR in a header", "X: y\rZ: a\r\n"),
    ("CR CR LF", "X: y\r\r\n"),
    ("a folded header", "X: y\r\n z: a\r\n"),
    ("a header folded by a tab", "X: y\r\n\tz: a\r\n"),
    ("an empty fold", "X: y\r\n \r\n"),
    ("no colon", "X\r\n"),
    ("no name", ": y\r\n"),
    ("a space before the colon", "X : y\r\n"),
    ("a tab before the colon", "X\t: y\r\n"),
    ("a space in a name", "X Y: y\r\n"),
    ("a name with a slash", "X/Y: y\r\n"),
    ("a name with a parenthesis", "X(Y: y\r\n"),
    ("a name that is not ASCII", "X\u{e4}: y\r\n"),
];

/// Where a body ends. `0 CRLF CRLF` follows, and then a request.
const BODIES: &[(&str, &str)] = &[
    ("CL.TE", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("CL 0 and TE", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ("TE twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("TE and another TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"),
    ("another TE and TE", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"),
    ("TE and an empty TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"),
    ("TE identity, TE", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    ("a space before TE's colon", "Transfer-Encoding : chunked\r\n"),
    ("a tab before TE's colon", "Transfer-Encoding\t: chunked\r\n"),
    ("a space before TE", "X: y\r\n Transfer-Encoding: chunked\r\n"),
    ("TE behind a bare LF", "X: y\nTransfer-Encoding: chunked\r\n"),
    ("TE behind a bare CR", "X: y\rTransfer-Encoding: chunked\r\n"),
    ("TE folded", "Transfer-Encoding:\r\n chunked\r\n"),
    ("TE folded in two", "Transfer-Encoding: chun\r\n ked\r\n"),
    ("a space before CL's colon", "Content-Length : 5\r\n"),
    ("CL folded", "Content-Length:\r\n 5\r\n"),
    ("CL twice, the same", "Content-Length: 5\r\nContent-Length: 5\r\n"),
    ("CL twice", "Content-Length: 5\r\nContent-Length: 0\r\n"),
    ("CL twice, the first 0", "Content-Length: 0\r\nContent-Length: 5\r\n"),
    ("CL in two cases", "Content-Length: 5\r\ncontent-length: 6\r\n"),
    ("CL behind a bare LF", "X: y\nContent-Length: 5\r\n"),
    ("a NUL in TE's name", "Transfer-Encod\0ing: chunked\r\n"),
];

/// Values of Transfer-Encoding that some read as chunked, and others don't.
const CODINGS: &[&str] = &[
    "",
    " ",
    " identity",
    " xchunked",
    " chunkedx",
    " chunked, identity",
    " identity, chunked",
    " gzip, chunked",
    " chunked, chunked",
    " chunked,",
    " ,chunked",
    " chunked;",
    " chunked;q=1",
    " \"chunked\"",
    " 'chunked'",
    " \u{b}chunked",
    " \u{c}chunked",
    " chunked\u{b}",
    " chunked\0",
    " chunk\0ed",
    " \0chunked",
    " chun ked",
    " chu\u{212a}ed",
    " x,\tchunked",
];

/// Values of Content-Length that some read as a number, and others don't.
const LENGTHS: &[&str] = &[
    "",
    " ",
    " +5",
    " -5",
    " -0",
    " 5,5",
    " 5, 5",
    " 5 5",
    " 5,",
    " ,5",
    " 5;",
    " 0x5",
    " 5.0",
    " 5e0",
    " 1_0",
    " \"5\"",
    " 5\u{b}",
    " \u{b}5",
    " 5\0",
    " 18446744073709551616",
    " 99999999999999999999999999",
    " \u{0665}",
    " five",
];

/// Chunks that are none.
const CHUNKS: &[&str] = &[
    "fffffffffffffffff\r\nx",
    "ffffffffffffffff\r\nx",
    "10000000000000000\r\nx",
    "-1\r\nx\r\n0\r\n\r\n",
    "+1\r\nx\r\n0\r\n\r\n",
    "0x1\r\nx\r\n0\r\n\r\n",
    "1_0\r\nx\r\n0\r\n\r\n",
    " 1\r\nx\r\n0\r\n\r\n",
    "\t1\r\nx\r\n0\r\n\r\n",
    "1,1\r\nx\r\n0\r\n\r\n",
    "1.\r\nx\r\n0\r\n\r\n",
    "g\r\nx\r\n0\r\n\r\n",
    "\r\n0\r\n\r\n",
    ";a=b\r\n0\r\n\r\n",
    "1\r\nxx\r\n0\r\n\r\n",
    "1\r\nx0\r\n\r\n",
    "1\r\nx\n0\r\n\r\n",
    "1\r\nx\r0\r\n\r\n",
    "1\nx\r\n0\r\n\r\n",
    "1\rx\r\n0\r\n\r\n",
    "1;a\nx\r\n0\r\n\r\n",
    "1;a\rb\r\nx\r\n0\r\n\r\n",
    "1;a\0b\r\nx\r\n0\r\n\r\n",
    "1;a=\"\r\nx\"\r\nx\r\n0\r\n\r\n",
    "1\r\nx\r\n0\n\r\n",
    "1\r\nx\r\n0\r\n\n",
    "1\r\nx\r\n0\r\nX: y\n\r\n",
    "1\r\nx\r\n0\r\nX : y\r\n\r\n",
    "1\r\nx\r\n0\r\nX: y\r\n z\r\n\r\n",
    "1\r\nx\r\n0\r\nX: a\0b\r\n\r\n",
    "1\r\nx\r\n0\r\nX\r\n\r\n",
];

/// What has one reading. Each is framed anew, and leaves the connection in step.
const PASSING: &[(&str, &str, &[&str])] = &[
    ("a plain GET", "GET /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\n", &["/public/1"]),
    ("empty lines before", "\r\n\r\nGET /public/1 HTTP/1.1\r\nhost:a.test\r\n\r\n", &["/public/1"]),
    ("a whole target", "GET http://a.test/public/1?q HTTP/1.1\r\nHost: A.test\r\n\r\n", &["/public/1?q"]),
    (
        "a body that looks like a request",
        "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 51\r\n\r\n\
         GET /public/hidden HTTP/1.1\r\nHost: a.test\r\nX: yyy\r\n\r\n",
        &["/public/1"],
    ),
    ("a GET with a body", "GET /public/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi", &["/public/1"]),
    ("leading zeroes", "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 002\r\n\r\nhi", &["/public/1"]),
    (
        "chunks",
        "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
        &["/public/1"],
    ),
    (
        "a chunk extension",
        "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y;z=\"a\"\r\nx\r\n0;q\r\n\r\n",
        &["/public/1"],
    ),
    (
        "chunk sizes with zeroes",
        "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0001\r\nx\r\n000\r\n\r\n",
        &["/public/1"],
    ),
    (
        "framing in trailers",
        "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: content-length\r\n\r\n\
         1\r\nx\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: identity\r\nHost: b.test\r\n\r\n",
        &["/public/1"],
    ),
    (
        "two requests at once",
        "GET /public/1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /public/2 HTTP/1.1\r\nHost: a.test\r\n\r\n",
        &["/public/1", "/public/2"],
    ),
    (
        "Connection takes the framing away",
        "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nConnection: content-length, host\r\n\r\nhi",
        &["/public/1"],
    ),
];

/// A server that takes `_` or `.` for `-` reads these as framing (CVE-2024-45614).
const SPELLED: &[(&str, &str, &[&str])] = &[
    (
        "framing spelled with _",
        "GET /public/1 HTTP/1.1\r\nHost: a.test\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n",
        &["/public/1"],
    ),
    (
        "framing spelled with .",
        "POST /public/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nContent.Length: 5\r\n\r\nhi",
        &["/public/1"],
    ),
];
