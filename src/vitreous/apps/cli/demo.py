"""`vitreous demo`: the main job on a photograph that is at hand.

It goes the way a user's own photograph goes, with the functions of the other commands, so a demo that works
shows that the installation does. Results of an earlier run are replaced.
"""

import time
from pathlib import Path

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import ModelOptions, told_errors
from vitreous.apps.cli.compare import deliver_comparison
from vitreous.apps.cli.explain import DEFAULT_MODEL, deliver_explanation


def run(
    model: options.Model = DEFAULT_MODEL,
    weights: options.Weights = None,
    out: options.Out = Path("demo-output"),
    debug: options.Debug = False,
) -> None:
    """Explain a photograph of a cat that comes with scikit-image, by one method and by all that apply.

    The weights are fetched from the model's hub. Without network, name a local file with --weights.

    Writes cat.png, the overlay cat.agcam.png and the sheet cat.compare.png into the folder, each map beside
    them, and says how long it took, opening the model included. What is there from an earlier run is
    replaced.
    """
    with told_errors(debug):
        import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)

        began = time.perf_counter()
        photo = _cat(out)
        vit = ModelOptions(model, weights, None, None, None, None).open()
        maps = vt.compare(vit, photo)
        for problem in (
            deliver_explanation(maps["agcam"], photo, out / "cat.agcam", overwrite=True, as_json=False),
            deliver_comparison(maps, photo, out / "cat", overwrite=True, as_json=False),
        ):
            if problem is not None:
                raise problem
        typer.echo(
            f"\nLook at {out / 'cat.agcam.png'} and {out / 'cat.compare.png'} ({time.perf_counter() - began:.0f} s)."
        )


def _cat(folder: Path) -> Path:
    """Write the cat of scikit-image as a file, as a user's own photograph would be.

    The photograph is part of scikit-image's own package (300 by 451 pixels), so nothing is fetched for it.
    """
    from PIL import Image  # noqa: PLC0415
    from skimage.data import chelsea  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cat.png"
    Image.fromarray(chelsea()).save(path)
    return path
