"""Trains the network of `thaw augment` in PyTorch, on a dataset and a model that Thaw wrote, and times its steps.

usage: train.py DATA MODEL --steps N [--batch N] [--threads N] [--adversary W] [--latent-loss W] [--noise N]

Prints samples a second and the mean likelihood loss of the last quarter of the steps, one line: RATE NLL. What is timed is
PyTorch's own work: forward, backward, Adam (its fused form) and the running average. Minibatches are made beforehand.
"""
import argparse
import glob
import os
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LONGEST, HIDDEN, REST, DROPOUT, PENALTY = 10, 256, 5, 0.1, 10.0


def parts(folder, kind, suffix):
    return sorted(glob.glob(os.path.join(folder, f"{kind}-?????-of-?????.{suffix}")))


def load(data, model):
    """Items of each user, dense profiles, and the factors of users and items, in the order of global rows."""
    items, profiles = [], []
    for path in parts(data, "users", "npz"):
        part = np.load(path)
        items += np.split(part["indices"].astype(np.int64), part["indptr"][1:-1])
        profiles.append((part["feature_indptr"], part["feature_indices"], part["feature_values"]))
    columns = 1 + max(int(indices.max()) for _, indices, _ in profiles)
    profile, row = np.zeros((len(items), columns), np.float32), 0
    for indptr, indices, values in profiles:
        for i in range(len(indptr) - 1):
            profile[row + i, indices[indptr[i] : indptr[i + 1]]] = values[indptr[i] : indptr[i + 1]]
        row += len(indptr) - 1
    factors = [np.concatenate([np.load(path) for path in parts(model, kind, "npy")]) for kind in ("users", "items")]
    return items, profile, *factors


def whiten(users, items):
    """(users - mean) A with A'cov A = I; the items' rows that score in these coordinates; the embedding known items enter by."""
    values, vectors = np.linalg.eigh(np.cov(users.T))
    a = vectors / np.sqrt(values)
    real, decoder, embedding = (users - users.mean(axis=0)) @ a, items @ np.linalg.inv(a).T, items / items.std() * 0.3
    return [torch.tensor(x, dtype=torch.float32) for x in (real, decoder, embedding)]


class Batch:
    """Users of which n items are known and the rest is to be predicted."""

    def __init__(self, rng, users, items, profile, count):
        size = len(users)
        known, n, rest = np.zeros((size, LONGEST), np.int64), rng.integers(0, LONGEST + 1, size), np.zeros((size, count), np.float32)
        for row, user in enumerate(users):
            order = rng.permutation(items[user])
            n[row] = min(n[row], len(order) - REST)
            known[row, : n[row]] = order[: n[row]]
            rest[row, order[n[row] :]] = 1
        self.users, self.known, self.rest = (torch.tensor(x) for x in (users, known, rest))
        self.profile, counts = torch.tensor(profile[users]), torch.tensor(n)
        self.mask = (torch.arange(LONGEST) < counts[:, None]).float()
        self.root = counts.clamp(min=1).float().sqrt()[:, None]
        self.one_hot = functional.one_hot(counts, LONGEST + 1).float()


def mean_pooled(embedding, batch):
    return (embedding[batch.known] * batch.mask[..., None]).sum(dim=1) / batch.root


class Generator(nn.Module):
    def __init__(self, decoder, embedding, bias, features, noise):
        super().__init__()
        k = decoder.shape[1]
        self.embedding, self.decoder, self.bias = (nn.Parameter(x.clone()) for x in (embedding, decoder, bias))
        self.query, self.key, self.value = nn.Linear(features, k), nn.Linear(k, k, bias=False), nn.Linear(k, k)
        self.dropout, self.log_scale = nn.Dropout(DROPOUT), nn.Parameter(torch.tensor(3.0).log())
        self.first = nn.Linear(features + 2 * k + LONGEST + 1 + noise, HIDDEN)
        self.second, self.last = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, k)
        nn.init.normal_(self.last.weight, std=0.02)
        nn.init.zeros_(self.last.bias)

    def forward(self, batch, z):
        known = self.embedding[batch.known]
        match = (self.key(known) * self.query(batch.profile)[:, None]).sum(dim=2) / known.shape[2] ** 0.5
        attention = torch.softmax(match.masked_fill(batch.mask == 0, -1e9), dim=1) * batch.mask
        attended = (attention[..., None] * self.value(known)).sum(dim=1) * batch.root
        inputs = [batch.profile, mean_pooled(self.embedding, batch), attended, batch.one_hot, z]
        hidden = functional.elu(self.first(self.dropout(torch.cat(inputs, dim=1))))
        return self.last(functional.elu(self.second(hidden)) + hidden)

    def loss(self, u, batch):
        logits = self.log_scale.exp() * (u @ self.decoder.T) + self.bias
        return -(torch.log_softmax(logits, dim=1) * batch.rest).sum() / batch.rest.sum()


