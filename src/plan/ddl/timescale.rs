//! What pg_dump says about a TimescaleDB database, put right: it knows continuous aggregates as ordinary views over internal
//! tables, and alters hypertables with `ONLY`, which they refuse.

use crate::base::TableName;
use crate::catalog::ddl::{CONTINUOUS_AGGREGATE, SchemaDump, SchemaEntry, Section};
use crate::catalog::timescale::{Aggregate, Timescale};

use super::{ast, subject};

/// Schemas that are TimescaleDB's own; what lies in them is data in the manifest, or comes with the extension.
pub const INTERNAL_SCHEMAS: [&str; 8] = [
    "_timescaledb_cache",
    "_timescaledb_catalog",
    "_timescaledb_config",
    "_timescaledb_debug",
    "_timescaledb_functions",
    "_timescaledb_internal",
    "timescaledb_experimental",
    "timescaledb_information",
];

/// Triggers that up to 2.22 stand on every hypertable.
const OWN_TRIGGERS: [&str; 2] = ["ts_insert_blocker", "ts_cagg_invalidation_trigger"];

const ALTER_ONLY: &str = "ALTER TABLE ONLY ";

/// The entries as a restore needs them. What lies in [`INTERNAL_SCHEMAS`] has been left out by pg_dump already.
pub fn cleaned(mut dump: SchemaDump, timescale: &Timescale) -> SchemaDump {
    dump.entries.retain(|entry| !is_own(entry));
    for entry in &mut dump.entries {
        let name = entry.relation();
        let aggregate = name.filter(|_| entry.kind == "VIEW").and_then(|name| timescale.aggregate(&name));
        if let Some(aggregate) = aggregate {
            become_aggregate(entry, aggregate);
        } else if entry.section == Section::PostData
            && subject(entry).is_some_and(|t| is_chunked(timescale, &t))
        {
            entry.definition = without_only(&entry.definition);
            entry.drop = without_only(&entry.drop);
        }
    }
    dump
}

fn is_chunked(timescale: &Timescale, table: &TableName) -> bool {
    timescale.hypertable(table).is_some()
}

fn is_own(entry: &SchemaEntry) -> bool {
    let own_trigger = || OWN_TRIGGERS.iter().any(|name| entry.name.ends_with(&format!(" {name}")));
    match &*entry.kind {
        "TRIGGER" => own_trigger() && entry.definition.contains("_timescaledb_"),
        // Only its owner may comment on an extension, and it comes with this comment.
        "COMMENT" => entry.name == "EXTENSION timescaledb",
        _ => false,
    }
}

/// WITH NO DATA: its rows come out of the backup, because they can be older than what it aggregates.
fn become_aggregate(entry: &mut SchemaEntry, aggregate: &Aggregate) {
    let view = aggregate.view.sql();
    let query = aggregate.definition.trim().trim_end_matches(';');
    entry.kind = CONTINUOUS_AGGREGATE.to_owned();
    entry.section = Section::PostData;
    entry.drop = format!("DROP MATERIALIZED VIEW {view};\n");
    entry.definition = format!(
        "CREATE MATERIALIZED VIEW {view} WITH (timescaledb.continuous, timescaledb.materialized_only = true, \
         timescaledb.create_group_indexes = false) AS\n{query}\nWITH NO DATA;\n"
    );
}

