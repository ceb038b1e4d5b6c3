"""Model folders: where one comes from, what it must hold, and its fingerprint.

Nothing here imports torch until a GGUF file is converted.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import AssetError, did_you_mean
from harness.protocols import ModelRef, Progress
from harness.types import canonical_json

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "tekken.json", "vocab.json", "vocab.txt")


def resolve_model(
    name: str, folder: Path | None, cache: Path, progress: Progress, *, known: Sequence[str] = ()
) -> ModelRef:
    """A checked and fingerprinted model: in `folder` if given, else in the local folder or hub repository `name`.

    `known` are names to suggest when there is nothing called `name`.
    """
    path = folder or _locate(name, progress, known)
    check_model_folder(path)
    return ModelRef(name, path.resolve(), fingerprint(path, cache, progress))


def _locate(name: str, progress: Progress, known: Sequence[str]) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    hub_id = _HUB_ID.fullmatch(name)
    if path.exists() or name.startswith((".", "~", os.sep)) or (hub_id is None and os.sep in name):
        raise AssetError("no such folder", where=name, remedy="Give a folder that holds config.json and safetensors.")
    if hub_id is None:
        remedy = f"{did_you_mean(name, list(known))} A folder or org/name works too."
        raise AssetError(f"no model is called {name!r}", remedy=remedy)
    return _download(hub_id[1], hub_id[2], progress)


def _download(repository: str, revision: str | None, progress: Progress) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        with progress.task(f"download {repository}"):
            return Path(snapshot_download(repository, revision=revision, allow_patterns=_HUB_FILES))
    # The hub client also lets errors of its HTTP library through, and changes that library between versions.
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise AssetError(
            f"cannot be downloaded from the model hub: {reason}",
            where=repository,
            remedy="Check the name, log in if the model is gated, connect, or give a local folder.",
        ) from error


# ---------------------------------------------------------------- what a folder must hold


def check_model_folder(path: Path) -> None:
    """Raise AssetError unless `path` holds config.json, a tokenizer and whole safetensors files."""
    where = str(path)
    if not (path / "config.json").is_file():
        adapter = (path / "adapter_config.json").is_file()
        raise AssetError(
            "this is an adapter, not a model" if adapter else "not a model folder: no config.json",
            where=where,
            remedy="Give the folder of the whole model.",
        )
    if not any((path / name).is_file() for name in _TOKENIZERS):
        raise AssetError("no tokenizer here", where=where, remedy="Save the model's tokenizer into the same folder.")
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickled = next(iter([*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth")]), None)
        what = f"{pickled.name} is a pickle, and loading it runs what code it holds" if pickled else "no weights here"
        raise AssetError(what, where=where, remedy="Convert the model to safetensors (`save_pretrained` does).")
    for file in weights:
        _check_safetensors(file)
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if missing := shards - {file.name for file in weights}:
            what = f"shards are missing: {', '.join(sorted(missing))}"
            raise AssetError(what, where=where, remedy="Download the model again.")


def copy_tokenizer(model: Path, out: Path) -> None:
    """Everything of a model folder that turns chats into tokens: tokenizer, special tokens, chat templates."""
    for pattern in _RENDERING:
        for file in filter(Path.is_file, model.glob(pattern)):
            target = out / file.relative_to(model)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _check_safetensors(file: Path) -> None:
    """Compare the size that the header promises with the file's: a download cut short is found before it is loaded.

    Layout: 8 bytes little-endian header length, JSON header, data (safetensors format specification).
    """
    try:
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError("the header is cut short")
            header = json.loads(handle.read(length))
        data = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        if 8 + length + data != file.stat().st_size:
            raise ValueError(f"{file.stat().st_size} bytes where the header promises {8 + length + data}")
    except (ValueError, KeyError, TypeError) as error:
        what = f"damaged safetensors file ({error})"
        raise AssetError(what, where=str(file), remedy="Download the model again.") from None


# ---------------------------------------------------------------- fingerprint

_RENDERING = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "merges.txt", "vocab.*", "*.model"),
    *("chat_template*", "additional_chat_templates/*"),
)
_PROVENANCE = {"_name_or_path", "transformers_version", "is_local", "local_files_only", "name_or_path"}


def fingerprint(path: Path, cache: Path, progress: Progress) -> str:
    """sha256 (hex) over a model's weights, config, tokenizer and chat template.

    The weights count whole: two fine-tunes of one model have equal headers and sizes. Their digest is remembered in
    `cache` by file identity (path, inode, size, time of change), so only the first start reads them. Notes on where
    a config came from do not count: the same model saved by two library versions is the same model.
    """
    parts: dict[str, object] = {"config.json": _without_provenance(path / "config.json")}
    for file in sorted({file for pattern in _RENDERING for file in path.glob(pattern) if file.is_file()}):
        small_json = file.suffix == ".json" and file.name != "tokenizer.json"
        parts[file.name] = _without_provenance(file) if small_json else _digest(file)
    for file in progress.track(sorted(path.glob("*.safetensors")), description="fingerprint"):
        parts[file.name] = _remembered_digest(file, cache, progress)
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _without_provenance(file: Path) -> object:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AssetError(f"not JSON ({error})", where=str(file), remedy="Download the model again.") from None
    return {key: item for key, item in value.items() if key not in _PROVENANCE} if isinstance(value, dict) else value


def _remembered_digest(file: Path, cache: Path, progress: Progress) -> str:
    stat = file.stat()
    identity = canonical_json([str(file.resolve()), stat.st_ino, stat.st_size, stat.st_mtime_ns])
    note = cache / "digests" / hashlib.sha256(identity.encode()).hexdigest()
    if note.is_file() and re.fullmatch("[0-9a-f]{64}", remembered := note.read_text(encoding="ascii")):
        return remembered
    digest = _digest(file)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=note.parent, delete=False, encoding="ascii") as draft:
            draft.write(digest)
        os.replace(draft.name, note)
    except OSError as error:
        progress.note(f"the digest of {file.name} cannot be remembered and is worked out at every start ({error})")
    return digest


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


# ---------------------------------------------------------------- GGUF


def convert_gguf(gguf: Path, out: Path, progress: Progress) -> None:
    """Write a GGUF model (quantized weights, config and tokenizer in one file) as a bfloat16 safetensors folder.

    Quantized blocks are expanded exactly as their format defines and rounded once to bfloat16; equal input gives
    equal bytes.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    bars_were_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # The GGUF reader draws a bar of its own on stderr and has no switch for it.
        with progress.task(f"convert {gguf.name}"), contextlib.redirect_stderr(io.StringIO()):
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                dtype=torch.bfloat16,
                # Saving is refused while the model counts as quantized.
                quantization_config=GgufConfig(dequantize=True),
            )
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model.save_pretrained(out)
            tokenizer.save_pretrained(out)
    except SafetensorError as error:
        # A full disk arrives as text: "... (os error 28)".
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(out)) from error
        raise
    finally:
        if bars_were_on:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
