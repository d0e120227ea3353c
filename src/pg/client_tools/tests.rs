//! Tests of [`super`] with little shell scripts in the place of `pg_dump`.

use super::*;

#[test]
fn a_version_is_the_number_behind_the_name() {
    let version = parse_version("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)").unwrap();
    assert_eq!((version.major, &*version.text), (15, "15.14 (Debian 15.14-0+deb12u1)"));
    assert_eq!(parse_version("pg_dump (PostgreSQL) 18beta1").unwrap().major, 18);
    assert_eq!(parse_version("mysqldump 8"), None);
}

#[test]
fn a_command_line_is_split_like_a_shell_does() {
    let words = split_words(r#"docker run -v "/a b:/c" --name='x y' img\ 1 """#).unwrap();
    assert_eq!(words, ["docker", "run", "-v", "/a b:/c", "--name=x y", "img 1", ""]);
    assert_eq!(split_words("docker 'run"), None);
}

#[test]
fn a_container_gets_the_names_of_the_variables_but_no_values() {
    let mut words = split_words("--context far exec -i db pg_dump").unwrap();
    forward_variables("/usr/bin/docker", &mut words);
    assert_eq!(words[..5], ["--context", "far", "exec", "-e", "PGHOST"]);
    assert_eq!(words[words.len() - 3..], ["-i", "db", "pg_dump"]);
    assert!(words.iter().all(|word| !word.contains('=')));
    let mut plain = vec!["run".to_owned()];
    forward_variables("ssh", &mut plain);
    assert_eq!(plain, ["run"]);
}

fn script(directory: &Path, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const VERSION: &str = r#"[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 15.3" && exit"#;

fn wait() -> std::time::Duration {
    std::time::Duration::from_secs(1)
}

#[tokio::test]
async fn the_password_goes_by_environment_and_never_by_argument() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        format!("{VERSION}\necho \"args: $*\" >&2; echo \"pw: $PGPASSWORD svc: $PGSERVICE\" >&2; exit 1");
    let path = script(directory.path(), "pg_dump", &text);
    let tool = PgDump::from_setting(path.to_str().unwrap()).await.unwrap();
    let connection =
        ConnectionParameters { password: Some(Secret::new("hunter2")), ..ConnectionParameters::default() };
    let error = tool
        .schema(&connection, Some("00000003-0000001B-1"), wait(), &Excluded::default())
        .await
        .unwrap_err();
    let ClientToolError::Failed { message, .. } = error else { panic!("{error}") };
    let (args, rest) = message.split_once('\n').unwrap();
    assert!(
        args.contains("--snapshot=00000003-0000001B-1") && args.contains("--lock-wait-timeout=1000"),
        "{args}"
    );
    assert!(!args.contains("hunter2"), "{args}");
    assert_eq!(rest, "pw: hunter2 svc:");
}

#[tokio::test]
async fn an_old_pg_dump_is_named_with_both_versions() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "pg_dump", VERSION);
    let search = Search { setting: Some(path.to_str().unwrap().to_owned()), path: None };
    let error = search.pg_dump(17).await.unwrap_err().to_string();
    assert!(error.contains("version 15") && error.contains("PostgreSQL 17"), "{error}");
    assert_eq!(search.pg_dump(15).await.unwrap().version().major, 15);
}

#[tokio::test]
async fn what_is_on_the_path_comes_first_if_it_is_new_enough() {
    let directory = tempfile::tempdir().unwrap();
    script(directory.path(), "pg_dump", "echo 'pg_dump (PostgreSQL) 99.1'");
    let search = Search { setting: None, path: Some(directory.path().as_os_str().to_owned()) };
    assert_eq!(search.pg_dump(14).await.unwrap().version().major, 99);
}

#[tokio::test]
async fn what_is_no_archive_is_an_error_that_names_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let path = script(directory.path(), "pg_dump", &format!("{VERSION}\necho hello"));
    let tool = PgDump::from_setting(path.to_str().unwrap()).await.unwrap();
    let error =
        tool.schema(&ConnectionParameters::default(), None, wait(), &Excluded::default()).await.unwrap_err();
    assert!(
        matches!(&error, ClientToolError::Archive { program, .. } if program.ends_with("pg_dump")),
        "{error}"
    );
}