/// `ALTER TABLE ONLY x` as `ALTER TABLE x`, statement by statement; text inside of a statement stays.
fn without_only(definition: &str) -> String {
    let statements = ast::split(definition);
    if !statements.iter().any(|sql| sql.trim_start().starts_with(ALTER_ONLY)) {
        return definition.to_owned();
    }
    let mut text = String::new();
    for sql in statements {
        let sql = sql.trim();
        match sql.strip_prefix(ALTER_ONLY) {
            Some(rest) => text.push_str(&format!("ALTER TABLE {rest};\n")),
            None => text.push_str(&format!("{sql};\n")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::timescale::Hypertable;

    fn entry(kind: &str, name: &str, section: Section, definition: &str) -> SchemaEntry {
        SchemaEntry {
            dump_id: 1,
            catalog_id: None,
            kind: kind.into(),
            schema: Some("md".into()),
            name: name.into(),
            owner: Some("desk".into()),
            section,
            definition: definition.into(),
            drop: String::new(),
            tablespace: None,
            access_method: None,
            relkind: None,
            depends_on: Vec::new(),
        }
    }

    fn hypertable(name: &str) -> Hypertable {
        Hypertable {
            id: 1,
            name: TableName::new("md", name),
            dimensions: Vec::new(),
            compression: None,
            tablespaces: Vec::new(),
            skipping: Vec::new(),
        }
    }

    fn timescale() -> Timescale {
        Timescale {
            version: "2.19.3".into(),
            schema: "public".into(),
            license: None,
            hypertables: vec![hypertable("bars")],
            aggregates: vec![Aggregate {
                view: TableName::new("md", "daily"),
                hypertable: hypertable("_materialized_hypertable_2"),
                over: TableName::new("md", "bars"),
                definition: " SELECT 1 AS bucket\n FROM md.bars;".into(),
                materialized_only: true,
                watermark: None,
                indexes: Vec::new(),
            }],
            jobs: Vec::new(),
        }
    }

    fn clean(entries: Vec<SchemaEntry>) -> Vec<SchemaEntry> {
        cleaned(SchemaDump { entries, ..SchemaDump::default() }, &timescale()).entries
    }

    #[test]
    fn a_view_of_an_aggregate_becomes_one_and_others_stay() {
        let entries = clean(vec![
            entry("VIEW", "daily", Section::PreData, "CREATE VIEW md.daily AS SELECT 1;"),
            entry("VIEW", "range", Section::PreData, "CREATE VIEW md.range AS SELECT 1 FROM md.daily;"),
        ]);
        assert_eq!((&*entries[0].kind, entries[0].section), (CONTINUOUS_AGGREGATE, Section::PostData));
        assert!(entries[0].definition.contains("FROM md.bars\nWITH NO DATA;"), "{}", entries[0].definition);
        assert!(ast::trees(&entries[0].definition).is_some(), "it is SQL that can be read");
        assert_eq!(entries[0].relation(), Some(TableName::new("md", "daily")));
        assert_eq!((&*entries[1].kind, entries[1].section), ("VIEW", Section::PreData));
    }

    #[test]
    fn only_hypertables_lose_only() {
        let key = "ALTER TABLE ONLY md.bars\n    ADD CONSTRAINT note CHECK (x <> 'ALTER TABLE ONLY y');\n";
        let entries = clean(vec![
            entry("CONSTRAINT", "bars note", Section::PostData, key),
            entry("CONSTRAINT", "orders note", Section::PostData, &key.replace("md.bars", "md.orders")),
        ]);
        assert_eq!(entries[0].definition, key.replacen("ONLY ", "", 1));
        assert!(entries[1].definition.starts_with(ALTER_ONLY));
    }

    #[test]
    fn its_own_triggers_go_and_a_users_trigger_of_that_name_stays() {
        let own = "CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON md.bars FOR EACH ROW \
                   EXECUTE FUNCTION _timescaledb_functions.insert_blocker();";
        let entries = clean(vec![
            entry("TRIGGER", "bars ts_insert_blocker", Section::PostData, own),
            entry(
                "TRIGGER",
                "orders ts_insert_blocker",
                Section::PostData,
                &own.replace("_timescaledb_functions", "md"),
            ),
            entry(
                "COMMENT",
                "EXTENSION timescaledb",
                Section::None,
                "COMMENT ON EXTENSION timescaledb IS '';",
            ),
        ]);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].name, "orders ts_insert_blocker");
    }
}
