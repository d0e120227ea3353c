-- Statements that give large objects owner, comment and grants again.
SELECT statement FROM (
  SELECT m.oid, 1 AS o, pg_catalog.format('ALTER LARGE OBJECT %s OWNER TO %I', m.oid, pg_catalog.pg_get_userbyid(m.lomowner)) AS statement
    FROM pg_catalog.pg_largeobject_metadata m
  UNION ALL
  SELECT m.oid, 2, pg_catalog.format('COMMENT ON LARGE OBJECT %s IS %L', m.oid, pg_catalog.obj_description(m.oid, 'pg_largeobject'))
    FROM pg_catalog.pg_largeobject_metadata m
   WHERE pg_catalog.obj_description(m.oid, 'pg_largeobject') IS NOT NULL
  UNION ALL
  SELECT m.oid, 3, pg_catalog.format('GRANT %s ON LARGE OBJECT %s TO %s%s', a.privilege_type, m.oid,
           CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_catalog.pg_largeobject_metadata m, pg_catalog.aclexplode(m.lomacl) a
   WHERE a.grantee <> m.lomowner
  UNION ALL
  SELECT l.objoid, 4, pg_catalog.format('SECURITY LABEL FOR %I ON LARGE OBJECT %s IS %L', l.provider, l.objoid, l.label)
    FROM pg_catalog.pg_seclabel l WHERE l.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass
) x ORDER BY oid, o, statement
