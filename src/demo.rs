//! The demo's app: a small S3-shaped service that believes signatures and nothing else.
//!
//! It keeps objects in memory and shows who called, as a page and as JSON. Whatever headers say of a user is ignored:
//! each request's SigV4 signature is judged by the authority, which alone knows the secrets.

mod chunked;
mod fault;
mod list;
mod pages;
mod place;
mod store;
mod verdict;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header, request};
use url::Url;

use self::fault::S3Fault;
use self::list::Ask;
use self::place::{BucketName, ObjectKey, Place};
use self::store::{Object, Store};
use self::verdict::{Caller, Judge};
use crate::arn::ServiceName;
use crate::clock::Clock;
use crate::fetch::Fetch;
use crate::secret::Secret;
use crate::server::Handler;
use crate::sigv4::header::X_AMZ_CONTENT_SHA256;
use crate::sigv4::{HexDigest, Presented, STREAMING_UNSIGNED_PAYLOAD_TRAILER};
use crate::web::{self, Body, Connection, Request, Response};

/// The app.
#[derive(Debug)]
pub struct Demo {
    ways: Vec<Way>,
    store: Store,
    judge: Judge,
    clock: Arc<dyn Clock>,
    service: ServiceName,
}

/// A place where the same app is called with keys that were got by another call of STS.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The call, such as `AssumeRoleWithSAML`.
    pub call: &'static str,
    /// The path at the proxy.
    pub path: &'static str,
}

impl Demo {
    /// An app without objects that has signatures judged by the authority at `authority`, showing it `verdict_token`. Its
    /// first page leads to these `ways`.
    pub fn new(
        authority: &Url,
        verdict_token: Secret,
        fetch: Arc<Fetch>,
        clock: Arc<dyn Clock>,
        ways: Vec<Way>,
    ) -> Arc<Self> {
        let judge = Judge::new(authority, verdict_token, fetch);
        Arc::new(Self { ways, store: Store::default(), judge, clock, service: s3() })
    }

    async fn answer(&self, request: Request) -> Result<Response, S3Fault> {
        let (head, body) = request.into_parts();
        let (caller, payload) = self.caller(&head).await?;
        let place: Place = head.uri.path().parse()?;
        match (&head.method, place) {
            (&Method::GET | &Method::HEAD, Place::Page) => Ok(self.who(&head, &caller)),
            (&Method::GET, Place::Bucket(bucket)) => self.list(&head, &bucket),
            (&Method::GET | &Method::HEAD, Place::Object(bucket, key)) => self.get(&head.method, &bucket, &key),
            (&Method::PUT, Place::Object(bucket, key)) => {
                let content = payload.read(body).await?;
                self.put(&head, &bucket, key, content)
            }
            (&Method::DELETE, Place::Object(bucket, key)) => {
                self.store.delete(&bucket, &key);
                Ok(empty(StatusCode::NO_CONTENT))
            }
            (&Method::HEAD, Place::Bucket(bucket)) => {
                self.store.list(&bucket, "", "").map(|_| empty(StatusCode::OK)).ok_or_else(S3Fault::no_such_bucket)
            }
            (&Method::PUT, Place::Bucket(bucket)) => {
                payload.read(body).await?;
                self.store.create(&bucket)?;
                Ok(empty(StatusCode::OK))
            }
            (&Method::DELETE, Place::Bucket(bucket)) => {
                self.store.remove(&bucket)?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            _ => Err(S3Fault::method_not_allowed()),
        }
    }

    /// Who signed the request, and what its body must be. The body comes later: a stranger can't make us hold one.
    async fn caller(&self, head: &request::Parts) -> Result<(Caller, Payload), S3Fault> {
        let payload = Payload::declared(head);
        let digest = if let Payload::Hashed(digest) = &payload { *digest } else { HexDigest::EMPTY };
        let presented = Presented::read(head, &self.service, &digest, self.clock.now())?;
        Ok((self.judge.judge(&presented).await?, payload))
    }

    fn who(&self, head: &request::Parts, caller: &Caller) -> Response {
        if wants_html(head) {
            pages::who(caller, &self.ways, self.store.buckets())
        } else {
            web::json(StatusCode::OK, &pages::who_json(caller))
        }
    }

    fn list(&self, head: &request::Parts, bucket: &BucketName) -> Result<Response, S3Fault> {
        let ask = Ask::read(head.uri.query().unwrap_or_default())?;
        if wants_html(head) { ask.answer_page(bucket, &self.store) } else { ask.answer(bucket, &self.store) }
    }

    fn get(&self, method: &Method, bucket: &BucketName, key: &ObjectKey) -> Result<Response, S3Fault> {
        let object = self.store.get(bucket, key).ok_or_else(S3Fault::no_such_key)?;
        let mut response = match *method {
            Method::HEAD => empty(StatusCode::OK),
            _ => Response::new(Body::full(object.content.clone())),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(object.content.len()));
        headers.insert(header::CONTENT_TYPE, object.content_type.clone());
        headers.insert(header::LAST_MODIFIED, date(object.modified));
        if let Ok(etag) = HeaderValue::from_str(&object.etag) {
            headers.insert(header::ETAG, etag);
        }
        headers.extend(object.metadata.iter().map(|(name, value)| (Some(name.clone()), value.clone())));
        // what one user put must not act as another on this host (A11)
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Ok(response)
    }

    fn put(
        &self,
        head: &request::Parts,
        bucket: &BucketName,
        key: ObjectKey,
        content: Bytes,
    ) -> Result<Response, S3Fault> {
        let content_type = head.headers.get(header::CONTENT_TYPE).cloned();
        let metadata = head.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-meta-"));
        let etag = format!("\"{}\"", HexDigest::of(&content).as_str());
        let mut response = empty(StatusCode::OK);
        if let Ok(value) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(header::ETAG, value);
        }
        let object = Object {
            content,
            content_type: content_type.unwrap_or(HeaderValue::from_static("binary/octet-stream")),
            metadata: metadata.map(|(name, value)| (name.clone(), value.clone())).collect(),
            etag,
            modified: self.clock.now(),
        };
        self.store.put(bucket, key, object)?;
        Ok(response)
    }
}

