"""Events of one request as they come, for `for` and for `async for`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType

from . import _native


class Stream(Iterator[_native.TokenEvent]):
    """The events of one request, each as soon as its token is there; the texts add up to the completions'.

    Leaving a `with` block, close() and dropping the stream end the request. What goes wrong is raised after the events that
    came before.
    """

    def __init__(self, native: _native.EventStream) -> None:
        self._native = native
        self._events: deque[_native.TokenEvent] = deque()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> _native.TokenEvent:
        while not self._events:
            if self._native.ended:
                self._native.take(0.0)  # raises what went wrong
                raise StopIteration
            self._events.extend(self._native.take(0.1))  # between waits, Python's signal handlers run
        return self._events.popleft()

    def close(self) -> None:
        """Ends the request, and waits until it has ended."""
        self._events.clear()
        self._native.close()

    @property
    def output(self) -> _native.RequestOutput | None:
        """The whole output, once every event was taken; None before. After close() it ends where the request did."""
        return None if self._events else self._native.output

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class AsyncStream(AsyncIterator[_native.TokenEvent]):
    """The same for `async for`; the event loop goes on while it waits. aclose() and `async with` end the request."""

    def __init__(self, native: _native.EventStream) -> None:
        self._native = native
        self._events: deque[_native.TokenEvent] = deque()

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> _native.TokenEvent:
        while not self._events:
            if self._native.ended:
                self._native.take(0.0)  # raises what went wrong
                raise StopAsyncIteration
            try:
                self._events.extend(await asyncio.to_thread(self._native.take, 0.25))
            except asyncio.CancelledError:
                self._native.cancel()
                raise
        return self._events.popleft()

    async def aclose(self) -> None:
        """Ends the request, and waits until it has ended."""
        self._events.clear()
        await asyncio.to_thread(self._native.close)

    @property
    def output(self) -> _native.RequestOutput | None:
        """The whole output, once every event was taken; None before. After aclose() it ends where the request did."""
        return None if self._events else self._native.output

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
