"""`--plot`: pictures in the terminal, or to a file of SVG or PNG.

In the terminal a picture is text of at most 80 columns that says the same without colour: heat by shades, series by
signs of their own, and each with its number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, assert_never

import typer
from rich.cells import cell_len, set_cell_size
from rich.text import Text
from typer.core import TyperCommand
from typing_extensions import override

from charter.adapters import whole_file
from charter.cli.output import clean, out, say
from charter.core.errors import ErrorCode, MalformedError, UnavailableError
from charter.reports.picture import Bars, Flow, Grid, Picture, Place, Timeline

TERMINAL = "-"
SUFFIXES = (".svg", ".png")
WIDTH = 80  # columns
NAMES, LINKS, LINES = 24, 3, 10
MARKED = 3  # every third column has room for its two digits
SHADES = "·░▒▓█#"
SIGNS = "█▓▒░+."
COLOURS = ("blue", "yellow", "magenta", "cyan", "white", "dim")
Plot = Annotated[
    str | None,
    typer.Option("--plot", metavar="[FILE.svg|FILE.png]", help="Draw it: in the terminal, or to a file."),
]


class Plotting(TyperCommand):
    """A command whose `--plot` may stand without a file."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, `--plot` alone as the terminal; refuse a file that is no picture."""
        left = super().parse_args(ctx, with_terminal(args))
        plot = ctx.params.get("plot")
        if plot not in (None, TERMINAL) and not plot.lower().endswith(SUFFIXES):
            what = f"`{clean(plot)}` is neither .svg nor .png, the two kinds of file there are"
            mend = (
                "write FILE.svg, which browsers print as PDF, or FILE.png; without a file it is drawn in the terminal"
            )
            raise typer.BadParameter(f"{what}: {mend}", param_hint="--plot")
        return left


def with_terminal(args: Sequence[str]) -> list[str]:
    """Return arguments in which `--plot` has a value: the file after it, or the terminal."""
    found: list[str] = []
    rest = iter(enumerate(args))
    for at, each in rest:
        if each != "--plot":
            found.append(each)
        elif at + 1 < len(args) and _is_file(args[at + 1]):
            found.append(f"--plot={next(rest)[1]}")
        else:
            found.append(f"--plot={TERMINAL}")
    return found


def _is_file(word: str) -> bool:
    """Return whether a word is a file's name: nothing else that these commands take has a dot or a slash."""
    return not word.startswith("-") and any(each in word for each in "./\\")


def write(svg: Callable[[], str], plot: str) -> None:
    """Write a drawing to a file, whole or not at all.

    Raises:
        UnavailableError: it cannot be written, or there is no font.
    """
    target = Path(plot)
    if target.suffix.lower() == ".png":
        from charter.bootstrap.pictures import png

        data = png(svg())
    else:
        data = svg().encode()
    try:
        whole_file.replace(target, data, whole_file.SHARED)
    except OSError as err:
        text = f"`{target}` cannot be written: {err.strerror}"
        raise UnavailableError(ErrorCode.STORE_FAILED, text) from err
    say(f"wrote {target}", "green")


def show(picture: Picture) -> None:
    """Print a picture."""
    for line in lines_of(picture):
        out.print(line, no_wrap=True, overflow="ignore", crop=False)


def lines_of(picture: Picture) -> Iterator[Text]:
    """Yield a picture line by line, none wider than 80 columns."""
    yield _line((picture.title, "bold"))
    narrowed = "".join(f", {name} {value}" for name, value in sorted(picture.narrowed.items()))
    yield _line((f"{picture.since[:10]} to {picture.until[:10]} UTC{narrowed}", "dim"))
    if picture.is_empty:
        yield _line((picture.sentence, "dim"))
        return
    match picture.shape:
        case Grid() as grid:
            yield from _grid(grid)
        case Flow() as flow:
            yield from _flow(flow)
        case Timeline() as timeline:
            yield from _timeline(timeline)
        case Bars() as bars:
            yield from _bars(bars)
        case _:
            assert_never(picture.shape)
    yield _line((picture.sentence, "dim"))


def _line(*parts: tuple[str, str]) -> Text:
    from charter.reports.session_drawing import label_of

    text = Text()
    room = WIDTH
    for said, style in parts:
        shown = clean(label_of(said, WIDTH))
        shown = shown if cell_len(shown) <= room else set_cell_size(shown, room)
        text.append(shown, style)
        room -= cell_len(shown)
    return text


