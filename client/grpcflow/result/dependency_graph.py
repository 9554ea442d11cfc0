"""A small graph of what depends on what. Pure: any objects that can be hashed."""

from collections import Counter
from collections.abc import Callable, ItemsView, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from grpcflow.graph import GraphView

__all__ = ["DependencyGraph", "GraphOfResult"]


class _Writable(Protocol):
    def write(self, text: str, /) -> Any:
        """Take text."""
        ...


class DependencyGraph:
    """Objects, each with those that it has an edge to.

    Args:
        formatter: Returns the text for an object in ``to_dot``; None: ``str``.
    """

    def __init__(self, formatter: Callable[[Any], str] | None = None) -> None:
        self._adjacent: dict[Any, list[Any]] = {}
        self._formatter: Callable[[Any], str] = formatter or str

    def add_arc(self, obj: Any) -> None:
        """Add an object; one that is there stays as it is."""
        self._adjacent.setdefault(obj, [])

    def add_edge(self, a: Any, b: Any) -> None:
        """Add an edge from one object to another: the first depends on the second.

        Raises:
            KeyError: The first object is not in the graph.
        """
        self._adjacent[a].append(b)

    def items(self) -> ItemsView[Any, list[Any]]:
        """Return each object with those that it has an edge to."""
        return self._adjacent.items()

    def edges(self) -> Iterator[Any]:
        """Yield the objects that have edges to others."""
        return (obj for obj, adjacent in self._adjacent.items() if adjacent)

    def valency_of(self, obj: Any) -> int:
        """Return the number of edges of an object and of all that can be reached from it, along each way."""
        edges, waiting = 0, [obj]
        while waiting:
            adjacent = self._adjacent.get(waiting.pop(), [])
            edges += len(adjacent)
            waiting.extend(adjacent)
        return edges

    def topsort(self) -> list[Any]:
        """Return all objects so that each comes behind those that it has an edge to.

        Raises:
            ValueError: Edges go round in a circle.
        """
        before = Counter(other for adjacent in self._adjacent.values() for other in adjacent)
        ready = [obj for obj in self._adjacent if not before[obj]]
        line: list[Any] = []
        while ready:
            obj = ready.pop()
            line.append(obj)
            for other in self._adjacent.get(obj, []):
                before[other] -= 1
                if not before[other]:
                    ready.append(other)
        if +before:
            raise ValueError("the graph has a circle, so there is no order; remove one of its edges")
        return line[::-1]

    def to_dot(self, fh: _Writable, formatter: Callable[[Any], str] | None = None) -> None:
        """Write the graph in Graphviz's language.

        Args:
            fh: Open text file.
            formatter: Returns the text for an object; None: that of the graph.
        """
        shown = formatter or self._formatter
        fh.write("digraph dependencies {\n")
        for obj, adjacent in self._adjacent.items():
            fh.write(f"    {_quoted(shown(obj))};\n")
            for other in adjacent:
                fh.write(f"    {_quoted(shown(obj))} -> {_quoted(shown(other))};\n")
        fh.write("}\n")

    def __getitem__(self, obj: Any) -> list[Any]:
        """Return those that an object has an edge to."""
        return self._adjacent[obj]

    def __contains__(self, obj: object) -> bool:
        return obj in self._adjacent

    def __iter__(self) -> Iterator[Any]:
        return iter(self._adjacent)

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self._adjacent)


class GraphOfResult(DependencyGraph):
    """What ``result.graph`` is: Celery's graph of results, and when it is called the graph at the coordinator.

    Args:
        build: Returns the graph of results; called when that is used first.
        view: Returns the view of the whole graph.
    """

    def __init__(self, build: "Callable[[], DependencyGraph]", view: "Callable[[], GraphView]") -> None:
        # Not the base's: what that would set is built at first use, which may ask, and may fail.
        self._build = build
        self._view = view

    def __getattr__(self, name: str) -> Any:
        if name not in {"_adjacent", "_formatter"}:
            message = f"{type(self).__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        self.__dict__.update(vars(self._build()))
        return self.__dict__[name]

    def __call__(self) -> "GraphView":
        """Return the graph that the result is a part of, as a thing."""
        return self._view()


def _quoted(text: str) -> str:
    """Return text as a name in Graphviz's language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
