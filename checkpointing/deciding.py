"""Enters a decision into a model's control log after a look at whether it can be obeyed; must not know who asked."""

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass

from checkpointing.boundary import read_boundary
from checkpointing.chain import manifest_of, plan
from checkpointing.control import ControlLog, Decision, DecisionKind
from checkpointing.history import newest_version
from infra.clock import Clock
from infra.errors import Invalid
from infra.object_store import ObjectStore


@dataclass(frozen=True)
class Decider:
    """A person who decides about one model.

    Args:
        store: The model's store.
        model: Its name.
        clock: For the time of the entries.
        who: The person.
        why: The reason, in their words.
    """

    store: ObjectStore
    model: str
    clock: Clock
    who: str
    why: str

    def pin(self, version: int) -> Decision:
        """Holds replicas on a servable version; learning goes on.

        Raises:
            Invalid: There is no such version, or replicas may not answer from it.
            Unavailable: The store does not answer.
        """
        self._require(version, servable=True)
        entry = self._enter("pin", version)
        start = plan(self.store, self.model, version).tail
        if not read_boundary(self.store).holds(start, version):  # a collection was faster
            self._enter("unpin", why=f"version {version} was collected")
            raise Invalid(f"version {version} was collected meanwhile", cure="choose a newer one", where=self.store.url)
        return entry

    def promote(self, version: int) -> Decision:
        """Makes a version servable that the gate refused; raises as :meth:`pin`."""
        self._require(version, servable=False)
        return self._enter("promote", version)

    def resume(self) -> list[Decision]:
        """Ends a pin and a pause, whichever holds."""
        held = self._log().decisions
        kinds: list[DecisionKind] = [kind for kind, on in (("unpin", held.pin), ("resume", held.pause)) if on]  # type: ignore[misc]
        return [self._enter(kind) for kind in kinds]

    def unpin(self) -> Decision | None:
        """Ends a pin, and leaves a pause as it is."""
        return self._enter("unpin") if self._log().decisions.pin is not None else None

    def pause(self) -> Decision:
        """Keeps the learner from polling."""
        return self._enter("pause")

    def revert_learner(self, version: int) -> Decision:
        """Lets the learner restore a servable version and go on from there; raises as :meth:`pin`."""
        self._require(version, servable=True)
        return self._enter("revert-learner", version)

    def _require(self, version: int, *, servable: bool) -> None:
        """Whether ``version`` is there, has content, and may answer if that is asked."""
        newest = newest_version(self.store)
        manifest = manifest_of(self.store, self.model, version)
        if newest is None or not manifest.changes:
            raise Invalid(f"version {version} is a {manifest.kind}", wanted="a delta", cure="see `springtide versions`")
        promoted = self._log().decisions.promoted
        if servable and not manifest.gate.servable and version not in promoted:
            raise Invalid(
                f"the gate refused version {version}: {', '.join(manifest.gate.reasons)}",
                wanted="a servable version",
                cure="choose another, or `springtide promote` it first",
            )

    def _enter(self, kind: DecisionKind, version: int | None = None, *, why: str | None = None) -> Decision:
        log = ControlLog(self.store, self.model)
        reason = self.why if why is None else why
        return log.append(kind, who=self.who, why=reason, clock=self.clock, version=version)

    def _log(self) -> ControlLog:
        log = ControlLog(self.store, self.model)
        log.poll()
        return log
