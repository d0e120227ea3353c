//! [`structure`]: statements that make tables, keys and sequences → what their constraints say about the rows.
//!
//! A backup has such statements, and a server is asked for its constraints in the same form, so that both mean the same.
//! Exclusion constraints, keys over expressions, domains and foreign tables are not read.

use std::collections::{BTreeMap, BTreeSet};

use pg_query::NodeEnum;
use pg_query::protobuf::{
    AlterTableStmt, AlterTableType, ConstrType, Constraint as Written, CreateStmt, DefElem, IndexStmt, Node,
    RangeVar, Token,
};

use super::ast;
use crate::base::TableName;
use crate::catalog::ddl::SchemaDump;
use crate::catalog::structure::{Constraint, ForeignKey, Rule, Standing, Structure};

/// Kinds of entries whose definitions matter here.
const KINDS: [&str; 9] = [
    "TABLE",
    "TABLE ATTACH",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "INDEX",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
];

/// The constraints of a backup, by its schema. Hypertables look like ordinary tables there.
pub fn structure_of(dump: &SchemaDump, hypertables: BTreeSet<TableName>) -> Structure {
    let entries = dump.entries.iter().filter(|entry| KINDS.contains(&&*entry.kind));
    structure(entries.map(|entry| &*entry.definition), hypertables)
}

