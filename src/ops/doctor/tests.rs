//! The doctor against a throw-away server: one patient in good health, and one for each complaint.

use super::*;
use crate::pg::throwaway::{Throwaway, ThrowawayOptions};

fn line<'a>(report: &'a DoctorReport, what: &str) -> &'a DoctorLine {
    report.lines.iter().find(|line| line.what == what).unwrap()
}

#[tokio::test]
async fn the_doctor_names_what_would_go_wrong_and_only_that() {
    let server = Throwaway::start(&ThrowawayOptions::default()).unwrap();
    let bench = Workbench::connect(&server.settings("postgres")).await.unwrap();
    let script = "CREATE ROLE clerk LOGIN; CREATE TABLE open (id int); CREATE TABLE shut (id int); \
         CREATE TABLE hidden (id int); GRANT SELECT ON open, hidden TO clerk; \
         ALTER TABLE hidden ENABLE ROW LEVEL SECURITY";
    bench.run("setting up", script).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let vault = folder.path().join("vault");
    Vault::open_or_create(&vault, crate::base::SystemClock.now(), [7; 48]).unwrap();
    let postgres = server.settings("postgres");
    let request = |user: &str| DoctorRequest {
        database: ConnectionSettings { user: user.to_owned(), ..postgres.clone() },
        vault: Some(vault.clone()),
        tools: Search { setting: None, path: std::env::var_os("PATH") },
        for_restore: false,
    };
    let services = Services::default();

    let report = doctor(&request("postgres"), &services).await.unwrap();
    for what in ["tls", "server", "pooler", "role", "privileges", "row security", "locks", "clock", "vault"] {
        assert_eq!(line(&report, what).answer, Answer::Ok, "{:?}", line(&report, what));
    }

    let report = doctor(&request("clerk"), &services).await.unwrap();
    assert_eq!(line(&report, "privileges").found, "no SELECT on public.shut");
    assert_eq!(line(&report, "row security").found, "policies would hide rows of public.hidden");
    assert_eq!(line(&report, "role").answer, Answer::Warn);
    assert_eq!(report.exit_code(), 22);

    let absent = DoctorRequest { vault: Some(folder.path().join("absent")), ..request("postgres") };
    assert_eq!(doctor(&absent, &services).await.unwrap().exit_code(), 10);

    drop(server);
    let report = doctor(&request("postgres"), &services).await.unwrap();
    assert_eq!(report.exit_code(), 20, "{report:?}");
}

#[test]
fn a_connection_that_trusts_everybody_is_pointed_out() {
    let mut report = DoctorReport::default();
    let around = crate::pg::ProcessSurroundings;
    let settings = ConnectionSettings::resolve("postgres://u@db.example/d?sslmode=require", &around).unwrap();
    tls(&mut report, &settings);
    assert_eq!(report.lines[0].answer, Answer::Warn);
    assert_eq!(report.exit_code(), 3);
}

#[test]
fn a_pooler_is_a_failure() {
    let mut report = DoctorReport::default();
    pooler(&mut report, true);
    assert_eq!(report.exit_code(), 0);
    pooler(&mut report, false);
    assert_eq!(report.exit_code(), 20);
}
