"""What the commands say about a heatmap: the same facts as text, and as JSON."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import vitreous as vt


def record_of(heatmap: "vt.Heatmap") -> dict[str, Any]:
    """Gather prediction, target, regions and provenance of a heatmap."""
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
    """Lay out the top predictions with their probabilities."""
    found = heatmap.provenance.predictions
    if not found:
        return ["  predicted   nothing: the model's outputs are an embedding"]
    return [
        f"  {'predicted' if rank == 0 else '':11} {prediction.label[:60]:60} {prediction.probability or 0:6.1%}"
        for rank, prediction in enumerate(found)
    ]


def finding_lines(heatmap: "vt.Heatmap") -> list[str]:
    """Lay out target, method and regions."""
    lines = [f"  explained   {heatmap.provenance.target} by {heatmap.provenance.method}"]
    for rank, finding in enumerate(heatmap.regions().describe(numbered=True)):
        lines.append(f"  {'regions' if rank == 0 else '':11} {finding}")
    return lines
