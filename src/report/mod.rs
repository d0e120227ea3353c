//! Reports for people who were not there: a check or a drill as HTML, Markdown or JUnit.
//!
//! Pure: a JSON document in, a text out. What the document has to have stands at the head of `templates/base.html`; every
//! string in it comes from a database or a file and is treated as hostile.

mod filters;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value;

/// What is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Of checks.
    CheckHtml,
    /// Of checks, for CI.
    CheckJunit,
    /// Of a drill.
    DrillHtml,
    /// Of a drill, for a mail or a ticket.
    DrillMarkdown,
    /// Of a drill, for CI.
    DrillJunit,
}

/// A template of barkeep's own does not fit the document that it was given.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be rendered")]
pub struct ReportError(#[from] minijinja::Error);

const TEMPLATES: [(&str, &str); 11] = [
    ("base.html", include_str!("templates/base.html")),
    ("chart.html", include_str!("templates/chart.html")),
    ("check.html", include_str!("templates/check.html")),
    ("check.junit.xml", include_str!("templates/check.junit.xml")),
    ("checks.html", include_str!("templates/checks.html")),
    ("drill.html", include_str!("templates/drill.html")),
    ("drill.junit.xml", include_str!("templates/drill.junit.xml")),
    ("drill.md", include_str!("templates/drill.md")),
    ("junit.xml", include_str!("templates/junit.xml")),
    ("macros.html", include_str!("templates/macros.html")),
    ("style.css", include_str!("templates/style.css")),
];

impl Report {
    fn template(self) -> &'static str {
        match self {
            Self::CheckHtml => "check.html",
            Self::CheckJunit => "check.junit.xml",
            Self::DrillHtml => "drill.html",
            Self::DrillMarkdown => "drill.md",
            Self::DrillJunit => "drill.junit.xml",
        }
    }

    /// Renders a document.
    pub fn render(self, document: &Value) -> Result<String, ReportError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.set_auto_escape_callback(|name| {
            match name.ends_with(".html") || name.ends_with(".xml") {
                true => AutoEscape::Html,
                false => AutoEscape::None,
            }
        });
        for (name, text) in TEMPLATES {
            environment.add_template(name, text)?;
        }
        filters::add_to(&mut environment);
        Ok(environment.get_template(self.template())?.render(minijinja::value::Serde(visible(document)))?)
    }
}

/// The document with nothing in it that cannot be seen.
fn visible(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(filters::visible(text)),
        Value::Array(items) => Value::Array(items.iter().map(visible).collect()),
        Value::Object(members) => {
            let seen = members.iter().map(|(name, value)| (filters::visible(name), visible(value)));
            Value::Object(seen.collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Value {
        let path = format!("{}/fixtures/reports/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    const CHECKS: [&str; 4] = ["check-pass", "check-findings", "check-empty", "check-hostile"];
    const DRILLS: [&str; 4] = ["drill-pass", "drill-fail", "drill-early", "drill-hostile"];

    #[test]
    fn every_sample_can_be_rendered_in_every_form() {
        for name in CHECKS {
            assert!(Report::CheckHtml.render(&sample(name)).unwrap().contains("</html>"), "{name}");
            assert!(Report::CheckJunit.render(&sample(name)).unwrap().contains("</testsuites>"), "{name}");
        }
        for name in DRILLS {
            assert!(Report::DrillHtml.render(&sample(name)).unwrap().contains("</html>"), "{name}");
            assert!(Report::DrillMarkdown.render(&sample(name)).unwrap().starts_with("# "), "{name}");
            assert!(Report::DrillJunit.render(&sample(name)).unwrap().contains("</testsuites>"), "{name}");
        }
    }

    #[test]
    fn no_value_becomes_markup() {
        let script = "<script";
        assert!(
            sample("check-hostile").to_string().contains(script)
                && sample("drill-hostile").to_string().contains(script)
        );
        for (report, name) in [
            (Report::CheckHtml, "check-hostile"),
            (Report::CheckJunit, "check-hostile"),
            (Report::DrillHtml, "drill-hostile"),
            (Report::DrillJunit, "drill-hostile"),
        ] {
            let text = report.render(&sample(name)).unwrap();
            assert!(!text.contains(script) && text.contains("&lt;script"), "{report:?}");
            assert!(!text.contains(['\0', '\u{202e}', '\u{1b}']), "{report:?}");
        }
    }

    #[test]
    fn a_document_that_lacks_something_is_an_error_and_no_empty_place() {
        let mut document = sample("check-pass");
        document.as_object_mut().unwrap().remove("snapshot_time");
        assert!(Report::CheckHtml.render(&document).is_err());
    }
}
