"""The life of a job on both databases: what may happen, what may not, and who wins."""

import re
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import func, select, update

from multav.errors import Conflict, InvalidSpec, NotFound
from store import artifacts, blobs, jobs, videos
from store.database import Database, migrate, now
from store.jobs import Claim, ClaimLost, Job
from store.tables import ArtifactTable, JobEventTable, JobTable, VideoTable

PROBLEM = {"code": "no_frames", "detail": "nothing in there", "status": 422}


def create(database: Database, **values: Any) -> str:
    with database.write() as session:
        return jobs.create(session, kind="attack", spec={"seed": 1}, **values).id


def read(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return jobs.get(session, job_id)


def claim(database: Database, job_id: str, owner: str = "w") -> Claim | None:
    with database.write() as session:
        return jobs.claim(session, job_id, owner, 60)


def claimed(database: Database, owner: str = "w", **values: Any) -> Claim:
    taken = claim(database, create(database, **values), owner)
    assert taken is not None
    return taken


def do(database: Database, transition: Any, *arguments: Any, **named: Any) -> Any:
    with database.write() as session:
        return transition(session, *arguments, **named)


def let_lease_run_out(database: Database, job_id: str) -> None:
    with database.write() as session:
        session.execute(update(JobTable).where(JobTable.id == job_id).values(lease_until=now() - 1))


def sweep(database: Database, nudge_seconds: float = 60) -> jobs.Sweep:
    with database.write() as session:
        return jobs.sweep(session, nudge_seconds=nudge_seconds)


def story(database: Database, job_id: str) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(event.state, event.cause) for event in jobs.events_after(session, job_id, 0)]


def test_from_queue_to_result(database: Database) -> None:
    taken = claimed(database)
    assert taken.attempt == 1
    do(database, jobs.report_progress, taken, done=2, total=4, unit="windows", eta_seconds=3.5)
    job = read(database, taken.job_id)
    assert (job.state, job.done, job.total, job.unit, job.eta_seconds) == ("running", 2, 4, "windows", 3.5)
    do(database, jobs.succeed, taken, {"success": True})
    job = read(database, taken.job_id)
    assert (job.state, job.result, job.problem, job.done) == ("succeeded", {"success": True}, None, 4)
    assert job.created_at <= (job.started_at or 0) <= (job.finished_at or 0)
    assert job.finished
    assert story(database, job.id) == [
        ("queued", "created"),
        ("running", "claimed"),
        ("succeeded", "finished"),
    ]


def test_a_failure_keeps_its_problem(database: Database) -> None:
    taken = claimed(database)
    do(database, jobs.fail, taken, PROBLEM)
    job = read(database, taken.job_id)
    assert (job.state, job.problem, job.result) == ("failed", PROBLEM, None)
    assert story(database, job.id)[-1] == ("failed", "no_frames")


def test_only_one_claim_wins(database: Database) -> None:
    job_id = create(database)
    assert claim(database, job_id) is not None
    assert claim(database, job_id) is None
    assert claim(database, "nothing") is None


def test_of_eight_workers_at_once_one_wins(database: Database) -> None:
    job_ids = [create(database) for _ in range(5)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: [claim(database, job_id, f"w{n}") for job_id in job_ids], range(8)))
    for index in range(5):
        assert sum(row[index] is not None for row in won) == 1
    assert all(read(database, job_id).attempt == 1 for job_id in job_ids)


