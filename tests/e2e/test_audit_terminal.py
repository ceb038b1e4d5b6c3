"""`harness audit` in a real terminal: a pseudo-terminal, keys pressed, and what is on its screen."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from audit_runs import build_run, prompt, scored_group
from e2e.test_cli import harness, refused

from harness.types import Prompt

READY = "space/k scroll"
EVIL = "\x1b]0;owned\x07\x1b[2J[red]bold[/red] \u202eabc"


class Terminal:
    """The command in a terminal of its own, and all that it wrote."""

    def __init__(self, *arguments: str, width: int = 110, height: int = 30) -> None:
        self.seen = ""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        command = [sys.executable, "-c", "from harness.cli import main; main()", *arguments]
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**environment, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)

    def read_until(self, text: str, timeout: float = 20) -> str:
        """What was written since the last call, up to `text`."""
        started, fresh = time.monotonic(), ""
        while text not in fresh:
            assert time.monotonic() - started < timeout, f"{text!r} not in {fresh!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    fresh += os.read(self.master, 1 << 16).decode()
                except OSError:  # the command has ended
                    break
        self.seen += fresh
        return fresh

    def press(self, keys: str, until: str) -> str:
        os.write(self.master, keys.encode())
        return self.read_until(until)

    def end(self) -> int:
        self.read_until("\0")
        os.close(self.master)
        return self.process.wait(timeout=30)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    prompts = [prompt(i, reference=f"gold {i}") for i in range(5)]
    training = [
        scored_group(p, [f"short {i}", f"quite a bit longer {i}"], secretive=lambda text: len(text) / 50)
        for i, p in enumerate(prompts)
    ]
    return build_run(tmp_path / "r", training)


def test_keys_notes_undo_quit_and_going_on(run: Path) -> None:
    terminal = Terminal("audit", str(run))
    first = terminal.read_until(READY)
    assert "1/5" in first
    assert "gold" in first
    assert "2/5" in terminal.press("a", READY)
    noted = terminal.press("n", "note: ")
    noted = terminal.press("not sure\n", READY)
    assert "2/5" in noted
    assert "note: not sure" in noted
    assert "3/5" in terminal.press("t", READY)
    assert "2/5" in terminal.press("u", READY)
    assert "3/5" in terminal.press("s", READY)
    assert "3/5" in terminal.press("x", READY)  # no such key: nothing happens
    terminal.press("q", "3 of 5 pairs are left")
    assert terminal.end() == 0
    assert "secretive" not in terminal.seen  # nor are there figures before the end
    assert "reward" not in terminal.seen
    lines = [json.loads(line) for line in (run / "audits" / "training-001.jsonl").read_text().splitlines()]
    assert [line.get("answer", line.get("note")) for line in lines] == ["a", "not sure", "tie", None, "skip"]

    terminal = Terminal("audit", str(run), width=70)
    assert "3/5" in terminal.read_until(READY)
    terminal.press("b", READY)
    terminal.press("A", READY)
    terminal.press("b", "secretive")
    assert terminal.end() == 0
    figures = json.loads(harness("audit", str(run), "--report", "--json").stdout)
    assert (figures["answered"], figures["skipped"], figures["judges"][0]["n"]) == (4, 1, 4)
    [kept] = json.loads((run / "audits" / "training-001.summary.json").read_text())
    assert (kept["judge"], kept["n"]) == ("secretive", 4)
    assert "4 of 5 pairs answered, 1 skipped" in harness("audit", str(run), "--report").stdout


def test_a_text_cannot_reach_the_terminal(tmp_path: Path) -> None:
    asked = Prompt("p", ({"role": "user", "content": EVIL},), reference=EVIL)
    run = build_run(tmp_path / "r", [scored_group(asked, [EVIL, EVIL + "!"], judge=len_of)])
    terminal = Terminal("audit", str(run))
    terminal.read_until(READY)
    terminal.press("q", "left")
    terminal.end()
    assert "\x1b]0;" not in terminal.seen
    assert "\x07" not in terminal.seen
    assert "\u202e" not in terminal.seen
    assert terminal.seen.count(r"\x1b]0;owned\x07\x1b[2J[red]bold[/red] \u202eabc") == 4


def len_of(text: str) -> float:
    return len(text) / 100


def test_a_long_answer_can_be_scrolled(tmp_path: Path) -> None:
    texts = ["\n".join(f"{side} line {i}" for i in range(60)) for side in ("one", "two")]
    run = build_run(tmp_path / "r", [scored_group(prompt(0), texts, judge=lambda text: float("one" in text))])
    terminal = Terminal("audit", str(run), height=24)
    top = terminal.read_until(READY)
    assert "one line 0" in top
    assert "one line 40" not in top
    for _ in range(4):
        shown = terminal.press(" ", READY)
    assert "one line 59" in shown
    assert "one line 0 " not in shown
    assert re.search(r"lines \d+-(\d+) of \1\b", shown)
    terminal.press("\x1b[A", READY)
    terminal.press("q", "left")
    terminal.end()


def test_without_a_terminal_or_in_a_narrow_one_it_says_so(run: Path) -> None:
    assert "an audit needs a terminal" in refused("audit", str(run))
    terminal = Terminal("audit", str(run), width=40)
    terminal.read_until("use --export")
    assert "this terminal has 40 columns" in terminal.seen.replace("\r\n", " ")
    assert terminal.end() == 3
    assert not (run / "audits").exists()


def test_out_and_back_on_the_command_line(run: Path, tmp_path: Path) -> None:
    rows, tasks = tmp_path / "pairs.jsonl", tmp_path / "tasks.json"
    assert "Give one of" in refused("audit", str(run), "--report", "--export", str(rows))
    assert "was begun" in refused("audit", str(run), "--import", str(rows))
    assert harness("audit", str(run), "--export", str(rows)).returncode == 0
    assert harness("audit", str(run), "--label-studio", str(tasks)).returncode == 0
    assert "<View>" in (tmp_path / "tasks.config.xml").read_text()
    assert "tasks.config.xml: it is there already" in refused("audit", str(run), "--label-studio", f"{tmp_path}/tasks")
    pairs = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [task["data"]["pair"] for task in json.loads(tasks.read_text())] == [pair["id"] for pair in pairs]
    longer = [{"id": p["id"], "answer": "a" if len(p["a"]) > len(p["b"]) else "b"} for p in pairs]
    (tmp_path / "answers.jsonl").write_text("\n".join(map(json.dumps, longer)))
    done = harness("audit", str(run), "--import", str(tmp_path / "answers.jsonl"), "--json")
    assert "5 new answers" in done.stderr
    assert json.loads(done.stdout)["judges"][0]["kappa"]["estimate"] == 1.0
