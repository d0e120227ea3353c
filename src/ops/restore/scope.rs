//! [`Scope`]: which tables and which schema entries a request means, and what they are called in the target.

use std::collections::{BTreeMap, BTreeSet};

use super::preflight::Ground;
use super::timescale::{self, Replay};
use super::{Mode, RestoreRequest, RolesMode};
use crate::base::TableName;
use crate::catalog::Pattern;
use crate::catalog::ddl::{SchemaDump, SchemaEntry, Section};
use crate::manifest::{Manifest, SealedManifest, Table, TableKind};
use crate::ops::OpsError;
use crate::plan::ddl::{PostDataSchedule, Renames, Selection, pre_data, rename, roles};
use crate::plan::timescale::entries::parts;

/// What is restored.
pub(super) struct Scope {
    /// Tables whose rows are wanted, as indexes into `body.tables`.
    pub(super) tables: Vec<usize>,
    /// Entries wanted, under their new names; `None` for rows only.
    pub(super) schema: Option<SchemaDump>,
    /// What was asked to be renamed.
    pub(super) renames: Renames,
    /// Relations that got an own new name, those that follow a table included.
    relations: BTreeMap<TableName, TableName>,
    /// Roles that the entries name.
    pub(super) roles: BTreeSet<String>,
    /// Everything in the backup is wanted.
    pub(super) whole: bool,
    /// Sequences wanted, by their names in the backup.
    pub(super) sequences: BTreeSet<TableName>,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
    /// What of TimescaleDB comes back.
    pub(super) replay: Replay,
}

impl Scope {
    /// What a relation of the backup is called in the target.
    pub(super) fn relation(&self, name: &TableName) -> TableName {
        self.relations.get(name).cloned().unwrap_or_else(|| self.renames.target(name))
    }

    /// What a function of the backup is called in the target: it follows its schema.
    pub(super) fn routine(&self, name: &TableName) -> TableName {
        let schema = self.renames.schemas.get(&name.schema).unwrap_or(&name.schema);
        TableName::new(schema.clone(), name.name.clone())
    }

    /// Whether large objects are among what is restored.
    pub(super) fn large_objects(&self, manifest: &Manifest) -> bool {
        let kind = |index: &usize| manifest.body.tables.get(*index).map(|table| table.kind);
        self.tables.iter().any(|index| kind(index) == Some(TableKind::LargeObjects))
    }

    /// Extensions that will be made.
    pub(super) fn extensions(&self) -> impl Iterator<Item = &str> {
        let entries = self.schema.iter().flat_map(|dump| &dump.entries);
        entries.filter(|entry| entry.kind == "EXTENSION").map(|entry| entry.name.as_str())
    }

    /// The steps, for people.
    pub(super) fn plan(
        &self,
        request: &RestoreRequest<'_>,
        manifest: &Manifest,
        ground: &Ground,
    ) -> Vec<String> {
        let mut steps = Vec::new();
        if !ground.exists {
            steps.push(format!("create database {}", request.target.database));
        }
        if request.roles == RolesMode::Create {
            let missing = self.roles.iter().filter(|role| !ground.roles.contains(*role));
            steps.extend(missing.map(|role| format!("create role {role}")));
        }
        let parts = self.schema.as_ref().and_then(parts);
        let early = parts.as_ref().map(|parts| &parts.early).or(self.schema.as_ref());
        steps.extend(early.iter().flat_map(|dump| pre_data(dump)).map(SchemaEntry::label));
        steps.extend(self.replay.plan());
        if !request.schema_only {
            for table in self.tables.iter().filter_map(|index| manifest.body.tables.get(*index)) {
                let into = self.relation(table.load_through.as_ref().unwrap_or(&table.name));
                steps.push(format!("rows of {}: {} into {into}", table.name, table.rowset.rows));
            }
            steps.extend(self.sequences.iter().map(|name| format!("sequence {}", self.relation(name))));
        }
        for dump in early.into_iter().chain(parts.as_ref().map(|parts| &parts.late)) {
            let populated: Vec<TableName> =
                manifest.body.populated_views.iter().map(|view| self.relation(view)).collect();
            let schedule = PostDataSchedule::new(dump, &populated);
            steps.extend(schedule.jobs().iter().map(|job| job.label.clone()));
        }
        if !request.schema_only {
            steps.push("analyze".to_owned());
        }
        steps
    }
}

/// Patterns, and the ancestors through which a partition is meant with its parent.
struct Wishes<'a> {
    request: &'a RestoreRequest<'a>,
    parents: BTreeMap<TableName, TableName>,
}

