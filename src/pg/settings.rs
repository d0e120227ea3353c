//! [`ConnectionSettings`]: which database, as libpq understands it: URI, key=value string, service, environment, `.pgpass`.
//!
//! Everything outside (environment, files) comes in through [`Surroundings`], so that tests can say what is there. GSS,
//! SSPI and LDAP lookups are refused by name: silently falling back to something weaker is worse than saying no.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::Secret;

/// What a connection string alone does not say: environment variables and files.
pub trait Surroundings {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file, `None` where it does not exist.
    fn file(&self, path: &str) -> Option<String>;
}

/// The process's own environment and disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessSurroundings;

impl Surroundings for ProcessSurroundings {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }
}

/// How strictly TLS is asked for, as in libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS if the server offers it.
    Prefer,
    /// TLS, the certificate is not checked (`doctor` warns).
    Require,
    /// TLS, the certificate must come from a trusted authority.
    VerifyCa,
    /// TLS, and it must name the host.
    VerifyFull,
}

impl TlsMode {
    /// libpq's word for it.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A database to connect to, fully resolved.
#[derive(Debug, Clone)]
pub struct ConnectionSettings {
    /// Host name, address, or directory of a Unix socket.
    pub host: String,
    /// TCP port, or the number in the socket's name.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Password, if any was found.
    pub password: Option<Secret>,
    /// Database.
    pub database: String,
    /// TLS.
    pub tls: TlsMode,
    /// CA file instead of the system's store.
    pub root_cert: Option<PathBuf>,
    /// Client certificate.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
    /// Seconds to wait for a connection.
    pub connect_timeout: u64,
}

/// Why a connection string cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// Not a URI, key=value string or name that is understood.
    #[error("the database address is not understood: {0}")]
    Syntax(String),
    /// A keyword libpq has and barkeep does not take.
    #[error("the connection parameter {0:?} is not supported")]
    Unsupported(String),
    /// A service name that no service file has.
    #[error("the service {0:?} is in no service file")]
    NoService(String),
    /// A value out of place.
    #[error("the connection parameter {0} has the value {1:?}, which is not {2}")]
    Value(&'static str, String, &'static str),
}

impl ConnectionSettings {
    /// Reads `text`: a URI (`postgres://`, `postgresql://`, SQLAlchemy's `postgresql+driver://`), a key=value string, a
    /// bare database name, or nothing at all (then the `PG*` variables decide).
    pub fn resolve(text: &str, around: &dyn Surroundings) -> Result<Self, SettingsError> {
        let mut given = parse(text)?;
        let service = given.get("service").cloned().or_else(|| around.variable("PGSERVICE"));
        if let Some(service) = service {
            for (key, value) in read_service(&service, around)? {
                given.entry(key).or_insert(value);
            }
        }
        for (key, variable) in ENVIRONMENT {
            if let Some(value) = around.variable(variable) {
                given.entry((*key).to_owned()).or_insert(value);
            }
        }
        Self::from_keywords(&given, around)
    }

    fn from_keywords(
        given: &BTreeMap<String, String>,
        around: &dyn Surroundings,
    ) -> Result<Self, SettingsError> {
        refuse_unknown(given)?;
        let text = |key: &str| given.get(key).filter(|value| !value.is_empty()).cloned();
        let host = text("hostaddr").or_else(|| text("host")).unwrap_or_else(|| default_host(around));
        if host.contains(',') {
            return Err(SettingsError::Unsupported("host with several names".into()));
        }
        let port = match text("port") {
            None => 5432,
            Some(port) => port.parse().map_err(|_| SettingsError::Value("port", port, "a port number"))?,
        };
        let user = text("user")
            .or_else(|| around.variable("USER"))
            .or_else(|| around.variable("LOGNAME"))
            .unwrap_or_else(|| "postgres".to_owned());
        let database = text("dbname").unwrap_or_else(|| user.clone());
        let password = match text("password") {
            Some(password) => Some(Secret::new(password)),
            None => {
                passfile(given, around).and_then(|lines| password_for(&lines, &host, port, &database, &user))
            }
        };
        let connect_timeout = match text("connect_timeout") {
            None => 30,
            Some(seconds) => {
                seconds.parse().map_err(|_| SettingsError::Value("connect_timeout", seconds, "seconds"))?
            }
        };
        Ok(Self {
            port,
            password,
            tls: tls_mode(text("sslmode"), &host)?,
            root_cert: text("sslrootcert").filter(|path| path != "system").map(PathBuf::from),
            client_cert: text("sslcert").map(PathBuf::from),
            client_key: text("sslkey").map(PathBuf::from),
            connect_timeout,
            host,
            user,
            database,
        })
    }

