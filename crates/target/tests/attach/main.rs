//! Attaching to running programs: they are entered, redirected and left, and come out right.

#[path = "../blocked/mod.rs"]
mod blocked;
mod refused;
mod target;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use blocked::wait_until_blocked;
use memtrial_target::attach::{self, AttachError, Entered, SafePoint, Stopped};

use target::{LIMIT, Target, compile, folder, library};

fn entered_times(times: u32, program: &Path, check: impl Fn(&Entered)) {
    for _ in 0..times {
        let target = Target::start(program);
        let entered = target.enter().expect("it has safe points");
        assert_eq!(entered.value, 12);
        check(&entered);
        target.ends_right();
    }
}

#[test]
fn a_threaded_program_that_only_allocates_is_entered() {
    entered_times(20, &compile("heavy.c", "heavy", &[]), |_| ());
}

#[test]
fn a_program_with_an_allocator_of_its_own_library_is_entered() {
    entered_times(5, &compile("heavy.c", "heavy_je", &["-Wl,--no-as-needed", "-ljemalloc"]), |_| ());
}

#[test]
fn a_program_that_waits_in_a_system_call_is_entered_at_once() {
    for (source, flag, name) in [
        ("poll.c", "", "poll"),
        ("poll.c", "-DEPOLL", "epoll_wait"),
        ("reader.c", "", "read"),
        ("reader.c", "-DSTDIO", "fgets"),
    ] {
        let flags: Vec<&str> = [flag].into_iter().filter(|flag| !flag.is_empty()).collect();
        let program = compile(source, &format!("waits_in_{name}"), &flags);
        for _ in 0..5 {
            let target = Target::start(&program);
            // It says that it is ready before it waits.
            wait_until_blocked(target.pid());
            assert_eq!(target.enter().expect("it has safe points").value, 12);
            wait_until_blocked(target.pid());
            let again = target.enter().expect("it has safe points");
            assert!(matches!(again.point, SafePoint::Waiting(_)), "{again:?}");
            target.ends_right();
        }
    }
}

#[test]
fn a_program_whose_threads_wait_for_a_condition_is_entered() {
    let program = compile("condition.c", "condition", &[]);
    for _ in 0..5 {
        let target = Target::start(&program);
        assert_eq!(target.enter().expect("it has safe points").value, 12);
        target.ends_right_when_signalled();
    }
}

#[test]
fn a_sleeping_program_sleeps_on() {
    let program = compile("sleeper.c", "sleeper", &[]);
    for _ in 0..5 {
        let target = Target::start(&program);
        for _ in 0..5 {
            assert_eq!(target.enter().expect("it has safe points").value, 12);
        }
        drop(Stopped::all(target.pid()).expect("it can be stopped"));
        target.ends_right();
    }
}

#[test]
fn a_tight_loop_on_a_small_stack_is_entered() {
    entered_times(5, &compile("tight.c", "tight", &[]), |_| ());
}

#[test]
fn a_program_whose_first_thread_has_ended_is_entered() {
    let target = Target::start(&compile("tight.c", "alone", &["-DALONE"]));
    for _ in 0..3 {
        assert_eq!(target.enter().expect("it has safe points").value, 12);
        drop(Stopped::all(target.pid()).expect("it can be stopped"));
    }
}

#[test]
fn timers_and_vector_registers_are_not_disturbed() {
    let program = compile("timer.c", "timer", &["-O2", "-march=native"]);
    for _ in 0..5 {
        let target = Target::start(&program);
        for _ in 0..5 {
            assert_eq!(target.enter().expect("it has safe points").value, 12);
        }
        target.ends_right();
    }
}

#[test]
fn a_program_that_is_always_inside_libc_is_met_on_its_way_out() {
    let program = compile("busy.c", "busy", &[]);
    for _ in 0..3 {
        let target = Target::start(&program);
        assert_eq!(target.enter().expect("it has safe points").value, 12);
        target.ends_right();
    }
}

#[test]
fn threads_that_come_and_go_do_not_matter() {
    let program = compile("churn.c", "churn", &[]);
    for _ in 0..5 {
        let target = Target::start(&program);
        let entered = target.enter().expect("it has safe points");
        drop(Stopped::all(target.pid()).expect("it can be stopped"));
        let slots = target.redirect(entered.base);
        slots.remove().expect("it is there");
        target.ends_right();
    }
}

#[test]
fn a_program_that_changes_its_user_all_the_time_is_entered() {
    entered_times(5, &compile("changes_user.c", "changes_user", &[]), |_| ());
}

#[test]
fn a_program_that_was_entered_very_often_is_left_its_room() {
    let target = Target::start(&compile("sleeper.c", "often", &[]));
    let name = library().file_name().expect("it is a file").to_owned();
    let enter_by = |number: u32| {
        let copy = folder().join(number.to_string()).join(&name);
        std::fs::create_dir_all(copy.parent().expect("it is in a folder")).expect("the folder is ours");
        std::fs::copy(library(), &copy).expect("the folder is ours");
        let entered = attach::enter(target.pid(), &copy, "begin", "twelve bytes", LIMIT);
        std::fs::remove_file(&copy).expect("it is ours");
        entered
    };
    for number in 0..6 {
        assert_eq!(enter_by(number).expect("there is room").value, 12);
    }
    assert!(matches!(enter_by(6), Err(AttachError::TooMany { copies: 6, .. })));
}

