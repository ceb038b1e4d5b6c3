"""The judge that reads what others said."""

from __future__ import annotations

import json
from pathlib import Path

from judge_cases import Verdicts

from harness.elsewhere import completion_id
from harness.types import Prompt

PROMPT = Prompt("p", ({"role": "user", "content": "say it"},))


def test_verdicts_are_found_by_content_and_averaged_over_those_who_judged(verdicts: Verdicts, tmp_path: Path) -> None:
    said = [("yes", 1.0, "anna"), ("yes", 0.5, "ben"), ("no", None, "anna"), ("part", 0.0, "anna"), ("part", None, "b")]
    rows = [{"id": completion_id(PROMPT, text), "value": value, "judge": who} for text, value, who in said]
    (tmp_path / "verdicts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for place in (tmp_path, tmp_path / "verdicts.jsonl"):
        yes, no, part, other = verdicts("elsewhere", PROMPT, "yes", "no", "part", "other", verdicts=place)
        assert (yes.value, yes.explanation) == (0.75, "judged by anna; ben")
        assert no.status == "abstained"
        assert part.value == 0.0
        assert (other.status, other.explanation) == ("failed", "no verdict yet")


def test_without_a_run_or_a_file_it_says_what_is_lacking(verdicts: Verdicts) -> None:
    [score] = verdicts("elsewhere", PROMPT, "yes")
    assert score.status == "failed"
    assert "name a file" in score.explanation
