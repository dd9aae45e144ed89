//! Packaged programs on trial: every run ends, tests all that it planned, and says nothing that does not hold.

use std::fs;
use std::process::Command;

use memtrial_report::model::{Report, Verdict};
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::outcomes::{count, pretty, verdicts};
use memtrial_tests::harness::programs::installed;
use memtrial_tests::harness::targets::named;
use memtrial_tests::harness::workshop::{Bench, Workshop, run};

/// A part of what is to be tested, always the same, so that all of this takes minutes.
const SAMPLE: &str = "--sample 60,seed=1";
/// More than the slowest machine needs for a program that ends.
const PATIENT: &str = "--timeout 120";

/// A program, and what it is run on.
struct Case {
    bench: Bench,
    program: &'static str,
    arguments: Vec<&'static str>,
    stdin: &'static [u8],
    options: String,
}

impl Case {
    fn new(program: &'static str, arguments: &[&'static str]) -> Case {
        let options = format!("{SAMPLE} {PATIENT}");
        Case { bench: Bench::new(), program, arguments: arguments.to_vec(), stdin: b"", options }
    }

    fn reading(self, stdin: &'static [u8]) -> Case {
        Case { stdin, ..self }
    }

    fn options(self, options: &str) -> Case {
        Case { options: options.to_owned(), ..self }
    }

    fn file(self, name: &str, contents: &str) -> Case {
        let path = self.bench.folder().join(name);
        fs::create_dir_all(path.parent().expect("it is in a folder"))
            .expect("the folder of a test is writable");
        self.bench.write(name, contents);
        self
    }

    /// Tries it, and asserts what holds for each program.
    fn report(&self) -> Report {
        let program = installed(self.program);
        // Not into the folder that the target may look around in.
        let results = self.bench.beside("results");
        let memtrial =
            Memtrial::new(&self.bench.folder(), &format!("oom -q --json {} --output", self.options));
        // Perl lays out its hashes by chance, unless it is told how.
        let memtrial = memtrial.variable("PERL_HASH_SEED", "0");
        let memtrial = memtrial.arguments([&results]).arguments(["--"]);
        let ended = memtrial.arguments([&program]).arguments(&self.arguments).stdin(self.stdin).run();
        let report = ended.report();
        assert!([0, 1].contains(&ended.status), "{}", ended.told());
        assert_eq!(report.coverage.tested, report.coverage.planned, "{}", ended.told());
        assert_eq!(count(&report, Verdict::Unreached), 0, "{}", ended.told());
        assert!(report.unconfirmed.is_empty(), "{}", pretty(&report));
        assert!(report.warnings.is_empty(), "{}", pretty(&report));
        assert!(report.findings.iter().all(|finding| finding.confirmed), "{}", pretty(&report));
        report
    }

    /// The same of a program that does the same each time: its reference runs agree.
    fn steady_report(&self) -> Report {
        let report = self.report();
        assert!(report.reference.differences.is_empty(), "{:?}", report.reference.differences);
        report
    }

    /// Asserts that the program has no finding.
    fn passes(&self) -> Report {
        let report = self.steady_report();
        assert_eq!(report.exit_status, 0, "{}", pretty(&report));
        report
    }
}

/// A filter that makes thousands of allocations.
const JQ: [&str; 2] = ["-n", "[range(200) | {n: ., s: tostring}] | map(select(.n % 7 == 0)) | length"];

#[test]
fn jq_aborts_and_dereferences_null_at_hundreds_of_sites() {
    let report = Case::new("jq", &JQ).options(PATIENT).steady_report();
    assert!(report.reference.allocations > 8000, "{:?}", report.reference);
    assert!(report.coverage.planned > 300, "{:?}", report.coverage);
    assert_eq!(report.exit_status, 1);
    assert!(
        count(&report, Verdict::Aborted) > 100 && count(&report, Verdict::Crashed) > 0,
        "{:?}",
        report.verdicts
    );
    // Many outcomes, few causes.
    assert!(report.findings.len() < 30, "{}", report.findings.len());
}