#[async_trait]
impl Handler for Demo {
    async fn handle(&self, _: &Connection, request: Request) -> Response {
        // boxed: asking the authority is a whole exchange, and this future lives in every connection
        Box::pin(self.answer(request)).await.unwrap_or_else(|fault| fault.answer())
    }
}

/// What the signature says of the body.
#[derive(Clone, Copy, Debug)]
enum Payload {
    Hashed(HexDigest),
    Unsigned,
    Chunked,
}

impl Payload {
    /// As `x-amz-content-sha256` declares it. Whether that is signed and taken is for [`Presented::read`] to say.
    fn declared(head: &request::Parts) -> Self {
        let declared = head.headers.get(X_AMZ_CONTENT_SHA256).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match declared.parse() {
            Ok(digest) => Self::Hashed(digest),
            Err(_) if declared == STREAMING_UNSIGNED_PAYLOAD_TRAILER => Self::Chunked,
            Err(_) => Self::Unsigned,
        }
    }

    /// The content, if it is what was signed.
    async fn read(self, body: Body) -> Result<Bytes, S3Fault> {
        let body = body.collect(MAX_OBJECT).await?;
        match self {
            Self::Hashed(digest) if !digest.matches(HexDigest::of(&body).as_str()) => Err(S3Fault::other_body()),
            Self::Hashed(_) | Self::Unsigned => Ok(body),
            Self::Chunked => chunked::decode(&body).map_err(|problem| S3Fault::argument(&problem.to_string())),
        }
    }
}

fn wants_html(head: &request::Parts) -> bool {
    let accept = head.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.split(',').any(|kind| kind.trim_start().starts_with("text/html")))
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response
}

fn date(at: std::time::SystemTime) -> HeaderValue {
    HeaderValue::try_from(httpdate::fmt_http_date(at)).unwrap_or(HeaderValue::from_static(""))
}

#[expect(clippy::expect_used, reason = "`s3` is a signing name")]
fn s3() -> ServiceName {
    "s3".parse().expect("`s3` is a signing name")
}

const XMLNS: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
const MAX_OBJECT: usize = 16 << 20;

#[cfg(test)]
mod tests;
