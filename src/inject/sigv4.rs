//! `kind = "sigv4"`: signs the request with the person's own AWS credentials.

use std::sync::Arc;

use http::header::{self, HeaderName};
use serde::Deserialize;

mod payload;
mod presigned;
mod signers;

use super::{BodyNeed, Given, InjectError, Injector, Materials, Needs, Vouched};
use crate::arn::{Region, ServiceName, SignedFor};
use crate::built_in::{BuiltIn, SettingsError};
use crate::sigv4::header::{X_AMZ_CONTENT_SHA256, X_AMZ_DATE, X_AMZ_SECURITY_TOKEN};
use crate::sigv4::{Keys, Scope, SignError, Signer};
use crate::web::{ByteCount, Request};
use payload::{PayloadSetting, Road, SMALL};
pub use presigned::without_presigning;
use signers::Signers;

pub(super) const BUILT_IN: BuiltIn<dyn Injector, Materials> = BuiltIn {
    kind: "sigv4",
    summary: "Signs requests with the signed-in person's own AWS credentials (Signature Version 4).",
    example: include_str!("../../config/examples/inject/sigv4.toml"),
    build: |settings, materials| Ok(Arc::new(Sigv4::new(settings.parse()?, materials.upstream.as_deref())?)),
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sigv4Settings {
    service: Option<ServiceName>,
    region: Option<Region>,
    body_limit: Option<ByteCount>,
    payload: Option<PayloadSetting>,
    #[serde(default)]
    algorithm: Algorithm,
    region_set: Option<Vec<String>>,
    #[serde(default)]
    unsigned_headers: Vec<String>,
}

/// What signs.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    /// HMAC, for one region.
    #[default]
    Sigv4,
    /// ECDSA, for a set of regions.
    Sigv4a,
}

/// Names of headers that AWS does not want to be signed: it wants `host` and every `x-amz-*` that is there.
fn unsigned_headers(names: &[String]) -> Result<Vec<HeaderName>, SettingsError> {
    let read = names.iter().map(|text| {
        let name: HeaderName = text.parse().map_err(|_| format!("`{text}` is no name of a header"))?;
        if name == header::HOST || name.as_str().starts_with("x-amz-") {
            return Err(format!("`{name}` must be signed, or the service refuses the request"));
        }
        Ok(name)
    });
    let with_key = |(i, name): (usize, Result<_, String>)| {
        name.map_err(|problem| SettingsError::at(format!("unsigned_headers[{i}]"), problem))
    };
    read.enumerate().map(with_key).collect()
}

#[derive(Debug)]
struct Sigv4 {
    signers: Signers,
    /// How much of a body is hashed.
    limit: usize,
    payload: PayloadSetting,
    /// The headers of a signature: none of the client's passes, in any spelling (A29).
    replaced: Vouched,
}

impl Sigv4 {
    /// `upstream` is what the upstream is called; absent where that is the host that was asked for.
    fn new(settings: Sigv4Settings, upstream: Option<&str>) -> Result<Self, SettingsError> {
        let is_s3 = settings.service.as_ref().map(ServiceName::is_s3);
        if is_s3 == Some(true) && settings.body_limit.is_some() {
            let problem = "is of no effect for s3, whose bodies stream through; expected no `body_limit`";
            return Err(SettingsError::at("body_limit", problem));
        }
        if is_s3 == Some(false) && settings.payload.is_some() {
            let problem = "is for s3, as every other service wants a digest of the body; expected no `payload`";
            return Err(SettingsError::at("payload", problem));
        }
        if settings.algorithm == Algorithm::Sigv4 && settings.region_set.is_some() {
            let problem = "is of SigV4a; expected none, or algorithm = \"sigv4a\"";
            return Err(SettingsError::at("region_set", problem));
        }
        if settings.algorithm == Algorithm::Sigv4a && settings.payload == Some(PayloadSetting::Signed) {
            let problem = "can't be \"signed\" by SigV4a, as that has no chunks here; expected \"as_sent\"";
            return Err(SettingsError::at("payload", problem));
        }
        let limit = match settings.body_limit {
            Some(ByteCount(count)) => usize::try_from(count).ok().filter(|bytes| *bytes > 0).ok_or_else(|| {
                SettingsError::at("body_limit", "expected a number of bytes, or a text like \"8MiB\"")
            })?,
            None => BODY_LIMIT,
        };
        let left_out = unsigned_headers(&settings.unsigned_headers)?;
        let signers = match (settings.service, settings.region) {
            (Some(service), Some(region)) => {
                let regions = settings.region_set.unwrap_or_else(|| vec![region.to_string()]).join(",");
                let mut signer = Signer::new(service, region).leaving_out(left_out);
                if settings.algorithm == Algorithm::Sigv4a {
                    let regions = regions.parse().map_err(|error| SettingsError::at("region_set", error))?;
                    signer = signer.asymmetric(regions);
                }
                Signers::Named(Box::new(signer))
            }
            (None, None) => {
                let host = upstream.map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
                if let Some(host) = host.filter(|host| SignedFor::host(host).is_none()) {
                    let problem = format!("is missing, and `{host}` is no host that says it; expected one such as s3");
                    return Err(SettingsError::at("service", problem));
                }
                if settings.algorithm == Algorithm::Sigv4a {
                    let problem =
                        "can't be \"sigv4a\" where the host says what to sign for; expected `service` and `region`";
                    return Err(SettingsError::at("algorithm", problem));
                }
                Signers::by_host(left_out)
            }
            (Some(_), None) => return Err(SettingsError::at("region", "is missing beside `service`")),
            (None, Some(_)) => return Err(SettingsError::at("service", "is missing beside `region`")),
        };
        let payload = settings.payload.unwrap_or_default();
        Ok(Self { signers, limit, payload, replaced: Vouched::new(&REPLACED) })
    }
}

