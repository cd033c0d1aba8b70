"""The alias as the ledger's projection, on every kind of ledger, with people and paused processes in between."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from baton.core.errors import DependencyDown, IntegrityBroken
from baton.core.ledger_entry import EntryKind
from baton.core.verdict import Outcome
from baton.registry import projection
from baton.registry.adoption import ACTOR, OVERRIDE_TAG
from baton.registry.ledger import SqlLedger
from baton.registry.projection import GRACE_SECONDS, State, alive, this_process
from baton.registry.promotion import promote, rollback
from baton.registry.reconcile import REFUSED_AT_TAG, REFUSED_TAG, Reconciled, foresee, reconcile
from baton.testing.judged import JUDGED_AT, judged
from baton.testing.registry import MemoryRegistry

NOW = JUDGED_AT + timedelta(hours=1)
MODEL = "parcels"


class Killed(BaseException):
    """What kill -9 looks like from within."""


class World:
    """One ledger, one registry, and versions whose bundle digests are their numbers."""

    def __init__(self, ledger, make_run):
        self.ledger = ledger
        self.registry = MemoryRegistry()
        self.unusable = set()
        self._make_run = make_run

    def version(self, number, *, epoch=None, outcome=Outcome.PASSED, keep=True):
        """Register a version that was judged against the champion of an epoch, the present one where left out."""
        head = self.ledger.head(MODEL)
        stands = head.epoch if head else 0
        verdict = judged(MODEL, epoch=stands if epoch is None else epoch, challenger=f"{number:064}", outcome=outcome)
        run = self._make_run(key=f"{number:064}", verdict=verdict)
        run = replace(run, bundle=replace(run.bundle, digest=verdict.challenger))
        if keep:
            self.ledger.store_verdict(verdict)
        assert self.registry.register(MODEL, run) == str(number)
        return verdict

    def promote(self, number):
        verdict = self.version(number)
        promote(
            self.ledger,
            verdict,
            version=str(number),
            digest=verdict.challenger,
            actor="baton",
            reason="better",
            now=NOW,
        )

    def rollback(self, to_epoch=None):
        rollback(self.ledger, MODEL, to_epoch=to_epoch, actor="bob", reason="complaints", now=NOW)

    def move(self, number):
        """Move the alias as a person does."""
        self.registry.set_alias(MODEL, "champion", str(number))

    def usable(self, digest):
        if digest in self.unusable:
            raise IntegrityBroken(what=f"bundle {digest[:4]}", why="a byte differs", fix="seal it again")

    def reconcile(self, **settings):
        settings = {"usable": self.usable, "now": NOW, "holder": "elsewhere 1 1"} | settings
        return reconcile(MODEL, self.ledger, self.registry, **settings)

    def foresee(self, **settings):
        return foresee(MODEL, self.ledger, self.registry, usable=self.usable, now=NOW, **settings)

    @property
    def champion(self):
        return self.registry.aliases(MODEL).get("champion")

    @property
    def history(self):
        return [(entry.version, entry.kind.value) for entry in self.ledger.history(MODEL)]

    def tags(self, number):
        return self.registry.tags[MODEL, str(number)]


@pytest.fixture
def world(any_ledger, make_run):
    return World(any_ledger, make_run)


@pytest.fixture
def two(world):
    """Give a world with two champions, projected."""
    for number in (1, 2):
        world.promote(number)
        world.reconcile()
    return world


class TestProjecting:
    def test_nothing_is_done_where_nothing_was_promoted(self, world):
        assert world.reconcile() == Reconciled()

    def test_the_aliases_say_what_the_ledger_says(self, world):
        world.promote(1)
        assert world.reconcile().moved == {"champion": "1"}
        world.promote(2)
        assert world.reconcile().moved == {"champion": "2", "previous": "1"}
        assert world.reconcile() == Reconciled()
        world.rollback()
        assert world.reconcile().moved == {"champion": "1"}
        assert world.registry.aliases(MODEL) == {"champion": "1"}
        assert len(world.history) == 3

    def test_an_older_ledger_whose_projections_are_unknown_is_projected(self, world):
        for number in (1, 2):
            world.promote(number)
        world.move(1)
        assert world.reconcile().moved == {"champion": "2", "previous": "1"}
        assert world.history[-1] == ("2", "promotion")

    def test_an_alias_that_was_not_moved_since_the_last_champion_is_no_persons(self, two):
        two.promote(3)
        assert two.foresee().moved == {"champion": "3"}
        assert two.reconcile().moved == {"champion": "3", "previous": "2"}
        assert len(two.history) == 3

    def test_a_deleted_alias_is_restored(self, two):
        """C7."""
        two.registry.drop_alias(MODEL, "champion")
        assert two.reconcile().moved == {"champion": "2"}

    def test_a_champion_whose_version_was_deleted_is_missed_and_served_on(self, two):
        """C7."""
        two.registry.delete(MODEL, "2")
        for _ in range(2):
            done = two.reconcile()
            assert done.alarms == ("champion_missing",)
            assert "no version 2" in done.reason
            assert two.champion is None
        assert two.ledger.head(MODEL).version == "2"
        two.rollback()
        assert two.reconcile().moved == {"champion": "1"}

    def test_a_refused_version_does_not_stay_champion_where_the_real_one_was_deleted(self, two):
        """C7."""
        two.version(3, outcome=Outcome.FAILED)
        two.registry.delete(MODEL, "2")
        two.move(3)
        assert two.reconcile().alarms == ("put_back", "champion_missing")
        assert two.champion is None


class TestAdopting:
    """C8, law 2."""

    def test_a_version_that_was_judged_better_than_the_present_champion_becomes_champion(self, two):
        verdict = two.version(3)
        two.move(3)
        assert two.foresee().adopted.version == "3"
        assert len(two.history) == 2
        entry = two.reconcile().adopted
        assert (entry.epoch, entry.version, entry.digest, entry.verdict_id) == (3, "3", f"{3:064}", verdict.id)
        assert (entry.kind, entry.actor, entry.reason) == (EntryKind.ADOPTION, ACTOR, "moved to version 3 in MLflow")
        assert two.registry.aliases(MODEL) == {"champion": "3", "previous": "2"}
        assert two.reconcile() == Reconciled()

    def test_the_very_first_champion_may_be_chosen_by_hand(self, world):
        world.version(1)
        world.move(1)
        assert world.reconcile().adopted.epoch == 1

    def test_an_older_champion_is_a_rollback(self, two):
        two.move(1)
        entry = two.reconcile().adopted
        assert (entry.epoch, entry.version, entry.kind) == (3, "1", EntryKind.ROLLBACK)
        two.move(2)
        assert two.reconcile().adopted.kind is EntryKind.ROLLBACK
        assert two.history[2:] == [("1", "rollback"), ("2", "rollback")]

    def test_what_is_adopted_verifies(self, two):
        two.version(3)
        for number in (3, 1, 2):
            two.move(number)
            two.reconcile()
        assert len(two.history) == 5
        if isinstance(two.ledger, SqlLedger):
            assert two.ledger.verify(MODEL) is None


class TestPuttingBack:
    """C8."""

    def refused(self, world, number, *, because, back="2", **settings):
        world.move(number)
        assert world.foresee(**settings).put_back == str(number)
        done = world.reconcile(**settings)
        assert (done.put_back, done.adopted, done.alarms) == (str(number), None, ("put_back",))
        assert because in done.reason
        assert world.tags(number)[REFUSED_TAG] == done.reason
        assert world.tags(number)[REFUSED_AT_TAG] == "2024-03-01T07:00:00+00:00"
        assert world.champion == back
        assert world.reconcile() == Reconciled()
        return done.reason

    @pytest.mark.parametrize(
        ("outcome", "because"),
        [(Outcome.FAILED, "its verdict is HOLD: mean"), (Outcome.UNDECIDED, "its verdict is INCONCLUSIVE: mean")],
    )
    def test_a_version_that_was_not_judged_better(self, two, outcome, because):
        two.version(3, outcome=outcome)
        self.refused(two, 3, because=because)
        assert len(two.history) == 2

    def test_a_version_that_was_judged_against_an_older_champion(self, two):
        two.version(3, epoch=1)
        why = self.refused(two, 3, because="judged against epoch 1, and the ledger stands at epoch 2")
        assert "judge it again" in why

    def test_a_version_without_a_verdict(self, two):
        two.version(3, keep=False)
        self.refused(two, 3, because="holds no verdict on version 3")

    def test_a_version_whose_bundle_does_not_verify(self, two):
        two.version(3)
        two.unusable.add(f"{3:064}")
        self.refused(two, 3, because="its bundle cannot be served: bundle 0000: a byte differs")

    def test_an_older_champion_whose_bundle_is_gone(self, two):
        two.unusable.add(f"{1:064}")
        self.refused(two, 1, because="cannot be served")

    def test_a_version_whose_tags_name_anothers_verdict(self, two):
        """C10: tags are claims."""
        two.version(3, outcome=Outcome.FAILED)
        two.version(4)
        runs = two.registry.runs
        runs[MODEL, "3"] = replace(runs[MODEL, "3"], verdict=runs[MODEL, "4"].verdict)
        self.refused(two, 3, because="is not the one that was judged")

    def test_a_version_whose_tags_name_a_champions_verdict_and_bundle(self, two):
        """C10."""
        two.version(3, outcome=Outcome.FAILED)
        runs = two.registry.runs
        runs[MODEL, "3"] = replace(runs[MODEL, "2"], key="3")
        self.refused(two, 3, because="is on the bundle of version 2")

    def test_a_verdict_on_another_model(self, two):
        two.version(3)
        other = judged("letters", epoch=2, challenger=f"{3:064}")
        two.ledger.store_verdict(other)
        two.registry.runs[MODEL, "3"] = replace(two.registry.runs[MODEL, "3"], verdict=other)
        self.refused(two, 3, because="is on letters")

    def test_without_any_champion_the_alias_goes(self, world):
        world.version(1, outcome=Outcome.FAILED)
        self.refused(world, 1, because="HOLD", back=None)

    def test_everything_under_the_policy_enforce(self, two):
        two.version(3)
        self.refused(two, 3, because="policy enforce", policy="enforce")
        self.refused(two, 1, because="policy enforce", policy="enforce")


class TestOverriding:
    """L1, by a tag in the registry."""

    def test_a_reason_on_the_version_sets_the_verdict_aside(self, two):
        two.version(3, outcome=Outcome.FAILED)
        two.registry.tag(MODEL, "3", {OVERRIDE_TAG: "the north\ndepot opens"})
        two.move(3)
        entry = two.reconcile().adopted
        assert (entry.kind, entry.actor) == (EntryKind.OVERRIDE, ACTOR)
        assert entry.reason.startswith("the north depot opens (set aside: its verdict is HOLD")
        assert two.champion == "3"

    def test_a_version_that_was_never_judged_may_be_forced_by_its_bundle(self, two):
        two.version(3, keep=False)
        two.registry.tag(MODEL, "3", {OVERRIDE_TAG: "known to be good"})
        two.move(3)
        entry = two.reconcile().adopted
        assert (entry.verdict_id, entry.digest) == ("", f"{3:064}")

    def test_nothing_sets_a_broken_bundle_aside(self, two):
        two.version(3)
        two.unusable.add(f"{3:064}")
        two.registry.tag(MODEL, "3", {OVERRIDE_TAG: "please"})
        two.move(3)
        assert two.reconcile().put_back == "3"

    @pytest.mark.parametrize("said", ["", " \n", "\x1b"], ids=["empty", "blank", "unprintable"])
    def test_a_tag_without_a_reason_is_none(self, two, said):
        two.version(3, outcome=Outcome.FAILED)
        two.registry.tag(MODEL, "3", {OVERRIDE_TAG: said})
        two.move(3)
        assert "needs a reason" in two.reconcile().reason

    def test_where_nothing_is_in_the_way_it_is_an_adoption(self, two):
        two.version(3)
        two.registry.tag(MODEL, "3", {OVERRIDE_TAG: "to be sure"})
        two.move(3)
        assert two.reconcile().adopted.kind is EntryKind.ADOPTION

    def test_what_a_person_wrote_is_one_bounded_line(self, two):
        """C10: 1 MB, newlines, escapes."""
        two.version(3, outcome=Outcome.FAILED)
        two.registry.tag(MODEL, "3", {OVERRIDE_TAG: "because\r\n\x1b[2J\u2028" + "x" * 1_000_000})
        two.move(3)
        reason = two.reconcile().adopted.reason
        assert reason.isprintable()
        assert len(reason) <= 500


class Interrupted(MemoryRegistry):
    """A registry in front of which a process may be stopped: `before` and `after` the alias is set, once."""

    def __init__(self, inner):
        super().__init__()
        self.runs, self.tags, self._aliases = inner.runs, inner.tags, inner._aliases
        self.before = self.after = None

    def set_alias(self, model, alias, version):
        if alias == "champion" and self.before:
            (act, self.before) = (self.before, None)
            act()
        super().set_alias(model, alias, version)
        if alias == "champion" and self.after:
            (act, self.after) = (self.after, None)
            act()


def die():
    raise Killed


class TestInterrupted:
    """C5, D8: the alias cannot be fenced, so what was written down about it is."""

    @pytest.fixture
    def door(self, two):
        """Give the registry through which one process acts, while the others use the plain one."""
        return Interrupted(two.registry)

    def through(self, world, door, **settings):
        return reconcile(MODEL, world.ledger, door, **{"usable": world.usable, "now": NOW} | settings)

    def lost(self, world, door):
        """Run one call whose process is killed: nothing of it runs afterwards."""
        ends = world.ledger.projections.end
        world.ledger.projections.end = lambda *_: None
        try:
            with pytest.raises(Killed):
                self.through(world, door, holder="elsewhere 2 2")
        finally:
            world.ledger.projections.end = ends

    @pytest.mark.parametrize("point", ["before", "after"])
    def test_killed_around_the_alias_the_next_call_finishes(self, two, door, point):
        """C5."""
        two.promote(3)
        setattr(door, point, die)
        self.lost(two, door)
        two.reconcile()
        assert two.registry.aliases(MODEL) == {"champion": "3", "previous": "2"}
        assert len(two.history) == 3

    def test_killed_between_entry_and_confirmation_of_an_adoption_the_next_call_confirms(self, two, monkeypatch):
        """C5."""
        two.version(3)
        two.move(3)
        with monkeypatch.context() as patch:
            patch.setattr(two.ledger.projections, "settle", lambda *_, **__: die())
            with pytest.raises(Killed):
                two.reconcile()
        assert two.reconcile().adopted is None
        assert two.history[2:] == [("3", "adoption")]

    def test_killed_between_reason_and_alias_of_a_refusal_the_next_call_puts_back(self, two, door):
        """C5."""
        two.version(3, outcome=Outcome.FAILED)
        two.move(3)
        door.before = die
        self.lost(two, door)
        assert two.champion == "3"
        assert two.reconcile().put_back == "3"
        assert two.champion == "2"

    def test_a_process_that_wakes_late_puts_its_own_mistake_right(self, two, door):
        """It set the alias to epoch 3 after others had shown epoch 4."""
        two.promote(3)

        def meanwhile():
            two.reconcile()
            two.promote(4)
            two.reconcile()
            assert two.champion == "4"

        door.before = meanwhile
        self.through(two, door)
        assert two.champion == "4"
        assert [kind for _, kind in two.history] == ["promotion"] * 4

    def test_what_a_late_process_did_is_not_taken_for_a_persons_rollback(self, two, door):
        """The same, seen by another process before the late one goes on, which then is killed."""
        two.promote(3)

        def meanwhile():
            two.reconcile()
            two.promote(4)
            two.reconcile()

        door.before, door.after = meanwhile, die
        self.lost(two, door)
        assert two.champion == "3"
        assert two.reconcile().adopted is None
        assert two.champion == "4"
        assert [kind for _, kind in two.history] == ["promotion"] * 4
        # The move was seen to have happened, so the next one is a person's.
        two.move(3)
        assert two.reconcile().adopted.kind is EntryKind.ROLLBACK

    def test_a_move_of_a_process_that_died_before_it_is_forgotten(self, two, door, clock):
        two.promote(3)
        door.before = die
        dead = subprocess.run([sys.executable, "-c", WHO], capture_output=True, text=True, check=True).stdout.strip()
        two.ledger.projections.begin(MODEL, epoch=3, version="3", holder=dead)
        two.reconcile()
        two.promote(4)
        two.reconcile()
        clock.seconds += GRACE_SECONDS + 1
        two.move(3)
        assert two.reconcile().adopted.kind is EntryKind.ROLLBACK

    def test_a_slow_reader_does_not_take_an_old_alias_for_a_new_move(self, two):
        """It read the alias before, and the ledger after, another champion was shown."""
        two.promote(3)
        two.reconcile()
        real, answers = two.registry.aliases, iter([{"champion": "2", "previous": "1"}])

        def slow(model):
            old = next(answers, None)
            if old is None:
                return real(model)
            two.promote(4)
            two.reconcile()
            return old

        two.registry.aliases = slow
        assert two.reconcile().adopted is None
        assert two.champion == "4"
        assert [kind for _, kind in two.history] == ["promotion"] * 4

    def test_of_two_who_see_the_same_move_one_adopts_it(self, two):
        """C8."""
        two.move(1)
        real, calls = two.registry.read, iter([two.reconcile])

        def read(model, version):
            known = real(model, version)
            for other in calls:
                assert other().adopted.version == "1"
            return known

        two.registry.read = read
        assert two.reconcile().adopted is None
        assert two.history[2:] == [("1", "rollback")]

    def test_a_promotion_that_comes_between_is_not_undone(self, two):
        """C6: the person moved what was judged against a champion that has been replaced since."""
        two.version(3)
        two.move(3)
        real, calls = two.registry.read, iter([lambda: two.promote(4)])

        def read(model, version):
            known = real(model, version)
            for act in calls:
                act()
            return known

        two.registry.read = read
        done = two.reconcile()
        assert (done.adopted, done.put_back) == (None, "3")
        assert two.champion == "4"

    def test_a_person_who_thinks_again_gets_the_last_word(self, two):
        two.version(3)
        two.move(3)
        real, calls = two.registry.read, iter([lambda: two.move(1)])

        def read(model, version):
            known = real(model, version)
            for act in calls:
                act()
            return known

        two.registry.read = read
        assert two.reconcile().adopted.version == "1"
        assert len(two.history) == 3

    def test_a_storm_ends_in_the_last_state_with_one_entry_a_call(self, two):
        """C9: the alias is moved whenever anybody looks at it."""
        real, calm = two.registry.aliases, iter(["1", "2"] * 20)

        def stormy(model):
            for number in calm:
                two.move(number)
                break
            return real(model)

        two.registry.aliases = stormy
        before = len(two.history)
        for call in range(1, 15):
            two.reconcile()
            assert len(two.history) - before <= call
        assert two.champion == two.ledger.head(MODEL).version == "2"
        assert two.reconcile() == Reconciled()


class TestDown:
    """C2 to C4: a registry that does not answer moves nothing."""

    @pytest.mark.parametrize("call", ["aliases", "read", "set_alias", "tag"])
    def test_nothing_is_adopted_where_a_call_fails(self, two, monkeypatch, call):
        two.version(3, outcome=Outcome.FAILED)
        two.move(3)

        def down(*_):
            raise DependencyDown(what="MLflow", why="502", fix="wait")

        with monkeypatch.context() as patch:
            patch.setattr(two.registry, call, down)
            with pytest.raises(DependencyDown):
                two.reconcile()
        assert len(two.history) == 2
        assert two.reconcile().put_back == "3"
        assert two.champion == "2"

    def test_a_move_that_was_not_answered_may_still_happen_for_a_while(self, two, monkeypatch, clock):
        """C3: the server carries it out after the client has given up."""
        two.promote(3)
        with monkeypatch.context() as patch:

            def hangs(*_):
                raise DependencyDown(what="MLflow", why="timed out", fix="wait")

            patch.setattr(two.registry, "set_alias", hangs)
            with pytest.raises(DependencyDown):
                two.reconcile()
        two.reconcile()
        two.promote(4)
        two.reconcile()
        two.move(3)
        assert two.reconcile().adopted is None
        assert two.champion == "4"
        clock.seconds += GRACE_SECONDS + 1
        two.move(3)
        assert two.reconcile().adopted.version == "3"


WHO = "from baton.registry.projection import this_process; print(this_process())"


class TestProcesses:
    def test_a_process_is_known_to_run_while_it_runs(self):
        assert alive(this_process()) is True
        assert alive("elsewhere 1 1") is None
        assert alive("nonsense") is None

    def test_a_process_that_has_ended_is_known_to_and_its_number_alone_says_nothing(self):
        name = subprocess.run([sys.executable, "-c", WHO], capture_output=True, text=True, check=True).stdout.strip()
        assert alive(name) is False
        machine, pid, _ = this_process().split()
        assert alive(f"{machine} {pid} 1") is False

    def test_a_stopped_process_runs(self):
        child = subprocess.Popen(
            [sys.executable, "-c", f"{WHO}; import sys; sys.stdout.flush(); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        name = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(0.05)
        assert alive(name) is True
        child.kill()
        child.communicate(timeout=10)
        assert alive(name) is False

    def test_a_system_without_proc_says_nothing(self, monkeypatch, tmp_path):
        monkeypatch.setattr(projection, "PROC", tmp_path)
        assert alive(this_process()) is None


def test_a_pending_move_of_a_live_process_is_pending_for_ever(any_ledger, clock):
    any_ledger.projections.begin(MODEL, epoch=1, version="1", holder=this_process())
    clock.seconds += 30 * 86_400
    [move] = any_ledger.projections.standing(MODEL).pending
    any_ledger.projections.end(move.id, State.SPENT)
    assert any_ledger.projections.standing(MODEL).pending == ()
