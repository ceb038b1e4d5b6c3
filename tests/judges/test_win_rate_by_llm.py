"""`harness compare A B --judge llm_pairwise`: a model over HTTP compares stored answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llm_server import Body, question, serve
from stored_evaluations import store, suite_report

from harness.cli.app import main


def test_a_model_is_asked_once_in_each_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prefers b's answers to three questions, and to the fourth whichever is shown first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for name in "ab":
        store(tmp_path / name, suite_report("s", [1, 0, 1, 0]), answers=f" by {name}")

    def say(body: Body) -> str:
        b_is_first = " by b" in question(body).split("Answer B:")[0]
        return json.dumps({"reasons": "", "better": "A" if "question 3" in question(body) or b_is_first else "B"})

    settings = [part for key in ("model=m", "against=siblings") for part in ("--set", key)]
    with serve(say) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with pytest.raises(SystemExit) as ended:
            main(["-q", "compare", "a", "b", "--judge", "llm_pairwise", *settings, "--json"])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    rate = json.loads(printed.out)["suites"][0]["win_rate"]
    assert rate["rate"]["estimate"] == 3.5 / 4
    assert (rate["pairs"], rate["unscored"], rate["ties"]) == (4, 0, 1 / 4)  # its own two orders disagree: a tie
    assert rate["figures"]["flip_rate"] == 1 / 4
    assert set(server.billed.values()) == {1}
    assert len(server.billed) == 8
