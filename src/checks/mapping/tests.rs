//! Mapping by name and by configuration, and what is refused.

use super::*;
use crate::catalog::{Column, PgType, RelationKind, TextColumn, TypeKind};
use crate::checks::{packs, roles};

fn relation(name: &str, columns: &[(&str, &str)]) -> Relation {
    let column = |(index, (name, pg_type)): (usize, &(&str, &str))| Column {
        attnum: index as i16 + 1,
        name: (*name).to_owned(),
        type_sql: (*pg_type).to_owned(),
        pg_type: PgType {
            oid: 1,
            schema: "pg_catalog".into(),
            name: (*pg_type).to_owned(),
            extension: None,
            kind: TypeKind::Base { binary: true },
        },
        typmod: -1,
        dimensions: 0,
        not_null: false,
        generated: None,
        identity: None,
        collation: None,
        text: TextColumn::Cast,
    };
    Relation {
        oid: 1,
        name: TableName::new("public", name),
        kind: RelationKind::Table,
        owner: String::new(),
        unlogged: false,
        partition_of: None,
        partition_strategy: None,
        access_method: None,
        pages: 0,
        toast_bytes: 0,
        estimated_rows: 0,
        filenode: None,
        rewritten: false,
        readable: true,
        row_security: false,
        extension: None,
        extension_condition: None,
        columns: columns.iter().enumerate().map(column).collect(),
        primary_key: Vec::new(),
        populated: true,
        hypertable: None,
        stored_in: None,
    }
}

fn find(relations: &[Relation], settings: &str) -> Result<Mapping, MappingError> {
    let (packs, roles) = (packs().unwrap(), roles().unwrap());
    let checks: Vec<&Check> = packs.iter().flat_map(|pack| &pack.checks).collect();
    let tables: Vec<Candidate> = relations.iter().filter_map(Candidate::of).collect();
    Mapping::find(&roles, &checks, &tables, &toml::from_str(settings).unwrap())
}

fn orders() -> Relation {
    relation("orders", &[("order_id", "int8"), ("state", "text"), ("quantity", "float8"), ("tags", "jsonb")])
}

#[test]
fn tables_and_columns_are_recognised_by_name_and_type() {
    let found = find(&[orders()], "").unwrap();
    assert_eq!(found.column("orders.id").unwrap().name, "order_id");
    assert_eq!(found.column("orders.status").unwrap().name, "state");
    assert_eq!(found.column("orders.qty").unwrap().sort, ColumnSort::Float);
    assert_eq!(found.lacks(&["orders.id".to_owned(), "trades.order_id".to_owned()]), Some("trades.order_id"));
    // A table with the right name and nothing to ask it is somebody else's.
    assert_eq!(find(&[relation("orders", &[("colour", "text")])], "").unwrap(), Mapping::default());
    // A time cannot be an amount, whatever it is called.
    let odd = relation("orders", &[("id", "int8"), ("status", "text"), ("qty", "timestamptz")]);
    assert!(find(&[odd], "").unwrap().column("orders.qty").is_none());
}

#[test]
fn configuration_goes_before_names() {
    let other = relation("bestellungen", &[("nr", "uuid"), ("stand", "text")]);
    let settings = "[orders]\ntable = 'bestellungen'\nid = 'nr'\nstatus = 'stand'\nwhere = 'not test'
                    values.status.filled = ['fertig']";
    let found = find(&[orders(), other], settings).unwrap();
    let mapped = &found.roles["orders"];
    assert_eq!((mapped.table.name.as_str(), mapped.columns["id"].name.as_str()), ("bestellungen", "nr"));
    assert_eq!(mapped.values["status"]["filled"], ["fertig"]);
    assert_eq!(find(&[orders()], "[orders]\ntable = ''").unwrap(), Mapping::default());
    assert!(find(&[orders()], "[orders]\nqty = ''").unwrap().column("orders.qty").is_none());
}

