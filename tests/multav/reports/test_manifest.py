"""A manifest is enough to ask for the same audit again."""

import sys

from multav.audits.request import AuditRequest
from multav.reports.manifest import DatasetIdentity, Manifest, ModelIdentity, collect
from tests.multav.reports.conftest import Reported


def test_the_same_audit_again(reported: Reported) -> None:
    manifest = reported.summary.manifest
    assert manifest is not None
    again = Manifest.model_validate_json(manifest.model_dump_json()).audit_request()
    request = reported.audit.request
    assert again == request.spelled_out()
    assert [cell.name for cell in again.cells] == [cell.name for cell in request.cells]
    assert [cell.attack for cell in again.cells] == [cell.attack for cell in request.cells]


def test_models_of_the_server_are_written_down() -> None:
    found = collect(
        AuditRequest.parse({}),
        models=[ModelIdentity(name="default")],
        dataset=DatasetIdentity(name="d", videos=1),
    )
    assert found.audit_request().models == ("default",)
    assert found.machine.processor
    assert found.packages["numpy"]
    assert found.precision == "auto"


def test_flags_are_read_where_torch_is() -> None:
    import torch

    found = collect(
        AuditRequest.parse({}),
        models=[],
        dataset=DatasetIdentity(name="d", videos=1),
        torch=sys.modules["torch"],
        precision="float32",
    )
    assert found.torch["deterministic_algorithms"] == torch.are_deterministic_algorithms_enabled()
    assert found.machine.threads == torch.get_num_threads()
    assert found.precision == "float32"


def test_packages_that_are_not_there_are_left_out() -> None:
    found = collect(
        AuditRequest.parse({}),
        models=[],
        dataset=DatasetIdentity(name="d", videos=1),
        packages=["numpy", "no-such-package"],
    )
    assert list(found.packages) == ["numpy"]
