"""The life of a job. Its state changes in this package and nowhere else.

                    ┌──────────── c, f, j ────────────┐
                    ▼                                 │
    create ──a──► queued ──b──► running (i) ──d──► succeeded
                  │    ▲          │  └────────e──► failed
                  │    │          h                  │
                  └─g──┼───► cancelled               │
                       └────────k─┴──────────────────┘

    a  create             the row is written; the message comes after the commit
    b  claim              one worker wins: attempt + 1, owner and lease are set
    c  release            the worker shuts down: back to the queue, the attempt does not count
       put_off            as release, but for a while: the job cannot go on now
    d  succeed, e fail    the worker ends its attempt
    f  sweep              the lease ran out: back to the queue, or failed (worker_lost) after the last attempt
    g  request_cancel     of a queued job: cancelled at once
    h  confirm_cancel     the worker has seen the flag that request_cancel left (or its lease ran out meanwhile)
    i  split              the worker leaves the job, which goes on running in its parts: no owner, no lease
    j  gather             all parts have ended: back to the queue, where a worker goes on with what they made
    k  resume             a failed or cancelled job, and those of its parts that failed, run again

Parts may also run beside a job that its worker keeps (`invite`, `dismiss`): they go through the same states.

A paused job stays in its state; it is not claimed, its parts are not claimed, and a worker that runs it releases it.

Every transition is one UPDATE that names the state it may leave; a worker's writes name its attempt and itself
as well, so that a worker which was given up cannot overwrite what its successor does. Every change of a row
makes a new `version`; every transition leaves an event.
"""

from store.jobs.companions import dismiss, first_problem, invite, lacking_elsewhere
from store.jobs.life import (
    Use,
    advance,
    cancel_requested,
    claim,
    confirm_cancel,
    create,
    fail,
    heartbeat,
    put_off,
    release,
    report_progress,
    succeed,
)
from store.jobs.moves import Claim, ClaimLost
from store.jobs.rows import (
    FINISHED,
    Job,
    JobEvent,
    JobState,
    count,
    count_unfinished,
    events_after,
    get,
    hurried,
    listed,
    oldest_waiting_seconds,
    parts,
    waiting,
)
from store.jobs.splitting import Part, claim_part, count_up, gather, split
from store.jobs.sweeping import Sweep, mark_nudged, sweep
from store.jobs.wishes import Wish, pause, remove, request_cancel, resume, wish

__all__ = [
    "FINISHED",
    "Claim",
    "ClaimLost",
    "Job",
    "JobEvent",
    "JobState",
    "Part",
    "Sweep",
    "Use",
    "Wish",
    "advance",
    "cancel_requested",
    "claim",
    "claim_part",
    "confirm_cancel",
    "count",
    "count_unfinished",
    "count_up",
    "create",
    "dismiss",
    "events_after",
    "fail",
    "first_problem",
    "gather",
    "get",
    "heartbeat",
    "hurried",
    "invite",
    "lacking_elsewhere",
    "listed",
    "mark_nudged",
    "oldest_waiting_seconds",
    "parts",
    "pause",
    "put_off",
    "release",
    "remove",
    "report_progress",
    "request_cancel",
    "resume",
    "split",
    "succeed",
    "sweep",
    "waiting",
    "wish",
]
