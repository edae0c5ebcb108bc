"""Sightings -> findings: one AI system for each place.

Code belongs to the nearest package around it (the folder of a manifest), a pipeline or low-code workflow to its file,
an assistant to the folder it works in. A package's own name is no use of a package so called. What only names a model
is no finding. Of code, examples and tests, the first that shows anything says what the finding is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from charter.core.canonical import digest_of
from charter.discovery.assistants import GENERIC
from charter.discovery.describe import evidence_of, name_of, risk_of, title_of
from charter.discovery.file import setting_of
from charter.discovery.findings import MAX_SIGHTINGS_TOLD, ScanFinding
from charter.discovery.sighting import Confidence, FindingKind, Sighting, SightingKind, clean_path
from charter.registry.charter import Kind

_ID_DIGITS = 12
_SETTINGS = ("code", "examples", "tests")
_STRONG = frozenset(
    {SightingKind.SDK, SightingKind.ENDPOINT, SightingKind.DEPENDENCY, SightingKind.KEY, SightingKind.CI_STEP}
)
_USES = frozenset({SightingKind.SDK, SightingKind.ENDPOINT, SightingKind.CI_STEP})
# what a system suggests most: someone who drives a browser also calls a model
_KINDS = (
    Kind.BROWSER_AGENT,
    Kind.COPILOT,
    Kind.AGENT,
    Kind.SAAS_FEATURE,
    Kind.DEVELOPER_ASSISTANT,
    Kind.WORKFLOW,
    Kind.MODEL_INTEGRATION,
)
_REQUIREMENT_FOLDERS = frozenset({"requirements", "reqs", "deps", "dependencies"})
_OPEN_MODELS = frozenset({"meta", "alibaba"})
MAX_VALUES = 50  # of models, servers and the like in one finding


@dataclass(frozen=True, slots=True)
class Checkout:
    """The checkout the sightings are from. `packages`: folder of a manifest -> the names it gives its package."""

    origin: str
    prefix: str
    name: str
    packages: Mapping[str, set[str]]

    def package_of(self, path: str) -> str:
        """Return the folder of the package that the file at `path` belongs to; without one, its outermost folder."""
        folder = path.rpartition("/")[0]
        first = folder.partition("/")[0]
        while folder not in self.packages or folder.rpartition("/")[2] in _REQUIREMENT_FOLDERS:
            if not folder:
                return first if "" not in self.packages else ""
            folder = folder.rpartition("/")[0]
        return folder

    def is_own(self, path: str, module: str) -> bool:
        """Whether `module` is the package that the file at `path` itself belongs to."""
        top = _normal(module) if module.startswith("@") or "/" in module else _normal(module.partition(".")[0])
        return any(
            top in {_normal(name) for name in names}
            for folder, names in self.packages.items()
            if folder == "" or path.startswith(f"{folder}/")
        )


@dataclass(frozen=True, slots=True, order=True)
class _Anchor:
    """What one finding stands on."""

    kind: FindingKind
    path: str
    product: str = ""


def merged(sightings: Iterable[Sighting], checkout: Checkout) -> tuple[ScanFinding, ...]:
    """Return the findings, code first, then by place."""
    own: dict[tuple[str, str], bool] = {}
    foreign: list[Sighting] = []
    for each in sightings:
        if each.module is not None:
            place = (each.path.rpartition("/")[0] + "/", each.module)
            if own.setdefault(place, checkout.is_own(*place)):
                continue
        foreign.append(each)
    groups: dict[_Anchor, list[Sighting]] = {}
    for anchor, each in _anchored(foreign, checkout):
        groups.setdefault(anchor, []).append(each)
    found = [finding for anchor, group in groups.items() if (finding := _finding(anchor, group, checkout))]
    return tuple(sorted(found, key=lambda f: (_SETTINGS.index(f.setting), f.kind.value, f.path, f.fingerprint)))


# --- which finding a sighting belongs to ---


def _anchored(sightings: list[Sighting], checkout: Checkout) -> Iterator[tuple[_Anchor, Sighting]]:
    bases = {
        (each.product or "", _base(each.path))
        for each in sightings
        if each.place is FindingKind.ASSISTANT and each.kind is SightingKind.MCP_SERVER
    }
    products = {each.product or "" for each in sightings if each.place is FindingKind.ASSISTANT} - {GENERIC}
    files: dict[str, _Anchor] = {}
    keys: list[Sighting] = []
    for each in sightings:
        if each.kind is SightingKind.KEY:
            keys.append(each)
            continue
        anchor = _anchor(each, checkout, bases, products)
        files.setdefault(each.path, anchor)
        yield anchor, each
    for each in keys:
        yield files.get(each.path) or _anchor(each, checkout, bases, products), each


def _anchor(sighting: Sighting, checkout: Checkout, bases: set[tuple[str, str]], products: set[str]) -> _Anchor:
    match sighting.place:
        case FindingKind.APPLICATION:
            return _Anchor(FindingKind.APPLICATION, checkout.package_of(sighting.path))
        case FindingKind.ASSISTANT:
            product = sighting.product or ""
            if product == GENERIC and products:
                product = min(products)
            return _Anchor(FindingKind.ASSISTANT, _nearest(product, _base(sighting.path), bases), product)
        case FindingKind.FEATURE:
            return _Anchor(FindingKind.FEATURE, "", sighting.product or "")
        case _:
            return _Anchor(sighting.place, sighting.path)


def _base(path: str) -> str:
    """Return the folder an assistant works in, by one of its files: the folder of `.cursor/`, or the file's own."""
    parts = path.split("/")[:-1]
    hidden = next((i for i, part in enumerate(parts) if part.startswith(".")), len(parts))
    return "/".join(parts[:hidden])


