"""What a database URL really reaches, by the arguments that the driver gets in the end.

Answers: which database, on which hosts, in memory or not; whether that is on this machine; how a URL is shown without
its secrets; what its test twin is. Opens nothing, reads no file and no environment: the process environment is an
argument, and what is true of a file (links, real path) is asked on a higher floor. What cannot be told is unknown,
and unknown never counts as safe.
"""

from __future__ import annotations

from engineroom._address._model import Address
from engineroom._address._reading import address_of, address_of_arguments, is_local
from engineroom._address.masking import mask_url
from engineroom._address.sqlite import sqlite_address
from engineroom._address.twin import fit_name, test_twin

__all__ = [
    "Address",
    "address_of",
    "address_of_arguments",
    "fit_name",
    "is_local",
    "mask_url",
    "sqlite_address",
    "test_twin",
]
