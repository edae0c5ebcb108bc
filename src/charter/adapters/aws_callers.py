"""Asks AWS's Security Token Service who signed a request for the caller's identity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from charter.adapters.document_fetch import DocumentFetcher, FetchError, Question
from charter.core.errors import ErrorCode, UnauthenticatedError
from charter.identity.aws_caller import BODY, CONTENT_TYPE, SignedRequest, caller_claims
from charter.registry.issuer import TrustedIssuer

MAX_ANSWER = 16 * 1024  # bytes
_XML = re.compile(r"(?:text|application)/xml")
_REFUSED = re.compile(r"answered with status 4\d\d")


@dataclass(frozen=True, slots=True)
class AwsCallers:
    """Callers as AWS knows them."""

    fetcher: DocumentFetcher

    async def of(self, issuer: TrustedIssuer, request: SignedRequest) -> dict[str, str]:
        """Return what AWS says of who signed `request`.

        Raises:
            UnauthenticatedError: AWS does not accept the signature.
            UnavailableError: AWS cannot be asked, or answers nonsense.
        """
        headers = {"content-type": CONTENT_TYPE, **request.headers}
        question = Question("POST", headers, BODY, _XML, MAX_ANSWER)
        url = str(issuer.sts).rstrip("/") + "/"
        try:
            answer = await self.fetcher.ask(url, question)
        except FetchError as err:
            if _REFUSED.search(err.detail):
                raise UnauthenticatedError(
                    ErrorCode.BAD_TOKEN, "AWS does not accept the signed request", help="sign a fresh one"
                ) from err
            raise
        return _claims(answer.body, url)


def _claims(body: bytes, url: str) -> dict[str, str]:
    nonsense = FetchError(ErrorCode.UPSTREAM_FAILED, f"the Security Token Service at `{url}` answered nonsense")
    if b"<!" in body:  # a document type could make entities of any size
        raise nonsense
    try:
        root = ET.fromstring(body)  # noqa: S314 - without a document type there is nothing to expand
    except ET.ParseError as err:
        raise nonsense from err
    found = {each.tag.rpartition("}")[2]: (each.text or "").strip() for each in root.iter()}
    try:
        return caller_claims(found["Account"], found["Arn"], found["UserId"])
    except KeyError as err:
        raise nonsense from err
