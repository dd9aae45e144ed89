//! All threads of a process, stopped for a while.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use libc::user_regs_struct;

use super::error::AttachError;
use super::tracee::{self, Stop, Tracee};

/// Longest wait for all threads to stop.
const LIMIT: Duration = Duration::from_secs(2);

/// A process none of whose threads runs. They go on when this is dropped.
#[derive(Debug)]
pub struct Stopped {
    registers: Vec<user_regs_struct>,
    since: Instant,
    release: Option<mpsc::Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Stopped {
    /// Stops every thread of a process.
    ///
    /// # Errors
    /// [`AttachError::Unstoppable`] if a thread has not stopped after two seconds; as for any thread that may not be
    /// traced. Those stopped until then go on.
    pub fn all(pid: i32) -> Result<Stopped, AttachError> {
        let (tell, told) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let tracer = std::thread::Builder::new().name("tracer".to_owned()).spawn(move || {
            tracee::be_quick();
            let since = Instant::now();
            let held = Held::all(pid).and_then(|held| Ok((held.registers()?, held)));
            let (registers, held) = match held {
                Ok((registers, held)) => (Ok((registers, since)), Some(held)),
                Err(error) => (Err(error), None),
            };
            // Both ends when the other half is dropped, which is what it waits for.
            let _ = tell.send(registers);
            let _ = released.recv();
            drop(held);
        });
        let tracer = tracer.map_err(AttachError::io("start a thread"))?;
        let (registers, since) = told.recv().unwrap_or(Err(AttachError::Gone(pid)))?;
        Ok(Stopped { registers, since, release: Some(release), tracer: Some(tracer) })
    }

    /// The general registers of every thread.
    #[must_use]
    pub fn registers(&self) -> Vec<user_regs_struct> {
        self.registers.clone()
    }

    /// What the general registers of each thread hold, its stack pointer first.
    #[must_use]
    pub fn words(&self) -> Vec<Vec<u64>> {
        let words = |r: &user_regs_struct| {
            vec![
                r.rsp, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12,
                r.r13, r.r14, r.r15,
            ]
        };
        self.registers.iter().map(words).collect()
    }

    /// Since when the first thread stands still.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.release = None;
        if let Some(tracer) = self.tracer.take() {
            let _ = tracer.join();
        }
    }
}

/// The stopped threads, for the thread that traces them.
#[derive(Debug)]
pub(super) struct Held {
    threads: Vec<Tracee>,
}

impl Held {
    /// Stops every thread of a process.
    pub fn all(pid: i32) -> Result<Held, AttachError> {
        let deadline = Instant::now() + LIMIT;
        let mut held = Held { threads: Vec::new() };
        let mut ended: Vec<i32> = Vec::new();
        loop {
            let known =
                |tid: &i32| held.threads.iter().any(|thread| thread.tid == *tid) || ended.contains(tid);
            let new: Vec<i32> = tracee::threads(pid).into_iter().filter(|tid| !known(tid)).collect();
            if new.is_empty() {
                break;
            }
            let mut seized = Vec::new();
            for tid in new {
                match Tracee::seize(pid, tid)? {
                    Some(thread) => {
                        thread.interrupt();
                        seized.push(thread);
                    }
                    None => ended.push(tid),
                }
            }
            for mut thread in seized {
                match thread.halted(deadline)? {
                    Some(Stop::Interrupted | Stop::Suspended) => held.threads.push(thread),
                    Some(Stop::Ended) => ended.push(thread.tid),
                    Some(Stop::Signal(_)) | None => {
                        return Err(AttachError::Unstoppable { pid, tid: thread.tid });
                    }
                }
            }
        }
        if held.threads.is_empty() { Err(AttachError::Gone(pid)) } else { Ok(held) }
    }

    /// Any of the threads.
    pub fn first(&self) -> Option<&Tracee> {
        self.threads.first()
    }

    fn registers(&self) -> Result<Vec<user_regs_struct>, AttachError> {
        self.threads.iter().map(Tracee::registers).collect()
    }
}
