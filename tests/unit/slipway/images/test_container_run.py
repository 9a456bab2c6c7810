"""Without an engine; what needs one is in tests/integration."""

from __future__ import annotations

import pytest

from slipway.errors import EngineUnavailableError
from slipway.images.container_run import ContainerRun, find_image


def test_a_machine_without_docker_is_told_so(tmp_path):
    with pytest.raises(EngineUnavailableError, match="there is no no-docker program on this machine; install Docker"):
        find_image("clean:1", docker="no-docker")
    with pytest.raises(EngineUnavailableError, match="there is no no-docker program"):
        ContainerRun("clean:1", "name", docker="no-docker").run(tmp_path, {}, print)


def test_killing_what_does_not_run_does_nothing():
    ContainerRun("clean:1", "name", docker="no-docker").kill()
