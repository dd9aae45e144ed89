//! What the figures of a process show: growth and its rate, what ends it, and what is no leak.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use memtrial_report::leak::{
    FindingKind, Judgement, MappingClass, Measure, Reason, Report, Role, Sample, Survival, Verdict,
};
use memtrial_tests::harness::daemon::{Daemon, answer, shell};
use memtrial_tests::harness::leak_targets::{LeakTarget, client, named};
use memtrial_tests::harness::leaks::{Trial, leaking, located, passes_through, pretty, process};
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::workshop::{Bench, Workshop, compile_c, copy_program};

/// Figures alone, with as many rounds as a clear case needs.
const FIGURES: &str = "--rounds 240 --locate never";

fn trial(target: &LeakTarget, good: bool) -> (Trial, Workshop) {
    let workshop = Workshop::new();
    (Trial::of(&workshop, target, good), workshop)
}

fn by_figures(target: &LeakTarget, good: bool, options: &str) -> Report {
    let (trial, _workshop) = trial(target, good);
    trial.serving(&format!("{FIGURES} {options}")).run().leak_report()
}

/// What the private memory of the only target shows.
#[track_caller]
fn private(report: &Report) -> &Judgement {
    let target = report.processes.iter().find(|process| process.role == Role::Target);
    let judgements = target.map(|target| &target.judgements[..]).unwrap_or_default();
    let found = judgements.iter().find(|judgement| judgement.measure == Measure::Private);
    found.unwrap_or_else(|| panic!("{}", pretty(report)))
}

/// It leaks by its figures, at this rate within a tenth.
#[track_caller]
fn leaks_at(report: &Report, rate: f64) {
    assert_eq!((report.verdict, report.exit_status), (Verdict::Leak, 1), "{}", pretty(report));
    assert!(report.certainty.is_some(), "{}", pretty(report));
    let judgement = private(report);
    assert!((judgement.slope / rate - 1.0).abs() < 0.1, "{rate}\n{}", pretty(report));
    let [low, high] = judgement.interval.unwrap_or_else(|| panic!("{}", pretty(report)));
    assert!(low <= judgement.slope && judgement.slope <= high, "{}", pretty(report));
    let growth = report.findings.iter().find(|finding| finding.kind == FindingKind::Growth);
    let growth = growth.unwrap_or_else(|| panic!("{}", pretty(report)));
    assert!(growth.slope.is_some_and(|slope| (slope / rate - 1.0).abs() < 0.1), "{}", pretty(report));
}

#[test]
fn four_kibibytes_a_round_are_a_leak() {
    let report = by_figures(&named("kept_blocks").run_with("4096"), false, "");
    // What malloc needs besides is 16 bytes a block.
    leaks_at(&report, 4112.0);
    assert!(report.rounds < 240, "a clear case ends early\n{}", pretty(&report));
    let change = &process(&report, "kept_blocks").map_difference[0];
    assert_eq!(change.class, MappingClass::Heap, "{}", pretty(&report));
    assert!(change.private_dirty[1] > change.private_dirty[0], "{}", pretty(&report));
}

#[test]
fn sixty_four_kibibytes_a_round_are_a_leak() {
    leaks_at(&by_figures(&named("kept_blocks").run_with("65536"), false, ""), 65552.0);
}

#[test]
fn mappings_that_stay_are_a_leak() {
    let report = by_figures(&named("mappings"), false, "");
    leaks_at(&report, 65536.0);
    let change = &process(&report, "mappings").map_difference[0];
    assert_eq!(change.class, MappingClass::Anonymous, "{}", pretty(&report));
}

#[test]
fn a_buffer_that_grows_without_end_is_a_leak_though_it_is_one_block() {
    let (trial, _workshop) = trial(&named("growing_buffer"), false);
    let report = trial.serving("--rounds 240 --locate auto").run().leak_report();
    leaks_at(&report, 4096.0);
    let located = located(&report, "growing_buffer");
    let site = located.sites.iter().find(|site| passes_through(site, "append"));
    let site = site.unwrap_or_else(|| panic!("{}", pretty(&report)));
    assert_eq!(site.blocks, 1, "{}", pretty(&report));
    let rounds = u64::from(located.rounds);
    assert!(site.bytes >= 4096 * rounds && site.bytes % 4096 == 0, "{}", pretty(&report));
}

