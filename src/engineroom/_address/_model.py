"""The address of a database: the word that the modules of this package share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Address", "unknown_address"]


@dataclass(frozen=True, slots=True)
class Address:
    """What a connection will reach, as far as its arguments tell.

    Attributes:
        backend: SQLAlchemy's name of the database system.
        driver: SQLAlchemy's name of the driver; empty where it is not known.
        database: The name as the driver gets it; for SQLite a path, or None where there is no file. On a server None
            without `switched` means that no database is selected.
        in_memory: Whether SQLite keeps it in memory, or in a temporary file that goes with the connection.
        uri: Whether SQLite read its name as a URI.
        read_only: Whether SQLite opens it for reading only (``mode=ro`` or ``immutable=1``).
        hosts: What is really dialled: numeric addresses, host names, paths of unix sockets. Empty for the driver's
            default.
        switched: Whether the arguments leave open which database is reached in the end.
        service: Whether a connection service file, or an option file, has a say in what is dialled.

    Example:
        >>> Address("postgresql", "psycopg", "shop", hosts=("localhost",)).switched
        False
    """

    backend: str
    driver: str
    database: str | None
    in_memory: bool = False
    uri: bool = False
    read_only: bool = False
    hosts: tuple[str, ...] = ()
    switched: bool = False
    service: bool = False


def unknown_address(backend: str, driver: str, *, uri: bool = False) -> Address:
    """Return the address of a connection whose arguments do not tell what it reaches."""
    return Address(backend, driver, None, uri=uri, switched=True)