/// Refuses what the client has signed for another service or region: there it may be harmless, and here not (A30).
fn signs_for(signer: &Signer, scope: &Scope) -> Result<(), InjectError> {
    let (service, region) = (signer.service(), signer.region());
    if scope.service() == service && scope.region() == region {
        return Ok(());
    }
    Err(InjectError::Unsignable(format!(
        "the request is signed for {} in {}, and this address is {service} in {region}: set the client's region",
        scope.service(),
        scope.region()
    )))
}

impl Injector for Sigv4 {
    fn needs(&self) -> Needs {
        let body = match &self.signers {
            Signers::Named(_) => self.body_at(""),
            Signers::ByHost(_) => BodyNeed::Whole { limit: self.limit },
        };
        Needs { credentials: true, body, ..Needs::NOTHING }
    }

    /// S3 takes unsigned payloads, so its bodies stream but for small ones; every other service wants their digest.
    fn body_at(&self, host: &str) -> BodyNeed {
        match self.signers.is_s3(host) {
            true => BodyNeed::Small { limit: SMALL },
            false => BodyNeed::Whole { limit: self.limit },
        }
    }

    /// None: a signature proves itself, and the client's `x-amz-content-sha256` must be seen before it goes.
    fn sets(&self) -> &[HeaderName] {
        &[]
    }

    fn inject(&self, request: Request, given: &Given<'_>) -> Result<Request, InjectError> {
        let credentials = given.credentials.ok_or(InjectError::Missing("credentials"))?;
        let (mut parts, body) = request.into_parts();
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let signer = self.signers.of(host).ok_or_else(|| InjectError::Unsignable(NO_SERVICE.to_owned()))?;
        if let Some(scope) = parts.extensions.remove::<Scope>() {
            signs_for(&signer, &scope)?;
        }
        let road = match signer.service().is_s3() {
            true if signer.signs_chunks() => Road::of_s3(&parts.headers, &body, self.payload)?,
            true => Road::of_s3(&parts.headers, &body, self.payload)?.without_signatures()?,
            false => Road::of_others(&parts.headers, &body)?,
        };
        self.replaced.strip(&mut parts.headers);
        if let Some(uri) = without_presigning(&parts.uri) {
            parts.uri = uri;
        }
        road.announce(&mut parts.headers)?;
        let keys = Keys {
            access_key_id: &credentials.access_key_id,
            secret: &credentials.secret_access_key,
            session_token: Some(&credentials.session_token),
        };
        let chain = signer.sign(&mut parts, &road.payload(), &keys, given.now).map_err(|e| match e {
            SignError::NoHost => InjectError::Missing("the upstream's host"),
            SignError::AccessKeyId => InjectError::Missing("an access key id that fits into a header"),
            SignError::Key => InjectError::Missing("keys that SigV4a can use"),
            SignError::UnsignedPayload | SignError::Chunks => InjectError::Missing("the body's digest"),
        })?;
        Ok(Request::from_parts(parts, road.take(body, chain)?))
    }
}

const NO_SERVICE: &str = "no AWS service is known by this host; name `service` and `region` in the route's `inject`";

/// 8 MiB.
const BODY_LIMIT: usize = 8 << 20;

const REPLACED: [HeaderName; 5] = [
    header::AUTHORIZATION,
    X_AMZ_DATE,
    X_AMZ_SECURITY_TOKEN,
    X_AMZ_CONTENT_SHA256,
    HeaderName::from_static("x-amz-region-set"),
];

#[cfg(test)]
mod tests;
