"""What holds for all quality filters: they take any text, give reasons that they name, leave good data alone."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_records import QUALITY, REGISTRY, SURVEYING, chat, make, text

from harness.api import find_suite
from harness.data.filtering import FilterUse, make_sieve, sift
from harness.data.record import Answer, Record, RecordKind
from harness.protocols import RunContext
from harness.specs import FilterSpec

ODD = st.text(max_size=300) | st.text(st.sampled_from("{[<\"'`|#.\n!-*ab 1:,|\\$"), max_size=120)
FILTERS = {name: make(name) for name in QUALITY}
CONTEXT = RunContext(components=REGISTRY)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "assistant", "x"]), "content": ODD | st.none()}
        ),
        max_size=3,
    ),
    st.lists(st.builds(Answer, ODD, st.sampled_from([None, 0.0, 0.5, 1.0])), max_size=3),
    st.sampled_from(get_args(RecordKind)),
    st.sampled_from(["", "[]", "{", '[{"name": "f", "parameters": {"$ref": "#/x"}}]']),
)
def test_no_filter_raises_and_all_give_the_reasons_that_they_name(
    messages: list[dict[str, str | None]], answers: list[Answer], kind: RecordKind, tools: str
) -> None:
    one = chat(messages, answers, kind, tools)
    for name, made in FILTERS.items():
        spec = REGISTRY.get("filter", name).spec
        assert isinstance(spec, FilterSpec)
        flaws = list(made.survey([made.sketch(one)]).values()) if name in SURVEYING else list(made.check(one))
        assert {flaw.reason for flaw in flaws} <= set(spec.reasons)
        assert all(flaw.answer is None or flaw.answer < len(answers) for flaw in flaws)
        if name not in SURVEYING:
            assert list(made.check(one)) == flaws


@pytest.mark.parametrize("suite", ["chat", "general", "instruction-following", "structured-output"])
def test_references_of_the_suites_are_left_alone(suite: str) -> None:
    made = find_suite(suite, REGISTRY, CONTEXT)
    prompts = [prompt for prompt in (*made.train, *made.items) if prompt.reference]
    records = [Record(prompt, (Answer(prompt.reference or ""),), "demonstration") for prompt in prompts]
    assert len(records) > 100
    sieve = make_sieve([FilterUse(name=name) for name in QUALITY], REGISTRY, CONTEXT)
    assert sift(records, sieve).remarks == {}


def test_long_loops_are_read_in_passing() -> None:
    """A model's loop of one character must not take quadratic time: these are seconds where it does."""
    for unit in ("a", " ", ".", "!", "\n", "(", "[", "{", '"', "`", "$$", "1", "- ", "http://", "a@", "Let me know "):
        for made in FILTERS.values():
            (made.sketch if hasattr(made, "sketch") else made.check)(text(unit * 20_000))
            (made.sketch if hasattr(made, "sketch") else made.check)(
                chat([{"role": "user", "content": unit * 20_000}], [Answer(unit * 20_000)])
            )
