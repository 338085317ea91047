"""The page's sections about heads: what they look at, and whether they agree."""

from words import (
    DATA,
    MODELS,
    Found,
    Row,
    Section,
    against,
    block_heads,
    by_block,
    counted,
    head_name,
    largest,
    listed,
    moves,
    number,
    percent,
    smallest,
)

SHORT = {
    "local": "local",
    "global": "global",
    "positional": "positional",
    "class-token reader": "class-token readers",
    "sink": "sinks",
    "self": "self",
    "mixed": "none of these",
}


def roles(found: Found) -> Section:
    """Heads' roles and distances."""
    section = Section("What heads look at")
    for model, name, others in (
        ("deit", "heads-deit-other", ("heads-deit-coco", "heads-deit-chosen")),
        ("scenes", "heads-scenes-held", ("heads-scenes-packaged",)),
    ):
        part = found[name]
        every = len(part["heads"])
        named = {role: with_role(part, role) for role in SHORT}
        data, count = DATA[part["data"]], str(part["n"])
        for role in ("local", "global", "positional", "sink"):
            if part["counts"][role]["value"]:
                section.rows.append(
                    Row(
                        f"{MODELS[model]}: {role} heads",
                        counted(part["counts"][role], every),
                        count,
                        data,
                        limit_of(part, role),
                        "what these heads do with what they find there",
                    )
                )
        first, last = part["distance"][0], part["distance"][-1]
        depth = part["distance_with_depth"]
        section.rows.append(
            Row(
                f"{MODELS[model]}: the distance of attention {moves(depth)} with depth",
                f"{number(first, 0)} pixels in block 0, {number(last, 0)} in block {len(part['distance']) - 1}; rank correlation {number(depth)}",
                count,
                data,
                f"{part['even_distance']:.0f} pixels, attention spread evenly; rank correlation 0, no order of the blocks",
                "that far heads see the whole picture: attention spread evenly is as far",
            )
        )
        section.text.append(
            f"**{MODELS[model]}** ({data}): "
            + "; ".join(f"{SHORT[role]} {head_list(part, heads, role)}" for role, heads in named.items() if heads)
            + f". The mean distance of attention {moves(depth)} with depth, from {number(first, 0)} pixels in block 0 to "
            f"{number(last, 0)} in block {len(part['distance']) - 1}; attention spread evenly would have "
            f"{part['even_distance']:.0f}. " + same_roles(part, [found[other] for other in others])
        )
    return section


def with_role(part: Found, role: str) -> list[list[int]]:
    if role == "mixed":
        return [each["head"] for each in part["heads"] if not each["roles"]]
    return [each["head"] for each in part["heads"] if any(one["name"] == role for one in each["roles"])]


def head_list(part: Found, heads: list[list[int]], role: str) -> str:
    """Name heads; those of a fixed offset with where they look and how much of their attention goes there."""
    if role != "positional":
        return f"{len(heads)} ({', '.join(map(head_name, heads))})"
    told = [
        f"{head_name(each['head'])} {offset_words(*one['offset'])}, {number(one['number'])}"
        for each in part["heads"]
        for one in each["roles"]
        if one["name"] == role
    ]
    return f"{len(heads)} ({'; '.join(told)})"


def offset_words(down: int, right: int) -> str:
    """Say where a positional head looks.

    >>> offset_words(0, -1), offset_words(2, 1)
    ('one patch left', '2 patches down and one patch right')
    """
    words = [
        f"{'one patch' if abs(step) == 1 else f'{abs(step)} patches'} {ahead if step > 0 else back}"
        for step, ahead, back in ((down, "down", "up"), (right, "right", "left"))
        if step
    ]
    return " and ".join(words) or "the patch itself"


def limit_of(part: Found, role: str) -> str:
    """Say what the threshold of a role is."""
    limits = {one["name"]: one["threshold"] for each in part["heads"] for one in each["roles"]}
    what = {
        "local": f"at most {limits.get('local')} of the distance of even attention",
        "global": f"at least {limits.get('global')} of the distance of even attention",
        "positional": f"at least {limits.get('positional')} of attention at one offset; evenly spread {1 / part['patches']:.3f}",
        "sink": f"at least {limits.get('sink')} of attention on one token; evenly spread {1 / part['patches']:.3f}",
    }
    return what[role]


