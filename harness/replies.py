"""Replies that were paid for, kept in one SQLite file: a killed run that goes on pays for nothing twice.

Replies are kept and not verdicts, so a better parser reads old replies anew. The key covers which model replied and
all that it was asked: prompt, rubric, judged text, decoding, and the number of the attempt.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.assets import cache_dir
from harness.errors import StoreError

SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, judge TEXT NOT NULL, model TEXT NOT NULL, reply TEXT NOT NULL,
    tokens INTEGER NOT NULL, cost REAL NOT NULL, kept_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""


def reply_file() -> Path:
    """In the user's cache, for all runs."""
    return cache_dir() / "replies.sqlite"


@dataclass(frozen=True)
class Spent:
    """Everything that was paid for a judge and a model, in all runs."""

    judge: str
    model: str
    replies: int
    tokens: int
    cost: float


class ReplyStore:
    """`path=None` keeps replies in memory."""

    def __init__(self, path: Path | None) -> None:
        self.where = str(path or "replies")
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Replies arrive in the thread that runs the event loop, which need not be the one that made this.
            self.connection = sqlite3.connect(path or ":memory:", timeout=60, check_same_thread=False)
            self.connection.execute("PRAGMA journal_mode = WAL")  # several runs may write
            self.connection.execute(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def get(self, key: str) -> dict[str, Any] | None:
        try:
            row = self.connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return None if row is None else dict(json.loads(row[0]))

    def put(self, key: str, reply: Mapping[str, Any], *, judge: str, model: str, tokens: int, cost: float) -> None:
        """On the disk when this returns, unless the machine itself goes down."""
        row = (key, judge, model, json.dumps(reply), tokens, cost)
        try:
            with self.connection:
                self.connection.execute(
                    "INSERT OR IGNORE INTO replies (key, judge, model, reply, tokens, cost) VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def spent(self) -> list[Spent]:
        query = "SELECT judge, model, COUNT(*), SUM(tokens), SUM(cost) FROM replies GROUP BY judge, model ORDER BY 1, 2"
        return [Spent(*row) for row in self.connection.execute(query)]

    def close(self) -> None:
        self.connection.close()

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            f"the kept replies cannot be used ({error})",
            where=self.where,
            remedy="Make room, remove the file, or set the judge's cache = false.",
        )
