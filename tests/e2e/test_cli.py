"""The command line as people meet it: one line for each mistake, and the documented exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

HARNESS = [sys.executable, "-c", "from harness.cli import main; main()"]


def harness(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HARNESS, *arguments], capture_output=True, text=True, check=False, **options)


def refused(*arguments: str, **options: Any) -> str:
    """Exit code 3 and exactly one line on stderr; returns it."""
    done = harness("-q", *arguments, **options)
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_unknown_names_get_a_suggestion(letters: Path) -> None:
    assert "Did you mean tool-calls" in refused("loop", "--suite", "tool-cals")
    assert "Did you mean smollm2-135m" in refused("loop", "--suite", str(letters), "--model", "smollm-135m")
    assert "Did you mean tool_call" in refused("plugins", "show", "tool_cal")
    assert "No such command 'lop'" in refused("lop")
    assert "No such option" in refused("loop", "--suit", "x")


def test_bad_config_files(tmp_path: Path, letters: Path, tiny_model: Path) -> None:
    base = {"suite": str(letters), "model": str(tiny_model)}
    file = tmp_path / "loop.toml"
    file.write_text("suite = [\n")
    assert "malformed TOML" in refused("loop", str(file))
    file.write_text(tomli_w.dumps({**base, "sead": 1}))
    assert f"{file}: unknown key 'sead'. Did you mean seed" in refused("loop", str(file))
    file.write_text(tomli_w.dumps({**base, "seed": "one"}))
    assert "seed = 'one'" in refused("loop", str(file))
    assert "no such file" in refused("loop", str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "items.jsonl:2"),
        ('{"id": "x"}', "items.jsonl:2"),
        ('{"id": "x", "prompt": "p", "tragets": {}}', "target"),
        ('{"id": "item-0", "prompt": "p"}', "item-0"),
    ],
    ids=["broken JSON", "no prompt", "unknown field", "duplicate id"],
)
def test_bad_suite_rows_name_file_line_and_field(letters: Path, tiny_model: Path, row: str, says: str) -> None:
    rows = (letters / "items.jsonl").read_text().splitlines()
    (letters / "items.jsonl").write_text("\n".join([rows[0], row, *rows[1:]]))
    assert says in refused("eval", "--suite", str(letters), "--model", str(tiny_model))


def test_a_corrupt_or_foreign_adapter(tmp_path: Path, letters: Path, tiny_model: Path) -> None:
    command = ["eval", "--suite", str(letters), "--model", str(tiny_model), "--adapter", str(tmp_path)]
    assert "not a finished adapter" in refused(*command)
    (tmp_path / "checkpoint.json").write_text('{"version": "0", "base": "1", "probe": null}')
    assert "not those that were sealed" in refused(*command)
    (tmp_path / "checkpoint.json").write_text("{")
    assert "damaged" in refused(*command)


def test_a_run_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "run.json").write_text('{"format": 99, "identity": {}}')
    assert "run format 99" in refused("show", "r", "--runs", str(tmp_path))
    assert "no run here" in refused("show", "absent", "--runs", str(tmp_path))


def test_dry_run_prints_a_config_that_can_be_run(tmp_path: Path, letters: Path, tiny_model: Path) -> None:
    arguments = ["loop", "--suite", str(letters), "--model", str(tiny_model), "--seed", "7", "--set", "stages.1.n=3"]
    first = harness("-q", *arguments, "--dry-run")
    assert first.returncode == 0, first.stderr
    (tmp_path / "resolved.toml").write_text(first.stdout)
    second = harness("-q", "loop", str(tmp_path / "resolved.toml"), "--dry-run")
    assert second.stdout == first.stdout
    assert "seed = 7" in first.stdout
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_is_one_line_and_resumable(tmp_path: Path, tiny_loop: dict[str, Any]) -> None:
    config = tmp_path / "loop.toml"
    config.write_text(tomli_w.dumps(tiny_loop))
    command = [*HARNESS, "-q", "loop", str(config), "--runs", str(tmp_path), "--run", "r", "--resume", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "r" / "journal.jsonl"
    while not journal.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    assert not list((tmp_path / "r").rglob("*.tmp"))
    assert harness(*command[len(HARNESS) :]).returncode in (0, 1, 2)


def test_looking_at_a_run(tmp_path: Path, tiny_loop: dict[str, Any]) -> None:
    config = tmp_path / "loop.toml"
    config.write_text(tomli_w.dumps({**tiny_loop, "stages": tiny_loop["stages"][:1]}))
    runs = ["--runs", str(tmp_path)]
    done = harness("loop", str(config), *runs, "--run", "r")
    assert done.returncode == 0, done.stderr
    assert "promoted" in done.stdout
    assert "This run is finished" in harness("loop", str(config), *runs, "--run", "r").stderr
    [listed] = json.loads(harness("runs", *runs, "--json").stdout)
    assert (listed["run"], listed["rounds"], listed["of"]) == ("r", 1, 1)
    assert "must exceed" in harness("show", "r", *runs, "--round", "1").stdout
    worst = json.loads(harness("show", "r", *runs, "--round", "1", "--worst", "3", "--json").stdout)
    assert len(worst) == 3
    assert worst == sorted(worst, key=lambda row: (row["score"], row["id"]))
    assert "round 9 is not there" in refused("show", "r", *runs, "--round", "9")


def test_doctor_finds_this_machine() -> None:
    findings = {finding["what"]: finding for finding in json.loads(harness("doctor", "--json").stdout)}
    assert findings["torch"]["state"] == "ok"
    assert int(findings["cores"]["found"]) == len(os.sched_getaffinity(0))


def test_completion_and_version() -> None:
    assert "_HARNESS_COMPLETE" in harness("completion", "bash").stdout
    completed = harness(
        env={**os.environ, "_HARNESS_COMPLETE": "bash_complete", "COMP_WORDS": "harness lo", "COMP_CWORD": "1"}
    )
    assert "loop" in completed.stdout
    assert harness("--version").stdout.startswith("harness, version")


@pytest.mark.model
@pytest.mark.parametrize("example", ["loop", "domain"])
def test_the_examples_are_valid(example: str, tmp_path: Path) -> None:
    file = Path(__file__).parents[2] / "examples" / f"{example}.toml"
    sets = []
    if example == "domain":
        (tmp_path / "texts.jsonl").write_text('{"text": "raw"}\n')
        sets = ["--set", f"stages.0.data={tmp_path / 'texts.jsonl'}"]
    done = harness("loop", str(file), "--dry-run", *sets)
    assert done.returncode == 0, done.stderr
    assert f'updater = "{"cpt" if example == "domain" else "group"}"' in done.stdout
