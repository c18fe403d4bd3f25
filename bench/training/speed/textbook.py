"""Wide and deep as one learns to write it: a table a feature, a DataLoader over rows, AdamW over everything."""

import time

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Impressions(Dataset):
    def __init__(self, cells: Tensor, dense: Tensor, labels: Tensor) -> None:
        self.cells, self.dense, self.labels = cells, dense, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.cells[row], self.dense[row], self.labels[row]


class WideAndDeep(nn.Module):
    """cells int64 [N, K], of which the first `ids` have embeddings, and standardised dense [N, D] -> logits [N]."""

    def __init__(self, sizes: list[int], ids: int, dim: int, numbers: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.wide = nn.ModuleList(nn.Embedding(size, 1) for size in sizes)
        self.embeddings = nn.ModuleList(nn.Embedding(size, dim) for size in sizes[:ids])
        widths = [ids * dim + numbers, *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.deep = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, cells: Tensor, dense: Tensor) -> Tensor:
        wide = sum(table(cells[:, column]) for column, table in enumerate(self.wide))
        embedded = [table(cells[:, column]) for column, table in enumerate(self.embeddings)]
        return (wide + self.deep(torch.cat([*embedded, dense], dim=1))).squeeze(1)


def train(model: WideAndDeep, impressions: Impressions, batch_size: int, workers: int, device: torch.device) -> float:
    """One epoch; returns the samples a second of all steps but the first, which finds memory and starts the workers."""
    model = model.to(device)
    loader = DataLoader(impressions, batch_size, shuffle=True, num_workers=workers, pin_memory=device.type == "cuda")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    loss_of = nn.BCEWithLogitsLoss()
    began, seen, loss = 0.0, 0, torch.zeros(())
    for step, (cells, dense, labels) in enumerate(loader):
        loss = loss_of(model(cells.to(device), dense.to(device)), labels.to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step == 0:
            loss.item()  # waits for the GPU
            began = time.perf_counter()
        else:
            seen += len(labels)
    loss.item()
    return seen / (time.perf_counter() - began)
