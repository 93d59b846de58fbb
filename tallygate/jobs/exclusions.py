"""What stays behind when a job directory is staged.

A pattern is tried on a name and on the whole relative path, of files and of folders alike: ``*.log``, ``data``,
``data/raw``, ``src/*/cache``. A folder that matches is not entered. Patterns of a job add to those below.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from ..errors import UsageError

ALWAYS = (
    # version control
    ".git", ".hg", ".svn", ".bzr", ".jj", "CVS", "_darcs",
    # caches
    "__pycache__", "*.pyc", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".import_linter_cache", ".cache",
    "node_modules", ".ipynb_checkpoints", ".tox", ".nox", ".eggs", "*.egg-info", ".gradle", ".terraform", ".DS_Store",
    # our own
    ".tallygate", "cloud_jobs.db*",
)  # fmt: skip
"""Left out of every job, without a word."""

ENVIRONMENTS = (".venv", "venv", ".virtualenv", ".conda", ".direnv")
"""Names of virtual environments. Under any other name they give themselves away by ``pyvenv.cfg`` or ``conda-meta``."""

ENVIRONMENT_SIGNS = ("pyvenv.cfg", "conda-meta")

SECRETS = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.ppk", "*.kdbx", "*.kdb",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".config/gcloud", ".kube",
    ".netrc", "_netrc", ".pgpass", ".my.cnf", ".git-credentials", ".npmrc", ".pypirc", ".docker", ".dockercfg", ".htpasswd",
    ".vault-token", ".password-store", "credentials", "credentials.json", "credentials.csv", "client_secret*.json",
    "service_account*.json", "service-account*.json", "secrets.json", "secrets.toml", "secrets.yaml", "secrets.yml",
    "*.tfstate", "*.tfstate.*", "*.tfvars", "rclone.conf", ".s3cfg", ".boto",
)  # fmt: skip
"""Names that usually hold secrets, in any case of letters. They are left out too, and the person is told."""

SNIFF_BYTES = 64 * 1024
"""Files up to this size are read for the header of a private key, whatever their name."""

_PRIVATE_KEY = re.compile(
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|^PuTTY-User-Key-File-\d:", re.MULTILINE
)


class Patterns:
    """Several patterns at once. ``match`` says which of them fits."""

    def __init__(self, patterns: Iterable[str], *, any_case: bool = False) -> None:
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        for pattern in patterns:
            plain = pattern.strip().removeprefix("./").strip("/")
            if not plain or "\0" in plain or len(plain) > 1000:
                raise UsageError(f"{pattern[:80]!r} is not a pattern", cure="Write it like *.log, data or data/raw/*")
            for form in {plain, plain.removeprefix("**/"), plain.removesuffix("/**")}:
                self._patterns.append((pattern, re.compile(translate(form), re.IGNORECASE if any_case else 0)))

    def match(self, path: str) -> str | None:
        """The first pattern that fits the last name of ``path`` or all of it; None when none does."""
        name = path.rpartition("/")[2]
        for pattern, form in self._patterns:
            if form.match(name) or form.match(path):
                return pattern
        return None


def holds_private_key(content: bytes) -> bool:
    """Whether a file's content has the header of a private key."""
    return _PRIVATE_KEY.search(content) is not None
