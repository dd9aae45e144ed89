//! The arguments of a note: assembler operands in AT&T's syntax, such as `-4@24(%rbx)`.

mod register;

use super::{Argument, Operand, Register};
use register::{address_register, register};

/// What operands may refer to besides registers.
pub trait Globals {
    /// The address, in the file, of the variable `name`; else why it is not known.
    ///
    /// # Errors
    /// When there is none, or more than one, or one in each thread.
    fn address(&mut self, name: &str) -> Result<u64, String>;

    /// Whether the addresses in the file are those in memory, as in programs that are not position-independent.
    fn fixed(&self) -> bool;
}

/// Parses the arguments of a note. Those that are not understood become [`Operand::Unfetchable`].
pub fn parse(arguments: &str, globals: &mut dyn Globals) -> Vec<Argument> {
    split(arguments).into_iter().map(|text| argument(text, globals)).collect()
}

/// Splits at blanks, but not at those between parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let at_blank = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && c.is_ascii_whitespace()
    };
    text.split(at_blank).filter(|part| !part.is_empty()).collect()
}

fn argument(text: &str, globals: &mut dyn Globals) -> Argument {
    let mut argument = Argument {
        text: text.to_owned(),
        bytes: 8,
        signed: false,
        float: false,
        operand: Operand::Constant(0),
    };
    let found = match size(text) {
        None => operand(text, &mut argument.bytes, globals),
        Some(Size { bytes, signed, suffix, rest }) => {
            (argument.signed, argument.float) = (signed, suffix == "f");
            match (bytes, suffix) {
                (1 | 2 | 4 | 8, "") | (4 | 8, "f") => {
                    argument.bytes = bytes;
                    operand(rest, &mut argument.bytes, globals)
                }
                (_, "" | "f") => Err(format!("numbers of {bytes} bytes are not fetched")),
                _ => Err(format!("its type `{suffix}` is unknown")),
            }
        }
    };
    argument.operand = match found {
        Ok(Operand::Constant(number)) => Operand::Constant(extended(number, &argument)),
        Ok(operand) => operand,
        Err(why) => Operand::Unfetchable(why),
    };
    argument
}

/// `[-]N[f]@` and what comes behind it.
struct Size<'a> {
    bytes: u8,
    signed: bool,
    suffix: &'a str,
    rest: &'a str,
}

fn size(text: &str) -> Option<Size<'_>> {
    let (size, rest) = text.split_once('@')?;
    let (signed, digits) = size.strip_prefix('-').map_or((false, size), |digits| (true, digits));
    let (digits, suffix) =
        digits.split_at(digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len()));
    Some(Size { bytes: digits.parse().ok()?, signed, suffix, rest })
}

/// What a constant is after it went through so many bytes.
fn extended(number: i64, argument: &Argument) -> i64 {
    let unused = 64 - 8 * u32::from(argument.bytes.clamp(1, 8));
    if argument.signed { number << unused >> unused } else { ((number as u64) << unused >> unused) as i64 }
}

/// Parses the operand behind the `@`. Lowers `bytes` to what a register has.
fn operand(text: &str, bytes: &mut u8, globals: &mut dyn Globals) -> Result<Operand, String> {
    if let Some(number) = text.strip_prefix('$') {
        let sum = Sum::parse(number)?;
        return Ok(Operand::Constant(sum.absolute(globals)?));
    }
    if text.contains(':') {
        return Err("it is relative to a segment, as what each thread has is".to_owned());
    }
    if let Some(name) = text.strip_prefix('%') {
        let (register, place) = register(name)?;
        *bytes = place.bytes.min(*bytes);
        return Ok(Operand::Register { register, high: place.high });
    }
    let Some((sum, inside)) = text.split_once('(') else {
        let sum = Sum::parse(text)?;
        return match sum.symbol {
            Some(name) => Ok(Operand::Global(globals.address(name)?.wrapping_add_signed(sum.number))),
            None => Ok(Operand::Memory { base: None, index: None, displacement: sum.number }),
        };
    };
    let inside = inside.strip_suffix(')').ok_or_else(not_understood)?;
    let sum = if sum.trim().is_empty() { Sum::default() } else { Sum::parse(sum)? };
    memory(&sum, inside, globals)
}

