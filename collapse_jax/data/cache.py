"""Where the project keeps what it downloads or trains once for a user."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/collapse_jax``, or ``~/.cache/collapse_jax``; it need not exist.

    >>> cache_folder().name
    'collapse_jax'
    """
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if os.path.isabs(root) else Path.home() / ".cache") / "collapse_jax"
