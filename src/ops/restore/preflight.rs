//! Everything that can be known to go wrong, looked at before the first statement and said all at once.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use super::{Mode, RestoreRequest, RolesMode, TimescaleMode};
use crate::base::TableName;
use crate::manifest::{Manifest, SealedManifest, TableKind};
use crate::ops::OpsError;
use crate::pg::{EnabledTrigger, ForeignKey, NoOffer, Offer, PgError, Target, TargetFacts, TargetTable};
use crate::pipeline::journal::RestoreJournal;

/// What the target has, and its server offers.
pub(super) struct Ground {
    /// The database is there (it is not yet, with `--create`).
    pub(super) exists: bool,
    pub(super) facts: TargetFacts,
    /// An interrupted run of this very restore is to be gone on with.
    pub(super) resumed: bool,
    /// Which entries that run chose, by `dump_id`.
    pub(super) chosen: Option<BTreeSet<i32>>,
    pub(super) roles: BTreeSet<String>,
    pub(super) extensions: BTreeSet<String>,
    pub(super) schemas: BTreeSet<String>,
    pub(super) relations: BTreeSet<TableName>,
    pub(super) tables: BTreeMap<TableName, TargetTable>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    pub(super) large_objects: bool,
    /// What it offers of TimescaleDB; absent where nobody needs to know.
    pub(super) timescale: Option<Result<Offer, NoOffer>>,
    /// Triggers that would have to be switched off while rows come in, where hypertables are there.
    pub(super) triggers: Vec<EnabledTrigger>,
}

impl Ground {
    async fn survey(target: &Target) -> Result<Self, PgError> {
        Ok(Self {
            exists: true,
            facts: target.facts().clone(),
            resumed: false,
            chosen: None,
            roles: target.roles().await?,
            extensions: target.available_extensions().await?,
            schemas: target.schemas().await?,
            relations: target.relations().await?,
            tables: target.tables().await?,
            foreign_keys: target.foreign_keys().await?,
            large_objects: target.has_large_objects().await?,
            timescale: None,
            triggers: Vec::new(),
        })
    }

    /// What a database made from `template0` on the same server has.
    fn fresh(self) -> Self {
        Self {
            exists: false,
            schemas: ["public", "pg_catalog", "information_schema"].map(str::to_owned).into(),
            relations: BTreeSet::new(),
            tables: BTreeMap::new(),
            foreign_keys: Vec::new(),
            large_objects: false,
            ..self
        }
    }
}

/// Connects to the target, or with `--create` to another database of its server, and refuses what must not be touched.
pub(super) async fn ground(
    request: &RestoreRequest<'_>,
    sealed: &SealedManifest,
    fingerprint: &str,
) -> Result<(Ground, Target), OpsError> {
    let wanted = &request.target.database;
    if request.create {
        let maintenance = maintenance(request).await?;
        if !maintenance.databases().await?.contains(wanted) {
            let mut ground = Ground::survey(&maintenance).await?.fresh();
            if needs_offer(request, &sealed.manifest) {
                ground.timescale = Some(maintenance.timescale_of_new(!request.dry_run).await?);
            }
            return Ok((ground, maintenance));
        }
    }
    let target = Target::connect(&request.target).await?;
    refuse_source(request, &sealed.manifest, target.facts())?;
    // Before the first look: sessions of a restore that was killed may still be committing what it began.
    if !request.dry_run {
        RestoreJournal::lock(target.client()).await?;
    }
    let id = &sealed.manifest.head.id;
    let journal = RestoreJournal::find(target.client(), id, fingerprint).await?;
    if request.create && journal.is_none() {
        return Err(OpsError::Usage(format!("the database {wanted} exists already; leave out --create")));
    }
    let mut ground = Ground::survey(&target).await?;
    if needs_offer(request, &sealed.manifest) {
        ground.timescale = Some(target.timescale().await?);
        if request.fills_existing() && !request.triggers {
            ground.triggers = target.enabled_triggers().await?;
        }
    }
    ground.resumed = journal.is_some();
    ground.chosen = journal.and_then(|journal| journal.chosen());
    Ok((ground, target))
}

