"""Operators that stay on the host, in float32 numpy: norms, rotary embedding, attention, GELU.

Rows are tokens.  Nothing here knows a model; sizes come with the arrays.
"""

from __future__ import annotations

import math

import numpy
from numpy.typing import NDArray
from scipy.special import softmax

__all__ = [
    "KeyValueCache",
    "attention",
    "gelu_tanh",
    "rms_norm",
    "rotary_embedding",
]

Float = NDArray[numpy.float32]

# queries attended at once: bounds the score matrix, not the result
_QUERY_BLOCK = 256


def rms_norm(values: Float, weight: Float, eps: float) -> Float:
    """Root-mean-square norm over the last axis.

    ``values / sqrt(mean(values ** 2) + eps) * weight`` (Zhang and Sennrich,
    arXiv 1910.07467).  Gemma multiplies by ``1 + w``; GGUF files store that sum, so it
    is not added again.

    Parameters
    ----------
    values : float32 (..., size)
    weight : float32 (size,)
    eps : float
        Positive.

    Returns
    -------
    float32 (..., size)
    """
    mean_square: Float = numpy.mean(
        numpy.square(values), axis=-1, keepdims=True, dtype=numpy.float32
    )
    normed: Float = values / numpy.sqrt(mean_square + numpy.float32(eps)) * weight
    return normed


def gelu_tanh(values: Float) -> Float:
    """GELU in its tanh approximation (Hendrycks and Gimpel, arXiv 1606.08415, section 2).

    ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3)))``, element by element.
    """
    inner = numpy.float32(math.sqrt(2 / math.pi)) * (
        values + numpy.float32(0.044715) * values * values * values
    )
    return numpy.float32(0.5) * values * (1 + numpy.tanh(inner))


def rotary_embedding(
    heads: Float, positions: NDArray[numpy.int64], theta: float, scale: float = 1.0
) -> Float:
    """Rotate query or key heads by their position (Su et al., arXiv 2104.09864).

    Half-rotation ("NeoX") layout: element ``i`` pairs with ``i + head_dim / 2`` and turns by
    ``position / scale * theta ** (-2 i / head_dim)`` radians.

    Parameters
    ----------
    heads : float32 (tokens, heads, head_dim)
        ``head_dim`` even.
    positions : int64 (tokens,)
        Positions from 0.
    theta : float
        Base of the geometric series of angles.
    scale : float
        Positions are divided by it (linear context extension).

    Returns
    -------
    float32 (tokens, heads, head_dim)
    """
    half = heads.shape[-1] // 2
    # angles in float64: at position 32768 a float32 angle is off by 2e-3 radians
    frequencies = theta ** (-numpy.arange(half, dtype=numpy.float64) / half)
    angles = (positions.astype(numpy.float64) / scale)[:, None] * frequencies
    cosine = numpy.cos(angles).astype(numpy.float32)[:, None, :]
    sine = numpy.sin(angles).astype(numpy.float32)[:, None, :]
    low, high = heads[..., :half], heads[..., half:]
    return numpy.concatenate((low * cosine - high * sine, high * cosine + low * sine), axis=-1)


class KeyValueCache:
    """Keys and values of one layer, appended to as tokens come; grows by doubling.

    Parameters
    ----------
    kv_heads, head_dim : int
        Sizes of a token's entry.
    """

    def __init__(self, kv_heads: int, head_dim: int) -> None:
        self.length = 0
        self._store = numpy.empty((2, 64, kv_heads, head_dim), dtype=numpy.float32)

    def append(self, keys: Float, values: Float) -> None:
        """Add float32 (tokens, kv_heads, head_dim) keys and values behind the last position."""
        end = self.length + len(keys)
        if end > self._store.shape[1]:
            grown = numpy.empty(
                (2, max(end, 2 * self._store.shape[1]), *self._store.shape[2:]), numpy.float32
            )
            grown[:, : self.length] = self._store[:, : self.length]
            self._store = grown
        self._store[0, self.length : end] = keys
        self._store[1, self.length : end] = values
        self.length = end

    @property
    def keys(self) -> Float:
        """float32 (length, kv_heads, head_dim)."""
        return self._store[0, : self.length]

    @property
    def values(self) -> Float:
        """float32 (length, kv_heads, head_dim)."""
        return self._store[1, : self.length]


def attention(
    queries: Float, keys: Float, values: Float, scale: float, window: int | None = None
) -> Float:
    """Causal grouped-query attention of the newest tokens over all tokens so far.

    Query head ``h`` reads key-value head ``h // (heads / kv_heads)`` (Ainslie et al.,
    arXiv 2305.13245).  Position ``p`` sees positions ``max(0, p - window + 1) .. p``.

    Parameters
    ----------
    queries : float32 (tokens, heads, head_dim)
        The last `tokens` positions, oldest first.
    keys, values : float32 (length, kv_heads, head_dim)
        All positions, ``length >= tokens``; ``heads`` is a multiple of ``kv_heads``.
    scale : float
        Factor on the scores.
    window : int or None
        Positions seen, the token itself included; ``None``: all.

    Returns
    -------
    float32 (tokens, heads, head_dim)
    """
    tokens, heads, head_dim = queries.shape
    length, kv_heads = keys.shape[:2]
    group = heads // kv_heads
    output = numpy.empty_like(queries)
    for begin in range(0, tokens, _QUERY_BLOCK):
        block = queries[begin : begin + _QUERY_BLOCK]
        first = length - tokens + begin  # position of the block's first query
        last = first + len(block)
        oldest = 0 if window is None else max(0, first - window + 1)
        # (kv_heads, group * block, head_dim): one matrix product a key-value head
        by_head = block.reshape(len(block), kv_heads, group, head_dim).transpose(1, 2, 0, 3)
        stacked = by_head.reshape(kv_heads, group * len(block), head_dim)
        products = stacked @ keys[oldest:last].transpose(1, 2, 0) * numpy.float32(scale)
        scores = products.reshape(kv_heads, group, len(block), last - oldest)
        distance = numpy.arange(first, last)[:, None] - numpy.arange(oldest, last)
        hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
        weights = softmax(numpy.where(hidden, numpy.float32(-numpy.inf), scores), axis=-1)
        mixed = weights.reshape(kv_heads, group * len(block), last - oldest) @ values[
            oldest:last
        ].transpose(1, 0, 2)
        by_token = mixed.reshape(kv_heads, group, len(block), head_dim).transpose(2, 0, 1, 3)
        output[begin : begin + len(block)] = by_token.reshape(len(block), heads, head_dim)
    return output
