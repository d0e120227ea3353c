//! The manifest: the JSON document that makes a backup exist, and the rules by which it is written, hashed and believed.

mod consistency;
mod document;
mod mapping;
mod numbers;
mod seal;

pub use document::{
    Body, ChunkUnit, Clustered, Head, LateRead, Link, Manifest, Omission, Piece, RowGroup, RowsetAlgorithm,
    SelectionRecord, Sidecar, Snapshot, StoredObject, Table, TableColumn, TableKind, Tool, Unit, Warning,
};
pub use mapping::{FIRST_UNSTABLE_OID, Mapping, StructField, canonical_oid};
pub use seal::{
    FORMAT, MAX_BYTES, ManifestError, ROWSET_ALG, SealedManifest, TIMESCALE, canonical, strict_json,
};
