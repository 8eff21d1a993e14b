"""What the application reads from its environment."""

import os
from datetime import timedelta

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///./data/battle.db")
SECRET_KEY = os.environ.get("SECRET_KEY", "only-for-development")
TOKEN_LIFETIME = timedelta(hours=12)
