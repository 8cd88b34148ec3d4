//! `[keys]`: the keys that are ours, several per purpose so that they can be rotated with an overlap.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::{ConfigErrors, below};
use crate::built_in::{SecretSource, Surroundings};
use crate::secret::{Secret, random_token};

/// Where our keys are kept. Of each purpose the first makes new things and all of them are believed; none written:
/// one is made on the first start and kept in `state_dir`.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Seal cookies: tickets' companions and logins under way. 32 bytes or more of randomness, as text.
    pub cookie: Vec<SecretSource>,
    /// Sign the tokens that `minted` shows to STS: P-256 keys as PKCS#8 PEM.
    pub minted: Vec<SecretSource>,
    /// Sign the tokens that `identity_jwt` shows to upstreams: P-256 keys as PKCS#8 PEM, and none of `minted`.
    pub identity: Vec<SecretSource>,
    /// Seal sessions where they are kept outside of memory; as those for cookies. Required with `kind = "redis"`.
    pub session: Vec<SecretSource>,
}

/// What a key is for, and the name of its file in `state_dir`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// `[keys] cookie`
    Cookie,
    /// `[keys] minted`
    Minted,
    /// `[keys] identity`
    Identity,
    /// `[keys] session`
    Session,
}

impl Purpose {
    /// The key of `[keys]`, which is the name of the file as well.
    pub fn key(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::Minted => "minted",
            Self::Identity => "identity",
            Self::Session => "session",
        }
    }

    /// Whether a text is long enough for a key. Of a PEM the one who reads it knows more.
    fn takes(self, key: &Secret) -> bool {
        !matches!(self, Self::Cookie | Self::Session) || key.expose().trim().len() >= SHORTEST
    }
}

/// Why a key can't be kept in `state_dir`.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Others could read it (A25).
    #[error("`{0}` must be a plain file that only its owner can read (mode 0600)")]
    Exposed(PathBuf),
    /// It is no key: empty, or cut. Sealing with it would be sealing with what anyone can guess (A9).
    #[error("`{0}` holds fewer than {SHORTEST} characters; remove it, and a new one is made")]
    Short(PathBuf),
    /// It can't be read or written.
    #[error("`{path}` can't be kept")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// It can't be made.
    #[error("a key can't be made: {0}")]
    Make(String),
}

impl Keys {
    /// The keys that are written in the config for this purpose, the first first; possibly none.
    ///
    /// # Errors
    /// Each one that can't be read, at its key path.
    pub fn read(&self, purpose: Purpose, surroundings: &Surroundings) -> Result<Vec<Secret>, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let keys = self.sources(purpose).iter().enumerate().filter_map(|(i, source)| {
            let path = below("keys", &format!("{}[{i}]", purpose.key()));
            let key = errors.keep(&path, source.read(surroundings))?;
            let fits = purpose.takes(&key);
            if !fits {
                errors
                    .add(path, format!("has fewer than {SHORTEST} characters; `openssl rand -base64 32` makes a key"));
            }
            fits.then_some(key)
        });
        let keys = keys.collect();
        errors.or(keys)
    }

    fn sources(&self, purpose: Purpose) -> &[SecretSource] {
        match purpose {
            Purpose::Cookie => &self.cookie,
            Purpose::Minted => &self.minted,
            Purpose::Identity => &self.identity,
            Purpose::Session => &self.session,
        }
    }
}

/// The key that `state_dir` keeps for this purpose, made and written there when there is none yet.
///
/// # Errors
/// A file that others can read, a folder that can't be written, or a key that can't be made.
pub fn kept(
    state_dir: &Path,
    purpose: Purpose,
    make: impl FnOnce() -> Result<Secret, String>,
) -> Result<Secret, KeepError> {
    let path = state_dir.join(format!("{}.key", purpose.key()));
    let failed = |source| KeepError::File { path: path.clone(), source };
    match fs::symlink_metadata(&path) {
        // a symbolic link could lead anywhere, and a readable key is no key (A25)
        Ok(found) if !found.is_file() || found.mode() & 0o077 != 0 => Err(KeepError::Exposed(path)),
        Ok(_) => {
            let key = fs::read_to_string(&path).map(Secret::new).map_err(failed)?;
            if purpose.takes(&key) { Ok(key) } else { Err(KeepError::Short(path)) }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let key = make().map_err(KeepError::Make)?;
            write_new(state_dir, &path, &key).map_err(failed)?;
            Ok(key)
        }
        Err(e) => Err(failed(e)),
    }
}

/// Writes beside it and renames, so that a kill in between leaves no half key (A37), and waits until the name is on the
/// disk too: what is sealed with a key that a power cut takes away is lost. The name beside is new each time: in a
/// container every process has the same id, and what a killed one left would be in the way of all that follow.
fn write_new(folder: &Path, path: &Path, key: &Secret) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension(format!("{}.new", random_token(8)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(key.expose().as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

/// 24 random bytes in base64, less than which is a slip.
const SHORTEST: usize = 32;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::built_in::Environment;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let made = kept(&state, Purpose::Cookie, || Ok(Secret::random(32))).unwrap();
        let again = kept(&state, Purpose::Cookie, || panic!("there is one already")).unwrap();
        assert!(made.matches(again.expose()));
        assert_eq!(fs::metadata(state.join("cookie.key")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o700);
    }

    /// A9
    #[test]
    fn a_short_cookie_key_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookie.key");
        for (text, fits) in [("", false), ("\n", false), (&*"k".repeat(31), false), (&*"k".repeat(32), true)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            let found = kept(folder.path(), Purpose::Cookie, || panic!("there is one already"));
            assert_eq!(found.is_ok(), fits, "{text:?}");
            assert!(fits || matches!(found, Err(KeepError::Short(_))), "{text:?}");

            let surroundings = Surroundings::new(folder.path(), Environment::default());
            let keys = Keys { cookie: vec![source(r#"{ file = "cookie.key" }"#)], ..Keys::default() };
            let read = keys.read(Purpose::Cookie, &surroundings);
            assert_eq!(read.is_ok(), fits, "{text:?}");
            let errors = read.err().map(|errors| errors.to_string()).unwrap_or_default();
            assert_eq!(errors.contains("keys.cookie[0]"), !fits, "{errors}");
        }
    }

    /// A37: a process with the same id was killed while it wrote.
    #[test]
    fn what_a_killed_process_left_is_not_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("cookie.{}.new", std::process::id())), "").unwrap();
        kept(folder.path(), Purpose::Cookie, || Ok(Secret::random(32))).unwrap();
        assert!(folder.path().join("cookie.key").is_file());
    }

    fn source(text: &str) -> SecretSource {
        #[derive(serde::Deserialize)]
        struct Section {
            key: SecretSource,
        }
        toml::from_str::<Section>(&format!("key = {text}")).unwrap().key
    }

    #[test]
    fn a_key_that_others_can_read_or_redirect_is_refused() {
        // A25
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("cookie.key"), folder.path().join("elsewhere"));
        fs::write(&path, "key").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let keep = || kept(folder.path(), Purpose::Cookie, || Ok(Secret::random(32)));
        assert!(matches!(keep(), Err(KeepError::Exposed(_))));

        fs::rename(&path, &elsewhere).unwrap();
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(matches!(keep(), Err(KeepError::Exposed(_))));
    }
}
