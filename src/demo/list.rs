//! Listing a bucket (S3 `ListObjectsV2`), as XML and as a page.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::XMLNS;
use super::fault::S3Fault;
use super::pages::{self, ObjectLine};
use super::place::{BucketName, ObjectKey};
use super::store::{Object, Store};
use crate::clock::rfc3339;
use crate::web::Response;
use crate::web::xml::Xml;

/// What a caller asks of a list.
#[derive(Debug)]
pub(super) struct Ask {
    prefix: String,
    delimiter: String,
    after: String,
    max_keys: usize,
    encoded: bool,
}

/// One page of a list.
struct Page {
    objects: Vec<(ObjectKey, Arc<Object>)>,
    prefixes: BTreeSet<String>,
    /// The last key or prefix on this page, where there is more.
    more_after: Option<String>,
}

impl Ask {
    pub(super) fn read(query: &str) -> Result<Self, S3Fault> {
        let mut ask = Self {
            prefix: String::new(),
            delimiter: String::new(),
            after: String::new(),
            max_keys: MOST,
            encoded: false,
        };
        let mut token = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "prefix" => ask.prefix = value.into_owned(),
                "delimiter" => ask.delimiter = value.into_owned(),
                "start-after" | "marker" => ask.after = value.into_owned(),
                "encoding-type" => ask.encoded = value == "url",
                "max-keys" => {
                    let most: usize = value.parse().map_err(|_| S3Fault::argument("max-keys is not a number"))?;
                    ask.max_keys = most.min(MOST);
                }
                "continuation-token" => {
                    let bytes = URL_SAFE_NO_PAD.decode(&*value).ok();
                    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                    token = Some(text.ok_or_else(|| S3Fault::argument("continuation-token is none of ours"))?);
                }
                _ => {}
            }
        }
        if let Some(token) = token {
            ask.after = token;
        }
        Ok(ask)
    }

    /// The list as S3 writes it.
    pub(super) fn answer(&self, bucket: &BucketName, store: &Store) -> Result<Response, S3Fault> {
        let page = self.page(bucket, store)?;
        let shown = |text: &str| match self.encoded {
            true => utf8_percent_encode(text, KEPT).to_string(),
            false => text.to_owned(),
        };
        let xml = Xml::document("ListBucketResult", XMLNS, |xml| {
            xml.text("Name", bucket.as_str());
            xml.text("Prefix", &shown(&self.prefix));
            if !self.delimiter.is_empty() {
                xml.text("Delimiter", &shown(&self.delimiter));
            }
            xml.text("MaxKeys", &self.max_keys.to_string());
            if self.encoded {
                xml.text("EncodingType", "url");
            }
            xml.text("KeyCount", &(page.objects.len() + page.prefixes.len()).to_string());
            xml.text("IsTruncated", if page.more_after.is_some() { "true" } else { "false" });
            if let Some(last) = &page.more_after {
                xml.text("NextContinuationToken", &URL_SAFE_NO_PAD.encode(last));
            }
            for (key, object) in &page.objects {
                xml.element("Contents", |xml| {
                    xml.text("Key", &shown(key.as_str()));
                    xml.text("LastModified", &rfc3339(object.modified));
                    xml.text("ETag", &object.etag);
                    xml.text("Size", &object.content.len().to_string());
                    xml.text("StorageClass", "STANDARD");
                });
            }
            for prefix in &page.prefixes {
                xml.element("CommonPrefixes", |xml| xml.text("Prefix", &shown(prefix)));
            }
        });
        Ok(xml.answer(StatusCode::OK))
    }

    /// The list as a page.
    pub(super) fn answer_page(&self, bucket: &BucketName, store: &Store) -> Result<Response, S3Fault> {
        let line = |(key, object): (ObjectKey, Arc<Object>)| ObjectLine {
            path: utf8_percent_encode(key.as_str(), KEPT).to_string(),
            key: key.as_str().to_owned(),
            size: object.content.len(),
            modified: rfc3339(object.modified),
        };
        let page = self.page(bucket, store)?;
        Ok(pages::objects(bucket.as_str(), page.objects.into_iter().map(line).collect()))
    }

    fn page(&self, bucket: &BucketName, store: &Store) -> Result<Page, S3Fault> {
        let listed = store.list(bucket, &self.prefix, &self.after).ok_or_else(S3Fault::no_such_bucket)?;
        let mut page = Page { objects: Vec::new(), prefixes: BTreeSet::new(), more_after: None };
        let mut last = None;
        for (key, object) in listed {
            let rest = key.as_str().get(self.prefix.len()..).unwrap_or_default();
            let common = (!self.delimiter.is_empty())
                .then(|| rest.split_once(&*self.delimiter))
                .flatten()
                .map(|(until, _)| format!("{}{until}{}", self.prefix, self.delimiter));
            // the page before this one ended within or at this prefix
            let told = |prefix: &String| page.prefixes.contains(prefix) || self.after.starts_with(prefix.as_str());
            if common.as_ref().is_some_and(told) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == self.max_keys {
                page.more_after = last;
                break;
            }
            last = Some(common.clone().unwrap_or_else(|| key.as_str().to_owned()));
            match common {
                Some(prefix) => drop(page.prefixes.insert(prefix)),
                None => page.objects.push((key, object)),
            }
        }
        Ok(page)
    }
}

