"""A table as text: what every command that lists something prints."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> str:
    """A plain table as wide as its content, or as the terminal where there is one."""
    made = Table(*columns, title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        made.add_row(*row)
    buffer = StringIO()
    width = max(100, shutil.get_terminal_size((140, 24)).columns)
    Console(file=buffer, width=width, highlight=False, markup=False, emoji=False).print(made)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()).strip("\n")
