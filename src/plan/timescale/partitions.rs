//! A hypertable as a declaratively partitioned table of plain PostgreSQL: one partition for each slice of time that the
//! source had, and one for everything else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::base::{Digest, TableName, quote_ident};
use crate::catalog::ddl::{SchemaDump, SchemaEntry};
use crate::catalog::timescale::{Dimension, Range};
use crate::manifest::Table;
use crate::plan::chunks::{file_name, position};
use crate::plan::ddl::{ast, subject};

/// Fewer slices of time than this are not worth partitions: a plain table answers as quickly and is simpler to keep.
pub const FEWEST: usize = 8;

/// PostgreSQL's limit for a name, in bytes.
const LONGEST_NAME: usize = 63;

/// The distinct slices of time of a table's chunks, in order; those that overlap are one.
pub fn slices(table: &Table, time: &Dimension) -> Vec<Range> {
    let chunks = table.units.iter().filter_map(|unit| unit.chunk.as_ref());
    let mut ranges: Vec<Range> =
        chunks.filter_map(|chunk| chunk.chunk.ranges.get(&time.column).copied()).collect();
    ranges.sort();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.overlaps(range) => last.to = last.to.max(range.to),
            _ => merged.push(range),
        }
    }
    merged
}

/// Whether partitions can stand for the dimension: the values themselves are its positions, and have an order.
pub fn is_possible(table: &Table, time: &Dimension) -> bool {
    let derived = table.columns.iter().any(|column| column.name == time.column && column.derived);
    time.function.is_none() && time.column_type != "uuid" && !derived
}

/// A table's entry as that of a partitioned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// The whole definition.
    pub definition: String,
    /// Storage parameters that a partitioned table cannot have.
    pub lost: Option<String>,
}

/// Puts `PARTITION BY RANGE` into a definition. `None` where it is not of the form that pg_dump writes.
pub fn parted(definition: &str, column: &str) -> Option<Parted> {
    let statements = ast::split(definition);
    let (create, others) = statements.split_first()?;
    let words = words(create)?;
    let open = words.iter().position(|(_, text)| *text == "(")?;
    let close = matching(&words, open)?;
    let end = words.get(close)?.0 + 1;
    let (mut rest, mut lost) = (create.get(end..)?.to_owned(), None);
    if words.get(close + 1).is_some_and(|(_, text)| text.eq_ignore_ascii_case("WITH")) {
        let last = matching(&words, close + 2)?;
        let (from, to) = (words.get(close + 1)?.0, words.get(last)?.0 + 1);
        lost = Some(create.get(from..to)?.to_owned());
        rest = format!("{}{}", create.get(end..from)?, create.get(to..)?);
    }
    let new = format!("{} PARTITION BY RANGE ({}){rest}", create.get(..end)?, quote_ident(column));
    // The parser has the last word: nothing but the partitioning may have come, nothing but the parameters gone.
    if bare(create)? != bare(&new)? {
        return None;
    }
    let all = std::iter::once(&new).chain(others).map(|statement| format!("{statement};\n"));
    Some(Parted { definition: all.collect(), lost })
}

fn words(sql: &str) -> Option<Vec<(usize, &str)>> {
    let tokens = ast::tokens(sql)?;
    let word = |token: &pg_query::protobuf::ScanToken| {
        let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
        Some((start, sql.get(start..end)?))
    };
    tokens.iter().map(word).collect()
}

/// The bracket that closes the one at `open`.
fn matching(words: &[(usize, &str)], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, (_, text)) in words.iter().enumerate().skip(open) {
        match *text {
            "(" => depth += 1,
            ")" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (at > open).then_some(at);
        }
    }
    None
}

/// The tree of a CREATE TABLE without partitioning, parameters and places in the text.
fn bare(sql: &str) -> Option<Value> {
    let tree = ast::trees(sql)?;
    let mut statement = tree.pointer("/stmts/0/stmt/node/CreateStmt")?.clone();
    let fields = statement.as_object_mut()?;
    fields.remove("partspec");
    fields.remove("options");
    placeless(&mut statement);
    Some(statement)
}

