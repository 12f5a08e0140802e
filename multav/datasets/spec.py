"""What every kind of dataset is: a frozen specification that lists the videos of a folder. Torch-free."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from multav.datasets.listing import Listing
from multav.model_card import ClassName, distinct

Split = Annotated[int, Field(strict=True, ge=1, le=3)]
TrainOrTest = Literal["train", "test"]
Classes = Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=100_000), AfterValidator(distinct)]
"""Names, each once, in the order of their indices."""


class DatasetSpec(BaseModel, ABC):
    """How the videos in a folder are labelled, compared by value and printed whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    meaning: ClassVar[str]
    needs_root: ClassVar[bool] = True
    """Whether files are read; a dataset that is made by a formula has none."""

    kind: str

    @abstractmethod
    def listing(self, root: Path) -> Listing:
        """All videos that the dataset in the folder `root` lists.

        Reads lists and folders, no video. Raises `BadDataset`, which says file, line and what was expected.
        """
