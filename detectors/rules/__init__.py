"""Rules: what to look for, as YAML. Text in, checked values out. One page a rule: docs/detectors/."""

from sliceward.detectors.rules.load import load_rules
from sliceward.detectors.rules.schema import FRAME_AGE, Absent, Clause, Rate, Rule, Stalled, Threshold
from sliceward.detectors.rules.units import Span

__all__ = ["FRAME_AGE", "Absent", "Clause", "Rate", "Rule", "Span", "Stalled", "Threshold", "load_rules"]
