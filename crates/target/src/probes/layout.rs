//! How a hit lies in the ring: one fixed layout for each kind of site, as the program made for it writes it.

use memtrial_symbols::probes::{Operand, Site};

/// Where the number of the site lies.
pub const NUMBER: i16 = 0;
/// Where process and thread lie: the process in the upper half.
pub const THREAD: i16 = 8;
/// Where the time lies.
pub const TIME: i16 = 16;
/// Where the bits of the arguments that could not be fetched lie.
pub const MISSING: i16 = 24;
/// Where the arguments begin, 8 bytes each; behind them texts, registers, stack.
const ARGUMENTS: i16 = 32;

/// Most bytes of a text.
pub const MOST_TEXT: usize = 1024;
/// Room for a text with its NUL, and for a byte more at least, which tells that it goes on.
pub const TEXT: i16 = MOST_TEXT as i16 + 8;
/// Most bytes of each text, with its NUL, in the records of hits all of whose texts are so short.
pub const SHORT_TEXT: i16 = 64;
/// Instruction pointer, stack pointer and base pointer.
pub const REGISTERS: usize = 3;
/// Bytes of the stack that are tried, the most first: where there are fewer, none of them can be read.
pub const STACKS: [i32; 10] = [16384, 14336, 12288, 10240, 8192, 6144, 4096, 2048, 1024, 256];

/// Most arguments that are fetched: a bit for each is in one word.
pub const MOST_ARGUMENTS: usize = 32;

/// Where everything lies in the records of a site: in short ones, if all texts are short, and in long ones. A record's size
/// tells which it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layouts {
    /// `None` for a site without texts.
    pub short: Option<Layout>,
    /// For everything else.
    pub long: Layout,
}

impl Layouts {
    /// Of a site's hits.
    pub fn of(site: &Site, texts: &[bool], with_stack: bool) -> Layouts {
        let has_text = texts.iter().take(site.arguments.len()).any(|is_text| *is_text);
        Layouts {
            short: has_text.then(|| Layout::of(site, texts, SHORT_TEXT, with_stack)),
            long: Layout::of(site, texts, TEXT, with_stack),
        }
    }

    /// That of a record of so many bytes.
    pub fn of_size(&self, bytes: usize) -> &Layout {
        self.short.as_ref().filter(|short| short.size as usize == bytes).unwrap_or(&self.long)
    }
}

/// Where everything lies in one kind of record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    /// For each argument, in order.
    pub arguments: Vec<Place>,
    /// Where registers lie: behind them how much of the stack there is, and the stack.
    pub registers: Option<i16>,
    /// Room for a text with its NUL.
    pub text: i16,
    /// Bytes of the record.
    pub size: i32,
}

/// Where an argument lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// It is not fetched.
    Nowhere,
    /// A number.
    Number(i16),
    /// Its address at the first, its length (below 0: it could not be fetched) at the second, and the text behind that.
    Text(i16, i16),
}

impl Layout {
    fn of(site: &Site, texts: &[bool], text: i16, with_stack: bool) -> Layout {
        let mut next = ARGUMENTS;
        let mut take = |bytes: i16| {
            let at = next;
            next += bytes;
            at
        };
        let fetched: Vec<bool> = site
            .arguments
            .iter()
            .map(|argument| !matches!(argument.operand, Operand::Unfetchable(_)))
            .collect();
        let is_fetched = |index: usize| index < MOST_ARGUMENTS && fetched[index];
        let numbers: Vec<Option<i16>> =
            (0..site.arguments.len()).map(|index| is_fetched(index).then(|| take(8))).collect();
        let arguments = numbers.into_iter().enumerate().map(|(index, number)| match number {
            None => Place::Nowhere,
            Some(at) if texts.get(index) == Some(&true) => Place::Text(at, take(8 + text)),
            Some(at) => Place::Number(at),
        });
        let arguments = arguments.collect();
        let registers = with_stack.then(|| take(8 * REGISTERS as i16 + 8));
        let stack = if with_stack { STACKS[0] } else { 0 };
        Layout { arguments, registers, text, size: i32::from(next) + stack }
    }
}