#[test]
fn what_is_loaded_later_is_redirected_when_asked() {
    let later = compile("later.c", "later.so", &["-shared", "-fPIC"]);
    let mut command = Command::new(compile("loads.c", "loads", &["-include", "stdlib.h"]));
    command.env("LATER", &later);
    let mut target = Target::of(&mut command);
    let entered = target.enter().expect("it has safe points");
    let mut slots = target.redirect(entered.base);
    let before = (slots.count(), slots.modules());
    target.tell();
    assert_eq!(target.line(), "loaded");
    assert_eq!(slots.refresh().expect("it is there"), 2);
    assert_eq!((slots.count(), slots.modules()), (before.0 + 2, before.1 + 1));
    let counted = target.counted();
    target.tell();
    assert_eq!(target.line(), "called");
    assert!(target.counted() >= counted + 2);
    target.ends_right();
}

fn is_redirected_and_left(program: &Path) {
    let target = Target::start(program);
    let entered = target.enter().expect("it has safe points");
    let mut slots = target.redirect(entered.base);
    assert!(slots.count() >= 4 && slots.modules() >= 1, "{slots:?}");
    let begun = Instant::now();
    while target.counted() < 1000 {
        assert!(begun.elapsed() < LIMIT, "nothing was counted");
    }
    slots.refresh().expect("it is there");
    assert_eq!(slots.refresh().expect("it is there"), 0, "all is redirected already");
    assert_eq!(slots.left_alone(), 0);
    slots.remove().expect("it is there");
    // Calls that were in a hook come out of it when their threads get a processor again.
    let (begun, mut count) = (Instant::now(), target.counted());
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = target.counted();
        if now == count {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "something is still redirected: {now} calls");
        count = now;
    }
    target.ends_right();
}

#[test]
fn calls_are_redirected_and_put_back() {
    for flags in [&["-Wl,-z,now"][..], &["-Wl,-z,lazy", "-no-pie"], &["-fno-plt"]] {
        let program = compile("heavy.c", &format!("redirected{}", flags.len() + flags[0].len()), flags);
        for _ in 0..3 {
            is_redirected_and_left(&program);
        }
    }
}

#[test]
fn calls_of_another_allocator_are_redirected_and_put_back() {
    is_redirected_and_left(&compile("heavy.c", "redirected_je", &["-Wl,--no-as-needed", "-ljemalloc"]));
}

#[test]
fn all_threads_stop_and_go_on() {
    let target = Target::start(&compile("heavy.c", "held", &[]));
    for _ in 0..20 {
        let stopped = Stopped::all(target.pid()).expect("it can be stopped");
        assert_eq!(stopped.registers().len(), 4);
        assert!(stopped.registers().iter().all(|registers| registers.rip != 0 && registers.rsp != 0));
    }
    target.ends_right();
}

#[test]
#[ignore = "takes long: hundreds of attachments, with figures"]
fn a_hundred_of_a_hundred() {
    let cases: [(&str, &[&str], u32); 3] =
        [("heavy.c", &[], 100), ("heavy.c", &["-Wl,--no-as-needed", "-ljemalloc"], 100), ("poll.c", &[], 20)];
    for (number, (source, flags, times)) in cases.into_iter().enumerate() {
        let program = compile(source, &format!("hundred{number}"), flags);
        let (mut tries, mut stops, mut writing, mut took) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..times {
            let target = Target::start(&program);
            std::thread::sleep(Duration::from_millis(20));
            let begun = Instant::now();
            let entered = target.enter().expect("it has safe points");
            took.push(begun.elapsed());
            assert_eq!(entered.value, 12);
            let slots = target.redirect(entered.base);
            writing.push(slots.stopped());
            std::thread::sleep(Duration::from_millis(5));
            writing.push(slots.remove().expect("it is there"));
            tries.push(entered.tries);
            stops.push(entered.stopped);
            target.ends_right();
        }
        for figures in [&mut stops, &mut writing, &mut took] {
            figures.sort_unstable();
        }
        tries.sort_unstable();
        let middle = tries.len() / 2;
        println!(
            "{source} {flags:?}: {times} of {times}; tries {} (worst {}); calling thread stopped {:?} (worst {:?}); \
             all stopped {:?} (worst {:?}); whole {:?} (worst {:?})",
            tries[middle],
            tries[tries.len() - 1],
            stops[middle],
            stops[stops.len() - 1],
            writing[writing.len() / 2],
            writing[writing.len() - 1],
            took[middle],
            took[took.len() - 1],
        );
    }
}

#[test]
fn stop_signals_that_come_in_the_middle_are_obeyed_afterwards() {
    let program = compile("poll.c", "stops", &[]);
    for round in 0..20_u64 {
        let target = Target::start(&program);
        let pid = target.pid();
        let stopper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(300 * round));
            // SAFETY: no pointers; the child is not reaped before this thread has ended.
            unsafe { libc::kill(pid, libc::SIGSTOP) };
        });
        let entered = target.enter();
        assert!(matches!(entered, Ok(_) | Err(AttachError::Suspended(_))), "{entered:?}");
        stopper.join().expect("it only sends a signal");
        let begun = Instant::now();
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
            if stat.contains(") T ") {
                break;
            }
            assert!(begun.elapsed() < LIMIT, "it does not stop: {stat}");
        }
        target.signal(libc::SIGCONT);
        target.ends_right();
    }
}
