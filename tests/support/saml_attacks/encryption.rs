//! Encrypted assertions: anybody can encrypt to us, so it says nothing about who wrote what is inside.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claviger::saml::Certificate;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Verdict::{Alice, Refused};
use super::{
    ADMIN, ALICE, Attack, DSIG, PROVIDER, STRANGER, Shape, Stage, Verdict, changed, cut, honest, honest_by, resigned,
    without,
};

/// How something is encrypted, so that one thing of it can be another.
struct Seal {
    transport: &'static str,
    method: &'static str,
    wrap: Wrap,
    content: Content,
    /// What is done to the bytes that were encrypted.
    after: fn(Vec<u8>) -> Vec<u8>,
    to: Option<Certificate>,
}

#[derive(Clone, Copy)]
enum Wrap {
    OaepSha1,
    OaepSha256,
    Pkcs1,
}

#[derive(Clone, Copy)]
enum Content {
    Gcm128,
    Gcm256,
    Cbc256,
}

const MGF1P: &str =
    "<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p\"></xenc:EncryptionMethod>";
const GCM256: &str = "http://www.w3.org/2009/xmlenc11#aes256-gcm";
const GCM128: &str = "http://www.w3.org/2009/xmlenc11#aes128-gcm";
const CBC256: &str = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";
const OAEP256: &str = "<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2009/xmlenc11#rsa-oaep\">\
    <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"></ds:DigestMethod>\
    <xenc11:MGF xmlns:xenc11=\"http://www.w3.org/2009/xmlenc11#\" Algorithm=\"http://www.w3.org/2009/xmlenc11#mgf1sha256\"></xenc11:MGF>\
    </xenc:EncryptionMethod>";

impl Seal {
    fn usual() -> Self {
        Self {
            transport: MGF1P,
            method: GCM256,
            wrap: Wrap::OaepSha1,
            content: Content::Gcm256,
            after: |b| b,
            to: None,
        }
    }

    fn cbc() -> Self {
        Self { method: CBC256, content: Content::Cbc256, ..Self::usual() }
    }

    fn seal(&self, plain: &[u8], stage: &Stage) -> String {
        let key = [7; 32];
        let key = if matches!(self.content, Content::Gcm128) { &key[..16] } else { &key[..] };
        let mut content = plain.to_vec();
        let gcm = |algorithm, content: &mut Vec<u8>| {
            let sealer = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
            sealer.seal_in_place_append_tag(Nonce::assume_unique_for_key([9; 12]), Aad::empty(), content).unwrap();
            [&[9; 12], &content[..]].concat()
        };
        let content = match self.content {
            Content::Gcm128 => gcm(&AES_128_GCM, &mut content),
            Content::Gcm256 => gcm(&AES_256_GCM, &mut content),
            Content::Cbc256 => {
                let key = UnboundCipherKey::new(&AES_256, key).unwrap();
                let context = EncryptionContext::Iv128(FixedLength::from([9; 16]));
                let sealer = PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap();
                sealer.less_safe_encrypt(&mut content, context).unwrap();
                [&[9; 16], &content[..]].concat()
            }
        };
        let public = self.to.as_ref().unwrap_or(&stage.encrypt_to);
        let (_, parsed) = X509Certificate::from_der(public.der()).unwrap();
        let public = PublicEncryptingKey::from_der(parsed.public_key().raw).unwrap();
        let wrapped = match self.wrap {
            Wrap::Pkcs1 => {
                let public = Pkcs1PublicEncryptingKey::new(public).unwrap();
                let mut out = vec![0; public.ciphertext_size()];
                public.encrypt(key, &mut out).unwrap().to_vec()
            }
            Wrap::OaepSha1 | Wrap::OaepSha256 => {
                let public = OaepPublicEncryptingKey::new(public).unwrap();
                let mut out = vec![0; public.ciphertext_size()];
                let oaep =
                    if matches!(self.wrap, Wrap::OaepSha1) { &OAEP_SHA1_MGF1SHA1 } else { &OAEP_SHA256_MGF1SHA256 };
                public.encrypt(oaep, key, &mut out, None).unwrap().to_vec()
            }
        };
        format!(
            "<saml:EncryptedAssertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
             <xenc:EncryptedData xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" Type=\"http://www.w3.org/2001/04/xmlenc#Element\">\
             <xenc:EncryptionMethod Algorithm=\"{}\"></xenc:EncryptionMethod><ds:KeyInfo xmlns:ds=\"{DSIG}\"><xenc:EncryptedKey>{}\
             <xenc:CipherData><xenc:CipherValue>{}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo>\
             <xenc:CipherData><xenc:CipherValue>{}</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData></saml:EncryptedAssertion>",
            self.method,
            self.transport,
            STANDARD.encode(wrapped),
            STANDARD.encode((self.after)(content)),
        )
    }

