"""Questions and commands to workers, from the request to the answers. What the coordinator knows it says itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Final

from grpcflow_coordinator.core.model import text_id
from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import commands, targets
from grpcflow_coordinator.rpc.crowd import Crowd
from grpcflow_coordinator.rpc.desk import Answer, ControlDesk
from grpcflow_coordinator.rpc.upcoming import Upcoming, merged
from grpcflow_protos import limits
from grpcflow_protos.v1 import control_service_pb2

#: Milliseconds to wait for an answer where the request does not say, and at most.
DEFAULT_TIMEOUT_MS: Final = 1_000
LONGEST_TIMEOUT_MS: Final = 3_600_000

#: Nodes that are added to a worker's answer where the request does not say, and at most.
DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 10_000

_Request = control_service_pb2.InspectRequest | control_service_pb2.ControlRequest


class Questions:
    """Takes requests and gives answers.

    Args:
        engine: where the sessions and the nodes are.
        desk: asks the workers.
        revoked: nodes that were revoked lately, with their users' own ids, the newest last.
        crowd: the turns of those who ask.
    """

    def __init__(
        self, engine: Engine, desk: ControlDesk, revoked: Sequence[tuple[bytes, int, str]], crowd: Crowd
    ) -> None:
        self._engine = engine
        self._desk = desk
        self._revoked = revoked
        self._crowd = crowd

    async def ask(self, request: _Request, client: str, *, control: bool) -> AsyncIterator[list[Answer]]:
        """Carry out one request; the answers come as the workers give them, those of one moment together.

        Args:
            request: what is asked, and whom.
            client: who asks; each has a few turns at once.
            control: True: a change is asked for; False: a question.
        """
        async with self._crowd.turn(client):
            sessions = list(self._engine.machine.cluster.sessions.values())
            command = commands.ALIASES.get(request.command, request.command)
            able = self._able(command, sessions, control=control)
            _check_arguments(request.arguments)
            chosen = targets.chosen(request, sessions)
            if not any((request.destination, request.patterns, request.queues, request.labels)):
                chosen = [session for session in chosen if session.id in able]
            limit = min(request.limit or DEFAULT_LIMIT, LARGEST_LIMIT)
            async for answers in self._answers(request, command, chosen, limit):
                for some in _portions(answers, together=request.together):
                    yield some

    def _able(self, command: str, sessions: list[Session], *, control: bool) -> set[bytes]:
        """Return the sessions that know a command, by their ids; our own all of them know."""
        own = commands.OWN.get(command)
        if own is not None and own.control is control:
            return {session.id for session in sessions}
        able = {
            session.id
            for session in sessions
            if any((facts.name, facts.control) == (command, control) for facts in session.facts.commands)
        }
        if not able:
            raise Refusal("UNKNOWN_COMMAND", commands.why_unknown(command, control=control, sessions=sessions))
        return able

    async def _answers(
        self, request: _Request, command: str, chosen: list[Session], limit: int
    ) -> AsyncIterator[list[Answer]]:
        """Answer what the coordinator knows, and ask the workers for the rest."""
        if command in {"scheduled", "revoked"}:
            yield await self._known(command, chosen, limit)
            return
        more: dict[bytes, list[bytes]] = {}
        if command == "reserved":
            more = await Upcoming(self._engine, limit).queued(_connected(chosen))
        seconds = min(request.timeout_ms or DEFAULT_TIMEOUT_MS, LONGEST_TIMEOUT_MS) / 1000
        async for came in self._desk.ask(command, request.arguments, chosen, seconds):
            yield [_completed(answer, more.get(session.id, [])) for session, answer in came]

    async def _known(self, command: str, chosen: list[Session], limit: int) -> list[Answer]:
        """Answer for the workers, of which none need be asked."""
        connected = _connected(chosen)
        if command == "scheduled":
            told = await Upcoming(self._engine, limit).scheduled(connected)
        else:
            newest = [json.dumps(text_id(*one)).encode() for one in islice(reversed(self._revoked), limit)]
            told = {session.id: newest for session in connected}
        return [
            Answer(session.name, "answered", merged(b"[]", told[session.id], limits.PAYLOAD_LIMIT))
            if session.id in told
            else Answer(session.name, "disconnected")
            for session in chosen
        ]


def _completed(answer: Answer, items: list[bytes]) -> Answer:
    """Return an answer with what the coordinator adds to it."""
    if not items or answer.status != "answered" or answer.error:
        return answer
    return Answer(answer.worker, answer.status, merged(answer.reply, items, limits.PAYLOAD_LIMIT))


def _portions(answers: list[Answer], *, together: bool) -> Iterator[list[Answer]]:
    """Divide answers among messages: each one alone, or as many as a message has room for."""
    portion: list[Answer] = []
    size = 0
    for answer in answers:
        added = len(answer.reply) + len(answer.error)
        if portion and (not together or size + added > limits.BATCH_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(answer)
        size += added
    if portion:
        yield portion


def _connected(sessions: list[Session]) -> list[Session]:
    return [session for session in sessions if session.stream is not None]


def _check_arguments(data: bytes) -> None:
    """Refuse what is no JSON object.

    Raises:
        Refusal: BAD_ARGUMENTS, PAYLOAD_TOO_LARGE.
    """
    if len(data) > limits.PAYLOAD_LIMIT:  # with what else a message to a worker has it would be more than one may be
        told = f"the arguments have {len(data)} bytes; {limits.PAYLOAD_LIMIT} are allowed"
        raise Refusal("PAYLOAD_TOO_LARGE", f"{told}: put the data where workers can read it")
    try:
        arguments = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal("BAD_ARGUMENTS", f"the arguments are not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise Refusal("BAD_ARGUMENTS", "the arguments are not one JSON object")
