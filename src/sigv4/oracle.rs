//! Our signer against another implementation of SigV4: the same request gets the same signature.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use http::{HeaderName, HeaderValue, Method, Request, Uri, request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};
use proptest::prelude::*;

use super::{HexDigest, Keys, Payload, Presented, Signer, VerifyError};
use crate::clock::from_epoch_seconds;
use crate::secret::Secret;

/// One request, as a client would think of it.
#[derive(Clone, Debug)]
struct Case {
    service: &'static str,
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    unsigned: bool,
    token: Option<String>,
    seconds: u64,
}

impl Case {
    fn is_s3(&self) -> bool {
        self.service == "s3"
    }

    fn now(&self) -> SystemTime {
        from_epoch_seconds(self.seconds)
    }

    fn payload(&self) -> Payload {
        if self.is_s3() && self.unsigned { Payload::Unsigned } else { Payload::of(&self.body) }
    }

    fn parts(&self) -> request::Parts {
        let uri: Uri = self.target.parse().unwrap();
        let mut request = Request::builder().method(self.method).uri(uri).header("host", HOST);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn signed_by_us(&self) -> request::Parts {
        let signer = Signer::new(self.service.parse().unwrap(), REGION.parse().unwrap());
        let (secret, token) = (Secret::new(SECRET), self.token.as_deref().map(|t| HeaderValue::from_str(t).unwrap()));
        let keys = Keys { access_key_id: ACCESS_KEY_ID, secret: &secret, session_token: token.as_ref() };
        let mut parts = self.parts();
        signer.sign(&mut parts, &self.payload(), &keys, self.now()).unwrap();
        parts
    }

    /// The same headers by the oracle, which is given the path in the spelling that S3 compares.
    fn signed_by_oracle(&self) -> request::Parts {
        let mut settings = SigningSettings::default();
        if self.is_s3() {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let identity = Credentials::from_keys(ACCESS_KEY_ID, SECRET, self.token.clone()).into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(REGION)
            .name(self.service)
            .time(self.now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mut parts = self.parts();
        let path = if self.is_s3() { s3_spelling(parts.uri.path()) } else { parts.uri.path().to_owned() };
        let uri = match parts.uri.query() {
            Some(query) => format!("https://{HOST}{path}?{query}"),
            None => format!("https://{HOST}{path}"),
        };
        let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let body = match self.payload() {
            Payload::Hash(_) => SignableBody::Bytes(&self.body),
            _ => SignableBody::UnsignedPayload,
        };
        let signable = SignableRequest::new(self.method, uri, headers, body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        for header in instructions.into_parts().0 {
            let name = HeaderName::from_static(header.name());
            parts.headers.insert(name, HeaderValue::from_str(header.value()).unwrap());
        }
        parts
    }

    fn read(&self, parts: &request::Parts) -> Result<Presented, VerifyError> {
        Presented::read(parts, &self.service.parse().unwrap(), &HexDigest::of(&self.body), self.now())
    }
}

/// Decoded and encoded again, by other means than ours.
fn s3_spelling(path: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
    percent_encode(&percent_decode_str(path).collect::<Vec<u8>>(), KEPT).to_string()
}

/// A piece of a path or query in whatever spelling `http::Uri` takes, hostile ones included.
fn spelled() -> impl Strategy<Value = String> {
    const SDK: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let free = "[ -~äé☃ሴ🦀]{0,12}".prop_map(|text| utf8_percent_encode(&text, SDK).to_string());
    let raw = "([a-zA-Z0-9._~!$'()*+,;:@-]|%20|%2a|%2B|%25|%C3%BC|%e2%98%83|%3D|%26|ü|☃|\\.\\.|\\.){0,8}";
    prop_oneof![free, raw, Just(String::new()), Just(".".to_owned()), Just("..".to_owned())]
}

fn target() -> impl Strategy<Value = String> {
    let path = prop::collection::vec(spelled(), 0..5).prop_map(|segments| format!("/{}", segments.join("/")));
    let pair = (spelled(), prop::option::of(spelled())).prop_map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => name,
    });
    (path, prop::option::of(prop::collection::vec(pair, 0..5))).prop_map(|(path, query)| match query {
        Some(query) => format!("{path}?{}", query.join("&")),
        None => path,
    })
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        Just("content-type"),
        Just("x-amz-meta-a"),
        Just("x-amz-meta-b"),
        Just("x-amz-target"),
        Just("accept"),
        Just("cookie"),
        Just("content-md5"),
        Just("range"),
        Just("content-length"),
        // left out by the oracle too
        Just("user-agent"),
        Just("x-amzn-trace-id"),
    ];
    prop::collection::vec((name.prop_map(str::to_owned), "[ -~]{0,20}"), 0..8)
}

fn case() -> impl Strategy<Value = Case> {
    let service = prop_oneof![Just("s3"), Just("execute-api")];
    let method = prop_oneof![Just("GET"), Just("PUT"), Just("POST"), Just("DELETE"), Just("HEAD"), Just("PATCH")];
    let token = prop::option::of("[A-Za-z0-9+/=]{1,80}");
    let body = prop::collection::vec(any::<u8>(), 0..64);
    (service, method, target(), headers(), body, any::<bool>(), token, 0_u64..4_000_000_000).prop_map(
        |(service, method, target, headers, body, unsigned, token, seconds)| Case {
            service,
            method,
            target,
            headers,
            body,
            unsigned,
            token,
            seconds,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn our_signature_is_the_oracles(case in case()) {
        let (ours, theirs) = (case.signed_by_us(), case.signed_by_oracle());
        prop_assert_eq!(&ours.headers, &theirs.headers);
    }

    #[test]
    fn what_is_signed_is_verified(case in case()) {
        let presented = case.read(&case.signed_by_us()).unwrap();
        prop_assert_eq!(presented.verify(&Secret::new(SECRET)), Ok(()));
        prop_assert_eq!(presented.access_key_id(), ACCESS_KEY_ID);
        prop_assert_eq!(presented.session_token().map(Secret::expose), case.token.as_deref());
        prop_assert_eq!(presented.verify(&Secret::new("another")), Err(VerifyError::SignatureDoesNotMatch));
    }
}

/// A30: whichever byte of a signed request is changed, it is refused.
#[test]
fn no_byte_can_be_changed() {
    let case = Case {
        service: "s3",
        method: "PUT",
        target: "/bucket/a//key%20?versionId=1&x=%2F".to_owned(),
        headers: vec![
            ("content-type".to_owned(), "text/plain".to_owned()),
            ("x-amz-meta-a".to_owned(), "1".to_owned()),
        ],
        body: b"hello".to_vec(),
        unsigned: false,
        token: Some("token".to_owned()),
        seconds: 1_780_000_000,
    };
    let secret = Secret::new(SECRET);
    let signed = case.signed_by_us();
    let believed = |parts: &request::Parts, body: &[u8]| {
        Presented::read(parts, &"s3".parse().unwrap(), &HexDigest::of(body), case.now())
            .is_ok_and(|presented| presented.access_key_id() == ACCESS_KEY_ID && presented.verify(&secret).is_ok())
    };
    assert!(believed(&signed, &case.body));

    let mut tried = 0;
    for name in signed.headers.keys() {
        let value = signed.headers[name].as_bytes();
        for (at, bit) in (0..value.len()).flat_map(|at| [(at, 1), (at, 32)]) {
            let mut bytes = value.to_vec();
            bytes[at] ^= bit;
            let (Ok(changed), mut parts) = (HeaderValue::from_bytes(&bytes), signed.clone()) else { continue };
            parts.headers.insert(name, changed);
            assert!(!believed(&parts, &case.body), "{name} at {at}");
            tried += 1;
        }
    }
    let target = signed.uri.to_string();
    for at in 1..target.len() {
        let mut bytes = target.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(uri) = Uri::try_from(bytes.as_slice()) else { continue };
        assert!(!believed(&request_with(&signed, |parts| parts.uri = uri), &case.body), "target at {at}");
        tried += 1;
    }
    for at in 0..case.body.len() {
        let mut body = case.body.clone();
        body[at] ^= 1;
        assert!(!believed(&signed, &body), "body at {at}");
        tried += 1;
    }
    assert!(!believed(&request_with(&signed, |parts| parts.method = Method::POST), &case.body));
    assert!(tried > 500, "{tried}");
}

fn request_with(signed: &request::Parts, change: impl FnOnce(&mut request::Parts)) -> request::Parts {
    let mut parts = signed.clone();
    change(&mut parts);
    parts
}

/// A presigned request by the oracle is believed until it expires, and not with another query.
#[test]
fn presigned_requests_are_believed_while_they_live() {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = aws_sigv4::http_request::SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(60));
    let signed_at = from_epoch_seconds(1_780_000_000);
    let identity = Credentials::from_keys(ACCESS_KEY_ID, SECRET, Some("tok/en".to_owned())).into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(signed_at)
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("https://{HOST}/bucket/key?list-type=2");
    let signable = SignableRequest::new("GET", &uri, std::iter::empty(), SignableBody::UnsignedPayload).unwrap();
    let mut request = Request::builder().uri(&uri).body(()).unwrap();
    sign(signable, &params).unwrap().into_parts().0.apply_to_request_http1x(&mut request);
    let parts = request.into_parts().0;

    let read = |parts: &request::Parts, after: u64| {
        Presented::read(parts, &"s3".parse().unwrap(), &HexDigest::EMPTY, signed_at + Duration::from_secs(after))
    };
    let presented = read(&parts, 60).unwrap();
    assert_eq!(presented.verify(&Secret::new(SECRET)), Ok(()));
    assert_eq!(presented.session_token().map(Secret::expose), Some("tok/en"));
    assert_eq!(read(&parts, 61).unwrap_err(), VerifyError::RequestExpired);
    let longer = parts.uri.to_string().replace("X-Amz-Expires=60", "X-Amz-Expires=600");
    let longer = request_with(&parts, |parts| parts.uri = longer.parse().unwrap());
    assert_eq!(read(&longer, 61).unwrap().verify(&Secret::new(SECRET)), Err(VerifyError::SignatureDoesNotMatch));
}

const HOST: &str = "bucket.example.com:8443";
const REGION: &str = "eu-west-1";
const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