def _name(place: Place, width: int = NAMES) -> tuple[str, str]:
    from charter.reports.session_drawing import label_of

    said = label_of(place.label, width)
    return set_cell_size(clean(said), width), "dim" if place.others else ""


def _grid(grid: Grid) -> Iterator[Text]:
    from charter.reports.picture_svg import legend_of, level_of

    most = max(map(max, grid.cells))
    every = [f"{column[-2:]} " for column in grid.columns[::MARKED]]
    yield _line((f"{'':{NAMES}} {''.join(every)}", "dim"))
    for place, line in zip(grid.rows, grid.cells, strict=True):
        shades = [(SHADES[level], "cyan" if level else "dim") for level in (level_of(n, most) for n in line)]
        yield _line(_name(place), (" ", ""), *shades, (f" {sum(line)}", ""))
    told = [f"{SHADES[level]} {meaning}" for level, meaning in legend_of(most)]
    yield _line((f"{'':{NAMES}} · none  {'  '.join(told)}", "dim"))


def _timeline(timeline: Timeline) -> Iterator[Text]:
    sums = [sum(each.counts[at] for each in timeline.series) for at in range(len(timeline.columns))]
    most = max(sums)
    for row in range(LINES, 0, -1):
        parts = [(f"{most if row == LINES else '':>10} │", "dim")]
        parts += [_brick(timeline, at, row, most) for at in range(len(sums))]
        yield _line(*parts)
    yield _line((f"{0:>10} └{'──' * len(sums)}", "dim"))
    yield _line((f"{'':12}{timeline.columns[0]} … {timeline.columns[-1]}", "dim"))
    for number, each in enumerate(timeline.series):
        yield _line((f"  {SIGNS[number]} ", COLOURS[number]), (f"{sum(each.counts):>8}  {each.place.label}", ""))


def _brick(timeline: Timeline, at: int, row: int, most: int) -> tuple[str, str]:
    """Return what stands in a row of a column: the series that reaches over its lower edge; anything has one brick."""
    floor, done = (row - 1) * most, 0
    for number, each in enumerate(timeline.series):
        done += each.counts[at]
        if done * LINES > floor:
            return SIGNS[number] + " ", COLOURS[number]
    return "  ", ""


def _bars(bars: Bars) -> Iterator[Text]:
    most = max(bar.granted for bar in bars.bars)
    room = 32
    for bar in bars.bars:
        granted = -(-room * bar.granted // most)
        used = -(-room * bar.used // most)
        shape = ("█" * used, "cyan"), ("░" * (granted - used), "dim"), (" " * (room - granted), "")
        yield _line(_name(bar.place), (" ", ""), *shape, (f" {bar.used} of {bar.granted} used", ""))
    yield _line((f"{'':{NAMES}} █ used  ░ granted and not used", "dim"))


def _flow(flow: Flow) -> Iterator[Text]:
    for at, stops in enumerate(flow.steps):
        yield _line((f"call {at + 1}", "bold"))
        for number, stop in enumerate(stops):
            bar = "█" * -(-20 * stop.sessions // flow.total)
            yield _line(("  ", ""), _name(stop.place, 36), (f" {bar:<20}", "cyan"), (f" {stop.sessions}", ""))
            links = sorted(
                (each for each in flow.links if (each.step, each.source) == (at, number)), key=lambda e: -e.sessions
            )
            for link in links[:LINKS]:
                target = flow.steps[at + 1][link.target].place
                yield _line(("      → ", "dim"), _name(target, 32), (f" {link.sessions}", ""))
            if links[LINKS:]:
                rest = sum(each.sessions for each in links[LINKS:])
                yield _line(("      → ", "dim"), _name(Place(others=len(links[LINKS:])), 32), (f" {rest}", ""))
            if at == len(flow.steps) - 1 and stop.went_on:
                yield _line(("      → further calls".ljust(40), "dim"), (f" {stop.went_on}", ""))
            if stop.sessions > stop.went_on:
                yield _line(("      ended".ljust(40), "dim"), (f" {stop.sessions - stop.went_on}", ""))


def draw(pictures: Sequence[Picture], plot: str) -> None:
    """Print pictures, or write the one of them to a file."""
    if plot == TERMINAL:
        for number, picture in enumerate(pictures):
            if number:
                say("")
            show(picture)
        return
    if len(pictures) != 1:
        text = "a file holds one picture"
        raise MalformedError(ErrorCode.BAD_VALUE, text, help="charter review refused --plot refused.svg")
    from charter.reports.picture_svg import to_svg

    write(lambda: to_svg(pictures[0]), plot)
