import pytest

from homing.testing.conformance import SUITE


@pytest.mark.parametrize("check", SUITE, ids=lambda f: f.__name__)
async def test_torch_engine(check, subject):
    await check(subject)
