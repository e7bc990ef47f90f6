"""fastText's training step, compiled: the mean of a row's ids, the loss, and the update of all rows of both matrices that it read.

Rows are taken one after another, as stochastic gradient descent does. Threads share the matrices without locks: where two of them write
into one row at once an addition may be lost, which sparse updates forgive (Recht et al. 2011, "Hogwild!"). One thread is deterministic.

E embedding, C classes or labels, K rows of the output matrix. Importing this module imports numba, and calling `update` compiles it for a
minute's fraction once; the machine code is cached beside this file, or in the user's cache where that is not writable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

SOFTMAX, SIGMOID, HIERARCHICAL, NEGATIVE_SAMPLING = range(4)

_AHEAD = 16  # ids between what is read and what is asked for: about the latency of memory, in rows
_LINE = 16  # floats of a cache line


@intrinsic
def _prefetch(typing_context: Any, table: Any, row: Any, column: Any) -> Any:
    """Ask for the cache line of table[row, column] without waiting for it: rows lie anywhere in a table larger than the caches."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = cgutils.get_item_pointer(context, builder, signature.args[0], array, arguments[1:], wraparound=False, boundscheck=False)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0"
        )
        # 1: to be written; 3: keep it in all caches; 1: data
        builder.call(function, [builder.bitcast(place, byte), number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(table, row, column), generate


@njit(nogil=True, fastmath=True, cache=True)
def _score(out, k, hidden):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for e in range(len(hidden)):
        total += out[k, e] * hidden[e]
    return total


@njit(nogil=True, fastmath=True, cache=True)
def _sigmoid_loss(z):  # type: ignore[no-untyped-def]
    """s(z), -log s(z) and -log s(-z), without overflow."""
    small = np.exp(-abs(z))
    rest = np.log1p(small)
    if z >= 0:
        return np.float32(1) / (1 + small), rest, z + rest
    return small / (1 + small), rest - z, rest


@njit(nogil=True, fastmath=True, cache=True)
def _pull(out, k, hidden, back, step):  # type: ignore[no-untyped-def]
    """Row k of the output matrix moves by `step` along the hidden vector, and what that gives back is added to `back`."""
    for e in range(len(hidden)):
        w = out[k, e]
        back[e] += step * w
        out[k, e] = w + step * hidden[e]


@njit(nogil=True, cache=True)
def _random(seed, counter):  # type: ignore[no-untyped-def]
    """A number in [0, 1) that depends on its arguments alone (splitmix64, Steele et al. 2014)."""
    z = np.uint64(seed) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


# Not fastmath: this must see that a loss is not finite.
@njit(nogil=True, cache=True, error_model="numpy")
def update(  # type: ignore[no-untyped-def]
    form, table, out, ids, starts, lengths, classes, labels_NC, rows, rates, factors_C, positive_C,
    path_starts, path, bits, negatives, noise_C, seed, first, losses
):  # fmt: skip
    """Train on `rows` in turn.

    form: one of the four constants. table: (V, E) float32; out: (K, E) float32; both are changed. ids: (L,) int32 of all rows; starts and
    lengths: (N,) int64. classes: (N,) int64, or labels_NC (N, C) float32 where there are several. rows: (B,) int64; rates: (B,) float32,
    what a row's gradient is multiplied with. factors_C: (C,) float32 weight of a row by its class. positive_C: (C,) float32 of `SIGMOID`.
    path_starts (C + 1,), path (int64) and bits (bool) of `HIERARCHICAL`. negatives, noise_C (C,) cumulative shares, seed, and `first`,
    the number of the first row, of `NEGATIVE_SAMPLING`. losses: (B,) float32, filled.
    """
    width, outputs = table.shape[1], out.shape[0]
    hidden, back = np.zeros(width, np.float32), np.zeros(width, np.float32)
    z_K = np.zeros(outputs if form <= SIGMOID else 1, np.float32)
    for b in range(len(rows)):
        row = rows[b]
        begin, end = starts[row], starts[row] + lengths[row]
        _mean(table, ids, begin, end, hidden)
        for e in range(width):
            back[e] = 0
        y = classes[row] if len(classes) else 0
        factor = factors_C[y]
        rate = rates[b] * factor
        if form == SOFTMAX:
            loss = _softmax(out, hidden, back, z_K, y, rate)
        elif form == SIGMOID:
            loss = _sigmoid(out, hidden, back, z_K, y, labels_NC, row, positive_C, rate)
        elif form == HIERARCHICAL:
            loss = np.float32(0)
            for p in range(path_starts[y], path_starts[y + 1]):
                share, right, left = _sigmoid_loss(_score(out, path[p], hidden))
                loss += right if bits[p] else left
                _pull(out, path[p], hidden, back, rate * ((1 if bits[p] else 0) - share))
        else:
            loss = _negatives(out, hidden, back, y, negatives, noise_C, seed, (first + b) * negatives, rate)
        losses[b] = loss * factor
        _spread(table, ids, begin, end, back)


@njit(nogil=True, fastmath=True, cache=True)
def _mean(table, ids, begin, end, hidden):  # type: ignore[no-untyped-def]
    width = table.shape[1]
    for e in range(width):
        hidden[e] = 0
    for i in range(begin, end):
        if i + _AHEAD < len(ids):
            ahead = np.int64(ids[i + _AHEAD])
            for e in range(0, width, _LINE):
                _prefetch(table, ahead, e)
        w = ids[i]
        for e in range(width):
            hidden[e] += table[w, e]
    if end > begin:
        share = np.float32(1) / np.float32(end - begin)
        for e in range(width):
            hidden[e] *= share


@njit(nogil=True, fastmath=True, cache=True)
def _spread(table, ids, begin, end, back):  # type: ignore[no-untyped-def]
    if end == begin:
        return
    width, share = table.shape[1], np.float32(1) / np.float32(end - begin)
    for e in range(width):
        back[e] *= share
    for i in range(begin, end):
        w = ids[i]
        for e in range(width):
            table[w, e] += back[e]


@njit(nogil=True, fastmath=True, cache=True)
def _scores(out, hidden, z_K):  # type: ignore[no-untyped-def]
    for k in range(len(z_K)):
        z_K[k] = _score(out, k, hidden)


@njit(nogil=True, cache=True, error_model="numpy")
def _softmax(out, hidden, back, z_K, y, rate):  # type: ignore[no-untyped-def]
    _scores(out, hidden, z_K)
    top, total = z_K.max(), np.float32(0)
    loss = top - z_K[y]
    for k in range(len(z_K)):
        z_K[k] = np.exp(z_K[k] - top)
        total += z_K[k]
    for k in range(len(z_K)):
        _pull(out, k, hidden, back, rate * ((1 if k == y else 0) - z_K[k] / total))
    return loss + np.log(total)


@njit(nogil=True, cache=True, error_model="numpy")
def _sigmoid(out, hidden, back, z_K, y, labels_NC, row, positive_C, rate):  # type: ignore[no-untyped-def]
    _scores(out, hidden, z_K)
    loss, mean = np.float32(0), np.float32(1) / np.float32(len(z_K))
    for k in range(len(z_K)):
        label = labels_NC[row, k] if len(labels_NC) else np.float32(1 if k == y else 0)
        share, yes, no = _sigmoid_loss(z_K[k])
        weight = label * positive_C[k]
        loss += weight * yes + (1 - label) * no
        _pull(out, k, hidden, back, rate * mean * (weight * (1 - share) - (1 - label) * share))
    return loss * mean


@njit(nogil=True, cache=True, error_model="numpy")
def _negatives(out, hidden, back, y, negatives, noise_C, seed, counter, rate):  # type: ignore[no-untyped-def]
    share, yes, _ = _sigmoid_loss(_score(out, y, hidden))
    loss = yes
    steps = rate * (1 - share)
    low, high = noise_C[y - 1] if y > 0 else 0.0, noise_C[y]
    for n in range(negatives):
        # One draw from what is left of [0, 1) without y's own share: to draw until y is missed takes for ever where y is nearly all.
        place = _random(seed, counter + n) * (1 - (high - low))
        if place >= low:
            place += high - low
        k = min(np.searchsorted(noise_C, place, side="right"), len(noise_C) - 1)
        if k == y:  # by rounding
            continue
        share, _, no = _sigmoid_loss(_score(out, k, hidden))
        loss += no
        _pull(out, k, hidden, back, -rate * share)
    _pull(out, y, hidden, back, steps)
    return loss
