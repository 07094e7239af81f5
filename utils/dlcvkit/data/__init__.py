"""Datasets: real ones from the data folder, drawn and bundled ones that need no download."""

from .bundled import load_digits, load_photograph
from .captions import CaptionData, load_captions
from .cifar import load_cifar10
from .coco import load_coco
from .errors import DataError, MissingDataError
from .home import data_home
from .images import ImageData, channel_statistics, load_images, normalize
from .mnist import load_mnist
from .paintings import painting
from .pictures import load_picture
from .scenes import Scenes, caption_attributes, count_right_attributes, scenes
from .shapes import shapes

__all__ = [
    "CaptionData",
    "DataError",
    "ImageData",
    "MissingDataError",
    "Scenes",
    "caption_attributes",
    "channel_statistics",
    "count_right_attributes",
    "data_home",
    "load_captions",
    "load_cifar10",
    "load_coco",
    "load_digits",
    "load_images",
    "load_mnist",
    "load_photograph",
    "load_picture",
    "normalize",
    "painting",
    "scenes",
    "shapes",
]
