//! Types of C: what the bits of an argument mean.

use crate::event::{Class, Parameter};
use crate::format::{Conversion, Directive};

/// A parameter as it is declared: `const char *path`, or the type alone; it is `arg1` then, or whatever its number is.
/// `None` without a type, and if there is anything but words and stars.
pub(crate) fn parameter(declaration: &str, number: usize) -> Option<Parameter> {
    let (text, name) = split(declaration);
    let of_type = |character| is_word(character) || matches!(character, '*' | ' ');
    if !text.chars().all(of_type) || text.split(|character| !is_word(character)).all(is_qualifier) {
        return None;
    }
    let name = name.map_or_else(|| format!("arg{number}"), str::to_owned);
    let class = class(&text).unwrap_or(Class::Unsigned(8));
    Some(Parameter { name, text, class })
}

/// Cuts a declaration into its type, blanks in it made one each, and its name. `char name[8]` is a `char *`.
fn split(declaration: &str) -> (String, Option<&str>) {
    let whole = declaration.trim();
    let (whole, array) = match whole.find('[') {
        Some(at) => (whole[..at].trim_end(), true),
        None => (whole, false),
    };
    let start = whole
        .rfind(|character| !is_word(character))
        .map_or(0, |at| at + whole[at..].chars().next().map_or(1, char::len_utf8));
    let (before, last) = whole.split_at(start);
    let words: Vec<&str> =
        before.split(|character| !is_word(character)).filter(|word| !is_qualifier(word)).collect();
    // A type is more than qualifiers and the beginning of a name with a tag.
    let typed = match words.as_slice() {
        [] => false,
        [word] => !matches!(*word, "struct" | "union" | "enum"),
        _ => true,
    };
    let named = typed && !last.is_empty() && !is_qualifier(last) && !BUILTIN.contains(&last);
    let (text, name) = if named { (before, Some(last)) } else { (whole, None) };
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if array {
        text.push_str(" *");
    }
    (text, name)
}

/// Whether a character may be in a word of C.
pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Words that are never a name.
const BUILTIN: [&str; 11] =
    ["char", "short", "int", "long", "unsigned", "signed", "float", "double", "void", "bool", "string"];

fn is_qualifier(word: &str) -> bool {
    matches!(word, "" | "const" | "volatile" | "restrict" | "register" | "static")
}

/// What a type means; `None` if nobody here knows it.
pub(crate) fn class(text: &str) -> Option<Class> {
    let words: Vec<&str> =
        text.split(|character| !is_word(character)).filter(|word| !is_qualifier(word)).collect();
    match text.matches('*').count() {
        0 => {}
        1 => {
            let is_text = matches!(words.as_slice(), ["char" | "gchar" | "xmlChar"] | ["signed", "char"]);
            return Some(if is_text { Class::Text } else { Class::Pointer });
        }
        _ => return Some(Class::Pointer),
    }
    if let [name] = words.as_slice()
        && let Some(class) = named(name)
    {
        return Some(class);
    }
    if words.first() == Some(&"enum") {
        return Some(Class::Signed(4));
    }
    built_in(&words)
}

/// A type of the language, `unsigned long int`.
fn built_in(words: &[&str]) -> Option<Class> {
    if words.is_empty() || !words.iter().all(|word| BUILTIN.contains(word)) {
        return None;
    }
    let has = |word: &str| words.contains(&word);
    let bytes = match () {
        () if has("void") || has("bool") || has("string") => return None,
        // One of 16 bytes is never in an operand.
        () if has("double") => return Some(Class::Float(8)),
        () if has("float") => return Some(Class::Float(4)),
        () if has("char") => 1,
        () if has("short") => 2,
        () if has("long") => 8,
        () => 4,
    };
    Some(if has("unsigned") { Class::Unsigned(bytes) } else { Class::Signed(bytes) })
}

/// A type that has one name, on x86-64 Linux.
fn named(name: &str) -> Option<Class> {
    Some(match name {
        "string" => Class::Text,
        "gpointer" | "gconstpointer" => Class::Pointer,
        "int8_t" | "int8" | "gint8" | "s8" | "__s8" | "gchar" => Class::Signed(1),
        "int16_t" | "int16" | "gint16" | "s16" | "__s16" | "gshort" => Class::Signed(2),
        "int32_t" | "int32" | "gint32" | "s32" | "__s32" | "gint" | "gboolean" | "pid_t" | "wchar_t"
        | "key_t" | "clockid_t" => Class::Signed(4),
        "int64_t" | "int64" | "gint64" | "s64" | "__s64" | "glong" | "gssize" | "ssize_t" | "off_t"
        | "off64_t" | "loff_t" | "goffset" | "time_t" | "suseconds_t" | "clock_t" | "ptrdiff_t"
        | "intptr_t" | "intmax_t" => Class::Signed(8),
        "uint8_t" | "u_int8_t" | "uint8" | "guint8" | "u8" | "__u8" | "guchar" | "uchar" | "u_char"
        | "bool" | "_Bool" => Class::Unsigned(1),
        "uint16_t" | "u_int16_t" | "uint16" | "guint16" | "u16" | "__u16" | "gushort" | "ushort"
        | "u_short" | "in_port_t" => Class::Unsigned(2),
        "uint32_t" | "u_int32_t" | "uint32" | "guint32" | "u32" | "__u32" | "guint" | "uint" | "u_int"
        | "gunichar" | "uid_t" | "gid_t" | "mode_t" | "id_t" | "socklen_t" | "in_addr_t" => {
            Class::Unsigned(4)
        }
        "uint64_t" | "u_int64_t" | "uint64" | "guint64" | "u64" | "__u64" | "gulong" | "gsize" | "ulong"
        | "u_long" | "size_t" | "uintptr_t" | "uintmax_t" | "dev_t" | "ino_t" | "ino64_t" | "nlink_t"
        | "rlim_t" | "pthread_t" | "hwaddr" | "ram_addr_t" | "vaddr" | "dma_addr_t" | "target_ulong" => {
            Class::Unsigned(8)
        }
        "gfloat" => Class::Float(4),
        "gdouble" => Class::Float(8),
        _ => return None,
    })
}

