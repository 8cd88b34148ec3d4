//! Every document of the table before a second, independent reader: `saml-rs`, which has parsers, canonicalisation and
//! signatures of its own, and no C. Where the two disagree, it is written here why we are right.
//!
//! It is set as strict as it can be while it takes what we take. What neither takes needs no words, and what both take is
//! the same person's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::saml::ProviderOf;
use saml_rs::{
    AcsEndpoint, AudienceValidationPolicy, BrowserInput, CertificatePem, ClockSkew, Credentials, EntityId, FormField,
    IdpDescriptor, MetadataTrustPolicy, PendingAuthnRequest, PendingSnapshot, PrivateKeyPem, RelayStateParam,
    ReplayPolicy, ResponseSignaturePolicy, Saml, SamlValidationContext, Sp, SpConfig, SpValidationPolicy, SsoResponse,
    XmlEncryptionPolicy, XmlPolicy, XmlSignatureProfile,
};

use crate::support::saml_attacks::{ALICE, OURSELVES, PROVIDER, Stage, Verdict, attacks};
use crate::support::saml_idp::pem;

/// The other reader as the service provider of a stage.
struct Other {
    /// It wants to be told whether assertions come encrypted.
    plain: Saml<Sp>,
    encrypted: Saml<Sp>,
    provider: IdpDescriptor,
}

impl Other {
    fn at(stage: &Stage) -> Self {
        let policy = SpValidationPolicy {
            responses: ResponseSignaturePolicy::RequireForEncryptedCbc,
            xml_signatures: XmlSignatureProfile::StrictRsaSha2,
            audience: AudienceValidationPolicy::Validate,
            ..SpValidationPolicy::recommended()
        };
        let config = |encryption| {
            SpConfig::builder(EntityId::try_new(stage.audience.as_str()).unwrap())
                .acs_endpoint(AcsEndpoint::post(stage.acs_url.as_str()).unwrap())
                .credentials(Credentials {
                    decryption_key: Some(PrivateKeyPem::new(OURSELVES.key_pem.expose())),
                    encryption_certificate: Some(CertificatePem::new(pem(&OURSELVES.certificate))),
                    ..Credentials::default()
                })
                .validation(policy.clone())
                .xml(XmlPolicy { encryption, ..XmlPolicy::default() })
                .build()
                .unwrap()
        };
        let metadata = ProviderOf {
            entity_id: &stage.issuer,
            sign_on_url: "https://idp.example.org/sso",
            logout_url: None,
            signing: &[&PROVIDER.certificate],
            wants_signed_requests: false,
            name_id_formats: &[],
            valid_until: None,
        };
        let provider = IdpDescriptor::from_metadata_xml_for(
            EntityId::try_new(stage.issuer.as_str()).unwrap(),
            &metadata.write(None).unwrap(),
            MetadataTrustPolicy::UnsignedForCompatibility,
        );
        Self {
            plain: Saml::sp(config(XmlEncryptionPolicy::default())).unwrap(),
            encrypted: Saml::sp(config(XmlEncryptionPolicy::encrypt_assertions())).unwrap(),
            provider: provider.unwrap(),
        }
    }

    /// Who it takes the document's sender for, or why it doesn't.
    fn reads(&self, stage: &Stage, document: &[u8]) -> Result<String, String> {
        let asked = PendingSnapshot::authn_request(
            stage.request.as_str(),
            RelayStateParam::absent(),
            stage.issuer.as_str(),
            "post",
            stage.acs_url.as_str(),
            "post",
        );
        let asked = PendingAuthnRequest::from_snapshot(asked).unwrap();
        let form = vec![FormField::new("SAMLResponse", STANDARD.encode(document))];
        let skew = i64::try_from(claviger::saml::SKEW.as_millis()).unwrap();
        let skew = ClockSkew::from_millis(-skew, skew);
        let is_encrypted = document.windows(MARK.len()).any(|part| part == MARK);
        let reader = if is_encrypted { &self.encrypted } else { &self.plain };
        let read = reader.finish_sso(
            &self.provider,
            &asked,
            BrowserInput::<SsoResponse>::post(form),
            SamlValidationContext::new(stage.now, ReplayPolicy::DisabledForCompatibility).with_clock_skew(skew),
        );
        read.map(|session| session.name_id().value().to_owned()).map_err(|e| e.to_string())
    }
}

