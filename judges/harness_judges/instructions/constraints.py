"""What an item may ask for, as its target says it: `{"constraints": [{"kind": "words", "at_most": 50}, ...]}`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from harness.specs import Config

Text = Annotated[str, Field(pattern=r"\S")]


class Bounds(Config):
    """How many. One of `exactly` and the other two, which are inclusive."""

    exactly: NonNegativeInt | None = None
    at_least: NonNegativeInt | None = None
    at_most: NonNegativeInt | None = None

    @model_validator(mode="after")
    def _bounds_bound(self) -> Self:
        if self.exactly is None and self.at_least is None and self.at_most is None:
            raise ValueError("give exactly, at_least or at_most: without them every number is right")
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("exactly leaves nothing for at_least and at_most to say")
        if self.at_least is not None and self.at_most is not None and self.at_most < self.at_least:
            raise ValueError(f"at_most {self.at_most} is below at_least {self.at_least}")
        return self


class Count(Bounds):
    """Of something that the text has, whatever it says. `checks.COUNTS` defines each."""

    kind: Literal["words", "sentences", "paragraphs", "bullets", "headings", "highlights", "placeholders"]


class Keyword(Bounds):
    """How often a word or phrase appears, in whatever case: `exactly = 0` forbids it."""

    kind: Literal["keyword"]
    text: Text


class Responses(Bounds):
    """Answers of which no two are the same, with the separator on lines of its own between them."""

    kind: Literal["responses"]
    separator: Text


class Heading(Config):
    """A Markdown heading that says this, in whatever case."""

    kind: Literal["heading"]
    text: Text


class Edge(Config):
    """The first or last words, letter by letter."""

    kind: Literal["starts", "ends"]
    text: Text


class Postscript(Config):
    """A last paragraph that begins with the marker and goes on."""

    kind: Literal["postscript"]
    marker: Text = "P.S."


class Without(Config):
    """Characters that are nowhere in the answer, such as a comma."""

    kind: Literal["without"]
    text: Annotated[str, Field(min_length=1)]


class Casing(Config):
    """All letters small (`lower`), all capital (`upper`), or every word begun with a capital (`title`)."""

    kind: Literal["casing"]
    to: Literal["lower", "upper", "title"]


class Json(Config):
    """All of the answer is one strict JSON object with these keys and no others, whatever they hold. Without `keys` any
    object or list will do."""

    kind: Literal["json"]
    keys: tuple[Text, ...] | None = None


Constraint = Annotated[
    Count | Keyword | Responses | Heading | Edge | Postscript | Without | Casing | Json, Field(discriminator="kind")
]


class Constraints(Config):
    """A row's target."""

    constraints: Annotated[tuple[Constraint, ...], Field(min_length=1)]