    /// The same server and role, another database.
    pub fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// Where it leads, for people; never with the password.
    pub fn describe(&self) -> String {
        format!("{}@{}:{}/{}", self.user, self.host, self.port, self.database)
    }
}

const ENVIRONMENT: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("passfile", "PGPASSFILE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
];

const KNOWN: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "passfile",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "service",
];

/// Harmless for us: they tune what barkeep sets itself or does not need.
const IGNORED: &[&str] = &[
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "target_session_attrs",
    "sslsni",
    "sslcompression",
    "gssencmode",
    "channel_binding",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
];

fn refuse_unknown(given: &BTreeMap<String, String>) -> Result<(), SettingsError> {
    for (key, value) in given {
        let refused = value == "require" && (key == "gssencmode" || key == "channel_binding");
        if refused || !(KNOWN.contains(&key.as_str()) || IGNORED.contains(&key.as_str())) {
            return Err(SettingsError::Unsupported(key.clone()));
        }
    }
    Ok(())
}

fn default_host(around: &dyn Surroundings) -> String {
    // libpq's compiled-in directory on Debian, which is also where most packages put the socket.
    let _ = around;
    if std::path::Path::new("/var/run/postgresql").is_dir() { "/var/run/postgresql" } else { "localhost" }
        .to_owned()
}

fn tls_mode(text: Option<String>, host: &str) -> Result<TlsMode, SettingsError> {
    if host.starts_with('/') {
        return Ok(TlsMode::Disable);
    }
    match text.as_deref() {
        None | Some("prefer" | "allow") => Ok(TlsMode::Prefer),
        Some("disable") => Ok(TlsMode::Disable),
        Some("require") => Ok(TlsMode::Require),
        Some("verify-ca") => Ok(TlsMode::VerifyCa),
        Some("verify-full") => Ok(TlsMode::VerifyFull),
        Some(other) => Err(SettingsError::Value("sslmode", other.to_owned(), "an sslmode of libpq")),
    }
}

fn parse(text: &str) -> Result<BTreeMap<String, String>, SettingsError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let driver_free = scheme.split('+').next().unwrap_or_default();
        if driver_free != "postgres" && driver_free != "postgresql" {
            return Err(SettingsError::Syntax(format!("the scheme {scheme:?} is not postgresql")));
        }
        return parse_uri(rest);
    }
    if text.contains('=') {
        parse_keywords(text)
    } else {
        Ok(BTreeMap::from([("dbname".to_owned(), text.to_owned())]))
    }
}

fn parse_uri(rest: &str) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut given = BTreeMap::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (userinfo, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let (host, port) = match address.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, after)) => (host, after.trim_start_matches(':')),
        None => address.rsplit_once(':').unwrap_or((address, "")),
    };
    for (key, value) in
        [("user", user), ("password", password), ("host", host), ("port", port), ("dbname", database)]
    {
        if !value.is_empty() {
            given.insert(key.to_owned(), percent_decode(value)?);
        }
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| SettingsError::Syntax("a URI parameter has no '='".to_owned()))?;
        let key = if key == "ssl" { "sslmode" } else { key };
        let value = if value == "true" && key == "sslmode" { "require" } else { value };
        given.insert(key.to_owned(), percent_decode(value)?);
    }
    Ok(given)
}

fn percent_decode(text: &str) -> Result<String, SettingsError> {
    let bad = || {
        SettingsError::Syntax("a percent sign in a URI is not followed by two hex digits of UTF-8".to_owned())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, after) = tail.split_at_checked(2).ok_or_else(bad)?;
        let hex = std::str::from_utf8(hex).map_err(|_| bad())?;
        bytes.push(u8::from_str_radix(hex, 16).map_err(|_| bad())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

fn parse_keywords(text: &str) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut given = BTreeMap::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(given);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(SettingsError::Syntax(format!("there is no '=' after {key:?}")));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        given.insert(key, keyword_value(&mut chars)?);
    }
}

