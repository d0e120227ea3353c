//! Calendars against exchange_calendars from 2010 (New York: 2003) to 2027, each rule left out once, and what is refused.

use jiff::civil::date;
use sha2::{Digest, Sha256};

use super::*;

const BUILT_IN: &str = include_str!("../packs/calendars.toml");
const VECTORS: &str = include_str!("../../../fixtures/checks/calendars.txt");

fn read(text: &str) -> BTreeMap<String, Calendar> {
    toml::from_str(text).unwrap()
}

fn sessions(name: &str, calendar: &Calendar) -> Vec<Session> {
    let first = if name == "xnys" { 2003 } else { 2010 };
    calendar.sessions(date(first, 1, 1), date(2027, 12, 31))
}

/// `2010-01-04T14:30Z`.
fn minute(time: Timestamp) -> String {
    format!("{}Z", &time.to_string()[..16])
}

/// The lines of the vectors that a calendar does not fulfil.
fn differences(name: &str, calendar: &Calendar) -> Vec<&'static str> {
    let sessions = sessions(name, calendar);
    let by_day: BTreeMap<String, &Session> =
        sessions.iter().map(|session| (session.day.to_string(), session)).collect();
    let mut hash = Sha256::new();
    for session in &sessions {
        hash.update(format!("{} {} {}\n", session.day, minute(session.open), minute(session.close)));
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let holds = |words: &[&str]| match words {
        ["sessions", count, digest] => *count == sessions.len().to_string() && *digest == hash,
        ["closed", day] => !by_day.contains_key(*day),
        ["early", day, time] => by_day.get(*day).is_some_and(|session| {
            let close = jiff::Timestamp::from_microsecond(session.close.unix_micros()).unwrap();
            close.to_zoned(calendar.zone.clone()).strftime("%H:%M").to_string() == *time
        }),
        other => panic!("{other:?}"),
    };
    let mine = VECTORS.lines().filter(|line| line.split(' ').next() == Some(name));
    mine.filter(|line| !holds(&line.split(' ').skip(1).collect::<Vec<_>>())).collect()
}

#[test]
fn sessions_are_those_of_exchange_calendars() {
    let calendars = read(BUILT_IN);
    for name in ["24x7", "xnys", "xlon", "xetr"] {
        assert!(VECTORS.contains(&format!("\n{name} sessions ")), "{name}");
        assert_eq!(differences(name, &calendars[name]), Vec::<&str>::new());
    }
    let others: Vec<&String> =
        calendars.keys().filter(|name| !VECTORS.contains(&format!("\n{name} "))).collect();
    assert_eq!(others, ["fx"], "a calendar without vectors has a test of its own");
}

#[test]
fn a_rule_that_is_left_out_is_noticed() {
    let rules = BUILT_IN.lines().filter(|line| line.starts_with("    { "));
    let mut tried = 0;
    for rule in rules {
        let rest = BUILT_IN.replacen(&format!("{rule}\n"), "", 1);
        let broken = read(&rest);
        assert!(
            ["xnys", "xlon", "xetr"].iter().any(|name| !differences(name, &broken[*name]).is_empty()),
            "nothing depends on {rule}"
        );
        tried += 1;
    }
    assert!(tried > 40, "{tried} rules");
}

#[test]
fn currencies_trade_from_sunday_evening_to_friday_evening_of_new_york() {
    let fx = &read(BUILT_IN)["fx"];
    let printed = |from, to| -> Vec<String> {
        let all: Vec<Session> = fx.sessions(from, to);
        all.iter().map(|one| format!("{} {} {}", one.day, minute(one.open), minute(one.close))).collect()
    };
    // The clocks change on Sunday, 8 March 2026, at 2 in the morning.
    assert_eq!(
        printed(date(2026, 3, 6), date(2026, 3, 10)),
        [
            "2026-03-06 2026-03-05T22:00Z 2026-03-06T22:00Z",
            "2026-03-09 2026-03-08T21:00Z 2026-03-09T21:00Z",
            "2026-03-10 2026-03-09T21:00Z 2026-03-10T21:00Z",
        ]
    );
}

fn own(text: &str) -> Result<Calendar, toml::de::Error> {
    toml::from_str(&format!(
        "tz = 'Asia/Tokyo'\ndays = ['mon', 'tue']\nopen = '09:00'\nclose = '15:30'\n{text}"
    ))
}

fn days(calendar: &Calendar, from: Date, to: Date) -> Vec<String> {
    calendar.sessions(from, to).iter().map(|session| session.day.to_string()).collect()
}

