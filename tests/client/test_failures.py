"""Failures: captured whatever the exception does, rebuilt only where that is the same exception."""

import datetime as dt
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from grpcflow import errors, failures
from grpcflow_protos import limits
from grpcflow_protos.v1 import value_pb2


class NoFunds(Exception):
    """Fits its args."""


class WithOthers(Exception):
    """Its __init__ takes other arguments than those it keeps."""

    def __init__(self, account: int, amount: int) -> None:
        super().__init__(f"{account} lacks {amount}")


class Keyword(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(code)


class Broken(Exception):
    def __str__(self) -> str:
        raise SystemExit("in str")

    def __repr__(self) -> str:
        raise KeyboardInterrupt


class BrokenProperties(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no args today")

    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no cause today")


class Slotted(Exception):
    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Hostile(Exception):
    built = 0

    def __init__(self, *args: object) -> None:
        type(self).built += 1
        if type(self).built > 1:
            raise SystemExit(3)
        super().__init__(*args)


class Outer:
    class Inner(ValueError):
        pass


def captured(error: BaseException, **options: Any) -> value_pb2.Failure:
    """Raises and captures, so that there is a traceback; through bytes, as on the wire."""
    try:
        raise error
    except BaseException as caught:
        return value_pb2.Failure.FromString(failures.capture(caught, **options).SerializeToString())


def trip(error: BaseException) -> BaseException:
    return failures.rebuild(captured(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("no funds"),
        KeyError((1, 2)),
        OSError(2, "gone"),
        FileNotFoundError(2, "gone"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        NoFunds("a", 5, dt.date(2024, 1, 1), {1: (2,)}, [(3,)]),
        Outer.Inner("x"),
        errors.Ignore("x"),
        errors.Reject("x", requeue=True),
        errors.MaxRetriesExceededError("x"),
        errors.SerializationError("x", path="args[0]"),
        errors.ChordError("x"),
        errors.TimeoutError("x"),
        ValueError("\ud800"),
    ],
)
def test_an_exception_comes_back_as_itself(error: Exception) -> None:
    back = trip(error)
    assert type(back) is type(error)
    assert back.args == error.args
    assert back.__cause__ is None
    assert type(error).__name__ in back.remote_traceback  # type: ignore[attr-defined]
    assert "in captured" in back.remote_traceback  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "args"),
    [
        (WithOthers(1, 2), ("1 lacks 2",)),
        (Keyword(code=3), (3,)),
        (ValueError(object()), ()),
        (ValueError(NoFunds("inside")), ()),
        (SystemExit(3), (3,)),
        (KeyboardInterrupt(), ()),
        (BaseExceptionGroup("g", [SystemExit(1)]), ("g",)),
    ],
)
def test_what_cannot_be_rebuilt_becomes_a_remote_error(error: BaseException, args: tuple[object, ...]) -> None:
    back = trip(error)
    assert type(back) is errors.RemoteError
    assert back.type_name == type(error).__qualname__
    assert back.module == type(error).__module__
    assert back.args == back.remote_args == args
    assert "in captured" in back.traceback
    assert back.cause is None
    if str(error):
        assert str(error) in str(back)


def test_os_system_as_the_class_is_never_called(tmp_path: Any) -> None:
    proof = tmp_path / "proof"
    for module, name in [
        ("os", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "type"),
        ("builtins", "SystemExit"),
        ("builtins", "ValueError.__init__"),
        ("builtins", "ValueError.mro"),
        (__name__, "captured"),
        (__name__, "os.system"),
        (__name__, "errors.Ignore"),
        ("", ""),
        ("builtins", ""),
        ("builtins", "."),
    ]:
        failure = captured(ValueError(f"touch {proof}"))
        failure.module, failure.type_name = module, name
        back = failures.rebuild(failure)
        assert type(back) is errors.RemoteError, (module, name)
        assert back.args == (f"touch {proof}",)
    assert not proof.exists()


def test_a_module_attribute_hook_is_not_run() -> None:
    module = types.ModuleType("lazy_things")
    called: list[str] = []
    module.__getattr__ = called.append  # type: ignore[method-assign]
    sys.modules["lazy_things"] = module
    try:
        failure = captured(ValueError(1))
        failure.module, failure.type_name = "lazy_things", "Anything"
        assert type(failures.rebuild(failure)) is errors.RemoteError
    finally:
        del sys.modules["lazy_things"]
    assert called == []


@pytest.fixture
def unseen(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that is not imported yet; importing it leaves a trace."""
    (tmp_path / "unseen_bank.py").write_text("class Empty(Exception):\n    pass\n")
    (tmp_path / "unseen_broken.py").write_text("raise SystemError('at import')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "unseen_bank"
    sys.modules.pop("unseen_bank", None)


def test_a_module_is_imported_only_where_it_is_listed(unseen: str) -> None:
    failure = captured(ValueError("x"))
    failure.module, failure.type_name = unseen, "Empty"
    assert type(failures.rebuild(failure)) is errors.RemoteError
    assert type(failures.rebuild(failure, ["other"])) is errors.RemoteError
    assert unseen not in sys.modules
    back = failures.rebuild(failure, [unseen])
    assert (type(back).__module__, type(back).__name__, back.args) == (unseen, "Empty", ("x",))


def test_a_listed_module_that_cannot_be_imported_is_no_second_error(unseen: str) -> None:
    failure = captured(ValueError("x"))
    for module in ("unseen_broken", "no_such_module_at_all", "bad name", "..x"):
        failure.module = module
        assert type(failures.rebuild(failure, [module])) is errors.RemoteError


def test_a_local_class_becomes_a_remote_error() -> None:
    class Local(Exception):
        pass

    back = trip(Local("x"))
    assert type(back) is errors.RemoteError
    assert back.type_name.endswith("<locals>.Local")
    assert back.args == ("x",)


def test_an_exception_whose_text_cannot_be_made_is_captured() -> None:
    failure = captured(Broken("x"))
    assert "str() raised SystemExit" in failure.message
    assert "in captured" in failure.traceback
    failure = captured(BrokenProperties("x"))
    assert failure.args == b""
    assert type(failures.rebuild(failure)) is errors.RemoteError


def test_a_class_that_raises_when_it_is_rebuilt_is_no_second_error() -> None:
    back = trip(Hostile("x"))
    assert type(back) is errors.RemoteError
    assert back.args == ("x",)


def test_a_class_that_takes_no_attributes_is_rebuilt_all_the_same() -> None:
    assert type(trip(Slotted("x"))) is Slotted


def test_an_exception_group_comes_back_with_its_members() -> None:
    def make() -> ExceptionGroup[Exception]:
        inner = ExceptionGroup("inner", [KeyError("k"), ValueError(object())])
        return ExceptionGroup("outer", [ValueError("a"), inner])

    back = trip(make())
    assert isinstance(back, ExceptionGroup)
    assert back.message == "outer"
    first, second = back.exceptions
    assert (type(first), first.args) == (ValueError, ("a",))
    assert isinstance(second, ExceptionGroup)
    assert [type(one) for one in second.exceptions] == [KeyError, errors.RemoteError]


def test_a_group_that_is_too_large_is_cut_and_says_so() -> None:
    back = trip(ExceptionGroup("many", [ValueError(i) for i in range(failures.GROUP_MEMBERS + 1)]))
    assert isinstance(back, errors.RemoteError)
    assert len(back.exceptions) == failures.GROUP_MEMBERS


def test_a_group_with_a_member_that_is_no_exception_keeps_its_members() -> None:
    back = trip(BaseExceptionGroup("g", [SystemExit(1), ValueError("v")]))
    assert isinstance(back, errors.RemoteError)
    assert [type(one) for one in back.exceptions] == [errors.RemoteError, ValueError]


def test_causes_come_back_to_a_depth_of_8() -> None:
    error: Exception = ValueError(0)
    for number in range(1, 20):
        above = ValueError(number)
        above.__cause__ = error
        error = above
    back: BaseException | None = trip(error)
    numbers = []
    while back is not None:
        numbers.append(back.args[0])
        back = back.__cause__
    assert numbers == [19, 18, 17, 16, 15, 14, 13, 12, 11]


def test_a_cycle_of_causes_ends() -> None:
    first, second = ValueError(1), KeyError(2)
    first.__cause__, second.__cause__ = second, first
    back = trip(first)
    assert back.args == (1,)
    assert isinstance(back.__cause__, KeyError)
    assert back.__cause__.__cause__ is None


def test_a_remote_error_keeps_its_cause() -> None:
    error = WithOthers(1, 2)
    error.__cause__ = KeyError("why")
    back = trip(error)
    assert isinstance(back, errors.RemoteError)
    assert isinstance(back.cause, KeyError)
    assert back.__cause__ is back.cause


def test_a_remote_error_travels_on_as_what_it_stands_for() -> None:
    first = trip(WithOthers(1, 2))
    assert isinstance(first, errors.RemoteError)
    second = trip(first)
    assert isinstance(second, errors.RemoteError)
    assert (second.type_name, second.module, second.args) == (first.type_name, first.module, first.args)
    assert second.traceback == first.traceback
    assert second.message == first.message


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("CHORD", errors.ChordError),
        ("WORKER_LOST", errors.WorkerLostError),
        ("REVOKED", errors.TaskRevokedError),
        ("EXPIRED", errors.TaskRevokedError),
        ("UNREGISTERED", errors.NotRegistered),
        ("TOO_LARGE", errors.PayloadTooLarge),
        ("INPUTS_TOO_LARGE", errors.PayloadTooLarge),
        ("TIME_LIMIT", errors.TimeLimitExceeded),
    ],
)
def test_a_reason_stands_for_one_of_our_own_classes(reason: str, kind: type[errors.GrpcflowError]) -> None:
    failure = value_pb2.Failure(type_name="X", module="no.such", message="what happened", reason=reason)
    failure.cause.CopyFrom(captured(ValueError("why")))
    back = failures.rebuild(failure)
    assert type(back) is kind
    assert str(back) == "what happened"
    assert back.code == reason
    assert isinstance(back.__cause__, ValueError)


def test_a_failure_with_an_unknown_reason_is_a_remote_error() -> None:
    back = failures.rebuild(value_pb2.Failure(reason="FROM_THE_FUTURE", message="m"))
    assert isinstance(back, errors.RemoteError)
    assert str(back) == "FROM_THE_FUTURE: m"


def test_args_of_a_stranger_are_never_unpickled() -> None:
    import pickle

    failure = captured(ValueError("x"))
    failure.args, failure.args_content_type = pickle.dumps(["x"]), "application/x-python-pickle"
    assert type(failures.rebuild(failure)) is errors.RemoteError
    for junk in (b"{", b"1", b'{"a": 1}', b'[{"__grpcflow__": ["x"]}]'):
        failure.args, failure.args_content_type = junk, ""
        assert type(failures.rebuild(failure)) is errors.RemoteError


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_message_is_cut_at_its_limit(extra: int) -> None:
    text = "m" * (limits.FAILURE_MESSAGE_LIMIT + extra)
    failure = captured(ValueError(text))
    assert len(failure.message) == min(len(text), limits.FAILURE_MESSAGE_LIMIT)
    assert failure.message.endswith("..." if extra == 1 else "m")
    assert failures.rebuild(failure).args == (text,)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_a_traceback_is_cut_at_its_limit_in_the_middle(extra: int) -> None:
    short = len(captured(ValueError("m")).traceback)
    failure = captured(ValueError("m" * (limits.TRACEBACK_LIMIT - short + 1 + extra)))
    assert len(failure.traceback) == limits.TRACEBACK_LIMIT + min(extra, 0)
    assert failure.traceback.startswith("Traceback")
    assert ("left out" in failure.traceback) is (extra == 1)


def test_a_failure_stays_within_the_payload_limit() -> None:
    huge = "ä" * 100_000  # a thousand of these below are fifty times the limit
    error: Exception = ValueError(huge, huge)
    for _ in range(20):
        above = ExceptionGroup(huge, [ValueError(huge) for _ in range(50)])
        above.__cause__ = error
        error = above
    failure = captured(error)
    assert failure.ByteSize() < limits.PAYLOAD_LIMIT
    assert isinstance(failures.rebuild(failure), errors.RemoteError)
    alone = captured(ValueError("x" * limits.PAYLOAD_LIMIT))
    assert alone.args == b""
    assert "in captured" in alone.traceback


def test_the_origin_and_the_reason_are_kept() -> None:
    failure = captured(KeyError("t"), reason="UNREGISTERED", origin="id-1")
    assert (failure.reason, failure.origin) == ("UNREGISTERED", "id-1")
    back = failures.rebuild(failure)
    assert isinstance(back, errors.NotRegistered)
    assert isinstance(back, KeyError)


def test_importing_failures_imports_neither_grpc_nor_protobuf() -> None:
    code = (
        "import sys, grpcflow.failures, grpcflow.codec, grpcflow.ids, grpcflow.errors, grpcflow.waiting\n"
        "assert not [name for name in sys.modules if name in ('grpc', 'google.protobuf')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=150, env=os.environ)
