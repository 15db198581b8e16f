"""What makes two batches the same to whoever looks at them."""

from typing import Any

import torch
from torch import Tensor


def plain(batch: Any) -> Any:
    """All that can be seen of a batch, in a form that can be compared."""
    if not isinstance(batch, Tensor):
        inside = isinstance(batch, (list, tuple))
        return (type(batch), [plain(part) for part in batch]) if inside else batch
    return (
        type(batch),
        batch.dtype,
        tuple(batch.shape),
        batch.stride(),
        batch.storage_offset(),
        batch.untyped_storage().nbytes(),
        batch.untyped_storage().is_shared(),
        batch.requires_grad,
        batch.is_inference(),
        bytes(batch.detach().contiguous().flatten().view(torch.uint8).tolist()),
    )


def outcome(make: Any, indices: Any) -> Any:
    """The batch, or the type and the text of the error."""
    try:
        return plain(make(indices))
    except Exception as error:
        return type(error), str(error)
