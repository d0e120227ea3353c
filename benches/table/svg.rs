//! A plot of the table: one panel a case, one bar a program, its length the wall time.

use std::fmt::Write as _;

use crate::case::{FLOOR, Line};
use crate::report::{Report, amount, floor};

const WIDTH: f64 = 860.0;
const LABELS: f64 = 280.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

/// Readable on white and on a dark page: a card of its own, colours of middle brightness.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#24292f}.case{font-weight:600}.small{fill:#57606a;font-size:12px}\
    .floor{fill:#8c959f}.ours{fill:#1f883d}.peer{fill:#6e9bd1}.line{stroke:#57606a;stroke-dasharray:4 3}";

/// The whole picture.
pub(crate) fn plot(report: &Report) -> String {
    let mut body = String::new();
    let mut y = 34.0;
    for (case, lines) in report.cases() {
        y = panel(&mut body, y, case, &lines);
    }
    let about = |name: &str| {
        let found = report.about.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let captions = [
        "wall time in seconds, and × the floor (dashed)".to_owned(),
        format!("{}, {}, {}", about("processor"), about("psql"), about("date")),
    ];
    for caption in captions {
        let _ = writeln!(body, r#"<text class="small" x="16" y="{y}">{}</text>"#, escape(&caption));
        y += 18.0;
    }
    let height = y;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// One case from `y` downward; gives where the next one begins.
fn panel(body: &mut String, mut y: f64, case: &str, lines: &[&Line]) -> f64 {
    let walls: Vec<f64> =
        lines.iter().filter_map(|line| line.best()).map(|best| best.wall.as_secs_f64()).collect();
    let longest = walls.iter().copied().fold(0.01, f64::max);
    let scale = (WIDTH - LABELS - 120.0) / longest;
    let floor = floor(lines);
    let title = format!("{case}: {}", amount(case, lines));
    let _ = writeln!(body, r#"<text class="case" x="16" y="{y}">{}</text>"#, escape(&title));
    y += 10.0;
    let top = y;
    for (line, wall) in lines.iter().zip(&walls) {
        let class = match line.program.as_str() {
            FLOOR => "floor",
            name if name.starts_with("barkeep") => "ours",
            _ => "peer",
        };
        let (middle, width) = (y + BAR / 2.0 + 4.5, (wall * scale).max(1.0));
        let ratio = floor.map(|floor| format!(" ({:.2} ×)", wall / floor)).unwrap_or_default();
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{middle}" text-anchor="end">{}</text><rect class="{class}" x="{LABELS}" y="{y}" width="{width:.1}" height="{BAR}"/><text class="small" x="{:.1}" y="{middle}">{wall:.2}{ratio}</text>"#,
            LABELS - 8.0,
            escape(&line.program),
            LABELS + width + 6.0,
        );
        y += STEP;
    }
    if let Some(floor) = floor {
        let x = LABELS + floor * scale;
        let _ = writeln!(
            body,
            r#"<line class="line" x1="{x:.1}" x2="{x:.1}" y1="{}" y2="{}"/>"#,
            top - 3.0,
            y - 3.0
        );
    }
    y + 28.0
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
