"""The in-job reporter: two lines in a training script tell the agent of this host how the job does.

::

    import sliceward.workload as sliceward
    reporter = sliceward.report()
    ...
    reporter.step(n)  # after each step

Standard library only, so that it can be installed into any image. It never raises into the job and never blocks a step.
"""

from sliceward.workload.reporter import Reporter, report

__all__ = ["Reporter", "report"]
