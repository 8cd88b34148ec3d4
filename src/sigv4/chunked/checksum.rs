//! The checksums that S3 takes behind a body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ChunkError;

/// A checksum by its header's name; its value's length is known before the value is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checksum {
    name: &'static str,
    /// In bytes, of which the header's value is the base64.
    size: usize,
}

/// A checksum and its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trailer {
    /// Which.
    pub checksum: Checksum,
    /// In base64.
    pub value: String,
}

impl Checksum {
    /// By a header's name. S3 takes no others as trailers, and what some server merges into the head must not come from
    /// there (A1).
    pub fn named(name: &str) -> Option<Self> {
        KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name)).copied()
    }

    /// Those that `x-amz-trailer` announces.
    pub(super) fn announced(list: &str) -> Result<Vec<Self>, ChunkError> {
        let mut announced = Vec::new();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let checksum = Self::named(name).ok_or_else(|| {
                ChunkError::Head(format!("x-amz-trailer announces `{name}`, which is no checksum that is taken here"))
            })?;
            if announced.contains(&checksum) {
                return Err(ChunkError::Head(format!("x-amz-trailer announces `{name}` twice")));
            }
            announced.push(checksum);
        }
        Ok(announced)
    }

    /// The header's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// With its colon and the end of its line.
    pub(super) fn line_length(&self) -> usize {
        self.name.len() + 1 + self.size.div_ceil(3) * 4 + 2
    }
}

impl Trailer {
    /// A line as it was sent, without its end.
    pub(super) fn read(line: &str) -> Result<Self, ChunkError> {
        let (name, value) = line.split_once(':').ok_or(ChunkError::Malformed("a trailer has no colon"))?;
        let checksum = Checksum::named(name).ok_or(ChunkError::Malformed("a trailer is no checksum"))?;
        let value = value.trim_matches(' ');
        match STANDARD.decode(value) {
            Ok(bytes) if bytes.len() == checksum.size => Ok(Self { checksum, value: value.to_owned() }),
            _ => Err(ChunkError::Malformed("a checksum is not base64 of its own length")),
        }
    }
}

const KNOWN: [Checksum; 10] = [
    Checksum { name: "x-amz-checksum-crc32", size: 4 },
    Checksum { name: "x-amz-checksum-crc32c", size: 4 },
    Checksum { name: "x-amz-checksum-crc64nvme", size: 8 },
    Checksum { name: "x-amz-checksum-sha1", size: 20 },
    Checksum { name: "x-amz-checksum-sha256", size: 32 },
    Checksum { name: "x-amz-checksum-sha512", size: 64 },
    Checksum { name: "x-amz-checksum-md5", size: 16 },
    Checksum { name: "x-amz-checksum-xxhash64", size: 8 },
    Checksum { name: "x-amz-checksum-xxhash3", size: 8 },
    Checksum { name: "x-amz-checksum-xxhash128", size: 16 },
];
