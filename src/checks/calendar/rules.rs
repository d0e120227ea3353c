//! [`Rule`]: a day of the year by rule: a date, the Nth weekday of a month, or days from Easter; and where it moves to.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::{Date, Time, Weekday};
use serde::{Deserialize, Deserializer};

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, try_from = "WrittenRule")]
pub(super) struct Rule {
    pub(super) name: String,
    /// When a session of that day closes.
    pub(super) close: Option<Clock>,
    day: Day,
    plus: i32,
    from: Option<i16>,
    until: Option<i16>,
    except: Vec<i16>,
    on: Vec<TradingDay>,
    observe: Option<Observe>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    #[serde(default)]
    name: String,
    close: Option<Clock>,
    date: Option<String>,
    nth: Option<i8>,
    weekday: Option<TradingDay>,
    month: Option<i8>,
    easter: Option<i32>,
    #[serde(default)]
    plus: i32,
    from: Option<i16>,
    until: Option<i16>,
    #[serde(default)]
    except: Vec<i16>,
    #[serde(default)]
    on: Vec<TradingDay>,
    observe: Option<Observe>,
}

/// What a rule gives before anything moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    Date { month: i8, day: i8 },
    Weekday { nth: i8, weekday: Weekday, month: i8 },
    Easter(i32),
}

/// Where a day moves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Observe {
    Sunday,
    Nearest,
    Next,
    Previous,
}

/// A weekday as it is written: `mon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TradingDay {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl TradingDay {
    pub(super) fn weekday(self) -> Weekday {
        match self {
            Self::Mon => Weekday::Monday,
            Self::Tue => Weekday::Tuesday,
            Self::Wed => Weekday::Wednesday,
            Self::Thu => Weekday::Thursday,
            Self::Fri => Weekday::Friday,
            Self::Sat => Weekday::Saturday,
            Self::Sun => Weekday::Sunday,
        }
    }
}

/// A time on a clock, `09:30`; `24:00` is midnight at the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Clock {
    pub(super) next_day: bool,
    pub(super) time: Time,
}

impl<'de> Deserialize<'de> for Clock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("{text:?} is not a time; write \"09:30\""));
        if text == "24:00" {
            return Ok(Self { next_day: true, time: Time::midnight() });
        }
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let number = |part: &str| if part.len() == 2 { part.parse::<i8>().ok() } else { None };
        let (hour, minute) = number(hour).zip(number(minute)).ok_or_else(wrong)?;
        let time = Time::new(hour, minute, 0, 0).map_err(|_| wrong())?;
        Ok(Self { next_day: false, time })
    }
}

impl TryFrom<WrittenRule> for Rule {
    type Error = String;

    fn try_from(written: WrittenRule) -> Result<Self, String> {
        let WrittenRule { name, close, plus, from, until, except, on, observe, .. } = written;
        let wrong = |what: &str| format!("rule {name:?}: {what}");
        let day = match (written.date, (written.nth, written.weekday, written.month), written.easter) {
            (Some(date), (None, None, None), None) => month_and_day(&date)
                .ok_or_else(|| wrong(&format!("{date:?} is not a day; write \"12-25\"")))?,
            (None, (Some(nth), Some(weekday), Some(month)), None) => {
                if !matches!(nth, -1 | 1..=5) || !(1..=12).contains(&month) {
                    return Err(wrong("nth is -1 (the last one) or 1 to 5, and month 1 to 12"));
                }
                Day::Weekday { nth, weekday: weekday.weekday(), month }
            }
            (None, (None, None, None), Some(days)) => Day::Easter(days),
            _ => return Err(wrong("write either date, or nth with weekday and month, or easter")),
        };
        Ok(Self { name, close, day, plus, from, until, except, on, observe })
    }
}

/// `12-25`; the 29th of February is a day.
fn month_and_day(text: &str) -> Option<Day> {
    const LEAP_YEAR: i16 = 2000;
    let (month, day) = text.split_once('-')?;
    let (month, day) = (month.parse().ok()?, day.parse().ok()?);
    Date::new(LEAP_YEAR, month, day).ok().map(|_| Day::Date { month, day })
}

/// What a day may not be to trade.
pub(super) struct Trading<'a> {
    /// Weekdays that trade.
    pub(super) days: &'a [TradingDay],
    /// Days without a session that are known so far.
    pub(super) taken: &'a BTreeSet<Date>,
}

impl Trading<'_> {
    pub(super) fn trades(&self, day: Date) -> bool {
        is_one_of(day, self.days) && !self.taken.contains(&day)
    }
}

fn is_one_of(day: Date, days: &[TradingDay]) -> bool {
    days.iter().any(|one| one.weekday() == day.weekday())
}

impl Rule {
    /// The day that it gives in a year; it may lie in the year before or after.
    pub(super) fn day_in(&self, year: i16, trading: &Trading<'_>) -> Option<Date> {
        if self.from.is_some_and(|from| year < from)
            || self.until.is_some_and(|until| year > until)
            || self.except.contains(&year)
        {
            return None;
        }
        let day = match self.day {
            Day::Date { month, day } => Date::new(year, month, day).ok()?,
            Day::Weekday { nth, weekday, month } => {
                Date::new(year, month, 1).ok()?.nth_weekday_of_month(nth, weekday).ok()?
            }
            Day::Easter(days) => plus(easter(year)?, days)?,
        };
        let day = plus(day, self.plus)?;
        if !self.on.is_empty() && !is_one_of(day, &self.on) {
            return None;
        }
        match (self.observe, day.weekday()) {
            (Some(Observe::Sunday | Observe::Nearest), Weekday::Sunday) => plus(day, 1),
            (Some(Observe::Nearest), Weekday::Saturday) => plus(day, -1),
            (Some(Observe::Next), _) => first_that_trades(day, 1, trading),
            (Some(Observe::Previous), _) => first_that_trades(day, -1, trading),
            _ => Some(day),
        }
    }
}

fn plus(day: Date, days: i32) -> Option<Date> {
    day.checked_add(i64::from(days).days()).ok()
}

/// The day itself, or the next one in steps of `step`.
fn first_that_trades(mut day: Date, step: i32, trading: &Trading<'_>) -> Option<Date> {
    while !trading.trades(day) {
        day = plus(day, step)?;
    }
    Some(day)
}

/// Easter Sunday of the Gregorian calendar, by the algorithm of Meeus, Jones and Butcher.
fn easter(year: i16) -> Option<Date> {
    let year_number = i32::from(year);
    let (a, b, c) = (year_number.rem_euclid(19), year_number.div_euclid(100), year_number.rem_euclid(100));
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let day = h + l - 7 * m + 114;
    Date::new(year, (day / 31) as i8, (day % 31 + 1) as i8).ok()
}
