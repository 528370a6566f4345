"""Digests and seeds: stable names and random numbers for whatever determines a result."""

import hashlib
from typing import Any


def digest_of(*parts: Any) -> str:
    """A short stable digest (16 hex digits of SHA-256) of the `repr` of its arguments."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def replicate_seed(replicate: int, *parts: Any) -> int:
    """The seed of a replicate, from 0; the first has the one that it would have alone."""
    return seed_of(*parts, replicate) if replicate else seed_of(*parts)


def seed_of(*parts: Any) -> int:
    """A 32-bit seed that depends on its arguments alone: not on order, parallelism or resumption."""
    return int(digest_of(*parts)[:8], 16)
