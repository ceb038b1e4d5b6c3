from __future__ import annotations

import errno
import json
import os
import random
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.store import FORMAT, RunStore, artifact_digest


def new(folder: Path, **identity: object) -> RunStore:
    return RunStore.create(folder, identity or {"config": {"seed": 0}}, "seed = 0\n")


def put(store: RunStore, text: str, *, index: int = 1, step: str = "sample") -> str:
    def make(path: Path) -> dict[str, float]:
        path.write_text(text)
        return {"figure": 1.0}

    return store.step(index, step, f"{step}.txt", make=make, read=Path.read_text)


def test_a_step_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    assert put(store, "first") == "first"
    assert put(store, "second") == "first"
    assert put(RunStore.open(tmp_path / "run"), "third") == "first"


def test_a_failed_step_leaves_nothing(tmp_path: Path) -> None:
    store = new(tmp_path / "run")

    def make(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.step(1, "sample", "sample.txt", make=make, read=Path.read_text)
    assert list((tmp_path / "run" / "rounds" / "001").iterdir()) == []
    assert put(store, "whole") == "whole"


def test_an_artifact_that_was_renamed_but_not_journalled_is_made_again(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    folder = store.round_folder(1)
    folder.mkdir(parents=True)
    (folder / "sample.txt").write_text("from before the crash")
    (folder / "sample.txt.tmp").write_text("half of something")
    assert put(store, "made again") == "made again"
    assert [path.name for path in folder.iterdir()] == ["sample.txt"]


def test_a_torn_journal_line_is_cut_off(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    put(store, "one")
    journal = tmp_path / "run" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"round": 1, "step": "jud')
    again = RunStore.open(tmp_path / "run")
    with again.lock():
        assert again.entry(1, "judge") is None
        put(again, "two", step="judge")
    assert len(journal.read_bytes().splitlines()) == 2
    assert RunStore.open(tmp_path / "run").entry(1, "judge") is not None


def test_a_damaged_line_in_the_middle_is_refused_with_its_number(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    put(store, "one")
    put(store, "two", step="judge")
    journal = tmp_path / "run" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"garbage\n" + lines[1])
    with pytest.raises(StoreError, match="line 1 is damaged"):
        RunStore.open(tmp_path / "run")


def test_a_changed_artifact_is_refused(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    put(store, "one")
    (store.round_folder(1) / "sample.txt").write_text("edited")
    with pytest.raises(StoreError, match="not the one that was stored"):
        put(store, "other")


def test_a_changed_config_is_refused_and_every_difference_named(tmp_path: Path) -> None:
    store = new(tmp_path / "run", config={"seed": 0, "stages": [{"n": 8}]})
    with pytest.raises(StoreError, match=r"config\.seed: 0 -> 1; config\.stages\.0\.n: 8 -> 4") as error:
        store.require_identity({"config": {"seed": 1, "stages": [{"n": 4}]}})
    assert "--run" in error.value.remedy


def test_another_format_is_refused(tmp_path: Path) -> None:
    new(tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": FORMAT + 1}))
    with pytest.raises(StoreError, match=f"run format {FORMAT + 1}"):
        RunStore.open(tmp_path / "run")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}'])
def test_a_damaged_header_is_refused(tmp_path: Path, content: str) -> None:
    new(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(content)
    with pytest.raises(StoreError, match=r"run\.json is damaged"):
        RunStore.open(tmp_path / "run")


def test_one_process_a_run(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    with store.lock(), pytest.raises(StoreError, match="another process"), RunStore.open(tmp_path / "run").lock():
        pass


def test_a_full_disk_is_said_plainly_and_leaves_nothing(tmp_path: Path) -> None:
    store = new(tmp_path / "run")

    def make(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match="no space left"):
        store.step(1, "sample", "sample.txt", make=make, read=Path.read_text)
    assert list(store.round_folder(1).iterdir()) == []


def test_a_truly_full_disk(tmp_path: Path) -> None:
    """/dev/full refuses every write, as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    store = new(tmp_path / "run")
    (tmp_path / "run" / "journal.jsonl").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="no space left"):
        store.record(0, "commit", {"outcome": "promoted"})


def test_promotion_is_a_pointer(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    for index, (outcome, version) in enumerate([("promoted", "base"), ("promoted", "a"), ("rejected", "a")]):
        store.record(index, "commit", {"outcome": outcome, "version": version})
    assert (store.incumbent_round(), store.incumbent_version(), store.committed()) == (1, "a", 2)
    assert store.incumbent_round(upto=0) == 0


def test_the_digest_ignores_time_and_sees_content(tmp_path: Path) -> None:
    digests = []
    for name, text in [("a", "same"), ("b", "same"), ("c", "other")]:
        store = new(tmp_path / name)
        put(store, text)
        store.record(1, "commit", {"outcome": "rejected", "version": "base"}, seconds=len(name) * hash(name) % 7)
        digests.append(store.digest())
    assert digests[0] == digests[1] != digests[2]


def test_a_folder_is_digested_by_names_and_contents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "file").write_text("x")
    assert artifact_digest(tmp_path / "a") == artifact_digest(tmp_path / "b")
    (tmp_path / "b" / "sub" / "file").rename(tmp_path / "b" / "sub" / "other")
    assert artifact_digest(tmp_path / "a") != artifact_digest(tmp_path / "b")


# ---------------------------------------------------------------- long runs


def test_what_stands_is_what_a_walk_through_the_journal_finds(tmp_path: Path) -> None:
    store, draw = new(tmp_path / "run"), random.Random(0)
    outcomes = ["promoted", *(draw.choice(["promoted", "rejected", "inconclusive"]) for _ in range(40))]
    for index, outcome in enumerate(outcomes):
        store.record(index, "sample", {"outcome": "promoted"})  # of another step: it promotes nothing
        store.record(index, "commit", {"outcome": outcome, "version": f"v{index}"})
        for one in (store, RunStore.open(tmp_path / "run")):
            assert one.committed() == index
            for upto in range(index + 1):
                walked = max(i for i in range(upto + 1) if outcomes[i] == "promoted")
                assert one.incumbent_round(upto=upto) == walked
            assert one.incumbent_round() == one.incumbent_round(upto=index)
            assert one.incumbent_version() == f"v{one.incumbent_round()}"
            assert not one.stopped
    last = store.incumbent_round()
    store.record(last, "confirmation", {"outcome": "rejected"})
    store.record(41, "commit", {"outcome": "rejected", "version": "base", "stopped": "enough"})
    for one in (store, RunStore.open(tmp_path / "run")):
        assert (one.incumbent_round(), one.incumbent_round(upto=41), one.stopped) == (0, last, True)


def test_a_lock_reads_what_others_have_added_and_no_line_twice(tmp_path: Path) -> None:
    store = new(tmp_path / "run")
    put(store, "mine")
    mine = store.entry(1, "sample")
    put(RunStore.open(tmp_path / "run"), "theirs", step="judge")
    with (tmp_path / "run" / "journal.jsonl").open("a") as journal:
        journal.write('{"round": 1, "st')  # somebody was killed over it
    with store.lock():
        assert store.entry(1, "sample") is mine
        assert store.entry(1, "judge") is not None
        assert put(store, "mine again", step="update") == "mine again"
    with store.lock():
        assert len(store.entries) == 3
    assert RunStore.open(tmp_path / "run").entries == store.entries
