"""Backups of the controller: one file with the whole database as it was at one moment, and back again.

The file is a tar archive that any tar can list: `manifest.json` first, then `controller.db`, then the
configuration as it was. No private key is in it, and the store has no key material.
"""

import datetime as dt
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import make_url

from keyweave.common.errors import (
    AlreadyExistsError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from keyweave.common.process import sync_directory
from keyweave.controller.store_engine import known_revisions

FORMAT = 1
DATABASE, MANIFEST, CONFIGURATION = "controller.db", "manifest.json", "controller.yaml"
_COUNTED = ("nodes", "links", "streams", "events")
_CHUNK = 1024 * 1024
_MAX_MANIFEST_BYTES = 64 * 1024


class Manifest(BaseModel):
    """What a backup says of itself."""

    model_config = ConfigDict(frozen=True)

    format: int
    keyweave_version: str
    # Revision of the database's schema.
    schema_revision: str = Field(pattern=r"^[0-9]{4}$")
    made_at: str
    # The highest epoch that was claimed in it.
    epoch: int
    counts: dict[str, int]
    database_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    database_bytes: int = Field(ge=0)


def database_file(store_url: str) -> Path:
    """The SQLite file of a store; InvalidInputError for any other database."""
    url = make_url(store_url)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise InvalidInputError.of(
            "database_url", "is no SQLite file; back a PostgreSQL up with pg_dump and pg_restore"
        )
    return Path(url.database)


def back_up(store_url: str, configuration: Path, target: Path) -> Manifest:
    """Write a backup of a database that may be in use; for its owner only, never over another file."""
    database = database_file(store_url)
    if not database.is_file():
        raise NotFoundError(f"there is no database {database}; has this controller ever run?")
    if target.exists():
        raise AlreadyExistsError(f"{target} exists already; name another file")
    directory = target.resolve().parent
    if not directory.is_dir():
        raise InvalidInputError.of("FILE", f"there is no directory {directory}")
    with tempfile.TemporaryDirectory(prefix=".keyweave-backup-", dir=directory) as scratch:
        copy = Path(scratch) / DATABASE
        _copy(database, copy)
        manifest = _describe(copy)
        archive = Path(scratch) / "archive"
        descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                _add(tar, MANIFEST, (manifest.model_dump_json(indent=2) + "\n").encode())
                tar.add(copy, DATABASE, filter=_private)
                _add(tar, CONFIGURATION, configuration.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link, not a rename: it never replaces what came there meanwhile.
            target.hardlink_to(archive)
        except FileExistsError:
            raise AlreadyExistsError(f"{target} exists already; name another file") from None
        sync_directory(directory)
    return manifest


def read_manifest(backup: Path) -> Manifest:
    """What a backup says of itself; InvalidInputError where it is none, or is too new for this version."""
    with _opened(backup) as tar:
        return _manifest(backup, tar)


def restore(backup: Path, store_url: str, *, force: bool) -> tuple[Manifest, Path | None]:
    """Put a backup in a database's place, all of it or nothing; returns where the database before went.

    PreconditionError while a controller runs on it, or where it holds something and `force` is not given.
    """
    database = database_file(store_url)
    database.parent.mkdir(parents=True, exist_ok=True)
    with (
        _opened(backup) as tar,
        tempfile.TemporaryDirectory(prefix=".keyweave-restore-", dir=database.parent) as s,
    ):
        manifest = _manifest(backup, tar)
        copy = Path(s) / DATABASE
        _extract(backup, tar, copy, manifest)
        _check(backup, copy, manifest)
        kept = _set_aside(database, force=force)
        _give_to_owner_of(database.parent, copy)
        copy.replace(database)
        sync_directory(database.parent)
    return manifest, kept


def _give_to_owner_of(folder: Path, copy: Path) -> None:
    """As root, who restores but does not run the controller: the file is the user's whose folder it is."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(copy, owner.st_uid, owner.st_gid)


# ---- making ----------------------------------------------------------------------------------------


def _copy(database: Path, copy: Path) -> None:
    """One consistent moment of a database, by SQLite's own online backup: writers go on meanwhile."""
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            # All pages in one step: they are of one transaction.
            source.backup(target, pages=-1)
            # The copy is one file, without a log beside it.
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise UnavailableError(f"{database} cannot be read: {error}") from None


def _describe(copy: Path) -> Manifest:
    try:
        with closing(sqlite3.connect(copy)) as connection:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            (epoch,) = connection.execute("SELECT epoch FROM lease").fetchone()
            counts = {
                table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
                for table in _COUNTED
            }
    except (sqlite3.Error, TypeError) as error:
        raise InvalidInputError.of("database_url", f"is no controller's database: {error}") from None
    with copy.open("rb") as file:
        digest, size = _digest(file)
    return Manifest(
        format=FORMAT,
        keyweave_version=version("keyweave"),
        schema_revision=revision,
        made_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        epoch=epoch,
        counts=counts,
        database_sha256=digest,
        database_bytes=size,
    )


def _digest(file: IO[bytes]) -> tuple[str, int]:
    digest, size = sha256(), 0
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Unpacked, it belongs to whoever unpacks it, and to nobody else."""
    member.mode, member.uid, member.gid, member.uname, member.gname = 0o600, 0, 0, "", ""
    return member


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(_private(member), io.BytesIO(content))


# ---- restoring -------------------------------------------------------------------------------------


@contextmanager
def _opened(backup: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(backup, mode="r:") as tar:
            yield tar
    except (OSError, tarfile.TarError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInputError.of("FILE", f"{backup} is no backup that can be read: {reason}") from None


def _manifest(backup: Path, tar: tarfile.TarFile) -> Manifest:
    content = _member(backup, tar, MANIFEST).read(_MAX_MANIFEST_BYTES)
    try:
        stated = json.loads(content).get("format")
        if isinstance(stated, int) and stated > FORMAT:
            raise InvalidInputError.of("FILE", f"{backup} was made by a newer Keyweave; restore it with that")
        manifest = Manifest.model_validate_json(content)
    except (ValueError, AttributeError, ValidationError):
        raise InvalidInputError.of("FILE", f"{backup}: its {MANIFEST} cannot be read") from None
    if manifest.schema_revision not in known_revisions():
        raise InvalidInputError.of(
            "FILE",
            f"{backup} has schema {manifest.schema_revision}, made by Keyweave {manifest.keyweave_version}; "
            "this version knows only older ones",
        )
    return manifest


def _member(backup: Path, tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        member = tar.getmember(name)
        file = tar.extractfile(member) if member.isfile() else None
    except KeyError:
        file = None
    if file is None:
        raise InvalidInputError.of("FILE", f"{backup} has no {name}; it is no backup, or not whole")
    return file


def _extract(backup: Path, tar: tarfile.TarFile, copy: Path, manifest: Manifest) -> None:
    digest = sha256()
    source = _member(backup, tar, DATABASE)
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in iter(lambda: source.read(_CHUNK), b""):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != manifest.database_sha256:
        raise InvalidInputError.of("FILE", f"{backup} is damaged: its database is not what its manifest says")


def _check(backup: Path, copy: Path, manifest: Manifest) -> None:
    """The database is whole, and is what the manifest says."""
    try:
        with closing(sqlite3.connect(copy)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check").fetchone()
        stated = _describe(copy)
    except (sqlite3.Error, InvalidInputError) as error:
        raise InvalidInputError.of("FILE", f"{backup}: its database cannot be read: {error}") from None
    if found != "ok" or (stated.schema_revision, stated.epoch) != (manifest.schema_revision, manifest.epoch):
        raise InvalidInputError.of("FILE", f"{backup} is damaged: {found}")


def _set_aside(database: Path, *, force: bool) -> Path | None:
    """Make place for another database; the one that is there is kept under another name."""
    if not database.exists():
        return None
    try:
        with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
            # A process that has it open, however idle, holds a lock that this mode cannot have beside it.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            empty = _is_empty(connection)
            connection.execute("COMMIT")
            # What is in the log goes into the file; then the file is all that there is.
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        raise PreconditionError(f"{database} is in use ({error}); stop the controller first") from None
    except sqlite3.DatabaseError:
        empty = False  # Not even a database: kept as well.
    if not empty and not force:
        raise PreconditionError(
            f"{database} holds a network already; say --force to put the backup in its place"
        )
    kept = database.with_name(f"{database.name}.before-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}")
    kept.hardlink_to(database)
    return kept


def _is_empty(connection: sqlite3.Connection) -> bool:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    counted = [table for table in _COUNTED if table in tables]
    rows = [connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in counted]  # noqa: S608
    return not any(rows)
