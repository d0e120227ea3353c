//! The bars around a finding, for the small charts of a report.

use std::collections::BTreeMap;

use serde::Serialize;

use super::engine::{Engine, Refusal};
use super::{CheckOutcome, TextRow};
use crate::checks::{Check, Interview, Severity, question};
use crate::ops::OpsError;

/// Charts of one check, bars on each side of the finding.
const CHARTS: usize = 3;
const BESIDE: usize = 10;

/// A finding among its neighbours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// `AAA at X1`.
    pub title: String,
    /// In order of time.
    pub bars: Vec<Bar>,
}

/// A bar, as far as its prices are numbers: for drawing only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bar {
    /// When it begins.
    pub ts: String,
    /// Price at its beginning.
    pub open: Option<f64>,
    /// Highest price.
    pub high: Option<f64>,
    /// Lowest price.
    pub low: Option<f64>,
    /// Price at its end.
    pub close: Option<f64>,
    /// What was traded.
    pub volume: Option<f64>,
    /// It is the finding.
    pub offending: bool,
}

/// Charts of the first findings, where a finding is a bar.
pub(super) async fn charts(
    check: &Check,
    outcome: &CheckOutcome,
    interview: &Interview<'_>,
    engine: &Engine,
) -> Result<Vec<Chart>, OpsError> {
    let mut charts = Vec::new();
    if check.scans != "bars" || !check.key.starts_with(&["symbol", "venue", "ts"].map(str::to_owned)) {
        return Ok(charts);
    }
    for finding in outcome.sample.iter().take(CHARTS) {
        let [Some(symbol), venue, Some(ts)] = &finding[..3] else { continue };
        let mut bars = Vec::new();
        for (side, order, limit) in [("<=", "DESC", BESIDE + 1), (">", "ASC", BESIDE)] {
            let params = BTreeMap::from([
                ("symbol".to_owned(), symbol.clone()),
                ("venue".to_owned(), venue.clone().unwrap_or_default()),
                ("at".to_owned(), ts.clone()),
            ]);
            let Ok(question) = question(&neighbours(side, order, limit), interview, &params) else {
                return Ok(charts);
            };
            match engine.ask("reading bars for a chart", &question.sql).await {
                Ok(table) => bars.extend(table.rows.iter().map(|row| bar(row, ts))),
                // A report without a picture is a report all the same.
                Err(Refusal::Check(_)) => return Ok(charts),
                Err(Refusal::Run(error)) => return Err(error),
            }
        }
        bars.sort_by(|a, b| a.ts.cmp(&b.ts));
        let place = venue.as_ref().map(|venue| format!(" at {venue}")).unwrap_or_default();
        charts.push(Chart { title: format!("{symbol}{place}"), bars });
    }
    Ok(charts)
}

/// A question like a check's, so that it is put to either engine as they are.
fn neighbours(side: &str, order: &str, limit: usize) -> Check {
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    Check {
        id: String::new(),
        name: String::new(),
        question: String::new(),
        why: String::new(),
        severity: Severity::Warn,
        scans: "bars".to_owned(),
        needs: words(&["bars.symbol", "bars.ts", "bars.close"]),
        uses: words(&["bars.venue", "bars.open", "bars.high", "bars.low", "bars.volume"]),
        only: Vec::new(),
        key: words(&["ts"]),
        params: ["symbol", "venue", "at"].map(|name| (name.to_owned(), String::new())).into(),
        sql: format!(
            "SELECT b.ts, b.open, b.high, b.low, b.close, b.volume FROM {{bars}} b \
             WHERE cast(b.symbol as text) = '{{symbol}}' AND coalesce(cast(b.venue as text), '') = '{{venue}}' \
             AND b.ts {side} timestamp with time zone '{{at}}' ORDER BY b.ts {order} LIMIT {limit}"
        ),
    }
}

fn bar(row: &TextRow, offending: &str) -> Bar {
    let text = |at: usize| row.get(at).and_then(Option::as_deref);
    let number = |at: usize| text(at)?.parse().ok().filter(|number: &f64| number.is_finite());
    let ts = text(0).unwrap_or_default();
    Bar {
        ts: ts.replacen(' ', "T", 1).replace("+00", "Z"),
        open: number(1),
        high: number(2),
        low: number(3),
        close: number(4),
        volume: number(5),
        offending: ts == offending,
    }
}
