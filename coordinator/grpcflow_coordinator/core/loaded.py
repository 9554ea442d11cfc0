"""What a step may see and change of the stored state: a port, implemented in storage/records.py.

The core names nouns here and never a key or an encoding. Reads see the writes of the same step and of
every step before it, committed or not; writes become durable together, before any send of the step leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from grpcflow_coordinator.core.model import Entry, Graph, Held, Job, LineKey, Outcome, Progress, Retention, Run, Tally
from grpcflow_coordinator.core.planning import Plan, Schedule
from grpcflow_coordinator.core.presence import Limit, SessionFacts


class Timer(Protocol):
    """One entry of the timer index."""

    @property
    def due_ms(self) -> int:
        """Unix milliseconds at which it is due."""
        ...

    @property
    def kind(self) -> int:
        """What happens then: a `TimerKind`."""
        ...

    @property
    def node(self) -> bytes:
        """The first node it is for."""
        ...

    @property
    def count(self) -> int:
        """For how many neighbouring nodes it is."""
        ...

    @property
    def made_ms(self) -> int:
        """When the graph of these nodes was made; 0: that was not written."""
        ...


class Loaded(Protocol):
    """A consistent view of the records with this step's writes on top."""

    # Graphs
    def graph(self, graph: bytes) -> Graph | None:
        """Return a graph whose root is there; None for one that is unknown, pruned or still being staged."""
        ...

    def put_graph(self, graph: Graph, runs: Sequence[tuple[Run, list[bytes]]]) -> None:
        """Write a whole small graph: its root and its runs with their encoded payloads."""
        ...

    def stage_runs(self, graph: bytes, runs: Sequence[tuple[Run, list[bytes]]]) -> None:
        """Write runs of a graph whose root is still to come."""
        ...

    def put_root(self, graph: Graph) -> None:
        """Make a staged graph real."""
        ...

    def drop_staged(self, graph: bytes, limit: int) -> int:
        """Delete up to `limit` runs of a graph that never got its root; return how many, fewer: all are gone."""
        ...

    def staged_graphs(self) -> list[bytes]:
        """Return the graphs that have runs and no root."""
        ...

    def run_of(self, graph: bytes, index: int) -> Run | None:
        """Return the run that holds a node."""
        ...

    def runs(self, graph: bytes, start: int, limit: int) -> list[Run]:
        """Return up to `limit` runs of a graph from the node index `start` on."""
        ...

    def release_cursor(self, graph: bytes) -> int | None:
        """Return where queueing the ready nodes of a large graph stands; None: done."""
        ...

    def put_release_cursor(self, graph: bytes, index: int | None) -> None:
        """Move that cursor; None: done."""
        ...

    def releasing_graphs(self, limit: int) -> list[bytes]:
        """Return graphs whose cursor is not done."""
        ...

    def tally(self, graph: bytes) -> Tally | None:
        """Return how the nodes of a graph stand; None: none has settled yet, or it has one node only."""
        ...

    def put_tally(self, graph: bytes, tally: Tally) -> None:
        """Write how the nodes of a graph stand."""
        ...

    def drop_graph(self, graph: bytes, limit: int) -> int:
        """Delete up to `limit` records of an ended graph; return what is left of the limit, 0: some are still there."""
        ...

    # Nodes
    def outcome(self, graph: bytes, index: int) -> Outcome | None:
        """Return how a node settled."""
        ...

    def settled_in(self, graph: bytes, first: int, count: int) -> set[int]:
        """Return the indexes of the settled nodes in a range."""
        ...

    def outcomes(self, graph: bytes, first: int, count: int, limit: int) -> list[tuple[int, Outcome]]:
        """Return how up to `limit` nodes of a range settled, in order, with their indexes."""
        ...

    def drop_outcome(self, graph: bytes, index: int) -> None:
        """Let a node settle again."""
        ...

    def put_outcome(self, graph: bytes, index: int, outcome: Outcome) -> None:
        """Write how a node settled."""
        ...

    def waiting(self, graph: bytes, index: int) -> int | None:
        """Return how many parents a node still waits for, where that is not all of them; -1: released."""
        ...

    def waiting_in(self, graph: bytes, first: int, limit: int) -> list[tuple[int, int]]:
        """Return up to `limit` nodes from the index `first` on with a number of that kind, in order, with it."""
        ...

    def put_waiting(self, graph: bytes, index: int, count: int | None) -> None:
        """Write that number; None deletes it."""
        ...

    def progress(self, graph: bytes, index: int) -> Progress | None:
        """Return what a node went through."""
        ...

    def put_progress(self, graph: bytes, index: int, progress: Progress | None) -> None:
        """Write what a node went through; None deletes it."""
        ...

    def extras(self, graph: bytes, join: int) -> list[bytes]:
        """Return the nodes of other graphs that were added to a join's members."""
        ...

    def put_extra(self, graph: bytes, join: int, node: bytes) -> None:
        """Add a node of another graph to a join's members."""
        ...

    def drop_extra(self, graph: bytes, join: int, node: bytes) -> None:
        """Take a node of another graph out of a join's members."""
        ...

    def is_cancelled(self, graph: bytes) -> bool:
        """Return whether somebody cancelled a graph."""
        ...

    def put_cancelled(self, graph: bytes, when_ms: int | None) -> None:
        """Note that a graph was cancelled; None: that it goes on."""
        ...

    def retried(self) -> dict[bytes, int]:
        """Return the graphs that were retried, with the sequence below which no queue entry means them any more."""
        ...

    def put_retried(self, graph: bytes, sequence: int) -> None:
        """Write that sequence of a graph."""
        ...

    def stray(self, graph: bytes) -> int:
        """Return the sequence below which queue entries may name nodes of a graph that settled; 0: none do."""
        ...

    def put_stray(self, graph: bytes, sequence: int) -> None:
        """Write that sequence of a graph."""
        ...

    def graphs_after(self, after: bytes, limit: int) -> list[bytes]:
        """Return the ids of up to `limit` graphs behind `after`, oldest first; empty: from the first."""
        ...

    def paused_queues(self) -> list[str]:
        """Return the queues of which nothing is handed out."""
        ...

    def put_paused(self, queue: str, *, paused: bool) -> None:
        """Note that nothing of a queue is to be handed out, or no longer."""
        ...

    def item_count(self, graph: bytes, index: int) -> int:
        """Return how many items a node's stream holds."""
        ...

    def put_item(self, graph: bytes, index: int, number: int, data: bytes, content_type: str) -> None:
        """Append an item to a node's stream."""
        ...

    def log_end(self, graph: bytes, index: int, token: int) -> int:
        """Return the number of the line that comes next in the log of an attempt."""
        ...

    def append_log(self, graph: bytes, index: int, token: int, first: int, count: int, data: bytes, most: int) -> None:
        """Append lines to the log of an attempt, and delete its oldest ones where it has more bytes than `most`."""
        ...

    def logged_attempts(self, graph: bytes, index: int) -> list[int]:
        """Return the tokens of the attempts of a node that have a log, the oldest first."""
        ...

    def drop_log(self, graph: bytes, index: int, token: int | None = None) -> None:
        """Delete the log of an attempt; None: of all attempts of the node."""
        ...

    def blank_call(self, graph: bytes, index: int) -> None:
        """Delete what a node of independent ones was called with and bears, and what it emitted and logged."""
        ...

    def is_forgotten(self, graph: bytes, index: int) -> bool:
        """Return whether the result of a node is hidden from whoever asks for it."""
        ...

    def put_forgotten(self, graph: bytes, index: int) -> None:
        """Hide the result of a node from whoever asks for it."""
        ...

    def put_stamps(self, graph: bytes, stamps: Collection[tuple[str, str]]) -> None:
        """Note that nodes of a graph bear these stamps (name, value)."""
        ...

    def stamped_graphs(self, name: str, value: str, after: bytes, limit: int) -> list[bytes]:
        """Return graphs behind `after` that bear a stamp, in order; some may be gone."""
        ...

    def jobs(self) -> list[Job]:
        """Return the work on many nodes that is under way."""
        ...

    def put_job(self, job: Job) -> None:
        """Write how far such work is."""
        ...

    def drop_job(self, number: int) -> None:
        """Delete work that is done."""
        ...

    def put_saved(self, own_id: str, data: bytes, expires_ms: int) -> bytes:
        """Keep the description of a group; return the key that its timer names."""
        ...

    def drop_saved(self, own_id: str) -> None:
        """Delete the description of a group."""
        ...

    def expire_saved(self, key: bytes, now_ms: int) -> None:
        """Delete the description of a group where its time is over."""
        ...

    def alias(self, own_id: str) -> bytes | None:
        """Return the node that a user's own id stands for."""
        ...

    def put_alias(self, own_id: str, node: bytes) -> None:
        """Let a user's own id stand for a node."""
        ...

    # Queues
    def lines(self) -> list[LineKey]:
        """Return every line that holds entries."""
        ...

    def entries(self, line: LineKey, after: int, before: int, limit: int) -> list[Entry]:
        """Return entries of a line with after < sequence < before, in order."""
        ...

    def line_count(self, line: LineKey) -> tuple[int, int, int]:
        """Return how many nodes stand in a line's entries, the sequence behind the last, and how many entries."""
        ...

    def put_entry(self, entry: Entry) -> None:
        """Queue nodes."""
        ...

    def drop_entry(self, entry: Entry) -> None:
        """Take nodes out of the queue's index."""
        ...

    def mark(self, line: LineKey) -> int:
        """Return the hand-out mark: no node with this sequence or a higher one was ever handed out."""
        ...

    def drop_line(self, line: LineKey) -> None:
        """Forget an empty line: its mark, and its lane where no other line is in it."""
        ...

    # Limits
    def limits(self) -> Sequence[tuple[tuple[Literal["task", "queue"], str], Limit]]:
        """Return the limits that were set, by scope and name."""
        ...

    def put_limit(self, scope: str, name: str, limit: Limit | None) -> None:
        """Set a limit; None: take it away."""
        ...

    def rate(self, scope: str, name: str) -> float | None:
        """Return the Unix milliseconds up to which a rate is used up at most."""
        ...

    def put_rate(self, scope: str, name: str, spent_ms: int) -> None:
        """Write that."""
        ...

    # Schedules
    def schedules(self) -> Sequence[tuple[Plan, Schedule | None]]:
        """Return all schedules, each with how it stands."""
        ...

    def put_plan(self, plan: Plan) -> None:
        """Write what was put of a schedule."""
        ...

    def put_schedule(self, schedule: Schedule) -> None:
        """Write how a schedule stands."""
        ...

    def drop_schedule(self, name: str) -> None:
        """Forget a schedule."""
        ...

    # Unique keys
    def held(self, key: str) -> Held | None:
        """Return who holds a unique key."""
        ...

    def put_held(self, key: str, held: Held) -> bytes:
        """Write who holds a unique key; return the 16 bytes that its timer names."""
        ...

    def drop_held(self, key: str) -> bytes:
        """Let a unique key be free; return the 16 bytes that its timer names."""
        ...

    def held_by(self, timer: bytes) -> Held | None:
        """Return who holds the unique key that a timer names."""
        ...

    def drop_held_by(self, timer: bytes) -> None:
        """Let the unique key that a timer names be free."""
        ...

    def followers(self, holder: bytes, limit: int) -> list[bytes]:
        """Return nodes that settle as the holder of their key does."""
        ...

    def put_follower(self, holder: bytes, node: bytes) -> None:
        """Let a node settle as another one does."""
        ...

    def drop_follower(self, holder: bytes, node: bytes) -> None:
        """Let a node settle by itself again."""
        ...

    def followed(self) -> list[bytes]:
        """Return the nodes that others follow."""
        ...

    # What ended
    def put_failed(self, graph: bytes, index: int) -> None:
        """Put a node on the list of those that failed for good."""
        ...

    def has_failed(self, graph: bytes, index: int) -> bool:
        """Return whether it is on that list."""
        ...

    def drop_failed(self, graph: bytes, index: int) -> None:
        """Take a node off that list."""
        ...

    def retention(self) -> Sequence[tuple[tuple[str, str], Retention]]:
        """Return what was set of retention, by scope and name."""
        ...

    def put_retention(self, scope: str, name: str, retention: Retention | None) -> None:
        """Set a retention; None: take it away."""
        ...

    def kept_count(self, key: tuple[str, str, str]) -> int:
        """Return how many ended graphs are counted under a key: scope, name and kind."""
        ...

    def put_kept(self, key: tuple[str, str, str], end_ms: int, graph: bytes) -> None:
        """Count a graph that ended."""
        ...

    def oldest_kept(self, key: tuple[str, str, str], limit: int) -> list[tuple[int, bytes]]:
        """Return the graphs that ended first, with when; some may be gone."""
        ...

    def drop_one_kept(self, key: tuple[str, str, str], end_ms: int, graph: bytes) -> None:
        """Count a graph no longer."""
        ...

    def drop_kept(self, key: tuple[str, str, str]) -> None:
        """Count nothing under a key any more."""
        ...

    def stripped_to(self, graph: bytes) -> int | None:
        """Return the node up to which the arguments of a graph's calls were deleted; None: they are all there."""
        ...

    def strip(self, graph: bytes, limit: int) -> int:
        """Delete the arguments of up to `limit` runs; return how many, fewer: all are gone."""
        ...

    def put_mark(self, line: LineKey, sequence: int) -> None:
        """Move the hand-out mark."""
        ...

    # Timers
    def timers(self, until_ms: int, limit: int) -> Sequence[Timer]:
        """Return timers of nodes with due_ms <= until_ms, earliest first."""
        ...

    def prunes(self, until_ms: int, limit: int) -> Sequence[Timer]:
        """Return timers of ended graphs with due_ms <= until_ms, earliest first."""
        ...

    def next_timer(self) -> int | None:
        """Return when the earliest timer of a node is due."""
        ...

    def next_prune(self) -> int | None:
        """Return when the earliest ended graph is to be deleted."""
        ...

    def put_timer(self, due_ms: int, kind: int, node: bytes, count: int, made_ms: int = 0) -> None:
        """Set a timer for a node and the `count` - 1 ones after it, of a graph that was made then."""
        ...

    def drop_timer(self, due_ms: int, kind: int, node: bytes) -> None:
        """Delete a timer."""
        ...

    # Sessions
    def sessions(self) -> list[SessionFacts]:
        """Return the recorded sessions."""
        ...

    def put_session(self, facts: SessionFacts) -> None:
        """Record a session."""
        ...

    def drop_session(self, session: bytes) -> None:
        """Delete a session's record."""
        ...

    def epoch(self) -> int:
        """Return the epoch of the last start; 0: never started."""
        ...

    def put_epoch(self, epoch: int) -> None:
        """Write the epoch of this start."""
        ...
