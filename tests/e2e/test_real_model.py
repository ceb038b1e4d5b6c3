"""The real 135M model through the real loop, in small: vLLM samples, the adapter is trained, swapped in and gated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from harness.api import run_loop
from harness.measuring import read_eval
from harness.store import RunStore

pytestmark = [pytest.mark.model, pytest.mark.vllm, pytest.mark.long]


def labels(store: RunStore, index: int) -> Counter[str]:
    report = store.load(index, "evaluate", read_eval)
    return Counter(label for item in report.suites[0].items for label in item.labels)


def test_it_learns_to_write_calls(tmp_path: Path) -> None:
    """Untrained, nearly nothing it says can be parsed; after 48 demonstrations nearly everything can."""
    pytest.importorskip("vllm")
    sft = {"generator": "reference", "updater": "sft", "prompts": 48, "config": {"epochs": 1, "batch": 4}}
    group = {"updater": "group", "prompts": 4, "n": 4, "max_tokens": 64, "config": {"groups_per_step": 4}}
    settings = {
        "suite": "tool-calls",
        "generator": {"name": "vllm", "config": {"enforce_eager": True}},
        "beside": [],
        "stages": [sft, group],
        "eval": {"limit": 32},
    }
    result = run_loop(settings, runs=tmp_path)
    store = RunStore.open(result.folder)
    before, after = labels(store, 0), labels(store, 1)
    assert before["parse_error"] >= 28
    assert after["parse_error"] <= 16
    assert after["ok"] > before["ok"]
    served = store.entry(1, "evaluate")
    assert served is not None
    assert served.data["serve/probe_shift"] > served.data["serve/probe_error"]
