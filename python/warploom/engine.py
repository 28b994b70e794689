"""Serving: requests that come and go at any time, by continuous batching, with futures and asyncio."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from . import _native
from .options import EngineOptions, Prompt, RequestOptions
from .prompts import check_model, refuse_several, request_for, text_of

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Receiver(Protocol):
    """Who gets a request's events. Called on the dispatcher's thread."""

    def deliver(self, event: _native.TokenEvent, handle: _native.RequestHandle, later: _Later) -> None: ...


_Later = dict[asyncio.AbstractEventLoop, "list[tuple[_AsyncQueue, _native.TokenEvent]]"]


def _output(handle: _native.RequestHandle) -> _native.RequestOutput:
    output = handle.output()
    if any(completion.finish_reason == "error" for completion in output.completions):
        raise _native.BackendError(output.error)
    return output


class _ToFuture:
    def __init__(self) -> None:
        self.future: Future[_native.RequestOutput] = Future()

    def deliver(self, event: _native.TokenEvent, handle: _native.RequestHandle, later: _Later) -> None:
        if not event.last or not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(_output(handle))
        except BaseException as error:
            self.future.set_exception(error)


class _ToQueue:
    def __init__(self) -> None:
        self.events: queue.SimpleQueue[_native.TokenEvent] = queue.SimpleQueue()

    def deliver(self, event: _native.TokenEvent, handle: _native.RequestHandle, later: _Later) -> None:
        self.events.put(event)


class _AsyncQueue:
    """Events for one event loop, which is woken once for all that came together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.events: asyncio.Queue[_native.TokenEvent] = asyncio.Queue()

    def deliver(self, event: _native.TokenEvent, handle: _native.RequestHandle, later: _Later) -> None:
        later[self.loop].append((self, event))


def _put(events: list[tuple[_AsyncQueue, _native.TokenEvent]]) -> None:
    for receiver, event in events:
        receiver.events.put_nowait(event)


class _Dispatcher:
    """Takes the engine's events from its queue, on a thread, to their receivers. The engine's own thread never waits for the
    GIL."""

    def __init__(self) -> None:
        self.queue = _native.EventQueue()
        self._lock = threading.Lock()
        self._live: dict[int, tuple[_Receiver, _native.RequestHandle]] = {}
        self._early: dict[int, list[_native.TokenEvent]] = {}  # of requests whose submission has not returned yet
        self._late: list[_native.TokenEvent] = []  # those of a request whose submission has returned
        self._closing = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="warploom-events", daemon=True)
        self._thread.start()

    def add(self, handle: _native.RequestHandle, receiver: _Receiver) -> None:
        with self._lock:
            self._live[handle.id] = (receiver, handle)
            early = self._early.pop(handle.id, [])
            self._late += early
            ended = self._ended
        if ended:  # the engine was closed before its submission returned: nobody else delivers
            self._deliver(self.queue.wait(0.0))
        elif early:
            self.queue.wake()

    def close(self) -> None:
        """After the engine's shutdown, when every request has its last event."""
        self._closing = True
        self.queue.wake()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            self._deliver(self.queue.wait(1.0))

    def _deliver(self, events: list[_native.TokenEvent]) -> None:
        with self._lock:
            taken = [found for event in [*self._late, *events] if (found := self._receiver_of(event))]
            self._late = []
            self._ended = self._ended or (self._closing and not self._live)
        later: _Later = defaultdict(list)
        for receiver, handle, event in taken:  # without the lock: whoever waits for a future may submit the next request
            receiver.deliver(event, handle, later)
        self._wake_loops(later)

    def _receiver_of(self, event: _native.TokenEvent) -> tuple[_Receiver, _native.RequestHandle, _native.TokenEvent] | None:
        found = self._live.get(event.request)
        if found is None:
            self._early.setdefault(event.request, []).append(event)
            return None
        receiver, handle = found
        if event.last:
            del self._live[event.request]
            handle.release()
        return receiver, handle, event

    @staticmethod
    def _wake_loops(later: _Later) -> None:
        for loop, events in later.items():
            try:
                loop.call_soon_threadsafe(_put, events)
            except RuntimeError:
                pass  # the loop is closed: nobody waits


class EngineStream(Iterator[_native.TokenEvent]):
    """The events of one request. Leaving a `with` block, close() and dropping the stream cancel it."""

    def __init__(self, handle: _native.RequestHandle, receiver: _ToQueue) -> None:
        self._handle, self._receiver, self._ended, self._complete = handle, receiver, False, False

    def __iter__(self) -> EngineStream:
        return self

    def __next__(self) -> _native.TokenEvent:
        if self._ended:
            raise StopIteration
        while True:
            try:
                event = self._receiver.events.get(timeout=0.1)  # between waits, Python's signal handlers run
                break
            except queue.Empty:
                pass
        if event.last:
            self._ended = True
            self._complete = True
            if event.finish_reason == "error":
                _output(self._handle)  # raises
        return event

    @property
    def output(self) -> _native.RequestOutput | None:
        """The whole output, once every event was taken; None before."""
        return self._handle.output() if self._complete else None

    def close(self) -> None:
        """Cancels the request, if it has not ended."""
        self._ended = True
        self._handle.cancel()

    def __del__(self) -> None:
        if not self._ended:
            self._handle.cancel()

    def __enter__(self) -> EngineStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


