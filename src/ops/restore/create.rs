//! `--create` and `--roles create`: what must exist before a database can be restored into.

use super::preflight::Ground;
use super::scope::Scope;
use super::{RestoreRequest, RolesMode};
use crate::base::{quote_ident, quote_literal};
use crate::catalog::SourceFacts;
use crate::manifest::Manifest;
use crate::ops::OpsError;
use crate::pg::{PgError, Target};

/// Makes the roles that are missing, where that was asked for.
pub(super) async fn roles(
    request: &RestoreRequest<'_>,
    scope: &Scope,
    ground: &Ground,
    target: &Target,
) -> Result<Vec<String>, OpsError> {
    let mut made = Vec::new();
    if request.roles != RolesMode::Create {
        return Ok(made);
    }
    for role in scope.roles.iter().filter(|role| !ground.roles.contains(*role)) {
        let sql = format!("CREATE ROLE {}", quote_ident(role));
        let doing = format!("making the role {role}");
        target.client().batch_execute(&sql).await.map_err(|error| PgError::query(doing, error))?;
        made.push(format!("role {role}"));
    }
    Ok(made)
}

/// Makes the database as the source was made, and connects to it.
pub(super) async fn database(
    request: &RestoreRequest<'_>,
    manifest: &Manifest,
    maintenance: &Target,
    warnings: &mut Vec<String>,
) -> Result<Target, OpsError> {
    let source = &manifest.body.source;
    let name = &request.target.database;
    let sql = create_statement(name, source, maintenance.facts().server_version_num);
    let client = maintenance.client();
    client.batch_execute(&sql).await.map_err(|error| PgError::query("CREATE DATABASE", error))?;
    let mut statements = Vec::new();
    if request.owners {
        statements.push(format!(
            "ALTER DATABASE {} OWNER TO {}",
            quote_ident(name),
            quote_ident(&source.owner)
        ));
    }
    let wanted =
        |sql: &&String| request.privileges || !(sql.starts_with("GRANT") || sql.starts_with("REVOKE"));
    statements.extend(
        source
            .database_statements
            .iter()
            .filter(wanted)
            .map(|sql| sql.replace("{database}", &quote_ident(name))),
    );
    for sql in statements {
        // The database is there; that it lacks a setting is worth a warning, not an end.
        if let Err(error) = client.batch_execute(&sql).await {
            let message = error.as_db_error().map_or_else(|| error.to_string(), |e| e.message().to_owned());
            warnings.push(format!("{sql}: {message}"));
        }
    }
    Ok(Target::connect(&request.target).await?)
}

fn create_statement(name: &str, source: &SourceFacts, version: u32) -> String {
    let literal = |text: &str| quote_literal(text).trim_start().to_owned();
    let mut sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        quote_ident(name),
        literal(&source.encoding),
        literal(&source.collate),
        literal(&source.ctype),
    );
    let locale = source.locale.as_deref().map(literal);
    match (source.locale_provider, locale) {
        ('i', Some(locale)) if version >= 150_000 => {
            sql.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}"));
        }
        ('b', Some(locale)) if version >= 170_000 => {
            sql.push_str(&format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"));
        }
        // Version 14 knows one provider and not the word for it.
        _ if version >= 150_000 => sql.push_str(" LOCALE_PROVIDER libc"),
        _ => {}
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(provider: char) -> SourceFacts {
        serde_json::from_value(serde_json::json!({
            "system_identifier": null, "server_version_num": 170_000, "server_version": "17", "database": "d",
            "database_oid": 5, "encoding": "UTF8", "collate": "C", "ctype": "C", "locale_provider": provider,
            "locale": "und", "owner": "o", "in_recovery": false, "role": "r", "superuser": false,
            "extensions": [], "lc_monetary": "C", "money_fraction": 2, "database_statements": [],
        }))
        .unwrap()
    }

    #[test]
    fn a_database_is_made_with_the_locale_provider_of_its_source() {
        let icu = create_statement("a\"b", &source('i'), 150_000);
        assert!(icu.starts_with("CREATE DATABASE \"a\"\"b\" TEMPLATE template0 ENCODING 'UTF8'"), "{icu}");
        assert!(icu.ends_with("LOCALE_PROVIDER icu ICU_LOCALE 'und'"), "{icu}");
        assert!(create_statement("d", &source('b'), 170_000).ends_with("BUILTIN_LOCALE 'und'"));
        assert!(!create_statement("d", &source('c'), 140_000).contains("PROVIDER"));
    }
}
