"""Uploads on their way to the worker."""

import errno
import os
import time

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import connection

from async_accept.exceptions import Unavailable
from async_accept.jobs import files, folders, uploads
from async_accept.models import Job, new_id
from async_accept.testing import make_job, run_job
from tests.testapp import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def media(tmp_path, settings):
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def kept(**columns):
    job = make_job(tasks.echo, **columns)
    job.input = {"file": ContentFile(b"text", "list.csv"), "n": 1}
    with uploads.keep(job):
        job.save()
    return Job.objects.get(pk=job.pk)


def test_a_file_is_stored_under_a_generated_name_and_restored_under_its_own():
    job = kept()
    assert job.uploads == [f"{folders.own(uploads.FOLDER)}/{job.pk.hex}/0"]
    file = uploads.restore(job)["file"]
    assert (file.name, file.size, file.read()) == ("list.csv", 4, b"text")
    uploads.close(job)
    assert file.closed


def test_a_refused_request_leaves_no_file(media):
    job = make_job(tasks.echo)
    job.input = {"file": ContentFile(b"text", "list.csv")}
    with pytest.raises(ValueError, match="refused"), uploads.keep(job):
        raise ValueError("refused")
    assert [name for _, _, names in os.walk(media) for name in names] == []


@pytest.mark.parametrize("kind", ["upload", "result"])
def test_a_full_disk_keeps_no_part_of_a_file(media, monkeypatch, kind):
    """Of an upload or of a large result. The part would keep the disk full for a day."""

    def save_half(self, name, content):
        path = media / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read(content.size // 2))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FileSystemStorage, "_save", save_half)
    job = make_job(tasks.echo)
    job.input = {"file": ContentFile(b"text", "list.csv")}
    if kind == "upload":
        with pytest.raises(Unavailable), uploads.keep(job):
            pytest.fail("the job would be stored")
    else:
        with pytest.raises(OSError, match="No space"):
            files.save(job, job.input["file"])
    assert [name for _, _, names in os.walk(media) for name in names] == []


def test_the_files_of_a_job_are_closed_after_its_attempt(monkeypatch):
    opened = []
    plain = uploads.storage().open
    monkeypatch.setattr(
        type(default_storage._wrapped), "open", lambda self, name: opened.append(plain(name)) or opened[-1]
    )
    job = kept()
    job.task = tasks.crash.name
    job.input = {"message": job.input["file"]}
    job.save()
    from async_accept.jobs.publish import run_here

    run_here(job)
    assert [file.closed for file in opened] == [True]


def test_old_folders_without_a_job_are_orphans(media):
    job = kept()
    folder = media / folders.own(uploads.FOLDER) / ("0" * 32)
    folder.mkdir()
    (folder / "0").write_bytes(b"left")
    assert uploads.remove_orphans() == 0  # its request may still run
    for path in (folder / "0", media / job.uploads[0]):
        os.utime(path, (time.time() - 200_000,) * 2)
    assert uploads.remove_orphans() == 1
    assert not folder.exists()
    assert (media / job.uploads[0]).exists()


def left_behind(media):
    """Save a file for a job that is not stored, a day ago; return its path."""
    job = Job(id=new_id())
    job.input = {"file": ContentFile(b"left", "list.csv")}
    with uploads.keep(job):
        pass
    path = media / job.uploads[0]
    os.utime(path, (time.time() - 200_000,) * 2)
    return path


@pytest.mark.parametrize("differs", ["key", "database"])
def test_files_of_another_installation_are_no_orphans(media, settings, monkeypatch, differs):
    """It shares the storage, and its jobs are in its own database."""
    path = left_behind(media)
    with monkeypatch.context() as other:
        if differs == "key":
            settings.SECRET_KEY = "of the other installation"
        else:
            other.setitem(connection.settings_dict, "NAME", "other")
        assert uploads.remove_orphans() == 0
    assert path.exists()


def test_orphans_from_before_a_new_secret_key_are_found(media, settings):
    path = left_behind(media)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the new one"
    assert uploads.remove_orphans() == 1
    assert not path.exists()


def test_without_any_upload_there_is_nothing_to_remove():
    assert uploads.remove_orphans() == 0


def test_a_job_without_files_has_no_uploads():
    assert run_job(tasks.echo, a=1).job.uploads is None
