"""A session's graph as text for other tools (DOT, Mermaid) and as SVG, drawn here without a script or a program.

The SVG has the calls in a column, in order, and what came from where as arcs at their right: no two arcs share a lane
while they overlap, so nothing crosses a box. By itself, a long session has several columns; what comes from another
column is an arrow that says which step. It is named and described for those who do not see it.

INVARIANT: names come from callers, tools and models; whatever they hold, a label stays a label in each of the forms.
"""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from charter.evidence.neutral import cut_to, one_line
from charter.reports.session import Edge, EdgeKind, Graph, Node

MAX_DRAWN = 300  # nodes
MAX_ROWS = 40  # of a column of a drawing by itself
MAX_LABEL = 44  # characters
LEFT, WIDTH, ROW, BOX, LANE, TOP = 10, 440, 62, 46, 22, 10
LABELS = 190  # what stands at the right of a column's lanes
ARROWS = 3  # into one box, that have a height and a label of their own
GAP = 11  # between arcs that lead into one box
MAX_LANES = 12
_NO_XML = re.compile("[\ufffe\uffff]")  # characters that no XML may hold, beside those that no line does
_PLAIN = re.compile(r"[A-Za-z0-9 _./*:@-]")
_STYLE = (
    "svg{font:13px system-ui,sans-serif;--t:#1b2024;--f:#535c64;--l:#7c868d;--b:#fff}"
    ".g-ground{fill:var(--b)}.g-box{fill:none;stroke:var(--l)}.g-text{fill:var(--t)}.g-note{fill:var(--f);font-size:11px}"
    ".g-edge{fill:none;stroke:var(--l)}.g-head{fill:var(--l)}"
    ".g-values{stroke:#b3262d}.g-proposed,.g-lent{stroke-dasharray:4 3}"
    ".g-allow .g-box{stroke:#14592b;stroke-width:2}.g-deny .g-box{stroke:#9b1c22;stroke-width:2}"
    ".g-escalate .g-box{stroke:#8a5a00;stroke-width:2}.g-source .g-box{stroke-dasharray:3 3}"
    "@media(prefers-color-scheme:dark){svg{--t:#e5e9ec;--f:#a4aeb6;--l:#7d8992;--b:#14181b}}"
)


def label_of(text: str, longest: int = MAX_LABEL) -> str:
    """Return a text as a label: one line of what can be seen, not longer than that."""
    return cut_to(_NO_XML.sub("?", one_line(text, 4 * longest)), longest)


def words_of(node: Node) -> str:
    """Return what a node says in one line."""
    if node.step is None:
        return node.label
    number = f"{node.step.number}. " if node.step.number is not None else ""
    return f"{number}{node.label} ({node.step.verdict})"


def to_dot(graph: Graph) -> str:
    """Return the graph in Graphviz's language."""
    ids = _ids(graph)
    lines = [f"digraph session {{\n  label={_quoted(graph.title)};\n  node [shape=box];"]
    for node in graph.nodes:
        text = f"{label_of(words_of(node), 80)}\n{label_of(node.note, 80)}".strip()
        lines.append(f"  {ids[node.id]} [label={_quoted(text)}, class={_quoted(_class_of(node))}];")
    for edge in _drawn(graph, ids):
        style = ", style=dashed" if edge.kind in (EdgeKind.PROPOSED, EdgeKind.LENT) else ""
        color = ", color=red" if edge.kind is EdgeKind.VALUES else ""
        label = _quoted(label_of(edge.label, 80))
        lines.append(f"  {ids[edge.source]} -> {ids[edge.target]} [label={label}{style}{color}];")
    return "\n".join([*lines, "}"]) + "\n"


