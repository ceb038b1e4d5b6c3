"""Check and clean: what comes out is what filters say one record at a time and all at once, however it was cut, by
however many processes, and however often it was interrupted."""

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

import harness.data.cleaning as cleaning
from harness.data.chunks import Worker
from harness.data.cleaning import check, clean
from harness.data.defaults import DEFAULTS, filter_uses
from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.reading import open_source
from harness.data.record import Record
from harness.errors import ConfigError, StoreError
from harness.plugins import load_registry
from harness.protocols import RunContext

COMMAND = [sys.executable, "-c", "from harness.cli import main; main()", "-q", "data"]
USES = filter_uses(["format", "pii", "exact_duplicates", "length"], sets=["length.action=flag"])


def rows(count: int) -> list[dict[str, Any]]:
    """Every seventh repeats the one before, every eleventh has no answer, every thirteenth holds an address."""
    made: list[dict[str, Any]] = []
    for index in range(count):
        row = {"prompt": f"Question {index}: how many legs have {index} cows?", "completion": f"They have {4 * index}."}
        if index % 7 == 6:
            row = dict(made[-1])
        elif index % 11 == 10:
            row["completion"] = ""
        elif index % 13 == 12:
            row["completion"] += f" Ask jane.miller{index}@acme-tools.com about it."
        made.append(row)
    return made


def write(path: Path, values: list[Any]) -> Path:
    path.write_text("".join((v if isinstance(v, str) else json.dumps(v)) + "\n" for v in values))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "CHUNK", 17)


@pytest.mark.usefixtures("small_chunks")
def test_equals_sifting_in_memory(tmp_path: Path) -> None:
    source = open_source(str(write(tmp_path / "in.jsonl", rows(200))))
    report = clean(source, USES, out=tmp_path / "out.jsonl", workers=1)
    registry = load_registry()
    records = [record for record in map(source.parse, source.raw()) if isinstance(record, Record)]
    sifted = sift(records, make_sieve(USES, registry, RunContext(components=registry)))
    written = read(tmp_path / "out.jsonl")
    assert [row["origin"]["place"] for row in written] == [record.place for record in sifted.kept]
    assert [row["completion"] for row in written] == [record.answers[0].text for record in sifted.kept]
    assert report.kept == len(written)
    assert report.dropped == 200 - len(written)


@pytest.mark.usefixtures("small_chunks")
def test_every_row_is_kept_or_rejected_with_its_reason(tmp_path: Path) -> None:
    values: list[Any] = rows(60)
    values[20] = '{"prompt": broken'
    values[41] = "[1, 2]"
    path = write(tmp_path / "in.jsonl", values)
    before = path.read_bytes()
    report = clean(open_source(str(path)), USES, out=tmp_path / "out.jsonl", workers=1)
    kept = [row["origin"]["place"] for row in read(tmp_path / "out.jsonl")]
    rejects = {row["place"]: row for row in read(tmp_path / "out.rejects.jsonl")}
    assert sorted([*kept, *rejects]) == list(range(1, 61))
    assert [remark["reason"] for remark in rejects[21]["remarks"]] == ["not_json"]
    assert [remark["reason"] for remark in rejects[42]["remarks"]] == ["not_an_object"]
    assert rejects[11]["remarks"][0]["filter"] == "format"
    assert rejects[7]["remarks"] == [
        {"filter": "exact_duplicates", "reason": "exact_duplicate", "outcome": "dropped", "other": f"{path}:6"}
        | {k: v for k, v in rejects[7]["remarks"][0].items() if k == "detail"}
    ]
    assert rejects[7]["row"]["prompt"] == values[6]["prompt"] or rejects[7]["row"]["prompt"][0]["content"]
    assert report.unreadable == 2
    assert path.read_bytes() == before