class AsyncEngineStream(AsyncIterator[_native.TokenEvent]):
    """The same for `async for`. aclose(), `async with` and dropping the stream cancel the request."""

    def __init__(self, handle: _native.RequestHandle, receiver: _AsyncQueue) -> None:
        self._handle, self._receiver, self._ended, self._complete = handle, receiver, False, False

    def __aiter__(self) -> AsyncEngineStream:
        return self

    async def __anext__(self) -> _native.TokenEvent:
        if self._ended:
            raise StopAsyncIteration
        event = await self._receiver.events.get()
        if event.last:
            self._ended = True
            self._complete = True
            if event.finish_reason == "error":
                _output(self._handle)  # raises
        return event

    @property
    def output(self) -> _native.RequestOutput | None:
        """The whole output, once every event was taken; None before."""
        return self._handle.output() if self._complete else None

    async def aclose(self) -> None:
        """Cancels the request, if it has not ended."""
        self._ended = True
        self._handle.cancel()

    def __del__(self) -> None:
        if not self._ended:
            self._handle.cancel()

    async def __aenter__(self) -> AsyncEngineStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _close(native: _native.Engine, dispatcher: _Dispatcher, process: int) -> None:
    if os.getpid() != process:
        return  # a forked child has neither thread
    native.shutdown()
    dispatcher.close()


class Engine:
    """Runs requests on one model by continuous batching: each step computes what the requests at hand need next. A request's
    tokens depend on the request alone, whatever else runs (on CUDA this takes a model loaded with deterministic=True).

    model, tokenizer: as Generator takes them. options: EngineOptions says what they mean.

    For any number of threads and event loops. close(), a `with` or an `async with` block ends it: requests that still run end as "shutdown". Not
    usable in a process that was forked after it was made.
    """

    def __init__(
        self, model: _native.Model, tokenizer: _native.Tokenizer | None = None, **options: Unpack[EngineOptions]
    ) -> None:
        check_model(model)
        self._native = _native.Engine(model, tokenizer, **options)
        self._model, self._tokenizer = model, tokenizer or model.tokenizer
        self._dispatcher = _Dispatcher()
        self._process = os.getpid()
        self._finalizer = weakref.finalize(self, _close, self._native, self._dispatcher, self._process)

    @property
    def model(self) -> _native.Model:
        """What computes."""
        return self._model

    @property
    def tokenizer(self) -> _native.Tokenizer:
        """What turns text into tokens."""
        return self._tokenizer

    def _submit(self, prompt: Prompt, options: RequestOptions, receiver: _Receiver) -> _native.RequestHandle:
        request = request_for(self._tokenizer, prompt, options)
        handle = self._native.submit(request, self._dispatcher.queue)
        self._dispatcher.add(handle, receiver)
        return handle

    def submit(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> Future[_native.RequestOutput]:
        """Queues a request; a future of its output. Cancelling the future cancels the request. What add_done_callback() adds runs on
        the thread that delivers events: while it runs, other requests go on, and their events wait.

        prompt: text, token ids or messages. options: RequestOptions says what they mean.

        Raises InvalidArgument or ModelError if the request cannot be honoured, QueueFull, EngineStopped. The future raises
        BackendError if the device fails, and what a callback of the request raises.
        """
        receiver = _ToFuture()
        handle = self._submit(prompt, options, receiver)

        def cancel(future: Future[_native.RequestOutput]) -> None:
            if future.cancelled():
                handle.cancel()

        receiver.future.add_done_callback(cancel)
        return receiver.future

    async def run(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> _native.RequestOutput:
        """The output of a request, awaited; cancelling the task cancels the request. Raises as submit() and its future do."""
        return await asyncio.wrap_future(self.submit(prompt, **options))

    async def generate(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> str:
        """The text that follows a prompt, awaited. Raises as submit() and its future do, and as Generator.generate() if no text
        can be given."""
        refuse_several(options)
        return text_of(await self.run(prompt, **options))

    def stream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> EngineStream:
        """Queues a request; an iterator over its TokenEvents. Raises as submit() does, and the iterator as its future does."""
        receiver = _ToQueue()
        return EngineStream(self._submit(prompt, options, receiver), receiver)

    def astream(self, prompt: Prompt, **options: Unpack[RequestOptions]) -> AsyncEngineStream:
        """The same as an async iterator, for the event loop that runs."""
        receiver = _AsyncQueue(asyncio.get_running_loop())
        return AsyncEngineStream(self._submit(prompt, options, receiver), receiver)

    def drain(self, timeout: float | None = None) -> bool:
        """Refuses new requests and waits until the others have ended; False if that took longer than `timeout` seconds."""
        return self._native.drain(timeout)

    def stats(self) -> dict[str, Any]:
        """What it has counted since it was made: times in seconds, histograms as dicts of bounds, counts, count and sum."""
        return self._native.stats()

    def prometheus_text(self, model_name: str) -> str:
        """The same in Prometheus' text format, with vLLM's metric names."""
        return self._native.prometheus_text(model_name)

    def clear_prefix_cache(self) -> None:
        """Drops what was computed for earlier prompts, before the next step."""
        self._native.clear_prefix_cache()

    def close(self) -> None:
        """Refuses new requests, ends the others as "shutdown", and returns when its threads have ended.

        Raises InvalidArgument in a constraint or a logits processor, on the engine's thread; it stays open then.
        """
        if self._finalizer.alive and os.getpid() == self._process:
            self._native.shutdown()
        self._finalizer()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)