def to_mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart."""
    ids = _ids(graph)
    lines = ["flowchart TD"]
    lines += [f'  {ids[node.id]}["{_entities(label_of(words_of(node), 80))}"]' for node in graph.nodes]
    for edge in _drawn(graph, ids):
        arrow = "-.->" if edge.kind in (EdgeKind.PROPOSED, EdgeKind.LENT) else "==>" if edge.label else "-->"
        label = f'|"{_entities(label_of(edge.label, 80))}"|' if edge.label else ""
        lines.append(f"  {ids[edge.source]} {arrow}{label} {ids[edge.target]}")
    return "\n".join(lines) + "\n"


def _ids(graph: Graph) -> dict[str, str]:
    """Return a plain name for each node: none of its own gets into a drawing."""
    return {node.id: f"n{number}" for number, node in enumerate(graph.nodes)}


def _drawn(graph: Graph, ids: Mapping[str, object]) -> list[Edge]:
    return [edge for edge in graph.edges if edge.source in ids and edge.target in ids]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _entities(text: str) -> str:
    return "".join(each if _PLAIN.fullmatch(each) else f"#{ord(each)};" for each in text)


def _class_of(node: Node) -> str:
    return node.step.verdict if node.step is not None else "source"


# --- SVG --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Arc:
    edge: Edge
    first: int  # rows
    last: int
    lane: int
    number: int  # among those that lead into the same box


@dataclass(frozen=True, slots=True)
class _Column:
    nodes: Sequence[Node]
    arcs: Sequence[_Arc]
    entering: Sequence[tuple[Edge, str, int, int]]  # from another column: its label, the row, the number as of an arc
    into: Mapping[int, int]  # row -> how many lead into it

    @property
    def labels(self) -> int:
        """Where the labels begin."""
        return LEFT + WIDTH + 14 + (1 + max((arc.lane for arc in self.arcs), default=-1)) * LANE

    @property
    def width(self) -> int:
        """How wide it is, with its labels."""
        return self.labels - 14 + LABELS


def to_svg(graph: Graph, *, links: Mapping[str, str] | None = None, alone: bool = True) -> str:
    """Return the graph as an SVG document, or without `alone` as an element of a page that has the styles.

    Args:
        graph: what is drawn, as far as there is room.
        links: addresses of nodes, by their ids.
        alone: whether it stands by itself, with its styles in it.
    """
    nodes = graph.nodes[:MAX_DRAWN]
    columns = _columns(graph, nodes, -(-len(nodes) // MAX_ROWS) if alone else 1)
    width, tallest = sum(each.width for each in columns), max(len(each.nodes) for each in columns)
    height = TOP + ROW * tallest + 10
    size = {"viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height)}
    named = {"role": "img", "aria-labelledby": "graph-title graph-text", "class": "graph"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg"} | size | named)
    _add(root, "title", {"id": "graph-title"}, label_of(graph.title, 120))
    _add(root, "desc", {"id": "graph-text"}, _described(graph, nodes))
    if alone:
        _add(root, "style", {}, _STYLE)
        _add(root, "rect", {"class": "g-ground", "width": str(width), "height": str(height)})
    left = 0
    for column in columns:
        _column(_add(root, "g", {"transform": f"translate({left} 0)"}), column, links or {})
        left += column.width
    if len(graph.nodes) > len(nodes):
        text = f"and {len(graph.nodes) - len(nodes)} more that are not drawn: charter graph, without --plot, tells all"
        _add(root, "text", {"class": "g-note", "x": str(LEFT), "y": str(height - 2)}, text)
    return ET.tostring(root, encoding="unicode")


def _columns(graph: Graph, nodes: Sequence[Node], count: int) -> list[_Column]:
    """Return the nodes in so many columns of about the same height, each with what leads into it."""
    tall = -(-len(nodes) // max(count, 1))
    place = {node.id: divmod(at, max(tall, 1)) for at, node in enumerate(nodes)}
    by = {node.id: node for node in nodes}
    edges = [each for each in _drawn(graph, place) if each.kind is not EdgeKind.NEXT]
    columns = []
    for number in range(max(count, 1)):
        own = nodes[number * tall : (number + 1) * tall]
        rows = {node.id: row for row, node in enumerate(own)}
        arcs = _arcs([each for each in edges if each.source in rows and each.target in rows], rows)
        into = Counter(rows[arc.edge.target] for arc in arcs)
        entering = []
        for edge in edges:
            if edge.target in rows and edge.source not in rows:
                row = rows[edge.target]
                entering.append((edge, _entering(edge, by[edge.source]), row, into[row]))
                into[row] += 1
        columns.append(_Column(own, arcs, entering, into))
    return columns


def _entering(edge: Edge, source: Node) -> str:
    step = source.step.number if source.step is not None else None
    origin = f"step {step}" if step is not None else label_of(source.label, 14)
    return f"{label_of(edge.label, 14)} ← {origin}".strip()


def _column(parent: ET.Element, column: _Column, links: Mapping[str, str]) -> None:
    for number, (one, other) in enumerate(itertools.pairwise(column.nodes)):
        if one.step is not None and other.step is not None:
            _line(parent, number)
    for arc in column.arcs:
        _arc(parent, arc)
        _label(parent, column, arc.last, arc.number, label_of(arc.edge.label, 30))
    for edge, label, row, number in column.entering:
        end = _end(row, number)
        _arrow(parent, f"M{column.labels - 4} {end}", end, edge.kind)
        _label(parent, column, row, number, label)
    for row, node in enumerate(column.nodes):
        _box(parent, row, node, links.get(node.id))


def _described(graph: Graph, nodes: Sequence[Node]) -> str:
    """Return the graph in words, for those who do not see it."""
    said = [label_of(words_of(node), 100) for node in nodes]
    by = {node.id: label_of(words_of(node), 60) for node in nodes}
    told = [
        f"{label_of(edge.label, 80)}: from {by[edge.source]} into {by[edge.target]}"
        for edge in _drawn(graph, by)
        if edge.label
    ]
    return ". ".join([*said, *told])


def _arcs(edges: Sequence[Edge], rows: Mapping[str, int]) -> list[_Arc]:
    """Return each edge with a lane of its own as far as it reaches."""
    taken: list[list[tuple[int, int]]] = []
    into: Counter[int] = Counter()
    arcs = []
    for edge in sorted(edges, key=lambda each: abs(rows[each.target] - rows[each.source])):
        first, last = sorted((rows[edge.source], rows[edge.target]))
        free = next((n for n, lane in enumerate(taken) if all(last < a or b < first for a, b in lane)), len(taken))
        if free == len(taken) and free < MAX_LANES:
            taken.append([])
        lane = min(free, MAX_LANES - 1)
        taken[lane].append((first, last))
        arcs.append(_Arc(edge, rows[edge.source], rows[edge.target], lane, into[rows[edge.target]]))
        into[rows[edge.target]] += 1
    return arcs


def _add(parent: ET.Element, name: str, attributes: Mapping[str, str], text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, name, dict(attributes))
    element.text = text
    return element


def _line(root: ET.Element, row: int) -> None:
    x, y = LEFT + 24, TOP + row * ROW + BOX
    end = y + ROW - BOX
    _add(root, "path", {"class": "g-edge", "d": f"M{x} {y}V{end - 5}"})
    _add(root, "path", {"class": "g-head", "d": f"M{x - 4} {end - 6}L{x} {end}L{x + 4} {end - 6}Z"})


def _end(row: int, number: int) -> int:
    """Return at which height an arrow leads into a box, the one of a number among those that do."""
    return TOP + row * ROW + 6 + GAP * min(number, ARROWS - 1)


def _arc(root: ET.Element, arc: _Arc) -> None:
    lane = LEFT + WIDTH + 14 + arc.lane * LANE
    start, end = TOP + arc.first * ROW + BOX - 8, _end(arc.last, arc.number)
    _arrow(root, f"M{LEFT + WIDTH} {start}H{lane}V{end}", end, arc.edge.kind)


def _label(root: ET.Element, column: _Column, row: int, number: int, text: str) -> None:
    """Write what leads into a box beside it; where that is more than has room, how many more there are."""
    more = column.into[row] - ARROWS + 1
    if number == ARROWS - 1 and more > 1:
        text = f"and {more} more"
    if text and number < ARROWS:
        at = {"class": "g-note", "x": str(column.labels), "y": str(_end(row, number) + 4)}
        _add(root, "text", at, text)


def _arrow(root: ET.Element, way: str, end: int, kind: EdgeKind) -> None:
    """Draw a way to the right edge of a box, at the height `end`, with its head."""
    x = LEFT + WIDTH
    _add(root, "path", {"class": f"g-edge g-{kind.value}", "d": f"{way}H{x + 6}"})
    _add(root, "path", {"class": "g-head", "d": f"M{x + 7} {end - 4}L{x + 1} {end}L{x + 7} {end + 4}Z"})


def _box(root: ET.Element, row: int, node: Node, link: str | None) -> None:
    parent = _add(root, "a", {"href": link}) if link is not None else root
    group = _add(parent, "g", {"class": f"g-node g-{_class_of(node)}"})
    y = TOP + row * ROW
    shape = {"class": "g-box", "x": str(LEFT), "y": str(y), "width": str(WIDTH), "height": str(BOX), "rx": "6"}
    _add(group, "rect", shape)
    _add(group, "text", {"class": "g-text", "x": str(LEFT + 12), "y": str(y + 19)}, label_of(words_of(node), 54))
    if node.note:
        _add(group, "text", {"class": "g-note", "x": str(LEFT + 12), "y": str(y + 36)}, label_of(node.note, 64))


DRAWINGS: dict[str, Callable[[Graph], str]] = {"dot": to_dot, "mermaid": to_mermaid, "svg": to_svg}
