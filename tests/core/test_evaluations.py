from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluated import IDENTITY, scored, write_evaluation

from harness.errors import ConfigError, StoreError
from harness.evaluations import EvalStore, find_evaluation, scored_file
from harness.measuring import write_eval
from harness.records import read_report

GROUPS = [scored("one", 1.0), scored("two", 0.0)]


def new(folder: Path) -> EvalStore:
    return EvalStore.create(folder, IDENTITY, named={}, versions={"harness-align": "0"})


def test_it_is_found_by_folder_and_by_name(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "e", GROUPS)
    for found in (find_evaluation(str(tmp_path / "e")), find_evaluation("e", evals=tmp_path)):
        assert found.report.suites[0].mean == 0.5
        assert found.groups("letters") == GROUPS
        assert found.identity == IDENTITY
        assert found.named == {"letters": "./letters"}


def test_a_folder_that_a_loop_wrote_needs_no_journal(tmp_path: Path) -> None:
    report = read_report(write_evaluation(tmp_path / "e", GROUPS).folder / "report.json")
    (tmp_path / "round").mkdir()
    write_eval(tmp_path / "round", report, {"letters": GROUPS})
    found = find_evaluation(str(tmp_path / "round"))
    assert (found.report, found.groups("letters"), found.identity) == (report, GROUPS, {})
    (tmp_path / "round" / "letters.parquet").unlink()
    with pytest.raises(ConfigError, match="only scores"):
        found.groups("letters")


def test_what_is_not_there_or_unfinished_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no evaluation 'absent'"):
        find_evaluation("absent", evals=tmp_path, runs=tmp_path)
    new(tmp_path / "e")
    with pytest.raises(StoreError, match=r"unfinished.*--resume"):
        find_evaluation("e", evals=tmp_path)


@pytest.mark.parametrize("name", ["report.json", "letters.parquet"])
@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
def test_damage_is_noticed(tmp_path: Path, name: str, change: str) -> None:
    path = write_evaluation(tmp_path / "e", GROUPS).folder / name
    content = path.read_bytes()
    if change == "flip":
        path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    elif change == "cut":
        path.write_bytes(content[:-10])
    else:
        path.unlink()
    with pytest.raises(StoreError, match="missing, or not what was stored"):
        find_evaluation(str(tmp_path / "e"))  # whoever asks, and be it for the scores alone


def test_a_damaged_header_or_journal_is_named(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path / "e", GROUPS).folder
    journal, header = folder / "journal.jsonl", folder / "evaluation.json"
    lines = journal.read_text()
    journal.write_text(lines.replace('"sha256"', '"sha"', 1))
    with pytest.raises(StoreError, match="line 1 is damaged"):
        find_evaluation(str(folder))
    journal.write_text(lines)
    header.write_text(json.dumps({"format": 99, "identity": {}, "suites": {}}))
    with pytest.raises(StoreError, match="evaluation format 99"):
        find_evaluation(str(folder))
    header.write_text("{")
    with pytest.raises(StoreError, match="missing or damaged"):
        find_evaluation(str(folder))


def test_a_line_that_a_crash_cut_short_never_was(tmp_path: Path) -> None:
    store = write_evaluation(tmp_path / "e", GROUPS)
    journal = store.folder / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    again = EvalStore.open(store.folder)
    assert again.has(scored_file("letters"))
    assert not again.finished
    assert again.data(scored_file("letters")) == {"judge/exact/mean": 0.5}


def test_a_folder_is_not_shared(tmp_path: Path) -> None:
    store = new(tmp_path / "e")
    with store.lock(), pytest.raises(StoreError, match="another process"), EvalStore.open(store.folder).lock():
        pass
    store.require_identity(IDENTITY)
    with pytest.raises(StoreError, match="its model, seed differ"):
        store.require_identity({**IDENTITY, "model": "other", "seed": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(StoreError, match="something else"):
        new(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        new(tmp_path / "file" / "e")
