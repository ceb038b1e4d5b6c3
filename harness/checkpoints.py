"""Adapter checkpoints on disk: a PEFT folder (safetensors only) sealed by `checkpoint.json`, which is written last."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from harness.durable import write_text
from harness.errors import StoreError
from harness.types import AdapterCheckpoint, CheckpointKind, Probe

SEAL = "checkpoint.json"


def weights_digest(folder: Path) -> str:
    """sha256 (hex) over the folder's adapter config and safetensors, by name and content."""
    hasher = hashlib.sha256()
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("adapter_config.json")])
    for file in files:
        hasher.update(file.name.encode())
        with file.open("rb") as handle:
            hasher.update(hashlib.file_digest(handle, "sha256").digest())
    return hasher.hexdigest()


def seal_checkpoint(
    folder: Path, *, base: str, probe: Probe | None, quantization: str = "", kind: CheckpointKind = "policy"
) -> AdapterCheckpoint:
    """Record what a finished adapter folder holds. `base` is the fingerprint of its model."""
    version = weights_digest(folder)
    seal = {
        "version": version,
        "base": base,
        "kind": kind,
        "quantization": quantization,
        "probe": {"token_ids": list(probe.token_ids), "logprobs": list(probe.logprobs)} if probe else None,
    }
    write_text(folder / SEAL, json.dumps(seal))
    return AdapterCheckpoint(folder, version, base, probe, quantization, kind)


def open_checkpoint(folder: Path, *, base: str | None = None, kind: CheckpointKind = "policy") -> AdapterCheckpoint:
    """Read a sealed adapter back. Raises StoreError when it is missing, damaged, of another kind, or made for another
    `base`."""
    where = str(folder)
    try:
        seal = json.loads((folder / SEAL).read_text())
        version, made_for, probe = seal["version"], seal["base"], seal["probe"]
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(
            f"no {SEAL} here, so this is not a finished adapter", where=where, remedy="Give a round's adapter folder."
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreError(
            f"{SEAL} is damaged ({error})", where=where, remedy="Restore the folder or train again."
        ) from None
    if weights_digest(folder) != version:
        raise StoreError(
            "the weights are not those that were sealed", where=where, remedy="Restore the folder or train again."
        )
    if base is not None and made_for != base:
        raise StoreError(
            f"the adapter belongs to another model (fingerprint {made_for[:12]}, not {base[:12]})",
            where=where,
            remedy="Name the model that it was trained on with --model.",
        )
    if (found := seal.get("kind", "policy")) != kind:
        raise StoreError(
            f"this is a {found.replace('_', ' ')}, not a {kind.replace('_', ' ')}",
            where=where,
            remedy="A reward model is for the judge `reward_model`, a policy for all else.",
        )
    restored = Probe(tuple(probe["token_ids"]), tuple(probe["logprobs"])) if probe else None
    quantization, kind = seal.get("quantization", ""), seal.get("kind", "policy")
    return AdapterCheckpoint(folder, version, made_for, restored, quantization, kind)


def saved_quantization(folder: Path) -> str:
    """How the base was held when the adapter in `folder` was trained; "" for one that nothing is recorded of."""
    seal = folder / SEAL
    return str(json.loads(seal.read_text()).get("quantization", "")) if seal.is_file() else ""