impl Wishes<'_> {
    fn any_include(&self) -> bool {
        !self.request.tables.is_empty() || !self.request.schemas.is_empty()
    }

    fn ancestry<'b>(&'b self, table: &'b TableName) -> impl Iterator<Item = &'b TableName> {
        // Partitions cannot be nested so deep, whatever a damaged backup says.
        std::iter::successors(Some(table), |table| self.parents.get(*table)).take(64)
    }

    fn hits(&self, patterns: &[Pattern], table: &TableName) -> bool {
        self.ancestry(table).any(|table| patterns.iter().any(|pattern| pattern.matches(table)))
    }

    fn in_schemas(patterns: &[Pattern], schema: &str) -> bool {
        patterns.iter().any(|pattern| pattern.matches_schema(schema))
    }

    fn excluded(&self, table: &TableName) -> bool {
        self.hits(&self.request.exclude_tables, table)
            || Self::in_schemas(&self.request.exclude_schemas, &table.schema)
    }

    fn wants(&self, table: &TableName) -> bool {
        let included = !self.any_include()
            || self.hits(&self.request.tables, table)
            || Self::in_schemas(&self.request.schemas, &table.schema);
        included && !self.excluded(table)
    }

    fn wants_schema(&self, schema: &str) -> bool {
        let included = !self.any_include() || Self::in_schemas(&self.request.schemas, schema);
        included && !Self::in_schemas(&self.request.exclude_schemas, schema)
    }
}

/// Reads the schema entries and decides what of everything is meant.
pub(super) fn choose(
    request: &RestoreRequest<'_>,
    sealed: &SealedManifest,
    ground: &Ground,
) -> Result<Scope, OpsError> {
    let manifest = &sealed.manifest;
    let dump = read_schema(request, manifest)?;
    let wishes = Wishes { request, parents: parents(manifest, dump.as_ref()) };
    let known = relations(manifest, dump.as_ref());
    refuse_idle_patterns(request, &wishes, &known)?;
    let renames = renames(request, &known)?;
    let whole =
        !wishes.any_include() && request.exclude_tables.is_empty() && request.exclude_schemas.is_empty();
    let wanted = |table: &Table| match table.kind {
        TableKind::Table | TableKind::Hypertable | TableKind::ContinuousAggregate => {
            wishes.wants(&table.name)
        }
        TableKind::ExtensionConfiguration | TableKind::LargeObjects => whole && request.mode == Mode::Fail,
    };
    let tables = manifest.body.tables.iter().enumerate().filter(|(_, table)| wanted(table));
    let tables: Vec<usize> = match request.schema_only {
        true => Vec::new(),
        false => tables.map(|(index, _)| index).collect(),
    };
    let mut scope = Scope {
        tables,
        schema: None,
        relations: BTreeMap::new(),
        roles: BTreeSet::new(),
        whole,
        sequences: sequences(manifest, &wishes),
        warnings: Vec::new(),
        renames,
        replay: Replay::default(),
    };
    if request.mode != Mode::Fail && manifest.body.large_objects.as_ref().is_some_and(|l| l.count > 0) {
        scope
            .warnings
            .push("large objects are restored into an empty database only; they are left out".into());
    }
    if let (Some(dump), false) = (dump, request.data_only) {
        schema(request, manifest, dump, &wishes, ground, &mut scope);
    }
    let chunked =
        |index: &usize| manifest.body.tables.get(*index).is_some_and(|table| table.kind.is_chunked());
    if !request.slice.is_everything() && !scope.tables.iter().any(chunked) {
        let text = "--since and --until cut hypertables and continuous aggregates, and none is chosen; --where cuts others";
        return Err(OpsError::Usage(text.to_owned()));
    }
    timescale::rows(request, manifest, ground, &mut scope);
    Ok(scope)
}

fn read_schema(request: &RestoreRequest<'_>, manifest: &Manifest) -> Result<Option<SchemaDump>, OpsError> {
    let Some(object) = manifest.body.schema.and_then(|index| manifest.head.objects.get(index)) else {
        return Ok(None);
    };
    let bytes = request.vault.read_checked(&object.path, object.bytes, object.blake3)?;
    let dump = serde_json::from_slice(&bytes)
        .map_err(|error| OpsError::Restore(format!("{} cannot be read: {error}", object.path)))?;
    Ok(Some(dump))
}

