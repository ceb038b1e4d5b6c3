"""Rows of the Berkeley Function-Calling data turned into prompts, and split so that no function is on both sides.

Read in order: the build, one row, the split. The data are an asset pinned by sha256, so the result is a constant:
a digest of it is pinned by a test.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.assets import fetch
from harness.errors import ConfigError, did_you_mean
from harness.protocols import Progress
from harness.tools import ToolCall, write_calls
from harness.types import Prompt, canonical_json

CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
HELD_OUT_SHARE = 0.4
LARGEST_HELD_OUT = 20  # Rows. A larger cluster would weigh on a held-out mean like one item with many copies.

# Left out, because no answer can be right in both the gold and the function's schema.
BAD_GOLD = frozenset(
    {
        # The data's own checker refuses the gold: a parameter that the function does not have, or a required one
        # with an empty list of acceptable values.
        "parallel_multiple_12",
        "parallel_multiple_26",
        "live_simple_106-63-0",
        "live_simple_112-68-0",
        # The gold has another type than the schema, or is no member of its enum.
        "parallel_multiple_21",
        "parallel_multiple_94",
        "live_simple_71-35-0",
    }
)

Row = Mapping[str, Any]


def build(
    progress: Progress, categories: Sequence[str] = CATEGORIES, train_limits: Mapping[str, int] | None = None
) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Train and held-out prompts of the named categories; `train_limits` keeps the first N training prompts of some.

    The split is made over all categories whatever is asked for, so a narrower suite never trains on what a wider
    one holds out. Raises ConfigError for an unknown category and AssetError when the data cannot be had.
    """
    limits = dict(train_limits or {})
    for category in (*categories, *limits):
        if category not in CATEGORIES:
            raise ConfigError(
                f"no such category: {category!r}",
                where="suite.options.categories",
                remedy=did_you_mean(category, list(CATEGORIES)),
            )
    rows, answers = _read(fetch("bfcl", progress), CATEGORIES)
    cluster_of, held_out = split(rows)
    train: list[Prompt] = []
    held: list[Prompt] = []
    for row in sorted(rows, key=lambda row: _order(row["id"])):
        if _category(row) in categories:
            prompt = convert_row(row, answers.get(row["id"]), _category(row), cluster_of[row["id"]])
            if row["id"] in held_out:
                held.append(prompt)
            elif limits.get(_category(row), 1) > 0:
                train.append(prompt)
                limits[_category(row)] = limits.get(_category(row), len(rows)) - 1
    return tuple(train), tuple(held)


def build_live(progress: Progress) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """The live_simple rows, written by users, all held out but for those that share a function with `build`'s rows."""
    folder = fetch("bfcl", progress)
    base, _ = _read(folder, CATEGORIES)
    rows, answers = _read(folder, ("live_simple",))
    known = {key for row in base for key in _keys(row)}
    rows = [row for row in rows if known.isdisjoint(_keys(row))]
    cluster_of = _components(rows)
    rows.sort(key=lambda row: _order(row["id"]))
    return (), tuple(convert_row(row, answers[row["id"]], "live_simple", cluster_of[row["id"]]) for row in rows)


def _read(folder: Path, categories: Iterable[str]) -> tuple[list[Row], dict[str, list[Row]]]:
    rows: list[Row] = []
    answers: dict[str, list[Row]] = {}
    for category in categories:
        name = f"BFCL_v4_{category}.json"
        rows += [row for row in _json_lines(folder / name) if row["id"] not in BAD_GOLD]
        if category != "irrelevance":
            answers |= {row["id"]: row["ground_truth"] for row in _json_lines(folder / "possible_answer" / name)}
    return rows, answers


def _json_lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _category(row: Row) -> str:
    return str(row["id"]).rpartition("_")[0]


# ---------------------------------------------------------------- one row


def convert_row(row: Row, answer: Sequence[Row] | None, category: str, cluster: str = "") -> Prompt:
    """One row of the data as a prompt.

    `answer` is the row's `ground_truth`: for each call `{function: {parameter: [acceptable values]}}`, where an
    acceptable value "" says that the parameter may be left out. None or empty means that no call is right.
    """
    tools = [
        {"name": f["name"], "description": f["description"], "parameters": json_schema(f["parameters"])}
        for f in row["function"]
    ]
    parameters = {tool["name"]: tool["parameters"] for tool in tools}
    gold = [next(iter(call.items())) for call in answer or ()]
    question = row["question"][0][-1]["content"]
    calls = [{"name": name, "arguments": arguments} for name, arguments in gold]
    return Prompt(
        id=row["id"],
        messages=tuple(row["question"][0]),
        tools=json.dumps(tools, ensure_ascii=False),
        target=json.dumps({"calls": calls}, ensure_ascii=False),
        reference=write_calls(
            [ToolCall(name, _first(arguments, parameters[name], question)) for name, arguments in gold]
        ),
        cluster=cluster or row["id"],
        metadata={"category": category},
    )