#[test]
fn jq_may_abort_where_the_policy_says_so() {
    let report = Case::new("jq", &JQ).options(&format!("--policy abort {PATIENT}")).steady_report();
    assert!(count(&report, Verdict::Aborted) > 100);
    let found: Vec<Verdict> = report.findings.iter().map(|finding| finding.verdict).collect();
    assert!(found.iter().all(|verdict| [Verdict::Crashed, Verdict::Asserted].contains(verdict)), "{found:?}");
    assert!(!found.is_empty());
}

#[test]
fn sqlite_reports_each_failure() {
    let query =
        "create table t(a,b); insert into t values(1,2),(3,4); create index i on t(b); select * from t;";
    // glibc's name service, by which the shell finds its user's home, has faults of its own.
    let report =
        Case::new("sqlite3", &[":memory:", query]).options(&format!("--skip getpwuid {PATIENT}")).passes();
    assert!(count(&report, Verdict::Handled) > 100, "{:?}", report.verdicts);
}

#[test]
fn the_name_service_of_glibc_crashes_inside_of_sqlite() {
    let report =
        Case::new("sqlite3", &[":memory:", "select 1;"]).options(&format!("--only getpwuid {PATIENT}"));
    let report = report.steady_report();
    let in_glibc = |module: &str| module.contains("libc.so");
    let crash = report.findings.iter().find_map(|finding| finding.crash.as_ref());
    assert!(crash.is_some_and(|crash| in_glibc(&crash.stack[0].module)), "{}", pretty(&report));
}

#[test]
fn sqlite_is_tried_on_a_database_of_its_own_each_time() {
    let query = "create table t(a); insert into t values(1); select * from t;";
    let case = Case::new("sqlite3", &["data.db", query]);
    case.report();
    assert!(!case.bench.folder().join("data.db").exists(), "what the target writes is gone with its run");
}

#[test]
fn a_careful_client_of_sqlite_passes() {
    let (bench, workshop) = (Bench::new(), Workshop::new());
    let program = workshop.program(&named("sqlite_reports"));
    let ended = Memtrial::new(&bench.folder(), "oom -q --json --timeout 120 --every --sample 300,seed=1 --");
    let report = ended.arguments([program]).run().report();
    let bad = [Verdict::Crashed, Verdict::Hung, Verdict::Corrupted, Verdict::Silent];
    assert!(verdicts(&report).is_disjoint(&bad.into()), "{}", pretty(&report));
    assert_eq!((report.coverage.tested, report.exit_status), (300, 0), "{}", pretty(&report));
}

#[test]
fn git_passes() {
    Case::new("git", &["--version"]).options(PATIENT).passes();
    Case::new("git", &["hash-object", "--stdin"]).reading(b"content\n").options(PATIENT).passes();
}

#[test]
fn git_is_tried_on_a_repository_of_its_own_each_time() {
    let case = Case::new("git", &["init", "-q", "-b", "main", "repository"]);
    case.report();
    assert!(!case.bench.folder().join("repository").exists(), "what the target writes is gone with its run");
}

#[test]
fn gawk_passes() {
    let script = "BEGIN { for (i = 0; i < 3000; i++) a[i % 37] = a[i % 37] i; n = asorti(a, b); print n, length(a[5]) }";
    Case::new("gawk", &[script]).passes();
}

#[test]
fn curl_is_tried() {
    Case::new("curl", &["--version"]).report();
    Case::new("curl", &["-s", "file:///etc/passwd"]).report();
}

#[test]
fn python_is_tried() {
    let script = "import json; print(json.dumps({str(i): [i] * 3 for i in range(9)}))";
    let case = Case::new("python3", &["-I", "-c", script]);
    let report = case.options(&format!("{SAMPLE} {PATIENT} --jobs 3")).report();
    assert!(report.reference.allocations > 1000, "{:?}", report.reference);
}

