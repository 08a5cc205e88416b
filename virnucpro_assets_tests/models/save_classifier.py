"""Save a classifier as VirNucPro's train.py does: the whole module, whose class is in `__main__`.

python save_classifier.py WIDTH FOLDER [LINES...]: the module is saved as model.pth, and once more for
each line, as model-0.pth and so on, that line run on a copy of it just before. The module's own
answers to some rows are saved beside it.
"""

import copy
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


class MLPClassifier(nn.Module):
    def __init__(self, input_dim, hidden_dim, num_class):
        super().__init__()
        self.hidden_layer = nn.Linear(input_dim, hidden_dim)
        self.bn1 = nn.BatchNorm1d(hidden_dim)
        self.output_layer = nn.Linear(hidden_dim, num_class)
        self.dropout = nn.Dropout(0.5)
        nn.init.xavier_uniform_(self.hidden_layer.weight)
        nn.init.xavier_uniform_(self.output_layer.weight)

    def forward(self, x):
        return self.output_layer(self.dropout(F.relu(self.bn1(self.hidden_layer(x)))))


torch.manual_seed(3)
width, folder = int(sys.argv[1]), Path(sys.argv[2])
mlp_model = MLPClassifier(width, 512, 2)
optimizer = torch.optim.SGD(mlp_model.parameters(), lr=0.0002, momentum=0.9)
rows = torch.randn(40, width) * 3 + 1
for _ in range(3):
    optimizer.zero_grad()
    F.cross_entropy(mlp_model(rows), torch.randint(0, 2, (40,))).backward()
    optimizer.step()
mlp_model.eval()
with torch.no_grad():
    torch.save({"rows": rows, "scores": F.softmax(mlp_model(rows), dim=1)}, folder / "answers.pt")
torch.save(mlp_model, folder / "model.pth")
trained = mlp_model
for number, line in enumerate(sys.argv[3:]):
    mlp_model = copy.deepcopy(trained)
    exec(line)  # noqa: S102 - lines of the test.
    torch.save(mlp_model, folder / f"model-{number}.pth")