const MARK: &[u8] = b"<xenc:EncryptedData";

/// Why we are right, and of which documents that is said: by name, or by how names begin (`…*`).
const WHY: &[(&str, &[&str])] = &[
    (
        "There is one assertion in a Response, as the schema has it (A15). They look for the signed one among several and \
         read that; whoever reads the same document after us may find the other.",
        &[
            "wrapping: evil one in Extensions, its own ID",
            "wrapping: evil one in StatusDetail, its own ID",
            "wrapping: evil one in SignatureObject, its own ID",
            "wrapping: evil one in SignatureItself, its own ID",
            "wrapping: evil one in KeyInfo, its own ID",
            "structure: an empty EncryptedAssertion beside it",
            "structure: two signed assertions",
            "encrypted: twice",
        ],
    ),
    (
        "The schema has no such child there (SAML-Core 3.2.2): one Status, and nothing of anybody's own.",
        &["structure: an unknown child", "structure: two Status"],
    ),
    (
        "A reader that knows IDs by any case finds two elements of one (XMLDSig 4.4.3.2 leaves to applications which \
         attributes are IDs).",
        &["structure: an ID twice, as iD"],
    ),
    (
        "What a signature has beside SignedInfo, SignatureValue and KeyInfo is not covered by it, or covered twice: a place \
         to hide in, and for readers to differ on (CVE-2024-45409, CVE-2025-29774).",
        &[
            "inside: two ds:SignatureValue",
            "inside: two ds:KeyInfo",
            "inside: an Object",
            "inside: a Manifest",
            "inside: text between",
            "inside: RetrievalMethod",
            "inside: a second DigestValue in the Status (CVE-2024-45409)",
        ],
    ),
    (
        "The schema has the Signature behind the Issuer (SAML-Core 2.3.3); one elsewhere is a moved one.",
        &["inside: the signature at the assertion's end"],
    ),
    (
        "Each transform once, with no parameter but a short list of prefixes: SAML-Core 5.4.4 has no more, and each more is \
         work for a stranger.",
        &[
            "transform: the enveloped signature twice",
            "transform: kept prefixes by the hundred",
            "transform: kept prefixes twice",
            "transform: a parameter",
        ],
    ),
    (
        "They read past comments, instructions and CDATA as canonical XML does; a document that has them is read in two ways \
         by somebody (CVE-2017-11427, CVE-2025-29775), and no provider sends one.",
        &[
            "parser: a comment*",
            "parser: a processing instruction in the Issuer",
            "parser: CDATA in *",
            "plaintext: a comment in the NameID",
        ],
    ),
    (
        "The bytes are UTF-8 and the declaration says otherwise: who believes it reads another document.",
        &["parser: declared Latin-1", "parser: declared UTF-*", "parser: declared EBCDIC"],
    ),
    (
        "The provider signed around it, which they take for all that is in it. Somebody else's signature within, which does not \
         verify, says that it was not the provider who wrote that; every signature in a document must be good here.",
        &["encrypted: the Response by the provider, what is within by a stranger"],
    ),
    (
        "One key, within, and one value (XML-Enc 3): what else is said of keys and contents is nothing that a provider sends, \
         and some of it is an address to fetch.",
        &[
            "cipher: of a content, not an element",
            "cipher: an address in place of the value",
            "cipher: a key to be fetched",
            "cipher: an agreed key",
            "cipher: two keys",
            "cipher: encrypted data elsewhere",
        ],
    ),
    (
        "An EncryptedKey may stand beside the data, and some providers put it there (SAML-Core 2.3.4, XML-Enc 3.5). They look \
         for it within only.",
        &["control: encrypted, its key beside the data"],
    ),
    ("XML 1.1 has other names, ends of lines and control characters than what was signed.", &["parser: XML 1.1"]),
    (
        "Canonicalisation of a relative namespace is undefined (Canonical XML 1.0, 1.3), and fails to the digest of nothing \
         in libraries (CVE-2025-66568).",
        &["parser: a relative namespace (CVE-2025-66568)"],
    ),
    (
        "A stranger may make us work before anything is verified (A16): there is an end to depth, elements and namespaces.",
        &["size: namespaces copied 2,000 times", "size: depth 33", "size: 5,000 elements"],
    ),
    (
        "Whoever is nobody can't be signed in; and a NameID is a text (SAML-Core 2.2.2), so what is in its markup is anyone's \
         guess.",
        &["said: an empty NameID", "said: markup in the NameID"],
    ),
    (
        "An Issuer is an entity where it says nothing else, and its Format may be no other (SAML-Profiles 4.1.4.2); that of the \
         Response must be the provider's, too, where it has one.",
        &[
            "said: an issuer that is no entity",
            "around a signed assertion: another issuer",
            "in a signed Response: another issuer",
        ],
    ),
    (
        "There must be an AuthnStatement (SAML-Profiles 4.1.4.2); of two, it would be anyone's guess which login has ended \
         when one of them does.",
        &["said: no AuthnStatement", "said: two AuthnStatement"],
    ),
    (
        "SessionNotOnOrAfter has come (SAML-Core 2.7.2): a session from it would be over.",
        &["said: a login that has ended"],
    ),
    (
        "It is of tomorrow, beyond any skew: a wrong clock, or a document made to be kept.",
        &[
            "said: a login of tomorrow",
            "said: issued tomorrow",
            "around a signed assertion: issued tomorrow",
            "in a signed Response: issued tomorrow",
        ],
    ),
    (
        "A confirmation of a bearer must not have a NotBefore at all (SAML-Profiles 4.1.4.2), so one that lies ahead is at \
         least heeded.",
        &["said: a confirmation not yet"],
    ),
    ("It is no name (xs:ID), and an XPointer to who resolves it so.", &["said: an ID that is a pointer"]),
    (
        "Without a Destination it may have been meant for anybody. It must be there in what is signed (SAML-Bindings 3.5.5.2), \
         and every provider has it.",
        &["around a signed assertion: no destination"],
    ),
    (
        "Nobody reads KeyInfo here: a signature is the provider's when the pinned key made it. They compare what it says and \
         refuse, which is as safe.",
        &["control: KeyInfo of a stranger around the provider's signature is read by nobody"],
    ),
];

