//! Snapshots: the process cloned at an allocation, so that it fails in the clone and succeeds here.

use core::sync::atomic::Ordering;

use memtrial_wire::layout::{Obstacle, SLOTS, Slot, slot};

use crate::memory::Shared;
use crate::privacy::Descriptors;
use crate::record::Identity;
use crate::system;

/// Makes a snapshot if that is honest now. True in the snapshot, false in the target.
#[inline(never)]
pub fn take(identity: Identity, shared: Shared) -> bool {
    let control = shared.control();
    let descriptors = match find_obstacle(shared) {
        Ok(descriptors) => descriptors,
        Err(obstacle) => {
            meet(obstacle, identity, shared);
            return false;
        }
    };
    let (number, slot) = wait_for_slot(shared);
    slot.site.store(identity.site, Ordering::Relaxed);
    slot.nth.store(identity.nth, Ordering::Relaxed);
    slot.ordinal.store(identity.ordinal, Ordering::Relaxed);
    for (written, position) in slot.written.iter().zip(descriptors.written(control)) {
        written.store(position, Ordering::Relaxed);
    }
    match system::clone_process() {
        Ok(0) => {
            slot.pid.store(system::getpid(), Ordering::Release);
            system::die_with_parent();
            system::lead_group();
            system::die_of_faults();
            if !descriptors.make_private(number, control) {
                slot.state.store(slot::NOT_PRIVATE, Ordering::Release);
                system::exit_group(0);
            }
            true
        }
        Ok(pid) => {
            slot.pid.store(pid as u32, Ordering::Release);
            false
        }
        Err(_) => {
            slot.state.store(slot::FREE, Ordering::Release);
            meet(Obstacle::CloneRefused, identity, shared);
            false
        }
    }
}

fn find_obstacle(shared: Shared) -> Result<Descriptors, Obstacle> {
    let control = shared.control();
    if control.noticed.load(Ordering::Acquire) != 0 {
        return Err(Obstacle::Noticed);
    }
    if system::getpid() != control.root_pid.load(Ordering::Relaxed) {
        return Err(Obstacle::Forked);
    }
    // A folder of /proc has two links more than it has entries: one entry for each thread.
    match system::stat(b"/proc/self/task\0") {
        Ok(tasks) if tasks.links == 3 => {}
        Ok(_) => return Err(Obstacle::Threads),
        Err(_) => return Err(Obstacle::Unlisted),
    }
    if system::has_children() {
        return Err(Obstacle::Children);
    }
    Descriptors::list(control)
}

/// Notes the first obstacle down.
fn meet(obstacle: Obstacle, identity: Identity, shared: Shared) {
    let control = shared.control();
    let first =
        control.obstacle.compare_exchange(0, obstacle as u32, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if first {
        control.obstacle_at.store(identity.ordinal, Ordering::Release);
    }
}

/// A free slot, as soon as there is one.
fn wait_for_slot(shared: Shared) -> (usize, &'static Slot) {
    let control = shared.control();
    let slots = &shared.slots()[..(control.jobs as usize).clamp(1, SLOTS)];
    loop {
        let freed = control.freed.load(Ordering::Acquire);
        for (number, slot) in slots.iter().enumerate() {
            if slot.state.load(Ordering::Acquire) != slot::FREE {
                continue;
            }
            // A free slot is this process's alone. From the moment it is taken the controller watches its time,
            // and looks for the process it names.
            slot.pid.store(0, Ordering::Relaxed);
            slot.started.store(system::monotonic(), Ordering::Relaxed);
            let taken =
                slot.state.compare_exchange(slot::FREE, slot::TAKEN, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                return (number, slot);
            }
        }
        system::futex_wait(&control.freed, freed);
    }
}
