//! What becomes of schema entries: aggregates that have to be tables, what needs an extension that is not there, and
//! what has to wait until aggregates have their rows.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{TableName, quote_ident};
use crate::catalog::ddl::{CONTINUOUS_AGGREGATE, SchemaDump, SchemaEntry, Section};
use crate::catalog::timescale::EXTENSION;
use crate::manifest::TableColumn;
use crate::plan::ddl::statements::is_data;

/// What the target cannot have as it was.
#[derive(Debug, Default)]
pub struct Lacks<'a> {
    /// Views of aggregates that become tables, with their columns.
    pub tables: BTreeMap<TableName, &'a [TableColumn]>,
    /// Views of aggregates that cannot even become tables, because the backup has none of their rows.
    pub views: BTreeSet<TableName>,
    /// There is no TimescaleDB at all.
    pub extension: bool,
}

/// Entries for such a target.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// What can be made.
    pub dump: SchemaDump,
    /// What is left out, as in [`SchemaEntry::label`].
    pub left_out: Vec<String>,
    /// Tables that cannot be made although their rows are in the backup.
    pub impossible: Vec<String>,
}

/// Fits entries to what the target has.
pub fn fit(dump: &SchemaDump, lacks: &Lacks<'_>) -> Fitted {
    let is_table = |entry: &SchemaEntry| converted(entry, lacks).is_some();
    let out = |entry: &SchemaEntry| {
        let extension = lacks.extension && entry.kind == "EXTENSION" && entry.name == EXTENSION;
        let view = entry.kind == CONTINUOUS_AGGREGATE
            && entry.relation().is_some_and(|name| lacks.views.contains(&name));
        extension || view
    };
    let roots = dump.entries.iter().filter(|entry| out(entry)).map(|entry| entry.dump_id).collect();
    let gone = dependents(dump, roots, &is_table);
    let mut fitted = Fitted { dump: SchemaDump { entries: Vec::new(), ..dump.clone() }, ..Fitted::default() };
    for entry in &dump.entries {
        if gone.contains(&entry.dump_id) {
            match &*entry.kind {
                "TABLE" | "FOREIGN TABLE" | "SEQUENCE" => fitted.impossible.push(entry.label()),
                "COMMENT" | "ACL" | "SECURITY LABEL" => {}
                _ if is_data(entry) => {}
                _ => fitted.left_out.push(entry.label()),
            }
            continue;
        }
        match converted(entry, lacks) {
            Some(columns) => fitted.dump.entries.push(table(dump, entry, columns, &gone)),
            None => fitted.dump.entries.push(commented(dump, entry, lacks)),
        }
    }
    fitted
}

fn converted<'a>(entry: &SchemaEntry, lacks: &Lacks<'a>) -> Option<&'a [TableColumn]> {
    let view = entry.relation().filter(|_| entry.kind == CONTINUOUS_AGGREGATE)?;
    lacks.tables.get(&view).copied()
}

/// `roots` and everything that needs one of them, directly or not; `stops` says what does without.
pub fn dependents(
    dump: &SchemaDump,
    roots: BTreeSet<i32>,
    stops: &dyn Fn(&SchemaEntry) -> bool,
) -> BTreeSet<i32> {
    let mut found = roots;
    loop {
        let before = found.len();
        for entry in &dump.entries {
            if !stops(entry) && entry.depends_on.iter().any(|id| found.contains(id)) {
                found.insert(entry.dump_id);
            }
        }
        // Entries stand behind what they need but for a few, so this is one pass or two.
        if found.len() == before {
            return found;
        }
    }
}

/// The entry of a table with an aggregate's materialised rows.
fn table(
    dump: &SchemaDump,
    entry: &SchemaEntry,
    columns: &[TableColumn],
    gone: &BTreeSet<i32>,
) -> SchemaEntry {
    let name =
        format!("{}.{}", quote_ident(entry.schema.as_deref().unwrap_or_default()), quote_ident(&entry.name));
    let list: Vec<String> = columns.iter().map(column).collect();
    // Types and schemas are still needed; what it was made from is not.
    let needed = |id: &i32| {
        let other = dump.entry(*id);
        !gone.contains(id) && other.is_some_and(|other| other.relation().is_none())
    };
    SchemaEntry {
        kind: "TABLE".to_owned(),
        section: Section::PreData,
        definition: format!("CREATE TABLE {name} (\n    {}\n);\n", list.join(",\n    ")),
        drop: format!("DROP TABLE {name};\n"),
        relkind: Some('r'),
        depends_on: entry.depends_on.iter().copied().filter(needed).collect(),
        ..entry.clone()
    }
}

fn column(column: &TableColumn) -> String {
    let mut text = format!("{} {}", quote_ident(&column.name), column.type_sql);
    if let Some(collation) = &column.collation {
        text.push_str(&format!(" COLLATE {collation}"));
    }
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    text
}

/// `COMMENT ON VIEW x` is refused where `x` has become a table.
fn commented(dump: &SchemaDump, entry: &SchemaEntry, lacks: &Lacks<'_>) -> SchemaEntry {
    let of_table = entry.kind == "COMMENT"
        && entry
            .depends_on
            .iter()
            .any(|id| dump.entry(*id).is_some_and(|other| converted(other, lacks).is_some()));
    let mut entry = entry.clone();
    for word in ["COMMENT ON VIEW ", "COMMENT ON MATERIALIZED VIEW "] {
        if of_table && let Some(rest) = entry.definition.strip_prefix(word) {
            entry.definition = format!("COMMENT ON TABLE {rest}");
        }
    }
    entry
}

