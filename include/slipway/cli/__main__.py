"""``python -m slipway.cli`` is ``slipway``."""

from slipway.cli.app import main

if __name__ == "__main__":
    main()
