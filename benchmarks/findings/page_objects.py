"""The page's sections about objects, context and expectations."""

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
    largest,
    number,
    percent,
    plain,
)

LEVEL = 0.05
WITH_DISTANCE = {
    "falls": "falls with distance",
    "rises": "rises with distance",
    "not told": "is not told from having nothing to do with distance",
}
SELF = {"rises": "more than", "falls": "less than", "not told": "no more for certain than"}


def relations(found: Found) -> Section:
    """How objects attend to one another."""
    section = Section("How objects relate")
    for model in ("deit", "scenes"):
        part = found[f"relations-{model}"]
        data = DATA[part["data"]]
        bound, names = part["binding"], part["cooccurrence"]
        near, opposite = part["distance_apart"], part["distance_opposite"]
        sides = [both(one, other) for one, other in zip(near, opposite, strict=True)]
        strongest = max(range(len(near)), key=lambda block: abs(near[block]["value"]))
        last, tied = len(near) - 1, largest(bound)
        rows = [
            Row(
                f"{MODELS[model]}: attention between objects {WITH_DISTANCE[sides[strongest]]} in block {strongest}, and {WITH_DISTANCE[sides[last]]} "
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
            word: [block for block, side in enumerate(sides) if side == word] for word in ("falls", "rises", "not told")
        }
        section.text.append(
            f"**{MODELS[model]}** ({data}): {part['objects']} objects in n={part['n']} pictures. Attention between objects that share no patch "
            f"({part['objects_apart']} objects, {near[0]['n']} pictures of three or more; chosen in their order and, to see whether that matters, in the opposite order: words stand for what both say) "
            + "; ".join(f"{WITH_DISTANCE[word]} in {blocks_of(blocks)}" for word, blocks in sure.items() if blocks)
            + f" (p < {LEVEL}, corrected for all blocks). Attention of objects to themselves is above that of their shape elsewhere in "
            f"{sum(settled(each) == 'rises' for each in bound)} of {len(bound)} blocks. Names are compared over {part['pairs']} pairs of them."
        )
        section.text.append(
            f"{block_heads(len(near))}\n{by_block('Spearman with distance, no shared patch', near)}\n"
            f"{by_block('the same, chosen in the opposite order', opposite)}\n"
            f"{by_block('the same, all objects', part['distance'])}\n{by_block('excess of attention to itself, bits', bound)}"
        )
    return section


def settled(each: Found) -> str:
    """Say where a number lies that a corrected test speaks for."""
    if not each["corrected"] < LEVEL:
        return "not told"
    return "rises" if each["value"] > each.get("null", 0.0) else "falls"


def both(one: Found, other: Found) -> str:
    """Say what two choices of objects agree about."""
    return settled(one) if settled(one) == settled(other) else "not told"


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
        f"{plain(names[block]['null'])}: names permuted within pictures",
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
            f"scenes model: the same for things beside the target alone is {against(part['beside'], 0)} 0",
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
