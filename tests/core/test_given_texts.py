"""Likelihood suites: what a policy thinks of given texts, against transformers' own loss, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

import harness
from harness import chat
from harness.cli.app import cli
from harness.config import EvalConfig, GeneratorRef
from harness.errors import ConfigError, HarnessError
from harness.evaluation import suite_fingerprint
from harness.plugins import load_registry
from harness.protocols import RunContext
from harness.suites import load_suite
from harness.training_data import file_examples
from harness.types import Prompt, ScoredGroup

FLOAT32 = GeneratorRef(name="transformers", config={"dtype": "float32"})
DOCUMENT = {"id": "document", "text": "The sea is wide. Ships cross it in a week."}
CHAT = {"id": "chat", "prompt": "Name a colour.", "reference": "Blue, as the sea is."}
RAW = {"id": "raw", "text": "Question: what is wide?\nAnswer: ", "reference": "the sea"}
CHOICES = {
    "id": "choices",
    "text": "What is wide?",
    "target": {"choices": ["The sea", "A pin"], "gold": 0, "delimiter": " "},
}
ASKED = {"id": "asked", "prompt": "What is wide?", "target": {"choices": ["The sea", "A pin"], "gold": [0]}}


def write(folder: Path, *rows: dict[str, Any], judge: str = "likelihood", head: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "suite.toml").write_text(
        '[suite]\nname = "texts"\nversion = "1"\nrole = "monitor"\nsummary = "s"\nlicense = "none"\n'
        f'items = "items.jsonl"\nkind = "likelihood"\n{head}\n[[judges]]\nname = "{judge}"\n'
    )
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def evaluated(folder: Path, model: Path) -> dict[str, ScoredGroup]:
    _, results = harness.evaluate(str(folder), model=str(model), generator=FLOAT32)
    return {scored.group.prompt.id: scored for scored in results["texts"]}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, ScoredGroup]:
    folder = write(tmp_path_factory.mktemp("likelihood") / "texts", DOCUMENT, CHAT, RAW, CHOICES, ASKED)
    return evaluated(folder, tiny_model)


def mean_loss(model: Path, ids: list[int], first: int) -> float:
    """Of the tokens from the `first` on, by transformers, in nats."""
    ids_1_T = torch.tensor([ids])
    labels_1_T = ids_1_T.clone()
    labels_1_T[0, :first] = -100
    with torch.no_grad():
        return float(AutoModelForCausalLM.from_pretrained(model)(input_ids=ids_1_T, labels=labels_1_T).loss)


def expected_ids(model: Path, row: dict[str, Any], text: str) -> tuple[list[int], int]:
    """What is read, and where the text begins; the tokens of the tiny model are bytes."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    if "prompt" in row:
        before = tokenizer.apply_chat_template(
            [{"role": "user", "content": row["prompt"]}], add_generation_prompt=True, return_dict=False
        )
    elif row is DOCUMENT:
        before = [tokenizer.eos_token_id]
    else:
        before = tokenizer.encode(row["text"].rstrip())
    return [*before, *tokenizer.encode(text, add_special_tokens=False)], len(before)


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        (DOCUMENT, [DOCUMENT["text"]]),
        (CHAT, [CHAT["reference"]]),
        (RAW, [" the sea"]),  # the space belongs to the word
        (CHOICES, [" The sea", " A pin"]),
        (ASKED, ["The sea", "A pin"]),
    ],
    ids=lambda value: value["id"] if isinstance(value, dict) else "",
)
def test_the_log_probs_are_those_of_transformers_own_loss(
    scored: dict[str, ScoredGroup], tiny_model: Path, row: dict[str, Any], texts: list[str]
) -> None:
    group = scored[row["id"]].group
    assert len(group.completions) == len(texts)
    for text, completion in zip(texts, group.completions, strict=True):
        assert completion.text == text
        ids, first = expected_ids(tiny_model, row, text)
        assert [*group.prompt_token_ids, *completion.token_ids] == ids
        assert len(group.prompt_token_ids) == first
        assert completion.logprobs is not None
        mean = sum(completion.logprobs) / len(completion.logprobs)
        assert -mean == pytest.approx(mean_loss(tiny_model, ids, first), abs=1e-5)


def test_groups_say_that_nothing_was_drawn(scored: dict[str, ScoredGroup]) -> None:
    for group in (one.group for one in scored.values()):
        assert (group.policy_version, group.generator, group.sampling.temperature) == ("base", "given", 1.0)


