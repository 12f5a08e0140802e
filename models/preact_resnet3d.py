"""Hara's pre-activation 3D ResNet: batch norm and ReLU before each convolution of a block.

The stem keeps its own batch norm, ReLU and pool, and nothing normalises the last sum, as in the original code. The
released one (2018) has depth 200 and shortcut B.
"""

from models.preactivation_blocks import PreActivationBasicBlock, PreActivationBottleneck
from models.resnet3d import ResNet3D


class PreActResNet3D(ResNet3D):
    """`ResNet3D` of pre-activation blocks: the same arguments, the same refusals."""

    basic_block = PreActivationBasicBlock
    bottleneck = PreActivationBottleneck
