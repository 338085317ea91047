"""`vitreous doctor`: what a model is, and which methods apply to it.

The first thing to run on a model of one's own: if it cannot be opened, the message names the check that
failed and what to pass instead. As text or, with --json, as the fields of `vitreous._doctor.Diagnosis`.
"""

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
    """Open a model, check it, and say what was found: tokens, attention, preprocessing, methods, memory.

    No photograph is needed: the model is run on a few random inputs. For each method the memory that one
    image needs is told, or why it does not apply.

    For example, with fine-tuned weights for ten classes:

    vitreous doctor timm:deit_tiny_patch16_224 --weights mine.safetensors --num-classes 10
    """
    with told_errors(debug):
        import vitreous as vt  # noqa: PLC0415  (torch is loaded only when there is something to do)

        chosen = ModelOptions(model, weights, num_classes, image_size, labels, device)
        diagnosis = vt.doctor(chosen.open(require_attention=False))
        if as_json:
            print_json(diagnosis.model_dump(mode="json"))
        else:
            typer.echo(str(diagnosis))
