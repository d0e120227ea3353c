//! [`TypeBook`]: every type of a database, resolved on demand.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::PgError;
use super::survey::rows;
use crate::catalog::{PgType, StructAttribute, TextColumn, TypeKind};

/// How deep a type may nest before it is treated as opaque: far beyond anything made by hand, and an end to cycles.
const MAX_DEPTH: usize = 32;

struct Entry {
    schema: String,
    name: String,
    extension: Option<String>,
    typtype: char,
    element: u32,
    is_array: bool,
    base: u32,
    typmod: i32,
    dimensions: i32,
    binary: bool,
    bound: Option<u32>,
    multirange_bound: Option<u32>,
    output: String,
    casts_by_function: bool,
}

struct Attribute {
    name: String,
    type_oid: u32,
    typmod: i32,
    dimensions: i32,
}

/// All of pg_type, and the attributes of composite types.
pub(super) struct TypeBook {
    types: HashMap<u32, Entry>,
    attributes: HashMap<u32, Vec<Attribute>>,
}

impl TypeBook {
    /// Reads it.
    pub(super) async fn read(client: &Client) -> Result<Self, PgError> {
        let mut types = HashMap::new();
        for row in rows(client, "the types", include_str!("sql/types.sql")).await? {
            let entry = Entry {
                schema: row.get("nspname"),
                name: row.get("typname"),
                extension: row.get("extname"),
                typtype: row.get::<_, String>("typtype").chars().next().unwrap_or('p'),
                element: row.get("typelem"),
                is_array: row.get::<_, Option<bool>>("is_array").unwrap_or(false),
                base: row.get("typbasetype"),
                typmod: row.get("typtypmod"),
                dimensions: row.get("typndims"),
                binary: row.get("is_binary"),
                bound: row.get("rngsubtype"),
                multirange_bound: row.get("multirange_bound"),
                output: row.get("output"),
                casts_by_function: row.get("casts_by_function"),
            };
            types.insert(row.get("oid"), entry);
        }
        let mut attributes: HashMap<u32, Vec<Attribute>> = HashMap::new();
        for row in rows(client, "the composite types", include_str!("sql/attributes.sql")).await? {
            attributes.entry(row.get(0)).or_default().push(Attribute {
                name: row.get(1),
                type_oid: row.get(2),
                typmod: row.get(3),
                dimensions: row.get(4),
            });
        }
        Ok(Self { types, attributes })
    }

    /// A type with everything inside it.
    pub(super) fn resolve(&self, oid: u32) -> PgType {
        self.resolve_to(oid, 0)
    }

    fn resolve_to(&self, oid: u32, depth: usize) -> PgType {
        let Some(entry) = self.types.get(&oid).filter(|_| depth < MAX_DEPTH) else {
            return PgType {
                oid,
                schema: String::new(),
                name: format!("type {oid}"),
                extension: None,
                kind: TypeKind::Pseudo,
            };
        };
        let inner = |oid: u32| Box::new(self.resolve_to(oid, depth + 1));
        let kind = match entry.typtype {
            'b' if entry.is_array && entry.element != 0 => TypeKind::Array { element: inner(entry.element) },
            'b' => TypeKind::Base { binary: entry.binary },
            'd' => TypeKind::Domain {
                base: inner(entry.base),
                typmod: entry.typmod,
                dimensions: entry.dimensions,
            },
            'e' => TypeKind::Enum { labels: Vec::new() },
            'c' => TypeKind::Composite { attributes: self.attributes(oid, depth) },
            'r' => TypeKind::Range { bound: inner(entry.bound.unwrap_or(0)) },
            'm' => TypeKind::Multirange { bound: inner(entry.multirange_bound.unwrap_or(0)) },
            _ => TypeKind::Pseudo,
        };
        PgType {
            oid,
            schema: entry.schema.clone(),
            name: entry.name.clone(),
            extension: entry.extension.clone(),
            kind,
        }
    }

    fn attributes(&self, oid: u32, depth: usize) -> Vec<StructAttribute> {
        self.attributes
            .get(&oid)
            .into_iter()
            .flatten()
            .map(|attribute| StructAttribute {
                name: attribute.name.clone(),
                pg_type: self.resolve_to(attribute.type_oid, depth + 1),
                typmod: attribute.typmod,
                dimensions: attribute.dimensions,
            })
            .collect()
    }

    /// How the output function of a type is reached. A domain is cast through its base type, so that one decides.
    pub(super) fn text(&self, oid: u32) -> TextColumn {
        let mut at = oid;
        for _ in 0..MAX_DEPTH {
            match self.types.get(&at) {
                Some(entry) if entry.typtype == 'd' => at = entry.base,
                Some(entry) if entry.casts_by_function => return TextColumn::Function(entry.output.clone()),
                _ => break,
            }
        }
        TextColumn::Cast
    }
}