    /// A Response with its assertion encrypted.
    fn within(&self, response: &str, stage: &Stage) -> String {
        let assertion = cut(response, "saml:Assertion");
        response.replacen(assertion, &self.seal(assertion.as_bytes(), stage), 1)
    }
}

/// A Response with its assertion encrypted to us, which anybody can do; none where it has no assertion.
pub(super) fn encrypted(response: &str, stage: &Stage) -> Option<String> {
    let from = response.find("<saml:Assertion ")?;
    response[from..].contains("</saml:Assertion>").then(|| Seal::usual().within(response, stage))
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = good();
    attacks.extend(whose());
    attacks.extend(ciphers());
    attacks.extend(plaintexts());
    attacks
}

fn good() -> Vec<Attack> {
    let sealed = |name: &str, seal: fn() -> Seal| {
        Attack::new(format!("control: encrypted, {name}"), Alice, move |s: &Stage| {
            seal().within(&honest(s, false, true), s)
        })
    };
    vec![
        sealed("AES-256-GCM, OAEP with SHA-1", Seal::usual),
        sealed("AES-128-GCM", || Seal { method: GCM128, content: Content::Gcm128, ..Seal::usual() }),
        sealed("OAEP with SHA-256", || Seal { transport: OAEP256, wrap: Wrap::OaepSha256, ..Seal::usual() }),
        Attack::new("control: encrypted, the Response signed around it", Alice, |s| {
            resigned(&Seal::usual().within(&honest(s, false, false), s), "samlp:Response", &PROVIDER, &Shape::usual())
        }),
        Attack::new("control: encrypted, both signed", Alice, |s| {
            resigned(&Seal::usual().within(&honest(s, false, true), s), "samlp:Response", &PROVIDER, &Shape::usual())
        }),
        Attack::new("control: encrypted, its key beside the data", Alice, |s| {
            let sealed = Seal::usual().within(&honest(s, false, true), s);
            let key = cut(&sealed, "xenc:EncryptedKey").to_owned();
            let id = key.replacen(
                "<xenc:EncryptedKey>",
                &format!(
                    "<xenc:EncryptedKey Id=\"_k\" xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" xmlns:ds=\"{DSIG}\">"
                ),
                1,
            );
            let method = "<ds:RetrievalMethod Type=\"http://www.w3.org/2001/04/xmlenc#EncryptedKey\" URI=\"#_k\"></ds:RetrievalMethod>";
            let beside = changed(&sealed, &key, method);
            changed(&beside, "</xenc:EncryptedData>", &format!("</xenc:EncryptedData>{id}"))
        }),
    ]
}