@pytest.mark.parametrize("ended", ["succeeded", "failed", "cancelled", "requeued"])
def test_a_worker_that_was_given_up_writes_nothing(database: Database, ended: str) -> None:
    old = claimed(database, owner="old")
    if ended == "succeeded":
        do(database, jobs.succeed, old, {"by": "old"})
    elif ended == "failed":
        do(database, jobs.fail, old, PROBLEM)
    elif ended == "cancelled":
        do(database, jobs.confirm_cancel, old)
    else:
        let_lease_run_out(database, old.job_id)
        assert sweep(database).requeued == (old.job_id,)
        assert claim(database, old.job_id, "new") is not None
    before = read(database, old.job_id)
    blob = blobs.write(database, BytesIO(b"late"))
    for write in (
        lambda: do(database, jobs.succeed, old, {"by": "late"}),
        lambda: do(database, jobs.fail, old, PROBLEM),
        lambda: do(database, jobs.confirm_cancel, old),
        lambda: do(database, jobs.release, old),
        lambda: do(database, jobs.heartbeat, old, 60),
        lambda: do(database, jobs.report_progress, old, done=1, total=2, unit="w", eta_seconds=None),
        lambda: do(database, artifacts.add, old, blob, role="r", filename="f", media_type="m"),
    ):
        with pytest.raises(ClaimLost):
            write()
    assert read(database, old.job_id) == before


def test_a_claim_of_another_worker_with_the_same_attempt_is_refused(database: Database) -> None:
    taken = claimed(database)
    with pytest.raises(ClaimLost):
        do(database, jobs.succeed, Claim(taken.job_id, taken.attempt, "somebody else"), {})


def test_a_job_whose_workers_keep_dying_fails(database: Database) -> None:
    job_id = create(database, max_attempts=2)
    for attempt, outcome in ((1, "requeued"), (2, "failed")):
        taken = claim(database, job_id)
        assert taken is not None
        assert taken.attempt == attempt
        assert sweep(database) == jobs.Sweep((), (), (), {})
        let_lease_run_out(database, job_id)
        assert getattr(sweep(database), outcome) == (job_id,)
    job = read(database, job_id)
    assert job.problem is not None
    assert (job.state, job.problem["code"]) == ("failed", "worker_lost")
    assert "2 times" in job.problem["detail"]


def test_a_heartbeat_keeps_the_lease(database: Database) -> None:
    taken = claimed(database)
    let_lease_run_out(database, taken.job_id)
    assert do(database, jobs.heartbeat, taken, 60) is False
    assert sweep(database).requeued == ()


def test_progress_never_goes_back_and_starts_anew_with_an_attempt(database: Database) -> None:
    taken = claimed(database)
    for done, shown in ((3, 3), (1, 3), (4, 4)):
        do(database, jobs.report_progress, taken, done=done, total=9, unit="w", eta_seconds=None)
        assert read(database, taken.job_id).done == shown
    do(database, jobs.release, taken)
    claim(database, taken.job_id)
    assert read(database, taken.job_id).done is None


def test_release_gives_the_attempt_back(database: Database) -> None:
    taken = claimed(database)
    blob = blobs.write(database, BytesIO(b"half done"))
    do(database, artifacts.add, taken, blob, role="r", filename="f", media_type="m")
    do(database, jobs.release, taken)
    job = read(database, taken.job_id)
    assert (job.state, job.attempt, job.owner) == ("queued", 0, None)
    assert sweep(database).to_nudge == {job.id: "attack"}
    again = claim(database, job.id, "w2")
    assert again is not None
    do(database, artifacts.add, again, blob, role="r", filename="f", media_type="m")
    do(database, jobs.succeed, again, {})
    with database.read() as session:
        assert len(artifacts.for_job(session, job.id)) == 1


def test_a_job_that_is_put_off_waits_for_a_while(database: Database) -> None:
    """Its attempt does not count, and its event says why."""
    taken = claimed(database)
    do(database, jobs.put_off, taken, "hosts_missing")
    job = read(database, taken.job_id)
    assert (job.state, job.attempt, job.owner) == ("queued", 0, None)
    assert story(database, job.id)[-1] == ("queued", "hosts_missing")
    assert sweep(database, nudge_seconds=60).to_nudge == {}
    assert sweep(database, nudge_seconds=-1).to_nudge == {job.id: "attack"}
    again = claim(database, job.id)
    assert again is not None
    do(database, jobs.request_cancel, job.id)
    do(database, jobs.put_off, again, "hosts_missing")
    assert read(database, job.id).state == "cancelled"


