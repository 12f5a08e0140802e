"""HTTP to a service that may be away for a moment: long commands outlive its restarts."""

import random
import time
from collections.abc import Callable
from typing import Final

import httpx

_AWAY: Final = frozenset({502, 503, 504})
_SAFE: Final = frozenset({"GET", "HEAD"})
_HARMLESS_TWICE: Final = ("/cancel", "/pause")
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0


class PatientTransport(httpx.BaseTransport):
    """Sends a request again while the service that it has heard of before does not answer, or says that it cannot.

    Only what may be sent twice is: reading, what has an Idempotency-Key, asking for a pause or a stop; and no bodies
    that are read from a file. After `patience` seconds the last failure stands. A service that has never answered is
    not waited for: its address may be wrong.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport,
        *,
        patience: float = 180.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._inner, self._patience, self._pause = inner, patience, pause
        self._met = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The answer, of the last attempt. Raises `httpx.TransportError` as the last attempt did."""
        if not _may_be_repeated(request):
            return self._answered(self._inner.handle_request(request))
        deadline, rest = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            wanted: float | None = None
            try:
                answer = self._inner.handle_request(request)
                if answer.status_code not in _AWAY or not self._met or time.monotonic() > deadline:
                    return self._answered(answer)
                wanted = _retry_after(answer)
                answer.close()
            except httpx.TransportError:
                if not self._met or time.monotonic() > deadline:
                    raise
            # Not all who wait come back in the same moment.
            self._pause(min(_LONGEST_PAUSE, wanted or rest * random.uniform(0.5, 1.0)))
            rest = min(_LONGEST_PAUSE, 2 * rest)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _answered(self, answer: httpx.Response) -> httpx.Response:
        self._met = self._met or answer.status_code not in _AWAY
        return answer


def _may_be_repeated(request: httpx.Request) -> bool:
    if request.method in _SAFE:
        return True
    if not isinstance(request.stream, httpx.ByteStream):
        return False
    return "Idempotency-Key" in request.headers or request.url.path.endswith(_HARMLESS_TWICE)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds that the service asks for, if it does in seconds."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdigit() and int(text) > 0 else None
