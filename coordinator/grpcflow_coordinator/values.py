"""The values that nodes wait for, put together from the outcomes of those that gave them. Decides nothing.

Small ones as one message; large ones as parts, page by page, so that nothing is held in memory whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from grpcflow_coordinator.core.model import Edge, EdgeMode, Outcome, Progress, Run, split_node, text_id
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos import limits
from grpcflow_protos.v1 import value_pb2

#: Outcomes that are read at once.
PAGE: Final = 1_000

#: Lists in lists that travel as one message: protobuf reads messages to a depth of 100, and a list takes two of them.
DEPTH: Final = 20

#: A list that is open while a value is put together.
_Lists: TypeAlias = value_pb2.ValueList


class TooLarge(Exception):
    """A value does not fit into the room there is for it."""


class Room:
    """What a message still has room for.

    Args:
        size: bytes.
        leaves: values in lists.
    """

    def __init__(self, size: int, leaves: int = limits.VALUE_LEAVES) -> None:
        self._size, self._leaves = size, leaves
        #: How many values were taken.
        self.taken = 0

    def take(self, size: int) -> None:
        """Take room for one value.

        Raises:
            TooLarge: There is not so much.
        """
        self.taken += 1
        self._size -= size + 8
        self._leaves -= 1
        if self._size < 0 or self._leaves < 0:
            raise TooLarge


def taken(run: Run, progress: Progress | None) -> Iterator[Edge]:
    """Return the edges by which something enters a call: its values, or the failure that fired it."""
    fired_by = progress.fired_by - 1 if progress is not None else -1
    for edge in run.inputs:
        if edge.mode is EdgeMode.VALUE or (edge.mode is EdgeMode.ERROR and edge.parent == fired_by):
            yield edge


def inputs_of(records: Records, graph: bytes, run: Run, progress: Progress | None) -> Iterator[tuple[bytes, Edge]]:
    """Return the same edges with their graph; of a run that borrows its inputs: those of the lender."""
    if run.borrowed:
        graph, index = split_node(run.borrowed)
        lender = records.run_of(graph, index)
        if lender is None:
            return
        run, progress = lender, records.progress(graph, index)
    for edge in taken(run, progress):
        yield graph, edge


def input_of(records: Records, graph: bytes, edge: Edge, room: Room) -> value_pb2.Value:
    """Return what enters a call along an edge.

    Raises:
        TooLarge: It does not fit into the room.
    """
    if edge.mode is EdgeMode.ERROR:
        failed = _failed(records, graph, edge.parent)
        room.take(failed.ByteSize())
        return value_pb2.Value(failed=failed)
    return read_value(records, graph, edge.parent, room)


def _failed(records: Records, graph: bytes, index: int) -> value_pb2.FailedNode:
    """Return what an errback is told."""
    run = records.run_of(graph, index)
    outcome = records.outcome(graph, index)
    failed = value_pb2.FailedNode(id=text_id(graph, index, run.own_id if run else ""))
    if outcome is not None and outcome.failure is not None:
        failed.failure.CopyFrom(convert.failure_message(outcome.failure, graph, records))
    return failed


def parts_of_input(records: Records, graph: bytes, edge: Edge) -> Iterator[value_pb2.ValuePart]:
    """Return what enters a call along an edge, part by part."""
    if edge.mode is EdgeMode.ERROR:
        failed = _failed(records, graph, edge.parent)
        yield value_pb2.ValuePart(kind=value_pb2.PART_KIND_FAILED, failed=failed)
    else:
        yield from parts(records, graph, edge.parent)


def read_value(records: Records, graph: bytes, index: int, room: Room) -> value_pb2.Value:
    """Return a settled node's value; that of a join is the list of its members' values, however deep.

    Raises:
        TooLarge: It does not fit into the room.
    """
    root = value_pb2.ValueList()
    lists: list[_Lists] = [root]
    for part in parts(records, graph, index):
        if part.kind == value_pb2.PART_KIND_CLOSE:
            lists.pop()
            continue
        place = lists[-1].values.add()
        if part.kind == value_pb2.PART_KIND_OPEN:
            room.take(0)
            if len(lists) > DEPTH:
                raise TooLarge
            place.list.SetInParent()
            lists.append(place.list)
        else:
            room.take(len(part.data))
            place.data, place.content_type = part.data, part.content_type
    return root.values[0]


def parts(records: Records, graph: bytes, index: int) -> Iterator[value_pb2.ValuePart]:
    """Return a settled node's value as its tree, written out in order; reads a page at a time."""
    walks: list[Iterator[tuple[bytes, int, Outcome | None]]] = [iter([(graph, index, records.outcome(graph, index))])]
    while walks:
        found = next(walks[-1], None)
        if found is None:
            walks.pop()
            if walks:
                yield value_pb2.ValuePart(kind=value_pb2.PART_KIND_CLOSE)
            continue
        graph, index, outcome = _followed(records, *found)
        if outcome is not None and outcome.data:
            yield value_pb2.ValuePart(
                kind=value_pb2.PART_KIND_DATA, data=outcome.data, content_type=outcome.content_type
            )
            continue
        run = records.run_of(graph, index)
        if run is not None and run.members is not None:
            yield value_pb2.ValuePart(kind=value_pb2.PART_KIND_OPEN)
            walks.append(_members(records, graph, index, run))
        else:
            yield value_pb2.ValuePart(kind=value_pb2.PART_KIND_DATA)


def _followed(records: Records, graph: bytes, index: int, outcome: Outcome | None) -> tuple[bytes, int, Outcome | None]:
    """Return where the value of a node is that was replaced; itself for any other."""
    if outcome is None or not outcome.source:
        return graph, index, outcome
    graph, index = split_node(outcome.source)
    return graph, index, records.outcome(graph, index)


def _members(records: Records, graph: bytes, join: int, run: Run) -> Iterator[tuple[bytes, int, Outcome | None]]:
    """Return the members of a join with their outcomes, those added while it waited last."""
    for first, count in run.members or ():
        for start in range(first, first + count, PAGE):
            stop = min(start + PAGE, first + count)
            found = dict(records.outcomes(graph, start, stop - start, PAGE))
            for index in range(start, stop):
                yield graph, index, found.get(index)
    for extra in records.extras(graph, join):
        other, index = split_node(extra)
        yield other, index, records.outcome(other, index)


def paged(source: Iterator[value_pb2.ValuePart], size: int) -> Iterator[list[value_pb2.ValuePart]]:
    """Return parts in pages of about `size` bytes, each at most PAGE of them."""
    page: list[value_pb2.ValuePart] = []
    held = 0
    for part in source:
        page.append(part)
        held += part.ByteSize()
        if held >= size or len(page) >= PAGE:
            yield page
            page, held = [], 0
    if page:
        yield page


def stand_in(records: Records, graph: bytes, index: int) -> tuple[bytes, int]:
    """Return the node that runs in the place of an unsettled one; itself where none does."""
    while (progress := records.progress(graph, index)) is not None and progress.replaced_by:
        graph, index = split_node(progress.replaced_by)
    return graph, index
