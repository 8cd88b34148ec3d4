//! Who has a port that can't be had, as the system's own tables tell it (proc(5)).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;

/// The process that listens at `address`, for a sentence: `nginx (pid 7)`. None where that can't be seen.
pub fn holder_of(address: SocketAddr) -> Option<String> {
    let listening = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| fs::read_to_string(table).ok());
    let listening = listening.collect::<Vec<_>>().join("\n");
    let found = listening.lines().find_map(|line| Listening::read(line, address))?;
    let socket = format!("socket:[{}]", found.inode);
    // `self` and `thread-self` are there too, and are no process of their own
    let is_process = |entry: &fs::DirEntry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
    let processes = fs::read_dir("/proc").ok()?.flatten().filter(is_process).filter(|entry| {
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|link| link.as_os_str() == &*socket)
    });
    let names = processes.filter_map(|entry| {
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(format!("{} (pid {})", name.trim_end().escape_debug(), entry.file_name().to_str()?))
    });
    // the files of another user's processes are not ours to see
    names.into_iter().next().or_else(|| Some(format!("a process of the user {}", found.user)))
}

/// A line of a table that is about a listener.
struct Listening<'a> {
    user: &'a str,
    inode: &'a str,
}

impl<'a> Listening<'a> {
    /// The line, where it is about one that has this address for itself or with all others.
    fn read(line: &'a str, at: SocketAddr) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (ip, port) = fields.nth(1)?.split_once(':')?;
        let (ip, state) = (address(ip)?, fields.nth(1)?);
        let (user, inode) = (fields.nth(3)?, fields.nth(1)?);
        let is_there = u16::from_str_radix(port, 16).ok()? == at.port() && (ip == at.ip() || ip.is_unspecified());
        (is_there && state == LISTEN).then_some(Self { user, inode })
    }
}

/// An address as the table has it: words of 32 bits, each as the machine keeps it.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// `TCP_LISTEN`.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_has_a_holder_with_a_name() {
        for any in ["127.0.0.1:0", "0.0.0.0:0"] {
            let taken = std::net::TcpListener::bind(any).unwrap();
            let at = SocketAddr::from(([127, 0, 0, 1], taken.local_addr().unwrap().port()));
            let holder = holder_of(at).unwrap();
            assert!(holder.contains(&format!("(pid {})", std::process::id())), "{holder}");
            drop(taken);
            assert_eq!(holder_of(at), None);
        }
    }
}