def _nearest(product: str, base: str, bases: set[tuple[str, str]]) -> str:
    while (product, base) not in bases and base:
        base = base.rpartition("/")[0]
    return base


# --- one finding ---


def _finding(anchor: _Anchor, group: list[Sighting], checkout: Checkout) -> ScanFinding | None:
    group = sorted(_worth_telling(anchor, group), key=_rank)
    if not group:
        return None
    setting = min((setting_of(each.path) for each in group), key=_SETTINGS.index)
    telling = [each for each in group if setting_of(each.path) == setting]
    suggests = _suggested(telling)
    path = anchor.path or "."
    finding = ScanFinding(
        id="",
        fingerprint=_fingerprint(anchor, checkout),
        kind=anchor.kind,
        suggests=suggests,
        title="",
        where=f"{telling[0].path}:{telling[0].line}",
        confidence=_confidence(telling, setting),
        evidence="",
        risk="",
        proposes="",
        path=clean_path(checkout.prefix + anchor.path) or ".",
        setting=setting,
        origin=clean_path(checkout.origin),
        providers=_providers(telling),
        models=_values(each.model for each in telling),
        servers=tuple({each.server: None for each in telling if each.server})[:MAX_VALUES],
        keys=tuple({each.key.digest: each.key for each in group if each.key}.values())[:MAX_VALUES],
        reaches=_values(note.partition(":")[2] for e in telling for note in e.notes if note.startswith("reaches:")),
        sightings=tuple(group[:MAX_SIGHTINGS_TOLD]),
        sightings_in_all=len(group),
    )
    return replace(
        finding,
        id=finding.fingerprint.removeprefix("sha256:")[:_ID_DIGITS],
        title=title_of(finding, clean_path(path), anchor.product),
        evidence=evidence_of(finding, telling),
        risk=risk_of(finding, group),
        proposes=name_of(finding, checkout.name, anchor.product),
    )


def _worth_telling(anchor: _Anchor, group: list[Sighting]) -> list[Sighting]:
    """Return the sightings that make a finding, without repetition; none if they only name models."""
    unique = list({(each.kind, each.path, each.line, each.what): each for each in group}.values())
    if anchor.kind is not FindingKind.APPLICATION:
        return unique
    if not any(each.kind in _STRONG for each in unique):
        return []
    using = {each.path for each in unique if each.kind in _USES}
    return [each for each in unique if each.kind is not SightingKind.MODEL or each.provider or each.path in using]


def _rank(sighting: Sighting) -> tuple[int, bool, int, str, int]:
    """Return what sorts the surest first."""
    weak = sighting.kind in (SightingKind.MODEL, SightingKind.DEPENDENCY, SightingKind.CI_KEY)
    setting = _SETTINGS.index(setting_of(sighting.path))
    return setting, sighting.confidence is Confidence.INFERRED, int(weak), sighting.path, sighting.line


def _suggested(telling: list[Sighting]) -> Kind:
    """Return the kind that what is used suggests, else what is listed or named."""
    strongest = [each for each in telling if each.kind not in (SightingKind.MODEL, SightingKind.DEPENDENCY)]
    kinds = {each.suggests for each in (strongest or telling) if each.kind is not SightingKind.KEY}
    return next((kind for kind in _KINDS if kind in kinds), Kind.MODEL_INTEGRATION)


def _confidence(telling: list[Sighting], setting: str) -> Confidence:
    """A finding is declared where code or a configuration says so; a listed dependency or a lone key is a hint."""
    sure = any(
        each.confidence is Confidence.DECLARED
        and each.kind not in (SightingKind.DEPENDENCY, SightingKind.KEY, SightingKind.MODEL)
        for each in telling
    )
    return Confidence.DECLARED if sure and setting != "tests" else Confidence.INFERRED


def _fingerprint(anchor: _Anchor, checkout: Checkout) -> str:
    place = clean_path(checkout.prefix + anchor.path)
    return digest_of([clean_path(checkout.origin), anchor.kind.value, place, anchor.product])


def _providers(telling: list[Sighting]) -> tuple[str, ...]:
    """Return whose models are called: whoever's SDK, API or key it is; if that leaves it open, whose models are named.

    Open models are served by many, so their maker is nobody's provider.
    """
    certain = [each for each in telling if each.kind is not SightingKind.MODEL]
    is_open = any(each.provider is None for each in certain if each.kind is not SightingKind.KEY)
    named = [each for each in telling if each.kind is SightingKind.MODEL and each.provider not in _OPEN_MODELS]
    if not is_open and any(each.provider for each in certain):
        named = []
    return _values(each.provider for each in (*certain, *named))


def _values(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))[:MAX_VALUES]


def _normal(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
