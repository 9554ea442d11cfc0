"""Ids: unique, sorted by time, and told apart from users' own."""

import os
import time
import uuid

import pytest

from grpcflow import ids


def test_a_node_id_is_the_text_of_a_uuid_of_version_7() -> None:
    graph = ids.mint_graph()
    text = ids.node_id(graph, 258)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.bytes == ids.node_bytes(graph, 258) == graph + b"\0\0\1\2"
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert ids.parse(text) == (graph, 258)
    assert abs(ids.graph_time(graph) - time.time()) < 10


def test_ids_are_unique_and_sort_in_the_order_they_were_made_in() -> None:
    made = [ids.mint_graph() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_go_forward_where_the_clock_steps_back() -> None:
    mint = ids._Mint()
    made = [mint.mint(now) for now in (5_000, 5_000, 4_000, 4_999, 5_001)]
    assert made == sorted(set(made))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "invoice-1",
        "2f1c9a52-6a0e-4d0b-9c4e-5b8f0e6d7a31",  # version 4
        "0199" + "F" * 32,
        "{01a1fd88-dad8-7000-bc42-6ff200000005}",
        "01A1FD88-DAD8-7000-BC42-6FF200000005",
        "01a1fd88dad87000bc426ff200000005",
        "01a1fd88-dad8-7000-bc42-6ff20000000g",
        "01a1fd88-dad8-7000-bc42-6ff2 0000005",
    ],
)
def test_any_other_text_is_a_users_own_id(text: str) -> None:
    assert ids.parse(text) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_random_bits_of_its_own() -> None:
    mint = ids._Mint()
    before = mint.random
    seen = {before}
    for _ in range(4):  # what the hook does in the child; 30 bits agree four times never
        mint.renew()
        seen.add(mint.random)
    assert len(seen) > 1
