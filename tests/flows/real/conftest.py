"""The checks of these flows lie outside of the test files, and tell as much as those inside where they fail."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.flows.real.healing")
