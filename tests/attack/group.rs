//! A control group with little memory, for a process to be started in.

use std::fs;
use std::path::{Path, PathBuf};

/// Gone when dropped; nothing may run in it any more then.
pub struct Group(PathBuf);

impl Group {
    /// One that may have so much memory; none where this process may not make any (cgroups(7)).
    pub fn with(mib: u64) -> Option<Self> {
        let mine = fs::read_to_string("/proc/self/cgroup").ok()?;
        mine.lines().find_map(|line| {
            let (kind, path) = line.split_once(':')?.1.split_once(':')?;
            let (mounted, limit) = match kind {
                "" => ("/sys/fs/cgroup", "memory.max"),
                "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => return None,
            };
            let name = format!("claviger-attack-{}", std::process::id());
            let group = Self(Path::new(mounted).join(path.trim_start_matches('/')).join(name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(limit), (mib << 20).to_string()).ok()?;
            Some(group)
        })
    }

    /// What starts a process in it.
    pub fn entrance(&self) -> [String; 3] {
        let enter = format!("echo $$ > '{}/cgroup.procs' && exec \"$0\" \"$@\"", self.0.display());
        ["sh".to_owned(), "-c".to_owned(), enter]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