#[test]
fn gzip_makes_no_allocation_and_is_not_passed() {
    let bench = Bench::new();
    let gzip = Memtrial::new(&bench.folder(), "oom -q -- gzip -9nc").stdin(b"hello\n").run();
    gzip.with_status(4).saying(&["no allocation"]);
}

#[test]
fn xz_and_bzip2_pass() {
    Case::new("xz", &["-T2", "-c"]).reading(b"hello\nhello\n").passes();
    Case::new("bzip2", &["-9c"]).reading(b"hello\nhello\n").passes();
}

#[test]
fn tar_archives_other_owners_in_silence() {
    let arguments = ["--sort=name", "--mtime=@0", "-cf", "archive.tar", "d"];
    let case = Case::new("tar", &arguments).file("d/a", "1\n2\n").options(PATIENT);
    let report = case.steady_report();
    let silent = report.findings.iter().find(|finding| finding.verdict == Verdict::Silent);
    let difference = silent.and_then(|finding| finding.difference.as_ref());
    assert!(
        difference.is_some_and(|difference| difference.of.ends_with("archive.tar")),
        "{}",
        pretty(&report)
    );
}

#[test]
fn programs_on_jemalloc_are_tried() {
    let needs = |program: &str| {
        let libraries = run(Command::new("ldd").arg(installed(program)));
        assert!(libraries.contains("libjemalloc"), "{program} is not linked against jemalloc\n{libraries}");
    };
    needs("redis-cli");
    Case::new("redis-cli", &["--version"]).options(PATIENT).steady_report();
    needs("named-checkconf");
    let configuration = "options { recursion no; };\n";
    let case = Case::new("named-checkconf", &["-p", "named.conf"]).file("named.conf", configuration);
    case.report();
}

#[test]
fn a_rust_program_aborts_at_nearly_every_allocation() {
    let case = Case::new("rg", &["-j", "1", "--sort", "path", "-n", "^3", "."]);
    let report = case.file("a", "30\n").file("b", "3\n31\n").report();
    assert!(count(&report, Verdict::Aborted) > 30, "{:?}", report.verdicts);
}

#[test]
fn a_cpp_program_that_catches_nothing_aborts() {
    let script = "string(REPEAT ab 20 r)\nmessage(\"${r}\")\n";
    let report = Case::new("cmake", &["-P", "script.cmake"]).file("script.cmake", script).report();
    assert!(count(&report, Verdict::Aborted) > 30, "{:?}", report.verdicts);
}

#[test]
fn xmllint_is_tried() {
    Case::new("xmllint", &["--format", "x.xml"])
        .file("x.xml", "<r><i n=\"1\">a</i></r>")
        .options(PATIENT)
        .steady_report();
}

#[test]
fn programs_that_start_others_are_tried() {
    Case::new("bash", &["-c", "echo $(echo nested); f() { echo $1; }; f 3; /bin/true"]).report();
    let rules = "all: a b\n\t@cat a b\na b:\n\t@echo $@ > $@\n";
    Case::new("make", &["-j2", "--no-print-directory"]).file("Makefile", rules).report();
}

#[test]
fn small_tools_are_tried() {
    Case::new("grep", &["-Po", "a(?=b)"]).reading(b"abc\n").options(PATIENT).passes();
    Case::new("sort", &[]).reading(b"b\na\n").options(PATIENT).passes();
    Case::new("find", &[".", "-type", "f"])
        .file("f/a", "")
        .file("f/g/b", "")
        .options(PATIENT)
        .steady_report();
    Case::new("lua5.4", &["-e", "local t = {} for i = 1, 2000 do t[i] = {i, tostring(i)} end print(#t)"])
        .passes();
    Case::new("perl", &["-e", "my %h; push @{$h{$_ % 17}}, $_ for 1..200; print scalar keys %h"]).report();
    Case::new("openssl", &["dgst", "-sha256"]).reading(b"text\n").report();
}
