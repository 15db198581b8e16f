"""Runs a script unmodified, with every DataLoader in it watched.

script       the script as Python would run it: `__main__`, argv, path, exit code, traceback
observation  watch + gauges + machine facts around it, and the Report in the end
pacer        when enough has been seen
ranks        distributed ranks agree on the batch after which they stop
children     processes that the script itself starts are watched too
"""

from wellfed._attach.observation import Observation
from wellfed._attach.pacer import Limits
from wellfed._attach.script import Ended, run_script

__all__ = ["Ended", "Limits", "Observation", "run_script"]
