//! Judges what is made of any text as a description of events.

use memtrial_events::description::{Kind, parse, qemu};
use memtrial_events::{Class, Event, Value, render};

/// Parses the text in each grammar, and judges each event that comes of it.
///
/// # Panics
/// When something is wrong.
pub fn judge(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for kind in [Kind::Qemu, Kind::DTrace, Kind::Tapset] {
        match parse(kind, &text) {
            Ok(events) => events.iter().for_each(|event| judge_event(kind, event)),
            Err(error) => {
                assert!((1..=text.lines().count().max(1)).contains(&error.line), "{kind:?} {error}");
                assert!(!error.why.is_empty());
            }
        }
    }
}

fn judge_event(kind: Kind, event: &Event) {
    let line = qemu::write(event);
    let read = qemu::parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let [read] = read.as_slice() else { panic!("{} events in {line}", read.len()) };
    let classes = |event: &Event| event.parameters.iter().map(|found| found.class).collect::<Vec<_>>();
    assert_eq!((classes(read), &read.format), (classes(event), &event.format), "{line}");
    if kind == Kind::Qemu {
        let names =
            |event: &Event| event.parameters.iter().map(|found| found.name.clone()).collect::<Vec<_>>();
        assert_eq!((read.full_name(), names(read)), (event.full_name(), names(event)), "{line}");
    }
    assert_eq!(qemu::write(read), line);
    let values: Vec<Value> = event.parameters.iter().map(|parameter| value(parameter.class)).collect();
    for values in [&values[..], &[]] {
        let line = render(event, values);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

fn value(class: Class) -> Value {
    match class {
        Class::Signed(_) => Value::Signed(-1),
        Class::Text => Value::Text { bytes: b"a\n\xff".to_vec(), cut: true },
        Class::Float(_) => Value::Float(-0.1),
        Class::Unsigned(_) | Class::Pointer => Value::Unsigned(u64::MAX),
    }
}
