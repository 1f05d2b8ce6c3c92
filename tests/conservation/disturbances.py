"""What is done to a scene while events flow, in an order that a seed decides."""

import random
from collections.abc import Callable, Sequence

from tests.conservation.scene import SESSION_TIMEOUT_S, Scene, Worker

RECOVERY_DEADLINE_S = 60.0
Disturbance = Callable[["Disturbances"], None]


class Disturbances:
    """Disturbs a scene that has one worker, at times two."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.chance = random.Random(seed)

    def play(self, kinds: Sequence[Disturbance], *, impatience: float) -> None:
        """One after the other, in random order. With a chance of ``impatience`` the next one does not wait for the recovery."""
        order = list(kinds)
        self.chance.shuffle(order)
        for disturb in order:
            disturb(self)
            if self.chance.random() < impatience:
                self.scene.wait(self.chance.uniform(0.0, 4.0))
                continue
            if not self.scene.wait_for_delivery(RECOVERY_DEADLINE_S):
                self.scene.journal.fault(
                    f"nothing was delivered within {RECOVERY_DEADLINE_S:g} s of: {disturb.__name__}"
                )
            self.scene.wait(self.chance.uniform(0.2, 2.0))

    def _worker(self) -> Worker:
        self.scene.watch_over()
        return self.chance.choice(self.scene.alive)

    def _other(self) -> None:
        """Have two workers, both at work."""
        if len(self.scene.alive) < 2:
            self.scene.add_worker()
            self.scene.wait(self.chance.uniform(4.0, 8.0))

    # workers

    def kill_worker(self) -> None:
        worker = self._worker()
        self.scene.kill(worker)
        self.scene.start(worker)

    def kill_only_worker(self) -> None:
        self._leave_one()
        self.kill_worker()

    def _leave_one(self) -> None:
        while len(self.scene.alive) > 1:
            worker = self._worker()
            self.scene.terminate(worker)
            worker.process = None

    def kill_one_of_two(self) -> None:
        """Another one takes over; what was killed does not come back."""
        self._other()
        worker = self._worker()
        self.scene.kill(worker)
        worker.process = None

    def kill_while_joining(self) -> None:
        if len(self.scene.alive) < 2:
            self.scene.add_worker()
            self.scene.wait(self.chance.uniform(0.5, 5.0))
        self.kill_worker()

    def restart_worker(self) -> None:
        worker = self._worker()
        self.scene.terminate(worker)
        self.scene.start(worker)

    def add_worker(self) -> None:
        if len(self.scene.alive) < 2:
            self.scene.add_worker()
        else:
            self._leave_one()

    def remove_worker(self) -> None:
        self._other()
        self._leave_one()

    def pause_worker(self) -> None:
        """Longer than its membership lasts: when it wakes up, its partitions may be somebody else's."""
        self._other()
        worker = self._worker()
        self.scene.pause(worker)
        self.scene.wait(SESSION_TIMEOUT_S + self.chance.uniform(1.0, 4.0))
        self.scene.resume(worker)
        self.scene.wait(1.0)

    # broker

    def kill_broker(self) -> None:
        self.scene.kill_broker()
        self.scene.wait(self.chance.choice([0.0, 0.0, 1.0, 3.0, 10.0]))
        self.scene.start_broker()

    def restart_broker(self) -> None:
        self.scene.stop_broker()
        self.scene.start_broker()

    def stall_and_kill_broker(self) -> None:
        self.scene.kill_broker(stalled_s=2.0)
        self.scene.start_broker()

    def stop_worker_without_broker(self) -> None:
        """SIGTERM while nothing can be written or committed: it must end all the same, and lose nothing."""
        worker = self._worker()
        self.scene.kill_broker()
        self.scene.wait(self.chance.uniform(0.0, 1.0))
        self.scene.terminate(worker, may_fail=True)
        self.scene.start_broker()
        self.scene.start(worker)

    def kill_broker_and_worker(self) -> None:
        self.scene.kill_broker()
        self.scene.wait(self.chance.uniform(0.0, 2.0))
        self.kill_worker()
        self.scene.start_broker()


SMALL: tuple[Disturbance, ...] = (
    Disturbances.kill_only_worker,
    Disturbances.kill_one_of_two,
    Disturbances.kill_broker,
    Disturbances.kill_while_joining,
    Disturbances.restart_worker,
)
FULL: tuple[Disturbance, ...] = (
    *(Disturbances.kill_worker,) * 3,
    *(Disturbances.kill_only_worker,) * 4,
    *(Disturbances.kill_one_of_two,) * 4,
    *(Disturbances.kill_while_joining,) * 2,
    *(Disturbances.kill_broker,) * 4,
    *(Disturbances.stall_and_kill_broker,) * 2,
    *(Disturbances.kill_broker_and_worker,) * 2,
    *(Disturbances.stop_worker_without_broker,) * 2,
    *(Disturbances.restart_worker,) * 2,
    *(Disturbances.add_worker,) * 2,
    *(Disturbances.remove_worker,) * 2,
    *(Disturbances.pause_worker,) * 2,
    Disturbances.restart_broker,
)
