"""The page's sections about factors, changed photographs, objects and expectations."""

from page_heads import blocks_of
from words import (
    DATA,
    MODELS,
    Found,
    Row,
    Section,
    against,
    apart,
    block_heads,
    by_block,
    head_name,
    largest,
    listed,
    number,
    percent,
)

LEVEL = 0.05
WITH_DISTANCE = {
    "falls": "falls with distance",
    "rises": "rises with distance",
    "not told": "is not told from having nothing to do with distance",
}
SELF = {"rises": "more than", "falls": "less than", "not told": "no more for certain than"}
SHORTLY = ("hue", "shape", "material", "size", "floor", "light_azimuth")
"""Factors of the first table: one of each group, and nothing that the shares of patches give away, as place does."""


def factors(found: Found) -> Section:
    """Which head carries which factor."""
    section = Section("Which heads carry which factor")
    section.text.append(
        "Linear probes on the output of one head (ridge, held-out folds) predict what is known of rendered scenes: of the output "
        "at the patches of the target, and of that at the class token, which the answer is read from. Scores are R squared for "
        "numbers and angles, and balanced accuracy from chance (0) to 1 for categories. Factors were shuffled over the scenes for "
        "the control; p is corrected for all heads and factors (maxT). **Carries is a short word for: can be read from there.** No "
        "one intervened, and the model need not use it. Where the target is and how large it is also follow from which patches are "
        "looked at: at its patches, `across`, `down` and `size` show that, before anything else."
    )
    for model in ("deit", "scenes"):
        target, reading = found[f"factors-{model}-target"], found[f"factors-{model}-reading"]
        for name in SHORTLY:
            each = target["factors"][name]
            carried = each["corrected"] < LEVEL
            lead = against(each["margin"], 0)
            section.rows.append(
                Row(
                    f"{MODELS[model]}: {name} "
                    + (
                        f"can be read at the target best from head {head_name(each['head'])}"
                        + ("" if lead == "above" else ", not told from the next best")
                        if carried
                        else "cannot be read from any head for certain"
                    ),
                    number(each["score"]),
                    str(target["n"]),
                    "held-out scenes",
                    f"shuffled {each['control']:.2f}; mean colour of the picture {each['others']['mean colour']['value']:.2f}",
                    "that the model uses it",
                )
            )
        section.text.append(factor_summary(model, target, reading))
        section.text.append(factor_table(target, reading))
    return section


def factor_summary(model: str, target: Found, reading: Found) -> str:
    """Say which factors are found where, and for which of them one head is ahead."""
    told = []
    for where, part in (("at the target's patches", target), ("at the class token", reading)):
        read = [name for name, each in part["factors"].items() if each["corrected"] < LEVEL]
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
            sure = each["corrected"] < LEVEL
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
                "that they answer to colour alone: turned hues are rare colours as well",
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
        "effect of the change; what the model makes of it was not asked."
    )
    return section


def answers(each: Found) -> bool:
    return bool(each["corrected"] < LEVEL and each["excess"]["value"] > 0)


def relations(found: Found) -> Section:
    """How objects attend to one another."""
    section = Section("How objects relate")
    for model in ("deit", "scenes"):
        part = found[f"relations-{model}"]
        data = DATA[part["data"]]
        near, bound, names = part["distance_apart"], part["binding"], part["cooccurrence"]
        strongest = max(range(len(near)), key=lambda block: abs(near[block]["value"]))
        last, tied = len(near) - 1, largest(bound)
        rows = [
            Row(
                f"{MODELS[model]}: attention between objects {with_distance(near[strongest])} in block {strongest}, and {with_distance(near[last])} "
                f"in block {last}",
                f"Spearman {tested(near[strongest])}; block {last} {tested(near[last])}",
                f"{near[0]['n']} ({part['objects_apart']} objects)",
                data,
                "places of the objects permuted within pictures; p corrected for all blocks",
                "that the model knows the objects: attention is local early",
            ),
            Row(
                f"{MODELS[model]}: objects attend to themselves {SELF[settled(bound[tied])]} their shape elsewhere, most in block {tied}",
                f"excess in bits {tested(bound[tied])}",
                f"{bound[0]['n']} ({part['bound_objects']} objects)",
                data,
                "the same shape at all other places of the picture; p corrected for all blocks",
                "that it is the object and not the place where photographers put it",
            ),
            co_occurrence(model, part, names),
        ]
        section.rows.extend(rows)
        sure = {
            word: [block for block, each in enumerate(near) if settled(each) == word]
            for word in ("falls", "rises", "not told")
        }
        section.text.append(
            f"**{MODELS[model]}** ({data}): {part['objects']} objects in n={part['n']} pictures. Attention between objects that share no patch "
            f"({part['objects_apart']} objects, {near[0]['n']} pictures of three or more) "
            + "; ".join(f"{WITH_DISTANCE[word]} in {blocks_of(blocks)}" for word, blocks in sure.items() if blocks)
            + f" (p < {LEVEL}, corrected for all blocks). Attention of objects to themselves is above that of their shape elsewhere in "
            f"{sum(settled(each) == 'rises' for each in bound)} of {len(bound)} blocks. Pairs of names: {part['pairs']}."
        )
        section.text.append(
            f"{block_heads(len(near))}\n{by_block('Spearman with distance, no shared patch', near)}\n"
            f"{by_block('the same, all objects', part['distance'])}\n{by_block('excess of attention to itself, bits', bound)}"
        )
    return section


