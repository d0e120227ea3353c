//! [`Session`]: SQL on one backup, and on others of the same vault by `as_of`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use datafusion::catalog::{CatalogProvider, TableFunctionArgs};
use datafusion::catalog::{MemoryCatalogProvider, MemorySchemaProvider, TableFunctionImpl, TableProvider};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::MemTable;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures_util::TryStreamExt as _;

use super::QueryError;
use super::functions::functions;
use super::scan::{Failure, Files};
use super::table::{BackupTable, Carried, decimal_scale, tables};
use super::text::text;
use crate::base::{TableName, Timestamp, quote_ident};
use crate::manifest::Manifest;
use crate::store::{BackupChoice, Vault};

/// What sorting and grouping may take before they go on in temporary files.
const MEMORY: usize = 2 << 30;

/// An answer as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Option<String>>>,
}

/// SQL on a backup.
pub struct Session {
    context: SessionContext,
    catalog: Arc<MemoryCatalogProvider>,
    failure: Failure,
    tables: BTreeMap<TableName, Added>,
}

struct Added {
    prefix: String,
    table: Arc<BackupTable>,
}

impl Session {
    /// Of DataFusion.
    pub const VERSION: &str = datafusion::DATAFUSION_VERSION;

    /// Opens a backup: its tables by their names, `public` found without naming it.
    pub fn open(vault: &Vault, manifest: Manifest) -> Result<Self, QueryError> {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema("backup", "public")
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        config.options_mut().execution.time_zone = Some("+00:00".to_owned());
        let pool = Arc::new(FairSpillPool::new(MEMORY));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(refused)?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        let catalog = Arc::new(MemoryCatalogProvider::new());
        catalog.register_schema("public", Arc::new(MemorySchemaProvider::new())).map_err(refused)?;
        context.register_catalog("backup", catalog.clone());
        for function in functions() {
            context.register_udf(function);
        }
        let failure = Failure::default();
        context.register_udtf("as_of", Arc::new(AsOf { vault: vault.clone(), failure: failure.clone() }));
        let mut session = Self { context, catalog, failure, tables: BTreeMap::new() };
        session.add("", vault, manifest)?;
        Ok(session)
    }

    /// Adds the tables of a backup, their schemas' names after `prefix`.
    pub fn add(&mut self, prefix: &str, vault: &Vault, manifest: Manifest) -> Result<(), QueryError> {
        let files = Arc::new(Files::new(vault.clone(), manifest, &self.failure));
        for (name, table) in tables(&files) {
            let name = TableName::new(format!("{prefix}{}", name.schema), name.name);
            let table = Arc::new(table);
            if self.catalog.schema(&name.schema).is_none() {
                self.catalog
                    .register_schema(&name.schema, Arc::new(MemorySchemaProvider::new()))
                    .map_err(refused)?;
            }
            if let Some(schema) = self.catalog.schema(&name.schema) {
                schema.register_table(name.name.clone(), table.clone()).map_err(refused)?;
            }
            self.tables.insert(name, Added { prefix: prefix.to_owned(), table });
        }
        Ok(())
    }

