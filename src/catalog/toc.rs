//! Reads the table of contents of a `pg_dump` custom-format archive into [`SchemaDump`].
//!
//! Knows which of the archive's entries are settings rather than objects. Does not know how the archive was made
//! (`pg::client_tools`) nor what to run for an entry (`plan::ddl`).

use libpgdump::format::custom::read_metadata;
use libpgdump::{Entry, Format};

use super::ddl::{CatalogId, SchemaDump, SchemaEntry, Section};

/// An archive's table of contents cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TocError {
    /// The bytes are not an archive of a version that is known (1.12 to 1.16, `pg_dump` 9 to 18), or end too early.
    #[error("pg_dump's output is not an archive that can be read")]
    Archive(#[from] libpgdump::Error),
    /// An archive, but of another format than `-Fc`.
    #[error("pg_dump's output is an archive of format {0}, not custom")]
    Format(String),
}

/// Reads an archive's table of contents. The rows in it, if any, are ignored.
pub fn parse(archive: &[u8]) -> Result<SchemaDump, TocError> {
    let contents = read_metadata(&mut &*archive)?;
    if contents.header.format != Format::Custom {
        return Err(TocError::Format(contents.header.format.to_string()));
    }
    let mut dump = SchemaDump {
        server_version: contents.server_version,
        tool_version: contents.dump_version,
        encoding: "UTF8".to_owned(),
        standard_conforming_strings: true,
        entries: Vec::with_capacity(contents.entries.len()),
    };
    for entry in contents.entries {
        let definition = entry.defn.as_deref().unwrap_or_default();
        match entry.desc.as_str() {
            "ENCODING" => {
                if let Some(encoding) = first_constant(definition) {
                    dump.encoding = encoding;
                }
            }
            "STDSTRINGS" => {
                dump.standard_conforming_strings = first_constant(definition).as_deref() != Some("off")
            }
            // Always empty: every definition names its schema.
            "SEARCHPATH" => {}
            _ => dump.entries.push(plain(entry)),
        }
    }
    Ok(dump)
}

/// `UTF8` of `SET client_encoding = 'UTF8';`.
fn first_constant(statement: &str) -> Option<String> {
    statement.split('\'').nth(1).map(str::to_owned)
}

fn plain(entry: Entry) -> SchemaEntry {
    let oid = |text: &str| text.parse::<u32>().unwrap_or(0);
    let id = CatalogId { table_oid: oid(&entry.table_oid), oid: oid(&entry.oid) };
    let named = |text: Option<String>| text.filter(|text| !text.is_empty());
    SchemaEntry {
        dump_id: entry.dump_id,
        catalog_id: (id.table_oid != 0 && id.oid != 0).then_some(id),
        kind: entry.desc.as_str().to_owned(),
        schema: named(entry.namespace),
        name: entry.tag.unwrap_or_default(),
        owner: named(entry.owner),
        section: match entry.section {
            libpgdump::Section::None => Section::None,
            libpgdump::Section::PreData => Section::PreData,
            libpgdump::Section::Data => Section::Data,
            libpgdump::Section::PostData => Section::PostData,
        },
        definition: entry.defn.unwrap_or_default(),
        drop: entry.drop_stmt.unwrap_or_default(),
        tablespace: entry.tablespace,
        access_method: named(entry.tableam),
        relkind: entry.relkind,
        depends_on: entry.dependencies,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_archive_are_refused() {
        assert!(matches!(parse(b"CREATE TABLE t ();\n"), Err(TocError::Archive(_))));
        assert!(parse(b"PGDMP\x01\x0e\x00\x04\x08\x01").is_err());
    }

    #[test]
    fn archives_of_every_supported_pg_dump_are_read() {
        let directory = tempfile::tempdir().unwrap();
        for version in ["14.0", "16.2", "17.1", "18.0"] {
            let mut made = libpgdump::new("db", "LATIN1", version).unwrap();
            let table = libpgdump::ObjectType::Table;
            let (definition, drop) = (Some("CREATE TABLE a.t ();\n"), Some("DROP TABLE a.t;\n"));
            made.add_entry(table, Some("a"), Some("t"), Some("desk"), definition, drop, None, &[]).unwrap();
            let path = directory.path().join("x.dump");
            made.save(&path).unwrap();
            let dump = parse(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!((dump.entries.len(), &*dump.encoding, &*dump.server_version), (1, "LATIN1", version));
            let entry = &dump.entries[0];
            assert_eq!((entry.owner.as_deref(), &*entry.drop), (Some("desk"), "DROP TABLE a.t;\n"));
        }
    }

    #[test]
    fn a_real_archive_keeps_identity_dependencies_and_storage() {
        let dump = parse(include_bytes!("../../fixtures/nasty-schema.dump")).unwrap();
        assert!(dump.server_version.starts_with("15.") && dump.standard_conforming_strings);
        let orders =
            dump.entries.iter().find(|entry| entry.kind == "TABLE" && entry.name == "orders").unwrap();
        assert_eq!(orders.catalog_id.map(|id| id.table_oid), Some(1259));
        assert_eq!((orders.access_method.as_deref(), orders.tablespace.as_deref()), (Some("heap"), Some("")));
        let side = dump.entries.iter().find(|entry| entry.name == "side").unwrap();
        assert!(orders.depends_on.contains(&side.dump_id));
        assert!(dump.entries.iter().any(|entry| entry.name.contains('\n')));
    }

    #[test]
    fn an_encoding_is_the_first_constant() {
        assert_eq!(first_constant("SET client_encoding = 'LATIN1';\n").as_deref(), Some("LATIN1"));
        assert_eq!(first_constant("SET client_encoding = x"), None);
    }
}
