//! Numbers, sizes and foreign text as all renderings for people word them.

/// What a target wrote or is called, with control characters made visible: they would act on the terminal.
#[must_use]
pub fn printable(line: &str) -> String {
    let acts = |c: char| (c.is_control() && c != '\t') || is_bidirectional(c);
    line.chars().map(|c| if acts(c) { '\u{fffd}' } else { c }).collect()
}

/// Characters that turn the direction of writing and so can make a line read as what it is not.
fn is_bidirectional(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A command line as it can be typed again in a shell.
#[must_use]
pub fn command_line(words: &[String]) -> String {
    // What has a NUL in it can't be typed at all.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// A count with its noun.
#[must_use]
pub fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with commas between thousands.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in the unit that fits it.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn bytes(count: u64) -> String {
    let (size, unit) = scaled(count as f64);
    if count < 1024 { format!("{count} B") } else { format!("{size:.1} {unit}") }
}

/// A growth, with its sign and three digits.
#[must_use]
pub fn growth(bytes: f64) -> String {
    let (size, unit) = scaled(bytes.abs());
    let decimals = if size >= 100.0 || size.fract() == 0.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        2
    };
    let sign = if bytes > 0.0 {
        "+"
    } else if bytes < 0.0 {
        "−"
    } else {
        ""
    };
    format!("{sign}{size:.decimals$} {unit}")
}

/// How a size has changed, with its sign.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn change(before: u64, after: u64) -> String {
    growth(after as f64 - before as f64)
}

fn scaled(mut size: f64) -> (f64, &'static str) {
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    (size, unit)
}

/// A part of a whole.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

/// A time of a run.
#[must_use]
pub fn duration(seconds: f64) -> String {
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else if seconds < 6000.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

/// A part of a whole, from 0 to 1.
#[must_use]
pub fn share(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

/// A time in milliseconds, with three digits.
#[must_use]
pub fn milliseconds(time: f64) -> String {
    match time {
        _ if time >= 10_000.0 => format!("{:.1} s", time / 1000.0),
        _ if time >= 1000.0 => format!("{:.2} s", time / 1000.0),
        _ if time >= 100.0 => format!("{time:.0} ms"),
        _ if time >= 10.0 => format!("{time:.1} ms"),
        _ => format!("{time:.2} ms"),
    }
}

/// A rate a second: few are shown with decimals, many without.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and never negative")]
pub fn rate(per_second: f64) -> String {
    if per_second < 100.0 { format!("{per_second:.1}") } else { grouped(per_second.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_typed_again() {
        let words = ["memtrial", "stress", "--probe", "ask | grep -q 'yes'"].map(str::to_owned);
        assert_eq!(command_line(&words), r#"memtrial stress --probe "ask | grep -q 'yes'""#);
        assert_eq!(command_line(&["a\0b".to_owned()]), "a\0b");
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!((grouped(7), grouped(1_234_567)), ("7".to_owned(), "1,234,567".to_owned()));
        assert_eq!((bytes(12), bytes(1536)), ("12 B".to_owned(), "1.5 KiB".to_owned()));
        assert_eq!(percent(1, 8), "12.5 %");
    }

    #[test]
    fn growth_has_its_sign() {
        let expected = ["+1.04 KiB", "−64 B", "0 B", "+6.40 B", "+12.5 KiB", "+484 KiB"];
        assert_eq!([1061.4, -64.0, 0.0, 6.4, 12_800.0, 495_616.0].map(growth), expected);
        assert_eq!((change(4096, 1024), change(1, 1)), ("−3 KiB".to_owned(), "0 B".to_owned()));
    }

    #[test]
    fn times_and_rates_have_the_digits_that_matter() {
        let expected = ["0.04 ms", "12.5 ms", "340 ms", "1.50 s", "75.0 s"];
        assert_eq!([0.04, 12.5, 340.2, 1500.0, 75_000.0].map(milliseconds), expected);
        assert_eq!([0.5, 99.94, 1000.4, 1_234_567.0].map(rate), ["0.5", "99.9", "1,000", "1,234,567"]);
        assert_eq!(share(0.1234), "12.3 %");
    }

    #[test]
    fn what_a_target_wrote_can_not_act_on_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
    }
}
