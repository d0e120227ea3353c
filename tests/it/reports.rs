//! Reports in a real browser: they fit a phone and a desk, nothing in them runs or loads, and they print.

use std::path::{Path, PathBuf};
use std::process::Command;

use barkeep::report::Report;
use serde_json::Value;

/// The browser, as `make setup-browser` found or installed it.
fn browser() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup-browser.sh");
    let output = Command::new(script).arg("--print").output().unwrap();
    assert!(output.status.success(), "no browser: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Runs the browser on a page; gives what it printed.
fn browse(arguments: &[String], page: &Path) -> String {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the probe measures of a page: width of the window, of its inside, of its content, height, elements that are
/// forbidden, elements that load, and those that are too wide.
#[derive(Debug, PartialEq, Eq)]
struct Measured {
    width: u32,
    content: u32,
    forbidden: u32,
    loading: u32,
    too_wide: String,
}

fn measure(folder: &Path, html: &str) -> Vec<Measured> {
    let probe =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/reports/probe.html")).unwrap();
    let inner = html.replace('&', "&amp;").replace('"', "&quot;");
    assert!(probe.contains("srcdoc=\"DOCUMENT\""));
    let page = folder.join("probe.html");
    std::fs::write(&page, probe.replace("srcdoc=\"DOCUMENT\"", &format!("srcdoc=\"{inner}\""))).unwrap();
    let dom = browse(&["--virtual-time-budget=20000".to_owned(), "--dump-dom".to_owned()], &page);
    let measured =
        dom.split("data-probe=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a measurement");
    let entry = |entry: &str| {
        let fields: Vec<&str> = entry.split(',').collect();
        let number = |at: usize| fields[at].parse().unwrap();
        assert_eq!(number(0), number(1), "the frame is as wide as it was told: {entry}");
        Measured {
            width: number(0),
            content: number(2),
            forbidden: number(4),
            loading: number(5),
            too_wide: fields[6].to_owned(),
        }
    };
    measured.split('|').filter(|entry| !entry.is_empty()).map(entry).collect()
}

fn sample(name: &str) -> Value {
    let path = format!("{}/fixtures/reports/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn reports_fit_every_screen_and_run_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (report, name) in [
        (Report::CheckHtml, "check-findings"),
        (Report::CheckHtml, "check-hostile"),
        (Report::DrillHtml, "drill-pass"),
        (Report::DrillHtml, "drill-fail"),
        (Report::DrillHtml, "drill-hostile"),
    ] {
        let measured = measure(folder.path(), &report.render(&sample(name)).unwrap());
        assert!(
            measured.iter().any(|one| one.width <= 360) && measured.iter().any(|one| one.width >= 1200),
            "{measured:?}"
        );
        for one in measured {
            assert!(one.content <= one.width && one.too_wide.is_empty(), "{name}: {one:?}");
            assert_eq!((one.forbidden, one.loading), (0, 0), "{name}: {one:?}");
        }
    }
    // The probe can fail.
    let bad = "<!doctype html><title>x</title><style>@import url(x.css);</style><div style='width:500px'>x</div>\
               <script>1</script><img src='x.png'>";
    let measured = measure(folder.path(), bad);
    let phone = measured.iter().find(|one| one.width == 360).unwrap();
    assert!(
        phone.content > 360 && phone.forbidden > 0 && phone.loading > 0 && !phone.too_wide.is_empty(),
        "{phone:?}"
    );
}

#[test]
fn a_report_is_printed_on_several_pages() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("drill.html");
    std::fs::write(&page, Report::DrillHtml.render(&sample("drill-fail")).unwrap()).unwrap();
    let paper = folder.path().join("drill.pdf");
    browse(&["--no-pdf-header-footer".to_owned(), format!("--print-to-pdf={}", paper.display())], &page);
    let bytes = std::fs::read(&paper).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let pages = text.lines().filter(|line| line.trim_end().ends_with("/Type /Page")).count();
    assert!((2..40).contains(&pages), "{pages} pages");
}