#[track_caller]
fn is_clean(size: &str) {
    let report = by_figures(&named("kept_blocks").run_with(size), true, "");
    assert_eq!((report.verdict, report.exit_status), (Verdict::Clean, 0), "{}", pretty(&report));
    assert_eq!(report.findings, [], "{}", pretty(&report));
    let judgement = private(&report);
    assert!(judgement.interval.is_none_or(|[_, high]| high < 1024.0), "{}", pretty(&report));
    assert_eq!(report.tolerated, 1024, "{}", pretty(&report));
}

#[test]
fn a_small_block_that_is_kept_alone_is_clean() {
    is_clean("64");
}

#[test]
fn a_large_block_that_is_kept_alone_is_clean() {
    is_clean("65536");
}

#[test]
fn a_warm_up_is_no_leak() {
    let report = by_figures(&named("warm_up"), true, "--allow-inconclusive");
    assert_ne!(report.verdict, Verdict::Leak, "{}", pretty(&report));
    assert_eq!((report.exit_status, &report.findings[..]), (0, &[][..]), "{}", pretty(&report));
}

#[test]
fn growth_that_is_tolerated_passes() {
    let report = by_figures(&named("kept_blocks").run_with("4096"), false, "--tolerate 8k");
    assert_eq!((report.verdict, report.exit_status), (Verdict::Clean, 0), "{}", pretty(&report));
    assert_eq!(report.tolerated, 8192, "{}", pretty(&report));
    assert!((private(&report).slope / 4112.0 - 1.0).abs() < 0.1, "{}", pretty(&report));
}

#[test]
fn too_few_rounds_are_inconclusive_and_fail_unless_that_is_allowed() {
    let target = named("kept_blocks").run_with("4096");
    let (trial, _workshop) = trial(&target, false);
    let options = "--rounds 10 --locate never";
    for (more, status) in [("", 1), ("--allow-inconclusive", 0)] {
        let report = trial.serving(&format!("{options} {more}")).run().leak_report();
        assert_eq!(
            (report.verdict, report.exit_status),
            (Verdict::Inconclusive, status),
            "{}",
            pretty(&report)
        );
        assert_eq!(private(&report).reason, Some(Reason::TooFewRounds), "{}", pretty(&report));
    }
}

#[test]
fn every_round_has_its_sample_with_all_figures() {
    let (trial, _workshop) = trial(&named("thread_worker"), true);
    let report = trial.serving("--rounds 12 --locate never --allow-inconclusive").run().leak_report();
    let samples = &process(&report, "thread_worker_good").samples;
    let rounds: Vec<u32> = samples.iter().map(|sample| sample.round).collect();
    assert_eq!(rounds, (0..=12).collect::<Vec<u32>>());
    assert!(samples.is_sorted_by_key(|sample| sample.seconds));
    for sample in samples {
        let figures = &sample.figures;
        assert!(figures.resident >= figures.proportional, "{figures:?}");
        assert!(figures.proportional >= figures.private_dirty && figures.private_dirty > 0, "{figures:?}");
        assert!(figures.mappings > 10, "{figures:?}");
        // The standard streams, and the socket.
        assert!(figures.threads == 2 && figures.descriptors >= 4, "{figures:?}");
    }
}

#[test]
fn fragmentation_is_told_from_live_blocks() {
    const ROUNDS: i64 = 61;
    // In each round sixteen pieces of 1 KiB more than before, with 16 bytes of malloc's for each.
    let expected = 16 * 1040 * ROUNDS;
    let options = format!("--rounds 40 --locate always --locate-rounds {ROUNDS} --allow-inconclusive");
    for good in [false, true] {
        let (trial, _workshop) = trial(&named("fragmentation"), good);
        let report = trial.serving(&options).run().leak_report();
        assert!(leaking(&report).is_empty(), "{}", pretty(&report));
        let name = if good { "fragmentation_good" } else { "fragmentation" };
        let fragmentation = located(&report, name).fragmentation;
        let fragmentation = fragmentation.unwrap_or_else(|| panic!("{}", pretty(&report)));
        assert!(fragmentation.live_growth.abs() < expected / 10, "{}", pretty(&report));
        if good {
            assert!(fragmentation.held().abs() < expected / 10, "{}", pretty(&report));
        } else {
            let held = fragmentation.held();
            assert!((expected * 7 / 10..expected * 13 / 10).contains(&held), "{}", pretty(&report));
        }
    }
}

