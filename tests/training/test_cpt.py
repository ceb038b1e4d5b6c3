"""Continued pretraining learns every token of its texts, once."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from tiny import build_tiny_model
from tiny_training import scored_group
from transformers import AutoModelForCausalLM

from harness.errors import ConfigError
from harness.plugins import load_registry
from harness.protocols import ModelRef, RunContext
from harness.training_data import file_groups
from harness_plugins.models.packing import hold_out
from harness_plugins.updaters.configs import CptConfig
from harness_plugins.updaters.cpt import CptUpdater, cut

ADAPTER = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
TEXTS = ["the cat sat on the mat. " * 9, "a dog.", "the cat ate the dog on the mat. " * 5]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    path = build_tiny_model(tmp_path_factory.mktemp("model"))
    return RunContext(model=ModelRef("tiny", path, "f" * 64), adapter=ADAPTER, components=load_registry())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS) + "\n")
    return path


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_blocks_teach_every_token_but_the_first_once(size: int) -> None:
    ids = tuple(range(50))
    blocks = list(cut(ids, size))
    assert tuple(i for block in blocks for i in block.completions[0].token_ids) == ids[1:]
    for block in blocks:
        assert len(block.completions[0].token_ids) <= size
        assert block.prompt_token_ids == (block.completions[0].token_ids[0] - 1,)


def test_the_first_loss_is_that_of_the_texts_alone(context: RunContext, file: Path, tmp_path: Path) -> None:
    """Documents that share a row do not see each other, and the loss is the mean over all their tokens."""
    settings = CptConfig(dtype="float32", tokens_per_step=10_000, block_size=64, max_tokens_per_row=256)
    groups = file_groups(file, context)
    update = CptUpdater(settings, context).update(groups, parent=None, out=tmp_path / "out", seed=0)

    model = AutoModelForCausalLM.from_pretrained(context.require_model().path, dtype=torch.float32)
    total, count = 0.0, 0
    for scored in groups:
        ids = scored.group.prompt_token_ids + scored.group.completions[0].token_ids
        for start in range(0, len(ids) - 1, 64):
            block = torch.tensor([ids[start : start + 65]])
            with torch.no_grad():
                logits = model(block).logits[0, :-1].float()
            total += torch.nn.functional.cross_entropy(logits, block[0, 1:], reduction="sum").item()
            count += block.shape[1] - 1
    assert update.metrics["update/tokens"] == count == sum(len(t.encode()) + 1 for t in TEXTS)
    assert update.metrics["update/first_loss"] == pytest.approx(total / count, rel=1e-5)
    assert update.metrics["update/documents"] == 3


def test_the_texts_become_likelier(context: RunContext, file: Path, tmp_path: Path) -> None:
    settings = CptConfig(dtype="float32", tokens_per_step=128, block_size=64, epochs=20, learning_rate=0.005)
    update = CptUpdater(settings, context).update(file_groups(file, context), parent=None, out=tmp_path / "o", seed=0)
    assert update.metrics["update/last_loss"] < update.metrics["update/first_loss"] - 0.3


def test_chats_are_no_texts(context: RunContext, tmp_path: Path) -> None:
    groups = [scored_group(0, (1.0,))]
    chat = dataclasses.replace(groups[0].group.prompt, messages=({"role": "user", "content": "hi"},))
    groups = [dataclasses.replace(groups[0], group=dataclasses.replace(groups[0].group, prompt=chat))]
    with pytest.raises(ConfigError, match="is a chat"):
        CptUpdater(CptConfig(), context).update(groups, parent=None, out=tmp_path / "o", seed=0)


def test_a_text_file_is_one_document(context: RunContext, tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("line one\n\nline two\n")
    (group,) = file_groups(path, context)
    assert group.group.completions[0].text == "line one\n\nline two\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [({"text": " "}, "is empty"), ({"text": 3}, "is not text"), ({"text": "x", "prompt": "y"}, "does not go with")],
)
def test_bad_texts_are_named_by_line(context: RunContext, tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"text": "fine"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match=message) as caught:
        file_groups(path, context)
    assert caught.value.where.endswith("bad.jsonl:2")


def test_early_stopping_holds_out_whole_documents(context: RunContext, file: Path, tmp_path: Path) -> None:
    """Short documents all start with the same token, and long ones are cut into several blocks."""
    config = CptConfig(dtype="float32", block_size=64, tokens_per_step=64, early_stopping="loss", validation=0.3)
    updater = CptUpdater(config.model_copy(update={"epochs": 6, "learning_rate": 0.005, "eval_steps": 4}), context)
    groups = file_groups(file, context)
    update = updater.update(groups, parent=None, out=tmp_path / "o", seed=0)
    assert update.metrics["update/validation_best"] < update.metrics["update/validation_first"]
    training, held = hold_out(updater.select(groups).groups, config.validation)
    assert len({group.origin for group in held}) == 1
    assert not {group.origin for group in held} & {group.origin for group in training}


def test_blocks_are_no_longer_than_the_context(context: RunContext, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"text": "word " * 600}) + "\n")
    updater = CptUpdater(CptConfig(dtype="float32", block_size=100_000, max_tokens_per_row=0), context)
    update = updater.update(file_groups(path, context), parent=None, out=tmp_path / "o", seed=0)
    assert update.metrics["update/too_long"] == 0
    assert update.metrics["update/tokens"] == 3001
