SELECT t.oid,
       n.nspname,
       t.typname,
       e.extname,
       t.typtype::text,
       t.typelem,
       t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc AS is_array,
       t.typbasetype,
       t.typtypmod,
       t.typndims::int4,
       t.typsend <> 0 AND t.typreceive <> 0 AS is_binary,
       r.rngsubtype,
       m.rngsubtype AS multirange_bound,
       pg_catalog.quote_ident(fn.nspname) || '.' || pg_catalog.quote_ident(f.proname) AS output,
       EXISTS (SELECT FROM pg_catalog.pg_cast c
                WHERE c.castsource = t.oid AND c.casttarget = 'pg_catalog.text'::pg_catalog.regtype
                  AND c.castmethod = 'f') AS casts_by_function
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  JOIN pg_catalog.pg_proc f ON f.oid = t.typoutput
  JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
  LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_catalog.pg_range m ON m.rngmultitypid = t.oid
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid
        AND d.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
