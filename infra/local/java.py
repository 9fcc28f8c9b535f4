"""Where Java is; standard library only, used before any set-up."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from infra.errors import Invalid

VERSION = 17
CURE = "install a Java 17 JDK (Debian: apt-get install openjdk-17-jdk-headless) or set JAVA_HOME to one"


def java_executable() -> str:
    """The `java` of JAVA_HOME, else of PATH.

    Raises:
        Invalid: There is none.
    """
    home = os.environ.get("JAVA_HOME", "")
    if home and (Path(home) / "bin" / "java").is_file():
        return str(Path(home) / "bin" / "java")
    found = shutil.which("java")
    if found is None:
        raise Invalid("Java not found in JAVA_HOME or PATH", wanted=f"Java {VERSION}", cure=CURE)
    return found


def java_tool(name: str) -> str:
    """A tool of the Java development kit, such as `javac`: beside `java`, else in PATH.

    Raises:
        Invalid: There is none: this Java only runs programs.
    """
    java = Path(java_executable())
    for beside in (java.with_name(name), java.resolve().with_name(name)):
        if beside.is_file():
            return str(beside)
    found = shutil.which(name)
    if found is None:
        raise Invalid(f"{name} not found beside {java} or in PATH", wanted=f"a Java {VERSION} JDK", cure=CURE)
    return found


def require_java() -> str:
    """The path of a Java of the right version.

    Raises:
        Invalid: There is none, or it is another version.
    """
    java = java_executable()
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', answer.stderr)
    if match is None or int(match.group(1)) != VERSION:
        said = match.group(1) if match else answer.stderr.strip()[:80]
        raise Invalid(f"{java} is Java {said}", wanted=f"Java {VERSION}", cure=CURE)
    return java
