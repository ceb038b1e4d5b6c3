"""The `function` judge: a Python function by its file or module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from telling_judges import group_of, make

from harness.errors import ConfigError, PluginError
from harness.judging import judges_fingerprint
from harness.plugins import load_registry
from harness.protocols import JudgeUse

SOURCE = """
import pathlib
pathlib.Path(__file__).with_name("imported").touch()

def short(completions, **columns):
    return [float(len(c[0]["content"]) < 3) for c in completions]

async def shouting(completions, **columns):
    return [float(c[0]["content"].isupper()) for c in completions]

LIMIT = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rewards.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`ours_for_tests.deep.rewards`, whose packages raise when they are imported, as long as `broken` is there."""
    folder = tmp_path / "ours_for_tests" / "deep"
    folder.mkdir(parents=True)
    raising = 'import pathlib\nif (pathlib.Path(__file__).parent / "broken").exists(): raise RuntimeError("imported")\n'
    for part in (folder, folder.parent):
        (part / "__init__.py").write_text(raising)
    (folder / "broken").touch()
    (folder / "rewards.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "ours_for_tests.deep.rewards"
    for name in [name for name in sys.modules if name.startswith("ours_for_tests")]:
        del sys.modules[name]


def test_a_function_of_a_file_sync_or_async(file: Path) -> None:
    for name, values in (("short", [1.0, 0.0]), ("shouting", [1.0, 0.0])):
        judge = make("function", path=str(file), name=name)
        (scores,) = judge.score([group_of("HI", "quiet")])
        assert [(score.judge, score.value) for score in scores] == [("function", value) for value in values]
        judge.close()


def test_a_function_of_a_module(package: str, tmp_path: Path) -> None:
    (tmp_path / "ours_for_tests/deep/broken").unlink()
    (scores,) = make("function", path=f"{package}:short").score([group_of("a", "abc")])
    assert [score.value for score in scores] == [1.0, 0.0]


def test_the_identity_is_that_of_the_file_which_is_not_imported_for_it(file: Path, package: str) -> None:
    registry = load_registry()
    uses = [
        JudgeUse("function", {"path": str(file), "name": "short"}),
        JudgeUse("function", {"path": f"{package}:short"}),
    ]
    for use, changed in zip(uses, (file, file.parent / "ours_for_tests/deep/rewards.py"), strict=True):
        before = judges_fingerprint([use], registry)
        assert judges_fingerprint([use], registry) == before
        assert not changed.with_name("imported").exists()
        changed.write_text(SOURCE + "# other\n")
        assert judges_fingerprint([use], registry) != before
    assert "ours_for_tests" not in sys.modules


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"path": "rewards.py"}, "say what of the file it is"),
        ({"path": "rewards"}, "give a file that ends in .py, or module:name"),
        ({"path": "a.b:c", "name": "c"}, "path names it already"),
        ({"path": "missing.py", "name": "f"}, "no such file"),
        ({"path": "no_such_module_here:f"}, r"no_such_module_here cannot be imported \(ModuleNotFoundError"),
        ({"path": "json:dumped"}, r"json:dumped has no function 'dumped'.*dump"),
    ],
)
def test_what_is_not_there_is_said(config: dict[str, str], says: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=says):
        make("function", **config)


def test_names_that_are_no_functions_and_files_that_raise_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no function 'LIMIT'"):
        make("function", path=str(file), name="LIMIT")
    file.write_text("1 / 0")
    with pytest.raises(PluginError, match="import failed: ZeroDivisionError"):
        make("function", path=str(file), name="short")


@pytest.mark.parametrize("path", ["no_such_module_here:f", "json.no_such:f", "sys:f"])
def test_a_module_without_a_file_has_no_identity(path: str) -> None:
    with pytest.raises(ConfigError, match="there is no module"):
        judges_fingerprint([JudgeUse("function", {"path": path})], load_registry())
