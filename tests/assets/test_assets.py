"""Assets through the real pip: local wheel files, a local index, kills, races, a full disk."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from wheels import build_wheel, slow_index

from harness import assets
from harness.assets import Asset
from harness.errors import AssetError
from harness.protocols import Progress, SilentProgress

CONTENT = {"a.txt": b"alpha", "deep/b.txt": b"beta" * 1000}


def copy_members(wheel: zipfile.ZipFile, out: Path, progress: Progress) -> None:
    for member in wheel.namelist():
        if member.startswith("tinyasset/"):
            target = out / member.removeprefix("tinyasset/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(wheel.read(member))


def make_asset(sha256: str, *, size: int = 1, prepare=copy_members) -> Asset:
    return Asset("tiny", "for tests", "data", "tinyasset", "1.0", sha256, "none", size, prepare)


class Watch(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.notes: list[str] = []
        self.totals: list[float | None] = []

    @contextmanager
    def task(self, description: str, total: float | None = None) -> Iterator:
        self.totals.append(total)
        yield lambda amount=1, **figures: self.steps.append(amount)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def sealed_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and a pip that knows no index but the test's."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def wheel(tmp_path: Path) -> tuple[Path, str]:
    return build_wheel(tmp_path / "links", CONTENT)


def leftovers(tmp_path: Path) -> list[str]:
    """Everything in the cache but locks."""
    return [
        str(p.relative_to(tmp_path)) for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".lock"
    ]


def test_an_asset_is_fetched_once_and_sealed(tmp_path: Path, wheel: tuple[Path, str]) -> None:
    path, sha256 = wheel
    asset = make_asset(sha256)
    assert not asset.ready
    folder = assets.install(asset)
    assert {name: (folder / name).read_bytes() for name in CONTENT} == CONTENT
    files = json.loads((folder / assets.SEAL).read_text())["files"]
    assert {name: entry["sha256"] for name, entry in files.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()
    }
    path.unlink()
    assert asset.ready
    assert assets.install(asset) == folder
    assert not list((tmp_path / "cache" / "wheels").iterdir())


def test_another_file_under_the_pinned_name_is_refused(tmp_path: Path, wheel: tuple[Path, str]) -> None:
    expected = "0" * 64
    with pytest.raises(AssetError) as caught:
        assets.install(make_asset(expected))
    assert expected in str(caught.value)
    assert wheel[1] in str(caught.value)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("index", ["", "http://127.0.0.1:9/simple"])
def test_offline_says_what_pip_said_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    if index:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", index)
    with pytest.raises(AssetError) as caught:
        assets.install(make_asset("0" * 64))
    assert "No matching distribution found for tinyasset==1.0" in caught.value.what
    assert "PIP_FIND_LINKS" in caught.value.remedy
    assert "HARNESS_CACHE" in caught.value.remedy
    assert leftovers(tmp_path) == []


def test_the_bar_moves_with_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sha256 = build_wheel(tmp_path / "elsewhere", {"big.bin": os.urandom(4_000_000)})
    size = path.stat().st_size
    watch = Watch()
    with slow_index(path, seconds=2) as url:
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", url)
        assets.install(make_asset(sha256, size=size), watch)
    assert watch.totals == [size]
    assert sum(watch.steps) == size
    assert len([step for step in watch.steps if 0 < step < size]) >= 3


def test_a_damaged_copy_is_made_again(wheel: tuple[Path, str]) -> None:
    asset = make_asset(wheel[1])
    folder = assets.install(asset)
    (folder / "deep/b.txt").write_bytes(b"be")
    watch = Watch()
    assets.install(asset, watch)
    assert (folder / "deep/b.txt").read_bytes() == CONTENT["deep/b.txt"]
    assert any("damaged" in note for note in watch.notes)


# ---------------------------------------------------------------- other processes

SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_assets import copy_members, make_asset
from harness import assets

def prepare(wheel, out, progress):
    copy_members(wheel, out, progress)
    with open({log!r}, "a") as log:
        log.write("prepared\\n")
    time.sleep({seconds})

print(assets.install(make_asset({sha256!r}, prepare=prepare)))
"""


