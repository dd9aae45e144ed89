//! Living blocks by the round they were allocated in, as bars.

use maud::{Markup, html};

use crate::wording::plural;

/// Height of the drawing, in its own units.
const HEIGHT: f64 = 100.0;

/// Rounds up to which bars are kept apart; more are too narrow for a gap.
const APART: usize = 150;

/// A bar for each round; rounds in a row with the same count share a tooltip.
#[expect(clippy::cast_precision_loss, reason = "drawn")]
pub fn bars(counts: &[u64]) -> Markup {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let with = counts.iter().filter(|&&count| count > 0).count();
    let about =
        format!("living blocks by round: {with} of {} rounds have some, at most {most}", counts.len());
    let gaps: String = (1..counts.len()).map(|round| format!("M{round} -4V{}", HEIGHT + 4.0)).collect();
    let runs = counts.chunk_by(|one, next| one == next).scan(0, |end, run| {
        let from = *end;
        *end += run.len();
        Some((from, run[0], run.len()))
    });
    html! {
        svg.bars viewBox=(format!("0 -4 {} {}", counts.len().max(1), HEIGHT + 4.0)) preserveAspectRatio="none"
            role="img" aria-label=(about) {
            @for (from, count, rounds) in runs.filter(|(_, count, _)| *count > 0) {
                @let height = count as f64 / most as f64 * HEIGHT;
                rect x=(from) y=(format!("{:.1}", HEIGHT - height)) width=(rounds) height=(format!("{height:.1}")) {
                    title { (named(from + 1, from + rounds)) ": " (plural(count, "block")) }
                }
            }
            @if counts.len() <= APART { path d=(gaps) {} }
        }
        p.faint { "living blocks by round of allocation, 1 to " (counts.len()) "; at most " (most) }
    }
}

fn named(from: usize, to: usize) -> String {
    if from == to { format!("round {from}") } else { format!("each of rounds {from} to {to}") }
}

#[cfg(test)]
mod tests {
    use super::bars;

    #[test]
    fn rounds_alike_share_a_tooltip() {
        let text = bars(&[2, 2, 0, 1]).into_string();
        assert_eq!(text.matches("<rect").count(), 2, "{text}");
        assert!(
            text.contains("each of rounds 1 to 2: 2 blocks") && text.contains("round 4: 1 block<"),
            "{text}"
        );
        assert!(text.contains("3 of 4 rounds have some"), "{text}");
    }

    #[test]
    fn no_rounds_are_no_bars() {
        assert!(!bars(&[]).into_string().contains("<rect"));
    }
}
