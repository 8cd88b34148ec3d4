//! Signatures that are not there, not theirs, or not over what they seem to be (A15, threats 1.4).

use super::Verdict::{Alice, Refused};
use super::{
    ADMIN, ALICE, Attack, DSIG, OURSELVES, PROVIDER, STRANGER, Shape, Stage, changed, cut, honest, honest_by, resigned,
    without,
};

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = whose();
    attacks.extend(insides());
    attacks.extend(references());
    attacks.extend(transforms());
    attacks
}

fn whose() -> Vec<Attack> {
    let key_info = |text: &str, certificate: &str| {
        let own = cut(text, "ds:X509Certificate");
        text.replacen(own, &format!("<ds:X509Certificate>{certificate}</ds:X509Certificate>"), 1)
    };
    vec![
        Attack::new("control: the assertion signed", Alice, |s| honest(s, false, true)),
        Attack::new("control: the Response signed", Alice, |s| honest(s, true, false)),
        Attack::new("control: both signed", Alice, |s| honest(s, true, true)),
        Attack::new("control: signed without KeyInfo", Alice, |s| without(&honest(s, false, true), "ds:KeyInfo")),
        Attack::new(
            "control: KeyInfo of a stranger around the provider's signature is read by nobody",
            Alice,
            move |s| key_info(&honest(s, false, true), &STRANGER.certificate.base64()),
        ),
        Attack::new("control: KeyInfo with a chain, each with its issuer", Alice, |s| {
            let good = honest(s, false, true);
            let own = cut(&good, "ds:X509Data");
            let serial = "<ds:X509IssuerSerial><ds:X509IssuerName>CN=x</ds:X509IssuerName>\
                          <ds:X509SerialNumber>1</ds:X509SerialNumber></ds:X509IssuerSerial>";
            let each = own.replacen("<ds:X509Data>", &format!("<ds:X509Data>\n{serial}\n"), 1);
            good.replacen(own, &each.repeat(5), 1)
        }),
        Attack::new("a KeyInfo of 1,900 names, beside as many elements", Refused("SignatureShape"), |s| {
            let keys = format!("<ds:KeyInfo>{}", "<ds:KeyName>b</ds:KeyName>".repeat(1900));
            let status = format!("<samlp:Extensions>{}</samlp:Extensions><samlp:Status>", "<a>b</a>".repeat(1900));
            let good = honest(s, true, false);
            changed(&changed(&good, "<samlp:Status>", &status), "<ds:KeyInfo>", &keys)
        }),
        Attack::new("a SignatureValue of 3,000 bytes", Refused("SignatureShape"), |s| {
            let good = honest(s, false, true);
            good.replacen(
                cut(&good, "ds:SignatureValue"),
                &format!("<ds:SignatureValue>{}</ds:SignatureValue>", "QUFB".repeat(1000)),
                1,
            )
        }),
        Attack::new("unsigned", Refused("Unsigned"), |s| honest(s, false, false)),
        Attack::new("unsigned, and somebody else", Refused("Unsigned"), |s| {
            honest(s, false, false).replace(ALICE, ADMIN)
        }),
        Attack::new("stripped off the assertion", Refused("Unsigned"), |s| {
            without(&honest(s, false, true), "ds:Signature").replace(ALICE, ADMIN)
        }),
        Attack::new("stripped off the Response", Refused("Unsigned"), |s| {
            without(&honest(s, true, false), "ds:Signature").replace(ALICE, ADMIN)
        }),
        Attack::new("stripped off the Response, the assertion changed", Refused("Signature"), |s| {
            without(&honest(s, true, true), "ds:Signature").replace(ALICE, ADMIN)
        }),
        Attack::new("stripped off the assertion, the Response changed", Refused("Signature"), |s| {
            let good = honest(s, true, true);
            let assertion = cut(&good, "saml:Assertion");
            good.replacen(assertion, &without(assertion, "ds:Signature"), 1).replace(ALICE, ADMIN)
        }),
        Attack::new("by a stranger, with their KeyInfo (CVE-2023-48703)", Refused("Signature"), |s| {
            honest_by(s, &STRANGER, ADMIN, false, true)
        }),
        Attack::new("by a stranger, the Response too", Refused("Signature"), |s| {
            honest_by(s, &STRANGER, ADMIN, true, true)
        }),
        Attack::new("by a stranger, with the provider's KeyInfo", Refused("Signature"), move |s| {
            key_info(&honest_by(s, &STRANGER, ADMIN, false, true), &PROVIDER.certificate.base64())
        }),
        Attack::new("by a stranger, without KeyInfo", Refused("Signature"), |s| {
            without(&honest_by(s, &STRANGER, ADMIN, false, true), "ds:KeyInfo")
        }),
        Attack::new("by our own key", Refused("Signature"), |s| honest_by(s, &OURSELVES, ADMIN, false, true)),
        Attack::new("the Response by the provider, the assertion by a stranger", Refused("Signature"), |s| {
            let evil = honest_by(s, &STRANGER, ADMIN, false, true);
            let bare = honest(s, false, false);
            let swapped = bare.replacen(cut(&bare, "saml:Assertion"), cut(&evil, "saml:Assertion"), 1);
            resigned(&swapped, "samlp:Response", &PROVIDER, &Shape::usual())
        }),
        Attack::new("the Response by a stranger, the assertion by the provider", Refused("Signature"), |s| {
            resigned(&honest(s, false, true), "samlp:Response", &STRANGER, &Shape::usual())
        }),
        Attack::new("the signature of another assertion", Refused("SignatureShape"), |s| {
            let (one, other) = (honest(s, false, true), honest(s, false, true));
            one.replacen(cut(&one, "ds:Signature"), cut(&other, "ds:Signature"), 1)
        }),
        Attack::new("the signature of another, with its ID", Refused("Signature"), |s| {
            let (one, other) = (honest(s, false, true), honest(s, false, true));
            let id = |text: &str| super::value(cut(text, "saml:Assertion"), "ID").to_owned();
            let swapped = one.replacen(cut(&one, "ds:Signature"), cut(&other, "ds:Signature"), 1);
            swapped
                .replacen(&format!("ID=\"{}\"", id(&one)), &format!("ID=\"{}\"", id(&other)), 1)
                .replace(ALICE, ADMIN)
        }),
        Attack::new("the Response's signature over the assertion", Refused("SignatureShape"), |s| {
            let good = honest(s, true, false);
            let signature = cut(&good, "ds:Signature").to_owned();
            let moved = without(&good, "ds:Signature").replace(ALICE, ADMIN);
            let issuer = cut(cut(&moved, "saml:Assertion"), "saml:Issuer").to_owned();
            let assertion = cut(&moved, "saml:Assertion");
            moved.replacen(assertion, &assertion.replacen(&issuer, &format!("{issuer}{signature}"), 1), 1)
        }),
        Attack::new("the subject changed", Refused("Signature"), |s| honest(s, false, true).replace(ALICE, ADMIN)),
        Attack::new("an attribute changed", Refused("Signature"), |s| changed(&honest(s, false, true), "wiki", "root")),
        Attack::new("an attribute added", Refused("Signature"), |s| {
            changed(
                &honest(s, false, true),
                "</saml:AttributeStatement>",
                "<saml:Attribute Name=\"x\"></saml:Attribute></saml:AttributeStatement>",
            )
        }),
        Attack::new("the subject changed in a signed Response", Refused("Signature"), |s| {
            honest(s, true, false).replace(ALICE, ADMIN)
        }),
        Attack::new("a space in the subject", Refused("Signature"), |s| {
            honest(s, false, true).replace(ALICE, "alice@example.org ")
        }),
    ]
}

