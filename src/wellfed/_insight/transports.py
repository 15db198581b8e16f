"""What a batch costs on its way from a worker to the trainer: constants, and who measured them.

    torch   a shared-memory file and an authenticated socket for each tensor: the worker collates
            into fresh pages and pickles; the trainer asks the worker for each descriptor, maps it
            and touches new pages
    ours    one slab that is used again, and one small record on a socket: what is left is writing
            into it, and building views

Defaults: where workers ran under the same way of transport, what was measured is used instead.
"""

from typing import NamedTuple

__all__ = ["OURS", "TORCH", "Transport"]


class Transport(NamedTuple):
    """Costs beyond making the batch in place, in seconds of CPU."""

    worker_fixed_s: float
    worker_per_tensor_s: float
    worker_per_byte_s: float
    """Page faults of fresh shared memory, and the copy where the collate does not write there."""
    trainer_fixed_s: float
    trainer_per_tensor_s: float
    trainer_per_byte_s: float
    """The first touch, which the step pays."""
    pin_per_byte_s: float

    def sending_s(self, tensors: float, payload_bytes: float) -> float:
        """CPU seconds of the worker for one batch."""
        return (
            self.worker_fixed_s
            + self.worker_per_tensor_s * tensors
            + self.worker_per_byte_s * payload_bytes
        )

    def receiving_s(self, tensors: float, payload_bytes: float) -> float:
        """Seconds of the trainer's process for one batch."""
        return (
            self.trainer_fixed_s
            + self.trainer_per_tensor_s * tensors
            + self.trainer_per_byte_s * payload_bytes
        )


# A copy by one thread at 10 GB/s, which memory of servers of the last ten years reaches.
_PIN_PER_BYTE_S = 0.1e-9

# benchmarks/transport.py, 2 cores of an AMD EPYC, torch 2.13, file_descriptor sharing.
TORCH = Transport(
    worker_fixed_s=170e-6,
    worker_per_tensor_s=100e-6,
    worker_per_byte_s=0.7e-9,
    trainer_fixed_s=240e-6,
    trainer_per_tensor_s=500e-6,
    trainer_per_byte_s=0.2e-9,
    pin_per_byte_s=_PIN_PER_BYTE_S,
)

# benchmarks/transport.py --ours, the same machine. Against the same batch made in place no byte
# costs anything: the slab is written instead of fresh memory. A tensor takes 10 us where it is
# collated, and 3 where it is handed over as it is.
OURS = Transport(
    worker_fixed_s=75e-6,
    worker_per_tensor_s=6e-6,
    worker_per_byte_s=0.0,
    trainer_fixed_s=60e-6,
    trainer_per_tensor_s=4e-6,
    trainer_per_byte_s=0.02e-9,
    pin_per_byte_s=_PIN_PER_BYTE_S,
)
