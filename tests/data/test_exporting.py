"""Exported rows: TRL trains on what the records say, and `datasets` loads what was written."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
from click.testing import CliRunner
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
from trl.data_utils import (
    get_dataset_column_names,
    is_conversational,
    maybe_apply_chat_template,
    maybe_unpair_preference_dataset,
)

from harness.cli.app import cli
from harness.cli.data.export import FORMAT_NAMES, SHAPES
from harness.data.exporting import Exported, ExportPlan, export
from harness.data.formats import FORMATS, Take, UnfitError, format_rows, taken
from harness.data.reading import BadRow, read_records
from harness.data.record import Answer, Record, RecordKind
from harness.data.writing import WRITERS, Shape
from harness.errors import ConfigError
from harness.tools import ToolCall, parse_calls, write_calls
from harness.training_data import read_rows
from harness.types import Prompt, canonical_json

ADD = {"name": "add", "description": "", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
GREET = {
    "name": "greet",
    "description": "",
    "parameters": {"type": "object", "properties": {"who": {"type": "string"}}},
}
CALLS = write_calls([ToolCall("add", {"a": 1}), ToolCall("greet", {"who": "Zoë", "deep": {"x": [1, None]}})])


def record(
    kind: RecordKind = "demonstration",
    *answers: tuple[str, float | None],
    system: str = "",
    tools: Any = (),
    n: int = 0,
) -> Record:
    asked = [{"role": "system", "content": system}] if system else []
    asked.append({"role": "user", "content": f'Question {n}?\nünïcode, "quotes"'})
    given = tuple(Answer(text, worth) for text, worth in answers or [(f"Answer {n}", 1.0)])
    return Record(Prompt(f"p{n}", tuple(asked), tools=canonical_json(tools) if tools else ""), given, kind, "f", n + 1)


DEMONSTRATIONS = [
    record(n=0),
    record("demonstration", (CALLS, 1.0), tools=[ADD, GREET], n=1),
    record("demonstration", ("Yes.", 1.0), system="Be brief.", n=2),
]
PAIRS = [record("pair", ("good", 1.0), ("bad, and longer", 0.0), n=n) for n in range(3)]
LABELS = [record("label", (f"it is {n}", float(n % 2)), n=n) for n in range(4)]
GROUP = record("group", ("a", 0.2), ("b", 0.9), ("c", 0.9), ("d", None))
TEXTS = [Record(Prompt("t", ()), (Answer("Once\nupon a time"),), "text", "f", 1)]


def exported(records: Sequence[Record | BadRow], out: Path, to: str, **options: Any) -> Exported:
    shape: Any = options.pop("shape", out.suffix.removeprefix("."))
    return export(records, ExportPlan(out, to, shape, **options))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def load(path: Path, shape: Shape, cache: Path) -> Any:
    if shape == "datasets":
        return datasets.load_from_disk(str(path))
    kind = "json" if shape == "jsonl" else shape
    return datasets.load_dataset(kind, data_files=str(path), split="train", cache_dir=str(cache))


# ---------------------------------------------------------------- TRL


def arguments(config: Any, folder: Path) -> Any:
    return config(output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", max_length=None)


def test_sft_trains_on_the_answer_and_nothing_else(tiny_model: Path, tmp_path: Path) -> None:
    exported([DEMONSTRATIONS[0], DEMONSTRATIONS[2]], tmp_path / "rows.jsonl", "trl-sft")
    rows = load(tmp_path / "rows.jsonl", "jsonl", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    trainer = SFTTrainer(
        str(tiny_model), arguments(SFTConfig, tmp_path), train_dataset=rows, processing_class=tokenizer
    )
    learnt = [
        tokenizer.decode([id for id, label in zip(row["input_ids"], row["labels"], strict=True) if label == id])
        for row in trainer.train_dataset
    ]
    assert learnt == ["Answer 0<|im_end|>\n", "Yes.<|im_end|>\n"]
    assert "Be brief." in tokenizer.decode(trainer.train_dataset[1]["input_ids"])


@pytest.mark.parametrize("plain", [False, True])
def test_dpo_prepares_prompt_chosen_and_rejected(tiny_model: Path, tmp_path: Path, plain: bool) -> None:
    exported(PAIRS, tmp_path / "rows.parquet", "trl-dpo", plain=plain)
    rows = load(tmp_path / "rows.parquet", "parquet", tmp_path)
    assert is_conversational(rows[0]) is not plain
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    trainer = DPOTrainer(str(tiny_model), args=arguments(DPOConfig, tmp_path), train_dataset=rows,
                         processing_class=tokenizer)  # fmt: skip
    row = trainer.train_dataset[0]
    end = "<|im_end|>" if plain else "<|im_end|>\n"
    asked = PAIRS[0].prompt.messages[0]["content"]
    whole = asked if plain else f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(row["prompt_ids"]) == whole
    assert tokenizer.decode(row["chosen_ids"]) == "good" + end
    assert tokenizer.decode(row["rejected_ids"]) == "bad, and longer" + end


def test_kto_takes_labels_and_unpaired_pairs(tiny_model: Path, tmp_path: Path) -> None:
    exported(LABELS, tmp_path / "rows.json", "trl-kto")
    rows = load(tmp_path / "rows.json", "json", tmp_path)
    trainer = KTOTrainer(str(tiny_model), args=arguments(KTOConfig, tmp_path), train_dataset=rows,
                         processing_class=AutoTokenizer.from_pretrained(tiny_model))  # fmt: skip
    assert trainer.train_dataset["label"] == [False, True, False, True]
    theirs = maybe_unpair_preference_dataset(
        datasets.Dataset.from_list([row for pair in PAIRS for row in format_rows(pair, "trl-dpo")])
    )
    ours = [row for pair in PAIRS for row in format_rows(pair, "trl-kto")]
    assert sorted(map(canonical_json, ours)) == sorted(map(canonical_json, theirs))


def test_tools_reach_the_template(tiny_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{{ tools | tojson }}" + tokenizer.chat_template
    row = format_rows(DEMONSTRATIONS[1], "trl-sft")[0]
    text = maybe_apply_chat_template(row, tokenizer, tools=json.loads(row["tools"]))
    assert json.loads(text["prompt"].partition("<|im_start|>")[0]) == [
        {"type": "function", "function": tool} for tool in (ADD, GREET)
    ]
    assert text["completion"] == f"{CALLS}<|im_end|>\n"


def test_grpo_shows_tools_in_the_prompt_since_trl_reads_no_column_of_them(tiny_model: Path) -> None:
    row = format_rows(DEMONSTRATIONS[1], "trl-grpo")[0]
    text = maybe_apply_chat_template(row, AutoTokenizer.from_pretrained(tiny_model))["prompt"]
    assert "add(a?: integer)" in text
    assert (row["reference"], set(row)) == (CALLS, {"prompt", "tools", "reference"})


def test_language_modelling_rows(tmp_path: Path) -> None:
    exported(TEXTS, tmp_path / "rows.jsonl", "trl-sft")
    assert lines(tmp_path / "rows.jsonl") == [{"text": "Once\nupon a time"}]


# ---------------------------------------------------------------- other formats


def test_messages_call_tools_by_id() -> None:
    asked = (
        {"role": "user", "content": "Add 1, greet Zoë"},
        {"role": "assistant", "content": CALLS},
        {"role": "tool", "content": "2"},
        {"role": "tool", "content": "Hi"},
    )
    tools = canonical_json([ADD, GREET])
    last = write_calls([ToolCall("add", {"a": 2})])
    row = format_rows(Record(Prompt("p", asked, tools=tools), (Answer(last),), "demonstration"), "messages")[0]
    called = row["messages"][1]["tool_calls"]
    assert [call["function"]["name"] for call in called] == ["add", "greet"]
    assert json.loads(called[1]["function"]["arguments"]) == {"who": "Zoë", "deep": {"x": [1, None]}}
    assert [message["tool_call_id"] for message in row["messages"][2:4]] == [call["id"] for call in called]
    assert row["messages"][4]["tool_calls"][0]["id"] not in [call["id"] for call in called]
    assert row["messages"][1]["content"] is None
    with pytest.raises(UnfitError, match="answers no call"):
        format_rows(
            Record(Prompt("p", asked[:1] + asked[2:], tools=tools), (Answer("x"),), "demonstration"), "messages"
        )


@pytest.mark.parametrize("answer", ["[]", "prose", '[{"name": "add"}]', "{"])
def test_what_is_no_call_stays_text(answer: str) -> None:
    row = format_rows(record("demonstration", (answer, 1.0), tools=[ADD]), "messages")[0]
    assert row["messages"][-1] == {"role": "assistant", "content": answer}


def test_json_that_was_asked_for_is_no_call() -> None:
    row = format_rows(record("demonstration", (CALLS, 1.0)), "messages")[0]
    assert row == {"messages": [row["messages"][0], {"role": "assistant", "content": CALLS}]}


def test_alpaca_and_sharegpt() -> None:
    asked = DEMONSTRATIONS[2].prompt.messages[1]["content"]
    assert format_rows(DEMONSTRATIONS[2], "alpaca") == [
        {"instruction": asked, "input": "", "output": "Yes.", "system": "Be brief."}
    ]
    assert format_rows(DEMONSTRATIONS[2], "sharegpt") == [
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": asked},
                {"from": "gpt", "value": "Yes."},
            ]
        }
    ]


@pytest.mark.parametrize(
    ("to", "one", "reason"),
    [
        ("trl-sft", PAIRS[0], "pair"),
        ("trl-dpo", GROUP, "group"),
        ("trl-kto", DEMONSTRATIONS[0], "demonstration"),
        ("messages", TEXTS[0], "text"),
        ("prompt-only", TEXTS[0], "text"),
        ("alpaca", DEMONSTRATIONS[1], "tools"),
        ("harness", GROUP, "group"),
    ],
)
def test_what_a_format_cannot_hold(to: str, one: Record, reason: str) -> None:
    with pytest.raises(UnfitError) as raised:
        format_rows(one, to)
    assert raised.value.reason == reason


def test_plain_text_holds_one_question_alone() -> None:
    with pytest.raises(UnfitError) as raised:
        format_rows(DEMONSTRATIONS[2], "trl-sft", plain=True)
    assert raised.value.reason == "not_one_question"


# ---------------------------------------------------------------- one answer of several


@pytest.mark.parametrize(
    ("one", "take", "text"),
    [(PAIRS[0], "chosen", "good"), (GROUP, "best", "b"), (LABELS[1], "good", "it is 1"), (LABELS[0], "good", None)],
)
def test_one_answer_is_taken(one: Record, take: Take, text: str | None) -> None:
    found = taken(one, [take])
    assert (None if found is None else [answer.text for answer in found.answers]) == (None if text is None else [text])
    assert found is None or found.kind == "demonstration"


def test_answers_that_are_not_worth_anything_are_counted(tmp_path: Path) -> None:
    done = exported(LABELS, tmp_path / "rows.jsonl", "messages", takes=("good",))
    assert (done.records, done.rows, done.without_answer, done.rejected) == (2, 2, 2, {})
    with pytest.raises(ConfigError, match="none of 1 records has an answer to take"):
        exported(LABELS[:1], tmp_path / "none.jsonl", "messages", takes=("good",))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("shape", ["jsonl", "json", "parquet", "datasets"])
@pytest.mark.parametrize(("to", "records"), [("trl-sft", DEMONSTRATIONS), ("trl-dpo", PAIRS), ("trl-kto", LABELS)])
def test_datasets_loads_the_same_rows(tmp_path: Path, shape: Shape, to: str, records: list[Record]) -> None:
    exported(records, tmp_path / "out", to, shape=shape)
    rows = [row for one in records for row in format_rows(one, to)]
    found = load(tmp_path / "out", shape, tmp_path / "cache")
    assert [{name: value for name, value in row.items() if value is not None} for row in found] == rows
    assert set(get_dataset_column_names(found)) >= set(rows[0])


@pytest.mark.parametrize("shape", ["parquet", "datasets"])
def test_tables_of_calls_hold_no_argument_that_was_not_there(tmp_path: Path, shape: Shape) -> None:
    exported(DEMONSTRATIONS, tmp_path / "out", "messages", shape=shape)
    found = load(tmp_path / "out", shape, tmp_path / "cache")[1]
    calls = found["messages"][-1]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [c.arguments for c in parse_calls(CALLS)]
    assert [tool["function"] for tool in json.loads(found["tools"])] == [ADD, GREET]


def test_many_rows_are_several_row_groups_of_one_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr("harness.data.writing.BATCH", 2)
    exported(DEMONSTRATIONS, tmp_path / "rows.parquet", "harness")
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert (file.num_row_groups, file.metadata.num_rows) == (2, 3)
    assert [json.loads(t) if t else [] for t in file.read()["tools"].to_pylist()] == [[], [ADD, GREET], []]


def test_csv(tmp_path: Path) -> None:
    exported(LABELS, tmp_path / "rows.csv", "trl-kto", plain=True)
    with (tmp_path / "rows.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["label"] for row in rows] == ["false", "true", "false", "true"]
    assert rows[1]["prompt"] == LABELS[1].prompt.messages[0]["content"]
    assert rows[1]["tools"] == ""


@pytest.mark.parametrize("one", [*DEMONSTRATIONS, PAIRS[0], LABELS[0]])
def test_train_reads_our_own_rows_as_what_they_were(tmp_path: Path, one: Record) -> None:
    exported([one], tmp_path / "rows.jsonl", "harness")
    row = next(read_rows(tmp_path / "rows.jsonl"))
    assert row.prompt == one.prompt
    assert row.completions == tuple((answer.text, answer.worth) for answer in one.answers)


MANY_TURNS = Record(
    Prompt(
        "m",
        (
            {"role": "user", "content": "Add 1, greet Zoë"},
            {"role": "assistant", "content": CALLS},
            {"role": "tool", "content": "2"},
            {"role": "tool", "content": "Hi"},
            {"role": "user", "content": "Thanks"},
        ),
        tools=canonical_json([ADD, GREET]),
    ),
    (Answer("Welcome"),),
    "demonstration",
)


@pytest.mark.parametrize("shape", list(WRITERS))
@pytest.mark.parametrize(
    ("to", "records"),
    [
        ("messages", [*DEMONSTRATIONS, MANY_TURNS]),
        ("sharegpt", [*DEMONSTRATIONS, MANY_TURNS]),
        ("trl-sft", [*DEMONSTRATIONS, MANY_TURNS]),
        ("harness", [*DEMONSTRATIONS, MANY_TURNS]),
        ("alpaca", [DEMONSTRATIONS[0], DEMONSTRATIONS[2]]),
        ("trl-dpo", PAIRS),
        ("trl-kto", LABELS),
    ],
)
def test_what_is_written_reads_back_as_it_was(tmp_path: Path, shape: Shape, to: str, records: list[Record]) -> None:
    out = tmp_path / ("rows" if shape == "datasets" else f"rows.{shape}")
    exported(records, out, to, shape=shape)
    assert [said(one) for one in read_records(str(out))] == [said(one) for one in records]


def said(one: Record | BadRow) -> Any:
    assert isinstance(one, Record), one
    tools = json.loads(one.prompt.tools or "[]")
    return one.kind, [dict(message) for message in one.prompt.messages], tools, one.answers


# ---------------------------------------------------------------- what cannot be written

BAD = BadRow("f", 7, "not_json", "it ends too early", "{")


@pytest.mark.parametrize("shape", list(WRITERS))
def test_nothing_is_written_but_the_rejects(tmp_path: Path, shape: Shape) -> None:
    rejects = tmp_path / "rejects.jsonl"
    with pytest.raises(
        ConfigError, match=r"f:7: 2 of 3 rows cannot be written as trl-dpo: group \(1\), not_json \(1\)"
    ):
        exported([PAIRS[0], BAD, GROUP], tmp_path / "out", "trl-dpo", shape=shape, rejects=rejects)
    assert [path.name for path in tmp_path.iterdir()] == ["rejects.jsonl"]
    assert [(row["place"], row["reason"]) for row in lines(rejects)] == [(7, "not_json"), (1, "group")]


def test_bad_rows_are_left_out_when_told(tmp_path: Path) -> None:
    done = exported([BAD, *PAIRS], tmp_path / "out.jsonl", "trl-dpo", skip_bad=True)
    assert (done.rows, done.rejected) == (3, {"not_json": 1})
    with pytest.raises(ConfigError, match="trl-sft: pair"):
        exported(PAIRS, tmp_path / "none.jsonl", "trl-sft", skip_bad=True)
    assert not (tmp_path / "none.jsonl").exists()


def test_rows_of_other_columns_do_not_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mixed_columns"):
        exported([*DEMONSTRATIONS, *TEXTS], tmp_path / "rows.jsonl", "trl-sft")
    with pytest.raises(ConfigError, match="mixed_columns"):
        exported([*DEMONSTRATIONS, *PAIRS], tmp_path / "rows.parquet", "harness")
    assert exported([*DEMONSTRATIONS, *PAIRS], tmp_path / "rows.jsonl", "harness").rows == 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"to": "messages", "plain": True}, "messages has one layout"),
        ({"to": "trl-dpo", "takes": ("chosen",)}, "trl-dpo holds no demonstrations"),
        ({"to": "trl-dpo", "rejects": Path("rows.jsonl")}, "same file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=says):
        exported(PAIRS, tmp_path / "rows.jsonl", **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="it is there already"):
        exported(PAIRS, tmp_path / "rows.jsonl", "trl-dpo")
    assert (tmp_path / "rows.jsonl").read_text() == "mine"


def test_every_format_says_what_its_columns_hold() -> None:
    samples = [*DEMONSTRATIONS, *PAIRS, *LABELS, GROUP, *TEXTS]
    for name, format in FORMATS.items():
        for one in (one for one in samples if one.kind in format.kinds):
            try:
                rows = format_rows(one, name)
            except UnfitError:
                continue
            assert all(set(row) <= set(format.columns) for row in rows), name


# ---------------------------------------------------------------- the command


def command(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["-q", "data", "export", *arguments])


def test_the_command_writes_what_the_name_says(tmp_path: Path) -> None:
    source, out = tmp_path / "rows.jsonl", tmp_path / "made" / "rows.csv"
    source.write_text('{"prompt": "q", "completion": "a"}\n{"prompt": "r", "chosen": "b", "rejected": "c"}\n')
    before = source.read_bytes()
    done = command(str(source), "--to", "alpaca", "--take", "chosen", "--layout", "any", "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["rows"] == 2
    with out.open(newline="") as handle:
        assert [row["output"] for row in csv.DictReader(handle)] == ["a", "b"]
    assert source.read_bytes() == before


def test_the_command_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "q", "completion": "a"}\n{"prompt": "q"\n')
    done = command(str(source), "--to", "messages", "--out", str(tmp_path / "out.jsonl"))
    assert isinstance(done.exception, ConfigError)
    assert f"{source}:2" in str(done.exception)
    assert done.exception.exit_code == 3
    with pytest.raises(ConfigError, match="does not say what to write"):
        raise command(str(source), "--to", "messages", "--out", str(tmp_path / "out")).exception
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_the_command_offers_every_format_and_shape() -> None:
    assert set(FORMAT_NAMES) == set(FORMATS)
    assert set(SHAPES) == set(WRITERS)
