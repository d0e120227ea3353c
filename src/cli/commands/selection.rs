//! Patterns, conditions and `OLD=NEW` pairs from text, for every command that selects.

use crate::base::TableName;
use crate::catalog::Pattern;
use crate::cli::args::dump::TableArgs;
use crate::ops::OpsError;
use crate::plan::cluster::ClusterBy;
use crate::plan::selection::TableSelection;

/// `-t -T -n -N`.
pub(super) fn selection(args: &TableArgs) -> Result<TableSelection, OpsError> {
    Ok(TableSelection {
        tables: patterns(&args.tables)?,
        exclude_tables: patterns(&args.exclude_tables)?,
        schemas: patterns(&args.schemas)?,
        exclude_schemas: patterns(&args.exclude_schemas)?,
    })
}

/// All patterns, or the first that is none.
pub(super) fn patterns(texts: &[String]) -> Result<Vec<Pattern>, OpsError> {
    texts.iter().map(|text| pattern(text)).collect()
}

fn pattern(text: &str) -> Result<Pattern, OpsError> {
    Pattern::parse(text).map_err(|error| OpsError::Usage(error.to_string()))
}

/// `TABLE=SQL`: the first `=` outside double quotes divides, since SQL has more of them.
pub(super) fn conditions(texts: &[String]) -> Result<Vec<(Pattern, String)>, OpsError> {
    let split = |text: &String| {
        let (table, sql) = divide(text).filter(|(_, sql)| !sql.trim().is_empty()).ok_or_else(|| {
            OpsError::Usage(format!("--where {text:?} is not TABLE=SQL, as in --where 'orders=id > 100'"))
        })?;
        Ok((pattern(table.trim())?, sql.trim().to_owned()))
    };
    texts.iter().map(split).collect()
}

/// `TABLE=COLUMN[,COLUMN]`.
pub(super) fn columns(texts: &[String]) -> Result<ClusterBy, OpsError> {
    let split = |text: &String| {
        let (table, list) = divide(text).ok_or_else(|| {
            OpsError::Usage(format!(
                "--cluster-by {text:?} is not TABLE=COLUMN[,COLUMN], as in --cluster-by bars=symbol"
            ))
        })?;
        let columns = unquoted(list, ',').into_iter().map(name).collect::<Result<_, _>>()?;
        Ok((pattern(table.trim())?, columns))
    };
    texts.iter().map(split).collect()
}

/// `OLD=NEW` for schemas.
pub(super) fn schema_map(texts: &[String]) -> Result<Vec<(String, String)>, OpsError> {
    let split = |text: &String| {
        let (old, new) =
            divide(text).ok_or_else(|| OpsError::Usage(format!("--map-schema {text:?} is not OLD=NEW")))?;
        Ok((name(old)?, name(new)?))
    };
    texts.iter().map(split).collect()
}

/// `OLD=NEW` for tables; without a schema it is `public`, and NEW without one stays in the schema of OLD.
pub(super) fn renames(texts: &[String]) -> Result<Vec<(TableName, TableName)>, OpsError> {
    let split = |text: &String| {
        let (old, new) =
            divide(text).ok_or_else(|| OpsError::Usage(format!("--rename {text:?} is not OLD=NEW")))?;
        let old = table(old, "public")?;
        let new = table(new, &old.schema)?;
        Ok((old, new))
    };
    texts.iter().map(split).collect()
}

fn table(text: &str, default_schema: &str) -> Result<TableName, OpsError> {
    let mut quoted = false;
    let dot = text.char_indices().find(|(_, letter)| {
        quoted ^= *letter == '"';
        *letter == '.' && !quoted
    });
    Ok(match dot {
        Some((at, _)) => TableName::new(name(&text[..at])?, name(&text[at + 1..])?),
        None => TableName::new(default_schema, name(text)?),
    })
}

/// A name as SQL reads it: folded to lower case unless in double quotes.
fn name(text: &str) -> Result<String, OpsError> {
    let text = text.trim();
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let name = inner.map_or_else(|| text.to_lowercase(), |inner| inner.replace("\"\"", "\""));
    if name.is_empty() || (inner.is_none() && name.contains('"')) {
        return Err(OpsError::Usage(format!("{text:?} is not a name")));
    }
    Ok(name)
}

/// The parts between separators outside double quotes.
fn unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|letter: char| {
        quoted ^= letter == '"';
        letter == separator && !quoted
    })
    .collect()
}

fn divide(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let (at, _) = text.char_indices().find(|(_, letter)| {
        quoted ^= *letter == '"';
        *letter == '=' && !quoted
    })?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    #[test]
    fn the_first_equals_sign_outside_quotes_divides() {
        let all = conditions(&texts("public.\"a=b\" = x = '1'")).unwrap();
        assert_eq!((all[0].0.to_string().as_str(), all[0].1.as_str()), ("public.\"a=b\"", "x = '1'"));
        assert!(conditions(&texts("orders")).is_err());
        assert!(conditions(&texts("orders=")).is_err());
    }

    #[test]
    fn columns_to_cluster_by_are_names_as_sql_reads_them() {
        let all = columns(&texts("public.bars = Symbol, \"a,\"\"B\"")).unwrap();
        assert_eq!(
            (all[0].0.to_string().as_str(), all[0].1.join(" ").as_str()),
            ("public.bars", "symbol a,\"B")
        );
        for wrong in ["bars", "bars=", "bars=a,", "bars=a\"b"] {
            assert!(columns(&texts(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_renamed_table_stays_in_its_schema_unless_told_otherwise() {
        let pair = |text: &str| renames(&texts(text)).unwrap().remove(0);
        let name = |schema: &str, table: &str| TableName::new(schema, table);
        assert_eq!(pair("orders=Orders_Old"), (name("public", "orders"), name("public", "orders_old")));
        assert_eq!(pair("audit.log=log2"), (name("audit", "log"), name("audit", "log2")));
        assert_eq!(pair("\"a.b\".c=x.\"Y\""), (name("a.b", "c"), name("x", "Y")));
        assert!(renames(&texts("orders=")).is_err());
        assert_eq!(
            schema_map(&texts("Public=recovery")).unwrap(),
            [("public".to_owned(), "recovery".to_owned())]
        );
    }
}