fn placeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("location"));
            fields.values_mut().for_each(placeless);
        }
        Value::Array(items) => items.iter_mut().for_each(placeless),
        _ => {}
    }
}

/// The entries of the partitions of `parent`. Their numbers begin at `first_id`.
pub fn partitions(
    parent: &SchemaEntry,
    time: &Dimension,
    slices: &[Range],
    first_id: i32,
    taken: &BTreeSet<TableName>,
) -> Vec<SchemaEntry> {
    let Some(table) = parent.relation() else { return Vec::new() };
    let bounds = |range: &Range| {
        let one = |at: i64, open: i64, word: &str| match at == open {
            true => word.to_owned(),
            false => position(time, at),
        };
        let from = one(range.from, Range::MIN, "MINVALUE");
        let to = one(range.to, Range::MAX, "MAXVALUE");
        (from != to).then(|| format!("FOR VALUES FROM ({from}) TO ({to})"))
    };
    let ranges = slices.iter().filter_map(|range| Some((suffix(time, *range), bounds(range)?)));
    let all = ranges.chain(std::iter::once(("default".to_owned(), "DEFAULT".to_owned())));
    let mut names = taken.clone();
    all.zip(first_id..)
        .map(|((suffix, bounds), dump_id)| {
            let name = name(&table, &suffix, &mut names);
            let sql = name.sql();
            SchemaEntry {
                dump_id,
                catalog_id: None,
                name: name.name,
                definition: format!("CREATE TABLE {sql} PARTITION OF {} {bounds};\n", table.sql()),
                drop: format!("DROP TABLE {sql};\n"),
                relkind: Some('r'),
                depends_on: vec![parent.dump_id],
                ..parent.clone()
            }
        })
        .collect()
}

fn suffix(time: &Dimension, range: Range) -> String {
    let text = file_name(time, range).to_lowercase();
    format!("p{}", text.replace(['-', '.'], ""))
}

/// `bars_p20260101_20260108`, shortened where it would be too long, and another one where it is taken.
fn name(table: &TableName, suffix: &str, taken: &mut BTreeSet<TableName>) -> TableName {
    let mut name = format!("{}_{suffix}", table.name);
    if name.len() > LONGEST_NAME {
        let digest = Digest::of(name.as_bytes()).short();
        let mut end = LONGEST_NAME.saturating_sub(suffix.len() + digest.len() + 2);
        while !table.name.is_char_boundary(end) {
            end -= 1;
        }
        name = format!("{}_{digest}_{suffix}", &table.name[..end]);
    }
    let mut found = TableName::new(table.schema.clone(), name);
    while !taken.insert(found.clone()) {
        found.name.push('_');
    }
    found
}

/// What of a partitioned table's later entries cannot be: `CLUSTER ON`. Gives whether something was taken away.
pub fn unclustered(entry: &mut SchemaEntry, parted: &BTreeSet<TableName>) -> bool {
    if !matches!(&*entry.kind, "INDEX" | "CONSTRAINT") || !entry.definition.contains("CLUSTER") {
        return false;
    }
    if !subject(entry).is_some_and(|table| parted.contains(&table)) {
        return false;
    }
    let clusters = |sql: &str| {
        words(sql).is_some_and(|words| {
            words
                .windows(2)
                .any(|pair| pair[0].1.eq_ignore_ascii_case("CLUSTER") && pair[1].1.eq_ignore_ascii_case("ON"))
        })
    };
    let (gone, kept): (Vec<String>, Vec<String>) =
        ast::split(&entry.definition).into_iter().partition(|sql| clusters(sql));
    entry.definition = kept.iter().map(|sql| format!("{sql};\n")).collect();
    !gone.is_empty()
}

