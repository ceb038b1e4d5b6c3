"""`harness plugins` and `harness suites`: what there is, where it comes from, and its settings."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from harness.cli.app import App, pass_app
from harness.cli.validate import validate_command
from harness.errors import PluginError, did_you_mean


@click.group("plugins", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def plugins_command(ctx: click.Context, as_json: bool) -> None:
    """List every component with its origin; `harness plugins show NAME` prints its settings."""
    if ctx.invoked_subcommand is not None:
        return
    from harness.cli.table import table

    registry = ctx.obj.registry
    conflicts = registry.conflicts()
    if as_json:
        components = [
            {"kind": e.spec.kind, "name": e.spec.name, "summary": e.spec.summary, "plugin": e.origin.plugin}
            | {"distribution": e.origin.distribution, "version": e.origin.version}
            for e in registry.entries()
        ]
        problems = [str(problem) for problem in registry.problems]
        click.echo(json.dumps({"components": components, "problems": problems, "conflicts": conflicts}, indent=1))
        return
    rows = [[e.spec.kind, e.spec.name, e.spec.summary, str(e.origin)] for e in registry.entries()]
    click.echo(table(["kind", "name", "what it is", "from"], rows))
    for conflict in conflicts:
        click.echo(f"conflict: {conflict}; runs that name it are refused")


@plugins_command.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print its settings' JSON Schema.")
@pass_app
def plugins_show(app: App, name: str, as_json: bool) -> None:
    """Print the settings and defaults of every component called NAME."""
    registry = app.registry
    found = [entry for entry in registry.entries() if entry.spec.name == name]
    if not found:
        names = sorted({entry.spec.name for entry in registry.entries()})
        raise PluginError(f"unknown component {name!r}", remedy=did_you_mean(name, names))
    if as_json:
        click.echo(json.dumps([entry.spec.config.model_json_schema() for entry in found], indent=1))
        return
    for entry in found:
        click.echo(f"{entry.spec.kind} {name}: {entry.spec.summary}\nfrom {entry.origin}, plugin {entry.origin.plugin}")
        click.echo(_settings(entry.spec.config))


def _settings(config: Any) -> str:
    from harness.cli.table import table

    rows = []
    for name, setting in config.model_fields.items():
        kind = getattr(setting.annotation, "__name__", "")
        shown = str(setting.annotation).replace("typing.", "") if kind in ("", "Literal", "Optional", "Union") else kind
        default = "required" if setting.is_required() else repr(setting.get_default(call_default_factory=True))
        rows.append([name, shown, default, setting.description or ""])
    return table(["setting", "type", "default", "what it does"], rows) if rows else "It has no settings."


@click.group("suites", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_context
def suites_command(ctx: click.Context, as_json: bool) -> None:
    """List suites; `harness suites show NAME` prints one's make-up, `harness suites validate NAME` checks it."""
    if ctx.invoked_subcommand is not None:
        return
    from harness.cli.table import table

    entries = ctx.obj.registry.entries("suite")
    if as_json:
        click.echo(
            json.dumps(
                [{"name": e.spec.name, "summary": e.spec.summary, "from": str(e.origin)} for e in entries], indent=1
            )
        )
    else:
        click.echo(
            table(["suite", "what it is", "from"], [[e.spec.name, e.spec.summary, str(e.origin)] for e in entries])
        )


suites_command.add_command(validate_command)


@suites_command.command("show")
@click.argument("name")
@click.option("--items", type=int, default=2, show_default=True, help="Print this many items.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@pass_app
def suites_show(app: App, name: str, items: int, as_json: bool) -> None:
    """Print a suite's role, size, judges and first items; fetches its data where it is not cached."""
    from collections import Counter

    from harness.api import find_suite
    from harness.likelihood import read_first
    from harness.protocols import RunContext

    suite = find_suite(name, app.registry, RunContext(progress=app.view))
    counts = Counter(item.metadata.get("category", "") for item in suite.items)
    facts = {
        "name": suite.name,
        "version": suite.version,
        "summary": suite.summary,
        "role": suite.role,
        "kind": suite.kind,
        "license": suite.license,
        "items": len(suite.items),
        "training prompts": len(suite.train),
        "clusters": len({item.cluster or item.id for item in suite.items}),
        "categories": {key: count for key, count in sorted(counts.items()) if key},
        "judges": [f"{use.name} ({use.use}, weight {use.weight:g}) {dict(use.config)}" for use in suite.judges],
        "margins": f"{suite.margin:g} to the incumbent, {suite.anchor_margin:g} to the anchor",
    }
    shown = [
        {"id": i.id, "messages": list(i.messages), "target": i.target, "reference": i.reference}
        for i in suite.items[:items]
    ]
    if as_json:
        click.echo(json.dumps({**facts, "first": shown}, indent=1, ensure_ascii=False, default=dict))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            value = [f"{category} {count}" for category, count in value.items()]
        click.echo(f"{key:17} {', '.join(value) if isinstance(value, list) else value}")
    for item in suite.items[:items]:
        click.echo(f"\n{item.id}\n  asked     {read_first(item) or '(nothing: raw text)'}")
        click.echo(f"  expected  {item.target if item.reference is None else item.reference}")
