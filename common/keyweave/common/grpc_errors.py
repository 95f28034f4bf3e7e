"""What a gRPC caller is told when a handler of ours raises.

`grpc.aio.server(interceptors=[ErrorInterceptor()])` is all a process needs: a KeyweaveError becomes the
google.rpc.Status that errors.py gives it, and anything else a bare INTERNAL, because the text of an
unforeseen exception may hold what the caller must not see.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from keyweave.common import log
from keyweave.common.errors import InvalidInputError, KeyweaveError, to_status

if TYPE_CHECKING:  # grpc's classes are generic in its stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
    Context = grpc.aio.ServicerContext
    Interceptor = grpc.aio.ServerInterceptor


async def abort(context: Context, error: KeyweaveError) -> NoReturn:
    """End the call with the status of `error`, field violations included."""
    status = rpc_status.to_status(to_status(error))
    await context.abort(status.code, status.details, status.trailing_metadata)
    raise AssertionError("abort() always raises")


class ErrorInterceptor(Interceptor):
    """Answers the errors of every asyncio handler, whatever its shape."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Wrap the handler of one call; None (no such method) stays None."""
        handler = await continuation(handler_call_details)
        return handler and _answering(handler, handler_call_details.method)


def _answering(handler: Handler, method: str) -> Handler:
    behaviour = shape(handler)[1]
    wrapped: Callable[[Any, Any], Any]
    if inspect.isasyncgenfunction(behaviour):

        async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
            async with _answered(context, method), aclosing(behaviour(request, context)) as responses:
                async for response in responses:
                    yield response

        wrapped = generate
    elif inspect.iscoroutinefunction(behaviour):

        async def answer(request: Any, context: Any) -> Any:
            async with _answered(context, method):
                return await behaviour(request, context)

        wrapped = answer
    else:  # a synchronous handler of a library's (it runs in a thread)
        return handler
    return remade(handler, wrapped)


def remade(handler: Handler, behaviour: Callable[[Any, Any], Any]) -> Handler:
    """`handler` with another behaviour of the same shape."""
    return shape(handler)[0](
        behaviour,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )


def shape(handler: Handler) -> tuple[Callable[..., Handler], Callable[[Any, Any], Any]]:
    """How handlers of this shape are made, and what this one does. Exactly one of the four is set."""
    shapes: tuple[tuple[Callable[..., Handler], Any], ...] = (
        (grpc.unary_unary_rpc_method_handler, handler.unary_unary),
        (grpc.unary_stream_rpc_method_handler, handler.unary_stream),
        (grpc.stream_unary_rpc_method_handler, handler.stream_unary),
        (grpc.stream_stream_rpc_method_handler, handler.stream_stream),
    )
    return next((make, behaviour) for make, behaviour in shapes if behaviour is not None)


@asynccontextmanager
async def _answered(context: Context, method: str) -> AsyncIterator[None]:
    try:
        yield
    except KeyweaveError as error:
        await abort(context, error)
    except grpc.aio.AbortError:
        raise
    except DecodeError:
        # The caller's failure, in the middle of a stream; before one, gRPC itself answers it.
        await abort(context, InvalidInputError.of("message", "the bytes are not a message of this call"))
    except Exception as error:  # noqa: BLE001  # the last line of defence: logged and answered
        if (stop := _server_stop(error)) is not None:
            raise stop from None  # an ordered shutdown: gRPC knows it, nobody is left to answer
        ours = _first_of_ours(error)
        if ours is not None:
            await abort(context, ours)
        log.get().exception("grpc_handler_failed", method=method)
        await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log has the cause")


def _server_stop(error: Exception) -> Exception | None:
    """What gRPC raises where a server has stopped, if that is all that a handler brought up.

    gRPC keeps that type to itself; a session's TaskGroup wraps it.
    """
    if isinstance(error, ExceptionGroup):
        stops = [_server_stop(each) for each in error.exceptions if isinstance(each, Exception)]
        return stops[0] if stops and len(stops) == len(error.exceptions) and all(stops) else None
    return error if type(error).__name__ == "_ServerStoppedError" else None


def _first_of_ours(error: Exception) -> KeyweaveError | None:
    """The first KeyweaveError that a handler's TaskGroup brought up, if that is all it brought up."""
    while isinstance(error, ExceptionGroup):
        ours, others = error.split(KeyweaveError)
        if ours is None or others is not None:
            return None
        error = ours.exceptions[0]
    return error if isinstance(error, KeyweaveError) else None
