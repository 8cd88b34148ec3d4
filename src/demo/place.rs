//! What a path means: the page, a bucket, or an object (S3's path style).

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// What a request is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// `/` or `/whoami`.
    Page,
    /// `/<bucket>`, with or without a slash at its end.
    Bucket(BucketName),
    /// `/<bucket>/<key>`.
    Object(BucketName, ObjectKey),
}

/// A bucket's name by S3's rules: 3 to 63 of `a-z 0-9 . -`, starting and ending with a letter or digit. `whoami` is taken.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct BucketName(String);

/// An object's key: 1 to 1024 bytes of UTF-8. It is a name and never a path: `..` means nothing in it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ObjectKey(String);

/// The path is none that S3 would have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum NoPlace {
    #[error("the specified bucket is not valid")]
    Bucket,
    #[error("the specified key is not valid; expected 1 to 1024 bytes of UTF-8")]
    Key,
}

impl FromStr for Place {
    type Err = NoPlace;

    /// Reads the path as it was sent; keys are percent-decoded, once.
    fn from_str(path: &str) -> Result<Self, NoPlace> {
        let path = path.strip_prefix('/').unwrap_or(path);
        if matches!(path, "" | "whoami") {
            return Ok(Self::Page);
        }
        match path.split_once('/') {
            None | Some((_, "")) => Ok(Self::Bucket(path.trim_end_matches('/').parse()?)),
            Some((bucket, key)) => {
                let key = percent_decode_str(key).decode_utf8().map_err(|_| NoPlace::Key)?;
                Ok(Self::Object(bucket.parse()?, key.parse()?))
            }
        }
    }
}

impl FromStr for BucketName {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let ok = (3..=63).contains(&text.len())
            && text.bytes().all(inner)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text != "whoami";
        if ok { Ok(Self(text.to_owned())) } else { Err(NoPlace::Bucket) }
    }
}

impl FromStr for ObjectKey {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        if (1..=1024).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(NoPlace::Key) }
    }
}

impl BucketName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl ObjectKey {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_s3_reads_them() {
        let bucket = |name: &str| Ok(Place::Bucket(BucketName(name.to_owned())));
        let object = |name: &str, key: &str| Ok(Place::Object(BucketName(name.to_owned()), ObjectKey(key.to_owned())));
        for (path, place) in [
            ("/", Ok(Place::Page)),
            ("/whoami", Ok(Place::Page)),
            ("/notes", bucket("notes")),
            ("/notes/", bucket("notes")),
            ("/notes/a/b.txt", object("notes", "a/b.txt")),
            ("/notes//a", object("notes", "/a")),
            ("/notes/a/../b", object("notes", "a/../b")),
            ("/notes/a%2Fb%20c", object("notes", "a/b c")),
            ("/notes/%252F", object("notes", "%2F")),
            ("/notes/%ff", Err(NoPlace::Key)),
            ("/Notes", Err(NoPlace::Bucket)),
            ("/..", Err(NoPlace::Bucket)),
            ("/no", Err(NoPlace::Bucket)),
            ("/whoami/x", Err(NoPlace::Bucket)),
            ("/-notes", Err(NoPlace::Bucket)),
            ("/<script>/x", Err(NoPlace::Bucket)),
        ] {
            assert_eq!(path.parse(), place, "{path}");
        }
        assert_eq!(format!("/notes/{}", "k".repeat(1025)).parse::<Place>(), Err(NoPlace::Key));
    }
}
