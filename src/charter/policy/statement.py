"""A file of Cedar policies taken apart into statements, each with its place, before Cedar sees it.

Cedar's Python binding says what is wrong with a text but not where, and its parser's stack is not bounded: a thousand
brackets end the process. So the text is read here first, token by token: each statement is bounded, and a fault is
found again by asking for shorter and shorter beginnings.

INVARIANT: no text leaves here that is longer, deeper or has longer chains than the limits below.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from charter.core.values import Source
from charter.registry.problem import EstateError, Problem, suggestion

MAX_STATEMENTS = 500  # in one file
MAX_TOKENS = 4000  # of one statement
MAX_DEPTH = 32  # of brackets
MAX_OPERATORS = 256  # of one statement
MAX_CHAIN = 64  # tokens of one path, `a.b["c"]`
MAX_TEXT = 262_144  # characters of a file

_TOKEN = re.compile(
    r'(?P<skip>\s+|//[^\n]*)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>[0-9]+)'
    r"|(?P<sign>::|==|!=|<=|>=|&&|\|\||[@(){}\[\],;:.<>!+\-*/%=?|])",
    re.DOTALL,
)
_OPERATORS = frozenset({"&&", "||", "+", "-", "*", "!", "==", "!=", "<", ">", "<=", ">=", "else", "in", "has", "like"})
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


@dataclass(frozen=True, slots=True)
class Token:
    """One word or sign, and where in the file it begins."""

    kind: str
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy as written, from its first annotation to its semicolon (which a last one may lack)."""

    path: str
    file: str  # the whole file's text, for places
    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        """The statement's text, comments inside it included."""
        return self.upto(len(self.tokens))

    def upto(self, count: int) -> str:
        """Return the text of the first `count` tokens."""
        last = self.tokens[count - 1]
        return self.file[self.tokens[0].start : last.start + len(last.text)]

    @property
    def source(self) -> Source:
        """Where the statement's effect stands, or else its beginning."""
        effects = (token for token in self.tokens if token.text in ("forbid", "permit") and token.kind == "name")
        return self.source_of(next(effects, self.tokens[0]))

    def source_of(self, token: Token) -> Source:
        """Return where `token` stands."""
        return source_at(self.path, self.file, token.start)

    def find(self, *texts: str) -> Token | None:
        """Return the first token that reads as one of `texts`, bare or as a string."""
        wanted = {*texts, *(f'"{text}"' for text in texts)}
        return next((token for token in self.tokens if token.text in wanted), None)

    def scope(self) -> str:
        """Return the text of the policy's scope, `(principal, action, resource)`."""
        effect = next(i for i, t in enumerate(self.tokens) if t.kind == "name" and t.text in ("forbid", "permit"))
        depth = 0
        for token in self.tokens[effect + 1 :]:
            depth += (token.text in _OPEN) - (token.text in _CLOSE)
            if depth == 0:
                return self.file[self.tokens[effect + 1].start : token.start + 1]
        return ""


def source_at(path: str, text: str, offset: int) -> Source:
    """Return the line and column of `offset`, each from 1."""
    return Source(path, text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))


def split_statements(path: str, text: str) -> list[Statement]:
    """Return the statements of a file.

    Raises:
        EstateError: a character cannot stand in Cedar, a string is never closed, or a limit is passed.
    """
    if len(text) > MAX_TEXT:
        raise EstateError([Problem(path, 1, 1, f"the file is longer than {MAX_TEXT} characters", "split it")])
    statements: list[Statement] = []
    tokens: list[Token] = []
    for token in _tokens(path, text):
        tokens.append(token)
        if token.text == ";" and token.kind == "sign":
            statements.append(_bounded(Statement(path, text, tuple(tokens))))
            tokens = []
        if len(statements) > MAX_STATEMENTS or len(tokens) > MAX_TOKENS:
            what = (
                f"more than {MAX_STATEMENTS} policies" if statements else f"more than {MAX_TOKENS} words in one policy"
            )
            raise EstateError([Problem.at(source_at(path, text, token.start), f"there are {what}", "split it")])
    if tokens:
        statements.append(_bounded(Statement(path, text, tuple(tokens))))
    return statements


