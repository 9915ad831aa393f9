"""The compiled halves: built where Cython and a C compiler are, left out where not (`PERDURE_PURE=1`: left out).

Each has a fallback in Python beside it, and the tests run on both. Adding one is one line in COMPILED.
"""

import os
import shlex
import sysconfig
from pathlib import Path
from shutil import which

from setuptools import Extension, setup

COMPILED = {
    "perdure_storage._fast": "storage/perdure_storage/_fast.pyx",
    "perdure_storage.checkpoint": "storage/perdure_storage/checkpoint.py",
    "perdure_storage.engine": "storage/perdure_storage/engine.py",
    "perdure_storage.keyspace": "storage/perdure_storage/keyspace.py",
    "perdure_storage.records": "storage/perdure_storage/records.py",
    "perdure_storage.tables": "storage/perdure_storage/tables.py",
    "perdure_storage.types.entry": "storage/perdure_storage/types/entry.py",
    "perdure_storage.types.hash": "storage/perdure_storage/types/hash.py",
    "perdure_storage.types.list": "storage/perdure_storage/types/list.py",
    "perdure_storage.types.ranking": "storage/perdure_storage/types/ranking.py",
    "perdure_storage.types.set": "storage/perdure_storage/types/set.py",
    "perdure_storage.types.string": "storage/perdure_storage/types/string.py",
    "perdure_storage.types.zset": "storage/perdure_storage/types/zset.py",
    "perdure_storage.wal": "storage/perdure_storage/wal.py",
    "perdure._fast": "src/perdure/_fast.pyx",
    "perdure.args": "src/perdure/args.py",
    "perdure.commands.hashes": "src/perdure/commands/hashes.py",
    "perdure.commands.lists": "src/perdure/commands/lists.py",
    "perdure.commands.scripting": "src/perdure/commands/scripting.py",
    "perdure.commands.sets": "src/perdure/commands/sets.py",
    "perdure.commands.strings": "src/perdure/commands/strings.py",
    "perdure.commands.zsets": "src/perdure/commands/zsets.py",
    "perdure.dispatch": "src/perdure/dispatch.py",
    "perdure.geohash": "src/perdure/geohash.py",
    "perdure.hot": "src/perdure/hot.py",
    "perdure.hyperloglog": "src/perdure/hyperloglog.py",
    "perdure.registry": "src/perdure/registry.py",
    "perdure.scripting._bridge": "src/perdure/scripting/_bridge.pyx",
    "perdure.scripting.running": "src/perdure/scripting/running.py",
    "perdure.scripting.sandbox": "src/perdure/scripting/sandbox.py",
    "perdure.scripting.scripts": "src/perdure/scripting/scripts.py",
    "perdure.session": "src/perdure/session.py",
}


def can_compile() -> bool:
    """Are a C compiler and Python's headers here? Saves half a minute of Cython where they are not."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    return which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def extensions() -> list[Extension]:
    """What can be compiled here. All are optional: one that does not compile is left out, with a warning."""
    if os.environ.get("PERDURE_PURE") == "1" or not can_compile():
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    found = [
        Extension(name, [source], extra_compile_args=["-g0"])  # debug symbols take half of the build's time
        for name, source in COMPILED.items()
    ]
    modules: list[Extension] = cythonize(
        found, language_level=3, include_path=["src", "storage"], compiler_directives={"annotation_typing": False}
    )
    for module in modules:
        module.optional = True  # here, since cythonize drops it
    return modules


setup(ext_modules=extensions(), options={"build_ext": {"parallel": os.cpu_count() or 1}})