fn keyword_value(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, SettingsError> {
    let mut value = String::new();
    let quoted = chars.next_if_eq(&'\'').is_some();
    while let Some(c) = chars.next() {
        match c {
            '\\' => value.extend(chars.next()),
            '\'' if quoted => return Ok(value),
            c if !quoted && c.is_whitespace() => return Ok(value),
            c => value.push(c),
        }
    }
    if quoted { Err(SettingsError::Syntax("a quoted value is never closed".to_owned())) } else { Ok(value) }
}

fn read_service(service: &str, around: &dyn Surroundings) -> Result<BTreeMap<String, String>, SettingsError> {
    let home = around.variable("HOME").unwrap_or_default();
    let files = [
        around.variable("PGSERVICEFILE"),
        Some(format!("{home}/.pg_service.conf")),
        around.variable("PGSYSCONFDIR").map(|directory| format!("{directory}/pg_service.conf")),
        Some("/etc/postgresql-common/pg_service.conf".to_owned()),
    ];
    for text in files.into_iter().flatten().filter_map(|path| around.file(&path)) {
        let mut inside = false;
        let mut found = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = name == service;
                if inside {
                    found.get_or_insert_with(BTreeMap::new);
                }
            } else if line.starts_with("ldap") && inside {
                return Err(SettingsError::Unsupported("LDAP lookup in a service file".to_owned()));
            } else if let (true, Some((key, value)), Some(found)) =
                (inside, line.split_once('='), found.as_mut())
            {
                found.insert(key.trim().to_owned(), value.trim().to_owned());
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(SettingsError::NoService(service.to_owned()))
}

fn passfile(given: &BTreeMap<String, String>, around: &dyn Surroundings) -> Option<String> {
    let path = given
        .get("passfile")
        .cloned()
        .unwrap_or_else(|| format!("{}/.pgpass", around.variable("HOME").unwrap_or_default()));
    around.file(&path)
}

fn password_for(lines: &str, host: &str, port: u16, database: &str, user: &str) -> Option<Secret> {
    let host = if host.starts_with('/') { "localhost" } else { host };
    let port = port.to_string();
    let wanted = [host, port.as_str(), database, user];
    lines.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = passfile_fields(line);
        let (password, pattern) = fields.split_last()?;
        let hit = pattern.len() == 4
            && pattern.iter().zip(wanted).all(|(field, value)| field == "*" || field == value);
        hit.then(|| Secret::new(password.clone()))
    })
}

fn passfile_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '\\' => fields[last].extend(chars.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake(BTreeMap<&'static str, &'static str>, BTreeMap<&'static str, &'static str>);

    impl Surroundings for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.get(name).map(|text| (*text).to_owned())
        }

        fn file(&self, path: &str) -> Option<String> {
            self.1.get(path).map(|text| (*text).to_owned())
        }
    }

    fn resolve(text: &str, fake: &Fake) -> ConnectionSettings {
        ConnectionSettings::resolve(text, fake).unwrap()
    }

    #[test]
    fn a_uri_and_a_sqlalchemy_uri_and_keywords_say_the_same() {
        for text in [
            "postgres://trader:p%40ss@db.example:6543/trading?sslmode=verify-full",
            "postgresql+psycopg2://trader:p%40ss@db.example:6543/trading?sslmode=verify-full",
            "host=db.example port=6543 user=trader password='p@ss' dbname = trading sslmode=verify-full",
        ] {
            let settings = resolve(text, &Fake::default());
            assert_eq!(settings.describe(), "trader@db.example:6543/trading");
            assert_eq!(settings.password, Some(Secret::new("p@ss")));
            assert_eq!(settings.tls, TlsMode::VerifyFull);
        }
    }

    #[test]
    fn the_environment_a_service_and_a_passfile_fill_the_gaps() {
        let fake = Fake(
            BTreeMap::from([("PGUSER", "env"), ("HOME", "/home/me"), ("PGHOST", "other")]),
            BTreeMap::from([
                ("/home/me/.pg_service.conf", "[x]\nhost=no\n[prod]\nhost=prod.example\ndbname=trading\n"),
                ("/home/me/.pgpass", "# hosts\nprod.example:*:trading:env:se\\:cret\n"),
            ]),
        );
        let settings = resolve("service=prod", &fake);
        assert_eq!(settings.describe(), "env@prod.example:5432/trading");
        assert_eq!(settings.password, Some(Secret::new("se:cret")));
        assert_eq!(resolve("trading", &fake).describe(), "env@other:5432/trading");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        let fake = Fake::default();
        let refused = |text: &str| ConnectionSettings::resolve(text, &fake).unwrap_err().to_string();
        assert!(refused("gssencmode=require").contains("gssencmode"));
        assert!(refused("mysql://x/y").contains("mysql"));
        assert!(refused("service=none").contains("none"));
        assert!(refused("port=x").contains("port"));
        assert!(!refused("postgres://u:secret%zz@h/d").contains("secret"));
    }
}
