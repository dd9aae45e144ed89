//! A target on another machine, by ssh: sshd runs on the loopback interface, as does the target, and nothing is lost with
//! a connection.

use std::net::TcpListener;

use memtrial_report::leak::{Report, Verdict};
use memtrial_tests::harness::daemon::{Daemon, free_port, shell};
use memtrial_tests::harness::leak_targets::named;
use memtrial_tests::harness::leaks::{Trial, pretty, process, rounds_kept, wait_for_rounds};
use memtrial_tests::harness::processes::wait_for;
use memtrial_tests::harness::secure_shell::{HOST, SecureShell};
use memtrial_tests::harness::workshop::{Bench, Workshop, copy_program};

/// Rounds of figures that nobody judges.
const SOME: &str = "--locate never --allow-inconclusive";

/// Succeeds where a session of ssh is.
const THERE: &str = "test -n \"$SSH_CONNECTION\"";
/// Succeeds where there is none.
const HERE: &str = "test -z \"$SSH_CONNECTION\"";

/// A daemon on a machine that can be reached.
struct Remote {
    ssh: SecureShell,
    trial: Trial,
    daemon: Daemon,
    name: String,
    _workshop: Workshop,
}

impl Remote {
    fn start(test: &str) -> Remote {
        let workshop = Workshop::new();
        let target = named("kept_blocks").run_with("4096");
        let mut trial = Trial::of(&workshop, &target, true);
        // A name that nobody else's process has.
        let name = format!("{test}{}", std::process::id());
        let program = trial.bench.folder().join(&name);
        copy_program(&target.program(&workshop, true), &program);
        trial.serve = format!("{} 4096", program.display());
        let daemon = trial.daemon();
        Remote { ssh: SecureShell::start(), trial, daemon, name, _workshop: workshop }
    }

    /// Runs memtrial over ssh on the daemon's pid, with the action after a test of where it is.
    fn run(&self, place: &str, options: &str) -> Report {
        let pid = self.daemon.pid();
        let action = format!("{place} && {}", self.trial.request("work"));
        let memtrial = self.trial.bare(&format!("{SOME} {options} --pid {pid}")).arguments(["--do", &action]);
        self.ssh.over(memtrial).run().leak_report()
    }

    /// All rounds were made, each with its sample, and nobody is left there.
    fn is_whole(&self, report: &Report, rounds: u32) {
        assert_eq!(report.host.as_deref(), Some(HOST), "{}", pretty(report));
        assert_eq!((report.rounds, report.exit_status), (rounds, 0), "{}", pretty(report));
        let target = process(report, &self.name);
        assert_eq!(target.pid, self.daemon.pid(), "{}", pretty(report));
        assert!(target.samples.iter().map(|sample| sample.round).eq(0..=rounds), "{}", pretty(report));
        wait_for("no connection is left", || (self.ssh.connections() == 0).then_some(()));
        self.trial.works_on();
    }
}

#[test]
fn a_process_there_is_watched_with_the_action_there() {
    let remote = Remote::start("sa");
    let report = remote.run(THERE, "--rounds 20");
    assert_eq!(report.failed_rounds, [], "{}", pretty(&report));
    remote.is_whole(&report, 20);
    // The same figures as from here.
    let here = remote.trial.on(remote.daemon.pid(), &format!("--rounds 5 {SOME}")).run().leak_report();
    let last = |report: &Report| process(report, &remote.name).samples.last().map(|sample| sample.figures);
    let (there, here) = (last(&report).expect("a sample"), last(&here).expect("a sample"));
    assert_eq!(
        (there.threads, there.mappings, there.descriptors),
        (here.threads, here.mappings, here.descriptors)
    );
    assert!(there.private_dirty.abs_diff(here.private_dirty) <= 64 << 10, "{there:?} {here:?}");
}

#[test]
fn a_process_there_is_watched_with_the_action_here() {
    let remote = Remote::start("sb");
    let report = remote.run(HERE, "--rounds 20 --here");
    assert_eq!(report.failed_rounds, [], "{}", pretty(&report));
    remote.is_whole(&report, 20);
}

#[test]
fn a_name_there_is_found() {
    let remote = Remote::start("sc");
    let memtrial = remote.trial.acting(&format!("{SOME} --rounds 10")).arguments(["--name", &remote.name]);
    let report = remote.ssh.over(memtrial).run().leak_report();
    remote.is_whole(&report, 10);
}

#[test]
fn a_leak_there_is_found() {
    let workshop = Workshop::new();
    let trial = Trial::of(&workshop, &named("kept_blocks").run_with("16384"), false);
    let daemon = trial.daemon();
    let ssh = SecureShell::start();
    let memtrial = trial.on(daemon.pid(), "--rounds 120 --locate auto");
    let report = ssh.over(memtrial).run().leak_report();
    assert_eq!((report.verdict, report.exit_status), (Verdict::Leak, 1), "{}", pretty(&report));
    assert!(!process(&report, "kept_blocks").map_difference.is_empty(), "{}", pretty(&report));
    // Either the blocks were followed there, or it says why not.
    assert!(report.located.is_empty() == report.not_located.is_some(), "{}", pretty(&report));
    trial.works_on();
}