/// An address of the form `sum(base,index,scale)`.
fn memory(sum: &Sum<'_>, inside: &str, globals: &mut dyn Globals) -> Result<Operand, String> {
    let mut parts = inside.split(',').map(str::trim);
    let (base, index, scale) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    if parts.next().is_some() {
        return Err(not_understood());
    }
    if base == "%rip" {
        return match (sum.symbol, index) {
            (Some(name), None) => Ok(Operand::Global(globals.address(name)?.wrapping_add_signed(sum.number))),
            _ => Err("it is relative to an instruction that is not there".to_owned()),
        };
    }
    let base = if base.is_empty() { None } else { Some(address_register(base)?) };
    let index = match index.unwrap_or_default() {
        // How assemblers write that there is no index.
        "" | "%riz" => None,
        index => {
            let scale = match scale.unwrap_or("1") {
                "" | "1" => 1,
                "2" => 2,
                "4" => 4,
                "8" => 8,
                _ => return Err(not_understood()),
            };
            match address_register(index)? {
                Register::Sp => return Err(not_understood()),
                register => Some((register, scale)),
            }
        }
    };
    if base.is_none() && index.is_none() {
        return Err(not_understood());
    }
    Ok(Operand::Memory { base, index, displacement: sum.absolute(globals)? })
}

fn not_understood() -> String {
    "it is not understood".to_owned()
}

/// Numbers and at most one name, added up: `52+CheckpointStats`, `Sym-4`.
#[derive(Default)]
struct Sum<'a> {
    number: i64,
    symbol: Option<&'a str>,
}

impl Sum<'_> {
    fn parse(text: &str) -> Result<Sum<'_>, String> {
        let mut sum = Sum::default();
        let mut rest = text.trim();
        // Only the first term may do without a sign.
        let mut negative = false;
        if let Some(unsigned) = rest.strip_prefix(['+', '-']) {
            negative = rest.starts_with('-');
            rest = unsigned;
        }
        loop {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let (term, others) = rest.split_at(end);
            match number(term.trim()) {
                Some(number) if negative => sum.number = sum.number.wrapping_sub(number),
                Some(number) => sum.number = sum.number.wrapping_add(number),
                None => {
                    let name = symbol(term.trim())?;
                    if negative || sum.symbol.replace(name).is_some() {
                        return Err(not_understood());
                    }
                }
            }
            let Some(next) = others.strip_prefix(['+', '-']) else { return Ok(sum) };
            negative = others.starts_with('-');
            rest = next;
        }
    }

    /// As a number that does not depend on where the file is in memory.
    fn absolute(&self, globals: &mut dyn Globals) -> Result<i64, String> {
        let Some(name) = self.symbol else { return Ok(self.number) };
        let address = globals.address(name)?;
        if globals.fixed() {
            Ok(address.wrapping_add_signed(self.number) as i64)
        } else {
            Err(format!("it needs the address of {name} in the process"))
        }
    }
}

fn number(text: &str) -> Option<i64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        [b'0'..=b'9', ..] => (text, 10),
        _ => return None,
    };
    // `from_str_radix` would also take a sign. A number above the highest with a sign is meant as its bits.
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(|number| number as i64)
}