/// The constraints that statements make.
pub fn structure<'a>(
    definitions: impl Iterator<Item = &'a str>,
    hypertables: BTreeSet<TableName>,
) -> Structure {
    let mut reader = Reader { spread: hypertables, ..Reader::default() };
    for sql in definitions.flat_map(ast::split) {
        reader.statement(&sql);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    /// What is made here: indexes of views are not wanted.
    tables: BTreeSet<TableName>,
    found: Vec<Constraint>,
    not_null: BTreeMap<TableName, Vec<String>>,
    /// A table's parents: those it inherits from or is a partition of.
    parents: BTreeMap<TableName, Vec<TableName>>,
    spread: BTreeSet<TableName>,
    /// Columns that a sequence can be compared with.
    numbers: BTreeSet<(TableName, String)>,
    /// Sequence → by how much it counts; none if it begins again at its end.
    sequences: BTreeMap<TableName, Option<i64>>,
    /// Table, column, and the sequence that feeds it.
    feeds: BTreeSet<(TableName, String, TableName)>,
    unread: Vec<String>,
}

impl Reader {
    fn statement(&mut self, sql: &str) {
        let Ok(parsed) = pg_query::parse(sql, 0) else {
            self.unread.push(sql.to_owned());
            return;
        };
        for node in parsed.protobuf.stmts.iter().filter_map(|raw| raw.stmt.as_ref()?.node.as_ref()) {
            match node {
                NodeEnum::CreateStmt(create) => self.create(sql, create),
                NodeEnum::AlterTableStmt(alter) => self.alter(sql, alter),
                NodeEnum::IndexStmt(index) => self.index(sql, index),
                NodeEnum::CreateSeqStmt(create) => self.sequence(create.sequence.as_ref(), &create.options),
                NodeEnum::AlterSeqStmt(alter) => {
                    if let Some((sequence, (table, column))) =
                        table_name(alter.sequence.as_ref()).zip(owner(&alter.options))
                    {
                        self.feeds.insert((table, column, sequence));
                    }
                }
                _ => {}
            }
        }
    }

    fn create(&mut self, sql: &str, create: &CreateStmt) {
        let Some(table) = table_name(create.relation.as_ref()) else { return };
        if create.partspec.is_some() {
            self.spread.insert(table.clone());
        }
        let parents = create.inh_relations.iter().filter_map(|node| match node.node.as_ref()? {
            NodeEnum::RangeVar(parent) => table_name(Some(parent)),
            _ => None,
        });
        self.parents.entry(table.clone()).or_default().extend(parents);
        self.tables.insert(table.clone());
        for element in create.table_elts.iter().filter_map(|node| node.node.as_ref()) {
            match element {
                NodeEnum::ColumnDef(column) => {
                    let name = column.type_name.as_ref().and_then(|of| text(of.names.last()?));
                    if name.is_some_and(|name| ["int2", "int4", "int8", "numeric"].contains(&name)) {
                        self.numbers.insert((table.clone(), column.colname.clone()));
                    }
                    for constraint in column.constraints.iter().filter_map(as_constraint) {
                        self.of_column(&table, &column.colname, constraint);
                    }
                }
                NodeEnum::Constraint(constraint) => self.constraint(sql, &table, constraint),
                _ => {}
            }
        }
    }

    fn alter(&mut self, sql: &str, alter: &AlterTableStmt) {
        let Some(table) = table_name(alter.relation.as_ref()) else { return };
        let commands = alter.cmds.iter().filter_map(|node| match node.node.as_ref()? {
            NodeEnum::AlterTableCmd(command) => Some(command),
            _ => None,
        });
        for command in commands {
            let definition = command.def.as_ref().and_then(|def| def.node.as_ref());
            match (AlterTableType::try_from(command.subtype), definition) {
                (Ok(AlterTableType::AtAttachPartition), Some(NodeEnum::PartitionCmd(attached))) => {
                    if let Some(partition) = table_name(attached.name.as_ref()) {
                        self.parents.entry(partition).or_default().push(table.clone());
                    }
                }
                (Ok(AlterTableType::AtColumnDefault), Some(default)) => {
                    let feeds = fed_by(default).map(|from| (table.clone(), command.name.clone(), from));
                    self.feeds.extend(feeds);
                }
                (Ok(AlterTableType::AtAddIdentity), Some(NodeEnum::Constraint(identity))) => {
                    self.of_column(&table, &command.name, identity);
                }
                (_, Some(NodeEnum::Constraint(constraint))) => self.constraint(sql, &table, constraint),
                _ => {}
            }
        }
    }

    /// What stands behind a column's type.
    fn of_column(&mut self, table: &TableName, column: &str, constraint: &Written) {
        let sequence = match ConstrType::try_from(constraint.contype) {
            Ok(ConstrType::ConstrNotnull) => return self.is_never_null(table, column),
            Ok(ConstrType::ConstrDefault) => {
                constraint.raw_expr.as_ref().and_then(|default| fed_by(default.node.as_ref()?))
            }
            Ok(ConstrType::ConstrIdentity) => {
                let name = option(&constraint.options, "sequence_name").and_then(|name| name.arg.as_ref());
                let sequence = name.and_then(|name| names(name)).and_then(|names| qualified(&names));
                if let Some(sequence) = &sequence {
                    self.counts(sequence, &constraint.options);
                }
                sequence
            }
            _ => None,
        };
        self.feeds.extend(sequence.map(|sequence| (table.clone(), column.to_owned(), sequence)));
    }

    fn is_never_null(&mut self, table: &TableName, column: &str) {
        let columns = self.not_null.entry(table.clone()).or_default();
        if !columns.iter().any(|known| known == column) {
            columns.push(column.to_owned());
        }
    }

    fn constraint(&mut self, sql: &str, table: &TableName, written: &Written) {
        let columns = || written.keys.iter().filter_map(text).map(str::to_owned).collect::<Vec<_>>();
        let unique = |primary| Rule::Unique {
            columns: columns(),
            primary,
            nulls_distinct: !written.nulls_not_distinct,
        };
        let rule = match ConstrType::try_from(written.contype) {
            Ok(ConstrType::ConstrNotnull) => {
                columns().iter().for_each(|column| self.is_never_null(table, column));
                return;
            }
            Ok(ConstrType::ConstrPrimary) => unique(true),
            Ok(ConstrType::ConstrUnique) => unique(false),
            Ok(ConstrType::ConstrForeign) => match foreign_key(written) {
                Some(key) => Rule::ForeignKey(key),
                None => return self.unread.push(sql.to_owned()),
            },
            Ok(ConstrType::ConstrCheck) => match expression(sql, written) {
                Some(expression) => Rule::Check {
                    expression,
                    columns: columns_of(written),
                    no_inherit: written.is_no_inherit,
                },
                None => return self.unread.push(sql.to_owned()),
            },
            _ => return,
        };
        let could_be_off = matches!(rule, Rule::ForeignKey(_) | Rule::Check { .. });
        let standing = match (written.is_enforced || !could_be_off, written.skip_validation) {
            (false, _) => Standing::NotEnforced,
            (true, true) => Standing::NotValid,
            (true, false) => Standing::Enforced,
        };
        let name = Some(written.conname.clone()).filter(|name| !name.is_empty());
        self.found.push(Constraint { table: table.clone(), rule, name, condition: None, standing });
    }

    /// A unique index that is no constraint: over columns, perhaps of some rows only.
    fn index(&mut self, sql: &str, index: &IndexStmt) {
        let Some(table) = table_name(index.relation.as_ref()).filter(|_| index.unique) else { return };
        let column = |node: &Node| match node.node.as_ref()? {
            NodeEnum::IndexElem(element) => Some(element.name.clone()).filter(|name| !name.is_empty()),
            _ => None,
        };
        let Some(columns) = index.index_params.iter().map(column).collect::<Option<Vec<_>>>() else { return };
        let condition = match index.where_clause {
            Some(_) => match after_where(sql) {
                Some(condition) => Some(condition),
                None => return self.unread.push(sql.to_owned()),
            },
            None => None,
        };
        let rule = Rule::Unique { columns, primary: false, nulls_distinct: !index.nulls_not_distinct };
        let (name, standing) = (Some(index.idxname.clone()), Standing::Enforced);
        self.found.push(Constraint { table, rule, name, condition, standing });
    }

    fn sequence(&mut self, name: Option<&RangeVar>, options: &[Node]) {
        if let Some(name) = table_name(name) {
            self.counts(&name, options);
        }
    }

    fn counts(&mut self, sequence: &TableName, options: &[Node]) {
        let cycles = option(options, "cycle").and_then(|cycle| cycle.arg.as_ref()?.node.as_ref());
        let cycles = matches!(cycles, Some(NodeEnum::Boolean(cycles)) if cycles.boolval);
        let increment = option(options, "increment").and_then(|increment| number(increment.arg.as_ref()?));
        self.sequences.insert(sequence.clone(), (!cycles).then(|| increment.unwrap_or(1)));
    }

    fn finish(mut self) -> Structure {
        for (table, columns) in std::mem::take(&mut self.not_null) {
            let (rule, standing) = (Rule::NotNull(columns), Standing::Enforced);
            self.found.push(Constraint { table, rule, name: None, condition: None, standing });
        }
        for (table, column, sequence) in std::mem::take(&mut self.feeds) {
            let increment = self.sequences.get(&sequence).copied().flatten();
            let number = self.numbers.contains(&(table.clone(), column.clone()));
            if let Some(increment) = increment.filter(|_| number) {
                let rule = Rule::Sequence { column, sequence, increment };
                let standing = Standing::Enforced;
                self.found.push(Constraint { table, rule, name: None, condition: None, standing });
            }
        }
        let of_tables = self.found.iter().filter(|constraint| self.tables.contains(&constraint.table));
        let mut constraints: Vec<Constraint> = of_tables.filter_map(|one| self.own(one)).collect();
        constraints.sort();
        constraints.dedup();
        Structure { constraints, spread: self.spread, unread: self.unread }
    }

    /// What of a constraint is the table's own: the rest is asked of a parent, with the rows of its children.
    fn own(&self, constraint: &Constraint) -> Option<Constraint> {
        let mut own = constraint.clone();
        for parent in self.ancestors(&constraint.table) {
            for theirs in self.found.iter().filter(|other| other.table == parent) {
                let covered = match (&mut own.rule, &theirs.rule) {
                    (Rule::NotNull(columns), Rule::NotNull(theirs)) => {
                        columns.retain(|column| !theirs.contains(column));
                        columns.is_empty()
                    }
                    (_, Rule::NotNull(_) | Rule::Check { no_inherit: true, .. }) => false,
                    (rule, inherited @ (Rule::Check { .. } | Rule::Sequence { .. })) => rule == inherited,
                    // Keys are not inherited, but those of a partitioned table are all of its partitions'.
                    (rule, key) => {
                        self.spread.contains(&parent) && rule == key && own.condition == theirs.condition
                    }
                };
                if covered {
                    return None;
                }
            }
        }
        Some(own)
    }

    fn ancestors(&self, table: &TableName) -> Vec<TableName> {
        let mut found: Vec<TableName> = self.parents.get(table).cloned().unwrap_or_default();
        let mut at = 0;
        while let Some(parent) = found.get(at).cloned() {
            let further = self.parents.get(&parent).into_iter().flatten();
            let new: Vec<TableName> = further.filter(|one| !found.contains(one)).cloned().collect();
            found.extend(new);
            at += 1;
        }
        found
    }
}

fn table_name(written: Option<&RangeVar>) -> Option<TableName> {
    let written = written.filter(|name| !name.schemaname.is_empty())?;
    Some(TableName::new(written.schemaname.clone(), written.relname.clone()))
}

fn text(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(text) => Some(&text.sval),
        _ => None,
    }
}

