"""Charter inside a program: ask before acting, carry the answer out, and say why where it is no.

    from charter.sdk import Charter, governed

    charter = Charter()                       # under `charter run`; else Charter(url, headers=…)

    @governed(charter, system="records", action="write", object=lambda id, **_: f"record/{id}")
    def write_record(id: str, text: str) -> None: ...

The program is an enforcement point of its own tools (`enforcement` in the system's file): every question is a verdict,
decided outside the program and durable before it is answered. What the program does with the answer is the program's;
where that must not be trusted, let the calls go through the gateways instead.
"""

from __future__ import annotations

from charter.sdk.answer import Allowed, Answer, CallDenied, CallHeld, CharterUnavailable, Denied, Held
from charter.sdk.client import AsyncCharter, Charter
from charter.sdk.decorator import governed

__all__ = [
    "Allowed",
    "Answer",
    "AsyncCharter",
    "CallDenied",
    "CallHeld",
    "Charter",
    "CharterUnavailable",
    "Denied",
    "Held",
    "governed",
]
