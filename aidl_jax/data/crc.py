"""CRC-32C, as TFRecord files have it; of many records at once, since the CRC of a whole follows from those of its parts.

A CRC is linear: what it becomes when zeros follow is a product with a matrix of bits, and crc(a + b) is that of a, when as many zeros
follow as b has bytes, XOR that of b. A matrix is kept here as what it does to each byte of a CRC, uint32 [4, 256].
Castagnoli's polynomial, bits in reverse: RFC 3720, appendix B.4; the combination: M. Adler, zlib's crc32_combine.
"""

from __future__ import annotations

import functools

import google_crc32c
import numpy as np

from aidl_jax.data.packed import Packed

__all__ = ["crcs_of", "have_crcs", "joined_crc", "masked", "unmasked"]

POLYNOMIAL, MASK = np.uint32(0x82F63B78), np.uint32(0xA282EAD8)
# bytes that are copied at a time, so that they are still in the processor's cache when they are looked at
PIECE = 2**17
MANY = 32  # records of one length, from which on their CRCs are looked at together


def masked(crcs: np.ndarray) -> np.ndarray:
    """CRCs, uint32, rotated and shifted as TFRecord files have them, so that files within files do not confuse them.

    >>> [hex(crc) for crc in masked(np.uint32([google_crc32c.value(bytes(8))]))]
    ['0x7980329']
    """
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + MASK


def unmasked(stored: np.ndarray) -> np.ndarray:
    """The CRCs, uint32, of what TFRecord files have."""
    turned = stored - MASK
    return (turned >> np.uint32(17)) | (turned << np.uint32(15))


def crcs_of(records: Packed) -> np.ndarray:
    """The CRC of each record, uint32 [n]."""
    return np.fromiter(map(google_crc32c.value, records.listed()), np.uint32, len(records))


def have_crcs(records: Packed, crcs: np.ndarray) -> np.ndarray:
    """Which records have these CRCs, uint32 [n]: bool [n]. Many of one length are looked at together; where one is damaged, each by itself."""
    lengths = records.ends - records.begins
    if len(records) >= MANY and lengths[0] and (lengths == lengths[0]).all():
        block, whole = records.block(), 0
        some = max(1, PIECE // max(1, block.shape[1]))
        for row in range(0, len(block), some):
            whole = google_crc32c.extend(whole, block[row : row + some].tobytes())
        if whole == joined_crc(crcs, block.shape[1]):
            return np.ones(len(records), bool)
    return crcs_of(records) == crcs


def joined_crc(crcs: np.ndarray, length: int) -> int:
    """The CRC of parts one after another, each of `length` bytes, from the CRC of each, uint32 [n].

    >>> parts = [b"abc", b"def", b"ghi"]
    >>> crcs = np.uint32([google_crc32c.value(part) for part in parts])
    >>> joined_crc(crcs, 3) == google_crc32c.value(b"".join(parts))
    True
    """
    zeros = _after_zeros(length)
    while len(crcs) > 1:
        pairs = np.pad(crcs, (len(crcs) % 2, 0)).reshape(-1, 2)  # the CRC of no bytes is 0
        crcs = _times(zeros, pairs[:, 0]) ^ pairs[:, 1]
        zeros = _times(zeros, zeros)
    return int(crcs[0])


@functools.lru_cache(maxsize=16)
def _after_zeros(count: int) -> np.ndarray:
    """What makes of a CRC the one when so many zero bytes follow: by repeated squaring."""
    bytes_of_crc = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], np.uint32)
    result, power = bytes_of_crc, _times_one_byte(bytes_of_crc)
    while count:
        if count & 1:
            result = _times(power, result)
        power, count = _times(power, power), count >> 1
    return result


def _times_one_byte(crcs: np.ndarray) -> np.ndarray:
    for _ in range(8):
        crcs = (crcs >> np.uint32(1)) ^ np.where(crcs & np.uint32(1), POLYNOMIAL, np.uint32(0))
    return crcs


def _times(matrix: np.ndarray, crcs: np.ndarray) -> np.ndarray:
    """A matrix, uint32 [4, 256], times CRCs of any shape."""
    low, high = matrix[0][crcs & 255] ^ matrix[1][crcs >> 8 & 255], matrix[2][crcs >> 16 & 255] ^ matrix[3][crcs >> 24]
    return low ^ high
