-- tables: The tables in the schema that this connection would create tables in, ours or not.
SELECT tablename AS name FROM pg_catalog.pg_tables WHERE schemaname = current_schema() ORDER BY tablename;

-- lock: Wait for the only right to change the schema; it ends with the transaction.
SELECT pg_advisory_xact_lock(7236832194471);