#[test]
fn descriptors_that_stay_open_are_counted_and_named() {
    let report = by_figures(&named("descriptors"), false, "--allow-inconclusive");
    let samples = &process(&report, "descriptors").samples;
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let opened = last.figures.descriptors - first.figures.descriptors;
    assert_eq!(opened, u64::from(last.round - first.round), "{}", pretty(&report));
    let told = report.warnings.iter().chain(report.findings.iter().map(|finding| &finding.sentence));
    assert!(told.clone().any(|sentence| sentence.contains("descriptor")), "{}", pretty(&report));
}

#[test]
fn threads_that_stay_are_counted_and_named_and_a_leak() {
    let report = by_figures(&named("threads"), false, "");
    assert_eq!((report.verdict, report.exit_status), (Verdict::Leak, 1), "{}", pretty(&report));
    let samples = &process(&report, "threads").samples;
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let started = last.figures.threads - first.figures.threads;
    assert_eq!(started, u64::from(last.round - first.round), "{}", pretty(&report));
    let told = report.warnings.iter().chain(report.findings.iter().map(|finding| &finding.sentence));
    assert!(told.clone().any(|sentence| sentence.contains("thread")), "{}", pretty(&report));
}

#[test]
fn a_target_that_dies_is_a_finding_that_says_how() {
    for (arguments, how) in [("", "SIGABRT"), ("3", "status 3")] {
        let report = by_figures(&named("dies").run_with(arguments), false, "--allow-inconclusive");
        assert_eq!(report.exit_status, 1, "{}", pretty(&report));
        let [finding] = &report.findings[..] else { panic!("{}", pretty(&report)) };
        assert_eq!(finding.kind, FindingKind::Died, "{}", pretty(&report));
        assert!(finding.sentence.contains("round 20"), "{}", pretty(&report));
        let target = process(&report, "dies");
        assert!(target.died, "{}", pretty(&report));
        assert!(target.fate.as_ref().is_some_and(|fate| fate.contains(how)), "{}", pretty(&report));
        assert_eq!(target.samples.last().map(|sample| sample.round), Some(19), "{}", pretty(&report));
    }
}

#[test]
fn a_process_that_dies_while_it_is_watched_is_a_finding() {
    let (trial, _workshop) = trial(&named("dies"), false);
    let daemon = trial.daemon();
    let options = "--rounds 240 --locate always --allow-inconclusive";
    let report = trial.on(daemon.pid(), options).run().leak_report();
    assert_eq!(report.exit_status, 1, "{}", pretty(&report));
    assert_eq!(report.findings[0].kind, FindingKind::Died, "{}", pretty(&report));
    assert!(process(&report, "dies").died, "{}", pretty(&report));
    assert!(report.not_located.is_some() && report.located.is_empty(), "{}", pretty(&report));
    assert_eq!(process(&report, "dies").samples.last().map(|sample| sample.round), Some(19));
}

#[test]
fn restarts_under_a_name_are_noticed_and_the_run_goes_on() {
    let workshop = Workshop::new();
    let target = named("dies").run_with("0");
    let trial = Trial::of(&workshop, &target, false);
    // A name that nobody else's process has.
    let name = format!("re{}", std::process::id());
    let program = trial.bench.folder().join(&name);
    copy_program(&target.program(&workshop, false), &program);
    // Each dies in its twentieth round, and the shell starts the next.
    let line = format!("sh -c 'while :; do ./{name} 0; done'");
    let _daemon = Daemon::start(&trial.bench.folder(), &line).ready(&trial.request("alive"));
    let memtrial = trial.bare("--rounds 70 --locate never --allow-inconclusive --name").arguments([&name]);
    let report = memtrial.arguments(["--do", &trial.patient_request("work")]).run().leak_report();
    assert_eq!((report.rounds, report.exit_status), (70, 1), "{}", pretty(&report));
    let found: Vec<_> = report.processes.iter().filter(|process| process.name == name).collect();
    // The action waits, so that the round in which one dies is the first of the next: 19 rounds each.
    assert_eq!(found.len(), 4, "{}", pretty(&report));
    assert!(found[..3].iter().all(|process| process.fate.is_some()), "{}", pretty(&report));
    assert_eq!(found[3].fate, None, "{}", pretty(&report));
    let died = report.findings.iter().filter(|finding| finding.kind == FindingKind::Died);
    assert!(died.count() > 0, "{}", pretty(&report));
    assert_eq!(report.failed_rounds, [], "{}", pretty(&report));
}

