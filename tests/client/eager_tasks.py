"""The tasks of the tests of eager calls, and what they heard."""

from typing import Any

from grpcflow import Context, Grpcflow, Ignore, Reject, Signature
from grpcflow.eager import apply_canvas

app = Grpcflow("eager", set_as_current=False)
heard: list[Any] = []


@app.task(name="add")
def add(x: Any, y: Any) -> Any:
    return x + y


@app.task(name="total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="same")
def same(value: Any = None) -> Any:
    return value


@app.task(name="fail")
def fail(*args: Any) -> None:
    raise ValueError("no")


@app.task(name="hear")
def hear(value: Any) -> None:
    heard.append(value)


@app.task(name="hear_all")
def hear_all(request: Context, error: BaseException, traceback: str) -> None:
    heard.append((request, error, traceback))


@app.task(name="ask_again", bind=True, max_retries=5)
def ask_again(self: Any, times: int, seen: tuple[int, ...] = ()) -> list[int]:
    retries = self.request.retries
    if retries < times:
        raise self.retry(args=(times, (*seen, retries)), countdown=1_000)
    return [*seen, retries]


@app.task(name="look", bind=True)
def look(self: Any, *args: Any) -> Context:
    request: Context = self.request
    return request


@app.task(name="become", bind=True)
def become(self: Any, *_args: Any, into: Any) -> Any:
    return self.replace(into)


@app.task(name="sink", bind=True)
def sink(self: Any, left: int) -> Any:
    if left:
        raise self.replace(sink.s(left - 1))
    return self.request.replaced_task_nesting


@app.task(name="grow", bind=True)
def grow(self: Any, value: int) -> int:
    self.add_to_chord(same.s(value * 10))
    return value


@app.task(name="leave")
def leave(kind: str) -> None:
    raise Ignore("not today") if kind == "ignore" else Reject("never")


def run(canvas: Signature, *args: Any, **options: Any) -> Any:
    return apply_canvas(canvas, args, **options)