_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array"}


def json_schema(schema: Row) -> dict[str, Any]:
    """The data's Python-flavoured schema as JSON Schema: dict, float and tuple renamed, "any" left without a type."""
    # "optional" is no JSON Schema keyword, and says nothing that "required" does not.
    result = {key: value for key, value in schema.items() if key not in ("type", "optional")}
    kind = schema.get("type", "any")
    if kind != "any":
        result = {"type": _JSON_TYPES.get(kind, kind), **result}
    if "properties" in result:
        result["properties"] = {name: json_schema(value) for name, value in result["properties"].items()}
    if "items" in result:
        result["items"] = json_schema(result["items"])
    return result


def _first(acceptable: Row, schema: Row, question: str) -> dict[str, Any]:
    """A gold object: the first of each key's acceptable values, and of what may be left out what the question states.

    Were that always left out, a model would learn to pass over what it is told.
    """
    required = schema.get("required", ())
    properties = schema.get("properties", {})
    chosen = {}
    for name, values in acceptable.items():
        candidates = [value for value in values if value != ""]
        if "" in values and name not in required:
            candidates = [value for value in candidates if _states(question, value)]
        if candidates:
            chosen[name] = _resolve(candidates[0], properties.get(name, {}), question)
    return chosen


def _resolve(value: Any, schema: Row, question: str) -> Any:
    """Inside a gold value every object again maps its keys to lists of acceptable values; lists are literal."""
    if isinstance(value, dict):
        return _first(value, schema, question)
    if isinstance(value, list):
        return [_resolve(item, schema.get("items", {}), question) for item in value]
    return value


def _states(question: str, value: Any) -> bool:
    """Whether a string or number, or each one of a list, stands in the question as a word of its own, up to case.

    A percentage states no number: whether 5% is 5 or 0.05 depends on the function.
    """
    if isinstance(value, list):
        return bool(value) and all(_states(question, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return False
    word = f"{value:g}" if isinstance(value, float) else str(value)
    return re.search(rf"(?<![\w.]){re.escape(word)}(?!\w|\.\d|%)", question, re.IGNORECASE) is not None


# ---------------------------------------------------------------- the split


def split(rows: Sequence[Row]) -> tuple[dict[str, str], frozenset[str]]:
    """The cluster of every row id, and the ids that are held out.

    Rows that share a function, a parameter schema or a question are one cluster, and a cluster stays on one side.
    Clusters go, largest first and by a hash of their name among equals, to the side that leaves every category
    nearest to its share; those larger than LARGEST_HELD_OUT are trained on.
    """
    cluster_of = _components(rows)
    members: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[cluster_of[row["id"]]].append(row)
    totals = Counter(map(_category, rows))
    free = {name: count * HELD_OUT_SHARE for name, count in totals.items()}
    held_out: set[str] = set()
    for cluster in sorted(members, key=lambda name: (-len(members[name]), _order(name))):
        sizes = Counter(map(_category, members[cluster]))
        # Squared distance from the shares, each category counted in units of its own size.
        gain = sum((free[c] ** 2 - (free[c] - n) ** 2) / totals[c] ** 2 for c, n in sizes.items())
        if gain > 0 and len(members[cluster]) <= LARGEST_HELD_OUT:
            held_out.update(row["id"] for row in members[cluster])
            for category, count in sizes.items():
                free[category] -= count
    return cluster_of, frozenset(held_out)


def _components(rows: Sequence[Row]) -> dict[str, str]:
    """Connected components over shared keys, by union-find; each is named after the least of its row ids."""
    parent = list(range(len(rows)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    owner: dict[str, int] = {}
    for index, row in enumerate(rows):
        for key in _keys(row):
            parent[root(index)] = root(owner.setdefault(key, index))
    name: dict[int, str] = {}
    for index, row in enumerate(rows):
        name[root(index)] = min(row["id"], name.get(root(index), row["id"]))
    return {row["id"]: name[root(index)] for index, row in enumerate(rows)}


def _keys(row: Row) -> set[str]:
    """What may not be on both sides: function names up to case and punctuation, parameter schemas, questions."""
    names = {"name " + _plain(f["name"]) for f in row["function"]}
    schemas = {"schema " + canonical_json(f["parameters"]) for f in row["function"]}
    return names | schemas | {"question " + _plain(row["question"][0][-1]["content"])}


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _order(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
