"""Continuous batching with futures, iterators and asyncio."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import pytest

import warploom
from callbacks import LONG, PROMPT, Failing, Failure, Gate, Slow


@pytest.fixture
def engine(tiny: warploom.Model) -> Any:
    with warploom.Engine(tiny, kv_cache_tokens=8192) as engine:
        yield engine


def alone(model: warploom.Model, seed: int, **options: Any) -> list[int]:
    return warploom.generate(model, PROMPT, seed=seed, ignore_eos=True, **options).tolist()


def test_futures(tiny: warploom.Model, engine: warploom.Engine) -> None:
    futures = [engine.submit(PROMPT, seed=i, max_tokens=20, ignore_eos=True) for i in range(8)]
    assert [f.result(30).completions[0].token_ids for f in futures] == [alone(tiny, i, max_tokens=20) for i in range(8)]


def test_streams(tiny: warploom.Model, engine: warploom.Engine) -> None:
    streams = [engine.stream(PROMPT, seed=i, max_tokens=20, ignore_eos=True) for i in range(3)]
    assert [[event.token for event in stream] for stream in streams] == [alone(tiny, i, max_tokens=20) for i in range(3)]


def test_64_concurrent_requests_of_asyncio(tiny: warploom.Model, engine: warploom.Engine) -> None:
    async def one(i: int) -> list[int | None]:
        if i % 2:
            return list((await engine.run(PROMPT, seed=i, max_tokens=10 + i, ignore_eos=True)).completions[0].token_ids)
        return [event.token async for event in engine.astream(PROMPT, seed=i, max_tokens=10 + i, ignore_eos=True)]

    async def main() -> list[list[int | None]]:
        return await asyncio.gather(*(one(i) for i in range(64)))

    assert asyncio.run(main()) == [alone(tiny, i, max_tokens=10 + i) for i in range(64)]


def test_the_event_loop_goes_on(engine: warploom.Engine) -> None:
    """Each draw waits until the event loop has gone round once more."""

    class Tick:
        def __init__(self) -> None:
            self.wanted, self.came = threading.Event(), threading.Event()

        def allowed(self, history: Any) -> None:
            self.came.clear()
            self.wanted.set()
            assert self.came.wait(30)

    async def main() -> str:
        tick = Tick()
        task = asyncio.create_task(engine.generate(PROMPT, max_tokens=20, constraint=tick, ignore_eos=True))
        while not task.done():
            await asyncio.sleep(0.001)
            if tick.wanted.is_set():
                tick.wanted.clear()
                tick.came.set()
        return await task

    assert asyncio.run(main()) == engine.submit(PROMPT, max_tokens=20, ignore_eos=True).result(30).completions[0].text


def ended(engine: warploom.Engine, reason: str, count: int) -> bool:
    for _ in range(500):
        if engine.stats()["finished_completions"][reason] == count:
            return True
        time.sleep(0.01)
    return False


def test_cancelling(engine: warploom.Engine) -> None:
    slow: Any = {"constraint": Slow(), **LONG}
    future = engine.submit(PROMPT, **slow)
    assert future.cancel()
    with pytest.raises(CancelledError):
        future.result()
    assert ended(engine, "cancelled", 1)

    stream = engine.stream(PROMPT, **slow)
    next(stream)
    stream.close()
    assert list(stream) == []
    assert ended(engine, "cancelled", 2)

    dropped = engine.stream(PROMPT, **slow)
    next(dropped)
    del dropped
    gc.collect()
    assert ended(engine, "cancelled", 3)

    async def main() -> None:
        task = asyncio.create_task(engine.run(PROMPT, **slow))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with engine.astream(PROMPT, **slow) as entered:
            async for _ in entered:
                break

    asyncio.run(main())
    assert ended(engine, "cancelled", 5)


def test_async_with_ends_it(tiny: warploom.Model) -> None:
    async def main() -> warploom.RequestOutput:
        async with warploom.Engine(tiny) as engine:
            assert engine.model is tiny and engine.tokenizer.vocab_size == tiny.shape.vocab_size
            running = asyncio.create_task(engine.run(PROMPT, max_tokens=10**6, ignore_eos=True))
            await asyncio.sleep(0.05)
        with pytest.raises(warploom.EngineStopped):
            engine.submit(PROMPT)
        return await running

    assert asyncio.run(main()).completions[0].finish_reason in ("shutdown", "context_full")


def test_what_callbacks_raise(engine: warploom.Engine) -> None:
    with pytest.raises(Failure):
        engine.submit(PROMPT, constraint=Failing()).result(30)
    with pytest.raises(Failure):
        list(engine.stream(PROMPT, constraint=Failing()))

    async def main() -> None:
        with pytest.raises(Failure):
            await engine.generate(PROMPT, constraint=Failing())
        with pytest.raises(Failure):
            async for _ in engine.astream(PROMPT, constraint=Failing()):
                pass

    asyncio.run(main())


def test_errors(tiny: warploom.Model) -> None:
    with warploom.Engine(tiny, kv_cache_tokens=4096, max_num_seqs=1, max_queued_requests=1) as engine:
        with pytest.raises(warploom.InvalidArgument):
            engine.submit([300])
        waiting = []
        with pytest.raises(warploom.QueueFull):
            for _ in range(20):
                waiting.append(engine.submit(PROMPT, constraint=Slow(), **LONG))
    assert waiting[0].result(30).completions[0].finish_reason == "shutdown"
    with pytest.raises(warploom.EngineStopped):
        engine.submit(PROMPT)
    engine.close()  # a second time does nothing


def test_draining_and_statistics(engine: warploom.Engine) -> None:
    futures = [engine.submit(PROMPT, max_tokens=5, ignore_eos=True) for _ in range(4)]
    assert engine.drain(30)
    assert all(future.result(1).completions[0].finish_reason == "length" for future in futures)
    stats = engine.stats()
    assert stats["generated_tokens"] == 20 and stats["finished_completions"]["length"] == 4
    assert stats["time_to_first_token"]["count"] == 4
    assert 'warploom:generation_tokens_total{model_name="tiny"} 20' in engine.prometheus_text("tiny")


def test_deadline_and_priority(engine: warploom.Engine) -> None:
    output = engine.submit(PROMPT, constraint=Slow(), deadline=0.1, priority=-5, **LONG).result(30)
    assert output.completions[0].finish_reason == "deadline"


def test_submissions_from_many_threads(tiny: warploom.Model, engine: warploom.Engine) -> None:
    results: dict[int, list[int]] = {}

    def client(i: int) -> None:
        results[i] = engine.submit(PROMPT, seed=i, max_tokens=15, ignore_eos=True).result(30).completions[0].token_ids

    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: alone(tiny, i, max_tokens=15) for i in range(16)}


def test_engines_come_and_go(tiny: warploom.Model) -> None:
    before = threading.active_count()
    for _ in range(20):
        engine = warploom.Engine(tiny, kv_cache_tokens=1024)
        engine.submit(PROMPT, max_tokens=2).result(30)
        del engine  # without close()
        gc.collect()
    assert threading.active_count() == before


def test_closing_waits_for_the_step_at_hand_alone(tiny: warploom.Model) -> None:
    engine = warploom.Engine(tiny, kv_cache_tokens=4096)
    gate = Gate()
    futures = [engine.submit(PROMPT, constraint=gate, **LONG) for _ in range(8)]
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(warploom.EngineStopped):
        while True:  # until it is being closed
            engine.submit(PROMPT)
            time.sleep(0.001)
    gate.opened.set()
    closing.join()
    assert {future.result(0).completions[0].finish_reason for future in futures} == {"shutdown"}
    assert gate.calls <= 1 + len(futures)  # a step of the first alone, and the one that was held


def test_the_next_request_from_a_futures_callback(engine: warploom.Engine) -> None:
    chain: list[Any] = []

    def follow(_: Any) -> None:
        if len(chain) < 4:
            chain.append(engine.submit(PROMPT, max_tokens=3, ignore_eos=True))
            chain[-1].add_done_callback(follow)
        else:
            enough.set()

    enough = threading.Event()
    engine.submit(PROMPT, max_tokens=3, ignore_eos=True).add_done_callback(follow)
    assert enough.wait(30)
    assert [len(future.result(0).completions[0].token_ids) for future in chain] == [3] * 4


def test_a_slow_callback_of_a_future_holds_up_no_submission(engine: warploom.Engine) -> None:
    goes_on, began = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        began.set()
        goes_on.wait(30)

    engine.submit(PROMPT, max_tokens=2, ignore_eos=True).add_done_callback(wait)
    assert began.wait(30)
    other = engine.submit(PROMPT, max_tokens=2, ignore_eos=True)  # returns, though the callback still runs
    assert not other.done()
    goes_on.set()
    assert len(other.result(30).completions[0].token_ids) == 2


def test_closing_while_a_submission_returns(tiny: warploom.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine has taken the request, and ends before submit() has said who gets its events."""
    engine = warploom.Engine(tiny, kv_cache_tokens=8192)
    add = engine._dispatcher.add

    def add_too_late(handle: Any, receiver: Any) -> None:
        engine.close()
        add(handle, receiver)

    monkeypatch.setattr(engine._dispatcher, "add", add_too_late)
    output = engine.submit(PROMPT, max_tokens=400, ignore_eos=True).result(30)
    assert output.completions[0].finish_reason in ("shutdown", "length")