/// A dump in three parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// What needs no aggregate: before the rows and after them.
    pub early: SchemaDump,
    /// The aggregates, those that others are built on first.
    pub aggregates: Vec<SchemaEntry>,
    /// What comes after the aggregates, all of it as if after the rows.
    pub late: SchemaDump,
    /// Tables that need an aggregate to exist, by label: their rows would have to wait for it.
    pub stuck: Vec<String>,
}

/// Parts a dump at its aggregates; `None` where it has none.
pub fn parts(dump: &SchemaDump) -> Option<Parts> {
    let is_aggregate = |entry: &SchemaEntry| entry.kind == CONTINUOUS_AGGREGATE;
    let roots: BTreeSet<i32> =
        dump.entries.iter().filter(|entry| is_aggregate(entry)).map(|entry| entry.dump_id).collect();
    if roots.is_empty() {
        return None;
    }
    let waiting = dependents(dump, roots, &|_| false);
    // Default privileges would be given to what is still to be made, and event triggers would fire for it.
    let last = |entry: &SchemaEntry| {
        entry.kind == "EVENT TRIGGER"
            || entry.kind == "DEFAULT ACL"
            || entry.name.starts_with("EVENT TRIGGER ")
    };
    let empty = || SchemaDump { entries: Vec::new(), ..dump.clone() };
    let mut parts = Parts { early: empty(), aggregates: Vec::new(), late: empty(), stuck: Vec::new() };
    for entry in &dump.entries {
        let waits = waiting.contains(&entry.dump_id);
        if is_aggregate(entry) {
            parts.aggregates.push(entry.clone());
        } else if !waits && !last(entry) {
            parts.early.entries.push(entry.clone());
        } else {
            if entry.kind == "TABLE" {
                parts.stuck.push(entry.label());
            }
            let section = if is_data(entry) { entry.section } else { Section::PostData };
            parts.late.entries.push(SchemaEntry { section, ..entry.clone() });
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ddl::CatalogId;
    use crate::manifest::Mapping;

    fn entry(dump_id: i32, kind: &str, name: &str, depends_on: &[i32]) -> SchemaEntry {
        SchemaEntry {
            dump_id,
            catalog_id: Some(CatalogId { table_oid: 1259, oid: 1 }),
            kind: kind.into(),
            schema: (kind != "EXTENSION" && kind != "EVENT TRIGGER").then(|| "md".into()),
            name: name.into(),
            owner: Some("app".into()),
            section: if kind == CONTINUOUS_AGGREGATE { Section::PostData } else { Section::PreData },
            definition: format!("{kind} {name};\n"),
            drop: "DROP x;\n".into(),
            tablespace: None,
            access_method: None,
            relkind: None,
            depends_on: depends_on.to_vec(),
        }
    }

    fn dump() -> SchemaDump {
        let mut comment = entry(8, "COMMENT", "VIEW hourly", &[4]);
        comment.definition = "COMMENT ON VIEW md.hourly IS 'x';\n".into();
        let entries = vec![
            entry(1, "EXTENSION", EXTENSION, &[]),
            entry(2, "TABLE", "bars", &[]),
            entry(3, "VIEW", "buckets", &[1, 2]),
            entry(4, CONTINUOUS_AGGREGATE, "hourly", &[1, 2]),
            entry(5, "VIEW", "latest", &[4]),
            entry(6, "VIEW", "later", &[5]),
            entry(7, "TABLE", "other", &[]),
            comment,
            entry(9, "EVENT TRIGGER", "e", &[]),
        ];
        SchemaDump { entries, ..SchemaDump::default() }
    }

    fn names(dump: &SchemaDump) -> Vec<&str> {
        dump.entries.iter().map(|entry| &*entry.name).collect()
    }

    #[test]
    fn what_stands_over_an_aggregate_waits_for_it() {
        let parts = parts(&dump()).unwrap();
        assert_eq!(names(&parts.early), ["timescaledb", "bars", "buckets", "other"]);
        assert_eq!(parts.aggregates[0].name, "hourly");
        assert_eq!(names(&parts.late), ["latest", "later", "VIEW hourly", "e"]);
        assert!(parts.late.entries.iter().all(|entry| entry.section == Section::PostData));
        assert_eq!(super::parts(&SchemaDump::default()), None);
    }

    #[test]
    fn without_the_extension_an_aggregate_is_a_table_and_its_views_stay() {
        let bucket = TableColumn {
            name: "bucket".into(),
            type_sql: "timestamp with time zone".into(),
            collation: None,
            not_null: true,
            identity: None,
            derived: false,
            mapping: Mapping::TimestampTz,
            text: None,
            exceptions: 0,
        };
        let columns = [bucket];
        let tables = [(TableName::new("md", "hourly"), &columns[..])].into();
        let lacks = Lacks { tables, views: BTreeSet::new(), extension: true };
        let fitted = fit(&dump(), &lacks);
        assert_eq!(fitted.left_out, ["EXTENSION timescaledb", "VIEW md.buckets"]);
        assert!(fitted.impossible.is_empty());
        let table = fitted.dump.entry(4).unwrap();
        assert_eq!(table.kind, "TABLE");
        assert!(table.definition.contains("\"bucket\" timestamp with time zone NOT NULL"));
        assert_eq!(table.depends_on, Vec::<i32>::new());
        assert!(fitted.dump.entry(5).is_some() && fitted.dump.entry(6).is_some());
        assert!(fitted.dump.entry(8).unwrap().definition.starts_with("COMMENT ON TABLE md.hourly"));
    }

    #[test]
    fn a_table_that_needs_the_extension_is_named() {
        let mut dump = dump();
        dump.entries[6].depends_on = vec![1];
        let lacks = Lacks { extension: true, ..Lacks::default() };
        let fitted = fit(&dump, &lacks);
        assert_eq!(fitted.impossible, ["TABLE md.other"]);
    }
}
