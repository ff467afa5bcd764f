"""Quantisation: time, storage and error of every format that weights are rounded to.

The errors are those of BitMoD's comparison (HPCA'25, arXiv 2411.11745, section III) without a
model: Gaussian weights, and Student's t with 5 degrees of freedom, which have outliers.
"""

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.markdown import markdown_table
from mapping.formats import WeightFormat, list_formats, storage_bits
from mapping.quantise import quantise

__all__ = ["normalised_error", "table"]

_SIZE = 4096
_GROUPS, _GROUP = 20_000, 128
_COLUMNS = ("weights", "bits a weight", "s", "Gaussian", "Student's t(5)")
_TITLE = f"""## Quantisation

Seconds to quantise a {_SIZE} x {_SIZE} float32 matrix of Gaussian weights, and its stored bits a
weight: codes, group scales, special values' numbers and channel scales. Errors are normalised: all
squared errors over all squares, {_GROUPS:,} rows of {_GROUP} weights, which are a group each where
groups are of {_GROUP}. Only formats with group scales are listed.
"""


def normalised_error(weights: NDArray[np.float32], fmt: WeightFormat) -> float:
    """Sum of squared errors over the sum of squares, in float64.

    Parameters
    ----------
    weights : float32 (N, K)
        K is a multiple of the format's group.
    fmt : WeightFormat
        A format that can be quantised.
    """
    exact = weights.astype(np.float64)
    return float(((quantise(weights, fmt).dequantise() - exact) ** 2).sum() / (exact**2).sum())


def table() -> str:
    """Seconds, stored bits a weight and normalised errors by format."""
    generator = np.random.default_rng(0)
    large = generator.standard_normal((_SIZE, _SIZE), np.float32)
    shape = _GROUPS, _GROUP
    samples = [generator.standard_normal(shape), generator.standard_t(5, shape)]
    rows = []
    for fmt in list_formats():
        if not (fmt.quantisable and fmt.scaled):
            continue
        begin = time.perf_counter()
        quantise(large, fmt)
        seconds = f"{time.perf_counter() - begin:.2f}"
        bits = f"{storage_bits(fmt, _SIZE, _SIZE) / _SIZE**2:.4g}"
        errors = [f"{normalised_error(weights.astype(np.float32), fmt):.3g}" for weights in samples]
        rows.append((fmt.name, bits, seconds, *errors))
    return _TITLE + "\n" + markdown_table(_COLUMNS, rows)


if __name__ == "__main__":
    print(table())