#[test]
fn other_processes_are_watched_and_judged_by_themselves() {
    let workshop = Workshop::new();
    let quiet = Trial::of(&workshop, &named("kept_blocks").run_with("512"), true);
    let leak = named("kept_blocks").run_with("16384");
    let other = Trial::of(&workshop, &leak, false);
    let name = format!("al{}", std::process::id());
    let program = other.bench.folder().join(&name);
    copy_program(&leak.program(&workshop, false), &program);
    let daemon = Daemon::start(&other.bench.folder(), &format!("./{name} 16384"));
    let _daemon = daemon.ready(&other.request("alive"));
    let both = format!("{} && {}", quiet.request("work"), other.request("work"));
    let memtrial = quiet.bare("--rounds 120 --locate never").arguments(["--serve", &quiet.serve]);
    let memtrial = memtrial.arguments(["--ready", &quiet.request("alive"), "--do", &both, "--also", &name]);
    let report = memtrial.run().leak_report();
    assert_eq!(report.verdict, Verdict::Clean, "the verdict is the target's\n{}", pretty(&report));
    let also = process(&report, &name);
    assert_eq!(also.role, Role::Also, "{}", pretty(&report));
    assert_eq!(also.judgements[0].verdict, Verdict::Leak, "{}", pretty(&report));
    assert!(!also.map_difference.is_empty(), "{}", pretty(&report));
}

#[test]
fn without_an_action_it_is_watched_by_time() {
    let (trial, _workshop) = trial(&named("kept_blocks").run_with("65536"), false);
    let daemon = trial.daemon();
    let stop = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = answer(&trial.bench.folder(), &trial.request("work"));
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let options = "--rounds 240 --interval 0.1 --locate never --pid";
        let report = trial.bare(options).arguments([daemon.pid().to_string()]).run();
        stop.store(true, Ordering::Relaxed);
        load.join().expect("the daemon answers");
        report.leak_report()
    });
    assert_eq!((report.verdict, report.exit_status), (Verdict::Leak, 1), "{}", pretty(&report));
    // A block for each request, of which the machine decides how many there are in a round.
    let samples = &process(&report, "kept_blocks").samples;
    let held = |sample: &Sample| sample.figures.held_privately() as f64;
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let mean = (held(last) - held(first)) / f64::from(last.round - first.round);
    let slope = private(&report).slope;
    assert!(mean / 2.0 < slope && slope < mean * 2.0, "{mean}\n{}", pretty(&report));
}

/// Uses so many KiB more in each run as a file says, if it is told to.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
__attribute__((noinline)) static void remember(size_t size) { char *p = malloc(size); memset(p, 1, size); __asm__ volatile("" :: "r"(p) : "memory"); }
int main(int argc, char **argv) {
    int runs = 0;
    FILE *f = fopen("runs", "r");
    if (f) { fscanf(f, "%d", &runs); fclose(f); }
    f = fopen("runs", "w"); fprintf(f, "%d\n", runs + 1); fclose(f);
    remember((1 + (argc > 1 ? runs : 0)) * 65536);
    return 0;
}
"#;

