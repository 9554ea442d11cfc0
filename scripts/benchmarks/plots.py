"""Plots of a run as SVG: cost per task against what grows, throughput and waits against load. Measures nothing.

Needs matplotlib, which `pip install 'grpcflow[bench]'` brings. The files are the same for the same figures, so that
they can be kept in a repository.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Name of a line of growth -> title, the axis across, and how its numbers are written.
_COSTS: dict[str, tuple[str, str, str]] = {
    "backlog": ("Cost of a task behind a backlog", "calls that wait in the queue", "number"),
    "graph": ("Cost of a task by the size of its graph", "calls of a group", "number"),
    "fan-in": ("Cost of a member by the size of its chord", "members of a chord", "number"),
    "workers": ("Cost of a task by the number of workers", "workers (simulated)", "number"),
    "payload": ("Cost of a task by the size of its argument and value", "bytes of each", "bytes"),
}

#: Drawings of the open load: name -> title.
_LOADS = {"latency": "Single calls there and back, open load", "throughput": "Single calls served, open load"}

_TITLES = {f"cost-{name}": about[0] for name, about in _COSTS.items()} | {
    f"load-{name}": about for name, about in _LOADS.items()
}


def title(name: str) -> str:
    """Return the title of a drawing by the name of its file, without its ending."""
    return _TITLES[name]


def draw(records: Iterable[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw what the records of a run hold.

    Args:
        records: of kind "growth"; others are passed over.
        folder: where the files go; made where it does not exist.

    Returns:
        The files.

    Raises:
        SystemExit: matplotlib is missing, or there is nothing to draw; the message says what to do.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if record["kind"] == "growth":
            lines.setdefault(str(record["line"]), []).append(record)
    if not lines:
        raise SystemExit("there is nothing to draw: run with --growth, or name a file of such a run with --from")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, points in lines.items():
        points = sorted(points, key=lambda point: float(point["x"]))
        if name == "load":
            drawn += _load(points, folder)
        elif name in _COSTS:
            drawn.append(_cost(name, points, folder))
    return drawn


def _across(points: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(point["x"]) for point in points]


def _cost(name: str, points: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Draw what a task costs against what grows, both logarithmic: a line that is flat grows with the work alone."""
    _, across, unit = _COSTS[name]
    file = folder / f"cost-{name}.svg"
    with _figure(file) as plot:
        plot.plot(_across(points), [float(point["us_a_task"]) for point in points], marker="o")
        _label_powers(plot, unit)
        plot.set(xlabel=across, ylabel="µs a task, wall time")
    return file


def _load(points: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw waits and throughput against what was offered."""
    across, xs = "offered, calls a second", _across(points)
    files = [folder / f"load-{name}.svg" for name in _LOADS]
    with _figure(files[0]) as plot:
        for name in ("p99", "p50"):
            plot.plot(xs, [float(point[f"{name}_ms"]) for point in points], marker="o", label=name)
        plot.set(xlabel=across, ylabel="ms from when a call was due to its value")
        plot.set(xlim=(0, None), yscale="log")
        _plain_numbers(plot.yaxis, steps=True)
        _plain_numbers(plot.xaxis)
        plot.legend()
    with _figure(files[1]) as plot:
        plot.plot(xs, xs, linestyle="--", color="0.6", label="as offered")
        plot.plot(xs, [float(point["per_second"]) for point in points], marker="o", label="served")
        plot.set(xlabel=across, ylabel="served, calls a second", xlim=(0, None), ylim=(0, None))
        _plain_numbers(plot.xaxis)
        _plain_numbers(plot.yaxis)
        plot.legend()
    return files


def _label_powers(plot: Any, unit: str) -> None:
    """Make both axes logarithmic, with numbers that are written out."""
    from matplotlib.ticker import EngFormatter

    plot.set(xscale="log", yscale="log")
    if unit == "bytes":
        plot.xaxis.set_major_formatter(EngFormatter(unit="B"))
    else:
        _plain_numbers(plot.xaxis)
    _plain_numbers(plot.yaxis, steps=True)
    low, high = plot.get_ylim()
    plot.set_ylim(low / 2, high * 2)  # what is nearly flat is to look so


def _plain_numbers(axis: Any, *, steps: bool = False) -> None:
    """Write numbers out, with commas; `steps`: on a logarithmic axis also twice and five times each power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if steps:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


@contextlib.contextmanager
def _figure(file: Path) -> Iterator[Any]:
    """Give axes to draw on, with the title of this file; save them at the end."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit("plots need matplotlib: pip install 'grpcflow[bench]'") from error
    with mpl.rc_context(
        {"svg.hashsalt": "grpcflow", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11}
    ):
        figure = Figure(figsize=(7, 4), layout="constrained", facecolor="white")
        plot = figure.subplots()
        plot.grid(visible=True, alpha=0.3)
        plot.set_title(title(file.stem))
        yield plot
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
