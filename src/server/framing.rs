//! Where each HTTP/1 request begins and ends in a connection's bytes, and that there is only one way to read them (A3).
//!
//! hyper reads leniently where others don't: a `Content-Length` beside `Transfer-Encoding` is dropped, a bare LF ends a
//! line, a `#` cuts the target short. None of it can be seen in the request it makes. So this reads along, refuses what
//! has two readings, and thereby agrees with hyper about the rest.

use memchr::memchr;

use super::limits::Limits;

/// Follows one connection's bytes: a pure reader, which does no I/O and keeps no more than one line.
#[derive(Debug)]
pub struct Framing {
    place: Place,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    head: Head,
    /// Heads that have begun.
    heads: u32,
    /// hyper refuses longer heads by itself; this bounds what is kept of a line without an end.
    longest_line: usize,
}

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Place {
    /// Between two requests.
    #[default]
    Between,
    /// In a request's first line.
    RequestLine,
    /// In its header lines.
    Head,
    /// In a body of which so many bytes are to come.
    Body(u64),
    /// In a chunk's size.
    ChunkSize,
    /// In a chunk, its CRLF included, of which so many bytes are to come.
    Chunk(u64),
    /// In the lines after the last chunk.
    Trailers,
    /// After a request that asks for another protocol: what comes next depends on the answer.
    Undecided,
}

/// What to do with the bytes that were followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Followed {
    /// Pass them on.
    All,
    /// Pass on so many; the rest is [`Place::Undecided`].
    Until(usize),
    /// The byte at this place makes them ambiguous.
    Refused(usize),
}

/// What of a head decides where its body ends.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Framing {
    /// At a connection's beginning. Heads are of so many bytes at the most.
    pub fn new(head_bytes: usize) -> Self {
        Self {
            place: Place::default(),
            partial: Vec::new(),
            head: Head::default(),
            heads: 0,
            longest_line: head_bytes.saturating_mul(2),
        }
    }

    /// Where the next byte belongs.
    pub fn place(&self) -> Place {
        self.place
    }

    /// How many heads have begun.
    pub fn heads(&self) -> u32 {
        self.heads
    }

    /// The answer was none of another protocol: what comes is the next request.
    pub fn decide(&mut self) {
        if self.place == Place::Undecided {
            self.place = Place::Between;
        }
    }

    /// Reads on.
    pub fn follow(&mut self, bytes: &[u8]) -> Followed {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.place {
                Place::Undecided => return Followed::Until(at),
                Place::Body(left) | Place::Chunk(left) => self.skip(left, rest.len()),
                Place::Between | Place::RequestLine | Place::Head | Place::ChunkSize | Place::Trailers => {
                    match self.read_line(rest) {
                        Ok(length) => length,
                        Err(Ambiguous) => return Followed::Refused(at + memchr(b'\n', rest).unwrap_or(rest.len() - 1)),
                    }
                }
            };
        }
        Followed::All
    }

    fn skip(&mut self, left: u64, available: usize) -> usize {
        let step = usize::try_from(left).map_or(available, |left| left.min(available));
        let left = left - step as u64;
        self.place = match self.place {
            Place::Body(_) if left > 0 => Place::Body(left),
            Place::Chunk(_) if left > 0 => Place::Chunk(left),
            Place::Chunk(_) => Place::ChunkSize,
            _ => self.after(),
        };
        step
    }

    /// How much of `rest` belongs to its first line.
    fn read_line(&mut self, rest: &[u8]) -> Result<usize, Ambiguous> {
        let Some((line, _)) = memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end + 1)) else {
            if self.place == Place::Between && rest != b"\r" {
                self.begin();
            }
            if self.partial.len() + rest.len() > self.longest_line {
                return Err(Ambiguous);
            }
            self.partial.extend_from_slice(rest);
            return Ok(rest.len());
        };
        if self.partial.is_empty() {
            self.line(line)?;
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(line);
            self.line(&whole)?;
        }
        Ok(line.len())
    }

    /// One line with its end.
    fn line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        // RFC 9112 §2.2 lets a recipient take a bare LF for a line's end; not every recipient does
        let line = line.strip_suffix(b"\r\n").ok_or(Ambiguous)?;
        match (self.place, line) {
            // RFC 9112 §2.2: empty lines before a request are ignored
            (Place::Between, b"") => {}
            (Place::Between, line) => {
                self.begin();
                self.request_line(line)?;
            }
            (Place::RequestLine, line) => self.request_line(line)?,
            (Place::Head, b"") => self.begin_body(),
            (Place::Head, line) => self.head.field(line)?,
            (Place::ChunkSize, line) => {
                self.place = match chunk_size(line)? {
                    0 => Place::Trailers,
                    size => Place::Chunk(size.checked_add(2).ok_or(Ambiguous)?),
                };
            }
            (Place::Trailers, b"") => self.place = self.after(),
            (Place::Trailers | Place::Body(_) | Place::Chunk(_) | Place::Undecided, _) => {}
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.place = Place::RequestLine;
        self.heads = self.heads.wrapping_add(1);
        self.head = Head::default();
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        // hyper cuts the target there: what was decided on and what was meant would differ (CVE-2026-41059)
        if memchr(b'#', line).is_some() {
            return Err(Ambiguous);
        }
        self.place = Place::Head;
        Ok(())
    }

    fn begin_body(&mut self) {
        match self.head {
            Head { chunked: true, .. } => self.place = Place::ChunkSize,
            Head { length: Some(length @ 1..), .. } => self.place = Place::Body(length),
            Head { .. } => self.place = self.after(),
        }
    }

    /// Where a request's end leads.
    fn after(&self) -> Place {
        if self.head.upgrade { Place::Undecided } else { Place::Between }
    }
}