    /// Adds a table of times that no backup has.
    pub fn add_times(
        &self,
        schema: &str,
        name: &str,
        columns: &[&str],
        rows: impl Iterator<Item = Vec<Option<Timestamp>>>,
    ) -> Result<(), QueryError> {
        let mut times = vec![Vec::new(); columns.len()];
        for row in rows {
            for (column, time) in times.iter_mut().zip(row) {
                column.push(time.map(Timestamp::unix_micros));
            }
        }
        let instants =
            |times| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) };
        let arrays = columns.iter().zip(times).map(|(name, times)| (*name, instants(times), true));
        let batch =
            RecordBatch::try_from_iter_with_nullable(arrays).map_err(|error| refused(error.into()))?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(refused)?;
        let provider = Arc::new(MemorySchemaProvider::new());
        let known = self.catalog.schema(schema);
        if known.is_none() {
            self.catalog.register_schema(schema, provider.clone()).map_err(refused)?;
        }
        known.unwrap_or(provider).register_table(name.to_owned(), Arc::new(table)).map_err(refused)?;
        Ok(())
    }

    /// The tables that were added under this prefix, by the names that they have in their backup.
    pub fn tables_under(&self, prefix: &str) -> impl Iterator<Item = (TableName, &[Carried])> {
        self.tables.iter().filter_map(move |(name, table)| {
            (table.prefix == prefix).then_some(())?;
            Some((TableName::new(name.schema.strip_prefix(prefix)?, &name.name), table.table.columns()))
        })
    }

    /// All columns of all tables.
    pub fn columns(&self) -> impl Iterator<Item = (&TableName, &Carried)> {
        self.tables
            .iter()
            .flat_map(|(name, added)| added.table.columns().iter().map(move |column| (name, column)))
    }

    /// How many digits after the point a column's numbers have: those of its type, or of the longest of its values.
    pub async fn scale(&self, table: &TableName, column: &str) -> Result<u8, QueryError> {
        let found = self
            .tables
            .get(table)
            .and_then(|added| added.table.columns().iter().find(|one| one.name == column));
        if let Some(scale) = found.filter(|column| !column.as_text).and_then(decimal_scale) {
            return Ok(scale);
        }
        let sql = format!(
            "SELECT max({}({})) FROM {}",
            crate::checks::datafusion::DECIMALS,
            quote_ident(column),
            table.sql()
        );
        let answer = self.ask(&sql).await?;
        let digits = answer.rows.first().and_then(|row| row.first()?.as_ref()?.parse().ok());
        Ok(digits.unwrap_or(0))
    }

    /// All values of an expression over a table, but NULL; none if they are many.
    pub async fn few_values(
        &self,
        table: &TableName,
        expression: &str,
    ) -> Result<Option<BTreeSet<String>>, QueryError> {
        const FEW: usize = 100;
        let sql = format!("SELECT DISTINCT {expression} FROM {} LIMIT {}", table.sql(), FEW + 1);
        let rows = self.ask(&sql).await?.rows;
        Ok((rows.len() <= FEW).then(|| rows.into_iter().flatten().flatten().collect()))
    }

    /// The rows of a query, as they come.
    pub async fn stream(&self, sql: &str) -> Result<SendableRecordBatchStream, QueryError> {
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
        // Whatever failed before belongs to an older question.
        self.failure.take();
        let frame = self.context.sql_with_options(sql, options).await.map_err(|error| self.why(error))?;
        frame.execute_stream().await.map_err(|error| self.why(error))
    }

    /// Why a query or its stream failed: what our own code said of the backup, else what DataFusion says.
    pub fn why(&self, error: DataFusionError) -> QueryError {
        self.failure.take().unwrap_or_else(|| refused(error))
    }

    /// All rows of a query, as text.
    pub async fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        let mut stream = self.stream(sql).await?;
        let mut answer = Answer { columns: names(&stream.schema()), rows: Vec::new() };
        while let Some(batch) = stream.try_next().await.map_err(|error| self.why(error))? {
            answer.rows.extend(rows(&batch)?);
        }
        Ok(answer)
    }
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// The rows of a batch as text.
pub fn rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, QueryError> {
    let cells = |row| batch.columns().iter().map(move |column| text(column, row)).collect::<Result<_, _>>();
    (0..batch.num_rows()).map(cells).collect::<Result<_, _>>().map_err(refused)
}

/// What DataFusion says; but what our own code said of a table while the query was planned is passed on as it was.
pub fn refused(error: DataFusionError) -> QueryError {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<QueryError>() {
            Ok(own) => *own,
            Err(other) => QueryError::Refused(other.to_string()),
        },
        DataFusionError::Context(_, inner) => refused(*inner),
        other => QueryError::Refused(other.strip_backtrace()),
    }
}

/// `as_of('orders', '20261120')`: a table as another backup of this vault has it.
struct AsOf {
    vault: Vault,
    failure: Failure,
}

impl fmt::Debug for AsOf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "as_of({})", self.vault.id())
    }
}

impl AsOf {
    fn table(&self, table: &str, backup: &str) -> Result<Arc<dyn TableProvider>, QueryError> {
        let sealed = BackupChoice::named(backup).find(&self.vault)?;
        let files = Arc::new(Files::new(self.vault.clone(), sealed.manifest, &self.failure));
        let is =
            |name: &TableName| name.to_string() == table || (name.schema == "public" && name.name == table);
        let found = tables(&files).into_iter().find(|(name, _)| is(name));
        match found {
            Some((_, table)) => Ok(Arc::new(table)),
            None => {
                Err(QueryError::Refused(format!("backup {} has no table {table}", files.manifest.head.id)))
            }
        }
    }
}

impl TableFunctionImpl for AsOf {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        let text = |expression: &Expr| match expression {
            Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text.clone()),
            _ => None,
        };
        let words: Vec<Option<String>> = args.exprs().iter().map(text).collect();
        let [Some(table), Some(backup)] = words.as_slice() else {
            let what = "as_of takes a table and a backup: as_of('public.orders', '20261120')";
            return Err(DataFusionError::Plan(what.to_owned()));
        };
        self.table(table, backup).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
