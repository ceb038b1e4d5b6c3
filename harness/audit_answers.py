"""What a person says of the pairs of an audit: a line an answer, on the disk before the next pair is shown.

The last line about a pair counts. A line that takes an answer back holds None.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from harness.audit import Audit, Pair
from harness.durable import append_line
from harness.errors import ConfigError, StoreError
from harness.jsonl import read_jsonl, read_text
from harness.plugins import validate
from harness.specs import Config

Choice = Literal["a", "b", "tie", "skip"]
CHOICES = get_args(Choice)

LABELLING = """\
<View>
  <Style>.htx-text { white-space: pre-wrap; }</Style>
  <Header value="Prompt"/>
  <Text name="prompt" value="$prompt"/>
  <Header value="Expected, if known"/>
  <Text name="reference" value="$reference"/>
  <Header value="Answer a"/>
  <Text name="a" value="$a"/>
  <Header value="Answer b"/>
  <Text name="b" value="$b"/>
  <Header value="Which answer is better?"/>
  <Choices name="answer" toName="prompt" choice="single" showInLine="true" required="true">
    <Choice value="a"/>
    <Choice value="b"/>
    <Choice value="tie"/>
  </Choices>
  <TextArea name="note" toName="prompt" placeholder="Note" maxSubmissions="1"/>
</View>
"""
"""Label Studio's labelling config for the tasks of `label_studio_tasks`."""


class Answers:
    """The answers and notes of an audit by pair id, in the order in which they were given."""

    def __init__(self, path: Path, pairs: Sequence[Pair]) -> None:
        self.path = path
        self.given: dict[str, Choice] = {}
        self.notes: dict[str, str] = {}
        known = {pair.id for pair in pairs}
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # without its newline it never was
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if row["id"] not in known or row.get("answer") not in (None, *CHOICES):
                    raise ValueError("no answer to a pair of this audit")
            except (ValueError, TypeError, KeyError) as error:
                remedy = "Restore the file, or begin another audit with --name."
                raise StoreError(f"damaged ({error})", where=f"{path}:{number}", remedy=remedy) from None
            self._take(row)

    def give(self, pair: str, answer: Choice) -> None:
        self._append({"id": pair, "answer": answer})

    def note(self, pair: str, text: str) -> None:
        self._append({"id": pair, "note": text})

    def undo(self) -> None:
        """Take the last answer back; its note stays. Nothing happens where there is none."""
        if self.given:
            self._append({"id": next(reversed(self.given)), "answer": None})

    def _append(self, row: Mapping[str, Any]) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        append_line(self.path, json.dumps({**row, "at": at}, ensure_ascii=False))
        self._take(row)

    def _take(self, row: Mapping[str, Any]) -> None:
        if "note" in row:
            self.notes[row["id"]] = row["note"]
        if "answer" in row:
            self.given.pop(row["id"], None)  # so that the order is that of the last answers
            if row["answer"] is not None:
                self.given[row["id"]] = row["answer"]


# ---------------------------------------------------------------- out


def prompt_text(pair: Pair) -> str:
    """What was asked, as text for people: a lone question as it is, else every message under its role, then tools."""
    messages = [dict(message) for message in pair.prompt.messages]
    if len(messages) == 1 and isinstance(messages[0].get("content"), str):
        parts = [str(messages[0]["content"])]
    else:
        parts = [f"{m.pop('role', '?')}: {_content(m)}" for m in messages]
    tools = json.loads(pair.prompt.tools or "[]")
    return "\n\n".join([*parts, *(f"tool: {json.dumps(tool, ensure_ascii=False)}" for tool in tools)])


def _content(message: Mapping[str, Any]) -> str:
    alone = set(message) == {"content"} and isinstance(message["content"], str)
    return str(message["content"]) if alone else json.dumps(message, ensure_ascii=False)


def blind_rows(audit: Audit) -> list[dict[str, Any]]:
    """A row a pair, to be given an "answer": a, b, tie or skip."""
    return [
        {"id": pair.id, "prompt": prompt_text(pair), "reference": pair.prompt.reference, "a": pair.a, "b": pair.b}
        for pair in audit.pairs
    ]


def label_studio_tasks(audit: Audit) -> list[dict[str, Any]]:
    """Tasks in Label Studio's JSON format, for a project with the labelling config `LABELLING`."""
    rows = [{**row, "reference": row["reference"] or ""} for row in blind_rows(audit)]
    return [{"data": {"pair": row.pop("id"), **row}} for row in rows]


# ---------------------------------------------------------------- back


class _Row(Config):
    id: str
    answer: Choice | None = None
    note: str | None = None
    prompt: Any = None
    reference: Any = None
    a: str | None = None
    b: str | None = None


@dataclass(frozen=True)
class Returned:
    """What an import did: answers that were new, and those that were there already."""

    new: int
    known: int


def import_answers(audit: Audit, file: Path) -> Returned:
    """Take answers given elsewhere: rows of JSON, or Label Studio's JSON export. All of them, or none.

    Raises ConfigError, naming the row, for one that is not of this audit or that contradicts an earlier answer.
    """
    answers = Answers(audit.answers, audit.pairs)
    pairs = {pair.id: pair for pair in audit.pairs}
    is_export = read_text(file).lstrip().startswith("[")
    rows = [
        (where, validate(_Row, values, where=where))
        for where, values in (_annotations(file) if is_export else read_jsonl(file))
    ]
    new: dict[str, _Row] = {}
    notes: dict[str, str] = {}
    known = 0
    for where, row in rows:
        if row.id not in pairs:
            remedy = "Import it into the audit that it was exported from."
            raise ConfigError(f"id {row.id!r} is that of no pair of {audit.name}", where=where, remedy=remedy)
        if row.a not in (None, pairs[row.id].a) or row.b not in (None, pairs[row.id].b):
            remedy = "Answer the rows as they were exported."
            raise ConfigError(f"the answers are not those that id {row.id!r} stands for", where=where, remedy=remedy)
        if row.answer is None:
            if row.note:
                notes[row.id] = row.note
            continue
        old = new[row.id].answer if row.id in new else answers.given.get(row.id)
        if old not in (None, row.answer):
            what = f"it says {row.answer} of {row.id}, of which {old} was said before"
            raise ConfigError(what, where=where, remedy="Leave out one, or import it into another audit (--name).")
        known += old is not None
        if old is None:
            new[row.id] = row
    for id, note in notes.items():
        answers.note(id, note)
    for id, row in new.items():
        if row.note:
            answers.note(id, row.note)
        answers.give(id, row.answer or "skip")
    return Returned(len(new), known)


def _annotations(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Label Studio's JSON export as rows: an annotation each, a cancelled one as skipped."""
    rows = []
    try:
        for number, task in enumerate(json.loads(read_text(file))):
            for annotation in task.get("annotations", []):
                row = {key: task["data"][name] for key, name in (("id", "pair"), ("a", "a"), ("b", "b"))}
                for result in annotation["result"]:
                    if result["from_name"] == "answer":
                        [row["answer"]] = result["value"]["choices"]
                    elif result["from_name"] == "note":
                        row["note"] = "\n".join(result["value"]["text"])
                if annotation.get("was_cancelled"):
                    row["answer"] = "skip"
                rows.append((f"{file}, task {number}", row))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"not Label Studio's JSON export ({type(error).__name__}: {error})",
            where=str(file),
            remedy="Export the project as JSON, not as JSON-MIN or CSV.",
        ) from None
    return rows
