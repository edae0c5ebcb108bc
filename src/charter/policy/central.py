"""Guardrails that central files make: freezes, whose models may see what, what can be done under a purpose.

They are Cedar like those in guardrails/*.cedar, told with the place of what they come from.
"""

from __future__ import annotations

from collections.abc import Iterator

from charter.core.values import Source
from charter.policy.cedar_text import annotation, any_of, entity, moment, pattern, quoted, strings
from charter.policy.condition import action_ids
from charter.policy.engine import Engine
from charter.policy.guardrail import Guardrail, written_guardrail
from charter.registry.calendar import Freeze
from charter.registry.central import Central
from charter.registry.charter import Effect
from charter.registry.purpose import Purpose, PurposePart
from charter.registry.rule import Force

DATA = "data/"  # begins the ids of what data.yaml makes
FREEZE = "freeze/"  # and of what calendars.yaml makes
PURPOSE = "purpose/"  # and of what purposes.yaml makes


def central_guardrails(central: Central, engine: Engine) -> tuple[Guardrail, ...]:
    """Return the guardrails that the central files make, in the files' order."""
    return tuple(
        written_guardrail(rule_id, text, source, engine)
        for rule_id, text, source in (*_freezes(central), *_data(central), *_purposes(central))
    )


def _freezes(central: Central) -> Iterator[tuple[str, str, Source]]:
    part = central.calendars
    for index, freeze in enumerate(part.value.freezes):
        yield f"{FREEZE}{freeze.id}", freeze_text(freeze), part.source_of(f"freezes.{index}")


def freeze_text(freeze: Freeze) -> str:
    """Return a freeze in Cedar."""
    end = f"{freeze.until:%Y-%m-%d %H:%M %Z}"
    reason = freeze.reason or f"the freeze `{freeze.id}` holds changes back until {end}"
    lift = f", or have `{freeze.approval}` approve this call" if freeze.approval else ""
    groups = ", ".join(entity("Action", effect.value) for effect in Effect if effect in freeze.effects)
    lines = [
        annotation("reason", reason),
        annotation("mend", f"wait until {end}{lift}"),
        annotation("force", (Force.CEILING if freeze.approval else Force.HARD).value),
    ]
    if freeze.approval:
        lines.append(annotation("approval", freeze.approval))
    lines += [
        "forbid (",
        "  principal,",
        f"  action in [{groups}],",
        "  resource",
        ")",
        f"when {{ context.now >= {moment(freeze.start)} && context.now < {moment(freeze.until)} }}",
        *(f"when {{ {strings(wanted)}.contains(principal.{name}) }}" for name, wanted in freeze.scope.terms()),
    ]
    if freeze.approval:
        lines.append(f"unless {{ context.approvals.contains({quoted(freeze.approval)}) }}")
    return "\n".join(lines) + ";\n"


def _data(central: Central) -> Iterator[tuple[str, str, Source]]:
    part = central.data
    for name, rule in part.value.classes.items():
        if rule.providers is not None:
            yield f"{DATA}{name}", data_text(name, rule.providers), part.source_of(f"classes.{name}.providers")


def data_text(name: str, providers: tuple[str, ...]) -> str:
    """Return in Cedar that data of the class `name` goes to the models of `providers` alone."""
    read, sent = f"resource.reads.contains({quoted(name)})", f"resource.sends.contains({quoted(name)})"
    held = f'(resource.provider != "" && context.flow.data.contains({quoted(name)})'  # the session has read it
    seen = [read, sent, f"{held})"]
    if providers:
        allowed = strings(providers)
        seen = [
            f"({read} && !({allowed}.contains(principal.provider)))",
            f"({sent} && !({allowed}.contains(resource.provider)))",
            f"{held} && !({allowed}.contains(resource.provider)))",
        ]
        told = f"only models of {' and '.join(providers)} may see `{name}`"
        mend = f"use a model of {' or '.join(providers)}"
    else:
        told, mend = f"no model may see `{name}`", "let a person do this step"
    lines = [
        annotation("reason", told),
        annotation("mend", f"{mend}, or have data.yaml allow another provider"),
        annotation("force", Force.HARD.value),
        "forbid (principal, action, resource)",
        "when {",
        " ||\n".join(f"  {each}" for each in seen),
        "};",
    ]
    return "\n".join(lines) + "\n"


def _purposes(central: Central) -> Iterator[tuple[str, str, Source]]:
    part = central.purposes
    for name, purpose in part.value.purposes.items():
        yield f"{PURPOSE}{name}", purpose_text(name, purpose), part.source_of(f"purposes.{name}")


def purpose_text(name: str, purpose: Purpose) -> str:
    """Return in Cedar that under the purpose `name` nothing is done but what it lists."""
    lines = [
        annotation("reason", f"the task is for `{name}`, which this call is no part of"),
        annotation(
            "mend", f"open a task for the purpose that it belongs to, or have purposes.yaml list it for `{name}`"
        ),
        annotation("force", Force.HARD.value),
        "forbid (principal, action, resource)",
        f"when {{ context.chain.purpose == {quoted(name)} }}",
        f"unless {{ {any_of([_listed(each) for each in purpose.only])} }};",
    ]
    return "\n".join(lines) + "\n"


def _listed(part: PurposePart) -> str:
    terms = [f"resource.system == {quoted(part.system)}"]
    if not part.is_every_action:
        actions = [entity("Action", each) for each in action_ids(part.system, part.actions)]
        terms.append(f"action in [{', '.join(actions)}]")
    if part.objects != ("*",):
        terms.append(f"({any_of([f'resource.path like {pattern(each)}' for each in part.objects])})")
    return f"({' && '.join(terms)})"
