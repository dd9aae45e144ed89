//! System calls that the filter reports: which end snapshots, and which end one snapshot.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use memtrial_target::filter::{Answer, CLONE_THREAD, Effect, Notice};
use memtrial_target::memory_of::read_u64;
use memtrial_target::processes;
use memtrial_wire::layout::Slot;

use super::{Reason, Sweep};
use crate::oom::reference::{is_device, read_path};

/// Whose system call was reported.
enum Caller {
    Trunk,
    Snapshot(usize),
    Nobody,
}

impl Sweep<'_> {
    /// Decides on a reported system call.
    pub(super) fn consider(&mut self, notice: &Notice) -> Answer {
        match self.caller(notice.thread) {
            Caller::Trunk => {
                if self.is_shared_by_clones(notice) {
                    self.noticed.get_or_insert(notice.effect.text());
                    self.active.memory.control().noticed.store(1, Ordering::Release);
                }
                Answer::Proceed
            }
            Caller::Snapshot(number) => self.consider_in_snapshot(number, notice),
            Caller::Nobody => {
                processes::kill(processes::process_of(notice.thread).unwrap_or(0));
                Answer::Refuse
            }
        }
    }

    /// A snapshot leads a process group of its own; all else of the target is in the trunk's, or came from there.
    fn caller(&self, thread: i32) -> Caller {
        let mut pid = processes::process_of(thread).unwrap_or(0);
        let group = processes::group_of(pid);
        let slot_of = |pid: i32| {
            let is = |slot: &Slot| slot.pid.load(Ordering::Acquire).cast_signed() == pid;
            self.taken().find(|(_, slot)| is(slot)).map(|(number, _)| number)
        };
        if let Some(number) = slot_of(pid).or_else(|| slot_of(group)) {
            return Caller::Snapshot(number);
        }
        if group == self.trunk {
            return Caller::Trunk;
        }
        while pid > 1 {
            if let Some(number) = slot_of(pid) {
                return Caller::Snapshot(number);
            }
            if pid == self.trunk {
                return Caller::Trunk;
            }
            pid = processes::parent_of(pid).unwrap_or(0);
        }
        Caller::Nobody
    }

    /// Whether what the trunk is about to do would be shared by its clones from then on.
    fn is_shared_by_clones(&self, notice: &Notice) -> bool {
        match notice.effect {
            // The agent looks for children and threads itself, at each allocation.
            Effect::HandlesFaults | Effect::Forks | Effect::ForksOrThreads => false,
            Effect::Signals => !is_to_itself(notice),
            Effect::OpensForWriting(argument) => !opens_device(notice, argument),
            Effect::SharesMemory => !self.is_agents_memory(notice),
            _ => true,
        }
    }

    fn consider_in_snapshot(&mut self, number: usize, notice: &Notice) -> Answer {
        const MAP_ANONYMOUS: u64 = 0x20;
        let harmless = match notice.effect {
            // A fault is to be seen, whoever wants to handle it.
            Effect::HandlesFaults => return Answer::PretendDone,
            Effect::SetsTimer => true,
            Effect::Signals => is_to_itself(notice),
            Effect::OpensForWriting(argument) => opens_device(notice, argument),
            Effect::SharesMemory => notice.arguments[3] & MAP_ANONYMOUS != 0,
            Effect::ForksOrThreads => makes_thread(notice),
            _ => false,
        };
        if harmless {
            return Answer::Proceed;
        }
        let pid = self.slots()[number].pid.load(Ordering::Acquire).cast_signed();
        self.end_snapshot(number, pid, Reason::Call(notice.effect.text()));
        Answer::Refuse
    }

    /// Whether a mapping is that of the memory shared with us.
    fn is_agents_memory(&self, notice: &Notice) -> bool {
        let path = format!("/proc/{}/fd/{}", notice.thread, notice.arguments[4]);
        let mapped = std::fs::metadata(path).map(|facts| [facts.dev(), facts.ino()]);
        matches!((mapped, self.active.memory.file_id()), (Ok(mapped), Ok(ours)) if mapped == ours)
    }
}

fn is_to_itself(notice: &Notice) -> bool {
    let to = (notice.arguments[0] & 0xffff_ffff).try_into().map(u32::cast_signed);
    to.ok() == processes::process_of(notice.thread)
}

fn opens_device(notice: &Notice, argument: usize) -> bool {
    read_path(notice.thread, notice.arguments[argument]).is_some_and(|path| is_device(&path))
}

/// `clone3` has its flags in the first word of a structure.
fn makes_thread(notice: &Notice) -> bool {
    read_u64(notice.thread, notice.arguments[0]).is_some_and(|flags| flags & u64::from(CLONE_THREAD) != 0)
}
