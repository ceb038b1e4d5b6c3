"""Every sort of file gives the same records, every sort of bad row is named by its place, and nothing else is lost."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from audit_runs import build_run, prompt, scored_group

from harness.data.reading import BadRow, open_source, read_records
from harness.data.record import Answer, Record
from harness.data.rows import MAX_LINE
from harness.errors import ConfigError, StoreError
from harness.records import write_groups
from harness.training_data import read_rows

ROWS: list[dict[str, Any]] = [{"prompt": f"Hi {n}?", "completion": f"Hellö {n}."} for n in range(5)]
CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": f"Hi {n}?"}, {"role": "assistant", "content": f"Hellö {n}."}]}
    for n in range(5)
]


def jsonl(rows: Sequence[Any]) -> bytes:
    lines = (row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows)
    return b"\n".join(lines) + b"\n"


def write(path: Path, *rows: Any) -> str:
    path.write_bytes(jsonl(rows))
    return str(path)


def good(name: str, **options: Any) -> list[Record]:
    found = list(read_records(name, **options))
    assert [row for row in found if isinstance(row, BadRow)] == []
    return [row for row in found if isinstance(row, Record)]


def bad(name: str, **options: Any) -> list[tuple[int, str]]:
    return [(row.place, row.reason) for row in read_records(name, **options) if isinstance(row, BadRow)]


# ---------------------------------------------------------------- every sort of file


def write_csv(path: Path, delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["prompt", "completion"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def write_zstd(path: Path) -> None:
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(jsonl(ROWS))


WRITERS: dict[str, Callable[[Path], Any]] = {
    "a.jsonl": lambda path: path.write_bytes(jsonl(ROWS)),
    "a.other": lambda path: path.write_bytes(jsonl(ROWS)),
    "crlf.jsonl": lambda path: path.write_bytes(jsonl(ROWS).replace(b"\n", b"\r\n")),
    "no_last_newline.jsonl": lambda path: path.write_bytes(jsonl(ROWS).rstrip()),
    "marked.jsonl": lambda path: path.write_bytes(b"\xef\xbb\xbf" + jsonl(ROWS)),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(jsonl(ROWS))),
    "a.jsonl.zst": write_zstd,
    "list.json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "marked.json": lambda path: path.write_text("\ufeff" + json.dumps(ROWS)),
    "held.json": lambda path: path.write_text(json.dumps({"version": "1", "data": ROWS, "of": {"a": [1]}})),
    "lines.json": lambda path: path.write_bytes(jsonl(ROWS)),
    "a.csv": write_csv,
    "semicolons.csv": lambda path: write_csv(path, ";"),
    "a.tsv": lambda path: write_csv(path, "\t"),
    "a.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_sort_of_file_holds_the_same_records(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    (tmp_path / "plain").write_bytes(jsonl(ROWS))
    records = good(str(path))
    assert [r.where for r in records] == [f"{path}:{place}" for place in range(1, 6)]
    theirs = list(read_rows(tmp_path / "plain"))
    assert [(r.prompt, r.answers[0].text) for r in records] == [(t.prompt, t.completions[0][0]) for t in theirs]
    source = open_source(str(path))
    ends = [row.end for row in source.raw()]
    assert ends == sorted(ends)
    assert 0 < ends[-1] <= (source.bytes or 0) == path.stat().st_size


def test_a_source_goes_to_other_processes(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "a.jsonl", *ROWS))
    assert len(pickle.dumps(source)) < 1000
    again = pickle.loads(pickle.dumps(source))
    assert [again.parse(pickle.loads(pickle.dumps(row))) for row in source.raw()] == good(source.name)


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"One\r\n\r\ntwo\n")
    (record,) = good(str(path))
    (theirs,) = read_rows(path)
    assert (record.kind, record.prompt, record.answers) == ("text", theirs.prompt, (Answer("One\n\ntwo\n"),))


def test_one_row_in_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(CHATS[0], indent=1))
    assert [r.answers[0].text for r in good(str(path))] == ["Hellö 0."]


def test_csv_holds_chats_and_labels_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion", "label", "tools", "note"])
        chat = json.dumps([{"role": "system", "content": "Be\nbrief."}, {"role": "user", "content": "Hi?"}])
        writer.writerow([chat, '[{"name": "f", "arguments": {}}]', "True", '[{"name": "f"}]', ""])
        writer.writerow(["Hi?", "No.", "false", "", "x"])
    first, second = good(str(path))
    assert [m["content"] for m in first.prompt.messages] == ["Be\nbrief.", "Hi?"]
    assert (first.answers, first.kind) == ((Answer('[{"name": "f", "arguments": {}}]'),), "label")
    assert (first.prompt.tools, second.prompt.tools) == ('[{"name":"f"}]', "")
    assert (second.answers, second.extra) == ((Answer("No.", 0.0),), {"note": "x"})


def test_fields_that_tables_fill_with_nulls_are_not_there(tmp_path: Path) -> None:
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]}
    other = {"role": "assistant", "tool_calls": [{"function": {"name": "g", "arguments": {"y": "s"}}}]}
    rows = [{"messages": [{"role": "user", "content": "a"}, one], "score": float("nan")} for one in (call, other)]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    records = good(str(path))
    assert [json.loads(r.answers[0].text)[0]["arguments"] for r in records] == [{"x": 1}, {"y": "s"}]
    assert [r.extra for r in records] == [{"score": None}] * 2


# ---------------------------------------------------------------- datasets folders


def test_what_datasets_saved(tmp_path: Path) -> None:
    import datasets

    saved = datasets.Dataset.from_list(CHATS)
    saved.save_to_disk(str(tmp_path / "alone"), num_shards=2)
    datasets.DatasetDict(train=saved, test=saved.select(range(2))).save_to_disk(str(tmp_path / "both"))
    expected = [r.answers for r in good(write(tmp_path / "a.jsonl", *CHATS))]
    records = good(str(tmp_path / "alone"))
    assert ([r.answers for r in records], [r.place for r in records]) == (expected, [1, 2, 3, 4, 5])
    assert [r.answers for r in good(f"{tmp_path / 'both'}:train")] == expected
    assert [r.answers for r in good(f"{tmp_path / 'both'}:test")] == expected[:2]
    with pytest.raises(ConfigError, match=r"several splits.*both:train or .*both:test"):
        good(str(tmp_path / "both"))
    with pytest.raises(ConfigError, match=r"no split 'tset'. Did you mean test"):
        good(f"{tmp_path / 'both'}:tset")
    with pytest.raises(ConfigError, match="it has no splits"):
        good(f"{tmp_path / 'alone'}:train")


def test_columns_of_json_that_datasets_saved(tmp_path: Path) -> None:
    import datasets

    arguments = [{"x": 1, "z": None}, {"y": "s"}, {"x": [1]}]
    rows = [
        {
            "prompt": "a",
            "completion": "b",
            "tools": [{"name": "f", "parameters": one}],
            "note": one,
        }
        for one in arguments
    ]
    datasets.Dataset.from_list(rows, on_mixed_types="use_json").save_to_disk(str(tmp_path / "saved"))
    records = good(str(tmp_path / "saved"))
    assert [json.loads(r.prompt.tools)[0]["parameters"] for r in records] == arguments
    assert [r.extra["note"] for r in records] == arguments


# ---------------------------------------------------------------- runs


def test_groups_of_a_run(tmp_path: Path) -> None:
    scored = [scored_group(prompt(n), ["good", "bad"], exact=lambda text: float(text == "good")) for n in range(3)]
    unscored = scored_group(prompt(9), ["good"], exact=lambda text: None)
    build_run(tmp_path / "runs" / "one", [*scored, unscored])
    write_groups(tmp_path / "groups.parquet", [*scored, unscored])
    by_name = good("one", runs=tmp_path / "runs")
    folder = str(tmp_path / "runs" / "one")
    assert [replace(r, source="") for r in by_name] == [replace(r, source="") for r in good(folder)]
    assert [replace(r, source="") for r in good(f"{folder}:1")] == [replace(r, source="") for r in by_name]
    assert (by_name[0].kind, by_name[0].answers) == ("group", (Answer("good", 1.0), Answer("bad", 0.0)))
    assert by_name[3].answers == (Answer("good", None),)
    assert [r.where for r in by_name] == ["one:1", "one:2", "one:3", "one:4"]
    assert by_name[0].extra == {"policy_version": "base", "round": 1}
    assert by_name[0].prompt == scored[0].group.prompt
    alone = good(str(tmp_path / "groups.parquet"))
    assert [(r.prompt, r.answers) for r in alone] == [(r.prompt, r.answers) for r in by_name]
    with pytest.raises(StoreError, match="round 2 has no scored groups"):
        good(f"{folder}:2")
    with pytest.raises(ConfigError, match="'x' is no round"):
        good(f"{folder}:x")


# ---------------------------------------------------------------- bad rows


HALF = b'{"prompt": "half \\ud83d", "completion": "a"}'
WHOLE = b'{"prompt": "whole \\ud83d\\ude00", "completion": "a"}'


def test_every_bad_row_is_named_by_its_line_and_the_rest_is_read(tmp_path: Path) -> None:
    rows: list[tuple[Any, str]] = [
        (ROWS[0], ""),
        (b'{"prompt": "a", ', "not_json"),
        (b"", ""),
        (b'{"prompt": "a\x00", "completion": "b"}', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"prompt": "\xff", "completion": "b"}', "not_utf8"),
        (b'{"prompt": "' + b"a" * MAX_LINE + b'", "completion": "b"}', "too_long"),
        ([1], "not_an_object"),
        (b"3", "not_an_object"),
        ({"foo": 1}, "unknown_layout"),
        (CHATS[0], "mixed_schema"),
        (HALF, "half_character"),
        (WHOLE, ""),
        ({"prompt": 5, "completion": "b"}, "bad_field"),
        (b'{"prompt": "a", "completion": "b", "score": NaN}', "bad_field"),
        (b'{"prompt": "a", "completion": "b", "score": 1e999}', "bad_field"),
        (b'{"prompt": "a", "completion": "b", "prompt": "c"}', "bad_field"),
        (b'{"prompt": "a", "completion": "b", "n": ' + b"1" * 5000 + b"}", "bad_field"),
        (ROWS[1], ""),
    ]
    name = write(tmp_path / "a.jsonl", *(row for row, _ in rows))
    assert bad(name) == [(place, reason) for place, (_, reason) in enumerate(rows, start=1) if reason]
    assert [r.place for r in read_records(name) if isinstance(r, Record)] == [1, 13, 19]
    broken = {row.place: row for row in read_records(name) if isinstance(row, BadRow)}
    assert broken[2].raw == '{"prompt": "a", '
    assert "NUL" in broken[4].detail
    assert "'prompt' is there twice" in broken[17].detail
    assert (broken[2].where, len(broken[7].raw)) == (f"{name}:2", 200)


def test_a_broken_list_is_read_up_to_where_it_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole = json.dumps(ROWS, ensure_ascii=False).encode()
    path.write_bytes(whole[:-10])
    assert (bad(str(path)), len(list(read_records(str(path))))) == ([(5, "not_json")], 5)
    path.write_bytes(whole.replace("Hellö 2".encode(), b"Hell\xf6 2"))
    assert (bad(str(path)), len(list(read_records(str(path))))) == ([(3, "not_utf8")], 5)


def test_bad_rows_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"prompt,completion,label\n"
        b"a,b,true\n"
        b"a,b\n"
        b"\n"
        b'"a" x,b,true\n'
        b"\xff,b,true\n"
        b"a,b,perhaps\n"
        b"a," + b"x" * (MAX_LINE + 5) + b",true\n"
        b"a,b,false\n"
        b'a,"b,false\n'
    )
    reasons = ["wrong_columns", "not_csv", "not_utf8", "bad_field", "too_long", "not_csv"]
    assert bad(str(path)) == list(zip([2, 4, 5, 6, 7, 9], reasons, strict=True))
    assert [r.place for r in read_records(str(path)) if isinstance(r, Record)] == [1, 8]


def test_bad_rows_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    prompts = pa.array([b"a", b"\xff", b"c"]).view(pa.string())
    pq.write_table(pa.table({"prompt": prompts, "completion": ["x"] * 3, "score": [1.0, 1.0, float("inf")]}), path)
    assert bad(str(path)) == [(2, "not_utf8"), (3, "bad_field")]


# ---------------------------------------------------------------- layouts of a source


def test_the_layout_is_that_of_most_rows(tmp_path: Path) -> None:
    name = write(tmp_path / "a.jsonl", CHATS[0], *ROWS, *CHATS[1:4])
    assert open_source(name).layout == "prompt"
    assert [place for place, reason in bad(name) if reason == "mixed_schema"] == [1, 7, 8, 9]
    assert bad(name, layout="any") == []
    assert [place for place, _ in bad(name, layout="messages")] == [2, 3, 4, 5, 6]


def test_a_layout_that_was_asked_for_wins(tmp_path: Path) -> None:
    row = {**CHATS[0], "prompt": "Hi?", "chosen": "a", "rejected": "b"}
    name = write(tmp_path / "a.jsonl", row)
    assert [r.kind for r in good(name)] == ["pair"]
    assert [r.kind for r in good(name, layout="messages")] == ["demonstration"]
    with pytest.raises(ConfigError, match=r"no layout 'alpacca'. Did you mean alpaca"):
        good(name, layout="alpacca")


# ---------------------------------------------------------------- what cannot be read at all


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.jsonl", None, "there is no such file"),
        ("a.jsonl", b"", "it holds no row"),
        ("a.jsonl", b"\n \n", "it holds no row"),
        ("a.json", b"[]", "it holds no row"),
        ("a.json", b'{"data": []}', "it holds no row"),
        ("a.txt", b" \n", "it holds no row"),
        ("a.csv", b"", "it holds no row"),
        ("a.csv", b"prompt,completion\n", "it holds no row"),
        ("a.csv", b"prompt,prompt\na,b\n", "names no columns, or one twice"),
        ("a.json", b'{"a": [1], "b": [2]}', r"it holds 2 lists \(a, b\)"),
        ("a.json", b'{"a": 1}', "it holds no list"),
        ("a.json", b'{"a": \n', "not JSON"),
        ("a.jsonl", json.dumps(ROWS[0]).encode("utf-16"), "it is UTF-16, not UTF-8. Save it as UTF-8"),
        ("a.jsonl", json.dumps(ROWS[0]).encode("utf-16-le"), "it is UTF-16, not UTF-8"),
        ("a.csv", "prompt,completion\na,b\n".encode("utf-16-be"), "it is UTF-16, not UTF-8"),
        ("a.jsonl.gz", gzip.compress(jsonl(ROWS))[:-12], "cannot be read"),
        ("a.parquet", b"PAR1", "this is no Parquet file"),
    ],
)
def test_what_cannot_be_read_at_all(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=says):
        list(read_records(str(tmp_path / name)))


def test_a_folder_of_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a dataset nor a run"):
        open_source(str(tmp_path))


# ---------------------------------------------------------------- content and memory


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    a, b, c = (write(tmp_path / f"{n}.jsonl", *rows) for n, rows in (("a", ROWS), ("b", ROWS), ("c", ROWS[1:])))
    digests = [open_source(name).digest() for name in (a, b, c)]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] == subprocess.check_output(["sha256sum", a], text=True).split()[0]


def test_a_large_file_is_read_with_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    long = b'{"prompt": "' + b"a" * 2**26 + b'", "completion": "b"}'
    path.write_bytes(jsonl([*[{"prompt": "a" * 2**20, "completion": "b"}] * 100, long]))
    code = (
        "import resource, sys\n"
        "from harness.data.reading import read_records\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "reasons = [getattr(row, 'reason', '') for row in read_records(sys.argv[1])]\n"
        "print(len(reasons), reasons[-1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", code, str(path)], text=True).split()
    assert (said[0], said[1]) == ("101", "too_long")
    assert int(said[2]) * 1024 < 100 * 2**20 < path.stat().st_size
