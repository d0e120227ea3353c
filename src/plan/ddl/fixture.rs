//! Entries for tests: a real archive of a nasty schema, and single ones by hand.

use crate::catalog::ddl::{SchemaDump, SchemaEntry, Section};

pub(super) fn nasty() -> SchemaDump {
    crate::catalog::toc::parse(include_bytes!("../../../fixtures/nasty-schema.dump")).unwrap()
}

pub(super) fn entry(kind: &str, schema: Option<&str>, name: &str, definition: &str) -> SchemaEntry {
    SchemaEntry {
        dump_id: 1,
        catalog_id: None,
        kind: kind.into(),
        schema: schema.map(str::to_owned),
        name: name.into(),
        owner: None,
        section: Section::PreData,
        definition: definition.into(),
        drop: String::new(),
        tablespace: None,
        access_method: None,
        relkind: None,
        depends_on: Vec::new(),
    }
}
