"""What the commands say about a heatmap: the same facts as text, and as JSON.

Programs get numbers with their names, people get sentences; both come from the same regions and the same
record, so they cannot disagree. Nothing is printed here; the commands do that.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import vitreous as vt


def record_of(heatmap: "vt.Heatmap") -> dict[str, Any]:
    """Gather prediction, target, regions and provenance of a heatmap, as JSON can hold them.

    image, method, target, score  from the provenance
    predictions                   the top outputs, largest first
    unit, uninformative           of the heatmap
    threshold                     Otsu's, in `unit` per patch
    regions                       box (left, top, right, bottom) and peak_at (x, y) in pixels of the
                                  photograph, the shares of area and of relevance, and the peak in `unit`
    findings                      the regions as sentences
    provenance                    the whole record

    Regions are found with the default options of `find_regions`, as in the overlay that is written along
    with it.
    """
    regions = heatmap.regions()
    return {
        "image": heatmap.provenance.image,
        "method": heatmap.provenance.method,
        "target": heatmap.provenance.target,
        "score": heatmap.provenance.score,
        "predictions": [prediction.model_dump() for prediction in heatmap.provenance.predictions],
        "unit": heatmap.unit,
        "uninformative": heatmap.uninformative,
        "threshold": regions.threshold,
        "regions": [
            {
                "box": list(region.box),
                "area_share": region.area_share,
                "mass_share": region.mass_share,
                "peak": region.peak,
                "peak_at": list(region.peak_at),
            }
            for region in regions.regions
        ],
        "findings": list(regions.describe()),
        "provenance": heatmap.provenance.model_dump(mode="json"),
    }


def prediction_lines(heatmap: "vt.Heatmap") -> list[str]:
    """Lay out the top predictions with their probabilities, one on each line, indented below the name of the file.

    Labels are cut at 60 characters, so that the probabilities stand in one column. An embedding has no
    predictions, and its line says so.
    """
    found = heatmap.provenance.predictions
    if not found:
        return ["  predicted   nothing: the model's outputs are an embedding"]
    return [
        f"  {'predicted' if rank == 0 else '':11} {prediction.label[:60]:60} {prediction.probability or 0:6.1%}"
        for rank, prediction in enumerate(found)
    ]


def finding_lines(heatmap: "vt.Heatmap") -> list[str]:
    """Lay out target, method and regions; regions have the numbers of the boxes that `overlay(boxes=True)` draws.

    At most three regions are told one by one, as `Regions.describe` does.
    """
    lines = [f"  explained   {heatmap.provenance.target} by {heatmap.provenance.method}"]
    for rank, finding in enumerate(heatmap.regions().describe(numbered=True)):
        lines.append(f"  {'regions' if rank == 0 else '':11} {finding}")
    return lines
