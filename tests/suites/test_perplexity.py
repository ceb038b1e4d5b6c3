"""The perplexity suite: passages that nothing else trains on, and a loop that reads others."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import harness
from harness.assets import fetch
from harness.config import EvalConfig, GeneratorRef
from harness.plugins import load_registry
from harness.protocols import RunContext, Suite
from harness.store import RunStore
from harness.types import digest

FLOAT32 = {"name": "transformers", "config": {"dtype": "float32"}}


@pytest.fixture(scope="module")
def suite() -> Suite:
    made: Suite = load_registry().create("suite", "perplexity", {}, RunContext())
    return made


@pytest.fixture(scope="module")
def passages() -> set[str]:
    path = fetch("halueval") / "dataset_halueval_qa.jsonl"
    return {json.loads(line)["knowledge"] for line in path.read_text().splitlines()}


def test_it_is_what_it_was(suite: Suite) -> None:
    assert (suite.kind, suite.role, len(suite.items), len(suite.train)) == ("likelihood", "regression", 100, 241)
    assert digest([item.hash for item in suite.items])[:16] == "e83fe8ff4d578e08"
    assert digest([item.hash for item in suite.train])[:16] == "6da82abde0d0d502"


def test_every_document_is_a_passage_of_the_tenth_that_is_ours(suite: Suite, passages: set[str]) -> None:
    ours = {p.strip() for p in passages if int.from_bytes(hashlib.sha256(p.encode()).digest()) % 10 == 9}
    for document in suite.items + suite.train:
        assert document.reference in ours
        assert len(document.reference.split()) >= 60
        assert document.messages == ()


def test_no_eight_words_of_a_held_out_passage_are_in_any_other(suite: Suite, passages: set[str]) -> None:
    def plain(text: str) -> str:
        return " " + " ".join(re.findall(r"\w+", text.casefold())) + " "

    others = [(passage.strip(), plain(passage)) for passage in passages]
    for item in suite.items[::20]:  # a search of every run in every passage takes long
        words = plain(item.reference or "").split()
        runs = [f" {' '.join(words[i : i + 8])} " for i in range(len(words) - 7)]
        assert all(own == item.reference or not any(run in text for run in runs) for own, text in others)


def test_the_report_has_the_perplexity_of_all_passages_together(suite: Suite, tiny_model: Path) -> None:
    report, _ = harness.evaluate(
        "perplexity", model=str(tiny_model), generator=GeneratorRef(**FLOAT32), config=EvalConfig(limit=5)
    )
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    nats, tokens, values = 0.0, 0, []
    for item in suite.items[:5]:
        ids = torch.tensor([[tokenizer.eos_token_id, *tokenizer.encode(item.reference)]])
        with torch.no_grad():
            loss = float(model(input_ids=ids, labels=ids).loss)
        count = ids.shape[1] - 1
        nats, tokens = nats + loss * count, tokens + count
        values.append(math.exp(-loss * count / len((item.reference or "").encode())))
    (found,) = report.suites
    assert found.judging["judge/likelihood/nats_per_token"] == pytest.approx(nats / tokens, rel=1e-5)
    assert found.judging["judge/likelihood/perplexity"] == pytest.approx(math.exp(nats / tokens), rel=1e-4)
    assert [item.score for item in found.items] == pytest.approx(values, rel=1e-4)


def test_continued_pretraining_on_its_documents_makes_the_others_likelier(tiny_model: Path, tmp_path: Path) -> None:
    stage = {"prompts": 24, "generator": "reference", "updater": "cpt", "gate": "hold"}
    config = {
        "suite": "perplexity",
        "model": str(tiny_model),
        "beside": [],
        "generator": FLOAT32,
        "eval": {"limit": 12},
        "stages": [{**stage, "config": {"learning_rate": 0.02, "tokens_per_step": 2048}}],
    }
    result = harness.run_loop(config, runs=tmp_path)
    store = RunStore.open(result.folder)
    figures = [store.entries[index, "evaluate"].data["eval/perplexity"] for index in (0, 1)]
    assert figures[1] > 1.1 * figures[0]
    assert store.entries[1, "update"].data["update/documents"] == 24
