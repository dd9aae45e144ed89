//! The BPF program of a probe: it writes a sample with the number of the probe, and nothing else.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::bpf::{self, code, map};

const F_CURRENT_CPU: u32 = u32::MAX;

/// Events by processor, for programs to write through.
pub struct EventArray(OwnedFd);

impl EventArray {
    /// With room for this many processors.
    pub fn new(processors: u32) -> io::Result<EventArray> {
        bpf::create_map(map::PERF_EVENT_ARRAY, 4, 4, processors, 0).map(EventArray)
    }

    /// The event of a processor.
    pub fn set(&self, processor: u32, event: BorrowedFd) -> io::Result<()> {
        bpf::update(self.0.as_fd(), processor, event.as_raw_fd() as u32)
    }
}

/// Loads the program of the probe with this number.
pub fn program(number: u32, output: &EventArray) -> io::Result<OwnedFd> {
    let [array, array_behind] = code::set_wide(2, code::PSEUDO_MAP, output.0.as_raw_fd() as u64);
    // bpf_perf_event_output(context, output, this processor, &number, 8), then return 0: no sample of perf's own.
    let code = [
        code::store_value(10, -8, number as i32),
        array,
        array_behind,
        // Above 31 bits immediate values are extended by their sign.
        code::set_half(3, F_CURRENT_CPU),
        code::copy(4, 10),
        code::add(4, -8),
        code::set(5, 8),
        code::call(code::function::PERF_EVENT_OUTPUT),
        code::set(0, 0),
        code::EXIT,
    ];
    bpf::load(&code, bpf::Use::Event)
}
