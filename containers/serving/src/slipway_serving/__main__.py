"""``python -m slipway_serving``: what the image's entrypoint runs."""

from __future__ import annotations

import sys

from slipway_serving.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
