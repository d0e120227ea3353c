-- Everything that can hold rows or stand for rows, from pg_catalog alone: information_schema hides what the role may not see.
-- $1: the tables whose size is measured. Measuring waits for whoever has locked the table, so all others are estimated.
-- $2: tables that are no user's.
SELECT c.oid,
       n.nspname,
       c.relname,
       c.relkind::text,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       c.relpersistence::text,
       pn.nspname AS parent_schema,
       pc.relname AS parent_name,
       pt.partstrat::text,
       am.amname,
       CASE WHEN c.relkind <> 'r' THEN 0
            WHEN c.oid = ANY ($1) THEN coalesce(pg_catalog.pg_relation_size(c.oid), 0)
                                       / pg_catalog.current_setting('block_size')::int8
            ELSE c.relpages END AS pages,
       CASE WHEN c.reltoastrelid = 0 THEN 0
            WHEN c.oid = ANY ($1) THEN coalesce(pg_catalog.pg_relation_size(c.reltoastrelid), 0)
            ELSE tc.relpages * pg_catalog.current_setting('block_size')::int8 END AS toast,
       c.reltuples::float8::int8 AS tuples,
       pg_catalog.pg_relation_filenode(c.oid) AS filenode,
       c.relfilenode <> 0 AND c.relfilenode <> coalesce(pg_catalog.pg_relation_filenode(c.oid), 0) AS rewritten,
       -- NULL for what was dropped since this statement's snapshot was taken: LOCK will say so.
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE')
                AND pg_catalog.has_table_privilege(c.oid, 'SELECT'), true) AS readable,
       pg_catalog.row_security_active(c.oid) AS secured,
       e.extname,
       CASE WHEN e.extname IS NULL THEN NULL
            ELSE (SELECT coalesce(e.extcondition[i], '')
                    FROM pg_catalog.generate_subscripts(e.extconfig, 1) AS i WHERE e.extconfig[i] = c.oid) END AS condition,
       c.relispopulated,
       (SELECT coalesce(pg_catalog.array_agg(a.attname::text ORDER BY k.o), '{}')
          FROM pg_catalog.pg_index x, pg_catalog.unnest(x.indkey::int2[]) WITH ORDINALITY AS k(n, o),
               pg_catalog.pg_attribute a
         WHERE x.indrelid = c.oid AND x.indisprimary AND a.attrelid = c.oid AND a.attnum = k.n
           AND k.o <= x.indnkeyatts) AS primary_key
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_inherits h ON c.relispartition AND h.inhrelid = c.oid
  LEFT JOIN pg_catalog.pg_class pc ON pc.oid = h.inhparent
  LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
  LEFT JOIN pg_catalog.pg_partitioned_table pt ON pt.partrelid = c.oid
  LEFT JOIN pg_catalog.pg_class tc ON tc.oid = c.reltoastrelid
  LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
        AND d.objsubid = 0 AND d.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
 WHERE c.relkind IN ('r', 'p', 'm', 'f')
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
   AND n.nspname !~ '^pg_(toast_)?temp_'
   AND NOT EXISTS (SELECT FROM pg_catalog.unnest($2::oid[]) AS h WHERE h = c.oid)
 ORDER BY n.nspname, c.relname