fn as_constraint(node: &Node) -> Option<&Written> {
    match node.node.as_ref()? {
        NodeEnum::Constraint(constraint) => Some(constraint),
        _ => None,
    }
}

fn names(node: &Node) -> Option<Vec<String>> {
    match node.node.as_ref()? {
        NodeEnum::List(list) => list.items.iter().map(|item| text(item).map(str::to_owned)).collect(),
        _ => None,
    }
}

fn qualified(names: &[String]) -> Option<TableName> {
    match names {
        [schema, name] => Some(TableName::new(schema, name)),
        _ => None,
    }
}

fn option<'a>(options: &'a [Node], name: &str) -> Option<&'a DefElem> {
    options.iter().find_map(|node| match node.node.as_ref()? {
        NodeEnum::DefElem(option) if option.defname == name => Some(&**option),
        _ => None,
    })
}

fn number(node: &Node) -> Option<i64> {
    match node.node.as_ref()? {
        NodeEnum::Integer(number) => Some(number.ival.into()),
        // What does not fit into 32 bits.
        NodeEnum::Float(number) => number.fval.parse().ok(),
        _ => None,
    }
}

/// `OWNED BY schema.table.column`.
fn owner(options: &[Node]) -> Option<(TableName, String)> {
    let names = names(option(options, "owned_by")?.arg.as_ref()?)?;
    let (column, table) = names.split_last()?;
    Some((qualified(table)?, column.clone()))
}

