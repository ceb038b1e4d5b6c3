"""`harness init` as people meet it: by flags, at a terminal, and refused in one line."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

HARNESS = [sys.executable, "-c", "from harness.cli import main; main()"]


def harness(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"stdin": subprocess.DEVNULL, **options}
    return subprocess.run(
        [*HARNESS, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120, **options
    )


def test_flags_write_a_config_that_the_loop_takes(letters: Path, tiny_model: Path, tmp_path: Path) -> None:
    """Also one in another folder than the rows, which it then names as seen from there."""
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}\n')
    (tmp_path / "sub").mkdir()
    common = ("--suite", str(letters), "--model", str(tiny_model), "--hardware", "gpu", "--goal", "chat")
    made = harness(
        "init", *common, "--data", "pairs=pairs.jsonl", "--noisy", "--out", "sub/loop.toml", "--json", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert told["stages"] == ["preference"]
    assert {"setting": "stages.0", "because": "Pairs of a better and a worse answer."} in told["reasons"]
    written = (tmp_path / "sub" / "loop.toml").read_text()
    assert tomllib.loads(written)["stages"][0]["data"] == "../pairs.jsonl"
    planned = harness("-q", "loop", "sub/loop.toml", "--dry-run", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    [stage] = tomllib.loads(planned.stdout)["stages"]
    assert (stage["data"], stage["config"]["objective"]) == (str(tmp_path / "pairs.jsonl"), "robust_dpo")


def test_a_terminal_is_asked_for_what_is_missing(letters: Path, tmp_path: Path) -> None:
    (tmp_path / "votes.jsonl").write_text('{"prompt": "Hi?", "completion": "No.", "label": false}\n')
    master, slave = pty.openpty()
    # Goal, what is at hand, the file of feedback, the model (as offered), the hardware, and whether it is noisy.
    os.write(master, b"chat\ndemos, feedback\nvotes.jsonl\n\ngpu\ny\n")
    done = harness("init", "--suite", str(letters), cwd=tmp_path, stdin=slave)
    os.close(slave)
    os.close(master)
    assert done.returncode == 0, done.stderr
    assert "Goal" in done.stderr
    values = tomllib.loads((tmp_path / "loop.toml").read_text())
    assert values["model"] == "smollm2-135m"
    assert [(s["updater"], s.get("data")) for s in values["stages"]] == [("sft", None), ("unpaired", "votes.jsonl")]
    assert "Noisy verdicts" in (tmp_path / "loop.toml").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--suite is missing, and there is no terminal to ask at"),
        (("--suite", "tool-cals"), "Did you mean tool-calls"),
        (("--suite", "./none"), "no suite.toml here"),
        (("--suite", "general"), "--goal is missing"),
        (("--suite", "general", "--goal", "chat"), "--data-kind is missing"),
        (("--suite", "general", "--goal", "talk"), "'talk' is not one of"),
        (("--suite", "general", "--goal", "chat", "--data-kind", "pairs"), "--data pairs=FILE"),
        (("--suite", "general", "--goal", "chat", "--data", "x.jsonl"), "Write KIND=x.jsonl"),
        (("--suite", "general", "--goal", "chat", "--data", "pairs=x.jsonl"), "x.jsonl: no such file"),
        (("--suite", "general", "--goal", "chat", "--data", "text=a", "--data", "text=b"), "two files of text"),
        (("--suite", "general", "--goal", "chat", "--data-kind", "demos", "--out", "no/x.toml"), "cannot be written"),
        (
            ("--suite", "general", "--goal", "chat", "--data-kind", "demos", "--out", "there.toml"),
            "it is there already",
        ),
    ],
)
def test_refusals_are_one_line_and_write_nothing(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "there.toml").write_text("mine")
    done = harness("init", *arguments, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
