"""Streams of events, read by loops and by asyncio."""

from __future__ import annotations

import asyncio

import pytest

import warploom
from callbacks import LONG, PROMPT, Gate, Slow


def test_closing_a_stream_cancels(tiny: warploom.Model) -> None:
    generator = warploom.Generator(tiny)
    stream = generator.stream(PROMPT, **LONG)
    first = next(stream)
    assert first.finish_reason is None and first.token is not None
    stream.close()
    with pytest.raises(StopIteration):
        next(stream)
    with generator.stream(PROMPT, **LONG) as entered:
        next(entered)
    del entered, stream
    # The generator is free at once.
    assert len(list(generator.stream(PROMPT, max_tokens=2, ignore_eos=True))) == 2


def test_streams_run_in_order_and_end_while_they_wait(tiny: warploom.Model) -> None:
    generator = warploom.Generator(tiny)
    gate = Gate()
    first = generator.stream(PROMPT, constraint=gate, **LONG)
    others = [generator.stream(PROMPT, seed=i, max_tokens=5, ignore_eos=True) for i in range(5)]
    next(first)  # though the others' threads may have started before its own
    others[2].close()
    assert list(others[2]) == [] and others[2].output is None
    assert not gate.timed_out  # all this while the first has its turn
    gate.opened.set()
    first.close()
    del others[2]
    assert [len(list(stream)) for stream in others] == [5] * 4


def test_output_of_a_stream(tiny: warploom.Model) -> None:
    stream = warploom.Generator(tiny).stream(PROMPT, max_tokens=5, ignore_eos=True, n=2)
    events = list(stream)
    assert stream.output is not None
    for completion in stream.output.completions:
        mine = [event for event in events if event.index == completion.index]
        assert "".join(event.text for event in mine) == completion.text
        assert [event.token for event in mine] == completion.token_ids
        assert mine[-1].finish_reason == "length"
    assert [event.last for event in events] == [False] * 9 + [True]


def test_async_stream(tiny: warploom.Model) -> None:
    async def main() -> None:
        generator = warploom.Generator(tiny)
        expected = generator.generate(PROMPT, max_tokens=12, ignore_eos=True, seed=2)
        texts = [event.text async for event in generator.astream(PROMPT, max_tokens=12, ignore_eos=True, seed=2)]
        assert "".join(texts) == expected
        async with generator.astream(PROMPT, **LONG) as stream:
            async for _ in stream:
                break
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        task = asyncio.create_task(consume(generator.astream(PROMPT, constraint=Slow(), **LONG)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def consume(stream: warploom.AsyncStream) -> None:
        async for _ in stream:
            pass

    asyncio.run(main())
