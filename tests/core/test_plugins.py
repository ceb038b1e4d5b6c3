"""Discovery with real installed-looking plugins: a folder on the path with a module and its `*.dist-info`."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import ConfigError, PluginError
from harness.hookspecs import hookimpl
from harness.plugins import Origin, Registry, load_registry
from harness.protocols import RunContext

Install = Callable[..., None]

JUDGE = """
import harness

def {function}(prompts, completions, **columns):
    return [1.0 for _ in completions]

@harness.hookimpl
def harness_register_judges():
    return [harness.function_judge({function})]
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a plugin as pip would leave it: a module, and metadata with an entry point in the group `harness`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(module: str, source: str, *, version: str = "1.0", distribution: str = "") -> None:
        name = distribution or f"dist-{module.replace('_', '-')}"
        (site / f"{module}.py").write_text(source)
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[harness]\n{module} = {module}\n")
        sys.modules.pop(module, None)

    return install


def test_an_installed_judge_is_found_with_its_origin(install: Install) -> None:
    install("plug_fine", JUDGE.format(function="always_right"), version="2.1")
    entry = load_registry().get("judge", "always_right")
    assert str(entry.origin) == "dist-plug-fine 2.1"


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise RuntimeError('boom at import')", "boom at import"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("import harness\n@harness.hookimpl\ndef harness_register_judges(nonsense): return []", "nonsense"),
        ("import harness\n@harness.hookimpl\ndef harness_register_jugdes(): return []", "harness_register_jugdes"),
        ("import harness\n@harness.hookimpl\ndef harness_register_judges(): return ['a string']", "str"),
        ("import harness\n@harness.hookimpl\ndef harness_register_judges(): return 1 / 0", "division by zero"),
        ("import harness, sys\n@harness.hookimpl\ndef harness_register_judges(): sys.exit(1)", "SystemExit"),
    ],
    ids=["raises", "exits", "bad signature", "unknown hook", "wrong type", "raises in the hook", "exits in the hook"],
)
def test_a_broken_plugin_is_reported_and_hurts_no_one(install: Install, source: str, says: str) -> None:
    install("plug_broken", source)
    install("plug_fine", JUDGE.format(function="always_right"))
    registry = load_registry()
    assert "always_right" in registry.names("judge")
    assert "tool_call" in registry.names("judge")
    [problem] = registry.problems
    assert says in str(problem)
    assert "dist-plug-broken 1.0" in str(problem)


def test_a_broken_plugin_leaves_nothing_behind(install: Install) -> None:
    """Its first hook is fine and its second is not: neither counts."""
    source = JUDGE.format(function="half") + "\n@harness.hookimpl\ndef harness_register_suites(): return [1]\n"
    install("plug_broken", source)
    registry = load_registry()
    assert "half" not in registry.names("judge")
    assert len(registry.problems) == 1


def test_two_plugins_with_one_name_are_an_error_only_for_who_names_it(install: Install) -> None:
    install("plug_a", JUDGE.format(function="always_right"), version="1.0")
    install("plug_b", JUDGE.format(function="always_right"), version="2.0")
    registry = load_registry()
    assert registry.get("judge", "exact")
    with pytest.raises(PluginError) as error:
        registry.get("judge", "always_right")
    assert "dist-plug-a 1.0" in str(error.value)
    assert "dist-plug-b 2.0" in str(error.value)
    assert load_registry(disabled=["plug_a"]).get("judge", "always_right").origin.version == "2.0"
    assert load_registry(disabled=["dist-plug-b"]).get("judge", "always_right").origin.version == "1.0"


def test_a_plugin_that_claims_a_built_in_name_does_not_replace_it_silently(install: Install) -> None:
    install("plug_a", JUDGE.format(function="exact"))
    with pytest.raises(PluginError, match="harness-align"):
        load_registry().get("judge", "exact")
    assert load_registry(third_party=False).get("judge", "exact")


def test_a_local_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(JUDGE.format(function="local_one"))
    assert load_registry(local_files=[file]).get("judge", "local_one").origin.distribution == str(file)
    file.write_text("raise ValueError('mend me')")
    with pytest.raises(PluginError, match="mend me"):
        load_registry(local_files=[file])
    with pytest.raises(PluginError, match="no such file"):
        load_registry(local_files=[tmp_path / "absent.py"])


def test_unknown_names_get_a_suggestion_and_mention_what_is_broken(install: Install) -> None:
    install("plug_broken", "raise RuntimeError('boom')")
    with pytest.raises(PluginError, match=r"Did you mean tool_call.*Not loaded: plugin plug_broken"):
        load_registry().get("judge", "tool_cal")


def test_settings_are_checked_by_field_value_and_remedy() -> None:
    registry = load_registry(third_party=False)
    context = RunContext()
    with pytest.raises(ConfigError, match=r"unknown key 'mod'.*Did you mean mode"):
        registry.create("judge", "tool_call", {"mod": "strict"}, context)
    with pytest.raises(ConfigError, match=r"mode = 'lax'"):
        registry.create("judge", "tool_call", {"mode": "lax"}, context)


def test_observers_hear_events_and_cannot_stop_them(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, int]] = []

    class Failing:
        @hookimpl
        def harness_round_started(self) -> None:
            raise RuntimeError("observer broke")

    class Listening:
        @hookimpl
        def harness_round_started(self, run: str, index: int) -> None:
            heard.append((run, index))

    registry = Registry()
    registry.add(Listening(), Origin("listening", "d", "1"))
    registry.add(Failing(), Origin("failing", "d", "1"))  # called first: pluggy goes from the last registered
    with caplog.at_level(logging.ERROR):
        registry.notify("harness_round_started", run="r", index=3, stage="sft")
    assert heard == [("r", 3)]
    assert "observer broke" in caplog.text


def test_listing_imports_nothing_heavy() -> None:
    """`harness plugins` must stay fast: no engine, no tensors, no tables."""
    program = (
        "import json, sys\n"
        "from harness.plugins import load_registry\n"
        "found = len(load_registry(third_party=False).entries())\n"
        "heavy = ['torch', 'transformers', 'vllm', 'peft', 'scipy', 'pyarrow', 'numpy', 'jsonschema']\n"
        "print(json.dumps([found, [name for name in heavy if name in sys.modules]]))\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    found, heavy = json.loads(output)
    assert found > 15
    assert heavy == []
