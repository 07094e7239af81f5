"""Datasets: real ones from the data folder, drawn and bundled ones that need no download."""

from .bundled import load_digits, load_photograph
from .cifar import load_cifar10
from .errors import DataError, MissingDataError
from .home import data_home
from .images import ImageData, channel_statistics, load_images, normalize
from .mnist import load_mnist
from .paintings import painting
from .pictures import load_picture
from .shapes import shapes

__all__ = [
    "DataError",
    "ImageData",
    "MissingDataError",
    "channel_statistics",
    "data_home",
    "load_cifar10",
    "load_digits",
    "load_images",
    "load_mnist",
    "load_photograph",
    "load_picture",
    "normalize",
    "painting",
    "shapes",
]
