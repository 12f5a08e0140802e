"""A job in parts, on both databases: who works on what, what counts, and how it ends whatever dies."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from multav.audits.outcome import Outcome
from multav.errors import Cancelled, Conflict
from store import jobs, outcomes
from store.database import Database, now
from store.jobs import Claim, ClaimLost, Job, Part
from store.tables import JobTable


def do(database: Database, transition: Any, *arguments: Any, **named: Any) -> Any:
    with database.write() as session:
        return transition(session, *arguments, **named)


def read(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get(session, job_id)


def parts(database: Database, job_id: str) -> list[Job]:
    with database.read() as session:
        return jobs.parts(session, job_id)


def split(database: Database, number: int = 2, **values: Any) -> str:
    """A job that goes on in `number` parts."""
    job = do(database, jobs.create, kind="audit", spec={}, **values)
    held = do(database, jobs.claim, job.id, "planner", 60)
    pieces = [Part("audit-clips", {"first": place}) for place in range(number)]
    do(database, jobs.split, held, pieces, total=10, unit="outcomes", max_attempts=2)
    return str(job.id)


def take(database: Database, owner: str = "w") -> Claim:
    held = do(database, jobs.claim_part, owner, 60)
    assert held is not None
    return held  # type: ignore[no-any-return]


def let_lease_run_out(database: Database, job_id: str) -> None:
    with database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == job_id).values(lease_until=now() - 1))


def sweep(database: Database) -> jobs.Sweep:
    with database.write() as session:
        return jobs.sweep(session, nudge_seconds=60)


def outcome(clip: int, **values: Any) -> Outcome:
    return Outcome(model="m", cell="clean", clip=clip, label=1, tested_on="m", seconds=2.0, **values)


def test_a_job_waits_for_its_parts_and_then_goes_on(database: Database) -> None:
    job_id = split(database)
    assert read(database, job_id).state == "running"
    assert read(database, job_id).owner is None
    first, second = take(database, "a"), take(database, "b")
    assert [part.spec["first"] for part in parts(database, job_id)] == [0, 1]
    assert do(database, jobs.claim_part, "c", 60) is None
    do(database, jobs.count_up, first, done=2, seconds_each=None)
    do(database, jobs.succeed, first, {})
    assert do(database, jobs.gather, job_id) is False
    do(database, jobs.succeed, second, {})
    assert do(database, jobs.gather, job_id) is True
    assert do(database, jobs.gather, job_id) is False
    assert read(database, job_id).state == "queued"
    again = do(database, jobs.claim, job_id, "planner", 60)
    # Gathering is no new attempt: a job of many parts must not use its attempts up.
    assert again.attempt == 1
    assert read(database, job_id).done == 2, "what the parts did"
    do(database, jobs.succeed, again, {"verdict": "robust"})
    assert read(database, job_id).result == {"verdict": "robust"}


def test_parts_are_nobodys_business(database: Database) -> None:
    job_id = split(database)
    with database.read() as session:
        assert [job.id for job in jobs.listed(session).items] == [job_id]
        assert jobs.count(session, "queued") == 0


def test_a_sweep_gathers_what_a_dead_worker_could_not(database: Database) -> None:
    job_id = split(database, number=1)
    do(database, jobs.succeed, take(database), {})
    assert sweep(database).requeued == (job_id,)
    assert read(database, job_id).state == "queued"


def test_a_dead_workers_part_is_done_by_another(database: Database) -> None:
    job_id = split(database, number=1)
    lost = take(database, "dead")
    let_lease_run_out(database, lost.job_id)
    assert sweep(database).requeued == (lost.job_id,)
    with pytest.raises(ClaimLost):
        do(database, outcomes.add, lost, [outcome(1)])
    other = take(database, "alive")
    do(database, outcomes.add, other, [outcome(1)])
    assert read(database, job_id).done == 1
    let_lease_run_out(database, other.job_id)
    # The last of its two attempts: the part fails, and the job hears of it.
    assert sweep(database).failed == (other.job_id,)
    assert sweep(database).requeued in ((job_id,), ())
    assert read(database, job_id).state == "queued"


def test_an_outcome_counts_once(database: Database) -> None:
    job_id = split(database, number=2)
    part = take(database)
    do(database, outcomes.add, part, [outcome(1), outcome(2)])
    with pytest.raises(IntegrityError):
        do(database, outcomes.add, part, [outcome(3), outcome(2)])
    job = read(database, job_id)
    assert job.done == 2
    # Eight units are left at two seconds, and one part runs.
    assert job.eta_seconds == pytest.approx(16.0)
    with database.read() as session:
        assert outcomes.done(session, job_id, "m", [1, 2, 3]) == {"clean": {1, 2}}
        assert [row.clip for row in outcomes.every(session, job_id)] == [1, 2]


def test_outcomes_come_in_the_order_in_which_they_were_found(database: Database) -> None:
    job_id = split(database, number=2)
    one, two = take(database, "a"), take(database, "b")
    do(database, outcomes.add, one, [outcome(9), outcome(8)])
    with database.read() as session:
        beginning = outcomes.listed(session, "nothing").next_cursor
        page = outcomes.listed(session, job_id, limit=1)
        assert outcomes.listed(session, job_id, limit=1, cursor=beginning) == page
        rest = outcomes.listed(session, job_id, limit=5, cursor=page.next_cursor)
    assert [row.clip for row in (*page.items, *rest.items)] == [9, 8]
    do(database, outcomes.add, two, [outcome(1)])
    with database.read() as session:
        later = outcomes.listed(session, job_id, cursor=rest.next_cursor)
        nothing = outcomes.listed(session, job_id, cursor=later.next_cursor)
    assert [row.clip for row in later.items] == [1]
    assert nothing.items == ()
    assert nothing.next_cursor == later.next_cursor


def test_the_higher_priority_goes_first_then_the_older(database: Database) -> None:
    low, normal, high = (split(database, number=1, priority=number) for number in (2, 1, 0))
    order = [parts_of(database, take(database, str(number))) for number in range(3)]
    assert order == [high, normal, low]


def parts_of(database: Database, held: Claim) -> str | None:
    return read(database, held.job_id).parent_id


def test_many_workers_never_take_the_same_part(database: Database) -> None:
    split(database, number=12)
    with ThreadPoolExecutor(6) as pool:
        taken = list(pool.map(lambda number: do(database, jobs.claim_part, f"w{number}", 60), range(20)))
    got = [held.job_id for held in taken if held is not None]
    assert len(got) == len(set(got))
    # On PostgreSQL a worker may pass over a row that another one is looking at; none is lost by that.
    while (held := do(database, jobs.claim_part, "last", 60)) is not None:
        got.append(held.job_id)
    assert len(got) == len(set(got)) == 12


def test_a_pause_keeps_everything_and_everybody_away(database: Database) -> None:
    job_id = split(database)
    held = take(database)
    assert do(database, jobs.wish, held) is None
    assert do(database, jobs.pause, job_id).paused
    assert do(database, jobs.pause, job_id).paused
    assert do(database, jobs.wish, held) == "rest"
    do(database, jobs.release, held)
    assert do(database, jobs.claim_part, "b", 60) is None
    assert sweep(database).to_nudge == {}
    assert not do(database, jobs.resume, job_id, more_attempts=2).paused
    assert set(sweep(database).to_nudge) == {part.id for part in parts(database, job_id)}
    assert take(database).job_id == held.job_id


def test_a_queued_job_rests_too(database: Database) -> None:
    job = do(database, jobs.create, kind="attack", spec={})
    do(database, jobs.pause, job.id)
    assert do(database, jobs.claim, job.id, "w", 60) is None
    do(database, jobs.resume, job.id, more_attempts=2)
    assert do(database, jobs.claim, job.id, "w", 60) is not None


def test_a_cancel_reaches_every_part(database: Database) -> None:
    job_id = split(database, number=3)
    held = take(database)
    do(database, jobs.request_cancel, job_id)
    assert [part.state for part in parts(database, job_id)] == ["running", "cancelled", "cancelled"]
    assert read(database, job_id).state == "running"
    with pytest.raises(Conflict, match="is being cancelled"):
        do(database, jobs.pause, job_id)
    assert do(database, jobs.cancel_requested, held)
    do(database, jobs.confirm_cancel, held)
    assert do(database, jobs.gather, job_id) is False
    assert read(database, job_id).state == "cancelled"


def test_a_job_that_is_to_be_cancelled_is_not_split(database: Database) -> None:
    job = do(database, jobs.create, kind="audit", spec={})
    held = do(database, jobs.claim, job.id, "planner", 60)
    do(database, jobs.request_cancel, job.id)
    with pytest.raises(Cancelled):
        do(database, jobs.split, held, [Part("p", {})], total=1, unit="u", max_attempts=1)
    assert parts(database, job.id) == []
    do(database, jobs.confirm_cancel, held)
    assert read(database, job.id).state == "cancelled"


def test_progress_never_passes_its_total(database: Database) -> None:
    job_id = split(database, number=1)
    part = take(database)
    do(database, jobs.count_up, part, done=7, seconds_each=None)
    do(database, jobs.count_up, part, done=7, seconds_each=None)
    assert read(database, job_id).done == 10


def test_a_cancel_between_two_parts_ends_the_job_at_once(database: Database) -> None:
    job_id = split(database, number=2)
    assert do(database, jobs.request_cancel, job_id).state == "cancelled"


def test_what_failed_runs_again_and_what_succeeded_stays(database: Database) -> None:
    job_id = split(database, number=2)
    good, bad = take(database, "a"), take(database, "b")
    do(database, jobs.succeed, good, {"kept": True})
    do(database, jobs.fail, bad, {"code": "out_of_memory"})
    do(database, jobs.gather, job_id)
    last = do(database, jobs.claim, job_id, "planner", 60)
    do(database, jobs.fail, last, {"code": "audit_incomplete"})
    resumed = do(database, jobs.resume, job_id, more_attempts=2)
    assert (resumed.state, resumed.problem, resumed.owner) == ("running", None, None)
    assert [part.state for part in parts(database, job_id)] == ["succeeded", "queued"]
    again = take(database)
    assert again.attempt == bad.attempt + 1
    do(database, jobs.succeed, again, {})
    assert do(database, jobs.gather, job_id) is True
    with pytest.raises(ClaimLost):
        do(database, jobs.fail, last, {"code": "late"})
    end = do(database, jobs.claim, job_id, "planner", 60)
    do(database, jobs.succeed, end, {})
    with pytest.raises(Conflict):
        do(database, jobs.resume, job_id, more_attempts=2)
    with pytest.raises(Conflict):
        do(database, jobs.pause, job_id)


def test_a_job_that_failed_before_it_was_split_begins_again(database: Database) -> None:
    job = do(database, jobs.create, kind="audit", spec={})
    held = do(database, jobs.claim, job.id, "planner", 60)
    do(database, jobs.fail, held, {"code": "bad_dataset"})
    assert do(database, jobs.resume, job.id, more_attempts=3).state == "queued"
    assert do(database, jobs.claim, job.id, "planner", 60).attempt == held.attempt + 1


def test_deleting_a_job_deletes_its_parts_and_outcomes(database: Database) -> None:
    job_id = split(database, number=1)
    part = take(database)
    do(database, outcomes.add, part, [outcome(1)])
    do(database, jobs.request_cancel, job_id)
    do(database, jobs.confirm_cancel, part)
    do(database, jobs.gather, job_id)
    do(database, jobs.remove, job_id)
    assert parts(database, job_id) == []
    with database.read() as session:
        assert outcomes.count(session, job_id) == 0


def test_an_attack_that_waits_is_seen(database: Database) -> None:
    do(database, jobs.create, kind="attack", spec={})
    split(database)
    with database.read() as session:
        assert jobs.hurried(session, after_seconds=-1) == 1
        assert jobs.hurried(session, after_seconds=60) == 0
