//! [`BackupTable`]: one table of a backup (or a partitioned table with all its leaves) to DataFusion.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::StreamingTableExec;

use super::scan::{Files, partitions};
use crate::base::TableName;
use crate::codec::file::{ViewColumn, view_type};
use crate::manifest::{Manifest, Mapping, Table};

/// What a column of a table is to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Its name.
    pub name: String,
    /// Its type as SQL spells it.
    pub type_sql: String,
    /// How it is stored.
    pub mapping: Mapping,
    /// It is shown as text, because it has values that do not fit its natural type.
    pub as_text: bool,
}

/// Rows of one leaf: where its columns stand in the table's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Index into the manifest's tables.
    pub(super) table: usize,
    /// For each column of the table its place in the leaf.
    pub(super) places: Vec<usize>,
}

impl Carried {
    /// A query sees numbers of this column as text.
    pub fn is_text(&self) -> bool {
        self.as_text || self.mapping == Mapping::NumericText
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct BackupTable {
    files: Arc<Files>,
    leaves: Vec<Leaf>,
    columns: Vec<Carried>,
    schema: SchemaRef,
}

impl BackupTable {
    /// A table of `files` made of these tables of the manifest, of which there is at least one.
    fn of(files: &Arc<Files>, members: &[usize]) -> Self {
        let tables = &files.manifest.body.tables;
        let first = &tables[members[0]];
        let place = |table: &Table, name: &str| table.columns.iter().position(|column| column.name == name);
        let mut columns = Vec::new();
        for column in &first.columns {
            let others = || {
                members
                    .iter()
                    .map(|at| &tables[*at])
                    .filter_map(|table| Some(&table.columns[place(table, &column.name)?]))
            };
            // A column that some leaf has not cannot be a column of the partitioned table.
            if others().count() < members.len() {
                continue;
            }
            let natural = view_type(&column.mapping, false);
            let as_text =
                others().any(|other| other.exceptions > 0 || view_type(&other.mapping, false) != natural);
            columns.push(Carried {
                name: column.name.clone(),
                type_sql: column.type_sql.clone(),
                mapping: column.mapping.clone(),
                as_text,
            });
        }
        let leaves = members.iter().map(|at| Leaf {
            table: *at,
            places: columns.iter().filter_map(|column| place(&tables[*at], &column.name)).collect(),
        });
        let fields = columns
            .iter()
            .map(|column| Field::new(&column.name, view_type(&column.mapping, column.as_text), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { files: files.clone(), leaves: leaves.collect(), columns, schema }
    }

    /// Its columns.
    pub(super) fn columns(&self) -> &[Carried] {
        &self.columns
    }
}

/// Every table of a backup by its name, and every partitioned table with its leaves.
pub(super) fn tables(files: &Arc<Files>) -> BTreeMap<TableName, BackupTable> {
    let mut members: BTreeMap<TableName, Vec<usize>> = BTreeMap::new();
    let manifest: &Manifest = &files.manifest;
    for (index, table) in manifest.body.tables.iter().enumerate() {
        members.entry(table.name.clone()).or_default().push(index);
        if let Some(root) = &table.root {
            members.entry(root.clone()).or_default().push(index);
        }
    }
    members.into_iter().map(|(name, members)| (name, BackupTable::of(files, &members))).collect()
}

#[async_trait]
impl TableProvider for BackupTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let schema = Arc::new(self.schema.project(wanted)?);
        let view = |leaf: &Leaf| -> Vec<ViewColumn> {
            wanted
                .iter()
                .map(|at| ViewColumn { index: leaf.places[*at], as_text: self.columns[*at].as_text })
                .collect()
        };
        let leaves: Vec<(usize, Vec<ViewColumn>)> =
            self.leaves.iter().map(|leaf| (leaf.table, view(leaf))).collect();
        let width = state.config().target_partitions();
        let partitions = partitions(&self.files, leaves, &schema, width)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, [], false, limit)?))
    }
}

/// A mapping that a query sees as a decimal, and its scale.
pub(super) fn decimal_scale(column: &Carried) -> Option<u8> {
    match view_type(&column.mapping, false) {
        DataType::Decimal128(_, scale) => u8::try_from(scale).ok(),
        _ => None,
    }
}
