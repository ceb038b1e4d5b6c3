"""Values as they appear in explanations: short, on one line, and safe to store whatever a model wrote."""

from __future__ import annotations

import reprlib
from typing import Any

MAX_SENTENCE = 400

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_repr.maxlist = _repr.maxdict = _repr.maxtuple = 6
# A model can nest lists as deep as the JSON reader allows; plain repr() would run out of stack on them.
_repr.maxlevel = 3


def show(value: Any) -> str:
    """A short `repr`: escapes what cannot be encoded (lone surrogates), and cuts long strings and deep nesting."""
    return _repr.repr(value)


def sentence(text: str) -> str:
    """At most MAX_SENTENCE characters of `text`, marked where it is cut."""
    return text if len(text) <= MAX_SENTENCE else text[: MAX_SENTENCE - 3] + "..."