#[test]
fn days_move_as_the_rules_say() {
    // 2026-06-01 is a Monday; only Mondays and Tuesdays trade.
    let june = |text: &str| days(&own(text).unwrap(), date(2026, 6, 1), date(2026, 6, 16));
    let all = ["2026-06-01", "2026-06-02", "2026-06-08", "2026-06-09", "2026-06-15", "2026-06-16"];
    let without = |gone: &str| all.iter().filter(|day| !gone.contains(*day)).copied().collect::<Vec<_>>();
    assert_eq!(june(""), all);
    for (rule, gone) in [
        ("date = '06-03'", ""),
        ("date = '06-03', observe = 'next'", "2026-06-08"),
        ("date = '06-07', observe = 'previous'", "2026-06-02"),
        ("date = '06-07', observe = 'sunday'", "2026-06-08"),
        ("date = '06-07', observe = 'nearest'", "2026-06-08"),
        ("date = '06-06', observe = 'sunday'", ""),
        ("nth = 2, weekday = 'mon', month = 6", "2026-06-08"),
        ("nth = 2, weekday = 'mon', month = 6, plus = 1", "2026-06-09"),
        ("nth = -1, weekday = 'sun', month = 5, plus = 1", "2026-06-01"),
        ("easter = 57", "2026-06-01"),
        ("date = '06-02', from = 2027", ""),
        ("date = '06-02', until = 2025", ""),
        ("date = '06-02', except = [2026]", ""),
        ("date = '06-02', on = ['mon']", ""),
        ("date = '06-02', on = ['tue']", "2026-06-02"),
        ("date = '06-01' }, { date = '06-01', observe = 'next'", "2026-06-01 2026-06-02"),
    ] {
        assert_eq!(june(&format!("holidays = [{{ {rule} }}]")), without(gone), "{rule}");
    }
    // A day may come from the year before, and one that two rules close early follows the first.
    let calendar = own("holidays = [{ date = '12-31', observe = 'next' }]").unwrap();
    assert_eq!(days(&calendar, date(2027, 1, 1), date(2027, 1, 5)), ["2027-01-05"]);
    let early = own("early = [{ date = '06-01', close = '11:00' }, { date = '06-01', close = '12:00' }]\n\
                     early_once = [{ date = '2026-06-02', close = '13:00' }]");
    let closes: Vec<String> = early
        .unwrap()
        .sessions(date(2026, 6, 1), date(2026, 6, 8))
        .iter()
        .map(|session| minute(session.close))
        .collect();
    assert_eq!(closes, ["2026-06-01T02:00Z", "2026-06-02T04:00Z", "2026-06-08T06:30Z"]);
}

#[test]
fn a_calendar_that_says_nothing_sensible_is_refused_in_words() {
    for (text, words) in [
        ("holidays = [{ name = 'x' }]", "rule \"x\": write either date"),
        ("holidays = [{ date = '06-03', easter = 1 }]", "write either date"),
        ("holidays = [{ date = '13-03' }]", "\"13-03\" is not a day"),
        ("holidays = [{ nth = 1, month = 3 }]", "write either date"),
        ("holidays = [{ nth = 0, weekday = 'mon', month = 3 }]", "nth is -1"),
        ("holidays = [{ date = '06-03', close = '12:00' }]", "a holiday has no close"),
        ("closed = [{ date = '2026-06-03', close = '12:00' }]", "has no close"),
        ("closed = [{ date = '06-03' }]", "write \"2026-12-25\""),
        ("early = [{ date = '06-03' }]", "needs a close"),
        ("early_once = [{ date = '2026-06-03' }]", "needs a close"),
        ("early = [{ date = '06-03', close = '9:00' }]", "write \"09:30\""),
        ("early = [{ date = '06-03', close = '25:00' }]", "write \"09:30\""),
        ("holidays = [{ date = '06-03', obsreve = 'next' }]", "obsreve"),
        ("holyday = []", "holyday"),
        ("open_day = 1", "open_day"),
    ] {
        let error = own(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let whole = |text: &str| toml::from_str::<Calendar>(text).unwrap_err().to_string();
    let hours = "open = '09:00'\nclose = '08:00'\n";
    assert!(whole(&format!("tz = 'Mars/Base'\ndays = ['mon']\n{hours}")).contains("\"Mars/Base\""));
    assert!(whole(&format!("tz = 'UTC'\ndays = ['mon']\n{hours}")).contains("open_day = -1"));
    assert!(whole(&format!("tz = 'UTC'\ndays = []\n{hours}")).contains("at least one weekday"));
}

#[test]
fn the_sub_selects_reach_from_before_the_data_to_past_now() {
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let now = time("2025-12-01T21:30:00Z");
    let xnys = &read(BUILT_IN)["xnys"];
    let sql = |calendar: &Calendar, first: &str, now| SessionSql::of(&calendar.around(time(first), now));
    let SessionSql { sessions, days } = sql(xnys, "2025-11-20T14:30:00Z", now);
    let instant = |text: &str| format!("CAST('{text}.000000Z' AS timestamp with time zone)");
    let first = [instant("2025-10-20T13:30:00"), instant("2025-10-20T20:00:00")].join(", ");
    assert!(sessions.contains(&format!("VALUES (CAST('2025-10-20' AS date), {first}), ")), "{sessions}");
    assert!(sessions.contains(", (CAST('2025-12-31' AS date), "), "{sessions}");
    // A session is found by its own day and by the one before; behind the last one comes none.
    let next = instant("2025-10-21T13:30:00");
    for day in ["2025-10-19", "2025-10-20"] {
        let day = format!("CAST('{day}T00:00:00Z' AS timestamp with time zone)");
        assert!(days.contains(&format!("({day}, {first}, {next})")), "{days}");
    }
    assert!(
        !days.contains(&format!("2025-10-21T00:00:00Z' AS timestamp with time zone), {first}")),
        "{days}"
    );
    assert!(days.ends_with("CAST(NULL AS timestamp with time zone))) AS v (utc, o, c, next_o))"), "{days}");
    // A wrong clock does not make a million sessions.
    let long = sql(xnys, "0001-01-01T00:00:00Z", now).sessions;
    assert!(long.contains("VALUES (CAST('1900-01-02' AS date), "));
    // Without any, the columns have their types all the same.
    let never = own("closed = []").unwrap();
    let none = sql(&never, "0001-01-01T00:00:00Z", time("0001-01-02T00:00:00Z"));
    for none in [none.sessions, none.days] {
        assert!(none.contains("(VALUES (CAST(NULL AS ") && none.contains("CAST(NULL AS timestamp"), "{none}");
        assert!(none.ends_with("WHERE false)"), "{none}");
    }
}
