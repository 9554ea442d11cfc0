"""The table of transitions: what is in it happens, what is not raises with the node's story."""

import itertools

import pytest
from tests.coordinator.support.graphs import graph_id

from grpcflow_coordinator.core.model import NodeState
from grpcflow_coordinator.core.states import FAILED, TERMINAL, TRANSITIONS, IllegalTransition, Trigger, transition
from grpcflow_coordinator.core.story import Story


def test_every_pair_that_is_not_in_the_table_raises() -> None:
    for state, trigger in itertools.product(NodeState, Trigger):
        if (state, trigger) in TRANSITIONS:
            assert transition(state, trigger) is TRANSITIONS[state, trigger]
        else:
            with pytest.raises(IllegalTransition, match="what came before"):
                transition(state, trigger, "what came before")


def test_nothing_leaves_a_terminal_state() -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] in TERMINAL]
    assert FAILED < TERMINAL


def test_every_state_can_be_reached_and_left() -> None:
    reached = {NodeState.WAITING, *TRANSITIONS.values()}
    assert reached == set(NodeState)
    assert {state for state, _ in TRANSITIONS} == set(NodeState) - TERMINAL


def test_every_trigger_is_used() -> None:
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_a_story_is_bounded_and_names_what_happened_to_a_node() -> None:
    story = Story(length=3)
    graph = graph_id()
    for number in range(5):
        story.tell(number, "seen", graph, 0, 2)
    story.tell(9, "seen", graph_id(), 0)
    assert [line.split()[0] for line in story.of(graph, 1)] == ["3", "4"]
    assert not story.of(graph, 2)
