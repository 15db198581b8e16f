"""torchdata, imported after the engine was installed."""

import wellfed

wellfed.install()

from torchdata.stateful_dataloader import StatefulDataLoader  # noqa: E402


def loader():
    return StatefulDataLoader(list(range(6)), batch_size=None, num_workers=2)


if __name__ == "__main__":
    whole = iter(loader())
    print(getattr(whole, "backend", "torch"), [int(one) for one in whole])

    left = loader()
    for number, _ in enumerate(left, 1):
        if number == 4:
            state = left.state_dict()
            break
    again = loader()
    again.load_state_dict(state)
    rest = iter(again)
    print(getattr(rest, "backend", "torch"), [int(one) for one in rest])
