-- Attributes of the composite types that are no tables' row types nobody uses: all of them, told apart by type.
SELECT c.reltype, a.attname, a.atttypid, a.atttypmod, a.attndims::int4
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0
 ORDER BY c.reltype, a.attnum
