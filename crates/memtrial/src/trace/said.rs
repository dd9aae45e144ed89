//! What is said of a trace at its end.

use memtrial_report::wording::plural;
use memtrial_trials::trace::live::Seen;
use memtrial_trials::trace::memory_events::MemoryEvents;

/// What was seen in a process whose memory events may have gone to backends alone, in words.
pub fn beside_backends(seen: &Seen, events: &MemoryEvents) -> String {
    match (events.are_read(), in_words(seen)) {
        (true, words) => words,
        (false, words) if seen.hits + seen.lost + seen.unwritten > 0 => {
            format!("memory events were sent to the backends; {words}")
        }
        (false, _) => "memory events were sent to the backends".to_owned(),
    }
}

/// What was seen, in words.
pub fn in_words(seen: &Seen) -> String {
    let mut said = vec![plural(seen.hits, "hit")];
    if seen.lost > 0 {
        said.push(format!("{} lost", seen.lost));
    }
    if seen.unwritten > 0 {
        said.push(format!("{} not written because of the interrupt", seen.unwritten));
    }
    if seen.missing > 0 {
        said.push(format!("{} that could not be fetched", plural(seen.missing, "argument")));
    }
    said.join(", ")
}
