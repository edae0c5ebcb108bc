"""The five review questions, as named Ibis expressions over `Facts`.

Every answer has a complete order, so it is the same on every engine, and its rows carry a sentence a person can read.
Counts are exact: a reviewer signs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis
from ibis import _

from charter.reports.facts import Facts
from charter.reports.unused import unused_permissions
from charter.reports.usual import outside_the_pattern
from charter.reports.words import calls_where, counted, said

if TYPE_CHECKING:
    from ibis.expr.types import Table

REPEATED = 3  # refusals that make a pattern


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its name, what it asks, what its rows are, and how it is answered."""

    name: str
    question: str
    meaning: str
    answer: Callable[[Facts], Table]
    needs_permissions: bool = False


def most_active(facts: Facts) -> Table:
    """Who called most, how it was decided, and how it went."""
    calls = (
        facts.of_period(facts.calls)
        .group_by("principal")
        .agg(
            team=_.team.max(),
            kind=_.kind.max(),
            calls=_.calls.sum(),
            allowed=calls_where(_.verdict == "allow"),
            denied=calls_where(_.verdict == "deny"),
            escalated=calls_where(_.verdict == "escalate"),
            systems=_.system.nunique(),
            actions=_.action.nunique(),
            days=_.day.nunique(),
            last=_["last"].max(),
        )
    )
    ended = (
        facts.of_period(facts.ends)
        .group_by("principal")
        .agg(failed=calls_where(_.outcome != "ok"), bytes=_.bytes.sum().cast("int64"))
    )
    return (
        calls.left_join(ended, "principal")
        .drop("principal_right")
        .mutate(calls=_.calls.cast("int64"), failed=_.failed.fill_null(0), bytes=_.bytes.fill_null(0))
        .order_by([ibis.desc("calls"), "principal"])
        .mutate(
            sentence=said(_.principal, " made ", counted(_.calls, "call"), " on ", counted(_.days, "day"), ": ")
            + said(_.allowed, " allowed, ")
            + said(_.denied, " denied, ", _.escalated, " sent to a person; ", _.failed, " failed")
        )
    )


def sensitive_systems(facts: Facts) -> Table:
    """Who reached systems marked sensitive: how many, which objects, what classes of data, and when last."""
    touched = facts.of_period(facts.calls).filter((_.verdict == "allow") & _.sensitive)
    totals = touched.group_by("principal").agg(
        team=_.team.max(),
        calls=_.calls.sum().cast("int64"),
        systems=_.system.nunique(),
        changes=calls_where(_.effect != "read"),
        last=_["last"].max(),
        system_names=_names(_.system),
        data=_names(_.data, where=_.data != ""),
    )
    objects = facts.of_period(facts.objects).filter(_.sensitive).group_by("principal").agg(objects=_.object.nunique())
    return (
        totals.left_join(objects, "principal")
        .drop("principal_right")
        .mutate(data=_.data.fill_null(""), objects=_.objects.fill_null(0))
        .relocate("objects", after="systems")
        .order_by([ibis.desc("calls"), "principal"])
        .mutate(
            sentence=said(_.principal, " reached ", counted(_.objects, "object"), " on ", counted(_.systems, "system"))
            + said(" in " + counted(_.calls, "call"), ", ", _.changes, " of which changed something; data: ")
            + (_.data == "").ifelse("none declared", _.data)
        )
    )


def repeatedly_refused(facts: Facts) -> Table:
    """Who is denied or sent to a person again and again, and by which rule most."""
    refused = facts.of_period(facts.calls).filter(_.verdict != "allow")
    totals = (
        refused.group_by("principal")
        .agg(
            team=_.team.max(),
            refused=_.calls.sum().cast("int64"),
            denied=calls_where(_.verdict == "deny"),
            escalated=calls_where(_.verdict == "escalate"),
            first=_["first"].min(),
            last=_["last"].max(),
        )
        .filter(_.refused >= REPEATED)
    )
    rules = refused.group_by(["principal", "layer", "rule"]).agg(times=_.calls.sum().cast("int64"), text=_.text.max())
    order = ibis.window(group_by="principal", order_by=[ibis.desc("times"), "layer", "rule"])
    top = rules.mutate(place=ibis.row_number().over(order)).filter(_.place == 0).drop("place")
    return (
        totals.join(top, "principal")
        .select(
            "principal", "team", "refused", "denied", "escalated", "layer", "rule", "times", "first", "last", "text"
        )
        .order_by([ibis.desc("refused"), "principal"])
        .mutate(
            sentence=said(_.principal, " was refused ", counted(_.refused, "time"), ", ", _.times)
            + said(" of them by " + _.rule, " (", _.layer, "): ", _.text)
        )
    )


QUESTIONS = (
    Question(
        "most-active", "Which principals are most active?", "calls in the period, however they ended", most_active
    ),
    Question(
        "sensitive", "Which touch sensitive systems?", "allowed calls on systems marked sensitive", sensitive_systems
    ),
    Question(
        "refused",
        "Which are repeatedly denied or escalated?",
        f"principals with at least {REPEATED} refusals, and the rule that refused most",
        repeatedly_refused,
    ),
    Question(
        "unused",
        "Whose permissions are broader than their use?",
        "granted actions, objects, data, hours and delegations that were not used: candidates for a narrower charter",
        unused_permissions,
        needs_permissions=True,
    ),
    Question(
        "unusual",
        "Who acted outside the usual pattern?",
        "busy days and first times, by each principal's own earlier days",
        outside_the_pattern,
    ),
)


def _names(values: Any, where: Any = None) -> Any:  # noqa: ANN401 - Ibis has no public types for values
    """Return the distinct values, sorted, as one text: gathered first, as Spark concatenates in no order."""
    return values.collect(where=where, distinct=True).sort().join(", ")