def start(tmp_path: Path, sha256: str, *, seconds: float) -> subprocess.Popen[str]:
    script = SCRIPT.format(here=str(Path(__file__).parent), log=str(tmp_path / "log"), seconds=seconds, sha256=sha256)
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_preparation_is_cleaned_up_without_a_second_download(tmp_path: Path, wheel: tuple[Path, str]) -> None:
    path, sha256 = wheel
    process = start(tmp_path, sha256, seconds=600)
    wait_for((tmp_path / "log").exists, process)
    process.kill()
    process.communicate()
    root = tmp_path / "cache" / "assets"
    assert len(list(root.glob("*.work-*"))) == 1
    path.unlink()
    folder = assets.install(make_asset(sha256))
    assert (folder / "a.txt").read_bytes() == CONTENT["a.txt"]
    assert [p.name for p in root.iterdir() if p.is_dir()] == [folder.name]


def test_a_killed_download_is_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sha256 = build_wheel(tmp_path / "elsewhere", CONTENT | {"big.bin": os.urandom(2_000_000)})
    root = tmp_path / "cache" / "assets"
    monkeypatch.delenv("PIP_NO_INDEX")
    with slow_index(path, seconds=30) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        process = start(tmp_path, sha256, seconds=0)
        wait_for(lambda: any(p.suffix == ".whl" for p in root.rglob("*")), process)
        process.kill()
        process.communicate()
    with slow_index(path, seconds=0) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        folder = assets.install(make_asset(sha256))
    assert (folder / "a.txt").read_bytes() == CONTENT["a.txt"]
    assert [p.name for p in root.iterdir() if p.is_dir()] == [folder.name]


def test_an_interrupt_stops_pip_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sha256 = build_wheel(tmp_path / "elsewhere", {"big.bin": os.urandom(2_000_000)})
    root = tmp_path / "cache" / "assets"
    monkeypatch.delenv("PIP_NO_INDEX")
    with slow_index(path, seconds=30) as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        process = start(tmp_path, sha256, seconds=0)
        wait_for(lambda: any(p.suffix == ".whl" for p in root.rglob("*")), process)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert time.monotonic() - started < 10
    assert "KeyboardInterrupt" in errors
    assert [p for p in root.iterdir() if p.suffix != ".lock"] == []


def test_two_processes_make_it_once(tmp_path: Path, wheel: tuple[Path, str]) -> None:
    processes = [start(tmp_path, wheel[1], seconds=1) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert (tmp_path / "log").read_text() == "prepared\n"


NO_ROOM = """
import resource, sys
sys.path.insert(0, {here!r})
from test_assets import make_asset
from harness import assets

def prepare(wheel, out, progress):
    (out / "first").write_bytes(bytes(1000))
    (out / "second").write_bytes(bytes(1_000_000))

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    assets.install(make_asset({sha256!r}, prepare=prepare))
except assets.AssetError as error:
    print(error)
"""


@pytest.mark.parametrize("padding", [0, 1_000_000], ids=["while preparing", "while downloading"])
def test_no_room_says_so_and_leaves_nothing_half_made(tmp_path: Path, padding: int) -> None:
    """A limit on file size stands for a full disk: the same write fails, with EFBIG for ENOSPC."""
    _, sha256 = build_wheel(tmp_path / "links", {"a.txt": bytes(padding)})
    script = NO_ROOM.format(here=str(Path(__file__).parent), sha256=sha256)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "no room for tiny" in done.stdout
    assert "set HARNESS_CACHE" in done.stdout
    root = tmp_path / "cache" / "assets"
    assert [p for p in root.iterdir() if p.suffix != ".lock"] == []


def test_without_pip_the_remedy_installs_it(tmp_path: Path) -> None:
    """An interpreter that sees the package and filelock, and no pip."""
    site = tmp_path / "site"
    site.mkdir()
    for name in ("harness", "filelock"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (site / name).symlink_to(Path(spec.origin).parent)
    script = f"import sys; sys.path.insert(0, {str(site)!r}); from harness import assets; assets.fetch('bfcl')"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=False)
    assert "AssetError" in done.stderr
    assert "ensurepip" in done.stderr


def test_a_misspelt_asset_gets_a_suggestion() -> None:
    with pytest.raises(AssetError, match="Did you mean bfcl"):
        assets.fetch("bfc")


def test_the_cache_is_where_the_environment_says(tmp_path: Path) -> None:
    assert assets.cache_dir() == tmp_path / "cache"
    for asset in assets.list_assets():
        assert tmp_path / "cache" in asset.folder.parents
        assert not asset.ready


def test_importing_pulls_in_nothing_heavy() -> None:
    script = (
        "import sys, harness.assets, harness.suites, harness_suites.plugin as p; p.harness_register_suites();"
        "heavy = {'torch', 'transformers', 'datasets', 'scipy', 'jsonschema', 'huggingface_hub'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
