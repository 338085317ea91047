"""The same photograph twice, within a data set or across several: training and test data that share pictures."""

from collections import defaultdict

from vitreous.worlds.sample import Samples


def repeats(*data: Samples) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Find photographs with equal pixels: for each that occurs several times, (data set's name, id) of every place.

    All photographs are read, one after the other. Equal means pixel by pixel after reading, so another file format
    without loss is found, and a copy that was compressed again, resized or cropped is not. Raises ImageError.

    >>> from PIL import Image
    >>> from vitreous.worlds.sample import Sample
    >>> grey, white = (Image.new("L", (4, 3), value) for value in (128, 255))
    >>> train = Samples("train", (Sample("a", grey), Sample("b", white)))
    >>> repeats(train, Samples("test", (Sample("c", grey),)))
    ((('train', 'a'), ('test', 'c')),)
    """
    places: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for samples in data:
        for sample in samples:
            places[sample.photo().digest].append((samples.name, sample.id))
    return tuple(tuple(found) for found in places.values() if len(found) > 1)
