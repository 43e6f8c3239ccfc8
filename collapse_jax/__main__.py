"""``python -m collapse_jax`` is the command ``collapse``."""

import sys

from collapse_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
