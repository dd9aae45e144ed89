//! The backend that sends each event to the system's log.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use memtrial_wire::line::Line;
use memtrial_wire::tracing::Tracing;

use super::{Argument, format};
use crate::{files, system};

const SOCKET: &[u8] = b"/dev/log";
/// Facility "user", severity "informational".
const PRIORITY: u64 = 1 << 3 | 6;

/// Most bytes of a program's name.
const NAME: usize = 32;

struct Name(UnsafeCell<[u8; NAME]>);

// SAFETY: written before its length is published, and not again while it is.
unsafe impl Sync for Name {}

static PROGRAM: Name = Name(UnsafeCell::new([0; NAME]));
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Learns the program's name, while /proc is certainly there.
pub fn prepare() {
    let mut path = [0u8; 1024];
    let length = system::readlink(b"/proc/self/exe\0", &mut path).unwrap_or(0);
    let path = path.get(..length).unwrap_or_default();
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let name = name.get(..NAME).unwrap_or(name);
    if name.is_empty() || LENGTH.load(Ordering::Acquire) != 0 {
        return;
    }
    // SAFETY: nobody reads it before the length is there; a process begins in one thread.
    let room = unsafe { &mut *PROGRAM.0.get() };
    room[..name.len()].copy_from_slice(name);
    LENGTH.store(name.len(), Ordering::Release);
}

/// Sends `<PRIORITY>TIME PROGRAM[PID]: name arguments`, as syslog(3) does, which can't be called from within an allocation:
/// it allocates and takes locks. A log that has no room is not waited for.
pub fn tell(event: u16, arguments: &[Argument], tracing: &Tracing) -> bool {
    let mut buffer = [0; format::LINE];
    let mut line = Line::new(&mut buffer);
    line.text(b"<");
    line.number(PRIORITY, 1);
    line.text(b">");
    let seconds = files::time_of_day() / 1_000_000_000;
    time(&mut line, seconds.saturating_add_signed(tracing.local_offset));
    line.text(b" ");
    let length = LENGTH.load(Ordering::Acquire);
    // SAFETY: written before the length was.
    let name = unsafe { &*PROGRAM.0.get() }.get(..length).unwrap_or_default();
    line.escaped(if name.is_empty() { b"memtrial" } else { name }, false);
    line.text(b"[");
    line.number(system::getpid().into(), 1);
    line.text(b"]: ");
    format::event(&mut line, event, arguments);
    files::send_datagram(SOCKET, line.end(None)).is_ok()
}

/// Appends a local time as RFC 3164 has it: `Mmm dd hh:mm:ss`, the day with a blank in place of a zero.
fn time(line: &mut Line<'_>, seconds: u64) {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let (month, day) = date(seconds / 86400);
    line.text(MONTHS.get(month).copied().unwrap_or(b"Jan"));
    line.text(if day < 10 { b"  " } else { b" " });
    line.number(day, 1);
    let rest = seconds % 86400;
    for (before, value) in [(b" ", rest / 3600), (b":", rest / 60 % 60), (b":", rest % 60)] {
        line.text(before);
        line.number(value, 2);
    }
}

/// Month, from 0, and day, from 1, so many days after the first of 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", civil_from_days).
fn date(days: u64) -> (usize, u64) {
    let day_of_era = (days + 719_468) % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here.
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    (((from_march + 2) % 12) as usize, day)
}
