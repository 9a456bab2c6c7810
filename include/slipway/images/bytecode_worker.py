"""Compiles a folder to bytecode. Run as a script by an interpreter of the image's version; takes nothing else.

    python -I -S bytecode_worker.py FOLDER PREFIX JOBS

``marshal`` marks each object that anything else refers to, strings interned by an earlier file included, so what a
process did before shows in its output. Therefore every folder is compiled by a fresh fork, in the order of names: the
bytes then depend on the sources and the interpreter alone, not on the number of jobs or their luck.
"""

import os
import py_compile
import re
import sys
import warnings

SKIP = re.compile(r"/tests?(/|$)")  # never imported in production, and a third of what there is


def compile_folder(folder: str, names: list[str], root: str, prefix: str) -> None:
    """Compile the modules ``names`` of ``folder``; what is no Python of this version (a template) is left alone."""
    for name in names:
        path = f"{folder}/{name}"
        shown = prefix + path[len(root) :]
        try:
            py_compile.compile(
                path, dfile=shown, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
            )
        except (py_compile.PyCompileError, OSError, ValueError, RecursionError):
            continue


def folders_of(root: str) -> list[tuple[str, list[str]]]:
    """Return every folder to compile with its modules."""
    found = []
    for folder, _, names in os.walk(root):
        modules = sorted(name for name in names if name.endswith(".py"))
        if modules and not SKIP.search(folder[len(root) :]):
            found.append((folder, modules))
    return sorted(found)


def main(root: str, prefix: str, jobs: int) -> int:
    """Compile all folders, ``jobs`` at a time; return the exit status."""
    warnings.simplefilter("ignore")
    running, failed = 0, 0
    for folder, names in folders_of(root):
        if running == jobs:
            failed |= os.wait()[1]
            running -= 1
        if os.fork() == 0:
            compile_folder(folder, names, root, prefix)
            os._exit(0)
        running += 1
    for _ in range(running):
        failed |= os.wait()[1]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
