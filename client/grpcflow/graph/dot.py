"""A picture in Graphviz's language. Pure."""

from typing import Final

from grpcflow.graph.boxes import Box, Picture
from grpcflow.graph.colours import colour_of

__all__ = ["dot"]

_TITLE_LENGTH: Final = 60


def dot(picture: Picture) -> str:
    """Return a picture as a ``digraph``: boxes for calls, diamonds for joins, dashed lines to errbacks.

    Args:
        picture: What is drawn.
    """
    lines = [
        "digraph grpcflow {",
        f"    label={_quoted(_caption(picture))};",
        '    rankdir=LR; node [shape=box, style="rounded,filled", fontname="Helvetica"];',
    ]
    for place, box in enumerate(picture.boxes):
        lines.append(f"    n{place} [{_attributes(box)}];")
    for line in picture.lines:
        style = " [style=dashed]" if line.is_error else ""
        lines.append(f"    n{line.parent} -> n{line.child}{style};")
    lines.append("}\n")
    return "\n".join(lines)


def _caption(picture: Picture) -> str:
    summary = picture.summary
    more = f"; {picture.left_out:,} more are not shown" if picture.left_out else ""
    return f"{summary.id} {summary.state}: {summary.tally}{more}"


def _attributes(box: Box) -> str:
    """Return how a box looks."""
    colour = colour_of(box.state)
    shape = ", shape=diamond" if box.run.join else ""
    text = box.title if box.count == 1 else f"{box.title} x {box.count:,}"
    below = str(box.tally) if box.count > 1 else box.state
    failed = next((node.error for node in box.nodes if node.error), "")
    tip = f", tooltip={_quoted(failed)}" if failed else ""
    label = _quoted(f"{text[:_TITLE_LENGTH]}\n{below}")
    return f'label={label}, color="{colour.line}", fillcolor="{colour.fill}"{shape}{tip}'


def _quoted(text: str) -> str:
    """Return text as a string of the language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "\\n") + '"'
