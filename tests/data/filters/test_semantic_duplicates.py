"""The filter of semantic duplicates, and the embeddings, with the real model."""

from __future__ import annotations

import numpy as np
import pytest
from duplicate_records import questions, record, sifted

from harness import assets
from harness.protocols import RunContext
from harness_plugins.filters.duplicates import semantic
from harness_plugins.filters.duplicates.embedding import Embedder
from harness_plugins.filters.duplicates.semantic import SemanticDuplicates
from harness_plugins.filters.duplicates.settings import SemanticConfig

pytestmark = pytest.mark.model

PARAPHRASES = [
    ("How do I boil an egg?", "What is the way to boil an egg?"),
    ("Explain photosynthesis to a child.", "Describe photosynthesis so that a kid understands it."),
    (
        "Can you find some Electropop songs released in 2019 for me?",
        "Find some Electropop songs that were released in 2019?",
    ),
]
OTHERS = [
    ("What is 3 factorial?", "What is 5 factorial?"),
    ("What is the recipe for lasagna?", "What are the ingredients for lasagna?"),
    ("What is the assist average of LeBron James?", "What are the career stats of LeBron James?"),
]


def test_paraphrases_are_found_and_other_questions_stay() -> None:
    asked = [text for pair in [*PARAPHRASES, *OTHERS] for text in pair]
    found = sifted([record(text) for text in asked], "semantic_duplicates", by="prompt")
    assert sorted(found.remarks) == [1, 3, 5]
    assert found.remarks[1][0].reason == "semantic_duplicate"
    assert found.remarks[1][0].detail.startswith("cosine 0.9")


def test_answers_must_mean_the_same_too_and_be_worth_as_much() -> None:
    one, other = PARAPHRASES[0]
    rows = [
        record(one, "Boil it for minutes."),
        record(other, "Put it in water."),
        record(other, "Boil it for minutes."),
    ]
    assert sifted(rows, "semantic_duplicates").indices == [0, 1]
    assert sifted([record(one, "a", "b"), record(other, "b", "a")], "semantic_duplicates").indices == [0, 1]
    assert sifted([record(one, "a"), record(other, "a", worths=[0.0])], "semantic_duplicates").indices == [0, 1]


def test_what_is_not_read_must_be_the_same() -> None:
    passage = "The river is long and wide. " * 60
    rows = [record(passage + end) for end in ("Who lives there?", "How cold is it?", "Who lives there?")]
    assert sifted(rows, "semantic_duplicates").indices == [0, 1]


def test_embeddings_are_means_of_hidden_states() -> None:
    """Against a padded batch through transformers alone."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = assets.fetch("minilm")
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = [text for pair in PARAPHRASES for text in pair]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).numpy()
    vectors, unread = Embedder(SemanticConfig(), RunContext()).embed([*texts, ""])
    assert np.abs(vectors[:-1].astype(np.float32) - expected).max() < 2e-4
    assert unread == [""] * len(vectors)


def test_clusters_find_nearly_all_that_all_pairs_find(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SemanticDuplicates(SemanticConfig(by="prompt", threshold=0.85, same_numbers=False), RunContext())
    sketches = made.sketches([record(q) for q in questions()[:400]])
    exact = made.survey(sketches)
    assert len(exact) > 20
    monkeypatch.setattr(semantic, "EXACT", 100)
    clustered = made.survey(sketches)
    assert clustered.keys() <= exact.keys()
    assert len(clustered) >= 0.93 * len(exact)
