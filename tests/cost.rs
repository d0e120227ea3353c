//! What a check costs beside the same question written by hand, on tables of a million rows: at most twice as much, on a
//! server and on a backup. A program of its own, since cargo runs one at a time: beside other tests, times are no measure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

#[path = "it/bench_world.rs"]
#[expect(dead_code, reason = "shared with the other integration tests, which use the rest")]
mod bench_world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use barkeep::base::Timestamp;
use barkeep::checks::{DataFusion, Dialect, Postgres, packs};
use barkeep::ops::Services;
use barkeep::ops::check::{CheckRequest, CheckTarget, check};
use barkeep::pg::Probe;
use barkeep::query::Session;
use barkeep::store::BackupChoice;
use serde::Deserialize;

use crate::bench_world::{World, fixture};

/// A question by hand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    sql: Option<String>,
    postgres: Option<String>,
    backup: Option<String>,
}

/// One check on one engine: the best of its rounds.
#[derive(Debug, Clone, PartialEq)]
struct Cost {
    check: f64,
    plain: f64,
    found: u64,
    expected: u64,
}

impl Cost {
    /// At most twice, and what asking two questions instead of one takes at least.
    fn is_fair(&self) -> bool {
        self.check <= 2.0 * self.plain + 0.03
    }
}

/// Where the bars are, for the checks that want them otherwise.
const BARS: [(&str, &str); 3] = [
    ("", "{ table = 'bars_1m', interval = '1 minute', calendar = '24x7' }"),
    ("M4b", "{ table = 'bars_1m', interval = '1 minute', calendar = 'xnys' }"),
    ("M5b", "{ table = 'daily_bars', interval = '1 day', calendar = '24x7' }"),
];

/// Rounds in which a check may show what it can. Before each there is a longer pause: what else a machine does passes.
const ROUNDS: u64 = 8;

enum Engine {
    Server(Box<Probe>),
    Files(Box<Session>),
}

struct Yardstick {
    engine: Engine,
    target: CheckTarget,
    plain: BTreeMap<String, Plain>,
    now: Timestamp,
    previous: Timestamp,
}

impl Yardstick {
    fn by_hand(&self, id: &str) -> String {
        let plain = self.plain.get(id).unwrap_or_else(|| panic!("{id} stands in plain.toml"));
        let own = match &self.engine {
            Engine::Server(_) => &plain.postgres,
            Engine::Files(_) => &plain.backup,
        };
        let sql = own.as_ref().or(plain.sql.as_ref()).unwrap_or_else(|| panic!("{id} has a text for it"));
        let files = DataFusion::default();
        let dialect: &dyn Dialect = match &self.engine {
            Engine::Server(_) => &Postgres,
            Engine::Files(_) => &files,
        };
        let sql = sql.replace("{now}", &dialect.instant(self.now));
        sql.replace("{previous_now}", &dialect.instant(self.previous))
    }

    async fn ask_plain(&self, id: &str) -> (f64, u64) {
        let sql = format!("SELECT count(*) FROM ({}) AS f", self.by_hand(id));
        let began = Instant::now();
        let rows = match &self.engine {
            Engine::Server(probe) => probe.ask("asking by hand", &sql).await.unwrap().rows,
            Engine::Files(session) => session.ask(&sql).await.unwrap().rows,
        };
        (began.elapsed().as_secs_f64(), rows[0][0].as_ref().unwrap().parse().unwrap())
    }

    /// Seconds and findings of some checks.
    async fn ask_checks(&self, bars: &str, ids: &[String]) -> BTreeMap<String, (f64, u64)> {
        let mut request = CheckRequest::new(self.target.clone());
        let written = format!("map.bars = {bars}\nmap.previous_balances = {{ table = 'balances_before' }}");
        request.settings = toml::from_str(&written).unwrap();
        request
            .settings
            .overrides
            .insert("M7".to_owned(), toml::from_str("params = { lag = '100000 hours' }").unwrap());
        (request.only, request.now, request.previous) = (ids.to_vec(), Some(self.now), Some(self.previous));
        let report = check(&request, &Services::default()).await.unwrap();
        let outcome = |check: barkeep::ops::check::CheckOutcome| {
            assert!(check.scanned > 0 && check.note.is_none(), "{}: {:?}", check.id, check.note);
            (check.id, (check.seconds, check.findings))
        };
        report.checks.into_iter().map(outcome).collect()
    }

