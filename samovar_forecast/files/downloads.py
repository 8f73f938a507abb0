"""Downloads into the user's cache: checked against a checksum, and continued where they broke off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def download(url: str, file: str, sha256: str) -> Path:
    """The path of a file in the cache, downloaded where it is missing or damaged.

    The bytes of a broken download stay beside it as ``{file}.part``; the next one continues them, where the server can.
    A file takes its name only when it is complete and its checksum is right.

    Parameters
    ----------
    url : str
        Where the file is.
    file : str
        Its name in the cache, ``pooch.os_cache("samovar-forecast")``.
    sha256 : str
        Its checksum.

    Raises
    ------
    OSError
        If the download fails.
    ValueError
        If the content has another checksum; nothing is kept then.
    """
    import pooch

    folder = pooch.os_cache("samovar-forecast")
    # pooch.retrieve has no second try, which is what continues a broken download at once.
    cache = pooch.create(
        path=folder, base_url="", registry={file: f"sha256:{sha256}"}, urls={file: url}, retry_if_failed=1
    )
    return Path(cache.fetch(file, downloader=_Continued(Path(folder) / f"{file}.part")))


class _Continued:
    """A downloader for pooch that continues a partial file; those of pooch begin anew."""

    def __init__(self, part: Path) -> None:
        self.part = part

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        import requests

        size = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
        with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.unlink()  # longer than the file: it belongs to another one
            answer.raise_for_status()
            continues = answer.status_code == requests.codes.partial_content
            with self.part.open("ab" if continues else "wb") as file:
                for chunk in answer.iter_content(2**16):
                    file.write(chunk)
        os.replace(self.part, output_file)
