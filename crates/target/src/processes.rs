//! Processes below this one: found in /proc, and ended.

use std::fs;
use std::str::FromStr;

/// The process ids of all children of this process, from the kernel's list.
pub(crate) fn children() -> Vec<i32> {
    let me = std::process::id();
    let tasks = fs::read_dir(format!("/proc/{me}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let listed: Vec<i32> = lists.flat_map(|list| numbers(&list)).collect();
    if listed.is_empty() { children_by_parent(me) } else { listed }
}

fn numbers(list: &str) -> Vec<i32> {
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// For kernels without the list of children: every process whose parent is `parent`.
fn children_by_parent(parent: u32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|&pid| parent_of(pid) == i32::try_from(parent).ok()).collect()
}

/// The parent of a process, if it is there.
#[must_use]
pub fn parent_of(pid: i32) -> Option<i32> {
    status_field(pid, "PPid:")
}

/// The process that the thread `tid` belongs to, if it is there.
#[must_use]
pub fn process_of(tid: i32) -> Option<i32> {
    status_field(tid, "Tgid:")
}

/// Whether a process is gone, or only waits for its parent to hear of its end.
#[must_use]
pub fn has_ended(pid: i32) -> bool {
    let Some(state) = status_field::<String>(pid, "State:") else { return true };
    // The first thread can end before the others.
    state.starts_with(['Z', 'X']) && status_field(pid, "Threads:").is_none_or(|threads: u32| threads <= 1)
}

fn status_field<T: FromStr>(pid: i32, name: &str) -> Option<T> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// Makes this process the one that orphans below it become children of.
pub fn adopt_orphans() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Kills every process below this one and waits for them: their own children become ours when they die, until
/// there are none.
pub fn end_all() {
    loop {
        for pid in children() {
            kill(pid);
        }
        // SAFETY: no status is asked for.
        let reaped = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WALL) };
        if reaped < 0 && std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return;
        }
    }
}

/// Has the kernel kill this process when the one that started it ends.
pub fn end_with_parent() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// Reaps the child `pid`, if it has ended and was not reaped before.
#[must_use]
pub fn reap(pid: i32) -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: `status` lives.
    let reaped = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) };
    (reaped == pid).then(|| reaped_with(status))
}

/// What a status of `waitpid` says.
pub(crate) fn reaped_with(status: i32) -> Reaped {
    if libc::WIFSIGNALED(status) {
        Reaped::Signal(libc::WTERMSIG(status))
    } else {
        Reaped::Exit(libc::WEXITSTATUS(status))
    }
}

/// The children of this process that live.
#[must_use]
pub fn living_children() -> Vec<i32> {
    let lives = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The state stands behind the name, which may have anything in it (proc(5)).
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    children().into_iter().filter(lives).collect()
}

/// Kills one process.
pub fn kill(pid: i32) {
    if pid > 1 {
        // SAFETY: no pointers; the pid is a child's, which is not reaped yet and so can't be anybody else's.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Asks one process to end.
pub fn terminate(pid: i32) {
    if pid > 1 {
        // SAFETY: as for `kill`.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}

/// Kills every process of the group that `leader` leads.
pub fn kill_group(leader: i32) {
    if leader > 1 {
        // SAFETY: no pointers.
        unsafe { libc::kill(-leader, libc::SIGKILL) };
    }
}

/// The process group that a process is in; 0 if it is gone.
#[must_use]
pub fn group_of(pid: i32) -> i32 {
    // SAFETY: no pointers.
    unsafe { libc::getpgid(pid) }.max(0)
}

/// Nanoseconds of CLOCK_MONOTONIC, the clock that the agent stamps snapshots with.
#[must_use]
pub fn monotonic() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What is added to CLOCK_MONOTONIC to get nanoseconds since 1970, as of now.
#[must_use]
pub fn wall_offset() -> i64 {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX).saturating_sub_unsigned(monotonic())
}

/// Whether this process has the rights of root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: no arguments.
    unsafe { libc::geteuid() == 0 }
}
