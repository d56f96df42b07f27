"""What things cost, all in one unit: chip-seconds, the time of one chip that trains nobody's model.

Comes in: an operator's weights. Goes out: one frozen value that every decision of this folder is priced by. A weight that is no
number, negative or infinite is refused: with it every comparison would be true, or none.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sliceward.topology.errors import Misconfigured

DAY = 86_400.0
"""Seconds."""
MOST = 1e12
"""Of anything that is priced: 100,000 chips for four months. Products of several such numbers are still finite."""
HIGHEST = 2**31 - 1
"""Of priorities, as in Kubernetes."""
STEEPEST = 1_000.0
"""The most by which a step of priority may multiply a price: the products of many steps stay numbers."""
LONGEST = 1e9
"""Seconds, 31 years: the most of a time that is added to a date."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Every weight. An operator would accept the defaults; each says where it is from.

    ``anchor``: chip-seconds for one expected place lost (1.0 in the sum over shapes of probability x places lost). An hour of a
    chip: small beside any move, so that it only chooses between places that are otherwise alike.
    ``back``: how much a place counts that is there again once a sick host is back, against one that is there now. Small slices that
    gather in cubes with a sick host keep them broken: on streams of jobs 0.9 used 5 points more of all chips than 0.
    ``soon``: how much a place of a pod without switches counts that is not free yet, against one that is; halved for each gang that
    sits in it and each host that is not healthy. Gangs that gather where they spoil least of what will be free leave room for large
    ones: on streams of jobs 0.25 used 7 points more of all chips than 0.
    ``spare``: seconds a chip of a spare that is used for anything but a repair. A day: how long a repair by the provider takes.
    ``lasts``: seconds that a gang is taken to run where nobody knows. A day.
    ``failure``: seconds that all chips of a gang lose when one of its hosts fails: detection (60), drain (60), formation of the
    slice (180: GKE's activation time-out), restart (600: re-creation of 1,000 and more pods takes minutes, JobSet KEP-467) and
    half of an hour between checkpoints (1,800).
    ``planned``: the same for maintenance that is announced: the checkpoint is made before it.
    ``slowdown``: share of its speed that a gang loses on a degraded part. A fifth: one link of six is lost at worst where the
    routing goes round it, and collectives run at the pace of the slowest ring.
    ``port``: chip-seconds for an optical port that has to be switched: all of a slice wait about 10 s for 96 ports a cube.
    ``again``: seconds a chip for each earlier displacement of the same gang within a day, so that nobody is displaced for ever.
    ``weight``: by how much one step of priority multiplies the price of displacing a gang.
    ``detect``, ``drain``, ``form``, ``restart``: seconds of each part of an interruption where the gang does not say.
    ``checkpoint``: seconds between checkpoints where the gang does not say.
    ``place``: seconds from a decision until a gang's new place is written down: a few calls to an API server.
    ``reconfigure``: seconds until an elastic gang goes on with a slice less or more: tens of seconds (Gemini 2.5 report, 2.3).
    ``repair``: seconds until a part is back. 15.6 h: 60 % automatic repairs of 2 h, 40 % by people within 24 to 48 h.
    ``queue``: seconds that a gang without room waits for it. A day: how long a gang is taken to run that has to end first.
    ``floor``: chip-seconds that a move to make room has to bring for each that it costs. Twice: expected requests are a forecast.
    ``rest``: seconds for which a gang that was displaced or moved is not moved to make room again. A day.
    """

    anchor: float = 3_600.0
    back: float = 0.9
    soon: float = 0.25
    spare: float = DAY
    lasts: float = DAY
    failure: float = 2_700.0
    planned: float = 900.0
    slowdown: float = 0.2
    port: float = 1.0
    again: float = 3_600.0
    weight: float = 2.0
    detect: float = 60.0
    drain: float = 60.0
    form: float = 180.0
    restart: float = 600.0
    checkpoint: float = 3_600.0
    place: float = 5.0
    reconfigure: float = 60.0
    repair: float = 56_160.0
    queue: float = DAY
    floor: float = 2.0
    rest: float = DAY

    def __post_init__(self) -> None:
        """Refuse a weight that is none."""
        for field in fields(self):
            checked_cost(getattr(self, field.name), f"cost {field.name}")
        checked_cost(self.weight, "cost weight", most=STEEPEST)
        if self.slowdown > 1:
            raise Misconfigured("cost slowdown", f"is {self.slowdown}", "A gang cannot lose more than all of its speed: 0 to 1")
        if self.back > 1:
            raise Misconfigured("cost back", f"is {self.back}", "A place later is worth no more than one now: 0 to 1")
        if self.soon > 1:
            raise Misconfigured("cost soon", f"is {self.soon}", "A place later is worth no more than one now: 0 to 1")


def checked_priority(value: object, where: str) -> None:
    """Check a priority.

    Raises:
        Misconfigured: it is no whole number of 32 bits.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not -HIGHEST - 1 <= value <= HIGHEST:
        raise Misconfigured(where, f"has priority {value!r}", f"Give a whole number up to {HIGHEST}")


def checked_cost(value: object, where: str, *, most: float = MOST) -> float:
    """Give a cost back as it is.

    Raises:
        Misconfigured: it is no number from 0 to ``most``.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Misconfigured(where, f"is {value!r}", f"Give a finite number of chip-seconds or seconds from 0 to {most:g}")
    return float(value)