def test_a_token_that_reaches_across_belongs_to_the_continuation() -> None:
    """Where "ab" is one token, "b" after "xa" is scored as "ab" after "x", and "c" as "ac" after "x"."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"a": 0, "b": 1, "c": 2, "x": 3, "ab": 4, "<end>": 5}
    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>")
    assert chat.encode_after(tokenizer, "xa", ["b", "c"]) == ([3], [[4], [0, 2]])
    assert chat.encode_after(tokenizer, "xx", ["ab", "c"]) == ([3, 3], [[4], [2]])
    assert chat.encode_after(tokenizer, "a", ["b"]) == ([5], [[4]])  # then it follows the start of a document
    assert chat.encode_after(tokenizer, "", ["b"]) == ([5], [[1]])


def test_raw_text_is_shown(tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli, ["suites", "show", str(write(tmp_path / "texts", DOCUMENT, RAW)), "--items", "2"])
    assert shown.exit_code == 0
    assert "asked     (nothing: raw text)\n  expected  The sea is wide." in shown.output
    assert "asked     Question: what is wide?\nAnswer: \n  expected  the sea" in shown.output


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": "r"}, "messages or prompt"),
        ({"id": "r", "text": "a", "prompt": "b"}, "not both"),
        ({"id": "r", "text": "a", "tools": [{"name": "f"}]}, "belong to chats"),
        ({"id": "r", "text": "a", "schema": {}}, "belong to chats"),
        ({"id": "r", "text": "a", "target": ["b"]}, "must be an object"),
        ({"id": "r", "prompt": "a"}, "neither a reference nor choices"),
        ({"id": "r", "prompt": "a", "target": {"choices": ["b", "c"], "gold": 2}}, "gold = 2"),
        ({"id": "r", "prompt": "a", "reference": "b", "target": {"context": "c"}}, "in place of messages"),
    ],
)
def test_an_item_must_say_what_is_scored(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_suite(write(tmp_path / "texts", row))


def test_raw_text_is_for_likelihood_suites_alone(tmp_path: Path) -> None:
    folder = write(tmp_path / "texts", CHAT, DOCUMENT)
    manifest = folder / "suite.toml"
    manifest.write_text(manifest.read_text().replace('kind = "likelihood"', ""))
    with pytest.raises(ConfigError, match=r"items\.jsonl:2.*nothing in it to answer"):
        load_suite(folder)


def test_settings_that_nothing_would_read_are_refused(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="draws nothing"):
        load_suite(write(tmp_path / "texts", CHAT, head="[suite.sampling]\nmax_tokens = 3"))
    suite = str(write(tmp_path / "texts", CHAT))
    with pytest.raises(ConfigError, match=r"eval\.epochs = 2 would score the same texts again"):
        harness.evaluate(suite, model=str(tiny_model), config=EvalConfig(epochs=2, temperature=1.0))


def test_a_generator_without_weights_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    suite = str(write(tmp_path / "texts", CHAT))
    with pytest.raises(ConfigError, match=r"suite texts: ScriptedGenerator holds no weights.*vllm"):
        harness.evaluate(suite, model=str(tiny_model), generator=GeneratorRef(name="scripted"))


def test_a_text_longer_than_the_context_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    suite = str(write(tmp_path / "texts", {"id": "long", "text": "sea " * 300}))  # 1200 tokens and the first
    with pytest.raises(HarnessError, match="1201 tokens to score and the context holds 1024"):
        harness.evaluate(suite, model=str(tiny_model), generator=FLOAT32)


# ---------------------------------------------------------------- identity


def test_the_fingerprint_is_that_of_items_and_judges_and_not_of_decoding(tmp_path: Path) -> None:
    registry = load_registry()
    suite = load_suite(write(tmp_path / "texts", CHAT, DOCUMENT))

    def fingerprint(**settings: Any) -> str:
        return suite_fingerprint(suite, registry, EvalConfig(**settings))

    assert fingerprint() == fingerprint(temperature=0.7) == fingerprint(constrained=True)
    assert fingerprint() != fingerprint(limit=1)
    drawn = load_suite(write(tmp_path / "texts", CHAT))
    manifest = tmp_path / "texts" / "suite.toml"
    manifest.write_text(manifest.read_text().replace('kind = "likelihood"', "[suite.sampling]\ntemperature = 1.0"))
    same_items = load_suite(tmp_path / "texts")
    assert same_items.items == drawn.items
    assert suite_fingerprint(drawn, registry, EvalConfig()) != suite_fingerprint(same_items, registry, EvalConfig())


def test_two_documents_are_the_same_question_only_if_they_say_the_same(tmp_path: Path) -> None:
    one, other = Prompt("1", (), reference="a text"), Prompt("2", (), reference="another")
    assert one.question != other.question
    assert one.question == Prompt("3", (), reference="a text").question
    choosing = {"context": "a text", "choices": ["a", "b"]}
    asked_raw = [Prompt("5", (), target=json.dumps({**choosing, "gold": gold})).question for gold in (0, 1)]
    assert len({*asked_raw, one.question}) == 2, "the right answer is no part of the question"
    rows = tmp_path / "texts.jsonl"
    rows.write_text('{"text": "another"}\n{"prompt": "q", "completion": "c"}\n')
    (document, texts), (asked, _) = file_examples(rows, RunContext())
    assert replace(document, reference=texts[0]).question == other.question
    assert asked.question == Prompt("4", ({"role": "user", "content": "q"},), reference="d").question
