//! Sessions that outlive the store, and folders that must not be believed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use super::*;
use crate::session::tests::House;

struct Kept {
    house: House,
    folder: tempfile::TempDir,
    sealer: Arc<Sealer>,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        Self { house: House::new(), folder, sealer: Arc::new(Sealer::random()) }
    }

    fn open(&self) -> Result<Files, OpenError> {
        let settings = SessionSettings::default();
        Files::open(self.folder.path(), Arc::clone(&self.sealer), &settings, &self.house.upkeep())
    }

    fn path(&self, session: &Session) -> PathBuf {
        self.folder.path().join(session.id.to_string())
    }
}

const ONE: TicketHash = TicketHash([1; 32]);
const TWO: TicketHash = TicketHash([2; 32]);

fn found(store: &Files, ticket: &TicketHash) -> Option<Arc<Session>> {
    match store.glance(ticket) {
        Glance::Found(session) => Some(session),
        Glance::Nothing | Glance::Unsure => None,
    }
}

#[tokio::test]
async fn sessions_tickets_tokens_and_choices_outlive_the_store() {
    let kept = Kept::new();
    let (alice, bob) = (kept.house.session("alice"), kept.house.session("bob"));
    let store = kept.open().unwrap();
    store.keep(&alice, ONE).await.unwrap();
    store.keep(&alice, TWO).await.unwrap();
    store.keep(&bob, TicketHash([3; 32])).await.unwrap();
    alice.choices.store(Arc::new([("wiki".into(), "editor".into())].into()));
    store.update(&alice, Changed::Choices).await.unwrap();
    store.forget(&bob).await.unwrap();
    assert_eq!(fs::metadata(kept.path(&alice)).unwrap().permissions().mode() & 0o777, 0o600);
    drop(store); // as after a kill: nothing is told to finish

    let again = reopened(&kept).await;
    for ticket in [ONE, TWO] {
        let session = found(&again, &ticket).unwrap();
        assert_eq!((session.id(), session.subject(), session.ends()), (alice.id(), alice.subject(), alice.ends()));
        assert!(session.tokens().refresh.unwrap().matches("refresh-alice-0"));
        assert_eq!(session.choice("wiki").as_deref(), Some("editor"));
    }
    assert!(found(&again, &TicketHash([3; 32])).is_none(), "A9: logged out before");
    assert_eq!(again.of_provider_session("corp", "sid-alice").await.unwrap().len(), 1);
}

