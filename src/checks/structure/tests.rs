//! Questions about the files of a backup: no word that only PostgreSQL knows.

use super::*;

fn constraint(rule: Rule) -> Constraint {
    let table = TableName::new("oms", "fills");
    Constraint { table, rule, name: None, condition: None, standing: Standing::Enforced }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn key() -> ForeignKey {
    ForeignKey {
        columns: names(&["a", "b"]),
        parent: TableName::new("oms", "p"),
        parent_columns: names(&["x", "y"]),
        full: true,
        period: false,
        comparisons: vec![Some("p.\"x\" OPERATOR(public.=) c.\"a\"".to_owned()), None],
    }
}

fn asked(constraint: &Constraint, witness: Witness<'_>) -> Result<String, Unasked> {
    structure_question(constraint, &Structure::default(), witness).map(|question| question.sql)
}

/// A backup with both tables, in which `odd` has an equality of its own.
fn files(sequences: Vec<Sequence>) -> Files {
    let columns = |columns: &[&str]| names(columns).into_iter().collect();
    let fills = columns(&["a", "b", "it's", "id", "x"]);
    let comparable = BTreeMap::from([
        (TableName::new("oms", "fills"), fills),
        (TableName::new("oms", "p"), columns(&["x", "y"])),
    ]);
    Files { sequences, comparable }
}

#[test]
fn a_server_is_asked_by_its_own_operators_and_files_by_plain_ones() {
    let orphans = constraint(Rule::ForeignKey(key()));
    assert_eq!(
        asked(&orphans, Witness::Postgres).unwrap(),
        r#"SELECT c."a", c."b" FROM ONLY "oms"."fills" AS c WHERE (c."a" IS NOT NULL OR c."b" IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM ONLY "oms"."p" AS p WHERE p."x" OPERATOR(public.=) c."a" AND p."y" = c."b")"#
    );
    assert_eq!(
        asked(&orphans, Witness::Files(&files(Vec::new()))).unwrap(),
        r#"SELECT c."a", c."b" FROM "oms"."fills" AS c WHERE (c."a" IS NOT NULL OR c."b" IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM "oms"."p" AS p WHERE p."x" = c."a" AND p."y" = c."b")"#
    );
    let missing = constraint(Rule::NotNull(names(&["it's", "b"])));
    assert_eq!(
        asked(&missing, Witness::Files(&files(Vec::new()))).unwrap(),
        r#"SELECT concat_ws(', ', nullif(concat_ws(', ', CASE WHEN c."it's" IS NULL THEN 'it''s' END, CASE WHEN c."b" IS NULL THEN 'b' END), '')) AS missing FROM "oms"."fills" AS c WHERE (c."it's" IS NULL OR c."b" IS NULL)"#
    );
}

#[test]
fn a_hundred_columns_and_more_are_asked_in_parts() {
    let columns: Vec<String> = (0..120).map(|number| format!("c{number}")).collect();
    let sql = asked(&constraint(Rule::NotNull(columns)), Witness::Postgres).unwrap();
    assert_eq!(sql.matches("num_nulls(c.\"c0\", ").count(), 1);
    assert_eq!(sql.matches(" OR pg_catalog.num_nulls(").count(), 2);
}

#[test]
fn a_sequence_stands_where_the_manifest_says() {
    let sequence = TableName::new("oms", "ids");
    let rule = Rule::Sequence { column: "id".to_owned(), sequence: sequence.clone(), increment: 5 };
    let stands = |last_value: &str, is_called| {
        let known = Sequence {
            name: sequence.clone(),
            last_value: last_value.to_owned(),
            is_called,
            owned_by: None,
            ascending: true,
        };
        asked(&constraint(rule.clone()), Witness::Files(&files(vec![known])))
    };
    assert!(stands("10", true).unwrap().contains("CAST('10' AS bigint)"));
    assert!(stands("10", false).unwrap().contains("CAST('5' AS bigint)"));
    assert_eq!(stands("ten", true), Err(Unasked::NoSequence));
    assert_eq!(asked(&constraint(rule), Witness::Files(&files(Vec::new()))), Err(Unasked::NoSequence));
}

#[test]
fn what_only_a_server_understands_is_not_asked_of_files() {
    let backup = files(Vec::new());
    let of_files = Witness::Files(&backup);
    let check = Rule::Check { expression: "x > 0".to_owned(), columns: names(&["x"]), no_inherit: false };
    assert_eq!(asked(&constraint(check.clone()), of_files), Err(Unasked::Expression));
    assert_eq!(
        asked(&constraint(check), Witness::Postgres).unwrap(),
        r#"SELECT CAST("x" AS text) AS "x" FROM "oms"."fills" WHERE NOT coalesce((x > 0), true)"#
    );
    let unique = Rule::Unique { columns: names(&["x"]), primary: false, nulls_distinct: true };
    let some = Constraint { condition: Some("(x > 0)".to_owned()), ..constraint(unique) };
    assert_eq!(asked(&some, of_files), Err(Unasked::Expression));
    // What a person wrote is asked of everybody.
    let stated = Constraint { standing: Standing::Declared, ..some };
    assert!(asked(&stated, of_files).unwrap().contains("IS NOT NULL AND ((x > 0)) GROUP BY"));
    let period = constraint(Rule::ForeignKey(ForeignKey { period: true, ..key() }));
    assert_eq!(asked(&period, of_files), Err(Unasked::Period));
    assert!(asked(&period, Witness::Postgres).unwrap().ends_with(
        r#"AND NOT coalesce(c."b" <@ (SELECT pg_catalog.range_agg(p."y") FROM ONLY "oms"."p" AS p WHERE p."x" OPERATOR(public.=) c."a"), false)"#
    ));
    // Values that the files spell in more than one way, and tables that were left out.
    let odd = Rule::Unique { columns: names(&["x", "odd"]), primary: true, nulls_distinct: true };
    assert_eq!(asked(&constraint(odd), of_files), Err(Unasked::OwnEquality("oms.fills odd".to_owned())));
    let parent = TableName::new("oms", "left_out");
    let orphans = Rule::ForeignKey(ForeignKey { parent: parent.clone(), ..key() });
    assert_eq!(asked(&constraint(orphans), of_files), Err(Unasked::NoTable(parent)));
}

#[test]
fn every_check_has_a_name_of_its_own_and_asks_something() {
    let mut names: Vec<&str> = STRUCTURE_CHECKS.iter().flat_map(|check| [check.id, check.name]).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 16);
    assert!(STRUCTURE_CHECKS.iter().all(|check| check.question.ends_with('?')));
}
