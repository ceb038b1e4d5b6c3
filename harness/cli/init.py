"""`harness init`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import rich_click as click

from harness.cli.app import App, pass_app
from harness.errors import EXIT_OK, ConfigError
from harness.recipes import FILES, SMALL_MODEL, Answers, DataKind, Goal, Hardware, recipe

if TYPE_CHECKING:
    from harness.plugins import Registry

KINDS, GOALS, HARDWARE = (list(get_args(choices)) for choices in (DataKind, Goal, Hardware))


@click.command("init")
@click.option("--suite", help="Target suite: a name (see `harness suites`) or a folder.")
@click.option("--goal", type=click.Choice(GOALS), help="What the model is to become good at.")
@click.option("--data-kind", "kinds", multiple=True, type=click.Choice(KINDS), help="What is at hand; may be repeated.")
@click.option(
    "--data", "files", multiple=True, metavar="[KIND=]FILE", help="Its file; KIND= where several are at hand."
)
@click.option("--model", help=f"An asset, a local folder, or a model-hub id. Default: {SMALL_MODEL}.")
@click.option("--hardware", type=click.Choice(HARDWARE), help="What it runs on. Default: cpu.")
@click.option("--noisy", is_flag=True, default=None, help="Pairs or verdicts are often wrong.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("loop.toml"), show_default=True, help="New file.")
@click.option("--json", "as_json", is_flag=True, help="Print the stages and the reasons as JSON.")
@pass_app
def init_command(
    app: App,
    suite: str | None,
    goal: Goal | None,
    kinds: Sequence[DataKind],
    files: Sequence[str],
    model: str | None,
    hardware: Hardware | None,
    noisy: bool | None,
    out: Path,
    as_json: bool,
) -> int:
    """Write a commented loop config for what is at hand: which stages, in which order, and why.

    Demos and prompts are the suite's own (its train rows, with a `reference` or without), unless a file of demos is
    named. Pairs, feedback and text are files of rows. On a terminal, what is missing is asked for.
    """
    if out.exists():
        raise ConfigError("it is there already", where=str(out), remedy="Name another file with --out.")
    data = _data(kinds, files)
    ask = sys.stdin.isatty()
    suite = suite or _required("suite", "Suite to get better at: a name or a folder", ask=ask)
    _require_suite(suite, app.registry)
    goal = goal or _required("goal", "Goal", choices=GOALS, ask=ask)
    if not data:
        data = _asked_kinds(_required("data-kind", f"At hand, with commas ({', '.join(KINDS)})", ask=ask))
    for kind in FILES:
        if ask and kind in data and data[kind] is None:
            data[kind] = _required("data", f"File of {kind}", ask=ask)
    if ask:
        model = model or _required("model", "Model", ask=ask, default=SMALL_MODEL)
        hardware = hardware or _required("hardware", "Hardware", choices=HARDWARE, ask=ask, default="cpu")
        if noisy is None and {"pairs", "feedback"} & set(data):
            noisy = click.confirm("Are these labels often wrong?", default=False, err=True)
    made = recipe(
        Answers(
            suite=suite,
            goal=goal,
            data={kind: _beside(file, out) for kind, file in data.items()},
            model=model or SMALL_MODEL,
            hardware=hardware or "cpu",
            noisy=bool(noisy),
        )
    )
    _write_new(out, made.toml)
    if as_json:
        stages = [table.settings[0].value for table in made.stages]
        reasons = [{"setting": setting, "because": why} for setting, why in made.reasons]
        click.echo(json.dumps({"out": str(out), "stages": stages, "reasons": reasons}, indent=1, ensure_ascii=False))
    else:
        for number, table in enumerate(made.stages, start=1):
            click.echo(f"stage {number}: {table.settings[0].value:11} {table.why}")
        click.echo(f"Wrote {out}. Look at all of it: harness loop {out} --dry-run. Run it: harness loop {out}")
    return EXIT_OK


# ---------------------------------------------------------------- answers


def _required(flag: str, question: str, *, ask: bool, choices: Sequence[str] = (), default: str | None = None) -> Any:
    """The answer of whoever sits at the terminal. Raises ConfigError where there is no terminal."""
    if not ask:
        remedy = f"Give one of {', '.join(choices)}." if choices else "See `harness init --help`."
        raise ConfigError(f"--{flag} is missing, and there is no terminal to ask at", remedy=remedy)
    kind = click.Choice(choices) if choices else None
    return click.prompt(question, type=kind, default=default, err=True)


def _data(kinds: Sequence[DataKind], files: Sequence[str]) -> dict[DataKind, str | None]:
    """Each kind with its file. `FILE` alone belongs to the only kind; `KIND=FILE` names its own."""
    data: dict[DataKind, str | None] = dict.fromkeys(kinds)
    for text in files:
        head, equals, rest = text.partition("=")
        named = next((kind for kind in get_args(DataKind) if equals and kind == head), None)
        if named is None and len(data) != 1:
            remedy = f"Write KIND={text}, with a kind of {', '.join(KINDS)}."
            raise ConfigError(f"{text!r} is of no one kind", where="--data", remedy=remedy)
        kind, file = (named, rest) if named else (next(iter(data)), text)
        if data.get(kind) is not None:
            raise ConfigError(f"two files of {kind}", where="--data", remedy="Put their rows into one.")
        data[kind] = file
    return data


def _asked_kinds(text: str) -> dict[DataKind, str | None]:
    kinds = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"unknown kind {unknown[0]!r}", where="--data-kind", remedy=f"Known: {', '.join(KINDS)}.")
    return dict.fromkeys(kind for kind in get_args(DataKind) if kind in kinds)


def _require_suite(suite: str, registry: Registry) -> None:
    """As `harness.api.find_suite` tells a folder from a name, without reading or fetching any rows."""
    if "/" not in suite and not (Path(suite) / "suite.toml").is_file():
        registry.get("suite", suite)
    elif not (Path(suite) / "suite.toml").is_file():
        raise ConfigError("no suite.toml here", where=suite, remedy="Give the folder of a suite.")


# ---------------------------------------------------------------- files


def _beside(file: str | None, out: Path) -> str | None:
    """The file as seen from the config's folder. Raises ConfigError if it is not there."""
    if file is None:
        return None
    if not Path(file).is_file():
        raise ConfigError("no such file", where=file, remedy="Check the path that --data names.")
    return Path(os.path.relpath(Path(file).resolve(), out.parent.resolve())).as_posix()


def _write_new(out: Path, text: str) -> None:
    try:
        with out.open("x", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        remedy = "Name another file with --out."
        raise ConfigError(f"cannot be written ({error.strerror})", where=str(out), remedy=remedy) from None
