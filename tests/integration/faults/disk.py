"""A disk that a test can fill up: while the file DISK_IS_FULL exists, half of each new file fits."""

import errno
import os
from pathlib import Path
from typing import Any

from django.core.files.storage import FileSystemStorage

__all__ = ["Disk", "FullDisk"]


class FullDisk(FileSystemStorage):
    """What the project stores its files in."""

    def _save(self, name: str, content: Any) -> str:
        flag = Path(os.environ["DISK_IS_FULL"])
        if not flag.exists():
            return super()._save(name, content)
        path = Path(self.path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read(content.size // 2))
        with flag.with_suffix(".refused").open("a") as refused:
            refused.write(f"{name}\n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Disk:
    """The test's side."""

    name = "disk"

    def __init__(self, folder: Path) -> None:
        self.media = folder / "media"
        self.media.mkdir()
        self.flag = folder / "disk-is-full"
        self.uploads = self.media / "async_accept" / "uploads"

    def fill(self) -> None:
        self.flag.touch()

    def free(self) -> None:
        self.flag.unlink(missing_ok=True)

    def half_files(self) -> list[str]:
        """Return the files that did not fit, and are there nevertheless."""
        refused = self.flag.with_suffix(".refused")
        names = refused.read_text().split() if refused.exists() else []
        return [name for name in names if (self.media / name).exists()]

    def has_uploads_of(self, job: str) -> bool:
        return (self.uploads / job.replace("-", "")).exists()
