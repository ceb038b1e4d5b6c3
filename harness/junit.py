"""Evaluations as JUnit XML, which continuous integration shows: a test suite a suite, a test case an item."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.evaluations import Evaluation
from harness.summary import summarize
from harness.types import ItemResult, Score, ScoredGroup, SuiteReport

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""


def junit_report(evaluation: Evaluation, *, threshold: float = 1.0) -> str:
    """An item whose score is below `threshold` is a failure; one that is unscored is an error if a judge failed, and is
    skipped if it abstained."""
    root = ET.Element("testsuites", name=_xml(Path(evaluation.name).name))
    for suite in evaluation.report.suites:
        element = ET.SubElement(root, "testsuite", name=suite.suite)
        properties = ET.SubElement(element, "properties")
        for name, value in _properties(evaluation, suite, threshold).items():
            ET.SubElement(properties, "property", name=name, value=_xml(value))
        for item, group in zip(suite.items, evaluation.groups(suite.suite), strict=True):
            case = ET.SubElement(element, "testcase", classname=_class(suite, item), name=_xml(item.id))
            if tag := _problem(item, group, threshold):
                score = "unscored" if item.score is None else f"score {item.score:.3g}"
                message = f"{score}: {'; '.join(dict.fromkeys(item.labels))}"
                ET.SubElement(case, tag, message=_xml(message)).text = _xml(_full(group))
        _count(element)
    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _count(element: ET.Element) -> None:
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(1 for _ in element.iter(tag))))


def _properties(evaluation: Evaluation, suite: SuiteReport, threshold: float) -> dict[str, str]:
    summary = summarize(suite, threshold=threshold)
    found = {
        "policy": evaluation.report.policy_version,
        "role": suite.role,
        "fingerprint": suite.fingerprint,
        "clusters": str(summary.whole.clusters),
    }
    if summary.whole.score is not None:
        score = summary.whole.score
        found |= {"mean": _number(score.mean), "lower": _number(score.lower), "upper": _number(score.upper)}
        found["standard_error"] = _number(score.error)
    for row in summary.passing:
        found |= {
            f"pass@{row.k}": _number(row.at_least_one.mean),
            f"pass^{row.k}": _number(row.all_of_them.mean),
        }
    return found


def _class(suite: SuiteReport, item: ItemResult) -> str:
    return _xml(f"{suite.suite}.{item.slice}" if item.slice else suite.suite)


def _problem(item: ItemResult, group: ScoredGroup, threshold: float) -> str:
    """The element that says what is wrong; "" where nothing is."""
    if item.score is None:
        failed = any(score.status == "failed" for scores in group.scores for score in scores)
        return "error" if failed else "skipped"
    return "failure" if item.score < threshold else ""


def _full(group: ScoredGroup) -> str:
    """Each answer with what its judges say of it."""
    parts = []
    for completion, scores in zip(group.group.completions, group.scores, strict=True):
        parts += [verdict(scores), f"answered: {completion.text.strip() or '(nothing)'}"]
    if group.group.prompt.reference is not None:
        parts.append(f"expected: {group.group.prompt.reference}")
    return "\n".join(parts)


def verdict(scores: Sequence[Score]) -> str:
    """What the judges say of one answer."""
    return "; ".join(f"{s.judge}: {s.label or s.status} {s.explanation}".rstrip() for s in scores)


def _xml(text: str) -> str:
    return NOT_IN_XML.sub("\ufffd", text)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.6g}"
