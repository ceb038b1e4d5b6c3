"""How remarks number the answers of a group of which filters before have taken some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from data_filters import write_filters

from harness.data.cleaning import check
from harness.data.filtering import FilterUse, Remark, checked, make_sieve, renumbered, sift
from harness.data.reading import open_source
from harness.data.record import Answer, Record
from harness.plugins import Registry, load_registry
from harness.protocols import RunContext
from harness.records import write_groups
from harness.types import Completion, Group, Prompt, Sampling, Score, ScoredGroup

TEXTS = ("fine", "bad", "good", "worse", "right")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return load_registry(local_files=[write_filters(tmp_path)])


def words(*answers: str, action: str = "mend", **config: Any) -> FilterUse:
    return FilterUse.model_validate({"name": "words", "config": {"answers": list(answers), **config}, "action": action})


def group(*texts: str) -> Record:
    return Record(Prompt("p", ()), tuple(Answer(text, 0.5) for text in texts), "group")


def numbers(registry: Registry, *uses: FilterUse) -> list[tuple[str, int | None]]:
    sieve = make_sieve(uses, registry, RunContext(components=registry))
    return [(remark.detail, remark.answer) for remark in sift([group(*TEXTS)], sieve).remarks[0]]


def test_remarks_number_the_answers_of_the_group_as_it_came(registry: Registry) -> None:
    assert numbers(registry, words("bad"), words("worse"), words("right")) == [("bad", 1), ("worse", 3), ("right", 4)]
    assert numbers(registry, words("bad"), words("worse", action="flag"), words("right")) == [
        ("bad", 1),
        ("worse", 3),
        ("right", 4),
    ]
    sieve = make_sieve([words("bad"), words("worse")], registry, RunContext(components=registry))
    assert checked(group(*TEXTS), sieve).answers == [0, 2, 4]


def test_a_rewriting_that_leaves_as_many_answers_leaves_their_numbers(registry: Registry) -> None:
    assert numbers(registry, words("bad"), words("good", offers=True), words("right"))[-1] == ("right", 4)


def test_an_answer_of_which_the_number_is_lost_has_none() -> None:
    assert renumbered(Remark("f", "r", "flagged", answer=1), [0, None]).answer is None


def test_check_names_the_answer_of_the_stored_group_surveys_too(tmp_path: Path, registry: Registry) -> None:
    """The second group's long answer is its fourth, and the third for the survey."""
    texts = [("a b", "bad", "c d", "e f")] * 40 + [("a b", "bad", "c d", "x " * 4000)]
    stored = [
        ScoredGroup(
            Group(
                Prompt(f"p{at}", ({"role": "user", "content": f"ask {at}"},)),
                (9,),
                tuple(Completion(text, (1,)) for text in answers),
                "base",
                Sampling(),
            ),
            tuple((Score("j", number / 10),) for number in range(4)),
            tuple(number / 10 for number in range(4)),
        )
        for at, answers in enumerate(texts)
    ]
    write_groups(tmp_path / "groups.parquet", stored)
    uses = [words("bad"), FilterUse(name="length", config={"max_chars": 100}, action="flag")]
    report = check(
        open_source(str(tmp_path / "groups.parquet")), uses, work=tmp_path / "w", workers=1, registry=registry
    )
    first = {line["filter"]: line["examples"][0] for line in report.tally}
    assert (first["words"]["place"], first["words"]["answer"]) == (1, 1)
    assert (first["length"]["place"], first["length"]["answer"]) == (41, 3)
