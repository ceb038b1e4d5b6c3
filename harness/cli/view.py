"""What a run shows while it works: bars on a terminal, one line a finished task elsewhere. All of it on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
LOG_EVERY = 30.0
"""Seconds between the lines that a task writes where there is no terminal to draw a bar on."""


class View:
    """A `harness.protocols.Progress` on rich."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False, emoji=False)
        self._progress: Progress | None = None

    def note(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def track(self, items: Iterable[T], *, description: str, total: int | None = None) -> Iterator[T]:
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.task(description, total) as advance:
            for item in items:
                yield item
                advance()

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator[Any]:
        """Bars nest: the outermost task starts the live display and the last one out ends it."""
        outermost = self._progress is None
        progress = self._progress = self._progress or self._display()
        if outermost and self.console.is_terminal:
            progress.start()
        task = progress.add_task(description, total=total, figures="")
        started = said = time.monotonic()
        done, shown = 0.0, ""

        def line() -> str:
            count = f"{done:g}" if total is None or done == total else f"{done:g}/{total:g}"
            return f"  {description}: {count} in {time.monotonic() - started:.1f} s  {shown}".rstrip()

        def advance(amount: float = 1, **figures: Any) -> None:
            nonlocal done, shown, said
            done += amount
            if figures:
                shown = "  ".join(f"{name} {_number(value)}" for name, value in figures.items())
            progress.update(task, advance=amount, figures=shown)
            if not self.console.is_terminal and time.monotonic() - said > LOG_EVERY and done != total:
                said = time.monotonic()
                self.note(line())

        try:
            yield advance
        finally:
            progress.remove_task(task)
            if not self.console.is_terminal:
                self.note(line())
            if outermost:
                if self.console.is_terminal:
                    progress.stop()
                self._progress = None

    def _display(self) -> Progress:
        return Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self.console,
            transient=True,
        )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