def same_roles(part: Found, others: list[Found]) -> str:
    """Count heads that have just the same roles on other data."""
    told = []
    for other in others:
        alike = sum(signature(one) == signature(two) for one, two in zip(part["heads"], other["heads"], strict=True))
        told.append(f"{alike} of {len(part['heads'])} on {DATA[other['data']]} (n={other['n']})")
    return f"Heads with exactly the same roles: {'; '.join(told)}."


def signature(each: Found) -> list[tuple[str, str]]:
    return [(one["name"], str(one["offset"])) for one in each["roles"]]


def agreement(found: Found) -> Section:
    """Whether heads look at the same places, and whether that makes better maps."""
    section = Section("Whether heads agree")
    for model, name, others in (
        ("deit", "heads-deit-other", ("heads-deit-coco", "heads-deit-chosen")),
        ("scenes", "heads-scenes-held", ("heads-scenes-packaged",)),
    ):
        part = found[name]
        series, chance, depth = part["concordance"], part["concordance_chance"], part["concordance_with_depth"]
        low, high = smallest(series), largest(series)
        data, count = DATA[part["data"]], str(part["n"])
        section.rows.append(
            Row(
                f"{MODELS[model]}: agreement of a block's heads {moves(depth)} with depth",
                f"Kendall's W {number(series[low])} in block {low}, {number(series[high])} in block {high}",
                count,
                data,
                f"{chance:.2f}, heads that have nothing to do with one another",
                "that heads that agree matter more, or take the same from there",
            )
        )
        places = {
            word: [block for block, each in enumerate(series) if against(each, chance) == word]
            for word in ("above", "below", "not told from")
        }
        told = "; ".join(f"{word} chance in {blocks_of(blocks)}" for word, blocks in places.items() if blocks)
        alone = [
            f"{head_name(each['head'])} (excess {each['excess']:.2f} bits, limit {each['limit']:.2f}; in {each['images']} of "
            f"{each['n']} pictures by itself)"
            for each in part["outlying"]
        ]
        section.text.append(
            f"**{MODELS[model]}** ({data}, n={count}): agreement {moves(depth)} with depth (rank correlation with the block "
            f"{number(depth)}) and is {told}. All heads of the model together have W {number(part['overall'])}. At the patch "
            f"on which most heads agree, {percent(part['agreed'])} of all heads have it among their top tenth; the mean over "
            f"patches is {100 * part['agreed_mean']:.0f} % by construction, and if each head drew its tenth at random so large a share "
            f"would have a probability of at most {part['agreed_chance']:.4f} in every picture. Heads that stand alone on the mean of all "
            f"pictures: {listed(alone)}. {standing_alone(part, [found[other] for other in others])}"
        )
        section.text.append(f"{block_heads(len(series))}\n{by_block('W', series)}")
    part = found["consensus"]
    difference = part["difference"]
    section.rows.append(
        Row(
            "DeiT-tiny: weighing heads by their agreement makes a map "
            + moves(
                difference, "more faithful than", "less faithful than", "whose faithfulness is not told from that of"
            )
            + " mean attention",
            f"difference in SRG {number(difference, 3, sign=True)}",
            str(part["n"]),
            DATA[part["data"]],
            f"mean attention, {number(part['gain']['mean_attention'])}; random, one map each, {number(part['gain']['random'])}",
            "that no other weights would help",
        )
    )
    section.text.append(
        f"**Consensus map.** `consensus_attention` has a symmetric relevance gain of "
        f"{number(part['gain']['consensus_attention'])} logits, `mean_attention` {number(part['gain']['mean_attention'])}, random "
        f"maps, one for each photograph, {number(part['gain']['random'])} (SOD, n={part['n']}); random maps have 0 in expectation, and these are {against(part['gain']['random'], 0)} that. Less mean attention, photograph by photograph: "
        f"{number(difference, 3, sign=True)}, {moves(difference, 'above 0', 'below 0', 'not told from 0')}."
    )
    return section


def standing_alone(part: Found, others: list[Found]) -> str:
    """Say which heads stand alone on other data, and whether any does on all of them."""
    named = [{head_name(each["head"]) for each in one["outlying"]} for one in (part, *others)]
    told = [f"{listed(sorted(heads))} on {DATA[one['data']]}" for heads, one in zip(named[1:], others, strict=True)]
    always = sorted(set.intersection(*named))
    return f"Elsewhere: {'; '.join(told)}. On all of these: {listed(always)}."


def blocks_of(blocks: list[int]) -> str:
    return f"block{'s' if len(blocks) > 1 else ''} {listed([str(block) for block in blocks])}"