    /// The costs of all checks, until each was fair or has had its rounds.
    async fn costs(&self, rounds: u64) -> BTreeMap<String, Cost> {
        let mut costs: BTreeMap<String, Cost> = BTreeMap::new();
        let all: Vec<String> =
            packs().unwrap().iter().flat_map(|pack| &pack.checks).map(|check| check.id.clone()).collect();
        for round in 0..rounds {
            if costs.values().any(|cost| !cost.is_fair()) {
                tokio::time::sleep(Duration::from_secs(round)).await;
            }
            for (own, bars) in BARS {
                let special = |id: &str| BARS.iter().any(|(other, _)| *other == id);
                let mine = |id: &&String| if own.is_empty() { !special(id) } else { *id == own };
                let open = |id: &&String| !costs.get(*id).is_some_and(Cost::is_fair);
                let ids: Vec<String> = all.iter().filter(mine).filter(open).cloned().collect();
                if ids.is_empty() {
                    continue;
                }
                for (id, (seconds, found)) in self.ask_checks(bars, &ids).await {
                    let (by_hand, expected) = self.ask_plain(&id).await;
                    let best = costs.get(&id).map_or((f64::MAX, f64::MAX), |cost| (cost.check, cost.plain));
                    let (check, plain) = (seconds.min(best.0), by_hand.min(best.1));
                    costs.insert(id, Cost { check, plain, found, expected });
                }
            }
        }
        assert_eq!(costs.len(), all.len());
        costs
    }

    /// On a sound database, where nothing is found by either.
    async fn assert_fair(&self, engine: &str) {
        let costs = self.costs(ROUNDS).await;
        for (id, cost) in &costs {
            assert_eq!((cost.found, cost.expected), (0, 0), "{engine}, {id}");
        }
        let line = |(id, cost): (&String, &Cost)| {
            format!("{id} {:.0}/{:.0} ms", cost.check * 1000.0, cost.plain * 1000.0)
        };
        eprintln!("{engine}: {}", costs.iter().map(line).collect::<Vec<_>>().join(", "));
        let dear: Vec<String> = costs.iter().filter(|(_, cost)| !cost.is_fair()).map(line).collect();
        assert!(dear.is_empty(), "{engine}: more than twice: {}", dear.join(", "));
    }

    /// On a broken one: the yardstick answers the same question, and one that has an answer.
    async fn assert_same_answers(&self, engine: &str) {
        for (id, cost) in self.costs(1).await {
            assert!(cost.found > 0 && cost.found == cost.expected, "{engine}, {id}: {cost:?}");
        }
    }
}

/// How a world is asked: its server, or its latest backup.
async fn yardstick(world: &World, on_files: bool) -> Yardstick {
    let (engine, target) = if on_files {
        let manifest = BackupChoice::latest().find(&world.vault).unwrap().manifest;
        let session = Session::open(&world.vault, manifest).unwrap();
        let target = CheckTarget::Backup(world.vault.clone(), BackupChoice::latest());
        (Engine::Files(Box::new(session)), target)
    } else {
        let probe = Probe::connect(&world.source()).await.unwrap();
        probe.ask("naming tables without a schema", "SET LOCAL search_path = public").await.unwrap();
        (Engine::Server(Box::new(probe)), CheckTarget::from(world.source()))
    };
    let plain = toml::from_str(&fixture("checks/plain.toml")).unwrap();
    let (now, previous) = ("2025-12-01T21:30:00Z".parse().unwrap(), "2025-12-01T15:00:00Z".parse().unwrap());
    Yardstick { engine, target, plain, now, previous }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_a_million_rows_costs_at_most_twice_the_question_by_hand() {
    let world = World::dumped(&(fixture("checks/tables.sql") + &fixture("checks/million.sql"))).await;
    yardstick(&world, false).await.assert_fair("PostgreSQL").await;
    yardstick(&world, true).await.assert_fair("DataFusion").await;
    world.run(&fixture("checks/million_broken.sql")).await;
    world.dump().await;
    yardstick(&world, false).await.assert_same_answers("PostgreSQL").await;
    yardstick(&world, true).await.assert_same_answers("DataFusion").await;
}