#[test]
fn a_connection_that_is_cut_loses_nothing() {
    let remote = Remote::start("sd");
    let action = remote.trial.request("work");
    let pid = remote.daemon.pid().to_string();
    let memtrial = remote.trial.bare(&format!("{SOME} --rounds 60 --pid {pid}")).arguments(["--do", &action]);
    let running = remote.ssh.over(memtrial).start();
    for rounds in [10, 30] {
        wait_for_rounds(&remote.trial.results(), rounds);
        let cut = wait_for("there is a connection to cut", || Some(remote.ssh.cut()).filter(|cut| *cut > 0));
        assert!(cut > 0);
    }
    let report = running.wait().leak_report();
    assert!(report.failed_rounds.len() <= 2, "at most the rounds that were cut\n{}", pretty(&report));
    remote.is_whole(&report, 60);
}

#[test]
fn a_machine_that_goes_away_for_good_leaves_what_is_known() {
    let mut remote = Remote::start("se");
    let action = remote.trial.request("work");
    let pid = remote.daemon.pid().to_string();
    let options = format!("{SOME} --rounds 400 --max-time 40s --pid {pid}");
    let memtrial = remote.trial.bare(&options).arguments(["--do", &action]);
    let running = remote.ssh.over(memtrial).start();
    wait_for_rounds(&remote.trial.results(), 10);
    remote.ssh.close_and_cut();
    let ended = running.wait();
    let report = ended.leak_report();
    assert!((9..400).contains(&report.rounds), "{}", pretty(&report));
    assert!(report.warnings.iter().any(|warning| warning.contains("connection")), "{}", pretty(&report));
    assert!(rounds_kept(&remote.trial.results()).len() >= 10, "{}", ended.told());
    remote.trial.works_on();
}

#[test]
fn a_machine_that_refuses_is_quoted() {
    let remote = Remote::start("sf");
    let pid = remote.daemon.pid();
    let try_it = |client: String| {
        let memtrial = remote.trial.on(pid, "--rounds 5").arguments(["--ssh", HOST]);
        memtrial.variable("MEMTRIAL_SSH", client).run()
    };
    try_it(remote.ssh.refused_client()).with_status(4).saying(&["error: ", HOST, "Permission denied"]);
    let closed = format!("{} -p {}", remote.ssh.client(), free_port());
    try_it(closed).with_status(4).saying(&["error: ", HOST, "Connection refused"]);
    try_it("no-such-client".to_owned()).with_status(4).saying(&["error: ", "no-such-client"]);
    assert_eq!(remote.trial.rounds_done(), 0);
}

#[test]
fn a_machine_that_never_answers_is_not_waited_for_without_end() {
    let remote = Remote::start("sg");
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("there is a loopback interface");
    let port = silent.local_addr().expect("it is bound").port();
    let memtrial = remote.trial.on(remote.daemon.pid(), "--rounds 5 --timeout 5").arguments(["--ssh", HOST]);
    let client = format!("{} -p {port}", remote.ssh.client());
    memtrial.variable("MEMTRIAL_SSH", client).run().with_status(4).saying(&["error: ", HOST]);
}

#[test]
fn a_process_that_is_not_there_is_named_with_its_machine() {
    let remote = Remote::start("sh");
    let memtrial = remote.trial.on(4_194_305, "--rounds 5");
    remote.ssh.over(memtrial).run().with_status(3).saying(&["error: ", "4194305", HOST]);
}

#[test]
fn a_machine_can_be_reached_and_cut_where_nobody_watches() {
    // What all of these tests rest on.
    let ssh = SecureShell::start();
    // It ends by itself when nobody listens.
    let line = format!("{} {HOST} '{THERE} && while sleep 0.1; do echo on; done'", ssh.client());
    let folder = Bench::new();
    let mut session = Daemon::start(&folder.folder(), &line);
    wait_for("the session", || session.said().contains('\n').then_some(()));
    // That of the client that has asked whether it is ready may take a while to go.
    wait_for("no connection but that of the session", || (ssh.connections() == 1).then_some(()));
    assert_eq!(ssh.cut(), 1);
    wait_for("the end of the session", || (!session.is_alive()).then_some(()));
    wait_for("the end of the connection", || (ssh.connections() == 0).then_some(()));
    let line = format!("{} {HOST} true", ssh.refused_client());
    let refused = shell(&folder.folder(), &line);
    assert_eq!(refused.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"));
}