/// What an argument is, given how it is printed: that says more than the type where the type is a pointer, or not known.
pub(crate) fn refined(text: &str, directive: &Directive) -> Option<Class> {
    let bytes = directive.bytes.unwrap_or(4);
    Some(match (class(text), directive.conversion) {
        (Some(Class::Pointer | Class::Text) | None, Conversion::Text) => Class::Text,
        // A text that is printed as a number is not to be fetched.
        (Some(Class::Text), _) | (None, Conversion::Pointer) => Class::Pointer,
        (Some(known), _) => known,
        (None, Conversion::Signed) => Class::Signed(bytes),
        (None, Conversion::Character) => Class::Signed(1),
        (None, Conversion::Unsigned | Conversion::Octal | Conversion::Hex | Conversion::UpperHex) => {
            Class::Unsigned(bytes)
        }
        (None, Conversion::Fixed | Conversion::Exponent | Conversion::General) => Class::Float(8),
    })
}

/// A type that means `class`.
pub(crate) fn of(class: Class) -> &'static str {
    match class {
        Class::Unsigned(1) => "uint8_t",
        Class::Unsigned(2) => "uint16_t",
        Class::Unsigned(4) => "uint32_t",
        Class::Unsigned(_) => "uint64_t",
        Class::Signed(1) => "int8_t",
        Class::Signed(2) => "int16_t",
        Class::Signed(4) => "int32_t",
        Class::Signed(_) => "int64_t",
        Class::Pointer => "void *",
        Class::Text => "const char *",
        Class::Float(4) => "float",
        Class::Float(_) => "double",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_cut_into_type_and_name() {
        for (declaration, text, name, class) in [
            ("const char *path", "const char *", "path", Class::Text),
            ("const  char* path", "const char*", "path", Class::Text),
            ("char **argv", "char **", "argv", Class::Pointer),
            ("char name[8]", "char *", "name", Class::Text),
            ("const char *", "const char *", "arg3", Class::Text),
            ("unsigned char *data", "unsigned char *", "data", Class::Pointer),
            ("int", "int", "arg3", Class::Signed(4)),
            ("const int", "const int", "arg3", Class::Signed(4)),
            ("unsigned int", "unsigned int", "arg3", Class::Unsigned(4)),
            ("unsigned x", "unsigned", "x", Class::Unsigned(4)),
            ("unsigned long long x", "unsigned long long", "x", Class::Unsigned(8)),
            ("long x", "long", "x", Class::Signed(8)),
            ("char x", "char", "x", Class::Signed(1)),
            ("short", "short", "arg3", Class::Signed(2)),
            ("bool x", "bool", "x", Class::Unsigned(1)),
            ("size_t x", "size_t", "x", Class::Unsigned(8)),
            ("double", "double", "arg3", Class::Float(8)),
            ("enum color", "enum color", "arg3", Class::Signed(4)),
            ("enum color c", "enum color", "c", Class::Signed(4)),
            ("struct list *list", "struct list *", "list", Class::Pointer),
            ("Oid x", "Oid", "x", Class::Unsigned(8)),
            ("Oid", "Oid", "arg3", Class::Unsigned(8)),
            ("string s", "string", "s", Class::Text),
        ] {
            let expected = Parameter { name: name.to_owned(), text: text.to_owned(), class };
            assert_eq!(parameter(declaration, 3), Some(expected), "{declaration}");
        }
        for declaration in ["", "*", "const", "const volatile *", "[2]", "a+ b", "a \"b"] {
            assert_eq!(parameter(declaration, 3), None, "{declaration}");
        }
    }

    #[test]
    fn each_class_has_a_type_that_means_it() {
        for class in [Class::Pointer, Class::Text, Class::Float(4), Class::Float(8)]
            .into_iter()
            .chain([1, 2, 4, 8].into_iter().flat_map(|bytes| [Class::Signed(bytes), Class::Unsigned(bytes)]))
        {
            assert_eq!(super::class(of(class)), Some(class));
        }
    }
}
