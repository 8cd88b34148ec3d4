//! The folder of kept sessions: one file for each, named by its id, whole or not there.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::OpenError;
use crate::secret::{Sealer, random_token};
use crate::session::record::{Part, Whole};

/// A folder that is this process's own while it runs.
pub(super) struct Folder {
    path: PathBuf,
    sealer: Arc<Sealer>,
    /// For the order in which names become lasting.
    itself: File,
    _lock: File,
}

/// What a file holds.
pub(super) enum Found {
    Session {
        whole: Box<Whole>,
        last_use: SystemTime,
    },
    /// Something that no key of ours opens.
    Unreadable {
        since: SystemTime,
    },
    /// It is no file, or has just gone.
    Nothing,
}

impl Folder {
    /// The folder, which is made where there is none. What a killed process left half written goes (A37).
    pub(super) fn open(path: &Path, sealer: Arc<Sealer>) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Folder { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            // a symbolic link could lead anywhere, and what others can write they can take away (A25)
            Ok(found) if !found.is_dir() || found.mode() & 0o077 != 0 => {
                return Err(OpenError::Exposed(path.to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let lock = path.join(LOCK);
        if fs::symlink_metadata(&lock).is_ok_and(|found| !found.is_file()) {
            return Err(OpenError::Exposed(lock));
        }
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(lock).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let itself = File::open(path).map_err(failed)?;
        let folder = Self { path: path.to_owned(), sealer, itself, _lock: lock };
        for entry in fs::read_dir(path).map_err(failed)?.filter_map(Result::ok) {
            if entry.path().extension().is_some_and(|extension| extension == NEW) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(folder)
    }

    /// The names of all kept sessions: their ids.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter(|name| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).collect())
    }

    pub(super) fn read(&self, name: &str, now: SystemTime) -> Found {
        let Ok((sealed, last_use)) = self.contents(name) else { return Found::Unreadable { since: now } };
        let Some(sealed) = sealed else { return Found::Nothing };
        match Part::Whole.open::<Whole>(&self.sealer, name, &sealed) {
            Some(whole) if whole.record.login.id.to_string() == name => {
                Found::Session { whole: Box::new(whole), last_use }
            }
            _ => Found::Unreadable { since: last_use },
        }
    }

    /// What a plain file of ours holds; nothing of a link, even one that comes between looking and opening (A25).
    fn contents(&self, name: &str) -> io::Result<(Option<Vec<u8>>, SystemTime)> {
        let path = self.path.join(name);
        let looked_at = fs::symlink_metadata(&path)?;
        let modified = looked_at.modified()?;
        if !looked_at.is_file() || looked_at.len() > LARGEST {
            return Ok((None, modified));
        }
        let mut file = File::open(&path)?;
        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (looked_at.dev(), looked_at.ino()) {
            return Ok((None, modified));
        }
        let mut sealed = Vec::new();
        file.read_to_end(&mut sealed)?;
        Ok((Some(sealed), modified))
    }

    /// Writes beside the old file and renames, so that there is always a whole one (A37).
    pub(super) fn write(&self, id: &str, whole: &Whole, last_use: SystemTime) -> io::Result<()> {
        let sealed = Part::Whole.seal(&self.sealer, id, whole);
        let beside = self.path.join(format!("{id}.{}.{NEW}", random_token(8)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&sealed)?;
            file.set_times(FileTimes::new().set_modified(last_use))?;
            file.sync_all()?;
            fs::rename(&beside, self.path.join(id))
        })();
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Removes a session's file, where there is one.
    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what is of no use any more; if that fails, the next start does it.
    pub(super) fn discard(&self, name: &str) {
        let _ = self.remove(name);
    }

    /// Takes down when a session was used last.
    pub(super) fn note_use(&self, id: &str, at: SystemTime) {
        let path = self.path.join(id);
        // a file that is gone has nothing to note, and what a link leads to is not ours (A25)
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file())
            && let Ok(file) = OpenOptions::new().write(true).open(path)
        {
            let _ = file.set_times(FileTimes::new().set_modified(at));
        }
    }

    /// Makes what was renamed and removed last even through a power cut: a logout must not come undone.
    pub(super) fn settle(&self) -> io::Result<()> {
        self.itself.sync_all()
    }

    pub(super) fn failed(&self, source: io::Error) -> OpenError {
        OpenError::Folder { path: self.path.clone(), source }
    }
}

const LOCK: &str = ".lock";
/// What is being written.
const NEW: &str = "new";
/// Claims and tokens are far smaller.
const LARGEST: u64 = 4 << 20;