/// Partition to parent, from the entries that attach them and from what the manifest says of roots.
fn parents(manifest: &Manifest, dump: Option<&SchemaDump>) -> BTreeMap<TableName, TableName> {
    let roots =
        manifest.body.tables.iter().filter_map(|table| Some((table.name.clone(), table.root.clone()?)));
    let mut parents: BTreeMap<TableName, TableName> = roots.filter(|(name, root)| name != root).collect();
    let Some(dump) = dump else { return parents };
    let entries: BTreeMap<i32, &SchemaEntry> = dump.entries.iter().map(|e| (e.dump_id, e)).collect();
    for attach in dump.entries.iter().filter(|entry| entry.kind == "TABLE ATTACH") {
        let child = TableName::new(attach.schema.clone().unwrap_or_default(), attach.name.clone());
        let others = attach.depends_on.iter().filter_map(|id| entries.get(id)?.relation());
        if let Some(parent) = others.into_iter().find(|name| *name != child) {
            parents.insert(child, parent);
        }
    }
    parents
}

fn relations(manifest: &Manifest, dump: Option<&SchemaDump>) -> BTreeSet<TableName> {
    let tables = manifest.body.tables.iter().map(|table| table.name.clone());
    tables.chain(dump.iter().flat_map(|dump| &dump.entries).filter_map(SchemaEntry::relation)).collect()
}

/// A pattern that means nothing is a typing error, and the wrong moment to guess.
fn refuse_idle_patterns(
    request: &RestoreRequest<'_>,
    wishes: &Wishes<'_>,
    known: &BTreeSet<TableName>,
) -> Result<(), OpsError> {
    let mut idle = Vec::new();
    let tables = request.tables.iter().chain(&request.exclude_tables).chain(&request.first);
    for pattern in tables.chain(request.where_.iter().map(|(pattern, _)| pattern)) {
        if !known.iter().any(|table| wishes.hits(std::slice::from_ref(pattern), table)) {
            idle.push(format!("no table of this backup answers to {pattern}"));
        }
    }
    for pattern in request.schemas.iter().chain(&request.exclude_schemas) {
        if !known.iter().any(|table| pattern.matches_schema(&table.schema)) {
            idle.push(format!("no schema of this backup answers to {pattern}"));
        }
    }
    match idle.as_slice() {
        [] => Ok(()),
        idle => Err(OpsError::Usage(idle.join("\n"))),
    }
}

fn renames(request: &RestoreRequest<'_>, known: &BTreeSet<TableName>) -> Result<Renames, OpsError> {
    for (old, _) in &request.map_schema {
        if !known.iter().any(|table| table.schema == *old) {
            return Err(OpsError::Usage(format!("this backup has no schema {old:?} to be mapped")));
        }
    }
    for (old, _) in &request.rename {
        if !known.contains(old) {
            return Err(OpsError::Usage(format!("this backup has no table {old} to be renamed")));
        }
    }
    Ok(Renames {
        schemas: request.map_schema.iter().cloned().collect(),
        tables: request.rename.iter().cloned().collect(),
    })
}

fn sequences(manifest: &Manifest, wishes: &Wishes<'_>) -> BTreeSet<TableName> {
    let sequences = manifest.body.sequences.iter();
    let wanted =
        sequences.filter(|sequence| wishes.wants(sequence.owned_by.as_ref().unwrap_or(&sequence.name)));
    wanted.map(|sequence| sequence.name.clone()).collect()
}

/// Chooses the entries, leaves out what names missing roles if that is wanted, and renames.
fn schema(
    request: &RestoreRequest<'_>,
    manifest: &Manifest,
    all: SchemaDump,
    wishes: &Wishes<'_>,
    ground: &Ground,
    scope: &mut Scope,
) {
    let mut chosen = match scope.whole && request.mode == Mode::Fail {
        true => all.clone(),
        false => selected(request, &all, wishes, ground, scope),
    };
    timescale::fit(request, manifest, ground, &all, &mut chosen, scope);
    let options = request.options();
    if request.roles == RolesMode::Skip {
        skip_roles(&mut chosen, &options, ground, &mut scope.warnings);
    }
    scope.roles = roles(&chosen.entries, &options);
    if scope.renames.is_empty() {
        timescale::parted(manifest, &all, &mut chosen, scope);
        scope.schema = Some(chosen);
        return;
    }
    let mut renamed = rename(&chosen, &scope.renames);
    scope.warnings.extend(renamed.warnings.iter().map(|warning| match &warning.mentions {
        Some(name) => format!("{} still mentions {name} in its body", warning.object),
        None => format!("{} could not be read, so names in it are the old ones", warning.object),
    }));
    scope.relations = renamed.relations;
    timescale::parted(manifest, &all, &mut renamed.dump, scope);
    scope.schema = Some(renamed.dump);
}

