"""The page's sections about factors of scenes, and about changed photographs."""

from words import (
    MODELS,
    Found,
    Row,
    Section,
    against,
    head_name,
    listed,
    number,
    plain,
)

LEVEL = 0.05
SHORTLY = ("hue", "shape", "material", "size", "floor", "light_azimuth")
"""Factors of the first table: one of each group, and nothing that the shares of patches give away, as place does."""


def factors(found: Found) -> Section:
    """Which head carries which factor."""
    section = Section("Which heads carry which factor")
    section.text.append(
        "Linear probes on the output of one head (ridge, held-out folds) predict what is known of rendered scenes: of the output "
        "at the patches of the target, and of that at the class token, which the answer is read from. Scores are R squared for "
        "numbers and angles, and balanced accuracy from chance (0) to 1 for categories. Factors were shuffled over the scenes for "
        "the control; p is corrected for all heads and factors (maxT), and can be no smaller than 0.02 with 99 shuffles. In brackets: what is not above that control (p < 0.05), or has an "
        "interval that is not above 0. **Carries is a short word for: can be read from there.** No "
        "one intervened, and the model need not use it. Where the target is and how large it is also follow from which patches are "
        "looked at: at its patches, `across`, `down` and `size` show that, before anything else."
    )
    for model in ("deit", "scenes"):
        target, reading = found[f"factors-{model}-target"], found[f"factors-{model}-reading"]
        for name in SHORTLY:
            each = target["factors"][name]
            found_there = carried(each)
            lead = against(each["margin"], 0)
            section.rows.append(
                Row(
                    f"{MODELS[model]}: {name} "
                    + (
                        f"can be read at the target best from head {head_name(each['head'])}"
                        + ("" if lead == "above" else ", not told from the next best")
                        if found_there
                        else f"is not told from the shuffled control in any head at the target; best {head_name(each['head'])}"
                    ),
                    number(each["score"]),
                    str(target["n"]),
                    "held-out scenes",
                    f"shuffled {plain(each['control'])}, p = {each['corrected']:.2f}; mean colour of the picture {plain(each['others']['mean colour']['value'])}",
                    "that the model uses it",
                )
            )
        section.text.append(factor_summary(model, target, reading))
        section.text.append(factor_table(target, reading))
    return section


def carried(each: Found) -> bool:
    """Whether the best head is above the shuffled control, and its interval above 0."""
    return bool(each["corrected"] < LEVEL and each["score"]["low"] > 0)


def factor_summary(model: str, target: Found, reading: Found) -> str:
    """Say which factors are found where, and for which of them one head is ahead."""
    told = []
    for where, part in (("at the target's patches", target), ("at the class token", reading)):
        read = [name for name, each in part["factors"].items() if carried(each)]
        ahead = [
            f"{name} ({head_name(part['factors'][name]['head'])}, by {number(part['factors'][name]['margin'])})"
            for name in read
            if against(part["factors"][name]["margin"], 0) == "above"
        ]
        told.append(
            f"{where} {len(read)} of {len(part['factors'])} factors can be read from some head; one head is ahead of all others for "
            f"{listed(ahead)}"
        )
    return (
        f"**{MODELS[model]}** (held-out scenes, n={target['n']}, {target['folds']} folds, {target['shuffles']} shuffles): "
        f"{'; '.join(told)}."
    )


def factor_table(target: Found, reading: Found) -> str:
    """Write all factors; in brackets what is not above the shuffled control."""
    lines = [
        "| factor | at the target: best head | score | heads above control | at the class token: best head | score | heads above control | 8 x 8 pixels |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in target["names"]:
        cells = []
        for part in (target, reading):
            each = part["factors"][name]
            shown = number(each["score"])
            sure = carried(each)
            cells += [
                head_name(each["head"]) if sure else "\N{EN DASH}",
                shown if sure else f"[{shown}]",
                f"{each['heads_found']} of {each['heads']}",
            ]
        picture = target["factors"][name]["others"]["picture"]
        lines.append(f"| {name} | {' | '.join(cells)} | {number(picture)} |")
    return "\n".join(lines)


def changes(found: Found) -> Section:
    """How heads answer to photographs without colour."""
    section = Section("How heads answer to changed photographs")
    first, second = found["changes-sod"], found["changes-pets"]
    what = {"grey": "colour taken out", "hue": "all hues turned by 180 degrees"}
    for change, words in what.items():
        both = [part[change] for part in (first, second)]
        count = len(both[0]["heads"])
        answering = [{head_name(each["head"]) for each in part["heads"] if answers(each)} for part in both]
        shared = answering[0] & answering[1]
        ordered = [each for each in both[0]["heads"] if head_name(each["head"]) in shared]
        best = ordered[0] if ordered else both[0]["heads"][0]
        again = next(each for each in both[1]["heads"] if each["head"] == best["head"])
        section.rows.append(
            Row(
                f"DeiT-tiny, {words}: {len(shared)} of {count} heads answer more than to equal noise in both data sets"
                + (f"; most of them {head_name(best['head'])}" if ordered else ""),
                f"excess {number(best['excess'])}; pets {number(again['excess'])}",
                f"{first['n']}; {second['n']}",
                "SOD; pets",
                "grey noise as large, as coarse and at the same pixels",
                "that it is colour by itself: edges between colours, for instance, change as well",
            )
        )
        told = [
            f"{head_name(each['head'])} {number(each['excess'])} (pets "
            f"{number(next(other for other in both[1]['heads'] if other['head'] == each['head'])['excess'])})"
            for each in ordered[:5]
        ]
        section.text.append(
            f"**{words[0].upper()}{words[1:]}**: on SOD (n={first['n']}) {both[0]['above']} of {count} heads answer more than to equal noise "
            f"and {both[0]['below']} less (p < {LEVEL}, corrected for all heads); on pets (n={second['n']}) {both[1]['above']} and "
            f"{both[1]['below']}. More in both: {len(shared)}. Those ahead: {listed(told)}."
        )
    section.text.append(
        "The excess is the distance between a head's outputs at the class token for the changed and the original photograph, less the "
        "same for noise, in units of the spread of its outputs over photographs. Here something was changed, so that the answer is an "
        "effect of the change; what the model makes of it was not asked. Of the changes of `photo_changes` these two were measured here."
    )
    return section


def answers(each: Found) -> bool:
    return bool(each["corrected"] < LEVEL and each["excess"]["value"] > 0)
