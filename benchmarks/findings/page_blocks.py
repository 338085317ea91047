"""The page's sections about blocks: where attention lies, what a lens reads, how alike representations are."""

from words import DATA, MODELS, Found, Row, Section, against, apart, block_heads, by_block, moves, number, percent


def focus(found: Found) -> Section:
    """Where attention lies, block by block."""
    section = Section("How the focus shifts")
    for model in ("deit", "scenes"):
        part = found[f"focus-{model}"]
        peak, tight, last = part["peak"], part["tightest"], len(part["beyond"]) - 1
        thing = "the salient object" if model == "deit" else "the target"
        data, count, beyond = DATA[part["data"]], str(part["n"]), part["beyond"]
        section.rows.append(
            Row(
                f"{MODELS[model]}: attention on {thing} is largest in block {peak}, and "
                + moves(part["peak_minus_last"], "less", "more", "not told from that")
                + f" in block {last}",
                f"{number(beyond[peak])}; block {last} {number(beyond[last])}",
                count,
                data,
                "the same attention on the object of another picture, both less the object's area",
                "that the prediction depends on these patches",
            )
        )
        section.rows.append(
            Row(
                f"{MODELS[model]}: attention is least spread in block {tight}",
                f"{number(part['spread'][tight], 0)} pixels",
                count,
                data,
                f"{part['even_spread']:.0f} pixels, spread evenly",
                "that what is left out is not used: earlier blocks have mixed it in",
            )
        )
        section.text.append(
            f"**{MODELS[model]}** ({data}, n={count}; attention of the class token, mean over heads): the share on {thing} beyond "
            f"its area {moves(part['peak_minus_first'])} from {number(part['lift'][0])} in block 0 to {number(part['lift'][peak])} "
            f"in block {peak} and {against_last(part)} {number(part['lift'][last])} in block {last}. Held against the object of "
            f"another picture, which has {number(part['control'][peak])} in block {peak}: {number(beyond[peak])}, and "
            f"{number(beyond[last])} in block {last}, {against(beyond[last], 0)} 0. The mean object covers "
            f"{percent(part['chance'])} of the grid and has {percent(part['overlap'][peak])} of the attention in block {peak}. The "
            f"spread {moves(part['tightest_minus_first'])} from block 0 to block {tight} (difference "
            f"{number(part['tightest_minus_first'], 0, sign=True)} pixels; {part['even_spread']:.0f} would be even), and is "
            f"{number(part['spread'][last], 0)} in block {last}. The entropy "
            f"{moves(part['entropy_last_minus_first'])} from {part['entropy'][0]['value']:.2f} in block 0 to "
            f"{part['entropy'][last]['value']:.2f} of that of even attention in block {last} (difference "
            f"{number(part['entropy_last_minus_first'], 2, sign=True)})."
        )
        section.text.append(
            f"{block_heads(last + 1)}\n{by_block('beyond the object of another picture', beyond)}\n"
            f"{by_block('beyond its area', part['lift'])}\n{by_block('spread, pixels', part['spread'], 0)}\n"
            f"{by_block('share to the class token', part['prefix'])}"
        )
    section.text.append(
        "The block of the peak was chosen on the same pictures, so that its number is a little too large."
    )
    return section


def against_last(part: Found) -> str:
    return moves(part["peak_minus_last"], "then falls to", "then rises to", "then stays near")


def lens(found: Found) -> Section:
    """Class evidence by block."""
    section = Section("When the answer can be read (logit lens)")
    for model in ("deit", "scenes"):
        part = found[f"focus-{model}"]
        agree, chance = part["agree"], part["agree_chance"]
        last = len(agree) - 1
        first = next(place for place, each in enumerate(agree) if against(each, chance) == "above")
        half = next(place for place, each in enumerate(agree) if against(each, 0.5) == "above")
        data, count = DATA[part["data"]], str(part["n"])
        section.rows.append(
            Row(
                f"{MODELS[model]}: the head reads the final answer in more than half of the pictures after block {half - 1}",
                percent(agree[half]),
                count,
                data,
                f"{100 * chance:.1f} %, two pictures with the same answer",
                "that the answer is not there earlier in a form that the head does not read",
            )
        )
        steps = [f"after block {place - 1} {percent(agree[place])}" for place in range(max(first - 1, 1), last)]
        section.text.append(
            f"**{MODELS[model]}** ({data}, n={count}): tokens read by the model's own last norm and head give the final top class, "
            f"{'; '.join(steps)}. Two pictures have the same final class in {100 * chance:.1f} % of pairs: the lens is above "
            f"that from block {first - 1} on. The mean probability of the final class after the same blocks: "
            f"{', '.join(percent(part['probability'][place]) for place in range(max(first - 1, 1), last + 1))} (the last is the model's own)."
        )
    section.text.append("Intervals of shares are exact (Clopper and Pearson).")
    return section


def alignment(found: Found) -> Section:
    """How alike representations are."""
    section = Section("How the representation changes (CKA)")
    for model in ("deit", "scenes"):
        part = found[f"alignment-{model}"]
        steps = {int(place): each for place, each in part["next"].items()}
        to_last = {int(place): each for place, each in part["last"].items()}
        step, second = sorted(steps, key=lambda place: float(steps[place]["value"]))[:2]
        sure = "" if apart(steps[step], steps[second]) else f", not told from that across block {second}"
        end = part["positions"] - 1
        data, count = DATA[part["data"]], str(part["n"])
        section.rows.append(
            Row(
                f"{MODELS[model]}: how the class token lays out the pictures changes most across block {step}{sure}",
                f"CKA {number(steps[step])}; block {second} {number(steps[second])}",
                count,
                data,
                "1 for no change, 0 in expectation for unrelated features",
                "that what changed matters for the answer",
            )
        )
        told = ", ".join(
            f"{number(to_last[place])} entering block {place}" for place in sorted(to_last) if place != end
        )
        section.text.append(
            f"**{MODELS[model]}** ({data}, n={count}, {part['batches']} batches): of all steps from one block to the next the least alike is "
            f"that across block {step}: {number(steps[step])}{sure}; the others have "
            f"{min(each['value'] for place, each in steps.items() if place != step):.2f} to "
            f"{max(each['value'] for place, each in steps.items() if place != step):.2f}. With what leaves the last block: {told}."
        )
    section.text.append(
        "Intervals leave out one batch at a time (jackknife, t). What enters block 0 is the same for every picture and has no CKA. "
        "The least of several steps was chosen on the same pictures."
    )
    return section