fn insides() -> Vec<Attack> {
    let shape = Refused("SignatureShape");
    let swap = |name: &str, from: &'static str, to: &'static str| {
        Attack::new(format!("inside: {name}"), shape, move |s: &Stage| changed(&honest(s, false, true), from, to))
    };
    let doubled = |name: &'static str| {
        Attack::new(format!("inside: two {name}"), shape, move |s: &Stage| {
            let good = honest(s, false, true);
            let one = cut(&good, name);
            good.replacen(one, &format!("{one}{one}"), 1)
        })
    };
    let gone = |name: &'static str| {
        Attack::new(format!("inside: no {name}"), shape, move |s: &Stage| without(&honest(s, false, true), name))
    };
    let emptied = |name: &'static str| {
        Attack::new(format!("inside: an empty {name}"), shape, move |s: &Stage| {
            let good = honest(s, false, true);
            good.replacen(cut(&good, name), &format!("<{name}></{name}>"), 1)
        })
    };
    let method = |name: &str, algorithm: &'static str| {
        Attack::new(format!("inside: method {name}"), shape, move |s: &Stage| {
            let shape = Shape { method: algorithm.into(), ..Shape::usual() };
            resigned(&honest(s, false, false), "saml:Assertion", &PROVIDER, &shape)
        })
    };
    let digest = |name: &str, algorithm: &'static str, value: Option<&'static str>| {
        Attack::new(format!("inside: digest {name}"), shape, move |s: &Stage| {
            let digest = value.map(str::to_owned);
            let shape = Shape { digest_method: algorithm.into(), digest, ..Shape::usual() };
            resigned(&honest(s, false, false), "saml:Assertion", &PROVIDER, &shape)
        })
    };
    let mut attacks = vec![
        doubled("ds:Signature"),
        doubled("ds:SignedInfo"), // CVE-2025-29775
        doubled("ds:Reference"),
        doubled("ds:DigestValue"),
        doubled("ds:DigestMethod"),
        doubled("ds:Transforms"),
        doubled("ds:SignatureValue"),
        doubled("ds:SignatureMethod"),
        doubled("ds:CanonicalizationMethod"),
        doubled("ds:KeyInfo"),
        gone("ds:SignedInfo"),
        gone("ds:Reference"),
        gone("ds:SignatureValue"),
        gone("ds:DigestValue"),
        gone("ds:Transforms"),
        emptied("ds:SignatureValue"),
        emptied("ds:DigestValue"),
        emptied("ds:SignedInfo"),
        method("RSA-SHA1", "http://www.w3.org/2000/09/xmldsig#rsa-sha1"),
        method("HMAC-SHA256", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"),
        method("HMAC-SHA1", "http://www.w3.org/2000/09/xmldsig#hmac-sha1"),
        method("DSA", "http://www.w3.org/2000/09/xmldsig#dsa-sha1"),
        method("RSA-MD5", "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"),
        method("none", ""),
        digest("SHA-1", "http://www.w3.org/2000/09/xmldsig#sha1", Some("2jmj7l5rSw0yVb/vlWAYkK/YBwk=")),
        digest("MD5", "http://www.w3.org/2001/04/xmldsig-more#md5", Some("1B2M2Y8AsgTpgAmY7PhCfg==")),
        digest("too short", "http://www.w3.org/2001/04/xmlenc#sha256", Some("AAAA")),
        swap("an Object", "</ds:KeyInfo>", "</ds:KeyInfo><ds:Object></ds:Object>"),
        swap("a Manifest", "</ds:SignedInfo>", "</ds:SignedInfo><ds:Manifest></ds:Manifest>"),
        swap("text between", "</ds:SignedInfo>", "</ds:SignedInfo>x"),
        swap(
            "RetrievalMethod",
            "<ds:X509Data>",
            "<ds:RetrievalMethod URI=\"http://127.0.0.1:9/\"></ds:RetrievalMethod><ds:X509Data>",
        ),
        swap("an attribute of its own", "<ds:SignedInfo>", "<ds:SignedInfo x=\"y\">"),
        swap(
            "a method's parameter",
            "rsa-sha256\"></ds:SignatureMethod>",
            "rsa-sha256\"><ds:HMACOutputLength>1</ds:HMACOutputLength></ds:SignatureMethod>",
        ),
        Attack::new("inside: in another namespace", Refused("Unsigned"), |s| {
            changed(&honest(s, false, true), &format!(" xmlns:ds=\"{DSIG}\""), " xmlns:ds=\"urn:other\"")
        }),
    ];
    attacks.push(Attack::new("inside: the digest of nothing, signed (CVE-2025-66568)", Refused("Signature"), |s| {
        // what a verifier hashes whose canonicalisation failed: SHA-256 of no bytes
        let digest = Some("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".into());
        let shape = Shape { digest, ..Shape::usual() };
        resigned(&honest(s, false, false), "saml:Assertion", &PROVIDER, &shape).replace(ALICE, ADMIN)
    }));
    attacks.push(Attack::new("inside: a second DigestValue in the Status (CVE-2024-45409)", Refused("Structure"), |s| {
        let detail = format!("<samlp:StatusDetail><ds:DigestValue xmlns:ds=\"{DSIG}\">AAAA</ds:DigestValue></samlp:StatusDetail></samlp:Status>");
        changed(&honest(s, false, true), "</samlp:Status>", &detail)
    }));
    attacks.push(Attack::new("inside: the signature at the assertion's end", shape, |s| {
        let good = honest(s, false, true);
        let signature = cut(&good, "ds:Signature").to_owned();
        changed(&without(&good, "ds:Signature"), "</saml:Assertion>", &format!("{signature}</saml:Assertion>"))
    }));
    attacks.push(Attack::new("inside: the signature in the Subject", Refused("Structure"), |s| {
        let good = honest(s, true, false);
        let signature = cut(&good, "ds:Signature").to_owned();
        changed(&without(&good, "ds:Signature"), "</saml:Subject>", &format!("{signature}</saml:Subject>"))
    }));
    attacks
}

