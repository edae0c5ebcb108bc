"""SVG of our own, rastered to PNG by resvg: no script, no network, no file but the system's fonts.

resvg knows no CSS variables and no media queries: the light palette is put in before. Only SVG that this package drew
comes here, in which every name is text (`reports/picture_svg.py`, `session_drawing.py`).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from functools import lru_cache

from charter.core.errors import ErrorCode, UnavailableError

SCALE = 2  # pixels to a unit, of drawings up to
MAX_SHARP = 8_000_000  # square units; of larger ones, one: 4 bytes a pixel are held in memory
MAX_AREA = 20_000_000  # square units; a session of 300 calls fits
FAMILIES = ("DejaVu Sans", "Noto Sans", "Liberation Sans", "Segoe UI", "Helvetica", "Arial")
_STYLE = "{http://www.w3.org/2000/svg}style"
_VARIABLE = re.compile(r"--([a-z0-9-]+):([^;}]+)")


def png_of(svg: str) -> bytes:
    """Return a drawing of ours as PNG, light, two pixels to a unit, of a large one one.

    Raises:
        UnavailableError: this machine has no font to write with, or the drawing is too large.
    """
    ET.register_namespace("", "http://www.w3.org/2000/svg")
    root = ET.fromstring(svg)  # noqa: S314 - drawn by this package, with no entities
    area = int(root.get("width", "0")) * int(root.get("height", "0"))
    if area > MAX_AREA:
        raise UnavailableError(ErrorCode.TOO_LARGE, "the drawing is too large for a PNG", help="write .svg")
    for style in root.iter(_STYLE):
        style.text = settled(style.text or "", _family())
    return _rastered(ET.tostring(root, encoding="unicode"), _family(), SCALE if area <= MAX_SHARP else 1)


def settled(style: str, family: str) -> str:
    """Return styles without variables, media queries and fonts that may not be there."""
    plain = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*\}", "", style)
    values = dict(_VARIABLE.findall(plain))
    plain = re.sub(r"svg\{[^}]*\}", "", plain)
    plain = re.sub(r"var\(--([a-z0-9-]+)\)", lambda found: values[found[1]], plain)
    return f"svg{{font-family:'{family}';font-size:13px}}{plain}"


@lru_cache(maxsize=1)
def _family() -> str:
    """Return a family of fonts that this machine has: one whose letters leave ink."""
    probe = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><text y="15" font-size="13">{}</text></svg>'
    for family in FAMILIES:
        if _rastered(probe.format("AB"), family, 1) != _rastered(probe.format(""), family, 1):
            return family
    text = "this machine has no font, so a PNG would have no words"
    raise UnavailableError(ErrorCode.UNSUPPORTED, text, help="install one (apt-get install fonts-dejavu-core), or .svg")


def _rastered(svg: str, family: str, scale: int) -> bytes:
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_family=family, sans_serif_family=family, zoom=scale))
