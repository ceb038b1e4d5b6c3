"""Answers held to a JSON Schema: a grammar says which tokens may come next (llguidance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import llguidance
import llguidance.hf
import numpy as np
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from harness.chat import constraint_schema
from harness.errors import HarnessError
from harness.types import Prompt

# The layout of json.dumps, which is also that of gold answers. Free whitespace lets a model pad for ever.
LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def grammar_schema(prompt: Prompt) -> Mapping[str, Any]:
    """The prompt's schema with the layout to write it in, as llguidance reads it (also inside vLLM)."""
    return {**constraint_schema(prompt), "x-guidance": LAYOUT}


class SchemaMatcher:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: llguidance.LLMatcher) -> None:
        self._matcher = matcher

    def copy(self) -> SchemaMatcher:
        return SchemaMatcher(self._matcher.deep_copy())

    def allowed(self, vocab_size: int) -> np.ndarray:
        """allowed_V, bool: True for tokens that keep the answer valid; stop tokens once it is complete."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little", count=vocab_size).astype(bool)

    def advance(self, token_id: int) -> None:
        if not self._matcher.consume_token(token_id):
            raise RuntimeError(f"token {token_id} was drawn but breaks the grammar: {self._matcher.get_error()}")


class SchemaGrammars:
    """Compiles schemas against one tokenizer. `vocab_size` is the width of the model's logits."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, vocab_size: int, stop_ids: Sequence[int]) -> None:
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise HarnessError(
                "constrained decoding needs a fast tokenizer",
                where=str(tokenizer.name_or_path),
                remedy="Use a model with a tokenizer.json, or switch `constrained` off.",
            )
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=vocab_size, eos_token=sorted(stop_ids))

    def matcher(self, prompt: Prompt) -> SchemaMatcher:
        """Raises HarnessError when the prompt has no schema or llguidance does not implement all of it."""
        grammar = llguidance.LLMatcher.grammar_from_json_schema(dict(grammar_schema(prompt)))
        matcher = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise HarnessError(
                f"its schema cannot constrain decoding ({matcher.get_error().splitlines()[0]})",
                where=f"prompt {prompt.id}",
                remedy="Simplify the schema, or switch `constrained` off.",
            )
        return SchemaMatcher(matcher)