fn needs_offer(request: &RestoreRequest<'_>, manifest: &Manifest) -> bool {
    manifest.body.timescale.is_some() && request.timescale != TimescaleMode::Plain
}

async fn maintenance(request: &RestoreRequest<'_>) -> Result<Target, PgError> {
    match Target::connect(&request.target.with_database("postgres")).await {
        Err(error) if error.code().is_some_and(|code| code.code() == "3D000" || code.code() == "42501") => {
            Target::connect(&request.target.with_database("template1")).await
        }
        other => other,
    }
}

fn refuse_source(
    request: &RestoreRequest<'_>,
    manifest: &Manifest,
    facts: &TargetFacts,
) -> Result<(), OpsError> {
    let source = &manifest.body.source;
    let same_server =
        source.system_identifier.is_some() && source.system_identifier == facts.system_identifier;
    let same_database = source.database == facts.database || source.database_oid == facts.database_oid;
    if !same_server || !same_database || request.yes_overwrite_source {
        return Ok(());
    }
    Err(OpsError::Usage(format!(
        "{} looks like the very database that this backup came from: same system identifier, and the same database \
         name or OID. Physical copies of a cluster share its identifier; if this is one, or if it is meant, say \
         --yes-overwrite-source",
        facts.database
    )))
}

/// Stops with everything that stands in the way.
pub(super) fn check(
    request: &RestoreRequest<'_>,
    sealed: &SealedManifest,
    scope: &Scope,
    ground: &Ground,
) -> Result<(), OpsError> {
    if ground.facts.server_version_num < 140_000 {
        return Err(OpsError::Usage("the target server is older than PostgreSQL 14".to_owned()));
    }
    let mut problems = Vec::new();
    let occupied = occupied(request, sealed, scope, ground);
    if !request.fills_existing() && !ground.resumed && !occupied.is_empty() {
        let some: Vec<String> = occupied.iter().take(5).map(ToString::to_string).collect();
        problems.push(format!(
            "the target is not empty ({} relations: {}{}); --mode append, only-missing or replace say what to do \
             with that",
            occupied.len(),
            some.join(", "),
            if occupied.len() > 5 { ", …" } else { "" }
        ));
    }
    problems.extend(halved_trees(request, &sealed.manifest, scope));
    if !request.fills_existing()
        && !ground.resumed
        && ground.large_objects
        && scope.large_objects(&sealed.manifest)
    {
        problems.push("the target has large objects, whose numbers the backup's may need".to_owned());
    }
    let missing: Vec<&str> = scope.extensions().filter(|name| !ground.extensions.contains(*name)).collect();
    if !missing.is_empty() {
        problems.push(format!("the server does not offer the extensions {}", missing.join(", ")));
    }
    let missing: Vec<&str> =
        scope.roles.iter().map(String::as_str).filter(|role| !ground.roles.contains(*role)).collect();
    if request.roles == RolesMode::Require && !missing.is_empty() {
        problems.push(format!(
            "the server lacks the roles {}; make them, or say --roles create or skip",
            missing.join(", ")
        ));
    }
    problems.extend(scope.replay.problems.iter().cloned());
    if !request.schema_only && !ground.resumed {
        existing_tables(request, &sealed.manifest, scope, ground, &mut problems);
    }
    match problems.as_slice() {
        [] => Ok(()),
        problems => Err(OpsError::Usage(problems.join("\n"))),
    }
}

/// What is in the way. Under new names only those names have to be free: to stand beside the original is what they are for.
fn occupied<'a>(
    request: &RestoreRequest<'_>,
    sealed: &SealedManifest,
    scope: &Scope,
    ground: &'a Ground,
) -> Vec<&'a TableName> {
    if request.map_schema.is_empty() && request.rename.is_empty() {
        return ground.relations.iter().collect();
    }
    let tables = scope.tables.iter().filter_map(|index| sealed.manifest.body.tables.get(*index));
    let wanted: BTreeSet<TableName> = tables.map(|table| scope.relation(&table.name)).collect();
    ground.relations.iter().filter(|name| wanted.contains(*name)).collect()
}

