//! Names in a database without an encoding (`SQL_ASCII`): any bytes may stand there, and only UTF-8 can be kept.
//!
//! Values are carried as the bytes they are. Names end up in paths, in the manifest and in SQL, all of which are text; a
//! name that is none is refused, with all others like it, before anything is read.

use tokio_postgres::Client;

use super::PgError;

/// Everything with a byte above ASCII in its name, as bytes: `column public.orders.preis`.
const NAMES: &str = "SELECT pg_catalog.convert_to(what, 'SQL_ASCII') FROM ( \
       SELECT 'schema ' || nspname FROM pg_catalog.pg_namespace \
       UNION ALL SELECT 'relation ' || n.nspname || '.' || c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
       UNION ALL SELECT 'column ' || n.nspname || '.' || c.relname || '.' || a.attname \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE a.attnum > 0 AND NOT a.attisdropped \
       UNION ALL SELECT 'type ' || n.nspname || '.' || t.typname FROM pg_catalog.pg_type t \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typrelid = 0 AND t.typelem = 0 \
       UNION ALL SELECT 'enum label ' || t.typname || ' ' || e.enumlabel FROM pg_catalog.pg_enum e \
         JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid \
       UNION ALL SELECT 'constraint ' || conname FROM pg_catalog.pg_constraint \
       UNION ALL SELECT 'trigger ' || tgname FROM pg_catalog.pg_trigger \
       UNION ALL SELECT 'role ' || rolname FROM pg_catalog.pg_roles \
     ) names (what) WHERE what ~ '[^\\x01-\\x7f]' ORDER BY what";

/// Refuses a database that has names which are no text. Asked only where the server knows no encoding.
pub(super) async fn refuse_foreign(client: &Client, target: &str) -> Result<(), PgError> {
    let doing = |error| PgError::query("reading the names of a SQL_ASCII database", error);
    let rows = client.query(NAMES, &[]).await.map_err(doing)?;
    let mut names: Vec<String> = rows
        .iter()
        .map(|row| row.get::<_, Vec<u8>>(0))
        .filter(|name| std::str::from_utf8(name).is_err())
        .map(|name| name.escape_ascii().to_string())
        .collect();
    names.dedup();
    if names.is_empty() { Ok(()) } else { Err(PgError::Names { target: target.to_owned(), names }) }
}
