SELECT pg_catalog.current_setting('server_version_num')::int4 AS version_num,
       pg_catalog.current_setting('server_version') AS version,
       d.datname,
       d.oid,
       pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
       d.datcollate::text AS "collate",
       d.datctype::text AS ctype,
       coalesce(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c') AS provider,
       coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale') AS locale,
       pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       current_user::text AS role,
       (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS superuser,
       pg_catalog.current_setting('lc_monetary') AS lc_monetary,
       -- "$1,234.00" has two digits after the last separator, "1234" none.
       pg_catalog.length(coalesce(pg_catalog.substring(1::pg_catalog.money::pg_catalog.text, '1[^0-9]([0-9]+)'), ''))::int4
         AS money_fraction
  FROM pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database()