/// The lock goes with the thread that writes, which ends soon after its store.
async fn reopened(kept: &Kept) -> Files {
    loop {
        match kept.open() {
            Ok(store) => return store,
            Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_session_that_nobody_used_is_not_restored() {
    let kept = Kept::new();
    let (used, unused) = (kept.house.session("alice"), kept.house.session("bob"));
    let store = kept.open().unwrap();
    store.keep(&used, ONE).await.unwrap();
    store.keep(&unused, TWO).await.unwrap();
    kept.house.clock.advance(Duration::from_secs(3_000));
    used.touch(kept.house.upkeep().clock.now());
    store.close().await;
    drop(store);
    kept.house.clock.advance(Duration::from_secs(1_000));
    let again = reopened(&kept).await;
    assert!(found(&again, &ONE).is_some() && found(&again, &TWO).is_none());
    assert!(!kept.path(&unused).exists());
}

/// A9: a record that was changed, cut, swapped or sealed by another key is no session, and takes nothing else along.
#[tokio::test]
async fn a_changed_file_is_no_session() {
    let kept = Kept::new();
    let (alice, bob) = (kept.house.session("alice"), kept.house.session("bob"));
    let store = kept.open().unwrap();
    store.keep(&alice, ONE).await.unwrap();
    store.keep(&bob, TWO).await.unwrap();
    drop(store);
    drop(reopened(&kept).await);
    let whole = fs::read(kept.path(&alice)).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (what, content) in [
        ("flipped", flipped),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("another session's", fs::read(kept.path(&bob)).unwrap()),
    ] {
        fs::write(kept.path(&alice), &content).unwrap();
        let store = reopened(&kept).await;
        assert!(found(&store, &ONE).is_none(), "{what}");
        assert!(found(&store, &TWO).is_some(), "{what}");
    }
    fs::write(kept.path(&alice), &whole).unwrap();
    assert!(found(&reopened(&kept).await, &ONE).is_some(), "a key that comes back brings its sessions back");
}

/// A37: what a killed process left half written is not read, and goes.
#[tokio::test]
async fn half_a_file_is_ignored_and_removed() {
    let kept = Kept::new();
    let left = kept.folder.path().join("0123456789abcdef0123456789abcdef.x.new");
    fs::write(&left, "half").unwrap();
    let store = kept.open().unwrap();
    assert!(store.at_hand().is_empty() && !left.exists());
}

/// A37: the disk takes nothing more; logins fail, and those who are logged in stay.
#[tokio::test]
async fn a_login_that_cannot_be_kept_is_none() {
    let kept = Kept::new();
    let (alice, bob) = (kept.house.session("alice"), kept.house.session("bob"));
    let store = kept.open().unwrap();
    store.keep(&alice, ONE).await.unwrap();
    // also root can write nothing below what is no folder any more
    let aside = kept.folder.path().with_extension("aside");
    fs::rename(kept.folder.path(), &aside).unwrap();
    fs::write(kept.folder.path(), "").unwrap();
    assert!(store.keep(&bob, TWO).await.is_err() && found(&store, &TWO).is_none() && bob.is_over());
    assert!(found(&store, &ONE).is_some());
    assert!(store.trouble().is_some(), "what may be left of it is still to be removed");
    assert!(store.update(&alice, Changed::Choices).await.is_err() && store.trouble().is_some());

    fs::remove_file(kept.folder.path()).unwrap();
    fs::rename(&aside, kept.folder.path()).unwrap();
    store.tend().await;
    assert!(store.trouble().is_none(), "it was tried again");
}

/// A9, A37: its streams are cut also where the disk can't be told.
#[tokio::test]
async fn the_last_ticket_ends_its_session_whatever_the_disk_says() {
    let kept = Kept::new();
    let alice = kept.house.session("alice");
    let store = kept.open().unwrap();
    store.keep(&alice, ONE).await.unwrap();
    let aside = kept.folder.path().with_extension("aside");
    fs::rename(kept.folder.path(), &aside).unwrap();
    fs::write(kept.folder.path(), "").unwrap();
    assert!(store.retire(&ONE).await.is_err() && found(&store, &ONE).is_none() && alice.is_over());

    fs::remove_file(kept.folder.path()).unwrap();
    fs::rename(&aside, kept.folder.path()).unwrap();
    store.tend().await;
    assert!(!kept.path(&alice).exists() && store.trouble().is_none());
}

#[tokio::test]
async fn a_folder_that_others_can_use_or_redirect_is_refused() {
    // A25
    let kept = Kept::new();
    fs::set_permissions(kept.folder.path(), Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(kept.open(), Err(OpenError::Exposed(_))));
    fs::set_permissions(kept.folder.path(), Permissions::from_mode(0o700)).unwrap();
    let link = kept.folder.path().with_extension("link");
    symlink(kept.folder.path(), &link).unwrap();
    let open = |path: &Path| {
        Files::open(path, Arc::clone(&kept.sealer), &SessionSettings::default(), &kept.house.upkeep()).map(drop)
    };
    assert!(matches!(open(&link), Err(OpenError::Exposed(_))));
    fs::remove_file(&link).unwrap();

    // a link in the place of a session is not followed, neither to read nor to write
    let (alice, elsewhere) = (kept.house.session("alice"), kept.folder.path().join("elsewhere"));
    let store = kept.open().unwrap();
    store.keep(&alice, ONE).await.unwrap();
    fs::rename(kept.path(&alice), &elsewhere).unwrap();
    symlink(&elsewhere, kept.path(&alice)).unwrap();
    drop(store);
    let store = reopened(&kept).await;
    assert!(found(&store, &ONE).is_none());
    let before = fs::read(&elsewhere).unwrap();
    store.keep(&alice, ONE).await.unwrap();
    assert!(fs::symlink_metadata(kept.path(&alice)).unwrap().is_file());
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
}

#[tokio::test]
async fn a_folder_has_one_process() {
    let kept = Kept::new();
    let _store = kept.open().unwrap();
    assert!(matches!(kept.open(), Err(OpenError::InUse(_))));
}
