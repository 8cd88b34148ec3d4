//! A file that others write anew: what it says now.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use zeroize::Zeroizing;

use super::Stat;

/// A small text file that is rotated by somebody else, such as a projected token: it is looked at whenever it is asked
/// for, and read where it is another than before. What can't be read now has no value, whatever it was before.
#[derive(Debug)]
pub struct Rotated<T> {
    path: PathBuf,
    read: ArcSwapOption<(Stat, Arc<T>)>,
}

/// Why a file says nothing.
#[derive(Debug, thiserror::Error)]
pub enum RotatedError {
    /// It is not there, not readable, or no text.
    #[error("the file `{}` can't be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What it says makes no sense.
    #[error("the file `{}` {problem}", path.display())]
    Senseless {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; never its content.
        problem: String,
    },
}

impl<T> Rotated<T> {
    /// A file that was not looked at yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: ArcSwapOption::empty() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `make` makes of its text as it is now.
    ///
    /// # Errors
    /// [`RotatedError`]: what was read before does not count any more.
    pub fn current(&self, make: impl FnOnce(&str) -> Result<T, String>) -> Result<Arc<T>, RotatedError> {
        let unreadable = |source| RotatedError::Unreadable { path: self.path.clone(), source };
        let stat = Stat::of(&fs::metadata(&self.path).map_err(unreadable)?);
        if let Some(read) = &*self.read.load()
            && read.0 == stat
        {
            return Ok(Arc::clone(&read.1));
        }
        // one file is opened, so that its look and its text are of the same one
        let (file, mut text) = (File::open(&self.path).map_err(unreadable)?, Zeroizing::new(String::new()));
        let stat = Stat::of(&file.metadata().map_err(unreadable)?);
        file.take(MOST + 1).read_to_string(&mut text).map_err(unreadable)?;
        let made = match text.len() as u64 {
            0..=MOST => make(&text),
            _ => Err(format!("is longer than {MOST} bytes")),
        };
        let made = made.map_err(|problem| RotatedError::Senseless { path: self.path.clone(), problem })?;
        let made = Arc::new(made);
        self.read.store(Some(Arc::new((stat, Arc::clone(&made)))));
        Ok(made)
    }
}

/// Far more than any token: STS takes 20,000 characters.
const MOST: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rotated_is_read_again_and_what_is_gone_has_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = Rotated::new(path.clone());
        let text = || file.current(|text| Ok(text.to_owned())).map(|text| text.to_string());
        assert!(matches!(text(), Err(RotatedError::Unreadable { .. })));
        for next in ["one", "two"] {
            fs::write(folder.path().join("new"), next).unwrap();
            fs::rename(folder.path().join("new"), &path).unwrap(); // as Kubernetes changes projected tokens
            assert_eq!(text().unwrap(), next);
            let kept = file.current(|_| Err("was read twice".to_owned()));
            assert_eq!(*kept.unwrap(), next);
        }
        fs::write(&path, vec![b'x'; usize::try_from(MOST).unwrap() + 1]).unwrap();
        assert!(matches!(text(), Err(RotatedError::Senseless { .. })));
        fs::remove_file(&path).unwrap();
        assert!(text().is_err());
    }
}
