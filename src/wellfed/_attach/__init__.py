"""Runs a script unmodified, with every DataLoader in it watched.

script       the script as Python would run it: `__main__`, argv, path, exit code, traceback
observation  watch + gauges + machine facts around it
pacer        when enough has been seen
stopping     the script is stopped at a batch
ranks        distributed ranks agree on the batch after which they stop
children     processes that the script itself starts are watched or served too
installing   instead of watching: the engine under every loader
"""

from wellfed._attach.children import install_with_torch
from wellfed._attach.observation import Observation
from wellfed._attach.pacer import Limits
from wellfed._attach.script import Ended, run_script
from wellfed._attach.stopping import Stops
from wellfed._attach.wanted import Wanted

__all__ = ["Ended", "Limits", "Observation", "Stops", "Wanted", "install_with_torch", "run_script"]
