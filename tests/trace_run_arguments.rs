//! The arguments of static probes, against what the program that passes them writes of them itself.

use memtrial_tests::harness::trace::{Trace, lines, texts};
use memtrial_tests::harness::trace_targets::{Asked, file, traceable};

/// The end of a text that was cut.
const CUT: &str = "...";

#[track_caller]
fn assert_same(seen: &[&str], said: &[String]) {
    for (number, (seen, said)) in seen.iter().zip(said).enumerate() {
        assert_eq!(seen, said, "line {number}");
    }
    assert_eq!(seen.len(), said.len());
}

#[test]
fn operands_of_every_kind_give_what_the_program_says() {
    let Some((bench, mut before)) = traceable("operands.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, "./operands");
    let mut after = Asked::start(&bench.folder().join("operands"));
    for asked in [&mut before, &mut after] {
        let said = [asked.ask("once"), asked.ask("twice")].concat();
        assert_same(&texts(&trace.wait_for_lines(asked.pid(), said.len()), asked.pid()), &said);
    }
    let ended = trace.interrupt().with_status(0);
    // Of each of the four rounds.
    let ended = ended.saying(&["16 arguments that could not be fetched"]);
    let times: Vec<u64> = lines(&ended).iter().map(|line| line.time).collect();
    assert!(times.is_sorted(), "in the order in which it happened");
    assert_eq!((before.end(), after.end()), (0, 0));
}

#[test]
fn times_are_those_of_the_day() {
    let Some((bench, mut asked)) = traceable("visits.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, "./visits site");
    let now = || std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_micros() as u64;
    let before = now();
    asked.ask("site");
    let after = now();
    let time = trace.wait_for_lines(asked.pid(), 1)[0].time;
    // The clock may be set while this runs, but not far.
    assert!((before - 1_000_000..after + 1_000_000).contains(&time), "{before} {time} {after}");
}

#[test]
fn texts_of_every_kind_give_what_the_program_says() {
    let Some((bench, mut asked)) = traceable("texts.c") else {
        return;
    };
    let events = file("texts.events");
    let arguments = ["./texts".as_ref(), "--events".as_ref(), events.as_os_str()];
    let mut trace = Trace::run(&bench, arguments).attached();
    let said = [asked.ask("once"), asked.ask("twice")].concat();
    let lines = trace.wait_for_lines(asked.pid(), said.len());
    assert_eq!(lines.len(), said.len());
    for (line, said) in lines.iter().zip(&said) {
        let seen = line.text.as_str();
        match line.name() {
            "text_long" => {
                let shown = seen
                    .strip_suffix(CUT)
                    .unwrap_or_else(|| panic!("it does not say that it was cut: {seen}"));
                assert!(said.starts_with(shown), "{shown}");
                assert!((200..=1100).contains(&shown.len()), "{} bytes of it", shown.len());
            }
            // What is not there must not be waited for; what can be had without is no guess either.
            "text_not_touched" => assert!(seen == said || seen == "text_not_touched text <fault>", "{seen}"),
            "text_over" => assert!([said, "text_over text bound!..."].contains(&seen), "{seen}"),
            // One line, in which everything can be told from everything else.
            "text_strange" => assert_eq!(seen, r"text_strange text a\nb\x1bc\xffd €"),
            _ => assert_eq!(seen, said),
        }
    }
    let _ = trace.interrupt().with_status(0);
    assert_eq!(asked.end(), 0);
}

#[test]
fn a_text_of_which_nobody_knows_is_a_number() {
    let Some((bench, mut asked)) = traceable("texts.c") else {
        return;
    };
    let mut trace = Trace::ready(&bench, "./texts text_null text_global");
    asked.ask("once");
    let lines = trace.wait_for_lines(asked.pid(), 2);
    let address: u64 = lines[0].argument("arg1").parse().expect("a number");
    assert_eq!(lines[0].text, format!("text_global arg1={address} arg2={address}"));
    assert_eq!(lines[1].text, "text_null arg1=0 arg2=5");
}
