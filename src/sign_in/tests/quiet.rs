//! A login that is only there to bring what STS takes anew: the person is asked nothing, unless the provider must.

use std::sync::{Arc, LazyLock};

use http::{Request, StatusCode, header};

use super::super::*;
use super::house::PUBLIC;
use crate::built_in::{Environment, Settings, Surroundings, build};
use crate::clock::ManualClock;
use crate::fetch::Fetch;
use crate::identity::{BUILT_INS, Materials};
use crate::saml::{
    Certificate, ExpectedMessage, Guarded, Kind, NO_PASSIVE, ProviderOf, Redirected, Requested, ResponseOf, SKEW,
    Signing, SigningKey,
};
use crate::secret::Secret;
use crate::session::SessionSettings;
use crate::tls::Trust;

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(["idp.example.com".to_owned()]).unwrap();
    let certificate = Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap();
    SigningKey::new(&Secret::new(pair.serialize_pem()), certificate).unwrap()
});
const SIGN_ON: &str = "https://idp.example.com/sso";
const ENTITY_ID: &str = "https://us.example.com";

async fn door() -> (SignIn, Site, Arc<ManualClock>) {
    let provider = ProviderOf {
        entity_id: "https://idp.example.com",
        sign_on_url: SIGN_ON,
        logout_url: None,
        signing: &[KEY.certificate()],
        wants_signed_requests: false,
        name_id_formats: &[],
        valid_until: None,
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("idp.xml"), provider.write(None).unwrap()).unwrap();
    let clock = Arc::new(ManualClock::at(1_800_000_000));
    let dynamic: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let surroundings = Surroundings::new(folder.path(), Environment::default());
    let text = format!(
        "kind = 'saml'\nissuer = 'https://idp.example.com'\nentity_id = '{ENTITY_ID}'\nmetadata_file = 'idp.xml'"
    );
    let table = toml::from_str(&text).unwrap();
    let settings = Settings { name: "corp", table, surroundings: &surroundings, clock: &dynamic };
    let materials = Materials {
        fetch: Arc::new(Fetch::new(&Trust::system())),
        metrics: Metrics::new(),
        keys: crate::identity::IssuedKeys::passing(),
    };
    let sources = vec![(SourceName::from("corp"), build(BUILT_INS, settings, &materials).unwrap())];
    let sessions = Sessions::new(&SessionSettings::default(), Arc::clone(&clock) as _, &Metrics::new());
    sessions.use_sources(sources.clone()).await;
    let site = Site::new(PUBLIC.parse().unwrap(), |_| false, sources);
    let door = SignIn::new(sessions, Arc::new(Sealer::random()), Arc::clone(&clock) as _, Metrics::new());
    (door, site, clock)
}

/// The request in a redirect to the provider.
fn asked(response: &Response, clock: &ManualClock) -> Requested {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let location: Url = response.headers()[header::LOCATION].to_str().unwrap().parse().unwrap();
    assert!(location.as_str().starts_with(SIGN_ON), "{location}");
    let redirected = Redirected::read(location.query().unwrap()).unwrap();
    let guarded = Guarded::new(redirected.document(), Kind::AuthnRequest).unwrap();
    let expected = ExpectedMessage { issuer: ENTITY_ID, destination: SIGN_ON, now: clock.now(), skew: SKEW };
    Requested::unverified(&guarded, &expected).unwrap()
}

/// The cookies that an answer sets, as the browser sends them back.
fn cookies(response: &Response) -> String {
    let set = response.headers().get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap());
    set.filter(|set| !set.contains("Max-Age=0"))
        .map(|set| set.split(';').next().unwrap())
        .collect::<Vec<_>>()
        .join("; ")
}

async fn visited(
    door: &SignIn,
    site: &Site,
    request: Request<()>,
    body: String,
    wish: Option<&Wish<'_>>,
) -> Result<Response, Fault> {
    let (head, ()) = request.into_parts();
    let visit = Visit {
        head: &head,
        host: "apps.example.com",
        client: std::net::Ipv4Addr::LOCALHOST.into(),
        request_id: "r-1",
    };
    match wish {
        Some(wish) => door.begin_login(site, &visit, wish).await,
        None => door.answer(site, &visit, Body::full(body)).await,
    }
}

#[tokio::test]
async fn a_person_is_asked_only_where_the_provider_must() {
    for quietly in [true, false] {
        let (door, site, clock) = door().await;
        let navigation = || {
            let request = Request::get("/reports").header("sec-fetch-mode", "navigate");
            request.header("sec-fetch-dest", "document").body(()).unwrap()
        };
        let wish = Wish { anew: true, quietly, ..Wish::default() };
        let begun = visited(&door, &site, navigation(), String::new(), Some(&wish)).await.unwrap();
        let request = asked(&begun, &clock);
        assert_eq!(request.is_passive, quietly);

        let acs = request.acs_url.as_deref().unwrap();
        let answer = ResponseOf {
            issuer: "https://idp.example.com",
            destination: acs,
            in_response_to: Some(&request.id),
            status: "urn:oasis:names:tc:SAML:2.0:status:Responder",
            status_detail: Some(NO_PASSIVE),
            assertion: None,
            at: clock.now(),
        };
        let signing = Signing { key: &KEY, response: true, assertion: false, encrypt: None };
        let value = answer.build(signing).unwrap().as_is().value;
        let fields = [("SAMLResponse", value.as_str()), ("RelayState", &request.id)];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let post = Request::post("/.claviger/saml/corp/acs").header(header::COOKIE, cookies(&begun));
        let post = post.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(()).unwrap();
        match visited(&door, &site, post, body, None).await {
            Ok(again) if quietly => {
                let request = asked(&again, &clock);
                assert!(!request.is_passive, "now the person may be asked");
                let set = again.headers().get_all(header::SET_COOKIE).iter().map(|set| set.to_str().unwrap());
                assert_eq!(set.filter(|set| set.contains("Max-Age=0")).count(), 1, "the quiet one is over");
            }
            Err(fault) if !quietly => assert_eq!(fault.status(), StatusCode::BAD_REQUEST),
            other => panic!("{quietly}: {other:?}"),
        }
    }
}
