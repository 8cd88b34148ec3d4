//! Cookies of ours that never go upstream, and sealed texts that open only as they were sealed (A28, A9).

use std::sync::LazyLock;

use claviger::secret::{Sealer, Secret};
use claviger::session::{strip_from_request, strip_from_response};
use http::{HeaderMap, HeaderValue, header};

/// Lines of cookies: none of ours is left, and all others are.
pub fn strip(data: &[u8]) {
    let (mut request, mut response) = (HeaderMap::new(), HeaderMap::new());
    for value in data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()) {
        request.append(header::COOKIE, value.clone());
        response.append(header::SET_COOKIE, value);
    }
    let pairs = |headers: &HeaderMap, name| {
        let values = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        values.map(|pair| pair.trim_ascii().to_vec()).filter(|pair| !pair.is_empty()).collect::<Vec<_>>()
    };
    let before = pairs(&request, header::COOKIE);
    strip_from_request(&mut request);
    let after = pairs(&request, header::COOKIE);
    assert!(!after.iter().any(|pair| is_ours(pair)), "{after:?}");
    let others: Vec<_> = before.into_iter().filter(|pair| !looks_like_ours(pair)).collect();
    assert!(others.iter().all(|pair| after.contains(pair)), "{others:?} and {after:?}");
    strip_from_response(&mut response);
    for value in response.get_all(header::SET_COOKIE) {
        assert!(!is_ours(value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default()), "{value:?}");
    }
}

/// As a server or a browser reads it: the name before the first `=`, without spaces around it.
fn is_ours(pair: &[u8]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    name == b"__Host-claviger"
        || name.starts_with(b"__Host-claviger-")
        || name == b"claviger-443"
        || name == b"claviger-1-login-0"
}

/// Far more than is ours.
fn looks_like_ours(pair: &[u8]) -> bool {
    pair.windows(8).any(|text| text == b"claviger")
}

pub fn strip_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "a=b; __Host-claviger=x; c=d",
        "__Host-claviger=x\nclaviger-443=y;q",
        "=__Host-claviger=x; claviger-1-login-0=z",
        " __Host-claviger =x; Path=/",
        "__Host-claviger-login-a; claviger-provider-1=x; clavigera=b",
        ";;; ;=;==; a",
    ])
}

/// The first byte says what is done to a sealed text: only untouched, in its own context, does it open.
pub fn seal(data: &[u8]) {
    static SEALER: LazyLock<Sealer> = LazyLock::new(|| {
        Sealer::new(&[Secret::new("one key of thirty-two characters"), Secret::new("another")]).expect("keys")
    });
    // libFuzzer looks at what is compared, and so learns what the other has sealed before
    static SILENT: LazyLock<Sealer> = LazyLock::new(Sealer::random);
    let Some((deed, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest).into_owned();
    assert!(SILENT.open(&["login", "a.test"], &text).is_none(), "nobody sealed {text:?}");
    let sealed = SEALER.seal(&["login", "a.test"], rest);
    assert_eq!(SEALER.open(&["login", "a.test"], &sealed).expect("it opens").as_slice(), rest);
    for context in [
        &["login", "b.test"][..],
        &["logina", ".test"],
        &["login"],
        &["login", "a.test", ""],
        &["a.test", "login"],
        &[],
    ] {
        assert!(SEALER.open(context, &sealed).is_none(), "{context:?}");
    }
    let mut changed = sealed.clone().into_bytes();
    let at = usize::from(*deed) * 31 % changed.len();
    match deed % 4 {
        0 => changed[at] ^= 1 << (deed / 4 % 8),
        1 => changed.truncate(at),
        2 => changed.insert(at, b'A'),
        _ => changed.extend(rest),
    }
    if let Ok(changed) = String::from_utf8(changed)
        && changed != sealed
    {
        assert!(SEALER.open(&["login", "a.test"], &changed).is_none(), "{changed:?} of {sealed:?}");
    }
}

pub fn seal_seeds() -> Vec<Vec<u8>> {
    (0..8).map(|deed| [&[deed][..], b"a text that is sealed"].concat()).collect()
}
