# SPDX-License-Identifier: Apache-2.0
"""Waiting in asyncio tasks: descriptors that the loop watches. No thread, no polling.

Each loop has one completion queue, and so one descriptor, for everything that is awaited on it. A predictor or a
source that is iterated has one more.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Generator
from typing import Any, TypeVar

from inflight._inflight import CompletionQueue, NDArray, Prediction, Predictor, Source, VideoFrame

Handle = TypeVar("Handle", NDArray, Prediction)

_lock = threading.Lock()  # the tables below are used by the loops of several threads


class _Ready:
    """What is awaited on one loop. The loop holds it, through the reader that it is given."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue = CompletionQueue()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._next_tag = 0
        loop.add_reader(self._queue.event_fd(), self._take)

    def add(self, loop: asyncio.AbstractEventLoop, handle: NDArray | Prediction) -> tuple[int, asyncio.Future[None]]:
        tag = self._next_tag
        self._next_tag = tag + 1
        future = loop.create_future()
        self._waiting[tag] = future
        self._queue.add(handle, tag)
        return tag, future

    def forget(self, tag: int) -> None:
        self._waiting.pop(tag, None)

    def _take(self) -> None:
        # In the order of completion, in which the tasks then go on. One that was given up has gone from the table.
        for tag in self._queue.take():
            future = self._waiting.pop(tag, None)
            if future is not None and not future.done():
                future.set_result(None)


_ready_of: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Ready] = weakref.WeakKeyDictionary()


def await_ready(handle: Handle) -> Generator[Any, None, Handle]:
    """What ``NDArray.__await__`` and ``Prediction.__await__`` give."""
    if not handle.can_read():
        loop = asyncio.get_running_loop()
        with _lock:
            ready = _ready_of.get(loop)
            if ready is None:
                ready = _ready_of[loop] = _Ready(loop)
        tag, future = ready.add(loop, handle)
        try:
            yield from future
        finally:
            if not handle.can_read():
                # Cancelled, or the loop ends.
                ready.forget(tag)
                if isinstance(handle, Prediction):
                    handle.cancel()
    failure = handle.status()
    if failure is not None:
        raise failure
    return handle


class _Level:
    """Tasks that wait on one loop until a descriptor can be read. It is watched only while one waits.

    What is watched is a duplicate, so that the owner may close its own at any time and on any thread.

    A task gets its level, looks, and waits, without giving the loop back between the last two. So a wake that comes
    from another thread between the look and the wait runs on the loop after the wait has begun: none is lost.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._watched = -1
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            self._watched = os.dup(descriptor)
            loop.add_reader(self._watched, self.wake)
        self._waiting.append(future)
        try:
            await future
        finally:
            if future in self._waiting:
                self._waiting.remove(future)
                if not self._waiting:
                    self._stop_watching(loop)

    def wake(self) -> None:
        """Lets every task look again. On the loop's thread."""
        waiting, self._waiting = self._waiting, []
        loop = self._loop()
        if waiting and loop is not None:
            self._stop_watching(loop)
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def wake_soon(self) -> None:
        """The same from any thread."""
        loop = self._loop()
        # Only on the loop's own thread does an empty list mean that no task is about to wait.
        if loop is None or (loop is asyncio._get_running_loop() and not self._waiting):
            return
        try:
            loop.call_soon_threadsafe(self.wake)
        except RuntimeError:  # the loop is closed: nobody waits
            pass

    def _stop_watching(self, loop: asyncio.AbstractEventLoop) -> None:
        watched, self._watched = self._watched, -1
        if not loop.is_closed():
            loop.remove_reader(watched)
        os.close(watched)


_Levels = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Level]
_levels_of: weakref.WeakKeyDictionary[Predictor | Source, _Levels] = weakref.WeakKeyDictionary()
def _level_of(owner: Predictor | Source) -> _Level:
    loop = asyncio.get_running_loop()
    with _lock:
        levels = _levels_of.get(owner)
        if levels is None:
            levels = _levels_of[owner] = weakref.WeakKeyDictionary()
        level = levels.get(loop)
        if level is None:
            level = levels[loop] = _Level(loop)
    return level


def wake_finished(owner: Predictor | Source) -> None:
    """Lets every task that iterates over it, on any loop, look again."""
    with _lock:
        levels = list(_levels_of.get(owner, _NONE).values())
    for level in levels:
        level.wake_soon()


_NONE: _Levels = weakref.WeakKeyDictionary()


async def finished(predictor: Predictor) -> AsyncIterator[Prediction]:
    """What ``Predictor.finished`` gives."""
    descriptor = predictor.event_fd()
    level = _level_of(predictor)
    while True:
        # Asked before the look: what finishes between the two is seen by the look.
        over = predictor.closed
        prediction, more = predictor._take_one()
        if prediction is not None:
            if more:
                wake_finished(predictor)  # the descriptor does not tell of what has been taken in one go
            yield prediction
        elif over:
            return
        else:
            await level.wait(descriptor)


async def next_frame(source: Source) -> VideoFrame:
    """What ``Source.__anext__`` gives."""
    level = _level_of(source)
    while True:
        if source.closed:
            raise StopAsyncIteration
        found = source._poll()
        if found is None:
            raise StopAsyncIteration
        if isinstance(found, VideoFrame):
            break
        descriptor = source._wakeup()
        # What came before the descriptor was there has raised it, too.
        await level.wait(descriptor)
    delay = found.due - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)
    return found
