"""A traced app whose spans go to a file, one JSON object a line, when they are handed over and not before."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from grpcflow import Grpcflow
from grpcflow.opentelemetry import instrument

app = Grpcflow("executor_traced", set_as_current=False)


class ToFile(SpanExporter):
    """Appends each span to the file of the test, with the process and the exporter that wrote it."""

    def __init__(self) -> None:
        self.made_in = os.getpid()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = [json.dumps([span.name, os.getpid(), self.made_in]) for span in spans]
        with Path(os.environ["EXECUTOR_TRACED_PATH"]).open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing is open."""


def make_provider() -> TracerProvider:
    provider = TracerProvider()
    # An hour: what is in the file before its end was handed over by us.
    provider.add_span_processor(BatchSpanProcessor(ToFile(), schedule_delay_millis=3_600_000))
    return provider


instrument(app, tracer_provider=make_provider)


@app.task
def where() -> int:
    return os.getpid()


@app.task
async def where_awaited() -> int:
    return os.getpid()
