//! The parameters of a presigned URL: none of the client's goes on, as the request is signed anew in its headers (A29).

use http::{Uri, uri};
use percent_encoding::percent_decode_str;

/// The same target without the parameters of a presigned request, where it has any. The rest keeps its bytes.
pub fn without_presigning(target: &Uri) -> Option<Uri> {
    let query = target.query()?;
    if !query.split('&').any(is_presigning) {
        return None;
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_presigning(pair)).collect();
    let path = target.path();
    let path_and_query = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    let mut parts = target.clone().into_parts();
    // A part of what was a path and query is one.
    parts.path_and_query = uri::PathAndQuery::try_from(path_and_query).ok();
    Uri::from_parts(parts).ok()
}

fn is_presigning(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    if !name.contains('%') && !starts_with_ignoring_case(name, "x-amz-") {
        return false;
    }
    let name = percent_decode_str(name).decode_utf8_lossy();
    PRESIGNING.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

const PRESIGNING: [&str; 9] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
    "X-Amz-Region-Set",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_without_presigning_keep_their_bytes() {
        for target in ["/a//b/../c%2f?x=%41&&y=+&=", "/", "/?", "/?X-Amz", "/?x-amz-acl&X-Amz-Target=1", "/?%zz=1"] {
            assert!(without_presigning(&target.parse().unwrap()).is_none(), "{target}");
        }
        for (target, left) in [
            ("/k?X-AMZ-SIGNATURE=1", "/k"),
            ("/k?a&x-amz-date=1&b=%2F", "/k?a&b=%2F"),
            ("https://h.example/k?%58-amz-Algorithm&a", "https://h.example/k?a"),
        ] {
            assert_eq!(without_presigning(&target.parse().unwrap()).unwrap(), left, "{target}");
        }
    }
}