/// How many are taken by both: that the second reader reads at all.
const TAKEN_BY_BOTH: usize = 10;

#[test]
fn the_second_reader_agrees_or_it_is_said_why_we_are_right() {
    let stage = Stage::alone();
    let (other, explained) =
        (Other::at(&stage), |name: &str| WHY.iter().any(|(_, of)| of.iter().any(|of| fits(of, name))));
    let (mut unexplained, mut differing, mut taken_by_both) = (Vec::new(), Vec::new(), 0);
    for attack in attacks() {
        let theirs = other.reads(&stage, &attack.document(&stage));
        match (attack.verdict, &theirs) {
            (Verdict::Alice, Ok(who)) => {
                assert_eq!(who, ALICE, "{}", attack.name);
                taken_by_both += 1;
            }
            (Verdict::Refused(_), Err(_)) => {}
            (ours, theirs) => {
                if !explained(&attack.name) {
                    unexplained.push(format!("{}: we say {ours:?}, they {theirs:?}", attack.name));
                }
                differing.push(attack.name);
            }
        }
    }
    assert!(unexplained.is_empty(), "nobody says why we are right about\n{}", unexplained.join("\n"));
    assert!(taken_by_both >= TAKEN_BY_BOTH, "{taken_by_both}");
    for of in WHY.iter().flat_map(|(_, of)| *of) {
        assert!(differing.iter().any(|name| fits(of, name)), "they agree with us by now on `{of}`");
    }
}

/// Whether a name is meant.
fn fits(of: &str, name: &str) -> bool {
    of.strip_suffix('*').map_or(of == name, |begins| name.starts_with(begins))
}
