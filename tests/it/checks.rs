//! Every check against its fixtures: the sound database gives no finding, and each case exactly those that it names.

use std::collections::{BTreeMap, BTreeSet};

use barkeep::base::Timestamp;
use barkeep::catalog::Pattern;
use barkeep::checks::{
    Calendar, Check, Interview, Mapping, Postgres, Role, RoleSettings, SessionSql, Verdict, packs, question,
    roles,
};
use barkeep::ops::check::{CheckOutcome, CheckRequest, CheckTarget, Override, check};
use barkeep::ops::dump::{DumpRequest, dump};
use barkeep::ops::{OpsError, Services};
use barkeep::pg::workbench::{TextRow, Workbench};
use barkeep::pg::{ConnectionSettings, Probe};
use barkeep::store::BackupChoice;
use serde::Deserialize;

use crate::bench_world::{World, fixture, run};

/// What a case, a file of cases or all of them say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Setting {
    #[serde(default)]
    why: String,
    #[serde(default)]
    sql: String,
    #[serde(default)]
    finds: Vec<Vec<String>>,
    #[serde(default)]
    params: BTreeMap<String, String>,
    #[serde(default)]
    tables: BTreeMap<String, String>,
    #[serde(default)]
    unmap: Vec<String>,
    calendar: Option<String>,
    now: Option<Timestamp>,
    previous_now: Option<Timestamp>,
    #[serde(default)]
    bad: Vec<Setting>,
    #[serde(default)]
    good: Vec<Setting>,
}

