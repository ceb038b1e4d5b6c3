"""Components that the settings of others name: the judges of a panel, who rewards what an updater samples, the
generator of which another holds several.

A component that uses judges of its own has `JudgeSeat`s in its settings, anywhere in them. That is all that is needed
for a run's identity to cover those judges by content, and for the gate to know what is trained against. A generator
that holds others has `GeneratorSeat`s among its settings' fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field

from harness.errors import ConfigError
from harness.plugins import Registry
from harness.protocols import Judge, RunContext
from harness.specs import Config, GeneratorSpec, JudgeSeat


class GeneratorSeat(Config):
    """A generator that another one's settings name."""

    name: str
    config: dict[str, Any] = Field(default_factory=dict)


def seats(settings: Any) -> Iterator[JudgeSeat]:
    """The seats in settings, in their order; not those within the judges that take them."""
    if isinstance(settings, JudgeSeat):
        yield settings
    elif isinstance(settings, BaseModel):
        for _, value in settings:
            yield from seats(value)
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from seats(value)
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from seats(value)


def make_judge(seat: JudgeSeat, context: RunContext, *, where: str) -> Judge:
    """Who takes the seat. Raises ConfigError when the context has no registry, or for settings that are wrong."""
    if context.components is None:
        raise ConfigError("judges cannot be made here", where=where, remedy="Give the context its components.")
    judge: Judge = context.components.create("judge", seat.name, seat.config, context, where=f"{where} {seat.name}")
    return judge


def named_judges(kind: str, name: str, config: Mapping[str, Any], registry: Registry) -> set[str]:
    """Every judge that the component's settings name, those within others too, and itself if it is a judge."""
    below = [named_judges("judge", s.name, s.config, registry) for s in seats(registry.config(kind, name, config))]
    return ({name} if kind == "judge" else set()).union(*below)


def judge_identity(name: str, config: Mapping[str, Any], registry: Registry, *, weight: float = 1.0) -> list[Any]:
    """What a judge's verdicts depend on: settings with defaults, weight, who ships it in which version, the content of
    the files that its settings name, and the same of every judge that they name."""
    entry = registry.get("judge", name)
    settings = registry.config("judge", name, config)
    identity = [name, settings.identity(), weight, str(entry.origin)]
    if entry.spec.content is not None:
        identity.append(entry.spec.content(settings))
    if seated := seat_identities(settings, registry):
        identity.append(seated)
    return identity


def seat_identities(settings: Any, registry: Registry) -> list[Any]:
    """`judge_identity` of every seat in these settings, whose own fields (a weight, say) are part of the settings."""
    return [judge_identity(seat.name, seat.config, registry) for seat in seats(settings)]


# ---------------------------------------------------------------- generators


def generator_seats(settings: Any) -> dict[str, GeneratorSeat]:
    """By field, the generators that a generator's settings name."""
    return {name: value for name, value in settings if isinstance(value, GeneratorSeat)}


def explicit_generator(name: str, config: Mapping[str, Any], registry: Registry, *, where: str) -> dict[str, Any]:
    """A generator's settings with every default written out, those of the generators that it holds too.

    Raises ConfigError for settings that are wrong, and where one that asks a server would be held by another: the
    policy would be the server's model, and the run would not know.
    """
    settings = registry.config("generator", name, config, where=where)
    written = settings.model_dump(mode="json")
    for field, seat in generator_seats(settings).items():
        spec = registry.get("generator", seat.name).spec
        if isinstance(spec, GeneratorSpec) and spec.served is not None:
            raise ConfigError(
                f"generator {seat.name} asks a server, which has workers of its own",
                where=where,
                remedy=f"Name {seat.name} itself, without {name}.",
            )
        within = explicit_generator(seat.name, seat.config, registry, where=f"{where} {field}")
        written[field] = {"name": seat.name, "config": within}
    return written


def named_generators(name: str, config: Mapping[str, Any], registry: Registry) -> set[str]:
    """The generator itself and every one that its settings name."""
    held = generator_seats(registry.config("generator", name, config)).values()
    return {name}.union(*(named_generators(seat.name, seat.config, registry) for seat in held))


def generator_identity(name: str, config: Mapping[str, Any], registry: Registry) -> list[Any]:
    """What a generator's samples depend on: settings, who ships it in which version, the content of the files that its
    settings name, and the same of every generator that it holds."""
    entry = registry.get("generator", name)
    settings = registry.config("generator", name, config)
    content = entry.spec.content(settings) if entry.spec.content is not None else ""
    held = generator_seats(settings).values()
    within = [generator_identity(seat.name, seat.config, registry) for seat in held]
    return [name, settings.identity(), str(entry.origin), content, *within]
