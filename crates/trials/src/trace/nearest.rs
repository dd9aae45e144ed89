//! Names that may have been meant by a pattern that matches none.

use memtrial_events::Selection;

/// The most names that are proposed.
const MOST: usize = 5;
/// Patterns and names are compared up to this length; nothing real is longer.
const LONGEST: usize = 200;

/// The patterns that match none of `names` (as `provider:name`); those that exclude are left out.
#[must_use]
pub fn unmatched<'a>(patterns: &'a [String], names: &[&str]) -> Vec<&'a str> {
    let wanted = patterns.iter().filter(|pattern| !pattern.starts_with('-'));
    let unmatched = wanted.filter(|pattern| {
        let Ok(selection) = Selection::parse(std::slice::from_ref(*pattern)) else { return true };
        !names.iter().any(|name| {
            let (provider, name) = name.split_once(':').unwrap_or(("", name));
            selection.selects(provider, name)
        })
    });
    unmatched.map(String::as_str).collect()
}

/// The names (as `provider:name`) that are nearest to the patterns, best first; none if none is near.
#[must_use]
pub fn nearest(patterns: &[&str], names: &[&str]) -> Vec<String> {
    let mut ranked: Vec<(usize, &str)> = Vec::new();
    for full in names {
        let short = full.split_once(':').map_or(*full, |(_, name)| name);
        let distances = patterns.iter().filter_map(|pattern| {
            let name = if pattern.contains(':') { full } else { short };
            let pattern = normalized(pattern);
            let letters = pattern.iter().filter(|c| c.is_alphanumeric()).count();
            // A third of the letters may be wrong; a single one always.
            Some(distance(&pattern, &normalized(name))).filter(|distance| *distance <= (letters / 3).max(1))
        });
        ranked.extend(distances.min().map(|distance| (distance, *full)));
    }
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(MOST).map(|(_, name)| name.to_owned()).collect()
}

/// As names are compared: without regard to case, and to how words are joined.
fn normalized(text: &str) -> Vec<char> {
    let text = text.to_lowercase().replace("__", "_").replace('-', "_");
    text.chars().take(LONGEST).collect()
}

/// How many letters are to be changed, added or left out until the pattern matches the name (Levenshtein's distance, in
/// which `*` and `?` fit as in a glob).
fn distance(pattern: &[char], name: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for letter in pattern {
        let mut diagonal = row[0];
        row[0] += usize::from(*letter != '*');
        for (index, other) in name.iter().enumerate() {
            let above = row[index + 1];
            let best = if *letter == '*' {
                above.min(row[index])
            } else {
                let fits = *letter == '?' || letter == other;
                (diagonal + usize::from(!fits)).min(above + 1).min(row[index] + 1)
            };
            (diagonal, row[index + 1]) = (above, best);
        }
    }
    row[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = [
        "postgresql:query__start",
        "postgresql:query__done",
        "postgresql:sort__start",
        "qemu:vnc_key",
        "r:a-b",
    ];

    #[test]
    fn what_was_meant_comes_first() {
        for (pattern, first) in [
            ("query-strat", "postgresql:query__start"),
            ("qery__don", "postgresql:query__done"),
            ("vmc*", "qemu:vnc_key"),
            ("QUERY__DONE", "postgresql:query__done"),
            ("postgres:sort__start", "postgresql:sort__start"),
            ("postgresql:sort_?tar", "postgresql:sort__start"),
        ] {
            assert_eq!(nearest(&[pattern], &NAMES).first().map(String::as_str), Some(first), "{pattern}");
        }
        assert_eq!(nearest(&["gc__start"], &NAMES[3..]), Vec::<String>::new());
        assert_eq!(nearest(&[], &NAMES), Vec::<String>::new());
        assert_eq!(nearest(&["query__star", "query__don"], &NAMES).len(), 2);
    }

    #[test]
    fn distances_are_counted_in_letters() {
        for (pattern, name, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("abc", "abd", 1),
            ("*", "abc", 0),
            ("a*", "xabc", 1),
        ] {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&letters(pattern), &letters(name)), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_that_match_nothing_are_known() {
        let patterns = ["query*", "nothing*", "-sort*", "a__b"].map(str::to_owned);
        assert_eq!(unmatched(&patterns, &NAMES), ["nothing*"]);
    }
}
