"""Parts that run beside a job which its worker keeps."""

import pytest
from sqlalchemy import update

from store import jobs
from store.database import Database, now
from store.jobs import Claim, ClaimLost, Part
from store.tables import JobTable
from tests.store.test_jobs import PROBLEM, claimed, do, let_lease_run_out, read, sweep

HOST = Part("training-host", {"run": "1"})


def invited(database: Database, claim: Claim, number: int = 1) -> list[str]:
    found: list[str] = do(database, jobs.invite, claim, [HOST] * number, max_attempts=3)
    return found


def taken(database: Database) -> Claim:
    claim = do(database, jobs.claim_part, "helper", 60)
    assert claim is not None
    return claim


def test_the_job_stays_with_its_worker(database: Database) -> None:
    leader = claimed(database)
    (part,) = invited(database, leader)
    helper = taken(database)
    assert helper.job_id == part
    do(database, jobs.succeed, helper, {})
    # Its end wakes nobody: the job was not left to it.
    assert not do(database, jobs.gather, leader.job_id)
    assert sweep(database).requeued == ()
    assert read(database, leader.job_id).owner == leader.owner
    do(database, jobs.succeed, leader, {})
    assert read(database, leader.job_id).state == "succeeded"


def test_those_of_another_meeting_are_let_go(database: Database) -> None:
    leader = claimed(database)
    waiting, running = invited(database, leader, 2)
    helper = taken(database)
    waiting, running = sorted((waiting, running), key=lambda each: each == helper.job_id)
    (new,) = invited(database, leader)
    assert read(database, waiting).state == "succeeded", "nobody will take it"
    assert do(database, jobs.wish, helper) == "cancel"
    do(database, jobs.confirm_cancel, helper)
    assert taken(database).job_id == new


def test_only_who_has_the_job_invites(database: Database) -> None:
    leader = claimed(database)
    let_lease_run_out(database, leader.job_id)
    sweep(database)
    with pytest.raises(ClaimLost):
        invited(database, leader)


def test_who_has_lost_the_job_lets_nobody_go(database: Database) -> None:
    first = claimed(database)
    let_lease_run_out(database, first.job_id)
    sweep(database)
    second = do(database, jobs.claim, first.job_id, "second", 60)
    (part,) = invited(database, second)
    with pytest.raises(ClaimLost):
        do(database, jobs.dismiss, first)
    assert read(database, part).state == "queued"


def test_to_cancel_the_job_is_to_cancel_what_runs_beside_it(database: Database) -> None:
    leader = claimed(database)
    waiting, running = invited(database, leader, 2)
    helper = taken(database)
    do(database, jobs.request_cancel, leader.job_id)
    assert do(database, jobs.wish, helper) == do(database, jobs.wish, leader) == "cancel"
    do(database, jobs.confirm_cancel, leader)
    do(database, jobs.confirm_cancel, helper)
    states = {read(database, each).state for each in (waiting, running, leader.job_id)}
    assert states == {"cancelled"}


def test_a_job_that_is_resumed_finds_its_way_though_parts_of_it_were_cancelled(database: Database) -> None:
    leader = claimed(database)
    (part,) = invited(database, leader)
    helper = taken(database)
    do(database, jobs.request_cancel, leader.job_id)
    do(database, jobs.confirm_cancel, helper)
    do(database, jobs.confirm_cancel, leader)
    do(database, jobs.resume, leader.job_id, more_attempts=3)
    # It waits for the part, which finds that nobody leads, and says so.
    assert read(database, part).state == "queued"
    assert read(database, leader.job_id).owner is None
    do(database, jobs.succeed, taken(database), {"joined": False})
    assert do(database, jobs.gather, leader.job_id)
    assert read(database, leader.job_id).state == "queued"


def test_the_next_attempt_begins_its_progress_anew(database: Database) -> None:
    """Unlike that of a job that was left to its parts."""
    leader = claimed(database)
    invited(database, leader)
    do(database, jobs.report_progress, leader, done=70, total=100, unit="steps", eta_seconds=None)
    let_lease_run_out(database, leader.job_id)
    sweep(database)
    second = do(database, jobs.claim, leader.job_id, "second", 60)
    assert read(database, leader.job_id).done is None
    do(database, jobs.report_progress, second, done=50, total=100, unit="steps", eta_seconds=None)
    assert read(database, leader.job_id).done == 50


def split(database: Database, **values: int) -> Claim:
    """A job that goes on in two parts of its own."""
    claim = claimed(database, **values)
    pieces = [Part("audit-clips", {})] * 2
    do(database, jobs.split, claim, pieces, total=2, unit="outcomes", max_attempts=3)
    return claim


def test_they_go_before_all_other_parts(database: Database) -> None:
    """Also before those that are older, and of jobs of a higher priority: a worker stands idle until they run."""
    split(database, priority=0)
    leader = claimed(database, priority=2)
    (part,) = invited(database, leader)
    split(database, priority=0)
    assert taken(database).job_id == part


def test_the_problem_of_the_first_that_failed(database: Database) -> None:
    leader = claimed(database)
    (older,) = invited(database, leader)
    do(database, jobs.fail, taken(database), {"code": "of another meeting"})
    called = invited(database, leader, 2)
    assert older not in called
    assert do(database, jobs.first_problem, called) is None
    first, second = taken(database), taken(database)
    do(database, jobs.fail, second, PROBLEM)
    do(database, jobs.fail, first, {"code": "later"})
    with database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == first.job_id).values(finished_at=now() + 5))
    assert do(database, jobs.first_problem, called) == PROBLEM
    assert do(database, jobs.first_problem, []) is None


def test_what_older_jobs_lack(database: Database) -> None:
    old, young = claimed(database), claimed(database)
    with database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == old.job_id).values(created_at=now() - 100))

    def lacking(claim: Claim, after_seconds: float = -1) -> int:
        found: int = do(database, jobs.lacking_elsewhere, claim, after_seconds=after_seconds)
        return found

    # What audits wait for is no worker that stands idle.
    audit = split(database)
    with database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == audit.job_id).values(created_at=now() - 200))
    assert (lacking(old), lacking(young)) == (0, 0)
    invited(database, young)
    assert (lacking(old), lacking(young)) == (0, 0), "the older one does not wait for the younger"
    invited(database, old, 2)
    assert (lacking(old), lacking(young)) == (0, 2)
    assert lacking(young, after_seconds=60) == 0
    assert taken(database) is not None
    do(database, jobs.pause, old.job_id)
    assert lacking(young) == 0
    do(database, jobs.resume, old.job_id, more_attempts=3)
    assert lacking(young) > 0
    do(database, jobs.dismiss, old)
    assert lacking(young) == 0