fn whose() -> Vec<Attack> {
    let evil = |stage: &Stage| honest(stage, false, false).replace(ALICE, ADMIN);
    vec![
        Attack::new("encrypted: nobody signed", Refused("Unsigned"), move |s| Seal::usual().within(&evil(s), s)),
        Attack::new("encrypted: a stranger signed", Refused("Signature"), |s| {
            Seal::usual().within(&honest_by(s, &STRANGER, ADMIN, false, true), s)
        }),
        Attack::new("encrypted: a stranger signed the Response", Refused("Signature"), move |s| {
            resigned(&Seal::usual().within(&evil(s), s), "samlp:Response", &STRANGER, &Shape::usual())
        }),
        Attack::new("encrypted: changed after it was signed", Refused("Signature"), |s| {
            Seal::usual().within(&honest(s, false, true).replace(ALICE, ADMIN), s)
        }),
        Attack::new("encrypted: another's put into a signed Response", Refused("Signature"), move |s| {
            let signed = resigned(
                &Seal::usual().within(&honest(s, false, false), s),
                "samlp:Response",
                &PROVIDER,
                &Shape::usual(),
            );
            let other = Seal::usual().within(&evil(s), s);
            let signed_part = cut(&signed, "saml:EncryptedAssertion").to_owned();
            signed.replacen(&signed_part, cut(&other, "saml:EncryptedAssertion"), 1)
        }),
        Attack::new(
            "encrypted: the Response by the provider, what is within by a stranger",
            Refused("Signature"),
            |s| {
                let sealed = Seal::usual().within(&honest_by(s, &STRANGER, ADMIN, false, true), s);
                resigned(&sealed, "samlp:Response", &PROVIDER, &Shape::usual())
            },
        ),
        Attack::new("encrypted: beside a signed one", Refused("Structure"), move |s| {
            let good = honest(s, false, true);
            let other = Seal::usual().within(&evil(s), s);
            changed(&good, "</samlp:Response>", &format!("{}</samlp:Response>", cut(&other, "saml:EncryptedAssertion")))
        }),
        Attack::new("encrypted: before a signed one", Refused("Structure"), move |s| {
            let good = honest(s, false, true);
            let other = Seal::usual().within(&evil(s), s);
            changed(&good, "<saml:Assertion ", &format!("{}<saml:Assertion ", cut(&other, "saml:EncryptedAssertion")))
        }),
        Attack::new("encrypted: five times over", Refused("Encryption"), |s| {
            let response = honest(s, false, true);
            let mut sealed = cut(&response, "saml:Assertion").to_owned();
            (0..5).for_each(|_| sealed = Seal::usual().seal(sealed.as_bytes(), s));
            response.replacen(cut(&response, "saml:Assertion"), &sealed, 1)
        }),
        Attack::new("encrypted: until it is too large", Refused("Exceeds"), |s| {
            let response = honest(s, false, true);
            let mut sealed = cut(&response, "saml:Assertion").to_owned();
            (0..12).for_each(|_| sealed = Seal::usual().seal(sealed.as_bytes(), s));
            response.replacen(cut(&response, "saml:Assertion"), &sealed, 1)
        }),
        Attack::new("encrypted: within its own key, by the dozen", Refused(""), |s| {
            let sealed = Seal::usual().within(&honest(s, false, true), s);
            let key = cut(&sealed, "xenc:EncryptedKey");
            let open = "<xenc:EncryptedKey><ds:KeyInfo>";
            let close = "</ds:KeyInfo></xenc:EncryptedKey>";
            sealed.replacen(key, &format!("{}{key}{}", open.repeat(12), close.repeat(12)), 1)
        }),
        Attack::new("encrypted: twice", Refused("Structure"), |s| {
            let sealed = Seal::usual().within(&honest(s, false, true), s);
            let one = cut(&sealed, "saml:EncryptedAssertion").to_owned();
            changed(&sealed, &one, &format!("{one}{one}"))
        }),
        Attack::new("encrypted: the Response signed before that", Refused("Signature"), |s| {
            Seal::usual().within(&honest(s, true, false), s)
        }),
    ]
}

