"""The card of an exported model: Markdown with the YAML front matter that model hubs read. Pure: facts in, text out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.lineage import Lineage, Result, Step
from harness.types import BASE_POLICY

LOADING = {
    "transformers": """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(FOLDER)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)""",
    "peft": """from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained(BASE)  # its fingerprint is below
model = PeftModel.from_pretrained(base, FOLDER)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)""",
}
"""How each library loads what is exported."""


def model_card(lineage: Lineage, *, name: str, format: str, library: str, settings: Mapping[str, Any]) -> str:
    """The text of `README.md`. `library` is what loads the folder, `settings` are the exporter's."""
    parts = [
        _front_matter(lineage, library),
        f"# {name}",
        _summary(lineage, format, settings),
        _use(lineage, name, library),
        "## Training",
        *(_training(lineage)),
        "## Evaluation",
        *(_evaluation(lineage)),
        "## Data and judges",
        *(_data(lineage)),
        "## Identity",
        _identity(lineage),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(lineage: Lineage, library: str) -> str:
    """A licence that is not known is left out."""
    trained = [word for step in lineage.steps for word in (step.updater, *step.objectives)]
    tags = dict.fromkeys(["harness", *trained, *(["adapter"] if library == "peft" else [])])
    lines = [f"base_model: {_yaml(lineage.model)}", f"library_name: {_yaml(library)}"]
    if lineage.license is not None:
        lines.append(f"license: {_yaml(lineage.license.lower())}")
    lines += ["pipeline_tag: text-generation", "tags:", *(f"- {_yaml(tag)}" for tag in tags)]
    return "\n".join(["---", *lines, "---"])


def _yaml(text: str) -> str:
    """JSON strings are YAML strings."""
    return json.dumps(text, ensure_ascii=False)


def _summary(lineage: Lineage, format: str, settings: Mapping[str, Any]) -> str:
    how = {0: "trained in a way that is not recorded", 1: "trained in one step"}
    trained = how.get(len(lineage.steps), f"trained in {len(lineage.steps)} steps")
    options = "".join(f", {key} {value}" for key, value in settings.items())
    license = lineage.license or "not known to the exporter: see the model itself"
    outcome = lineage.steps[-1].outcome if lineage.steps else None
    warning = f" The gate did not promote it: {outcome}." if outcome not in (None, "promoted") else ""
    return (
        f"`{lineage.model}`, {trained} with harness, exported as `{format}`{options}. "
        f"Licence of the base model: {license}.{warning}"
    )


def _use(lineage: Lineage, name: str, library: str) -> str:
    if library not in LOADING:
        return f"It is loaded with {library}."
    code = LOADING[library].replace("FOLDER", json.dumps(name)).replace("BASE", json.dumps(lineage.model))
    return f"```python\n{code}\n```"


# ---------------------------------------------------------------- training


def _training(lineage: Lineage) -> Iterable[str]:
    if not lineage.steps:
        yield "Not known: no record of it lies beside the adapter."
        return
    first = lineage.steps[0]
    if lineage.adapter:
        yield f"Adapter: {_settings(lineage.adapter)}."
    if first.parent != BASE_POLICY:
        yield f"It goes on from adapter `{first.parent[:12]}`, whose own training is not recorded here."
    for number, step in enumerate(lineage.steps, start=1):
        yield f"### Step {number}: {_title(step)}"
        yield _material(step)
        yield f"Settings: {_settings({**step.config, 'seed': step.seed})}."
        if step.figures:
            yield _table(["figure", "value"], [[key, f"{value:.6g}"] for key, value in sorted(step.figures.items())])


def _title(step: Step) -> str:
    trained = f"{step.updater} with {', '.join(step.objectives)}" if step.objectives else step.updater
    return trained if step.round is None else f"{trained} (round {step.round})"


def _material(step: Step) -> str:
    drawn = ", ".join(f"{count} of {suite}" for suite, count in step.prompts.items())
    completions = "" if step.completions is None else f" with {step.completions} completions"
    source = "gold answers" if step.source == "reference" else f"completions by the generator `{step.source}`"
    if step.round is None:
        source = f"groups of `{step.source}`"
    elif step.from_file:
        source = f"the rows of the file `{step.source}`"
    prompts = f" Prompts: {drawn}." if drawn else ""
    prompts += f" Digest of the data: `{step.data_digest}`." if step.data_digest else ""
    return (
        f"Trained from {_policy(step.parent)} on {source}: {step.groups} groups{completions}.{prompts} "
        f"The result is adapter `{step.version[:12]}`."
    )


def _policy(version: str) -> str:
    return "the base model" if version == BASE_POLICY else f"adapter `{version[:12]}`"


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}` {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())


# ---------------------------------------------------------------- evaluation


def _evaluation(lineage: Lineage) -> Iterable[str]:
    if not any(step.outcome for step in lineage.steps):
        yield "Not evaluated by a gate: nothing here says that it is better than the model that it was trained from."
        return
    level = "" if lineage.alpha is None else f" Each bound is one-sided, at {1 - lineage.alpha:.1%} confidence."
    yield (
        "Mean scores in percent before and after each step, on items that were not trained on, and the gate's estimate "
        "of the change with its bounds in points, which is smoothed towards 0."
        f"{level}"
    )
    for number, step in enumerate(lineage.steps, start=1):
        yield f"### Step {number}: {step.outcome or 'not evaluated by a gate'}"
        if step.sentence:
            yield step.sentence
        if step.results:
            yield _table(["suite", "role", "before", "after", "change"], [_row(result) for result in step.results])
    if lineage.confirmation:
        yield f"### On items that no round had seen\n\n{lineage.confirmation}"


def _row(result: Result) -> list[str]:
    scores = ["not scored" if score is None else f"{100 * score:.1f}" for score in (result.before, result.after)]
    change = "not compared"
    if result.change is not None and result.lower is not None and result.upper is not None:
        change = f"{100 * result.change:+.1f} [{100 * result.lower:+.1f}, {100 * result.upper:+.1f}]"
    return [result.suite, result.role, *scores, change]


# ---------------------------------------------------------------- data, judges, identity


def _data(lineage: Lineage) -> Iterable[str]:
    if not lineage.suites and not lineage.judges:
        yield "Not known: the record of this adapter names neither suites nor judges."
    if lineage.suites:
        rows = [[s.name, s.version, s.role, s.license or "not known"] for s in lineage.suites]
        yield _table(["suite", "version", "role", "licence"], rows)
    if lineage.judges:
        yield _table(["judge", "from"], [[name, origin] for name, origin in lineage.judges.items()])


def _identity(lineage: Lineage) -> str:
    facts = {
        "base model": lineage.model,
        "fingerprint of the base model": lineage.fingerprint,
        "version (sha256 of the adapter)": lineage.version,
        "run": lineage.run,
        "digest of the run's config": lineage.config_digest,
        "digest of the run": lineage.run_digest,
        "trained with harness": lineage.trained_with,
        "exported with harness": lineage.exported_with,
        **lineage.components,
    }
    return _table(["", ""], [[key, value or "not known"] for key, value in facts.items()])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)
