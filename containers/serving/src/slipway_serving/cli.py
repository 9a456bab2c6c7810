"""Command line of the model server: ``serve``, ``convert`` and ``stages``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


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
    conversion = commands.add_parser("convert", help="choose the engine for a model and write engine.json")
    conversion.add_argument("model_dir", type=Path, help="folder with MLmodel")
    conversion.add_argument("out_dir", type=Path, help="receives engine.json and the compiled program")
    conversion.add_argument("--engine", choices=["auto", "pyfunc"], default="auto")
    conversion.add_argument("--golden", type=Path, help="stored answers, for a model that cannot run here")
    stages = commands.add_parser("stages", help="say which stages of a saved Spark model need a JVM")
    stages.add_argument("spark_dir", type=Path, help="folder that Spark saved, the flavor's model_data")
    options = parser.parse_args(arguments)
    return {"serve": _serve, "convert": _convert, "stages": _stages}[options.command](options)


def _serve(_options: argparse.Namespace) -> int:
    from slipway_serving.server import serve
    from slipway_serving.settings import Settings, SettingsError

    try:
        return serve(Settings.from_environment())
    except SettingsError as error:
        print(json.dumps({"event": "settings_refused", "error": str(error)}), file=sys.stderr)  # noqa: T201
        return 2


def _convert(options: argparse.Namespace) -> int:
    from slipway_serving.accesslog import configure_logging
    from slipway_serving.convert.convert import convert

    configure_logging()
    options.out_dir.mkdir(parents=True, exist_ok=True)
    record = convert(options.model_dir, options.out_dir, engine=options.engine, golden_file=options.golden)
    print(json.dumps(record))  # noqa: T201
    return 0


def _stages(options: argparse.Namespace) -> int:
    from slipway_serving.convert.spark_model import covered_stages, uncovered_stages
    from slipway_serving.convert.spark_saved import SavedStage

    uncovered = uncovered_stages(SavedStage(options.spark_dir))
    print(json.dumps({"uncovered": uncovered, "covered_kinds": covered_stages()}))  # noqa: T201
    return 0
