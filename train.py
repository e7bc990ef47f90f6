"""Train one classifier, or with -m a sweep of them: `python train.py model=textcnn loss=focal`. `--help` lists every option."""

import hydra
from omegaconf import DictConfig

from recipes.cli import entry


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(cfg: DictConfig) -> float:
    from recipes.cli.train import train  # torch is imported here, so that --help and shell completion are instant

    return train(cfg)


if __name__ == "__main__":
    entry.run(main)