def settled(each: Found) -> str:
    """Say where a number lies that a corrected test speaks for."""
    if not each["corrected"] < LEVEL:
        return "not told"
    return "rises" if each["value"] > each.get("null", 0.0) else "falls"


def with_distance(each: Found) -> str:
    return WITH_DISTANCE[settled(each)]


def tested(each: Found) -> str:
    """Write a number with its corrected p."""
    p = each["corrected"]
    return f"{number(each)}, {'p < 0.001' if p < 0.001 else f'p = {p:.3f}'}"


def co_occurrence(model: str, part: Found, names: list[Found]) -> Row:
    """Write the line about names that occur together."""
    block = max(range(len(names)), key=lambda place: abs(names[place]["value"]))
    some = any(each["corrected"] < LEVEL for each in names)
    return Row(
        f"{MODELS[model]}: attention between objects {'goes with' if some else 'is not told from having nothing to do with'} how often their "
        "names occur together",
        f"Spearman {number(names[block])} in block {block}, the largest; smallest corrected p {min(each['corrected'] for each in names):.2f}",
        f"{names[0]['n']} ({part['pairs']} pairs of names)",
        DATA[part["data"]],
        f"{names[block]['null']:.2f}: names permuted within pictures",
        "that there is none: pairs of names are few" if not some else "that attention knows the names",
    )


def context(found: Found) -> Section:
    """Whether dropping tokens says what true counterfactuals say."""
    part = found["context"]
    section = Section("What the decision depends on, against the truth")
    beyond = "beyond" if apart(part["drop"], part["control"]) and part["drop"]["low"] > 0 else "not told from"
    size = f"{part['n']} ({part['objects']} objects)"
    section.rows.append(
        Row(
            f"scenes model: what dropping an object's tokens costs goes with what its true absence costs, {beyond} equal patches of background",
            f"Spearman {number(part['drop'])}",
            size,
            DATA[part["data"]],
            f"as many background patches, {number(part['control'])}",
            "that sizes agree: ranks do",
        )
    )
    section.rows.append(
        Row(
            f"the same for things beside the target alone: {against(part['beside'], 0)} 0",
            f"Spearman {number(part['beside'])}",
            f"{part['n']} ({part['beside_objects']} objects)",
            DATA[part["data"]],
            f"0; {part['matter']} of these things move the score by more than {part['threshold']} when truly absent",
            "that small effects are told from none",
        )
    )
    section.text.append(
        f"Every scene was rendered again without each of its things. Over {part['objects']} things of {part['n']} packaged scenes the drop of the "
        f"score without a thing's tokens and the true drop have Spearman's correlation {number(part['drop'])}; the mean drop without as many "
        f"background patches ({part['controls']} draws) has {number(part['control'])}. Beside the target: {number(part['beside'])}, "
        f"{against(part['beside'], 0)} 0. The target's tokens cost most in {part['largest_is_target']} of {part['n']} scenes. Both are interventions; "
        f"the intervals draw scenes. Things without a patch of their own: {part['without_patch']}."
    )
    return section


def priors(found: Found) -> Section:
    """How often maps disagree with expectations."""
    part = found["priors"]
    section = Section("What an expert expects")
    for name, words in (
        ("the animal", "have less than half of their relevance on the animal"),
        ("not the border", "have more than a tenth near the border"),
    ):
        rates = {method: each[name] for method, each in part["methods"].items()}
        mine, chance = rates["libragrad"], rates["random"]
        word = (
            {True: "less often than", False: "more often than"}[mine["value"] < chance["value"]]
            if apart(mine, chance)
            else "not told from"
        )
        section.rows.append(
            Row(
                f"DeiT-tiny: maps of libragrad {words} {word} random maps",
                percent(mine),
                str(mine["n"]),
                DATA[part["data"]],
                f"random {percent(chance)}; rollout {percent(rates['rollout'])}; even maps {100 * mine['even_rate']:.0f} %",
                "that the model is wrong there: the map, or the expectation, may be",
            )
        )
        told = [f"{method} {percent(each)}, mean share there {each['share']:.2f}" for method, each in rates.items()]
        section.text.append(
            f"Maps that {words}: {'; '.join(told)} (n={mine['n']} pets; the place covers {mine['area']:.2f} of the map on average; an even map "
            f"would be counted in {100 * mine['even_rate']:.0f} %)."
        )
    section.text.append("Exact intervals (Clopper and Pearson). `rollout` and `random` know no class.")
    return section
