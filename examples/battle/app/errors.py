"""What can go wrong, in the words of the domain. The HTTP status of each is decided in ``app.api.errors``."""


class BattleError(Exception):
    """Any error that the application raises on purpose."""


class NotFoundError(BattleError):
    """There is no such row."""


class ConflictError(BattleError):
    """There is such a row already."""


class RuleError(BattleError):
    """The rules of the tournament forbid it."""


class AuthenticationError(BattleError):
    """Nobody knows who is asking."""


class NotAllowedError(BattleError):
    """It is known who is asking, and they may not."""
