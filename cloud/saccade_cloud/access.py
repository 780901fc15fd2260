"""Who may call what, decided before any servicer hears of the call.

- Health is open: who watches a cloud needs no secret, and it says nothing else.
- ``Vision.Connect`` is for devices: `saccade_cloud.identity` decides, by certificate.
- Everything else, reflection and what is added later included, is for applications: they show a
  token. A cloud that knows devices by certificate but has no tokens serves no application; only
  one that has neither, on its own machine or by ``--insecure``, is open to all.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from saccade.errors import Forbidden, SaccadeError, Unauthenticated
from saccade_cloud.tokens import Tokens
from saccade_cloud.translate import translated

# Who asked what, by the token's name.
log = logging.getLogger("saccade.access")

OPEN = ("/grpc.health.v1.Health/", "/saccade.v1.Vision/Connect")

if TYPE_CHECKING:  # the class is generic in the stubs only
    Handler = grpc.RpcMethodHandler[Any, Any] | None  # None: there is no such method


class Access(grpc.aio.ServerInterceptor):
    """``tokens`` None: this cloud has none. ``certified``: it knows devices by certificate."""

    def __init__(self, tokens: Tokens | None, *, certified: bool) -> None:
        self._tokens = tokens
        self._certified = certified

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        method = handler_call_details.method
        if not method.startswith(OPEN):
            try:
                self._check(method, dict(handler_call_details.invocation_metadata))
            except SaccadeError as error:
                return _refusal(error)
        return await continuation(handler_call_details)

    def _check(self, method: str, metadata: dict[str, str | bytes]) -> None:
        """Raises ``Unauthenticated`` or ``Forbidden``."""
        if self._tokens is None:
            if self._certified:
                raise Forbidden("this cloud has no tokens, and so serves no applications")
            return
        said = metadata.get("authorization")
        scheme, _, token = said.partition(" ") if isinstance(said, str) else ("", "", "")
        if scheme.lower() != "bearer":
            raise Unauthenticated("this cloud asks applications for a token, and none was given")
        name = self._tokens.name_of(token.strip())
        if name is None:
            raise Unauthenticated("the token is not one of this cloud's")
        log.info("%s calls %s", name, method)


def _refusal(error: SaccadeError) -> Handler:
    """Ends the call at once, whatever kind of call it is: nothing is read first."""

    async def refuse(
        request_iterator: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> NoReturn:
        async with translated(context):
            raise error

    return grpc.stream_stream_rpc_method_handler(refuse)
