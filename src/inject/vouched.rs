//! Header names in every spelling that some server takes for the same.

use std::fmt;

use http::{HeaderMap, HeaderName};

/// A set of header names, and the power to remove them from a request.
///
/// CGI, WSGI and FastCGI servers turn `-` into `_`, and some `.` too; a client's `X_Forwarded_User` then overwrites
/// our `X-Forwarded-User` (A1, CVE-2025-64484, CVE-2026-39858, CVE-2024-45614). Here all of these are one name.
#[derive(Clone, Default)]
pub struct Vouched {
    /// By their lengths: there are many, and every header of every request is looked up.
    names: Vec<Vec<HeaderName>>,
    /// Bit `n` is set where a name has `n` bytes: many headers of a request are told apart by that alone.
    lengths: u128,
}

impl Vouched {
    /// These names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        let mut vouched = Self::default();
        for name in names {
            if !vouched.has(name) {
                let place = place(name);
                vouched.lengths |= 1 << place;
                if vouched.names.len() <= place {
                    vouched.names.resize(place + 1, Vec::new());
                }
                vouched.names.get_mut(place).into_iter().for_each(|names| names.push(name.clone()));
            }
        }
        vouched
    }

    /// Whether the name, in whatever spelling, is one of them.
    pub fn has(&self, name: &HeaderName) -> bool {
        let place = place(name);
        self.lengths & 1 << place != 0
            && self.names.get(place).is_some_and(|names| names.iter().any(|known| is_same(known, name)))
    }

    /// Removes every header that is one of them, in whatever spelling and however often it comes.
    pub fn strip(&self, headers: &mut HeaderMap) {
        let doomed: Vec<HeaderName> = headers.keys().filter(|name| self.has(name)).cloned().collect();
        for name in doomed {
            headers.remove(name);
        }
    }
}

impl fmt::Debug for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.iter().flatten()).finish()
    }
}

/// Names that are longer than any we know share a place.
fn place(name: &HeaderName) -> usize {
    name.as_str().len().min(127)
}

/// `HeaderName`s are lower-case already.
fn is_same(one: &HeaderName, other: &HeaderName) -> bool {
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| folded(*a) == folded(*b))
}

const fn folded(byte: u8) -> u8 {
    match byte {
        b'_' | b'.' => b'-',
        byte => byte,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a1_every_spelling_is_removed_however_often_it_comes() {
        let vouched = Vouched::new(&["x-forwarded-user".parse().unwrap(), "x-a_b".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for name in [
            "X-Forwarded-User",
            "x-forwarded-user",
            "X_Forwarded_User",
            "x_forwarded-user",
            "X.Forwarded.User",
            "x-forwarded.user",
            "X-A-B",
        ] {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("admin"));
        }
        for name in ["x-forwarded-use", "x-forwarded-users", "xforwardeduser", "x-forwarded+user", "accept"] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("stays"));
        }
        vouched.strip(&mut headers);
        assert_eq!(headers.len(), 5);
        assert!(headers.values().all(|value| value == "stays"), "{headers:?}");
    }

    #[test]
    fn names_of_any_length_are_told_apart() {
        let long: HeaderName = "x".repeat(300).parse().unwrap();
        let longer: HeaderName = "x".repeat(301).parse().unwrap();
        let vouched = Vouched::new([&long]);
        assert!(vouched.has(&long) && !vouched.has(&longer));
        assert!(!Vouched::default().has(&long));
    }
}
