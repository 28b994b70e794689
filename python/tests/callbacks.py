"""What tests of generation share: a prompt, and what Generator calls back."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

PROMPT = [72, 101, 108, 108, 111]
LONG: Any = {"max_tokens": 450, "ignore_eos": True}


class Alternate:
    """Allows A and B in turn."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.histories: list[list[int]] = []

    def allowed(self, history: Any) -> Any:
        assert history.dtype == np.int32
        self.histories.append(history.tolist())
        token = 65 + len(history) % 2
        if self.kind == "bool":
            mask = np.zeros(300, np.bool_)
            mask[token] = True
            return mask
        bits = np.zeros(10, np.uint32)
        bits[token // 32] |= np.uint32(1 << token % 32)
        return bits if self.kind == "uint32" else bits.view(np.int32)


class Slow:
    def allowed(self, history: Any) -> None:
        time.sleep(0.01)


class Gate:
    """Lets the first draw pass, and holds the next one until it is opened."""

    def __init__(self) -> None:
        self.opened, self.timed_out = threading.Event(), False
        self.calls = 0

    def allowed(self, history: Any) -> None:
        self.calls += 1
        if self.calls > 1 and not self.opened.wait(30):
            self.timed_out = True


class Failure(Exception):
    pass


def fail(*_: Any) -> None:
    raise Failure("of a callback")


class Failing:
    allowed = staticmethod(fail)


class WrongMask:
    def allowed(self, history: Any) -> Any:
        return np.zeros(3, np.uint32)