fn references() -> Vec<Attack> {
    let to = |name: &str, uri: fn(&Stage) -> String| {
        Attack::new(format!("reference: {name}"), Refused("SignatureShape"), move |s: &Stage| {
            let shape = Shape { uri: Some(uri(s)), ..Shape::usual() };
            resigned(&honest(s, false, false), "saml:Assertion", &PROVIDER, &shape)
        })
    };
    vec![
        to("an address", |s| s.forbidden_url.clone()),
        to("a file", |s| format!("file://{}", s.forbidden_file)),
        to("a device", |_| "file:///dev/zero".into()),
        to("the whole document", |_| String::new()),
        to("nothing", |_| "none".into()),
        to("another ID", |_| "#_other".into()),
        to("an empty fragment", |_| "#".into()),
        to("XPointer to the root", |_| "#xpointer(/)".into()),
        to("XPointer to an ID", |_| "#xpointer(id('_x'))".into()),
        to("an element by number", |_| "#element(/1/2)".into()),
        to("FTP", |_| "ftp://127.0.0.1:9/".into()),
        Attack::new("reference: to the assertion, from the Response", Refused("SignatureShape"), |s| {
            let bare = honest(s, false, false);
            let id = super::value(cut(&bare, "saml:Assertion"), "ID").to_owned();
            resigned(&bare, "samlp:Response", &PROVIDER, &Shape { uri: Some(format!("#{id}")), ..Shape::usual() })
        }),
    ]
}

