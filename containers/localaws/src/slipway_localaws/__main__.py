"""``python -m slipway_localaws``."""

from slipway_localaws.server import main

main()
