"""`vitreous demo`: the main job on a photograph that is at hand."""

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
    """Write the cat of scikit-image as a file, as a user's own photograph would be."""
    from PIL import Image  # noqa: PLC0415
    from skimage.data import chelsea  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cat.png"
    Image.fromarray(chelsea()).save(path)
    return path
