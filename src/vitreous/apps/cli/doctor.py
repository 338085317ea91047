"""`vitreous doctor`: what a model is, and which methods apply to it."""

import typer

from vitreous.apps.cli import _options as options
from vitreous.apps.cli._running import ModelOptions, print_json, told_errors


def run(
    model: options.ModelArgument,
    weights: options.Weights = None,
    num_classes: options.Classes = None,
    image_size: options.ImageSize = None,
    labels: options.Labels = None,
    device: options.Device = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Open a model, check it, and say what was found: tokens, attention, preprocessing, methods, memory."""
    with told_errors(debug):
        import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)

        diagnosis = vt.doctor(ModelOptions(model, weights, num_classes, image_size, labels, device).open())
        if as_json:
            print_json(diagnosis.model_dump(mode="json"))
        else:
            typer.echo(str(diagnosis))