#[test]
fn a_program_that_is_a_round_by_itself_is_judged_from_run_to_run() {
    for (argument, verdict) in [("", Verdict::Clean), ("grow", Verdict::Leak)] {
        let bench = Bench::new();
        compile_c(PROGRAM, &bench.folder().join("program"), &[]);
        let line = format!("leak -q --json {FIGURES} --output ../results -- ./program {argument}");
        let report = Memtrial::new(&bench.folder(), &line).run().leak_report();
        assert_eq!(report.verdict, verdict, "{}", pretty(&report));
        assert_eq!(report.exit_status, u8::from(verdict == Verdict::Leak), "{}", pretty(&report));
        assert!(report.processes.iter().all(|process| !process.died), "{}", pretty(&report));
        assert_eq!(report.processes.len(), 1, "one of many runs\n{}", pretty(&report));
        // There is no process before the first run.
        let samples = process(&report, "program").samples.len();
        assert_eq!(samples as u32, report.rounds, "{}", pretty(&report));
    }
}

#[test]
fn a_stored_run_of_a_good_version_is_compared_with() {
    let workshop = Workshop::new();
    let target = named("kept_blocks").run_with("4096");
    let good = Trial::of(&workshop, &target, true);
    let before = good.serving(FIGURES).run().leak_report();
    assert_eq!(before.verdict, Verdict::Clean, "{}", pretty(&before));
    let bad = Trial::of(&workshop, &target, false);
    // The same name for both: that is what processes are compared by.
    let serve = |program: &Path| format!("{} 4096", program.display());
    let place = bad.bench.folder().join("kept_blocks_good");
    copy_program(&target.program(&workshop, false), &place);
    let memtrial = bad.acting(FIGURES).arguments(["--serve", &serve(&place), "--against"]);
    let memtrial = memtrial.arguments([good.results()]).arguments(["--ready", &bad.request("alive")]);
    let report = memtrial.run().leak_report();
    assert_eq!(report.verdict, Verdict::Leak, "{}", pretty(&report));
    let [comparison] = &report.comparisons[..] else { panic!("{}", pretty(&report)) };
    let [there, here] = comparison.slopes;
    assert!(there.abs() < 1024.0 && (here / 4112.0 - 1.0).abs() < 0.1, "{}", pretty(&report));
    let [low, high] = comparison.interval;
    assert!(low > 0.0 && low < here - there && here - there < high, "{}", pretty(&report));
}

#[test]
fn the_text_says_how_many_blocks_in_how_many_rounds() {
    let (trial, _workshop) = trial(&named("kept_blocks").run_with("64"), false);
    let memtrial = Memtrial::new(&trial.bench.folder(), "leak -q --rounds 40 --locate always --output");
    let memtrial = memtrial.arguments([trial.results()]).arguments(["--do", &trial.request("work")]);
    let memtrial = memtrial.arguments(["--serve", &trial.serve, "--ready", &trial.request("alive")]);
    let ended = memtrial.run().with_status(1);
    for text in ["leak", "61 of 61 rounds", "61 blocks", "remember", "kept_blocks.c:", "by the agent"] {
        assert!(ended.stdout.contains(text), "{text}\n{}", ended.told());
    }
}

#[test]
fn blocks_that_are_sampled_show_the_site_and_say_so() {
    let (trial, _workshop) = trial(&named("kept_blocks").run_with("65536"), false);
    let options = "--rounds 40 --locate always --sample 4k";
    let report = trial.serving(options).run().leak_report();
    assert_eq!((report.verdict, report.exit_status), (Verdict::Leak, 1), "{}", pretty(&report));
    let located = located(&report, "kept_blocks");
    assert_eq!(located.sampled, Some(4096), "{}", pretty(&report));
    let site = located.sites.iter().find(|site| passes_through(site, "remember"));
    assert_eq!(site.map(|site| site.survival), Some(Survival::Leaking), "{}", pretty(&report));
}

#[test]
fn an_action_that_is_undone_in_a_second_command_is_one_round() {
    let (trial, _workshop) = trial(&named("session"), true);
    let daemon = trial.daemon();
    let options = "--rounds 15 --locate never --allow-inconclusive";
    let report = trial.on(daemon.pid(), options).run().leak_report();
    assert_eq!((report.rounds, report.exit_status), (15, 0), "{}", pretty(&report));
    assert!(trial.rounds_done() >= 15, "{}", pretty(&report));
}

#[test]
fn a_client_without_a_daemon_fails() {
    // What all of these tests rest on.
    let workshop = Workshop::new();
    let bench = Bench::new();
    let ask = client(&workshop);
    assert!(!shell(&bench.folder(), &format!("{} alive", ask.display())).status.success());
}
