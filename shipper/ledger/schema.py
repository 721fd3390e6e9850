"""The tables of ``ledger.db`` and how an older file becomes the present one.

Text keys where a person may look, integer keys where rows are many: ``intervals`` refers to a cursor by number, so the
row that moves with every acknowledgement stays a few bytes. Requests in flight hold their cuts as one JSON array,
because they are only ever written and removed whole.
"""

from __future__ import annotations

APPLICATION_ID = 0x53485052  # "SHPR": tells our file from somebody else's database

_VERSION_1 = (
    "CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE streams (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, signal TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL,
        start INTEGER NOT NULL, meta TEXT NOT NULL, size INTEGER NOT NULL,
        finished INTEGER NOT NULL, retired INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE cursors (
        id INTEGER PRIMARY KEY, destination TEXT NOT NULL, stream TEXT NOT NULL REFERENCES streams (id),
        cut_to INTEGER NOT NULL, resume INTEGER NOT NULL, guard INTEGER NOT NULL, shaping TEXT NOT NULL,
        "read" INTEGER NOT NULL, acknowledged INTEGER NOT NULL, filtered INTEGER NOT NULL, sampled INTEGER NOT NULL,
        dropped INTEGER NOT NULL, quarantined INTEGER NOT NULL, rejected INTEGER NOT NULL,
        UNIQUE (destination, stream))""",
    """CREATE TABLE intervals (
        cursor INTEGER NOT NULL REFERENCES cursors (id), kind TEXT NOT NULL,
        start INTEGER NOT NULL, "end" INTEGER NOT NULL, PRIMARY KEY (cursor, kind, start)) WITHOUT ROWID""",
    """CREATE TABLE requests (
        destination TEXT NOT NULL, id TEXT NOT NULL, ordinal INTEGER NOT NULL, path TEXT NOT NULL,
        signal TEXT NOT NULL, shaping TEXT NOT NULL, cuts TEXT NOT NULL,
        PRIMARY KEY (destination, id)) WITHOUT ROWID""",
    """CREATE TABLE losses (
        cursor INTEGER NOT NULL REFERENCES cursors (id), how TEXT NOT NULL, cause TEXT NOT NULL,
        records INTEGER NOT NULL, positions INTEGER NOT NULL, PRIMARY KEY (cursor, how, cause)) WITHOUT ROWID""",
    """CREATE TABLE accepted (
        life TEXT NOT NULL, stream TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
        PRIMARY KEY (life, stream, start)) WITHOUT ROWID""",
    "CREATE TABLE lives (life TEXT PRIMARY KEY, heard_ns INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE spools (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
)

_VERSION_2 = (
    """CREATE TABLE kept (
        destination TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (destination, key)) WITHOUT ROWID""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2)
VERSION = len(MIGRATIONS)