impl Head {
    /// One header line. Whatever else is wrong with it, hyper sees as well.
    fn field(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        // most lines are decided by their first letter
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => {
                if let Some(value) = value_of(line, b"content-length:") {
                    // RFC 9112 §6.3 allows equal repetitions; whoever sends them means to confuse someone
                    if self.length.is_some() || self.chunked {
                        return Err(Ambiguous);
                    }
                    self.length = Some(decimal(value)?);
                }
            }
            Some(b't') => {
                if let Some(value) = value_of(line, b"transfer-encoding:") {
                    if self.length.is_some() || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Ambiguous);
                    }
                    self.chunked = true;
                }
            }
            Some(b'u') => self.upgrade |= value_of(line, b"upgrade:").is_some(),
            _ => {}
        }
        Ok(())
    }
}

/// A line that is read in two ways, or in none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ambiguous;

/// The value of a header line whose lower-case name, with its colon, is this.
fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// Digits only: no sign, no list (RFC 9110 §8.6).
fn decimal(text: &[u8]) -> Result<u64, Ambiguous> {
    let text = std::str::from_utf8(text).map_err(|_| Ambiguous)?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(|_| Ambiguous) } else { Err(Ambiguous) }
}

/// A chunk's size, which an extension may follow (RFC 9112 §7.1).
fn chunk_size(line: &[u8]) -> Result<u64, Ambiguous> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    let text = std::str::from_utf8(size).map_err(|_| Ambiguous)?;
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u64::from_str_radix(text, 16).map_err(|_| Ambiguous)
    } else {
        Err(Ambiguous)
    }
}

impl Default for Framing {
    fn default() -> Self {
        Self::new(Limits::default().head_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

    fn follow(text: &str) -> (Followed, Place) {
        let mut framing = Framing::default();
        (framing.follow(text.as_bytes()), framing.place())
    }

    #[test]
    fn requests_end_where_hyper_ends_them() {
        for (text, place) in [
            ("", Place::Between),
            ("\r\n\r\n", Place::Between),
            ("G", Place::RequestLine),
            ("GET / HTTP/1.1\r\n", Place::Head),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Place::Between),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", Place::Between),
            ("POST / HTTP/1.1\r\ncontent-LENGTH:  3 \r\n\r\n", Place::Body(3)),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", Place::Body(1)),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcG", Place::RequestLine),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", Place::Between),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", Place::ChunkSize),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\na;x=y\r\n1", Place::Chunk(11)),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n#\r\n", Place::ChunkSize),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", Place::Trailers),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: b\r\n\r\n", Place::Between),
            ("GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n", Place::Undecided),
            ("GET / HTTP/1.1\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n", Place::Body(1)),
        ] {
            assert_eq!(follow(text), (Followed::All, place), "{text:?}");
        }
    }

    #[test]
    fn pieces_are_read_as_the_whole() {
        let text = "\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx: y\r\n\r\n\
                    PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nUpgrade: x\r\n\r\n";
        for size in 1..text.len() {
            let mut framing = Framing::default();
            for piece in text.as_bytes().chunks(size) {
                assert_eq!(framing.follow(piece), Followed::All);
            }
            assert_eq!((framing.place(), framing.heads()), (Place::Undecided, 3), "pieces of {size}");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused_where_it_is_seen() {
        // A3
        for line in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\ncontent-length: 2\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
            "X: y\n",
            "\n",
        ] {
            let text = format!("{HOST}{line}");
            let refused = follow(&format!("{text}\r\nGET / HTTP/1.1\r\n")).0;
            assert_eq!(refused, Followed::Refused(text.len() - 1), "{line:?}");
        }
        for text in ["GET / HTTP/1.1\n", "GET /a#b HTTP/1.1\r\n", "\n"] {
            assert_eq!(follow(text).0, Followed::Refused(text.len() - 1), "{text:?}");
        }
        for size in [
            "1\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1 1\r\n",
            "\r\n",
            ";a\r\n",
            "fffffffffffffffff\r\n",
            "ffffffffffffffff\r\n",
        ] {
            let text = format!("{HOST}Transfer-Encoding: chunked\r\n\r\n{size}");
            assert_eq!(follow(&text).0, Followed::Refused(text.len() - 1), "{size:?}");
        }
    }

    #[test]
    fn what_follows_an_upgrade_waits() {
        // A4, RUSTSEC-2026-0033
        let upgrade = "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n";
        let mut framing = Framing::default();
        assert_eq!(framing.follow(format!("{upgrade}GET /admin").as_bytes()), Followed::Until(upgrade.len()));
        framing.decide();
        assert_eq!(framing.follow(b"GET /admin"), Followed::All);
        assert_eq!((framing.place(), framing.heads()), (Place::RequestLine, 2));
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut framing = Framing::default();
        let piece = [b'a'; 4096];
        assert!((0..64).any(|_| framing.follow(&piece) == Followed::Refused(piece.len() - 1)));
    }
}
