"""The leakage filter on planted leaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.record import Answer, Record
from harness.errors import ConfigError, PluginError
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.types import Prompt

REGISTRY = load_registry(third_party=False)
LONG = " ".join(f"w{n}" for n in range(40))


def record(text: str, answer: str = "Yes.") -> Record:
    return Record(Prompt("p", ({"role": "user", "content": text},)), (Answer(answer),), "demonstration")


def said(records: list[Record], **config: object) -> list[tuple[int, str, str]]:
    uses = [FilterUse(name="leakage", config=config)]
    sifted = sift(records, make_sieve(uses, REGISTRY, RunContext(components=REGISTRY)))
    return [(at, r.reason, r.detail) for at, remarks in sorted(sifted.remarks.items()) for r in remarks]


def test_each_kind_of_leak_from_a_folder_and_a_plugins_suite(tmp_path: Path) -> None:
    manifest = (
        '[suite]\nname = "mine"\nversion = "1"\nrole = "target"\nsummary = "s"\nlicense = "MIT"\nitems = "i.jsonl"'
    )
    (tmp_path / "suite.toml").write_text(f'{manifest}\n[[judges]]\nname = "match"\n')
    rows = [{"id": "one", "prompt": LONG}, {"id": "two", "prompt": "What is two?"}]
    (tmp_path / "i.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    item = REGISTRY.create("suite", "chat", {}, RunContext()).items[0]
    records = [
        record("What is two?"),
        record(LONG.replace("w20 ", "x ")),
        record("Say it.", " ".join(LONG.split()[:20])),
        record(str(item.messages[-1]["content"])),
        record("What is three?"),
    ]
    suites = [str(tmp_path), "chat"]
    found = said(records, suites=suites)
    assert found[:3] == [
        (0, "leaked_prompt", "suite mine, item two (1.00)"),
        (1, "leaked_near", "suite mine, item one (0.76)"),
        (2, "leaked_ngram", "suite mine, item one (0.29)"),
    ]
    assert found[3:] == [(3, "leaked_prompt", f"suite chat, item {item.id} (1.00)")]
    assert [reason for _, reason, _ in said(records, suites=suites, kinds=["near"])] == ["leaked_near"]
    spec = REGISTRY.get("filter", "leakage").spec
    assert spec.content is not None
    contents = [spec.content(REGISTRY.config("filter", "leakage", {"suites": s}, where="")) for s in (["chat"], suites)]
    (tmp_path / "i.jsonl").write_text(json.dumps(rows[0]) + "\n")
    contents.append(spec.content(REGISTRY.config("filter", "leakage", {"suites": suites}, where="")))
    assert contents[0] == ""
    assert len(set(contents)) == 3


def test_settings_and_suites_that_are_wrong() -> None:
    with pytest.raises(ConfigError):
        said([], suites=[])
    with pytest.raises(PluginError, match="nosuch"):
        said([], suites=["nosuch"])
    with pytest.raises(ConfigError, match="without plugins"):
        REGISTRY.create("filter", "leakage", {"suites": ["chat"]}, RunContext())
