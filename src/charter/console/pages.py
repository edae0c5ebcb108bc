"""The console: pages, each an answer to one of the questions, for people without a command line at hand.

    which AI system acted?                              /verdicts
    under what authority?                               /principals/NAME
    what had it read by then?                           /principals/NAME/sessions
    against which resources?                            /, /review, /pictures
    is it what was approved?                            /compositions
    with what evidence?                                 /verdicts/vrd_…
    how is that authority changed or withdrawn?         /principals/NAME/MOVE, /approvals, /plans, /delegations

Pages translate: they ask the desk once, and show what it says. They decide nothing. All of them stand behind the
door, which lets nobody in who is not signed in; every form works without JavaScript.
"""

from __future__ import annotations

from importlib import resources

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from charter.console import (
    approval_pages,
    behaviour_pages,
    composition_pages,
    consent_pages,
    credential_pages,
    delegation_pages,
    evidence_pages,
    finding_pages,
    keeping_pages,
    link_pages,
    passkey_pages,
    picture_pages,
    plan_pages,
    principal_pages,
    rule_pages,
    session_pages,
    signin_pages,
    sink_pages,
    size_pages,
    stand_in_pages,
    terminal_pages,
)
from charter.console.challenges import Challenges
from charter.console.desk import Desk
from charter.console.door import BROKEN, Door, Refusal, admitted
from charter.console.render import Console, templates
from charter.console.signin import SignIn
from charter.console.terminal import Terminals
from charter.core.errors import (
    AbsentError,
    CharterError,
    ConflictError,
    DeniedError,
    MalformedError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from charter.identity.asking import Consents
from charter.identity.single_signon import SingleSignOn

_PAGES = (
    consent_pages,
    passkey_pages,
    terminal_pages,
    signin_pages,
    link_pages,
    finding_pages,
    keeping_pages,
    picture_pages,
    plan_pages,
    session_pages,
    rule_pages,
    sink_pages,
    size_pages,
    stand_in_pages,
    principal_pages,
    evidence_pages,
    approval_pages,
)
_STATIC = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "passkey.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def console_app(
    desk: Desk,
    signin: SignIn,
    signon: SingleSignOn | None = None,
    consents: Consents | None = None,
    issuer: str | None = None,
) -> Door:
    """Return the console over `desk`, for who signs in through `signin` or the provider of `signon`.

    `consents` are shared with the token endpoint, which devices ask; `issuer` is who answers (RFC 9207). Its `app`
    holds the routes.
    """
    console = Console(
        desk,
        signin,
        signon,
        Terminals(signin),
        Challenges(signin.clock, signin.entropy),
        consents or Consents(signin.clock, signin.entropy),
        issuer or signin.address.origin,
        templates(),
    )
    app = FastAPI(title="Charter console", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.console = console
    for pages in _PAGES:
        app.include_router(pages.router)
    app.include_router(delegation_pages.router)
    app.include_router(credential_pages.router)
    app.include_router(composition_pages.router)
    app.include_router(behaviour_pages.router)
    _serve_static(app)
    _tell_errors(app, console)
    return Door(app, signin, console.refusal, console.bounce)


def refusal_of(error: CharterError) -> Refusal:
    """Return `error` as a page tells it."""
    match error:
        case MalformedError():
            status = 400
        case UnauthenticatedError() | DeniedError():
            status = 403
        case AbsentError():
            status = 404
        case ConflictError():
            status = 409
        case ThrottledError():
            status = 429
        case UnavailableError():
            status = 503
        case _:
            status = 500
    return Refusal(status, error.detail, error.help or "")


def _serve_static(app: FastAPI) -> None:
    """Serve the files of the table above, read once, and no others: a path never reaches the file system."""
    folder = resources.files("charter.console") / "static"
    kept = {name: (folder / name).read_bytes() for name in _STATIC}

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in kept:
            raise HTTPException(404)
        return Response(kept[name], media_type=_STATIC[name])


def _tell_errors(app: FastAPI, console: Console) -> None:
    """Show every error as a page of the console's own."""

    @app.exception_handler(CharterError)
    async def known(request: Request, error: CharterError) -> Response:
        page = console.refusal(refusal_of(error), admitted(request).visitor)
        if isinstance(error, ThrottledError | UnavailableError):
            page.headers["retry-after"] = str(error.retry_after_seconds)
        return page

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        absent = Refusal(error.status_code, "there is no such page", "start at the inventory")
        wrong = Refusal(error.status_code, "this page does not take that", "start at the inventory")
        return console.refusal(absent if error.status_code == 404 else wrong, admitted(request).visitor)  # noqa: PLR2004 - HTTP's own

    @app.exception_handler(Exception)
    async def broken(request: Request, _error: Exception) -> Response:
        return console.refusal(BROKEN, admitted(request).visitor)
