-- Statements that give a database its grants, comment and settings again; {database} stands for its quoted name.
SELECT statement FROM (
  SELECT 1 AS o, pg_catalog.format('COMMENT ON DATABASE {database} IS %L',
           pg_catalog.shobj_description(d.oid, 'pg_database')) AS statement
    FROM pg_catalog.pg_database d
   WHERE d.datname = pg_catalog.current_database() AND pg_catalog.shobj_description(d.oid, 'pg_database') IS NOT NULL
  UNION ALL
  SELECT 2, 'REVOKE ALL ON DATABASE {database} FROM PUBLIC'
    FROM pg_catalog.pg_database d
   WHERE d.datname = pg_catalog.current_database() AND d.datacl IS NOT NULL
  UNION ALL
  SELECT 3, pg_catalog.format('GRANT %s ON DATABASE {database} TO %s%s', a.privilege_type,
           CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a
   WHERE d.datname = pg_catalog.current_database()
  UNION ALL
  SELECT 4, pg_catalog.format('ALTER %sDATABASE {database} SET %s TO %s',
           CASE WHEN s.setrole = 0 THEN '' ELSE 'ROLE ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(s.setrole)) || ' IN ' END,
           pg_catalog.quote_ident(pg_catalog.split_part(c, '=', 1)),
           CASE WHEN pg_catalog.split_part(c, '=', 1) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries',
                     'session_preload_libraries', 'DateStyle', 'unix_socket_directories')
                THEN pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)
                ELSE pg_catalog.quote_literal(pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)) END)
    FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
   WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
) x ORDER BY o, statement
