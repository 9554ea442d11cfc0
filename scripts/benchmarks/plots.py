"""Plots of a run as SVG: cost per task against what grows, throughput and waits against load. Measures nothing.

Needs matplotlib, which `pip install 'grpcflow[bench]'` brings. The files are the same for the same figures, so that
they can be kept in a repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Name of a line of growth -> title and the axis across.
_COSTS: dict[str, tuple[str, str]] = {
    "backlog": ("Cost of a task behind a backlog", "calls that wait in the queue"),
    "graph": ("Cost of a task by the size of its graph", "calls of a group"),
    "fan-in": ("Cost of a member by the size of its chord", "members of a chord"),
    "workers": ("Cost of a task by the number of workers (simulated)", "workers"),
    "payload": ("Cost of a task by the size of its argument and value", "bytes of each"),
}


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
            title, across = _COSTS[name]
            series = [("", [float(point["us_a_task"]) for point in points])]
            file = folder / f"cost-{name}.svg"
            drawn.append(
                _plot(file, title, (across, "µs a task, wall time"), _across(points), series, logarithmic=True)
            )
    return drawn


def _across(points: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(point["x"]) for point in points]


def _load(points: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    across = "offered, calls a second"
    waits = [(name, [float(point[f"{name}_ms"]) for point in points]) for name in ("p50", "p99")]
    xs = _across(points)
    served = [("", [float(point["per_second"]) for point in points])]
    return [
        _plot(folder / "load-latency.svg", "Single calls there and back", (across, "ms"), xs, waits),
        _plot(folder / "load-throughput.svg", "Single calls served", (across, "calls a second"), xs, served),
    ]  # fmt: skip


def _plot(
    file: Path,
    title: str,
    axes: tuple[str, str],
    across: Sequence[float],
    series: Sequence[tuple[str, Sequence[float]]],
    *,
    logarithmic: bool = False,
) -> Path:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit("plots need matplotlib: pip install 'grpcflow[bench]'") from error
    with mpl.rc_context({"svg.hashsalt": "grpcflow", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        plot = figure.subplots()
        for label, values in series:
            plot.plot(across, values, marker="o", label=label or None)
        if logarithmic:
            plot.set_xscale("log")
        plot.set_ylim(bottom=0)
        plot.set(title=title, xlabel=axes[0], ylabel=axes[1])
        plot.grid(visible=True, alpha=0.3)
        if any(label for label, _ in series):
            plot.legend()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file
