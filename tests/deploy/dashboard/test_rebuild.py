"""The file that rebuilds what an encoder sees; that it does is in tests/agent/export/test_export.py."""

import pytest

from deploy.dashboard.rebuild import Eyes
from deploy.policy_spec import PolicyError
from tests.deploy.policies import constant_policy


def test_what_are_no_eyes_is_told_in_one_line(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"no graph")
    constant_policy(tmp_path / "policy.onnx", 0.0, 0.0)
    for name in ("junk.onnx", "missing.onnx", "policy.onnx"):
        with pytest.raises(PolicyError, match=f"{name}.*lapwing export --eyes") as error:
            Eyes(tmp_path / name)
        assert error.value.exit_code == 2
