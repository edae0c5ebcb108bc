"""What a fresh role could do in a database beyond what it was granted: by PUBLIC, by defaults, by helpful functions.

Asked inside the transaction that makes the role, of the server itself (`has_…_privilege`), so that whatever gives a
role a right is seen, not only what one thought of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg

MOST = 20  # lines of each kind: one is enough to refuse
# Each has %(role)s, and %(most)s where it could be long. Written out: no query here is put together from parts.
_TABLES = """
SELECT n.nspname, c.relname, p.verb, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) p(verb)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND has_schema_privilege(%(role)s::name, n.oid, 'USAGE')
AND (has_table_privilege(%(role)s::name, c.oid, p.verb)
  OR (p.verb NOT IN ('DELETE', 'TRUNCATE', 'TRIGGER') AND has_any_column_privilege(%(role)s::name, c.oid, p.verb)))
"""
_SEQUENCES = """
SELECT n.nspname, c.relname, p.verb FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN (VALUES ('SELECT'), ('UPDATE')) p(verb)
WHERE c.relkind = 'S'
AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND has_schema_privilege(%(role)s::name, n.oid, 'USAGE')
AND has_sequence_privilege(%(role)s::name, c.oid, p.verb) LIMIT %(most)s
"""
_CREATES = """
SELECT n.nspname FROM pg_namespace n WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
AND has_schema_privilege(%(role)s::name, n.oid, 'CREATE') LIMIT %(most)s
"""
# Functions that run as their owner: whatever that may do, their caller may have done.
_FUNCTIONS = """
SELECT n.nspname, f.proname FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE f.prosecdef
AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' AND has_schema_privilege(%(role)s::name, n.oid, 'USAGE')
AND has_function_privilege(%(role)s::name, f.oid, 'EXECUTE') LIMIT %(most)s
"""
_SERVERS = """
SELECT srvname FROM pg_foreign_server WHERE has_server_privilege(%(role)s::name, oid, 'USAGE') LIMIT %(most)s
"""
_LARGE_OBJECTS = """
SELECT m.oid::text FROM pg_largeobject_metadata m CROSS JOIN LATERAL aclexplode(m.lomacl) a
WHERE a.grantee = 0 LIMIT %(most)s
"""
_MEMBERSHIPS = """
SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
WHERE m.member = (SELECT oid FROM pg_roles WHERE rolname = %(role)s) LIMIT %(most)s
"""
_DATABASE = "SELECT current_database() WHERE has_database_privilege(%(role)s::name, current_database(), 'CREATE')"
_OTHER_DATABASES = """
SELECT datname FROM pg_database WHERE datallowconn AND datname <> current_database()
AND has_database_privilege(%(role)s::name, oid, 'CONNECT') ORDER BY datname LIMIT %(most)s
"""
_TEMPORARY = "SELECT 1 WHERE has_database_privilege(%(role)s::name, current_database(), 'TEMPORARY')"


def excess_of(connection: psycopg.Connection[tuple[Any, ...]], role: str, granted: Mapping[int, set[str]]) -> list[str]:
    """Return what `role` may do besides `granted` (a table's oid -> verbs), a line each; nothing if all is well."""
    given = {"role": role, "most": MOST}
    found = [
        f"{verb} on {schema}.{name}"
        for schema, name, verb, oid in connection.execute(_TABLES, given)
        if verb not in granted.get(int(oid), ())
    ]
    for query, words in (
        (_SEQUENCES, "{2} on the sequence {0}.{1}"),
        (_CREATES, "CREATE in the schema {0}"),
        (_FUNCTIONS, "EXECUTE {0}.{1}, which runs as its owner"),
        (_SERVERS, "USAGE of the foreign server {0}"),
        (_LARGE_OBJECTS, "use of the large object {0}"),
        (_MEMBERSHIPS, "whatever the role {0} may do"),
        (_DATABASE, "CREATE in the database {0}"),
    ):
        found += [words.format(*row) for row in connection.execute(query, given)]
    return found


def public_extras(connection: psycopg.Connection[tuple[Any, ...]], role: str) -> str:
    """Return what every role may do besides, though it reaches no data here: told, and not held against the lease."""
    given = {"role": role, "most": MOST}
    told = ["temporary tables"] if connection.execute(_TEMPORARY, given).fetchone() else []
    others = [str(row[0]) for row in connection.execute(_OTHER_DATABASES, given)]
    return ", ".join([*told, *(f"signing in to the database {name}" for name in others)])
