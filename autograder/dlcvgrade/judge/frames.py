"""Length-prefixed frames between judge and worker: a JSON header and safetensors bytes, both with hard limits.

Runs on both sides of the sandbox, so it imports nothing of the project.
"""

from __future__ import annotations

import json
import struct
from typing import Any

_PREFIX = struct.Struct(">II")


class BadFrame(ValueError):
    """What arrived is no frame, or a larger one than is allowed."""


class FrameTooLarge(BadFrame):
    """A frame announces more bytes than are allowed."""


def pack(header: Any, body: bytes = b"") -> bytes:
    """Return a frame.

    Args:
        header: Anything that JSON can hold.
        body: Safetensors bytes, or none.

    Returns:
        Two 4-byte lengths in network order, the header as UTF-8, the body.
    """
    text = json.dumps(header, allow_nan=False).encode()
    return _PREFIX.pack(len(text), len(body)) + text + body


class FrameReader:
    """Puts frames together from whatever pieces they arrive in.

    Args:
        max_header: Largest header in bytes.
        max_body: Largest body in bytes.
        max_total: Largest number of bytes in all frames together.
    """

    def __init__(self, max_header: int, max_body: int, max_total: int) -> None:
        self._limits = max_header, max_body, max_total
        self._pending = bytearray()
        self._total = 0

    @property
    def is_between_frames(self) -> bool:
        """Whether nothing of an unfinished frame has arrived."""
        return not self._pending

    def feed(self, piece: bytes) -> list[tuple[Any, bytes]]:
        """Take in bytes and return the frames that they complete, as (header, body).

        Raises:
            FrameTooLarge: If a length, or all of them together, is over the limit; known before anything is stored.
            BadFrame: If a header is no JSON.
        """
        max_header, max_body, max_total = self._limits
        self._total += len(piece)
        if self._total > max_total:
            raise FrameTooLarge(f"more than {max_total} bytes were sent")
        self._pending += piece
        frames = []
        while len(self._pending) >= _PREFIX.size:
            header_size, body_size = _PREFIX.unpack_from(self._pending)
            if header_size > max_header or body_size > max_body:
                raise FrameTooLarge(f"a frame of {header_size} + {body_size} bytes was announced")
            end = _PREFIX.size + header_size + body_size
            if len(self._pending) < end:
                break
            text = bytes(self._pending[_PREFIX.size : _PREFIX.size + header_size])
            body = bytes(self._pending[_PREFIX.size + header_size : end])
            del self._pending[:end]
            try:
                frames.append((json.loads(text), body))
            except (ValueError, RecursionError) as error:
                raise BadFrame("a header is no JSON") from error
        return frames
