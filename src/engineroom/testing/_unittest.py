"""A ``unittest.TestCase`` whose tests start from the same state of the database.

It wraps a whole test, with its ``setUp``, ``tearDown`` and cleanups; what is done before and after stands in
:mod:`engineroom.testing._runs`.
"""

from __future__ import annotations

import sys
import unittest
from typing import Any

from engineroom.errors import FenceError
from engineroom.testing._runs import current_run, start_test_run

__all__ = ["IsolatedTestCase"]


class IsolatedTestCase(unittest.TestCase):
    """A test case that starts each test from the baseline, and undoes afterwards what it wrote.

    Put it in front of ``unittest.IsolatedAsyncioTestCase`` for tests that are coroutines. What ``setUpClass`` writes is
    there for all tests of the class. Under pytest the plugin does the same.

    Example:
        >>> class ShopTest(IsolatedTestCase):
        ...     def test_an_order_is_stored(self) -> None:
        ...         pass
    """

    def run(self, result: Any = None) -> Any:
        """Run the test in isolation.

        Args:
            result: What takes down how it ended.

        Returns:
            The result.
        """
        start_test_run()
        run = current_run()
        if run is None:
            return super().run(result)
        result = self.defaultTestResult() if result is None else result
        try:
            run.begin(self.id(), type(self))
        except Exception:  # noqa: BLE001  # whatever it is, it is this test's error
            self._tell(result)
            if run.has_failed_to_build:
                result.stop()
            return result
        known = len(result.errors)
        super().run(result)
        if len(result.errors) > known and FenceError.__name__ in result.errors[-1][1]:
            run.forget_refusals(self.id())
        try:
            run.finish(self.id())
        except Exception:  # noqa: BLE001  # as above
            result.addError(self, sys.exc_info())
        return result

    def _tell(self, result: Any) -> None:
        result.startTest(self)
        try:
            result.addError(self, sys.exc_info())
        finally:
            result.stopTest(self)
