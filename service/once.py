"""The same POST twice is one POST: what an Idempotency-Key asks for is made once, and answered alike ever after."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from multav.errors import Conflict
from service.context import Context
from store import idempotency


@dataclass(frozen=True)
class Accepted:
    """What a POST made. `replayed`: its key was used before; `new` is unset where the same bytes were kept already."""

    subject: str
    replayed: bool
    new: bool = True


class _AnsweredMeanwhile(Exception):
    """Another request with the same Idempotency-Key was faster; what this one did is rolled back."""


@dataclass(frozen=True)
class Once:
    """A request to `route` whose meaning has the digest `meaning`; `key` is its Idempotency-Key, if it has one."""

    context: Context
    route: str
    key: str | None
    meaning: str

    def before(self) -> Accepted | None:
        """The answer to an earlier request with this key. Raises `IdempotencyMismatch` when that was another one."""
        if self.key is None:
            return None
        with self.context.database.read() as session:
            first = idempotency.answered(session, self.key, self.route, self.meaning)
        return None if first is None else Accepted(first, replayed=True)

    def make(self, create: Callable[[Session], tuple[str, bool]]) -> Accepted:
        """Create the subject and whether it is new in one transaction with the key; both are there or neither is.

        Raises `IdempotencyMismatch`, and what `create` raises.
        """
        try:
            with self.context.database.write() as session:
                subject, new = create(session)
                if self.key is not None and not idempotency.remember(
                    session, self.key, self.route, self.meaning, subject
                ):
                    raise _AnsweredMeanwhile
        except _AnsweredMeanwhile:
            first = self.before()
            assert first is not None, "the row that stood in the way is there"
            return first
        except Conflict:
            # What stood in the way may be what the first request with this key has just made.
            first = self.before()
            if first is None:
                raise
            return first
        return Accepted(subject, replayed=False, new=new)