fn symbol(text: &str) -> Result<&str, String> {
    if let Some((_, how)) = text.split_once('@') {
        let through = how.to_ascii_uppercase();
        return Err(if through.starts_with("GOT") {
            "it is an entry of the table of addresses that the loader fills".to_owned()
        } else if through.contains("TPOFF") || through.contains("TLS") || through.contains("DTPOFF") {
            "each thread has one of its own".to_owned()
        } else {
            not_understood()
        });
    }
    let first = text.chars().next().ok_or_else(not_understood)?;
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$') || !c.is_ascii();
    if first.is_ascii_digit() || !text.chars().all(rest) {
        return Err(not_understood());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Known {
        fixed: bool,
    }

    impl Globals for Known {
        fn address(&mut self, name: &str) -> Result<u64, String> {
            match name {
                "NBuffers" => Ok(0x1000),
                "stats.0" => Ok(0x2000),
                _ => Err(format!("{name} is not known")),
            }
        }

        fn fixed(&self) -> bool {
            self.fixed
        }
    }

    fn one(text: &str) -> Argument {
        let mut all = parse(text, &mut Known { fixed: false });
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    fn at(base: Option<Register>, index: Option<(Register, u8)>, displacement: i64) -> Operand {
        Operand::Memory { base, index, displacement }
    }

    #[test]
    fn operands_of_every_kind_are_understood() {
        use Register::*;
        for (text, bytes, signed, operand) in [
            ("8@%rdi", 8, false, Operand::Register { register: Di, high: false }),
            ("-4@%ecx", 4, true, Operand::Register { register: Cx, high: false }),
            ("1@%al", 1, false, Operand::Register { register: Ax, high: false }),
            ("1@%bh", 1, false, Operand::Register { register: Bx, high: true }),
            ("2@%r10w", 2, false, Operand::Register { register: R10, high: false }),
            ("-1@%r15b", 1, true, Operand::Register { register: R15, high: false }),
            ("%r8", 8, false, Operand::Register { register: R8, high: false }),
            ("-4@$7", 4, true, Operand::Constant(7)),
            ("8@$-1", 8, false, Operand::Constant(-1)),
            ("4@$-1", 4, false, Operand::Constant(0xffff_ffff)),
            ("-1@$255", 1, true, Operand::Constant(-1)),
            ("8@$18446744073709551615", 8, false, Operand::Constant(-1)),
            ("4@$0x1F", 4, false, Operand::Constant(31)),
            ("4@$010", 4, false, Operand::Constant(8)),
            ("-4@24(%rbx)", 4, true, at(Some(Bx), None, 24)),
            ("8@(%rax)", 8, false, at(Some(Ax), None, 0)),
            ("1@-57(%rbp)", 1, false, at(Some(Bp), None, -57)),
            ("8@-8(%rbp,%rax,8)", 8, false, at(Some(Bp), Some((Ax, 8)), -8)),
            ("8@-8(%rbp, %rax, 8)", 8, false, at(Some(Bp), Some((Ax, 8)), -8)),
            ("8@(%rbp,%rax)", 8, false, at(Some(Bp), Some((Ax, 1)), 0)),
            ("4@16(,%r9,4)", 4, false, at(None, Some((R9, 4)), 16)),
            ("8@(%rsp,%riz,1)", 8, false, at(Some(Sp), None, 0)),
            ("8@4096", 8, false, at(None, None, 4096)),
            ("-4@NBuffers(%rip)", 4, true, Operand::Global(0x1000)),
            ("-4@52+NBuffers(%rip)", 4, true, Operand::Global(0x1034)),
            ("4@NBuffers+4(%rip)", 4, false, Operand::Global(0x1004)),
            ("4@stats.0-4(%rip)", 4, false, Operand::Global(0x1ffc)),
            ("4@-4+stats.0(%rip)", 4, false, Operand::Global(0x1ffc)),
            ("4@NBuffers", 4, false, Operand::Global(0x1000)),
            ("NBuffers(%rip)", 8, false, Operand::Global(0x1000)),
        ] {
            let found = one(text);
            assert_eq!((found.bytes, found.signed, &found.operand), (bytes, signed, &operand), "{text}");
            assert_eq!((found.text.as_str(), found.float), (text, false));
        }
        let float = one("8f@-8(%rbp)");
        assert!(float.float && float.operand == at(Some(Bp), None, -8));
    }

    #[test]
    fn what_cannot_be_fetched_says_why() {
        for (text, why) in [
            ("8f@%xmm0", "it is in a vector register"),
            ("16@%rax", "numbers of 16 bytes are not fetched"),
            ("2f@%rax", "numbers of 2 bytes are not fetched"),
            ("10f@%st(0)", "numbers of 10 bytes are not fetched"),
            ("8f@%st(0)", "it is in a register of the x87"),
            ("8q@%rax", "its type `q` is unknown"),
            ("4@%fs:-4", "it is relative to a segment, as what each thread has is"),
            ("4@%fs:counter@tpoff", "it is relative to a segment, as what each thread has is"),
            ("4@counter@tpoff(%rax)", "each thread has one of its own"),
            ("8@NBuffers@GOTPCREL(%rip)", "it is an entry of the table of addresses that the loader fills"),
            ("8@16(%rip)", "it is relative to an instruction that is not there"),
            ("8@other(%rip)", "other is not known"),
            ("8@$NBuffers", "it needs the address of NBuffers in the process"),
            ("8@NBuffers(,%rax,8)", "it needs the address of NBuffers in the process"),
            ("8@(%eax)", "its address is made of parts of registers"),
            ("8@", "it is not understood"),
            ("8@()", "it is not understood"),
            ("8@(%rax,%rsp)", "it is not understood"),
            ("8@(%rax,%rbx,3)", "it is not understood"),
            ("8@4(%rax", "it is not understood"),
            ("8@(%rax)4", "it is not understood"),
            ("8@NBuffers-stats.0", "it is not understood"),
            ("8@1+-2", "it is not understood"),
            ("8@$", "it is not understood"),
            ("8@%", "it is not understood"),
            ("8@%rzx", "it is not understood"),
            ("8@\"a\"(%rip)", "it is not understood"),
        ] {
            assert_eq!(one(text).operand, Operand::Unfetchable(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_argument_is_no_wider_than_its_register() {
        for (text, bytes) in [("8@%eax", 4), ("-4@%ax", 2), ("8@%ah", 1), ("1@%rax", 1)] {
            assert_eq!(one(text).bytes, bytes, "{text}");
        }
    }

    #[test]
    fn addresses_of_programs_that_are_not_moved_are_numbers() {
        let mut known = Known { fixed: true };
        let all = parse("8@$NBuffers+8 4@NBuffers(,%rax,4)", &mut known);
        assert_eq!(all[0].operand, Operand::Constant(0x1008));
        assert_eq!(all[1].operand, at(None, Some((Register::Ax, 4)), 0x1000));
    }

    #[test]
    fn arguments_are_separated_by_blanks() {
        let texts = |text| parse(text, &mut Known { fixed: false }).into_iter().map(|a| a.text);
        let expected = ["8@%rax", "-4@8(%rbx, %rcx, 4)", "1@$0"];
        assert_eq!(texts(" 8@%rax  -4@8(%rbx, %rcx, 4)\t1@$0 ").collect::<Vec<_>>(), expected);
        assert_eq!(texts("").count(), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,60}") {
            let _ = parse(&text, &mut Known { fixed: false });
        }

        #[test]
        fn anything_like_an_operand_is_survived(
            text in "(-?[0-9]{0,3}f?@?)(\\$|%|)([-+]?(0x)?[0-9a-f]{0,20}|NBuffers|%|r|a|x){0,4}(\\(?%?(rip|rax|esp|xmm1|)?,?%?(riz|rsp|r9|)?,?[0-9]?\\)?)"
        ) {
            for argument in parse(&text, &mut Known { fixed: true }) {
                prop_assert!(matches!(argument.bytes, 1 | 2 | 4 | 8));
            }
        }
    }
}
