//! Turning the symbol names of C++ and Rust back into what the programmer wrote.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, Symbol};

/// Names longer than this are shown mangled: substitutions can make a short symbol expand without end.
const LONGEST: usize = 8 * 1024;

/// The readable form of a symbol name: Rust without its hash, C++ as `c++filt` shows it, others unchanged.
pub fn demangle(name: &str) -> String {
    demangled(name).unwrap_or_else(|| name.to_owned())
}

fn demangled(name: &str) -> Option<String> {
    // Rust first: its older mangling looks like C++, with the hash as one more namespace.
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        let mut text = Bounded(String::new());
        return write!(text, "{rust:#}").is_ok().then_some(text.0);
    }
    if !name.starts_with("_Z") {
        return None;
    }
    let symbol = Symbol::new(name).ok()?;
    let mut text = Bounded(String::new());
    symbol.structured_demangle(&mut text, &DemangleOptions::new()).ok()?;
    Some(text.0)
}

/// A string that refuses to grow beyond `LONGEST`.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn each_language_is_shown_as_written() {
        let names = [
            ("main", "main"),
            ("_ZN3app6loader4loadEi", "app::loader::load(int)"),
            ("_ZN3app6loader4loadEi.cold", "app::loader::load(int) [clone .cold]"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            ("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"),
            ("_RNvCs4fqI2P2rA04_5hello4main", "hello::main"),
            ("_Z", "_Z"),
            ("_Zwhatever", "_Zwhatever"),
            ("", ""),
        ];
        for (mangled, plain) in names {
            assert_eq!(demangle(mangled), plain);
        }
    }

    /// A function of pairs, each of which is made of the one before it, so that each doubles the length of the text.
    fn pairs(levels: u32) -> String {
        let mut name = "_Z1fSt4pairIiiE".to_owned();
        for level in 0..levels {
            // Each can be substituted twice, as a template and as its instance: the instances have the even numbers.
            let digit = |number| char::from_digit(number, 36).expect("a digit").to_ascii_uppercase();
            let (high, low) = (level * 2 / 36, level * 2 % 36);
            let number: String = (high > 0).then(|| digit(high)).into_iter().chain([digit(low)]).collect();
            name.push_str(&format!("St4pairIS{number}_S{number}_E"));
        }
        name
    }

    #[test]
    fn a_name_that_expands_without_end_stays_mangled() {
        assert!(demangle(&pairs(2)).ends_with(
            ", std::pair<std::pair<std::pair<int, int>, std::pair<int, int> >, \
             std::pair<std::pair<int, int>, std::pair<int, int> > >)"
        ));
        assert_eq!(demangle(&pairs(28)), pairs(28));
    }

    proptest::proptest! {
        #[test]
        fn no_name_makes_it_panic(name in "(_Z|_R|_ZN|)[A-Za-z0-9_.$]{0,80}") {
            demangle(&name);
        }
    }
}
