"""PROTOCOL.md and the .proto files speak of the same rpcs, codes and reasons."""

import re
from pathlib import Path

import pytest

from grpcflow_coordinator.errors import STATUS_OF
from grpcflow_protos import limits

PROTOS = Path(__file__).parents[2] / "protos"
PAGE = (PROTOS / "PROTOCOL.md").read_text(encoding="utf-8")
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in sorted((PROTOS / "grpcflow" / "v1").glob("*.proto"))}
CODES = PAGE.split("## 10 Codes")[1].split("## 11")[0]
TABLE = dict(re.findall(r"^\| ([A-Z_]+) \| ([A-Z_]+) \|", CODES, re.MULTILINE))
#: Of the page about who may call.
OF_ACCESS = dict(
    re.findall(
        r"^\| ([A-Z_]+) \| ([A-Z_]+) \|", (PROTOS / "SECURITY-WIRE.md").read_text(encoding="utf-8"), re.MULTILINE
    )
)

#: Words in capitals that are gRPC statuses, as the page and the sources use them.
STATUSES = {
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "NOT_FOUND",
    "UNAVAILABLE",
    "ABORTED",
}


def section(number: int) -> str:
    """The text of one numbered section."""
    return PAGE.split(f"\n## {number} ")[1].split("\n## ")[0]


def test_each_code_stands_once_and_has_a_status_that_exists() -> None:
    listed = re.findall(r"^\| ([A-Z_]{4,}) \| [A-Z_]+ \|", CODES, re.MULTILINE)
    assert len(listed) == len(set(listed)) > 25
    assert set(TABLE.values()) <= STATUSES


@pytest.mark.parametrize("source", SOURCES)
def test_every_code_that_a_proto_names_is_in_the_table(source: str) -> None:
    named = {
        code
        for group in re.findall(r"\(([A-Z_]+(?:,\s*(?://\s*)?[A-Z_]+)*)\)", SOURCES[source])
        for code in re.findall(r"[A-Z_]+", group)
    }
    assert named <= TABLE.keys(), f"{source} names codes that PROTOCOL.md does not explain"


def test_the_table_is_that_of_the_coordinator() -> None:
    assert {code: status.name for code, status in STATUS_OF.items()} == TABLE | OF_ACCESS
    assert not TABLE.keys() & OF_ACCESS.keys()


def test_section_9_gives_each_code_the_status_of_the_code_table() -> None:
    """Rows read | ... STATUS | CODE, CODE |, running text STATUS CODE, CODE."""
    pairs: list[tuple[str, str]] = []
    for status_cell, code_cell in re.findall(r"^\|([^|]*)\|([^|]*)\|", section(9), re.MULTILINE):
        pairs += [
            (status, code)
            for status in STATUSES & set(re.findall(r"[A-Z_]+", status_cell))
            for code in re.findall(r"\b[A-Z_]{4,}\b", code_cell)
        ]
    for status, codes in re.findall(rf"\b({'|'.join(STATUSES)}) ([A-Z]+_[A-Z_]+(?:, [A-Z]+_[A-Z_]+)*)", section(9)):
        pairs += [(status, code) for code in codes.split(", ")]
    assert len(pairs) > 40
    assert {(code, status) for status, code in pairs} <= set(TABLE.items())


def test_section_9_names_no_code_that_section_10_does_not_explain() -> None:
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", section(9)))
    assert named - STATUSES - TABLE.keys() == {"DEADLINE_EXCEEDED"}


def test_every_code_of_the_table_is_used_in_section_9() -> None:
    assert {code for code in TABLE if not re.search(rf"\b{code}\b", section(9))} == set()


def test_every_rpc_and_service_is_on_the_page() -> None:
    statuses = " ".join(section(9).split())
    for text in SOURCES.values():
        for name in re.findall(r"^\s*(?:rpc|service) (\w+)", text, re.MULTILINE):
            assert re.search(rf"\b{name}\b", PAGE), f"PROTOCOL.md does not mention {name}"
            if f"rpc {name}(" in text:
                assert f"**{name}" in statuses or f", {name}**" in statuses, f"section 9 has no statuses for {name}"


def test_every_reason_of_a_failure_is_on_the_page() -> None:
    comment = SOURCES["value.proto"].split("Stable code where")[1].split("Empty for")[0]
    for reason in re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", comment):
        assert re.search(rf"\b{reason}\b", PAGE), f"PROTOCOL.md does not explain {reason}"


def test_the_page_states_the_numbers_of_limits_py() -> None:
    text = " ".join(PAGE.split())
    assert f"Revision {limits.REVISION}." in text
    assert f"{limits.PAYLOAD_LIMIT >> 20} MiB by default" in text
    assert f"that plus {limits.MESSAGE_OVERHEAD >> 20} MiB" in text
    assert f"runs at {limits.RUN_NODES} nodes" in text
    assert f"have 1 to {limits.NAME_LIMIT} bytes" in text
    assert f"the low {limits.TOKEN_NUMBER_BITS} bits" in text
    for part in (*limits.SERIALIZERS, *limits.COMPRESSIONS):
        assert f"`{part}`" in PAGE


def test_the_page_stays_readable() -> None:
    assert len(PAGE.splitlines()) <= 530  # three dozen rpcs, each with its statuses