/// The sequence of `nextval('schema.name'::regclass)`, perhaps cast to another type.
fn fed_by(default: &NodeEnum) -> Option<TableName> {
    match default {
        NodeEnum::TypeCast(cast) => fed_by(cast.arg.as_ref()?.node.as_ref()?),
        NodeEnum::FuncCall(call) if call.funcname.last().and_then(text) == Some("nextval") => {
            let mut argument = call.args.first()?.node.as_ref()?;
            if let NodeEnum::TypeCast(cast) = argument {
                argument = cast.arg.as_ref()?.node.as_ref()?;
            }
            let NodeEnum::AConst(constant) = argument else { return None };
            let Some(pg_query::protobuf::a_const::Val::Sval(name)) = &constant.val else { return None };
            // The name is quoted as in SQL; the grammar takes it apart.
            let parsed = pg_query::parse(&format!("TABLE {}", name.sval), 0).ok()?;
            let tables = parsed.protobuf.nodes().into_iter().filter_map(|(node, ..)| match node {
                pg_query::NodeRef::RangeVar(table) => table_name(Some(table)),
                _ => None,
            });
            tables.into_iter().next()
        }
        _ => None,
    }
}

fn foreign_key(written: &Written) -> Option<ForeignKey> {
    let names = |nodes: &[Node]| nodes.iter().filter_map(text).map(str::to_owned).collect::<Vec<_>>();
    let (columns, parent_columns) = (names(&written.fk_attrs), names(&written.pk_attrs));
    let parent = table_name(written.pktable.as_ref())?;
    let (full, period) = (written.fk_matchtype == "f", written.fk_with_period);
    let complete = !columns.is_empty() && columns.len() == parent_columns.len();
    complete.then_some(ForeignKey { columns, parent, parent_columns, full, period, comparisons: Vec::new() })
}

/// What stands in the parentheses of `CHECK (…)`: PostgreSQL's own text, which no printer of ours could better.
fn expression(sql: &str, written: &Written) -> Option<String> {
    let from = written.location;
    let tokens = ast::tokens(sql)?;
    let check = tokens.iter().position(|token| token.start >= from && token.token == Token::Check as i32)?;
    let opening = tokens.get(check + 1).filter(|token| token.token == Token::Ascii40 as i32)?;
    let mut depth = 0;
    let closing = tokens[check + 1..].iter().find(|token| {
        depth += i32::from(token.token == Token::Ascii40 as i32);
        depth -= i32::from(token.token == Token::Ascii41 as i32);
        depth == 0
    })?;
    let inside = sql.get(usize::try_from(opening.end).ok()?..usize::try_from(closing.start).ok()?)?;
    Some(inside.trim().to_owned())
}

fn columns_of(written: &Written) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    let tree = serde_json::to_value(&written.raw_expr).unwrap_or_default();
    ast::walk(&tree, &mut |name, fields| {
        let last = fields.get("fields").and_then(|fields| fields.as_array()?.last().and_then(ast::string));
        if let (true, Some(column)) = (name == "ColumnRef", last) {
            columns.push(column.to_owned());
        }
    });
    columns.sort();
    columns.dedup();
    columns
}

/// The condition of an index, which ends its statement.
fn after_where(sql: &str) -> Option<String> {
    let mut depth = 0;
    let mut condition = None;
    for token in ast::tokens(sql)? {
        depth += i32::from(token.token == Token::Ascii40 as i32);
        depth -= i32::from(token.token == Token::Ascii41 as i32);
        if depth == 0 && token.token == Token::Where as i32 {
            condition = sql.get(usize::try_from(token.end).ok()?..);
        }
    }
    condition.map(|text| text.trim().trim_end_matches(';').to_owned())
}

#[cfg(test)]
mod tests;
