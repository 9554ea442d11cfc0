"""Who may call what, and in which namespace: the door that holds to the table of `roles`.

A caller is looked at once, when its call arrives; streams that are open are looked at again when the tokens change, and
never for a task or a message. Who calls, and where it acts, is told by `security.caller`: to the `switchboard`, which
finds the handler of that namespace, and to what reads names inside of a call (queues, limits). Nothing else in rpc/ may
ask for tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import msgspec

from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.interceptors import abort, with_behaviour
from grpcflow_coordinator.rpc.roles import Rule, rule_of
from grpcflow_coordinator.security.audit import Audit
from grpcflow_coordinator.security.caller import called_by
from grpcflow_coordinator.security.token_file import Role
from grpcflow_coordinator.security.tokens import EVERYONE, Identity, Tokens
from grpcflow_protos.limits import NAMESPACE_KEY

#: Key of the metadata that a call bears its token in.
_AUTHORIZATION: Final = "authorization"


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls pass whose caller may make them, and writes down what they changed.

    Args:
        tokens: who may do what; None: everybody may do everything, in the default namespace.
        audit: where changes are written down; None: nowhere.
        check_namespace: raises the refusal of a namespace that is not served.
    """

    def __init__(self, tokens: Tokens | None, audit: Audit | None, check_namespace: Callable[[str], None]) -> None:
        self._tokens, self._audit, self._check_namespace = tokens, audit, check_namespace
        self._streams: dict[asyncio.Task[Any], Identity] = {}
        self._ended: set[asyncio.Task[Any]] = set()

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Let the call pass to the namespace that it is for, or answer it with a refusal."""
        method: str = handler_call_details.method
        rule = rule_of(method)
        identity, acting, refusal = self._admit(rule, method, handler_call_details.invocation_metadata)
        if acting is not EVERYONE:
            called_by(acting)  # before the handler is looked for, in the task that runs it too
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        if refusal is not None:
            return self._refusing(handler, refusal, method, rule, identity)
        if self._audit is not None and rule.audited:
            handler = self._audited(handler, method, acting)
        if acting is EVERYONE:
            return handler
        return self._ending(handler, identity) if handler.response_streaming or handler.request_streaming else handler

    def _admit(self, rule: Rule, method: str, metadata: Any) -> tuple[Identity, Identity, Refusal | None]:
        """Return who calls, as whom it acts, and why it may not where it may not: then it acts as nobody."""
        if not rule.roles:
            return EVERYONE, EVERYONE, None
        namespace = _said(metadata, NAMESPACE_KEY)
        if self._tokens is None:
            return EVERYONE, EVERYONE, Refusal("NAMESPACES_OFF", _WITHOUT_TOKENS) if namespace else None
        identity = _NOBODY
        try:
            identity = self._tokens.identify(_said(metadata, _AUTHORIZATION))
            _check_roles(rule, method, identity)
            return identity, self._acting(identity, namespace), None
        except Refusal as refusal:
            return identity, EVERYONE, refusal

    def _acting(self, identity: Identity, namespace: str) -> Identity:
        """Return a caller as it acts in the namespace that it names; "": in its own.

        Raises:
            Refusal: it may not act there, or nobody may at the moment.
        """
        if namespace not in ("", identity.namespace):
            # Whether there is such a namespace is not for everybody to know.
            if identity.namespace or not identity.may(Role.ADMIN):
                raise Refusal("NAMESPACE_FORBIDDEN", _elsewhere(identity, namespace))
            identity = msgspec.structs.replace(identity, namespace=namespace)
        self._check_namespace(identity.namespace)
        return identity

    # --- refused -----------------------------------------------------------------------------------------------

    def _refusing(self, handler: Any, refusal: Refusal, method: str, rule: Rule, identity: Identity) -> Any:
        """Return a handler that refuses, whatever is asked."""

        async def refuse(request: Any, context: Any) -> None:
            if self._audit is not None and rule.audited:
                self._audit.write(method, identity, context.peer(), None, refusal.code)
            await abort(context, refusal)

        async def refuse_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await refuse(request, context)
            yield  # never reached: it makes this the generator that a streaming method is

        return with_behaviour(handler, refuse, refuse_stream)

    # --- written down ------------------------------------------------------------------------------------------

    def _audited(self, handler: Any, method: str, identity: Identity) -> Any:
        """Return a handler that writes down what was asked and how it ended."""
        behaviour = handler.unary_unary or handler.unary_stream
        audit = self._audit
        assert audit is not None

        async def one(request: Any, context: Any) -> Any:
            try:
                answer = await behaviour(request, context)
            except BaseException:
                audit.write(method, identity, context.peer(), request, _status(context))
                raise
            audit.write(method, identity, context.peer(), request, "OK")
            return answer

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for response in behaviour(request, context):
                    yield response
            except BaseException:
                audit.write(method, identity, context.peer(), request, _status(context))
                raise
            audit.write(method, identity, context.peer(), request, "OK")

        return with_behaviour(handler, one, many)

    # --- streams that outlive their token ----------------------------------------------------------------------

    def _ending(self, handler: Any, identity: Identity) -> Any:
        """Return a handler whose stream `recheck` can end."""
        behaviour = handler.unary_stream or handler.stream_stream

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            task = asyncio.current_task()
            assert task is not None
            self._streams[task] = identity
            try:
                async for response in behaviour(request, context):
                    yield response
            except asyncio.CancelledError:
                if task not in self._ended:
                    raise
                task.uncancel()
                await abort(context, Refusal("TOKEN_ENDED", "the token was changed or revoked, or expired: come back"))
            finally:
                del self._streams[task]
                self._ended.discard(task)

        return with_behaviour(handler, many, many)

    def recheck(self) -> None:
        """Read the tokens where they have changed, and end the streams whose own no longer holds as it did.

        Their peers come back at once, with the token that they have by then.
        """
        if self._tokens is None:
            return
        self._tokens.reload()
        for task, identity in list(self._streams.items()):
            if task not in self._ended and not self._tokens.holds(identity):
                self._ended.add(task)
                task.cancel()


#: Who is written down where nobody proved who it is.
_NOBODY: Final = Identity(roles=frozenset())


_WITHOUT_TOKENS: Final = (
    "the call names a namespace, and without tokens there is only the default one: start the coordinator with --tokens "
    "FILE and make one with `grpcflow-coordinator token add NAME --role ROLE --namespace NAMESPACE`"
)


def _said(metadata: Any, wanted: str) -> str:
    """Return what a call bears under a key; "": nothing."""
    value = next((value for key, value in metadata or () if key == wanted), "")
    return value if isinstance(value, str) else ""


def _check_roles(rule: Rule, method: str, identity: Identity) -> None:
    """Let who has one of the roles pass.

    Raises:
        Refusal: ROLE_FORBIDDEN.
    """
    if not any(identity.may(role) for role in rule.roles):
        needed, has = " or ".join(rule.roles), ", ".join(sorted(identity.roles))
        told = f"{method} is for the role {needed}; the token {identity.name!r} has {has or 'none'}: use another token"
        raise Refusal("ROLE_FORBIDDEN", told)


def _elsewhere(identity: Identity, namespace: str) -> str:
    own = f"the namespace {identity.namespace!r}" if identity.namespace else "the default namespace"
    return (
        f"the token {identity.name!r} is in {own} and not in {namespace!r}: use a token of that one; only who has the "
        "role admin in the default namespace may act in others"
    )


def _status(context: Any) -> str:
    code = context.code()
    return getattr(code, "name", None) or (grpc_name(code) if isinstance(code, int) and code else "CANCELLED")


def grpc_name(number: int) -> str:
    """Return the name of a gRPC status."""
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), str(number))
