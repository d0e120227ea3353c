//! The constraints that a server has, asked for in the form of the statements that a dump has for them.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use super::PgError;
use crate::base::TableName;
use crate::catalog::structure::{Rule, Structure};
use crate::catalog::{Relation, RelationKind};
use crate::plan::ddl::structure::structure;

/// The constraints of tables; those of extensions and what is stored for views are nobody's own.
pub(super) async fn read(client: &Client, relations: &[Relation]) -> Result<Structure, PgError> {
    let own = relations.iter().filter(|relation| {
        matches!(relation.kind, RelationKind::Table | RelationKind::Partitioned)
            && relation.extension.is_none()
            && relation.stored_in.is_none()
    });
    let oids: Vec<u32> = own.clone().map(|relation| relation.oid).collect();
    let hypertables: BTreeSet<TableName> =
        own.filter(|relation| relation.hypertable.is_some()).map(|relation| relation.name.clone()).collect();
    let failed = |error| PgError::query("reading the constraints", error);
    let rows = client.query(include_str!("sql/structure.sql"), &[&oids]).await.map_err(failed)?;
    let statements: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut found = structure(statements.iter().map(String::as_str), hypertables);
    for row in client.query(include_str!("sql/comparisons.sql"), &[&oids]).await.map_err(failed)? {
        let table = TableName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        let (name, comparisons) = (row.get::<_, String>(2), row.get::<_, Vec<Option<String>>>(3));
        let mut keys =
            found.constraints.iter_mut().filter(|one| one.table == table && one.name.as_ref() == Some(&name));
        if let (Some(Rule::ForeignKey(key)), true) =
            (keys.next().map(|one| &mut one.rule), comparisons.iter().any(Option::is_some))
        {
            key.comparisons = comparisons;
        }
    }
    Ok(found)
}