/// S3's own limit for a page.
const MOST: usize = 1000;
/// What S3's `encoding-type=url` leaves as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderValue;

    use super::*;

    fn listed(query: &str) -> (Vec<String>, Vec<String>, Option<String>) {
        let (store, bucket): (Store, BucketName) = (Store::default(), "notes".parse().unwrap());
        for key in ["a", "b/1", "b/2", "c/1", "d e"] {
            let object = Object {
                content: "x".into(),
                content_type: HeaderValue::from_static("text/plain"),
                metadata: Vec::new(),
                etag: String::new(),
                modified: UNIX_EPOCH,
            };
            store.put(&bucket, key.parse().unwrap(), object).unwrap();
        }
        let page = Ask::read(query).unwrap().page(&bucket, &store).unwrap();
        let keys = page.objects.iter().map(|(key, _)| key.as_str().to_owned()).collect();
        (keys, page.prefixes.into_iter().collect(), page.more_after)
    }

    #[test]
    fn lists_end_where_they_should_and_go_on_from_there() {
        let none = Vec::<String>::new;
        let owned = |texts: &[&str]| texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>();
        assert_eq!(listed(""), (owned(&["a", "b/1", "b/2", "c/1", "d e"]), none(), None));
        assert_eq!(listed("prefix=b/"), (owned(&["b/1", "b/2"]), none(), None));
        assert_eq!(listed("delimiter=/"), (owned(&["a", "d e"]), owned(&["b/", "c/"]), None));
        assert_eq!(listed("max-keys=2"), (owned(&["a", "b/1"]), none(), Some("b/1".to_owned())));
        assert_eq!(listed("delimiter=/&max-keys=2"), (owned(&["a"]), owned(&["b/"]), Some("b/".to_owned())));
        let token = URL_SAFE_NO_PAD.encode("b/");
        let query = format!("delimiter=/&continuation-token={token}");
        assert_eq!(listed(&query), (owned(&["d e"]), owned(&["c/"]), None));
        assert_eq!(listed("start-after=c/1"), (owned(&["d e"]), none(), None));
        assert_eq!(listed("max-keys=5"), (owned(&["a", "b/1", "b/2", "c/1", "d e"]), none(), None));
    }

    #[test]
    fn hostile_lists_are_refused() {
        for query in ["max-keys=many", "max-keys=-1", "continuation-token=***", "continuation-token=_w"] {
            assert!(Ask::read(query).is_err(), "{query}");
        }
    }
}
