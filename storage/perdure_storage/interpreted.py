"""`PERDURE_PURE=1`: compiled modules are passed by, and every module is read from its Python source.

For tests that replace methods, which compiled classes do not allow, and for whoever wonders whether it is the compiler.
Imported before all others by `perdure_storage`; processes that are started inherit it with the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Final

PACKAGES: Final = ("perdure.", "perdure_storage.")


class Sources(MetaPathFinder):
    """Finds the modules of our packages as source; what has none (`_fast`) is not there, as without a compiler."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As MetaPathFinder says. Raises ModuleNotFoundError."""
        if path is None or not fullname.startswith(PACKAGES):
            return None
        for folder in path:
            spec = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES)).find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        raise ModuleNotFoundError(f"No module named {fullname!r} in Python (PERDURE_PURE=1)", name=fullname)


if os.environ.get("PERDURE_PURE") == "1":
    sys.meta_path.insert(0, Sources())