def test_closing_where_that_is_refused_leaves_it_open(tiny: warploom.Model) -> None:
    engine = warploom.Engine(tiny, kv_cache_tokens=1024)

    def close(history: Any, logits: Any) -> None:
        engine.close()

    with pytest.raises(warploom.InvalidArgument, match="callback"):
        engine.submit(PROMPT, max_tokens=2, logits_processor=close).result(30)
    assert len(engine.submit(PROMPT, max_tokens=2, ignore_eos=True).result(30).completions[0].token_ids) == 2
    engine.close()
    with pytest.raises(warploom.EngineStopped):
        engine.submit(PROMPT)


def test_streams_have_an_output_at_their_end(engine: warploom.Engine) -> None:
    stream = engine.stream(PROMPT, max_tokens=3, ignore_eos=True)
    next(stream)
    assert stream.output is None
    tokens = [event.token for event in stream]
    assert stream.output is not None and stream.output.completions[0].token_ids[1:] == tokens


def test_one_text_only(engine: warploom.Engine) -> None:
    with pytest.raises(warploom.InvalidArgument, match="n must be 1"):
        asyncio.run(engine.generate(PROMPT, n=3))
    with pytest.raises(warploom.InvalidArgument, match="a list of prompts"):
        engine.submit(["a", "b"])  # type: ignore[list-item]
