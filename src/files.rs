//! Files as they were when they were looked at, so that a change is found later.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

mod rotated;

pub use rotated::{Rotated, RotatedError};

/// What each of some files held. Two are equal where the files and what they held are, whatever else was done to them:
/// a file that was touched, or written anew with the same content, has not changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Files(BTreeMap<PathBuf, Look>);

impl Files {
    /// Looks at a file, unless that was done already. Do it before reading: what is written between the two is then a
    /// change that is still to be found, and not one that is missed.
    pub fn look_at(&mut self, path: &Path) {
        self.0.entry(path.to_owned()).or_insert_with(|| Look::at(path, None));
    }

    /// The same files as they are now.
    pub fn look_again(&self) -> Self {
        Self(self.0.iter().map(|(path, before)| (path.clone(), Look::at(path, Some(before)))).collect())
    }

    /// Adds the files of `others` that are not among these.
    pub fn add(&mut self, others: Self) {
        for (path, look) in others.0 {
            self.0.entry(path).or_insert(look);
        }
    }

    /// The files that are among both and held something else then.
    pub fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Path> {
        let changed = |(path, look): &(&PathBuf, &Look)| before.0.get(*path).is_some_and(|before| before != *look);
        self.0.iter().filter(changed).map(|(path, _)| path.as_path())
    }
}

/// One look at a file.
#[derive(Clone, Copy, Debug)]
struct Look {
    stat: Option<Stat>,
    content: Content,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Content {
    /// Nothing that can be read.
    Nothing,
    /// SHA-256 of it.
    Digest([u8; 32]),
    /// More than is read at every change, or a pipe, of which reading would take something: known by its outside.
    Unread(Stat),
}

/// What the system says of a file that a link may lead to: device, inode, size, and when it was written and changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stat {
    place: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl PartialEq for Look {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl Eq for Look {}

impl Look {
    /// What has the same outside as `before` is read again only where that costs nearly nothing: a clock's tick may hide
    /// two writes.
    fn at(path: &Path, before: Option<&Self>) -> Self {
        let Ok(found) = fs::metadata(path) else { return Self { stat: None, content: Content::Nothing } };
        let stat = Stat::of(&found);
        match before {
            Some(before) if before.stat == Some(stat) && stat.size > SMALL => *before,
            _ => Self { stat: Some(stat), content: Content::of(path, &found, stat) },
        }
    }
}

impl Content {
    fn of(path: &Path, found: &Metadata, stat: Stat) -> Self {
        if !found.is_file() || stat.size > LARGE {
            return Self::Unread(stat);
        }
        let Ok(content) = fs::read(path).map(Zeroizing::new) else { return Self::Nothing };
        let mut sum = [0; 32];
        sum.iter_mut().zip(digest(&SHA256, &content).as_ref()).for_each(|(to, from)| *to = *from);
        Self::Digest(sum)
    }
}

impl Stat {
    fn of(found: &Metadata) -> Self {
        Self {
            place: (found.dev(), found.ino()),
            size: found.size(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// Bytes that are read at every look.
const SMALL: u64 = 64 << 10;
/// Bytes that are read where something may have changed.
const LARGE: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn changed(after: &Files, before: &Files) -> Vec<String> {
        after.changed_since(before).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_change_is_one_of_content_by_whatever_way_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("plain", "1"), ("old", "1"), ("new", "2"), ("same", "1"), ("gone", "1")] {
            fs::write(at(name), text).unwrap();
        }
        symlink(at("old"), at("link")).unwrap();
        let mut files = Files::default();
        for name in ["plain", "link", "same", "gone", "comes"] {
            files.look_at(&at(name));
        }
        assert_eq!(files.look_again(), files);

        fs::write(at("plain"), "2").unwrap(); // the same size, perhaps in the same tick
        symlink(at("new"), at("link.new")).unwrap();
        fs::rename(at("link.new"), at("link")).unwrap(); // as Kubernetes changes mounted secrets
        fs::write(at("same.new"), "1").unwrap();
        fs::rename(at("same.new"), at("same")).unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::write(at("comes"), "").unwrap();
        let now = files.look_again();
        assert_eq!(changed(&now, &files), ["comes", "gone", "link", "plain"]);
        assert_eq!(changed(&now.look_again(), &now), [""; 0]);
    }

    #[test]
    fn large_files_are_known_by_their_outside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        fs::write(&path, vec![b'1'; usize::try_from(SMALL).unwrap() + 1]).unwrap();
        let mut files = Files::default();
        files.look_at(&path);
        assert_eq!(files.look_again(), files);
        fs::write(&path, vec![b'2'; usize::try_from(SMALL).unwrap() + 2]).unwrap();
        assert_eq!(changed(&files.look_again(), &files), ["large"]);
    }
}
