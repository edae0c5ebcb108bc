"""What happens to somebody who has just signed in: their cookie, and the way on to where they were going."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from charter.console.door import LINKED
from charter.console.render import console_of


def signed_in(request: Request, session_id: str) -> Response:
    """Return the answer that opens the session in the browser and leads on."""
    address = console_of(request).signin.address
    answer = RedirectResponse(address.next_of(request.headers.getlist("cookie"), LINKED), 303)
    answer.headers.append("set-cookie", address.set_cookie(session_id))
    answer.headers.append("set-cookie", address.set_next_cookie(""))
    return answer
