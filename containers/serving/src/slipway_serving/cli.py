"""Command line of the model server: ``serve`` and ``convert``."""

from __future__ import annotations

import argparse
import json
import sys


def main(arguments: list[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments
        The command line without the program's name.

    Returns
    -------
    int
        The process's exit code: 0 when the command did what it says, 2 when it was asked wrongly.
    """
    parser = argparse.ArgumentParser(prog="slipway_serving", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve the model; settings come from the environment")
    options = parser.parse_args(arguments)
    return {"serve": _serve}[options.command](options)


def _serve(_options: argparse.Namespace) -> int:
    from slipway_serving.server import serve
    from slipway_serving.settings import Settings, SettingsError

    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(json.dumps({"event": "settings_refused", "error": str(error)}), file=sys.stderr)  # noqa: T201
        return 2
    return serve(settings)
