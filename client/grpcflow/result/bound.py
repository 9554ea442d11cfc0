"""``GroupResult`` as an app offers it: the class, with the app filled in. Holds nothing else."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from grpcflow.result.group import GroupResult
from grpcflow.result.result_set import ResultSet
from grpcflow.result.single import AsyncResult

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["BoundGroupResult"]


class BoundGroupResult:
    """Stands for ``GroupResult`` with an app filled in, for ``isinstance`` too.

    What it makes is of the class itself, so that it can be pickled.

    Args:
        app: The app.
    """

    def __init__(self, app: "Grpcflow") -> None:
        self._app = app

    def __call__(
        self,
        id: str,
        results: Iterable[AsyncResult[Any] | ResultSet] = (),
        parent: "AsyncResult[Any] | GroupResult | None" = None,
    ) -> GroupResult:
        """Return the result of a group with these members; parameters as in ``GroupResult``."""
        return GroupResult(id, results, parent, app=self._app)

    def restore(self, id: str) -> GroupResult | None:
        """Return the group that was saved under this id; None where there is none, or no longer."""
        return GroupResult.restore(id, app=self._app)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, GroupResult)
