//! [`judge`]: how many findings are too many.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::definition::Severity;

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No finding, or few enough.
    Pass,
    /// It could not be asked: something that it needs is not mapped.
    Skipped,
    /// Somebody should look.
    Warn,
    /// The data is wrong.
    Fail,
    /// It could not be answered, or nothing was there to look at.
    Error,
}

/// A limit on findings: `!= 0`, `> 10`, `>= 3`, `> 0.1%` of the rows scanned.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Threshold {
    inclusive: bool,
    number: f64,
    percent: bool,
}

impl Threshold {
    /// Any finding.
    pub const ANY: Self = Self { inclusive: false, number: 0.0, percent: false };

    /// Whether so many findings of so many rows are beyond it.
    pub fn is_beyond(self, findings: u64, scanned: u64) -> bool {
        let found =
            if self.percent { findings as f64 * 100.0 / scanned.max(1) as f64 } else { findings as f64 };
        if self.inclusive { found >= self.number && findings > 0 } else { found > self.number }
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is not a limit on findings; write \"!= 0\", \"> 10\", \">= 3\" or \"> 0.1%\"")
        };
        let text_only = text.trim();
        let (inclusive, number) = match text_only {
            _ if text_only.replace(' ', "") == "!=0" => return Ok(Self::ANY),
            _ => match text_only.strip_prefix(">=") {
                Some(number) => (true, number),
                None => (false, text_only.strip_prefix('>').ok_or_else(wrong)?),
            },
        };
        let (number, percent) = match number.trim().strip_suffix('%') {
            Some(number) => (number.trim(), true),
            None => (number.trim(), false),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let sensible = number.is_finite() && number >= 0.0 && (!percent || number <= 100.0);
        if sensible { Ok(Self { inclusive, number, percent }) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Threshold {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The verdict on so many findings among so many rows. Without limits of its own a check fails, or warns, for any finding.
pub fn judge(
    findings: u64,
    scanned: u64,
    severity: Severity,
    warn_if: Option<Threshold>,
    error_if: Option<Threshold>,
) -> Verdict {
    let error_if = match severity {
        Severity::Error => Some(error_if.unwrap_or(Threshold::ANY)),
        Severity::Warn => error_if,
    };
    let warn_if = warn_if.unwrap_or(Threshold::ANY);
    if error_if.is_some_and(|limit| limit.is_beyond(findings, scanned)) {
        Verdict::Fail
    } else if warn_if.is_beyond(findings, scanned) {
        Verdict::Warn
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_held() {
        let beyond =
            |limit: &str, findings, scanned| limit.parse::<Threshold>().unwrap().is_beyond(findings, scanned);
        assert!(beyond("!= 0", 1, 1) && !beyond("!=0", 0, 1));
        assert!(beyond("> 10", 11, 99) && !beyond(">10", 10, 99));
        assert!(beyond(">= 3", 3, 99) && !beyond(">= 3", 2, 99) && !beyond(">= 0", 0, 99));
        assert!(beyond("> 0.1%", 2, 1000) && !beyond("> 0.1 %", 1, 1000));
        for wrong in ["", "10", "< 3", "> x", "> -1", "> 101%", "= 0", "> NaN"] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_finding_fails_or_warns_by_severity_and_limits() {
        let some = |limit: &str| Some(limit.parse().unwrap());
        assert_eq!(judge(0, 9, Severity::Error, None, None), Verdict::Pass);
        assert_eq!(judge(1, 9, Severity::Error, None, None), Verdict::Fail);
        assert_eq!(judge(1, 9, Severity::Warn, None, None), Verdict::Warn);
        assert_eq!(judge(3, 9, Severity::Error, None, some("> 5")), Verdict::Warn);
        assert_eq!(judge(3, 9, Severity::Error, some("> 3"), some("> 5")), Verdict::Pass);
        assert_eq!(judge(6, 9, Severity::Warn, some("> 3"), some("> 5")), Verdict::Fail);
    }
}