def _tokens(path: str, text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            source = source_at(path, text, at)
            if text[at] == '"':
                raise EstateError([Problem.at(source, "this text is never closed", 'end it with `"`')])
            raise EstateError([Problem.at(source, f"{text[at]!a} cannot stand in a policy", "remove it")])
        if found.lastgroup != "skip":
            yield Token(str(found.lastgroup), found[0], at)
        at = found.end()


def _bounded(statement: Statement) -> Statement:
    """Return `statement` if it is within the limits that Cedar's parser is safe in."""
    depth = operators = chain = 0
    for token in statement.tokens:
        depth += (token.text in _OPEN) - (token.text in _CLOSE)
        operators += token.text in _OPERATORS
        in_path = token.kind in ("name", "string") or token.text in (".", "[", "]")
        chain = chain + 1 if in_path else 0
        if depth > MAX_DEPTH or operators > MAX_OPERATORS or chain > MAX_CHAIN:
            problem = Problem.at(
                statement.source_of(token),
                "this policy nests too deeply or is too long for one rule",
                "split it into several `when { }` clauses or policies",
            )
            raise EstateError([problem])
    return statement


# --- faults -----------------------------------------------------------------------------------------------------------

_END = "unexpected end of input"
_VARIABLES = ("principal", "action", "resource", "context")
_FUNCTIONS = ("decimal", "datetime", "duration", "ip")
_TOLD: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    (
        r"unexpected token `(.*)`",
        "`{0}` cannot stand here",
        lambda _: "a sign or word before it is missing or too many",
    ),
    (r"'=' is not a valid operator.*", "`=` compares nothing", lambda _: "write `==`"),
    (r"invalid variable: (.*)", "`{0}` is no variable", lambda word: suggestion(word, _VARIABLES)),
    (r"invalid policy effect: (.*)", "`{0}` is no effect", lambda word: suggestion(word, ("forbid",))),
    (r"invalid policy condition: (.*)", "`{0}` begins no clause", lambda word: suggestion(word, ("when", "unless"))),
    (r"`(.*)` is not a valid function", "there is no function `{0}`", lambda word: suggestion(word, _FUNCTIONS)),
    (r"duplicate annotation: (@.*)", "`{0}` is written twice", lambda _: "keep one"),
    (r"the input `(.*)` is not a valid escape", "`{0}` is no escape", lambda _: "write `\\\\` for a backslash"),
    (r"integer parse error: .*", "the number is too large", lambda _: "whole numbers end at 9223372036854775807"),
    (
        r"found the variable `(.*)` where the variable `.*` must be used",
        "`{0}` stands in the wrong place",
        lambda _: "the scope is `(principal, action, resource)`, in this order",
    ),
)


def syntax_problem(statement: Statement, said: str, parse_fault: Callable[[str], str | None]) -> Problem:
    """Return, in words and at its place, what Cedar `said` of a statement.

    `parse_fault` says what Cedar thinks of another text, None for nothing.
    """
    if said.startswith(_END):
        where = statement.source_of(statement.tokens[-1])
        return Problem.at(where, "the policy is never finished", "close its brackets and end it with `;`")
    for form, text, help in _TOLD:
        found = re.fullmatch(form, said, re.DOTALL)
        if found:
            word = found[1] if found.groups() else "="
            token = _culprit(statement, said, word, parse_fault)
            return Problem.at(statement.source_of(token), text.format(word), help(word.lstrip("@")))
    return Problem.at(_culprit_source(statement, said, parse_fault), f"Cedar says: {said.splitlines()[0][:200]}", None)


def _culprit_source(statement: Statement, said: str, parse_fault: Callable[[str], str | None]) -> Source:
    return statement.source_of(_culprit(statement, said, "", parse_fault))


def _culprit(statement: Statement, said: str, word: str, parse_fault: Callable[[str], str | None]) -> Token:
    """Return the token at fault: the one after which a beginning of the statement cannot be finished any more."""
    low, high = 1, len(statement.tokens)
    while low < high:
        middle = (low + high) // 2
        fault = parse_fault(statement.upto(middle))
        if fault is None or fault.startswith(_END):
            low = middle + 1
        else:
            high = middle
    last = statement.tokens[low - 1]
    if word and word not in last.text and "unexpected token" not in said:
        # not a matter of grammar: Cedar saw it only once the statement was complete
        return next((token for token in statement.tokens if word in token.text), statement.tokens[0])
    return last