fn transforms() -> Vec<Attack> {
    const ENVELOPED: &str =
        "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>";
    let with = |name: &str, transforms: String| {
        Attack::new(format!("transform: {name}"), Refused("SignatureShape"), move |s: &Stage| {
            let shape = Shape { transforms: transforms.clone(), ..Shape::usual() };
            resigned(&honest(s, false, false), "saml:Assertion", &PROVIDER, &shape)
        })
    };
    let then = |algorithm: &str, inner: &str| {
        format!("{ENVELOPED}<ds:Transform Algorithm=\"{algorithm}\">{inner}</ds:Transform>")
    };
    let exclusive = "http://www.w3.org/2001/10/xml-exc-c14n#";
    let usual = then(exclusive, "");
    let canonical = |name: &str, algorithm: &'static str| {
        Attack::new(format!("canonicalisation: {name}"), Refused("SignatureShape"), move |s: &Stage| {
            let method = format!("<ds:CanonicalizationMethod Algorithm=\"{algorithm}\"></ds:CanonicalizationMethod>");
            let shape = Shape { canonical: method, ..Shape::usual() };
            resigned(&honest(s, false, false), "saml:Assertion", &PROVIDER, &shape)
        })
    };
    let sheet = "<xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" version=\"1.0\"></xsl:stylesheet>";
    let kept = |list: &str| {
        format!("<ec:InclusiveNamespaces xmlns:ec=\"{exclusive}\" PrefixList=\"{list}\"></ec:InclusiveNamespaces>")
    };
    let mut attacks = vec![
        with("none", String::new()),
        with("the enveloped signature alone", ENVELOPED.into()),
        with("the canonicalisation alone", usual.replacen(ENVELOPED, "", 1)),
        with("the canonicalisation first", format!("{}{ENVELOPED}", usual.replacen(ENVELOPED, "", 1))),
        with("the enveloped signature twice", format!("{ENVELOPED}{usual}")),
        with("XSLT", then("http://www.w3.org/TR/1999/REC-xslt-19991116", sheet)),
        with(
            "XSLT third",
            format!("{usual}{}", then("http://www.w3.org/TR/1999/REC-xslt-19991116", sheet).replacen(ENVELOPED, "", 1)),
        ),
        with("XPath", then("http://www.w3.org/TR/1999/REC-xpath-19991116", "<ds:XPath>self::text()</ds:XPath>")),
        with("XPath filter 2", then("http://www.w3.org/2002/06/xmldsig-filter2", "")),
        with("base64", then("http://www.w3.org/2000/09/xmldsig#base64", "")),
        with("inclusive canonicalisation", then("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "")),
        with("exclusive with comments", then("http://www.w3.org/2001/10/xml-exc-c14n#WithComments", "")),
        with("unknown", then("urn:x", "")),
        with("kept prefixes by the hundred", then(exclusive, &kept(&"a ".repeat(100)))),
        with("kept prefixes twice", then(exclusive, &format!("{}{}", kept("a"), kept("b")))),
        with("a parameter", then(exclusive, "<ds:XPath>x</ds:XPath>")),
        canonical("inclusive", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"),
        canonical("with comments", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments"),
        canonical("an address", "http://127.0.0.1:9/"),
    ];
    attacks.push(Attack::new("control: prefixes kept, as Okta has it", Alice, |s| {
        let list = "<ec:InclusiveNamespaces xmlns:ec=\"http://www.w3.org/2001/10/xml-exc-c14n#\" PrefixList=\"xs\"></ec:InclusiveNamespaces>";
        let shape = Shape::usual();
        let shape = Shape {
            transforms: changed(&shape.transforms, "xml-exc-c14n#\"></ds:Transform>", &format!("xml-exc-c14n#\">{list}</ds:Transform>")),
            ..shape
        };
        resigned(&honest(s, false, false), "saml:Assertion", &PROVIDER, &shape)
    }));
    attacks
}
