"""Tasks whose arguments and values are pydantic models: what travels are plain mappings.

Imports pydantic when a task asks for it, and nothing of grpcflow at run time.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

if TYPE_CHECKING:
    import pydantic

    from grpcflow.task import Task

__all__ = ["as_plain", "with_models"]


def with_models(task: "Task[..., Any]", run: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``run`` with models for the arguments whose annotation is one, and a mapping for a returned model.

    Raises:
        ImportError: pydantic is not installed.
    """
    base = _base_model()
    models: dict[str, type[pydantic.BaseModel]] | None = None
    signature = inspect.signature(run)

    def bound(args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        nonlocal models
        if models is None:
            # Not before the first call: an annotation may name a model that its module defines further below.
            models = _models(run, base)
        found = signature.bind(*args, **kwargs)
        context = {**(task.pydantic_context or {}), "grpcflow_app": task.app, "grpcflow_task_name": task.name}
        for name in found.arguments.keys() & models.keys():
            if found.arguments[name] is not None:
                found.arguments[name] = models[name].model_validate(
                    found.arguments[name], strict=task.pydantic_strict, context=context
                )
        return found

    def dumped(value: Any) -> Any:
        return value.model_dump(**_dump_options(task)) if isinstance(value, base) else value

    if inspect.iscoroutinefunction(run):

        @functools.wraps(run)
        async def run_coroutine_with_models(*args: Any, **kwargs: Any) -> Any:
            given = bound(args, kwargs)
            return dumped(await run(*given.args, **given.kwargs))

        return run_coroutine_with_models

    @functools.wraps(run)
    def run_with_models(*args: Any, **kwargs: Any) -> Any:
        given = bound(args, kwargs)
        return dumped(run(*given.args, **given.kwargs))

    return run_with_models


def as_plain(
    task: "Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with models written as mappings; a model that is no argument itself stays."""
    base, options = _base_model(), _dump_options(task)

    def plain(value: Any) -> Any:
        return value.model_dump(**options) if isinstance(value, base) else value

    return tuple(plain(value) for value in args), {name: plain(value) for name, value in kwargs.items()}


def _dump_options(task: "Task[..., Any]") -> Mapping[str, Any]:
    return {"mode": "json"} if task.pydantic_dump_kwargs is None else task.pydantic_dump_kwargs


def _models(run: Callable[..., Any], base: type["pydantic.BaseModel"]) -> dict[str, type["pydantic.BaseModel"]]:
    """Return the parameters that are annotated with a model, or with a model or None."""
    found: dict[str, type[pydantic.BaseModel]] = {}
    for name, parameter in inspect.signature(run, eval_str=True).parameters.items():
        annotation = parameter.annotation
        if get_origin(annotation) in (Union, UnionType):
            choices = [choice for choice in get_args(annotation) if choice is not NoneType]
            annotation = choices[0] if len(choices) == 1 else None
        if isinstance(annotation, type) and issubclass(annotation, base):
            found[name] = annotation
    return found


def _base_model() -> type["pydantic.BaseModel"]:
    """Return pydantic's base class.

    Raises:
        ImportError: pydantic is not installed.
    """
    try:
        import pydantic
    except ImportError as error:
        message = "a task with pydantic=True needs pydantic: pip install 'grpcflow[pydantic]'"
        raise ImportError(message, name="pydantic") from error
    return pydantic.BaseModel
