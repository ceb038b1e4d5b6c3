"""The screen of `harness audit`: two answers side by side, a key for each verdict."""

from __future__ import annotations

import os
import sys
import termios
import tty
import unicodedata
from types import TracebackType
from typing import Literal, Self

from rich.console import Console, Group
from rich.panel import Panel
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

from harness.audit import Audit, Pair
from harness.audit_answers import Answers, Choice, prompt_text
from harness.errors import ConfigError

MIN_WIDTH, MIN_HEIGHT = 60, 16
SIDE_BY_SIDE = 100
"""Columns from which the answers stand beside each other."""
FOOTER = 3
VERDICTS: dict[str, Choice] = {"a": "a", "b": "b", "t": "tie", "s": "skip"}
DOWN, UP = (" ", "j", "\x1b[B", "\x1b[6~"), ("k", "\x1b[A", "\x1b[5~")
KEYS = "a  b  t tie  s skip  n note  u undo  q quit  space/k scroll"


def require_terminal() -> Console:
    """The terminal. Raises ConfigError where there is none, or one too small to compare answers in."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("an audit needs a terminal", where="harness audit", remedy="Or use --export and --import.")
    console = Console(highlight=False, markup=False, emoji=False)
    if console.width < MIN_WIDTH or console.height < MIN_HEIGHT:
        raise ConfigError(
            f"this terminal has {console.width} columns and {console.height} lines",
            where="harness audit",
            remedy=f"Widen it to {MIN_WIDTH} columns and {MIN_HEIGHT} lines, or use --export.",
        )
    return console


def printable(text: str) -> str:
    """The text with everything that a terminal would act on, or not show, written out: `\\x1b`, `\\u202e`."""

    def shown(char: str) -> str:
        if char in "\n\t" or char.isprintable() or unicodedata.category(char) == "Zs":
            return char
        return char.encode("unicode_escape").decode()

    return "".join(map(shown, text)).expandtabs(4)


class Keyboard:
    """Keys as they are pressed, without an echo, and lines as ever."""

    def __enter__(self) -> Self:
        self.usual = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.usual)

    def forget(self) -> None:
        """Drop what was typed ahead: it would answer a pair that was not seen."""
        termios.tcflush(sys.stdin, termios.TCIFLUSH)

    def key(self) -> str:
        """A key; "" when the terminal is gone."""
        typed = os.read(sys.stdin.fileno(), 32).decode(errors="replace")
        return typed if typed.startswith("\x1b") else typed[:1].lower()

    def line(self, console: Console, question: str) -> str:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.usual)
        console.print(question, end="")
        text = os.read(sys.stdin.fileno(), 4096).decode(errors="replace")
        tty.setcbreak(sys.stdin)
        return text.strip()


def ask(audit: Audit, answers: Answers, console: Console) -> bool:
    """Show pair after pair until all are answered (True) or the person quits (False)."""
    with console.screen(hide_cursor=False), Keyboard() as keyboard:
        while pair := next((pair for pair in audit.pairs if pair.id not in answers.given), None):
            if _answer(pair, audit, answers, console, keyboard) == "quit":
                return False
    return True


def _answer(
    pair: Pair, audit: Audit, answers: Answers, console: Console, keyboard: Keyboard
) -> Literal["quit", "next"]:
    """Until the pair is answered, or another one's answer taken back."""
    top = 0
    while True:
        keyboard.forget()
        top = _draw(pair, audit, answers, console, top)
        key = keyboard.key()
        if key in VERDICTS:
            answers.give(pair.id, VERDICTS[key])
            return "next"
        if key == "u" and answers.given:
            answers.undo()
            return "next"
        if key == "n":
            if text := keyboard.line(console, "note: "):
                answers.note(pair.id, printable(text))
        elif key in ("q", ""):
            return "quit"
        elif key in DOWN:
            top += console.height // 2
        elif key in UP:
            top -= console.height // 2


def _draw(pair: Pair, audit: Audit, answers: Answers, console: Console, top: int) -> int:
    """Draw what fits from line `top` on; returns the line that it really begins with."""
    lines = console.render_lines(_pair(pair, console.width), console.options.update(height=None), pad=False)
    room = console.height - FOOTER - 1
    top = max(0, min(top, len(lines) - room))
    shown = lines[top : top + room]
    console.clear()
    for line in shown:
        console.print(Segments([*line, Segment.line()]), end="", soft_wrap=True)
    console.print("\n" * (room - len(shown)), end="")
    more = "" if len(lines) <= room else f"   lines {top + 1}-{top + len(shown)} of {len(lines)}"
    note = f"   note: {answers.notes[pair.id]}" if pair.id in answers.notes else ""
    status = f"{len(answers.given) + 1}/{len(audit.pairs)}   Which answer is better?{more}{note}"
    console.print(Text(status[: console.width - 1], style="bold", no_wrap=True))
    console.print(Text(KEYS[: console.width - 1], style="dim", no_wrap=True))
    return top


def _pair(pair: Pair, width: int) -> Group:
    parts = [Panel(Text(printable(prompt_text(pair))), title="prompt", title_align="left")]
    if pair.prompt.reference is not None:
        parts.append(Panel(Text(printable(pair.prompt.reference)), title="expected", title_align="left"))
    answers = [Panel(_text(text), title=side, title_align="left") for side, text in (("a", pair.a), ("b", pair.b))]
    if width < SIDE_BY_SIDE:
        return Group(*parts, *answers)
    grid = Table.grid(expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(*answers)
    return Group(*parts, grid)


def _text(text: str) -> Text:
    return Text(printable(text)) if text.strip() else Text("(nothing)", style="dim")
