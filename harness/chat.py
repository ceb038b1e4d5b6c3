"""From prompts to token ids and back, in one place, so that sampling, training and evaluation see the same ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.chat_template import apply, chat_of
from harness.errors import AssetError, HarnessError
from harness.tools import CALL_MARKS, answer_schema
from harness.types import Prompt, Sampling

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer saved in a model folder. Raises AssetError when there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError) as error:
        raise AssetError(
            f"no tokenizer can be loaded ({str(error).splitlines()[0]})",
            where=str(path),
            remedy="Save one into the model folder with save_pretrained.",
        ) from None


def load_generation_config(path: Path) -> GenerationConfig | None:
    """The generation config saved in a model folder, None when it has none."""
    from transformers import GenerationConfig

    return GenerationConfig.from_pretrained(str(path)) if (path / "generation_config.json").is_file() else None


# ---------------------------------------------------------------- prompts


def render(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of the chat with its tools, up to and including the header of the answer. A prompt without messages
    stands before a document: it is the token that documents start with.

    Raises HarnessError when there is no chat template or it refuses the chat.
    """
    if not prompt.messages:
        return [_document_start(tokenizer)]
    messages, options = chat_of(tokenizer, prompt)
    where = f"prompt {prompt.id}"
    ids = apply(tokenizer, messages, where=where, add_generation_prompt=True, return_dict=False, **options)
    return cast("list[int]", ids)


# ---------------------------------------------------------------- completions


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of an answer, closed by the end-of-turn token."""
    return [*encode_text(tokenizer, text), end_of_turn_id(tokenizer)]


def encode_document(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of raw text, without its start, closed by the end-of-sequence token."""
    return [*encode_text(tokenizer, text), _document_end(tokenizer)]


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of a piece of text, with nothing before or after it."""
    return list(tokenizer.encode(text, add_special_tokens=False))


def encode_after(
    tokenizer: PreTrainedTokenizerBase, context: str, texts: Sequence[str]
) -> tuple[list[int], list[list[int]]]:
    """Token ids of raw text, with what the tokenizer itself puts before one, and of each of the texts that continue it,
    tokenized as if it were written with the context in one piece.

    Where a token reaches across, it belongs to what continues: the context's ids are those that all the pieces share.
    """
    ids = tokenizer.encode(context)
    wholes = [tokenizer.encode(context + text) for text in texts]
    shared = min(_common_prefix(ids, whole) for whole in wholes)
    return ids[:shared] or [_document_start(tokenizer)], [whole[shared:] for whole in wholes]


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _document_start(tokenizer: PreTrainedTokenizerBase) -> int:
    """The begin-of-sequence token; families without one put the end of the last document there."""
    return _document_end(tokenizer) if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)


def _document_end(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.eos_token_id is None:
        raise HarnessError(
            "the tokenizer names no token that ends a text",
            where=str(tokenizer.name_or_path),
            remedy="Set eos_token in tokenizer_config.json.",
        )
    return int(tokenizer.eos_token_id)


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Text of an answer, without special tokens except those that mark a call (Mistral, Llama 3)."""
    marks = {i: t.content for i, t in tokenizer.added_tokens_decoder.items() if t.special and t.content in CALL_MARKS}
    pieces: list[list[int]] = [[]]
    text = ""
    for token in ids:
        if token in marks:
            text += _decode(tokenizer, pieces.pop()) + marks[token]
            pieces.append([])
        else:
            pieces[-1].append(token)
    return text + _decode(tokenizer, pieces.pop())


def _decode(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that the chat template writes after an answer, else the tokenizer's end-of-sequence token.

    They differ for some families (Gemma ends a turn with `<end_of_turn>` and a text with `<eos>`), and a model that is
    trained to end with the wrong one talks on.
    """
    mark = "end of turn mark"
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": mark}]
    rendered = str(apply(tokenizer, chat, tokenize=False))
    tail = tokenizer.encode(rendered.rpartition(mark)[2].lstrip(), add_special_tokens=False)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    if tail and tail[0] in special:
        return int(tail[0])
    if tokenizer.eos_token_id is None:
        raise HarnessError(
            "neither the chat template nor the tokenizer names a token that ends an answer",
            where=str(tokenizer.name_or_path),
            remedy="Set eos_token in tokenizer_config.json.",
        )
    return int(tokenizer.eos_token_id)


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None) -> frozenset[int]:
    """Every token that ends an answer: those of the template, the tokenizer and the generation config."""
    named = generation_config.eos_token_id if generation_config is not None else None
    several = named if isinstance(named, list) else [named]
    ids = {end_of_turn_id(tokenizer), tokenizer.eos_token_id, *several}
    return frozenset(int(i) for i in ids if i is not None)


# ---------------------------------------------------------------- limits and schemas


def completion_budget(prompt: Prompt, prompt_tokens: int, sampling: Sampling, context: int) -> int:
    """How many tokens the answer may have: `max_tokens`, less what the context of `context` tokens leaves no room for.

    Raises HarnessError when the prompt alone fills the context.
    """
    if prompt_tokens >= context:
        raise HarnessError(
            f"the prompt has {prompt_tokens} tokens and the context holds {context}",
            where=f"prompt {prompt.id}",
            remedy="Shorten or drop the prompt, or raise the generator's context if the model allows.",
        )
    return min(sampling.max_tokens, context - prompt_tokens)


def constraint_schema(prompt: Prompt) -> Mapping[str, Any]:
    """The JSON Schema that a constrained answer must satisfy. Raises HarnessError when the prompt implies none."""
    if prompt.schema:
        return dict(json.loads(prompt.schema))
    if prompt.tools:
        return answer_schema(prompt.tools)
    raise HarnessError(
        "constrained sampling needs a schema or tools",
        where=f"prompt {prompt.id}",
        remedy="Give the prompt a `schema`, or switch `constrained` off.",
    )