def test_cancel(database: Database) -> None:
    waiting = create(database)
    for _ in range(2):
        assert do(database, jobs.request_cancel, waiting).state == "cancelled"
    assert story(database, waiting) == [("queued", "created"), ("cancelled", "cancelled")]
    assert claim(database, waiting) is None

    taken = claimed(database)
    for _ in range(2):
        job = do(database, jobs.request_cancel, taken.job_id)
        assert (job.state, job.cancel_requested) == ("running", True)
    assert do(database, jobs.heartbeat, taken, 60) is True
    do(database, jobs.confirm_cancel, taken)
    assert read(database, taken.job_id).state == "cancelled"

    done = claimed(database)
    do(database, jobs.succeed, done, {})
    before = read(database, done.job_id)
    assert do(database, jobs.request_cancel, done.job_id) == before
    with pytest.raises(NotFound):
        do(database, jobs.request_cancel, "nothing")


@pytest.mark.parametrize("end", ["sweep", "release"])
def test_a_cancelled_job_is_not_run_again(database: Database, end: str) -> None:
    taken = claimed(database)
    do(database, jobs.request_cancel, taken.job_id)
    if end == "sweep":
        let_lease_run_out(database, taken.job_id)
        assert sweep(database).cancelled == (taken.job_id,)
    else:
        do(database, jobs.release, taken)
    assert read(database, taken.job_id).state == "cancelled"


def test_queued_jobs_without_a_message_are_named(database: Database) -> None:
    first, second = create(database), create(database)
    assert sweep(database, nudge_seconds=60).to_nudge == {}
    assert sweep(database, nudge_seconds=-1).to_nudge == {first: "attack", second: "attack"}
    with database.write() as session:
        session.execute(update(JobTable).values(nudged_at=now() - 100))
    do(database, jobs.mark_nudged, [first])
    assert sweep(database, nudge_seconds=60).to_nudge == {second: "attack"}


def test_only_finished_jobs_are_removed_with_all_they_had(database: Database) -> None:
    blob = blobs.write(database, BytesIO(b"a video"))
    with database.write() as session:
        video, _ = videos.add(session, blob, filename="v.mp4", media_type="video/mp4", info={}, kept=False)
    taken = claimed(database, video_id=video.id)
    other = create(database, video_id=video.id)
    do(database, artifacts.add, taken, blob, role="r", filename="f", media_type="m")
    with pytest.raises(Conflict, match="running"):
        do(database, jobs.remove, taken.job_id)
    do(database, jobs.succeed, taken, {})
    do(database, jobs.remove, taken.job_id)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(ArtifactTable)) == 0
        assert session.scalar(select(func.count()).select_from(VideoTable)) == 1
        gone = select(func.count()).select_from(JobEventTable).where(JobEventTable.job_id == taken.job_id)
        assert session.scalar(gone) == 0
        with pytest.raises(NotFound):
            jobs.get(session, taken.job_id)
    do(database, jobs.request_cancel, other)
    do(database, jobs.remove, other)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(VideoTable)) == 0
    assert blobs.collect(database, older_than_seconds=-1) == 1


def test_pages_hold_every_job_once(database: Database) -> None:
    made = [create(database) for _ in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        with database.read() as session:
            page = jobs.listed(session, limit=3, cursor=cursor)
        seen += [job.id for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made[::-1]
    with database.read() as session:
        assert jobs.listed(session, state="running").items == ()
        assert jobs.count(session, "queued") == 7
        for wrong in ("x", "W10", "eyJhIjoxfQ"):
            with pytest.raises(InvalidSpec):
                jobs.listed(session, cursor=wrong)


def test_what_a_failed_transaction_did_is_undone(database: Database) -> None:
    job_id = create(database)
    with pytest.raises(NotFound), database.write() as session:  # noqa: PT012 - the block is the point
        jobs.request_cancel(session, job_id)
        jobs.get(session, "nothing")
    assert read(database, job_id).state == "queued"


def test_writers_at_once_wait_for_each_other(database: Database) -> None:
    claims = [claimed(database) for _ in range(6)]

    def work(taken: Claim) -> None:
        for step in range(15):
            do(database, jobs.report_progress, taken, done=step, total=15, unit="w", eta_seconds=None)
            read(database, taken.job_id)
        do(database, jobs.succeed, taken, {})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, claims))
    assert {read(database, taken.job_id).state for taken in claims} == {"succeeded"}


