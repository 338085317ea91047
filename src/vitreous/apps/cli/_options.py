"""Options that several commands share, declared once.

Each is a type: a parameter of a command that is annotated with it has its name, help and checks, so that
one option means the same everywhere. Defaults are left to the commands. Imports nothing heavy, since every
command loads this file.

Photos, Model, ModelArgument                 what to explain, and the model, as an option or as the only
                                             argument
Weights, Classes, ImageSize, Labels, Device  what `open_vit` is told about the model, see
                                             `_running.ModelOptions`
Target, Against                              the question, see `_running.chosen_target`
Fit, BatchSize, Seed, Parameters             arguments of `explain`, as text
Out, Overwrite                               folder of the results, and whether those that exist are
                                             replaced
Json, Debug                                  output for programs, and tracebacks for whoever reports a
                                             defect

Typer builds the option from the annotation. Where leaving one out means more than its default shows, as
None does, the help says what.
"""

from pathlib import Path
from typing import Annotated

import typer

Photos = Annotated[list[Path], typer.Argument(help="Photographs, or folders of photographs.", show_default=False)]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="timm:NAME, hf:ORGANISATION/NAME[@revision], torchvision:NAME, open_clip:NAME[/TAG], or a folder.",
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="As in --model of `vitreous explain`.", show_default=False)
]
Weights = Annotated[
    str | None,
    typer.Option("--weights", help="Local .safetensors or .pth file, or 'random'; the published weights if left out."),
]
Classes = Annotated[int | None, typer.Option("--num-classes", help="Outputs of a fine-tuned head.")]
ImageSize = Annotated[
    str | None,
    typer.Option("--image-size", help="Model input where it differs: one number, or HEIGHTxWIDTH."),
]
Labels = Annotated[Path | None, typer.Option("--labels", help="Text file with one class name per line, in order.")]
Device = Annotated[str | None, typer.Option("--device", help="Where to compute, for instance cuda.")]
Target = Annotated[
    str | None,
    typer.Option("--target", help="Class to explain: name or index; the predicted one if left out."),
]
Against = Annotated[
    str | None,
    typer.Option("--against", help="Class to subtract: explains why --target rather than this one."),
]
Fit = Annotated[str, typer.Option("--fit", help="How a photograph becomes the model's input: crop, squash or pad.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Images at once; by free memory if left out.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of the method, for instance --set discard=0.9. Repeatable.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line instead of text.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
