"""Figures that are told to Prometheus: how many labels they show, what histograms count, how they are written down."""

import gzip

import pytest
from tests.support.scraping import Scrape

from grpcflow_protos.metrics.exposition import page
from grpcflow_protos.metrics.figures import OTHER, Family, Histogram, Histograms, Labels
from grpcflow_protos.metrics.memory import anonymous_bytes

DEPTH = Family("grpcflow_depth", "gauge", "How deep.", ("queue",))
ENDED = Family("grpcflow_ended_total", "counter", "How many.", ("task", "outcome"))
RUN = Family("grpcflow_run_seconds", "histogram", "How long.", ("task",))


def test_the_first_names_are_shown_for_good_and_all_later_ones_are_one() -> None:
    labels = Labels(most=2)
    assert [labels.of(name) for name in ("a", "b", "c", "a", "d", "b")] == ["a", "b", OTHER, "a", OTHER, "b"]


def test_a_value_counts_up_to_the_bound_that_it_does_not_exceed() -> None:
    histogram = Histogram((1.0, 2.0))
    for value, count in ((0.5, 1), (1.0, 2), (1.5, 1), (9.0, 3)):
        histogram.observe(value, count)
    assert (histogram.counts, histogram.total) == ([3, 1, 3], 31.0)


def test_a_copy_stays_as_it_was() -> None:
    histogram = Histograms((1.0,))["a"]
    copy = histogram.copy()
    histogram.observe(0.5)
    assert (copy.counts, copy.total) == ([0, 0], 0.0)


def figures() -> list[tuple[Family, dict[tuple[str, ...], float | Histogram]]]:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.5, 5.0):
        histogram.observe(value)
    strange = 'a"b\\c\nd'
    return [(DEPTH, {("q",): 3}), (ENDED, {(strange, "success"): 7}), (RUN, {("t",): histogram})]


@pytest.mark.parametrize("accept", ["", "text/plain", "application/openmetrics-text; version=1.0.0"])
def test_it_is_written_as_prometheus_reads_it(accept: str) -> None:
    body, headers = page(figures(), accept, "")
    assert headers["Content-Type"].startswith(accept.partition(";")[0] or "text/plain")
    text = body.decode()
    assert 'grpcflow_depth{queue="q"} 3.0' in text
    assert 'grpcflow_ended_total{outcome="success",task="a\\"b\\\\c\\nd"} 7.0' in text
    told = Scrape(text.replace("# EOF\n", ""))
    assert [told.value("grpcflow_run_seconds_bucket", le=bound) for bound in ("0.1", "1.0", "+Inf")] == [1, 2, 3]
    assert told.value("grpcflow_run_seconds_count", task="t") == 3
    assert told.value("grpcflow_run_seconds_sum", task="t") == 5.55
    assert told.value("process_resident_memory_bytes") > 1e6


def test_it_is_packed_for_who_can_unpack_it() -> None:
    body, headers = page(figures(), "", "deflate, gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert b"grpcflow_depth" in gzip.decompress(body)


def test_memory_that_is_a_files_is_not_a_processs_own(tmp_path: object) -> None:
    import os

    own = anonymous_bytes(os.getpid())
    assert own is not None
    assert own > 1e6
    assert anonymous_bytes(2**22 + 1) is None
