# SPDX-License-Identifier: Apache-2.0
"""What is between the brackets of ``array[...]``."""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple

import numpy

from inflight import errors

_WANTED = "integers, slices, None, ... and lists of integers"


class Key(NamedTuple):
    """A part of an array, read."""

    whole: tuple[int, ...]
    """The shape of the array."""
    starts: list[int]
    counts: list[int]
    steps: list[int]
    taken: list[bool]
    """By axis: an integer took it away."""
    shape: tuple[int, ...]
    """Of the part, without such axes and with new ones."""
    indices: list[Any] | None
    """Arrays of indices of the first axes instead."""

    def is_all(self) -> bool:
        """Whether it is every element, in order."""
        return all(step == 1 for step in self.steps) and tuple(self.counts) == self.whole

    def flat(self) -> tuple[int, int] | None:
        """Where it begins and ends among all elements, if it has no gaps."""
        begin = 0
        size = 1
        inner = False  # an axis further in is not taken as a whole
        for axis in reversed(range(len(self.whole))):
            count = self.counts[axis]
            if count > 1 and (self.steps[axis] != 1 or inner):
                return None
            begin += self.starts[axis] * size
            size *= self.whole[axis]
            inner = inner or count != self.whole[axis]
        total = 1
        for count in self.counts:
            total *= count
        return begin, begin + total

    def slices(self) -> tuple[list[int | None], list[int | None], list[int | None]]:
        """Begins, ends and steps as the operator ``slice`` takes them."""
        ends: list[int | None] = []
        for start, count, step in zip(self.starts, self.counts, self.steps):
            end = start + count * step
            ends.append(end if end >= 0 else None)
        return list(self.starts), ends, list(self.steps)

    def fitted(self, source: Any) -> Any:
        """What is to be written, with an axis of 1 for each that an integer took away."""
        extents = list(source.shape)
        while len(extents) > len(self.shape) and extents[0] == 1:
            del extents[0]
        if len(extents) > len(self.shape):
            self._refuse(source)
        extents = [1] * (len(self.shape) - len(extents)) + extents
        if any(extent not in (1, want) for extent, want in zip(extents, self.shape)):
            self._refuse(source)
        kept = iter(_without_new(extents, self.shape, self._new_axes()))
        full = [1 if taken else next(kept, 1) for taken in self.taken]
        return source if tuple(full) == source.shape else source._reshape(full, False)

    def _new_axes(self) -> int:
        return len(self.shape) - (len(self.taken) - sum(self.taken))

    def _refuse(self, source: Any) -> None:
        raise errors.InvalidArgumentError(
            f"assign: found {list(source.shape)}, want {list(self.shape)} or what broadcasts to it"
        )


def _without_new(extents: list[int], shape: tuple[int, ...], new: int) -> list[int]:
    """Drops as many axes of 1 as None brought in."""
    kept = list(extents)
    for axis in reversed(range(len(shape))):
        if new > 0 and shape[axis] == 1:
            del kept[axis]
            new -= 1
    return kept


def read_key(whole: tuple[int, ...], key: Any) -> Key:
    """Reads a key for an array of a shape.

    InvalidArgumentError (an IndexError in MXNet): out of bounds, too many axes, or nothing is left.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    axes = sum(part is not None and part is not Ellipsis for part in parts)
    if axes > len(whole):
        raise IndexOutOfBounds(f"index: found {axes} axes, want at most {len(whole)} for {list(whole)}")
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexOutOfBounds("index: found ... twice, want it once")
    place = dots[0] if dots else len(parts)
    parts[place : place + 1] = [slice(None)] * (len(whole) - axes)
    if any(_is_array(part) for part in parts):
        return _read_indices(whole, parts)
    starts: list[int] = []
    counts: list[int] = []
    steps: list[int] = []
    taken: list[bool] = []
    shape: list[int] = []
    for part in parts:
        if part is None:
            shape.append(1)
            continue
        start, count, step, is_taken = _read_axis(len(starts), whole, part)
        starts.append(start)
        counts.append(count)
        steps.append(step)
        taken.append(is_taken)
        if not is_taken:
            shape.append(count)
    # A single element keeps an axis, as in MXNet.
    return Key(whole, starts, counts, steps, taken, tuple(shape) or (1,), None)


class IndexOutOfBounds(errors.InvalidArgumentError, IndexError):
    """An index that an array does not have."""


def _read_axis(axis: int, whole: tuple[int, ...], part: Any) -> tuple[int, int, int, bool]:
    extent = whole[axis]
    if isinstance(part, slice):
        try:
            start, stop, step = part.indices(extent)
        except (TypeError, ValueError) as refused:
            raise errors.InvalidTypeError(f"index: axis {axis}: found {part}, want a slice of integers ({refused})") from refused
        count = len(range(start, stop, step))
        if count == 0:
            raise IndexOutOfBounds(f"index: axis {axis}: nothing is left of {extent} by {part.start}:{part.stop}:{part.step}")
        return start, count, 1 if count == 1 else step, False
    if isinstance(part, numbers.Integral) and not isinstance(part, (bool, numpy.bool_)):
        index = int(part)
        if not -extent <= index < extent:
            raise IndexOutOfBounds(f"index: axis {axis}: found {index}, want {-extent} to {extent - 1}")
        return index % extent, 1, 1, True
    raise errors.InvalidTypeError(f"index: axis {axis}: found {type(part).__name__}, want {_WANTED}")


def _is_array(part: Any) -> bool:
    return isinstance(part, (list, tuple, range)) or hasattr(part, "asnumpy") or (isinstance(part, numpy.ndarray))


def _read_indices(whole: tuple[int, ...], parts: list[Any]) -> Key:
    """Arrays for the first axes, and nothing for the others. They are looked at here and now, to be checked."""
    indices = []
    for axis, part in enumerate(parts):
        if isinstance(part, slice) and part == slice(None):
            if any(not isinstance(later, slice) or later != slice(None) for later in parts[axis:]):
                break
            return Key(whole, [], [], [], [], (), indices)
        if part is None or isinstance(part, slice):
            break
        values = numpy.asarray(part.asnumpy() if hasattr(part, "asnumpy") else part)
        if values.dtype.kind == "b":
            raise errors.UnsupportedError("index: an array of bool is not offered: the result's shape would depend on its values")
        if values.size == 0 or (values.dtype.kind not in "iu" and not (values == numpy.floor(values)).all()):
            raise errors.InvalidTypeError(f"index: axis {axis}: found an array of {values.dtype}, want whole numbers, at least one")
        values = values.astype(numpy.int64)
        extent = whole[axis]
        if values.min() < -extent or values.max() >= extent:
            raise IndexOutOfBounds(f"index: axis {axis}: found {values.min()} to {values.max()}, want {-extent} to {extent - 1}")
        indices.append(numpy.where(values < 0, values + extent, values))
    else:
        return Key(whole, [], [], [], [], (), indices)
    raise errors.UnsupportedError(
        "index: arrays of indices are offered for the first axes only, with nothing but ':' after them; use take, pick or slice"
    )
