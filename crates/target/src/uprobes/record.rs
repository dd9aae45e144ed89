//! The records that the kernel writes into the ring (perf_event_open(2)).

use perf_event_open_sys::bindings;

/// Numbers of `enum perf_event_x86_regs` in the kernel's `asm/perf_regs.h`.
pub mod register {
    pub const AX: u32 = 0;
    pub const DX: u32 = 3;
    pub const SI: u32 = 4;
    pub const DI: u32 = 5;
    pub const BP: u32 = 6;
    pub const SP: u32 = 7;
    pub const IP: u32 = 8;
}

/// The registers that all samples have.
pub const REGISTERS: u64 = 1 << register::AX
    | 1 << register::DX
    | 1 << register::SI
    | 1 << register::DI
    | 1 << register::BP
    | 1 << register::SP
    | 1 << register::IP;

/// What all samples have. Other records have thread and time at their end.
pub const SAMPLE_TYPE: u64 = (bindings::PERF_SAMPLE_TID
    | bindings::PERF_SAMPLE_TIME
    | bindings::PERF_SAMPLE_RAW
    | bindings::PERF_SAMPLE_REGS_USER) as u64;

/// A hit of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<'a> {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// As the kernel wrote them.
    registers: &'a [u8],
    /// From the stack pointer on.
    pub stack: &'a [u8],
}

/// A record of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A hit of the probe with this number; the rest depends on the probe.
    Hit(usize, &'a [u8]),
    /// The ring was full, this often.
    Lost(u64),
    /// A process has new code.
    Mapped(u32),
    /// The kernel holds samples back.
    Throttled,
    /// Of no interest.
    Other,
}

const HEADER: usize = 8;

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// When a record was made, in ns of `CLOCK_MONOTONIC`.
pub fn time(record: &[u8]) -> Option<u64> {
    match half(record, 0)? {
        bindings::PERF_RECORD_SAMPLE => word(record, HEADER + 8),
        _ => word(record, record.len().checked_sub(8).filter(|at| *at >= HEADER)?),
    }
}

/// Thread, time, size of the raw part, the number of the probe, and 4 bytes to fill the last word.
const RAW_END: usize = 8 + 8 + 4 + 8 + 4;

impl<'a> Record<'a> {
    /// Parses one record with its header; what makes no sense is of no interest.
    pub fn parse(record: &'a [u8]) -> Record<'a> {
        let parsed = match half(record, 0) {
            Some(bindings::PERF_RECORD_SAMPLE) => record.get(HEADER..).and_then(|body| {
                let raw = half(body, 16).filter(|size| *size as usize == RAW_END - 20);
                raw.and_then(|_| Some(Record::Hit(usize::try_from(word(body, 20)?).ok()?, body)))
            }),
            Some(bindings::PERF_RECORD_LOST) => word(record, HEADER + 8).map(Record::Lost),
            Some(bindings::PERF_RECORD_MMAP) => half(record, HEADER).map(Record::Mapped),
            Some(bindings::PERF_RECORD_THROTTLE) => Some(Record::Throttled),
            _ => None,
        };
        parsed.unwrap_or(Record::Other)
    }
}

impl<'a> Sample<'a> {
    /// Parses the body of a sample; `None` if it is cut off, or of a 32-bit process.
    pub fn parse(body: &'a [u8], has_stack: bool) -> Option<Sample<'a>> {
        const ABI_64: u64 = 2;
        let (pid, tid) = (half(body, 0)?, half(body, 4)?);
        if word(body, RAW_END)? != ABI_64 {
            return None;
        }
        let start = RAW_END + 8;
        let end = start + 8 * REGISTERS.count_ones() as usize;
        let registers = body.get(start..end)?;
        let mut stack = &[][..];
        if has_stack {
            let room = usize::try_from(word(body, end)?).ok()?;
            let start = end + 8;
            let all = body.get(start..start.checked_add(room)?)?;
            // What could be copied is told behind the room for it, if there is any.
            let size = if room == 0 { 0 } else { usize::try_from(word(body, start + room)?).ok()? };
            stack = all.get(..size)?;
        }
        Some(Sample { pid, tid, registers, stack })
    }

    /// The value of one of [`REGISTERS`].
    pub fn register(&self, number: u32) -> u64 {
        let below = REGISTERS & ((1 << number) - 1);
        word(self.registers, 8 * below.count_ones() as usize).unwrap_or(0)
    }

    /// The word at `address`, if it was copied.
    pub fn read(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.register(register::SP))?;
        word(self.stack, usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(stack: &[u64], room: u64) -> Vec<u8> {
        // The number of the probe is not aligned, so that its lower half is in one word and its upper in the next.
        let raw = [12 | 3 << 32, 0];
        let mut words = vec![bindings::PERF_RECORD_SAMPLE.into(), 7 | 8 << 32, 1234, raw[0], raw[1], 2];
        words.extend([0xa, 0xd, 0x51, 0xd1, 0xb, 0x7000, 0x1, room]);
        words.extend((0..room / 8).map(|at| stack.get(at as usize).copied().unwrap_or(0)));
        words.push(8 * stack.len() as u64);
        words.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_hit_is_read_as_the_kernel_writes_it() {
        let bytes = sample(&[5, 6], 32);
        assert_eq!(time(&bytes), Some(1234));
        let Record::Hit(3, body) = Record::parse(&bytes) else { panic!("a sample of probe 3") };
        let sample = Sample::parse(body, true).expect("it is whole");
        assert_eq!((sample.pid, sample.tid), (7, 8));
        assert_eq!(
            [register::DI, register::SP, register::AX].map(|r| sample.register(r)),
            [0xd1, 0x7000, 0xa]
        );
        assert_eq!(
            [0x6ff8, 0x7000, 0x7008, 0x7010].map(|at| sample.read(at)),
            [None, Some(5), Some(6), None]
        );
        assert_eq!(Sample::parse(&body[..body.len() - 1], true), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
            kind in 0u32..12, whole: bool, room: Option<u64>, has_stack: bool,
        ) {
            let pattern = sample(&[], 0);
            if whole {
                bytes.iter_mut().zip(&pattern).for_each(|(byte, like)| *byte = *like);
            }
            if let Some(start) = bytes.get_mut(..4) {
                start.copy_from_slice(&kind.to_ne_bytes());
            }
            if let (Some(place), Some(room)) = (bytes.get_mut(104..112), room) {
                place.copy_from_slice(&(room >> (room % 64)).to_ne_bytes());
            }
            let _ = time(&bytes);
            if let Record::Hit(_, body) = Record::parse(&bytes)
                && let Some(sample) = Sample::parse(body, has_stack)
            {
                let _ = (sample.register(8), sample.read(u64::MAX), sample.read(0));
            }
        }
    }
}
