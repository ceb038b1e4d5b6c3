"""Exported rows: TRL trains on what the records say, and other formats hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from export_records import ADD, CALLS, DEMONSTRATIONS, GREET, GROUP, LABELS, PAIRS, TEXTS, exported, lines, load, record
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
from trl.data_utils import (
    is_conversational,
    maybe_apply_chat_template,
    maybe_unpair_preference_dataset,
)

from harness.data.formats import Take, UnfitError, format_rows, taken
from harness.data.record import Answer, Record
from harness.errors import ConfigError
from harness.tools import ToolCall, write_calls
from harness.types import Prompt, canonical_json

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
