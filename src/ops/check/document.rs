//! The document that reports of checks are rendered from.

use serde_json::{Value, json};

use super::CheckReport;
use crate::base::Timestamp;
use crate::checks::Verdict;

impl CheckReport {
    /// The worst verdict of any check; skipped checks and warnings about the mapping do not make it worse than a warning.
    pub fn verdict(&self) -> Verdict {
        let worst = |verdict| self.count(verdict) > 0;
        match () {
            () if worst(Verdict::Error) => Verdict::Error,
            () if worst(Verdict::Fail) => Verdict::Fail,
            () if worst(Verdict::Warn) || !self.warnings.is_empty() => Verdict::Warn,
            () => Verdict::Pass,
        }
    }

    /// Everything, as `report` wants it. `command` is how to say it again.
    pub fn document(&self, command: &str, written: Timestamp) -> Result<Value, serde_json::Error> {
        let count = |verdict| self.count(verdict);
        let mut mapping = serde_json::to_value(&self.mapping)?;
        for (name, role) in &self.mapping.roles {
            // As people write it.
            mapping["roles"][name]["table"] = role.table.to_string().into();
        }
        let backup = self
            .backup
            .as_ref()
            .map(|backup| json!({ "id": backup.id, "root": backup.root, "taken": self.snapshot_time }));
        Ok(json!({
            "barkeep": env!("CARGO_PKG_VERSION"),
            "database": self.database,
            "target": if self.backup.is_some() { "backup" } else { "database" },
            "backup": backup,
            "engine": self.engine,
            "snapshot_time": self.snapshot_time,
            "written": written,
            "command": command,
            "seconds": self.seconds,
            "verdict": self.verdict(),
            "counts": {
                "pass": count(Verdict::Pass), "warn": count(Verdict::Warn), "fail": count(Verdict::Fail),
                "error": count(Verdict::Error), "skipped": count(Verdict::Skipped),
            },
            "mapping": mapping,
            "warnings": self.warnings,
            "checks": serde_json::to_value(&self.checks)?,
        }))
    }
}