class Critic(nn.Module):
    def __init__(self, embedding, k, features):
        super().__init__()
        self.embedding = embedding
        self.net = nn.Sequential(
            nn.Linear(2 * k + features + LONGEST + 1, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, HIDDEN), nn.LeakyReLU(0.2),
            nn.Linear(HIDDEN, 1),
        )

    def forward(self, u, batch):
        return self.net(torch.cat([u, batch.profile, mean_pooled(self.embedding, batch), batch.one_hot], dim=1)).squeeze(1)

    def loss(self, real, fake, batch):
        mix = torch.rand(len(real), 1)
        between = (mix * real + (1 - mix) * fake).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self(between, batch).sum(), between, create_graph=True)
        return self(fake, batch).mean() - self(real, batch).mean() + PENALTY * ((gradient.norm(dim=1) - 1) ** 2).mean()


class Training:
    def __init__(self, options, generator, critic, real):
        self.options, self.generator, self.critic, self.real = options, generator, critic, real
        betas = (0.5, 0.9) if options.adversary else (0.9, 0.999)
        self.adam = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=betas, weight_decay=1e-5, fused=True)
        self.critic_adam = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9), fused=True)
        self.averaged = [x.detach().clone() for x in generator.parameters()]

    def draw(self, batch):
        return self.generator(batch, torch.randn(len(batch.users), self.options.noise))

    def critic_step(self, batch):
        with torch.no_grad():
            fake = self.draw(batch)
        self.critic_adam.zero_grad()
        self.critic.loss(self.real[batch.users], fake, batch).backward()
        self.critic_adam.step()

    def step(self, number, batches):
        options = self.options
        for adam in (self.adam, self.critic_adam):
            adam.param_groups[0]["lr"] = 1e-3 * (0.525 + 0.475 * np.cos(np.pi * number / options.steps))
        for batch in batches[:-1]:
            self.critic_step(batch)
        batch = batches[-1]
        drawn = [self.draw(batch) for _ in range(2 if options.noise else 1)]
        u = sum(drawn) / len(drawn)
        nll = self.generator.loss(u, batch)
        loss = nll
        if options.latent_loss:
            loss = loss + options.latent_loss * ((u - self.real[batch.users]) ** 2).sum(dim=1).mean()
        if options.adversary:
            loss = loss - options.adversary * self.critic(drawn[0], batch).mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        keep = min(0.995, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, list(self.generator.parameters()), 1 - keep)
        return float(nll)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("model")
    for name, kind, default in (("steps", int, 100), ("batch", int, 256), ("threads", int, 1), ("noise", int, 0), ("critic-steps", int, 2)):
        parser.add_argument("--" + name, type=kind, default=default)
    parser.add_argument("--adversary", type=float, default=0)
    parser.add_argument("--latent-loss", type=float, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)

    items, profile, user_factors, item_factors = load(options.data, options.model)
    real, decoder, embedding = whiten(user_factors, item_factors)
    count = np.bincount(np.concatenate(items), minlength=len(item_factors))
    bias = torch.tensor(np.log(count + 1), dtype=torch.float32)
    generator = Generator(decoder, embedding, bias - bias.mean(), profile.shape[1], options.noise)
    training = Training(options, generator, Critic(embedding, decoder.shape[1], profile.shape[1]), real)
    eligible = np.array([user for user in range(len(items)) if len(items[user]) >= REST])
    per_step = 1 + (options.critic_steps if options.adversary else 0)
    seconds, nll = 0, []
    for number in range(options.steps):
        batches = [Batch(rng, rng.choice(eligible, options.batch, replace=False), items, profile, len(count)) for _ in range(per_step)]
        began = time.perf_counter()
        nll.append(training.step(number, batches))
        if number >= 5:  # the first ones allocate
            seconds += time.perf_counter() - began
    last = nll[-max(1, len(nll) // 4) :]
    print(f"{options.batch * (options.steps - 5) / seconds:.1f} {np.mean(last):.5f}")


if __name__ == "__main__":
    main()
