-- How the columns of foreign keys ($1: tables) are compared, where a plain = would be another operator, or none.
SELECT n.nspname, c.relname, k.conname::text,
       pg_catalog.array_agg(CASE WHEN o.oprname = '=' AND o.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace
                                  AND (ca.attcollation = pa.attcollation OR ca.attcollation = 0 OR pa.attcollation = 0) THEN NULL
            ELSE pg_catalog.format('p.%I OPERATOR(%I.%s) c.%I%s', pa.attname, opn.nspname, o.oprname, ca.attname,
                   (SELECT pg_catalog.format(' COLLATE %I.%I', ln.nspname, l.collname)
                      FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace
                     WHERE l.oid = pa.attcollation AND ca.attcollation <> pa.attcollation)) END ORDER BY x.place) AS comparisons
  FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop))
       WITH ORDINALITY AS x (child, parent, operator, place)
  JOIN pg_catalog.pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = x.child
  JOIN pg_catalog.pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = x.parent
  JOIN pg_catalog.pg_operator o ON o.oid = x.operator
  JOIN pg_catalog.pg_namespace opn ON opn.oid = o.oprnamespace
 WHERE k.conrelid = ANY ($1) AND k.contype = 'f' AND k.conparentid = 0
 GROUP BY n.nspname, c.relname, k.conname
