//! The file of a Unix socket: ours alone, where nobody else could have put it (A24, A25).

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::BACKLOG;

/// The file, removed with this unless another has come to its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    place: (u64, u64),
}

/// Binds and listens at `path`.
pub(super) fn bind(path: &Path, for_all: bool) -> io::Result<(UnixListener, SocketFile)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    only_ours_to_write(folder)?;
    // of two that find the same dead socket, the second must not remove what the first has put in its place
    let _turn = turn(folder)?;
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), place: place(&fs::symlink_metadata(path)?) };
    // nobody can connect before it listens, whatever the umask let through until here (A25)
    fs::set_permissions(path, Permissions::from_mode(if for_all { 0o666 } else { 0o600 }))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| place(&found) == self.place) {
            let _ = fs::remove_file(&self.path); // one that stays is found dead by the next
        }
    }
}

/// Whoever can write a folder on the way can put a socket of their own there. In one like /tmp nobody can take another's
/// things away, so it may be on the way, but there anybody could be first.
fn only_ours_to_write(folder: &Path) -> io::Result<()> {
    let (folder, us) = (fs::canonicalize(folder)?, geteuid().as_raw());
    for (at, above) in folder.ancestors().enumerate() {
        let found = fs::metadata(above)?;
        let is_sticky = at > 0 && found.mode() & STICKY != 0;
        let problem = if ![us, 0].contains(&found.uid()) {
            format!("`{}` is the user {}'s; expected a folder of this user's or root's", above.display(), found.uid())
        } else if found.mode() & OTHERS_WRITE != 0 && !is_sticky {
            format!("others can write `{}`; expected a folder that only its owner writes", above.display())
        } else {
            continue;
        };
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    }
    Ok(())
}

/// Makes room where a socket lies that nobody listens at any more.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let problem = "there is something that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // whatever else it says, somebody is there
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The folder for ourselves for a moment, among all who ask for it so.
fn turn(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
    for _ in 0..TURNS {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::WouldBlock) => thread::sleep(TURN),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process keeps the folder locked"))
}

fn place(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// `S_ISVTX`, and what lets the group and others write.
const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o022;
/// A turn takes less than a millisecond.
const TURN: Duration = Duration::from_millis(10);
const TURNS: u32 = 50;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    /// A25: whatever the umask is, the file is ours alone unless others are meant.
    #[test]
    fn a25_a_socket_is_this_users_alone_and_goes_with_its_listener() {
        let folder = folder();
        for (for_all, expected) in [(false, 0o600), (true, 0o666)] {
            let path = folder.path().join("app.sock");
            let (listener, file) = bind(&path, for_all).unwrap();
            assert_eq!(mode(&path), expected);
            drop((listener, file));
            assert!(!path.exists());
        }
    }

    /// A24: a dead one is replaced, one that is answered never is, and what is no socket stays.
    #[test]
    fn a24_only_a_dead_socket_is_replaced() {
        let folder = folder();
        let path = folder.path().join("app.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as a process that was killed leaves it");
        let (_living, file) = bind(&path, false).unwrap();
        assert_eq!(bind(&path, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).is_ok());

        // another has come to its place since: that one is not removed with the first
        fs::remove_file(&path).unwrap();
        let another = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
        drop(another);

        for odd in ["file", "link"] {
            let path = folder.path().join(odd);
            match odd {
                "file" => fs::write(&path, "kept").unwrap(),
                _ => symlink(folder.path().join("file"), &path).unwrap(), // A25: it is not followed
            }
            assert_eq!(bind(&path, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{odd}");
        }
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"kept");
    }

    /// A25: where others can write, they could put another socket in ours' place.
    #[test]
    fn a25_a_folder_that_others_write_is_refused() {
        let folder = folder();
        let below = folder.path().join("below");
        fs::create_dir(&below).unwrap();
        let try_it = || bind(&below.join("app.sock"), false).map_err(|error| error.kind()).map(drop);
        for (ours, above, expected) in [
            (0o700, 0o755, Ok(())),
            (0o755, 0o1777, Ok(())),
            (0o775, 0o755, Err(io::ErrorKind::PermissionDenied)),
            (0o1777, 0o755, Err(io::ErrorKind::PermissionDenied)),
            (0o755, 0o757, Err(io::ErrorKind::PermissionDenied)),
        ] {
            fs::set_permissions(&below, Permissions::from_mode(ours)).unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(above)).unwrap();
            assert_eq!(try_it(), expected, "{ours:o} in {above:o}");
        }
    }

    #[test]
    fn one_turn_is_waited_for_and_not_for_ever() {
        let folder = folder();
        let held = turn(folder.path()).unwrap();
        assert!(File::open(folder.path()).unwrap().try_lock().is_err());
        drop(held);
        assert!(turn(folder.path()).is_ok());
    }
}