/// `replace` empties a hash-partitioned tree as a whole, so that only whole trees may be asked for: another server puts
/// the rows of one leaf into others, and emptying the tree for one leaf would lose the rest.
fn halved_trees(request: &RestoreRequest<'_>, manifest: &Manifest, scope: &Scope) -> Vec<String> {
    if request.mode != Mode::Replace {
        return Vec::new();
    }
    let chosen: BTreeSet<usize> = scope.tables.iter().copied().collect();
    let leaves = |wanted: bool| -> BTreeSet<&TableName> {
        let all = manifest.body.tables.iter().enumerate();
        all.filter(|(index, _)| chosen.contains(index) == wanted)
            .filter_map(|(_, t)| t.load_through.as_ref())
            .collect()
    };
    let halved = leaves(true).intersection(&leaves(false)).map(|name| name.to_string()).collect::<Vec<_>>();
    halved.into_iter().map(|name| format!("--mode replace needs all partitions of {name}, or none")).collect()
}

/// Tables that are there must be able to take the rows; those that are not must be about to be made.
fn existing_tables(
    request: &RestoreRequest<'_>,
    manifest: &Manifest,
    scope: &Scope,
    ground: &Ground,
    problems: &mut Vec<String>,
) {
    for table in scope.tables.iter().filter_map(|index| manifest.body.tables.get(*index)) {
        let extension_or_object =
            matches!(table.kind, TableKind::ExtensionConfiguration | TableKind::LargeObjects);
        if extension_or_object || scope.replay.loads_later(table) {
            continue;
        }
        let name = scope.relation(table.load_through.as_ref().unwrap_or(&table.name));
        let Some(there) = ground.tables.get(&name) else {
            if scope.schema.is_none() {
                problems.push(format!("the target has no table {name}"));
            }
            continue;
        };
        for column in table.columns.iter().filter(|column| !column.derived) {
            match there.columns.iter().find(|found| found.name == column.name) {
                None => problems.push(format!("{name} has no column {:?}", column.name)),
                Some(found) if found.generated => {
                    problems
                        .push(format!("{name}: the column {:?} is generated and takes no rows", found.name));
                }
                // Binary rows of another type are refused at best; at worst a numeric is rounded without a word.
                Some(found) if found.type_sql != column.type_sql && scope.renames.is_empty() => {
                    problems.push(format!(
                        "{name}: the column {:?} is {}, in the backup {}",
                        found.name, found.type_sql, column.type_sql
                    ));
                }
                Some(_) => {}
            }
        }
        if request.mode == Mode::OnlyMissing && there.primary_key.is_empty() {
            problems.push(format!("{name} has no primary key, so nobody can tell which rows are missing"));
        }
        if let Some(Ok(offer)) = &ground.timescale
            && offer.hypertables.contains(&name)
        {
            let triggers = ground.triggers.iter().filter(|trigger| trigger.table == name);
            problems.extend(triggers.map(|trigger| {
                format!(
                    "{name} is a hypertable, whose triggers cannot be switched off while rows come in ({}): drop them \
                     and make them again afterwards, or say --triggers to let them fire",
                    trigger.disable
                )
            }));
        }
        if request.mode == Mode::Replace {
            let keys = ground.foreign_keys.iter().filter(|key| key.cascades && key.references == name);
            problems.extend(keys.map(|key| {
                format!(
                    "deleting rows of {name} would change rows of {} (foreign key {})",
                    key.table, key.name
                )
            }));
        }
    }
}

/// What may go wrong, and need not.
pub(super) fn warnings(sealed: &SealedManifest, ground: &Ground) -> Vec<String> {
    let source = &sealed.manifest.body.source;
    let mut warnings = Vec::new();
    if ground.facts.server_version_num / 10_000 < source.server_version_num / 10_000 {
        warnings.push(
            "the target server is older than the source was; parts of the schema may not exist there".into(),
        );
    }
    if ground.exists && ground.facts.encoding != source.encoding {
        warnings.push(format!(
            "the target's encoding is {}, the source's was {}; characters it lacks end the restore",
            ground.facts.encoding, source.encoding
        ));
    }
    warnings
}
