"""The five review questions, as named Ibis expressions over `Facts`.

Every answer has a complete order, so it is the same on every engine, and its rows carry a sentence a person can read.
Counts are exact: a reviewer signs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis
from ibis import _

from charter.reports.facts import Facts, bounds
from charter.reports.usual import outside_the_pattern
from charter.reports.words import counted, said

if TYPE_CHECKING:
    from ibis.expr.types import Table

_A_DAY = 86_400  # seconds
REPEATED = 3  # refusals that make a pattern


@dataclass(frozen=True, slots=True)
class Question:
    """One question: its name, what it asks, what its rows are, and how it is answered."""

    name: str
    question: str
    meaning: str
    answer: Callable[[Facts], Table]


def most_active(facts: Facts) -> Table:
    """Who called most, how it was decided, and how it went."""
    calls = facts.in_period.group_by("principal").agg(
        team=_.team.max(),
        kind=_.kind.max(),
        calls=_.count(),
        allowed=(_.verdict == "allow").sum(),
        denied=(_.verdict == "deny").sum(),
        escalated=(_.verdict == "escalate").sum(),
        systems=_.system.nunique(),
        actions=_.action.nunique(),
        days=_.time.date().nunique(),
        last=_.time.max(),
    )
    since, _until = bounds(facts)
    ended = (
        facts.outcomes.filter(_.time >= since)
        .group_by("principal")
        .agg(failed=(_.outcome != "ok").sum(), bytes=_.bytes.sum())
    )
    return (
        calls.left_join(ended, "principal")
        .drop("principal_right")
        .mutate(failed=_.failed.fill_null(0), bytes=_.bytes.fill_null(0).cast("int64"))
        .order_by([ibis.desc("calls"), "principal"])
        .mutate(
            sentence=said(_.principal, " made ", counted(_.calls, "call"), " on ", counted(_.days, "day"), ": ")
            + said(_.allowed, " allowed, ")
            + said(_.denied, " denied, ", _.escalated, " sent to a person; ", _.failed, " failed")
        )
    )


def sensitive_systems(facts: Facts) -> Table:
    """Who reached systems marked sensitive: how many, which objects, what classes of data, and when last."""
    touched = facts.in_period.filter((_.verdict == "allow") & _.sensitive)
    totals = touched.group_by("principal").agg(
        team=_.team.max(),
        calls=_.count(),
        systems=_.system.nunique(),
        objects=_.object.nunique(),
        changes=(_.effect != "read").sum(),
        last=_.time.max(),
    )
    systems = _joined(touched, "system").rename(system_names="names")
    classes = _joined(touched.filter(_.data != ""), "data").rename(data="names")
    return (
        totals.left_join(systems, "principal")
        .drop("principal_right")
        .left_join(classes, "principal")
        .drop("principal_right")
        .mutate(data=_.data.fill_null(""))
        .order_by([ibis.desc("calls"), "principal"])
        .mutate(
            sentence=said(_.principal, " reached ", counted(_.objects, "object"), " on ", counted(_.systems, "system"))
            + said(" in " + counted(_.calls, "call"), ", ", _.changes, " of which changed something; data: ")
            + (_.data == "").ifelse("none declared", _.data)
        )
    )


def repeatedly_refused(facts: Facts) -> Table:
    """Who is denied or sent to a person again and again, and by which rule most."""
    refused = facts.in_period.filter(_.verdict != "allow")
    totals = (
        refused.group_by("principal")
        .agg(
            team=_.team.max(),
            refused=_.count(),
            denied=(_.verdict == "deny").sum(),
            escalated=(_.verdict == "escalate").sum(),
            first=_.time.min(),
            last=_.time.max(),
        )
        .filter(_.refused >= REPEATED)
    )
    rules = refused.group_by(["principal", "layer", "rule"]).agg(times=_.count(), text=_.text.max())
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


def unused_permissions(facts: Facts) -> Table:
    """What is granted and was not used in the period, the longest unused first."""
    since, until = bounds(facts)
    key = ["principal", "system", "action"]
    used = facts.verdicts.filter(_.verdict == "allow").group_by(key).agg(last_used=_.time.max())
    # the later of the grant and the last use; a permission granted within the period has had less time
    end = facts.until.timestamp()
    idle_since = ibis.coalesce(ibis.greatest(_.last_used, _.granted), _.granted)
    return (
        facts.permissions.filter(_.granted < until)
        .left_join(used, key)
        .drop(*(f"{name}_right" for name in key))
        .filter(_.last_used.isnull() | (_.last_used < since))
        .mutate(days=((end - idle_since.epoch_seconds().cast("float64")) / _A_DAY).floor().cast("int64"))
        .order_by([ibis.desc("days"), *key])
        .mutate(
            sentence=said(_.principal, " may ", _.action, " on ", _.system)
            + ibis.cases(
                (_.last_used.notnull(), said(" and last did so ", counted(_.days, "day"), " ago")),
                (_.days == 0, " since today and has not done so yet"),
                else_=said(" and has not done so for ", counted(_.days, "day")),
            ),
        )
        .relocate("sentence", after="days")
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
        "granted actions that were not used in the period: candidates for a narrower charter",
        unused_permissions,
    ),
    Question(
        "unusual",
        "Who acted outside the usual pattern?",
        "busy days and first times, by each principal's own earlier days",
        outside_the_pattern,
    ),
)


def _joined(table: Table, column: str) -> Table:
    """Return principal -> the distinct values of `column`, sorted, as one text `names`."""
    values = table.select("principal", value=table[column]).distinct()
    return values.group_by("principal").agg(names=_.value.group_concat(", ", order_by=_.value))
