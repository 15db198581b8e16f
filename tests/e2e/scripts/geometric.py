"""torch_geometric's own loader: collates graphs into one big graph."""

import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

graphs = [
    Data(x=torch.randn(4, 2), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]])) for _ in range(32)
]
loader = DataLoader(graphs, batch_size=4, num_workers=2)  # here
for _ in range(5):
    for batch in loader:
        assert batch.num_graphs == 4