fn ciphers() -> Vec<Attack> {
    let (opaque, named) = (Refused("Undecryptable"), Refused("Encryption"));
    let sealed = |name: &str, verdict: Verdict, seal: fn() -> Seal| {
        Attack::new(format!("cipher: {name}"), verdict, move |s: &Stage| seal().within(&honest(s, false, true), s))
    };
    let altered = |name: &str, verdict: Verdict, from: &'static str, to: &'static str| {
        Attack::new(format!("cipher: {name}"), verdict, move |s: &Stage| {
            changed(&Seal::usual().within(&honest(s, false, true), s), from, to)
        })
    };
    vec![
        sealed("empty", opaque, || Seal { after: |_| Vec::new(), ..Seal::usual() }),
        sealed("one byte", opaque, || Seal { after: |_| vec![0], ..Seal::usual() }),
        sealed("a nonce alone", opaque, || Seal { after: |b| b[..12].to_vec(), ..Seal::usual() }),
        sealed("shorter than a tag", opaque, || Seal { after: |b| b[..20].to_vec(), ..Seal::usual() }),
        sealed("a tag cut off", opaque, || Seal { after: |b| b[..b.len() - 1].to_vec(), ..Seal::usual() }),
        sealed("a bit flipped", opaque, || Seal {
            after: |mut b| {
                b[40] ^= 1;
                b
            },
            ..Seal::usual()
        }),
        sealed("to a stranger's key", opaque, || Seal { to: Some(STRANGER.certificate.clone()), ..Seal::usual() }),
        sealed("a key of another length", opaque, || Seal { method: GCM128, ..Seal::usual() }),
        sealed("said OAEP with SHA-256, and is not", opaque, || Seal { transport: OAEP256, ..Seal::usual() }),
        sealed("said OAEP, and is PKCS #1 v1.5", opaque, || Seal { wrap: Wrap::Pkcs1, ..Seal::usual() }),
        sealed("PKCS #1 v1.5", named, || Seal {
            transport: "<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#rsa-1_5\"></xenc:EncryptionMethod>",
            wrap: Wrap::Pkcs1,
            ..Seal::usual()
        }),
        sealed("CBC without consent", named, Seal::cbc),
        sealed("CBC, empty", named, || Seal { after: |_| Vec::new(), ..Seal::cbc() }),
        sealed("CBC, an IV alone", named, || Seal { after: |b| b[..16].to_vec(), ..Seal::cbc() }),
        sealed("CBC, half an IV", named, || Seal { after: |b| b[..8].to_vec(), ..Seal::cbc() }),
        sealed("CBC, half a block", named, || Seal { after: |b| b[..24].to_vec(), ..Seal::cbc() }),
        sealed("CBC, a byte cut off", named, || Seal { after: |b| b[..b.len() - 1].to_vec(), ..Seal::cbc() }),
        sealed("CBC, its padding changed", named, || Seal {
            after: |mut b| {
                let before_last = b.len() - 17;
                b[before_last] ^= 0x80;
                b
            },
            ..Seal::cbc()
        }),
        sealed("OAEP with SHA-256 and a mask of SHA-1", named, || Seal {
            transport: "<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p\">\
                <ds:DigestMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"></ds:DigestMethod></xenc:EncryptionMethod>",
            ..Seal::usual()
        }),
        sealed("OAEP with a mask of MD5", named, || Seal {
            transport: "<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2009/xmlenc11#rsa-oaep\">\
                <xenc11:MGF xmlns:xenc11=\"http://www.w3.org/2009/xmlenc11#\" Algorithm=\"urn:md5\"></xenc11:MGF></xenc:EncryptionMethod>",
            ..Seal::usual()
        }),
        sealed("OAEP with parameters", named, || Seal {
            transport: "<xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p\">\
                <xenc:OAEPparams>AAAA</xenc:OAEPparams></xenc:EncryptionMethod>",
            ..Seal::usual()
        }),
        altered("3DES", named, GCM256, "http://www.w3.org/2001/04/xmlenc#tripledes-cbc"),
        altered("AES-192-CBC", named, GCM256, "http://www.w3.org/2001/04/xmlenc#aes192-cbc"),
        altered("no method", named, GCM256, ""),
        altered("of a content, not an element", named, "xmlenc#Element", "xmlenc#Content"),
        altered(
            "an address in place of the value",
            named,
            "<xenc:CipherValue>",
            "<xenc:CipherReference URI=\"http://127.0.0.1:9/\"></xenc:CipherReference><xenc:CipherValue>",
        ),
        altered(
            "a key to be fetched",
            named,
            "<xenc:EncryptedKey>",
            "<ds:RetrievalMethod URI=\"http://127.0.0.1:9/\"></ds:RetrievalMethod><xenc:EncryptedKey>",
        ),
        altered("no base64", named, "<xenc:CipherValue>", "<xenc:CipherValue>*"),
        altered(
            "an agreed key",
            named,
            "<xenc:EncryptedKey>",
            "<xenc:AgreementMethod></xenc:AgreementMethod><xenc:EncryptedKey>",
        ),
        altered("two keys", named, "<xenc:EncryptedKey>", "<xenc:EncryptedKey></xenc:EncryptedKey><xenc:EncryptedKey>"),
        Attack::new("cipher: no key", named, |s| {
            without(&Seal::usual().within(&honest(s, false, true), s), "xenc:EncryptedKey")
        }),
        Attack::new("cipher: no data", named, |s| {
            without(&Seal::usual().within(&honest(s, false, true), s), "xenc:EncryptedData")
        }),
        Attack::new("cipher: encrypted data elsewhere", Refused("Structure"), |s| {
            let sealed = Seal::usual().within(&honest(s, false, true), s);
            let data = cut(&sealed, "xenc:EncryptedData").to_owned();
            changed(
                &sealed,
                "</samlp:Status>",
                &format!("<samlp:StatusDetail>{data}</samlp:StatusDetail></samlp:Status>"),
            )
        }),
    ]
}

