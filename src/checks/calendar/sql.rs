//! [`SessionSql`]: sessions as sub-selects that checks join bars with.

use jiff::ToSpan as _;
use jiff::civil::Date;

use super::{Calendar, Session};
use crate::base::Timestamp;

/// Sessions to join with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSql {
    /// A row for each: `day`, `o`, `c`.
    pub sessions: String,
    /// A row for each day in UTC on which a bar of a session can begin, be it up to a day before its open: `utc` (its
    /// midnight), `o`, `c`, and `next_o`, when the next session opens. A bar meets its session by the day, not by trying all.
    pub days: String,
}

impl Calendar {
    /// The sessions that checks of data from `first` to `now` can ask for.
    pub fn around(&self, first: Timestamp, now: Timestamp) -> Vec<Session> {
        // The longest closures are two weeks; and bars beyond now are still to be put in a session.
        const MARGIN: i64 = 31;
        // Nobody has bars from before, but a wrong clock may say so.
        const EARLIEST: Date = jiff::civil::date(1900, 1, 1);
        let day = |time: Timestamp, days: i64| time.day().saturating_add(days.days());
        self.sessions(day(first.min(now), -MARGIN).max(EARLIEST), day(now, MARGIN))
    }
}

/// A day in UTC on which bars of a session can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionDay<'a> {
    /// Which day.
    pub utc: Date,
    /// Of which session.
    pub session: &'a Session,
    /// When the session after it opens.
    pub next_open: Option<Timestamp>,
}

/// The days of sessions, each from the day before it opens to that on which it closes.
pub fn session_days(sessions: &[Session]) -> impl Iterator<Item = SessionDay<'_>> {
    let next = sessions.iter().skip(1).map(|session| Some(session.open)).chain([None]);
    sessions.iter().zip(next).flat_map(|(session, next_open)| {
        days_of(session).map(move |utc| SessionDay { utc, session, next_open })
    })
}

impl SessionSql {
    /// Sessions as lists of values.
    pub fn of(sessions: &[Session]) -> Self {
        let row = |session: &Session| vec![date(session.day), instant(session.open), instant(session.close)];
        let day = |SessionDay { utc, session, next_open }: SessionDay<'_>| {
            let next = next_open.map_or_else(|| null(TIME), instant);
            vec![midnight(utc), instant(session.open), instant(session.close), next]
        };
        Self {
            sessions: values(["day", "o", "c"], &["date", TIME, TIME], sessions.iter().map(row)),
            days: values(["utc", "o", "c", "next_o"], &[TIME; 4], session_days(sessions).map(day)),
        }
    }
}

fn days_of(session: &Session) -> impl Iterator<Item = Date> + use<> {
    let (from, to) = (session.open.day().saturating_sub(1.day()), session.close.day());
    std::iter::successors(Some(from), |day| day.tomorrow().ok()).take_while(move |day| *day <= to)
}

// Typed one by one, a value is read once; a cast around all of them is done again for every bar that they are joined with.

const TIME: &str = "timestamp with time zone";

fn date(day: Date) -> String {
    format!("CAST('{day}' AS date)")
}

fn midnight(day: Date) -> String {
    format!("CAST('{day}T00:00:00Z' AS {TIME})")
}

fn instant(time: Timestamp) -> String {
    format!("CAST('{time}' AS {TIME})")
}

fn null(sort: &str) -> String {
    format!("CAST(NULL AS {sort})")
}

/// Rows as a sub-select.
fn values<const N: usize>(
    columns: [&str; N],
    sorts: &[&str; N],
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut rows: Vec<String> = rows.map(|row| format!("({})", row.join(", "))).collect();
    let names = columns.join(", ");
    // A list of values cannot be empty.
    let none = if rows.is_empty() { " WHERE false" } else { "" };
    if rows.is_empty() {
        rows.push(format!("({})", sorts.map(null).join(", ")));
    }
    format!("(SELECT {names} FROM (VALUES {}) AS v ({names}){none})", rows.join(", "))
}
