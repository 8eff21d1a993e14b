"""The loop and the transport of an asyncpg connection that moves from one event loop to the next.

Such a connection knows its loop by two things: the loop that it was given, and the transport that the loop made. Both
are stand-ins here. :class:`MovingLoop` passes everything on to the loop that the connection is in at the moment, and
:class:`Link` is a transport whose socket is taken out of a loop that ends and put into the next. Only a plain
connection can do that: what TLS remembers belongs to its loop. A connection is in one loop at a time, so there are no
locks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from engineroom._loops.let_go import close_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Link", "MovingLoop"]


class MovingLoop:
    """The event loop as a connection knows it: whichever loop the connection is in.

    Attributes:
        current: That loop.
    """

    def __init__(self) -> None:
        """Start in the running loop."""
        self.current: asyncio.AbstractEventLoop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        """Return what the current loop has."""
        return getattr(self.current, name)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of the current loop; the driver asks for this method once, and keeps it."""
        return self.current.create_future()

    async def create_connection(self, factory: Callable[[], asyncio.Protocol], *args: Any, **options: Any) -> Any:
        """Connect as the current loop does, through a link."""
        link = Link(factory())
        await self.current.create_connection(link.listen, *args, **options)
        return link, link.protocol

    async def create_unix_connection(self, factory: Callable[[], asyncio.Protocol], *args: Any, **options: Any) -> Any:
        """Connect as the current loop does, through a link."""
        link = Link(factory())
        await self.current.create_unix_connection(link.listen, *args, **options)
        return link, link.protocol

    async def start_tls(self, link: Link, *args: Any, **options: Any) -> asyncio.Transport | None:
        """Encrypt as the current loop does; the transport is its own from then on, and stays in it."""
        return await self.current.start_tls(link.transport, *args, **options)


class Link(asyncio.Transport):
    """The transport as a driver knows it: the same one in every loop.

    Args:
        protocol: The driver's end.

    Attributes:
        transport: The current loop's own transport.
        has_waited: Whether the driver ever had to wait until something was sent. What it waits with belongs to the loop
            of that moment for good.
    """

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.transport: Any = None
        self.has_waited = False
        self._listener: _Listener | None = None
        self._socket: socket.socket | None = None  # while it is in no loop

    def listen(self) -> _Listener:
        """Return what a loop's transport is to tell from now on; whatever it told before is not heard any more."""
        self._listener = _Listener(self)
        return self._listener

    def hears(self, listener: _Listener) -> bool:
        """Tell whether a listener is the last one."""
        return listener is self._listener

    def connect(self, transport: asyncio.Transport) -> None:
        """Use a transport; the driver need not know that there was another one before."""
        is_first, self.transport = self.transport is None, transport
        if is_first:
            self.protocol.connection_made(self)

    def take_out(self) -> bool:
        """Take the socket out of its loop; return whether that could be done."""
        if self.has_waited or not _is_movable(self.transport):
            return False
        descriptor = self.transport.get_extra_info("socket").fileno()
        if descriptor < 0:
            return False
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._listener = None
        try:
            self.transport.abort()  # closes its own descriptor; what is connected stays so
        except RuntimeError:  # the loop is closed
            close_socket(self.transport)
        return True

    async def put_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put the socket into a loop."""
        sock, self._socket = self._socket, None
        await loop.create_connection(self.listen, sock=sock)

    def write(self, data: Any) -> None:
        """Send something; in no loop, that is the driver's farewell."""
        if self._socket is None:
            self.transport.write(data)
        else:
            with contextlib.suppress(OSError):
                self._socket.send(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send several pieces."""
        self.transport.writelines(list_of_data)

    def abort(self) -> None:
        """Close it at once."""
        if self._socket is None:
            self.transport.abort()
        else:
            self._socket.close()

    def close(self) -> None:
        """Close it when everything was sent."""
        self.transport.close()

    def set_protocol(self, protocol: Any) -> None:
        """Have something else listen: a driver that was refused encryption goes on without."""
        self.protocol = protocol

    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be."""
        return bool(self.transport.is_closing())

    def pause_reading(self) -> None:
        """Listen to nothing for a while."""
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Listen again."""
        self.transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the loop's transport knows."""
        return self.transport.get_extra_info(name, default)


class _Listener(asyncio.Protocol):
    """What the transport of one loop tells the driver, as long as the link is in that loop."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._link.connect(transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._link.protocol.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._link.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, unless it is only this loop that lost it."""
        if self._link.hears(self):
            self._link.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._link.has_waited = True
        self._link.protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._link.protocol.resume_writing()


def _is_movable(transport: Any) -> bool:
    return not (
        transport.is_closing()
        or transport.get_write_buffer_size()
        or transport.get_extra_info("sslcontext") is not None
    )
