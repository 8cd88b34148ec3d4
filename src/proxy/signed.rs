//! Requests that clients sign with keys that we have issued: what the signature says of the body is checked before the
//! upstream has the whole of it, and before the client hears of a success (A30).

use http::header::AUTHORIZATION;
use http::request;
use http_body::Body as _;

use super::dress::To;
use crate::fault::Fault;
use crate::generation::Generation;
use crate::identity::{BodyDigest, Identity, Presented, Signed};
use crate::inject::{BodyNeed, without_presigning};
use crate::sigv4::HexDigest;
use crate::sigv4::chunked::{Check, Checked, ChunkError, Verdict};
use crate::sigv4::header::X_AMZ_SECURITY_TOKEN;
use crate::upstream::{Upstream, UpstreamError};
use crate::web::{Body, Caller, CollectError, Response};

/// The body, read where the signature can't be judged without its digest, which then is in the head's extensions. No more
/// is read than would be read to sign the request anew.
pub(super) async fn body_to_judge(
    generation: &Generation,
    To { route, upstream }: To<'_>,
    head: &mut request::Parts,
    body: Body,
) -> Result<Body, Fault> {
    let mut sources = generation.sources.iter().filter(|(name, _)| route.counts(name));
    if !sources.any(|(_, source)| source.takes_signatures()) || !crate::sigv4::Presented::wants_body(head) {
        return Ok(body);
    }
    upstream.check_length(&body)?;
    let host = upstream.authority().to_str().unwrap_or_default();
    let limits = route.injectors.iter().filter_map(|injector| match injector.body_at(host) {
        BodyNeed::Whole { limit } => Some(limit),
        BodyNeed::Small { .. } | BodyNeed::Nothing => None,
    });
    let bytes = body.collect(limits.min().unwrap_or(BODY_LIMIT)).await.map_err(Fault::Body)?;
    head.extensions.insert(BodyDigest(HexDigest::of(&bytes)));
    Ok(Body::full(bytes))
}

/// What the signature says besides who they are, where the caller is known by one.
pub(super) fn signed(
    generation: &Generation,
    identity: Option<&Identity>,
    caller: &Caller<'_>,
) -> Result<Option<Signed>, Fault> {
    let source = identity.and_then(|who| generation.sources.get(&who.subject.source));
    match source.map_or(Ok(None), |source| source.signed(caller)) {
        Ok(signed) => Ok(signed),
        Err(reason) => Err(Fault::Rejected(Presented::Signature.rejected(reason))),
    }
}

/// The body, which breaks off where it is not what was signed, and what will say whether it did.
pub(super) fn checked(body: Body, check: Check) -> Result<(Body, Option<Verdict>), Fault> {
    if body.is_end_stream() || body.size_hint().exact() == Some(0) {
        // nobody asks a body for pieces that has none
        return match check {
            Check::Digest(digest) if digest.matches(HexDigest::EMPTY.as_str()) => Ok((body, None)),
            Check::Digest(_) => Err(broken(ChunkError::Digest)),
            Check::Chunks(..) => Err(broken(ChunkError::Truncated)),
        };
    }
    let body = Checked::new(body, check);
    let verdict = body.verdict();
    Ok((Body::boxed(body), Some(verdict)))
}

/// Takes the client's signature off, whose token is of use to nobody but us.
pub(super) fn strip(head: &mut request::Parts) {
    head.headers.remove(AUTHORIZATION);
    head.headers.remove(X_AMZ_SECURITY_TOKEN);
    if let Some(target) = without_presigning(&head.uri) {
        head.uri = target;
    }
}

/// Refuses a success that the upstream reports of a body which it does not have: the rest of it may be wrong.
pub(super) fn acknowledged(verdict: Option<&Verdict>, response: &Response, upstream: &Upstream) -> Result<(), Fault> {
    if !response.status().is_success() || verdict.is_none_or(Verdict::is_right) {
        return Ok(());
    }
    let upstream = upstream.authority().to_str().unwrap_or_default().to_owned();
    let source = "it reported a success before it had the body that was signed".into();
    Err(Fault::Upstream(UpstreamError::Broken { upstream, source }))
}

fn broken(error: ChunkError) -> Fault {
    Fault::Body(CollectError::Broken(error.into()))
}

/// What is read of a body to judge a signature, where nothing else says how much: 8 MiB.
const BODY_LIMIT: usize = 8 << 20;
