"""Writes figures down as Prometheus reads them. The one file of this package that imports prometheus-client."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from grpcflow_protos.metrics.figures import Family, Figures, Histogram, Rows


class _Once(Collector):
    """Figures that were gathered already."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """Yield them."""
        return (_metric(family, rows) for family, rows in self._figures)


def page(figures: Figures, accept: str, encodings: str) -> tuple[bytes, dict[str, str]]:
    """Write figures down, those of the process itself with them.

    Args:
        figures: what was gathered.
        accept: the formats that the asker reads, as its header says.
        encodings: how it may be packed, as its header says.

    Returns:
        The page, and the headers that say how it is to be read.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(figures))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    body = encode(registry)
    headers = {"Content-Type": content_type}
    if gzip_accepted(encodings):
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    return body, headers


def _metric(family: Family, rows: Rows) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, value in rows.items():
            assert isinstance(value, Histogram)
            histogram.add_metric(labels, list(_buckets(value)), value.total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name.removesuffix("_total"), family.help, labels=family.labels)
    for labels, value in rows.items():
        assert not isinstance(value, Histogram)
        metric.add_metric(labels, value)
    return metric


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    """Yield each bound with how many values did not exceed it."""
    bounds = (*histogram.bounds, float("inf"))
    return zip(map(floatToGoString, bounds), accumulate(histogram.counts), strict=True)
