//! MinIO: an S3 service, and an STS that verifies Keycloak's tokens.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;

use crate::agent::{Agent, Answer};
use crate::keycloak::{ALICE, BOB, CLIENT_ID, CLIENT_SECRET, post};
use crate::process::{Running, free_port};

/// A MinIO with three buckets, of which Alice may see two and Bob two.
#[derive(Debug)]
pub(crate) struct Minio {
    /// `http://127.0.0.1:<port>`, without a slash.
    pub(crate) url: String,
    root: Credentials,
    _process: Running,
}

/// What each person's policy lets them see.
pub(crate) const ALICES_BUCKETS: [&str; 2] = ["handbook", "ledger"];
pub(crate) const BOBS_BUCKETS: [&str; 2] = ["handbook", "telescope"];

impl Minio {
    /// Starts MinIO on an empty folder, trusting `issuer` for its STS, and makes buckets and policies.
    pub(crate) async fn start(program: &Path, data: &Path, logs: &Path, issuer: &str) -> Self {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let settings = BTreeMap::from([
            ("MINIO_ROOT_USER", ROOT.0.to_owned()),
            ("MINIO_ROOT_PASSWORD", ROOT.1.to_owned()),
            ("MINIO_UPDATE", "off".to_owned()),
            ("MINIO_BROWSER", "off".to_owned()),
            ("MINIO_IDENTITY_OPENID_CONFIG_URL_KC", format!("{issuer}/.well-known/openid-configuration")),
            ("MINIO_IDENTITY_OPENID_CLIENT_ID_KC", CLIENT_ID.to_owned()),
            ("MINIO_IDENTITY_OPENID_CLIENT_SECRET_KC", CLIENT_SECRET.to_owned()),
            ("MINIO_IDENTITY_OPENID_CLAIM_NAME_KC", "policy".to_owned()),
            ("MINIO_IDENTITY_OPENID_SCOPES_KC", "openid".to_owned()),
        ]);
        let mut process = Running::start("minio", program, logs, |command| {
            command.arg("server").arg(data).args(["--address", &format!("127.0.0.1:{port}")]).envs(settings)
        });
        let root = Credentials::new(ROOT.0, ROOT.1, None, None, "contract");
        // Its health endpoints say "ready" before the policies can be read and written.
        let policies = async || {
            let request = signed(&url, Method::GET, "/minio/admin/v3/list-canned-policies", "", &root);
            Agent::new().send(request).await.is_ok_and(|answer| answer.status.is_success())
        };
        process.ready(START, policies).await;
        let minio = Self { url, root, _process: process };
        for bucket in ["handbook", "ledger", "telescope"] {
            minio.as_root(Method::PUT, &format!("/{bucket}"), "").await;
        }
        for (person, buckets) in [(ALICE, ALICES_BUCKETS), (BOB, BOBS_BUCKETS)] {
            let path = format!("/minio/admin/v3/add-canned-policy?name={}", person.policy);
            minio.as_root(Method::PUT, &path, &policy(&buckets)).await;
        }
        minio
    }

    /// AssumeRoleWithWebIdentity without claviger: keys, or the refusal.
    pub(crate) async fn assume_role(&self, web_identity_token: &str) -> Result<Credentials, Answer> {
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", "arn:minio:iam:::role/contract"),
            ("RoleSessionName", "contract"),
            ("WebIdentityToken", web_identity_token),
        ];
        let answer = post(&self.url, &fields).await;
        if !answer.status.is_success() {
            return Err(answer);
        }
        let text = answer.text();
        let field = |tag| elements(&text, tag).next().unwrap_or_default().to_owned();
        let session = Some(field("SessionToken"));
        Ok(Credentials::new(field("AccessKeyId"), field("SecretAccessKey"), session, None, "contract"))
    }

    /// The buckets that the holder of these keys can see.
    pub(crate) async fn buckets(&self, keys: &Credentials) -> Vec<String> {
        let request = signed(&self.url, Method::GET, "/", "", keys);
        let answer = Agent::new().send(request).await.expect("MinIO answers");
        bucket_names(&answer.text())
    }

    async fn as_root(&self, method: Method, path: &str, body: &str) {
        let request = signed(&self.url, method, path, body, &self.root);
        let answer = Agent::new().send(request).await.expect("MinIO answers");
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text());
    }
}

/// The bucket names in an answer to ListBuckets, sorted.
pub(crate) fn bucket_names(list: &str) -> Vec<String> {
    let mut names: Vec<String> = elements(list, "Name").map(str::to_owned).collect();
    names.sort();
    names
}

/// The texts of all elements of a name; enough XML for answers without nesting or escapes.
pub(crate) fn elements<'a>(xml: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let texts: Vec<&str> = xml.split(&open).skip(1).filter_map(|rest| rest.split(&close).next()).collect();
    texts.into_iter()
}

/// Signed by AWS's own crate, which owes nothing to claviger's signer.
#[expect(clippy::disallowed_methods, reason = "MinIO checks signatures against the time of day")]
fn signed(origin: &str, method: Method, path: &str, body: &str, keys: &Credentials) -> Request<Full<Bytes>> {
    let url = format!("{origin}{path}");
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let identity = keys.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .expect("every parameter is given")
        .into();
    let signable =
        SignableRequest::new(method.as_str(), &url, std::iter::empty(), SignableBody::Bytes(body.as_bytes()));
    let (instructions, _) = sign(signable.expect("a URL"), &parameters).expect("signable").into_parts();
    let mut request = Request::builder().method(method).uri(&url).body(Full::from(body.to_owned())).expect("a request");
    instructions.apply_to_request_http1x(&mut request);
    request
}

/// Everything inside the named buckets, and nothing elsewhere: MinIO then lists only these.
fn policy(buckets: &[&str]) -> String {
    let inside =
        buckets.iter().flat_map(|bucket| [format!("arn:aws:s3:::{bucket}"), format!("arn:aws:s3:::{bucket}/*")]);
    let statement =
        serde_json::json!({ "Effect": "Allow", "Action": ["s3:*"], "Resource": inside.collect::<Vec<_>>() });
    serde_json::json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

pub(crate) const REGION: &str = "us-east-1";
const ROOT: (&str, &str) = ("contract-root", "contract-root-secret");
const START: Duration = Duration::from_secs(60);
