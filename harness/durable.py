"""Writing so that a crash leaves the old or the new, never half: shared by the run store, checkpoints and cache."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import ConfigError, StoreError

NOT_WRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG),
}


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
    """Replace a file's content at once. Raises OSError where it cannot be written, so too where it is a folder."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    fsync(draft)
    draft.rename(path)
    fsync(path.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line, on the disk when this returns. One that a crash left unfinished is cut off first: it would swallow
    this one."""
    is_new = not path.exists()
    with path.open("ab+") as handle:
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            if handle.read() != b"\n":
                handle.seek(0)
                handle.truncate(handle.read().rfind(b"\n") + 1)
        handle.write(line.encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    if is_new:
        fsync(path.parent)


def make_folder(path: Path) -> None:
    """As `mkdir -p`, and each new folder's entry in its parent is on the disk when this returns."""
    if not path.is_dir():
        if path == path.parent:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        fsync(path.parent)


def require_new(out: Path) -> None:
    """Raises ConfigError when there is something that `written_aside` would have to replace."""
    if out.exists():
        raise ConfigError("it is there already", where=str(out), remedy="Name another folder with --out.")


@contextmanager
def written_aside(out: Path, *, remedy: str = "Make room, or name another folder with --out.") -> Iterator[Path]:
    """A folder that becomes `out`, whole and on the disk, when the block ends well, and is removed when it does not."""
    draft: Path | None = None
    try:
        make_folder(out.parent)
        draft = Path(tempfile.mkdtemp(prefix=f"{out.name}.", suffix=".tmp", dir=out.parent))
        draft.chmod(0o755)
        yield draft
        fsync_tree(draft)
        draft.rename(out)
        fsync(out.parent)
    except OSError as error:
        if error.errno not in NOT_WRITABLE:  # what the block read or spoke to is none of this function's business
            raise
        raise StoreError(f"cannot be written ({error.strerror})", where=str(out), remedy=remedy) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
