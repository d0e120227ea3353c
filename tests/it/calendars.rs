//! Calendars: every session against the PyPI package exchange_calendars, and calendars of one's own on a database.

use std::process::Command;

use barkeep::base::Timestamp;
use barkeep::checks::{Calendar, Verdict};
use barkeep::ops::check::{CheckReport, CheckRequest, check};
use barkeep::ops::{OpsError, Services};

use crate::bench_world::World;

/// A line `xnys 2010-01-04 2010-01-04T14:30Z 2010-01-04T21:00Z` for each session.
const EXCHANGE_CALENDARS: &str = r#"
import exchange_calendars
for name in ["xnys", "xlon", "xetr"]:
    start = "2003-01-01" if name == "xnys" else "2010-01-01"
    calendar = exchange_calendars.get_calendar(name.upper(), start=start, end="2027-12-31")
    for day, row in calendar.schedule.iterrows():
        print(name, day.strftime("%Y-%m-%d"), row["open"].strftime("%Y-%m-%dT%H:%MZ"), row["close"].strftime("%Y-%m-%dT%H:%MZ"))
"#;

fn ours(name: &str) -> Vec<String> {
    let minute = |time: Timestamp| format!("{}Z", &time.to_string()[..16]);
    let calendar = &Calendar::built_in().unwrap()[name];
    let first = if name == "xnys" { "2003-01-01" } else { "2010-01-01" };
    let sessions = calendar.sessions(first.parse().unwrap(), "2027-12-31".parse().unwrap());
    let line = |one: &barkeep::checks::Session| {
        format!("{name} {} {} {}", one.day, minute(one.open), minute(one.close))
    };
    sessions.iter().map(line).collect()
}

#[test]
fn every_session_to_2027_is_that_of_exchange_calendars() {
    let python = std::env::var("BARKEEP_TEST_PYTHON")
        .expect("BARKEEP_TEST_PYTHON names a Python with exchange_calendars; `make test` sets it up");
    let output = Command::new(python).args(["-c", EXCHANGE_CALENDARS]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<&str> = printed.lines().collect();
    let ours: Vec<String> = ["xnys", "xlon", "xetr"].into_iter().flat_map(ours).collect();
    let differing = theirs.iter().zip(&ours).find(|(theirs, ours)| *theirs != ours);
    assert_eq!(differing, None, "theirs, ours");
    assert_eq!((theirs.len(), ours.len()), (15_408, 15_408));
}

/// Bars of an hour, Monday to Wednesday from 9 to 12 in UTC, one of Tuesday missing; asked on the Wednesday evening.
const BARS: &str = "CREATE TABLE bars (symbol text, ts timestamptz);
    INSERT INTO bars SELECT 'AAA', ts FROM
      generate_series(timestamptz '2026-06-01 09:00Z', '2026-06-03 11:00Z', '1 hour') ts
    WHERE extract(hour FROM ts AT TIME ZONE 'UTC') BETWEEN 9 AND 11 AND ts <> '2026-06-02 10:00Z'";

const MORNINGS: &str =
    "tz = 'UTC'\ndays = ['mon', 'tue', 'wed', 'thu', 'fri']\nopen = '09:00'\nclose = '12:00'\n";

async fn gaps(world: &World, name: &str, own: &[(&str, &str)]) -> Result<CheckReport, OpsError> {
    let mut request = CheckRequest::new(world.source());
    request.only = vec!["M4b".to_owned(), "M5".to_owned()];
    request.now = Some("2026-06-03T18:00:00Z".parse().unwrap());
    request.settings.map.entry("bars".to_owned()).or_default().calendar = Some(name.to_owned());
    request.settings.map.entry("bars".to_owned()).or_default().interval = Some("1 hour".to_owned());
    let read = |(name, text): &(&str, &str)| ((*name).to_owned(), toml::from_str(text).unwrap());
    request.calendars = own.iter().map(read).collect();
    check(&request, &Services::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_of_ones_own_says_when_bars_are_expected() {
    let world = World::with(BARS).await;
    let report = gaps(&world, "mine", &[("mine", MORNINGS)]).await.unwrap();
    let findings = |report: &CheckReport, id: &str| {
        let outcome = report.checks.iter().find(|check| check.id == id).unwrap();
        assert!(outcome.note.is_none() && outcome.scanned == 8, "{outcome:?}");
        outcome.findings
    };
    assert_eq!((findings(&report, "M4b"), findings(&report, "M5")), (1, 1));
    // On a day without a session nothing is missing; and one's own calendar comes before one that is built in.
    let closed = format!("{MORNINGS}closed = [{{ date = '2026-06-02', name = 'a day of mourning' }}]");
    for name in ["mine", "xlon"] {
        let report = gaps(&world, name, &[(name, &closed)]).await.unwrap();
        assert_eq!((findings(&report, "M4b"), findings(&report, "M5")), (0, 0), "{name}");
        assert_eq!(report.count(Verdict::Pass), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_that_does_not_exist_is_a_mistake_that_names_those_that_do() {
    let world = World::with(BARS).await;
    let error = gaps(&world, "nyse", &[("mine", MORNINGS)]).await.unwrap_err();
    assert!(matches!(error, OpsError::Usage(_)));
    let words = error.to_string();
    assert!(words.contains("\"nyse\"") && words.contains("24x7, fx, mine, xetr, xlon, xnys"), "{words}");
    // Nobody says which market it is: not asked, and said.
    let mut request = CheckRequest::new(world.source());
    request.only = vec!["M5".to_owned()];
    request.settings.map.entry("bars".to_owned()).or_default().interval = Some("1 hour".to_owned());
    let error = check(&request, &Services::default()).await.unwrap_err().to_string();
    assert!(error.contains("M5: bars.calendar is not mapped"), "{error}");
}
