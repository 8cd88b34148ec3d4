//! Every reader of hostile input, each with what must hold of whatever it reads.
//!
//! A target panics where that does not hold. What was found once stays in `found/<target>/`, and is tried with the seeds
//! by `cargo test`.

mod chunks;
mod cookies;
mod doors;
mod frames;
mod framing;
mod places;
mod policies;
#[cfg(feature = "saml")]
mod saml;
mod tokens;

/// Reads `data`, and panics where what must hold of it does not.
pub type Run = fn(&[u8]);

/// An entry point.
pub struct Target {
    pub name: &'static str,
    pub run: Run,
    /// What to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them. `make fuzz` reads the names off this table.
pub const ALL: &[Target] = &[
    Target { name: "framing", run: framing::run, seeds: framing::seeds },
    Target { name: "frames", run: frames::run, seeds: frames::seeds },
    Target { name: "path", run: places::path, seeds: places::path_seeds },
    Target { name: "host", run: places::host, seeds: places::host_seeds },
    Target { name: "target", run: places::target, seeds: places::target_seeds },
    Target { name: "cookies", run: cookies::strip, seeds: cookies::strip_seeds },
    Target { name: "seal", run: cookies::seal, seeds: cookies::seal_seeds },
    Target { name: "jwt", run: tokens::jwt, seeds: tokens::jwt_seeds },
    Target { name: "aws-chunked", run: chunks::run, seeds: chunks::seeds },
    Target { name: "sigv4", run: tokens::sigv4, seeds: tokens::sigv4_seeds },
    #[cfg(feature = "saml")]
    Target { name: "saml", run: saml::run, seeds: saml::seeds },
    Target { name: "template", run: policies::template, seeds: policies::template_seeds },
    Target { name: "trust", run: policies::trust, seeds: policies::trust_seeds },
    Target { name: "config", run: policies::config, seeds: policies::config_seeds },
    Target { name: "authority", run: doors::authority, seeds: doors::authority_seeds },
    Target { name: "provider", run: doors::provider, seeds: doors::provider_seeds },
];

/// How far what was read so far came, where a target counts it.
pub fn reached() -> Option<String> {
    #[cfg(feature = "saml")]
    return saml::reached();
    #[cfg(not(feature = "saml"))]
    None
}

/// Texts as seeds.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
