"""The file given by `--images`: YAML, image name → what runs.

    example/clock: {exec: [/usr/bin/date], command: [-u]}
    example/web:1: {exec: [/usr/bin/python3, -m, http.server], env: {A: b}, ports: [8000]}

A name with a tag stands for that tag alone. Refuses (LabError naming the file and the entry) what is not of this form.
"""

from __future__ import annotations

from pathlib import Path

from svclab.errors import LabError
from svclab.images.table import Image, checked


def read(path: str | Path) -> dict[str, Image]:
    """The images in the file, as `resolve` takes them."""
    import yaml  # type: ignore[import-untyped]  # no stubs; only who has such a file pays for the import

    try:
        return checked(yaml.safe_load(Path(path).read_text()), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"--images {path}: {error}") from error
    except yaml.YAMLError as error:
        raise LabError(f"--images {path} is no YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise LabError(f"--images {error}") from error
