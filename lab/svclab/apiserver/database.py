"""The objects on disk: SQLite in WAL mode, one row an object.

In: changes. Out: at the next start, the objects and the revision they had. `commit` returns when the changes are in
the log file: a process that is killed afterwards, by whatever signal, has lost nothing. It does not wait for the disk
(synchronous=NORMAL): after a power failure the last moments may be missing, but the file is whole, and so it is for
etcd's users who run it with --unsafe-no-fsync. The history of changes is not kept: after a start it is empty.
Refused: a file that is no such database, or that another server has open.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

from svclab.apiserver.state import Change, reread
from svclab.errors import LabError

Body: TypeAlias = dict[str, Any]

LAYOUT = 1


class Database:
    """One open file. `:memory:` keeps nothing."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = self._locked(path)
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            run = self._connection.execute
            run("PRAGMA journal_mode=WAL")
            run("PRAGMA synchronous=NORMAL")
            (layout,) = run("PRAGMA user_version").fetchone()
            if layout == 0:
                run("BEGIN IMMEDIATE")
                run(
                    "CREATE TABLE object (resource TEXT, key TEXT, body BLOB NOT NULL, PRIMARY KEY (resource, key))"
                    " WITHOUT ROWID"
                )
                run("CREATE TABLE revision (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL)")
                run("INSERT INTO revision VALUES (1, 1)")
                run(f"PRAGMA user_version={LAYOUT}")
                run("COMMIT")
            elif layout != LAYOUT:
                raise LabError(f"{path} was written by another version (layout {layout}); remove it to start anew")
        except sqlite3.DatabaseError as error:
            raise LabError(f"{path}: {error}; remove it to start anew") from error

    def read(self) -> tuple[dict[str, dict[str, Body]], int]:
        """All objects (resource → key → body), and the revision of the last change."""
        objects: dict[str, dict[str, Body]] = {}
        for resource, key, body in self._connection.execute("SELECT resource, key, body FROM object"):
            objects.setdefault(resource, {})[key] = reread(body)
        (revision,) = self._connection.execute("SELECT value FROM revision").fetchone()
        return objects, int(revision)

    def commit(self, changes: Iterable[Change]) -> None:
        """All of them or none. Raises LabError if they could not be written."""
        revision = 0
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for change in changes:
                revision = change.revision
                where = (change.resource, change.key)
                if change.removed:
                    self._connection.execute("DELETE FROM object WHERE resource = ? AND key = ?", where)
                else:
                    row = (*where, change.new.encoded)
                    self._connection.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", row)
            self._connection.execute("UPDATE revision SET value = ?", (revision,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise LabError(f"{self._path} cannot be written: {error}") from error

    def close(self) -> None:
        self._connection.close()
        if self._lock >= 0:
            os.close(self._lock)

    @staticmethod
    def _locked(path: str) -> int:
        """Two servers on one file would each believe in their own memory."""
        if path == ":memory:":
            return -1
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise LabError(f"{path} is in use by another API server; end that one first") from error
        return lock
