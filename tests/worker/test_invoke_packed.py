"""Arguments and values that travel compressed, in a worker."""

from grpcflow import Grpcflow, codec
from grpcflow_worker.executor import Call, CallRun, Ended
from grpcflow_worker.invoke import Invoker

app = Grpcflow("packed", set_as_current=False, result_serializer="msgpack", result_compression="zlib")


@app.task(name="double")
def double(text: str) -> str:
    return text * 2


def test_compressed_arguments_are_read_and_the_value_is_compressed_as_the_setting_says() -> None:
    content = codec.content_type("json", "gzip")
    call = Call(task="double", content_type=content)
    run = CallRun(call=call, graph=bytes(12), first=0, token=7, payloads=[codec.encode_call(["x" * 500], {}, content)])
    end = Invoker(app, hostname="w1").bind(run)(0)
    assert isinstance(end, Ended)
    assert (end.kind, end.content_type) == ("value", "application/msgpack+zlib")
    assert len(end.data) < 100
    assert codec.decode(end.data, end.content_type) == "x" * 1_000
