//! Readings of processes that have come to rest after an action.

use std::time::{Duration, Instant};

use super::place::{Identity, ObserveError, Place, Reading};
use crate::interrupt::Interrupt;

/// Time between two reads.
const APART: Duration = Duration::from_millis(100);

/// How far two reads may differ in resident memory that are said to agree: one page.
const AGREEMENT: u64 = 4096;

/// Fewest and most reads of a process.
const READS: (usize, usize) = (3, 10);

/// The same where one takes longer than [`LONG`].
const LONG_READS: (usize, usize) = (2, 4);

/// What a read of a huge process takes at least.
const LONG: Duration = Duration::from_millis(5);

/// What a process holds once it has come to rest: the read with the least held memory ([`Reading::held`]) of at least
/// 3, made 100 ms apart until two in a row agree, of at most 10; of huge processes of 2 to 4. When `interrupt` asks
/// to stop, the reads made so far count.
///
/// # Errors
/// As for [`Place::reading`].
pub fn settled(
    place: &mut dyn Place,
    process: &Identity,
    interrupt: &Interrupt,
) -> Result<Reading, ObserveError> {
    let mut readings = settled_all(place, std::slice::from_ref(process), interrupt);
    readings.pop().unwrap_or(Err(ObserveError::Gone(process.pid)))
}

/// The same for several processes, which are read in turn, so that they take no longer than one. The results are in
/// the order of `processes`; when the connection is lost, all say so that were not done.
pub fn settled_all(
    place: &mut dyn Place,
    processes: &[Identity],
    interrupt: &Interrupt,
) -> Vec<Result<Reading, ObserveError>> {
    let mut series: Vec<Series> = processes.iter().map(|_| Series::default()).collect();
    loop {
        let mut all_done = true;
        for (process, series) in processes.iter().zip(&mut series) {
            if !series.is_done() {
                series.read(place, process);
                all_done &= series.is_done();
            }
        }
        if all_done || interrupt.sleep(APART) {
            let finish = |(process, series): (&Identity, Series)| series.finish(process);
            return processes.iter().zip(series).map(finish).collect();
        }
    }
}

#[derive(Debug, Default)]
struct Series {
    reads: Vec<Reading>,
    takes_long: bool,
    failure: Option<ObserveError>,
}

impl Series {
    fn read(&mut self, place: &mut dyn Place, process: &Identity) {
        let begin = Instant::now();
        match place.reading(process) {
            Ok(reading) => self.reads.push(reading),
            Err(error) => self.failure = Some(error),
        }
        // Only here: elsewhere it is the way there that takes long.
        self.takes_long |= place.host().is_none() && begin.elapsed() > LONG;
    }

    fn is_done(&self) -> bool {
        let (fewest, most) = if self.takes_long { LONG_READS } else { READS };
        let agree = match self.reads.as_slice() {
            [.., one, other] => one.resident.abs_diff(other.resident) <= AGREEMENT,
            _ => false,
        };
        let number = self.reads.len();
        self.failure.is_some() || number >= most || (number >= fewest && agree)
    }

    fn finish(self, process: &Identity) -> Result<Reading, ObserveError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => self.reads.into_iter().min_by_key(Reading::held).ok_or(ObserveError::Gone(process.pid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{ActionEnd, Area};

    /// Holds so many pages at one read after the other, the last number for good.
    struct Paged {
        pages: Vec<u64>,
        reads: usize,
        pause: Duration,
    }

    impl Place for Paged {
        fn host(&self) -> Option<&str> {
            None
        }
        fn identity(&mut self, pid: i32) -> Result<Identity, ObserveError> {
            Err(ObserveError::Gone(pid))
        }
        fn named(&mut self, _: &str) -> Result<Vec<Identity>, ObserveError> {
            Ok(Vec::new())
        }
        fn tree(&mut self, _: i32) -> Result<Vec<Identity>, ObserveError> {
            Ok(Vec::new())
        }
        fn reading(&mut self, process: &Identity) -> Result<Reading, ObserveError> {
            std::thread::sleep(self.pause);
            self.reads += 1;
            let pages = self.pages.get(self.reads - 1).or(self.pages.last());
            let resident = pages.ok_or(ObserveError::Gone(process.pid))? * 4096;
            Ok(Reading { resident, ..Reading::default() })
        }
        fn areas(&mut self, _: &Identity) -> Result<Vec<Area>, ObserveError> {
            Ok(Vec::new())
        }
        fn run(&mut self, _: &str, _: Duration) -> Result<(ActionEnd, String), ObserveError> {
            Ok((ActionEnd::Exit(0), String::new()))
        }
    }

    fn settle(pages: &[u64], pause: Duration) -> (Option<u64>, usize) {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let interrupt = Interrupt::on_input(reader.into());
        let mut place = Paged { pages: pages.to_vec(), reads: 0, pause };
        let process = Identity { pid: 1, started: 1, name: String::new() };
        let reading = settled(&mut place, &process, &interrupt);
        (reading.ok().map(|reading| reading.resident / 4096), place.reads)
    }

    #[test]
    fn the_least_of_three_reads_counts() {
        // A slow machine may take a read for one of a huge process, and make fewer.
        let (pages, reads) = settle(&[7, 6, 7], Duration::ZERO);
        assert!(matches!((pages, reads), (Some(6), 2..=3)), "{pages:?} {reads}");
    }

    #[test]
    fn reads_go_on_until_two_agree() {
        let (pages, reads) = settle(&[90, 50, 30, 31], Duration::ZERO);
        assert_eq!((pages, reads), (Some(30), 4));
    }

    #[test]
    fn a_huge_process_is_read_less_often() {
        assert_eq!(settle(&[5, 5], LONG * 2), (Some(5), 2));
        assert_eq!(settle(&[50, 40, 30, 20, 10], LONG * 2), (Some(20), 4));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert_eq!(settle(&[], Duration::ZERO), (None, 1));
    }
}