def test_a_mended_row_says_so_and_where_it_is_from(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", rows(13))
    clean(open_source(str(path)), USES, out=tmp_path / "out.jsonl", workers=1)
    row = read(tmp_path / "out.jsonl")[-1]
    assert "jane.miller" not in json.dumps(row)
    assert row["origin"]["source"] == str(path)
    assert row["origin"]["place"] == 13
    assert row["origin"]["filters"] == ["format", "pii", "exact_duplicates", "length"]
    assert row["origin"]["flags"] == ["pii/email"]
    assert "jane.miller" not in (tmp_path / "out.report.json").read_text()


def test_what_was_cleaned_is_trained_on_and_cleaned_again(tmp_path: Path) -> None:
    from harness.training_data import read_rows

    path = write(tmp_path / "in.jsonl", rows(40))
    clean(open_source(str(path)), USES, out=tmp_path / "once.jsonl", workers=1)
    clean(open_source(str(tmp_path / "once.jsonl")), USES, out=tmp_path / "twice.jsonl", workers=1)
    assert (tmp_path / "once.jsonl").read_text() == (tmp_path / "twice.jsonl").read_text()
    origins = [json.loads(row.prompt.metadata["origin"]) for row in read_rows(tmp_path / "once.jsonl")]
    assert [origin["place"] for origin in origins] == [row["origin"]["place"] for row in read(tmp_path / "once.jsonl")]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("stop", range(1, 8))
def test_interrupted_anywhere_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    path = str(write(tmp_path / "in.jsonl", rows(120)))
    clean(open_source(path), USES, out=tmp_path / "whole.jsonl", workers=1)
    out = tmp_path / f"cut{stop}.jsonl"
    count = 0

    def cut(self: Any, number: int, rows: Any) -> None:
        nonlocal count
        count += 1
        if count == stop:
            raise KeyboardInterrupt
        whole(self, number, rows)

    whole = Worker.process
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "process", cut)
        with pytest.raises(KeyboardInterrupt):
            clean(open_source(path), USES, out=out, workers=1)
    assert not out.exists()
    with pytest.raises(StoreError, match="--resume"):
        clean(open_source(path), USES, out=out, workers=1)
    clean(open_source(path), USES, out=out, workers=1, resume=True)
    for suffix in (".jsonl", ".rejects.jsonl"):
        assert (tmp_path / f"cut{stop}{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert not out.with_name(f"{out.name}.partial").exists()


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_cleaning_is_not_gone_on_with_under_other_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write(tmp_path / "in.jsonl", rows(40)))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cleaning.Cleaning, "_survey", interrupt)
        with pytest.raises(KeyboardInterrupt):
            clean(open_source(path), USES, out=tmp_path / "out.jsonl", workers=1)
    with pytest.raises(StoreError, match="other filters"):
        clean(open_source(path), USES[:2], out=tmp_path / "out.jsonl", workers=1, resume=True)


def test_processes_change_nothing_and_a_kill_costs_nothing(tmp_path: Path) -> None:
    """The command itself, killed while two processes work, then gone on with."""
    path = write(tmp_path / "in.jsonl", rows(21_000))
    filters = ["--filter", "format", "--filter", "exact_duplicates"]
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    subprocess.run([*COMMAND, "clean", str(path), "--out", str(whole), "--workers", "1", *filters], check=True)
    command = [*COMMAND, "clean", str(path), "--out", str(out), "--workers", "2", *filters]
    process = subprocess.Popen(command, start_new_session=True)
    partial = out.with_name("out.jsonl.partial")
    until = time.monotonic() + 60
    while not list(partial.glob("0*[0-9]")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run([*command, "--resume"], check=True)
    assert out.read_bytes() == whole.read_bytes()
    assert (tmp_path / "out.rejects.jsonl").read_bytes() == (tmp_path / "whole.rejects.jsonl").read_bytes()


def test_check_writes_nothing_and_exits_with_what_it_found(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", rows(30))
    good = write(tmp_path / "good.jsonl", rows(5))

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}

    filters = ["--filter", "format", "--filter", "exact_duplicates", "--json", "--workers", "1"]
    code, report = run("check", str(path), *filters)
    assert code == 1
    found = {(line["filter"], line["reason"]): line["records"] for line in report["tally"]}
    assert found["exact_duplicates", "exact_duplicate"] == 4
    assert run("check", str(path), *filters, "--exit-zero")[0] == 0
    assert run("check", str(good), *filters)[0] == 0
    code, said = run("check", str(tmp_path / "none.jsonl"), *filters)
    assert code == 3
    assert "Traceback" not in said["error"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.jsonl", "in.jsonl"]


def test_refusals(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", rows(5))
    (tmp_path / "there.rejects.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="there already"):
        clean(open_source(str(path)), USES, out=tmp_path / "there.jsonl", workers=1)
    with pytest.raises(ConfigError, match="there already"):
        clean(open_source(str(path)), USES, out=Path("."), workers=1)
    with pytest.raises(ConfigError, match="what is written is JSONL"):
        clean(open_source(str(path)), USES, out=tmp_path / "out.csv", workers=1)
    nothing = write(tmp_path / "nothing.jsonl", [{"prompt": "x", "completion": ""}])
    with pytest.raises(ConfigError, match="nothing is left of 1 rows"):
        clean(open_source(str(nothing)), USES, out=tmp_path / "out.jsonl", workers=1)
    assert not (tmp_path / "out.jsonl").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        clean(open_source(str(path)), USES, out=tmp_path / "file" / "out.jsonl", workers=1)
    with pytest.raises(ConfigError, match="there already"):
        check(open_source(str(path)), USES, work=tmp_path)


def test_filters_are_named_or_the_usual_ones() -> None:
    assert filter_uses() == DEFAULTS
    assert [use.name for use in filter_uses(without=["unsafe"])] == [u.name for u in DEFAULTS if u.name != "unsafe"]
    [use] = filter_uses(["length"], sets=["length.action=drop", "length.max_chars=10"])
    assert (use.action, use.config) == ("drop", {"max_chars": 10})
    assert filter_uses(["format"], against=["general"])[0] == FilterUse(name="leakage", config={"suites": ["general"]})
    for wrong in (
        {"names": ["format", "format"]},
        {"without": ["formt"]},
        {"sets": ["formt.x=1"]},
        {"sets": ["format=1"]},
    ):
        with pytest.raises(ConfigError):
            filter_uses(**wrong)


def test_all_usual_filters_are_registered() -> None:
    registry = load_registry()
    make_sieve(DEFAULTS, registry, RunContext(components=registry))