/// The first number that no entry of a dump has.
pub fn free_id(dump: &SchemaDump) -> i32 {
    dump.entries.iter().map(|entry| entry.dump_id).max().unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::ddl::Section;

    fn time(column_type: &str) -> Dimension {
        Dimension {
            column: "ts".into(),
            column_type: column_type.into(),
            interval: Some(1),
            partitions: None,
            function: None,
            integer_now: None,
        }
    }

    #[test]
    fn partitioning_comes_behind_the_columns_and_parameters_go() {
        let sql = "CREATE TABLE md.bars (\n    ts timestamp with time zone NOT NULL,\n    \
                   p numeric(18,6) DEFAULT (1 + (2)),\n    CONSTRAINT c CHECK ((p > ')'::text::numeric))\n)\n\
                   WITH (fillfactor='70', autovacuum_enabled='false');\n\n\
                   ALTER TABLE ONLY md.bars ALTER COLUMN p SET STATISTICS 5;\n";
        let parted = parted(sql, "ts").unwrap();
        assert!(parted.definition.contains(")\n) PARTITION BY RANGE (\"ts\")"), "{}", parted.definition);
        assert!(!parted.definition.contains("fillfactor"));
        assert!(parted.definition.ends_with("SET STATISTICS 5;\n"));
        assert_eq!(parted.lost.as_deref(), Some("WITH (fillfactor='70', autovacuum_enabled='false')"));
        assert_eq!(super::parted("CREATE TABLE md.t OF md.row_type;", "ts"), None);
        assert_eq!(super::parted("CREATE VIEW md.t AS SELECT (1);", "ts"), None);
    }

    fn parent() -> SchemaEntry {
        SchemaEntry {
            dump_id: 3,
            catalog_id: None,
            kind: "TABLE".into(),
            schema: Some("md".into()),
            name: "bars".into(),
            owner: Some("app".into()),
            section: Section::PreData,
            definition: String::new(),
            drop: "DROP TABLE md.bars;\n".into(),
            tablespace: None,
            access_method: None,
            relkind: Some('p'),
            depends_on: vec![1],
        }
    }

    #[test]
    fn partitions_are_named_after_their_time() {
        let day = 86_400_000_000;
        let slices = [Range { from: 0, to: day }, Range { from: day, to: 3 * day }];
        let all = partitions(&parent(), &time("timestamp with time zone"), &slices, 100, &BTreeSet::new());
        let names: Vec<&str> = all.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["bars_p19700101_19700102", "bars_p19700102_19700104", "bars_default"]);
        assert_eq!(
            all[0].definition,
            "CREATE TABLE \"md\".\"bars_p19700101_19700102\" PARTITION OF \"md\".\"bars\" FOR VALUES FROM \
             ('1970-01-01T00:00:00.000000Z'::pg_catalog.timestamptz) TO \
             ('1970-01-02T00:00:00.000000Z'::pg_catalog.timestamptz);\n"
        );
        assert_eq!((all[2].dump_id, &*all[2].depends_on), (102, &[3][..]));
        let open = [Range { from: Range::MIN, to: 5 }];
        let all = partitions(&parent(), &time("bigint"), &open, 9, &BTreeSet::new());
        assert!(all[0].definition.contains("FROM (MINVALUE) TO ((5)::bigint)"), "{}", all[0].definition);
    }

    #[test]
    fn a_long_name_is_cut_and_a_taken_one_changed() {
        let mut taken = BTreeSet::new();
        let long = TableName::new("md", "x".repeat(60));
        let one = name(&long, "p20260101_20260108", &mut taken);
        assert!(one.name.len() <= LONGEST_NAME && one.name.ends_with("_p20260101_20260108"), "{one}");
        assert_ne!(one, name(&long, "p20260101_20260108", &mut taken));
    }

    #[test]
    fn a_partitioned_table_is_not_clustered() {
        let mut entry = SchemaEntry {
            kind: "INDEX".into(),
            name: "i".into(),
            definition: "CREATE INDEX i ON md.bars USING btree (ts);\n\nALTER TABLE md.bars CLUSTER ON i;\n"
                .into(),
            ..parent()
        };
        assert!(unclustered(&mut entry, &[TableName::new("md", "bars")].into()));
        assert_eq!(entry.definition, "CREATE INDEX i ON md.bars USING btree (ts);\n");
        assert!(!unclustered(&mut entry, &BTreeSet::new()));
    }
}