/// What is found once it is decrypted.
fn plaintexts() -> Vec<Attack> {
    let opaque = Refused("Undecryptable");
    let plain = |name: &str, verdict: Verdict, make: fn(&Stage) -> Vec<u8>| {
        Attack::new(format!("plaintext: {name}"), verdict, move |s: &Stage| {
            let response = honest(s, false, true);
            response.replacen(cut(&response, "saml:Assertion"), &Seal::usual().seal(&make(s), s), 1)
        })
    };
    vec![
        plain("empty", opaque, |_| Vec::new()),
        plain("text", opaque, |_| b"admin".to_vec()),
        plain("not UTF-8", opaque, |_| vec![0xff; 64]),
        plain("an element that is no assertion", opaque, |_| b"<a/>".to_vec()),
        plain("a DOCTYPE", opaque, |s| {
            format!("<!DOCTYPE a SYSTEM \"{}\">{}", s.forbidden_url, cut(&honest(s, false, true), "saml:Assertion"))
                .into()
        }),
        plain("a comment in the NameID", opaque, |s| {
            changed(cut(&honest(s, false, true), "saml:Assertion"), ALICE, "alice<!---->@example.org").into()
        }),
        plain("two assertions", opaque, |s| {
            let (one, two) = (honest(s, false, true), honest(s, false, false).replace(ALICE, ADMIN));
            format!("{}{}", cut(&two, "saml:Assertion"), cut(&one, "saml:Assertion")).into()
        }),
        plain("the end of the Response, and another", opaque, |s| {
            let one = honest(s, false, true);
            format!("{}</samlp:Response>{}", cut(&one, "saml:Assertion"), &one[..one.find("<saml:Assertion").unwrap()])
                .into()
        }),
        plain("an encrypted assertion", Refused("Encryption"), |s| {
            Seal::usual().seal(cut(&honest(s, false, true), "saml:Assertion").as_bytes(), s).into()
        }),
        plain("an EncryptedID", Refused("Encryption"), |s| {
            let named = "<saml:EncryptedID></saml:EncryptedID></saml:Subject>";
            changed(cut(&honest(s, false, true), "saml:Assertion"), "</saml:Subject>", named).into()
        }),
        plain("depth 33", opaque, |s| {
            let deep = format!("{}{}</saml:AttributeValue>", "<a>".repeat(33), "</a>".repeat(33));
            changed(cut(&honest(s, false, true), "saml:Assertion"), "</saml:AttributeValue>", &deep).into()
        }),
        plain("signed in no known shape", opaque, |s| {
            changed(cut(&honest(s, false, true), "saml:Assertion"), "rsa-sha256", "rsa-sha1").into()
        }),
    ]
}
