-- The query, as text, for the rows that break one constraint; the same rows PostgreSQL's own check would find.
SELECT CASE con.contype
 WHEN 'c' THEN format('SELECT c.ctid, %s FROM ONLY %s c WHERE NOT coalesce((%s), true)',
  (SELECT string_agg(format('c.%I', a.attname), ', ' ORDER BY a.attnum)
     FROM pg_catalog.pg_attribute a WHERE a.attrelid = con.conrelid AND a.attnum = ANY (con.conkey)),
  con.conrelid::regclass, pg_get_expr(con.conbin, con.conrelid))
 ELSE format('SELECT %s FROM %s c WHERE (%s) AND NOT EXISTS (SELECT 1 FROM %s p WHERE %s)',
  (SELECT string_agg(format('c.%I', a.attname), ', ' ORDER BY k.o)
     FROM unnest(con.conkey) WITH ORDINALITY k(n, o)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.n),
  CASE WHEN cl.relkind = 'p' THEN '' ELSE 'ONLY ' END || con.conrelid::regclass,
  (SELECT string_agg(format('c.%I IS NOT NULL', a.attname),
                     CASE con.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY k.o)
     FROM unnest(con.conkey) WITH ORDINALITY k(n, o)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.n),
  CASE WHEN pl.relkind = 'p' THEN '' ELSE 'ONLY ' END || con.confrelid::regclass,
  (SELECT string_agg(format('p.%I OPERATOR(%I.%s) c.%I', pa.attname, ns.nspname, op.oprname, ca.attname),
                     ' AND ' ORDER BY k.o)
     FROM unnest(con.conkey, con.confkey, con.conpfeqop) WITH ORDINALITY k(cn, pn, opid, o)
     JOIN pg_catalog.pg_attribute ca ON ca.attrelid = con.conrelid AND ca.attnum = k.cn
     JOIN pg_catalog.pg_attribute pa ON pa.attrelid = con.confrelid AND pa.attnum = k.pn
     JOIN pg_catalog.pg_operator op ON op.oid = k.opid
     JOIN pg_catalog.pg_namespace ns ON ns.oid = op.oprnamespace))
 END
FROM pg_catalog.pg_constraint con
JOIN pg_catalog.pg_class cl ON cl.oid = con.conrelid
LEFT JOIN pg_catalog.pg_class pl ON pl.oid = con.confrelid
WHERE con.conrelid = {table}::pg_catalog.regclass AND con.conname = {constraint}
