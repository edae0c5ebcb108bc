"""Pages from templates: what stands on each page, and how values become safe text.

INVARIANT: templates escape HTML by default and pass every value through `plain` (`finalize`), so text from models,
tools and callers can neither become markup nor hide. A template that names a fact nobody gave fails (StrictUndefined)
instead of showing a gap.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from charter.console import words
from charter.console.challenges import Challenges
from charter.console.desk import Desk
from charter.console.door import Refusal, Visitor, visitor_of
from charter.console.plain import plain, shortened
from charter.console.signin import SignIn
from charter.console.terminal import Terminals
from charter.core.clock import parse_rfc3339
from charter.core.errors import AbsentError, CharterError, ConflictError, DeniedError, MalformedError
from charter.core.values import parse_name
from charter.identity.asking import Consents
from charter.identity.single_signon import SingleSignOn
from charter.registry.seat import told
from charter.reports.call_story import argument_text

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_STATUSES = {AbsentError: 404, MalformedError: 400, DeniedError: 403, ConflictError: 409}


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages need: the facts and deeds, the sessions, the templates."""

    desk: Desk
    signin: SignIn
    signon: SingleSignOn | None
    terminals: Terminals
    challenges: Challenges
    consents: Consents
    issuer: str
    templates: Environment = field(repr=False)

    async def page(self, request: Request, template: str, *, status: int = 200, **facts: Any) -> HTMLResponse:  # noqa: ANN401
        """Return `template` with `facts`, inside the frame of someone signed in."""
        visitor = visitor_of(request)
        frame = await asyncio.to_thread(self._frame, visitor)
        return self.show(template, status=status, path=request.url.path, **(frame | facts))

    def show(self, template: str, *, status: int = 200, **facts: Any) -> HTMLResponse:  # noqa: ANN401
        """Return `template` with `facts` and nothing else."""
        basis = {"visitor": None, "path": "", "waiting": None, "node": None, "address": self.signin.address}
        return HTMLResponse(self.templates.get_template(template).render(basis | facts), status)

    def refusal(self, refusal: Refusal, visitor: Visitor | None = None) -> HTMLResponse:
        """Return the page that states `refusal`. It asks nothing of the house: that may be what failed."""
        return self.show("refusal.html", status=refusal.status, refusal=refusal, visitor=visitor)

    def bounce(self, where: str) -> HTMLResponse:
        """Return a page that goes to `where` by itself, from our own page this time."""
        return self.show("bounce.html", where=where)

    def _frame(self, visitor: Visitor) -> dict[str, Any]:
        node = self.desk.status()
        return {"visitor": visitor, "waiting": self.desk.unanswered(), "node": node}

    @property
    def today(self) -> dt.date:
        """The day, UTC."""
        return self.signin.clock.now().astimezone(dt.UTC).date()


def console_of(request: Request) -> Console:
    """Return the console that serves `request`."""
    console = request.app.state.console
    assert isinstance(console, Console)  # noqa: S101 - set where the app is made
    return console


def templates() -> Environment:
    """Return the console's templates, which are part of the package."""
    found = Environment(
        loader=PackageLoader("charter.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {
        "moment": moment,
        "pretty": pretty,
        "shortened": shortened,
        "named": is_name,
        "coded": coded,
        "seats": told,
    }
    paths = {"principal_path": principal_path, "story_path": story_path, "delegation_path": delegation_path}
    paths["composition_path"] = composition_path
    paths["behaviour_path"] = behaviour_path
    paths |= {"finding_path": finding_path}
    found.globals |= {"words": words, "argument_text": argument_text, **paths}
    return found


def coded(text: str) -> Markup:
    """Return a sentence with what stands between two backticks shown as code; an odd number of them stays as it is."""
    pieces = plain(str(text)).split("`")
    if len(pieces) % 2 == 0:
        return escape("`".join(pieces))
    each = (Markup("<code>{}</code>").format(piece) if at % 2 else escape(piece) for at, piece in enumerate(pieces))
    return Markup().join(each)


def moment(text: str) -> Markup:
    """Return an RFC 3339 time as a person reads it, in UTC to the second, and as a machine does."""
    try:
        at = parse_rfc3339(str(text))
    except ValueError:
        return Markup("{}").format(plain(str(text)))
    return Markup('<time datetime="{}">{}</time>').format(str(text), at.strftime("%Y-%m-%d %H:%M:%S"))


def pretty(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a JSON `value` over several lines; text stands as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def is_name(value: object) -> bool:
    """Whether `value` can be a principal's name, and so be linked to."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def name_of(text: str) -> str:
    """Return a principal's name that stands in a path.

    Raises:
        HTTPException: it can be nobody's; so there is no such page.
    """
    try:
        return parse_name(text)
    except MalformedError:
        raise HTTPException(404) from None


def status_of(error: CharterError | None) -> int:
    """Return the status of a page that tells what became of a form: 200, or that of what is wrong with it."""
    return 200 if error is None else _STATUSES.get(type(error), 400)


def principal_path(name: str, *more: str) -> str:
    """Return the path of a principal's page, or of one below it."""
    return "/".join(["/principals", *(quote(part, safe="", errors="replace") for part in (name, *more))])


def composition_path(name: str) -> str:
    """Return the path of the page that says what a principal is made of."""
    return f"/compositions/{quote(name, safe='', errors='replace')}"


def behaviour_path(name: str) -> str:
    """Return the path of the page that says what a principal usually does."""
    return f"/behaviour/{quote(name, safe='')}"


def finding_path(finding_id: str) -> str:
    """Return the path of a finding's page."""
    return f"/findings/{quote(str(finding_id), safe='', errors='replace')}"


def delegation_path(delegation_id: str) -> str:
    """Return the path of a delegation's page."""
    return f"/delegations/{quote(str(delegation_id), safe='', errors='replace')}"


def story_path(verdict_id: str) -> str:
    """Return the path of a verdict's story."""
    return f"/verdicts/{quote(str(verdict_id), safe='', errors='replace')}"
