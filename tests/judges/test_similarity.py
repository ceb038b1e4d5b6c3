"""The `similarity` judge, against embeddings computed one text at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from telling_judges import group_of
from tiny import build_tiny_model
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, T5Config, T5EncoderModel, T5Model

from harness.errors import AssetError
from harness.judging import judges_fingerprint
from harness.plugins import load_registry
from harness.protocols import JudgeUse, RunContext
from harness.types import Group
from harness_judges.settings import SimilarityConfig
from harness_judges.similarity import SimilarityJudge


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def judge_of(folder: Path, **config: object) -> SimilarityJudge:
    return SimilarityJudge(SimilarityConfig(model=str(folder), **config), RunContext())  # type: ignore[arg-type]


def with_reference(group: Group, reference: str | None) -> Group:
    return replace(group, prompt=replace(group.prompt, reference=reference))


@torch.inference_mode()
def expected(folder: Path, text: str, reference: str) -> float:
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    a, b = (model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0].mean(0) for t in (text, reference))
    return float(1 + torch.cosine_similarity(a, b, dim=0)) / 2


def test_it_is_the_cosine_of_mean_hidden_states_mapped_to_the_unit_interval(folder: Path) -> None:
    texts = ("blue", "a red house", "grey", "gray", "something much longer than that")
    groups = [with_reference(group_of(*texts), "gray"), with_reference(group_of("tan"), "a red hut")]
    rows = judge_of(folder, batch=2).score(groups)
    for group, scores in zip(groups, rows, strict=True):
        for completion, score in zip(group.completions, scores, strict=True):
            assert score.value == pytest.approx(
                expected(folder, completion.text, group.prompt.reference or ""), abs=1e-5
            )
    assert rows[0][3].value == pytest.approx(1.0, abs=1e-6)
    assert rows[0][3].explanation == "cosine 1.0000"
    assert len({score.value for score in rows[0]}) == len(texts)


def test_nothing_to_compare_with_is_abstained_from_and_nothing_said_is_worth_nothing(folder: Path) -> None:
    groups = [group_of("a", ""), with_reference(group_of("a"), " "), with_reference(group_of("", " \n", "a"), "a")]
    rows = judge_of(folder).score(groups)
    assert [[score.status for score in row] for row in rows[:2]] == [["abstained"] * 2, ["abstained"]]
    assert [score.value for score in rows[2][:2]] == [0.0, 0.0]
    assert rows[2][2].value == pytest.approx(1.0, abs=1e-6)


def test_what_the_model_cannot_read_is_cut_and_said(folder: Path) -> None:
    long = "x" * 1024  # a token each, and as many as the model has positions
    groups = [with_reference(group_of(long, long + "yyyy", "x"), long)]
    ((whole, cut, short),) = judge_of(folder).score(groups)
    assert cut.explanation == "cosine 1.0000, of the first 1024 tokens"
    assert "first" not in whole.explanation + short.explanation


def test_a_model_that_gives_no_number_has_failed(folder: Path, tmp_path: Path) -> None:
    broken = build_tiny_model(tmp_path / "nan")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    ((score,),) = judge_of(broken).score([with_reference(group_of("a"), "b")])
    assert (score.status, score.explanation) == ("failed", "the model gave nan")


def test_encoders_serve_with_their_pooler_or_without(folder: Path, tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    for number, pooler in enumerate((True, False)):
        path = tmp_path / str(number)
        BertModel(config, add_pooling_layer=pooler).save_pretrained(path)
        AutoTokenizer.from_pretrained(folder).save_pretrained(path)
        ((score,),) = judge_of(path).score([with_reference(group_of("a red house"), "a blue hut")])
        assert score.value == pytest.approx(expected(path, "a red house", "a blue hut"), abs=1e-5)


@torch.inference_mode()
def test_of_an_encoder_decoder_the_encoder_serves(folder: Path, tmp_path: Path) -> None:
    config = T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    encoder, tokenizer = T5EncoderModel.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    ids = (torch.tensor([tokenizer(text)["input_ids"]]) for text in ("a red house", "a blue hut"))
    a, b = (encoder(input_ids=i).last_hidden_state[0].mean(0) for i in ids)
    ((score,),) = judge_of(tmp_path).score([with_reference(group_of("a red house"), "a blue hut")])
    assert score.value == pytest.approx(float(1 + torch.cosine_similarity(a, b, dim=0)) / 2, abs=1e-5)


def test_a_model_that_lacks_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = build_tiny_model(tmp_path / "part")
    weights = load_file(broken / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AssetError, match=r"lacks weights, such as .*layers.1.mlp.up_proj.weight"):
        judge_of(broken)


def test_its_identity_is_that_of_the_model(folder: Path, tmp_path: Path) -> None:
    registry = load_registry()
    copy = build_tiny_model(tmp_path / "copy")
    use = JudgeUse("similarity", {"model": str(copy)})
    before = judges_fingerprint([use], registry)
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**settings, "rms_norm_eps": 0.1}))
    assert judges_fingerprint([use], registry) != before
