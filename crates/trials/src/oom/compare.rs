//! Where two outputs differ.

use memtrial_report::model::Difference;

/// Lines shown of each side.
const LINES: usize = 3;
/// Most characters shown of a line.
const WIDTH: usize = 200;

/// The first lines in which an injection's output differs from the reference run's. `injection` begins at byte
/// `from` of the whole; what comes before was written ahead of the snapshot, and is the reference's own.
#[must_use]
pub fn difference(of: &str, reference: &[u8], injection: &[u8], from: usize) -> Option<Difference> {
    let from = from.min(reference.len());
    let same = reference[from..].iter().zip(injection).take_while(|(a, b)| a == b).count();
    if same == injection.len() && same == reference.len() - from {
        return None;
    }
    let before = &reference[..from + same];
    let start = before.iter().rposition(|&c| c == b'\n').map_or(0, |newline| newline + 1);
    let line = before[..start].iter().filter(|&&c| c == b'\n').count() as u64 + 1;
    let mut ours = before[start..].to_vec();
    ours.extend_from_slice(&injection[same..]);
    Some(Difference {
        of: of.to_owned(),
        line,
        reference: first_lines(&reference[start..]),
        injection: first_lines(&ours),
    })
}

fn first_lines(text: &[u8]) -> Vec<String> {
    let mut lines: Vec<&[u8]> = text.split(|&c| c == b'\n').take(LINES + 1).collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.truncate(LINES);
    lines.into_iter().map(shorten).collect()
}

fn shorten(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_outputs_have_no_difference() {
        assert_eq!(difference("stdout", b"a\nb\n", b"a\nb\n", 0), None);
        assert_eq!(difference("stdout", b"a\nb\n", b"b\n", 2), None);
    }

    #[test]
    fn the_first_line_that_differs_is_shown_whole() {
        let found = difference("stdout", b"one\ntwo\nthree\n", b"one\ntwx\n", 0).unwrap();
        assert_eq!((found.line, found.reference[0].as_str(), found.injection[0].as_str()), (2, "two", "twx"));
    }

    #[test]
    fn output_that_ends_early_differs_where_it_ends() {
        let found = difference("stdout", b"one\ntwo\n", b"one\n", 0).unwrap();
        assert_eq!((found.line, found.reference, found.injection), (2, vec!["two".to_owned()], vec![]));
    }

    #[test]
    fn what_a_snapshot_did_not_write_itself_is_filled_in_from_the_reference() {
        let found = difference("stdout", b"one\ntwo\n", b"x\n", 6).unwrap();
        assert_eq!((found.line, found.injection), (2, vec!["twx".to_owned()]));
    }
}
