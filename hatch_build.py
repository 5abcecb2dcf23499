"""Compiles the evaluation callback of the llama.cpp engine into the wheel, where there is a C compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/homing/engine/llamacpp")
# no fused products: the Python callback must give the same to the bit
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden")


class CallbackHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds ``_callback.so``; without a compiler the package works with the Python callback."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are gathered."""
        if self.target_name != "wheel" or sys.platform == "win32":
            return
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            self.app.display_warning("no C compiler: homing will read GGUF models with the Python callback")
            return
        folder = Path(self.root) / FOLDER
        made, part = folder / "_callback.so", folder / f"._callback.{os.getpid()}.so"
        try:
            command = [*compiler.split(), *FLAGS, str(folder / "callback.c"), "-o", str(part)]
            subprocess.run(command, check=True)  # noqa: S603 - the compiler that the machine or its owner names
            part.replace(made)  # whole or not at all: a process may have the old one open
        except (OSError, subprocess.CalledProcessError) as e:
            part.unlink(missing_ok=True)
            self.app.display_warning(f"the callback could not be compiled ({e}); the Python one will be used")
            return
        build_data["force_include"][str(made)] = "homing/engine/llamacpp/_callback.so"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