fn selected(
    request: &RestoreRequest<'_>,
    dump: &SchemaDump,
    wishes: &Wishes<'_>,
    ground: &Ground,
    scope: &mut Scope,
) -> SchemaDump {
    // A run that goes on must choose what it chose before it made any of it.
    if let Some(chosen) = &ground.chosen {
        let entries = dump.entries.iter().filter(|entry| chosen.contains(&entry.dump_id)).cloned().collect();
        return SchemaDump { entries, ..dump.clone() };
    }
    let adds = request.mode != Mode::Fail;
    let is_new = |table: &TableName| !adds || !ground.relations.contains(&scope.renames.target(table));
    let target_schema =
        |schema: &str| scope.renames.schemas.get(schema).map_or(schema, String::as_str).to_owned();
    let chosen = Selection {
        table: &|table| wishes.wants(table) && is_new(table),
        schema: &|schema| {
            wishes.wants_schema(schema) && (!adds || !ground.schemas.contains(&target_schema(schema)))
        },
    }
    .apply(dump);
    let mut kept: BTreeSet<i32> = chosen.dump.entries.iter().map(|entry| entry.dump_id).collect();
    if !wishes.any_include() && !adds {
        // Only what was excluded is left out; objects of no schema (extensions, publications) stay.
        let out = Selection {
            table: &|table| wishes.excluded(table),
            schema: &|schema| Wishes::in_schemas(&request.exclude_schemas, schema),
        };
        let out: BTreeSet<i32> = out.apply(dump).dump.entries.iter().map(|entry| entry.dump_id).collect();
        kept = dump.entries.iter().map(|entry| entry.dump_id).filter(|id| !out.contains(id)).collect();
    }
    needed(dump, &mut kept, adds);
    let mut out = BTreeSet::new();
    for (label, table) in chosen.foreign_keys_out {
        if !ground.tables.contains_key(&scope.renames.target(&table)) {
            scope.warnings.push(format!("{label} is left out: {table} is neither restored nor there"));
            out.insert(label);
        }
    }
    let wanted = |entry: &&SchemaEntry| {
        kept.contains(&entry.dump_id) && (out.is_empty() || !out.contains(&entry.label()))
    };
    let entries = dump.entries.iter().filter(wanted).cloned().collect();
    SchemaDump { entries, ..dump.clone() }
}

/// Adds what the chosen entries cannot be made without: schemas, types, extensions, functions; never other relations.
/// Where there is something already (`adds`), only schemas, which are made only if they are missing.
fn needed(dump: &SchemaDump, kept: &mut BTreeSet<i32>, adds: bool) {
    let entries: BTreeMap<i32, &SchemaEntry> = dump.entries.iter().map(|e| (e.dump_id, e)).collect();
    let schemas = dump.entries.iter().filter(|entry| entry.kind == "SCHEMA");
    let schemas: BTreeMap<&str, i32> = schemas.map(|entry| (&*entry.name, entry.dump_id)).collect();
    let schema_of = |entry: &SchemaEntry| schemas.get(entry.schema.as_deref()?).copied();
    let mut open: Vec<i32> = kept.iter().copied().collect();
    while let Some(entry) = open.pop().and_then(|id| entries.get(&id)) {
        let depends = entry.depends_on.iter().copied().filter(|id| {
            let Some(other) = entries.get(id) else { return false };
            let makes_rows = other.relation().is_some() && other.kind != "SEQUENCE";
            !makes_rows && other.section == Section::PreData && (!adds || other.kind == "SCHEMA")
        });
        for id in depends.chain(schema_of(entry)) {
            if kept.insert(id) {
                open.push(id);
            }
        }
    }
}

/// Takes out owners and entries that name roles the server lacks.
fn skip_roles(
    dump: &mut SchemaDump,
    options: &crate::plan::ddl::RestoreOptions,
    ground: &Ground,
    warnings: &mut Vec<String>,
) {
    let lacks = |role: &String| !ground.roles.contains(role);
    dump.entries.retain_mut(|entry| {
        if entry.owner.as_ref().is_some_and(lacks) {
            entry.owner = None;
        }
        let named = roles([&*entry], options);
        let missing: Vec<&String> = named.iter().filter(|role| lacks(role)).collect();
        if let Some(role) = missing.first() {
            warnings.push(format!("{} is left out: there is no role {role}", entry.label()));
        }
        missing.is_empty()
    });
}
