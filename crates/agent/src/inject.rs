//! Whether the allocation that is about to be made fails.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use memtrial_wire::decision::{Request, chosen, failures_from_anchor};
use memtrial_wire::fault::kind;
use memtrial_wire::layout::{PLAN, mode};
use memtrial_wire::site::occurrence;

use crate::memory::Shared;
use crate::record::{Identity, record};
use crate::stack::{Caller, unwind};
use crate::{snapshot, system, thread};

/// Whether allocations of this process are on trial. Off, the agent only passes calls on.
static ON_TRIAL: AtomicBool = AtomicBool::new(false);

/// Allocations that are still to fail because the fault has begun.
static TO_FAIL: AtomicU64 = AtomicU64::new(0);

/// Resource limits of the kernel that an injection is put under.
const RLIMIT_FSIZE: u64 = 1;
const RLIMIT_DATA: u64 = 2;

/// Puts this process on trial.
pub fn begin() {
    ON_TRIAL.store(true, Ordering::Release);
}

/// Whether this process keeps the count of live bytes that `limit=` needs.
#[inline]
pub fn counts_live() -> Option<Shared> {
    if !ON_TRIAL.load(Ordering::Relaxed) {
        return None;
    }
    Shared::get().filter(|shared| shared.control().fault.kind == kind::LIMIT)
}

/// Decides on an allocation of `bytes`: true if it is to fail.
#[inline]
pub fn fails(bytes: usize, caller: Caller) -> bool {
    if !ON_TRIAL.load(Ordering::Relaxed) || thread::is_busy() {
        return false;
    }
    match Shared::get() {
        Some(shared) => decide(bytes as u64, caller, shared),
        None => false,
    }
}

// Where nothing is on trial, calls are spared its stack frame.
#[inline(never)]
fn decide(bytes: u64, caller: Caller, shared: Shared) -> bool {
    if continues(shared) {
        return true;
    }
    if !ON_TRIAL.load(Ordering::Relaxed) {
        return false;
    }
    let control = shared.control();
    if control.mode == mode::CHOSEN && control.fault.kind != kind::CHANCE {
        return decide_by_size(bytes, caller, shared);
    }
    let stack = unwind(caller, shared);
    let identity = record(&stack, bytes, shared);
    match control.mode {
        mode::SNAPSHOT => {
            let planned = is_planned(occurrence(identity.site, identity.nth), shared);
            planned && snapshot::take(identity, shared) && begin_fault(identity, shared)
        }
        mode::ANCHORED => {
            let hit = identity.site == control.target_site && identity.nth == control.target_nth;
            hit && begin_fault(identity, shared)
        }
        mode::CHOSEN => {
            let request = Request { site: identity.site, nth: identity.nth, bytes, live: 0 };
            let fails = chosen(&control.fault, &request) && is_selected(identity.site, shared);
            if fails {
                note_failure(identity, shared);
            }
            fails
        }
        _ => false,
    }
}

/// Faults that look at bytes need no stack, but for the allocations that they fail.
fn decide_by_size(bytes: u64, caller: Caller, shared: Shared) -> bool {
    let control = shared.control();
    let live = control.live.load(Ordering::Relaxed);
    if !chosen(&control.fault, &Request { site: 0, nth: 0, bytes, live }) {
        control.allocations.fetch_add(1, Ordering::Relaxed);
        return false;
    }
    let stack = unwind(caller, shared);
    let identity = record(&stack, bytes, shared);
    let fails = is_selected(identity.site, shared);
    if fails {
        note_failure(identity, shared);
    }
    fails
}

/// Whether a fault that has begun fails this allocation too. When it ends, the trial of this process does.
#[inline]
fn continues(shared: Shared) -> bool {
    let left = TO_FAIL.load(Ordering::Relaxed);
    if left == 0 {
        return false;
    }
    shared.control().failed.fetch_add(1, Ordering::Relaxed);
    if left != u64::MAX && TO_FAIL.fetch_sub(1, Ordering::Relaxed) == 1 {
        ON_TRIAL.store(false, Ordering::Relaxed);
    }
    true
}

/// Begins the fault at its anchor: this allocation fails, and as many after it as the fault says.
fn begin_fault(identity: Identity, shared: Shared) -> bool {
    note_failure(identity, shared);
    match failures_from_anchor(&shared.control().fault) {
        u64::MAX => TO_FAIL.store(u64::MAX, Ordering::Relaxed),
        0 | 1 => ON_TRIAL.store(false, Ordering::Relaxed),
        more => TO_FAIL.store(more - 1, Ordering::Relaxed),
    }
    true
}

/// Notes a failure down; the first one also bounds what the process may use up from now on, for a program that
/// loses its way may write or allocate without end.
fn note_failure(identity: Identity, shared: Shared) {
    let control = shared.control();
    if control.failed.fetch_add(1, Ordering::Relaxed) == 0 {
        control.first_failed_nth.store(identity.nth, Ordering::Relaxed);
        control.first_failed_site.store(identity.site, Ordering::Release);
    }
    limit_injection(shared);
}

/// Bounds what an injection may write and hold.
fn limit_injection(shared: Shared) {
    let control = shared.control();
    system::lower_limit(RLIMIT_FSIZE, control.write_limit);
    system::lower_limit(RLIMIT_DATA, control.data_limit);
}

/// Whether a fault that chooses for itself may choose this site: always, unless a plan names sites.
fn is_selected(site: u64, shared: Shared) -> bool {
    shared.control().plan_mask == 0 || is_planned(site, shared)
}

/// Whether the plan has this key.
fn is_planned(key: u64, shared: Shared) -> bool {
    let mask = shared.control().plan_mask;
    let plan = shared.plan();
    let mut index = key & mask & (PLAN as u64 - 1);
    loop {
        match plan[index as usize].load(Ordering::Relaxed) {
            0 => return false,
            found if found == key => return true,
            _ => index = (index + 1) & mask,
        }
    }
}
