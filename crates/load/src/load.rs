//! The load: what all its threads share, and the carrying out of commands.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::budget::Budget;
use crate::command::{Command, Fault, Unit};
use crate::counters::Sum;
use crate::host::Host;
use crate::manual::Manual;
use crate::overwritten::Overwritten;
use crate::settings::Settings;
use crate::test::Place;
use crate::tests::TESTS;
use crate::writer::Writer;

/// Everything that is shared. It must stay where it is until all threads that [`Host::start_thread`] started have
/// returned from [`Load::run_test`], so it is best never given back. About a kilobyte.
#[derive(Debug)]
pub struct Load<H> {
    host: H,
    budget: Budget,
    settings: Settings,
    overwritten: Overwritten,
    places: [Place; TESTS],
    /// Whether there is a [`Manual`] for it.
    claimed: AtomicBool,
}

impl<H: Host> Load<H> {
    /// A load that holds nothing yet, and at most so many bytes, with its bookkeeping. It maps 12 KiB for records of
    /// overwritten chunks.
    pub fn new(host: H, most: u64) -> Load<H> {
        let budget = Budget::new(most);
        let overwritten = Overwritten::new(&host, &budget);
        Load {
            host,
            budget,
            settings: Settings::default(),
            overwritten,
            places: [const { Place::new() }; TESTS],
            claimed: AtomicBool::new(false),
        }
    }

    /// What memory for it takes.
    pub const BYTES: usize = size_of::<Load<H>>();

    /// Makes a load in memory that stays.
    ///
    /// # Safety
    /// `memory` must be [`Load::BYTES`] that are aligned for it (a page is), never given back and used by nobody else.
    pub unsafe fn place(memory: NonNull<u8>, host: H, most: u64) -> &'static Load<H>
    where
        H: 'static,
    {
        let load = memory.cast::<Load<H>>();
        // SAFETY: the caller's promise; from here on it is only shared.
        unsafe {
            load.write(Load::new(host, most));
            load.as_ref()
        }
    }

    /// The process it runs in.
    #[inline]
    pub fn host(&self) -> &H {
        &self.host
    }

    /// How much it holds.
    #[inline]
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The settings.
    #[inline]
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was found overwritten.
    pub(crate) fn overwritten(&self) -> &Overwritten {
        &self.overwritten
    }

    /// The places of tests.
    pub(crate) fn places(&self) -> &[Place; TESTS] {
        &self.places
    }

    /// Says whether the caller is the first to ask.
    pub(crate) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// Carries out a command, for the heap thread alone, and writes its result: one object. [`Command::Help`] has
    /// nothing to do with the load, and is answered by an empty one. After [`Command::Leave`] no other may follow.
    ///
    /// # Errors
    /// Why it was not carried out, or not to its end; then nothing was written.
    pub fn execute(
        &self,
        manual: &mut Manual,
        command: Command<'_>,
        to: &mut Writer<'_>,
    ) -> Result<(), Fault> {
        manual.begin();
        let serial = manual.serial();
        match command {
            Command::Help(_) => object(to, |_| {}),
            Command::Alloc { bytes } => {
                let address = manual.allocate(self, bytes)?;
                object(to, |to| {
                    member(to, "bytes", bytes);
                    to.name("address");
                    to.address(address.addr().get() as u64);
                });
            }
            Command::Free { bytes, unit } => {
                let freed = match bytes {
                    Some(bytes) => manual.free(self, bytes),
                    None => manual.free_all(self),
                };
                object(to, |to| self.freed(to, freed, unit, serial));
            }
            Command::Realloc { bytes, unit } => {
                let (difference, overwritten) = manual.resize(self, bytes)?;
                object(to, |to| {
                    to.name("difference");
                    to.signed(difference / (1 << unit.shift()));
                    self.write_overwritten(to, Some(serial), overwritten);
                });
            }
            Command::Used { unit } => {
                let used = manual.counters.present();
                object(to, |to| {
                    member(to, "bytes", used.bytes >> unit.shift());
                    member(to, "chunks", used.chunks);
                });
            }
            Command::RandomAlloc { min, max, total } => {
                let filled = manual.fill(self, min, max, total)?;
                object(to, |to| {
                    member(to, "allocations", filled.allocations);
                    member(to, "reallocs", filled.reallocs);
                    member(to, "bytes", filled.bytes);
                    self.write_overwritten(to, Some(serial), filled.overwritten);
                });
            }
            Command::TestStart(plan) => {
                let id = self.start(manual, &plan)?;
                object(to, |to| member(to, "id", id));
            }
            Command::TestStop { id } => {
                self.stop(manual, id)?;
                object(to, |to| member(to, "id", id));
            }
            Command::TestDestroy { id: Some(id) } => {
                let freed = self.destroy(manual, id)?;
                object(to, |to| {
                    member(to, "tests", 1);
                    self.freed(to, freed, Unit::B, serial);
                });
            }
            Command::TestDestroy { id: None } | Command::TestDestroyAll => {
                let (tests, freed) = self.destroy_all(manual);
                object(to, |to| {
                    member(to, "tests", tests);
                    self.freed(to, freed, Unit::B, serial);
                });
            }
            Command::TestList { id, unit } => {
                if let Some(id) = id
                    && !self.tests(manual).any(|(_, test)| test.id == id)
                {
                    return Err(Fault::NoTest { id });
                }
                object(to, |to| self.write_tests(to, manual, id, unit));
            }
            Command::Check => {
                let checked = self.check_tests(manual) + manual.check(self);
                object(to, |to| {
                    member(to, "checked", checked);
                    self.write_overwritten(to, None, self.overwritten.count());
                });
            }
            Command::Set(setting, value) => {
                self.settings.set(setting, value);
                object(to, |_| {});
            }
            Command::Get(setting) => object(to, |to| member(to, "value", self.settings.get(setting))),
            Command::Status => object(to, |to| self.write_status(to, manual)),
            Command::Leave => {
                let freed = self.free_everything(manual);
                object(to, |to| self.freed(to, freed, Unit::B, serial));
                self.end(manual);
            }
        }
        Ok(())
    }

    /// What [`Command::Leave`] does, where there is nobody to tell: all tests are stopped, all chunks freed but those
    /// found overwritten, and the bookkeeping's memory is given back.
    pub fn abandon(&self, manual: &mut Manual) {
        manual.begin();
        self.free_everything(manual);
        self.end(manual);
    }

    fn free_everything(&self, manual: &mut Manual) -> Sum {
        let (_, mut freed) = self.destroy_all(manual);
        freed += manual.free_all(self);
        freed
    }

    fn end(&self, _: &mut Manual) {
        // SAFETY: all tests' threads have ended, no other thread looks at records, and this one holds none.
        unsafe { self.overwritten.end(&self.host, &self.budget) };
    }

    fn freed(&self, to: &mut Writer<'_>, freed: Sum, unit: Unit, serial: u64) {
        member(to, "bytes", freed.bytes >> unit.shift());
        member(to, "chunks", freed.chunks);
        self.write_overwritten(to, Some(serial), freed.overwritten);
    }
}

fn object(to: &mut Writer<'_>, members: impl FnOnce(&mut Writer<'_>)) {
    to.begin_object();
    members(to);
    to.end_object();
}

/// Writes a member that is a number.
pub(crate) fn member(to: &mut Writer<'_>, name: &str, number: u64) {
    to.name(name);
    to.number(number);
}
