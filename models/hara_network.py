"""What Hara's networks share: the stem with its keys, and the same kind of block in all four stages."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from models.convolutions import Convolutions
from models.denoising import Denoising
from models.hara_stem import HaraStem
from models.pooled_stem import pooled_stem
from models.residual_network import BlockMaker, ResidualNetwork
from models.space_to_depth_stem import SpaceToDepthStem


class HaraNetwork(ResidualNetwork):
    """conv1 7x7x7 /(s,2,2) - bn1 - ReLU - max pool 3 /2 - four stages.

    The head of 3D-ResNets-PyTorch, in its 2018 and its later form.
    """

    def __init__(
        self,
        classes: int,
        *,
        stem: HaraStem,
        stem_width: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        make_block: BlockMaker,
        convolutions: Convolutions,
        denoising: Denoising | None,
    ) -> None:
        super().__init__()
        self.conv1 = stem.convolution(stem_width, convolutions)
        self.bn1 = nn.BatchNorm3d(stem_width)
        self.maxpool = stem.pool()
        self.add_stages(
            classes,
            channels=stem_width,
            widths=widths,
            blocks=blocks,
            makers=[make_block] * 4,
            time_strides=stem.time_strides,
            denoising=denoising,
        )

    def _stem(self, clips: Tensor) -> Tensor:
        if isinstance(self.conv1, SpaceToDepthStem):
            return pooled_stem(self.conv1, self.bn1, self.maxpool, clips)
        rectified: Tensor = self.maxpool(functional.relu(self.bn1(self.conv1(clips)), inplace=True))
        return rectified
