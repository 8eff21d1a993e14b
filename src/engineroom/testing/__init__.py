"""What tests may use from engineroom without its pytest plugin, and what the plugin itself is built from.

Public is only what this module names. Importing it loads the standard library and nothing else.
"""

from __future__ import annotations

from engineroom.testing.ledger import Refusal, expect_refusal

__all__ = ["Refusal", "expect_refusal"]
