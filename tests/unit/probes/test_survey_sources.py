import mmap
import os
from pathlib import Path

import pytest
from planting import mountinfo, plant

from wellfed._probes import residency, survey_sources
from wellfed._probes.mounts import mount_of, read_mounts


def disk_mount(device: str, point: Path, kind: str = "ext4") -> str:
    return f"30 1 {device} / {point} rw - {kind} /dev/x rw\n"


def test_the_longest_and_last_mount_wins(tmp_path: Path) -> None:
    mounts = [("/", "/", "ext4", "rw"), ("/", "/data", "nfs4", "rw"), ("/", "/data", "xfs", "rw")]
    plant(tmp_path, {"/proc/self/mountinfo": mountinfo(*mounts) + "garbage\n- - -\n"})
    found = read_mounts(tmp_path)

    kinds = [mount_of(path, found) for path in ("/data/a", "/database", "/data")]

    assert [mount.kind for mount in kinds if mount] == ["xfs", "ext4", "xfs"]


def test_escaped_mount_points_are_understood(tmp_path: Path) -> None:
    plant(tmp_path, {"/proc/self/mountinfo": mountinfo(("/", r"/my\040data", "ext4", "rw"))})

    assert read_mounts(tmp_path)[0].point == "/my data"


def test_a_partition_on_device_mapper_leads_to_its_disk(tmp_path: Path) -> None:
    data = tmp_path / "data"
    plant(tmp_path, {"/data/a": "x" * 10, "/data/b": "x" * 30})
    plant(
        tmp_path,
        {
            "/proc/self/mountinfo": disk_mount("253:0", data),
            "/sys/devices/block/dm-0/queue/rotational": "0\n",
            "/sys/devices/block/dm-0/queue/read_ahead_kb": "128\n",
            "/sys/devices/block/sda/sda1/partition": "1\n",
        },
    )
    (tmp_path / "sys/devices/block/dm-0/slaves").mkdir()
    os.symlink("../../sda/sda1", tmp_path / "sys/devices/block/dm-0/slaves/sda1")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    os.symlink("../../devices/block/dm-0", tmp_path / "sys/dev/block/253:0")

    (source,) = survey_sources([str(data / "a"), str(data / "b")], root=tmp_path)

    assert (source.device, source.rotational, source.read_ahead_kb) == ("sda", False, 128)
    assert (source.files_seen, source.mean_file_bytes, source.remote) == (2, 20.0, False)


def test_a_network_file_system_is_remote_and_has_its_own_read_ahead(tmp_path: Path) -> None:
    data = tmp_path / "data"
    plant(tmp_path, {"/data/a": "x", "/sys/class/bdi/0:53/read_ahead_kb": "15360\n"})
    plant(tmp_path, {"/proc/self/mountinfo": disk_mount("0:53", data, "fuse.gcsfuse")})

    (source,) = survey_sources([str(data / "a")], root=tmp_path)

    assert (source.remote, source.device, source.read_ahead_kb) == (True, None, 15360)


def test_links_to_a_data_set_are_followed(tmp_path: Path) -> None:
    plant(tmp_path, {"/data/a": "x"})
    plant(tmp_path, {"/proc/self/mountinfo": disk_mount("0:1", tmp_path / "data", "tmpfs")})
    os.symlink(tmp_path / "data", tmp_path / "link")

    assert len(survey_sources([str(tmp_path / "link/a")], root=tmp_path)) == 1


def test_what_cannot_be_looked_at_is_skipped(tmp_path: Path) -> None:
    paths = [str(tmp_path), str(tmp_path / "gone"), "/proc/self/stat", "\0", "", "/dev/null"]

    assert survey_sources(paths) == ()
    assert survey_sources(paths, root=tmp_path) == ()  # no mountinfo


def test_at_most_64_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, {f"/data/{number}": "x" for number in range(300)})
    opened: list[str] = []
    real_open = os.open

    def count(path: str, flags: int) -> int:
        if path.startswith(str(tmp_path)):
            opened.append(path)
        return real_open(path, flags)

    monkeypatch.setattr(os, "open", count)

    (source,) = survey_sources(map(str, (tmp_path / "data").iterdir()))

    assert (source.files_seen, len(opened)) == (300, 64)


def test_written_pages_are_resident_and_both_ways_of_asking_agree(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (3 * mmap.PAGESIZE + 1))

    with file.open("rb") as opened:
        pages = residency.resident_pages(opened.fileno())
        status = os.fstat(opened.fileno())
        by_mincore = residency._mincore(opened.fileno(), status.st_size, status)

    assert pages == (4, 4)
    assert by_mincore == 4


def test_mincore_is_not_believed_about_files_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    with file.open("rb") as opened:
        assert residency._mincore(opened.fileno(), 1, os.fstat(opened.fileno())) is None


def test_an_empty_file_has_no_pages(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (tmp_path / "file").open("rb") as opened:
        assert residency.resident_pages(opened.fileno()) is None
