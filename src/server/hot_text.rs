//! The code that every request runs, on one huge page.
//!
//! The release build lays that code side by side (`make release`), in about a megabyte. Mapped from the file it lies on
//! 250 pages of 4 KiB, and a processor remembers where some dozens of pages lie; what it has forgotten it finds by a walk
//! through tables, in a virtual machine through two kinds of them. On one page of 2 MiB a small request by TLS cost 6 %
//! less. Linux gives huge pages for the text of a file on few file systems, and for memory of our own anywhere: so the
//! text is copied there and moved under itself.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::ops::Range;

/// Moves the 2 MiB of this program's text around `near`, a function that every request calls, to a huge page; says whether
/// it did. It does not where the system gives none (`transparent_hugepage/enabled`), nor in builds that are not laid out:
/// their text begins anywhere, and what requests run is all over it.
///
/// Nothing is ever writable and executable at once. Profilers lose the names of what has moved.
///
/// # Errors
/// The system refuses it, as it may where memory that was written must not be executed: then nothing has changed.
#[cfg(target_os = "linux")]
pub fn to_huge_page(near: *const ()) -> io::Result<bool> {
    if !fs::read_to_string(SETTING).is_ok_and(|setting| !setting.contains("[never]")) {
        return Ok(false);
    }
    let page = near.addr() & !(HUGE - 1);
    let laid_out = text(&fs::read_to_string("/proc/self/maps")?, &(page..page + HUGE));
    if !laid_out.is_some_and(|text| text.start.is_multiple_of(HUGE)) {
        return Ok(false);
    }
    moved::under_itself(near.with_addr(page).cast_mut().cast()).map(|()| true)
}

/// Elsewhere there is no such page.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn to_huge_page(_: *const ()) -> io::Result<bool> {
    Ok(false)
}

/// The one mapping that all of it lies in and that can be read and executed, by proc_pid_maps(5).
#[cfg(target_os = "linux")]
fn text(maps: &str, wanted: &Range<usize>) -> Option<Range<usize>> {
    let number = |text| usize::from_str_radix(text, 16).ok();
    let mut texts = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-').filter(|_| rest.starts_with("r-xp"))?;
        Some(number(from)?..number(to)?)
    });
    texts.find(|text| text.start <= wanted.start && wanted.end <= text.end)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "moving memory is unsafe by its nature; all of it is here")]
mod moved {
    use std::{io, ptr};

    use rustix::mm::{
        Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect, mremap_fixed,
        munmap,
    };

    use super::{HUGE, c_void};

    /// Puts a copy on a huge page in the place of the original.
    pub(super) fn under_itself(text: *mut c_void) -> io::Result<()> {
        // twice the size has an aligned half in it
        let (room, flags) = (2 * HUGE, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: new memory, wherever the system likes, concerns nobody.
        let found = unsafe { mmap_anonymous(ptr::null_mut(), room, flags, MapFlags::PRIVATE) }?;
        let copy = found.map_addr(|address| address.next_multiple_of(HUGE));
        // SAFETY: `copy` is an aligned half of what was just mapped, which nobody else knows of. `text` is as much of this
        // program's text, which is readable and changes no more. What takes its place is the same bytes, in one step of
        // the system's, so that whoever executes them, this thread too, goes on as before.
        let moved = unsafe {
            madvise(copy, HUGE, Advice::LinuxHugepage)
                .inspect(|()| ptr::copy_nonoverlapping(text.cast::<u8>(), copy.cast::<u8>(), HUGE))
                .and_then(|()| mprotect(copy, HUGE, MprotectFlags::READ | MprotectFlags::EXEC))
                .and_then(|()| mremap_fixed(copy, HUGE, HUGE, MremapFlags::MAYMOVE, text))
        };
        // SAFETY: what is left of it is nobody's; where the copy was is a hole by now, or still the copy.
        unsafe { munmap(found, room) }?;
        Ok(moved.map(drop)?)
    }
}

#[cfg(target_os = "linux")]
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
#[cfg(target_os = "linux")]
const HUGE: usize = 2 << 20;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_may_be_executed_and_not_written() {
        let maps = "00400000-00a00000 r-xp 00000000 fe:00 1 /usr/bin/claviger\n\
                    00a00000-01000000 r--p 00600000 fe:00 1 /usr/bin/claviger\n\
                    01000000-01400000 rwxp 00000000 00:00 0\n";
        for (wanted, is_text) in [
            (0x40_0000..0x60_0000, true),
            (0x80_0000..0xa0_0000, true),
            (0x90_0000..0xb0_0000, false),
            (0x20_0000..0x40_0000, false),
            (0xa0_0000..0xc0_0000, false),
            (0x100_0000..0x120_0000, false),
        ] {
            assert_eq!(text(maps, &wanted), is_text.then_some(0x40_0000..0xa0_0000), "{wanted:x?}");
        }
    }

    /// In this very program, while other tests run in it.
    #[test]
    fn moved_text_is_the_same_text() {
        let maps = || fs::read_to_string("/proc/self/maps").unwrap();
        let near = crate::web::strip_hop_by_hop as *const ();
        let page = near.addr() & !(HUGE - 1);
        if text(&maps(), &(page..page + HUGE)).is_none() {
            return eprintln!("SKIPPED: this program's text is too small");
        }
        if let Err(refused) = moved::under_itself(near.with_addr(page).cast_mut().cast()) {
            return eprintln!("SKIPPED: this system executes nothing that was written: {refused}");
        }
        let (maps, there) = (maps(), format!("{page:x}-"));
        let line = maps.lines().find(|line| line.starts_with(&there)).unwrap();
        assert!(line.contains("r-xp") && !line.contains('/'), "it is nobody's file any more: {line}");
        let mut headers = http::HeaderMap::from_iter([(http::header::CONNECTION, "close".parse().unwrap())]);
        crate::web::strip_hop_by_hop(&mut headers);
        assert!(headers.is_empty());
    }
}