fn settings_of(name: &str) -> Setting {
    toml::from_str(&fixture(&format!("checks/{name}.toml"))).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `self` over `below`.
fn over(above: &Setting, below: &Setting) -> Setting {
    let mut all = below.clone();
    all.params.extend(above.params.clone());
    all.tables.extend(above.tables.clone());
    all.unmap.extend(above.unmap.clone());
    all.calendar = above.calendar.clone().or(all.calendar);
    all.now = above.now.or(all.now);
    all.previous_now = above.previous_now.or(all.previous_now);
    (all.why, all.sql, all.finds) = (above.why.clone(), above.sql.clone(), above.finds.clone());
    all
}

fn request(target: impl Into<CheckTarget>, id: &str, setting: &Setting) -> CheckRequest {
    let mut request = CheckRequest::new(target);
    (request.sample, request.now, request.previous) = (1000, setting.now, setting.previous_now);
    if !id.is_empty() {
        request.only = vec![id.to_owned()];
        let mut changed = Override { params: setting.params.clone(), ..Override::default() };
        changed.params.remove("interval");
        request.settings.overrides.insert(id.to_owned(), changed);
    }
    let map = &mut request.settings.map;
    for (role, table) in &setting.tables {
        map.entry(role.clone()).or_default().table = Some(table.clone());
    }
    for name in &setting.unmap {
        match name.split_once('.') {
            None => map.entry(name.clone()).or_default().table = Some(String::new()),
            Some((role, column)) => {
                map.entry(role.to_owned()).or_default().columns.insert(column.to_owned(), String::new());
            }
        }
    }
    let bars: &mut RoleSettings = map.entry("bars".to_owned()).or_default();
    bars.calendar.clone_from(&setting.calendar);
    // The names of these two do not say how long their bars are.
    if bars.table.as_deref().is_none_or(|table| table == "crypto_bars") {
        bars.interval = Some("1 minute".to_owned());
    }
    if let Some(interval) = setting.params.get("interval") {
        bars.interval = Some(interval.clone());
    }
    request
}

/// A key as the fixtures spell it.
fn spelt(value: Option<&String>) -> String {
    let Some(value) = value else { return "NULL".to_owned() };
    match value.strip_suffix("+00") {
        Some(time) => format!("{}Z", time.replacen(' ', "T", 1)),
        None => value.clone(),
    }
}

fn base() -> String {
    fixture("checks/tables.sql") + &fixture("checks/base.sql")
}

/// Databases that are copies of one.
struct Base {
    world: World,
    admin: Workbench,
}

impl Base {
    async fn new() -> Self {
        let world = World::with(&base()).await;
        let admin = Workbench::connect(&world.copy("").with_database("postgres")).await.unwrap();
        Self { world, admin }
    }

    /// A copy, changed as a case says.
    async fn open(&self, number: usize, setting: &Setting) -> ConnectionSettings {
        let case = self.world.copy(&format!("case{number}"));
        let (from, to) = (&self.world.database, &case.database);
        self.admin.run("copying", &format!("CREATE DATABASE \"{to}\" TEMPLATE \"{from}\"")).await.unwrap();
        run(&case, &setting.sql).await;
        case
    }

    async fn close(&self, case: &ConnectionSettings) {
        let sql = format!("DROP DATABASE \"{}\" WITH (FORCE)", case.database);
        self.admin.run("dropping", &sql).await.unwrap();
    }
}

/// Asks one check.
async fn ask(
    case: impl Into<CheckTarget>,
    id: &str,
    setting: &Setting,
) -> Result<(CheckOutcome, Mapping), OpsError> {
    let report = check(&request(case, id, setting), &Services::default()).await?;
    Ok((report.checks.into_iter().next().unwrap(), report.mapping))
}

/// Dumps the tables that play the roles of a check, and asks the backup: no server answers.
async fn ask_backup(
    world: &World,
    case: &ConnectionSettings,
    check: &Check,
    setting: &Setting,
    mapping: &Mapping,
) -> Result<CheckOutcome, OpsError> {
    let mut wanted = DumpRequest::new(case.clone());
    (wanted.data_only, wanted.jobs) = (true, 1);
    let columns = check.needs.iter().chain(&check.uses);
    let roles: BTreeSet<&str> = columns.filter_map(|name| Some(name.split_once('.')?.0)).collect();
    let tables: BTreeSet<String> =
        roles.iter().filter_map(|role| Some(mapping.roles.get(*role)?.table.to_string())).collect();
    wanted.selection.tables = tables.iter().map(|table| Pattern::parse(table).unwrap()).collect();
    let report = dump(&world.vault, &wanted, &Services::default()).await?;
    let backup = BackupChoice::named(report.backup.unwrap().to_string());
    let mut wanted = request(CheckTarget::Backup(world.vault.clone(), backup), &check.id, setting);
    wanted.settings.map.retain(|role, _| roles.contains(role.as_str()));
    let report = barkeep::ops::check::check(&wanted, &Services::default()).await?;
    Ok(report.checks.into_iter().next().unwrap())
}

/// Keys of findings, sorted as text.
fn keys(rows: &[TextRow], columns: usize) -> Vec<Vec<String>> {
    let mut keys: Vec<Vec<String>> =
        rows.iter().map(|row| row[..columns].iter().map(|value| spelt(value.as_ref())).collect()).collect();
    keys.sort();
    keys
}

fn sorted(mut finds: Vec<Vec<String>>) -> Vec<Vec<String>> {
    finds.sort();
    finds
}

/// The cases of a check, the base itself among them, each with all that holds for it.
fn cases(check: &Check, all: &Setting) -> Vec<Setting> {
    let file = settings_of(&check.id);
    assert!(file.bad.len() >= 2, "{} has bad cases", check.id);
    let below = over(&file, all);
    let sound = Setting { why: "the base itself".to_owned(), ..Setting::default() };
    let each = std::iter::once(&sound).chain(&file.bad).chain(&file.good);
    each.map(|case| over(case, &below)).collect()
}

/// What came out is what the case says.
fn assert_found(engine: &str, check: &Check, setting: &Setting, outcome: &CheckOutcome) {
    let (id, expected) = (&check.id, sorted(setting.finds.clone()));
    let found = keys(&outcome.sample, check.key.len());
    assert_eq!(found, expected, "{engine}, {id}: {}: {:?}", setting.why, outcome.note);
    assert_eq!(outcome.findings, expected.len() as u64, "{engine}, {id}: {}", setting.why);
    assert_eq!(outcome.verdict == Verdict::Pass, expected.is_empty(), "{engine}, {id}: {}", setting.why);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_finds_exactly_what_its_fixtures_say_on_a_server_and_on_a_backup() {
    let base = Base::new().await;
    let all = settings_of("base");
    let mut asked = 0;
    for check in packs().unwrap().iter().flat_map(|pack| &pack.checks) {
        for setting in cases(check, &all) {
            let case = base.open(0, &setting).await;
            let (outcome, mapping) = ask(case.clone(), &check.id, &setting).await.unwrap();
            assert_found("PostgreSQL", check, &setting, &outcome);
            let of_backup = ask_backup(&base.world, &case, check, &setting, &mapping).await.unwrap();
            assert_found("DataFusion", check, &setting, &of_backup);
            assert_eq!(outcome.scanned, of_backup.scanned, "{}: {}", check.id, setting.why);
            base.close(&case).await;
            asked += 1;
        }
    }
    assert!(asked > 450, "{asked} cases");
}

/// What a slip of the pen would make of a check: (what stands there, what might).
const SLIPS: [(&str, &str); 12] = [
    ("NOT coalesce(", "coalesce("),
    ("NOT EXISTS", "EXISTS"),
    (" AND ", " OR "),
    (" OR ", " AND "),
    (" < ", " >= "),
    (" > ", " <= "),
    (" <= ", " > "),
    (" >= ", " < "),
    (" = ", " <> "),
    (" <> ", " = "),
    (" IN (", " NOT IN ("),
    ("IS NOT NULL", "IS NULL"),
];

/// The check with one slip each, and where it is.
fn mutants(check: &Check) -> Vec<(String, Check)> {
    let mut mutants = Vec::new();
    for (from, to) in SLIPS {
        for (at, _) in check.sql.match_indices(from) {
            let sql = format!("{}{to}{}", &check.sql[..at], &check.sql[at + from.len()..]);
            let around: String = check.sql[at..].chars().take(40).collect();
            let place = format!("{} {:?}", check.id, around.split_whitespace().collect::<Vec<_>>().join(" "));
            mutants.push((place, Check { sql, ..check.clone() }));
        }
    }
    mutants
}

/// The sessions when a case is asked. All that the fixtures have is later than the twentieth of November 2025.
fn sessions(setting: &Setting) -> SessionSql {
    let calendar = &Calendar::built_in().unwrap()[setting.calendar.as_ref().unwrap()];
    SessionSql::of(&calendar.around("2025-11-20T00:00:00Z".parse().unwrap(), setting.now.unwrap()))
}

type OpenCase = (Probe, ConnectionSettings, Mapping, Setting);

/// The first case in which a check does not answer what its fixtures say.
async fn first_noticed(open: &[OpenCase], check: &Check, roles: &BTreeMap<String, Role>) -> Option<usize> {
    for (number, (probe, _, mapping, setting)) in open.iter().enumerate() {
        let interview = Interview {
            roles,
            mapping,
            dialect: &Postgres,
            now: setting.now.unwrap(),
            sessions: Some(sessions(setting)),
            previous: setting.previous_now,
        };
        let asked = question(check, &interview, &setting.params).unwrap();
        probe.mark().await.unwrap();
        let answer = probe.ask("asking a mutant", &asked.sql).await;
        probe.back().await.unwrap();
        // What the server refuses would be noticed by anybody.
        let expected = sorted(setting.finds.clone());
        if answer.map_or(true, |answer| keys(&answer.rows, check.key.len()) != expected) {
            return Some(number);
        }
    }
    None
}

/// Slips that change no answer, and why.
const EQUIVALENT: [&str; 0] = [];

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_in_a_check_is_noticed_by_its_fixtures() {
    let base = Base::new().await;
    let (all, roles) = (settings_of("base"), roles().unwrap());
    let (mut tried, mut survivors) = (0, Vec::new());
    for check in packs().unwrap().iter().flat_map(|pack| &pack.checks) {
        let mut open = Vec::new();
        for (number, setting) in cases(check, &all).into_iter().enumerate() {
            let case = base.open(number, &setting).await;
            let (_, mapping) = ask(case.clone(), &check.id, &setting).await.unwrap();
            open.push((Probe::connect(&case).await.unwrap(), case, mapping, setting));
        }
        assert_eq!(first_noticed(&open, check, &roles).await, None, "{} as it is", check.id);
        for (place, mutant) in mutants(check) {
            tried += 1;
            if first_noticed(&open, &mutant, &roles).await.is_none() {
                survivors.push(place);
            }
        }
        for (probe, case, _, _) in open {
            drop(probe);
            base.close(&case).await;
        }
    }
    assert_eq!(survivors, EQUIVALENT, "{tried} slips");
    assert!(tried > 300, "{tried} slips");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sound_database_is_sound_and_an_empty_one_is_not() {
    let all = settings_of("base");
    assert!(all.previous_now < all.now, "for checks that look back, when there are any");
    let world = World::with(&base()).await;
    let report = check(&request(world.source(), "", &all), &Services::default()).await.unwrap();
    let loud: Vec<&CheckOutcome> =
        report.checks.iter().filter(|check| check.verdict > Verdict::Skipped).collect();
    assert!(loud.is_empty(), "{loud:#?}");
    assert!(report.count(Verdict::Pass) > 35, "{}", report.count(Verdict::Pass));
    // No rows, no pass.
    world.run("TRUNCATE orders, trades CASCADE").await;
    let report = check(&request(world.source(), "T1", &all), &Services::default()).await.unwrap();
    assert_eq!(report.checks[0].verdict, Verdict::Error);
    assert!(report.checks[0].note.as_ref().unwrap().contains("no row"), "{:?}", report.checks[0].note);
    // Nothing that could be asked is no green report either.
    let empty = World::with("CREATE TABLE pictures (id int)").await;
    let error = check(&CheckRequest::new(empty.source()), &Services::default()).await.unwrap_err();
    assert!(error.to_string().contains("no check could be asked"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_the_server_refuses_is_an_error_of_that_check_alone() {
    let world = World::with(&base()).await;
    let mut request = request(world.source(), "", &settings_of("base"));
    request.packs = vec!["trading".to_owned()];
    request.settings.map.entry("trades".to_owned()).or_default().filter = Some("no_such_column".to_owned());
    let report = check(&request, &Services::default()).await.unwrap();
    let verdict = |id: &str| report.checks.iter().find(|check| check.id == id).unwrap();
    assert_eq!(verdict("T1").verdict, Verdict::Error);
    assert!(verdict("T1").note.as_ref().unwrap().contains("no_such_column"), "{:?}", verdict("T1").note);
    assert!(!report.is_sound());
    // Those that ask nothing of trades still have their answers.
    assert!(report.count(Verdict::Pass) > 0);
}

/// The page for users has every check and every role, and nothing else.
#[test]
fn the_documentation_lists_every_check() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/checks.md")).unwrap();
    let packs = packs().unwrap();
    for check in packs.iter().flat_map(|pack| &pack.checks) {
        assert!(page.contains(&check.question), "{}: {}", check.id, check.question);
        assert!(page.contains(&check.name), "{}", check.id);
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page_words = words(&page);
    for check in barkeep::checks::structure::STRUCTURE_CHECKS {
        assert!(page.contains(&format!("### {} {}\n", check.id, check.name)), "{}", check.id);
        assert!(page_words.contains(&format!("**{}** {}", check.question, words(check.why))), "{}", check.id);
    }
    assert!(roles().unwrap().keys().all(|role| page.contains(role.as_str())));
}

/// Checks of one's own, on both engines.
#[tokio::test(flavor = "multi_thread")]
async fn checks_of_ones_own_are_asked_like_the_others() {
    let world = World::dumped(&base()).await;
    let written = r#"
        [[custom]]
        id = "large"
        question = "Which trades are larger than ten?"
        sql = "SELECT t.id, t.qty FROM {trades} t WHERE t.qty > 10"
        [[custom]]
        id = "orders-there"
        sql = "SELECT count(*) FROM {orders} o"
        expect = "0"
        severity = "warn"
        [[custom]]
        id = "plain"
        sql = "SELECT id FROM public.accounts WHERE name = 'alice'"
        [[custom]]
        id = "sound"
        sql = "SELECT count(*) FROM public.accounts WHERE id IS NULL"
        expect = "0"
        [[custom]]
        id = "server"
        engines = ["database"]
        sql = "SELECT relname FROM pg_class WHERE false"
    "#;
    let ask = async |target: CheckTarget, written: &str| {
        let mut request = CheckRequest::new(target);
        request.settings = toml::from_str(written).unwrap();
        request.packs = vec!["custom".to_owned()];
        check(&request, &Services::default()).await
    };
    let backup = || CheckTarget::Backup(world.vault.clone(), BackupChoice::latest());
    for (target, of_server) in [(world.source().into(), Verdict::Pass), (backup(), Verdict::Skipped)] {
        let report = ask(target, written).await.unwrap();
        let verdicts: Vec<Verdict> = report.checks.iter().map(|check| check.verdict).collect();
        assert_eq!(
            verdicts,
            [Verdict::Fail, Verdict::Warn, Verdict::Fail, Verdict::Pass, of_server],
            "{report:#?}"
        );
        let large = &report.checks[0];
        assert!(large.findings > 0 && large.sample.iter().all(|row| row[1].is_some()), "{large:?}");
        assert_eq!(report.checks[2].sample, [[Some("1".to_owned())]]);
    }
    let refused = |error: OpsError| matches!(error, OpsError::Usage(_)).then(|| error.to_string()).unwrap();
    let unknown = "[[custom]]\nid = \"x\"\nsql = \"SELECT 1 FROM {no_such_role}\"";
    assert!(refused(ask(backup(), unknown).await.unwrap_err()).contains("no_such_role"));
    let taken = "[[custom]]\nid = \"T1\"\nsql = \"SELECT 1\"";
    assert!(refused(ask(backup(), taken).await.unwrap_err()).contains("already"));
    // SQL that is wrong is an error that names the check.
    let wrong = "[[custom]]\nid = \"typo\"\nsql = \"SELEC 1\"";
    for target in [world.source().into(), backup()] {
        let report = ask(target, wrong).await.unwrap();
        let outcome = &report.checks[0];
        assert_eq!((outcome.id.as_str(), outcome.verdict), ("typo", Verdict::Error));
        let note = outcome.note.as_ref().unwrap();
        assert!(note.contains("syntax error") || note.contains("ParserError"), "{note}");
        assert!(!report.is_sound());
    }
}

/// A number here and its text there are one key; a column that cannot be what it is called is named.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_different_types_meet_on_a_server_and_on_a_backup() {
    let world = World::dumped(
        "CREATE TABLE orders (id bigint, account_id uuid, status text);
         INSERT INTO orders VALUES (1, '00000000-0000-0000-0000-00000000000a', 'filled'), (2, NULL, 'filled');
         CREATE TABLE trades (id int, order_id text, account_id text);
         INSERT INTO trades VALUES (1, '1', '00000000-0000-0000-0000-00000000000a'), (2, '3', NULL);
         CREATE TABLE market_bars (symbol text, ts bigint, high numeric, low numeric)",
    )
    .await;
    let backup = CheckTarget::Backup(world.vault.clone(), BackupChoice::latest());
    for target in [CheckTarget::from(world.source()), backup] {
        let mut request = CheckRequest::new(target);
        request.only = ["T1", "T5", "M2"].map(str::to_owned).into();
        let report = check(&request, &Services::default()).await.unwrap();
        let found: Vec<_> =
            report.checks.iter().map(|check| (check.id.as_str(), keys(&check.sample, 1))).collect();
        assert_eq!(found[0], ("T1", vec![vec!["2".to_owned()]]), "{report:#?}");
        assert_eq!(found[1], ("T5", vec![vec!["2".to_owned()]]), "{report:#?}");
        let note = report.checks[2].note.as_deref().unwrap();
        assert_eq!(note, "bars is not mapped: public.market_bars.ts is bigint, which cannot be time");
    }
}

#[test]
fn the_page_about_checks_says_what_the_checks_say() {
    let page = include_str!("../../docs/checks.md").split_whitespace().collect::<Vec<_>>().join(" ");
    for check in packs().unwrap().iter().flat_map(|pack| &pack.checks) {
        let said = format!("### {} {} **{}** {}", check.id, check.name, check.question, check.why);
        assert!(page.contains(&said), "docs/checks.md: {said}");
    }
}
