//! Which events are meant: globs on `name` or `provider:name`.

use globset::{Glob, GlobMatcher};

/// A selection of events. Several patterns are or-ed; one that begins with `-` excludes; none selects all. `a-b` and
/// `a__b` are the same, as DTrace writes one for the other.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    wanted: Vec<GlobMatcher>,
    unwanted: Vec<GlobMatcher>,
}

/// A pattern that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?} is no pattern: {why}")]
pub struct PatternError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl Selection {
    /// Parses patterns.
    ///
    /// # Errors
    /// When one is empty, or no glob.
    pub fn parse(patterns: &[String]) -> Result<Selection, PatternError> {
        let mut selection = Selection::default();
        for pattern in patterns {
            let error = |why: String| PatternError { pattern: pattern.clone(), why };
            let (list, glob) = match pattern.strip_prefix('-') {
                Some(rest) => (&mut selection.unwanted, rest),
                None => (&mut selection.wanted, pattern.as_str()),
            };
            if glob.is_empty() {
                return Err(error("it is empty".to_owned()));
            }
            let glob = Glob::new(&normalized(glob)).map_err(|why| error(why.kind().to_string()))?;
            list.push(glob.compile_matcher());
        }
        Ok(selection)
    }

    /// Whether the event is selected.
    #[must_use]
    pub fn selects(&self, provider: &str, name: &str) -> bool {
        let (name, full) = (normalized(name), normalized(&format!("{provider}:{name}")));
        let any = |list: &[GlobMatcher]| list.iter().any(|glob| glob.is_match(&name) || glob.is_match(&full));
        (self.wanted.is_empty() || any(&self.wanted)) && !any(&self.unwanted)
    }
}

/// DTrace's `a-b` for the `a__b` that C has. Ranges in brackets keep their dash.
fn normalized(name: &str) -> String {
    name.replace("__", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(patterns: &[&str], name: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        Selection::parse(&patterns).expect("patterns").selects("qemu", name)
    }

    #[test]
    fn names_are_found_with_and_without_their_provider() {
        for patterns in [&[][..], &["qio*"], &["qemu:qio*"], &["x", "*_read"], &["q*:*"]] {
            assert!(selected(patterns, "qio_read"), "{patterns:?}");
        }
        for patterns in [&["qio"][..], &["other:qio*"], &["-qio*"], &["qio*", "-*_read"]] {
            assert!(!selected(patterns, "qio_read"), "{patterns:?}");
        }
    }

    #[test]
    fn two_underscores_are_a_dash() {
        for (pattern, name) in [("a-b", "a__b"), ("a__b", "a-b"), ("a-*", "a__b"), ("qemu:a__b", "a-b")] {
            assert!(selected(&[pattern], name), "{pattern} {name}");
        }
        assert!(!selected(&["a-b"], "a_b"));
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        for pattern in ["", "-", "[a"] {
            assert!(Selection::parse(&[pattern.to_owned()]).is_err(), "{pattern}");
        }
    }
}
