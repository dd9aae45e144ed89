//! What actions leave behind, where orphans come to the process that ran the action: a process of its own, as all its
//! children are meant.

use std::io;
use std::path::Path;
use std::time::Duration;

use memtrial_target::interrupt::Interrupt;
use memtrial_target::observe::{ActionEnd, Here, Place};
use memtrial_target::processes;

#[test]
fn what_actions_leave_behind_is_waited_for_once_it_ends() {
    processes::adopt_orphans();
    let (reader, _writer) = io::pipe().expect("a pipe");
    let mut here = Here::new(Interrupt::on_input(reader.into()));
    let command =
        "sleep 600 > /dev/null 2>&1 & echo $!; (setsid sh -c 'sleep 600 & exit' > /dev/null 2>&1 &)";
    let (end, text) = here.run(command, Duration::from_secs(300)).expect("it runs");
    assert_eq!(end, ActionEnd::Exit(0));
    let pid: i32 = text.trim().parse().expect("a pid");
    assert_eq!(processes::parent_of(pid), Some(std::process::id().cast_signed()), "it lives on");
    let tree = loop {
        let tree = here.tree(std::process::id().cast_signed()).expect("a list");
        if tree.iter().filter(|identity| identity.name == "sleep").count() == 2 {
            break tree;
        }
        std::thread::yield_now();
    };
    for identity in tree.iter().filter(|identity| identity.name == "sleep") {
        processes::kill(identity.pid);
    }
    while Path::new(&format!("/proc/{pid}")).exists() {
        here.named("sleep").expect("a list");
        std::thread::yield_now();
    }
}
