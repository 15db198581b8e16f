"""transformers' Trainer on a model of 1,000 weights, made from a configuration."""

import sys

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments


class Tokens(Dataset):
    def __len__(self) -> int:
        return 96

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = torch.arange(index, index + 8) % 16
        return {"input_ids": words, "labels": words}


config = GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1)
arguments = TrainingArguments(
    output_dir=sys.argv[1],
    max_steps=40,
    per_device_train_batch_size=4,
    dataloader_num_workers=2,
    use_cpu=True,
    report_to=[],
    save_strategy="no",
    logging_strategy="no",
    disable_tqdm=True,
)
trainer = Trainer(GPT2LMHeadModel(config), arguments, train_dataset=Tokens())
trainer.train()  # here
print("trained", trainer.state.global_step)
