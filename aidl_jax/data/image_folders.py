"""ImageNet's layout: a folder for each class, or images alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from aidl_jax.errors import DataError

__all__ = ["classes_of", "files_in", "labels_of"]

ENDINGS = {".jpeg", ".jpg", ".png"}


def classes_of(root: Path) -> list[str]:
    """The names of the folders in a folder, sorted."""
    return sorted(entry.name for entry in _entries(root) if entry.is_dir() and not entry.name.startswith("."))


def files_in(root: Path, alone: bool) -> tuple[Path, ...]:
    """The images of all classes, or those that lie in the folder alone; sorted by their paths.

    Raises:
        DataError: there is none; a class without images.
    """
    found = _images(root) if alone else [file for name in classes_of(root) for file in _images_of_class(root / name)]
    if not found:
        raise DataError(
            "there are no images in the folder",
            expected="files *.JPEG, *.jpg or *.png" + ("" if alone else " in a folder for each class"),
            where=f"image_folder({str(root)!r})",
            fix="name the folder that holds the classes, such as imagenet/train"
            + ("; for images without classes: image_folder(root, labels=...)" if _images(root) else ""),
        )
    return tuple(found)


def labels_of(root: Path, files: tuple[Path, ...]) -> np.ndarray:
    """The number of each file's class, int32 [files]."""
    numbers = {name: number for number, name in enumerate(classes_of(root))}
    return np.array([numbers[file.parent.name] for file in files], np.int32)


def _images(folder: Path) -> list[Path]:
    names = sorted(entry.name for entry in _entries(folder) if os.path.splitext(entry.name)[1].lower() in ENDINGS)
    return [folder / name for name in names]


def _images_of_class(folder: Path) -> list[Path]:
    found = _images(folder)
    if not found:
        raise DataError(
            "a class has no images",
            where=str(folder),
            expected="files *.JPEG, *.jpg or *.png",
            fix="remove the folder, or fetch its images; each folder is a class and has a number",
        )
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            "the folder cannot be read",
            given=f"{folder}: {error.strerror}",
            where="image_folder",
            fix="correct the path",
        ) from None
