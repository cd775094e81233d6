"""The card of a model that was trained here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deqsci_cli import zoo
from deqsci_cli.config import to_table
from deqsci_cli.engine.device import choose_device, describe_device
from deqsci_cli.engine.training.settings import TrainConfig


def make_card(
    config: TrainConfig,
    architecture: str,
    options: dict[str, Any],
    facts: dict[str, Any],
    seconds: float,
) -> zoo.Card:
    """What a model's card can say of itself.

    Args:
        config: of the run.
        architecture: of the model.
        options: of the architecture.
        facts: where the run stands.
        seconds: that it has taken so far.
    """
    how = {
        "denoiser": "trained as a Gaussian denoiser",
        "equilibrium": "trained at its equilibrium",
    }[config.stage]
    solve = to_table(config.solve, only_changed=True)
    table = to_table(config, only_changed=True)
    for name in ("resume", "overwrite", "out", "device", "tensorboard", "save_fixed_points"):
        table.pop(name, None)
    # Names alone: whose disk it was is nobody's business.
    table["data"] = [p.name for p in config.data]
    table["validation"] = config.validation.name
    licence = ""
    if config.initial is not None:
        table["initial"] = Path(config.initial).name
        # What was learned from data stays under their licence.
        licence = zoo.read_card(zoo.find(config.initial)).licence
    if config.captures.mask_file is not None:
        table["captures"]["mask_file"] = config.captures.mask_file.name
    return zoo.Card(
        name=config.out.name,
        summary=f"{architecture} {how}",
        architecture=architecture,
        options=options,
        equilibrium=solve,
        training={
            "stage": config.stage,
            **table,
            **({} if config.minutes else {"steps": config.steps}),
            "steps_done": facts["step"],
            "skipped": facts["skipped"],
            "hours": round(seconds / 3600, 3),
            "hardware": describe_device(choose_device(config.device)),
        },
        figures={"validation": {k: round(v, 4) for k, v in facts["best"].items()}},
        licence=licence,
    )
