"""A charter's file with some of it changed: comments, order and layout stay where nothing changes.

INVARIANT: the caller reads the text back and compares it with the charter that was meant; here nothing is promised.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

_LAYOUTS = ((2, 4, 2), (2, 2, 0), (4, 4, 2), (4, 4, 0), (4, 6, 4))  # mapping, sequence, offset: as people write them


def redraft(text: str, before: Mapping[str, Any], after: Mapping[str, Any], grants: Sequence[Any]) -> str:
    """Return `text`, which says `before`, changed to say `after`.

    Args:
        text: a charter's file, which was read and found good.
        before: what it says, as JSON.
        after: what it shall say.
        grants: for each grant of `before`, what it becomes; None if it goes.

    Raises:
        YAMLError: the text cannot be read.
    """
    for layout in _LAYOUTS:
        if _written(_yaml(layout), _yaml(layout).load(text)) == text:
            break
    else:
        layout = _LAYOUTS[0]
    yaml = _yaml(layout)
    document = yaml.load(text)
    plain = {name: each for name, each in after.items() if name != "grants"}
    _change(document, {name: each for name, each in before.items() if name != "grants"}, plain)
    places = list(enumerate(grants))
    for place, becomes in reversed(places):
        if becomes is None:
            del document["grants"][place]
        else:
            _change(document["grants"][place], before["grants"][place], becomes)
    if "grants" in document and not document["grants"]:
        document["grants"] = CommentedSeq()
        document["grants"].fa.set_flow_style()
    return _written(yaml, document)


def _yaml(layout: tuple[int, int, int]) -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    yaml.indent(mapping=layout[0], sequence=layout[1], offset=layout[2])
    return yaml


def _written(yaml: YAML, document: Any) -> str:  # noqa: ANN401
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _change(node: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:  # noqa: ANN401
    """Change the mapping `node`, which says `before`, to say `after`."""
    for name in [each for each in before if each not in after]:
        node.pop(name, None)
    for name, becomes in after.items():
        was = before.get(name)
        if was == becomes:
            continue
        own = node.get(name)
        if isinstance(own, CommentedMap) and isinstance(was, Mapping) and isinstance(becomes, Mapping):
            _change(own, was, becomes)
        elif isinstance(own, CommentedSeq) and isinstance(was, list) and isinstance(becomes, list):
            _change_list(own, was, becomes)
        else:
            node[name] = _new(becomes)


def _change_list(node: CommentedSeq, before: Sequence[Any], after: Sequence[Any]) -> None:
    if len(node) != len(before):
        before = list(node)  # written otherwise than it reads
    if len(before) == len(after) and all(isinstance(each, Mapping) for each in (*before, *after)):
        for own, was, becomes in zip(node, before, after, strict=True):
            _change(own, was, becomes)
        return
    left = list(after)
    for place in reversed(range(len(before))):
        if left and before[place] == left[-1]:
            left.pop()
        else:
            del node[place]
    if left:  # it says something new
        node[:] = [_new(each) for each in after]


def _new(value: Any) -> Any:  # noqa: ANN401
    match value:
        case Mapping():
            mapping = CommentedMap((name, _new(each)) for name, each in value.items())
            mapping.fa.set_flow_style()
            return mapping
        case list() | tuple():
            sequence = CommentedSeq(_new(each) for each in value)
            sequence.fa.set_flow_style()
            return sequence
        case _:
            return value