#[test]
fn what_is_not_there_is_refused_and_named() {
    for (settings, named) in [
        ("[ordres]\ntable = 'orders'", "ordres"),
        ("[orders]\ntable = 'x.orders'", "x.orders"),
        ("[orders]\nstatsu = 'state'", "statsu"),
        ("[orders]\nstatus = 'stat'", "stat"),
        ("[orders]\nqty = 'tags'", "a jsonb cannot be amount"),
        ("[orders]\nvalues.status.filed = ['x']", "filed"),
        ("[orders]\nvalues.status.filled = []", "filled"),
    ] {
        let error = find(&[orders()], settings).unwrap_err().to_string();
        assert!(error.contains(named), "{settings}: {error}");
    }
}

#[test]
fn the_length_of_a_bar_is_known_by_name_or_not_at_all() {
    let intervals =
        ["bars_1m", "candles_5min", "daily_bars", "ohlcv_1H", "market_bars", "bars"].map(interval_of);
    let expected = [Some("1 minute"), Some("5 minutes"), Some("1 day"), Some("1 hour"), None, None];
    assert_eq!(intervals, expected);
}

#[test]
fn the_id_of_symbols_is_what_bars_refer_to() {
    let symbols =
        relation("symbols", &[("id", "int8"), ("symbol", "text"), ("status", "text"), ("illiquid", "bool")]);
    let bars = |kind| {
        relation(
            "bars_1m",
            &[("symbol", kind), ("ts", "timestamptz"), ("close", "numeric"), ("volume", "int8")],
        )
    };
    for (kind, id) in [("text", "symbol"), ("int8", "id")] {
        let found = find(&[symbols.clone(), bars(kind)], "").unwrap();
        assert_eq!(found.column("symbols.id").unwrap().name, id, "{kind}");
    }
}

#[test]
fn the_id_of_orders_is_what_trades_refer_to() {
    let orders = relation("orders", &[("id", "int8"), ("uuid", "uuid"), ("status", "text")]);
    for (kind, id) in [("uuid", "uuid"), ("int8", "id"), ("int4", "id")] {
        let trades = relation("trades", &[("id", "int8"), ("order_id", kind)]);
        let found = find(&[orders.clone(), trades], "").unwrap();
        assert_eq!(found.column("orders.id").unwrap().name, id, "{kind}");
        assert!(
            !found.column("orders.id").unwrap().as_text && !found.column("trades.order_id").unwrap().as_text
        );
    }
}

#[test]
fn keys_without_a_comparison_are_compared_as_text() {
    let orders = relation("orders", &[("id", "int8"), ("account_id", "int4"), ("status", "text")]);
    let trades = relation("trades", &[("id", "int8"), ("order_id", "text"), ("account_id", "int8")]);
    let found = find(&[orders, trades], "").unwrap();
    let as_text = |name| found.column(name).unwrap().as_text;
    assert!(as_text("orders.id") && as_text("trades.order_id"));
    assert!(!as_text("orders.account") && !as_text("trades.account") && !as_text("trades.id"));
}

#[test]
fn a_column_that_cannot_be_what_it_is_called_is_named() {
    let bars = relation(
        "market_bars",
        &[("symbol", "text"), ("ts", "int8"), ("high", "numeric"), ("low", "numeric"), ("volume", "text")],
    );
    let found = find(&[bars], "").unwrap();
    let expected = "public.market_bars.ts is int8, which cannot be time";
    assert_eq!(found.unfit("bars.symbol"), Some(("bars", expected)));
    let odd = relation("orders", &[("id", "int8"), ("status", "text"), ("qty", "timestamptz")]);
    let found = find(&[odd], "").unwrap();
    let expected = "public.orders.qty is timestamptz, which cannot be amount";
    assert_eq!(found.unfit("orders.qty"), Some(("orders.qty", expected)));
    assert_eq!(found.unfit("orders.price"), None);
}
