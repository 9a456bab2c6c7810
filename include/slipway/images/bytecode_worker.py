"""Compiles a folder to bytecode. Run as a script by an interpreter of the image's version; takes nothing else.

    python -I -S bytecode_worker.py FOLDER PREFIX JOBS

``marshal`` marks each object that anything else refers to, strings interned by an earlier file included, so what a
process did before shows in its output. Therefore each batch of modules is compiled by a fresh fork, in the order of
names: the bytes then depend on the sources and the interpreter alone, not on the number of jobs or their luck.
"""

import gc
import os
import py_compile
import re
import sys
import warnings

SKIP = re.compile(r"/tests?(/|$)")  # never imported in production, and a third of what there is

BATCH = 40


def compile_modules(paths: list[str], root: str, prefix: str) -> None:
    """Compile modules; what is no Python of this version (a template, say) or a dangling link is left alone."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    for path in paths:
        try:
            py_compile.compile(path, dfile=prefix + path[len(root) :], doraise=True, invalidation_mode=mode)
        except (py_compile.PyCompileError, FileNotFoundError, ValueError, RecursionError):
            continue


def batches_of(root: str) -> list[list[str]]:
    """Cut the modules below ``root`` into batches: by the order of names, so that every run cuts alike.

    The largest batch comes first, so that no job is left with it when the others have ended.
    """
    modules = []
    for folder, _, names in os.walk(root):
        if not SKIP.search(folder[len(root) :]):
            modules += [f"{folder}/{name}" for name in names if name.endswith(".py")]
    modules.sort()
    batches = [modules[start : start + BATCH] for start in range(0, len(modules), BATCH)]
    return sorted(batches, key=lambda paths: -sum(os.lstat(path).st_size for path in paths))


def main(root: str, prefix: str, jobs: int) -> int:
    """Compile everything below ``root``, ``jobs`` batches at a time; return the exit status."""
    warnings.simplefilter("ignore")
    gc.disable()  # compiling makes no cycles; looking for them takes time
    running, failed = 0, 0
    for paths in batches_of(root):
        if running == jobs:
            failed |= os.wait()[1]
            running -= 1
        if os.fork() == 0:
            compile_modules(paths, root, prefix)
            os._exit(0)
        running += 1
    for _ in range(running):
        failed |= os.wait()[1]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
