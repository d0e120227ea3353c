//! The examples at the end of each command's help. `docs/cli.md` is made from them.

pub(super) const BARKEEP: &str = "\
Start here:
  barkeep demo                                   see everything on a throw-away server
  barkeep init --vault /backup/vault             make a vault and a configuration file
  barkeep doctor postgres://db.example/trading   check everything before the first dump
  barkeep dump postgres://db.example/trading     take a backup
Exit codes are in docs/exit-codes.md: 0 is good, 3 is good with warnings, anything else is a failure.";

pub(super) const DEMO: &str = "\
Examples:
  barkeep demo                          with the PostgreSQL binaries of this machine, into ./demo-vault
  barkeep demo --vault /tmp/v           into another vault
  barkeep demo --server postgres://postgres@localhost/postgres";

pub(super) const DUMP: &str = "\
Examples:
  barkeep dump postgres://backup@db.example/trading --vault /backup/vault
  barkeep dump trading -n public -n market -T 'public.scratch_*' -j 4
  barkeep dump trading --cluster-by market_bars=symbol,ts
  barkeep dump trading -t orders -t trades --tag before-migration --keep forever
  barkeep dump trading --where \"market_bars=ts >= '2026-01-01'\" --dry-run";

pub(super) const RESTORE: &str = "\
Examples:
  barkeep restore --to trading_copy --create                 the latest backup into a new database, compared
  barkeep restore --to trading -t orders --rename orders=orders_old
  barkeep restore before-migration --to trading --map-schema public=recovery
  barkeep restore --before 2026-11-20T02:00:00Z --to trading -t trades --mode only-missing
  barkeep restore --to trading_copy --create --no-owner --roles skip
  barkeep restore --to drill --create --timescale require              with every policy, paused
  barkeep restore --to analysis --create --since 2026-11-01 --until 2026-11-08";

pub(super) const VERIFY: &str = "\
Examples:
  barkeep verify                        every byte of the latest backup
  barkeep verify --level decode         every row of it
  barkeep verify 20261120T02 --level exist --json";

pub(super) const COMPARE: &str = "\
Examples:
  barkeep compare --db trading_copy            is the copy what was dumped?
  barkeep compare --db trading_copy --rows     and if not, which rows differ?
  barkeep compare before-migration --db trading --rows --limit 100";

pub(super) const DIFF: &str = "\
Examples:
  barkeep diff before-migration                    what has changed up to the latest backup?
  barkeep diff 20261119 20261120T02 -t orders --sample 100
  barkeep diff latest --db trading                 what has changed in the database since?
  barkeep diff 20261119 --summary --json           by digests alone: no rows are read
Prints rows of A with -, rows of B with +, and *marks* the columns that differ. Ends with 0 where both are the same, with 3
where they differ.";

pub(super) const CHECK: &str = "\
Examples:
  barkeep check                                is the data of the latest backup right? no server needed
  barkeep check --db trading --explain         what is taken for orders, trades, balances, bars?
  barkeep check --db trading                   are they right in the live database?
  barkeep check 20261120T02 --pack trading --pack balance --json";

#[cfg(feature = "query")]
pub(super) const QUERY: &str = "\
Examples:
  barkeep query 'SELECT symbol, max(high) FROM market_bars GROUP BY symbol'
  barkeep query 20261120T02 'SELECT count(*) FROM orders'          another backup
  barkeep query \"SELECT * FROM orders EXCEPT SELECT * FROM as_of('orders', '20261119')\"
  barkeep query 'SELECT * FROM trades' --format parquet -o trades.parquet
  barkeep query                                                    a prompt";

pub(super) const DRILL: &str = "\
Examples:
  barkeep drill                                               the latest backup, on a server made for it
  barkeep drill --policy random --rto 4h --rpo 26h --report /srv/reports
  barkeep drill --target container --image timescale/timescaledb:2.22.1-pg17
  barkeep drill --to postgres://ops@test.example/barkeep_drill --keep";

pub(super) const LIST: &str = "\
Examples:
  barkeep list --vault /backup/vault
  barkeep list --json";

pub(super) const SHOW: &str = "\
Examples:
  barkeep show                  the latest backup
  barkeep show before-migration --columns
  barkeep show 20261120T02 --json";

pub(super) const FILES: &str = "\
Examples:
  barkeep files -t market_bars                 one path a line
  barkeep files -t market_bars --duckdb        SELECT * FROM read_parquet('…');
  duckdb -c \"$(barkeep files -t public.orders --duckdb)\"";

pub(super) const INIT: &str = "\
Examples:
  barkeep init                                 ./barkeep.toml and the vault ./vault
  barkeep init --vault /backup/vault
  barkeep init --config /etc/barkeep.toml --vault /backup/vault";

pub(super) const DOCTOR: &str = "\
Examples:
  barkeep doctor postgres://backup@db.example/trading --vault /backup/vault
  barkeep doctor --for-restore postgres://db.example/postgres    what would make a restore slow there
  barkeep doctor --json";
