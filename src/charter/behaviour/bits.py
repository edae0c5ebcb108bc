"""Surprise in bits: the one unit in which features are compared and added.

A probability p is -log2 p bits: ten bits are as surprising as ten fair coins that all show heads: once in a thousand.
Of an amount, p is the probability of that much or more (a tail); of a thing, of meeting it.
"""

from __future__ import annotations

import math

MOST = 30.0  # bits of one feature: what nobody ever saw is not told apart further
_LEAST = 2.0**-MOST


def bits(probability: float) -> float:
    """Return the surprise of what has this probability, at most MOST."""
    return -math.log2(max(_LEAST, min(1.0, probability)))


def above(value: float, mean: float, scale: float, freedom: float) -> float:
    """Return the probability that Student's t (location `mean`, scale `scale`) is `value` or more."""
    from scipy.special import stdtr  # heavy, and needed by whoever watches alone

    return float(stdtr(freedom, -(value - mean) / scale))
