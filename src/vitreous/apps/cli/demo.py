"""`vitreous demo`: the main job, on what is at hand.

Without a model it needs nothing from outside: scenes and model come with the package, and the truth is
known. With one, it goes the way a user's own photograph goes, with the functions of the other commands, so a
demo that works shows that the installation does. Results of an earlier run are replaced.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import ModelOptions, told_errors
from vitreous.apps.cli.compare import deliver_comparison
from vitreous.apps.cli.explain import DEFAULT_MODEL, deliver_explanation
from vitreous.core.defaults import DEFAULT_METHOD

SHOWN = (
    "rollout",
    "gradcam",
    "agcam",
    "generic_attention",
    "saw",
    "libragrad",
    "attnlrp",
    "transition_attention",
)
"""One method of each kind, so that the sheet can be read."""


def run(
    model: Annotated[
        str | None, typer.Option("--model", help="Explain a photograph of a cat by this model instead of scenes.")
    ] = None,
    weights: options.Weights = None,
    out: options.Out = Path("demo-output"),
    debug: options.Debug = False,
) -> None:
    """Explain rendered scenes by six methods and hold each map against the truth, or explain a photograph.

    Writes scenes.html into the folder: sixty scenes of the package, explained by the model bundled:scenes,
    scored against what taking out each object really does. Needs no network.

    With --model or --weights, explains a photograph of a cat that comes with scikit-image instead: cat.png,
    the overlay cat.libragrad.png and the sheet cat.compare.png. Weights are fetched from the model's hub unless
    --weights names a local file.

    What is there from an earlier run is replaced.
    """
    with told_errors(debug):
        began = time.perf_counter()
        if model is None and weights is None:
            from vitreous.apps.cli._scenes_demo import write_scenes_page  # noqa: PLC0415  (loads torch)

            written = [write_scenes_page(out)]
        else:
            written = _explain_cat(model or DEFAULT_MODEL, weights, out)
        typer.echo(f"\nLook at {' and '.join(map(str, written))} ({time.perf_counter() - began:.0f} s).")


def _explain_cat(model: str, weights: str | None, out: Path) -> list[Path]:
    """Explain the photograph by one method and by one of each kind, and give the pictures that were written."""
    import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)

    photo = _cat(out)
    vit = ModelOptions(model, weights, None, None, None, None).open()
    maps = vt.compare(vit, photo, SHOWN)
    for problem in (
        deliver_explanation(maps[DEFAULT_METHOD], photo, out / f"cat.{DEFAULT_METHOD}", overwrite=True, as_json=False),
        deliver_comparison(maps, photo, out / "cat", overwrite=True, as_json=False),
    ):
        if problem is not None:
            raise problem
    return [out / f"cat.{DEFAULT_METHOD}.png", out / "cat.compare.png"]


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