def test_the_state_is_assigned_in_one_package_only() -> None:
    root = Path(__file__).parents[2]
    assigns = re.compile(r"""(\.state\s*=[^=])|(values\([^)]*\bstate\s*=)|(["']state["']\s*\]\s*=[^=])""")
    found = [
        str(path.relative_to(root))
        for folder in ("store", "service", "worker", "multav")
        for path in (root / folder).rglob("*.py")
        if assigns.search(path.read_text())
    ]
    assert {each for each in found if not each.startswith("store/jobs/")} <= {"service/app.py"}
    assert "app.state.context" in (root / "service/app.py").read_text()


class LifeOfAJob(RuleBasedStateMachine):
    """Workers, users and the clock do what they like; the laws hold."""

    database: Database

    @initialize(attempts=st.integers(1, 3))
    def begin(self, attempts: int) -> None:
        self.job_id = create(self.database, max_attempts=attempts)
        self.claims: list[Claim] = []
        self.version = 0
        self.final: Job | None = None

    @rule(owner=st.sampled_from(["a", "b"]))
    def take(self, owner: str) -> None:
        was = read(self.database, self.job_id)
        taken = claim(self.database, self.job_id, owner)
        assert (taken is not None) == (was.state == "queued")
        if taken is not None:
            assert taken.attempt == was.attempt + 1 <= was.max_attempts
            self.claims.append(taken)

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        what=st.sampled_from(["beat", "progress", "succeed", "fail", "cancel", "release", "put off"]),
    )
    def write(self, data: st.DataObject, what: str) -> None:
        taken = data.draw(st.sampled_from(self.claims))
        was = read(self.database, self.job_id)
        holds = (was.state, was.attempt, was.owner) == ("running", taken.attempt, taken.owner)
        arguments: dict[str, Any] = {
            "beat": (jobs.heartbeat, taken, 60),
            "succeed": (jobs.succeed, taken, {"attempt": taken.attempt}),
            "fail": (jobs.fail, taken, PROBLEM),
            "cancel": (jobs.confirm_cancel, taken),
            "release": (jobs.release, taken),
            "put off": (jobs.put_off, taken, "hosts_missing"),
        }
        try:
            if what == "progress":
                do(self.database, jobs.report_progress, taken, done=1, total=2, unit="w", eta_seconds=None)
            else:
                do(self.database, *arguments[what])
        except ClaimLost:
            assert not holds
        else:
            assert holds

    @rule()
    def ask_to_cancel(self) -> None:
        do(self.database, jobs.request_cancel, self.job_id)

    @rule(late=st.booleans())
    def time_passes(self, late: bool) -> None:
        if late:
            let_lease_run_out(self.database, self.job_id)
        sweep(self.database)

    @invariant()
    def laws(self) -> None:
        if not hasattr(self, "job_id"):
            return
        job = read(self.database, self.job_id)
        assert job.version >= self.version
        self.version = job.version
        if self.final is not None:
            assert job == self.final
        if job.finished:
            self.final = job
            assert job.finished_at is not None
        assert (job.owner is not None) == (job.state == "running")
        assert (job.result is not None) == (job.state == "succeeded")
        assert (job.problem is not None) == (job.state == "failed")
        with self.database.read() as session:
            events = jobs.events_after(session, self.job_id, 0)
        assert events[-1].state == job.state
        assert len({event.version for event in events}) == len(events)


def test_the_laws_hold_whatever_happens(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'life.db'}"
    migrate(url)
    machine = type("Machine", (LifeOfAJob,), {"database": Database(url)})
    case = machine.TestCase
    case.settings = settings(
        max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    case("runTest").runTest()
