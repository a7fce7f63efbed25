"""What the tests of executors compare with: stubs, and what worker processes of this machine make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kills import proofs
from tests.stubs import StubProject, make_stub_project, make_template


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real run on this machine alone."""
    folder = tmp_path_factory.mktemp("template")
    make_template(folder)
    return folder


@pytest.fixture(scope="module")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, template: Path) -> StubProject:
    """Notebooks that copy files, with a pause after each, for the module's VARIANTS."""
    return make_stub_project(tmp_path_factory.mktemp("stubs"), template, len(request.module.VARIANTS), 0.4)


@pytest.fixture(scope="module")
def truth(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, project: StubProject
) -> dict[str, str]:
    """What the stubs leave when worker processes of this machine execute them."""
    folder = tmp_path_factory.mktemp("local")
    code, said = project.run(folder, request.module.VARIANTS, "--no-pdf")
    assert code == 0, said
    return proofs(folder)
