"""Archives that came through the page: read in beside it, begun anew by the next process, and told about once."""

from __future__ import annotations

import io
import time
import zipfile
from typing import TYPE_CHECKING

from app.web.unpacking import Unpacked, Unpacking
from app.web.uploads import Waiting, folder, forget_leftovers, keep, note
from core.types import Role

if TYPE_CHECKING:
    from conftest import World  # type: ignore[import-not-found]


def archive(count: int) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for number in range(count):
            packed.writestr(f"{number}.txt", f"Text {number}.")
        packed.writestr("../out.txt", "x")
    out.seek(0)
    return out


def wait_for(unpacking: Unpacking, collection_id: str) -> None:
    until = time.monotonic() + 300
    while unpacking.under_way(collection_id):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_archive_is_read_in_beside_the_page_and_its_end_is_told_once(world: World) -> None:
    home, rules = world.alioth.settings.home, world.collection("rules", world.person("ann"), role=Role.WRITE)
    unpacking = Unpacking()
    job_id = unpacking.begin(world.alioth, rules, keep(home, "a.zip", archive(15)))
    wait_for(unpacking, rules.id)
    [job] = unpacking.ended([job_id])
    assert (job.taken, [name for name, _ in job.refused], job.more) == (15, ["a.zip/../out.txt"], 0)
    assert unpacking.ended([job_id]) == [] and list(folder(home).iterdir()) == []
    assert world.alioth.documents.count(rules.id) == 15
    assert isinstance(job, Unpacked)


def test_what_a_dying_process_left_is_begun_anew_and_what_was_undecided_goes(world: World) -> None:
    home, rules = world.alioth.settings.home, world.collection("rules", world.person("ann"), role=Role.WRITE)
    note(keep(home, "a.zip", archive(3)), rules.id)
    keep(home, "undecided.txt", io.BytesIO(b"which version?"))
    note(keep(home, "gone.zip", archive(1)), "0" * 32)
    senseless = keep(home, "b.zip", archive(1))
    note(senseless, rules.id)
    senseless.file.with_name(senseless.file.name + ".json").write_text("{")
    forget_leftovers(home)
    unpacking = Unpacking()
    assert unpacking.resume(world.alioth) == 2
    wait_for(unpacking, rules.id)
    forget_leftovers(home)
    assert list(folder(home).iterdir()) == []
    assert [row.path for row in world.alioth.documents.list(rules.id)] == [f"a.zip/{number}.txt" for number in range(3)]


def test_a_process_that_ends_in_the_middle_leaves_the_archive_to_the_next(world: World) -> None:
    home, rules = world.alioth.settings.home, world.collection("rules", world.person("ann"), role=Role.WRITE)
    unpacking = Unpacking()
    unpacking.stop()
    waiting: Waiting = keep(home, "a.zip", archive(3))
    unpacking.begin(world.alioth, rules, waiting)
    assert waiting.file.exists()
    second = Unpacking()
    assert second.resume(world.alioth) == 1
    wait_for(second, rules.id)
    assert world.alioth.documents.count(rules.id) == 3 and not waiting.file.exists()
