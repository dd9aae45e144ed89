//! Matching program names against the globs of `--follow`, without allocating.

/// Whether `name` matches `glob`, in which `*` stands for any bytes and `?` for one byte.
#[must_use]
pub fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n) = (0, 0);
    // Where to go on after a mismatch: just behind the last `*`, one byte of `name` further.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match glob.get(g) {
            Some(b'*') => {
                retry = Some((g + 1, n));
                g += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                g += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    g = after_star;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

/// Whether the program at `path` is meant by one of the NUL-separated `globs`: by its path or by its
/// last component.
#[must_use]
pub fn names_program(globs: &[u8], path: &[u8]) -> bool {
    let base = path.rsplit(|&c| c == b'/').next().unwrap_or(path);
    globs
        .split(|&c| c == 0)
        .filter(|glob| !glob.is_empty())
        .any(|glob| matches(glob, base) || matches(glob, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_a_shell() {
        assert!(matches(b"*", b""));
        assert!(matches(b"py*3.?1", b"python3.11"));
        assert!(matches(b"*a*b", b"xaayab"));
        assert!(!matches(b"a", b"ab"));
        assert!(!matches(b"?", b""));
        assert!(!matches(b"*a?", b"a"));
    }

    #[test]
    fn a_program_is_named_by_path_or_last_component() {
        assert!(names_program(b"jq\0g*", b"/usr/bin/gawk"));
        assert!(names_program(b"/usr/bin/*", b"/usr/bin/gawk"));
        assert!(!names_program(b"", b"/usr/bin/gawk"));
        assert!(!names_program(b"awk", b"/usr/bin/gawk"));
    }
}
