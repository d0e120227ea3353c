//! [`Calendar`]: when a market is open, by rules: weekdays, hours in its own zone, holidays, days that close early.
//!
//! Pure: the same sessions on every machine, since the rules of time zones come with the program. What the rules mean stands
//! at the head of `packs/calendars.toml`. A calendar knows nothing of single symbols: halts and late listings are not here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::Deserialize;

use super::definition::DefinitionError;
use crate::base::Timestamp;
use rules::{Clock, Rule, Trading, TradingDay};

mod rules;
mod sql;

pub use sql::{SessionDay, SessionSql, session_days};

/// When a market is open.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Calendar {
    zone: TimeZone,
    days: Vec<TradingDay>,
    open: Clock,
    open_day: i8,
    close: Clock,
    holidays: Vec<Rule>,
    closed: BTreeSet<Date>,
    early: Vec<(Rule, Clock)>,
    early_once: BTreeMap<Date, Clock>,
}

/// A session of a market. Its bars lie from `open` on and before `close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The trading day, by the market's own reckoning.
    pub day: Date,
    /// When it opens.
    pub open: Timestamp,
    /// When it closes.
    pub close: Timestamp,
}

/// A calendar as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// For people who read the file.
    #[serde(default, rename = "name")]
    _name: String,
    tz: String,
    days: Vec<TradingDay>,
    open: Clock,
    #[serde(default)]
    open_day: i8,
    close: Clock,
    #[serde(default)]
    holidays: Vec<Rule>,
    #[serde(default)]
    closed: Vec<Once>,
    #[serde(default)]
    early: Vec<Rule>,
    #[serde(default)]
    early_once: Vec<Once>,
}

/// A day that no rule gives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Once {
    date: String,
    #[serde(default)]
    name: String,
    close: Option<Clock>,
}

impl TryFrom<Written> for Calendar {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { tz, days, open, open_day, close, holidays, closed, early, early_once, .. } = written;
        let zone = TimeZoneDatabase::bundled().get(&tz);
        let zone =
            zone.map_err(|_| format!("tz = {tz:?}: there is no such time zone in the IANA database"))?;
        if days.is_empty() {
            return Err("days: name at least one weekday that trades".to_owned());
        }
        if !matches!(open_day, -1 | 0) {
            return Err("open_day is 0, or -1 for a session that opens on the day before its own".to_owned());
        }
        if open_day == 0 && close <= open {
            return Err(
                "close is not after open; a session that opens the day before has open_day = -1".to_owned()
            );
        }
        if let Some(rule) = holidays.iter().find(|rule| rule.close.is_some()) {
            return Err(format!("rule {:?}: a holiday has no close", rule.name));
        }
        if let Some(once) = closed.iter().find(|once| once.close.is_some()) {
            return Err(format!("closed {:?}: a day without a session has no close", once.name));
        }
        let no_close = |name: &str| format!("rule {name:?}: a day that closes early needs a close");
        let with_close =
            |rule: Rule| rule.close.ok_or_else(|| no_close(&rule.name)).map(|close| (rule, close));
        Ok(Self {
            zone,
            days,
            open,
            open_day,
            close,
            holidays,
            closed: closed.iter().map(Once::day).collect::<Result<_, _>>()?,
            early: early.into_iter().map(with_close).collect::<Result<_, _>>()?,
            early_once: early_once
                .iter()
                .map(|once| Ok((once.day()?, once.close.ok_or_else(|| no_close(&once.name))?)))
                .collect::<Result<_, String>>()?,
        })
    }
}

impl Once {
    fn day(&self) -> Result<Date, String> {
        let wrong = |_| format!("date = {:?} is not a day; write \"2026-12-25\"", self.date);
        self.date.parse().map_err(wrong)
    }
}

impl Calendar {
    /// The calendars that come with barkeep, by name.
    pub fn built_in() -> Result<BTreeMap<String, Self>, DefinitionError> {
        toml::from_str(include_str!("packs/calendars.toml"))
            .map_err(|error| DefinitionError { pack: "calendars", text: error.to_string() })
    }

    /// Its sessions whose days are `from` to `to`, both included.
    pub fn sessions(&self, from: Date, to: Date) -> Vec<Session> {
        let closed = self.days_without_session(from, to);
        let early = self.early_closes(from, to, &closed);
        let trading = Trading { days: &self.days, taken: &closed };
        let all = from.series(1.day()).take_while(|day| *day <= to);
        all.filter(|day| trading.trades(*day)).filter_map(|day| self.session(day, early.get(&day))).collect()
    }

    fn session(&self, day: Date, early: Option<&Clock>) -> Option<Session> {
        let opens = day.checked_add(i64::from(self.open_day).days()).ok()?;
        let open = self.instant(opens, self.open)?;
        let close = self.instant(day, *early.unwrap_or(&self.close))?;
        Some(Session { day, open, close })
    }

    /// In UTC. A time that a clock shows twice is the first of them, one that it leaves out is as much later.
    fn instant(&self, day: Date, clock: Clock) -> Option<Timestamp> {
        let day = if clock.next_day { day.tomorrow().ok()? } else { day };
        let ambiguous = self.zone.to_ambiguous_timestamp(day.to_datetime(clock.time));
        Timestamp::from_unix_micros(ambiguous.compatible().ok()?.as_microsecond())
    }

    /// A day may move into another year, so that the years before and after belong to it.
    fn years(from: Date, to: Date) -> std::ops::RangeInclusive<i16> {
        from.year().saturating_sub(1)..=to.year().saturating_add(1)
    }

    fn days_without_session(&self, from: Date, to: Date) -> BTreeSet<Date> {
        let mut taken = BTreeSet::new();
        for rule in &self.holidays {
            for year in Self::years(from, to) {
                let day = rule.day_in(year, &Trading { days: &self.days, taken: &taken });
                taken.extend(day);
            }
        }
        taken.extend(&self.closed);
        taken
    }

    fn early_closes(&self, from: Date, to: Date, taken: &BTreeSet<Date>) -> BTreeMap<Date, Clock> {
        let trading = Trading { days: &self.days, taken };
        let mut early = BTreeMap::new();
        for (rule, close) in &self.early {
            for day in Self::years(from, to).filter_map(|year| rule.day_in(year, &trading)) {
                early.entry(day).or_insert(*close);
            }
        }
        early.extend(&self.early_once);
        early
    }
}

#[cfg(test)]
mod tests;
