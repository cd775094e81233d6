"""Train in a minute: `pnp-cnn` goes on at its fixed point, on the clip of the samples."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from deqsci_cli import EquilibriumSettings
from deqsci_cli.training.capture_settings import CaptureSettings
from deqsci_cli.training.equilibrium import StabilitySettings
from deqsci_cli.training.settings import TrainConfig
from deqsci_cli.training.train import train

CLIP = Path(__file__).parents[1] / "sample_data" / "clip.gif"


def main(steps: int = 60) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder, "clips")
        clips.mkdir()
        shutil.copy(CLIP, clips)
        config = TrainConfig(
            data=(clips,),
            validation=clips,  # for want of another one; held-out clips tell more
            out=Path(folder, "mine"),
            stage="equilibrium",
            init_from="pnp-cnn",
            steps=steps,
            batch_size=1,
            patch_size=32,
            validation_side=32,
            learning_rate=1e-4,
            captures=CaptureSettings(frames=(4,)),
            solve=EquilibriumSettings(sigma=0.047, max_iter=40),
            stability=StabilitySettings(max_iter=5, reuse_steps=4),
        )
        result = train(config)
        figures = {name: round(value, 4) for name, value in result.figures.items()}
        print(f"{steps} steps: {figures}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
