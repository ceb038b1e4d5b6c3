"""`harness suites validate` as people meet it: the tables, the JSON, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import write_suite

from harness.cli import main


def validate(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["-q", "suites", "validate", *arguments])
    code = caught.value.code
    assert isinstance(code, int)
    return code


def test_a_sound_suite_passes_and_its_policies_are_shown(letters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(str(letters)) == 0
    out = capsys.readouterr().out
    for words in ("24 items in 24 clusters", "What policies that ignore their input score", "vague", "errors: 0, "):
        assert words in out


def test_an_error_ends_with_code_3(letters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other suite trains on what the first holds out; a broken one is reported beside them."""
    other = write_suite(tmp_path / "other")
    (other / "train.jsonl").write_text((letters / "items.jsonl").read_text())
    (other / "items.jsonl").write_text(json.dumps({"id": "o", "prompt": "Who?", "target": {"answers": ["a"]}}))
    assert validate(str(letters), "--against", str(other), "--json") == 3
    findings = json.loads(capsys.readouterr().out)
    errors = [finding for finding in findings if finding["verdict"] == "error"]
    assert [(finding["suite"], finding["check"]) for finding in errors] == [("letters", "overlap")]
    assert "items are trained on in other (24)" in errors[0]["detail"]
    assert validate(str(letters), str(tmp_path / "nowhere")) == 3
    assert "no suite.toml here" in " ".join(capsys.readouterr().out.split())  # a long path wraps the line


def test_all_suites_or_some(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate() == 3
    assert "no suite is named" in capsys.readouterr().err
    assert validate("general", "--json") == 0
    assert {finding["suite"] for finding in json.loads(capsys.readouterr().out)} == {"general"}
    assert validate("--all", "--json") == 0
    assert {"general", "chat", "tool-calls"} <= {f["suite"] for f in json.loads(capsys.readouterr().out)}
