"""Random faults, shortly; ./dev chaos has hours of them. A seed that once found a bug stays here."""
import pytest

import chaos
from conftest import SETS


def run(request, *arguments):
    brokers = SETS[request.config.getoption("--target")]
    zookeeper = request.config.getoption("--zookeeper")
    return chaos.main(["--brokers", ",".join(brokers), *(["--zookeeper", zookeeper] if zookeeper else []), *map(str, arguments)])


@pytest.mark.short
def test_some_seconds_of_random_faults(request):
    assert run(request, "--minutes", 0.15, "--seed", 1) == 0


@pytest.mark.parametrize("seed", range(2, 6))
def test_a_minute_of_random_faults(request, seed):
    assert run(request, "--minutes", 1, "--seed", seed) == 0
