"""Writing so that a crash leaves the old or the new, never half: shared by the run store, checkpoints and cache."""

from __future__ import annotations

import os
from pathlib import Path


def fsync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(path: Path) -> None:
    """Flush a file, or a folder with everything in it."""
    if path.is_dir():
        for child in path.rglob("*"):
            fsync(child)
    fsync(path)


def write_text(path: Path, text: str) -> None:
    """Replace a file's content at once."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text)
    fsync(draft)
    draft.rename(path)
    fsync(path.parent)


def make_folder(path: Path) -> None:
    """As `mkdir -p`, and each new folder's entry in its parent is on the disk when this returns."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        fsync(path.parent)
