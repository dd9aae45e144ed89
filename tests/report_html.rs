//! `report.html` in a real browser: its charts can be read, and nothing leaves the page.

use std::fs;
use std::path::{Path, PathBuf};

use memtrial_report::leak::Report;
use memtrial_report::trial::TrialReport;
use memtrial_tests::harness::browser::Browser;
use memtrial_tests::harness::memtrial::Memtrial;
use memtrial_tests::harness::workshop::Bench;

/// Shared by all: a report with a leak, located sites, and names that would be markup if they could.
const FIXTURE: &str = include_str!("fixtures/leak-report.json");

fn report() -> Report {
    match serde_json::from_str(FIXTURE).expect("the fixture is a report") {
        TrialReport::Leak(report) => *report,
        _ => panic!("the fixture is one of a leak"),
    }
}

/// The page as `memtrial show` makes it from a stored run.
fn page(bench: &Bench) -> PathBuf {
    let folder = bench.beside("run");
    fs::create_dir(&folder).expect("a new folder is writable");
    fs::write(folder.join("findings.json"), FIXTURE).expect("a new folder is writable");
    let shown =
        Memtrial::new(&bench.folder(), "show --format html").arguments([&folder]).run().with_status(1);
    let page = bench.beside("report.html");
    fs::write(&page, shown.stdout).expect("the folder of a test is writable");
    page
}

fn opened(page: &Path) -> Browser {
    let mut browser = Browser::start();
    browser.open(page);
    browser
}

#[track_caller]
fn assert_well_behaved(browser: &Browser, page: &Path) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let own = format!("file://{}", page.display());
    let inside = |url: &str| url == own || url.starts_with("data:") || url.starts_with("about:");
    let others: Vec<&str> = browser.requests().into_iter().filter(|url| !inside(url)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn every_process_has_its_charts_and_nothing_is_loaded() {
    let bench = Bench::new();
    let page = page(&bench);
    let mut browser = opened(&page);
    let charts = "[...document.querySelectorAll('.chart')]";
    assert_eq!(browser.value(&format!("{charts}.length")), 3 * report().processes.len());
    let drawn = "(chart) => { const c = chart.querySelectorAll('canvas'); \
                 return c.length === 1 && c[0].width > 500 && c[0].height > 100; }";
    assert_eq!(browser.value(&format!("{charts}.every({drawn})")), true);
    // Something is drawn on them: not all pixels are alike.
    let painted = "(chart) => { const c = chart.querySelector('canvas'); \
                   const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer); \
                   return new Set(d).size > 10; }";
    assert_eq!(browser.value(&format!("{charts}.every({painted})")), true);
    assert_eq!(browser.value("document.querySelectorAll('script').length"), 3, "names made no element");
    assert_eq!(browser.value("document.querySelectorAll('img').length"), 0);
    let shift = "new Promise((done) => { let sum = 0; \
                 new PerformanceObserver((list) => { for (const e of list.getEntries()) sum += e.value; }) \
                 .observe({ type: 'layout-shift', buffered: true }); setTimeout(() => done(sum), 300); })";
    assert!(browser.value(shift).as_f64().is_some_and(|shift| shift < 0.01), "nothing moves about");
    assert_well_behaved(&browser, &page);
}

#[test]
fn the_charts_say_the_values_under_the_mouse_and_by_the_keys() {
    let bench = Bench::new();
    let page = page(&bench);
    let mut browser = opened(&page);
    let legend = "[...document.querySelectorAll('#memory-0 .u-value')].map((value) => value.textContent)";
    let report = report();
    let said = |browser: &mut Browser| {
        let values = browser.value(legend);
        let round: usize = values[0].as_str().and_then(|round| round.parse().ok()).expect("a round is named");
        let held = report.processes[0].samples[round].figures.held_privately();
        let private = values[1].as_str().expect("a value is named").to_owned();
        #[expect(clippy::cast_precision_loss, reason = "as the page shows it")]
        let expected = format!("{:.2} MiB (+", held as f64 / 1_048_576.0);
        assert!(private.starts_with(&expected), "round {round}: {private}, not {expected}");
        round
    };
    assert_eq!(said(&mut browser), 120, "at first it says the last values");
    browser.point_at("document.querySelector('#memory-0 .u-over')", false);
    browser.wait(&format!("{legend}[0] !== '120'"));
    assert_eq!(said(&mut browser), 60);
    // The other charts of the process follow.
    browser.wait("document.querySelector('#counts-0 .u-value').textContent === '60'");
    browser.value("document.querySelector('#memory-0').focus()");
    browser.press("ArrowLeft");
    browser.wait(&format!("{legend}[0] === '59'"));
    assert_eq!(said(&mut browser), 59);
    assert_well_behaved(&browser, &page);
}

#[test]
fn the_flame_graph_has_its_frames_and_zooms() {
    let bench = Bench::new();
    let page = page(&bench);
    let mut browser = opened(&page);
    let inner = "document.querySelector('iframe.flame').contentDocument";
    browser.wait(&format!("{inner}?.querySelectorAll('#frames > g').length > 5"));
    let titles = browser.value(&format!(
        "[...{inner}.querySelectorAll('#frames > g title')].map((title) => title.textContent).join('\\n')"
    ));
    let titles = titles.as_str().unwrap_or_default();
    for part in ["session_open (session.c:88) (62,464 bytes", "main (main.c:42)", "server (pid 4211)"] {
        assert!(titles.contains(part), "{part:?} is not in\n{titles}");
    }
    let frame = format!(
        "[...{inner}.querySelectorAll('#frames > g')] \
         .find((group) => group.textContent.includes('buffer_new')).querySelector('rect')"
    );
    browser.point_at(&frame, false);
    browser.wait(&format!("{inner}.getElementById('details').textContent.includes('buffer_new')"));
    browser.point_at(&frame, true);
    browser.wait(&format!("!{inner}.getElementById('unzoom').classList.contains('hide')"));
    assert_well_behaved(&browser, &page);
}

#[test]
fn filters_and_values_work_in_the_dark_too() {
    let bench = Bench::new();
    let page = page(&bench);
    let mut browser = opened(&page);
    let back = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(back);
    browser.prefer_dark();
    browser.wait(&format!("{back} !== '{}'", light.as_str().unwrap_or_default()));
    browser.wait(
        "document.querySelectorAll('.chart canvas').length === document.querySelectorAll('.chart').length",
    );
    browser.value(
        "const s = document.querySelector('select'); s.value = 'heap'; s.dispatchEvent(new Event('change'))",
    );
    assert_eq!(browser.value("document.querySelectorAll('#maps-0 tbody tr:not([hidden])').length"), 1);
    browser.value("document.querySelector('details[data-process]').open = true");
    browser.wait("document.querySelectorAll('details[data-process=\"0\"] tr').length === 122");
    assert_well_behaved(&browser, &page);
}
